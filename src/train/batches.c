#include "train/batches.h"
#include "core/random.h"

/* CourantBatchesCreate - n samples in batches of `size`. */
PetscErrorCode CourantBatchesCreate(PetscInt n, PetscInt size, CourantBatches *batches)
{
  PetscFunctionBeginUser;
  *batches = (CourantBatches){.n = n, .size = size, .per_epoch = (n + size - 1) / size, .epoch = -1};
  PetscCall(PetscMalloc1(n, &batches->order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantBatchesDestroy(CourantBatches *batches)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(batches->order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantBatchesGet - The n samples of a run's step, from 0; borrowed until the next call. Threads may call
 * it. */
const PetscInt *CourantBatchesGet(CourantBatches *batches, uint64_t seed, PetscInt step, PetscInt *n)
{
  const PetscInt epoch = step / batches->per_epoch, at = step % batches->per_epoch * batches->size;

  if (batches->epoch != epoch || batches->seed != seed)
    CourantRandomPermutation(
        (CourantRandom){.seed = seed, .purpose = COURANT_RANDOM_SHUFFLE, .epoch = (uint32_t)epoch},
        batches->n, batches->order);
  batches->epoch = epoch;
  batches->seed = seed;
  *n = PetscMin(batches->size, batches->n - at);
  return batches->order + at;
}
