#pragma once
/*
  Activations: a layer from one inline function.

  COURANT_POINTWISE_LAYER(Function) defines Forward(), Backward() and Space() of a layer file from
  `static inline void Function(vec u, const void *options, vec d[COURANT_DERIVATIVES])`, which gives f(u),
  f'(u), .. f''''(u); those that the order in use does not need are left out by the compiler.

  COURANT_PIECEWISE_LINEAR_LAYER(Branch) defines Forward() and Backward() from
  `static inline vec Branch(vec u, const void *options, vec v)`, which gives f'(u) v, and so f(u) for v = u.
  Every coefficient goes through the branch that the primal takes; no derivative is kept.

  SetUp is PointwiseSetUp().
*/
#include "net/layerops.h"

#define COURANT_POINTWISE_LAYER(Function)                                                                    \
  static inline __attribute__((always_inline)) void Derivatives(int n, int highest, const void *options,     \
                                                                const real *x, real *y, real *const d[])     \
  {                                                                                                          \
    for (int i = 0; i < n; i += VL) {                                                                        \
      vec value[COURANT_DERIVATIVES];                                                                        \
      Function(Load(x + i), options, value);                                                                 \
      Store(y + i, value[0]);                                                                                \
      for (int k = 1; k <= highest; k++) Store(d[k] + i, value[k]);                                          \
    }                                                                                                        \
  }                                                                                                          \
                                                                                                             \
  static void Space(const CourantLayer *layer, int order, CourantLayerSpace *space)                          \
  {                                                                                                          \
    space->primal = (size_t)(order < 2 ? order + 1 : COURANT_ORDER_MAX + 1) * CourantShapeSize(layer->out);  \
  }                                                                                                          \
                                                                                                             \
  static void Forward(const CourantLayerCall *call)                                                          \
  {                                                                                                          \
    const int n = call->n * (int)CourantShapeSize(call->layer->out);                                         \
    real *d[COURANT_DERIVATIVES];                                                                            \
    PointwiseDerivatives(call, d);                                                                           \
    if (call->from == 0) {                                                                                   \
      const void *o = call->layer->options;                                                                  \
      if (call->reserve == 0)                                                                                \
        Derivatives(n, 1, o, call->x.c[0], d[0], d);                                                         \
      else if (call->reserve == 1)                                                                           \
        Derivatives(n, 2, o, call->x.c[0], d[0], d);                                                         \
      else                                                                                                   \
        Derivatives(n, COURANT_ORDER_MAX + 1, o, call->x.c[0], d[0], d);                                     \
    }                                                                                                        \
    if (call->order > 0)                                                                                     \
      CourantJetCompose(n, call->from ? call->from : 1, call->order, (const real *const *)d, &call->x,       \
                        &call->y);                                                                           \
  }                                                                                                          \
                                                                                                             \
  static void Backward(const CourantLayerCall *call)                                                         \
  {                                                                                                          \
    const int n = call->n * (int)CourantShapeSize(call->layer->out);                                         \
    real *d[COURANT_DERIVATIVES];                                                                            \
    PointwiseDerivatives(call, d);                                                                           \
    if (!call->dx.c[0]) return;                                                                              \
    if (call->reserve == 1)                                                                                  \
      CourantJetChainFirst(n, call->from, call->order, d[1], d[2], &call->x, &call->dy, &call->dx);          \
    else                                                                                                     \
      CourantJetChain(n, call->from, call->order, (const real *const *)d, &call->x, &call->dy, &call->dx);   \
  }

/* Where a call keeps f (the output itself), f', f'', ..: as many as its reserve asks for; f'' times dy_0 once
 * backward has been there with a reserve of 1. */
static inline void PointwiseDerivatives(const CourantLayerCall *call, real *d[COURANT_DERIVATIVES])
{
  const size_t n = ((size_t)call->n * CourantShapeSize(call->layer->out) + 15) / 16 * 16;
  d[0] = call->y.c[0];
  for (int k = 1; k < COURANT_DERIVATIVES; k++) d[k] = call->primal + (size_t)(k - 1) * n;
}

static inline PetscErrorCode PointwiseSetUp(CourantLayer *layer)
{
  PetscFunctionBeginUser;
  layer->out = layer->in;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the ops tables of all activations share. */
#define COURANT_POINTWISE_OPS                                                                                \
  .bounded_slope = PETSC_TRUE, .in_place = PETSC_TRUE, .SetUp = PointwiseSetUp, .Forward = Forward,          \
  .Backward = Backward

#define COURANT_PIECEWISE_LINEAR_LAYER(Branch)                                                               \
  static void Along(const CourantLayerCall *call, real *const in[], real *const out[])                       \
  {                                                                                                          \
    const int n = call->n * (int)CourantShapeSize(call->layer->out);                                         \
    for (int k = call->from; k <= call->order; k++)                                                          \
      for (int i = 0; i < n; i += VL)                                                                        \
        Store(out[k] + i, Branch(Load(call->x.c[0] + i), call->layer->options, Load(in[k] + i)));            \
  }                                                                                                          \
                                                                                                             \
  static void Forward(const CourantLayerCall *call)                                                          \
  {                                                                                                          \
    Along(call, call->x.c, call->y.c);                                                                       \
  }                                                                                                          \
                                                                                                             \
  static void Backward(const CourantLayerCall *call)                                                         \
  {                                                                                                          \
    if (call->dx.c[0]) Along(call, call->dy.c, call->dx.c);                                                  \
  }
