#include "data/augment.h"
#include "core/random.h"
#include <string.h>

const CourantKey CourantAugmentKeys[] = {
    {"crop", COURANT_KEY_INT, offsetof(CourantAugment, crop), "0", 0, 1 << 20,
     .help = "shift by up to so many pixels, zeros coming in"},
    {"flip", COURANT_KEY_BOOL, offsetof(CourantAugment, flip), "false",
     .help = "mirror left and right, every other time"},
    {0},
};

/* CourantAugmentRead - The `augment` mapping of a deck, for the data set whose image size is known. */
PetscErrorCode CourantAugmentRead(CourantDataset data, CourantNode node)
{
  PetscFunctionBeginUser;
  PetscCall(CourantNodeRead(node, 1, (CourantTable[]){{CourantAugmentKeys, &data->augment}}));
  if (data->augment.crop >= PetscMin(data->h, data->w))
    CourantNodeError(node, "crop %d may shift the whole of a %dx%d image away", (int)data->augment.crop,
                     (int)data->h, (int)data->w);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 0 .. n-1 from 32 random bits; the bias is below n 2^-32. */
static PetscInt Below(uint32_t bits, PetscInt n)
{
  return (PetscInt)((uint64_t)bits * (uint64_t)n >> 32);
}

/*
  image[y][x] = source[y+dy][x+dx], zero from outside. source may
  be image: rows are taken in the order in which none is needed
  after it is written.
*/
static void Shift(CourantDataset data, PetscInt dy, PetscInt dx, const double source[], double image[])
{
  const PetscInt h = data->h, w = data->w;
  const PetscInt left = PetscMax(0, -dx), right = PetscMin(w, w - dx); /* columns that come from inside */
  const size_t c = (size_t)data->c, row = (size_t)w * c;

  for (PetscInt i = 0; i < h; i++) {
    const PetscInt y = dy < 0 ? h - 1 - i : i;
    double *to = image + (size_t)y * row;
    if (y + dy < 0 || y + dy >= h) {
      memset(to, 0, row * sizeof(double));
      continue;
    }
    memmove(to + (size_t)left * c, source + (size_t)(y + dy) * row + (size_t)(left + dx) * c,
            (size_t)(right - left) * c * sizeof(double));
    memset(to, 0, (size_t)left * c * sizeof(double));
    memset(to + (size_t)right * c, 0, (size_t)(w - right) * c * sizeof(double));
  }
}

static void Mirror(CourantDataset data, double image[])
{
  const size_t w = (size_t)data->w, c = (size_t)data->c;

  for (PetscInt y = 0; y < data->h; y++, image += w * c)
    for (size_t x = 0; x < w / 2; x++)
      for (size_t k = 0; k < c; k++) {
        const double left = image[x * c + k];
        image[x * c + k] = image[(w - 1 - x) * c + k];
        image[(w - 1 - x) * c + k] = left;
      }
}

/*
  CourantAugmentImage - Shifts and mirrors one normalised image [h,w,c]; source may be image.

  The changes belong to (batch->seed, sample, batch->epoch) alone, whoever reads the sample and in whatever
  order: random bits 0 and 1 give the shifts down and right in -crop .. crop, bit 31 of the third word the
  mirroring, which comes after the shift. That is RandomCrop(padding=crop), RandomHorizontalFlip of
  torchvision.
*/
void CourantAugmentImage(const CourantBatch *batch, PetscInt sample, const double source[], double image[])
{
  const CourantAugment *augment = &batch->data->augment;
  const CourantRandom stream = {.seed = batch->seed,
                                .purpose = COURANT_RANDOM_AUGMENT,
                                .index = (uint32_t)sample,
                                .epoch = batch->epoch};
  const PetscInt crop = augment->crop, shifts = 2 * crop + 1;
  uint32_t bits[4];

  CourantRandomBits(stream, 0, bits);
  Shift(batch->data, Below(bits[0], shifts) - crop, Below(bits[1], shifts) - crop, source, image);
  if (augment->flip && bits[2] >> 31) Mirror(batch->data, image);
}
