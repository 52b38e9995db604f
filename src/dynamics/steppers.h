#pragma once
/* What this library knows of PETSc's TS types. */
#include "core/error.h"
#include <petscts.h>

PetscBool CourantStepperIsExplicit(const char type[]);
PetscBool CourantStepperIsRefused(const char type[]);
PetscErrorCode CourantStepperConfigure(TS, const char prefix[]);
