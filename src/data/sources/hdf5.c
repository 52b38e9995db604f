#include "data/dataset.h"
#include <hdf5.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  char file[PETSC_MAX_PATH_LEN];
  char images[COURANT_TEXT_SIZE], labels[COURANT_TEXT_SIZE];
} Hdf5;

typedef struct {
  hid_t file, images;
  double *labels; /* [n] */
  double *planes; /* one sample as the file has it, [c,h,w] */
} State;

static const CourantKey keys[] = {
    {"file", COURANT_KEY_PATH, offsetof(Hdf5, file), NULL, .help = "an HDF5 file"},
    {"images", COURANT_KEY_TEXT, offsetof(Hdf5, images), "images", .help = "dataset [n,c,h,w] or [n,h,w]"},
    {"labels", COURANT_KEY_TEXT, offsetof(Hdf5, labels), "labels", .help = "dataset [n]"},
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
                     least == 1 ? "labels [n]" : "images [n,h,w] or [n,c,h,w]");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(CourantDataset data, CourantNode node, const void *options)
{
  const Hdf5 *o = (const Hdf5 *)options;
  const CourantNode file = CourantNodeChild(node, "file"), images = CourantNodeChild(node, "images"),
                    labels = CourantNodeChild(node, "labels");
  State *state;
  hsize_t dims[4] = {0}, n[4] = {0};
  hid_t dataset;
  int rank;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&state));
  data->state = state;
  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  if (access(o->file, R_OK)) CourantNodeError(file, "%s: %s", o->file, strerror(errno));
  state->file = H5Fopen(o->file, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (state->file < 0) CourantNodeError(file, "%s: not an HDF5 file, or damaged", o->file);
  PetscCall(
      OpenNumbers(images.id ? images : file, state->file, o->images, 3, 4, &state->images, dims, &rank));
  for (int i = 0; i < rank; i++)
    if (dims[i] > PETSC_MAX_INT) CourantNodeError(file, "dataset '%s' is too large", o->images);
  data->n = (PetscInt)dims[0];
  data->c = rank == 4 ? (PetscInt)dims[1] : 1;
  data->h = (PetscInt)dims[rank - 2];
  data->w = (PetscInt)dims[rank - 1];
  PetscCall(OpenNumbers(labels.id ? labels : file, state->file, o->labels, 1, 1, &dataset, n, &rank));
  if (n[0] != dims[0]) H5Dclose(dataset);
  if (n[0] != dims[0])
    CourantNodeError(file, "'%s' holds %lld images but '%s' %lld labels", o->images, (long long)dims[0],
                     o->labels, (long long)n[0]);
  state->labels = (double *)malloc(sizeof(double) * (n[0] + 1));
  state->planes = (double *)malloc(sizeof(double) * (CourantDatasetImageSize(data) + 1));
  PetscCheck(state->labels && state->planes, PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for the data set");
  const herr_t failed = H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, state->labels);
  H5Dclose(dataset);
  if (failed < 0) CourantNodeError(file, "%s: cannot read '%s': the file is damaged", o->file, o->labels);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Close(CourantDataset data)
{
  State *state = (State *)data->state;

  PetscFunctionBeginUser;
  if (!state) PetscFunctionReturn(PETSC_SUCCESS);
  if (state->images > 0) H5Dclose(state->images);
  if (state->file > 0) H5Fclose(state->file);
  free(state->labels);
  free(state->planes);
  PetscCall(PetscFree(data->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char *Read(CourantDataset data, const void *options, PetscInt sample, double image[],
                        double label[])
{
  const State *state = (const State *)data->state;
  const hid_t space = H5Dget_space(state->images);
  const int rank = H5Sget_simple_extent_ndims(space);
  const hsize_t start[4] = {(hsize_t)sample}, h = (hsize_t)data->h, w = (hsize_t)data->w,
                c = (hsize_t)data->c;
  const hsize_t count[4] = {1, rank == 4 ? c : h, rank == 4 ? h : w, w};
  const hid_t memory = H5Screate_simple(rank, count, NULL);

  (void)options;
  H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
  const herr_t failed = H5Dread(state->images, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, state->planes);
  H5Sclose(memory);
  H5Sclose(space);
  if (failed < 0) return "cannot be read: the file is damaged";
  for (size_t k = 0; k < c; k++)
    for (size_t i = 0; i < h * w; i++) image[i * c + k] = state->planes[k * h * w + i];
  *label = state->labels[sample];
  return NULL;
}

const CourantSourceOps CourantSource_hdf5 = {
    .name = "hdf5",
    .help = "images [n,c,h,w] or [n,h,w] and labels [n] of an HDF5 file",
    .keys = keys,
    .options_size = sizeof(Hdf5),
    .Open = Open,
    .Read = Read,
    .Close = Close,
};
