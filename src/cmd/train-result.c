/* What courant train keeps of a run, as a file that it can go on from, and as text. */
#include "cmd/train-run.h"
#include <math.h>
#include <string.h>

#define STEP "/trajectory/step"

static const CourantResultEntry columns[COLUMNS] = {
    [LOSS] = {"/trajectory/loss", COURANT_RESULT_REAL, {STEP}, "loss L over the batch, before the step", "1"},
    [OBJECTIVE] = {"/trajectory/objective",
                   COURANT_RESULT_REAL,
                   {STEP},
                   "loss with weight decay",
                   "1",
                   NULL,
                   "L + weight_decay / 2 |D theta|^2"},
    [GRADIENT_NORM] = {"/trajectory/gradient_norm",
                       COURANT_RESULT_REAL,
                       {STEP},
                       "norm of the gradient of L over the batch",
                       "1"},
    [LEARNING_RATE] =
        {"/trajectory/learning_rate", COURANT_RESULT_REAL, {STEP}, "learning rate of the step", "1"},
    [EVALUATION_LOSS] = {"/trajectory/evaluation_loss",
                         COURANT_RESULT_REAL,
                         {STEP},
                         "loss over the evaluated samples, after the step",
                         "1"},
    [ACCURACY] = {"/trajectory/accuracy",
                  COURANT_RESULT_REAL,
                  {STEP},
                  "accuracy over the evaluated samples, after the step",
                  "1"},
    [SHARPNESS] = {"/trajectory/sharpness",
                   COURANT_RESULT_REAL,
                   {STEP},
                   "largest eigenvalue of the Hessian of L over all samples, before the step",
                   "1"},
    [RESIDUAL] = {"/trajectory/sharpness_residual",
                  COURANT_RESULT_REAL,
                  {STEP},
                  "residual of the eigenvalue: one lies within this distance",
                  "1"},
    [LIMIT] =
        {"/trajectory/limit",
         COURANT_RESULT_REAL,
         {STEP},
         "sharpness (of Adam the preconditioned one) above which the rule is unstable; none where weights "
         "differ in decay or rate",
         "1"},
    [PRECONDITIONED] = {"/trajectory/preconditioned_sharpness",
                        COURANT_RESULT_REAL,
                        {STEP},
                        "preconditioned sharpness: largest nu over all samples, before the step",
                        "1",
                        NULL,
                        "(H + alpha D) x = nu P x, P = diag(sqrt(v_hat) + epsilon); decoupled: H x = nu P x"},
    [PRECONDITIONED_RESIDUAL] = {"/trajectory/preconditioned_residual",
                                 COURANT_RESULT_REAL,
                                 {STEP},
                                 "residual of nu: one lies within this distance",
                                 "1",
                                 NULL,
                                 "|(P^-1/2 (H + alpha D) P^-1/2 - nu) y|"},
};

/* Is this one of the columns that the run's rule has? */
static PetscBool HasColumn(const TrainSession *s, int column)
{
  return column < PRECONDITIONED || s->run.rule->Preconditioner ? PETSC_TRUE : PETSC_FALSE;
}

/* ---- the result file ---- */

static PetscErrorCode WriteWeights(TrainSession *s)
{
  const CourantNet net = s->problem->net;
  char path[256];

  PetscFunctionBeginUser;
  CourantRunGet(&s->run, s->state.theta, s->run.weights);
  for (PetscInt l = 0; l < net->nlayers; l++) {
    const CourantLayer *layer = &net->layers[l];
    const double *values = s->run.weights + layer->offset;
    for (int i = 0; i < layer->nparameters; values += layer->parameters[i].size, i++) {
      const CourantParameter *p = &layer->parameters[i];
      size_t dims[4];
      for (int d = 0; d < p->ndims; d++) dims[d] = (size_t)p->dims[d];
      snprintf(path, sizeof path, "/weights/%s.%s", layer->name, p->name);
      PetscCall(
          CourantResultAddArray(s->output.file, path, p->ndims, dims, values, "weights after the last step"));
    }
    for (int i = 0; CourantLayerIsCoupled(layer) && i < COURANT_RUNNING; i++) {
      const size_t c = (size_t)layer->in.c;
      snprintf(path, sizeof path, "/weights/%s.%s", layer->name, CourantRunningNames[i]);
      PetscCall(CourantResultAddArray(s->output.file, path, 1, &c,
                                      s->state.running + layer->buffer + (size_t)i * c,
                                      "running statistics of batch_norm"));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Numbers of a rule, and the mean of squared gradients that adam ends with: its preconditioner. */
static PetscErrorCode WriteRule(TrainSession *s)
{
  const CourantRuleOps *rule = s->run.rule;
  const CourantResult file = s->output.file;
  const size_t n = s->run.n;

  PetscFunctionBeginUser;
  if (strcmp(rule->name, "adam") || s->state.step == 0) PetscFunctionReturn(PETSC_SUCCESS);
  CourantRunGet(&s->run, s->state.rule[1], s->run.weights);
  PetscCall(CourantResultAddArray(
      file, "/rule/second_moment", 1, &n, s->run.weights,
      "mean of the squares of gradients after the last step, not corrected for its start"));
  PetscCall(CourantResultSetString(file, "/rule", "name", rule->name));
  PetscCall(CourantResultSetReal(file, "/rule", "step", (double)s->state.step));
  for (const CourantKey *key = rule->keys; key->name; key++)
    if (key->type == COURANT_KEY_REAL)
      PetscCall(CourantResultSetReal(file, "/rule", key->name,
                                     *(const double *)((const char *)s->settings.options + key->offset)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a run goes on from, under /state of the .partial. */
static PetscErrorCode ExchangeState(TrainSession *s, PetscBool back)
{
  const size_t n = s->run.n, buffers = (size_t)s->problem->net->buffers;
  const CourantResult file = s->output.file;
  char path[32];
  double step;

  PetscFunctionBeginUser;
  for (int i = -1; i < s->run.rule->states; i++) {
    void *values = i < 0 ? s->state.theta : s->state.rule[i];
    snprintf(path, sizeof path, i < 0 ? "/state/theta" : "/state/rule_%d", i);
    if (back) {
      PetscCall(CourantResultRead(file, path, COURANT_RESULT_REAL, n, s->run.weights));
      CourantRunSet(&s->run, s->run.weights, values);
    } else {
      CourantRunGet(&s->run, values, s->run.weights);
      PetscCall(CourantResultAddArray(file, path, 1, &n, s->run.weights, "state of the run"));
    }
  }
  if (back) {
    if (buffers)
      PetscCall(CourantResultRead(file, "/state/running", COURANT_RESULT_REAL, buffers, s->state.running));
    PetscCall(CourantResultGetReal(file, "/state", "step", &step));
    if (!(step >= 0 && step <= (double)s->run.steps))
      CourantInputError(PETSC_COMM_SELF,
                        "%s cannot be resumed: it does not say at which step; -force starts again",
                        s->output.partial);
    s->state.step = (PetscInt)step;
  } else {
    if (buffers)
      PetscCall(
          CourantResultAddArray(file, "/state/running", 1, &buffers, s->state.running, "running statistics"));
    PetscCall(CourantResultSetReal(file, "/state", "step", (double)s->state.step));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ExchangeRecords(TrainSession *s, PetscBool back)
{
  PetscFunctionBeginUser;
  for (int c = 0; c < COLUMNS && HasColumn(s, c); c++)
    if (back)
      PetscCall(CourantResultRead(s->output.file, columns[c].path, COURANT_RESULT_REAL, (size_t)s->run.steps,
                                  s->record[c]));
    else
      PetscCall(CourantResultWrite(s->output.file, columns[c].path, s->record[c]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* TrainStartResult - The result file, or that of an interrupted run with its state. On rank 0. */
PetscErrorCode TrainStartResult(TrainSession *s)
{
  const CourantProblem problem = s->problem;

  PetscFunctionBeginUser;
  PetscCall(CourantOutputCreate(&s->output, &problem->model, "training"));
  const CourantResult file = s->output.file;
  PetscCall(CourantResultSetString(file, "/", "precision", s->settings.precision ? "single" : "double"));
  if (!s->output.resumed) {
    PetscCall(CourantResultAddCount(file, STEP, (int)s->run.steps, 0, "steps taken before", "1"));
    for (int c = 0; c < COLUMNS && HasColumn(s, c); c++) PetscCall(CourantResultAdd(file, &columns[c]));
    PetscCall(CourantResultSetString(file, "/trajectory", "rule", s->run.rule->name));
    PetscCall(CourantResultSetString(file, "/trajectory", "evaluated",
                                     problem->test ? "test samples" : "training samples"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(ExchangeRecords(s, PETSC_TRUE));
  PetscCall(ExchangeState(s, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* TrainCheckpoint - The file as it is, for a run to go on from; nothing on other ranks. */
PetscErrorCode TrainCheckpoint(TrainSession *s)
{
  PetscFunctionBeginUser;
  if (!s->output.file) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(ExchangeRecords(s, PETSC_FALSE));
  PetscCall(ExchangeState(s, PETSC_FALSE));
  PetscCall(CourantOutputCheckpoint(&s->output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the end ---- */

static void PrintRun(const TrainSession *s)
{
  const PetscInt last = PetscMax(0, PetscMin(s->state.step, s->run.steps) - (s->state.diverged ? 0 : 1));
  const char *judged = s->problem->test ? "test" : "training";
  PetscInt seen = -1, sharp = -1;

  for (PetscInt i = 0; i <= last; i++) {
    if (isfinite(s->record[ACCURACY][i])) seen = i;
    if (isfinite(s->record[SHARPNESS][i])) sharp = i;
  }
  printf("%s %d of %d steps: loss %.6g, objective %.6g, |gradient| %.3g\n",
         s->state.diverged ? "diverged after" : "took", (int)s->state.step, (int)s->run.steps,
         s->record[LOSS][last], s->record[OBJECTIVE][last], s->record[GRADIENT_NORM][last]);
  if (seen >= 0)
    printf("%s loss %.6g, accuracy %.2f %%\n", judged, s->record[EVALUATION_LOSS][seen],
           100 * s->record[ACCURACY][seen]);
  if (sharp >= 0)
    printf("sharpness %.6g +- %.1e at step %d", s->record[SHARPNESS][sharp], s->record[RESIDUAL][sharp],
           (int)sharp);
  if (sharp >= 0 && isfinite(s->record[PRECONDITIONED][sharp]))
    printf("; preconditioned %.6g +- %.1e", s->record[PRECONDITIONED][sharp],
           s->record[PRECONDITIONED_RESIDUAL][sharp]);
  if (sharp >= 0 && isfinite(s->record[LIMIT][sharp]))
    printf("; %s is stable below %.6g", s->run.rule->name, s->record[LIMIT][sharp]);
  if (sharp >= 0) printf("\n");
}

/* TrainFinishResult - The finished file, and what came of the run. On rank 0. */
PetscErrorCode TrainFinishResult(TrainSession *s)
{
  PetscFunctionBeginUser;
  PetscCall(ExchangeRecords(s, PETSC_FALSE));
  PetscCall(WriteWeights(s));
  PetscCall(WriteRule(s));
  PetscCall(CourantResultDelete(s->output.file, "/state"));
  PetscCall(CourantResultSetInt(s->output.file, "/trajectory", "diverged_at",
                                s->state.diverged ? (int)s->state.step : -1));
  PetscCall(CourantOutputFinish(&s->output));
  if (s->output.quiet) PetscFunctionReturn(PETSC_SUCCESS);
  PrintRun(s);
  CourantOutputView(&s->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}
