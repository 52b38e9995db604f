#include "train/trainer.h"
#include "core/memory.h"
#include <math.h>
#include <string.h>

/*
  CourantTrainerCreate - A trainer of a problem with all its data, for one thread.

  mask: D [n]. affine NULL trains L; else the gradient is grad L(0) + H(0) theta, the linear iteration of the
  paper's analysis, and affine is grad L(0) [n] and L(0).
*/
PetscErrorCode CourantTrainerCreate(CourantProblem problem, const CourantTrainSettings *settings,
                                    const double mask[], const double affine[], CourantTrainer *trainer)
{
  double *zero, *ignored;

  PetscFunctionBeginUser;
  *trainer = (CourantTrainer){.rule = CourantRuleFor(problem->backend, settings->rule),
                              .options = settings->options,
                              .mask = mask,
                              .n = (size_t)problem->net->size,
                              .affine = affine};
  PetscCall(CourantProblemCreateEvaluator(problem, affine ? 1 : 0, 1, &trainer->evaluator));
  PetscCall(CourantAllocate(sizeof(double) * (trainer->n + 1), &trainer->gradient));
  if (affine) {
    PetscCall(PetscCalloc2(trainer->n, &zero, trainer->n + 1, &ignored));
    PetscCall(CourantEvaluatorKeep(trainer->evaluator, zero, PETSC_COMM_SELF, ignored));
    PetscCall(PetscFree2(zero, ignored));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantTrainerDestroy(CourantTrainer *trainer)
{
  PetscFunctionBeginUser;
  PetscCall(CourantEvaluatorDestroy(&trainer->evaluator));
  CourantFree(&trainer->gradient);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantTrainerGradient - Gradient and loss at theta, left in
  trainer->gradient. Returns NULL or what went wrong.
*/
const char *CourantTrainerGradient(CourantTrainer *trainer, const double theta[])
{
  const size_t n = trainer->n;
  double *g = trainer->gradient;

  if (!trainer->affine) return CourantEvaluatorGradient(trainer->evaluator, theta, g);
  const char *problem = CourantEvaluatorLocalProduct(trainer->evaluator, theta, g);
  double loss = trainer->affine[n];
  for (size_t i = 0; i < n; i++) {
    loss += theta[i] * (trainer->affine[i] + 0.5 * g[i]);
    g[i] += trainer->affine[i];
  }
  g[n] = loss;
  return problem;
}

/* CourantTrainerLoss - L at the theta of the last gradient. */
double CourantTrainerLoss(const CourantTrainer *trainer)
{
  return trainer->gradient[trainer->n];
}

/* CourantTrainerStep - One step of the rule in place. Returns NULL or what went wrong. */
const char *CourantTrainerStep(CourantTrainer *trainer, double learning_rate, double weight_decay,
                               double theta[])
{
  const char *problem = CourantTrainerGradient(trainer, theta);
  const CourantRuleCall call = {.options = trainer->options,
                                .n = trainer->n,
                                .step = 1,
                                .theta = theta,
                                .gradient = trainer->gradient,
                                .mask = trainer->mask,
                                .learning_rate = learning_rate,
                                .weight_decay = weight_decay,
                                .perturb = 1};
  if (!problem) trainer->rule->Step(&call);
  return problem;
}
