#include "data/sources/pattern.h"
#include <math.h>

typedef struct {
  CourantExtent extent;
  double period, angle, label;
} Stripes;

static const CourantKey keys[] = {
    COURANT_EXTENT_KEYS(Stripes, extent),
    {"period", COURANT_KEY_REAL, offsetof(Stripes, period), "8", 1e-6, 1e6, .help = "wavelength in pixels"},
    {"angle", COURANT_KEY_REAL, offsetof(Stripes, angle), "0", -360, 360,
     .help = "degrees from the x axis to the wave's direction"},
    {"label", COURANT_KEY_REAL, offsetof(Stripes, label), "1", .help = "label of the one sample"},
    {0},
};

static PetscErrorCode Open(CourantDataset data, CourantNode node, const void *options)
{
  PetscFunctionBeginUser;
  data->n = 1;
  PetscCall(CourantExtentApply(data, node, &((const Stripes *)options)->extent));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char *Read(CourantDataset data, const void *options, PetscInt sample, double image[],
                        double label[])
{
  const Stripes *o = (const Stripes *)options;
  const double ky = 2 * M_PI / o->period * sin(o->angle * M_PI / 180);
  const double kx = 2 * M_PI / o->period * cos(o->angle * M_PI / 180);

  (void)sample;
  for (PetscInt y = 0; y < data->h; y++)
    for (PetscInt x = 0; x < data->w; x++) image[y * data->w + x] = cos(ky * (double)y + kx * (double)x);
  *label = o->label;
  return NULL;
}

const CourantSourceOps CourantSource_stripes = {
    .name = "stripes",
    .help = "one image of a plane cosine wave",
    .keys = keys,
    .options_size = sizeof(Stripes),
    .Open = Open,
    .Read = Read,
};
