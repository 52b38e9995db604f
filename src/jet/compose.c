#include "jet/jet.h"

/*
  The coefficients 0..order of f(x(e)) at one vector of elements, from the derivatives f, f', .. at x_0 (Faa
  di Bruno): y_1 = f' x_1,  y_2 = f' x_2 + f''/2 x_1^2,  y_3 = f' x_3 + f'' x_1 x_2 + f'''/6 x_1^3.
*/
static inline void Series(int order, const vec d[], const vec x[], vec y[])
{
  y[0] = d[0];
  if (order >= 1) y[1] = d[1] * x[1];
  if (order >= 2) y[2] = Madd(d[1], x[2], (real)0.5 * d[2] * (x[1] * x[1]));
  if (order >= 3) y[3] = Madd(d[1], x[3], Madd(d[2], x[1] * x[2], d[3] * (x[1] * x[1] * x[1]) / 6));
}

static inline void Compose(const int order, int n, int from, const real *const d[], const Jet *x,
                           const Jet *y)
{
  for (int i = 0; i < n; i += VL) {
    vec dv[COURANT_DERIVATIVES], xv[COURANT_ORDER_MAX + 1], yv[COURANT_ORDER_MAX + 1];
    for (int k = 0; k <= order; k++) dv[k] = Load(d[k] + i);
    for (int k = 1; k <= order; k++) xv[k] = Load(x->c[k] + i);
    Series(order, dv, xv, yv);
    for (int k = from; k <= order; k++) Store(y->c[k] + i, yv[k]);
  }
}

/*
  CourantJetCompose - y = f(x), coefficients from..order.

  n: elements, processed in whole vectors (arrays have slack); d: the derivatives f, f', .., f^(order) at x_0,
  each [n].
*/
void CourantJetCompose(int n, int from, int order, const real *const d[], const Jet *x, const Jet *y)
{
  COURANT_BY_ORDER(Compose, order, n, from, d, x, y);
}

static inline void Chain(const int order, int n, int from, const real *const d[], const Jet *x, const Jet *dy,
                         const Jet *dx)
{
  for (int i = 0; i < n; i += VL) {
    vec dv[COURANT_DERIVATIVES], xv[COURANT_ORDER_MAX + 1], slope[COURANT_ORDER_MAX + 1],
        in[COURANT_ORDER_MAX + 1];
    for (int k = 0; k <= order; k++) dv[k] = Load(d[k + 1] + i);
    for (int k = 1; k <= order; k++) xv[k] = Load(x->c[k] + i);
    for (int k = 0; k <= order; k++) in[k] = Load(dy->c[k] + i);
    Series(order, dv, xv, slope);
    for (int k = from; k <= order; k++) {
      vec sum = slope[0] * in[k];
      for (int j = 1; j <= k; j++) sum = Madd(slope[j], in[k - j], sum);
      Store(dx->c[k] + i, sum);
    }
  }
}

/*
  CourantJetChain - dx = f'(x) dy, the chain rule backward through y = f(x), coefficients from..order.

  d: the derivatives f, f', .., f^(order+1) at x_0, each [n]; d[0] is not read.
*/
void CourantJetChain(int n, int from, int order, const real *const d[], const Jet *x, const Jet *dy,
                     const Jet *dx)
{
  COURANT_BY_ORDER(Chain, order, n, from, d, x, dy, dx);
}

/*
  CourantJetChainFirst - The same for order 1 at most, in a way that saves later calls on this primal a look
  at dy_0: where coefficient 0 is computed, bend goes from f'' to f'' dy_0, and dx_1 = f' dy_1 + (f'' dy_0)
  x_1.

  slope, bend: f' and f'' at x_0, each [n].
*/
void CourantJetChainFirst(int n, int from, int order, const real *slope, real *bend, const Jet *x,
                          const Jet *dy, const Jet *dx)
{
  for (int i = 0; i < n; i += VL) {
    const vec s = Load(slope + i);
    vec b = Load(bend + i);
    if (from == 0) {
      const vec in = Load(dy->c[0] + i);
      b = b * in;
      Store(bend + i, b);
      Store(dx->c[0] + i, s * in);
    }
    if (order > 0) Store(dx->c[1] + i, Madd(b, Load(x->c[1] + i), s * Load(dy->c[1] + i)));
  }
}

/*
  CourantSum - Sum of x [n] in an order that depends on n alone:
  four vectors of partial sums, then the lanes, then the rest.
*/
real CourantSum(int n, const real *x)
{
  vec part[4] = {{0}, {0}, {0}, {0}};
  int i = 0;

  for (; i + 4 * VL <= n; i += 4 * VL)
    for (int k = 0; k < 4; k++) part[k] += Load(x + i + k * VL);
  real sum = SumLanes((part[0] + part[1]) + (part[2] + part[3]));
  for (; i < n; i++) sum += x[i];
  return sum;
}
