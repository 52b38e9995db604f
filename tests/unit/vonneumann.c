/* Von Neumann analysis against textbook limits and closed forms of R(Z). */
#include "check.h"
#include "stability/dense.h"
#include "stability/region.h"
#include "stability/steplimit.h"
#include "train/rule.h"
#include <complex.h>

typedef struct {
  CourantStepper stepper;
  CourantVonNeumann v;
} Analysis;

typedef struct {
  PetscReal h, c;
} Grid;

static const Grid grid = {0.01, 3};

static Analysis Open(const char *options, PetscInt dimension, PetscInt fields, CourantSymbolFunction Symbol)
{
  Analysis a;
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, options));
  OK(CourantStepperCreate(PETSC_COMM_SELF, "a_", &a.stepper));
  OK(CourantStepperSetUp(a.stepper));
  OK(CourantVonNeumannCreate(PETSC_COMM_SELF, &a.v));
  OK(CourantVonNeumannSetSymbol(a.v, dimension, fields, Symbol, (void *)&grid));
  OK(CourantVonNeumannSetStepper(a.v, a.stepper));
  return a;
}

static void Close(Analysis *a)
{
  OK(CourantVonNeumannDestroy(&a->v));
  OK(CourantStepperDestroy(&a->stepper));
}

/* ---- symbols of textbook schemes; c and h as in `grid` ---- */

static PetscReal Square(PetscReal phase) /* minus the symbol of the second difference, times h^2 */
{
  return 4 * sin(phase / 2) * sin(phase / 2);
}

static void Heat(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  const Grid *g = (const Grid *)ctx;
  (void)step;
  A[0] = -(Square(phase[0]) + Square(phase[1])) / (g->h * g->h);
}
static void Centred(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  const Grid *g = (const Grid *)ctx;
  (void)step;
  A[0] = -I * g->c * sin(phase[1]) / g->h;
}
static void Upwind(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  const Grid *g = (const Grid *)ctx;
  (void)step;
  A[0] = -g->c / g->h * (1 - cexp(-I * phase[1]));
}
/* Against the wind: the PDE does not grow, the scheme does, with any stepper. */
static void Downwind(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  const Grid *g = (const Grid *)ctx;
  (void)step;
  A[0] = -g->c / g->h * (cexp(I * phase[1]) - 1);
}
static void Advection(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  const Grid *g = (const Grid *)ctx;
  (void)step;
  A[0] = -I * g->c * phase[1] / g->h;
}
static void LaxWendroff(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  const Grid *g = (const Grid *)ctx;
  Centred(ctx, step, phase, A);
  A[0] -= step / 2 * g->c * g->c / (g->h * g->h) * Square(phase[1]);
}
/* G = cos - i nu sin: no limit as the step goes to 0 */
static void LaxFriedrichs(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  Centred(ctx, step, phase, A);
  A[0] += (cos(phase[1]) - 1) / step;
}
/* u_t = -u_xx - u_xxxx */
static void KuramotoSivashinsky(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  const Grid *g = (const Grid *)ctx;
  const PetscReal s = Square(phase[1]) / (g->h * g->h);
  (void)step;
  A[0] = s - s * s;
}
/* Strongest between the phases of any grid. */
static void Between(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  (void)ctx, (void)step;
  A[0] = -exp(40 * (cos(phase[1] - 0.3) - 1)) - 0.01;
}
static void Imaginary(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  (void)ctx, (void)step, (void)phase;
  A[0] = I;
}
static void Real(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  (void)ctx, (void)step, (void)phase;
  A[0] = -1;
}

/* u_t = c v_x, v_t = c u_x */
static void WaveFirstOrder(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  const Grid *g = (const Grid *)ctx;
  (void)step;
  A[0] = A[3] = 0;
  A[1] = A[2] = I * g->c * sin(phase[1]) / g->h;
}
/* u_t = v, v_t = c^2 u_xx */
static void WaveSecondOrder(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  const Grid *g = (const Grid *)ctx;
  (void)step;
  A[0] = A[3] = 0;
  A[1] = 1;
  A[2] = -g->c * g->c * Square(phase[1]) / (g->h * g->h);
}
/* A Jordan block of eigenvalue -1 at every phase. */
static void Jordan(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  (void)ctx, (void)step, (void)phase;
  A[0] = A[3] = -1;
  A[1] = 1;
  A[2] = 0;
}
static void TwiceTheSame(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  Centred(ctx, step, phase, A);
  A[3] = A[0];
  A[1] = A[2] = 0;
}

/* ---- limits ---- */

typedef struct {
  const char *name, *options;
  PetscInt dimension, fields;
  CourantSymbolFunction Symbol, Flow;
  PetscBool by_step;
  double limit; /* for h = 0.01, c = 3 */
} Case;

#define RK4           "-a_ts_type rk -a_ts_rk_type 4"
#define RK4_IMAGINARY 2.8284271247461903 /* 2 sqrt 2 */
#define RK4_REAL      2.785293563405282

/* |R| of classical RK4 on the axes; heat and upwind: Strikwerda, "Finite Difference Schemes", sections 2.2,
   6.3, 7.3. Kuramoto-Sivashinsky: s = 4 / h^2, 2 / (s^2 - s). */
static const Case limits[] = {
    {"heat, Euler", "-a_ts_type euler", 1, 1, Heat, NULL, PETSC_FALSE, 0.5e-4},
    {"heat 2-D, Euler", "-a_ts_type euler", 2, 1, Heat, NULL, PETSC_FALSE, 0.25e-4},
    {"heat, RK4", RK4, 1, 1, Heat, NULL, PETSC_FALSE, RK4_REAL / 4 * 1e-4},
    {"heat, Crank-Nicolson", "-a_ts_type cn", 1, 1, Heat, NULL, PETSC_FALSE, INFINITY},
    {"heat 2-D, backward Euler", "-a_ts_type beuler", 2, 1, Heat, NULL, PETSC_FALSE, INFINITY},
    {"upwind, Euler", "-a_ts_type euler", 1, 1, Upwind, NULL, PETSC_FALSE, 0.01 / 3},
    {"centred, Euler", "-a_ts_type euler", 1, 1, Centred, NULL, PETSC_FALSE, 0},
    {"centred, RK2", "-a_ts_type rk -a_ts_rk_type 2a", 1, 1, Centred, NULL, PETSC_FALSE, 0},
    {"centred, RK3", "-a_ts_type rk -a_ts_rk_type 3", 1, 1, Centred, NULL, PETSC_FALSE,
     1.7320508075688772 * 0.01 / 3},
    {"centred, RK4", RK4, 1, 1, Centred, NULL, PETSC_FALSE, RK4_IMAGINARY * 0.01 / 3},
    {"centred, Crank-Nicolson", "-a_ts_type cn", 1, 1, Centred, NULL, PETSC_FALSE, INFINITY},
    {"centred, implicit midpoint", "-a_ts_type theta -a_ts_theta_theta 0.5", 1, 1, Centred, NULL, PETSC_FALSE,
     INFINITY},
    {"centred, SDIRK", "-a_ts_type arkimex -a_ts_arkimex_type l2", 1, 1, Centred, NULL, PETSC_FALSE,
     INFINITY},
    {"centred, Rosenbrock", "-a_ts_type rosw -a_ts_rosw_type 2p", 1, 1, Centred, NULL, PETSC_FALSE, INFINITY},
    {"downwind, Euler", "-a_ts_type euler", 1, 1, Downwind, Advection, PETSC_FALSE, 0},
    {"downwind, Crank-Nicolson", "-a_ts_type cn", 1, 1, Downwind, Advection, PETSC_FALSE, 0},
    {"Lax-Wendroff", "-a_ts_type euler", 1, 1, LaxWendroff, Advection, PETSC_TRUE, 0.01 / 3},
    {"Lax-Friedrichs", "-a_ts_type euler", 1, 1, LaxFriedrichs, Advection, PETSC_TRUE, 0.01 / 3},
    {"Kuramoto-Sivashinsky, Euler", "-a_ts_type euler", 1, 1, KuramotoSivashinsky, NULL, PETSC_FALSE,
     2 / (4e4 * (4e4 - 1))},
    {"between the phases", "-a_ts_type euler", 1, 1, Between, NULL, PETSC_FALSE, 2 / 1.01},
    {"wave, first order, RK4", RK4, 1, 2, WaveFirstOrder, NULL, PETSC_FALSE, RK4_IMAGINARY * 0.01 / 3},
    {"wave, second order, RK4", RK4, 1, 2, WaveSecondOrder, NULL, PETSC_FALSE, RK4_IMAGINARY / 2 * 0.01 / 3},
    {"RK4, imaginary axis", RK4, 1, 1, Imaginary, NULL, PETSC_FALSE, RK4_IMAGINARY},
    {"RK4, real axis", RK4, 1, 1, Real, NULL, PETSC_FALSE, RK4_REAL},
    {"Jordan block, Euler", "-a_ts_type euler", 1, 2, Jordan, NULL, PETSC_FALSE, 2},
};

static void Limits(void **state)
{
  (void)state;
  for (size_t c = 0; c < sizeof limits / sizeof *limits; c++) {
    const Case *k = &limits[c];
    Analysis a = Open(k->options, k->dimension, k->fields, k->Symbol);
    CourantStepLimit limit;
    const double expected = k->limit;
    if (k->Flow) OK(CourantVonNeumannSetFlow(a.v, k->Flow));
    if (k->by_step) OK(CourantVonNeumannSetStepDependent(a.v, 1e-3));
    OK(CourantVonNeumannComputeLimit(a.v, &limit));
    const PetscBool right =
        isfinite(expected) ? fabs(limit.step - expected) <= 1e-12 * expected : isinf(limit.step);
    if (!right) fail_msg("%s: the limit is %.17g, expected %.17g", k->name, limit.step, expected);
    Close(&a);
  }
}

/* On a coarse grid long waves grow by the PDE itself: they are left out, and the limit is that of the rest.
 */
static void GrowingFlow(void **state)
{
  static const Grid coarse = {0.5, 0};
  const PetscReal phase[3][2] = {{0, 0}, {0, 0.3}, {0, M_PI}};
  Analysis a = Open("-a_ts_type euler", 1, 1, KuramotoSivashinsky);
  CourantAmplification result[3];
  CourantStepLimit limit;

  (void)state;
  OK(CourantVonNeumannSetSymbol(a.v, 1, 1, KuramotoSivashinsky, (void *)&coarse));
  OK(CourantVonNeumannComputeLimit(a.v, &limit));
  NEAR(limit.step, 2 / (256. - 16), 1e-12 * limit.step);
  /* s < 1: |phase| < 2 asin(1/4), of 256 phases 2 pi k / 256, k = 0 stays */
  const int expected = 2 * (int)floor(2 * asin(0.25) / (2 * M_PI / 256));
  assert_int_equal(limit.left_out, expected);
  OK(CourantVonNeumannComputeAmplification(a.v, 0.5 * limit.step, 3, phase, result));
  assert_int_equal(result[0].powers, COURANT_POWERS_BOUNDED);
  assert_int_equal(result[1].powers, COURANT_FLOW_GROWS);
  assert_int_equal(result[2].powers, COURANT_POWERS_BOUNDED);
  const double s = Square(0.3) / 0.25;
  NEAR(result[1].flow_growth, s - s * s, 1e-14);
  NEAR(result[1].growth, 1 + 0.5 * limit.step * (s - s * s), 1e-14);
  Close(&a);
}

/* ---- powers ---- */

/*
  The wave equation at phase 0: as u_t = v, v_t = 0 it is a Jordan block and grows like n, as u_t = v_t = 0 it
  stands still. With the phase small the powers' bound is that of sin(n w) / w, 1 / w.
*/
static void Waves(void **state)
{
  const PetscReal phase[4][2] = {{0, 0}, {0, 0.01}, {0, M_PI / 2}, {0, -M_PI}}, step = 1e-3;
  CourantAmplification first[4], second[4];

  (void)state;
  for (int order = 1; order <= 2; order++) {
    Analysis a = Open("-a_ts_type cn", 1, 2, order == 1 ? WaveFirstOrder : WaveSecondOrder);
    OK(CourantVonNeumannComputeAmplification(a.v, step, 4, phase, order == 1 ? first : second));
    Close(&a);
  }
  for (int i = 0; i < 4; i++) {
    NEAR(first[i].growth, 1, 1e-14);
    NEAR(second[i].growth, 1, 1e-14);
    assert_int_equal(first[i].powers, COURANT_POWERS_BOUNDED);
    assert_int_equal(second[i].powers, i == 0 ? COURANT_POWERS_DEFECTIVE : COURANT_POWERS_BOUNDED);
    NEAR(first[i].power_bound, 1, 1e-10); /* G is normal; 65536 roundings */
  }
  NEAR(second[0].power_bound, hypot(1, 65536 * step), 0.1); /* [[1, n step], [0, 1]]: |.| of order n step */
  /* [[cos, sin / w], [-w sin, cos]] of frequency w = c phase / h here: the norm's maximum is max(w, 1 / w) */
  const double w = grid.c * sqrt(Square(0.01)) / grid.h;
  assert_true(second[1].power_bound <= fmax(w, 1 / w) * (1 + 1e-9));
  assert_true(second[1].power_bound >= 0.9 * fmax(w, 1 / w));
}

/* A double eigenvalue: with one eigenvector only its powers grow like n at modulus 1, with two they do not.
 */
static void DoubleEigenvalues(void **state)
{
  const PetscReal phase[1][2] = {{0, 0.7}};
  CourantAmplification result;
  Analysis a = Open("-a_ts_type euler", 1, 2, Jordan);

  (void)state;
  OK(CourantVonNeumannComputeAmplification(a.v, 2, 1, phase, &result)); /* G = [[-1, 2], [0, -1]] */
  assert_int_equal(result.powers, COURANT_POWERS_DEFECTIVE);
  NEAR(result.power_bound / (2 * 65536), 1, 1e-6);
  OK(CourantVonNeumannComputeAmplification(a.v, 1.9, 1, phase, &result));
  assert_int_equal(result.powers, COURANT_POWERS_BOUNDED);
  OK(CourantVonNeumannComputeAmplification(a.v, 2.1, 1, phase, &result));
  assert_int_equal(result.powers, COURANT_POWERS_GROW);
  NEAR(result.growth, 1.1, 1e-14);
  NEAR(cabs(result.symbol + 1), 0, 1e-15);
  Close(&a);
  a = Open("-a_ts_type cn", 1, 2, TwiceTheSame);
  OK(CourantVonNeumannComputeAmplification(a.v, 1e-3, 1, phase, &result));
  assert_int_equal(result.powers, COURANT_POWERS_BOUNDED);
  Close(&a);
}

/* Multistep methods have growth alone: BDF2 is A-stable, and damps z = -1 by the larger root of its equation.
 */
static void Multistep(void **state)
{
  const PetscReal phase[1][2] = {{0, 1}};
  CourantAmplification result;
  CourantStepLimit limit;
  Analysis a = Open("-a_ts_type bdf", 1, 1, Real);

  (void)state;
  OK(CourantVonNeumannComputeAmplification(a.v, 1, 1, phase, &result));
  NEAR(result.growth, sqrt(0.5 / 2.5), 0.02); /* (3/2 + 1) r^2 - 2 r + 1/2: complex roots */
  assert_true(isnan(result.power_bound));
  assert_int_equal(result.powers, COURANT_POWERS_BOUNDED);
  PetscComplex lambda = -1 + 0.5 * I; /* one mode alone: each takes 200 steps */
  OK(CourantStepLimitSolve(&(CourantSteppedModes){.stepper = a.stepper, .n = 1, .lambda = &lambda}, &limit));
  assert_true(isinf(limit.step));
  Close(&a);
}

/* ---- R(Z) of matrices ---- */

static void Multiply(int f, const PetscComplex a[], const PetscComplex b[], PetscComplex product[])
{
  for (int i = 0; i < f; i++)
    for (int j = 0; j < f; j++) {
      PetscComplex sum = 0;
      for (int k = 0; k < f; k++) sum += a[i * f + k] * b[k * f + j];
      product[i * f + j] = sum;
    }
}

/* Two matrices that do not commute with each other nor with their transposes, eigenvalues off the axes. */
static const PetscComplex matrices[2][9] = {
    {-0.4 + 0.3 * I, 0.7, -0.2 * I, 0.1, -0.9, 0.5 + 0.5 * I, 0, 0.3 - 0.8 * I, -0.2 + 1.1 * I},
    {0.2, -1.3 * I, 0.4, 0.6, -0.5 + 0.1 * I, 0, 0.9 * I, 0.2, -1.4},
};

/* The Taylor polynomial of classical RK4, and (1 - Z/2) G = 1 + Z/2 of Crank-Nicolson. */
static void MatrixPropagators(void **state)
{
  Analysis rk4 = Open(RK4, 1, 1, Real), cn;
  PetscComplex G[2][9], left[9], product[9];

  (void)state;
  OK(CourantStepperComputePropagator(rk4.stepper, 2, 3, matrices[0], G[0]));
  for (int m = 0; m < 2; m++) {
    PetscComplex horner[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    for (int k = 4; k >= 1; k--) {
      Multiply(3, matrices[m], horner, product);
      for (int i = 0; i < 9; i++) horner[i] = product[i] / k + (i % 4 == 0 ? 1 : 0);
    }
    for (int i = 0; i < 9; i++) NEAR(cabs(G[m][i] - horner[i]), 0, 1e-14);
  }
  Close(&rk4);
  cn = Open("-a_ts_type cn", 1, 1, Real);
  OK(CourantStepperComputePropagator(cn.stepper, 2, 3, matrices[0], G[0]));
  for (int m = 0; m < 2; m++) {
    for (int i = 0; i < 9; i++) left[i] = (i % 4 == 0 ? 1 : 0) - matrices[m][i] / 2;
    Multiply(3, left, G[m], product);
    for (int i = 0; i < 9; i++) NEAR(cabs(product[i] - (i % 4 == 0 ? 1 : 0) - matrices[m][i] / 2), 0, 1e-14);
  }
  Close(&cn);
}

/* The growth found by eigenvalues of A is the spectral radius of the stepped G. */
static void SpectralMapping(void **state)
{
  static const char *const options[] = {RK4, "-a_ts_type cn", "-a_ts_type rosw", "-a_ts_type arkimex"};

  (void)state;
  for (int c = 0; c < 4; c++) {
    Analysis a = Open(options[c], 1, 1, Real);
    PetscComplex G[9], lambda[3], R[3], rho[3];
    OK(CourantStepperComputePropagator(a.stepper, 1, 3, matrices[0], G));
    OK(CourantDenseEigenvalues(3, G, rho));
    OK(CourantDenseEigenvalues(3, matrices[0], lambda));
    OK(CourantStepperComputePropagator(a.stepper, 3, 1, lambda, R));
    for (int i = 0; i < 3; i++) {
      double nearest = INFINITY;
      for (int j = 0; j < 3; j++) nearest = fmin(nearest, cabs(R[i] - rho[j]));
      NEAR(nearest, 0, 1e-13);
    }
    Close(&a);
  }
}

/* ---- dense matrices ---- */

/*
  Upwind differences between walls, points in any order: one defective eigenvalue, which the QR algorithm
  alone scatters on a circle, and LAPACK's permutation finds.
*/
static void DefectiveMatrix(void **state)
{
  enum { M = 40 };
  PetscReal A[M * M] = {0}, residual[M], condition[M], norms[COURANT_POWERS];
  PetscComplex values[M];

  (void)state;
  for (int i = 0; i < M; i++) {
    const int here = 7 * i % M, before = 7 * (i + M - 1) % M;
    A[here * M + here] = -0.5;
    if (i > 0) A[here * M + before] = 1;
    if (i > 1) A[here * M + 7 * (i + M - 2) % M] = -0.25;
  }
  OK(CourantDenseSpectrum(M, A, values, residual, condition));
  for (int i = 0; i < M; i++) {
    NEAR(cabs(values[i] + 0.5), 0, 1e-15);
    NEAR(residual[i], 0, 1e-14);
    assert_true(condition[i] > 1e10);
  }
  OK(CourantDensePowerNorms(M, A, norms));
  assert_true(norms[3] > 4); /* 0.5^4 by the eigenvalues, at most 1.75^4 as if there were no walls */
  assert_true(norms[3] <= pow(1.75, 4));
  BELOW(norms[COURANT_POWERS - 1], 1e-100);
}

/* Eigenvalues of a plane rotation and a triangular part, known; the condition of the triangle by hand. */
static void DenseSpectrum(void **state)
{
  const PetscReal A[16] = {0, -2, 0, 0, 2, 0, 0, 0, 0, 0, 1, 10, 0, 0, 0, 2};
  PetscReal residual[4], condition[4];
  PetscComplex values[4];
  const PetscComplex expected[4] = {2 * I, -2 * I, 1, 2};
  const double conditions[4] = {1, 1, sqrt(101), sqrt(101)}; /* y.x of (1, 0) and (1, -10) / sqrt(101) */

  (void)state;
  OK(CourantDenseSpectrum(4, A, values, residual, condition));
  for (int i = 0; i < 4; i++) {
    int found = 0;
    for (int j = 0; j < 4; j++) {
      if (cabs(values[j] - expected[i]) > 1e-14) continue;
      found++;
      NEAR(condition[j], conditions[i], 1e-12 * conditions[i]);
      NEAR(residual[j], 0, 1e-14);
    }
    assert_int_equal(found, 1);
  }
}

/* ---- optimisers ---- */

/* Larger roots of the recurrences: on the real axis the limits 2, 2 (1 + mu), (2 + 2 mu) / (1 + 2 mu); and
   for complex m the recurrence itself, stepped. */
static void Rules(void **state)
{
  const struct {
    const char *name;
    struct {
      double momentum;
      PetscBool nesterov;
    } options;
    double limit;
  } rules[] = {{"gd", {0, PETSC_FALSE}, 2},
               {"momentum", {0.9, PETSC_FALSE}, 3.8},
               {"momentum", {0.9, PETSC_TRUE}, 3.8 / 2.8}};

  (void)state;
  for (size_t k = 0; k < sizeof rules / sizeof *rules; k++) {
    const double mu = rules[k].options.momentum;
    for (int r = 0; r < CourantRuleCount; r++) {
      const CourantRuleOps *rule = CourantRule(r);
      if (strcmp(rule->name, rules[k].name)) continue;
      BELOW(rule->Growth(&rules[k].options, 1, rules[k].limit * (1 - 1e-9)), 1 + 1e-12);
      assert_true(rule->Growth(&rules[k].options, 1, rules[k].limit * (1 + 1e-6)) > 1 + 1e-8);
      const double complex m = 1.1 - 0.7 * I;
      double complex theta = 1, v = 0;
      double size = 0;
      for (int step = 0; step < 400; step++) { /* as rules/momentum.c steps, of a quadratic */
        v = mu * v + m * theta;
        theta -= rules[k].options.nesterov ? m * theta + mu * v : v;
        if (step == 199) size = cabs(theta) + cabs(v);
        if (step == 199) theta /= size, v /= size;
      }
      const double growth = pow(cabs(theta) + cabs(v), 1. / 200);
      NEAR(rule->Growth(&rules[k].options, 1, m), growth, 0.01);
    }
  }
}

/* ---- the region of absolute stability ---- */

/* As it stands in a result file: |R(z)| of RK4 by its Taylor polynomial; of gradient descent |1 + z|. */
static void Region(void **state)
{
  enum { NR = 7, NI = 5 };
  const CourantRuleOps *rule = NULL;

  (void)state;
  for (int r = 0; r < CourantRuleCount; r++)
    if (!strcmp(CourantRule(r)->name, "gd")) rule = CourantRule(r);
  for (int by_rule = 0; by_rule < 2; by_rule++) {
    Analysis a = Open(RK4 " -window -3,1,-2,3 -window_points 7x5", 1, 1, Real);
    CourantStabilityRegion region = {.quiet = PETSC_TRUE};
    CourantResult file;
    double magnitude[NI * NR], re[NR], im[NI];
    char *stepper;
    OK(CourantStabilityRegionSetFromOptions(&region));
    OK(CourantResultCreate(&file));
    OK(CourantStabilityRegionWrite(&region, by_rule ? NULL : a.stepper, rule, NULL, file));
    OK(CourantResultRead(file, "/stability_function/real", COURANT_RESULT_REAL, NR, re));
    OK(CourantResultRead(file, "/stability_function/imaginary", COURANT_RESULT_REAL, NI, im));
    OK(CourantResultRead(file, "/stability_function/magnitude", COURANT_RESULT_REAL, NR * NI, magnitude));
    OK(CourantResultGetString(file, "/stability_function", "stepper", &stepper));
    assert_string_equal(stepper, by_rule ? "gd" : "rk");
    OK(PetscFree(stepper));
    NEAR(re[0], -3, 0);
    NEAR(re[NR - 1], 1, 1e-15);
    NEAR(im[0], -2, 0);
    NEAR(im[NI - 1], 3, 1e-15);
    for (int i = 0; i < NI * NR; i++) {
      const double complex z = re[i % NR] + I * im[i / NR];
      const double complex R = by_rule ? 1 + z : 1 + z * (1 + z / 2 * (1 + z / 3 * (1 + z / 4)));
      NEAR(magnitude[i], cabs(R), 1e-14 * (1 + cabs(R)));
    }
    OK(CourantResultDestroy(&file));
    Close(&a);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Limits),          cmocka_unit_test(GrowingFlow),
    cmocka_unit_test(Waves),           cmocka_unit_test(DoubleEigenvalues),
    cmocka_unit_test(Multistep),       cmocka_unit_test(MatrixPropagators),
    cmocka_unit_test(SpectralMapping), cmocka_unit_test(DefectiveMatrix),
    cmocka_unit_test(DenseSpectrum),   cmocka_unit_test(Rules),
    cmocka_unit_test(Region),
};

TEST_MAIN(tests)
