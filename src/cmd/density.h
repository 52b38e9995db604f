#pragma once
/* The spectral density of an operator, as part of a command: its option, numbers and datasets. */
#include "cmd/command.h"
#include "cmd/result.h"
#include "courant.h"

#define COURANT_DENSITY_OPTIONS                                                                              \
  {"-density", NULL, "the density of all eigenvalues, trace, Frobenius norm and log determinant"},           \
      {"-density_probes", "N", "random vectors it is averaged over (default: 8)"},                           \
      {"-density_steps", "N", "Lanczos steps from each, and vectors in memory (default: 80)"},               \
  {                                                                                                          \
    "-density_width", "W", "standard deviation of its kernel (default: the narrowest the steps resolve)"     \
  }

/* What is known of an operator A when its density is reported. */
typedef struct {
  PetscReal shift;     /* the determinant is of A + shift */
  PetscReal lowest;    /* lower bound of A's eigenvalues; NaN: not known */
  PetscReal threshold; /* eigenvalues above it are counted; NaN: none are */
} CourantDensityFacts;

PetscErrorCode CourantDensityOpen(Mat A, PetscReal memory, CourantDensity *);
PetscErrorCode CourantReportDensity(CourantDensity, const CourantDensityFacts *, CourantOutput *);
