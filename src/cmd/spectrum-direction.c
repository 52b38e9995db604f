/* courant spectrum -direction FILE: all derivatives along a direction. */
#include "cmd/spectrum.h"
#include <errno.h>
#include <hdf5.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* The direction of option -direction. */
PetscErrorCode SpectrumReadDirection(SpectrumSession *s)
{
  const MPI_Comm comm = s->problem->comm;
  const hsize_t p = (hsize_t)s->problem->net->size;
  char name[PETSC_MAX_PATH_LEN];
  PetscBool set;
  hsize_t n = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-direction", name, sizeof name, &set));
  if (!set) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(p, &s->direction));
  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  if (access(name, R_OK)) CourantInputError(comm, "-direction %s: %s", name, strerror(errno));
  const hid_t file = H5Fopen(name, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file < 0) CourantInputError(comm, "-direction %s: not an HDF5 file, or damaged", name);
  const hid_t dataset =
      H5Lexists(file, "direction", H5P_DEFAULT) > 0 ? H5Dopen(file, "direction", H5P_DEFAULT) : -1;
  if (dataset >= 0) {
    const hid_t space = H5Dget_space(dataset);
    if (H5Sget_simple_extent_ndims(space) == 1) H5Sget_simple_extent_dims(space, &n, NULL);
    H5Sclose(space);
    if (n == p && H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, s->direction) < 0) n = 0;
    H5Dclose(dataset);
  }
  H5Fclose(file);
  if (dataset < 0 || n != p)
    CourantInputError(comm, "-direction %s: expected a dataset 'direction' of %lld numbers, one a weight",
                      name, (long long)p);
  for (hsize_t i = 0; i < p; i++)
    if (!isfinite(s->direction[i]))
      CourantInputError(comm, "-direction %s: number %lld is %g", name, (long long)i, s->direction[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A distributed vector as a dataset. */
static PetscErrorCode WriteVec(SpectrumSession *s, const char *path, Vec v, const char *name)
{
  const PetscScalar *array;
  VecScatter scatter;
  Vec all;

  PetscFunctionBeginUser;
  PetscCall(VecScatterCreateToZero(v, &scatter, &all));
  PetscCall(VecScatterBegin(scatter, v, all, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterEnd(scatter, v, all, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecGetArrayRead(all, &array));
  const size_t p = (size_t)s->problem->net->size;
  CourantCallOnRankZero(s->problem->comm, s->output.rank,
                        CourantResultAddArray(s->output.file, path, 1, &p, array, name));
  PetscCall(VecRestoreArrayRead(all, &array));
  PetscCall(VecScatterDestroy(&scatter));
  PetscCall(VecDestroy(&all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every derivative along v at once: the Taylor coefficients of grad L(theta + e v). */
PetscErrorCode SpectrumDifferentiate(SpectrumSession *s)
{
  Vec v, gauss_newton, series[4];
  PetscReal fourth;

  PetscFunctionBeginUser;
  PetscCall(VecDuplicate(s->theta, &v));
  PetscCall(VecDuplicate(s->theta, &gauss_newton));
  for (int k = 0; k < 4; k++) PetscCall(VecDuplicate(s->theta, &series[k]));
  PetscCall(CourantProblemPut(s->direction, v));
  PetscCall(CourantProblemComputeJet(s->problem, s->theta, v, 3, NULL, series));
  PetscCall(CourantProblemComputeGaussNewton(s->problem, v, gauss_newton));
  PetscCall(VecScale(series[2], 2));
  PetscCall(VecDot(series[3], v, &fourth));
  fourth *= 6;
  PetscCall(WriteVec(s, "/direction/direction", v, "the direction v"));
  PetscCall(WriteVec(s, "/direction/gradient", series[0], "gradient of L"));
  PetscCall(WriteVec(s, "/direction/hessian_product", series[1], "H v"));
  PetscCall(WriteVec(s, "/direction/gauss_newton_product", gauss_newton, "G v, G the Gauss-Newton matrix"));
  PetscCall(WriteVec(s, "/direction/d3", series[2], "D^3 L [v, v, .]"));
  CourantCallOnRankZero(
      s->problem->comm, s->output.rank,
      CourantResultAddArray(s->output.file, "/direction/d4", 0, NULL, &fourth, "D^4 L [v, v, v, v]"));
  for (int k = 0; k < 4; k++) PetscCall(VecDestroy(&series[k]));
  PetscCall(VecDestroy(&v));
  PetscCall(VecDestroy(&gauss_newton));
  PetscFunctionReturn(PETSC_SUCCESS);
}
