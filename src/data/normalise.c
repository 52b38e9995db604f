#include "data/normalise.h"
#include <math.h>
#include <string.h>

const CourantKey CourantNormaliseKeys[] = {
    {"mean", COURANT_KEY_REALS, offsetof(CourantNormalise, mean), NULL, .help = "one number per channel"},
    {"std", COURANT_KEY_REALS, offsetof(CourantNormalise, std), NULL, 1e-30, INFINITY,
     .help = "one number per channel"},
    {0},
};

/*
  What is subtracted and the factor after it, once every training
  image has been seen: then `mean` is the mean of each channel and
  `factor` its sum of squared deviations.
*/
static PetscErrorCode Unit(CourantDataset data)
{
  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < data->c; k++) data->mean[k] = 0, data->factor[k] = 1. / 255;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Standard(CourantDataset data)
{
  const double pixels = (double)data->n * (double)data->h * (double)data->w;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < data->c; k++) {
    if (!(data->factor[k] > 0))
      CourantNodeError(
          CourantNodeChild(data->node, "normalise"),
          "channel %d is %g in every pixel of the training images; it has no spread to divide by", (int)k,
          data->mean[k]);
    data->factor[k] = sqrt(pixels / data->factor[k]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Given(CourantDataset data)
{
  const CourantReals *mean = &data->normalise.mean, *std = &data->normalise.std;
  const CourantNode node = CourantNodeChild(data->node, "normalise");

  PetscFunctionBeginUser;
  if (mean->n != data->c || std->n != data->c)
    CourantNodeError(node, "%d means and %d stds for images of %d channel%s", (int)mean->n, (int)std->n,
                     (int)data->c, data->c == 1 ? "" : "s");
  for (PetscInt k = 0; k < data->c; k++) {
    data->mean[k] = mean->values[k];
    data->factor[k] = 1 / std->values[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef PetscErrorCode (*Factors)(CourantDataset);
static const char *const names[] = {"none", "unit", "standard"};
static const Factors factors[] = {NULL, Unit, Standard, Given};
enum { STANDARD = 2, GIVEN = 3 };

/* CourantNormaliseRead - The key `normalise` of a deck's `data` mapping. */
PetscErrorCode CourantNormaliseRead(CourantDataset data, CourantNode node)
{
  const CourantNode child = CourantNodeChild(node, "normalise");
  CourantNormalise *normalise = &data->normalise;

  PetscFunctionBeginUser;
  normalise->kind = GIVEN;
  if (CourantNodeIsMapping(child))
    PetscCall(CourantNodeRead(child, 1, (CourantTable[]){{CourantNormaliseKeys, normalise}}));
  else
    PetscCall(CourantNodeSelect(node, "normalise", "none", PETSC_STATIC_ARRAY_LENGTH(names), names,
                                &normalise->kind));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantNormaliseBegin - Before the images are read; train is NULL, or for test images the data set whose
  means and factors they get.
*/
PetscErrorCode CourantNormaliseBegin(CourantDataset data, CourantDataset train)
{
  const size_t bytes = (size_t)data->c * sizeof(double);

  PetscFunctionBeginUser;
  if (!factors[data->normalise.kind]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1(data->c, &data->mean));
  PetscCall(PetscCalloc1(data->c, &data->factor));
  if (!train) PetscFunctionReturn(PETSC_SUCCESS);
  memcpy(data->mean, train->mean, bytes);
  memcpy(data->factor, train->factor, bytes);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantNormaliseAdd - Takes one training image into account, the samples in order.

  Mean and sum of squared deviations of the image, joined to those of the images before it (Chan, Golub,
  LeVeque 1983, "Algorithms for computing the sample variance"). Deviations are from the channel's first
  pixel, so that a constant channel has exactly none, whatever its value.
*/
void CourantNormaliseAdd(CourantDataset data, PetscInt sample, const double image[])
{
  const size_t c = (size_t)data->c, size = CourantDatasetImageSize(data);
  const double pixels = (double)data->h * (double)data->w, before = (double)sample;

  if (data->normalise.kind != STANDARD || data->split != COURANT_SPLIT_TRAIN) return;
  for (size_t k = 0; k < c; k++) {
    double sum = 0, square = 0;
    for (size_t i = k; i < size; i += c) sum += image[i] - image[k];
    const double shift = sum / pixels;
    for (size_t i = k; i < size; i += c) {
      const double deviation = image[i] - image[k] - shift;
      square += deviation * deviation;
    }
    const double step = sample ? image[k] + shift - data->mean[k] : 0;
    data->mean[k] = sample ? data->mean[k] + step / (before + 1) : image[k] + shift;
    data->factor[k] += square + step * step * pixels * before / (before + 1);
  }
}

/* CourantNormaliseEnd - After the last training image: the factors; those in memory get them applied. */
PetscErrorCode CourantNormaliseEnd(CourantDataset data)
{
  PetscFunctionBeginUser;
  if (!data->mean) PetscFunctionReturn(PETSC_SUCCESS);
  if (data->split == COURANT_SPLIT_TRAIN) PetscCall(factors[data->normalise.kind](data));
  for (PetscInt i = 0; data->images && i < data->n; i++)
    CourantNormaliseImage(data, data->images + (size_t)i * CourantDatasetImageSize(data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantNormaliseImage - One image [h,w,c] as the source has it becomes one as the network gets it. */
void CourantNormaliseImage(CourantDataset data, double image[])
{
  const size_t size = CourantDatasetImageSize(data), c = (size_t)data->c;

  for (size_t i = 0; data->mean && i < size; i += c)
    for (size_t k = 0; k < c; k++) image[i + k] = (image[i + k] - data->mean[k]) * data->factor[k];
}
