#pragma once
/* courant symbol on a linear PDE: what its parts share. */
#include "cmd/symbol.h"
#include "dynamics/linear.h"
#include "pde/equation.h"
#include "stability/gridmatrix.h"

typedef struct {
  CourantScheme scheme;
  CourantEquation equation; /* NULL: the terms have no limit */
  CourantOutput output;
  CourantStepper stepper;
  PetscBool one_step, periodic;
  CourantVonNeumann analysis;
  CourantStabilityRegion region;
  EPS eps[2]; /* of large matrices; NULL: not needed */
  PetscInt nx, n;
  double *frequency[2];                /* y, x */
  CourantAmplification *amplification; /* [ny,nx] */
  CourantStepLimit limit;
  CourantGridMatrix matrix;
} SymbolPdeSession;

PetscErrorCode SymbolPdeWrite(const SymbolPdeSession *);
PetscErrorCode SymbolPdePrint(const SymbolPdeSession *);
PetscBool SymbolPdePrintLimit(const CourantStepLimit *);
PetscErrorCode SymbolPdeSolveMatrix(SymbolPdeSession *);
