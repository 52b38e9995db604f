#pragma once
/* What a layer or loss is called with; in the working precision of the variant. */
#include "jet/jet.h"
#include "net/layer.h"

/* One call of a layer for n consecutive samples. Arrays start on a cache line and have a vector of slack. */
struct CourantLayerCall {
  const CourantLayer *layer;
  void *prepared;    /* what Prepare() made */
  int n;             /* samples */
  int from, order;   /* Taylor coefficients to compute; those below `from` are there already */
  int reserve;       /* the highest order that calls on this primal will ask for */
  Jet x, y;          /* [n, in], [n, out] */
  Jet dx, dy;        /* gradients of the objective by x and y; dx.c[0] is NULL where none is wanted */
  Jet other, dother; /* the second input and the gradient by it, of residual; dother.c[0] may be NULL */
  Jet w;             /* packed weights; degree 1 at most */
  real *dw[COURANT_ORDER_MAX +
           1];  /* gradient by the parameters, [space.gradient]: added to; NULL: not wanted */
  real *primal; /* [n, space.primal] */
  real *state[COURANT_ORDER_MAX + 1];         /* [n, space.state] */
  real *scratch;                              /* [space.scratch] */
  double *shared[COURANT_ORDER_MAX + 1];      /* [space.shared], what the samples of a group have in common */
  double *shared_back[COURANT_ORDER_MAX + 1]; /* the same arrays, by the coefficients of dy */
};

/* One call of a loss. */
struct CourantLossCall {
  int n, outputs, width;
  int from, order;
  const double *labels; /* [n,width]: a class, or targets [n,outputs] */
  Jet p, dp;            /* [n, outputs] */
  double scale;         /* 1 / number of samples of the whole data set */
  double *loss;         /* [order+1] */
};

#define COURANT_LAYER(name) const CourantLayerOps COURANT_VARIANT(CourantLayer_##name)
#define COURANT_LOSS(name)  const CourantLossOps COURANT_VARIANT(CourantLoss_##name)
