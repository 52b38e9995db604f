/* What linear theory knows of the update rules, against their own steps, LAPACK and SLEPc's PEP. */
#include "problem.h"
#include "stability/preconditioned.h"
#include "train/trainer.h"
#include <petscblaslapack.h>
#include <stdlib.h>

/* Rules by the names of option -rule, with their options, in double precision. */
static CourantTrainSettings Rule(const char *name, double momentum)
{
  CourantTrainSettings s = {0};

  OK(CourantTrainRead((CourantNode){0}, &s));
  OK(CourantTrainSetRule(&s, name));
  if (CourantRule(s.rule)->states == 1) *(double *)s.options = momentum; /* its first option */
  return s;
}

static const char *const names[] = {"gd", "momentum", "nesterov"};

/* Uniform in [from, to], the draw-th. */
static double Draw(uint32_t draw, double from, double to)
{
  double u;
  CourantRandomUniform((CourantRandom){.seed = 3, .purpose = COURANT_RANDOM_TEST, .index = draw}, 1, &u);
  return from + u * (to - from);
}

/* The step of (theta, velocity) on L = lambda theta^2 / 2, column by column, by the rule itself. */
static void StepMatrix(const CourantTrainSettings *s, double eta, double lambda, double alpha, double A[2][2])
{
  const CourantBackend *backend;
  const double mask = 1;

  OK(CourantBackendGet(PETSC_COMM_SELF, 64, NULL, &backend));
  for (int column = 0; column < 2; column++) {
    double state[2] = {column == 0, column == 1};
    const double gradient = lambda * state[0];
    CourantRuleFor(backend, s->rule)
        ->Step(&(CourantRuleCall){.options = s->options,
                                  .n = 1,
                                  .step = 2,
                                  .theta = &state[0],
                                  .state = {&state[1]},
                                  .gradient = &gradient,
                                  .mask = &mask,
                                  .learning_rate = eta,
                                  .weight_decay = alpha,
                                  .perturb = 1,
                                  .decoupled = s->decoupled});
    for (int row = 0; row < 2; row++) A[row][column] = state[row];
  }
}

/* Trace and determinant of the step itself, for random learning rates, eigenvalues and decays. */
static void Recurrences(void **state)
{
  (void)state;
  for (int i = 0; i < 200; i++) {
    const double eta = Draw(10 * i, 0.01, 3), lambda = Draw(10 * i + 1, -1, 3),
                 alpha = Draw(10 * i + 2, 0, 2);
    CourantTrainSettings s = Rule(names[1 + i % 2], Draw(10 * i + 3, 0, 1));
    double complex trace, determinant;
    double A[2][2];
    s.decoupled = i / 2 % 2 ? PETSC_TRUE : PETSC_FALSE;
    StepMatrix(&s, eta, lambda, alpha, A);
    CourantRule(s.rule)->Recurrence(s.options, eta, s.decoupled ? lambda : lambda + alpha,
                                    s.decoupled ? alpha : 0, &trace, &determinant);
    NEAR(creal(trace), A[0][0] + A[1][1], 1e-13 * 20);
    NEAR(creal(determinant), A[0][0] * A[1][1] - A[0][1] * A[1][0], 1e-13 * 20);
    NEAR(cimag(trace) + cimag(determinant), 0, 0);
    OK(CourantTrainReset(&s));
  }
}

/* Growth of a rule's mode, with the decay coupled or not. */
static double Growth(const CourantTrainSettings *s, double eta, double lambda, double alpha)
{
  return CourantRuleGrowth(CourantRule(s->rule), s->options, eta, s->decoupled ? lambda : lambda + alpha,
                           s->decoupled ? alpha : 0);
}

/*
  Limits of theory, and that growth passes 1 there and nowhere else: in the learning rate at the edge, in the
  eigenvalue where the state is no minimum of the objective at rest.
*/
static void Limits(void **state)
{
  const double mu = 0.9, alpha = 0.7, lambda = 1.3;
  const double expected[3][2] = {
      {2 / (lambda + alpha), 2 / (lambda + alpha)},
      {2 * (1 + mu) / (lambda + alpha), 2 * (1 + mu) / (lambda + (1 + mu) * alpha)},
      {2 * (1 + mu) / (1 + 2 * mu) / (lambda + alpha),
       2 * (1 + mu) / ((1 + 2 * mu) * lambda + (1 + mu) * alpha)}};

  (void)state;
  for (int r = 0; r < 3; r++)
    for (int decoupled = 0; decoupled < 2; decoupled++) {
      CourantTrainSettings s = Rule(names[r], mu);
      const CourantRuleOps *rule = CourantRule(s.rule);
      s.decoupled = decoupled && r ? PETSC_TRUE : PETSC_FALSE;
      const double limit =
          rule->Limit(s.options) / (lambda + CourantRuleEdgeDecay(rule, s.options, alpha, s.decoupled));
      const double rest = CourantRuleRest(rule, s.options, alpha, s.decoupled);
      NEAR(limit, expected[r][decoupled], 1e-14);
      NEAR(rest, s.decoupled ? (1 - mu) * alpha : alpha, 1e-16);
      NEAR(CourantRuleSharpnessLimit(rule, s.options, limit, alpha, s.decoupled), lambda, 1e-13);
      for (int i = 1; i < 200; i++) {
        const double eta = limit * i / 100;
        assert_int_equal(Growth(&s, eta, lambda, alpha) < 1 - 1e-12, i < 100);
        assert_int_equal(Growth(&s, 0.3 * limit, -rest - 0.01 * i, alpha) > 1, 1);
        assert_int_equal(Growth(&s, 0.3 * limit, -rest + 0.001 * i, alpha) < 1, 1);
      }
      OK(CourantTrainReset(&s));
    }
}

/* Growth falls and then rises with the eigenvalue: the extremes of a spectrum decide. */
static void FallAndRise(void **state)
{
  (void)state;
  for (int i = 0; i < 100; i++) {
    CourantTrainSettings s = Rule(names[i % 3], Draw(5 * i, 0, 0.99));
    const double alpha = Draw(5 * i + 1, 0, 4);
    PetscBool rising = PETSC_FALSE;
    s.decoupled = i / 3 % 2 && i % 3 ? PETSC_TRUE : PETSC_FALSE;
    double before = INFINITY;
    for (double lambda = -6; lambda < 6; lambda += 0.01) {
      const double growth = Growth(&s, 1, lambda, alpha);
      if (growth > before + 1e-12) rising = PETSC_TRUE;
      if (rising && growth < before - 1e-12)
        fail_msg("%s, decay %g: growth falls again at %g", names[i % 3], alpha, lambda);
      before = growth;
    }
    OK(CourantTrainReset(&s));
  }
}

/* Transient growth by brute force: singular values, from LAPACK, of thousands of powers. */
static void Transients(void **state)
{
  (void)state;
  for (int i = 0; i < 40; i++) {
    CourantTrainSettings s = Rule(names[1 + i % 2], 0.9);
    const double eta = Draw(3 * i, 0.01, 1), lambda = Draw(3 * i + 1, 0.1, 3),
                 alpha = Draw(3 * i + 2, 0, 0.5);
    double complex t, d;
    double power[4] = {1, 0, 0, 1}, largest = 0;
    s.decoupled = i / 2 % 2 ? PETSC_TRUE : PETSC_FALSE;
    const double m = s.decoupled ? lambda : lambda + alpha, decay = s.decoupled ? alpha : 0;
    const double transient = CourantRuleTransientGrowth(CourantRule(s.rule), s.options, eta, m, decay);
    if (Growth(&s, eta, lambda, alpha) > 1) {
      assert_true(isinf(transient));
      OK(CourantTrainReset(&s));
      continue;
    }
    CourantRule(s.rule)->Recurrence(s.options, eta, m, decay, &t, &d);
    for (int n = 0; n < 3000; n++) {
      double copy[4], sigma[2], work[64];
      PetscBLASInt two = 2, one = 1, lwork = 64, info;
      memcpy(copy, power, sizeof copy);
      LAPACKgesvd_("N", "N", &two, &two, copy, &two, sigma, NULL, &one, NULL, &one, work, &lwork, &info);
      largest = fmax(largest, sigma[0]);
      for (int c = 0; c < 2; c++) {
        const double x = power[2 * c], y = power[2 * c + 1];
        power[2 * c] = creal(t) * x - creal(d) * y;
        power[2 * c + 1] = x;
      }
    }
    NEAR(transient, largest, 1e-10 * largest);
    OK(CourantTrainReset(&s));
  }
}

/* ---- quadratic eigenproblems ---- */

/* All 2p roots of det(z^2 + z A1 + A0), by SLEPc's linearisation and LAPACK. */
static void SolvePEP(Mat A0, Mat A1, PetscInt p, PetscReal re[], PetscReal im[])
{
  Mat A[3] = {A0, A1};
  PetscInt converged;
  PEP pep;
  EPS eps;

  OK(MatDuplicate(A0, MAT_COPY_VALUES, &A[2]));
  OK(MatZeroEntries(A[2]));
  OK(MatShift(A[2], 1));
  OK(PEPCreate(PETSC_COMM_SELF, &pep));
  OK(PEPSetOperators(pep, 3, A));
  OK(PEPSetProblemType(pep, PEP_GENERAL));
  OK(PEPSetType(pep, PEPLINEAR));
  OK(PEPLinearSetExplicitMatrix(pep, PETSC_TRUE));
  OK(PEPLinearGetEPS(pep, &eps));
  OK(EPSSetType(eps, EPSLAPACK));
  OK(PEPSetDimensions(pep, 2 * p, PETSC_DEFAULT, PETSC_DEFAULT));
  OK(PEPSolve(pep));
  OK(PEPGetConverged(pep, &converged));
  assert_int_equal(converged, 2 * p);
  for (PetscInt i = 0; i < 2 * p; i++) OK(PEPGetEigenpair(pep, i, &re[i], &im[i], NULL, NULL));
  OK(PEPDestroy(&pep));
  OK(MatDestroy(&A[2]));
}

/* Each root of the recurrences is one of the pencil's, which no other takes. */
static void Match(PetscInt n, PetscReal re[], PetscReal im[], double complex root, double tolerance)
{
  PetscInt best = -1;
  double distance = INFINITY;

  for (PetscInt i = 0; i < n; i++)
    if (hypot(re[i] - creal(root), im[i] - cimag(root)) < distance) {
      best = i;
      distance = hypot(re[i] - creal(root), im[i] - cimag(root));
    }
  BELOW(distance, tolerance);
  re[best] = NAN;
}

/*
  Momentum and Nesterov of a two-layer network as quadratic eigenproblems with its dense Hessian. Decay is
  coupled, of kernels alone (a mask), or decoupled. Roots near a double one carry the square root of rounding.
*/
static void QuadraticEigenproblems(void **state)
{
  enum { COUPLED, MASKED, DECOUPLED };
  const double mu = 0.9, alpha = 0.05;

  (void)state;
  for (int way = COUPLED; way <= DECOUPLED; way++) {
    Fixture f;
    Mat H, shell, A0, A1;
    PetscReal *lambda, *re, *im;
    PetscBLASInt n, lwork = 4096, info;
    PetscScalar *array, work[4096];
    Mat copy;
    Open(&f, way == MASKED ? TWO_LAYERS_KERNEL_DECAY : TWO_LAYERS);
    OK(CourantProblemSetState(f.problem, f.theta, NULL, NULL));
    OK(CourantProblemCreateHessian(f.problem, &shell));
    OK(CourantHessianSetWeightDecay(shell, way == DECOUPLED ? 0 : alpha));
    OK(MatComputeOperator(shell, MATDENSE, &H));
    OK(PetscMalloc3(f.p, &lambda, 2 * f.p, &re, 2 * f.p, &im));
    OK(MatDuplicate(H, MAT_COPY_VALUES, &copy));
    OK(MatDenseGetArray(copy, &array));
    n = (PetscBLASInt)f.p;
    LAPACKsyev_("N", "U", &n, array, &n, lambda, work, &lwork, &info);
    assert_int_equal(info, 0);
    OK(MatDenseRestoreArray(copy, &array));
    for (int r = 1; r < 3; r++)
      for (int stable = 0; stable < 2; stable++) {
        CourantTrainSettings s = Rule(names[r], mu);
        const double eta = (stable ? 0.5 : 1.2) * CourantRule(s.rule)->Limit(s.options) / lambda[f.p - 1],
                     decay = way == DECOUPLED ? alpha : 0, look = r == 2 ? 1 + mu : 1;
        double radius = 0, growth = 0;
        /* heavy ball: z^2 - z ((1 + mu) - eta (H + decay)) + mu (1 - eta decay); Nesterov: H by 1 + mu, and
         * in the last term too */
        OK(MatDuplicate(H, MAT_COPY_VALUES, &A1));
        OK(MatScale(A1, eta * look));
        OK(MatShift(A1, eta * decay - (1 + mu)));
        OK(MatDuplicate(H, MAT_COPY_VALUES, &A0));
        OK(MatScale(A0, r == 2 ? -mu * eta : 0));
        OK(MatShift(A0, mu * (1 - eta * decay)));
        SolvePEP(A0, A1, f.p, re, im);
        for (PetscInt i = 0; i < 2 * f.p; i++) radius = fmax(radius, hypot(re[i], im[i]));
        for (PetscInt i = 0; i < f.p; i++) {
          double complex t, d;
          CourantRule(s.rule)->Recurrence(s.options, eta, lambda[i], decay, &t, &d);
          const double complex root = csqrt(t * t - 4 * d);
          const double tolerance = fmin(1e-6, 1e-11 / cabs(root));
          Match(2 * f.p, re, im, 0.5 * (t + root), tolerance);
          Match(2 * f.p, re, im, 0.5 * (t - root), tolerance);
        }
        for (PetscInt i = 0; i < f.p; i += f.p - 1)
          growth = fmax(growth, CourantRuleGrowth(CourantRule(s.rule), s.options, eta, lambda[i], decay));
        NEAR(growth, radius, 1e-9 * radius);
        OK(MatDestroy(&A0));
        OK(MatDestroy(&A1));
        OK(CourantTrainReset(&s));
      }
    OK(PetscFree3(lambda, re, im));
    OK(MatDestroy(&copy));
    OK(MatDestroy(&H));
    OK(MatDestroy(&shell));
    Close(&f);
  }
}

/* A trainer at rest stays there: its velocity balances the decay. */
static void Rest(void **state)
{
  (void)state;
  for (int r = 0; r < 3; r++) {
    CourantTrainSettings s = Rule(names[r], 0.9);
    const double lambda = 2, theta = 0.8, alpha = 0.5;
    double mask = 1, at[2], gradient[2];
    CourantTrainer trainer = {.rule = CourantRule(s.rule),
                              .options = s.options,
                              .mask = &mask,
                              .n = 1,
                              .size = 1 + (size_t)CourantRule(s.rule)->states,
                              .gradient = gradient};
    for (int decoupled = 0; decoupled <= (r > 0); decoupled++) {
      trainer.decoupled = s.decoupled = decoupled ? PETSC_TRUE : PETSC_FALSE;
      const double rest = CourantRuleRest(trainer.rule, s.options, alpha, s.decoupled);
      CourantTrainerRest(&trainer, alpha, &theta, at);
      for (int step = 0; step < 50; step++) { /* L = lambda / 2 (theta - target)^2, at rest in theta */
        gradient[0] = lambda * (at[0] - theta) - rest * theta;
        CourantTrainerUpdate(&trainer, 2, 0.3, alpha, at);
      }
      NEAR(at[0], theta, 1e-14);
    }
    OK(CourantTrainReset(&s));
  }
}

/* ---- Adam ---- */

/*
  Adam's own steps with a preconditioner that is as good as frozen (beta2 near 1, after many steps) on L = nu
  theta^2 / 2: they decay just below the limit and grow just above it, with decoupled decay too.
*/
static void FrozenAdam(void **state)
{
  const double eta = 0.01, root = 1e-3, mask = 1;
  const CourantBackend *backend;

  (void)state;
  OK(CourantBackendGet(PETSC_COMM_SELF, 64, NULL, &backend));
  for (int decoupled = 0; decoupled < 2; decoupled++) {
    CourantTrainSettings s = Rule("adam", 0);
    double *options = (double *)s.options; /* beta1, beta2, epsilon */
    const double alpha = decoupled ? 20 : 0, b1 = options[0];
    const CourantRuleOps *rule = CourantRuleFor(backend, s.rule);
    options[1] = 0.999999999;
    const double limit = rule->Limit(options) / eta -
                         CourantRuleEdgeDecay(rule, options, alpha, decoupled ? PETSC_TRUE : PETSC_FALSE);
    NEAR(limit, (2 * (1 + b1) / eta - (1 + b1) * alpha) / (1 - b1), 1e-9 * limit);
    for (int side = -1; side <= 1; side += 2) {
      const double nu = limit * (1 + 0.01 * side);
      double theta = 1e-9, m = 0, v = root * root, P;
      for (int step = 0; step < 4000 && fabs(theta) < 1e-5; step++) {
        const double gradient = nu * (root + options[2]) * theta;
        const CourantRuleCall call = {.options = options,
                                      .n = 1,
                                      .step = 1000000000000000,
                                      .theta = &theta,
                                      .state = {&m, &v},
                                      .gradient = &gradient,
                                      .mask = &mask,
                                      .learning_rate = eta,
                                      .weight_decay = alpha,
                                      .perturb = 1,
                                      .decoupled = decoupled ? PETSC_TRUE : PETSC_FALSE};
        rule->Step(&call);
      }
      rule->Preconditioner(options, 1000000000000000, 1, (void *const[]){&m, &v}, &P);
      if (side > 0)
        assert_true(fabs(theta) >= 1e-5);
      else
        BELOW(fabs(theta), 1e-13);
      if (side < 0) NEAR(P, root + options[2], 4e-6 * root); /* v loses 1e-9 of itself a step */
    }
    OK(CourantTrainReset(&s));
  }
}

/* v_hat of constant gradients is their square, whatever the step. */
static void Preconditioner(void **state)
{
  const double gradient[3] = {0.5, -2, 1e-3}, mask[3] = {0};
  const CourantBackend *backend;
  double theta[3] = {0}, m[3], v[3], P[3];
  CourantTrainSettings s = Rule("adam", 0);

  (void)state;
  OK(CourantBackendGet(PETSC_COMM_SELF, 64, NULL, &backend));
  const CourantRuleOps *rule = CourantRuleFor(backend, s.rule);
  for (int step = 1; step < 20; step++) {
    rule->Step(&(CourantRuleCall){.options = s.options,
                                  .n = 3,
                                  .step = step,
                                  .theta = theta,
                                  .state = {m, v},
                                  .gradient = gradient,
                                  .mask = mask,
                                  .learning_rate = 0.1,
                                  .perturb = 1});
    rule->Preconditioner(s.options, step, 3, (void *const[]){m, v}, P);
    for (int i = 0; i < 3; i++) NEAR(P[i], fabs(gradient[i]) + 1e-8, 1e-13);
  }
  OK(CourantTrainReset(&s));
}

/* The largest nu of (H + alpha D) x = nu P x against LAPACK's generalised eigenproblem. */
static void Generalised(void **state)
{
  const double alpha = 0.05;
  CourantSpectrum spectrum;
  CourantExtreme largest;
  PetscScalar *array, work[4096];
  PetscReal *nu;
  double *B;
  Mat H, dense, scaled;
  PetscBLASInt n, one = 1, lwork = 4096, info;
  Fixture f;
  Vec P;

  (void)state;
  Open(&f, TWO_LAYERS);
  OK(CourantProblemSetState(f.problem, f.theta, NULL, NULL));
  OK(CourantProblemCreateHessian(f.problem, &H));
  OK(CourantHessianSetWeightDecay(H, alpha));
  OK(VecDuplicate(f.theta, &P));
  for (PetscInt i = 0; i < f.p; i++) OK(VecSetValue(P, i, Draw((uint32_t)i, 1e-3, 1), INSERT_VALUES));
  OK(VecAssemblyBegin(P));
  OK(VecAssemblyEnd(P));
  OK(CourantPreconditionedCreate(H, &scaled));
  OK(CourantPreconditionedSetDiagonal(scaled, P));
  OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
  OK(CourantSpectrumSetOperator(spectrum, scaled));
  OK(CourantSpectrumSolveLargest(spectrum));
  OK(CourantSpectrumGetExtremes(spectrum, &largest, NULL));

  OK(MatComputeOperator(H, MATDENSE, &dense));
  OK(PetscCalloc2(f.p * f.p, &B, f.p, &nu));
  for (PetscInt i = 0; i < f.p; i++) B[i * f.p + i] = Draw((uint32_t)i, 1e-3, 1);
  OK(MatDenseGetArray(dense, &array));
  n = (PetscBLASInt)f.p;
  LAPACKsygv_(&one, "N", "U", &n, array, &n, B, &n, nu, work, &lwork, &info);
  assert_int_equal(info, 0);
  OK(MatDenseRestoreArray(dense, &array));
  assert_int_equal(largest.status, COURANT_CONVERGED);
  NEAR(largest.value, nu[f.p - 1], 1e-9 * nu[f.p - 1]);
  OK(PetscFree2(B, nu));
  OK(CourantSpectrumDestroy(&spectrum));
  OK(VecDestroy(&P));
  OK(MatDestroy(&scaled));
  OK(MatDestroy(&dense));
  OK(MatDestroy(&H));
  Close(&f);
}

static void Names(void **state)
{
  CourantTrainSettings s = Rule("momentum", 0.5);

  (void)state;
  OK(CourantTrainSetRule(&s, "nesterov")); /* the momentum stays */
  NEAR(*(double *)s.options, 0.5, 0);
  OK(CourantTrainSetRule(&s, "gd"));
  OK(CourantTrainSetRule(&s, "nesterov")); /* the default */
  NEAR(*(double *)s.options, 0.9, 0);
  assert_int_not_equal(CourantTrainSetRule(&s, "momentun"), 0);
  assert_non_null(strstr(CourantErrorMessage(), "-rule momentun: unknown rule; did you mean 'momentum'?"));
  CourantErrorClear();
  OK(CourantTrainReset(&s));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Recurrences),
    cmocka_unit_test(Limits),
    cmocka_unit_test(FallAndRise),
    cmocka_unit_test(Transients),
    cmocka_unit_test(QuadraticEigenproblems),
    cmocka_unit_test(Rest),
    cmocka_unit_test(Names),
    cmocka_unit_test(FrozenAdam),
    cmocka_unit_test(Preconditioner),
    cmocka_unit_test(Generalised),
};

TEST_MAIN(tests)
