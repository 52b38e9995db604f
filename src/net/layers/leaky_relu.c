/* Leaky rectifier (Maas, Hannun, Ng 2013): f(u) = u where u > 0, else slope u; f'(0) = slope. */
#include "jet/pointwise.h"

typedef struct {
  double slope;
} LeakyRelu;

static const CourantKey keys[] = {
    {"slope", COURANT_KEY_REAL, offsetof(LeakyRelu, slope), "0.01", -1e6, 1e6, .help = "slope for u <= 0"},
    {0},
};

static const char *const examples[] = {"{}", "{slope: 0.3}", NULL};

static inline vec Branch(vec u, const void *options, vec v)
{
  return Select(u > 0, v, (real)((const LeakyRelu *)options)->slope * v);
}

COURANT_PIECEWISE_LINEAR_LAYER(Branch)

COURANT_LAYER(leaky_relu) = {
    .name = "leaky_relu",
    .help = "u where u > 0, else slope u",
    .examples = examples,
    .keys = keys,
    .options_size = sizeof(LeakyRelu),
    .kinked = PETSC_TRUE,
    COURANT_POINTWISE_OPS,
};
