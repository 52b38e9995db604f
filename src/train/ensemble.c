#include "train/ensemble.h"
#include "core/interrupt.h"
#include "core/random.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LAST_EPOCHS = 10 }; /* over which the accuracy is averaged (Sun et al. 2022, section 3) */

/*
  CourantEnsembleCreate - Room for seeds x perturbs runs of the deck's `train` section, each on one rank.

  Distances and accuracies are taken after each epoch, however a run's length is given; steps that are left
  over are a last, shorter one.
*/
PetscErrorCode CourantEnsembleCreate(CourantProblem problem, const CourantTrainSettings *settings,
                                     CourantEnsemble *e)
{
  PetscFunctionBeginUser;
  *e = (CourantEnsemble){.seeds = settings->seeds.n, .perturbs = settings->perturbs.n};
  PetscCall(CourantRunCreate(problem, settings, PETSC_TRUE, &e->run));
  e->epochs = (e->run.steps - 1) / e->run.per_epoch + 1;
  e->last = PetscMin(e->epochs, LAST_EPOCHS);
  for (PetscInt l = 0; l < problem->net->nlayers; l++) e->layers += problem->net->layers[l].nparameters > 0;
  const PetscInt cells = e->seeds * e->perturbs;
  PetscCall(CourantRunCheckRecords(problem, settings, "ensemble",
                                   (double)cells * (double)(2 * e->epochs + e->layers + 4)));
  PetscCall(PetscMalloc6(cells, &e->accuracy, cells * e->epochs, &e->distance, cells * e->epochs,
                         &e->relative, cells * e->layers, &e->layer_distance, cells, &e->diverged_at, cells,
                         &e->subnormal));
  for (PetscInt i = 0; i < cells; i++) e->accuracy[i] = e->diverged_at[i] = e->subnormal[i] = NAN;
  for (PetscInt i = 0; i < cells * e->epochs; i++) e->distance[i] = e->relative[i] = NAN;
  for (PetscInt i = 0; i < cells * e->layers; i++) e->layer_distance[i] = NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantEnsembleDestroy(CourantEnsemble *e)
{
  PetscFunctionBeginUser;
  PetscCall(CourantRunDestroy(&e->run));
  PetscCall(
      PetscFree6(e->accuracy, e->distance, e->relative, e->layer_distance, e->diverged_at, e->subnormal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantEnsembleEpochsDone - How often every sample has been seen after an epoch, from 0. */
double CourantEnsembleEpochsDone(const CourantEnsemble *e, PetscInt epoch)
{
  const PetscInt rest = e->run.steps % e->run.per_epoch;
  const double part = (double)(rest * e->run.batch) / (double)e->run.problem->data->n;

  return (double)epoch + (rest && epoch == e->epochs - 1 ? part : 1);
}

/* The runs of one seed, which go on epoch by epoch side by side. */
typedef struct {
  CourantRunState *states; /* [perturbs] */
  double *base, *other;    /* [n] weights of the first run and of another */
} Runs;

static PetscErrorCode RunEpoch(CourantEnsemble *e, PetscInt epoch, CourantRunState *state,
                               double *diverged_at)
{
  const PetscInt end = epoch + 1 < e->epochs ? (epoch + 1) * e->run.per_epoch : e->run.steps;
  CourantRunRecord record;

  PetscFunctionBeginUser;
  while (state->step < end && !state->diverged) {
    CourantInterruptCheck();
    PetscCall(CourantRunStep(&e->run, state, &record));
  }
  if (state->diverged && isnan(*diverged_at)) *diverged_at = (double)state->step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Compare(CourantEnsemble *e, PetscInt cell, PetscInt epoch, const Runs *runs)
{
  const CourantNet net = e->run.problem->net;
  double difference = 0, size = 0;

  for (size_t i = 0; i < e->run.n; i++) {
    difference += (runs->base[i] - runs->other[i]) * (runs->base[i] - runs->other[i]);
    size += runs->base[i] * runs->base[i];
  }
  e->distance[cell * e->epochs + epoch] = CourantRunDistance(e->run.n, runs->base, runs->other);
  e->relative[cell * e->epochs + epoch] = sqrt(difference / size);
  double *layer_distance = e->layer_distance + cell * e->layers;
  for (PetscInt l = 0; l < net->nlayers; l++)
    if (net->layers[l].nparameters)
      *layer_distance++ = CourantRunDistance((size_t)net->layers[l].size, runs->base + net->layers[l].offset,
                                             runs->other + net->layers[l].offset);
}

static PetscErrorCode RunAll(CourantEnsemble *e, PetscInt seed, Runs *runs, void (*Progress)(double, void *),
                             void *ctx)
{
  const CourantTrainSettings *settings = e->run.settings;
  const uint64_t number = (uint64_t)settings->seeds.values[seed];

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < e->perturbs; k++) {
    PetscCall(CourantRunStart(&e->run, &e->run.problem->weights, number, settings->perturbs.values[k],
                              &runs->states[k]));
    e->accuracy[seed * e->perturbs + k] = 0;
  }
  for (PetscInt epoch = 0; epoch < e->epochs; epoch++)
    for (PetscInt k = 0; k < e->perturbs; k++) {
      const PetscInt cell = seed * e->perturbs + k;
      double loss, accuracy;
      PetscCall(RunEpoch(e, epoch, &runs->states[k], &e->diverged_at[cell]));
      CourantRunGet(&e->run, runs->states[k].theta, k ? runs->other : runs->base);
      if (k == 0) memcpy(runs->other, runs->base, sizeof(double) * e->run.n);
      Compare(e, cell, epoch, runs);
      if (epoch >= e->epochs - e->last) {
        PetscCall(CourantRunEvaluate(&e->run, &runs->states[k], &loss, &accuracy));
        e->accuracy[cell] += accuracy / (double)e->last;
      }
      e->subnormal[cell] = (double)runs->states[k].subnormal;
      if (Progress) Progress(1, ctx);
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantEnsembleRunSeed - All runs of the seed-th seed: batches and augmentation are that seed's, the initial
  weights the deck's, so that runs of different seeds differ by what stochastic gradient descent draws.
*/
PetscErrorCode CourantEnsembleRunSeed(CourantEnsemble *e, PetscInt seed,
                                      void (*Progress)(double epochs, void *), void *ctx)
{
  Runs runs;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(e->perturbs, &runs.states, e->run.n, &runs.base, e->run.n, &runs.other));
  for (PetscInt k = 0; k < e->perturbs; k++) PetscCall(CourantRunStateCreate(&e->run, &runs.states[k]));
  const PetscErrorCode code = RunAll(e, seed, &runs, Progress, ctx);
  for (PetscInt k = 0; k < e->perturbs; k++) PetscCall(CourantRunStateDestroy(&runs.states[k]));
  PetscCall(PetscFree3(runs.states, runs.base, runs.other));
  PetscFunctionReturn(code);
}

/* Standard deviation of n numbers, `stride` apart, with n - 1 in the denominator; NaN for one. */
static double Deviation(PetscInt n, const double *x, PetscInt stride)
{
  double mean = 0, sum = 0;
  for (PetscInt i = 0; i < n; i++) mean += x[i * stride] / (double)n;
  for (PetscInt i = 0; i < n; i++) sum += (x[i * stride] - mean) * (x[i * stride] - mean);
  return n > 1 ? sqrt(sum / (double)(n - 1)) : NAN;
}

/* std_k / std_seed of a table with these rows and columns: roots of the mean variance over k, and over seeds.
 */
static double Ratio(const CourantEnsemble *e, const PetscInt rows[], const PetscInt columns[])
{
  double sum[2] = {0, 0};

  for (int way = 0; way < 2; way++) {
    const PetscInt n = way ? e->perturbs : e->seeds, m = way ? e->seeds : e->perturbs;
    for (PetscInt i = 0; i < n; i++) {
      double mean = 0;
      for (int pass = 0; pass < 2; pass++) {
        double total = 0;
        for (PetscInt j = 0; j < m; j++) {
          const PetscInt s = way ? rows[j] : rows[i], k = way ? columns[i] : columns[j];
          const double a = e->accuracy[s * e->perturbs + k];
          total += pass ? (a - mean) * (a - mean) : a;
        }
        if (pass)
          sum[way] += total / (double)(n * (m - 1));
        else
          mean = total / (double)m;
      }
    }
  }
  return sqrt(sum[0] / sum[1]);
}

static int Ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static PetscInt Draw(CourantRandom stream, uint32_t draw, PetscInt n)
{
  uint32_t bits[4];
  CourantRandomBits(stream, draw, bits);
  return (PetscInt)((uint64_t)bits[0] * (uint64_t)n >> 32);
}

enum { RESAMPLES = 4000 };

/*
  CourantEnsembleSummarise - How much rounding alone spreads the accuracy, beside how much the seeds do.

  The interval is that of a bootstrap which draws rows and columns of the table with replacement. NaN where
  there are less than two seeds or values of k, or nothing spreads.
*/
PetscErrorCode CourantEnsembleSummarise(const CourantEnsemble *e, CourantEnsembleSummary *summary)
{
  const PetscInt cells = e->seeds * e->perturbs;
  PetscInt *rows, *columns, n = 0;
  double *ratios, *distances;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(e->seeds, &rows, e->perturbs, &columns, RESAMPLES, &ratios, cells, &distances));
  for (PetscInt i = 0; i < e->seeds; i++) rows[i] = i;
  for (PetscInt i = 0; i < e->perturbs; i++) columns[i] = i;
  *summary = (CourantEnsembleSummary){Ratio(e, rows, columns), NAN, NAN, NAN};
  for (uint32_t r = 0; r < RESAMPLES; r++) {
    const CourantRandom stream = {.purpose = COURANT_RANDOM_BOOTSTRAP, .index = r};
    for (PetscInt i = 0; i < e->seeds; i++) rows[i] = Draw(stream, (uint32_t)i, e->seeds);
    for (PetscInt i = 0; i < e->perturbs; i++)
      columns[i] = Draw(stream, (uint32_t)(e->seeds + i), e->perturbs);
    const double ratio = Ratio(e, rows, columns);
    if (isfinite(ratio)) ratios[n++] = ratio;
  }
  qsort(ratios, (size_t)n, sizeof *ratios, Ascending);
  if (n) {
    summary->low = ratios[(PetscInt)(0.025 * n)];
    summary->high = ratios[(PetscInt)(0.975 * (n - 1))];
  }
  n = 0;
  for (PetscInt i = 0; i < cells; i++) {
    const double d = e->distance[(i + 1) * e->epochs - 1];
    if (i % e->perturbs && isfinite(d)) distances[n++] = d;
  }
  qsort(distances, (size_t)n, sizeof *distances, Ascending);
  if (n) summary->distance = 0.5 * (distances[n / 2] + distances[(n - 1) / 2]);
  PetscCall(PetscFree4(rows, columns, ratios, distances));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantEnsembleSpread - Standard deviations of the accuracy over k for each seed, and over seeds for each
 * k. */
void CourantEnsembleSpread(const CourantEnsemble *e, double row_std[], double column_std[])
{
  for (PetscInt s = 0; s < e->seeds; s++)
    row_std[s] = Deviation(e->perturbs, e->accuracy + s * e->perturbs, 1);
  for (PetscInt k = 0; k < e->perturbs; k++)
    column_std[k] = Deviation(e->seeds, e->accuracy + k, e->perturbs);
}
