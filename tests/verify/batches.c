/* Maps of mini-batches: closed forms, and runs of the trainer in their own order of the samples. */
#include "maps.h"
#include "core/random.h"
#include "core/statistics.h"
#include "stability/sgd.h"
#include "train/run.h"
#include <hdf5.h>
#include <petscblaslapack.h>
#include <unistd.h>

static void SolveText(const char *text, const char *options, Solved *s)
{
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, options));
  OK(CourantDeckParse(PETSC_COMM_SELF, text, NULL, &s->deck));
  OK(CourantMapCreate(PETSC_COMM_SELF, s->deck, &s->map));
  OK(CourantMapSetFromOptions(s->map));
  OK(CourantMapSolve(s->map));
}

/* ---- the scalar pair ---- */

static void Put(hid_t h5, const char *name, int rank, const double *values)
{
  const hsize_t dims[] = {2, 1, 1};
  const hid_t space = H5Screate_simple(rank, dims, NULL),
              set = H5Dcreate(h5, name, H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  H5Dclose(set);
  H5Sclose(space);
}

/*
  One weight, squared loss, images sqrt(1/2) and sqrt(3/2) with themselves for targets: Hessians 1/2 and 3/2,
  both at rest in 1. An epoch multiplies by (1 - eta/2)(1 - 3 eta/2), whatever its order: the limit is 8/3,
  that of full batches 2, that of the mean square of independent batches 1.6.
*/
static void ScalarPair(void **state)
{
  const double images[] = {sqrt(0.5), sqrt(1.5)};
  char file[] = "/tmp/courant-pair-XXXXXX", text[1024];
  CourantAgreement a;
  Solved s;

  (void)state;
  close(mkstemp(file));
  const hid_t h5 = H5Fcreate(file, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  Put(h5, "images", 3, images);
  Put(h5, "labels", 2, images);
  H5Fclose(h5);
  snprintf(text, sizeof text,
           "data: {source: hdf5, file: %s}\nnetwork: [flatten, {dense: {features: 1, bias: false}}]\n"
           "loss: squared\nweights: {init: normal, std: 1, seed: 2}\ntrain: {batch: 1, seed: 5}\n"
           "map: {learning_rate: {values: [0.3, 0.5, 1.2, 1.5, 1.7, 2.2, 2.4, 2.6, 2.7, 3, 5]}, "
           "weight_decay: {values: [0]}}\n",
           file);
  SolveText(text, "-threads 2", &s);
  const CourantMapRow *row = &s.map->rows[0];
  NEAR(row->limit, 8. / 3, 1e-7);
  NEAR(row->batch_limit[COURANT_SGD_EPOCH].value, 8. / 3, 1e-7);
  NEAR(row->batch_limit[COURANT_SGD_MEAN_SQUARE].value, 1.6, 1e-9);
  NEAR(row->limit_full_batch, 2, 1e-9);
  BELOW(row->gradient_noise, 1e-6);
  for (PetscInt l = 0; l < s.map->nl; l++) {
    const double eta = s.map->learning_rate[l], step[] = {1 - 0.5 * eta, 1 - 1.5 * eta};
    const double growth = sqrt(fabs(step[0] * step[1])),
                 square = sqrt(0.5 * (step[0] * step[0] + step[1] * step[1]));
    const CourantMapCell *cell = &s.map->cells[l];
    NEAR(cell->growth, growth, 1e-8);
    NEAR(cell->mean_square.value, square, 1e-8);
    NEAR(cell->local_growth, growth, 1e-6 * growth); /* a difference quotient's rounding */
    assert_int_equal(cell->regime, growth < 1 ? COURANT_REGIME_STABLE : COURANT_REGIME_PAST_LIMIT);
    assert_int_equal(cell->global_regime, growth < 1 ? COURANT_OUTCOME_STABLE : COURANT_OUTCOME_DIVERGENT);
  }
  OK(CourantMapGetAgreement(s.map, &a));
  assert_int_equal(a.agreed, s.map->nl);
  Free(&s);
  unlink(file);
}

/* ---- a one-layer network on several images ---- */

#define NOISE                                                                                                \
  "data: {source: noise, size: 16, samples: 8, exponent: 2, mean: 0.5, seed: 4}\n"                           \
  "network: [{conv: {channels: 1, kernel: 3, bias: false}}, swish, global_mean]\n"                           \
  "loss: logistic\nweights: {init: normal, std: 1, seed: 7}\n"                                               \
  "map: {learning_rate: {from: 0.02, to: 20, points: 10, scale: log}, "                                      \
  "weight_decay: {from: 0.2, to: 10, points: 5, scale: log}, cross_check: {steps: 1500}}\n"

/*
  Runs of the trainer agree with the almost-sure limit in every cell that is decided: both intervals are of 95
  %, and to be taken for the other side of 1 both have to miss it. The intervals themselves overlap in nine
  cells of ten at least; more would be expected, but cells of a row see the same batches and err together.
*/
static void Noise(void **state)
{
  CourantAgreement a;
  Solved s;

  (void)state;
  SolveText(NOISE "train: {batch: 2}\n", "-threads 2", &s);
  OK(CourantMapGetAgreement(s.map, &a));
  printf("# %d of %d decided, %d agree, %d overlap, median error %.2g\n", (int)a.decided, (int)a.checked,
         (int)a.agreed, (int)a.overlapping, a.median_error);
  assert_int_equal(a.checked, 50);
  assert_true(a.decided >= 45);
  assert_int_equal(a.disagreeing, 0);
  assert_true(10 * a.overlapping >= 9 * a.decided);
  for (PetscInt w = 0; w < s.map->nw; w++) {
    const CourantMapRow *row = &s.map->rows[w];
    assert_int_equal(row->status, COURANT_CONVERGED);
    assert_int_equal(row->flip_status, COURANT_UNSET);
    assert_true(isnan(row->flip_coefficient) && isnan(row->limit_von_neumann));
    NEAR(row->limit_full_batch, 2 / row->m_max, 1e-12);
    assert_true(row->batch_limit[COURANT_SGD_MEAN_SQUARE].low <= row->limit_full_batch);
    assert_true(row->batch_limit[COURANT_SGD_ALMOST_SURE].low < row->limit &&
                row->limit < row->batch_limit[COURANT_SGD_ALMOST_SURE].high);
    assert_true(row->gradient_noise > 0.01);
  }
  for (PetscInt i = 0; i < s.map->nw * s.map->nl; i++) {
    const CourantMapCell *cell = &s.map->cells[i];
    const CourantMapRow *row = &s.map->rows[i / s.map->nl];
    const double eta = s.map->learning_rate[i % s.map->nl];
    assert_true(cell->growth_low <= cell->growth && cell->growth <= cell->growth_high);
    assert_true(cell->growth_low <= cell->mean_square.high); /* Jensen */
    if (cell->growth_high < 1) assert_true(eta < row->batch_limit[COURANT_SGD_ALMOST_SURE].high);
    if (cell->growth_low > 1) assert_true(eta > row->batch_limit[COURANT_SGD_ALMOST_SURE].low);
    /* the gradient is bounded in mini-batches too: what decays faster than 2 / alpha can hold stays bounded
     */
    if (eta < 0.98 * row->limit_far_field) assert_true(cell->global_regime != COURANT_OUTCOME_DIVERGENT);
    if (eta > 1.1 * row->limit_far_field) assert_int_equal(cell->global_regime, COURANT_OUTCOME_DIVERGENT);
    if (cell->regime == COURANT_REGIME_DIVERGENT) assert_true(eta > row->limit_far_field);
  }
  Free(&s);
}

/* A batch of all samples is gradient descent. */
static void FullBatch(void **state)
{
  const char *const options =
      "-threads 2 -points 6x3"; /* of the map alone: the checks are others, two runs and a difference */
  Solved all, full;

  (void)state;
  SolveText(NOISE "train: {batch: 8}\n", options, &all);
  SolveText(NOISE, options, &full);
  for (PetscInt w = 0; w < full.map->nw; w++)
    for (int k = 0; k < COURANT_SGD_KINDS; k++)
      NEAR(all.map->rows[w].batch_limit[k].value, full.map->rows[w].limit, 1e-10);
  for (PetscInt i = 0; i < full.map->nw * full.map->nl; i++) {
    NEAR(all.map->cells[i].growth, full.map->cells[i].growth, 1e-10 * full.map->cells[i].growth);
    NEAR(all.map->cells[i].local_growth, full.map->cells[i].growth, 0.02 * full.map->cells[i].growth);
    assert_int_equal(all.map->cells[i].regime, full.map->cells[i].regime);
  }
  Free(&all);
  Free(&full);
}

/* ---- the trainer ---- */

/* What the checks step is what courant train does, to the bit: the same batches in the same order. */
static void SameBatches(void **state)
{
  double theta[9];
  CourantTrainSettings settings;
  CourantRunRecord record;
  CourantRunState run_state;
  CourantTrainer trainer;
  CourantRun run;
  Solved s;

  (void)state;
  SolveText(NOISE "train: {batch: 3, seed: 11, learning_rate: 0.2, weight_decay: 0.3}\n",
            "-threads 1 -points 1x1 -sgd_steps 64", &s);
  settings = s.map->train;
  OK(CourantRunCreate(s.map->problem, &settings, PETSC_TRUE, &run));
  OK(CourantRunStateCreate(&run, &run_state));
  OK(CourantRunStart(&run, &s.map->problem->weights, settings.seed, 1, &run_state));
  OK(CourantTrainerCreate(s.map->problem, &settings, s.map->mask, NULL, &trainer));
  memcpy(theta, s.map->start, sizeof theta);
  for (PetscInt t = 0; t < 10; t++) {
    CourantTrainerSetBatch(&trainer, t);
    assert_null(CourantTrainerStep(&trainer, t + 1, 0.2, 0.3, theta));
    OK(CourantRunStep(&run, &run_state, &record));
    assert_memory_equal(theta, run_state.theta, sizeof theta);
  }
  OK(CourantTrainerDestroy(&trainer));
  OK(CourantRunStateDestroy(&run_state));
  OK(CourantRunDestroy(&run));
  Free(&s);
}

enum { P = 9 }; /* weights */

static double Size(const double x[P])
{
  double square = 0;
  for (int k = 0; k < P; k++) square += x[k] * x[k];
  return square;
}

/* x' = x - eta (H_batch + alpha) x over an epoch of the trainer's batches; returns |x'|^2. */
static double RunEpoch(CourantTrainer *trainer, PetscInt epoch, const double theta[], double eta,
                       double alpha, double x[])
{
  const double h = 1e-5;
  double at[P], forward[P];

  for (PetscInt t = 0; t < trainer->batches.per_epoch; t++) {
    const double norm = sqrt(Size(x));
    CourantTrainerSetBatch(trainer, epoch * trainer->batches.per_epoch + t);
    for (int side = 1; side >= -1; side -= 2) {
      for (int k = 0; k < P; k++) at[k] = theta[k] + side * h / norm * x[k];
      assert_null(CourantTrainerGradient(trainer, at));
      if (side > 0) memcpy(forward, trainer->gradient, sizeof forward);
    }
    for (int k = 0; k < P; k++)
      x[k] -= eta * ((forward[k] - trainer->gradient[k]) * norm / (2 * h) + alpha * x[k]);
  }
  return Size(x);
}

/* L with L L^T the covariance. */
static void Factor(const double covariance[P * P], double L[P * P])
{
  const PetscBLASInt n = P;
  PetscBLASInt info;

  memcpy(L, covariance, sizeof(double) * P * P);
  for (int k = 0; k < P; k++) L[k * (P + 1)] += 1e-14;
  LAPACKpotrf_("L", &n, L, &n, &info);
  assert_int_equal(info, 0);
}

/* x = L g, g of random signs. */
static void Draw(const double L[P * P], int run, int epoch, double x[P])
{
  const CourantRandom stream = {
      .seed = 3, .purpose = COURANT_RANDOM_TEST, .index = (uint32_t)run, .epoch = (uint32_t)epoch};
  double g[P];

  CourantRandomUniform(stream, P, g);
  memset(x, 0, sizeof(double) * P);
  for (int j = 0; j < P; j++)
    for (int k = j; k < P; k++) x[k] += g[j] < 0.5 ? L[j * P + k] : -L[j * P + k];
}

/*
  The second moment of an ensemble, held at theta*: runs are drawn with the covariance that an epoch
  of the trainer left those before them with, until that keeps its shape, and then grow by the epoch's factor,
  since the trainer draws without replacement. (Runs that simply go on are no measure of it: after a few
  epochs the mean square is that of runs which are too rare to be seen.) On both sides of the limit, within
  three standard deviations.
*/
static void SecondMoment(void **state)
{
  enum { RUNS = 1600, EPOCHS = 18, DISCARDED = 4 };
  const double shares[] = {0.9, 1.1}, alpha = 1;
  CourantTrainer trainer;
  CourantSgd sgd;
  Solved s;

  (void)state;
  SolveText(NOISE "train: {batch: 4}\n", "-threads 2 -learning_rate 0.1 -weight_decay 1", &s);
  OK(CourantSgdCreate(PETSC_COMM_SELF, 4, &sgd));
  OK(CourantSgdSetProblem(sgd, s.map->problem, s.map->theta, alpha, NULL));
  OK(CourantTrainerCreate(s.map->problem, &s.map->train, s.map->mask, NULL, &trainer));
  for (int c = 0; c < 2; c++) {
    const double eta = shares[c] * s.map->rows[0].batch_limit[COURANT_SGD_EPOCH].value;
    double covariance[P * P] = {0}, ratio[EPOCHS];
    CourantEstimate growth, independent;
    CourantStatus status;
    OK(CourantSgdGetGrowth(sgd, COURANT_SGD_EPOCH, 1, &eta, &growth, &status));
    OK(CourantSgdGetGrowth(sgd, COURANT_SGD_MEAN_SQUARE, 1, &eta, &independent, &status));
    for (int k = 0; k < P; k++) covariance[k * (P + 1)] = 1. / P;
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
      double L[P * P], next[P * P] = {0}, before = 0, after = 0;
      Factor(covariance, L);
      for (int run = 0; run < RUNS; run++) {
        double x[P];
        Draw(L, run, epoch, x);
        before += Size(x);
        trainer.seed = (uint64_t)(100 + run);
        after += RunEpoch(&trainer, epoch, s.map->states, eta, alpha, x);
        for (int j = 0; j < P; j++)
          for (int k = 0; k < P; k++) next[j * P + k] += x[j] * x[k];
      }
      ratio[epoch] = after / before;
      for (int k = 0; k < P * P; k++) covariance[k] = next[k] / after;
    }
    const CourantEstimate mean = CourantMeanEstimate(EPOCHS - DISCARDED, ratio + DISCARDED);
    const double power = 2. * trainer.batches.per_epoch, expected = pow(growth.value, power),
                 other = pow(independent.value, power);
    printf(
        "# eta %.4g: second moment times %.4g (%.4g to %.4g) over an epoch, predicted %.4g, of independent "
        "batches %.4g\n",
        eta, mean.value, mean.low, mean.high, expected, other);
    NEAR(mean.value, expected, 0.75 * (mean.high - mean.low));
    assert_true(other < mean.low || other > mean.high);
  }
  OK(CourantTrainerDestroy(&trainer));
  OK(CourantSgdDestroy(&sgd));
  Free(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ScalarPair),  cmocka_unit_test(Noise),        cmocka_unit_test(FullBatch),
    cmocka_unit_test(SameBatches), cmocka_unit_test(SecondMoment),
};

TEST_MAIN(tests)
