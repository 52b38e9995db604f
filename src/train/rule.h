#pragma once
/* An update rule of the trainer, and what linear theory knows of it. */
#include "net/backend.h"
#include <complex.h>

/* Arrays of theta's length that a rule keeps between steps. */
#define COURANT_RULE_STATES 2

/* A step so long after the first that a rule's corrections for its start are over. */
#define COURANT_RULE_LATE ((int64_t)1 << 60)

/*
  One step of a run, in the working precision of the variant (`real`, jet/variant.h) where the arrays are
  void: theta <- theta - (k eta) (d / k), d the rule's whole direction.

  The division by k comes after the momentum buffer, k eta is formed in double and rounded once; k = 1 is the
  plain rule to the bit, and so is a power of two where nothing is subnormal.
*/
typedef struct {
  const void *options;
  size_t n;                         /* weights */
  int64_t step;                     /* from 1; the first initialises the states */
  void *theta;                      /* [n], in place */
  void *state[COURANT_RULE_STATES]; /* [n], in place */
  const double *gradient;           /* [n], of L, rounded to the working precision before use */
  const double *mask;               /* D [n] */
  const double *rates;              /* [n] factors on the learning rate; NULL: 1 */
  double learning_rate, weight_decay, perturb;
  PetscBool decoupled;
  int64_t
      *subnormal; /* added to: parts d / k that are too small to be rounded like others; NULL: not wanted */
} CourantRuleCall;

/*
  A rule, one file under train/rules. Compiled once per variant (jet/variant.h); the descriptions are the same
  in each.
*/
typedef struct {
  const char *name, *help;
  const CourantKey *keys;
  size_t options_size;
  int states;                            /* arrays it keeps between steps */
  void (*Step)(const CourantRuleCall *); /* called from threads; calls nothing of PETSc */
  /* Growth per step of a mode with eigenvalue m of H + alpha D, coupled decay; NULL: not linear. Complex m
     are for the region of stability; the eigenvalues of a symmetric H are real. */
  double (*Growth)(const void *options, double learning_rate, double complex m);
  /* Stable for 0 < learning_rate m < Limit(). */
  double (*Limit)(const void *options);
  /*
    Of a rule with a memory of one step: a mode with eigenvalue m of the Hessian of what the gradient is of,
    and beside it decoupled decay, goes x'' = trace x' - determinant x.
  */
  void (*Recurrence)(const void *options, double learning_rate, double complex m, double decay,
                     double complex *trace, double complex *determinant);
  /*
    Of a rule that divides its steps by a diagonal P: P [n] after `step` >= 1 steps, from its states. Limit()
    is of the eigenvalues of P^-1 (H + alpha D) then.
  */
  void (*Preconditioner)(const void *options, int64_t step, size_t n, void *const state[], double P[]);
  /* Changes options, and the last state after `step` steps, so that late steps leave P as it is: it is
   * frozen. */
  void (*Freeze)(void *options, int64_t step, size_t n, void *const state[]);
  /* Where decoupled decay alpha comes to rest, coupled decay Rest() alpha does; NULL: decoupled decay is
     coupled. */
  double (*Rest)(const void *options);
} CourantRuleOps;

extern const int CourantRuleCount;
const CourantRuleOps *CourantRule(int index);
const CourantRuleOps *CourantRuleFor(const CourantBackend *, int index);
const char *const *CourantRuleNames(void);
double CourantRuleSharpnessLimit(const CourantRuleOps *, const void *options, double learning_rate,
                                 double weight_decay, PetscBool decoupled);
double CourantRuleEdgeDecay(const CourantRuleOps *, const void *options, double weight_decay,
                            PetscBool decoupled);
double CourantRuleRest(const CourantRuleOps *, const void *options, double weight_decay, PetscBool decoupled);
double CourantRuleGrowth(const CourantRuleOps *, const void *options, double learning_rate, double m,
                         double decay);
double CourantRuleTransientGrowth(const CourantRuleOps *, const void *options, double learning_rate, double m,
                                  double decay);

/* The larger modulus of the roots of z^2 - trace z + determinant. */
static inline double CourantLargerRoot(double complex trace, double complex determinant)
{
  const double complex root = csqrt(trace * trace - 4 * determinant);
  const double plus = cabs(trace + root), minus = cabs(trace - root);
  return 0.5 * (plus > minus ? plus : minus);
}
