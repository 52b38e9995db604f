#include "jet/fourier.h"
#include <fftw3.h>
#include <stdlib.h>

#if COURANT_BITS == 64
#define FFTW(name) fftw_##name
#else
#define FFTW(name) fftwf_##name
#endif

struct CourantFourier {
  int h, w; /* the grid */
  FFTW(plan) forward, backward;
};

/*
  CourantFourierCreate - Transforms for planes of h x w and smaller; NULL without memory.

  Plans are made by FFTW_ESTIMATE alone, so that they are the same on every run. Not safe in threads; the
  other functions are. Planes, spectra and work arrays start on a cache line.
*/
CourantFourier CourantFourierCreate(int h, int w)
{
  CourantFourier f = (CourantFourier)malloc(sizeof *f);
  real *plane = (real *)aligned_alloc(64, FourierWorkSize(h, w) * sizeof(real));
  real *spectrum = (real *)aligned_alloc(64, FourierSpectrumSize(h, w) * sizeof(real));

  if (f && plane && spectrum) {
    f->h = FourierGrid(h);
    f->w = FourierGrid(w);
    f->forward = FFTW(plan_dft_r2c_2d)(f->h, f->w, plane, (FFTW(complex) *)spectrum, FFTW_ESTIMATE);
    f->backward = FFTW(plan_dft_c2r_2d)(f->h, f->w, (FFTW(complex) *)spectrum, plane, FFTW_ESTIMATE);
  }
  free(plane);
  free(spectrum);
  return f;
}

void CourantFourierDestroy(CourantFourier f)
{
  if (!f) return;
  FFTW(destroy_plan)(f->forward);
  FFTW(destroy_plan)(f->backward);
  free(f);
}

/*
  CourantFourierForward - Half spectrum of a plane [h,ld], w
  columns of which count, extended by zeros to the grid.
*/
void CourantFourierForward(CourantFourier f, int h, int w, const real *plane, int ld, real *work,
                           real *spectrum)
{
  memset(work, 0, sizeof(real) * (size_t)f->h * (size_t)f->w);
  for (int y = 0; y < h; y++)
    memcpy(work + (size_t)y * (size_t)f->w, plane + (size_t)y * (size_t)ld, sizeof(real) * (size_t)w);
  FFTW(execute_dft_r2c)(f->forward, work, (FFTW(complex) *)spectrum);
}

/*
  CourantFourierBackward - The first h x w values of the inverse
  transform, put or added into plane [h,ld]; spectrum is destroyed.
*/
void CourantFourierBackward(CourantFourier f, int h, int w, real *spectrum, real *work, real *plane, int ld,
                            int add)
{
  const real scale = 1 / ((real)f->h * (real)f->w);

  FFTW(execute_dft_c2r)(f->backward, (FFTW(complex) *)spectrum, work);
  for (int y = 0; y < h; y++) {
    const real *from = work + (size_t)y * (size_t)f->w;
    real *to = plane + (size_t)y * (size_t)ld;
    for (int x = 0; x < w; x++) to[x] = scale * from[x] + (add ? to[x] : 0);
  }
}

/* CourantFourierMultiplyAdd - sum += conj(a) b or a b, over all frequencies. */
void CourantFourierMultiplyAdd(CourantFourier f, FourierProduct product, const real *a, const real *b,
                               real *sum)
{
  const real sign = product == FOURIER_CONJUGATE_A ? 1 : -1;
  const int n = f->h * (f->w / 2 + 1);

  for (int i = 0; i < n; i++) {
    const real re = a[2 * i] * b[2 * i] + sign * (a[2 * i + 1] * b[2 * i + 1]);
    const real im = a[2 * i] * b[2 * i + 1] - sign * (a[2 * i + 1] * b[2 * i]);
    sum[2 * i] += re;
    sum[2 * i + 1] += im;
  }
}
