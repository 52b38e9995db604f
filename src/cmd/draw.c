#include "cmd/draw.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CURVE = 12, LINE = 9 }; /* rows */

/* CourantDrawPick - Index i of n places along m values, ends on ends. */
PetscInt CourantDrawPick(PetscInt i, PetscInt n, PetscInt m)
{
  return n > 1 ? (i * (m - 1) + (n - 1) / 2) / (n - 1) : 0;
}

/* ---- amplification over frequencies ---- */

/* Largest of the finite values in the i-th of m equal parts of n places; peaks survive being thinned out. */
static double Peak(PetscInt i, PetscInt m, PetscInt n, const double values[])
{
  double peak = -INFINITY;
  for (PetscInt k = i * n / m; k < (i + 1) * n / m; k++)
    if (values[k] > peak) peak = values[k];
  return peak;
}

/* CourantDrawAxis - Below a picture: a line, and the values at its ends. */
void CourantDrawAxis(PetscInt width, double from, double to, const char name[])
{
  char first[16], last[16];

  printf("%10s +", "");
  for (PetscInt c = 0; c < width; c++) putchar('-');
  snprintf(first, sizeof first, "%.4g", from);
  snprintf(last, sizeof last, "%.4g", to);
  const int room = (int)width - (int)strlen(first), needed = (int)strlen(last) + 1;
  printf("\n%10s  %s%*s  %s\n", "", first, PetscMax(room, needed), last, name);
}

/* CourantDrawCurve - y [n] over x [n] with stars, and a line at a level. */
void CourantDrawCurve(PetscInt n, const double x[], const double y[], double level)
{
  const PetscInt width = PetscMin(COURANT_DRAW_WIDTH, n);
  double low = level, high = level;

  for (PetscInt i = 0; i < n; i++) {
    if (y[i] < low) low = y[i];
    if (y[i] > high && isfinite(y[i])) high = y[i];
  }
  if (high == low) low = high - 1;
  for (int r = 0; r <= CURVE; r++) {
    const double here = high - (high - low) * r / CURVE, half = (high - low) / CURVE / 2;
    const PetscBool line = fabs(level - here) <= half * (1 + 1e-9) ? PETSC_TRUE : PETSC_FALSE;
    printf("%10.4g |", line ? level : here);
    for (PetscInt c = 0; c < width; c++) {
      const double value = Peak(c, width, n, y);
      const int row = value >= high ? 0 : (int)rint((high - value) / (high - low) * CURVE);
      putchar(row == r ? '*' : line ? '-' : ' ');
    }
    printf("\n");
  }
  CourantDrawAxis(width, x[0], x[n - 1], "frequency");
}

/* CourantDrawPlane - values [ny,nx] from 0 to 1 by tenths, and # above 1; y upwards. */
void CourantDrawPlane(PetscInt ny, PetscInt nx, const double y[], const double x[], const double values[])
{
  static const char shades[] = "0123456789";
  const PetscInt width = PetscMin(COURANT_DRAW_WIDTH, nx), height = PetscMin(COURANT_DRAW_HEIGHT, ny);

  for (PetscInt r = height - 1; r >= 0; r--) {
    printf("%10.4g |", y[r * ny / height]);
    for (PetscInt c = 0; c < width; c++) {
      double value = 0;
      for (PetscInt k = r * ny / height; k < (r + 1) * ny / height; k++)
        value = fmax(value, Peak(c, width, nx, values + k * nx));
      putchar(value > 1 + 1e-12 ? '#' : shades[(int)fmin(9, 10 * value)]);
    }
    printf("\n");
  }
  CourantDrawAxis(width, x[0], x[nx - 1], "frequency");
  printf("%10s  digits: |G| in tenths, 9 up to 1; # above 1\n", "");
}

/* ---- a field on a grid ---- */

/* The largest |u|; 1 where all is 0. */
static double Largest(PetscInt n, const double u[])
{
  double largest = 0;
  for (PetscInt i = 0; i < n; i++) largest = fmax(largest, fabs(u[i]));
  return largest > 0 ? largest : 1;
}

/* A curve, 0 in the middle. */
static void DrawLine(PetscInt n, const double u[], double largest)
{
  const PetscInt width = PetscMin(COURANT_DRAW_WIDTH, n), middle = LINE / 2;

  for (PetscInt r = 0; r < LINE; r++) {
    const double label = r == 0 ? largest : r == middle ? 0 : -largest;
    if (r == 0 || r == middle || r == LINE - 1)
      printf("%10.3g |", label);
    else
      printf("%10s |", "");
    for (PetscInt c = 0; c < width; c++) {
      const double value = u[CourantDrawPick(c, width, n)];
      putchar(middle - (PetscInt)rint(value / largest * (double)middle) == r ? '*' : r == middle ? '.' : ' ');
    }
    printf("\n");
  }
}

/* Shades of u from its smallest value to its largest. */
static void DrawPlane(PetscInt ny, PetscInt nx, const double u[])
{
  static const char shades[] = " .:-=+*#%@";
  const int last = (int)sizeof shades - 2;
  const PetscInt height = PetscMin(COURANT_DRAW_HEIGHT, ny), width = PetscMin(COURANT_DRAW_WIDTH, nx);
  double low = u[0], high = u[0];

  for (PetscInt i = 0; i < ny * nx; i++) {
    low = fmin(low, u[i]);
    high = fmax(high, u[i]);
  }
  for (PetscInt r = 0; r < height; r++) {
    printf("           |");
    for (PetscInt c = 0; c < width; c++) {
      const double value =
          u[CourantDrawPick(height - 1 - r, height, ny) * nx + CourantDrawPick(c, width, nx)];
      putchar(shades[high > low ? (int)rint((value - low) / (high - low) * last) : 0]);
    }
    printf("|\n");
  }
  printf("           from '%c' %.3g to '%c' %.3g\n", shades[0], low, shades[last], high);
}

/* CourantDrawField - One field u [ny,nx] on a grid, y upwards; a curve where ny is 1. */
void CourantDrawField(PetscInt ny, PetscInt nx, const double u[])
{
  if (ny == 1)
    DrawLine(nx, u, Largest(nx, u));
  else
    DrawPlane(ny, nx, u);
}
