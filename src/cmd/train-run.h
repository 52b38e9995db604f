#pragma once
/* One run of courant train: how it goes (train.c), what is written and told of it (train-result.c). */
#include "cmd/train.h"
#include "core/progress.h"
#include "train/run.h"

/* What a run records, step by step. */
enum {
  LOSS,
  OBJECTIVE,
  GRADIENT_NORM,
  LEARNING_RATE,
  EVALUATION_LOSS,
  ACCURACY,
  SHARPNESS,
  RESIDUAL,
  LIMIT,
  PRECONDITIONED,
  PRECONDITIONED_RESIDUAL,
  COLUMNS
};

typedef struct {
  CourantProblem problem;
  CourantTrainSettings settings;
  CourantOutput output;
  CourantProgress progress;
  CourantRun run;
  CourantRunState state;
  double *record[COLUMNS]; /* [steps] */
  PetscInt evaluate_every; /* steps */
  CourantSpectrum spectrum, preconditioned;
  Mat H, PHP; /* PHP: P^-1/2 (H + alpha D) P^-1/2 of a rule with a preconditioner P */
  Vec theta, P;
} TrainSession;

PetscErrorCode TrainStartResult(TrainSession *);
PetscErrorCode TrainCheckpoint(TrainSession *);
PetscErrorCode TrainFinishResult(TrainSession *);
