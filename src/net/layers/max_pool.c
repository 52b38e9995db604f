/*
  Maximum over windows: y(z) = x(i(z)), i(z) the first place, in row order, of the largest x in the window of
  z.

  The places of the primal, in the input of their sample, serve all coefficients: y_k(z) = x_k(i(z)).
*/
#include "net/layers/pool.h"

static void Space(const CourantLayer *layer, int order, CourantLayerSpace *space)
{
  (void)order;
  space->primal = CourantShapeSize(layer->out); /* integers as wide as a real */
}

typedef struct {
  const real *x;
  real *y;
  integer *place;
} Arrays;

/* NaN is taken as larger than any number, so that it comes through. */
static inline void Compare(int c, ptrdiff_t in, ptrdiff_t out, PetscBool first, void *context)
{
  const Arrays *a = (const Arrays *)context;
  const real *restrict x = a->x + in;
  real *restrict y = a->y + out;
  integer *restrict place = a->place + out;
  const integer from = (integer)in;

  for (int j = 0; j < c; j++) {
    const integer stay = !first & (x[j] <= y[j] || y[j] != y[j]);
    place[j] = stay ? place[j] : from + (integer)j;
    y[j] = stay ? y[j] : x[j];
  }
}

static void Forward(const CourantLayerCall *call)
{
  const CourantLayer *layer = call->layer;
  const size_t size = CourantShapeSize(layer->out);

  for (int sample = 0; sample < call->n; sample++) {
    Arrays a = {PoolSample(&call->x, layer->in, 0, sample), PoolSample(&call->y, layer->out, 0, sample),
                (integer *)call->primal + (size_t)sample * size};
    if (call->from == 0) PoolWalk(layer, Compare, &a);
    for (int k = call->from ? call->from : 1; k <= call->order; k++) {
      const real *x = PoolSample(&call->x, layer->in, k, sample);
      real *y = PoolSample(&call->y, layer->out, k, sample);
      for (size_t i = 0; i < size; i++) y[i] = x[a.place[i]];
    }
  }
}

static void Backward(const CourantLayerCall *call)
{
  const CourantLayer *layer = call->layer;
  const size_t size = CourantShapeSize(layer->out);

  for (int k = call->from; call->dx.c[0] && k <= call->order; k++)
    for (int sample = 0; sample < call->n; sample++) {
      const integer *place = (const integer *)call->primal + (size_t)sample * size;
      const real *dy = PoolSample(&call->dy, layer->out, k, sample);
      real *dx = PoolSample(&call->dx, layer->in, k, sample);
      memset(dx, 0, sizeof(real) * CourantShapeSize(layer->in));
      for (size_t i = 0; i < size; i++) dx[place[i]] += dy[i];
    }
}

COURANT_LAYER(max_pool) = {
    .name = "max_pool",
    .help = "maximum over windows, per channel",
    .examples = examples,
    .keys = keys,
    .options_size = sizeof(Pool),
    .kinked = PETSC_TRUE,
    .SetUp = SetUp,
    .Space = Space,
    .Forward = Forward,
    .Backward = Backward,
};
