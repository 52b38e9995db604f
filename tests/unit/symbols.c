/* Von Neumann's bound: known symbols, and never below the operator it bounds. */
#include "problem.h"
#include <stdlib.h>

static double Bound(Fixture *f)
{
  PetscReal bound;
  OK(CourantSymbolBound(f->problem, f->theta, &bound));
  return bound;
}

/*
  The paper's checkerboard, sum, label 0: a beta / 2 sup |I^|^2 =
  256^4 / 4 at the highest frequency; the operator is 225^2 32^2 / 4.
*/
static void Checkerboard(void **state)
{
  CourantExtreme largest, smallest;
  Fixture f;

  (void)state;
  Open(&f, "data: {source: checkerboard, size: 256, label: 0}\n"
           "network:\n- conv: {channels: 1, kernel: 32, bias: false}\n- swish: {}\n- global_sum: {}\nloss: "
           "logistic\nweights: {init: zero}\n");
  OK(CourantProblemFreezeLoss(f.problem, f.theta));
  NEAR(Bound(&f), 1.073741824e9, 1);
  Extremes(&f, 0, &largest, &smallest, NULL);
  NEAR(largest.value, 1.296e7, 1e-2);
  NEAR(Bound(&f) / largest.value, 82.8504, 1e-3);
  Close(&f);
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
  convolution, and the bound is its largest eigenvalue.
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
  const double top = fmax(fabs(largest.value), fabs(smallest.value)); /* the sign is the label's */
  if (largest.value > 1e-8)
    NEAR(Bound(&f), top, 1e-9 * top);
  else
    NEAR(Bound(&f), 0, 1e-12);
  Close(&f);
}

/* At random states, paddings, labels and numbers of images. */
static void Bounds(void **state)
{
  static const char *const paddings[] = {"valid", "circular", "same", "3"};

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
             i % 3, 1 + i % 5, i, paddings[i % 4], i % 2 ? "global_mean" : "global_sum", i % 2 ? 0.5 : 0.02,
             i);
    Open(&f, text);
    Extremes(&f, 0, &largest, &smallest, NULL);
    const double bound = Bound(&f);
    if (!(bound >= largest.value - 1e-10))
      fail_msg("case %d: bound %g below lambda_max %g", i, bound, largest.value);
    Close(&f);
  }
}

/* The supremum over continuous frequencies is that of a grid sixteen times finer than the transform's. */
static void Supremum(void **state)
{
  enum { N = 10, FINE = 800 };
  double *image = malloc(sizeof(double) * N * N), highest = 0;
  Fixture f;

  (void)state;
  Open(&f, "data: {source: noise, size: 10, exponent: 1, samples: 1, classes: 1, seed: 21}\n"
           "network:\n- conv: {channels: 1, kernel: 3, bias: false}\n- swish: {}\n- global_sum: {}\nloss: "
           "logistic\nweights: {init: zero}\n");
  OK(CourantProblemFreezeLoss(f.problem, f.theta));
  assert_null(CourantBatchRead(&(CourantBatch){.data = f.problem->data, .n = 1}, 0, 1, image));
  for (int a = 0; a < FINE; a++)
    for (int b = 0; b <= FINE / 2; b++) {
      double re = 0, im = 0;
      for (int y = 0; y < N; y++)
        for (int x = 0; x < N; x++) {
          const double phase = 2 * M_PI * ((double)a * y + (double)b * x) / FINE;
          re += image[y * N + x] * cos(phase);
          im -= image[y * N + x] * sin(phase);
        }
      highest = fmax(highest, re * re + im * im);
    }
  assert_true(Bound(&f) / 0.25 >= highest);
  NEAR(Bound(&f) / 0.25, highest, 2e-4 * highest);
  free(image);
  Close(&f);
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
    cmocka_unit_test(Checkerboard), cmocka_unit_test(OnePixel), cmocka_unit_test(FullWindow),
    cmocka_unit_test(Bounds),       cmocka_unit_test(Supremum), cmocka_unit_test(OtherNetworks),
};

TEST_MAIN(tests)
