/*
  Where a trigonometric polynomial p(w) = sum_d R(d) cos(w . d), |d| <= degree, is largest.

  It comes as its values [h,w/2+1] at the frequencies 2 pi (y/h, x/w) of a real transform, p(-w) = p(w). A
  grid of more than 2 degree + 1 points determines R, so that p is known everywhere: the grid's largest peaks
  are climbed by Newton's method. Of a sum of |I^(w)|^2, on a grid of twice the image, p <= 4 max_grid p
  (Ehlich and Zeller 1964: an |I^| rises by less than sqrt(2) in each direction), so that lower peaks need no
  climb.
*/
#include "stability/supremum.h"
#include "core/memory.h"
#include <fftw3.h>
#include <float.h>
#include <math.h>

enum { PEAKS = 64, NEWTON = 20 };

typedef struct {
  const int *grid, *degree;
  double *coefficients; /* [h,w], R(d) at d mod the grid */
  double *half;         /* [h,w/2+1] complex */
  double *phase[2];     /* cos and sin of w_x d_x, [2 degree_x + 1] */
  double rounding;      /* of a value */
} Polynomial;

static PetscErrorCode Create(const int grid[2], const int degree[2], const double values[], Polynomial *p)
{
  const size_t h = (size_t)grid[0], w = (size_t)grid[1], half = h * (w / 2 + 1);

  PetscFunctionBeginUser;
  *p = (Polynomial){.grid = grid, .degree = degree};
  PetscCall(CourantAllocate(sizeof(double) * h * w, &p->coefficients));
  PetscCall(CourantAllocate(sizeof(double) * 2 * half, &p->half));
  for (int i = 0; i < 2; i++)
    PetscCall(CourantAllocate(sizeof(double) * (2 * (size_t)degree[1] + 1), &p->phase[i]));
  fftw_plan plan =
      fftw_plan_dft_c2r_2d(grid[0], grid[1], (fftw_complex *)p->half, p->coefficients, FFTW_ESTIMATE);
  for (size_t i = 0; i < half; i++) {
    p->half[2 * i] = values[i] / ((double)h * (double)w);
    p->half[2 * i + 1] = 0;
  }
  fftw_execute(plan);
  fftw_destroy_plan(plan);
  for (size_t i = 0; i < h * w; i++) p->rounding += DBL_EPSILON * fabs(p->coefficients[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Destroy(Polynomial *p)
{
  CourantFree(&p->coefficients);
  CourantFree(&p->half);
  for (int i = 0; i < 2; i++) CourantFree(&p->phase[i]);
}

/* sum_dx R(dy,dx) dx^k e^{i w_x dx} for k = 0, 1, 2, from the phases: re and im in turn. */
static void SumRow(const Polynomial *p, int dy, double sum[6])
{
  const int n = p->degree[1], w = p->grid[1];
  const double *row = p->coefficients + (size_t)((dy + p->grid[0]) % p->grid[0]) * (size_t)w;

  for (int k = 0; k < 6; k++) sum[k] = 0;
  for (int dx = -n; dx <= n; dx++) {
    const double r = row[dx < 0 ? dx + w : dx], c = r * p->phase[0][dx + n], s = r * p->phase[1][dx + n];
    sum[0] += c;
    sum[1] += s;
    sum[2] += dx * c;
    sum[3] += dx * s;
    sum[4] += (double)dx * dx * c;
    sum[5] += (double)dx * dx * s;
  }
}

/* p at w, its gradient, and its second derivatives yy, yx, xx. */
static double Evaluate(const Polynomial *p, const double at[2], double gradient[2], double second[3])
{
  double value = 0, sum[6];

  gradient[0] = gradient[1] = second[0] = second[1] = second[2] = 0;
  for (int dx = -p->degree[1]; dx <= p->degree[1]; dx++) {
    p->phase[0][dx + p->degree[1]] = cos(at[1] * dx);
    p->phase[1][dx + p->degree[1]] = sin(at[1] * dx);
  }
  for (int dy = -p->degree[0]; dy <= p->degree[0]; dy++) {
    const double c = cos(at[0] * dy), s = sin(at[0] * dy);
    SumRow(p, dy, sum);
    const double re = c * sum[0] - s * sum[1], im = c * sum[1] + s * sum[0];
    value += re;
    gradient[0] -= dy * im;
    gradient[1] -= c * sum[3] + s * sum[2];
    second[0] -= (double)dy * dy * re;
    second[1] -= dy * (c * sum[2] - s * sum[3]);
    second[2] -= c * sum[4] - s * sum[5];
  }
  return value;
}

/*
  Newton's step to a maximum near by; along one axis where p bends down along that alone, as for an image of
  one row. False: there is none.
*/
static PetscBool StepUphill(const double gradient[2], const double second[3], double move[2])
{
  const double determinant = second[0] * second[2] - second[1] * second[1];
  const int axis = second[2] < second[0] ? 1 : 0;

  move[0] = move[1] = 0;
  if (second[0] < 0 && determinant > 0) {
    move[0] = -(second[2] * gradient[0] - second[1] * gradient[1]) / determinant;
    move[1] = -(second[0] * gradient[1] - second[1] * gradient[0]) / determinant;
    return PETSC_TRUE;
  }
  if (!(second[2 * axis] < 0)) return PETSC_FALSE;
  move[axis] = -gradient[axis] / second[2 * axis];
  return PETSC_TRUE;
}

/* Newton's method uphill from a grid point; the best point seen. */
static CourantSymbolPeak Climb(const Polynomial *p, const double from[2])
{
  CourantSymbolPeak best = {.value = -INFINITY};
  double at[2] = {from[0], from[1]}, gradient[2], second[3], move[2];

  for (int step = 0; step < NEWTON; step++) {
    const double value = Evaluate(p, at, gradient, second);
    if (value <= best.value) break;
    best.value = value;
    best.error = 0;
    best.frequency[0] = at[0];
    best.frequency[1] = at[1];
    if (!StepUphill(gradient, second, move)) break;
    best.error = 0.5 * (gradient[0] * move[0] + gradient[1] * move[1]); /* what the step is to gain */
    if (best.error <= DBL_EPSILON * fabs(value)) break;
    at[0] += move[0];
    at[1] += move[1];
  }
  best.error += p->rounding;
  return best;
}

static PetscBool IsLocalMaximum(const int grid[2], const double values[], int y, int x)
{
  const int columns = grid[1] / 2 + 1;
  const double here = values[y * columns + x];

  for (int dy = -1; dy <= 1; dy++)
    for (int dx = -1; dx <= 1; dx++)
      if (x + dx >= 0 && x + dx < columns && values[(y + dy + grid[0]) % grid[0] * columns + x + dx] > here)
        return PETSC_FALSE;
  return PETSC_TRUE;
}

/* The highest peak of the grid below `last`, not below `least`; -1: there is none. */
static int NextPeak(const int grid[2], const double values[], double last, double least)
{
  const int columns = grid[1] / 2 + 1;
  int next = -1;

  for (int i = 0; i < grid[0] * columns; i++)
    if (values[i] < last && values[i] >= least && (next < 0 || values[i] > values[next]) &&
        IsLocalMaximum(grid, values, i / columns, i % columns))
      next = i;
  return next;
}

static double Wrapped(double w)
{
  const double near = w - 2 * M_PI * ceil((w - M_PI) / (2 * M_PI));
  return fabs(near) < 1e-12 ? 0 : near;
}

/* Of w and -w the one in the right half plane, in (-pi, pi]. */
static void Normalise(double w[2])
{
  const double x = Wrapped(w[1]), sign = x < 0 || (x == 0 && Wrapped(w[0]) < 0) ? -1 : 1;
  w[0] = Wrapped(sign * w[0]);
  w[1] = Wrapped(sign * w[1]);
}

/*
  CourantGridPeak - The largest of values [h,w/2+1], of which
  every stride-th row and column counts, and its frequency.
*/
PetscErrorCode CourantGridPeak(const int grid[2], int stride, const double values[], CourantSymbolPeak *peak)
{
  const int columns = grid[1] / 2 + 1;
  double size = 0;

  PetscFunctionBeginUser;
  *peak = (CourantSymbolPeak){.value = -INFINITY};
  for (int y = 0; y < grid[0]; y += stride)
    for (int x = 0; x < columns; x += stride) {
      const double value = values[y * columns + x];
      size = fmax(size, fabs(value));
      if (value <= peak->value) continue;
      *peak =
          (CourantSymbolPeak){.value = value, .frequency = {2 * M_PI * y / grid[0], 2 * M_PI * x / grid[1]}};
    }
  peak->error = DBL_EPSILON * log2(4. * grid[0] * grid[1]) * size; /* of the transforms */
  Normalise(peak->frequency);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantPolynomialPeak - The supremum over continuous frequencies of the polynomial with these values
  [h,w/2+1]; never less than the largest of them.

  error: what Newton's last step was still to gain, and rounding.
*/
PetscErrorCode CourantPolynomialPeak(const int grid[2], const int degree[2], const double values[],
                                     CourantSymbolPeak *peak)
{
  const int columns = grid[1] / 2 + 1;
  double size = 0, last = INFINITY;
  Polynomial p;

  PetscFunctionBeginUser;
  PetscCall(CourantGridPeak(grid, 1, values, peak));
  for (int i = 0; i < grid[0] * columns; i++) size = fmax(size, fabs(values[i]));
  const double least = peak->value - 0.75 * size;
  PetscCall(Create(grid, degree, values, &p));
  for (int n = 0; n < PEAKS; n++) {
    const int next = NextPeak(grid, values, last, least);
    if (next < 0) break;
    last = values[next];
    const double from[2] = {2 * M_PI * (next / columns) / grid[0], 2 * M_PI * (next % columns) / grid[1]};
    const CourantSymbolPeak climbed = Climb(&p, from);
    if (climbed.value > peak->value || n == 0) {
      const double value = fmax(peak->value, climbed.value);
      *peak = climbed;
      peak->value = value;
    }
  }
  Normalise(peak->frequency);
  Destroy(&p);
  PetscFunctionReturn(PETSC_SUCCESS);
}
