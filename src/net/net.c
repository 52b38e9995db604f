#include "net/net.h"
#include "courant-registry.h"
#include "data/dataset.h"
#include "net/backend.h"
#include <string.h>

#define NAME(name) #name,
static const char *const layer_names[] = {COURANT_LAYERS(NAME)};
static const char *const loss_names[] = {COURANT_LOSSES(NAME)};
const int CourantLayerTypeCount = PETSC_STATIC_ARRAY_LENGTH(layer_names);
const int CourantLossTypeCount = PETSC_STATIC_ARRAY_LENGTH(loss_names);

const CourantLayerOps *CourantLayerType(int type)
{
  return CourantBackendDefault()->layers[type];
}

const CourantLossOps *CourantLossType(int type)
{
  return CourantBackendDefault()->losses[type];
}

const char *const *CourantLayerTypeNames(void)
{
  return layer_names;
}

/* CourantLayerIsCoupled - Does a layer couple the samples of a group, and so keep running statistics? */
PetscBool CourantLayerIsCoupled(const CourantLayer *layer)
{
  return CourantLayerType(layer->type)->statistics_forward ? PETSC_TRUE : PETSC_FALSE;
}

const char *const CourantRunningNames[COURANT_RUNNING] = {"running_mean", "running_var"};

/* CourantNetShape - Height, width and channels of a value: 0 is the data, l + 1 the output of layer l. */
CourantShape CourantNetShape(CourantNet net, int value)
{
  return value ? net->layers[value - 1].out : net->in;
}

/* CourantNetValueIsConstant - Does a value depend on no weights? */
PetscBool CourantNetValueIsConstant(CourantNet net, int value)
{
  return value == 0 || (net->layers[value - 1].first && net->layers[value - 1].nparameters == 0)
             ? PETSC_TRUE
             : PETSC_FALSE;
}

/* Options of a layer, owned by the net whatever becomes of the layer. */
static PetscErrorCode ReadOptions(CourantNet net, CourantLayer *layer)
{
  const CourantLayerOps *ops = CourantLayerType(layer->type);

  PetscFunctionBeginUser;
  PetscCall(PetscRealloc(sizeof(void *) * (size_t)(net->noptions + 1), &net->options));
  PetscCall(PetscCalloc(PetscMax(ops->options_size, 1), &layer->options));
  net->options[net->noptions++] = layer->options;
  PetscCall(CourantNodeRead(layer->node, 1, (CourantTable[]){{ops->keys, layer->options}}));
  if (ops->Widen) ops->Widen(layer->options, net->width);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Numbers of a layer that an int, or PetscInt, would not count. */
static PetscErrorCode CheckSizes(CourantLayer *layer)
{
  const CourantShape out = layer->out;

  PetscFunctionBeginUser;
  if ((double)out.h * (double)out.w * (double)out.c > COURANT_SAMPLE_MAX)
    CourantNodeError(layer->node, "its output, %d x %d x %d, is too large", (int)out.h, (int)out.w,
                     (int)out.c);
  for (int i = 0; i < layer->nparameters; i++) {
    CourantParameter *p = &layer->parameters[i];
    double size = 1;
    for (int d = 0; d < p->ndims; d++) size *= (double)p->dims[d];
    if (size > PETSC_MAX_INT)
      CourantNodeError(layer->node, "its %s has too many parameters, %.3g", p->name, size);
    p->size = (PetscInt)size;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds one layer, or the layers that it is made of, which reads *value; *value is its output then. */
static PetscErrorCode AppendLayer(CourantNet net, CourantNode node, const char *name, int *value)
{
  CourantLayer layer = {.source = *value, .other = -1, .buffer = net->buffers};

  PetscFunctionBeginUser;
  if (snprintf(layer.name, sizeof layer.name, "%s", name) >= (int)sizeof layer.name)
    CourantNodeError(node, "layers are nested too deeply");
  PetscCall(CourantNodeEntry(node, "layer", CourantLayerTypeCount, layer_names, &layer.type, &layer.node));
  const CourantLayerOps *ops = CourantLayerType(layer.type);
  PetscCall(ReadOptions(net, &layer));
  if (ops->Expand) PetscCall(ops->Expand(net, &layer));
  *value = layer.source;
  if (!ops->Forward) PetscFunctionReturn(PETSC_SUCCESS);
  layer.in = CourantNetShape(net, layer.source);
  layer.first = CourantNetValueIsConstant(net, layer.source) &&
                        (layer.other < 0 || CourantNetValueIsConstant(net, layer.other))
                    ? PETSC_TRUE
                    : PETSC_FALSE;
  PetscCall(ops->SetUp(&layer));
  PetscCall(CheckSizes(&layer));
  layer.offset = net->size;
  for (int i = 0; i < layer.nparameters; i++) {
    if (layer.parameters[i].size > PETSC_MAX_INT - net->size - layer.size)
      CourantNodeError(node, "the network has too many parameters");
    layer.size += layer.parameters[i].size;
  }
  net->size += layer.size;
  if (CourantLayerIsCoupled(&layer)) {
    net->buffers += 2 * layer.in.c;
    net->coupled = PETSC_TRUE;
  }
  PetscCall(PetscRealloc(sizeof(CourantLayer) * (size_t)(net->nlayers + 1), &net->layers));
  net->layers[net->nlayers++] = layer;
  *value = (int)net->nlayers;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantNetAppend - Adds the layers of a list, the first of which reads *value; *value is their output then.

  name: what stands before their numbers, as "5.layers." in "5.layers.0".
*/
PetscErrorCode CourantNetAppend(CourantNet net, CourantNode list, const char name[], int *value)
{
  char full[160];
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(CourantNodeCount(list, &n));
  for (PetscInt i = 0; i < n; i++) {
    snprintf(full, sizeof full, "%s%d", name, (int)i);
    PetscCall(AppendLayer(net, CourantNodeItem(list, i), full, value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantNetCreate - The network that a deck describes, for samples of shape `in`.

  Shapes that do not fit and options that make no sense are the user's errors, with file and line.
*/
PetscErrorCode CourantNetCreate(const CourantNetDeck *deck, CourantShape in, CourantNet *result)
{
  CourantNet net;
  CourantNode unused;
  int value = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&net));
  *result = net;
  net->in = in;
  net->width = deck->width > 0 ? deck->width : 1;
  net->group = deck->statistics_batch > 0 ? deck->statistics_batch : 128;
  PetscCall(CourantNetAppend(net, deck->network, "", &value));
  if (net->nlayers == 0) CourantNodeError(deck->network, "the network has no layers");
  if (net->size == 0) CourantNodeError(deck->network, "the network has no parameters to train");
  net->out = CourantNetShape(net, value);
  PetscCall(CourantNodeEntry(deck->loss, "loss", CourantLossTypeCount, loss_names, &net->loss, &unused));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantNetDestroy(CourantNet *net)
{
  PetscFunctionBeginUser;
  if (!*net) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < (*net)->noptions; i++) PetscCall(PetscFree((*net)->options[i]));
  PetscCall(PetscFree((*net)->options));
  PetscCall(PetscFree((*net)->layers));
  PetscCall(PetscFree(*net));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantNetView - One line per layer: shapes, and the names and dimensions of its parameters. */
PetscErrorCode CourantNetView(CourantNet net, FILE *out)
{
  int names = 5;

  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < net->nlayers; l++) names = PetscMax(names, (int)strlen(net->layers[l].name));
  fprintf(out, "  %-*s %-12s %-16s %s\n", names, "layer", "type", "output h x w x c", "parameters");
  fprintf(out, "  %-*s %-12s %4d x %4d x %3d\n", names, "", "input", (int)net->in.h, (int)net->in.w,
          (int)net->in.c);
  for (PetscInt l = 0; l < net->nlayers; l++) {
    const CourantLayer *layer = &net->layers[l];
    fprintf(out, "  %-*s %-12s %4d x %4d x %3d ", names, layer->name, CourantLayerType(layer->type)->name,
            (int)layer->out.h, (int)layer->out.w, (int)layer->out.c);
    for (int i = 0; i < layer->nparameters; i++) {
      const CourantParameter *p = &layer->parameters[i];
      fprintf(out, "  %s.%s [", layer->name, p->name);
      for (int d = 0; d < p->ndims; d++) fprintf(out, "%s%d", d ? ", " : "", (int)p->dims[d]);
      fprintf(out, "]");
    }
    fprintf(out, "\n");
  }
  fprintf(out, "  loss  %s, %d parameters\n", CourantLossType(net->loss)->name, (int)net->size);
  if (net->coupled) fprintf(out, "  statistics of batch_norm over groups of %d samples\n", (int)net->group);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantNetDecayMask - The diagonal D of weight decay, [size]:
  1, or 0 for exempt parameters when kernels alone decay.
*/
PetscErrorCode CourantNetDecayMask(CourantNet net, PetscBool kernels_only, double mask[])
{
  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < net->nlayers; l++) {
    const CourantLayer *layer = &net->layers[l];
    double *m = mask + layer->offset;
    for (int i = 0; i < layer->nparameters; i++)
      for (PetscInt k = 0; k < layer->parameters[i].size; k++)
        *m++ = kernels_only && layer->parameters[i].exempt ? 0 : 1;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantNetHasBoundedGradient - Is |grad L| bounded over all theta?

  True for one trainable layer behind linear ones, activations of bounded slope, and a loss of bounded slope:
  then gradient descent stays bounded for learning rates below 2 / weight decay.
*/
PetscBool CourantNetHasBoundedGradient(CourantNet net)
{
  int trainable = 0;

  for (PetscInt l = 0; l < net->nlayers; l++) {
    const CourantLayerOps *ops = CourantLayerType(net->layers[l].type);
    trainable += net->layers[l].nparameters > 0;
    if (!ops->linear && !ops->bounded_slope) return PETSC_FALSE;
  }
  return trainable == 1 && CourantLossType(net->loss)->bounded_gradient ? PETSC_TRUE : PETSC_FALSE;
}

/* CourantNetIsSmooth - Has every layer as many derivatives as one likes? */
PetscBool CourantNetIsSmooth(CourantNet net)
{
  for (PetscInt l = 0; l < net->nlayers; l++)
    if (CourantLayerType(net->layers[l].type)->kinked) return PETSC_FALSE;
  return PETSC_TRUE;
}
