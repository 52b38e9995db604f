#pragma once
/* Labels that are classes 0 .. outputs-1. */
#include "net/layer.h"
#include <math.h>

static inline PetscBool IsClass(PetscInt outputs, double label)
{
  return label >= 0 && label < (double)outputs && label == floor(label) ? PETSC_TRUE : PETSC_FALSE;
}

/* Is p[k] the first of the largest of p [n]? Never where numbers are NaN. */
static inline PetscBool IsFirstLargest(PetscInt n, const double *p, PetscInt k)
{
  PetscInt below = 0;

  for (PetscInt i = 0; i < n; i++) below += i < k ? p[i] < p[k] : p[i] <= p[k];
  return below == n ? PETSC_TRUE : PETSC_FALSE;
}
