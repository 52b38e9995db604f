#pragma once
/* What becomes of each frequency in runs of a linear PDE on a periodic grid, beside what was predicted. */
#include "courant.h"
#include "pde/scheme.h"

typedef struct _CourantModes *CourantModes;

PetscErrorCode CourantModesCreate(CourantScheme, CourantModes *);
PetscErrorCode CourantModesRecord(CourantModes, PetscInt start, const double u[]);
PetscErrorCode CourantModesKeep(CourantModes, PetscInt step);
void CourantModesRestart(CourantModes, PetscInt step);
PetscErrorCode CourantModesGetGrowth(CourantModes, double growth[], int steps[]);
PetscErrorCode CourantModesDestroy(CourantModes *);

/* Frequency i of n, in radians per grid point, from -pi up. */
double CourantModesFrequency(PetscInt i, PetscInt n);
PetscErrorCode CourantSchemePredictGrowth(CourantScheme, CourantStepper, double growth[]);
