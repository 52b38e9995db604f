#pragma once
/* Perturbed runs: seeds x factors k, and how far runs that differ by rounding alone drift apart. */
#include "train/run.h"

typedef struct {
  CourantRun run;
  PetscInt seeds, perturbs, epochs, layers; /* epochs: the last one may be a part */
  PetscInt last;                            /* epochs over which the accuracy is averaged */
  /* what has come of it, NaN where not computed */
  double *accuracy;       /* [seeds,perturbs] mean over the last epochs */
  double *distance;       /* [seeds,perturbs,epochs] D between a run and the first of its seed */
  double *relative;       /* [seeds,perturbs,epochs] |w1 - w2| / |w1| */
  double *layer_distance; /* [seeds,perturbs,layers] D of each layer at the end */
  double *diverged_at;    /* [seeds,perturbs] step of divergence */
  double *subnormal;      /* [seeds,perturbs] subnormal parts of steps */
} CourantEnsemble;

/* What the ensemble says in a line. */
typedef struct {
  double ratio, low, high; /* spread over k over spread over seeds, with its 95 % bootstrap interval */
  double distance;         /* median over runs but the first of each seed of D at the end */
} CourantEnsembleSummary;

PetscErrorCode CourantEnsembleCreate(CourantProblem, const CourantTrainSettings *, CourantEnsemble *);
PetscErrorCode CourantEnsembleDestroy(CourantEnsemble *);
PetscErrorCode CourantEnsembleRunSeed(CourantEnsemble *, PetscInt seed,
                                      void (*Progress)(double epochs, void *), void *ctx);
double CourantEnsembleEpochsDone(const CourantEnsemble *, PetscInt epoch);
PetscErrorCode CourantEnsembleSummarise(const CourantEnsemble *, CourantEnsembleSummary *);
void CourantEnsembleSpread(const CourantEnsemble *, double row_std[], double column_std[]);
