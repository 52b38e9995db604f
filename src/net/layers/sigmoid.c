/* Sigmoid: f(u) = 1 / (1 + e^-u). */
#include "net/layers/plain.h"
#include "net/layers/sigmoid.h"

static inline void Value(vec u, const void *options, vec d[COURANT_DERIVATIVES])
{
  const SigmoidValues v = Sigmoid(u);

  (void)options;
  for (int k = 0; k < COURANT_DERIVATIVES; k++) d[k] = v.s[k];
}

COURANT_POINTWISE_LAYER(Value)

COURANT_LAYER(sigmoid) = {
    .name = "sigmoid",
    .help = "1 / (1 + exp(-u))",
    .examples = examples,
    .keys = keys,
    .Space = Space,
    COURANT_POINTWISE_OPS,
};
