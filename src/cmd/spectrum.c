/* courant spectrum: both ends of the Hessian's spectrum, and all derivatives along a direction. */
#include "cmd/session.h"
#include "train/settings.h"
#include <errno.h>
#include <hdf5.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  CourantProblem problem;
  CourantTrainSettings train;
  CourantOutput output;
  CourantSpectrum spectrum;
  Mat H;
  Vec theta, gradient;
  PetscReal loss, gradient_norm;
  double *direction; /* [p], on every rank; NULL: none is asked for */
} Session;

/* ---- both ends ---- */

#define END "/spectrum/end"

static const CourantResultEntry ends[] = {
    {"/spectrum/eigenvalue", COURANT_RESULT_REAL, {END}, "eigenvalue of the Hessian of L", "1"},
    {"/spectrum/residual",
     COURANT_RESULT_REAL,
     {END},
     "residual: an eigenvalue lies within this distance",
     "1"},
    {"/spectrum/missed_probability",
     COURANT_RESULT_REAL,
     {END},
     "probability that one farther out by 1 % of the norm was missed",
     "1"},
    {"/spectrum/multiplicity", COURANT_RESULT_INT, {END}, "eigenvalues that agree with it", "1"},
    {"/spectrum/products", COURANT_RESULT_INT, {END}, "operator applications used", "1"},
    {"/spectrum/status", COURANT_RESULT_ENUM, {END}, "how the solver ended", "1", "converged not_converged"},
};

static PetscErrorCode WriteEnds(const Session *s, const CourantExtreme extreme[2])
{
  const CourantResult file = s->output.file;
  double index[2] = {0, 1}, value[2], residual[2], missed[2];
  int multiplicity[2], products[2];
  uint8_t status[2];

  PetscFunctionBeginUser;
  for (int e = 0; e < 2; e++) {
    value[e] = extreme[e].value;
    residual[e] = extreme[e].residual;
    missed[e] = extreme[e].missed;
    multiplicity[e] = (int)extreme[e].multiplicity;
    products[e] = (int)extreme[e].products;
    status[e] = extreme[e].status == COURANT_CONVERGED ? 0 : 1;
  }
  const void *const values[] = {value, residual, missed, multiplicity, products, status};
  PetscCall(CourantResultAddScale(file, END, 2, index, "0 the largest eigenvalue, 1 the smallest", "1"));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(ends); i++) {
    PetscCall(CourantResultAdd(file, &ends[i]));
    PetscCall(CourantResultWrite(file, ends[i].path, values[i]));
  }
  PetscCall(CourantResultSetString(file, "/spectrum", "operator", "hessian"));
  PetscCall(CourantResultSetReal(file, "/spectrum", "loss", s->loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PrintEnds(const Session *s, const CourantExtreme extreme[2])
{
  static const char *const names[] = {"largest", "smallest"};
  const PetscReal top = extreme[0].value + s->train.weight_decay;

  if (s->output.quiet) return;
  printf("loss %.10g, |gradient| %.6g\n", s->loss, s->gradient_norm);
  for (int e = 0; e < 2; e++)
    printf("%-8s eigenvalue %.12g +- %.1e, multiplicity %d, %d products%s\n", names[e], extreme[e].value,
           extreme[e].residual, (int)extreme[e].multiplicity, (int)extreme[e].products,
           extreme[e].status == COURANT_CONVERGED ? "" : ", not converged");
  if (extreme[0].status == COURANT_CONVERGED && top > 0)
    printf(
        "along the largest, gradient descent with weight decay %g is stable below the learning rate %.9g\n",
        s->train.weight_decay, 2 / top);
}

static PetscErrorCode SolveEnds(Session *s)
{
  CourantExtreme extreme[2];

  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumSolve(s->spectrum));
  PetscCall(CourantSpectrumGetExtremes(s->spectrum, &extreme[0], &extreme[1]));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, WriteEnds(s, extreme));
  if (s->output.rank == 0) PrintEnds(s, extreme);
  for (int e = 0; e < 2; e++)
    if (extreme[e].status != COURANT_CONVERGED) s->output.unconverged++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- a direction ---- */

/* The direction of option -direction. */
static PetscErrorCode ReadDirection(Session *s)
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
static PetscErrorCode WriteVec(Session *s, const char *path, Vec v, const char *name)
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
static PetscErrorCode Differentiate(Session *s)
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

/* ---- the command ---- */

static PetscErrorCode PrintHeader(const Session *s)
{
  const CourantProblem problem = s->problem;

  PetscFunctionBeginUser;
  if (s->output.quiet || s->output.rank) PetscFunctionReturn(PETSC_SUCCESS);
  printf("spectrum of %s: both ends of the Hessian of L at the initial weights\n", problem->model.name);
  PetscCall(CourantSessionPrintModel(problem, &s->output, CourantProblemMemory(problem)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(void *ctx, CourantDeck deck)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemCreate(PETSC_COMM_WORLD, deck, &s->problem));
  PetscCall(CourantProblemSetFromOptions(s->problem));
  PetscCall(CourantTrainRead(s->problem->top.train, &s->train));
  PetscCall(CourantOutputOpen(&s->problem->model, "spectrum", &s->output));
  if (s->output.resume) CourantInputError(PETSC_COMM_WORLD, "-resume: courant spectrum starts anew");
  PetscCall(CourantProblemSetUp(s->problem));
  PetscCall(ReadDirection(s));
  PetscCall(CourantProblemCreateHessian(s->problem, &s->H));
  PetscCall(CourantProblemCreateVec(s->problem, &s->theta));
  PetscCall(VecDuplicate(s->theta, &s->gradient));
  PetscCall(CourantSpectrumCreate(s->problem->comm, &s->spectrum));
  PetscCall(CourantSpectrumSetOperator(s->spectrum, s->H));
  PetscCall(CourantSpectrumSetFromOptions(s->spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAgain(void *ctx)
{
  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumSetFromOptions(((Session *)ctx)->spectrum));
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

  PetscFunctionBeginUser;
  PetscCall(CourantProblemVerifyReference(s->problem));
  CourantCallOnRankZero(s->problem->comm, s->output.rank,
                        CourantOutputCreate(&s->output, &s->problem->model, "spectrum"));
  PetscCall(PrintHeader(s));
  PetscCall(CourantProblemGetInitialState(s->problem, s->theta));
  PetscCall(CourantProblemSetState(s->problem, s->theta, &s->loss, s->gradient));
  PetscCall(VecNorm(s->gradient, NORM_2, &s->gradient_norm));
  PetscCheck(isfinite(s->loss) && isfinite(s->gradient_norm), s->problem->comm, PETSC_ERR_NOT_CONVERGED,
             "no spectrum at these weights: the loss is %.3g, the norm of its gradient %.3g", s->loss,
             s->gradient_norm);
  if (s->direction) PetscCall(Differentiate(s));
  PetscCall(SolveEnds(s));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, Finish(s));
  PetscCheck(!s->output.unconverged, s->problem->comm, PETSC_ERR_NOT_CONVERGED,
             "%d of 2 ends of the spectrum did not converge; they are flagged in the result file",
             s->output.unconverged);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TearDown(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(PetscFree(s->direction));
  PetscCall(CourantSpectrumDestroy(&s->spectrum));
  PetscCall(MatDestroy(&s->H));
  PetscCall(VecDestroy(&s->theta));
  PetscCall(VecDestroy(&s->gradient));
  PetscCall(CourantOutputClose(&s->output));
  PetscCall(CourantProblemDestroy(&s->problem));
  PetscCall(CourantTrainReset(&s->train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

extern const CourantCommandOps CourantCommand_spectrum;

static PetscErrorCode Run(const char *model)
{
  static const CourantSessionOps ops = {
      &CourantCommand_spectrum, sizeof(Session), SetUp, ReadAgain, Work, TearDown};

  PetscFunctionBeginUser;
  PetscCall(CourantSessionRun(&ops, NULL, model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const CourantOption options[] = {
    {"-direction", "FILE", "HDF5 file with a dataset 'direction', one number a weight: derivatives along it"},
    COURANT_MODEL_OPTIONS,
    COURANT_RESULT_OPTIONS,
    {0},
};

const CourantCommandOps CourantCommand_spectrum = {
    .name = "spectrum",
    .argument = "MODEL",
    .summary = "both ends of the Hessian's spectrum, with residual bounds",
    .description =
        "Computes the largest and the smallest eigenvalue of the Hessian of L at the deck's initial weights\n"
        "(weights: {init: file} for others), each with its residual, and the learning rate that follows. "
        "With\n"
        "-direction it writes gradient, Hessian and Gauss-Newton products and the third and fourth "
        "derivatives\n"
        "along a direction of your own, for checks against other programs.",
    .options = options,
    .solvers =
        "  -hessian_max_eps_...  -hessian_min_eps_...   both ends of the spectrum; -eps_... sets both\n",
    .Run = Run,
};
