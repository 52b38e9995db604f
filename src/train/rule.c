#include "train/rule.h"
#include "courant-registry.h"
#include <math.h>
#include <string.h>

#define NAME(name) #name,
static const char *const names[] = {COURANT_RULES(NAME)};
const int CourantRuleCount = PETSC_STATIC_ARRAY_LENGTH(names);

#define DECLARE(bits, isa) extern const CourantRuleOps *const CourantRules_f##bits##_##isa[];
COURANT_VARIANTS(DECLARE)
#define ENTRY(bits, isa) {bits, #isa, CourantRules_f##bits##_##isa},
static const struct {
  int bits;
  const char *isa;
  const CourantRuleOps *const *rules;
} variants[] = {COURANT_VARIANTS(ENTRY)};

/* CourantRule - Names and descriptions of a rule, which no variant changes. */
const CourantRuleOps *CourantRule(int index)
{
  return variants[0].rules[index];
}

/* CourantRuleFor - A rule in a backend's precision and instruction set. */
const CourantRuleOps *CourantRuleFor(const CourantBackend *backend, int index)
{
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(variants); i++)
    if (variants[i].bits == backend->bits && !strcmp(variants[i].isa, backend->isa))
      return variants[i].rules[index];
  return NULL;
}

const char *const *CourantRuleNames(void)
{
  return names;
}

/*
  CourantRuleEdgeDecay - What weight decay adds to an eigenvalue lambda of H at the edge of stability, where
  learning_rate (lambda + what it adds) = Limit().

  The decay itself; decoupled, Limit() / 2 of it: at the edge x changes its sign in each step, and of such an
  x the rule takes 2 / Limit() of the gradient but all of the decay.
*/
double CourantRuleEdgeDecay(const CourantRuleOps *rule, const void *options, double weight_decay,
                            PetscBool decoupled)
{
  return decoupled ? 0.5 * rule->Limit(options) * weight_decay : weight_decay;
}

/*
  CourantRuleSharpnessLimit - The largest eigenvalue of H for which a mode is stable; NaN where theory has no
  number for H itself (Adam's limit is that of the preconditioned H).
*/
double CourantRuleSharpnessLimit(const CourantRuleOps *rule, const void *options, double learning_rate,
                                 double weight_decay, PetscBool decoupled)
{
  if (!rule->Growth) return NAN;
  return rule->Limit(options) / learning_rate - CourantRuleEdgeDecay(rule, options, weight_decay, decoupled);
}

/* CourantRuleRest - The weight decay of the objective that a rule comes to rest at a minimum of. */
double CourantRuleRest(const CourantRuleOps *rule, const void *options, double weight_decay,
                       PetscBool decoupled)
{
  return decoupled && rule->Rest ? rule->Rest(options) * weight_decay : weight_decay;
}

/*
  CourantRuleGrowth - Growth per step of a mode with eigenvalue m of the Hessian of what the gradient is of: H
  + alpha D, or H alone where decay, which is alpha then, is decoupled.
*/
double CourantRuleGrowth(const CourantRuleOps *rule, const void *options, double learning_rate, double m,
                         double decay)
{
  double complex trace, determinant;

  if (rule->Growth && decay == 0) return rule->Growth(options, learning_rate, m);
  rule->Recurrence(options, learning_rate, m, decay, &trace, &determinant);
  return CourantLargerRoot(trace, determinant);
}

/* The spectral norm of [[a, b], [c, d]]. */
static double Norm2(double a, double b, double c, double d)
{
  const double square = a * a + b * b + c * c + d * d, determinant = a * d - b * c;
  return sqrt(0.5 * (square + sqrt(fmax(0, square * square - 4 * determinant * determinant))));
}

/*
  CourantRuleTransientGrowth - sup over n >= 0 of |C^n|, C = [[trace, -determinant], [1, 0]] the step of (x',
  x) of a mode as for CourantRuleGrowth(); infinite where the mode is unstable.

  Momentum is not normal: a small difference may grow by this factor before it decays. The powers are followed
  until one is no longer than 1, after which none is longer than those before; growth so near to 1 that this
  takes over 10^5 steps leaves a lower bound.
*/
double CourantRuleTransientGrowth(const CourantRuleOps *rule, const void *options, double learning_rate,
                                  double m, double decay)
{
  double complex t, d;
  double largest = 1, norm = INFINITY;

  if (!(CourantRuleGrowth(rule, options, learning_rate, m, decay) <= 1)) return INFINITY;
  rule->Recurrence(options, learning_rate, m, decay, &t, &d);
  const double trace = creal(t), determinant = creal(d);
  double u[3] = {0, 1, trace}; /* C^n = [[u2, -determinant u1], [u1, -determinant u0]], n = 1 */
  for (int n = 1; n <= 100000 && norm > 1; n++) {
    norm = Norm2(u[2], -determinant * u[1], u[1], -determinant * u[0]);
    largest = fmax(largest, norm);
    u[0] = u[1];
    u[1] = u[2];
    u[2] = trace * u[1] - determinant * u[0];
  }
  return largest;
}
