/*
  What becomes of a run of mini-batch gradient descent: products of the batches' matrices in the order that
  the trainer takes them, every sample once in an epoch and the last batch smaller where n is no multiple.

  Over an epoch of K batches x' = Phi x, Phi = A_K .. A_1, and the permutations of epochs are independent:

      mean square:  E |x|^2 decays when the positive map X -> E[Phi X Phi^T] has a spectral radius below 1
      almost sure:  |x| decays when the Lyapunov exponent lim log |A_t .. A_1 x| / t is below 0

  The expectation is over all permutations where they are few, else over a sample of them. All learning rates
  see the same sample, so that a limit is a root of a continuous function; its interval is the sample's.
*/
#include "stability/sgd.h"
#include "core/interrupt.h"
#include "core/random.h"
#include "core/statistics.h"
#include <math.h>

enum { EXHAUSTIVE = 720 }; /* orders, up to which all are taken */

/* ---- orders of the samples ---- */

enum { FOR_EPOCHS, FOR_RUNS }; /* what an order is drawn for */

static void Shuffle(PetscInt seed, PetscInt index, uint32_t use, PetscInt n, PetscInt samples[])
{
  const CourantRandom stream = {
      .seed = (uint64_t)seed, .purpose = COURANT_RANDOM_BATCH, .index = (uint32_t)index, .epoch = use};
  CourantRandomPermutation(stream, n, samples);
}

static PetscInt Batches(const CourantSgdModes *modes)
{
  return (modes->n + modes->batch - 1) / modes->batch;
}

/* Samples of the k-th batch. */
static PetscInt BatchSize(const CourantSgdModes *modes, PetscInt k)
{
  return PetscMin(modes->batch, modes->n - k * modes->batch);
}

/* Ways to divide n samples into an epoch's batches of b: n! / (b!^(n/b) (n mod b)!). */
static PetscReal Ways(PetscInt n, PetscInt b)
{
  return exp(lgamma((PetscReal)n + 1) - (PetscReal)(n / b) * lgamma((PetscReal)b + 1) -
             lgamma((PetscReal)(n % b) + 1));
}

/* How many orders an expectation is over: all there are, or a sample. */
static PetscInt Orders(PetscInt n, PetscInt b, const CourantProducts *products, PetscBool *exhaustive)
{
  const PetscReal ways = Ways(n, b);
  *exhaustive = ways < EXHAUSTIVE + 0.5 ? PETSC_TRUE : PETSC_FALSE;
  return *exhaustive ? (PetscInt)(ways + 0.5) : products->permutations;
}

static void Swap(PetscInt *a, PetscInt *b)
{
  const PetscInt t = *a;
  *a = *b;
  *b = t;
}

/* The next arrangement of x in lexicographic order, in which equal numbers are the same. */
static PetscBool NextArrangement(PetscInt n, PetscInt x[])
{
  PetscInt i = n - 2, j = n - 1;

  while (i >= 0 && x[i] >= x[i + 1]) i--;
  if (i < 0) return PETSC_FALSE;
  while (x[j] <= x[i]) j--;
  Swap(&x[i], &x[j]);
  for (PetscInt a = i + 1, b = n - 1; a < b; a++, b--) Swap(&x[a], &x[b]);
  return PETSC_TRUE;
}

/* All ways, in orders of the samples; batch [n], work: the batch that a sample is in. */
static void ListAll(const CourantSgdModes *modes, PetscInt batch[], PetscInt order[])
{
  const PetscInt n = modes->n;

  for (PetscInt i = 0; i < n; i++) batch[i] = i / modes->batch;
  do {
    for (PetscInt k = 0; k < Batches(modes); k++)
      for (PetscInt i = 0; i < n; i++)
        if (batch[i] == k) *order++ = i;
  } while (NextArrangement(n, batch));
}

/* ---- the mean square over an epoch ---- */

typedef struct {
  const CourantSgdModes *modes;
  const CourantProducts *products;
  PetscInt count;          /* orders */
  PetscBool exhaustive;    /* they are all there are */
  PetscInt *samples;       /* [count,n] */
  PetscReal *Phi;          /* [count] of [q,q], by 1/sqrt(count) */
  PetscReal *work;         /* [COURANT_CONGRUENCE] of [q,q] */
  PetscReal *right, *left; /* [q,q]: eigenvectors of the last solves, and starts of the next */
  PetscBool transposed;
} Epoch;

static PetscErrorCode EpochCreate(const CourantSgdModes *modes, const CourantProducts *products, Epoch *epoch)
{
  const PetscInt n = modes->n, q = modes->q;
  PetscInt *batch;

  PetscFunctionBeginUser;
  *epoch = (Epoch){.modes = modes, .products = products};
  epoch->count = Orders(n, modes->batch, products, &epoch->exhaustive);
  PetscCall(PetscMalloc1(n, &batch));
  const size_t count = (size_t)epoch->count, square = (size_t)(q * q);
  PetscCall(PetscMalloc5(count * (size_t)n, &epoch->samples, count * square, &epoch->Phi,
                         COURANT_CONGRUENCE * square, &epoch->work, square, &epoch->right, square,
                         &epoch->left));
  if (epoch->exhaustive)
    ListAll(modes, batch, epoch->samples);
  else
    for (PetscInt j = 0; j < epoch->count; j++)
      Shuffle(products->seed, j, FOR_EPOCHS, n, epoch->samples + (size_t)j * (size_t)n);
  for (PetscInt k = 0; k < q * q; k++) epoch->left[k] = epoch->right[k] = k % (q + 1) == 0;
  PetscCall(PetscFree(batch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantEpochMemory - Bytes that the mean square over epochs of n samples takes with q modes, most of them
  for the products of the orders.
*/
double CourantEpochMemory(PetscInt n, PetscInt batch, PetscInt q, const CourantProducts *products)
{
  const double square = sizeof(PetscReal) * (double)q * (double)q;
  PetscBool exhaustive;
  const double count = (double)Orders(n, batch, products, &exhaustive);
  return count * (square + sizeof(PetscInt) * (double)n + sizeof(PetscReal)) + COURANT_CONGRUENCE * square;
}

static PetscErrorCode EpochDestroy(Epoch *epoch)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree5(epoch->samples, epoch->Phi, epoch->work, epoch->right, epoch->left));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A = 1 - eta times the mean of the M_i of a batch. */
static void BatchStep(const CourantSgdModes *modes, PetscInt size, const PetscInt samples[], PetscReal eta,
                      PetscReal A[])
{
  const PetscInt q = modes->q;

  for (PetscInt k = 0; k < q * q; k++) A[k] = k % (q + 1) == 0;
  for (PetscInt i = 0; i < size; i++) {
    const PetscReal *M = modes->M + (size_t)samples[i] * (size_t)(q * q);
    for (PetscInt k = 0; k < q * q; k++) A[k] -= eta / (PetscReal)size * M[k];
  }
}

/* Phi of one order; work: [2] of [q,q]. */
static void FormProduct(const Epoch *epoch, PetscInt j, PetscReal eta, PetscReal work[])
{
  const CourantSgdModes *modes = epoch->modes;
  const PetscInt q = modes->q, square = q * q, *samples = epoch->samples + (size_t)j * (size_t)modes->n;
  const PetscReal factor = 1 / sqrt((PetscReal)epoch->count);
  PetscReal *Phi = epoch->Phi + (size_t)j * (size_t)square, *A = work, *AP = work + square;

  for (PetscInt k = 0; k < square; k++) Phi[k] = k % (q + 1) == 0 ? factor : 0;
  for (PetscInt b = 0; b < Batches(modes); b++) {
    BatchStep(modes, BatchSize(modes, b), samples + b * modes->batch, eta, A);
    CourantMultiply('N', 'N', q, q, q, A, q, Phi, q, 0, AP, q);
    for (PetscInt k = 0; k < square; k++) Phi[k] = AP[k];
  }
}

static PetscErrorCode FormProducts(const Epoch *epoch, PetscReal eta)
{
  const PetscInt square = epoch->modes->q * epoch->modes->q;
  const int threads = epoch->products->threads;
  PetscReal *work;

  PetscFunctionBeginUser;
  CourantInterruptCheck();
  PetscCall(PetscMalloc1((size_t)threads * 2 * (size_t)square, &work));
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
  for (int t = 0; t < threads; t++)
    for (PetscInt j = t; j < epoch->count; j += threads)
      if (!CourantInterrupted()) FormProduct(epoch, j, eta, work + (size_t)t * 2 * (size_t)square);
  PetscCall(PetscFree(work));
  CourantInterruptCheck();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void ApplyEpoch(void *ctx, const PetscReal X[], PetscReal Y[])
{
  const Epoch *epoch = (const Epoch *)ctx;
  CourantCongruence(epoch->modes->q, epoch->count, epoch->Phi, epoch->transposed, X, epoch->work, Y);
}

/* Spectral radius of the map, NaN where SLEPc did not converge; its eigenvector left in `right`, that of its
 * adjoint in `left`. */
static PetscErrorCode Radius(Epoch *epoch, PetscBool adjoint, PetscReal *rho, PetscReal *residual)
{
  const CourantPositiveMap map = {.q = epoch->modes->q, .Apply = ApplyEpoch, .ctx = epoch};
  PetscReal *vector = adjoint ? epoch->left : epoch->right;
  PetscBool converged;

  PetscFunctionBeginUser;
  epoch->transposed = adjoint;
  for (PetscInt k = 0; k < map.q; k++) vector[k * (map.q + 1)] += 1e-3; /* definite, whatever it was */
  PetscCall(CourantPositiveMapSolve(&map, vector, rho, residual, &converged));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* log rho at a learning rate. */
static PetscErrorCode LogRadius(Epoch *epoch, PetscReal eta, PetscReal *value)
{
  PetscReal rho, residual;

  PetscFunctionBeginUser;
  PetscCall(FormProducts(epoch, eta));
  PetscCall(Radius(epoch, PETSC_FALSE, &rho, &residual));
  *value = log(rho);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Half the width of the interval of log rho that the sample of orders leaves: <Y, Phi_j X Phi_j^T> / (rho
 * <Y,X>) are independent and have the mean 1 (first-order perturbation of a simple eigenvalue). */
static PetscErrorCode SampleError(Epoch *epoch, PetscReal *half)
{
  const PetscInt square = epoch->modes->q * epoch->modes->q;
  PetscReal rho, residual, *values, *image, total = 0;

  PetscFunctionBeginUser;
  *half = 0;
  if (epoch->exhaustive) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Radius(epoch, PETSC_TRUE, &rho, &residual));
  PetscCall(PetscCalloc2(epoch->count, &values, square, &image));
  for (PetscInt j = 0; j < epoch->count; j++) {
    CourantCongruence(epoch->modes->q, 1, epoch->Phi + (size_t)j * (size_t)square, PETSC_FALSE, epoch->right,
                      epoch->work, image);
    for (PetscInt k = 0; k < square; k++) values[j] += epoch->left[k] * image[k];
    total += values[j];
  }
  for (PetscInt j = 0; j < epoch->count; j++) values[j] *= (PetscReal)epoch->count / total;
  const CourantEstimate mean = CourantMeanEstimate(epoch->count, values);
  *half = mean.high - mean.value;
  PetscCall(PetscFree2(values, image));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- roots ---- */

static const PetscReal step = 1.2;    /* between learning rates where the sign is looked for */
static const PetscReal beyond = 1.02; /* times the limit: where a slope and an error are taken */

/* low: value < 0, high: value > 0, the first such pair of a geometric sequence. */
static PetscErrorCode Bracket(Epoch *epoch, PetscReal from, PetscReal eta[2], PetscReal value[2],
                              PetscBool *found)
{
  PetscFunctionBeginUser;
  *found = PETSC_FALSE;
  eta[0] = from;
  PetscCall(LogRadius(epoch, eta[0], &value[0]));
  for (int i = 0; i < 30 && value[0] >= 0; i++) {
    eta[0] /= 2;
    PetscCall(LogRadius(epoch, eta[0], &value[0]));
  }
  for (int i = 0; i < 40 && value[0] < 0; i++) {
    eta[1] = step * eta[0];
    PetscCall(LogRadius(epoch, eta[1], &value[1]));
    *found = value[1] >= 0 ? PETSC_TRUE : PETSC_FALSE;
    if (*found) break;
    eta[0] = eta[1];
    value[0] = value[1];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The root in a bracket by the Illinois method (Dowell and Jarratt 1971), to a relative tolerance. */
static PetscErrorCode FindRoot(Epoch *epoch, PetscReal eta[2], PetscReal value[2], PetscReal tolerance)
{
  int same = -1;

  PetscFunctionBeginUser;
  for (int i = 0; i < 60 && eta[1] - eta[0] > tolerance * eta[1]; i++) {
    const PetscReal share = value[0] / (value[0] - value[1]);
    /* keeps off the ends, so that the bracket shrinks from both sides */
    const PetscReal at = eta[0] + PetscMin(PetscMax(share, 0.02), 0.98) * (eta[1] - eta[0]);
    PetscReal there;
    PetscCall(LogRadius(epoch, at, &there));
    const int end = there < 0 ? 0 : 1;
    if (end == same) value[1 - end] *= 0.5;
    eta[end] = at;
    value[end] = there;
    same = end;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantEpochLimit - The learning rate below which E |x|^2 decays from epoch to epoch of reshuffled batches:
  the smallest root above `from`, or below where that is not stable.
*/
PetscErrorCode CourantEpochLimit(const CourantSgdModes *modes, const CourantProducts *products,
                                 PetscReal from, CourantEstimate *limit, CourantStatus *status)
{
  PetscReal eta[2], value[2], above, half = 0;
  PetscBool found;
  Epoch epoch;

  PetscFunctionBeginUser;
  PetscCall(EpochCreate(modes, products, &epoch));
  PetscCall(Bracket(&epoch, from, eta, value, &found));
  *limit = (CourantEstimate){NAN, NAN, NAN};
  if (found) {
    PetscCall(FindRoot(&epoch, eta, value, epoch.exhaustive ? 1e-9 : 1e-5));
    found = isfinite(value[0] + value[1]) ? PETSC_TRUE : PETSC_FALSE;
  }
  *status = found ? COURANT_CONVERGED : COURANT_NOT_CONVERGED;
  if (found) {
    const PetscReal root = 0.5 * (eta[0] + eta[1]);
    /* a little above it: below, the slowest mode may be the largest, and the slope that one's */
    PetscCall(LogRadius(&epoch, beyond * root, &above));
    PetscCall(SampleError(&epoch, &half));
    const PetscReal slope = above / ((beyond - 1) * root), width = half / slope + eta[1] - eta[0];
    *limit = (CourantEstimate){root, PetscMax(0, root - width), root + width};
  }
  PetscCall(EpochDestroy(&epoch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantEpochGrowth - Factor per step of the root of E |x|^2, averaged over an epoch, at n learning rates.
 */
PetscErrorCode CourantEpochGrowth(const CourantSgdModes *modes, const CourantProducts *products, PetscInt n,
                                  const PetscReal eta[], CourantEstimate growth[])
{
  const PetscReal power = 0.5 / (PetscReal)Batches(modes);
  PetscReal value, half;
  Epoch epoch;

  PetscFunctionBeginUser;
  PetscCall(EpochCreate(modes, products, &epoch));
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(LogRadius(&epoch, eta[i], &value));
    PetscCall(SampleError(&epoch, &half));
    growth[i] =
        (CourantEstimate){exp(power * value), exp(power * (value - half)), exp(power * (value + half))};
  }
  PetscCall(EpochDestroy(&epoch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- almost sure ---- */

enum {
  BLOCKS = 32,   /* of a run: their means are nearly independent */
  DISCARDED = 4, /* before them */
  COLUMNS = 16,  /* learning rates of a look at a range of them */
  TOGETHER = 4,  /* columns that a thread takes, whoever it is */
};

/* What a thread works with. */
typedef struct {
  PetscInt *samples; /* [n] */
  PetscReal *x, *Mx; /* [q,TOGETHER] */
} Runner;

/* x' = x - eta M_batch x for some columns; adds log |x'| / |x| and rescales. */
static void StepColumns(const CourantSgdModes *modes, const Runner *r, PetscInt batch, PetscInt columns,
                        const PetscReal eta[], PetscReal sums[])
{
  const PetscInt q = modes->q, size = BatchSize(modes, batch);

  for (PetscInt i = 0; i < size; i++) {
    const PetscReal *M = modes->M + (size_t)r->samples[batch * modes->batch + i] * (size_t)(q * q);
    CourantMultiply('N', 'N', q, columns, q, M, q, r->x, q, i ? 1 : 0, r->Mx, q);
  }
  for (PetscInt c = 0; c < columns; c++) {
    PetscReal square = 0, *x = r->x + c * q;
    for (PetscInt k = 0; k < q; k++) {
      x[k] -= eta[c] / (PetscReal)size * r->Mx[c * q + k];
      square += x[k] * x[k];
    }
    const PetscReal norm = PetscMax(sqrt(square), 1e-300);
    for (PetscInt k = 0; k < q; k++) x[k] = square > 0 ? x[k] / norm : 1 / sqrt((PetscReal)q);
    sums[c] += log(norm);
  }
}

/* Some columns through all blocks; means: [columns,BLOCKS] of log growth per step. */
static void RunColumns(const CourantSgdModes *modes, const CourantProducts *products, const Runner *r,
                       PetscInt columns, const PetscReal eta[], PetscReal means[])
{
  const PetscInt batches = Batches(modes),
                 epochs = (products->steps + BLOCKS * batches - 1) / (BLOCKS * batches);
  const CourantRandom start = {
      .seed = (uint64_t)products->seed, .purpose = COURANT_RANDOM_BATCH, .epoch = FOR_RUNS + 1};

  for (PetscInt c = 0; c < columns; c++) CourantRandomNormal(start, modes->q, r->x + c * modes->q);
  for (PetscInt block = 0; block < DISCARDED + BLOCKS && !CourantInterrupted(); block++) {
    PetscReal sums[TOGETHER] = {0};
    for (PetscInt e = 0; e < epochs; e++) {
      Shuffle(products->seed, block * epochs + e, FOR_RUNS, modes->n, r->samples);
      for (PetscInt b = 0; b < batches; b++) StepColumns(modes, r, b, columns, eta, sums);
    }
    for (PetscInt c = 0; c < columns && block >= DISCARDED; c++)
      means[c * BLOCKS + block - DISCARDED] = sums[c] / (PetscReal)(epochs * batches);
  }
}

/* Lyapunov exponents per step at some learning rates, all along the same batches. */
static PetscErrorCode Exponents(const CourantSgdModes *modes, const CourantProducts *products, PetscInt n,
                                const PetscReal eta[], CourantEstimate exponents[])
{
  const int groups = (int)((n + TOGETHER - 1) / TOGETHER), threads = PetscMin(products->threads, groups);
  PetscReal *means, *x;
  PetscInt *samples;

  PetscFunctionBeginUser;
  PetscCall(
      PetscMalloc3(groups * modes->n, &samples, groups * 2 * TOGETHER * modes->q, &x, n * BLOCKS, &means));
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
  for (int g = 0; g < groups; g++) {
    PetscReal *own = x + g * 2 * TOGETHER * modes->q;
    const Runner runner = {samples + g * modes->n, own, own + TOGETHER * modes->q};
    const PetscInt first = g * TOGETHER;
    RunColumns(modes, products, &runner, PetscMin(TOGETHER, n - first), eta + first, means + first * BLOCKS);
  }
  for (PetscInt c = 0; c < n; c++) exponents[c] = CourantMeanEstimate(BLOCKS, means + c * BLOCKS);
  PetscCall(PetscFree3(samples, x, means));
  CourantInterruptCheck();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where the exponent first turns positive between eta[0] and eta[1]: one look at COLUMNS learning rates.
 * Where it does not, both stay, and value[0] is that of the first. */
static PetscErrorCode Narrow(const CourantSgdModes *modes, const CourantProducts *products, PetscReal eta[2],
                             CourantEstimate value[2], PetscBool *found)
{
  const PetscReal ratio = pow(eta[1] / eta[0], 1. / (COLUMNS - 1));
  PetscReal rates[COLUMNS];
  CourantEstimate exponents[COLUMNS];

  PetscFunctionBeginUser;
  for (int c = 0; c < COLUMNS; c++) rates[c] = c + 1 < COLUMNS ? eta[0] * pow(ratio, c) : eta[1];
  PetscCall(Exponents(modes, products, COLUMNS, rates, exponents));
  *found = PETSC_FALSE;
  value[0] = exponents[0];
  for (int c = 1; c < COLUMNS && !*found; c++) {
    *found = exponents[c - 1].value < 0 && !(exponents[c].value < 0) ? PETSC_TRUE : PETSC_FALSE;
    for (int k = 0; k < 2 && *found; k++) {
      eta[k] = rates[c - 1 + k];
      value[k] = exponents[c - 1 + k];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantAlmostSureLimit - The learning rate below which almost every run decays: where the Lyapunov exponent
  of the product of batches, reshuffled at each epoch, first changes its sign.

  The interval is Student's over blocks of a run, by the slope of the exponent.
*/
PetscErrorCode CourantAlmostSureLimit(const CourantSgdModes *modes, const CourantProducts *products,
                                      PetscReal from, CourantEstimate *limit, CourantStatus *status)
{
  PetscReal eta[2] = {from, 16 * from}, half = 0, slope = 1;
  CourantEstimate value[2];
  PetscBool found = PETSC_FALSE;

  PetscFunctionBeginUser;
  *limit = (CourantEstimate){NAN, NAN, NAN};
  *status = COURANT_NOT_CONVERGED;
  for (int i = 0; i < 4 && !found; i++) {
    PetscCall(Narrow(modes, products, eta, value, &found));
    const PetscReal factor = found ? 1 : value[0].value < 0 ? 16 : 1. / 16;
    for (int k = 0; k < 2; k++) eta[k] *= factor;
  }
  if (!found) PetscFunctionReturn(PETSC_SUCCESS);
  for (int i = 0; i < 8 && eta[1] - eta[0] > PetscMax(1e-9 * eta[1], 0.02 * half / slope); i++) {
    PetscCall(Narrow(modes, products, eta, value, &found));
    if (!found) break; /* the bracket is down to rounding */
    slope = (value[1].value - value[0].value) / (eta[1] - eta[0]);
    half = PetscMax(value[0].high - value[0].value, value[1].high - value[1].value);
  }
  const PetscReal root = isfinite(value[0].value)
                             ? eta[0] - value[0].value / (value[1].value - value[0].value) * (eta[1] - eta[0])
                             : eta[1];
  const PetscReal rates[2] = {root, beyond * beyond * root};
  PetscCall(Exponents(modes, products, 2, rates, value));
  slope = (value[1].value - value[0].value) / (rates[1] - rates[0]);
  half = PetscMax(value[0].high - value[0].value, value[1].high - value[1].value);
  const PetscReal width = half / slope + 1e-9 * root;
  *limit = (CourantEstimate){root, PetscMax(0, root - width), root + width};
  *status = slope > 0 ? COURANT_CONVERGED : COURANT_NOT_CONVERGED;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantAlmostSureGrowth - Factor per step of |x| along almost every run, at n learning rates. */
PetscErrorCode CourantAlmostSureGrowth(const CourantSgdModes *modes, const CourantProducts *products,
                                       PetscInt n, const PetscReal eta[], CourantEstimate growth[])
{
  PetscFunctionBeginUser;
  PetscCall(Exponents(modes, products, n, eta, growth));
  for (PetscInt i = 0; i < n; i++)
    growth[i] = (CourantEstimate){exp(growth[i].value), exp(growth[i].low), exp(growth[i].high)};
  PetscFunctionReturn(PETSC_SUCCESS);
}
