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
static void Pack(const CourantLayout *layout, const double *theta, void *packed, void *scratch)
{
  for (PetscInt l = 0; l < layout->net->nlayers; l++) {
    const CourantLayer *layer = &layout->net->layers[l];
    real *to = (real *)packed + layout->packed[l];
    if (layers[layer->type]->Pack)
      layers[layer->type]->Pack(layer, layout->prepared[l], theta + layer->offset, to, scratch);
    else
      for (PetscInt i = 0; i < layer->size; i++) to[i] = (real)theta[layer->offset + i];
  }
}

static void Unpack(const CourantLayout *layout, void *packed, double *gradient, void *scratch)
{
  for (PetscInt l = 0; l < layout->net->nlayers; l++) {
    const CourantLayer *layer = &layout->net->layers[l];
    real *from = (real *)packed + layout->gradient[l];
    if (layers[layer->type]->Unpack)
      layers[layer->type]->Unpack(layer, layout->prepared[l], from, gradient + layer->offset, scratch);
    else
      for (PetscInt i = 0; i < layer->size; i++) gradient[layer->offset + i] = (double)from[i];
  }
}

static void Convert(size_t n, const void *from, double *to)
{
  for (size_t i = 0; i < n; i++) to[i] = (double)((const real *)from)[i];
}

static Jet OnTape(const CourantBlock *block, size_t offset, int degree)
{
  Jet jet = {.degree = degree};
  for (int k = 0; k <= block->order; k++) jet.c[k] = (real *)block->tape[k] + offset;
  return jet;
}

static Jet Value(const CourantBlock *block, int value)
{
  const PetscBool constant = CourantNetValueIsConstant(block->net, value);
  return OnTape(block, block->layout->value[value], constant ? 0 : block->order);
}

static CourantLayerCall Call(const CourantBlock *block, PetscInt l)
{
  const CourantLayout *layout = block->layout;
  const CourantLayer *layer = &block->net->layers[l];
  CourantLayerCall call = {.layer = layer,
                           .prepared = layout->prepared[l],
                           .n = block->n,
                           .from = block->from,
                           .order = block->order,
                           .reserve = block->reserve,
                           .scratch = (real *)block->scratch};

  call.x = Value(block, layer->source);
  call.y = Value(block, (int)l + 1);
  if (layer->other >= 0) call.other = Value(block, layer->other);
  call.w.degree = block->order > 0 && block->weights[1] ? 1 : 0;
  for (int k = 0; k <= call.w.degree; k++) call.w.c[k] = (real *)block->weights[k] + layout->packed[l];
  call.primal = (real *)block->tape[0] + layout->primal[l];
  for (int k = 0; k <= block->order; k++) {
    call.state[k] = (real *)block->tape[k] + layout->state[l];
    call.shared[k] = block->shared[k] + layout->shared[l];
  }
  return call;
}

static void Forward(const CourantBlock *block, PetscInt first, PetscInt last)
{
  for (PetscInt l = first; l < last; l++) {
    CourantLayerCall call = Call(block, l);
    if (CourantNetValueIsConstant(block->net, (int)l + 1)) { /* its other coefficients stay zero */
      if (block->from > 0) continue;
      call.order = 0;
    }
    layers[call.layer->type]->Forward(&call);
  }
}

/* The gradient by a value, where it is wanted: into its adjoint, or beside it to be added there. */
static Jet Gradient(const CourantBlock *block, int value, PetscBool beside)
{
  Jet none = {{NULL}, 0};
  if (CourantNetValueIsConstant(block->net, value)) return none;
  return OnTape(block, beside ? block->layout->temporary : block->layout->adjoint[value], block->order);
}

static CourantLayerCall CallBack(const CourantBlock *block, PetscInt l)
{
  const CourantLayout *layout = block->layout;
  CourantLayerCall call = Call(block, l);

  call.dy = Gradient(block, (int)l + 1, PETSC_FALSE);
  call.dx = Gradient(block, call.layer->source, layout->again[2 * l]);
  if (call.layer->other >= 0) call.dother = Gradient(block, call.layer->other, layout->again[2 * l + 1]);
  for (int k = 0; k <= block->order; k++) {
    call.dw[k] = block->gradient[k] ? (real *)block->gradient[k] + layout->gradient[l] : NULL;
    call.shared_back[k] = call.shared[k];
  }
  if (block->gauss_newton) { /* coefficient 1 of the gradients goes the way of coefficient 0 */
    call.from = call.order = call.reserve = 0;
    call.x.degree = call.y.degree = call.w.degree = 0;
    Jet *const moved[] = {&call.dy, &call.dx, &call.dother};
    for (int i = 0; i < 3; i++)
      if (moved[i]->c[0]) moved[i]->c[0] = moved[i]->c[1];
    call.dw[0] = call.dw[1];
    call.shared_back[0] = call.shared[1];
  }
  return call;
}

static void Add(size_t n, const real *from, real *to)
{
  for (size_t i = 0; i < n; i += (size_t)VL) Store(to + i, Load(to + i) + Load(from + i));
}

static void Backward(const CourantBlock *block, PetscInt first, PetscInt last)
{
  const CourantLayout *layout = block->layout;

  for (PetscInt l = last - 1; l >= first; l--) {
    const CourantLayerCall call = CallBack(block, l);
    const int sources[] = {call.layer->source, call.layer->other};
    const Jet *gradients[] = {&call.dx, &call.dother};
    if (call.layer->first && call.layer->nparameters == 0) continue;
    layers[call.layer->type]->Backward(&call);
    for (int i = 0; i < 2; i++) {
      if (!layout->again[2 * l + i] || !gradients[i]->c[0]) continue;
      const Jet to = Gradient(block, sources[i], PETSC_FALSE);
      const size_t n = (size_t)block->n * CourantShapeSize(CourantNetShape(block->net, sources[i]));
      for (int k = block->from; k <= block->order; k++)
        Add(n, (real *)block->tape[k] + layout->temporary, to.c[k]);
    }
  }
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

static void Loss(const CourantBlock *block)
{
  const CourantNet net = block->net;
  const CourantLossCall loss = {.n = block->n,
                                .outputs = (int)CourantShapeSize(net->out),
                                .from = block->from,
                                .order = block->order,
                                .labels = block->labels,
                                .width = block->width,
                                .scale = block->scale,
                                .loss = block->loss,
                                .p = OnTape(block, block->layout->value[net->nlayers], block->order),
                                .dp = OnTape(block, block->layout->adjoint[net->nlayers], block->order)};
  const size_t n = (size_t)block->n * (size_t)loss.outputs;
  if (block->outputs)
    Convert(n, loss.p.c[block->reported], block->outputs);
  else if (block->cotangents)
    for (size_t i = 0; i < n; i++) loss.dp.c[1][i] = (real)block->cotangents[i];
  else if (block->slopes)
    RunFrozen(&loss, block->slopes);
  else
    losses[net->loss]->Run(&loss);
}

static void Input(const CourantBlock *block)
{
  const size_t n = (size_t)block->n * CourantShapeSize(block->net->in);
  real *input = (real *)block->tape[0] + block->layout->value[0];
  for (size_t i = 0; i < n; i++) input[i] = (real)block->images[i];
}

static const CourantStatisticsOps *Statistics(const CourantLayer *layer, PetscBool back)
{
  return back ? layers[layer->type]->statistics_backward : layers[layer->type]->statistics_forward;
}

static void Merge(const CourantBlock *block, PetscInt l, PetscBool back, double *into, const double *record)
{
  const CourantLayerCall call = back ? CallBack(block, l) : Call(block, l);
  Statistics(call.layer, back)->Merge(&call, into, record);
}

/* The first record of a leaf, whose count is 0, is taken as it is. */
static void Measure(const CourantBlock *block, PetscInt l, PetscBool back, double *record, double *into)
{
  const CourantLayerCall call = back ? CallBack(block, l) : Call(block, l);
  const PetscBool empty = into[0] == 0 ? PETSC_TRUE : PETSC_FALSE;

  Statistics(call.layer, back)->Measure(&call, empty ? into : record);
  if (!empty) Statistics(call.layer, back)->Merge(&call, into, record);
}

static void Conclude(const CourantBlock *block, PetscInt l, PetscBool back, const double *record)
{
  const CourantLayerCall call = back ? CallBack(block, l) : Call(block, l);
  Statistics(call.layer, back)->Conclude(&call, record);
}

enum { CHUNK = 64 };

/*
  By one pass forward and back on jets: with x = x_0 + e and dy = 1, dx = f'(x_0 + e) has f^(k+1)(x_0) / k! as
  its coefficient of e^k. first .. first+n-1, at most CHUNK points.
*/
static void ChunkDerivatives(const CourantLayer *layer, int order, size_t first, size_t n, const double x[],
                             double *const d[])
{
  enum { X, Y, DX, DY, JETS };
  _Alignas(COURANT_ALIGNMENT) real jet[JETS][COURANT_ORDER_MAX + 1][CHUNK] = {0},
                                                                 primal[COURANT_DERIVATIVES][CHUNK] = {0};
  CourantLayer flat = *layer;
  double factorial = 1;

  flat.in = flat.out = (CourantShape){1, 1, (PetscInt)n};
  CourantLayerCall call = {.layer = &flat, .n = 1, .order = order, .reserve = order, .primal = primal[0]};
  Jet *const jets[JETS] = {&call.x, &call.y, &call.dx, &call.dy};
  for (int j = 0; j < JETS; j++) {
    jets[j]->degree = order;
    for (int k = 0; k <= order; k++) jets[j]->c[k] = jet[j][k];
  }
  for (size_t i = 0; i < n; i++) {
    call.x.c[0][i] = (real)x[first + i];
    call.dy.c[0][i] = 1;
    if (order > 0) call.x.c[1][i] = 1;
  }
  layers[layer->type]->Forward(&call);
  layers[layer->type]->Backward(&call);
  if (d[0]) Convert(n, call.y.c[0], d[0] + first);
  for (int k = 0; k <= order; factorial *= ++k) {
    if (!d[k + 1]) continue;
    Convert(n, call.dx.c[k], d[k + 1] + first);
    for (size_t i = 0; i < n; i++) d[k + 1][first + i] *= factorial;
  }
}

static void Derivatives(const CourantLayer *layer, int order, size_t n, const double x[], double *const d[])
{
  for (size_t first = 0; first < n; first += CHUNK)
    ChunkDerivatives(layer, order, first, n - first < CHUNK ? n - first : CHUNK, x, d);
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
    .Input = Input,
    .Forward = Forward,
    .Loss = Loss,
    .Backward = Backward,
    .Measure = Measure,
    .Merge = Merge,
    .Conclude = Conclude,
    .Convert = Convert,
    .Derivatives = Derivatives,
};
