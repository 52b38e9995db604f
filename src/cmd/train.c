/* courant train: one run with its trajectory, or an ensemble of perturbed runs. */
#include "cmd/train.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "stability/preconditioned.h"
#include "train/run.h"
#include <math.h>
#include <string.h>

/* ---- what a run records, step by step ---- */

enum {
  LOSS,
  OBJECTIVE,
  GRADIENT_NORM,
  LEARNING_RATE,
  EVALUATION_LOSS,
  ACCURACY,
  SHARPNESS,
  RESIDUAL,
  LIMIT,
  PRECONDITIONED,
  PRECONDITIONED_RESIDUAL,
  COLUMNS
};

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

typedef struct {
  CourantProblem problem;
  CourantTrainSettings settings;
  CourantOutput output;
  CourantProgress progress;
  CourantRun run;
  CourantRunState state;
  double *record[COLUMNS]; /* [steps] */
  PetscInt evaluate_every; /* steps */
  CourantSpectrum spectrum, preconditioned;
  Mat H, PHP; /* PHP: P^-1/2 (H + alpha D) P^-1/2 of a rule with a preconditioner P */
  Vec theta, P;
} Session;

/* Is this one of the columns that the run's rule has? */
static PetscBool HasColumn(const Session *s, int column)
{
  return column < PRECONDITIONED || s->run.rule->Preconditioner ? PETSC_TRUE : PETSC_FALSE;
}

/* ---- the monitor of the sharpness ---- */

static PetscErrorCode CreateSharpness(Session *s)
{
  PetscFunctionBeginUser;
  if (!s->settings.sharpness_every) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantProblemCreateHessian(s->problem, &s->H));
  PetscCall(CourantProblemCreateVec(s->problem, &s->theta));
  PetscCall(CourantSpectrumCreate(s->problem->comm, &s->spectrum));
  PetscCall(CourantSpectrumSetOperator(s->spectrum, s->H));
  PetscCall(CourantSpectrumSetFromOptions(s->spectrum));
  if (!s->run.rule->Preconditioner) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecDuplicate(s->theta, &s->P));
  PetscCall(CourantPreconditionedCreate(s->H, &s->PHP));
  PetscCall(CourantSpectrumCreate(s->problem->comm, &s->preconditioned));
  PetscCall(CourantSpectrumSetOperator(s->preconditioned, s->PHP));
  PetscCall(CourantSpectrumSetFromOptions(s->preconditioned));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The largest nu of (H + alpha D) x = nu P x, P of the steps taken so far, beside its limit: Adam as heavy
  ball with a frozen preconditioner, stable for 0 < eta nu < 2 (1 + beta1) / (1 - beta1) (Cohen et al.,
  arXiv:2207.14484). Weights with rates of their own have them in P; decoupled decay acts past it.
*/
static PetscErrorCode MeasurePreconditioned(Session *s, PetscInt step)
{
  const CourantTrainSettings *t = &s->settings;
  const PetscReal alpha = t->decoupled ? 0 : t->weight_decay;
  const PetscBool beside = t->decoupled && t->weight_decay > 0 ? PETSC_TRUE : PETSC_FALSE;
  CourantExtreme largest;

  PetscFunctionBeginUser;
  if (!s->run.rule->Preconditioner || s->state.step == 0) PetscFunctionReturn(PETSC_SUCCESS);
  s->run.rule->Preconditioner(t->options, s->state.step, s->run.n, s->state.rule, s->run.weights);
  for (size_t i = 0; s->run.rates && i < s->run.n; i++) s->run.weights[i] /= s->run.rates[i];
  PetscCall(CourantProblemPut(s->run.weights, s->P));
  PetscCall(CourantPreconditionedSetDiagonal(s->PHP, s->P));
  PetscCall(CourantHessianSetWeightDecay(s->H, alpha));
  PetscCall(CourantSpectrumSolveLargest(s->preconditioned));
  PetscCall(CourantHessianSetWeightDecay(s->H, 0));
  PetscCall(CourantSpectrumGetExtremes(s->preconditioned, &largest, NULL));
  s->record[PRECONDITIONED][step] = largest.value;
  s->record[PRECONDITIONED_RESIDUAL][step] = largest.residual;
  if (!beside || (s->problem->decays_all && !s->run.rates))
    s->record[LIMIT][step] =
        s->run.rule->Limit(t->options) / CourantRunLearningRate(&s->run, step) -
        (beside ? CourantRuleEdgeDecay(s->run.rule, t->options, t->weight_decay, PETSC_TRUE) : 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where the weights have diverged there is none: the step that follows says so. */
static PetscErrorCode MeasureSharpness(Session *s, PetscInt step)
{
  const CourantTrainSettings *t = &s->settings;
  /* else the rule's limit is one of another matrix than H */
  const PetscBool of_H =
      !s->run.rates && (t->weight_decay == 0 || s->problem->decays_all) ? PETSC_TRUE : PETSC_FALSE;
  CourantExtreme largest;
  PetscReal loss;

  PetscFunctionBeginUser;
  CourantRunGet(&s->run, s->state.theta, s->run.weights);
  if (CourantRunIsLost(&s->run, &s->state, s->run.weights)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantProblemPut(s->run.weights, s->theta));
  PetscCall(CourantProblemSetState(s->problem, s->theta, &loss, NULL));
  if (!isfinite(loss)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantSpectrumSolveLargest(s->spectrum));
  PetscCall(CourantSpectrumGetExtremes(s->spectrum, &largest, NULL));
  s->record[SHARPNESS][step] = largest.value;
  s->record[RESIDUAL][step] = largest.residual;
  if (of_H)
    s->record[LIMIT][step] = CourantRuleSharpnessLimit(
        s->run.rule, t->options, CourantRunLearningRate(&s->run, step), t->weight_decay, t->decoupled);
  PetscCall(MeasurePreconditioned(s, step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the result file ---- */

static PetscErrorCode WriteWeights(Session *s)
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
static PetscErrorCode WriteRule(Session *s)
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
static PetscErrorCode ExchangeState(Session *s, PetscBool back)
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

static PetscErrorCode ExchangeRecords(Session *s, PetscBool back)
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

/* Rank 0. */
static PetscErrorCode StartRun(Session *s)
{
  const CourantProblem problem = s->problem;

  PetscFunctionBeginUser;
  PetscCall(CourantOutputCreate(&s->output, &problem->model, "training"));
  const CourantResult file = s->output.file;
  PetscCall(CourantResultSetString(file, "/", "precision", s->settings.precision ? "single" : "double"));
  if (!s->output.resumed) {
    PetscCall(CourantResultAddCount(file, STEP, (int)s->run.steps, 0, "steps taken before"));
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

static PetscErrorCode Checkpoint(Session *s)
{
  PetscFunctionBeginUser;
  if (!s->output.file) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(ExchangeRecords(s, PETSC_FALSE));
  PetscCall(ExchangeState(s, PETSC_FALSE));
  PetscCall(CourantOutputCheckpoint(&s->output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantTrainPrintHeader - What is trained, and how; on rank 0 unless -quiet. evaluator: the one it trains
  with.
*/
PetscErrorCode CourantTrainPrintHeader(CourantProblem problem, const CourantTrainSettings *t,
                                       const CourantOutput *output, CourantEvaluator evaluator)
{
  char batch[32] = "full batches", length[64];

  PetscFunctionBeginUser;
  if (output->quiet || output->rank) PetscFunctionReturn(PETSC_SUCCESS);
  if (t->batch > 0) snprintf(batch, sizeof batch, "batches of %d", t->batch);
  snprintf(length, sizeof length, t->epochs ? "%d epochs" : "%d steps",
           (int)(t->epochs ? t->epochs : t->steps));
  printf("training of %s: %s, %s, %s, learning rate %g, weight decay %g, %s precision\n", problem->model.name,
         CourantRule(t->rule)->name, batch, length, t->learning_rate, t->weight_decay,
         t->precision ? "single" : "double");
  if (t->seeds.n) printf("  ensemble of %d seeds x %d perturbations\n", (int)t->seeds.n, (int)t->perturbs.n);
  PetscCall(CourantSessionPrintModel(problem, output,
                                     CourantProblemMemory(problem) + CourantEvaluatorMemory(evaluator)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- one run ---- */

/* A resumed run goes on from rank 0's state on every rank. */
static PetscErrorCode ShareState(Session *s)
{
  const MPI_Comm comm = s->problem->comm;
  const PetscMPIInt n = (PetscMPIInt)s->run.n;
  const MPI_Datatype type = s->run.backend->bits == 64 ? MPI_DOUBLE : MPI_FLOAT;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Bcast(s->state.theta, n, type, 0, comm));
  for (int i = 0; i < s->run.rule->states; i++) PetscCallMPI(MPI_Bcast(s->state.rule[i], n, type, 0, comm));
  PetscCallMPI(MPI_Bcast(s->state.running, (PetscMPIInt)s->problem->net->buffers, MPI_DOUBLE, 0, comm));
  PetscCallMPI(MPI_Bcast(&s->state.step, 1, MPIU_INT, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TakeStep(Session *s)
{
  const PetscInt step = s->state.step;
  CourantRunRecord record;

  PetscFunctionBeginUser;
  PetscCall(CourantRunStep(&s->run, &s->state, &record));
  s->record[LOSS][step] = record.loss;
  s->record[OBJECTIVE][step] = record.objective;
  s->record[GRADIENT_NORM][step] = record.gradient_norm;
  s->record[LEARNING_RATE][step] = record.learning_rate;
  if (s->state.diverged) PetscFunctionReturn(PETSC_SUCCESS);
  if (s->state.step % s->evaluate_every == 0 || s->state.step == s->run.steps)
    PetscCall(CourantRunEvaluate(&s->run, &s->state, &s->record[EVALUATION_LOSS][step],
                                 &s->record[ACCURACY][step]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Train(Session *s)
{
  int stop = 0;

  PetscFunctionBeginUser;
  while (s->state.step < s->run.steps && !s->state.diverged) {
    const PetscInt step = s->state.step;
    PetscCall(CourantInterruptedTogether(s->problem->comm, &stop));
    if (stop) break;
    if (s->settings.sharpness_every && step % s->settings.sharpness_every == 0) {
      const PetscErrorCode code = MeasureSharpness(s, step);
      stop = code == PETSC_ERR_SIG; /* the signal came while it was measured */
      if (stop) break;
      PetscCall(code);
    }
    PetscCall(TakeStep(s));
    CourantProgressUpdate(&s->progress, (double)s->state.step);
    const PetscBool due = s->settings.checkpoint_every ? s->state.step % s->settings.checkpoint_every == 0
                                                       : CourantOutputDue(&s->output);
    if (due) PetscCall(Checkpoint(s));
  }
  CourantProgressEnd(&s->progress);
  if (!stop) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Checkpoint(s));
  CourantOutputSayInterrupted(&s->output, "what is done");
  PetscFunctionReturn(PETSC_ERR_SIG);
}

static void PrintRun(const Session *s)
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

/* Rank 0. */
static PetscErrorCode FinishRun(Session *s)
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

/* CourantTrainCheckRecords - Do so many numbers fit, in the program and twice in the file it writes? */
PetscErrorCode CourantTrainCheckRecords(CourantProblem problem, const CourantTrainSettings *settings,
                                        const char *key, double numbers)
{
  const double bytes = 3 * sizeof(double) * numbers;

  PetscFunctionBeginUser;
  if (bytes > problem->memory || numbers > PETSC_MAX_INT)
    CourantNodeError(settings->node, "%s: what is recorded takes %.3g GB, more than -memory allows, %.3g GB",
                     key, bytes / 1e9, problem->memory / 1e9);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunOne(Session *s)
{
  PetscFunctionBeginUser;
  PetscCall(CourantTrainCheckRecords(s->problem, &s->settings, s->settings.epochs ? "epochs" : "steps",
                                     COLUMNS * (double)s->run.steps));
  PetscCall(CourantRunStateCreate(&s->run, &s->state));
  for (int c = 0; c < COLUMNS; c++) {
    PetscCall(PetscMalloc1(s->run.steps, &s->record[c]));
    for (PetscInt i = 0; i < s->run.steps; i++) s->record[c][i] = NAN;
  }
  s->evaluate_every = s->settings.batch > 0 ? s->run.per_epoch : PetscMax(1, s->run.steps / 100);
  PetscCall(CourantRunStart(&s->run, &s->problem->weights, s->settings.seed, s->settings.perturb, &s->state));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, StartRun(s));
  PetscCall(ShareState(s));
  PetscCall(CourantTrainPrintHeader(s->problem, &s->settings, &s->output, s->run.evaluator));
  if (s->output.resumed && !s->output.quiet)
    printf("  resumed at step %d from %s\n", (int)s->state.step, s->output.partial);
  fflush(stdout);
  CourantProgressBegin(&s->progress, "training", (double)s->state.step, (double)s->run.steps,
                       s->output.quiet);
  PetscCall(Train(s));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, FinishRun(s));
  for (int c = 0; c < COLUMNS; c++) PetscCall(PetscFree(s->record[c]));
  PetscCall(CourantRunStateDestroy(&s->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the command ---- */

static PetscErrorCode ReadAgain(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  if (s->spectrum) PetscCall(CourantSpectrumSetFromOptions(s->spectrum));
  if (s->preconditioned) PetscCall(CourantSpectrumSetFromOptions(s->preconditioned));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(void *ctx, CourantDeck deck)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemCreate(PETSC_COMM_WORLD, deck, &s->problem));
  PetscCall(CourantProblemSetFromOptions(s->problem));
  PetscCall(CourantTrainRead(s->problem->top.train, &s->settings));
  PetscCall(CourantOutputOpen(&s->problem->model, "train", &s->output));
  PetscCall(CourantProblemSetUp(s->problem));
  if (!s->settings.seeds.n) PetscCall(CourantRunCreate(s->problem, &s->settings, PETSC_FALSE, &s->run));
  if (!s->settings.seeds.n) PetscCall(CreateSharpness(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Work(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemVerifyReference(s->problem));
  PetscCall(s->settings.seeds.n ? CourantTrainEnsemble(s->problem, &s->settings, &s->output) : RunOne(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TearDown(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumDestroy(&s->spectrum));
  PetscCall(CourantSpectrumDestroy(&s->preconditioned));
  PetscCall(MatDestroy(&s->PHP));
  PetscCall(MatDestroy(&s->H));
  PetscCall(VecDestroy(&s->theta));
  PetscCall(VecDestroy(&s->P));
  PetscCall(CourantOutputClose(&s->output));
  PetscCall(CourantRunDestroy(&s->run));
  PetscCall(CourantProblemDestroy(&s->problem));
  PetscCall(CourantTrainReset(&s->settings));
  PetscFunctionReturn(PETSC_SUCCESS);
}

extern const CourantCommandOps CourantCommand_train;

static PetscErrorCode Run(const char *model)
{
  static const CourantSessionOps ops = {
      &CourantCommand_train, sizeof(Session), SetUp, ReadAgain, Work, TearDown};

  PetscFunctionBeginUser;
  PetscCall(CourantSessionRun(&ops, NULL, model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const CourantOption options[] = {
    COURANT_MODEL_OPTIONS,
    COURANT_RESULT_OPTIONS,
    {0},
};

const CourantCommandOps CourantCommand_train = {
    .name = "train",
    .argument = "MODEL",
    .summary = "the built-in trainer: optimisers, mini-batches, perturbed ensembles",
    .description =
        "Trains the network of a deck by its train section: gradient descent, momentum, Nesterov or Adam on\n"
        "full batches or mini-batches, in double or single precision, and records loss, accuracy and, if\n"
        "asked for, the sharpness (of Adam the preconditioned one too) beside the limit of the optimiser. "
        "With an ensemble it trains for every\n"
        "seed and every factor k of the perturbed step and tells how far runs that differ by rounding\n"
        "alone drift apart. The result file holds the weights; `weights: {init: file, file: ..}` reads them.",
    .options = options,
    .solvers = "  -hessian_max_eps_...   the sharpness; -eps_... too\n",
    .Run = Run,
};
