#include "stability/preconditioned.h"
#include "core/error.h"

typedef struct {
  Mat A;
  Vec scale, scaled; /* P^-1/2, P^-1/2 x */
} Preconditioned;

static PetscErrorCode MatMult_Preconditioned(Mat B, Vec x, Vec y)
{
  Preconditioned *p;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(B, &p));
  PetscCall(VecPointwiseMult(p->scaled, p->scale, x));
  PetscCall(MatMult(p->A, p->scaled, y));
  PetscCall(VecPointwiseMult(y, p->scale, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatDestroy_Preconditioned(Mat B)
{
  Preconditioned *p;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(B, &p));
  PetscCall(MatDestroy(&p->A));
  PetscCall(VecDestroy(&p->scale));
  PetscCall(VecDestroy(&p->scaled));
  PetscCall(PetscFree(p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantPreconditionedCreate - P^-1/2 A P^-1/2 of a symmetric A as a symmetric MATSHELL: its eigenvalues are
  the nu of A x = nu P x, its residuals those of y = P^1/2 x.

  Takes a reference of A, which may change between products; P is the identity at first. The caller destroys
  it.
*/
PetscErrorCode CourantPreconditionedCreate(Mat A, Mat *B)
{
  Preconditioned *p;
  MPI_Comm comm;
  PetscInt n, N;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&p));
  PetscCall(PetscObjectReference((PetscObject)A));
  p->A = A;
  PetscCall(MatCreateVecs(A, &p->scale, &p->scaled));
  PetscCall(VecSet(p->scale, 1));
  PetscCall(PetscObjectGetComm((PetscObject)A, &comm));
  PetscCall(MatGetLocalSize(A, &n, NULL));
  PetscCall(MatGetSize(A, &N, NULL));
  PetscCall(MatCreateShell(comm, n, n, N, N, p, B));
  PetscCall(MatShellSetOperation(*B, MATOP_MULT, (void (*)(void))MatMult_Preconditioned));
  PetscCall(MatShellSetOperation(*B, MATOP_MULT_TRANSPOSE, (void (*)(void))MatMult_Preconditioned));
  PetscCall(MatShellSetOperation(*B, MATOP_DESTROY, (void (*)(void))MatDestroy_Preconditioned));
  PetscCall(MatSetOption(*B, MAT_SYMMETRIC, PETSC_TRUE));
  PetscCall(MatSetOption(*B, MAT_SYMMETRY_ETERNAL, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantPreconditionedSetDiagonal - P, of positive numbers (infinite: a weight that does not move). */
PetscErrorCode CourantPreconditionedSetDiagonal(Mat B, Vec P)
{
  Preconditioned *p;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(B, &p));
  PetscCall(VecCopy(P, p->scale));
  PetscCall(VecSqrtAbs(p->scale));
  PetscCall(VecReciprocal(p->scale));
  PetscFunctionReturn(PETSC_SUCCESS);
}
