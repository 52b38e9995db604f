#pragma once
/* Loss and gradient of a network over its data, with their Taylor coefficients along a direction. */
#include "data/dataset.h"
#include "net/layout.h"
#include "net/treesum.h"

typedef struct _CourantEvaluator *CourantEvaluator;

typedef struct {
  int order;      /* highest Taylor coefficient it will be asked for */
  int directions; /* of a call of CourantEvaluatorProducts() at most; 0: 1 */
  int threads;
  double memory;          /* bytes it may use */
  PetscMPIInt rank, size; /* this rank's place among those that share the samples; size 0: it is alone */
  PetscInt samples;       /* the most that a batch may have; 0: those of the data set */
  const double *slopes;   /* [n,outputs]: loss frozen to slopes . p; NULL: the net's loss. Borrowed */
} CourantEvaluatorSettings;

PetscErrorCode CourantEvaluatorCreate(CourantNet, CourantDataset, const CourantBackend *,
                                      const CourantEvaluatorSettings *, CourantEvaluator *);
PetscErrorCode CourantEvaluatorDestroy(CourantEvaluator *);
double CourantEvaluatorMemory(CourantEvaluator);
size_t CourantEvaluatorLength(CourantEvaluator, int coefficients);
void CourantEvaluatorSetBatch(CourantEvaluator, const CourantBatch *, PetscInt group);
void CourantEvaluatorSetRunning(CourantEvaluator, double running[]);

PetscErrorCode CourantEvaluatorRun(CourantEvaluator, int order, const double theta[],
                                   const double direction[], MPI_Comm, double result[]);
PetscErrorCode CourantEvaluatorKeep(CourantEvaluator, const double theta[], MPI_Comm, double result[]);
PetscErrorCode CourantEvaluatorProducts(CourantEvaluator, int n, const double *const directions[], MPI_Comm,
                                        double results[]);
PetscErrorCode CourantEvaluatorGaussNewton(CourantEvaluator, int n, const double *const directions[],
                                           MPI_Comm, double results[]);
void CourantEvaluatorGetShare(CourantEvaluator, PetscInt *first, PetscInt *end);
PetscErrorCode CourantEvaluatorOutputs(CourantEvaluator, const double direction[], MPI_Comm, double outputs[],
                                       double result[]);
PetscErrorCode CourantEvaluatorPullBack(CourantEvaluator, const double cotangents[], MPI_Comm,
                                        double result[]);
const char *CourantEvaluatorGradient(CourantEvaluator, const double theta[], double gradient_and_loss[]);
const char *CourantEvaluatorLocalProducts(CourantEvaluator, int n, const double *const directions[],
                                          double results[]);
const char *CourantEvaluatorLocalProduct(CourantEvaluator, const double direction[], double result[]);
const char *CourantEvaluatorPredict(CourantEvaluator, const double theta[], const double running[],
                                    const CourantBatch *, double *loss, double *correct, double outputs[]);
const char *CourantEvaluatorLocalSample(CourantEvaluator, const double theta[], PetscInt sample,
                                        PetscInt layer, double values[], double slopes[], double gradient[]);
const double *CourantEvaluatorImage(CourantEvaluator);
PetscErrorCode CourantEvaluatorSample(CourantEvaluator, const double theta[], PetscInt sample, PetscInt layer,
                                      double values[], double slopes[], double gradient[]);
