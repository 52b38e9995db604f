#pragma once
/* What the commands that compute something of a model have in common, from the command line to the end. */
#include "cmd/options.h"
#include "cmd/result.h"
#include "dynamics/problem.h"

/* The parts in which such commands differ; `session` is what they work on, one of their own structs. */
typedef struct {
  const CourantCommandOps *command;
  size_t size; /* of the session's struct, which starts zeroed */
  /* Reads deck and options and makes the solvers, which read theirs; nothing that takes long. */
  PetscErrorCode (*SetUp)(void *session, CourantDeck);
  /* Lets the solvers read their options once more, which shows their names. */
  PetscErrorCode (*ReadAgain)(void *session);
  PetscErrorCode (*Work)(void *session);
  PetscErrorCode (*TearDown)(void *session);
} CourantSessionOps;

PetscErrorCode CourantSessionRun(const CourantSessionOps *network, const CourantSessionOps *pde,
                                 const char model[]);
PetscErrorCode CourantSessionCheckSections(CourantDeck);
PetscErrorCode CourantSessionLoadDeck(MPI_Comm, const char model[], CourantDeck *);
PetscErrorCode CourantSessionPrintModel(CourantProblem, const CourantOutput *, double bytes);
