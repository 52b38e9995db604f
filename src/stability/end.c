/*
  One end of the spectrum of a symmetric operator: what was found there, and how good it is.

  Rayleigh and Ritz's method on all that the search (search.h) has found gives values, vectors and fresh
  residuals, with the operator in double precision.
*/
#include "stability/spectrum.h"
#include "core/lapack.h"
#include <math.h>
#include <stdlib.h>

static const PetscReal default_tolerance = 1e-10;
static const PetscReal keep = 0.75; /* of a basis at a restart: close to a basis without end, often checked */

/* ---- life ---- */

/* A Krylov-Schur solver of this end. */
static PetscErrorCode CreateEPS(CourantSpectrumEnd *end, EPS *result)
{
  const PetscBool largest = end->sign > 0 ? PETSC_TRUE : PETSC_FALSE;
  EPS eps;

  PetscFunctionBeginUser;
  PetscCall(EPSCreate(end->spectrum->comm, &eps));
  PetscCall(EPSSetOptionsPrefix(eps, largest ? "hessian_max_" : "hessian_min_"));
  PetscCall(EPSSetProblemType(eps, EPS_HEP));
  PetscCall(EPSSetWhichEigenpairs(eps, largest ? EPS_LARGEST_REAL : EPS_SMALLEST_REAL));
  PetscCall(EPSSetType(eps, EPSKRYLOVSCHUR));
  PetscCall(EPSKrylovSchurSetRestart(eps, keep));
  PetscCall(EPSSetTolerances(eps, default_tolerance, 1000));
  PetscCall(CourantSpectrumSetTests(end->spectrum, eps));
  *result = eps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantSpectrumEndCreate(CourantSpectrum spectrum, CourantSide side, CourantSpectrumEnd *end)
{
  PetscFunctionBeginUser;
  *end = (CourantSpectrumEnd){
      .spectrum = spectrum, .sign = side == COURANT_LARGEST ? 1 : -1, .wanted = 1, .threshold = NAN};
  PetscCall(CreateEPS(end, &end->eps));
  PetscCall(CreateEPS(end, &end->certifier));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The search's solver anew, for a start from guesses or a random one; what the last one has left behind does
  not go with it. Krylov-Schur uses one vector of an initial space, generalised Davidson all. (So does LOBPCG,
  but with no preconditioner it takes ten times the products and more.)
*/
PetscErrorCode CourantSpectrumEndRenew(CourantSpectrumEnd *end, PetscBool guesses)
{
  const char *prefix;
  PetscReal tolerance;
  PetscInt iterations;
  EPS eps;
  ST st;
  KSP ksp;
  PC pc;

  PetscFunctionBeginUser;
  PetscCall(CreateEPS(end, &eps));
  PetscCall(EPSGetOptionsPrefix(end->eps, &prefix));
  PetscCall(EPSSetOptionsPrefix(eps, prefix));
  PetscCall(EPSGetTolerances(end->eps, &tolerance, &iterations));
  PetscCall(EPSSetTolerances(eps, tolerance, iterations));
  PetscCall(EPSSetOperators(eps, end->spectrum->view, NULL));
  if (guesses) {
    PetscCall(EPSSetType(eps, EPSGD));
    PetscCall(EPSGetST(eps, &st));
    PetscCall(STSetType(st, STPRECOND));
    PetscCall(STGetKSP(st, &ksp));
    PetscCall(KSPGetPC(ksp, &pc));
    PetscCall(PCSetType(pc, PCNONE));
  }
  PetscCall(EPSDestroy(&end->eps));
  end->eps = eps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Forgets what was found. */
PetscErrorCode CourantSpectrumEndReset(CourantSpectrumEnd *end)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < end->n; i++) PetscCall(VecDestroy(&end->vectors[i]));
  end->n = end->told = 0;
  end->searched = end->certified = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantSpectrumEndDestroy(CourantSpectrumEnd *end)
{
  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumEndReset(end));
  for (PetscInt i = 0; i < end->nguesses; i++) PetscCall(VecDestroy(&end->guesses[i]));
  PetscCall(PetscFree(end->guesses));
  PetscCall(PetscFree(end->vectors));
  PetscCall(PetscFree(end->values));
  PetscCall(VecDestroy(&end->top));
  PetscCall(EPSDestroy(&end->eps));
  PetscCall(EPSDestroy(&end->certifier));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- what was found ---- */

static PetscErrorCode Reserve(CourantSpectrumEnd *end, PetscInt n)
{
  PetscFunctionBeginUser;
  if (n <= end->capacity) PetscFunctionReturn(PETSC_SUCCESS);
  end->capacity = PetscMax(n, 2 * end->capacity);
  PetscCall(PetscRealloc(sizeof(Vec) * (size_t)end->capacity, &end->vectors));
  PetscCall(PetscRealloc(sizeof(CourantEigenvalue) * (size_t)end->capacity, &end->values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds pair i of a solver. */
PetscErrorCode CourantSpectrumEndAdd(CourantSpectrumEnd *end, EPS eps, PetscInt i)
{
  PetscScalar value;

  PetscFunctionBeginUser;
  PetscCall(Reserve(end, end->n + 1));
  PetscCall(EPSGetEigenvalue(eps, i, &value, NULL));
  PetscCall(VecDuplicate(end->top, &end->vectors[end->n]));
  PetscCall(EPSGetEigenvector(eps, i, end->vectors[end->n], NULL));
  end->values[end->n++] = (CourantEigenvalue){.value = PetscRealPart(value), .residual = NAN};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int CompareValues(const void *a, const void *b)
{
  const PetscReal x = *(const PetscReal *)a, y = *(const PetscReal *)b;
  return (x < y) - (x > y);
}

/* The value of which at most `wanted` - 1 are better; the worst of all where there are fewer. */
PetscErrorCode CourantSpectrumEndLastWanted(const CourantSpectrumEnd *end, PetscReal *value)
{
  PetscReal *turned;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(end->n, &turned));
  for (PetscInt i = 0; i < end->n; i++) turned[i] = end->sign * end->values[i].value;
  qsort(turned, (size_t)end->n, sizeof *turned, CompareValues);
  *value = end->sign * turned[PetscMin(end->n, end->wanted) - 1];
  PetscCall(PetscFree(turned));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Is one of the pairs from `first` on better than a value? */
PetscBool CourantSpectrumEndHasBetter(const CourantSpectrumEnd *end, PetscInt first, PetscReal value)
{
  for (PetscInt i = first; i < end->n; i++)
    if (end->sign * end->values[i].value > end->sign * value) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* ---- what it comes to ---- */

/* Column j of X and Y, an eigenvector and its product with the operator, as a pair. */
static PetscErrorCode Measure(CourantSpectrumEnd *end, BV X, BV Y, PetscInt j, PetscReal value, PetscInt to)
{
  Vec y;

  PetscFunctionBeginUser;
  PetscCall(BVCopyVec(X, j, end->vectors[to]));
  PetscCall(BVGetColumn(Y, j, &y));
  PetscCall(VecAXPY(y, -value, end->vectors[to]));
  PetscCall(VecNorm(y, NORM_2, &end->values[to].residual));
  PetscCall(BVRestoreColumn(Y, j, &y));
  end->values[to].value = value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rayleigh and Ritz's method on all that was found, with the operator in double precision: best first. */
static PetscErrorCode Refine(CourantSpectrumEnd *end)
{
  const CourantSpectrum spectrum = end->spectrum;
  PetscInt m = end->n;
  PetscScalar *array;
  PetscReal *values;
  BV X, Y;
  Mat M;

  PetscFunctionBeginUser;
  if (m == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(BVCreate(spectrum->comm, &X));
  PetscCall(BVSetSizesFromVec(X, end->top, m));
  PetscCall(BVSetFromOptions(X));
  PetscCall(BVInsertVecs(X, 0, &m, end->vectors, PETSC_TRUE)); /* dependent ones are left out */
  PetscCall(BVSetActiveColumns(X, 0, m));
  PetscCall(BVDuplicate(X, &Y));
  PetscCall(BVSetActiveColumns(Y, 0, m));
  spectrum->precise = PETSC_TRUE;
  PetscCall(BVMatMult(X, spectrum->view, Y));
  spectrum->precise = PETSC_FALSE;
  PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, m, m, NULL, &M));
  PetscCall(BVDot(Y, X, M));
  PetscCall(PetscMalloc1(m, &values));
  PetscCall(MatDenseGetArray(M, &array));
  PetscCall(CourantDiagonalise('V', m, array, values));
  PetscCall(MatDenseRestoreArray(M, &array));
  PetscCall(BVMultInPlace(X, M, 0, m));
  PetscCall(BVMultInPlace(Y, M, 0, m));
  for (PetscInt i = m; i < end->n; i++) PetscCall(VecDestroy(&end->vectors[i]));
  end->n = m;
  for (PetscInt i = 0; i < m; i++) {
    const PetscInt j = end->sign > 0 ? m - 1 - i : i;
    PetscCall(Measure(end, X, Y, j, values[j], i));
    spectrum->norm = PetscMax(spectrum->norm, fabs(values[j]));
  }
  PetscCall(PetscFree(values));
  PetscCall(MatDestroy(&M));
  PetscCall(BVDestroy(&Y));
  PetscCall(BVDestroy(&X));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Neighbours that their residuals do not keep apart are one eigenvalue, several times. */
static void CountMultiplicities(CourantSpectrumEnd *end)
{
  const PetscReal slack = end->tolerance * end->spectrum->norm;
  CourantEigenvalue *v = end->values;

  for (PetscInt first = 0, next; first < end->n; first = next) {
    for (next = first + 1; next < end->n; next++)
      if (fabs(v[next].value - v[next - 1].value) > v[next].residual + v[next - 1].residual + slack) break;
    for (PetscInt i = first; i < next; i++) v[i].multiplicity = next - first;
  }
}

/* How many pairs were asked for; what is wanted and was not found is told too, as not computed. */
static PetscErrorCode Tell(CourantSpectrumEnd *end)
{
  PetscFunctionBeginUser;
  end->told = 0;
  if (isnan(end->threshold)) {
    end->told = end->wanted;
    PetscCall(Reserve(end, end->told));
    for (PetscInt i = end->n; i < end->told; i++)
      end->values[i] = (CourantEigenvalue){.value = NAN, .residual = NAN, .status = COURANT_NOT_CONVERGED};
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  while (end->told < end->n && end->sign * end->values[end->told].value > end->sign * end->threshold)
    end->told++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Makes results of what the search has found and what it knows to be missing. */
PetscErrorCode CourantSpectrumEndFinish(CourantSpectrumEnd *end)
{
  const PetscReal norm = end->spectrum->norm;
  const PetscBool closed = end->sign * end->complete > -PETSC_INFINITY ? PETSC_FALSE : PETSC_TRUE;

  PetscFunctionBeginUser;
  PetscCall(Refine(end));
  CountMultiplicities(end);
  PetscCall(Tell(end));
  for (PetscInt i = 0; i < end->told; i++) {
    CourantEigenvalue *v = &end->values[i];
    v->products = end->searched;
    v->certificate = end->certified;
    v->missed = (i == 0 ? end->missed_search : 1) * end->missed;
    v->status = v->residual <= 10 * end->tolerance * norm && end->sign * v->value > end->sign * end->complete
                    ? COURANT_CONVERGED
                    : COURANT_NOT_CONVERGED;
  }
  if (!closed) end->missed = 1;
  if (end->n) PetscCall(VecCopy(end->vectors[0], end->top));
  PetscFunctionReturn(PETSC_SUCCESS);
}
