#pragma once
#include "net/backend.h"

#define COURANT_LEAF 16 /* samples of a leaf of the summation tree */

PetscErrorCode CourantLayoutCreate(CourantNet, const CourantBackend *, int order, CourantLayout *);
PetscErrorCode CourantLayoutDestroy(CourantLayout *);
