/*
  Both ends of the spectrum of a symmetric operator, with what is known about their error.

  SLEPc finds each end; its residual is evaluated afresh. A residual says that some eigenvalue is near, not
  that none lies beyond: that is supported by the random start of the Krylov space and by a second solve, from
  another start and deflated against what was found. Operators of up to 2048 unknowns are also assembled and
  given to LAPACK, which has to agree.
*/
#include "core/random.h"
#include "courant.h"
#include "core/error.h"
#include <math.h>
#include <petscblaslapack.h>

enum { DENSE_LIMIT = 2048, KRYLOV = 48, FOUND = 4 };

static const PetscReal tolerance =
    1e-10; /* of a residual, relative to the norm of the operator, unless -eps_tol */

/* One end: largest or smallest eigenvalue. */
typedef struct {
  EPS eps;
  CourantExtreme result;
  PetscReal tolerance; /* of this solver */
  Vec vector;
  Vec found[FOUND]; /* converged vectors, for deflation */
  PetscInt nfound;
} End;

struct _CourantSpectrum {
  MPI_Comm comm;
  Mat A;
  End ends[2]; /* largest, smallest */
  EPS norm_eps;
  PetscReal norm; /* estimate of the largest |eigenvalue| */
  PetscInt n_all; /* eigenvalues from LAPACK, ascending; 0: not computed */
  PetscReal *all;
  Vec r;
};

/* Residuals are measured against the norm of the operator: a test relative to the eigenvalue fails near 0. */
static PetscErrorCode AbsoluteTest(EPS eps, PetscScalar re, PetscScalar im, PetscReal residual,
                                   PetscReal *error, void *ctx)
{
  CourantSpectrum spectrum = (CourantSpectrum)ctx;

  PetscFunctionBeginUser;
  (void)eps, (void)re, (void)im;
  *error = spectrum->norm > 0 ? residual / spectrum->norm : residual;
  PetscFunctionReturn(PETSC_SUCCESS);
}

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
  CourantSpectrumCreate - Solver for the largest and the smallest eigenvalue of a symmetric operator.
*/
PetscErrorCode CourantSpectrumCreate(MPI_Comm comm, CourantSpectrum *spectrum)
{
  static const char *const prefixes[] = {"hessian_max_", "hessian_min_"};

  PetscFunctionBeginUser;
  PetscCall(PetscNew(spectrum));
  (*spectrum)->comm = comm;
  for (int e = 0; e < 2; e++) {
    EPS eps;
    PetscCall(EPSCreate(comm, &eps));
    PetscCall(EPSSetOptionsPrefix(eps, prefixes[e]));
    PetscCall(EPSSetProblemType(eps, EPS_HEP));
    PetscCall(EPSSetWhichEigenpairs(eps, e == 0 ? EPS_LARGEST_REAL : EPS_SMALLEST_REAL));
    PetscCall(EPSSetTolerances(eps, tolerance, 500));
    PetscCall(EPSSetConvergenceTestFunction(eps, AbsoluteTest, *spectrum, NULL));
    (*spectrum)->ends[e].eps = eps;
  }
  PetscCall(EPSCreate(comm, &(*spectrum)->norm_eps));
  PetscCall(EPSSetProblemType((*spectrum)->norm_eps, EPS_HEP));
  PetscCall(EPSSetWhichEigenpairs((*spectrum)->norm_eps, EPS_LARGEST_MAGNITUDE));
  PetscCall(EPSSetConvergenceTestFunction((*spectrum)->norm_eps, AnyTest, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumSetOperator - The symmetric operator; it may change between solves. Takes a reference. */
PetscErrorCode CourantSpectrumSetOperator(CourantSpectrum spectrum, Mat A)
{
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectReference((PetscObject)A));
  PetscCall(MatDestroy(&spectrum->A));
  spectrum->A = A;
  PetscCall(MatGetSize(A, &n, NULL));
  PetscCall(VecDestroy(&spectrum->r));
  PetscCall(MatCreateVecs(A, NULL, &spectrum->r));
  for (int e = 0; e < 2; e++) {
    PetscCall(EPSSetOperators(spectrum->ends[e].eps, A, NULL));
    PetscCall(EPSSetDimensions(spectrum->ends[e].eps, 1, PetscMin(n, KRYLOV), PETSC_DEFAULT));
    PetscCall(VecDestroy(&spectrum->ends[e].vector));
    PetscCall(VecDuplicate(spectrum->r, &spectrum->ends[e].vector));
  }
  PetscCall(EPSSetOperators(spectrum->norm_eps, A, NULL));
  PetscCall(EPSSetDimensions(spectrum->norm_eps, 1, PetscMin(n, 12), PETSC_DEFAULT));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumSetFromOptions - Options: those of EPS with the prefixes hessian_max_ and hessian_min_. */
PetscErrorCode CourantSpectrumSetFromOptions(CourantSpectrum spectrum)
{
  PetscFunctionBeginUser;
  for (int e = 0; e < 2; e++) PetscCall(EPSSetFromOptions(spectrum->ends[e].eps));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A start that depends on nothing but its index, so that a solve repeats whatever came before it. */
static PetscErrorCode SetStart(EPS eps, Vec start, uint32_t index)
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

/* A few Lanczos steps give the norm to some percent, which is all that a convergence test needs. */
static PetscErrorCode EstimateNorm(CourantSpectrum spectrum)
{
  PetscInt converged;
  PetscScalar value;

  PetscFunctionBeginUser;
  PetscCall(SetStart(spectrum->norm_eps, spectrum->r, 0));
  PetscCall(EPSSetTolerances(spectrum->norm_eps, 1, 2));
  PetscCall(EPSSolve(spectrum->norm_eps));
  PetscCall(EPSGetConverged(spectrum->norm_eps, &converged));
  spectrum->norm = 0;
  for (PetscInt i = 0; i < converged; i++) {
    PetscCall(EPSGetEigenvalue(spectrum->norm_eps, i, &value, NULL));
    spectrum->norm = PetscMax(spectrum->norm, PetscAbsScalar(value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rayleigh quotient and residual of a vector, which is normalised. */
static PetscErrorCode Measure(CourantSpectrum spectrum, Vec x, PetscReal *value, PetscReal *residual)
{
  PetscScalar quotient;

  PetscFunctionBeginUser;
  PetscCall(VecNormalize(x, NULL));
  PetscCall(MatMult(spectrum->A, x, spectrum->r));
  PetscCall(VecDot(spectrum->r, x, &quotient));
  PetscCall(VecAXPY(spectrum->r, -quotient, x));
  PetscCall(VecNorm(spectrum->r, NORM_2, residual));
  *value = PetscRealPart(quotient);
  PetscFunctionReturn(PETSC_SUCCESS);
}

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

/* One solve from a random start, away from the vectors found so far; adds a converged vector to them. */
static PetscErrorCode SolveOnce(CourantSpectrum spectrum, End *end, uint32_t index, PetscReal *value,
                                PetscReal *residual, PetscBool *converged)
{
  PetscInt n, found, iterations, ncv;
  Vec x;

  PetscFunctionBeginUser;
  PetscCall(MatGetSize(spectrum->A, &n, NULL));
  PetscCall(EPSSetDeflationSpace(end->eps, end->nfound, end->found));
  PetscCall(SetStart(end->eps, end->vector, index));
  PetscCall(EPSSolve(end->eps));
  PetscCall(EPSGetConverged(end->eps, &found));
  PetscCall(EPSGetIterationNumber(end->eps, &iterations));
  PetscCall(EPSGetDimensions(end->eps, NULL, &ncv, NULL));
  end->result.products += ncv + (PetscMax(iterations, 1) - 1) * (ncv / 2);
  *converged = PETSC_FALSE;
  if (found == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecDuplicate(spectrum->r, &x));
  PetscCall(EPSGetEigenvector(end->eps, 0, x, NULL));
  PetscCall(Measure(spectrum, x, value, residual));
  end->result.products++;
  end->result.missed *= MissedProbability(n - end->nfound, PetscMin(ncv, n));
  *converged = *residual <= 10 * end->tolerance * spectrum->norm ? PETSC_TRUE : PETSC_FALSE;
  end->found[end->nfound++] = x;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The largest (sign 1) or smallest (sign -1) eigenvalue, and one
  solve more to see whether there is another like it or beyond it.
*/
static PetscErrorCode SolveEnd(CourantSpectrum spectrum, End *end, PetscReal sign)
{
  PetscReal value = NAN, residual = NAN;
  PetscBool converged;
  PetscInt n, best = 0;

  PetscFunctionBeginUser;
  PetscCall(MatGetSize(spectrum->A, &n, NULL));
  PetscCall(EPSGetTolerances(end->eps, &end->tolerance, NULL));
  end->result = (CourantExtreme){.value = NAN, .residual = NAN, .missed = 1, .status = COURANT_NOT_CONVERGED};
  for (PetscInt i = 0; i < end->nfound; i++) PetscCall(VecDestroy(&end->found[i]));
  end->nfound = 0;
  for (uint32_t attempt = 0; attempt < FOUND && end->nfound < n; attempt++) {
    PetscCall(SolveOnce(spectrum, end, attempt + 1, &value, &residual, &converged));
    if (!converged) { /* what there is of a first one is told all the same */
      end->result.status = COURANT_NOT_CONVERGED;
      if (attempt == 0) {
        end->result.value = value;
        end->result.residual = residual;
      }
      break;
    }
    const PetscReal near = residual + end->result.residual + end->tolerance * spectrum->norm;
    if (attempt == 0 ||
        sign * (value - end->result.value) > near) { /* the first, or one that the first had missed */
      best = end->nfound - 1;
      end->result.value = value;
      end->result.residual = residual;
      end->result.multiplicity = 1;
      end->result.status = COURANT_CONVERGED;
      continue;
    }
    if (fabs(value - end->result.value) <= near) end->result.multiplicity++;
    break;
  }
  PetscCall(EPSSetDeflationSpace(end->eps, 0, NULL));
  if (end->nfound) PetscCall(VecCopy(end->found[best], end->vector));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The operator assembled as its product with the identity, and all its eigenvalues. */
static PetscErrorCode SolveDense(CourantSpectrum spectrum, PetscInt n)
{
  PetscScalar *matrix, *work, query;
  PetscBLASInt size, lwork = -1, info;
  Mat identity, assembled;

  PetscFunctionBeginUser;
  PetscCall(MatCreateDense(spectrum->comm, n, n, n, n, NULL, &identity));
  PetscCall(MatShift(identity, 1));
  PetscCall(MatMatMult(spectrum->A, identity, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &assembled));
  PetscCall(MatDestroy(&identity));
  PetscCall(MatDenseGetArray(assembled, &matrix));
  for (PetscInt j = 0; j < n; j++)
    for (PetscInt i = 0; i < j; i++) matrix[i + j * n] = 0.5 * (matrix[i + j * n] + matrix[j + i * n]);
  if (spectrum->n_all != n) {
    PetscCall(PetscFree(spectrum->all));
    PetscCall(PetscMalloc1(n, &spectrum->all));
  }
  spectrum->n_all = n;
  PetscCall(PetscBLASIntCast(n, &size));
  PetscCallBLAS("LAPACKsyev",
                LAPACKsyev_("N", "U", &size, matrix, &size, spectrum->all, &query, &lwork, &info));
  lwork = (PetscBLASInt)PetscRealPart(query);
  PetscCall(PetscMalloc1(lwork, &work));
  PetscCallBLAS("LAPACKsyev",
                LAPACKsyev_("N", "U", &size, matrix, &size, spectrum->all, work, &lwork, &info));
  PetscCall(PetscFree(work));
  PetscCall(MatDenseRestoreArray(assembled, &matrix));
  PetscCall(MatDestroy(&assembled));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK syev failed with info %d", (int)info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  What LAPACK knows better: multiplicities, and that nothing
  was missed. Where the two disagree, the end did not converge.
*/
static PetscErrorCode Compare(CourantSpectrum spectrum)
{
  const PetscInt n = spectrum->n_all;
  const PetscReal rounding = 1e-14 * (PetscReal)n * spectrum->norm;

  PetscFunctionBeginUser;
  for (int e = 0; e < 2; e++) {
    CourantExtreme *extreme = &spectrum->ends[e].result;
    const PetscReal value = spectrum->all[e == 0 ? n - 1 : 0],
                    near = 10 * extreme->residual + spectrum->ends[e].tolerance * spectrum->norm + rounding;
    if (extreme->status != COURANT_CONVERGED) continue;
    if (fabs(value - extreme->value) > near) extreme->status = COURANT_NOT_CONVERGED;
    extreme->missed = 0;
    extreme->multiplicity = 0;
    for (PetscInt i = 0; i < n; i++) extreme->multiplicity += fabs(spectrum->all[i] - value) <= near;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSpectrumSolve - Both ends at the operator as it is now; collective.

  A solver that does not converge leaves the status not_converged, not an error.
*/
PetscErrorCode CourantSpectrumSolve(CourantSpectrum spectrum)
{
  PetscMPIInt ranks;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(EstimateNorm(spectrum));
  PetscCall(SolveEnd(spectrum, &spectrum->ends[0], 1));
  PetscCall(SolveEnd(spectrum, &spectrum->ends[1], -1));
  PetscCall(MatGetSize(spectrum->A, &n, NULL));
  PetscCallMPI(MPI_Comm_size(spectrum->comm, &ranks));
  spectrum->norm = PetscMax(
      spectrum->norm, PetscMax(fabs(spectrum->ends[0].result.value), fabs(spectrum->ends[1].result.value)));
  if (n <= DENSE_LIMIT && ranks == 1) {
    PetscCall(SolveDense(spectrum, n));
    PetscCall(Compare(spectrum));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumSolveLargest - The largest eigenvalue alone, for a look at it in passing; collective. */
PetscErrorCode CourantSpectrumSolveLargest(CourantSpectrum spectrum)
{
  PetscFunctionBeginUser;
  PetscCall(EstimateNorm(spectrum));
  PetscCall(SolveEnd(spectrum, &spectrum->ends[0], 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumGetExtremes - What CourantSpectrumSolve() found; either may be NULL. */
PetscErrorCode CourantSpectrumGetExtremes(CourantSpectrum spectrum, CourantExtreme *largest,
                                          CourantExtreme *smallest)
{
  PetscFunctionBeginUser;
  if (largest) *largest = spectrum->ends[0].result;
  if (smallest) *smallest = spectrum->ends[1].result;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumGetTopVector - Unit eigenvector of the largest eigenvalue; borrowed. */
PetscErrorCode CourantSpectrumGetTopVector(CourantSpectrum spectrum, Vec *v)
{
  PetscFunctionBeginUser;
  *v = spectrum->ends[0].vector;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSpectrumGetBottomVector - That of the smallest, after CourantSpectrumSolve(); borrowed. */
PetscErrorCode CourantSpectrumGetBottomVector(CourantSpectrum spectrum, Vec *v)
{
  PetscFunctionBeginUser;
  *v = spectrum->ends[1].vector;
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
  CourantSpectrumGetAll - All eigenvalues, ascending, of operators
  of up to 2048 unknowns on one rank; else n is 0. Borrowed.
*/
PetscErrorCode CourantSpectrumGetAll(CourantSpectrum spectrum, PetscInt *n, const PetscReal **values)
{
  PetscFunctionBeginUser;
  *n = spectrum->n_all;
  *values = spectrum->all;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantSpectrumDestroy(CourantSpectrum *spectrum)
{
  PetscFunctionBeginUser;
  if (!*spectrum) PetscFunctionReturn(PETSC_SUCCESS);
  for (int e = 0; e < 2; e++) {
    End *end = &(*spectrum)->ends[e];
    PetscCall(EPSDestroy(&end->eps));
    PetscCall(VecDestroy(&end->vector));
    for (PetscInt i = 0; i < end->nfound; i++) PetscCall(VecDestroy(&end->found[i]));
  }
  PetscCall(EPSDestroy(&(*spectrum)->norm_eps));
  PetscCall(MatDestroy(&(*spectrum)->A));
  PetscCall(VecDestroy(&(*spectrum)->r));
  PetscCall(PetscFree((*spectrum)->all));
  PetscCall(PetscFree(*spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}
