/*
  Rows and cells of a map of mini-batches. What one run sees is the almost-sure growth, and so that is the
  map's growth and its limit the map's; the mean square's stand beside them.
*/
#include "stability/map.h"
#include "stability/sgd.h"
#include <math.h>

/*
  CourantMapSetUpBatches - Makes the limits' solver where the deck's batches are not full, unless they have no
  map.

  Options: those of CourantSgdSetFromOptions(). Called by CourantMapSetUp(), with the problem set up.
*/
PetscErrorCode CourantMapSetUpBatches(CourantMap map)
{
  const CourantTrainSettings *train = &map->train;

  PetscFunctionBeginUser;
  if (train->batch < 1) PetscFunctionReturn(PETSC_SUCCESS);
  const char *obstacle =
      map->by_ts ? "a time stepper takes all samples" : CourantSgdObstacle(map->problem, train);
  if (obstacle)
    CourantNodeError(train->node,
                     "no map of batches of %d: %s; -set train.batch=full gives the map of full batches",
                     train->batch, obstacle);
  PetscCall(CourantSgdDestroy(&map->sgd));
  PetscCall(CourantSgdCreate(PETSC_COMM_SELF, train->batch, &map->sgd));
  PetscCall(CourantSgdSetFromOptions(map->sgd));
  PetscCall(CourantSgdCheckMemory(map->sgd, map->problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantMapFillBatchLimits - The three limits at map->theta, whose spectrum is known; `limit` was that of
 * full batches. */
PetscErrorCode CourantMapFillBatchLimits(CourantMap map, CourantMapRow *row)
{
  Vec slowest;

  PetscFunctionBeginUser;
  if (!map->sgd) PetscFunctionReturn(PETSC_SUCCESS);
  row->limit_full_batch = row->limit;
  row->limit_von_neumann = NAN; /* it bounds the mean of the samples, not each batch */
  PetscCall(CourantSpectrumGetBottomVector(map->spectrum, &slowest));
  PetscCall(CourantSgdSetProblem(map->sgd, map->problem, map->theta, row->alpha, slowest));
  PetscCall(CourantSgdGetNoise(map->sgd, &row->gradient_noise));
  for (int k = 0; k < COURANT_SGD_KINDS; k++) {
    CourantStatus status;
    PetscCall(CourantSgdGetLimit(map->sgd, (CourantSgdKind)k, &row->batch_limit[k], &status));
    row->batch_status[k] = (uint8_t)status;
  }
  row->limit = row->batch_limit[COURANT_SGD_ALMOST_SURE].value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantMapFillBatchGrowth - Growth of a row's cells, after its limits; slack: how far its interval reaches
 * towards 1. */
PetscErrorCode CourantMapFillBatchGrowth(CourantMap map, PetscInt w, double growth[], double slack[])
{
  CourantMapCell *cells = map->cells + w * map->nl;
  CourantEstimate *sure, *square;
  CourantStatus status;

  PetscFunctionBeginUser;
  if (!map->sgd) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(map->nl, &sure, map->nl, &square));
  PetscCall(
      CourantSgdGetGrowth(map->sgd, COURANT_SGD_ALMOST_SURE, map->nl, map->learning_rate, sure, &status));
  PetscCall(
      CourantSgdGetGrowth(map->sgd, COURANT_SGD_MEAN_SQUARE, map->nl, map->learning_rate, square, &status));
  for (PetscInt l = 0; l < map->nl; l++) {
    growth[l] = sure[l].value;
    slack[l] = growth[l] > 1 ? growth[l] - sure[l].low : sure[l].high - growth[l];
    cells[l].growth_low = sure[l].low;
    cells[l].growth_high = sure[l].high;
    cells[l].mean_square = square[l];
  }
  PetscCall(PetscFree2(sure, square));
  PetscFunctionReturn(PETSC_SUCCESS);
}
