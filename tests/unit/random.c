/* Philox against its authors' known answers; distributions; any draw on its own. */
#include "check.h"
#include "core/random.h"
#include <stdlib.h>

static void KnownAnswers(void **state)
{
  static const struct {
    CourantRandom stream;
    uint32_t draw, bits[4];
  } cases[] = {
      {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX},
       UINT32_MAX,
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x299f31d0a4093822ull, 0x243f6a88, 0x85a308d3, 0x13198a2e},
       0x03707344,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint32_t bits[4];
    CourantRandomBits(cases[i].stream, cases[i].draw, bits);
    assert_memory_equal(bits, cases[i].bits, sizeof bits);
  }
}

enum { N = 200000 };

static void Distributions(void **state)
{
  const CourantRandom stream = {.seed = 5, .purpose = 1};
  double *x = malloc(sizeof(double) * N), mean = 0, square = 0, fourth = 0;

  (void)state;
  CourantRandomNormal(stream, N, x);
  for (int i = 0; i < N; i++) {
    mean += x[i] / N;
    square += x[i] * x[i] / N;
    fourth += pow(x[i], 4) / N;
  }
  /* five standard deviations of each estimate */
  NEAR(mean, 0, 5 / sqrt(N));
  NEAR(square, 1, 5 * sqrt(2. / N));
  NEAR(fourth, 3, 5 * sqrt(96. / N));
  CourantRandomUniform(stream, N, x);
  mean = 0;
  for (int i = 0; i < N; i++) {
    assert_true(x[i] > 0 && x[i] < 1);
    mean += x[i] / N;
  }
  NEAR(mean, 0.5, 5 * sqrt(1. / 12 / N));
  free(x);
}

static void PrefixesAgree(void **state)
{
  const CourantRandom stream = {.seed = 9, .purpose = 2, .index = 7};
  double all[101], some[50];

  (void)state;
  CourantRandomNormal(stream, 101, all);
  CourantRandomNormal(stream, 50, some);
  assert_memory_equal(all, some, sizeof some);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(KnownAnswers),
    cmocka_unit_test(Distributions),
    cmocka_unit_test(PrefixesAgree),
};

TEST_MAIN(tests)
