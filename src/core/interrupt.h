#pragma once
/* Ctrl-C and termination: a flag that long loops look at, so that work in progress is saved before the end.
 */
#include "core/error.h"

PetscErrorCode CourantInterruptInstall(void);
int CourantInterrupted(void);

/* Fails with PETSC_ERR_SIG when a signal has come. */
#define CourantInterruptCheck()                                                                              \
  PetscCheck(!CourantInterrupted(), PETSC_COMM_SELF, PETSC_ERR_SIG, "interrupted")
