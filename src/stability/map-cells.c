/* Cells of a map: growth at a learning rate, and what it predicts. */
#include "stability/map.h"
#include <math.h>

/* A cell that is not computed. */
CourantMapCell CourantMapEmptyCell(void)
{
  return (CourantMapCell){.growth = NAN,
                          .transient_growth = NAN,
                          .growth_low = NAN,
                          .growth_high = NAN,
                          .mean_square = {NAN, NAN, NAN},
                          .local_low = NAN,
                          .local_high = NAN,
                          .local_growth = NAN,
                          .amplitude = NAN,
                          .final_loss = NAN,
                          .distance = NAN,
                          .period = -1,
                          .regime = COURANT_UNSET,
                          .interpolated = COURANT_UNSET,
                          .local_verdict = COURANT_UNSET,
                          .global_regime = COURANT_UNSET};
}

enum {
  INNER = 62, /* points between the extremes where a stepper is probed when there are too many eigenvalues */
};

/* The eigenvalues m that a stepper is probed at: the distinct ones, or the extremes and a grid between them.
 */
static PetscErrorCode ProbePoints(CourantMap map, const CourantMapRow *row, PetscInt *n,
                                  PetscReal m[INNER + 2])
{
  const PetscReal alpha = map->shifted ? row->rest : 0, *all;
  PetscInt total;

  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumGetAll(map->spectrum, &total, &all));
  *n = 0;
  for (PetscInt i = 0; i < total; i++) {
    const PetscReal value = all[i] + alpha;
    if (fabs(value) <= 1e-9 * row->norm || (*n && value - m[*n - 1] <= 1e-10 * row->norm)) continue;
    if (*n == INNER + 2) {
      *n = 0;
      break;
    }
    m[(*n)++] = value;
  }
  if (*n == 0 && isfinite(row->low)) {
    *n = INNER + 2;
    for (PetscInt i = 0; i < *n; i++) m[i] = row->low + (row->high - row->low) * (double)i / (INNER + 1);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GrowthByStepper(CourantMap map, const CourantMapRow *row, double growth[],
                                      double far_field[])
{
  PetscReal m[INNER + 2], *factor;
  PetscComplex *z;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(ProbePoints(map, row, &n, m));
  PetscCall(PetscMalloc2((n + 1) * map->nl, &z, (n + 1) * map->nl, &factor));
  for (PetscInt l = 0; l < map->nl; l++) {
    for (PetscInt i = 0; i < n; i++) z[l * (n + 1) + i] = -map->learning_rate[l] * m[i];
    z[l * (n + 1) + n] = -map->learning_rate[l] * row->alpha;
  }
  PetscCall(CourantStepperComputeGrowth(map->stepper, (n + 1) * map->nl, z, factor));
  for (PetscInt l = 0; l < map->nl; l++) {
    growth[l] = n ? 0 : NAN;
    for (PetscInt i = 0; i < n; i++) growth[l] = fmax(growth[l], factor[l * (n + 1) + i]);
    far_field[l] = factor[l * (n + 1) + n];
  }
  PetscCall(PetscFree2(z, factor));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Growth of a mode with eigenvalue m of H + alpha D, alpha the decay at rest. */
static double ModeGrowth(CourantMap map, const CourantMapRow *row, double learning_rate, double m)
{
  const PetscBool decoupled = map->train.decoupled;
  return CourantRuleGrowth(map->rule, map->train.options, learning_rate, decoupled ? m - row->rest : m,
                           decoupled ? row->alpha : 0);
}

/*
  A whole row follows from its two extreme eigenvalues: growth falls and then rises with m for every rule.
  slack: what the residuals leave open in it.
*/
static void GrowthByRule(CourantMap map, const CourantMapRow *row, double growth[], double slack[],
                         double far_field[])
{
  const double residual = fmax(row->residual_max, row->residual_min), ends[] = {row->high, row->low};

  for (PetscInt l = 0; l < map->nl; l++) {
    const double eta = map->learning_rate[l];
    growth[l] = slack[l] = 0;
    for (int e = 0; e < 2; e++) {
      const double at = ModeGrowth(map, row, eta, ends[e]);
      growth[l] = e ? fmax(growth[l], at) : at;
      for (int side = -1; side <= 1; side += 2)
        slack[l] = fmax(slack[l], fabs(ModeGrowth(map, row, eta, ends[e] + side * residual) - at));
    }
    far_field[l] = ModeGrowth(map, row, eta, row->rest);
  }
}

/* The largest factor by which a small difference grows for a while, over the modes that are not neutral. */
static PetscErrorCode FillTransients(CourantMap map, PetscInt w)
{
  const CourantMapRow *row = &map->rows[w];
  const PetscBool decoupled = map->train.decoupled;
  PetscReal m[INNER + 2];
  PetscInt n;

  PetscFunctionBeginUser;
  if (!map->rule->Recurrence) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(ProbePoints(map, row, &n, m));
#pragma omp parallel for schedule(dynamic) num_threads((int)map->problem->threads)
  for (PetscInt l = 0; l < map->nl; l++)
    for (PetscInt i = 0; i < n; i++)
      map->cells[w * map->nl + l].transient_growth =
          fmax(map->cells[w * map->nl + l].transient_growth,
               CourantRuleTransientGrowth(map->rule, map->train.options, map->learning_rate[l],
                                          decoupled ? m[i] - row->rest : m[i], decoupled ? row->alpha : 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantMapFillCells(CourantMap map, PetscInt w)
{
  const CourantMapRow *row = &map->rows[w];
  const PetscBool linear = map->affine ? PETSC_TRUE : PETSC_FALSE;
  double *growth, *slack, *far_field;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(map->nl, &growth, map->nl, &slack, map->nl, &far_field));
  GrowthByRule(map, row, growth, slack, far_field);
  if (map->by_ts) PetscCall(GrowthByStepper(map, row, growth, far_field));
  PetscCall(CourantMapFillBatchGrowth(map, w, growth, slack));
  for (PetscInt l = 0; l < map->nl; l++) {
    CourantMapCell *cell = &map->cells[w * map->nl + l];
    const double rounding = 1e-13 * (1 + map->learning_rate[l] * fabs(row->high));
    cell->growth = growth[l];
    cell->regime = (uint8_t)CourantRegimePredict(row, growth[l], slack[l] + rounding, map->learning_rate[l],
                                                 map->bounded, linear, far_field[l]);
  }
  PetscCall(PetscFree3(growth, slack, far_field));
  PetscCall(FillTransients(map, w));
  PetscFunctionReturn(PETSC_SUCCESS);
}
