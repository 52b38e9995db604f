/*
  One solve for eigenvalues at one end of the spectrum, or at both in one Krylov space: which of SLEPc's Ritz
  values are preferred, when they have converged, and when it ends.
*/
#include "stability/random-start.h"
#include "stability/search.h"
#include <math.h>

/* ---- which Ritz values are wanted ---- */

static PetscErrorCode ReadRitzValues(CourantSolve *solve, EPS eps)
{
  PetscReal *ritz;
  PetscInt iteration;
  PetscReal *norm = &solve->search->spectrum->norm;
  DS ds;

  PetscFunctionBeginUser;
  PetscCall(EPSGetIterationNumber(eps, &iteration));
  if (iteration == solve->ranked) PetscFunctionReturn(PETSC_SUCCESS);
  solve->ranked = iteration;
  PetscCall(EPSGetDS(eps, &ds));
  PetscCall(DSGetDimensions(ds, &solve->nritz, NULL, NULL, NULL));
  if (solve->nritz > solve->room) {
    solve->room = solve->nritz;
    PetscCall(PetscRealloc(sizeof(PetscReal) * (size_t)solve->room, &solve->ritz));
  }
  PetscCall(DSGetArrayReal(ds, DS_MAT_T, &ritz));
  PetscCall(PetscArraycpy(solve->ritz, ritz, solve->nritz));
  PetscCall(DSRestoreArrayReal(ds, DS_MAT_T, &ritz));
  PetscCall(PetscSortReal(solve->nritz, solve->ritz));
  for (PetscInt i = 0; i < solve->nritz; i++) *norm = PetscMax(*norm, fabs(solve->ritz[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Ritz values farther out at an end. */
static PetscInt Rank(const CourantSolve *solve, int e, PetscReal value)
{
  const PetscBool largest = solve->search->ends[e]->sign > 0 ? PETSC_TRUE : PETSC_FALSE;
  PetscInt low = 0, high = solve->nritz; /* the first that is not below, or that is above */

  while (low < high) {
    const PetscInt middle = (low + high) / 2;
    if (solve->ritz[middle] < value || (largest && solve->ritz[middle] == value))
      low = middle + 1;
    else
      high = middle;
  }
  return largest ? solve->nritz - low : low;
}

/* The place of a Ritz value behind the last that is wanted of an end, negative before it; what is not wanted
 * comes by turns from both ends. */
static PetscInt Place(const CourantSolve *solve, int e, PetscReal value)
{
  const PetscInt wanted = solve->ends[e].wanted;
  return Rank(solve, e, value) -
         (wanted == COURANT_BEYOND_EDGE ? Rank(solve, e, solve->ends[e].edge) : wanted);
}

/* The end that a Ritz value belongs to. */
static int EndOf(const CourantSolve *solve, PetscReal value)
{
  return solve->search->nends > 1 && Place(solve, 1, value) < Place(solve, 0, value) ? 1 : 0;
}

/* EPS's order of the Ritz values for both ends: negative where the first is preferred. */
static PetscErrorCode ComparePlaces(PetscScalar ar, PetscScalar ai, PetscScalar br, PetscScalar bi,
                                    PetscInt *order, void *ctx)
{
  CourantSolve *solve = ((CourantSpectrum)ctx)->solve;

  PetscFunctionBeginUser;
  (void)ai, (void)bi;
  PetscCall(ReadRitzValues(solve, solve->eps));
  const PetscReal a = PetscRealPart(ar), b = PetscRealPart(br);
  *order = Place(solve, EndOf(solve, a), a) - Place(solve, EndOf(solve, b), b);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One end has its own order in EPS, which every type of solver knows; both take ours. */
static PetscErrorCode SetOrder(const CourantSolve *solve)
{
  const PetscBool both = solve->search->nends > 1 ? PETSC_TRUE : PETSC_FALSE,
                  largest = solve->search->ends[0]->sign > 0 ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(EPSSetWhichEigenpairs(solve->eps, both      ? EPS_WHICH_USER
                                              : largest ? EPS_LARGEST_REAL
                                                        : EPS_SMALLEST_REAL));
  if (both) PetscCall(EPSSetEigenvalueComparison(solve->eps, ComparePlaces, solve->search->spectrum));
  PetscCall(EPSSetTrackAll(solve->eps, both)); /* a candidate of each end */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- tests during a solve ---- */

/*
  Residuals are measured against the norm of the operator, which Krylov-Schur's Ritz values have to a percent
  after one cycle: a test relative to the eigenvalue fails near 0. What a search has at its last iteration is
  taken as it is: its residual will tell. EPS locks what has converged up to the first that has not; the
  first of each end from there on is that end's candidate.
*/
static PetscErrorCode TestConvergence(EPS eps, PetscScalar re, PetscScalar im, PetscReal residual,
                                      PetscReal *error, void *ctx)
{
  CourantSolve *solve = ((CourantSpectrum)ctx)->solve;
  const PetscReal value = PetscRealPart(re);
  PetscInt iteration, last;
  PetscBool krylov_schur;

  PetscFunctionBeginUser;
  (void)im;
  PetscCall(PetscObjectTypeCompare((PetscObject)eps, EPSKRYLOVSCHUR, &krylov_schur));
  if (krylov_schur) PetscCall(ReadRitzValues(solve, eps));
  PetscCall(EPSGetIterationNumber(eps, &iteration));
  PetscCall(EPSGetTolerances(eps, NULL, &last));
  if (iteration != solve->tested) {
    solve->tested = iteration;
    solve->all_so_far = PETSC_TRUE;
    for (int e = 0; e < 2; e++) solve->ends[e].candidate = NAN;
  }
  const PetscReal norm = solve->search->spectrum->norm;
  *error = norm > 0 ? residual / norm : residual;
  if (!solve->certifies && iteration >= last) *error = 0;
  if (*error >= solve->search->tolerance) solve->all_so_far = PETSC_FALSE;
  const int e = EndOf(solve, value);
  if (solve->all_so_far || !isnan(solve->ends[e].candidate)) PetscFunctionReturn(PETSC_SUCCESS);
  solve->ends[e].candidate = value;
  solve->ends[e].residual = residual;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Is a value inside of what is looked for at an end? */
static PetscBool IsInside(const CourantSolve *solve, int e, PetscReal value)
{
  const PetscReal sign = solve->search->ends[e]->sign;
  return sign * value < sign * solve->ends[e].edge ? PETSC_TRUE : PETSC_FALSE;
}

/* Is everything that may yet come of an end inside of its edge? */
PetscBool CourantSolveIsClosed(const CourantSolve *solve, int e)
{
  return IsInside(solve, e,
                  solve->ends[e].candidate + solve->search->ends[e]->sign * solve->ends[e].residual);
}

static PetscBool AreClosed(const CourantSolve *solve)
{
  for (int e = 0; e < solve->search->nends; e++)
    if (!CourantSolveIsClosed(solve, e)) return PETSC_FALSE;
  return PETSC_TRUE;
}

/* The certificates are taken for one eigenvalue more of each end. */
static PetscErrorCode ShowProgress(const CourantSolve *solve, PetscInt converged)
{
  const CourantSearch *search = solve->search;
  const CourantSpectrum spectrum = search->spectrum;
  PetscInt before = 0, here = 0, all = 0;

  PetscFunctionBeginUser;
  for (int e = 0; e < 2; e++) {
    const CourantSpectrumEnd *end = &spectrum->ends[e];
    if (!end->wanted) continue;
    if (end < search->ends[0]) before += end->wanted + 1;
    all += end->wanted + 1;
  }
  for (int e = 0; e < search->nends; e++) here += search->ends[e]->wanted;
  if (!solve->certifies) here = PetscMin(CourantSearchFound(search) + converged, here);
  PetscCall(spectrum->progress((PetscReal)(before + here) / (PetscReal)all, spectrum->progress_ctx));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TestStop(EPS eps, PetscInt iteration, PetscInt last, PetscInt converged,
                               PetscInt wanted, EPSConvergedReason *reason, void *ctx)
{
  CourantSolve *solve = ((CourantSpectrum)ctx)->solve;

  PetscFunctionBeginUser;
  if (solve->search->spectrum->progress) PetscCall(ShowProgress(solve, converged));
  PetscCall(EPSStoppingBasic(eps, iteration, last, converged, wanted, reason, NULL));
  if (*reason <= 0 && AreClosed(solve)) *reason = EPS_CONVERGED_USER;
  if (*reason || !solve->cycles || iteration < solve->cycles) PetscFunctionReturn(PETSC_SUCCESS);
  *reason = EPS_CONVERGED_USER;
  solve->cut_short = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The tests of a solver, before its options are read, which may say otherwise. */
PetscErrorCode CourantSpectrumSetTests(CourantSpectrum spectrum, EPS eps)
{
  PetscFunctionBeginUser;
  PetscCall(EPSSetConvergenceTestFunction(eps, TestConvergence, spectrum, NULL));
  PetscCall(EPSSetStoppingTestFunction(eps, TestStop, spectrum, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the solve ---- */

/* Looks away from what has been found. */
static PetscErrorCode Deflate(const CourantSolve *solve)
{
  const CourantSearch *search = solve->search;
  const PetscInt n = CourantSearchFound(search);
  Vec *vectors;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &vectors));
  for (int e = 0, i = 0; e < search->nends; e++)
    for (PetscInt j = 0; j < search->ends[e]->n; j++) vectors[i++] = search->ends[e]->vectors[j];
  PetscCall(EPSSetDeflationSpace(solve->eps, n, vectors));
  PetscCall(PetscFree(vectors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds the pairs that the solver has to their ends, those not inside of the edge. */
static PetscErrorCode Collect(const CourantSolve *solve)
{
  PetscScalar value;
  PetscInt there;

  PetscFunctionBeginUser;
  PetscCall(EPSGetConverged(solve->eps, &there));
  for (PetscInt i = 0; i < PetscMin(there, solve->most); i++) {
    PetscCall(EPSGetEigenvalue(solve->eps, i, &value, NULL));
    const int e = EndOf(solve, PetscRealPart(value));
    if (!IsInside(solve, e, PetscRealPart(value)))
      PetscCall(CourantSpectrumEndAdd(solve->search->ends[e], solve->eps, i));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How large the solver's spaces are, and what it starts from. */
static PetscErrorCode SetSpaces(const CourantSolve *solve, CourantRandomPurpose purpose, uint32_t index)
{
  const CourantSpectrumEnd *first = solve->search->ends[0];
  const PetscBool guesses = first->nguesses && !solve->certifies ? PETSC_TRUE : PETSC_FALSE;
  const EPS eps = solve->eps;
  PetscBool sized, davidson;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectTypeCompareAny((PetscObject)eps, &sized, EPSKRYLOVSCHUR, EPSGD, ""));
  PetscCall(PetscObjectTypeCompare((PetscObject)eps, EPSGD, &davidson));
  if (davidson && guesses) {
    PetscCall(EPSGDSetInitialSize(eps, first->nguesses));
    PetscCall(EPSGDSetRestart(eps, PetscMax(solve->most + 1, solve->basis / 3), 1));
  }
  PetscCall(EPSSetDimensions(eps, solve->most, sized || first->basis ? solve->basis : PETSC_DEFAULT,
                             first->projected && !solve->certifies ? first->projected : PETSC_DEFAULT));
  PetscCall(CourantSetRandomStart(eps, first->top, purpose, index));
  if (guesses) PetscCall(EPSSetInitialSpace(eps, first->nguesses, first->guesses));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSolveRun - Solves, away from what the search's ends hold, and adds to them what it finds.

  purpose and index tell the random start from those of other solves.
*/
PetscErrorCode CourantSolveRun(CourantSolve *solve, CourantRandomPurpose purpose, uint32_t index)
{
  const CourantSearch *search = solve->search;
  const CourantSpectrumEnd *first = search->ends[0];

  PetscFunctionBeginUser;
  solve->eps = solve->certifies ? first->certifier : first->eps;
  for (int e = 0; e < search->nends; e++) solve->ends[e].candidate = NAN;
  PetscCall(SetSpaces(solve, purpose, index));
  PetscCall(SetOrder(solve));
  PetscCall(Deflate(solve));
  search->spectrum->solve = solve;
  PetscCall(EPSSolve(solve->eps));
  PetscCall(Collect(solve));
  search->spectrum->solve = NULL;
  PetscCall(EPSSetDeflationSpace(solve->eps, 0, NULL));
  PetscCall(PetscFree(solve->ritz));
  PetscFunctionReturn(PETSC_SUCCESS);
}
