/* Linear PDEs with constant coefficients on uniform grids. */
#include "pde/term.h"
#include <math.h>
#include <petscts.h>
#include <string.h>

/* ---- the deck ---- */

typedef struct {
  CourantNode pde, stepper;
} Top;

typedef struct {
  CourantNode points, spacing, terms, initial;
  PetscInt dimension, fields;
  int boundary;
} Pde;

typedef struct {
  char type[COURANT_TEXT_SIZE], options[COURANT_TEXT_SIZE];
  CourantNode step;
  PetscInt steps;
} Time;

const CourantKey CourantSchemeTopKeys[] = {
    {"pde", COURANT_KEY_NODE, offsetof(Top, pde), NULL,
     .help = "the equation, u_t = sum of terms, and its grid"},
    {"stepper", COURANT_KEY_NODE, offsetof(Top, stepper), NULL, .help = "how it is stepped in time"},
    {0},
};

const CourantKey CourantPdeKeys[] = {
    {"dimension", COURANT_KEY_INT, offsetof(Pde, dimension), "1", 1, 2, .help = "1 or 2"},
    {"points", COURANT_KEY_NODE, offsetof(Pde, points), NULL,
     .help = "of the grid: a number for each dimension or [ny, nx]"},
    {"spacing", COURANT_KEY_NODE, offsetof(Pde, spacing), NULL,
     .help = "of the points: a number, such as 1/64, or [dy, dx]"},
    {"boundary", COURANT_KEY_CHOICE, offsetof(Pde, boundary), "periodic",
     .choices = "periodic|dirichlet|neumann",
     .help = "dirichlet: 0 outside, points are interior ones; neumann: mirrored half a spacing beyond the "
             "last point, so that a laplacian keeps the sum"},
    {"fields", COURANT_KEY_INT, offsetof(Pde, fields), "1", 1, COURANT_FIELDS_MAX,
     .help = "unknowns at each point"},
    {"terms", COURANT_KEY_NODE, offsetof(Pde, terms), NULL, .help = "list of what u_t is the sum of"},
    {"initial", COURANT_KEY_NODE, offsetof(Pde, initial), "", .help = "the state courant flow starts from"},
    {0},
};

const CourantKey CourantTimeKeys[] = {
    {"type", COURANT_KEY_TEXT, offsetof(Time, type), "euler",
     .help = "a TS type of PETSc, or lax_wendroff, for first derivatives: Euler's step with dt/2 A^2 added"},
    {"step", COURANT_KEY_NODE, offsetof(Time, step), NULL,
     .help = "dt: a number or an expression in dx and dy, such as 0.4*dx^2"},
    {"options", COURANT_KEY_TEXT, offsetof(Time, options), "",
     .help = "of the TS as on a command line, without prefix: \"-ts_rk_type 4\""},
    {"steps", COURANT_KEY_INT, offsetof(Time, steps), "100", 1, 1e7, .help = "that courant flow takes"},
    {0},
};

enum { TERMS_MAX = 16, TYPES_MAX = 64 };

static const double most_unknowns = 1e8; /* their states and matrix take some ten gigabytes */

static const char lax_wendroff[] = "lax_wendroff";

static PetscErrorCode ReadGrid(CourantScheme s, const Pde *pde)
{
  PetscFunctionBeginUser;
  s->dimension = pde->dimension;
  s->fields = pde->fields;
  s->boundary = pde->boundary;
  s->points[0] = 1;
  s->spacing[0] = 1;
  PetscCall(CourantReadIntegerPair(pde->points, s->dimension, s->points));
  PetscCall(CourantReadPair(pde->spacing, s->dimension, s->spacing));
  for (PetscInt d = 2 - s->dimension; d < 2; d++) {
    if (s->points[d] < 2)
      CourantNodeError(pde->points, "%d is out of range: expected 2 points or more", (int)s->points[d]);
    if (!(s->spacing[d] > 0))
      CourantNodeError(pde->spacing, "the spacing is %g: expected a number above 0", s->spacing[d]);
  }
  const double unknowns = (double)s->points[0] * (double)s->points[1] * (double)s->fields;
  if (unknowns > most_unknowns)
    CourantNodeError(pde->points, "the grid has %g unknowns: expected at most %g", unknowns, most_unknowns);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Is it one of PETSc's types, or lax_wendroff? */
static PetscErrorCode CheckType(CourantNode stepper)
{
  const char **list, *names[TYPES_MAX + 1];
  int n, entry;

  PetscFunctionBeginUser;
  PetscCall(TSInitializePackage());
  PetscCall(PetscFunctionListGet(TSList, &list, &n));
  for (entry = n, n = 0; n < PetscMin(entry, TYPES_MAX) && list[n]; n++)
    names[n] = list[n]; /* the count may hold the NULL at the end */
  names[n++] = lax_wendroff;
  PetscCall(CourantNodeSelect(stepper, "type", "euler", n, names, &entry));
  PetscCall(PetscFree(list));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadTime(CourantScheme s, CourantNode node)
{
  const char *const names[2] = {"dx", s->dimension == 2 ? "dy" : NULL};
  CourantExpression step;
  Time time = {.type = ""};

  PetscFunctionBeginUser;
  PetscCall(CourantNodeRead(node, 1, (CourantTable[]){{CourantTimeKeys, &time}}));
  PetscCall(CheckType(node));
  PetscCall(PetscStrncpy(s->type, time.type, sizeof s->type));
  PetscCall(PetscStrncpy(s->options, time.options, sizeof s->options));
  s->steps = time.steps;
  PetscCall(CourantExpressionRead(time.step, 2, names, &step));
  s->step = CourantExpressionEvaluate(step, (double[]){s->spacing[1], s->spacing[0]});
  PetscCall(CourantExpressionDestroy(&step));
  if (!(s->step > 0) || isinf(s->step))
    CourantNodeError(time.step, "the step is %g: expected a number above 0", s->step);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* u + dt A u + dt^2/2 A^2 u with A^2 on compact stencils: Euler's step of A + dt/2 A^2. */
static PetscErrorCode AddLaxWendroff(CourantScheme s)
{
  const PetscInt n = s->nterms;

  PetscFunctionBeginUser;
  for (PetscInt a = 0; a < n; a++) {
    const CourantTerm *t = &s->terms[a];
    if ((strcmp(t->derivative, "dx") && strcmp(t->derivative, "dy")) || strcmp(t->scheme, "centred"))
      CourantNodeError(t->node, "%s takes terms with dx or dy, centred", lax_wendroff);
  }
  for (PetscInt a = 0; a < n; a++)
    for (PetscInt b = 0; b < n; b++) PetscCall(CourantTermMultiply(s, a, b, &s->terms[s->nterms++]));
  strcpy(s->type, TSEULER);
  s->by_step = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadTerms(CourantScheme s, CourantNode list)
{
  const PetscBool lax = strcmp(s->type, lax_wendroff) ? PETSC_FALSE : PETSC_TRUE;
  PetscInt n, all;

  PetscFunctionBeginUser;
  PetscCall(CourantNodeCount(list, &n));
  if (n < 1 || n > TERMS_MAX) CourantNodeError(list, "expected 1 to %d terms, not %d", TERMS_MAX, (int)n);
  all = lax ? n + n * n : n;
  PetscCall(PetscCalloc1(all, &s->terms));
  for (PetscInt i = 0; i < n; i++) {
    CourantTerm *t = &s->terms[s->nterms++];
    PetscCall(CourantTermRead(s, CourantNodeItem(list, i), t));
    if (!t->by_step) continue;
    s->by_step = PETSC_TRUE;
    if (!lax && strcmp(s->type, TSEULER))
      CourantNodeError(t->node, "with dt in it, the step is Euler's or lax_wendroff's, not that of %s",
                       s->type);
  }
  if (lax) PetscCall(AddLaxWendroff(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSchemeCreate - The scheme of a deck with the sections pde and stepper.

  The deck is borrowed until CourantSchemeDestroy(). Every rank holds the same scheme.
*/
PetscErrorCode CourantSchemeCreate(MPI_Comm comm, CourantDeck deck, CourantScheme *scheme)
{
  Top top = {0};
  Pde pde = {0};

  PetscFunctionBeginUser;
  PetscCall(PetscNew(scheme));
  (*scheme)->comm = comm;
  PetscCall(CourantModelRead(deck, 1, (CourantTable[]){{CourantSchemeTopKeys, &top}}, &(*scheme)->model));
  PetscCall(CourantNodeRead(top.pde, 1, (CourantTable[]){{CourantPdeKeys, &pde}}));
  PetscCall(ReadGrid(*scheme, &pde));
  PetscCall(ReadTime(*scheme, top.stepper));
  PetscCall(ReadTerms(*scheme, pde.terms));
  PetscCall(CourantInitialRead(*scheme, pde.initial));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantSchemeDestroy(CourantScheme *scheme)
{
  PetscFunctionBeginUser;
  if (!*scheme) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < (*scheme)->nterms; i++) PetscCall(CourantTermReset(&(*scheme)->terms[i]));
  PetscCall(PetscFree((*scheme)->terms));
  PetscCall(CourantInitialDestroy(&(*scheme)->initial));
  PetscCall(PetscFree(*scheme));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- what it is ---- */

static void PrintTerm(CourantScheme s, const CourantTerm *t, FILE *out)
{
  CourantApproximation found;
  char text[256];

  fprintf(out, "  %s  ", t->node.path);
  if (t->nentries > 1)
    fprintf(out, "%d x %d matrix", (int)s->fields, (int)s->fields);
  else
    fprintf(out, "%s", CourantExpressionText(t->entry[0]));
  if (t->derivative[0]) fprintf(out, ", %s", t->derivative);
  if (t->scheme[0])
    fprintf(out, ", %s", t->scheme);
  else
    fprintf(out, " by %d weights", t->stencil.n);
  if (CourantTermIdentify(s, t, &found))
    fprintf(out, ": %s\n", CourantApproximationText(&found, text, sizeof text));
  else
    fprintf(out, ": no limit as dt goes to 0\n");
}

/* CourantSchemeView - Grid, terms and stepper, in a few lines; type: what steps in place of the deck's. */
PetscErrorCode CourantSchemeView(CourantScheme s, const char type[], FILE *out)
{
  static const char *const boundaries[] = {"periodic", "dirichlet", "neumann"};
  const char *own = s->terms[s->nterms - 1].entry ? s->type : lax_wendroff;

  PetscFunctionBeginUser;
  fprintf(out, "  grid  %d field%s on ", (int)s->fields, s->fields > 1 ? "s" : "");
  if (s->dimension == 1)
    fprintf(out, "%d points %g apart, %s\n", (int)s->points[1], s->spacing[1], boundaries[s->boundary]);
  else
    fprintf(out, "%d x %d points %g x %g apart, %s\n", (int)s->points[0], (int)s->points[1], s->spacing[0],
            s->spacing[1], boundaries[s->boundary]);
  for (PetscInt i = 0; i < s->nterms; i++)
    if (s->terms[i].entry) PrintTerm(s, &s->terms[i], out);
  if (type && strcmp(type, s->type))
    fprintf(out, "  step  %.9g by %s in place of %s\n", s->step, type, own);
  else
    fprintf(out, "  step  %.9g by %s%s%s\n", s->step, own, s->options[0] ? " " : "", s->options);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSchemeCheckConsistency - A line on each term whose weights do not approximate the derivative that it
  claims, with the one that they do. On rank 0.
*/
PetscErrorCode CourantSchemeCheckConsistency(CourantScheme s, FILE *out)
{
  char where[1024];
  CourantApproximation found;
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(s->comm, &rank));
  for (PetscInt i = 0; i < s->nterms && rank == 0; i++) {
    const CourantTerm *t = &s->terms[i];
    char text[256] = "none as dt goes to 0: the weights have no limit";
    if (!t->weight[0] || !t->derivative[0]) continue; /* the stencils with a name are what it says */
    if (CourantTermIdentify(s, t, &found)) {
      if (CourantApproximationIs(&found, s->dimension, t->derivative)) continue;
      CourantApproximationText(&found, text, sizeof text);
    }
    fprintf(out, "courant: warning: %s: claims %s, but is consistent with %s\n",
            CourantNodeWhere(t->node, where, sizeof where), t->derivative, text);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- symbol and matrix ---- */

/*
  CourantSchemeSymbol - A(phase) = sum over the terms of matrix(dt) sum_j weight_j(dt) e^{i phase . offset_j}.

  phase is [y, x] in radians per grid point, symbol [fields,fields] row-major. Of a scheme with by_step
  Euler's factor is 1 + dt A(phase); without it dt does not matter. With dt in a denominator there is nothing
  at dt = 0. Plain C, for any thread.
*/
void CourantSchemeSymbol(CourantScheme s, double dt, const double phase[2], double complex symbol[])
{
  const PetscInt entries = s->fields * s->fields;
  double matrix[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX], weight[COURANT_STENCIL_MAX];

  for (PetscInt k = 0; k < entries; k++) symbol[k] = 0;
  for (PetscInt i = 0; i < s->nterms; i++) {
    const CourantTerm *t = &s->terms[i];
    double re = 0, im = 0;
    CourantTermEvaluate(s, t, dt, matrix, weight);
    for (int j = 0; j < t->stencil.n; j++) {
      const double angle = phase[0] * t->stencil.offset[j][0] + phase[1] * t->stencil.offset[j][1];
      re += weight[j] * cos(angle);
      im += weight[j] * sin(angle);
    }
    for (PetscInt k = 0; k < entries; k++) symbol[k] += matrix[k] * (re + I * im);
  }
}

/* Where the value at place i along an axis of n points is taken from; -1: it is 0. */
static PetscInt Fold(int boundary, PetscInt i, PetscInt n)
{
  const PetscInt period = boundary == COURANT_BOUNDARY_NEUMANN ? 2 * n : n;
  const PetscInt inside = (i % period + period) % period;

  if (boundary == COURANT_BOUNDARY_DIRICHLET) return i < 0 || i >= n ? -1 : i;
  return inside < n ? inside : period - 1 - inside;
}

/* Adds a term to the rows of the points from start to end. */
static PetscErrorCode AddTerm(CourantScheme s, const CourantTerm *t, double dt, PetscInt start, PetscInt end,
                              Mat A)
{
  const PetscInt f = s->fields, ny = s->points[0], nx = s->points[1];
  double matrix[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX], weight[COURANT_STENCIL_MAX];
  PetscScalar block[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX];

  PetscFunctionBeginUser;
  CourantTermEvaluate(s, t, dt, matrix, weight);
  for (int j = 0; j < t->stencil.n; j++) {
    for (PetscInt k = 0; k < f * f; k++) block[k] = matrix[k] * weight[j];
    for (PetscInt point = start; point < end; point++) {
      const PetscInt y = Fold(s->boundary, point / nx + t->stencil.offset[j][0], ny);
      const PetscInt x = Fold(s->boundary, point % nx + t->stencil.offset[j][1], nx);
      if (y >= 0 && x >= 0)
        PetscCall(MatSetValuesBlocked(A, 1, &point, 1, (PetscInt[]){y * nx + x}, block, ADD_VALUES));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSchemeCreateMatrix - A of u_t = A u on the grid with its boundaries; rows (point, field), points
  row-major, distributed over the scheme's ranks. The caller destroys it.
*/
PetscErrorCode CourantSchemeCreateMatrix(CourantScheme s, double dt, Mat *A)
{
  const PetscInt f = s->fields;
  const PetscScalar zero[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX] = {0};
  PetscInt points = PETSC_DECIDE, all = s->points[0] * s->points[1], width = 1, start, end;

  PetscFunctionBeginUser;
  PetscCall(PetscSplitOwnership(s->comm, &points, &all));
  for (PetscInt i = 0; i < s->nterms; i++) width += s->terms[i].stencil.n;
  const PetscInt inner = f * PetscMin(width, points), outer = f * PetscMin(width, all - points);
  PetscCall(MatCreate(s->comm, A));
  PetscCall(MatSetSizes(*A, f * points, f * points, f * all, f * all));
  PetscCall(MatSetType(*A, MATAIJ));
  PetscCall(MatSetBlockSize(*A, f));
  PetscCall(MatSeqAIJSetPreallocation(*A, inner, NULL));
  PetscCall(MatMPIAIJSetPreallocation(*A, inner, NULL, outer, NULL));
  PetscCall(MatSetOption(*A, MAT_IGNORE_ZERO_ENTRIES, PETSC_TRUE)); /* but the diagonal stays */
  PetscCall(MatGetOwnershipRange(*A, &start, &end));
  for (PetscInt p = start / f; p < end / f; p++)
    PetscCall(MatSetValuesBlocked(*A, 1, &p, 1, &p, zero, ADD_VALUES));
  for (PetscInt i = 0; i < s->nterms; i++) PetscCall(AddTerm(s, &s->terms[i], dt, start / f, end / f, *A));
  PetscCall(MatAssemblyBegin(*A, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(*A, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}
