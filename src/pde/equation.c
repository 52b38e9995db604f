#include "pde/equation.h"
#include "pde/term.h"
#include <math.h>

struct _CourantEquation {
  PetscInt fields, n;
  double spacing[2];
  struct {
    CourantOperator limit;
    double matrix[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX];
  } term[];
};

PetscErrorCode CourantEquationDestroy(CourantEquation *equation)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(*equation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantEquationCreate - What each term approximates, with its matrix, as dt and the spacing go to 0. */
PetscErrorCode CourantEquationCreate(CourantScheme scheme, CourantEquation *equation)
{
  double weight[COURANT_STENCIL_MAX];
  CourantApproximation found;
  PetscBool exists = PETSC_TRUE;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc(sizeof **equation + sizeof *(*equation)->term * (size_t)scheme->nterms, equation));
  (*equation)->fields = scheme->fields;
  (*equation)->n = scheme->nterms;
  for (int d = 0; d < 2; d++) (*equation)->spacing[d] = scheme->spacing[d];
  for (PetscInt i = 0; i < scheme->nterms; i++) {
    double *matrix = (*equation)->term[i].matrix;
    if (!CourantTermIdentify(scheme, &scheme->terms[i], &found) || found.operator.n == 0)
      exists = PETSC_FALSE;
    (*equation)->term[i].limit = found.operator;
    CourantTermEvaluate(scheme, &scheme->terms[i], 0, matrix, weight);
    for (PetscInt k = 0; k < scheme->fields * scheme->fields; k++)
      if (!isfinite(matrix[k])) exists = PETSC_FALSE;
  }
  if (!exists) PetscCall(CourantEquationDestroy(equation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CourantEquationSymbol(CourantEquation equation, const double phase[2], double complex symbol[])
{
  const PetscInt entries = equation->fields * equation->fields;

  for (PetscInt k = 0; k < entries; k++) symbol[k] = 0;
  for (PetscInt i = 0; i < equation->n; i++) {
    const CourantOperator *limit = &equation->term[i].limit;
    double complex number = 0;
    for (int p = 0; p < limit->n; p++) {
      double complex factor = limit->part[p].factor;
      for (int y = 0; y < limit->part[p].y; y++) factor *= I * (phase[0] / equation->spacing[0]);
      for (int x = 0; x < limit->part[p].x; x++) factor *= I * (phase[1] / equation->spacing[1]);
      number += factor;
    }
    for (PetscInt k = 0; k < entries; k++) symbol[k] += equation->term[i].matrix[k] * number;
  }
}

PetscBool CourantEquationGetMatrix(CourantEquation equation, int axis, int order, double complex matrix[])
{
  const PetscInt entries = equation->fields * equation->fields;
  PetscBool found = PETSC_FALSE;

  for (PetscInt k = 0; k < entries; k++) matrix[k] = 0;
  for (PetscInt i = 0; i < equation->n; i++) {
    const CourantOperator *limit = &equation->term[i].limit;
    for (int p = 0; p < limit->n; p++) {
      const int y = limit->part[p].y, x = limit->part[p].x;
      if ((axis == 0 ? y : x) != order || (axis == 0 ? x : y) != 0) continue;
      for (PetscInt k = 0; k < entries; k++) matrix[k] += limit->part[p].factor * equation->term[i].matrix[k];
    }
  }
  for (PetscInt k = 0; k < entries; k++)
    if (cabs(matrix[k]) > 0) found = PETSC_TRUE;
  return found;
}
