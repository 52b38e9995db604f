/* Layer by layer: densities and curvatures against their definitions, bounds above what they bound. */
#include "problem.h"
#include "net/inner.h"
#include "net/layers/conv.h"
#include "stability/layer-symbols.h"
#include "train/run.h"
#include <complex.h>
#include <stdlib.h>

/* Stride, padding wider than the kernel, circular padding, no bias, a residual with a shortcut from the data,
   kinks, dense layers, three losses. */
static const char *const decks[] = {
    "data: {source: noise, height: 7, width: 6, samples: 5, exponent: 1, mean: 0.4, seed: 5}\n"
    "network:\n- conv: {channels: 3, kernel: [3, 2]}\n- swish: {}\n"
    "- conv: {channels: 2, kernel: 2, padding: circular, bias: false}\n- tanh: {}\n"
    "- conv: {channels: 2, kernel: 3, stride: [2, 1], padding: 1}\n- swish: {beta: 2}\n- global_mean: {}\n"
    "- dense: {features: 1}\nloss: logistic\n",
    "data: {source: noise, size: 6, samples: 20, classes: 3, exponent: 0.5, mean: 0.2, seed: 6}\n"
    "network:\n"
    "- residual: {layers: [{conv: {channels: 2, kernel: 3, padding: same}}, {swish: {}},"
    " {conv: {channels: 2, kernel: 3, padding: same, bias: false}}],"
    " shortcut: [{conv: {channels: 2, kernel: 1}}]}\n"
    "- softplus: {}\n- flatten: {}\n- dense: {features: 4}\n- gelu: {}\n"
    "- dense: {features: 3, bias: false}\nloss: softmax\n",
    "data: {source: noise, size: 6, samples: 18, classes: 2, exponent: 0, mean: -0.3, seed: 7}\n"
    "network:\n- conv: {channels: 2, kernel: 3, padding: 3}\n- relu: {}\n- max_pool: {size: 2}\n"
    "- residual: {layers: [{conv: {channels: 2, kernel: 3, padding: same}}, {tanh: {}}]}\n"
    "- flatten: {}\n- dense: {features: 2}\nloss: squared\n",
};
enum { DECKS = sizeof decks / sizeof *decks };

static void OpenSeeded(Fixture *f, const char *deck, int seed)
{
  char text[2048];
  snprintf(text, sizeof text, "%sweights: {init: normal, std: 0.5, seed: %d}\n", deck, seed);
  Open(f, text);
}

static double *Theta(Fixture *f)
{
  const PetscScalar *array;
  double *theta = malloc(sizeof(double) * (size_t)f->p);
  OK(VecGetArrayRead(f->theta, &array));
  memcpy(theta, array, sizeof(double) * (size_t)f->p);
  OK(VecRestoreArrayRead(f->theta, &array));
  return theta;
}

/* What layer l reads of a sample [h,w,c], by the evaluator. */
static double *Input(Fixture *f, const double *theta, PetscInt l, PetscInt sample)
{
  const CourantLayer *layer = &f->problem->net->layers[l];
  double *x = malloc(sizeof(double) * CourantShapeSize(layer->in));

  OK(CourantProblemSetUpProducts(f->problem));
  if (layer->source == 0)
    assert_null(
        CourantBatchRead(&(CourantBatch){.data = f->problem->data, .n = f->problem->data->n}, sample, 1, x));
  else
    OK(CourantEvaluatorSample(f->problem->first, theta, sample, layer->source - 1, x, NULL, NULL));
  return x;
}

/* The input pixel that tap k of output z reads along an axis; -1: padding. */
static int Pixel(const CourantLayer *layer, int axis, int z, int k)
{
  const CourantConvOptions *o = (const CourantConvOptions *)layer->options;
  const int n = (int)(axis ? layer->in.w : layer->in.h);

  if (strcmp(CourantLayerType(layer->type)->name, "conv")) return 0;
  const int centred = ((int)o->kernel[axis] - 1) / 2;
  const int pad = o->padding >= 0 ? o->padding : o->padding == COURANT_PADDING_VALID ? 0 : centred;
  const int at = z * (int)o->stride[axis] - pad + k;
  if (o->padding == COURANT_PADDING_CIRCULAR) return (at + n) % n;
  return at >= 0 && at < n ? at : -1;
}

/* The patches P of a sample, [outputs, columns]: weights in theta's order, then the bias. */
static double *Patches(const CourantLayer *layer, const double *x, PetscInt *columns)
{
  const CourantParameter *w = &layer->parameters[0];
  const int kh = w->ndims == 4 ? (int)w->dims[2] : 1, kw = w->ndims == 4 ? (int)w->dims[3] : 1;
  const int c = (int)layer->in.c, outputs = (int)(layer->out.h * layer->out.w);

  *columns = c * kh * kw + (layer->nparameters > 1);
  double *P = calloc((size_t)outputs * (size_t)*columns, sizeof(double));
  for (int z = 0; z < outputs; z++) {
    double *row = P + (size_t)z * (size_t)*columns;
    for (int i = 0; i < c; i++)
      for (int k = 0; k < kh * kw; k++) {
        const int y = Pixel(layer, 0, z / (int)layer->out.w, k / kw),
                  column = Pixel(layer, 1, z % (int)layer->out.w, k % kw);
        if (y >= 0 && column >= 0) row[i * kh * kw + k] = x[(y * (int)layer->in.w + column) * c + i];
      }
    if (layer->nparameters > 1) row[c * kh * kw] = 1;
  }
  return P;
}

/* The place of column k of the patches for output channel o among the layer's parameters. */
static PetscInt Place(const CourantLayer *layer, PetscInt columns, PetscInt o, PetscInt k)
{
  const PetscInt weights = columns - (layer->nparameters > 1);
  return k < weights ? o * weights + k : layer->parameters[0].size + o;
}

/* mean_i X_i^T M_i X_i, from patches and columns of M_i [size,size]. */
static double *BlockByDefinition(Fixture *f, const double *theta, PetscInt l)
{
  const CourantLayer *layer = &f->problem->net->layers[l];
  const PetscInt n = layer->size, size = (PetscInt)CourantShapeSize(layer->out), c = layer->out.c;
  const CourantInnerSettings settings = {.samples = 3, .threads = 2, .products = PETSC_TRUE};
  double *H = calloc((size_t)(n * n), sizeof(double)), *e = malloc(sizeof(double) * (size_t)(3 * size)),
         *M = malloc(sizeof(double) * (size_t)(3 * size * size));
  CourantInner inner;

  OK(CourantInnerCreate(f->problem->net, f->problem->data, f->problem->backend, &settings, &inner));
  CourantInnerSetWeights(inner, theta);
  const size_t other = CourantShapeSize(CourantNetShape(f->problem->net, 1));
  double *x = calloc(3 * other, sizeof(double)), *y = malloc(3 * other * sizeof(double));
  for (size_t k = 0; k < 3 * other; k++) x[k] = 1;
  assert_null(CourantInnerLinearise(inner, 0, 3, 1)); /* another value before, which must leave no trace */
  CourantInnerProduct(inner, x, y);
  free(x);
  free(y);
  for (PetscInt first = 0; first < f->problem->data->n; first += 3) {
    const PetscInt samples = PetscMin(3, f->problem->data->n - first);
    assert_null(CourantInnerLinearise(inner, first, samples, (int)l + 1));
    for (PetscInt k = 0; k < size; k++) {
      for (PetscInt j = 0; j < 3 * size; j++) e[j] = j % size == k;
      CourantInnerProduct(inner, e, M + k * 3 * size);
    }
    for (PetscInt i = 0; i < samples; i++) {
      PetscInt columns;
      double *x = Input(f, theta, l, first + i), *P = Patches(layer, x, &columns);
      for (PetscInt a = 0; a < size; a++)
        for (PetscInt b = 0; b < size; b++) {
          const double m = M[b * 3 * size + i * size + a] / (double)f->problem->data->n;
          for (PetscInt k = 0; k < columns; k++)
            for (PetscInt j = 0; j < columns; j++)
              H[Place(layer, columns, a % c, k) * n + Place(layer, columns, b % c, j)] +=
                  m * P[a / c * columns + k] * P[b / c * columns + j];
        }
      free(x);
      free(P);
    }
  }
  OK(CourantInnerDestroy(&inner));
  free(e);
  free(M);
  return H;
}

/*
  Jets from a layer on, put together with the patches, give the block that
  jets through the whole net give: M_i, inner values and patches are right.
*/
static void Curvatures(void **state)
{
  (void)state;
  for (int d = 0; d < DECKS; d++) {
    Fixture f;
    OpenSeeded(&f, decks[d], 3);
    double *theta = Theta(&f);
    OK(CourantProblemSetState(f.problem, f.theta, NULL, NULL));
    for (PetscInt l = 0; l < f.problem->net->nlayers; l++) {
      const CourantLayer *layer = &f.problem->net->layers[l];
      const PetscScalar *column;
      Vec x, y;
      Mat block;
      if (layer->size == 0) continue;
      double *H = BlockByDefinition(&f, theta, l), largest = 0;
      for (PetscInt i = 0; i < layer->size * layer->size; i++) largest = fmax(largest, fabs(H[i]));
      OK(CourantProblemCreateLayerBlock(f.problem, layer->name, &block));
      OK(MatCreateVecs(block, &x, &y));
      for (PetscInt j = 0; j < layer->size; j++) {
        OK(VecZeroEntries(x));
        OK(VecSetValue(x, j, 1, INSERT_VALUES));
        OK(MatMult(block, x, y));
        OK(VecGetArrayRead(y, &column));
        for (PetscInt i = 0; i < layer->size; i++) NEAR(column[i], H[j * layer->size + i], 1e-13 * largest);
        OK(VecRestoreArrayRead(y, &column));
      }
      OK(VecDestroy(&x));
      OK(VecDestroy(&y));
      OK(MatDestroy(&block));
      free(H);
    }
    free(theta);
    Close(&f);
  }
}

/* One layer, logistic loss: M = (s - y) r''(u) / Z on the diagonal, and s (1 - s) g g^T, g = r'(u) / Z. */
static void ClosedForm(void **state)
{
  const CourantInnerSettings settings = {.samples = 1, .threads = 1, .products = PETSC_TRUE};
  double u[81], v[81], Mv[81], first[81], second[81], slope;
  CourantInner inner;
  Fixture f;

  (void)state;
  Open(&f, "data: {source: noise, size: 12, exponent: 1, mean: 0.5, seed: 4}\n"
           "network:\n- conv: {channels: 1, kernel: 4, bias: false}\n- swish: {}\n- global_mean: {}\n"
           "loss: logistic\nweights: {init: normal, std: 1, seed: 7}\n");
  double *theta = Theta(&f);
  OK(CourantProblemSetUpProducts(f.problem));
  OK(CourantEvaluatorSample(f.problem->first, theta, 0, 0, u, &slope, NULL));
  OK(CourantInnerCreate(f.problem->net, f.problem->data, f.problem->backend, &settings, &inner));
  CourantInnerSetWeights(inner, theta);
  assert_null(CourantInnerLinearise(inner, 0, 1, 1));
  CourantRandomNormal((CourantRandom){.seed = 2, .purpose = COURANT_RANDOM_TEST}, 81, v);
  CourantInnerProduct(inner, v, Mv);
  const double s = slope + f.problem->data->labels[0];
  double along = 0;
  for (int z = 0; z < 81; z++) {
    const double q = 1 / (1 + exp(-u[z]));
    first[z] = q + u[z] * q * (1 - q);
    second[z] = q * (1 - q) * (2 + u[z] * (1 - 2 * q));
    along += first[z] / 81 * v[z];
  }
  for (int z = 0; z < 81; z++)
    NEAR(Mv[z], slope * second[z] / 81 * v[z] + s * (1 - s) * first[z] / 81 * along, 1e-15);
  OK(CourantInnerDestroy(&inner));
  free(theta);
  Close(&f);
}

static CourantProgress Silent(void)
{
  CourantProgress progress;
  CourantProgressBegin(&progress, "", 0, 1, PETSC_TRUE);
  return progress;
}

/* S as the transform of correlations, sum by sum; X is what one layer reads, on the grid of the analysis. */
static void Correlate(const CourantCrossSpectrum *s, PetscInt samples, double *const *X, int a, int b, int ky,
                      int kx, double complex *sum)
{
  const int points = s->h * s->w;

  *sum = 0;
  for (int dy = 0; dy < s->h; dy++)
    for (int dx = 0; dx < s->w; dx++) {
      double r = 0;
      for (PetscInt i = 0; i < samples; i++)
        for (int y = 0; y < s->h; y++)
          for (int x = 0; x < s->w; x++)
            r +=
                X[i][a * points + y * s->w + x] * X[i][b * points + (y + dy) % s->h * s->w + (x + dx) % s->w];
      *sum += r / (double)samples * cexp(-2 * M_PI * I * ((double)ky * dy / s->h + (double)kx * dx / s->w));
    }
}

static void Densities(void **state)
{
  (void)state;
  for (int d = 0; d < DECKS; d++) {
    CourantProgress progress = Silent();
    Fixture f;
    OpenSeeded(&f, decks[d], 4);
    double *theta = Theta(&f);
    const PetscInt samples = f.problem->data->n;
    for (PetscInt l = 0; l < f.problem->net->nlayers; l++) {
      const CourantLayer *layer = &f.problem->net->layers[l];
      CourantCrossSpectrum s;
      double *X[32];
      if (layer->size == 0) continue;
      OK(CourantCrossSpectrumCreate(f.problem, theta, l, &progress, &s));
      const int points = s.h * s.w, c = (int)layer->in.c;
      for (PetscInt i = 0; i < samples; i++) {
        double *x = Input(&f, theta, l, i);
        X[i] = calloc((size_t)(s.channels * points), sizeof(double));
        for (int y = 0; y < (int)layer->in.h; y++)
          for (int p = 0; p < (int)layer->in.w; p++)
            for (int a = 0; a < c; a++)
              X[i][a * points + y * s.w + p] = x[(y * (int)layer->in.w + p) * c + a];
        for (int z = 0; s.channels > c && z < (int)(layer->out.h * layer->out.w); z++) {
          const CourantConvOptions *o = (const CourantConvOptions *)layer->options;
          const int conv = layer->parameters[0].ndims == 4, zy = z / (int)layer->out.w,
                    zx = z % (int)layer->out.w;
          const int sy = conv ? (int)o->stride[0] : 1, sx = conv ? (int)o->stride[1] : 1;
          const int pad[2] = {!conv || o->padding == COURANT_PADDING_VALID ? 0
                              : o->padding >= 0                            ? o->padding
                                                                           : ((int)o->kernel[0] - 1) / 2,
                              !conv || o->padding == COURANT_PADDING_VALID ? 0
                              : o->padding >= 0                            ? o->padding
                                                                           : ((int)o->kernel[1] - 1) / 2};
          X[i][c * points + (zy * sy - pad[0] + s.h) % s.h * s.w + (zx * sx - pad[1] + s.w) % s.w] = 1;
        }
        free(x);
      }
      const int places[][2] = {{0, 0}, {s.h / 2, 0}, {s.h - 1, s.w / 2}, {s.h / 3, s.w / 3}};
      for (int p = 0; p < 4; p++)
        for (int a = 0; a < PetscMin(3, s.channels); a++)
          for (int k = 0; k < 2; k++) {
            const int b = k ? s.channels - 1 : a, size = s.channels * s.channels;
            const double *at = s.density + 2 * size * (places[p][0] * (s.w / 2 + 1) + places[p][1]);
            double complex expected;
            Correlate(&s, samples, X, a, b, places[p][0], places[p][1], &expected);
            const double scale = 1e-12 * (at[0] + fabs(creal(expected)) + 1);
            NEAR(at[a + s.channels * b], creal(expected), scale);
            NEAR(at[size + a + s.channels * b], cimag(expected), scale);
          }
      for (PetscInt i = 0; i < samples; i++) free(X[i]);
      OK(CourantCrossSpectrumDestroy(&s));
    }
    free(theta);
    Close(&f);
  }
}

/* v^* S v at the maximum is rho, by the direction; and no patch operator is above it. */
static void Maxima(void **state)
{
  (void)state;
  for (int d = 0; d < DECKS; d++) {
    CourantProgress progress = Silent();
    Fixture f;
    OpenSeeded(&f, decks[d], 5);
    double *theta = Theta(&f);
    for (PetscInt l = 0; l < f.problem->net->nlayers; l++) {
      const CourantLayer *layer = &f.problem->net->layers[l];
      CourantCrossSpectrum s;
      CourantSpectrum spectrum;
      CourantExtreme top;
      PetscInt columns = 0;
      Mat A;
      if (layer->size == 0) continue;
      OK(CourantCrossSpectrumCreate(f.problem, theta, l, &progress, &s));
      OK(CourantCrossSpectrumMaximise(&s, 2));
      const int ky = (int)lrint(s.frequency[0] * s.h / (2 * M_PI)),
                kx = (int)lrint(s.frequency[1] * s.w / (2 * M_PI)), c = s.channels, m = s.active;
      const double *at = s.density + 2 * c * c * ((ky + s.h) % s.h * (s.w / 2 + 1) + kx);
      double complex quotient = 0;
      double norm = 0;
      for (int a = 0; a < m; a++) {
        const double complex za = s.direction[2 * a] + I * s.direction[2 * a + 1];
        norm += creal(za * conj(za));
        for (int b = 0; b < m; b++)
          quotient += conj(za) * (at[a + c * b] + I * at[c * c + a + c * b]) *
                      (s.direction[2 * b] + I * s.direction[2 * b + 1]);
      }
      NEAR(norm, 1, 1e-13);
      NEAR(creal(quotient), s.largest, 1e-12 * s.largest);

      for (PetscInt i = 0; i < f.problem->data->n; i++) { /* mean_i P_i^T P_i */
        double *x = Input(&f, theta, l, i), *P = Patches(layer, x, &columns);
        if (i == 0) OK(MatCreateSeqDense(PETSC_COMM_SELF, columns, columns, NULL, &A));
        for (PetscInt z = 0; z < layer->out.h * layer->out.w; z++)
          for (PetscInt k = 0; k < columns; k++)
            for (PetscInt j = 0; j < columns; j++)
              OK(MatSetValue(A, k, j, P[z * columns + k] * P[z * columns + j] / (double)f.problem->data->n,
                             ADD_VALUES));
        free(x);
        free(P);
      }
      OK(MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY));
      OK(MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY));
      OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
      OK(CourantSpectrumSetOperator(spectrum, A));
      OK(CourantSpectrumSolveLargest(spectrum));
      OK(CourantSpectrumGetExtremes(spectrum, &top, NULL));
      if (!(top.value - top.residual <= s.patches * (1 + 1e-12)))
        fail_msg("deck %d layer %s: patches reach %.12g, bound %.12g", d, layer->name, top.value, s.patches);
      BELOW(s.patches, (s.largest + s.outputs) * (1 + 1e-12)); /* as two blocks would have it */
      if (layer->parameters[0].ndims == 2) NEAR(top.value, s.patches, 1e-9 * s.patches); /* dense: equal */
      OK(CourantSpectrumDestroy(&spectrum));
      OK(MatDestroy(&A));
      OK(CourantCrossSpectrumDestroy(&s));
    }
    free(theta);
    Close(&f);
  }
}

/* Above the exact value in every layer, on three seeds; a density that is too small is noticed. */
static void Bounds(void **state)
{
  int broken = 0;

  (void)state;
  for (int d = 0; d < DECKS; d++)
    for (int seed = 1; seed <= 3; seed++) {
      CourantLayerSymbols symbols;
      Fixture f;
      OpenSeeded(&f, decks[d], seed);
      OK(CourantLayerSymbolsCreate(f.problem, f.theta, PETSC_TRUE, &symbols));
      for (PetscInt i = 0; i < symbols.n; i++) {
        CourantLayerSymbol *symbol = &symbols.layers[i];
        const double bound = CourantLayerSymbolBound(symbol);
        if (!(bound * (1 + 1e-12) >= symbol->exact.value)) /* dense, squared loss: they are equal */
          fail_msg("deck %d seed %d layer %d: bound %g, exact %g", d, seed, (int)i, bound,
                   symbol->exact.value);
        assert_int_equal(CourantLayerSymbolStatus(symbol), COURANT_BOUND_HOLDS);
        BELOW(symbol->exact.value - symbol->exact.residual, symbols.whole.value * (1 + 1e-9));
        if (symbol->exact.value <= 0 || symbol->spectrum.channels > symbol->spectrum.active) continue;
        const size_t c = (size_t)symbol->spectrum.channels; /* the density of a wrong input */
        for (size_t k = 0; k < 2 * symbol->spectrum.frequencies * c * c; k++)
          symbol->spectrum.density[k] *= 0.99 * symbol->exact.value / bound;
        OK(CourantCrossSpectrumMaximise(&symbol->spectrum, 1));
        assert_int_equal(CourantLayerSymbolStatus(symbol), COURANT_BOUND_BROKEN);
        broken++;
        symbol->exact.status = COURANT_NOT_CONVERGED;
        assert_int_equal(CourantLayerSymbolStatus(symbol), COURANT_BOUND_OPEN);
      }
      OK(CourantLayerSymbolsDestroy(&symbols));
      Close(&f);
    }
  assert_true(broken > 12);
}

/*
  One layer, one image, circular, frozen loss: curvature and density are those of the one-layer analysis,
  whose bound has its rank-one part apart (here it is frozen away). With zero padding that analysis looks at
  all frequencies, this one at those of the circulant matrix: between them the symbol may only be higher.
*/
static void OneLayer(void **state)
{
  static const char *const paddings[] = {"circular", "valid"};

  (void)state;
  for (int i = 0; i < 2; i++) {
    CourantLayerSymbols symbols;
    PetscReal bound;
    char text[512];
    Fixture f;
    snprintf(text, sizeof text,
             "data: {source: noise, height: 9, width: 12, exponent: 1, mean: 0.3, seed: 8}\n"
             "network:\n- conv: {channels: 1, kernel: [3, 4], padding: %s, bias: false}\n- swish: {}\n"
             "- global_mean: {}\nloss: logistic\nweights: {init: normal, std: 0.5, seed: 2}\n",
             paddings[i]);
    Open(&f, text);
    OK(CourantProblemFreezeLoss(f.problem, f.theta));
    OK(CourantSymbolBound(f.problem, f.theta, &bound));
    OK(CourantLayerSymbolsCreate(f.problem, f.theta, PETSC_TRUE, &symbols));
    const CourantLayerSymbol *symbol = &symbols.layers[0];
    BELOW(0, bound);
    const double value = symbol->curvature.value * symbol->spectrum.largest;
    if (i == 0)
      NEAR(value, bound, 2e-3 * bound); /* the tolerance of the curvature, which adds its residual */
    BELOW(value, bound * (1 + 1e-12));
    BELOW(bound, 1.5 * value);
    BELOW(bound, i == 0 ? CourantLayerSymbolBound(symbol) * (1 + 1e-12) : INFINITY);
    OK(CourantLayerSymbolsDestroy(&symbols));
    Close(&f);
  }
}

/* The same bits on any number of threads; images so large that blocks are of a few samples. */
static void Threads(void **state)
{
  enum { SAMPLES = 40 };
  CourantCurvature curvature[3];
  double *products[3], rho[3];
  size_t size = 0;

  (void)state;
  for (int i = 0; i < 3; i++) {
    CourantProgress progress = Silent();
    CourantCrossSpectrum s;
    CourantInner inner;
    Fixture f;
    OpenSeeded(&f,
               "data: {source: noise, size: 24, samples: 40, classes: 5, exponent: 1, mean: 0.2, seed: 6}\n"
               "network:\n- conv: {channels: 4, kernel: 3}\n- swish: {}\n- conv: {channels: 3, kernel: 3}\n"
               "- tanh: {}\n- global_mean: {}\n- dense: {features: 5}\nloss: softmax\n",
               2);
    f.problem->threads = i + 1;
    double *theta = Theta(&f);
    const CourantInnerSettings settings = {.samples = SAMPLES, .threads = i + 1, .products = PETSC_TRUE};
    OK(CourantInnerCreate(f.problem->net, f.problem->data, f.problem->backend, &settings, &inner));
    CourantInnerSetWeights(inner, theta);
    assert_null(CourantInnerLinearise(inner, 0, SAMPLES, 1));
    size = SAMPLES * CourantShapeSize(CourantNetShape(f.problem->net, 1));
    double *x = malloc(sizeof(double) * size);
    CourantRandomNormal((CourantRandom){.seed = 1, .purpose = COURANT_RANDOM_TEST}, (int64_t)size, x);
    products[i] = malloc(sizeof(double) * size);
    CourantInnerProduct(inner, x, products[i]);
    OK(CourantInnerDestroy(&inner));
    OK(CourantCurvatureCompute(f.problem, theta, 0, &progress, &curvature[i]));
    OK(CourantCrossSpectrumCreate(f.problem, theta, 2, &progress, &s));
    OK(CourantCrossSpectrumMaximise(&s, i + 1));
    rho[i] = s.largest;
    OK(CourantCrossSpectrumDestroy(&s));
    free(x);
    free(theta);
    Close(&f);
  }
  for (int i = 1; i < 3; i++) {
    assert_memory_equal(products[0], products[i], sizeof(double) * size);
    assert_memory_equal(&curvature[0].value, &curvature[i].value, sizeof(PetscReal));
    assert_memory_equal(&rho[0], &rho[i], sizeof(double));
  }
  for (int i = 0; i < 3; i++) free(products[i]);
}

/* batch_norm couples samples: said, not computed. */
static void Coupled(void **state)
{
  CourantLayerSymbols symbols;
  Fixture f;

  (void)state;
  Open(&f, "data: {source: noise, size: 6, samples: 8, seed: 1}\n"
           "network:\n- conv: {channels: 2, kernel: 3}\n- batch_norm: {}\n- swish: {}\n- global_mean: {}\n"
           "- dense: {features: 1}\nloss: logistic\nweights: {init: he, seed: 5}\n");
  assert_false(CourantLayerSymbolsApply(f.problem->net));
  assert_true(CourantLayerSymbolsCreate(f.problem, f.theta, PETSC_TRUE, &symbols) == PETSC_ERR_SUP);
  CourantErrorClear();
  Close(&f);
}

/* ---- one layer trained, all others frozen ---- */

static const double alpha = 0.05;

/* Newton's method for the layer's parameters alone, from where descent has brought them. */
static void Equilibrium(Fixture *f, Mat block, const CourantLayer *layer)
{
  const PetscInt n = layer->size;
  Vec F, g, step;
  PetscReal norm;

  OK(VecDuplicate(f->theta, &F));
  OK(MatCreateVecs(block, &g, &step));
  for (int i = 0; i < 4000; i++) {
    const PetscScalar *from;
    PetscScalar *theta, *right;
    OK(CourantProblemComputeFlow(f->problem, alpha, f->theta, F));
    OK(VecGetArrayRead(F, &from));
    OK(VecGetArrayWrite(g, &right));
    memcpy(right, from + layer->offset, sizeof(double) * (size_t)n);
    OK(VecRestoreArrayWrite(g, &right));
    OK(VecRestoreArrayRead(F, &from));
    OK(VecNorm(g, NORM_2, &norm));
    if (norm < 1e-14) break;
    OK(VecCopy(g, step));
    OK(VecScale(step, 0.5));
    if (norm < 1e-3) {
      KSP ksp;
      OK(CourantProblemSetState(f->problem, f->theta, NULL, NULL));
      OK(KSPCreate(PETSC_COMM_SELF, &ksp));
      OK(KSPSetOperators(ksp, block, block));
      OK(KSPSetType(ksp, KSPMINRES));
      PC pc;
      OK(KSPGetPC(ksp, &pc));
      OK(PCSetType(pc, PCNONE));
      OK(KSPSetTolerances(ksp, 1e-8, 1e-300, PETSC_DEFAULT, 10 * n));
      OK(KSPSolve(ksp, g, step));
      OK(KSPDestroy(&ksp));
    }
    OK(VecGetArrayRead(step, &from));
    OK(VecGetArray(f->theta, &theta));
    for (PetscInt k = 0; k < n; k++) theta[layer->offset + k] += from[k];
    OK(VecRestoreArray(f->theta, &theta));
    OK(VecRestoreArrayRead(step, &from));
  }
  BELOW(norm, 1e-11);
  OK(VecDestroy(&F));
  OK(VecDestroy(&g));
  OK(VecDestroy(&step));
}

/* Distance from the start after some steps of the trainer, over that before: the layer moved by 1e-7. */
static double Growth(Fixture *f, const CourantLayer *layer, const CourantTrainSettings *settings, int steps)
{
  double *at = Theta(f), *moved = Theta(f), push[512], before = 0, after = 0;
  CourantRunState state;
  CourantRunRecord record;
  CourantRun run;

  CourantRandomNormal((CourantRandom){.seed = 3, .purpose = COURANT_RANDOM_TEST}, layer->size, push);
  for (PetscInt i = 0; i < layer->size; i++) {
    moved[layer->offset + i] += 1e-7 * push[i];
    before += 1e-14 * push[i] * push[i];
  }
  OK(CourantRunCreate(f->problem, settings, PETSC_TRUE, &run));
  OK(CourantRunStateCreate(&run, &state));
  OK(CourantRunStart(&run, &f->problem->weights, 1, 1, &state));
  CourantRunSet(&run, moved, state.theta);
  for (int i = 0; i < steps; i++) OK(CourantRunStep(&run, &state, &record));
  CourantRunGet(&run, state.theta, moved);
  for (PetscInt i = 0; i < f->p; i++) {
    if (i < layer->offset || i >= layer->offset + layer->size) NEAR(moved[i], at[i], 0); /* frozen */
    after += (moved[i] - at[i]) * (moved[i] - at[i]);
  }
  OK(CourantRunStateDestroy(&state));
  OK(CourantRunDestroy(&run));
  free(at);
  free(moved);
  return sqrt(after / before);
}

/*
  A layer by itself: at its own equilibrium, all others frozen, the trainer shrinks a disturbance at 0.98 of
  2 / m_max of its block and lets it grow at 1.02. 300 steps make 0.96^300 = 5e-6 and 1.04^300 = 1e5 of its
  part along the top eigenvector; at 0.98 of the bound's limit the layer is stable all the more.
*/
static void Frozen(void **state)
{
  static const char *const rates[] = {
      "{0.weight: 1, 0.bias: 1, 2.weight: 0, 2.bias: 0, 5.weight: 0, 5.bias: 0}",
      "{0.weight: 0, 0.bias: 0, 2.weight: 1, 2.bias: 1, 5.weight: 0, 5.bias: 0}"};
  const PetscInt trained[] = {0, 2};

  (void)state;
  for (int i = 0; i < 2; i++) {
    CourantTrainSettings settings = {0};
    CourantLayerSymbols symbols;
    CourantExtreme largest;
    CourantSpectrum spectrum;
    char text[1024];
    Fixture f;
    Mat block;
    snprintf(text, sizeof text,
             "data: {source: noise, size: 8, samples: 12, exponent: 1, mean: 0.5, seed: 5}\n"
             "network:\n- conv: {channels: 3, kernel: 3}\n- swish: {}\n- conv: {channels: 3, kernel: 2}\n"
             "- swish: {}\n- global_mean: {}\n- dense: {features: 1}\nloss: logistic\n"
             "weights: {init: he, seed: 5}\n"
             "train: {rule: gd, learning_rate: 1, weight_decay: %g, steps: 1, layer_rates: %s}\n",
             alpha, rates[i]);
    Open(&f, text);
    const CourantLayer *layer = &f.problem->net->layers[trained[i]];
    OK(CourantProblemCreateLayerBlock(f.problem, layer->name, &block));
    OK(CourantHessianSetWeightDecay(block, alpha));
    Equilibrium(&f, block, layer);
    OK(CourantProblemSetState(f.problem, f.theta, NULL, NULL));
    OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
    OK(CourantSpectrumSetOperator(spectrum, block));
    OK(CourantSpectrumSolve(spectrum));
    OK(CourantSpectrumGetExtremes(spectrum, &largest, NULL));
    OK(CourantTrainRead(f.problem->top.train, &settings));
    settings.learning_rate = 0.98 * 2 / largest.value;
    BELOW(Growth(&f, layer, &settings, 300), 1e-4);
    settings.learning_rate = 1.02 * 2 / largest.value;
    BELOW(100, Growth(&f, layer, &settings, 300));
    OK(CourantLayerSymbolsCreate(f.problem, f.theta, PETSC_TRUE, &symbols));
    const CourantLayerSymbol *symbol = &symbols.layers[i];
    NEAR(symbol->exact.value, largest.value - alpha, 1e-9 * largest.value);
    settings.learning_rate = 0.98 * 2 / (CourantLayerSymbolBound(symbol) + alpha);
    BELOW(Growth(&f, layer, &settings, 300), 1);
    OK(CourantLayerSymbolsDestroy(&symbols));
    OK(CourantTrainReset(&settings));
    OK(CourantSpectrumDestroy(&spectrum));
    OK(MatDestroy(&block));
    Close(&f);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Curvatures), cmocka_unit_test(ClosedForm), cmocka_unit_test(Densities),
    cmocka_unit_test(Maxima),     cmocka_unit_test(Bounds),     cmocka_unit_test(OneLayer),
    cmocka_unit_test(Threads),    cmocka_unit_test(Coupled),    cmocka_unit_test(Frozen),
};

TEST_MAIN(tests)
