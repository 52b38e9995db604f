/*
  Mini-batch matrices of many weights, projected on a subspace W that grows.

  With X = W Y W^T the mean-square problem Q(X) = nu L(X) becomes that of the small matrices W^T M_i W, and nu
  comes from below (Rayleigh and Ritz). Its eigenvector X is positive semidefinite and numerically of low
  rank, X = U U^T, so that the residual R = Q(X) - nu L(X) can be multiplied by a block of normal vectors G
  with products M_i U alone. R G is what W is enlarged by, and its length the error estimate (randomised range
  finder; Halko, Martinsson, Tropp 2011).
*/
#include "stability/sgd.h"
#include "core/interrupt.h"
#include "core/lapack.h"
#include "core/random.h"
#include <math.h>

enum {
  START = 8, /* eigenvectors of the mean */
  MORE = 8,  /* vectors of an enlargement */
  RANK = 24, /* of X */
};

static const PetscReal enough = 1e-3; /* relative residual; the error of nu is of its second order */

/* ---- growing ---- */

/* W^T M_i W for the vectors from..q-1 that are new. */
static PetscErrorCode Project(CourantSubspace *s, PetscInt from)
{
  const PetscInt p = s->samples->p, n = s->samples->n, columns = s->q - from;
  const PetscScalar *W;
  PetscReal *MW;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)(COURANT_SAMPLES_TOGETHER * columns) * (size_t)p, &MW));
  PetscCall(BVGetArrayRead(s->basis, &W));
  for (PetscInt first = 0; first < n; first += COURANT_SAMPLES_TOGETHER) {
    const PetscInt count = PetscMin(COURANT_SAMPLES_TOGETHER, n - first);
    PetscCall(CourantSamplesMultiply(s->samples, first, count, columns, W + (size_t)from * (size_t)p, MW));
    for (PetscInt i = 0; i < count; i++) {
      PetscReal *matrix = s->matrices + (size_t)(first + i) * (size_t)(s->most * s->most);
      CourantMultiply('T', 'N', s->q, columns, p, W, p, MW + (size_t)(i * columns) * (size_t)p, p, 0,
                      matrix + from * s->most, s->most);
      for (PetscInt k = from; k < s->q; k++)
        for (PetscInt j = 0; j < k; j++) matrix[k + j * s->most] = matrix[j + k * s->most];
    }
  }
  PetscCall(BVRestoreArrayRead(s->basis, &W));
  PetscCall(PetscFree(MW));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Takes the columns [p,columns] into W, those that are not in it already, and the matrices with it. */
static PetscErrorCode Enlarge(CourantSubspace *s, PetscInt columns, const PetscReal vectors[])
{
  const PetscInt p = s->samples->p, from = s->q;
  PetscBool dependent;
  PetscReal norm;
  PetscScalar *array;
  Vec w;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < columns && s->q < s->most; c++) {
    PetscCall(BVGetColumn(s->basis, s->q, &w));
    PetscCall(VecGetArrayWrite(w, &array));
    PetscCall(PetscArraycpy(array, vectors + (size_t)c * (size_t)p, p));
    PetscCall(VecRestoreArrayWrite(w, &array));
    PetscCall(VecNormalize(w, NULL));
    PetscCall(BVRestoreColumn(s->basis, s->q, &w));
    PetscCall(BVOrthonormalizeColumn(s->basis, s->q, PETSC_FALSE, &norm, &dependent));
    if (!dependent && norm > 1e-10) s->q++;
  }
  s->before = from;
  if (s->q > from) PetscCall(Project(s, from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The leading eigenvectors of the mean, those of full-batch descent, and the slowest, whose growth is the
  largest where the learning rate is small; none where SLEPc finds none.
*/
static PetscErrorCode Begin(CourantSubspace *s, Vec theta, Vec slowest)
{
  const CourantProblem problem = s->samples->problem;
  const PetscInt p = s->samples->p;
  PetscReal *vectors;
  PetscInt found;
  Mat H;
  Vec v;
  EPS eps;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemCreateHessian(problem, &H));
  PetscCall(CourantHessianSetWeightDecay(H, s->samples->alpha));
  PetscCall(CourantProblemSetState(problem, theta, NULL, NULL));
  PetscCall(EPSCreate(problem->comm, &eps));
  PetscCall(EPSSetOptionsPrefix(eps, "sgd_mean_"));
  PetscCall(EPSSetOperators(eps, H, NULL));
  PetscCall(EPSSetProblemType(eps, EPS_HEP));
  PetscCall(EPSSetWhichEigenpairs(eps, EPS_LARGEST_REAL));
  PetscCall(EPSSetDimensions(eps, START, PETSC_DEFAULT, PETSC_DEFAULT));
  PetscCall(EPSSetFromOptions(eps));
  PetscCall(EPSSolve(eps));
  PetscCall(EPSGetConverged(eps, &found));
  found = PetscMin(found, START);
  PetscCall(PetscMalloc1((size_t)(found + 1) * (size_t)p, &vectors));
  PetscCall(VecDuplicate(theta, &v));
  for (PetscInt k = 0; k < found; k++) {
    PetscCall(EPSGetEigenvector(eps, k, v, NULL));
    PetscCall(CourantSamplesCopyAll(v, vectors + (size_t)k * (size_t)p));
  }
  if (found && slowest) {
    PetscCall(CourantSamplesCopyAll(slowest, vectors + (size_t)found * (size_t)p));
    found++;
  }
  PetscCall(Enlarge(s, found, vectors));
  PetscCall(VecDestroy(&v));
  PetscCall(PetscFree(vectors));
  PetscCall(EPSDestroy(&eps));
  PetscCall(MatDestroy(&H));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the residual ---- */

/* U [p,rank] with X = U U^T, out of X in the modes' coordinates [q,q]; X is lost. */
static PetscErrorCode Factor(CourantSubspace *s, const CourantSgdModes *modes, PetscReal X[], PetscReal U[],
                             PetscInt *rank)
{
  const PetscInt p = s->samples->p, q = modes->q;
  PetscReal *values, *in_W;
  const PetscScalar *W;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(q, &values, s->q * q, &in_W));
  PetscReal trace = 0;
  for (PetscInt k = 0; k < q; k++) trace += X[k * (q + 1)];
  for (PetscInt k = 0; trace < 0 && k < q * q; k++) X[k] = -X[k]; /* an eigenvector has no sign */
  PetscCall(CourantDiagonalise('V', q, X, values));
  for (*rank = 0; *rank < PetscMin(q, RANK) && values[q - 1 - *rank] > 1e-10 * values[q - 1];) ++*rank;
  PetscReal *leading = X + (q - *rank) * q;
  for (PetscInt k = 0; k < *rank; k++)
    for (PetscInt j = 0; j < q; j++) leading[k * q + j] *= sqrt(values[q - *rank + k]);
  CourantMultiply('N', 'N', s->q, *rank, q, modes->vectors, s->q, leading, q, 0, in_W, s->q);
  PetscCall(BVGetArrayRead(s->basis, &W));
  CourantMultiply('N', 'N', p, *rank, s->q, W, p, in_W, s->q, 0, U, p);
  PetscCall(BVRestoreArrayRead(s->basis, &W));
  PetscCall(PetscFree2(values, in_W));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A block of work: all [p,MORE] but where it says otherwise. */
typedef struct {
  PetscReal *G, *QG, *LG;
  PetscReal *U, *mU; /* [p,RANK] */
  PetscReal *MU;     /* [COURANT_SAMPLES_TOGETHER] of them */
} Work;

/* mU = mean M_i U and QG = mean M_i U U^T M_i G, in one pass over the samples for each block of U. */
static PetscErrorCode Pass(CourantSubspace *s, PetscInt rank, const Work *work)
{
  const size_t p = (size_t)s->samples->p;
  const PetscInt n = s->samples->n;
  PetscReal inner[MORE * MORE];

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(work->mU, p * RANK));
  PetscCall(PetscArrayzero(work->QG, p * MORE));
  for (PetscInt c = 0; c < rank; c += MORE) {
    const PetscInt columns = PetscMin(MORE, rank - c);
    for (PetscInt first = 0; first < n; first += COURANT_SAMPLES_TOGETHER) {
      const PetscInt count = PetscMin(COURANT_SAMPLES_TOGETHER, n - first);
      PetscCall(CourantSamplesMultiply(s->samples, first, count, columns, work->U + (size_t)c * p, work->MU));
      for (PetscInt i = 0; i < count; i++) {
        const PetscReal *F = work->MU + (size_t)(i * columns) * p;
        CourantMultiply('T', 'N', columns, MORE, (PetscInt)p, F, (PetscInt)p, work->G, (PetscInt)p, 0, inner,
                        columns);
        for (PetscInt k = 0; k < columns * MORE; k++) inner[k] /= (PetscReal)n;
        CourantMultiply('N', 'N', (PetscInt)p, MORE, columns, F, (PetscInt)p, inner, columns, 1, work->QG,
                        (PetscInt)p);
        for (size_t k = 0; k < (size_t)columns * p; k++) work->mU[(size_t)c * p + k] += F[k] / (PetscReal)n;
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y = c y + factor A (B^T G), of A and B [p,rank]. */
static void AddOuter(PetscInt p, PetscInt rank, PetscReal factor, const PetscReal A[], const PetscReal B[],
                     const PetscReal G[], PetscReal c, PetscReal y[])
{
  PetscReal inner[RANK * MORE];

  CourantMultiply('T', 'N', rank, MORE, p, B, p, G, p, 0, inner, rank);
  for (PetscInt k = 0; k < rank * MORE; k++) inner[k] *= factor;
  CourantMultiply('N', 'N', p, MORE, rank, A, p, inner, rank, c, y, p);
}

/* R G in work->QG, and how long it is against nu L(X) G, but for what is inside W, where R is 0. */
static PetscErrorCode Residual(CourantSubspace *s, const CourantSgdModes *modes, PetscInt rank, PetscReal nu,
                               PetscInt round, const Work *work)
{
  const PetscInt p = s->samples->p;
  const PetscReal c = CourantBatchVariance(modes->n, modes->batch);
  const CourantRandom stream = {
      .seed = 1, .purpose = COURANT_RANDOM_PROBE, .index = (uint32_t)round, .epoch = 3};
  const PetscScalar *W;
  PetscReal *inside, outside = 0, whole = 0;

  PetscFunctionBeginUser;
  CourantRandomNormal(stream, (int64_t)p * MORE, work->G);
  PetscCall(Pass(s, rank, work));
  AddOuter(p, rank, 1 - c, work->mU, work->mU, work->G, c, work->QG);
  AddOuter(p, rank, nu, work->mU, work->U, work->G, 0, work->LG);
  AddOuter(p, rank, nu, work->U, work->mU, work->G, 1, work->LG);
  for (PetscInt k = 0; k < p * MORE; k++) work->QG[k] -= work->LG[k];
  PetscCall(PetscMalloc1(s->q * MORE, &inside));
  PetscCall(BVGetArrayRead(s->basis, &W));
  CourantMultiply('T', 'N', s->q, MORE, p, W, p, work->QG, p, 0, inside, s->q);
  for (PetscInt k = 0; k < s->q * MORE; k++) inside[k] = -inside[k];
  CourantMultiply('N', 'N', p, MORE, s->q, W, p, inside, s->q, 1, work->QG, p);
  PetscCall(BVRestoreArrayRead(s->basis, &W));
  PetscCall(PetscFree(inside));
  for (PetscInt k = 0; k < p * MORE; k++) {
    outside += work->QG[k] * work->QG[k];
    whole += work->LG[k] * work->LG[k];
  }
  s->error = sqrt(outside / whole);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One round: the small problem, its residual, and a larger space unless that is small enough. */
static PetscErrorCode Round(CourantSubspace *s, PetscInt batch, PetscReal neutral, PetscInt round,
                            const Work *work, PetscBool *done)
{
  CourantSgdModes modes;
  CourantEstimate limit;
  CourantStatus status;
  PetscReal *X;
  PetscInt rank;

  PetscFunctionBeginUser;
  *done = PETSC_TRUE;
  /* the matrices keep their stride [most,most] as they grow */
  PetscCall(CourantSgdModesCreate(s->samples->n, s->q, s->most, s->matrices, batch, neutral, &modes));
  if (modes.q && !modes.below) { /* where the flow leaves the state there is no limit to look for */
    PetscCall(PetscMalloc1(modes.q * modes.q, &X));
    PetscCall(CourantMeanSquareLimit(&modes, &limit, X, &status));
    PetscCall(Factor(s, &modes, X, work->U, &rank));
    PetscCall(Residual(s, &modes, rank, 1 / limit.value, round, work));
    PetscCall(PetscFree(X));
    /* one enlargement at least, so that there is something to compare with */
    *done = (s->before && s->error <= enough) || s->q == s->most ? PETSC_TRUE : PETSC_FALSE;
    if (!*done) PetscCall(Enlarge(s, MORE, work->QG));
    if (s->before == s->q) *done = PETSC_TRUE; /* there is nothing beside W */
  }
  PetscCall(CourantSgdModesDestroy(&modes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSubspaceMemory - Bytes that it takes, about 2.5 kB for each weight. */
double CourantSubspaceMemory(PetscInt samples, PetscInt weights)
{
  const PetscInt blocks = 3 * MORE + 2 * RANK + 2 * COURANT_SAMPLES_TOGETHER * MORE,
                 most = PetscMin(weights, COURANT_SUBSPACE_MOST);
  return sizeof(PetscReal) * ((double)weights * (double)(blocks + most) +
                              (3. * (double)samples + 2 * COURANT_CONGRUENCE) * (double)(most * most));
}

/*
  CourantSubspaceCreate - The subspace for batches of so many samples; it holds `slowest`, unless that is
  NULL. Empty where SLEPc finds nothing to begin with. Collective.
*/
PetscErrorCode CourantSubspaceCreate(CourantSamples *samples, Vec theta, Vec slowest, PetscInt batch,
                                     PetscReal neutral, CourantSubspace *s)
{
  const PetscInt p = samples->p;
  const size_t block = (size_t)p * MORE, factor = (size_t)p * RANK;
  PetscBool done = PETSC_FALSE;
  Work work;
  Vec like;

  PetscFunctionBeginUser;
  *s = (CourantSubspace){.samples = samples, .most = PetscMin(p, COURANT_SUBSPACE_MOST)};
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, p, &like));
  PetscCall(BVCreate(PETSC_COMM_SELF, &s->basis));
  PetscCall(BVSetSizesFromVec(s->basis, like, s->most));
  PetscCall(BVSetType(s->basis, BVSVEC));
  PetscCall(VecDestroy(&like));
  PetscCall(PetscCalloc1((size_t)samples->n * (size_t)(s->most * s->most), &s->matrices));
  PetscCall(PetscMalloc6(block, &work.G, block, &work.QG, block, &work.LG, factor, &work.U, factor, &work.mU,
                         (size_t)COURANT_SAMPLES_TOGETHER * block, &work.MU));
  PetscCall(Begin(s, theta, slowest));
  for (PetscInt round = 0; !done && s->q; round++) PetscCall(Round(s, batch, neutral, round, &work, &done));
  PetscCall(PetscFree6(work.G, work.QG, work.LG, work.U, work.mU, work.MU));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantSubspaceDestroy(CourantSubspace *s)
{
  PetscFunctionBeginUser;
  PetscCall(BVDestroy(&s->basis));
  PetscCall(PetscFree(s->matrices));
  PetscFunctionReturn(PETSC_SUCCESS);
}
