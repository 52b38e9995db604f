/*
  Rates of the convolution kernels beside BLAS: kernels [-isa ..] [-repeat n]

  For the layers of three networks: forward, gradient by the input and by the weights of one sample in GF/s,
  and a GEMM with as many operations of the size that im2col would give it (its copies not counted). Best of
  interleaved repetitions, one thread. Not a test: nothing passes or fails by time.
*/
#include "../unit/kernel-call.h"
#include "courant.h"
#include "core/error.h"
#include <cblas.h>
#include <time.h>

void openblas_set_num_threads(int);

static double Now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct {
  const char *layer, *where;
  CourantShape in;
  PetscBool first;
} Case;

static const Case cases[] = {
    {"conv: {channels: 8, kernel: 5}", "N1 first", {28, 28, 1}, PETSC_TRUE},
    {"conv: {channels: 16, kernel: 5}", "N1 second", {12, 12, 8}},
    {"dense: {features: 10}", "N1 dense", {1, 1, 256}},
    {"conv: {channels: 32, kernel: 3, padding: same}", "N2 first", {32, 32, 3}, PETSC_TRUE},
    {"conv: {channels: 32, kernel: 3, padding: same}", "N2 second", {32, 32, 32}},
    {"conv: {channels: 64, kernel: 3, padding: same}", "N2 third", {16, 16, 32}},
    {"conv: {channels: 64, kernel: 3, padding: same}", "N2 fourth", {16, 16, 64}},
    {"conv: {channels: 16, kernel: 3, padding: same}", "N3 stage 1", {32, 32, 16}},
    {"conv: {channels: 32, kernel: 3, stride: 2, padding: 1}", "N3 down", {32, 32, 16}},
    {"conv: {channels: 32, kernel: 3, padding: same}", "N3 stage 2", {16, 16, 32}},
    {"conv: {channels: 64, kernel: 3, stride: 2, padding: 1}", "N3 down", {16, 16, 32}},
    {"conv: {channels: 64, kernel: 3, padding: same}", "N3 stage 3", {8, 8, 64}},
    {"conv: {channels: 64, kernel: 1, stride: 2}", "N3 shortcut", {16, 16, 32}},
};

enum { FORWARD, INPUT, WEIGHTS, GEMM, KINDS };
enum { SAMPLES = 16 };

typedef struct {
  KernelCall kernel;
  int m, n, k; /* of the GEMM */
  double *a, *b, *c;
} Bench;

static void Gemm(Bench *b)
{
  for (int sample = 0; sample < SAMPLES; sample++) {
    if (b->kernel.backend->bits == 64)
      cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, b->m, b->n, b->k, 1, b->a, b->k, b->b, b->n, 0,
                  b->c, b->n);
    else
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, b->m, b->n, b->k, 1, (float *)b->a, b->k,
                  (float *)b->b, b->n, 0, (float *)b->c, b->n);
  }
}

static void Once(Bench *b, int kind)
{
  CourantLayerCall call = b->kernel.call;

  call.order = call.x.degree = call.w.degree = 0;
  if (kind == INPUT) call.dw[0] = NULL;
  if (kind == WEIGHTS) call.dx.c[0] = NULL;
  if (kind == GEMM)
    Gemm(b);
  else if (kind == FORWARD)
    b->kernel.ops->Forward(&call);
  else
    b->kernel.ops->Backward(&call);
}

static PetscErrorCode Run(const Case *c, const CourantBackend *backend, int repeat)
{
  Bench b;
  double best[KINDS] = {0};

  PetscFunctionBeginUser;
  PetscCall(KernelOpen(backend, c->layer, c->in, c->first, SAMPLES, &b.kernel));
  const CourantLayer *layer = b.kernel.layer;
  const int out = (int)layer->out.c, dense = layer->out.h == 1 && layer->in.h == 1;
  b.m = dense ? SAMPLES : (int)(layer->out.h * layer->out.w);
  b.n = out;
  b.k = (int)(layer->parameters[0].size / out);
  const double operations = 2. * b.m * b.n * b.k * (dense ? 1 : SAMPLES);
  PetscCall(PetscCalloc3(b.m * b.k, &b.a, b.k * b.n, &b.b, b.m * b.n, &b.c));
  double *theta;
  PetscCall(PetscMalloc1(layer->size, &theta));
  for (PetscInt i = 0; i < layer->size; i++) theta[i] = sin((double)i);
  b.kernel.ops->Pack(layer, b.kernel.call.prepared, theta, b.kernel.call.w.c[0], b.kernel.call.scratch);
  const int times = (int)PetscMax(1, 1e8 / operations);
  for (int r = 0; r < repeat; r++)
    for (int kind = 0; kind < KINDS; kind++) {
      if (c->first && kind == INPUT) continue;
      const double start = Now();
      for (int i = 0; i < times; i++) Once(&b, kind);
      double rate = operations * times / (Now() - start) * 1e-9;
      if (dense && kind == GEMM) rate *= SAMPLES;
      best[kind] = PetscMax(best[kind], rate);
    }
  printf("%-12s %2dx%2dx%-3d %-52s f%d  %6.1f %6.1f %6.1f  gemm %6.1f  ratios %.2f %.2f %.2f\n", c->where,
         (int)c->in.h, (int)c->in.w, (int)c->in.c, c->layer, backend->bits, best[FORWARD], best[INPUT],
         best[WEIGHTS], best[GEMM], best[FORWARD] / best[GEMM], best[INPUT] / best[GEMM],
         best[WEIGHTS] / best[GEMM]);
  PetscCall(PetscFree(theta));
  PetscCall(PetscFree3(b.a, b.b, b.c));
  PetscCall(KernelClose(&b.kernel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunAll(void)
{
  char isa[32];
  PetscInt repeat = 20;
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-isa", isa, sizeof isa, &given));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-repeat", &repeat, NULL));
  openblas_set_num_threads(1);
  for (int bits = 64; bits >= 32; bits -= 32) {
    const CourantBackend *backend;
    PetscCall(CourantBackendGet(PETSC_COMM_SELF, bits, given ? isa : NULL, &backend));
    printf("%s, f%d: forward, gradient by input, by weights, GEMM in GF/s\n", backend->isa, bits);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) PetscCall(Run(&cases[i], backend, (int)repeat));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode code = SlepcInitialize(&argc, &argv, NULL, NULL);

  if (!code) code = PetscPushErrorHandler(CourantErrorHandler, NULL);
  if (!code) code = RunAll();
  if (code) CourantErrorExit(code);
  (void)SlepcFinalize();
  return CourantExitStatus(code);
}
