#pragma once
/* Pictures on a terminal. */
#include "core/compat.h"

enum { COURANT_DRAW_WIDTH = 64, COURANT_DRAW_HEIGHT = 24 };

PetscInt CourantDrawPick(PetscInt i, PetscInt n, PetscInt m);
void CourantDrawAxis(PetscInt width, double from, double to, const char name[]);
void CourantDrawCurve(PetscInt n, const double x[], const double y[], double level);
void CourantDrawPlane(PetscInt ny, PetscInt nx, const double y[], const double x[], const double values[]);
void CourantDrawField(PetscInt ny, PetscInt nx, const double u[]);
