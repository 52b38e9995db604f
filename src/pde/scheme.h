#pragma once
/*
  A linear PDE with constant coefficients, u_t = sum of terms, on a uniform grid, and how it is stepped in
  time.

  Each term is a matrix over the fields (a number for one field) times a stencil, weights at offsets. On grid
  functions e^{i w x} a stencil is the number sum_j weight_j e^{i phase . offset_j}, phase = w dx in [-pi, pi)
  per dimension: with its matrix, summed over the terms, the symbol A(phase) of the scheme.
*/
#include "deck/model.h"
#include <complex.h>

enum { COURANT_FIELDS_MAX = 8 };

typedef enum {
  COURANT_BOUNDARY_PERIODIC,
  COURANT_BOUNDARY_DIRICHLET,
  COURANT_BOUNDARY_NEUMANN
} CourantBoundary;

typedef struct _CourantTerm CourantTerm;
typedef struct _CourantInitial *CourantInitial;

typedef struct {
  MPI_Comm comm;
  CourantModel model;
  PetscInt dimension, fields;
  PetscInt points[2];              /* y, x; in one dimension y is 1 */
  double spacing[2];               /* y, x */
  int boundary;                    /* CourantBoundary */
  double step;                     /* dt */
  char type[64];                   /* of the TS; one-step weights have made lax_wendroff euler */
  char options[COURANT_TEXT_SIZE]; /* of the TS, without prefixes */
  PetscInt steps;                  /* of a run */
  PetscBool by_step; /* some weights contain dt: the symbol depends on the step, and the scheme is one-step */
  PetscInt nterms;
  CourantTerm *terms;
  CourantInitial initial;
} * CourantScheme;

PetscErrorCode CourantSchemeCreate(MPI_Comm, CourantDeck, CourantScheme *);
PetscErrorCode CourantSchemeDestroy(CourantScheme *);
/* type: of the TS that steps; NULL: the deck's. */
PetscErrorCode CourantSchemeView(CourantScheme, const char type[], FILE *);
/* The warnings about stencils that are not what they claim to be, a line each, on rank 0. */
PetscErrorCode CourantSchemeCheckConsistency(CourantScheme, FILE *);
/* A(phase) of a step dt, [fields,fields] row-major; plain C, for any thread. dt 0: of the PDE's own terms. */
void CourantSchemeSymbol(CourantScheme, double dt, const double phase[2], double complex symbol[]);
/* The same on the grid with its boundaries: A of u_t = A u, rows (point, field), points row-major. */
PetscErrorCode CourantSchemeCreateMatrix(CourantScheme, double dt, Mat *);
/* Number `which` of the starts; the deck's own is 0. */
PetscErrorCode CourantSchemeGetInitialState(CourantScheme, PetscInt which, Vec);

/* For the help: the tables of the sections pde and stepper. */
extern const CourantKey CourantSchemeTopKeys[], CourantPdeKeys[], CourantTermKeys[], CourantInitialKeys[],
    CourantTimeKeys[];
