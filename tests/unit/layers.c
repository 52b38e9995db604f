/*
  Every layer and every loss of the registry, without naming any: derivatives, adjoints, symmetry, in each
  precision and instruction set.
*/
#include "numerics.h"

enum { SAMPLES = 3 };

typedef struct {
  Numerics n;
  PetscInt p;
  CourantEvaluator evaluator;
  double *theta, *v, *u, *result;
  double step; /* along v, for differences */
} Fixture;

/* Outputs of the network that a loss takes, for labels that are classes: as few as it is content with. */
static int Outputs(const CourantLossOps *loss)
{
  PetscInt outputs = 1, sample;
  while (loss->Check(outputs, 2, 1, (double[]){0, 1}, &sample)) outputs++;
  return (int)outputs;
}

/*
  Is the output of the layer under test a straight line in e for theta + e v, e from -step/5 to step? Its
  input is, so that the output of a piecewise linear layer is too, unless its input crosses a kink on the way.
*/
static PetscBool Straight(Fixture *f)
{
  static const double at[] = {-0.2, 0, 1};
  const size_t size = CourantShapeSize(f->n.net->layers[1].out);
  double *theta = malloc(sizeof(double) * (size_t)f->p), *y[3], bend = 0;

  for (int i = 0; i < 3; i++) y[i] = malloc(sizeof(double) * size);
  for (PetscInt sample = 0; sample < SAMPLES; sample++) {
    for (int i = 0; i < 3; i++) {
      for (PetscInt j = 0; j < f->p; j++) theta[j] = f->theta[j] + at[i] * f->step * f->v[j];
      OK(CourantEvaluatorSample(f->evaluator, theta, sample, 1, y[i], NULL, NULL));
    }
    for (size_t z = 0; z < size; z++) bend = fmax(bend, fabs(5 * (y[1][z] - y[0][z]) - (y[2][z] - y[1][z])));
  }
  for (int i = 0; i < 3; i++) free(y[i]);
  free(theta);
  return bend < 1e-12 ? PETSC_TRUE : PETSC_FALSE;
}

/* A direction of length 1. */
static double *Direction(PetscInt p, uint32_t index)
{
  double *v = Normal(p, index, 1);
  const double norm = sqrt(Dot(p, v, v));
  for (PetscInt i = 0; i < p; i++) v[i] /= norm;
  return v;
}

/*
  A layer between two convolutions, so that gradients by its input, its parameters and its output all count.
  Differences along a line mean nothing across a kink: layers that have some get shorter steps, and the first
  line that crosses none.
*/
static void Open(Fixture *f, const CourantBackend *backend, const char *layer, const char *example,
                 const CourantLossOps *loss)
{
  char text[1024];
  const char *flat = !strcmp(layer, "dense") ? "- conv: {channels: 7, kernel: 2}\n- global_mean: {}\n" : "";

  snprintf(text, sizeof text,
           "data: {source: noise, height: 9, width: 11, samples: %d, exponent: 1, mean: 0.2, seed: 3}\n"
           "network:\n- conv: {channels: 2, kernel: 3, padding: 1}\n%s- %s: %s\n- swish: {}\n- conv: "
           "{channels: %d, kernel: 1}\n"
           "- global_mean: {}\nloss: %s\n",
           SAMPLES, flat, layer, example, Outputs(loss), loss->name);
  NumericsOpen(&f->n, backend, text, 1, 1e9);
  f->evaluator = f->n.evaluator;
  f->p = f->n.p;
  const PetscBool kinked = CourantLayerType(f->n.net->layers[1].type)->kinked;
  f->step = kinked ? 0.01 : 0.1;
  f->theta = Normal(f->p, 0, 0.3);
  f->v = Direction(f->p, 1);
  for (uint32_t line = 3; kinked && backend->bits == 64 && !Straight(f); line++) {
    if (line > 100) fail_msg("%s %s: every line crosses a kink", layer, example);
    free(f->v);
    f->v = Direction(f->p, line);
  }
  f->u = Normal(f->p, 2, 1);
  f->result = malloc(sizeof(double) * CourantEvaluatorLength(f->evaluator, 4));
}

static void Close(Fixture *f)
{
  NumericsClose(&f->n);
  free(f->theta), free(f->v), free(f->u), free(f->result);
}

static void (*test)(Fixture *);

static void Try(const CourantBackend *backend, const char *layer, const char *example,
                const CourantLossOps *loss)
{
  Fixture f;

  Open(&f, backend, layer, example, loss);
  test(&f);
  Close(&f);
}

/* Every layer with the first loss, every other loss with a smooth layer. */
static void EveryExample(const CourantBackend *backend)
{
  for (int type = 0; type < CourantLayerTypeCount; type++)
    for (const char *const *example = CourantLayerType(type)->examples; *example; example++)
      Try(backend, CourantLayerType(type)->name, *example, CourantLossType(0));
  for (int type = 1; type < CourantLossTypeCount; type++)
    Try(backend, "conv", "{channels: 2, kernel: 3}", CourantLossType(type));
}

static void ForEverything(int bits, void (*Test)(Fixture *))
{
  test = Test;
  ForEveryBackend(bits, EveryExample);
}

/* Gradient against central differences of the loss, second order in the step. */
static void GradientTest(Fixture *f)
{
  double *at = malloc(sizeof(double) * (size_t)f->p), *gradient = malloc(sizeof(double) * (size_t)f->p);
  double loss[2], slope, error[2];

  OK(CourantEvaluatorRun(f->evaluator, 0, f->theta, NULL, PETSC_COMM_SELF, f->result));
  memcpy(gradient, f->result, sizeof(double) * (size_t)f->p);
  slope = Dot(f->p, gradient, f->v);
  for (int halving = 0; halving < 2; halving++) {
    const double step = f->step / 5 / (1 + halving);
    for (int side = 0; side < 2; side++) {
      for (PetscInt i = 0; i < f->p; i++) at[i] = f->theta[i] + (side ? step : -step) * f->v[i];
      OK(CourantEvaluatorRun(f->evaluator, 0, at, NULL, PETSC_COMM_SELF, f->result));
      loss[side] = f->result[f->p];
    }
    error[halving] = fabs((loss[1] - loss[0]) / (2 * step) - slope);
  }
  BELOW(error[1], 1e-3 * sqrt(Dot(f->p, gradient, gradient)));
  if (error[1] > 1e-10) NEAR(log2(error[0] / error[1]), 2, 0.1);
  free(at), free(gradient);
}

/*
  The gradient along the line theta + e v, less its jet of order 3, falls as e^4: one wrong coefficient and it
  falls more slowly.
*/
static void TaylorTest(Fixture *f)
{
  const PetscInt p = f->p;
  double *at = malloc(sizeof(double) * (size_t)p), *gradient = malloc(sizeof(double) * (size_t)(p + 1)),
         error[2];

  OK(CourantEvaluatorRun(f->evaluator, 3, f->theta, f->v, PETSC_COMM_SELF, f->result));
  for (int halving = 0; halving < 2; halving++) {
    const double e = f->step / (1 + halving);
    for (PetscInt i = 0; i < p; i++) at[i] = f->theta[i] + e * f->v[i];
    double *series = malloc(sizeof(double) * (size_t)p);
    for (PetscInt i = 0; i < p; i++)
      series[i] =
          f->result[i] + e * (f->result[p + i] + e * (f->result[2 * p + i] + e * f->result[3 * p + i]));
    CourantEvaluatorGradient(f->evaluator, at, gradient);
    error[halving] = Distance(p, series, gradient);
    free(series);
  }
  NEAR(log2(error[0] / error[1]), 4, 0.25);
  free(at), free(gradient);
}

/* Forward and backward are adjoint at every order: (k+1) L_(k+1) = g_k . v. */
static void AdjointTest(Fixture *f)
{
  const PetscInt p = f->p;

  OK(CourantEvaluatorRun(f->evaluator, 3, f->theta, f->v, PETSC_COMM_SELF, f->result));
  for (int k = 0; k < 3; k++) {
    const double forward = (k + 1) * f->result[4 * p + k + 1], backward = Dot(p, f->result + k * p, f->v);
    NEAR(forward, backward, 1e-13 * (1 + fabs(backward)));
  }
}

/* u . H v = v . H u, by products at the kept primal, which are those of a jet to the bit. */
static void SymmetryTest(Fixture *f)
{
  const PetscInt p = f->p;
  double *hv = malloc(sizeof(double) * (size_t)(p + 1)), *hu = malloc(sizeof(double) * (size_t)(p + 1));

  OK(CourantEvaluatorKeep(f->evaluator, f->theta, PETSC_COMM_SELF, f->result));
  OK(CourantEvaluatorProducts(f->evaluator, 1, (const double *const[]){f->v}, PETSC_COMM_SELF, hv));
  OK(CourantEvaluatorProducts(f->evaluator, 1, (const double *const[]){f->u}, PETSC_COMM_SELF, hu));
  NEAR(Dot(p, f->u, hv), Dot(p, f->v, hu), 1e-13 * (1 + sqrt(Dot(p, hv, hv) * Dot(p, f->u, f->u))));
  OK(CourantEvaluatorRun(f->evaluator, 1, f->theta, f->v, PETSC_COMM_SELF, f->result));
  assert_memory_equal(hv, f->result + p, sizeof(double) * (size_t)p);
  free(hv), free(hu);
}

/* Single precision gives the double result within its rounding. */
static void SingleTest(Fixture *f)
{
  const CourantBackend *backend;
  const CourantEvaluatorSettings settings = {.order = 3, .threads = 1, .memory = 1e9};
  const size_t length = CourantEvaluatorLength(f->evaluator, 4);
  double *expected = malloc(sizeof(double) * length);
  CourantEvaluator reference;

  OK(CourantBackendGet(PETSC_COMM_SELF, 64, NULL, &backend));
  OK(CourantEvaluatorCreate(f->n.net, f->n.data, backend, &settings, &reference));
  OK(CourantEvaluatorRun(reference, 3, f->theta, f->v, PETSC_COMM_SELF, expected));
  OK(CourantEvaluatorRun(f->evaluator, 3, f->theta, f->v, PETSC_COMM_SELF, f->result));
  for (int k = 0; k < 4; k++) {
    const double *e = expected + k * f->p;
    BELOW(Distance(f->p, e, f->result + k * f->p), 1e-4 * sqrt(Dot(f->p, e, e)));
  }
  OK(CourantEvaluatorDestroy(&reference));
  free(expected);
}

static void Gradient(void **state)
{
  (void)state;
  ForEverything(64, GradientTest);
}

static void Taylor(void **state)
{
  (void)state;
  ForEverything(64, TaylorTest);
}

static void Adjoint(void **state)
{
  (void)state;
  ForEverything(64, AdjointTest);
}

static void Symmetry(void **state)
{
  (void)state;
  ForEverything(64, SymmetryTest);
}

static void Single(void **state)
{
  (void)state;
  ForEverything(32, SingleTest);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Gradient), cmocka_unit_test(Taylor), cmocka_unit_test(Adjoint),
    cmocka_unit_test(Symmetry), cmocka_unit_test(Single),
};

TEST_MAIN(tests)
