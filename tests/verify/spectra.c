/*
  Ends of the spectra of networks, beyond what the solver itself compares with LAPACK: ten largest and five
  smallest against the assembled matrix. With COURANT_FULL_SIZE in the environment at the networks' own
  widths, or half of it, and 64 samples: some minutes.
*/
#include "unit/check.h"
#include "dynamics/problem.h"
#include <petscblaslapack.h>
#include <stdlib.h>

enum { LARGEST = 10, SMALLEST = 5 };

/* All eigenvalues, ascending, of a matrix assembled by its products. */
static void Eigenvalues(Mat A, PetscInt n, double values[])
{
  PetscBLASInt size = (PetscBLASInt)n, length = 64 * size, info;
  PetscScalar *array, *work;
  Mat dense;

  OK(MatComputeOperator(A, MATDENSE, &dense));
  OK(MatDenseGetArray(dense, &array));
  OK(PetscMalloc1(length, &work));
  LAPACKsyev_("N", "U", &size, array, &size, values, work, &length, &info);
  assert_int_equal(info, 0);
  OK(PetscFree(work));
  OK(MatDenseRestoreArray(dense, &array));
  OK(MatDestroy(&dense));
}

static void CheckEnd(CourantSpectrum spectrum, CourantSide side, PetscInt n, const double values[])
{
  const CourantEigenvalue *v;
  const double norm = fmax(values[n - 1], -values[0]);
  PetscInt found;

  OK(CourantSpectrumGetEigenvalues(spectrum, side, &found, &v));
  assert_int_equal(found, side == COURANT_LARGEST ? LARGEST : SMALLEST);
  for (PetscInt i = 0; i < found; i++) {
    assert_int_equal(v[i].status, COURANT_CONVERGED);
    NEAR(v[i].value, values[side == COURANT_LARGEST ? n - 1 - i : i], 1e-8 * norm);
    BELOW(v[i].residual, 1e-9 * norm);
  }
}

static void Check(const char *file, const char *overrides)
{
  CourantDeck deck;
  CourantProblem problem;
  CourantSpectrum spectrum;
  char path[PETSC_MAX_PATH_LEN];
  double *values;
  PetscInt n;
  Vec theta;
  Mat H;

  snprintf(path, sizeof path, "%s/%s", SOURCE_ROOT, file);
  OK(CourantDeckLoad(PETSC_COMM_SELF, path, overrides, &deck));
  OK(CourantProblemCreate(PETSC_COMM_SELF, deck, &problem));
  OK(CourantProblemSetUp(problem));
  OK(CourantProblemCreateVec(problem, &theta));
  OK(CourantProblemGetInitialState(problem, theta));
  OK(CourantProblemSetState(problem, theta, NULL, NULL));
  OK(CourantProblemGetSize(problem, &n));
  OK(CourantProblemCreateHessian(problem, &H));
  OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
  OK(CourantSpectrumSetOperator(spectrum, H));
  OK(CourantSpectrumSetCounts(spectrum, LARGEST, SMALLEST));
  OK(CourantSpectrumSolve(spectrum));
  OK(PetscMalloc1(n, &values));
  Eigenvalues(H, n, values);
  CheckEnd(spectrum, COURANT_LARGEST, n, values);
  CheckEnd(spectrum, COURANT_SMALLEST, n, values);
  OK(PetscFree(values));
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&H));
  OK(VecDestroy(&theta));
  OK(CourantProblemDestroy(&problem));
  OK(CourantDeckDestroy(&deck));
}

static PetscBool IsFullSize(void)
{
  return getenv("COURANT_FULL_SIZE") ? PETSC_TRUE : PETSC_FALSE;
}

static void Lenet(void **state)
{
  (void)state;
  Check("models/lenet.yaml",
        IsFullSize() ? "data.limit=64,data.test_samples=1" : "data.limit=24,width=0.25,data.test_samples=1");
}

/* Channels 2, 4, 8, or 4, 8, 16, with batch norm. */
static void Resnet8(void **state)
{
  (void)state;
  Check("models/resnet8.yaml", IsFullSize() ? "data.limit=64,width=0.25,data.test_samples=1"
                                            : "data.limit=24,width=0.125,data.test_samples=1");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Lenet),
    cmocka_unit_test(Resnet8),
};

TEST_MAIN(tests)
