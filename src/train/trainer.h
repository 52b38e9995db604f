#pragma once
/*
  The training loop: the independent check of what the analysis
  predicts. It shares gradients with it and nothing else.
*/
#include "dynamics/problem.h"
#include "train/settings.h"

/* One training run's means; each thread has its own. Nothing in a step calls PETSc. */
typedef struct {
  CourantEvaluator evaluator;
  const CourantRuleOps *rule; /* without states */
  const void *options;        /* of the rule; borrowed */
  const double *mask;         /* D [n]; borrowed */
  size_t n;                   /* weights */
  double *gradient;           /* [n+1]: of L, and L */
  const double
      *affine; /* grad L(0) [n] and L(0): train the gradient linearised at 0; NULL: train L. Borrowed */
} CourantTrainer;

PetscErrorCode CourantTrainerCreate(CourantProblem, const CourantTrainSettings *, const double mask[],
                                    const double affine[], CourantTrainer *);
PetscErrorCode CourantTrainerDestroy(CourantTrainer *);
const char *CourantTrainerGradient(CourantTrainer *, const double theta[]);
double CourantTrainerLoss(const CourantTrainer *);
const char *CourantTrainerStep(CourantTrainer *, double learning_rate, double weight_decay, double theta[]);
