#include "stability/steplimit.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include <complex.h>
#include <math.h>
#include <stdlib.h>

/* Steps are looked at from 2^FROM / max |lambda| to 2^TO / max |lambda|, PER_OCTAVE of them in each octave.
 */
enum { FROM = -26, TO = 34, PER_OCTAVE = 8 };

/*
  CourantStepTolerance - By how much growth may be above 1 and still be rounding.

  One-step methods: 64 units in the last place, the roundings of a step of many stages. Growth over many steps
  of others is not sharper than 1e-9.
*/
PetscReal CourantStepTolerance(CourantStepper stepper)
{
  PetscBool one_step;
  (void)CourantStepperGetType(stepper, NULL, &one_step);
  return one_step ? 64 * PETSC_MACHINE_EPSILON : 1e-9;
}

/* The largest growth of all modes, less 1, and whose it is. */
static PetscErrorCode FindExcess(const CourantSteppedModes *modes, PetscReal step, PetscReal *excess,
                                 PetscInt *which)
{
  PetscComplex *z;
  PetscReal *growth;

  PetscFunctionBeginUser;
  CourantInterruptCheck();
  if (modes->Update) PetscCall(modes->Update(modes->ctx, step));
  PetscCall(PetscMalloc2(modes->n, &z, modes->n, &growth));
  for (PetscInt i = 0; i < modes->n; i++) z[i] = step * modes->lambda[i];
  PetscCall(CourantStepperComputeGrowth(modes->stepper, modes->n, z, growth));
  *excess = -INFINITY;
  for (PetscInt i = 0; i < modes->n; i++) {
    const PetscReal above = isnan(growth[i]) ? INFINITY : growth[i] - 1;
    if (above <= *excess) continue;
    *excess = above;
    *which = i;
  }
  PetscCall(PetscFree2(z, growth));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Is the loss at `step` none, but an instability of every step, which drowned in rounding below? The excess of
  such a one is a power of the step, C step^p, and has grown by 2^p at twice the step; past a true limit it is
  of order 1 there. No p above 16 occurs.
*/
static PetscErrorCode IsPowerOfStep(const CourantSteppedModes *modes, PetscReal step, PetscReal tolerance,
                                    PetscBool *is)
{
  PetscReal excess;
  PetscInt which;

  PetscFunctionBeginUser;
  PetscCall(FindExcess(modes, 2 * step, &excess, &which));
  *is = excess < 0x1p16 * tolerance ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From small steps upwards, then by bisection. */
static PetscErrorCode Solve(const CourantSteppedModes *modes, CourantStepLimit *limit)
{
  const PetscReal tolerance = CourantStepTolerance(modes->stepper);
  PetscReal largest = 0, low = 0, high = 0, excess;
  PetscInt which = 0;
  PetscBool everywhere = PETSC_FALSE;
  CourantProgress progress;

  PetscFunctionBeginUser;
  *limit = (CourantStepLimit){.step = modes->n ? INFINITY : NAN, .tolerance = tolerance};
  if (modes->Update) PetscCall(modes->Update(modes->ctx, modes->reference));
  for (PetscInt i = 0; i < modes->n; i++) largest = fmax(largest, cabs(modes->lambda[i]));
  if (largest == 0) PetscFunctionReturn(PETSC_SUCCESS);
  CourantProgressBegin(&progress, "limit of the step", 0, (TO - FROM) * PER_OCTAVE, modes->quiet);
  for (int k = FROM * PER_OCTAVE; k <= TO * PER_OCTAVE && high == 0; k++) {
    const PetscReal step = exp2((double)k / PER_OCTAVE) / largest;
    PetscCall(FindExcess(modes, step, &excess, &which));
    if (excess <= tolerance)
      low = step;
    else
      high = step;
    CourantProgressUpdate(&progress, k - FROM * PER_OCTAVE);
  }
  CourantProgressEnd(&progress);
  if (high == 0) PetscFunctionReturn(PETSC_SUCCESS);
  while (low > 0 && high - low > 1e-14 * high) {
    const PetscReal middle = 0.5 * (low + high);
    if (!(middle > low && middle < high)) break;
    PetscInt worst = 0;
    PetscCall(FindExcess(modes, middle, &excess, &worst));
    if (excess <= tolerance)
      low = middle;
    else {
      high = middle;
      which = worst;
    }
  }
  PetscCall(IsPowerOfStep(modes, high, tolerance, &everywhere));
  if (everywhere) low = 0;
  limit->step = low;
  limit->width = low > 0 ? high - low : 0;
  limit->mode = which;
  if (modes->Update) PetscCall(modes->Update(modes->ctx, low));
  limit->lambda = modes->lambda[which];
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  PetscReal re, im; /* |imaginary part|: conjugates grow alike */
  PetscInt mode;
} Place;

static int ComparePlaces(const void *a, const void *b)
{
  const Place *p = (const Place *)a, *q = (const Place *)b;

  if (p->re != q->re) return p->re < q->re ? -1 : 1;
  if (p->im != q->im) return p->im < q->im ? -1 : 1;
  return p->mode < q->mode ? -1 : 1;
}

/* Modes that stay as they are: equal and conjugate ones are stepped once. */
static PetscErrorCode SolveDistinct(const CourantSteppedModes *modes, CourantStepLimit *limit)
{
  CourantSteppedModes distinct = *modes;
  Place *place;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(modes->n, &place, modes->n, &distinct.lambda));
  for (PetscInt i = 0; i < modes->n; i++)
    place[i] = (Place){creal(modes->lambda[i]), fabs(cimag(modes->lambda[i])), i};
  qsort(place, (size_t)modes->n, sizeof *place, ComparePlaces);
  distinct.n = 0;
  for (PetscInt i = 0; i < modes->n; i++) {
    if (i > 0 && place[i].re == place[i - 1].re && place[i].im == place[i - 1].im) continue;
    place[distinct.n] = place[i];
    distinct.lambda[distinct.n++] = modes->lambda[place[i].mode];
  }
  PetscCall(Solve(&distinct, limit));
  if (modes->n) limit->mode = place[limit->mode].mode;
  PetscCall(PetscFree2(place, distinct.lambda));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantStepLimitSolve - The first loss of stability on the way up from small steps.

  Every step below limit->step looked at is stable: growth <= 1 + CourantStepTolerance(). 0: unstable however
  small the step. Infinite: stable up to 1e10 / max |lambda|. NaN: there are no modes. A gap of stability
  narrower than a twelfth of the step is seen only if a step hits it.
*/
PetscErrorCode CourantStepLimitSolve(const CourantSteppedModes *modes, CourantStepLimit *limit)
{
  PetscFunctionBeginUser;
  PetscCall(modes->Update ? Solve(modes, limit) : SolveDistinct(modes, limit));
  PetscFunctionReturn(PETSC_SUCCESS);
}
