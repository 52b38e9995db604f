/*
  The certificate of what a search has found.

  A residual says that some eigenvalue is near, not that none was passed over. So another solve starts
  elsewhere, deflated against what was found, and goes on until the outermost Ritz values and their residuals
  leave no room for more, or adds what it finds, copies of multiple eigenvalues too, and another one looks on.
*/
#include "stability/random-start.h"
#include "stability/search.h"
#include <math.h>

enum {
  ROUNDS = 8, /* each deflated against what those before have found */
  LEAST = 12, /* vectors of a basis */
};

static const PetscReal doubt = 0.05; /* probability of a miss that may be left */

/* CourantCertificateBasis - The steps of the first cycle: after those the probability is below `doubt`. */
PetscInt CourantCertificateBasis(const CourantSearch *search, PetscInt growth)
{
  const PetscReal steps = PetscLogReal(1.648 * PetscSqrtReal((PetscReal)search->n) / doubt) /
                              (2 * PetscSqrtReal(COURANT_FARTHER)) +
                          0.5;
  const PetscInt basis = search->ends[0]->basis;
  if (basis) return PetscMin(search->n, basis);
  return PetscMin(search->n, growth * PetscMax(LEAST, (PetscInt)PetscCeilReal(steps)));
}

/* The last that is wanted of an end. */
static PetscErrorCode LastWanted(const CourantSpectrumEnd *end, PetscReal *last)
{
  PetscFunctionBeginUser;
  *last = end->threshold;
  if (isnan(*last)) PetscCall(CourantSpectrumEndLastWanted(end, last));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a round says of an end, with so many eigenvalues left to find before it. */
static void Conclude(const CourantSolve *solve, int e, PetscInt left)
{
  const CourantSearch *search = solve->search;
  const PetscReal candidate = solve->ends[e].candidate; /* none: all Ritz values have converged */
  const PetscBool closed =
      isnan(candidate) || CourantSolveIsClosed(solve, e) || CourantSearchFound(search) == search->n
          ? PETSC_TRUE
          : PETSC_FALSE;
  CourantSpectrumEnd *end = search->ends[e];

  end->missed = CourantMissedProbability(left, solve->basis, COURANT_FARTHER);
  end->complete = closed ? -end->sign * PETSC_INFINITY : candidate;
}

/*
  One round: looks beyond edges that are `near` inside of the last that is wanted.

  done: what it found changes nothing of what is wanted. growth: of its basis; of the next one's, if it was
  cut short.
*/
static PetscErrorCode Round(const CourantSearch *search, uint32_t round, PetscReal near, PetscInt *growth,
                            PetscBool *done)
{
  const PetscInt left = search->n - CourantSearchFound(search);
  CourantSolve solve = {
      .search = search, .certifies = PETSC_TRUE, .basis = CourantCertificateBasis(search, *growth)};
  PetscInt before[2];
  PetscReal last[2];

  PetscFunctionBeginUser;
  solve.most = PetscMax(1, PetscMin(solve.basis / 2, left));
  for (int e = 0; e < search->nends; e++) {
    before[e] = search->ends[e]->n;
    PetscCall(LastWanted(search->ends[e], &last[e]));
    solve.ends[e].wanted = COURANT_BEYOND_EDGE;
    solve.ends[e].edge = last[e] - search->ends[e]->sign * near;
  }
  PetscCall(CourantSearchSetCycles(search, *growth, 1, &solve));
  PetscCall(CourantSolveRun(&solve, COURANT_RANDOM_CERTIFICATE, round));
  if (solve.cut_short) *growth *= COURANT_GROWTH;
  *done = solve.cut_short ? PETSC_FALSE : PETSC_TRUE;
  for (int e = 0; e < search->nends; e++)
    if (CourantSpectrumEndHasBetter(search->ends[e], before[e], last[e] + search->ends[e]->sign * near))
      *done = PETSC_FALSE;
  for (int e = 0; e < search->nends; e++) Conclude(&solve, e, left);
  if (round + 1 < ROUNDS || *done) PetscFunctionReturn(PETSC_SUCCESS);
  for (int e = 0; e < search->nends; e++) { /* there may be more like what the last round has found */
    CourantSpectrumEnd *end = search->ends[e];
    end->complete = end->n > before[e] ? end->values[before[e]].value : last[e];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantCertify - Looks for more than was found, until what comes changes nothing of what is wanted. */
PetscErrorCode CourantCertify(const CourantSearch *search)
{
  const PetscReal norm = search->spectrum->norm,
                  near = isnan(search->ends[0]->threshold) ? 2 * search->tolerance * norm : 0;
  PetscInt growth = 1;
  PetscBool done = PETSC_FALSE;

  PetscFunctionBeginUser;
  for (int e = 0; e < search->nends; e++) search->ends[e]->missed = 0; /* where everything has been found */
  for (uint32_t round = 0; round < ROUNDS && !done && CourantSearchFound(search) < search->n; round++)
    PetscCall(Round(search, round, near, &growth, &done));
  PetscFunctionReturn(PETSC_SUCCESS);
}
