#pragma once
/* Memory: the budget of the node, and aligned buffers for the kernels. */
#include "core/error.h"

#define COURANT_ALIGNMENT 64 /* bytes: a cache line and an AVX-512 register */

PetscErrorCode CourantMemoryBudget(MPI_Comm comm, const char *text, double *bytes);
PetscErrorCode CourantAllocate(size_t bytes, void *pointer);
void CourantFree(void *pointer);
