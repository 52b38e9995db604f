/* Rectifier: f(u) = max(u, 0), f'(0) = 0. */
#include "jet/pointwise.h"
#include "net/layers/plain.h"

/* Asked this way round, NaN passes. */
static inline vec Branch(vec u, const void *options, vec v)
{
  (void)options;
  return Select(u <= 0, Splat(0), v);
}

COURANT_PIECEWISE_LINEAR_LAYER(Branch)

COURANT_LAYER(relu) = {
    .name = "relu",
    .help = "max(u, 0)",
    .examples = examples,
    .keys = keys,
    .kinked = PETSC_TRUE,
    COURANT_POINTWISE_OPS,
};
