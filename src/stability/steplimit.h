#pragma once
/* The step at which the first of some modes u' = lambda u is no longer stable. */
#include "core/error.h"
#include "courant.h"

/* Modes, which may depend on the step. */
typedef struct {
  CourantStepper stepper;
  PetscReal reference; /* a step to begin with: lambda's size there decides where to look */
  PetscInt n;
  PetscComplex *lambda;                                /* [n] */
  PetscErrorCode (*Update)(void *ctx, PetscReal step); /* sets lambda; NULL: they stay */
  void *ctx;
  PetscBool quiet; /* no progress bar */
} CourantSteppedModes;

PetscReal CourantStepTolerance(CourantStepper);
PetscErrorCode CourantStepLimitSolve(const CourantSteppedModes *, CourantStepLimit *);
