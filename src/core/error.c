#include "core/error.h"
#include "core/interrupt.h"
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char message[4096], place[512]; /* of an error that is nobody's input: the function it began in */

/*
  CourantErrorHandler - PETSc error handler that keeps the message where an error began and prints nothing.

  An error that is nobody's input names the function it began in, so that a report of it can be followed up.
*/
PetscErrorCode CourantErrorHandler(MPI_Comm comm, int line, const char *function, const char *file,
                                   PetscErrorCode code, PetscErrorType type, const char *text, void *ctx)
{
  (void)comm, (void)ctx;
  if (type != PETSC_ERROR_INITIAL || message[0]) return code;
  place[0] = 0;
  if (function && !strncmp(function, "PetscMalloc", 11)) /* its code is not always one of memory */
    snprintf(message, sizeof message, "not enough memory (%s)", text ? text : "?"); /* who asked for it */
  else if (CourantExitStatus(code) == COURANT_EXIT_INPUT || code == PETSC_ERR_FILE_WRITE ||
           code == PETSC_ERR_SIG || code == PETSC_ERR_NOT_CONVERGED)
    snprintf(message, sizeof message, "%s", text ? text : "");
  else {
    snprintf(message, sizeof message, "%s", text && text[0] ? text : "internal error");
    snprintf(place, sizeof place, " (%s, %s:%d)", function ? function : "?", file ? file : "?", line);
  }
  return code;
}

/* Formats by C's rules: PETSc's own write 1 as "1.". */
PetscErrorCode CourantInputFail(MPI_Comm comm, int line, const char function[], const char file[],
                                const char format[], ...)
{
  char text[2048];
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return PetscError(comm, line, function, file, COURANT_ERR_INPUT, PETSC_ERROR_INITIAL, "%s", text);
}

/* CourantErrorMessage - The line kept since the last CourantErrorClear(), "" when there was no error. */
const char *CourantErrorMessage(void)
{
  return message;
}

void CourantErrorClear(void)
{
  message[0] = place[0] = 0;
}

/* CourantErrorReplace - Another line in place of the one kept. */
void CourantErrorReplace(const char text[])
{
  snprintf(message, sizeof message, "%s", text);
  place[0] = 0;
}

/* CourantExitStatus - The exit status of the program for an error code. */
int CourantExitStatus(PetscErrorCode code)
{
  switch ((int)code) {
  case 0:
    return COURANT_EXIT_DONE;
  case COURANT_ERR_INPUT:
  case PETSC_ERR_ARG_UNKNOWN_TYPE: /* -eps_type nonsense */
  case PETSC_ERR_ARG_OUTOFRANGE:
  case PETSC_ERR_ARG_WRONG:
    return COURANT_EXIT_INPUT;
  case PETSC_ERR_FILE_WRITE:
    return COURANT_EXIT_IO;
  case PETSC_ERR_SIG:
    return 128 + CourantInterrupted();
  default:
    return COURANT_EXIT_NUMERICAL;
  }
}

/* Did every rank come here? Ranks that failed together meet within two seconds. */
static PetscBool EveryRankFailed(void)
{
  MPI_Request request;
  int done = 0;

  if (MPI_Ibarrier(PETSC_COMM_WORLD, &request) != MPI_SUCCESS) return PETSC_FALSE;
  for (int i = 0; i < 200 && !done; i++) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (!done) nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
  return done ? PETSC_TRUE : PETSC_FALSE;
}

/*
  CourantErrorExit - Prints the message once, and when only some ranks failed stops the others.

  Collective when every rank failed; returns then, so that the caller can finalise. Does not return otherwise.
*/
void CourantErrorExit(PetscErrorCode code)
{
  const int status = CourantExitStatus(code);
  PetscMPIInt rank, size;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  const PetscBool all = size == 1 ? PETSC_TRUE : EveryRankFailed();
  int speaker = message[0] || !all ? rank : size; /* the first rank that has something to say */
  if (all) MPI_Allreduce(MPI_IN_PLACE, &speaker, 1, MPI_INT, MPI_MIN, PETSC_COMM_WORLD);
  if (speaker == rank && message[0]) fprintf(stderr, "courant: %s%s\n", message, place);
  if (!all) MPI_Abort(PETSC_COMM_WORLD, status);
}
