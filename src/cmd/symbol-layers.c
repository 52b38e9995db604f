#include "cmd/symbol-layers.h"
#include "stability/layer-symbols.h"
#include <math.h>
#include <string.h>

typedef struct {
  CourantProblem problem;
  const CourantTrainSettings *train;
  CourantOutput *output;
  CourantLayerSymbols symbols;
} Report;

static const char *NameOf(const Report *r, PetscInt i)
{
  return r->problem->net->layers[r->symbols.layers[i].layer].name;
}

/*
  The learning rate at which an eigenvalue of H becomes unstable: sharpness limits are a / eta - b for every
  rule that has one; where it has none, Adam, gradient descent's.
*/
static double LimitOf(const Report *r, double eigenvalue)
{
  const CourantTrainSettings *t = r->train;
  const CourantRuleOps *rule = CourantRule(t->rule);
  double at[2], a = 2, b = t->weight_decay;

  for (int i = 0; i < 2; i++)
    at[i] = CourantRuleSharpnessLimit(rule, t->options, 1 + i, t->weight_decay, t->decoupled);
  if (isfinite(at[0]) && isfinite(at[1])) {
    a = 2 * (at[0] - at[1]);
    b = a - at[0];
  }
  return eigenvalue + b > 0 ? a / (eigenvalue + b) : INFINITY;
}

static PetscBool RuleHasLimit(const Report *r)
{
  const CourantTrainSettings *t = r->train;
  return isfinite(
             CourantRuleSharpnessLimit(CourantRule(t->rule), t->options, 1, t->weight_decay, t->decoupled))
             ? PETSC_TRUE
             : PETSC_FALSE;
}

/* How far the bound is above the exact value; NaN where that is not positive. */
static double SlackOf(const CourantLayerSymbol *s)
{
  return s->exact.value > 0 ? CourantLayerSymbolBound(s) / s->exact.value : NAN;
}

/* The layer whose bound is the highest. */
static PetscInt Bottleneck(const Report *r)
{
  PetscInt highest = 0;
  for (PetscInt i = 1; i < r->symbols.n; i++)
    if (CourantLayerSymbolBound(&r->symbols.layers[i]) > CourantLayerSymbolBound(&r->symbols.layers[highest]))
      highest = i;
  return highest;
}

/* ---- the result file ---- */

#define LAYER "/layers/layer"

static const CourantResultEntry entries[] = {
    {"/layers/bound",
     COURANT_RESULT_REAL,
     {LAYER},
     "upper bound of the largest eigenvalue of the layer's block of the Hessian of L",
     "1",
     .formula = "max(0, curvature + curvature_residual) * patches"},
    {"/layers/curvature",
     COURANT_RESULT_REAL,
     {LAYER},
     "largest eigenvalue, over the samples, of the Hessian of the loss in the layer's output",
     "1"},
    {"/layers/curvature_residual",
     COURANT_RESULT_REAL,
     {LAYER},
     "its residual, which is added to the bound",
     "1"},
    {"/layers/curvature_missed",
     COURANT_RESULT_REAL,
     {LAYER},
     "probability that a curvature larger by 10 % of the spread was missed",
     "1"},
    {"/layers/curvature_sample", COURANT_RESULT_INT, {LAYER}, "the sample whose curvature it is", "1"},
    {"/layers/spectral_density",
     COURANT_RESULT_REAL,
     {LAYER},
     "largest spectral radius, over the frequencies, of the cross-spectral density of the layer's input",
     "1"},
    {"/layers/patches",
     COURANT_RESULT_REAL,
     {LAYER},
     "upper bound of the largest eigenvalue of the mean P^T P, P the patches that the layer reads and the "
     "bias's ones",
     "1",
     .formula = "spectral_density without a bias or in a dense layer; else the largest eigenvalue of "
                "[spectral_density, c; c, outputs], c the length of the bias's column"},
    {"/layers/exact",
     COURANT_RESULT_REAL,
     {LAYER},
     "largest eigenvalue of the layer's block of the Hessian of L",
     "1"},
    {"/layers/exact_residual",
     COURANT_RESULT_REAL,
     {LAYER},
     "residual: an eigenvalue lies within this distance",
     "1"},
    {"/layers/slack", COURANT_RESULT_REAL, {LAYER}, "bound over exact value", "1"},
    {"/layers/limit_bound",
     COURANT_RESULT_REAL,
     {LAYER},
     "learning rate below which the bound makes the layer stable, all others frozen",
     "1"},
    {"/layers/limit_exact", COURANT_RESULT_REAL, {LAYER}, "the same limit by the exact value", "1"},
    {"/layers/cfl", COURANT_RESULT_REAL, {LAYER}, "CFL number: the learning rate over limit_bound", "1"},
    {"/layers/frequency_y",
     COURANT_RESULT_REAL,
     {LAYER},
     "vertical frequency of the largest spectral density",
     "radian/pixel"},
    {"/layers/frequency_x",
     COURANT_RESULT_REAL,
     {LAYER},
     "horizontal frequency of the largest spectral density",
     "radian/pixel"},
    {"/layers/status",
     COURANT_RESULT_ENUM,
     {LAYER},
     "does the bound hold",
     "1",
     "holds not_converged broken"},
};
enum { ENTRIES = PETSC_STATIC_ARRAY_LENGTH(entries) };

/* Column by column as in `entries`. */
static void FillRow(const Report *r, PetscInt i, double row[ENTRIES])
{
  const CourantLayerSymbol *s = &r->symbols.layers[i];
  const double bound = CourantLayerSymbolBound(s), limit = LimitOf(r, bound);
  const double values[ENTRIES] = {bound,
                                  s->curvature.value,
                                  s->curvature.residual,
                                  s->curvature.missed,
                                  (double)s->curvature.sample,
                                  s->spectrum.largest,
                                  s->spectrum.patches,
                                  s->exact.value,
                                  s->exact.residual,
                                  SlackOf(s),
                                  limit,
                                  LimitOf(r, s->exact.value),
                                  r->train->learning_rate / limit,
                                  s->spectrum.frequency[0],
                                  s->spectrum.frequency[1],
                                  CourantLayerSymbolStatus(s)};
  memcpy(row, values, sizeof values);
}

static PetscErrorCode WriteTable(const Report *r)
{
  const CourantResult file = r->output->file;
  const int n = (int)r->symbols.n;
  const char **names;
  double *rows, *reals;
  uint8_t *enums;
  int *ints;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc5(n, &names, n * ENTRIES, &rows, n, &reals, n, &enums, n, &ints));
  for (int i = 0; i < n; i++) {
    names[i] = NameOf(r, i);
    reals[i] = (double)r->symbols.layers[i].layer;
    FillRow(r, i, rows + i * ENTRIES);
  }
  PetscCall(CourantResultAddScale(file, LAYER, n, reals, "place of the layer in the network", "1"));
  PetscCall(CourantResultAddStrings(file, "/layers/name", LAYER, n, names, "name of the layer"));
  for (int e = 0; e < ENTRIES; e++) {
    for (int i = 0; i < n; i++) {
      reals[i] = rows[i * ENTRIES + e];
      if (entries[e].type == COURANT_RESULT_INT) ints[i] = (int)reals[i];
      if (entries[e].type == COURANT_RESULT_ENUM) enums[i] = (uint8_t)reals[i];
    }
    const void *const values[] = {reals, ints, enums};
    PetscCall(CourantResultAddValues(file, &entries[e], values[entries[e].type]));
  }
  PetscCall(CourantResultSetReal(file, "/layers", "lambda_max", r->symbols.whole.value));
  PetscCall(CourantResultSetReal(file, "/layers", "lambda_max_residual", r->symbols.whole.residual));
  PetscCall(CourantResultSetReal(file, "/layers", "weight_decay", r->train->weight_decay));
  PetscCall(CourantResultSetReal(file, "/layers", "learning_rate", r->train->learning_rate));
  PetscCall(CourantResultSetString(file, "/layers", "bottleneck", names[Bottleneck(r)]));
  PetscCall(CourantResultSetString(file, "/layers", "rule",
                                   RuleHasLimit(r) ? CourantRule(r->train->rule)->name : "gd"));
  PetscCall(PetscFree5(names, rows, reals, enums, ints));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Frequencies of an axis in ascending order, from above -pi to pi. */
static int Shifted(int i, int n)
{
  return i - (n - 1) / 2;
}

/* rho on all frequencies, out of those of the half plane: rho(-w) = rho(w). */
static double DensityAt(const CourantCrossSpectrum *s, int ky, int kx)
{
  const int sign = kx < 0 ? -1 : 1;
  return s->rho[(sign * ky + s->h) % s->h * (s->w / 2 + 1) + sign * kx];
}

static PetscErrorCode WriteSpectrum(const Report *r, PetscInt layer)
{
  const CourantCrossSpectrum *s = &r->symbols.layers[layer].spectrum;
  const CourantResult file = r->output->file;
  const int n[2] = {s->h, s->w};
  const size_t direction[2] = {(size_t)s->active, 2};
  char scales[2][160], path[160];
  double *values;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)s->h * (size_t)s->w, &values));
  for (int axis = 0; axis < 2; axis++) {
    for (int i = 0; i < n[axis]; i++) values[i] = 2 * M_PI * Shifted(i, n[axis]) / n[axis];
    snprintf(scales[axis], sizeof scales[axis], "/layers/%s/frequency_%c", NameOf(r, layer), "yx"[axis]);
    PetscCall(CourantResultAddScale(file, scales[axis], n[axis], values,
                                    axis ? "horizontal frequency" : "vertical frequency", "radian/pixel"));
  }
  for (int y = 0; y < s->h; y++)
    for (int x = 0; x < s->w; x++) values[y * s->w + x] = DensityAt(s, Shifted(y, s->h), Shifted(x, s->w));
  snprintf(path, sizeof path, "/layers/%s/spectral_density", NameOf(r, layer));
  const CourantResultEntry entry = {path,
                                    COURANT_RESULT_REAL,
                                    {scales[0], scales[1]},
                                    "spectral radius of the cross-spectral density of the layer's input",
                                    "1"};
  PetscCall(CourantResultAddValues(file, &entry, values));
  snprintf(path, sizeof path, "/layers/%s/channel_direction", NameOf(r, layer));
  PetscCall(CourantResultAddArray(file, path, 2, direction, s->direction,
                                  s->active > s->inputs
                                      ? "channels' amplitudes where it is largest, real and imaginary; the "
                                        "last is the bias"
                                      : "channels' amplitudes where it is largest, real and imaginary"));
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Write(const Report *r)
{
  PetscFunctionBeginUser;
  PetscCall(WriteTable(r));
  for (PetscInt i = 0; i < r->symbols.n; i++) PetscCall(WriteSpectrum(r, i));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the terminal ---- */

static void PrintTable(const Report *r)
{
  static const char *const remarks[] = {"", "  not converged", "  the bound is broken"};
  int width = 5;

  for (PetscInt i = 0; i < r->symbols.n; i++) width = PetscMax(width, (int)strlen(NameOf(r, i)));
  printf("layer by layer, each with all others frozen; learning rate %g, weight decay %g\n",
         r->train->learning_rate, r->train->weight_decay);
  printf("  %-*s %10s %9s %9s %10s %8s %8s %9s %9s %8s  %s\n", width, "layer", "curvature", "patches",
         "bound", "exact", "residual", "slack", "limit", "of exact", "CFL", "frequency");
  for (PetscInt i = 0; i < r->symbols.n; i++) {
    const CourantLayerSymbol *s = &r->symbols.layers[i];
    const double bound = CourantLayerSymbolBound(s), limit = LimitOf(r, bound);
    printf("  %-*s %10.4g %9.4g %9.4g %10.5g %8.1e %8.3g %9.4g %9.4g %8.3g  (%.3f, %.3f)%s\n", width,
           NameOf(r, i), s->curvature.value + s->curvature.residual, s->spectrum.patches, bound,
           s->exact.value, s->exact.residual, SlackOf(s), limit, LimitOf(r, s->exact.value),
           r->train->learning_rate / limit, s->spectrum.frequency[0], s->spectrum.frequency[1],
           remarks[CourantLayerSymbolStatus(s)]);
  }
}

/* The channels that have most of a direction, until nine tenths of it are told. */
static void PrintDirection(const CourantCrossSpectrum *s)
{
  double told = 0, last = INFINITY;

  for (int n = 0; n < 4 && told < 0.9; n++) {
    int next = -1;
    double best = -1;
    for (int a = 0; a < s->active; a++) {
      const double share =
          s->direction[2 * a] * s->direction[2 * a] + s->direction[2 * a + 1] * s->direction[2 * a + 1];
      if (share >= last || share <= best) continue;
      best = share;
      next = a;
    }
    if (next < 0) break;
    told += last = best;
    if (next < s->inputs)
      printf("%s channel %d (%.0f %%)", n ? "," : "", next, 100 * best);
    else
      printf("%s the bias (%.0f %%)", n ? "," : "", 100 * best);
  }
  printf("\n");
}

static void Print(const Report *r)
{
  const PetscInt worst = Bottleneck(r);
  const CourantCrossSpectrum *s = &r->symbols.layers[worst].spectrum;
  const CourantExtreme *whole = &r->symbols.whole;
  double missed = 0;

  PrintTable(r);
  for (PetscInt i = 0; i < r->symbols.n; i++)
    missed = PetscMax(missed, r->symbols.layers[i].curvature.missed);
  printf("a curvature larger by 10 %% of its spread was missed with a probability of at most %.1e\n", missed);
  if (!RuleHasLimit(r))
    printf("%s has no limit in terms of the Hessian: limits are gradient descent's\n",
           CourantRule(r->train->rule)->name);
  printf("bottleneck: layer %s at the frequency (%.4f, %.4f) radian/pixel, along", NameOf(r, worst),
         s->frequency[0], s->frequency[1]);
  PrintDirection(s);
  printf("all layers together: largest eigenvalue %.9g +- %.1e%s, learning rate below %.6g\n", whole->value,
         whole->residual, whole->status == COURANT_CONVERGED ? "" : ", not converged",
         LimitOf(r, whole->value));
}

/*
  CourantReportLayers - Analyses a network layer by layer at theta, prints the table and writes /layers.

  Layers whose bound is broken by the exact value, or whose solvers did not converge, are flagged and counted
  in output->unconverged. Networks with batch_norm are told not to be analysed. Collective.
*/
PetscErrorCode CourantReportLayers(CourantProblem problem, Vec theta, const CourantTrainSettings *train,
                                   CourantOutput *output)
{
  Report r = {.problem = problem, .train = train, .output = output};
  const PetscBool speaks = !output->quiet && output->rank == 0 ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBeginUser;
  if (!CourantLayerSymbolsApply(problem->net)) {
    if (speaks) printf("not layer by layer: batch_norm couples the samples of this network\n");
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CourantLayerSymbolsCreate(problem, theta, output->quiet, &r.symbols));
  for (PetscInt i = 0; i < r.symbols.n; i++)
    output->unconverged += CourantLayerSymbolStatus(&r.symbols.layers[i]) != COURANT_BOUND_HOLDS;
  output->unconverged += r.symbols.whole.status != COURANT_CONVERGED;
  CourantCallOnRankZero(problem->comm, output->rank, Write(&r));
  if (speaks) Print(&r);
  PetscCall(CourantLayerSymbolsDestroy(&r.symbols));
  PetscFunctionReturn(PETSC_SUCCESS);
}
