#pragma once
/*
  The training loop: the independent check of what the analysis
  predicts. It shares gradients with it and nothing else.
*/
#include "dynamics/problem.h"
#include "train/batches.h"
#include "train/settings.h"

/* One training run's means; each thread has its own. Nothing in a step calls PETSc. */
typedef struct {
  CourantEvaluator evaluator;
  const CourantRuleOps *rule;
  const void *options; /* of the rule; borrowed */
  const double *mask;  /* D [n]; borrowed */
  PetscBool decoupled;
  CourantDataset data;    /* borrowed */
  CourantBatches batches; /* of mini-batches */
  PetscBool in_batches;   /* else every gradient is over all samples */
  uint64_t seed;          /* of the batches */
  size_t n;               /* weights */
  size_t size;            /* numbers of a state: theta and what the rule remembers, (1 + rule->states) n */
  double *gradient;       /* [n+1]: of L, and L */
  const double
      *affine; /* grad L(0) [n] and L(0): train the gradient linearised at 0; NULL: train L. Borrowed */
} CourantTrainer;

PetscErrorCode CourantTrainerCreate(CourantProblem, const CourantTrainSettings *, const double mask[],
                                    const double affine[], CourantTrainer *);
PetscErrorCode CourantTrainerDestroy(CourantTrainer *);
const char *CourantTrainerGradient(CourantTrainer *, const double theta[]);
void CourantTrainerSetBatch(CourantTrainer *, PetscInt step);
double CourantTrainerLoss(const CourantTrainer *);
void CourantTrainerUpdate(const CourantTrainer *, int64_t step, double learning_rate, double weight_decay,
                          double state[]);
const char *CourantTrainerStep(CourantTrainer *, int64_t step, double learning_rate, double weight_decay,
                               double state[]);
void CourantTrainerRest(const CourantTrainer *, double weight_decay, const double theta[], double state[]);
