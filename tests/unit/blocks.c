/* The block of the Hessian of one layer against the whole Hessian, assembled column by column. */
#include "problem.h"

static const char deck[] =
    "data: {source: noise, size: 8, samples: 6, exponent: 1, mean: 0.5, seed: 5}\n"
    "network:\n- conv: {channels: 3, kernel: 3}\n- swish: {}\n"
    "- residual: {layers: [{conv: {channels: 3, kernel: 3, padding: same, bias: false}}, {tanh: {}}]}\n"
    "- global_mean: {}\n- dense: {features: 2}\nloss: softmax\nweights: {init: he, seed: 5, decay: "
    "kernels}\n";

/* Columns of A by its products with unit vectors; [n,n], the caller frees it. */
static double *Assemble(Mat A, PetscInt *n)
{
  const PetscScalar *array;
  double *columns;
  Vec x, y;

  OK(MatGetSize(A, n, NULL));
  OK(PetscMalloc1(*n * *n, &columns));
  OK(MatCreateVecs(A, &x, &y));
  for (PetscInt j = 0; j < *n; j++) {
    OK(VecZeroEntries(x));
    OK(VecSetValue(x, j, 1, INSERT_VALUES));
    OK(VecAssemblyBegin(x));
    OK(VecAssemblyEnd(x));
    OK(MatMult(A, x, y));
    OK(VecGetArrayRead(y, &array));
    memcpy(columns + j * *n, array, sizeof(double) * (size_t)*n);
    OK(VecRestoreArrayRead(y, &array));
  }
  OK(VecDestroy(&x));
  OK(VecDestroy(&y));
  return columns;
}

/* The same products are made, so that entries are equal to the bit. */
static void Entries(void **state)
{
  static const char *const names[] = {"0", "2.layers.0", "4"};
  const double alphas[] = {0, 0.3};
  PetscInt offset = 0;
  Fixture f;

  (void)state;
  Open(&f, deck);
  OK(CourantProblemSetState(f.problem, f.theta, NULL, NULL));
  for (int l = 0; l < 3; l++) {
    PetscInt n = 0, p;
    for (int a = 0; a < 2; a++) {
      Mat H, block;
      OK(CourantProblemCreateHessian(f.problem, &H));
      OK(CourantHessianSetWeightDecay(H, alphas[a]));
      OK(CourantProblemCreateLayerBlock(f.problem, names[l], &block));
      OK(CourantHessianSetWeightDecay(block, alphas[a]));
      double *whole = Assemble(H, &p), *part = Assemble(block, &n);
      for (PetscInt j = 0; j < n; j++)
        for (PetscInt i = 0; i < n; i++) NEAR(part[j * n + i], whole[(offset + j) * p + offset + i], 0);
      OK(PetscFree(whole));
      OK(PetscFree(part));
      OK(MatDestroy(&H));
      OK(MatDestroy(&block));
    }
    offset += n;
  }
  assert_int_equal(offset, f.p);
  Close(&f);
}

/* Lanczos and LAPACK, as for H itself: blocks can be multiplied with dense matrices too. */
static void Spectrum(void **state)
{
  CourantSpectrum spectrum;
  CourantExtreme largest;
  const PetscReal *all;
  PetscInt n;
  Fixture f;
  Mat block;

  (void)state;
  Open(&f, deck);
  OK(CourantProblemSetState(f.problem, f.theta, NULL, NULL));
  OK(CourantProblemCreateLayerBlock(f.problem, "2.layers.0", &block));
  OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
  OK(CourantSpectrumSetOperator(spectrum, block));
  OK(CourantSpectrumSolve(spectrum));
  OK(CourantSpectrumGetExtremes(spectrum, &largest, NULL));
  OK(CourantSpectrumGetAll(spectrum, &n, &all));
  assert_int_equal(largest.status, COURANT_CONVERGED);
  assert_int_equal(n, 81);
  NEAR(largest.value, all[n - 1], 1e-10 * fabs(largest.value));
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&block));
  Close(&f);
}

static void UnknownLayer(void **state)
{
  Fixture f;
  Mat block;

  (void)state;
  Open(&f, deck);
  assert_true(CourantProblemCreateLayerBlock(f.problem, "2.layer.0", &block) == COURANT_ERR_INPUT);
  assert_non_null(strstr(CourantErrorMessage(), "'2.layers.0'"));
  CourantErrorClear();
  assert_true(CourantProblemCreateLayerBlock(f.problem, "1", &block) == COURANT_ERR_INPUT);
  CourantErrorClear();
  Close(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Entries),
    cmocka_unit_test(Spectrum),
    cmocka_unit_test(UnknownLayer),
};

TEST_MAIN(tests)
