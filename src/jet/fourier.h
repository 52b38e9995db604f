#pragma once
/* Correlation of planes through FFTW, the kernel of large convolutions. */
#include "jet/jet.h"

typedef struct CourantFourier *CourantFourier;

/* Products of spectra that Fourier sums: which factor is conjugated. */
typedef enum { FOURIER_CONJUGATE_A, FOURIER_CONJUGATE_NONE } FourierProduct;

CourantFourier COURANT_VARIANT(CourantFourierCreate)(int h, int w);
void COURANT_VARIANT(CourantFourierDestroy)(CourantFourier);
void COURANT_VARIANT(CourantFourierForward)(CourantFourier, int h, int w, const real *plane, int ld,
                                            real *work, real *spectrum);
void COURANT_VARIANT(CourantFourierBackward)(CourantFourier, int h, int w, real *spectrum, real *work,
                                             real *plane, int ld, int add);
void COURANT_VARIANT(CourantFourierMultiplyAdd)(CourantFourier, FourierProduct, const real *a, const real *b,
                                                real *sum);
#define CourantFourierCreate      COURANT_VARIANT(CourantFourierCreate)
#define CourantFourierDestroy     COURANT_VARIANT(CourantFourierDestroy)
#define CourantFourierForward     COURANT_VARIANT(CourantFourierForward)
#define CourantFourierBackward    COURANT_VARIANT(CourantFourierBackward)
#define CourantFourierMultiplyAdd COURANT_VARIANT(CourantFourierMultiplyAdd)

/* The grid of a transform: the next sizes made of small primes. Independent of the variant. */
static inline int FourierGrid(int n)
{
  static const int primes[] = {2, 3, 5, 7};
  for (;; n++) {
    int rest = n;
    for (int i = 0; i < 4; i++)
      while (rest % primes[i] == 0) rest /= primes[i];
    if (rest == 1) return n;
  }
}

/* Reals of the half spectrum of an h x w plane (before rounding to whole vectors). */
static inline size_t FourierSpectrumSize(int h, int w)
{
  const size_t n = 2 * (size_t)FourierGrid(h) * (size_t)(FourierGrid(w) / 2 + 1);
  return (n + 15) / 16 * 16;
}

/* Reals of the work array of a transform. */
static inline size_t FourierWorkSize(int h, int w)
{
  const size_t n = (size_t)FourierGrid(h) * (size_t)FourierGrid(w);
  return (n + 15) / 16 * 16;
}
