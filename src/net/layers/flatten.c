/* The input as one pixel of h w c channels, in PyTorch's order c, h, w. */
#include "net/layerops.h"
#include "net/layers/plain.h"

static PetscErrorCode SetUp(CourantLayer *layer)
{
  PetscFunctionBeginUser;
  layer->out = (CourantShape){1, 1, layer->in.h * layer->in.w * layer->in.c};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Matrices [rows,columns] of n samples to [columns,rows]. */
static void Transpose(int n, size_t rows, size_t columns, const real *from, real *to)
{
  for (; n > 0; n--, from += rows * columns, to += rows * columns)
    for (size_t j = 0; j < columns; j++)
      for (size_t i = 0; i < rows; i++) to[j * rows + i] = from[i * columns + j];
}

static void Forward(const CourantLayerCall *call)
{
  const CourantShape in = call->layer->in;

  for (int k = call->from; k <= call->order; k++)
    Transpose(call->n, (size_t)(in.h * in.w), (size_t)in.c, call->x.c[k], call->y.c[k]);
}

static void Backward(const CourantLayerCall *call)
{
  const CourantShape in = call->layer->in;

  for (int k = call->from; call->dx.c[0] && k <= call->order; k++)
    Transpose(call->n, (size_t)in.c, (size_t)(in.h * in.w), call->dy.c[k], call->dx.c[k]);
}

COURANT_LAYER(flatten) = {
    .name = "flatten",
    .help = "one pixel of all numbers, in the order channel, row, column",
    .examples = examples,
    .keys = keys,
    .linear = PETSC_TRUE,
    .SetUp = SetUp,
    .Forward = Forward,
    .Backward = Backward,
};
