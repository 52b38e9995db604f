#pragma once
/* average_pool and max_pool: windows that tile the input, channel by channel. */
#include "net/layerops.h"

typedef struct {
  PetscInt size[2], stride[2];
} Pool;

static const CourantKey keys[] = {
    {"size", COURANT_KEY_SIZE2, offsetof(Pool, size), NULL, 1, 1 << 15,
     .help = "of a window, or [height, width]"},
    {"stride", COURANT_KEY_SIZE2, offsetof(Pool, stride), "", 1, 1 << 15,
     .help = "from a window to the next, or [down, right]; size when absent"},
    {0},
};

static const char *const examples[] = {
    "{size: 3, stride: 2}", "{size: [3, 11]}", "{size: [1, 3], stride: [2, 4]}", "{size: 1}", NULL,
};

static PetscErrorCode SetUp(CourantLayer *layer)
{
  Pool *pool = (Pool *)layer->options;
  const CourantShape in = layer->in;
  const PetscInt *size = pool->size, *stride = pool->stride;

  PetscFunctionBeginUser;
  if (!stride[0]) memcpy(pool->stride, size, sizeof pool->stride);
  if (size[0] > in.h || size[1] > in.w)
    CourantNodeError(layer->node, "a %dx%d window is larger than the %dx%d input", (int)size[0], (int)size[1],
                     (int)in.h, (int)in.w);
  if ((in.h - size[0]) % stride[0] || (in.w - size[1]) % stride[1])
    CourantNodeError(layer->node, "%dx%d windows with stride %dx%d do not tile the %dx%d input", (int)size[0],
                     (int)size[1], (int)stride[0], (int)stride[1], (int)in.h, (int)in.w);
  layer->out = (CourantShape){(in.h - size[0]) / stride[0] + 1, (in.w - size[1]) / stride[1] + 1, in.c};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What is done with the pixel of a window at `in` (of an input) for the output pixel at `out`, c channels
 * each. */
typedef void PoolVisit(int c, ptrdiff_t in, ptrdiff_t out, PetscBool first, void *context);

/* Visits the pixels of all windows of a sample: window by window, each in row order. */
static inline __attribute__((always_inline)) void PoolWalk(const CourantLayer *layer, PoolVisit *Visit,
                                                           void *context)
{
  const Pool *pool = (const Pool *)layer->options;
  const int h = (int)layer->out.h, w = (int)layer->out.w, c = (int)layer->in.c;

  for (int oy = 0; oy < h; oy++)
    for (int ox = 0; ox < w; ox++)
      for (int y = 0; y < pool->size[0]; y++)
        for (int x = 0; x < pool->size[1]; x++) {
          const ptrdiff_t pixel = (oy * pool->stride[0] + y) * layer->in.w + ox * pool->stride[1] + x;
          Visit(c, pixel * c, ((ptrdiff_t)oy * w + ox) * c, y + x == 0 ? PETSC_TRUE : PETSC_FALSE, context);
        }
}

/* The coefficient k of a sample of a jet over the layer's inputs or outputs. */
static inline real *PoolSample(const Jet *jet, CourantShape shape, int k, int sample)
{
  return jet->c[k] + (size_t)sample * CourantShapeSize(shape);
}
