/*
  Trace and Frobenius norm by Hutch++ (Meyer, Musco, Musco, Woodruff 2021): exact on a space Q that a sketch
  has found, by random probes on what is left, whose variance is small as Q has the large eigenvalues.

      tr A = tr Q^T A Q + E g^T A g,    |A|_F^2 = |A Q|_F^2 + E |A g|^2,    g = (I - Q Q^T) z, z normal

  Both take the same products: a sketch, as many on Q, as many on probes.
*/
#include "stability/density.h"
#include "core/interrupt.h"
#include "core/statistics.h"
#include <math.h>

enum { LANCZOS, SKETCH, RESIDUAL }; /* what a vector is drawn for */

static PetscErrorCode Multiply(CourantDensity density, Vec x, Vec y)
{
  PetscFunctionBeginUser;
  PetscCall(CourantInterruptCheckTogether(density->comm));
  PetscCall(MatMult(density->A, x, y));
  CourantDensityTell(density, 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An orthonormal basis of A times normal vectors in the first columns; `found` of them are independent. */
static PetscErrorCode Sketch(CourantDensity density, PetscInt columns, Vec z, PetscInt *found)
{
  PetscBool dependent;
  PetscReal norm;
  Vec column;

  PetscFunctionBeginUser;
  *found = 0;
  for (PetscInt j = 0; j < columns; j++) {
    PetscCall(CourantDensityDraw(density, (uint32_t)j, SKETCH, z));
    PetscCall(BVGetColumn(density->basis, *found, &column));
    PetscCall(Multiply(density, z, column));
    PetscCall(BVRestoreColumn(density->basis, *found, &column));
    PetscCall(BVOrthonormalizeColumn(density->basis, *found, PETSC_FALSE, &norm, &dependent));
    if (!dependent) ++*found;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* v^T A v and |A v|^2. */
static PetscErrorCode Moments(CourantDensity density, Vec v, Vec Av, PetscReal *first, PetscReal *second)
{
  PetscScalar product;
  PetscReal norm;

  PetscFunctionBeginUser;
  PetscCall(Multiply(density, v, Av));
  PetscCall(VecDot(Av, v, &product));
  PetscCall(VecNorm(Av, NORM_2, &norm));
  *first = PetscRealPart(product);
  *second = norm * norm;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static CourantEstimate Shifted(CourantEstimate estimate, PetscReal by, PetscReal rounding)
{
  return (CourantEstimate){estimate.value + by, estimate.low + by - rounding, estimate.high + by + rounding};
}

/* Trace and squared norm over the space of the sketch, and samples of both over what is left. */
static PetscErrorCode Sample(CourantDensity density, PetscInt columns, PetscInt probes, Vec z, Vec Az,
                             PetscReal exact[2], PetscReal *samples[2])
{
  PetscReal first, second;
  PetscInt found;
  Vec column;

  PetscFunctionBeginUser;
  PetscCall(Sketch(density, columns, z, &found));
  for (PetscInt j = 0; j < found; j++) {
    PetscCall(BVGetColumn(density->basis, j, &column));
    PetscCall(Moments(density, column, Az, &first, &second));
    PetscCall(BVRestoreColumn(density->basis, j, &column));
    exact[0] += first;
    exact[1] += second;
  }
  PetscCall(BVSetActiveColumns(density->basis, 0, found));
  for (PetscInt i = 0; i < probes; i++) {
    samples[0][i] = samples[1][i] = 0;
    if (found == density->n) continue; /* nothing is left */
    PetscCall(CourantDensityDraw(density, (uint32_t)i, RESIDUAL, z));
    if (found) PetscCall(BVOrthogonalizeVec(density->basis, z, NULL, NULL, NULL));
    PetscCall(Moments(density, z, Az, &samples[0][i], &samples[1][i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDensitySketch - Vectors of the sketch, and of the probes; the trace takes three times as many
   products. */
PetscInt CourantDensitySketch(CourantDensity density)
{
  return PetscMin(density->n, PetscMax(2, density->steps / 2));
}

/* CourantDensityMeasure - Fills in density->trace and density->norm, NaN where they are not wanted; the basis
   is lost. */
PetscErrorCode CourantDensityMeasure(CourantDensity density)
{
  const PetscInt columns = CourantDensitySketch(density), probes = PetscMax(2, columns);
  PetscReal exact[2] = {0, 0}, *samples[2];
  Vec z, Az;

  PetscFunctionBeginUser;
  density->trace = density->norm = (CourantEstimate){NAN, NAN, NAN};
  if (density->no_trace) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(MatCreateVecs(density->A, &z, &Az));
  PetscCall(PetscMalloc2(probes, &samples[0], probes, &samples[1]));
  PetscCall(Sample(density, columns, probes, z, Az, exact, samples));
  const PetscReal norm = sqrt(exact[1] + CourantMeanEstimate(probes, samples[1]).value),
                  rounding = PETSC_MACHINE_EPSILON * (PetscReal)density->n * norm;
  const CourantEstimate square = Shifted(CourantMeanEstimate(probes, samples[1]), exact[1], rounding * norm);
  density->trace = Shifted(CourantMeanEstimate(probes, samples[0]), exact[0], rounding);
  density->norm = (CourantEstimate){norm, sqrt(PetscMax(0, square.low)), sqrt(square.high)};
  PetscCall(PetscFree2(samples[0], samples[1]));
  PetscCall(VecDestroy(&z));
  PetscCall(VecDestroy(&Az));
  PetscFunctionReturn(PETSC_SUCCESS);
}
