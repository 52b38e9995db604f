#pragma once
/* The limits of mini-batch gradient descent, as part of a command. */
#include "cmd/command.h"
#include "cmd/result.h"
#include "dynamics/problem.h"
#include "train/settings.h"

#define COURANT_SGD_OPTIONS                                                                                  \
  {"-sgd_permutations", "N", "mini-batches: epochs the mean square is averaged over (default: 256)"},        \
      {"-sgd_steps", "N", "mini-batches: steps of a run whose growth is measured (default: 4096)"},          \
  {                                                                                                          \
    "-sgd_dense", "N", "mini-batches: weights up to which each sample's Hessian is assembled (default: 150)" \
  }

PetscErrorCode CourantSgdOpen(CourantProblem, const CourantTrainSettings *, CourantSgd *);
PetscErrorCode CourantReportSgd(CourantSgd, CourantProblem, Vec theta, const CourantTrainSettings *,
                                CourantOutput *);
