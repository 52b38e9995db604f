/* The matrix of a linear PDE between its walls: solved, as a file and as text. */
#include "cmd/symbol-scheme.h"
#include <math.h>

/* ---- the file ---- */

#define NUMBER "/matrix/number"
#define POWER  "/matrix/power"

static const CourantResultEntry entries[] = {
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
     "condition of the eigenvalue: to first order it lies within condition times residual; NaN where it is "
     "not known",
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

static PetscErrorCode WriteMatrix(const SymbolPdeSession *s)
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
  for (size_t e = 0; e < PETSC_STATIC_ARRAY_LENGTH(entries); e++)
    PetscCall(CourantResultAddValues(file, &entries[e], values[e]));
  PetscCall(CourantResultSetInt(file, "/matrix", "unknowns", (int)m->unknowns));
  PetscCall(CourantResultSetInt(file, "/matrix", "unconverged", (int)m->unconverged));
  PetscCall(CourantResultSetString(file, "/matrix", "which",
                                   m->all ? "all eigenvalues" : "some of the rightmost and of the largest"));
  PetscCall(PetscFree3(number, re, im));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the terminal ---- */

static void PrintMatrix(const SymbolPdeSession *s)
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
  if (!m->all && isnan(m->condition[0]))
    printf("the matrix is not normal: these are eigenvalues of matrices as near to it as the residuals are "
           "small, "
           "which may lie far from its own\n");
  if (!s->scheme->by_step) {
    (void)SymbolPdePrintLimit(&m->limit);
    printf(", by these eigenvalues\n");
  }
  printf("largest growth     %.12g by these eigenvalues", growth);
  if (m->all && s->one_step) printf(", %.12g by those of the step's matrix", m->radius);
  printf("\n");
  if (transient > 0)
    printf("transient growth   |G^n| up to %.6g, at n = %d of those looked at; %.6g at n = %d\n", transient,
           (int)CourantPower(peak), m->norms[COURANT_POWERS - 1], (int)CourantPower(COURANT_POWERS - 1));
}

/* ---- the solve ---- */

static PetscErrorCode ReportMatrix(SymbolPdeSession *s)
{
  PetscFunctionBeginUser;
  PetscCall(WriteMatrix(s));
  if (!s->output.quiet) PrintMatrix(s);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* SymbolPdeSolveMatrix - The grid's matrix at the deck's step: the group /matrix. Collective. */
PetscErrorCode SymbolPdeSolveMatrix(SymbolPdeSession *s)
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
