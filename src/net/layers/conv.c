/*
  Convolution (cross-correlation, as in deep learning): y[o](z) = b[o] + sum_i sum_x w[o,i](x) x[i](s z + x -
  p).

  Every way computes a Taylor coefficient as the sum of two products, Y_k = X_k * W_0 + X_{k-1} * W_1. Which
  way is taken depends on shapes and variant alone.
*/
#include "jet/channels.h"
#include "net/layers/conv-way.h"
#include "net/layers/conv.h"
#include <math.h>
#include <stdlib.h>

typedef CourantConvOptions Conv;

static const CourantKey keys[] = {
    {"channels", COURANT_KEY_INT, offsetof(Conv, channels), NULL, 1, 1 << 20, .help = "output channels"},
    {"kernel", COURANT_KEY_SIZE2, offsetof(Conv, kernel), NULL, 1, 1 << 15,
     .help = "size, or [height, width]"},
    {"stride", COURANT_KEY_SIZE2, offsetof(Conv, stride), "1", 1, 1 << 15,
     .help = "pixels from one output to the next, or [vertical, horizontal]"},
    {"padding", COURANT_KEY_INT_OR_CHOICE, offsetof(Conv, padding), "valid", 0, 1 << 15,
     .choices = "valid|same|circular",
     .help = "same pads with zeros to keep the size, circular wraps around"},
    {"bias", COURANT_KEY_BOOL, offsetof(Conv, bias), "true", .help = "add a constant per channel"},
    {0},
};

static const char *const examples[] = {
    "{channels: 1, kernel: 3, bias: false}",
    "{channels: 3, kernel: [2, 5]}",
    "{channels: 2, kernel: 3, padding: same}",
    "{channels: 2, kernel: [4, 3], padding: circular}",
    "{channels: 2, kernel: 5, padding: 3}",
    "{channels: 2, kernel: 17, padding: 8}",
    "{channels: 19, kernel: 3, padding: same}",
    "{channels: 5, kernel: [3, 4], stride: 2, padding: 1}",
    "{channels: 9, kernel: [2, 1], stride: 3, padding: 4}",
    "{channels: 3, kernel: [4, 5], stride: [2, 3], padding: circular}",
    NULL,
};

static const ConvWay *const ways[] = {&COURANT_VARIANT(ConvPlanes), &COURANT_VARIANT(ConvChannels),
                                      &COURANT_VARIANT(ConvFourier)};

static ConvShape ShapeOf(const CourantLayer *layer)
{
  const Conv *o = (const Conv *)layer->options;
  ConvShape s = {.ic = (int)layer->in.c,
                 .oc = (int)o->channels,
                 .kh = (int)o->kernel[0],
                 .kw = (int)o->kernel[1],
                 .sy = (int)o->stride[0],
                 .sx = (int)o->stride[1],
                 .h = (int)layer->in.h,
                 .w = (int)layer->in.w,
                 .ho = (int)layer->out.h,
                 .wo = (int)layer->out.w,
                 .first = layer->first};

  s.circular = o->padding == COURANT_PADDING_CIRCULAR;
  s.top = o->padding >= 0 ? o->padding : o->padding == COURANT_PADDING_VALID ? 0 : (s.kh - 1) / 2;
  s.left = o->padding >= 0 ? o->padding : o->padding == COURANT_PADDING_VALID ? 0 : (s.kw - 1) / 2;
  s.hp = (s.ho - 1) * s.sy + s.kh;
  s.wp = (s.wo - 1) * s.sx + s.kw;
  return s;
}

/* The cheapest way by its own estimate. */
static const ConvWay *WayOf(const ConvShape *s)
{
  const ConvWay *best = ways[0];

  for (size_t i = 1; i < sizeof ways / sizeof *ways; i++)
    if (ways[i]->Cost(s) < best->Cost(s)) best = ways[i];
  return best;
}

/* Output pixels along an axis. */
static PetscInt Outputs(const Conv *o, int axis, PetscInt size)
{
  const PetscInt stride = o->stride[axis], pad = o->padding >= 0 ? o->padding : 0;

  if (o->padding == COURANT_PADDING_CIRCULAR || o->padding == COURANT_PADDING_SAME)
    return (size - 1) / stride + 1;
  return size + 2 * pad < o->kernel[axis] ? 0 : (size + 2 * pad - o->kernel[axis]) / stride + 1;
}

static PetscErrorCode Check(const CourantLayer *layer, const Conv *o)
{
  const CourantShape in = layer->in;
  const PetscInt kh = o->kernel[0], kw = o->kernel[1];
  const PetscInt pad = o->padding >= 0 ? o->padding : 0;

  PetscFunctionBeginUser;
  if (o->padding == COURANT_PADDING_SAME && (kh % 2 == 0 || kw % 2 == 0))
    CourantNodeError(layer->node, "padding: same needs an odd kernel, not %dx%d", (int)kh, (int)kw);
  if (o->padding == COURANT_PADDING_SAME && (o->stride[0] > 1 || o->stride[1] > 1))
    CourantNodeError(layer->node, "padding: same needs stride 1, not %dx%d", (int)o->stride[0],
                     (int)o->stride[1]);
  if (o->padding == COURANT_PADDING_CIRCULAR && (kh > in.h || kw > in.w))
    CourantNodeError(layer->node, "a %dx%d kernel wraps more than once around the %dx%d input", (int)kh,
                     (int)kw, (int)in.h, (int)in.w);
  if (Outputs(o, 0, in.h) < 1 || Outputs(o, 1, in.w) < 1)
    CourantNodeError(layer->node, "a %dx%d kernel is larger than the %dx%d input with padding %d", (int)kh,
                     (int)kw, (int)in.h, (int)in.w, (int)pad);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Widen(void *options, double factor)
{
  Conv *o = (Conv *)options;
  o->channels = (PetscInt)fmax(1, rint(factor * (double)o->channels));
}

static PetscErrorCode SetUp(CourantLayer *layer)
{
  const Conv *o = (const Conv *)layer->options;
  const CourantShape in = layer->in;
  const PetscInt kh = o->kernel[0], kw = o->kernel[1];
  const double taps = (double)kh * (double)kw;

  PetscFunctionBeginUser;
  PetscCall(Check(layer, o));
  layer->out = (CourantShape){Outputs(o, 0, in.h), Outputs(o, 1, in.w), o->channels};
  layer->nparameters = o->bias ? 2 : 1;
  layer->parameters[0] = (CourantParameter){.name = "weight",
                                            .ndims = 4,
                                            .dims = {o->channels, in.c, kh, kw},
                                            .fan_in = (double)in.c * taps,
                                            .fan_out = (double)o->channels * taps};
  layer->parameters[1] = (CourantParameter){.name = "bias",
                                            .ndims = 1,
                                            .dims = {o->channels},
                                            .fan_in = (double)in.c * taps,
                                            .fan_out = (double)o->channels,
                                            .exempt = PETSC_TRUE};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Packed weights and gradients are the bias, then what the way makes of the weights. */
static void Space(const CourantLayer *layer, int order, CourantLayerSpace *space)
{
  const ConvShape s = ShapeOf(layer);

  WayOf(&s)->Space(&s, order, space);
  space->packed += ConvBiasSize(&s);
  space->gradient += ConvBiasSize(&s);
}

typedef struct {
  ConvShape shape;
  const ConvWay *way;
  void *plan;
} Prepared;

static void *Prepare(const CourantLayer *layer)
{
  Prepared *p = (Prepared *)malloc(sizeof *p);

  if (!p) return NULL;
  p->shape = ShapeOf(layer);
  p->way = WayOf(&p->shape);
  p->plan = p->way->Prepare ? p->way->Prepare(&p->shape) : NULL;
  return p;
}

static void Release(void *prepared)
{
  Prepared *p = (Prepared *)prepared;

  if (p && p->way->Release) p->way->Release(p->plan);
  free(p);
}

static void Pack(const CourantLayer *layer, void *prepared, const double *parameters, void *to, void *scratch)
{
  const Prepared *p = (const Prepared *)prepared;
  const ConvShape *s = &p->shape;
  const double *bias = parameters + layer->parameters[0].size;
  real *packed = (real *)to;

  memset(packed, 0, sizeof(real) * ConvBiasSize(s));
  for (int o = 0; layer->nparameters == 2 && o < s->oc; o++) packed[o] = (real)bias[o];
  p->way->Pack(s, p->plan, parameters, packed + ConvBiasSize(s), (real *)scratch);
}

static void Unpack(const CourantLayer *layer, void *prepared, void *packed, double *gradient, void *scratch)
{
  const Prepared *p = (const Prepared *)prepared;
  const ConvShape *s = &p->shape;
  double *bias = gradient + layer->parameters[0].size;
  real *from = (real *)packed;

  for (int o = 0; layer->nparameters == 2 && o < s->oc; o++) bias[o] = (double)from[o];
  p->way->Unpack(s, p->plan, from + ConvBiasSize(s), gradient, (real *)scratch);
}

static void Forward(const CourantLayerCall *call)
{
  const Prepared *p = (const Prepared *)call->prepared;

  for (int sample = 0; sample < call->n; sample++) p->way->Forward(&p->shape, p->plan, call, sample);
}

static void Backward(const CourantLayerCall *call)
{
  const Prepared *p = (const Prepared *)call->prepared;
  const ConvShape *s = &p->shape;

  for (int sample = 0; sample < call->n; sample++) {
    p->way->Backward(s, p->plan, call, sample);
    for (int k = call->from; call->layer->nparameters == 2 && k <= call->order; k++)
      if (call->dw[k])
        CourantChannelsBias(s->ho * s->wo, s->oc, ConvOutput(s, &call->dy, k, sample), call->dw[k]);
  }
}

COURANT_LAYER(conv) = {
    .name = "conv",
    .help = "convolution (cross-correlation, as in deep learning)",
    .examples = examples,
    .keys = keys,
    .options_size = sizeof(Conv),
    .linear = PETSC_TRUE,
    .Widen = Widen,
    .SetUp = SetUp,
    .Space = Space,
    .Prepare = Prepare,
    .Release = Release,
    .Pack = Pack,
    .Unpack = Unpack,
    .Forward = Forward,
    .Backward = Backward,
};
