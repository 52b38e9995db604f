#pragma once
/* What really happens: the two checks of a map's cell. Called from threads; nothing here calls PETSc. */
#include "train/trainer.h"

typedef enum { COURANT_AGREE, COURANT_DISAGREE, COURANT_VERDICT_UNDECIDED } CourantVerdict;

typedef enum {
  COURANT_OUTCOME_STABLE,
  COURANT_OUTCOME_RESTRAINED, /* in mini-batches: bounded */
  COURANT_OUTCOME_DIVERGENT,
  COURANT_OUTCOME_UNDECIDED
} CourantOutcomeKind;

/*
  Steps a state in place, theta and what is remembered of the steps before; which is 0 for the base run, 1 for
  its neighbour. Returns NULL or what went wrong.
*/
typedef const char *(*CourantStepFunction)(void *ctx, int which, double state[]);

typedef struct {
  CourantStepFunction Step;
  void *ctx;
  PetscBool remembers; /* more than is in the state, as a multistep method does: its runs may not be moved */
  int states;          /* arrays of theta's length in a state behind theta, at most COURANT_RULE_STATES */
  double unit;         /* what a difference in them is multiplied by to be one of theta's size */
} CourantRunner;

typedef struct {
  CourantOutcomeKind kind;
  double amplitude;    /* half the largest distance between two of the last 64 states */
  int period;          /* smallest q <= 32 with |theta(t+q) - theta(t)| < 1e-6 amplitude; 1 at rest, 0 none */
  double loss;         /* of the last state, without decay */
  PetscInt steps;      /* taken */
  const double *state; /* the last state [n], in the work arrays */
} CourantOutcome;

#define COURANT_RING 64 /* states that an outcome is judged by */

/* Arrays of one thread for these checks. */
typedef struct {
  size_t n;                  /* weights */
  PetscInt steps;            /* of the longest run */
  double *base, *other;      /* [(1 + COURANT_RULE_STATES) n]: a state */
  double *sums;              /* [steps+1]: logarithms of growth; |theta| */
  double *ring;              /* [COURANT_RING,n] */
  double *moves, *objective; /* [steps+1] */
} CourantOutcomeWork;

PetscErrorCode CourantOutcomeWorkCreate(size_t n, PetscInt steps, CourantOutcomeWork *);
PetscErrorCode CourantOutcomeWorkDestroy(CourantOutcomeWork *);
const char *CourantLocalGrowth(const CourantRunner *, const double state[], CourantOutcomeWork *,
                               double *growth);
const char *CourantLocalGrowthByDifferences(CourantTrainer *, double learning_rate, double weight_decay,
                                            const double theta[], const double held[], CourantOutcomeWork *,
                                            double *growth);
const char *CourantLocalGrowthOfBatches(CourantTrainer *, double learning_rate, double weight_decay,
                                        const double theta[], CourantOutcomeWork *, CourantEstimate *growth);
CourantVerdict CourantLocalVerdict(double measured, double predicted, PetscInt steps);
const char *CourantGlobalOutcome(CourantTrainer *, double learning_rate, double weight_decay,
                                 const double start[], CourantOutcomeWork *, CourantOutcome *);
