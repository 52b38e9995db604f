/*
  bits DECK [-threads n] [-memory amount] - Loss, gradient and Hessian product of a deck's problem over all
  ranks, as hexadecimal bits.

  The output is the same whatever the number of ranks, threads and the memory budget.
*/
#include "courant.h"
#include "core/error.h"
#include <string.h>

/* FNV-1a over the bytes of a vector's local part, folded over the ranks in order. */
static PetscErrorCode Hash(Vec v, uint64_t *hash)
{
  const PetscScalar *array;
  PetscInt n;
  PetscMPIInt rank, size;
  Vec all;
  VecScatter scatter;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCall(VecScatterCreateToZero(v, &scatter, &all));
  PetscCall(VecScatterBegin(scatter, v, all, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterEnd(scatter, v, all, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecGetLocalSize(all, &n));
  PetscCall(VecGetArrayRead(all, &array));
  *hash = 0xcbf29ce484222325ull;
  for (size_t i = 0; i < (size_t)n * sizeof *array; i++)
    *hash = (*hash ^ ((const unsigned char *)array)[i]) * 0x100000001b3ull;
  PetscCall(VecRestoreArrayRead(all, &array));
  PetscCall(VecScatterDestroy(&scatter));
  PetscCall(VecDestroy(&all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(const char *file)
{
  CourantDeck deck;
  CourantProblem problem;
  Vec theta, gradient, product;
  PetscReal loss;
  uint64_t bits, hashes[2];
  Mat H;

  PetscFunctionBeginUser;
  PetscCall(CourantDeckLoad(PETSC_COMM_WORLD, file, NULL, &deck));
  PetscCall(CourantProblemCreate(PETSC_COMM_WORLD, deck, &problem));
  PetscCall(CourantProblemSetFromOptions(problem));
  PetscCall(CourantProblemSetUp(problem));
  PetscCall(CourantProblemCreateVec(problem, &theta));
  PetscCall(VecDuplicate(theta, &gradient));
  PetscCall(VecDuplicate(theta, &product));
  PetscCall(CourantProblemGetInitialState(problem, theta));
  PetscCall(CourantProblemSetState(problem, theta, &loss, gradient));
  PetscCall(CourantProblemCreateHessian(problem, &H));
  PetscCall(CourantHessianSetWeightDecay(H, 0.3));
  PetscCall(MatMult(H, theta, product));
  PetscCall(Hash(gradient, &hashes[0]));
  PetscCall(Hash(product, &hashes[1]));
  memcpy(&bits, &loss, sizeof bits);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%016llx %016llx %016llx\n", (unsigned long long)bits,
                        (unsigned long long)hashes[0], (unsigned long long)hashes[1]));
  PetscCall(MatDestroy(&H));
  PetscCall(VecDestroy(&theta));
  PetscCall(VecDestroy(&gradient));
  PetscCall(VecDestroy(&product));
  PetscCall(CourantProblemDestroy(&problem));
  PetscCall(CourantDeckDestroy(&deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode code = SlepcInitialize(&argc, &argv, NULL, NULL);
  if (!code) code = PetscPushErrorHandler(CourantErrorHandler, NULL);
  if (!code && argc > 1) code = Run(argv[1]);
  if (code) CourantErrorExit(code);
  (void)SlepcFinalize();
  return CourantExitStatus(code);
}
