#include "net/layers/globalpool.h"

static void Forward(const CourantLayerCall *call)
{
  GlobalForward(call, 1);
}

static void Backward(const CourantLayerCall *call)
{
  GlobalBackward(call, 1);
}

COURANT_LAYER(global_sum) = {
    .name = "global_sum",
    .help = "sum over height and width, per channel",
    .examples = examples,
    .keys = keys,
    .linear = PETSC_TRUE,
    .SetUp = SetUp,
    .Forward = Forward,
    .Backward = Backward,
};
