/* Rows of a map: state, spectrum and limits of a weight decay. */
#include "core/interrupt.h"
#include "stability/kink.h"
#include "stability/map.h"
#include <math.h>

CourantMapRow CourantMapEmptyRow(CourantMap map, double alpha)
{
  const CourantEstimate none = {NAN, NAN, NAN};
  return (CourantMapRow){.alpha = alpha,
                         .rest = CourantRuleRest(map->rule, map->train.options, alpha, map->train.decoupled),
                         .m_max = NAN,
                         .m_min = NAN,
                         .lambda_max = NAN,
                         .lambda_min = NAN,
                         .residual_max = NAN,
                         .residual_min = NAN,
                         .gradient_norm = NAN,
                         .parameter_norm = NAN,
                         .limit = NAN,
                         .limit_von_neumann = NAN,
                         .limit_far_field = NAN,
                         .flip_coefficient = NAN,
                         .basin_radius = NAN,
                         .norm = NAN,
                         .low = NAN,
                         .high = NAN,
                         .multiplicity = -1,
                         .neutral_modes = -1,
                         .limit_full_batch = NAN,
                         .gradient_noise = NAN,
                         .batch_limit = {none, none, none},
                         .batch_status = {COURANT_UNSET, COURANT_UNSET, COURANT_UNSET},
                         .branch = COURANT_UNSET,
                         .status = COURANT_UNSET,
                         .flip_status = COURANT_UNSET};
}

/*
  The next row of the chain: the largest weight decay that is not
  done; -1 when all are. previous: the one done last, -1 at the start.
*/
static PetscInt NextRow(CourantMap map, PetscInt *previous)
{
  PetscInt next = -1;

  *previous = -1;
  for (PetscInt w = 0; w < map->nw; w++) {
    const CourantMapRow *row = &map->rows[w];
    if (row->status == COURANT_UNSET) {
      if (next < 0 || row->alpha > map->rows[next].alpha) next = w;
    } else if (row->has_state && (*previous < 0 || row->alpha < map->rows[*previous].alpha))
      *previous = w;
  }
  return next;
}

/* Extreme eigenvalues m, their residuals and multiplicities, and the modes that are neutral. */
static PetscErrorCode FillSpectrum(CourantMap map, CourantMapRow *row, CourantExtreme *largest,
                                   CourantExtreme *smallest)
{
  const PetscReal alpha = map->shifted ? row->rest : 0, *all;
  PetscInt n;

  PetscFunctionBeginUser;
  if (!map->spectrum_known || !map->shifted) {
    PetscCall(CourantHessianSetWeightDecay(map->H, map->shifted ? 0 : row->rest));
    PetscCall(PetscLogStagePush(CourantLogging.spectrum));
    PetscCall(CourantSpectrumSolve(map->spectrum));
    PetscCall(PetscLogStagePop());
    map->spectrum_known = map->moves ? PETSC_FALSE : PETSC_TRUE;
  }
  PetscCall(CourantSpectrumGetExtremes(map->spectrum, largest, smallest));
  PetscCall(CourantSpectrumGetNorm(map->spectrum, &row->norm));
  PetscCall(CourantSpectrumGetAll(map->spectrum, &n, &all));
  row->lambda_max = map->shifted && !map->PHP ? largest->value : NAN;
  row->lambda_min = map->shifted && !map->PHP ? smallest->value : NAN;
  row->m_max = largest->value += alpha;
  row->m_min = smallest->value += alpha;
  row->residual_max = largest->residual;
  row->residual_min = smallest->residual;
  row->multiplicity = (int)largest->multiplicity;
  map->missed = fmax(map->missed, largest->missed);
  row->status = largest->status || smallest->status ? COURANT_NOT_CONVERGED : COURANT_CONVERGED;

  const PetscReal neutral = 1e-9 * row->norm;
  row->low = row->m_min;
  row->high = row->m_max;
  row->neutral_modes = n ? 0 : (fabs(row->m_min) <= neutral) + (fabs(row->m_max) <= neutral);
  if (n || row->neutral_modes == 2) row->low = row->high = NAN;
  /* where only the ends are known, what is not neutral lies farther in than a neutral one */
  if (fabs(row->low) <= neutral) row->low = neutral;
  if (fabs(row->high) <= neutral) row->high = -neutral;
  for (PetscInt i = 0; i < n; i++) {
    const PetscReal m = all[i] + alpha;
    if (fabs(m) <= neutral)
      row->neutral_modes++;
    else {
      row->low = fmin(row->low, m);
      row->high = fmax(row->high, m);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* |theta| of the deck's weights: they are measured against those they started from where theta* is 0. */
static double StartNorm(CourantMap map)
{
  double square = 0;
  for (PetscInt i = 0; i < map->p; i++) square += map->start[i] * map->start[i];
  return sqrt(square);
}

/*
  Is theta* an equilibrium, or a state on the way down a valley
  that never ends? The Newton correction it still lacks tells.
*/
static PetscBool IsEquilibrium(CourantMap map, const CourantMapRow *row)
{
  const double scale = (row->norm + row->rest) * row->parameter_norm;
  const PetscBool minimum = row->m_min >= -1e-8 * row->norm ? PETSC_TRUE : PETSC_FALSE;
  return minimum && (row->gradient_norm <= 1e-8 * scale ||
                     row->gradient_norm <= 1e-6 * row->m_min * row->parameter_norm ||
                     row->gradient_norm <= 1e-10 * row->m_min * StartNorm(map))
             ? PETSC_TRUE
             : PETSC_FALSE;
}

/* Learning-rate limits of a row. */
static PetscErrorCode FillLimits(CourantMap map, CourantMapRow *row)
{
  PetscReal reach = map->rule->Limit(map->train.options);

  PetscFunctionBeginUser;
  if (map->by_ts) PetscCall(CourantStepperGetRealLimit(map->stepper, &reach));
  if (!isfinite(reach)) PetscFunctionReturn(PETSC_SUCCESS);
  const double edge = CourantRuleEdgeDecay(map->rule, map->train.options, row->alpha, map->train.decoupled);
  /* a trained state may be a saddle yet: the limit is that of the modes which the flow damps */
  const PetscBool damped =
      row->low > 0 || map->settings.linearise == COURANT_LINEARISE_TRAINED ? PETSC_TRUE : PETSC_FALSE;
  if (damped && row->high > 0) row->limit = reach / (row->high + (edge - row->rest));
  if (map->PHP) PetscFunctionReturn(PETSC_SUCCESS);
  if (map->moves || !map->bound_known) PetscCall(CourantSymbolBound(map->problem, map->theta, &map->bound));
  map->bound_known = PETSC_TRUE;
  if (isfinite(map->bound) && map->problem->decays_all && edge + map->bound > 0)
    row->limit_von_neumann = reach / (edge + map->bound);
  if (map->bounded && row->alpha > 0) row->limit_far_field = reach / edge;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Flip coefficient, and the radius of the basin just before the edge. Not of time steppers: the normal form is
  Euler's; nor of mini-batches, whose products have no eigenvalue that passes -1.

  Momentum has the 2-cycles of gradient descent at 2 / reach of the learning rate: in a + b both rules have
  their decay at rest, in a - b that at the edge, which decoupled decay makes another one. So half-distances
  are sqrt((2 eta / reach (lambda + edge) - 2) / c), and c has lambda + edge in place of m_max.
*/
static PetscErrorCode FillFlip(CourantMap map, CourantMapRow *row, const CourantExtreme *largest,
                               const CourantExtreme *smallest)
{
  CourantFlipResult flip;
  Vec v;

  PetscFunctionBeginUser;
  if (map->by_ts || map->sgd || !map->at_rest) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantSpectrumGetTopVector(map->spectrum, &v));
  PetscCall(PetscLogStagePush(CourantLogging.flip));
  PetscCall(CourantFlipCompute(map->flip, row->rest, map->theta, v, largest, smallest, &flip));
  PetscCall(PetscLogStagePop());
  row->flip_coefficient = flip.coefficient;
  if (map->train.decoupled)
    row->flip_coefficient *= row->m_max * row->limit / map->rule->Limit(map->train.options);
  row->flip_status = (uint8_t)flip.status;
  if (row->flip_coefficient < 0) row->basin_radius = sqrt(0.02 / -row->flip_coefficient);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* State, spectrum, limits and predictions of one weight decay, on this rank alone. */
static PetscErrorCode FillRow(CourantMap map, PetscInt w)
{
  CourantMapRow *row = &map->rows[w];
  CourantExtreme largest, smallest;
  const PetscScalar *theta;
  PetscBool found, kink = PETSC_FALSE;
  PetscInt previous;
  PetscReal loss = 0;
  Vec F;

  PetscFunctionBeginUser;
  (void)NextRow(map, &previous);
  PetscCall(CourantMapFindState(map, w, previous, &found));
  if (found && !map->affine) PetscCall(CourantStateIsKink(map->problem, map->theta, StartNorm(map), &kink));
  if (kink) found = PETSC_FALSE;
  if (found) {
    PetscCall(CourantProblemSetState(map->problem, map->theta, &loss, NULL));
    if (!isfinite(loss)) found = PETSC_FALSE;
  }
  if (found) {
    PetscCall(CourantMapSetPreconditioner(map, w));
    PetscCall(FillSpectrum(map, row, &largest, &smallest));
    PetscCall(VecDuplicate(map->theta, &F));
    PetscCall(CourantProblemComputeFlow(map->problem, row->rest, map->theta, F));
    PetscCall(VecNorm(F, NORM_2, &row->gradient_norm));
    PetscCall(VecNorm(map->theta, NORM_2, &row->parameter_norm));
    PetscCall(VecDestroy(&F));
    if (map->at_rest && row->status == COURANT_CONVERGED && !IsEquilibrium(map, row)) found = PETSC_FALSE;
  }
  if (!found) {
    *row = CourantMapEmptyRow(map, row->alpha);
    row->status = kink ? COURANT_KINK : COURANT_NO_EQUILIBRIUM;
    if (kink) row->flip_status = COURANT_KINK;
    for (PetscInt l = 0; l < map->nl; l++) map->cells[w * map->nl + l].regime = COURANT_REGIME_UNDECIDED;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(FillLimits(map, row));
  PetscCall(CourantMapFillBatchLimits(map, row));
  PetscCall(FillFlip(map, row, &largest, &smallest));
  PetscCall(CourantMapFillCells(map, w));
  row->has_state = 1;
  PetscCall(VecGetArrayRead(map->theta, &theta));
  PetscCall(PetscArraycpy(map->states + (size_t)w * (size_t)map->p, theta, map->p));
  PetscCall(VecRestoreArrayRead(map->theta, &theta));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A row that was not finished, such as one that was interrupted, stays as if it had not been begun. */
static PetscErrorCode SolveRow(CourantMap map, PetscInt w)
{
  const CourantMapRow empty = map->rows[w];
  const PetscErrorCode code = FillRow(map, w);

  if (code) map->rows[w] = empty;
  return code;
}

/* All rows that are not done yet, one after another: each state is continued from the one before. */
PetscErrorCode CourantMapSolveRows(CourantMap map)
{
  PetscInt previous;

  PetscFunctionBeginUser;
  for (PetscInt w = NextRow(map, &previous); w >= 0; w = NextRow(map, &previous)) {
    CourantInterruptCheck();
    PetscCall(SolveRow(map, w));
    if (map->monitor) PetscCall(map->monitor(map, map->monitor_ctx));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
