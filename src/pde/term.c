/* Terms of a linear PDE: a coefficient or matrix times a stencil. */
#include "pde/term.h"
#include <math.h>
#include <string.h>

enum { DT, DX, DY, C, NAMES };

static const char *const names[][NAMES] = {{"dt", "dx", NULL, "c"}, {"dt", "dx", "dy", "c"}};

typedef struct {
  CourantNode coefficient, matrix, offsets, weights;
  char derivative[COURANT_TEXT_SIZE], scheme[COURANT_TEXT_SIZE];
} Keys;

const CourantKey CourantTermKeys[] = {
    {"coefficient", COURANT_KEY_NODE, offsetof(Keys, coefficient), "",
     .help = "a number or an expression in dt, dx, dy; the name c of this term's weights (1)"},
    {"matrix", COURANT_KEY_NODE, offsetof(Keys, matrix), "",
     .help = "in its place for several fields, a list of rows: what each field gets from every field"},
    {"derivative", COURANT_KEY_TEXT, offsetof(Keys, derivative), "",
     .help = "which one it is; with offsets and weights, what they are checked against"},
    {"scheme", COURANT_KEY_TEXT, offsetof(Keys, scheme), "",
     .help = "its stencil (centred); the upwind ones look at the sign of the coefficient"},
    {"offsets", COURANT_KEY_NODE, offsetof(Keys, offsets), "",
     .help = "in place of a scheme: grid points from here, [j, ..] or [[jy, jx], ..]"},
    {"weights", COURANT_KEY_NODE, offsetof(Keys, weights), "",
     .help = "one for each offset: expressions in dt, dx, dy, c with + - * / ^ and parentheses; with dt the "
             "step is Euler's"},
    {0},
};

/* ---- reading ---- */

static PetscErrorCode ReadNumber(CourantNode node, double *value)
{
  CourantExpression number;

  PetscFunctionBeginUser;
  PetscCall(CourantExpressionRead(node, 0, NULL, &number));
  *value = CourantExpressionEvaluate(number, NULL);
  PetscCall(CourantExpressionDestroy(&number));
  if (!isfinite(*value)) CourantNodeError(node, "%s is not a number", CourantNodeText(node));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantReadPair(CourantNode node, PetscInt dimension, double values[2])
{
  const PetscInt first = 2 - dimension;
  PetscInt n = dimension;

  PetscFunctionBeginUser;
  if (!CourantNodeIsList(node)) {
    PetscCall(ReadNumber(node, &values[1]));
    if (dimension == 2) values[0] = values[1];
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CourantNodeCount(node, &n));
  if (n != dimension)
    CourantNodeError(node, "expected %s", dimension == 1 ? "a number" : "a number or [y, x]");
  for (PetscInt i = 0; i < n; i++) PetscCall(ReadNumber(CourantNodeItem(node, i), &values[first + i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantReadIntegerPair(CourantNode node, PetscInt dimension, PetscInt values[2])
{
  double numbers[2] = {(double)values[0], (double)values[1]};

  PetscFunctionBeginUser;
  PetscCall(CourantReadPair(node, dimension, numbers));
  for (int i = 0; i < 2; i++) {
    if (numbers[i] != rint(numbers[i])) CourantNodeError(node, "expected integers, not %g", numbers[i]);
    if (fabs(numbers[i]) > 1e8)
      CourantNodeError(node, "%g is out of range: expected integers up to 1e8", numbers[i]);
    values[i] = (PetscInt)numbers[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadExpression(CourantScheme scheme, CourantNode node, PetscBool with_c, CourantTerm *t,
                                     CourantExpression *expression)
{
  const char *known[NAMES];

  PetscFunctionBeginUser;
  memcpy(known, names[scheme->dimension - 1], sizeof known);
  if (!with_c) known[C] = NULL;
  PetscCall(CourantExpressionRead(node, NAMES, known, expression));
  if (CourantExpressionUses(*expression, DT)) t->by_step = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadMatrix(CourantScheme scheme, const Keys *keys, CourantTerm *t)
{
  const PetscInt fields = scheme->fields;
  PetscInt n;

  PetscFunctionBeginUser;
  if (keys->coefficient.id && keys->matrix.id)
    CourantNodeError(t->node, "expected either coefficient or matrix, not both");
  t->nentries = keys->matrix.id ? fields * fields : 1;
  PetscCall(PetscCalloc1(t->nentries, &t->entry));
  if (!keys->matrix.id) {
    if (keys->coefficient.id)
      PetscCall(ReadExpression(scheme, keys->coefficient, PETSC_FALSE, t, t->entry));
    else
      PetscCall(CourantExpressionParse(t->node, "1", 0, NULL, t->entry));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CourantNodeCount(keys->matrix, &n));
  if (n != fields)
    CourantNodeError(keys->matrix, "expected %d rows, one for each field, not %d", (int)fields, (int)n);
  for (PetscInt i = 0; i < fields; i++) {
    const CourantNode row = CourantNodeItem(keys->matrix, i);
    PetscCall(CourantNodeCount(row, &n));
    if (n != fields)
      CourantNodeError(row, "expected %d numbers, one for each field, not %d", (int)fields, (int)n);
    for (PetscInt j = 0; j < fields; j++)
      PetscCall(ReadExpression(scheme, CourantNodeItem(row, j), PETSC_FALSE, t, &t->entry[i * fields + j]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadWeights(CourantScheme scheme, const Keys *keys, CourantTerm *t)
{
  PetscInt n, m;

  PetscFunctionBeginUser;
  if (!keys->offsets.id || !keys->weights.id)
    CourantNodeError(t->node, "expected offsets and weights together");
  if (t->scheme[0]) CourantNodeError(t->node, "expected either scheme or offsets and weights, not both");
  PetscCall(CourantNodeCount(keys->offsets, &n));
  PetscCall(CourantNodeCount(keys->weights, &m));
  if (n < 1 || n > COURANT_STENCIL_MAX)
    CourantNodeError(keys->offsets, "expected 1 to %d offsets, not %d", COURANT_STENCIL_MAX, (int)n);
  if (m != n)
    CourantNodeError(keys->weights, "expected %d weights, one for each offset, not %d", (int)n, (int)m);
  t->stencil.n = (int)n;
  for (PetscInt j = 0; j < n; j++) {
    const CourantNode place = CourantNodeItem(keys->offsets, j);
    PetscInt offset[2] = {0, 0};
    if (scheme->dimension == 2 && !CourantNodeIsList(place))
      CourantNodeError(place, "expected [jy, jx], grid points along y and x");
    PetscCall(CourantReadIntegerPair(place, scheme->dimension, offset));
    for (int d = 0; d < 2; d++) t->stencil.offset[j][d] = (int)offset[d];
    PetscCall(ReadExpression(scheme, CourantNodeItem(keys->weights, j), t->nentries == 1, t, &t->weight[j]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SelectNames(CourantScheme scheme, CourantTerm *t)
{
  const char *derivatives[16];
  const int n = CourantStencilDerivatives(scheme->dimension, derivatives);
  int entry;

  PetscFunctionBeginUser;
  if (t->derivative[0]) PetscCall(CourantNodeSelect(t->node, "derivative", NULL, n, derivatives, &entry));
  if (t->scheme[0])
    PetscCall(
        CourantNodeSelect(t->node, "scheme", NULL, CourantStencilSchemeCount, CourantStencilSchemes, &entry));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetStencil(CourantScheme scheme, CourantTerm *t)
{
  PetscFunctionBeginUser;
  if (!t->derivative[0]) CourantNodeError(t->node, "expected a derivative, or offsets and weights");
  if (!t->scheme[0]) strcpy(t->scheme, "centred");
  if (CourantStencilIsUpwind(t->scheme) && t->nentries > 1)
    CourantNodeError(t->node, "%s needs the sign of a coefficient, which a matrix has not", t->scheme);
  if (!CourantStencilGet(scheme->dimension, t->derivative, t->scheme, scheme->spacing, t->matrix[0],
                         &t->stencil))
    CourantNodeError(t->node, "scheme %s has no stencil for %s", t->scheme, t->derivative);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Values of the names, at a fraction of the spacing. */
static void SetNames(CourantScheme scheme, const CourantTerm *t, double dt, double scale,
                     double values[NAMES])
{
  values[DT] = dt;
  values[DX] = scale * scheme->spacing[1];
  values[DY] = scale * scheme->spacing[0];
  values[C] = t->nentries == 1 ? CourantExpressionEvaluate(t->entry[0], values) : NAN;
}

static void EvaluateWeights(CourantScheme scheme, const CourantTerm *t, double dt, double scale,
                            double weight[])
{
  double values[NAMES];

  SetNames(scheme, t, dt, scale, values);
  for (int j = 0; j < t->stencil.n; j++) weight[j] = CourantExpressionEvaluate(t->weight[j], values);
}

/* The matrix of a term that is no product, [fields,fields]. */
static void EvaluateMatrix(CourantScheme scheme, const CourantTerm *t, double dt, double matrix[])
{
  const PetscInt fields = scheme->fields;
  double values[NAMES];

  SetNames(scheme, t, dt, 1, values);
  for (PetscInt i = 0; i < fields; i++)
    for (PetscInt j = 0; j < fields; j++)
      matrix[i * fields + j] = t->nentries > 1 ? CourantExpressionEvaluate(t->entry[i * fields + j], values)
                                               : (i == j ? values[C] : 0);
}

void CourantTermEvaluate(CourantScheme scheme, const CourantTerm *t, double dt, double matrix[],
                         double weight[])
{
  const size_t fields = (size_t)scheme->fields, bytes = sizeof(double) * (size_t)t->stencil.n;
  double a[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX], b[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX];

  memcpy(weight, t->stencil.weight, bytes);
  memcpy(matrix, t->matrix, sizeof(double) * fields * fields);
  if (!t->by_step) return;
  if (t->weight[0]) EvaluateWeights(scheme, t, dt, 1, weight);
  if (t->entry) {
    EvaluateMatrix(scheme, t, dt, matrix);
    return;
  }
  EvaluateMatrix(scheme, &scheme->terms[t->factor[0]], dt, a);
  EvaluateMatrix(scheme, &scheme->terms[t->factor[1]], dt, b);
  for (size_t i = 0; i < fields; i++)
    for (size_t j = 0; j < fields; j++) {
      double sum = 0;
      for (size_t k = 0; k < fields; k++) sum += a[i * fields + k] * b[k * fields + j];
      matrix[i * fields + j] = 0.5 * dt * sum;
    }
}

/* The numbers at the deck's step, which have to be such. */
static PetscErrorCode CheckFinite(CourantScheme scheme, const Keys *keys, CourantTerm *t)
{
  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < scheme->fields * scheme->fields; k++)
    if (!isfinite(t->matrix[k]))
      CourantNodeError(keys->matrix.id ? keys->matrix : keys->coefficient, "its value is %g", t->matrix[k]);
  for (int j = 0; j < t->stencil.n; j++)
    if (!isfinite(t->stencil.weight[j]))
      CourantNodeError(CourantNodeItem(keys->weights, j), "its value is %g", t->stencil.weight[j]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantTermRead(CourantScheme scheme, CourantNode node, CourantTerm *t)
{
  Keys keys = {.derivative = ""};

  PetscFunctionBeginUser;
  *t = (CourantTerm){.node = node};
  PetscCall(CourantNodeRead(node, 1, (CourantTable[]){{CourantTermKeys, &keys}}));
  strcpy(t->derivative, keys.derivative);
  strcpy(t->scheme, keys.scheme);
  PetscCall(SelectNames(scheme, t));
  PetscCall(ReadMatrix(scheme, &keys, t));
  EvaluateMatrix(scheme, t, scheme->step, t->matrix);
  if (keys.offsets.id || keys.weights.id) {
    PetscCall(ReadWeights(scheme, &keys, t));
    EvaluateWeights(scheme, t, scheme->step, 1, t->stencil.weight);
  } else
    PetscCall(GetStencil(scheme, t));
  PetscCall(CheckFinite(scheme, &keys, t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The term dt/2 M_a M_b D_a D_b of two first derivatives; the compact second difference along one axis. */
PetscErrorCode CourantTermMultiply(CourantScheme scheme, PetscInt a, PetscInt b, CourantTerm *product)
{
  const char *first = scheme->terms[a].derivative, *second = scheme->terms[b].derivative;
  double weight[COURANT_STENCIL_MAX];

  PetscFunctionBeginUser;
  *product = (CourantTerm){
      .node = scheme->terms[a].node, .scheme = "centred", .by_step = PETSC_TRUE, .factor = {a, b}};
  strcpy(product->derivative, strcmp(first, second) ? "dxdy" : strcmp(first, "dx") ? "dyy" : "dxx");
  PetscCall(GetStencil(scheme, product));
  CourantTermEvaluate(scheme, product, scheme->step, product->matrix, weight);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantTermReset(CourantTerm *t)
{
  PetscFunctionBeginUser;
  for (int j = 0; j < COURANT_STENCIL_MAX; j++) PetscCall(CourantExpressionDestroy(&t->weight[j]));
  for (PetscInt k = 0; t->entry && k < t->nentries; k++) PetscCall(CourantExpressionDestroy(&t->entry[k]));
  PetscCall(PetscFree(t->entry));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- what the weights approximate ---- */

static PetscBool UsesSpacing(CourantExpression e)
{
  return CourantExpressionUses(e, DX) || CourantExpressionUses(e, DY) ? PETSC_TRUE : PETSC_FALSE;
}

/*
  CourantTermIdentify - What a term's stencil approximates, in the limit dt -> 0.

  Weights in which dx or dy stand tell themselves how they go with the spacing; mere numbers are taken as
  meant for this one. False: there is no limit.
*/
PetscBool CourantTermIdentify(CourantScheme scheme, const CourantTerm *t, CourantApproximation *found)
{
  CourantStencil stencil = t->stencil;
  double fine[COURANT_STENCIL_MAX][2], weight[COURANT_STENCIL_MAX];
  PetscBool spacing = PETSC_FALSE;

  if (t->weight[0]) EvaluateWeights(scheme, t, 0, 1, stencil.weight);
  for (int j = 0; t->weight[0] && j < stencil.n; j++) {
    const PetscBool by_c = CourantExpressionUses(t->weight[j], C) && UsesSpacing(t->entry[0]);
    if (by_c || UsesSpacing(t->weight[j])) spacing = PETSC_TRUE;
    if (!isfinite(stencil.weight[j])) return PETSC_FALSE;
  }
  for (int k = 0; spacing && k < 2; k++) {
    EvaluateWeights(scheme, t, 0, ldexp(1, -20 - k), weight);
    for (int j = 0; j < stencil.n; j++) fine[j][k] = weight[j];
  }
  CourantStencilIdentify(&stencil, scheme->spacing, spacing ? (const double(*)[2])fine : NULL, found);
  return PETSC_TRUE;
}
