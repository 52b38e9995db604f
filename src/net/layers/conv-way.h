#pragma once
/* The ways to compute a convolution, and what they share; conv.c chooses between them. */
#include "net/layerops.h"

/* The shapes every way needs. */
typedef struct {
  int ic, oc, kh, kw, h, w, ho, wo;
  int sy, sx;    /* strides */
  int top, left; /* padding before the first row and column */
  int hp, wp;    /* the input with its padding, as far as the kernels reach */
  int circular, first;
} ConvShape;

/*
  One way. Bias and its gradient are conv.c's own; packed weights and gradients here are those of the weights
  [oc,ic,kh,kw] alone. Forward and Backward are for one sample of the call; Forward adds the bias.
*/
typedef struct {
  void (*Space)(const ConvShape *, int order, CourantLayerSpace *);
  void *(*Prepare)(const ConvShape *);
  void (*Release)(void *plan);
  void (*Pack)(const ConvShape *, void *plan, const double *weights, real *packed, real *scratch);
  void (*Unpack)(const ConvShape *, void *plan, real *packed, double *weights, real *scratch);
  void (*Forward)(const ConvShape *, void *plan, const CourantLayerCall *, int sample);
  void (*Backward)(const ConvShape *, void *plan, const CourantLayerCall *, int sample);
  /*
    Estimated time of forward and backward of one sample, in multiply-adds of whole vectors; INFINITY where
    the way does not exist. The factors are measured over images of 16 to 256 pixels, kernels of 1 to 32, 1 to
    16 channels, all precisions and instruction sets; the lowest estimate then costs 2 to 8 % more than the
    best way on average.
  */
  double (*Cost)(const ConvShape *);
} ConvWay;

extern const ConvWay COURANT_VARIANT(ConvPlanes), COURANT_VARIANT(ConvChannels), COURANT_VARIANT(ConvFourier);

static inline size_t ConvWhole(size_t n)
{
  return (n + 15) / 16 * 16;
}

/* The bias stands before the weights, a vector of slack behind it. */
static inline size_t ConvBiasSize(const ConvShape *s)
{
  return ConvWhole((size_t)s->oc) + 16;
}

static inline const real *ConvBias(const CourantLayerCall *call, int k)
{
  return call->layer->nparameters == 2 && k <= call->w.degree ? call->w.c[k] : NULL;
}

static inline const real *ConvWeights(const ConvShape *s, const CourantLayerCall *call, int k)
{
  return call->w.c[k] + ConvBiasSize(s);
}

static inline real *ConvGradient(const ConvShape *s, const CourantLayerCall *call, int k)
{
  return call->dw[k] ? call->dw[k] + ConvBiasSize(s) : NULL;
}

/* A sample of an array [n,h,w,ic] or [n,ho,wo,oc]. */
static inline real *ConvInput(const ConvShape *s, const Jet *x, int k, int sample)
{
  return x->c[k] + (size_t)sample * (size_t)s->h * (size_t)s->w * (size_t)s->ic;
}

static inline real *ConvOutput(const ConvShape *s, const Jet *y, int k, int sample)
{
  return y->c[k] + (size_t)sample * (size_t)s->ho * (size_t)s->wo * (size_t)s->oc;
}

static inline int ConvMin(int a, int b)
{
  return a < b ? a : b;
}

static inline int ConvMax(int a, int b)
{
  return a > b ? a : b;
}
