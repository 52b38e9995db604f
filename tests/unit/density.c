/* Densities, counts, traces and determinants of operators whose spectra are known, and of a network's. */
#include "problem.h"
#include "core/statistics.h"
#include "stability/density.h"
#include <petscblaslapack.h>
#include <stdlib.h>

/* ---- intervals ---- */

/* Tables: Abramowitz and Stegun 26.7-26.9, and closed forms of the incomplete beta function. */
static void Intervals(void **state)
{
  const double x[] = {1, 2, 3, 4};

  (void)state;
  NEAR(CourantStudentFactor(1), 12.706, 1e-3);
  NEAR(CourantStudentFactor(7), 2.365, 1e-3);
  NEAR(CourantStudentFactor(1000000), 1.960, 1e-3);
  for (double t = 0.05; t < 1; t += 0.09) {
    NEAR(CourantIncompleteBeta(1, 1, t), t, 1e-14);
    NEAR(CourantIncompleteBeta(2, 3, t), t * t * (6 - 8 * t + 3 * t * t), 1e-14);
    NEAR(CourantIncompleteBeta(0.5, 0.5, t), 2 / M_PI * asin(sqrt(t)), 1e-14);
    NEAR(CourantIncompleteBeta(40, 1, t), pow(t, 40), 1e-14);
  }
  const CourantEstimate mean = CourantMeanEstimate(4, x);
  NEAR(mean.value, 2.5, 1e-15);
  NEAR(mean.high - 2.5, 3.182446 * sqrt(5. / 12), 1e-6);
  /* chi-square with 8 degrees of freedom: 2.1797 and 17.5345 */
  const int n = 100000000;
  const CourantEstimate one = CourantRankEstimate(n, 8, 2.17973 / 8 / n, 2.17973 / 8 / n),
                        other = CourantRankEstimate(n, 8, 17.53455 / 8 / n, 17.53455 / 8 / n);
  NEAR(one.high, 1, 1e-4);
  NEAR(other.low, 1, 1e-4);
}

/* ---- operators ---- */

static Mat Diagonal(PetscInt n, double (*value)(PetscInt i, PetscInt n))
{
  Mat A;
  OK(MatCreateSeqAIJ(PETSC_COMM_SELF, n, n, 1, NULL, &A));
  for (PetscInt i = 0; i < n; i++) OK(MatSetValue(A, i, i, value(i, n), INSERT_VALUES));
  OK(MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY));
  OK(MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY));
  return A;
}

/* Evenly from 1 to 3. */
static double Uniform(PetscInt i, PetscInt n)
{
  return 1 + 2 * ((double)i + 0.5) / (double)n;
}

/* Nine tenths around -1, a tenth around 2. */
static double Clusters(PetscInt i, PetscInt n)
{
  return (i % 10 ? -1 : 2) + 0.1 * (double)i / (double)n;
}

/* A bulk from 0 to 1, and seven from 10 to 16. */
static double Outliers(PetscInt i, PetscInt n)
{
  return i < 7 ? 10 + (double)i : (double)i / (double)n;
}

static CourantDensity Solve(Mat A, int seed, const char *options)
{
  CourantDensity density;
  OK(PetscOptionsInsertString(NULL, options));
  OK(CourantDensityCreate(PETSC_COMM_SELF, &density));
  OK(CourantDensitySetOperator(density, A));
  OK(CourantDensitySetSeed(density, seed));
  OK(CourantDensitySetFromOptions(density));
  OK(CourantDensitySolve(density));
  OK(PetscOptionsClear(NULL));
  return density;
}

/* Share of grid points whose band holds the density of `values` under the same kernel. */
static double Covered(CourantDensity density, PetscInt n, const double *values)
{
  double low, high, width, covered = 0;
  const int points = 60;

  OK(CourantDensityGetRange(density, &low, &high));
  OK(CourantDensityGetWidth(density, &width));
  for (int g = 0; g < points; g++) {
    const double x = low + (high - low) * g / (points - 1);
    double expected = 0;
    CourantEstimate estimate;
    for (PetscInt i = 0; i < n; i++)
      expected += exp(-0.5 * pow((x - values[i]) / width, 2)) / (sqrt(2 * M_PI) * width * (double)n);
    OK(CourantDensityEvaluate(density, x, &estimate));
    const double missed = 1e-5 / (sqrt(2 * M_PI) * width); /* what the kernel's width leaves unresolved */
    covered += expected >= estimate.low - missed && expected <= estimate.high + missed;
  }
  return covered / points;
}

/* The band holds the density at 95 % of points, on average over seeds; points of a seed are dependent. */
static void Bands(void **state)
{
  static double (*const spectra[])(PetscInt, PetscInt) = {Uniform, Clusters, Outliers};
  const PetscInt n = 2000;
  double values[2000];

  (void)state;
  for (int s = 0; s < 3; s++) {
    Mat A = Diagonal(n, spectra[s]);
    double covered = 0;
    const int seeds = 16;
    for (PetscInt i = 0; i < n; i++) values[i] = spectra[s](i, n);
    for (int seed = 0; seed < seeds; seed++) {
      CourantDensity density = Solve(A, seed, "-density_steps 40");
      covered += Covered(density, n, values) / seeds;
      OK(CourantDensityDestroy(&density));
    }
    if (s < 2)
      NEAR(covered, 0.95, 0.06); /* binomial with some four independent values in a band: 0.022 x 2.6 */
    else
      BELOW(0.8, covered); /* around single eigenvalues the samples are chi-square, not normal */
    OK(MatDestroy(&A));
  }
}

/* The interval of a count holds the truth at 95 % or more, as it also holds what the quadrature leaves open.
 */
static void Counts(void **state)
{
  static const struct {
    double (*value)(PetscInt, PetscInt);
    double x;
    int truth;
  } cases[] = {{Uniform, 2, 1000},   {Uniform, 2.9001, 100}, {Uniform, 5, 0},     {Uniform, 0, 2000},
               {Clusters, 0.5, 200}, {Outliers, 5, 7},       {Outliers, 15.5, 1}, {Outliers, 12.5, 4}};
  const int seeds = 80;

  (void)state;
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    Mat A = Diagonal(2000, cases[c].value);
    int covered = 0;
    double width = 0, mean = 0;
    for (int seed = 0; seed < seeds; seed++) {
      CourantDensity density = Solve(A, 1000 + seed, "-density_steps 30 -density_probes 6");
      CourantEstimate count;
      OK(CourantDensityCountAbove(density, cases[c].x, &count));
      covered += count.low - 1e-9 <= cases[c].truth && cases[c].truth <= count.high + 1e-9;
      width += (count.high - count.low) / seeds;
      mean += count.value / seeds;
      OK(CourantDensityDestroy(&density));
    }
    /* 76 expected, 1.95 standard deviation: 70 is three below */
    if (covered < 70) fail_msg("case %d: %d of %d intervals hold it", (int)c, covered, seeds);
    if (cases[c].truth == 0 || cases[c].truth == 2000) BELOW(width, 2);
    if (cases[c].value == Outliers) { /* in gaps the quadrature is exact: chi-square with 6 k degrees */
      BELOW(width, 4 * 1.1 * sqrt(2. * cases[c].truth / 6) + 1.5);
      NEAR(mean, cases[c].truth, 4 * sqrt(2. * cases[c].truth / 6 / seeds));
    }
    OK(MatDestroy(&A));
  }
}

/* What the probes themselves have above x is inside the quadrature's bounds, and on them in a gap. */
static void Quadrature(void **state)
{
  const PetscInt n = 1000;
  Mat A = Diagonal(n, Outliers);
  CourantDensity density = Solve(A, 4, "-density_steps 40 -density_probes 2");
  const PetscScalar *array;
  Vec z;

  (void)state;
  OK(MatCreateVecs(A, &z, NULL));
  for (double x = 0.05; x < 17; x += x < 1 ? 0.1 : 1) {
    double above = 0, total = 0;
    CourantEstimate count;
    for (uint32_t probe = 0; probe < 2; probe++) {
      OK(CourantDensityDraw(density, probe, 0, z));
      OK(VecGetArrayRead(z, &array));
      for (PetscInt i = 0; i < n; i++) {
        total += array[i] * array[i];
        above += Outliers(i, n) > x ? array[i] * array[i] : 0;
      }
      OK(VecRestoreArrayRead(z, &array));
    }
    OK(CourantDensityCountAbove(density, x, &count));
    NEAR(count.value, (double)n * above / total, x < 1 ? 80 : 1e-6); /* Christoffel: about pi n / m inside */
    const CourantEstimate exact = CourantRankEstimate(n, 2, above / total, above / total);
    assert_true(count.low <= exact.low + 1e-6 && exact.high <= count.high + 1e-6);
  }
  OK(VecDestroy(&z));
  OK(CourantDensityDestroy(&density));
  OK(MatDestroy(&A));
}

/* A symmetric matrix of normal numbers: Wigner's semicircle, density sqrt(4 - x^2) / (2 pi), but for O(1/n).
 */
static void Semicircle(void **state)
{
  const PetscInt n = 600;
  PetscScalar *a;
  double *values = malloc(sizeof(double) * (size_t)(n * n));
  Mat A;

  (void)state;
  CourantRandomNormal((CourantRandom){.seed = 3, .purpose = COURANT_RANDOM_TEST}, n * n, values);
  OK(MatCreateSeqDense(PETSC_COMM_SELF, n, n, NULL, &A));
  OK(MatDenseGetArrayWrite(A, &a));
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j <= i; j++)
      a[i + j * n] = a[j + i * n] = values[i + j * n] * (i == j ? sqrt(2) : 1) / sqrt((double)n);
  OK(MatDenseRestoreArrayWrite(A, &a));
  CourantDensity density = Solve(A, 5, "-density_probes 16");
  double width;
  OK(CourantDensityGetWidth(density, &width));
  NEAR(width, 1.25 * 4 / 80, 0.002);
  for (double x = -1.5; x < 1.6; x += 0.5) {
    CourantEstimate estimate, count;
    double smooth = 0;
    for (double t = -2; t < 2; t += 1e-4)
      smooth += 1e-4 * sqrt(4 - t * t) / (2 * M_PI) * exp(-0.5 * pow((x - t) / width, 2)) /
                (sqrt(2 * M_PI) * width);
    OK(CourantDensityEvaluate(density, x, &estimate));
    /* twice the half-width, as seven points are looked at, and a finite matrix's own 1/(n width) */
    NEAR(estimate.value, smooth, estimate.high - estimate.low + 0.3 / (n * width));
    const double above = 0.5 - (x * sqrt(4 - x * x) / 2 + 2 * asin(x / 2)) / (2 * M_PI);
    OK(CourantDensityCountAbove(density, x, &count));
    assert_true(count.low < n * above + 2 && n * above - 2 < count.high);
    BELOW(count.high - count.low, 60);
  }
  OK(CourantDensityDestroy(&density));
  OK(MatDestroy(&A));
  free(values);
}

/* Traces and norms against sums of the diagonal. */
static void Traces(void **state)
{
  static double (*const spectra[])(PetscInt, PetscInt) = {Uniform, Clusters, Outliers};
  const PetscInt n = 1500;
  const int seeds = 60;

  (void)state;
  for (int s = 0; s < 3; s++) {
    Mat A = Diagonal(n, spectra[s]);
    double trace = 0, square = 0;
    int covered[2] = {0, 0};
    for (PetscInt i = 0; i < n; i++) {
      trace += spectra[s](i, n);
      square += pow(spectra[s](i, n), 2);
    }
    for (int seed = 0; seed < seeds; seed++) {
      CourantDensity density = Solve(A, seed, "-density_probes 2 -density_steps 40");
      CourantEstimate t, f;
      OK(CourantDensityGetTrace(density, &t, &f));
      covered[0] += t.low <= trace && trace <= t.high;
      covered[1] += f.low <= sqrt(square) && sqrt(square) <= f.high;
      BELOW(fabs(f.value / sqrt(square) - 1), 0.1);
      OK(CourantDensityDestroy(&density));
    }
    /* 57 expected, 1.7 standard deviation */
    for (int i = 0; i < 2; i++)
      if (covered[i] < 52) fail_msg("spectrum %d: %d of %d", s, covered[i], seeds);
    OK(MatDestroy(&A));
  }
  Mat A = Diagonal(20, Clusters); /* as many unknowns as the sketch has vectors: exact */
  CourantDensity density = Solve(A, 1, "");
  CourantEstimate t, f;
  double trace = 0, square = 0;
  for (int i = 0; i < 20; i++) trace += Clusters(i, 20), square += pow(Clusters(i, 20), 2);
  OK(CourantDensityGetTrace(density, &t, &f));
  NEAR(t.value, trace, 1e-12);
  NEAR(f.value, sqrt(square), 1e-12);
  BELOW(t.high - t.low, 1e-11);
  OK(CourantDensityDestroy(&density));
  OK(MatDestroy(&A));
}

static double Geometric(PetscInt i, PetscInt n)
{
  return pow(1e4, (double)i / (double)(n - 1)) - 0.5;
}

static double One(PetscInt i, PetscInt n)
{
  (void)i, (void)n;
  return 3;
}

/* sum log of 0.5 .. 9999.5, of which A + 1/2 has the closed form n log(100); refused where indefinite. */
static void LogDeterminant(void **state)
{
  const PetscInt n = 1000;
  const double truth = n * log(100);
  Mat A = Diagonal(n, Geometric);
  CourantEstimate estimate;
  CourantStatus status;
  int covered = 0;
  const int seeds = 40;

  (void)state;
  for (int seed = 0; seed < seeds; seed++) {
    CourantDensity density = Solve(A, seed, "");
    OK(CourantDensityGetLogDeterminant(density, 0.5, 0.5, &estimate, &status));
    assert_int_equal(status, COURANT_CONVERGED);
    covered += estimate.low <= truth && truth <= estimate.high;
    BELOW(estimate.high - estimate.low, 0.1 * truth);
    OK(CourantDensityGetLogDeterminant(density, -0.5, 0.5, &estimate, &status));
    assert_int_equal(status, COURANT_DEGENERATE);
    assert_true(isnan(estimate.value));
    OK(CourantDensityGetLogDeterminant(density, 0, 100, &estimate, &status));
    assert_int_equal(status, COURANT_NOT_CONVERGED); /* there are eigenvalues below what it was told */
    OK(CourantDensityDestroy(&density));
  }
  if (covered < 34) fail_msg("%d of %d", covered, seeds); /* 38 expected, 1.4 standard deviation */
  OK(MatDestroy(&A));

  A = Diagonal(50, One); /* one eigenvalue, found in a single step */
  CourantDensity density = Solve(A, 1, "");
  double low, high;
  OK(CourantDensityGetRange(density, &low, &high));
  NEAR(low, 3, 1e-14);
  NEAR(high, 3, 1e-14);
  OK(CourantDensityGetLogDeterminant(density, 0, 3, &estimate, &status));
  NEAR(estimate.value, 50 * log(3), 1e-10);
  OK(CourantDensityCountAbove(density, 2.9, &estimate));
  NEAR(estimate.low, 50, 1);
  OK(CourantDensityCountAbove(density, 3.1, &estimate));
  NEAR(estimate.high, 0, 1);
  OK(CourantDensityDestroy(&density));
  OK(MatDestroy(&A));
}

/* ---- a network ---- */

static void Network(void **state)
{
  static const char deck[] =
      "data: {source: noise, size: 8, samples: 12, exponent: 1, mean: 0.5, seed: 5}\n"
      "network:\n- conv: {channels: 4, kernel: 3}\n- swish: {}\n- conv: {channels: 4, kernel: 3}\n- swish: "
      "{}\n"
      "- flatten: {}\n- dense: {features: 2}\nloss: softmax\nweights: {init: he, seed: 5}\n";
  CourantSpectrum spectrum;
  CourantExtreme largest, smallest;
  const PetscReal *all;
  double trace = 0, square = 0, logarithm = 0;
  const int seeds = 40;
  int covered[6] = {0};
  PetscInt n;
  Fixture f;
  Mat H;

  (void)state;
  Open(&f, deck);
  OK(CourantProblemCreateHessian(f.problem, &H));
  OK(CourantProblemSetState(f.problem, f.theta, NULL, NULL));
  OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
  OK(CourantSpectrumSetOperator(spectrum, H));
  OK(CourantSpectrumSolve(spectrum));
  OK(CourantSpectrumGetExtremes(spectrum, &largest, &smallest));
  OK(CourantSpectrumGetAll(spectrum, &n, &all)); /* LAPACK's */
  assert_int_equal(n, f.p);
  const double shift = 1.5 * fabs(smallest.value);
  for (PetscInt i = 0; i < n; i++) {
    trace += all[i];
    square += all[i] * all[i];
    logarithm += log(all[i] + shift);
  }
  for (int seed = 0; seed < seeds; seed++) {
    CourantDensity density = Solve(H, seed, "-density_steps 40");
    CourantEstimate t, norm, estimate, count;
    CourantStatus status;
    OK(CourantDensityGetTrace(density, &t, &norm));
    covered[0] += t.low <= trace && trace <= t.high;
    covered[1] += norm.low <= sqrt(square) && sqrt(square) <= norm.high;
    OK(CourantDensityGetLogDeterminant(density, shift, smallest.value - smallest.residual, &estimate,
                                       &status));
    assert_int_equal(status, COURANT_CONVERGED);
    covered[2] += estimate.low <= logarithm && logarithm <= estimate.high;
    for (int i = 0; i < 3; i++) { /* above 1, 4 and 16, in the middle of the gap */
      const PetscInt k = 1 << 2 * i;
      OK(CourantDensityCountAbove(density, 0.5 * (all[n - k] + all[n - k - 1]), &count));
      covered[3 + i] += count.low <= (double)k && (double)k <= count.high;
    }
    OK(CourantDensityDestroy(&density));
  }
  /* 38 expected, 1.4 standard deviation */
  for (int i = 0; i < 6; i++)
    if (covered[i] < 34) fail_msg("quantity %d: %d of %d", i, covered[i], seeds);
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&H));
  Close(&f);
}

/* Too little memory: what would fit is said. */
static void Memory(void **state)
{
  Mat A = Diagonal(1000, Uniform);
  CourantDensity density;
  PetscInt products;
  PetscReal bytes;

  (void)state;
  OK(CourantDensityCreate(PETSC_COMM_SELF, &density));
  OK(CourantDensitySetOperator(density, A));
  OK(CourantDensitySetMemory(density, 2e5));
  OK(CourantDensityGetSizes(density, &products, &bytes));
  assert_int_equal(products, 8 * 80 + 3 * 40);
  NEAR(bytes, 81 * 8000, 0);
  assert_int_equal(CourantDensitySolve(density), COURANT_ERR_INPUT);
  assert_non_null(strstr(CourantErrorMessage(), "24 steps fit"));
  CourantErrorClear();
  OK(CourantDensityDestroy(&density));
  OK(MatDestroy(&A));
}

/* A count alone takes its probes' products, and no trace. */
static void CountAlone(void **state)
{
  Mat A = Diagonal(1000, Outliers);
  CourantDensity density;
  CourantEstimate count, trace;
  PetscInt before, took;

  (void)state;
  OK(CourantDensityCreate(PETSC_COMM_SELF, &density));
  OK(CourantDensitySetOperator(density, A));
  OK(CourantDensitySetRule(density, 4, 30));
  OK(CourantDensitySetTrace(density, PETSC_FALSE));
  OK(CourantDensityGetSizes(density, &before, NULL));
  OK(CourantDensitySolve(density));
  OK(CourantDensityGetSizes(density, &took, NULL));
  assert_int_equal(before, 4 * 30);
  assert_int_equal(took, 4 * 30);
  OK(CourantDensityGetTrace(density, &trace, NULL));
  assert_true(isnan(trace.value));
  OK(CourantDensityCountAbove(density, 5, &count)); /* seven, by chi-square with 28 degrees of freedom */
  assert_true(count.low < 7 && count.high > 7 && count.high - count.low < 12);
  OK(CourantDensityDestroy(&density));
  OK(MatDestroy(&A));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Intervals),      cmocka_unit_test(Bands),      cmocka_unit_test(Counts),
    cmocka_unit_test(Quadrature),     cmocka_unit_test(Semicircle), cmocka_unit_test(Traces),
    cmocka_unit_test(LogDeterminant), cmocka_unit_test(Network),    cmocka_unit_test(Memory),
    cmocka_unit_test(CountAlone),
};

TEST_MAIN(tests)
