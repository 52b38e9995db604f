#include "cmd/density.h"
#include "cmd/options.h"
#include "core/progress.h"
#include <math.h>

enum { POINTS = 256 }; /* of the grid */

/*
  CourantDensityOpen - The density that option -density asks for; NULL without it.

  memory: bytes of this rank, half of which the basis may take. Options: -density, and those of
  CourantDensitySetFromOptions(). The caller destroys it.
*/
PetscErrorCode CourantDensityOpen(Mat A, PetscReal memory, CourantDensity *density)
{
  PetscBool wanted;

  PetscFunctionBeginUser;
  *density = NULL;
  PetscCall(CourantOptionFlag("-density", &wanted));
  if (!wanted) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantDensityCreate(PetscObjectComm((PetscObject)A), density));
  PetscCall(CourantDensitySetOperator(*density, A));
  PetscCall(CourantDensitySetMemory(*density, memory / 2));
  PetscCall(CourantDensitySetFromOptions(*density));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- datasets ---- */

#define GROUP      "/spectrum/density"
#define VALUE      GROUP "/value"
#define CONFIDENCE ", of 95 % confidence at each point"

static const CourantResultEntry curves[] = {
    {GROUP "/density",
     COURANT_RESULT_REAL,
     {VALUE},
     "density of eigenvalues by number, integral 1",
     "1",
     .formula = "(1/n) sum_i g(value - lambda_i), g a Gaussian of standard deviation kernel_width"},
    {GROUP "/density_low", COURANT_RESULT_REAL, {VALUE}, "lower end of its interval" CONFIDENCE, "1"},
    {GROUP "/density_high", COURANT_RESULT_REAL, {VALUE}, "upper end of its interval" CONFIDENCE, "1"},
    {GROUP "/above", COURANT_RESULT_REAL, {VALUE}, "number of eigenvalues above the value", "1"},
    {GROUP "/above_low", COURANT_RESULT_REAL, {VALUE}, "lower end of its interval" CONFIDENCE, "1"},
    {GROUP "/above_high", COURANT_RESULT_REAL, {VALUE}, "upper end of its interval" CONFIDENCE, "1"},
};

enum { TRACE, NORM, DETERMINANT, SUMS };

static const CourantResultEntry sums[SUMS] = {
    {GROUP "/trace", COURANT_RESULT_REAL, {NULL}, "trace", "1", .formula = "sum_i lambda_i"},
    {GROUP "/frobenius_norm",
     COURANT_RESULT_REAL,
     {NULL},
     "Frobenius norm",
     "1",
     .formula = "sqrt(sum_i lambda_i^2)"},
    {GROUP "/log_determinant",
     COURANT_RESULT_REAL,
     {NULL},
     "logarithm of the determinant",
     "1",
     .formula = "sum_i log(lambda_i + shift)"},
};

static const CourantResultEntry status_entry = {GROUP "/log_determinant_status",
                                                COURANT_RESULT_ENUM,
                                                {NULL},
                                                "degenerate: not positive definite",
                                                "1",
                                                COURANT_STATUS_NAMES};

/* What is reported. */
typedef struct {
  double value[POINTS], curve[6][POINTS];
  CourantEstimate sum[SUMS], above;
  CourantStatus status; /* of the determinant */
  PetscReal low, high, width;
} Report;

static PetscErrorCode Write(const Report *report, const CourantDensityFacts *facts, CourantOutput *output)
{
  const CourantResult file = output->file;
  const uint8_t status = (uint8_t)report->status;

  PetscFunctionBeginUser;
  PetscCall(CourantResultAddScale(file, VALUE, POINTS, report->value, "place on the spectrum's axis", "1"));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(curves); i++)
    PetscCall(CourantResultAddValues(file, &curves[i], report->curve[i]));
  for (int i = 0; i < SUMS; i++) PetscCall(CourantOutputWriteEstimate(output, &sums[i], &report->sum[i]));
  PetscCall(CourantResultAddValues(file, &status_entry, &status));
  PetscCall(CourantResultSetReal(file, GROUP, "kernel_width", report->width));
  PetscCall(CourantResultSetReal(file, GROUP, "shift", facts->shift));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- in words ---- */

static void PrintSum(const char *name, const CourantEstimate *sum)
{
  printf("  %s %.6g (%.6g to %.6g)\n", name, sum->value, sum->low, sum->high);
}

static void Print(CourantDensity density, const Report *report, const CourantDensityFacts *facts)
{
  PetscInt probes, steps, n;

  CourantDensityGetRule(density, &n, &probes, &steps);
  printf("density of %d eigenvalues from %.6g to %.6g: %d probes of %d steps, kernel of width %.3g; "
         "intervals of 95 %%\n",
         (int)n, report->low, report->high, (int)probes, (int)steps, report->width);
  PrintSum("trace", &report->sum[TRACE]);
  PrintSum("Frobenius norm", &report->sum[NORM]);
  if (report->status == COURANT_CONVERGED) {
    char name[64];
    snprintf(name, sizeof name, facts->shift != 0 ? "log determinant, %g added to each," : "log determinant",
             facts->shift);
    PrintSum(name, &report->sum[DETERMINANT]);
  } else if (isfinite(facts->lowest))
    printf("  no log determinant: not positive definite\n");
  if (isfinite(facts->threshold))
    printf("  eigenvalues above %.6g: about %.0f (%.0f to %.0f)\n", facts->threshold, report->above.value,
           fabs(ceil(report->above.low - 1e-9)), floor(report->above.high + 1e-9));
}

/* ---- the work ---- */

static PetscErrorCode Evaluate(CourantDensity density, const CourantDensityFacts *facts, Report *report)
{
  PetscFunctionBeginUser;
  PetscCall(CourantDensityGetRange(density, &report->low, &report->high));
  PetscCall(CourantDensityGetWidth(density, &report->width));
  const double from = report->low - 4 * report->width, to = report->high + 4 * report->width;
  for (int i = 0; i < POINTS; i++) {
    const double x = report->value[i] = from + (to - from) * i / (POINTS - 1);
    CourantEstimate estimate[2];
    PetscCall(CourantDensityEvaluate(density, x, &estimate[0]));
    PetscCall(CourantDensityCountAbove(density, x, &estimate[1]));
    for (int k = 0; k < 2; k++) {
      report->curve[3 * k][i] = estimate[k].value;
      report->curve[3 * k + 1][i] = estimate[k].low;
      report->curve[3 * k + 2][i] = estimate[k].high;
    }
  }
  PetscCall(CourantDensityGetTrace(density, &report->sum[TRACE], &report->sum[NORM]));
  PetscCall(CourantDensityGetLogDeterminant(density, facts->shift, facts->lowest, &report->sum[DETERMINANT],
                                            &report->status));
  if (isfinite(facts->threshold))
    PetscCall(CourantDensityCountAbove(density, facts->threshold, &report->above));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantReportDensity - Solves, writes /spectrum/density/ and prints the headline numbers; nothing where
  density is NULL. Collective.
*/
PetscErrorCode CourantReportDensity(CourantDensity density, const CourantDensityFacts *facts,
                                    CourantOutput *output)
{
  CourantProgress progress;
  PetscInt products;
  Report *report;

  PetscFunctionBeginUser;
  if (!density) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantDensityGetSizes(density, &products, NULL));
  CourantProgressBegin(&progress, "density", 0, (double)products, output->quiet);
  PetscCall(CourantDensitySetProgress(density, CourantProgressAdvance, &progress));
  const PetscErrorCode code = CourantDensitySolve(density);
  CourantProgressEnd(&progress);
  PetscCall(code);
  PetscCall(CourantDensitySetProgress(density, NULL, NULL));
  PetscCall(PetscNew(&report));
  PetscCall(Evaluate(density, facts, report));
  CourantCallOnRankZero(PETSC_COMM_WORLD, output->rank, Write(report, facts, output));
  if (output->rank == 0 && !output->quiet) Print(density, report, facts);
  PetscCall(PetscFree(report));
  PetscFunctionReturn(PETSC_SUCCESS);
}
