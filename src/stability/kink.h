#pragma once
/* States where a network has no Hessian. */
#include "courant.h"

PetscErrorCode CourantStateIsKink(CourantProblem, Vec theta, PetscReal scale, PetscBool *kink);
