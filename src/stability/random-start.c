#include "stability/random-start.h"

/* CourantSetNormal - Normal random numbers, the same however a vector is distributed; x: overwritten. */
PetscErrorCode CourantSetNormal(Vec x, CourantRandom stream)
{
  PetscInt first, last, n;
  PetscScalar *array;
  double *values;

  PetscFunctionBeginUser;
  PetscCall(VecGetSize(x, &n));
  PetscCall(VecGetOwnershipRange(x, &first, &last));
  PetscCall(PetscMalloc1(n, &values));
  CourantRandomNormal(stream, n, values);
  PetscCall(VecGetArrayWrite(x, &array));
  PetscCall(PetscArraycpy(array, values + first, last - first));
  PetscCall(VecRestoreArrayWrite(x, &array));
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSetRandomStart - A start that depends on nothing but its purpose and index, so that a solve repeats
  whatever came before it. start: of the operator's layout, overwritten.
*/
PetscErrorCode CourantSetRandomStart(EPS eps, Vec start, CourantRandomPurpose purpose, uint32_t index)
{
  const CourantRandom stream = {.seed = 1, .purpose = purpose, .index = index};
  BV bv;
  PetscRandom random;

  PetscFunctionBeginUser;
  PetscCall(CourantSetNormal(start, stream));
  PetscCall(EPSSetInitialSpace(eps, 1, &start));
  PetscCall(EPSGetBV(eps, &bv)); /* draws another start when the Krylov space is invariant */
  PetscCall(BVGetRandomContext(bv, &random));
  PetscCall(PetscRandomSetSeed(random, 0x5eed + index + ((unsigned long)purpose << 32)));
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
