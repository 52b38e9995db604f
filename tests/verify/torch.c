/*
  PyTorch's numbers: for every file of verify/torch/ loss, derivatives and outputs of its deck, and where it
  has them 20 steps of every optimiser. torch_reference.py says what a file holds.
*/
#include "unit/check.h"
#include "dynamics/problem.h"
#include "train/run.h"
#include <glob.h>
#include <hdf5.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- a file ---- */

/* All numbers of a dataset, which the caller frees; NULL where there is none. */
static double *Numbers(hid_t file, const char *path, size_t *n)
{
  const hid_t dataset = H5Dopen(file, path, H5P_DEFAULT);
  if (dataset < 0) return NULL;
  const hid_t space = H5Dget_space(dataset);
  *n = (size_t)H5Sget_simple_extent_npoints(space);
  double *values = malloc(sizeof(double) * *n);
  assert_true(H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Sclose(space);
  H5Dclose(dataset);
  return values;
}

/* The same where there have to be n. */
static double *Expect(hid_t file, const char *path, size_t n)
{
  size_t found = 0;
  double *values = Numbers(file, path, &found);
  if (found != n) fail_msg("%s holds %zu numbers, expected %zu", path, found, n);
  return values;
}

/* A text attribute, which the caller frees. */
static char *Text(hid_t file, const char *object, const char *name)
{
  const hid_t attribute = H5Aopen_by_name(file, object, name, H5P_DEFAULT, H5P_DEFAULT);
  assert_true(attribute >= 0);
  const hid_t type = H5Aget_type(attribute);
  char *text = calloc(H5Tget_size(type) + 1, 1);
  assert_true(H5Aread(attribute, type, text) >= 0);
  H5Tclose(type);
  H5Aclose(attribute);
  return text;
}

typedef struct {
  hid_t file;
  CourantDeck deck;
  CourantProblem problem;
  size_t p, n, outputs; /* weights, samples, outputs of one */
} Case;

/* The problem of a file's deck; train, if given, stands in place of its section. */
static void Open(const char *name, const char *train, const char *isa, Case *c)
{
  char *text, *deck;

  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  c->file = H5Fopen(name, H5F_ACC_RDONLY, H5P_DEFAULT);
  assert_true(c->file >= 0);
  text = Text(c->file, "/", "deck");
  deck = malloc(strlen(text) + (train ? strlen(train) : 0) + 16);
  char *section = strstr(text, "\ntrain: ");
  assert_non_null(section);
  if (train) *section = 0;
  sprintf(deck, "%s%s%s\n", text, train ? "\ntrain: " : "", train ? train : "");
  OK(CourantDeckParse(PETSC_COMM_SELF, deck, NULL, &c->deck));
  OK(CourantProblemCreate(PETSC_COMM_SELF, c->deck, &c->problem));
  if (isa) strcpy(c->problem->isa, isa);
  OK(CourantProblemSetUp(c->problem));
  c->p = (size_t)c->problem->net->size;
  c->n = (size_t)c->problem->data->n;
  c->outputs = CourantShapeSize(c->problem->net->out);
  free(text);
  free(deck);
}

static void Close(Case *c)
{
  OK(CourantProblemDestroy(&c->problem));
  OK(CourantDeckDestroy(&c->deck));
  H5Fclose(c->file);
}

/* |a - b| / |b| in the Euclidean norm. */
static double Apart(size_t n, const double a[], const double b[])
{
  double difference = 0, size = 0;
  for (size_t i = 0; i < n; i++) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  assert_true(size > 0);
  return sqrt(difference / size);
}

/* How far a vector is from the file's dataset. */
static double VecApart(const Case *c, Vec v, const char *path)
{
  double *expected = Expect(c->file, path, c->p), apart;
  const PetscScalar *array;

  OK(VecGetArrayRead(v, &array));
  apart = Apart(c->p, array, expected);
  OK(VecRestoreArrayRead(v, &array));
  free(expected);
  return apart;
}

static double NumberApart(const Case *c, double value, const char *path)
{
  double *expected = Expect(c->file, path, 1), apart = fabs(value - *expected) / fabs(*expected);

  free(expected);
  return apart;
}

/* ---- derivatives, by every instruction set of this machine ---- */

static void Derivatives(Case *c, const char *name)
{
  double *direction = Expect(c->file, "direction", c->p);
  Vec theta, v, gradient, product, series[4];
  PetscReal loss, fourth;
  PetscScalar *array;
  Mat H;

  OK(CourantProblemCreateVec(c->problem, &theta));
  OK(CourantProblemGetInitialState(c->problem, theta));
  OK(VecDuplicate(theta, &v));
  OK(VecDuplicate(theta, &gradient));
  OK(VecDuplicate(theta, &product));
  for (int k = 0; k < 4; k++) OK(VecDuplicate(theta, &series[k]));
  OK(VecGetArrayWrite(v, &array));
  memcpy(array, direction, sizeof(double) * c->p);
  OK(VecRestoreArrayWrite(v, &array));

  OK(CourantProblemCreateHessian(c->problem, &H));
  OK(CourantProblemSetState(c->problem, theta, &loss, gradient));
  const double value = NumberApart(c, loss, "loss"), first = VecApart(c, gradient, "gradient");
  OK(MatMult(H, v, product));
  const double second = VecApart(c, product, "hessian_product");
  OK(CourantProblemComputeGaussNewton(c->problem, v, product));
  const double gauss_newton = VecApart(c, product, "gauss_newton_product");
  OK(CourantProblemComputeJet(c->problem, theta, v, 3, NULL, series));
  const double again = VecApart(c, series[1], "hessian_product");
  print_message("# %s, %s: loss %.0e, gradient %.0e, Hessian %.0e, Gauss-Newton %.0e\n", name,
                c->problem->backend->isa, value, first, second, gauss_newton);
  BELOW(value, 1e-10);
  BELOW(first, 1e-10);
  BELOW(second, 1e-10);
  BELOW(again, 1e-10);
  BELOW(gauss_newton, 1e-10);
  if (H5Lexists(c->file, "d3", H5P_DEFAULT) > 0) {
    OK(VecScale(series[2], 2));
    OK(VecDot(series[3], v, &fourth));
    const double d3 = VecApart(c, series[2], "d3"), d4 = NumberApart(c, 6 * fourth, "d4");
    print_message("# %s, %s: third %.0e, fourth %.0e\n", name, c->problem->backend->isa, d3, d4);
    BELOW(d3, 1e-8);
    BELOW(d4, 1e-8);
  }

  OK(MatDestroy(&H));
  for (int k = 0; k < 4; k++) OK(VecDestroy(&series[k]));
  OK(VecDestroy(&product));
  OK(VecDestroy(&gradient));
  OK(VecDestroy(&v));
  OK(VecDestroy(&theta));
  free(direction);
}

static const char *const instruction_sets[] = {"baseline", "avx2", "avx512"};
enum { SETS = PETSC_STATIC_ARRAY_LENGTH(instruction_sets) };

/* Does this machine have it? */
static PetscBool Have(const char *isa)
{
  const CourantBackend *backend;
  const PetscErrorCode code = CourantBackendGet(PETSC_COMM_SELF, 64, isa, &backend);
  CourantErrorClear();
  return code ? PETSC_FALSE : PETSC_TRUE;
}

static void AllDerivatives(void **state)
{
  Case c;

  assert_true(Have("baseline"));
  for (int i = 0; i < SETS; i++) {
    if (!Have(instruction_sets[i])) continue;
    Open(*state, NULL, instruction_sets[i], &c);
    Derivatives(&c, *state);
    Close(&c);
  }
}

/* ---- single precision ---- */

static void SinglePrecision(void **state)
{
  const CourantBackend *single;
  const CourantEvaluatorSettings settings = {.threads = 1, .memory = 1e9};
  CourantEvaluator ev;
  Case c;

  for (int i = 0; i < SETS; i++) {
    if (!Have(instruction_sets[i])) continue;
    Open(*state, NULL, instruction_sets[i], &c);
    double *expected = Expect(c.file, "gradient", c.p), *loss = Expect(c.file, "loss", 1);
    double *theta = malloc(sizeof(double) * c.p), *found = malloc(sizeof(double) * (c.p + 1));
    OK(CourantBackendGet(PETSC_COMM_SELF, 32, instruction_sets[i], &single));
    OK(CourantEvaluatorCreate(c.problem->net, c.problem->data, single, &settings, &ev));
    OK(CourantWeightsFill(&c.problem->weights, c.problem->net, theta));
    assert_null(CourantEvaluatorGradient(ev, theta, found));
    const double apart = Apart(c.p, found, expected);
    print_message("# %s, %s, single precision: gradient %.0e\n", (char *)*state, instruction_sets[i], apart);
    BELOW(apart, 1e-4);
    assert_true(apart > 1e-10); /* or it is double */
    NEAR(found[c.p], *loss, 1e-5 * *loss);
    OK(CourantEvaluatorDestroy(&ev));
    free(expected), free(loss), free(theta), free(found);
    Close(&c);
  }
}

/* ---- outputs ---- */

/* With the statistics of each group of samples, as in training; then with the running ones. */
static void Outputs(void **state)
{
  const CourantEvaluatorSettings settings = {.threads = 1, .memory = 1e9};
  CourantEvaluator ev;
  size_t n = 0;
  double loss, correct;
  Case c;

  Open(*state, NULL, NULL, &c);
  const size_t size = c.n * c.outputs;
  double *expected = Expect(c.file, "logits", size), *evaluation = Numbers(c.file, "logits_evaluation", &n);
  double *theta = malloc(sizeof(double) * c.p), *found = malloc(sizeof(double) * size);
  double *running = malloc(sizeof(double) * (size_t)(c.problem->net->buffers + 1));
  OK(CourantWeightsFill(&c.problem->weights, c.problem->net, theta));
  OK(CourantProblemComputeOutputs(c.problem, theta, (PetscInt)c.n, found));
  const double training = Apart(size, found, expected);

  const CourantBatch all = {.data = c.problem->data, .n = c.problem->data->n};
  assert_int_equal(evaluation != NULL, c.problem->net->coupled);
  OK(CourantWeightsFillRunning(&c.problem->weights, c.problem->net, running));
  OK(CourantEvaluatorCreate(c.problem->net, c.problem->data, c.problem->backend, &settings, &ev));
  assert_null(CourantEvaluatorPredict(ev, theta, running, &all, &loss, &correct, found));
  const double predicted = Apart(size, found, evaluation ? evaluation : expected);
  print_message("# %s: logits %.0e in training, %.0e in evaluation\n", (char *)*state, training, predicted);
  BELOW(training, 1e-10);
  BELOW(predicted, 1e-10);
  OK(CourantEvaluatorDestroy(&ev));
  free(expected), free(evaluation), free(theta), free(running), free(found);
  Close(&c);
}

/* ---- optimisers ---- */

/* A run of the deck's train section against the states and losses of a file. */
static void FollowRun(const char *name, const char *rule)
{
  char path[256];
  CourantTrainSettings settings = {0};
  CourantRun run;
  CourantRunState s;
  CourantRunRecord record;
  double worst = 0, worst_loss = 0;
  Case c;

  snprintf(path, sizeof path, "trajectory/%s", rule);
  const hid_t file = H5Fopen(name, H5F_ACC_RDONLY, H5P_DEFAULT);
  char *train = Text(file, path, "train");
  H5Fclose(file);
  Open(name, train, NULL, &c);
  OK(CourantTrainRead(c.problem->top.train, &settings));
  const size_t steps = (size_t)settings.steps;
  double *states = Expect(c.file, path, (steps + 1) * c.p), *theta = malloc(sizeof(double) * c.p);
  snprintf(path, sizeof path, "losses/%s", rule);
  double *losses = Expect(c.file, path, steps);
  OK(CourantRunCreate(c.problem, &settings, PETSC_TRUE, &run));
  OK(CourantRunStateCreate(&run, &s));
  OK(CourantRunStart(&run, &c.problem->weights, 0, 1, &s));
  for (size_t t = 0; t <= steps; t++) {
    CourantRunGet(&run, s.theta, theta);
    worst = fmax(worst, Apart(c.p, theta, states + t * c.p));
    if (t == steps) break;
    OK(CourantRunStep(&run, &s, &record));
    worst_loss = fmax(worst_loss, fabs(record.loss - losses[t]) / losses[t]);
  }
  print_message("# %s, %s: states %.0e, losses %.0e over %zu steps\n", name, rule, worst, worst_loss, steps);
  BELOW(worst, 1e-9);
  BELOW(worst_loss, 1e-9);
  OK(CourantRunStateDestroy(&s));
  OK(CourantRunDestroy(&run));
  OK(CourantTrainReset(&settings));
  free(states), free(losses), free(theta), free(train);
  Close(&c);
}

typedef struct {
  const char *file;
  int found;
} Visit;

static herr_t VisitRule(hid_t group, const char *rule, const H5L_info_t *info, void *ctx)
{
  Visit *visit = ctx;
  (void)group, (void)info;
  FollowRun(visit->file, rule);
  visit->found++;
  return 0;
}

static void Optimisers(void **state)
{
  Visit visit = {*state, 0};
  const hid_t file = H5Fopen(*state, H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t group = H5Gopen(file, "trajectory", H5P_DEFAULT);

  assert_true(group >= 0);
  assert_true(H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, VisitRule, &visit) >= 0);
  assert_int_equal(visit.found, 6); /* gd, momentum, nesterov, adam, adamw, momentum with decoupled decay */
  H5Gclose(group);
  H5Fclose(file);
}

/* Has a file runs of optimisers? */
static PetscBool HasRuns(const char *name)
{
  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  const hid_t file = H5Fopen(name, H5F_ACC_RDONLY, H5P_DEFAULT);
  const PetscBool has = H5Lexists(file, "trajectory", H5P_DEFAULT) > 0 ? PETSC_TRUE : PETSC_FALSE;
  H5Fclose(file);
  return has;
}

/* ---- a test for each file and question ---- */

enum { TESTS = 256 };

static void Add(struct CMUnitTest tests[], size_t *n, const char *what, CMUnitTestFunction test, char *file)
{
  char *name = malloc(strlen(file) + strlen(what) + 3);
  assert_true(*n < TESTS);
  sprintf(name, "%s: %s", file, what);
  tests[(*n)++] = (struct CMUnitTest){.name = name, .test_func = test, .initial_state = file};
}

int main(void)
{
  static struct CMUnitTest tests[TESTS];
  size_t n = 0;
  int with_runs = 0;
  glob_t files;

  if (chdir(SOURCE_ROOT "/tests/verify/torch") || glob("*.h5", 0, NULL, &files) || files.gl_pathc < 8) {
    printf("Bail out! the reference files are not in " SOURCE_ROOT "/tests/verify/torch\n");
    return 1;
  }
  for (size_t i = 0; i < files.gl_pathc; i++) {
    char *file = files.gl_pathv[i];
    Add(tests, &n, "derivatives", AllDerivatives, file);
    Add(tests, &n, "single precision", SinglePrecision, file);
    Add(tests, &n, "outputs", Outputs, file);
    if (!HasRuns(file)) continue;
    with_runs++;
    Add(tests, &n, "optimisers", Optimisers, file);
  }
  if (!with_runs) {
    printf("Bail out! no reference file has runs of optimisers\n");
    return 1;
  }
  const int failed = _cmocka_run_group_tests("tests", tests, n, SetUpPetsc, TearDownPetsc);
  for (size_t i = 0; i < n; i++) free((char *)tests[i].name);
  globfree(&files);
  return failed;
}
