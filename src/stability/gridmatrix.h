#pragma once
/* The matrix of a scheme on a grid with boundaries: its spectrum, its step, and what non-normality adds. */
#include "courant.h"
#include "stability/dense.h"

/* Unknowns up to which LAPACK finds all. */
enum { COURANT_DENSE_MAX = 1024 };

typedef struct {
  PetscInt unknowns, n;            /* eigenvalues that were found, by descending real part */
  PetscBool all;                   /* these are all eigenvalues */
  PetscInt unconverged;            /* solves that did not */
  PetscComplex *eigenvalue;        /* [n] */
  PetscReal *residual;             /* [n] */
  PetscReal *condition;            /* [n]; NaN where it is not known */
  PetscReal *growth;               /* [n], |R(step eigenvalue)| */
  PetscReal radius;                /* spectral radius of the step's matrix G; NaN unless all */
  PetscReal norms[COURANT_POWERS]; /* |G^k|_2; NaN unless all and one-step */
  CourantStepLimit limit;          /* by the eigenvalues found; NaN where the matrix depends on the step */
} CourantGridMatrix;

PetscErrorCode CourantGridMatrixSetUp(MPI_Comm, EPS eps[2]);
PetscErrorCode CourantGridMatrixCompute(Mat, CourantStepper, PetscReal step, PetscBool by_step, EPS eps[2],
                                        PetscBool quiet, CourantGridMatrix *);
PetscErrorCode CourantGridMatrixReset(CourantGridMatrix *);
