/* Swish (Ramachandran, Zoph, Le 2017; SiLU for beta 1): f(u) = u s, s = 1 / (1 + e^(-beta u)). */
#include "net/layers/sigmoid.h"

typedef struct {
  double beta;
} Swish;

static const CourantKey keys[] = {
    {"beta", COURANT_KEY_REAL, offsetof(Swish, beta), "1", -1e6, 1e6, .help = "slope of the sigmoid"},
    {0},
};

static const char *const examples[] = {"{}", "{beta: 1.7}", NULL};

/* f^(k) = u S^(k) + k S^(k-1) with S(u) = s(beta u), whose derivatives are beta^k s^(k). */
static inline void Value(vec u, const void *options, vec d[COURANT_DERIVATIVES])
{
  const vec beta = Splat((real)((const Swish *)options)->beta);
  const SigmoidValues v = Sigmoid(beta * u);
  vec power = Splat(1), s = v.s[0];

  d[0] = u * s;
  for (int k = 1; k < COURANT_DERIVATIVES; k++) {
    const vec below = s;
    power *= beta;
    s = power * v.s[k];
    d[k] = Madd(u, s, (real)k * below);
  }
}

COURANT_POINTWISE_LAYER(Value)

COURANT_LAYER(swish) = {
    .name = "swish",
    .help = "u / (1 + exp(-beta u))",
    .examples = examples,
    .keys = keys,
    .options_size = sizeof(Swish),
    .Space = Space,
    COURANT_POINTWISE_OPS,
};
