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
    {"momentum", COURANT_KEY_REAL, offsetof(Momentum, momentum), NULL, 0, 1,
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

/* Larger root of z^2 - trace z + determinant. */
static double LargerRoot(double complex trace, double complex determinant)
{
  const double complex root = csqrt(trace * trace - 4 * determinant);
  return 0.5 * fmax(cabs(trace + root), cabs(trace - root));
}

/* z^2 - (1 + mu - eta m) z + mu; Nesterov: z^2 - (1 + mu)(1 - eta m) z + mu (1 - eta m). */
static double Growth(const void *options, double learning_rate, double complex m)
{
  const Momentum *o = (const Momentum *)options;
  const double mu = o->momentum;
  const double complex q = 1 - learning_rate * m;
  return o->nesterov ? LargerRoot((1 + mu) * q, mu * q) : LargerRoot(mu + q, mu);
}

static double Limit(const void *options)
{
  const Momentum *o = (const Momentum *)options;
  return 2 * (1 + o->momentum) / (o->nesterov ? 1 + 2 * o->momentum : 1);
}

/* Heavy ball: eta (lambda + (1 + mu) alpha) < 2 (1 + mu). Nesterov's has no closed form here. */
static double DecoupledLimit(const void *options, double learning_rate, double weight_decay)
{
  const Momentum *o = (const Momentum *)options;
  return o->nesterov ? NAN : (1 + o->momentum) * (2 / learning_rate - weight_decay);
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
    .DecoupledLimit = DecoupledLimit,
};
