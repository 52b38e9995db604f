#include "stability/map.h"
#include <math.h>

/*
  CourantRegimePredict - What linear theory and the normal form expect of a cell.

  growth: max |R| over the modes that are not neutral, known to +- slack; far_field: |R| of a mode where L is
  flat, which rules where |theta| is large. bounded: |grad L| is bounded: then every rule is a linear
  recurrence, that of a flat L, driven by a bounded force, so that every orbit stays bounded when far_field <
  1, and those that start far out along its unstable direction diverge when it is > 1. linear: the iteration
  is linear and past its limit it diverges.
*/
CourantRegime CourantRegimePredict(const CourantMapRow *row, double growth, double slack,
                                   double learning_rate, PetscBool bounded, PetscBool linear,
                                   double far_field)
{
  if (row->status != COURANT_CONVERGED || !isfinite(growth) || fabs(growth - 1) <= slack)
    return COURANT_REGIME_UNDECIDED;
  if (row->low < 0) return COURANT_REGIME_UNSTABLE_FLOW;
  if (growth < 1) return COURANT_REGIME_STABLE;
  if (linear) return COURANT_REGIME_DIVERGENT;
  if (bounded && far_field > 1) return COURANT_REGIME_DIVERGENT;
  if (bounded && far_field < 1) return COURANT_REGIME_RESTRAINED;
  if (row->flip_status == COURANT_CONVERGED && row->flip_coefficient > 0 &&
      learning_rate <= 1.05 * row->limit)
    return COURANT_REGIME_RESTRAINED;
  return COURANT_REGIME_PAST_LIMIT;
}
