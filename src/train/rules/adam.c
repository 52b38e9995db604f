/*
  Adam (Kingma, Ba 2015) as torch.optim.Adam and AdamW have it: m' = b1 m + (1-b1) d, v' = b2 v + (1-b2) d^2,
  theta' = theta - eta (m' / (1-b1^t)) / (sqrt(v' / (1-b2^t)) + epsilon).
*/
#include "train/ruleops.h"
#include <math.h>

typedef struct {
  double beta1, beta2, epsilon;
} Adam;

static const CourantKey keys[] = {
    {"beta1", COURANT_KEY_REAL, offsetof(Adam, beta1), "0.9", 0, 0.999999999,
     .help = "memory of the mean of gradients"},
    {"beta2", COURANT_KEY_REAL, offsetof(Adam, beta2), "0.999", 0, 0.999999999,
     .help = "memory of the mean of their squares"},
    {"epsilon", COURANT_KEY_REAL, offsetof(Adam, epsilon), "1e-8", 1e-37, 1e300, .help = "added to the root"},
    {0},
};

static void Step(const CourantRuleCall *call)
{
  const Adam *o = (const Adam *)call->options;
  RuleNumbers r = RuleNumbersOf(call);
  const real b1 = (real)o->beta1, b2 = (real)o->beta2, c1 = (real)(1 - o->beta1), c2 = (real)(1 - o->beta2);
  const double t = (double)call->step;
  const real mean_scale = (real)(1 - pow(o->beta1, t)), root_scale = (real)sqrt(1 - pow(o->beta2, t));

  for (size_t i = 0; i < call->n; i++) {
    const real d = RuleGradient(call, &r, i);
    const real m = b1 * (call->step == 1 ? 0 : r.state[0][i]) + c1 * d;
    const real v = b2 * (call->step == 1 ? 0 : r.state[1][i]) + c2 * d * d;
    r.state[0][i] = m;
    r.state[1][i] = v;
    RuleUpdate(call, &r, i, m / mean_scale / ((real)sqrt((double)v) / root_scale + (real)o->epsilon));
  }
  RuleFinish(call, &r);
}

static void Preconditioner(const void *options, int64_t step, size_t n, void *const state[], double P[])
{
  const Adam *o = (const Adam *)options;
  const real *v = (const real *)state[1];
  const double root_scale = sqrt(1 - pow(o->beta2, (double)step));

  for (size_t i = 0; i < n; i++) P[i] = sqrt((double)v[i]) / root_scale + o->epsilon;
}

/* As late as COURANT_RULE_LATE a memory of 2^53 steps has no start to correct for, and forgets nothing. */
static void Freeze(void *options, int64_t step, size_t n, void *const state[])
{
  Adam *o = (Adam *)options;
  real *v = (real *)state[1];
  const double scale = 1 - pow(o->beta2, (double)step);

  for (size_t i = 0; i < n; i++) v[i] = (real)((double)v[i] / scale);
  o->beta2 = 1 - 0x1p-53;
}

/* With the preconditioner frozen, of P^-1 (H + alpha D): heavy ball with the gradient weighed by 1 - b1. */
static void Recurrence(const void *options, double learning_rate, double complex m, double decay,
                       double complex *trace, double complex *determinant)
{
  const double b1 = ((const Adam *)options)->beta1;

  *trace = 1 + b1 - learning_rate * ((1 - b1) * m + decay);
  *determinant = b1 * (1 - learning_rate * decay);
}

static double Rest(const void *options)
{
  (void)options;
  return 1;
}

static double Limit(const void *options)
{
  const Adam *o = (const Adam *)options;
  return 2 * (1 + o->beta1) / (1 - o->beta1);
}

COURANT_RULE(adam) = {
    .name = "adam",
    .help = "Adam; with decoupled: true, AdamW",
    .keys = keys,
    .options_size = sizeof(Adam),
    .states = 2,
    .Step = Step,
    .Limit = Limit,
    .Recurrence = Recurrence,
    .Preconditioner = Preconditioner,
    .Freeze = Freeze,
    .Rest = Rest,
};
