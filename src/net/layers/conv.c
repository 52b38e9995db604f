/*
  Convolution (cross-correlation, as in deep learning): y[o](z) = b[o] + sum_i sum_x w[o,i](x) x[i](z + x -
  p).

  Each input channel is copied once into a plane with its padding around it. Small kernels then slide over the
  planes directly, large ones multiply half spectra; both compute every Taylor coefficient as the sum of two
  products, Y_k = X_k * W_0 + X_{k-1} * W_1.
*/
#include "jet/fourier.h"
#include "jet/plane.h"
#include "net/layerops.h"
#include "net/layers/conv.h"
#include <math.h>

enum { FOURIER_FROM = 16 }; /* kernels of this size and larger go through FFTW */

typedef CourantConvOptions Conv;

static const CourantKey keys[] = {
    {"channels", COURANT_KEY_INT, offsetof(Conv, channels), NULL, 1, 1 << 20, .help = "output channels"},
    {"kernel", COURANT_KEY_SIZE2, offsetof(Conv, kernel), NULL, 1, 1 << 15,
     .help = "size, or [height, width]"},
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
    NULL,
};

/* The shapes every function needs. Rows of planes are padded to whole vectors. */
typedef struct {
  int ic, oc, kh, kw, h, w, ho, wo;
  int top, left;          /* padding before the first row and column */
  int hp, wp, ldx;        /* input with its padding, and its row length */
  int margin_y, margin_x; /* zeros around the output gradient, for the gradient by the input */
  int hz, ldz;            /* rows and row length of the output gradient with its margin */
  int ldr;                /* row length of a plane of results */
  size_t xplane, zplane, rplane, spectrum; /* reals */
  PetscBool circular, fourier;
} Geometry;

static size_t Whole(size_t n)
{
  return (n + 15) / 16 * 16;
}

static Geometry GeometryOf(const CourantLayer *layer)
{
  const Conv *o = (const Conv *)layer->options;
  Geometry g = {.ic = (int)layer->in.c,
                .oc = (int)o->channels,
                .kh = (int)o->kernel[0],
                .kw = (int)o->kernel[1],
                .h = (int)layer->in.h,
                .w = (int)layer->in.w,
                .ho = (int)layer->out.h,
                .wo = (int)layer->out.w};

  g.circular = o->padding == COURANT_PADDING_CIRCULAR;
  g.fourier = g.kh >= FOURIER_FROM && g.kw >= FOURIER_FROM;
  g.top = o->padding >= 0 ? o->padding : o->padding == COURANT_PADDING_VALID ? 0 : (g.kh - 1) / 2;
  g.left = o->padding >= 0 ? o->padding : o->padding == COURANT_PADDING_VALID ? 0 : (g.kw - 1) / 2;
  g.hp = g.ho + g.kh - 1;
  g.wp = g.wo + g.kw - 1;
  g.margin_y = layer->first || g.fourier ? 0 : g.kh - 1;
  g.margin_x = layer->first || g.fourier ? 0 : g.kw - 1;
  g.hz = g.ho + 2 * g.margin_y;
  g.ldr = (int)Whole((size_t)g.wp);
  g.ldx = (int)Whole(Whole((size_t)g.wo) + (size_t)g.kw - 1);
  g.ldz = (int)Whole((size_t)(g.ldr + g.margin_x + 16));
  g.xplane = (size_t)g.hp * (size_t)g.ldx;
  g.zplane = (size_t)g.hz * (size_t)g.ldz;
  g.rplane = (size_t)g.hp * (size_t)g.ldr;
  g.spectrum = FourierSpectrumSize(g.hp, g.wp);
  return g;
}

static PetscErrorCode SetUp(CourantLayer *layer)
{
  const Conv *o = (const Conv *)layer->options;
  const CourantShape in = layer->in;
  const PetscInt kh = o->kernel[0], kw = o->kernel[1];
  const PetscInt pad = o->padding >= 0 ? o->padding : 0;

  PetscFunctionBeginUser;
  if (o->padding == COURANT_PADDING_SAME && (kh % 2 == 0 || kw % 2 == 0))
    CourantNodeError(layer->node, "padding: same needs an odd kernel, not %dx%d", (int)kh, (int)kw);
  if (o->padding == COURANT_PADDING_CIRCULAR && (kh > in.h || kw > in.w))
    CourantNodeError(layer->node, "a %dx%d kernel wraps more than once around the %dx%d input", (int)kh,
                     (int)kw, (int)in.h, (int)in.w);
  layer->out = in;
  layer->out.c = o->channels;
  if (o->padding >= 0 || o->padding == COURANT_PADDING_VALID) {
    layer->out.h = in.h + 2 * pad - kh + 1;
    layer->out.w = in.w + 2 * pad - kw + 1;
  }
  if (layer->out.h < 1 || layer->out.w < 1)
    CourantNodeError(layer->node, "a %dx%d kernel is larger than the %dx%d input with padding %d", (int)kh,
                     (int)kw, (int)in.h, (int)in.w, (int)pad);
  layer->nparameters = o->bias ? 2 : 1;
  layer->parameters[0] = (CourantParameter){.name = "weight",
                                            .ndims = 4,
                                            .dims = {o->channels, in.c, kh, kw},
                                            .size = o->channels * in.c * kh * kw,
                                            .fan_in = in.c * kh * kw,
                                            .fan_out = o->channels * kh * kw};
  layer->parameters[1] = (CourantParameter){.name = "bias",
                                            .ndims = 1,
                                            .dims = {o->channels},
                                            .size = o->channels,
                                            .fan_in = in.c * kh * kw,
                                            .fan_out = o->channels,
                                            .exempt = PETSC_TRUE};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Packed weights are the parameters as they are and, behind them, the kernels turned by 180 degrees
  [oc,ic,kh,kw] (direct) or their half spectra [oc,ic] (Fourier). The state per sample and coefficient is the
  spectra of the input planes [ic].
*/
static void Space(const CourantLayer *layer, int order, CourantLayerSpace *space)
{
  const Geometry g = GeometryOf(layer);
  const size_t pairs = (size_t)g.oc * (size_t)g.ic, weights = Whole((size_t)layer->size),
               jets = (size_t)order + 1;

  if (g.fourier) {
    space->packed = weights + pairs * g.spectrum;
    space->state = (size_t)g.ic * g.spectrum;
    space->scratch =
        g.xplane + g.zplane + g.rplane + FourierWorkSize(g.hp, g.wp) + (jets * (size_t)g.oc + 1) * g.spectrum;
  } else {
    space->packed = weights + Whole(pairs * (size_t)(g.kh * g.kw));
    space->scratch = jets * ((size_t)g.ic * g.xplane + (size_t)g.oc * g.zplane) + g.rplane;
  }
}

static void *Prepare(const CourantLayer *layer)
{
  const Geometry g = GeometryOf(layer);
  return g.fourier ? CourantFourierCreate(g.hp, g.wp) : NULL;
}

static void Release(void *prepared)
{
  CourantFourierDestroy((CourantFourier)prepared);
}

static void Pack(const CourantLayer *layer, void *prepared, const double *parameters, void *to, void *scratch)
{
  const Geometry g = GeometryOf(layer);
  const int taps = g.kh * g.kw;
  real *packed = (real *)to, *behind = packed + Whole((size_t)layer->size);

  for (PetscInt i = 0; i < layer->size; i++) packed[i] = (real)parameters[i];
  for (int pair = 0; pair < g.oc * g.ic; pair++) {
    const real *kernel = packed + (ptrdiff_t)pair * taps;
    if (g.fourier)
      CourantFourierForward((CourantFourier)prepared, g.kh, g.kw, kernel, g.kw, (real *)scratch,
                            behind + (size_t)pair * g.spectrum);
    else
      for (int i = 0; i < taps; i++) behind[(ptrdiff_t)pair * taps + i] = kernel[taps - 1 - i];
  }
}

/* n numbers out of one channel of a row of pixels, and back into it. */
static inline void Gather(int n, const real *from, int stride, real *to)
{
  if (stride == 1)
    memcpy(to, from, sizeof(real) * (size_t)n);
  else
    for (int i = 0; i < n; i++) to[i] = from[(ptrdiff_t)i * stride];
}

static inline void Scatter(int n, const real *from, real *to, int stride)
{
  if (stride == 1)
    memcpy(to, from, sizeof(real) * (size_t)n);
  else
    for (int i = 0; i < n; i++) to[(ptrdiff_t)i * stride] = from[i];
}

/* Channel c of an image [h,w,ic] as a plane [hp,ldx] with its padding; zeros up to ldx. */
static void Pad(const Geometry *g, const real *image, int c, real *plane)
{
  const int inside = g->wp - g->left < g->w ? g->wp - g->left : g->w;

  for (int py = 0; py < g->hp; py++) {
    real *row = plane + (ptrdiff_t)py * g->ldx;
    int y = py - g->top;
    memset(row, 0, sizeof(real) * (size_t)g->ldx);
    if (g->circular) y = (y + g->h) % g->h;
    if (y < 0 || y >= g->h) continue;
    const real *from = image + (ptrdiff_t)y * g->w * g->ic + c;
    Gather(inside, from, g->ic, row + g->left);
    if (!g->circular) continue;
    for (int px = 0; px < g->left; px++) row[px] = from[(px - g->left + g->w) % g->w * g->ic];
    for (int px = g->left + g->w; px < g->wp; px++) row[px] = from[(px - g->left) % g->w * g->ic];
  }
}

/* The adjoint: a plane of gradients [hp,ldr] back to channel c of the image. */
static void Unpad(const Geometry *g, const real *plane, int c, real *image)
{
  if (g->circular) {
    for (int i = 0; i < g->h * g->w; i++) image[(ptrdiff_t)i * g->ic + c] = 0;
    for (int py = 0; py < g->hp; py++)
      for (int px = 0; px < g->wp; px++) {
        const int y = (py - g->top + g->h) % g->h, x = (px - g->left + g->w) % g->w;
        image[(ptrdiff_t)(y * g->w + x) * g->ic + c] += plane[(ptrdiff_t)py * g->ldr + px];
      }
    return;
  }
  for (int y = 0; y < g->h; y++)
    Scatter(g->w, plane + (ptrdiff_t)(y + g->top) * g->ldr + g->left, image + (ptrdiff_t)y * g->w * g->ic + c,
            g->ic);
}

/* Channel c of an output gradient [ho,wo,oc] as a plane [hz,ldz], zeros around it. */
static void Spread(const Geometry *g, const real *dy, int c, real *plane)
{
  memset(plane, 0, sizeof(real) * g->zplane);
  for (int y = 0; y < g->ho; y++) {
    real *row = plane + (ptrdiff_t)(y + g->margin_y) * g->ldz + g->margin_x;
    Gather(g->wo, dy + (ptrdiff_t)y * g->wo * g->oc + c, g->oc, row);
  }
}

/* A plane of results [ho,ldr] plus a constant as channel c of the output [ho,wo,oc]. */
static void Deliver(const Geometry *g, real *plane, real bias, int c, real *y)
{
  for (int oy = 0; oy < g->ho; oy++) {
    real *row = plane + (ptrdiff_t)oy * g->ldr;
    for (int ox = 0; bias != 0 && ox < g->wo; ox++) row[ox] += bias;
    Scatter(g->wo, row, y + (ptrdiff_t)oy * g->wo * g->oc + c, g->oc);
  }
}

/* The weights of an (output, input) pair as they are, and what stands behind them for that pair. */
static const real *Kernel(const Geometry *g, const CourantLayerCall *call, int k, int o, int i)
{
  return call->w.c[k] + (ptrdiff_t)(o * g->ic + i) * (g->kh * g->kw);
}

static const real *Behind(const Geometry *g, const CourantLayerCall *call, int k, int o, int i)
{
  const size_t each = g->fourier ? g->spectrum : (size_t)(g->kh * g->kw);
  return call->w.c[k] + Whole((size_t)call->layer->size) + (size_t)(o * g->ic + i) * each;
}

static real Bias(const Geometry *g, const CourantLayerCall *call, int k, int o)
{
  const PetscBool there = call->layer->nparameters == 2 && k <= call->w.degree ? PETSC_TRUE : PETSC_FALSE;
  return there ? call->w.c[k][(ptrdiff_t)g->oc * g->ic * g->kh * g->kw + o] : 0;
}

static int Min(int a, int b)
{
  return a < b ? a : b;
}

static int Max(int a, int b)
{
  return a > b ? a : b;
}

static const real *Image(const CourantLayerCall *call, const Jet *x, int k, int sample)
{
  return x->c[k] + (ptrdiff_t)sample * (ptrdiff_t)CourantShapeSize(call->layer->in);
}

static real *Output(const CourantLayerCall *call, const Jet *y, int k, int sample)
{
  return y->c[k] + (ptrdiff_t)sample * (ptrdiff_t)CourantShapeSize(call->layer->out);
}

/* Where the direct path keeps its planes: inputs [order+1,ic], output gradients [order+1,oc], one result. */
typedef struct {
  real *x, *z, *result;
} Planes;

static Planes PlanesOf(const Geometry *g, const CourantLayerCall *call)
{
  Planes p = {.x = call->scratch};
  p.z = p.x + (size_t)((call->order + 1) * g->ic) * g->xplane;
  p.result = p.z + (size_t)((call->order + 1) * g->oc) * g->zplane;
  return p;
}

static const real *XPlane(const Geometry *g, const Planes *p, int k, int i)
{
  return p->x + (size_t)(k * g->ic + i) * g->xplane;
}

static const real *ZPlane(const Geometry *g, const Planes *p, int k, int o)
{
  return p->z + (size_t)(k * g->oc + o) * g->zplane;
}

/* Sums of products of planes with kernels, as many terms at a time as a call takes. */
enum { TERMS = 32 };

typedef struct {
  int n, add;
  PlaneTerm terms[TERMS];
} Sum;

static void AddTerm(Sum *sum, const Geometry *g, int ldx, int ho, int wo, const real *x, const real *w,
                    real *result)
{
  if (x) sum->terms[sum->n++] = (PlaneTerm){x, w};
  if (sum->n < TERMS && x) return;
  if (sum->n || !sum->add)
    CourantPlaneCorrelate(sum->n, sum->terms, ldx, g->kh, g->kw, ho, wo, result, g->ldr, sum->add);
  sum->n = 0;
  sum->add = 1;
}

static void ForwardDirect(const Geometry *g, const CourantLayerCall *call, int sample)
{
  const int last = Min(call->order, call->x.degree), w_degree = call->w.degree;
  const Planes p = PlanesOf(g, call);

  for (int k = Max(0, call->from - w_degree); k <= last; k++)
    for (int i = 0; i < g->ic; i++) Pad(g, Image(call, &call->x, k, sample), i, (real *)XPlane(g, &p, k, i));
  for (int k = call->from; k <= call->order; k++)
    for (int o = 0; o < g->oc; o++) {
      Sum sum = {0};
      for (int i = 0; i < g->ic; i++)
        for (int j = Max(0, k - last); j <= Min(k, w_degree); j++)
          AddTerm(&sum, g, g->ldx, g->ho, g->wo, XPlane(g, &p, k - j, i), Kernel(g, call, j, o, i), p.result);
      AddTerm(&sum, g, g->ldx, g->ho, g->wo, NULL, NULL, p.result);
      Deliver(g, p.result, Bias(g, call, k, o), o, Output(call, &call->y, k, sample));
    }
}

static void BackwardDirect(const Geometry *g, const CourantLayerCall *call, int sample)
{
  const int last = Min(call->order, call->x.degree), w_degree = call->w.degree;
  const Planes p = PlanesOf(g, call);
  const ptrdiff_t inside = (ptrdiff_t)g->margin_y * g->ldz + g->margin_x;

  for (int k = 0; k <= call->order; k++) {
    for (int i = 0; k <= last && i < g->ic; i++)
      Pad(g, Image(call, &call->x, k, sample), i, (real *)XPlane(g, &p, k, i));
    for (int o = 0; o < g->oc; o++)
      Spread(g, Output(call, &call->dy, k, sample), o, (real *)ZPlane(g, &p, k, o));
  }
  for (int k = call->from; k <= call->order; k++) {
    for (int o = 0; call->dw[k] && o < g->oc; o++)
      for (int i = 0; i < g->ic; i++) {
        PlaneTerm terms[COURANT_ORDER_MAX + 1];
        int n = 0;
        for (int j = 0; j <= Min(k, last); j++)
          terms[n++] = (PlaneTerm){XPlane(g, &p, j, i), ZPlane(g, &p, k - j, o) + inside};
        CourantPlaneWeights(n, terms, g->ldx, g->ldz, g->kh, g->kw, g->ho, g->wo,
                            call->dw[k] + (ptrdiff_t)(o * g->ic + i) * (g->kh * g->kw));
      }
    for (int i = 0; call->dx.c[0] && i < g->ic; i++) {
      Sum sum = {0};
      for (int o = 0; o < g->oc; o++)
        for (int j = 0; j <= Min(k, w_degree); j++)
          AddTerm(&sum, g, g->ldz, g->hp, g->wp, ZPlane(g, &p, k - j, o), Behind(g, call, j, o, i), p.result);
      AddTerm(&sum, g, g->ldz, g->hp, g->wp, NULL, NULL, p.result);
      Unpad(g, p.result, i, call->dx.c[k] + (ptrdiff_t)sample * (ptrdiff_t)CourantShapeSize(call->layer->in));
    }
  }
}

/* Where the Fourier path keeps its planes and spectra. */
typedef struct {
  real *x, *z, *result, *work, *sum;
  real *dy; /* spectra of output gradients [order+1,oc] */
} Spectra;

static Spectra SpectraOf(const Geometry *g, const CourantLayerCall *call)
{
  Spectra s = {.x = call->scratch};
  s.z = s.x + g->xplane;
  s.result = s.z + g->zplane;
  s.work = s.result + g->rplane;
  s.sum = s.work + FourierWorkSize(g->hp, g->wp);
  s.dy = s.sum + g->spectrum;
  return s;
}

static real *XSpectrum(const Geometry *g, const CourantLayerCall *call, int k, int sample, int i)
{
  return call->state[k] + (size_t)(sample * g->ic + i) * g->spectrum;
}

static void ForwardFourier(const Geometry *g, const CourantLayerCall *call, int sample)
{
  const CourantFourier f = (CourantFourier)call->prepared;
  const int last = Min(call->order, call->x.degree), w_degree = call->w.degree;
  const Spectra s = SpectraOf(g, call);

  for (int k = call->from; k <= last; k++)
    for (int i = 0; i < g->ic; i++) {
      Pad(g, Image(call, &call->x, k, sample), i, s.x);
      CourantFourierForward(f, g->hp, g->wp, s.x, g->ldx, s.work, XSpectrum(g, call, k, sample, i));
    }
  for (int k = call->from; k <= call->order; k++)
    for (int o = 0; o < g->oc; o++) {
      memset(s.sum, 0, sizeof(real) * g->spectrum);
      for (int i = 0; i < g->ic; i++)
        for (int j = Max(0, k - last); j <= Min(k, w_degree); j++)
          CourantFourierMultiplyAdd(f, FOURIER_CONJUGATE_A, Behind(g, call, j, o, i),
                                    XSpectrum(g, call, k - j, sample, i), s.sum);
      CourantFourierBackward(f, g->ho, g->wo, s.sum, s.work, s.result, g->ldr, 0);
      Deliver(g, s.result, Bias(g, call, k, o), o, Output(call, &call->y, k, sample));
    }
}

static void BackwardFourier(const Geometry *g, const CourantLayerCall *call, int sample)
{
  const CourantFourier f = (CourantFourier)call->prepared;
  const int last = Min(call->order, call->x.degree), w_degree = call->w.degree;
  const int lowest =
      last == 0 && !call->dx.c[0] ? call->from : 0; /* of the output gradients that are needed */
  const Spectra s = SpectraOf(g, call);

  for (int k = lowest; k <= call->order; k++)
    for (int o = 0; o < g->oc; o++) {
      Spread(g, Output(call, &call->dy, k, sample), o, s.z);
      CourantFourierForward(f, g->ho, g->wo, s.z, g->ldz, s.work,
                            s.dy + (size_t)(k * g->oc + o) * g->spectrum);
    }
  for (int k = call->from; k <= call->order; k++) {
    for (int o = 0; call->dw[k] && o < g->oc; o++)
      for (int i = 0; i < g->ic; i++) {
        memset(s.sum, 0, sizeof(real) * g->spectrum);
        for (int j = 0; j <= Min(k, last); j++)
          CourantFourierMultiplyAdd(f, FOURIER_CONJUGATE_A,
                                    s.dy + (size_t)((k - j) * g->oc + o) * g->spectrum,
                                    XSpectrum(g, call, j, sample, i), s.sum);
        CourantFourierBackward(f, g->kh, g->kw, s.sum, s.work,
                               call->dw[k] + (ptrdiff_t)(o * g->ic + i) * (g->kh * g->kw), g->kw, 1);
      }
    for (int i = 0; call->dx.c[0] && i < g->ic; i++) {
      memset(s.sum, 0, sizeof(real) * g->spectrum);
      for (int o = 0; o < g->oc; o++)
        for (int j = 0; j <= Min(k, w_degree); j++)
          CourantFourierMultiplyAdd(f, FOURIER_CONJUGATE_NONE, Behind(g, call, j, o, i),
                                    s.dy + (size_t)((k - j) * g->oc + o) * g->spectrum, s.sum);
      CourantFourierBackward(f, g->hp, g->wp, s.sum, s.work, s.result, g->ldr, 0);
      Unpad(g, s.result, i, call->dx.c[k] + (ptrdiff_t)sample * (ptrdiff_t)CourantShapeSize(call->layer->in));
    }
  }
}

static void Forward(const CourantLayerCall *call)
{
  const Geometry g = GeometryOf(call->layer);

  for (int sample = 0; sample < call->n; sample++) {
    if (g.fourier)
      ForwardFourier(&g, call, sample);
    else
      ForwardDirect(&g, call, sample);
  }
}

static void Backward(const CourantLayerCall *call)
{
  const Geometry g = GeometryOf(call->layer);

  for (int sample = 0; sample < call->n; sample++) {
    if (g.fourier)
      BackwardFourier(&g, call, sample);
    else
      BackwardDirect(&g, call, sample);
    for (int k = call->from; call->layer->nparameters == 2 && k <= call->order; k++) {
      if (!call->dw[k]) continue;
      real *db = call->dw[k] + (ptrdiff_t)g.oc * g.ic * g.kh * g.kw;
      const real *dy = Output(call, &call->dy, k, sample);
      for (int i = 0; i < g.ho * g.wo; i++)
        for (int o = 0; o < g.oc; o++) db[o] += dy[(ptrdiff_t)i * g.oc + o];
    }
  }
}

COURANT_LAYER(conv) = {
    .name = "conv",
    .help = "convolution (cross-correlation, as in deep learning)",
    .examples = examples,
    .keys = keys,
    .options_size = sizeof(Conv),
    .linear = PETSC_TRUE,
    .SetUp = SetUp,
    .Space = Space,
    .Prepare = Prepare,
    .Release = Release,
    .Pack = Pack,
    .Forward = Forward,
    .Backward = Backward,
};
