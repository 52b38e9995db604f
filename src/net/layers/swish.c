/* Swish (Ramachandran, Zoph, Le 2017; SiLU for beta 1): f(u) = u s, s = 1 / (1 + e^(-beta u)). */
#include "jet/pointwise.h"

typedef struct {
  double beta;
} Swish;

static const CourantKey keys[] = {
    {"beta", COURANT_KEY_REAL, offsetof(Swish, beta), "1", -1e6, 1e6, .help = "slope of the sigmoid"},
    {0},
};

static const char *const examples[] = {"{}", "{beta: 1.7}", NULL};

static PetscErrorCode SetUp(CourantLayer *layer)
{
  PetscFunctionBeginUser;
  layer->out = layer->in;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  With c = 1 - s = s e^(-beta u), which loses nothing where s is near 1, and t = c - s: s' = beta s c, s'' =
  beta s' t, s''' = beta (s'' t - 2 s'^2), s'''' = beta (s''' t - 6 s' s''); f^(k) = u s^(k) + k s^(k-1).
*/
static inline void Value(vec u, const void *options, vec d[COURANT_DERIVATIVES])
{
  const vec beta = Splat((real)((const Swish *)options)->beta);
  const vec e = Exp(-(beta * u)), s = 1 / (1 + e), c = s * e, t = c - s;
  const vec s1 = beta * (s * c), s2 = beta * (s1 * t), s3 = beta * Madd(s2, t, -2 * (s1 * s1));
  const vec s4 = beta * Madd(s3, t, -6 * (s1 * s2));

  d[0] = u * s;
  d[1] = Madd(u, s1, s);
  d[2] = Madd(u, s2, 2 * s1);
  d[3] = Madd(u, s3, 3 * s2);
  d[4] = Madd(u, s4, 4 * s3);
}

COURANT_POINTWISE_LAYER(Value)

COURANT_LAYER(swish) = {
    .name = "swish",
    .help = "u / (1 + exp(-beta u))",
    .examples = examples,
    .keys = keys,
    .options_size = sizeof(Swish),
    .bounded_slope = PETSC_TRUE,
    .SetUp = SetUp,
    .Space = Space,
    .Forward = Forward,
    .Backward = Backward,
};
