#pragma once
/* The inside of a CourantSpectrum: the object (spectrum.c), how eigenvalues are searched for (search.h), and
 * what was found at an end (end.c). */
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
  PetscInt n, capacity;      /* pairs found, best first */
  PetscInt told;             /* of them what was asked for */
  Vec *vectors;              /* [capacity], the first n are there */
  CourantEigenvalue *values; /* [capacity] */
  PetscReal missed_search;   /* probability that the search has missed the outermost, */
  PetscReal missed;          /* and that the certificate has missed more */
  PetscReal complete; /* farther out nothing is missing; -sign infinity: nothing of what is wanted is */
  PetscInt searched, certified; /* products; those of a search of both ends count for each */
  Vec top;                      /* the vector of the first one */
} CourantSpectrumEnd;

struct _CourantSpectrum {
  MPI_Comm comm;
  Mat A;                        /* the operator, in double precision */
  Mat fast;                     /* the same to fewer digits, for the iterations; NULL: none */
  Mat view;                     /* what the solvers see: counted, scaled, fast */
  Vec scale;                    /* P^(-1/2); NULL: P = I */
  Vec scaled;                   /* an argument of A */
  PetscBool precise;            /* the view is of A, not of the fast one */
  PetscInt products;            /* applications of the view, */
  PetscInt searched, certified; /* for searches and for certificates */
  CourantSpectrumEnd ends[2];   /* largest, smallest */
  struct CourantSolve *solve;   /* at work; NULL: none */
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
PetscErrorCode CourantSpectrumEndAdd(CourantSpectrumEnd *, EPS, PetscInt i);
PetscErrorCode CourantSpectrumEndLastWanted(const CourantSpectrumEnd *, PetscReal *value);
PetscBool CourantSpectrumEndHasBetter(const CourantSpectrumEnd *, PetscInt first, PetscReal value);
PetscErrorCode CourantSpectrumEndFinish(CourantSpectrumEnd *);
PetscErrorCode CourantSpectrumSearchCheck(CourantSpectrumEnd *);
PetscErrorCode CourantSpectrumSearch(CourantSpectrum, int nends, PetscBool certify);
PetscErrorCode CourantSpectrumSetTests(CourantSpectrum, EPS);
