#pragma once
/* Confidence intervals: what a few random draws leave open. All are two-sided, of 95 %. */
#include "courant.h"

#define COURANT_CONFIDENCE 0.95

PetscReal CourantIncompleteBeta(PetscReal a, PetscReal b, PetscReal x);
PetscReal CourantStudentFactor(PetscInt freedom);
CourantEstimate CourantMeanEstimate(PetscInt n, const PetscReal x[]);
CourantEstimate CourantRankEstimate(PetscInt n, PetscInt probes, PetscReal low, PetscReal high);
