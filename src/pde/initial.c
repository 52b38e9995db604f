/* Initial states of a linear PDE. */
#include "core/random.h"
#include "pde/term.h"
#include <errno.h>
#include <hdf5.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  CourantNode random, mode;
  char file[PETSC_MAX_PATH_LEN];
} Keys;

struct _CourantInitial {
  uint64_t seed;
  PetscBool is_mode;
  PetscInt mode[2]; /* ky, kx */
  double *values;   /* [points,fields] of a file; NULL: there is none */
};

const CourantKey CourantInitialKeys[] = {
    {"random", COURANT_KEY_NODE, offsetof(Keys, random), "",
     .help = "{seed: n}: independent normal numbers (this, with seed 1)"},
    {"mode", COURANT_KEY_NODE, offsetof(Keys, mode), "",
     .help = "[ky, kx], or k: one mode of the grid in the first field: cosines of ky and kx periods; half "
             "periods of cosines (neumann) or sines (dirichlet)"},
    {"file", COURANT_KEY_PATH, offsetof(Keys, file), "", .help = "HDF5 with a dataset u [fields, ny, nx]"},
    {0},
};

static const CourantKey random_keys[] = {
    {"seed", COURANT_KEY_SEED, 0, "1", 0, 9e15, .help = "of the random numbers"},
    {0},
};

/* ---- a file ---- */

/* The shape without dimensions of 1, which may stand in a file or not. */
static int Squeeze(int rank, const hsize_t dims[], hsize_t shape[])
{
  int n = 0;

  for (int i = 0; i < rank; i++)
    if (dims[i] != 1) shape[n++] = dims[i];
  return n;
}

/* The dataset u into values [fields,ny,nx]; false: it is not there, not of this shape, or not readable. */
static PetscBool ReadDataset(hid_t file, const hsize_t wanted[3], double values[])
{
  hsize_t dims[H5S_MAX_RANK], shape[H5S_MAX_RANK], expected[3];
  PetscBool read = PETSC_FALSE;

  if (H5Lexists(file, "u", H5P_DEFAULT) <= 0) return PETSC_FALSE;
  const hid_t dataset = H5Dopen(file, "u", H5P_DEFAULT);
  if (dataset < 0) return PETSC_FALSE;
  const hid_t space = H5Dget_space(dataset);
  const int rank = H5Sget_simple_extent_dims(space, dims, NULL), n = Squeeze(3, wanted, expected);
  if (rank >= 0 && Squeeze(rank, dims, shape) == n && !memcmp(shape, expected, (size_t)n * sizeof *shape))
    read = H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0 ? PETSC_TRUE
                                                                                           : PETSC_FALSE;
  H5Sclose(space);
  H5Dclose(dataset);
  return read;
}

static PetscErrorCode ReadFile(CourantScheme scheme, CourantNode node, const char *name)
{
  const hsize_t shape[3] = {(hsize_t)scheme->fields, (hsize_t)scheme->points[0], (hsize_t)scheme->points[1]};
  const hsize_t points = shape[1] * shape[2];
  double *planes;

  PetscFunctionBeginUser;
  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  if (access(name, R_OK)) CourantNodeError(node, "%s: %s", name, strerror(errno));
  const hid_t file = H5Fopen(name, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file < 0) CourantNodeError(node, "%s: not an HDF5 file, or damaged", name);
  PetscCall(PetscMalloc1(points * shape[0], &planes));
  PetscCall(PetscMalloc1(points * shape[0], &scheme->initial->values));
  const PetscBool read = ReadDataset(file, shape, planes);
  H5Fclose(file);
  if (!read)
    CourantNodeError(node, "%s: expected a dataset 'u' of %d x %d x %d numbers: fields, y, x", name,
                     (int)shape[0], (int)shape[1], (int)shape[2]);
  for (hsize_t f = 0; f < shape[0]; f++)
    for (hsize_t i = 0; i < points; i++) {
      const double value = planes[f * points + i];
      if (!isfinite(value)) CourantNodeError(node, "%s: a number of the dataset 'u' is %g", name, value);
      scheme->initial->values[i * shape[0] + f] = value;
    }
  PetscCall(PetscFree(planes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the section ---- */

/*
  The modes that a grid can tell apart; beyond, a mode is one of these again or, with dirichlet, 0 everywhere.
*/
static PetscErrorCode CheckMode(CourantScheme scheme, CourantNode node)
{
  const PetscInt *mode = scheme->initial->mode;

  PetscFunctionBeginUser;
  for (PetscInt d = 2 - scheme->dimension; d < 2; d++) {
    const PetscInt n = scheme->points[d];
    const PetscInt first[] = {-(n / 2), 1, 0}, last[] = {n / 2, n, n - 1}; /* by boundary */
    if (mode[d] < first[scheme->boundary] || mode[d] > last[scheme->boundary])
      CourantNodeError(node, "mode %d is not one of a grid of %d points: expected %d to %d", (int)mode[d],
                       (int)n, (int)first[scheme->boundary], (int)last[scheme->boundary]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantInitialRead(CourantScheme scheme, CourantNode node)
{
  Keys keys = {.file = ""};
  CourantInitial initial;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&initial));
  scheme->initial = initial;
  PetscCall(CourantNodeRead(node, 1, (CourantTable[]){{CourantInitialKeys, &keys}}));
  if ((keys.random.id != 0) + (keys.mode.id != 0) + (keys.file[0] != 0) > 1)
    CourantNodeError(node, "expected one of random, mode and file");
  PetscCall(CourantNodeRead(keys.random, 1, (CourantTable[]){{random_keys, &initial->seed}}));
  scheme->model.seed = initial->seed;
  if (keys.mode.id) {
    initial->is_mode = PETSC_TRUE;
    PetscCall(CourantReadIntegerPair(keys.mode, scheme->dimension, initial->mode));
    PetscCall(CheckMode(scheme, keys.mode));
  }
  if (keys.file[0]) PetscCall(ReadFile(scheme, CourantNodeChild(node, "file"), keys.file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantInitialDestroy(CourantInitial *initial)
{
  PetscFunctionBeginUser;
  if (*initial) PetscCall(PetscFree((*initial)->values));
  PetscCall(PetscFree(*initial));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- states ---- */

/* A mode of the grid along one axis: of the boundary's own eigenvectors of the second difference. */
static double Angle(int boundary, PetscInt mode, PetscInt j, PetscInt n)
{
  return boundary == COURANT_BOUNDARY_PERIODIC    ? 2 * M_PI * (double)mode * (double)j / (double)n
         : boundary == COURANT_BOUNDARY_DIRICHLET ? M_PI * (double)mode * (double)(j + 1) / (double)(n + 1)
                                                  : M_PI * (double)mode * ((double)j + 0.5) / (double)n;
}

static double Mode(CourantScheme scheme, PetscInt y, PetscInt x)
{
  const PetscInt *mode = scheme->initial->mode;
  const double ax = Angle(scheme->boundary, mode[1], x, scheme->points[1]);
  const double ay = scheme->dimension == 2 ? Angle(scheme->boundary, mode[0], y, scheme->points[0]) : 0;

  if (scheme->boundary == COURANT_BOUNDARY_PERIODIC) return cos(ay + ax);
  if (scheme->boundary == COURANT_BOUNDARY_NEUMANN) return cos(ay) * cos(ax);
  return (scheme->dimension == 2 ? sin(ay) : 1) * sin(ax);
}

/*
  CourantSchemeGetInitialState - Number `which` of the starts into a vector of the matrix's layout; the deck's
  own is 0.

  The others are for measuring what becomes of several fields: other random numbers, the mode in field
  `which`, random numbers in place of a file. The same for any number of ranks.
*/
PetscErrorCode CourantSchemeGetInitialState(CourantScheme scheme, PetscInt which, Vec u)
{
  const CourantInitial initial = scheme->initial;
  PetscInt start, end;
  PetscScalar *array;

  PetscFunctionBeginUser;
  PetscCall(VecGetOwnershipRange(u, &start, &end));
  PetscCall(VecGetArrayWrite(u, &array));
  for (PetscInt row = start; row < end; row++) {
    const PetscInt field = row % scheme->fields, point = row / scheme->fields;
    const CourantRandom stream = {.seed = initial->seed,
                                  .purpose = COURANT_RANDOM_START,
                                  .index = (uint32_t)row,
                                  .epoch = (uint32_t)which};
    if (initial->is_mode)
      array[row - start] = field == which % scheme->fields
                               ? Mode(scheme, point / scheme->points[1], point % scheme->points[1])
                               : 0;
    else if (initial->values && which == 0)
      array[row - start] = initial->values[row];
    else
      CourantRandomNormal(stream, 1, &array[row - start]);
  }
  PetscCall(VecRestoreArrayWrite(u, &array));
  PetscFunctionReturn(PETSC_SUCCESS);
}
