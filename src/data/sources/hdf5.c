#include "data/dataset.h"
#include <hdf5.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  char file[PETSC_MAX_PATH_LEN];
  char images[COURANT_TEXT_SIZE], labels[COURANT_TEXT_SIZE];
  char test_images[COURANT_TEXT_SIZE], test_labels[COURANT_TEXT_SIZE];
} Hdf5;

typedef struct {
  hid_t file, images, labels;
  double *planes; /* one sample as the file has it, [c,h,w] */
} State;

static const CourantKey keys[] = {
    {"file", COURANT_KEY_PATH, offsetof(Hdf5, file), NULL, .help = "an HDF5 file"},
    {"images", COURANT_KEY_TEXT, offsetof(Hdf5, images), "images", .help = "dataset [n,c,h,w] or [n,h,w]"},
    {"labels", COURANT_KEY_TEXT, offsetof(Hdf5, labels), "labels", .help = "dataset [n], or targets [n,k]"},
    {"test_images", COURANT_KEY_TEXT, offsetof(Hdf5, test_images), "", .help = "likewise, to judge by"},
    {"test_labels", COURANT_KEY_TEXT, offsetof(Hdf5, test_labels), "", .help = "likewise, to judge by"},
    {0},
};

/* A dataset of numbers with least..most dimensions; dataset is -1 after an error. */
static PetscErrorCode OpenNumbers(CourantNode node, hid_t file, const char *name, int least, int most,
                                  hid_t *dataset, hsize_t dims[4], int *rank)
{
  PetscFunctionBeginUser;
  const hid_t opened = H5Dopen(file, name, H5P_DEFAULT);
  *dataset = -1;
  if (opened < 0) CourantNodeError(node, "the file has no dataset '%s'", name);
  const hid_t space = H5Dget_space(opened), type = H5Dget_type(opened);
  const H5T_class_t kind = H5Tget_class(type);
  *rank = H5Sget_simple_extent_ndims(space);
  const PetscBool numbers = kind == H5T_FLOAT || kind == H5T_INTEGER ? PETSC_TRUE : PETSC_FALSE;
  const PetscBool fits = *rank >= least && *rank <= most ? PETSC_TRUE : PETSC_FALSE;
  if (fits) H5Sget_simple_extent_dims(space, dims, NULL);
  H5Sclose(space);
  H5Tclose(type);
  if (numbers && fits)
    *dataset = opened;
  else
    H5Dclose(opened);
  if (!numbers) CourantNodeError(node, "dataset '%s' holds no numbers", name);
  if (!fits)
    CourantNodeError(node, "dataset '%s' has %d dimensions; expected %s", name, *rank,
                     least == 1 ? "labels [n] or targets [n,k]" : "images [n,h,w] or [n,c,h,w]");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The file and both datasets, named as the keys of this split say. */
static PetscErrorCode OpenDatasets(CourantDataset data, CourantNode node, const char *const names[2],
                                   const char *const keys[2])
{
  const Hdf5 *o = (const Hdf5 *)data->options;
  const CourantNode file = CourantNodeChild(node, "file"), images = CourantNodeChild(node, keys[0]),
                    labels = CourantNodeChild(node, keys[1]);
  State *state = (State *)data->state;
  hsize_t dims[4] = {0}, targets[4] = {0};
  int rank;

  PetscFunctionBeginUser;
  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  if (access(o->file, R_OK)) CourantNodeError(file, "%s: %s", o->file, strerror(errno));
  state->file = H5Fopen(o->file, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (state->file < 0) CourantNodeError(file, "%s: not an HDF5 file, or damaged", o->file);
  PetscCall(OpenNumbers(images.id ? images : file, state->file, names[0], 3, 4, &state->images, dims, &rank));
  for (int i = 0; i < rank; i++)
    if (dims[i] > PETSC_MAX_INT) CourantNodeError(file, "dataset '%s' is too large", names[0]);
  data->n = (PetscInt)dims[0];
  data->c = rank == 4 ? (PetscInt)dims[1] : 1;
  data->h = (PetscInt)dims[rank - 2];
  data->w = (PetscInt)dims[rank - 1];
  PetscCall(
      OpenNumbers(labels.id ? labels : file, state->file, names[1], 1, 2, &state->labels, targets, &rank));
  if (targets[0] != dims[0])
    CourantNodeError(file, "'%s' holds %lld images but '%s' %lld labels", names[0], (long long)dims[0],
                     names[1], (long long)targets[0]);
  if (rank == 2 && (targets[1] < 1 || targets[1] > COURANT_LABEL_WIDTH_MAX))
    CourantNodeError(labels.id ? labels : file, "dataset '%s' has %lld targets a sample; expected 1 to %d",
                     names[1], (long long)targets[1], COURANT_LABEL_WIDTH_MAX);
  if (rank == 2) data->width = (PetscInt)targets[1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(CourantDataset data, CourantNode node, const void *options)
{
  const Hdf5 *o = (const Hdf5 *)options;
  const PetscBool test = data->split == COURANT_SPLIT_TEST ? PETSC_TRUE : PETSC_FALSE;
  State *state;

  PetscFunctionBeginUser;
  if (!o->test_images[0] != !o->test_labels[0])
    CourantNodeError(node, "the key '%s' is missing: test_images and test_labels go together",
                     o->test_images[0] ? "test_labels" : "test_images");
  if (test && !o->test_images[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscNew(&state));
  data->state = state;
  if (test)
    PetscCall(OpenDatasets(data, node, (const char *[]){o->test_images, o->test_labels},
                           (const char *[]){"test_images", "test_labels"}));
  else
    PetscCall(OpenDatasets(data, node, (const char *[]){o->images, o->labels},
                           (const char *[]){"images", "labels"}));
  state->planes = (double *)malloc(sizeof(double) * (CourantDatasetImageSize(data) + 1));
  PetscCheck(state->planes, PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for the data set");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Close(CourantDataset data)
{
  State *state = (State *)data->state;

  PetscFunctionBeginUser;
  if (!state) PetscFunctionReturn(PETSC_SUCCESS);
  if (state->images > 0) H5Dclose(state->images);
  if (state->labels > 0) H5Dclose(state->labels);
  if (state->file > 0) H5Fclose(state->file);
  free(state->planes);
  PetscCall(PetscFree(data->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a dataset has at this index of its first dimension. */
static herr_t ReadItem(hid_t dataset, PetscInt sample, double *values)
{
  const hsize_t start[4] = {(hsize_t)sample};
  const hid_t space = H5Dget_space(dataset);
  hsize_t count[4];

  H5Sget_simple_extent_dims(space, count, NULL);
  count[0] = 1;
  const hid_t memory = H5Screate_simple(H5Sget_simple_extent_ndims(space), count, NULL);
  H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
  const herr_t failed = H5Dread(dataset, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, values);
  H5Sclose(memory);
  H5Sclose(space);
  return failed;
}

static const char *Read(CourantDataset data, const void *options, PetscInt sample, double image[],
                        double label[])
{
  const State *state = (const State *)data->state;
  const size_t pixels = (size_t)data->h * (size_t)data->w, c = (size_t)data->c;

  (void)options;
  if (ReadItem(state->images, sample, state->planes) < 0 || ReadItem(state->labels, sample, label) < 0)
    return "cannot be read: the file is damaged";
  for (size_t k = 0; k < c; k++)
    for (size_t i = 0; i < pixels; i++) image[i * c + k] = state->planes[k * pixels + i];
  return NULL;
}

const CourantSourceOps CourantSource_hdf5 = {
    .name = "hdf5",
    .help = "images [n,c,h,w] or [n,h,w] and labels [n] or targets [n,k] of an HDF5 file",
    .keys = keys,
    .options_size = sizeof(Hdf5),
    .tests = PETSC_TRUE,
    .Open = Open,
    .Read = Read,
    .Close = Close,
};
