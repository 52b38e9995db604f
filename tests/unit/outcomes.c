/* The two checks of a cell, on iterations whose fate is known. */
#include "check.h"
#include "train/outcome.h"

enum { N = 6 };

/* A linear map about the point 1, 1, .. */
typedef struct {
  double factor[N];
} Linear;

static const char *StepLinear(void *ctx, int which, double theta[])
{
  const Linear *map = (const Linear *)ctx;
  (void)which;
  for (int i = 0; i < N; i++)
    theta[i] = 1 + map->factor[i] * (theta[i] - 1) + 1e-16; /* with an error of its own in each step */
  return NULL;
}

static void Local(void **state)
{
  static const struct {
    Linear map;
    double growth, tolerance;
  } cases[] = {
      {{{0.9, 0.5, 0.5, 0.5, 0.5, 0.5}}, 0.9, 1e-4},          {{{-1.3, 0.9, 0.9, 0.9, 0.9, 0.9}}, 1.3, 1e-4},
      {{{1.001, 0.99, 0.99, 0.99, 0.99, 0.99}}, 1.001, 1e-3}, {{{-25, 3, 3, 3, 3, 3}}, 25, 1e-4},
      {{{1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3}}, 1e-3, 1e-5},
  };
  const double at[N] = {1, 1, 1, 1, 1, 1};
  CourantOutcomeWork work;

  (void)state;
  OK(CourantOutcomeWorkCreate(N, 2000, &work));
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const CourantRunner runner = {.Step = StepLinear, .ctx = (void *)&cases[i].map};
    double growth;
    assert_null(CourantLocalGrowth(&runner, at, &work, &growth));
    NEAR(growth, cases[i].growth, cases[i].tolerance);
  }
  OK(CourantOutcomeWorkDestroy(&work));
}

static void Verdicts(void **state)
{
  (void)state;
  assert_int_equal(CourantLocalVerdict(1.2, 1.1, 2000), COURANT_AGREE);
  assert_int_equal(CourantLocalVerdict(0.2, 0.9, 2000), COURANT_AGREE);
  assert_int_equal(CourantLocalVerdict(1.2, 0.9, 2000), COURANT_DISAGREE);
  assert_int_equal(CourantLocalVerdict(INFINITY, 1.5, 2000), COURANT_AGREE);
  assert_int_equal(CourantLocalVerdict(1.001, 0.9, 2000), COURANT_VERDICT_UNDECIDED);
  assert_int_equal(CourantLocalVerdict(NAN, 0.9, 2000), COURANT_VERDICT_UNDECIDED);
}

/* The paper's program at these constants: lr 0.1, 0.4 converge, 0.55, 0.9, 1.4 oscillate, 1.7 diverges. */
static void Global(void **state)
{
  static const struct {
    double eta;
    CourantOutcomeKind kind;
  } cases[] = {{0.1, COURANT_OUTCOME_STABLE},
               {0.4, COURANT_OUTCOME_STABLE},
               {0.52123328, COURANT_OUTCOME_RESTRAINED},
               {0.55, COURANT_OUTCOME_RESTRAINED},
               {0.9, COURANT_OUTCOME_RESTRAINED},
               {1.4, COURANT_OUTCOME_RESTRAINED},
               {1.7, COURANT_OUTCOME_DIVERGENT},
               {0.001, COURANT_OUTCOME_STABLE}};
  CourantOutcomeWork work;
  CourantTrainer trainer;
  CourantProblem problem;
  CourantDeck deck;
  double mask[64], start[64];

  (void)state;
  OK(CourantDeckParse(PETSC_COMM_SELF,
                      "data: {source: checkerboard, size: 64, label: 1}\n"
                      "network:\n- conv: {channels: 1, kernel: 8, bias: false}\n- swish: {}\n- global_mean: "
                      "{}\nloss: logistic\n"
                      "weights: {init: normal, std: 1, seed: 7}\n",
                      NULL, &deck));
  OK(CourantProblemCreate(PETSC_COMM_SELF, deck, &problem));
  OK(CourantProblemSetUp(problem));
  OK(CourantWeightsFill(&problem->weights, problem->net, start));
  for (int i = 0; i < 64; i++) mask[i] = 1;
  OK(CourantTrainerCreate(problem, &(CourantTrainSettings){.rule = 0}, mask, NULL, &trainer));
  OK(CourantOutcomeWorkCreate(64, 2000, &work));
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    CourantOutcome outcome;
    assert_null(CourantGlobalOutcome(&trainer, cases[i].eta, 1.25, start, &work, &outcome));
    if (outcome.kind != cases[i].kind)
      fail_msg("learning rate %g: outcome %d, expected %d", cases[i].eta, outcome.kind, cases[i].kind);
    if (i ==
        2) { /* 1.01 of the limit: a 2-cycle of known half-distance, on this branch or its mirror image */
      assert_int_equal(outcome.period, 2);
      NEAR(outcome.amplitude, 0.06033, 4e-5);
    }
  }
  OK(CourantOutcomeWorkDestroy(&work));
  OK(CourantTrainerDestroy(&trainer));
  OK(CourantProblemDestroy(&problem));
  OK(CourantDeckDestroy(&deck));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Local),
    cmocka_unit_test(Verdicts),
    cmocka_unit_test(Global),
};

TEST_MAIN(tests)
