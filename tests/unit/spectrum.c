/* Ends of spectra known beforehand: hard gaps, signs, multiplicities, neutral operators, preconditioners. */
#include "check.h"
#include "core/random.h"
#include <petscblaslapack.h>
#include <stdlib.h>

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

static double Entry(const Case *c, PetscInt i)
{
  return i < 5 ? c->top[i] : c->low + (c->high - c->low) * (double)(i - 5) / (double)(c->n - 5);
}

static Mat DiagonalOf(PetscInt n, const double values[])
{
  Mat A;
  OK(MatCreateSeqAIJ(PETSC_COMM_SELF, n, n, 1, NULL, &A));
  for (PetscInt i = 0; i < n; i++) OK(MatSetValue(A, i, i, values[i], INSERT_VALUES));
  OK(MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY));
  OK(MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY));
  return A;
}

static Mat Diagonal(const Case *c)
{
  double *values;
  OK(PetscMalloc1(c->n, &values));
  for (PetscInt i = 0; i < c->n; i++) values[i] = Entry(c, i);
  Mat A = DiagonalOf(c->n, values);
  OK(PetscFree(values));
  return A;
}

/* A symmetric matrix of normal random numbers; index tells which. */
static Mat Dense(PetscInt n, uint32_t index)
{
  const CourantRandom stream = {.seed = 3, .purpose = COURANT_RANDOM_TEST, .index = index};
  PetscScalar *a;
  double *values;
  Mat A;

  OK(PetscMalloc1(n * n, &values));
  CourantRandomNormal(stream, n * n, values);
  OK(MatCreateSeqDense(PETSC_COMM_SELF, n, n, NULL, &A));
  OK(MatDenseGetArray(A, &a));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) a[i + j * n] = values[i + j * n] + values[j + i * n];
  OK(MatDenseRestoreArray(A, &a));
  OK(PetscFree(values));
  return A;
}

/* A solver of its own for so many eigenvalues, with these options. */
static CourantSpectrum Solver(Mat A, PetscInt largest, PetscInt smallest, const char *options)
{
  CourantSpectrum spectrum;

  if (options) OK(PetscOptionsInsertString(NULL, options));
  OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
  OK(CourantSpectrumSetOperator(spectrum, A));
  OK(CourantSpectrumSetCounts(spectrum, largest, smallest));
  OK(CourantSpectrumSetFromOptions(spectrum));
  OK(PetscOptionsClear(NULL));
  return spectrum;
}

static void Ends(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const Case *c = &cases[i];
    CourantExtreme largest, smallest;
    PetscReal norm;
    Mat A = Diagonal(c);
    CourantSpectrum spectrum = Solver(A, 1, 1, NULL);
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

/* Value i of an end is the expected one, and its vector an eigenvector of a diagonal matrix. */
static void CheckPair(CourantSpectrum spectrum, Mat A, CourantSide side, PetscInt i, double expected,
                      double tolerance)
{
  const CourantEigenvalue *v;
  PetscReal residual, norm;
  PetscInt n;
  Vec x, y;

  OK(CourantSpectrumGetEigenvalues(spectrum, side, &n, &v));
  assert_true(i < n);
  assert_int_equal(v[i].status, COURANT_CONVERGED);
  NEAR(v[i].value, expected, tolerance);
  OK(MatCreateVecs(A, &x, &y));
  OK(CourantSpectrumGetVector(spectrum, side, i, x));
  OK(MatMult(A, x, y));
  OK(VecAXPY(y, -v[i].value, x));
  OK(VecNorm(y, NORM_2, &residual));
  OK(VecNorm(x, NORM_2, &norm));
  NEAR(norm, 1, 1e-12);
  NEAR(residual, v[i].residual, 1e-12 * fabs(expected) + 1e-13); /* what is told is what is there */
  OK(VecDestroy(&x));
  OK(VecDestroy(&y));
}

/* 100, 99, 97, 94, 60 over a bulk, and the bulk's lower end, whose gaps are 1e-4 of the norm: to 1e-8. */
static void Several(void **state)
{
  static const PetscInt multiplicities[] = {2, 2, 1, 1};

  (void)state;
  for (int i = 0; i < 3; i++) {
    const Case *c = &cases[i];
    const CourantEigenvalue *v;
    PetscInt n;
    Mat A = Diagonal(c);
    CourantSpectrum spectrum = Solver(A, i == 2 ? 4 : 5, 3, NULL);
    OK(CourantSpectrumSolve(spectrum));
    for (PetscInt k = 0; k < (i == 2 ? 4 : 5); k++)
      CheckPair(spectrum, A, COURANT_LARGEST, k, Entry(c, k), 1e-8);
    for (PetscInt k = 0; k < 3; k++) CheckPair(spectrum, A, COURANT_SMALLEST, k, Entry(c, 5 + k), 1e-8);
    OK(CourantSpectrumGetEigenvalues(spectrum, COURANT_LARGEST, &n, &v));
    for (PetscInt k = 0; k < n; k++) assert_int_equal(v[k].multiplicity, i == 2 ? multiplicities[k] : 1);
    OK(CourantSpectrumDestroy(&spectrum));
    OK(MatDestroy(&A));
  }
}

/* Both ends of a spectrum in one Krylov space take fewer products than a space for each, and are the same. */
static void Together(void **state)
{
  static const char *const options[] = {NULL, "-hessian_min_eps_tol 1.01e-10"};
  const Case *c = &cases[1];
  PetscInt searches[2], certificates[2];
  Mat A = Diagonal(c);

  (void)state;
  for (int i = 0; i < 2; i++) {
    CourantSpectrum spectrum = Solver(A, 3, 2, options[i]);
    OK(CourantSpectrumSolve(spectrum));
    for (PetscInt k = 0; k < 3; k++) CheckPair(spectrum, A, COURANT_LARGEST, k, Entry(c, k), 1e-8);
    for (PetscInt k = 0; k < 2; k++) CheckPair(spectrum, A, COURANT_SMALLEST, k, Entry(c, 5 + k), 1e-8);
    OK(CourantSpectrumGetProducts(spectrum, &searches[i], &certificates[i]));
    OK(CourantSpectrumDestroy(&spectrum));
  }
  BELOW(searches[0], 0.8 * searches[1]);
  BELOW(certificates[0], 0.8 * certificates[1]);
  OK(MatDestroy(&A));
}

/* Few different eigenvalues, so that a Krylov space is soon exhausted; both ends may be one. */
static void FewDifferent(void **state)
{
  enum { N = 2100 }; /* LAPACK does not help */
  static const struct {
    double largest, smallest, rest;
    PetscInt multiplicity;
  } spectra[] = {{3, 3, 3, N}, {0, 0, 0, N}, {5, -2, -2, 1}, {5, -2, 5, N - 1}, {5, -2, 1, 1}};
  double values[N];

  (void)state;
  for (size_t k = 0; k < sizeof spectra / sizeof *spectra; k++) {
    CourantExtreme largest, smallest;
    for (PetscInt i = 0; i < N; i++) values[i] = spectra[k].rest;
    values[0] = spectra[k].largest;
    values[N - 1] = spectra[k].smallest;
    Mat A = DiagonalOf(N, values);
    CourantSpectrum spectrum = Solver(A, 1, 1, NULL);
    OK(CourantSpectrumSolve(spectrum));
    OK(CourantSpectrumGetExtremes(spectrum, &largest, &smallest));
    if (largest.status || smallest.status) fail_msg("spectrum %d: not converged", (int)k);
    NEAR(largest.value, spectra[k].largest, 1e-9);
    NEAR(smallest.value, spectra[k].smallest, 1e-9);
    assert_in_range(largest.multiplicity, spectra[k].multiplicity > 1 ? 2 : 1, spectra[k].multiplicity);
    OK(CourantSpectrumDestroy(&spectrum));
    OK(MatDestroy(&A));
  }
}

enum { LONG = 10000, HIGH = 43 };

/* 43 of 10000 above 50, two of them three times, over a bulk up to 10; none is above 100. */
static void Above(void **state)
{
  double *values;
  const CourantEigenvalue *v;
  PetscReal missed;
  PetscInt n;

  (void)state;
  OK(PetscMalloc1(LONG, &values));
  for (PetscInt i = 0; i < LONG; i++) values[i] = i < HIGH ? 51 + i / 2. : 10 * (double)i / LONG - 5;
  values[20] = values[21] = values[22];
  values[HIGH - 3] = values[HIGH - 2] = values[HIGH - 1];
  Mat A = DiagonalOf(LONG, values);
  CourantSpectrum spectrum = Solver(A, 1, 0, NULL);
  OK(CourantSpectrumSetThreshold(spectrum, 50));
  OK(CourantSpectrumSolve(spectrum));
  OK(CourantSpectrumGetEigenvalues(spectrum, COURANT_LARGEST, &n, &v));
  OK(CourantSpectrumGetMissed(spectrum, COURANT_LARGEST, &missed));
  assert_int_equal(n, HIGH);
  BELOW(missed, 0.1);
  for (PetscInt i = 0; i < HIGH; i++) {
    const PetscInt from = HIGH - 1 - i;
    CheckPair(spectrum, A, COURANT_LARGEST, i, values[from], 1e-8);
    assert_int_equal(v[i].multiplicity, from >= HIGH - 3 || (from >= 20 && from <= 22) ? 3 : 1);
  }
  OK(CourantSpectrumSetThreshold(spectrum, 100));
  OK(CourantSpectrumSolve(spectrum));
  OK(CourantSpectrumGetEigenvalues(spectrum, COURANT_LARGEST, &n, &v));
  assert_int_equal(n, 0);
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&A));
  OK(PetscFree(values));
}

/* LAPACK notices what the iterations can not see: one of three above 5 is hidden from their operator. */
static void Overlooked(void **state)
{
  enum { SIZE = 40 };
  double values[SIZE] = {10, 9, 8};

  (void)state;
  for (int hidden = 0; hidden < 3; hidden++) {
    const double kept = values[hidden];
    const CourantEigenvalue *v;
    PetscReal missed;
    PetscInt n;
    Mat A = DiagonalOf(SIZE, values);
    values[hidden] = 0;
    Mat B = DiagonalOf(SIZE, values);
    values[hidden] = kept;
    CourantSpectrum spectrum = Solver(A, 1, 0, NULL);
    OK(CourantSpectrumSetThreshold(spectrum, 5));
    for (int blind = 0; blind < 2; blind++) {
      OK(CourantSpectrumSetFastOperator(spectrum, blind ? B : A));
      OK(CourantSpectrumSolve(spectrum));
      OK(CourantSpectrumGetEigenvalues(spectrum, COURANT_LARGEST, &n, &v));
      OK(CourantSpectrumGetMissed(spectrum, COURANT_LARGEST, &missed));
      assert_int_equal(n, blind ? 2 : 3);
      assert_true(missed == (blind ? 1 : 0));
    }
    OK(CourantSpectrumDestroy(&spectrum));
    OK(MatDestroy(&A));
    OK(MatDestroy(&B));
  }
}

/* A x = nu P x by LAPACK's sygv; A and P are overwritten. */
static void Pencil(PetscInt n, Mat A, Mat P, double values[])
{
  PetscScalar *a, *p, work[8192];
  PetscBLASInt type = 1, size = (PetscBLASInt)n, length = 8192, info;

  OK(MatDenseGetArray(A, &a));
  OK(MatDenseGetArray(P, &p));
  LAPACKsygv_(&type, "N", "U", &size, a, &size, p, &size, values, work, &length, &info);
  assert_int_equal(info, 0);
  OK(MatDenseRestoreArray(P, &p));
  OK(MatDenseRestoreArray(A, &a));
}

/* Diagonal preconditioners over six decades; residuals bound the distance to LAPACK's eigenvalues. */
static void Preconditioned(void **state)
{
  enum { N = 120 };
  const CourantEigenvalue *v;
  double values[N];
  PetscReal residual;
  PetscInt n;
  Vec P, x, y, z;
  Mat A = Dense(N, 1), dense, diagonal;

  (void)state;
  OK(MatCreateVecs(A, &x, &P));
  OK(VecDuplicate(P, &y));
  OK(VecDuplicate(P, &z));
  for (PetscInt i = 0; i < N; i++) OK(VecSetValue(P, i, pow(10, -6. * (double)i / N), INSERT_VALUES));
  OK(VecAssemblyBegin(P));
  OK(VecAssemblyEnd(P));
  OK(MatDuplicate(A, MAT_COPY_VALUES, &dense));
  OK(MatCreateSeqDense(PETSC_COMM_SELF, N, N, NULL, &diagonal));
  OK(MatDiagonalSet(diagonal, P, INSERT_VALUES));
  Pencil(N, dense, diagonal, values);
  CourantSpectrum spectrum = Solver(A, 4, 4, NULL);
  OK(CourantSpectrumSetPreconditioner(spectrum, P));
  OK(CourantSpectrumSolve(spectrum));
  const double norm = fmax(values[N - 1], -values[0]);
  for (int side = 0; side < 2; side++) {
    OK(CourantSpectrumGetEigenvalues(spectrum, (CourantSide)side, &n, &v));
    for (PetscInt i = 0; i < n; i++) {
      NEAR(v[i].value, values[side == 0 ? N - 1 - i : i],
           v[i].residual + 1e-13 * norm); /* and LAPACK's rounding */
      BELOW(v[i].residual, 1e-9 * norm);
      OK(CourantSpectrumGetVector(spectrum, (CourantSide)side, i,
                                  x)); /* |A x - nu P x| of the unscaled vector */
      OK(MatMult(A, x, y));
      OK(VecPointwiseMult(z, P, x));
      OK(VecAXPY(y, -v[i].value, z));
      OK(VecNorm(y, NORM_2, &residual));
      BELOW(residual, 1e-9 * norm);
    }
  }
  OK(VecSetValue(P, 7, 0, INSERT_VALUES));
  OK(VecAssemblyBegin(P));
  OK(VecAssemblyEnd(P));
  assert_int_equal(CourantSpectrumSetPreconditioner(spectrum, P), COURANT_ERR_INPUT);
  assert_non_null(strstr(CourantErrorMessage(), "indefinite: number 7 is 0"));
  CourantErrorClear();
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&A));
  OK(MatDestroy(&dense));
  OK(MatDestroy(&diagonal));
  OK(VecDestroy(&P));
  OK(VecDestroy(&x));
  OK(VecDestroy(&y));
  OK(VecDestroy(&z));
}

/* Products that are off by 1e-6 of the norm: values by the operator itself, off by the square of residuals.
 */
static void Fast(void **state)
{
  const Case *c = &cases[0];
  const CourantEigenvalue *v;
  PetscInt n;
  Mat A = Diagonal(c), fast;

  (void)state;
  OK(MatCreateSeqAIJ(PETSC_COMM_SELF, c->n, c->n, 2, NULL, &fast));
  for (PetscInt i = 0; i < c->n; i++) { /* pairs are coupled, so that vectors are off too */
    OK(MatSetValue(fast, i, i, Entry(c, i) + 1e-4 * sin((double)(i * i)), INSERT_VALUES));
    OK(MatSetValue(fast, i, (i + c->n / 2) % c->n, 1e-4, INSERT_VALUES));
  }
  OK(MatAssemblyBegin(fast, MAT_FINAL_ASSEMBLY));
  OK(MatAssemblyEnd(fast, MAT_FINAL_ASSEMBLY));
  CourantSpectrum spectrum;
  OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
  OK(CourantSpectrumSetOperator(spectrum, A));
  OK(CourantSpectrumSetFastOperator(spectrum, fast));
  OK(CourantSpectrumSetCounts(spectrum, 5, 0));
  OK(CourantSpectrumSetFromOptions(spectrum));
  OK(CourantSpectrumSolve(spectrum));
  OK(CourantSpectrumGetEigenvalues(spectrum, COURANT_LARGEST, &n, &v));
  for (PetscInt i = 0; i < n; i++) {
    CheckPair(spectrum, A, COURANT_LARGEST, i, c->top[i], 1e-7); /* 1e-4 squared over the gap */
    BELOW(v[i].residual, 1e-2);
  }
  BELOW(1e-5, v[0].residual); /* that of A, not of the fast one */
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&fast));
  OK(MatDestroy(&A));
}

/* From vectors close by it takes fewer products, and finds the same. */
static void WarmStart(void **state)
{
  enum { WANTED = 3 };
  const Case *c = &cases[0];
  const CourantEigenvalue *v;
  PetscInt n, cold;
  Vec guesses[WANTED];
  Mat A = Diagonal(c);
  CourantSpectrum spectrum = Solver(A, WANTED, 0, NULL);

  (void)state;
  OK(CourantSpectrumSolve(spectrum));
  OK(CourantSpectrumGetEigenvalues(spectrum, COURANT_LARGEST, &n, &v));
  cold = v[0].products;
  for (int i = 0; i < WANTED; i++) {
    OK(MatCreateVecs(A, &guesses[i], NULL));
    for (PetscInt j = 0; j < c->n; j++)
      OK(VecSetValue(guesses[i], j, i == j ? 1 : 1e-4 * sin((double)((i + 2) * j * j)), INSERT_VALUES));
    OK(VecAssemblyBegin(guesses[i]));
    OK(VecAssemblyEnd(guesses[i]));
  }
  OK(CourantSpectrumSetInitialSpace(spectrum, COURANT_LARGEST, WANTED, guesses));
  OK(CourantSpectrumSetFromOptions(spectrum));
  OK(CourantSpectrumSolve(spectrum));
  for (PetscInt i = 0; i < WANTED; i++) CheckPair(spectrum, A, COURANT_LARGEST, i, c->top[i], 1e-8);
  OK(CourantSpectrumGetEigenvalues(spectrum, COURANT_LARGEST, &n, &v));
  if (v[0].products >= cold) fail_msg("%d products, cold %d", (int)v[0].products, (int)cold);
  for (int i = 0; i < WANTED; i++) OK(VecDestroy(&guesses[i]));
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&A));
}

/* Fewer digits take fewer products, from the first cycle on. */
static void Tolerance(void **state)
{
  static const char *const options[] = {"-hessian_max_eps_tol 1e-12", "-hessian_max_eps_tol 1e-6",
                                        "-hessian_max_eps_tol 1e-2"};
  const CourantEigenvalue *v;
  PetscInt n, before = PETSC_MAX_INT;
  Mat A = Diagonal(&cases[0]);

  (void)state;
  for (int i = 0; i < 3; i++) {
    CourantSpectrum spectrum = Solver(A, 1, 0, options[i]);
    OK(CourantSpectrumSolveLargest(spectrum));
    OK(CourantSpectrumGetEigenvalues(spectrum, COURANT_LARGEST, &n, &v));
    assert_int_equal(v[0].certificate, 0);
    if (v[0].products >= before)
      fail_msg("%s: %d products, before %d", options[i], (int)v[0].products, (int)before);
    before = v[0].products;
    OK(CourantSpectrumDestroy(&spectrum));
  }
  assert_true(before < 24);
  OK(MatDestroy(&A));
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

/* What there is is told, with its residual, and flagged. */
static void NotConverged(void **state)
{
  const CourantEigenvalue *v;
  PetscInt n;
  Mat A = Diagonal(&cases[0]);
  CourantSpectrum spectrum = Solver(A, 3, 1, "-hessian_max_eps_max_it 1 -hessian_max_eps_ncv 6");

  (void)state;
  OK(CourantSpectrumSolve(spectrum));
  OK(CourantSpectrumGetEigenvalues(spectrum, COURANT_LARGEST, &n, &v));
  assert_int_equal(n, 3);
  for (PetscInt i = 0; i < n; i++) {
    assert_int_equal(v[i].status, COURANT_NOT_CONVERGED);
    BELOW(1e-3, v[i].residual);
  }
  OK(CourantSpectrumGetEigenvalues(spectrum, COURANT_SMALLEST, &n, &v));
  assert_int_equal(v[0].status, COURANT_CONVERGED);
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&A));
}

static void Refuses(void **state)
{
  Mat A = Diagonal(&cases[4]);
  CourantSpectrum spectrum = Solver(A, 41, 0, NULL);

  (void)state;
  assert_int_equal(CourantSpectrumSetUp(spectrum), COURANT_ERR_INPUT);
  assert_non_null(strstr(CourantErrorMessage(), "41 eigenvalues are wanted of an operator of dimension 40"));
  CourantErrorClear();
  OK(MatDestroy(&A));
  A = Diagonal(&cases[0]);
  OK(CourantSpectrumSetOperator(spectrum, A));
  OK(CourantSpectrumSetMemory(spectrum, 5e6)); /* 208 vectors of 3000 */
  assert_int_equal(CourantSpectrumSetUp(spectrum), COURANT_ERR_INPUT);
  assert_non_null(strstr(CourantErrorMessage(), "leaves 5 MB: enough for "));
  const int fits = atoi(strstr(CourantErrorMessage(), "enough for ") + 11);
  CourantErrorClear();
  assert_in_range(fits, 15, 35);
  OK(CourantSpectrumSetCounts(spectrum, fits, 0));
  OK(CourantSpectrumSetUp(spectrum));
  OK(CourantSpectrumSetMemory(spectrum, 1e5));
  assert_int_equal(CourantSpectrumSetUp(spectrum), COURANT_ERR_INPUT);
  assert_non_null(strstr(CourantErrorMessage(), "not enough for any"));
  CourantErrorClear();
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&A));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Ends),           cmocka_unit_test(Several), cmocka_unit_test(Together),
    cmocka_unit_test(FewDifferent),   cmocka_unit_test(Above),   cmocka_unit_test(Overlooked),
    cmocka_unit_test(Preconditioned), cmocka_unit_test(Fast),    cmocka_unit_test(WarmStart),
    cmocka_unit_test(Tolerance),      cmocka_unit_test(Repeats), cmocka_unit_test(NotConverged),
    cmocka_unit_test(Refuses),
};

TEST_MAIN(tests)
