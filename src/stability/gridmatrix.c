#include "stability/gridmatrix.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "stability/steplimit.h"
#include <complex.h>
#include <math.h>

/* ---- a small matrix: all of it ---- */

/* The rows of a sparse matrix of one rank as a dense one [n,n], row-major. */
static PetscErrorCode Fill(Mat S, PetscInt n, PetscReal A[])
{
  PetscInt entries;
  const PetscInt *column;
  const PetscScalar *value;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(A, n * n));
  for (PetscInt row = 0; row < n; row++) {
    PetscCall(MatGetRow(S, row, &entries, &column, &value));
    for (PetscInt k = 0; k < entries; k++) A[row * n + column[k]] = value[k];
    PetscCall(MatRestoreRow(S, row, &entries, &column, &value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Radius and powers of the matrix of one step. */
static PetscErrorCode Propagate(Mat S, CourantStepper stepper, PetscReal step, CourantProgress *progress,
                                CourantGridMatrix *m)
{
  const PetscInt n = m->unknowns;
  PetscReal *G, *residual, *condition;
  PetscComplex *value;
  Mat Z;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(n * n, &G, n, &residual, n, &condition, n, &value));
  PetscCall(MatDuplicate(S, MAT_COPY_VALUES, &Z));
  PetscCall(MatScale(Z, step));
  PetscCall(CourantStepperComputeDensePropagator(stepper, Z, G));
  CourantProgressUpdate(progress, 2);
  PetscCall(CourantDenseSpectrum(n, G, value, residual, condition));
  m->radius = 0;
  for (PetscInt i = 0; i < n; i++) m->radius = fmax(m->radius, cabs(value[i]));
  CourantProgressUpdate(progress, 3);
  PetscCall(CourantDensePowerNorms(n, G, m->norms));
  PetscCall(MatDestroy(&Z));
  PetscCall(PetscFree4(G, residual, condition, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveDense(Mat S, CourantStepper stepper, PetscReal step, PetscBool quiet,
                                 CourantGridMatrix *m)
{
  const PetscInt n = m->unknowns;
  CourantProgress progress;
  PetscBool one_step;
  PetscReal *A;

  PetscFunctionBeginUser;
  m->n = n;
  m->all = PETSC_TRUE;
  PetscCall(PetscMalloc4(n, &m->eigenvalue, n, &m->residual, n, &m->condition, n, &m->growth));
  PetscCall(PetscMalloc1(n * n, &A));
  CourantProgressBegin(&progress, "matrix", 0, 4, quiet);
  PetscCall(Fill(S, n, A));
  PetscCall(CourantDenseSpectrum(n, A, m->eigenvalue, m->residual, m->condition));
  CourantProgressUpdate(&progress, 1);
  PetscCall(CourantStepperGetType(stepper, NULL, &one_step));
  if (one_step) PetscCall(Propagate(S, stepper, step, &progress, m));
  CourantProgressEnd(&progress);
  PetscCall(PetscFree(A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- a large one: the rightmost eigenvalues and the largest ---- */

enum { RIGHTMOST, LARGEST, EACH = 8 };

/*
  CourantGridMatrixSetUp - Makes the solvers for matrices beyond COURANT_DENSE_MAX.

  Options: those of EPS with the prefixes matrix_right_ and matrix_large_.
*/
PetscErrorCode CourantGridMatrixSetUp(MPI_Comm comm, EPS eps[2])
{
  PetscFunctionBeginUser;
  for (int end = 0; end < 2; end++) {
    if (!eps[end]) PetscCall(EPSCreate(comm, &eps[end]));
    PetscCall(EPSSetOptionsPrefix(eps[end], end == RIGHTMOST ? "matrix_right_" : "matrix_large_"));
    PetscCall(EPSSetProblemType(eps[end], EPS_NHEP));
    PetscCall(EPSSetWhichEigenpairs(eps[end], end == RIGHTMOST ? EPS_LARGEST_REAL : EPS_LARGEST_MAGNITUDE));
    PetscCall(EPSSetDimensions(eps[end], EACH, 16 * EACH, PETSC_DEFAULT));
    /* a test relative to the eigenvalue fails at 0, which walls that let nothing through have */
    PetscCall(EPSSetConvergenceTest(eps[end], EPS_CONV_NORM));
    PetscCall(EPSSetTolerances(eps[end], 1e-10, 2000));
    PetscCall(EPSSetFromOptions(eps[end]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Between two restarts: signals, and how many eigenvalues there are. */
static PetscErrorCode Watch(EPS eps, PetscInt restart, PetscInt converged, PetscScalar re[], PetscScalar im[],
                            PetscReal error[], PetscInt n, void *ctx)
{
  CourantProgress *progress = (CourantProgress *)ctx;

  PetscFunctionBeginUser;
  (void)restart, (void)re, (void)im, (void)error, (void)n;
  PetscCall(CourantInterruptCheckTogether(PetscObjectComm((PetscObject)eps)));
  CourantProgressUpdate(progress, (double)PetscMin(converged, EACH));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveEnd(Mat A, EPS eps, PetscBool quiet)
{
  CourantProgress progress;

  PetscFunctionBeginUser;
  CourantProgressBegin(&progress, "eigenvalues", 0, EACH, quiet);
  PetscCall(EPSMonitorSet(eps, Watch, &progress, NULL));
  PetscCall(EPSSetOperators(eps, A, NULL));
  const PetscErrorCode code = EPSSolve(eps);
  CourantProgressEnd(&progress);
  PetscCall(code);
  PetscCall(EPSMonitorCancel(eps));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Is A normal, A A^T = A^T A, so that an eigenvalue lies within a residual? Others would take left
  eigenvectors, which the two-sided Krylov-Schur loses where non-normality matters.
*/
static PetscErrorCode IsNormal(Mat A, PetscBool *normal)
{
  Mat T, AT, TA;
  PetscReal size, difference;

  PetscFunctionBeginUser;
  PetscCall(MatTranspose(A, MAT_INITIAL_MATRIX, &T));
  PetscCall(MatMatMult(A, T, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &AT));
  PetscCall(MatMatMult(T, A, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &TA));
  PetscCall(MatNorm(AT, NORM_FROBENIUS, &size));
  PetscCall(MatAXPY(AT, -1, TA, DIFFERENT_NONZERO_PATTERN));
  PetscCall(MatNorm(AT, NORM_FROBENIUS, &difference));
  *normal = difference <= 1e-13 * size ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(MatDestroy(&TA));
  PetscCall(MatDestroy(&AT));
  PetscCall(MatDestroy(&T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveSparse(Mat A, EPS eps[2], PetscBool quiet, CourantGridMatrix *m)
{
  PetscBool normal = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(IsNormal(A, &normal));
  PetscCall(PetscMalloc4(2 * EACH, &m->eigenvalue, 2 * EACH, &m->residual, 2 * EACH, &m->condition, 2 * EACH,
                         &m->growth));
  for (int end = 0; end < 2; end++) {
    PetscInt converged;
    PetscCall(SolveEnd(A, eps[end], quiet));
    PetscCall(EPSGetConverged(eps[end], &converged));
    m->unconverged += converged == 0;
    for (PetscInt i = 0; i < PetscMin(converged, EACH); i++, m->n++) {
      PetscScalar re, im;
      PetscCall(EPSGetEigenvalue(eps[end], i, &re, &im));
      PetscCall(EPSComputeError(eps[end], i, EPS_ERROR_ABSOLUTE, &m->residual[m->n]));
      m->eigenvalue[m->n] = re + im * PETSC_i;
      m->condition[m->n] = normal ? 1 : NAN;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- both ---- */

static void Swap(PetscReal values[], PetscInt i, PetscInt j)
{
  const PetscReal value = values[i];
  values[i] = values[j];
  values[j] = value;
}

/* By descending real part, pairs with the positive imaginary part first. */
static void Sort(CourantGridMatrix *m)
{
  for (PetscInt i = 1; i < m->n; i++)
    for (PetscInt j = i; j > 0; j--) {
      const PetscComplex a = m->eigenvalue[j - 1], b = m->eigenvalue[j];
      if (creal(a) > creal(b) || (creal(a) == creal(b) && cimag(a) >= cimag(b))) break;
      m->eigenvalue[j - 1] = b;
      m->eigenvalue[j] = a;
      Swap(m->residual, j - 1, j);
      Swap(m->condition, j - 1, j);
    }
}

/*
  Growth of each eigenvalue, and the limit of those that do not grow by themselves; to first order the limit
  goes as 1 / |eigenvalue|, and its width has the error of the eigenvalue that is lost, too: NaN where that is
  not known.
*/
static PetscErrorCode FindLimit(CourantStepper stepper, PetscReal step, PetscBool by_step,
                                CourantGridMatrix *m)
{
  PetscComplex *z;
  PetscReal *relative, largest = 0;
  CourantSteppedModes modes = {.stepper = stepper, .quiet = PETSC_TRUE};

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(m->n, &z, m->n, &relative, m->n, &modes.lambda));
  for (PetscInt i = 0; i < m->n; i++) largest = fmax(largest, cabs(m->eigenvalue[i]));
  for (PetscInt i = 0; i < m->n; i++) {
    const PetscReal backward = fmax(m->residual[i], 32 * PETSC_MACHINE_EPSILON * largest);
    const PetscReal condition = isfinite(m->condition[i]) ? m->condition[i] : 1, error = condition * backward;
    const PetscComplex value = m->eigenvalue[i];
    z[i] = step * value;
    if (creal(value) > error) continue; /* it grows by itself */
    /* what may be 0 for all we know is: no step then tells more than rounding */
    const PetscBool neutral = creal(value) > 0 || (creal(value) > -error && condition < 1e6);
    relative[modes.n] = m->condition[i] * backward / cabs(value);
    modes.lambda[modes.n++] = neutral ? cimag(value) * PETSC_i : value;
  }
  PetscCall(CourantStepperComputeGrowth(stepper, m->n, z, m->growth));
  if (!by_step) PetscCall(CourantStepLimitSolve(&modes, &m->limit));
  if (m->limit.step > 0 && isfinite(m->limit.step)) m->limit.width += m->limit.step * relative[m->limit.mode];
  m->limit.left_out = m->n - modes.n;
  PetscCall(PetscFree3(z, relative, modes.lambda));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Finish(Mat S, CourantStepper stepper, PetscReal step, PetscBool by_step,
                             PetscBool quiet, CourantGridMatrix *m)
{
  PetscFunctionBeginUser;
  if (S) PetscCall(SolveDense(S, stepper, step, quiet, m));
  Sort(m);
  if (m->n) PetscCall(FindLimit(stepper, step, by_step, m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantGridMatrixCompute - Spectrum of u' = A u and growth of its steps.

  Up to 1024 unknowns all eigenvalues, with residual and condition, the spectral radius of the step's matrix
  G and norms of its powers; beyond, eight of the rightmost and eight of the largest eigenvalues by SLEPc, of
  which a residual is the backward error: that of the eigenvalue too where A is normal.
  by_step: A depends on the step, so that its eigenvalues tell nothing of other steps. Collective on A; the
  numbers are on its first rank. Freed by CourantGridMatrixReset().
*/
PetscErrorCode CourantGridMatrixCompute(Mat A, CourantStepper stepper, PetscReal step, PetscBool by_step,
                                        EPS eps[2], PetscBool quiet, CourantGridMatrix *m)
{
  MPI_Comm comm;
  PetscMPIInt rank, size;
  Mat S = NULL;

  PetscFunctionBeginUser;
  *m = (CourantGridMatrix){.radius = NAN, .limit = {.step = NAN, .width = NAN}};
  for (int k = 0; k < COURANT_POWERS; k++) m->norms[k] = NAN;
  PetscCall(PetscObjectGetComm((PetscObject)A, &comm));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(MatGetSize(A, &m->unknowns, NULL));
  if (m->unknowns <= COURANT_DENSE_MAX)
    PetscCall(MatCreateRedundantMatrix(A, size, PETSC_COMM_SELF, MAT_INITIAL_MATRIX, &S));
  else
    PetscCall(SolveSparse(A, eps, quiet, m));
  CourantCallOnRankZero(comm, rank, Finish(S, stepper, step, by_step, quiet, m));
  PetscCall(MatDestroy(&S));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantGridMatrixReset(CourantGridMatrix *m)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree4(m->eigenvalue, m->residual, m->condition, m->growth));
  PetscFunctionReturn(PETSC_SUCCESS);
}
