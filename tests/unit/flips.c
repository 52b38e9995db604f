/* The normal form against the 2-cycle itself, found by Newton's method on two steps of gradient descent. */
#include "problem.h"
#include <petscblaslapack.h>
#include <stdlib.h>

static double *State(Fixture *f, Vec v)
{
  const PetscScalar *array;
  double *values = malloc(sizeof(double) * (size_t)f->p);
  OK(VecGetArrayRead(v, &array));
  memcpy(values, array, sizeof(double) * (size_t)f->p);
  OK(VecRestoreArrayRead(v, &array));
  return values;
}

/* One step of gradient descent. */
static void Step(Fixture *f, double eta, double alpha, double *w)
{
  PetscScalar *array;
  const PetscScalar *F;
  Vec v, flow;

  OK(VecDuplicate(f->theta, &v));
  OK(VecDuplicate(f->theta, &flow));
  OK(VecGetArray(v, &array));
  memcpy(array, w, sizeof(double) * (size_t)f->p);
  OK(VecRestoreArray(v, &array));
  OK(CourantProblemComputeFlow(f->problem, alpha, v, flow));
  OK(VecGetArrayRead(flow, &F));
  for (PetscInt i = 0; i < f->p; i++) w[i] += eta * F[i];
  OK(VecRestoreArrayRead(flow, &F));
  OK(VecDestroy(&v));
  OK(VecDestroy(&flow));
}

/* w -> what two steps make of it, less w. */
static void Residual(Fixture *f, double eta, double alpha, const double *w, double *r)
{
  memcpy(r, w, sizeof(double) * (size_t)f->p);
  Step(f, eta, alpha, r);
  Step(f, eta, alpha, r);
  for (PetscInt i = 0; i < f->p; i++) r[i] -= w[i];
}

/* Half the distance of the two points of the 2-cycle near guess, by Newton's method with differences. */
static double HalfDistance(Fixture *f, double eta, double alpha, double *w)
{
  const PetscInt p = f->p;
  double *r = malloc(sizeof(double) * (size_t)p), *r2 = malloc(sizeof(double) * (size_t)p);
  double *J = malloc(sizeof(double) * (size_t)(p * p)), distance = 0;
  PetscBLASInt n = (PetscBLASInt)p, one = 1, info, *pivots = malloc(sizeof(PetscBLASInt) * (size_t)p);

  for (int it = 0; it < 12; it++) {
    Residual(f, eta, alpha, w, r);
    for (PetscInt j = 0; j < p; j++) {
      const double h = 1e-6, old = w[j];
      w[j] = old + h;
      Residual(f, eta, alpha, w, J + j * p);
      w[j] = old - h;
      Residual(f, eta, alpha, w, r2);
      w[j] = old;
      for (PetscInt i = 0; i < p; i++) J[i + j * p] = (J[i + j * p] - r2[i]) / (2 * h);
    }
    LAPACKgesv_(&n, &one, J, &n, pivots, r, &n, &info);
    assert_int_equal(info, 0);
    for (PetscInt i = 0; i < p; i++) w[i] -= r[i];
  }
  Residual(f, eta, alpha, w, r);
  for (PetscInt i = 0; i < p; i++) NEAR(r[i], 0, 1e-13);
  memcpy(r, w, sizeof(double) * (size_t)p);
  Step(f, eta, alpha, r);
  for (PetscInt i = 0; i < p; i++) distance += (r[i] - w[i]) * (r[i] - w[i]);
  free(r), free(r2), free(J), free(pivots);
  return sqrt(distance) / 2;
}

static void Compute(Fixture *f, double alpha, CourantFlipResult *result, CourantExtreme *largest, Vec *v)
{
  CourantEquilibrium equilibrium;
  CourantExtreme smallest;
  CourantFlip flip;
  PetscBool converged;

  OK(CourantEquilibriumCreate(f->problem, &equilibrium));
  OK(CourantEquilibriumSetFromOptions(equilibrium));
  OK(CourantEquilibriumDescend(equilibrium, alpha, f->theta, &converged));
  assert_true(converged);
  Extremes(f, alpha, largest, &smallest, v);
  OK(CourantFlipCreate(f->problem, &flip));
  OK(CourantFlipCompute(flip, alpha, f->theta, *v, largest, &smallest, result));
  OK(CourantFlipDestroy(&flip));
  OK(CourantEquilibriumDestroy(&equilibrium));
}

/*
  (eta m - 2) / h^2 of the cycle's half-distance h tends to c as eta m tends to 2, linearly: two learning
  rates give the limit. c < 0 has its cycle on the other side of the edge.
*/
static void CycleTest(const char *deck, double alpha)
{
  CourantFlipResult flip;
  CourantExtreme largest;
  double estimate[2];
  Fixture f;
  Vec v;

  Open(&f, deck);
  Compute(&f, alpha, &flip, &largest, &v);
  assert_int_equal(flip.status, COURANT_CONVERGED);
  BELOW(flip.error, 1e-6 * fabs(flip.coefficient));
  for (int i = 0; i < 2; i++) {
    const double excess = (flip.coefficient > 0 ? 1 : -1) * 2e-3 / (1 + i);
    double *w = State(&f, f.theta), *direction = State(&f, v);
    for (PetscInt k = 0; k < f.p; k++) w[k] += sqrt(excess / flip.coefficient) * direction[k];
    const double h = HalfDistance(&f, (2 + excess) / largest.value, alpha, w);
    estimate[i] = excess / (h * h);
    free(w), free(direction);
  }
  NEAR(2 * estimate[1] - estimate[0], flip.coefficient, 1e-4 * fabs(flip.coefficient));
  OK(VecDestroy(&v));
  Close(&f);
}

static void NoiseImage(void **state)
{
  (void)state;
  CycleTest(NOISE, 0.5);
}

static void TwoLayers(void **state)
{
  (void)state;
  CycleTest(TWO_LAYERS, 0.02);
}

static void BiasesDoNotDecay(void **state)
{
  (void)state;
  CycleTest(TWO_LAYERS_KERNEL_DECAY, 0.05);
}

/* By 30-digit arithmetic on the one-dimensional problem. */
static void Checkerboard(void **state)
{
  const struct {
    double alpha, m, limit, c;
  } cases[] = {{1.25, 3.87542408398, 0.516072552748, 5.62899813287},
               {2, 5.54568344857, 0.360640851312, 6.19460431536}};

  (void)state;
  for (int i = 0; i < 2; i++) {
    CourantFlipResult flip;
    CourantExtreme largest;
    Fixture f;
    Vec v;
    Open(&f, CHECKERBOARD);
    OK(VecSet(f.theta, 0));
    OK(VecSetValue(f.theta, 0, -0.5, INSERT_VALUES)); /* on the side of the positive branch */
    OK(VecAssemblyBegin(f.theta));
    OK(VecAssemblyEnd(f.theta));
    Compute(&f, cases[i].alpha, &flip, &largest, &v);
    NEAR(largest.value, cases[i].m, 1e-10);
    NEAR(flip.limit, cases[i].limit, 1e-11);
    NEAR(flip.coefficient, cases[i].c, 1e-9);
    OK(VecDestroy(&v));
    Close(&f);
  }
}

/* Nothing is invented where the normal form does not hold. */
static void Refuses(void **state)
{
  const CourantExtreme simple = {.value = 4, .residual = 1e-12, .multiplicity = 1},
                       twice = {.value = 4, .residual = 1e-12, .multiplicity = 2};
  const CourantExtreme negative = {.value = -1, .residual = 1e-12, .multiplicity = 1},
                       open = {.status = COURANT_NOT_CONVERGED};
  CourantFlipResult result;
  CourantFlip flip;
  Fixture f;
  Vec v;

  (void)state;
  Open(&f, NOISE);
  OK(VecDuplicate(f.theta, &v));
  OK(CourantFlipCreate(f.problem, &flip));
  OK(CourantFlipCompute(flip, 1, f.theta, v, &twice, &simple, &result));
  assert_true(result.status == COURANT_MULTIPLE && isnan(result.coefficient));
  OK(CourantFlipCompute(flip, 1, f.theta, v, &simple, &negative, &result));
  assert_true(result.status == COURANT_DEGENERATE && isnan(result.coefficient));
  OK(CourantFlipCompute(flip, 1, f.theta, v, &open, &simple, &result));
  assert_true(result.status == COURANT_NOT_CONVERGED && isnan(result.coefficient));
  OK(CourantFlipDestroy(&flip));
  OK(VecDestroy(&v));
  Close(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(NoiseImage),   cmocka_unit_test(TwoLayers), cmocka_unit_test(BiasesDoNotDecay),
    cmocka_unit_test(Checkerboard), cmocka_unit_test(Refuses),
};

TEST_MAIN(tests)
