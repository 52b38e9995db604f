#pragma once
/* The sigmoid s(u) = 1 / (1 + e^-u) and its derivatives, for the activations made of it. */
#include "jet/pointwise.h"

typedef struct {
  vec q;                      /* e^-|u| */
  vec t;                      /* 1 - 2 s(u) = -tanh(u/2) */
  vec s[COURANT_DERIVATIVES]; /* s, s', .. s'''' */
} SigmoidValues;

/*
  With c = 1 - s: t = c - s, s' = s c, s'' = s' t, s''' = s' (1 - 6 s'), s'''' = s'' (1 - 12 s').

  The larger of s and c is 1 / (1 + q), the smaller q times it, and |t| is (1 - q) times it with 1 - q from
  Expm1: none of them loses digits where it is small.
*/
static inline SigmoidValues Sigmoid(vec u)
{
  SigmoidValues v;
  vec less;

  v.q = ExpAndExpm1(-Abs(u), &less);
  const vec large = 1 / (1 + v.q), small = v.q * large;
  v.t = TimesSign(less * large, u);
  v.s[0] = Select(u > 0, large, small);
  v.s[1] = small * large;
  v.s[2] = v.s[1] * v.t;
  v.s[3] = v.s[1] * Madd(v.s[1], Splat(-6), Splat(1));
  v.s[4] = v.s[2] * Madd(v.s[1], Splat(-12), Splat(1));
  return v;
}
