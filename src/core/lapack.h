#pragma once
/* Dense symmetric matrices by LAPACK, and how its routines ended. */
#include "core/error.h"
#include <petscblaslapack.h>

PetscErrorCode CourantLapackCheck(const char routine[], PetscBLASInt info);
PetscErrorCode CourantDiagonalise(char job, PetscInt n, PetscReal matrix[], PetscReal values[]);
