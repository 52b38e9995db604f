#include "core/lapack.h"

/* CourantLapackCheck - An error where a routine of LAPACK did not do what it should. */
PetscErrorCode CourantLapackCheck(const char routine[], PetscBLASInt info)
{
  PetscFunctionBeginUser;
  PetscCheck(info >= 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK %s: argument %d", routine, (int)-info);
  PetscCheck(
      info == 0, PETSC_COMM_SELF, PETSC_ERR_NOT_CONVERGED,
      "LAPACK %s did not converge: the matrix holds numbers that are not finite, or none to reckon with",
      routine);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantDiagonalise - All eigenvalues, ascending, of a symmetric matrix [n,n] whose upper triangle, by
  columns, is there; job 'V': eigenvectors in its place, one after another; 'N': it is lost.
*/
PetscErrorCode CourantDiagonalise(char job, PetscInt n, PetscReal matrix[], PetscReal values[])
{
  PetscBLASInt size, lwork = -1, info;
  PetscReal query, *work;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(n, &size));
  LAPACKsyev_(&job, "U", &size, matrix, &size, values, &query, &lwork, &info);
  lwork = (PetscBLASInt)query;
  PetscCall(PetscMalloc1(lwork, &work));
  LAPACKsyev_(&job, "U", &size, matrix, &size, values, work, &lwork, &info);
  PetscCall(PetscFree(work));
  PetscCall(CourantLapackCheck("dsyev", info));
  PetscFunctionReturn(PETSC_SUCCESS);
}
