/* Equilibria: descent to them, the branch they are on, and its end. */
#include "problem.h"

static double FlowNorm(Fixture *f, double alpha)
{
  PetscReal norm;
  Vec F;
  OK(VecDuplicate(f->theta, &F));
  OK(CourantProblemComputeFlow(f->problem, alpha, f->theta, F));
  OK(VecNorm(F, NORM_2, &norm));
  OK(VecDestroy(&F));
  return norm;
}

/* The projection on the checkerboard's one patch, the top-left one divided by 8. */
static double Amplitude(Fixture *f)
{
  const PetscScalar *w;
  double sum = 0;
  OK(VecGetArrayRead(f->theta, &w));
  for (int y = 0; y < 8; y++)
    for (int x = 0; x < 8; x++) sum += w[y * 8 + x] * ((y + x) % 2 ? 1 : -1) / 8.;
  OK(VecRestoreArrayRead(f->theta, &w));
  return sum;
}

static void SetAmplitude(Fixture *f, double amplitude)
{
  PetscScalar *w;
  OK(VecGetArray(f->theta, &w));
  for (int y = 0; y < 8; y++)
    for (int x = 0; x < 8; x++) w[y * 8 + x] = amplitude * ((y + x) % 2 ? 1 : -1) / 8.;
  OK(VecRestoreArray(f->theta, &w));
}

static void Descends(void **state)
{
  static const char *const decks[] = {CHECKERBOARD, NOISE, TWO_LAYERS};
  const double alphas[] = {1.25, 0.3, 0.02};

  (void)state;
  for (int i = 0; i < 3; i++) {
    CourantEquilibrium equilibrium;
    CourantExtreme largest, smallest;
    PetscBool converged;
    Fixture f;
    Open(&f, decks[i]);
    OK(CourantEquilibriumCreate(f.problem, &equilibrium));
    OK(CourantEquilibriumSetFromOptions(equilibrium));
    OK(CourantEquilibriumDescend(equilibrium, alphas[i], f.theta, &converged));
    assert_true(converged);
    BELOW(FlowNorm(&f, alphas[i]), 1e-10);
    Extremes(&f, alphas[i], &largest, &smallest, NULL);
    assert_true(smallest.value > -1e-8);
    OK(CourantEquilibriumDestroy(&equilibrium));
    Close(&f);
  }
}

/* From beside the saddle at 0, where a bare Newton method would end, descent leads to a minimum. */
static void LeavesSaddles(void **state)
{
  CourantEquilibrium equilibrium;
  CourantExtreme largest, smallest;
  PetscBool converged;
  Fixture f;

  (void)state;
  Open(&f, CHECKERBOARD);
  SetAmplitude(&f, 1e-6);
  Extremes(&f, 5, &largest, &smallest, NULL);
  assert_true(smallest.value < -10);
  OK(CourantEquilibriumCreate(f.problem, &equilibrium));
  OK(CourantEquilibriumSetFromOptions(equilibrium));
  OK(CourantEquilibriumDescend(equilibrium, 5, f.theta, &converged));
  assert_true(converged);
  Extremes(&f, 5, &largest, &smallest, NULL);
  assert_true(smallest.value > 1);
  NEAR(fabs(Amplitude(&f)), 0.2778, 1e-3);
  OK(CourantEquilibriumDestroy(&equilibrium));
  Close(&f);
}

/* The branch with positive amplitude goes on from 40 to 0.1; the mirror branch ends in a fold at 15.9088. */
static void Branches(void **state)
{
  const double down[] = {40, 30, 20, 15, 10, 5, 1.25, 0.1};
  CourantEquilibrium equilibrium;
  PetscBool converged;
  PetscInt jumps = 0;
  Fixture f;

  (void)state;
  Open(&f, CHECKERBOARD);
  OK(CourantEquilibriumCreate(f.problem, &equilibrium));
  OK(CourantEquilibriumSetFromOptions(equilibrium));
  OK(CourantEquilibriumDescend(equilibrium, 40, f.theta, &converged));
  for (size_t i = 1; i < sizeof down / sizeof *down; i++) {
    OK(CourantEquilibriumContinue(equilibrium, down[i - 1], down[i], f.theta, &jumps, &converged));
    assert_true(converged);
    assert_true(Amplitude(&f) > 0);
    assert_int_equal(jumps, 0);
  }

  SetAmplitude(&f, -0.48);
  OK(CourantEquilibriumDescend(equilibrium, 1.25, f.theta, &converged));
  assert_true(converged && Amplitude(&f) < 0);
  OK(CourantEquilibriumContinue(equilibrium, 1.25, 10, f.theta, &jumps, &converged));
  OK(CourantEquilibriumContinue(equilibrium, 10, 15.9, f.theta, &jumps, &converged));
  assert_true(converged && Amplitude(&f) < 0);
  assert_int_equal(jumps, 0);
  OK(CourantEquilibriumContinue(equilibrium, 15.9, 15.92, f.theta, &jumps, &converged));
  assert_true(converged && Amplitude(&f) > 0);
  assert_int_equal(jumps, 1);
  OK(CourantEquilibriumDestroy(&equilibrium));
  Close(&f);
}

/* Classes in equal numbers and strong decay: theta* = 0, where no norm of theta* or of its gradient is a
 * yardstick. */
static void Origin(void **state)
{
  CourantEquilibrium equilibrium;
  PetscBool converged;
  PetscReal norm;
  Fixture f;

  (void)state;
  Open(&f, "data: {source: glyphs, size: 8, samples: 20}\n"
           "network:\n- conv: {channels: 2, kernel: 3}\n- tanh: {}\n- flatten: {}\n- dense: {features: 10}\n"
           "loss: softmax\nweights: {init: pytorch, seed: 1}\n");
  OK(CourantEquilibriumCreate(f.problem, &equilibrium));
  OK(CourantEquilibriumDescend(equilibrium, 1, f.theta, &converged));
  assert_true(converged);
  OK(VecNorm(f.theta, NORM_2, &norm));
  BELOW(norm, 1e-10);
  OK(CourantEquilibriumDestroy(&equilibrium));
  Close(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Descends),
    cmocka_unit_test(LeavesSaddles),
    cmocka_unit_test(Branches),
    cmocka_unit_test(Origin),
};

TEST_MAIN(tests)
