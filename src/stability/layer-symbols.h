#pragma once
/* Von Neumann's analysis of deep networks, layer by layer. */
#include "stability/cross-spectrum.h"
#include "stability/curvature.h"

typedef enum {
  COURANT_BOUND_HOLDS,
  COURANT_BOUND_OPEN,   /* a solver did not converge */
  COURANT_BOUND_BROKEN, /* the exact value lies above it: the analysis is wrong */
} CourantBoundStatus;

typedef struct {
  PetscInt layer; /* index in the net */
  CourantCurvature curvature;
  CourantCrossSpectrum spectrum;
  CourantExtreme exact; /* of the block of the Hessian for the layer's parameters */
} CourantLayerSymbol;

typedef struct {
  PetscInt n; /* layers with parameters */
  CourantLayerSymbol *layers;
  CourantExtreme whole; /* of the Hessian */
} CourantLayerSymbols;

PetscBool CourantLayerSymbolsApply(CourantNet);
PetscErrorCode CourantLayerSymbolsCreate(CourantProblem, Vec theta, PetscBool quiet, CourantLayerSymbols *);
PetscErrorCode CourantLayerSymbolsDestroy(CourantLayerSymbols *);
double CourantLayerSymbolBound(const CourantLayerSymbol *);
CourantBoundStatus CourantLayerSymbolStatus(const CourantLayerSymbol *);
