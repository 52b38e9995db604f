#pragma once
/* What LAPACK knows of a dense matrix: eigenvalues with their condition, norms of its powers. */
#include "core/error.h"
#include "courant.h"

/* Powers whose norms are reckoned: 1 to 8, then doubling to 65536. */
enum { COURANT_POWERS = 21 };
PetscInt CourantPower(int index);

PetscErrorCode CourantDenseEigenvalues(PetscInt n, const PetscComplex A[], PetscComplex values[]);
PetscErrorCode CourantDenseSolve(PetscInt n, PetscComplex A[], PetscInt columns, PetscComplex B[],
                                 PetscBool *singular);
PetscErrorCode CourantDenseSingularValues(PetscInt n, const PetscComplex A[], PetscReal sigma[]);
PetscErrorCode CourantDensePowerNorms(PetscInt n, const PetscReal G[], PetscReal norms[COURANT_POWERS]);
PetscErrorCode CourantDensePowerNormsComplex(PetscInt n, const PetscComplex G[],
                                             PetscReal norms[COURANT_POWERS]);
PetscErrorCode CourantDenseSpectrum(PetscInt n, const PetscReal A[], PetscComplex values[],
                                    PetscReal residual[], PetscReal condition[]);
