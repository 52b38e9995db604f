#pragma once
/* A network: layers in a row with their shapes, parameters and loss; no numbers. */
#include "net/layer.h"

typedef struct _CourantNet *CourantNet;

struct _CourantNet {
  CourantShape in, out;
  PetscInt nlayers;
  CourantLayer *layers;
  PetscInt size; /* parameters: the length of theta */
  int loss;      /* index in the registry of losses */
};

PetscErrorCode CourantNetCreate(CourantNode network, CourantNode loss, CourantShape in, CourantNet *);
PetscErrorCode CourantNetDestroy(CourantNet *);
PetscErrorCode CourantNetView(CourantNet, FILE *);
PetscErrorCode CourantNetDecayMask(CourantNet, PetscBool kernels_only, double mask[]);
PetscBool CourantNetHasBoundedGradient(CourantNet);

/* The registries, as built for double precision on any machine; variants differ in their numbers alone. */
extern const int CourantLayerTypeCount, CourantLossTypeCount;
const CourantLayerOps *CourantLayerType(int type);
const CourantLossOps *CourantLossType(int type);
const char *const *CourantLayerTypeNames(void);
