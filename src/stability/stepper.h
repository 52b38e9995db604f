#pragma once
/* The inside of a CourantStepper. */
#include "courant.h"
#include "core/error.h"

struct _CourantStepper {
  MPI_Comm comm;
  char prefix[32];
  char type[64];        /* of the TS, after SetUp */
  PetscBool set_up;
  PetscBool one_step;   /* R(z) exists: two steps are R(z)^2 */
  PetscReal limit;      /* |R(-x)| <= 1 for 0 <= x <= limit; infinity where there is none */
};

PetscErrorCode CourantStepperConfigure(TS ts, const char prefix[]);
