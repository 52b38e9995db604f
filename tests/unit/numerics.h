#pragma once
/* A network with its data, from the text of a deck, on a backend of one's choice. */
#include "check.h"
#include "core/random.h"
#include "net/evaluator.h"
#include <stdlib.h>

typedef struct {
  CourantDeck deck;
  CourantDataset data;
  CourantNet net;
  CourantEvaluator evaluator;
  PetscInt p;
} Numerics;

static inline void NumericsOpen(Numerics *f, const CourantBackend *backend, const char *text, int threads,
                                double memory)
{
  const char *group = strstr(text, "statistics_batch: ");
  OK(CourantDeckParse(PETSC_COMM_SELF, text, NULL, &f->deck));
  const CourantNode root = CourantDeckRoot(f->deck);
  OK(CourantDatasetCreate(CourantNodeChild(root, "data"), 1e9, &f->data));
  const CourantNetDeck net = {.network = CourantNodeChild(root, "network"),
                              .loss = CourantNodeChild(root, "loss"),
                              .statistics_batch = group ? atoi(group + 18) : 0};
  OK(CourantNetCreate(&net, (CourantShape){f->data->h, f->data->w, f->data->c}, &f->net));
  const CourantEvaluatorSettings settings = {
      .order = 3, .directions = 3, .threads = threads, .memory = memory};
  OK(CourantEvaluatorCreate(f->net, f->data, backend, &settings, &f->evaluator));
  f->p = f->net->size;
}

static inline void NumericsClose(Numerics *f)
{
  OK(CourantEvaluatorDestroy(&f->evaluator));
  OK(CourantNetDestroy(&f->net));
  OK(CourantDatasetDestroy(&f->data));
  OK(CourantDeckDestroy(&f->deck));
}

/* n normal numbers, the index-th such list; freed by the caller. */
static inline double *Normal(PetscInt n, uint32_t index, double scale)
{
  double *values = malloc(sizeof(double) * (size_t)n);
  CourantRandomNormal((CourantRandom){.seed = 11, .purpose = COURANT_RANDOM_TEST, .index = index}, n, values);
  for (PetscInt i = 0; i < n; i++) values[i] *= scale;
  return values;
}

static inline double Dot(PetscInt n, const double *a, const double *b)
{
  double sum = 0;
  for (PetscInt i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static inline double Distance(PetscInt n, const double *a, const double *b)
{
  double sum = 0;
  for (PetscInt i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sqrt(sum);
}

/* Test() for the code of every instruction set this machine has. */
static inline void ForEveryBackend(int bits, void (*Test)(const CourantBackend *))
{
  static const char *const isas[] = {"baseline", "avx2", "avx512"};
  int tested = 0;

  for (int i = 0; i < 3; i++) {
    const CourantBackend *backend;
    if (CourantBackendGet(PETSC_COMM_SELF, bits, isas[i], &backend))
      CourantErrorClear(); /* not on this machine */
    else {
      Test(backend);
      tested++;
    }
  }
  assert_true(tested > 0);
}
