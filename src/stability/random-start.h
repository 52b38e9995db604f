#pragma once
/* Random starts of Krylov solvers, and what a solve from one is worth. */
#include "core/error.h"
#include "core/random.h"
#include <slepceps.h>

PetscErrorCode CourantSetNormal(Vec, CourantRandom);
PetscErrorCode CourantSetRandomStart(EPS, Vec start, CourantRandomPurpose, uint32_t index);
PetscReal CourantMissedProbability(PetscInt n, PetscInt steps, PetscReal share);
