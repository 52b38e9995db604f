#include "net/inner.h"
#include "core/memory.h"
#include <omp.h>
#include <string.h>

/* What one thread works with. */
typedef struct {
  void *tape; /* of coefficient 1 */
  void *scratch;
  double *images; /* of a block */
  double loss[2];
  const char *problem;
} Worker;

struct _CourantInner {
  CourantNet net;      /* borrowed */
  CourantDataset data; /* borrowed */
  const CourantBackend *backend;
  CourantInnerSettings settings;
  CourantLayout layout;
  void *weights;   /* packed */
  void **tapes;    /* of coefficient 0, block by block; one allocation */
  double *labels;  /* of the samples at hand */
  Worker *workers; /* [settings.threads] */
  PetscInt first, n;
  int value;     /* that products are about */
  double memory; /* bytes in use */
};

/* Nothing is shared by samples here: an array for pointers to none. */
static double no_statistics[1];

static PetscErrorCode Allocate(CourantInner inner, size_t bytes, void *pointer)
{
  PetscFunctionBeginUser;
  PetscCall(CourantAllocate(bytes, pointer));
  inner->memory += (double)bytes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt Blocks(CourantInner inner, PetscInt n)
{
  return (n + inner->layout.samples - 1) / inner->layout.samples;
}

static PetscErrorCode CreateWorker(CourantInner inner, Worker *worker)
{
  const size_t samples = (size_t)inner->layout.samples, real_size = inner->backend->real_size;

  PetscFunctionBeginUser;
  if (inner->settings.products) PetscCall(Allocate(inner, inner->layout.size * real_size, &worker->tape));
  PetscCall(Allocate(inner, inner->layout.scratch * real_size, &worker->scratch));
  PetscCall(
      Allocate(inner, samples * CourantDatasetImageSize(inner->data) * sizeof(double), &worker->images));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantInnerCreate - Prepares to look into a net whose samples know nothing of each other, in double
  precision. Threads share the samples; results do not depend on their number.
*/
PetscErrorCode CourantInnerCreate(CourantNet net, CourantDataset data, const CourantBackend *backend,
                                  const CourantInnerSettings *settings, CourantInner *result)
{
  CourantInner inner;

  PetscFunctionBeginUser;
  PetscCheck(!net->coupled, PETSC_COMM_SELF, PETSC_ERR_SUP, "the samples of this network know of each other");
  PetscCheck(backend->bits == 64, PETSC_COMM_SELF, PETSC_ERR_SUP, "in double precision only");
  PetscCall(PetscNew(&inner));
  *result = inner;
  inner->net = net;
  inner->data = data;
  inner->backend = backend;
  inner->settings = *settings;
  PetscCall(CourantLayoutCreate(net, backend, 1, &inner->layout));
  const PetscInt blocks = Blocks(inner, settings->samples);
  const size_t tape = inner->layout.size0 * backend->real_size;
  inner->settings.threads = (int)PetscMax(1, PetscMin(settings->threads, blocks));
  PetscCall(Allocate(inner, inner->layout.packed[net->nlayers] * backend->real_size, &inner->weights));
  PetscCall(PetscMalloc1(blocks, &inner->tapes));
  PetscCall(Allocate(inner, (size_t)blocks * tape, &inner->tapes[0]));
  PetscCall(Allocate(inner, (size_t)(settings->samples * data->width) * sizeof(double), &inner->labels));
  for (PetscInt b = 1; b < blocks; b++) inner->tapes[b] = (char *)inner->tapes[b - 1] + tape;
  PetscCall(PetscCalloc1(inner->settings.threads, &inner->workers));
  for (int t = 0; t < inner->settings.threads; t++) PetscCall(CreateWorker(inner, &inner->workers[t]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantInnerDestroy(CourantInner *result)
{
  CourantInner inner = *result;

  PetscFunctionBeginUser;
  if (!inner) PetscFunctionReturn(PETSC_SUCCESS);
  for (int t = 0; inner->workers && t < inner->settings.threads; t++) {
    CourantFree(&inner->workers[t].tape);
    CourantFree(&inner->workers[t].scratch);
    CourantFree(&inner->workers[t].images);
  }
  PetscCall(PetscFree(inner->workers));
  if (inner->tapes) CourantFree(&inner->tapes[0]);
  PetscCall(PetscFree(inner->tapes));
  CourantFree(&inner->weights);
  CourantFree(&inner->labels);
  PetscCall(CourantLayoutDestroy(&inner->layout));
  PetscCall(PetscFree(*result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantInnerMemory - Bytes it holds. */
double CourantInnerMemory(CourantInner inner)
{
  return inner->memory;
}

/* CourantInnerSetWeights - The theta [size] that everything from now on is at. */
void CourantInnerSetWeights(CourantInner inner, const double theta[])
{
  inner->backend->Pack(&inner->layout, theta, inner->weights, inner->workers[0].scratch);
}

/* Block b of the samples at hand; the weights stay, so that they have no coefficient 1. */
static CourantBlock BlockOf(CourantInner inner, PetscInt b, int order, Worker *worker)
{
  const PetscInt start = b * inner->layout.samples, first = inner->first + start;
  const size_t outputs = CourantShapeSize(inner->net->out);

  return (CourantBlock){.net = inner->net,
                        .layout = &inner->layout,
                        .n = (int)PetscMin(inner->layout.samples, inner->n - start),
                        .from = order,
                        .order = order,
                        .reserve = 1,
                        .images = worker->images,
                        .labels = inner->labels + start * inner->data->width,
                        .width = (int)inner->data->width,
                        .slopes =
                            inner->settings.slopes ? inner->settings.slopes + (size_t)first * outputs : NULL,
                        .scale = 1,
                        .weights = {inner->weights},
                        .tape = {inner->tapes[b], worker->tape},
                        .shared = {no_statistics, no_statistics},
                        .scratch = worker->scratch,
                        .loss = worker->loss};
}

static void Read(CourantInner inner, const CourantBlock *block, PetscInt b, Worker *worker)
{
  const CourantBatch all = {.data = inner->data, .n = inner->data->n};
  const PetscInt first = inner->first + b * inner->layout.samples;

  const char *problem = CourantBatchRead(&all, first, block->n, worker->images);
  if (problem) worker->problem = problem;
  inner->backend->Input(block);
}

/* Forward to a value or, where curvature is wanted, to the loss and back to it. */
static const char *Run(CourantInner inner, PetscInt first, PetscInt n, int value, PetscBool back)
{
  const int threads = inner->settings.threads;
  const PetscInt layers = inner->net->nlayers, blocks = Blocks(inner, n);
  const char *problem = NULL;

  inner->first = first;
  inner->n = n;
  inner->value = value;
  CourantBatchLabels(&(CourantBatch){.data = inner->data, .n = inner->data->n}, first, n, inner->labels);
  for (int t = 0; t < threads; t++) inner->workers[t].problem = NULL;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (PetscInt b = 0; b < blocks; b++) {
    Worker *worker = &inner->workers[omp_get_thread_num()];
    const CourantBlock block = BlockOf(inner, b, 0, worker);
    Read(inner, &block, b, worker);
    inner->backend->Forward(&block, 0, back ? layers : value);
    if (!back) continue;
    inner->backend->Loss(&block);
    inner->backend->Backward(&block, value, layers);
  }
  for (int t = 0; t < threads; t++)
    if (inner->workers[t].problem) problem = inner->workers[t].problem;
  return problem;
}

/*
  CourantInnerForward - Computes the values 0..value of n samples from `first` on.

  Values are numbered as in net/layer.h: 0 is the data, l + 1 the output of layer l. Calls nothing of PETSc;
  returns NULL or what went wrong.
*/
const char *CourantInnerForward(CourantInner inner, PetscInt first, PetscInt n, int value)
{
  return Run(inner, first, n, value, PETSC_FALSE);
}

/* CourantInnerValue - A value of the i-th of these samples, channel-last; borrowed. */
const double *CourantInnerValue(CourantInner inner, int value, PetscInt i)
{
  const PetscInt samples = inner->layout.samples;
  return (const double *)inner->tapes[i / samples] + inner->layout.value[value] +
         (size_t)(i % samples) * CourantShapeSize(CourantNetShape(inner->net, value));
}

/*
  CourantInnerLinearise - Prepares products with M_i, the Hessian of the loss of sample i in a value, for n
  samples from `first` on. The value depends on weights. As CourantInnerForward() otherwise.
*/
const char *CourantInnerLinearise(CourantInner inner, PetscInt first, PetscInt n, int value)
{
  for (int t = 0; t < inner->settings.threads; t++) /* nothing else than the value moves with the direction */
    memset(inner->workers[t].tape, 0, inner->layout.size * inner->backend->real_size);
  return Run(inner, first, n, value, PETSC_TRUE);
}

/*
  CourantInnerProduct - y_i = M_i x_i for all samples of CourantInnerLinearise(); x, y: [n, size of the
  value].

  By jets of order 1 from the value on: forward with direction x to the loss, and back.
*/
void CourantInnerProduct(CourantInner inner, const double x[], double y[])
{
  const int threads = inner->settings.threads, value = inner->value;
  const PetscInt layers = inner->net->nlayers, samples = inner->layout.samples,
                 blocks = Blocks(inner, inner->n);
  const size_t size = CourantShapeSize(CourantNetShape(inner->net, value));

#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (PetscInt b = 0; b < blocks; b++) {
    Worker *worker = &inner->workers[omp_get_thread_num()];
    const CourantBlock block = BlockOf(inner, b, 1, worker);
    const size_t start = (size_t)(b * samples) * size, bytes = (size_t)block.n * size * sizeof(double);
    double *tape = (double *)worker->tape;
    memcpy(tape + inner->layout.value[value], x + start, bytes);
    inner->backend->Forward(&block, value, layers);
    inner->backend->Loss(&block);
    inner->backend->Backward(&block, value, layers);
    memcpy(y + start, tape + inner->layout.adjoint[value], bytes);
  }
}
