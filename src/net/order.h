#pragma once
#define COURANT_ORDER_MAX 3 /* the highest Taylor coefficient of a jet */

/* Calls F(order, ..) with the order as a constant, which lets the compiler unroll F's loops over
 * coefficients. */
#define COURANT_BY_ORDER(F, order, ...)                                                                      \
  do {                                                                                                       \
    switch (order) {                                                                                         \
    case 0:                                                                                                  \
      F(0, __VA_ARGS__);                                                                                     \
      break;                                                                                                 \
    case 1:                                                                                                  \
      F(1, __VA_ARGS__);                                                                                     \
      break;                                                                                                 \
    case 2:                                                                                                  \
      F(2, __VA_ARGS__);                                                                                     \
      break;                                                                                                 \
    default:                                                                                                 \
      F(3, __VA_ARGS__);                                                                                     \
    }                                                                                                        \
  } while (0)
