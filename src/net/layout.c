/* Where the arrays of a block stand. */
#include "net/layout.h"
#include <string.h>

static size_t Whole(size_t n)
{
  return (n + 15) / 16 * 16;
}

/* How many layers read a value, and whether one behind layer l does. */
static int Readers(CourantNet net, int value, PetscInt behind)
{
  int n = 0;
  for (PetscInt l = behind; l < net->nlayers; l++)
    n += (net->layers[l].source == value) + (net->layers[l].other == value);
  return n;
}

/* The layer that alone reads the value; -1: none, or several. */
static PetscInt OnlyReader(CourantNet net, int value)
{
  PetscInt reader = -1;

  if (Readers(net, value, 0) != 1) return -1;
  for (PetscInt l = 0; l < net->nlayers; l++)
    if (net->layers[l].source == value || net->layers[l].other == value) reader = l;
  return reader;
}

static PetscBool IsSum(CourantNet net, PetscInt l)
{
  return l >= 0 && net->layers[l].other >= 0 ? PETSC_TRUE : PETSC_FALSE;
}

/*
  The layer whose gradient by its output may make room for that by the value; -1: none. Of a sum the two are
  the same, and its summands share them: nobody may write over those.
*/
static PetscInt InPlace(CourantNet net, const CourantBackend *backend, int value)
{
  const PetscInt l = OnlyReader(net, value);

  if (l < 0 || CourantNetValueIsConstant(net, value) || !backend->layers[net->layers[l].type]->in_place)
    return -1;
  return IsSum(net, l) || !IsSum(net, OnlyReader(net, (int)l + 1)) ? l : -1;
}

static size_t Place(size_t *at, size_t length)
{
  const size_t place = *at;
  *at += Whole(length) + 32;
  return place;
}

/* Adjoints from the last value to the first, since some stand where those of later values do. */
static void PlaceAdjoints(CourantNet net, const CourantBackend *backend, CourantLayout *layout, size_t *at)
{
  size_t largest = 0;

  for (int v = (int)net->nlayers; v > 0; v--) {
    const PetscInt reader = InPlace(net, backend, v);
    const size_t length = CourantShapeSize(CourantNetShape(net, v)) * (size_t)layout->samples;
    layout->adjoint[v] = reader >= 0 ? layout->adjoint[reader + 1] : Place(at, length);
  }
  for (PetscInt l = 0; l < net->nlayers; l++) {
    const int sources[] = {net->layers[l].source, net->layers[l].other};
    for (int i = 0; i < 2; i++) {
      if (sources[i] < 0 || CourantNetValueIsConstant(net, sources[i])) continue;
      layout->again[2 * l + i] = Readers(net, sources[i], l + 1) > 0 ? PETSC_TRUE : PETSC_FALSE;
      if (layout->again[2 * l + i])
        largest = PetscMax(largest, CourantShapeSize(CourantNetShape(net, sources[i])));
    }
  }
  layout->temporary = Place(at, largest * (size_t)layout->samples);
}

/*
  CourantLayoutCreate - Lays out the tapes of a net, which is borrowed, for Taylor coefficients up to `order`,
  and lets its layers prepare.

  A block stays in cache; its size is a matter of shapes alone, so that it never depends on budget or threads.
*/
PetscErrorCode CourantLayoutCreate(CourantNet net, const CourantBackend *backend, int order,
                                   CourantLayout *layout)
{
  const PetscInt layers = net->nlayers;
  CourantLayerSpace *space;
  size_t per_sample = 0, at = 0;

  PetscFunctionBeginUser;
  *layout = (CourantLayout){.net = net, .layers = backend->layers, .order = order};
  PetscCall(PetscCalloc7(layers + 1, &layout->value, layers + 1, &layout->adjoint, layers, &layout->state,
                         layers, &layout->primal, layers + 1, &layout->packed, layers + 1, &layout->gradient,
                         layers + 1, &layout->shared));
  PetscCall(PetscCalloc2(2 * layers, &layout->again, layers, &layout->prepared));
  PetscCall(PetscCalloc1(layers, &space));
  for (PetscInt l = 0; l < layers; l++) {
    const CourantLayer *layer = &net->layers[l];
    const CourantLayerOps *ops = backend->layers[layer->type];
    space[l].packed = space[l].gradient = (size_t)layer->size;
    if (ops->Space) ops->Space(layer, order, &space[l]);
    if (ops->Prepare) layout->prepared[l] = ops->Prepare(layer);
    per_sample += 2 * CourantShapeSize(net->layers[l].out) + space[l].state + space[l].primal;
  }
  const size_t cached = (1 << 20) / (per_sample * backend->real_size + 1);
  layout->samples = (int)PetscMax(1, PetscMin(COURANT_LEAF, cached));
  const size_t n = (size_t)layout->samples;

  layout->value[0] = Place(&at, n * CourantShapeSize(net->in));
  for (PetscInt l = 0; l < layers; l++) {
    layout->value[l + 1] = Place(&at, n * CourantShapeSize(net->layers[l].out));
    layout->state[l] = Place(&at, n * space[l].state);
  }
  PlaceAdjoints(net, backend, layout, &at);
  layout->size = at;
  for (PetscInt l = 0; l < layers; l++) /* each derivative array is rounded up on its own */
    layout->primal[l] = Place(&at, n * space[l].primal + 16 * (COURANT_ORDER_MAX + 2));
  layout->size0 = at;
  for (PetscInt l = 0; l < layers; l++) {
    layout->packed[l + 1] = layout->packed[l] + Whole(space[l].packed) + 16;
    layout->gradient[l + 1] = layout->gradient[l] + Whole(space[l].gradient) + 16;
    layout->shared[l + 1] = layout->shared[l] + space[l].shared;
    layout->scratch = PetscMax(layout->scratch, space[l].scratch);
    layout->record = PetscMax(layout->record, space[l].record);
  }
  PetscCall(PetscFree(space));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantLayoutDestroy(CourantLayout *layout)
{
  PetscFunctionBeginUser;
  for (PetscInt l = 0; layout->prepared && l < layout->net->nlayers; l++) {
    const CourantLayerOps *ops = layout->layers[layout->net->layers[l].type];
    if (ops->Release) ops->Release(layout->prepared[l]);
  }
  PetscCall(PetscFree7(layout->value, layout->adjoint, layout->state, layout->primal, layout->packed,
                       layout->gradient, layout->shared));
  PetscCall(PetscFree2(layout->again, layout->prepared));
  PetscFunctionReturn(PETSC_SUCCESS);
}
