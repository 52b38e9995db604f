#include "core/result.h"
#include <errno.h>
#include <fcntl.h>
#define H5O_info_t_vers 1 /* the same visitor for HDF5 1.10 and later */
#define H5Ovisit_vers   1
#include <hdf5.h>
#include <hdf5_hl.h>
#include <libgen.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct _CourantResult {
  hid_t file; /* core driver, no backing store: nothing HDF5 does can leave half a file on the disk */
  char name[PETSC_MAX_PATH_LEN]; /* of the file it was loaded from, "" */
};

#define CheckH5(call) PetscCheck((call) >= 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "HDF5 failed in %s", #call)

/* The same on what is in the result: where that was loaded, the file is at fault. */
#define CheckFile(result, call)                                                                              \
  do {                                                                                                       \
    if ((call) >= 0) break;                                                                                  \
    if ((result)->name[0]) CourantInputError(PETSC_COMM_SELF, "%s: damaged HDF5 file", (result)->name);      \
    SETERRQ(PETSC_COMM_SELF, PETSC_ERR_LIB, "HDF5 failed in %s", #call);                                     \
  } while (0)

static hid_t MemoryType(CourantResultType type)
{
  return type == COURANT_RESULT_REAL  ? H5T_NATIVE_DOUBLE
         : type == COURANT_RESULT_INT ? H5T_NATIVE_INT
                                      : H5T_NATIVE_UINT8;
}

static hid_t FileType(CourantResultType type)
{
  return type == COURANT_RESULT_REAL  ? H5T_IEEE_F64LE
         : type == COURANT_RESULT_INT ? H5T_STD_I32LE
                                      : H5T_STD_U8LE;
}

static PetscErrorCode Wrap(hid_t file, const char name[], CourantResult *result)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(result));
  (*result)->file = file;
  PetscCall(PetscStrncpy((*result)->name, name, sizeof(*result)->name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static hid_t CoreDriver(void)
{
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_fapl_core(access, 1 << 20, 0);
  return access;
}

/* CourantResultCreate - An empty result, in memory. */
PetscErrorCode CourantResultCreate(CourantResult *result)
{
  PetscFunctionBeginUser;
  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  const hid_t access = CoreDriver(), file = H5Fcreate("courant", H5F_ACC_TRUNC, H5P_DEFAULT, access);
  CheckH5(file);
  CheckH5(H5Pclose(access));
  PetscCall(Wrap(file, "", result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(const char name[], unsigned flags, CourantResult *result)
{
  PetscFunctionBeginUser;
  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  if (access(name, R_OK)) CourantInputError(PETSC_COMM_SELF, "%s: %s", name, strerror(errno));
  if (H5Fis_hdf5(name) <= 0) CourantInputError(PETSC_COMM_SELF, "%s: not an HDF5 file", name);
  const hid_t access = CoreDriver(), file = H5Fopen(name, flags, access);
  if (file < 0) CourantInputError(PETSC_COMM_SELF, "%s: damaged HDF5 file", name);
  CheckH5(H5Pclose(access));
  PetscCall(Wrap(file, name, result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultLoad - Reads a result file whole into memory; later changes do not reach the file. */
PetscErrorCode CourantResultLoad(const char name[], CourantResult *result)
{
  PetscFunctionBeginUser;
  PetscCall(Open(name, H5F_ACC_RDWR, result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultOpen - The same, to be read alone: HDF5 would write to a damaged file as it closes it, and end
 * the program. */
PetscErrorCode CourantResultOpen(const char name[], CourantResult *result)
{
  PetscFunctionBeginUser;
  PetscCall(Open(name, H5F_ACC_RDONLY, result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantResultDestroy(CourantResult *result)
{
  PetscFunctionBeginUser;
  if (!*result) PetscFunctionReturn(PETSC_SUCCESS);
  CheckFile(*result, H5Fclose((*result)->file));
  PetscCall(PetscFree(*result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int WriteAll(int fd, const char *bytes, size_t n)
{
  while (n) {
    const ssize_t written = write(fd, bytes, n);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return -1;
    bytes += written;
    n -= (size_t)written;
  }
  return 0;
}

static int SyncFolder(const char *name)
{
  char copy[PETSC_MAX_PATH_LEN];
  snprintf(copy, sizeof copy, "%s", name);
  const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY);
  if (fd < 0) return -1;
  const int failed = fsync(fd) && errno != EINVAL; /* some file systems cannot sync a folder */
  close(fd);
  return failed ? -1 : 0;
}

/*
  CourantResultSave - Puts the result on the disk: written beside the name, flushed, renamed over it.

  Whatever goes wrong, `name` holds either what it held before or the whole new content. Fails with
  PETSC_ERR_FILE_WRITE.
*/
PetscErrorCode CourantResultSave(CourantResult result, const char name[])
{
  char beside[PETSC_MAX_PATH_LEN];
  void *image = NULL;

  PetscFunctionBeginUser;
  CheckFile(result, H5Fflush(result->file, H5F_SCOPE_GLOBAL));
  const ssize_t size = H5Fget_file_image(result->file, NULL, 0);
  CheckFile(result, size);
  PetscCall(PetscMalloc((size_t)size, &image));
  CheckFile(result, H5Fget_file_image(result->file, image, (size_t)size));
  PetscCheck((size_t)snprintf(beside, sizeof beside, "%s.tmp", name) < sizeof beside, PETSC_COMM_SELF,
             PETSC_ERR_FILE_WRITE, "%s: name too long", name);

  int error = 0;
  const int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0)
    error = errno;
  else {
    if (WriteAll(fd, image, (size_t)size) || fsync(fd)) error = errno;
    if (close(fd) && !error) error = errno;
    if (!error && rename(beside, name)) error = errno;
    if (error)
      unlink(beside);
    else if (SyncFolder(name))
      error = errno;
  }
  PetscCall(PetscFree(image));
  PetscCheck(!error, PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "%s: cannot write the result: %s", name,
             strerror(error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetAttribute(CourantResult result, const char object[], const char name[],
                                   hid_t file_type, hid_t memory_type, hsize_t n, const void *value)
{
  PetscFunctionBeginUser;
  const hid_t space = n ? H5Screate_simple(1, &n, NULL) : H5Screate(H5S_SCALAR);
  CheckH5(space);
  if (H5Aexists_by_name(result->file, object, name, H5P_DEFAULT) > 0)
    CheckFile(result, H5Adelete_by_name(result->file, object, name, H5P_DEFAULT));
  const hid_t attribute =
      H5Acreate_by_name(result->file, object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  CheckFile(result, attribute);
  CheckFile(result, H5Awrite(attribute, memory_type, value));
  CheckFile(result, H5Aclose(attribute));
  CheckH5(H5Sclose(space));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultSetString - A fixed-length UTF-8 attribute of a group or dataset; replaces one that is there.
 */
PetscErrorCode CourantResultSetString(CourantResult result, const char object[], const char name[],
                                      const char text[])
{
  PetscFunctionBeginUser;
  const hid_t type = H5Tcopy(H5T_C_S1);
  CheckH5(H5Tset_size(type, strlen(text) + 1)); /* room for the 0: HDF5 forbids length 0 */
  CheckH5(H5Tset_cset(type, H5T_CSET_UTF8));
  PetscCall(SetAttribute(result, object, name, type, type, 0, text));
  CheckH5(H5Tclose(type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantResultSetReal(CourantResult result, const char object[], const char name[],
                                    double value)
{
  PetscFunctionBeginUser;
  PetscCall(SetAttribute(result, object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 0, &value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantResultSetInt(CourantResult result, const char object[], const char name[], int value)
{
  PetscFunctionBeginUser;
  PetscCall(SetAttribute(result, object, name, H5T_STD_I32LE, H5T_NATIVE_INT, 0, &value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Opens an attribute of one value; 0: there is none. */
static PetscErrorCode OpenAttribute(CourantResult result, const char object[], const char name[],
                                    hid_t *attribute)
{
  PetscFunctionBeginUser;
  *attribute = 0;
  if (H5Aexists_by_name(result->file, object, name, H5P_DEFAULT) <= 0) PetscFunctionReturn(PETSC_SUCCESS);
  *attribute = H5Aopen_by_name(result->file, object, name, H5P_DEFAULT, H5P_DEFAULT);
  CheckFile(result, *attribute);
  const hid_t space = H5Aget_space(*attribute);
  CheckFile(result, space);
  const hssize_t points = H5Sget_simple_extent_npoints(space);
  CheckH5(H5Sclose(space));
  if (points == 1) PetscFunctionReturn(PETSC_SUCCESS);
  CheckFile(result, H5Aclose(*attribute));
  *attribute = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultGetString - A string attribute; text is NULL where there is none, else freed with PetscFree().
 */
PetscErrorCode CourantResultGetString(CourantResult result, const char object[], const char name[],
                                      char **text)
{
  hid_t attribute;

  PetscFunctionBeginUser;
  *text = NULL;
  PetscCall(OpenAttribute(result, object, name, &attribute));
  if (!attribute) PetscFunctionReturn(PETSC_SUCCESS);
  const hid_t type = H5Aget_type(attribute);
  CheckFile(result, type);
  if (H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0) {
    PetscCall(PetscCalloc1(H5Tget_size(type) + 1, text));
    CheckFile(result, H5Aread(attribute, type, *text));
  }
  CheckH5(H5Tclose(type));
  CheckFile(result, H5Aclose(attribute));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultGetReal - A numerical attribute, NaN where there is none. */
PetscErrorCode CourantResultGetReal(CourantResult result, const char object[], const char name[],
                                    double *value)
{
  hid_t attribute;

  PetscFunctionBeginUser;
  *value = NAN;
  PetscCall(OpenAttribute(result, object, name, &attribute));
  if (!attribute) PetscFunctionReturn(PETSC_SUCCESS);
  CheckFile(result, H5Aread(attribute, H5T_NATIVE_DOUBLE, value));
  CheckFile(result, H5Aclose(attribute));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  A dataset filled with "not computed"; its groups are made on the
  way, without time stamps, so that equal results are equal files.
*/
static PetscErrorCode CreateDataset(CourantResult result, const char path[], CourantResultType type, int rank,
                                    const hsize_t dims[], hid_t *dataset)
{
  static const double no_real = NAN;
  static const int no_int = -1;
  static const uint8_t no_enum = COURANT_UNSET;
  const void *const fill[] = {&no_real, &no_int, &no_enum};

  PetscFunctionBeginUser;
  const hid_t links = H5Pcreate(H5P_LINK_CREATE), create = H5Pcreate(H5P_DATASET_CREATE);
  const hid_t space = H5Screate_simple(rank, dims, NULL);
  CheckH5(H5Pset_create_intermediate_group(links, 1));
  CheckH5(H5Pset_obj_track_times(create, 0));
  CheckH5(H5Pset_fill_value(create, MemoryType(type), fill[type]));
  CheckH5(H5Pset_fill_time(create, H5D_FILL_TIME_ALLOC));
  CheckH5(H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY));
  *dataset = H5Dcreate(result->file, path, FileType(type), space, links, create, H5P_DEFAULT);
  PetscCheck(*dataset >= 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "HDF5 cannot create %s", path);
  CheckH5(H5Sclose(space));
  CheckH5(H5Pclose(create));
  CheckH5(H5Pclose(links));
  if (type != COURANT_RESULT_REAL)
    PetscCall(SetAttribute(result, path, "_FillValue", FileType(type), MemoryType(type), 1, fill[type]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantResultAddScale - A dimension with its values [n],
  which datasets of the same group refer to by its path.
*/
PetscErrorCode CourantResultAddScale(CourantResult result, const char path[], int n, const double values[],
                                     const char long_name[], const char units[])
{
  const hsize_t dim = (hsize_t)n;
  hid_t dataset;

  PetscFunctionBeginUser;
  PetscCall(CreateDataset(result, path, COURANT_RESULT_REAL, 1, &dim, &dataset));
  CheckFile(result, H5Dwrite(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
  CheckFile(result, H5DSset_scale(dataset, strrchr(path, '/') + 1));
  CheckFile(result, H5Dclose(dataset));
  PetscCall(CourantResultSetString(result, path, "long_name", long_name));
  PetscCall(CourantResultSetString(result, path, "units", units));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultAddCount - A dimension whose values count from `first`. */
PetscErrorCode CourantResultAddCount(CourantResult result, const char path[], int n, int first,
                                     const char long_name[], const char units[])
{
  double *values;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &values));
  for (int i = 0; i < n; i++) values[i] = first + (double)i;
  PetscCall(CourantResultAddScale(result, path, n, values, long_name, units));
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultAddArray - A dataset of numbers without dimension scales, such as a tensor of weights; rank at
 * most 4. */
PetscErrorCode CourantResultAddArray(CourantResult result, const char path[], int rank, const size_t dims[],
                                     const double values[], const char long_name[])
{
  hsize_t extent[4];
  hid_t dataset;

  PetscFunctionBeginUser;
  for (int i = 0; i < rank; i++) extent[i] = (hsize_t)dims[i];
  PetscCall(CourantResultDelete(result, path));
  PetscCall(CreateDataset(result, path, COURANT_RESULT_REAL, rank, extent, &dataset));
  CheckFile(result, H5Dwrite(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
  CheckFile(result, H5Dclose(dataset));
  PetscCall(CourantResultSetString(result, path, "long_name", long_name));
  PetscCall(CourantResultSetString(result, path, "units", "1"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultAddStrings - n names along a scale that is there already, as fixed-length UTF-8. */
PetscErrorCode CourantResultAddStrings(CourantResult result, const char path[], const char scale[], int n,
                                       const char *const values[], const char long_name[])
{
  const hsize_t dim = (hsize_t)n;
  size_t length = 1;
  char *text;

  PetscFunctionBeginUser;
  for (int i = 0; i < n; i++) length = PetscMax(length, strlen(values[i]));
  PetscCall(PetscCalloc((size_t)n * length + 1, &text));
  for (int i = 0; i < n; i++) memcpy(text + (size_t)i * length, values[i], strlen(values[i]));
  const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &dim, NULL);
  const hid_t links = H5Pcreate(H5P_LINK_CREATE), create = H5Pcreate(H5P_DATASET_CREATE);
  CheckH5(H5Tset_size(type, length));
  CheckH5(H5Tset_strpad(type, H5T_STR_NULLPAD));
  CheckH5(H5Tset_cset(type, H5T_CSET_UTF8));
  CheckH5(H5Pset_create_intermediate_group(links, 1));
  CheckH5(H5Pset_obj_track_times(create, 0));
  const hid_t dataset = H5Dcreate(result->file, path, type, space, links, create, H5P_DEFAULT);
  PetscCheck(dataset >= 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "HDF5 cannot create %s", path);
  const hid_t names = H5Dopen(result->file, scale, H5P_DEFAULT);
  PetscCheck(names >= 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "no scale %s", scale);
  CheckFile(result, H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text));
  CheckFile(result, H5DSattach_scale(dataset, names, 0));
  CheckFile(result, H5Dclose(names));
  CheckFile(result, H5Dclose(dataset));
  CheckH5(H5Pclose(create));
  CheckH5(H5Pclose(links));
  CheckH5(H5Sclose(space));
  CheckH5(H5Tclose(type));
  PetscCall(PetscFree(text));
  PetscCall(CourantResultSetString(result, path, "long_name", long_name));
  PetscCall(CourantResultSetString(result, path, "units", "1"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultDelete - Takes a dataset or group away, if it is there. */
PetscErrorCode CourantResultDelete(CourantResult result, const char path[])
{
  char parent[256];

  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(parent, path, sizeof parent));
  char *slash = strrchr(parent, '/');
  if (slash && slash != parent) {
    *slash = 0;
    if (H5Lexists(result->file, parent, H5P_DEFAULT) <= 0) PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (H5Lexists(result->file, path, H5P_DEFAULT) > 0)
    CheckFile(result, H5Ldelete(result->file, path, H5P_DEFAULT));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* flag_values and flag_meanings of the CF conventions. */
static PetscErrorCode SetMeanings(CourantResult result, const char path[], const char meanings[])
{
  uint8_t values[32];
  hsize_t n = 1;

  PetscFunctionBeginUser;
  for (const char *c = meanings; *c; c++) n += *c == ' ';
  for (hsize_t i = 0; i < n; i++) values[i] = (uint8_t)i;
  PetscCall(SetAttribute(result, path, "flag_values", H5T_STD_U8LE, H5T_NATIVE_UINT8, n, values));
  PetscCall(CourantResultSetString(result, path, "flag_meanings", meanings));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultAdd - A dataset over scales that are there already, filled with "not computed". */
PetscErrorCode CourantResultAdd(CourantResult result, const CourantResultEntry *entry)
{
  hsize_t dims[COURANT_RANK_MAX];
  hid_t scales[COURANT_RANK_MAX], dataset;
  int rank = 0;

  PetscFunctionBeginUser;
  for (; rank < COURANT_RANK_MAX && entry->scales[rank]; rank++) {
    scales[rank] = H5Dopen(result->file, entry->scales[rank], H5P_DEFAULT);
    PetscCheck(scales[rank] >= 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "no scale %s", entry->scales[rank]);
    const hid_t space = H5Dget_space(scales[rank]);
    CheckH5(H5Sget_simple_extent_dims(space, &dims[rank], NULL));
    CheckH5(H5Sclose(space));
  }
  PetscCall(CreateDataset(result, entry->path, entry->type, rank, dims, &dataset));
  for (int i = 0; i < rank; i++) {
    CheckFile(result, H5DSattach_scale(dataset, scales[i], (unsigned)i));
    CheckFile(result, H5Dclose(scales[i]));
  }
  CheckFile(result, H5Dclose(dataset));
  PetscCall(CourantResultSetString(result, entry->path, "long_name", entry->long_name));
  PetscCall(CourantResultSetString(result, entry->path, "units", entry->units));
  if (entry->formula) PetscCall(CourantResultSetString(result, entry->path, "formula", entry->formula));
  if (entry->meanings) PetscCall(SetMeanings(result, entry->path, entry->meanings));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Opens a dataset; its type and size decide how many values the caller's array holds. */
static PetscErrorCode OpenDataset(CourantResult result, const char path[], hid_t *dataset, hid_t *memory)
{
  PetscFunctionBeginUser;
  *dataset = H5Dopen(result->file, path, H5P_DEFAULT);
  if (*dataset < 0)
    CourantInputError(PETSC_COMM_SELF, "%s: damaged HDF5 file: no dataset %s", result->name, path);
  const hid_t type = H5Dget_type(*dataset);
  *memory = H5Tget_class(type) == H5T_FLOAT ? H5T_NATIVE_DOUBLE
            : H5Tget_size(type) == 1        ? H5T_NATIVE_UINT8
                                            : H5T_NATIVE_INT;
  CheckH5(H5Tclose(type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultWrite - The whole of a dataset, row-major, from doubles, ints or bytes as its type has it. */
PetscErrorCode CourantResultWrite(CourantResult result, const char path[], const void *values)
{
  hid_t dataset, memory;

  PetscFunctionBeginUser;
  PetscCall(OpenDataset(result, path, &dataset, &memory));
  CheckFile(result, H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
  CheckFile(result, H5Dclose(dataset));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultAddValues - A dataset with its values, as CourantResultAdd() and CourantResultWrite(). */
PetscErrorCode CourantResultAddValues(CourantResult result, const CourantResultEntry *entry,
                                      const void *values)
{
  PetscFunctionBeginUser;
  PetscCall(CourantResultAdd(result, entry));
  PetscCall(CourantResultWrite(result, entry->path, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultSize - Rank and dimensions of a dataset; rank is -1 where there is none. */
PetscErrorCode CourantResultSize(CourantResult result, const char path[], int *rank,
                                 size_t dims[COURANT_RANK_MAX])
{
  hsize_t extent[H5S_MAX_RANK];

  PetscFunctionBeginUser;
  *rank = -1;
  if (H5Lexists(result->file, path, H5P_DEFAULT) <= 0) PetscFunctionReturn(PETSC_SUCCESS);
  const hid_t dataset = H5Dopen(result->file, path, H5P_DEFAULT);
  if (dataset < 0) PetscFunctionReturn(PETSC_SUCCESS);
  const hid_t space = H5Dget_space(dataset);
  *rank = H5Sget_simple_extent_dims(space, extent, NULL);
  for (int i = 0; i < *rank && i < COURANT_RANK_MAX; i++) dims[i] = (size_t)extent[i];
  CheckH5(H5Sclose(space));
  CheckFile(result, H5Dclose(dataset));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultRead - The whole of a dataset of n values; another number of values is an error. */
PetscErrorCode CourantResultRead(CourantResult result, const char path[], CourantResultType type, size_t n,
                                 void *values)
{
  hid_t dataset, memory;

  PetscFunctionBeginUser;
  PetscCall(OpenDataset(result, path, &dataset, &memory));
  const hid_t space = H5Dget_space(dataset);
  const hssize_t points = H5Sget_simple_extent_npoints(space);
  CheckH5(H5Sclose(space));
  if (points != (hssize_t)n)
    CourantInputError(PETSC_COMM_SELF, "%s: %s holds %lld values where %zu were expected", result->name, path,
                      (long long)points, n);
  CheckFile(result, H5Dread(dataset, MemoryType(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
  CheckFile(result, H5Dclose(dataset));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  CourantResult result;
  void (*Visit)(const char *, int, const size_t[], const char *);
} Visitor;

static herr_t VisitObject(hid_t file, const char *name, const H5O_info_t *info, void *ctx)
{
  const Visitor *visitor = (const Visitor *)ctx;
  char path[512], *long_name = NULL;
  size_t dims[COURANT_RANK_MAX];
  int rank;

  (void)file;
  if (info->type != H5O_TYPE_DATASET) return 0;
  snprintf(path, sizeof path, "/%s", name);
  if (CourantResultSize(visitor->result, path, &rank, dims) || rank < 0) return -1;
  if (CourantResultGetString(visitor->result, path, "long_name", &long_name)) return -1;
  visitor->Visit(path, PetscMin(rank, COURANT_RANK_MAX), dims, long_name);
  return PetscFree(long_name) ? -1 : 0;
}

/* CourantResultVisit - Calls Visit for every dataset, by name; long_name is NULL where there is none. */
PetscErrorCode CourantResultVisit(CourantResult result,
                                  void (*Visit)(const char *path, int rank, const size_t dims[],
                                                const char *long_name))
{
  Visitor visitor = {result, Visit};

  PetscFunctionBeginUser;
  CheckFile(result, H5Ovisit(result->file, H5_INDEX_NAME, H5_ITER_INC, VisitObject, &visitor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantResultIs - Is there an HDF5 file of this name? */
PetscBool CourantResultIs(const char name[])
{
  struct stat status;

  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  if (stat(name, &status) || !S_ISREG(status.st_mode)) return PETSC_FALSE; /* a pipe is read but once */
  return !access(name, R_OK) && H5Fis_hdf5(name) > 0 ? PETSC_TRUE : PETSC_FALSE;
}
