#include "net/evaluator.h"
#include "core/memory.h"
#include <omp.h>
#include <string.h>

/*
  The weights an evaluator holds: theta of the run at hand, the theta that was kept for products, and from
  there on the directions.
*/
enum { THETA, KEPT, DIRECTION };

enum { PREDICTED = 2 }; /* numbers of a leaf of predictions; a batch of these may have any number of leaves */

/* A leaf in flight: tapes of its blocks and its gradient. */
typedef struct {
  void **tape;     /* [blocks, order+1] */
  void **gradient; /* [directions, order+1], packed */
  double *loss;    /* [directions, order+1] */
  double *record;  /* of its statistics */
} Slot;

/* What one thread works with. */
typedef struct {
  void *scratch;
  double *images, *labels; /* of a block */
  double *record;          /* statistics of a block */
  CourantTreeSum sum;
  CourantTreeSum predicted; /* loss and right answers */
  const char *problem;
} Worker;

struct _CourantEvaluator {
  CourantNet net;      /* borrowed */
  CourantDataset data; /* borrowed */
  const CourantBackend *backend;
  CourantEvaluatorSettings settings;
  CourantLayout layout;
  int nweights;
  void **weights; /* [nweights], packed */
  int nslots;
  Slot *slots;
  Worker *workers;                       /* [settings.threads] */
  CourantTreeSum sum, predicted;         /* of all threads */
  double *shared[COURANT_ORDER_MAX + 1]; /* of the group at hand */
  double *ones;                          /* [outputs] */
  double *running;                       /* statistics that follow the batches; NULL: none. Borrowed */
  PetscInt couplings, *coupling;         /* layers that couple samples */

  CourantBatch batch;
  PetscInt group, groups; /* samples of a statistics group; groups of the batch */
  PetscInt group_leaves;  /* leaves of a whole group */
  PetscInt first, last;   /* groups of this rank */
  PetscInt kept_groups;   /* those of this rank whose primal at the kept theta is held: as many as fit */
  void **kept;            /* [kept_groups,group_leaves,blocks of a leaf]: their tapes of coefficient 0 */
  double **kept_shared;   /* [kept_groups]: what their samples share there */
  double memory;          /* bytes in use */
};

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

static PetscInt Ceiling(PetscInt a, PetscInt b)
{
  return (a + b - 1) / b;
}

static PetscInt BlocksPerLeaf(CourantEvaluator ev)
{
  return Ceiling(COURANT_LEAF, ev->layout.samples);
}

/*
  CourantEvaluatorSetBatch - The samples that all calls from now on are about.

  group: how many consecutive ones a layer that couples samples normalises together; 0: all. At most
  settings.samples; the batch's samples are borrowed. Without layers that couple, all leaves are one group.
  Calls nothing of PETSc.
*/
void CourantEvaluatorSetBatch(CourantEvaluator ev, const CourantBatch *batch, PetscInt group)
{
  const PetscMPIInt size = ev->settings.size ? ev->settings.size : 1, rank = ev->settings.rank;

  ev->batch = *batch;
  if (ev->couplings == 0) { /* a rank's share, in leaves, stands for a group */
    ev->group = COURANT_LEAF;
    ev->groups = Ceiling(batch->n, COURANT_LEAF);
  } else {
    ev->group = group ? group : batch->n;
    ev->groups = Ceiling(batch->n, ev->group);
  }
  ev->group_leaves = Ceiling(ev->group, COURANT_LEAF);
  ev->first = (PetscInt)((PetscInt64)ev->groups * rank / size);
  ev->last = (PetscInt)((PetscInt64)ev->groups * (rank + 1) / size);
}

/* CourantEvaluatorSetRunning - From now on gradients update these running statistics, [net->buffers]: mean
   and unbiased variance of each layer that couples samples, group by group; NULL: no longer. */
void CourantEvaluatorSetRunning(CourantEvaluator ev, double running[])
{
  ev->running = running;
}

static PetscErrorCode Allocate(CourantEvaluator ev, size_t bytes, void *pointer)
{
  PetscFunctionBeginUser;
  PetscCall(CourantAllocate(bytes, pointer));
  ev->memory += (double)bytes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static size_t TapeBytes(CourantEvaluator ev, int k)
{
  return (k ? ev->layout.size : ev->layout.size0) * ev->backend->real_size;
}

/* n tapes of coefficients 0..coefficients-1 in turn, one behind the other; tape[0] is to be freed. */
static PetscErrorCode CreateTapes(CourantEvaluator ev, PetscInt n, int coefficients, void *tape[])
{
  size_t bytes = 0, at = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++) bytes += TapeBytes(ev, (int)(i % coefficients));
  PetscCall(Allocate(ev, bytes, &tape[0]));
  for (PetscInt i = 0; i < n; at += TapeBytes(ev, (int)(i++ % coefficients))) tape[i] = (char *)tape[0] + at;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateSlot(CourantEvaluator ev, PetscInt blocks, Slot *slot)
{
  const int coefficients = ev->layout.order + 1, directions = ev->settings.directions;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc3(blocks * coefficients, &slot->tape, directions * coefficients, &slot->gradient,
                         directions * coefficients, &slot->loss));
  PetscCall(CreateTapes(ev, blocks * coefficients, coefficients, slot->tape));
  for (int i = 0; i < directions * coefficients; i++)
    if (i < coefficients || i % coefficients == 1)
      PetscCall(
          Allocate(ev, ev->layout.gradient[ev->net->nlayers] * ev->backend->real_size, &slot->gradient[i]));
  PetscCall(Allocate(ev, ev->layout.record * sizeof(double), &slot->record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroySlot(CourantEvaluator ev, Slot *slot)
{
  PetscFunctionBeginUser;
  if (slot->tape) CourantFree(&slot->tape[0]);
  for (int i = 0; slot->gradient && i < ev->settings.directions * (ev->layout.order + 1); i++)
    CourantFree(&slot->gradient[i]);
  PetscCall(PetscFree3(slot->tape, slot->gradient, slot->loss));
  CourantFree(&slot->record);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Blocks that a slot has to hold at once: a leaf's where samples are coupled, else one after the other. */
static PetscInt SlotBlocks(CourantEvaluator ev)
{
  return ev->couplings ? BlocksPerLeaf(ev) : 1;
}

static size_t SumLength(CourantEvaluator ev)
{
  return CourantEvaluatorLength(ev, PetscMax(ev->layout.order + 1, ev->settings.directions));
}

static PetscErrorCode CreateWorker(CourantEvaluator ev, PetscInt leaves, Worker *worker)
{
  const size_t samples = (size_t)ev->layout.samples;

  PetscFunctionBeginUser;
  PetscCall(Allocate(ev, ev->layout.scratch * ev->backend->real_size, &worker->scratch));
  PetscCall(Allocate(ev, samples * CourantDatasetImageSize(ev->data) * sizeof(double), &worker->images));
  PetscCall(Allocate(ev, samples * (size_t)ev->data->width * sizeof(double), &worker->labels));
  PetscCall(Allocate(ev, ev->layout.record * sizeof(double), &worker->record));
  PetscCall(CourantTreeSumCreate(SumLength(ev), leaves, &worker->sum));
  PetscCall(CourantTreeSumCreate(PREDICTED, PETSC_MAX_INT, &worker->predicted));
  ev->memory += 8. * (double)SumLength(ev) * (double)worker->sum.capacity;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindCouplings(CourantEvaluator ev)
{
  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(ev->net->nlayers, &ev->coupling));
  for (PetscInt l = 0; l < ev->net->nlayers; l++)
    if (ev->backend->layers[ev->net->layers[l].type]->statistics_forward) ev->coupling[ev->couplings++] = l;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Tapes for the primal of as many groups as the budget allows. */
static PetscErrorCode CreateKept(CourantEvaluator ev)
{
  const size_t shared = ev->layout.shared[ev->net->nlayers] * sizeof(double);
  const PetscInt blocks = ev->group_leaves * BlocksPerLeaf(ev);
  const double groups =
      (ev->settings.memory - ev->memory) / ((double)blocks * (double)TapeBytes(ev, 0) + (double)shared);

  PetscFunctionBeginUser;
  if (ev->layout.order == 0 || groups < 1 || ev->first == ev->last) PetscFunctionReturn(PETSC_SUCCESS);
  ev->kept_groups = (PetscInt)PetscMin(groups, (double)(ev->last - ev->first));
  PetscCall(PetscCalloc2(ev->kept_groups * blocks, &ev->kept, ev->kept_groups, &ev->kept_shared));
  PetscCall(CreateTapes(ev, ev->kept_groups * blocks, 1, ev->kept));
  for (PetscInt g = 0; ev->couplings && g < ev->kept_groups; g++)
    PetscCall(Allocate(ev, shared, &ev->kept_shared[g]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which of the kept groups a group is; -1: its primal is computed again. They are spread evenly, as threads
 * have equal shares. */
static PetscInt KeptGroup(CourantEvaluator ev, PetscInt group)
{
  const PetscInt64 groups = ev->last - ev->first, g = group - ev->first, kept = ev->kept_groups;
  return (g + 1) * kept / groups > g * kept / groups ? (PetscInt)(g * kept / groups) : -1;
}

/*
  CourantEvaluatorCreate - Prepares to evaluate a net over batches of a data set; the batch is all of it until
  CourantEvaluatorSetBatch().

  Samples are taken in leaves of COURANT_LEAF. Each thread holds one block of them, or all leaves of a
  statistics group are held at once where a layer couples samples. CourantEvaluatorKeep() keeps the primal of
  as many as the budget allows, of the others products compute it again: with the same result to the bit.
*/
PetscErrorCode CourantEvaluatorCreate(CourantNet net, CourantDataset data, const CourantBackend *backend,
                                      const CourantEvaluatorSettings *settings, CourantEvaluator *result)
{
  const CourantBatch all = {.data = data, .n = data->n};
  const PetscInt samples = settings->samples ? settings->samples : data->n,
                 leaves = Ceiling(samples, COURANT_LEAF) + 1;
  CourantEvaluator ev;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&ev));
  *result = ev;
  ev->net = net;
  ev->data = data;
  ev->backend = backend;
  ev->settings = *settings;
  ev->settings.directions = PetscMax(1, settings->directions);
  PetscCall(CourantLayoutCreate(net, backend, settings->order, &ev->layout));
  PetscCall(FindCouplings(ev));
  CourantEvaluatorSetBatch(ev, &all, settings->samples ? settings->samples : PetscMin(net->group, data->n));
  ev->settings.threads = (int)PetscMax(1, PetscMin(settings->threads, leaves - 1));
  ev->nweights = settings->order ? DIRECTION + ev->settings.directions : 1;
  PetscCall(PetscCalloc1(ev->nweights, &ev->weights));
  for (int i = 0; i < ev->nweights; i++)
    PetscCall(Allocate(ev, ev->layout.packed[net->nlayers] * backend->real_size, &ev->weights[i]));
  ev->nslots = (int)PetscMax(ev->settings.threads, ev->couplings ? ev->group_leaves : 0);
  PetscCall(PetscCalloc1(ev->nslots, &ev->slots));
  for (int i = 0; i < ev->nslots; i++) PetscCall(CreateSlot(ev, SlotBlocks(ev), &ev->slots[i]));
  PetscCall(PetscCalloc1(ev->settings.threads, &ev->workers));
  const PetscInt share = ev->couplings ? ev->group_leaves : Ceiling(leaves, ev->settings.threads) + 1;
  for (int t = 0; t < ev->settings.threads; t++) PetscCall(CreateWorker(ev, share, &ev->workers[t]));
  PetscCall(CourantTreeSumCreate(SumLength(ev), PetscMax(leaves, ev->groups * ev->group_leaves), &ev->sum));
  PetscCall(CourantTreeSumCreate(PREDICTED, PETSC_MAX_INT, &ev->predicted));
  ev->memory += 8. * (double)SumLength(ev) * (double)ev->sum.capacity;
  for (int k = 0; k <= settings->order; k++)
    PetscCall(Allocate(ev, ev->layout.shared[net->nlayers] * sizeof(double), &ev->shared[k]));
  PetscCall(Allocate(ev, CourantShapeSize(net->out) * sizeof(double), &ev->ones));
  for (size_t i = 0; i < CourantShapeSize(net->out); i++) ev->ones[i] = 1;
  PetscCall(CreateKept(ev));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantEvaluatorDestroy(CourantEvaluator *evaluator)
{
  CourantEvaluator ev = *evaluator;

  PetscFunctionBeginUser;
  if (!ev) PetscFunctionReturn(PETSC_SUCCESS);
  if (ev->kept) CourantFree(&ev->kept[0]);
  for (PetscInt g = 0; ev->kept && g < ev->kept_groups; g++) CourantFree(&ev->kept_shared[g]);
  PetscCall(PetscFree2(ev->kept, ev->kept_shared));
  for (int t = 0; ev->workers && t < ev->settings.threads; t++) {
    Worker *w = &ev->workers[t];
    CourantFree(&w->scratch);
    CourantFree(&w->images);
    CourantFree(&w->labels);
    CourantFree(&w->record);
    PetscCall(CourantTreeSumDestroy(&w->sum));
    PetscCall(CourantTreeSumDestroy(&w->predicted));
  }
  PetscCall(PetscFree(ev->workers));
  PetscCall(CourantTreeSumDestroy(&ev->sum));
  PetscCall(CourantTreeSumDestroy(&ev->predicted));
  for (int i = 0; ev->slots && i < ev->nslots; i++) PetscCall(DestroySlot(ev, &ev->slots[i]));
  PetscCall(PetscFree(ev->slots));
  for (int i = 0; ev->weights && i < ev->nweights; i++) CourantFree(&ev->weights[i]);
  PetscCall(PetscFree(ev->weights));
  for (int k = 0; k <= COURANT_ORDER_MAX; k++) CourantFree(&ev->shared[k]);
  CourantFree(&ev->ones);
  PetscCall(PetscFree(ev->coupling));
  PetscCall(CourantLayoutDestroy(&ev->layout));
  PetscCall(PetscFree(*evaluator));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void SetWeights(CourantEvaluator ev, int which, const double *theta)
{
  ev->backend->Pack(&ev->layout, theta, ev->weights[which], ev->workers[0].scratch);
}

/* ---- one batch ---- */

/*
  What to do with every sample: compute the coefficients report..order for each direction and sum them up,
  after those below, where they are not kept from before.
*/
typedef struct {
  int order, reserve, report;
  int directions;
  int theta; /* THETA; or KEPT, whose primal is on the kept tapes, or to be put there */
  PetscBool gauss_newton;
  double *outputs; /* of this rank's samples: where to put their coefficient `reported`; NULL: not wanted */
  int reported;
  const double *cotangents; /* of this rank's samples: what to take back from the outputs; NULL: the loss's */
} Work;

/* One way through the net: coefficients from..order; direction -1: the primal alone, for what follows. */
typedef struct {
  int from, order, direction;
} Pass;

static Pass PassOf(const Work *work, int direction)
{
  if (direction < 0) return (Pass){0, 0, -1};
  return (Pass){work->report, work->order, direction};
}

/* A pass is forward, through the loss and back, but outputs are all that a forward pass is for, and nothing
   is before a cotangent. */
static PetscBool GoesForward(const Work *work, const Pass *pass)
{
  return pass->direction < 0 || !work->cotangents ? PETSC_TRUE : PETSC_FALSE;
}

static PetscBool GoesBack(const Work *work, const Pass *pass)
{
  return pass->direction < 0 || !work->outputs ? PETSC_TRUE : PETSC_FALSE;
}

/* The primal needs a pass of its own when the directions start above it. */
static int FirstPass(CourantEvaluator ev, const Work *work, PetscInt group)
{
  return work->report > 0 && KeptGroup(ev, group) < 0 ? -1 : 0;
}

typedef struct {
  PetscInt first, end;         /* samples of the batch */
  PetscInt group, leaf, index; /* group; leaf inside it, and among all leaves of the batch */
} Leaf;

static Leaf LeafOf(CourantEvaluator ev, PetscInt group, PetscInt leaf)
{
  const PetscInt start = group * ev->group, end = PetscMin(ev->batch.n, start + ev->group);
  const PetscInt first = start + leaf * COURANT_LEAF;
  return (Leaf){first, PetscMin(end, first + COURANT_LEAF), group, leaf, group * ev->group_leaves + leaf};
}

static PetscInt LeavesOf(CourantEvaluator ev, PetscInt group)
{
  return Ceiling(PetscMin(ev->batch.n - group * ev->group, ev->group), COURANT_LEAF);
}

/* Block b of a leaf. */
static CourantBlock BlockOf(CourantEvaluator ev, const Work *work, const Pass *pass, Worker *worker,
                            Slot *slot, const Leaf *leaf, PetscInt b)
{
  const PetscInt first = leaf->first + b * ev->layout.samples,
                 outputs = (PetscInt)CourantShapeSize(ev->net->out);
  const int coefficients = ev->layout.order + 1, of = PetscMax(0, pass->direction);
  void **tape = slot->tape + (ev->couplings ? b : 0) * coefficients;
  const PetscInt kept = work->theta == KEPT ? KeptGroup(ev, leaf->group) : -1;
  CourantBlock block = {
      .net = ev->net,
      .layout = &ev->layout,
      .n = (int)PetscMin(ev->layout.samples, leaf->end - first),
      .from = pass->from,
      .order = pass->order,
      .reserve = work->reserve,
      .gauss_newton = work->gauss_newton && pass->direction >= 0 ? PETSC_TRUE : PETSC_FALSE,
      .scratch = worker->scratch,
      .images = worker->images,
      .labels = worker->labels,
      .width = (int)ev->batch.data->width,
      .slopes = ev->settings.slopes ? ev->settings.slopes + first * outputs : NULL,
      .loss = slot->loss + of * coefficients,
      .scale = 1. / (double)ev->batch.n,
      .weights = {ev->weights[work->theta], pass->order ? ev->weights[DIRECTION + of] : NULL}};
  if (pass->direction >= 0) {
    const PetscInt own = (first - ev->first * ev->group) * outputs;
    block.outputs = work->outputs ? work->outputs + own : NULL;
    block.reported = work->reported;
    block.cotangents = work->cotangents ? work->cotangents + own : NULL;
  }
  for (int k = 0; k <= pass->order; k++) {
    const PetscBool held = k == 0 && kept >= 0 ? PETSC_TRUE : PETSC_FALSE;
    block.tape[k] = held ? ev->kept[(kept * ev->group_leaves + leaf->leaf) * BlocksPerLeaf(ev) + b] : tape[k];
    block.shared[k] = held && ev->couplings ? ev->kept_shared[kept] : ev->shared[k];
    block.gradient[k] =
        pass->direction < 0 || k < work->report ? NULL : slot->gradient[of * coefficients + k];
  }
  return block;
}

static void ReadLabels(CourantEvaluator ev, Worker *worker, const CourantBlock *block, PetscInt first)
{
  CourantBatchLabels(&ev->batch, first, block->n, worker->labels);
}

static void ReadImages(CourantEvaluator ev, Worker *worker, const CourantBlock *block, PetscInt first)
{
  const char *problem = CourantBatchRead(&ev->batch, first, block->n, worker->images);
  if (problem) worker->problem = problem;
  ev->backend->Input(block);
}

static void ClearSlot(CourantEvaluator ev, const Work *work, Slot *slot)
{
  const int coefficients = ev->layout.order + 1;
  const size_t bytes = ev->layout.gradient[ev->net->nlayers] * ev->backend->real_size;

  memset(slot->loss, 0, sizeof(double) * (size_t)(work->directions * coefficients));
  for (int d = 0; d < work->directions; d++)
    for (int k = work->report; k <= work->order; k++) memset(slot->gradient[d * coefficients + k], 0, bytes);
}

/* A leaf's gradients and losses, direction by direction, into the worker's sum. */
static void Deliver(CourantEvaluator ev, const Work *work, Worker *worker, Slot *slot, PetscInt leaf)
{
  const int coefficients = ev->layout.order + 1, n = work->order - work->report + 1;
  const size_t size = (size_t)ev->net->size;
  double *sum = CourantTreeSumNext(&worker->sum);

  for (int d = 0; d < work->directions; d++, sum += CourantEvaluatorLength(ev, n))
    for (int k = 0; k < n; k++) {
      const int from = d * coefficients + work->report + k;
      ev->backend->Unpack(&ev->layout, slot->gradient[from], sum + (size_t)k * size, worker->scratch);
      sum[(size_t)n * size + (size_t)k] = slot->loss[from] / (double)ev->batch.n;
    }
  CourantTreeSumAdd(&worker->sum, leaf);
}

/* One leaf of samples that know nothing of each other, block by block through the whole net. */
static void RunLeaf(CourantEvaluator ev, const Work *work, Worker *worker, Slot *slot, const Leaf *leaf)
{
  ClearSlot(ev, work, slot);
  for (PetscInt b = 0; leaf->first + b * ev->layout.samples < leaf->end; b++)
    for (int p = FirstPass(ev, work, leaf->group); p < work->directions; p++) {
      const Pass pass = PassOf(work, p);
      const CourantBlock block = BlockOf(ev, work, &pass, worker, slot, leaf, b);
      const PetscInt first = leaf->first + b * ev->layout.samples;
      ReadLabels(ev, worker, &block, first);
      if (pass.from == 0) ReadImages(ev, worker, &block, first);
      if (GoesForward(work, &pass)) ev->backend->Forward(&block, 0, ev->net->nlayers);
      ev->backend->Loss(&block);
      if (GoesBack(work, &pass)) ev->backend->Backward(&block, 0, ev->net->nlayers);
    }
  Deliver(ev, work, worker, slot, leaf->index);
}

/* Which leaves of a group a thread has. */
static PetscInt Share(PetscInt leaves, int t, int threads)
{
  return (PetscInt)((PetscInt64)leaves * t / threads);
}

static void UpdateRunning(CourantEvaluator ev, PetscInt l, const CourantBlock *block, PetscInt samples)
{
  const CourantLayer *layer = &ev->net->layers[l];
  const PetscInt c = layer->in.c;
  const double n = (double)(samples * layer->in.h * layer->in.w);
  const double *shared = block->shared[0] + ev->layout.shared[l];
  double *running = ev->running + layer->buffer;

  for (PetscInt i = 0; i < c; i++) {
    running[i] += layer->momentum * (shared[i] - running[i]);
    running[c + i] += layer->momentum * (shared[c + i] * (n / (n - 1)) - running[c + i]);
  }
}

/* The statistics of a group out of those of its leaves; by one thread. */
static void Conclude(CourantEvaluator ev, const Work *work, const Pass *pass, PetscInt group, PetscInt l,
                     PetscBool back)
{
  const Leaf leaf = LeafOf(ev, group, 0);
  const CourantBlock block = BlockOf(ev, work, pass, &ev->workers[0], &ev->slots[0], &leaf, 0);
  const PetscInt leaves = LeavesOf(ev, group);

  for (PetscInt step = 1; step < leaves; step *= 2)
    for (PetscInt i = 0; i + step < leaves; i += 2 * step)
      ev->backend->Merge(&block, l, back, ev->slots[i].record, ev->slots[i + step].record);
  ev->backend->Conclude(&block, l, back, ev->slots[0].record);
  for (PetscInt i = 0; i < leaves; i++) ev->slots[i].record[0] = 0;
  if (ev->running && !back && pass->from == 0)
    UpdateRunning(ev, l, &block, PetscMin(ev->batch.n, (group + 1) * ev->group) - group * ev->group);
}

/*
  A stretch of layers first .. last-1 for all leaves that this thread has of a group, and at its end, where a
  layer couples samples, the statistics of the group.
*/
static void RunStretch(CourantEvaluator ev, const Work *work, const Pass *pass, PetscInt group, int t,
                       int threads, PetscInt first, PetscInt last, PetscInt coupling, PetscBool back)
{
  const PetscInt leaves = LeavesOf(ev, group), end = Share(leaves, t + 1, threads);
  Worker *worker = &ev->workers[t];

  for (PetscInt i = Share(leaves, t, threads); i < end; i++) {
    const Leaf leaf = LeafOf(ev, group, i);
    for (PetscInt b = 0; leaf.first + b * ev->layout.samples < leaf.end; b++) {
      const CourantBlock block = BlockOf(ev, work, pass, worker, &ev->slots[i], &leaf, b);
      if (!back && first == 0 && pass->from == 0)
        ReadImages(ev, worker, &block, leaf.first + b * ev->layout.samples);
      if (!back) ev->backend->Forward(&block, first, last);
      if (last == ev->net->nlayers && back != GoesForward(work, pass)) {
        ReadLabels(ev, worker, &block, leaf.first + b * ev->layout.samples);
        ev->backend->Loss(&block);
      }
      if (back) ev->backend->Backward(&block, first, last);
      if (coupling >= 0) ev->backend->Measure(&block, coupling, back, worker->record, ev->slots[i].record);
    }
  }
  if (coupling < 0) return;
#pragma omp barrier
#pragma omp master
  Conclude(ev, work, pass, group, coupling, back);
#pragma omp barrier
}

/* A group of samples that know of each other: all of them up to each layer that couples, then on from there.
 */
static void RunGroup(CourantEvaluator ev, const Work *work, PetscInt group, int t, int threads)
{
  const PetscInt n = ev->couplings, layers = ev->net->nlayers, leaves = LeavesOf(ev, group);

  for (PetscInt i = Share(leaves, t, threads); i < Share(leaves, t + 1, threads); i++)
    ClearSlot(ev, work, &ev->slots[i]);
  for (int p = FirstPass(ev, work, group); p < work->directions; p++) {
    const Pass pass = PassOf(work, p);
    for (PetscInt c = 0; GoesForward(work, &pass) && c <= n; c++)
      RunStretch(ev, work, &pass, group, t, threads, c ? ev->coupling[c - 1] : 0,
                 c < n ? ev->coupling[c] : layers, c < n ? ev->coupling[c] : -1, PETSC_FALSE);
    for (PetscInt c = n; GoesBack(work, &pass) && c >= 0; c--)
      RunStretch(ev, work, &pass, group, t, threads, c ? ev->coupling[c - 1] + 1 : 0,
                 c < n ? ev->coupling[c] + 1 : layers, c ? ev->coupling[c - 1] : -1, PETSC_TRUE);
#pragma omp barrier
  }
  for (PetscInt i = Share(leaves, t, threads); i < Share(leaves, t + 1, threads); i++)
    Deliver(ev, work, &ev->workers[t], &ev->slots[i], LeafOf(ev, group, i).index);
#pragma omp barrier
#pragma omp master
  for (int other = 0; other < threads; other++) CourantTreeSumJoin(&ev->sum, &ev->workers[other].sum);
#pragma omp barrier
}

/* Thread t's part of all that this rank has. */
static void RunThread(CourantEvaluator ev, const Work *work, int t, int threads)
{
  if (ev->couplings)
    for (PetscInt group = ev->first; group < ev->last; group++) RunGroup(ev, work, group, t, threads);
  else
    for (PetscInt i = Share(ev->last - ev->first, t, threads);
         i < Share(ev->last - ev->first, t + 1, threads); i++) {
      const Leaf leaf = LeafOf(ev, ev->first + i, 0);
      RunLeaf(ev, work, &ev->workers[t], &ev->slots[t], &leaf);
    }
}

/* All leaves of this rank; their sum is left in ev->sum. Returns what went wrong. */
static const char *RunBatch(CourantEvaluator ev, const Work *work)
{
  const int wanted = ev->settings.threads;
  const char *problem = NULL;
  int threads = 1;

  ev->sum.length = (size_t)work->directions * CourantEvaluatorLength(ev, work->order - work->report + 1);
  for (int t = 0; t < wanted; t++) {
    ev->workers[t].sum.length = ev->sum.length;
    ev->workers[t].problem = NULL;
  }
#pragma omp parallel num_threads(wanted) if (wanted > 1)
  {
#pragma omp master
    threads = omp_get_num_threads();
    RunThread(ev, work, omp_get_thread_num(), omp_get_num_threads());
  }
  for (int t = 0; t < threads; t++) {
    if (ev->workers[t].problem) problem = ev->workers[t].problem;
    if (!ev->couplings) CourantTreeSumJoin(&ev->sum, &ev->workers[t].sum);
  }
  return problem;
}

static PetscErrorCode RunAndShare(CourantEvaluator ev, const Work *work, MPI_Comm comm, double result[])
{
  PetscMPIInt size;

  PetscFunctionBeginUser;
  const char *problem = RunBatch(ev, work);
  if (problem) CourantNodeError(ev->data->node, "%s", problem);
  PetscCall(CourantTreeSumGather(&ev->sum, comm));
  CourantTreeSumFold(&ev->sum, result);
  PetscCallMPI(MPI_Comm_size(comm, &size));
  if (size > 1) PetscCallMPI(MPI_Bcast(result, (PetscMPIInt)ev->sum.length, MPI_DOUBLE, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- what is asked of it ---- */

static Work RunWork(int order)
{
  return (Work){.order = order, .reserve = order, .directions = 1};
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
  const Work work = RunWork(order);

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
  const Work work = {.reserve = 1, .directions = 1, .theta = KEPT};

  PetscFunctionBeginUser;
  SetWeights(ev, KEPT, theta);
  PetscCall(RunAndShare(ev, &work, comm, result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static Work ProductWork(int directions)
{
  return (Work){.order = 1, .reserve = 1, .report = 1, .directions = directions, .theta = KEPT};
}

/*
  CourantEvaluatorProducts - For each of n directions v (n at most settings.directions) H v [size] and grad L
  . v, one behind the other; H is the Hessian at the theta of CourantEvaluatorKeep().

  The directions share what is computed of the primal. Each result is that of a call with this direction
  alone, to the bit.
*/
PetscErrorCode CourantEvaluatorProducts(CourantEvaluator ev, int n, const double *const directions[],
                                        MPI_Comm comm, double results[])
{
  const Work work = ProductWork(n);

  PetscFunctionBeginUser;
  for (int d = 0; d < n; d++) SetWeights(ev, DIRECTION + d, directions[d]);
  PetscCall(RunAndShare(ev, &work, comm, results));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantEvaluatorGaussNewton - The same with G v in place of H v.

  G = J^T H_p J, J the Jacobian of the outputs p and H_p the Hessian of the loss by them: forward on jets of
  order 1 through net and loss, then back by order 0.
*/
PetscErrorCode CourantEvaluatorGaussNewton(CourantEvaluator ev, int n, const double *const directions[],
                                           MPI_Comm comm, double results[])
{
  Work work = ProductWork(n);

  PetscFunctionBeginUser;
  work.gauss_newton = PETSC_TRUE;
  for (int d = 0; d < n; d++) SetWeights(ev, DIRECTION + d, directions[d]);
  PetscCall(RunAndShare(ev, &work, comm, results));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantEvaluatorGetShare - The samples of the batch that are this rank's, first to end - 1. */
void CourantEvaluatorGetShare(CourantEvaluator ev, PetscInt *first, PetscInt *end)
{
  *first = PetscMin(ev->batch.n, ev->first * ev->group);
  *end = PetscMin(ev->batch.n, ev->last * ev->group);
}

/*
  CourantEvaluatorOutputs - The outputs of this rank's samples [samples,outputs] at the theta of
  CourantEvaluatorKeep(), or with a direction v J v, J their Jacobian.

  result: [size+1], without content. Collective on comm.
*/
PetscErrorCode CourantEvaluatorOutputs(CourantEvaluator ev, const double direction[], MPI_Comm comm,
                                       double outputs[], double result[])
{
  Work work = ProductWork(1);

  PetscFunctionBeginUser;
  work.outputs = outputs;
  work.reported = direction ? 1 : 0;
  if (direction) SetWeights(ev, DIRECTION, direction);
  PetscCall(RunAndShare(ev, &work, comm, result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantEvaluatorPullBack - J^T u [size] and 0, for numbers u [samples,outputs], of which each rank has those
  of its samples; the way back of CourantEvaluatorGaussNewton(). Collective on comm.
*/
PetscErrorCode CourantEvaluatorPullBack(CourantEvaluator ev, const double cotangents[], MPI_Comm comm,
                                        double result[])
{
  Work work = ProductWork(1);

  PetscFunctionBeginUser;
  work.gauss_newton = PETSC_TRUE;
  work.cotangents = cotangents;
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
  const Work work = RunWork(0);

  SetWeights(ev, THETA, theta);
  const char *problem = RunBatch(ev, &work);
  CourantTreeSumFold(&ev->sum, gradient_and_loss);
  return problem;
}

/*
  CourantEvaluatorLocalProducts - For each of n directions v H v [size] and grad L . v under the same
  conditions, at the theta kept before.

  The batch may be another than when theta was kept if the evaluator holds no primal, its memory being 0.
*/
const char *CourantEvaluatorLocalProducts(CourantEvaluator ev, int n, const double *const directions[],
                                          double results[])
{
  const Work work = ProductWork(n);

  for (int d = 0; d < n; d++) SetWeights(ev, DIRECTION + d, directions[d]);
  const char *problem = RunBatch(ev, &work);
  CourantTreeSumFold(&ev->sum, results);
  return problem;
}

/* CourantEvaluatorLocalProduct - The same for one direction. */
const char *CourantEvaluatorLocalProduct(CourantEvaluator ev, const double direction[], double result[])
{
  return CourantEvaluatorLocalProducts(ev, 1, &direction, result);
}

/* The statistics to predict by: running means and variances, as if they were those of a group. */
static void UseRunning(CourantEvaluator ev, const double running[])
{
  const Work work = RunWork(0);
  const Pass pass = {0, 0, 0};
  const Leaf leaf = {0};
  const CourantBlock block = BlockOf(ev, &work, &pass, &ev->workers[0], &ev->slots[0], &leaf, 0);
  double *record = ev->slots[0].record;

  for (PetscInt i = 0; i < ev->couplings; i++) {
    const CourantLayer *layer = &ev->net->layers[ev->coupling[i]];
    record[0] = 1; /* one element of this mean and variance */
    memcpy(record + 1, running + layer->buffer, sizeof(double) * 2 * (size_t)layer->in.c);
    ev->backend->Conclude(&block, ev->coupling[i], PETSC_FALSE, record);
    record[0] = 0;
  }
}

/* Loss and number of right answers of a leaf of predictions. */
static void PredictLeaf(CourantEvaluator ev, Worker *worker, Slot *slot, const Leaf *leaf, double *outputs)
{
  const Work work = RunWork(0);
  const Pass pass = {0, 0, 0};
  const CourantNet net = ev->net;
  const size_t p = CourantShapeSize(net->out), width = (size_t)ev->batch.data->width;
  double *sum = CourantTreeSumNext(&worker->predicted);

  slot->loss[0] = 0;
  sum[1] = 0;
  for (PetscInt b = 0; leaf->first + b * ev->layout.samples < leaf->end; b++) {
    CourantBlock block = BlockOf(ev, &work, &pass, worker, slot, leaf, b);
    const PetscInt first = leaf->first + b * ev->layout.samples;
    if (ev->couplings) block.tape[0] = slot->tape[0];
    ReadLabels(ev, worker, &block, first);
    ReadImages(ev, worker, &block, first);
    ev->backend->Forward(&block, 0, net->nlayers);
    ev->backend->Loss(&block);
    const char *from = (const char *)block.tape[0] + ev->layout.value[net->nlayers] * ev->backend->real_size;
    for (int i = 0; i < block.n; i++) {
      double *to = outputs + (size_t)(first + i) * p;
      ev->backend->Convert(p, from + (size_t)i * p * ev->backend->real_size, to);
      sum[1] += CourantLossType(net->loss)->Correct((PetscInt)p, (PetscInt)width, to,
                                                    worker->labels + (size_t)i * width);
    }
  }
  sum[0] = slot->loss[0];
  CourantTreeSumAdd(&worker->predicted, leaf->index);
}

/*
  CourantEvaluatorPredict - Mean loss and number of right answers over a batch, with running statistics
  [net->buffers] in place of the samples' own (NULL where the net has none).

  outputs: [n,outputs]. The samples of the evaluator's own batch are untouched. Calls nothing of PETSc; every
  rank does all of it. Returns NULL or what went wrong.
*/
const char *CourantEvaluatorPredict(CourantEvaluator ev, const double theta[], const double running[],
                                    const CourantBatch *batch, double *loss, double *correct,
                                    double outputs[])
{
  const CourantBatch own = ev->batch;
  const PetscInt leaves = Ceiling(batch->n, COURANT_LEAF);
  const int threads = ev->settings.threads;
  const char *problem = NULL;
  double sums[PREDICTED];

  ev->batch = *batch;
  SetWeights(ev, THETA, theta);
  if (ev->couplings) UseRunning(ev, running);
  for (int t = 0; t < threads; t++) ev->workers[t].problem = NULL;
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
  for (int t = 0; t < threads; t++)
    for (PetscInt i = Share(leaves, t, threads); i < Share(leaves, t + 1, threads); i++) {
      const Leaf leaf = {
          .first = i * COURANT_LEAF, .end = PetscMin(batch->n, (i + 1) * COURANT_LEAF), .index = i};
      PredictLeaf(ev, &ev->workers[t], &ev->slots[t], &leaf, outputs);
    }
  for (int t = 0; t < threads; t++) {
    if (ev->workers[t].problem) problem = ev->workers[t].problem;
    CourantTreeSumJoin(&ev->predicted, &ev->workers[t].predicted);
  }
  CourantTreeSumFold(&ev->predicted, sums);
  *loss = sums[0] / (double)batch->n;
  *correct = sums[1];
  ev->batch = own;
  return problem;
}

/*
  CourantEvaluatorLocalSample - Looks into one sample, of a net whose samples know nothing of each other.

  theta NULL: that of the call before. Any of the results may be NULL. values: output of layer `layer` [its
  size]; slopes: d loss / d outputs [outputs]; gradient: of the sum of the outputs by theta [size]. For loops
  that run in threads, each with an evaluator of its own: calls nothing of PETSc and allocates nothing.
  Returns NULL or what went wrong.
*/
const char *CourantEvaluatorLocalSample(CourantEvaluator ev, const double theta[], PetscInt sample,
                                        PetscInt layer, double values[], double slopes[], double gradient[])
{
  const Work work = RunWork(0);
  const Pass pass = {0, 0, 0};
  const Leaf leaf = {.first = sample, .end = sample + 1};
  const size_t outputs = CourantShapeSize(ev->net->out), real_size = ev->backend->real_size;
  const PetscInt layers = ev->net->nlayers;
  Worker *worker = &ev->workers[0];

  if (ev->couplings) return "the samples of this network know of each other";
  CourantBlock block = BlockOf(ev, &work, &pass, worker, &ev->slots[0], &leaf, 0);
  worker->problem = NULL;
  if (theta) SetWeights(ev, THETA, theta);
  block.scale = 1;
  ClearSlot(ev, &work, &ev->slots[0]);
  ReadLabels(ev, worker, &block, sample);
  ReadImages(ev, worker, &block, sample);
  if (worker->problem) return worker->problem;
  ev->backend->Forward(&block, 0, layers);
  ev->backend->Loss(&block);
  const char *tape = (const char *)block.tape[0];
  if (values)
    ev->backend->Convert(CourantShapeSize(ev->net->layers[layer].out),
                         tape + ev->layout.value[layer + 1] * real_size, values);
  if (slopes) ev->backend->Convert(outputs, tape + ev->layout.adjoint[layers] * real_size, slopes);
  if (gradient) {
    block.slopes = ev->ones;
    ev->backend->Loss(&block);
    ev->backend->Backward(&block, 0, layers);
    ev->backend->Unpack(&ev->layout, block.gradient[0], gradient, worker->scratch);
  }
  return NULL;
}

/* CourantEvaluatorImage - The image of the last sample looked into, [h,w,c]; borrowed. */
const double *CourantEvaluatorImage(CourantEvaluator ev)
{
  return ev->workers[0].images;
}

/* CourantEvaluatorSample - CourantEvaluatorLocalSample() outside of threads: what went wrong is the user's
 * error. */
PetscErrorCode CourantEvaluatorSample(CourantEvaluator ev, const double theta[], PetscInt sample,
                                      PetscInt layer, double values[], double slopes[], double gradient[])
{
  PetscFunctionBeginUser;
  const char *problem = CourantEvaluatorLocalSample(ev, theta, sample, layer, values, slopes, gradient);
  if (problem) CourantNodeError(ev->data->node, "%s", problem);
  PetscFunctionReturn(PETSC_SUCCESS);
}
