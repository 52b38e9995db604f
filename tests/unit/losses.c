/* The losses on jets against Cauchy integrals in extended precision, far out, and what they refuse. */
#define COURANT_BITS 64 /* single precision: tests/unit/layers.c */
#define COURANT_ISA  baseline
#include "numerics.h"
#include "net/layerops.h"
#include <complex.h>

enum { JET = COURANT_ORDER_MAX + 1, OUTPUTS = 5, SAMPLES = 2, LENGTH = SAMPLES * OUTPUTS };

typedef long double complex Number;

/* l(p) of a sample, and its gradient, where p and so both are complex. */
typedef Number Loss(int outputs, const Number p[], const double label[], Number gradient[]);

static Number Softmax(int outputs, const Number p[], const double label[], Number gradient[])
{
  const int y = (int)label[0];
  Number sum = 0, top = creall(p[0]);

  for (int i = 0; i < outputs; i++) top = fmaxl(creall(top), creall(p[i]));
  for (int i = 0; i < outputs; i++) sum += cexpl(p[i] - top);
  for (int i = 0; i < outputs; i++) gradient[i] = cexpl(p[i] - top) / sum - (i == y);
  return clogl(sum) + top - p[y];
}

static Number Distance2(int outputs, const Number p[], const double target[], Number gradient[])
{
  Number sum = 0;

  for (int i = 0; i < outputs; i++) {
    gradient[i] = p[i] - target[i];
    sum += gradient[i] * gradient[i] / 2;
  }
  return sum;
}

static Number SquaredClass(int outputs, const Number p[], const double label[], Number gradient[])
{
  double target[OUTPUTS] = {0};
  target[(int)label[0]] = 1;
  return Distance2(outputs, p, target, gradient);
}

static Number Logistic(int outputs, const Number p[], const double label[], Number gradient[])
{
  (void)outputs;
  gradient[0] = 1 / (1 + cexpl(-p[0])) - label[0];
  return clogl(1 + cexpl(-p[0])) + (1 - label[0]) * p[0];
}

typedef struct {
  const char *name;
  int outputs, width;
  Loss *Function;
} Case;

static const Case cases[] = {
    {"logistic", 1, 1, Logistic},
    {"softmax", 2, 1, Softmax},
    {"softmax", OUTPUTS, 1, Softmax},
    {"squared", OUTPUTS, 1, SquaredClass},
    {"squared", OUTPUTS, OUTPUTS, Distance2},
    {"squared", 1, 1, Distance2},
};
enum { CASES = sizeof cases / sizeof *cases };

static int Find(const char *name)
{
  int loss = 0;
  while (strcmp(CourantLossType(loss)->name, name)) loss++;
  return loss;
}

typedef struct {
  double p[JET][LENGTH], dp[JET][LENGTH], loss[JET], labels[LENGTH];
} Numbers;

static void Run(const CourantBackend *backend, const Case *c, int from, double scale, Numbers *f)
{
  CourantLossCall call = {.n = SAMPLES,
                          .outputs = c->outputs,
                          .width = c->width,
                          .from = from,
                          .order = JET - 1,
                          .labels = f->labels,
                          .scale = scale,
                          .loss = f->loss};

  for (int k = 0; k < JET; k++) {
    call.p.c[k] = f->p[k];
    call.dp.c[k] = f->dp[k];
  }
  backend->losses[Find(c->name)]->Run(&call);
}

/*
  Coefficient k of an analytic function of e is the mean of f(e) e^-k over a circle: POINTS of them leave an
  error of (RADIUS / that of convergence)^POINTS.
*/
enum { POINTS = 48 };
static const long double RADIUS = 0.25;

static void Expected(const Case *c, const Numbers *f, long double loss[JET], long double dp[JET][LENGTH])
{
  for (int point = 0; point < POINTS; point++) {
    const Number e = RADIUS * cexpl(2 * acosl(-1) * I * point / POINTS);
    for (int sample = 0; sample < SAMPLES; sample++) {
      Number p[OUTPUTS], gradient[OUTPUTS], power = 1.L / POINTS;
      for (int i = 0; i < c->outputs; i++) {
        const int at = sample * c->outputs + i;
        p[i] = f->p[0][at] + e * (f->p[1][at] + e * (f->p[2][at] + e * f->p[3][at]));
      }
      const Number value = c->Function(c->outputs, p, f->labels + sample * c->width, gradient);
      for (int k = 0; k < JET; k++, power /= e) {
        loss[k] += creall(value * power);
        for (int i = 0; i < c->outputs; i++) dp[k][sample * c->outputs + i] += creall(gradient[i] * power);
      }
    }
  }
}

static void CompareJets(const CourantBackend *backend)
{
  for (int j = 0; j < CASES; j++) {
    const Case *c = &cases[j];
    Numbers f = {.loss = {10, 20, 30, 40}};
    long double loss[JET] = {0}, dp[JET][LENGTH] = {{0}};
    for (int k = 0; k < JET; k++)
      for (int i = 0; i < LENGTH; i++) f.p[k][i] = sin(5 * i + 3 * k + j);
    for (int i = 0; i < LENGTH; i++) f.labels[i] = c->width > 1 ? cos(i) : i % PetscMax(c->outputs, 2);
    Expected(c, &f, loss, dp);
    Run(backend, c, 0, 0.5, &f);
    for (int k = 0; k < JET; k++) {
      NEAR(f.loss[k], (double)loss[k] + 10 * (k + 1), 2e-14);
      for (int i = 0; i < SAMPLES * c->outputs; i++) NEAR(f.dp[k][i], 0.5 * (double)dp[k][i], 4e-15);
    }
    /* From coefficient 1 on, the same numbers and nothing else. */
    Numbers again = f;
    memset(again.loss, 0, sizeof again.loss);
    memset(again.dp[1], 0, sizeof again.dp - sizeof again.dp[0]);
    again.dp[0][0] = 77;
    Run(backend, c, 1, 0.5, &again);
    assert_true(again.loss[0] == 0 && again.dp[0][0] == 77);
    for (int k = 1; k < JET; k++) NEAR(again.loss[k], (double)loss[k], 2e-14);
    assert_memory_equal(again.dp[1], f.dp[1], sizeof f.dp - sizeof f.dp[0]);
  }
}

static void Jets(void **state)
{
  (void)state;
  ForEveryBackend(64, CompareJets);
}

/* Outputs far apart neither overflow nor lose the digits of a loss near 0 or of its gradient. */
static void CompareFar(const CourantBackend *backend)
{
  static const Case softmax = {"softmax", 2, 1, Softmax};
  const double q = exp(-50) / (1 + exp(-50));
  Numbers f = {.p = {{1e4, -1e4, 100, 50}, {1, 2, 3, 5}}, .labels = {1, 0}};

  Run(backend, &softmax, 0, 1, &f);
  NEAR(f.loss[0], 2e4, 0);
  NEAR(f.loss[1], -1 + 2 * q, 1e-16);
  for (int k = 0; k < JET; k++)
    for (int i = 0; i < 2; i++) NEAR(f.dp[k][i], k ? 0 : i ? -1 : 1, 0);
  NEAR(f.dp[0][2], -q, 1e-14 * q);
  NEAR(f.dp[0][3], q, 1e-14 * q);
  NEAR(f.dp[1][3], 2 * q * (1 - q), 1e-14 * q); /* q' = q (1 - q) (p_1 - p_0)' */
  NEAR(f.dp[1][2], -2 * q * (1 - q), 1e-14 * q);

  f = (Numbers){.p = {{100, 50, 1e4, -1e4}}, .labels = {0, 0}};
  Run(backend, &softmax, 0, 1, &f);
  NEAR(f.loss[0], log1p(exp(-50)), 1e-14 * q);

  f = (Numbers){.p = {{1, NAN, 0, 0}}, .labels = {0, 0}};
  Run(backend, &softmax, 0, 1, &f);
  assert_true(isnan(f.loss[0]) && isnan(f.dp[0][0]));
}

static void Far(void **state)
{
  (void)state;
  ForEveryBackend(64, CompareFar);
}

static void Labels(void **state)
{
  static const struct {
    const char *loss;
    int outputs, width, sample; /* sample: the one at fault, -1: none in particular, 3: none */
    double labels[3];
    const char *expected;
  } checks[] = {
      {"softmax", 1, 1, -1, {0}, "the softmax loss needs a network with two outputs or more"},
      {"softmax", 3, 3, -1, {0}, "the softmax loss needs one label per sample"},
      {"softmax", 3, 1, 3, {0, 2, 1}, NULL},
      {"softmax",
       3,
       1,
       2,
       {0, 2, 3},
       "the softmax loss needs labels that are classes: 0, 1, .. below the number of outputs"},
      {"softmax",
       3,
       1,
       0,
       {-1},
       "the softmax loss needs labels that are classes: 0, 1, .. below the number of outputs"},
      {"softmax",
       3,
       1,
       1,
       {0, 0.5},
       "the softmax loss needs labels that are classes: 0, 1, .. below the number of outputs"},
      {"softmax",
       3,
       1,
       1,
       {0, NAN},
       "the softmax loss needs labels that are classes: 0, 1, .. below the number of outputs"},
      {"squared",
       3,
       2,
       -1,
       {0},
       "the squared loss needs a class per sample, or as many targets as the network has outputs"},
      {"squared",
       1,
       3,
       -1,
       {0},
       "the squared loss needs a class per sample, or as many targets as the network has outputs"},
      {"squared",
       2,
       1,
       1,
       {1, 2},
       "the squared loss needs labels that are classes: 0, 1, .. below the number of outputs"},
      {"squared", 1, 1, 2, {-0.5, 1e9, INFINITY}, "the squared loss needs targets that are finite"},
      {"squared", 1, 1, 3, {-0.5, 1e9, 3}, NULL},
  };
  (void)state;

  for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
    PetscInt sample = 77;
    const char *wrong =
        CourantLossType(Find(checks[i].loss))
            ->Check(checks[i].outputs, 3 / checks[i].width, checks[i].width, checks[i].labels, &sample);
    if (checks[i].expected)
      assert_string_equal(wrong, checks[i].expected);
    else
      assert_null(wrong);
    if (checks[i].expected) assert_int_equal(sample, checks[i].sample);
  }
}

static void Correct(void **state)
{
  static const struct {
    const char *loss;
    int outputs, width;
    double p[3], label[3];
    PetscBool correct;
  } checks[] = {
      {"softmax", 3, 1, {1, 3, 2}, {1}, PETSC_TRUE},
      {"softmax", 3, 1, {1, 3, 2}, {2}, PETSC_FALSE},
      {"softmax", 3, 1, {1, 3, 3}, {1}, PETSC_TRUE},
      {"softmax", 3, 1, {1, 3, 3}, {2}, PETSC_FALSE}, /* the first of equals */
      {"softmax", 3, 1, {NAN, 3, 2}, {1}, PETSC_FALSE},
      {"softmax", 3, 1, {NAN, NAN, NAN}, {0}, PETSC_FALSE},
      {"squared", 3, 1, {1, 3, 2}, {1}, PETSC_TRUE},
      {"squared", 3, 1, {1, 3, 2}, {0}, PETSC_FALSE},
      {"squared", 3, 3, {1, 3, 2}, {-5, -1, -2}, PETSC_TRUE},
      {"squared", 3, 3, {1, 3, 2}, {-1, -5, -2}, PETSC_FALSE},
      {"squared", 1, 1, {1.4}, {1}, PETSC_TRUE},
      {"squared", 1, 1, {1.6}, {1}, PETSC_FALSE},
      {"squared", 1, 1, {NAN}, {1}, PETSC_FALSE},
  };
  (void)state;

  for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
    assert_int_equal(CourantLossType(Find(checks[i].loss))
                         ->Correct(checks[i].outputs, checks[i].width, checks[i].p, checks[i].label),
                     checks[i].correct);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Jets),
    cmocka_unit_test(Far),
    cmocka_unit_test(Labels),
    cmocka_unit_test(Correct),
};

TEST_MAIN(tests)
