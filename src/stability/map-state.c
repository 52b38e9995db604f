/* The state that a row of a map is linearised at. */
#include "core/interrupt.h"
#include "stability/map.h"
#include "stability/preconditioned.h"
#include "train/run.h"
#include <math.h>

/*
  The state that every row is linearised at, where it does not
  move with alpha; the chain's start where it does.
*/
PetscErrorCode CourantMapSetUpState(CourantMap map)
{
  PetscScalar *theta;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemGetInitialState(map->problem, map->theta));
  PetscCall(VecGetArray(map->theta, &theta));
  PetscCall(PetscArraycpy(map->start, theta, map->p));
  if (map->settings.linearise == COURANT_LINEARISE_ZERO ||
      map->settings.linearise == COURANT_LINEARISE_ZERO_FROZEN)
    PetscCall(PetscArrayzero(theta, map->p));
  if (map->settings.linearise == COURANT_LINEARISE_FILE)
    PetscCall(CourantWeightsLoad(map->problem->net, map->settings.node, map->settings.file, theta));
  PetscCall(VecRestoreArray(map->theta, &theta));
  if (map->settings.linearise != COURANT_LINEARISE_ZERO_FROZEN) PetscFunctionReturn(PETSC_SUCCESS);

  Vec gradient;
  const PetscScalar *g;
  PetscCall(CourantProblemFreezeLoss(map->problem, map->theta));
  PetscCall(PetscMalloc1(map->p + 1, &map->affine));
  PetscCall(VecDuplicate(map->theta, &gradient));
  PetscCall(CourantProblemComputeLoss(map->problem, map->theta, &map->affine[map->p], gradient));
  PetscCall(VecGetArrayRead(gradient, &g));
  PetscCall(PetscArraycpy(map->affine, g, map->p));
  PetscCall(VecRestoreArrayRead(gradient, &g));
  PetscCall(VecDestroy(&gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A rule with a preconditioner is mapped with that of each row's training, frozen. */
PetscErrorCode CourantMapSetUpPreconditioner(CourantMap map)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)map->nw * (size_t)map->p, &map->moments));
  for (size_t i = 0; i < (size_t)map->nw * (size_t)map->p; i++) map->moments[i] = NAN;
  PetscCall(PetscMalloc(map->rule->options_size, &map->frozen));
  PetscCall(PetscMemcpy(map->frozen, map->train.options, map->rule->options_size));
  map->rule->Freeze(map->frozen, 1, 0, (void *[COURANT_RULE_STATES]){NULL});
  PetscCall(CourantPreconditionedCreate(map->H, &map->PHP));
  map->bounded = PETSC_FALSE; /* where |theta| is large the preconditioner is another */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Trains from map->theta with the row's weight decay by the deck's rule, for as long as the deck says. What a
  preconditioner is made of stays with the row.
*/
static PetscErrorCode TrainState(CourantMap map, PetscInt w, PetscBool *found)
{
  CourantTrainSettings settings = map->train;
  CourantRunRecord record;
  CourantRunState state;
  PetscScalar *theta;
  CourantRun run;

  PetscFunctionBeginUser;
  settings.weight_decay = map->rows[w].alpha;
  PetscCall(CourantRunCreate(map->problem, &settings, PETSC_TRUE, &run));
  PetscCall(CourantRunStateCreate(&run, &state));
  PetscCall(CourantRunStart(&run, &map->problem->weights, settings.seed, settings.perturb, &state));
  PetscCall(VecGetArray(map->theta, &theta));
  CourantRunSet(&run, theta, state.theta);
  while (state.step < run.steps && !state.diverged) {
    CourantInterruptCheck();
    PetscCall(CourantRunStep(&run, &state, &record));
  }
  CourantRunGet(&run, state.theta, theta);
  *found = state.diverged || CourantRunIsLost(&run, &state, theta) ? PETSC_FALSE : PETSC_TRUE;
  PetscCall(VecRestoreArray(map->theta, &theta));
  if (map->PHP && *found) {
    PetscCall(PetscMemcpy(map->frozen, map->train.options, map->rule->options_size));
    map->rule->Freeze(map->frozen, state.step, run.n, state.rule);
    CourantRunGet(&run, state.rule[map->rule->states - 1], map->moments + (size_t)w * run.n);
  }
  PetscCall(CourantRunStateDestroy(&state));
  PetscCall(CourantRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The preconditioner of a row becomes that of the operator whose spectrum is looked for. */
PetscErrorCode CourantMapSetPreconditioner(CourantMap map, PetscInt w)
{
  PetscScalar *diagonal;
  Vec P;

  PetscFunctionBeginUser;
  if (!map->PHP) PetscFunctionReturn(PETSC_SUCCESS);
  void *const state[COURANT_RULE_STATES] = {NULL, map->moments + (size_t)w * (size_t)map->p};
  PetscCall(VecDuplicate(map->theta, &P));
  PetscCall(VecGetArrayWrite(P, &diagonal));
  map->rule->Preconditioner(map->frozen, COURANT_RULE_LATE, (size_t)map->p, state, diagonal);
  PetscCall(VecRestoreArrayWrite(P, &diagonal));
  PetscCall(CourantPreconditionedSetDiagonal(map->PHP, P));
  PetscCall(VecDestroy(&P));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The state of a row, from that of the row before it. */
PetscErrorCode CourantMapFindState(CourantMap map, PetscInt w, PetscInt previous, PetscBool *found)
{
  CourantMapRow *row = &map->rows[w];
  PetscInt jumps = 0;
  PetscScalar *theta;

  PetscFunctionBeginUser;
  *found = PETSC_TRUE;
  if (!map->moves) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecGetArrayWrite(map->theta, &theta));
  PetscCall(PetscArraycpy(theta, previous < 0 ? map->start : map->states + (size_t)previous * (size_t)map->p,
                          map->p));
  PetscCall(VecRestoreArrayWrite(map->theta, &theta));
  PetscCall(PetscLogStagePush(CourantLogging.equilibrium));
  if (!map->at_rest)
    PetscCall(TrainState(map, w, found));
  else if (previous < 0)
    PetscCall(CourantEquilibriumDescend(map->equilibrium, row->rest, map->theta, found));
  else
    PetscCall(CourantEquilibriumContinue(map->equilibrium, map->rows[previous].rest, row->rest, map->theta,
                                         &jumps, found));
  PetscCall(PetscLogStagePop());
  if (map->at_rest) row->branch = (uint8_t)((previous < 0 ? 0 : map->rows[previous].branch) + jumps);
  PetscFunctionReturn(PETSC_SUCCESS);
}
