/*
  The search for eigenvalues at one end of the spectrum of a symmetric operator, or at both of them in one
  Krylov space: when one end has converged, the same products have brought the other one far.

  SLEPc finds the eigenvalues that are wanted from a random start. A residual says that some eigenvalue is
  near, not that none was passed over: that is the certificate's to support, a second solve from another
  start, deflated against what was found, which goes on until the outermost Ritz values and their residuals
  leave no room for more, or adds what it finds, copies of multiple eigenvalues too.
*/
#include "stability/random-start.h"
#include "stability/spectrum.h"
#include <math.h>

enum {
  ROUNDS = 8, /* certificates, each deflated against what those before have found */
  CHUNK = 16, /* eigenvalues of the first search of all above a threshold */
  LEAST = 12, /* vectors of a basis */
  CYCLES = 9, /* of a solve before it takes a larger basis, */
  GROWTH = 3, /* so many times as large */
};

static const PetscReal passed = 0.01; /* of the spectrum's length that a miss may be farther out by */
static const PetscReal doubt = 0.05;  /* probability of a miss that a certificate may leave */

typedef struct CourantSearch {
  CourantSpectrum spectrum;
  int nends;
  CourantSpectrumEnd *const *ends;
  EPS eps;             /* the solver at work */
  PetscInt n;          /* dimension of the operator */
  PetscReal tolerance; /* of a residual, relative to the norm */
  PetscBool certifies; /* looks for more than was found */
  PetscInt growth;     /* of the basis, over what it starts with */
  PetscBool can_grow;  /* there is a larger one for a solve that takes long */
  PetscBool gave_up;   /* it did take long */
  PetscInt nritz;      /* the Ritz values of an iteration, ascending */
  PetscReal *ritz;     /* [room] */
  PetscInt room;
  PetscInt ranked;      /* the iteration whose they are; 0: none */
  PetscInt tested;      /* the iteration whose Ritz values are being tested, */
  PetscBool all_so_far; /* of which all so far have converged */
} Search;

/* ---- which Ritz values are wanted ---- */

static PetscErrorCode ReadRitzValues(Search *search, EPS eps)
{
  PetscReal *ritz;
  PetscInt iteration;
  DS ds;

  PetscFunctionBeginUser;
  PetscCall(EPSGetIterationNumber(eps, &iteration));
  if (iteration == search->ranked) PetscFunctionReturn(PETSC_SUCCESS);
  search->ranked = iteration;
  PetscCall(EPSGetDS(eps, &ds));
  PetscCall(DSGetDimensions(ds, &search->nritz, NULL, NULL, NULL));
  if (search->nritz > search->room) {
    search->room = search->nritz;
    PetscCall(PetscRealloc(sizeof(PetscReal) * (size_t)search->room, &search->ritz));
  }
  PetscCall(DSGetArrayReal(ds, DS_MAT_T, &ritz));
  PetscCall(PetscArraycpy(search->ritz, ritz, search->nritz));
  PetscCall(DSRestoreArrayReal(ds, DS_MAT_T, &ritz));
  PetscCall(PetscSortReal(search->nritz, search->ritz));
  for (PetscInt i = 0; i < search->nritz; i++)
    search->spectrum->norm = PetscMax(search->spectrum->norm, fabs(search->ritz[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Ritz values farther out at an end. */
static PetscInt Rank(const Search *search, const CourantSpectrumEnd *end, PetscReal value)
{
  PetscInt low = 0, high = search->nritz; /* the first that is not below, or that is above */

  while (low < high) {
    const PetscInt middle = (low + high) / 2;
    if (search->ritz[middle] < value || (end->sign > 0 && search->ritz[middle] == value))
      low = middle + 1;
    else
      high = middle;
  }
  return end->sign > 0 ? search->nritz - low : low;
}

/* Is a value inside of what an end is looking for? */
static PetscBool IsWithin(const CourantSpectrumEnd *end, PetscReal value)
{
  return end->sign * value < end->sign * end->edge ? PETSC_TRUE : PETSC_FALSE;
}

/*
  The place of a Ritz value in the order of an end, negative where it is wanted: a search wants so many, a
  certificate all beyond the edge. What is neither comes by turns from both ends.
*/
static PetscInt Place(const Search *search, const CourantSpectrumEnd *end, PetscReal value)
{
  const PetscInt rank = Rank(search, end, value);
  if (!search->certifies) return rank - (end->wanted - end->n);
  return IsWithin(end, value) ? rank : rank - search->nritz;
}

static CourantSpectrumEnd *EndOf(const Search *search, PetscReal value)
{
  CourantSpectrumEnd *const *ends = search->ends;
  const PetscBool second = search->nends > 1 && Place(search, ends[1], value) < Place(search, ends[0], value)
                               ? PETSC_TRUE
                               : PETSC_FALSE;
  return ends[second];
}

/* EPS's order of the Ritz values for both ends: negative where the first is preferred. */
static PetscErrorCode ComparePlaces(PetscScalar ar, PetscScalar ai, PetscScalar br, PetscScalar bi,
                                    PetscInt *order, void *ctx)
{
  Search *search = ((CourantSpectrum)ctx)->search;

  PetscFunctionBeginUser;
  (void)ai, (void)bi;
  PetscCall(ReadRitzValues(search, search->eps));
  const PetscReal a = PetscRealPart(ar), b = PetscRealPart(br);
  *order = Place(search, EndOf(search, a), a) - Place(search, EndOf(search, b), b);
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
  Search *search = ((CourantSpectrum)ctx)->search;
  const PetscReal value = PetscRealPart(re);
  PetscInt iteration, last;
  PetscBool krylov_schur;

  PetscFunctionBeginUser;
  (void)im;
  PetscCall(PetscObjectTypeCompare((PetscObject)eps, EPSKRYLOVSCHUR, &krylov_schur));
  if (krylov_schur) PetscCall(ReadRitzValues(search, eps));
  PetscCall(EPSGetIterationNumber(eps, &iteration));
  PetscCall(EPSGetTolerances(eps, NULL, &last));
  if (iteration != search->tested) {
    search->tested = iteration;
    search->all_so_far = PETSC_TRUE;
    for (int e = 0; e < search->nends; e++) search->ends[e]->candidate = NAN;
  }
  *error = search->spectrum->norm > 0 ? residual / search->spectrum->norm : residual;
  if (!search->certifies && iteration >= last) *error = 0;
  if (*error >= search->tolerance) search->all_so_far = PETSC_FALSE;
  CourantSpectrumEnd *end = EndOf(search, value);
  if (search->all_so_far || !isnan(end->candidate)) PetscFunctionReturn(PETSC_SUCCESS);
  end->candidate = value;
  end->distance = residual;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Is everything that may yet come inside of the edge? */
static PetscBool IsClosed(const CourantSpectrumEnd *end)
{
  return IsWithin(end, end->candidate + end->sign * end->distance);
}

static PetscBool AreClosed(const Search *search)
{
  for (int e = 0; e < search->nends; e++)
    if (!IsClosed(search->ends[e])) return PETSC_FALSE;
  return PETSC_TRUE;
}

/* The certificates are taken for one eigenvalue more of each end. */
static PetscErrorCode ShowProgress(const Search *search, PetscInt converged)
{
  const CourantSpectrum spectrum = search->spectrum;
  const CourantSpectrumEnd *const all_ends = spectrum->ends;
  PetscInt before = 0, here = 0, all = 0;

  PetscFunctionBeginUser;
  for (int e = 0; e < 2; e++) {
    const CourantSpectrumEnd *end = &all_ends[e];
    if (!end->wanted) continue;
    if (end < search->ends[0]) before += end->wanted + 1;
    all += end->wanted + 1;
  }
  for (int e = 0; e < search->nends; e++) here += search->ends[e]->wanted;
  if (!search->certifies) here = PetscMin(converged, here);
  PetscCall(spectrum->progress((PetscReal)(before + here) / (PetscReal)all, spectrum->progress_ctx));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TestStop(EPS eps, PetscInt iteration, PetscInt last, PetscInt converged,
                               PetscInt wanted, EPSConvergedReason *reason, void *ctx)
{
  Search *search = ((CourantSpectrum)ctx)->search;

  PetscFunctionBeginUser;
  if (search->spectrum->progress) PetscCall(ShowProgress(search, converged));
  PetscCall(EPSStoppingBasic(eps, iteration, last, converged, wanted, reason, NULL));
  if (*reason <= 0 && AreClosed(search)) *reason = EPS_CONVERGED_USER;
  if (*reason || !search->can_grow || iteration < CYCLES) PetscFunctionReturn(PETSC_SUCCESS);
  *reason = EPS_CONVERGED_USER;
  search->gave_up = PETSC_TRUE;
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

/* ---- how large a basis ---- */

/* The steps of a certificate's first cycle: after those the probability is below `doubt`. */
static PetscInt CertificateBasis(const Search *search)
{
  const PetscReal steps =
      PetscLogReal(1.648 * PetscSqrtReal((PetscReal)search->n) / doubt) / (2 * PetscSqrtReal(passed)) + 0.5;
  const PetscInt basis = search->ends[0]->basis;
  if (basis) return PetscMin(search->n, basis);
  return PetscMin(search->n, search->growth * PetscMax(LEAST, (PetscInt)PetscCeilReal(steps)));
}

/* A basis in which so many eigenvalues converge after few restarts: more digits take more vectors, and so
   does the space of a Davidson method, which is no Krylov space. */
static PetscInt SearchBasis(const Search *search, PetscInt wanted)
{
  const CourantSpectrumEnd *end = search->ends[0];
  const PetscReal digits = PetscMax(0, -PetscLog10Real(PetscMax(search->tolerance, 1e-16)));
  const PetscInt basis = 2 * wanted + LEAST + (PetscInt)(2 * digits);
  if (end->basis) return PetscMin(search->n, PetscMax(end->basis, wanted));
  return PetscMin(search->n, search->growth * (end->nguesses ? 2 * basis : basis));
}

/* Bytes on a rank: the bases of search and certificate, what they are deflated against, Rayleigh and Ritz's
 * copies. */
static PetscReal Bytes(const Search *search, PetscInt wanted)
{
  PetscMPIInt ranks = 1;

  (void)MPI_Comm_size(search->spectrum->comm, &ranks);
  return (8. * (PetscReal)((search->n + ranks - 1) / ranks)) *
         (PetscReal)(SearchBasis(search, wanted) + CertificateBasis(search) + 5 * wanted + 4);
}

static PetscInt Fitting(const Search *search, PetscInt wanted)
{
  const PetscReal memory = search->spectrum->memory;
  while (wanted > 0 && memory > 0 && Bytes(search, wanted) > memory) wanted--;
  return wanted;
}

static EPS Solver(const Search *search)
{
  return search->certifies ? search->ends[0]->certifier : search->ends[0]->eps;
}

/* May a solve that finds its basis too small go on with a larger one? */
static PetscErrorCode CanGrow(Search *search, PetscInt wanted)
{
  const PetscInt growth = search->growth,
                 basis = search->certifies ? CertificateBasis(search) : SearchBasis(search, wanted);

  PetscFunctionBeginUser;
  search->gave_up = PETSC_FALSE;
  PetscCall(PetscObjectTypeCompare((PetscObject)Solver(search), EPSKRYLOVSCHUR, &search->can_grow));
  if (search->ends[0]->basis || basis == search->n) search->can_grow = PETSC_FALSE;
  search->growth *= GROWTH;
  if (search->spectrum->memory > 0 ? Fitting(search, wanted) < wanted : search->growth > GROWTH)
    search->can_grow = PETSC_FALSE;
  search->growth = growth;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- solves ---- */

/* Eigenvalues found, by all ends. */
static PetscInt Found(const Search *search)
{
  PetscInt n = 0;
  for (int e = 0; e < search->nends; e++) n += search->ends[e]->n;
  return n;
}

/* Eigenvalues still wanted, by all ends. */
static PetscInt Missing(const Search *search)
{
  PetscInt n = 0;
  for (int e = 0; e < search->nends; e++) n += PetscMax(0, search->ends[e]->wanted - search->ends[e]->n);
  return n;
}

/* Looks away from what has been found. */
static PetscErrorCode Deflate(const Search *search, EPS eps)
{
  const PetscInt n = Found(search);
  Vec *vectors;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &vectors));
  for (int e = 0, i = 0; e < search->nends; e++)
    for (PetscInt j = 0; j < search->ends[e]->n; j++) vectors[i++] = search->ends[e]->vectors[j];
  PetscCall(EPSSetDeflationSpace(eps, n, vectors));
  PetscCall(PetscFree(vectors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One end has its own order in EPS, which every type of solver knows; both take ours. */
static PetscErrorCode SetOrder(const Search *search, EPS eps)
{
  const PetscBool both = search->nends > 1 ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(EPSSetWhichEigenpairs(eps, both                        ? EPS_WHICH_USER
                                       : search->ends[0]->sign > 0 ? EPS_LARGEST_REAL
                                                                   : EPS_SMALLEST_REAL));
  if (both) PetscCall(EPSSetEigenvalueComparison(eps, ComparePlaces, search->spectrum));
  PetscCall(EPSSetTrackAll(eps, both)); /* a candidate of each end */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds at most `most` of the pairs that the solver has to their ends, those not within the edge. */
static PetscErrorCode Collect(const Search *search, EPS eps, PetscInt most)
{
  CourantSpectrumEnd **ends;
  PetscScalar value;
  PetscInt there;

  PetscFunctionBeginUser;
  PetscCall(EPSGetConverged(eps, &there));
  there = PetscMin(there, most);
  PetscCall(PetscMalloc1(there, &ends)); /* first whose they are, which depends on what has been found */
  for (PetscInt i = 0; i < there; i++) {
    PetscCall(EPSGetEigenvalue(eps, i, &value, NULL));
    ends[i] = EndOf(search, PetscRealPart(value));
    if (IsWithin(ends[i], PetscRealPart(value))) ends[i] = NULL;
  }
  for (PetscInt i = 0; i < there; i++)
    if (ends[i]) PetscCall(CourantSpectrumEndAdd(ends[i], eps, i));
  PetscCall(PetscFree(ends));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One solve for `most` eigenvalues at most, away from those found so far. */
static PetscErrorCode SolveOnce(Search *search, uint32_t index, PetscInt most, PetscInt basis)
{
  const CourantSpectrumEnd *first = search->ends[0];
  const EPS eps = Solver(search);
  PetscBool ours, davidson;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectTypeCompareAny((PetscObject)eps, &ours, EPSKRYLOVSCHUR, EPSGD, ""));
  PetscCall(PetscObjectTypeCompare((PetscObject)eps, EPSGD, &davidson));
  if (davidson && first->nguesses) {
    PetscCall(EPSGDSetInitialSize(eps, first->nguesses));
    PetscCall(EPSGDSetRestart(eps, PetscMax(most + 1, basis / 3), 1));
  }
  PetscCall(EPSSetDimensions(eps, most, ours || first->basis ? basis : PETSC_DEFAULT,
                             first->projected && !search->certifies ? first->projected : PETSC_DEFAULT));
  PetscCall(SetOrder(search, eps));
  PetscCall(Deflate(search, eps));
  PetscCall(CourantSetRandomStart(eps, first->top, index));
  if (first->nguesses && !search->certifies)
    PetscCall(EPSSetInitialSpace(eps, first->nguesses, first->guesses));
  for (int e = 0; e < search->nends; e++) search->ends[e]->candidate = NAN;
  search->eps = eps;
  search->ranked = search->tested = 0;
  PetscCall(EPSSolve(eps));
  PetscCall(Collect(search, eps, most));
  PetscCall(EPSSetDeflationSpace(eps, 0, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The eigenvalues wanted, as far as random starts show them: mostly at once. All above a threshold come in
  chunks, and where many restarts do not do, what has converged is kept and a larger basis looks for the rest.
*/
static PetscErrorCode FindWanted(Search *search)
{
  CourantSpectrumEnd *const first = search->ends[0];
  const PetscBool all = isnan(first->threshold) ? PETSC_FALSE : PETSC_TRUE;
  const PetscInt n = search->n;
  PetscInt most = all ? PetscMax(1, Fitting(search, PetscMin(CHUNK, n))) : Missing(search);
  PetscBool more = PETSC_TRUE;

  PetscFunctionBeginUser;
  search->certifies = PETSC_FALSE;
  for (int e = 0; e < search->nends; e++)
    search->ends[e]->edge = all ? first->threshold : -search->ends[e]->sign * PETSC_INFINITY;
  for (uint32_t index = 1; more; index += ROUNDS + 1) { /* the certificates' are between */
    const PetscInt before = Found(search), basis = SearchBasis(search, most);
    for (int e = 0; e < search->nends && index == 1; e++)
      search->ends[e]->missed_first = first->nguesses ? 1 : CourantMissedProbability(n, basis, passed);
    PetscCall(CanGrow(search, most));
    PetscCall(SolveOnce(search, index, most, basis));
    const PetscBool full = Found(search) - before == most ? PETSC_TRUE : PETSC_FALSE;
    if (search->gave_up) search->growth *= GROWTH;
    if (all && full) most = PetscMax(1, Fitting(search, PetscMin(2 * most, n - Found(search))));
    if (!all) most = Missing(search);
    more = Found(search) < n && most > 0 && (search->gave_up || (all && full)) ? PETSC_TRUE : PETSC_FALSE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- certificates ---- */

/* The last that is wanted of an end; a certificate looks beyond an edge that is `near` within that. */
static PetscErrorCode SetEdge(CourantSpectrumEnd *end, PetscReal near, PetscReal *last)
{
  PetscFunctionBeginUser;
  *last = end->threshold;
  if (isnan(*last)) PetscCall(CourantSpectrumEndLastWanted(end, last));
  end->edge = *last - end->sign * near;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One certificate; done: what it found changes nothing of what is wanted. It ends with no candidate where
 * the space is invariant: all Ritz values have converged. */
static PetscErrorCode CertifyOnce(Search *search, uint32_t round, PetscReal near, PetscBool *done)
{
  const PetscInt steps = CertificateBasis(search), left = search->n - Found(search);
  PetscInt before[2];
  PetscReal last[2];

  PetscFunctionBeginUser;
  for (int e = 0; e < search->nends; e++) {
    before[e] = search->ends[e]->n;
    PetscCall(SetEdge(search->ends[e], near, &last[e]));
  }
  PetscCall(CanGrow(search, 1));
  PetscCall(SolveOnce(search, round + 2, PetscMax(1, PetscMin(steps / 2, left)), steps));
  *done = search->gave_up ? PETSC_FALSE : PETSC_TRUE;
  if (search->gave_up) search->growth *= GROWTH;
  for (int e = 0; e < search->nends; e++)
    if (CourantSpectrumEndHasBetter(search->ends[e], before[e], last[e] + search->ends[e]->sign * near))
      *done = PETSC_FALSE;
  for (int e = 0; e < search->nends; e++) {
    CourantSpectrumEnd *end = search->ends[e];
    const PetscBool closed =
        isnan(end->candidate) || IsClosed(end) || Found(search) == search->n ? PETSC_TRUE : PETSC_FALSE;
    end->missed = CourantMissedProbability(left, steps, passed);
    end->open = closed ? -end->sign * PETSC_INFINITY : end->candidate;
    if (round + 1 == ROUNDS && !*done)
      end->open = end->n > before[e] ? end->values[before[e]].value : last[e];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Looks for more, until what comes changes nothing of what is wanted. */
static PetscErrorCode Certify(Search *search)
{
  const PetscReal norm = search->spectrum->norm,
                  near = isnan(search->ends[0]->threshold) ? 2 * search->tolerance * norm : 0;
  PetscBool done = PETSC_FALSE;

  PetscFunctionBeginUser;
  search->certifies = PETSC_TRUE;
  search->growth = 1;
  for (int e = 0; e < search->nends; e++) search->ends[e]->missed = 0; /* where everything has been found */
  for (uint32_t round = 0; round < ROUNDS && !done && Found(search) < search->n; round++)
    PetscCall(CertifyOnce(search, round, near, &done));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- one end, or both ---- */

static PetscErrorCode Begin(CourantSpectrum spectrum, int nends, CourantSpectrumEnd *const ends[],
                            Search *search)
{
  PetscFunctionBeginUser;
  *search = (Search){.spectrum = spectrum, .nends = nends, .ends = ends, .growth = 1};
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
  Search search;

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
      ends[0]->projected != ends[1]->projected || 2 * wanted >= search.n || Fitting(&search, wanted) < wanted)
    *share = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Does what is wanted of an end fit? Before anything is computed. */
PetscErrorCode CourantSpectrumSearchCheck(CourantSpectrumEnd *end)
{
  const CourantSpectrum spectrum = end->spectrum;
  const PetscInt wanted = isnan(end->threshold) ? end->wanted : 1;
  Search search;

  PetscFunctionBeginUser;
  PetscCall(Begin(spectrum, 1, &end, &search));
  if (wanted > search.n)
    CourantInputError(spectrum->comm, "%d eigenvalues are wanted of an operator of dimension %d", (int)wanted,
                      (int)search.n);
  const PetscInt fitting = Fitting(&search, wanted);
  if (fitting < wanted)
    CourantInputError(spectrum->comm,
                      "the basis for %d eigenvalue%s takes %.3g MB on a rank, -memory leaves %.3g MB: %s%.0d",
                      (int)wanted, wanted == 1 ? "" : "s", Bytes(&search, wanted) / 1e6,
                      spectrum->memory / 1e6, fitting ? "enough for " : "not enough for any", (int)fitting);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What is wanted, and what random starts show of it. */
static PetscErrorCode Find(CourantSpectrum spectrum, int nends, CourantSpectrumEnd *const ends[],
                           PetscBool certify)
{
  Search search;

  PetscFunctionBeginUser;
  PetscCall(Begin(spectrum, nends, ends, &search));
  spectrum->search = &search;
  PetscCall(certify ? Certify(&search) : FindWanted(&search));
  spectrum->search = NULL;
  PetscCall(PetscFree(search.ritz));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One end, or both together. */
static PetscErrorCode SolveEnds(CourantSpectrum spectrum, int nends, CourantSpectrumEnd *const ends[],
                                PetscBool certify)
{
  const PetscInt start = spectrum->products;
  PetscInt iterations;

  PetscFunctionBeginUser;
  for (int e = 0; e < nends; e++) {
    PetscCall(EPSGetTolerances(ends[e]->eps, &ends[e]->tolerance, &iterations));
    PetscCall(EPSSetTolerances(ends[e]->certifier, ends[e]->tolerance, iterations));
    ends[e]->missed = ends[e]->missed_first = 1;
    ends[e]->open = -ends[e]->sign * PETSC_INFINITY;
  }
  PetscCall(Find(spectrum, nends, ends, PETSC_FALSE));
  for (int e = 0; e < nends; e++) { /* the ends of a multiple of the identity are one */
    if (nends > 1 && ends[e]->n < ends[e]->wanted) PetscCall(Find(spectrum, 1, &ends[e], PETSC_FALSE));
    if (isnan(ends[e]->threshold) && ends[e]->n == 0) certify = PETSC_FALSE;
  }
  PetscInt searched = spectrum->products - start;
  if (certify) PetscCall(Find(spectrum, nends, ends, PETSC_TRUE));
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
