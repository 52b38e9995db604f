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
  signal(SIGXFSZ, SIG_IGN); /* a file too large is an error of write(), with a message */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantInterrupted - The signal that has come, 0 if none. Safe in threads. */
int CourantInterrupted(void)
{
  return (int)caught;
}
