/*
  The whole spectrum of a symmetric operator by stochastic Lanczos quadrature (Ubaru, Chen, Saad 2017).

  A random unit vector u sees the spectrum as a measure, u^T f(A) u = integral of f. m Lanczos steps give the
  m-point Gauss rule of that measure, so that its mean over u times n approximates tr f(A). Two errors, both
  told: of the rule, by Markov's inequalities, which bound the measure below x from both sides; and of the
  mean over probes.
*/
#include "stability/density.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/random.h"
#include "core/statistics.h"
#include <math.h>
#include <petscblaslapack.h>

enum { PROBES = 8, STEPS = 80, CHUNK = 10 /* steps between two looks at the clock */ };

/*
  Polynomials of degree 2m-1 resolve a Gaussian of this many times range/m: what they miss of it is below
  exp(-2 * 1.25^2 * 4) = 4e-6 of its height.
*/
static const PetscReal resolved = 1.25;

/*
  CourantDensityCreate - The spectral density of a symmetric operator, and sums over its spectrum.
*/
PetscErrorCode CourantDensityCreate(MPI_Comm comm, CourantDensity *density)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(density));
  (*density)->comm = comm;
  (*density)->probes = PROBES;
  (*density)->steps = STEPS;
  (*density)->seed = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Clear(CourantDensity density)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < density->solved; i++) {
    CourantProbe *probe = &density->probe[i];
    PetscCall(PetscFree4(probe->alpha, probe->beta, probe->nodes, probe->weights));
  }
  density->solved = density->products = 0;
  PetscCall(PetscFree(density->probe));
  PetscCall(PetscFree(density->work));
  PetscCall(BVDestroy(&density->basis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDensitySetOperator - The symmetric operator. Takes a reference; forgets what was solved. */
PetscErrorCode CourantDensitySetOperator(CourantDensity density, Mat A)
{
  PetscFunctionBeginUser;
  PetscCall(PetscObjectReference((PetscObject)A));
  PetscCall(MatDestroy(&density->A));
  density->A = A;
  PetscCall(Clear(density));
  PetscCall(MatGetSize(A, &density->n, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantDensitySetRule - So many probes (8 unless set, at least 2) of so many Lanczos steps each (80, at
  least 2). Before CourantDensitySetFromOptions(), which may say otherwise.
*/
PetscErrorCode CourantDensitySetRule(CourantDensity density, PetscInt probes, PetscInt steps)
{
  PetscFunctionBeginUser;
  PetscCheck(probes >= 2 && steps >= 2, density->comm, PETSC_ERR_ARG_OUTOFRANGE, "%d probes of %d steps",
             (int)probes, (int)steps);
  density->probes = probes;
  density->steps = steps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDensitySetTrace - Whether CourantDensitySolve() measures trace and norm too, as it does unless told
   otherwise; without, both are NaN. */
PetscErrorCode CourantDensitySetTrace(CourantDensity density, PetscBool trace)
{
  PetscFunctionBeginUser;
  density->no_trace = trace ? PETSC_FALSE : PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDensitySetSeed - Of the probes; 1 unless set. */
PetscErrorCode CourantDensitySetSeed(CourantDensity density, PetscInt seed)
{
  PetscFunctionBeginUser;
  density->seed = seed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDensitySetMemory - Bytes that the basis may take on a rank; 0: no limit. */
PetscErrorCode CourantDensitySetMemory(CourantDensity density, PetscReal bytes)
{
  PetscFunctionBeginUser;
  density->memory = bytes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDensitySetProgress - Is told of products as they are done; Progress may be NULL. */
PetscErrorCode CourantDensitySetProgress(CourantDensity density, void (*Progress)(double products, void *),
                                         void *ctx)
{
  PetscFunctionBeginUser;
  density->Progress = Progress;
  density->ctx = ctx;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt Steps(CourantDensity density)
{
  return PetscMin(density->steps, density->n);
}

/* Bytes of a vector on the rank that has the most of it. */
static PetscReal VectorBytes(CourantDensity density)
{
  PetscMPIInt size;

  MPI_Comm_size(density->comm, &size);
  return sizeof(PetscScalar) * ceil((PetscReal)density->n / (PetscReal)size);
}

/* CourantDensityGetSizes - Products that a solve takes at most, or, behind it, took, and bytes of the basis
   on a rank; either may be NULL. */
PetscErrorCode CourantDensityGetSizes(CourantDensity density, PetscInt *products, PetscReal *bytes)
{
  PetscFunctionBeginUser;
  if (products && density->solved)
    *products = density->products;
  else if (products)
    *products =
        density->probes * Steps(density) + (density->no_trace ? 0 : 3 * CourantDensitySketch(density));
  if (bytes) *bytes = (PetscReal)(Steps(density) + 1) * VectorBytes(density);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Too little memory for the basis is the user's error; the message says what fits. */
static PetscErrorCode CheckMemory(CourantDensity density)
{
  PetscReal bytes;

  PetscFunctionBeginUser;
  PetscCall(CourantDensityGetSizes(density, NULL, &bytes));
  if (density->memory <= 0 || bytes <= density->memory) PetscFunctionReturn(PETSC_SUCCESS);
  const PetscReal fits = floor(density->memory / VectorBytes(density)) - 1;
  if (fits < 2)
    CourantInputError(density->comm, "the density needs at least %.3g MB for its basis, and has %.3g MB",
                      3e-6 * VectorBytes(density), 1e-6 * density->memory);
  CourantInputError(
      density->comm,
      "-density_steps %d: the basis of so many vectors takes %.3g MB of %.3g MB; %.0f steps fit",
      (int)Steps(density), 1e-6 * bytes, 1e-6 * density->memory, fits);
}

/*
  CourantDensitySetFromOptions - Options: -density_probes n (8; at least 2), -density_steps m (80; of each),
  -density_width w (of the Gaussian kernel; what m steps resolve).
  A basis that is too large for the memory is an error here already.
*/
PetscErrorCode CourantDensitySetFromOptions(CourantDensity density)
{
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-density_probes", &density->probes, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-density_steps", &density->steps, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-density_width", &density->width, &set));
  if (density->probes < 2 || density->probes > 100000)
    CourantInputError(density->comm, "-density_probes %d: expected a number from 2 to 100000",
                      (int)density->probes);
  if (density->steps < 2 || density->steps > 10000)
    CourantInputError(density->comm, "-density_steps %d: expected a number from 2 to 10000",
                      (int)density->steps);
  if (set && !(density->width > 0 && isfinite(density->width)))
    CourantInputError(density->comm, "-density_width %g: expected a number above 0", density->width);
  if (density->A) PetscCall(CheckMemory(density));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- Lanczos ---- */

/* CourantDensityTell - So many products more. */
void CourantDensityTell(CourantDensity density, PetscInt products)
{
  density->products += products;
  if (density->Progress) density->Progress((double)products, density->ctx);
}

/* CourantDensityDraw - A vector of standard normal numbers, the same for any number of ranks. */
PetscErrorCode CourantDensityDraw(CourantDensity density, uint32_t index, uint32_t epoch, Vec z)
{
  const CourantRandom stream = {
      .seed = (uint64_t)density->seed, .purpose = COURANT_RANDOM_PROBE, .index = index, .epoch = epoch};
  PetscInt first, last;
  PetscScalar *array;
  double *values;

  PetscFunctionBeginUser;
  PetscCall(VecGetOwnershipRange(z, &first, &last));
  PetscCall(PetscMalloc1(density->n, &values));
  CourantRandomNormal(stream, density->n, values);
  PetscCall(VecGetArrayWrite(z, &array));
  for (PetscInt i = first; i < last; i++) array[i - first] = values[i];
  PetscCall(VecRestoreArrayWrite(z, &array));
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateBasis(CourantDensity density)
{
  Vec like;

  PetscFunctionBeginUser;
  PetscCall(CheckMemory(density));
  PetscCall(MatCreateVecs(density->A, NULL, &like));
  PetscCall(BVCreate(density->comm, &density->basis));
  PetscCall(BVSetSizesFromVec(density->basis, like, Steps(density) + 1));
  PetscCall(BVSetOptionsPrefix(density->basis, "density_"));
  PetscCall(BVSetFromOptions(density->basis));
  PetscCall(VecDestroy(&like));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* T of the steps that are done, out of SLEPc's compact storage: diagonal, then what is below it. */
static PetscErrorCode CopyTridiagonal(Mat T, PetscBool invariant, CourantProbe *probe)
{
  const PetscScalar *t;
  PetscInt lda;

  PetscFunctionBeginUser;
  PetscCall(MatDenseGetLDA(T, &lda));
  PetscCall(MatDenseGetArrayRead(T, &t));
  for (PetscInt i = 0; i < probe->steps; i++) {
    probe->alpha[i] = PetscRealPart(t[i]);
    probe->beta[i] = PetscRealPart(t[lda + i]);
  }
  PetscCall(MatDenseRestoreArrayRead(T, &t));
  if (invariant) probe->beta[probe->steps - 1] = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One probe: m Lanczos steps with full orthogonalisation, so that T is that of exact arithmetic but for
 * rounding. */
static PetscErrorCode RunProbe(CourantDensity density, PetscInt index, CourantProbe *probe)
{
  const PetscInt steps = Steps(density);
  PetscBool invariant = PETSC_FALSE;
  PetscReal norm, beta;
  Mat T;
  Vec z;

  PetscFunctionBeginUser;
  PetscCall(
      PetscMalloc4(steps, &probe->alpha, steps, &probe->beta, steps, &probe->nodes, steps, &probe->weights));
  density->solved = index + 1;
  PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, steps, 2, NULL, &T));
  PetscCall(BVGetColumn(density->basis, 0, &z));
  PetscCall(CourantDensityDraw(density, (uint32_t)index, 0, z));
  PetscCall(VecNormalize(z, &norm));
  PetscCall(BVRestoreColumn(density->basis, 0, &z));
  probe->square = norm * norm;
  for (probe->steps = 0; probe->steps < steps && !invariant;) {
    const PetscInt from = probe->steps;
    PetscInt to = PetscMin(from + CHUNK, steps);
    PetscCall(CourantInterruptCheckTogether(density->comm));
    PetscCall(BVMatLanczos(density->basis, density->A, T, from, &to, &beta, &invariant));
    probe->steps = to;
    CourantDensityTell(density, to - from);
  }
  PetscCall(CopyTridiagonal(T, invariant || probe->steps == density->n ? PETSC_TRUE : PETSC_FALSE, probe));
  PetscCall(MatDestroy(&T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- rules ---- */

/* Nodes and weights of the rule of a tridiagonal matrix: its eigenvalues, and the squares of their vectors'
 * first components (Golub and Welsch 1969). diagonal [n] becomes the nodes; off [n-1] is lost. */
static PetscErrorCode Rule(PetscInt n, PetscReal diagonal[], PetscReal off[], PetscReal vectors[],
                           PetscReal weights[])
{
  PetscBLASInt size, info;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(n, &size));
  PetscCallBLAS("LAPACKsteqr",
                LAPACKsteqr_("I", &size, diagonal, off, vectors, &size, vectors + n * n, &info));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK steqr failed with info %d", (int)info);
  for (PetscInt k = 0; k < n; k++) weights[k] = vectors[k * n] * vectors[k * n];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What density->work holds. */
static PetscReal *WorkNodes(CourantDensity density)
{
  return density->work;
}

static PetscReal *WorkWeights(CourantDensity density)
{
  return density->work + Steps(density) + 1;
}

static PetscReal *WorkOff(CourantDensity density)
{
  return density->work + 2 * (Steps(density) + 1);
}

static PetscReal *WorkVectors(CourantDensity density)
{
  return density->work + 3 * (Steps(density) + 1);
}

static PetscErrorCode GaussRule(CourantDensity density, CourantProbe *probe)
{
  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(probe->nodes, probe->alpha, probe->steps));
  PetscCall(PetscArraycpy(WorkOff(density), probe->beta, probe->steps));
  PetscCall(Rule(probe->steps, probe->nodes, WorkOff(density), WorkVectors(density), probe->weights));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The largest |node|, the yardstick of rounding. */
static PetscReal Scale(CourantDensity density)
{
  return PetscMax(fabs(density->low), fabs(density->high));
}

/*
  The Gauss-Radau rule of a node more, one of which is x, in WorkNodes() and WorkWeights() (Golub 1973): T
  grows by a last row whose diagonal is x + beta^2 / d, d the last pivot of T - x.
*/
static PetscErrorCode RadauRule(CourantDensity density, const CourantProbe *probe, PetscReal x)
{
  const PetscReal tiny = PETSC_MACHINE_EPSILON * PetscMax(Scale(density), PETSC_SMALL * PETSC_SMALL);
  const PetscInt m = probe->steps;
  PetscReal *nodes = WorkNodes(density), pivot = 1;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < m; i++) {
    pivot = probe->alpha[i] - x - (i ? probe->beta[i - 1] * probe->beta[i - 1] / pivot : 0);
    if (fabs(pivot) < tiny) pivot = tiny;
    nodes[i] = probe->alpha[i];
  }
  nodes[m] = x + probe->beta[m - 1] * probe->beta[m - 1] / pivot;
  PetscCall(PetscArraycpy(WorkOff(density), probe->beta, m));
  PetscCall(Rule(m + 1, nodes, WorkOff(density), WorkVectors(density), WorkWeights(density)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Bounds of the share of a probe that is above x. Markov: of all measures with these moments none has less
  above x than the weights above it of the rule with a node at x, nor more than with that node's own (Akhiezer
  1965, section 2.5).
*/
static PetscErrorCode ShareAbove(CourantDensity density, const CourantProbe *probe, PetscReal x,
                                 PetscReal *least, PetscReal *most)
{
  const PetscReal *nodes = WorkNodes(density), *weights = WorkWeights(density);
  const PetscReal near = 100 * PETSC_MACHINE_EPSILON * Scale(density);
  PetscInt at = 0;

  PetscFunctionBeginUser;
  PetscCall(RadauRule(density, probe, x));
  for (PetscInt k = 1; k <= probe->steps; k++)
    if (fabs(nodes[k] - x) < fabs(nodes[at] - x)) at = k;
  *least = *most = 0;
  for (PetscInt k = 0; k <= probe->steps; k++) {
    const PetscBool here = k == at || fabs(nodes[k] - x) <= near ? PETSC_TRUE : PETSC_FALSE;
    if (here || nodes[k] > x) *most += weights[k];
    if (!here && nodes[k] > x) *least += weights[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- what is asked of it ---- */

/*
  CourantDensitySolve - Runs all probes, and those of trace and norm. Collective.

  -density_probes times -density_steps products and a basis of -density_steps + 1 vectors; more than
  CourantDensitySetMemory() allows is the user's error, and the message says what fits.
*/
PetscErrorCode CourantDensitySolve(CourantDensity density)
{
  const PetscInt m = Steps(density) + 1;

  PetscFunctionBeginUser;
  PetscCall(Clear(density));
  PetscCall(CreateBasis(density));
  PetscCall(PetscCalloc1(density->probes, &density->probe));
  PetscCall(PetscMalloc1(3 * m + m * m + 2 * m, &density->work));
  for (PetscInt i = 0; i < density->probes; i++) {
    CourantProbe *probe = &density->probe[i];
    PetscCall(RunProbe(density, i, probe));
    PetscCall(GaussRule(density, probe));
    density->low = i ? PetscMin(density->low, probe->nodes[0]) : probe->nodes[0];
    density->high =
        i ? PetscMax(density->high, probe->nodes[probe->steps - 1]) : probe->nodes[probe->steps - 1];
  }
  PetscCall(CourantDensityMeasure(density));
  PetscCall(BVDestroy(&density->basis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDensityGetRule - Unknowns, probes, and Lanczos steps of each. */
PetscErrorCode CourantDensityGetRule(CourantDensity density, PetscInt *n, PetscInt *probes, PetscInt *steps)
{
  PetscFunctionBeginUser;
  *n = density->n;
  *probes = density->probes;
  *steps = Steps(density);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDensityGetRange - The outermost nodes of all probes: both are inside the spectrum. */
PetscErrorCode CourantDensityGetRange(CourantDensity density, PetscReal *low, PetscReal *high)
{
  PetscFunctionBeginUser;
  *low = density->low;
  *high = density->high;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDensityGetWidth - Standard deviation of the Gaussian kernel: -density_width, or else 1.25 (high -
 * low) / m, the narrowest that m steps resolve. */
PetscErrorCode CourantDensityGetWidth(CourantDensity density, PetscReal *width)
{
  PetscFunctionBeginUser;
  *width = density->width > 0 ? density->width
                              : resolved * (density->high - density->low) / (PetscReal)Steps(density);
  if (!(*width > 1e-6 * Scale(density)))
    *width = PetscMax(1e-3 * Scale(density), 1e-300); /* one eigenvalue */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Student's interval of a mean whose terms are only known to be in [low_i,high_i]. */
static CourantEstimate Enclose(PetscInt n, const PetscReal low[], const PetscReal high[])
{
  const CourantEstimate least = CourantMeanEstimate(n, low), most = CourantMeanEstimate(n, high);
  return (CourantEstimate){0.5 * (least.value + most.value), least.low, most.high};
}

static CourantEstimate Times(CourantEstimate estimate, PetscReal factor)
{
  return (CourantEstimate){factor * estimate.value, factor * estimate.low, factor * estimate.high};
}

/*
  CourantDensityEvaluate - The density at x, of eigenvalues by number: its integral is 1.

  (1/n) sum_i g(x - lambda_i), g a Gaussian of CourantDensityGetWidth(); the interval is Student's over
  probes, cut off at 0.
*/
PetscErrorCode CourantDensityEvaluate(CourantDensity density, PetscReal x, CourantEstimate *estimate)
{
  PetscReal width, *values;

  PetscFunctionBeginUser;
  PetscCall(CourantDensityGetWidth(density, &width));
  PetscCall(PetscCalloc1(density->solved, &values));
  for (PetscInt i = 0; i < density->solved; i++) {
    const CourantProbe *probe = &density->probe[i];
    for (PetscInt k = 0; k < probe->steps; k++) {
      const PetscReal t = (x - probe->nodes[k]) / width;
      values[i] += probe->weights[k] * exp(-0.5 * t * t) / (sqrt(2 * PETSC_PI) * width);
    }
  }
  *estimate = CourantMeanEstimate(density->solved, values);
  estimate->low = PetscMax(0, estimate->low);
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantDensityCountAbove - How many eigenvalues are above x, those at x left open.

  The interval is exact for normal probes, whatever the spectrum (CourantRankEstimate()), and contains what
  the quadrature leaves open.
*/
PetscErrorCode CourantDensityCountAbove(CourantDensity density, PetscReal x, CourantEstimate *count)
{
  PetscReal low = 0, high = 0, total = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < density->solved; i++) {
    const CourantProbe *probe = &density->probe[i];
    PetscReal least = 0, most = 0;
    PetscCall(ShareAbove(density, probe, x, &least, &most));
    low += probe->square * least;
    high += probe->square * most;
    total += probe->square;
  }
  /* what rounding makes of nothing and of all */
  const PetscReal rounding = 1e-12, least = low / total, most = high / total;
  *count = CourantRankEstimate(density->n, density->solved, least < rounding ? 0 : least,
                               most > 1 - rounding ? 1 : most);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantDensityGetLogDeterminant - log det(A + shift), A + shift being positive definite.

  lowest: a lower bound of A's eigenvalues, such as the smallest less its residual. The Gauss rule
  overestimates the logarithm's integral and the Gauss-Radau rule with a node at lowest underestimates it
  (Golub and Meurant 2010, theorem 6.4); both errors are in the interval, and Student's over probes. Status
  degenerate and NaN where lowest + shift is not above 0; not_converged where a node is below lowest.
*/
PetscErrorCode CourantDensityGetLogDeterminant(CourantDensity density, PetscReal shift, PetscReal lowest,
                                               CourantEstimate *estimate, CourantStatus *status)
{
  const PetscReal *nodes = WorkNodes(density), *weights = WorkWeights(density);
  PetscReal *low, *high;

  PetscFunctionBeginUser;
  *estimate = (CourantEstimate){NAN, NAN, NAN};
  *status = COURANT_DEGENERATE;
  if (!(lowest + shift > 0)) PetscFunctionReturn(PETSC_SUCCESS);
  *status = COURANT_NOT_CONVERGED;
  if (density->low < lowest - 100 * PETSC_MACHINE_EPSILON * Scale(density))
    PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc2(density->solved, &low, density->solved, &high));
  for (PetscInt i = 0; i < density->solved; i++) {
    const CourantProbe *probe = &density->probe[i];
    for (PetscInt k = 0; k < probe->steps; k++) high[i] += probe->weights[k] * log(probe->nodes[k] + shift);
    PetscCall(RadauRule(density, probe, lowest));
    for (PetscInt k = 0; k <= probe->steps; k++)
      low[i] += weights[k] * log(PetscMax(nodes[k], lowest) + shift);
  }
  *estimate = Times(Enclose(density->solved, low, high), (PetscReal)density->n);
  *status = COURANT_CONVERGED;
  PetscCall(PetscFree2(low, high));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDensityGetTrace - Trace and Frobenius norm by Hutch++ (trace.c). */
PetscErrorCode CourantDensityGetTrace(CourantDensity density, CourantEstimate *trace, CourantEstimate *norm)
{
  PetscFunctionBeginUser;
  if (trace) *trace = density->trace;
  if (norm) *norm = density->norm;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantDensityDestroy(CourantDensity *density)
{
  PetscFunctionBeginUser;
  if (!*density) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Clear(*density));
  PetscCall(MatDestroy(&(*density)->A));
  PetscCall(PetscFree(*density));
  PetscFunctionReturn(PETSC_SUCCESS);
}
