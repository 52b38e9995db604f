#include "data/sources/pattern.h"

typedef struct {
  CourantExtent extent;
  PetscInt period;
  double label;
} Checkerboard;

static const CourantKey keys[] = {
    COURANT_EXTENT_KEYS(Checkerboard, extent),
    {"period", COURANT_KEY_INT, offsetof(Checkerboard, period), "1", 1, 1 << 20,
     .help = "side of a square in pixels"},
    {"label", COURANT_KEY_REAL, offsetof(Checkerboard, label), "1", .help = "label of the one sample"},
    {0},
};

static PetscErrorCode Open(CourantDataset data, CourantNode node, const void *options)
{
  PetscFunctionBeginUser;
  data->n = 1;
  PetscCall(CourantExtentApply(data, node, &((const Checkerboard *)options)->extent));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char *Read(CourantDataset data, const void *options, PetscInt sample, double image[],
                        double label[])
{
  const Checkerboard *o = (const Checkerboard *)options;

  (void)sample;
  for (PetscInt y = 0; y < data->h; y++)
    for (PetscInt x = 0; x < data->w; x++)
      image[y * data->w + x] = (y / o->period + x / o->period) % 2 ? 1 : -1;
  *label = o->label;
  return NULL;
}

const CourantSourceOps CourantSource_checkerboard = {
    .name = "checkerboard",
    .help = "one image of -1 and +1 squares, -1 where (y/period + x/period) is even",
    .keys = keys,
    .options_size = sizeof(Checkerboard),
    .Open = Open,
    .Read = Read,
};
