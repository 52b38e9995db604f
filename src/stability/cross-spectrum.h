#pragma once
/* The spatial frequencies in what a layer reads: cross-spectral density of its input channels. */
#include "core/progress.h"
#include "dynamics/problem.h"

/* S(w) [channels,channels], Hermitian, on the grid of a discrete Fourier transform. */
typedef struct {
  int h, w;           /* of the grid */
  int kernel[2];      /* 1, 1 of a dense layer */
  int inputs;         /* channels of the layer's input */
  int channels;       /* and one more, constant, where the layer has a bias */
  int outputs;        /* pixels of the layer's output */
  size_t frequencies; /* h (w/2+1): those of the half plane; S(-w) is the conjugate of S(w) */
  double *density; /* [frequencies,2,channels,channels]: S_ab at a + channels b, real, then imaginary part */

  /* Of the first `active` channels: all on a grid of one point, else those of the input. */
  int active;
  double *rho;         /* [frequencies]: spectral radius of S(w) */
  double largest;      /* of rho */
  double frequency[2]; /* where: vertical and horizontal, radians a pixel */
  double *direction;   /* [active,2]: its eigenvector, unit, the largest component real and positive */
  double patches;      /* upper bound of the largest eigenvalue of mean_i P_i^T P_i, bias and all */
} CourantCrossSpectrum;

PetscErrorCode CourantCrossSpectrumCreate(CourantProblem, const double theta[], PetscInt layer,
                                          CourantProgress *, CourantCrossSpectrum *);
PetscErrorCode CourantCrossSpectrumMaximise(CourantCrossSpectrum *, int threads);
PetscErrorCode CourantCrossSpectrumDestroy(CourantCrossSpectrum *);
PetscInt CourantCrossSpectrumUnits(CourantProblem);
PetscErrorCode CourantLayerCheckMemory(CourantProblem, double bytes);
