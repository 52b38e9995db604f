#pragma once
/* The eigenvalues that an optimiser with a diagonal preconditioner P sees: A x = nu P x. */
#include "courant.h"

PetscErrorCode CourantPreconditionedCreate(Mat A, Mat *);
PetscErrorCode CourantPreconditionedSetDiagonal(Mat, Vec P);
