/* courant train: one run with its trajectory, or an ensemble of perturbed runs. */
#include "cmd/train-run.h"
#include "core/interrupt.h"
#include "stability/preconditioned.h"
#include <math.h>

/* ---- the monitor of the sharpness ---- */

static PetscErrorCode CreateSharpness(TrainSession *s)
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
static PetscErrorCode MeasurePreconditioned(TrainSession *s, PetscInt step)
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
static PetscErrorCode MeasureSharpness(TrainSession *s, PetscInt step)
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
static PetscErrorCode ShareState(TrainSession *s)
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

static PetscErrorCode TakeStep(TrainSession *s)
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

static PetscErrorCode Train(TrainSession *s)
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
    if (due) PetscCall(TrainCheckpoint(s));
  }
  CourantProgressEnd(&s->progress);
  if (!stop) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(TrainCheckpoint(s));
  CourantOutputSayInterrupted(&s->output, "what is done");
  PetscFunctionReturn(PETSC_ERR_SIG);
}

static PetscErrorCode RunOne(TrainSession *s)
{
  PetscFunctionBeginUser;
  PetscCall(CourantRunCheckRecords(s->problem, &s->settings, s->settings.epochs ? "epochs" : "steps",
                                   COLUMNS * (double)s->run.steps));
  PetscCall(CourantRunStateCreate(&s->run, &s->state));
  for (int c = 0; c < COLUMNS; c++) {
    PetscCall(PetscMalloc1(s->run.steps, &s->record[c]));
    for (PetscInt i = 0; i < s->run.steps; i++) s->record[c][i] = NAN;
  }
  s->evaluate_every = s->settings.batch > 0 ? s->run.per_epoch : PetscMax(1, s->run.steps / 100);
  PetscCall(CourantRunStart(&s->run, &s->problem->weights, s->settings.seed, s->settings.perturb, &s->state));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, TrainStartResult(s));
  PetscCall(ShareState(s));
  PetscCall(CourantTrainPrintHeader(s->problem, &s->settings, &s->output, s->run.evaluator));
  if (s->output.resumed && !s->output.quiet)
    printf("  resumed at step %d from %s\n", (int)s->state.step, s->output.partial);
  fflush(stdout);
  CourantProgressBegin(&s->progress, "training", (double)s->state.step, (double)s->run.steps,
                       s->output.quiet);
  PetscCall(Train(s));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, TrainFinishResult(s));
  for (int c = 0; c < COLUMNS; c++) PetscCall(PetscFree(s->record[c]));
  PetscCall(CourantRunStateDestroy(&s->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the command ---- */

static PetscErrorCode ReadAgain(void *ctx)
{
  TrainSession *s = (TrainSession *)ctx;

  PetscFunctionBeginUser;
  if (s->spectrum) PetscCall(CourantSpectrumSetFromOptions(s->spectrum));
  if (s->preconditioned) PetscCall(CourantSpectrumSetFromOptions(s->preconditioned));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(void *ctx, CourantDeck deck)
{
  TrainSession *s = (TrainSession *)ctx;

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
  TrainSession *s = (TrainSession *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemVerifyReference(s->problem));
  PetscCall(s->settings.seeds.n ? CourantTrainEnsemble(s->problem, &s->settings, &s->output) : RunOne(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TearDown(void *ctx)
{
  TrainSession *s = (TrainSession *)ctx;

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
      &CourantCommand_train, sizeof(TrainSession), SetUp, ReadAgain, Work, TearDown};

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
