/*
  bench-nets FOLDER [-threads n] [-isa ..] - Times of gradients, Hessian products and SGD steps, one
  repetition a line.

  Reads lines `NET f32|f64 WORK [FILE]`, NET.yaml a deck in the folder, and answers each with {"seconds": s,
  "rss_mb": peak} or {"error": text}; `rest` drops what is kept between lines. WORK is one of gradient,
  hvp_recomputed, hvp_kept, sgd, or makes others share the problem through a file of doubles: `product`
  replaces the vector in it by its product with the Hessian, `problem` writes weights [p], images [n,h,w,c]
  and labels [n]. compare.py and eigen.py put it beside other programs. Not a test: nothing passes or fails by
  time.
*/
#include "core/random.h"
#include "train/run.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LINE = 4096 };

typedef struct {
  char line[LINE], file[LINE]; /* what it was made for */
  CourantDeck deck;
  CourantProblem problem;
  CourantEvaluator evaluator;
  CourantTrainSettings settings;
  CourantRun run;
  CourantRunState state;
  double *theta, *v, *result;
  void (*Work)(void *);
  PetscErrorCode code;
} Case;

static double Now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The peak of resident memory so far, or since it was reset where the system can do that. */
static double Peak(PetscBool reset)
{
  char line[128];
  double kilobytes = 0;
  FILE *file = fopen("/proc/self/status", "r");

  while (file && fgets(line, sizeof line, file)) sscanf(line, "VmHWM: %lf", &kilobytes);
  if (file) fclose(file);
  if (reset && (file = fopen("/proc/self/clear_refs", "w"))) {
    fputs("5", file);
    fclose(file);
  }
  return kilobytes / 1024;
}

static void Gradient(void *ctx)
{
  Case *c = (Case *)ctx;
  c->code = CourantEvaluatorRun(c->evaluator, 0, c->theta, NULL, PETSC_COMM_SELF, c->result);
}

static void Product(void *ctx)
{
  Case *c = (Case *)ctx;
  c->code =
      CourantEvaluatorProducts(c->evaluator, 1, (const double *const[]){c->v}, PETSC_COMM_SELF, c->result);
}

/* Numbers from the case's file or, by mode "wb" or "ab", to it. */
static PetscErrorCode Transfer(Case *c, const char mode[], size_t n, double numbers[])
{
  FILE *file = fopen(c->file, mode);

  PetscFunctionBeginUser;
  if (!file) CourantInputError(PETSC_COMM_SELF, "cannot open '%s'", c->file);
  const size_t done =
      *mode == 'r' ? fread(numbers, sizeof *numbers, n, file) : fwrite(numbers, sizeof *numbers, n, file);
  if (fclose(file) || done != n) CourantInputError(PETSC_COMM_SELF, "'%s': expected %zu numbers", c->file, n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void ProductOfFile(void *ctx)
{
  Case *c = (Case *)ctx;
  const size_t p = (size_t)c->problem->net->size;

  c->code = Transfer(c, "rb", p, c->v);
  if (!c->code) Product(c);
  if (!c->code) c->code = Transfer(c, "wb", p, c->result);
}

static PetscErrorCode WriteProblem(Case *c)
{
  const CourantDataset data = c->problem->data;
  const CourantBatch all = {.data = data, .n = data->n};
  const size_t image = CourantDatasetImageSize(data), n = (size_t)data->n;
  double *images;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n * image, &images));
  const char *error = CourantBatchRead(&all, 0, data->n, images);
  if (error) CourantInputError(PETSC_COMM_SELF, "%s", error);
  PetscCall(Transfer(c, "wb", (size_t)c->problem->net->size, c->theta));
  PetscCall(Transfer(c, "ab", n * image, images));
  PetscCall(Transfer(c, "ab", n * (size_t)data->width, data->labels));
  PetscCall(PetscFree(images));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Problem(void *ctx)
{
  Case *c = (Case *)ctx;
  c->code = WriteProblem(c);
}

static void Step(void *ctx)
{
  Case *c = (Case *)ctx;
  CourantRunRecord record;
  c->code = CourantRunStep(&c->run, &c->state, &record);
}

static const struct {
  const char *name;
  void (*Work)(void *);
  int order;
  double memory; /* of the evaluator: 0 keeps no primal */
} works[] = {{"gradient", Gradient, 0, 0},   {"hvp_recomputed", Product, 1, 0},
             {"hvp_kept", Product, 1, 1e11}, {"product", ProductOfFile, 1, 1e11},
             {"problem", Problem, 0, 0},     {"sgd", Step, 0, 0}};

static PetscErrorCode Close(Case *c)
{
  PetscFunctionBeginUser;
  PetscCall(CourantRunStateDestroy(&c->state));
  if (c->run.problem) PetscCall(CourantRunDestroy(&c->run));
  PetscCall(CourantTrainReset(&c->settings));
  PetscCall(CourantEvaluatorDestroy(&c->evaluator));
  PetscCall(PetscFree3(c->theta, c->v, c->result));
  PetscCall(CourantProblemDestroy(&c->problem));
  PetscCall(CourantDeckDestroy(&c->deck));
  *c = (Case){{0}};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenRun(Case *c, const char *precision)
{
  PetscFunctionBeginUser;
  PetscCall(CourantTrainRead(c->problem->top.train, &c->settings));
  c->settings.precision = !strcmp(precision, "f32");
  PetscCall(CourantRunCreate(c->problem, &c->settings, PETSC_TRUE, &c->run));
  PetscCall(CourantRunStateCreate(&c->run, &c->state));
  PetscCall(CourantRunStart(&c->run, &c->problem->weights, 1, 1, &c->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(Case *c, const char *folder, const char *name, const char *precision, size_t work)
{
  char file[PETSC_MAX_PATH_LEN];
  const CourantBackend *backend;

  PetscFunctionBeginUser;
  snprintf(file, sizeof file, "%s/%s.yaml", folder, name);
  const char *sgd =
      "train.rule=momentum,train.momentum=0.9,train.batch=128,train.learning_rate=1e-3,train.steps=100000";
  PetscCall(CourantDeckLoad(PETSC_COMM_SELF, file, works[work].Work == Step ? sgd : "", &c->deck));
  PetscCall(CourantProblemCreate(PETSC_COMM_SELF, c->deck, &c->problem));
  PetscCall(CourantProblemSetFromOptions(c->problem));
  PetscCall(CourantProblemSetUp(c->problem));
  const PetscInt p = c->problem->net->size;
  PetscCall(CourantBackendGet(PETSC_COMM_SELF, !strcmp(precision, "f32") ? 32 : 64,
                              c->problem->isa[0] ? c->problem->isa : NULL, &backend));
  const CourantEvaluatorSettings settings = {
      .order = works[work].order, .threads = (int)c->problem->threads, .memory = works[work].memory};
  PetscCall(PetscMalloc3(p, &c->theta, p, &c->v, 2 * (p + 1), &c->result));
  PetscCall(CourantWeightsFill(&c->problem->weights, c->problem->net, c->theta));
  CourantRandomNormal((CourantRandom){.seed = 1, .purpose = COURANT_RANDOM_TEST}, p, c->v);
  c->Work = works[work].Work;
  if (c->Work == Step) PetscCall(OpenRun(c, precision));
  if (c->Work != Step)
    PetscCall(CourantEvaluatorCreate(c->problem->net, c->problem->data, backend, &settings, &c->evaluator));
  if (works[work].order) PetscCall(CourantEvaluatorKeep(c->evaluator, c->theta, PETSC_COMM_SELF, c->result));
  if (!c->file[0]) c->Work(c); /* warm */
  PetscFunctionReturn(c->code);
}

/* One line: a new case where it differs from the last one, then one timed repetition. */
static PetscErrorCode Answer(Case *c, const char *folder, const char *line)
{
  char name[64], precision[8], work[32];
  size_t i = 0;

  PetscFunctionBeginUser;
  if (strcmp(c->line, line)) {
    PetscCall(Close(c));
    (void)Peak(PETSC_TRUE);
    if (sscanf(line, "%63s %7s %31s %4095[^\n]", name, precision, work, c->file) < 3)
      CourantInputError(PETSC_COMM_SELF, "expected NET f32|f64 WORK [FILE]");
    while (i < PETSC_STATIC_ARRAY_LENGTH(works) && strcmp(works[i].name, work)) i++;
    if (i == PETSC_STATIC_ARRAY_LENGTH(works)) CourantInputError(PETSC_COMM_SELF, "unknown work %s", work);
    PetscCall(Open(c, folder, name, precision, i));
    PetscCall(PetscStrncpy(c->line, line, sizeof c->line));
  }
  const double start = Now();
  c->Work(c);
  if (c->code) PetscFunctionReturn(c->code);
  printf("{\"seconds\": %.9g, \"rss_mb\": %.1f}\n", Now() - start, Peak(PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  char line[LINE];
  Case c = {{0}};

  PetscCall(SlepcInitialize(&argc, &argv, NULL, NULL));
  PetscCall(PetscPushErrorHandler(CourantErrorHandler, NULL));
  if (argc < 2) return 2;
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    if (!strcmp(line, "rest")) {
      PetscCall(Close(&c));
      printf("{}\n");
    } else if (Answer(&c, argv[1], line)) {
      printf("{\"error\": \"%s\"}\n", CourantErrorMessage());
      CourantErrorClear();
      c.line[0] = 0;
    }
    fflush(stdout);
  }
  PetscCall(Close(&c));
  PetscCall(PetscPopErrorHandler());
  PetscCall(SlepcFinalize());
  return 0;
}
