#pragma once
/* What a layer is, for those who build networks; the numbers it computes with are in net/layerops.h. */
#include "deck/deck.h"
#include "net/order.h"

/* Activations of one sample, channel-last. */
typedef struct {
  PetscInt h, w, c;
} CourantShape;

static inline size_t CourantShapeSize(CourantShape s)
{
  return (size_t)s.h * (size_t)s.w * (size_t)s.c;
}

/* One tensor of weights; named, laid out and initialised as PyTorch does. */
typedef struct {
  const char *name;       /* "weight", "bias" */
  int ndims;              /* at most 4 */
  PetscInt dims[4], size; /* size: the product of dims, set by the net */
  double fan_in, fan_out; /* connections per output and per input, for the initial scale */
  PetscBool exempt;       /* from decay when only kernels decay */
  PetscBool fixed;        /* starts at `start`, unless the weights come from a file */
  double start;
} CourantParameter;

#define COURANT_LAYER_PARAMETERS 2

/* Arrays a layer asks for, in reals. */
typedef struct {
  size_t packed;   /* weights in the layout of its kernels, per Taylor coefficient */
  size_t gradient; /* gradient by the weights in the layout of its kernels, per Taylor coefficient */
  size_t primal;   /* per sample, kept with coefficient 0: what its own and later backward calls need */
  size_t state;    /* per sample and coefficient */
  size_t scratch;  /* per call, without content between calls */
  size_t shared;   /* per statistics group and coefficient, in doubles */
  size_t record;   /* of a block's or leaf's statistics, in doubles */
} CourantLayerSpace;

typedef struct _CourantLayer CourantLayer;
typedef struct _CourantNet *CourantNet;

/* Value 0 is the data, value l + 1 the output of layer l. */
struct _CourantLayer {
  int type;         /* index in the registry of layers */
  CourantNode node; /* where the deck describes it, for errors */
  char name[96];    /* "0", "5.layers.0", as in parameter names */
  void *options;    /* the struct its table of keys fills */
  int source;       /* the value it reads */
  int other;        /* a second value to be added to it, of residual; -1: none */
  CourantShape in, out;
  int nparameters;
  CourantParameter parameters[COURANT_LAYER_PARAMETERS];
  PetscInt offset, size; /* of its parameters in theta */
  PetscInt buffer;       /* place of its running statistics among those of the net: means, then variances */
  double momentum;       /* weight of a new batch in them */
  PetscBool first;       /* its inputs depend on no weights: constant, and no gradient by them is wanted */
};

typedef struct CourantLayerCall CourantLayerCall;
typedef struct CourantLossCall CourantLossCall;

/*
  What a layer needs to know of all samples of a statistics group before it goes on, forward or backward.

  Measure() makes the record of a block; records of blocks, then of leaves, are merged along the summation
  tree; Conclude() turns the record of the group into the coefficients from..order of what its samples share.
*/
typedef struct {
  void (*Measure)(const CourantLayerCall *, double *record);
  void (*Merge)(const CourantLayerCall *, double *into, const double *record);
  void (*Conclude)(const CourantLayerCall *, const double *record);
} CourantStatisticsOps;

/*
  A layer type, one file under net/layers. Compiled once per variant (jet/variant.h); SetUp and the
  descriptions are the same in each.

  All but SetUp are called from threads and call nothing of PETSc.
*/
typedef struct {
  const char *name, *help;
  const char *const *examples; /* options as in a deck, for tests and help; the last is NULL */
  const CourantKey *keys;
  size_t options_size;
  PetscBool linear;        /* in its input, for fixed weights */
  PetscBool bounded_slope; /* pointwise, with a bounded first derivative */
  PetscBool in_place;      /* dx may stand where dy does */
  /* Of layers that couple the samples of a group; else NULL. */
  const CourantStatisticsOps *statistics_forward, *statistics_backward;
  PetscBool kinked; /* not differentiable everywhere: minimisers may sit on its kinks */

  /* Of layers made of others: adds these to the net. One without Forward() leaves nothing else behind and
     sets layer->source to where its output is. */
  PetscErrorCode (*Expand)(CourantNet, CourantLayer *);
  /* Multiplies the number of channels that the options name; NULL: they name none. */
  void (*Widen)(void *options, double factor);
  /* Checks the options against layer->in; sets out and parameters. */
  PetscErrorCode (*SetUp)(CourantLayer *);
  /* Space for Taylor coefficients up to `order`; NULL: none. */
  void (*Space)(const CourantLayer *, int order, CourantLayerSpace *);
  /* Plans and tables, and their end; NULL: none. Not called from threads. */
  void *(*Prepare)(const CourantLayer *);
  void (*Release)(void *prepared);
  /* Parameters [size] in theta's order to the packed layout, in the working precision; NULL: a copy. */
  void (*Pack)(const CourantLayer *, void *prepared, const double *parameters, void *packed, void *scratch);
  /* The gradient summed over a leaf of samples, from the packed layout to theta's order; NULL: a copy. */
  void (*Unpack)(const CourantLayer *, void *prepared, void *packed, double *gradient, void *scratch);
  void (*Forward)(const CourantLayerCall *);
  void (*Backward)(const CourantLayerCall *);
} CourantLayerOps;

/* A loss, one file under net/losses. */
typedef struct {
  const char *name, *help;
  PetscBool bounded_gradient; /* |d loss / d p| is bounded over all p */
  /* NULL, or what is wrong with these outputs and labels [n,width]; sets the sample at fault, or -1. */
  const char *(*Check)(PetscInt outputs, PetscInt n, PetscInt width, const double *labels, PetscInt *sample);
  /* Is the class that the outputs point at the label's? In double, from one sample's outputs. */
  PetscBool (*Correct)(PetscInt outputs, PetscInt width, const double *p, const double *label);
  /* Adds the coefficients of the loss summed over the samples to loss[], writes dp = scale * d loss / d p. */
  void (*Run)(const CourantLossCall *);
} CourantLossOps;
