/* Sources: what their images are, what is done to them, and what is wrong with bad files. */
#include "check.h"
#include "core/random.h"
#include "data/dataset.h"
#include <dirent.h>
#include <fftw3.h>
#include <hdf5.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

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

/* Both splits of a data set that is right. */
typedef struct {
  CourantDeck deck;
  CourantDataset train, test;
} Pair;

static void OpenPair(const char *data, double budget, Pair *pair)
{
  OK(Open(data, budget, &pair->deck, &pair->train));
  OK(CourantDatasetCreateTest(pair->train, budget, &pair->test));
}

static void ClosePair(Pair *pair)
{
  OK(CourantDatasetDestroy(&pair->test));
  Close(pair->deck, pair->train);
}

/* The images of samples first .. first+n-1 as they are without augmentation. */
static void Images(CourantDataset set, PetscInt first, PetscInt n, double *x)
{
  assert_null(CourantBatchRead(&(CourantBatch){.data = set, .n = set->n}, first, n, x));
}

/* A data set, or its test samples, that is the user's mistake, with the message in whole. */
static void Wrong(const char *data, const char *message)
{
  CourantDeck deck;
  CourantDataset set, test = NULL;

  CourantErrorClear();
  PetscErrorCode code = Open(data, 1e9, &deck, &set);
  if (!code) code = CourantDatasetCreateTest(set, 1e9, &test);
  assert_int_equal(code, COURANT_ERR_INPUT);
  assert_string_equal(CourantErrorMessage(), message);
  OK(CourantDatasetDestroy(&test));
  Close(deck, set);
  CourantErrorClear();
}

/* A folder of the test's own to write files in; decks name them without a path. */
static char folder[64];

static int Enter(void **state)
{
  (void)state;
  strcpy(folder, "/tmp/courant-data-XXXXXX");
  return mkdtemp(folder) && !chdir(folder) ? 0 : -1;
}

static int Leave(void **state)
{
  DIR *all = opendir(folder);

  (void)state;
  for (struct dirent *entry = readdir(all); entry; entry = readdir(all)) unlink(entry->d_name);
  closedir(all);
  return chdir("/") || rmdir(folder);
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

/* Channels have noise of their own; the first is that of images of one channel. */
static void NoiseChannels(void **state)
{
  enum { SIZE = 15, PIXELS = SIZE * SIZE };
  Pair grey, colour;
  double x[2 * PIXELS], y[3 * 2 * PIXELS], mean[3] = {0}, cross[3] = {0};

  (void)state;
  OpenPair("{source: noise, size: 15, samples: 2, mean: 2}", 1e9, &grey);
  OpenPair("{source: noise, size: 15, samples: 2, mean: 2, channels: 3}", 1e9, &colour);
  assert_null(grey.test);
  assert_int_equal(colour.train->c, 3);
  Images(grey.train, 0, 2, x);
  Images(colour.train, 0, 2, y);
  for (int i = 0; i < 2 * PIXELS; i++) assert_true(x[i] == y[3 * i]);
  for (int i = 0; i < PIXELS; i++)
    for (int k = 0; k < 3; k++) {
      mean[k] += y[3 * i + k] / PIXELS;
      cross[k] += (y[3 * i + k] - 2) * (y[3 * i + (k + 1) % 3] - 2) / PIXELS;
    }
  for (int k = 0; k < 3; k++) {
    NEAR(mean[k], 2, 1e-13);
    NEAR(cross[k], 0, 5 / sqrt(PIXELS)); /* five standard deviations of a correlation that is 0 */
  }
  ClosePair(&grey);
  ClosePair(&colour);
}

/* ---- glyphs ---- */

/* Any sample on its own; paper 0, ink 1 and white noise; no test sample has shape or noise of a training
 * sample. */
static void Glyphs(void **state)
{
  enum { N = 40, PIXELS = 20 * 20, ALL = N * PIXELS };
  const char *deck = "{source: glyphs, size: 20, samples: 40, test_samples: 40, seed: 5}";
  static double x[2][ALL], clean[2][ALL], again[PIXELS];
  Pair all, stream, plain;
  double square = 0, cross = 0;

  (void)state;
  OpenPair(deck, 1e9, &all);
  OpenPair(deck, 0, &stream);
  OpenPair("{source: glyphs, size: 20, samples: 40, test_samples: 40, noise: 0, seed: 5}", 1e9, &plain);
  Images(all.train, 0, N, x[0]), Images(all.test, 0, N, x[1]);
  Images(plain.train, 0, N, clean[0]), Images(plain.test, 0, N, clean[1]);
  for (int i = N - 1; i >= 0; i--) {
    Images(stream.train, i, 1, again);
    assert_memory_equal(again, x[0] + i * PIXELS, sizeof again);
    assert_true(all.train->labels[i] == i % 10 && all.test->labels[i] == i % 10);
    for (int j = 0; j < N; j++)
      assert_memory_not_equal(clean[0] + i * PIXELS, clean[1] + j * PIXELS, sizeof again);
  }
  for (int i = 0; i < ALL; i++) {
    assert_true(clean[0][i] >= 0 && clean[0][i] <= 1);
    const double noise = x[0][i] - clean[0][i];
    square += noise * noise / ALL;
    cross += noise * (x[1][i] - clean[1][i]) / ALL;
  }
  /* five standard deviations of a variance, and of a covariance that is 0 */
  NEAR(square, 0.09, 5 * 0.09 * sqrt(2. / ALL));
  NEAR(cross, 0, 5 * 0.09 * sqrt(1. / ALL));
  for (int i = 0; i < N; i++) {
    double ink = 0, edge = 0;
    for (int k = 0; k < PIXELS; k++) ink += clean[0][i * PIXELS + k];
    for (int k = 0; k < 20; k++) edge += clean[0][i * PIXELS + k] + clean[0][i * PIXELS + 19 * 20 + k];
    assert_true(ink > 10 && ink < 0.5 * PIXELS && edge < 0.25 * ink);
  }
  ClosePair(&all), ClosePair(&stream), ClosePair(&plain);
  OpenPair("{source: glyphs, samples: 1}", 1e9, &all);
  assert_null(all.test);
  ClosePair(&all);
}

/* The nearest of the classes' mean images is right more often than chance, 1 in 10, and not always. */
static void GlyphsLearnable(void **state)
{
  enum { N = 1000, PIXELS = 16 * 16 };
  static double x[N * PIXELS], mean[10][PIXELS];
  Pair pair;
  int right = 0;

  (void)state;
  OpenPair("{source: glyphs, samples: 1000, test_samples: 1000}", 1e9, &pair);
  Images(pair.train, 0, N, x);
  for (int i = 0; i < N; i++)
    for (int k = 0; k < PIXELS; k++) mean[i % 10][k] += x[i * PIXELS + k] / (N / 10.);
  Images(pair.test, 0, N, x);
  for (int i = 0; i < N; i++) {
    int best = 0;
    double least = INFINITY;
    for (int c = 0; c < 10; c++) {
      double distance = 0;
      for (int k = 0; k < PIXELS; k++) distance += pow(x[i * PIXELS + k] - mean[c][k], 2);
      if (distance < least) least = distance, best = c;
    }
    right += best == pair.test->labels[i];
  }
  if (right < 0.5 * N || right > 0.9 * N) fail_msg("%d of %d test samples are right", right, N);
  ClosePair(&pair);
}

/* Wrong labels: probability 0.4, of which one in four classes happens to be right. */
static void GlyphsLabelNoise(void **state)
{
  enum { N = 2000 };
  Pair pair;
  int wrong[2] = {0}, both = 0;

  (void)state;
  OpenPair("{source: glyphs, size: 8, classes: 4, label_noise: 0.4, samples: 2000, test_samples: 2000}", 1e9,
           &pair);
  for (int i = 0; i < N; i++) {
    const double a = pair.train->labels[i], b = pair.test->labels[i];
    assert_true(a >= 0 && a < 4 && a == floor(a) && b >= 0 && b < 4 && b == floor(b));
    wrong[0] += a != i % 4, wrong[1] += b != i % 4, both += a != i % 4 && b != i % 4;
  }
  /* five standard deviations of binomial counts */
  for (int s = 0; s < 2; s++) NEAR(wrong[s] / (double)N, 0.3, 5 * sqrt(0.3 * 0.7 / N));
  NEAR(both / (double)N, 0.09, 5 * sqrt(0.09 * 0.91 / N));
  ClosePair(&pair);
  Wrong("{source: glyphs}", "deck:1: data: the key 'samples' is missing (number of images)");
  Wrong("{source: glyphs, samples: 3, classes: 11}",
        "deck:1: data.classes: 11 is out of range: expected an integer from 1 to 10");
}

/* ---- idx ---- */

/* Writes an idx file: magic, sizes, then `bytes` numbers start, start+1, ..; the file
   "gz:name" is `name`, compressed. */
static void PutIdx(const char *name, uint32_t magic, int dimensions, const uint32_t sizes[], int bytes,
                   int start)
{
  unsigned char text[256];
  size_t n = 0;

  for (int i = -1; i < dimensions; i++)
    for (int shift = 24; shift >= 0; shift -= 8)
      text[n++] = (unsigned char)((i < 0 ? magic : sizes[i]) >> shift);
  for (int i = 0; i < bytes; i++) text[n++] = (unsigned char)(start + i);
  if (!strncmp(name, "gz:", 3)) {
    gzFile file = gzopen(name + 3, "wb");
    assert_int_equal(gzwrite(file, text, (unsigned)n), n);
    gzclose(file);
  } else {
    FILE *file = fopen(name, "wb");
    assert_int_equal(fwrite(text, 1, n, file), n);
    fclose(file);
  }
}

/* Plain and compressed files, whatever their names say, in memory and streamed. */
static void Idx(void **state)
{
  const struct {
    const char *images, *labels;
    double budget;
  } ways[] = {{"images", "labels", 1e9}, {"gz:images", "gz:labels.gz", 1e9}, {"gz:images", "labels.gz", 0}};
  double x[12];

  (void)state;
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    const char *images = ways[i].images, *labels = ways[i].labels;
    char text[256];
    Pair pair;
    PutIdx(images, 0x803, 3, (uint32_t[]){3, 2, 4}, 24, 200);
    PutIdx(labels, 0x801, 1, (uint32_t[]){3}, 3, 7);
    PutIdx("gz:test", 0x803, 3, (uint32_t[]){1, 2, 4}, 8, 50);
    PutIdx("answer", 0x801, 1, (uint32_t[]){1}, 1, 4);
    images += images[2] == ':' ? 3 : 0, labels += labels[2] == ':' ? 3 : 0;
    snprintf(text, sizeof text,
             "{source: idx, images: %s, labels: %s, test_images: test, test_labels: answer}", images, labels);
    OpenPair(text, ways[i].budget, &pair);
    assert_true(pair.train->n == 3 && pair.train->h == 2 && pair.train->w == 4 && pair.train->c == 1);
    assert_true((pair.train->images == NULL) == (ways[i].budget == 0));
    Images(pair.train, 1, 1, x);
    for (int k = 0; k < 8; k++) assert_true(x[k] == 208 + k);
    for (int k = 0; k < 3; k++) assert_true(pair.train->labels[k] == 7 + k);
    Images(pair.test, 0, 1, x);
    for (int k = 0; k < 8; k++) assert_true(x[k] == 50 + k);
    assert_true(pair.test->n == 1 && pair.test->labels[0] == 4);
    ClosePair(&pair);
  }
}

static void IdxWrong(void **state)
{
  static const struct {
    const char *images, *labels, *message;
  } wrong[] = {
      {"nothing", "labels", "deck:1: data.images: nothing: No such file or directory"},
      {".", "labels", "deck:1: data.images: .: Is a directory"},
      {"three", "labels", "deck:1: data.images: three: not an idx file: only 3 bytes"},
      {"deck.yaml", "labels",
       "deck:1: data.images: deck.yaml: not an idx file: it begins with 0x64617461, expected 0x00000803"},
      {"odd", "labels",
       "deck:1: data.images: odd: not an idx file: it begins with 0x00000a03, expected 0x00000803"},
      {"floats", "labels",
       "deck:1: data.images: floats: an idx file of type float (0x0d); expected unsigned byte (0x08)"},
      {"labels", "images",
       "deck:1: data.images: labels: holds labels (0x00000801); expected images (0x00000803)"},
      {"images", "images",
       "deck:1: data.labels: images: holds images (0x00000803); expected labels (0x00000801)"},
      {"four", "labels", "deck:1: data.images: four: has 4 dimensions; expected 3, for images"},
      {"header", "labels", "deck:1: data.images: header: cut short in its header of 16 bytes"},
      {"short", "labels",
       "deck:1: data.images: short: cut short: 11 bytes of images, its header announces 12"},
      {"long", "labels",
       "deck:1: data.images: long: 2 bytes too many behind the images that its header announces"},
      {"huge", "labels", "deck:1: data.images: huge: has 4294967295 in its header, which is too large"},
      {"large", "labels",
       "deck:1: data.images: large: cut short: 12 bytes of images, its header announces "
       "8e+27"},
      {"images", "two", "deck:1: data: images holds 3 images but two 2 labels"},
      {"torn", "labels", "deck:1: data.images: torn: the gzip data is damaged or cut short"},
      {"flipped", "labels", "deck:1: data.images: flipped: the gzip data is damaged or cut short"},
      {"none", "zero", "deck:1: data: the data set is empty"},
      {"images", "labels, test_images: images",
       "deck:1: data: the key 'test_labels' is missing: test_images and test_labels go together"},
      {"images", "labels, test_labels: labels",
       "deck:1: data: the key 'test_images' is missing: test_images and test_labels go together"},
      {"images", "labels, test_images: wide, test_labels: labels",
       "deck:1: data: test images are 2 x 3 x 1, training images 2 x 2 x 1"},
      {"images", "labels, test_images: images, test_labels: two",
       "deck:1: data: images holds 3 images but two 2 labels"},
      {"images", "labels, test_images: labels, test_labels: two",
       "deck:1: data.test_images: labels: holds labels (0x00000801); expected images (0x00000803)"},
  };
  char text[512];

  (void)state;
  const uint32_t size[4] = {3, 2, 2, 1}, e9[] = {2000000000, 2000000000, 2000000000};
  PutIdx("images", 0x803, 3, size, 12, 0);
  PutIdx("labels", 0x801, 1, size, 3, 0);
  PutIdx("two", 0x801, 1, (uint32_t[]){2}, 2, 0);
  PutIdx("odd", 0xA03, 3, size, 12, 0);
  PutIdx("floats", 0xD03, 3, size, 48, 0);
  PutIdx("four", 0x804, 4, size, 12, 0);
  PutIdx("header", 0x803, 2, size, 0, 0);
  PutIdx("short", 0x803, 3, size, 11, 0);
  PutIdx("long", 0x803, 3, size, 14, 0);
  PutIdx("wide", 0x803, 3, (uint32_t[]){3, 2, 3}, 18, 0);
  PutIdx("huge", 0x803, 3, (uint32_t[]){UINT32_MAX, 2, 2}, 12, 0);
  PutIdx("large", 0x803, 3, e9, 12, 0);
  PutIdx("none", 0x803, 3, (uint32_t[]){0, 2, 2}, 0, 0);
  PutIdx("zero", 0x801, 1, (uint32_t[]){0}, 0, 0);
  PutIdx("deck.yaml", 0x64617461, 0, NULL, 20, 0);
  PutIdx("gz:torn", 0x803, 3, size, 12, 0);
  assert_int_equal(truncate("torn", 20), 0);
  PutIdx("gz:flipped", 0x803, 3, size, 12, 0);
  FILE *file = fopen("flipped", "r+b");
  fseek(file, -6, SEEK_END); /* in the checksum at the end */
  fputc(0x5a, file);
  fclose(file);
  PutIdx("three", 0, 0, NULL, 0, 0);
  assert_int_equal(truncate("three", 3), 0);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    snprintf(text, sizeof text, "{source: idx, images: %s, labels: %s}", wrong[i].images, wrong[i].labels);
    Wrong(text, wrong[i].message);
  }
}

/* ---- cifar10 ---- */

/* n records; a pixel is a number of its record, plane, row and column, a label (start + record) mod 10. */
static unsigned char Pixel(int record, int k, int i)
{
  return (unsigned char)(record * 31 + k * 101 + i);
}

static void PutCifar(const char *name, int start, int n)
{
  FILE *file = fopen(name, "wb");

  for (int r = start; r < start + n; r++) {
    fputc(r % 10, file);
    for (int k = 0; k < 3; k++)
      for (int i = 0; i < 1024; i++) fputc(Pixel(r, k, i), file);
  }
  fclose(file);
}

static void Cifar10(void **state)
{
  const double budgets[] = {1e9, 0};
  static double x[3072];
  Pair pair;

  (void)state;
  PutCifar("one.bin", 0, 3);
  PutCifar("two.bin", 3, 9);
  PutCifar("test.bin", 90, 2);
  for (int b = 0; b < 2; b++) {
    OpenPair("{source: cifar10, files: [one.bin, two.bin], test_files: test.bin}", budgets[b], &pair);
    assert_true(pair.train->n == 12 && pair.train->h == 32 && pair.train->w == 32 && pair.train->c == 3);
    assert_int_equal(pair.test->n, 2);
    for (int s = 0; s < 14; s++) {
      CourantDataset set = s < 12 ? pair.train : pair.test;
      const int sample = s % 12, record = s < 12 ? s : 90 + sample;
      Images(set, sample, 1, x);
      for (int i = 0; i < 3072; i++) assert_true(x[i] == Pixel(record, i % 3, i / 3)); /* [h,w,c] */
      assert_true(set->labels[sample] == record % 10);
    }
    ClosePair(&pair);
  }
  OpenPair("{source: cifar10, files: one.bin}", 1e9, &pair);
  assert_true(pair.train->n == 3 && !pair.test);
  ClosePair(&pair);
}

static void Cifar10Wrong(void **state)
{
  static const struct {
    const char *keys, *message;
  } wrong[] = {
      {"files: nothing", "deck:1: data.files: nothing: No such file or directory"},
      {"files: [good, .]", "deck:1: data.files: .: Is a directory"},
      {"files: [good, empty]", "deck:1: data.files: empty: the file is empty"},
      {"files: [good, short]",
       "deck:1: data.files: short: 6145 bytes are no multiple of 3073, a record of the "
       "binary version of CIFAR-10"},
      {"files: [good, bad]", "deck:1: data: sample 3: record 1 of bad has the label 10; expected 0 to 9"},
      {"files: good, test_files: bad",
       "deck:1: data: sample 1: record 1 of bad has the label 10; expected 0 to 9"},
      {"files: good, test_files: [good, nothing]",
       "deck:1: data.test_files: nothing: No such file or directory"},
      {"files: []", "deck:1: data.files: expected the name of a file or a list of them"},
      {"files: {a: good}", "deck:1: data.files: expected the name of a file or a list of them"},
      {"files: [good, [good]]", "deck:1: data.files.1: expected the name of a file"},
      {"files: \"\"", "deck:1: data.files: expected the name of a file"},
      {"limit: 1", "deck:1: data: the key 'files' is missing (binary batches, [data_batch_1.bin, ..])"},
  };
  char text[512];

  (void)state;
  PutCifar("good", 0, 2);
  PutCifar("short", 0, 2);
  assert_int_equal(truncate("short", 2 * 3073 - 1), 0);
  PutCifar("bad", 0, 3);
  FILE *file = fopen("bad", "r+b");
  fseek(file, 3073, SEEK_SET);
  fputc(10, file);
  fclose(file);
  fclose(fopen("empty", "wb"));
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    snprintf(text, sizeof text, "{source: cifar10, %s}", wrong[i].keys);
    Wrong(text, wrong[i].message);
  }
}

/* ---- hdf5 ---- */

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

/* Targets [n,k], test samples, bytes. */
static void Hdf5Targets(void **state)
{
  static const struct {
    const char *keys, *message;
  } wrong[] = {
      {"labels: many", "deck:1: data.labels: dataset 'many' has 4097 targets a sample; expected 1 to 4096"},
      {"labels: zero", "deck:1: data.labels: dataset 'zero' has 0 targets a sample; expected 1 to 4096"},
      {"labels: images",
       "deck:1: data.labels: dataset 'images' has 3 dimensions; expected labels [n] or targets [n,k]"},
      {"labels: text", "deck:1: data.labels: dataset 'text' holds no numbers"},
      {"labels: nan", "deck:1: data: sample 1 has the label nan"},
      {"test_images: images",
       "deck:1: data: the key 'test_labels' is missing: test_images and test_labels go together"},
      {"labels: targets, test_images: nothing, test_labels: targets",
       "deck:1: data.test_images: the file has no dataset 'nothing'"},
      {"labels: targets, test_images: images, test_labels: labels",
       "deck:1: data: test samples have 1 targets, training samples 3"},
      {"labels: targets, test_images: bytes, test_labels: three",
       "deck:1: data.file: 'bytes' holds 1 images but 'three' 3 labels"},
  };
  const double values[8] = {0, 1, 2, 250, 251, 252, 253, 255}, nan[2] = {1, NAN};
  double x[4];
  char text[512];
  Pair pair;

  (void)state;
  const hid_t h5 = H5Fcreate("data.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  Put(h5, "images", 3, (hsize_t[]){2, 2, 2}, H5T_IEEE_F32BE, values);
  Put(h5, "bytes", 3, (hsize_t[]){1, 2, 2}, H5T_STD_U8LE, values + 4);
  Put(h5, "targets", 2, (hsize_t[]){2, 3}, H5T_IEEE_F64LE, values);
  Put(h5, "goal", 2, (hsize_t[]){1, 3}, H5T_STD_I16BE, values + 5);
  Put(h5, "labels", 1, (hsize_t[]){2}, H5T_STD_U8LE, values);
  Put(h5, "three", 1, (hsize_t[]){3}, H5T_STD_U8LE, values);
  Put(h5, "many", 2, (hsize_t[]){2, COURANT_LABEL_WIDTH_MAX + 1}, H5T_STD_U8LE, NULL);
  Put(h5, "zero", 2, (hsize_t[]){2, 0}, H5T_STD_U8LE, NULL);
  Put(h5, "text", 1, (hsize_t[]){2}, H5T_C_S1, NULL);
  Put(h5, "nan", 1, (hsize_t[]){2}, H5T_IEEE_F64LE, nan);
  H5Fclose(h5);
  for (int b = 0; b < 2; b++) {
    OpenPair("{source: hdf5, file: data.h5, labels: targets, test_images: bytes, test_labels: goal}",
             b ? 0 : 1e9, &pair);
    assert_true(pair.train->n == 2 && pair.train->width == 3 && pair.test->n == 1 && pair.test->width == 3);
    CourantBatchLabels(&(CourantBatch){.data = pair.train, .n = 2}, 1, 1, x);
    for (int k = 0; k < 3; k++) assert_true(x[k] == values[3 + k] && pair.test->labels[k] == values[5 + k]);
    Images(pair.train, 1, 1, x);
    for (int k = 0; k < 4; k++) assert_true(x[k] == values[4 + k]);
    Images(pair.test, 0, 1, x);
    for (int k = 0; k < 4; k++) assert_true(x[k] == values[4 + k]);
    ClosePair(&pair);
  }
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    snprintf(text, sizeof text, "{source: hdf5, file: data.h5, %s}", wrong[i].keys);
    Wrong(text, wrong[i].message);
  }
}

/* ---- normalisation and augmentation ---- */

enum { SAMPLES = 6, HEIGHT = 5, WIDTH = 7, CHANNELS = 2, PLANE = HEIGHT * WIDTH, IMAGE = PLANE * CHANNELS };

/*
  Training pixels of channel 0 are 0, 1, .. of all samples in turn, of channel 1 1e6 minus half of that; two
  test samples go on after them. So N numbers a step d apart have mean first + d (N-1)/2 and biased variance
  d^2 (N^2-1)/12.
*/
static double Ramp(int sample, int pixel, int channel)
{
  const double number = sample * PLANE + pixel;
  return channel ? 1e6 - number / 2 : number;
}

static void PutRamps(void)
{
  static double planes[(SAMPLES + 2) * IMAGE], flat[SAMPLES * IMAGE];
  const double labels[SAMPLES] = {0};

  for (int s = 0; s < SAMPLES + 2; s++)
    for (int k = 0; k < CHANNELS; k++)
      for (int i = 0; i < PLANE; i++) planes[s * IMAGE + k * PLANE + i] = Ramp(s, i, k);
  for (int i = 0; i < SAMPLES * IMAGE; i++) flat[i] = i / PLANE % 2 ? 0.1 : i;
  const hid_t h5 = H5Fcreate("ramps.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  Put(h5, "images", 4, (hsize_t[]){SAMPLES, CHANNELS, HEIGHT, WIDTH}, H5T_IEEE_F64LE, planes);
  Put(h5, "flat", 4, (hsize_t[]){SAMPLES, CHANNELS, HEIGHT, WIDTH}, H5T_IEEE_F64LE, flat);
  Put(h5, "labels", 1, (hsize_t[]){SAMPLES}, H5T_STD_I8LE, labels);
  Put(h5, "test", 4, (hsize_t[]){2, CHANNELS, HEIGHT, WIDTH}, H5T_IEEE_F64LE, planes + SAMPLES * IMAGE);
  Put(h5, "answer", 1, (hsize_t[]){2}, H5T_STD_I8LE, labels);
  H5Fclose(h5);
}

static void OpenRamps(const char *keys, double budget, Pair *pair)
{
  char text[512];

  snprintf(text, sizeof text, "{source: hdf5, file: ramps.h5, test_images: test, test_labels: answer%s}",
           keys);
  OpenPair(text, budget, pair);
}

static void Normalise(void **state)
{
  const struct {
    const char *keys;
    double mean[CHANNELS], std[CHANNELS];
  } ways[] = {
      {"", {0, 0}, {1, 1}},
      {", normalise: none", {0, 0}, {1, 1}},
      {", normalise: unit", {0, 0}, {255, 255}},
      {", normalise: {mean: [3, 1e6], std: [2, 0.125]}", {3, 1e6}, {2, 0.125}},
      {", normalise: standard",
       {(210 - 1) / 2., 1e6 - (210 - 1) / 4.},
       {sqrt((210. * 210 - 1) / 12), sqrt((210. * 210 - 1) / 48)}},
      {", normalise: standard, limit: 2", /* of the samples used alone */
       {(70 - 1) / 2., 1e6 - (70 - 1) / 4.},
       {sqrt((70. * 70 - 1) / 12), sqrt((70. * 70 - 1) / 48)}},
  };
  static double x[SAMPLES * IMAGE];
  Pair pair;

  (void)state;
  PutRamps();
  for (size_t way = 0; way < sizeof ways / sizeof *ways; way++)
    for (int streamed = 0; streamed < 2; streamed++) {
      OpenRamps(ways[way].keys, streamed ? 0 : 1e9, &pair);
      assert_true((pair.train->images == NULL) == streamed);
      for (int s = 0; s < pair.train->n + pair.test->n; s++) {
        const int test = s - (int)pair.train->n;
        Images(test < 0 ? pair.train : pair.test, test < 0 ? s : test, 1, x);
        /* two roundings of numbers up to 1e6 / std, and some of the mean; 1e6 * 2^-53 is 1e-10 */
        for (int i = 0; i < IMAGE; i++) {
          const int k = i % CHANNELS;
          const double raw = Ramp(test < 0 ? s : SAMPLES + test, i / CHANNELS, k);
          NEAR(x[i], (raw - ways[way].mean[k]) / ways[way].std[k], 1e-9 / ways[way].std[k]);
        }
      }
      ClosePair(&pair);
    }
}

static void NormaliseWrong(void **state)
{
  static const struct {
    const char *keys, *message;
  } wrong[] = {
      {"images: flat, normalise: standard", "deck:1: data.normalise: channel 1 is 0.1 in every pixel of the "
                                            "training images; it has no spread to divide by"},
      {"normalise: standart",
       "deck:1: data.normalise: unknown normalise 'standart'; did you mean 'standard'?"},
      {"normalise: {mean: [1, 2], std: [1]}",
       "deck:1: data.normalise: 2 means and 1 stds for images of 2 channels"},
      {"normalise: {mean: [1, 2], std: [1, 0]}",
       "deck:1: data.normalise.std.1: 0 is out of range: expected a number, at least 1e-30"},
      {"normalise: {mean: [1, 2]}",
       "deck:1: data.normalise: the key 'std' is missing (one number per channel)"},
      {"normalise: {mean: [1, 2], std: 3}", "deck:1: data.normalise.std: expected a list"},
      {"normalise: {mean: [1, 2], sdt: [1, 2]}",
       "deck:1: data.normalise.sdt: unknown key; did you mean 'std'?"},
      {"normalise: [1]", "deck:1: data.normalise: expected a name"},
      {"augment: {crop: 5}", "deck:1: data.augment: crop 5 may shift the whole of a 5x7 image away"},
      {"augment: {crop: -1}",
       "deck:1: data.augment.crop: -1 is out of range: expected an integer from 0 to 1048576"},
      {"augment: {flip: 1}", "deck:1: data.augment.flip: expected true | false, not 1"},
      {"augment: {crop: 1, turn: 3}", "deck:1: data.augment.turn: unknown key; expected crop, flip"},
      {"augment: flip", "deck:1: data.augment: expected a mapping, key: value"},
  };
  char text[512];

  (void)state;
  PutRamps();
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    snprintf(text, sizeof text, "{source: hdf5, file: ramps.h5, %s}", wrong[i].keys);
    Wrong(text, wrong[i].message);
  }
}

/* Crop of a padded copy, then flip, pixel by pixel; `chosen` counts which of the 2 (2 crop + 1)^2 it was. */
static void AugmentPlainly(const double *source, PetscInt crop, PetscBool flip, const CourantRandom *stream,
                           double *image, int *chosen)
{
  const int d = (int)crop, span = 2 * d + 1;
  double padded[HEIGHT + 8][WIDTH + 8][CHANNELS] = {0};
  uint32_t bits[4];

  CourantRandomBits(*stream, 0, bits);
  const int top = (int)(bits[0] / 4294967296. * span), left = (int)(bits[1] / 4294967296. * span);
  const int mirrored = flip && bits[2] >= 0x80000000u;
  for (int y = 0; y < HEIGHT; y++)
    for (int x = 0; x < WIDTH; x++)
      for (int k = 0; k < CHANNELS; k++) padded[y + d][x + d][k] = source[(y * WIDTH + x) * CHANNELS + k];
  for (int y = 0; y < HEIGHT; y++)
    for (int x = 0; x < WIDTH; x++)
      for (int k = 0; k < CHANNELS; k++)
        image[(y * WIDTH + x) * CHANNELS + k] = padded[y + top][(mirrored ? WIDTH - 1 - x : x) + left][k];
  chosen[(top * span + left) * 2 + mirrored]++;
}

static void Augment(void **state)
{
  enum { EPOCHS = 40 };
  const struct {
    const char *keys;
    PetscInt crop;
    PetscBool flip;
  } ways[] = {{", augment: {crop: 1, flip: true}", 1, PETSC_TRUE},
              {", augment: {crop: 4}", 4, PETSC_FALSE},
              {", augment: {flip: true}", 0, PETSC_TRUE},
              {", augment: {}", 0, PETSC_FALSE}};
  static double source[SAMPLES * IMAGE], x[IMAGE], expected[IMAGE];
  char keys[128];
  Pair pair;

  (void)state;
  PutRamps();
  for (size_t way = 0; way < sizeof ways / sizeof *ways; way++)
    for (int streamed = 0; streamed < 2; streamed++) {
      int chosen[162] = {0};
      /* no pixel is 0 after normalisation, so that a zero is one that came in */
      snprintf(keys, sizeof keys, ", normalise: {mean: [-1, -1], std: [2, 3]}%s", ways[way].keys);
      OpenRamps(keys, streamed ? 0 : 1e9, &pair);
      Images(pair.train, 0, SAMPLES, source);
      CourantBatch batch = {.data = pair.train, .n = SAMPLES, .augment = PETSC_TRUE, .seed = 1ull << 40 | 9};
      for (batch.epoch = 0; batch.epoch < EPOCHS; batch.epoch++)
        for (int s = 0; s < SAMPLES; s++) {
          const CourantRandom stream = {batch.seed, COURANT_RANDOM_AUGMENT, (uint32_t)s, batch.epoch};
          AugmentPlainly(source + s * IMAGE, ways[way].crop, ways[way].flip, &stream, expected, chosen);
          assert_null(CourantBatchRead(&batch, s, 1, x));
          assert_memory_equal(x, expected, sizeof x);
        }
      /* 240 draws of 18: none is missed but with probability 18 (17/18)^240 = 2e-5, and the seed is fixed */
      for (int i = 0; i < 18 && way == 0; i++) assert_true(chosen[i] > 0);
      batch = (CourantBatch){.data = pair.test, .n = 2, .augment = PETSC_TRUE}; /* test samples never */
      Images(pair.test, 1, 1, expected);
      assert_null(CourantBatchRead(&batch, 1, 1, x));
      assert_memory_equal(x, expected, sizeof x);
      ClosePair(&pair);
    }
}

/* The same images in one piece, in any order and pieces, and by several threads. */
static void AugmentSplit(void **state)
{
  static const PetscInt order[9] = {3, 1, 5, 0, 3, 2, 4, 5, 1};
  static double whole[9 * IMAGE], parts[9 * IMAGE], one[IMAGE];
  Pair pair;

  (void)state;
  PutRamps();
  for (int streamed = 0; streamed < 2; streamed++) {
    OpenRamps(", normalise: standard, augment: {crop: 2, flip: true}", streamed ? 0 : 1e9, &pair);
    CourantBatch batch = {
        .data = pair.train, .n = 9, .samples = order, .augment = PETSC_TRUE, .seed = 3, .epoch = 7};
    assert_null(CourantBatchRead(&batch, 0, 9, whole));
    for (int first = 0, n = 1; first < 9; first += n, n = n == 2 ? 6 : 2)
      assert_null(CourantBatchRead(&batch, first, n, parts + first * IMAGE));
    assert_memory_equal(parts, whole, sizeof whole);
    memset(parts, 0, sizeof parts);
#pragma omp parallel for num_threads(4) schedule(dynamic)
    for (int i = 8; i >= 0; i--) CourantBatchRead(&batch, i, 1, parts + i * IMAGE);
    assert_memory_equal(parts, whole, sizeof whole);
    assert_memory_equal(whole, whole + 4 * IMAGE, sizeof one); /* both are sample 3 */
    batch = (CourantBatch){.data = pair.train, .n = SAMPLES, .augment = PETSC_TRUE, .seed = 3, .epoch = 7};
    assert_null(CourantBatchRead(&batch, 3, 1, one));
    assert_memory_equal(whole, one, sizeof one);
    ClosePair(&pair);
  }
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, Enter, Leave)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Checkerboard),
    cmocka_unit_test(Stripes),
    cmocka_unit_test(Noise),
    cmocka_unit_test(Streaming),
    cmocka_unit_test(NoiseChannels),
    cmocka_unit_test(Glyphs),
    cmocka_unit_test(GlyphsLearnable),
    cmocka_unit_test(GlyphsLabelNoise),
    IN_FOLDER(Idx),
    IN_FOLDER(IdxWrong),
    IN_FOLDER(Cifar10),
    IN_FOLDER(Cifar10Wrong),
    cmocka_unit_test(Hdf5),
    IN_FOLDER(Hdf5Targets),
    IN_FOLDER(Normalise),
    IN_FOLDER(NormaliseWrong),
    IN_FOLDER(Augment),
    IN_FOLDER(AugmentSplit),
};

TEST_MAIN(tests)
