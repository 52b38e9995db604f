#pragma once
/* The inside of a CourantProblem, for the rooms above that train and analyse it. */
#include "courant.h"
#include "deck/model.h"
#include "net/evaluator.h"
#include "net/weights.h"

/* The sections of a network's deck. */
typedef struct {
  CourantNode data, network, loss, weights, train, map;
  double width;
  PetscInt statistics_batch;
} CourantTop;

struct _CourantProblem {
  MPI_Comm comm;
  CourantModel model;
  CourantTop top;
  CourantDataset data, test; /* test: loaded when first asked for; NULL: there is none */
  PetscBool test_loaded;
  CourantNet net;
  CourantWeights weights;
  const CourantBackend *backend;
  char isa[16], memory_text[32];
  PetscInt threads;
  double memory;                             /* bytes of this rank */
  CourantEvaluator first, third;             /* for jets of order 1 and 3, made when first needed */
  CourantEvaluator single;                   /* for products in single precision; NULL: none are wanted */
  PetscInt64 state;                          /* how often CourantProblemSetState() was called */
  void (*heard)(double products, void *ctx); /* hears of Hessian products; NULL: nobody does */
  void *heard_ctx;
  double *slopes;            /* frozen loss, [n,outputs]; NULL: the net's own */
  Vec mask;                  /* D */
  PetscBool decays_all;      /* D = I */
  VecScatter to_all;         /* theta to every rank; NULL on one rank */
  Vec all;                   /* [p] on every rank */
  double *result;            /* of an evaluator: coefficients, or products with several directions */
  double *theta, *direction; /* [p] */
  /* what came of the weights file's reference, in a line; empty: it has none */
  char reference[PETSC_MAX_PATH_LEN + 192];
};

double CourantProblemMemory(CourantProblem);
PetscErrorCode CourantProblemSetUpSingle(CourantProblem);
PetscErrorCode CourantProblemGetAll(CourantProblem, Vec, double values[]);
PetscErrorCode CourantProblemPut(const double values[], Vec);
PetscErrorCode CourantProblemLoadTest(CourantProblem);
PetscErrorCode CourantProblemVerifyReference(CourantProblem);
PetscErrorCode CourantProblemComputeOutputs(CourantProblem, const double theta[], PetscInt n,
                                            double outputs[]);
PetscErrorCode CourantProblemCreateEvaluator(CourantProblem, int order, int threads, CourantEvaluator *);

extern const CourantKey CourantTopKeys[];

/* Own work in -log_view. */
typedef struct {
  PetscLogEvent gradient, product, jet, train;
  PetscLogStage equilibrium, spectrum, flip, cross_check;
} CourantLog;

extern CourantLog CourantLogging;
PetscErrorCode CourantLogRegister(void);
