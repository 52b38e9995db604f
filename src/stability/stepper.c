/*
  The amplification factor of a PETSc time stepper, by letting it step.

  TSComputeLinearStability() knows a few types only. Here any TS type steps u' = Z u, a complex matrix or
  number as the real system of twice the size, with step 1: then u_1 = R(Z) u_0. Many Z are probed at once, as
  blocks of one system.
*/
#include "core/interrupt.h"
#include "courant.h"
#include "dynamics/linear.h"
#include <complex.h>
#include <math.h>

struct _CourantStepper {
  MPI_Comm comm;
  char prefix[32];
  char type[64]; /* of the TS, after SetUp */
  PetscBool set_up;
  PetscBool one_step; /* R(z) exists: two steps are R(z)^2 */
  PetscReal limit;    /* |R(-x)| <= 1 for 0 <= x <= limit; infinite where there is none */
};

/* u' = J u and its state. */
typedef struct {
  CourantLinear linear;
  Vec u;
} Probe;

/*
  The block-diagonal matrix of n complex matrices Z [n,f,f], each number as [[re, -im], [im, re]].

  Blocks are inverted with pivoting: the real part of 1 - z may be 0 where z is no pole. The poles themselves
  lie on the positive axis; a hair beside it R is huge, where LU would fail, and all other blocks with it.
*/
static PetscErrorCode CreateBlocks(PetscInt n, PetscInt f, const PetscComplex Z[], Mat *J)
{
  const PetscInt size = 2 * f;
  PetscScalar *block;

  PetscFunctionBeginUser;
  PetscCall(MatCreateSeqBAIJ(PETSC_COMM_SELF, size, size * n, size * n, 1, NULL, J));
  PetscCall(PetscMalloc1(size * size, &block));
  for (PetscInt i = 0; i < n; i++) {
    for (PetscInt entry = 0; entry < f * f; entry++) {
      const PetscComplex z = Z[i * f * f + entry];
      PetscScalar *corner = block + 2 * (entry / f) * size + 2 * (entry % f);
      const PetscReal y = cimag(z) == 0 && creal(z) > 0 && entry / f == entry % f ? 1e-30 : cimag(z);
      corner[0] = corner[size + 1] = creal(z);
      corner[size] = y;
      corner[1] = -y;
    }
    PetscCall(MatSetValuesBlocked(*J, 1, &i, 1, &i, block, INSERT_VALUES));
  }
  PetscCall(MatAssemblyBegin(*J, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(*J, MAT_FINAL_ASSEMBLY));
  PetscCall(PetscFree(block));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenProbe(CourantStepper stepper, Mat J, Probe *probe)
{
  TSType type;

  PetscFunctionBeginUser;
  PetscCall(CourantLinearCreate(J, stepper->prefix, &probe->linear));
  PetscCall(CourantLinearSetFromOptions(probe->linear));
  PetscCall(TSGetType(probe->linear->ts, &type));
  PetscCall(PetscStrncpy(stepper->type, type, sizeof stepper->type));
  PetscCall(MatCreateVecs(J, &probe->u, NULL));
  PetscCall(TSSetSolution(probe->linear->ts, probe->u));
  PetscCall(TSSetUp(probe->linear->ts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CloseProbe(Probe *probe)
{
  PetscFunctionBeginUser;
  PetscCall(CourantLinearDestroy(&probe->linear));
  PetscCall(VecDestroy(&probe->u));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Begins at time 0 with u = 1 at every `stride`th place from `first` on, and 0 elsewhere. */
static PetscErrorCode Start(Probe *probe, PetscInt first, PetscInt stride)
{
  PetscScalar *array;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(VecGetLocalSize(probe->u, &n));
  PetscCall(VecGetArrayWrite(probe->u, &array));
  for (PetscInt i = 0; i < n; i++) array[i] = i % stride == first ? 1 : 0;
  PetscCall(VecRestoreArrayWrite(probe->u, &array));
  PetscCall(TSSetTime(probe->linear->ts, 0));
  PetscCall(TSSetStepNumber(probe->linear->ts, 0));
  PetscCall(TSRestartStep(probe->linear->ts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Steps of scalars z, each from u = 1, as long as Look(), given each state, wants more. */
static PetscErrorCode StepScalars(CourantStepper stepper, PetscInt n, const PetscComplex z[], PetscInt steps,
                                  PetscBool (*Look)(void *, PetscInt step, const PetscScalar u[]), void *ctx)
{
  Probe probe;
  Mat J;
  const PetscScalar *array;
  PetscBool more = PETSC_TRUE;

  PetscFunctionBeginUser;
  PetscCall(CreateBlocks(n, 1, z, &J));
  PetscCall(OpenProbe(stepper, J, &probe));
  PetscCall(Start(&probe, 0, 2));
  for (PetscInt step = 1; step <= steps && more; step++) {
    PetscCall(TSStep(probe.linear->ts));
    PetscCall(VecGetArrayRead(probe.u, &array));
    more = Look(ctx, step, array);
    PetscCall(VecRestoreArrayRead(probe.u, &array));
  }
  PetscCall(CloseProbe(&probe));
  PetscCall(MatDestroy(&J));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantStepperCreate - The amplification factor of a PETSc time stepper with fixed steps.

  prefix is that of its options, "probe_".
*/
PetscErrorCode CourantStepperCreate(MPI_Comm comm, const char prefix[], CourantStepper *stepper)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(stepper));
  (*stepper)->comm = comm;
  PetscCall(PetscStrncpy((*stepper)->prefix, prefix, sizeof(*stepper)->prefix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantStepperDestroy(CourantStepper *stepper)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(*stepper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first x at which growth passes 1, by sections of 64 points; looked for up to 1e6. */
static PetscErrorCode FindLimit(CourantStepper stepper)
{
  enum { POINTS = 64 };
  PetscReal x[POINTS], growth[POINTS], low = 0, high = 0;
  PetscComplex z[POINTS];

  PetscFunctionBeginUser;
  stepper->limit = INFINITY;
  for (PetscReal start = 0, end = 4; high == 0 && start < 1e6; start = end, end *= 8) {
    for (int i = 0; i < POINTS; i++) {
      x[i] = start + (end - start) * (i + 1) / POINTS;
      z[i] = -x[i];
    }
    PetscCall(CourantStepperComputeGrowth(stepper, POINTS, z, growth));
    for (int i = 0; i < POINTS && high == 0; i++) {
      if (!(growth[i] <= 1 + 1e-10))
        high = x[i];
      else
        low = x[i];
    }
  }
  if (high == 0) PetscFunctionReturn(PETSC_SUCCESS);
  while (high - low > 4e-16 * high) {
    PetscBool found = PETSC_FALSE;
    const PetscReal a = low, b = high;
    for (int i = 0; i < POINTS; i++) {
      x[i] = a + (b - a) * (i + 1) / (POINTS + 1);
      z[i] = -x[i];
    }
    if (!stepper->one_step && b - a < 1e-6 * b) break; /* asymptotic growth is not sharper than this */
    PetscCall(CourantStepperComputeGrowth(stepper, POINTS, z, growth));
    for (int i = 0; i < POINTS && !found; i++) {
      if (!(growth[i] <= 1)) {
        high = x[i];
        found = PETSC_TRUE;
      } else
        low = x[i];
    }
    if (high - low >= b - a) break;
  }
  stepper->limit = low;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool RecordThree(void *ctx, PetscInt step, const PetscScalar u[])
{
  for (int i = 0; i < 3; i++) ((PetscComplex(*)[3])ctx)[step - 1][i] = u[2 * i] + u[2 * i + 1] * PETSC_i;
  return PETSC_TRUE;
}

/*
  CourantStepperSetUp - Makes sure that the stepper can be probed and finds out what it is.

  Requires |R(z) - 1 - z| <= |z|^2 at z = -1e-3, which any consistent method meets; then R(z)^2 after two
  steps decides "one-step". Options: those of TS, with the prefix.
*/
PetscErrorCode CourantStepperSetUp(CourantStepper stepper)
{
  const PetscComplex z[3] = {-1e-3, -0.7, -0.3 + 0.4 * PETSC_i};
  PetscComplex R[2][3];

  PetscFunctionBeginUser;
  if (stepper->set_up) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(StepScalars(stepper, 3, z, 2, RecordThree, R));
  if (!(cabs(R[0][0] - 1 - z[0]) <= creal(z[0] * z[0]) * (1 + 1e-6)))
    CourantInputError(
        stepper->comm,
        "-ts_type %s: this stepper cannot be probed, it is not consistent with u' = z u at z = %g",
        stepper->type, creal(z[0]));
  stepper->one_step = PETSC_TRUE;
  for (int i = 0; i < 3; i++)
    if (!(cabs(R[1][i] - R[0][i] * R[0][i]) <= 1e-8)) stepper->one_step = PETSC_FALSE;
  stepper->set_up = PETSC_TRUE;
  PetscCall(FindLimit(stepper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantStepperGetType - TS type, and whether it is a one-step
  method; either may be NULL. After CourantStepperSetUp().
*/
PetscErrorCode CourantStepperGetType(CourantStepper stepper, const char **type, PetscBool *one_step)
{
  PetscFunctionBeginUser;
  if (type) *type = stepper->type;
  if (one_step) *one_step = stepper->one_step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantStepperGetRealLimit - The largest x such that growth is
  at most 1 on [-x, 0]; infinite for steppers without a limit.
*/
PetscErrorCode CourantStepperGetRealLimit(CourantStepper stepper, PetscReal *limit)
{
  PetscFunctionBeginUser;
  *limit = stepper->limit;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RequireOneStep(CourantStepper stepper)
{
  PetscFunctionBeginUser;
  PetscCheck(stepper->one_step, stepper->comm, PETSC_ERR_ARG_WRONGSTATE,
             "-ts_type %s is a multistep method: it has no R(z)", stepper->type);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantStepperComputePropagator - R(Z) of a one-step method for n complex matrices Z [n,f,f], row-major.

  G [n,f,f]: the step takes u with u' = Z u to G u. Linear methods have G = R(Z), of Z's eigenvectors and with
  the eigenvalues R(z); f = 1 gives R(z) itself. All n are stepped at once, from each unit vector in turn.
*/
PetscErrorCode CourantStepperComputePropagator(CourantStepper stepper, PetscInt n, PetscInt f,
                                               const PetscComplex Z[], PetscComplex G[])
{
  Probe probe;
  Mat J;
  const PetscScalar *array;

  PetscFunctionBeginUser;
  PetscCall(RequireOneStep(stepper));
  PetscCall(CreateBlocks(n, f, Z, &J));
  PetscCall(OpenProbe(stepper, J, &probe));
  for (PetscInt column = 0; column < f; column++) {
    PetscCall(Start(&probe, 2 * column, 2 * f));
    PetscCall(TSStep(probe.linear->ts));
    PetscCall(VecGetArrayRead(probe.u, &array));
    for (PetscInt row = 0; row < n * f; row++)
      G[row * f + column] = array[2 * row] + array[2 * row + 1] * PETSC_i;
    PetscCall(VecRestoreArrayRead(probe.u, &array));
  }
  PetscCall(CloseProbe(&probe));
  PetscCall(MatDestroy(&J));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantStepperComputeDensePropagator - R(Z) of a one-step method for a sparse real matrix Z of one rank.

  G [n,n], row-major, found by stepping every unit vector: for matrices of a few hundred rows.
*/
PetscErrorCode CourantStepperComputeDensePropagator(CourantStepper stepper, Mat Z, PetscReal G[])
{
  Probe probe;
  const PetscScalar *array;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(RequireOneStep(stepper));
  PetscCall(MatGetSize(Z, &n, NULL));
  PetscCall(OpenProbe(stepper, Z, &probe));
  for (PetscInt column = 0; column < n; column++) {
    CourantInterruptCheck();
    PetscCall(Start(&probe, column, n));
    PetscCall(TSStep(probe.linear->ts));
    PetscCall(VecGetArrayRead(probe.u, &array));
    for (PetscInt row = 0; row < n; row++) G[row * n + column] = array[row];
    PetscCall(VecRestoreArrayRead(probe.u, &array));
  }
  PetscCall(CloseProbe(&probe));
  PetscFunctionReturn(PETSC_SUCCESS);
}

enum { FIRST = 100, LAST = 200 };

/* Sizes of n states as long as all are numbers to reckon with. Nothing is rescaled: a multistep method
 * remembers. */
typedef struct {
  PetscInt n, steps;
  PetscReal *log_norm; /* [LAST+1,n] */
} Orbits;

static PetscBool Follow(void *ctx, PetscInt step, const PetscScalar u[])
{
  Orbits *orbits = (Orbits *)ctx;

  for (PetscInt i = 0; i < orbits->n; i++) {
    const PetscReal norm = hypot(u[2 * i], u[2 * i + 1]);
    if (!(norm < 1e280)) return PETSC_FALSE;
    orbits->log_norm[step * orbits->n + i] = log(norm);
  }
  orbits->steps = step;
  return PETSC_TRUE;
}

/*
  Geometric mean of the growth over the second half of the steps at the n places `open` of z; those that kept
  the others from going on are done and leave, more than half of the longest way at once.
*/
static PetscErrorCode FollowTogether(CourantStepper stepper, PetscInt *n, PetscInt open[],
                                     const PetscComplex z[], PetscReal growth[])
{
  PetscComplex *some;
  Orbits orbits = {.n = *n};
  PetscInt left = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(*n, &some, (LAST + 1) * *n, &orbits.log_norm));
  for (PetscInt i = 0; i < *n; i++) some[i] = z[open[i]];
  for (PetscInt i = 0; i < *n; i++) orbits.log_norm[i] = 0;
  PetscCall(StepScalars(stepper, *n, some, LAST, Follow, &orbits));
  const PetscInt last = orbits.steps, first = last == LAST ? FIRST : last / 2;
  PetscReal highest = -INFINITY;
  for (PetscInt i = 0; i < *n; i++) highest = fmax(highest, orbits.log_norm[last * *n + i]);
  for (PetscInt i = 0; i < *n; i++) {
    const PetscReal end = orbits.log_norm[last * *n + i], start = orbits.log_norm[first * *n + i];
    growth[open[i]] = last == 0       ? INFINITY
                      : isfinite(end) ? exp((end - start) / (double)(last - first))
                      : end < 0       ? 0
                                      : INFINITY;
    if (last < LAST && highest > 0 && end < highest / 2) open[left++] = open[i];
  }
  *n = left;
  PetscCall(PetscFree2(some, orbits.log_norm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantStepperComputeGrowth - |R(z)| of a one-step method at n points; of others the geometric mean of the
  growth over steps 100 to 200 (or the second half of the steps, where the state leaves the range of numbers
  before).
*/
PetscErrorCode CourantStepperComputeGrowth(CourantStepper stepper, PetscInt n, const PetscComplex z[],
                                           PetscReal growth[])
{
  PetscComplex *R;
  PetscInt *open;

  PetscFunctionBeginUser;
  if (stepper->one_step) {
    PetscCall(PetscMalloc1(n, &R));
    PetscCall(CourantStepperComputePropagator(stepper, n, 1, z, R));
    for (PetscInt i = 0; i < n; i++) growth[i] = cabs(R[i]);
    PetscCall(PetscFree(R));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1(n, &open));
  for (PetscInt i = 0; i < n; i++) open[i] = i;
  while (n) PetscCall(FollowTogether(stepper, &n, open, z, growth));
  PetscCall(PetscFree(open));
  PetscFunctionReturn(PETSC_SUCCESS);
}
