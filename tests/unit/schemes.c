/* Linear PDE schemes: symbols, matrices and measured growth against closed forms; orders of stencils. */
#include "check.h"
#include "dynamics/linear.h"
#include "pde/stencil.h"
#include "stability/modes.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  CourantDeck deck;
  CourantScheme scheme;
} Opened;

static void Open(const char *pde, const char *stepper, Opened *o)
{
  char text[2048];

  snprintf(text, sizeof text, "pde: {%s}\nstepper: {%s}\n", pde, stepper);
  OK(CourantDeckParse(PETSC_COMM_SELF, text, NULL, &o->deck));
  OK(CourantSchemeCreate(PETSC_COMM_SELF, o->deck, &o->scheme));
}

static void Close(Opened *o)
{
  OK(CourantSchemeDestroy(&o->scheme));
  OK(CourantDeckDestroy(&o->deck));
}

/* ---- amplification factors ---- */

/* The spacing of all cases is 0.5 along x, 0.25 along y. */
#define H  0.5
#define HY 0.25

static double complex EulerHeat(double y, double x)
{
  (void)y;
  return 1 - 4 * 0.1 * pow(sin(x / 2), 2) / (H * H);
}

static double complex EulerHeat2(double y, double x)
{
  return 1 - 4 * 0.01 * (pow(sin(x / 2) / H, 2) + pow(sin(y / 2) / HY, 2));
}

static double complex Upwind(double y, double x)
{
  const double nu = 0.3 / H;
  (void)y;
  return 1 - nu * (1 - cexp(-I * x));
}

static double complex Downstream(double y, double x)
{
  const double nu = 0.3 / H;
  (void)y;
  return 1 + nu * (cexp(I * x) - 1);
}

static double complex Advection(double y, double x)
{
  (void)y;
  return -I * sin(x) / H;
}

static double complex EulerAdvection(double y, double x)
{
  return 1 + 0.3 * Advection(y, x);
}

static double complex Rk4Advection(double y, double x)
{
  const double complex z = 0.6 * Advection(y, x);
  return 1 + z * (1 + z / 2 * (1 + z / 3 * (1 + z / 4)));
}

static double complex LaxWendroff(double y, double x)
{
  const double nu = 0.3 / H;
  (void)y;
  return 1 - I * nu * sin(x) - nu * nu * (1 - cos(x));
}

/* With coefficients -1 along x and 2 along y. */
static double complex LaxWendroff2(double y, double x)
{
  const double a = -0.05 / H, b = 2 * 0.05 / HY;
  return 1 + I * (a * sin(x) + b * sin(y)) - a * a * (1 - cos(x)) - b * b * (1 - cos(y)) -
         a * b * sin(x) * sin(y);
}

static double complex Cn(double y, double x)
{
  const double complex z = -4 * 2 * pow(sin(x / 2) / H, 2);
  (void)y;
  return (1 + z / 2) / (1 - z / 2);
}

static double complex FourthOrder(double y, double x)
{
  const double s = 4 * pow(sin(x / 2) / H, 2);
  (void)y;
  return 1 / (1 - 0.1 * (s - s * s));
}

/* u_t = v_x, v_t = u_x: eigenvalues +-i sin(x) / H, of equal size. */
static double complex Wave(double y, double x)
{
  return Rk4Advection(y, x);
}

/* u_t = -u_x + 2 v_x, v_t = -2 v_x by Lax and Wendroff: triangular, so that the factors are those of -1 and
 * -2. */
static double complex System(double y, double x)
{
  const double nu = 0.1 / H;
  (void)y;
  const double complex one = 1 - I * nu * sin(x) - nu * nu * (1 - cos(x));
  const double complex two = 1 - I * 2 * nu * sin(x) - 4 * nu * nu * (1 - cos(x));
  return cabs(one) > cabs(two) ? one : two;
}

typedef struct {
  const char *pde, *stepper;
  double complex (*G)(double y, double x);
  int kind; /* 1: one field and Euler's step, so that G itself is 1 + dt A */
} Case;

#define ONE "points: 24, spacing: 0.5, "
#define TWO "dimension: 2, points: [9, 12], spacing: [0.25, 0.5], "

static const Case cases[] = {
    {ONE "terms: [{derivative: laplacian}]", "step: 0.1", EulerHeat, 1},
    {ONE "terms: [{derivative: dxx, offsets: [-1, 0, 1], weights: [1/dx^2, -2/dx^2, 1/dx^2]}]", "step: 0.1",
     EulerHeat, 1},
    {TWO "terms: [{derivative: laplacian}]", "step: 0.01", EulerHeat2, 1},
    {TWO "terms: [{offsets: [[0, 1], [0, 0], [0, -1]], weights: [4, -8, 4]}, {derivative: dyy}]",
     "step: 0.01", EulerHeat2, 1},
    {ONE "terms: [{coefficient: -1, derivative: dx, scheme: upwind}]", "step: 0.3", Upwind, 1},
    {ONE "terms: [{coefficient: 1, derivative: dx, scheme: upwind}]", "step: 0.3", Downstream, 1},
    {ONE "terms: [{coefficient: -1, derivative: dx}]", "step: 0.3", EulerAdvection, 1},
    {ONE "terms: [{coefficient: -1, derivative: dx}]", "step: 0.3, type: lax_wendroff", LaxWendroff, 1},
    {ONE "terms: [{coefficient: -1, derivative: dx, offsets: [-1, 0, 1], weights: [-1/(2*dx) + "
         "c*dt/(2*dx^2), -c*dt/dx^2, 1/(2*dx) + c*dt/(2*dx^2)]}]",
     "step: 0.3, type: euler", LaxWendroff, 1},
    {ONE "terms: [{coefficient: -1, derivative: dx}, {coefficient: dt/2, derivative: dxx}]", "step: 0.3",
     LaxWendroff, 1},
    {TWO "terms: [{coefficient: -1, derivative: dx}, {coefficient: 2, derivative: dy}]",
     "step: 0.05, type: lax_wendroff", LaxWendroff2, 1},
    {ONE "terms: [{coefficient: -1, derivative: dx}]", "step: 0.6, type: rk, options: -ts_rk_type 4",
     Rk4Advection, 0},
    {ONE "terms: [{derivative: dxx}]", "step: 2, type: cn", Cn, 0},
    {ONE "terms: [{coefficient: -1, derivative: dxx}, {coefficient: -1, derivative: dxxxx}]",
     "step: 0.1, type: beuler", FourthOrder, 0},
    {ONE "fields: 2, terms: [{matrix: [[0, 1], [1, 0]], derivative: dx}]",
     "step: 0.6, type: rk, options: -ts_rk_type 4", Wave, 0},
    {ONE "fields: 2, terms: [{matrix: [[-1, 2], [0, -2]], derivative: dx}]", "step: 0.1, type: lax_wendroff",
     System, 0},
};

static void Factors(void **state)
{
  (void)state;
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    Opened o;
    if (!cases[c].kind) continue;
    Open(cases[c].pde, cases[c].stepper, &o);
    assert_string_equal(o.scheme->type, TSEULER);
    for (double y = -3; y < 3; y += 0.7)
      for (double x = -3.1; x < 3.1; x += 0.45) {
        double complex symbol;
        CourantSchemeSymbol(o.scheme, o.scheme->step, (double[]){y, x}, &symbol);
        NEAR(cabs(1 + o.scheme->step * symbol - cases[c].G(y, x)), 0, 1e-13);
      }
    Close(&o);
  }
}

/* Any system: the symbol is the matrix times the number of the stencil. */
static void WaveSymbol(void **state)
{
  Opened o;
  double complex symbol[4];

  (void)state;
  Open(ONE "fields: 2, terms: [{matrix: [[0, 1], [3, 0]], derivative: dx}, {coefficient: -dx, derivative: "
           "identity}]",
       "step: 0.1", &o);
  CourantSchemeSymbol(o.scheme, 0, (double[]){0, 0.7}, symbol);
  NEAR(cabs(symbol[0] + H), 0, 1e-15);
  NEAR(cabs(symbol[1] - I * sin(0.7) / H), 0, 1e-15);
  NEAR(cabs(symbol[2] - 3 * I * sin(0.7) / H), 0, 1e-14);
  NEAR(cabs(symbol[3] + H), 0, 1e-15);
  Close(&o);
}

/*
  Growth of every frequency of runs by TS, by their Fourier transforms. 1e-9: modes stand above 1e-6 of the
  largest, of which rounding is 1e-16, and the worst start of a system is some 100 from a dependent one.
*/
static void MeasuredGrowth(void **state)
{
  (void)state;
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    enum { STEPS = 40, MOST = 200 };
    Opened o;
    CourantModes modes;
    CourantLinear flow[2];
    Vec u[2];
    Mat A;
    double growth[MOST];
    const PetscScalar *array;
    int steps[MOST];
    OK(PetscOptionsClear(NULL));
    Open(cases[c].pde, cases[c].stepper, &o);
    OK(CourantSchemeApplyOptions(o.scheme));
    OK(CourantModesCreate(o.scheme, &modes));
    OK(CourantSchemeCreateMatrix(o.scheme, o.scheme->step, &A));
    for (PetscInt i = 0; i < o.scheme->fields; i++) {
      OK(MatCreateVecs(A, &u[i], NULL));
      OK(CourantSchemeGetInitialState(o.scheme, i, u[i]));
      OK(CourantLinearCreate(A, "flow_", &flow[i]));
      OK(CourantLinearSetFromOptions(flow[i]));
      OK(TSSetTimeStep(flow[i]->ts, o.scheme->step));
      OK(TSSetSolution(flow[i]->ts, u[i]));
    }
    for (PetscInt step = 0; step <= STEPS; step++) {
      for (PetscInt i = 0; i < o.scheme->fields; i++) {
        if (step) OK(TSStep(flow[i]->ts));
        OK(VecGetArrayRead(u[i], &array));
        OK(CourantModesRecord(modes, i, array));
        OK(VecRestoreArrayRead(u[i], &array));
      }
      OK(CourantModesKeep(modes, step));
    }
    OK(CourantModesGetGrowth(modes, growth, steps));
    for (PetscInt i = 0; i < o.scheme->points[0] * o.scheme->points[1]; i++) {
      const double y = CourantModesFrequency(i / o.scheme->points[1], o.scheme->points[0]),
                   x = CourantModesFrequency(i % o.scheme->points[1], o.scheme->points[1]);
      assert_true(steps[i] >= 1);
      NEAR(growth[i], cabs(cases[c].G(y, x)), 1e-9);
    }
    for (PetscInt i = 0; i < o.scheme->fields; i++) {
      OK(CourantLinearDestroy(&flow[i]));
      OK(VecDestroy(&u[i]));
    }
    OK(MatDestroy(&A));
    OK(CourantModesDestroy(&modes));
    Close(&o);
  }
  OK(PetscOptionsClear(NULL));
}

/* ---- matrices ---- */

/* The matrix on e^{i phase . x} in one field is the symbol's column, whatever the stencil. */
static void PeriodicMatrix(void **state)
{
  Opened o;
  Mat A;
  Vec in[2], out[2];

  (void)state;
  Open("dimension: 2, points: [7, 10], spacing: [0.25, 0.5], fields: 2, terms: [{matrix: [[1, -2], [0.5, "
       "3]], derivative: dxdy}, {coefficient: 2, offsets: [[0, 0], [1, -2], [-3, 4]], weights: [1, dy, "
       "1/dx]}, {coefficient: -0.3, derivative: bilaplacian, scheme: centred4}]",
       "step: 1", &o);
  OK(CourantSchemeCreateMatrix(o.scheme, 1, &A));
  for (int k = 0; k < 2; k++) {
    OK(MatCreateVecs(A, &in[k], NULL));
    OK(VecDuplicate(in[k], &out[k]));
  }
  for (int ky = 0; ky < 7; ky++)
    for (int kx = 0; kx < 10; kx++)
      for (int field = 0; field < 2; field++) {
        const double phase[2] = {2 * M_PI * ky / 7, 2 * M_PI * kx / 10};
        double complex symbol[4];
        PetscScalar *re, *im;
        for (int k = 0; k < 2; k++) {
          OK(VecZeroEntries(in[k]));
          OK(VecGetArray(in[k], &re));
          for (int i = 0; i < 70; i++) {
            const double angle = phase[0] * (i / 10) + phase[1] * (i % 10);
            re[2 * i + field] = k ? sin(angle) : cos(angle);
          }
          OK(VecRestoreArray(in[k], &re));
          OK(MatMult(A, in[k], out[k]));
        }
        CourantSchemeSymbol(o.scheme, 1, phase, symbol);
        OK(VecGetArray(out[0], &re));
        OK(VecGetArray(out[1], &im));
        for (int i = 0; i < 70; i++)
          for (int to = 0; to < 2; to++) {
            const double complex wave = cexp(I * (phase[0] * (i / 10) + phase[1] * (i % 10)));
            NEAR(cabs(re[2 * i + to] + I * im[2 * i + to] - symbol[2 * to + field] * wave), 0, 1e-10);
          }
        OK(VecRestoreArray(out[0], &re));
        OK(VecRestoreArray(out[1], &im));
      }
  for (int k = 0; k < 2; k++) {
    OK(VecDestroy(&in[k]));
    OK(VecDestroy(&out[k]));
  }
  OK(MatDestroy(&A));
  Close(&o);
}

/* Every mode k of the grid is an eigenvector with the eigenvalue -4 sin^2(angle / 2) / h^2. */
static void CheckEigenvectors(const char *boundary, int first, int n, double (*Angle)(int k, int n))
{
  for (int k = first; k < first + n; k++) {
    char pde[256];
    Opened o;
    Mat A;
    Vec u, Au;
    PetscReal norm;
    snprintf(pde, sizeof pde,
             "points: %d, spacing: 0.5, boundary: %s, terms: [{derivative: laplacian}], initial: {mode: %d}",
             n, boundary, k);
    Open(pde, "step: 0.1", &o);
    OK(CourantSchemeCreateMatrix(o.scheme, 0.1, &A));
    OK(MatCreateVecs(A, &u, &Au));
    OK(CourantSchemeGetInitialState(o.scheme, 0, u));
    OK(VecNorm(u, NORM_2, &norm));
    assert_true(norm > 1);
    OK(MatMult(A, u, Au));
    OK(VecAXPY(Au, 4 * pow(sin(Angle(k, n) / 2) / 0.5, 2), u));
    OK(VecNorm(Au, NORM_2, &norm));
    BELOW(norm, 1e-12);
    OK(VecDestroy(&u));
    OK(VecDestroy(&Au));
    OK(MatDestroy(&A));
    Close(&o);
  }
}

static double DirichletAngle(int k, int n)
{
  return M_PI * k / (n + 1);
}

static double NeumannAngle(int k, int n)
{
  return M_PI * k / n;
}

static void Boundaries(void **state)
{
  (void)state;
  CheckEigenvectors("dirichlet", 1, 31, DirichletAngle);
  CheckEigenvectors("neumann", 0, 31, NeumannAngle);
}

/* Mirrored beyond its ends the laplacian keeps the sum, in two dimensions and with wide stencils, too. */
static void NeumannKeepsSum(void **state)
{
  static const char *const terms[] = {"{derivative: laplacian}", "{derivative: laplacian, scheme: centred4}",
                                      "{derivative: bilaplacian}"};

  (void)state;
  for (int t = 0; t < 3; t++) {
    char pde[256];
    Opened o;
    Mat A;
    Vec ones, sums;
    PetscReal largest;
    snprintf(pde, sizeof pde,
             "dimension: 2, points: [4, 6], spacing: [0.25, 0.5], boundary: neumann, terms: [%s]", terms[t]);
    Open(pde, "step: 0.1", &o);
    OK(CourantSchemeCreateMatrix(o.scheme, 0.1, &A));
    OK(MatCreateVecs(A, &ones, &sums));
    OK(VecSet(ones, 1));
    OK(MatMultTranspose(A, ones, sums));
    OK(VecNorm(sums, NORM_INFINITY, &largest));
    BELOW(largest, 1e-10);
    OK(VecDestroy(&ones));
    OK(VecDestroy(&sums));
    OK(MatDestroy(&A));
    Close(&o);
  }
}

/* ---- orders ---- */

/* Derivative (y, x) of sin(x + 0.7) e^{0.8 y} at 0. */
static double Smooth(int y, int x)
{
  return sin(0.7 + x * M_PI / 2) * pow(0.8, y);
}

static double Exact(const char *derivative)
{
  if (!strcmp(derivative, "identity")) return Smooth(0, 0);
  if (!strcmp(derivative, "laplacian")) return Smooth(0, 2) + Smooth(2, 0);
  if (!strcmp(derivative, "bilaplacian")) return Smooth(0, 4) + 2 * Smooth(2, 2) + Smooth(4, 0);
  if (!strcmp(derivative, "dxdy")) return Smooth(1, 1);
  const int order = (int)strlen(derivative) - 1;
  return derivative[1] == 'x' ? Smooth(0, order) : Smooth(order, 0);
}

static double Error(const char *derivative, const char *scheme, double coefficient, double h)
{
  CourantStencil s;
  double sum = 0;

  assert_true(CourantStencilGet(2, derivative, scheme, (double[]){h, h}, coefficient, &s));
  for (int j = 0; j < s.n; j++)
    sum += s.weight[j] * sin(0.7 + h * s.offset[j][1]) * exp(0.8 * h * s.offset[j][0]);
  return fabs(sum - Exact(derivative));
}

/* Errors of every stencil with a name fall as its order says, and its moments find the same order. */
static void Orders(void **state)
{
  static const double order[] = {2, 4, 1, 2, 3};
  const char *derivatives[16];
  const int n = CourantStencilDerivatives(2, derivatives);
  int found = 0;

  (void)state;
  for (int d = 0; d < n; d++)
    for (int s = 0; s < CourantStencilSchemeCount; s++)
      for (int sign = -1; sign <= 1; sign += 2) {
        const char *scheme = CourantStencilSchemes[s];
        CourantStencil stencil;
        CourantApproximation what;
        if (!CourantStencilGet(2, derivatives[d], scheme, (double[]){0.1, 0.1}, sign, &stencil)) continue;
        found++;
        CourantStencilIdentify(&stencil, (double[]){0.1, 0.1}, NULL, &what);
        assert_true(CourantApproximationIs(&what, 2, derivatives[d]));
        if (!strcmp(derivatives[d], "identity")) {
          assert_true(isinf(what.order));
          continue;
        }
        assert_true(what.order == order[s]);
        NEAR(log2(Error(derivatives[d], scheme, sign, 0.1) / Error(derivatives[d], scheme, sign, 0.05)),
             order[s], 0.15);
      }
  /* twelve derivatives by both centred schemes, dx and dy by three upwind ones; two signs */
  assert_int_equal(found, 2 * (12 * 2 + 2 * 3));
}

typedef struct {
  const char *term, *warning; /* "": none */
} Claim;

static const Claim claims[] = {
    {"{derivative: dxx}", ""},
    {"{derivative: dxx, offsets: [-1, 0, 1], weights: [1/dx^2, -2/dx^2, 1/dx^2]}", ""},
    {"{derivative: dxx, offsets: [-1, 0, 1], weights: [4, -8, 4]}", ""}, /* meant for this spacing */
    {"{derivative: dxx, offsets: [-1, 0, 1], weights: [1, -2, 1]}",
     "claims dxx, but is consistent with 0.25 dxx of order 2"},
    {"{derivative: dxx, offsets: [-1, 1], weights: [-1/(2*dx), 1/(2*dx)]}",
     "claims dxx, but is consistent with dx of order 2"},
    {"{derivative: dx, offsets: [0, 1], weights: [-1/dx, 1/dx]}", ""},
    {"{derivative: dx, offsets: [1, 0, -1], weights: [1/dx^2, -2/dx^2, 1/dx^2]}",
     "claims dx, but is consistent with dxx of order 2"},
    {"{derivative: dx, offsets: [-1, 1], weights: [-1/dx^2, 1/dx^2]}",
     "claims dx, but is consistent with no derivative"}, /* 2 u_x / dx */
    {"{derivative: dx, offsets: [0], weights: [0]}", "claims dx, but is consistent with no derivative"},
    {"{derivative: dxx, offsets: [-1, 0, 1], weights: [1/dx^2 - 1/dx, -2/dx^2, 1/dx^2 + 1/dx]}",
     "claims dxx, but is consistent with 2 dx + dxx of order 2"},
    {"{derivative: identity, offsets: [-1, 1], weights: [0.5, 0.5]}", ""},
    {"{coefficient: -1, derivative: dx, offsets: [-1, 0, 1], weights: [-1/(2*dx) + c*dt/(2*dx^2), "
     "-c*dt/dx^2, 1/(2*dx) + c*dt/(2*dx^2)]}",
     ""},
    {"{derivative: dx, offsets: [0, 1], weights: [-1/dt, 1/dt]}",
     "claims dx, but is consistent with none as dt goes to 0: the weights have no limit"},
    {"{coefficient: -1/dx, derivative: dx, offsets: [0, 1], weights: [c, -c]}", ""},
};

static void Claims(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
    char pde[512], said[512] = "";
    Opened o;
    FILE *out = tmpfile();
    snprintf(pde, sizeof pde, ONE "terms: [%s]", claims[i].term);
    Open(pde, "step: 0.1", &o);
    OK(CourantSchemeCheckConsistency(o.scheme, out));
    rewind(out);
    if (fgets(said, sizeof said, out)) said[strcspn(said, "\n")] = 0;
    fclose(out);
    const char *found = strstr(said, "claims");
    if (strcmp(found ? found : "", claims[i].warning))
      fail_msg("%s: '%s', expected '%s'", claims[i].term, said, claims[i].warning);
    Close(&o);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Factors),        cmocka_unit_test(WaveSymbol), cmocka_unit_test(MeasuredGrowth),
    cmocka_unit_test(PeriodicMatrix), cmocka_unit_test(Boundaries), cmocka_unit_test(NeumannKeepsSum),
    cmocka_unit_test(Orders),         cmocka_unit_test(Claims),
};

TEST_MAIN(tests)
