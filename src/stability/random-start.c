#include "stability/random-start.h"
#include "core/random.h"

/*
  CourantSetRandomStart - A start that depends on nothing but its index, so that a solve repeats whatever came
  before it. start: of the operator's layout, overwritten.
*/
PetscErrorCode CourantSetRandomStart(EPS eps, Vec start, uint32_t index)
{
  const CourantRandom stream = {.seed = 1, .purpose = COURANT_RANDOM_KRYLOV, .index = index};
  PetscInt first, last, n;
  PetscScalar *array;
  double *values;
  BV bv;
  PetscRandom random;

  PetscFunctionBeginUser;
  PetscCall(VecGetSize(start, &n));
  PetscCall(VecGetOwnershipRange(start, &first, &last));
  PetscCall(PetscMalloc1(n, &values));
  CourantRandomNormal(stream, n, values);
  PetscCall(VecGetArrayWrite(start, &array));
  for (PetscInt i = first; i < last; i++) array[i - first] = values[i];
  PetscCall(VecRestoreArrayWrite(start, &array));
  PetscCall(PetscFree(values));
  PetscCall(EPSSetInitialSpace(eps, 1, &start));
  PetscCall(EPSGetBV(eps, &bv)); /* draws another start when the Krylov space is invariant */
  PetscCall(BVGetRandomContext(bv, &random));
  PetscCall(PetscRandomSetSeed(random, 0x5eed + index));
  PetscCall(PetscRandomSeed(random));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMissedProbability - A bound of the probability that after so many Lanczos steps from a random start,
  in n dimensions, the largest Ritz value is below the largest eigenvalue by more than a share of the
  spectrum's length: 1.648 sqrt(n) exp(-sqrt(share) (2 steps - 1)).

  Source: Kuczynski and Wozniakowski (1992), theorem 4.
*/
PetscReal CourantMissedProbability(PetscInt n, PetscInt steps, PetscReal share)
{
  if (steps >= n) return 0;
  const PetscReal exponent = -PetscSqrtReal(share) * (2. * (PetscReal)steps - 1);
  return PetscMin(1, 1.648 * PetscSqrtReal((PetscReal)n) * PetscExpReal(exponent));
}
