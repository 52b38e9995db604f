#include "stability/dense.h"
#include "core/interrupt.h"
#include "core/lapack.h"
#include <complex.h>
#include <math.h>
#include <slepcblaslapack.h>
#include <string.h>

/* A PETSc of real numbers declares no complex routines. */
void zgeev_(const char *left, const char *right, const PetscBLASInt *n, PetscComplex A[],
            const PetscBLASInt *lda, PetscComplex values[], PetscComplex vl[], const PetscBLASInt *ldvl,
            PetscComplex vr[], const PetscBLASInt *ldvr, PetscComplex work[], const PetscBLASInt *lwork,
            PetscReal rwork[], PetscBLASInt *info);
void zgesv_(const PetscBLASInt *n, const PetscBLASInt *columns, PetscComplex A[], const PetscBLASInt *lda,
            PetscBLASInt pivots[], PetscComplex B[], const PetscBLASInt *ldb, PetscBLASInt *info);

/* CourantDenseEigenvalues - All n eigenvalues of a complex matrix [n,n], which LAPACK scales before. */
PetscErrorCode CourantDenseEigenvalues(PetscInt n, const PetscComplex A[], PetscComplex values[])
{
  const PetscBLASInt order = (PetscBLASInt)n, lwork = 4 * order, one = 1;
  PetscComplex *copy, *work;
  PetscReal *rwork;
  PetscBLASInt info;

  PetscFunctionBeginUser;
  if (n == 1) {
    values[0] = A[0];
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc3(n * n, &copy, lwork, &work, 2 * n, &rwork));
  memcpy(copy, A, sizeof *copy * (size_t)(n * n)); /* the transpose, to LAPACK: the same eigenvalues */
  zgeev_("N", "N", &order, copy, &order, values, NULL, &one, NULL, &one, work, &lwork, rwork, &info);
  PetscCall(CourantLapackCheck("zgeev", info));
  PetscCall(PetscFree3(copy, work, rwork));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDenseSolve - A^-1 B for B of some columns, which it replaces; by columns, A is overwritten. */
PetscErrorCode CourantDenseSolve(PetscInt n, PetscComplex A[], PetscInt columns, PetscComplex B[],
                                 PetscBool *singular)
{
  const PetscBLASInt order = (PetscBLASInt)n, wide = (PetscBLASInt)columns;
  PetscBLASInt *pivots, info;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &pivots));
  zgesv_(&order, &wide, A, &order, pivots, B, &order, &info);
  PetscCall(PetscFree(pivots));
  *singular = info > 0 ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(CourantLapackCheck("zgesv", PetscMin(info, 0)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Singular values of a real matrix [n,n], largest first; A is overwritten. */
static PetscErrorCode SingularValues(PetscInt n, PetscReal A[], PetscReal sigma[])
{
  const PetscBLASInt order = (PetscBLASInt)n, one = 1;
  PetscBLASInt lwork = -1, info;
  PetscReal size, *work;

  PetscFunctionBeginUser;
  LAPACKgesvd_("N", "N", &order, &order, A, &order, sigma, NULL, &one, NULL, &one, &size, &lwork, &info);
  lwork = (PetscBLASInt)size;
  PetscCall(PetscMalloc1(lwork, &work));
  LAPACKgesvd_("N", "N", &order, &order, A, &order, sigma, NULL, &one, NULL, &one, work, &lwork, &info);
  PetscCall(CourantLapackCheck("dgesvd", info));
  PetscCall(PetscFree(work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The real matrix [2n,2n] with each number as [[re, -im], [im, re]]: every singular value comes twice. */
static void Embed(PetscInt n, const PetscComplex A[], PetscReal E[])
{
  for (PetscInt i = 0; i < n; i++)
    for (PetscInt j = 0; j < n; j++) {
      PetscReal *corner = E + 4 * i * n + 2 * j;
      corner[0] = corner[2 * n + 1] = creal(A[i * n + j]);
      corner[2 * n] = cimag(A[i * n + j]);
      corner[1] = -cimag(A[i * n + j]);
    }
}

/* CourantDenseSingularValues - Singular values of a complex matrix [n,n], largest first. */
PetscErrorCode CourantDenseSingularValues(PetscInt n, const PetscComplex A[], PetscReal sigma[])
{
  PetscReal *E, *twice;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(4 * n * n, &E, 2 * n, &twice));
  Embed(n, A, E);
  PetscCall(SingularValues(2 * n, E, twice));
  for (PetscInt i = 0; i < n; i++) sigma[i] = twice[2 * i];
  PetscCall(PetscFree2(E, twice));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantPower - 1, 2, .., 8, 16, 32, .. */
PetscInt CourantPower(int index)
{
  return index < 8 ? index + 1 : 8 << (index - 7);
}

/*
  CourantDensePowerNorms - |G^k|_2 of a real matrix [n,n] for the powers k of CourantPower().

  Infinite from where it leaves the range of numbers. The largest is a lower bound of sup_k |G^k|.
*/
PetscErrorCode CourantDensePowerNorms(PetscInt n, const PetscReal G[], PetscReal norms[COURANT_POWERS])
{
  const PetscBLASInt order = (PetscBLASInt)n;
  const PetscReal one = 1, zero = 0;
  PetscReal *power, *next, *sigma;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(n * n, &power, n * n, &next, n, &sigma));
  memcpy(power, G, sizeof *power * (size_t)(n * n));
  for (int k = 0; k < COURANT_POWERS; k++) {
    CourantInterruptCheck();
    if (k) {
      BLASgemm_("N", "N", &order, &order, &order, &one, power, &order, k < 8 ? G : power, &order, &zero, next,
                &order);
      PetscReal *const swap = power;
      power = next;
      next = swap;
    }
    norms[k] = INFINITY;
    if (k && !(norms[k - 1] < 1e150)) continue;
    memcpy(next, power, sizeof *power * (size_t)(n * n));
    PetscCall(SingularValues(n, next, sigma));
    norms[k] = sigma[0];
  }
  PetscCall(PetscFree3(power, next, sigma));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDensePowerNormsComplex - The same of a complex matrix. */
PetscErrorCode CourantDensePowerNormsComplex(PetscInt n, const PetscComplex G[],
                                             PetscReal norms[COURANT_POWERS])
{
  PetscReal *E;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(4 * n * n, &E));
  Embed(n, G, E);
  PetscCall(CourantDensePowerNorms(2 * n, E, norms));
  PetscCall(PetscFree(E));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Column j of the eigenvectors, which for a pair of eigenvalues are real part and imaginary part. */
static PetscComplex Component(PetscInt n, const PetscReal vectors[], const PetscReal im[], PetscInt j,
                              PetscInt row)
{
  const PetscInt first = im[j] < 0 ? j - 1 : j;
  const PetscReal *column = vectors + first * n + row;
  return im[j] == 0 ? column[0] : column[0] + (im[j] < 0 ? -1 : 1) * column[n] * PETSC_i;
}

/* |A x - value x| of unit eigenvectors; A is row-major. */
static PetscErrorCode Residuals(PetscInt n, const PetscReal A[], const PetscReal vectors[],
                                const PetscReal im[], const PetscComplex values[], PetscReal residual[])
{
  const PetscBLASInt order = (PetscBLASInt)n;
  const PetscReal one = 1, zero = 0;
  PetscReal *products;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n * n, &products));
  BLASgemm_("T", "N", &order, &order, &order, &one, A, &order, vectors, &order, &zero, products, &order);
  for (PetscInt j = 0; j < n; j++) {
    PetscReal square = 0;
    for (PetscInt row = 0; row < n; row++) {
      const PetscReal part =
          cabs(Component(n, products, im, j, row) - values[j] * Component(n, vectors, im, j, row));
      square += part * part;
    }
    residual[j] = sqrt(square);
  }
  PetscCall(PetscFree(products));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantDenseSpectrum - All n eigenvalues of a real matrix [n,n], row-major.

  residual [n]: |A x - value x| of the unit eigenvector. condition [n]: 1 / |y.x|, y the left one: to first
  order an eigenvalue lies within condition times residual; infinite for a defective one. LAPACK permutes and
  scales the matrix before, so that triangular ones keep their diagonal.
*/
PetscErrorCode CourantDenseSpectrum(PetscInt n, const PetscReal A[], PetscComplex values[],
                                    PetscReal residual[], PetscReal condition[])
{
  const PetscBLASInt order = (PetscBLASInt)n;
  PetscBLASInt lwork = -1, info, low, high, *iwork;
  PetscReal *copy, *re, *im, *left, *right, *scale, *rcondv, *work, norm, size;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc5(n * n, &copy, n * n, &left, n * n, &right, n, &re, n, &im));
  PetscCall(PetscMalloc3(n, &scale, n, &rcondv, 2 * n, &iwork));
  for (PetscInt i = 0; i < n * n; i++) copy[i] = A[i % n * n + i / n];
  LAPACKgeevx_("B", "V", "V", "E", &order, copy, &order, re, im, left, &order, right, &order, &low, &high,
               scale, &norm, condition, rcondv, &size, &lwork, iwork, &info);
  lwork = (PetscBLASInt)size;
  PetscCall(PetscMalloc1(lwork, &work));
  LAPACKgeevx_("B", "V", "V", "E", &order, copy, &order, re, im, left, &order, right, &order, &low, &high,
               scale, &norm, condition, rcondv, work, &lwork, iwork, &info);
  PetscCall(CourantLapackCheck("dgeevx", info));
  for (PetscInt i = 0; i < n; i++) {
    values[i] = re[i] + im[i] * PETSC_i;
    condition[i] = 1 / condition[i];
  }
  PetscCall(Residuals(n, A, right, im, values, residual));
  PetscCall(PetscFree(work));
  PetscCall(PetscFree5(copy, left, right, re, im));
  PetscCall(PetscFree3(scale, rcondv, iwork));
  PetscFunctionReturn(PETSC_SUCCESS);
}
