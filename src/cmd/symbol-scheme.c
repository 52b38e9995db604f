/* courant symbol on a linear PDE: amplification per frequency, the limit of the step, the grid's matrix. */
#include "cmd/draw-symbol.h"
#include "cmd/symbol.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "dynamics/linear.h"
#include "pde/equation.h"
#include "stability/gridmatrix.h"
#include "stability/modes.h"
#include "stability/region.h"
#include <math.h>

typedef struct {
  CourantScheme scheme;
  CourantEquation equation; /* NULL: the terms have no limit */
  CourantOutput output;
  CourantStepper stepper;
  PetscBool one_step;
  CourantVonNeumann analysis;
  CourantStabilityRegion region;
  EPS eps[2]; /* of large matrices; NULL: not needed */
  PetscInt nx, n;
  double *frequency[2];                /* y, x */
  CourantAmplification *amplification; /* [ny,nx] */
  CourantStepLimit limit;
  CourantGridMatrix matrix;
} Session;

/* ---- setting up ---- */

static void Symbol(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  CourantSchemeSymbol(((Session *)ctx)->scheme, step, phase, A);
}

static void Flow(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  (void)step;
  CourantEquationSymbol(((Session *)ctx)->equation, phase, A);
}

static PetscBool IsPeriodic(const Session *s)
{
  return s->scheme->boundary == COURANT_BOUNDARY_PERIODIC ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode SetUpAnalysis(Session *s)
{
  const CourantScheme scheme = s->scheme;

  PetscFunctionBeginUser;
  PetscCall(CourantEquationCreate(scheme, &s->equation));
  PetscCall(CourantVonNeumannCreate(scheme->comm, &s->analysis));
  PetscCall(CourantVonNeumannSetSymbol(s->analysis, scheme->dimension, scheme->fields, Symbol, s));
  if (s->equation) PetscCall(CourantVonNeumannSetFlow(s->analysis, Flow));
  if (scheme->by_step) PetscCall(CourantVonNeumannSetStepDependent(s->analysis, scheme->step));
  PetscCall(CourantVonNeumannSetStepper(s->analysis, s->stepper));
  PetscCall(CourantVonNeumannSetQuiet(s->analysis, s->output.quiet));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The stepper and the solvers, which read their options. */
static PetscErrorCode CreateSolvers(Session *s)
{
  const PetscInt unknowns = s->scheme->points[0] * s->scheme->points[1] * s->scheme->fields;

  PetscFunctionBeginUser;
  PetscCall(CourantStepperDestroy(&s->stepper));
  PetscCall(CourantStepperCreate(s->scheme->comm, "probe_", &s->stepper));
  PetscCall(CourantStepperSetUp(s->stepper));
  PetscCall(CourantStepperGetType(s->stepper, NULL, &s->one_step));
  if (!IsPeriodic(s) && unknowns > COURANT_DENSE_MAX)
    PetscCall(CourantGridMatrixSetUp(s->scheme->comm, s->eps));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(void *ctx, CourantDeck deck)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantSchemeCreate(PETSC_COMM_WORLD, deck, &s->scheme));
  PetscCall(CourantOutputOpen(&s->scheme->model, "symbol", &s->output));
  if (s->output.resume) CourantInputError(PETSC_COMM_WORLD, "-resume: courant symbol starts anew");
  PetscCall(CourantSchemeApplyOptions(s->scheme));
  PetscCall(CreateSolvers(s));
  PetscCall(CourantSchemeCheckOptionsUsed(s->scheme));
  PetscCall(CourantStabilityRegionSetFromOptions(&s->region));
  s->region.quiet = s->output.quiet;
  PetscCall(SetUpAnalysis(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAgain(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CreateSolvers(s));
  PetscCall(CourantVonNeumannSetStepper(s->analysis, s->stepper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- frequencies ---- */

enum { BATCH = 4096 };

static PetscErrorCode Amplify(Session *s)
{
  CourantProgress progress;
  PetscReal(*phase)[2];

  PetscFunctionBeginUser;
  s->nx = s->scheme->points[1];
  s->n = s->scheme->points[0] * s->nx;
  for (int d = 0; d < 2; d++) {
    PetscCall(PetscMalloc1(s->scheme->points[d], &s->frequency[d]));
    for (PetscInt i = 0; i < s->scheme->points[d]; i++)
      s->frequency[d][i] = CourantModesFrequency(i, s->scheme->points[d]);
  }
  PetscCall(PetscMalloc1(s->n, &s->amplification));
  PetscCall(PetscMalloc1(BATCH, &phase));
  CourantProgressBegin(&progress, "frequencies", 0, (double)s->n, s->output.quiet);
  for (PetscInt first = 0; first < s->n; first += BATCH) {
    const PetscInt n = PetscMin(BATCH, s->n - first);
    CourantInterruptCheck();
    for (PetscInt i = 0; i < n; i++) {
      phase[i][0] = s->frequency[0][(first + i) / s->nx];
      phase[i][1] = s->frequency[1][(first + i) % s->nx];
    }
    PetscCall(CourantVonNeumannComputeAmplification(s->analysis, s->scheme->step, n,
                                                    (const PetscReal(*)[2])phase, s->amplification + first));
    CourantProgressUpdate(&progress, (double)(first + n));
  }
  CourantProgressEnd(&progress);
  PetscCall(PetscFree(phase));
  PetscCall(CourantVonNeumannComputeLimit(s->analysis, &s->limit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Does i grow more than j, or as much but for rounding and is nearer to frequency 0? */
static PetscBool IsWorse(const Session *s, PetscInt i, PetscInt j)
{
  const double a = s->amplification[i].growth, b = s->amplification[j].growth;
  const double *y = s->frequency[0], *x = s->frequency[1];

  if (fabs(a - b) > 1e-13 * b) return a > b ? PETSC_TRUE : PETSC_FALSE;
  const double here = hypot(y[i / s->nx], x[i % s->nx]), there = hypot(y[j / s->nx], x[j % s->nx]);
  return here <= there ? PETSC_TRUE : PETSC_FALSE;
}

/* Frequencies with each verdict, and the one with the largest growth that is not the PDE's own; -1: none. */
static PetscInt Count(const Session *s, PetscInt count[4])
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

/* ---- numbers without a dimension ---- */

enum { COURANT_NUMBER = 1, DIFFUSION_NUMBER };

/*
  step times the sum over the axes of the largest eigenvalue of the derivative's matrix / spacing^order: of
  modulus for first derivatives, of real part for second ones; NaN where there is none above 0.
*/
static PetscErrorCode GetNumber(const Session *s, int order, double step, double *number)
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

static const CourantResultEntry symbol_entries[] = {
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

static PetscErrorCode WriteNumbers(const Session *s, const char *object, double step)
{
  PetscFunctionBeginUser;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(numbers); i++) {
    double number;
    PetscCall(GetNumber(s, numbers[i].order, step, &number));
    if (!isnan(number)) PetscCall(CourantResultSetReal(s->output.file, object, numbers[i].attribute, number));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteScales(const Session *s)
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

static uint8_t Verdict(const PetscInt count[4])
{
  return count[COURANT_POWERS_GROW]        ? COURANT_POWERS_GROW
         : count[COURANT_POWERS_DEFECTIVE] ? COURANT_POWERS_DEFECTIVE
                                           : COURANT_POWERS_BOUNDED;
}

/* Attributes of the group and of the limit. */
static PetscErrorCode WriteAttributes(const Session *s)
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
                                   IsPeriodic(s) ? "periodic: the symbol is exact"
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

static PetscErrorCode WriteSymbol(const Session *s)
{
  const CourantResult file = s->output.file;
  PetscInt count[4];
  double *column;
  uint8_t *powers;

  PetscFunctionBeginUser;
  (void)Count(s, count);
  const uint8_t verdict = Verdict(count);
  PetscCall(WriteScales(s));
  for (size_t e = 0; e < PETSC_STATIC_ARRAY_LENGTH(symbol_entries); e++)
    PetscCall(CourantResultAdd(file, &symbol_entries[e]));
  PetscCall(PetscMalloc2(s->n, &column, s->n, &powers));
  for (int e = 0; e < POWERS_ENTRY; e++) {
    for (PetscInt i = 0; i < s->n; i++) {
      const CourantAmplification *a = &s->amplification[i];
      const double values[POWERS_ENTRY] = {a->growth, creal(a->symbol), cimag(a->symbol), a->power_bound,
                                           a->flow_growth};
      column[i] = values[e];
    }
    PetscCall(CourantResultWrite(file, symbol_entries[e].path, column));
  }
  for (PetscInt i = 0; i < s->n; i++) powers[i] = (uint8_t)s->amplification[i].powers;
  PetscCall(CourantResultWrite(file, symbol_entries[POWERS_ENTRY].path, powers));
  PetscCall(CourantResultWrite(file, symbol_entries[LIMIT_ENTRY].path, &s->limit.step));
  PetscCall(CourantResultWrite(file, symbol_entries[LIMIT_ENTRY + 1].path, &verdict));
  PetscCall(WriteAttributes(s));
  PetscCall(PetscFree2(column, powers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define NUMBER "/matrix/number"
#define POWER  "/matrix/power"

static const CourantResultEntry matrix_entries[] = {
    {"/matrix/eigenvalue_real", COURANT_RESULT_REAL, {NUMBER}, "real part of an eigenvalue of A", "1"},
    {"/matrix/eigenvalue_imaginary",
     COURANT_RESULT_REAL,
     {NUMBER},
     "imaginary part of an eigenvalue of A",
     "1"},
    {"/matrix/residual",
     COURANT_RESULT_REAL,
     {NUMBER},
     "residual |A x - value x| of the unit eigenvector",
     "1"},
    {"/matrix/condition",
     COURANT_RESULT_REAL,
     {NUMBER},
     "condition of the eigenvalue: to first order it lies within condition times residual",
     "1"},
    {"/matrix/amplification",
     COURANT_RESULT_REAL,
     {NUMBER},
     "amplification per step, |R(step eigenvalue)|",
     "1"},
    {"/matrix/propagator_radius", COURANT_RESULT_REAL, {NULL}, "spectral radius of the step's matrix G", "1"},
    {"/matrix/limit",
     COURANT_RESULT_REAL,
     {NULL},
     "step at which the first of the eigenvalues found is no longer stable; 0: at every step, infinite: at "
     "none",
     "1"},
    {"/matrix/transient_growth",
     COURANT_RESULT_REAL,
     {POWER},
     "norm of a power of G; the largest is a lower bound of that over all powers",
     "1",
     NULL,
     "|G^n|_2"},
};

static PetscErrorCode WriteMatrix(const Session *s)
{
  const CourantGridMatrix *m = &s->matrix;
  const CourantResult file = s->output.file;
  double *number, *re, *im, power[COURANT_POWERS];

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(m->n, &number, m->n, &re, m->n, &im));
  for (PetscInt i = 0; i < m->n; i++) {
    number[i] = (double)i;
    re[i] = creal(m->eigenvalue[i]);
    im[i] = cimag(m->eigenvalue[i]);
  }
  for (int k = 0; k < COURANT_POWERS; k++) power[k] = (double)CourantPower(k);
  PetscCall(CourantResultAddScale(file, NUMBER, (int)m->n, number, "number, by descending real part", "1"));
  PetscCall(CourantResultAddScale(file, POWER, COURANT_POWERS, power, "n, number of steps", "1"));
  const void *const values[] = {re,        im,         m->residual,    m->condition,
                                m->growth, &m->radius, &m->limit.step, m->norms};
  for (size_t e = 0; e < PETSC_STATIC_ARRAY_LENGTH(matrix_entries); e++) {
    PetscCall(CourantResultAdd(file, &matrix_entries[e]));
    PetscCall(CourantResultWrite(file, matrix_entries[e].path, values[e]));
  }
  PetscCall(CourantResultSetInt(file, "/matrix", "unknowns", (int)m->unknowns));
  PetscCall(CourantResultSetInt(file, "/matrix", "unconverged", (int)m->unconverged));
  PetscCall(CourantResultSetString(file, "/matrix", "which",
                                   m->all ? "all eigenvalues" : "some of the rightmost and of the largest"));
  PetscCall(PetscFree3(number, re, im));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the terminal ---- */

static PetscErrorCode PrintHeader(const Session *s)
{
  const char *type;

  PetscFunctionBeginUser;
  if (s->output.quiet || s->output.rank) PetscFunctionReturn(PETSC_SUCCESS);
  printf("von Neumann analysis of %s\n", s->scheme->model.name);
  if (s->scheme->model.about[0]) printf("  %s\n", s->scheme->model.about);
  PetscCall(CourantStepperGetType(s->stepper, &type, NULL));
  PetscCall(CourantSchemeView(s->scheme, type, stdout));
  PetscCall(CourantSchemeCheckConsistency(s->scheme, stderr));
  fflush(stdout);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PrintFrequency(const Session *s, const double phase[2])
{
  if (s->scheme->dimension == 1)
    printf("frequency %.6g", phase[1]);
  else
    printf("frequency (y %.6g, x %.6g)", phase[0], phase[1]);
}

static PetscErrorCode PrintNumbers(const Session *s, double step)
{
  PetscFunctionBeginUser;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(numbers); i++) {
    double number;
    PetscCall(GetNumber(s, numbers[i].order, step, &number));
    if (!isnan(number)) printf(", %s %.9g", numbers[i].name, number);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* True where it is a number, to which more may be added. */
static PetscBool PrintStep(const CourantStepLimit *limit)
{
  printf("limit of the step  ");
  if (isnan(limit->step))
    printf("not known: nothing is left that does not grow by itself");
  else if (isinf(limit->step))
    printf("none: stable however long it is");
  else if (limit->step == 0)
    printf("0: unstable however short it is");
  else
    printf("%.12g +- %.1e", limit->step, limit->width);
  if (limit->left_out && !isnan(limit->step)) printf(", but for what grows by itself");
  return limit->step > 0 && isfinite(limit->step) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode PrintLimit(const Session *s)
{
  const CourantStepLimit *limit = &s->limit;
  const PetscBool finite = PrintStep(limit);

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

static void PrintVerdict(const Session *s)
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

static PetscErrorCode PrintSymbol(const Session *s)
{
  double *growth;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(s->n, &growth));
  for (PetscInt i = 0; i < s->n; i++) growth[i] = s->amplification[i].growth;
  printf("\n|G| over frequency, radians per grid point%s\n",
         IsPeriodic(s) ? "" : " (local: the grid is not periodic)");
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

static void PrintMatrix(const Session *s)
{
  const CourantGridMatrix *m = &s->matrix;
  double residual = 0, condition = 0, growth = 0, transient = 0;
  int peak = 0;

  for (PetscInt i = 0; i < m->n; i++) {
    residual = fmax(residual, m->residual[i]);
    condition = fmax(condition, m->condition[i]);
    growth = fmax(growth, m->growth[i]);
  }
  for (int k = 0; k < COURANT_POWERS; k++) {
    if (!(m->norms[k] > transient)) continue;
    transient = m->norms[k];
    peak = k;
  }
  printf("\nwith its boundaries: the matrix of %d unknowns, %s%d eigenvalues\n", (int)m->unknowns,
         m->all ? "all " : "", (int)m->n);
  if (m->n == 0) return;
  printf("rightmost          %.9g", creal(m->eigenvalue[0]));
  if (cimag(m->eigenvalue[0]) != 0) printf(" +- %.9g i", fabs(cimag(m->eigenvalue[0])));
  printf("; residuals up to %.1e", residual);
  if (m->all) printf(", conditions up to %.1e", condition);
  printf("\n");
  if (!s->scheme->by_step) {
    (void)PrintStep(&m->limit);
    printf(", by these eigenvalues\n");
  }
  printf("largest growth     %.12g by these eigenvalues", growth);
  if (m->all && s->one_step) printf(", %.12g by those of the step's matrix", m->radius);
  printf("\n");
  if (transient > 0)
    printf("transient growth   |G^n| up to %.6g, at n = %d of those looked at; %.6g at n = %d\n", transient,
           (int)CourantPower(peak), m->norms[COURANT_POWERS - 1], (int)CourantPower(COURANT_POWERS - 1));
}

/* ---- the command ---- */

/* All that one rank does alone. */
static PetscErrorCode Analyse(Session *s)
{
  PetscFunctionBeginUser;
  PetscCall(Amplify(s));
  PetscCall(WriteSymbol(s));
  if (!s->output.quiet) PetscCall(PrintSymbol(s));
  PetscCall(CourantStabilityRegionWrite(&s->region, s->stepper, NULL, NULL, s->output.file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReportMatrix(Session *s)
{
  PetscFunctionBeginUser;
  PetscCall(WriteMatrix(s));
  if (!s->output.quiet) PrintMatrix(s);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveMatrix(Session *s)
{
  Mat A;

  PetscFunctionBeginUser;
  PetscCall(CourantSchemeCreateMatrix(s->scheme, s->scheme->step, &A));
  PetscCall(CourantGridMatrixCompute(A, s->stepper, s->scheme->step, s->scheme->by_step, s->eps,
                                     s->output.quiet, &s->matrix));
  PetscCall(MatDestroy(&A));
  CourantCallOnRankZero(s->scheme->comm, s->output.rank, ReportMatrix(s));
  s->output.unconverged += (int)s->matrix.unconverged;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Finish(Session *s)
{
  PetscFunctionBeginUser;
  PetscCall(CourantOutputFinish(&s->output));
  CourantOutputView(&s->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Work(void *ctx)
{
  Session *s = (Session *)ctx;
  const MPI_Comm comm = s->scheme->comm;

  PetscFunctionBeginUser;
  CourantCallOnRankZero(comm, s->output.rank,
                        CourantOutputCreate(&s->output, &s->scheme->model, "von Neumann analysis"));
  PetscCall(PrintHeader(s));
  CourantCallOnRankZero(comm, s->output.rank, Analyse(s));
  if (!IsPeriodic(s)) PetscCall(SolveMatrix(s));
  CourantCallOnRankZero(comm, s->output.rank, Finish(s));
  PetscCheck(!s->output.unconverged, comm, PETSC_ERR_NOT_CONVERGED,
             "%d of 2 ends of the matrix's spectrum did not converge; the rest is in the result file",
             s->output.unconverged);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TearDown(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  for (int d = 0; d < 2; d++) {
    PetscCall(PetscFree(s->frequency[d]));
    PetscCall(EPSDestroy(&s->eps[d]));
  }
  PetscCall(PetscFree(s->amplification));
  PetscCall(CourantGridMatrixReset(&s->matrix));
  PetscCall(CourantVonNeumannDestroy(&s->analysis));
  PetscCall(CourantEquationDestroy(&s->equation));
  PetscCall(CourantStepperDestroy(&s->stepper));
  PetscCall(CourantOutputClose(&s->output));
  PetscCall(CourantSchemeDestroy(&s->scheme));
  PetscFunctionReturn(PETSC_SUCCESS);
}

extern const CourantCommandOps CourantCommand_symbol;

const CourantSessionOps CourantSymbolPde = {
    &CourantCommand_symbol, sizeof(Session), SetUp, ReadAgain, Work, TearDown};
