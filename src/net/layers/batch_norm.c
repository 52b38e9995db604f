/*
  Batch normalisation (Ioffe, Szegedy 2015) over a statistics group: y = gamma (x - mu) / sqrt(v + epsilon) +
  beta, mu and v the mean and biased variance of a channel over all pixels of the group's samples.

  Everything is a Taylor series in e. The variance is the mean of the squared series x - mu, its inverse root
  r comes from the power series recurrence, and backward is that of order 0 with series for numbers: dx =
  gamma r (dy - mean(dy) - x^ mean(dy x^)), x^ = (x - mu) r.
*/
#include "net/layerops.h"
#include <math.h>

typedef struct {
  double epsilon, momentum;
} BatchNorm;

static const CourantKey keys[] = {
    {"epsilon", COURANT_KEY_REAL, offsetof(BatchNorm, epsilon), "1e-5", 0, 1e300,
     .help = "added to the variance"},
    {"momentum", COURANT_KEY_REAL, offsetof(BatchNorm, momentum), "0.1", 0, 1,
     .help = "weight of a new batch in the running statistics"},
    {0},
};

static const char *const examples[] = {"{}", "{epsilon: 0.1}", NULL};

static PetscErrorCode SetUp(CourantLayer *layer)
{
  const PetscInt c = layer->in.c;

  PetscFunctionBeginUser;
  layer->out = layer->in;
  layer->momentum = ((const BatchNorm *)layer->options)->momentum;
  layer->nparameters = 2;
  layer->parameters[0] = (CourantParameter){.name = "weight",
                                            .ndims = 1,
                                            .dims = {c},
                                            .fan_in = 1,
                                            .fan_out = 1,
                                            .exempt = PETSC_TRUE,
                                            .fixed = PETSC_TRUE,
                                            .start = 1};
  layer->parameters[1] = (CourantParameter){.name = "bias",
                                            .ndims = 1,
                                            .dims = {c},
                                            .fan_in = 1,
                                            .fan_out = 1,
                                            .exempt = PETSC_TRUE,
                                            .fixed = PETSC_TRUE};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Numbers per channel are repeated until they fill whole vectors, so that one vector of consecutive elements
  meets one vector of numbers: a pattern of `vectors` vectors, at least eight to keep sums apart.
*/
static int PatternVectors(const CourantLayer *layer)
{
  const int c = (int)layer->in.c;
  int once = c;
  while (once % VL) once += c;
  once /= VL;
  return once * ((7 + once) / once);
}

static real *Pattern(const CourantLayerCall *call, int index)
{
  return call->scratch + (size_t)index * (size_t)PatternVectors(call->layer) * VL;
}

/* What a group shares, per coefficient: mean, variance, r = (variance + epsilon)^(-1/2); and backward the
   means of dy and of dy x^. */
enum { MEAN, VARIANCE, ROOT, DY, DYX, SHARED };

static double *Shared(double *const *shared, const CourantLayer *layer, int k, int what)
{
  return shared[k] + (size_t)what * (size_t)layer->in.c;
}

enum { PATTERNS = 5 * (COURANT_ORDER_MAX + 1) };

/* A record is the number of elements and two rows of series per channel. */
static void Space(const CourantLayer *layer, int order, CourantLayerSpace *space)
{
  space->shared = SHARED * (size_t)layer->in.c;
  space->record = 1 + (2 * (size_t)(order + 1) + 1) * (size_t)layer->in.c; /* and a row to work in */
  space->scratch = PATTERNS * (size_t)PatternVectors(layer) * VL;
}

static void Spread(const CourantLayerCall *call, int index, const double *numbers)
{
  real *pattern = Pattern(call, index);
  const int c = (int)call->layer->in.c, n = PatternVectors(call->layer) * VL;
  for (int i = 0; i < c; i++) pattern[i] = (real)numbers[i];
  for (int i = c; i < n; i++) pattern[i] = pattern[i - c];
}

static int Elements(const CourantLayerCall *call)
{
  return call->n * (int)CourantShapeSize(call->layer->in);
}

static double *Row(const CourantLayer *layer, int order, double *record, int which, int k)
{
  return record + 1 + (size_t)(which * (order + 1) + k) * (size_t)layer->in.c;
}

/* sums[c] of a pattern of partial sums. */
static void Fold(const CourantLayerCall *call, const real *pattern, double *sums)
{
  const int c = (int)call->layer->in.c, n = PatternVectors(call->layer) * VL;
  for (int i = 0; i < c; i++) sums[i] = 0;
  for (int i = 0; i < n; i++) sums[i % c] += (double)pattern[i];
}

/* Sum of a_i b_i over the elements of a channel, a and b less their pattern. Lanes past the end count as 0.
 */
static inline __attribute__((always_inline)) void Products(const CourantLayerCall *call, const real *a,
                                                           const real *a0, const real *b, const real *b0,
                                                           real *sums)
{
  const int vectors = PatternVectors(call->layer), n = Elements(call), step = vectors * VL;

  memset(sums, 0, sizeof(real) * (size_t)step);
  for (int at = 0; at < n; at += step) {
    const int whole = n - at < step ? (n - at) / VL * VL : step;
    for (int i = 0; i < whole; i += VL) {
      const vec x = a0 ? Load(a + at + i) - Load(a0 + i) : Load(a + at + i);
      const vec y = b ? (b0 ? Load(b + at + i) - Load(b0 + i) : Load(b + at + i)) : Splat(1);
      Store(sums + i, Madd(x, y, Load(sums + i)));
    }
    for (int i = whole; i < step && at + i < n; i++)
      sums[i] += (a[at + i] - (a0 ? a0[i] : 0)) * (b ? b[at + i] - (b0 ? b0[i] : 0) : 1);
  }
}

/* Means m_k of a block, and C_k = sum_j sum_i (x_j - m_j)(x_(k-j) - m_(k-j)). */
static void MeasureForward(const CourantLayerCall *call, double *record)
{
  const CourantLayer *layer = call->layer;
  const int c = (int)layer->in.c, order = call->order;
  const double count = (double)Elements(call) / c;
  real *sums = Pattern(call, COURANT_ORDER_MAX + 1);
  double *folded = record + 1 + 2 * (size_t)(order + 1) * (size_t)c;

  record[0] = count;
  for (int k = 0; k <= order; k++) {
    double *mean = Row(layer, order, record, 0, k);
    Products(call, call->x.c[k], NULL, NULL, NULL, sums);
    Fold(call, sums, mean);
    for (int i = 0; i < c; i++) mean[i] /= count;
    Spread(call, k, mean);
  }
  for (int k = call->from; k <= order; k++) {
    double *square = Row(layer, order, record, 1, k);
    for (int i = 0; i < c; i++) square[i] = 0;
    for (int j = 0; 2 * j <= k; j++) {
      Products(call, call->x.c[j], Pattern(call, j), call->x.c[k - j], Pattern(call, k - j), sums);
      Fold(call, sums, folded);
      for (int i = 0; i < c; i++) square[i] += (2 * j < k ? 2 : 1) * folded[i];
    }
  }
}

/* C of two sets together (Chan, Golub, LeVeque 1979): C_a + C_b + (n_a n_b / n) d d, d the difference of
 * means. */
static void MergeForward(const CourantLayerCall *call, double *into, const double *record)
{
  const CourantLayer *layer = call->layer;
  const int c = (int)layer->in.c, order = call->order;
  const double a = into[0], b = record[0], n = a + b;

  for (int i = 0; i < c; i++) {
    double d[COURANT_ORDER_MAX + 1];
    for (int k = 0; k <= order; k++) {
      double *mean = &Row(layer, order, into, 0, k)[i];
      d[k] = Row(layer, order, (double *)record, 0, k)[i] - *mean;
      *mean += d[k] * (b / n);
    }
    for (int k = call->from; k <= order; k++) {
      double cross = 0;
      for (int j = 0; j <= k; j++) cross += d[j] * d[k - j];
      Row(layer, order, into, 1, k)[i] += Row(layer, order, (double *)record, 1, k)[i] + cross * (a * b / n);
    }
  }
  into[0] = n;
}

/* Mean, variance and r = u^(-1/2), u = variance + epsilon: k u_0 r_k = sum_i (-i/2 - (k - i)) u_i r_(k-i). */
static void ConcludeForward(const CourantLayerCall *call, const double *record)
{
  const CourantLayer *layer = call->layer;
  const int c = (int)layer->in.c, order = call->order;
  const double epsilon = ((const BatchNorm *)layer->options)->epsilon;

  for (int i = 0; i < c; i++)
    for (int k = call->from; k <= order; k++) {
      double *r = &Shared(call->shared, layer, k, ROOT)[i], sum = 0;
      Shared(call->shared, layer, k, MEAN)[i] = Row(layer, order, (double *)record, 0, k)[i];
      Shared(call->shared, layer, k, VARIANCE)[i] = Row(layer, order, (double *)record, 1, k)[i] / record[0];
      const double u0 = Shared(call->shared, layer, 0, VARIANCE)[i] + epsilon;
      for (int j = 1; j <= k; j++)
        sum -= (k - 0.5 * j) * Shared(call->shared, layer, j, VARIANCE)[i] *
               Shared(call->shared, layer, k - j, ROOT)[i];
      *r = k ? sum / (k * u0) : 1 / sqrt(u0);
    }
}

/* The patterns that elements meet: mu_k, r_k, and s = gamma r. */
enum { P_MEAN, P_ROOT, P_SCALE, P_DY, P_DYX };

static int PatternOf(int what, int k)
{
  return what * (COURANT_ORDER_MAX + 1) + k;
}

static void SpreadShared(const CourantLayerCall *call)
{
  const CourantLayer *layer = call->layer;
  const int c = (int)layer->in.c, n = PatternVectors(layer) * VL;

  for (int k = 0; k <= call->order; k++) {
    real *scale = Pattern(call, PatternOf(P_SCALE, k));
    Spread(call, PatternOf(P_MEAN, k), Shared(call->shared, layer, k, MEAN));
    Spread(call, PatternOf(P_ROOT, k), Shared(call->shared, layer, k, ROOT));
    for (int i = 0; i < c; i++) {
      double s = (double)call->w.c[0][i] * Shared(call->shared, layer, k, ROOT)[i];
      if (k > 0 && call->w.degree) s += (double)call->w.c[1][i] * Shared(call->shared, layer, k - 1, ROOT)[i];
      scale[i] = (real)s;
    }
    for (int i = c; i < n; i++) scale[i] = scale[i - c];
  }
}

/* y_k = beta_k + sum_j s_(k-j) (x_j - mu_j), vector by vector; order is a constant at every call. */
static inline __attribute__((always_inline)) void Normalise(const int order, const CourantLayerCall *call)
{
  const int step = PatternVectors(call->layer) * VL, n = Elements(call);
  const real *mean[COURANT_ORDER_MAX + 1], *scale[COURANT_ORDER_MAX + 1], *beta[2];

  for (int k = 0; k <= order; k++) {
    mean[k] = Pattern(call, PatternOf(P_MEAN, k));
    scale[k] = Pattern(call, PatternOf(P_SCALE, k));
  }
  for (int k = 0; k < 2; k++) beta[k] = Pattern(call, PatternOf(P_DY, k));
  for (int at = 0; at < n; at += step)
    for (int i = 0; i < step && at + i < n; i += VL) {
      vec x[COURANT_ORDER_MAX + 1];
      for (int k = 0; k <= order; k++) x[k] = Load(call->x.c[k] + at + i) - Load(mean[k] + i);
      for (int k = call->from; k <= order; k++) {
        vec sum = k < 2 ? Load(beta[k] + i) : Splat(0);
        for (int j = 0; j <= k; j++) sum = Madd(Load(scale[k - j] + i), x[j], sum);
        Store(call->y.c[k] + at + i, sum);
      }
    }
}

static void Forward(const CourantLayerCall *call)
{
  const int c = (int)call->layer->in.c, n = PatternVectors(call->layer) * VL;

  SpreadShared(call);
  for (int k = 0; k < 2; k++) {
    real *beta = Pattern(call, PatternOf(P_DY, k));
    for (int i = 0; i < c; i++) beta[i] = k <= call->w.degree ? call->w.c[k][c + i] : 0;
    for (int i = c; i < n; i++) beta[i] = beta[i - c];
  }
  COURANT_BY_ORDER(Normalise, call->order, call);
}

/* Sums of dy_k and of (dy x^)_k over a block, which are the block's gradients by beta and gamma too. */
static inline __attribute__((always_inline)) void SumGradients(const int order, const CourantLayerCall *call,
                                                               real *sums)
{
  const int vectors = PatternVectors(call->layer), step = vectors * VL, n = Elements(call);
  const real *mean[COURANT_ORDER_MAX + 1], *root[COURANT_ORDER_MAX + 1];

  for (int k = 0; k <= order; k++) {
    mean[k] = Pattern(call, PatternOf(P_MEAN, k));
    root[k] = Pattern(call, PatternOf(P_ROOT, k));
  }
  memset(sums, 0, sizeof(real) * (size_t)(2 * (order + 1) * step));
  for (int at = 0; at < n; at += step)
    for (int i = 0; i < step && at + i < n; i += VL) {
      vec x[COURANT_ORDER_MAX + 1], dy[COURANT_ORDER_MAX + 1], centred[COURANT_ORDER_MAX + 1];
      const int left = n - at - i;
      for (int k = 0; k <= order; k++) {
        centred[k] = Load(call->x.c[k] + at + i) - Load(mean[k] + i);
        dy[k] = Load(call->dy.c[k] + at + i);
        if (left < VL) /* lanes past the end hold anything */
          for (int lane = left; lane < VL; lane++) dy[k][lane] = centred[k][lane] = 0;
      }
      for (int k = 0; k <= order; k++) {
        x[k] = Load(root[k] + i) * centred[0];
        for (int j = 1; j <= k; j++) x[k] = Madd(Load(root[k - j] + i), centred[j], x[k]);
      }
      for (int k = call->from; k <= order; k++) {
        real *plain = sums + (size_t)(2 * k) * (size_t)step + i, *product = plain + step;
        vec sum = Load(product);
        for (int j = 0; j <= k; j++) sum = Madd(dy[j], x[k - j], sum);
        Store(product, sum);
        Store(plain, Load(plain) + dy[k]);
      }
    }
}

static void MeasureBackward(const CourantLayerCall *call, double *record)
{
  const CourantLayer *layer = call->layer;
  const int c = (int)layer->in.c, order = call->order, step = PatternVectors(layer) * VL;
  real *sums = Pattern(call, PatternOf(P_SCALE, 0));

  for (int k = 0; k <= order; k++) {
    Spread(call, PatternOf(P_MEAN, k), Shared(call->shared, layer, k, MEAN));
    Spread(call, PatternOf(P_ROOT, k), Shared(call->shared, layer, k, ROOT));
  }
  COURANT_BY_ORDER(SumGradients, order, call, sums);
  record[0] = (double)Elements(call) / c;
  for (int k = call->from; k <= order; k++)
    for (int which = 0; which < 2; which++) {
      double *row = Row(layer, order, record, which, k);
      Fold(call, sums + (size_t)(2 * k + which) * (size_t)step, row);
      for (int i = 0; call->dw[k] && i < c; i++) call->dw[k][(which ? 0 : c) + i] += (real)row[i];
    }
}

static void MergeBackward(const CourantLayerCall *call, double *into, const double *record)
{
  const int c = (int)call->layer->in.c, order = call->order;

  into[0] += record[0];
  for (int which = 0; which < 2; which++)
    for (int k = call->from; k <= order; k++)
      for (int i = 0; i < c; i++)
        Row(call->layer, order, into, which, k)[i] += Row(call->layer, order, (double *)record, which, k)[i];
}

static void ConcludeBackward(const CourantLayerCall *call, const double *record)
{
  const CourantLayer *layer = call->layer;
  const int c = (int)layer->in.c, order = call->order;

  for (int k = call->from; k <= order; k++)
    for (int i = 0; i < c; i++) {
      Shared(call->shared_back, layer, k, DY)[i] = Row(layer, order, (double *)record, 0, k)[i] / record[0];
      Shared(call->shared_back, layer, k, DYX)[i] = Row(layer, order, (double *)record, 1, k)[i] / record[0];
    }
}

/* dx = s q, q = dy - mean(dy) - x^ mean(dy x^), all series. */
static inline __attribute__((always_inline)) void Differentiate(const int order, const CourantLayerCall *call)
{
  const int step = PatternVectors(call->layer) * VL, n = Elements(call);
  const real *p[PATTERNS];

  for (int i = 0; i < PATTERNS; i++) p[i] = Pattern(call, i);
  for (int at = 0; at < n; at += step)
    for (int i = 0; i < step && at + i < n; i += VL) {
      vec centred[COURANT_ORDER_MAX + 1], x[COURANT_ORDER_MAX + 1], q[COURANT_ORDER_MAX + 1];
      for (int k = 0; k <= order; k++) {
        centred[k] = Load(call->x.c[k] + at + i) - Load(p[PatternOf(P_MEAN, k)] + i);
        x[k] = Load(p[PatternOf(P_ROOT, k)] + i) * centred[0];
        for (int j = 1; j <= k; j++) x[k] = Madd(Load(p[PatternOf(P_ROOT, k - j)] + i), centred[j], x[k]);
        q[k] = Load(call->dy.c[k] + at + i) - Load(p[PatternOf(P_DY, k)] + i);
        for (int j = 0; j <= k; j++) q[k] = q[k] - x[j] * Load(p[PatternOf(P_DYX, k - j)] + i);
      }
      for (int k = call->from; k <= order; k++) {
        vec sum = Load(p[PatternOf(P_SCALE, k)] + i) * q[0];
        for (int j = 1; j <= k; j++) sum = Madd(Load(p[PatternOf(P_SCALE, k - j)] + i), q[j], sum);
        Store(call->dx.c[k] + at + i, sum);
      }
    }
}

static void Backward(const CourantLayerCall *call)
{
  if (!call->dx.c[0]) return;
  SpreadShared(call);
  for (int k = 0; k <= call->order; k++) {
    Spread(call, PatternOf(P_DY, k), Shared(call->shared_back, call->layer, k, DY));
    Spread(call, PatternOf(P_DYX, k), Shared(call->shared_back, call->layer, k, DYX));
  }
  COURANT_BY_ORDER(Differentiate, call->order, call);
}

static const CourantStatisticsOps forward = {MeasureForward, MergeForward, ConcludeForward};
static const CourantStatisticsOps backward = {MeasureBackward, MergeBackward, ConcludeBackward};

COURANT_LAYER(batch_norm) = {
    .name = "batch_norm",
    .help = "normalisation of each channel over the samples of a statistics group",
    .examples = examples,
    .keys = keys,
    .options_size = sizeof(BatchNorm),
    .statistics_forward = &forward,
    .statistics_backward = &backward,
    .SetUp = SetUp,
    .Space = Space,
    .Forward = Forward,
    .Backward = Backward,
};
