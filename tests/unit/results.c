/* The result file: what goes in comes out, and a file is whole or not there. */
#include "check.h"
#include "core/result.h"
#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/courant-results-XXXXXX";
static char name[64];

static void Make(CourantResult *result)
{
  const double x[2] = {1, 2}, y[3] = {10, 20, 30};
  static const CourantResultEntry entries[] = {
      {"/g/real", COURANT_RESULT_REAL, {"/g/x", "/g/y"}, "a real", "1", .formula = "x y"},
      {"/g/flag", COURANT_RESULT_ENUM, {"/g/x"}, "a flag", "1", .meanings = "no yes perhaps"},
      {"/g/count", COURANT_RESULT_INT, {"/g/x"}, "a count", "1"},
  };

  OK(CourantResultCreate(result));
  OK(CourantResultAddScale(*result, "/g/x", 2, x, "x", "m"));
  OK(CourantResultAddScale(*result, "/g/y", 3, y, "y", "m"));
  for (int i = 0; i < 3; i++) OK(CourantResultAdd(*result, &entries[i]));
  OK(CourantResultSetString(*result, "/", "title", "grüße"));
  OK(CourantResultSetReal(*result, "/g", "rate", 0.25));
}

static void RoundTrip(void **state)
{
  const double values[6] = {1, 2, 3, 4, 5, 6};
  double read[6], rate;
  uint8_t flags[2];
  int counts[2], rank;
  size_t dims[COURANT_RANK_MAX];
  CourantResult result;
  char *text;

  (void)state;
  Make(&result);
  OK(CourantResultWrite(result, "/g/real", values));
  OK(CourantResultSave(result, name));
  OK(CourantResultDestroy(&result));
  OK(CourantResultLoad(name, &result));
  OK(CourantResultRead(result, "/g/real", COURANT_RESULT_REAL, 6, read));
  assert_memory_equal(values, read, sizeof values);
  OK(CourantResultRead(result, "/g/flag", COURANT_RESULT_ENUM, 2, flags));
  OK(CourantResultRead(result, "/g/count", COURANT_RESULT_INT, 2, counts));
  assert_true(flags[0] == COURANT_UNSET && flags[1] == COURANT_UNSET && counts[0] == -1);
  OK(CourantResultSize(result, "/g/real", &rank, dims));
  assert_true(rank == 2 && dims[0] == 2 && dims[1] == 3);
  OK(CourantResultSize(result, "/g/none", &rank, dims));
  assert_int_equal(rank, -1);
  OK(CourantResultGetString(result, "/", "title", &text));
  assert_string_equal(text, "grüße");
  OK(PetscFree(text));
  OK(CourantResultGetReal(result, "/g", "rate", &rate));
  assert_true(rate == 0.25);
  OK(CourantResultDestroy(&result));
}

static void EqualResultsAreEqualFiles(void **state)
{
  char *bytes[2];
  long size[2];

  (void)state;
  for (int i = 0; i < 2; i++) {
    CourantResult result;
    Make(&result);
    OK(CourantResultSave(result, name));
    OK(CourantResultDestroy(&result));
    FILE *stream = fopen(name, "rb");
    fseek(stream, 0, SEEK_END);
    size[i] = ftell(stream);
    rewind(stream);
    bytes[i] = malloc((size_t)size[i]);
    assert_int_equal(fread(bytes[i], 1, (size_t)size[i], stream), size[i]);
    fclose(stream);
    if (i == 0) sleep(1);
  }
  assert_int_equal(size[0], size[1]);
  assert_memory_equal(bytes[0], bytes[1], (size_t)size[0]);
  free(bytes[0]), free(bytes[1]);
}

/* A limit on the size of files stands for a full disk. */
static void FullDisk(void **state)
{
  struct rlimit before, small;
  struct stat info;
  CourantResult result;

  (void)state;
  Make(&result);
  OK(CourantResultSave(result, name));
  assert_int_equal(stat(name, &info), 0);
  signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &before);
  small = before;
  small.rlim_cur = 1000;
  setrlimit(RLIMIT_FSIZE, &small);
  const PetscErrorCode code = CourantResultSave(result, name);
  setrlimit(RLIMIT_FSIZE, &before);
  assert_int_equal(code, PETSC_ERR_FILE_WRITE);
  assert_non_null(strstr(CourantErrorMessage(), "cannot write the result: File too large"));
  CourantErrorClear();
  struct stat after;
  assert_int_equal(stat(name, &after), 0); /* what was there is there still, and nothing lies beside it */
  assert_int_equal(info.st_size, after.st_size);
  assert_int_equal(access("/tmp/x.tmp", F_OK), -1);
  char beside[80];
  snprintf(beside, sizeof beside, "%s.tmp", name);
  assert_int_equal(access(beside, F_OK), -1);
  OK(CourantResultDestroy(&result));
}

static void NoFolder(void **state)
{
  CourantResult result;
  (void)state;
  Make(&result);
  assert_int_equal(CourantResultSave(result, "/nowhere/x.h5"), PETSC_ERR_FILE_WRITE);
  assert_non_null(
      strstr(CourantErrorMessage(), "/nowhere/x.h5: cannot write the result: No such file or directory"));
  CourantErrorClear();
  OK(CourantResultDestroy(&result));
}

static void NotAResult(void **state)
{
  CourantResult result;
  FILE *stream = fopen(name, "w");

  (void)state;
  fprintf(stream, "hello");
  fclose(stream);
  assert_int_equal(CourantResultLoad(name, &result), COURANT_ERR_INPUT);
  assert_non_null(strstr(CourantErrorMessage(), "not an HDF5 file"));
  CourantErrorClear();
  unlink(name);
  assert_int_equal(CourantResultLoad(name, &result), COURANT_ERR_INPUT);
  CourantErrorClear();
}

/* Names along a scale, as HDF5 itself reads them: fixed-length UTF-8, padded with zeros. */
static void Strings(void **state)
{
  static const char *const names[] = {"0", "5.größe"};
  char read[2][9];
  CourantResult result;

  (void)state;
  Make(&result);
  OK(CourantResultAddStrings(result, "/g/name", "/g/x", 2, names, "names"));
  OK(CourantResultSave(result, name));
  OK(CourantResultDestroy(&result));
  const hid_t file = H5Fopen(name, H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(file, "/g/name", H5P_DEFAULT), type = H5Dget_type(dataset);
  assert_int_equal(H5Tget_class(type), H5T_STRING);
  assert_int_equal(H5Tis_variable_str(type), 0);
  assert_int_equal(H5Tget_cset(type), H5T_CSET_UTF8);
  assert_int_equal(H5Tget_size(type), 9);
  assert_int_equal(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, read), 0);
  assert_memory_equal(read[0], "0\0\0\0\0\0\0\0\0", 9);
  assert_memory_equal(read[1], names[1], 9);
  H5Tclose(type);
  H5Dclose(dataset);
  H5Fclose(file);
}

static void NoVisit(const char *path, int rank, const size_t dims[], const char *long_name)
{
  (void)path, (void)rank, (void)dims, (void)long_name;
}

/* A node of a group without its signature: what is below it is lost, and the message names the file. */
static void Damaged(void **state)
{
  char bytes[65536], expected[128];
  double value;
  CourantResult result;

  (void)state;
  Make(&result);
  OK(CourantResultSave(result, name));
  OK(CourantResultGetReal(result, "/g/flag", "flag_values", &value)); /* three numbers are no number */
  assert_true(isnan(value));
  OK(CourantResultDestroy(&result));
  FILE *file = fopen(name, "r+");
  const size_t n = fread(bytes, 1, sizeof bytes, file);
  int nodes = 0;
  for (size_t i = 0; i + 4 <= n; i++) {
    if (memcmp(bytes + i, "SNOD", 4)) continue;
    fseek(file, (long)i, SEEK_SET);
    fputc('X', file);
    nodes++;
  }
  fclose(file);
  assert_true(nodes > 0 && n < sizeof bytes);
  snprintf(expected, sizeof expected, "%s: damaged HDF5 file", name);
  OK(CourantResultOpen(name, &result));
  assert_int_equal(CourantResultVisit(result, NoVisit), COURANT_ERR_INPUT);
  assert_string_equal(CourantErrorMessage(), expected);
  CourantErrorClear();
  assert_int_equal(CourantResultRead(result, "/g/count", COURANT_RESULT_INT, 2, bytes), COURANT_ERR_INPUT);
  assert_non_null(strstr(CourantErrorMessage(), expected));
  CourantErrorClear();
  OK(CourantResultDestroy(&result));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(RoundTrip),  cmocka_unit_test(EqualResultsAreEqualFiles),
    cmocka_unit_test(FullDisk),   cmocka_unit_test(NoFolder),
    cmocka_unit_test(NotAResult), cmocka_unit_test(Strings),
    cmocka_unit_test(Damaged),
};

static int SetUp(void **state)
{
  if (!mkdtemp(folder)) return 1;
  snprintf(name, sizeof name, "%s/x.h5", folder);
  return SetUpPetsc(state);
}

static int TearDown(void **state)
{
  unlink(name);
  rmdir(folder);
  return TearDownPetsc(state);
}

int main(void)
{
  return cmocka_run_group_tests(tests, SetUp, TearDown);
}
