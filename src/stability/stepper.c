/*
  The amplification factor of a PETSc time stepper, by letting it step.

  TSComputeLinearStability() knows a few types only. Here any TS type steps u' = z u, a complex z as the real
  2 x 2 system, with step 1: then u_1 = R(z) u_0. Many z are probed at once, as blocks of one system.
*/
#include "core/error.h"
#include "courant.h"
#include "dynamics/linear.h"
#include <math.h>

struct _CourantStepper {
  MPI_Comm comm;
  char prefix[32];
  char type[64]; /* of the TS, after SetUp */
  PetscBool set_up;
  PetscBool one_step; /* R(z) exists: two steps are R(z)^2 */
  PetscReal limit;    /* |R(-x)| <= 1 for 0 <= x <= limit; infinite where there is none */
};

/* The block-diagonal matrix of n complex numbers, [[re, -im], [im, re]] each. */
static PetscErrorCode CreateBlocks(PetscInt n, const PetscReal re[], const PetscReal im[], Mat *J)
{
  PetscFunctionBeginUser;
  PetscCall(MatCreateSeqAIJ(PETSC_COMM_SELF, 2 * n, 2 * n, 2, NULL, J));
  for (PetscInt i = 0; i < n; i++) {
    const PetscInt rows[2] = {2 * i, 2 * i + 1};
    const PetscReal y = im ? im[i] : 0;
    const PetscScalar block[4] = {re[i], -y, y, re[i]};
    PetscCall(MatSetValues(*J, 2, rows, 2, rows, block, INSERT_VALUES));
  }
  PetscCall(MatAssemblyBegin(*J, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(*J, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Starts from u = 1 in every block and takes steps, handing each state [2n] to Look(). */
static PetscErrorCode Step(CourantStepper stepper, PetscInt n, const PetscReal re[], const PetscReal im[],
                           PetscInt steps, PetscBool (*Look)(void *, PetscInt step, const PetscScalar u[]),
                           void *ctx)
{
  CourantLinear probe;
  Mat J;
  TSType type;
  Vec u;
  const PetscScalar *array;
  PetscBool more = PETSC_TRUE;

  PetscFunctionBeginUser;
  PetscCall(CreateBlocks(n, re, im, &J));
  PetscCall(CourantLinearCreate(J, stepper->prefix, &probe));
  PetscCall(CourantLinearSetFromOptions(probe));
  PetscCall(TSGetType(probe->ts, &type));
  PetscCall(PetscStrncpy(stepper->type, type, sizeof stepper->type));
  PetscCall(MatCreateVecs(J, &u, NULL));
  for (PetscInt i = 0; i < n; i++) PetscCall(VecSetValue(u, 2 * i, 1, INSERT_VALUES));
  PetscCall(VecAssemblyBegin(u));
  PetscCall(VecAssemblyEnd(u));
  PetscCall(TSSetSolution(probe->ts, u));
  PetscCall(TSSetUp(probe->ts));
  for (PetscInt step = 1; step <= steps && more; step++) {
    PetscCall(TSStep(probe->ts));
    PetscCall(VecGetArrayRead(u, &array));
    more = Look(ctx, step, array);
    PetscCall(VecRestoreArrayRead(u, &array));
  }
  PetscCall(CourantLinearDestroy(&probe));
  PetscCall(VecDestroy(&u));
  PetscCall(MatDestroy(&J));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  PetscInt n;
  PetscReal *re[2], *im[2]; /* after one and after two steps */
} States;

static PetscBool Record(void *ctx, PetscInt step, const PetscScalar u[])
{
  States *s = (States *)ctx;
  for (PetscInt i = 0; i < s->n && s->re[step - 1]; i++) {
    s->re[step - 1][i] = PetscRealPart(u[2 * i]);
    s->im[step - 1][i] = PetscRealPart(u[2 * i + 1]);
  }
  return PETSC_TRUE;
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
  PetscReal x[POINTS], z[POINTS], growth[POINTS], low = 0, high = 0;

  PetscFunctionBeginUser;
  stepper->limit = INFINITY;
  for (PetscReal start = 0, end = 4; high == 0 && start < 1e6; start = end, end *= 8) {
    for (int i = 0; i < POINTS; i++) {
      x[i] = start + (end - start) * (i + 1) / POINTS;
      z[i] = -x[i];
    }
    PetscCall(CourantStepperComputeGrowth(stepper, POINTS, z, NULL, growth));
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
    PetscCall(CourantStepperComputeGrowth(stepper, POINTS, z, NULL, growth));
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

/*
  CourantStepperSetUp - Makes sure that the stepper can be probed and finds out what it is.

  Requires |R(z) - 1 - z| <= |z|^2 at z = -1e-3, which any consistent method meets; then R(z)^2 after two
  steps decides "one-step". Options: those of TS, with the prefix.
*/
PetscErrorCode CourantStepperSetUp(CourantStepper stepper)
{
  const PetscReal z[3] = {-1e-3, -0.7, -0.3}, y[3] = {0, 0, 0.4};
  PetscReal re[2][3], im[2][3];
  States states = {.n = 3, .re = {re[0], re[1]}, .im = {im[0], im[1]}};

  PetscFunctionBeginUser;
  if (stepper->set_up) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Step(stepper, 3, z, y, 2, Record, &states));
  const PetscReal defect = hypot(re[0][0] - 1 - z[0], im[0][0]);
  if (!(defect <= z[0] * z[0] * (1 + 1e-6)))
    CourantInputError(
        stepper->comm,
        "-ts_type %s: this stepper cannot be probed, it is not consistent with u' = z u at z = %g",
        stepper->type, z[0]);
  stepper->one_step = PETSC_TRUE;
  for (int i = 0; i < 3; i++) {
    const PetscReal square_re = re[0][i] * re[0][i] - im[0][i] * im[0][i],
                    square_im = 2 * re[0][i] * im[0][i];
    if (!(hypot(re[1][i] - square_re, im[1][i] - square_im) <= 1e-8)) stepper->one_step = PETSC_FALSE;
  }
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

/*
  CourantStepperComputeFactor - R(z) of a one-step method at n points z = z_re + i z_im; z_im NULL: real
  points.
*/
PetscErrorCode CourantStepperComputeFactor(CourantStepper stepper, PetscInt n, const PetscReal z_re[],
                                           const PetscReal z_im[], PetscReal R_re[], PetscReal R_im[])
{
  States states = {.n = n, .re = {R_re}, .im = {R_im}};

  PetscFunctionBeginUser;
  PetscCheck(stepper->one_step, stepper->comm, PETSC_ERR_ARG_WRONGSTATE,
             "-ts_type %s is a multistep method: it has no R(z)", stepper->type);
  PetscCall(Step(stepper, n, z_re, z_im, 1, Record, &states));
  PetscFunctionReturn(PETSC_SUCCESS);
}

enum { FIRST = 100, LAST = 200 };

typedef struct {
  PetscInt steps;
  PetscReal log_norm[LAST + 1];
} Orbit;

/*
  The size of the state as long as it is a number to reckon
  with. Nothing is rescaled: a multistep method remembers.
*/
static PetscBool Follow(void *ctx, PetscInt step, const PetscScalar u[])
{
  Orbit *orbit = (Orbit *)ctx;
  const PetscReal norm = hypot(PetscRealPart(u[0]), PetscRealPart(u[1]));

  if (!(norm > 1e-280 && norm < 1e280)) return PETSC_FALSE;
  orbit->log_norm[step] = log(norm);
  orbit->steps = step;
  return PETSC_TRUE;
}

/*
  CourantStepperComputeGrowth - |R(z)| of a one-step method; of others the geometric mean of the growth over
  steps 100 to 200 (or the second half of the steps, where the state leaves the range of numbers before).
*/
PetscErrorCode CourantStepperComputeGrowth(CourantStepper stepper, PetscInt n, const PetscReal z_re[],
                                           const PetscReal z_im[], PetscReal growth[])
{
  PetscReal *im;

  PetscFunctionBeginUser;
  if (stepper->one_step) {
    PetscCall(PetscMalloc1(n, &im));
    PetscCall(CourantStepperComputeFactor(stepper, n, z_re, z_im, growth, im));
    for (PetscInt i = 0; i < n; i++) growth[i] = hypot(growth[i], im[i]);
    PetscCall(PetscFree(im));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt i = 0; i < n; i++) {
    Orbit orbit = {0};
    PetscCall(Step(stepper, 1, &z_re[i], z_im ? &z_im[i] : NULL, LAST, Follow, &orbit));
    const PetscInt first = orbit.steps == LAST ? FIRST : orbit.steps / 2;
    growth[i] =
        orbit.steps > first
            ? exp((orbit.log_norm[orbit.steps] - orbit.log_norm[first]) / (double)(orbit.steps - first))
            : 0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
