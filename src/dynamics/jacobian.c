/*
  The Jacobian of the network's outputs by its weights, as a matrix, and the neural tangent kernel.

  A row belongs to a sample and an output, and is scaled by n^(-1/2), n the number of samples. So with B =
  diag(B_i), B_i the Hessian of the loss of sample i by its outputs, the Gauss-Newton matrix is J^T B J, and
  the kernel J J^T = (1/n) sum over weights of products of derivatives (Jacot, Gabriel, Hongler 2018, with the
  mean over the data that the loss has). With rows weighted by B^(1/2) it is J^T J and shares what is not 0 of
  its spectrum with the kernel; for the squared loss B = 1 and weighted or not is the same.
*/
#define COURANT_BITS 64 /* losses are called in double precision here */
#define COURANT_ISA  baseline
#include "core/interrupt.h"
#include "core/lapack.h"
#include "dynamics/problem.h"
#include "net/layerops.h"
#include <math.h>
#include <string.h>

typedef struct {
  CourantProblem problem;
  PetscInt samples, first; /* of this rank */
  PetscInt outputs;
  PetscReal scale; /* n^(-1/2) */
  PetscBool weighted, single;
  PetscInt64 state; /* that the roots are at */
  double *roots;    /* B_i^(1/2) [samples,outputs,outputs] */
  double *rows;     /* [samples,outputs] */
} Jacobian;

/* B_i [outputs,outputs], column by column, from the loss's jets of order 1. */
static void LossHessian(const Jacobian *j, PetscInt sample, const double p[], double work[], double B[])
{
  const CourantProblem problem = j->problem;
  const PetscInt k = j->outputs;
  double loss[2] = {0}, *unit = work, *value = work + k, *slope = work + 2 * k;

  memcpy(value, p, sizeof(double) * (size_t)k);
  for (PetscInt c = 0; c < k; c++) {
    memset(unit, 0, sizeof(double) * (size_t)k);
    unit[c] = 1;
    const CourantLossCall call = {.n = 1,
                                  .outputs = (int)k,
                                  .width = (int)problem->data->width,
                                  .order = 1,
                                  .labels = problem->data->labels + sample * problem->data->width,
                                  .p = {.c = {value, unit}, .degree = 1},
                                  .dp = {.c = {slope, B + c * k}, .degree = 1},
                                  .scale = 1,
                                  .loss = loss};
    problem->backend->losses[problem->net->loss]->Run(&call);
  }
}

/* The symmetric square root of a positive semidefinite B [k,k], in place. Q: [k,k], values: [k]. */
static PetscErrorCode SquareRoot(PetscInt k, double B[], double Q[], double values[])
{
  PetscFunctionBeginUser;
  memcpy(Q, B, sizeof(double) * (size_t)(k * k));
  PetscCall(CourantDiagonalise('V', k, Q, values));
  for (PetscInt a = 0; a < k; a++)
    for (PetscInt b = 0; b < k; b++) {
      B[a * k + b] = 0;
      for (PetscInt i = 0; i < k; i++) B[a * k + b] += Q[i * k + a] * sqrt(fmax(0, values[i])) * Q[i * k + b];
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The roots at the state of the products, once for each. */
static PetscErrorCode SetUpRoots(Jacobian *j)
{
  const CourantProblem problem = j->problem;
  const PetscInt k = j->outputs;
  const size_t square = (size_t)k * (size_t)k;
  double *Q, *values, *work;

  PetscFunctionBeginUser;
  if (!j->weighted || j->state == problem->state) PetscFunctionReturn(PETSC_SUCCESS);
  if (!j->roots) PetscCall(PetscMalloc1((size_t)PetscMax(1, j->samples) * square, &j->roots));
  PetscCall(PetscMalloc3(square, &Q, k, &values, 3 * k, &work));
  PetscCall(CourantEvaluatorOutputs(problem->first, NULL, problem->comm, j->rows, problem->result));
  for (PetscInt i = 0; i < j->samples; i++) {
    double *B = j->roots + (size_t)i * square;
    LossHessian(j, j->first + i, j->rows + i * k, work, B);
    PetscCall(SquareRoot(k, B, Q, values));
  }
  PetscCall(PetscFree3(Q, values, work));
  j->state = problem->state;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* to = scale B^(1/2) from, [samples,outputs]. */
static void Weigh(const Jacobian *j, const double from[], double to[])
{
  const PetscInt k = j->outputs;

  for (PetscInt i = 0; i < j->samples; i++)
    for (PetscInt a = 0; a < k; a++) {
      double sum = j->weighted ? 0 : from[i * k + a];
      for (PetscInt b = 0; j->weighted && b < k; b++)
        sum += j->roots[(size_t)(i * k + a) * (size_t)k + (size_t)b] * from[i * k + b];
      to[i * k + a] = j->scale * sum;
    }
}

/* The evaluator of products. The roots are in double precision whatever these are. */
static CourantEvaluator Products(const Jacobian *j)
{
  return j->single ? j->problem->single : j->problem->first;
}

/* y = J x: forward on jets of order 1. */
static PetscErrorCode MatMult_Jacobian(Mat A, Vec x, Vec y)
{
  Jacobian *j;
  PetscScalar *array;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(A, &j));
  const CourantProblem problem = j->problem;
  PetscCall(CourantInterruptCheckTogether(problem->comm));
  PetscCall(SetUpRoots(j));
  PetscCall(PetscLogEventBegin(CourantLogging.product, 0, 0, 0, 0));
  PetscCall(CourantProblemGetAll(problem, x, problem->direction));
  PetscCall(
      CourantEvaluatorOutputs(Products(j), problem->direction, problem->comm, j->rows, problem->result));
  PetscCall(VecGetArrayWrite(y, &array));
  Weigh(j, j->rows, array);
  PetscCall(VecRestoreArrayWrite(y, &array));
  PetscCall(PetscLogEventEnd(CourantLogging.product, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y = J^T x: back by order 0. */
static PetscErrorCode MatMultTranspose_Jacobian(Mat A, Vec x, Vec y)
{
  Jacobian *j;
  const PetscScalar *array;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(A, &j));
  const CourantProblem problem = j->problem;
  PetscCall(CourantInterruptCheckTogether(problem->comm));
  PetscCall(SetUpRoots(j));
  PetscCall(PetscLogEventBegin(CourantLogging.product, 0, 0, 0, 0));
  PetscCall(VecGetArrayRead(x, &array));
  Weigh(j, array, j->rows);
  PetscCall(VecRestoreArrayRead(x, &array));
  PetscCall(CourantEvaluatorPullBack(Products(j), j->rows, problem->comm, problem->result));
  PetscCall(CourantProblemPut(problem->result, y));
  PetscCall(PetscLogEventEnd(CourantLogging.product, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatDestroy_Jacobian(Mat A)
{
  Jacobian *j;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(A, &j));
  PetscCall(PetscFree(j->roots));
  PetscCall(PetscFree(j->rows));
  PetscCall(PetscFree(j));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemCreateJacobian - J [samples x outputs, weights], J_(i,o) = n^(-1/2) d p_o(x_i) / d theta, as a
  MATSHELL with products and those of its transpose, as SLEPc's SVD needs them.

  It is at the theta of the last CourantProblemSetState(). A rank has the rows of its samples. With batch
  norm, samples of a statistics group know of each other and so do their rows. Collective; the caller destroys
  it.
*/
PetscErrorCode CourantProblemCreateJacobian(CourantProblem problem, Mat *J)
{
  Jacobian *j;
  PetscInt end, columns;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemSetUpProducts(problem));
  PetscCall(PetscNew(&j));
  j->problem = problem;
  j->outputs = (PetscInt)CourantShapeSize(problem->net->out);
  j->scale = 1 / sqrt((double)problem->data->n);
  j->state = -1;
  CourantEvaluatorGetShare(problem->first, &j->first, &end);
  j->samples = end - j->first;
  const PetscInt rows = j->samples * j->outputs;
  PetscCall(PetscMalloc1(PetscMax(1, rows), &j->rows));
  PetscCall(VecGetLocalSize(problem->mask, &columns));
  PetscCall(
      MatCreateShell(problem->comm, rows, columns, problem->data->n * j->outputs, problem->net->size, j, J));
  PetscCall(MatShellSetOperation(*J, MATOP_MULT, (void (*)(void))MatMult_Jacobian));
  PetscCall(MatShellSetOperation(*J, MATOP_MULT_TRANSPOSE, (void (*)(void))MatMultTranspose_Jacobian));
  PetscCall(MatShellSetOperation(*J, MATOP_DESTROY, (void (*)(void))MatDestroy_Jacobian));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantJacobianSetWeighted - Makes a matrix of CourantProblemCreateJacobian() B^(1/2) J, with which J^T J is
  the Gauss-Newton matrix of any loss.
*/
PetscErrorCode CourantJacobianSetWeighted(Mat J, PetscBool weighted)
{
  Jacobian *j;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(J, &j));
  j->weighted = weighted;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantJacobianSetSingle - Makes a matrix of CourantProblemCreateJacobian(), and so its kernel, multiply in
  single precision, at the theta of the next CourantProblemSetState(). Collective.
*/
PetscErrorCode CourantJacobianSetSingle(Mat J, PetscBool single)
{
  Jacobian *j;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(J, &j));
  j->single = single;
  if (single) PetscCall(CourantProblemSetUpSingle(j->problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantJacobianCreateKernel - The neural tangent kernel J J^T [samples x outputs], symmetric, of a
  matrix of CourantProblemCreateJacobian(), which it holds a reference of. The caller destroys it.
*/
PetscErrorCode CourantJacobianCreateKernel(Mat J, Mat *kernel)
{
  Mat transposed;

  PetscFunctionBeginUser;
  PetscCall(MatCreateTranspose(J, &transposed));
  PetscCall(MatCreateNormal(transposed, kernel));
  PetscCall(MatSetOption(*kernel, MAT_SYMMETRIC, PETSC_TRUE));
  PetscCall(MatSetOption(*kernel, MAT_SYMMETRY_ETERNAL, PETSC_TRUE));
  PetscCall(MatDestroy(&transposed));
  PetscFunctionReturn(PETSC_SUCCESS);
}
