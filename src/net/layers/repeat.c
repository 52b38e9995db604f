/* Copies of a list of layers, one behind the other, each with its own weights. */
#include "net/layerops.h"
#include "net/net.h"

typedef struct {
  PetscInt times;
  CourantNode layers;
} Repeat;

static const CourantKey keys[] = {
    {"times", COURANT_KEY_INT, offsetof(Repeat, times), NULL, 0, 10000, .help = "number of copies"},
    {"layers", COURANT_KEY_NODE, offsetof(Repeat, layers), NULL, .help = "a list of layers"},
    {0},
};

static const char *const examples[] = {
    "{times: 2, layers: [conv: {channels: 2, kernel: 2}, swish: {}]}",
    "{times: 0, layers: [swish: {}]}",
    NULL,
};

static PetscErrorCode Expand(CourantNet net, CourantLayer *layer)
{
  const Repeat *o = (const Repeat *)layer->options;
  char name[sizeof layer->name + 16];

  PetscFunctionBeginUser;
  for (PetscInt copy = 0; copy < o->times; copy++) {
    snprintf(name, sizeof name, "%s.%d.", layer->name, (int)copy);
    PetscCall(CourantNetAppend(net, o->layers, name, &layer->source));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

COURANT_LAYER(repeat) = {
    .name = "repeat",
    .help = "copies of a list of layers, each with its own weights",
    .examples = examples,
    .keys = keys,
    .options_size = sizeof(Repeat),
    .linear = PETSC_TRUE,
    .Expand = Expand,
};
