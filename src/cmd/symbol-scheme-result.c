/* What courant symbol finds of a linear PDE's frequencies, as a file and as a table. */
#include "cmd/draw.h"
#include "cmd/symbol-scheme.h"
#include "stability/dense.h"
#include <math.h>

/* ---- verdicts ---- */

/* Does i grow more than j, or as much but for rounding and is nearer to frequency 0? */
static PetscBool IsWorse(const SymbolPdeSession *s, PetscInt i, PetscInt j)
{
  const double a = s->amplification[i].growth, b = s->amplification[j].growth;
  const double *y = s->frequency[0], *x = s->frequency[1];

  if (fabs(a - b) > 1e-13 * b) return a > b ? PETSC_TRUE : PETSC_FALSE;
  const double here = hypot(y[i / s->nx], x[i % s->nx]), there = hypot(y[j / s->nx], x[j % s->nx]);
  return here <= there ? PETSC_TRUE : PETSC_FALSE;
}

/* Frequencies with each verdict, and the one with the largest growth that is not the PDE's own; -1: none. */
static PetscInt Count(const SymbolPdeSession *s, PetscInt count[4])
{
  PetscInt worst = -1;

  for (int k = 0; k < 4; k++) count[k] = 0;
  for (PetscInt i = 0; i < s->n; i++) {
    const CourantPowers powers = s->amplification[i].powers;
    count[powers]++;
    if (powers != COURANT_FLOW_GROWS && (worst < 0 || IsWorse(s, i, worst))) worst = i;
  }
  return worst;
}

static uint8_t Verdict(const PetscInt count[4])
{
  return count[COURANT_POWERS_GROW]        ? COURANT_POWERS_GROW
         : count[COURANT_POWERS_DEFECTIVE] ? COURANT_POWERS_DEFECTIVE
                                           : COURANT_POWERS_BOUNDED;
}

/* ---- numbers without a dimension ---- */

enum { COURANT_NUMBER = 1, DIFFUSION_NUMBER };

/*
  step times the sum over the axes of the largest eigenvalue of the derivative's matrix / spacing^order: of
  modulus for first derivatives, of real part for second ones; NaN where there is none above 0.
*/
static PetscErrorCode GetNumber(const SymbolPdeSession *s, int order, double step, double *number)
{
  PetscComplex matrix[COURANT_FIELDS_MAX * COURANT_FIELDS_MAX], value[COURANT_FIELDS_MAX];

  PetscFunctionBeginUser;
  *number = NAN;
  for (int axis = 0; axis < 2 && s->equation; axis++) {
    double largest = 0;
    if (!CourantEquationGetMatrix(s->equation, axis, order, matrix)) continue;
    PetscCall(CourantDenseEigenvalues(s->scheme->fields, matrix, value));
    for (PetscInt j = 0; j < s->scheme->fields; j++)
      largest = fmax(largest, order == COURANT_NUMBER ? cabs(value[j]) : creal(value[j]));
    if (largest > 0)
      *number = (isnan(*number) ? 0 : *number) + step * largest / pow(s->scheme->spacing[axis], order);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const struct {
  int order;
  const char *attribute, *name;
} numbers[] = {{COURANT_NUMBER, "courant_number", "Courant number"},
               {DIFFUSION_NUMBER, "diffusion_number", "diffusion number"}};

/* ---- the file ---- */

#define Y "/symbol/frequency_y"
#define X "/symbol/frequency_x"

enum { POWERS_ENTRY = 5, LIMIT_ENTRY };

static const CourantResultEntry entries[] = {
    {"/symbol/amplification",
     COURANT_RESULT_REAL,
     {Y, X},
     "amplification per step, the spectral radius of G",
     "1",
     NULL,
     "max |R(step lambda)| over the eigenvalues lambda of A(frequency)"},
    {"/symbol/symbol_real", COURANT_RESULT_REAL, {Y, X}, "real part of that eigenvalue of A", "1"},
    {"/symbol/symbol_imaginary", COURANT_RESULT_REAL, {Y, X}, "imaginary part of that eigenvalue of A", "1"},
    {"/symbol/power_bound",
     COURANT_RESULT_REAL,
     {Y, X},
     "largest norm of the powers of G looked at",
     "1",
     NULL,
     "max |G^n|_2, n = 1 .. 8 and powers of 2 up to 65536"},
    {"/symbol/flow_growth",
     COURANT_RESULT_REAL,
     {Y, X},
     "growth rate of u' = A u, as the step goes to 0",
     "1",
     NULL,
     "largest real part of the eigenvalues of A"},
    {"/symbol/powers",
     COURANT_RESULT_ENUM,
     {Y, X},
     "what the powers of G do; flow_grows: the PDE itself grows",
     "1",
     "bounded grow grow_polynomially flow_grows"},
    {"/symbol/limit",
     COURANT_RESULT_REAL,
     {NULL},
     "step at which stability is lost first, over all frequencies; 0: at every step, infinite: at none",
     "1",
     NULL,
     "the first step with max |R(step lambda)| > 1 + tolerance, over continuous frequencies"},
    {"/symbol/verdict",
     COURANT_RESULT_ENUM,
     {NULL},
     "what the powers of G do at the deck's step, over the frequencies of the grid",
     "1",
     "bounded grow grow_polynomially"},
};

static PetscErrorCode WriteNumbers(const SymbolPdeSession *s, const char *object, double step)
{
  PetscFunctionBeginUser;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(numbers); i++) {
    double number;
    PetscCall(GetNumber(s, numbers[i].order, step, &number));
    if (!isnan(number)) PetscCall(CourantResultSetReal(s->output.file, object, numbers[i].attribute, number));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteScales(const SymbolPdeSession *s)
{
  static const char *const paths[2] = {Y, X};
  static const char *const names[2] = {"frequency along y", "frequency along x"};

  PetscFunctionBeginUser;
  for (int d = 0; d < 2; d++) {
    PetscCall(CourantResultAddScale(s->output.file, paths[d], (int)s->scheme->points[d], s->frequency[d],
                                    names[d], "radian"));
    PetscCall(CourantResultSetReal(s->output.file, paths[d], "spacing", s->scheme->spacing[d]));
    PetscCall(CourantResultSetString(s->output.file, paths[d], "formula",
                                     "radians per grid point; wavenumber = frequency / spacing"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Attributes of the group and of the limit. */
static PetscErrorCode WriteAttributes(const SymbolPdeSession *s)
{
  const CourantResult file = s->output.file;
  const char *type, *limit = "/symbol/limit";

  PetscFunctionBeginUser;
  PetscCall(CourantStepperGetType(s->stepper, &type, NULL));
  PetscCall(CourantResultSetString(file, "/symbol", "stepper", type));
  PetscCall(CourantResultSetReal(file, "/symbol", "step", s->scheme->step));
  PetscCall(CourantResultSetString(file, "/symbol", "growth",
                                   s->one_step ? "of one step" : "asymptotic, over steps 100 to 200"));
  PetscCall(CourantResultSetString(file, "/symbol", "boundary",
                                   s->periodic ? "periodic: the symbol is exact"
                                               : "not periodic: the symbol is local, see /matrix"));
  PetscCall(WriteNumbers(s, "/symbol", s->scheme->step));
  PetscCall(WriteNumbers(s, limit, s->limit.step));
  PetscCall(CourantResultSetReal(file, limit, "width", s->limit.width));
  PetscCall(CourantResultSetReal(file, limit, "tolerance", s->limit.tolerance));
  PetscCall(CourantResultSetReal(file, limit, "frequency_y", s->limit.phase[0]));
  PetscCall(CourantResultSetReal(file, limit, "frequency_x", s->limit.phase[1]));
  PetscCall(CourantResultSetInt(file, limit, "left_out", (int)s->limit.left_out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* SymbolPdeWrite - The group /symbol of the result file. On rank 0. */
PetscErrorCode SymbolPdeWrite(const SymbolPdeSession *s)
{
  const CourantResult file = s->output.file;
  PetscInt count[4];
  double *column;
  uint8_t *powers;

  PetscFunctionBeginUser;
  (void)Count(s, count);
  const uint8_t verdict = Verdict(count);
  PetscCall(WriteScales(s));
  for (size_t e = 0; e < PETSC_STATIC_ARRAY_LENGTH(entries); e++)
    PetscCall(CourantResultAdd(file, &entries[e]));
  PetscCall(PetscMalloc2(s->n, &column, s->n, &powers));
  for (int e = 0; e < POWERS_ENTRY; e++) {
    for (PetscInt i = 0; i < s->n; i++) {
      const CourantAmplification *a = &s->amplification[i];
      const double values[POWERS_ENTRY] = {a->growth, creal(a->symbol), cimag(a->symbol), a->power_bound,
                                           a->flow_growth};
      column[i] = values[e];
    }
    PetscCall(CourantResultWrite(file, entries[e].path, column));
  }
  for (PetscInt i = 0; i < s->n; i++) powers[i] = (uint8_t)s->amplification[i].powers;
  PetscCall(CourantResultWrite(file, entries[POWERS_ENTRY].path, powers));
  PetscCall(CourantResultWrite(file, entries[LIMIT_ENTRY].path, &s->limit.step));
  PetscCall(CourantResultWrite(file, entries[LIMIT_ENTRY + 1].path, &verdict));
  PetscCall(WriteAttributes(s));
  PetscCall(PetscFree2(column, powers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the terminal ---- */

static void PrintFrequency(const SymbolPdeSession *s, const double phase[2])
{
  if (s->scheme->dimension == 1)
    printf("frequency %.6g", phase[1]);
  else
    printf("frequency (y %.6g, x %.6g)", phase[0], phase[1]);
}

static PetscErrorCode PrintNumbers(const SymbolPdeSession *s, double step)
{
  PetscFunctionBeginUser;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(numbers); i++) {
    double number;
    PetscCall(GetNumber(s, numbers[i].order, step, &number));
    if (!isnan(number)) printf(", %s %.9g", numbers[i].name, number);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* SymbolPdePrintLimit - The limit of the step; true where it is a number, to which more may be added. */
PetscBool SymbolPdePrintLimit(const CourantStepLimit *limit)
{
  printf("limit of the step  ");
  if (isnan(limit->step))
    printf("not known: nothing is left that does not grow by itself");
  else if (isinf(limit->step))
    printf("none: stable however long it is");
  else if (limit->step == 0)
    printf("0: unstable however short it is");
  else if (isnan(limit->width))
    printf("%.12g, its error not known", limit->step);
  else
    printf("%.12g +- %.1e", limit->step, limit->width);
  if (limit->left_out && !isnan(limit->step)) printf(", but for what grows by itself");
  return limit->step > 0 && isfinite(limit->step) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode PrintLimit(const SymbolPdeSession *s)
{
  const CourantStepLimit *limit = &s->limit;
  const PetscBool finite = SymbolPdePrintLimit(limit);

  PetscFunctionBeginUser;
  if (finite) PetscCall(PrintNumbers(s, limit->step));
  if (finite || limit->step == 0) {
    printf("; lost first at ");
    PrintFrequency(s, limit->phase);
  }
  printf("\nstep of the deck   %.12g", s->scheme->step);
  if (finite) printf(", %.6g of the limit", s->scheme->step / limit->step);
  PetscCall(PrintNumbers(s, s->scheme->step));
  printf("\n");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PrintVerdict(const SymbolPdeSession *s)
{
  PetscInt count[4];
  const PetscInt worst = Count(s, count), n = s->n;

  printf("at the deck's step ");
  if (count[COURANT_POWERS_GROW])
    printf("unstable: |G| is above 1 at %d of %d frequencies\n", (int)count[COURANT_POWERS_GROW], (int)n);
  else if (count[COURANT_POWERS_DEFECTIVE])
    printf("not power-bounded: a defective eigenvalue of modulus 1 grows like a power of n at %d of %d "
           "frequencies\n",
           (int)count[COURANT_POWERS_DEFECTIVE], (int)n);
  else
    printf("stable%s: |G| is at most 1%s\n", count[COURANT_FLOW_GROWS] ? " but for what grows by itself" : "",
           s->one_step ? ", and no power of it grows" : "");
  if (worst >= 0) {
    const CourantAmplification *a = &s->amplification[worst];
    printf("largest growth     %.12g%s at ", a->growth, s->one_step ? "" : " (asymptotic)");
    PrintFrequency(s, (double[]){s->frequency[0][worst / s->nx], s->frequency[1][worst % s->nx]});
    if (isfinite(a->power_bound)) printf("; |G^n| up to %.6g there", a->power_bound);
    printf("\n");
  }
  if (count[COURANT_FLOW_GROWS])
    printf("left out           %d of %d frequencies, at which the PDE itself grows\n",
           (int)count[COURANT_FLOW_GROWS], (int)n);
}

/* SymbolPdePrint - What the frequencies do, drawn and told. On rank 0. */
PetscErrorCode SymbolPdePrint(const SymbolPdeSession *s)
{
  double *growth;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(s->n, &growth));
  for (PetscInt i = 0; i < s->n; i++) growth[i] = s->amplification[i].growth;
  printf("\n|G| over frequency, radians per grid point%s\n",
         s->periodic ? "" : " (local: the grid is not periodic)");
  if (s->scheme->dimension == 1)
    CourantDrawCurve(s->n, s->frequency[1], growth, 1);
  else
    CourantDrawPlane(s->scheme->points[0], s->nx, s->frequency[0], s->frequency[1], growth);
  PetscCall(PetscFree(growth));
  printf("\n");
  PetscCall(PrintLimit(s));
  PrintVerdict(s);
  PetscFunctionReturn(PETSC_SUCCESS);
}
