#pragma once
/* The symbol of a one-layer network, for the command that shows all of it. */
#include "dynamics/problem.h"
#include "net/treesum.h"

/* Functions of frequency: weight / n sum_i c_i |I_i^(w)|^2, weight 1/M or 1, with these c_i. */
typedef enum {
  COURANT_SYMBOL_POWER, /* 1 */
  COURANT_SYMBOL_MEAN,  /* (s_i - y_i) r'', its mean over the pixels: what all of them have at K = 0 */
  COURANT_SYMBOL_UPPER, /* what bounds the operator from above */
  COURANT_SYMBOL_LOWER, /* and from below */
  COURANT_SYMBOLS,
} CourantSymbolKind;

struct _CourantSymbol {
  CourantProblem problem; /* borrowed */
  PetscReal weight;       /* 1/M or 1, as the network's last layer has it */
  PetscBool mean;         /* it is 1/M */
  PetscBool circular;     /* frequencies live on the grid of the image */
  PetscBool complete;     /* the operator sums over every shift of the image */
  PetscBool quiet;        /* no progress bar */
  PetscInt kernel[2];
  int grid[2];   /* size of the transforms */
  int stride;    /* of the coarse grid in them: that of the periodic operator the data fit into */
  size_t points; /* of a function: [grid[0],grid[1]/2+1] */
  double *sums;  /* [COURANT_SYMBOLS,points], and the rank-one part's bound */
  CourantSymbolBounds bounds;
};

PetscBool CourantSymbolApplies(CourantProblem);
const double *CourantSymbolValues(CourantSymbol, CourantSymbolKind);
double CourantSymbolMemory(CourantSymbol);
