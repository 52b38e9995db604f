/* y = layers(x) + shortcut(x) (He, Zhang, Ren, Sun 2016); an empty shortcut is the identity. */
#include "net/layerops.h"
#include "net/net.h"

typedef struct {
  CourantNode layers, shortcut;
} Residual;

static const CourantKey keys[] = {
    {"layers", COURANT_KEY_NODE, offsetof(Residual, layers), NULL, .help = "a list of layers"},
    {"shortcut", COURANT_KEY_NODE, offsetof(Residual, shortcut), "",
     .help = "a list of layers beside them; absent: the identity"},
    {0},
};

static const char *const examples[] = {
    "{layers: [conv: {channels: 2, kernel: 3, padding: same}]}",
    "{layers: [conv: {channels: 3, kernel: 3}, swish: {}], shortcut: [conv: {channels: 3, kernel: 3}]}",
    "{layers: [residual: {layers: [conv: {channels: 2, kernel: 1}]}, swish: {}]}",
    NULL,
};

static PetscErrorCode Expand(CourantNet net, CourantLayer *layer)
{
  const Residual *o = (const Residual *)layer->options;
  char name[sizeof layer->name + 16];
  const int input = layer->source;

  PetscFunctionBeginUser;
  snprintf(name, sizeof name, "%s.layers.", layer->name);
  PetscCall(CourantNetAppend(net, o->layers, name, &layer->source));
  if (layer->source == input) CourantNodeError(layer->node, "a residual without layers");
  layer->other = input;
  snprintf(name, sizeof name, "%s.shortcut.", layer->name);
  if (o->shortcut.id) PetscCall(CourantNetAppend(net, o->shortcut, name, &layer->other));
  const CourantShape a = CourantNetShape(net, layer->source), b = CourantNetShape(net, layer->other);
  if (a.h != b.h || a.w != b.w || a.c != b.c)
    CourantNodeError(layer->node, "layers give %d x %d x %d but the shortcut %d x %d x %d", (int)a.h,
                     (int)a.w, (int)a.c, (int)b.h, (int)b.w, (int)b.c);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(CourantLayer *layer)
{
  PetscFunctionBeginUser;
  layer->out = layer->in;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Forward(const CourantLayerCall *call)
{
  const int n = call->n * (int)CourantShapeSize(call->layer->out);

  for (int k = call->from; k <= call->order; k++)
    for (int i = 0; i < n; i += VL)
      Store(call->y.c[k] + i, Load(call->x.c[k] + i) + Load(call->other.c[k] + i));
}

/* dy goes to both inputs; nothing is to do for one whose gradient is kept in the same place. */
static void Backward(const CourantLayerCall *call)
{
  const size_t bytes = sizeof(real) * (size_t)call->n * CourantShapeSize(call->layer->out);
  const Jet *inputs[] = {&call->dx, &call->dother};

  for (int i = 0; i < 2; i++)
    for (int k = call->from; inputs[i]->c[0] && k <= call->order; k++)
      if (inputs[i]->c[k] != call->dy.c[k]) memcpy(inputs[i]->c[k], call->dy.c[k], bytes);
}

COURANT_LAYER(residual) = {
    .name = "residual",
    .help = "sum of two branches, layers(x) + shortcut(x)",
    .examples = examples,
    .keys = keys,
    .options_size = sizeof(Residual),
    .linear = PETSC_TRUE,
    .in_place = PETSC_TRUE,
    .Expand = Expand,
    .SetUp = SetUp,
    .Forward = Forward,
    .Backward = Backward,
};
