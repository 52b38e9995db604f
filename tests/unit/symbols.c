/* The symbol of one-layer networks: known symbols, signs, and never inside the operator that it bounds. */
#include "problem.h"
#include "core/memory.h"
#include "stability/symbol.h"
#include <petscblaslapack.h>
#include <stdlib.h>

static double Bound(Fixture *f)
{
  PetscReal bound;
  OK(CourantSymbolBound(f->problem, f->theta, &bound));
  return bound;
}

static CourantSymbolBounds Bounds(Fixture *f)
{
  CourantSymbolBounds bounds;
  CourantSymbol symbol;
  OK(CourantSymbolCreate(f->problem, &symbol));
  OK(CourantSymbolCompute(symbol, f->theta));
  OK(CourantSymbolGetBounds(symbol, &bounds));
  OK(CourantSymbolDestroy(&symbol));
  return bounds;
}

/*
  The paper's checkerboard, sum, label 1: a beta / 2 |I^|^2 = -256^4 / 4 at the highest frequency, and on a
  grid of 287, half a step away, -(sin(256 d) / sin(d))^4 / 4 with d = pi / 574; the frozen operator is
  -225^2 32^2 / 4 times the projection on c, the checkerboard of the window. The exact one has the patches'
  sum in it, 225^2 being odd: + c / 2, and so |c|^2 / 16.
*/
static void Checkerboard(void **state)
{
  const double d = M_PI / 574;
  CourantExtreme largest, smallest;
  Fixture f;

  (void)state;
  Open(&f, "data: {source: checkerboard, size: 256, label: 1}\n"
           "network:\n- conv: {channels: 1, kernel: 32, bias: false}\n- swish: {}\n- global_sum: {}\nloss: "
           "logistic\nweights: {init: zero}\n");
  const CourantSymbolBounds b = Bounds(&f);
  NEAR(b.lower.value, -1.073741824e9, 1e-3);
  NEAR(b.lower.frequency[0], M_PI, 1e-7);
  NEAR(b.lower.frequency[1], M_PI, 1e-7);
  NEAR(b.lower_circulant.value, -0.25 * pow(sin(256 * d) / sin(d), 4), 1e-3);
  NEAR(b.lower_circulant.value, -2.629491e8, 5e1);
  NEAR(b.upper.value, 0, 0);
  NEAR(b.rank_one, 1024. / 16, 1e-9);
  Extremes(&f, 0, &largest, &smallest, NULL);
  NEAR(smallest.value, -1.296e7 + 1024. / 16, 1e-4);
  OK(CourantProblemFreezeLoss(f.problem, f.theta));
  Extremes(&f, 0, &largest, &smallest, NULL);
  NEAR(smallest.value, -1.296e7, 1e-4);
  NEAR(b.lower.value / smallest.value, 82.8504, 1e-4);
  NEAR(b.lower_circulant.value / smallest.value, 20.2893, 1e-4);
  /* with steps of 1e-8 all modes decay for 1.296e7 < alpha < 2e8; by the bound for no alpha */
  assert_true(-smallest.value < 2 / 1e-8 - largest.value && -b.lower.value > 2 / 1e-8 - b.upper.value);
  Close(&f);
}

/*
  K = 0, mean, an image whose mean is not 0: H = a / 2 A + g g^T / 4 from the patches by plain loops, g half
  the mean patch; LAPACK's ends of it, without the rank-one part and with it.
*/
static void Dense(const double *image, int n, int k, double a, PetscBool exact, double ends[2])
{
  const int m = n - k + 1, p = k * k;
  double *H = calloc((size_t)(p * p), sizeof *H), *g = calloc((size_t)p, sizeof *g),
         *values = calloc((size_t)p, sizeof *values), work[1024];
  PetscBLASInt size = p, lwork = 1024, info;

  for (int z = 0; z < m * m; z++)
    for (int i = 0; i < p; i++) {
      const double left = image[(z / m + i / k) * n + z % m + i % k];
      g[i] += left / (2. * m * m);
      for (int j = 0; j < p; j++)
        H[i * p + j] += a / 2 * left * image[(z / m + j / k) * n + z % m + j % k] / (m * m);
    }
  for (int i = 0; i < p * p && exact; i++) H[i] += g[i / p] * g[i % p] / 4;
  LAPACKsyev_("N", "U", &size, H, &size, values, work, &lwork, &info);
  assert_int_equal(info, 0);
  ends[0] = values[p - 1];
  ends[1] = values[0];
  free(H), free(g), free(values);
}

static void RankOne(void **state)
{
  enum { N = 10, K = 3 };
  double frozen[2], exact[2], image[N * N];
  CourantExtreme largest, smallest;

  (void)state;
  for (int label = 0; label < 2; label++) {
    Fixture f;
    Open(&f, "data: {source: noise, size: 10, exponent: 1, mean: 0.7, classes: 1, seed: 9}\n"
             "network:\n- conv: {channels: 1, kernel: 3, bias: false}\n- swish: {}\n- global_mean: {}\nloss: "
             "logistic\nweights: {init: zero}\n");
    f.problem->data->labels[0] = label;
    assert_null(CourantBatchRead(&(CourantBatch){.data = f.problem->data, .n = 1}, 0, 1, image));
    Dense(image, N, K, 0.5 - label, PETSC_FALSE, frozen);
    Dense(image, N, K, 0.5 - label, PETSC_TRUE, exact);
    Extremes(&f, 0, &largest, &smallest, NULL);
    NEAR(largest.value, exact[0], 1e-13); /* rounding of sums of order 1 */
    NEAR(smallest.value, exact[1], 1e-13);
    const CourantSymbolBounds b = Bounds(&f);
    assert_true(b.upper.value + b.rank_one >= exact[0] && b.lower.value <= exact[1]);
    OK(CourantProblemFreezeLoss(f.problem, f.theta));
    Extremes(&f, 0, &largest, &smallest, NULL);
    NEAR(largest.value, frozen[0], 1e-13);
    NEAR(smallest.value, frozen[1], 1e-13);
    assert_true(fabs(exact[label] - frozen[label]) > 0.03 * fabs(exact[label])); /* the end that counts */
    OK(CourantProblemThawLoss(f.problem));
    Extremes(&f, 0, &largest, &smallest, NULL);
    NEAR(largest.value, exact[0], 1e-13);
    Close(&f);
  }
}

/* One pixel: |I^|^2 = 1 at every frequency, and the operator is the identity. */
static void OnePixel(void **state)
{
  CourantExtreme largest, smallest;
  Fixture f;

  (void)state;
  Open(&f, "data: {source: checkerboard, size: 1, label: 0}\n"
           "network:\n- conv: {channels: 1, kernel: 3, padding: 2, bias: false}\n- swish: {}\n- global_sum: "
           "{}\nloss: logistic\nweights: {init: zero}\n");
  OK(CourantProblemFreezeLoss(f.problem, f.theta));
  Extremes(&f, 0, &largest, &smallest, NULL);
  NEAR(largest.value, 0.25, 1e-12);
  NEAR(smallest.value, 0.25, 1e-12);
  NEAR(Bound(&f), 0.25, 1e-12);
  Close(&f);
}

/*
  Circular convolution with a full window: the operator is the
  convolution, and the bounds are its extreme eigenvalues.
*/
static void FullWindow(void **state)
{
  CourantExtreme largest, smallest;
  Fixture f;

  (void)state;
  Open(&f, "data: {source: noise, height: 9, width: 12, exponent: 1, mean: 0.3, seed: 8}\n"
           "network:\n- conv: {channels: 1, kernel: [9, 12], padding: circular, bias: false}\n- swish: {}\n- "
           "global_mean: {}\n"
           "loss: logistic\nweights: {init: zero}\n");
  OK(CourantProblemFreezeLoss(f.problem, f.theta));
  Extremes(&f, 0, &largest, &smallest, NULL);
  const CourantSymbolBounds b = Bounds(&f);
  const double tolerance = 1e-9 * fmax(fabs(largest.value), fabs(smallest.value)); /* SLEPc's */
  NEAR(b.upper.value, largest.value, tolerance);
  NEAR(b.lower.value, smallest.value, tolerance);
  NEAR(b.upper_circulant.value, b.upper.value, 0);
  Close(&f);
}

/* At random states, paddings, labels and numbers of images. */
static void AreBounds(void **state)
{
  static const char *const paddings[] = {"valid", "circular", "same", "3", "valid, stride: 2", "5"};

  (void)state;
  for (int i = 0; i < 24; i++) {
    CourantExtreme largest, smallest;
    char text[512];
    Fixture f;
    snprintf(text, sizeof text,
             "data: {source: noise, height: 14, width: 11, exponent: %d, mean: 0.4, samples: %d, seed: %d}\n"
             "network:\n- conv: {channels: 1, kernel: [3, 5], padding: %s, bias: false}\n- swish: {beta: "
             "1.5}\n- %s: {}\n"
             "loss: logistic\nweights: {init: normal, std: %g, seed: %d}\n",
             i % 3, 1 + i % 5, i, paddings[i % 6], i % 2 ? "global_mean" : "global_sum", i % 2 ? 0.5 : 0.02,
             i);
    Open(&f, text);
    Extremes(&f, 0, &largest, &smallest, NULL);
    const CourantSymbolBounds b = Bounds(&f);
    const double upper = fmin(b.upper.value, b.upper_circulant.value) + b.rank_one,
                 lower = fmax(b.lower.value, b.lower_circulant.value);
    if (!(upper >= largest.value - 1e-10 && lower <= smallest.value + 1e-10))
      fail_msg("case %d: eigenvalues %g to %g, bounds %g to %g", i, smallest.value, largest.value, lower,
               upper);
    NEAR(Bound(&f), b.upper.value + b.rank_one, 0);
    Close(&f);
  }
}

/* The supremum over continuous frequencies of an image [h,w] is that of a much finer grid. */
static void CompareWithFiner(int h, int w, int seed)
{
  enum { FINE = 800 };
  double *image = malloc(sizeof(double) * (size_t)(h * w)), highest = 0;
  char deck[512];
  Fixture f;

  snprintf(deck, sizeof deck,
           "data: {source: noise, height: %d, width: %d, exponent: 1, samples: 1, classes: 1, seed: %d}\n"
           "network:\n- conv: {channels: 1, kernel: [%d, %d], bias: false}\n- swish: {}\n- global_sum: {}\n"
           "loss: logistic\nweights: {init: zero}\n",
           h, w, seed, h < 3 ? h : 3, w < 3 ? w : 3);
  Open(&f, deck);
  OK(CourantProblemFreezeLoss(f.problem, f.theta));
  assert_null(CourantBatchRead(&(CourantBatch){.data = f.problem->data, .n = 1}, 0, 1, image));
  for (int a = 0; a < (h > 1 ? FINE : 1); a++)
    for (int b = 0; b <= FINE / 2; b++) {
      double re = 0, im = 0;
      for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
          const double phase = 2 * M_PI * ((double)a * y + (double)b * x) / FINE;
          re += image[y * w + x] * cos(phase);
          im -= image[y * w + x] * sin(phase);
        }
      highest = fmax(highest, re * re + im * im);
    }
  assert_true(Bound(&f) / 0.25 >= highest);
  NEAR(Bound(&f) / 0.25, highest, 2e-4 * highest);
  free(image);
  Close(&f);
}

static void Supremum(void **state)
{
  (void)state;
  CompareWithFiner(10, 10, 21);
  CompareWithFiner(1, 10, 21); /* p bends down along one axis alone */
  CompareWithFiner(10, 1, 21);
}

/*
  Images of both labels at K = 0: the symbol is sum_i (1/2 - y_i) / 2 |I_i^|^2, by plain sums. With zeros
  enough around the images nothing else bounds the operator, neither above nor below.
*/
static void Signs(void **state)
{
  enum { H = 7, W = 6, IMAGES = 5 };
  double images[IMAGES][H * W];
  CourantSymbol symbol;
  Fixture f;

  (void)state;
  Open(&f,
       "data: {source: noise, height: 7, width: 6, samples: 5, exponent: 1, mean: 0.4, seed: 3}\n"
       "network:\n- conv: {channels: 1, kernel: [3, 2], padding: 2, bias: false}\n- swish: {}\n- global_sum: "
       "{}\nloss: logistic\nweights: {init: zero}\n");
  for (int i = 0; i < IMAGES; i++) f.problem->data->labels[i] = i % 2;
  assert_null(CourantBatchRead(&(CourantBatch){.data = f.problem->data, .n = IMAGES}, 0, IMAGES, images[0]));
  OK(CourantSymbolCreate(f.problem, &symbol));
  OK(CourantSymbolCompute(symbol, f.theta));
  for (int row = 0; row < symbol->grid[0]; row++)
    for (int column = 0; column <= symbol->grid[1] / 2; column++) {
      double sums[2] = {0, 0};
      for (int i = 0; i < IMAGES; i++) {
        double re = 0, im = 0;
        for (int z = 0; z < H * W; z++) {
          const double phase =
              2 * M_PI *
              ((double)row * (z / W) / symbol->grid[0] + (double)column * (z % W) / symbol->grid[1]);
          re += images[i][z] * cos(phase);
          im += images[i][z] * sin(phase);
        }
        sums[0] += (re * re + im * im) / IMAGES;
        sums[1] += (i % 2 ? -0.25 : 0.25) * (re * re + im * im) / IMAGES;
      }
      const int at = row * (symbol->grid[1] / 2 + 1) + column;
      NEAR(CourantSymbolValues(symbol, COURANT_SYMBOL_POWER)[at], sums[0], 1e-11);
      for (int kind = COURANT_SYMBOL_MEAN; kind < COURANT_SYMBOLS; kind++)
        NEAR(CourantSymbolValues(symbol, (CourantSymbolKind)kind)[at], sums[1], 1e-11);
    }
  assert_true(symbol->bounds.highest.value > 0 && symbol->bounds.lowest.value < 0);
  NEAR(symbol->bounds.upper.value, symbol->bounds.highest.value, 0);
  OK(CourantSymbolDestroy(&symbol));
  Close(&f);
}

/*
  Two single pixels with different labels: the symbol is 0 everywhere, and so is the operator that sums over
  all shifts. A valid convolution sees each pixel at one place of the window: 1/2 (e e^T - d d^T) / 4, which a
  bound that lets the signs cancel would miss.
*/
static void Cancellation(void **state)
{
  static const char *const paddings[] = {"valid", "2"};
  static const double expected[] = {0.125, 0};

  (void)state;
  for (int i = 0; i < 2; i++) {
    CourantExtreme largest, smallest;
    char text[512];
    Fixture f;
    snprintf(
        text, sizeof text,
        "data: {source: noise, size: 3, samples: 2}\n"
        "network:\n- conv: {channels: 1, kernel: 3, padding: %s, bias: false}\n- swish: {}\n- global_sum: "
        "{}\nloss: logistic\nweights: {init: zero}\n",
        paddings[i]);
    Open(&f, text);
    memset(f.problem->data->images, 0, sizeof(double) * 18);
    f.problem->data->images[4] = f.problem->data->images[9] = 1;
    f.problem->data->labels[0] = 0;
    f.problem->data->labels[1] = 1;
    const CourantSymbolBounds b = Bounds(&f);
    NEAR(b.highest.value, 0, 1e-15);
    NEAR(b.upper.value, expected[i], 1e-15);
    NEAR(b.lower.value, -expected[i], 1e-15);
    OK(CourantProblemFreezeLoss(f.problem, f.theta));
    Extremes(&f, 0, &largest, &smallest, NULL);
    NEAR(largest.value, expected[i], 1e-14);
    NEAR(smallest.value, -expected[i], 1e-14);
    Close(&f);
  }
}

/*
  Slack of a photograph-like image over growing kernels. Circular: falls to 1, where the window is the image.
  Valid: a minimum, then up again as output rows vanish.
*/
static double Slack(const char *padding, int kernel)
{
  CourantExtreme largest;
  CourantSpectrum spectrum;
  char text[512];
  Fixture f;
  Mat H;

  snprintf(
      text, sizeof text,
      "data: {source: noise, size: 48, exponent: 2, mean: 0.5, classes: 1, seed: 4}\n"
      "network:\n- conv: {channels: 1, kernel: %d, padding: %s, bias: false}\n- swish: {}\n- global_mean: "
      "{}\nloss: logistic\nweights: {init: zero}\n",
      kernel, padding);
  Open(&f, text);
  OK(CourantProblemFreezeLoss(f.problem, f.theta));
  OK(CourantProblemCreateHessian(f.problem, &H));
  OK(CourantProblemSetState(f.problem, f.theta, NULL, NULL));
  OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
  OK(CourantSpectrumSetOperator(spectrum, H));
  OK(CourantSpectrumSolveLargest(spectrum));
  OK(CourantSpectrumGetExtremes(spectrum, &largest, NULL));
  assert_int_equal(largest.status, COURANT_CONVERGED);
  const double slack = Bound(&f) / largest.value;
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&H));
  Close(&f);
  return slack;
}

static void Photograph(void **state)
{
  static const int kernels[] = {3, 5, 8, 12, 16, 24, 32, 40, 48};
  enum { N = 9, LOWEST = 5 };
  double circular[N], valid[N];

  (void)state;
  for (int i = 0; i < N; i++) {
    circular[i] = Slack("circular", kernels[i]);
    valid[i] = Slack("valid", kernels[i]);
    if (i == 0) continue;
    BELOW(circular[i], circular[i - 1]);
    if (i <= LOWEST)
      BELOW(valid[i], valid[i - 1]);
    else
      BELOW(valid[i - 1], valid[i]);
  }
  NEAR(circular[N - 1], 1, 1e-9);
  BELOW(100, valid[N - 1]); /* one output is left */
}

/* Who computes a leaf makes no difference: three threads, one, and images that stream from their source. */
static void SameBits(void **state)
{
  double *sums[3];
  size_t length = 0;

  (void)state;
  for (int i = 0; i < 3; i++) {
    CourantSymbol symbol;
    Fixture f;
    Open(&f, "data: {source: noise, size: 12, exponent: 1, mean: 0.3, samples: 333, seed: 6}\n"
             "network:\n- conv: {channels: 1, kernel: 4, bias: false}\n- tanh\n- global_mean: {}\nloss: "
             "logistic\nweights: {init: normal, std: 0.5, seed: 2}\n");
    f.problem->threads = i == 1 ? 3 : 1;
    if (i == 2) CourantFree(&f.problem->data->images);
    OK(CourantSymbolCreate(f.problem, &symbol));
    OK(CourantSymbolCompute(symbol, f.theta));
    length = sizeof(double) * (COURANT_SYMBOLS * symbol->points + 1);
    sums[i] = malloc(length);
    memcpy(sums[i], symbol->sums, length);
    OK(CourantSymbolDestroy(&symbol));
    Close(&f);
  }
  for (int i = 1; i < 3; i++) assert_memory_equal(sums[0], sums[i], length);
  for (int i = 0; i < 3; i++) free(sums[i]);
}

static void OtherNetworks(void **state)
{
  Fixture f;
  (void)state;
  Open(&f, TWO_LAYERS);
  assert_true(isnan(Bound(&f)));
  Close(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Checkerboard), cmocka_unit_test(RankOne),       cmocka_unit_test(OnePixel),
    cmocka_unit_test(FullWindow),   cmocka_unit_test(AreBounds),     cmocka_unit_test(Supremum),
    cmocka_unit_test(Signs),        cmocka_unit_test(Cancellation),  cmocka_unit_test(Photograph),
    cmocka_unit_test(SameBits),     cmocka_unit_test(OtherNetworks),
};

TEST_MAIN(tests)
