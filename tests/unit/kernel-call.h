#pragma once
/*
  One layer called by itself, forward and backward on jets of order 1, in either precision.

  A call holds pointers alone, so that its declaration for double serves for float as well.
*/
#define COURANT_BITS 64
#define COURANT_ISA  baseline
#include "net/layerops.h"
#include "net/backend.h"
#include "deck/deck.h"
#include <math.h>
#include <stdlib.h>

enum { COEFFICIENTS = 2, SLACK = 32 };

typedef struct {
  CourantDeck deck;
  CourantNet net;
  CourantLayer *layer;
  const CourantBackend *backend;
  const CourantLayerOps *ops;
  CourantLayerSpace space;
  size_t in, out; /* numbers of a sample */
  int samples;
  CourantLayerCall call;
} KernelCall;

/* n numbers of the backend's precision, with slack behind them that is no number. */
static inline void *KernelArray(const KernelCall *k, size_t n)
{
  const size_t length = (n + 2 * SLACK) * k->backend->real_size;
  char *array = (char *)aligned_alloc(64, (length + 63) / 64 * 64);
  memset(array, 0, n * k->backend->real_size);
  memset(array + n * k->backend->real_size, 0xff, length - n * k->backend->real_size);
  return array;
}

static inline void KernelPut(const KernelCall *k, size_t n, const double *values, void *array)
{
  if (k->backend->bits == 64)
    memcpy(array, values, n * sizeof *values);
  else
    for (size_t i = 0; i < n; i++) ((float *)array)[i] = (float)values[i];
}

/* A network of one layer, as if others came before it unless it is `first`: that has no gradient by its
 * input. */
static inline PetscErrorCode KernelOpen(const CourantBackend *backend, const char *layer, CourantShape in,
                                        PetscBool first, int samples, KernelCall *k)
{
  char text[512];

  PetscFunctionBeginUser;
  memset(k, 0, sizeof *k);
  snprintf(text, sizeof text, "network:\n- %s\nloss: logistic\n", layer);
  PetscCall(CourantDeckParse(PETSC_COMM_SELF, text, NULL, &k->deck));
  const CourantNode root = CourantDeckRoot(k->deck);
  const CourantNetDeck net = {.network = CourantNodeChild(root, "network"),
                              .loss = CourantNodeChild(root, "loss")};
  PetscCall(CourantNetCreate(&net, in, &k->net));
  k->layer = &k->net->layers[0];
  k->layer->first = first;
  k->backend = backend;
  k->ops = backend->layers[k->layer->type];
  k->space.packed = k->space.gradient = (size_t)k->layer->size;
  k->ops->Space(k->layer, 1, &k->space);
  k->in = CourantShapeSize(k->layer->in);
  k->out = CourantShapeSize(k->layer->out);
  k->samples = samples;
  const size_t n = (size_t)samples;
  CourantLayerCall *c = &k->call;
  c->layer = k->layer;
  c->prepared = k->ops->Prepare ? k->ops->Prepare(k->layer) : NULL;
  c->n = samples;
  c->order = c->reserve = c->x.degree = c->w.degree = 1;
  c->scratch = (real *)KernelArray(k, k->space.scratch);
  for (int j = 0; j < COEFFICIENTS; j++) {
    c->x.c[j] = (real *)KernelArray(k, n * k->in);
    c->dx.c[j] = first ? NULL : (real *)KernelArray(k, n * k->in);
    c->y.c[j] = (real *)KernelArray(k, n * k->out);
    c->dy.c[j] = (real *)KernelArray(k, n * k->out);
    c->w.c[j] = (real *)KernelArray(k, k->space.packed);
    c->dw[j] = (real *)KernelArray(k, k->space.gradient);
    c->state[j] = (real *)KernelArray(k, n * k->space.state);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Inputs [samples,in], output gradients [samples,out] and parameters [size] of coefficient j. */
static inline void KernelSet(KernelCall *k, int j, const double *x, const double *dy, const double *theta)
{
  KernelPut(k, (size_t)k->samples * k->in, x, k->call.x.c[j]);
  KernelPut(k, (size_t)k->samples * k->out, dy, k->call.dy.c[j]);
  k->ops->Pack(k->layer, k->call.prepared, theta, k->call.w.c[j], k->call.scratch);
}

static inline PetscErrorCode KernelClose(KernelCall *k)
{
  CourantLayerCall *c = &k->call;

  PetscFunctionBeginUser;
  if (k->ops->Release) k->ops->Release(c->prepared);
  for (int j = 0; j < COEFFICIENTS; j++) {
    free(c->x.c[j]), free(c->dx.c[j]), free(c->y.c[j]), free(c->dy.c[j]);
    free(c->w.c[j]), free(c->dw[j]), free(c->state[j]);
  }
  free(c->scratch);
  PetscCall(CourantNetDestroy(&k->net));
  PetscCall(CourantDeckDestroy(&k->deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}
