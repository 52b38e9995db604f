#include "data/dataset.h"
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

static const CourantKey common[] = {
    {"source", COURANT_KEY_NODE, 0, "", .help = "where the samples come from"},
    {"limit", COURANT_KEY_INT, sizeof(CourantNode), "", 1, INFINITY, .help = "use the first so many samples"},
    {0},
};

typedef struct {
  CourantNode source;
  PetscInt limit;
} Common;

size_t CourantDatasetImageSize(CourantDataset data)
{
  return (size_t)data->h * (size_t)data->w * (size_t)data->c;
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
    double *image = data->images ? data->images + (size_t)i * size : one;
    double *label = data->labels + (size_t)i * width;
    const char *problem = data->ops->Read(data, data->options, i, image, label);
    if (problem) CourantNodeError(data->node, "sample %d: %s", (int)i, problem);
    for (size_t k = 0; k < size; k++)
      if (!isfinite(image[k]))
        CourantNodeError(
            data->node, "sample %d has the value %g at row %zu, column %zu; all have to be finite", (int)i,
            image[k], k / (size_t)data->c / (size_t)data->w, k / (size_t)data->c % (size_t)data->w);
    for (size_t k = 0; k < width; k++)
      if (!isfinite(label[k])) CourantNodeError(data->node, "sample %d has the label %g", (int)i, label[k]);
  }
  CourantFree(&one);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(CourantNode node, CourantSplit split, double budget, CourantDataset *result)
{
  CourantDataset data;
  Common settings = {.limit = PETSC_MAX_INT};
  int entry;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&data));
  *result = data;
  data->node = node;
  data->split = split;
  data->width = 1;
  PetscCall(CourantNodeSelect(node, "source", NULL, PETSC_STATIC_ARRAY_LENGTH(sources), names, &entry));
  data->ops = sources[entry];
  PetscCall(PetscCalloc(data->ops->options_size, &data->options));
  PetscCall(
      CourantNodeRead(node, 2, (CourantTable[]){{common, &settings}, {data->ops->keys, data->options}}));
  if (split == COURANT_SPLIT_TRAIN || data->ops->tests) PetscCall(data->ops->Open(data, node, data->options));
  if (split == COURANT_SPLIT_TEST && data->n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  if (data->n < 1 || CourantDatasetImageSize(data) == 0) CourantNodeError(node, "the data set is empty");
  if (split == COURANT_SPLIT_TRAIN) data->n = PetscMin(data->n, settings.limit);
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
  PetscCall(Open(node, COURANT_SPLIT_TRAIN, budget, data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDatasetCreateTest - The test samples that go with `train`; NULL where the source has none. */
PetscErrorCode CourantDatasetCreateTest(CourantDataset train, double budget, CourantDataset *test)
{
  PetscFunctionBeginUser;
  PetscCall(Open(train->node, COURANT_SPLIT_TEST, budget, test));
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
  PetscCall(PetscFree((*data)->options));
  PetscCall(PetscFree(*data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantBatchRead - Copies the images of the batch's samples first .. first+n-1, [n,h,w,c].

  Safe in threads. Returns NULL, or what went wrong (only images that stream from a file can fail).
*/
const char *CourantBatchRead(const CourantBatch *batch, PetscInt first, PetscInt n, double images[])
{
  const CourantDataset data = batch->data;
  const size_t size = CourantDatasetImageSize(data);
  const char *problem = NULL;

  for (PetscInt i = 0; i < n && !problem; i++, images += size) {
    const PetscInt sample = batch->samples ? batch->samples[first + i] : first + i;
    if (data->images)
      memcpy(images, data->images + (size_t)sample * size, size * sizeof(double));
    else {
      double label[COURANT_LABEL_WIDTH_MAX];
#pragma omp critical(courant_dataset_read)
      problem = data->ops->Read(data, data->options, sample, images, label);
    }
  }
  return problem;
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
