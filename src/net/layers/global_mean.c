#include "net/layers/globalpool.h"

static void Forward(const CourantLayerCall *call)
{
  GlobalForward(call, 1 / (real)(call->layer->in.h * call->layer->in.w));
}

static void Backward(const CourantLayerCall *call)
{
  GlobalBackward(call, 1 / (real)(call->layer->in.h * call->layer->in.w));
}

COURANT_LAYER(global_mean) = {
    .name = "global_mean",
    .help = "mean over height and width, per channel",
    .examples = examples,
    .keys = keys,
    .linear = PETSC_TRUE,
    .SetUp = SetUp,
    .Forward = Forward,
    .Backward = Backward,
};
