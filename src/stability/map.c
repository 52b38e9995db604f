/* The stability map: its life, and its solution by the ranks together. */
#include "stability/map.h"
#include <math.h>
#include <string.h>

/*
  CourantMapCreate - The map that a deck's `map` section describes.

  Collective on comm, whose ranks share the cells of the cross-check; the deck is borrowed.
*/
PetscErrorCode CourantMapCreate(MPI_Comm comm, CourantDeck deck, CourantMap *result)
{
  CourantMap map;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&map));
  *result = map;
  map->comm = comm;
  map->deck = deck;
  map->round_seconds = 5;
  PetscCallMPI(MPI_Comm_rank(comm, &map->rank));
  PetscCallMPI(MPI_Comm_size(comm, &map->size));
  PetscCall(CourantProblemCreate(PETSC_COMM_SELF, deck, &map->problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantMapGetProblem - The problem the map is of; borrowed. */
PetscErrorCode CourantMapGetProblem(CourantMap map, CourantProblem *problem)
{
  PetscFunctionBeginUser;
  *problem = map->problem;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantMapSetMonitor - Who hears of each row and round of cells, on rank 0, and of cells at work. */
PetscErrorCode CourantMapSetMonitor(CourantMap map, CourantMapMonitor monitor, CourantMapProgress progress,
                                    void *ctx)
{
  PetscFunctionBeginUser;
  map->monitor = monitor;
  map->progress = progress;
  map->monitor_ctx = ctx;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroySolvers(CourantMap map)
{
  PetscFunctionBeginUser;
  PetscCall(CourantSgdDestroy(&map->sgd));
  PetscCall(CourantFlipDestroy(&map->flip));
  PetscCall(CourantEquilibriumDestroy(&map->equilibrium));
  PetscCall(CourantSpectrumDestroy(&map->spectrum));
  for (int i = 0; i < 2; i++) PetscCall(CourantFlowDestroy(&map->flow[i]));
  PetscCall(CourantStepperDestroy(&map->stepper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The growth of the map is the probe's, its check the flow's: they have to be one stepper. */
static PetscErrorCode CheckSteppers(CourantMap map)
{
  const char *type, *flow_type;
  TS ts;

  PetscFunctionBeginUser;
  PetscCall(CourantStepperGetType(map->stepper, &type, NULL));
  PetscCall(CourantFlowGetTS(map->flow[0], &ts));
  PetscCall(TSGetType(ts, &flow_type));
  if (strcmp(type, flow_type))
    CourantInputError(map->comm, "-probe_ts_type %s and -flow_ts_type %s differ; -ts_type sets both", type,
                      flow_type);
  map->by_ts = strcmp(type, TSEULER) ? PETSC_TRUE : PETSC_FALSE;
  if (map->by_ts && map->rule->states)
    CourantInputError(map->comm, "-ts_type %s steps the gradient flow: it goes with -rule gd, not with %s",
                      type, map->rule->name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMapCreateSolvers - Makes every solver anew and lets it read its options: prefixes probe_ and flow_
  (TS), hessian_max_ and hessian_min_ (EPS), equilibrium_ (TAO, KSP), flip_ (KSP), sgd_ and sgd_mean_ (EPS).
  Called by CourantMapSetUp(), before any long computation.
*/
PetscErrorCode CourantMapCreateSolvers(CourantMap map)
{
  PetscFunctionBeginUser;
  PetscCall(DestroySolvers(map));
  PetscCall(CourantStepperCreate(PETSC_COMM_SELF, "probe_", &map->stepper));
  PetscCall(CourantStepperSetUp(map->stepper));
  for (int i = 0; i < 2; i++) {
    PetscCall(CourantFlowCreate(map->problem, &map->flow[i]));
    PetscCall(CourantFlowSetFromOptions(map->flow[i]));
  }
  PetscCall(CheckSteppers(map));
  PetscCall(CourantSpectrumCreate(PETSC_COMM_SELF, &map->spectrum));
  PetscCall(CourantSpectrumSetOperator(map->spectrum, map->PHP ? map->PHP : map->H));
  PetscCall(CourantSpectrumSetFromOptions(map->spectrum));
  PetscCall(CourantEquilibriumCreate(map->problem, &map->equilibrium));
  PetscCall(CourantEquilibriumSetFromOptions(map->equilibrium));
  PetscCall(CourantFlipCreate(map->problem, &map->flip));
  PetscCall(CourantFlipSetFromOptions(map->flip));
  PetscCall(CourantMapSetUpBatches(map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMapSetUp - Reads data and weights, makes the solvers,
  and leaves every row and cell "not computed". Collective.
*/
PetscErrorCode CourantMapSetUp(CourantMap map)
{
  const PetscScalar *mask;
  Vec D;

  PetscFunctionBeginUser;
  if (map->rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantProblemSetUp(map->problem));
  if (map->train.decoupled && !map->problem->decays_all)
    CourantNodeError(
        map->train.node,
        "decoupled decay of some weights and not of others mixes the modes of %s: there is a map with "
        "weights: {decay: all} or decoupled: false",
        map->rule->name);
  PetscCall(CourantProblemGetSize(map->problem, &map->p));
  PetscCall(CourantProblemCreateVec(map->problem, &map->theta));
  PetscCall(PetscMalloc5(map->nw, &map->rows, map->nw * map->nl, &map->cells,
                         (size_t)map->nw * (size_t)map->p, &map->states, map->p, &map->start, map->p,
                         &map->mask));
  for (PetscInt w = 0; w < map->nw; w++) map->rows[w] = CourantMapEmptyRow(map, map->weight_decay[w]);
  for (PetscInt i = 0; i < map->nw * map->nl; i++) map->cells[i] = CourantMapEmptyCell();
  for (size_t i = 0; i < (size_t)map->nw * (size_t)map->p; i++) map->states[i] = NAN;
  PetscCall(CourantProblemGetDecayMask(map->problem, &D));
  PetscCall(VecGetArrayRead(D, &mask));
  PetscCall(PetscArraycpy(map->mask, mask, map->p));
  PetscCall(VecRestoreArrayRead(D, &mask));
  PetscCall(CourantMapSetUpState(map));
  map->at_rest = map->settings.linearise == COURANT_LINEARISE_EQUILIBRIUM ? PETSC_TRUE : PETSC_FALSE;
  map->moves =
      map->at_rest || map->settings.linearise == COURANT_LINEARISE_TRAINED ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(CourantProblemHasBoundedGradient(map->problem, &map->bounded));
  if (!map->problem->decays_all) map->bounded = PETSC_FALSE; /* nothing holds what does not decay */
  PetscCall(CourantProblemCreateHessian(map->problem, &map->H));
  if (map->rule->Preconditioner) PetscCall(CourantMapSetUpPreconditioner(map));
  map->shifted = map->problem->decays_all && (!map->PHP || map->train.decoupled) ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(CourantMapCreateSolvers(map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantMapDestroy(CourantMap *result)
{
  CourantMap map = *result;

  PetscFunctionBeginUser;
  if (!map) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(DestroySolvers(map));
  PetscCall(MatDestroy(&map->H));
  PetscCall(MatDestroy(&map->PHP));
  PetscCall(PetscFree(map->moments));
  PetscCall(PetscFree(map->frozen));
  PetscCall(VecDestroy(&map->theta));
  PetscCall(CourantProblemDestroy(&map->problem));
  PetscCall(CourantTrainReset(&map->train));
  PetscCall(PetscFree5(map->rows, map->cells, map->states, map->start, map->mask));
  PetscCall(PetscFree(map->affine));
  PetscCall(CourantMapSettingsReset(&map->settings));
  PetscCall(PetscFree(*result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMapRestore - Rows, cells and states hold what an
  interrupted run has done: fills what follows from them.
*/
PetscErrorCode CourantMapRestore(CourantMap map)
{
  PetscFunctionBeginUser;
  for (PetscInt w = 0; w < map->nw; w++)
    map->rows[w].has_state = isfinite(map->states[(size_t)w * (size_t)map->p]) ? 1 : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From rank 0 to all. */
static PetscErrorCode ShareRow(CourantMap map, PetscInt w)
{
  const size_t nl = (size_t)map->nl, p = (size_t)map->p, row = (size_t)w;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Bcast(map->rows + row, sizeof *map->rows, MPI_BYTE, 0, map->comm));
  PetscCallMPI(
      MPI_Bcast(map->cells + row * nl, (PetscMPIInt)(nl * sizeof *map->cells), MPI_BYTE, 0, map->comm));
  PetscCallMPI(MPI_Bcast(map->states + row * p, (PetscMPIInt)p, MPI_DOUBLE, 0, map->comm));
  if (map->moments) PetscCallMPI(MPI_Bcast(map->moments + row * p, (PetscMPIInt)p, MPI_DOUBLE, 0, map->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantMapSolve - Every row, then every cell's cross-check; collective.

  Rows and cells that are done already (a resumed map) are left as they are. Rank 0 computes the rows, all
  ranks the checks. After an interruption what is done stays done, on rank 0, and the error is PETSC_ERR_SIG.
*/
PetscErrorCode CourantMapSolve(CourantMap map)
{
  PetscFunctionBeginUser;
  PetscCall(CourantMapSetUp(map));
  CourantCallOnRankZero(map->comm, map->rank, CourantMapSolveRows(map));
  for (PetscInt w = 0; map->size > 1 && w < map->nw; w++) PetscCall(ShareRow(map, w));
  PetscCall(PetscLogStagePush(CourantLogging.cross_check));
  PetscCall(CourantMapCrossCheck(map));
  PetscCall(PetscLogStagePop());
  PetscFunctionReturn(PETSC_SUCCESS);
}
