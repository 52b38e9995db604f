/* States on the kinks of relu, leaky_relu and max_pool, and states that only look like it. */
#include "problem.h"
#include "stability/kink.h"
#include "stability/map.h"

static PetscBool IsKink(Fixture *f)
{
  PetscBool kink;
  OK(CourantStateIsKink(f->problem, f->theta, 1, &kink));
  return kink;
}

#define DATA "data: {source: noise, size: 6, samples: 3, exponent: 1, mean: 0.3, seed: 5}\n"
#define REST "- flatten: {}\n- dense: {features: 1}\nloss: logistic\nweights: {init: pytorch, seed: 5}\n"

/* With weights of 0 every input of a layer is the same; away from 0 none of these is on a kink. */
static void Zero(void **state)
{
  static const struct {
    const char *deck;
    PetscBool kinked;
  } nets[] = {
      {DATA "network:\n- conv: {channels: 2, kernel: 3}\n- relu: {}\n" REST, PETSC_TRUE},
      {DATA "network:\n- conv: {channels: 2, kernel: 3}\n- leaky_relu: {}\n" REST, PETSC_TRUE},
      {DATA "network:\n- conv: {channels: 2, kernel: 3}\n- max_pool: {size: 2}\n" REST, PETSC_TRUE},
      {DATA "network:\n- conv: {channels: 2, kernel: 3}\n- relu: {}\n- max_pool: {size: 2}\n" REST,
       PETSC_TRUE},
      {DATA "network:\n- conv: {channels: 2, kernel: 3}\n- leaky_relu: {slope: 1}\n" REST, PETSC_FALSE},
      {DATA "network:\n- conv: {channels: 2, kernel: 3}\n- tanh: {}\n" REST, PETSC_FALSE},
      {DATA "network:\n- max_pool: {size: 2}\n- conv: {channels: 2, kernel: 2}\n- tanh: {}\n" REST,
       PETSC_FALSE},
  };

  (void)state;
  for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
    Fixture f;
    Open(&f, nets[i].deck);
    if (IsKink(&f)) fail_msg("network %d: a kink at its first weights", (int)i);
    OK(VecZeroEntries(f.theta));
    if (IsKink(&f) != nets[i].kinked) fail_msg("network %d at 0", (int)i);
    Close(&f);
  }
}

/* Digits on a black ground: relu reads 0 there whatever the weights are, and max_pool the same 0 four times.
 */
static void BlackGround(void **state)
{
  static const char deck[] =
      "data: {source: glyphs, size: 16, samples: 8, noise: 0, seed: 1}\n"
      "network:\n- conv: {channels: 3, kernel: 3, bias: false}\n- relu: {}\n- max_pool: {size: 2}\n"
      "- flatten: {}\n- dense: {features: 10}\nloss: softmax\nweights: {init: pytorch, seed: 5}\n";
  Fixture f;
  PetscInt black = 0;

  (void)state;
  Open(&f, deck);
  for (PetscInt i = 0; i < 8 * 16 * 16; i++) black += f.problem->data->images[i] == 0;
  assert_true(black > 8 * 16 * 16 / 4);
  assert_false(IsKink(&f));
  Close(&f);
}

/* One unit of one sample, whose weights are made orthogonal to its image, but for rounding. */
static void OneUnit(void **state)
{
  static const char deck[] =
      "data: {source: noise, size: 4, samples: 3, exponent: 1, mean: 0.5, seed: 5}\n"
      "network:\n- conv: {channels: 1, kernel: 4, bias: false}\n- relu: {}\n- global_mean: {}\n"
      "loss: logistic\nweights: {init: normal, std: 1, seed: 7}\n";
  const double off[] = {0, 1e-6, -1e-6};
  PetscScalar *theta;
  Fixture f;

  (void)state;
  Open(&f, deck);
  const double *x = f.problem->data->images;
  for (int i = 0; i < 3; i++) {
    double u = 0, square = 0;
    OK(VecGetArray(f.theta, &theta));
    for (int k = 0; k < 16; k++) u += theta[k] * x[k], square += x[k] * x[k];
    for (int k = 0; k < 16; k++) theta[k] += (off[i] - u) / square * x[k];
    OK(VecRestoreArray(f.theta, &theta));
    assert_int_equal(IsKink(&f), i == 0);
  }
  Close(&f);
}

/* Where there is nothing to linearise a map has no limit and predicts nothing; from the start it does. */
static void MapRow(void **state)
{
  static const char deck[] =
      DATA "network:\n- conv: {channels: 1, kernel: 3, bias: false}\n- relu: {}\n- global_mean: {}\n"
           "loss: logistic\nweights: {init: normal, std: 1, seed: 7}\n"
           "map: {learning_rate: {values: [0.1, 30]}, weight_decay: {values: [0.2]}, linearise: %s,\n"
           "  cross_check: {steps: 100}}\n";

  (void)state;
  for (int zero = 0; zero < 2; zero++) {
    char text[2048];
    CourantDeck parsed;
    CourantMap map;
    snprintf(text, sizeof text, deck, zero ? "zero" : "init");
    OK(CourantDeckParse(PETSC_COMM_SELF, text, NULL, &parsed));
    OK(CourantMapCreate(PETSC_COMM_SELF, parsed, &map));
    OK(CourantMapSetFromOptions(map));
    OK(CourantMapSolve(map));
    const CourantMapRow *row = &map->rows[0];
    assert_int_equal(row->status, zero ? COURANT_KINK : COURANT_CONVERGED);
    if (zero) assert_int_equal(row->flip_status, COURANT_KINK);
    assert_int_equal(isnan(row->limit), zero);
    for (int l = 0; l < 2; l++) {
      assert_int_equal(map->cells[l].regime == COURANT_REGIME_UNDECIDED, zero);
      assert_int_equal(isnan(map->cells[l].local_growth), zero);
      assert_true(map->cells[l].global_regime != COURANT_UNSET);
    }
    OK(CourantMapDestroy(&map));
    OK(CourantDeckDestroy(&parsed));
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Zero),
    cmocka_unit_test(BlackGround),
    cmocka_unit_test(OneUnit),
    cmocka_unit_test(MapRow),
};

TEST_MAIN(tests)
