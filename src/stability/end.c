/*
  One end of the spectrum of a symmetric operator, and how sure it is.

  A search by SLEPc from a random start finds the eigenvalues that are wanted. A residual says that some
  eigenvalue is near, not that none was passed over: that is the certificate's to support, a second solve from
  another start, deflated against what was found, which goes on until its largest Ritz value and residual
  leave no room for more, or adds what it finds, copies of multiple eigenvalues too. At the end Rayleigh and
  Ritz's method on all that was found gives values, vectors and fresh residuals, with the operator in double
  precision.
*/
#include "core/random.h"
#include "stability/spectrum.h"
#include <math.h>
#include <petscblaslapack.h>
#include <stdlib.h>

enum {
  ROUNDS = 8, /* certificates, each deflated against what those before have found */
  CHUNK = 16, /* eigenvalues of the first search of all above a threshold */
  LEAST = 12, /* vectors of a basis */
  CYCLES = 9, /* of a solve before it takes a larger basis, */
  GROWTH = 3, /* so many times as large */
};

static const PetscReal default_tolerance = 1e-10;
static const PetscReal keep = 0.75; /* of a basis at a restart: close to a basis without end, often checked */
static const PetscReal doubt = 0.05; /* probability of a miss that a certificate may leave */

/* ---- tests during a solve ---- */

/* Krylov-Schur's Ritz values reach both ends of the spectrum: after one cycle they have the norm to a
 * percent. */
static PetscErrorCode SeeNorm(CourantSpectrum spectrum, EPS eps)
{
  PetscBool krylov_schur;
  PetscInt n;
  PetscReal *ritz;
  DS ds;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectTypeCompare((PetscObject)eps, EPSKRYLOVSCHUR, &krylov_schur));
  if (!krylov_schur) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(EPSGetDS(eps, &ds));
  PetscCall(DSGetDimensions(ds, &n, NULL, NULL, NULL));
  PetscCall(DSGetArrayReal(ds, DS_MAT_T, &ritz));
  for (PetscInt i = 0; i < n; i++) spectrum->norm = PetscMax(spectrum->norm, fabs(ritz[i]));
  PetscCall(DSRestoreArrayReal(ds, DS_MAT_T, &ritz));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Residuals are measured against the norm of the operator: a test relative to the eigenvalue fails near 0.
  What a search has at its last iteration is taken as it is: its residual will tell.
*/
static PetscErrorCode TestConvergence(EPS eps, PetscScalar re, PetscScalar im, PetscReal residual,
                                      PetscReal *error, void *ctx)
{
  CourantSpectrumEnd *end = (CourantSpectrumEnd *)ctx;
  PetscInt iteration, last;

  PetscFunctionBeginUser;
  (void)im;
  PetscCall(SeeNorm(end->spectrum, eps));
  end->candidate = PetscRealPart(re);
  end->distance = residual;
  *error = end->spectrum->norm > 0 ? residual / end->spectrum->norm : residual;
  PetscCall(EPSGetIterationNumber(eps, &iteration));
  PetscCall(EPSGetTolerances(eps, NULL, &last));
  if (!end->certifies && iteration >= last) *error = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsBeyond(const CourantSpectrumEnd *end)
{
  return end->sign * end->candidate + end->distance < end->sign * end->edge ? PETSC_TRUE : PETSC_FALSE;
}

/* The certificates are taken for one eigenvalue more of each end. */
static PetscErrorCode ShowProgress(const CourantSpectrumEnd *end, PetscInt converged)
{
  const CourantSpectrumEnd *const ends = end->spectrum->ends;
  const PetscInt here = end->certifies ? end->wanted : PetscMin(converged, end->wanted);
  PetscInt before = 0, all = 0;

  PetscFunctionBeginUser;
  for (int e = 0; e < 2; e++) {
    if (!ends[e].wanted) continue;
    if (&ends[e] < end) before += ends[e].wanted + 1;
    all += ends[e].wanted + 1;
  }
  PetscCall(
      end->spectrum->progress((PetscReal)(before + here) / (PetscReal)all, end->spectrum->progress_ctx));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The last tested Ritz value is the first that has not converged: with nothing beyond the edge it may stop.
 */
static PetscErrorCode TestStop(EPS eps, PetscInt iteration, PetscInt last, PetscInt converged,
                               PetscInt wanted, EPSConvergedReason *reason, void *ctx)
{
  CourantSpectrumEnd *end = (CourantSpectrumEnd *)ctx;

  PetscFunctionBeginUser;
  if (end->spectrum->progress) PetscCall(ShowProgress(end, converged));
  PetscCall(EPSStoppingBasic(eps, iteration, last, converged, wanted, reason, NULL));
  if (*reason <= 0 && IsBeyond(end)) *reason = EPS_CONVERGED_USER;
  if (*reason || !end->can_grow || iteration < CYCLES) PetscFunctionReturn(PETSC_SUCCESS);
  *reason = EPS_CONVERGED_USER;
  end->gave_up = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- life ---- */

/* A Krylov-Schur solver of this end. */
static PetscErrorCode CreateEPS(CourantSpectrumEnd *end, EPS *result)
{
  const PetscBool largest = end->sign > 0 ? PETSC_TRUE : PETSC_FALSE;
  EPS eps;

  PetscFunctionBeginUser;
  PetscCall(EPSCreate(end->spectrum->comm, &eps));
  PetscCall(EPSSetOptionsPrefix(eps, largest ? "hessian_max_" : "hessian_min_"));
  PetscCall(EPSSetProblemType(eps, EPS_HEP));
  PetscCall(EPSSetWhichEigenpairs(eps, largest ? EPS_LARGEST_REAL : EPS_SMALLEST_REAL));
  PetscCall(EPSSetType(eps, EPSKRYLOVSCHUR));
  PetscCall(EPSKrylovSchurSetRestart(eps, keep));
  PetscCall(EPSSetTolerances(eps, default_tolerance, 1000));
  PetscCall(EPSSetConvergenceTestFunction(eps, TestConvergence, end, NULL));
  PetscCall(EPSSetStoppingTestFunction(eps, TestStop, end, NULL));
  *result = eps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantSpectrumEndCreate(CourantSpectrum spectrum, CourantSide side, CourantSpectrumEnd *end)
{
  PetscFunctionBeginUser;
  *end = (CourantSpectrumEnd){
      .spectrum = spectrum, .sign = side == COURANT_LARGEST ? 1 : -1, .wanted = 1, .threshold = NAN};
  PetscCall(CreateEPS(end, &end->eps));
  PetscCall(CreateEPS(end, &end->certifier));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The search's solver anew, for a start from guesses or a random one; what the last one has left behind does
  not go with it. Krylov-Schur uses one vector of an initial space, generalised Davidson all. (So does LOBPCG,
  but with no preconditioner it takes ten times the products and more.)
*/
PetscErrorCode CourantSpectrumEndRenew(CourantSpectrumEnd *end, PetscBool guesses)
{
  const char *prefix;
  PetscReal tolerance;
  PetscInt iterations;
  EPS eps;
  ST st;
  KSP ksp;
  PC pc;

  PetscFunctionBeginUser;
  PetscCall(CreateEPS(end, &eps));
  PetscCall(EPSGetOptionsPrefix(end->eps, &prefix));
  PetscCall(EPSSetOptionsPrefix(eps, prefix));
  PetscCall(EPSGetTolerances(end->eps, &tolerance, &iterations));
  PetscCall(EPSSetTolerances(eps, tolerance, iterations));
  PetscCall(EPSSetOperators(eps, end->spectrum->view, NULL));
  if (guesses) {
    PetscCall(EPSSetType(eps, EPSGD));
    PetscCall(EPSGetST(eps, &st));
    PetscCall(STSetType(st, STPRECOND));
    PetscCall(STGetKSP(st, &ksp));
    PetscCall(KSPGetPC(ksp, &pc));
    PetscCall(PCSetType(pc, PCNONE));
  }
  PetscCall(EPSDestroy(&end->eps));
  end->eps = eps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Forgets what was found. */
PetscErrorCode CourantSpectrumEndReset(CourantSpectrumEnd *end)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < end->n; i++) PetscCall(VecDestroy(&end->vectors[i]));
  end->n = end->told = 0;
  end->searched = end->certified = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantSpectrumEndDestroy(CourantSpectrumEnd *end)
{
  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumEndReset(end));
  for (PetscInt i = 0; i < end->nguesses; i++) PetscCall(VecDestroy(&end->guesses[i]));
  PetscCall(PetscFree(end->guesses));
  PetscCall(PetscFree(end->vectors));
  PetscCall(PetscFree(end->values));
  PetscCall(VecDestroy(&end->top));
  PetscCall(EPSDestroy(&end->eps));
  PetscCall(EPSDestroy(&end->certifier));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- how large a basis ---- */

/*
  Kuczynski and Wozniakowski (1992), theorem 4: after k Lanczos steps from a random start the largest Ritz
  value is below (1 - e) of the way from the bottom to the top of the spectrum with probability at most 1.648
  sqrt(n) exp(-sqrt(e) (2k - 1)). Here e = 1 %.
*/
static PetscReal MissedProbability(PetscInt n, PetscInt steps)
{
  return steps >= n ? 0
                    : PetscMin(1, 1.648 * PetscSqrtReal((PetscReal)n) *
                                      PetscExpReal(-0.1 * (2. * (PetscReal)steps - 1)));
}

/* The steps of a certificate's first cycle: after those the probability is below `doubt`. */
static PetscInt CertificateBasis(const CourantSpectrumEnd *end, PetscInt n)
{
  const PetscReal steps = 5 * PetscLogReal(1.648 * PetscSqrtReal((PetscReal)n) / doubt) + 0.5;
  if (end->basis) return PetscMin(n, end->basis);
  return PetscMin(n, end->growth * PetscMax(LEAST, (PetscInt)PetscCeilReal(steps)));
}

/* A basis in which so many eigenvalues converge after few restarts: more digits take more vectors, and so
   does the space of a Davidson method, which is no Krylov space. */
static PetscInt SearchBasis(const CourantSpectrumEnd *end, PetscInt n, PetscInt wanted)
{
  const PetscReal digits = PetscMax(0, -PetscLog10Real(PetscMax(end->tolerance, 1e-16)));
  const PetscInt basis = PetscMax(wanted + LEAST + (PetscInt)(2 * digits), 3 * wanted / 2);
  if (end->basis) return PetscMin(n, PetscMax(end->basis, wanted));
  return PetscMin(n, end->growth * (end->nguesses ? 2 * basis : basis));
}

/* Bytes on a rank: the bases of search and certificate, what they are deflated against, Rayleigh and Ritz's
 * copies. */
static PetscReal Bytes(const CourantSpectrumEnd *end, PetscInt n, PetscInt wanted)
{
  PetscMPIInt ranks = 1;

  (void)MPI_Comm_size(end->spectrum->comm, &ranks);
  return (8. * (PetscReal)((n + ranks - 1) / ranks)) *
         (PetscReal)(SearchBasis(end, n, wanted) + CertificateBasis(end, n) + 5 * wanted + 4);
}

static PetscInt Fitting(const CourantSpectrumEnd *end, PetscInt n, PetscInt wanted)
{
  while (wanted > 0 && end->spectrum->memory > 0 && Bytes(end, n, wanted) > end->spectrum->memory) wanted--;
  return wanted;
}

/* May a solve that finds its basis too small go on with a larger one? */
static PetscErrorCode CanGrow(CourantSpectrumEnd *end, PetscInt n, PetscInt wanted)
{
  const PetscInt growth = end->growth,
                 basis = end->certifies ? CertificateBasis(end, n) : SearchBasis(end, n, wanted);

  PetscFunctionBeginUser;
  end->gave_up = PETSC_FALSE;
  PetscCall(PetscObjectTypeCompare((PetscObject)(end->certifies ? end->certifier : end->eps), EPSKRYLOVSCHUR,
                                   &end->can_grow));
  if (end->basis || basis == n) end->can_grow = PETSC_FALSE;
  end->growth *= GROWTH;
  if (end->spectrum->memory > 0 ? Fitting(end, n, wanted) < wanted : end->growth > GROWTH)
    end->can_grow = PETSC_FALSE;
  end->growth = growth;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Does what is wanted fit? Before anything is computed. */
PetscErrorCode CourantSpectrumEndCheck(CourantSpectrumEnd *end)
{
  const CourantSpectrum spectrum = end->spectrum;
  const PetscInt wanted = isnan(end->threshold) ? end->wanted : 1;
  PetscInt n;

  PetscFunctionBeginUser;
  end->growth = 1;
  PetscCall(MatGetSize(spectrum->A, &n, NULL));
  PetscCall(EPSGetTolerances(end->eps, &end->tolerance, NULL));
  if (wanted > n)
    CourantInputError(spectrum->comm, "%d eigenvalues are wanted of an operator of dimension %d", (int)wanted,
                      (int)n);
  const PetscInt fitting = Fitting(end, n, wanted);
  if (fitting < wanted)
    CourantInputError(spectrum->comm,
                      "the basis for %d eigenvalue%s takes %.3g MB on a rank, -memory leaves %.3g MB: %s%.0d",
                      (int)wanted, wanted == 1 ? "" : "s", Bytes(end, n, wanted) / 1e6,
                      spectrum->memory / 1e6, fitting ? "enough for " : "not enough for any", (int)fitting);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- solves ---- */

/* A start that depends on nothing but its index, so that a solve repeats whatever came before it. */
PetscErrorCode CourantSpectrumSetStart(EPS eps, Vec start, uint32_t index)
{
  const CourantRandom stream = {.seed = 1, .purpose = COURANT_RANDOM_KRYLOV, .index = index};
  PetscInt first, last, n;
  PetscScalar *array;
  double *values;
  BV bv;
  PetscRandom random;

  PetscFunctionBeginUser;
  PetscCall(VecGetSize(start, &n));
  PetscCall(VecGetOwnershipRange(start, &first, &last));
  PetscCall(PetscMalloc1(n, &values));
  CourantRandomNormal(stream, n, values);
  PetscCall(VecGetArrayWrite(start, &array));
  for (PetscInt i = first; i < last; i++) array[i - first] = values[i];
  PetscCall(VecRestoreArrayWrite(start, &array));
  PetscCall(PetscFree(values));
  PetscCall(EPSSetInitialSpace(eps, 1, &start));
  PetscCall(EPSGetBV(eps, &bv)); /* draws another start when the Krylov space is invariant */
  PetscCall(BVGetRandomContext(bv, &random));
  PetscCall(PetscRandomSetSeed(random, 0x5eed + index));
  PetscCall(PetscRandomSeed(random));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Reserve(CourantSpectrumEnd *end, PetscInt n)
{
  PetscFunctionBeginUser;
  if (n <= end->capacity) PetscFunctionReturn(PETSC_SUCCESS);
  end->capacity = PetscMax(n, 2 * end->capacity);
  PetscCall(PetscRealloc(sizeof(Vec) * (size_t)end->capacity, &end->vectors));
  PetscCall(PetscRealloc(sizeof(CourantEigenvalue) * (size_t)end->capacity, &end->values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds at most `most` of the pairs that the solver has, those not beyond the edge. */
static PetscErrorCode Collect(CourantSpectrumEnd *end, EPS eps, PetscInt most)
{
  PetscInt there;
  PetscScalar value;

  PetscFunctionBeginUser;
  PetscCall(EPSGetConverged(eps, &there));
  there = PetscMin(there, most);
  PetscCall(Reserve(end, end->n + there));
  for (PetscInt i = 0; i < there; i++) {
    PetscCall(EPSGetEigenvalue(eps, i, &value, NULL));
    if (end->sign * PetscRealPart(value) < end->sign * end->edge) continue;
    PetscCall(VecDuplicate(end->top, &end->vectors[end->n]));
    PetscCall(EPSGetEigenvector(eps, i, end->vectors[end->n], NULL));
    end->values[end->n++] = (CourantEigenvalue){.value = PetscRealPart(value), .residual = NAN};
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One solve for `most` eigenvalues at most, away from those found so far. */
static PetscErrorCode SolveOnce(CourantSpectrumEnd *end, uint32_t index, PetscInt most, PetscInt basis)
{
  const EPS eps = end->certifies ? end->certifier : end->eps;
  PetscBool ours, davidson;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectTypeCompareAny((PetscObject)eps, &ours, EPSKRYLOVSCHUR, EPSGD, ""));
  PetscCall(PetscObjectTypeCompare((PetscObject)eps, EPSGD, &davidson));
  if (davidson && end->nguesses) {
    PetscCall(EPSGDSetInitialSize(eps, end->nguesses));
    PetscCall(EPSGDSetRestart(eps, PetscMax(most + 1, basis / 3), 1));
  }
  PetscCall(EPSSetDimensions(eps, most, ours || end->basis ? basis : PETSC_DEFAULT,
                             end->projected && !end->certifies ? end->projected : PETSC_DEFAULT));
  PetscCall(EPSSetDeflationSpace(eps, end->n, end->vectors));
  PetscCall(CourantSpectrumSetStart(eps, end->top, index));
  if (end->nguesses && !end->certifies) PetscCall(EPSSetInitialSpace(eps, end->nguesses, end->guesses));
  end->candidate = end->sign * PETSC_INFINITY;
  end->distance = 0;
  PetscCall(EPSSolve(eps));
  PetscCall(Collect(end, eps, most));
  PetscCall(EPSSetDeflationSpace(eps, 0, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The eigenvalues wanted, as far as random starts show them: mostly at once. All above a threshold come in
  chunks, and where many restarts do not do, what has converged is kept and a larger basis looks for the rest.
*/
static PetscErrorCode Search(CourantSpectrumEnd *end, PetscInt n, PetscReal *missed)
{
  const PetscBool all = isnan(end->threshold) ? PETSC_FALSE : PETSC_TRUE;
  PetscInt most = all ? PetscMax(1, Fitting(end, n, PetscMin(CHUNK, n))) : end->wanted;
  PetscBool more = PETSC_TRUE;

  PetscFunctionBeginUser;
  end->certifies = PETSC_FALSE;
  end->edge = all ? end->threshold : -end->sign * PETSC_INFINITY;
  for (uint32_t index = 1; more; index += ROUNDS + 1) { /* the certificates' are between */
    const PetscInt before = end->n, basis = SearchBasis(end, n, most);
    if (index == 1) *missed = end->nguesses ? 1 : MissedProbability(n, basis);
    PetscCall(CanGrow(end, n, most));
    PetscCall(SolveOnce(end, index, most, basis));
    const PetscBool full = end->n - before == most ? PETSC_TRUE : PETSC_FALSE;
    if (end->gave_up) end->growth *= GROWTH;
    if (all && full) most = PetscMax(1, Fitting(end, n, PetscMin(2 * most, n - end->n)));
    if (!all) most = end->wanted - end->n;
    more = end->n < n && most > 0 && (end->gave_up || (all && full)) ? PETSC_TRUE : PETSC_FALSE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int CompareValues(const void *a, const void *b)
{
  const PetscReal x = *(const PetscReal *)a, y = *(const PetscReal *)b;
  return (x < y) - (x > y);
}

/* The value of which at most `wanted` - 1 are better; the worst of all where there are fewer. */
static PetscErrorCode LastWanted(const CourantSpectrumEnd *end, PetscReal *value)
{
  PetscReal *turned;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(end->n, &turned));
  for (PetscInt i = 0; i < end->n; i++) turned[i] = end->sign * end->values[i].value;
  qsort(turned, (size_t)end->n, sizeof *turned, CompareValues);
  *value = end->sign * turned[PetscMin(end->n, end->wanted) - 1];
  PetscCall(PetscFree(turned));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Is one of the pairs from `first` on better than a value? */
static PetscBool AnyBetter(const CourantSpectrumEnd *end, PetscInt first, PetscReal value)
{
  for (PetscInt i = first; i < end->n; i++)
    if (end->sign * end->values[i].value > end->sign * value) return PETSC_TRUE;
  return PETSC_FALSE;
}

/*
  Looks for more, until what comes changes nothing of what is wanted. open: a value that something may still
  be beyond, where the solver gave up; missed: the probability that something is, nevertheless.
*/
static PetscErrorCode Certify(CourantSpectrumEnd *end, PetscInt n, PetscReal *open, PetscReal *missed)
{
  const PetscBool all = isnan(end->threshold) ? PETSC_FALSE : PETSC_TRUE;
  const PetscReal near = all ? 0 : 2 * end->tolerance * end->spectrum->norm,
                  none = -end->sign * PETSC_INFINITY;

  PetscFunctionBeginUser;
  end->certifies = PETSC_TRUE;
  end->growth = 1;
  *open = none;
  *missed = 0;
  for (uint32_t round = 0; round < ROUNDS && end->n < n; round++) {
    const PetscInt before = end->n, steps = CertificateBasis(end, n);
    PetscReal last = end->threshold;
    if (!all) PetscCall(LastWanted(end, &last));
    end->edge = last - end->sign * near;
    PetscCall(CanGrow(end, n, 1));
    PetscCall(SolveOnce(end, round + 2, PetscMax(1, PetscMin(steps / 2, n - before)), steps));
    *missed = MissedProbability(n - before, steps);
    *open = IsBeyond(end) || end->n == n ? none : end->candidate;
    if (end->gave_up)
      end->growth *= GROWTH;
    else if (!AnyBetter(end, before, last + end->sign * near))
      PetscFunctionReturn(PETSC_SUCCESS);
    if (round + 1 == ROUNDS) *open = end->n > before ? end->values[before].value : last;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- what it comes to ---- */

/* Eigenvalues, ascending, and eigenvectors, in place, of a small dense symmetric matrix. */
static PetscErrorCode SolveSmall(Mat M, PetscReal values[])
{
  PetscScalar *array, *work, query;
  PetscBLASInt size, lwork = -1, info;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(MatGetSize(M, &n, NULL));
  PetscCall(PetscBLASIntCast(n, &size));
  PetscCall(MatDenseGetArray(M, &array));
  PetscCallBLAS("LAPACKsyev", LAPACKsyev_("V", "U", &size, array, &size, values, &query, &lwork, &info));
  lwork = (PetscBLASInt)PetscRealPart(query);
  PetscCall(PetscMalloc1(lwork, &work));
  PetscCallBLAS("LAPACKsyev", LAPACKsyev_("V", "U", &size, array, &size, values, work, &lwork, &info));
  PetscCall(PetscFree(work));
  PetscCall(MatDenseRestoreArray(M, &array));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK syev failed with info %d", (int)info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Column j of X and Y, an eigenvector and its product with the operator, as a pair. */
static PetscErrorCode Measure(CourantSpectrumEnd *end, BV X, BV Y, PetscInt j, PetscReal value, PetscInt to)
{
  Vec y;

  PetscFunctionBeginUser;
  PetscCall(BVCopyVec(X, j, end->vectors[to]));
  PetscCall(BVGetColumn(Y, j, &y));
  PetscCall(VecAXPY(y, -value, end->vectors[to]));
  PetscCall(VecNorm(y, NORM_2, &end->values[to].residual));
  PetscCall(BVRestoreColumn(Y, j, &y));
  end->values[to].value = value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rayleigh and Ritz's method on all that was found, with the operator in double precision: best first. */
static PetscErrorCode Refine(CourantSpectrumEnd *end)
{
  const CourantSpectrum spectrum = end->spectrum;
  PetscInt m = end->n;
  PetscReal *values;
  BV X, Y;
  Mat M;

  PetscFunctionBeginUser;
  if (m == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(BVCreate(spectrum->comm, &X));
  PetscCall(BVSetSizesFromVec(X, end->top, m));
  PetscCall(BVSetFromOptions(X));
  PetscCall(BVInsertVecs(X, 0, &m, end->vectors, PETSC_TRUE)); /* dependent ones are left out */
  PetscCall(BVSetActiveColumns(X, 0, m));
  PetscCall(BVDuplicate(X, &Y));
  PetscCall(BVSetActiveColumns(Y, 0, m));
  spectrum->precise = PETSC_TRUE;
  PetscCall(BVMatMult(X, spectrum->view, Y));
  spectrum->precise = PETSC_FALSE;
  PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, m, m, NULL, &M));
  PetscCall(BVDot(Y, X, M));
  PetscCall(PetscMalloc1(m, &values));
  PetscCall(SolveSmall(M, values));
  PetscCall(BVMultInPlace(X, M, 0, m));
  PetscCall(BVMultInPlace(Y, M, 0, m));
  for (PetscInt i = m; i < end->n; i++) PetscCall(VecDestroy(&end->vectors[i]));
  end->n = m;
  for (PetscInt i = 0; i < m; i++) {
    const PetscInt j = end->sign > 0 ? m - 1 - i : i;
    PetscCall(Measure(end, X, Y, j, values[j], i));
    spectrum->norm = PetscMax(spectrum->norm, fabs(values[j]));
  }
  PetscCall(PetscFree(values));
  PetscCall(MatDestroy(&M));
  PetscCall(BVDestroy(&Y));
  PetscCall(BVDestroy(&X));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Neighbours that their residuals do not keep apart are one eigenvalue, several times. */
static void CountMultiplicities(CourantSpectrumEnd *end)
{
  const PetscReal slack = end->tolerance * end->spectrum->norm;
  CourantEigenvalue *v = end->values;

  for (PetscInt first = 0, next; first < end->n; first = next) {
    for (next = first + 1; next < end->n; next++)
      if (fabs(v[next].value - v[next - 1].value) > v[next].residual + v[next - 1].residual + slack) break;
    for (PetscInt i = first; i < next; i++) v[i].multiplicity = next - first;
  }
}

/* How many pairs were asked for; what is wanted and was not found is told too, as not computed. */
static PetscErrorCode Tell(CourantSpectrumEnd *end)
{
  PetscFunctionBeginUser;
  end->told = 0;
  if (isnan(end->threshold)) {
    end->told = end->wanted;
    PetscCall(Reserve(end, end->told));
    for (PetscInt i = end->n; i < end->told; i++)
      end->values[i] = (CourantEigenvalue){.value = NAN, .residual = NAN, .status = COURANT_NOT_CONVERGED};
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  while (end->told < end->n && end->sign * end->values[end->told].value > end->sign * end->threshold)
    end->told++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The eigenvalues of this end. Without a certificate multiplicities and
  the chance of a miss are what one random start knows of them.
*/
PetscErrorCode CourantSpectrumEndSolve(CourantSpectrumEnd *end, PetscBool certify)
{
  const CourantSpectrum spectrum = end->spectrum;
  PetscReal missed[2] = {1, 1}, open = -end->sign * PETSC_INFINITY;
  PetscInt n, iterations, before;

  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumEndReset(end));
  PetscCall(MatGetSize(spectrum->A, &n, NULL));
  PetscCall(EPSGetTolerances(end->eps, &end->tolerance, &iterations));
  PetscCall(EPSSetTolerances(end->certifier, end->tolerance, iterations));
  before = spectrum->products;
  PetscCall(Search(end, n, &missed[0]));
  end->searched = spectrum->products - before;
  before = spectrum->products;
  if (certify && (end->n || !isnan(end->threshold))) PetscCall(Certify(end, n, &open, &missed[1]));
  end->certified = spectrum->products - before;
  end->searched += end->n; /* for values and residuals */
  PetscCall(Refine(end));
  CountMultiplicities(end);
  PetscCall(Tell(end));
  end->missed = end->sign * open > -PETSC_INFINITY ? 1 : missed[1];
  for (PetscInt i = 0; i < end->told; i++) {
    CourantEigenvalue *v = &end->values[i];
    v->products = end->searched;
    v->certificate = end->certified;
    v->missed = (i == 0 ? missed[0] : 1) * missed[1];
    v->status = v->residual <= 10 * end->tolerance * spectrum->norm && end->sign * v->value > end->sign * open
                    ? COURANT_CONVERGED
                    : COURANT_NOT_CONVERGED;
  }
  if (end->n) PetscCall(VecCopy(end->vectors[0], end->top));
  PetscFunctionReturn(PETSC_SUCCESS);
}
