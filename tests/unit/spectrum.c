/* Both ends of spectra known beforehand: hard gaps, signs, multiplicities, neutral operators. */
#include "check.h"

typedef struct {
  const char *name;
  PetscInt n;
  double top[5]; /* the largest ones; the rest is a bulk from `low` to `high` */
  double low, high;
  PetscInt multiplicity;
} Case;

static const Case cases[] = {
    {"close to the bulk", 3000, {100, 99, 97, 94, 60}, -3, 20, 1},
    {"dominant negative", 3000, {2, 1.5, 1, 0.7, 0.5}, -500, 0.1, 1},
    {"double top", 3000, {10, 10, 7, 6, 5}, -1, 2, 2},
    {"all near zero", 3000, {1e-9, 0, 0, 0, 0}, -1, 0, 1},
    {"small, exact", 40, {10, 10, 10, 6, 5}, -1, 2, 3},
    {"one unknown", 1, {4, 0, 0, 0, 0}, 0, 0, 1},
};

static Mat Diagonal(const Case *c)
{
  Mat A;
  OK(MatCreateSeqAIJ(PETSC_COMM_SELF, c->n, c->n, 1, NULL, &A));
  for (PetscInt i = 0; i < c->n; i++) {
    const double value =
        i < 5 ? c->top[i] : c->low + (c->high - c->low) * (double)(i - 5) / (double)(c->n - 5);
    OK(MatSetValue(A, i, i, value, INSERT_VALUES));
  }
  OK(MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY));
  OK(MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY));
  return A;
}

static void Ends(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const Case *c = &cases[i];
    CourantSpectrum spectrum;
    CourantExtreme largest, smallest;
    PetscReal norm;
    Mat A = Diagonal(c);
    OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
    OK(CourantSpectrumSetOperator(spectrum, A));
    OK(CourantSpectrumSetFromOptions(spectrum));
    OK(CourantSpectrumSolve(spectrum));
    OK(CourantSpectrumGetExtremes(spectrum, &largest, &smallest));
    OK(CourantSpectrumGetNorm(spectrum, &norm));
    if (largest.status || smallest.status) fail_msg("%s: not converged", c->name);
    NEAR(largest.value, c->top[0], 1e-9 * norm);
    NEAR(smallest.value, c->n > 5 ? c->low : c->top[0], 1e-9 * norm);
    NEAR(norm, fmax(fabs(c->top[0]), fabs(c->low)), 1e-9 * norm);
    BELOW(largest.residual, 1e-9 * norm + 1e-300);
    BELOW(smallest.residual, 1e-9 * norm + 1e-300);
    if (largest.multiplicity != c->multiplicity)
      fail_msg("%s: multiplicity %d", c->name, (int)largest.multiplicity);
    BELOW(largest.missed, 0.1);
    OK(CourantSpectrumDestroy(&spectrum));
    OK(MatDestroy(&A));
  }
}

/* The same numbers to the bit, whatever was solved before. */
static void Repeats(void **state)
{
  CourantSpectrum spectrum;
  CourantExtreme first, again;
  Mat A = Diagonal(&cases[0]), B = Diagonal(&cases[2]);

  (void)state;
  OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
  for (int i = 0; i < 3; i++) {
    OK(CourantSpectrumSetOperator(spectrum, i == 1 ? B : A));
    OK(CourantSpectrumSolve(spectrum));
    OK(CourantSpectrumGetExtremes(spectrum, i == 0 ? &first : &again, NULL));
  }
  assert_memory_equal(&first.value, &again.value, sizeof first.value);
  assert_memory_equal(&first.residual, &again.residual, sizeof first.residual);
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&A));
  OK(MatDestroy(&B));
}

static void NotConverged(void **state)
{
  CourantSpectrum spectrum;
  CourantExtreme largest;
  Mat A = Diagonal(&cases[0]);

  (void)state;
  OK(PetscOptionsInsertString(NULL, "-hessian_max_eps_max_it 1 -hessian_max_eps_ncv 4"));
  OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
  OK(CourantSpectrumSetOperator(spectrum, A));
  OK(CourantSpectrumSetFromOptions(spectrum));
  OK(CourantSpectrumSolve(spectrum));
  OK(CourantSpectrumGetExtremes(spectrum, &largest, NULL));
  assert_int_equal(largest.status, COURANT_NOT_CONVERGED);
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&A));
  OK(PetscOptionsClear(NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Ends),
    cmocka_unit_test(Repeats),
    cmocka_unit_test(NotConverged),
};

TEST_MAIN(tests)
