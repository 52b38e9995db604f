#include "core/interrupt.h"
#include <signal.h>

static volatile sig_atomic_t caught;

static void Catch(int signal)
{
  caught = signal;
}

/*
  CourantInterruptInstall - From now on SIGINT and SIGTERM raise a flag instead of ending the program.

  A second signal ends it at once. Called after PetscInitialize(), which installs handlers of its own.
*/
PetscErrorCode CourantInterruptInstall(void)
{
  struct sigaction action = {.sa_handler = Catch, .sa_flags = SA_RESETHAND | SA_RESTART};

  PetscFunctionBeginUser;
  caught = 0;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  signal(SIGPIPE, SIG_IGN); /* a reader that has gone, as in `courant info FILE | head`, ends no run */
  signal(SIGXFSZ, SIG_IGN); /* a file too large is an error of write(), with a message */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantInterrupted - The signal that has come, 0 if none. Safe in threads. */
int CourantInterrupted(void)
{
  return (int)caught;
}

/*
  CourantInterruptedTogether - The signal that has come to any rank of comm, 0 if none: the same answer on
  every rank, so that all of them stop at the same place and with the same exit status. Collective.
*/
PetscErrorCode CourantInterruptedTogether(MPI_Comm comm, int *signal)
{
  PetscMPIInt size;

  PetscFunctionBeginUser;
  *signal = CourantInterrupted();
  PetscCallMPI(MPI_Comm_size(comm, &size));
  if (size == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, signal, 1, MPI_INT, MPI_MAX, comm));
  if (*signal) caught = *signal; /* never back to 0: one may have come since */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantInterruptCheckTogether - Fails with PETSC_ERR_SIG on every rank of comm when a signal has come to
 * one. */
PetscErrorCode CourantInterruptCheckTogether(MPI_Comm comm)
{
  int signal;

  PetscFunctionBeginUser;
  PetscCall(CourantInterruptedTogether(comm, &signal));
  PetscCheck(!signal, PETSC_COMM_SELF, PETSC_ERR_SIG, "interrupted");
  PetscFunctionReturn(PETSC_SUCCESS);
}
