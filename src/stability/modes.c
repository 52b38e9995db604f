#include "stability/modes.h"
#include "core/memory.h"
#include "stability/dense.h"
#include <fftw3.h>
#include <math.h>
#include <string.h>

/* A mode below this part of the largest one is rounding of the others. */
#define STANDS 1e-6

/*
  Of the states are kept, for each frequency of half the grid (the rest are conjugates), the [fields,starts]
  matrix U: the first one, and the last one that stood above rounding.
*/
struct _CourantModes {
  CourantScheme scheme;
  size_t half, fields;     /* frequencies; fields and starts */
  double *state;           /* [points,fields] */
  fftw_complex *transform; /* [fields,half] */
  fftw_plan plan;
  double complex *first, *now, *last; /* [half,fields,starts] */
  int *from, *to;                     /* steps of first and last; to = -1: never stood */
  PetscBool *standing;
};

double CourantModesFrequency(PetscInt i, PetscInt n)
{
  return 2 * M_PI * (double)(i - n / 2) / (double)n;
}

/* ---- measured ---- */

/* rho(last first^-1), NaN where the starts are not independent. */
static PetscErrorCode PropagatorRadius(PetscInt f, const double complex first[], const double complex last[],
                                       double *radius)
{
  double complex a[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX], b[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX];
  double complex value[COURANT_FIELDS_MAX];
  PetscBool singular;

  PetscFunctionBeginUser;
  *radius = NAN;
  /* rows taken for columns: the transposes, which have the same eigenvalues */
  PetscCall(PetscArraycpy(a, first, f * f));
  PetscCall(PetscArraycpy(b, last, f * f));
  PetscCall(CourantDenseSolve(f, a, f, b, &singular));
  if (singular) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantDenseEigenvalues(f, b, value));
  *radius = 0;
  for (PetscInt k = 0; k < f; k++) *radius = fmax(*radius, cabs(value[k]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantModesCreate - Follows as many starts as there are fields, on one rank. The scheme is borrowed, and
  periodic.
*/
PetscErrorCode CourantModesCreate(CourantScheme scheme, CourantModes *result)
{
  const int ny = (int)scheme->points[0], nx = (int)scheme->points[1], f = (int)scheme->fields;
  const int shape[2] = {ny, nx};
  CourantModes m;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&m));
  *result = m;
  m->scheme = scheme;
  m->fields = (size_t)f;
  m->half = (size_t)ny * (size_t)(nx / 2 + 1);
  const size_t matrices = m->half * m->fields * m->fields * sizeof *m->now;
  PetscCall(CourantAllocate((size_t)ny * (size_t)nx * m->fields * sizeof *m->state, &m->state));
  PetscCall(CourantAllocate(m->half * m->fields * sizeof *m->transform, &m->transform));
  PetscCall(CourantAllocate(matrices, &m->first));
  PetscCall(CourantAllocate(matrices, &m->now));
  PetscCall(CourantAllocate(matrices, &m->last));
  PetscCall(PetscMalloc3(m->half, &m->from, m->half, &m->to, m->half, &m->standing));
  m->plan = fftw_plan_many_dft_r2c(2, shape, f, m->state, NULL, f, 1, m->transform, NULL, 1, (int)m->half,
                                   FFTW_ESTIMATE);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantModesDestroy(CourantModes *modes)
{
  PetscFunctionBeginUser;
  if (!*modes) PetscFunctionReturn(PETSC_SUCCESS);
  fftw_destroy_plan((*modes)->plan);
  CourantFree(&(*modes)->state);
  CourantFree(&(*modes)->transform);
  CourantFree(&(*modes)->first);
  CourantFree(&(*modes)->now);
  CourantFree(&(*modes)->last);
  PetscCall(PetscFree3((*modes)->from, (*modes)->to, (*modes)->standing));
  PetscCall(PetscFree(*modes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantModesRecord - The state u [points,fields] of one of the starts; those of a step before its Keep. */
PetscErrorCode CourantModesRecord(CourantModes m, PetscInt start, const double u[])
{
  const size_t f = m->fields, points = (size_t)(m->scheme->points[0] * m->scheme->points[1]);

  PetscFunctionBeginUser;
  memcpy(m->state, u, points * f * sizeof *u);
  fftw_execute(m->plan);
  for (size_t w = 0; w < m->half; w++)
    for (size_t i = 0; i < f; i++) m->now[(w * f + i) * f + (size_t)start] = m->transform[i * m->half + w];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Norm(size_t n, const double complex u[])
{
  double largest = 0, sum = 0;

  for (size_t i = 0; i < n; i++) largest = fmax(largest, cabs(u[i]));
  for (size_t i = 0; i < n && largest > 0; i++) sum += pow(cabs(u[i]) / largest, 2);
  return largest * sqrt(sum);
}

/*
  CourantModesKeep - All starts are recorded at `step`, 0 for the initial states.

  A mode counts as long as it stands above 1e-6 of the largest one, and for one step at least.
*/
PetscErrorCode CourantModesKeep(CourantModes m, PetscInt step)
{
  const size_t square = m->fields * m->fields;
  double largest = 0;

  PetscFunctionBeginUser;
  for (size_t w = 0; w < m->half; w++) largest = fmax(largest, Norm(square, m->now + w * square));
  for (size_t w = 0; w < m->half; w++) {
    const PetscBool stands = Norm(square, m->now + w * square) > STANDS * largest ? PETSC_TRUE : PETSC_FALSE;
    if (step == 0) {
      m->standing[w] = stands;
      m->from[w] = 0;
      m->to[w] = stands ? 0 : -1;
      memcpy(m->first + w * square, m->now + w * square, square * sizeof *m->now);
      continue;
    }
    if (m->standing[w] && (stands || step == m->from[w] + 1)) {
      m->to[w] = (int)step;
      memcpy(m->last + w * square, m->now + w * square, square * sizeof *m->now);
    }
    m->standing[w] = m->standing[w] && stands ? PETSC_TRUE : PETSC_FALSE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantModesRestart - Growth is counted from this step, which was the last one kept, where the mode still
  stands: what a multistep method does at the beginning is left out.
*/
void CourantModesRestart(CourantModes m, PetscInt step)
{
  const size_t square = m->fields * m->fields;

  for (size_t w = 0; w < m->half; w++) {
    if (!m->standing[w]) continue;
    m->from[w] = (int)step;
    memcpy(m->first + w * square, m->now + w * square, square * sizeof *m->now);
  }
}

/* Place in half the grid of the frequency (y, x) of CourantModesFrequency(), or of its negative. */
static size_t HalfPlace(CourantScheme scheme, PetscInt y, PetscInt x)
{
  const PetscInt ny = scheme->points[0], nx = scheme->points[1];
  PetscInt ky = y - ny / 2, kx = x - nx / 2;

  if (kx < 0) ky = -ky, kx = -kx;
  return (size_t)((ky + ny) % ny * (nx / 2 + 1) + kx);
}

/* The whole grid [ny,nx], from -pi up, of values on half of it. */
static void Unfold(CourantScheme scheme, const double half[], double whole[])
{
  for (PetscInt y = 0; y < scheme->points[0]; y++)
    for (PetscInt x = 0; x < scheme->points[1]; x++)
      whole[y * scheme->points[1] + x] = half[HalfPlace(scheme, y, x)];
}

/*
  CourantModesGetGrowth - Measured growth per step, rho(U_n U_0^-1)^(1/n) [ny,nx] from -pi up, and the n of
  each; NaN and 0 where a start has nothing of the mode.
*/
PetscErrorCode CourantModesGetGrowth(CourantModes m, double growth[], int steps[])
{
  const size_t square = m->fields * m->fields;
  double *half;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(m->half, &half));
  for (size_t w = 0; w < m->half; w++) {
    const int n = m->to[w] - m->from[w];
    half[w] = NAN;
    if (n > 0)
      PetscCall(PropagatorRadius((PetscInt)m->fields, m->first + w * square, m->last + w * square, &half[w]));
    if (n > 0) half[w] = pow(half[w], 1 / (double)n);
  }
  Unfold(m->scheme, half, growth);
  for (PetscInt y = 0; y < m->scheme->points[0]; y++)
    for (PetscInt x = 0; x < m->scheme->points[1]; x++) {
      const size_t w = HalfPlace(m->scheme, y, x);
      steps[y * m->scheme->points[1] + x] = PetscMax(0, m->to[w] - m->from[w]);
    }
  PetscCall(PetscFree(half));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- predicted ---- */

/*
  CourantSchemePredictGrowth - The same as von Neumann's analysis has it, rho(R(dt A(phase))), [ny,nx]; of a
  multistep method the largest asymptotic growth of an eigenvalue.
*/
PetscErrorCode CourantSchemePredictGrowth(CourantScheme scheme, CourantStepper stepper, double growth[])
{
  const PetscInt ny = scheme->points[0], nx = scheme->points[1], columns = nx / 2 + 1;
  const PetscInt f = scheme->fields, n = ny * columns * f;
  double complex symbol[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX], *z;
  double *g, *half;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(n, &z, n, &g));
  PetscCall(PetscCalloc1(ny * columns, &half));
  for (PetscInt w = 0; w < ny * columns; w++) {
    const double phase[2] = {2 * M_PI * (double)(w / columns) / (double)ny,
                             2 * M_PI * (double)(w % columns) / (double)nx};
    CourantSchemeSymbol(scheme, scheme->step, phase, symbol);
    PetscCall(CourantDenseEigenvalues(f, symbol, z + w * f));
    for (PetscInt j = 0; j < f; j++) z[w * f + j] *= scheme->step;
  }
  PetscCall(CourantStepperComputeGrowth(stepper, n, z, g));
  for (PetscInt k = 0; k < n; k++)
    if (g[k] > half[k / f] || isnan(g[k])) half[k / f] = g[k];
  Unfold(scheme, half, growth);
  PetscCall(PetscFree2(z, g));
  PetscCall(PetscFree(half));
  PetscFunctionReturn(PETSC_SUCCESS);
}
