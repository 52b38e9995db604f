#include "stability/region.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include <math.h>
#include <stdio.h>

/* CourantStabilityRegionSetFromOptions - The window and its points. Options: -window, -window_points. */
PetscErrorCode CourantStabilityRegionSetFromOptions(CourantStabilityRegion *region)
{
  char corners[128] = "-6,2,-4,4", text[64] = "161x161";
  double window[4];
  int points[2], end = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-window", corners, sizeof corners, NULL));
  if (sscanf(corners, "%lf,%lf,%lf,%lf%n", &window[0], &window[1], &window[2], &window[3], &end) != 4 ||
      corners[end] || !(window[0] < window[1]) || !(window[2] < window[3]) ||
      !isfinite(window[1] - window[0]) || !isfinite(window[3] - window[2]))
    CourantInputError(PETSC_COMM_WORLD,
                      "-window %s: expected four numbers RE0,RE1,IM0,IM1, each pair ascending", corners);
  end = 0;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-window_points", text, sizeof text, NULL));
  if (sscanf(text, "%dx%d%n", &points[0], &points[1], &end) != 2 || text[end] || points[0] < 2 ||
      points[1] < 2 || points[0] > 4096 || points[1] > 4096)
    CourantInputError(PETSC_COMM_WORLD,
                      "-window_points %s: expected points real x imaginary, 2 to 4096 each, such as 161x161",
                      text);
  for (int i = 0; i < 2; i++) {
    region->real[i] = window[i];
    region->imaginary[i] = window[2 + i];
    region->points[i] = points[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define REAL      "/stability_function/real"
#define IMAGINARY "/stability_function/imaginary"

static const CourantResultEntry magnitude_entry = {"/stability_function/magnitude",
                                                   COURANT_RESULT_REAL,
                                                   {IMAGINARY, REAL},
                                                   "amplification per step of u' = lambda u, z = step "
                                                   "lambda; the region of absolute stability is where it is "
                                                   "at most 1",
                                                   "1"};

/* |R(z)| of a row of z: of the stepper, or of a rule's larger root, where z = -learning rate m. */
static PetscErrorCode ComputeRow(CourantStepper stepper, const CourantRuleOps *rule, const void *options,
                                 PetscInt n, const PetscComplex z[], double magnitude[])
{
  PetscFunctionBeginUser;
  if (stepper)
    PetscCall(CourantStepperComputeGrowth(stepper, n, z, magnitude));
  else
    for (PetscInt i = 0; i < n; i++) magnitude[i] = rule->Growth(options, 1, -z[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the numbers are of, and how they were found. */
static PetscErrorCode WriteLabels(CourantStepper stepper, const CourantRuleOps *rule, CourantResult file)
{
  const char *name = rule ? rule->name : NULL,
             *formula = "larger root of the recurrence, z = -learning rate m";
  PetscBool one_step;

  PetscFunctionBeginUser;
  if (stepper) {
    PetscCall(CourantStepperGetType(stepper, &name, &one_step));
    formula = one_step ? "|R(z)|, u_1 = R(z) u_0" : "asymptotic: geometric mean over steps 100 to 200";
  }
  PetscCall(CourantResultSetString(file, magnitude_entry.path, "formula", formula));
  PetscCall(CourantResultSetString(file, "/stability_function", "stepper", name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantStabilityRegionWrite - |R(z)| over the window into /stability_function of a result file.

  stepper: whose R; NULL: the recurrence of an optimiser's rule with its options, as the rule's table has it;
  nothing is written for rules without one. On the rank that holds the file.
*/
PetscErrorCode CourantStabilityRegionWrite(const CourantStabilityRegion *region, CourantStepper stepper,
                                           const CourantRuleOps *rule, const void *options,
                                           CourantResult file)
{
  const PetscInt nr = region->points[0], ni = region->points[1];
  CourantProgress progress;
  PetscComplex *z;
  double *real, *imaginary, *magnitude;

  PetscFunctionBeginUser;
  if (!stepper && !rule->Growth) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc4(nr, &z, nr, &real, ni, &imaginary, nr * ni, &magnitude));
  for (PetscInt i = 0; i < nr; i++)
    real[i] = region->real[0] + (region->real[1] - region->real[0]) * (double)i / (double)(nr - 1);
  for (PetscInt i = 0; i < ni; i++)
    imaginary[i] =
        region->imaginary[0] + (region->imaginary[1] - region->imaginary[0]) * (double)i / (double)(ni - 1);
  CourantProgressBegin(&progress, "stability region", 0, (double)ni, region->quiet);
  for (PetscInt row = 0; row < ni; row++) {
    CourantInterruptCheck();
    for (PetscInt i = 0; i < nr; i++) z[i] = real[i] + imaginary[row] * PETSC_i;
    PetscCall(ComputeRow(stepper, rule, options, nr, z, magnitude + row * nr));
    CourantProgressUpdate(&progress, (double)(row + 1));
  }
  CourantProgressEnd(&progress);
  PetscCall(CourantResultAddScale(file, REAL, (int)nr, real, "real part of z", "1"));
  PetscCall(CourantResultAddScale(file, IMAGINARY, (int)ni, imaginary, "imaginary part of z", "1"));
  PetscCall(CourantResultAdd(file, &magnitude_entry));
  PetscCall(CourantResultWrite(file, magnitude_entry.path, magnitude));
  PetscCall(WriteLabels(stepper, rule, file));
  PetscCall(PetscFree4(z, real, imaginary, magnitude));
  PetscFunctionReturn(PETSC_SUCCESS);
}
