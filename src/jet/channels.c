#include "jet/channels.h"

/*
  Sizes of the register tiles: 2 x 12 accumulators leave 8 of AVX-512's 32 registers for operands, 2 x 6 leave
  4 of 16. Every size below is there too, so that a row of any width splits into nearly equal tiles.
*/
enum { MOST = 12 };
#define SIZES_1(X)                                                                                           \
  X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1) X(12, 1)
#if VECTOR_BYTES == 64
enum { MOST_2 = 12 };
#define SIZES_2(X)                                                                                           \
  X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2) X(7, 2) X(8, 2) X(9, 2) X(10, 2) X(11, 2) X(12, 2)
#else
enum { MOST_2 = 6 };
#define SIZES_2(X) X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2)
#endif

typedef void (*CorrelateTile)(const ChannelsShape *, int rows, int nterms, const ChannelsTerm terms[],
                              ptrdiff_t at, ptrdiff_t panel, const real *bias, int used, real *y);
typedef void (*WeightsTile)(const ChannelsShape *, int lines, int nterms, const ChannelsTerm terms[],
                            ptrdiff_t at, ptrdiff_t channel, int running, real *dw);

/* The tiles for panels of one width, by size less one. */
typedef struct {
  int lanes, width, most;
  CorrelateTile correlate[MOST];
  WeightsTile weights[MOST];
} Tiles;

#define BYTES 16
#include "jet/channels-tile.h"
#if VECTOR_BYTES >= 32
#define BYTES 32
#include "jet/channels-tile.h"
#endif
#if VECTOR_BYTES >= 64
#define BYTES 64
#include "jet/channels-tile.h"
#endif

/* The panels that begin where `rest` output channels are left, widest first. */
static const Tiles *TilesFor(int rest)
{
#if VECTOR_BYTES == 64
  static const Tiles *const tiles[] = {&tiles_2_64, &tiles_1_64, &tiles_1_32, &tiles_1_16};
#elif VECTOR_BYTES == 32
  static const Tiles *const tiles[] = {&tiles_2_32, &tiles_1_32, &tiles_1_16};
#else
  static const Tiles *const tiles[] = {&tiles_2_16, &tiles_1_16};
#endif
  enum { SHORTEST = (int)(sizeof tiles / sizeof *tiles) - 1 };

  if (rest >= 2 * VL) return tiles[0];
  if (rest >= VL) return tiles[1];
  int i = SHORTEST;
  while (tiles[i]->width < rest) i--;
  return tiles[i];
}

static int Min(int a, int b)
{
  return a < b ? a : b;
}

static int Max(int a, int b)
{
  return a > b ? a : b;
}

/*
  CourantChannelsVectors - Time of the multiply-adds of one input number with `out` channels, in those of a
  whole vector: short vectors save no more than half, as each waits for its input number.
*/
double CourantChannelsVectors(int out)
{
  double sum = 0;

  for (int o = 0; o < out;) {
    const int width = TilesFor(out - o)->width;
    sum += width > VL / 2 ? (double)width / VL : 0.5;
    o += width;
  }
  return sum;
}

/* CourantChannelsPackedSize - Reals of packed weights. */
size_t CourantChannelsPackedSize(const ChannelsKernel *k)
{
  int rounded = 0;

  while (rounded < k->out) rounded += TilesFor(k->out - rounded)->width;
  return (size_t)rounded * (size_t)k->kh * (size_t)k->kw * (size_t)k->in;
}

/* Where the input `row` of the packed order [kh,kw,in] stands in the tensor. */
static ptrdiff_t Offset(const ChannelsKernel *k, int ky, int kx, int i)
{
  return k->offset + ky * k->sy + kx * k->sx + i * k->si;
}

/* CourantChannelsPack - Weights from their tensor to panels; zeros in lanes without a channel. */
void CourantChannelsPack(const ChannelsKernel *k, const double *weights, real *packed)
{
  for (int from = 0, width; from < k->out; from += width) {
    width = TilesFor(k->out - from)->width;
    const int used = Min(width, k->out - from);
    for (int ky = 0; ky < k->kh; ky++)
      for (int kx = 0; kx < k->kw; kx++)
        for (int i = 0; i < k->in; i++, packed += width) {
          const double *w = weights + Offset(k, ky, kx, i) + from * k->so;
          for (int o = 0; o < width; o++) packed[o] = o < used ? (real)w[o * k->so] : 0;
        }
  }
}

/* CourantChannelsUnpack - The same way back; writes the elements of the tensor that the kernel has. */
void CourantChannelsUnpack(const ChannelsKernel *k, const real *packed, double *weights)
{
  for (int from = 0, width; from < k->out; from += width) {
    width = TilesFor(k->out - from)->width;
    const int used = Min(width, k->out - from);
    for (int ky = 0; ky < k->kh; ky++)
      for (int kx = 0; kx < k->kw; kx++)
        for (int i = 0; i < k->in; i++, packed += width) {
          double *w = weights + Offset(k, ky, kx, i) + from * k->so;
          for (int o = 0; o < used; o++) w[o * k->so] = (double)packed[o];
        }
  }
}

/* Where the j-th of the fewest, nearly equal parts of n begins, none longer than `most`. */
static inline int PartBegin(int n, int most, int j)
{
  const int parts = (n + most - 1) / most;
  return (int)((long long)n * j / parts);
}

/*
  CourantChannelsCorrelate - y[oy,ox,o] = bias[o] + sum_t sum_{ky,i} x_t(oy,ox)[ky,i] w_t[ky,i,o].

  bias: [out] and a vector of slack, or NULL for zero. Of y, exactly the channels of the pixels are written.
  Patch rows outside the image are left out.
*/
void CourantChannelsCorrelate(const ChannelsShape *shape, int nterms, const ChannelsTerm terms[],
                              const real *bias, real *y)
{
  const ptrdiff_t taps = (ptrdiff_t)shape->kh * shape->inner;

  for (int from = 0, width; from < shape->out; from += width) {
    const Tiles *tiles = TilesFor(shape->out - from);
    width = tiles->width;
    const int used = Min(width, shape->out - from), most = tiles->most;
    for (int oy = 0; oy < shape->ho; oy++) {
      const int row = oy * shape->sy - shape->top, ky = Max(0, -row),
                rows = Min(shape->kh, shape->h - row) - ky;
      const ptrdiff_t at = (row + ky) * shape->x_row,
                      panel = from * taps + (ptrdiff_t)ky * shape->inner * width;
      for (int j = 0, ox = 0, next; ox < shape->wo; j++, ox = next) {
        next = PartBegin(shape->wo, most, j + 1);
        tiles->correlate[next - ox - 1](shape, rows, nterms, terms, at + ox * shape->x_step, panel,
                                        bias ? bias + from : NULL, used,
                                        y + oy * shape->y_row + ox * shape->y_step + from);
      }
    }
  }
}

/*
  CourantChannelsWeights - dw[ky,i,o] += sum_t sum_{oy,ox} x_t(oy,ox)[ky,i] dy_t[oy,ox,o], the weight gradient
  of CourantChannelsCorrelate(), packed as the weights are.

  terms: w is the output gradient, with CHANNELS_SLACK behind its end. Rows of pixels are summed in order, for
  each row the terms. running: pixel by pixel onto dw, so that one call for many rows gives the bits of one
  call for each; otherwise the call's sum is formed first, which rounds less.
*/
void CourantChannelsWeights(const ChannelsShape *shape, int nterms, const ChannelsTerm terms[], int running,
                            real *dw)
{
  const ptrdiff_t taps = (ptrdiff_t)shape->kh * shape->inner;

  for (int from = 0, width; from < shape->out; from += width) {
    const Tiles *tiles = TilesFor(shape->out - from);
    width = tiles->width;
    for (int ky = 0; ky < shape->kh; ky++) {
      const int sy = shape->sy, before = Max(0, shape->top - ky), oy = (before + sy - 1) / sy;
      const int lines = Min(shape->ho, (shape->h + shape->top - ky + sy - 1) / sy) - oy;
      const ptrdiff_t at = (oy * sy + ky - shape->top) * shape->x_row, channel = from + oy * shape->y_row;
      for (int j = 0, i = 0, next; i < shape->inner; j++, i = next) {
        next = PartBegin(shape->inner, tiles->most, j + 1);
        tiles->weights[next - i - 1](shape, lines, nterms, terms, at + i, channel, running,
                                     dw + from * taps + ((ptrdiff_t)ky * shape->inner + i) * width);
      }
    }
  }
}

/* CourantChannelsBias - db[o] += sum over pixels of dy[pixel,o]; dy with CHANNELS_SLACK behind its end. */
void CourantChannelsBias(int pixels, int channels, const real *dy, real *db)
{
  if (channels == 1) db[0] += CourantSum(pixels, dy);
  for (int o = 0; channels > 1 && o < channels; o += VL) {
    vec part[4] = {{0}, {0}, {0}, {0}};
    real sum[VL];
    int i = 0;
    for (; i + 4 <= pixels; i += 4)
      for (int k = 0; k < 4; k++) part[k] += Load(dy + (ptrdiff_t)(i + k) * channels + o);
    for (; i < pixels; i++) part[0] += Load(dy + (ptrdiff_t)i * channels + o);
    Store(sum, (part[0] + part[1]) + (part[2] + part[3]));
    for (int k = 0; k < VL && o + k < channels; k++) db[o + k] += sum[k];
  }
}
