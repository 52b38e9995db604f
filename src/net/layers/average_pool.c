/* Mean over windows: y(z) = 1/(kh kw) sum of x over the window of z. */
#include "net/layers/pool.h"

typedef struct {
  real *x, *y; /* of a sample; values, or gradients by them */
  real weight;
} Arrays;

static inline void Gather(int c, ptrdiff_t in, ptrdiff_t out, PetscBool first, void *context)
{
  const Arrays *a = (const Arrays *)context;

  for (int j = 0; j < c; j++) a->y[out + j] = (first ? 0 : a->y[out + j]) + a->weight * a->x[in + j];
}

static inline void Spread(int c, ptrdiff_t in, ptrdiff_t out, PetscBool first, void *context)
{
  const Arrays *a = (const Arrays *)context;

  (void)first;
  for (int j = 0; j < c; j++) a->x[in + j] += a->weight * a->y[out + j];
}

static real Weight(const CourantLayer *layer)
{
  const Pool *pool = (const Pool *)layer->options;
  return 1 / (real)(pool->size[0] * pool->size[1]);
}

static void Forward(const CourantLayerCall *call)
{
  const CourantLayer *layer = call->layer;

  for (int k = call->from; k <= call->order; k++)
    for (int sample = 0; sample < call->n; sample++) {
      Arrays a = {PoolSample(&call->x, layer->in, k, sample), PoolSample(&call->y, layer->out, k, sample),
                  Weight(layer)};
      PoolWalk(layer, Gather, &a);
    }
}

static void Backward(const CourantLayerCall *call)
{
  const CourantLayer *layer = call->layer;

  for (int k = call->from; call->dx.c[0] && k <= call->order; k++)
    for (int sample = 0; sample < call->n; sample++) {
      Arrays a = {PoolSample(&call->dx, layer->in, k, sample), PoolSample(&call->dy, layer->out, k, sample),
                  Weight(layer)};
      memset(a.x, 0, sizeof(real) * CourantShapeSize(layer->in));
      PoolWalk(layer, Spread, &a);
    }
}

COURANT_LAYER(average_pool) = {
    .name = "average_pool",
    .help = "mean over windows, per channel",
    .examples = examples,
    .keys = keys,
    .options_size = sizeof(Pool),
    .linear = PETSC_TRUE,
    .SetUp = SetUp,
    .Forward = Forward,
    .Backward = Backward,
};
