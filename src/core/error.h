#pragma once
/* Errors as a person meets them: one line on stderr and an exit status, no stack trace. */
#include "core/compat.h"

/* What a function reports when the user's input is at fault: usage, deck, data file (exit status 2).
   PETSC_ERR_FILE_WRITE means input/output (4), PETSC_ERR_SIG an interruption (130 or 143); the rest is
   numerical (3). */
#define COURANT_ERR_INPUT PETSC_ERR_USER_INPUT

/* Fails with a line for the user; `comm` is that of the ranks which all fail alike. */
#define CourantInputError(comm, ...) return CourantInputFail(comm, __LINE__, __func__, __FILE__, __VA_ARGS__)

PetscErrorCode CourantInputFail(MPI_Comm comm, int line, const char function[], const char file[],
                                const char format[], ...) __attribute__((format(printf, 5, 6)));

/* Rank 0 alone makes the call, and every rank fails when it does. */
#define CourantCallOnRankZero(comm, rank, ...)                                                               \
  do {                                                                                                       \
    int code_ = 0;                                                                                           \
    if ((rank) == 0) code_ = (int)(__VA_ARGS__);                                                             \
    PetscCallMPI(MPI_Bcast(&code_, 1, MPI_INT, 0, comm));                                                    \
    if (code_) return (PetscErrorCode)code_;                                                                 \
  } while (0)

enum {
  COURANT_EXIT_DONE = 0,
  COURANT_EXIT_INPUT = 2,
  COURANT_EXIT_NUMERICAL = 3,
  COURANT_EXIT_IO = 4,
};

PetscErrorCode CourantErrorHandler(MPI_Comm, int, const char *, const char *, PetscErrorCode, PetscErrorType,
                                   const char *, void *);
const char *CourantErrorMessage(void);
void CourantErrorClear(void);
void CourantErrorReplace(const char message[]);
int CourantExitStatus(PetscErrorCode);
void CourantErrorExit(PetscErrorCode);
