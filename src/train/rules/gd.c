/* Gradient descent, forward Euler of the gradient flow: theta' = theta - eta (grad L + alpha D theta). */
#include "train/rule.h"
#include <math.h>

static void Step(size_t n, double theta[], const double gradient[], const double mask[], double learning_rate,
                 double weight_decay)
{
  for (size_t i = 0; i < n; i++)
    theta[i] -= learning_rate * (gradient[i] + weight_decay * mask[i] * theta[i]);
}

static double Growth(double learning_rate, double m)
{
  return fabs(1 - learning_rate * m);
}

const CourantRuleOps CourantRule_gd = {
    .name = "gd",
    .help = "gradient descent with weight decay",
    .Step = Step,
    .Growth = Growth,
    .limit = 2,
};
