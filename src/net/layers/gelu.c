/*
  GELU (Hendrycks, Gimpel 2016): f(u) = u Phi(u), Phi the normal distribution function, phi = Phi' its
  density.
*/
#include "jet/pointwise.h"
#include "net/layers/plain.h"

/* Arguments beyond are held to it: the density there, and what is made of it, are still normal numbers. */
#if COURANT_BITS == 64
static const real limit = 37.5;
#else
static const real limit = 12.9f;
#endif

/*
  phi(a) = e^(-a^2 / 2) / sqrt(2 pi) within 4 units in the last place. Half of a's digits are squared without
  rounding; e^(-a^2 / 2) of the rounded square would be wrong by as many units as a^2 / 2 is large.
*/
static inline vec Density(vec a)
{
  const ivec half = ((ivec){0} + 1) << (COURANT_BITS == 64 ? 27 : 12);
  const vec head = (vec)((ivec)a & -half);
  return (real)0.3989422804014327 *
         ExpOfSum((real)-0.5 * (head * head), (real)-0.5 * ((a - head) * (a + head)));
}

/*
  Mills' ratio M(a) = Phi(-a) / phi(a) for 0 <= a <= limit, within 4 units in the last place.

  (a + 4) M(a) is smooth in y = (a - 4) / (a + 4), also towards infinity; its Chebyshev interpolant over that
  range, computed with 50 digits and turned into powers of y, is within 7e-17 (double), 3e-8 (float) of it.
*/
static inline vec Mills(vec a)
{
#if COURANT_BITS == 64
  enum { DEGREE = 22 };
  static const real c[DEGREE + 1] = {
      0x1.e4aa012912ddep+0,  -0x1.8615d9b491659p+0,  0x1.f0d9856bc3b5ap-1,   -0x1.dec30ee679a9ap-2,
      0x1.360ce2601c394p-3,  -0x1.35aa3c93e7b85p-6,  -0x1.1dcfea73cde8ep-7,  0x1.0be6d62dcb37ap-8,
      0x1.5e7b12c20a5a5p-12, -0x1.2fb423ef509d6p-11, -0x1.40f11fc918a9fp-18, 0x1.717d6fd4cdb17p-14,
      0x1.e13030a9eb3cdp-20, -0x1.f1d0697e0a720p-17, -0x1.a4cb6ebd05cf0p-20, 0x1.56f5a41dbca83p-19,
      0x1.632f8cf29ce32p-21, -0x1.9dae66dd654e7p-22, -0x1.9b951997f30fap-23, 0x1.30b6adbeff3d3p-25,
      0x1.2a3158bc876b4p-25, 0x1.21156830b22e1p-31,  -0x1.39d4039ab2a3ap-29};
#else
  enum { DEGREE = 9 };
  static const real c[DEGREE + 1] = {0x1.e4aa02p+0f,  -0x1.8615dap+0f, 0x1.f0d94cp-1f,  -0x1.dec31ap-2f,
                                     0x1.361a62p-3f,  -0x1.356fbap-6f, -0x1.221582p-7f, 0x1.03cebcp-8f,
                                     0x1.1ed046p-11f, -0x1.294fd8p-12f};
#endif
  const vec inverse = 1 / (a + 4);
  return inverse * Polynomial(DEGREE, c, (a - 4) * inverse);
}

/*
  With a = |u|: Phi(-a) = phi M, f' = Phi + u phi, f'' = phi (2 - a^2), f''' = phi u (a^2 - 4),
  f'''' = phi (7 a^2 - a^4 - 4).
*/
static inline void Value(vec u, const void *options, vec d[COURANT_DERIVATIVES])
{
  const vec whole = Abs(u), a = Select(whole > limit, Splat(limit), whole), square = a * a;
  const vec phi = Density(a), mills = Mills(a), tail = phi * mills, slope = phi * (mills - a);

  (void)options;
  d[0] = Select(u < 0, -a * tail, u * (1 - tail));
  d[1] = Select(u < 0, slope, 1 - slope);
  d[2] = phi * (2 - square);
  d[3] = TimesSign(phi * (a * (square - 4)), u);
  d[4] = phi * Madd(7 - square, square, Splat(-4));
}

COURANT_POINTWISE_LAYER(Value)

COURANT_LAYER(gelu) = {
    .name = "gelu",
    .help = "u Phi(u), Phi the normal distribution function",
    .examples = examples,
    .keys = keys,
    .Space = Space,
    COURANT_POINTWISE_OPS,
};
