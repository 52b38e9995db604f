#pragma once
/* Amplification over frequencies on a terminal. */
#include "core/compat.h"

void CourantDrawCurve(PetscInt n, const double x[], const double y[], double level);
void CourantDrawPlane(PetscInt ny, PetscInt nx, const double y[], const double x[], const double values[]);
