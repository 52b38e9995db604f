/* Modes of the mean Hessian, positive maps of matrices, and the mean-square limit. */
#include "stability/sgd.h"
#include "core/interrupt.h"
#include "core/lapack.h"
#include <math.h>

/* ---- modes ---- */

/* CourantMultiply - C = A B + plus C, [a,b] of [a,k] and [k,b] with leading dimensions; either transposed. */
void CourantMultiply(char ta, char tb, PetscInt a, PetscInt b, PetscInt k, const PetscReal A[], PetscInt lda,
                     const PetscReal B[], PetscInt ldb, PetscReal plus, PetscReal C[], PetscInt ldc)
{
  const PetscBLASInt m = (PetscBLASInt)a, n = (PetscBLASInt)b, inner = (PetscBLASInt)k,
                     la = (PetscBLASInt)lda, lb = (PetscBLASInt)ldb, lc = (PetscBLASInt)ldc;
  const PetscReal one = 1;

  BLASgemm_(&ta, &tb, &m, &n, &inner, &one, A, &la, B, &lb, &plus, C, &lc);
}

/*
  Where a neutral mode has no restoring force the noise of batches must not act on it either. For positive
  semidefinite M_i it cannot: |M_i v|^2 <= |M_i| v.M_i v <= |M_i| n v.m v.
*/
static PetscBool NoiseActs(PetscInt n, PetscInt p, PetscInt lda, const PetscReal matrices[], PetscInt first,
                           PetscInt count, const PetscReal vectors[], PetscReal tolerance, PetscReal norm,
                           PetscReal work[])
{
  PetscReal square = 0, largest = 0;

  for (PetscInt i = 0; i < n; i++) {
    const PetscReal *M = matrices + (size_t)i * (size_t)(lda * lda);
    PetscReal frobenius = 0;
    CourantMultiply('N', 'N', p, count, p, M, lda, vectors + (size_t)first * (size_t)p, p, 0, work, p);
    for (PetscInt k = 0; k < p * count; k++) square += work[k] * work[k] / (PetscReal)n;
    for (PetscInt j = 0; j < p; j++)
      for (PetscInt k = 0; k < p; k++) frobenius += M[j * lda + k] * M[j * lda + k];
    largest = PetscMax(largest, sqrt(frobenius));
  }
  return square > 10 * (PetscReal)(n * count) * tolerance * norm * largest ? PETSC_TRUE : PETSC_FALSE;
}

/*
  CourantSgdModesCreate - The leading [p,p] blocks of n symmetric matrices [lda,lda] in their mean's
  eigenvectors.

  Modes with |mu| <= tolerance |m| are neutral and left out. Status degenerate where the matrices act on them.
*/
PetscErrorCode CourantSgdModesCreate(PetscInt n, PetscInt p, PetscInt lda, const PetscReal matrices[],
                                     PetscInt batch, PetscReal tolerance, CourantSgdModes *modes)
{
  const size_t square = (size_t)(p * p);
  PetscReal *mean, *values, *work;
  PetscInt below = 0, end;

  PetscFunctionBeginUser;
  *modes = (CourantSgdModes){.n = n, .batch = batch, .status = COURANT_CONVERGED};
  PetscCall(PetscCalloc3(square, &mean, p, &values, square, &work));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt k = 0; k < p; k++)
      for (PetscInt j = 0; j < p; j++)
        mean[k * p + j] +=
            matrices[((size_t)i * (size_t)lda + (size_t)k) * (size_t)lda + (size_t)j] / (PetscReal)n;
  PetscCall(CourantDiagonalise('V', p, mean, values));
  const PetscReal norm = PetscMax(fabs(values[0]), fabs(values[p - 1]));
  while (below < p && values[below] < -tolerance * norm) below++;
  for (end = below; end < p && values[end] <= tolerance * norm;) end++;
  modes->below = below;
  modes->neutral = end - below;
  modes->q = p - modes->neutral;
  if (modes->neutral && NoiseActs(n, p, lda, matrices, below, modes->neutral, mean, tolerance, norm, work))
    modes->status = COURANT_DEGENERATE;
  const PetscInt q = modes->q;
  const size_t all = (size_t)n * (size_t)(q * q), block = (size_t)(COURANT_CONGRUENCE * q * q);
  PetscCall(PetscMalloc4(q, &modes->mu, all, &modes->M, block, &modes->work, p * q, &modes->vectors));
  PetscCall(PetscArraycpy(modes->mu, values, below));
  PetscCall(PetscArraycpy(modes->mu + below, values + end, p - end));
  PetscCall(PetscArraycpy(modes->vectors, mean, below * p));
  PetscCall(PetscArraycpy(modes->vectors + below * p, mean + end * p, (p - end) * p));
  for (PetscInt i = 0; i < n && q; i++) {
    const PetscReal *M = matrices + (size_t)i * (size_t)(lda * lda);
    CourantMultiply('N', 'N', p, q, p, M, lda, modes->vectors, p, 0, work, p);
    CourantMultiply('T', 'N', q, q, p, modes->vectors, p, work, p, 0, modes->M + (size_t)i * (size_t)(q * q),
                    q);
  }
  PetscCall(PetscFree3(mean, values, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantSgdModesDestroy(CourantSgdModes *modes)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree4(modes->mu, modes->M, modes->work, modes->vectors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- positive maps ---- */

/*
  CourantCongruence - Y = sum_j P_j X P_j^T, or sum_j P_j^T X P_j when transposed.

  work: [min(n, COURANT_CONGRUENCE)] of [q,q], blocks of one size, so that the sum is always in the same
  order.
*/
void CourantCongruence(PetscInt q, PetscInt n, const PetscReal P[], PetscBool transposed, const PetscReal X[],
                       PetscReal work[], PetscReal Y[])
{
  const size_t square = (size_t)(q * q);

  for (PetscInt first = 0; first < n; first += COURANT_CONGRUENCE) {
    const PetscInt count = PetscMin(COURANT_CONGRUENCE, n - first);
    const PetscReal *block = P + (size_t)first * square;
    for (PetscInt j = 0; j < count; j++)
      CourantMultiply(transposed ? 'T' : 'N', 'N', q, q, q, block + (size_t)j * square, q, X, q, 0,
                      work + (size_t)j * square, q);
    if (!transposed) /* [P_1 X, P_2 X, ..] [P_1, P_2, ..]^T */
      CourantMultiply('N', 'T', q, q, count * q, work, q, block, q, first ? 1 : 0, Y, q);
    for (PetscInt j = 0; transposed && j < count; j++)
      CourantMultiply('N', 'N', q, q, q, work + (size_t)j * square, q, block + (size_t)j * square, q,
                      first + j ? 1 : 0, Y, q);
  }
}

static PetscErrorCode MatMult_PositiveMap(Mat A, Vec x, Vec y)
{
  const CourantPositiveMap *map;
  const PetscScalar *X;
  PetscScalar *Y;

  PetscFunctionBeginUser;
  CourantInterruptCheck();
  PetscCall(MatShellGetContext(A, (void *)&map));
  PetscCall(VecGetArrayRead(x, &X));
  PetscCall(VecGetArrayWrite(y, &Y));
  map->Apply(map->ctx, X, Y);
  for (PetscInt j = 0; j < map->q; j++) /* rounding must not leave the symmetric matrices */
    for (PetscInt k = 0; k < j; k++)
      Y[j * map->q + k] = Y[k * map->q + j] = 0.5 * (Y[j * map->q + k] + Y[k * map->q + j]);
  PetscCall(VecRestoreArrayWrite(y, &Y));
  PetscCall(VecRestoreArrayRead(x, &X));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUpSolver(const CourantPositiveMap *map, Mat A, Vec start, EPS *eps)
{
  PetscFunctionBeginUser;
  PetscCall(EPSCreate(PETSC_COMM_SELF, eps));
  PetscCall(EPSSetOptionsPrefix(*eps, "sgd_"));
  PetscCall(EPSSetOperators(*eps, A, NULL));
  PetscCall(EPSSetProblemType(*eps, map->symmetric ? EPS_HEP : EPS_NHEP));
  PetscCall(EPSSetWhichEigenpairs(*eps, EPS_LARGEST_REAL));
  PetscCall(EPSSetTolerances(*eps, 1e-10, 1000));
  PetscCall(EPSSetInitialSpace(*eps, 1, &start));
  PetscCall(EPSSetFromOptions(*eps));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The residual of a unit vector, afresh. */
static PetscErrorCode Residual(Mat A, Vec x, PetscReal value, PetscReal *residual)
{
  Vec r;

  PetscFunctionBeginUser;
  PetscCall(VecDuplicate(x, &r));
  PetscCall(MatMult(A, x, r));
  PetscCall(VecAXPY(r, -value, x));
  PetscCall(VecNorm(r, NORM_2, residual));
  PetscCall(VecDestroy(&r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantPositiveMapSolve - The largest eigenvalue of a positive map, which is its spectral radius (Krein and
  Rutman 1948), by SLEPc on vectors of q^2.

  vector [q,q]: the start, positive definite so that it cannot miss the eigenvector, which is positive
  semidefinite; then that, of unit norm.
*/
PetscErrorCode CourantPositiveMapSolve(const CourantPositiveMap *map, PetscReal vector[], PetscReal *value,
                                       PetscReal *residual, PetscBool *converged)
{
  const PetscInt size = map->q * map->q;
  PetscScalar re;
  PetscInt found;
  Mat A;
  Vec x;
  EPS eps;

  PetscFunctionBeginUser;
  PetscCall(MatCreateShell(PETSC_COMM_SELF, size, size, size, size, (void *)map, &A));
  PetscCall(MatShellSetOperation(A, MATOP_MULT, (void (*)(void))MatMult_PositiveMap));
  PetscCall(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, size, vector, &x));
  PetscCall(SetUpSolver(map, A, x, &eps));
  PetscCall(EPSSolve(eps));
  PetscCall(EPSGetConverged(eps, &found));
  *converged = found > 0 ? PETSC_TRUE : PETSC_FALSE;
  *value = *residual = NAN;
  if (found) {
    PetscCall(EPSGetEigenpair(eps, 0, &re, NULL, x, NULL));
    PetscCall(VecNormalize(x, NULL));
    *value = PetscRealPart(re);
    PetscCall(Residual(A, x, *value, residual));
  }
  PetscCall(EPSDestroy(&eps));
  PetscCall(VecDestroy(&x));
  PetscCall(MatDestroy(&A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- mean square ---- */

/* CourantBatchVariance - Of the mean over b of n samples, drawn without replacement, when that of one is 1.
 */
PetscReal CourantBatchVariance(PetscInt n, PetscInt b)
{
  return n > 1 ? (PetscReal)(n - b) / ((PetscReal)b * (PetscReal)(n - 1)) : 0;
}

/*
  E[M_batch X M_batch] over batches without replacement, c the variance of their mean:

      Q(X) = m X m + c [ mean_i M_i X M_i - m X m ]
*/
static void SecondMoment(const CourantSgdModes *modes, const PetscReal X[], PetscReal Y[])
{
  const PetscInt q = modes->q, n = modes->n;
  const PetscReal c = CourantBatchVariance(n, modes->batch);

  CourantCongruence(q, n, modes->M, PETSC_FALSE, X, modes->work, Y);
  for (PetscInt j = 0; j < q; j++)
    for (PetscInt k = 0; k < q; k++)
      Y[j * q + k] = c * Y[j * q + k] / (PetscReal)n + (1 - c) * modes->mu[j] * modes->mu[k] * X[j * q + k];
}

/* With L(X) = m X + X m: L^(-1/2) Q L^(-1/2). */
typedef struct {
  const CourantSgdModes *modes;
  PetscReal eta;
  PetscReal *X; /* [q,q] */
} Square;

static PetscReal Root(const CourantSgdModes *modes, PetscInt k)
{
  return sqrt(modes->mu[k / modes->q] + modes->mu[k % modes->q]);
}

static void ApplyRatio(void *ctx, const PetscReal X[], PetscReal Y[])
{
  const Square *square = (const Square *)ctx;
  const CourantSgdModes *modes = square->modes;
  const PetscInt size = modes->q * modes->q;

  for (PetscInt k = 0; k < size; k++) square->X[k] = X[k] / Root(modes, k);
  SecondMoment(modes, square->X, Y);
  for (PetscInt k = 0; k < size; k++) Y[k] /= Root(modes, k);
}

static void ApplyStep(void *ctx, const PetscReal X[], PetscReal Y[])
{
  const Square *square = (const Square *)ctx;
  const CourantSgdModes *modes = square->modes;
  const PetscInt size = modes->q * modes->q;
  const PetscReal eta = square->eta;

  SecondMoment(modes, X, Y);
  for (PetscInt k = 0; k < size; k++)
    Y[k] = X[k] * (1 - eta * (modes->mu[k / modes->q] + modes->mu[k % modes->q])) + eta * eta * Y[k];
}

/*
  CourantMeanSquareLimit - The learning rate below which E |x|^2 decays.

  E[A X A] = X - eta L(X) + eta^2 Q(X) is self-adjoint and positive, so its spectral radius is below 1 exactly
  when eta Q < L: the limit is 1 / nu, nu the largest eigenvalue of Q X = nu L X, by one solve. Its residual
  gives the interval. vector [q,q]: X at the limit, positive semidefinite; may be NULL. Where the flow itself
  leaves the state there is no limit.
*/
PetscErrorCode CourantMeanSquareLimit(const CourantSgdModes *modes, CourantEstimate *limit,
                                      PetscReal vector[], CourantStatus *status)
{
  const PetscInt q = modes->q;
  PetscReal nu, residual, *X, *work;
  PetscBool converged;

  PetscFunctionBeginUser;
  *limit = (CourantEstimate){NAN, NAN, NAN};
  *status = COURANT_DEGENERATE;
  if (modes->below) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc2(q * q, &X, q * q, &work));
  Square square = {.modes = modes, .X = work};
  const CourantPositiveMap map = {.q = q, .symmetric = PETSC_TRUE, .Apply = ApplyRatio, .ctx = &square};
  for (PetscInt k = 0; k < q; k++) X[k * q + k] = Root(modes, k * q + k);
  PetscCall(CourantPositiveMapSolve(&map, X, &nu, &residual, &converged));
  *status = converged ? COURANT_CONVERGED : COURANT_NOT_CONVERGED;
  *limit = (CourantEstimate){1 / nu, 1 / (nu + residual), 1 / PetscMax(nu - residual, 0)};
  for (PetscInt k = 0; vector && k < q * q; k++) vector[k] = X[k] / Root(modes, k);
  PetscCall(PetscFree2(X, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMeanSquareGrowth - Factor per step of the root of E |x|^2, at n learning rates; NaN where SLEPc does
  not converge. The eigenvector of one is the start of the next.
*/
PetscErrorCode CourantMeanSquareGrowth(const CourantSgdModes *modes, PetscInt n, const PetscReal eta[],
                                       CourantEstimate growth[])
{
  const PetscInt q = modes->q;
  Square square = {.modes = modes};
  const CourantPositiveMap map = {.q = q, .symmetric = PETSC_TRUE, .Apply = ApplyStep, .ctx = &square};
  PetscReal rho, residual, *X;
  PetscBool converged;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(q * q, &X));
  for (PetscInt i = 0; i < n; i++) {
    square.eta = eta[i];
    for (PetscInt k = 0; k < q; k++) X[k * (q + 1)] += i ? 1e-3 : 1; /* definite, whatever it was */
    PetscCall(CourantPositiveMapSolve(&map, X, &rho, &residual, &converged));
    const PetscReal squares[] = {rho, rho - residual, rho + residual};
    PetscReal roots[3];
    for (int k = 0; k < 3; k++) roots[k] = sqrt(PetscMax(squares[k], 0)); /* 0 in this order: NaN stays */
    growth[i] = (CourantEstimate){roots[0], roots[1], roots[2]};
  }
  PetscCall(PetscFree(X));
  PetscFunctionReturn(PETSC_SUCCESS);
}
