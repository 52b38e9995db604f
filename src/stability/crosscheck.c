/* The trainer's answer to every cell of a map, spread over threads and ranks. */
#include "core/interrupt.h"
#include "stability/map.h"
#include "stability/refine.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>

/* What one thread works with. */
typedef struct {
  CourantTrainer trainer;
  CourantOutcomeWork work;
  double *rest; /* [trainer.size]: the trainer at rest in a row's state */
} Worker;

typedef struct {
  CourantTrainer *trainer;
  double learning_rate, weight_decay;
} DescentRun;

/* No run's first step: a first velocity would be that of a start and not of a neighbour. */
static const char *StepDescent(void *ctx, int which, double state[])
{
  DescentRun *run = (DescentRun *)ctx;
  (void)which;
  return CourantTrainerStep(run->trainer, COURANT_RULE_LATE, run->learning_rate, run->weight_decay, state);
}

typedef struct {
  CourantMap map;
  double learning_rate;
  PetscBool one_step;
} StepperRun;

/* What a one-step method keeps is a stage it could use again, but the runs are moved in between. */
static PetscErrorCode StepFlow(StepperRun *run, int which, double theta[], PetscBool *converged)
{
  Vec v = run->map->theta;

  PetscFunctionBeginUser;
  if (run->one_step) PetscCall(CourantFlowRestart(run->map->flow[which]));
  PetscCall(VecPlaceArray(v, theta));
  PetscCall(CourantFlowStep(run->map->flow[which], run->learning_rate, v, converged));
  PetscCall(VecResetArray(v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char not_converged[] = "the time stepper's solver did not converge";

static const char *StepByStepper(void *ctx, int which, double theta[])
{
  PetscBool converged = PETSC_FALSE;
  if (StepFlow((StepperRun *)ctx, which, theta, &converged)) return CourantErrorMessage();
  return converged ? NULL : not_converged;
}

static PetscBool HoldsOne(double low, double high)
{
  return low <= 1 && 1 <= high ? PETSC_TRUE : PETSC_FALSE;
}

/* The same along mini-batches: undecided too where either interval holds 1. */
static const char *CheckBatches(CourantMap map, Worker *worker, const CourantMapRow *row, const double *state,
                                double learning_rate, CourantMapCell *cell)
{
  CourantEstimate measured;
  const char *problem = CourantLocalGrowthOfBatches(&worker->trainer, learning_rate, row->alpha, state,
                                                    &worker->work, &measured);

  cell->local_growth = measured.value;
  cell->local_low = measured.low;
  cell->local_high = measured.high;
  const PetscBool open = !isfinite(cell->growth) || HoldsOne(cell->growth_low, cell->growth_high) ||
                                 HoldsOne(measured.low, measured.high)
                             ? PETSC_TRUE
                             : PETSC_FALSE;
  cell->local_verdict =
      (uint8_t)(open ? COURANT_VERDICT_UNDECIDED
                     : CourantLocalVerdict(measured.value, cell->growth, map->settings.steps));
  return problem;
}

/* Growth of a small difference at the row's state. */
static const char *CheckLocal(CourantMap map, Worker *worker, const CourantMapRow *row, const double *state,
                              double learning_rate, CourantMapCell *cell)
{
  const char *problem;

  if (map->sgd) return CheckBatches(map, worker, row, state, learning_rate, cell);
  if (map->by_ts) {
    StepperRun run = {.map = map, .learning_rate = learning_rate, .one_step = PETSC_TRUE};
    PetscErrorCode code = CourantStepperGetType(map->stepper, NULL, &run.one_step);
    for (int i = 0; i < 2 && !code; i++) {
      code = CourantFlowSetWeightDecay(map->flow[i], row->alpha);
      if (!code) code = CourantFlowRestart(map->flow[i]);
    }
    if (code) return CourantErrorMessage();
    const CourantRunner runner = {
        .Step = StepByStepper, .ctx = &run, .remembers = run.one_step ? PETSC_FALSE : PETSC_TRUE};
    problem = CourantLocalGrowth(&runner, state, &worker->work, &cell->local_growth);
  } else if (map->at_rest) {
    DescentRun run = {
        .trainer = &worker->trainer, .learning_rate = learning_rate, .weight_decay = row->alpha};
    const CourantRunner runner = {
        .Step = StepDescent, .ctx = &run, .states = worker->trainer.rule->states, .unit = learning_rate};
    CourantTrainerRest(&worker->trainer, row->alpha, state, worker->rest);
    problem = CourantLocalGrowth(&runner, worker->rest, &worker->work, &cell->local_growth);
  } else {
    CourantTrainer trainer = worker->trainer;
    const double *held = NULL;
    if (map->moments) { /* the preconditioner is that of the row */
      held = map->moments + (size_t)(row - map->rows) * (size_t)map->p;
      trainer.options = map->frozen;
    }
    problem = CourantLocalGrowthByDifferences(&trainer, learning_rate, row->alpha, state, held, &worker->work,
                                              &cell->local_growth);
  }
  if (problem == not_converged) { /* a flagged cell */
    cell->local_growth = NAN;
    problem = NULL;
  }
  cell->local_verdict = (uint8_t)CourantLocalVerdict(cell->local_growth, cell->growth, map->settings.steps);
  return problem;
}

static const char *CheckGlobal(CourantMap map, Worker *worker, const CourantMapRow *row, const double *state,
                               double learning_rate, CourantMapCell *cell)
{
  CourantOutcome outcome;
  const char *problem =
      CourantGlobalOutcome(&worker->trainer, learning_rate, row->alpha, map->start, &worker->work, &outcome);
  double square = 0;

  if (problem) return problem;
  for (PetscInt i = 0; i < map->p; i++)
    square += (outcome.state[i] - state[i]) * (outcome.state[i] - state[i]);
  cell->global_regime = (uint8_t)outcome.kind;
  cell->amplitude = outcome.amplitude;
  cell->period = outcome.period;
  cell->final_loss = outcome.loss;
  cell->distance = outcome.kind == COURANT_OUTCOME_DIVERGENT ? NAN : sqrt(square);
  return NULL;
}

/*
  Which checks a cell takes. A stepper other than Euler is
  checked locally alone: the trainer has the rules alone.
*/
static PetscBool TakesLocal(CourantMap map, PetscInt index)
{
  return map->settings.local && map->rows[index / map->nl].has_state ? PETSC_TRUE : PETSC_FALSE;
}

static PetscBool TakesGlobal(CourantMap map)
{
  return map->settings.global && !map->by_ts ? PETSC_TRUE : PETSC_FALSE;
}

/* CourantMapCellIsDone - Is there nothing left to check in a cell? */
PetscBool CourantMapCellIsDone(CourantMap map, PetscInt index)
{
  const CourantMapCell *cell = &map->cells[index];
  return (!TakesLocal(map, index) || cell->local_verdict != COURANT_UNSET) &&
                 (!TakesGlobal(map) || cell->global_regime != COURANT_UNSET)
             ? PETSC_TRUE
             : PETSC_FALSE;
}

/* Both checks of a cell; an interruption leaves it as it was. */
static const char *CheckCell(CourantMap map, Worker *worker, PetscInt index)
{
  const PetscInt w = index / map->nl;
  const CourantMapRow *row = &map->rows[w];
  const double *state = map->states + (size_t)w * (size_t)map->p,
               learning_rate = map->learning_rate[index % map->nl];
  CourantMapCell cell = map->cells[index];
  const char *problem = NULL;

  if (TakesLocal(map, index)) problem = CheckLocal(map, worker, row, state, learning_rate, &cell);
  if (!problem && TakesGlobal(map)) problem = CheckGlobal(map, worker, row, state, learning_rate, &cell);
  cell.interpolated = COURANT_ORIGIN_RUN;
  if (!problem && !CourantInterrupted()) map->cells[index] = cell;
  return problem;
}

/* This rank's part of the cells that are left, and how far it has come. */
typedef struct {
  PetscInt n, next, fresh; /* cells; the next to take; the first not sent to rank 0 yet */
  PetscInt *index;
} Queue;

/* Of n cells those that are not done, in turns over the ranks. */
static void FillQueue(CourantMap map, PetscInt n, const PetscInt cells[], Queue *queue)
{
  PetscInt left = 0;

  queue->n = queue->next = queue->fresh = 0;
  for (PetscInt i = 0; i < n; i++)
    if (!CourantMapCellIsDone(map, cells[i]) && left++ % map->size == map->rank)
      queue->index[queue->n++] = cells[i];
}

/* Works on the queue with all threads until the round is over. Returns what went wrong. */
static const char *WorkOnQueue(CourantMap map, Queue *queue, int nworkers, Worker workers[])
{
  const double start = omp_get_wtime();
  const char *problem = NULL;
  PetscInt next = queue->next;

#pragma omp parallel num_threads(nworkers) if (nworkers > 1)
  {
    Worker *worker = &workers[omp_get_thread_num()];
    for (;;) {
      PetscInt mine;
      const char *wrong;
#pragma omp atomic capture
      mine = next++;
      if (mine >= queue->n) break;
      wrong = CheckCell(map, worker, queue->index[mine]);
      if (wrong) {
#pragma omp critical(courant_cross_check)
        problem = wrong;
      }
      if (omp_get_thread_num() == 0 && map->progress && map->rank == 0)
        map->progress((double)map->cells_done + (double)(mine + 1 - queue->next) * map->size,
                      map->monitor_ctx);
      if (wrong || CourantInterrupted() || omp_get_wtime() - start > map->round_seconds) break;
    }
  }
  /* every index below was taken by a thread that finished it */
  queue->next = PetscMin(next, queue->n);
  return problem;
}

/* The cells that this rank has done since the last round go to rank 0, which tells the monitor. */
static PetscErrorCode GatherCells(CourantMap map, Queue *queue, PetscInt *left)
{
  typedef struct {
    PetscInt index;
    CourantMapCell cell;
  } Message;
  const int own = (int)((size_t)(queue->next - queue->fresh) * sizeof(Message));
  int *bytes = NULL, *offsets = NULL, total = 0;
  Message *out, *in = NULL;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(queue->next - queue->fresh + 1, &out));
  for (PetscInt i = queue->fresh; i < queue->next; i++) {
    memset(&out[i - queue->fresh], 0, sizeof *out);
    out[i - queue->fresh].index = queue->index[i];
    out[i - queue->fresh].cell = map->cells[queue->index[i]];
  }
  queue->fresh = queue->next;
  PetscCall(PetscMalloc2(map->size, &bytes, map->size, &offsets));
  PetscCallMPI(MPI_Gather(&own, 1, MPI_INT, bytes, 1, MPI_INT, 0, map->comm));
  for (int r = 0; map->rank == 0 && r < map->size; r++) {
    offsets[r] = total;
    total += bytes[r];
  }
  PetscCall(PetscMalloc1((size_t)total / sizeof(Message) + 1, &in));
  PetscCallMPI(MPI_Gatherv(out, own, MPI_BYTE, in, bytes, offsets, MPI_BYTE, 0, map->comm));
  for (size_t i = 0; i < (size_t)total / sizeof(Message); i++) {
    map->cells[in[i].index] = in[i].cell;
    map->cells_done += CourantMapCellIsDone(map, in[i].index);
  }
  PetscCall(PetscFree(in));
  PetscCall(PetscFree2(bytes, offsets));
  PetscCall(PetscFree(out));
  *left = queue->n - queue->next;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, left, 1, MPIU_INT, MPI_SUM, map->comm));
  if (map->monitor) CourantCallOnRankZero(map->comm, map->rank, map->monitor(map, map->monitor_ctx));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- refinement ---- */

/* What theory says of a cell: its regime, whether its growth can be told from 1, whether there is a check. */
static uint8_t PredictedClass(CourantMap map, PetscInt index)
{
  const CourantMapCell *cell = &map->cells[index];
  const PetscBool close =
      fabs(log(cell->growth)) < log(10) / (double)map->settings.steps ? PETSC_TRUE : PETSC_FALSE;
  return (uint8_t)(cell->regime | close << 4 | TakesLocal(map, index) << 5);
}

static uint8_t MeasuredClass(const CourantMapCell *cell)
{
  return (uint8_t)((cell->local_verdict & 15) << 4 | (cell->global_regime & 15));
}

typedef struct {
  CourantMap map;
  const CourantRefinement *refinement;
} Interpolation;

/* Of measured growth beside the predicted one. */
static double LogRatio(CourantMap map, PetscInt y, PetscInt x)
{
  const CourantMapCell *cell = &map->cells[y * map->nl + x];
  return log(cell->local_growth / cell->growth);
}

/*
  Cells of a block that were not run get the class of its corners, and the growth that is so far from the
  predicted one as linearly between the corners'. Where a drawn cell was run, the two show how good that is.
  What else the checks measure varies too wildly for it, and stays "not computed".
*/
static void InterpolateBlock(const CourantCellBlock *b, void *ctx)
{
  const Interpolation *to = (const Interpolation *)ctx;
  const CourantMap map = to->map;
  const CourantMapCell *corner = &map->cells[b->y[0] * map->nl + b->x[0]];
  double ratio[2][2];

  for (int i = 0; i < 4; i++) ratio[i / 2][i % 2] = LogRatio(map, b->y[i / 2], b->x[i % 2]);
  for (PetscInt y = b->y[0]; y <= b->y[1]; y++)
    for (PetscInt x = b->x[0]; x <= b->x[1]; x++) {
      const PetscInt index = y * map->nl + x;
      const uint8_t state = to->refinement->state[index];
      const double v = (double)(y - b->y[0]) / (double)PetscMax(1, b->y[1] - b->y[0]),
                   u = (double)(x - b->x[0]) / (double)PetscMax(1, b->x[1] - b->x[0]);
      const double between =
          (1 - v) * ((1 - u) * ratio[0][0] + u * ratio[0][1]) + v * ((1 - u) * ratio[1][0] + u * ratio[1][1]);
      CourantMapCell *cell = &map->cells[index];
      if (state == COURANT_CELL_DRAWN)
        map->refined_error = fmax(map->refined_error, fabs(expm1(between - LogRatio(map, y, x))));
      if (state != COURANT_CELL_OPEN || cell->interpolated != COURANT_UNSET) continue;
      cell->interpolated = COURANT_ORIGIN_INTERPOLATED;
      cell->local_verdict = corner->local_verdict;
      cell->global_regime = corner->global_regime;
      cell->local_growth = cell->growth * exp(between);
    }
}

/* What is said of the cells that were not run, and where the checks of each cell come from. */
static void FinishRefinement(CourantMap map, const CourantRefinement *r)
{
  static const uint8_t origins[] = {[COURANT_CELL_OPEN] = COURANT_ORIGIN_INTERPOLATED,
                                    [COURANT_CELL_DRAWN] = COURANT_ORIGIN_DRAWN,
                                    [COURANT_CELL_SURPRISE] = COURANT_ORIGIN_SURPRISE};
  map->refined = r->counts;
  map->refined_error = 0;
  CourantRefinementVisit(r, InterpolateBlock, &(Interpolation){map, r});
  for (PetscInt i = 0; i < map->nw * map->nl; i++) map->cells[i].interpolated = origins[r->state[i]];
}

/* The cells that are run if theory is right in every one. */
static PetscErrorCode ExpectCells(const CourantRefinement *like, PetscInt cells[], PetscInt *wanted)
{
  CourantRefinement r;
  PetscInt n = 1;

  PetscFunctionBeginUser;
  PetscCall(CourantRefinementCreate(like->ny, like->nx, like->depth, like->predicted, &r));
  PetscCall(PetscArraycpy(r.measured, r.predicted, r.ny * r.nx));
  while (n) PetscCall(CourantRefinementNext(&r, &n, cells));
  *wanted = r.counts.run;
  PetscCall(CourantRefinementDestroy(&r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The next cells to be run, on rank 0; none at the end. Without refinement all of them, at once. */
static PetscErrorCode PlanCells(CourantMap map, CourantRefinement *r, PetscInt *n, PetscInt cells[])
{
  const PetscInt total = map->nw * map->nl;

  PetscFunctionBeginUser;
  if (map->settings.refine < 0) {
    *n = map->cells_wanted ? 0 : total;
    for (PetscInt i = 0; i < *n; i++) cells[i] = i;
    map->cells_wanted = total;
  } else {
    if (!map->cells_wanted) PetscCall(ExpectCells(r, cells, &map->cells_wanted));
    for (PetscInt i = 0; i < total; i++) r->measured[i] = MeasuredClass(&map->cells[i]);
    PetscCall(CourantRefinementNext(r, n, cells));
    map->cells_wanted = PetscMax(map->cells_wanted, r->counts.run);
  }
  map->cells_done = 0;
  for (PetscInt i = 0; i < total; i++) map->cells_done += CourantMapCellIsDone(map, i);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateRefinement(CourantMap map, CourantRefinement *r, uint8_t predicted[])
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < map->nw * map->nl; i++) predicted[i] = PredictedClass(map, i);
  PetscCall(CourantRefinementCreate(map->nw, map->nl, PetscMax(0, map->settings.refine), predicted, r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the check ---- */

/* Runs n cells on all ranks. problem: what went wrong on this one; stop: the error of any, on every rank. */
static PetscErrorCode RunCells(CourantMap map, PetscInt n, const PetscInt cells[], Queue *queue, int nworkers,
                               Worker workers[], const char **problem, int *stop)
{
  PetscInt left = 1;

  PetscFunctionBeginUser;
  FillQueue(map, n, cells, queue);
  while (left && !*stop) {
    *problem = WorkOnQueue(map, queue, nworkers, workers);
    PetscCall(GatherCells(map, queue, &left));
    int signal;
    PetscCall(CourantInterruptedTogether(map->comm, &signal));
    *stop = signal ? PETSC_ERR_SIG : *problem ? PETSC_ERR_NOT_CONVERGED : 0;
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, stop, 1, MPI_INT, MPI_MAX, map->comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMapCrossCheck - Runs the trainer in every cell that has not been checked; collective.

  Each rank takes every size-th cell and its threads take them in turn, each with a problem of its own
  (MPI_COMM_SELF); a cell's numbers do not depend on who computes it. Every few seconds rank 0 gathers what is
  done. With cross_check.refine rank 0 says in rounds which cells are run (stability/refine.h), and what they
  leave is interpolated at the end; a resumed map asks for the same cells again and finds them done.
*/
PetscErrorCode CourantMapCrossCheck(CourantMap map)
{
  const int nworkers = map->by_ts ? 1 : (int)map->problem->threads;
  const char *problem = NULL;
  CourantRefinement refinement;
  PetscInt n = 1, *cells;
  uint8_t *predicted;
  int stop = 0;
  Worker *workers;
  Queue queue = {0};

  PetscFunctionBeginUser;
  if (!map->settings.local && !TakesGlobal(map)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc3(map->nw * map->nl, &queue.index, map->nw * map->nl, &cells, map->nw * map->nl,
                         &predicted));
  PetscCall(CreateRefinement(map, &refinement, predicted));
  map->cells_wanted = 0;
  PetscCall(PetscCalloc1(nworkers, &workers));
  for (int i = 0; i < nworkers; i++) {
    PetscCall(CourantTrainerCreate(map->problem, &map->train, map->mask, map->affine, &workers[i].trainer));
    PetscCall(CourantOutcomeWorkCreate((size_t)map->p, map->settings.steps, &workers[i].work));
    PetscCall(PetscMalloc1(workers[i].trainer.size, &workers[i].rest));
  }
  PetscCall(PetscLogEventBegin(CourantLogging.train, 0, 0, 0, 0));
  while (n && !stop) {
    CourantCallOnRankZero(map->comm, map->rank, PlanCells(map, &refinement, &n, cells));
    PetscCallMPI(MPI_Bcast(&n, 1, MPIU_INT, 0, map->comm));
    PetscCallMPI(MPI_Bcast(cells, (PetscMPIInt)n, MPIU_INT, 0, map->comm));
    if (n) PetscCall(RunCells(map, n, cells, &queue, nworkers, workers, &problem, &stop));
  }
  if (!stop && map->settings.refine >= 0 && map->rank == 0) FinishRefinement(map, &refinement);
  PetscCall(PetscLogEventEnd(CourantLogging.train, 0, 0, 0, 0));
  for (int i = 0; i < nworkers; i++) {
    PetscCall(CourantTrainerDestroy(&workers[i].trainer));
    PetscCall(CourantOutcomeWorkDestroy(&workers[i].work));
    PetscCall(PetscFree(workers[i].rest));
  }
  PetscCall(PetscFree(workers));
  PetscCall(CourantRefinementDestroy(&refinement));
  PetscCall(PetscFree3(queue.index, cells, predicted));
  CourantInterruptCheck();
  PetscCheck(!problem, map->comm, PETSC_ERR_NOT_CONVERGED, "the cross-check failed: %s", problem);
  PetscFunctionReturn((PetscErrorCode)stop);
}

static int Ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/*
  CourantMapGetAgreement - Counts of the local check's verdicts where it was run, and how far measured growth
  is from predicted.
*/
PetscErrorCode CourantMapGetAgreement(CourantMap map, CourantAgreement *a)
{
  double *errors;

  PetscFunctionBeginUser;
  *a = (CourantAgreement){.median_error = NAN, .p99_error = NAN};
  PetscCall(PetscMalloc1(map->nw * map->nl, &errors));
  for (PetscInt i = 0; i < map->nw * map->nl; i++) {
    const CourantMapCell *cell = &map->cells[i];
    a->interpolated += cell->interpolated == COURANT_ORIGIN_INTERPOLATED;
    if (cell->local_verdict == COURANT_UNSET || cell->interpolated == COURANT_ORIGIN_INTERPOLATED) continue;
    a->checked++;
    if (cell->local_verdict == COURANT_VERDICT_UNDECIDED || !isfinite(cell->growth)) continue;
    a->agreed += cell->local_verdict == COURANT_AGREE;
    a->disagreeing += cell->local_verdict == COURANT_DISAGREE;
    a->overlapping += cell->local_low <= cell->growth_high && cell->growth_low <= cell->local_high;
    errors[a->decided++] = fabs(cell->local_growth - cell->growth) / cell->growth;
  }
  qsort(errors, (size_t)a->decided, sizeof *errors, Ascending);
  if (a->decided) {
    a->median_error = errors[a->decided / 2];
    a->p99_error = errors[(PetscInt)(0.99 * (double)(a->decided - 1))];
  }
  PetscCall(PetscFree(errors));
  PetscFunctionReturn(PETSC_SUCCESS);
}
