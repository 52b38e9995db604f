#pragma once
/* The `train` section of a deck. */
#include "train/rule.h"

/* How the learning rate changes over a run, in epochs, or in steps where a run is counted in those. */
typedef struct {
  double warmup; /* the rate rises linearly over so long a time */
  int kind;
  CourantReals at; /* times at which a step schedule multiplies the rate by */
  double factor;
} CourantSchedule;

typedef struct {
  CourantNode node;
  int rule;
  void *options; /* of the rule */
  double learning_rate, weight_decay;
  PetscBool decoupled;
  int batch; /* samples of a step; -1: all */
  PetscInt steps, epochs;
  CourantNode schedule_node;
  CourantSchedule schedule;
  int precision; /* 0 double, 1 single */
  double perturb;
  uint64_t seed;
  PetscInt sharpness_every, checkpoint_every; /* steps; 0: never, by the clock */
  CourantNode ensemble, layer_rates;
  CourantReals seeds, perturbs; /* of the ensemble; none: one run */
} CourantTrainSettings;

extern const CourantKey CourantTrainKeys[], CourantEnsembleKeys[], CourantStepScheduleKeys[],
    CourantWarmupKeys[];

PetscErrorCode CourantTrainRead(CourantNode train, CourantTrainSettings *);
PetscErrorCode CourantTrainSetRule(CourantTrainSettings *, const char name[]);
PetscErrorCode CourantTrainReset(CourantTrainSettings *);
PetscErrorCode CourantTrainLayerRates(const CourantTrainSettings *, CourantNet, double rates[],
                                      PetscBool *any);
double CourantScheduleFactor(const CourantSchedule *, double time, double resolution, double end);
