#include "dynamics/linear.h"
#include <math.h>
#include <string.h>

/* ---- u' = A u ---- */

static PetscErrorCode IFunction(TS ts, PetscReal t, Vec u, Vec udot, Vec f, void *ctx)
{
  PetscFunctionBeginUser;
  (void)ts, (void)t;
  PetscCall(MatMult(((CourantLinear)ctx)->A, u, f));
  PetscCall(VecAYPX(f, -1, udot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A matrix that stays as it is keeps its factors. */
static PetscErrorCode IJacobian(TS ts, PetscReal t, Vec u, Vec udot, PetscReal shift, Mat A, Mat B, void *ctx)
{
  CourantLinear linear = (CourantLinear)ctx;

  PetscFunctionBeginUser;
  (void)ts, (void)t, (void)u, (void)udot, (void)A;
  if (shift == linear->shift) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(MatCopy(linear->A, B, SAME_NONZERO_PATTERN));
  PetscCall(MatScale(B, -1));
  PetscCall(MatShift(B, shift));
  linear->shift = shift;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantLinearCreate - A stepper for u' = A u on the ranks of A, which is borrowed and has its whole
  diagonal.

  Implicit types solve directly; on several ranks each solves the whole.
*/
PetscErrorCode CourantLinearCreate(Mat A, const char prefix[], CourantLinear *result)
{
  CourantLinear linear;
  PetscMPIInt size;
  MPI_Comm comm;
  SNES snes;
  KSP ksp;
  PC pc;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&linear));
  *result = linear;
  linear->A = A;
  linear->shift = NAN;
  PetscCall(MatDuplicate(A, MAT_COPY_VALUES, &linear->shifted));
  PetscCall(PetscObjectGetComm((PetscObject)A, &comm));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(TSCreate(comm, &linear->ts));
  PetscCall(CourantStepperConfigure(linear->ts, prefix));
  PetscCall(TSGetSNES(linear->ts, &snes));
  PetscCall(SNESSetType(snes, SNESKSPONLY));
  PetscCall(SNESGetKSP(snes, &ksp));
  PetscCall(KSPSetType(ksp, KSPPREONLY));
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetType(pc, size == 1 ? PCLU : PCREDUNDANT));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantLinearSetFromOptions - Options: those of TS with the prefix. */
PetscErrorCode CourantLinearSetFromOptions(CourantLinear linear)
{
  const TS ts = linear->ts;
  MPI_Comm comm;
  TSType type;

  PetscFunctionBeginUser;
  PetscCall(TSSetFromOptions(ts));
  PetscCall(TSGetType(ts, &type));
  PetscCall(PetscObjectGetComm((PetscObject)ts, &comm));
  if (CourantStepperIsRefused(type))
    CourantInputError(comm, "-ts_type %s: this stepper cannot be probed, it does not step a plain u' = f(u)",
                      type);
  if (CourantStepperIsExplicit(type)) {
    PetscCall(TSSetRHSFunction(ts, NULL, TSComputeRHSFunctionLinear, NULL));
    PetscCall(TSSetRHSJacobian(ts, linear->A, linear->A, TSComputeRHSJacobianConstant, NULL));
  } else {
    PetscCall(TSSetIFunction(ts, NULL, IFunction, linear));
    PetscCall(TSSetIJacobian(ts, linear->shifted, linear->shifted, IJacobian, linear));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantLinearDestroy(CourantLinear *linear)
{
  PetscFunctionBeginUser;
  if (!*linear) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(TSDestroy(&(*linear)->ts));
  PetscCall(MatDestroy(&(*linear)->shifted));
  PetscCall(PetscFree(*linear));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the stepper of a deck ---- */

static const char *const prefixes[] = {"probe_", "flow_"};

/* What a deck says in its own words. */
static const struct {
  const char *option, *instead;
} fixed[] = {
    {"ts_dt", "the step is the deck's: -set stepper.step=VALUE"},
    {"ts_max_steps", "the number of steps is -steps N"},
    {"ts_adapt_type", "steps are of one length here"},
};

/* Gives an option to each prefix that has none of its own. */
static PetscErrorCode SpreadOption(const char name[], const char value[])
{
  char option[COURANT_TEXT_SIZE + 16];
  PetscBool set;

  PetscFunctionBeginUser;
  for (size_t p = 0; p < PETSC_STATIC_ARRAY_LENGTH(prefixes); p++) {
    snprintf(option, sizeof option, "-%s%s", prefixes[p], name);
    PetscCall(PetscOptionsHasName(NULL, NULL, option, &set));
    if (!set) PetscCall(PetscOptionsSetValue(NULL, option, value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The command line may change the stepper, but not what it would contradict. */
static PetscErrorCode CheckCommandLine(CourantScheme scheme)
{
  char option[64], type[64];
  PetscBool set;

  PetscFunctionBeginUser;
  for (size_t p = 0; p < PETSC_STATIC_ARRAY_LENGTH(prefixes); p++) {
    for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(fixed); i++) {
      snprintf(option, sizeof option, "-%s%s", prefixes[p], fixed[i].option);
      PetscCall(PetscOptionsHasName(NULL, NULL, option, &set));
      if (set) CourantInputError(scheme->comm, "-%s: %s", fixed[i].option, fixed[i].instead);
    }
    snprintf(option, sizeof option, "-%sts_type", prefixes[p]);
    PetscCall(PetscOptionsGetString(NULL, NULL, option, type, sizeof type, &set));
    if (set && scheme->by_step && strcmp(type, TSEULER))
      CourantInputError(scheme->comm, "-ts_type %s: dt is in the terms of this scheme, whose step is Euler's",
                        type);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSchemeApplyOptions - Puts the deck's stepper into the options database with the prefixes probe_ and
  flow_, below what the command line says. Before SetFromOptions.
*/
PetscErrorCode CourantSchemeApplyOptions(CourantScheme scheme)
{
  const CourantNode node = CourantNodeChild(CourantDeckRoot(scheme->model.deck), "stepper");
  PetscOptions own;
  PetscInt n;
  char **names, **values;

  PetscFunctionBeginUser;
  if (CourantStepperIsRefused(scheme->type))
    CourantNodeError(CourantNodeChild(node, "type"), "%s does not step a plain u' = A u", scheme->type);
  PetscCall(PetscOptionsCreate(&own));
  PetscCall(PetscOptionsInsertString(own, scheme->options));
  PetscCall(PetscOptionsLeftGet(own, &n, &names, &values));
  if (n == 0 && scheme->options[0])
    CourantNodeError(CourantNodeChild(node, "options"), "expected options such as -ts_rk_type 4");
  for (PetscInt i = 0; i < n; i++) PetscCall(SpreadOption(names[i], values[i]));
  PetscCall(PetscOptionsLeftRestore(own, &n, &names, &values));
  PetscCall(PetscOptionsDestroy(&own));
  PetscCall(CheckCommandLine(scheme));
  PetscCall(SpreadOption("ts_type", scheme->type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSchemeCheckOptionsUsed - An option of the deck that nothing has read is an error, unless the command
  line took another type than the deck's. After SetFromOptions.
*/
PetscErrorCode CourantSchemeCheckOptionsUsed(CourantScheme scheme)
{
  const CourantNode node = CourantNodeChild(CourantDeckRoot(scheme->model.deck), "stepper");
  PetscOptions own;
  PetscInt n;
  PetscBool set;
  char **names, **values, option[COURANT_TEXT_SIZE + 16], type[64] = "";

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-flow_ts_type", type, sizeof type, &set));
  if (set && strcmp(type, scheme->type)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscOptionsCreate(&own));
  PetscCall(PetscOptionsInsertString(own, scheme->options));
  PetscCall(PetscOptionsLeftGet(own, &n, &names, &values));
  for (PetscInt i = 0; i < n; i++) {
    PetscBool used = PETSC_FALSE;
    for (size_t p = 0; p < PETSC_STATIC_ARRAY_LENGTH(prefixes) && !used; p++) {
      snprintf(option, sizeof option, "%s%s", prefixes[p], names[i]);
      PetscCall(PetscOptionsUsed(NULL, option, &used));
    }
    if (!used) CourantNodeError(CourantNodeChild(node, "options"), "nothing has read -%s", names[i]);
  }
  PetscCall(PetscOptionsLeftRestore(own, &n, &names, &values));
  PetscCall(PetscOptionsDestroy(&own));
  PetscFunctionReturn(PETSC_SUCCESS);
}
