#pragma once
/* u' = A u by any PETSc time stepper: what is probed for its amplification factor, and linear PDEs. */
#include "dynamics/steppers.h"
#include "pde/scheme.h"

typedef struct {
  TS ts;
  Mat A;       /* borrowed */
  Mat shifted; /* shift - A, the Jacobian of udot - A u */
  PetscReal shift;
} * CourantLinear;

PetscErrorCode CourantLinearCreate(Mat A, const char prefix[], CourantLinear *);
PetscErrorCode CourantLinearSetFromOptions(CourantLinear);
PetscErrorCode CourantLinearDestroy(CourantLinear *);

PetscErrorCode CourantSchemeApplyOptions(CourantScheme);
PetscErrorCode CourantSchemeCheckOptionsUsed(CourantScheme);
