#pragma once
/* A network: layers in the order they are computed in, with their shapes, parameters and loss; no numbers. */
#include "net/layer.h"

struct _CourantNet {
  CourantShape in, out;
  PetscInt nlayers;
  CourantLayer *layers; /* values are numbered as in layer.h; the last layer's is the output */
  PetscInt size;        /* parameters: the length of theta */
  PetscInt buffers;     /* running statistics of all layers */
  PetscBool coupled;    /* some layer couples the samples of a statistics group */
  PetscInt group;       /* samples of such a group */
  double width;         /* factor on the channels of all layers */
  int loss;             /* index in the registry of losses */
  PetscInt noptions;
  void **options; /* of all entries of the deck's list, those that leave no layer too */
};

/* What a deck says of a network. */
typedef struct {
  CourantNode network, loss;
  double width;              /* factor on channels; 0: 1 */
  PetscInt statistics_batch; /* samples that batch_norm normalises together; 0: 128 */
} CourantNetDeck;

/* Running statistics of a layer that couples samples: means, then variances, [c] each. */
enum { COURANT_RUNNING = 2 };
extern const char *const CourantRunningNames[COURANT_RUNNING]; /* PyTorch's */
PetscBool CourantLayerIsCoupled(const CourantLayer *);

PetscErrorCode CourantNetCreate(const CourantNetDeck *, CourantShape in, CourantNet *);
PetscErrorCode CourantNetAppend(CourantNet, CourantNode list, const char name[], int *value);
CourantShape CourantNetShape(CourantNet, int value);
PetscBool CourantNetValueIsConstant(CourantNet, int value);
PetscErrorCode CourantNetDestroy(CourantNet *);
PetscErrorCode CourantNetView(CourantNet, FILE *);
PetscErrorCode CourantNetDecayMask(CourantNet, PetscBool kernels_only, double mask[]);
PetscBool CourantNetHasBoundedGradient(CourantNet);
PetscBool CourantNetIsSmooth(CourantNet);

/* The registries, as built for double precision on any machine; variants differ in their numbers alone. */
extern const int CourantLayerTypeCount, CourantLossTypeCount;
const CourantLayerOps *CourantLayerType(int type);
const CourantLossOps *CourantLossType(int type);
const char *const *CourantLayerTypeNames(void);
