#pragma once
/* The inside of a scheme's terms. */
#include "pde/expression.h"
#include "pde/scheme.h"
#include "pde/stencil.h"

struct _CourantTerm {
  CourantNode node;
  char derivative[COURANT_TEXT_SIZE];            /* as claimed; "": nothing is */
  char scheme[COURANT_TEXT_SIZE];                /* "": offsets and weights */
  CourantStencil stencil;                        /* its weights are those at the deck's step */
  CourantExpression weight[COURANT_STENCIL_MAX]; /* NULL: of a named stencil */
  PetscInt nentries;                             /* 1: a coefficient, times the identity; else fields^2 */
  CourantExpression *entry;                      /* NULL: a product of others */
  double matrix[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX]; /* [fields,fields] at the deck's step */
  PetscBool by_step;                                      /* dt is in it */
  PetscInt factor[2]; /* where entry is NULL: the matrix is dt/2 times the product of these terms' */
};

PetscErrorCode CourantTermRead(CourantScheme, CourantNode, CourantTerm *);
PetscErrorCode CourantTermMultiply(CourantScheme, PetscInt a, PetscInt b, CourantTerm *product);
PetscErrorCode CourantTermReset(CourantTerm *);
/* matrix [fields,fields] row-major, weight [stencil.n]; plain C, for any thread. */
void CourantTermEvaluate(CourantScheme, const CourantTerm *, double dt, double matrix[], double weight[]);
PetscBool CourantTermIdentify(CourantScheme, const CourantTerm *, CourantApproximation *);

/* A value for each dimension: one for all, or [y, x]. In one dimension values[0] stays. */
PetscErrorCode CourantReadPair(CourantNode, PetscInt dimension, double values[2]);
PetscErrorCode CourantReadIntegerPair(CourantNode, PetscInt dimension, PetscInt values[2]);

PetscErrorCode CourantInitialRead(CourantScheme, CourantNode);
PetscErrorCode CourantInitialDestroy(CourantInitial *);
