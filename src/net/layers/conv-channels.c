/*
  Convolution on channel-last images: vectors run along the channels. For many channels, and for strides.

  The gradient by the input is a correlation of the output gradient, zeros around it, with turned kernels.
  With a stride s it falls apart into s x s phases: input pixels s a + p meet the taps s b + p alone, at
  output pixels a - b. Packed weights are those of the output and behind them those of every phase.
*/
#include "jet/channels.h"
#include "net/layers/conv-way.h"
#include <stdlib.h>

/* One phase along one axis, or all of it where the stride is 1. */
typedef struct {
  int taps, count; /* kernel taps, input pixels */
  int begin;       /* its first input pixel */
  int from;        /* the first patch, in output pixels (negative: in the margin) */
} Phase;

/* Phase p along an axis whose pixels lo .. lo+n-1, counted with the padding, are wanted. */
static Phase PhaseOf(int p, int stride, int kernel, int lo, int n)
{
  const int first = lo > p ? (lo - p + stride - 1) / stride : 0;
  Phase phase = {.taps = p < kernel ? (kernel - p + stride - 1) / stride : 0};

  phase.count = lo + n - 1 >= p ? (lo + n - 1 - p) / stride - first + 1 : 0;
  phase.begin = first * stride + p - lo;
  phase.from = first - ConvMax(phase.taps - 1, 0);
  return phase;
}

/* An axis of the gradient by the input: what part of the padded input is wanted, the margins of dy for it. */
typedef struct {
  int stride, kernel, lo, n;
  int before, after, length; /* zeros before and after the output gradient; with them */
} Axis;

static Axis AxisOf(int stride, int kernel, int lo, int n, int outputs)
{
  Axis a = {.stride = stride, .kernel = kernel, .lo = lo, .n = n};

  for (int p = 0; p < stride; p++) {
    const Phase phase = PhaseOf(p, stride, kernel, lo, n);
    if (phase.taps == 0 || phase.count <= 0) continue;
    a.before = ConvMax(a.before, -phase.from);
    a.after = ConvMax(a.after, phase.from + phase.count - 1 + phase.taps - outputs);
  }
  a.length = a.before + outputs + a.after;
  return a;
}

/*
  The kernels leave out rows that do not exist, so that rows are padded left and right alone. With circular
  padding there are rows to copy as well, and the gradient is formed with its padding and then folded back.
*/
typedef struct {
  Axis y, x;
  int top, h;          /* rows of padding that are left out, rows that are there */
  int pads_x, pads_z;  /* whether input and output gradient have to be copied */
  size_t px, pz, fold; /* reals of the copies, and of the gradient to be folded */
} Plan;

static size_t Pixels(int h, int w, int c)
{
  return ConvWhole((size_t)h * (size_t)w * (size_t)c) + 16;
}

static Plan PlanOf(const ConvShape *s)
{
  Plan p = {.y = AxisOf(s->sy, s->kh, s->circular ? 0 : s->top, s->circular ? s->hp : s->h, s->ho),
            .x = AxisOf(s->sx, s->kw, s->circular ? 0 : s->left, s->circular ? s->wp : s->w, s->wo)};

  p.top = s->circular ? 0 : s->top;
  p.h = s->circular ? s->hp : ConvMax(0, ConvMin(s->h, s->hp - s->top));
  p.pads_x = s->left > 0 || s->wp > s->w || p.h > s->h;
  p.pads_z = !s->first && p.x.length > s->wo;
  p.px = p.pads_x ? Pixels(p.h, s->wp, s->ic) : 0;
  p.pz = p.pads_z ? Pixels(s->ho, p.x.length, s->oc) : 0;
  p.fold = s->circular && !s->first ? Pixels(s->hp, s->wp, s->ic) : 0;
  return p;
}

/* Theta's [oc,ic,kh,kw] as the kernel of the output. */
static ChannelsKernel OutputKernel(const ConvShape *s)
{
  const ptrdiff_t taps = (ptrdiff_t)s->kh * s->kw;
  return (ChannelsKernel){.kh = s->kh,
                          .kw = s->kw,
                          .in = s->ic,
                          .out = s->oc,
                          .sy = s->kw,
                          .sx = 1,
                          .si = taps,
                          .so = s->ic * taps};
}

/* The same as the turned kernel of a phase, from output to input channels. */
static ChannelsKernel PhaseKernel(const ConvShape *s, const Phase *y, const Phase *x, int py, int px)
{
  const ptrdiff_t taps = (ptrdiff_t)s->kh * s->kw;
  return (ChannelsKernel){.kh = y->taps,
                          .kw = x->taps,
                          .in = s->oc,
                          .out = s->ic,
                          .offset =
                              (ptrdiff_t)(s->sy * (y->taps - 1) + py) * s->kw + s->sx * (x->taps - 1) + px,
                          .sy = -(ptrdiff_t)s->sy * s->kw,
                          .sx = -s->sx,
                          .si = s->ic * taps,
                          .so = taps};
}

/* Calls Do for every phase, in order; `at` is where its packed weights begin. */
static void ForEveryPhase(const ConvShape *s, const Plan *p, void *context,
                          void (*Do)(void *context, const ChannelsKernel *, const Phase *, const Phase *,
                                     size_t at))
{
  const ChannelsKernel output = OutputKernel(s);
  size_t at = ConvWhole(CourantChannelsPackedSize(&output));

  for (int py = 0; py < s->sy; py++)
    for (int px = 0; px < s->sx; px++) {
      const Phase y = PhaseOf(py, s->sy, s->kh, p->y.lo, p->y.n),
                  x = PhaseOf(px, s->sx, s->kw, p->x.lo, p->x.n);
      const ChannelsKernel kernel = PhaseKernel(s, &y, &x, py, px);
      Do(context, &kernel, &y, &x, at);
      at += ConvWhole(CourantChannelsPackedSize(&kernel));
    }
}

static void CountPhase(void *context, const ChannelsKernel *kernel, const Phase *y, const Phase *x, size_t at)
{
  (void)y, (void)x;
  *(size_t *)context = at + ConvWhole(CourantChannelsPackedSize(kernel));
}

static void Space(const ConvShape *s, int order, CourantLayerSpace *space)
{
  const Plan p = PlanOf(s);
  const ChannelsKernel kernel = OutputKernel(s);

  space->gradient = space->packed = CourantChannelsPackedSize(&kernel);
  if (!s->first) ForEveryPhase(s, &p, &space->packed, CountPhase);
  space->scratch = (size_t)(order + 1) * (p.px + p.pz) + p.fold;
}

static void *Prepare(const ConvShape *s)
{
  Plan *plan = (Plan *)malloc(sizeof *plan);
  if (plan) *plan = PlanOf(s);
  return plan;
}

typedef struct {
  const double *weights;
  real *packed;
} Packing;

static void PackPhase(void *context, const ChannelsKernel *kernel, const Phase *y, const Phase *x, size_t at)
{
  const Packing *p = (const Packing *)context;
  (void)y, (void)x;
  CourantChannelsPack(kernel, p->weights, p->packed + at);
}

static void Pack(const ConvShape *s, void *plan, const double *weights, real *packed, real *scratch)
{
  const ChannelsKernel kernel = OutputKernel(s);
  Packing packing = {weights, packed};

  (void)scratch;
  CourantChannelsPack(&kernel, weights, packed);
  if (!s->first) ForEveryPhase(s, (const Plan *)plan, &packing, PackPhase);
}

static void Unpack(const ConvShape *s, void *plan, real *packed, double *weights, real *scratch)
{
  const ChannelsKernel kernel = OutputKernel(s);
  (void)plan, (void)scratch;
  CourantChannelsUnpack(&kernel, packed, weights);
}

/* Image [h,w,c] to [hp,wp,c], its rows with `left` pixels before them and zeros on both sides; where it
 * wraps, the image again, and `top` rows before it too. */
static void Place(int h, int w, int c, const real *image, int top, int left, int hp, int wp, int wrap,
                  real *padded)
{
  const int inside = ConvMax(0, ConvMin(w, wp - left)), right = wp - left - inside;
  const size_t pixel = sizeof(real) * (size_t)c;

  for (int py = 0; py < hp; py++) {
    real *row = padded + (ptrdiff_t)py * wp * c;
    const real *from = image + (ptrdiff_t)(wrap ? (py - top + h) % h : py) * w * c;
    real *end = row + (ptrdiff_t)(left + inside) * c;
    memcpy(row + (ptrdiff_t)left * c, from, pixel * (size_t)inside);
    if (wrap) {
      memcpy(row, from + (ptrdiff_t)(w - left) * c, pixel * (size_t)left);
      memcpy(end, from, pixel * (size_t)right);
    } else {
      memset(row, 0, pixel * (size_t)left);
      memset(end, 0, pixel * (size_t)right);
    }
  }
}

/* The adjoint of Place() with wrap. */
static void Fold(const ConvShape *s, const real *padded, real *image)
{
  memset(image, 0, sizeof(real) * (size_t)s->h * (size_t)s->w * (size_t)s->ic);
  for (int py = 0; py < s->hp; py++)
    for (int px = 0; px < s->wp; px++) {
      const int y = (py - s->top + s->h) % s->h, x = (px - s->left + s->w) % s->w;
      const real *from = padded + ((ptrdiff_t)py * s->wp + px) * s->ic;
      real *to = image + ((ptrdiff_t)y * s->w + x) * s->ic;
      for (int i = 0; i < s->ic; i++) to[i] += from[i];
    }
}

/* The images of a sample as the kernels read them: where they are, or copied with their padding. */
typedef struct {
  const real *x[COURANT_ORDER_MAX + 1], *z[COURANT_ORDER_MAX + 1];
  real *fold;
} Padded;

static void PadInput(const ConvShape *s, const Plan *p, const CourantLayerCall *call, int lowest, int sample,
                     Padded *padded)
{
  for (int k = lowest; k <= ConvMin(call->order, call->x.degree); k++) {
    const real *x = ConvInput(s, &call->x, k, sample);
    real *copy = call->scratch + (size_t)k * p->px;
    if (p->pads_x) Place(s->h, s->w, s->ic, x, s->top, s->left, p->h, s->wp, s->circular, copy);
    padded->x[k] = p->pads_x ? copy : x;
  }
}

static void PadOutputGradient(const ConvShape *s, const Plan *p, const CourantLayerCall *call, int lowest,
                              int sample, Padded *padded)
{
  real *copies = call->scratch + (size_t)(call->order + 1) * p->px;

  padded->fold = copies + (size_t)(call->order + 1) * p->pz;
  for (int k = lowest; k <= call->order; k++) {
    const real *dy = ConvOutput(s, &call->dy, k, sample);
    real *copy = copies + (size_t)k * p->pz;
    if (p->pads_z) Place(s->ho, s->wo, s->oc, dy, 0, p->x.before, s->ho, p->x.length, 0, copy);
    padded->z[k] = p->pads_z ? copy : dy;
  }
}

static ChannelsShape OutputShape(const ConvShape *s, const Plan *p)
{
  const ptrdiff_t row = (ptrdiff_t)(p->pads_x ? s->wp : s->w) * s->ic;
  return (ChannelsShape){.kh = s->kh,
                         .inner = s->kw * s->ic,
                         .out = s->oc,
                         .ho = s->ho,
                         .wo = s->wo,
                         .sy = s->sy,
                         .top = p->top,
                         .h = p->h,
                         .x_row = row,
                         .x_step = s->sx * s->ic,
                         .y_row = (ptrdiff_t)s->wo * s->oc,
                         .y_step = s->oc};
}

static void Forward(const ConvShape *s, void *plan, const CourantLayerCall *call, int sample)
{
  const Plan *p = (const Plan *)plan;
  const int last = ConvMin(call->order, call->x.degree), w_degree = call->w.degree;
  const ChannelsShape shape = OutputShape(s, p);
  Padded padded;

  PadInput(s, p, call, ConvMax(0, call->from - w_degree), sample, &padded);
  for (int k = call->from; k <= call->order; k++) {
    ChannelsTerm terms[2];
    int n = 0;
    for (int j = ConvMax(0, k - last); j <= ConvMin(k, w_degree); j++)
      terms[n++] = (ChannelsTerm){padded.x[k - j], ConvWeights(s, call, j)};
    CourantChannelsCorrelate(&shape, n, terms, ConvBias(call, k), ConvOutput(s, &call->y, k, sample));
  }
}

/* The gradient by the input, coefficient k, phase by phase. */
typedef struct {
  const ConvShape *s;
  const Plan *p;
  const CourantLayerCall *call;
  const Padded *padded;
  int k, width; /* pixels of a row of dx */
  real *dx;
} InputGradient;

static void AddPhase(void *context, const ChannelsKernel *kernel, const Phase *y, const Phase *x, size_t at)
{
  const InputGradient *g = (const InputGradient *)context;
  const ConvShape *s = g->s;
  const ptrdiff_t row = (ptrdiff_t)g->p->x.length * s->oc;
  const ChannelsShape shape = {.kh = x->taps ? kernel->kh : 0,
                               .inner = kernel->kw * s->oc,
                               .out = s->ic,
                               .ho = y->count,
                               .wo = x->count,
                               .sy = 1,
                               .top = -y->from,
                               .h = s->ho,
                               .x_row = row,
                               .x_step = s->oc,
                               .y_row = (ptrdiff_t)s->sy * g->width * s->ic,
                               .y_step = (ptrdiff_t)s->sx * s->ic};
  const ptrdiff_t from = (ptrdiff_t)(g->p->x.before + x->from) * s->oc;
  ChannelsTerm terms[2];
  int n = 0;

  for (int j = 0; j <= ConvMin(g->k, g->call->w.degree); j++)
    terms[n++] = (ChannelsTerm){g->padded->z[g->k - j] + from, ConvWeights(s, g->call, j) + at};
  CourantChannelsCorrelate(&shape, n, terms, NULL,
                           g->dx + ((ptrdiff_t)y->begin * g->width + x->begin) * s->ic);
}

static void Backward(const ConvShape *s, void *plan, const CourantLayerCall *call, int sample)
{
  const Plan *p = (const Plan *)plan;
  const int last = ConvMin(call->order, call->x.degree);
  const ChannelsShape shape = OutputShape(s, p);
  Padded padded;

  if (call->dw[call->order]) PadInput(s, p, call, 0, sample, &padded);
  if (call->dx.c[0]) PadOutputGradient(s, p, call, ConvMax(0, call->from - call->w.degree), sample, &padded);
  for (int k = call->from; k <= call->order; k++) {
    if (call->dw[k]) {
      ChannelsTerm terms[COURANT_ORDER_MAX + 1];
      int n = 0;
      for (int j = 0; j <= ConvMin(k, last); j++)
        terms[n++] = (ChannelsTerm){padded.x[j], ConvOutput(s, &call->dy, k - j, sample)};
      CourantChannelsWeights(&shape, n, terms, 0, ConvGradient(s, call, k));
    }
    if (call->dx.c[0]) {
      real *dx = ConvInput(s, &call->dx, k, sample);
      InputGradient g = {s, p, call, &padded, k, s->circular ? s->wp : s->w, s->circular ? padded.fold : dx};
      ForEveryPhase(s, p, &g, AddPhase);
      if (s->circular) Fold(s, padded.fold, dx);
    }
  }
}

/* A correlation: 1 a multiply-add, 1 a number copied or stored, 4 a pixel that does not fill 16 bytes. */
static double Correlation(double pixels, double inner, int out, double numbers)
{
  const double rest = out * sizeof(real) % 16 ? 4 : 0;
  return pixels * (inner * CourantChannelsVectors(out) + rest) + numbers;
}

static double Cost(const ConvShape *s)
{
  const double taps = (double)s->kh * s->kw, x = (double)s->h * s->w, y = (double)s->ho * s->wo;
  const double z = (double)(s->ho + 2 * s->kh) * (s->wo + 2 * s->kw), numbers = y * (s->ic + s->oc);
  const double phase = taps / (s->sy * s->sx); /* taps that an input pixel meets */

  return 2 * Correlation(y, taps * s->ic, s->oc, numbers) +
         (s->first ? 0 : Correlation(x, phase * s->oc, s->ic, 2 * z * s->oc));
}

const ConvWay COURANT_VARIANT(ConvChannels) = {
    .Space = Space,
    .Prepare = Prepare,
    .Release = free,
    .Pack = Pack,
    .Unpack = Unpack,
    .Forward = Forward,
    .Backward = Backward,
    .Cost = Cost,
};
