/* courant symbol on a network: its state, how it is stepped, and the analyses that follow. */
#include "cmd/symbol-layers.h"
#include "cmd/symbol.h"
#include <math.h>
#include <string.h>

typedef CourantSymbolSession Session;

static PetscErrorCode ReadPositive(Session *s, const char option[], PetscReal lowest, PetscReal preset,
                                   PetscReal *value)
{
  PetscFunctionBeginUser;
  *value = preset;
  PetscCall(PetscOptionsGetReal(NULL, NULL, option, value, NULL));
  if (!(*value >= lowest) || !isfinite(*value))
    CourantInputError(s->problem->comm, "%s %g: expected a number %s 0", option, *value,
                      lowest > 0 ? "above" : "of at least");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -linearise, -learning_rate, -weight_decay. */
static PetscErrorCode ReadOptions(Session *s)
{
  char state[16];

  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(state, CourantSymbolApplies(s->problem) ? "zero" : "init", sizeof state));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-linearise", state, sizeof state, NULL));
  s->zero = strcmp(state, "zero") ? PETSC_FALSE : PETSC_TRUE;
  if (!s->zero && strcmp(state, "init"))
    CourantInputError(s->problem->comm, "-linearise %s: expected zero or init", state);
  PetscCall(ReadPositive(s, "-learning_rate", 1e-300, s->train.learning_rate, &s->train.learning_rate));
  PetscCall(ReadPositive(s, "-weight_decay", 0, s->train.weight_decay, &s->train.weight_decay));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The time stepper of the gradient flow; without one, Euler's, it is the deck's rule that steps. */
static PetscErrorCode SetUpStepper(Session *s)
{
  const char *type;

  PetscFunctionBeginUser;
  PetscCall(CourantStepperDestroy(&s->stepper));
  PetscCall(CourantStepperCreate(PETSC_COMM_SELF, "probe_", &s->stepper));
  PetscCall(CourantStepperSetUp(s->stepper));
  PetscCall(CourantStepperGetType(s->stepper, &type, NULL));
  s->by_ts = strcmp(type, TSEULER) ? PETSC_TRUE : PETSC_FALSE;
  if (s->by_ts && strcmp(s->rule->name, "gd"))
    CourantInputError(s->problem->comm, "-ts_type %s steps the gradient flow; the deck's rule is %s", type,
                      s->rule->name);
  s->reach = s->rule->Growth ? s->rule->Limit(s->train.options) : NAN;
  if (s->by_ts) PetscCall(CourantStepperGetRealLimit(s->stepper, &s->reach));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(void *ctx, CourantDeck deck)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemCreate(PETSC_COMM_WORLD, deck, &s->problem));
  PetscCall(CourantProblemSetFromOptions(s->problem));
  PetscCall(CourantTrainRead(s->problem->top.train, &s->train));
  s->rule = CourantRule(s->train.rule);
  PetscCall(CourantOutputOpen(&s->problem->model, "symbol", &s->output));
  if (s->output.resume) CourantInputError(PETSC_COMM_WORLD, "-resume: courant symbol starts anew");
  PetscCall(SetUpStepper(s));
  PetscCall(CourantProblemSetUp(s->problem));
  PetscCall(ReadOptions(s));
  PetscCall(CourantStabilityRegionSetFromOptions(&s->region));
  s->region.quiet = s->output.quiet;
  if (CourantSymbolApplies(s->problem))
    PetscCall(CourantSymbolSetUpOneLayer(s));
  else if (s->by_ts)
    CourantInputError(PETSC_COMM_WORLD, "-ts_type: the limits of layers are those of the deck's rule");
  PetscCall(CourantProblemCreateHessian(s->problem, &s->H));
  PetscCall(CourantProblemCreateVec(s->problem, &s->theta));
  PetscCall(CourantSpectrumCreate(s->problem->comm, &s->spectrum));
  PetscCall(CourantSpectrumSetOperator(s->spectrum, s->H));
  PetscCall(CourantSpectrumSetFromOptions(s->spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAgain(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(SetUpStepper(s));
  PetscCall(CourantSpectrumSetFromOptions(s->spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintHeader(const Session *s)
{
  const double own = s->symbol ? CourantSymbolMemory(s->symbol) : 0;
  char rule[64];

  PetscFunctionBeginUser;
  if (s->output.quiet || s->output.rank) PetscFunctionReturn(PETSC_SUCCESS);
  printf("von Neumann analysis of %s at %s\n", s->problem->model.name,
         s->zero ? "theta = 0" : "the initial weights");
  PetscCall(CourantSessionPrintModel(s->problem, &s->output, CourantProblemMemory(s->problem) + own));
  snprintf(rule, sizeof rule, "%s", s->rule->name);
  if (s->by_ts) {
    const char *type;
    PetscCall(CourantStepperGetType(s->stepper, &type, NULL));
    snprintf(rule, sizeof rule, "time stepper %s", type);
  }
  printf("  %s of full batches, learning rate %g, weight decay %g\n", rule, s->train.learning_rate,
         s->train.weight_decay);
  fflush(stdout);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteSettings(Session *s)
{
  const char *const group = s->symbol ? "/symbol" : "/", *type;
  const CourantResult file = s->output.file;

  PetscFunctionBeginUser;
  PetscCall(CourantStepperGetType(s->stepper, &type, NULL));
  PetscCall(CourantResultSetString(file, group, "linearise", s->zero ? "zero" : "init"));
  PetscCall(CourantResultSetString(file, group, "rule", s->rule->name));
  PetscCall(CourantResultSetString(file, group, "time_stepper", type));
  PetscCall(CourantResultSetReal(file, group, "learning_rate", s->train.learning_rate));
  PetscCall(CourantResultSetReal(file, group, "weight_decay", s->train.weight_decay));
  PetscCall(CourantResultSetReal(file, group, "reach", s->reach));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Finish(Session *s)
{
  PetscFunctionBeginUser;
  PetscCall(WriteSettings(s));
  PetscCall(CourantStabilityRegionWrite(&s->region, s->by_ts ? s->stepper : NULL, s->rule, s->train.options,
                                        s->output.file));
  PetscCall(CourantOutputFinish(&s->output));
  CourantOutputView(&s->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Work(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemVerifyReference(s->problem));
  CourantCallOnRankZero(s->problem->comm, s->output.rank,
                        CourantOutputCreate(&s->output, &s->problem->model, "von Neumann analysis"));
  PetscCall(PrintHeader(s));
  if (s->zero)
    PetscCall(VecSet(s->theta, 0));
  else
    PetscCall(CourantProblemGetInitialState(s->problem, s->theta));
  PetscCall(s->symbol ? CourantSymbolOneLayer(s)
                      : CourantReportLayers(s->problem, s->theta, &s->train, &s->output));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, Finish(s));
  PetscCheck(!s->output.unconverged, s->problem->comm, PETSC_ERR_NOT_CONVERGED,
             "%d result%s did not converge or broke a bound; the result file flags them",
             s->output.unconverged, s->output.unconverged > 1 ? "s" : "");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TearDown(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantSymbolDestroy(&s->symbol));
  PetscCall(CourantStepperDestroy(&s->stepper));
  PetscCall(CourantSpectrumDestroy(&s->spectrum));
  PetscCall(MatDestroy(&s->H));
  PetscCall(VecDestroy(&s->theta));
  PetscCall(CourantOutputClose(&s->output));
  PetscCall(CourantProblemDestroy(&s->problem));
  PetscCall(CourantTrainReset(&s->train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

extern const CourantCommandOps CourantCommand_symbol;

const CourantSessionOps CourantSymbolNetwork = {
    &CourantCommand_symbol, sizeof(Session), SetUp, ReadAgain, Work, TearDown};
