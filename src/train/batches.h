#pragma once
/* The batches of a run: in an epoch every sample once, in an order of the run's seed and the epoch's number.
 */
#include "core/compat.h"

typedef struct {
  PetscInt n, size,
      per_epoch;   /* samples; of a batch; batches of an epoch, the last of which may be smaller */
  PetscInt *order; /* [n]: the samples as epoch `epoch` takes them */
  PetscInt epoch;  /* -1: none yet */
  uint64_t seed;   /* of that order */
} CourantBatches;

PetscErrorCode CourantBatchesCreate(PetscInt n, PetscInt size, CourantBatches *);
PetscErrorCode CourantBatchesDestroy(CourantBatches *);
const PetscInt *CourantBatchesGet(CourantBatches *, uint64_t seed, PetscInt step, PetscInt *n);
