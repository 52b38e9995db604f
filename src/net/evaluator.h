#pragma once
/* Loss and gradient of a network over its data, with their Taylor coefficients along a direction. */
#include "data/dataset.h"
#include "net/backend.h"
#include "net/treesum.h"

#define COURANT_LEAF 16 /* samples of a leaf of the summation tree */

typedef struct _CourantEvaluator *CourantEvaluator;

typedef struct {
  int order; /* highest Taylor coefficient it will be asked for */
  int threads;
  double memory;        /* bytes it may use */
  PetscInt first, last; /* leaves of this rank: first .. last-1 */
  const double *slopes; /* [n,outputs]: loss frozen to slopes . p; NULL: the net's loss. Borrowed */
} CourantEvaluatorSettings;

PetscErrorCode CourantEvaluatorCreate(CourantNet, CourantDataset, const CourantBackend *,
                                      const CourantEvaluatorSettings *, CourantEvaluator *);
PetscErrorCode CourantEvaluatorDestroy(CourantEvaluator *);
PetscInt CourantLeafCount(CourantDataset);
double CourantEvaluatorMemory(CourantEvaluator);
size_t CourantEvaluatorLength(CourantEvaluator, int coefficients);

PetscErrorCode CourantEvaluatorRun(CourantEvaluator, int order, const double theta[],
                                   const double direction[], MPI_Comm, double result[]);
PetscErrorCode CourantEvaluatorKeep(CourantEvaluator, const double theta[], MPI_Comm, double result[]);
PetscErrorCode CourantEvaluatorProduct(CourantEvaluator, const double direction[], MPI_Comm, double result[]);
const char *CourantEvaluatorGradient(CourantEvaluator, const double theta[], double gradient_and_loss[]);
const char *CourantEvaluatorLocalProduct(CourantEvaluator, const double direction[], double result[]);
PetscErrorCode CourantEvaluatorSample(CourantEvaluator, const double theta[], PetscInt sample, PetscInt layer,
                                      double values[], double slopes[], double gradient[]);
