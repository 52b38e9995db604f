/*
  The ends of the spectrum of a symmetric operator, with what is known about their error.

  How they are found is in search.h. Operators of up to 2048 unknowns are also assembled and given to LAPACK,
  which has to agree.
*/
#include "stability/spectrum.h"
#include "core/lapack.h"
#include "stability/random-start.h"
#include <math.h>
#include <string.h>

enum { DENSE_LIMIT = 2048 };

static const PetscReal fast_tolerance = 1e-5; /* where products have seven digits */

/* ---- what the solvers see ---- */

/* y = S A S x, S = P^(-1/2), by the fast operator unless it has to be precise. */
static PetscErrorCode MatMult_View(Mat view, Vec x, Vec y)
{
  CourantSpectrum spectrum;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(view, &spectrum));
  const Mat A = spectrum->fast && !spectrum->precise ? spectrum->fast : spectrum->A;
  spectrum->products++;
  if (!spectrum->scale) {
    PetscCall(MatMult(A, x, y));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(VecPointwiseMult(spectrum->scaled, spectrum->scale, x));
  PetscCall(MatMult(A, spectrum->scaled, y));
  PetscCall(VecPointwiseMult(y, y, spectrum->scale));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateView(CourantSpectrum spectrum)
{
  PetscInt local, n;

  PetscFunctionBeginUser;
  PetscCall(MatGetLocalSize(spectrum->A, &local, NULL));
  PetscCall(MatGetSize(spectrum->A, &n, NULL));
  PetscCall(MatDestroy(&spectrum->view));
  PetscCall(MatCreateShell(spectrum->comm, local, local, n, n, spectrum, &spectrum->view));
  PetscCall(MatShellSetOperation(spectrum->view, MATOP_MULT, (void (*)(void))MatMult_View));
  PetscCall(MatShellSetOperation(spectrum->view, MATOP_MULT_TRANSPOSE, (void (*)(void))MatMult_View));
  PetscCall(MatSetOption(spectrum->view, MAT_SYMMETRIC, PETSC_TRUE));
  PetscCall(MatSetOption(spectrum->view, MAT_SYMMETRY_ETERNAL, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- life ---- */

/* For the first look at the norm: every Ritz value will do. */
static PetscErrorCode AnyTest(EPS eps, PetscScalar re, PetscScalar im, PetscReal residual, PetscReal *error,
                              void *ctx)
{
  PetscFunctionBeginUser;
  (void)eps, (void)re, (void)im, (void)residual, (void)ctx;
  *error = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumCreate - Solver for eigenvalues at the ends of the spectrum of a symmetric operator: one at
  each end, unless CourantSpectrumSetCounts() or CourantSpectrumSetThreshold() say otherwise.
*/
PetscErrorCode CourantSpectrumCreate(MPI_Comm comm, CourantSpectrum *spectrum)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(spectrum));
  (*spectrum)->comm = comm;
  for (int e = 0; e < 2; e++)
    PetscCall(CourantSpectrumEndCreate(*spectrum, (CourantSide)e, &(*spectrum)->ends[e]));
  PetscCall(EPSCreate(comm, &(*spectrum)->norm_eps));
  PetscCall(EPSSetProblemType((*spectrum)->norm_eps, EPS_HEP));
  PetscCall(EPSSetWhichEigenpairs((*spectrum)->norm_eps, EPS_LARGEST_MAGNITUDE));
  PetscCall(EPSSetConvergenceTestFunction((*spectrum)->norm_eps, AnyTest, NULL, NULL));
  PetscCall(EPSSetTolerances((*spectrum)->norm_eps, 1, 2));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumSetOperator - The symmetric operator; it may change between solves. Takes a reference. */
PetscErrorCode CourantSpectrumSetOperator(CourantSpectrum spectrum, Mat A)
{
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectReference((PetscObject)A));
  PetscCall(MatDestroy(&spectrum->A));
  PetscCall(MatDestroy(&spectrum->fast));
  PetscCall(VecDestroy(&spectrum->scale));
  spectrum->A = A;
  spectrum->n_all = 0;
  PetscCall(MatGetSize(A, &n, NULL));
  PetscCall(VecDestroy(&spectrum->scaled));
  PetscCall(MatCreateVecs(A, NULL, &spectrum->scaled));
  PetscCall(CreateView(spectrum));
  for (int e = 0; e < 2; e++) {
    PetscCall(CourantSpectrumEndReset(&spectrum->ends[e]));
    PetscCall(EPSSetOperators(spectrum->ends[e].eps, spectrum->view, NULL));
    PetscCall(EPSSetOperators(spectrum->ends[e].certifier, spectrum->view, NULL));
    PetscCall(VecDestroy(&spectrum->ends[e].top));
    PetscCall(VecDuplicate(spectrum->scaled, &spectrum->ends[e].top));
  }
  PetscCall(EPSSetOperators(spectrum->norm_eps, spectrum->view, NULL));
  PetscCall(EPSSetDimensions(spectrum->norm_eps, 1, PetscMin(n, 12), PETSC_DEFAULT));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumSetFastOperator - The same operator to fewer digits, such as products in single precision,
  for the iterations; values and residuals are by the operator itself all the same. NULL: none.

  The tolerance becomes 1e-5, which -eps_tol changes: before CourantSpectrumSetFromOptions(), behind
  CourantSpectrumSetOperator(), which forgets it. Takes a reference.
*/
PetscErrorCode CourantSpectrumSetFastOperator(CourantSpectrum spectrum, Mat fast)
{
  PetscFunctionBeginUser;
  if (fast) PetscCall(PetscObjectReference((PetscObject)fast));
  PetscCall(MatDestroy(&spectrum->fast));
  spectrum->fast = fast;
  for (int e = 0; fast && e < 2; e++)
    PetscCall(EPSSetTolerances(spectrum->ends[e].eps, fast_tolerance, PETSC_DEFAULT));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumSetPreconditioner - Makes the problem A x = nu P x, P > 0 the diagonal matrix of a vector
  [n], as Adam's; NULL: P = I. Behind CourantSpectrumSetOperator(), which forgets it.

  Solved as the symmetric problem P^(-1/2) A P^(-1/2) y = nu y, x = P^(-1/2) y, |y| = 1: the residual |A x -
  nu P x| in the norm of P^(-1) is a bound of the distance to an eigenvalue (Parlett 1998, section 15.9). P
  with a number that is not positive is the user's error. The vector is copied. Collective.
*/
PetscErrorCode CourantSpectrumSetPreconditioner(CourantSpectrum spectrum, Vec P)
{
  PetscInt at;
  PetscReal least, most;

  PetscFunctionBeginUser;
  PetscCall(VecDestroy(&spectrum->scale));
  if (!P) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecMin(P, &at, &least));
  PetscCall(VecMax(P, NULL, &most));
  if (!(least > 0) || !isfinite(most))
    CourantInputError(spectrum->comm,
                      "the preconditioner is indefinite: number %d is %g, expected more than 0", (int)at,
                      least);
  PetscCall(VecDuplicate(P, &spectrum->scale));
  PetscCall(VecCopy(P, spectrum->scale));
  PetscCall(VecSqrtAbs(spectrum->scale));
  PetscCall(VecReciprocal(spectrum->scale));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumSetCounts - How many eigenvalues of each end are wanted (1 and 1); 0: none of that end.
*/
PetscErrorCode CourantSpectrumSetCounts(CourantSpectrum spectrum, PetscInt largest, PetscInt smallest)
{
  PetscFunctionBeginUser;
  PetscCheck(largest >= 0 && smallest >= 0, spectrum->comm, PETSC_ERR_ARG_OUTOFRANGE,
             "%d largest and %d smallest eigenvalues", (int)largest, (int)smallest);
  spectrum->ends[COURANT_LARGEST].wanted = largest;
  spectrum->ends[COURANT_SMALLEST].wanted = smallest;
  spectrum->ends[COURANT_LARGEST].threshold = NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumSetThreshold - All eigenvalues above `above`, in place of a number of the largest. */
PetscErrorCode CourantSpectrumSetThreshold(CourantSpectrum spectrum, PetscReal above)
{
  PetscFunctionBeginUser;
  spectrum->ends[COURANT_LARGEST].threshold = above;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumSetMemory - Bytes of a rank that the solvers' bases may take; 0: no limit. */
PetscErrorCode CourantSpectrumSetMemory(CourantSpectrum spectrum, PetscReal bytes)
{
  PetscFunctionBeginUser;
  spectrum->memory = bytes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumSetProgress - Who hears, after every restart, what part of a solve is done, 0 to 1: as many
  of the eigenvalues wanted as have converged.
*/
PetscErrorCode CourantSpectrumSetProgress(CourantSpectrum spectrum,
                                          PetscErrorCode (*progress)(PetscReal, void *), void *ctx)
{
  PetscFunctionBeginUser;
  spectrum->progress = progress;
  spectrum->progress_ctx = ctx;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumSetInitialSpace - Vectors to start the next solves of an end from, such as those of a state
  close by; n = 0: a random start again.

  The solver of that end becomes SLEPc's generalised Davidson, which takes all of them;
  CourantSpectrumSetFromOptions(), which has to come again, may say otherwise (-eps_type). The probability of
  a miss is then that of the certificate. The vectors are copied.
*/
PetscErrorCode CourantSpectrumSetInitialSpace(CourantSpectrum spectrum, CourantSide side, PetscInt n, Vec x[])
{
  CourantSpectrumEnd *end = &spectrum->ends[side];

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < end->nguesses; i++) PetscCall(VecDestroy(&end->guesses[i]));
  PetscCall(PetscFree(end->guesses));
  PetscCall(PetscMalloc1(n, &end->guesses));
  for (PetscInt i = 0; i < n; i++) {
    PetscCall(VecDuplicate(x[i], &end->guesses[i]));
    PetscCall(VecCopy(x[i], end->guesses[i]));
    if (spectrum->scale) PetscCall(VecPointwiseDivide(end->guesses[i], end->guesses[i], spectrum->scale));
  }
  if (!n != !end->nguesses) PetscCall(CourantSpectrumEndRenew(end, n ? PETSC_TRUE : PETSC_FALSE));
  end->nguesses = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumSetOptionsPrefix - Prefix of the options of both ends' EPS, in place of hessian_max_ and
  hessian_min_.
*/
PetscErrorCode CourantSpectrumSetOptionsPrefix(CourantSpectrum spectrum, const char prefix[])
{
  PetscFunctionBeginUser;
  for (int e = 0; e < 2; e++) PetscCall(EPSSetOptionsPrefix(spectrum->ends[e].eps, prefix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -eps_nev, which is a number of this end's eigenvalues. */
static PetscErrorCode SetEndFromOptions(CourantSpectrumEnd *end)
{
  const char *prefix;
  PetscBool set;
  PetscInt nev, ncv, mpd;

  PetscFunctionBeginUser;
  PetscCall(EPSSetDimensions(end->eps, 1, PETSC_DEFAULT, PETSC_DEFAULT));
  PetscCall(EPSSetFromOptions(end->eps));
  PetscCall(EPSGetDimensions(end->eps, &nev, &ncv, &mpd));
  end->basis = PetscMax(0, ncv); /* PETSC_DEFAULT is negative */
  end->projected = PetscMax(0, mpd);
  PetscCall(EPSGetOptionsPrefix(end->eps, &prefix));
  PetscCall(PetscOptionsHasName(NULL, prefix, "-eps_nev", &set));
  if (set && end->wanted) end->wanted = nev;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumSetFromOptions - Options: those of EPS, with the prefixes hessian_max_ and hessian_min_
  unless CourantSpectrumSetOptionsPrefix() gave another. -eps_nev stands for the number of that end.
*/
PetscErrorCode CourantSpectrumSetFromOptions(CourantSpectrum spectrum)
{
  PetscFunctionBeginUser;
  for (int e = 0; e < 2; e++) PetscCall(SetEndFromOptions(&spectrum->ends[e]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantSpectrumDestroy(CourantSpectrum *spectrum)
{
  PetscFunctionBeginUser;
  if (!*spectrum) PetscFunctionReturn(PETSC_SUCCESS);
  for (int e = 0; e < 2; e++) PetscCall(CourantSpectrumEndDestroy(&(*spectrum)->ends[e]));
  PetscCall(EPSDestroy(&(*spectrum)->norm_eps));
  PetscCall(MatDestroy(&(*spectrum)->view));
  PetscCall(MatDestroy(&(*spectrum)->A));
  PetscCall(MatDestroy(&(*spectrum)->fast));
  PetscCall(VecDestroy(&(*spectrum)->scale));
  PetscCall(VecDestroy(&(*spectrum)->scaled));
  PetscCall(PetscFree((*spectrum)->all));
  PetscCall(PetscFree(*spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- solves ---- */

/*
  The norm to some percent, which is all that a convergence test needs. Krylov-Schur's first cycle gives it
  for nothing (solve.c); for other solvers it takes a few Lanczos steps of its own.
*/
static PetscErrorCode EstimateNorm(CourantSpectrum spectrum)
{
  PetscBool krylov_schur = PETSC_TRUE;
  PetscInt converged;
  PetscScalar value;

  PetscFunctionBeginUser;
  spectrum->norm = 0;
  for (int e = 0; e < 2 && krylov_schur; e++)
    if (spectrum->ends[e].wanted)
      PetscCall(PetscObjectTypeCompare((PetscObject)spectrum->ends[e].eps, EPSKRYLOVSCHUR, &krylov_schur));
  if (krylov_schur) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantSetRandomStart(spectrum->norm_eps, spectrum->scaled, COURANT_RANDOM_KRYLOV, 0));
  PetscCall(EPSSolve(spectrum->norm_eps));
  PetscCall(EPSGetConverged(spectrum->norm_eps, &converged));
  for (PetscInt i = 0; i < converged; i++) {
    PetscCall(EPSGetEigenvalue(spectrum->norm_eps, i, &value, NULL));
    spectrum->norm = PetscMax(spectrum->norm, PetscAbsScalar(value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The operator as its product with the identity: several columns at once where it has such products. */
static PetscErrorCode Assemble(CourantSpectrum spectrum, PetscInt n, Mat *assembled)
{
  void (*products)(void) = NULL;
  PetscBool ready;
  Mat identity;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectTypeCompareAny((PetscObject)spectrum->A, &ready, MATSEQAIJ, MATSEQDENSE, ""));
  PetscCall(PetscObjectQueryFunction((PetscObject)spectrum->A, "MatProductSetFromOptions_shell_seqdense_C",
                                     &products));
  if (!ready && !products)
    PetscCall(MatComputeOperator(spectrum->A, MATDENSE, assembled));
  else {
    PetscCall(MatCreateDense(spectrum->comm, n, n, n, n, NULL, &identity));
    PetscCall(MatShift(identity, 1));
    PetscCall(MatMatMult(spectrum->A, identity, MAT_INITIAL_MATRIX, PETSC_DEFAULT, assembled));
    PetscCall(MatDestroy(&identity));
  }
  if (spectrum->scale) PetscCall(MatDiagonalScale(*assembled, spectrum->scale, spectrum->scale));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All eigenvalues of the operator, by LAPACK. */
static PetscErrorCode SolveDense(CourantSpectrum spectrum, PetscInt n)
{
  PetscScalar *matrix;
  Mat assembled;

  PetscFunctionBeginUser;
  PetscCall(Assemble(spectrum, n, &assembled));
  PetscCall(MatDenseGetArray(assembled, &matrix));
  for (PetscInt j = 0; j < n; j++)
    for (PetscInt i = 0; i < j; i++) matrix[i + j * n] = 0.5 * (matrix[i + j * n] + matrix[j + i * n]);
  if (spectrum->n_all != n) {
    PetscCall(PetscFree(spectrum->all));
    PetscCall(PetscMalloc1(n, &spectrum->all));
  }
  spectrum->n_all = n;
  PetscCall(CourantDiagonalise('N', n, matrix, spectrum->all));
  PetscCall(MatDenseRestoreArray(assembled, &matrix));
  PetscCall(MatDestroy(&assembled));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of all above a threshold LAPACK may have more than were found; `near` within it they may be either. */
static PetscBool HasMore(const CourantSpectrum spectrum, const CourantSpectrumEnd *end, PetscReal near)
{
  const PetscInt next = spectrum->n_all - 1 - end->told;
  if (isnan(end->threshold) || next < 0) return PETSC_FALSE;
  return spectrum->all[next] > end->threshold + near ? PETSC_TRUE : PETSC_FALSE;
}

/*
  What LAPACK knows better: multiplicities, and that nothing was missed. Where the two disagree, the
  eigenvalue did not converge.
*/
static void Compare(CourantSpectrum spectrum, CourantSide side)
{
  CourantSpectrumEnd *end = &spectrum->ends[side];
  const PetscInt n = spectrum->n_all;
  const PetscReal *all = spectrum->all, rounding = 1e-14 * (PetscReal)n * spectrum->norm;

  for (PetscInt i = 0; i < end->told; i++) {
    CourantEigenvalue *v = &end->values[i];
    const PetscReal value = all[side == COURANT_LARGEST ? n - 1 - i : i],
                    near = 10 * v->residual + end->tolerance * spectrum->norm + rounding;
    if (v->status != COURANT_CONVERGED) continue;
    if (fabs(value - v->value) > near) v->status = COURANT_NOT_CONVERGED;
    v->missed = 0;
    v->multiplicity = 0;
    for (PetscInt j = 0; j < n; j++) v->multiplicity += fabs(all[j] - value) <= near;
  }
  if (HasMore(spectrum, end, end->tolerance * spectrum->norm + rounding)) end->missed = 1;
}

/*
  CourantSpectrumSetUp - Looks whether what is wanted is possible: more eigenvalues than the dimension, or a
  basis that the memory does not take, are the user's error. By itself before a solve.
*/
PetscErrorCode CourantSpectrumSetUp(CourantSpectrum spectrum)
{
  PetscFunctionBeginUser;
  for (int e = 0; e < 2; e++)
    if (spectrum->ends[e].wanted) PetscCall(CourantSpectrumSearchCheck(&spectrum->ends[e]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumGetDenseSize - How many unknowns CourantSpectrumSolve() gives to LAPACK, which then finds all
  eigenvalues: those of the operator, up to 2048 on one rank; else n is 0.
*/
PetscErrorCode CourantSpectrumGetDenseSize(CourantSpectrum spectrum, PetscInt *n)
{
  PetscMPIInt ranks;

  PetscFunctionBeginUser;
  PetscCall(MatGetSize(spectrum->A, n, NULL));
  PetscCallMPI(MPI_Comm_size(spectrum->comm, &ranks));
  if (*n > DENSE_LIMIT || ranks > 1) *n = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveEnds(CourantSpectrum spectrum, int ends, PetscBool certify)
{
  PetscFunctionBeginUser;
  spectrum->products = 0;
  PetscCall(CourantSpectrumSetUp(spectrum));
  PetscCall(EstimateNorm(spectrum));
  PetscCall(CourantSpectrumSearch(spectrum, ends, certify));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumSolve - Both ends at the operator as it is now; collective.

  A solver that does not converge leaves the status not_converged, not an error.
*/
PetscErrorCode CourantSpectrumSolve(CourantSpectrum spectrum)
{
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(SolveEnds(spectrum, 2, PETSC_TRUE));
  PetscCall(CourantSpectrumGetDenseSize(spectrum, &n));
  if (!n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(SolveDense(spectrum, n));
  Compare(spectrum, COURANT_LARGEST);
  Compare(spectrum, COURANT_SMALLEST);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumSolveLargest - The largest eigenvalues alone and without a certificate, for a look at them in
  passing; collective.
*/
PetscErrorCode CourantSpectrumSolveLargest(CourantSpectrum spectrum)
{
  PetscFunctionBeginUser;
  PetscCall(SolveEnds(spectrum, 1, PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- results ---- */

/* CourantSpectrumGetEigenvalues - What was found at an end, outermost first; n may be 0. Borrowed. */
PetscErrorCode CourantSpectrumGetEigenvalues(CourantSpectrum spectrum, CourantSide side, PetscInt *n,
                                             const CourantEigenvalue **values)
{
  PetscFunctionBeginUser;
  *n = spectrum->ends[side].told;
  *values = spectrum->ends[side].values;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumGetVector - Unit eigenvector i of an end; of A x = nu P x, with a preconditioner. x: of the
  operator's layout.
*/
PetscErrorCode CourantSpectrumGetVector(CourantSpectrum spectrum, CourantSide side, PetscInt i, Vec x)
{
  const CourantSpectrumEnd *end = &spectrum->ends[side];

  PetscFunctionBeginUser;
  PetscCheck(i >= 0 && i < end->n, spectrum->comm, PETSC_ERR_ARG_OUTOFRANGE, "no eigenvector %d of %d",
             (int)i, (int)end->n);
  PetscCall(VecCopy(end->vectors[i], x));
  if (!spectrum->scale) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecPointwiseMult(x, x, spectrum->scale));
  PetscCall(VecNormalize(x, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumGetProducts - Operator applications of the searches, and of the certificates that nothing was
  missed. Either may be NULL.
*/
PetscErrorCode CourantSpectrumGetProducts(CourantSpectrum spectrum, PetscInt *searches,
                                          PetscInt *certificates)
{
  PetscFunctionBeginUser;
  if (searches) *searches = spectrum->searched;
  if (certificates) *certificates = spectrum->certified;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumGetMissed - The probability that at an end an eigenvalue was missed which is farther out than
  those found by 1 % of the spectrum's length; 1 where the certificate did not converge or there was none.
*/
PetscErrorCode CourantSpectrumGetMissed(CourantSpectrum spectrum, CourantSide side, PetscReal *missed)
{
  const CourantSpectrumEnd *end = &spectrum->ends[side];

  PetscFunctionBeginUser;
  *missed = spectrum->n_all && end->missed < 1 ? 0 : end->missed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumGetExtremes - The outermost eigenvalue of each end; either may be NULL. */
PetscErrorCode CourantSpectrumGetExtremes(CourantSpectrum spectrum, CourantExtreme *largest,
                                          CourantExtreme *smallest)
{
  CourantExtreme *const to[] = {largest, smallest};

  PetscFunctionBeginUser;
  for (int e = 0; e < 2; e++) {
    if (!to[e]) continue;
    *to[e] = (CourantExtreme){.value = NAN, .residual = NAN, .missed = 1, .status = COURANT_NOT_CONVERGED};
    if (spectrum->ends[e].told) *to[e] = spectrum->ends[e].values[0];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumGetTopVector - Unit eigenvector of the largest eigenvalue; borrowed. */
PetscErrorCode CourantSpectrumGetTopVector(CourantSpectrum spectrum, Vec *v)
{
  PetscFunctionBeginUser;
  *v = spectrum->ends[COURANT_LARGEST].top;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumGetBottomVector - That of the smallest, after CourantSpectrumSolve(); borrowed. */
PetscErrorCode CourantSpectrumGetBottomVector(CourantSpectrum spectrum, Vec *v)
{
  PetscFunctionBeginUser;
  *v = spectrum->ends[COURANT_SMALLEST].top;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumGetNorm - The largest |eigenvalue|, the yardstick of residuals. */
PetscErrorCode CourantSpectrumGetNorm(CourantSpectrum spectrum, PetscReal *norm)
{
  PetscFunctionBeginUser;
  *norm = spectrum->norm;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumGetAll - All eigenvalues, ascending, where LAPACK has found them; else n is 0. Borrowed.
*/
PetscErrorCode CourantSpectrumGetAll(CourantSpectrum spectrum, PetscInt *n, const PetscReal **values)
{
  PetscFunctionBeginUser;
  *n = spectrum->n_all;
  *values = spectrum->all;
  PetscFunctionReturn(PETSC_SUCCESS);
}
