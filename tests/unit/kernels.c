/*
  The kernels against plain loops and matrix products: convolution with every padding, stride and number of
  channels, dense layers.
*/
#include "kernel-call.h"
#include "numerics.h"
#include <cblas.h>
#include "net/layers/conv.h"

/* A correlation whose weights are [oc,ic,kh,kw], images channel-last; dense layers are one of one pixel. */
typedef struct {
  int h, w, ic, ho, wo, oc, kh, kw, sy, sx, top, left, circular, bias;
} Shape;

static Shape ShapeOf(const CourantLayer *layer)
{
  Shape s = {.h = (int)layer->in.h,
             .w = (int)layer->in.w,
             .ic = (int)layer->in.c,
             .ho = (int)layer->out.h,
             .wo = (int)layer->out.w,
             .oc = (int)layer->out.c,
             .kh = 1,
             .kw = 1,
             .sy = 1,
             .sx = 1,
             .bias = layer->nparameters == 2};

  if (layer->parameters[0].ndims == 4) {
    const CourantConvOptions *conv = (const CourantConvOptions *)layer->options;
    s.kh = (int)conv->kernel[0], s.kw = (int)conv->kernel[1];
    s.sy = (int)conv->stride[0], s.sx = (int)conv->stride[1];
    s.circular = conv->padding == COURANT_PADDING_CIRCULAR;
    const int centred = s.circular || conv->padding == COURANT_PADDING_SAME;
    s.top = centred ? (s.kh - 1) / 2 : conv->padding > 0 ? conv->padding : 0;
    s.left = centred ? (s.kw - 1) / 2 : conv->padding > 0 ? conv->padding : 0;
  }
  return s;
}

/* Input pixel of tap (ky,kx) at output (oy,ox); -1 outside the image. */
static int InputPixel(const Shape *s, int oy, int ox, int ky, int kx)
{
  int y = oy * s->sy + ky - s->top, x = ox * s->sx + kx - s->left;
  if (s->circular) y = (y + s->h) % s->h, x = (x + s->w) % s->w;
  return y < 0 || y >= s->h || x < 0 || x >= s->w ? -1 : y * s->w + x;
}

/* The three products of one pair of coefficients and their size, all added to. */
typedef struct {
  const double *x, *w, *dy;
  double *y, *dx, *dw; /* NULL: not wanted */
} Products;

/* Element by element. */
static void Naive(const Shape *s, const Products *p)
{
  for (int oy = 0; oy < s->ho; oy++)
    for (int ox = 0; ox < s->wo; ox++)
      for (int ky = 0; ky < s->kh; ky++)
        for (int kx = 0; kx < s->kw; kx++) {
          const int in = InputPixel(s, oy, ox, ky, kx), out = oy * s->wo + ox;
          for (int o = 0; in >= 0 && o < s->oc; o++)
            for (int i = 0; i < s->ic; i++) {
              const int w = ((o * s->ic + i) * s->kh + ky) * s->kw + kx;
              if (p->y) p->y[out * s->oc + o] += p->x[in * s->ic + i] * p->w[w];
              if (p->dx) p->dx[in * s->ic + i] += p->dy[out * s->oc + o] * p->w[w];
              if (p->dw) p->dw[w] += p->x[in * s->ic + i] * p->dy[out * s->oc + o];
            }
        }
}

/* By columns [ho wo, ic kh kw] and matrix products. */
static void Columns(const Shape *s, const Products *p)
{
  const int m = s->ho * s->wo, k = s->ic * s->kh * s->kw, n = s->oc;
  double *columns = calloc((size_t)m * (size_t)k, sizeof(double)),
         *back = calloc((size_t)m * (size_t)k, sizeof(double));

#define EVERY_COLUMN(statement)                                                                              \
  for (int out = 0; out < m; out++)                                                                          \
    for (int tap = 0; tap < s->kh * s->kw; tap++)                                                            \
      for (int i = 0, in = InputPixel(s, out / s->wo, out % s->wo, tap / s->kw, tap % s->kw); i < s->ic;     \
           i++) {                                                                                            \
        const int column = out * k + i * s->kh * s->kw + tap;                                                \
        if (in >= 0) statement;                                                                              \
      }
  EVERY_COLUMN(columns[column] = p->x[in * s->ic + i])
  if (p->y) cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, columns, k, p->w, k, 1, p->y, n);
  if (p->dw)
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, k, m, 1, p->dy, n, columns, k, 1, p->dw, k);
  if (p->dx) {
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, k, n, 1, p->dy, n, p->w, k, 0, back, k);
    EVERY_COLUMN(p->dx[in * s->ic + i] += back[column])
  }
#undef EVERY_COLUMN
  free(columns), free(back);
}

enum { SAMPLES = 3 };

/* Inputs and results of jets of order 1, in theta's order and in double. */
typedef struct {
  PetscInt in, out, p; /* numbers of all samples, and of the parameters */
  double *x[2], *theta[2], *dy[2], *y[2], *dx[2], *dw[2];
} Jets;

static Jets JetsOpen(const CourantLayer *layer)
{
  Jets j = {.in = SAMPLES * (PetscInt)CourantShapeSize(layer->in),
            .out = SAMPLES * (PetscInt)CourantShapeSize(layer->out),
            .p = layer->size};

  for (int k = 0; k < 2; k++) {
    j.x[k] = Normal(j.in, (uint32_t)k, 1), j.theta[k] = Normal(j.p, (uint32_t)k + 2, 1);
    j.dy[k] = Normal(j.out, (uint32_t)k + 4, 1);
    j.y[k] = calloc((size_t)j.out, sizeof(double)), j.dx[k] = calloc((size_t)j.in, sizeof(double));
    j.dw[k] = calloc((size_t)j.p, sizeof(double));
  }
  return j;
}

static void JetsClose(Jets *j)
{
  for (int k = 0; k < 2; k++) {
    free(j->x[k]), free(j->theta[k]), free(j->dy[k]), free(j->y[k]), free(j->dx[k]), free(j->dw[k]);
  }
}

/* What the layer has to give, by one of the references. */
static void Expect(const Shape *s, Jets *j, void (*Reference)(const Shape *, const Products *))
{
  const int weights = s->oc * s->ic * s->kh * s->kw, pixels = s->ho * s->wo;

  for (int sample = 0; sample < SAMPLES; sample++) {
    const PetscInt in = sample * (j->in / SAMPLES), out = sample * (j->out / SAMPLES);
    for (int k = 0; k < 2; k++) {
      for (int i = 0; i <= k; i++) {
        Reference(s, &(Products){.x = j->x[i] + in, .w = j->theta[k - i], .y = j->y[k] + out});
        Reference(s, &(Products){j->x[i] + in, j->theta[k - i], j->dy[i] + out, NULL, j->dx[k] + in, NULL});
        Reference(s, &(Products){.x = j->x[i] + in, .dy = j->dy[k - i] + out, .dw = j->dw[k]});
      }
      for (int i = 0; s->bias && i < pixels * s->oc; i++) {
        j->y[k][out + i] += j->theta[k][weights + i % s->oc];
        j->dw[k][weights + i % s->oc] += j->dy[k][out + i];
      }
    }
  }
}

static double At(const CourantBackend *backend, const void *array, PetscInt i)
{
  return backend->bits == 64 ? ((const double *)array)[i] : (double)((const float *)array)[i];
}

/* The largest difference from the expectation, over the largest number expected. */
static double Error(const CourantBackend *backend, PetscInt n, const double *expected, const void *array)
{
  double difference = 0, size = 0;

  for (PetscInt i = 0; i < n; i++) {
    const double d = fabs(At(backend, array, i) - expected[i]);
    if (!(d <= difference)) difference = d; /* NaN too */
    size = fmax(size, fabs(expected[i]));
  }
  return difference / fmax(size, 1);
}

static const char *described;
static CourantShape image;
static Jets *jets;

/* One sample at a time gives the bits of all in one call. */
static void CompareBlocks(KernelCall *f, const double *all)
{
  double *one = malloc(sizeof(double) * (size_t)jets->p);
  CourantLayerCall call = f->call;
  const size_t size = f->backend->real_size;

  call.n = 1;
  memset(f->call.dw[1], 0, f->space.gradient * size);
  for (size_t sample = 0; sample < SAMPLES; sample++) {
    for (int k = 0; k < 2; k++) {
      call.x.c[k] = (real *)((char *)f->call.x.c[k] + sample * f->in * size);
      call.dy.c[k] = (real *)((char *)f->call.dy.c[k] + sample * f->out * size);
    }
    f->ops->Forward(&call);
    f->ops->Backward(&call);
  }
  f->ops->Unpack(f->layer, call.prepared, f->call.dw[1], one, call.scratch);
  assert_memory_equal(one, all, sizeof(double) * (size_t)jets->p);
  free(one);
}

static void CompareLayer(const CourantBackend *backend)
{
  const double tolerance = backend->bits == 64 ? 1e-14 : 6e-6;
  double *dw = malloc(sizeof(double) * (size_t)jets->p);
  KernelCall f;

  OK(KernelOpen(backend, described, image, PETSC_FALSE, SAMPLES, &f));
  for (int k = 0; k < 2; k++) KernelSet(&f, k, jets->x[k], jets->dy[k], jets->theta[k]);
  f.ops->Forward(&f.call);
  f.ops->Backward(&f.call);
  for (int k = 0; k < 2; k++) {
    BELOW(Error(backend, jets->out, jets->y[k], f.call.y.c[k]), tolerance);
    BELOW(Error(backend, jets->in, jets->dx[k], f.call.dx.c[k]), tolerance);
    f.ops->Unpack(f.layer, f.call.prepared, f.call.dw[k], dw, f.call.scratch);
    double difference = 0, size = 1;
    for (PetscInt i = 0; i < jets->p; i++) {
      if (!(fabs(dw[i] - jets->dw[k][i]) <= difference)) difference = fabs(dw[i] - jets->dw[k][i]);
      size = fmax(size, fabs(jets->dw[k][i]));
    }
    BELOW(difference / size, tolerance);
  }
  CompareBlocks(&f, dw);
  OK(KernelClose(&f));
  free(dw);
}

static void Compare(const char *layer, CourantShape in, void (*Reference)(const Shape *, const Products *))
{
  const CourantBackend *backend;
  KernelCall f;

  OK(CourantBackendGet(PETSC_COMM_SELF, 64, NULL, &backend));
  OK(KernelOpen(backend, layer, in, PETSC_FALSE, 1, &f));
  const Shape s = ShapeOf(f.layer);
  Jets j = JetsOpen(f.layer);
  OK(KernelClose(&f));
  Expect(&s, &j, Reference);
  described = layer, image = in, jets = &j;
  ForEveryBackend(64, CompareLayer);
  ForEveryBackend(32, CompareLayer);
  JetsClose(&j);
}

static const int channels[] = {1, 2, 3, 4, 5, 8, 16, 17, 33};
enum { CHANNELS = sizeof channels / sizeof *channels };

/* Every padding with every stride and kernel; pairs of channel counts in turn, each several times. */
static void Convolution(void **state)
{
  const char *const paddings[] = {"valid", "same", "circular", "1", "4"},
                    *const kernels[] = {"1", "2", "3", "[3, 4]", "5"},
                    *const strides[] = {"1", "2", "3", "[1, 2]"};
  int turn = 0;

  (void)state;
  for (int p = 0; p < 5; p++)
    for (int k = 0; k < 5; k++)
      for (int s = 0; s < 4; s++)
        for (int c = 0; c < 4; c++) {
          char layer[256];
          if (p == 1 && (s > 0 || k == 1 || k == 3)) continue; /* same: odd kernels, stride 1 */
          const int oc = channels[turn % CHANNELS], ic = channels[(turn / CHANNELS + turn) % CHANNELS];
          turn++;
          snprintf(layer, sizeof layer, "conv: {channels: %d, kernel: %s, stride: %s, padding: %s, bias: %s}",
                   oc, kernels[k], strides[s], paddings[p], turn % 2 ? "true" : "false");
          Compare(layer, (CourantShape){7, 15, ic}, Naive);
        }
}

/* Large kernels, which go through FFTW. */
static void Fourier(void **state)
{
  (void)state;
  Compare("conv: {channels: 1, kernel: 17}", (CourantShape){40, 33, 2}, Naive);
  Compare("conv: {channels: 2, kernel: 17, padding: 8}", (CourantShape){21, 38, 3}, Naive);
  Compare("conv: {channels: 2, kernel: [16, 19], padding: circular}", (CourantShape){32, 30, 1}, Naive);
}

/* The sizes of real networks. */
static void LargeConvolution(void **state)
{
  (void)state;
  Compare("conv: {channels: 64, kernel: 3, padding: same}", (CourantShape){16, 16, 32}, Columns);
  Compare("conv: {channels: 32, kernel: 3, stride: 2, padding: 1}", (CourantShape){32, 32, 16}, Columns);
  Compare("conv: {channels: 16, kernel: 5}", (CourantShape){28, 28, 8}, Columns);
  Compare("conv: {channels: 24, kernel: 3, padding: circular}", (CourantShape){14, 14, 40}, Columns);
  Compare("conv: {channels: 12, kernel: 1, stride: 2}", (CourantShape){15, 15, 64}, Columns);
}

static void DenseLayer(void **state)
{
  (void)state;
  for (int in = 0; in < CHANNELS; in++)
    for (int out = 0; out < CHANNELS; out++) {
      char layer[128];
      snprintf(layer, sizeof layer, "dense: {features: %d, bias: %s}", channels[out],
               out % 2 ? "true" : "false");
      Compare(layer, (CourantShape){1, 1, channels[in]}, Naive);
    }
  Compare("dense: {features: 120}", (CourantShape){1, 1, 400}, Columns);
}

/* Options that make no sense are the user's mistake, told with the reason. */
static void Refuse(const char *layer, CourantShape in, const char *reason)
{
  KernelCall f;

  assert_int_not_equal(KernelOpen(CourantBackendDefault(), layer, in, PETSC_FALSE, 1, &f), 0);
  if (!strstr(CourantErrorMessage(), reason))
    fail_msg("'%s' does not say: %s", CourantErrorMessage(), reason);
  CourantErrorClear();
  OK(CourantNetDestroy(&f.net));
  OK(CourantDeckDestroy(&f.deck));
}

static void Refusals(void **state)
{
  const CourantShape in = {8, 8, 1};

  (void)state;
  Refuse("conv: {channels: 1, kernel: 3, stride: 2, padding: same}", in, "needs stride 1");
  Refuse("conv: {channels: 1, kernel: 2, padding: same}", in, "needs an odd kernel");
  Refuse("conv: {channels: 1, kernel: 9, stride: 2}", in, "larger than the 8x8 input");
  Refuse("dense: {features: 3}", (CourantShape){4, 5, 6}, "4 x 5 x 6: put flatten before it");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Convolution), cmocka_unit_test(Fourier),  cmocka_unit_test(LargeConvolution),
    cmocka_unit_test(DenseLayer),  cmocka_unit_test(Refusals),
};

TEST_MAIN(tests)
