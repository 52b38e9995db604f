/* Maps of every rule: cell by cell on one-layer networks, and their limits at an equilibrium of a lenet. */
#include "maps.h"
#include "stability/preconditioned.h"
#include "train/run.h"

/* ---- one layer ---- */

static const struct {
  const char *rule, *overrides;
} rules[] = {
    {"momentum", NULL},
    {"nesterov", NULL},
    {"momentum", "train.decoupled=true"},
    {"nesterov", "train.decoupled=true"},
};

/*
  The flip of momentum is gradient descent's at another learning rate: 2-cycles of the half-distance that the
  normal form says, up to a part of the order of eta / limit - 1 = excess: 1.2 excess, decoupled 4.8 or 1.9
  (one dimension, iterated by another program).
*/
static void CheckHalfDistance(const Solved *s, double alpha, double excess)
{
  enum { P = 64, STEPS = 20000 };
  const CourantMapRow *row = Row(s, alpha);
  const double *theta = s->map->states + (row - s->map->rows) * s->map->p;
  const double eta = (1 + excess) * row->limit, expected = sqrt(2 * excess / row->flip_coefficient);
  double state[2 * P], ring[3][P], half = 0, back = 0;
  CourantTrainer trainer;

  OK(CourantTrainerCreate(s->map->problem, &s->map->train, s->map->mask, NULL, &trainer));
  CourantTrainerRest(&trainer, alpha, theta, state); /* an other velocity may lead to the mirror branch */
  for (int k = 0; k < P; k++) state[k] *= 1.001;
  for (int step = 0; step < STEPS; step++) {
    assert_null(CourantTrainerStep(&trainer, 2, eta, alpha, state));
    memcpy(ring[step % 3], state, sizeof ring[0]);
  }
  for (int k = 0; k < P; k++) {
    half += pow(ring[(STEPS - 1) % 3][k] - ring[(STEPS - 2) % 3][k], 2);
    back += pow(ring[(STEPS - 1) % 3][k] - ring[(STEPS - 3) % 3][k], 2);
  }
  half = 0.5 * sqrt(half);
  BELOW(sqrt(back), 1e-6 * half);
  NEAR(half, expected, 6 * excess * expected);
  OK(CourantTrainerDestroy(&trainer));
}

/* Checkerboard: at least 99 % of the cells agree, growth is measured as predicted, and the flip is. */
static void OneLayer(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    char options[96];
    Solved s;
    snprintf(options, sizeof options, "-points 10x10 -threads 2 -rule %s", rules[i].rule);
    SolveWith("models/one-layer.yaml", options, rules[i].overrides, &s);
    CheckMap(&s);
    for (PetscInt c = 0; c < s.map->nw * s.map->nl; c++) {
      const CourantMapCell *cell = &s.map->cells[c];
      assert_true(cell->growth > 1 ? isinf(cell->transient_growth) : cell->transient_growth >= 1);
    }
    Free(&s);
    snprintf(options, sizeof options, "-learning_rate 1 -weight_decay 1.25 -threads 2 -rule %s",
             rules[i].rule);
    SolveWith("models/one-layer.yaml", options, rules[i].overrides, &s);
    CheckHalfDistance(&s, 1.25, 0.01);
    CheckHalfDistance(&s, 1.25, 0.0025);
    Free(&s);
  }
}

/* A generic spectrum; states that are no equilibria too. */
static void Noise(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    char options[96], overrides[96];
    CourantAgreement a;
    Solved s;
    snprintf(options, sizeof options, "-points 8x8 -threads 2 -rule %s", rules[i].rule);
    SolveWith("models/one-layer-noise.yaml", options, rules[i].overrides, &s);
    CheckMap(&s);
    Free(&s);
    snprintf(overrides, sizeof overrides, "map.linearise=init%s%s", rules[i].overrides ? "," : "",
             rules[i].overrides ? rules[i].overrides : "");
    SolveWith("models/one-layer-noise.yaml", options, overrides, &s);
    OK(CourantMapGetAgreement(s.map, &a));
    assert_true((double)a.decided >= 0.9 * (double)a.checked);
    assert_true((double)a.agreed >= 0.99 * (double)a.decided);
    BELOW(a.median_error, 2e-3);
    Free(&s);
  }
}

/* ---- lenet ---- */

/* models/lenet.yaml on fewer and smaller digits. */
#define LENET                                                                                                \
  "data.size=16,data.samples=32,data.test_samples=1,train.batch=full,width=0.5,map.cross_check.global="      \
  "false,"                                                                                                   \
  "map.cross_check.steps=1000"

static const struct {
  const char *name, *options, *overrides;
  double reach, alpha; /* decay whose equilibrium is that of 0.005 */
} steppers[] = {
    {"gd", "-rule gd", LENET, 2, 0.005},
    {"momentum", "-rule momentum", LENET, 3.8, 0.005},
    {"nesterov", "-rule nesterov", LENET, 3.8 / 2.8, 0.005},
    {"decoupled momentum", "-rule momentum", LENET ",train.decoupled=true", 3.8, 0.05},
    {"rk4", "-rule gd -probe_ts_type rk -probe_ts_rk_type 4 -flow_ts_type rk -flow_ts_rk_type 4", LENET,
     2.785293563405282, 0.005},
};

static PetscBool Grows(CourantMap map, double eta)
{
  map->learning_rate[0] = eta;
  map->cells[0].local_verdict = COURANT_UNSET;
  OK(CourantMapCrossCheck(map));
  return map->cells[0].local_growth > 1 + 1e-4 ? PETSC_TRUE : PETSC_FALSE;
}

/* The limit that theory predicts from the Hessian's spectrum, and the one that runs of the trainer bisect. */
static void Lenet(void **state)
{
  double *equilibrium = NULL, lambda = 0;

  (void)state;
  for (size_t i = 0; i < sizeof steppers / sizeof *steppers; i++) {
    char options[192];
    Solved s;
    snprintf(options, sizeof options, "-threads 2 -learning_rate 0.1 -weight_decay %g %s", steppers[i].alpha,
             steppers[i].options);
    Prepare("models/lenet.yaml", options, steppers[i].overrides, &s);
    OK(CourantMapSetUp(s.map));
    s.map->settings.local = PETSC_FALSE;
    if (equilibrium) memcpy(s.map->start, equilibrium, sizeof(double) * (size_t)s.map->p);
    OK(CourantMapSolve(s.map));
    const CourantMapRow *row = &s.map->rows[0];
    assert_int_equal(row->status, COURANT_CONVERGED);
    assert_true(row->parameter_norm > 1); /* not the trivial one */
    if (!equilibrium) {
      OK(PetscMalloc1(s.map->p, &equilibrium));
      memcpy(equilibrium, s.map->states, sizeof(double) * (size_t)s.map->p);
      lambda = row->lambda_max;
    }
    NEAR(row->lambda_max, lambda, 1e-6 * lambda);
    const double edge = i == 3 ? 1.9 * 0.05 : 0.005;
    NEAR(row->limit, steppers[i].reach / (lambda + edge), 1e-6 * row->limit);

    s.map->settings.local = PETSC_TRUE;
    double low = 0.97 * row->limit, high = 1.03 * row->limit;
    assert_false(Grows(s.map, low));
    assert_true(Grows(s.map, high));
    while (high - low > 8e-3 * row->limit) {
      const double middle = 0.5 * (low + high);
      if (Grows(s.map, middle))
        high = middle;
      else
        low = middle;
    }
    printf("# %s: predicted %.6g, bisected %.6g\n", steppers[i].name, row->limit, 0.5 * (low + high));
    NEAR(0.5 * (low + high), row->limit, 0.01 * row->limit);
    Free(&s);
  }
  OK(PetscFree(equilibrium));
}

/* ---- trained states ---- */

/*
  Each row is trained on from the row before it, starting with the largest decay, and linearised where that
  ends: the state is the one of such runs to the bit, and measured growth is as predicted, of Adam with its
  preconditioner frozen.
*/
static void Trained(void **state)
{
  static const char *const deck = "data: {source: glyphs, size: 8, samples: 20, noise: 0.1, seed: 1}\n"
                                  "network: [{conv: {channels: 2, kernel: 3}}, tanh, {average_pool: {size: "
                                  "2}}, flatten, {dense: {features: "
                                  "10}}]\n"
                                  "loss: squared\n"
                                  "train: {rule: gd, learning_rate: 0.01, steps: 200}\n"
                                  "map: {learning_rate: {from: 0.001, to: 1, points: 8, scale: log}, "
                                  "weight_decay: {values: [0.01, 0.1]}, "
                                  "linearise: trained, cross_check: {global: false, steps: 1000}}\n";
  static const struct {
    const char *options, *overrides;
  } ways[] = {{"-threads 2 -rule gd", NULL},
              {"-threads 2 -rule momentum", NULL},
              {"-threads 2 -rule nesterov", "train.decoupled=true"},
              {"-threads 2 -rule adam", NULL},
              {"-threads 2 -rule adam", "train.decoupled=true"}};

  (void)state;
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    CourantAgreement a;
    CourantRun run;
    CourantRunState at;
    CourantRunRecord record;
    Solved s;
    OK(PetscOptionsClear(NULL));
    OK(PetscOptionsInsertString(NULL, ways[i].options));
    OK(CourantDeckParse(PETSC_COMM_SELF, deck, ways[i].overrides, &s.deck));
    OK(CourantMapCreate(PETSC_COMM_SELF, s.deck, &s.map));
    OK(CourantMapSetFromOptions(s.map));
    OK(CourantMapSolve(s.map));
    OK(CourantMapGetAgreement(s.map, &a));
    assert_int_equal(a.checked, 16);
    assert_true(2 * a.decided >= a.checked);
    assert_int_equal(a.disagreeing, 0);
    BELOW(a.median_error, 2e-3);

    CourantTrainSettings settings = s.map->train;
    const size_t p = (size_t)s.map->p;
    OK(CourantRunCreate(s.map->problem, &settings, PETSC_TRUE, &run));
    OK(CourantRunStateCreate(&run, &at));
    for (int w = 1; w >= 0; w--) {
      settings.weight_decay = w ? 0.1 : 0.01;
      OK(CourantRunStart(&run, &s.map->problem->weights, 0, 1, &at));
      if (w == 0) CourantRunSet(&run, s.map->states + p, at.theta);
      for (int step = 0; step < 200; step++) OK(CourantRunStep(&run, &at, &record));
      assert_memory_equal(s.map->states + (size_t)w * p, at.theta, p * sizeof(double));
    }
    OK(CourantRunStateDestroy(&at));
    OK(CourantRunDestroy(&run));
    Free(&s);
  }
}

/* ---- time steppers ---- */

/*
  Growth by the trainer's gradients is |R(z)| on both sides of 1; the first two reuse the last stage of a step
  in the next. The tolerance is what a run has settled to.
*/
static void Steppers(void **state)
{
  static const char *const types[] = {"rk", "rk -ts_rk_type 5dp", "rk -ts_rk_type 4", "cn"};

  (void)state;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    char options[96];
    Solved s;
    snprintf(options, sizeof options, "-points 6x3 -threads 1 -ts_type %s", types[i]);
    Solve("models/islands.yaml", options, &s);
    for (PetscInt c = 0; c < s.map->nw * s.map->nl; c++)
      NEAR(s.map->cells[c].local_growth, s.map->cells[c].growth, 2e-3 * s.map->cells[c].growth);
    Free(&s);
  }
}

/* ---- refinement ---- */

/* A refined cross-check says of every cell what the full one says, and runs the same in those it runs. */
static void Refined(void **state)
{
  static const char *const deck =
      "data: {source: noise, size: 12, exponent: 2, mean: 0.5, seed: 4}\n"
      "network: [{conv: {channels: 1, kernel: 3, bias: false}}, swish, global_mean]\n"
      "loss: logistic\n"
      "weights: {init: normal, std: 1, seed: 7}\n"
      "map: {learning_rate: {from: 0.01, to: 20, points: 48, scale: log}, weight_decay: {from: 0.1, to: 20, "
      "points: 40, scale: log}}\n";
  Solved full, refined;
  Solved *const both[] = {&full, &refined};
  CourantAgreement a;
  PetscInt interpolated = 0;

  (void)state;
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, "-threads 2"));
  for (int i = 0; i < 2; i++) {
    OK(CourantDeckParse(PETSC_COMM_SELF, deck, i ? "map.cross_check.refine=3" : NULL, &both[i]->deck));
    OK(CourantMapCreate(PETSC_COMM_SELF, both[i]->deck, &both[i]->map));
    OK(CourantMapSetFromOptions(both[i]->map));
    OK(CourantMapSolve(both[i]->map));
  }
  for (PetscInt i = 0; i < full.map->nw * full.map->nl; i++) {
    const CourantMapCell *x = &full.map->cells[i], *y = &refined.map->cells[i];
    assert_int_equal(x->local_verdict, y->local_verdict);
    assert_int_equal(x->global_regime, y->global_regime);
    assert_int_equal(x->interpolated, 0);
    if (y->interpolated == COURANT_ORIGIN_INTERPOLATED) {
      NEAR(y->local_growth, x->local_growth, 0.05 * x->local_growth);
      interpolated++;
    } else
      assert_memory_equal(&x->local_growth, &y->local_growth, sizeof(double));
  }
  OK(CourantMapGetAgreement(refined.map, &a));
  assert_int_equal(a.interpolated, interpolated);
  assert_int_equal(a.checked + interpolated, full.map->nw * full.map->nl);
  assert_true(2 * interpolated > full.map->nw * full.map->nl);
  Free(&full);
  Free(&refined);
}

/* Visits the divergent cells that hang together with one of them; how many had not been visited. */
static PetscInt Flood(const CourantMap map, PetscInt cell, PetscBool visited[])
{
  const PetscInt x = cell % map->nl, y = cell / map->nl;
  PetscInt n = 1;

  if (map->cells[cell].global_regime != COURANT_OUTCOME_DIVERGENT || visited[cell]) return 0;
  visited[cell] = PETSC_TRUE;
  if (x > 0) n += Flood(map, cell - 1, visited);
  if (x < map->nl - 1) n += Flood(map, cell + 1, visited);
  if (y > 0) n += Flood(map, cell - map->nl, visited);
  if (y < map->nw - 1) n += Flood(map, cell + map->nl, visited);
  return n;
}

/* Cells of the largest island of divergence: none of them at the grid's rim. */
static PetscInt LargestIsland(const CourantMap map)
{
  const PetscInt n = map->nw * map->nl;
  PetscInt largest = 0;
  PetscBool *visited;

  OK(PetscCalloc1(n, &visited));
  for (PetscInt i = 0; i < n; i++)
    if (i % map->nl == 0 || i % map->nl == map->nl - 1 || i < map->nl || i >= n - map->nl)
      (void)Flood(map, i, visited);
  for (PetscInt i = 0; i < n; i++) {
    const PetscInt cells = Flood(map, i, visited);
    largest = PetscMax(largest, cells);
  }
  OK(PetscFree(visited));
  return largest;
}

/*
  Islands of which theory knows nothing, with shores that are fractal: the refined check finds them, and says
  how many specks it may have missed.
*/
static void RefinedIslands(void **state)
{
  static const char options[] = "-points 64x64 -threads 2";
  Solved full, refined;
  PetscInt differing = 0;

  (void)state;
  SolveWith("models/islands.yaml", options, "map.cross_check.local=false", &full);
  SolveWith("models/islands.yaml", options, "map.cross_check.local=false,map.cross_check.refine=4", &refined);
  for (PetscInt i = 0; i < full.map->nw * full.map->nl; i++)
    differing += full.map->cells[i].global_regime != refined.map->cells[i].global_regime;
  assert_true(LargestIsland(full.map) > 40);
  assert_int_equal(LargestIsland(refined.map), LargestIsland(full.map));
  assert_true(differing <= refined.map->refined.differing);
  assert_true(1000 * differing <= full.map->nw * full.map->nl);
  Free(&full);
  Free(&refined);
}

/* ---- Adam ---- */

/*
  Full-batch Adam: eta nu starts far below (2 + 2 beta1) / (1 - beta1)
  = 38, and hovers there from step 1000 on.
*/
static void AdamAtItsEdge(void **state)
{
  const double eta = 1e-3;
  double sum = 0, low = INFINITY, high = 0;
  int n = 0;
  CourantTrainSettings settings = {0};
  CourantProblem problem;
  CourantSpectrum spectrum;
  CourantRunState run_state;
  CourantRunRecord record;
  CourantDeck deck;
  CourantRun run;
  Mat H, PHP;
  Vec theta, P;

  (void)state;
  OK(PetscOptionsClear(NULL));
  OK(CourantDeckLoad(PETSC_COMM_SELF, SOURCE_ROOT "/models/adam-edge.yaml", NULL, &deck));
  OK(CourantProblemCreate(PETSC_COMM_SELF, deck, &problem));
  OK(CourantProblemSetUp(problem));
  OK(CourantTrainRead(problem->top.train, &settings));
  OK(CourantRunCreate(problem, &settings, PETSC_TRUE, &run));
  OK(CourantRunStateCreate(&run, &run_state));
  OK(CourantRunStart(&run, &problem->weights, settings.seed, 1, &run_state));
  OK(CourantProblemCreateVec(problem, &theta));
  OK(VecDuplicate(theta, &P));
  OK(CourantProblemCreateHessian(problem, &H));
  OK(CourantPreconditionedCreate(H, &PHP));
  OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
  OK(CourantSpectrumSetOperator(spectrum, PHP));
  for (int step = 1; step <= 1500; step++) {
    CourantExtreme largest;
    OK(CourantRunStep(&run, &run_state, &record));
    if (step != 100 && (step < 1000 || step % 25)) continue;
    CourantRunGet(&run, run_state.theta, run.weights);
    OK(CourantProblemPut(run.weights, theta));
    OK(CourantProblemSetState(problem, theta, NULL, NULL));
    run.rule->Preconditioner(settings.options, step, run.n, run_state.rule, run.weights);
    OK(CourantProblemPut(run.weights, P));
    OK(CourantPreconditionedSetDiagonal(PHP, P));
    OK(CourantSpectrumSolveLargest(spectrum));
    OK(CourantSpectrumGetExtremes(spectrum, &largest, NULL));
    const double edge = eta * largest.value;
    if (step == 100) BELOW(edge, 10);
    if (step < 1000) continue;
    sum += edge;
    low = fmin(low, edge);
    high = fmax(high, edge);
    n++;
  }
  printf("# Adam: eta nu from step 1000 on %.4g on average, from %.4g to %.4g\n", sum / n, low, high);
  NEAR(sum / n, 38, 0.05 * 38);
  assert_true(low > 0.85 * 38 && high < 1.1 * 38);
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&PHP));
  OK(MatDestroy(&H));
  OK(VecDestroy(&P));
  OK(VecDestroy(&theta));
  OK(CourantRunStateDestroy(&run_state));
  OK(CourantRunDestroy(&run));
  OK(CourantTrainReset(&settings));
  OK(CourantProblemDestroy(&problem));
  OK(CourantDeckDestroy(&deck));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(OneLayer), cmocka_unit_test(Noise),         cmocka_unit_test(Lenet),
    cmocka_unit_test(Trained),  cmocka_unit_test(Refined),       cmocka_unit_test(RefinedIslands),
    cmocka_unit_test(Steppers), cmocka_unit_test(AdamAtItsEdge),
};

TEST_MAIN(tests)
