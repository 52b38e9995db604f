#pragma once
/* The PDE that a scheme approximates: the limit of its terms as step and spacing go to 0. */
#include "pde/scheme.h"
#include "pde/stencil.h"

typedef struct _CourantEquation *CourantEquation;

/* NULL where a term has no limit. */
PetscErrorCode CourantEquationCreate(CourantScheme, CourantEquation *);
PetscErrorCode CourantEquationDestroy(CourantEquation *);
/* Its symbol at a grid's phase [y, x], [fields,fields] row-major: sum of matrix (i phase / spacing)^order. */
void CourantEquationSymbol(CourantEquation, const double phase[2], double complex symbol[]);
/* Matrix of the derivative of this order along y (axis 0) or x (1) alone; false: there is none. */
PetscBool CourantEquationGetMatrix(CourantEquation, int axis, int order, double complex matrix[]);
