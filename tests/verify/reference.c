/*
  The one-layer network at weight decays for which reference
  numbers are known, on the branch continued from weight decay 40.
*/
#include "maps.h"

static Solved s;

static void Numbers(void **state)
{
  (void)state;
  NEAR(Row(&s, 1.25)->m_max, 3.875424084, 1e-8);
  NEAR(Row(&s, 1.25)->limit, 0.516072553, 1e-8);
  NEAR(Row(&s, 1.25)->flip_coefficient, 5.628998133, 1e-6);
  NEAR(Row(&s, 2)->m_max, 5.545683449, 1e-8);
  NEAR(Row(&s, 2)->limit, 0.360640851, 1e-8);
  NEAR(Row(&s, 2)->flip_coefficient, 6.194604315, 1e-6);
  for (PetscInt w = 0; w < s.map->nw; w++) assert_int_equal(s.map->rows[w].branch, 0);
  CheckMap(&s);
}

/*
  Above 9.233 the top eigenvalue is the decay itself, 63 times,
  and there is no restrained band; below it is simple.
*/
static void Multiplicities(void **state)
{
  (void)state;
  for (PetscInt w = 0; w < s.map->nw; w++) {
    const CourantMapRow *row = &s.map->rows[w];
    if (row->alpha > 9.233) {
      NEAR(row->lambda_max, 0, 1e-10);
      assert_int_equal(row->multiplicity, 63);
      assert_int_equal(row->flip_status, COURANT_MULTIPLE);
      assert_true(isnan(row->flip_coefficient));
      NEAR(row->limit, row->limit_far_field, 1e-10);
    } else {
      assert_int_equal(row->multiplicity, 1);
      assert_int_equal(row->flip_status, COURANT_CONVERGED);
      assert_true(row->limit < row->limit_far_field);
    }
    assert_true(row->limit_von_neumann <= row->limit * (1 + 1e-12));
    assert_int_equal(row->neutral_modes, 0);
  }
}

/*
  Trained from beside the equilibrium, 1 and 3 % past the
  limit: the 2-cycle's half-distance by 30-digit arithmetic.
*/
static void HalfDistances(void **state)
{
  const double factors[] = {1.01, 1.03}, expected[] = {0.060305961, 0.10692721};
  const CourantMapRow *row = Row(&s, 1.25);
  const double *theta = s.map->states + (row - s.map->rows) * s.map->p;
  CourantOutcomeWork work;
  CourantTrainer trainer;
  double start[64];

  (void)state;
  OK(CourantTrainerCreate(s.map->problem, &s.map->train, s.map->mask, NULL, &trainer));
  OK(CourantOutcomeWorkCreate(64, 2000, &work));
  for (int i = 0; i < 2; i++) {
    CourantOutcome outcome;
    for (int k = 0; k < 64; k++) start[k] = theta[k] * 1.05;
    assert_null(CourantGlobalOutcome(&trainer, factors[i] * row->limit, 1.25, start, &work, &outcome));
    assert_int_equal(outcome.kind, COURANT_OUTCOME_RESTRAINED);
    assert_int_equal(outcome.period, 2);
    NEAR(outcome.amplitude, expected[i], 5e-5 * expected[i]);
  }
  OK(CourantOutcomeWorkDestroy(&work));
  OK(CourantTrainerDestroy(&trainer));
}

/* The paper's program: 0.1, 0.4 converge, 0.55, 0.9, 1.4 oscillate, 1.7 diverges. */
static void Outcomes(void **state)
{
  static const struct {
    double eta;
    int kind;
  } cases[] = {{0.1, 0}, {0.4, 0}, {0.55, 1}, {0.9, 1}, {1.4, 1}, {1.7, 2}};

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(Cell(&s, 1.25, cases[i].eta)->global_regime, cases[i].kind);
    assert_int_equal(Cell(&s, 1.25, cases[i].eta)->regime, cases[i].kind);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Numbers),
    cmocka_unit_test(Multiplicities),
    cmocka_unit_test(HalfDistances),
    cmocka_unit_test(Outcomes),
};

static int SetUp(void **state)
{
  const int failed = SetUpPetsc(state);
  if (!failed) Solve("tests/verify/one-layer-reference.yaml", "-threads 2", &s);
  return failed;
}

static int TearDown(void **state)
{
  Free(&s);
  return TearDownPetsc(state);
}

int main(void)
{
  return cmocka_run_group_tests(tests, SetUp, TearDown);
}
