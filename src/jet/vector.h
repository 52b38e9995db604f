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

/* The bit of the sign alone. */
static inline ivec SignBit(vec v)
{
  return (ivec)v & (ivec)Splat((real)-0.);
}

static inline vec Abs(vec v)
{
  return (vec)((ivec)v ^ SignBit(v));
}

/* v, with its sign changed where u's is negative. */
static inline vec TimesSign(vec v, vec u)
{
  return (vec)((ivec)v ^ SignBit(u));
}

/*
  c[0] + c[1] x + .. + c[degree] x^degree, even and odd powers apart: two chains half as long, which compilers
  unroll as a whole.
*/
static inline __attribute__((always_inline)) vec Polynomial(int degree, const real c[], vec x)
{
  const vec square = x * x;
  vec last = Splat(c[degree]), other = Splat(c[degree - 1]);

  for (int k = degree - 2; k >= 0; k -= 2) last = Madd(last, square, Splat(c[k]));
  for (int k = degree - 3; k >= 0; k -= 2) other = Madd(other, square, Splat(c[k]));
  return degree % 2 ? Madd(last, x, other) : Madd(other, x, last);
}

/* x = n ln 2 + r, n the integer nearest to x / ln 2: the two factors of e^x = 2^n e^r. */
typedef struct {
  vec r, scale; /* |r| <= ln(2)/2; 2^n */
} Exponent;

/* Arguments are held to the range where e^x is a normal number, NaN stays NaN. */
static inline Exponent Reduce(vec x)
{
#if COURANT_BITS == 64
  enum { MANTISSA = 52 };
  const real lowest = -708, highest = 709, shift = 0x1.8p52, ln2_high = 0x1.62e42fefap-1,
             ln2_low = 0x1.cf79abc9e3b3ap-40;
#else
  enum { MANTISSA = 23 };
  const real lowest = -87, highest = 88, shift = 0x1.8p23f, ln2_high = 0x1.62ep-1f, ln2_low = 0x1.0bfbe8p-15f;
#endif
  x = Select(x < lowest, Splat(lowest), x);
  x = Select(x > highest, Splat(highest), x);
  const vec shifted = Madd(x, Splat((real)1.4426950408889634), Splat(shift)), n = shifted - shift;
  return (Exponent){
      .r = Madd(n, Splat(-ln2_low), Madd(n, Splat(-ln2_high), x)),
      .scale = (vec)((((ivec)shifted - (ivec)Splat(shift)) << MANTISSA) + (ivec)Splat(1)),
  };
}

/*
  e^r - 1 for |r| <= 0.4, by its Taylor polynomial: the first term left out
  is below 7e-17 (double), 3e-8 (float) of the result.
*/
static inline vec Expm1Reduced(vec r)
{
#if COURANT_BITS == 64
  enum { DEGREE = 11 };
  static const real inverse[DEGREE + 1] = {1. / 2,       1. / 6,        1. / 24,        1. / 120,
                                           1. / 720,     1. / 5040,     1. / 40320,     1. / 362880,
                                           1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800.};
#else
  enum { DEGREE = 5 };
  static const real inverse[DEGREE + 1] = {1.f / 2, 1.f / 6, 1.f / 24, 1.f / 120, 1.f / 720, 1.f / 5040};
#endif
  return Madd(Polynomial(DEGREE, inverse, r), r * r, r);
}

/*
  Exponential of every lane, within 2 units in the last place; arguments are held to the range where the
  result is a normal number, NaN stays NaN.
*/
static inline vec Exp(vec x)
{
  const Exponent e = Reduce(x);
  return Madd(e.scale, Expm1Reduced(e.r), e.scale);
}

/* e^(x + low) as Exp(), for |low| < 0.05: an argument in two parts, whose rounding would cost |x| units. */
static inline vec ExpOfSum(vec x, vec low)
{
  const Exponent e = Reduce(x);
  return Madd(e.scale, Expm1Reduced(e.r + low), e.scale);
}

/* e^x as Exp() and e^x - 1 within 3 units in the last place, near 0 as well, for the price of one. */
static inline vec ExpAndExpm1(vec x, vec *expm1)
{
  const Exponent e = Reduce(x);
  const vec p = Expm1Reduced(e.r);
  *expm1 = Madd(e.scale, p, e.scale - 1);
  return Madd(e.scale, p, e.scale);
}

/*
  log(1 + q) for 0 <= q <= 1, within 2 units in the last place, near 0 as well; NaN stays NaN.

  q P(2 q - 1), P the Chebyshev interpolant of log(1 + q) / q, computed with 50 digits and turned into powers:
  within 2e-17 (double), 5e-8 (float) of it.
*/
static inline vec Log1p(vec q)
{
#if COURANT_BITS == 64
  enum { DEGREE = 20 };
  static const real c[DEGREE + 1] = {0x1.9f323ecbf984cp-1,   -0x1.2773a5da90bd5p-3,  0x1.0f95b3dc0a12ap-5,
                                     -0x1.1540afd54c993p-7,  0x1.2bec9fba50fb6p-9,   -0x1.50abf6ca8389dp-11,
                                     0x1.83c50b0fd64f8p-13,  -0x1.c72c64467e5acp-15, 0x1.0f11916785076p-16,
                                     -0x1.469c50e081538p-18, 0x1.8d3fc5df8233cp-20,  -0x1.e6fd22346bd39p-22,
                                     0x1.2c70bed1f5192p-23,  -0x1.740e66424b377p-25, 0x1.cfdf64feee5f6p-27,
                                     -0x1.2a015e6f8b787p-28, 0x1.76b09d6cf58dep-30,  -0x1.780c594e32d50p-32,
                                     0x1.da6d71b6afabdp-34,  -0x1.41ce9263aa3b0p-34, 0x1.9a004c84084e0p-36};
#else
  enum { DEGREE = 9 };
  static const real c[DEGREE + 1] = {0x1.9f323ep-1f,  -0x1.2773a6p-3f,  0x1.0f9550p-5f,  -0x1.154036p-7f,
                                     0x1.2c1da8p-9f,  -0x1.50e83ep-11f, 0x1.7b60aap-13f, -0x1.bcdc06p-15f,
                                     0x1.5814ecp-16f, -0x1.a04acap-18f};
#endif
  return q * Polynomial(DEGREE, c, 2 * q - 1);
}
