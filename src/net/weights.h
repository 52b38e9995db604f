#pragma once
/* Initial weights. */
#include "net/net.h"

typedef struct {
  int init;      /* index of the initialiser */
  void *options; /* of the initialiser */
  uint64_t seed;
  double scale;
  int decay; /* 0: on all parameters, 1: on kernels alone */
  CourantNode node;
} CourantWeights;

extern const CourantKey CourantWeightsKeys[];
extern const int CourantInitialiserCount;
const char *CourantInitialiser(int index, const CourantKey **keys);
PetscErrorCode CourantWeightsRead(CourantNode weights, CourantWeights *);
PetscErrorCode CourantWeightsReset(CourantWeights *);
const char *CourantWeightsFile(const CourantWeights *);
PetscErrorCode CourantWeightsFill(const CourantWeights *, CourantNet, double theta[]);
PetscErrorCode CourantWeightsFillRunning(const CourantWeights *, CourantNet, double running[]);
PetscErrorCode CourantWeightsLoad(CourantNet, CourantNode, const char file[], double theta[]);
