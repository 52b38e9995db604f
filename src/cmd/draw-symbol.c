#include "cmd/draw-symbol.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 64, CURVE = 12, PLANE = 24 };

/* Largest of the finite values in the i-th of m equal parts of n places; peaks survive being thinned out. */
static double Peak(PetscInt i, PetscInt m, PetscInt n, const double values[])
{
  double peak = -INFINITY;
  for (PetscInt k = i * n / m; k < (i + 1) * n / m; k++)
    if (values[k] > peak) peak = values[k];
  return peak;
}

static void DrawAxis(PetscInt width, double from, double to)
{
  char first[16], last[16];

  printf("%10s +", "");
  for (PetscInt c = 0; c < width; c++) putchar('-');
  snprintf(first, sizeof first, "%.4g", from);
  snprintf(last, sizeof last, "%.4g", to);
  printf("\n%10s  %s%*s  frequency\n", "", first, (int)PetscMax(1, width - (PetscInt)strlen(first)), last);
}

/* CourantDrawCurve - y [n] over x [n] with stars, and a line at a level. */
void CourantDrawCurve(PetscInt n, const double x[], const double y[], double level)
{
  const PetscInt width = PetscMin(WIDTH, n);
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
  DrawAxis(width, x[0], x[n - 1]);
}

/* CourantDrawPlane - values [ny,nx] from 0 to 1 by tenths, and # above 1; y upwards. */
void CourantDrawPlane(PetscInt ny, PetscInt nx, const double y[], const double x[], const double values[])
{
  static const char shades[] = "0123456789";
  const PetscInt width = PetscMin(WIDTH, nx), height = PetscMin(PLANE, ny);

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
  DrawAxis(width, x[0], x[nx - 1]);
  printf("%10s  digits: |G| in tenths, 9 up to 1; # above 1\n", "");
}
