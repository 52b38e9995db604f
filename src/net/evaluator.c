#include "net/evaluator.h"
#include "core/memory.h"
#include <omp.h>
#include <string.h>

/*
  The weights an evaluator holds: theta of the run at hand, the
  direction, and the theta that was kept for products.
*/
enum { THETA, DIRECTION, KEPT, WEIGHTS };

/* What one thread works with. */
typedef struct {
  void *tape[COURANT_ORDER_MAX + 1];
  void *gradient[COURANT_ORDER_MAX + 1]; /* of the leaf at hand, in the working precision */
  void *scratch;
  double *images, *labels; /* of a block */
  CourantTreeSum sum;
  const char *problem;
} Worker;

struct _CourantEvaluator {
  CourantNet net;      /* borrowed */
  CourantDataset data; /* borrowed */
  const CourantBackend *backend;
  CourantEvaluatorSettings settings;
  CourantLayout layout;
  void **prepared;        /* [nlayers] */
  void *weights[WEIGHTS]; /* packed */
  Worker *workers;        /* [settings.threads] */
  PetscInt blocks;        /* of this rank */
  void *
      *kept; /* [blocks]: tapes of coefficient 0 at the kept theta; NULL where the budget does not allow it */
  double memory; /* bytes in use */
};

static size_t Whole(size_t n)
{
  return (n + 15) / 16 * 16;
}

PetscInt CourantLeafCount(CourantDataset data)
{
  return (data->n + COURANT_LEAF - 1) / COURANT_LEAF;
}

/* Length of a result: gradient coefficients of theta's length, then as many loss coefficients. */
size_t CourantEvaluatorLength(CourantEvaluator ev, int coefficients)
{
  return (size_t)coefficients * ((size_t)ev->net->size + 1);
}

/* CourantEvaluatorMemory - Bytes the evaluator holds. */
double CourantEvaluatorMemory(CourantEvaluator ev)
{
  return ev->memory;
}

static PetscErrorCode LayOut(CourantEvaluator ev)
{
  CourantLayout *layout = &ev->layout;
  const CourantNet net = ev->net;
  const PetscInt layers = net->nlayers;
  size_t per_sample = 0, at = 0;

  PetscFunctionBeginUser;
  layout->order = ev->settings.order;
  PetscCall(PetscCalloc6(layers + 1, &layout->value, layers + 1, &layout->adjoint, layers, &layout->state,
                         layers, &layout->primal, layers + 1, &layout->packed, layers + 1,
                         &layout->gradient));
  CourantLayerSpace *space;
  PetscCall(PetscCalloc1(layers, &space));
  for (PetscInt l = 0; l < layers; l++) {
    space[l].packed = space[l].gradient = (size_t)net->layers[l].size;
    if (ev->backend->layers[net->layers[l].type]->Space)
      ev->backend->layers[net->layers[l].type]->Space(&net->layers[l], layout->order, &space[l]);
    per_sample += 2 * CourantShapeSize(net->layers[l].out) + space[l].state + space[l].primal;
  }
  /*
    A block stays in cache; its size is a matter of shapes alone,
    so that it never depends on budget or threads.
  */
  const size_t cached = (1 << 18) / (per_sample * 8 + 1);
  layout->samples = (int)PetscMax(1, PetscMin(COURANT_LEAF, cached));
  const size_t n = (size_t)layout->samples;

#define PLACE(member, length) (member = at, at += Whole((length)*n) + 32)
  PLACE(layout->value[0], CourantShapeSize(net->in));
  for (PetscInt l = 0; l < layers; l++) {
    PLACE(layout->value[l + 1], CourantShapeSize(net->layers[l].out));
    PLACE(layout->adjoint[l + 1], CourantShapeSize(net->layers[l].out));
    PLACE(layout->state[l], space[l].state);
  }
  layout->size = at;
  for (PetscInt l = 0; l < layers; l++) {
    PLACE(layout->primal[l], space[l].primal);
    at += 16 * (COURANT_ORDER_MAX + 2); /* each derivative array is rounded up on its own */
  }
#undef PLACE
  layout->size0 = at;
  for (PetscInt l = 0; l < layers; l++) {
    layout->packed[l + 1] = layout->packed[l] + Whole(space[l].packed) + 16;
    layout->gradient[l + 1] = layout->gradient[l] + Whole(space[l].gradient);
    layout->scratch = PetscMax(layout->scratch, space[l].scratch);
  }
  PetscCall(PetscFree(space));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Allocate(CourantEvaluator ev, size_t reals, void *pointer)
{
  PetscFunctionBeginUser;
  PetscCall(CourantAllocate(reals * ev->backend->real_size, pointer));
  ev->memory += (double)(reals * ev->backend->real_size);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateWorker(CourantEvaluator ev, Worker *worker)
{
  const CourantLayout *layout = &ev->layout;
  const size_t length = CourantEvaluatorLength(ev, layout->order + 1);
  const PetscInt leaves = PetscMax(ev->settings.last, 1);

  PetscFunctionBeginUser;
  for (int k = 0; k <= layout->order; k++) {
    PetscCall(Allocate(ev, k ? layout->size : layout->size0, &worker->tape[k]));
    PetscCall(Allocate(ev, layout->gradient[ev->net->nlayers], &worker->gradient[k]));
  }
  PetscCall(Allocate(ev, layout->scratch, &worker->scratch));
  const size_t images = (size_t)layout->samples * CourantDatasetImageSize(ev->data) * sizeof(double);
  PetscCall(CourantAllocate(images, &worker->images));
  PetscCall(CourantAllocate((size_t)(layout->samples * ev->data->width) * sizeof(double), &worker->labels));
  PetscCall(CourantTreeSumCreate(length, leaves, &worker->sum));
  ev->memory += (double)images + 8. * (double)length * (double)worker->sum.capacity;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt BlocksPerLeaf(CourantEvaluator ev)
{
  return (COURANT_LEAF + ev->layout.samples - 1) / ev->layout.samples;
}

/*
  CourantEvaluatorCreate - Prepares to evaluate the leaves first .. last-1 of a data set.

  Leaves are COURANT_LEAF consecutive samples. Each thread holds one block of samples; CourantEvaluatorKeep()
  keeps the primal of all blocks if the budget allows, otherwise products compute it again: with the same
  result to the bit.
*/
PetscErrorCode CourantEvaluatorCreate(CourantNet net, CourantDataset data, const CourantBackend *backend,
                                      const CourantEvaluatorSettings *settings, CourantEvaluator *result)
{
  CourantEvaluator ev;
  const PetscInt leaves = settings->last - settings->first;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&ev));
  *result = ev;
  ev->net = net;
  ev->data = data;
  ev->backend = backend;
  ev->settings = *settings;
  ev->settings.threads = (int)PetscMax(1, PetscMin(settings->threads, leaves));
  PetscCall(LayOut(ev));
  PetscCall(PetscCalloc1(net->nlayers, &ev->prepared));
  for (PetscInt l = 0; l < net->nlayers; l++) {
    const CourantLayerOps *ops = backend->layers[net->layers[l].type];
    if (ops->Prepare) ev->prepared[l] = ops->Prepare(&net->layers[l]);
  }
  for (int k = 0; k < (settings->order ? WEIGHTS : 1); k++)
    PetscCall(Allocate(ev, ev->layout.packed[net->nlayers], &ev->weights[k]));
  PetscCall(PetscCalloc1(ev->settings.threads, &ev->workers));
  for (int t = 0; t < ev->settings.threads; t++) PetscCall(CreateWorker(ev, &ev->workers[t]));

  ev->blocks = leaves * BlocksPerLeaf(ev);
  const double tapes = (double)ev->blocks * (double)ev->layout.size0 * (double)backend->real_size;
  if (settings->order > 0 && ev->memory + tapes <= settings->memory) {
    PetscCall(PetscCalloc1(ev->blocks, &ev->kept));
    for (PetscInt b = 0; b < ev->blocks; b++) PetscCall(Allocate(ev, ev->layout.size0, &ev->kept[b]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantEvaluatorDestroy(CourantEvaluator *evaluator)
{
  CourantEvaluator ev = *evaluator;

  PetscFunctionBeginUser;
  if (!ev) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt b = 0; ev->kept && b < ev->blocks; b++) CourantFree(&ev->kept[b]);
  PetscCall(PetscFree(ev->kept));
  for (int t = 0; t < ev->settings.threads; t++) {
    Worker *w = &ev->workers[t];
    for (int k = 0; k <= ev->layout.order; k++) {
      CourantFree(&w->tape[k]);
      CourantFree(&w->gradient[k]);
    }
    CourantFree(&w->scratch);
    CourantFree(&w->images);
    CourantFree(&w->labels);
    PetscCall(CourantTreeSumDestroy(&w->sum));
  }
  PetscCall(PetscFree(ev->workers));
  for (PetscInt l = 0; l < ev->net->nlayers; l++) {
    const CourantLayerOps *ops = ev->backend->layers[ev->net->layers[l].type];
    if (ops->Release) ops->Release(ev->prepared[l]);
  }
  PetscCall(PetscFree(ev->prepared));
  for (int k = 0; k < WEIGHTS; k++) CourantFree(&ev->weights[k]);
  PetscCall(PetscFree6(ev->layout.value, ev->layout.adjoint, ev->layout.state, ev->layout.primal,
                       ev->layout.packed, ev->layout.gradient));
  PetscCall(PetscFree(*evaluator));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void SetWeights(CourantEvaluator ev, int which, const double *theta)
{
  ev->backend->Pack(ev->net, &ev->layout, ev->prepared, theta, ev->weights[which], ev->workers[0].scratch);
}

/* What to do with every block: compute coefficients from..order, of which report..order go into the sum. */
typedef struct {
  int from, order, reserve, report;
  int theta;      /* THETA or KEPT */
  PetscBool keep; /* the primal is, or is to be, on the kept tapes */
} Work;

static CourantBlock BlockOf(CourantEvaluator ev, Worker *worker, const Work *work, double *loss)
{
  CourantBlock block = {.net = ev->net,
                        .layout = &ev->layout,
                        .prepared = ev->prepared,
                        .from = work->from,
                        .order = work->order,
                        .reserve = work->reserve,
                        .scratch = worker->scratch,
                        .images = worker->images,
                        .labels = worker->labels,
                        .width = (int)ev->data->width,
                        .loss = loss,
                        .scale = 1. / (double)ev->data->n,
                        .weights = {ev->weights[work->theta], ev->weights[DIRECTION]}};
  for (int k = 0; k <= work->order; k++) {
    block.tape[k] = worker->tape[k];
    block.gradient[k] = k < work->report ? NULL : worker->gradient[k];
  }
  return block;
}

/* One leaf, block by block, into the worker's sum. */
static void RunLeaf(CourantEvaluator ev, Worker *worker, const Work *work, PetscInt leaf)
{
  const PetscInt end = PetscMin(ev->data->n, (leaf + 1) * COURANT_LEAF),
                 outputs = (PetscInt)CourantShapeSize(ev->net->out);
  const size_t size = (size_t)ev->net->size, n = (size_t)(work->order - work->report + 1);
  double loss[COURANT_ORDER_MAX + 1] = {0};
  CourantBlock block = BlockOf(ev, worker, work, loss);
  const CourantBatch batch = {.data = ev->data, .n = ev->data->n};
  PetscInt index = (leaf - ev->settings.first) * BlocksPerLeaf(ev);

  for (int k = work->report; k <= work->order; k++)
    memset(worker->gradient[k], 0, ev->layout.gradient[ev->net->nlayers] * ev->backend->real_size);
  for (PetscInt first = leaf * COURANT_LEAF; first < end; first += ev->layout.samples, index++) {
    block.n = (int)PetscMin(ev->layout.samples, end - first);
    CourantBatchLabels(&batch, first, block.n, worker->labels);
    block.slopes = ev->settings.slopes ? ev->settings.slopes + first * outputs : NULL;
    if (work->keep) block.tape[0] = ev->kept[index];
    if (work->from == 0) {
      const char *problem = CourantBatchRead(&batch, first, block.n, worker->images);
      if (problem) worker->problem = problem;
    }
    ev->backend->Run(&block);
  }
  double *leaf_sum = CourantTreeSumNext(&worker->sum);
  for (size_t k = 0; k < n; k++) {
    ev->backend->Unpack(ev->net, &ev->layout, ev->prepared, worker->gradient[work->report + (int)k],
                        leaf_sum + k * size, worker->scratch);
    leaf_sum[n * size + k] = loss[work->report + (int)k] / (double)ev->data->n;
  }
  CourantTreeSumAdd(&worker->sum, leaf);
}

/*
  All leaves of this rank, spread over the threads; the sum is
  left with the first worker. Returns what went wrong.
*/
static const char *RunLeaves(CourantEvaluator ev, const Work *work)
{
  const int threads = ev->settings.threads;
  const PetscInt first = ev->settings.first, leaves = ev->settings.last - first;
  const char *problem = NULL;

  for (int t = 0; t < threads; t++) {
    ev->workers[t].sum.length = CourantEvaluatorLength(ev, work->order - work->report + 1);
    ev->workers[t].problem = NULL;
  }
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
  for (int t = 0; t < threads; t++)
    for (PetscInt leaf = first + leaves * t / threads; leaf < first + leaves * (t + 1) / threads; leaf++)
      RunLeaf(ev, &ev->workers[t], work, leaf);
  for (int t = 0; t < threads; t++) {
    if (ev->workers[t].problem) problem = ev->workers[t].problem;
    if (t) CourantTreeSumJoin(&ev->workers[0].sum, &ev->workers[t].sum);
  }
  return problem;
}

static PetscErrorCode RunAndShare(CourantEvaluator ev, const Work *work, MPI_Comm comm, double result[])
{
  CourantTreeSum *sum = &ev->workers[0].sum;
  PetscMPIInt size;

  PetscFunctionBeginUser;
  const char *problem = RunLeaves(ev, work);
  if (problem) CourantNodeError(ev->data->node, "%s", problem);
  PetscCall(CourantTreeSumGather(sum, comm));
  CourantTreeSumFold(sum, result);
  PetscCallMPI(MPI_Comm_size(comm, &size));
  if (size > 1) PetscCallMPI(MPI_Bcast(result, (PetscMPIInt)sum->length, MPI_DOUBLE, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantEvaluatorRun - Taylor coefficients 0..order of gradient and loss at theta + e direction.

  Collective on comm, whose ranks hold consecutive leaves. result: gradients [order+1,size], then losses
  [order+1]; of grad L(theta + e v) the coefficient of e^k is D^(k+1) L[v,..,v,.] / k!. direction may be NULL
  for order 0.
*/
PetscErrorCode CourantEvaluatorRun(CourantEvaluator ev, int order, const double theta[],
                                   const double direction[], MPI_Comm comm, double result[])
{
  const Work work = {.order = order, .reserve = order};

  PetscFunctionBeginUser;
  SetWeights(ev, THETA, theta);
  if (order) SetWeights(ev, DIRECTION, direction);
  PetscCall(RunAndShare(ev, &work, comm, result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantEvaluatorKeep - Gradient [size] and loss at theta, which
  the products that follow are at; needs settings.order > 0.
*/
PetscErrorCode CourantEvaluatorKeep(CourantEvaluator ev, const double theta[], MPI_Comm comm, double result[])
{
  const Work work = {.reserve = 1, .theta = KEPT, .keep = ev->kept ? PETSC_TRUE : PETSC_FALSE};

  PetscFunctionBeginUser;
  SetWeights(ev, KEPT, theta);
  PetscCall(RunAndShare(ev, &work, comm, result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static Work ProductWork(CourantEvaluator ev)
{
  const PetscBool keep = ev->kept ? PETSC_TRUE : PETSC_FALSE;
  return (Work){.from = keep ? 1 : 0, .order = 1, .reserve = 1, .report = 1, .theta = KEPT, .keep = keep};
}

/*
  CourantEvaluatorProduct - H direction [size] and grad L .
  direction, H the Hessian at the theta of CourantEvaluatorKeep().
*/
PetscErrorCode CourantEvaluatorProduct(CourantEvaluator ev, const double direction[], MPI_Comm comm,
                                       double result[])
{
  const Work work = ProductWork(ev);

  PetscFunctionBeginUser;
  SetWeights(ev, DIRECTION, direction);
  PetscCall(RunAndShare(ev, &work, comm, result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantEvaluatorGradient - Gradient [size] and loss at theta, for loops that run in threads, each with an
  evaluator of its own.

  Calls nothing of PETSc and allocates nothing. The evaluator holds all leaves. Returns NULL or what went
  wrong.
*/
const char *CourantEvaluatorGradient(CourantEvaluator ev, const double theta[], double gradient_and_loss[])
{
  const Work work = {0};

  SetWeights(ev, THETA, theta);
  const char *problem = RunLeaves(ev, &work);
  CourantTreeSumFold(&ev->workers[0].sum, gradient_and_loss);
  return problem;
}

/*
  CourantEvaluatorLocalProduct - CourantEvaluatorProduct()
  under the same conditions, at the theta kept before.
*/
const char *CourantEvaluatorLocalProduct(CourantEvaluator ev, const double direction[], double result[])
{
  const Work work = ProductWork(ev);

  SetWeights(ev, DIRECTION, direction);
  const char *problem = RunLeaves(ev, &work);
  CourantTreeSumFold(&ev->workers[0].sum, result);
  return problem;
}

/*
  CourantEvaluatorSample - Looks into one sample at theta.

  Any of the results may be NULL. values: output of layer `layer` [its size]; slopes: d loss / d outputs
  [outputs]; gradient: of the sum of the outputs by theta [size].
*/
PetscErrorCode CourantEvaluatorSample(CourantEvaluator ev, const double theta[], PetscInt sample,
                                      PetscInt layer, double values[], double slopes[], double gradient[])
{
  Worker *worker = &ev->workers[0];
  const Work work = {0};
  const size_t outputs = CourantShapeSize(ev->net->out);
  double loss[1] = {0}, *ones;
  const CourantBatch batch = {.data = ev->data, .n = ev->data->n};
  CourantBlock block = BlockOf(ev, worker, &work, loss);

  PetscFunctionBeginUser;
  const char *problem = CourantBatchRead(&batch, sample, 1, worker->images);
  if (problem) CourantNodeError(ev->data->node, "%s", problem);
  SetWeights(ev, THETA, theta);
  block.n = 1;
  block.scale = 1;
  CourantBatchLabels(&batch, sample, 1, worker->labels);
  memset(worker->gradient[0], 0, ev->layout.gradient[ev->net->nlayers] * ev->backend->real_size);
  block.gradient[0] = NULL;
  ev->backend->Run(&block);
  const char *tape = (const char *)worker->tape[0];
  if (values)
    ev->backend->Convert(CourantShapeSize(ev->net->layers[layer].out),
                         tape + ev->layout.value[layer + 1] * ev->backend->real_size, values);
  if (slopes)
    ev->backend->Convert(outputs, tape + ev->layout.adjoint[ev->net->nlayers] * ev->backend->real_size,
                         slopes);
  if (gradient) {
    PetscCall(PetscMalloc1(outputs, &ones));
    for (size_t i = 0; i < outputs; i++) ones[i] = 1;
    block.slopes = ones;
    block.gradient[0] = worker->gradient[0];
    ev->backend->Run(&block);
    ev->backend->Unpack(ev->net, &ev->layout, ev->prepared, worker->gradient[0], gradient, worker->scratch);
    PetscCall(PetscFree(ones));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
