#pragma once
/* The one place that knows the differences between PETSc and SLEPc versions, from 3.18 on. */
#include <slepc.h>

#if !defined(PETSC_SUCCESS)
#define PETSC_SUCCESS ((PetscErrorCode)0) /* an enumerator from 3.19 on; 3.18 returns plain 0 */
#endif

/* Lets PETSc print the help of every solver again: it remembers which it has printed. */
static inline PetscErrorCode CourantForgetPrintedHelp(void)
{
  PetscFunctionBeginUser;
  PetscCall(PetscOptionsHelpPrintedDestroy(&PetscOptionsHelpPrintedSingleton));
  PetscCall(PetscOptionsHelpPrintedCreate(&PetscOptionsHelpPrintedSingleton));
  PetscFunctionReturn(PETSC_SUCCESS);
}
