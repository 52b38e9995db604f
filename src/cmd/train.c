/* courant train: one run with its trajectory, or an ensemble of perturbed runs. */
#include "cmd/session.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "train/ensemble.h"
#include <math.h>
#include <string.h>

#define LENGTH(array) ((int)(sizeof(array) / sizeof *(array)))

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
    [LIMIT] = {"/trajectory/limit",
               COURANT_RESULT_REAL,
               {STEP},
               "sharpness above which the rule is unstable; none where weights differ in decay or rate",
               "1"},
};

typedef struct {
  CourantProblem problem;
  CourantTrainSettings settings;
  CourantOutput output;
  CourantProgress progress;
  CourantRun run;
  CourantRunState state;
  CourantEnsemble ensemble;
  double *record[COLUMNS]; /* [steps] */
  double *seeds_done;      /* [seeds] of the ensemble */
  double work;             /* epochs done by this rank */
  PetscInt evaluate_every; /* steps */
  CourantSpectrum spectrum;
  Mat H;
  Vec theta;
} Session;

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
  for (int c = 0; c < COLUMNS; c++)
    if (back)
      PetscCall(CourantResultRead(s->output.file, columns[c].path, COURANT_RESULT_REAL, (size_t)s->run.steps,
                                  s->record[c]));
    else
      PetscCall(CourantResultWrite(s->output.file, columns[c].path, s->record[c]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A dimension with these values; NULL: they count from `first`. */
static PetscErrorCode Scale(CourantResult file, const char *path, PetscInt n, const double *values, int first,
                            const char *name)
{
  double *numbers;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &numbers));
  for (PetscInt i = 0; i < n; i++) numbers[i] = values ? values[i] : first + (double)i;
  PetscCall(CourantResultAddScale(file, path, (int)n, numbers, name, "1"));
  PetscCall(PetscFree(numbers));
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
    PetscCall(Scale(file, STEP, s->run.steps, NULL, 0, "steps taken before"));
    for (int c = 0; c < COLUMNS; c++) PetscCall(CourantResultAdd(file, &columns[c]));
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

static PetscErrorCode PrintHeader(Session *s)
{
  const CourantTrainSettings *t = &s->settings;
  const CourantProblem problem = s->problem;
  char batch[32] = "full batches", length[64];

  PetscFunctionBeginUser;
  if (s->output.quiet || s->output.rank) PetscFunctionReturn(PETSC_SUCCESS);
  if (t->batch > 0) snprintf(batch, sizeof batch, "batches of %d", t->batch);
  snprintf(length, sizeof length, t->epochs ? "%d epochs" : "%d steps",
           (int)(t->epochs ? t->epochs : t->steps));
  printf("training of %s: %s, %s, %s, learning rate %g, weight decay %g, %s precision\n", problem->model.name,
         CourantRule(t->rule)->name, batch, length, t->learning_rate, t->weight_decay,
         t->precision ? "single" : "double");
  if (t->seeds.n) printf("  ensemble of %d seeds x %d perturbations\n", (int)t->seeds.n, (int)t->perturbs.n);
  const CourantEvaluator evaluator = t->seeds.n ? s->ensemble.run.evaluator : s->run.evaluator;
  PetscCall(CourantSessionPrintModel(problem, &s->output,
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

/* So many numbers fit, in the program and twice in the file it writes. */
static PetscErrorCode CheckRecords(const Session *s, const char *key, double numbers)
{
  const double bytes = 3 * sizeof(double) * numbers;

  PetscFunctionBeginUser;
  if (bytes > s->problem->memory || numbers > PETSC_MAX_INT)
    CourantNodeError(s->settings.node,
                     "%s: what is recorded takes %.3g GB, more than -memory allows, %.3g GB", key,
                     bytes / 1e9, s->problem->memory / 1e9);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunOne(Session *s)
{
  PetscFunctionBeginUser;
  PetscCall(CheckRecords(s, s->settings.epochs ? "epochs" : "steps", COLUMNS * (double)s->run.steps));
  PetscCall(CourantRunStateCreate(&s->run, &s->state));
  for (int c = 0; c < COLUMNS; c++) {
    PetscCall(PetscMalloc1(s->run.steps, &s->record[c]));
    for (PetscInt i = 0; i < s->run.steps; i++) s->record[c][i] = NAN;
  }
  s->evaluate_every = s->settings.batch > 0 ? s->run.per_epoch : PetscMax(1, s->run.steps / 100);
  PetscCall(CourantRunStart(&s->run, &s->problem->weights, s->settings.seed, s->settings.perturb, &s->state));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, StartRun(s));
  PetscCall(ShareState(s));
  PetscCall(PrintHeader(s));
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

/* ---- an ensemble ---- */

#define SEED    "/ensemble/seed"
#define PERTURB "/ensemble/perturb"
#define EPOCH   "/ensemble/epoch"
#define LAYER   "/ensemble/layer"

typedef struct {
  CourantResultEntry entry;
  size_t offset; /* of the array in CourantEnsemble */
} Table;

static const Table tables[] = {
    {{"/ensemble/test_accuracy",
      COURANT_RESULT_REAL,
      {SEED, PERTURB},
      "accuracy, mean of the last ten epochs",
      "1"},
     offsetof(CourantEnsemble, accuracy)},
    {{"/ensemble/distance",
      COURANT_RESULT_REAL,
      {SEED, PERTURB, EPOCH},
      "distance to the first run of the seed",
      "1",
      NULL,
      "2 mean_i |w1 - w2| / (|w1| + |w2|)"},
     offsetof(CourantEnsemble, distance)},
    {{"/ensemble/relative_distance",
      COURANT_RESULT_REAL,
      {SEED, PERTURB, EPOCH},
      "distance to the first run of the seed, relative to its weights",
      "1",
      NULL,
      "|w1 - w2| / |w1|"},
     offsetof(CourantEnsemble, relative)},
    {{"/ensemble/layer_distance",
      COURANT_RESULT_REAL,
      {SEED, PERTURB, LAYER},
      "distance of each layer with weights at the end",
      "1",
      NULL,
      "2 mean_i |w1 - w2| / (|w1| + |w2|)"},
     offsetof(CourantEnsemble, layer_distance)},
    {{"/ensemble/diverged_at", COURANT_RESULT_REAL, {SEED, PERTURB}, "step of divergence", "1"},
     offsetof(CourantEnsemble, diverged_at)},
    {{"/ensemble/subnormal",
      COURANT_RESULT_REAL,
      {SEED, PERTURB},
      "parts d / k of steps that were subnormal, where a power of two as k is no longer exact",
      "1"},
     offsetof(CourantEnsemble, subnormal)},
};

static const CourantResultEntry spreads[] = {
    {"/ensemble/row_std", COURANT_RESULT_REAL, {SEED}, "standard deviation of the accuracy over k", "1"},
    {"/ensemble/column_std",
     COURANT_RESULT_REAL,
     {PERTURB},
     "standard deviation of the accuracy over seeds",
     "1"},
    {"/ensemble/done", COURANT_RESULT_REAL, {SEED}, "1 where the runs of a seed are done", "1"},
};

static double *ArrayOf(CourantEnsemble *e, const Table *table)
{
  return *(double **)((char *)e + table->offset);
}

static size_t CountOf(const CourantEnsemble *e, const Table *table)
{
  size_t n = (size_t)(e->seeds * e->perturbs);
  if (table->entry.scales[2]) n *= (size_t)(strcmp(table->entry.scales[2], LAYER) ? e->epochs : e->layers);
  return n;
}

/* Rank 0. */
static PetscErrorCode StartEnsemble(Session *s)
{
  const CourantEnsemble *e = &s->ensemble;

  PetscFunctionBeginUser;
  PetscCall(CourantOutputCreate(&s->output, &s->problem->model, "ensemble of perturbed training runs"));
  const CourantResult file = s->output.file;
  PetscCall(CourantResultSetString(file, "/", "precision", s->settings.precision ? "single" : "double"));
  if (s->output.resumed) {
    for (int i = 0; i < LENGTH(tables); i++)
      PetscCall(CourantResultRead(file, tables[i].entry.path, COURANT_RESULT_REAL, CountOf(e, &tables[i]),
                                  ArrayOf(&s->ensemble, &tables[i])));
    PetscCall(
        CourantResultRead(file, "/ensemble/done", COURANT_RESULT_REAL, (size_t)e->seeds, s->seeds_done));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(Scale(file, SEED, e->seeds, s->settings.seeds.values, 0, "seed of batches and augmentation"));
  PetscCall(
      Scale(file, PERTURB, e->perturbs, s->settings.perturbs.values, 0, "factor k of the perturbed step"));
  PetscCall(Scale(file, EPOCH, e->epochs, NULL, 1, "epochs done"));
  PetscCall(Scale(file, LAYER, e->layers, NULL, 0, "layer with weights, in the order of the network"));
  for (int i = 0; i < LENGTH(tables); i++) PetscCall(CourantResultAdd(file, &tables[i].entry));
  for (int i = 0; i < LENGTH(spreads); i++) PetscCall(CourantResultAdd(file, &spreads[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Everything of a seed to rank 0, from the rank that ran it. */
static PetscErrorCode CollectSeed(Session *s, PetscInt seed, PetscMPIInt from)
{
  PetscFunctionBeginUser;
  for (int i = 0; i < LENGTH(tables); i++) {
    const size_t n = CountOf(&s->ensemble, &tables[i]) / (size_t)s->ensemble.seeds;
    double *values = ArrayOf(&s->ensemble, &tables[i]) + (size_t)seed * n;
    if (s->output.rank == 0 && from)
      PetscCallMPI(
          MPI_Recv(values, (PetscMPIInt)n, MPI_DOUBLE, from, i, s->problem->comm, MPI_STATUS_IGNORE));
    else if (s->output.rank == from && from)
      PetscCallMPI(MPI_Send(values, (PetscMPIInt)n, MPI_DOUBLE, 0, i, s->problem->comm));
  }
  s->seeds_done[seed] = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteEnsemble(Session *s)
{
  CourantEnsembleSummary summary;
  double *row, *column;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(s->ensemble.seeds, &row, s->ensemble.perturbs, &column));
  CourantEnsembleSpread(&s->ensemble, row, column);
  for (int i = 0; i < LENGTH(tables); i++)
    PetscCall(CourantResultWrite(s->output.file, tables[i].entry.path, ArrayOf(&s->ensemble, &tables[i])));
  PetscCall(CourantResultWrite(s->output.file, spreads[0].path, row));
  PetscCall(CourantResultWrite(s->output.file, spreads[1].path, column));
  PetscCall(CourantResultWrite(s->output.file, spreads[2].path, s->seeds_done));
  PetscCall(CourantEnsembleSummarise(&s->ensemble, &summary));
  PetscCall(CourantResultSetReal(s->output.file, "/ensemble", "ratio", summary.ratio));
  PetscCall(CourantResultSetReal(s->output.file, "/ensemble", "ratio_low", summary.low));
  PetscCall(CourantResultSetReal(s->output.file, "/ensemble", "ratio_high", summary.high));
  PetscCall(CourantResultSetReal(s->output.file, "/ensemble", "median_distance", summary.distance));
  PetscCall(PetscFree2(row, column));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckpointEnsemble(Session *s)
{
  PetscFunctionBeginUser;
  PetscCall(WriteEnsemble(s));
  PetscCall(CourantOutputCheckpoint(&s->output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void EpochDone(double epochs, void *ctx)
{
  Session *s = (Session *)ctx;
  s->work += epochs * s->output.size;
  CourantProgressUpdate(&s->progress, s->work);
}

static PetscErrorCode PrintEnsemble(const Session *s)
{
  CourantEnsembleSummary summary;
  const CourantEnsemble *e = &s->ensemble;
  double *row, *column;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(e->seeds, &row, e->perturbs, &column));
  CourantEnsembleSpread(e, row, column);
  printf("accuracy in %% over seeds and k (%s samples), and D at the end in brackets\n",
         s->problem->test ? "test" : "training");
  printf("%10s", "seed");
  for (PetscInt k = 0; k < e->perturbs; k++) printf("   k = %-11g", s->settings.perturbs.values[k]);
  printf("   std over k\n");
  for (PetscInt i = 0; i < e->seeds; i++) {
    printf("%10.0f", s->settings.seeds.values[i]);
    for (PetscInt k = 0; k < e->perturbs; k++)
      printf("   %6.2f (%6.1e)", 100 * e->accuracy[i * e->perturbs + k],
             e->distance[(i * e->perturbs + k + 1) * e->epochs - 1]);
    printf("   %6.2f\n", 100 * row[i]);
  }
  printf("%10s", "std");
  for (PetscInt k = 0; k < e->perturbs; k++) printf("   %6.2f          ", 100 * column[k]);
  printf("\n");
  PetscCall(CourantEnsembleSummarise(e, &summary));
  if (isfinite(summary.ratio))
    printf("std over k / std over seeds %.3g (95 %% bootstrap interval %.2g to %.2g)\n", summary.ratio,
           summary.low, summary.high);
  if (isfinite(summary.distance)) printf("median D at the end %.3g\n", summary.distance);
  PetscCall(PetscFree2(row, column));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0. */
static PetscErrorCode FinishEnsemble(Session *s)
{
  PetscFunctionBeginUser;
  PetscCall(WriteEnsemble(s));
  PetscCall(CourantOutputFinish(&s->output));
  if (s->output.quiet) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PrintEnsemble(s));
  CourantOutputView(&s->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One seed a rank, `n` of them, to rank 0 and into a checkpoint; every rank fails when one does. */
static PetscErrorCode RunRound(Session *s, PetscInt n, const PetscInt seeds[])
{
  const MPI_Comm comm = s->problem->comm;
  const PetscMPIInt rank = s->output.rank;
  const PetscErrorCode code =
      rank < n ? CourantEnsembleRunSeed(&s->ensemble, seeds[rank], EpochDone, s) : PETSC_SUCCESS;
  int worst = (int)code, signal;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &worst, 1, MPI_INT, MPI_MAX, comm));
  PetscCall(CourantInterruptedTogether(comm, &signal)); /* for the exit status of all */
  if (worst) PetscFunctionReturn((PetscErrorCode)worst);
  for (PetscMPIInt i = 0; i < n; i++) PetscCall(CollectSeed(s, seeds[i], i));
  CourantCallOnRankZero(comm, rank, CheckpointEnsemble(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The seeds that are not done yet, in rounds. */
static PetscErrorCode RunSeeds(Session *s)
{
  const CourantEnsemble *e = &s->ensemble;
  PetscErrorCode code = PETSC_SUCCESS;
  PetscInt *left, n = 0;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Bcast(s->seeds_done, (PetscMPIInt)e->seeds, MPI_DOUBLE, 0, s->problem->comm));
  PetscCall(PetscMalloc1(e->seeds, &left));
  for (PetscInt i = 0; i < e->seeds; i++)
    if (!(s->seeds_done[i] == 1)) left[n++] = i;
  CourantProgressBegin(&s->progress, "training", 0, (double)(n * e->perturbs * e->epochs), s->output.quiet);
  for (PetscInt at = 0; at < n && !code; at += s->output.size)
    code = RunRound(s, PetscMin(n - at, s->output.size), left + at);
  CourantProgressEnd(&s->progress);
  PetscCall(PetscFree(left));
  if (code == PETSC_ERR_SIG) CourantOutputSayInterrupted(&s->output, "the seeds that are done");
  PetscFunctionReturn(code);
}

static PetscErrorCode RunEnsemble(Session *s)
{
  PetscFunctionBeginUser;
  const double runs = (double)s->settings.seeds.n * (double)s->settings.perturbs.n;
  PetscCall(
      CheckRecords(s, "ensemble", runs * (double)(2 * s->settings.epochs + s->problem->net->nlayers + 4)));
  PetscCall(CourantEnsembleCreate(s->problem, &s->settings, &s->ensemble));
  PetscCall(PetscCalloc1(s->ensemble.seeds, &s->seeds_done));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, StartEnsemble(s));
  PetscCall(PrintHeader(s));
  PetscCall(RunSeeds(s));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, FinishEnsemble(s));
  PetscCall(PetscFree(s->seeds_done));
  PetscCall(CourantEnsembleDestroy(&s->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the command ---- */

static PetscErrorCode ReadAgain(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  if (s->spectrum) PetscCall(CourantSpectrumSetFromOptions(s->spectrum));
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
  PetscCall(s->settings.seeds.n ? RunEnsemble(s) : RunOne(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TearDown(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumDestroy(&s->spectrum));
  PetscCall(MatDestroy(&s->H));
  PetscCall(VecDestroy(&s->theta));
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
        "asked for, the sharpness beside the limit of the optimiser. With an ensemble it trains for every\n"
        "seed and every factor k of the perturbed step and tells how far runs that differ by rounding\n"
        "alone drift apart. The result file holds the weights; `weights: {init: file, file: ..}` reads them.",
    .options = options,
    .solvers = "  -hessian_max_eps_...   the sharpness; -eps_... too\n",
    .Run = Run,
};
