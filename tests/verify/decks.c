/* The decks of models/: what each has to show, on coarser grids where it has a grid. */
#include "maps.h"
#include <hdf5.h>
#include <stdlib.h>
#include <unistd.h>

/* The restrained band lies between limit and 2/alpha below a weight decay of 9.23, and is absent above. */
static void OneLayer(void **state)
{
  Solved s;

  (void)state;
  Solve("models/one-layer.yaml", "-points 24x24 -threads 2", &s);
  CheckMap(&s);
  for (PetscInt w = 0; w < s.map->nw; w++) {
    const CourantMapRow *row = &s.map->rows[w];
    for (PetscInt l = 0; l < s.map->nl; l++) {
      const double eta = s.map->learning_rate[l];
      const CourantMapCell *cell = &s.map->cells[w * s.map->nl + l];
      const double edge = fmin(fabs(log(eta / row->limit)), fabs(log(eta * row->alpha / 2)));
      if (edge < 1e-6) continue; /* on an edge itself */
      const int expected = eta < row->limit       ? COURANT_REGIME_STABLE
                           : eta < 2 / row->alpha ? COURANT_REGIME_RESTRAINED
                                                  : COURANT_REGIME_DIVERGENT;
      assert_int_equal(cell->regime, expected);
      if (row->alpha > 9.24) assert_true(cell->regime != COURANT_REGIME_RESTRAINED);
      if (edge > 0.02) assert_int_equal(cell->global_regime, expected); /* nearer, 2000 steps may not tell */
    }
  }
  Free(&s);
}

/* A generic spectrum: matrix-free ends against LAPACK's. */
static void Noise(void **state)
{
  Solved s;

  (void)state;
  Solve("models/one-layer-noise.yaml", "-points 16x16 -threads 2", &s);
  CheckMap(&s);
  for (PetscInt w = 0; w < s.map->nw; w++) {
    CourantExtreme largest, smallest;
    const PetscReal *all;
    PetscReal norm;
    PetscInt n;
    Vec theta;
    OK(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, s.map->p, s.map->states + w * s.map->p, &theta));
    OK(CourantProblemSetState(s.map->problem, theta, NULL, NULL));
    OK(CourantSpectrumSolve(s.map->spectrum));
    OK(CourantSpectrumGetExtremes(s.map->spectrum, &largest, &smallest));
    OK(CourantSpectrumGetAll(s.map->spectrum, &n, &all));
    OK(CourantSpectrumGetNorm(s.map->spectrum, &norm));
    assert_int_equal(n, 49);
    NEAR(largest.value, all[n - 1], 1e-9 * norm);
    NEAR(smallest.value, all[0], 1e-9 * norm);
    assert_int_equal(s.map->rows[w].multiplicity, 1);
    OK(VecDestroy(&theta));
  }
  Free(&s);
}

/* The paper's linear experiment: stable exactly for 1.296e7 < alpha < 2e8, by prediction and by run. */
static void PaperLinear(void **state)
{
  Solved s;

  (void)state;
  Solve("models/paper/linear.yaml", "-threads 2", &s);
  for (PetscInt w = 0; w < s.map->nw; w++) {
    const CourantMapRow *row = &s.map->rows[w];
    const CourantMapCell *cell = &s.map->cells[w];
    const PetscBool stable = row->alpha > 1.296e7 && row->alpha < 2e8;
    NEAR(row->lambda_min, -1.296e7, 1);
    NEAR(row->lambda_max, 0, 1e-2);
    assert_int_equal(cell->regime == COURANT_REGIME_STABLE, stable);
    if (!stable)
      assert_int_equal(cell->regime,
                       row->alpha < 1e8 ? COURANT_REGIME_UNSTABLE_FLOW : COURANT_REGIME_DIVERGENT);
    assert_int_equal(cell->local_verdict, COURANT_AGREE);
    assert_int_equal(cell->local_growth < 1, stable);
    assert_int_equal(cell->global_regime == COURANT_OUTCOME_STABLE, stable);
  }
  Free(&s);
}

/* The paper's nonlinear experiment; c by 30-digit arithmetic on the branch with negative amplitude. */
static void PaperNonlinear(void **state)
{
  Solved s;

  (void)state;
  Solve("models/paper/nonlinear.yaml", "-threads 2", &s);
  CheckMap(&s);
  NEAR(s.map->rows[0].lambda_max, 41.9972749916, 1e-8);
  NEAR(s.map->rows[0].parameter_norm, 0.12078921, 1e-8);
  NEAR(s.map->rows[0].limit, 0.0322594823768, 1e-11);
  NEAR(s.map->rows[0].flip_coefficient, 90.0026782374, 1e-6);
  for (PetscInt l = 0; l < s.map->nl; l++) {
    const int expected = s.map->learning_rate[l] < 0.04 ? 0 : s.map->learning_rate[l] < 0.1 ? 1 : 2;
    assert_int_equal(s.map->cells[l].regime, expected);
    assert_int_equal(s.map->cells[l].global_regime, expected);
  }
  Free(&s);
}

/* Weights of a file: the map is that of the state they were taken from. */
static void WeightsFile(void **state)
{
  char overrides[256], file[] = "/tmp/courant-map-XXXXXX";
  CourantMapRow row;
  Solved s;

  (void)state;
  Solve("models/one-layer-noise.yaml", "-learning_rate 0.1 -weight_decay 1 -threads 1", &s);
  row = s.map->rows[0];
  close(mkstemp(file));
  const hid_t h5 = H5Fcreate(file, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t space = H5Screate_simple(4, (hsize_t[]){1, 1, 7, 7}, NULL);
  const hid_t set = H5Dcreate(h5, "0.weight", H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, s.map->states);
  H5Dclose(set), H5Sclose(space), H5Fclose(h5);
  Free(&s);

  snprintf(overrides, sizeof overrides, "map.linearise=file,map.file=%s", file);
  OK(CourantDeckLoad(PETSC_COMM_SELF, SOURCE_ROOT "/models/one-layer-noise.yaml", overrides, &s.deck));
  OK(CourantMapCreate(PETSC_COMM_SELF, s.deck, &s.map));
  OK(CourantMapSetFromOptions(s.map));
  OK(CourantMapSolve(s.map));
  NEAR(s.map->rows[0].m_max, row.m_max, 1e-12);
  NEAR(s.map->rows[0].parameter_norm, row.parameter_norm, 1e-14);
  assert_int_equal(s.map->cells[0].local_verdict, COURANT_AGREE);
  Free(&s);
  unlink(file);
}

/* Bare decks: states that are no equilibria, no equilibrium at all, and every other way to linearise. */
static void Linearise(void **state)
{
  Solved s;

  (void)state;
  Solve("models/one-layer-noise.yaml", "-points 4x4 -threads 1", &s);
  Free(&s);
  const char *const deck =
      "data: {source: noise, size: 12, exponent: 1, mean: 0.4, seed: 1}\n"
      "network:\n- conv: {channels: 1, kernel: 3, bias: false}\n- swish: {}\n- global_mean: {}\nloss: "
      "logistic\n"
      "weights: {init: normal, std: 1, seed: 3}\n"
      "map:\n  learning_rate: {values: [0.1, 1, 10]}\n  weight_decay: {values: [0, 0.5, 2]}\n";
  static const char *const ways[] = {"init", "zero", "zero_frozen"};
  for (int i = 0; i < 4; i++) {
    char overrides[64];
    CourantAgreement a;
    OK(PetscOptionsClear(NULL));
    snprintf(overrides, sizeof overrides, "map.linearise=%s", i < 3 ? ways[i] : "equilibrium");
    OK(CourantDeckParse(PETSC_COMM_SELF, deck, overrides, &s.deck));
    OK(CourantMapCreate(PETSC_COMM_SELF, s.deck, &s.map));
    OK(CourantMapSetFromOptions(s.map));
    OK(CourantMapSolve(s.map));
    OK(CourantMapGetAgreement(s.map, &a));
    assert_int_equal(a.disagreeing, 0);
    if (i < 3)
      assert_true(a.checked == 9 && a.decided >= 8);
    else { /* without decay one image is separable: the loss falls for ever */
      assert_int_equal(s.map->rows[0].status, COURANT_NO_EQUILIBRIUM);
      assert_int_equal(s.map->rows[1].status, COURANT_CONVERGED);
      assert_int_equal(s.map->cells[0].regime, COURANT_REGIME_UNDECIDED);
      assert_true(isnan(s.map->rows[0].m_max) && isnan(s.map->cells[0].growth));
      assert_int_equal(a.checked, 6);
    }
    Free(&s);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(OneLayer),       cmocka_unit_test(Noise),     cmocka_unit_test(PaperLinear),
    cmocka_unit_test(PaperNonlinear), cmocka_unit_test(Linearise), cmocka_unit_test(WeightsFile),
};

TEST_MAIN(tests)
