#pragma once
/* The inside of a CourantSpectrum: the object (spectrum.c) and how one end of the spectrum is solved (end.c).
 */
#include "courant.h"
#include "core/error.h"

/*
  One end of the spectrum. `sign` turns it so that what is wanted is large: 1 for the largest eigenvalues, -1
  for the smallest.
*/
typedef struct {
  CourantSpectrum spectrum;
  EPS eps;       /* of the search, with the user's options */
  EPS certifier; /* a Krylov-Schur solver */
  PetscReal sign;
  PetscInt wanted;     /* eigenvalues; 0: none of this end */
  PetscReal threshold; /* in place of a number: all above it; NaN: a number */
  PetscInt basis;      /* -eps_ncv; 0: chosen for the number of eigenvalues and the tolerance */
  PetscInt projected;  /* -eps_mpd; 0: EPS's own choice */
  PetscReal tolerance; /* of a residual, relative to the norm */
  PetscInt nguesses;   /* vectors to start from; 0: a random one */
  Vec *guesses;
  PetscInt n, capacity;         /* pairs found, best first */
  PetscInt told;                /* of them what was asked for */
  Vec *vectors;                 /* [capacity], the first n are there */
  CourantEigenvalue *values;    /* [capacity] */
  PetscReal missed;             /* probability that more is there */
  PetscInt searched, certified; /* products */
  Vec top;                      /* the vector of the first one */
  /* the solve at hand */
  PetscBool certifies;           /* looks for more than was found */
  PetscReal edge;                /* it ends when nothing more is expected beyond; -infinity: there is none */
  PetscInt growth;               /* of the search's basis, over what it starts with */
  PetscBool can_grow;            /* there is a larger one for a search that takes long */
  PetscBool gave_up;             /* it did take long */
  PetscReal candidate, distance; /* the Ritz value that was tested last, and its residual */
} CourantSpectrumEnd;

struct _CourantSpectrum {
  MPI_Comm comm;
  Mat A;                      /* the operator, in double precision */
  Mat fast;                   /* the same to fewer digits, for the iterations; NULL: none */
  Mat view;                   /* what the solvers see: counted, scaled, fast */
  Vec scale;                  /* P^(-1/2); NULL: P = I */
  Vec scaled;                 /* an argument of A */
  PetscBool precise;          /* the view is of A, not of the fast one */
  PetscInt products;          /* applications of the view */
  CourantSpectrumEnd ends[2]; /* largest, smallest */
  EPS norm_eps;
  PetscReal norm;   /* estimate of the largest |eigenvalue| */
  PetscReal memory; /* bytes for bases; 0: no limit */
  PetscErrorCode (*progress)(PetscReal fraction, void *);
  void *progress_ctx;
  PetscInt n_all; /* eigenvalues from LAPACK, ascending; 0: not computed */
  PetscReal *all;
};

PetscErrorCode CourantSpectrumEndCreate(CourantSpectrum, CourantSide, CourantSpectrumEnd *);
PetscErrorCode CourantSpectrumEndRenew(CourantSpectrumEnd *, PetscBool guesses);
PetscErrorCode CourantSpectrumEndReset(CourantSpectrumEnd *);
PetscErrorCode CourantSpectrumEndDestroy(CourantSpectrumEnd *);
PetscErrorCode CourantSpectrumEndCheck(CourantSpectrumEnd *);
PetscErrorCode CourantSpectrumEndSolve(CourantSpectrumEnd *, PetscBool certify);
PetscErrorCode CourantSpectrumSetStart(EPS, Vec start, uint32_t index);
