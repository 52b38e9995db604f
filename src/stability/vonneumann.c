/*
  Von Neumann analysis of a linear scheme with constant coefficients.

  A step of u' = A(phase) u multiplies by G = R(step A), R the stepper's stability function, so that G has A's
  eigenvectors and the eigenvalues R(step lambda). The scheme is stable iff no power of G grows: |R| <= 1, and
  eigenvalues of modulus 1 semisimple. Strang, "Introduction to Applied Mathematics", section 6.5; Richtmyer
  and Morton, "Difference Methods for Initial-Value Problems", chapter 4.
*/
#include "courant.h"
#include "stability/dense.h"
#include "stability/steplimit.h"
#include <complex.h>
#include <math.h>

/* Phases looked at, a dimension; peaks of the growth that are climbed, and how. */
enum { GRID_1D = 256, GRID_2D = 64, PEAKS = 8, ZOOMS = 9, ACROSS = 8, ROUNDS = 8 };

struct _CourantVonNeumann {
  MPI_Comm comm;
  PetscInt dimension, fields;
  CourantSymbolFunction Symbol, Flow; /* Flow may be NULL */
  void *ctx;
  PetscBool by_step;
  PetscReal reference;    /* a step, where the symbol depends on it */
  CourantStepper stepper; /* borrowed */
  PetscInt n;             /* points of the grid of phases */
  PetscReal (*grid)[2];   /* [n] */
  PetscBool *grows;       /* [n], there by the PDE itself */
  PetscBool quiet;        /* no progress bar */
  PetscReal fastest;      /* growth rate of the PDE itself, over the grid; 0 where it does not grow */
};

/* Phases with the eigenvalues of A there, for the search of a limit. */
typedef struct {
  CourantVonNeumann v;
  PetscInt n;                  /* phases that count */
  const PetscReal (*phase)[2]; /* [n] */
  PetscComplex *lambda;        /* [n,fields] */
} Family;

/*
  CourantVonNeumannCreate - An analysis; then its symbol and stepper are set.

  Everything is computed by the calling rank alone; the communicator is that of errors.
*/
PetscErrorCode CourantVonNeumannCreate(MPI_Comm comm, CourantVonNeumann *v)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(v));
  (*v)->comm = comm;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantVonNeumannDestroy(CourantVonNeumann *v)
{
  PetscFunctionBeginUser;
  if (!*v) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree((*v)->grid));
  PetscCall(PetscFree((*v)->grows));
  PetscCall(PetscFree(*v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantVonNeumannSetSymbol - A(phase) of the scheme, in 1 or 2 dimensions; ctx is borrowed. */
PetscErrorCode CourantVonNeumannSetSymbol(CourantVonNeumann v, PetscInt dimension, PetscInt fields,
                                          CourantSymbolFunction Symbol, void *ctx)
{
  PetscFunctionBeginUser;
  v->dimension = dimension;
  v->fields = fields;
  v->Symbol = Symbol;
  v->ctx = ctx;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantVonNeumannSetFlow - The symbol of the PDE itself, with the symbol's ctx; step is 0 there.

  Decides which growth is the PDE's own. Without it, that of u' = A u.
*/
PetscErrorCode CourantVonNeumannSetFlow(CourantVonNeumann v, CourantSymbolFunction Flow)
{
  PetscFunctionBeginUser;
  v->Flow = Flow;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantVonNeumannSetStepDependent - A depends on the step; reference is a step of the size of interest. */
PetscErrorCode CourantVonNeumannSetStepDependent(CourantVonNeumann v, PetscReal reference)
{
  PetscFunctionBeginUser;
  v->by_step = PETSC_TRUE;
  v->reference = reference;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantVonNeumannSetStepper - The time stepper, after its SetUp; borrowed. */
PetscErrorCode CourantVonNeumannSetStepper(CourantVonNeumann v, CourantStepper stepper)
{
  PetscFunctionBeginUser;
  v->stepper = stepper;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantVonNeumannSetQuiet - No progress bar on a search for the limit that takes long. */
PetscErrorCode CourantVonNeumannSetQuiet(CourantVonNeumann v, PetscBool quiet)
{
  PetscFunctionBeginUser;
  v->quiet = quiet;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- symbols ---- */

/* Parts that are rounding beside the size are 0. */
static PetscComplex Clean(PetscComplex z, PetscReal size)
{
  const PetscReal rounding = 32 * PETSC_MACHINE_EPSILON * size;
  return (fabs(creal(z)) <= rounding ? 0 : creal(z)) + (fabs(cimag(z)) <= rounding ? 0 : cimag(z)) * PETSC_i;
}

/*
  A at n phases [n,fields,fields]. What cancels there, as the weights of a difference do at phase 0, leaves
  the rounding of its size elsewhere, which is taken away: steps of any size multiply it.
*/
static PetscErrorCode Evaluate(CourantVonNeumann v, CourantSymbolFunction Symbol, PetscReal step, PetscInt n,
                               const PetscReal (*phase)[2], PetscComplex A[])
{
  const PetscInt entries = v->fields * v->fields;
  PetscComplex *elsewhere;
  PetscReal *size;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(entries, &elsewhere));
  PetscCall(PetscCalloc1(entries, &size));
  for (PetscInt i = 0; i < v->n; i += v->dimension == 1 ? 1 : 5) {
    Symbol(v->ctx, step, v->grid[i], elsewhere);
    for (PetscInt k = 0; k < entries; k++) size[k] = fmax(size[k], cabs(elsewhere[k]));
  }
  for (PetscInt i = 0; i < n; i++) {
    Symbol(v->ctx, step, phase[i], A + i * entries);
    for (PetscInt k = 0; k < entries; k++) A[i * entries + k] = Clean(A[i * entries + k], size[k]);
  }
  PetscCall(PetscFree(size));
  PetscCall(PetscFree(elsewhere));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenvalues [n,fields] of matrices [n,fields,fields]; NaN where a matrix is not finite. */
static PetscErrorCode Diagonalise(CourantVonNeumann v, PetscInt n, const PetscComplex A[],
                                  PetscComplex lambda[])
{
  const PetscInt f = v->fields, entries = f * f;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++, A += entries, lambda += f) {
    PetscReal largest = 0;
    PetscBool finite = PETSC_TRUE;
    for (PetscInt k = 0; k < entries; k++)
      if (!isfinite(creal(A[k])) || !isfinite(cimag(A[k]))) finite = PETSC_FALSE;
    for (PetscInt j = 0; j < f && !finite; j++) lambda[j] = NAN;
    if (!finite) continue;
    PetscCall(CourantDenseEigenvalues(f, A, lambda));
    for (PetscInt j = 0; j < f; j++) largest = fmax(largest, cabs(lambda[j]));
    for (PetscInt j = 0; j < f; j++) lambda[j] = Clean(lambda[j], largest);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ComputeEigenvalues(CourantVonNeumann v, CourantSymbolFunction Symbol, PetscReal step,
                                         PetscInt n, const PetscReal (*phase)[2], PetscComplex lambda[])
{
  PetscComplex *A;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n * v->fields * v->fields, &A));
  PetscCall(Evaluate(v, Symbol, step, n, phase, A));
  PetscCall(Diagonalise(v, n, A, lambda));
  PetscCall(PetscFree(A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Growth rates [n], the largest real part at each phase; -infinity where there is no limit of small steps. */
static PetscErrorCode ComputeRates(CourantVonNeumann v, CourantSymbolFunction Symbol, PetscInt n,
                                   const PetscReal (*phase)[2], PetscReal rate[])
{
  PetscComplex *lambda;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n * v->fields, &lambda));
  PetscCall(ComputeEigenvalues(v, Symbol, 0, n, phase, lambda));
  for (PetscInt i = 0; i < n; i++) {
    rate[i] = -INFINITY;
    for (PetscInt j = 0; j < v->fields; j++) rate[i] = fmax(rate[i], creal(lambda[i * v->fields + j]));
  }
  PetscCall(PetscFree(lambda));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- frequencies ---- */

/*
  Which phases grow by the PDE itself; and those where u' = A u grows, but no faster than the PDE does
  elsewhere, |G| <= 1 + K step. rate [n]: of u' = A u.
*/
static PetscErrorCode FindGrowing(CourantVonNeumann v, PetscInt n, const PetscReal (*phase)[2],
                                  PetscReal rate[], PetscBool grows[])
{
  PetscReal *own, (*inside)[2];

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(n, &own, n, &inside));
  for (PetscInt i = 0; i < n; i++) /* the PDE's symbol is not periodic */
    for (int d = 0; d < 2; d++) inside[i][d] = remainder(phase[i][d], 2 * M_PI);
  PetscCall(ComputeRates(v, v->Symbol, n, phase, rate));
  PetscCall(ComputeRates(v, v->Flow ? v->Flow : v->Symbol, n, (const PetscReal(*)[2])inside, own));
  for (PetscInt i = 0; i < n; i++)
    grows[i] = own[i] > 0 || (rate[i] > 0 && rate[i] <= v->fastest) ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscFree2(own, inside));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The grid of phases, pi first, with 0 and +-pi/2, and how fast the PDE itself grows on it. */
static PetscErrorCode SetUp(CourantVonNeumann v)
{
  const PetscInt m = v->dimension == 1 ? GRID_1D : GRID_2D, rows = v->dimension == 1 ? 1 : m;
  PetscReal *rate;

  PetscFunctionBeginUser;
  PetscCheck(v->Symbol && v->stepper, v->comm, PETSC_ERR_ORDER,
             "CourantVonNeumannSetSymbol() and CourantVonNeumannSetStepper() come first");
  if (v->grid) PetscFunctionReturn(PETSC_SUCCESS);
  v->n = rows * m;
  PetscCall(PetscMalloc1(v->n, &v->grid));
  PetscCall(PetscMalloc1(v->n, &v->grows));
  for (PetscInt i = 0; i < v->n; i++) {
    v->grid[i][0] = rows == 1 ? 0 : 2 * M_PI * (double)(rows / 2 - i / m) / (double)rows;
    v->grid[i][1] = 2 * M_PI * (double)(m / 2 - i % m) / (double)m;
  }
  PetscCall(PetscMalloc1(v->n, &rate));
  PetscCall(ComputeRates(v, v->Flow ? v->Flow : v->Symbol, v->n, v->grid, rate));
  for (PetscInt i = 0; i < v->n; i++) v->fastest = fmax(v->fastest, rate[i]);
  PetscCall(FindGrowing(v, v->n, (const PetscReal(*)[2])v->grid, rate, v->grows));
  PetscCall(PetscFree(rate));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- amplification at one step ---- */

/*
  Is an eigenvalue of G of modulus 1 defective? Eigenvalues R [f] of a cluster that rounding may have made of
  one are as many as the singular values of G less the cluster's mean which are 0.
*/
static PetscErrorCode FindDefect(PetscInt f, const PetscComplex G[], const PetscComplex R[], PetscBool *found)
{
  PetscComplex *shifted;
  PetscReal *sigma, norm;

  PetscFunctionBeginUser;
  *found = PETSC_FALSE;
  if (f == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(f * f, &shifted, f, &sigma));
  PetscCall(CourantDenseSingularValues(f, G, sigma));
  norm = sigma[0];
  for (PetscInt j = 0; j < f && !*found; j++) {
    const PetscReal reach = PETSC_SQRT_MACHINE_EPSILON * fmax(1, norm);
    PetscComplex mean = 0;
    PetscReal gap = 0;
    PetscInt m = 0;
    if (fabs(cabs(R[j]) - 1) > PETSC_SQRT_MACHINE_EPSILON) continue;
    for (PetscInt k = 0; k < f; k++) {
      if (cabs(R[k] - R[j]) > reach) continue;
      m++;
      mean += R[k];
      gap = fmax(gap, cabs(R[k] - R[j]));
    }
    if (m == 1) continue;
    mean /= (PetscReal)m;
    for (PetscInt k = 0; k < f * f; k++) shifted[k] = G[k] - (k / f == k % f ? mean : 0);
    PetscCall(CourantDenseSingularValues(f, shifted, sigma));
    const PetscReal coupling = sigma[f - m], rounding = 64 * PETSC_MACHINE_EPSILON * fmax(1, norm);
    *found = coupling > rounding && gap * gap <= rounding * coupling ? PETSC_TRUE : PETSC_FALSE;
  }
  PetscCall(PetscFree2(shifted, sigma));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* max |G^n| over the powers reckoned. */
static PetscErrorCode ComputePowerBound(PetscInt f, const PetscComplex G[], PetscReal *bound)
{
  PetscReal norms[COURANT_POWERS];

  PetscFunctionBeginUser;
  *bound = 0;
  if (f == 1) {
    *bound = fmax(cabs(G[0]), pow(cabs(G[0]), (PetscReal)CourantPower(COURANT_POWERS - 1)));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CourantDensePowerNormsComplex(f, G, norms));
  for (int k = 0; k < COURANT_POWERS; k++) *bound = fmax(*bound, norms[k]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* G [n,f,f] and R [n,f] of a one-step method, from A and its eigenvalues. */
static PetscErrorCode Propagate(CourantVonNeumann v, PetscReal step, PetscInt n, PetscComplex A[],
                                const PetscComplex lambda[], PetscComplex G[], PetscComplex R[])
{
  const PetscInt f = v->fields;
  PetscComplex *z;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n * f, &z));
  for (PetscInt i = 0; i < n * f; i++) z[i] = step * lambda[i];
  PetscCall(CourantStepperComputePropagator(v->stepper, n * f, 1, z, R));
  for (PetscInt i = 0; i < n * f * f; i++) A[i] *= step;
  PetscCall(CourantStepperComputePropagator(v->stepper, n, f, A, G));
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Growth of a multistep method in the place of R. */
static PetscErrorCode Follow(CourantVonNeumann v, PetscReal step, PetscInt n, const PetscComplex lambda[],
                             PetscComplex R[])
{
  PetscReal *growth;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n * v->fields, &growth));
  for (PetscInt i = 0; i < n * v->fields; i++) R[i] = step * lambda[i];
  PetscCall(CourantStepperComputeGrowth(v->stepper, n * v->fields, R, growth));
  for (PetscInt i = 0; i < n * v->fields; i++) R[i] = growth[i];
  PetscCall(PetscFree(growth));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantVonNeumannComputeAmplification - Growth, power bound and verdict at n phases.

  phase [n][2]: radians per grid point, y and x. With a multistep method growth is asymptotic (see
  CourantStepperComputeGrowth()), and powers of G are not looked at.
*/
PetscErrorCode CourantVonNeumannComputeAmplification(CourantVonNeumann v, PetscReal step, PetscInt n,
                                                     const PetscReal phase[][2],
                                                     CourantAmplification result[])
{
  const PetscInt f = v->fields;
  PetscComplex *A, *G, *lambda, *R;
  PetscReal *rate;
  PetscBool *grows, one_step, defect = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(SetUp(v));
  PetscCall(CourantStepperGetType(v->stepper, NULL, &one_step));
  PetscCall(PetscMalloc6(n * f * f, &A, n * f * f, &G, n * f, &lambda, n * f, &R, n, &rate, n, &grows));
  PetscCall(FindGrowing(v, n, phase, rate, grows));
  PetscCall(Evaluate(v, v->Symbol, step, n, phase, A));
  PetscCall(Diagonalise(v, n, A, lambda));
  if (one_step)
    PetscCall(Propagate(v, step, n, A, lambda, G, R));
  else
    PetscCall(Follow(v, step, n, lambda, R));
  for (PetscInt i = 0; i < n; i++) {
    CourantAmplification *a = &result[i];
    PetscInt worst = 0;
    for (PetscInt j = 1; j < f; j++)
      if (cabs(R[i * f + j]) > cabs(R[i * f + worst])) worst = j;
    *a = (CourantAmplification){.growth = cabs(R[i * f + worst]),
                                .symbol = lambda[i * f + worst],
                                .power_bound = NAN,
                                .flow_growth = isfinite(rate[i]) ? rate[i] : NAN};
    if (one_step) {
      PetscCall(ComputePowerBound(f, G + i * f * f, &a->power_bound));
      PetscCall(FindDefect(f, G + i * f * f, R + i * f, &defect));
    }
    a->powers = grows[i]                                            ? COURANT_FLOW_GROWS
                : defect                                            ? COURANT_POWERS_DEFECTIVE
                : a->growth <= 1 + CourantStepTolerance(v->stepper) ? COURANT_POWERS_BOUNDED
                                                                    : COURANT_POWERS_GROW;
  }
  PetscCall(PetscFree6(A, G, lambda, R, rate, grows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the limit ---- */

static PetscErrorCode UpdateFamily(void *ctx, PetscReal step)
{
  Family *family = (Family *)ctx;

  PetscFunctionBeginUser;
  PetscCall(ComputeEigenvalues(family->v, family->v->Symbol, step, family->n, family->phase, family->lambda));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The limit of the phases [n] that do not grow by the PDE itself; they are moved to the front. */
static PetscErrorCode SolveFor(CourantVonNeumann v, PetscInt n, PetscReal (*phase)[2],
                               CourantStepLimit *limit)
{
  PetscBool *grows;
  PetscReal *rate;
  PetscInt kept = 0;
  Family family = {.v = v, .phase = (const PetscReal(*)[2])phase};

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(n, &grows, n, &rate, n * v->fields, &family.lambda));
  PetscCall(FindGrowing(v, n, family.phase, rate, grows));
  for (PetscInt i = 0; i < n; i++) {
    if (grows[i]) continue;
    phase[kept][0] = phase[i][0];
    phase[kept++][1] = phase[i][1];
  }
  family.n = kept;
  CourantSteppedModes modes = {.stepper = v->stepper,
                               .n = kept * v->fields,
                               .lambda = family.lambda,
                               .reference = v->reference,
                               .ctx = &family,
                               .quiet = v->quiet};
  if (v->by_step)
    modes.Update = UpdateFamily;
  else
    PetscCall(UpdateFamily(&family, 0));
  PetscCall(CourantStepLimitSolve(&modes, limit));
  if (kept)
    for (int d = 0; d < 2; d++) limit->phase[d] = remainder(phase[limit->mode / v->fields][d], 2 * M_PI);
  limit->left_out = n - kept;
  PetscCall(PetscFree3(grows, rate, family.lambda));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Largest |R| at each of n phases. */
static PetscErrorCode ComputeGrowth(CourantVonNeumann v, PetscReal step, PetscInt n,
                                    const PetscReal (*phase)[2], PetscReal growth[])
{
  const PetscInt f = v->fields;
  PetscComplex *lambda;
  PetscReal *all;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(n * f, &lambda, n * f, &all));
  PetscCall(ComputeEigenvalues(v, v->Symbol, step, n, phase, lambda));
  for (PetscInt i = 0; i < n * f; i++) lambda[i] *= step;
  PetscCall(CourantStepperComputeGrowth(v->stepper, n * f, lambda, all));
  for (PetscInt i = 0; i < n; i++) {
    growth[i] = 0;
    for (PetscInt j = 0; j < f; j++) growth[i] = fmax(growth[i], all[i * f + j]);
  }
  PetscCall(PetscFree2(lambda, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The largest growth near a phase, by ever finer grids around the best so far. */
static PetscErrorCode Climb(CourantVonNeumann v, PetscReal step, PetscReal at[2])
{
  enum { SIDE = 2 * ACROSS + 1 };
  const PetscInt rows = v->dimension == 1 ? 1 : SIDE;
  PetscReal width = 2 * M_PI / (v->dimension == 1 ? GRID_1D : GRID_2D);
  PetscReal near[SIDE * SIDE][2], growth[SIDE * SIDE];

  PetscFunctionBeginUser;
  for (int zoom = 0; zoom < ZOOMS; zoom++, width /= ACROSS / 2) {
    PetscInt best = rows * SIDE / 2;
    for (PetscInt i = 0; i < rows * SIDE; i++) {
      near[i][0] = at[0] + (rows == 1 ? 0 : width * (double)(i / SIDE - ACROSS) / ACROSS);
      near[i][1] = at[1] + width * (double)(i % SIDE - ACROSS) / ACROSS;
    }
    PetscCall(ComputeGrowth(v, step, rows * SIDE, (const PetscReal(*)[2])near, growth));
    for (PetscInt i = 0; i < rows * SIDE; i++)
      if (growth[i] > growth[best]) best = i;
    for (int d = 0; d < 2; d++) at[d] = near[best][d];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The highest peaks of the growth on the grid, climbed; peak [PEAKS][2]. */
static PetscErrorCode FindPeaks(CourantVonNeumann v, PetscReal step, PetscInt *n, PetscReal (*peak)[2])
{
  const PetscInt m = v->dimension == 1 ? GRID_1D : GRID_2D, rows = v->n / m, reach = rows == 1 ? 0 : 1;
  PetscReal *growth, last = INFINITY;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(v->n, &growth));
  PetscCall(ComputeGrowth(v, step, v->n, (const PetscReal(*)[2])v->grid, growth));
  for (PetscInt i = 0; i < v->n; i++)
    if (v->grows[i]) growth[i] = 0;
  for (*n = 0; *n < PEAKS; ++*n) {
    PetscInt next = -1;
    for (PetscInt i = 0; i < v->n; i++) {
      if (growth[i] >= last || (next >= 0 && growth[i] <= growth[next])) continue;
      PetscBool local = PETSC_TRUE;
      for (PetscInt dy = -reach; dy <= reach; dy++)
        for (PetscInt dx = -1; dx <= 1; dx++)
          if (growth[(i / m + dy + rows) % rows * m + (i % m + dx + m) % m] > growth[i]) local = PETSC_FALSE;
      if (local) next = i;
    }
    if (next < 0) break;
    last = growth[next];
    for (int d = 0; d < 2; d++) peak[*n][d] = v->grid[next][d];
    PetscCall(Climb(v, step, peak[*n]));
  }
  PetscCall(PetscFree(growth));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantVonNeumannComputeLimit - The step at which the scheme first loses stability, over all frequencies.

  Continuous phases: a grid of 256 a dimension (64 x 64), then the peaks of the growth between its points, at
  the limit so far, as long as they lower it. Only growth decides, max |R| <= 1 + limit->tolerance; see
  CourantStepLimitSolve() for what may be missed. Frequencies at which the PDE itself grows are left out.
*/
PetscErrorCode CourantVonNeumannComputeLimit(CourantVonNeumann v, CourantStepLimit *limit)
{
  PetscReal(*phase)[2], peak[PEAKS][2];
  CourantStepLimit nearby;
  PetscInt n = 0;

  PetscFunctionBeginUser;
  PetscCall(SetUp(v));
  PetscCall(PetscMalloc1(v->n, &phase));
  PetscCall(PetscArraycpy(phase, v->grid, v->n));
  PetscCall(SolveFor(v, v->n, phase, limit));
  PetscCall(PetscFree(phase));
  for (int round = 0; round < ROUNDS && limit->step > 0 && isfinite(limit->step); round++) {
    const PetscInt left_out = limit->left_out;
    PetscCall(FindPeaks(v, limit->step + limit->width, &n, peak));
    PetscCall(SolveFor(v, n, peak, &nearby));
    if (!(nearby.step < limit->step)) break;
    const PetscBool settled = nearby.step > limit->step * (1 - 1e-13) ? PETSC_TRUE : PETSC_FALSE;
    *limit = nearby;
    limit->left_out = left_out;
    if (settled) break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
