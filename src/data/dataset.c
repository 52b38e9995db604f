#include "data/augment.h"
#include "data/normalise.h"
#include "core/interrupt.h"
#include "core/memory.h"
#include "courant-registry.h"
#include <math.h>
#include <string.h>

#define DECLARE(name) extern const CourantSourceOps CourantSource_##name;
COURANT_SOURCES(DECLARE)
#define ADDRESS(name) &CourantSource_##name,
static const CourantSourceOps *const sources[] = {COURANT_SOURCES(ADDRESS)};
#define NAME(name) #name,
static const char *const names[] = {COURANT_SOURCES(NAME)};
const int CourantSourceCount = PETSC_STATIC_ARRAY_LENGTH(sources);

const CourantSourceOps *CourantSource(int index)
{
  return sources[index];
}

typedef struct {
  CourantNode source, normalise, augment;
  PetscInt limit;
} Common;

const CourantKey CourantDataKeys[] = {
    {"source", COURANT_KEY_NODE, offsetof(Common, source), "",
     .help = "where the samples come from (required)"},
    {"limit", COURANT_KEY_INT, offsetof(Common, limit), "", 1, INFINITY,
     .help = "train on the first so many samples"},
    {"normalise", COURANT_KEY_NODE, offsetof(Common, normalise), "",
     .help = "none | unit (x/255) | standard (per channel, over the training images) | mapping"},
    {"augment", COURANT_KEY_NODE, offsetof(Common, augment), "",
     .help = "random changes of training images, mapping"},
    {0},
};

size_t CourantDatasetImageSize(CourantDataset data)
{
  return (size_t)data->h * (size_t)data->w * (size_t)data->c;
}

static PetscErrorCode CheckFinite(CourantDataset data, PetscInt i, const double image[], const double label[])
{
  const size_t size = CourantDatasetImageSize(data), c = (size_t)data->c, w = (size_t)data->w;

  PetscFunctionBeginUser;
  for (size_t k = 0; k < size; k++)
    if (!isfinite(image[k]))
      CourantNodeError(data->node, "sample %d has the value %g at row %zu, column %zu; all have to be finite",
                       (int)i, image[k], k / c / w, k / c % w);
  for (PetscInt k = 0; k < data->width; k++)
    if (!isfinite(label[k])) CourantNodeError(data->node, "sample %d has the label %g", (int)i, label[k]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Reads every sample once: labels are kept, images where they
  fit; a value that is not finite is the user's error.
*/
static PetscErrorCode Load(CourantDataset data, double budget)
{
  const size_t size = CourantDatasetImageSize(data), width = (size_t)data->width;
  const double bytes = 8. * (double)data->n * (double)size;
  double *one = NULL;

  PetscFunctionBeginUser;
  PetscCall(CourantAllocate(8 * (size_t)data->n * width, &data->labels));
  if (bytes <= 0.25 * budget)
    PetscCall(CourantAllocate((size_t)bytes, &data->images));
  else
    PetscCall(CourantAllocate(8 * size, &one));
  for (PetscInt i = 0; i < data->n; i++) {
    CourantInterruptCheck();
    double *image = data->images ? data->images + (size_t)i * size : one;
    double *label = data->labels + (size_t)i * width;
    const char *problem = data->ops->Read(data, data->options, i, image, label);
    if (problem) CourantNodeError(data->node, "sample %d: %s", (int)i, problem);
    PetscCall(CheckFinite(data, i, image, label));
    CourantNormaliseAdd(data, i, image);
  }
  CourantFree(&one);
  PetscCall(CourantNormaliseEnd(data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Test samples have to be like those the network is trained on. */
static PetscErrorCode CheckAlike(CourantDataset train, CourantDataset test)
{
  PetscFunctionBeginUser;
  if (test->h != train->h || test->w != train->w || test->c != train->c)
    CourantNodeError(test->node, "test images are %d x %d x %d, training images %d x %d x %d", (int)test->h,
                     (int)test->w, (int)test->c, (int)train->h, (int)train->w, (int)train->c);
  if (test->width != train->width)
    CourantNodeError(test->node, "test samples have %d targets, training samples %d", (int)test->width,
                     (int)train->width);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The samples to train on, or the test samples that go with `train`. */
static PetscErrorCode Open(CourantNode node, CourantDataset train, double budget, CourantDataset *result)
{
  CourantDataset data;
  Common settings = {.limit = PETSC_MAX_INT};
  int entry;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&data));
  *result = data;
  data->node = node;
  data->split = train ? COURANT_SPLIT_TEST : COURANT_SPLIT_TRAIN;
  data->width = 1;
  PetscCall(CourantNodeSelect(node, "source", NULL, PETSC_STATIC_ARRAY_LENGTH(sources), names, &entry));
  data->ops = sources[entry];
  PetscCall(PetscCalloc(data->ops->options_size, &data->options));
  PetscCall(CourantNodeRead(
      node, 2, (CourantTable[]){{CourantDataKeys, &settings}, {data->ops->keys, data->options}}));
  PetscCall(CourantNormaliseRead(data, node));
  if (!train || data->ops->tests) PetscCall(data->ops->Open(data, node, data->options));
  if (train && data->n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  if (data->n < 1 || CourantDatasetImageSize(data) == 0) CourantNodeError(node, "the data set is empty");
  if ((double)data->h * (double)data->w * (double)data->c > COURANT_SAMPLE_MAX)
    CourantNodeError(node, "images of %d x %d x %d are too large", (int)data->h, (int)data->w, (int)data->c);
  if (train)
    PetscCall(CheckAlike(train, data));
  else {
    PetscCall(CourantAugmentRead(data, settings.augment));
    data->n = PetscMin(data->n, settings.limit);
  }
  PetscCall(CourantNormaliseBegin(data, train));
  PetscCall(Load(data, budget));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantDatasetCreate - The data set to train on that a deck's `data` mapping describes.

  After an error too the result is there for CourantDatasetDestroy(). budget: bytes this rank may use; images
  are kept in memory when they take at most a quarter of it, else read from their source again whenever they
  are used.
*/
PetscErrorCode CourantDatasetCreate(CourantNode node, double budget, CourantDataset *data)
{
  PetscFunctionBeginUser;
  PetscCall(Open(node, NULL, budget, data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantDatasetCreateTest - The test samples that go with `train`; NULL where the source has none.

  They are normalised by the means and factors of `train` and never changed at random.
*/
PetscErrorCode CourantDatasetCreateTest(CourantDataset train, double budget, CourantDataset *test)
{
  PetscFunctionBeginUser;
  PetscCall(Open(train->node, train, budget, test));
  if ((*test)->n == 0) PetscCall(CourantDatasetDestroy(test));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantDatasetDestroy(CourantDataset *data)
{
  PetscFunctionBeginUser;
  if (!*data) PetscFunctionReturn(PETSC_SUCCESS);
  if ((*data)->ops && (*data)->ops->Close) PetscCall((*data)->ops->Close(*data));
  CourantFree(&(*data)->images);
  CourantFree(&(*data)->labels);
  PetscCall(PetscFree((*data)->mean));
  PetscCall(PetscFree((*data)->factor));
  PetscCall(PetscFree((*data)->normalise.mean.values));
  PetscCall(PetscFree((*data)->normalise.std.values));
  PetscCall(PetscFree((*data)->options));
  PetscCall(PetscFree(*data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One image that is not in memory, as the network gets it. */
static const char *ReadAgain(CourantDataset data, PetscInt sample, double image[])
{
  double label[COURANT_LABEL_WIDTH_MAX];
  const char *problem;

#pragma omp critical(courant_dataset_read)
  problem = data->ops->Read(data, data->options, sample, image, label);
  if (!problem) CourantNormaliseImage(data, image);
  return problem;
}

/*
  CourantBatchRead - The images of the batch's samples first .. first+n-1, [n,h,w,c], normalised and, if the
  batch asks for it, changed at random.

  Safe in threads. Returns NULL, or what went wrong (only images that stream from a file can fail).
*/
const char *CourantBatchRead(const CourantBatch *batch, PetscInt first, PetscInt n, double images[])
{
  const CourantDataset data = batch->data;
  const size_t size = CourantDatasetImageSize(data);
  const PetscBool augment =
      batch->augment && (data->augment.crop || data->augment.flip) ? PETSC_TRUE : PETSC_FALSE;

  for (PetscInt i = 0; i < n; i++, images += size) {
    const PetscInt sample = batch->samples ? batch->samples[first + i] : first + i;
    const double *source = data->images ? data->images + (size_t)sample * size : images;
    const char *problem = data->images ? NULL : ReadAgain(data, sample, images);
    if (problem) return problem;
    if (augment)
      CourantAugmentImage(batch, sample, source, images);
    else if (data->images)
      memcpy(images, source, size * sizeof(double));
  }
  return NULL;
}

/* CourantBatchLabels - Copies the labels of the batch's samples first .. first+n-1, [n,width]. */
void CourantBatchLabels(const CourantBatch *batch, PetscInt first, PetscInt n, double labels[])
{
  const size_t width = (size_t)batch->data->width;

  for (PetscInt i = 0; i < n; i++) {
    const PetscInt sample = batch->samples ? batch->samples[first + i] : first + i;
    memcpy(labels + (size_t)i * width, batch->data->labels + (size_t)sample * width, width * sizeof(double));
  }
}
