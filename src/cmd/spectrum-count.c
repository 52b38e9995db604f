/* How many eigenvalues are to be expected above -above, beside the number that was found. */
#include "cmd/spectrum.h"
#include "stability/preconditioned.h"
#include <math.h>

/* Eigenvalues far from the rest, as those above 2 / learning rate are, converge within so many steps. */
enum { PROBES = 4, STEPS = 30 };

/* ---- the estimate ---- */

/* SpectrumOpenCount - What estimates the count that -above asks for: the density where there is one. */
PetscErrorCode SpectrumOpenCount(SpectrumSession *s)
{
  PetscFunctionBeginUser;
  if (isnan(s->above)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(s->kind == LAYER_BLOCKS ? s->nlayers : 1, &s->counts));
  if (s->density) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantDensityCreate(s->problem->comm, &s->counter));
  PetscCall(CourantDensitySetRule(s->counter, PROBES, STEPS));
  PetscCall(CourantDensitySetTrace(s->counter, PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddCount(SpectrumSession *s, CourantDensity density, PetscInt found)
{
  SpectrumCount *count = &s->counts[s->ncounts++];

  PetscFunctionBeginUser;
  count->found = found;
  PetscCall(CourantDensityGetSizes(density, &count->products, NULL));
  PetscCall(CourantDensityCountAbove(density, s->above, &count->estimate));
  count->estimate.low = ceil(count->estimate.low - 1e-9);
  count->estimate.high = floor(count->estimate.high + 1e-9);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  SpectrumCountAbove - The count of an operator by probes of its own; nothing without -above, or where the
  density has it. found: eigenvalues of it that are above.
*/
PetscErrorCode SpectrumCountAbove(SpectrumSession *s, Mat A, PetscInt found)
{
  CourantProgress progress;
  PetscInt products;
  Mat B = A;

  PetscFunctionBeginUser;
  if (!s->counter) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscObjectReference((PetscObject)A));
  if (s->P) {
    PetscCall(CourantPreconditionedCreate(A, &B));
    PetscCall(CourantPreconditionedSetDiagonal(B, s->P));
    PetscCall(MatDestroy(&A));
  }
  PetscCall(CourantDensitySetOperator(s->counter, B));
  PetscCall(CourantDensityGetSizes(s->counter, &products, NULL));
  CourantProgressBegin(&progress, "count", 0, (double)products, s->output.quiet);
  PetscCall(CourantDensitySetProgress(s->counter, CourantProgressAdvance, &progress));
  const PetscErrorCode code = CourantDensitySolve(s->counter);
  CourantProgressEnd(&progress);
  PetscCall(code);
  PetscCall(AddCount(s, s->counter, found));
  PetscCall(MatDestroy(&B));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* SpectrumCountByDensity - The count by -density, behind CourantReportDensity(). */
PetscErrorCode SpectrumCountByDensity(SpectrumSession *s)
{
  PetscFunctionBeginUser;
  if (s->counts && s->density) PetscCall(AddCount(s, s->density, s->n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the file ---- */

enum { FOUND, PRODUCTS, ESTIMATE, LOW, HIGH, ENTRIES };

static const CourantResultEntry entries[ENTRIES] = {
    [FOUND] = {"/spectrum/above_found", COURANT_RESULT_INT, {NULL}, "eigenvalues found above `above`", "1"},
    [PRODUCTS] = {"/spectrum/above_products",
                  COURANT_RESULT_INT,
                  {NULL},
                  "operator applications of the estimate",
                  "1"},
    [ESTIMATE] = {"/spectrum/above_estimate",
                  COURANT_RESULT_REAL,
                  {NULL},
                  "how many there are by random probes, whatever was found",
                  "1",
                  .formula = "n sum_i z_i^T E z_i / sum_i z_i^T z_i, E the projection on eigenvectors above"},
    [LOW] = {"/spectrum/above_estimate_low",
             COURANT_RESULT_REAL,
             {NULL},
             "lower end of its interval of 95 % confidence",
             "1"},
    [HIGH] = {"/spectrum/above_estimate_high",
              COURANT_RESULT_REAL,
              {NULL},
              "upper end of its interval of 95 % confidence",
              "1"},
};

/* SpectrumWriteCounts - The counts as numbers, or over the layers whose scale is `layers`. On rank 0. */
PetscErrorCode SpectrumWriteCounts(SpectrumSession *s, const char layers[])
{
  const PetscInt n = s->ncounts;
  double *real;
  int *integer;

  PetscFunctionBeginUser;
  if (!n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2((ENTRIES - ESTIMATE) * n, &real, ESTIMATE * n, &integer));
  for (PetscInt i = 0; i < n; i++) {
    const SpectrumCount *count = &s->counts[i];
    integer[FOUND * n + i] = (int)count->found;
    integer[PRODUCTS * n + i] = (int)count->products;
    real[i] = count->estimate.value;
    real[(LOW - ESTIMATE) * n + i] = count->estimate.low;
    real[(HIGH - ESTIMATE) * n + i] = count->estimate.high;
  }
  for (int e = 0; e < ENTRIES; e++) {
    CourantResultEntry entry = entries[e];
    if (s->kind == LAYER_BLOCKS) entry.scales[0] = layers;
    PetscCall(CourantResultAddValues(s->output.file, &entry,
                                     e < ESTIMATE ? (const void *)(integer + e * n)
                                                  : (const void *)(real + (e - ESTIMATE) * n)));
  }
  PetscCall(PetscFree2(real, integer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- in words ---- */

/* SpectrumPrintCounts - What is to be expected above -above, and whether that is what was found. */
void SpectrumPrintCounts(const SpectrumSession *s)
{
  for (PetscInt i = 0; i < s->ncounts; i++) {
    const SpectrumCount *count = &s->counts[i];
    const CourantEstimate e = count->estimate;
    if (s->kind == LAYER_BLOCKS)
      printf("  %s: %d found; ", s->problem->net->layers[s->layers[i]].name, (int)count->found);
    printf("random probes expect %.3g (%.0f to %.0f with 95 %%), by %d products\n", e.value, fabs(e.low),
           e.high, (int)count->products);
    if (count->found < e.low || count->found > e.high)
      printf("  that excludes the %d found: chance, one time in 20%s\n", (int)count->found,
             count->found < e.low ? ", or some were missed" : "");
  }
}
