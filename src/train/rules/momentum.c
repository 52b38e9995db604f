/*
  Momentum as torch.optim.SGD has it: v' = mu v + d, v = d at the first step; theta' = theta - eta v', or with
  Nesterov's look-ahead theta' = theta - eta (d + mu v').
*/
#include "train/ruleops.h"
#include <complex.h>
#include <math.h>

typedef struct {
  double momentum;
  PetscBool nesterov;
} Momentum;

static const CourantKey keys[] = {
    {"momentum", COURANT_KEY_REAL, offsetof(Momentum, momentum), "0.9", 0, 0.999999999,
     .help = "what is kept of the last velocity"},
    {"nesterov", COURANT_KEY_BOOL, offsetof(Momentum, nesterov), "false",
     .help = "look ahead along the velocity"},
    {0},
};

static void Step(const CourantRuleCall *call)
{
  const Momentum *o = (const Momentum *)call->options;
  RuleNumbers r = RuleNumbersOf(call);
  const real mu = (real)o->momentum;

  for (size_t i = 0; i < call->n; i++) {
    const real d = RuleGradient(call, &r, i), v = call->step == 1 ? d : mu * r.state[0][i] + d;
    r.state[0][i] = v;
    RuleUpdate(call, &r, i, o->nesterov ? d + mu * v : v);
  }
  RuleFinish(call, &r);
}

/*
  z^2 - (1 + mu - eta (m + alpha)) z + mu (1 - eta alpha), alpha the decoupled decay. Nesterov: z^2 - (1 + mu
  - eta ((1 + mu) m + alpha)) z + mu (1 - eta (m + alpha)).
*/
static void Recurrence(const void *options, double learning_rate, double complex m, double decay,
                       double complex *trace, double complex *determinant)
{
  const Momentum *o = (const Momentum *)options;
  const double mu = o->momentum;

  *trace = 1 + mu - learning_rate * ((o->nesterov ? 1 + mu : 1) * m + decay);
  *determinant = mu * (1 - learning_rate * ((o->nesterov ? m : 0) + decay));
}

static double Growth(const void *options, double learning_rate, double complex m)
{
  double complex trace, determinant;

  Recurrence(options, learning_rate, m, 0, &trace, &determinant);
  return CourantLargerRoot(trace, determinant);
}

static double Limit(const void *options)
{
  const Momentum *o = (const Momentum *)options;
  return 2 * (1 + o->momentum) / (o->nesterov ? 1 + 2 * o->momentum : 1);
}

/* The velocity at rest is grad L / (1 - mu) and balances decoupled decay. */
static double Rest(const void *options)
{
  return 1 - ((const Momentum *)options)->momentum;
}

COURANT_RULE(momentum) = {
    .name = "momentum",
    .help = "gradient descent with momentum, heavy ball or Nesterov's",
    .keys = keys,
    .options_size = sizeof(Momentum),
    .states = 1,
    .Step = Step,
    .Growth = Growth,
    .Limit = Limit,
    .Recurrence = Recurrence,
    .Rest = Rest,
};
