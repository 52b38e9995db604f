/* courant flow: a linear PDE stepped in time, and what becomes of each frequency beside what was predicted.
 */
#include "cmd/draw.h"
#include "cmd/session.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "dynamics/linear.h"
#include "stability/modes.h"
#include <math.h>
#include <string.h>

#define ENORMOUS  1e150 /* a state beyond is not stepped any more */
#define TOLERANCE 1e-6  /* of measured and predicted growth */

/* On every rank but for what rank 0 alone holds. */
typedef struct {
  CourantScheme scheme;
  CourantOutput output;
  PetscInt steps, taken;
  Mat A;
  PetscInt starts; /* as many as fields on periodic grids, else one */
  Vec u[COURANT_FIELDS_MAX];
  CourantLinear flow[COURANT_FIELDS_MAX];
  TSType type;          /* of the TS that steps; borrowed */
  CourantStepper probe; /* of periodic grids alone */
  PetscBool one_step;
  VecScatter to_zero;
  Vec all;            /* a whole state */
  CourantModes modes; /* rank 0 */
  size_t points;
  double *norm, *maximum;    /* [steps+1] of the first start */
  double *initial, *final;   /* rank 0: [fields,points] of it */
  double *measured, *growth; /* rank 0: [points], from -pi up */
  int *counted;              /* steps that the measured growth is over */
  uint8_t *verdict;
  double difference; /* of measured and predicted growth, the largest */
  int compared, disagreeing;
} Session;

static PetscBool IsPeriodic(const Session *s)
{
  return s->scheme->boundary == COURANT_BOUNDARY_PERIODIC ? PETSC_TRUE : PETSC_FALSE;
}

/* ---- stepping ---- */

static PetscErrorCode CreateStarts(Session *s)
{
  PetscFunctionBeginUser;
  PetscCall(CourantSchemeCreateMatrix(s->scheme, s->scheme->step, &s->A));
  s->starts = IsPeriodic(s) ? s->scheme->fields : 1;
  for (PetscInt i = 0; i < s->starts; i++) {
    PetscCall(MatCreateVecs(s->A, &s->u[i], NULL));
    PetscCall(CourantSchemeGetInitialState(s->scheme, i, s->u[i]));
    PetscCall(CourantLinearCreate(s->A, "flow_", &s->flow[i]));
    PetscCall(CourantLinearSetFromOptions(s->flow[i]));
    PetscCall(TSSetTimeStep(s->flow[i]->ts, s->scheme->step));
    PetscCall(TSSetErrorIfStepFails(s->flow[i]->ts, PETSC_FALSE));
    PetscCall(TSSetSolution(s->flow[i]->ts, s->u[i]));
  }
  PetscCall(TSGetType(s->flow[0]->ts, &s->type));
  PetscCall(VecScatterCreateToZero(s->u[0], &s->to_zero, &s->all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The fields one after another, of a state with the fields of a point together. */
static void TakeApart(const Session *s, const double state[], double planes[])
{
  const size_t f = (size_t)s->scheme->fields;

  for (size_t i = 0; i < s->points; i++)
    for (size_t k = 0; k < f; k++) planes[k * s->points + i] = state[i * f + k];
}

/* All starts to rank 0, which follows their frequencies. */
static PetscErrorCode Record(Session *s)
{
  const PetscScalar *state;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < s->starts; i++) {
    PetscCall(VecScatterBegin(s->to_zero, s->u[i], s->all, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecScatterEnd(s->to_zero, s->u[i], s->all, INSERT_VALUES, SCATTER_FORWARD));
    if (s->output.rank) continue;
    PetscCall(VecGetArrayRead(s->all, &state));
    if (i == 0) TakeApart(s, state, s->taken ? s->final : s->initial);
    if (i == 0 && s->taken == 0) TakeApart(s, state, s->final);
    if (s->modes) PetscCall(CourantModesRecord(s->modes, i, state));
    PetscCall(VecRestoreArrayRead(s->all, &state));
  }
  if (s->modes) PetscCall(CourantModesKeep(s->modes, s->taken));
  if (s->modes && !s->one_step && s->taken == s->steps / 2) CourantModesRestart(s->modes, s->taken);
  PetscCall(VecNorm(s->u[0], NORM_2, &s->norm[s->taken]));
  PetscCall(VecNorm(s->u[0], NORM_INFINITY, &s->maximum[s->taken]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A step of every start; false: the states are numbers no more. */
static PetscErrorCode Step(Session *s, PetscBool *more)
{
  TSConvergedReason reason;
  PetscReal largest;

  PetscFunctionBeginUser;
  *more = PETSC_TRUE;
  for (PetscInt i = 0; i < s->starts && *more; i++) {
    PetscCall(TSStep(s->flow[i]->ts));
    PetscCall(TSGetConvergedReason(s->flow[i]->ts, &reason));
    PetscCheck(reason >= 0, s->scheme->comm, PETSC_ERR_NOT_CONVERGED,
               "step %d did not converge: %s; -flow_ksp_... and -flow_pc_... choose its linear solver",
               (int)s->taken + 1, TSConvergedReasons[reason]);
    PetscCall(VecNorm(s->u[i], NORM_INFINITY, &largest));
    *more = largest < ENORMOUS ? PETSC_TRUE : PETSC_FALSE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StepAll(Session *s, CourantProgress *progress)
{
  PetscBool more = PETSC_TRUE;

  PetscFunctionBeginUser;
  PetscCall(Record(s));
  while (more && s->taken < s->steps) {
    PetscCall(CourantInterruptCheckTogether(s->scheme->comm));
    PetscCall(Step(s, &more));
    if (!more) break;
    s->taken++;
    PetscCall(Record(s));
    CourantProgressUpdate(progress, (double)s->taken);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunSteps(Session *s)
{
  CourantProgress progress;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i <= s->steps; i++) s->norm[i] = s->maximum[i] = NAN;
  CourantProgressBegin(&progress, "steps", 0, (double)s->steps, s->output.quiet);
  const PetscErrorCode code = StepAll(s, &progress);
  CourantProgressEnd(&progress);
  PetscFunctionReturn(code);
}

/* ---- measured beside predicted ---- */

static PetscErrorCode Compare(Session *s)
{
  PetscFunctionBeginUser;
  PetscCall(CourantModesGetGrowth(s->modes, s->measured, s->counted));
  PetscCall(CourantSchemePredictGrowth(s->scheme, s->probe, s->growth));
  for (size_t i = 0; i < s->points; i++) {
    const double difference = fabs(s->measured[i] - s->growth[i]);
    s->verdict[i] = COURANT_UNSET;
    if (!isfinite(difference)) continue;
    s->compared++;
    s->difference = fmax(s->difference, difference);
    if (s->one_step) s->verdict[i] = difference > TOLERANCE;
    s->disagreeing += s->verdict[i] == 1;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The place of the largest predicted growth among those that are measured, -1 where there are none; of those
  that are equal but for rounding the one nearest to frequency 0, and of a pair the positive one.
*/
static PetscInt Fastest(const Session *s)
{
  const PetscInt ny = s->scheme->points[0], nx = s->scheme->points[1];
  PetscInt best = -1;
  double distance = INFINITY;

  for (PetscInt i = 0; i < ny * nx; i++) {
    const double here = hypot(CourantModesFrequency(i / nx, ny), CourantModesFrequency(i % nx, nx));
    const double gain = best < 0 ? INFINITY : s->growth[i] - s->growth[best];
    if (!isfinite(s->growth[i]) || !isfinite(s->measured[i])) continue;
    if (gain < -1e-12 || (gain < 1e-12 && here > distance)) continue;
    best = i;
    distance = here;
  }
  return best;
}

/* ---- the result file ---- */

#define STEP  "/flow/step"
#define FIELD "/flow/field"
#define Y     "/flow/y"
#define X     "/flow/x"
#define WY    "/flow/frequency_y"
#define WX    "/flow/frequency_x"

static const CourantResultEntry entries[] = {
    {"/flow/norm", COURANT_RESULT_REAL, {STEP}, "2-norm of the state", "1"},
    {"/flow/maximum", COURANT_RESULT_REAL, {STEP}, "largest absolute value of the state", "1"},
    {"/flow/initial", COURANT_RESULT_REAL, {FIELD, Y, X}, "initial state", "1"},
    {"/flow/final", COURANT_RESULT_REAL, {FIELD, Y, X}, "state after the last step that was taken", "1"},
};

static const CourantResultEntry growths[] = {
    {"/flow/measured_growth",
     COURANT_RESULT_REAL,
     {WY, WX},
     "growth per step of each frequency, measured",
     "1",
     .formula =
         "rho(U_n U_0^-1)^(1/n), U_n the Fourier coefficients of as many runs as fields after n steps"},
    {"/flow/predicted_growth",
     COURANT_RESULT_REAL,
     {WY, WX},
     "growth per step of each frequency by von Neumann's analysis",
     "1",
     .formula = "rho(R(dt A(w))), A(w) the symbol, R the stepper's amplification factor"},
    {"/flow/growth_steps", COURANT_RESULT_INT, {WY, WX}, "steps n that the measured growth is over", "1"},
    {"/flow/verdict",
     COURANT_RESULT_ENUM,
     {WY, WX},
     "do measured and predicted growth agree to 1e-6?",
     "1",
     "agree disagree"},
};

static PetscErrorCode AddTable(CourantResult file, int n, const CourantResultEntry table[],
                               const void *const values[])
{
  PetscFunctionBeginUser;
  for (int i = 0; i < n; i++) PetscCall(CourantResultAddValues(file, &table[i], values[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The scale first, first + distance, .. */
static PetscErrorCode AddScale(CourantResult file, const char path[], PetscInt n, double first,
                               double distance, const char name[])
{
  double *values;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &values));
  for (PetscInt i = 0; i < n; i++) values[i] = first + distance * (double)i;
  PetscCall(CourantResultAddScale(file, path, (int)n, values, name, "1"));
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteFrequencies(const Session *s, const char path[], PetscInt n, const char name[])
{
  PetscFunctionBeginUser;
  PetscCall(AddScale(s->output.file, path, n, CourantModesFrequency(0, n), 2 * M_PI / (double)n, name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Write(const Session *s)
{
  static const double first[] = {0, 1, 0.5}; /* place of the first point by boundary, in spacings */
  const CourantScheme scheme = s->scheme;
  const CourantResult file = s->output.file;
  const double *h = scheme->spacing, start = first[scheme->boundary];

  PetscFunctionBeginUser;
  PetscCall(AddScale(file, STEP, s->steps + 1, 0, 1, "step"));
  PetscCall(AddScale(file, FIELD, scheme->fields, 0, 1, "field"));
  PetscCall(AddScale(file, Y, scheme->points[0], scheme->dimension == 2 ? start * h[0] : 0, h[0], "y"));
  PetscCall(AddScale(file, X, scheme->points[1], start * h[1], h[1], "x"));
  PetscCall(AddTable(file, PETSC_STATIC_ARRAY_LENGTH(entries), entries,
                     (const void *[]){s->norm, s->maximum, s->initial, s->final}));
  PetscCall(CourantResultSetString(file, "/flow", "stepper", s->type));
  PetscCall(CourantResultSetReal(file, "/flow", "step_length", scheme->step));
  PetscCall(CourantResultSetInt(file, "/flow", "steps_taken", (int)s->taken));
  if (!s->modes) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(WriteFrequencies(s, WY, scheme->points[0], "frequency along y, radians per grid point"));
  PetscCall(WriteFrequencies(s, WX, scheme->points[1], "frequency along x, radians per grid point"));
  PetscCall(AddTable(file, PETSC_STATIC_ARRAY_LENGTH(growths), growths,
                     (const void *[]){s->measured, s->growth, s->counted, s->verdict}));
  PetscCall(CourantResultSetString(file, "/flow", "growth", s->one_step ? "exact" : "asymptotic"));
  PetscCall(CourantResultSetInt(file, "/flow", "frequencies_compared", s->compared));
  PetscCall(CourantResultSetInt(file, "/flow", "frequencies_disagreeing", s->disagreeing));
  PetscCall(CourantResultSetReal(file, "/flow", "largest_difference", s->compared ? s->difference : NAN));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the terminal ---- */

static PetscErrorCode PrintHeader(const Session *s)
{
  PetscFunctionBeginUser;
  if (s->output.quiet || s->output.rank) PetscFunctionReturn(PETSC_SUCCESS);
  printf("flow of %s: %d steps of a linear PDE\n", s->scheme->model.name, (int)s->steps);
  if (s->scheme->model.about[0]) printf("  %s\n", s->scheme->model.about);
  PetscCall(CourantSchemeView(s->scheme, s->type, stdout));
  PetscCall(CourantSchemeCheckConsistency(s->scheme, stderr));
  fflush(stdout);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PrintFrequencies(const Session *s)
{
  const PetscInt nx = s->scheme->points[1], best = Fastest(s);

  if (best < 0) {
    printf("no frequency lasted for a step whose growth could be measured\n");
    return;
  }
  printf("fastest-growing frequency measured (");
  if (s->scheme->dimension == 2) printf("%.6g, ", CourantModesFrequency(best / nx, s->scheme->points[0]));
  printf("%.6g) radians a point: growth %.10g predicted, %.10g measured\n",
         CourantModesFrequency(best % nx, nx), s->growth[best], s->measured[best]);
  printf("measured and predicted %sgrowth per step differ by at most %.1e over %d of %d frequencies\n",
         s->one_step ? "" : "asymptotic ", s->difference, s->compared, (int)s->points);
}

static void PrintEnds(const Session *s)
{
  const PetscInt n = s->taken, half = n / 2;
  PetscInt signs = 0;

  if (n > half && s->norm[half] > 0)
    printf("growth of |u| per step over the last half %.10g\n",
           pow(s->norm[n] / s->norm[half], 1 / (double)(n - half)));
  if (s->scheme->dimension == 2) return;
  for (PetscInt i = 0; i + 1 < s->scheme->points[1]; i++) signs += s->final[i] * s->final[i + 1] < 0;
  printf("the last state changes its sign between %d of %d pairs of neighbours\n", (int)signs,
         (int)s->scheme->points[1] - 1);
}

static void Print(const Session *s)
{
  if (s->output.quiet) return;
  printf("\nthe last state%s:\n", s->scheme->fields > 1 ? ", its first field" : "");
  CourantDrawField(s->scheme->points[0], s->scheme->points[1], s->final);
  printf("\nafter %d steps |u| = %.6g, from %.6g; largest value %.6g, from %.6g\n", (int)s->taken,
         s->norm[s->taken], s->norm[0], s->maximum[s->taken], s->maximum[0]);
  if (s->taken < s->steps) printf("stopped: the next state is beyond %g\n", ENORMOUS);
  if (s->modes)
    PrintFrequencies(s);
  else
    PrintEnds(s);
}

/* ---- the command ---- */

static PetscErrorCode ReadSteps(Session *s)
{
  PetscFunctionBeginUser;
  s->steps = s->scheme->steps;
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-steps", &s->steps, NULL));
  if (s->steps < 1 || s->steps > 10000000)
    CourantInputError(PETSC_COMM_WORLD, "-steps %d: expected a number from 1 to 10000000", (int)s->steps);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What periodic grids have and others not: frequencies, and a stepper that predicts. */
static PetscErrorCode CreateModes(Session *s)
{
  PetscFunctionBeginUser;
  if (!IsPeriodic(s)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantStepperCreate(PETSC_COMM_WORLD, "probe_", &s->probe));
  PetscCall(CourantStepperSetUp(s->probe));
  PetscCall(CourantStepperGetType(s->probe, NULL, &s->one_step));
  if (s->output.rank == 0) PetscCall(CourantModesCreate(s->scheme, &s->modes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(void *ctx, CourantDeck deck)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantSchemeCreate(PETSC_COMM_WORLD, deck, &s->scheme));
  PetscCall(CourantOutputOpen(&s->scheme->model, "flow", &s->output));
  if (s->output.resume) CourantInputError(PETSC_COMM_WORLD, "-resume: courant flow starts anew");
  PetscCall(ReadSteps(s));
  PetscCall(CourantSchemeApplyOptions(s->scheme));
  PetscCall(CreateModes(s));
  PetscCall(CreateStarts(s));
  PetscCall(CourantSchemeCheckOptionsUsed(s->scheme));
  s->points = (size_t)(s->scheme->points[0] * s->scheme->points[1]);
  const size_t all = s->output.rank ? 0 : s->points, state = all * (size_t)s->scheme->fields;
  PetscCall(PetscMalloc2(s->steps + 1, &s->norm, s->steps + 1, &s->maximum));
  PetscCall(PetscMalloc6(state, &s->initial, state, &s->final, all, &s->measured, all, &s->growth, all,
                         &s->counted, all, &s->verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAgain(void *ctx)
{
  PetscFunctionBeginUser;
  PetscCall(CourantLinearSetFromOptions(((Session *)ctx)->flow[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Finish(Session *s)
{
  PetscFunctionBeginUser;
  if (s->modes) PetscCall(Compare(s));
  PetscCall(Write(s));
  Print(s);
  PetscCall(CourantOutputFinish(&s->output));
  CourantOutputView(&s->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Work(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  CourantCallOnRankZero(PETSC_COMM_WORLD, s->output.rank,
                        CourantOutputCreate(&s->output, &s->scheme->model, "flow"));
  PetscCall(PrintHeader(s));
  PetscCall(RunSteps(s));
  CourantCallOnRankZero(PETSC_COMM_WORLD, s->output.rank, Finish(s));
  PetscCallMPI(MPI_Bcast(&s->disagreeing, 1, MPI_INT, 0, PETSC_COMM_WORLD));
  PetscCheck(
      !s->disagreeing, PETSC_COMM_WORLD, PETSC_ERR_NOT_CONVERGED,
      "%d frequencies grow otherwise than predicted, by more than %g; they are flagged in the result file",
      s->disagreeing, TOLERANCE);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TearDown(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < s->starts; i++) {
    PetscCall(CourantLinearDestroy(&s->flow[i]));
    PetscCall(VecDestroy(&s->u[i]));
  }
  PetscCall(VecScatterDestroy(&s->to_zero));
  PetscCall(VecDestroy(&s->all));
  PetscCall(MatDestroy(&s->A));
  PetscCall(CourantStepperDestroy(&s->probe));
  PetscCall(CourantModesDestroy(&s->modes));
  PetscCall(PetscFree2(s->norm, s->maximum));
  PetscCall(PetscFree6(s->initial, s->final, s->measured, s->growth, s->counted, s->verdict));
  PetscCall(CourantOutputClose(&s->output));
  PetscCall(CourantSchemeDestroy(&s->scheme));
  PetscFunctionReturn(PETSC_SUCCESS);
}

extern const CourantCommandOps CourantCommand_flow;

static PetscErrorCode Run(const char *model)
{
  static const CourantSessionOps ops = {
      &CourantCommand_flow, sizeof(Session), SetUp, ReadAgain, Work, TearDown};

  PetscFunctionBeginUser;
  PetscCall(CourantSessionRun(NULL, &ops, model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const CourantOption options[] = {
    {"-steps", "N", "steps to take (default: the deck's)"},
    COURANT_DECK_OPTIONS,
    COURANT_OUTPUT_OPTIONS,
    {0},
};

const CourantCommandOps CourantCommand_flow = {
    .name = "flow",
    .argument = "MODEL",
    .summary = "a linear PDE stepped in time: growth per frequency, measured and predicted",
    .description =
        "Steps the linear PDE of a deck by the PETSc time stepper that the deck or -ts_type names. On "
        "periodic\n"
        "grids the growth of each frequency is measured, from the Fourier transforms of as many runs as "
        "there\n"
        "are fields, and compared with von Neumann's analysis; where they differ by more than 1e-6 the exit\n"
        "status is 3.",
    .options = options,
    .solvers = "  -flow_ts_...  -probe_ts_...   the run's stepper and the predicted one; -ts_... sets both\n"
               "  -flow_ksp_...  -flow_pc_...   the linear solver of implicit steps\n",
    .Run = Run,
};
