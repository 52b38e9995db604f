/* Sources: what their images are, and what is wrong with bad files. */
#include "check.h"
#include "data/dataset.h"
#include <fftw3.h>
#include <hdf5.h>
#include <stdlib.h>
#include <unistd.h>

static PetscErrorCode Open(const char *data, double budget, CourantDeck *deck, CourantDataset *set)
{
  char text[512];

  PetscFunctionBeginUser;
  *set = NULL;
  snprintf(text, sizeof text, "data: %s\n", data);
  PetscCall(CourantDeckParse(PETSC_COMM_SELF, text, NULL, deck));
  PetscCall(CourantDatasetCreate(CourantNodeChild(CourantDeckRoot(*deck), "data"), budget, set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Close(CourantDeck deck, CourantDataset set)
{
  OK(CourantDatasetDestroy(&set));
  OK(CourantDeckDestroy(&deck));
}

static void Checkerboard(void **state)
{
  CourantDeck deck;
  CourantDataset set;
  double x[35];

  (void)state;
  OK(Open("{source: checkerboard, height: 5, width: 7, period: 2, label: 0}", 1e9, &deck, &set));
  assert_null(CourantBatchRead(&(CourantBatch){.data = set, .n = 1}, 0, 1, x));
  assert_true(x[0] == -1 && x[1] == -1 && x[2] == 1 && x[7] == -1 && x[14] == 1 && x[16] == -1 &&
              set->labels[0] == 0);
  Close(deck, set);
}

static void Stripes(void **state)
{
  CourantDeck deck;
  CourantDataset set;
  const double wave[4] = {1, 0, -1, 0};
  double x[64];

  (void)state;
  OK(Open("{source: stripes, size: 8, period: 4, angle: 90}", 1e9, &deck, &set));
  assert_null(CourantBatchRead(&(CourantBatch){.data = set, .n = 1}, 0, 1, x));
  for (int i = 0; i < 64; i++) NEAR(x[i], wave[i / 8 % 4], 1e-14);
  Close(deck, set);
}

/* Unit variance about the mean, and a power spectrum that falls with the exponent. */
static void Noise(void **state)
{
  enum { N = 64, SAMPLES = 40 };
  CourantDeck deck;
  CourantDataset set;
  double *x = fftw_malloc(sizeof(double) * N * N),
         *spectrum = fftw_malloc(sizeof(double) * 2 * N * (N / 2 + 1)), low = 0, high = 0;
  int ones = 0;
  fftw_plan plan = fftw_plan_dft_r2c_2d(N, N, x, (fftw_complex *)spectrum, FFTW_ESTIMATE);

  (void)state;
  OK(Open("{source: noise, size: 64, exponent: 2, mean: 0.7, samples: 40, seed: 3}", 1e9, &deck, &set));
  for (int i = 0; i < SAMPLES; i++) {
    double mean = 0, variance = 0;
    assert_null(CourantBatchRead(&(CourantBatch){.data = set, .n = set->n}, i, 1, x));
    for (int k = 0; k < N * N; k++) mean += x[k] / (N * N);
    for (int k = 0; k < N * N; k++) variance += (x[k] - mean) * (x[k] - mean) / (N * N);
    NEAR(mean, 0.7, 1e-12);
    NEAR(variance, 1, 1e-12);
    fftw_execute(plan);
    for (int kx = 4; kx < 8; kx++)
      low += spectrum[2 * kx] * spectrum[2 * kx] + spectrum[2 * kx + 1] * spectrum[2 * kx + 1];
    for (int kx = 16; kx < 32; kx++)
      high += (spectrum[2 * kx] * spectrum[2 * kx] + spectrum[2 * kx + 1] * spectrum[2 * kx + 1]) / 4;
    ones += set->labels[i] == 1;
    assert_true(set->labels[i] == 0 || set->labels[i] == 1);
  }
  /*
    sums of k^-2 over both bands: 0.1307 and 0.0317/4; each power
    has a chi-square of 320 or 1280 degrees of freedom
  */
  NEAR(high / low, 0.0317 / 4 / 0.1307, 0.25 * 0.0317 / 4 / 0.1307);
  assert_true(ones > 5 && ones < 35);
  Close(deck, set);
  fftw_destroy_plan(plan);
  fftw_free(x), fftw_free(spectrum);
}

/* A budget too small for the images streams them, with the same values. */
static void Streaming(void **state)
{
  CourantDeck decks[2];
  CourantDataset sets[2];
  double x[2][3 * 64];

  (void)state;
  for (int i = 0; i < 2; i++) {
    OK(Open("{source: noise, size: 8, samples: 9, exponent: 1}", i ? 0 : 1e9, &decks[i], &sets[i]));
    assert_null(CourantBatchRead(&(CourantBatch){.data = sets[i], .n = 8}, 5, 3, x[i]));
  }
  assert_non_null(sets[0]->images);
  assert_null(sets[1]->images);
  assert_memory_equal(x[0], x[1], sizeof x[0]);
  for (int i = 0; i < 2; i++) Close(decks[i], sets[i]);
}

static char file[] = "/tmp/courant-data-XXXXXX";

static void Put(hid_t h5, const char *name, int rank, const hsize_t dims[], hid_t type, const double *values)
{
  const hid_t space = H5Screate_simple(rank, dims, NULL),
              set = H5Dcreate(h5, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  if (values) H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  H5Dclose(set), H5Sclose(space);
}

static void Hdf5(void **state)
{
  double planes[2 * 3 * 2 * 2], bad[8] = {0, 1, 2, 3, 4, 5, NAN, 7}, x[24];
  const double labels[3] = {0, 1, 1};
  CourantDeck deck;
  CourantDataset set;
  char text[512];

  (void)state;
  close(mkstemp(file));
  for (int i = 0; i < 24; i++) planes[i] = i;
  const hid_t h5 = H5Fcreate(file, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  Put(h5, "images", 4, (hsize_t[]){2, 3, 2, 2}, H5T_STD_U8LE, planes);
  Put(h5, "grey", 3, (hsize_t[]){2, 2, 2}, H5T_IEEE_F32LE, planes);
  Put(h5, "bad", 3, (hsize_t[]){2, 2, 2}, H5T_IEEE_F64LE, bad);
  Put(h5, "flat", 2, (hsize_t[]){2, 4}, H5T_IEEE_F64LE, planes);
  Put(h5, "none", 3, (hsize_t[]){0, 2, 2}, H5T_IEEE_F64LE, NULL);
  Put(h5, "labels", 1, (hsize_t[]){2}, H5T_STD_I64LE, labels);
  Put(h5, "three", 1, (hsize_t[]){3}, H5T_STD_I64LE, labels);
  Put(h5, "zero", 1, (hsize_t[]){0}, H5T_STD_I64LE, NULL);
  H5Fclose(h5);

  snprintf(text, sizeof text, "{source: hdf5, file: %s}", file);
  OK(Open(text, 1e9, &deck, &set));
  assert_true(set->n == 2 && set->h == 2 && set->w == 2 && set->c == 3);
  assert_null(CourantBatchRead(&(CourantBatch){.data = set, .n = set->n}, 1, 1, x));
  for (int c = 0; c < 3; c++)
    for (int i = 0; i < 4; i++) assert_true(x[i * 3 + c] == 12 + c * 4 + i); /* [c,h,w] to [h,w,c] */
  assert_true(set->labels[1] == 1);
  Close(deck, set);
  snprintf(text, sizeof text, "{source: hdf5, file: %s, images: grey, limit: 1}", file);
  OK(Open(text, 1e9, &deck, &set));
  assert_true(set->n == 1 && set->c == 1);
  Close(deck, set);

  const struct {
    const char *keys, *message;
  } wrong[] = {
      {"images: bad", "sample 1 has the value nan at row 1, column 0; all have to be finite"},
      {"images: flat", "dataset 'flat' has 2 dimensions; expected images [n,h,w] or [n,c,h,w]"},
      {"images: nothing", "the file has no dataset 'nothing'"},
      {"labels: three", "'images' holds 2 images but 'three' 3 labels"},
      {"labels: grey", "dataset 'grey' has 3 dimensions; expected labels [n]"},
      {"images: none, labels: zero", "the data set is empty"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    CourantErrorClear();
    snprintf(text, sizeof text, "{source: hdf5, file: %s, %s}", file, wrong[i].keys);
    assert_int_equal(Open(text, 1e9, &deck, &set), COURANT_ERR_INPUT);
    if (!strstr(CourantErrorMessage(), wrong[i].message))
      fail_msg("'%s', expected '%s'", CourantErrorMessage(), wrong[i].message);
    Close(deck, set);
  }
  assert_int_equal(truncate(file, 1500), 0);
  CourantErrorClear();
  snprintf(text, sizeof text, "{source: hdf5, file: %s}", file);
  assert_int_equal(Open(text, 1e9, &deck, &set), COURANT_ERR_INPUT);
  assert_non_null(strstr(CourantErrorMessage(), "damaged"));
  Close(deck, set);
  CourantErrorClear();
  assert_int_equal(Open("{source: hdf5, file: /nowhere/x.h5}", 1e9, &deck, &set), COURANT_ERR_INPUT);
  assert_non_null(
      strstr(CourantErrorMessage(), "deck:1: data.file: /nowhere/x.h5: No such file or directory"));
  Close(deck, set);
  CourantErrorClear();
  unlink(file);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Checkerboard), cmocka_unit_test(Stripes), cmocka_unit_test(Noise),
    cmocka_unit_test(Streaming),    cmocka_unit_test(Hdf5),
};

TEST_MAIN(tests)
