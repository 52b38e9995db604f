#pragma once
/*
  Jets: truncated Taylor series in e over arrays, x(e) = x_0 + e x_1 + .. + e^m x_m.

  With the weights theta + e v, a network run forward and backward on jets gives loss and gradient along the
  line with all their derivatives: grad L(theta + e v) = g + e H v + e^2/2 D^3 L[v,v,.] + e^3/6 D^4
  L[v,v,v,.]. An operation is told which coefficients to compute, from..order; lower ones are already there.
  So the primal (coefficient 0) is computed once and serves any number of directions.
*/
#include "jet/vector.h"
#include "net/order.h"

typedef struct {
  real *c[COURANT_ORDER_MAX + 1]; /* coefficients; entries above the order in use are undefined */
  int degree;                     /* coefficients above are zero: their arrays, where present, hold zeros */
} Jet;

/* The longest derivative list a pointwise function is asked for: f .. f'''' */
#define COURANT_DERIVATIVES (COURANT_ORDER_MAX + 2)

void COURANT_VARIANT(CourantJetCompose)(int n, int from, int order, const real *const d[], const Jet *x,
                                        const Jet *y);
void COURANT_VARIANT(CourantJetChain)(int n, int from, int order, const real *const d[], const Jet *x,
                                      const Jet *dy, const Jet *dx);
void COURANT_VARIANT(CourantJetChainFirst)(int n, int from, int order, const real *slope, real *bend,
                                           const Jet *x, const Jet *dy, const Jet *dx);
real COURANT_VARIANT(CourantSum)(int n, const real *x);
#define CourantJetCompose    COURANT_VARIANT(CourantJetCompose)
#define CourantJetChain      COURANT_VARIANT(CourantJetChain)
#define CourantJetChainFirst COURANT_VARIANT(CourantJetChainFirst)
#define CourantSum           COURANT_VARIANT(CourantSum)
