#include "stability/modes.h"
#include "core/memory.h"
#include <fftw3.h>
#include <math.h>
#include <petscblaslapack.h>
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

/* ---- small complex matrices, as real ones of twice the size: real PETSc declares no complex LAPACK ---- */

enum { WIDE = 2 * COURANT_FIELDS_MAX };

static void Embed(size_t f, const double complex m[], double real[])
{
  for (size_t i = 0; i < f; i++)
    for (size_t j = 0; j < f; j++) {
      const double complex value = m[i * f + j];
      real[i * 2 * f + j] = real[(i + f) * 2 * f + j + f] = creal(value);
      real[(i + f) * 2 * f + j] = cimag(value);
      real[i * 2 * f + j + f] = -cimag(value);
    }
}

/* Eigenvalues of an embedded matrix, which is destroyed: those of the complex one, and their conjugates. */
static PetscErrorCode Eigenvalues(size_t f, double real[], double re[], double im[])
{
  const PetscBLASInt n = (PetscBLASInt)(2 * f), one = 1, size = 8 * WIDE;
  double work[8 * WIDE];
  PetscBLASInt info;

  PetscFunctionBeginUser;
  LAPACKgeev_("N", "N", &n, real, &n, re, im, NULL, &one, NULL, &one, work, &size, &info);
  PetscCheck(info == 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK's geev: info %d", (int)info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* rho(last first^-1). Both sides are transposed, as LAPACK has them by columns: rho does not mind. */
static PetscErrorCode PropagatorRadius(size_t f, const double complex first[], const double complex last[],
                                       double *radius)
{
  const PetscBLASInt n = (PetscBLASInt)(2 * f);
  PetscBLASInt pivots[WIDE], info;
  double a[WIDE * WIDE], b[WIDE * WIDE], re[WIDE], im[WIDE];

  PetscFunctionBeginUser;
  *radius = NAN;
  Embed(f, first, a);
  Embed(f, last, b);
  LAPACKgesv_(&n, &n, a, &n, pivots, b, &n, &info);
  if (info) PetscFunctionReturn(PETSC_SUCCESS); /* the starts are not independent here */
  PetscCall(Eigenvalues(f, b, re, im));
  *radius = 0;
  for (size_t k = 0; k < 2 * f; k++) *radius = fmax(*radius, hypot(re[k], im[k]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- measured ---- */

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
    if (n > 0) PetscCall(PropagatorRadius(m->fields, m->first + w * square, m->last + w * square, &half[w]));
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
  const size_t f = (size_t)scheme->fields;
  double complex symbol[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX];
  double real[WIDE * WIDE], re[WIDE], im[WIDE], *z_re, *z_im, *g, *half;
  PetscInt n = 0, *place;

  PetscFunctionBeginUser;
  const size_t most = (size_t)(ny * columns) * 2 * f;
  PetscCall(PetscMalloc4(most, &z_re, most, &z_im, most, &g, most, &place));
  PetscCall(PetscCalloc1(ny * columns, &half));
  for (PetscInt w = 0; w < ny * columns; w++) {
    const double phase[2] = {2 * M_PI * (double)(w / columns) / (double)ny,
                             2 * M_PI * (double)(w % columns) / (double)nx};
    CourantSchemeSymbol(scheme, scheme->step, phase, symbol);
    Embed(f, symbol, real);
    PetscCall(Eigenvalues(f, real, re, im));
    for (size_t k = 0; k < 2 * f; k++) {
      if (im[k] < 0) continue; /* |R| is the same at the conjugate */
      z_re[n] = scheme->step * re[k];
      z_im[n] = scheme->step * im[k];
      place[n++] = w;
    }
  }
  PetscCall(CourantStepperComputeGrowth(stepper, n, z_re, z_im, g));
  for (PetscInt k = 0; k < n; k++)
    if (g[k] > half[place[k]] || isnan(g[k])) half[place[k]] = g[k];
  Unfold(scheme, half, growth);
  PetscCall(PetscFree4(z_re, z_im, g, place));
  PetscCall(PetscFree(half));
  PetscFunctionReturn(PETSC_SUCCESS);
}
