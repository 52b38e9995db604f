/* Products with the Hessians of single samples. */
#include "stability/sgd.h"
#include "core/interrupt.h"
#include <math.h>

enum { DIRECTIONS = 8 }; /* that share what is computed of a sample's primal */

static PetscErrorCode CreateEvaluators(CourantSamples *samples)
{
  const CourantProblem problem = samples->problem;
  /* no memory: what a kept primal would hold changes with the sample */
  const CourantEvaluatorSettings settings = {
      .order = 1, .directions = DIRECTIONS, .threads = 1, .samples = 1};
  const CourantBatch first = {.data = problem->data, .n = 1};

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(samples->threads, &samples->evaluators, samples->threads, &samples->results));
  for (int t = 0; t < samples->threads; t++) {
    PetscCall(PetscMalloc1((size_t)DIRECTIONS * ((size_t)samples->p + 1), &samples->results[t]));
    PetscCall(CourantEvaluatorCreate(problem->net, problem->data, problem->backend, &settings,
                                     &samples->evaluators[t]));
    CourantEvaluatorSetBatch(samples->evaluators[t], &first, 1);
    PetscCall(
        CourantEvaluatorKeep(samples->evaluators[t], samples->theta, PETSC_COMM_SELF, samples->results[t]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The root mean square of the samples' own gradients: 0 where all of them are at rest. */
static PetscErrorCode MeasureNoise(CourantSamples *samples)
{
  double *gradient = samples->results[0], sum = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < samples->n; i++) {
    const CourantBatch batch = {.data = samples->problem->data, .n = 1, .samples = &i};
    CourantInterruptCheck();
    CourantEvaluatorSetBatch(samples->evaluators[0], &batch, 1);
    const char *wrong = CourantEvaluatorGradient(samples->evaluators[0], samples->theta, gradient);
    if (wrong) CourantNodeError(samples->problem->data->node, "%s", wrong);
    for (PetscInt k = 0; k < samples->p; k++)
      sum += pow(gradient[k] + samples->alpha * samples->mask[k] * samples->theta[k], 2);
  }
  samples->noise = sqrt(sum / (double)samples->n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSamplesCopyAll - The whole of a vector on every rank. Collective. */
PetscErrorCode CourantSamplesCopyAll(Vec v, double values[])
{
  const PetscScalar *array;
  VecScatter scatter;
  PetscInt n;
  Vec all;

  PetscFunctionBeginUser;
  PetscCall(VecScatterCreateToAll(v, &scatter, &all));
  PetscCall(VecScatterBegin(scatter, v, all, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterEnd(scatter, v, all, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecGetSize(all, &n));
  PetscCall(VecGetArrayRead(all, &array));
  PetscCall(PetscArraycpy(values, array, n));
  PetscCall(VecRestoreArrayRead(all, &array));
  PetscCall(VecScatterDestroy(&scatter));
  PetscCall(VecDestroy(&all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSamplesCreate - M_i = H_i + alpha D of each sample by itself at theta; every rank does all of them.

  For samples that know nothing of each other, are not augmented, and the network's own loss. Collective.
*/
PetscErrorCode CourantSamplesCreate(CourantProblem problem, Vec theta, PetscReal alpha,
                                    CourantSamples *samples)
{
  PetscFunctionBeginUser;
  *samples = (CourantSamples){.problem = problem,
                              .n = problem->data->n,
                              .p = problem->net->size,
                              .alpha = alpha,
                              .threads = (int)PetscMin(problem->threads, COURANT_SAMPLES_TOGETHER)};
  PetscCall(PetscMalloc2(samples->p, &samples->theta, samples->p, &samples->mask));
  PetscCall(CourantSamplesCopyAll(theta, samples->theta));
  PetscCall(
      CourantNetDecayMask(problem->net, problem->weights.decay ? PETSC_TRUE : PETSC_FALSE, samples->mask));
  PetscCall(CreateEvaluators(samples));
  PetscCall(MeasureNoise(samples));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantSamplesDestroy(CourantSamples *samples)
{
  PetscFunctionBeginUser;
  for (int t = 0; samples->evaluators && t < samples->threads; t++) {
    PetscCall(CourantEvaluatorDestroy(&samples->evaluators[t]));
    PetscCall(PetscFree(samples->results[t]));
  }
  PetscCall(PetscFree2(samples->evaluators, samples->results));
  PetscCall(PetscFree2(samples->theta, samples->mask));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* M_i V of one sample by one thread; returns what went wrong. */
static const char *MultiplyOne(CourantSamples *samples, int thread, PetscInt i, PetscInt columns,
                               const PetscReal V[], PetscReal MV[])
{
  const CourantBatch batch = {.data = samples->problem->data, .n = 1, .samples = &i};
  const size_t p = (size_t)samples->p;
  double *results = samples->results[thread];

  CourantEvaluatorSetBatch(samples->evaluators[thread], &batch, 1);
  for (PetscInt c = 0; c < columns; c += DIRECTIONS) {
    const double *directions[DIRECTIONS];
    const int n = (int)PetscMin(DIRECTIONS, columns - c);
    for (int d = 0; d < n; d++) directions[d] = V + (size_t)(c + d) * p;
    const char *wrong = CourantEvaluatorLocalProducts(samples->evaluators[thread], n, directions, results);
    if (wrong) return wrong;
    for (int d = 0; d < n; d++)
      for (size_t k = 0; k < p; k++)
        MV[(size_t)(c + d) * p + k] =
            results[(size_t)d * (p + 1) + k] + samples->alpha * samples->mask[k] * directions[d][k];
  }
  return NULL;
}

/* CourantSamplesMultiply - MV, [n] of [p,columns]: M_i V for samples first .. first + n - 1, by threads. */
PetscErrorCode CourantSamplesMultiply(CourantSamples *samples, PetscInt first, PetscInt n, PetscInt columns,
                                      const PetscReal V[], PetscReal MV[])
{
  const int threads = samples->threads;
  const char *wrong = NULL;

  PetscFunctionBeginUser;
  CourantInterruptCheck();
  PetscCall(PetscLogEventBegin(CourantLogging.product, 0, 0, 0, 0));
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
  for (int t = 0; t < threads; t++)
    for (PetscInt i = t; i < n; i += threads) {
      const char *problem =
          MultiplyOne(samples, t, first + i, columns, V, MV + (size_t)(i * columns) * (size_t)samples->p);
      if (problem)
#pragma omp critical(courant_samples)
        wrong = problem;
    }
  PetscCall(PetscLogEventEnd(CourantLogging.product, 0, 0, 0, 0));
  if (wrong) CourantNodeError(samples->problem->data->node, "%s", wrong);
  PetscFunctionReturn(PETSC_SUCCESS);
}
