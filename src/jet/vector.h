#pragma once
/*
  Vectors of `real` as long as the instruction set has them, written with the compiler's vector types.

  Contraction is off in the whole project, so that a sum of products rounds the same in every place it is
  compiled; Madd() is the one way to ask for a fused multiply-add.
*/
#include "jet/variant.h"
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#define VL ((int)(VECTOR_BYTES / sizeof(real))) /* lanes */

#if COURANT_BITS == 64
typedef int64_t integer;
#else
typedef int32_t integer;
#endif

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef integer ivec __attribute__((vector_size(VECTOR_BYTES)));
typedef real vec_unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

static inline vec Load(const real *p)
{
  return *(const vec_unaligned *)p;
}

static inline void Store(real *p, vec v)
{
  *(vec_unaligned *)p = v;
}

static inline vec Splat(real a)
{
  return a - (vec){0};
}

/* a b + c, fused where the instruction set can. */
static inline vec Madd(vec a, vec b, vec c)
{
#if defined(__AVX512F__) && COURANT_BITS == 64
  return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX512F__)
  return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__) && COURANT_BITS == 64
  return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__FMA__)
  return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

static inline vec Select(ivec mask, vec yes, vec no)
{
  return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
}

/* Sum of the lanes, halves first: the same order for every call. */
static inline real SumLanes(vec v)
{
  real lanes[VL];
  memcpy(lanes, &v, sizeof v);
  for (int half = VL / 2; half; half /= 2)
    for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
  return lanes[0];
}

/*
  Exponential of every lane, within 2 units in the last place; arguments are held to the range where the
  result is a normal number, NaN stays NaN.

  e^x = 2^n e^r with n the integer nearest to x / ln 2 and |r| <= ln(2)/2, e^r by its Taylor polynomial: the
  first term left out is below 4e-18 (double), 6e-9 (float) of the result.
*/
static inline vec Exp(vec x)
{
#if COURANT_BITS == 64
  enum { DEGREE = 13, MANTISSA = 52 };
  static const real inverse[DEGREE + 1] = {
      1,         1,          1. / 2,      1. / 6,       1. / 24,       1. / 120,       1. / 720,
      1. / 5040, 1. / 40320, 1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800.};
  const real lowest = -708, highest = 709, shift = 0x1.8p52, ln2_high = 0x1.62e42fefap-1,
             ln2_low = 0x1.cf79abc9e3b3ap-40;
#else
  enum { DEGREE = 7, MANTISSA = 23 };
  static const real inverse[DEGREE + 1] = {1,        1,         1.f / 2,   1.f / 6,
                                           1.f / 24, 1.f / 120, 1.f / 720, 1.f / 5040};
  const real lowest = -87, highest = 88, shift = 0x1.8p23f, ln2_high = 0x1.62ep-1f, ln2_low = 0x1.0bfbe8p-15f;
#endif
  x = Select(x < lowest, Splat(lowest), x);
  x = Select(x > highest, Splat(highest), x);
  const vec shifted = Madd(x, Splat((real)1.4426950408889634), Splat(shift)), n = shifted - shift;
  const vec r = Madd(n, Splat(-ln2_low), Madd(n, Splat(-ln2_high), x));
  vec sum = Splat(inverse[DEGREE]);
  for (int k = DEGREE - 1; k >= 0; k--) sum = Madd(sum, r, Splat(inverse[k]));
  return (vec)((ivec)sum + (((ivec)shifted - (ivec)Splat(shift)) << MANTISSA));
}
