/* One block of samples through a network and back, on jets. */
#include "core/memory.h"
#include "net/backend.h"
#include "courant-registry.h"
#include "net/layerops.h"

#define DECLARE_LAYER(name) extern COURANT_LAYER(name);
#define DECLARE_LOSS(name)  extern COURANT_LOSS(name);
COURANT_LAYERS(DECLARE_LAYER)
COURANT_LOSSES(DECLARE_LOSS)
#define LAYER(name) &COURANT_VARIANT(CourantLayer_##name),
#define LOSS(name)  &COURANT_VARIANT(CourantLoss_##name),
static const CourantLayerOps *const layers[] = {COURANT_LAYERS(LAYER)};
static const CourantLossOps *const losses[] = {COURANT_LOSSES(LOSS)};

/* Parameters [size] to the packed layout of every layer. */
static void Pack(const CourantNet net, const CourantLayout *layout, void *const prepared[],
                 const double *theta, void *packed, void *scratch)
{
  for (PetscInt l = 0; l < net->nlayers; l++) {
    const CourantLayer *layer = &net->layers[l];
    real *to = (real *)packed + layout->packed[l];
    if (layers[layer->type]->Pack)
      layers[layer->type]->Pack(layer, prepared[l], theta + layer->offset, to, scratch);
    else
      for (PetscInt i = 0; i < layer->size; i++) to[i] = (real)theta[layer->offset + i];
  }
}

static void Unpack(const CourantNet net, const CourantLayout *layout, void *const prepared[], void *packed,
                   double *gradient, void *scratch)
{
  for (PetscInt l = 0; l < net->nlayers; l++) {
    const CourantLayer *layer = &net->layers[l];
    real *from = (real *)packed + layout->gradient[l];
    if (layers[layer->type]->Unpack)
      layers[layer->type]->Unpack(layer, prepared[l], from, gradient + layer->offset, scratch);
    else
      for (PetscInt i = 0; i < layer->size; i++) gradient[layer->offset + i] = (double)from[i];
  }
}

static void Convert(size_t n, const void *from, double *to)
{
  for (size_t i = 0; i < n; i++) to[i] = (double)((const real *)from)[i];
}

static Jet OnTape(const CourantBlock *block, const size_t *offsets, PetscInt l)
{
  Jet jet = {.degree = l == 0 ? 0 : block->order};
  for (int k = 0; k <= block->order; k++) jet.c[k] = (real *)block->tape[k] + offsets[l];
  return jet;
}

static CourantLayerCall Call(const CourantBlock *block, PetscInt l)
{
  const CourantLayout *layout = block->layout;
  const CourantLayer *layer = &block->net->layers[l];
  CourantLayerCall call = {.layer = layer,
                           .prepared = block->prepared[l],
                           .n = block->n,
                           .from = block->from,
                           .order = block->order,
                           .reserve = block->reserve,
                           .scratch = (real *)block->scratch};

  call.x = OnTape(block, layout->value, l);
  call.y = OnTape(block, layout->value, l + 1);
  call.dy = OnTape(block, layout->adjoint, l + 1);
  if (!layer->first) call.dx = OnTape(block, layout->adjoint, l);
  call.w.degree = block->order > 0 ? 1 : 0;
  for (int k = 0; k <= call.w.degree; k++) call.w.c[k] = (real *)block->weights[k] + layout->packed[l];
  call.primal = (real *)block->tape[0] + layout->primal[l];
  for (int k = 0; k <= block->order; k++) {
    call.state[k] = (real *)block->tape[k] + layout->state[l];
    call.dw[k] = block->gradient[k] ? (real *)block->gradient[k] + layout->gradient[l] : NULL;
  }
  return call;
}

/* A loss replaced by slopes . p, its linearisation with frozen coefficients. */
static void RunFrozen(const CourantLossCall *call, const double *slopes)
{
  for (int i = 0; i < call->n * call->outputs; i++)
    for (int k = call->from; k <= call->order; k++) {
      call->loss[k] += slopes[i] * (double)call->p.c[k][i];
      call->dp.c[k][i] = (real)(k ? 0 : call->scale * slopes[i]);
    }
}

static void Run(const CourantBlock *block)
{
  const CourantNet net = block->net;
  const size_t image = CourantShapeSize(net->in);

  if (block->from == 0) {
    real *input = (real *)block->tape[0] + block->layout->value[0];
    for (size_t i = 0; i < (size_t)block->n * image; i++) input[i] = (real)block->images[i];
  }
  for (PetscInt l = 0; l < net->nlayers; l++) {
    const CourantLayerCall call = Call(block, l);
    layers[call.layer->type]->Forward(&call);
  }
  const CourantLossCall loss = {.n = block->n,
                                .outputs = (int)CourantShapeSize(net->out),
                                .from = block->from,
                                .order = block->order,
                                .labels = block->labels,
                                .width = block->width,
                                .scale = block->scale,
                                .loss = block->loss,
                                .p = OnTape(block, block->layout->value, net->nlayers),
                                .dp = OnTape(block, block->layout->adjoint, net->nlayers)};
  if (block->slopes)
    RunFrozen(&loss, block->slopes);
  else
    losses[net->loss]->Run(&loss);
  for (PetscInt l = net->nlayers - 1; block->gradient[block->order] && l >= 0; l--) {
    const CourantLayerCall call = Call(block, l);
    layers[call.layer->type]->Backward(&call);
  }
}

/*
  By one pass forward and back on jets of order 1: with x = x_0 + e and dy = 1, dx = f'(x_0 + e) has f''(x_0)
  as its coefficient of e.
*/
static PetscErrorCode SecondDerivative(const CourantLayer *layer, size_t n, const double x[], double f2[])
{
  enum { X0, X1, Y0, Y1, DX0, DX1, DY0, DY1, PRIMAL, ARRAYS = PRIMAL + COURANT_DERIVATIVES };
  CourantLayer flat = *layer;
  const size_t length = (n + 15) / 16 * 16;
  real *memory;

  PetscFunctionBeginUser;
  PetscCall(CourantAllocate(ARRAYS * length * sizeof(real), &memory));
  flat.in = flat.out = (CourantShape){1, 1, (PetscInt)n};
  for (size_t i = 0; i < n; i++) {
    memory[X0 * length + i] = (real)x[i];
    memory[X1 * length + i] = memory[DY0 * length + i] = 1;
  }
  CourantLayerCall call = {
      .layer = &flat, .n = 1, .order = 1, .reserve = 1, .primal = memory + PRIMAL * length};
  for (int k = 0; k < 2; k++) {
    call.x.c[k] = memory + (size_t)(X0 + k) * length;
    call.y.c[k] = memory + (size_t)(Y0 + k) * length;
    call.dx.c[k] = memory + (size_t)(DX0 + k) * length;
    call.dy.c[k] = memory + (size_t)(DY0 + k) * length;
  }
  layers[layer->type]->Forward(&call);
  layers[layer->type]->Backward(&call);
  Convert(n, call.dx.c[1], f2);
  CourantFree(&memory);
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define TEXT_(text) #text
#define TEXT(text)  TEXT_(text)

const CourantBackend COURANT_VARIANT(CourantBackend) = {
    .isa = TEXT(COURANT_ISA),
    .bits = COURANT_BITS,
    .real_size = sizeof(real),
    .layers = layers,
    .losses = losses,
    .Pack = Pack,
    .Unpack = Unpack,
    .Run = Run,
    .Convert = Convert,
    .SecondDerivative = SecondDerivative,
};
