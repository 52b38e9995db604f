#pragma once
/* Training runs with mini-batches, schedules, momentum and single precision. */
#include "dynamics/problem.h"
#include "train/batches.h"
#include "train/settings.h"

/* Everything that a run is at a moment: with it, it goes on to the bit. */
typedef struct {
  void *theta, *rule[COURANT_RULE_STATES]; /* [n], in the run's precision */
  double *running;                         /* statistics of batch_norm [net->buffers] */
  PetscInt step;                           /* steps taken */
  uint64_t seed;                           /* of batches and augmentation */
  double perturb;                          /* k */
  double start_norm;                       /* |theta| at the start */
  int64_t subnormal; /* parts of steps, d / k, that were subnormal: powers of two as k differ there */
  PetscBool diverged;
} CourantRunState;

/* What a step saw, at the weights it started from. */
typedef struct {
  double loss; /* L over the batch */
  double objective, gradient_norm, learning_rate;
} CourantRunRecord;

/* The means of training; any number of states may take turns with it. */
typedef struct {
  CourantProblem problem;               /* borrowed */
  const CourantTrainSettings *settings; /* borrowed */
  const CourantBackend *backend;        /* of the run's precision */
  const CourantRuleOps *rule;
  CourantEvaluator evaluator;
  MPI_Comm comm;             /* of the ranks that share the samples of a batch */
  size_t n;                  /* weights */
  PetscInt batch, per_epoch; /* samples of a step; steps of an epoch */
  PetscInt steps;            /* of a whole run */
  double *weights;           /* theta in double [n] */
  double *gradient;          /* [n+1] */
  double *mask, *rates;      /* [n]; rates NULL: all 1 */
  double *outputs;           /* of the samples that are evaluated */
  CourantBatches batches;
} CourantRun;

PetscErrorCode CourantRunCreate(CourantProblem, const CourantTrainSettings *, PetscBool alone, CourantRun *);
PetscErrorCode CourantRunDestroy(CourantRun *);
PetscErrorCode CourantRunCheckRecords(CourantProblem, const CourantTrainSettings *, const char *key,
                                      double numbers);
PetscErrorCode CourantRunStateCreate(const CourantRun *, CourantRunState *);
PetscErrorCode CourantRunStateDestroy(CourantRunState *);
PetscErrorCode CourantRunStart(CourantRun *, const CourantWeights *, uint64_t seed, double perturb,
                               CourantRunState *);
PetscBool CourantRunIsLost(const CourantRun *, const CourantRunState *, const double weights[]);
PetscErrorCode CourantRunStep(CourantRun *, CourantRunState *, CourantRunRecord *);
PetscErrorCode CourantRunEvaluate(CourantRun *, const CourantRunState *, double *loss, double *accuracy);
void CourantRunGet(const CourantRun *, const void *values, double to[]);
void CourantRunSet(const CourantRun *, const double from[], void *values);
double CourantRunLearningRate(const CourantRun *, PetscInt step);
double CourantRunDistance(size_t n, const double a[], const double b[]);
