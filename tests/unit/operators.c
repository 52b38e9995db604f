/* The Jacobian, the Gauss-Newton matrix and the tangent kernel against each other, differences and closed
   forms; products in single precision. */
#include "problem.h"
#include <petscblaslapack.h>

#define IMAGES "data: {source: noise, size: 8, samples: 6, classes: 3, exponent: 1, mean: 0.5, seed: 5}\n"
#define LAYERS                                                                                               \
  "network:\n- conv: {channels: 3, kernel: 3}\n- swish: {}\n- residual: {layers: [{conv: {channels: 3, "     \
  "kernel: 3, padding: same}}, {tanh: {}}]}\n- global_mean: {}\n- dense: {features: 3}\n"
#define WEIGHTS "weights: {init: he, seed: 5}\n"

static const struct {
  const char *name, *text;
} decks[] = {
    {"softmax", IMAGES LAYERS "loss: softmax\n" WEIGHTS},
    {"squared", IMAGES LAYERS "loss: squared\n" WEIGHTS},
    {"logistic", TWO_LAYERS},
    {"batch norm", IMAGES "network: [{conv: {channels: 2, kernel: 3}}, batch_norm, swish, flatten, {dense: "
                          "{features: 3}}]\nloss: softmax\nstatistics_batch: 4\n" WEIGHTS},
};
enum { DECKS = sizeof decks / sizeof *decks };

/* A column-major copy of a matrix, by its products with unit vectors. */
static double *Assemble(Mat A, PetscInt *rows, PetscInt *columns)
{
  const PetscScalar *array;
  double *copy;
  Mat dense;

  OK(MatGetSize(A, rows, columns));
  OK(MatComputeOperator(A, MATDENSE, &dense));
  OK(PetscMalloc1(*rows * *columns, &copy));
  OK(MatDenseGetArrayRead(dense, &array));
  memcpy(copy, array, sizeof(double) * (size_t)(*rows * *columns));
  OK(MatDenseRestoreArrayRead(dense, &array));
  OK(MatDestroy(&dense));
  return copy;
}

/* All eigenvalues, ascending, of a symmetric matrix, which they replace. */
static void Eigenvalues(PetscInt n, double A[], double values[])
{
  PetscBLASInt size = (PetscBLASInt)n, length = 64 * size, info;
  double *work;

  OK(PetscMalloc1(length, &work));
  LAPACKsyev_("N", "U", &size, A, &size, values, work, &length, &info);
  assert_int_equal(info, 0);
  OK(PetscFree(work));
}

static void Start(Fixture *f, const char *text)
{
  Open(f, text);
  OK(CourantProblemSetState(f->problem, f->theta, NULL, NULL));
}

/* n^(-1/2) times the central difference of all outputs in weight `at`. */
static void Differences(Fixture *f, PetscInt at, double h, PetscInt n, double outputs[])
{
  const PetscInt samples = f->problem->data->n;
  double *theta, *other;

  OK(PetscMalloc2(f->p, &theta, n, &other));
  OK(CourantProblemGetAll(f->problem, f->theta, theta));
  theta[at] += h;
  OK(CourantProblemComputeOutputs(f->problem, theta, samples, outputs));
  theta[at] -= 2 * h;
  OK(CourantProblemComputeOutputs(f->problem, theta, samples, other));
  for (PetscInt i = 0; i < n; i++) outputs[i] = (outputs[i] - other[i]) / (2 * h * sqrt((double)samples));
  OK(PetscFree2(theta, other));
}

/* Columns are derivatives of the outputs: the error of central differences, h^2 and rounding / h. */
static void ColumnsAreDerivatives(void **state)
{
  const double h = 1e-5;

  (void)state;
  for (int d = 0; d < DECKS; d++) {
    PetscInt rows, columns;
    double *difference;
    Fixture f;
    Mat J;
    Start(&f, decks[d].text);
    OK(CourantProblemCreateJacobian(f.problem, &J));
    double *matrix = Assemble(J, &rows, &columns);
    assert_int_equal(columns, f.p);
    OK(PetscMalloc1(rows, &difference));
    for (PetscInt j = 0; j < columns; j += 7) {
      Differences(&f, j, h, rows, difference);
      for (PetscInt i = 0; i < rows; i++) NEAR(matrix[i + j * rows], difference[i], 1e-8);
    }
    OK(PetscFree(difference));
    OK(PetscFree(matrix));
    OK(MatDestroy(&J));
    Close(&f);
  }
}

/* The transpose is that of the columns, to rounding: the way back is the way of Gauss-Newton products. */
static void Transposes(void **state)
{
  (void)state;
  for (int d = 0; d < DECKS; d++)
    for (int weighted = 0; weighted < 2; weighted++) {
      PetscInt rows, columns, n, m;
      Fixture f;
      Mat J, Jt;
      Start(&f, decks[d].text);
      OK(CourantProblemCreateJacobian(f.problem, &J));
      OK(CourantJacobianSetWeighted(J, weighted ? PETSC_TRUE : PETSC_FALSE));
      OK(MatCreateTranspose(J, &Jt));
      double *matrix = Assemble(J, &rows, &columns), *transposed = Assemble(Jt, &n, &m), norm = 0;
      for (PetscInt i = 0; i < rows * columns; i++) norm = fmax(norm, fabs(matrix[i]));
      for (PetscInt i = 0; i < rows; i++)
        for (PetscInt j = 0; j < columns; j++)
          NEAR(matrix[i + j * rows], transposed[j + i * columns], 1e-14 * norm);
      OK(PetscFree(matrix));
      OK(PetscFree(transposed));
      OK(MatDestroy(&Jt));
      OK(MatDestroy(&J));
      Close(&f);
    }
}

/* G = J^T J of the weighted Jacobian; for the squared loss of the other too. */
static void GaussNewtonIsItsSquare(void **state)
{
  (void)state;
  for (int d = 0; d < DECKS; d++)
    for (int weighted = 0; weighted < 2; weighted++) {
      PetscInt rows, columns, n, m;
      double worst = 0, norm = 0;
      Fixture f;
      Mat J, G;
      Start(&f, decks[d].text);
      OK(CourantProblemCreateJacobian(f.problem, &J));
      OK(CourantJacobianSetWeighted(J, weighted ? PETSC_TRUE : PETSC_FALSE));
      OK(CourantProblemCreateGaussNewton(f.problem, &G));
      double *matrix = Assemble(J, &rows, &columns), *square = Assemble(G, &n, &m);
      for (PetscInt a = 0; a < n; a++)
        for (PetscInt b = 0; b < n; b++) {
          double sum = 0;
          for (PetscInt i = 0; i < rows; i++) sum += matrix[i + a * rows] * matrix[i + b * rows];
          worst = fmax(worst, fabs(sum - square[a + b * n]));
          norm = fmax(norm, fabs(square[a + b * n]));
        }
      if (weighted || !strcmp(decks[d].name, "squared"))
        BELOW(worst, 1e-13 * norm);
      else
        BELOW(1e-2 * norm, worst); /* other losses do weigh */
      OK(PetscFree(matrix));
      OK(PetscFree(square));
      OK(MatDestroy(&G));
      OK(MatDestroy(&J));
      Close(&f);
    }
}

/* What is not 0 of the spectra of G and of the kernel, by LAPACK, and the squares of singular values by
   SLEPc's SVD. */
static void ShareTheirSpectrum(void **state)
{
  (void)state;
  for (int d = 0; d < DECKS; d++) {
    PetscInt rows, n, converged;
    PetscReal sigma;
    double *of_G, *of_K;
    Fixture f;
    Mat J, K, G;
    SVD svd;
    Start(&f, decks[d].text);
    OK(CourantProblemCreateJacobian(f.problem, &J));
    OK(CourantJacobianSetWeighted(J, PETSC_TRUE));
    OK(CourantJacobianCreateKernel(J, &K));
    OK(CourantProblemCreateGaussNewton(f.problem, &G));
    double *kernel = Assemble(K, &rows, &rows), *square = Assemble(G, &n, &n);
    OK(PetscMalloc2(n, &of_G, rows, &of_K));
    Eigenvalues(n, square, of_G);
    Eigenvalues(rows, kernel, of_K);
    for (PetscInt i = 1; i <= PetscMax(n, rows); i++) /* what one has more than the other is 0 */
      NEAR(i <= n ? of_G[n - i] : 0, i <= rows ? of_K[rows - i] : 0, 1e-14 * (double)n * of_G[n - 1]);
    OK(SVDCreate(PETSC_COMM_SELF, &svd));
    OK(SVDSetOperators(svd, J, NULL));
    OK(SVDSetDimensions(svd, 3, PETSC_DEFAULT, PETSC_DEFAULT));
    OK(SVDSolve(svd));
    OK(SVDGetConverged(svd, &converged));
    assert_true(converged >= 3);
    for (PetscInt i = 0; i < 3; i++) {
      OK(SVDGetSingularTriplet(svd, i, &sigma, NULL, NULL));
      NEAR(sigma * sigma, of_K[rows - 1 - i], 1e-8 * of_K[rows - 1]); /* SLEPc's tolerance */
    }
    OK(SVDDestroy(&svd));
    OK(PetscFree2(of_G, of_K));
    OK(PetscFree(kernel));
    OK(PetscFree(square));
    OK(MatDestroy(&G));
    OK(MatDestroy(&K));
    OK(MatDestroy(&J));
    Close(&f);
  }
}

/* One dense layer: the kernel is (x_i . x_j + 1) / n between the same outputs, 0 between others. */
static void LinearKernel(void **state)
{
  PetscInt rows;
  Fixture f;
  Mat J, K;

  (void)state;
  Start(&f, IMAGES "network: [flatten, {dense: {features: 3}}]\nloss: softmax\n" WEIGHTS);
  OK(CourantProblemCreateJacobian(f.problem, &J));
  OK(CourantJacobianCreateKernel(J, &K));
  double *kernel = Assemble(K, &rows, &rows), images[6 * 64];
  const CourantBatch all = {.data = f.problem->data, .n = 6};
  assert_null(CourantBatchRead(&all, 0, 6, images));
  for (PetscInt a = 0; a < rows; a++)
    for (PetscInt b = 0; b < rows; b++) {
      double expected = 1;
      for (int i = 0; i < 64; i++) expected += images[a / 3 * 64 + i] * images[b / 3 * 64 + i];
      NEAR(kernel[a + b * rows], a % 3 == b % 3 ? expected / 6 : 0, 1e-13 * fabs(expected));
    }
  OK(PetscFree(kernel));
  OK(MatDestroy(&K));
  OK(MatDestroy(&J));
  Close(&f);
}

/* The same to the bit where no memory is left to keep the primal. */
static void Recomputes(void **state)
{
  (void)state;
  for (int d = 0; d < DECKS; d++) {
    PetscInt rows[2], columns;
    double *matrices[2][2];
    for (int poor = 0; poor < 2; poor++) {
      Fixture f;
      Mat J, Jt;
      Open(&f, decks[d].text);
      if (poor) f.problem->memory = 1;
      OK(CourantProblemSetState(f.problem, f.theta, NULL, NULL));
      OK(CourantProblemCreateJacobian(f.problem, &J));
      OK(MatCreateTranspose(J, &Jt));
      matrices[poor][0] = Assemble(J, &rows[poor], &columns);
      matrices[poor][1] = Assemble(Jt, &rows[poor], &columns);
      OK(MatDestroy(&Jt));
      OK(MatDestroy(&J));
      Close(&f);
    }
    for (int t = 0; t < 2; t++) {
      assert_memory_equal(matrices[0][t], matrices[1][t], sizeof(double) * (size_t)(rows[0] * columns));
      for (int poor = 0; poor < 2; poor++) OK(PetscFree(matrices[poor][t]));
    }
  }
}

enum { HESSIAN, GAUSS_NEWTON, KERNEL, WEIGHTED_KERNEL, OPERATORS };

static Mat Operator(CourantProblem problem, int kind, PetscBool single)
{
  Mat A, J;

  if (kind < KERNEL) {
    OK((kind == HESSIAN ? CourantProblemCreateHessian : CourantProblemCreateGaussNewton)(problem, &A));
    OK(CourantHessianSetSingle(A, single));
    return A;
  }
  OK(CourantProblemCreateJacobian(problem, &J));
  OK(CourantJacobianSetWeighted(J, kind == WEIGHTED_KERNEL ? PETSC_TRUE : PETSC_FALSE));
  OK(CourantJacobianSetSingle(J, single));
  OK(CourantJacobianCreateKernel(J, &A));
  OK(MatDestroy(&J));
  return A;
}

/* Iterations in single precision: residuals, by the operator in double, are those of seven digits, values
   have the square of that. */
static void Single(void **state)
{
  (void)state;
  for (int kind = 0; kind < OPERATORS; kind++) {
    const CourantEigenvalue *v;
    CourantSpectrum spectrum;
    PetscInt n, p;
    Fixture f;
    Mat A, fast;
    Open(&f, decks[0].text);
    A = Operator(f.problem, kind, PETSC_FALSE);
    fast = Operator(f.problem, kind, PETSC_TRUE);
    OK(CourantProblemSetState(f.problem, f.theta, NULL, NULL));
    double *matrix = Assemble(A, &p, &p), *values;
    OK(PetscMalloc1(p, &values));
    Eigenvalues(p, matrix, values);
    OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
    OK(CourantSpectrumSetOperator(spectrum, A));
    OK(CourantSpectrumSetFastOperator(spectrum, fast));
    OK(CourantSpectrumSetCounts(spectrum, 4, 0));
    OK(CourantSpectrumSolve(spectrum));
    OK(CourantSpectrumGetEigenvalues(spectrum, COURANT_LARGEST, &n, &v));
    const double norm = fmax(values[p - 1], -values[0]);
    for (PetscInt i = 0; i < n; i++) {
      assert_int_equal(v[i].status, COURANT_CONVERGED);
      BELOW(v[i].residual, 1e-4 * norm);
      NEAR(v[i].value, values[p - 1 - i], 1e-8 * norm);
    }
    BELOW(1e-10 * norm, v[0].residual); /* double precision would do better */
    OK(CourantSpectrumDestroy(&spectrum));
    OK(PetscFree(values));
    OK(PetscFree(matrix));
    OK(MatDestroy(&fast));
    OK(MatDestroy(&A));
    Close(&f);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ColumnsAreDerivatives),
    cmocka_unit_test(Transposes),
    cmocka_unit_test(GaussNewtonIsItsSquare),
    cmocka_unit_test(ShareTheirSpectrum),
    cmocka_unit_test(LinearKernel),
    cmocka_unit_test(Recomputes),
    cmocka_unit_test(Single),
};

TEST_MAIN(tests)
