#pragma once
/* The numerical code of one precision and instruction set, and how a block of samples is run through it. */
#include "net/net.h"

/* Where each array of a block stands on its tape, in reals; one tape per Taylor coefficient. */
typedef struct {
  int order;          /* highest coefficient the tapes are laid out for */
  int samples;        /* of a full block */
  size_t *value;      /* [nlayers+1]: input of layer l, output of the last */
  size_t *adjoint;    /* [nlayers+1]: gradient of the objective by it */
  size_t *state;      /* [nlayers] */
  size_t *primal;     /* [nlayers], on the tape of coefficient 0 alone */
  size_t size, size0; /* of a tape, and of the tape of coefficient 0 */
  size_t *packed;   /* [nlayers+1]: weights of layer l in a packed vector; the last is the vector's length */
  size_t *gradient; /* [nlayers+1]: gradient by them in a packed gradient, likewise */
  size_t scratch;   /* the largest any layer asks for */
} CourantLayout;

/*
  Runs n samples forward and, unless gradient is all NULL, backward.
  Everything is in the backend's precision but what is double here.
*/
typedef struct {
  CourantNet net;
  const CourantLayout *layout;
  void *const *prepared;                      /* [nlayers] */
  int n, from, order, reserve;                /* as in CourantLayerCall */
  const double *images;                       /* [n,h,w,c]; read when from is 0 */
  const double *labels;                       /* [n,width] */
  int width;                                  /* numbers of a label */
  const double *slopes;                       /* [n,outputs]: a loss frozen to slopes . p, or NULL */
  double scale;                               /* 1 / number of samples of the whole data set */
  const void *weights[COURANT_ORDER_MAX + 1]; /* packed, coefficients 0 and (order > 0) 1 */
  void *tape[COURANT_ORDER_MAX + 1];
  void *scratch;
  void *gradient[COURANT_ORDER_MAX + 1]; /* packed, added to; NULL: forward only */
  double *loss;                          /* [order+1], added to */
} CourantBlock;

typedef struct {
  const char *isa; /* "baseline", "avx2", "avx512" */
  int bits;
  size_t real_size;
  const CourantLayerOps *const *layers;
  const CourantLossOps *const *losses;
  void (*Pack)(const CourantNet, const CourantLayout *, void *const prepared[], const double *theta,
               void *packed, void *scratch);
  /* A packed gradient to theta's order, in double. */
  void (*Unpack)(const CourantNet, const CourantLayout *, void *const prepared[], void *packed,
                 double *gradient, void *scratch);
  void (*Run)(const CourantBlock *);
  void (*Convert)(size_t n, const void *from, double *to); /* from the working precision */
  /* f''(x) of a pointwise layer at n points, in double */
  PetscErrorCode (*SecondDerivative)(const CourantLayer *, size_t n, const double x[], double f2[]);
} CourantBackend;

const CourantBackend *CourantBackendDefault(void);
PetscErrorCode CourantBackendGet(MPI_Comm, int bits, const char isa[], const CourantBackend **);
