#pragma once
/* The parts of courant spectrum: what it computes (spectrum.c), how it is written and told
   (spectrum-result.c), derivatives along a direction (spectrum-direction.c), how many are to be expected
   above -above (spectrum-count.c). */
#include "cmd/density.h"
#include "cmd/session.h"
#include "cmd/sgd.h"
#include "core/progress.h"
#include "train/run.h"

typedef enum { HESSIAN, GAUSS_NEWTON, NTK, LAYER_BLOCKS, PRECONDITIONED, OPERATORS } Operator;

/* The weights that operators are at, by their names in options. */
enum { INIT, ZERO, EQUILIBRIUM, TRAINED, STATES };

typedef struct {
  const char *name, *title, *formula;
  const char *prefix; /* of the solvers' options; NULL: both ends have their own */
  PetscBool limits;   /* its eigenvalues limit learning rates */
} OperatorText;

/* An eigenvalue with what is told of it. */
typedef struct {
  CourantEigenvalue value;
  CourantSide side;
  PetscInt layer;    /* whose block it is of; -1: of the whole */
  double *weights;   /* [layers]: squares of its vector in each layer, summing to 1; NaN: it has none */
  PetscReal decayed; /* m, where decay adds alpha to it; NaN: it does not */
} SpectrumRow;

/* How many there are above -above: those found, and what probes that know nothing of these say. */
typedef struct {
  PetscInt found, products;
  CourantEstimate estimate;
} SpectrumCount;

typedef struct {
  CourantProblem problem;
  CourantTrainSettings train;
  CourantOutput output;
  CourantProgress progress;
  /* what is asked for */
  Operator kind;
  PetscInt largest, smallest; /* eigenvalues of each end */
  PetscReal above;            /* all above it; NaN: a number of them */
  PetscBool single, weighted;
  int linearise;
  char run[PETSC_MAX_PATH_LEN]; /* result of courant train with Adam's moments; empty: none */
  double *direction;            /* [p], on every rank; NULL: none is asked for */
  /* the solvers */
  CourantSpectrum spectrum;
  CourantEquilibrium equilibrium;
  CourantRun training;    /* where the weights are trained first */
  CourantDensity density; /* NULL: not asked for */
  CourantDensity counter; /* a short one, for the number above -above; NULL: the density has it, or none is
                             asked for */
  CourantSgd sgd;
  PetscBool mini_batches; /* their limits are asked for */
  Mat A, fast, J;         /* the operator; the same in single precision; Jacobian of the kernel; or NULL */
  Vec theta, gradient, P;
  double adam_limit; /* of learning rate times nu */
  /* what comes out */
  PetscReal loss, gradient_norm, norm;
  PetscInt nlayers, *layers; /* those with parameters */
  PetscInt n, capacity;
  SpectrumRow *rows;
  PetscInt ncounts;
  SpectrumCount *counts;        /* [ncounts] of the operator, or of each layer's block */
  PetscReal missed;             /* probability that an eigenvalue above -above was missed */
  double products, certificate; /* of all ends */
  double worst;                 /* residual, relative to the norm */
} SpectrumSession;

extern const OperatorText SpectrumOperators[OPERATORS];
extern const char *const SpectrumStates[STATES];

PetscErrorCode SpectrumReadDirection(SpectrumSession *);
PetscErrorCode SpectrumDifferentiate(SpectrumSession *);
PetscErrorCode SpectrumRuleLimit(const char text[], double *limit);
PetscErrorCode SpectrumOpenCount(SpectrumSession *);
PetscErrorCode SpectrumCountAbove(SpectrumSession *, Mat A, PetscInt found);
PetscErrorCode SpectrumCountByDensity(SpectrumSession *);
PetscErrorCode SpectrumWriteCounts(SpectrumSession *, const char layers[]);
void SpectrumPrintCounts(const SpectrumSession *);
PetscErrorCode SpectrumWrite(SpectrumSession *);
PetscErrorCode SpectrumPrint(const SpectrumSession *);
