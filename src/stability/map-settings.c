/* What a deck and the command line say of a map. */
#include "stability/map.h"
#include <math.h>

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

enum { GIVEN = 1024 }; /* values of an axis on the command line */
static const double cells_max = 1e8;

/*
  An axis of a map, with the lowest value it may have. A deck without it gives the one value of the train
  section; option, or NULL, holds values that go before the deck's, points a number of points that does (0:
  the deck's).
*/
static PetscErrorCode ReadAxis(CourantNode node, const char option[], double lowest, double single,
                               PetscInt points, CourantReals *values)
{
  Axis axis = {.from = NAN, .to = NAN};
  PetscReal given[GIVEN + 1];
  PetscInt n = GIVEN + 1;
  PetscBool set = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(CourantNodeRead(node, 1, (CourantTable[]){{CourantMapAxisKeys, &axis}}));
  if (option) PetscCall(PetscOptionsGetRealArray(NULL, NULL, option, given, &n, &set));
  if (points && set) CourantInputError(PETSC_COMM_WORLD, "-points: this axis is given by %s", option);
  if (points && !node.id)
    CourantInputError(PETSC_COMM_WORLD, "-points: the deck has no axis map.%s; %s A,B,.. gives one",
                      option + 1, option);
  if (n > GIVEN && set)
    CourantInputError(PETSC_COMM_WORLD,
                      "%s: expected at most %d numbers; the deck has room for more, as a list or as "
                      "from, to and points",
                      option, (int)GIVEN);
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

/* The scale of a picture: its values rise, or fall, from one to the next. */
static PetscErrorCode CheckAxis(CourantNode map, const char name[], const CourantReals *axis)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 1; i < axis->n; i++) {
    const double step = axis->values[i] - axis->values[i - 1], first = axis->values[1] - axis->values[0];
    if (!(step * first > 0))
      CourantNodeError(map, "%s: %g stands behind %g: expected values that all rise or all fall", name,
                       axis->values[i], axis->values[i - 1]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -points 64x32, learning rates by weight decays; 0: not given. */
static PetscErrorCode ReadPoints(PetscInt points[2])
{
  char text[64], rest;
  int nl, nw;
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-points", text, sizeof text, &set));
  if (!set) PetscFunctionReturn(PETSC_SUCCESS);
  if (sscanf(text, "%dx%d%c", &nl, &nw, &rest) != 2 || nl < 1 || nw < 1 || nl > 1 << 20 || nw > 1 << 20)
    CourantInputError(PETSC_COMM_WORLD, "-points %s: expected learning rates x weight decays, such as 64x64",
                      text);
  points[0] = nl;
  points[1] = nw;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMapSettingsRead - The `map` section of a deck beside its `train` section, which says what is absent.

  with_options: -learning_rate, -weight_decay and -points go before the deck's. Freed by
  CourantMapSettingsReset().
*/
PetscErrorCode CourantMapSettingsRead(CourantNode node, const CourantTrainSettings *train,
                                      PetscBool with_options, CourantMapSettings *s)
{
  PetscInt points[2] = {0, 0};
  MapNodes nodes;

  PetscFunctionBeginUser;
  s->node = node;
  PetscCall(CourantNodeRead(node, 2, (CourantTable[]){{CourantMapSectionKeys, &nodes}, {CourantMapKeys, s}}));
  PetscCall(CourantNodeRead(nodes.cross_check, 1, (CourantTable[]){{CourantMapCheckKeys, s}}));
  if (with_options) PetscCall(ReadPoints(points));
  PetscCall(ReadAxis(nodes.learning_rate, with_options ? "-learning_rate" : NULL, 1e-300,
                     train->learning_rate, points[0], &s->learning_rates));
  PetscCall(ReadAxis(nodes.weight_decay, with_options ? "-weight_decay" : NULL, 0, train->weight_decay,
                     points[1], &s->weight_decays));
  PetscCall(CheckAxis(node, "learning_rate", &s->learning_rates));
  PetscCall(CheckAxis(node, "weight_decay", &s->weight_decays));
  if (s->linearise == COURANT_LINEARISE_FILE && !s->file[0])
    CourantNodeError(node, "linearise: file needs the key 'file' beside it");
  const PetscInt nl = s->learning_rates.n, nw = s->weight_decays.n;
  if ((double)nl * (double)nw > cells_max)
    CourantNodeError(node, "%d learning rates x %d weight decays: expected at most %g cells", (int)nl,
                     (int)nw, cells_max);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantMapSettingsReset(CourantMapSettings *s)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(s->learning_rates.values));
  PetscCall(PetscFree(s->weight_decays.values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadSettings(CourantMap map)
{
  CourantMapSettings *s = &map->settings;

  PetscFunctionBeginUser;
  PetscCall(CourantTrainRead(map->problem->top.train, &map->train));
  PetscCall(CourantMapSettingsRead(map->problem->top.map, &map->train, PETSC_TRUE, s));
  map->nl = s->learning_rates.n;
  map->nw = s->weight_decays.n;
  map->learning_rate = s->learning_rates.values;
  map->weight_decay = s->weight_decays.values;
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
