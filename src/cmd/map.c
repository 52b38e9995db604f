/* courant map: the stability map over learning rate and weight decay. */
#include "cmd/map.h"
#include "cmd/session.h"
#include "cmd/sgd.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "stability/sgd.h"

typedef struct {
  CourantMap map;
  CourantOutput output;
  CourantProgress progress;
  PetscBool checking; /* the bar is that of the cross-check */
} Session;

static void Progress(double cells, void *ctx)
{
  Session *session = (Session *)ctx;
  if (session->map->cells_wanted) session->progress.total = (double)session->map->cells_wanted;
  CourantProgressUpdate(&session->progress, cells);
}

static PetscInt RowsDone(CourantMap map)
{
  PetscInt rows = 0;
  for (PetscInt w = 0; w < map->nw; w++) rows += map->rows[w].status != COURANT_UNSET;
  return rows;
}

static PetscInt CellsDone(CourantMap map)
{
  PetscInt cells = 0;
  for (PetscInt i = 0; i < map->nw * map->nl; i++) cells += CourantMapCellIsDone(map, i);
  return cells;
}

/* After each row and round of cells: the bar, and a checkpoint when it is due. */
static PetscErrorCode Monitor(CourantMap map, void *ctx)
{
  Session *session = (Session *)ctx;
  const PetscInt rows = RowsDone(map);

  PetscFunctionBeginUser;
  if (rows == map->nw && !session->checking) {
    session->checking = PETSC_TRUE;
    CourantProgressEnd(&session->progress);
    CourantProgressBegin(&session->progress, "cross-check", (double)CellsDone(map),
                         (double)(map->nw * map->nl), session->output.quiet);
  }
  if (session->checking)
    Progress((double)map->cells_done, ctx);
  else
    CourantProgressUpdate(&session->progress, (double)rows);
  if (!CourantOutputDue(&session->output) && !CourantInterrupted()) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantMapResultWrite(map, session->output.file));
  PetscCall(CourantOutputCheckpoint(&session->output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintHeader(CourantMap map, const Session *session)
{
  const CourantProblem problem = map->problem;
  const double p = (double)map->p, threads = (double)problem->threads;
  const double cells = 3 * (double)sizeof(CourantMapCell) * (double)(map->nw * map->nl);
  char rule[COURANT_TEXT_SIZE];
  PetscInt dense;

  PetscFunctionBeginUser;
  if (session->output.quiet || map->rank) PetscFunctionReturn(PETSC_SUCCESS);
  /* states of the rows and cells, each as they are, in the file, and in a copy of it that is on its way to
     the disk; the Krylov bases, the assembled Hessian, and what each thread of the cross-check holds */
  PetscCall(CourantSpectrumGetDenseSize(map->spectrum, &dense));
  const double vectors =
      (map->moments ? 6 : 3) * (double)map->nw + 100 + (double)dense + threads * (COURANT_RING + 8);
  CourantMapDescribeRule(map, rule);
  printf("stability map of %s: %d learning rates x %d weight decays, %s\n", problem->model.name, (int)map->nl,
         (int)map->nw, rule);
  PetscCall(CourantSessionPrintModel(problem, &session->output,
                                     CourantProblemMemory(problem) * (1 + threads / 2) + 8 * p * vectors +
                                         cells + (map->sgd ? CourantSgdMemory(map->sgd, problem) : 0)));
  if (session->output.resumed) printf("  resumed from %s\n", session->output.partial);
  fflush(stdout);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool HasOpenLimit(const CourantMapRow *row)
{
  for (int k = 0; k < COURANT_SGD_KINDS; k++)
    if (row->batch_status[k] == COURANT_NOT_CONVERGED) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* How many rows a solver left open, or whether none has a state; the file holds them, flagged. */
static PetscErrorCode CheckConvergence(CourantMap map)
{
  PetscInt open = 0, lost = 0;

  PetscFunctionBeginUser;
  for (PetscInt w = 0; w < map->nw; w++) lost += map->rows[w].status == COURANT_NO_EQUILIBRIUM;
  PetscCheck(lost < map->nw, map->comm, PETSC_ERR_NOT_CONVERGED,
             "no weight decay has %s; all are flagged in the result file",
             map->at_rest ? "an equilibrium" : "a state of finite loss");
  for (PetscInt w = 0; w < map->nw; w++)
    open += map->rows[w].status == COURANT_NOT_CONVERGED ||
            map->rows[w].flip_status == COURANT_NOT_CONVERGED || HasOpenLimit(&map->rows[w]);
  PetscCheck(!open, map->comm, PETSC_ERR_NOT_CONVERGED,
             "%d of %d weight decays did not converge; they are flagged in the result file", (int)open,
             (int)map->nw);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0, at the end. */
static PetscErrorCode Finish(CourantMap map, Session *session)
{
  CourantAgreement agreement;

  PetscFunctionBeginUser;
  CourantProgressEnd(&session->progress);
  PetscCall(CourantMapGetAgreement(map, &agreement));
  PetscCall(CourantMapResultFinish(map, &session->output, &agreement));
  PetscCall(CourantOutputFinish(&session->output));
  if (!session->output.quiet) {
    PetscCall(CourantMapView(map, &agreement));
    CourantOutputView(&session->output);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0, when a signal has come: what is done is kept. */
static PetscErrorCode Save(CourantMap map, Session *session)
{
  PetscFunctionBeginUser;
  CourantProgressEnd(&session->progress);
  PetscCall(CourantMapResultWrite(map, session->output.file));
  PetscCall(CourantOutputCheckpoint(&session->output));
  CourantOutputSayInterrupted(&session->output, "what is done");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(void *ctx, CourantDeck deck)
{
  Session *session = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantMapCreate(PETSC_COMM_WORLD, deck, &session->map));
  PetscCall(CourantMapSetFromOptions(session->map));
  PetscCall(CourantOutputOpen(&session->map->problem->model, "map", &session->output));
  PetscCall(CourantMapSetUp(session->map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAgain(void *ctx)
{
  return CourantMapCreateSolvers(((Session *)ctx)->map);
}

static PetscErrorCode Work(void *ctx)
{
  Session *session = (Session *)ctx;
  const CourantMap map = session->map;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemVerifyReference(map->problem));
  CourantCallOnRankZero(map->comm, map->rank, CourantMapResultCreate(map, &session->output));
  PetscCall(PrintHeader(map, session));
  PetscCall(CourantMapSetMonitor(map, Monitor, Progress, session));
  map->round_seconds = PetscMin(map->round_seconds, session->output.interval);
  CourantProgressBegin(&session->progress, "equilibria and spectra", (double)RowsDone(map), (double)map->nw,
                       session->output.quiet);
  const PetscErrorCode code = CourantMapSolve(map);
  if (code == PETSC_ERR_SIG && map->rank == 0) PetscCall(Save(map, session));
  if (code) PetscFunctionReturn(code);
  CourantCallOnRankZero(map->comm, map->rank, Finish(map, session));
  PetscCall(CheckConvergence(map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TearDown(void *ctx)
{
  Session *session = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantOutputClose(&session->output));
  PetscCall(CourantMapDestroy(&session->map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

extern const CourantCommandOps CourantCommand_map;

static PetscErrorCode Run(const char *model)
{
  static const CourantSessionOps ops = {
      &CourantCommand_map, sizeof(Session), SetUp, ReadAgain, Work, TearDown};

  PetscFunctionBeginUser;
  PetscCall(CourantSessionRun(&ops, NULL, model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const CourantOption options[] = {
    {"-rule", "NAME",
     "gd, momentum, nesterov or adam, instead of the deck's rule (momentum: the deck's, or 0.9); with -set "
     "train.decoupled=true their decoupled decay"},
    {"-learning_rate", "A,B,..", "learning rates, instead of the deck's axis"},
    {"-weight_decay", "A,B,..", "weight decays, instead of the deck's axis"},
    {"-points", "NxM", "learning rates x weight decays, between the deck's ends"},
    COURANT_SGD_OPTIONS,
    COURANT_MODEL_OPTIONS,
    COURANT_RESULT_OPTIONS,
    {0},
};

const CourantCommandOps CourantCommand_map = {
    .name = "map",
    .argument = "MODEL",
    .summary = "stability map over learning rate and weight decay",
    .description = "Computes the linearised stability region of the deck's rule over learning rate and "
                   "weight decay: for each weight decay the\n"
                   "equilibrium, both ends of the Hessian's spectrum with their residuals, the learning-rate "
                   "limit, von Neumann's bound and the\n"
                   "normal form of what happens past the limit. The trainer then checks every cell, locally "
                   "(growth of a small difference of two\n"
                   "runs) and globally (what becomes of training from the deck's weights).\n"
                   "With -set train.batch=n the limits are those of gradient descent on mini-batches, and "
                   "growth is that of a single run.",
    .options = options,
    .solvers =
        "  -hessian_max_eps_...  -hessian_min_eps_...   both ends of the spectrum; -eps_... sets both\n"
        "  -equilibrium_tao_...  -equilibrium_ksp_...   descent to the equilibrium, predictor; -tao_...\n"
        "  -probe_ts_...  -flow_ts_...                  time stepper instead of Euler's: -ts_type rk "
        "-ts_rk_type 4\n"
        "  -flip_ksp_...                                linear solve of the normal form\n"
        "  -sgd_eps_...  -sgd_mean_eps_...              mini-batches: mean square, modes to begin with\n"
        "  courant map MODEL -help lists them all.\n",
    .Run = Run,
};
