#include "train/run.h"
#include "core/memory.h"
#include <math.h>
#include <string.h>

#define FACTOR_OF_DIVERGENCE 1e6 /* growth of |theta| that is called divergence */

static PetscErrorCode CheckBatch(const CourantRun *run)
{
  const CourantNode node = run->settings->node;
  const PetscInt n = run->problem->data->n, rest = n % run->batch;

  PetscFunctionBeginUser;
  if (run->batch > n)
    CourantNodeError(node, "batch: %d is more than the %d samples there are", (int)run->batch, (int)n);
  if (run->problem->net->coupled && run->settings->batch > 0 && (run->batch == 1 || rest == 1))
    CourantNodeError(
        node, "batch: batch_norm cannot normalise over one sample, and %d samples in batches of %d leave one",
        (int)n, (int)run->batch);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Steps of an epoch, and of the run. */
static PetscErrorCode CountSteps(CourantRun *run)
{
  const PetscInt n = run->problem->data->n;
  const CourantTrainSettings *s = run->settings;

  PetscFunctionBeginUser;
  run->batch = s->batch > 0 ? s->batch : n;
  PetscCall(CheckBatch(run));
  PetscCall(CourantBatchesCreate(n, run->batch, &run->batches));
  run->per_epoch = run->batches.per_epoch;
  if (s->epochs && s->epochs > PETSC_MAX_INT / run->per_epoch)
    CourantNodeError(s->node, "epochs: %d epochs are too many steps", (int)s->epochs);
  run->steps = s->epochs ? s->epochs * run->per_epoch : s->steps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantRunCreate - The means of a deck's `train` section.

  alone: this rank does all samples by itself, as members of an ensemble do; otherwise the ranks of the
  problem share them, unless samples are coupled by batch_norm, when each rank does the same.
*/
PetscErrorCode CourantRunCreate(CourantProblem problem, const CourantTrainSettings *settings, PetscBool alone,
                                CourantRun *run)
{
  const CourantNet net = problem->net;
  PetscMPIInt rank = 0, size = 1;
  PetscBool any;

  PetscFunctionBeginUser;
  *run = (CourantRun){.problem = problem, .settings = settings, .n = (size_t)net->size};
  run->comm = alone || net->coupled ? PETSC_COMM_SELF : problem->comm;
  PetscCallMPI(MPI_Comm_rank(run->comm, &rank));
  PetscCallMPI(MPI_Comm_size(run->comm, &size));
  PetscCall(CourantBackendGet(problem->comm, settings->precision ? 32 : 64,
                              problem->isa[0] ? problem->isa : NULL, &run->backend));
  run->rule = CourantRuleFor(run->backend, settings->rule);
  PetscCall(CountSteps(run));
  PetscCall(CourantProblemLoadTest(problem));
  const CourantEvaluatorSettings evaluator = {.threads = (int)problem->threads,
                                              .memory = problem->memory / 2,
                                              .rank = rank,
                                              .size = size,
                                              .samples = settings->batch > 0 ? run->batch : 0};
  PetscCall(CourantEvaluatorCreate(net, problem->data, run->backend, &evaluator, &run->evaluator));
  const size_t judged = (size_t)(problem->test ? problem->test->n : problem->data->n);
  PetscCall(PetscMalloc4(run->n, &run->weights, run->n + 1, &run->gradient, run->n, &run->mask,
                         judged * CourantShapeSize(net->out), &run->outputs));
  PetscCall(CourantNetDecayMask(net, problem->weights.decay ? PETSC_TRUE : PETSC_FALSE, run->mask));
  PetscCall(PetscMalloc1(run->n, &run->rates));
  PetscCall(CourantTrainLayerRates(settings, net, run->rates, &any));
  if (!any) PetscCall(PetscFree(run->rates));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantRunDestroy(CourantRun *run)
{
  PetscFunctionBeginUser;
  PetscCall(CourantEvaluatorDestroy(&run->evaluator));
  PetscCall(CourantBatchesDestroy(&run->batches));
  PetscCall(PetscFree4(run->weights, run->gradient, run->mask, run->outputs));
  PetscCall(PetscFree(run->rates));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantRunCheckRecords - Do so many numbers fit, in the program and twice in the file it writes? */
PetscErrorCode CourantRunCheckRecords(CourantProblem problem, const CourantTrainSettings *settings,
                                      const char *key, double numbers)
{
  const double bytes = 3 * sizeof(double) * numbers;

  PetscFunctionBeginUser;
  if (bytes > problem->memory || numbers > PETSC_MAX_INT)
    CourantNodeError(settings->node, "%s: what is recorded takes %.3g GB, more than -memory allows, %.3g GB",
                     key, bytes / 1e9, problem->memory / 1e9);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantRunStateCreate(const CourantRun *run, CourantRunState *state)
{
  PetscFunctionBeginUser;
  *state = (CourantRunState){.perturb = 1};
  PetscCall(CourantAllocate(run->n * run->backend->real_size, &state->theta));
  for (int i = 0; i < run->rule->states; i++)
    PetscCall(CourantAllocate(run->n * run->backend->real_size, &state->rule[i]));
  PetscCall(CourantAllocate(sizeof(double) * (size_t)run->problem->net->buffers, &state->running));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantRunStateDestroy(CourantRunState *state)
{
  PetscFunctionBeginUser;
  CourantFree(&state->theta);
  for (int i = 0; i < COURANT_RULE_STATES; i++) CourantFree(&state->rule[i]);
  CourantFree(&state->running);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantRunGet - theta or a rule's array as doubles [n]. */
void CourantRunGet(const CourantRun *run, const void *values, double to[])
{
  run->backend->Convert(run->n, values, to);
}

/* CourantRunSet - The way back: rounds doubles [n] to the run's precision. */
void CourantRunSet(const CourantRun *run, const double from[], void *values)
{
  for (size_t i = 0; i < run->n; i++)
    if (run->backend->bits == 64)
      ((double *)values)[i] = from[i];
    else
      ((float *)values)[i] = (float)from[i];
}

static double Norm(size_t n, const double x[], const double weight[])
{
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (weight ? weight[i] : 1) * x[i] * x[i];
  return sqrt(sum);
}

/* CourantRunStart - A state at the initial weights. */
PetscErrorCode CourantRunStart(CourantRun *run, const CourantWeights *weights, uint64_t seed, double perturb,
                               CourantRunState *state)
{
  PetscFunctionBeginUser;
  PetscCall(CourantWeightsFill(weights, run->problem->net, run->weights));
  PetscCall(CourantWeightsFillRunning(weights, run->problem->net, state->running));
  CourantRunSet(run, run->weights, state->theta);
  CourantRunGet(run, state->theta, run->weights);
  state->step = 0;
  state->subnormal = 0;
  state->seed = seed;
  state->perturb = perturb;
  state->start_norm = Norm(run->n, run->weights, NULL);
  state->diverged = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void SetBatch(CourantRun *run, const CourantRunState *state)
{
  const CourantDataset data = run->problem->data;
  const uint32_t epoch = (uint32_t)(state->step / run->per_epoch);
  CourantBatch batch = {
      .data = data, .n = data->n, .augment = PETSC_TRUE, .seed = state->seed, .epoch = epoch};

  if (run->settings->batch > 0) {
    batch.samples = CourantBatchesGet(&run->batches, state->seed, state->step, &batch.n);
    CourantEvaluatorSetBatch(run->evaluator, &batch, batch.n);
  } else
    CourantEvaluatorSetBatch(run->evaluator, &batch, PetscMin(run->problem->net->group, data->n));
}

/* CourantRunLearningRate - What the schedule makes of the learning rate at a step. */
double CourantRunLearningRate(const CourantRun *run, PetscInt step)
{
  const double unit = run->settings->epochs ? (double)run->per_epoch : 1;
  return run->settings->learning_rate * CourantScheduleFactor(&run->settings->schedule, (double)step / unit,
                                                              1 / unit, (double)run->steps / unit);
}

/* CourantRunIsLost - Are the weights [n] not finite, or 1e6 times as long as at the start of the run? */
PetscBool CourantRunIsLost(const CourantRun *run, const CourantRunState *state, const double weights[])
{
  const double norm = Norm(run->n, weights, NULL);
  return !(norm <= FACTOR_OF_DIVERGENCE * PetscMax(state->start_norm, 1e-3)) ? PETSC_TRUE : PETSC_FALSE;
}

/*
  CourantRunStep - One step of a state: batch, gradient, update. Collective over the ranks that share samples.

  A gradient that is not finite, or weights 1e6 times as long as at the start, mark the state as diverged.
*/
PetscErrorCode CourantRunStep(CourantRun *run, CourantRunState *state, CourantRunRecord *record)
{
  const CourantTrainSettings *s = run->settings;
  const double learning_rate = CourantRunLearningRate(run, state->step);

  PetscFunctionBeginUser;
  CourantRunGet(run, state->theta, run->weights);
  SetBatch(run, state);
  CourantEvaluatorSetRunning(run->evaluator, run->problem->net->coupled ? state->running : NULL);
  PetscCall(CourantEvaluatorRun(run->evaluator, 0, run->weights, NULL, run->comm, run->gradient));
  const double decay = Norm(run->n, run->weights, run->mask);
  *record = (CourantRunRecord){.loss = run->gradient[run->n],
                               .objective = run->gradient[run->n] + 0.5 * s->weight_decay * decay * decay,
                               .gradient_norm = Norm(run->n, run->gradient, NULL),
                               .learning_rate = learning_rate};
  state->diverged = !isfinite(record->gradient_norm) || !isfinite(record->loss) ||
                            CourantRunIsLost(run, state, run->weights)
                        ? PETSC_TRUE
                        : PETSC_FALSE;
  if (state->diverged) PetscFunctionReturn(PETSC_SUCCESS);
  state->step++;
  const CourantRuleCall call = {.options = s->options,
                                .n = run->n,
                                .step = state->step,
                                .theta = state->theta,
                                .state = {state->rule[0], state->rule[1]},
                                .gradient = run->gradient,
                                .mask = run->mask,
                                .rates = run->rates,
                                .learning_rate = learning_rate,
                                .weight_decay = s->weight_decay,
                                .perturb = state->perturb,
                                .decoupled = s->decoupled,
                                .subnormal = &state->subnormal};
  run->rule->Step(&call);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantRunEvaluate - Mean loss and accuracy over the test samples, or the training samples where there are
 * none. */
PetscErrorCode CourantRunEvaluate(CourantRun *run, const CourantRunState *state, double *loss,
                                  double *accuracy)
{
  const CourantDataset data = run->problem->test ? run->problem->test : run->problem->data;
  const CourantBatch batch = {.data = data, .n = data->n};
  double correct;

  PetscFunctionBeginUser;
  CourantRunGet(run, state->theta, run->weights);
  const char *problem = CourantEvaluatorPredict(run->evaluator, run->weights, state->running, &batch, loss,
                                                &correct, run->outputs);
  if (problem) CourantNodeError(data->node, "%s", problem);
  *accuracy = correct / (double)data->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantRunDistance - D = 2 mean_i |a_i - b_i| / (|a_i| + |b_i|), 0/0 = 0: relative, weight by weight. */
double CourantRunDistance(size_t n, const double a[], const double b[])
{
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    const double size = fabs(a[i]) + fabs(b[i]);
    if (size > 0) sum += fabs(a[i] - b[i]) / size;
  }
  return n ? 2 * sum / (double)n : 0;
}
