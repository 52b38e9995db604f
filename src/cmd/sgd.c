#include "cmd/sgd.h"
#include "core/progress.h"
#include "stability/sgd.h"
#include <math.h>
#include <string.h>

/*
  CourantSgdOpen - The limits that a deck with train: {batch: n} asks for; NULL for full batches, and where
  there are none, which CourantReportSgd() says.

  Options: those of CourantSgdSetFromOptions(). The caller destroys it.
*/
PetscErrorCode CourantSgdOpen(CourantProblem problem, const CourantTrainSettings *train, CourantSgd *sgd)
{
  PetscFunctionBeginUser;
  *sgd = NULL;
  if (train->batch < 1 || CourantSgdObstacle(problem, train)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantSgdCreate(problem->comm, train->batch, sgd));
  PetscCall(CourantSgdSetFromOptions(*sgd));
  PetscCall(CourantSgdCheckMemory(*sgd, problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const struct {
  CourantResultEntry limit, status;
  const char *name, *about;
} kinds[COURANT_SGD_KINDS] = {
    {{"/sgd/limit_mean_square",
      COURANT_RESULT_REAL,
      {NULL},
      "learning rate below which the mean square decays, batches drawn independently",
      "1",
      .formula = "1 / nu, nu the largest eigenvalue of E[M X M] = nu (m X + X m), M of a batch, m = E M"},
     {"/sgd/status_mean_square",
      COURANT_RESULT_ENUM,
      {NULL},
      "how its solver ended",
      "1",
      COURANT_STATUS_NAMES},
     "mean square",
     "independent batches"},
    {{"/sgd/limit_epoch",
      COURANT_RESULT_REAL,
      {NULL},
      "learning rate below which the mean square decays from epoch to epoch of reshuffled batches",
      "1",
      .formula = "spectral radius of X -> E[Phi X Phi^T] = 1, Phi = A_K .. A_1 over an epoch"},
     {"/sgd/status_epoch", COURANT_RESULT_ENUM, {NULL}, "how its solver ended", "1", COURANT_STATUS_NAMES},
     "epoch",
     "mean square of reshuffled batches"},
    {{"/sgd/limit_almost_sure",
      COURANT_RESULT_REAL,
      {NULL},
      "learning rate below which almost every run of reshuffled batches decays",
      "1",
      .formula = "lim log |A_t .. A_1 x| / t = 0"},
     {"/sgd/status_almost_sure",
      COURANT_RESULT_ENUM,
      {NULL},
      "how its solver ended",
      "1",
      COURANT_STATUS_NAMES},
     "almost sure",
     "almost every run of reshuffled batches"},
};

static const CourantResultEntry descent_entry = {
    "/sgd/limit_gd",       COURANT_RESULT_REAL, {NULL}, "learning rate limit of full batches", "1",
    .formula = "2 / m_max"};
static const CourantResultEntry batch_entry = {
    "/sgd/batch", COURANT_RESULT_INT, {NULL}, "samples of a batch", "1"};
static const CourantResultEntry noise_entry = {
    "/sgd/gradient_noise",
    COURANT_RESULT_REAL,
    {NULL},
    "root mean square of the gradients of single samples; where it is not 0, runs below the limits hover",
    "1"};

typedef struct {
  PetscReal descent, noise;
  CourantEstimate limit[COURANT_SGD_KINDS];
  CourantStatus status[COURANT_SGD_KINDS];
} Report;

static PetscErrorCode Write(const Report *report, const CourantTrainSettings *train, CourantOutput *output)
{
  PetscFunctionBeginUser;
  for (int k = 0; k < COURANT_SGD_KINDS; k++) {
    const uint8_t status = (uint8_t)report->status[k];
    PetscCall(CourantOutputWriteEstimate(output, &kinds[k].limit, &report->limit[k]));
    PetscCall(CourantResultAddValues(output->file, &kinds[k].status, &status));
  }
  PetscCall(CourantResultAddValues(output->file, &descent_entry, &report->descent));
  PetscCall(CourantResultAddValues(output->file, &batch_entry, &train->batch));
  PetscCall(CourantResultAddValues(output->file, &noise_entry, &report->noise));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where the deck's learning rate lies. */
static const char *Side(const CourantEstimate *limit, PetscReal learning_rate)
{
  if (learning_rate < limit->low) return "below";
  return learning_rate > limit->high ? "above" : "undecided";
}

static void Print(const Report *report, const CourantTrainSettings *train, PetscInt samples)
{
  printf("batches of %d of %d samples: deviations decay below the learning rate; the deck's is %g\n",
         train->batch, (int)samples, train->learning_rate);
  if (report->status[0] == COURANT_DEGENERATE) {
    printf("  none: this state is no minimum, or flat in a direction that batches push along\n");
    return;
  }
  printf("  %-12s %.8g\n", "full batches", report->descent);
  for (int k = 0; k < COURANT_SGD_KINDS; k++)
    if (report->status[k] == COURANT_CONVERGED)
      printf("  %-12s %.6g (%.6g to %.6g)  %s: %s\n", kinds[k].name, report->limit[k].value,
             report->limit[k].low, report->limit[k].high, kinds[k].about,
             Side(&report->limit[k], train->learning_rate));
    else
      printf("  %-12s not converged\n", kinds[k].name);
  if (report->noise * report->descent > 1e-6) /* a step by it */
    printf(
        "  gradients of single samples do not vanish (root mean square %.3g): below the limits runs hover\n",
        report->noise);
}

static PetscErrorCode Compute(CourantSgd sgd, CourantProblem problem, Vec theta, PetscReal alpha,
                              Report *report, CourantProgress *progress)
{
  CourantStatus status;

  PetscFunctionBeginUser;
  PetscCall(CourantSgdSetProblem(sgd, problem, theta, alpha, NULL));
  CourantProgressUpdate(progress, 1);
  PetscCall(CourantSgdGetDescentLimit(sgd, &report->descent, &status));
  PetscCall(CourantSgdGetNoise(sgd, &report->noise));
  for (int k = 0; k < COURANT_SGD_KINDS; k++) {
    PetscCall(CourantSgdGetLimit(sgd, (CourantSgdKind)k, &report->limit[k], &report->status[k]));
    CourantProgressUpdate(progress, 2 + k);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantReportSgd - The three limits of the deck's mini-batches at theta, with its weight decay: writes /sgd/
  and prints them; nothing for full batches, a line where there are none. Collective.

  Limits that did not converge are counted in output->unconverged.
*/
PetscErrorCode CourantReportSgd(CourantSgd sgd, CourantProblem problem, Vec theta,
                                const CourantTrainSettings *train, CourantOutput *output)
{
  CourantProgress progress;
  Report report = {0};

  PetscFunctionBeginUser;
  if (!sgd) {
    const char *obstacle = train->batch > 0 ? CourantSgdObstacle(problem, train) : NULL;
    if (obstacle && output->rank == 0 && !output->quiet) printf("no limits of mini-batches: %s\n", obstacle);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  CourantProgressBegin(&progress, "mini-batches", 0, 1 + COURANT_SGD_KINDS, output->quiet);
  const PetscErrorCode code = Compute(sgd, problem, theta, train->weight_decay, &report, &progress);
  CourantProgressEnd(&progress);
  PetscCall(code);
  CourantCallOnRankZero(problem->comm, output->rank, Write(&report, train, output));
  if (output->rank == 0 && !output->quiet) Print(&report, train, problem->data->n);
  for (int k = 0; k < COURANT_SGD_KINDS; k++)
    output->unconverged += report.status[k] == COURANT_NOT_CONVERGED;
  PetscFunctionReturn(PETSC_SUCCESS);
}
