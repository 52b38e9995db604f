/* Softplus: f(u) = log(1 + e^u) = max(u, 0) + log(1 + e^-|u|), whose slope is the sigmoid. */
#include "net/layers/plain.h"
#include "net/layers/sigmoid.h"

static inline void Value(vec u, const void *options, vec d[COURANT_DERIVATIVES])
{
  const SigmoidValues v = Sigmoid(u);

  (void)options;
  d[0] = Select(u < 0, Splat(0), u) + Log1p(v.q);
  for (int k = 1; k < COURANT_DERIVATIVES; k++) d[k] = v.s[k - 1];
}

COURANT_POINTWISE_LAYER(Value)

COURANT_LAYER(softplus) = {
    .name = "softplus",
    .help = "log(1 + exp(u)), exact everywhere",
    .examples = examples,
    .keys = keys,
    .Space = Space,
    COURANT_POINTWISE_OPS,
};
