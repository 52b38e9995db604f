/* Hyperbolic tangent: f(u) = 2 s(2u) - 1 with s the sigmoid, so that f^(k)(u) = 2^(k+1) s^(k)(2u). */
#include "net/layers/plain.h"
#include "net/layers/sigmoid.h"

static inline void Value(vec u, const void *options, vec d[COURANT_DERIVATIVES])
{
  const SigmoidValues v = Sigmoid(2 * u);

  (void)options;
  d[0] = -v.t;
  for (int k = 1; k < COURANT_DERIVATIVES; k++) d[k] = (real)(2 << k) * v.s[k];
}

COURANT_POINTWISE_LAYER(Value)

COURANT_LAYER(tanh) = {
    .name = "tanh",
    .help = "hyperbolic tangent",
    .examples = examples,
    .keys = keys,
    .Space = Space,
    COURANT_POINTWISE_OPS,
};
