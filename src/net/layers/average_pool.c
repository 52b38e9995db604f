/* Mean over windows: y(z) = 1/(kh kw) sum of x over the window of z. */
#include "net/layers/pool.h"

static real Weight(const CourantLayer *layer)
{
  const Pool *pool = (const Pool *)layer->options;
  return 1 / (real)(pool->size[0] * pool->size[1]);
}

/* Windows or pixels first .. end-1 along an axis. */
typedef struct {
  int first, end;
} Span;

/*
  to[c] = weight times the sum over rows and columns of pixels `from`, images of `width` pixels. Writes whole
  vectors: what is behind the pixel is written later.
*/
static inline void Mean(int c, real weight, const real *from, int width, Span rows, Span columns, real *to)
{
  for (int j = 0; j < c; j += VL) {
    vec sum = {0};
    for (int y = rows.first; y < rows.end; y++)
      for (int x = columns.first; x < columns.end; x++)
        sum += Load(from + ((ptrdiff_t)y * width + x) * c + j);
    Store(to + j, weight * sum);
  }
}

static void Gather(const CourantLayer *layer, const real *x, real *y)
{
  const Pool *pool = (const Pool *)layer->options;
  const int c = (int)layer->in.c;
  const PetscInt *size = pool->size, *stride = pool->stride;

  for (int oy = 0; oy < layer->out.h; oy++)
    for (int ox = 0; ox < layer->out.w; ox++, y += c) {
      const Span rows = {oy * (int)stride[0], oy * (int)stride[0] + (int)size[0]},
                 columns = {ox * (int)stride[1], ox * (int)stride[1] + (int)size[1]};
      Mean(c, Weight(layer), x, (int)layer->in.w, rows, columns, y);
    }
}

/* From the windows of a pixel to those of the next one. */
static inline void Advance(const Pool *pool, int axis, int windows, int pixel, Span *span)
{
  const int size = (int)pool->size[axis], stride = (int)pool->stride[axis];

  while (span->end < windows && span->end * stride <= pixel) span->end++;
  while (span->first * stride + size <= pixel) span->first++;
}

static void Spread(const CourantLayer *layer, const real *dy, real *dx)
{
  const Pool *pool = (const Pool *)layer->options;
  const int c = (int)layer->in.c;
  const size_t row = (size_t)layer->in.w * (size_t)c;
  Span rows = {0, 0};

  for (int iy = 0; iy < layer->in.h; iy++) {
    const Span above = rows;
    Span columns = {0, 0};
    Advance(pool, 0, (int)layer->out.h, iy, &rows);
    if (iy && rows.first == above.first && rows.end == above.end) { /* of the same windows as the row above */
      memcpy(dx, dx - row, sizeof(real) * row);
      dx += row;
      continue;
    }
    for (int ix = 0; ix < layer->in.w; ix++, dx += c) {
      Advance(pool, 1, (int)layer->out.w, ix, &columns);
      Mean(c, Weight(layer), dy, (int)layer->out.w, rows, columns, dx);
    }
  }
}

static void Forward(const CourantLayerCall *call)
{
  const CourantLayer *layer = call->layer;

  for (int k = call->from; k <= call->order; k++)
    for (int sample = 0; sample < call->n; sample++)
      Gather(layer, PoolSample(&call->x, layer->in, k, sample), PoolSample(&call->y, layer->out, k, sample));
}

static void Backward(const CourantLayerCall *call)
{
  const CourantLayer *layer = call->layer;

  for (int k = call->from; call->dx.c[0] && k <= call->order; k++)
    for (int sample = 0; sample < call->n; sample++)
      Spread(layer, PoolSample(&call->dy, layer->out, k, sample),
             PoolSample(&call->dx, layer->in, k, sample));
}

COURANT_LAYER(average_pool) = {
    .name = "average_pool",
    .help = "mean over windows, per channel",
    .examples = examples,
    .keys = keys,
    .options_size = sizeof(Pool),
    .linear = PETSC_TRUE,
    .SetUp = SetUp,
    .Forward = Forward,
    .Backward = Backward,
};
