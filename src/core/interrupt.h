#pragma once
/* Ctrl-C and termination: a flag that long loops look at, so that work in progress is saved before the end.
 */
#include "core/error.h"

PetscErrorCode CourantInterruptInstall(void);
int CourantInterrupted(void);
PetscErrorCode CourantInterruptedTogether(MPI_Comm, int *signal);
PetscErrorCode CourantInterruptCheckTogether(MPI_Comm);

/* Fails with PETSC_ERR_SIG when a signal has come to this rank; not where others would wait for it. */
#define CourantInterruptCheck()                                                                              \
  PetscCheck(!CourantInterrupted(), PETSC_COMM_SELF, PETSC_ERR_SIG, "interrupted")
