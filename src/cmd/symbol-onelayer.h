#pragma once
/* A one-layer network's analysis: how it is made (symbol-onelayer.c), written and told
   (symbol-onelayer-result.c). */
#include "cmd/symbol.h"

enum { TOP, BOTTOM, ENDS };
enum {
  BOUND,
  CIRCULANT,
  FROZEN,
  EXACT,
  SOURCES
}; /* what is known of the Hessian's spectrum, from four sides */
enum { LAMBDA_MAX, LAMBDA_MIN, ALPHA_MIN, ALPHA_MAX, LIMIT, QUANTITIES };
enum { AMPLIFICATION = COURANT_SYMBOLS, FUNCTIONS }; /* of frequency */

typedef struct {
  double value, error;
} Number;

typedef struct {
  CourantSymbolSession *session;
  CourantSymbol symbol;
  CourantSymbolBounds bounds;
  CourantExtreme extremes[2][ENDS]; /* of the frozen operator and of the exact one */
  double norm[2];
  double *kernels[2][ENDS]; /* [p] each */
  Number numbers[SOURCES][QUANTITIES];
  double slack[2];     /* of the bound and of the periodic one */
  int end;             /* where the symbol is largest in size */
  int size[2];         /* of the datasets over frequency */
  double *frequencies; /* y, then x */
  double *functions;   /* [FUNCTIONS,size[0],size[1]] */
} OneLayerAnalysis;

PetscBool OneLayerIsActive(int end, double value, double error);
PetscErrorCode OneLayerReport(const OneLayerAnalysis *);
