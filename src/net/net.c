#include "net/net.h"
#include "courant-registry.h"
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

static PetscErrorCode SetUpLayer(CourantLayer *layer, CourantNode node, PetscInt index, CourantShape in)
{
  PetscFunctionBeginUser;
  PetscCall(CourantNodeEntry(node, "layer", CourantLayerTypeCount, layer_names, &layer->type, &layer->node));
  const CourantLayerOps *ops = CourantLayerType(layer->type);
  PetscCall(PetscCalloc(PetscMax(ops->options_size, 1), &layer->options));
  PetscCall(CourantNodeRead(layer->node, 1, (CourantTable[]){{ops->keys, layer->options}}));
  snprintf(layer->name, sizeof layer->name, "%d", (int)index);
  layer->in = in;
  layer->first = index == 0 ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(ops->SetUp(layer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantNetCreate - The network of a deck's `network` list and `loss` name, for samples of shape `in`.

  Shapes that do not fit and options that make no sense are the user's errors, with file and line.
*/
PetscErrorCode CourantNetCreate(CourantNode network, CourantNode loss, CourantShape in, CourantNet *result)
{
  CourantNet net;
  CourantNode unused;
  CourantShape shape = in;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&net));
  *result = net;
  net->in = in;
  PetscCall(CourantNodeCount(network, &net->nlayers));
  if (net->nlayers == 0) CourantNodeError(network, "the network has no layers");
  PetscCall(PetscCalloc1(net->nlayers, &net->layers));
  for (PetscInt l = 0; l < net->nlayers; l++) {
    CourantLayer *layer = &net->layers[l];
    PetscCall(SetUpLayer(layer, CourantNodeItem(network, l), l, shape));
    layer->offset = net->size;
    for (int i = 0; i < layer->nparameters; i++) layer->size += layer->parameters[i].size;
    net->size += layer->size;
    shape = layer->out;
  }
  net->out = shape;
  if (net->size == 0) CourantNodeError(network, "the network has no parameters to train");
  PetscCall(CourantNodeEntry(loss, "loss", CourantLossTypeCount, loss_names, &net->loss, &unused));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantNetDestroy(CourantNet *net)
{
  PetscFunctionBeginUser;
  if (!*net) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt l = 0; (*net)->layers && l < (*net)->nlayers; l++)
    PetscCall(PetscFree((*net)->layers[l].options));
  PetscCall(PetscFree((*net)->layers));
  PetscCall(PetscFree(*net));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantNetView - One line per layer: shapes, and the names and dimensions of its parameters. */
PetscErrorCode CourantNetView(CourantNet net, FILE *out)
{
  PetscFunctionBeginUser;
  fprintf(out, "  %-5s %-12s %-16s %s\n", "layer", "type", "output h x w x c", "parameters");
  fprintf(out, "  %-5s %-12s %4d x %4d x %3d\n", "", "input", (int)net->in.h, (int)net->in.w, (int)net->in.c);
  for (PetscInt l = 0; l < net->nlayers; l++) {
    const CourantLayer *layer = &net->layers[l];
    fprintf(out, "  %-5s %-12s %4d x %4d x %3d ", layer->name, CourantLayerType(layer->type)->name,
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
