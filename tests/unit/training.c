/* Training runs: perturbed steps, rates, schedules, batches, running statistics, ensembles. */
#include "check.h"
#include "train/ensemble.h"
#include <stdlib.h>

#define DATA  "data: {source: noise, size: 6, samples: 22, classes: 3, mean: 0.3, seed: 5}\nloss: softmax\n"
#define PLAIN DATA "network: [{conv: {channels: 2, kernel: 3}}, tanh, flatten, {dense: {features: 3}}]\n"
#define NORMALISED                                                                                           \
  DATA "network: [{conv: {channels: 2, kernel: 3}}, batch_norm, swish, global_mean, {dense: {features: "     \
       "3}}]\nstatistics_batch: 11\n"

typedef struct {
  CourantDeck deck;
  CourantProblem problem;
  CourantTrainSettings settings;
  CourantRun run;
  CourantRunState state;
  CourantRunRecord record; /* of the last step */
  double *theta;           /* [n], by Weights() */
} Training;

/* The start of a run: a model, and the inside of its train section. */
static void Begin(Training *t, const char *model, const char *train)
{
  char text[2048];

  *t = (Training){0};
  snprintf(text, sizeof text, "%sweights: {init: pytorch, seed: 3}\ntrain: {%s}\n", model, train);
  OK(CourantDeckParse(PETSC_COMM_SELF, text, NULL, &t->deck));
  OK(CourantProblemCreate(PETSC_COMM_SELF, t->deck, &t->problem));
  OK(CourantProblemSetUp(t->problem));
  OK(CourantTrainRead(t->problem->top.train, &t->settings));
  OK(CourantRunCreate(t->problem, &t->settings, PETSC_TRUE, &t->run));
  OK(CourantRunStateCreate(&t->run, &t->state));
  OK(CourantRunStart(&t->run, &t->problem->weights, t->settings.seed, t->settings.perturb, &t->state));
  t->theta = malloc(sizeof(double) * t->run.n);
}

static void End(Training *t)
{
  free(t->theta);
  OK(CourantRunStateDestroy(&t->state));
  OK(CourantRunDestroy(&t->run));
  OK(CourantTrainReset(&t->settings));
  OK(CourantProblemDestroy(&t->problem));
  OK(CourantDeckDestroy(&t->deck));
}

static void Steps(Training *t, int n)
{
  for (int i = 0; i < n; i++) OK(CourantRunStep(&t->run, &t->state, &t->record));
}

static const double *Weights(Training *t)
{
  CourantRunGet(&t->run, t->state.theta, t->theta);
  return t->theta;
}

/* Are the weights of two runs the same to the bit? */
static PetscBool Same(const Training *a, const Training *b)
{
  assert_int_equal(a->run.n, b->run.n);
  assert_int_equal(a->run.backend->real_size, b->run.backend->real_size);
  return memcmp(a->state.theta, b->state.theta, a->run.n * a->run.backend->real_size) ? PETSC_FALSE
                                                                                      : PETSC_TRUE;
}

/* ---- the perturbed step ---- */

static const char *const rules[] = {
    "rule: gd, learning_rate: 0.3",
    "rule: momentum, momentum: 0.9, learning_rate: 0.05",
    "rule: momentum, momentum: 0.9, nesterov: true, learning_rate: 0.05",
    "rule: momentum, momentum: 0.9, decoupled: true, learning_rate: 0.05",
    "rule: adam, learning_rate: 0.01",
    "rule: adam, decoupled: true, learning_rate: 0.01",
};
enum { RULES = PETSC_STATIC_ARRAY_LENGTH(rules) };
static const char *const precisions[] = {"double", "single"};

static void Perturbed(void **state)
{
  static const double powers[] = {2, 4, 0.5};
  char train[256];

  (void)state;
  for (int r = 0; r < 2 * RULES; r++) {
    Training base, other;
    snprintf(train, sizeof train, "%s, weight_decay: 0.01, batch: 8, precision: %s", rules[r / 2],
             precisions[r % 2]);
    Begin(&base, r < RULES ? PLAIN : NORMALISED, train);
    Steps(&base, 30);
    for (int i = 0; i < 4; i++) {
      snprintf(train, sizeof train, "%s, weight_decay: 0.01, batch: 8, precision: %s, perturb: %g",
               rules[r / 2], precisions[r % 2], i < 3 ? powers[i] : 3);
      Begin(&other, r < RULES ? PLAIN : NORMALISED, train);
      Steps(&other, 30);
      if (Same(&base, &other) != (i < 3))
        fail_msg("%s: k = 1 and this one are %s", train, i < 3 ? "different" : "the same");
      BELOW(CourantRunDistance(base.run.n, Weights(&base), Weights(&other)), r % 2 ? 1e-2 : 1e-10);
      End(&other);
    }
    End(&base);
  }
}

/* theta - (k eta) (d / k) in single precision, k eta formed in double, against the same in so many words. */
static void StepInFloats(void **state)
{
  const float decay = 0.01f, mu = 0.9f;
  Training t;

  (void)state;
  for (int momentum = 0; momentum < 2; momentum++) {
    Begin(&t, PLAIN,
          momentum ? "rule: momentum, momentum: 0.9, learning_rate: 0.1, weight_decay: 0.01, perturb: 7, "
                     "precision: single"
                   : "rule: gd, learning_rate: 0.1, weight_decay: 0.01, perturb: 7, precision: single");
    float *theta = malloc(sizeof(float) * t.run.n), *velocity = malloc(sizeof(float) * t.run.n);
    memcpy(theta, t.state.theta, sizeof(float) * t.run.n);
    for (int step = 0; step < 5; step++) {
      Steps(&t, 1);
      for (size_t i = 0; i < t.run.n; i++) {
        float d = (float)t.run.gradient[i] + decay * theta[i];
        if (momentum) d = velocity[i] = step ? mu * velocity[i] + d : d;
        theta[i] -= (float)(7 * 0.1) * (d / 7);
      }
      assert_memory_equal(theta, t.state.theta, sizeof(float) * t.run.n);
    }
    free(theta), free(velocity);
    End(&t);
  }
}

/* ---- rates of layers ---- */

static void LayerRates(void **state)
{
  Training t, plain;
  char train[256];

  (void)state;
  for (int r = 0; r < RULES; r++) {
    snprintf(train, sizeof train, "%s, weight_decay: 0.1, batch: 8, layer_rates: {0.weight: 0}", rules[r]);
    Begin(&t, PLAIN, train);
    double *start = malloc(sizeof(double) * t.run.n);
    memcpy(start, Weights(&t), sizeof(double) * t.run.n);
    Steps(&t, 10);
    const CourantLayer *first = &t.problem->net->layers[0];
    for (size_t i = 0; i < t.run.n; i++) {
      const PetscBool frozen = (PetscInt)i < first->parameters[0].size;
      if ((start[i] == Weights(&t)[i]) != frozen) fail_msg("%s: weight %zu", rules[r], i);
    }
    free(start);
    End(&t);
  }

  /* a name of a layer stands for its tensors; half the rate goes half as far */
  Begin(&plain, PLAIN, "rule: gd, learning_rate: 0.5");
  Begin(&t, PLAIN, "rule: gd, learning_rate: 0.5, layer_rates: {\"3\": 0.5}");
  double *start = malloc(sizeof(double) * t.run.n);
  memcpy(start, Weights(&t), sizeof(double) * t.run.n);
  Steps(&t, 1);
  Steps(&plain, 1);
  const PetscInt dense = t.problem->net->layers[3].offset;
  for (size_t i = 0; i < t.run.n; i++) {
    const double full = Weights(&plain)[i] - start[i];
    NEAR(Weights(&t)[i] - start[i], (PetscInt)i < dense ? full : 0.5 * full, 1e-15);
  }
  free(start);
  End(&t);
  End(&plain);
}

static void UnknownRate(void **state)
{
  CourantDeck deck;
  CourantProblem problem;
  CourantTrainSettings settings = {0};
  double rates[128];
  PetscBool any;

  (void)state;
  OK(CourantDeckParse(PETSC_COMM_SELF, PLAIN "train: {rule: gd, layer_rates: {4.weight: 0}}\n", NULL, &deck));
  OK(CourantProblemCreate(PETSC_COMM_SELF, deck, &problem));
  OK(CourantProblemSetUp(problem));
  OK(CourantTrainRead(problem->top.train, &settings));
  assert_in_range(problem->net->size, 1, 128);
  CourantErrorClear();
  assert_int_equal(CourantTrainLayerRates(&settings, problem->net, rates, &any), COURANT_ERR_INPUT);
  assert_non_null(strstr(CourantErrorMessage(), "the network has no parameter '4.weight'"));
  CourantErrorClear();
  OK(CourantTrainReset(&settings));
  OK(CourantProblemDestroy(&problem));
  OK(CourantDeckDestroy(&deck));
}

/* ---- schedules ---- */

/* The factor of a schedule at a step of `per_epoch` in an epoch, in a run of 20 epochs. */
static double Factor(const char *schedule, double epoch, double step, double per_epoch)
{
  char text[512];
  CourantTrainSettings settings = {0};
  CourantDeck deck;

  snprintf(text, sizeof text, "train: {epochs: 20, schedule: %s}\n", schedule);
  OK(CourantDeckParse(PETSC_COMM_SELF, text, NULL, &deck));
  OK(CourantTrainRead(CourantNodeChild(CourantDeckRoot(deck), "train"), &settings));
  const double factor =
      CourantScheduleFactor(&settings.schedule, epoch + step / per_epoch, 1 / per_epoch, 20);
  OK(CourantTrainReset(&settings));
  OK(CourantDeckDestroy(&deck));
  return factor;
}

static void Schedules(void **state)
{
  (void)state;
  for (int epoch = 0; epoch < 20; epoch++)
    for (int step = 0; step < 7; step++) {
      const double time = epoch + step / 7., pi = acos(-1);
      const double cosine = (1 + cos(pi * time / 20)) / 2, drop = epoch < 6 ? 1 : epoch < 12 ? 0.1 : 0.01;
      const double rise = (time + 1 / 7.) / 5, late = (1 + cos(pi * (time - 5) / 15)) / 2;
      NEAR(Factor("constant", epoch, step, 7), 1, 0);
      NEAR(Factor("cosine", epoch, step, 7), cosine, 1e-15);
      NEAR(Factor("{step: {at: [6, 12], factor: 0.1}}", epoch, step, 7), drop, 1e-17);
      NEAR(Factor("{warmup: 5}", epoch, step, 7), epoch < 5 ? rise : 1, 1e-15);
      NEAR(Factor("{warmup: 5, then: constant}", epoch, step, 7), epoch < 5 ? rise : 1, 1e-15);
      NEAR(Factor("{warmup: 5, then: cosine}", epoch, step, 7), epoch < 5 ? rise : late, 1e-15);
      NEAR(Factor("{warmup: 5, then: {step: {at: [6, 12], factor: 0.1}}}", epoch, step, 7),
           epoch < 5 ? rise : drop, 1e-15);
    }
  /* the last step of the warm-up has the whole rate */
  NEAR(Factor("{warmup: 5}", 4, 6, 7), 1, 1e-15);
  NEAR(Factor("{warmup: 0, then: cosine}", 0, 0, 7), 1, 0);
}

/* In epochs where a run is counted in them, otherwise in steps; and the rule gets what is recorded. */
static void ScheduledRuns(void **state)
{
  Training t;

  (void)state;
  Begin(&t, PLAIN,
        "rule: gd, learning_rate: 0.2, batch: 8, epochs: 4, schedule: {step: {at: [2], factor: 0.5}}");
  assert_int_equal(t.run.per_epoch, 3);
  assert_int_equal(t.run.steps, 12);
  for (int step = 0; step < 12; step++) {
    const double *theta = Weights(&t), before = theta[0], rate = step < 6 ? 0.2 : 0.1;
    Steps(&t, 1);
    NEAR(t.record.learning_rate, rate, 1e-17);
    NEAR(Weights(&t)[0], before - rate * t.run.gradient[0], 1e-16);
  }
  End(&t);
  Begin(&t, PLAIN,
        "rule: gd, learning_rate: 0.2, batch: 8, steps: 12, schedule: {step: {at: [2], factor: 0.5}}");
  for (int step = 0; step < 12; step++)
    NEAR(CourantRunLearningRate(&t.run, step), step < 2 ? 0.2 : 0.1, 1e-17);
  End(&t);
}

/* ---- mini-batches ---- */

/* Every epoch is a permutation of the samples, a new one; each step's loss is that of its samples. */
static void Shuffled(void **state)
{
  enum { N = 22, EPOCHS = 6 };
  PetscInt orders[EPOCHS][N];
  double outputs[N * 3], loss, correct;
  Training t;

  (void)state;
  Begin(&t, PLAIN, "rule: gd, learning_rate: 0.2, batch: 8, epochs: 6, seed: 9");
  for (int epoch = 0; epoch < EPOCHS; epoch++)
    for (int step = 0; step < 3; step++) {
      const double *theta = Weights(&t);
      Steps(&t, 1);
      if (step == 0) memcpy(orders[epoch], t.run.batches.order, sizeof orders[epoch]);
      assert_memory_equal(orders[epoch], t.run.batches.order, sizeof orders[epoch]);
      const CourantBatch batch = {
          .data = t.problem->data, .n = step < 2 ? 8 : 6, .samples = orders[epoch] + 8 * step};
      assert_null(CourantEvaluatorPredict(t.run.evaluator, theta, NULL, &batch, &loss, &correct, outputs));
      NEAR(t.record.loss, loss, 1e-14);
    }
  for (int epoch = 0; epoch < EPOCHS; epoch++) {
    int seen[N] = {0}, moved = 0;
    for (int i = 0; i < N; i++) {
      assert_in_range(orders[epoch][i], 0, N - 1);
      seen[orders[epoch][i]]++;
      moved += orders[epoch][i] != i;
    }
    for (int i = 0; i < N; i++) assert_int_equal(seen[i], 1);
    assert_true(moved > N / 2);
    for (int other = 0; other < epoch; other++)
      assert_memory_not_equal(orders[epoch], orders[other], sizeof orders[epoch]);
  }
  End(&t);
}

/* Many more samples than a step takes are predicted as few are: their mean is that of one round of them. */
static void ManyPredicted(void **state)
{
  enum { N = 22, ROUNDS = 500 };
  static PetscInt order[N * ROUNDS];
  static double outputs[N * ROUNDS * 3];
  double loss[2], correct[2];
  Training t;

  (void)state;
  Begin(&t, PLAIN, "rule: gd, learning_rate: 0.2, batch: 1, epochs: 1, seed: 9");
  for (int i = 0; i < N * ROUNDS; i++) order[i] = i % N;
  for (int k = 0; k < 2; k++) {
    const CourantBatch batch = {.data = t.problem->data, .n = k ? N * ROUNDS : N, .samples = order};
    assert_null(
        CourantEvaluatorPredict(t.run.evaluator, Weights(&t), NULL, &batch, &loss[k], &correct[k], outputs));
  }
  NEAR(loss[1], loss[0], 1e-13);
  NEAR(correct[1], ROUNDS * correct[0], 0);
  End(&t);
}

/* A seed has its own order of samples; the same seed the same run, whatever else was run in between. */
static void Seeds(void **state)
{
  static const char momentum[] =
      "rule: momentum, momentum: 0.9, learning_rate: 0.1, weight_decay: 0.01, batch: 8";
  Training one, other;
  CourantRunState second;

  (void)state;
  Begin(&one, PLAIN, momentum);
  Begin(&other, PLAIN, momentum);
  OK(CourantRunStateCreate(&other.run, &second));
  OK(CourantRunStart(&other.run, &other.problem->weights, 1, 1, &second));
  assert_memory_equal(second.theta, other.state.theta, sizeof(double) * other.run.n); /* the deck's weights */
  for (int step = 0; step < 10; step++) {
    Steps(&one, 1);
    Steps(&other, 1);
    OK(CourantRunStep(&other.run, &second, &other.record));
    assert_true(Same(&one, &other));
    assert_memory_not_equal(second.theta, other.state.theta, sizeof(double) * other.run.n);
  }
  OK(CourantRunStateDestroy(&second));
  End(&one);
  End(&other);
}

/* What an interrupted run keeps is all that it is. */
static void GoesOn(void **state)
{
  char train[256];

  (void)state;
  for (int r = 0; r < 2 * RULES; r++) {
    Training whole, half, rest;
    snprintf(train, sizeof train, "%s, weight_decay: 0.01, batch: 8, precision: %s", rules[r / 2],
             precisions[r % 2]);
    Begin(&whole, NORMALISED, train);
    Begin(&half, NORMALISED, train);
    Begin(&rest, NORMALISED, train);
    Steps(&whole, 17);
    Steps(&half, 7);
    CourantRunSet(&rest.run, Weights(&half), rest.state.theta);
    for (int i = 0; i < half.run.rule->states; i++) {
      CourantRunGet(&half.run, half.state.rule[i], half.theta);
      CourantRunSet(&rest.run, half.theta, rest.state.rule[i]);
    }
    memcpy(rest.state.running, half.state.running, sizeof(double) * (size_t)half.problem->net->buffers);
    rest.state.step = 7;
    Steps(&rest, 10);
    assert_true(Same(&whole, &rest));
    assert_memory_equal(whole.state.running, rest.state.running,
                        sizeof(double) * (size_t)whole.problem->net->buffers);
    End(&whole);
    End(&half);
    End(&rest);
  }
}

static double Length(Training *t)
{
  double sum = 0;
  for (size_t i = 0; i < t->run.n; i++) sum += Weights(t)[i] * Weights(t)[i];
  return sqrt(sum);
}

/* A run has diverged when its weights are 1e6 times as long as at the start; it is left there. */
static void Divergence(void **state)
{
  Training t;
  int expected = 0;

  (void)state;
  Begin(&t, PLAIN, "rule: gd, learning_rate: 100, weight_decay: 1");
  const double start = Length(&t);
  for (int step = 0; step < 20 && !t.state.diverged; step++) {
    if (Length(&t) <= 1e6 * start) expected++;
    Steps(&t, 1);
  }
  assert_true(t.state.diverged);
  assert_int_equal(t.state.step, expected);
  assert_in_range(expected, 2, 4); /* by a factor 99 a step, and what the gradient adds */
  assert_true(Length(&t) > 1e6 * start && isfinite(Length(&t)));
  End(&t);
}

/* ---- running statistics ---- */

/* Batch norm on the data itself, so that plain loops know its statistics. */
#define ON_DATA                                                                                              \
  "data: {source: noise, size: 5, samples: 23, classes: 3, exponent: 1, mean: 0.4, seed: 2}\nloss: "         \
  "softmax\n"                                                                                                \
  "network: [{batch_norm: {momentum: 0.3}}, global_mean, {dense: {features: 3}}]\nstatistics_batch: 9\n"

/* Mean and unbiased variance over all pixels of some samples. */
static void Statistics(CourantDataset data, PetscInt n, const PetscInt samples[], double *mean,
                       double *variance)
{
  const size_t size = CourantDatasetImageSize(data);

  *mean = *variance = 0;
  for (PetscInt i = 0; i < n; i++)
    for (size_t k = 0; k < size; k++) *mean += data->images[(size_t)samples[i] * size + k];
  *mean /= (double)((size_t)n * size);
  for (PetscInt i = 0; i < n; i++)
    for (size_t k = 0; k < size; k++) {
      const double d = data->images[(size_t)samples[i] * size + k] - *mean;
      *variance += d * d;
    }
  *variance /= (double)((size_t)n * size - 1);
}

/* PyTorch's: r = (1 - momentum) r + momentum new, from 0 and 1, the variance unbiased; group after group. */
static void RunningStatistics(void **state)
{
  enum { N = 23 };
  PetscInt all[N];

  (void)state;
  for (int i = 0; i < N; i++) all[i] = i;
  for (int full = 0; full < 2; full++) {
    double mean = 0, variance = 1, m, v;
    const PetscInt group = full ? 9 : 10; /* a mini-batch is one group */
    Training t;
    Begin(&t, ON_DATA, full ? "rule: gd, batch: full, steps: 4" : "rule: gd, batch: 10, steps: 7");
    assert_non_null(t.problem->data->images);
    NEAR(t.state.running[0], 0, 0);
    NEAR(t.state.running[1], 1, 0);
    for (int step = 0; step < t.run.steps; step++) {
      Steps(&t, 1);
      const PetscInt from = full ? 0 : 10 * (step % 3), to = full ? N : PetscMin(N, from + 10);
      for (PetscInt first = from; first < to; first += group) {
        Statistics(t.problem->data, PetscMin(group, to - first), (full ? all : t.run.batches.order) + first,
                   &m, &v);
        mean = 0.7 * mean + 0.3 * m;
        variance = 0.7 * variance + 0.3 * v;
      }
      NEAR(t.state.running[0], mean, 1e-14);
      NEAR(t.state.running[1], variance, 1e-14);
    }
    End(&t);
  }
}

/* Predictions normalise by them: the network by plain loops. */
static void Evaluation(void **state)
{
  Training t;
  double loss, accuracy, expected = 0;
  int right = 0;

  (void)state;
  Begin(&t, ON_DATA, "rule: gd, learning_rate: 0.5, batch: 10, steps: 7");
  Steps(&t, 7);
  OK(CourantRunEvaluate(&t.run, &t.state, &loss, &accuracy));
  const double *theta = Weights(&t); /* weight, bias, dense weight [3,1], dense bias [3] */
  const CourantDataset data = t.problem->data;
  const size_t size = CourantDatasetImageSize(data);
  for (PetscInt i = 0; i < data->n; i++) {
    double mean = 0, sum = 0, p[3];
    int best = 0;
    for (size_t k = 0; k < size; k++)
      mean += ((data->images[(size_t)i * size + k] - t.state.running[0]) / sqrt(t.state.running[1] + 1e-5) *
                   theta[0] +
               theta[1]) /
              (double)size;
    for (int c = 0; c < 3; c++) {
      p[c] = theta[2 + c] * mean + theta[5 + c];
      sum += exp(p[c]);
      if (p[c] > p[best]) best = c;
    }
    expected += (log(sum) - p[(int)data->labels[i]]) / (double)data->n;
    right += best == (int)data->labels[i];
  }
  NEAR(loss, expected, 1e-14);
  NEAR(accuracy, right / (double)data->n, 1e-15);
  End(&t);
}

/* ---- ensembles ---- */

static void Distances(void **state)
{
  const double a[] = {1, -2, 0, 3}, b[] = {1, 2, 0, 1}, c[] = {0, 0, 0, 0};

  (void)state;
  NEAR(CourantRunDistance(4, a, a), 0, 0);
  NEAR(CourantRunDistance(4, a, b), 2 * (4. / 4 + 2. / 4) / 4, 1e-15);
  NEAR(CourantRunDistance(4, b, a), 2 * (4. / 4 + 2. / 4) / 4, 1e-15);
  NEAR(CourantRunDistance(4, a, c), 2 * 3. / 4, 1e-15);
  NEAR(CourantRunDistance(4, c, c), 0, 0);
}

/* A member of an ensemble is the run of its seed and k by itself. */
static void Ensemble(void **state)
{
  static const char base[] =
      "rule: momentum, momentum: 0.9, learning_rate: 0.1, batch: 8, epochs: 12, precision: single";
  static const double perturbs[] = {1, 2, 3};
  char train[512];
  Training host;
  CourantEnsemble e;

  (void)state;
  snprintf(train, sizeof train, "%s, ensemble: {seeds: [4, 7], perturb: [1, 2, 3]}", base);
  Begin(&host, NORMALISED, train);
  OK(CourantEnsembleCreate(host.problem, &host.settings, &e));
  assert_int_equal(e.epochs, 12);
  for (PetscInt s = 1; s >= 0; s--) OK(CourantEnsembleRunSeed(&e, s, NULL, NULL)); /* in any order */
  for (int s = 0; s < 2; s++) {
    Training first;
    for (int k = 0; k < 3; k++) {
      const int cell = s * 3 + k;
      double loss, accuracy, mean = 0;
      Training t;
      snprintf(train, sizeof train, "%s, seed: %d, perturb: %g", base, s ? 7 : 4, perturbs[k]);
      Begin(&t, NORMALISED, train);
      for (int epoch = 0; epoch < 12; epoch++) {
        Steps(&t, 3);
        OK(CourantRunEvaluate(&t.run, &t.state, &loss, &accuracy));
        if (epoch >= 2) mean += accuracy / 10;
      }
      NEAR(e.accuracy[cell], mean, 1e-15);
      assert_true(isnan(e.diverged_at[cell]));
      if (k == 0) first = t;
      const double distance = CourantRunDistance(t.run.n, Weights(&first), Weights(&t));
      NEAR(e.distance[(cell + 1) * 12 - 1], distance, 0);
      assert_int_equal(distance > 0, k == 2);
      if (k) End(&t);
    }
    End(&first);
  }
  /* standard deviations with n - 1 */
  double row[2], column[3], x[6] = {0.5, 0.6, 0.7, 0.5, 0.5, 0.8};
  memcpy(e.accuracy, x, sizeof x);
  CourantEnsembleSpread(&e, row, column);
  NEAR(row[0], 0.1, 1e-15);
  NEAR(row[1], sqrt(0.03), 1e-15);
  NEAR(column[0], 0, 1e-15);
  NEAR(column[1], 0.1 / sqrt(2), 1e-15);
  OK(CourantEnsembleDestroy(&e));
  End(&host);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Perturbed),   cmocka_unit_test(StepInFloats),  cmocka_unit_test(LayerRates),
    cmocka_unit_test(UnknownRate), cmocka_unit_test(Schedules),     cmocka_unit_test(ScheduledRuns),
    cmocka_unit_test(Shuffled),    cmocka_unit_test(ManyPredicted), cmocka_unit_test(Seeds),
    cmocka_unit_test(GoesOn),      cmocka_unit_test(Divergence),    cmocka_unit_test(RunningStatistics),
    cmocka_unit_test(Evaluation),  cmocka_unit_test(Distances),     cmocka_unit_test(Ensemble),
};

TEST_MAIN(tests)
