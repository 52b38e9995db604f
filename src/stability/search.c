/*
  The search for eigenvalues at one end of the spectrum of a symmetric operator, or at both of them in one
  Krylov space: when one end has converged, the same products have brought the other one far. That none was
  passed over is the certificate's to support (certificate.c).
*/
#include "stability/random-start.h"
#include "stability/search.h"
#include <math.h>

enum {
  CHUNK = 16, /* eigenvalues of the first solve for all above a threshold */
  LEAST = 12, /* vectors of a basis, beside those for what is wanted */
  CYCLES = 9, /* of a solve before it takes a larger basis */
};

/* ---- how large a basis ---- */

/* A basis in which so many eigenvalues converge after few restarts: more digits take more vectors, and so
   does the space of a Davidson method, which is no Krylov space. */
static PetscInt Basis(const CourantSearch *search, PetscInt growth, PetscInt wanted)
{
  const CourantSpectrumEnd *end = search->ends[0];
  const PetscReal digits = PetscMax(0, -PetscLog10Real(PetscMax(search->tolerance, 1e-16)));
  const PetscInt basis = 2 * wanted + LEAST + (PetscInt)(2 * digits);
  if (end->basis) return PetscMin(search->n, PetscMax(end->basis, wanted));
  return PetscMin(search->n, growth * (end->nguesses ? 2 * basis : basis));
}

/* Bytes on a rank: the bases of search and certificate, what they are deflated against, Rayleigh and Ritz's
 * copies. */
static PetscReal Bytes(const CourantSearch *search, PetscInt growth, PetscInt wanted)
{
  PetscMPIInt ranks = 1;

  (void)MPI_Comm_size(search->spectrum->comm, &ranks);
  return (8. * (PetscReal)((search->n + ranks - 1) / ranks)) *
         (PetscReal)(Basis(search, growth, wanted) + CourantCertificateBasis(search, growth) + 5 * wanted +
                     4);
}

/* How many of those wanted fit the memory. */
static PetscInt Fitting(const CourantSearch *search, PetscInt growth, PetscInt wanted)
{
  const PetscReal memory = search->spectrum->memory;
  while (wanted > 0 && memory > 0 && Bytes(search, growth, wanted) > memory) wanted--;
  return wanted;
}

/*
  CourantSearchSetCycles - Whether a solve for so many may be cut short: where its solver is Krylov-Schur with
  a basis of ours, of which a larger one fits; without a limit of memory once.
*/
PetscErrorCode CourantSearchSetCycles(const CourantSearch *search, PetscInt growth, PetscInt wanted,
                                      CourantSolve *solve)
{
  const CourantSpectrumEnd *first = search->ends[0];
  const PetscInt larger = growth * COURANT_GROWTH;
  const PetscBool fits =
      search->spectrum->memory > 0 ? Fitting(search, larger, wanted) == wanted : growth == 1;
  PetscBool krylov_schur;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectTypeCompare((PetscObject)(solve->certifies ? first->certifier : first->eps),
                                   EPSKRYLOVSCHUR, &krylov_schur));
  solve->cycles = krylov_schur && !first->basis && solve->basis < search->n && fits ? CYCLES : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- what is wanted ---- */

/* CourantSearchFound - Eigenvalues found so far, by all ends. */
PetscInt CourantSearchFound(const CourantSearch *search)
{
  PetscInt n = 0;
  for (int e = 0; e < search->nends; e++) n += search->ends[e]->n;
  return n;
}

/* A solve for so many more, or of all above the threshold for at most so many. */
static PetscErrorCode SetUpSolve(const CourantSearch *search, PetscInt growth, PetscInt most,
                                 CourantSolve *solve)
{
  PetscFunctionBeginUser;
  *solve = (CourantSolve){.search = search, .most = most, .basis = Basis(search, growth, most)};
  for (int e = 0; e < search->nends; e++) {
    const CourantSpectrumEnd *end = search->ends[e];
    const PetscBool all = isnan(end->threshold) ? PETSC_FALSE : PETSC_TRUE;
    solve->ends[e].wanted = all ? COURANT_BEYOND_EDGE : PetscMax(0, end->wanted - end->n);
    solve->ends[e].edge = all ? end->threshold : -end->sign * PETSC_INFINITY;
  }
  PetscCall(CourantSearchSetCycles(search, growth, most, solve));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenvalues still wanted, by all ends. */
static PetscInt Missing(const CourantSearch *search)
{
  PetscInt n = 0;
  for (int e = 0; e < search->nends; e++) n += PetscMax(0, search->ends[e]->wanted - search->ends[e]->n);
  return n;
}

/*
  The eigenvalues wanted, as far as random starts show them: mostly at once. All above a threshold come in
  chunks, and where many restarts do not do, what has converged is kept and a larger basis looks for the rest.
*/
static PetscErrorCode FindWanted(const CourantSearch *search)
{
  const PetscBool all = isnan(search->ends[0]->threshold) ? PETSC_FALSE : PETSC_TRUE;
  const PetscInt n = search->n;
  PetscInt growth = 1,
           most = all ? PetscMax(1, Fitting(search, growth, PetscMin(CHUNK, n))) : Missing(search);
  PetscBool more = PETSC_TRUE;
  CourantSolve solve;

  PetscFunctionBeginUser;
  for (uint32_t index = 0; more; index++) {
    const PetscInt before = CourantSearchFound(search);
    PetscCall(SetUpSolve(search, growth, most, &solve));
    for (int e = 0; e < search->nends && index == 0; e++)
      search->ends[e]->missed_search =
          search->ends[0]->nguesses ? 1 : CourantMissedProbability(n, solve.basis, COURANT_FARTHER);
    PetscCall(CourantSolveRun(&solve, COURANT_RANDOM_KRYLOV, index));
    const PetscInt found = CourantSearchFound(search);
    const PetscBool full = all && found - before == most ? PETSC_TRUE : PETSC_FALSE;
    if (solve.cut_short) growth *= COURANT_GROWTH;
    if (full) most = PetscMax(1, Fitting(search, growth, PetscMin(2 * most, n - found)));
    if (!all) most = Missing(search);
    more = found < n && most > 0 && (solve.cut_short || full) ? PETSC_TRUE : PETSC_FALSE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- one end, or both ---- */

static PetscErrorCode Begin(CourantSpectrum spectrum, int nends, CourantSpectrumEnd *const ends[],
                            CourantSearch *search)
{
  PetscFunctionBeginUser;
  *search = (CourantSearch){.spectrum = spectrum, .nends = nends, .ends = ends};
  PetscCall(MatGetSize(spectrum->A, &search->n, NULL));
  PetscCall(EPSGetTolerances(ends[0]->eps, &search->tolerance, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Do both ends come from one Krylov space? Where both solvers are Krylov-Schur with the same settings, and
  there is room for both.
*/
static PetscErrorCode CanShare(CourantSpectrum spectrum, PetscBool *share)
{
  CourantSpectrumEnd *const ends[] = {&spectrum->ends[0], &spectrum->ends[1]};
  PetscReal tolerance[2];
  PetscInt iterations[2], wanted = 0;
  CourantSearch search;

  PetscFunctionBeginUser;
  *share = PETSC_TRUE;
  for (int e = 0; e < 2; e++) {
    PetscBool krylov_schur;
    PetscCall(PetscObjectTypeCompare((PetscObject)ends[e]->eps, EPSKRYLOVSCHUR, &krylov_schur));
    PetscCall(EPSGetTolerances(ends[e]->eps, &tolerance[e], &iterations[e]));
    wanted += ends[e]->wanted;
    if (!krylov_schur || !ends[e]->wanted || ends[e]->nguesses || !isnan(ends[e]->threshold))
      *share = PETSC_FALSE;
  }
  PetscCall(Begin(spectrum, 2, ends, &search));
  if (tolerance[0] != tolerance[1] || iterations[0] != iterations[1] || ends[0]->basis != ends[1]->basis ||
      ends[0]->projected != ends[1]->projected || 2 * wanted >= search.n ||
      Fitting(&search, 1, wanted) < wanted)
    *share = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Does what is wanted of an end fit? Before anything is computed. */
PetscErrorCode CourantSpectrumSearchCheck(CourantSpectrumEnd *end)
{
  const CourantSpectrum spectrum = end->spectrum;
  const PetscInt wanted = isnan(end->threshold) ? end->wanted : 1;
  CourantSearch search;

  PetscFunctionBeginUser;
  PetscCall(Begin(spectrum, 1, &end, &search));
  if (wanted > search.n)
    CourantInputError(spectrum->comm, "%d eigenvalues are wanted of an operator of dimension %d", (int)wanted,
                      (int)search.n);
  const PetscInt fitting = Fitting(&search, 1, wanted);
  if (fitting < wanted)
    CourantInputError(spectrum->comm,
                      "the basis for %d eigenvalue%s takes %.3g MB on a rank, -memory leaves %.3g MB: %s%.0d",
                      (int)wanted, wanted == 1 ? "" : "s", Bytes(&search, 1, wanted) / 1e6,
                      spectrum->memory / 1e6, fitting ? "enough for " : "not enough for any", (int)fitting);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One end, or both together. */
static PetscErrorCode SolveEnds(CourantSpectrum spectrum, int nends, CourantSpectrumEnd *const ends[],
                                PetscBool certify)
{
  const PetscInt start = spectrum->products;
  CourantSearch search, one;
  PetscInt iterations;

  PetscFunctionBeginUser;
  for (int e = 0; e < nends; e++) {
    PetscCall(EPSGetTolerances(ends[e]->eps, &ends[e]->tolerance, &iterations));
    PetscCall(EPSSetTolerances(ends[e]->certifier, ends[e]->tolerance, iterations));
    ends[e]->missed = ends[e]->missed_search = 1;
    ends[e]->complete = -ends[e]->sign * PETSC_INFINITY;
  }
  PetscCall(Begin(spectrum, nends, ends, &search));
  PetscCall(FindWanted(&search));
  for (int e = 0; e < nends; e++) { /* the ends of a multiple of the identity are one */
    PetscCall(Begin(spectrum, 1, &ends[e], &one));
    if (nends > 1 && ends[e]->n < ends[e]->wanted) PetscCall(FindWanted(&one));
    if (isnan(ends[e]->threshold) && ends[e]->n == 0) certify = PETSC_FALSE;
  }
  PetscInt searched = spectrum->products - start;
  if (certify) PetscCall(CourantCertify(&search));
  const PetscInt certified = spectrum->products - start - searched;
  for (int e = 0; e < nends; e++) searched += ends[e]->n; /* for values and residuals */
  for (int e = 0; e < nends; e++) {
    ends[e]->searched = searched;
    ends[e]->certified = certified;
    PetscCall(CourantSpectrumEndFinish(ends[e]));
  }
  spectrum->searched += searched;
  spectrum->certified += certified;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  What is wanted of the first `nends` ends. Without a certificate multiplicities and the chance of a miss are
  what one random start knows of them.
*/
PetscErrorCode CourantSpectrumSearch(CourantSpectrum spectrum, int nends, PetscBool certify)
{
  CourantSpectrumEnd *const ends[] = {&spectrum->ends[0], &spectrum->ends[1]};
  PetscBool share = PETSC_FALSE;

  PetscFunctionBeginUser;
  spectrum->searched = spectrum->certified = 0;
  for (int e = 0; e < 2; e++) PetscCall(CourantSpectrumEndReset(ends[e]));
  if (nends == 2) PetscCall(CanShare(spectrum, &share));
  if (share) PetscCall(SolveEnds(spectrum, 2, ends, certify));
  for (int e = 0; e < nends && !share; e++)
    if (ends[e]->wanted) PetscCall(SolveEnds(spectrum, 1, &ends[e], certify));
  PetscFunctionReturn(PETSC_SUCCESS);
}
