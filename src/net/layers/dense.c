/* Dense layer: y = W x + b, on the kernel of the convolutions with the samples of a block as pixels. */
#include "jet/channels.h"
#include "net/layerops.h"

typedef struct {
  PetscInt features;
  PetscBool bias;
} Dense;

static const CourantKey keys[] = {
    {"features", COURANT_KEY_INT, offsetof(Dense, features), NULL, 1, 1 << 24, .help = "outputs"},
    {"bias", COURANT_KEY_BOOL, offsetof(Dense, bias), "true", .help = "add a constant per output"},
    {0},
};

/* Inputs have to be flat: a network needs another layer before this one on images. */
static const char *const examples[] = {"{features: 5}", "{features: 19, bias: false}", NULL};

static PetscErrorCode SetUp(CourantLayer *layer)
{
  const Dense *o = (const Dense *)layer->options;
  const CourantShape in = layer->in;

  PetscFunctionBeginUser;
  if (in.h != 1 || in.w != 1)
    CourantNodeError(layer->node, "dense needs a flat input, not %d x %d x %d: put flatten before it",
                     (int)in.h, (int)in.w, (int)in.c);
  layer->out = (CourantShape){1, 1, o->features};
  layer->nparameters = o->bias ? 2 : 1;
  layer->parameters[0] = (CourantParameter){.name = "weight",
                                            .ndims = 2,
                                            .dims = {o->features, in.c},
                                            .fan_in = (double)in.c,
                                            .fan_out = (double)o->features};
  layer->parameters[1] = (CourantParameter){.name = "bias",
                                            .ndims = 1,
                                            .dims = {o->features},
                                            .fan_in = (double)in.c,
                                            .fan_out = (double)o->features,
                                            .exempt = PETSC_TRUE};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static size_t Whole(size_t n)
{
  return (n + 15) / 16 * 16;
}

/* Theta's [features,in] from input to output, and from output to input. */
static ChannelsKernel OutputKernel(const CourantLayer *layer)
{
  const int in = (int)layer->in.c, out = (int)layer->out.c;
  return (ChannelsKernel){.kh = 1, .kw = 1, .in = in, .out = out, .si = 1, .so = in};
}

static ChannelsKernel InputKernel(const CourantLayer *layer)
{
  const int in = (int)layer->in.c, out = (int)layer->out.c;
  return (ChannelsKernel){.kh = 1, .kw = 1, .in = out, .out = in, .si = in, .so = 1};
}

/* Packed weights are bias, weights, transposed weights; the first two are the packed gradient. */
typedef struct {
  size_t weights, transposed, end;
} Packed;

static Packed PackedOf(const CourantLayer *layer)
{
  const ChannelsKernel output = OutputKernel(layer), input = InputKernel(layer);
  Packed p = {.weights = Whole((size_t)layer->out.c) + 16};

  p.transposed = p.weights + Whole(CourantChannelsPackedSize(&output));
  p.end = p.transposed + (layer->first ? 0 : CourantChannelsPackedSize(&input));
  return p;
}

static void Space(const CourantLayer *layer, int order, CourantLayerSpace *space)
{
  const Packed p = PackedOf(layer);

  (void)order;
  space->packed = p.end;
  space->gradient = p.transposed;
}

static void Pack(const CourantLayer *layer, void *prepared, const double *parameters, void *to, void *scratch)
{
  const ChannelsKernel output = OutputKernel(layer), input = InputKernel(layer);
  const Packed p = PackedOf(layer);
  real *packed = (real *)to;

  (void)prepared, (void)scratch;
  memset(packed, 0, sizeof(real) * p.weights);
  for (PetscInt o = 0; layer->nparameters == 2 && o < layer->out.c; o++)
    packed[o] = (real)parameters[layer->parameters[0].size + o];
  CourantChannelsPack(&output, parameters, packed + p.weights);
  if (!layer->first) CourantChannelsPack(&input, parameters, packed + p.transposed);
}

static void Unpack(const CourantLayer *layer, void *prepared, void *packed, double *gradient, void *scratch)
{
  const ChannelsKernel output = OutputKernel(layer);
  const real *from = (const real *)packed;

  (void)prepared, (void)scratch;
  for (PetscInt o = 0; layer->nparameters == 2 && o < layer->out.c; o++)
    gradient[layer->parameters[0].size + o] = (double)from[o];
  CourantChannelsUnpack(&output, from + PackedOf(layer).weights, gradient);
}

/* n samples as one row of pixels. */
static ChannelsShape RowOf(int n, int in, int out)
{
  return (ChannelsShape){
      .kh = 1, .inner = in, .out = out, .ho = 1, .wo = n, .h = 1, .x_step = in, .y_step = out};
}

static void Forward(const CourantLayerCall *call)
{
  const CourantLayer *layer = call->layer;
  const int last = call->order < call->x.degree ? call->order : call->x.degree;
  const Packed p = PackedOf(layer);
  const ChannelsShape shape = RowOf(call->n, (int)layer->in.c, (int)layer->out.c);

  for (int k = call->from; k <= call->order; k++) {
    ChannelsTerm terms[2];
    int n = 0;
    for (int j = 0; j <= k && j <= call->w.degree; j++)
      if (k - j <= last) terms[n++] = (ChannelsTerm){call->x.c[k - j], call->w.c[j] + p.weights};
    CourantChannelsCorrelate(&shape, n, terms, k <= call->w.degree ? call->w.c[k] : NULL, call->y.c[k]);
  }
}

/* Samples are rows of one pixel here: the sum then does not depend on how many a block holds. */
static void WeightGradient(const CourantLayerCall *call, int k)
{
  const CourantLayer *layer = call->layer;
  const int last = call->order < call->x.degree ? call->order : call->x.degree, in = (int)layer->in.c,
            out = (int)layer->out.c;
  const ChannelsShape shape = {.kh = 1,
                               .inner = in,
                               .out = out,
                               .ho = call->n,
                               .wo = 1,
                               .sy = 1,
                               .h = call->n,
                               .x_row = in,
                               .y_row = out};
  ChannelsTerm terms[COURANT_ORDER_MAX + 1];
  int n = 0;

  for (int j = 0; j <= k && j <= last; j++) terms[n++] = (ChannelsTerm){call->x.c[j], call->dy.c[k - j]};
  CourantChannelsWeights(&shape, n, terms, 1, call->dw[k] + PackedOf(layer).weights);
  for (int sample = 0; layer->nparameters == 2 && sample < call->n; sample++)
    for (int o = 0; o < out; o++) call->dw[k][o] += call->dy.c[k][(ptrdiff_t)sample * out + o];
}

static void Backward(const CourantLayerCall *call)
{
  const CourantLayer *layer = call->layer;
  const Packed p = PackedOf(layer);
  const ChannelsShape shape = RowOf(call->n, (int)layer->out.c, (int)layer->in.c);

  for (int k = call->from; k <= call->order; k++) {
    if (call->dw[k]) WeightGradient(call, k);
    if (!call->dx.c[0]) continue;
    ChannelsTerm terms[2];
    int n = 0;
    for (int j = 0; j <= k && j <= call->w.degree; j++)
      terms[n++] = (ChannelsTerm){call->dy.c[k - j], call->w.c[j] + p.transposed};
    CourantChannelsCorrelate(&shape, n, terms, NULL, call->dx.c[k]);
  }
}

COURANT_LAYER(dense) = {
    .name = "dense",
    .help = "weighted sums of all inputs",
    .examples = examples,
    .keys = keys,
    .options_size = sizeof(Dense),
    .linear = PETSC_TRUE,
    .SetUp = SetUp,
    .Space = Space,
    .Pack = Pack,
    .Unpack = Unpack,
    .Forward = Forward,
    .Backward = Backward,
};
