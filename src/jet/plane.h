#pragma once
/* Direct correlation of planes (one channel of one image), the kernel of small convolutions. */
#include "jet/jet.h"

/*
  Columns a plane needs beyond its own so that whole vectors
  may be read: round its width up to VL and add this.
*/
#define PLANE_SLACK VL

/* One product of a sum: an input plane with a kernel, or an input plane with an output plane. */
typedef struct {
  const real *x; /* [ho+kh-1, ldx], finite up to column ldx */
  const real *w; /* kernel [kh,kw], or the gradient of the output, [ho,ldy] with zeros from column wo on */
} PlaneTerm;

void COURANT_VARIANT(CourantPlaneCorrelate)(int nterms, const PlaneTerm terms[], int ldx, int kh, int kw,
                                            int ho, int wo, real *y, int ldy, int add);
void COURANT_VARIANT(CourantPlaneWeights)(int nterms, const PlaneTerm terms[], int ldx, int ldy, int kh,
                                          int kw, int ho, int wo, real *dw);
#define CourantPlaneCorrelate COURANT_VARIANT(CourantPlaneCorrelate)
#define CourantPlaneWeights   COURANT_VARIANT(CourantPlaneWeights)
