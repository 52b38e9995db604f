/* The order of summation belongs to the data: threads, splits and memory never change a bit. */
#include "numerics.h"
#include "net/treesum.h"

enum { LENGTH = 5, MOST = 37 };

static double Leaf(PetscInt leaf, int k)
{
  return sin(1 + 7 * leaf + k) * pow(10, (leaf * 5 + k) % 9);
}

/* The definition: a range is the largest power of two of its leaves, plus the rest. */
static double Recursive(PetscInt first, PetscInt n, int k)
{
  PetscInt left = 1;
  if (n == 1) return Leaf(first, k);
  while (2 * left < n) left *= 2;
  return Recursive(first, left, k) + Recursive(first + left, n - left, k);
}

static void Fill(CourantTreeSum *sum, PetscInt first, PetscInt last)
{
  for (PetscInt leaf = first; leaf < last; leaf++) {
    double *values = CourantTreeSumNext(sum);
    for (int k = 0; k < LENGTH; k++) values[k] = Leaf(leaf, k);
    CourantTreeSumAdd(sum, leaf);
  }
}

/* Every split of 1 .. 37 leaves into three neighbours. */
static void Splits(void **state)
{
  CourantTreeSum part[3];
  double result[LENGTH];

  (void)state;
  for (int i = 0; i < 3; i++) OK(CourantTreeSumCreate(LENGTH, MOST, &part[i]));
  for (PetscInt n = 1; n <= MOST; n++)
    for (PetscInt a = 0; a <= n; a++)
      for (PetscInt b = a; b <= n; b++) {
        Fill(&part[0], 0, a), Fill(&part[1], a, b), Fill(&part[2], b, n);
        CourantTreeSumJoin(&part[1], &part[2]);
        CourantTreeSumJoin(&part[0], &part[1]);
        CourantTreeSumFold(&part[0], result);
        for (int k = 0; k < LENGTH; k++) assert_true(result[k] == Recursive(0, n, k));
      }
  for (int i = 0; i < 3; i++) OK(CourantTreeSumDestroy(&part[i]));
}

/* 100 samples that know nothing of each other, and in groups of 40 that do. */
static const char *const decks[] = {
    "data: {source: noise, size: 12, samples: 100, exponent: 1, seed: 2}\n"
    "network:\n- conv: {channels: 3, kernel: 5}\n- swish: {}\n"
    "- conv: {channels: 1, kernel: 3, padding: same}\n- global_mean: {}\nloss: logistic\n",
    "data: {source: noise, size: 12, samples: 100, exponent: 1, seed: 2}\nstatistics_batch: 40\n"
    "network:\n- conv: {channels: 3, kernel: 5}\n- batch_norm: {}\n- swish: {}\n"
    "- residual:\n    layers: [conv: {channels: 3, kernel: 3, padding: same}, batch_norm: {}]\n"
    "    shortcut: [conv: {channels: 3, kernel: 1}, batch_norm: {}]\n"
    "- conv: {channels: 1, kernel: 3, padding: same}\n- global_mean: {}\nloss: logistic\n",
};
static const char *deck;

/* A budget that keeps about such a part of the primals. */
static double Budget(const CourantBackend *backend, int threads, double part)
{
  double bytes[2];

  for (int i = 0; i < 2; i++) {
    Numerics f;
    NumericsOpen(&f, backend, deck, threads, i ? 1e9 : 0);
    bytes[i] = CourantEvaluatorMemory(f.evaluator);
    NumericsClose(&f);
  }
  return bytes[0] + part * (bytes[1] - bytes[0]);
}

static void CompareThreads(const CourantBackend *backend)
{
  static const struct {
    int threads;
    double kept;
  } ways[] = {{1, 1}, {2, 1}, {3, 1}, {7, 1}, {1, 0}, {2, 0}, {1, 0.4}, {2, 0.7}};
  double *first = NULL;

  for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
    Numerics f;
    NumericsOpen(&f, backend, deck, ways[w].threads, Budget(backend, ways[w].threads, ways[w].kept));
    double *theta = Normal(f.p, 0, 0.3), *v = Normal(f.p, 1, 1),
           *all = malloc(sizeof(double) * (size_t)(6 * (f.p + 1)));
    OK(CourantEvaluatorKeep(f.evaluator, theta, PETSC_COMM_SELF, all));
    OK(CourantEvaluatorProducts(f.evaluator, 1, (const double *const[]){v}, PETSC_COMM_SELF, all + f.p + 1));
    OK(CourantEvaluatorRun(f.evaluator, 3, theta, v, PETSC_COMM_SELF, all + 2 * (f.p + 1)));
    if (first)
      assert_memory_equal(first, all, sizeof(double) * (size_t)(6 * (f.p + 1)));
    else
      first = all;
    if (first != all) free(all);
    free(theta), free(v);
    NumericsClose(&f);
  }
  free(first);
}

/* Directions that share the primal give what each gives alone. */
static void CompareDirections(const CourantBackend *backend)
{
  for (int kept = 0; kept < 2; kept++) {
    Numerics f;
    NumericsOpen(&f, backend, deck, 2, kept ? 1e9 : 0);
    const size_t length = (size_t)f.p + 1;
    double *theta = Normal(f.p, 0, 0.3), *v[3], *together = malloc(sizeof(double) * 3 * length),
           *alone = malloc(sizeof(double) * 3 * length);
    for (int d = 0; d < 3; d++) v[d] = Normal(f.p, (uint32_t)d + 1, 1);
    OK(CourantEvaluatorKeep(f.evaluator, theta, PETSC_COMM_SELF, together));
    OK(CourantEvaluatorProducts(f.evaluator, 3, (const double *const *)v, PETSC_COMM_SELF, together));
    for (int d = 0; d < 3; d++)
      OK(CourantEvaluatorProducts(f.evaluator, 1, (const double *const[]){v[d]}, PETSC_COMM_SELF,
                                  alone + (size_t)d * length));
    assert_memory_equal(together, alone, sizeof(double) * 3 * length);
    for (int d = 0; d < 3; d++) free(v[d]);
    free(theta), free(together), free(alone);
    NumericsClose(&f);
  }
}

static void Directions(void **state)
{
  (void)state;
  for (int i = 0; i < 2; i++) {
    deck = decks[i];
    ForEveryBackend(64, CompareDirections);
    ForEveryBackend(32, CompareDirections);
  }
}

static void ThreadsAndMemory(void **state)
{
  (void)state;
  for (int i = 0; i < 2; i++) {
    deck = decks[i];
    ForEveryBackend(64, CompareThreads);
    ForEveryBackend(32, CompareThreads);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Splits),
    cmocka_unit_test(ThreadsAndMemory),
    cmocka_unit_test(Directions),
};

TEST_MAIN(tests)
