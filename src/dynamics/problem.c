#include "dynamics/problem.h"
#include "core/interrupt.h"
#include "core/memory.h"
#include <math.h>
#include <omp.h>
#include <string.h>
#include <unistd.h>

CourantLog CourantLogging;

/* CourantLogRegister - Names the library's own work for -log_view; once is enough. */
PetscErrorCode CourantLogRegister(void)
{
  static PetscBool done;
  PetscClassId id;

  PetscFunctionBeginUser;
  if (done) PetscFunctionReturn(PETSC_SUCCESS);
  done = PETSC_TRUE;
  PetscCall(PetscClassIdRegister("Courant", &id));
  PetscCall(PetscLogEventRegister("CourantGradient", id, &CourantLogging.gradient));
  PetscCall(PetscLogEventRegister("CourantProduct", id, &CourantLogging.product));
  PetscCall(PetscLogEventRegister("CourantJet", id, &CourantLogging.jet));
  PetscCall(PetscLogEventRegister("CourantTrain", id, &CourantLogging.train));
  PetscCall(PetscLogStageRegister("Equilibrium", &CourantLogging.equilibrium));
  PetscCall(PetscLogStageRegister("Spectrum", &CourantLogging.spectrum));
  PetscCall(PetscLogStageRegister("Flip", &CourantLogging.flip));
  PetscCall(PetscLogStageRegister("Cross-check", &CourantLogging.cross_check));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CourantKey CourantTopKeys[] = {
    {"data", COURANT_KEY_NODE, offsetof(CourantTop, data), NULL, .help = "where the samples come from"},
    {"network", COURANT_KEY_NODE, offsetof(CourantTop, network), NULL, .help = "the layers"},
    {"loss", COURANT_KEY_NODE, offsetof(CourantTop, loss), NULL, .help = "of outputs and labels"},
    {"width", COURANT_KEY_REAL, offsetof(CourantTop, width), "1", 1e-3, 1e3,
     .help = "factor on the channels of every convolution"},
    {"statistics_batch", COURANT_KEY_INT, offsetof(CourantTop, statistics_batch), "128", 2, INFINITY,
     .help = "samples that batch_norm normalises together"},
    {"weights", COURANT_KEY_NODE, offsetof(CourantTop, weights), "",
     .help = "how they are initialised and decay"},
    {"train", COURANT_KEY_NODE, offsetof(CourantTop, train), "", .help = "how the trainer steps"},
    {"map", COURANT_KEY_NODE, offsetof(CourantTop, map), "", .help = "the stability map"},
    {0},
};

/*
  CourantProblemCreate - The problem of a deck's data, network, loss and weights.

  Collective on comm, whose ranks share the samples. The deck is borrowed until CourantProblemDestroy().
*/
PetscErrorCode CourantProblemCreate(MPI_Comm comm, CourantDeck deck, CourantProblem *problem)
{
  PetscFunctionBeginUser;
  PetscCall(CourantLogRegister());
  PetscCall(PetscNew(problem));
  (*problem)->comm = comm;
  (*problem)->threads = 1;
  PetscCall(
      CourantModelRead(deck, 1, (CourantTable[]){{CourantTopKeys, &(*problem)->top}}, &(*problem)->model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemSetFromOptions - Options: -threads n (all processors this process may use, divided by the
  ranks of the node), -memory 2GB (of the node; a quarter of it), -isa baseline|avx2|avx512 (the best there
  is).
*/
PetscErrorCode CourantProblemSetFromOptions(CourantProblem problem)
{
  PetscBool set;

  PetscFunctionBeginUser;
  problem->threads = omp_get_num_procs();
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-threads", &problem->threads, &set));
  if (problem->threads < 1 || problem->threads > 4096)
    CourantInputError(problem->comm, "-threads %d: expected a number from 1 to 4096", (int)problem->threads);
  if (!set &&
      problem->threads ==
          (PetscInt)sysconf(_SC_NPROCESSORS_ONLN)) { /* else mpiexec has given each rank its own already */
    MPI_Comm node;
    PetscMPIInt ranks;
    PetscCallMPI(MPI_Comm_split_type(PETSC_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
    PetscCallMPI(MPI_Comm_size(node, &ranks));
    PetscCallMPI(MPI_Comm_free(&node));
    problem->threads = PetscMax(1, problem->threads / ranks);
  }
  PetscCall(
      PetscOptionsGetString(NULL, NULL, "-memory", problem->memory_text, sizeof problem->memory_text, NULL));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-isa", problem->isa, sizeof problem->isa, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemCreateEvaluator - An evaluator of the whole data set, for one rank by itself.

  It holds its own memory and shares data, net and frozen slopes with the problem.
*/
PetscErrorCode CourantProblemCreateEvaluator(CourantProblem problem, int order, int threads,
                                             CourantEvaluator *evaluator)
{
  const CourantEvaluatorSettings settings = {
      .order = order, .threads = threads, .memory = problem->memory / 4, .slopes = problem->slopes};

  PetscFunctionBeginUser;
  PetscCall(CourantEvaluatorCreate(problem->net, problem->data, problem->backend, &settings, evaluator));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Directions that a call of CourantEvaluatorProducts() takes, where matrices are assembled. */
enum { DIRECTIONS = 8, ASSEMBLED = 4096 };

static int Directions(CourantProblem problem)
{
  return problem->net->size <= ASSEMBLED ? DIRECTIONS : 1;
}

static PetscErrorCode CreateShared(CourantProblem problem, const CourantBackend *backend, int order,
                                   CourantEvaluator *evaluator)
{
  PetscMPIInt rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(problem->comm, &rank));
  PetscCallMPI(MPI_Comm_size(problem->comm, &size));
  const CourantEvaluatorSettings settings = {.order = order,
                                             .directions = order == 1 ? Directions(problem) : 1,
                                             .threads = (int)problem->threads,
                                             .memory =
                                                 problem->memory / (backend == problem->backend ? 2 : 4),
                                             .rank = rank,
                                             .size = size,
                                             .slopes = problem->slopes};
  PetscCall(CourantEvaluatorCreate(problem->net, problem->data, backend, &settings, evaluator));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Vectors of theta's length, the decay mask among them. */
static PetscErrorCode SetUpVectors(CourantProblem problem)
{
  const PetscInt p = problem->net->size;
  PetscInt first, last;
  PetscMPIInt size;
  double *mask;

  PetscFunctionBeginUser;
  PetscCall(VecCreate(problem->comm, &problem->mask));
  PetscCall(VecSetSizes(problem->mask, PETSC_DECIDE, p));
  PetscCall(VecSetType(problem->mask, VECSTANDARD));
  PetscCallMPI(MPI_Comm_size(problem->comm, &size));
  if (size > 1) PetscCall(VecScatterCreateToAll(problem->mask, &problem->to_all, &problem->all));
  const size_t results = (size_t)PetscMax(Directions(problem), COURANT_ORDER_MAX + 1);
  PetscCall(
      PetscMalloc3(results * ((size_t)p + 1), &problem->result, p, &problem->theta, p, &problem->direction));
  PetscCall(PetscMalloc1(p, &mask));
  PetscCall(CourantNetDecayMask(problem->net, problem->weights.decay ? PETSC_TRUE : PETSC_FALSE, mask));
  PetscCall(VecGetOwnershipRange(problem->mask, &first, &last));
  problem->decays_all = PETSC_TRUE;
  for (PetscInt i = 0; i < p; i++) {
    if (mask[i] != 1) problem->decays_all = PETSC_FALSE;
    if (i >= first && i < last) PetscCall(VecSetValue(problem->mask, i, mask[i], INSERT_VALUES));
  }
  PetscCall(PetscFree(mask));
  PetscCall(VecAssemblyBegin(problem->mask));
  PetscCall(VecAssemblyEnd(problem->mask));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantProblemMemory - Bytes this rank holds for samples, activations and sums of products. */
double CourantProblemMemory(CourantProblem problem)
{
  const CourantDataset sets[] = {problem->data, problem->test};
  double bytes = problem->first ? CourantEvaluatorMemory(problem->first) : 0;

  if (problem->single) bytes += CourantEvaluatorMemory(problem->single);

  for (int i = 0; i < 2; i++)
    if (sets[i])
      bytes += 8. * ((double)sets[i]->n * (double)sets[i]->width +
                     (sets[i]->images ? (double)sets[i]->n : 1) * (double)CourantDatasetImageSize(sets[i]));
  return bytes;
}

/* Labels that the loss cannot use are the user's error. */
static PetscErrorCode CheckLabels(CourantProblem problem, CourantDataset data)
{
  PetscInt sample;

  PetscFunctionBeginUser;
  const char *wrong =
      CourantLossType(problem->net->loss)
          ->Check((PetscInt)CourantShapeSize(problem->net->out), data->n, data->width, data->labels, &sample);
  if (wrong && sample < 0) CourantNodeError(problem->top.loss, "%s", wrong);
  if (wrong)
    CourantNodeError(problem->top.loss, "%s; %s sample %d has %g", wrong,
                     data->split == COURANT_SPLIT_TEST ? "test" : "training", (int)sample,
                     data->labels[sample * data->width]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemSetUp - Reads the data, shapes the network, reads how its weights start. Collective.
*/
PetscErrorCode CourantProblemSetUp(CourantProblem problem)
{
  const CourantTop *top = &problem->top;

  PetscFunctionBeginUser;
  if (problem->net) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantMemoryBudget(problem->comm, problem->memory_text[0] ? problem->memory_text : NULL,
                                &problem->memory));
  PetscCall(CourantBackendGet(problem->comm, 64, problem->isa[0] ? problem->isa : NULL, &problem->backend));
  PetscCall(CourantDatasetCreate(top->data, problem->memory, &problem->data));
  const CourantShape in = {problem->data->h, problem->data->w, problem->data->c};
  const CourantNetDeck net = {top->network, top->loss, top->width, top->statistics_batch};
  PetscCall(CourantNetCreate(&net, in, &problem->net));
  PetscCall(CourantWeightsRead(top->weights, &problem->weights));
  problem->model.seed = problem->weights.seed;
  problem->model.instruction_set = problem->backend->isa;
  PetscCall(CheckLabels(problem, problem->data));

  if (problem->net->coupled && problem->data->n % problem->net->group == 1)
    CourantNodeError(
        CourantDeckRoot(problem->model.deck),
        "statistics_batch: batch_norm cannot normalise over one sample, and %d samples in groups of %d "
        "leave one",
        (int)problem->data->n, (int)problem->net->group);
  PetscCall(SetUpVectors(problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemSetUpProducts - Allocates what gradients and products over all the data need; by itself when
  first asked for one. A memory budget that is too little is the user's error. Collective.
*/
PetscErrorCode CourantProblemSetUpProducts(CourantProblem problem)
{
  PetscFunctionBeginUser;
  if (problem->first) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CreateShared(problem, problem->backend, 1, &problem->first));
  const double least = CourantProblemMemory(problem);
  if (problem->memory_text[0] && least > problem->memory)
    CourantInputError(problem->comm,
                      "-memory %s is too little for this model: it takes at least %.3g MB on a rank",
                      problem->memory_text, ceil(least / 1e5) / 10);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantProblemLoadTest - Reads the test samples, if the deck has any. */
PetscErrorCode CourantProblemLoadTest(CourantProblem problem)
{
  PetscFunctionBeginUser;
  if (problem->test_loaded) PetscFunctionReturn(PETSC_SUCCESS);
  problem->test_loaded = PETSC_TRUE;
  PetscCall(CourantDatasetCreateTest(problem->data, problem->memory, &problem->test));
  if (problem->test) PetscCall(CheckLabels(problem, problem->test));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantProblemView - Data, network and memory, in a few lines. */
PetscErrorCode CourantProblemView(CourantProblem problem, FILE *out)
{
  PetscFunctionBeginUser;
  fprintf(out, "  data  %d sample%s of %d x %d x %d from %s\n", (int)problem->data->n,
          problem->data->n == 1 ? "" : "s", (int)problem->data->h, (int)problem->data->w,
          (int)problem->data->c, problem->data->ops->name);
  if (problem->test)
    fprintf(out, "  test  %d sample%s\n", (int)problem->test->n, problem->test->n == 1 ? "" : "s");
  PetscCall(CourantNetView(problem->net, out));
  if (problem->reference[0]) fprintf(out, "  %s\n", problem->reference);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantProblemDestroy(CourantProblem *problem)
{
  PetscFunctionBeginUser;
  if (!*problem) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantEvaluatorDestroy(&(*problem)->first));
  PetscCall(CourantEvaluatorDestroy(&(*problem)->third));
  PetscCall(CourantEvaluatorDestroy(&(*problem)->single));
  PetscCall(CourantNetDestroy(&(*problem)->net));
  PetscCall(CourantDatasetDestroy(&(*problem)->data));
  PetscCall(CourantDatasetDestroy(&(*problem)->test));
  PetscCall(CourantWeightsReset(&(*problem)->weights));
  PetscCall(VecScatterDestroy(&(*problem)->to_all));
  PetscCall(VecDestroy(&(*problem)->all));
  PetscCall(VecDestroy(&(*problem)->mask));
  PetscCall(PetscFree3((*problem)->result, (*problem)->theta, (*problem)->direction));
  PetscCall(PetscFree((*problem)->slopes));
  PetscCall(PetscFree(*problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantProblemGetSize - Number of weights, the length of theta. */
PetscErrorCode CourantProblemGetSize(CourantProblem problem, PetscInt *size)
{
  PetscFunctionBeginUser;
  *size = problem->net->size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantProblemCreateVec - A vector of theta's length and layout; the caller destroys it. */
PetscErrorCode CourantProblemCreateVec(CourantProblem problem, Vec *v)
{
  PetscFunctionBeginUser;
  PetscCall(VecDuplicate(problem->mask, v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantProblemGetDecayMask - The diagonal D, 1 where weight decay acts and 0 elsewhere; borrowed. */
PetscErrorCode CourantProblemGetDecayMask(CourantProblem problem, Vec *mask)
{
  PetscFunctionBeginUser;
  *mask = problem->mask;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemHasBoundedGradient - Is |grad L| bounded over all
  theta, so that learning rates below 2/alpha keep every orbit bounded?
*/
PetscErrorCode CourantProblemHasBoundedGradient(CourantProblem problem, PetscBool *bounded)
{
  PetscFunctionBeginUser;
  *bounded = problem->slopes ? PETSC_FALSE : CourantNetHasBoundedGradient(problem->net);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantProblemGetAll - The whole of a distributed vector on every rank, values [p]. Collective. */
PetscErrorCode CourantProblemGetAll(CourantProblem problem, Vec v, double *values)
{
  const PetscScalar *array;
  const Vec whole = problem->to_all ? problem->all : v;

  PetscFunctionBeginUser;
  if (problem->to_all) {
    PetscCall(VecScatterBegin(problem->to_all, v, problem->all, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecScatterEnd(problem->to_all, v, problem->all, INSERT_VALUES, SCATTER_FORWARD));
  }
  PetscCall(VecGetArrayRead(whole, &array));
  memcpy(values, array, sizeof(double) * (size_t)problem->net->size);
  PetscCall(VecRestoreArrayRead(whole, &array));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantProblemPut - values [p], which every rank has whole, into a vector: each rank its part. */
PetscErrorCode CourantProblemPut(const double values[], Vec v)
{
  PetscInt first, last;
  PetscScalar *array;

  PetscFunctionBeginUser;
  PetscCall(VecGetOwnershipRange(v, &first, &last));
  PetscCall(VecGetArrayWrite(v, &array));
  memcpy(array, values + first, sizeof(double) * (size_t)(last - first));
  PetscCall(VecRestoreArrayWrite(v, &array));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantProblemGetInitialState - The deck's initial weights. Collective. */
PetscErrorCode CourantProblemGetInitialState(CourantProblem problem, Vec theta)
{
  PetscFunctionBeginUser;
  PetscCall(CourantWeightsFill(&problem->weights, problem->net, problem->theta));
  PetscCall(CourantProblemPut(problem->theta, theta));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Evaluators that know of these slopes alone; takes them over. */
static PetscErrorCode SetSlopes(CourantProblem problem, double slopes[])
{
  PetscFunctionBeginUser;
  PetscCall(CourantEvaluatorDestroy(&problem->first));
  PetscCall(CourantEvaluatorDestroy(&problem->third));
  PetscCall(PetscFree(problem->slopes));
  problem->slopes = slopes;
  PetscCall(CreateShared(problem, problem->backend, 1, &problem->first));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemFreezeLoss - Replaces the loss by its linearisation at the outputs that theta gives, loss'(p)
  . p sample by sample.

  This is the paper's analysis with s fixed (Sun et al. 2022): the Hessian loses its Gauss-Newton part, H =
  sum_i loss'(p_i) D^2 p_i / n. Until CourantProblemThawLoss(). Collective.
*/
PetscErrorCode CourantProblemFreezeLoss(CourantProblem problem, Vec theta)
{
  const size_t outputs = CourantShapeSize(problem->net->out);
  double *slopes;

  PetscFunctionBeginUser;
  PetscCheck(!problem->slopes, problem->comm, PETSC_ERR_ORDER, "the loss is frozen already");
  PetscCall(CourantProblemSetUpProducts(problem));
  PetscCall(CourantProblemGetAll(problem, theta, problem->theta));
  PetscCall(PetscMalloc1((size_t)problem->data->n * outputs, &slopes));
  for (PetscInt i = 0; i < problem->data->n; i++)
    PetscCall(CourantEvaluatorSample(problem->first, problem->theta, i, 0, NULL, slopes + (size_t)i * outputs,
                                     NULL));
  PetscCall(SetSlopes(problem, slopes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantProblemThawLoss - Back from a frozen loss to the net's own. Hessian products need a
 * CourantProblemSetState() anew. Collective. */
PetscErrorCode CourantProblemThawLoss(CourantProblem problem)
{
  PetscFunctionBeginUser;
  PetscCall(SetSlopes(problem, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Coefficients 0..order of an evaluator's result to the caller. */
static PetscErrorCode Deliver(CourantProblem problem, int order, PetscReal loss[], Vec gradient[])
{
  const size_t p = (size_t)problem->net->size;

  PetscFunctionBeginUser;
  for (int k = 0; k <= order; k++) {
    if (loss) loss[k] = problem->result[(size_t)(order + 1) * p + (size_t)k];
    if (gradient && gradient[k]) PetscCall(CourantProblemPut(problem->result + (size_t)k * p, gradient[k]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantProblemComputeLoss - L(theta) and its gradient; either result may be NULL. Collective. */
PetscErrorCode CourantProblemComputeLoss(CourantProblem problem, Vec theta, PetscReal *loss, Vec gradient)
{
  PetscFunctionBeginUser;
  PetscCall(CourantProblemSetUpProducts(problem));
  PetscCall(PetscLogEventBegin(CourantLogging.gradient, 0, 0, 0, 0));
  PetscCall(CourantProblemGetAll(problem, theta, problem->theta));
  PetscCall(CourantEvaluatorRun(problem->first, 0, problem->theta, NULL, problem->comm, problem->result));
  PetscCall(Deliver(problem, 0, loss, &gradient));
  PetscCall(PetscLogEventEnd(CourantLogging.gradient, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemComputeFlow - F(theta) = -grad L(theta) - alpha D
  theta, the right-hand side of the gradient-flow PDE. Collective.
*/
PetscErrorCode CourantProblemComputeFlow(CourantProblem problem, PetscReal alpha, Vec theta, Vec F)
{
  const PetscScalar *t, *d;
  PetscScalar *f;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemComputeLoss(problem, theta, NULL, F));
  PetscCall(VecGetLocalSize(F, &n));
  PetscCall(VecGetArrayRead(theta, &t));
  PetscCall(VecGetArrayRead(problem->mask, &d));
  PetscCall(VecGetArray(F, &f));
  for (PetscInt i = 0; i < n; i++) f[i] = -f[i] - alpha * d[i] * t[i];
  PetscCall(VecRestoreArray(F, &f));
  PetscCall(VecRestoreArrayRead(problem->mask, &d));
  PetscCall(VecRestoreArrayRead(theta, &t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemComputeJet - Taylor coefficients 0..order (at most 3) of loss and gradient at theta + e
  direction.

  gradient[k] = D^(k+1) L[v,..,v,.] / k!: grad L, H v, D^3 L[v,v,.] / 2, D^4 L[v,v,v,.] / 6. loss and gradient
  may be NULL, and so may each gradient[k]. Collective.
*/
PetscErrorCode CourantProblemComputeJet(CourantProblem problem, Vec theta, Vec direction, int order,
                                        PetscReal loss[], Vec gradient[])
{
  PetscFunctionBeginUser;
  PetscCheck(order >= 0 && order <= COURANT_ORDER_MAX, problem->comm, PETSC_ERR_ARG_OUTOFRANGE,
             "order %d is not in 0..%d", order, COURANT_ORDER_MAX);
  PetscCall(CourantProblemSetUpProducts(problem));
  if (order > 1 && !problem->third)
    PetscCall(CreateShared(problem, problem->backend, COURANT_ORDER_MAX, &problem->third));
  PetscCall(PetscLogEventBegin(CourantLogging.jet, 0, 0, 0, 0));
  PetscCall(CourantProblemGetAll(problem, theta, problem->theta));
  PetscCall(CourantProblemGetAll(problem, direction, problem->direction));
  PetscCall(CourantEvaluatorRun(order > 1 ? problem->third : problem->first, order, problem->theta,
                                problem->direction, problem->comm, problem->result));
  PetscCall(Deliver(problem, order, loss, gradient));
  PetscCall(PetscLogEventEnd(CourantLogging.jet, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemSetState - The theta that Hessian products are
  at from now on; loss and gradient there, or NULL. Collective.
*/
PetscErrorCode CourantProblemSetState(CourantProblem problem, Vec theta, PetscReal *loss, Vec gradient)
{
  PetscFunctionBeginUser;
  PetscCall(CourantProblemSetUpProducts(problem));
  PetscCall(PetscLogEventBegin(CourantLogging.gradient, 0, 0, 0, 0));
  PetscCall(CourantProblemGetAll(problem, theta, problem->theta));
  problem->state++;
  if (problem->single)
    PetscCall(CourantEvaluatorKeep(problem->single, problem->theta, problem->comm, problem->result));
  PetscCall(CourantEvaluatorKeep(problem->first, problem->theta, problem->comm, problem->result));
  PetscCall(Deliver(problem, 0, loss, &gradient));
  PetscCall(PetscLogEventEnd(CourantLogging.gradient, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemComputeGaussNewton - G v at the theta of the last CourantProblemSetState(), G = J^T H_p J with
  J the Jacobian of the outputs and H_p the Hessian of the mean loss by them. Collective.
*/
PetscErrorCode CourantProblemComputeGaussNewton(CourantProblem problem, Vec v, Vec Gv)
{
  PetscFunctionBeginUser;
  PetscCall(CourantProblemSetUpProducts(problem));
  PetscCall(PetscLogEventBegin(CourantLogging.product, 0, 0, 0, 0));
  PetscCall(CourantProblemGetAll(problem, v, problem->direction));
  PetscCall(CourantEvaluatorGaussNewton(problem->first, 1, (const double *const[]){problem->direction},
                                        problem->comm, problem->result));
  PetscCall(CourantProblemPut(problem->result, Gv));
  PetscCall(PetscLogEventEnd(CourantLogging.product, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* H, or the Gauss-Newton matrix, with alpha D. */
typedef struct {
  CourantProblem problem;
  PetscReal alpha;
  PetscBool gauss_newton, single;
} Hessian;

static PetscErrorCode Multiply(const Hessian *h, int n, const double *const directions[])
{
  const CourantProblem problem = h->problem;
  const CourantEvaluator evaluator = h->single ? problem->single : problem->first;

  PetscFunctionBeginUser;
  PetscCall(PetscLogEventBegin(CourantLogging.product, 0, 0, 0, 0));
  PetscCall((h->gauss_newton ? CourantEvaluatorGaussNewton : CourantEvaluatorProducts)(
      evaluator, n, directions, problem->comm, problem->result));
  PetscCall(PetscLogEventEnd(CourantLogging.product, 0, 0, 0, 0));
  if (problem->heard) problem->heard((double)n, problem->heard_ctx);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatMult_Hessian(Mat A, Vec x, Vec y)
{
  Hessian *h;
  const PetscScalar *d, *v;
  PetscScalar *hv;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(A, &h));
  const CourantProblem problem = h->problem;
  PetscCall(CourantInterruptCheckTogether(problem->comm));
  PetscCall(CourantProblemGetAll(problem, x, problem->direction));
  PetscCall(Multiply(h, 1, (const double *const[]){problem->direction}));
  PetscCall(CourantProblemPut(problem->result, y));
  if (h->alpha != 0) {
    PetscCall(VecGetLocalSize(y, &n));
    PetscCall(VecGetArrayRead(problem->mask, &d));
    PetscCall(VecGetArrayRead(x, &v));
    PetscCall(VecGetArray(y, &hv));
    for (PetscInt i = 0; i < n; i++) hv[i] += h->alpha * d[i] * v[i];
    PetscCall(VecRestoreArray(y, &hv));
    PetscCall(VecRestoreArrayRead(x, &v));
    PetscCall(VecRestoreArrayRead(problem->mask, &d));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* C = H B, several columns of the dense B at a time, which share what is computed of the primal. One rank. */
static PetscErrorCode MatProductNumeric_Hessian(Mat A, Mat B, Mat C, void *data)
{
  Hessian *h;
  const PetscScalar *b, *d;
  PetscScalar *c;
  PetscInt columns, ldb, ldc;

  PetscFunctionBeginUser;
  (void)data;
  PetscCall(MatShellGetContext(A, &h));
  const CourantProblem problem = h->problem;
  const PetscInt p = problem->net->size;
  PetscCall(MatGetSize(B, NULL, &columns));
  PetscCall(MatDenseGetLDA(B, &ldb));
  PetscCall(MatDenseGetLDA(C, &ldc));
  PetscCall(MatDenseGetArrayRead(B, &b));
  PetscCall(MatDenseGetArrayWrite(C, &c));
  PetscCall(VecGetArrayRead(problem->mask, &d));
  for (PetscInt j = 0; j < columns; j += Directions(problem)) {
    const double *directions[DIRECTIONS];
    const int n = (int)PetscMin(Directions(problem), columns - j);
    CourantInterruptCheck();
    for (int k = 0; k < n; k++) directions[k] = b + (size_t)(j + k) * (size_t)ldb;
    PetscCall(Multiply(h, n, directions));
    for (int k = 0; k < n; k++) {
      PetscScalar *to = c + (size_t)(j + k) * (size_t)ldc;
      const double *hv = problem->result + (size_t)k * ((size_t)p + 1);
      for (PetscInt i = 0; i < p; i++)
        to[i] = hv[i] + (h->alpha != 0 ? h->alpha * d[i] * directions[k][i] : 0);
    }
  }
  PetscCall(VecRestoreArrayRead(problem->mask, &d));
  PetscCall(MatDenseRestoreArrayWrite(C, &c));
  PetscCall(MatDenseRestoreArrayRead(B, &b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatDestroy_Hessian(Mat A)
{
  Hessian *h;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(A, &h));
  PetscCall(PetscFree(h));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateProducts(CourantProblem problem, PetscBool gauss_newton, Mat *A)
{
  Hessian *h;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemSetUpProducts(problem));
  PetscCall(PetscNew(&h));
  h->problem = problem;
  h->gauss_newton = gauss_newton;
  PetscCall(VecGetLocalSize(problem->mask, &n));
  PetscCall(MatCreateShell(problem->comm, n, n, problem->net->size, problem->net->size, h, A));
  PetscCall(MatShellSetOperation(*A, MATOP_MULT, (void (*)(void))MatMult_Hessian));
  PetscCall(MatShellSetOperation(*A, MATOP_MULT_TRANSPOSE, (void (*)(void))MatMult_Hessian));
  PetscCall(MatShellSetOperation(*A, MATOP_DESTROY, (void (*)(void))MatDestroy_Hessian));
  if (!problem->to_all)
    PetscCall(MatShellSetMatProductOperation(*A, MATPRODUCT_AB, NULL, MatProductNumeric_Hessian, NULL,
                                             MATSEQDENSE, MATSEQDENSE));
  PetscCall(MatSetOption(*A, MAT_SYMMETRIC, PETSC_TRUE));
  PetscCall(MatSetOption(*A, MAT_SYMMETRY_ETERNAL, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemCreateHessian - The Hessian H of L as a symmetric MATSHELL, exact products by jets of order 1.

  It is at the theta of the last CourantProblemSetState(). CourantHessianSetWeightDecay() makes it H + alpha
  D. The caller destroys it.
*/
PetscErrorCode CourantProblemCreateHessian(CourantProblem problem, Mat *A)
{
  PetscFunctionBeginUser;
  PetscCall(CreateProducts(problem, PETSC_FALSE, A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemCreateGaussNewton - The Gauss-Newton matrix G = J^T B J in the same way: J the Jacobian of
  CourantProblemCreateJacobian(), B the Hessians of the samples' losses by their outputs. It is H without the
  curvature of the network, and positive semidefinite.
*/
PetscErrorCode CourantProblemCreateGaussNewton(CourantProblem problem, Mat *A)
{
  PetscFunctionBeginUser;
  PetscCall(CreateProducts(problem, PETSC_TRUE, A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantProblemSetUpSingle - Products in single precision from the next CourantProblemSetState() on, by
 * problem->single. Collective. */
PetscErrorCode CourantProblemSetUpSingle(CourantProblem problem)
{
  const CourantBackend *backend;

  PetscFunctionBeginUser;
  if (problem->single) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantBackendGet(problem->comm, 32, problem->backend->isa, &backend));
  PetscCall(CreateShared(problem, backend, 1, &problem->single));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetHessian(Mat A, Hessian **h)
{
  Mat whole;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectQuery((PetscObject)A, "hessian", (PetscObject *)&whole));
  PetscCall(MatShellGetContext(whole ? whole : A, h));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantHessianSetSingle - Makes a matrix of CourantProblemCreateHessian(), CourantProblemCreateGaussNewton()
  or CourantProblemCreateLayerBlock() multiply in single precision, at the theta of the next
  CourantProblemSetState(). Collective.
*/
PetscErrorCode CourantHessianSetSingle(Mat A, PetscBool single)
{
  Hessian *h;

  PetscFunctionBeginUser;
  PetscCall(GetHessian(A, &h));
  h->single = single;
  if (single) PetscCall(CourantProblemSetUpSingle(h->problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantHessianSetWeightDecay - Makes a matrix of CourantProblemCreateHessian() apply H + alpha D, and one
 * of CourantProblemCreateLayerBlock() its block. */
PetscErrorCode CourantHessianSetWeightDecay(Mat A, PetscReal alpha)
{
  Hessian *h;

  PetscFunctionBeginUser;
  PetscCall(GetHessian(A, &h));
  h->alpha = alpha;
  PetscFunctionReturn(PETSC_SUCCESS);
}
