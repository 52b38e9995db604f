#include "stability/map.h"
#include "core/interrupt.h"
#include "stability/preconditioned.h"
#include "train/run.h"
#include <math.h>
#include <string.h>

/* ---- settings ---- */

typedef struct {
  double from, to;
  PetscInt points;
  int scale;
  CourantReals values;
} Axis;

const CourantKey CourantMapAxisKeys[] = {
    {"from", COURANT_KEY_REAL, offsetof(Axis, from), "", .help = "first value"},
    {"to", COURANT_KEY_REAL, offsetof(Axis, to), "", .help = "last value"},
    {"points", COURANT_KEY_INT, offsetof(Axis, points), "", 1, 1 << 20, .help = "number of values"},
    {"scale", COURANT_KEY_CHOICE, offsetof(Axis, scale), "linear", .choices = "linear|log",
     .help = "how they are spaced"},
    {"values", COURANT_KEY_REALS, offsetof(Axis, values), "", .help = "the values themselves, instead"},
    {0},
};

typedef struct {
  CourantNode learning_rate, weight_decay, cross_check;
} MapNodes;

const CourantKey CourantMapSectionKeys[] = {
    {"learning_rate", COURANT_KEY_NODE, offsetof(MapNodes, learning_rate), "",
     .help = "the axis of learning rates"},
    {"weight_decay", COURANT_KEY_NODE, offsetof(MapNodes, weight_decay), "",
     .help = "the axis of weight decays"},
    {"cross_check", COURANT_KEY_NODE, offsetof(MapNodes, cross_check), "",
     .help = "what the trainer is to check"},
    {0},
};

const CourantKey CourantMapKeys[] = {
    {"linearise", COURANT_KEY_CHOICE, offsetof(CourantMapSettings, linearise), "equilibrium",
     .choices = "equilibrium|init|zero|zero_frozen|file|trained", .help = "the weights to linearise at"},
    {"file", COURANT_KEY_PATH, offsetof(CourantMapSettings, file), "", .help = "weights for linearise: file"},
    {0},
};

const CourantKey CourantMapCheckKeys[] = {
    {"local", COURANT_KEY_BOOL, offsetof(CourantMapSettings, local), "true",
     .help = "compare growth with two neighbouring runs"},
    {"global", COURANT_KEY_BOOL, offsetof(CourantMapSettings, global), "true",
     .help = "train from the deck's weights"},
    {"steps", COURANT_KEY_INT, offsetof(CourantMapSettings, steps), "2000", 100, 1e8,
     .help = "the longest run"},
    {"refine", COURANT_KEY_INT_OR_CHOICE, offsetof(CourantMapSettings, refine), "false", 1, 16,
     .choices = "false",
     .help =
         "run the corners of blocks with sides of 2^refine cells and, where they or theory see a boundary, "
         "of smaller ones; the cells in between are interpolated and marked, and draws at random say how "
         "many "
         "of them differ at most"},
    {0},
};

/*
  An axis of a map, with the lowest value it may have. A deck without it gives the one value of the train
  section; option holds values that go before the deck's, points a number of points that does (0: the deck's).
*/
static PetscErrorCode ReadAxis(CourantNode node, const char option[], double lowest, double single,
                               PetscInt points, CourantReals *values)
{
  Axis axis = {.from = NAN, .to = NAN};
  PetscReal given[1024];
  PetscInt n = PETSC_STATIC_ARRAY_LENGTH(given);
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(CourantNodeRead(node, 1, (CourantTable[]){{CourantMapAxisKeys, &axis}}));
  PetscCall(PetscOptionsGetRealArray(NULL, NULL, option, given, &n, &set));
  if (set || !node.id) {
    PetscCall(PetscFree(axis.values.values));
    values->n = set ? n : 1;
    PetscCall(PetscMalloc1(values->n, &values->values));
    for (PetscInt i = 0; i < values->n; i++) {
      values->values[i] = set ? given[i] : single;
      if (!(values->values[i] >= lowest) || !isfinite(values->values[i]))
        CourantInputError(node.deck ? CourantDeckComm(node.deck) : PETSC_COMM_WORLD,
                          "%s %g: expected numbers %s 0", option, values->values[i],
                          lowest > 0 ? "above" : "of at least");
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (points && axis.values.n) CourantNodeError(node, "-points: this axis is given by its values");
  if (points) axis.points = points;
  const PetscBool range = isfinite(axis.from) || isfinite(axis.to) || axis.points ? PETSC_TRUE : PETSC_FALSE;
  if (axis.values.n && range)
    CourantNodeError(node, "expected either values: [..] or from, to and points, not both");
  if (!axis.values.n) {
    if (!isfinite(axis.from) || !isfinite(axis.to) || !axis.points)
      CourantNodeError(node, "expected from, to and points, or values: [..]");
    if (axis.scale && !(axis.from > 0 && axis.to > 0))
      CourantNodeError(node, "scale: log needs from and to above 0");
    axis.values.n = axis.points;
    PetscCall(PetscMalloc1(axis.points, &axis.values.values));
    for (PetscInt i = 0; i < axis.points; i++) {
      const double t = axis.points > 1 ? (double)i / (double)(axis.points - 1) : 0;
      axis.values.values[i] = i == 0                 ? axis.from
                              : i == axis.points - 1 ? axis.to
                              : axis.scale           ? axis.from * pow(axis.to / axis.from, t)
                                                     : axis.from + t * (axis.to - axis.from);
    }
  }
  *values = axis.values;
  for (PetscInt i = 0; i < values->n; i++)
    if (!(values->values[i] >= lowest))
      CourantNodeError(node, "%g is out of range: expected numbers %s 0", values->values[i],
                       lowest > 0 ? "above" : "of at least");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -points 64x32, learning rates by weight decays; 0: not given. */
static PetscErrorCode ReadPoints(CourantMap map, PetscInt points[2])
{
  char text[64], rest;
  int nl, nw;
  PetscBool set;

  PetscFunctionBeginUser;
  points[0] = points[1] = 0;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-points", text, sizeof text, &set));
  if (!set) PetscFunctionReturn(PETSC_SUCCESS);
  if (sscanf(text, "%dx%d%c", &nl, &nw, &rest) != 2 || nl < 1 || nw < 1 || nl > 1 << 20 || nw > 1 << 20)
    CourantInputError(map->comm, "-points %s: expected learning rates x weight decays, such as 64x64", text);
  points[0] = nl;
  points[1] = nw;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadSettings(CourantMap map)
{
  const CourantNode node = map->problem->top.map;
  CourantMapSettings *s = &map->settings;
  PetscInt points[2];
  MapNodes nodes;

  PetscFunctionBeginUser;
  PetscCall(CourantTrainRead(map->problem->top.train, &map->train));
  s->node = node;
  PetscCall(CourantNodeRead(node, 2, (CourantTable[]){{CourantMapSectionKeys, &nodes}, {CourantMapKeys, s}}));
  PetscCall(CourantNodeRead(nodes.cross_check, 1, (CourantTable[]){{CourantMapCheckKeys, s}}));
  PetscCall(ReadPoints(map, points));
  PetscCall(ReadAxis(nodes.learning_rate, "-learning_rate", 1e-300, map->train.learning_rate, points[0],
                     &s->learning_rates));
  PetscCall(ReadAxis(nodes.weight_decay, "-weight_decay", 0, map->train.weight_decay, points[1],
                     &s->weight_decays));
  if (s->linearise == COURANT_LINEARISE_FILE && !s->file[0])
    CourantNodeError(node, "linearise: file needs the key 'file' beside it");
  map->nl = s->learning_rates.n;
  map->nw = s->weight_decays.n;
  map->learning_rate = s->learning_rates.values;
  map->weight_decay = s->weight_decays.values;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- life ---- */

/*
  CourantMapCreate - The map that a deck's `map` section describes.

  Collective on comm, whose ranks share the cells of the cross-check; the deck is borrowed.
*/
PetscErrorCode CourantMapCreate(MPI_Comm comm, CourantDeck deck, CourantMap *result)
{
  CourantMap map;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&map));
  *result = map;
  map->comm = comm;
  map->deck = deck;
  map->round_seconds = 5;
  PetscCallMPI(MPI_Comm_rank(comm, &map->rank));
  PetscCallMPI(MPI_Comm_size(comm, &map->size));
  PetscCall(CourantProblemCreate(PETSC_COMM_SELF, deck, &map->problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantMapGetProblem - The problem the map is of; borrowed. */
PetscErrorCode CourantMapGetProblem(CourantMap map, CourantProblem *problem)
{
  PetscFunctionBeginUser;
  *problem = map->problem;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantMapSetMonitor - Who hears of each row and round of cells, on rank 0, and of cells at work. */
PetscErrorCode CourantMapSetMonitor(CourantMap map, CourantMapMonitor monitor, CourantMapProgress progress,
                                    void *ctx)
{
  PetscFunctionBeginUser;
  map->monitor = monitor;
  map->progress = progress;
  map->monitor_ctx = ctx;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The rule whose map it is, and what no map is made of. */
static PetscErrorCode ReadRule(CourantMap map)
{
  CourantTrainSettings *train = &map->train;
  char name[32];
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-rule", name, sizeof name, &set));
  if (set) PetscCall(CourantTrainSetRule(train, name));
  map->rule = CourantRule(train->rule);
  if (!map->rule->Rest) train->decoupled = PETSC_FALSE; /* it is the same */
  if (train->precision) CourantNodeError(train->node, "a map is of double precision");
  const CourantSchedule *schedule = &train->schedule;
  if ((schedule->kind || schedule->warmup > 0) && map->settings.linearise != COURANT_LINEARISE_TRAINED)
    CourantNodeError(train->schedule_node,
                     "a map is of constant learning rates; a schedule is for linearise: trained");
  if (train->layer_rates.id)
    CourantNodeError(train->layer_rates, "a map is of one learning rate for all weights so far");
  if (map->rule->Preconditioner && map->settings.linearise != COURANT_LINEARISE_TRAINED)
    CourantNodeError(
        train->node,
        "rule %s has a map with linearise: trained alone: at rest its gradients are 0 and its steps "
        "have no linear part; courant train with sharpness_every follows it along a run",
        map->rule->name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMapSetFromOptions - Reads the deck's map and train sections, and options: -rule gd | momentum |
  nesterov (instead of the deck's), -learning_rate a,b,.. and -weight_decay a,b,.. (values of an axis),
  -points NxM, and those of CourantProblemSetFromOptions(). Solvers read theirs in CourantMapSetUp().
*/
PetscErrorCode CourantMapSetFromOptions(CourantMap map)
{
  PetscFunctionBeginUser;
  PetscCall(ReadSettings(map));
  PetscCall(ReadRule(map));
  PetscCall(CourantProblemSetFromOptions(map->problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The state that every row is linearised at, where it does not
  move with alpha; the chain's start where it does.
*/
static PetscErrorCode SetUpState(CourantMap map)
{
  PetscScalar *theta;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemGetInitialState(map->problem, map->theta));
  PetscCall(VecGetArray(map->theta, &theta));
  PetscCall(PetscArraycpy(map->start, theta, map->p));
  if (map->settings.linearise == COURANT_LINEARISE_ZERO ||
      map->settings.linearise == COURANT_LINEARISE_ZERO_FROZEN)
    PetscCall(PetscArrayzero(theta, map->p));
  if (map->settings.linearise == COURANT_LINEARISE_FILE)
    PetscCall(CourantWeightsLoad(map->problem->net, map->settings.node, map->settings.file, theta));
  PetscCall(VecRestoreArray(map->theta, &theta));
  if (map->settings.linearise != COURANT_LINEARISE_ZERO_FROZEN) PetscFunctionReturn(PETSC_SUCCESS);

  Vec gradient;
  const PetscScalar *g;
  PetscCall(CourantProblemFreezeLoss(map->problem, map->theta));
  PetscCall(PetscMalloc1(map->p + 1, &map->affine));
  PetscCall(VecDuplicate(map->theta, &gradient));
  PetscCall(CourantProblemComputeLoss(map->problem, map->theta, &map->affine[map->p], gradient));
  PetscCall(VecGetArrayRead(gradient, &g));
  PetscCall(PetscArraycpy(map->affine, g, map->p));
  PetscCall(VecRestoreArrayRead(gradient, &g));
  PetscCall(VecDestroy(&gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroySolvers(CourantMap map)
{
  PetscFunctionBeginUser;
  PetscCall(CourantSgdDestroy(&map->sgd));
  PetscCall(CourantFlipDestroy(&map->flip));
  PetscCall(CourantEquilibriumDestroy(&map->equilibrium));
  PetscCall(CourantSpectrumDestroy(&map->spectrum));
  for (int i = 0; i < 2; i++) PetscCall(CourantFlowDestroy(&map->flow[i]));
  PetscCall(CourantStepperDestroy(&map->stepper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The growth of the map is the probe's, its check the flow's: they have to be one stepper. */
static PetscErrorCode CheckSteppers(CourantMap map)
{
  const char *type, *flow_type;
  TS ts;

  PetscFunctionBeginUser;
  PetscCall(CourantStepperGetType(map->stepper, &type, NULL));
  PetscCall(CourantFlowGetTS(map->flow[0], &ts));
  PetscCall(TSGetType(ts, &flow_type));
  if (strcmp(type, flow_type))
    CourantInputError(map->comm, "-probe_ts_type %s and -flow_ts_type %s differ; -ts_type sets both", type,
                      flow_type);
  map->by_ts = strcmp(type, TSEULER) ? PETSC_TRUE : PETSC_FALSE;
  if (map->by_ts && map->rule->states)
    CourantInputError(map->comm, "-ts_type %s steps the gradient flow: it goes with -rule gd, not with %s",
                      type, map->rule->name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMapCreateSolvers - Makes every solver anew and lets it read its options: prefixes probe_ and flow_
  (TS), hessian_max_ and hessian_min_ (EPS), equilibrium_ (TAO, KSP), flip_ (KSP), sgd_ and sgd_mean_ (EPS).
  Called by CourantMapSetUp(), before any long computation.
*/
PetscErrorCode CourantMapCreateSolvers(CourantMap map)
{
  PetscFunctionBeginUser;
  PetscCall(DestroySolvers(map));
  PetscCall(CourantStepperCreate(PETSC_COMM_SELF, "probe_", &map->stepper));
  PetscCall(CourantStepperSetUp(map->stepper));
  for (int i = 0; i < 2; i++) {
    PetscCall(CourantFlowCreate(map->problem, &map->flow[i]));
    PetscCall(CourantFlowSetFromOptions(map->flow[i]));
  }
  PetscCall(CheckSteppers(map));
  PetscCall(CourantSpectrumCreate(PETSC_COMM_SELF, &map->spectrum));
  PetscCall(CourantSpectrumSetOperator(map->spectrum, map->PHP ? map->PHP : map->H));
  PetscCall(CourantSpectrumSetFromOptions(map->spectrum));
  PetscCall(CourantEquilibriumCreate(map->problem, &map->equilibrium));
  PetscCall(CourantEquilibriumSetFromOptions(map->equilibrium));
  PetscCall(CourantFlipCreate(map->problem, &map->flip));
  PetscCall(CourantFlipSetFromOptions(map->flip));
  PetscCall(CourantMapSetUpBatches(map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static CourantMapRow EmptyRow(CourantMap map, double alpha)
{
  const CourantEstimate none = {NAN, NAN, NAN};
  return (CourantMapRow){.alpha = alpha,
                         .rest = CourantRuleRest(map->rule, map->train.options, alpha, map->train.decoupled),
                         .m_max = NAN,
                         .m_min = NAN,
                         .lambda_max = NAN,
                         .lambda_min = NAN,
                         .residual_max = NAN,
                         .residual_min = NAN,
                         .gradient_norm = NAN,
                         .parameter_norm = NAN,
                         .limit = NAN,
                         .limit_von_neumann = NAN,
                         .limit_far_field = NAN,
                         .flip_coefficient = NAN,
                         .basin_radius = NAN,
                         .norm = NAN,
                         .low = NAN,
                         .high = NAN,
                         .multiplicity = -1,
                         .neutral_modes = -1,
                         .limit_full_batch = NAN,
                         .gradient_noise = NAN,
                         .batch_limit = {none, none, none},
                         .batch_status = {COURANT_UNSET, COURANT_UNSET, COURANT_UNSET},
                         .branch = COURANT_UNSET,
                         .status = COURANT_UNSET,
                         .flip_status = COURANT_UNSET};
}

/* A rule with a preconditioner is mapped with that of each row's training, frozen. */
static PetscErrorCode SetUpPreconditioner(CourantMap map)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)map->nw * (size_t)map->p, &map->moments));
  for (size_t i = 0; i < (size_t)map->nw * (size_t)map->p; i++) map->moments[i] = NAN;
  PetscCall(PetscMalloc(map->rule->options_size, &map->frozen));
  PetscCall(PetscMemcpy(map->frozen, map->train.options, map->rule->options_size));
  map->rule->Freeze(map->frozen, 1, 0, (void *[COURANT_RULE_STATES]){NULL});
  PetscCall(CourantPreconditionedCreate(map->H, &map->PHP));
  map->bounded = PETSC_FALSE; /* where |theta| is large the preconditioner is another */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMapSetUp - Reads data and weights, makes the solvers,
  and leaves every row and cell "not computed". Collective.
*/
PetscErrorCode CourantMapSetUp(CourantMap map)
{
  const PetscScalar *mask;
  Vec D;

  PetscFunctionBeginUser;
  if (map->rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantProblemSetUp(map->problem));
  if (map->train.decoupled && !map->problem->decays_all)
    CourantNodeError(
        map->train.node,
        "decoupled decay of some weights and not of others mixes the modes of %s: there is a map with "
        "weights: {decay: all} or decoupled: false",
        map->rule->name);
  PetscCall(CourantProblemGetSize(map->problem, &map->p));
  PetscCall(CourantProblemCreateVec(map->problem, &map->theta));
  PetscCall(PetscMalloc5(map->nw, &map->rows, map->nw * map->nl, &map->cells,
                         (size_t)map->nw * (size_t)map->p, &map->states, map->p, &map->start, map->p,
                         &map->mask));
  for (PetscInt w = 0; w < map->nw; w++) map->rows[w] = EmptyRow(map, map->weight_decay[w]);
  for (PetscInt i = 0; i < map->nw * map->nl; i++)
    map->cells[i] = (CourantMapCell){.growth = NAN,
                                     .transient_growth = NAN,
                                     .growth_low = NAN,
                                     .growth_high = NAN,
                                     .mean_square = {NAN, NAN, NAN},
                                     .local_low = NAN,
                                     .local_high = NAN,
                                     .local_growth = NAN,
                                     .amplitude = NAN,
                                     .final_loss = NAN,
                                     .distance = NAN,
                                     .period = -1,
                                     .regime = COURANT_UNSET,
                                     .interpolated = COURANT_UNSET,
                                     .local_verdict = COURANT_UNSET,
                                     .global_regime = COURANT_UNSET};
  for (size_t i = 0; i < (size_t)map->nw * (size_t)map->p; i++) map->states[i] = NAN;
  PetscCall(CourantProblemGetDecayMask(map->problem, &D));
  PetscCall(VecGetArrayRead(D, &mask));
  PetscCall(PetscArraycpy(map->mask, mask, map->p));
  PetscCall(VecRestoreArrayRead(D, &mask));
  PetscCall(SetUpState(map));
  map->at_rest = map->settings.linearise == COURANT_LINEARISE_EQUILIBRIUM ? PETSC_TRUE : PETSC_FALSE;
  map->moves =
      map->at_rest || map->settings.linearise == COURANT_LINEARISE_TRAINED ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(CourantProblemHasBoundedGradient(map->problem, &map->bounded));
  if (!map->problem->decays_all) map->bounded = PETSC_FALSE; /* nothing holds what does not decay */
  PetscCall(CourantProblemCreateHessian(map->problem, &map->H));
  if (map->rule->Preconditioner) PetscCall(SetUpPreconditioner(map));
  PetscCall(CourantMapCreateSolvers(map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantMapDestroy(CourantMap *result)
{
  CourantMap map = *result;

  PetscFunctionBeginUser;
  if (!map) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(DestroySolvers(map));
  PetscCall(MatDestroy(&map->H));
  PetscCall(MatDestroy(&map->PHP));
  PetscCall(PetscFree(map->moments));
  PetscCall(PetscFree(map->frozen));
  PetscCall(VecDestroy(&map->theta));
  PetscCall(CourantProblemDestroy(&map->problem));
  PetscCall(CourantTrainReset(&map->train));
  PetscCall(PetscFree5(map->rows, map->cells, map->states, map->start, map->mask));
  PetscCall(PetscFree(map->affine));
  PetscCall(PetscFree(map->learning_rate));
  PetscCall(PetscFree(map->weight_decay));
  PetscCall(PetscFree(*result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMapRestore - Rows, cells and states hold what an
  interrupted run has done: fills what follows from them.
*/
PetscErrorCode CourantMapRestore(CourantMap map)
{
  PetscFunctionBeginUser;
  for (PetscInt w = 0; w < map->nw; w++)
    map->rows[w].has_state = isfinite(map->states[(size_t)w * (size_t)map->p]) ? 1 : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- rows ---- */

/*
  The next row of the chain: the largest weight decay that is not
  done; -1 when all are. previous: the one done last, -1 at the start.
*/
static PetscInt NextRow(CourantMap map, PetscInt *previous)
{
  PetscInt next = -1;

  *previous = -1;
  for (PetscInt w = 0; w < map->nw; w++) {
    const CourantMapRow *row = &map->rows[w];
    if (row->status == COURANT_UNSET) {
      if (next < 0 || row->alpha > map->rows[next].alpha) next = w;
    } else if (row->has_state && (*previous < 0 || row->alpha < map->rows[*previous].alpha))
      *previous = w;
  }
  return next;
}

/*
  Trains from map->theta with the row's weight decay by the deck's rule, for as long as the deck says. What a
  preconditioner is made of stays with the row.
*/
static PetscErrorCode TrainState(CourantMap map, PetscInt w, PetscBool *found)
{
  CourantTrainSettings settings = map->train;
  CourantRunRecord record;
  CourantRunState state;
  PetscScalar *theta;
  CourantRun run;

  PetscFunctionBeginUser;
  settings.weight_decay = map->rows[w].alpha;
  PetscCall(CourantRunCreate(map->problem, &settings, PETSC_TRUE, &run));
  PetscCall(CourantRunStateCreate(&run, &state));
  PetscCall(CourantRunStart(&run, &map->problem->weights, settings.seed, settings.perturb, &state));
  PetscCall(VecGetArray(map->theta, &theta));
  CourantRunSet(&run, theta, state.theta);
  while (state.step < run.steps && !state.diverged) {
    CourantInterruptCheck();
    PetscCall(CourantRunStep(&run, &state, &record));
  }
  CourantRunGet(&run, state.theta, theta);
  *found = state.diverged || CourantRunIsLost(&run, &state, theta) ? PETSC_FALSE : PETSC_TRUE;
  PetscCall(VecRestoreArray(map->theta, &theta));
  if (map->PHP && *found) {
    PetscCall(PetscMemcpy(map->frozen, map->train.options, map->rule->options_size));
    map->rule->Freeze(map->frozen, state.step, run.n, state.rule);
    CourantRunGet(&run, state.rule[map->rule->states - 1], map->moments + (size_t)w * run.n);
  }
  PetscCall(CourantRunStateDestroy(&state));
  PetscCall(CourantRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The preconditioner of a row becomes that of the operator whose spectrum is looked for. */
static PetscErrorCode SetPreconditioner(CourantMap map, PetscInt w)
{
  PetscScalar *diagonal;
  Vec P;

  PetscFunctionBeginUser;
  if (!map->PHP) PetscFunctionReturn(PETSC_SUCCESS);
  void *const state[COURANT_RULE_STATES] = {NULL, map->moments + (size_t)w * (size_t)map->p};
  PetscCall(VecDuplicate(map->theta, &P));
  PetscCall(VecGetArrayWrite(P, &diagonal));
  map->rule->Preconditioner(map->frozen, COURANT_RULE_LATE, (size_t)map->p, state, diagonal);
  PetscCall(VecRestoreArrayWrite(P, &diagonal));
  PetscCall(CourantPreconditionedSetDiagonal(map->PHP, P));
  PetscCall(VecDestroy(&P));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The state of a row, from that of the row before it. */
static PetscErrorCode FindState(CourantMap map, PetscInt w, PetscInt previous, PetscBool *found)
{
  CourantMapRow *row = &map->rows[w];
  PetscInt jumps = 0;
  PetscScalar *theta;

  PetscFunctionBeginUser;
  *found = PETSC_TRUE;
  if (!map->moves) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecGetArrayWrite(map->theta, &theta));
  PetscCall(PetscArraycpy(theta, previous < 0 ? map->start : map->states + (size_t)previous * (size_t)map->p,
                          map->p));
  PetscCall(VecRestoreArrayWrite(map->theta, &theta));
  PetscCall(PetscLogStagePush(CourantLogging.equilibrium));
  if (!map->at_rest)
    PetscCall(TrainState(map, w, found));
  else if (previous < 0)
    PetscCall(CourantEquilibriumDescend(map->equilibrium, row->rest, map->theta, found));
  else
    PetscCall(CourantEquilibriumContinue(map->equilibrium, map->rows[previous].rest, row->rest, map->theta,
                                         &jumps, found));
  PetscCall(PetscLogStagePop());
  if (map->at_rest) row->branch = (uint8_t)((previous < 0 ? 0 : map->rows[previous].branch) + jumps);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Are the eigenvalues m those without decay plus alpha, so that they are looked for without it? */
static PetscBool IsShifted(CourantMap map)
{
  return map->problem->decays_all && (!map->PHP || map->train.decoupled) ? PETSC_TRUE : PETSC_FALSE;
}

/* Extreme eigenvalues m, their residuals and multiplicities, and the modes that are neutral. */
static PetscErrorCode FillSpectrum(CourantMap map, CourantMapRow *row, CourantExtreme *largest,
                                   CourantExtreme *smallest)
{
  const PetscBool shift = IsShifted(map);
  const PetscReal alpha = shift ? row->rest : 0, *all;
  PetscInt n;

  PetscFunctionBeginUser;
  if (!map->spectrum_known || !shift) {
    PetscCall(CourantHessianSetWeightDecay(map->H, shift ? 0 : row->rest));
    PetscCall(PetscLogStagePush(CourantLogging.spectrum));
    PetscCall(CourantSpectrumSolve(map->spectrum));
    PetscCall(PetscLogStagePop());
    map->spectrum_known = map->moves ? PETSC_FALSE : PETSC_TRUE;
  }
  PetscCall(CourantSpectrumGetExtremes(map->spectrum, largest, smallest));
  PetscCall(CourantSpectrumGetNorm(map->spectrum, &row->norm));
  PetscCall(CourantSpectrumGetAll(map->spectrum, &n, &all));
  row->lambda_max = shift && !map->PHP ? largest->value : NAN;
  row->lambda_min = shift && !map->PHP ? smallest->value : NAN;
  row->m_max = largest->value += alpha;
  row->m_min = smallest->value += alpha;
  row->residual_max = largest->residual;
  row->residual_min = smallest->residual;
  row->multiplicity = (int)largest->multiplicity;
  map->missed = fmax(map->missed, largest->missed);
  row->status = largest->status || smallest->status ? COURANT_NOT_CONVERGED : COURANT_CONVERGED;

  const PetscReal neutral = 1e-9 * row->norm;
  row->low = row->m_min;
  row->high = row->m_max;
  row->neutral_modes = n ? 0 : (fabs(row->m_min) <= neutral) + (fabs(row->m_max) <= neutral);
  if (n) row->low = row->high = NAN;
  for (PetscInt i = 0; i < n; i++) {
    const PetscReal m = all[i] + alpha;
    if (fabs(m) <= neutral)
      row->neutral_modes++;
    else {
      row->low = fmin(row->low, m);
      row->high = fmax(row->high, m);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Is theta* an equilibrium, or a state on the way down a valley
  that never ends? The Newton correction it still lacks tells.
*/
static PetscBool IsEquilibrium(CourantMap map, const CourantMapRow *row)
{
  const double scale = (row->norm + row->rest) * row->parameter_norm;
  double start = 0; /* weights are measured against those they started from where theta* is 0 */
  const PetscBool minimum = row->m_min >= -1e-8 * row->norm ? PETSC_TRUE : PETSC_FALSE;
  for (PetscInt i = 0; i < map->p; i++) start += map->start[i] * map->start[i];
  return minimum && (row->gradient_norm <= 1e-8 * scale ||
                     row->gradient_norm <= 1e-6 * row->m_min * row->parameter_norm ||
                     row->gradient_norm <= 1e-10 * row->m_min * sqrt(start))
             ? PETSC_TRUE
             : PETSC_FALSE;
}

/* Learning-rate limits of a row. */
static PetscErrorCode FillLimits(CourantMap map, CourantMapRow *row)
{
  PetscReal reach = map->rule->Limit(map->train.options);

  PetscFunctionBeginUser;
  if (map->by_ts) PetscCall(CourantStepperGetRealLimit(map->stepper, &reach));
  if (!isfinite(reach)) PetscFunctionReturn(PETSC_SUCCESS);
  const double edge = CourantRuleEdgeDecay(map->rule, map->train.options, row->alpha, map->train.decoupled);
  /* a trained state may be a saddle yet: the limit is that of the modes which the flow damps */
  const PetscBool damped =
      row->low > 0 || map->settings.linearise == COURANT_LINEARISE_TRAINED ? PETSC_TRUE : PETSC_FALSE;
  if (damped && row->high > 0) row->limit = reach / (row->high + (edge - row->rest));
  if (map->PHP) PetscFunctionReturn(PETSC_SUCCESS);
  if (map->moves || !map->bound_known) PetscCall(CourantSymbolBound(map->problem, map->theta, &map->bound));
  map->bound_known = PETSC_TRUE;
  if (isfinite(map->bound) && map->problem->decays_all && edge + map->bound > 0)
    row->limit_von_neumann = reach / (edge + map->bound);
  if (map->bounded && row->alpha > 0) row->limit_far_field = reach / edge;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Flip coefficient, and the radius of the basin just before the edge. Not of time steppers: the normal form is
  Euler's; nor of mini-batches, whose products have no eigenvalue that passes -1.

  Momentum has the 2-cycles of gradient descent at 2 / reach of the learning rate: in a + b both rules have
  their decay at rest, in a - b that at the edge, which decoupled decay makes another one. So half-distances
  are sqrt((2 eta / reach (lambda + edge) - 2) / c), and c has lambda + edge in place of m_max.
*/
static PetscErrorCode FillFlip(CourantMap map, CourantMapRow *row, const CourantExtreme *largest,
                               const CourantExtreme *smallest)
{
  CourantFlipResult flip;
  Vec v;

  PetscFunctionBeginUser;
  if (map->by_ts || map->sgd || !map->at_rest) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantSpectrumGetTopVector(map->spectrum, &v));
  PetscCall(PetscLogStagePush(CourantLogging.flip));
  PetscCall(CourantFlipCompute(map->flip, row->rest, map->theta, v, largest, smallest, &flip));
  PetscCall(PetscLogStagePop());
  row->flip_coefficient = flip.coefficient;
  if (map->train.decoupled)
    row->flip_coefficient *= row->m_max * row->limit / map->rule->Limit(map->train.options);
  row->flip_status = (uint8_t)flip.status;
  if (row->flip_coefficient < 0) row->basin_radius = sqrt(0.02 / -row->flip_coefficient);
  PetscFunctionReturn(PETSC_SUCCESS);
}

enum {
  INNER = 62
}; /* points between the extremes where a stepper is probed when there are too many eigenvalues */

/* The eigenvalues m that a stepper is probed at: the distinct ones, or the extremes and a grid between them.
 */
static PetscErrorCode ProbePoints(CourantMap map, const CourantMapRow *row, PetscInt *n,
                                  PetscReal m[INNER + 2])
{
  const PetscReal alpha = IsShifted(map) ? row->rest : 0, *all;
  PetscInt total;

  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumGetAll(map->spectrum, &total, &all));
  *n = 0;
  for (PetscInt i = 0; i < total; i++) {
    const PetscReal value = all[i] + alpha;
    if (fabs(value) <= 1e-9 * row->norm || (*n && value - m[*n - 1] <= 1e-10 * row->norm)) continue;
    if (*n == INNER + 2) {
      *n = 0;
      break;
    }
    m[(*n)++] = value;
  }
  if (*n == 0 && isfinite(row->low)) {
    *n = INNER + 2;
    for (PetscInt i = 0; i < *n; i++) m[i] = row->low + (row->high - row->low) * (double)i / (INNER + 1);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GrowthByStepper(CourantMap map, const CourantMapRow *row, double growth[],
                                      double far_field[])
{
  PetscReal m[INNER + 2], *factor;
  PetscComplex *z;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(ProbePoints(map, row, &n, m));
  PetscCall(PetscMalloc2((n + 1) * map->nl, &z, (n + 1) * map->nl, &factor));
  for (PetscInt l = 0; l < map->nl; l++) {
    for (PetscInt i = 0; i < n; i++) z[l * (n + 1) + i] = -map->learning_rate[l] * m[i];
    z[l * (n + 1) + n] = -map->learning_rate[l] * row->alpha;
  }
  PetscCall(CourantStepperComputeGrowth(map->stepper, (n + 1) * map->nl, z, factor));
  for (PetscInt l = 0; l < map->nl; l++) {
    growth[l] = n ? 0 : NAN;
    for (PetscInt i = 0; i < n; i++) growth[l] = fmax(growth[l], factor[l * (n + 1) + i]);
    far_field[l] = factor[l * (n + 1) + n];
  }
  PetscCall(PetscFree2(z, factor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Growth of a mode with eigenvalue m of H + alpha D, alpha the decay at rest. */
static double ModeGrowth(CourantMap map, const CourantMapRow *row, double learning_rate, double m)
{
  const PetscBool decoupled = map->train.decoupled;
  return CourantRuleGrowth(map->rule, map->train.options, learning_rate, decoupled ? m - row->rest : m,
                           decoupled ? row->alpha : 0);
}

/*
  A whole row follows from its two extreme eigenvalues: growth falls and then rises with m for every rule.
  slack: what the residuals leave open in it.
*/
static void GrowthByRule(CourantMap map, const CourantMapRow *row, double growth[], double slack[],
                         double far_field[])
{
  const double residual = fmax(row->residual_max, row->residual_min), ends[] = {row->high, row->low};

  for (PetscInt l = 0; l < map->nl; l++) {
    const double eta = map->learning_rate[l];
    growth[l] = slack[l] = 0;
    for (int e = 0; e < 2; e++) {
      const double at = ModeGrowth(map, row, eta, ends[e]);
      growth[l] = e ? fmax(growth[l], at) : at;
      for (int side = -1; side <= 1; side += 2)
        slack[l] = fmax(slack[l], fabs(ModeGrowth(map, row, eta, ends[e] + side * residual) - at));
    }
    far_field[l] = ModeGrowth(map, row, eta, row->rest);
  }
}

/* The largest factor by which a small difference grows for a while, over the modes that are not neutral. */
static PetscErrorCode FillTransients(CourantMap map, PetscInt w)
{
  const CourantMapRow *row = &map->rows[w];
  const PetscBool decoupled = map->train.decoupled;
  PetscReal m[INNER + 2];
  PetscInt n;

  PetscFunctionBeginUser;
  if (!map->rule->Recurrence) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(ProbePoints(map, row, &n, m));
#pragma omp parallel for schedule(dynamic) num_threads((int)map->problem->threads)
  for (PetscInt l = 0; l < map->nl; l++)
    for (PetscInt i = 0; i < n; i++)
      map->cells[w * map->nl + l].transient_growth =
          fmax(map->cells[w * map->nl + l].transient_growth,
               CourantRuleTransientGrowth(map->rule, map->train.options, map->learning_rate[l],
                                          decoupled ? m[i] - row->rest : m[i], decoupled ? row->alpha : 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillCells(CourantMap map, PetscInt w)
{
  const CourantMapRow *row = &map->rows[w];
  const PetscBool linear = map->affine ? PETSC_TRUE : PETSC_FALSE;
  double *growth, *slack, *far_field;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(map->nl, &growth, map->nl, &slack, map->nl, &far_field));
  GrowthByRule(map, row, growth, slack, far_field);
  if (map->by_ts) PetscCall(GrowthByStepper(map, row, growth, far_field));
  PetscCall(CourantMapFillBatchGrowth(map, w, growth, slack));
  for (PetscInt l = 0; l < map->nl; l++) {
    CourantMapCell *cell = &map->cells[w * map->nl + l];
    const double rounding = 1e-13 * (1 + map->learning_rate[l] * fabs(row->high));
    cell->growth = growth[l];
    cell->regime = (uint8_t)CourantRegimePredict(row, growth[l], slack[l] + rounding, map->learning_rate[l],
                                                 map->bounded, linear, far_field[l]);
  }
  PetscCall(PetscFree3(growth, slack, far_field));
  PetscCall(FillTransients(map, w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* State, spectrum, limits and predictions of one weight decay, on this rank alone. */
static PetscErrorCode FillRow(CourantMap map, PetscInt w)
{
  CourantMapRow *row = &map->rows[w];
  CourantExtreme largest, smallest;
  const PetscScalar *theta;
  PetscBool found;
  PetscInt previous;
  Vec F;

  PetscFunctionBeginUser;
  (void)NextRow(map, &previous);
  PetscCall(FindState(map, w, previous, &found));
  if (found) {
    PetscCall(CourantProblemSetState(map->problem, map->theta, NULL, NULL));
    PetscCall(SetPreconditioner(map, w));
    PetscCall(FillSpectrum(map, row, &largest, &smallest));
    PetscCall(VecDuplicate(map->theta, &F));
    PetscCall(CourantProblemComputeFlow(map->problem, row->rest, map->theta, F));
    PetscCall(VecNorm(F, NORM_2, &row->gradient_norm));
    PetscCall(VecNorm(map->theta, NORM_2, &row->parameter_norm));
    PetscCall(VecDestroy(&F));
    if (map->at_rest && row->status == COURANT_CONVERGED && !IsEquilibrium(map, row)) found = PETSC_FALSE;
  }
  if (!found) {
    *row = EmptyRow(map, row->alpha);
    row->status = COURANT_NO_EQUILIBRIUM;
    for (PetscInt l = 0; l < map->nl; l++) map->cells[w * map->nl + l].regime = COURANT_REGIME_UNDECIDED;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FillLimits(map, row));
  PetscCall(CourantMapFillBatchLimits(map, row));
  PetscCall(FillFlip(map, row, &largest, &smallest));
  PetscCall(FillCells(map, w));
  row->has_state = 1;
  PetscCall(VecGetArrayRead(map->theta, &theta));
  PetscCall(PetscArraycpy(map->states + (size_t)w * (size_t)map->p, theta, map->p));
  PetscCall(VecRestoreArrayRead(map->theta, &theta));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A row that was not finished, such as one that was interrupted, stays as if it had not been begun. */
static PetscErrorCode SolveRow(CourantMap map, PetscInt w)
{
  const CourantMapRow empty = map->rows[w];
  const PetscErrorCode code = FillRow(map, w);

  if (code) map->rows[w] = empty;
  return code;
}

/* All rows that are not done yet, one after another: each state is continued from the one before. */
static PetscErrorCode SolveRows(CourantMap map)
{
  PetscInt previous;

  PetscFunctionBeginUser;
  for (PetscInt w = NextRow(map, &previous); w >= 0; w = NextRow(map, &previous)) {
    CourantInterruptCheck();
    PetscCall(SolveRow(map, w));
    if (map->monitor) PetscCall(map->monitor(map, map->monitor_ctx));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMapSolve - Every row, then every cell's cross-check; collective.

  Rows and cells that are done already (a resumed map) are left as they are. Rank 0 computes the rows, all
  ranks the checks. After an interruption what is done stays done, on rank 0, and the error is PETSC_ERR_SIG.
*/
PetscErrorCode CourantMapSolve(CourantMap map)
{
  PetscFunctionBeginUser;
  PetscCall(CourantMapSetUp(map));
  CourantCallOnRankZero(map->comm, map->rank, SolveRows(map));
  PetscCallMPI(
      MPI_Bcast(map->rows, (PetscMPIInt)((size_t)map->nw * sizeof *map->rows), MPI_BYTE, 0, map->comm));
  PetscCallMPI(MPI_Bcast(map->cells, (PetscMPIInt)((size_t)(map->nw * map->nl) * sizeof *map->cells),
                         MPI_BYTE, 0, map->comm));
  for (PetscInt w = 0; map->size > 1 && w < map->nw; w++)
    PetscCallMPI(
        MPI_Bcast(map->states + (size_t)w * (size_t)map->p, (PetscMPIInt)map->p, MPI_DOUBLE, 0, map->comm));
  for (PetscInt w = 0; map->moments && map->size > 1 && w < map->nw; w++)
    PetscCallMPI(
        MPI_Bcast(map->moments + (size_t)w * (size_t)map->p, (PetscMPIInt)map->p, MPI_DOUBLE, 0, map->comm));
  PetscCall(PetscLogStagePush(CourantLogging.cross_check));
  PetscCall(CourantMapCrossCheck(map));
  PetscCall(PetscLogStagePop());
  PetscFunctionReturn(PETSC_SUCCESS);
}
