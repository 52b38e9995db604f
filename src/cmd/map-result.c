/* A map's result file: one entry per dataset, written out of rows and cells and, to resume, read back. */
#include "cmd/map.h"
#include <math.h>
#include <string.h>

#define REGIMES        "stable restrained divergent unstable_flow undecided past_limit"
#define OUTCOMES       "stable restrained divergent undecided"
#define BATCH_OUTCOMES "stable bounded divergent undecided"
#define VERDICTS       "agree disagree undecided"

#define TITLE        "stability map"
#define WEIGHT_DECAY "/map/weight_decay"
#define DECAY        "alpha = weight_decay; decoupled, weight_decay (1 - momentum), the decay at rest"
#define EDGE         ", edge = weight_decay; decoupled, weight_decay reach / 2"

typedef struct {
  CourantResultEntry entry;
  size_t offset; /* of its member in a row or a cell */
} Field;

#define ROW_OF(name, member, type, long_name, units, ...)                                                    \
  {                                                                                                          \
    {"/map/" #name, COURANT_RESULT_##type, {WEIGHT_DECAY}, long_name, units, __VA_ARGS__},                   \
        offsetof(CourantMapRow, member)                                                                      \
  }
#define ROW(name, type, long_name, units, ...) ROW_OF(name, name, type, long_name, units, __VA_ARGS__)

static const Field row_fields[] = {
    ROW(m_max, REAL, "largest eigenvalue of H + alpha D", "1", .formula = DECAY),
    ROW(m_min, REAL, "smallest eigenvalue of H + alpha D", "1", .formula = DECAY),
    ROW(lambda_max, REAL, "sharpness: largest eigenvalue of the Hessian H", "1"),
    ROW(lambda_min, REAL, "smallest eigenvalue of the Hessian H", "1"),
    ROW(residual_max, REAL, "residual of the largest eigenvalue: one lies within this distance", "1",
        .formula = "|A v - m v|"),
    ROW(residual_min, REAL, "residual of the smallest eigenvalue: one lies within this distance", "1",
        .formula = "|A v - m v|"),
    ROW(multiplicity, INT, "multiplicity of the largest eigenvalue", "1"),
    ROW(neutral_modes, INT, "modes with |m| <= 1e-9 |H|, left out of growth", "1"),
    ROW(gradient_norm, REAL, "norm of the objective's gradient at theta*", "1",
        .formula = "|grad L + alpha D theta|"),
    ROW(parameter_norm, REAL, "norm of theta*", "1", .formula = "|theta|"),
    ROW(branch, ENUM,
        "branch of equilibria, 0 the one continued from the largest weight decay, one more after each fold",
        "1"),
    ROW(status, ENUM, "status of state and spectrum", "1", .meanings = COURANT_STATUS_NAMES),
    ROW(limit_von_neumann, REAL, "sufficient learning-rate limit by the symbol of the data", "1",
        .formula = "reach / (edge + sup_w symbol_upper + rank_one), as courant symbol has them" EDGE),
    ROW(limit_far_field, REAL, "learning-rate limit of boundedness, for bounded gradients", "1",
        .formula = "reach / edge" EDGE),
    ROW(flip_coefficient, REAL, "coefficient c of the flip normal form at the limit", "1",
        .formula = "e/2 D3 . (H + alpha D)^-1 D3 - e/6 D4, e = 2 limit / reach; half-distance of the 2-cycle "
                   "sqrt(2 (eta / limit - 1) / c)"),
    ROW(flip_status, ENUM, "status of the flip coefficient", "1", .meanings = COURANT_STATUS_NAMES),
    ROW(basin_radius, REAL, "distance of the unstable 2-cycle that bounds the basin at 0.99 of the limit",
        "1", .formula = "sqrt(2 (1 - eta / limit) / |c|) at eta = 0.99 limit, for c < 0"),
};

#define DESCENT_LIMIT(name)                                                                                  \
  ROW(name, REAL,                                                                                            \
      "learning-rate limit of linear stability; at a trained state, of the modes that the flow damps", "1",  \
      .formula = "reach / (lambda_max + edge); interval reach / (lambda_max + edge -+ residual_max)" EDGE)

static const Field limit_fields[] = {DESCENT_LIMIT(limit)};

#define BATCH_LIMIT(name, kind, long_name, ...)                                                              \
  ROW_OF(name, batch_limit[kind].value, REAL, long_name, "1", __VA_ARGS__),                                  \
      ROW_OF(name##_low, batch_limit[kind].low, REAL, "lower end of its interval: " long_name, "1"),         \
      ROW_OF(name##_high, batch_limit[kind].high, REAL, "upper end of its interval: " long_name, "1")
#define BATCH_STATUS(name, kind)                                                                             \
  ROW_OF(name, batch_status[kind], ENUM, "how the limit's solver ended; degenerate: none", "1",              \
         .meanings = COURANT_STATUS_NAMES)

static const Field batch_row_fields[] = {
    BATCH_LIMIT(limit, COURANT_SGD_ALMOST_SURE,
                "learning rate below which almost every run of reshuffled batches decays",
                .formula = "lim log |A_t .. A_1 x| / t = 0, A = 1 - eta (H_batch + alpha D)"),
    BATCH_LIMIT(limit_mean_square, COURANT_SGD_MEAN_SQUARE,
                "learning rate below which the mean square decays, batches drawn independently",
                .formula =
                    "1 / nu, nu the largest eigenvalue of E[M X M] = nu (m X + X m), M of a batch, m = E M"),
    BATCH_LIMIT(limit_epoch, COURANT_SGD_EPOCH,
                "learning rate below which the mean square decays from epoch to epoch of reshuffled batches",
                .formula = "spectral radius of X -> E[Phi X Phi^T] = 1, Phi = A_K .. A_1 over an epoch"),
    DESCENT_LIMIT(limit_full_batch),
    BATCH_STATUS(status_almost_sure, COURANT_SGD_ALMOST_SURE),
    BATCH_STATUS(status_mean_square, COURANT_SGD_MEAN_SQUARE),
    BATCH_STATUS(status_epoch, COURANT_SGD_EPOCH),
    ROW(gradient_noise, REAL,
        "root mean square of the gradients of single samples; where it is not 0, runs below the limits hover",
        "1", .formula = "sqrt(mean_i |grad L_i + alpha D theta|^2)"),
};

#define GRID(group)                                                                                          \
  {                                                                                                          \
    group "weight_decay", group "learning_rate"                                                              \
  }
#define CELL(group, name, member, type, long_name, units, ...)                                               \
  {                                                                                                          \
    {group #name, COURANT_RESULT_##type, GRID(group), long_name, units, __VA_ARGS__},                        \
        offsetof(CourantMapCell, member)                                                                     \
  }

static const Field prediction_fields[] = {
    CELL("/map/", regime, regime, ENUM, "predicted regime", "1", .meanings = REGIMES),
};

static const Field growth_fields[] = {
    CELL("/map/", growth, growth, REAL,
         "linearised amplification factor per step, over the modes that are not neutral", "1",
         .formula = "max |R|"),
};

#define ENDS(group, name, low, high, long_name)                                                              \
  CELL(group, name##_low, low, REAL, "lower end of its interval: " long_name, "1"),                          \
      CELL(group, name##_high, high, REAL, "upper end of its interval: " long_name, "1")

#define SURE   "growth per step along almost every run of reshuffled batches"
#define SQUARE "growth per step of the root of the mean square, batches drawn independently"

static const Field batch_growth_fields[] = {
    CELL("/map/", growth, growth, REAL, SURE, "1", .formula = "exp lim log |A_t .. A_1 x| / t"),
    ENDS("/map/", growth, growth_low, growth_high, SURE),
    CELL("/map/", growth_mean_square, mean_square.value, REAL, SQUARE, "1",
         .formula = "sqrt of the spectral radius of X -> E[A X A]"),
    ENDS("/map/", growth_mean_square, mean_square.low, mean_square.high, SQUARE),
};

static const Field transient_fields[] = {
    CELL("/map/", transient_growth, transient_growth, REAL,
         "largest factor that a small difference grows by before it decays, over the modes", "1",
         .formula = "sup_n |C^n|_2, C the step of (x_t, x_{t-1}); infinite where unstable"),
};

#define MEASURED "measured growth per step of a small difference of two runs"

static const Field local_fields[] = {
    CELL("/trainer/local/", growth, local_growth, REAL, MEASURED, "1"),
    CELL("/trainer/local/", verdict, local_verdict, ENUM,
         "measured and predicted growth on the same side of 1", "1", .meanings = VERDICTS),
};

static const Field batch_local_fields[] = {
    ENDS("/trainer/local/", growth, local_low, local_high, MEASURED),
};

#define INTERPOLATED(group)                                                                                  \
  CELL(group, interpolated, interpolated, ENUM,                                                              \
       "where it comes from: not run, it has the class of the corners of a block that agree, and the ratio " \
       "of growth to the predicted one between theirs",                                                      \
       "1",                                                                                                  \
       .formula = "drawn: run because of a random number; surprise: such a run that contradicted the cells " \
                  "around it, which were run then",                                                          \
       .meanings = "run interpolated drawn surprise")

static const Field refined_local_fields[] = {INTERPOLATED("/trainer/local/")};
static const Field refined_global_fields[] = {INTERPOLATED("/trainer/global/")};

static const Field outcome_fields[] = {
    CELL("/trainer/global/", regime, global_regime, ENUM, "what became of training from the deck's weights",
         "1", .meanings = OUTCOMES),
};

static const Field batch_outcome_fields[] = {
    CELL("/trainer/global/", regime, global_regime, ENUM,
         "what became of training from the deck's weights; bounded: it moves, by the noise of batches or "
         "because it is unstable",
         "1", .meanings = BATCH_OUTCOMES),
};

static const Field global_fields[] = {
    CELL("/trainer/global/", amplitude, amplitude, REAL,
         "half the largest distance between two of the last 64 states", "1"),
    CELL("/trainer/global/", period, period, INT, "period of the last states, 0 none", "steps"),
    CELL("/trainer/global/", final_loss, final_loss, REAL, "loss L of the last state", "1"),
    CELL("/trainer/global/", distance, distance, REAL, "distance of the last state from theta*", "1",
         .formula = "|theta - theta*|"),
};

#define LENGTH(array) ((int)PETSC_STATIC_ARRAY_LENGTH(array))

/* When a group of datasets is part of a map. */
static PetscBool Always(CourantMap map)
{
  return map ? PETSC_TRUE : PETSC_FALSE;
}
static PetscBool OfFullBatches(CourantMap map)
{
  return map->sgd ? PETSC_FALSE : PETSC_TRUE;
}
static PetscBool OfBatches(CourantMap map)
{
  return map->sgd ? PETSC_TRUE : PETSC_FALSE;
}
static PetscBool HasTransients(CourantMap map)
{
  return map->rule->Recurrence ? PETSC_TRUE : PETSC_FALSE;
}
static PetscBool HasLocal(CourantMap map)
{
  return map->settings.local;
}
static PetscBool HasBatchLocal(CourantMap map)
{
  return HasLocal(map) && OfBatches(map) ? PETSC_TRUE : PETSC_FALSE;
}
static PetscBool HasRefinedLocal(CourantMap map)
{
  return HasLocal(map) && map->settings.refine >= 0 ? PETSC_TRUE : PETSC_FALSE;
}
static PetscBool HasGlobal(CourantMap map)
{
  return map->settings.global && !map->by_ts ? PETSC_TRUE : PETSC_FALSE;
}
static PetscBool HasOutcome(CourantMap map)
{
  return HasGlobal(map) && OfFullBatches(map) ? PETSC_TRUE : PETSC_FALSE;
}
static PetscBool HasBatchOutcome(CourantMap map)
{
  return HasGlobal(map) && OfBatches(map) ? PETSC_TRUE : PETSC_FALSE;
}
static PetscBool HasRefinedGlobal(CourantMap map)
{
  return HasGlobal(map) && map->settings.refine >= 0 ? PETSC_TRUE : PETSC_FALSE;
}

typedef struct {
  PetscBool (*Has)(CourantMap);
  const char *group; /* of cells, whose scales it adds; NULL: they are there */
  const Field *fields;
  int n;
  PetscBool rows; /* of rows, not of cells */
} Group;

#define GROUP(has, group, fields)                                                                            \
  {                                                                                                          \
    has, group, fields, LENGTH(fields)                                                                       \
  }
#define ROWS(has, fields)                                                                                    \
  {                                                                                                          \
    has, NULL, fields, LENGTH(fields), PETSC_TRUE                                                            \
  }

static const Group groups[] = {
    GROUP(Always, "/map/", prediction_fields),
    GROUP(OfFullBatches, NULL, growth_fields),
    GROUP(OfBatches, NULL, batch_growth_fields),
    GROUP(HasTransients, NULL, transient_fields),
    ROWS(Always, row_fields),
    ROWS(OfFullBatches, limit_fields),
    ROWS(OfBatches, batch_row_fields),
    GROUP(HasLocal, "/trainer/local/", local_fields),
    GROUP(HasBatchLocal, NULL, batch_local_fields),
    GROUP(HasRefinedLocal, NULL, refined_local_fields),
    GROUP(HasGlobal, "/trainer/global/", global_fields),
    GROUP(HasOutcome, NULL, outcome_fields),
    GROUP(HasBatchOutcome, NULL, batch_outcome_fields),
    GROUP(HasRefinedGlobal, NULL, refined_global_fields),
};

static double *States(CourantMap map)
{
  return map->states;
}
static double *Moments(CourantMap map)
{
  return map->moments;
}

/* What rows go on from and cells are checked with: in every .partial, and in a file of few weights. */
static const struct {
  double *(*Of)(CourantMap); /* [nw,p], or NULL */
  CourantResultEntry entry;
} states[] = {
    {States,
     {"/map/parameters",
      COURANT_RESULT_REAL,
      {WEIGHT_DECAY, "/map/parameter"},
      "weights theta* of each row, in PyTorch's order",
      "1"}},
    {Moments,
     {"/map/second_moment",
      COURANT_RESULT_REAL,
      {WEIGHT_DECAY, "/map/parameter"},
      "v_hat of Adam where its preconditioner is frozen",
      "1",
      .formula = "P = diag(sqrt(v_hat) + epsilon)"}},
};
enum { PARAMETERS_WRITTEN = 1000000 };

static PetscErrorCode AddScales(CourantMap map, CourantResult file, const char group[])
{
  char path[64];

  PetscFunctionBeginUser;
  snprintf(path, sizeof path, "%sweight_decay", group);
  PetscCall(CourantResultAddScale(file, path, (int)map->nw, map->weight_decay, "weight decay alpha", "1"));
  snprintf(path, sizeof path, "%slearning_rate", group);
  PetscCall(CourantResultAddScale(file, path, (int)map->nl, map->learning_rate, "learning rate eta", "1"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The rule with its options, a line. */
void CourantMapDescribeRule(CourantMap map, char text[COURANT_TEXT_SIZE])
{
  const char *options = (const char *)map->train.options;

  snprintf(text, COURANT_TEXT_SIZE, "%s", map->rule->name);
  for (const CourantKey *k = map->rule->keys; k->name; k++) {
    const size_t length = strlen(text);
    if (k->type == COURANT_KEY_REAL)
      snprintf(text + length, COURANT_TEXT_SIZE - length, ", %s %.15g", k->name,
               *(const double *)(options + k->offset));
    else if (*(const PetscBool *)(options + k->offset))
      snprintf(text + length, COURANT_TEXT_SIZE - length, ", %s", k->name);
  }
  const size_t length = strlen(text);
  if (map->train.decoupled) snprintf(text + length, COURANT_TEXT_SIZE - length, ", decoupled decay");
  if (map->sgd)
    snprintf(text + length, COURANT_TEXT_SIZE - length, ", batches of %d of %d samples", map->train.batch,
             (int)map->problem->data->n);
}

/* How the local check's growth is measured. */
static const char *LocalMethod(CourantMap map)
{
  if (map->sgd)
    return "a difference stepped along the trainer's batches with H_batch delta for a gradient, H_batch by "
           "differences of the trainer's gradients at theta*, held fast: gradients of batches do not vanish "
           "there; verdict undecided where an interval of growth, measured or predicted, holds 1";
  if (map->at_rest) return "two runs, one from theta*, their difference rescaled";
  return "a difference stepped by the rule with H delta for a gradient, H by differences of the trainer's "
         "gradients: theta* is no equilibrium";
}

static PetscErrorCode AddStates(CourantMap map, CourantResult file)
{
  PetscFunctionBeginUser;
  PetscCall(CourantResultAddCount(file, "/map/parameter", (int)map->p, 0, "index of a weight", "1"));
  for (int i = 0; i < LENGTH(states); i++)
    if (states[i].Of(map)) PetscCall(CourantResultAdd(file, &states[i].entry));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All datasets, empty. */
static PetscErrorCode AddAll(CourantMap map, CourantResult file, PetscBool with_states)
{
  static const char *const names[] = {"equilibrium", "init", "zero", "zero_frozen", "file", "trained"};
  char rule[COURANT_TEXT_SIZE];
  PetscInt dense;

  PetscFunctionBeginUser;
  for (int g = 0; g < LENGTH(groups); g++) {
    if (!groups[g].Has(map)) continue;
    if (groups[g].group) PetscCall(AddScales(map, file, groups[g].group));
    for (int i = 0; i < groups[g].n; i++) PetscCall(CourantResultAdd(file, &groups[g].fields[i].entry));
  }
  if (with_states) PetscCall(AddStates(map, file));
  PetscCall(CourantResultSetString(file, "/map", "linearise", names[map->settings.linearise]));
  CourantMapDescribeRule(map, rule);
  PetscCall(CourantResultSetString(file, "/map", "rule", rule));
  const char *type;
  PetscReal reach = map->rule->Limit(map->train.options);
  PetscCall(CourantStepperGetType(map->stepper, &type, NULL));
  if (map->by_ts) PetscCall(CourantStepperGetRealLimit(map->stepper, &reach));
  if (map->PHP)
    PetscCall(CourantResultSetString(file, "/map", "operator",
                                     "m: eigenvalues of P^-1 (H + alpha D), P frozen as training left it"));
  PetscCall(CourantResultSetString(file, "/map", "time_stepper", type));
  PetscCall(CourantResultSetReal(file, "/map", "reach", reach));
  PetscCall(CourantSpectrumGetDenseSize(map->spectrum, &dense));
  const char *const exact =
      dense ? "all eigenvalues are known" : "a lower bound: not all eigenvalues are known";
  PetscCall(CourantResultSetString(file, "/map/multiplicity", "certainty", exact));
  PetscCall(CourantResultSetString(file, "/map/neutral_modes", "certainty", exact));
  if (map->settings.local) {
    PetscCall(CourantResultSetString(file, "/trainer/local", "method", LocalMethod(map)));
    PetscCall(CourantResultSetInt(file, "/trainer/local", "steps", (int)map->settings.steps));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Members of n structs of `stride` bytes to a contiguous array, or back. */
static void Transfer(const CourantResultType type, size_t n, char *structs, size_t stride, char *array,
                     PetscBool back)
{
  const size_t size = type == COURANT_RESULT_REAL  ? sizeof(double)
                      : type == COURANT_RESULT_INT ? sizeof(int)
                                                   : 1;
  for (size_t i = 0; i < n; i++) {
    if (back)
      memcpy(structs + i * stride, array + i * size, size);
    else
      memcpy(array + i * size, structs + i * stride, size);
  }
}

/* All datasets but the states out of the map's rows and cells, or back into them. */
static PetscErrorCode Exchange(CourantMap map, CourantResult file, PetscBool back)
{
  const size_t nw = (size_t)map->nw, cells = nw * (size_t)map->nl;
  char *array;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(sizeof(double) * cells, &array));
  for (const Group *g = groups; g < groups + LENGTH(groups); g++) {
    const size_t count = g->rows ? nw : cells,
                 stride = g->rows ? sizeof(CourantMapRow) : sizeof(CourantMapCell);
    for (int i = 0; i < g->n && g->Has(map); i++) {
      const CourantResultEntry *entry = &g->fields[i].entry;
      char *structs = (g->rows ? (char *)map->rows : (char *)map->cells) + g->fields[i].offset;
      if (back) PetscCall(CourantResultRead(file, entry->path, entry->type, count, array));
      Transfer(entry->type, count, structs, stride, array, back);
      if (!back) PetscCall(CourantResultWrite(file, entry->path, array));
    }
  }
  PetscCall(PetscFree(array));
  if (back)
    PetscCall(CourantResultGetReal(file, "/map/m_max", "missed_probability", &map->missed));
  else
    PetscCall(CourantResultSetReal(file, "/map/m_max", "missed_probability", map->missed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ExchangeStates(CourantMap map, CourantResult file, PetscBool back)
{
  PetscFunctionBeginUser;
  for (int i = 0; i < LENGTH(states); i++) {
    const CourantResultEntry *entry = &states[i].entry;
    double *values = states[i].Of(map);
    if (values && back)
      PetscCall(CourantResultRead(file, entry->path, entry->type, (size_t)map->nw * (size_t)map->p, values));
    else if (values)
      PetscCall(CourantResultWrite(file, entry->path, values));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantMapResultCreate - A new file, or what an interrupted run has done, with -resume. */
PetscErrorCode CourantMapResultCreate(CourantMap map, CourantOutput *output)
{
  PetscFunctionBeginUser;
  PetscCall(CourantOutputCreate(output, &map->problem->model, TITLE));
  if (!output->resumed) {
    PetscCall(AddAll(map, output->file, PETSC_TRUE));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(Exchange(map, output->file, PETSC_TRUE));
  PetscCall(ExchangeStates(map, output->file, PETSC_TRUE));
  PetscCall(CourantMapRestore(map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteAgreement(CourantMap map, CourantResult file, const CourantAgreement *a)
{
  const char *const group = "/trainer/local";

  PetscFunctionBeginUser;
  if (!map->settings.local) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantResultSetReal(file, group, "agreement",
                                 a->decided ? (double)a->agreed / (double)a->decided : NAN));
  PetscCall(CourantResultSetInt(file, group, "cells_checked", (int)a->checked));
  PetscCall(CourantResultSetInt(file, group, "cells_decided", (int)a->decided));
  PetscCall(CourantResultSetInt(file, group, "cells_disagreeing", (int)a->disagreeing));
  if (map->sgd) PetscCall(CourantResultSetInt(file, group, "cells_overlapping", (int)a->overlapping));
  PetscCall(CourantResultSetReal(file, group, "median_relative_error", a->median_error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How many cells a refined check was run in, and what those drawn at random say about the others. */
static PetscErrorCode WriteRefinement(CourantMap map, CourantResult file)
{
  const CourantRefinementCounts *r = &map->refined;
  const struct {
    const char *name;
    PetscInt value;
  } counts[] = {{"cells_run", r->run},      {"cells_interpolated", map->nw * map->nl - r->run},
                {"cells_drawn", r->drawn},  {"cells_surprising", r->surprises},
                {"draw_rounds", r->rounds}, {"interpolated_differing_at_most", r->differing}};

  PetscFunctionBeginUser;
  if (r->run == 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (int i = 0; i < LENGTH(counts); i++)
    PetscCall(CourantResultSetInt(file, "/trainer", counts[i].name, (int)counts[i].value));
  PetscCall(CourantResultSetReal(file, "/trainer", "interpolated_differing_confidence",
                                 COURANT_REFINEMENT_CONFIDENCE));
  if (map->settings.local && r->drawn)
    PetscCall(CourantResultSetReal(file, "/trainer/local", "interpolated_growth_error", map->refined_error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantMapResultWrite - What is done of rows and cells, for a .partial. */
PetscErrorCode CourantMapResultWrite(CourantMap map, CourantResult file)
{
  PetscFunctionBeginUser;
  PetscCall(Exchange(map, file, PETSC_FALSE));
  PetscCall(ExchangeStates(map, file, PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMapResultFinish - Everything, with what the checks come to. Of more than 1e6 weights the states are
  left out: in a new file, as HDF5 keeps the room of what is deleted.
*/
PetscErrorCode CourantMapResultFinish(CourantMap map, CourantOutput *output,
                                      const CourantAgreement *agreement)
{
  PetscFunctionBeginUser;
  if (map->p > PARAMETERS_WRITTEN) {
    PetscCall(CourantOutputRenew(output, &map->problem->model, TITLE));
    PetscCall(AddAll(map, output->file, PETSC_FALSE));
  } else
    PetscCall(ExchangeStates(map, output->file, PETSC_FALSE));
  PetscCall(Exchange(map, output->file, PETSC_FALSE));
  PetscCall(WriteAgreement(map, output->file, agreement));
  PetscCall(WriteRefinement(map, output->file));
  PetscFunctionReturn(PETSC_SUCCESS);
}
