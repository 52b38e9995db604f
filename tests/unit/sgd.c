/* The three limits of mini-batch gradient descent: closed forms, dense matrices by LAPACK, and real runs. */
#include "numerics.h"
#include "problem.h"
#include "core/statistics.h"
#include "stability/sgd.h"
#include "train/run.h"
#include <petscblaslapack.h>
#include <stdlib.h>

enum { P = 3, SAMPLES = 8 }; /* at most, of matrices given by hand */

static CourantSgd Make(int n, int p, int batch, int seed, const double *H, const char *options)
{
  CourantSgd sgd;
  OK(PetscOptionsInsertString(NULL, options));
  OK(CourantSgdCreate(PETSC_COMM_SELF, batch, &sgd));
  OK(CourantSgdSetSeed(sgd, seed));
  OK(CourantSgdSetFromOptions(sgd));
  OK(CourantSgdSetHessians(sgd, n, p, H));
  OK(PetscOptionsClear(NULL));
  return sgd;
}

static CourantEstimate Limit(CourantSgd sgd, CourantSgdKind kind)
{
  CourantEstimate limit;
  CourantStatus status;
  OK(CourantSgdGetLimit(sgd, kind, &limit, &status));
  assert_int_equal(status, COURANT_CONVERGED);
  assert_true(limit.low <= limit.value && limit.value <= limit.high);
  return limit;
}

static double Growth(CourantSgd sgd, CourantSgdKind kind, double eta)
{
  CourantEstimate growth;
  CourantStatus status;
  OK(CourantSgdGetGrowth(sgd, kind, 1, &eta, &growth, &status));
  assert_int_equal(status, COURANT_CONVERGED);
  return growth.value;
}

static double Descent(CourantSgd sgd)
{
  CourantStatus status;
  double limit;
  OK(CourantSgdGetDescentLimit(sgd, &limit, &status));
  return limit;
}

/* h = 0.5 and 1.5: 2 h / mean h^2 = 1.6; |1 - 0.5 eta| |1 - 1.5 eta| = 1 at 8/3; descent 2. */
static void ScalarPair(void **state)
{
  const double H[] = {0.5, 1.5};
  CourantSgd sgd = Make(2, 1, 1, 1, H, "");

  (void)state;
  NEAR(Descent(sgd), 2, 1e-14);
  NEAR(Limit(sgd, COURANT_SGD_MEAN_SQUARE).value, 1.6, 1e-12);
  NEAR(Limit(sgd, COURANT_SGD_EPOCH).value, 8. / 3, 1e-8);
  NEAR(Limit(sgd, COURANT_SGD_ALMOST_SURE).value, 8. / 3, 1e-7);
  NEAR(Growth(sgd, COURANT_SGD_MEAN_SQUARE, 1), 0.5, 1e-12);
  NEAR(Growth(sgd, COURANT_SGD_ALMOST_SURE, 3), sqrt(0.5 * 3.5), 1e-12);
  OK(CourantSgdDestroy(&sgd));
  sgd = Make(2, 1, 2, 1, H, ""); /* batches of all: descent */
  for (int kind = 0; kind < 3; kind++) NEAR(Limit(sgd, kind).value, 2, 1e-14);
  OK(CourantSgdDestroy(&sgd));
}

/* No learning rate is stable where the mean is not, nor where noise has nothing against it. */
static void NoLimit(void **state)
{
  const double indefinite[] = {1, 0, 0, -0.1, 1, 0, 0, -0.2}, unrestored[] = {1, 0, 0, 1, 1, 0, 0, -1};
  const double flat[] = {1, 0, 0, 0, 2, 0, 0, 0};
  CourantEstimate limit;
  CourantStatus status;
  PetscInt modes, neutral;
  PetscBool projected;

  (void)state;
  for (int i = 0; i < 2; i++) {
    CourantSgd sgd = Make(2, 2, 1, 1, i ? unrestored : indefinite, "");
    OK(CourantSgdGetLimit(sgd, COURANT_SGD_MEAN_SQUARE, &limit, &status));
    assert_int_equal(status, COURANT_DEGENERATE);
    assert_true(isnan(limit.value));
    if (i == 0) /* it grows all the same; E[A (x) A] of diagonal matrices is diagonal */
      NEAR(Growth(sgd, COURANT_SGD_MEAN_SQUARE, 0.5), sqrt(0.5 * (1.05 * 1.05 + 1.1 * 1.1)), 1e-12);
    OK(CourantSgdDestroy(&sgd));
  }
  CourantSgd sgd = Make(2, 2, 1, 1, flat, ""); /* a neutral mode on which nothing acts */
  NEAR(Limit(sgd, COURANT_SGD_MEAN_SQUARE).value, 2 * 1.5 / 2.5, 1e-12);
  OK(CourantSgdGetModes(sgd, &modes, &neutral, &projected));
  assert_int_equal(modes, 1);
  assert_int_equal(neutral, 1);
  OK(CourantSgdDestroy(&sgd));
}

/* Samples that agree, at the learning rate that takes one step: rounding may put this 0 below 0. */
static void AtOnce(void **state)
{
  (void)state;
  for (int i = 1; i <= 40; i++) {
    const double h = 0.1 * i, H[] = {h, h};
    CourantSgd sgd = Make(2, 1, 1, 1, H, "");
    NEAR(Growth(sgd, COURANT_SGD_MEAN_SQUARE, 1 / h), 0, 1e-7); /* the root of a few roundings */
    OK(CourantSgdDestroy(&sgd));
  }
}

/* ---- against dense Kronecker matrices ---- */

/* n symmetric matrices; `rank` 0: full rank with eigenvalues of both signs, but a positive definite mean. */
static void RandomMatrices(int n, int p, int rank, uint32_t index, double *H)
{
  double *values = Normal(n * p * p, index, 1);

  for (int i = 0; i < n; i++)
    for (int j = 0; j < p; j++)
      for (int k = 0; k < p; k++) {
        const double *v = values + i * p * p;
        double *h = &H[(i * p + j) * p + k];
        *h = 0;
        for (int r = 0; r < rank; r++) *h += v[r * p + j] * v[r * p + k];
        if (rank == 0) *h = 0.6 * (v[j * p + k] + v[k * p + j]) + (j == k ? 3 : 0);
      }
  free(values);
}

/* A sum of Kronecker squares and the orders it is over. */
typedef struct {
  int n, p, batch;
  double eta;
  const double *H;
  double total[P * P * P * P]; /* [p^2,p^2] */
  double count;
} Kronecker;

/* A = 1 - eta mean H of some samples. */
static void Step(const Kronecker *s, int size, const int *samples, double *A)
{
  for (int k = 0; k < s->p * s->p; k++) {
    A[k] = k % (s->p + 1) == 0;
    for (int i = 0; i < size; i++) A[k] -= s->eta / size * s->H[samples[i] * s->p * s->p + k];
  }
}

static void AddSquare(Kronecker *s, const double *A)
{
  const int p = s->p, square = p * p;
  for (int i = 0; i < square; i++)
    for (int j = 0; j < square; j++)
      s->total[i * square + j] += A[(i / p) * p + j / p] * A[(i % p) * p + j % p];
  s->count++;
}

static void Product(const Kronecker *s, const double *A, const double *B, double *C)
{
  for (int i = 0; i < s->p; i++)
    for (int j = 0; j < s->p; j++) {
      C[i * s->p + j] = 0;
      for (int k = 0; k < s->p; k++) C[i * s->p + j] += A[i * s->p + k] * B[k * s->p + j];
    }
}

/* Every batch of b of the n samples. */
static void AddBatches(Kronecker *s, int from, int chosen, int *samples)
{
  double A[P * P];

  if (chosen == s->batch) {
    Step(s, s->batch, samples, A);
    AddSquare(s, A);
    return;
  }
  for (int i = from; i < s->n; i++) {
    samples[chosen] = i;
    AddBatches(s, i + 1, chosen + 1, samples);
  }
}

/* Every permutation of the samples. */
static void AddEpochs(Kronecker *s, int chosen, int *samples)
{
  double A[P * P], Phi[P * P] = {0}, next[P * P];

  for (int i = chosen; i < s->n; i++) {
    const int t = samples[chosen];
    samples[chosen] = samples[i];
    samples[i] = t;
    AddEpochs(s, chosen + 1, samples);
    samples[i] = samples[chosen];
    samples[chosen] = t;
  }
  if (chosen < s->n) return;
  for (int k = 0; k < s->p; k++) Phi[k * (s->p + 1)] = 1;
  for (int first = 0; first < s->n; first += s->batch) {
    Step(s, first + s->batch < s->n ? s->batch : s->n - first, samples + first, A);
    Product(s, A, Phi, next);
    memcpy(Phi, next, sizeof next);
  }
  AddSquare(s, Phi);
}

/* The spectral radius of the mean Kronecker square, by LAPACK's nonsymmetric solver. */
static double Radius(int n, int p, int batch, const double *H, double eta, int epoch)
{
  Kronecker s = {.n = n, .p = p, .batch = batch, .eta = eta, .H = H};
  int samples[SAMPLES];
  double re[P * P], im[P * P], work[40 * P * P], radius = 0;
  const PetscBLASInt size = p * p, one = 1, lwork = 40 * P * P;
  PetscBLASInt info;

  for (int i = 0; i < n; i++) samples[i] = i;
  if (epoch)
    AddEpochs(&s, 0, samples);
  else
    AddBatches(&s, 0, 0, samples);
  for (int k = 0; k < size * size; k++) s.total[k] /= s.count;
  LAPACKgeev_("N", "N", &size, s.total, &size, re, im, NULL, &one, NULL, &one, work, &lwork, &info);
  assert_int_equal(info, 0);
  for (int k = 0; k < size; k++) radius = fmax(radius, hypot(re[k], im[k]));
  return radius;
}

static void Dense(void **state)
{
  static const struct {
    int n, p, batch, rank;
  } cases[] = {{4, 2, 1, 1}, {4, 2, 2, 0}, {5, 3, 2, 1}, {5, 3, 1, 0}, {5, 3, 3, 2}, {6, 3, 3, 0}};

  (void)state;
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    const int n = cases[c].n, p = cases[c].p, b = cases[c].batch, batches = (n + b - 1) / b;
    double H[SAMPLES * P * P];
    RandomMatrices(n, p, cases[c].rank, 20 + (uint32_t)c, H);
    CourantSgd sgd = Make(n, p, b, 1, H, "");
    const double square = Limit(sgd, COURANT_SGD_MEAN_SQUARE).value,
                 epoch = Limit(sgd, COURANT_SGD_EPOCH).value;
    assert_true(square <= Descent(sgd));
    NEAR(Radius(n, p, b, H, square, 0), 1, 1e-9);
    BELOW(Radius(n, p, b, H, 0.98 * square, 0), 1);
    NEAR(Radius(n, p, b, H, epoch, 1), 1, 1e-7);
    for (double share = 0.1; share < 0.99; share += 0.1) BELOW(Radius(n, p, b, H, share * epoch, 1), 1);
    for (double share = 0.3; share < 2; share += 0.6) {
      NEAR(Growth(sgd, COURANT_SGD_MEAN_SQUARE, share * square), sqrt(Radius(n, p, b, H, share * square, 0)),
           1e-9);
      NEAR(Growth(sgd, COURANT_SGD_EPOCH, share * epoch),
           pow(Radius(n, p, b, H, share * epoch, 1), 0.5 / batches), 1e-8);
    }
    OK(CourantSgdDestroy(&sgd));
  }
}

/* Second moments of 200000 walks with independent batches, eight steps and twelve steps on. */
static void MonteCarlo(void **state)
{
  enum { WALKS = 200000, GROUPS = 40 };
  double H[SAMPLES * P * P], early[GROUPS] = {0}, late[GROUPS] = {0}, sums[2] = {0}, spread[GROUPS];
  const int n = 5, p = 2;

  (void)state;
  RandomMatrices(n, p, 0, 30, H);
  CourantSgd sgd = Make(n, p, 2, 1, H, "");
  Kronecker s = {.n = n, .p = p, .batch = 2, .eta = Limit(sgd, COURANT_SGD_MEAN_SQUARE).value, .H = H};
  for (int walk = 0; walk < WALKS; walk++) {
    double x[2] = {1, 1}, draws[24], A[4];
    CourantRandomUniform((CourantRandom){.seed = 2, .purpose = COURANT_RANDOM_TEST, .index = (uint32_t)walk},
                         24, draws);
    for (int t = 0; t < 12; t++) {
      int samples[2] = {(int)(n * draws[2 * t]), (int)((n - 1) * draws[2 * t + 1])};
      samples[1] += samples[1] >= samples[0];
      Step(&s, 2, samples, A);
      const double y = A[0] * x[0] + A[1] * x[1];
      x[1] = A[2] * x[0] + A[3] * x[1];
      x[0] = y;
      if (t == 7) early[walk % GROUPS] += x[0] * x[0] + x[1] * x[1];
    }
    late[walk % GROUPS] += x[0] * x[0] + x[1] * x[1];
  }
  for (int g = 0; g < GROUPS; g++) sums[0] += early[g], sums[1] += late[g];
  for (int g = 0; g < GROUPS; g++) spread[g] = GROUPS * (late[g] - early[g]) / sums[0];
  const CourantEstimate change = CourantMeanEstimate(GROUPS, spread);
  BELOW(change.high - change.low, 0.1);
  NEAR(change.value, 0, 0.75 * (change.high - change.low)); /* at the limit nothing grows; three sigma */
  OK(CourantSgdDestroy(&sgd));
}

/* ---- sampled quantities: do their intervals hold the truth? ---- */

static void EpochInterval(void **state)
{
  const int n = 7, p = 2, b = 2, seeds = 40; /* 630 ways; 5040 permutations by the test's own enumeration */
  double H[SAMPLES * P * P];
  int covered = 0;

  (void)state;
  RandomMatrices(n, p, 1, 41, H);
  CourantSgd sgd = Make(n, p, b, 1, H, "");
  const double exact = Limit(sgd, COURANT_SGD_EPOCH).value;
  NEAR(Radius(n, p, b, H, exact, 1), 1, 1e-7);
  OK(CourantSgdDestroy(&sgd));
  double twice[2 * 7 * P * P]; /* the same samples twice over: 14 in batches of 4, 2.5e7 ways */
  memcpy(twice, H, sizeof(double) * (size_t)(n * p * p));
  memcpy(twice + n * p * p, H, sizeof(double) * (size_t)(n * p * p));
  sgd = Make(2 * n, p, 2 * b, 1, twice, "-sgd_permutations 40000");
  const CourantEstimate fine = Limit(sgd, COURANT_SGD_EPOCH);
  OK(CourantSgdDestroy(&sgd));
  for (int seed = 10; seed < 10 + seeds; seed++) {
    sgd = Make(2 * n, p, 2 * b, seed, twice, "");
    const CourantEstimate limit = Limit(sgd, COURANT_SGD_EPOCH);
    covered += limit.low <= fine.value && fine.value <= limit.high;
    OK(CourantSgdDestroy(&sgd));
  }
  if (covered < 34) fail_msg("%d of %d", covered, seeds); /* 38 expected, 1.4 standard deviation */
}

/*
  Diagonal matrices: the exponent of coordinate k is the mean over batches of log |1 - eta h|, in closed form;
  5 samples in batches of 2, 2 and 1.
*/
static double Exponent(const double *h, int p, int k, double eta)
{
  double sum = 0;
  for (int i = 0; i < 5; i++) {
    sum += log(fabs(1 - eta * h[i * p + k])) / 5;
    for (int j = 0; j < i; j++) sum += 2 * log(fabs(1 - eta * 0.5 * (h[i * p + k] + h[j * p + k]))) / 10;
  }
  return sum / 3;
}

static void AlmostSure(void **state)
{
  const double h[] = {0.2, 1, 0.5, 2, 1.3, 0.1, 0.9, 1.4, 2.6, 0.7}; /* [5,2] */
  double H[5 * 4] = {0}, exact = INFINITY;
  int covered = 0;
  const int seeds = 40;

  (void)state;
  for (int i = 0; i < 5; i++)
    for (int k = 0; k < 2; k++) H[i * 4 + 3 * k] = h[2 * i + k];
  for (int k = 0; k < 2; k++) {
    double low = 1, high = 1.001;
    while (Exponent(h, 2, k, high) < 0) high *= 1.001;
    low = high / 1.001;
    for (int i = 0; i < 50; i++)
      *(Exponent(h, 2, k, 0.5 * (low + high)) < 0 ? &low : &high) = 0.5 * (low + high);
    exact = fmin(exact, high);
  }
  for (int seed = 0; seed < seeds; seed++) {
    CourantSgd sgd = Make(5, 2, 2, seed, H, "");
    const CourantEstimate limit = Limit(sgd, COURANT_SGD_ALMOST_SURE);
    covered += limit.low <= exact && exact <= limit.high;
    BELOW(limit.high - limit.low, 0.1 * exact);
    if (seed == 0) {
      CourantEstimate growth;
      CourantStatus status;
      OK(CourantSgdGetGrowth(sgd, COURANT_SGD_ALMOST_SURE, 1, (double[]){0.8}, &growth, &status));
      const double truth = exp(fmax(Exponent(h, 2, 0, 0.8), Exponent(h, 2, 1, 0.8)));
      NEAR(growth.value, truth, growth.high - growth.low);
    }
    OK(CourantSgdDestroy(&sgd));
  }
  if (covered < 34) fail_msg("%d of %d", covered, seeds); /* 38 expected, 1.4 standard deviation */
}

/* ---- a network whose samples are all fitted ---- */

static const char fitted[] =
    "data: {source: noise, size: 6, samples: 6, exponent: 1, mean: 0.3, classes: 2, seed: 5}\n"
    "network:\n- conv: {channels: 3, kernel: 3}\n- tanh: {}\n- flatten: {}\n- dense: {features: 2}\n"
    "loss: squared\nweights: {init: pytorch, seed: 5}\n";

typedef struct {
  Fixture f;
  double *theta, *V; /* [p]; [p,q] the modes that are not neutral */
  int q;
} Fitted;

/* The weights of zero loss, and the mean Hessian's eigenvectors there by LAPACK. */
static void OpenFitted(Fitted *t)
{
  CourantEquilibrium equilibrium;
  PetscBool converged;
  PetscScalar *array;
  double loss, *values, *work;
  PetscBLASInt n, lwork, info;
  Mat H, identity, dense;

  Open(&t->f, fitted);
  const PetscInt p = t->f.p;
  OK(CourantEquilibriumCreate(t->f.problem, &equilibrium));
  OK(CourantEquilibriumDescend(equilibrium, 0, t->f.theta, &converged));
  OK(CourantEquilibriumDestroy(&equilibrium));
  OK(CourantProblemCreateHessian(t->f.problem, &H));
  OK(CourantProblemSetState(t->f.problem, t->f.theta, &loss, NULL));
  BELOW(loss, 1e-14);
  t->theta = malloc(sizeof(double) * (size_t)p);
  t->V = malloc(sizeof(double) * (size_t)(p * p));
  OK(VecGetArray(t->f.theta, &array));
  memcpy(t->theta, array, sizeof(double) * (size_t)p);
  OK(VecRestoreArray(t->f.theta, &array));
  OK(MatCreateDense(PETSC_COMM_SELF, p, p, p, p, NULL, &identity));
  OK(MatShift(identity, 1));
  OK(MatMatMult(H, identity, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &dense));
  OK(MatDenseGetArray(dense, &array));
  values = malloc(sizeof(double) * (size_t)p);
  lwork = 10 * (PetscBLASInt)p;
  work = malloc(sizeof(double) * (size_t)lwork);
  n = (PetscBLASInt)p;
  LAPACKsyev_("V", "U", &n, array, &n, values, work, &lwork, &info);
  assert_int_equal(info, 0);
  t->q = 0;
  for (PetscInt k = 0; k < p; k++)
    if (values[k] > 1e-6 * values[p - 1])
      memcpy(t->V + p * t->q++, array + k * p, sizeof(double) * (size_t)p);
  OK(MatDenseRestoreArray(dense, &array));
  OK(MatDestroy(&dense));
  OK(MatDestroy(&identity));
  OK(MatDestroy(&H));
  free(values);
  free(work);
}

static void CloseFitted(Fitted *t)
{
  free(t->theta);
  free(t->V);
  Close(&t->f);
}

static CourantSgd MakeFitted(Fitted *t, int batch, const char *options)
{
  CourantSgd sgd;
  OK(PetscOptionsInsertString(NULL, options));
  OK(CourantSgdCreate(PETSC_COMM_SELF, batch, &sgd));
  OK(CourantSgdSetFromOptions(sgd));
  OK(CourantSgdSetProblem(sgd, t->f.problem, t->f.theta, 0, NULL));
  OK(PetscOptionsClear(NULL));
  return sgd;
}

/* The projection finds what the assembled matrices give; most modes are neutral. */
static void Projected(void **state)
{
  Fitted t;
  PetscInt modes, neutral;
  PetscBool projected;
  double noise;

  (void)state;
  OpenFitted(&t);
  assert_true(t.f.p > 100);
  for (int batch = 1; batch <= 3; batch++) {
    CourantSgd dense = MakeFitted(&t, batch, ""), small = MakeFitted(&t, batch, "-sgd_dense 0");
    OK(CourantSgdGetModes(dense, &modes, &neutral, &projected));
    assert_int_equal(projected, 0);
    assert_int_equal(modes, t.q);
    assert_int_equal(neutral, t.f.p - t.q);
    OK(CourantSgdGetNoise(dense, &noise));
    BELOW(noise, 1e-6);
    OK(CourantSgdGetModes(small, &modes, &neutral, &projected));
    assert_true(modes <= t.q);
    NEAR(Descent(small), Descent(dense), 1e-8 * Descent(dense));
    for (int kind = 0; kind < 3; kind++) {
      const CourantEstimate a = Limit(dense, kind), b = Limit(small, kind);
      assert_true(b.low - 1e-9 <= a.value && a.value <= b.high + 1e-9);
      NEAR(b.value, a.value, 1e-3 * a.value);
    }
    OK(CourantSgdDestroy(&dense));
    OK(CourantSgdDestroy(&small));
  }
  CloseFitted(&t);
}

static const char part_deck[] =
    "data: {source: noise, size: 6, samples: 16, exponent: 1, mean: 0.3, classes: 2, seed: 5}\n"
    "network:\n- conv: {channels: 3, kernel: 3}\n- tanh: {}\n- flatten: {}\n- dense: {features: 2}\n"
    "loss: squared\nweights: {init: pytorch, seed: 5}\n";

/* With weight decay nothing is neutral and the subspace holds a part of the modes alone. */
static void ProjectedPart(void **state)
{
  const double alpha = 0.05;
  CourantEquilibrium equilibrium;
  PetscInt modes[2], neutral;
  PetscBool converged, projected;
  Fitted t = {0};

  (void)state;
  Open(&t.f, part_deck);
  OK(CourantEquilibriumCreate(t.f.problem, &equilibrium));
  OK(CourantEquilibriumDescend(equilibrium, alpha, t.f.theta, &converged));
  OK(CourantEquilibriumDestroy(&equilibrium));
  assert_true(converged);
  CourantSgd sgd[2];
  for (int i = 0; i < 2; i++) {
    OK(PetscOptionsInsertString(NULL, i ? "-sgd_dense 0 -sgd_permutations 8" : "-sgd_permutations 8"));
    OK(CourantSgdCreate(PETSC_COMM_SELF, 4, &sgd[i]));
    OK(CourantSgdSetFromOptions(sgd[i]));
    OK(CourantSgdSetProblem(sgd[i], t.f.problem, t.f.theta, alpha, NULL));
    OK(PetscOptionsClear(NULL));
    OK(CourantSgdGetModes(sgd[i], &modes[i], &neutral, &projected));
    assert_int_equal(projected, i);
  }
  assert_int_equal(modes[0], t.f.p);
  assert_true(modes[1] < modes[0]);
  for (int kind = 0; kind < 3; kind++) {
    const CourantEstimate a = Limit(sgd[0], kind), b = Limit(sgd[1], kind);
    if (kind == COURANT_SGD_MEAN_SQUARE) {
      assert_true(b.low <= a.value && a.value <= b.high);
      BELOW(b.high - b.low, 0.01 * a.value);
    } else /* both have the errors of their samples */
      NEAR(b.value, a.value, 0.5 * (a.high - a.low + b.high - b.low));
  }
  for (int i = 0; i < 2; i++) OK(CourantSgdDestroy(&sgd[i]));
  Close(&t.f);
}

/* A product [p,p] for each order of the samples is counted, and refused where they do not fit. */
static void Memory(void **state)
{
  static const char *const options[] = {"-sgd_permutations 1000", "-sgd_permutations 100000"};
  double bytes[2];
  Fixture f;

  (void)state;
  Open(&f, part_deck);
  f.problem->memory = 1e11;
  for (int i = 0; i < 2; i++) {
    CourantSgd sgd;
    OK(PetscOptionsInsertString(NULL, options[i]));
    OK(CourantSgdCreate(PETSC_COMM_SELF, 4, &sgd));
    OK(CourantSgdSetFromOptions(sgd));
    OK(PetscOptionsClear(NULL));
    OK(CourantSgdCheckMemory(sgd, f.problem));
    bytes[i] = CourantSgdMemory(sgd, f.problem);
    f.problem->memory = 5e8; /* the 1000 take 131 MB, the matrices of 16 samples 8 MB */
    const PetscErrorCode code = CourantSgdSetProblem(sgd, f.problem, f.theta, 0.05, NULL);
    f.problem->memory = 1e11;
    assert_int_equal(code, i ? COURANT_ERR_INPUT : 0);
    if (i) assert_non_null(strstr(CourantErrorMessage(), "the limits of mini-batches take"));
    CourantErrorClear();
    OK(CourantSgdDestroy(&sgd));
  }
  BELOW(99000 * 8. * f.p * f.p, bytes[1] - bytes[0]);
  BELOW(bytes[1] - bytes[0], 99000 * 8. * (f.p * f.p + 16));
  Close(&f);
}

/* ---- runs of the trainer ---- */

typedef struct {
  Fitted *t;
  CourantTrainSettings settings;
  CourantDeck deck;
  CourantProblem problem;
  CourantRun run;
  CourantRunState state;
  double *x, *at; /* [p]: the deviation; weights */
} Runs;

static void BeginRuns(Runs *r, Fitted *t, int batch, double eta)
{
  char text[2048];

  *r = (Runs){.t = t};
  snprintf(text, sizeof text, "%strain: {rule: gd, learning_rate: %.17g, batch: %d, steps: 1000000}\n",
           fitted, eta, batch);
  OK(CourantDeckParse(PETSC_COMM_SELF, text, NULL, &r->deck));
  OK(CourantProblemCreate(PETSC_COMM_SELF, r->deck, &r->problem));
  OK(CourantProblemSetUp(r->problem));
  OK(CourantTrainRead(r->problem->top.train, &r->settings));
  OK(CourantRunCreate(r->problem, &r->settings, PETSC_TRUE, &r->run));
  OK(CourantRunStateCreate(&r->run, &r->state));
  r->x = malloc(sizeof(double) * r->run.n);
  r->at = malloc(sizeof(double) * r->run.n);
}

static void EndRuns(Runs *r)
{
  free(r->x);
  free(r->at);
  OK(CourantRunStateDestroy(&r->state));
  OK(CourantRunDestroy(&r->run));
  OK(CourantTrainReset(&r->settings));
  OK(CourantProblemDestroy(&r->problem));
  OK(CourantDeckDestroy(&r->deck));
}

static void StartRun(Runs *r, uint64_t seed)
{
  OK(CourantRunStart(&r->run, &r->problem->weights, seed, 1, &r->state));
  for (int k = 0; k < r->t->f.p; k++) r->x[k] = r->t->V[k + (r->t->q - 1) * r->t->f.p]; /* of the top */
}

/* An epoch of the trainer from theta* + 1e-7 x, back in x without its neutral part; what |x| became. */
static double RunEpoch(Runs *r)
{
  const PetscInt p = r->t->f.p;
  const double size = 1e-7, norm = sqrt(Dot(p, r->x, r->x));
  double *at = r->at;
  CourantRunRecord record;

  for (PetscInt k = 0; k < p; k++) at[k] = r->t->theta[k] + size / norm * r->x[k];
  CourantRunSet(&r->run, at, r->state.theta);
  for (PetscInt step = 0; step < r->run.per_epoch; step++) OK(CourantRunStep(&r->run, &r->state, &record));
  CourantRunGet(&r->run, r->state.theta, at);
  for (PetscInt k = 0; k < p; k++) at[k] = (at[k] - r->t->theta[k]) * norm / size;
  memset(r->x, 0, sizeof(double) * (size_t)p);
  for (int j = 0; j < r->t->q; j++) {
    const double *v = r->t->V + j * p, share = Dot(p, v, at);
    for (PetscInt k = 0; k < p; k++) r->x[k] += share * v[k];
  }
  return sqrt(Dot(p, r->x, r->x));
}

/* One long run grows or decays as the almost-sure exponent says, and changes sides at its limit. */
static void OneRun(void **state)
{
  enum { BLOCKS = 20, EPOCHS = 20 };
  const double shares[] = {0.93, 1.07};
  Fitted t;

  (void)state;
  OpenFitted(&t);
  CourantSgd sgd = MakeFitted(&t, 2, "");
  const CourantEstimate limit = Limit(sgd, COURANT_SGD_ALMOST_SURE);
  BELOW(limit.high / limit.low, 1.06);
  for (int i = 0; i < 2; i++) {
    const double eta = shares[i] * limit.value;
    double rate[BLOCKS] = {0};
    CourantEstimate growth;
    CourantStatus status;
    Runs r;
    BeginRuns(&r, &t, 2, eta);
    StartRun(&r, 3);
    for (int e = 0; e < EPOCHS; e++) RunEpoch(&r);
    for (int e = 0; e < BLOCKS * EPOCHS; e++) {
      const double before = sqrt(Dot(t.f.p, r.x, r.x));
      rate[e / EPOCHS] += log(RunEpoch(&r) / before) / (double)(EPOCHS * r.run.per_epoch);
    }
    const CourantEstimate measured = CourantMeanEstimate(BLOCKS, rate);
    OK(CourantSgdGetGrowth(sgd, COURANT_SGD_ALMOST_SURE, 1, &eta, &growth, &status));
    NEAR(measured.value, log(growth.value),
         0.75 * (measured.high - measured.low + log(growth.high / growth.low))); /* three sigma each */
    if (i)
      BELOW(0, measured.low);
    else
      BELOW(measured.high, 0);
    EndRuns(&r);
  }
  OK(CourantSgdDestroy(&sgd));
  CloseFitted(&t);
}

/*
  The second moment of an ensemble from one start over two epochs, after two others: the trainer draws
  without replacement over an epoch, so it is the epoch's radius to the power two, not that of independent
  batches, that it has to follow.
*/
static void Ensemble(void **state)
{
  enum { RUNS = 6000, GROUPS = 40 };
  double early[GROUPS] = {0}, late[GROUPS] = {0}, sums[2] = {0}, spread[GROUPS];
  Fitted t;
  Runs r;

  (void)state;
  OpenFitted(&t);
  CourantSgd sgd = MakeFitted(&t, 2, "");
  const double eta = Limit(sgd, COURANT_SGD_EPOCH).value;
  BeginRuns(&r, &t, 2, eta);
  for (int run = 0; run < RUNS; run++) {
    StartRun(&r, (uint64_t)(100 + run));
    for (int e = 0; e < 4; e++) {
      const double norm = RunEpoch(&r);
      if (e == 1) early[run % GROUPS] += norm * norm;
      if (e == 3) late[run % GROUPS] += norm * norm;
    }
  }
  for (int g = 0; g < GROUPS; g++) sums[0] += early[g], sums[1] += late[g];
  for (int g = 0; g < GROUPS; g++) spread[g] = GROUPS * (late[g] - early[g]) / sums[0];
  const CourantEstimate change = CourantMeanEstimate(GROUPS, spread);
  NEAR(change.value, 0, 0.75 * (change.high - change.low));
  /* independent batches would have this change, well outside of the interval */
  BELOW(3 * change.high, pow(Growth(sgd, COURANT_SGD_MEAN_SQUARE, eta), 12) - 1);
  EndRuns(&r);
  OK(CourantSgdDestroy(&sgd));
  CloseFitted(&t);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ScalarPair),    cmocka_unit_test(NoLimit),    cmocka_unit_test(AtOnce),
    cmocka_unit_test(Memory),        cmocka_unit_test(Dense),      cmocka_unit_test(MonteCarlo),
    cmocka_unit_test(EpochInterval), cmocka_unit_test(AlmostSure), cmocka_unit_test(Projected),
    cmocka_unit_test(ProjectedPart), cmocka_unit_test(OneRun),     cmocka_unit_test(Ensemble),
};

TEST_MAIN(tests)
