#pragma once
/* The supremum of a real, even trigonometric polynomial in two frequencies that is known on a grid. */
#include "core/error.h"
#include "courant.h"

PetscErrorCode CourantGridPeak(const int grid[2], int stride, const double values[], CourantSymbolPeak *);
PetscErrorCode CourantPolynomialPeak(const int grid[2], const int degree[2], const double values[],
                                     CourantSymbolPeak *);
