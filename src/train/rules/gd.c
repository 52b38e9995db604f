/* Gradient descent, forward Euler of the gradient flow: theta' = theta - eta (grad L + alpha D theta). */
#include "train/ruleops.h"
#include <math.h>

static const CourantKey keys[] = {{0}};

static void Step(const CourantRuleCall *call)
{
  RuleNumbers r = RuleNumbersOf(call);

  for (size_t i = 0; i < call->n; i++) RuleUpdate(call, &r, i, RuleGradient(call, &r, i));
  RuleFinish(call, &r);
}

static double Growth(const void *options, double learning_rate, double complex m)
{
  (void)options;
  return cabs(1 - learning_rate * m);
}

static double Limit(const void *options)
{
  (void)options;
  return 2;
}

COURANT_RULE(gd) = {
    .name = "gd",
    .help = "gradient descent",
    .keys = keys,
    .Step = Step,
    .Growth = Growth,
    .Limit = Limit,
};
