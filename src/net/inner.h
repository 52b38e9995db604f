#pragma once
/* A few samples inside a network: the values of its layers, and the curvature of each sample's loss in them.
 */
#include "data/dataset.h"
#include "net/layout.h"

typedef struct _CourantInner *CourantInner;

typedef struct {
  PetscInt samples; /* at a time, at most */
  int threads;
  PetscBool products;   /* curvature is wanted as well */
  const double *slopes; /* [n,outputs]: loss frozen to slopes . p; NULL: the net's loss. Borrowed */
} CourantInnerSettings;

PetscErrorCode CourantInnerCreate(CourantNet, CourantDataset, const CourantBackend *,
                                  const CourantInnerSettings *, CourantInner *);
PetscErrorCode CourantInnerDestroy(CourantInner *);
double CourantInnerMemory(CourantInner);
void CourantInnerSetWeights(CourantInner, const double theta[]);
const char *CourantInnerForward(CourantInner, PetscInt first, PetscInt n, int value);
const double *CourantInnerValue(CourantInner, int value, PetscInt i);
const char *CourantInnerLinearise(CourantInner, PetscInt first, PetscInt n, int value);
void CourantInnerProduct(CourantInner, const double x[], double y[]);
