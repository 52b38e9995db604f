/*
  The edge of stability (Cohen et al. 2021): full-batch gradient descent sharpens
  until the top eigenvalue of H + alpha meets 2 / eta, and hovers there.
*/
#include "unit/check.h"
#include "train/run.h"

enum { EVERY = 25, SETTLED = 400, STEPS = 1500 };

typedef struct {
  CourantDeck deck;
  CourantProblem problem;
  CourantTrainSettings settings;
  CourantRun run;
  CourantRunState state;
  CourantSpectrum spectrum;
  Mat H;
  Vec theta;
} Training;

static PetscErrorCode Begin(Training *t)
{
  PetscFunctionBeginUser;
  PetscCall(CourantDeckLoad(PETSC_COMM_SELF, SOURCE_ROOT "/models/edge-of-stability.yaml", NULL, &t->deck));
  PetscCall(CourantProblemCreate(PETSC_COMM_SELF, t->deck, &t->problem));
  PetscCall(CourantProblemSetUp(t->problem));
  PetscCall(CourantTrainRead(t->problem->top.train, &t->settings));
  PetscCall(CourantRunCreate(t->problem, &t->settings, PETSC_TRUE, &t->run));
  PetscCall(CourantRunStateCreate(&t->run, &t->state));
  PetscCall(CourantRunStart(&t->run, &t->problem->weights, t->settings.seed, 1, &t->state));
  PetscCall(CourantProblemCreateHessian(t->problem, &t->H));
  PetscCall(CourantProblemCreateVec(t->problem, &t->theta));
  PetscCall(CourantSpectrumCreate(PETSC_COMM_SELF, &t->spectrum));
  PetscCall(CourantSpectrumSetOperator(t->spectrum, t->H));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Sharpness(Training *t, CourantExtreme *top)
{
  PetscScalar *theta;

  PetscFunctionBeginUser;
  PetscCall(VecGetArrayWrite(t->theta, &theta));
  CourantRunGet(&t->run, t->state.theta, theta);
  PetscCall(VecRestoreArrayWrite(t->theta, &theta));
  PetscCall(CourantProblemSetState(t->problem, t->theta, NULL, NULL));
  PetscCall(CourantSpectrumSolveLargest(t->spectrum));
  PetscCall(CourantSpectrumGetExtremes(t->spectrum, top, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode End(Training *t)
{
  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumDestroy(&t->spectrum));
  PetscCall(MatDestroy(&t->H));
  PetscCall(VecDestroy(&t->theta));
  PetscCall(CourantRunStateDestroy(&t->state));
  PetscCall(CourantRunDestroy(&t->run));
  PetscCall(CourantProblemDestroy(&t->problem));
  PetscCall(CourantTrainReset(&t->settings));
  PetscCall(CourantDeckDestroy(&t->deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* It starts below the limit, and once it has settled it stays near it while the loss falls. */
static void Hovers(void **context)
{
  Training t = {0};
  CourantRunRecord record = {0};
  CourantExtreme top;
  double settled_loss = NAN;

  (void)context;
  OK(Begin(&t));
  const double limit = 2 / t.settings.learning_rate - t.settings.weight_decay;
  for (PetscInt step = 0; step < STEPS; step++) {
    if (step % EVERY == 0) {
      OK(Sharpness(&t, &top));
      assert_int_equal(top.status, COURANT_CONVERGED);
      if (step == 0) assert_true(top.value < 0.8 * limit);
      if (step >= SETTLED) assert_true(top.value > 0.98 * limit && top.value < 1.06 * limit);
    }
    OK(CourantRunStep(&t.run, &t.state, &record));
    if (step == SETTLED) settled_loss = record.loss;
  }
  assert_true(record.loss < 0.2 * settled_loss);
  OK(End(&t));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(Hovers)};

TEST_MAIN(tests)
