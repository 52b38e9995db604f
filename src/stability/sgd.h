#pragma once
/* The inside of a CourantSgd: gradient descent on mini-batches, linearised at a state. */
#include "dynamics/problem.h"
#include "train/settings.h"

/*
  The samples' M_i = H_i + alpha D in the eigenvectors of their mean m, without the neutral ones. A batch's
  matrix is the mean of its samples', and a step is x' = (1 - eta M_batch) x.
*/
typedef struct {
  PetscInt n, batch;    /* samples; of a step */
  PetscInt q, below;    /* modes; of them those that the flow leaves the state in */
  PetscReal *mu;        /* [q]: eigenvalues of m, ascending */
  PetscReal *M;         /* [n] of [q,q] */
  PetscReal *work;      /* [COURANT_CONGRUENCE] of [q,q] */
  PetscReal *vectors;   /* [p,q] */
  PetscInt neutral;     /* modes left out */
  CourantStatus status; /* degenerate: the matrices act on modes that are left out */
} CourantSgdModes;

PetscErrorCode CourantSgdModesCreate(PetscInt n, PetscInt p, PetscInt lda, const PetscReal matrices[],
                                     PetscInt batch, PetscReal tolerance, CourantSgdModes *);
PetscErrorCode CourantSgdModesDestroy(CourantSgdModes *);

/* A positive map of symmetric matrices [q,q]: it takes positive semidefinite ones to such. */
typedef struct {
  PetscInt q;
  PetscBool symmetric; /* self-adjoint in the Frobenius product */
  void (*Apply)(void *ctx, const PetscReal X[], PetscReal Y[]);
  void *ctx;
} CourantPositiveMap;

PetscErrorCode CourantPositiveMapSolve(const CourantPositiveMap *, PetscReal vector[], PetscReal *value,
                                       PetscReal *residual, PetscBool *converged);
void CourantMultiply(char ta, char tb, PetscInt a, PetscInt b, PetscInt k, const PetscReal A[], PetscInt lda,
                     const PetscReal B[], PetscInt ldb, PetscReal plus, PetscReal C[], PetscInt ldc);

enum { COURANT_CONGRUENCE = 32 }; /* matrices that CourantCongruence() works on together */
void CourantCongruence(PetscInt q, PetscInt n, const PetscReal P[], PetscBool transposed, const PetscReal X[],
                       PetscReal work[], PetscReal Y[]);

/* The mean square over batches drawn independently. */
PetscReal CourantBatchVariance(PetscInt n, PetscInt batch);
PetscErrorCode CourantMeanSquareLimit(const CourantSgdModes *, CourantEstimate *, PetscReal vector[],
                                      CourantStatus *);
PetscErrorCode CourantMeanSquareGrowth(const CourantSgdModes *, PetscInt n, const PetscReal eta[],
                                       CourantEstimate growth[]);

/* Products with the matrices M_i of single samples at a state. */
typedef struct {
  CourantProblem problem; /* borrowed */
  PetscInt n, p;
  PetscReal alpha;
  int threads;
  CourantEvaluator *evaluators; /* [threads] */
  double *theta, *mask;         /* [p] */
  double **results;             /* [threads]: of an evaluator */
  PetscReal noise;              /* root of the mean |gradient_i + alpha D theta|^2 */
} CourantSamples;

enum { COURANT_SAMPLES_TOGETHER = 16 }; /* that CourantSamplesMultiply() takes at most */

PetscErrorCode CourantSamplesCreate(CourantProblem, Vec theta, PetscReal alpha, CourantSamples *);
PetscErrorCode CourantSamplesCopyAll(Vec, double values[]);
PetscErrorCode CourantSamplesDestroy(CourantSamples *);
PetscErrorCode CourantSamplesMultiply(CourantSamples *, PetscInt first, PetscInt n, PetscInt columns,
                                      const PetscReal V[], PetscReal MV[]);

enum { COURANT_SUBSPACE_MOST = 96 }; /* vectors, unless there are fewer weights */

/*
  A subspace of R^p that the matrices of mini-batches are projected on, where they are too large to be held.
*/
typedef struct {
  CourantSamples *samples;  /* borrowed */
  PetscInt q, before, most; /* vectors; of them before the last enlargement; at most */
  BV basis;                 /* [p,most] */
  PetscReal *matrices;      /* [n] of [most,most], of which [q,q] are there: W^T M_i W */
  PetscReal error;          /* relative residual of the mean-square eigenvector */
} CourantSubspace;

PetscErrorCode CourantSubspaceCreate(CourantSamples *, Vec theta, Vec slowest, PetscInt batch,
                                     PetscReal neutral, CourantSubspace *);
double CourantSubspaceMemory(PetscInt samples, PetscInt weights);
PetscErrorCode CourantSubspaceDestroy(CourantSubspace *);

/* What the products of a run's batches are computed with. */
typedef struct {
  PetscInt permutations; /* drawn, unless there are no more than EXHAUSTIVE different ones */
  PetscInt steps;        /* of a Lyapunov exponent */
  PetscInt seed;
  int threads;
} CourantProducts;

double CourantEpochMemory(PetscInt n, PetscInt batch, PetscInt q, const CourantProducts *);
PetscErrorCode CourantEpochLimit(const CourantSgdModes *, const CourantProducts *, PetscReal from,
                                 CourantEstimate *, CourantStatus *);
PetscErrorCode CourantEpochGrowth(const CourantSgdModes *, const CourantProducts *, PetscInt n,
                                  const PetscReal eta[], CourantEstimate growth[]);
PetscErrorCode CourantAlmostSureLimit(const CourantSgdModes *, const CourantProducts *, PetscReal from,
                                      CourantEstimate *, CourantStatus *);
PetscErrorCode CourantAlmostSureGrowth(const CourantSgdModes *, const CourantProducts *, PetscInt n,
                                       const PetscReal eta[], CourantEstimate growth[]);

/* What a CourantSgd is refused for, before anything is computed. */
const char *CourantSgdObstacle(CourantProblem, const CourantTrainSettings *);
double CourantSgdMemory(CourantSgd, CourantProblem);
PetscErrorCode CourantSgdCheckMemory(CourantSgd, CourantProblem);
