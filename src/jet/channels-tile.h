/*
  The register tiles of channels.c for vectors of BYTES bytes; included once for each length.

  A tile is `size` x `nv` accumulators: output pixels (Correlate) or inputs of a patch row (Weights) times
  vectors of output channels. size and nv are constants at every call, else the tile is kept in memory.
*/
#define LANES          ((int)(BYTES / sizeof(real)))
#define NAME__(n, len) n##_##len
#define NAME_(n, len)  NAME__(n, len)
#define NAME(n)        NAME_(n, BYTES)
#define lanes          NAME(Lanes)

typedef real NAME(Lanes) __attribute__((vector_size(BYTES)));
typedef real NAME(LanesUnaligned) __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));

#if !defined(__FMA__)
#define FUSED(a, b, c) ((a) * (b) + (c))
#elif BYTES == 64 && COURANT_BITS == 64
#define FUSED(a, b, c) (lanes) _mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c))
#elif BYTES == 64
#define FUSED(a, b, c) (lanes) _mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c))
#elif BYTES == 32 && COURANT_BITS == 64
#define FUSED(a, b, c) (lanes) _mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c))
#elif BYTES == 32
#define FUSED(a, b, c) (lanes) _mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c))
#elif COURANT_BITS == 64
#define FUSED(a, b, c) (lanes) _mm_fmadd_pd((__m128d)(a), (__m128d)(b), (__m128d)(c))
#else
#define FUSED(a, b, c) (lanes) _mm_fmadd_ps((__m128)(a), (__m128)(b), (__m128)(c))
#endif

static inline lanes NAME(Get)(const real *p)
{
  return *(const NAME(LanesUnaligned) *)p;
}

static inline void NAME(Put)(real *p, lanes v)
{
  *(NAME(LanesUnaligned) *)p = v;
}

/* The first `used` lanes, by halves: nothing behind them is written. */
static inline void NAME(PutFirst)(int used, lanes v, real *to)
{
  real from[LANES];

  NAME(Put)(from, v);
  int i = 0;
#pragma GCC unroll 4
  for (int half = LANES / 2; half; half /= 2)
    if (used & half) {
      memcpy(to + i, from + i, sizeof(real) * (size_t)half);
      i += half;
    }
}

/* acc[s][v] += x[s * step] * b[v] */
#define ACCUMULATE(x, step)                                                                                  \
  _Pragma("GCC unroll 12") for (int s = 0; s < size; s++)                                                    \
  {                                                                                                          \
    const lanes a = (x)[s * (step)] - (lanes){0};                                                            \
    _Pragma("GCC unroll 2") for (int v = 0; v < nv; v++) acc[s][v] = FUSED(a, b[v], acc[s][v]);              \
  }

/*
  Output pixels (oy,ox) .. (oy,ox+size-1) of a panel, of which `used` channels exist, from `rows` rows of
  their patches. `at` and `panel` are where the first of these rows begins in x, for the first pixel, and in
  w; y points at the first pixel's channels.
*/
static inline __attribute__((always_inline)) void NAME(CorrelateTile)(const int size, const int nv,
                                                                      const ChannelsShape *shape, int rows,
                                                                      int nterms, const ChannelsTerm terms[],
                                                                      ptrdiff_t at, ptrdiff_t panel,
                                                                      const real *bias, int used, real *y)
{
  lanes acc[MOST][2], b[2];
  const int inner = shape->inner;
  const ptrdiff_t step = shape->x_step;

#pragma GCC unroll 12
  for (int s = 0; s < size; s++)
#pragma GCC unroll 2
    for (int v = 0; v < nv; v++) acc[s][v] = bias ? NAME(Get)(bias + v * LANES) : (lanes){0};
  for (int t = 0; t < nterms; t++) {
    const real *w = terms[t].w + panel;
    for (int ky = 0; ky < rows; ky++) {
      const real *x = terms[t].x + at + ky * shape->x_row;
      for (const real *end = x + inner; x < end; x++, w += nv * LANES) {
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) b[v] = NAME(Get)(w + v * LANES);
        ACCUMULATE(x, step)
      }
    }
  }
  if (used == nv * LANES) {
#pragma GCC unroll 12
    for (int s = 0; s < size; s++)
#pragma GCC unroll 2
      for (int v = 0; v < nv; v++) NAME(Put)(y + s * shape->y_step + v * LANES, acc[s][v]);
  } else {
#pragma GCC unroll 12
    for (int s = 0; s < size; s++) NAME(PutFirst)(used, acc[s][0], y + s * shape->y_step);
  }
}

/*
  Gradient by `size` weights of each channel of a panel over `lines` lines of pixels, added to dw. `at` and
  `channel` are where the first patch's numbers and the panel's output gradient begin. running: the sum goes
  on from dw pixel by pixel, otherwise the pixels are summed first.
*/
static inline __attribute__((always_inline)) void
NAME(WeightsTile)(const int size, const int nv, const ChannelsShape *shape, int lines, int nterms,
                  const ChannelsTerm terms[], ptrdiff_t at, ptrdiff_t channel, int running, real *dw)
{
  lanes acc[MOST][2], b[2];
  const int wo = shape->wo;
  const ptrdiff_t x_line = shape->sy * shape->x_row, x_step = shape->x_step, y_step = shape->y_step;

#pragma GCC unroll 12
  for (int s = 0; s < size; s++)
#pragma GCC unroll 2
    for (int v = 0; v < nv; v++) acc[s][v] = running ? NAME(Get)(dw + (s * nv + v) * LANES) : (lanes){0};
  for (int oy = 0; oy < lines; oy++)
    for (int t = 0; t < nterms; t++) {
      const real *x = terms[t].x + at + oy * x_line, *dy = terms[t].w + channel + oy * shape->y_row;
      for (int ox = 0; ox < wo; ox++, x += x_step, dy += y_step) {
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) b[v] = NAME(Get)(dy + v * LANES);
        ACCUMULATE(x, 1)
      }
    }
#pragma GCC unroll 12
  for (int s = 0; s < size; s++)
#pragma GCC unroll 2
    for (int v = 0; v < nv; v++) {
      real *to = dw + (s * nv + v) * LANES;
      NAME(Put)(to, running ? acc[s][v] : NAME(Get)(to) + acc[s][v]);
    }
}

#define CORRELATE_NAME(size, nv) NAME(Correlate##nv##x##size)
#define WEIGHTS_NAME(size, nv)   NAME(Weights##nv##x##size)
#define DEFINE(size, nv)                                                                                     \
  static void CORRELATE_NAME(size, nv)(const ChannelsShape *shape, int rows, int nterms,                     \
                                       const ChannelsTerm terms[], ptrdiff_t at, ptrdiff_t panel,            \
                                       const real *bias, int used, real *y)                                  \
  {                                                                                                          \
    NAME(CorrelateTile)(size, nv, shape, rows, nterms, terms, at, panel, bias, used, y);                     \
  }                                                                                                          \
  static void WEIGHTS_NAME(size, nv)(const ChannelsShape *shape, int lines, int nterms,                      \
                                     const ChannelsTerm terms[], ptrdiff_t at, ptrdiff_t channel,            \
                                     int running, real *dw)                                                  \
  {                                                                                                          \
    NAME(WeightsTile)(size, nv, shape, lines, nterms, terms, at, channel, running, dw);                      \
  }
#define CORRELATE_ENTRY(size, nv) CORRELATE_NAME(size, nv),
#define WEIGHTS_ENTRY(size, nv)   WEIGHTS_NAME(size, nv),

SIZES_1(DEFINE)
static const Tiles NAME(tiles_1) = {LANES, LANES, MOST, {SIZES_1(CORRELATE_ENTRY)}, {SIZES_1(WEIGHTS_ENTRY)}};
#if BYTES == VECTOR_BYTES
SIZES_2(DEFINE)
static const Tiles NAME(tiles_2) = {
    LANES, 2 * LANES, MOST_2, {SIZES_2(CORRELATE_ENTRY)}, {SIZES_2(WEIGHTS_ENTRY)}};
#endif

#undef LANES
#undef NAME__
#undef NAME_
#undef NAME
#undef lanes
#undef FUSED
#undef ACCUMULATE
#undef CORRELATE_NAME
#undef WEIGHTS_NAME
#undef DEFINE
#undef CORRELATE_ENTRY
#undef WEIGHTS_ENTRY
#undef BYTES
