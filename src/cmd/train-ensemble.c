/* courant train: an ensemble of runs over seeds and perturbations, and the table of what came of it. */
#include "cmd/train.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "train/ensemble.h"
#include <math.h>
#include <string.h>

#define LENGTH(array) ((int)(sizeof(array) / sizeof *(array)))

typedef struct {
  CourantProblem problem;
  const CourantTrainSettings *settings;
  CourantOutput *output;
  CourantProgress progress;
  CourantEnsemble ensemble;
  double *seeds_done; /* [seeds] */
  double work;        /* epochs done by this rank */
} Study;

#define SEED    "/ensemble/seed"
#define PERTURB "/ensemble/perturb"
#define EPOCH   "/ensemble/epoch"
#define LAYER   "/ensemble/layer"

typedef struct {
  CourantResultEntry entry;
  size_t offset; /* of the array in CourantEnsemble */
} Table;

static const Table tables[] = {
    {{"/ensemble/test_accuracy",
      COURANT_RESULT_REAL,
      {SEED, PERTURB},
      "accuracy, mean of the last ten epochs, or of all if they are fewer",
      "1"},
     offsetof(CourantEnsemble, accuracy)},
    {{"/ensemble/distance",
      COURANT_RESULT_REAL,
      {SEED, PERTURB, EPOCH},
      "distance to the first run of the seed",
      "1",
      NULL,
      "2 mean_i |w1 - w2| / (|w1| + |w2|)"},
     offsetof(CourantEnsemble, distance)},
    {{"/ensemble/relative_distance",
      COURANT_RESULT_REAL,
      {SEED, PERTURB, EPOCH},
      "distance to the first run of the seed, relative to its weights",
      "1",
      NULL,
      "|w1 - w2| / |w1|"},
     offsetof(CourantEnsemble, relative)},
    {{"/ensemble/layer_distance",
      COURANT_RESULT_REAL,
      {SEED, PERTURB, LAYER},
      "distance of each layer with weights at the end",
      "1",
      NULL,
      "2 mean_i |w1 - w2| / (|w1| + |w2|)"},
     offsetof(CourantEnsemble, layer_distance)},
    {{"/ensemble/diverged_at", COURANT_RESULT_REAL, {SEED, PERTURB}, "step of divergence", "1"},
     offsetof(CourantEnsemble, diverged_at)},
    {{"/ensemble/subnormal",
      COURANT_RESULT_REAL,
      {SEED, PERTURB},
      "parts d / k of steps that were subnormal, where a power of two as k is no longer exact",
      "1"},
     offsetof(CourantEnsemble, subnormal)},
};

static const CourantResultEntry spreads[] = {
    {"/ensemble/row_std", COURANT_RESULT_REAL, {SEED}, "standard deviation of the accuracy over k", "1"},
    {"/ensemble/column_std",
     COURANT_RESULT_REAL,
     {PERTURB},
     "standard deviation of the accuracy over seeds",
     "1"},
    {"/ensemble/done", COURANT_RESULT_REAL, {SEED}, "1 where the runs of a seed are done", "1"},
};

static double *ArrayOf(CourantEnsemble *e, const Table *table)
{
  return *(double **)((char *)e + table->offset);
}

static size_t CountOf(const CourantEnsemble *e, const Table *table)
{
  size_t n = (size_t)(e->seeds * e->perturbs);
  if (table->entry.scales[2]) n *= (size_t)(strcmp(table->entry.scales[2], LAYER) ? e->epochs : e->layers);
  return n;
}

static PetscErrorCode AddEpochs(const CourantEnsemble *e, CourantResult file)
{
  double *done;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(e->epochs, &done));
  for (PetscInt i = 0; i < e->epochs; i++) done[i] = CourantEnsembleEpochsDone(e, i);
  PetscCall(CourantResultAddScale(file, EPOCH, (int)e->epochs, done, "epochs done", "1"));
  PetscCall(PetscFree(done));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0. */
static PetscErrorCode StartEnsemble(Study *s)
{
  const CourantEnsemble *e = &s->ensemble;

  PetscFunctionBeginUser;
  PetscCall(CourantOutputCreate(s->output, &s->problem->model, "ensemble of perturbed training runs"));
  const CourantResult file = s->output->file;
  PetscCall(CourantResultSetString(file, "/", "precision", s->settings->precision ? "single" : "double"));
  if (s->output->resumed) {
    for (int i = 0; i < LENGTH(tables); i++)
      PetscCall(CourantResultRead(file, tables[i].entry.path, COURANT_RESULT_REAL, CountOf(e, &tables[i]),
                                  ArrayOf(&s->ensemble, &tables[i])));
    PetscCall(
        CourantResultRead(file, "/ensemble/done", COURANT_RESULT_REAL, (size_t)e->seeds, s->seeds_done));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CourantResultAddScale(file, SEED, (int)e->seeds, s->settings->seeds.values,
                                  "seed of batches and augmentation", "1"));
  PetscCall(CourantResultAddScale(file, PERTURB, (int)e->perturbs, s->settings->perturbs.values,
                                  "factor k of the perturbed step", "1"));
  PetscCall(AddEpochs(e, file));
  PetscCall(CourantResultAddCount(file, LAYER, (int)e->layers, 0,
                                  "layer with weights, in the order of the network", "1"));
  for (int i = 0; i < LENGTH(tables); i++) PetscCall(CourantResultAdd(file, &tables[i].entry));
  for (int i = 0; i < LENGTH(spreads); i++) PetscCall(CourantResultAdd(file, &spreads[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Everything of a seed to rank 0, from the rank that ran it. */
static PetscErrorCode CollectSeed(Study *s, PetscInt seed, PetscMPIInt from)
{
  PetscFunctionBeginUser;
  for (int i = 0; i < LENGTH(tables); i++) {
    const size_t n = CountOf(&s->ensemble, &tables[i]) / (size_t)s->ensemble.seeds;
    double *values = ArrayOf(&s->ensemble, &tables[i]) + (size_t)seed * n;
    if (s->output->rank == 0 && from)
      PetscCallMPI(
          MPI_Recv(values, (PetscMPIInt)n, MPI_DOUBLE, from, i, s->problem->comm, MPI_STATUS_IGNORE));
    else if (s->output->rank == from && from)
      PetscCallMPI(MPI_Send(values, (PetscMPIInt)n, MPI_DOUBLE, 0, i, s->problem->comm));
  }
  s->seeds_done[seed] = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteEnsemble(Study *s)
{
  CourantEnsembleSummary summary;
  double *row, *column;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(s->ensemble.seeds, &row, s->ensemble.perturbs, &column));
  CourantEnsembleSpread(&s->ensemble, row, column);
  for (int i = 0; i < LENGTH(tables); i++)
    PetscCall(CourantResultWrite(s->output->file, tables[i].entry.path, ArrayOf(&s->ensemble, &tables[i])));
  PetscCall(CourantResultWrite(s->output->file, spreads[0].path, row));
  PetscCall(CourantResultWrite(s->output->file, spreads[1].path, column));
  PetscCall(CourantResultWrite(s->output->file, spreads[2].path, s->seeds_done));
  PetscCall(CourantEnsembleSummarise(&s->ensemble, &summary));
  PetscCall(CourantResultSetReal(s->output->file, "/ensemble", "ratio", summary.ratio));
  PetscCall(CourantResultSetReal(s->output->file, "/ensemble", "ratio_low", summary.low));
  PetscCall(CourantResultSetReal(s->output->file, "/ensemble", "ratio_high", summary.high));
  PetscCall(CourantResultSetReal(s->output->file, "/ensemble", "median_distance", summary.distance));
  PetscCall(PetscFree2(row, column));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckpointEnsemble(Study *s)
{
  PetscFunctionBeginUser;
  PetscCall(WriteEnsemble(s));
  PetscCall(CourantOutputCheckpoint(s->output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void EpochDone(double epochs, void *ctx)
{
  Study *s = (Study *)ctx;
  s->work += epochs * s->output->size;
  CourantProgressUpdate(&s->progress, s->work);
}

static PetscErrorCode PrintEnsemble(const Study *s)
{
  CourantEnsembleSummary summary;
  const CourantEnsemble *e = &s->ensemble;
  double *row, *column;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(e->seeds, &row, e->perturbs, &column));
  CourantEnsembleSpread(e, row, column);
  char mean[48] = "at the end";
  if (e->last > 1) snprintf(mean, sizeof mean, "mean of the last %d epochs", (int)e->last);
  printf("accuracy in %% of %s samples, %s, over seeds and k; D at the end in brackets\n",
         s->problem->test ? "test" : "training", mean);
  printf("%10s", "seed");
  for (PetscInt k = 0; k < e->perturbs; k++) printf("   k = %-11g", s->settings->perturbs.values[k]);
  printf("   std over k\n");
  for (PetscInt i = 0; i < e->seeds; i++) {
    printf("%10.0f", s->settings->seeds.values[i]);
    for (PetscInt k = 0; k < e->perturbs; k++)
      printf("   %6.2f (%6.1e)", 100 * e->accuracy[i * e->perturbs + k],
             e->distance[(i * e->perturbs + k + 1) * e->epochs - 1]);
    printf("   %6.2f\n", 100 * row[i]);
  }
  printf("%10s", "std");
  for (PetscInt k = 0; k < e->perturbs; k++) printf("   %6.2f          ", 100 * column[k]);
  printf("\n");
  PetscCall(CourantEnsembleSummarise(e, &summary));
  if (isfinite(summary.ratio))
    printf("std over k / std over seeds %.3g (95 %% bootstrap interval %.2g to %.2g)\n", summary.ratio,
           summary.low, summary.high);
  if (isfinite(summary.distance)) printf("median D at the end %.3g\n", summary.distance);
  PetscCall(PetscFree2(row, column));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0. */
static PetscErrorCode FinishEnsemble(Study *s)
{
  PetscFunctionBeginUser;
  PetscCall(WriteEnsemble(s));
  PetscCall(CourantOutputFinish(s->output));
  if (s->output->quiet) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PrintEnsemble(s));
  CourantOutputView(s->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One seed a rank, `n` of them, to rank 0 and into a checkpoint; every rank fails when one does. */
static PetscErrorCode RunRound(Study *s, PetscInt n, const PetscInt seeds[])
{
  const MPI_Comm comm = s->problem->comm;
  const PetscMPIInt rank = s->output->rank;
  const PetscErrorCode code =
      rank < n ? CourantEnsembleRunSeed(&s->ensemble, seeds[rank], EpochDone, s) : PETSC_SUCCESS;
  int worst = (int)code, signal;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &worst, 1, MPI_INT, MPI_MAX, comm));
  PetscCall(CourantInterruptedTogether(comm, &signal)); /* for the exit status of all */
  if (worst) PetscFunctionReturn((PetscErrorCode)worst);
  for (PetscMPIInt i = 0; i < n; i++) PetscCall(CollectSeed(s, seeds[i], i));
  CourantCallOnRankZero(comm, rank, CheckpointEnsemble(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The seeds that are not done yet, in rounds. */
static PetscErrorCode RunSeeds(Study *s)
{
  const CourantEnsemble *e = &s->ensemble;
  PetscErrorCode code = PETSC_SUCCESS;
  PetscInt *left, n = 0;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Bcast(s->seeds_done, (PetscMPIInt)e->seeds, MPI_DOUBLE, 0, s->problem->comm));
  PetscCall(PetscMalloc1(e->seeds, &left));
  for (PetscInt i = 0; i < e->seeds; i++)
    if (!(s->seeds_done[i] == 1)) left[n++] = i;
  CourantProgressBegin(&s->progress, "training", 0, (double)(n * e->perturbs * e->epochs), s->output->quiet);
  for (PetscInt at = 0; at < n && !code; at += s->output->size)
    code = RunRound(s, PetscMin(n - at, s->output->size), left + at);
  CourantProgressEnd(&s->progress);
  PetscCall(PetscFree(left));
  if (code == PETSC_ERR_SIG) CourantOutputSayInterrupted(s->output, "the seeds that are done");
  PetscFunctionReturn(code);
}

/* CourantTrainEnsemble - Trains every seed with every perturbation, and writes and prints what came of it. */
PetscErrorCode CourantTrainEnsemble(CourantProblem problem, const CourantTrainSettings *settings,
                                    CourantOutput *output)
{
  Study study = {.problem = problem, .settings = settings, .output = output}, *const s = &study;

  PetscFunctionBeginUser;
  PetscCall(CourantEnsembleCreate(problem, settings, &s->ensemble));
  PetscCall(PetscCalloc1(s->ensemble.seeds, &s->seeds_done));
  CourantCallOnRankZero(problem->comm, output->rank, StartEnsemble(s));
  PetscCall(CourantTrainPrintHeader(problem, settings, output, s->ensemble.run.evaluator));
  PetscCall(RunSeeds(s));
  CourantCallOnRankZero(problem->comm, output->rank, FinishEnsemble(s));
  PetscCall(PetscFree(s->seeds_done));
  PetscCall(CourantEnsembleDestroy(&s->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}
