#include "train/trainer.h"
#include "core/memory.h"
#include <math.h>
#include <string.h>

/*
  CourantTrainerCreate - A trainer of a problem with all its data or the settings' batches, for one thread.

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
                              .decoupled = settings->decoupled,
                              .data = problem->data,
                              .in_batches = settings->batch > 0 ? PETSC_TRUE : PETSC_FALSE,
                              .seed = settings->seed,
                              .n = (size_t)problem->net->size,
                              .affine = affine};
  trainer->size = (size_t)(1 + trainer->rule->states) * trainer->n;
  if (trainer->in_batches)
    PetscCall(CourantBatchesCreate(problem->data->n, settings->batch, &trainer->batches));
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
  PetscCall(CourantBatchesDestroy(&trainer->batches));
  CourantFree(&trainer->gradient);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantTrainerSetBatch - The gradients that follow are over the batch of a run's step, from 0; -1: over all
  samples, as they always are where batches are full.
*/
void CourantTrainerSetBatch(CourantTrainer *trainer, PetscInt step)
{
  CourantBatch batch = {.data = trainer->data, .n = trainer->data->n};

  if (!trainer->in_batches) return;
  if (step >= 0) batch.samples = CourantBatchesGet(&trainer->batches, trainer->seed, step, &batch.n);
  CourantEvaluatorSetBatch(trainer->evaluator, &batch, 0);
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

/*
  CourantTrainerUpdate - One step of the rule with trainer->gradient in place of a gradient at the state's
  theta.

  step: from 1; the first initialises what the rule remembers. state: [trainer->size], theta first.
*/
void CourantTrainerUpdate(const CourantTrainer *trainer, int64_t step, double learning_rate,
                          double weight_decay, double state[])
{
  CourantRuleCall call = {.options = trainer->options,
                          .n = trainer->n,
                          .step = step,
                          .theta = state,
                          .gradient = trainer->gradient,
                          .mask = trainer->mask,
                          .learning_rate = learning_rate,
                          .weight_decay = weight_decay,
                          .perturb = 1,
                          .decoupled = trainer->decoupled};
  for (int i = 0; i < trainer->rule->states; i++) call.state[i] = state + (size_t)(i + 1) * trainer->n;
  trainer->rule->Step(&call);
}

/* CourantTrainerStep - One step of training in place. Returns NULL or what went wrong. */
const char *CourantTrainerStep(CourantTrainer *trainer, int64_t step, double learning_rate,
                               double weight_decay, double state[])
{
  const char *problem = CourantTrainerGradient(trainer, state);
  if (!problem) CourantTrainerUpdate(trainer, step, learning_rate, weight_decay, state);
  return problem;
}

/*
  CourantTrainerRest - The state of training at rest in the equilibrium theta: a velocity is 0, or what
  balances decoupled decay, -alpha D theta.
*/
void CourantTrainerRest(const CourantTrainer *trainer, double weight_decay, const double theta[],
                        double state[])
{
  memcpy(state, theta, trainer->n * sizeof(double));
  for (size_t i = trainer->n; i < trainer->size; i++)
    state[i] = trainer->decoupled ? -weight_decay * trainer->mask[i % trainer->n] * theta[i % trainer->n] : 0;
}
