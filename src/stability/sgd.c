/*
  Stability of mini-batch gradient descent at a state: x' = (1 - eta M_batch) x, M_batch the mean over b of n
  samples of M_i = H_i + alpha D.

  Up to -sgd_dense weights the M_i are assembled; beyond, they are projected on a subspace (sgd-subspace.c),
  and what the last enlargement of it changed belongs to the interval of each result.
*/
#include "stability/sgd.h"
#include "core/error.h"
#include <math.h>
#include <string.h>

enum { DENSE = 150, PERMUTATIONS = 256, STEPS = 4096 };

static const PetscReal neutral = 1e-6; /* relative: what takes a million steps to move is left out */

/* Relative residual of the mean-square eigenvector beyond which the subspace says nothing. */
static const PetscReal cannot_tell = 0.1;

struct _CourantSgd {
  MPI_Comm comm;
  PetscInt batch, dense;
  CourantProducts products;
  CourantSgdModes modes[2]; /* all, and those of the subspace before it was last enlarged */
  int stages;               /* how many of the two there are */
  PetscReal error;          /* of the mean-square limit, relative: that of the subspace */
  PetscReal noise;
  PetscBool projected; /* the modes are those of a subspace */
  PetscBool blank;     /* nothing is known of the Hessians that were set */
  PetscBool done[COURANT_SGD_KINDS];
  CourantEstimate limit[COURANT_SGD_KINDS];
  CourantStatus status[COURANT_SGD_KINDS];
};

/*
  CourantSgdCreate - Limits of gradient descent on batches of so many samples.
*/
PetscErrorCode CourantSgdCreate(MPI_Comm comm, PetscInt batch, CourantSgd *sgd)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(sgd));
  (*sgd)->comm = comm;
  (*sgd)->batch = batch;
  (*sgd)->dense = DENSE;
  (*sgd)->products = (CourantProducts){.permutations = PERMUTATIONS, .steps = STEPS, .seed = 1, .threads = 1};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetNumber(CourantSgd sgd, const char name[], PetscInt least, PetscInt most,
                                PetscInt *number)
{
  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetInt(NULL, NULL, name, number, NULL));
  if (*number < least || *number > most)
    CourantInputError(sgd->comm, "%s %d: expected a number from %d to %d", name, (int)*number, (int)least,
                      (int)most);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The solvers are made when they are needed: one of each reads its options now, so that wrong ones are seen.
 */
static PetscErrorCode ReadSolver(MPI_Comm comm, const char prefix[])
{
  EPS eps;

  PetscFunctionBeginUser;
  PetscCall(EPSCreate(comm, &eps));
  PetscCall(EPSSetOptionsPrefix(eps, prefix));
  PetscCall(EPSSetFromOptions(eps));
  PetscCall(EPSDestroy(&eps));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSgdSetFromOptions - Options: -sgd_permutations n (256; epochs that the mean square over an epoch is
  averaged over), -sgd_steps t (4096; of the product whose growth is the almost-sure one), -sgd_dense p (150;
  weights up to which the samples' Hessians are assembled). SLEPc's have the prefixes sgd_ and sgd_mean_.
*/
PetscErrorCode CourantSgdSetFromOptions(CourantSgd sgd)
{
  PetscFunctionBeginUser;
  PetscCall(GetNumber(sgd, "-sgd_permutations", 2, 1000000, &sgd->products.permutations));
  PetscCall(GetNumber(sgd, "-sgd_steps", 64, 1000000000, &sgd->products.steps));
  PetscCall(GetNumber(sgd, "-sgd_dense", 0, 20000, &sgd->dense));
  PetscCall(ReadSolver(sgd->comm, "sgd_"));
  PetscCall(ReadSolver(sgd->comm, "sgd_mean_"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSgdSetSeed - Of permutations and runs; 1 unless set. */
PetscErrorCode CourantSgdSetSeed(CourantSgd sgd, PetscInt seed)
{
  PetscFunctionBeginUser;
  sgd->products.seed = seed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Clear(CourantSgd sgd)
{
  PetscFunctionBeginUser;
  for (int i = 0; i < sgd->stages; i++) PetscCall(CourantSgdModesDestroy(&sgd->modes[i]));
  sgd->stages = 0;
  sgd->error = 0;
  sgd->noise = NAN;
  sgd->blank = sgd->projected = PETSC_FALSE;
  for (int k = 0; k < COURANT_SGD_KINDS; k++) sgd->done[k] = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddStage(CourantSgd sgd, PetscInt n, PetscInt p, PetscInt lda, const PetscReal H[])
{
  PetscFunctionBeginUser;
  if (sgd->batch < 1 || sgd->batch > n)
    CourantInputError(sgd->comm, "a batch of %d of %d samples", (int)sgd->batch, (int)n);
  PetscCall(CourantSgdModesCreate(n, p, lda, H, sgd->batch, neutral, &sgd->modes[sgd->stages]));
  sgd->stages++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSgdSetHessians - The samples' symmetric matrices H [n,p,p], decay included; copied. */
PetscErrorCode CourantSgdSetHessians(CourantSgd sgd, PetscInt n, PetscInt p, const PetscReal H[])
{
  PetscFunctionBeginUser;
  PetscCall(Clear(sgd));
  PetscCall(AddStage(sgd, n, p, p, H));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All M_i, by their products with the identity. */
static PetscErrorCode Assemble(CourantSgd sgd, CourantSamples *samples)
{
  const PetscInt p = samples->p, n = samples->n;
  const size_t square = (size_t)(p * p);
  PetscReal *identity, *matrices;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(square, &identity));
  PetscCall(PetscMalloc1((size_t)n * square, &matrices));
  for (PetscInt k = 0; k < p; k++) identity[k * (p + 1)] = 1;
  for (PetscInt first = 0; first < n; first += COURANT_SAMPLES_TOGETHER)
    PetscCall(CourantSamplesMultiply(samples, first, PetscMin(COURANT_SAMPLES_TOGETHER, n - first), p,
                                     identity, matrices + (size_t)first * square));
  PetscCall(AddStage(sgd, n, p, p, matrices));
  PetscCall(PetscFree(identity));
  PetscCall(PetscFree(matrices));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ProjectAll(CourantSgd sgd, CourantSamples *samples, Vec theta, Vec slowest)
{
  CourantSubspace s;

  PetscFunctionBeginUser;
  PetscCall(CourantSubspaceCreate(samples, theta, slowest, sgd->batch, neutral, &s));
  sgd->blank = s.q ? PETSC_FALSE : PETSC_TRUE;
  sgd->projected = s.q < samples->p ? PETSC_TRUE : PETSC_FALSE;
  if (s.q) PetscCall(AddStage(sgd, samples->n, s.q, s.most, s.matrices));
  if (s.before && s.before < s.q) PetscCall(AddStage(sgd, samples->n, s.before, s.most, s.matrices));
  sgd->error = s.error;
  PetscCall(CourantSubspaceDestroy(&s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bytes for the samples' matrices, and for the products of epochs. */
static double Bytes(CourantSgd sgd, CourantProblem problem, PetscBool dense)
{
  const PetscInt n = problem->data->n, p = problem->net->size,
                 q = dense ? p : PetscMin(p, COURANT_SUBSPACE_MOST);
  const double matrices =
      dense ? (2. * (double)n + COURANT_CONGRUENCE) * (double)p * (double)p * sizeof(PetscReal)
            : CourantSubspaceMemory(n, p);
  return matrices + (sgd->batch < n ? CourantEpochMemory(n, sgd->batch, q, &sgd->products) : 0);
}

/* Are the samples' Hessians assembled? */
static PetscBool IsDense(CourantSgd sgd, CourantProblem problem)
{
  if (problem->net->size > sgd->dense) return PETSC_FALSE;
  return Bytes(sgd, problem, PETSC_TRUE) <= problem->memory / 2 ? PETSC_TRUE : PETSC_FALSE;
}

/* CourantSgdMemory - Bytes that limits and growth at a state take, of a problem that is set up. */
double CourantSgdMemory(CourantSgd sgd, CourantProblem problem)
{
  return Bytes(sgd, problem, IsDense(sgd, problem));
}

/* CourantSgdCheckMemory - Half of the problem's memory has to be enough. */
PetscErrorCode CourantSgdCheckMemory(CourantSgd sgd, CourantProblem problem)
{
  const double bytes = CourantSgdMemory(sgd, problem);

  PetscFunctionBeginUser;
  if (bytes > problem->memory / 2)
    CourantInputError(sgd->comm, "the limits of mini-batches take %.3g MB, half of a -memory of %.3g MB",
                      bytes / 1e6, 2 * bytes / 1e6);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSgdObstacle - Why there are no limits for the batches of these settings; NULL: there are. */
const char *CourantSgdObstacle(CourantProblem problem, const CourantTrainSettings *train)
{
  if (strcmp(CourantRule(train->rule)->name, "gd")) return "the rule is not gd";
  if (train->layer_rates.id) return "layers have learning rates of their own";
  if (problem->net->coupled) return "batch_norm couples the samples of a batch";
  if (problem->data->augment.crop || problem->data->augment.flip) return "augmentation changes the samples";
  if (problem->slopes) return "the loss is frozen";
  if (train->batch > problem->data->n) return "a batch is larger than the data";
  return NULL;
}

/*
  CourantSgdSetProblem - The samples' Hessians at theta, with weight decay alpha.

  slowest: an eigenvector of the smallest m, which a projection is to hold; NULL: of the limits alone, not of
  growth below them. For networks whose samples know nothing of each other, without augmentation and with
  their own loss; else PETSC_ERR_SUP. Collective; every rank computes all samples, whose number of products is
  that of the data for each of the weights, or of the vectors of a subspace.
*/
PetscErrorCode CourantSgdSetProblem(CourantSgd sgd, CourantProblem problem, Vec theta, PetscReal alpha,
                                    Vec slowest)
{
  CourantSamples samples;

  PetscFunctionBeginUser;
  PetscCheck(!problem->net->coupled && !problem->slopes && !problem->data->augment.crop &&
                 !problem->data->augment.flip,
             sgd->comm, PETSC_ERR_SUP, "samples that are coupled, augmented, or have a frozen loss");
  PetscCall(CourantSgdCheckMemory(sgd, problem));
  PetscCall(Clear(sgd));
  sgd->products.threads = (int)problem->threads;
  PetscCall(CourantSamplesCreate(problem, theta, alpha, &samples));
  sgd->noise = samples.noise;
  if (IsDense(sgd, problem))
    PetscCall(Assemble(sgd, &samples));
  else
    PetscCall(ProjectAll(sgd, &samples, theta, slowest));
  PetscCall(CourantSamplesDestroy(&samples));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- limits ---- */

/*
  CourantSgdGetDescentLimit - 2/m_max, the limit of full-batch descent. Status degenerate: m has negative
  eigenvalues, or noise where it has none, and no learning rate is stable for mini-batches; not_converged: m
  is not known.
*/
PetscErrorCode CourantSgdGetDescentLimit(CourantSgd sgd, PetscReal *limit, CourantStatus *status)
{
  const CourantSgdModes *modes = &sgd->modes[0];

  PetscFunctionBeginUser;
  PetscCheck(sgd->stages || sgd->blank, sgd->comm, PETSC_ERR_ORDER, "there are no Hessians yet");
  *limit = NAN;
  *status = COURANT_NOT_CONVERGED;
  if (sgd->blank) PetscFunctionReturn(PETSC_SUCCESS);
  if (modes->q && modes->mu[modes->q - 1] > 0) *limit = 2 / modes->mu[modes->q - 1];
  *status = modes->q && !modes->below ? modes->status : COURANT_DEGENERATE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StageLimit(CourantSgd sgd, int stage, CourantSgdKind kind, CourantEstimate *limit,
                                 CourantStatus *status)
{
  const CourantSgdModes *modes = &sgd->modes[stage];
  CourantEstimate square;

  PetscFunctionBeginUser;
  PetscCall(CourantMeanSquareLimit(modes, &square, NULL, status));
  if (kind == COURANT_SGD_MEAN_SQUARE) *limit = square;
  if (kind == COURANT_SGD_EPOCH)
    PetscCall(CourantEpochLimit(modes, &sgd->products, 0.5 * square.value, limit, status));
  if (kind == COURANT_SGD_ALMOST_SURE)
    PetscCall(CourantAlmostSureLimit(modes, &sgd->products, 0.5 * square.value, limit, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the subspace leaves open, by what its last enlargement changed. */
static void Widen(CourantEstimate *estimate, PetscReal before)
{
  const PetscReal change = fabs(before - estimate->value);
  estimate->low -= change;
  estimate->high += change;
}

static PetscErrorCode ComputeLimit(CourantSgd sgd, CourantSgdKind kind)
{
  CourantEstimate *limit = &sgd->limit[kind], before;
  CourantStatus *status = &sgd->status[kind], ignored;

  PetscFunctionBeginUser;
  if (sgd->batch == sgd->modes[0].n) { /* full batches */
    limit->value = limit->low = limit->high = 2 / sgd->modes[0].mu[sgd->modes[0].q - 1];
    *status = COURANT_CONVERGED;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(StageLimit(sgd, 0, kind, limit, status));
  if (sgd->stages > 1) {
    PetscCall(StageLimit(sgd, 1, kind, &before, &ignored));
    Widen(limit, before.value);
  }
  if (kind == COURANT_SGD_MEAN_SQUARE) limit->low = PetscMin(limit->low, limit->value / (1 + sgd->error));
  if (!isfinite(limit->low + limit->high) || sgd->error > cannot_tell) *status = COURANT_NOT_CONVERGED;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSgdGetLimit - The learning rate below which a deviation decays, with its interval.

  mean_square: of batches drawn independently, never above that of full-batch descent; epoch and almost_sure:
  of the trainer's batches, reshuffled at each epoch. Status degenerate and NaN where no learning rate is
  stable; not_converged where it cannot be told.
*/
PetscErrorCode CourantSgdGetLimit(CourantSgd sgd, CourantSgdKind kind, CourantEstimate *limit,
                                  CourantStatus *status)
{
  PetscReal descent;

  PetscFunctionBeginUser;
  PetscCall(CourantSgdGetDescentLimit(sgd, &descent, status));
  *limit = (CourantEstimate){NAN, NAN, NAN};
  if (*status != COURANT_CONVERGED) PetscFunctionReturn(PETSC_SUCCESS);
  if (!sgd->done[kind]) PetscCall(ComputeLimit(sgd, kind));
  sgd->done[kind] = PETSC_TRUE;
  *limit = sgd->limit[kind];
  *status = sgd->status[kind];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StageGrowth(CourantSgd sgd, int stage, CourantSgdKind kind, PetscInt n,
                                  const PetscReal rates[], CourantEstimate growth[])
{
  const CourantSgdModes *modes = &sgd->modes[stage];

  PetscFunctionBeginUser;
  if (kind == COURANT_SGD_MEAN_SQUARE) PetscCall(CourantMeanSquareGrowth(modes, n, rates, growth));
  if (kind == COURANT_SGD_EPOCH) PetscCall(CourantEpochGrowth(modes, &sgd->products, n, rates, growth));
  if (kind == COURANT_SGD_ALMOST_SURE)
    PetscCall(CourantAlmostSureGrowth(modes, &sgd->products, n, rates, growth));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Full batches: max |1 - eta m|. */
static void DescentGrowth(const CourantSgdModes *modes, PetscInt n, const PetscReal rates[],
                          CourantEstimate growth[])
{
  for (PetscInt i = 0; i < n; i++) {
    const PetscReal value =
        PetscMax(fabs(1 - rates[i] * modes->mu[0]), fabs(1 - rates[i] * modes->mu[modes->q - 1]));
    growth[i] = (CourantEstimate){value, value, value};
  }
}

/*
  CourantSgdGetGrowth - Factors per step at n learning rates: of the root of the mean square, or of a run; the
  counterpart of max |1 - eta m| of full batches.

  All runs go along the same batches. Neutral modes, whose factor is 1, are left out. NaN where it cannot be
  told: status degenerate where noise acts on a neutral mode, not_converged for a solver, and for a subspace
  where the flow itself leaves the state: it holds what noise acts on at a limit, and there is none.
*/
PetscErrorCode CourantSgdGetGrowth(CourantSgd sgd, CourantSgdKind kind, PetscInt n, const PetscReal rates[],
                                   CourantEstimate growth[], CourantStatus *status)
{
  CourantEstimate *before;
  PetscReal descent;

  PetscFunctionBeginUser;
  PetscCall(CourantSgdGetDescentLimit(sgd, &descent, status));
  for (PetscInt i = 0; i < n; i++) growth[i] = (CourantEstimate){NAN, NAN, NAN};
  if (sgd->blank || sgd->modes[0].q == 0) PetscFunctionReturn(PETSC_SUCCESS);
  *status = sgd->modes[0].status;
  if (sgd->projected && sgd->modes[0].below) *status = COURANT_NOT_CONVERGED;
  if (*status != COURANT_CONVERGED) PetscFunctionReturn(PETSC_SUCCESS);
  if (sgd->batch == sgd->modes[0].n) {
    DescentGrowth(&sgd->modes[0], n, rates, growth);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(StageGrowth(sgd, 0, kind, n, rates, growth));
  if (sgd->stages > 1) {
    PetscCall(PetscMalloc1(n, &before));
    PetscCall(StageGrowth(sgd, 1, kind, n, rates, before));
    for (PetscInt i = 0; i < n; i++) Widen(&growth[i], before[i].value);
    PetscCall(PetscFree(before));
  }
  for (PetscInt i = 0; i < n; i++)
    if (!isfinite(growth[i].value)) *status = COURANT_NOT_CONVERGED;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSgdGetModes - Modes that are looked at, neutral ones, and whether others were left out by a
 * projection. */
PetscErrorCode CourantSgdGetModes(CourantSgd sgd, PetscInt *modes, PetscInt *neutral_modes,
                                  PetscBool *projected)
{
  PetscFunctionBeginUser;
  *modes = sgd->modes[0].q;
  *neutral_modes = sgd->modes[0].neutral;
  *projected = sgd->projected;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSgdGetNoise - Root mean square of the samples' own gradients, decay included; NaN for given matrices.

  Where it is not 0, mini-batches keep a run in motion: below the mean-square limit it hovers around the state
  with a covariance proportional to the learning rate.
*/
PetscErrorCode CourantSgdGetNoise(CourantSgd sgd, PetscReal *gradient)
{
  PetscFunctionBeginUser;
  *gradient = sgd->noise;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantSgdDestroy(CourantSgd *sgd)
{
  PetscFunctionBeginUser;
  if (!*sgd) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Clear(*sgd));
  PetscCall(PetscFree(*sgd));
  PetscFunctionReturn(PETSC_SUCCESS);
}
