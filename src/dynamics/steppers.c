#include "dynamics/steppers.h"
#include <string.h>

/* Take the right-hand side as RHSFunction; all others get it as IFunction and IJacobian. */
static const char *const explicit_types[] = {TSEULER, TSRK, TSSSP};

/*
  Do not step a plain u' = f(u) (they want a partition, a
  splitting or a second derivative), or not one step at a time.
*/
static const char *const refused_types[] = {TSMIMEX, TSBASICSYMPLECTIC, TSMPRK,     TSIRK,    TSGLEE,
                                            TSGLLE,  TSALPHA2,          TSDISCGRAD, TSPSEUDO, TSPYTHON};

static PetscBool IsAmong(const char *type, int n, const char *const types[])
{
  for (int i = 0; i < n; i++)
    if (!strcmp(type, types[i])) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* CourantStepperIsExplicit - Does this TS type take the right-hand side by TSSetRHSFunction()? */
PetscBool CourantStepperIsExplicit(const char type[])
{
  return IsAmong(type, PETSC_STATIC_ARRAY_LENGTH(explicit_types), explicit_types);
}

/* CourantStepperIsRefused - Is this TS type one that cannot be let step u' = f(u)? */
PetscBool CourantStepperIsRefused(const char type[])
{
  return IsAmong(type, PETSC_STATIC_ARRAY_LENGTH(refused_types), refused_types);
}

/*
  CourantStepperConfigure - What every TS of this library
  starts from: fixed steps, Euler unless options say otherwise.
*/
PetscErrorCode CourantStepperConfigure(TS ts, const char prefix[])
{
  TSAdapt adapt;

  PetscFunctionBeginUser;
  PetscCall(TSSetOptionsPrefix(ts, prefix));
  PetscCall(TSSetProblemType(ts, TS_NONLINEAR));
  PetscCall(TSSetType(ts, TSEULER));
  PetscCall(TSSetExactFinalTime(ts, TS_EXACTFINALTIME_STEPOVER));
  PetscCall(TSSetMaxTime(ts, 1e300));
  PetscCall(TSSetMaxSteps(ts, PETSC_MAX_INT));
  PetscCall(TSSetTimeStep(ts, 1));
  PetscCall(TSGetAdapt(ts, &adapt));
  PetscCall(TSAdaptSetType(adapt, TSADAPTNONE));
  PetscFunctionReturn(PETSC_SUCCESS);
}
