#pragma once
/* The numerical code of one precision and instruction set, and how a block of samples is run through it. */
#include "net/net.h"

/*
  Where each array of a block stands on its tape, in reals, one tape per Taylor coefficient; and what the
  layers have prepared.
*/
typedef struct {
  CourantNet net;                       /* borrowed */
  const CourantLayerOps *const *layers; /* of the backend */
  void **prepared;                      /* [nlayers]: what Prepare() made */
  int order;                            /* highest coefficient the tapes are laid out for */
  int samples;                          /* of a full block */
  size_t *value;                        /* [nlayers+1]: values, as numbered in layer.h */
  size_t *adjoint;    /* [nlayers+1]: gradient of the objective by them; some share a place (layout.c) */
  size_t *state;      /* [nlayers] */
  size_t *primal;     /* [nlayers], on the tape of coefficient 0 alone */
  size_t temporary;   /* a gradient on its way to an adjoint that has one already */
  PetscBool *again;   /* [nlayers,2]: a later layer reads the same value, so that gradients add up */
  size_t size, size0; /* of a tape, and of the tape of coefficient 0 */
  size_t *packed;   /* [nlayers+1]: weights of layer l in a packed vector; the last is the vector's length */
  size_t *gradient; /* [nlayers+1]: gradient by them in a packed gradient, likewise */
  size_t *shared;   /* [nlayers+1]: doubles that a group shares, likewise */
  size_t scratch;   /* the largest any layer asks for */
  size_t record;    /* likewise, in doubles */
} CourantLayout;

/*
  n samples on their way forward and back. Everything is in the backend's precision but what is double here.
*/
typedef struct {
  CourantNet net;
  const CourantLayout *layout;
  int n, from, order, reserve;                /* as in CourantLayerCall */
  PetscBool gauss_newton;                     /* backward takes the loss's coefficient 1 through order 0 */
  const double *images;                       /* [n,h,w,c] */
  const double *labels;                       /* [n,width] */
  int width;                                  /* numbers of a label */
  const double *slopes;                       /* [n,outputs]: a loss frozen to slopes . p, or NULL */
  double scale;                               /* 1 / number of samples of the whole batch */
  const void *weights[COURANT_ORDER_MAX + 1]; /* packed, coefficients 0 and (order > 0) 1; NULL: they stay */
  void *tape[COURANT_ORDER_MAX + 1];
  double *shared[COURANT_ORDER_MAX + 1]; /* of the statistics group */
  void *scratch;
  void *gradient[COURANT_ORDER_MAX + 1]; /* packed, added to; all NULL: not wanted */
  double *loss;                          /* [order+1], added to */
  /* In place of the loss: the outputs' coefficient `reported` is copied to outputs [n,outputs]; or the
     gradient by them has cotangents [n,outputs] as its coefficient 1. NULL: the loss */
  double *outputs;
  int reported;
  const double *cotangents;
} CourantBlock;

typedef struct {
  const char *isa; /* "baseline", "avx2", "avx512" */
  int bits;
  size_t real_size;
  const CourantLayerOps *const *layers;
  const CourantLossOps *const *losses;
  void (*Pack)(const CourantLayout *, const double *theta, void *packed, void *scratch);
  /* A packed gradient to theta's order, in double. */
  void (*Unpack)(const CourantLayout *, void *packed, double *gradient, void *scratch);
  /* Images onto the tape; layers first .. last-1 forward; loss and its gradient; layers last-1 .. first
   * backward. */
  void (*Input)(const CourantBlock *);
  void (*Forward)(const CourantBlock *, PetscInt first, PetscInt last);
  void (*Loss)(const CourantBlock *);
  void (*Backward)(const CourantBlock *, PetscInt first, PetscInt last);
  /* Statistics of a layer that couples samples: a block's record merged into `into`, or from a group's
   * record. */
  void (*Measure)(const CourantBlock *, PetscInt layer, PetscBool back, double *record, double *into);
  void (*Merge)(const CourantBlock *, PetscInt layer, PetscBool back, double *into, const double *record);
  void (*Conclude)(const CourantBlock *, PetscInt layer, PetscBool back, const double *record);
  void (*Convert)(size_t n, const void *from, double *to); /* from the working precision */
  /* f, f', .. f^(order+1) of a pointwise layer at n points, in double: d[order+2], each [n] or NULL */
  void (*Derivatives)(const CourantLayer *, int order, size_t n, const double x[], double *const d[]);
} CourantBackend;

const CourantBackend *CourantBackendDefault(void);
PetscErrorCode CourantBackendGet(MPI_Comm, int bits, const char isa[], const CourantBackend **);
