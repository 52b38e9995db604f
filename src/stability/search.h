#pragma once
/* How eigenvalues are found: search.c looks for what is wanted, certificate.c for what that has missed, both
 * by solves (solve.c). */
#include "core/random.h"
#include "stability/spectrum.h"

/* A search: of one end, or of both in one Krylov space. */
typedef struct {
  CourantSpectrum spectrum;
  int nends;
  CourantSpectrumEnd *const *ends;
  PetscInt n;          /* dimension of the operator */
  PetscReal tolerance; /* of a residual, relative to the norm */
} CourantSearch;

enum {
  COURANT_BEYOND_EDGE = -1, /* in place of a number that is wanted: all that are not inside of the edge */
  COURANT_GROWTH = 3,       /* of a basis, from a solve that was cut short to the next */
};

/* Of the spectrum's length: a miss that is farther out by so much is what probabilities are about. */
#define COURANT_FARTHER 0.01

/*
  One solve, in the order of its life.

  It is told what to look for: of each end so many of the outermost eigenvalues, or all beyond an edge, at
  most `most` in a basis of so many vectors. In every iteration the outermost Ritz value of an end that has
  not converged is that end's candidate; when it lies inside of the edge by more than its residual, nothing
  more is expected of that end, and where that holds for all of them the solve is over. So it is when enough
  have converged or, without a candidate, all. Where a larger basis can be had it is cut short after some
  cycles: what has converged is kept, and a solve with the larger one goes on.
*/
typedef struct CourantSolve {
  const CourantSearch *search;
  PetscBool certifies; /* by the ends' certifier, which knows no guesses nor sizes of the user's */
  struct {
    PetscInt wanted; /* or COURANT_BEYOND_EDGE */
    PetscReal edge;  /* -sign infinity: none, everything is beyond */
    PetscReal candidate, residual;
  } ends[2];
  PetscInt most, basis;
  PetscInt cycles;     /* it is cut short after; 0: never */
  PetscBool cut_short; /* it was */
  /* while it runs */
  EPS eps;
  PetscInt nritz; /* the Ritz values of an iteration, ascending */
  PetscReal *ritz;
  PetscInt room;        /* for them */
  PetscInt ranked;      /* the iteration whose they are; 0: none */
  PetscInt tested;      /* the iteration whose Ritz values are being tested, */
  PetscBool all_so_far; /* of which all so far have converged */
} CourantSolve;

PetscErrorCode CourantSolveRun(CourantSolve *, CourantRandomPurpose, uint32_t index);
PetscBool CourantSolveIsClosed(const CourantSolve *, int end);

PetscInt CourantSearchFound(const CourantSearch *);
PetscErrorCode CourantSearchSetCycles(const CourantSearch *, PetscInt growth, PetscInt wanted,
                                      CourantSolve *);

PetscInt CourantCertificateBasis(const CourantSearch *, PetscInt growth);
PetscErrorCode CourantCertify(const CourantSearch *);
