#include "pde/stencil.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/*
  Differences along one axis: weight_j = numerator_j / (denominator h^order) at the offsets first, first + 1,
  .. Upwind ones are for a negative coefficient in u_t = coefficient u_x, where what comes comes from the
  left; a positive one mirrors them. Fornberg 1988, "Generation of finite difference formulas on arbitrarily
  spaced grids"; upwind3 is that of the third-order upwind-biased scheme.
*/
static const struct {
  int order; /* of the derivative */
  const char *scheme;
  int first, n;
  double denominator, numerator[7];
} differences[] = {
    {1, "centred", -1, 3, 2, {-1, 0, 1}},
    {2, "centred", -1, 3, 1, {1, -2, 1}},
    {3, "centred", -2, 5, 2, {-1, 2, 0, -2, 1}},
    {4, "centred", -2, 5, 1, {1, -4, 6, -4, 1}},
    {1, "centred4", -2, 5, 12, {1, -8, 0, 8, -1}},
    {2, "centred4", -2, 5, 12, {-1, 16, -30, 16, -1}},
    {3, "centred4", -3, 7, 8, {1, -8, 13, 0, -13, 8, -1}},
    {4, "centred4", -3, 7, 6, {-1, 12, -39, 56, -39, 12, -1}},
    {1, "upwind", -1, 2, 1, {-1, 1}},
    {1, "upwind2", -2, 3, 2, {1, -4, 3}},
    {1, "upwind3", -2, 4, 6, {1, -6, 3, 2}},
};

const char *const CourantStencilSchemes[] = {"centred", "centred4", "upwind", "upwind2", "upwind3"};
const int CourantStencilSchemeCount = PETSC_STATIC_ARRAY_LENGTH(CourantStencilSchemes);

/* In one dimension the parts along y fall away, and with all of its parts the name. */
static const struct {
  const char *name;
  CourantOperator operator;
} derivatives[] = {
    {"laplacian", {2, {{0, 2, 1}, {2, 0, 1}}}},
    {"dx", {1, {{0, 1, 1}}}},
    {"dxx", {1, {{0, 2, 1}}}},
    {"dxxx", {1, {{0, 3, 1}}}},
    {"dxxxx", {1, {{0, 4, 1}}}},
    {"dy", {1, {{1, 0, 1}}}},
    {"dyy", {1, {{2, 0, 1}}}},
    {"dyyy", {1, {{3, 0, 1}}}},
    {"dyyyy", {1, {{4, 0, 1}}}},
    {"dxdy", {1, {{1, 1, 1}}}},
    {"bilaplacian", {3, {{0, 4, 1}, {2, 2, 2}, {4, 0, 1}}}},
    {"identity", {1, {{0, 0, 1}}}},
};

static CourantOperator InDimension(const CourantOperator *full, PetscInt dimension)
{
  CourantOperator result = {0};

  for (int k = 0; k < full->n; k++)
    if (dimension == 2 || full->part[k].y == 0) result.part[result.n++] = full->part[k];
  return result;
}

/* CourantStencilDerivatives - Their names, at most 16. */
int CourantStencilDerivatives(PetscInt dimension, const char *names[])
{
  int n = 0;

  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(derivatives); i++)
    if (InDimension(&derivatives[i].operator, dimension).n) names[n++] = derivatives[i].name;
  return n;
}

static CourantOperator FindDerivative(PetscInt dimension, const char *name)
{
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(derivatives); i++)
    if (!strcmp(derivatives[i].name, name)) return InDimension(&derivatives[i].operator, dimension);
  return (CourantOperator){0};
}

PetscBool CourantStencilIsUpwind(const char scheme[])
{
  return strncmp(scheme, "upwind", 6) ? PETSC_FALSE : PETSC_TRUE;
}

/* The difference along one axis; the 0th derivative is the point itself. */
static PetscBool Difference(int order, const char *scheme, double h, PetscBool mirror, int *n, int offset[],
                            double weight[])
{
  *n = 1;
  offset[0] = 0;
  weight[0] = 1;
  if (order == 0) return PETSC_TRUE;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(differences); i++) {
    if (differences[i].order != order || strcmp(differences[i].scheme, scheme)) continue;
    const double scale = differences[i].denominator * pow(mirror ? -h : h, order);
    *n = differences[i].n;
    for (int j = 0; j < *n; j++) {
      offset[j] = (mirror ? -1 : 1) * (differences[i].first + j);
      weight[j] = differences[i].numerator[j] / scale;
    }
    return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

static void Add(CourantStencil *stencil, int y, int x, double weight)
{
  int j = 0;

  while (j < stencil->n && (stencil->offset[j][0] != y || stencil->offset[j][1] != x)) j++;
  if (j == stencil->n) {
    stencil->offset[j][0] = y;
    stencil->offset[j][1] = x;
    stencil->weight[j] = 0;
    stencil->n++;
  }
  stencil->weight[j] += weight;
}

/*
  CourantStencilGet - The stencil of a derivative by a scheme: of each part the product of its differences
  along y and x.

  spacing is [dy, dx]; the sign of coefficient is the wind's. False: the scheme has none for this derivative.
*/
PetscBool CourantStencilGet(PetscInt dimension, const char derivative[], const char scheme[],
                            const double spacing[2], double coefficient, CourantStencil *stencil)
{
  const CourantOperator claimed = FindDerivative(dimension, derivative);
  const PetscBool mirror = CourantStencilIsUpwind(scheme) && coefficient > 0 ? PETSC_TRUE : PETSC_FALSE;
  int ny, nx, y[7], x[7];
  double wy[7], wx[7];

  *stencil = (CourantStencil){0};
  for (int k = 0; k < claimed.n; k++) {
    if (CourantStencilIsUpwind(scheme) && claimed.part[k].y + claimed.part[k].x != 1) return PETSC_FALSE;
    if (!Difference(claimed.part[k].y, scheme, spacing[0], mirror, &ny, y, wy) ||
        !Difference(claimed.part[k].x, scheme, spacing[1], mirror, &nx, x, wx))
      return PETSC_FALSE;
    for (int i = 0; i < ny; i++)
      for (int j = 0; j < nx; j++)
        if (wy[i] * wx[j] != 0) Add(stencil, y[i], x[j], claimed.part[k].factor * wy[i] * wx[j]);
  }
  return stencil->n ? PETSC_TRUE : PETSC_FALSE;
}

/* sum_j weight_j (offset_j h)^(y,x) / (y! x!), the factor of d^y/dy^y d^x/dx^x; 0 where it is rounding. */
static double Moment(const CourantStencil *stencil, const double *weight, const double spacing[2], int y,
                     int x)
{
  double sum = 0, size = 0;

  for (int j = 0; j < stencil->n; j++) {
    const double term = weight[j] * pow(stencil->offset[j][0] * spacing[0], y) *
                        pow(stencil->offset[j][1] * spacing[1], x) / (tgamma(y + 1) * tgamma(x + 1));
    sum += term;
    size += fabs(term);
  }
  return fabs(sum) > 1e-11 * size || isnan(sum) ? sum : 0;
}

enum { TOTAL = 12 }; /* derivatives looked at */

/*
  CourantStencilIdentify - What a stencil approximates, by its moments: the factors of the derivatives in the
  Taylor expansion of what it gives of a smooth function.

  fine is NULL for weights that are meant for this spacing alone, which then go as h^-k, k the lowest
  derivative present; else the weights at 2^-20 and 2^-21 of the spacing, whose moments tell the powers of h.
*/
void CourantStencilIdentify(const CourantStencil *stencil, const double spacing[2], const double (*fine)[2],
                            CourantApproximation *result)
{
  double weight[2][COURANT_STENCIL_MAX];
  const double scale[2] = {fine ? ldexp(1, -20) : 1, fine ? ldexp(1, -21) : 1};
  int lowest = -1;

  *result = (CourantApproximation){.order = INFINITY};
  for (int j = 0; j < stencil->n; j++)
    for (int k = 0; k < 2; k++) weight[k][j] = fine ? fine[j][k] : stencil->weight[j];
  for (int total = 0; total <= TOTAL; total++)
    for (int x = total; x >= 0; x--) {
      double moment[2];
      for (int k = 0; k < 2; k++)
        moment[k] = Moment(stencil, weight[k], (double[]){scale[k] * spacing[0], scale[k] * spacing[1]},
                           total - x, x);
      if (moment[1] == 0) continue;
      if (lowest < 0) lowest = total;
      const double power = fine ? log2(fabs(moment[0] / moment[1])) : total - lowest;
      if (power > 0.01) {
        result->order = fmin(result->order, rint(100 * power) / 100);
        continue;
      }
      if (!(power >= -0.01) || result->operator.n == COURANT_PARTS_MAX) { /* grows as h goes to 0 */
        result->operator.n = 0;
        return;
      }
      result->operator.part[result->operator.n].y = total - x;
      result->operator.part[result->operator.n].x = x;
      result->operator.part[result->operator.n++].factor = moment[1];
    }
}

static double FactorOf(const CourantOperator *operator, int y, int x)
{
  for (int k = 0; k < operator->n; k++)
    if (operator->part[k].y == y && operator->part[k].x == x) return operator->part[k].factor;
  return 0;
}

/* CourantApproximationIs - Is it the derivative of this name? */
PetscBool CourantApproximationIs(const CourantApproximation *found, PetscInt dimension,
                                 const char derivative[])
{
  const CourantOperator claimed = FindDerivative(dimension, derivative);

  if (found->operator.n != claimed.n) return PETSC_FALSE;
  for (int k = 0; k < claimed.n; k++) {
    const double factor = claimed.part[k].factor;
    if (!(fabs(FactorOf(&found->operator, claimed.part[k].y, claimed.part[k].x) - factor) <= 1e-5 * factor))
      return PETSC_FALSE;
  }
  return PETSC_TRUE;
}

/* CourantApproximationText - "dx of order 2", "no derivative"; written to text and returned. */
const char *CourantApproximationText(const CourantApproximation *found, char text[], size_t size)
{
  size_t n = 0;

  if (found->operator.n == 0) snprintf(text, size, "no derivative");
  for (int k = 0; k < found->operator.n && n<size; k++) {
    const double factor = found->operator.part[k].factor;
    const int y = found->operator.part[k].y, x = found->operator.part[k].x;
    const PetscBool one = fabs(fabs(factor) - 1) < 1e-5 ? PETSC_TRUE : PETSC_FALSE;
    n += (size_t)snprintf(text + n, size - n, "%s", factor < 0 ? (k ? " - " : "-") : k ? " + " : "");
    if (!one && n < size) n += (size_t)snprintf(text + n, size - n, "%.4g ", fabs(factor));
    if (n < size)
      n += (size_t)snprintf(text + n, size - n, "%s%.*s%s%.*s", x ? "d" : "", x, "xxxxxxxxxxxx", y ? "d" : "",
                            y, "yyyyyyyyyyyy");
    if (x + y == 0 && n < size) n += (size_t)snprintf(text + n, size - n, "identity");
  }
  if (found->operator.n && n<size) {
    if (isinf(found->order))
      snprintf(text + n, size - n, ", exactly");
    else
      snprintf(text + n, size - n, " of order %g", found->order);
  }
  return text;
}
