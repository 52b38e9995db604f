/* courant spectrum: eigenvalues at the ends of the spectra of a network's operators. */
#include "cmd/spectrum.h"
#include "core/interrupt.h"
#include "core/suggest.h"
#include <math.h>
#include <string.h>

const OperatorText SpectrumOperators[OPERATORS] = {
    [HESSIAN] = {"hessian", "the Hessian of L", "H = D^2 L", NULL, PETSC_TRUE},
    [GAUSS_NEWTON] =
        {"gauss_newton", "the Gauss-Newton matrix",
         "G = J^T B J, J_(i,o) = n^(-1/2) d p_o(x_i) / d theta, B_i = D^2 of the loss of sample i by "
         "its outputs p",
         "gn_"},
    [NTK] = {"ntk", "the neural tangent kernel",
             "J J^T, or weighted B^(1/2) J J^T B^(1/2); J_(i,o) = n^(-1/2) d p_o(x_i) / d theta", "ntk_"},
    [LAYER_BLOCKS] = {"layer_blocks", "the blocks of the Hessian of L for each layer",
                      "d^2 L / d theta_l d theta_l", NULL, PETSC_TRUE},
    [PRECONDITIONED] = {"preconditioned", "the Hessian of L with decay, preconditioned by Adam",
                        "(H + alpha D) x = nu P x, P = diag((v / (1 - beta2^t))^(1/2) + epsilon)", NULL,
                        PETSC_TRUE},
};

const char *const SpectrumStates[STATES] = {"init", "zero", "equilibrium", "trained"};

/* ---- options ---- */

/* One of some words; `value` keeps what it was where the option is not given. */
static PetscErrorCode ReadChoice(const char option[], int n, const char *const words[], int *value)
{
  char word[64], phrase[192];
  CourantSuggestion suggestion;
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetString(NULL, NULL, option, word, sizeof word, &set));
  if (!set) PetscFunctionReturn(PETSC_SUCCESS);
  CourantSuggestBegin(&suggestion, word);
  for (int i = 0; i < n; i++) {
    CourantSuggestOffer(&suggestion, words[i]);
    if (strcmp(word, words[i])) continue;
    *value = i;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  CourantInputError(PETSC_COMM_WORLD, "%s: unknown word '%s'%s", option, word,
                    CourantSuggestPhrase(&suggestion, phrase, sizeof phrase));
}

/* -which, -nev, -above: what is wanted of the two ends. */
static PetscErrorCode ReadEnds(SpectrumSession *s)
{
  static const char *const ends[] = {"both", "largest", "smallest"};
  enum { BOTH, LARGEST, SMALLEST };
  PetscInt nev = 1;
  int which = BOTH;
  PetscBool above, counted, sided;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-above", &s->above, &above));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-which", &sided));
  if (above) which = LARGEST;
  PetscCall(ReadChoice("-which", PETSC_STATIC_ARRAY_LENGTH(ends), ends, &which));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-nev", &nev, &counted));
  if (above && (counted || (sided && which != LARGEST)))
    CourantInputError(PETSC_COMM_WORLD, "-above asks for all eigenvalues of the upper end: leave out %s",
                      counted ? "-nev" : "-which");
  if (above && !isfinite(s->above)) CourantInputError(PETSC_COMM_WORLD, "-above: expected a number");
  if (nev < 1) CourantInputError(PETSC_COMM_WORLD, "-nev %d: expected 1 or more", (int)nev);
  s->largest = which == SMALLEST ? 0 : nev;
  s->smallest = which == LARGEST ? 0 : nev;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadOptions(SpectrumSession *s)
{
  static const char *const precisions[] = {"double", "single"};
  const char *operators[OPERATORS];
  int kind = HESSIAN, precision = 0;
  PetscBool run;

  PetscFunctionBeginUser;
  for (int i = 0; i < OPERATORS; i++) operators[i] = SpectrumOperators[i].name;
  PetscCall(ReadChoice("-operator", OPERATORS, operators, &kind));
  PetscCall(ReadChoice("-precision", PETSC_STATIC_ARRAY_LENGTH(precisions), precisions, &precision));
  PetscCall(ReadChoice("-linearise", STATES, SpectrumStates, &s->linearise));
  PetscCall(CourantOptionFlag("-weighted", &s->weighted));
  PetscCall(CourantOptionFlag("-sgd", &s->mini_batches));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-preconditioner", s->run, sizeof s->run, &run));
  s->kind = (Operator)kind;
  s->single = precision ? PETSC_TRUE : PETSC_FALSE;
  s->above = NAN;
  PetscCall(ReadEnds(s));
  if (s->weighted && kind != NTK) CourantInputError(PETSC_COMM_WORLD, "-weighted is for -operator ntk");
  if (run != (kind == PRECONDITIONED))
    CourantInputError(PETSC_COMM_WORLD, "-operator preconditioned and -preconditioner FILE, a result of "
                                        "courant train with rule adam, need each other");
  if (s->mini_batches && kind != HESSIAN)
    CourantInputError(PETSC_COMM_WORLD, "-sgd is for -operator hessian");
  if (run && s->linearise)
    CourantInputError(PETSC_COMM_WORLD,
                      "-linearise: the preconditioned Hessian is at the weights of the run");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the preconditioner of a run ---- */

static PetscErrorCode ReadMoments(SpectrumSession *s, CourantResult file, double moments[])
{
  double step, beta1, beta2, epsilon;
  size_t dims[COURANT_RANK_MAX];
  char text[96];
  int rank;

  PetscFunctionBeginUser;
  PetscCall(CourantResultSize(file, "/rule/second_moment", &rank, dims));
  if (rank != 1)
    CourantInputError(PETSC_COMM_WORLD,
                      "-preconditioner %s: no /rule/second_moment, as courant train with rule adam leaves it",
                      s->run);
  if (dims[0] != (size_t)s->problem->net->size)
    CourantInputError(PETSC_COMM_WORLD, "-preconditioner %s: it is of %zu weights, this network has %d",
                      s->run, dims[0], (int)s->problem->net->size);
  PetscCall(CourantResultRead(file, "/rule/second_moment", COURANT_RESULT_REAL, dims[0], moments));
  PetscCall(CourantResultGetReal(file, "/rule", "step", &step));
  PetscCall(CourantResultGetReal(file, "/rule", "beta1", &beta1));
  PetscCall(CourantResultGetReal(file, "/rule", "beta2", &beta2));
  PetscCall(CourantResultGetReal(file, "/rule", "epsilon", &epsilon));
  for (size_t i = 0; i < dims[0]; i++) moments[i] = sqrt(moments[i] / (1 - pow(beta2, step))) + epsilon;
  snprintf(text, sizeof text, "rule: adam\nbeta1: %.17g\nlearning_rate: 1\n", beta1);
  PetscCall(SpectrumRuleLimit(text, &s->adam_limit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* P = sqrt(v_hat) + epsilon of the run's last step. */
static PetscErrorCode ReadPreconditioner(SpectrumSession *s)
{
  CourantResult file;
  double *moments;

  PetscFunctionBeginUser;
  if (!s->run[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantResultOpen(s->run, &file));
  PetscCall(PetscMalloc1(s->problem->net->size, &moments));
  PetscCall(ReadMoments(s, file, moments));
  PetscCall(CourantResultDestroy(&file));
  PetscCall(CourantProblemCreateVec(s->problem, &s->P));
  PetscCall(CourantProblemPut(moments, s->P));
  PetscCall(PetscFree(moments));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- set-up ---- */

/* The operator, in either precision. */
static PetscErrorCode CreateOne(SpectrumSession *s, PetscBool single, Mat *A)
{
  Mat J;

  PetscFunctionBeginUser;
  if (s->kind == NTK) {
    PetscCall(CourantProblemCreateJacobian(s->problem, &J));
    PetscCall(CourantJacobianSetWeighted(J, s->weighted));
    PetscCall(CourantJacobianSetSingle(J, single));
    PetscCall(CourantJacobianCreateKernel(J, A));
    if (single)
      PetscCall(MatDestroy(&J));
    else
      s->J = J;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall((s->kind == GAUSS_NEWTON ? CourantProblemCreateGaussNewton
                                     : CourantProblemCreateHessian)(s->problem, A));
  PetscCall(CourantHessianSetSingle(*A, single));
  if (s->kind == PRECONDITIONED) PetscCall(CourantHessianSetWeightDecay(*A, s->train.weight_decay));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateOperator(SpectrumSession *s)
{
  PetscFunctionBeginUser;
  PetscCall(CreateOne(s, PETSC_FALSE, &s->A));
  if (s->single) PetscCall(CreateOne(s, PETSC_TRUE, &s->fast));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The solver takes an operator, which may have fewer rows than eigenvalues are wanted if it is a layer's. */
static PetscErrorCode UseOperator(SpectrumSession *s, Mat A, Mat fast)
{
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(MatGetSize(A, &n, NULL));
  PetscCall(CourantSpectrumSetOperator(s->spectrum, A));
  PetscCall(CourantSpectrumSetFastOperator(s->spectrum, fast));
  PetscCall(CourantSpectrumSetPreconditioner(s->spectrum, s->P));
  if (s->kind != LAYER_BLOCKS && PetscMax(s->largest, s->smallest) > n)
    CourantInputError(s->problem->comm, "-nev %d: the operator has the dimension %d",
                      (int)PetscMax(s->largest, s->smallest), (int)n);
  PetscCall(CourantSpectrumSetCounts(s->spectrum, PetscMin(n, s->largest), PetscMin(n, s->smallest)));
  if (!isnan(s->above)) PetscCall(CourantSpectrumSetThreshold(s->spectrum, s->above));
  PetscCall(CourantSpectrumSetFromOptions(s->spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ShowProgress(PetscReal fraction, void *ctx)
{
  PetscFunctionBeginUser;
  CourantProgressUpdate((CourantProgress *)ctx, fraction);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateSolvers(SpectrumSession *s)
{
  const CourantProblem problem = s->problem;
  const char *prefix = SpectrumOperators[s->kind].prefix;

  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumCreate(problem->comm, &s->spectrum));
  if (prefix) PetscCall(CourantSpectrumSetOptionsPrefix(s->spectrum, prefix));
  PetscCall(
      CourantSpectrumSetMemory(s->spectrum, PetscMax(1, problem->memory - CourantProblemMemory(problem))));
  PetscCall(CourantSpectrumSetProgress(s->spectrum, ShowProgress, &s->progress));
  PetscCall(UseOperator(s, s->A, s->fast));
  if (s->kind != LAYER_BLOCKS) PetscCall(CourantSpectrumSetUp(s->spectrum));
  if (s->linearise != EQUILIBRIUM) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantEquilibriumCreate(problem, &s->equilibrium));
  PetscCall(CourantEquilibriumSetFromOptions(s->equilibrium));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenTraining(SpectrumSession *s)
{
  PetscFunctionBeginUser;
  if (s->linearise != TRAINED) PetscFunctionReturn(PETSC_SUCCESS);
  if (s->train.seeds.n)
    CourantNodeError(s->train.node, "-linearise trained: an ensemble ends in many states; expected one run");
  PetscCall(CourantRunCreate(s->problem, &s->train, PETSC_FALSE, &s->training));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -density, -above and -sgd. */
static PetscErrorCode OpenReports(SpectrumSession *s)
{
  PetscFunctionBeginUser;
  if (s->kind != LAYER_BLOCKS && s->kind != PRECONDITIONED)
    PetscCall(CourantDensityOpen(s->A, s->problem->memory, &s->density));
  PetscCall(SpectrumOpenCount(s));
  if (!s->mini_batches) PetscFunctionReturn(PETSC_SUCCESS);
  if (s->train.batch <= 0)
    CourantNodeError(s->train.node, "-sgd: the deck's batches are full; -set train.batch=n");
  PetscCall(CourantSgdOpen(s->problem, &s->train, &s->sgd));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(void *ctx, CourantDeck deck)
{
  SpectrumSession *s = (SpectrumSession *)ctx;

  PetscFunctionBeginUser;
  PetscCall(ReadOptions(s));
  PetscCall(CourantProblemCreate(PETSC_COMM_WORLD, deck, &s->problem));
  PetscCall(CourantProblemSetFromOptions(s->problem));
  PetscCall(CourantTrainRead(s->problem->top.train, &s->train));
  PetscCall(CourantOutputOpen(&s->problem->model, "spectrum", &s->output));
  if (s->output.resume) CourantInputError(PETSC_COMM_WORLD, "-resume: courant spectrum starts anew");
  PetscCall(CourantProblemSetUp(s->problem));
  PetscCall(SpectrumReadDirection(s));
  PetscCall(ReadPreconditioner(s));
  PetscCall(CreateOperator(s));
  PetscCall(CourantProblemCreateVec(s->problem, &s->theta));
  PetscCall(VecDuplicate(s->theta, &s->gradient));
  PetscCall(CreateSolvers(s));
  PetscCall(OpenTraining(s));
  const CourantNet net = s->problem->net;
  PetscCall(PetscMalloc1(net->nlayers, &s->layers));
  for (PetscInt l = 0; l < net->nlayers; l++)
    if (net->layers[l].size) s->layers[s->nlayers++] = l;
  PetscCall(OpenReports(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAgain(void *ctx)
{
  SpectrumSession *s = (SpectrumSession *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumDestroy(&s->spectrum)); /* PETSc shows an object's options once */
  PetscCall(CourantEquilibriumDestroy(&s->equilibrium));
  PetscCall(CreateSolvers(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- work ---- */

/* All steps of the deck's training. */
static PetscErrorCode TakeSteps(SpectrumSession *s, CourantRunState *state)
{
  CourantRun *run = &s->training;
  CourantRunRecord record;

  PetscFunctionBeginUser;
  while (state->step < run->steps && !state->diverged) {
    PetscCall(CourantInterruptCheckTogether(s->problem->comm));
    PetscCall(CourantRunStep(run, state, &record));
    CourantProgressUpdate(&s->progress, (double)state->step);
  }
  CourantRunGet(run, state->theta, run->weights);
  PetscCheck(!state->diverged && !CourantRunIsLost(run, state, run->weights), s->problem->comm,
             PETSC_ERR_NOT_CONVERGED, "no trained state: the run diverged after step %d", (int)state->step);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The weights that courant train ends with. */
static PetscErrorCode Train(SpectrumSession *s)
{
  CourantRunState state;

  PetscFunctionBeginUser;
  PetscCall(CourantRunStateCreate(&s->training, &state));
  PetscCall(CourantRunStart(&s->training, &s->problem->weights, s->train.seed, s->train.perturb, &state));
  CourantProgressBegin(&s->progress, "training", 0, (double)s->training.steps, s->output.quiet);
  const PetscErrorCode code = TakeSteps(s, &state);
  CourantProgressEnd(&s->progress);
  PetscCall(code);
  PetscCall(CourantProblemPut(s->training.weights, s->theta));
  PetscCall(CourantRunStateDestroy(&state));
  PetscCall(CourantRunDestroy(&s->training));
  s->training = (CourantRun){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The weights that the operator is at. */
static PetscErrorCode FindState(SpectrumSession *s)
{
  PetscBool found;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemGetInitialState(s->problem, s->theta));
  if (s->linearise == ZERO) PetscCall(VecZeroEntries(s->theta));
  if (s->run[0]) {
    PetscCall(CourantWeightsLoad(s->problem->net, s->problem->top.weights, s->run, s->problem->theta));
    PetscCall(CourantProblemPut(s->problem->theta, s->theta));
  }
  if (s->linearise == TRAINED) PetscCall(Train(s));
  if (s->linearise != EQUILIBRIUM) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantEquilibriumDescend(s->equilibrium, s->train.weight_decay, s->theta, &found));
  PetscCheck(found, s->problem->comm, PETSC_ERR_NOT_CONVERGED,
             "no equilibrium at weight decay %g was found from the deck's weights", s->train.weight_decay);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintHeader(const SpectrumSession *s)
{
  static const char *const states[STATES] = {"the initial weights", "zero weights", "an equilibrium",
                                             "trained weights"};
  const OperatorText *text = &SpectrumOperators[s->kind];
  const CourantEvaluator trainer = s->training.evaluator;

  PetscFunctionBeginUser;
  if (s->output.quiet || s->output.rank) PetscFunctionReturn(PETSC_SUCCESS);
  printf("spectrum of %s: %s%s at %s\n", s->problem->model.name, text->title,
         s->weighted ? ", weighted by the loss," : "",
         s->run[0] ? "the weights of the run" : states[s->linearise]);
  PetscCall(CourantSessionPrintModel(s->problem, &s->output,
                                     CourantProblemMemory(s->problem) +
                                         (trainer ? CourantEvaluatorMemory(trainer) : 0)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Squares of a vector of weights, layer by layer, over their sum. The vector is shared among the ranks. */
static PetscErrorCode FindLayerWeights(SpectrumSession *s, Vec v, double weights[])
{
  const PetscScalar *array;
  PetscInt first, last;
  double sum = 0;

  PetscFunctionBeginUser;
  PetscCall(VecGetOwnershipRange(v, &first, &last));
  PetscCall(VecGetArrayRead(v, &array));
  for (PetscInt l = 0; l < s->nlayers; l++) {
    const CourantLayer *layer = &s->problem->net->layers[s->layers[l]];
    const PetscInt end = PetscMin(last, layer->offset + layer->size);
    weights[l] = 0;
    for (PetscInt i = PetscMax(first, layer->offset); i < end; i++)
      weights[l] += array[i - first] * array[i - first];
  }
  PetscCall(VecRestoreArrayRead(v, &array));
  PetscCallMPI(
      MPI_Allreduce(MPI_IN_PLACE, weights, (PetscMPIInt)s->nlayers, MPI_DOUBLE, MPI_SUM, s->problem->comm));
  for (PetscInt l = 0; l < s->nlayers; l++) sum += weights[l];
  for (PetscInt l = 0; l < s->nlayers; l++) weights[l] /= sum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of an eigenvector the layers it lives in: J^T u is that of the kernel's u, a block's is in one layer. */
static PetscErrorCode FillLayerWeights(SpectrumSession *s, PetscInt i, Mat A, SpectrumRow *row)
{
  Vec v, w;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(s->nlayers, &row->weights));
  for (PetscInt l = 0; l < s->nlayers; l++)
    row->weights[l] = row->layer < 0 || isnan(row->value.value) ? NAN : row->layer == l;
  if (row->layer >= 0 || isnan(row->value.value)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(MatCreateVecs(A, NULL, &v));
  PetscCall(CourantSpectrumGetVector(s->spectrum, row->side, i, v));
  if (s->J) { /* where its product is noise there is no vector of weights */
    PetscCall(VecDuplicate(s->theta, &w));
    PetscCall(MatMultTranspose(s->J, v, w));
    if (row->value.value > 10 * row->value.residual + 1e-12 * s->norm)
      PetscCall(FindLayerWeights(s, w, row->weights));
    PetscCall(VecDestroy(&w));
  } else
    PetscCall(FindLayerWeights(s, v, row->weights));
  PetscCall(VecDestroy(&v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddRow(SpectrumSession *s, const CourantEigenvalue *value, CourantSide side,
                             PetscInt layer, PetscInt i, Mat A)
{
  /* H + alpha D has the eigenvalues lambda + alpha only if all weights decay */
  const PetscBool shifted = s->problem->decays_all || s->train.weight_decay == 0 ? PETSC_TRUE : PETSC_FALSE;
  SpectrumRow *row;

  PetscFunctionBeginUser;
  if (s->n == s->capacity) {
    s->capacity = PetscMax(16, 2 * s->capacity);
    PetscCall(PetscRealloc(sizeof *s->rows * (size_t)s->capacity, &s->rows));
  }
  row = &s->rows[s->n++];
  *row = (SpectrumRow){.value = *value, .side = side, .layer = layer, .decayed = NAN};
  if (s->kind == PRECONDITIONED)
    row->decayed = value->value;
  else if (shifted)
    row->decayed = value->value + s->train.weight_decay;
  PetscCall(FillLayerWeights(s, i, A, row));
  if (value->status != COURANT_CONVERGED) s->output.unconverged++;
  s->worst = fmax(s->worst, value->residual / s->norm);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Both ends of one operator; layer: whose block it is, or -1. */
static PetscErrorCode SolveOperator(SpectrumSession *s, Mat A, PetscInt layer)
{
  const CourantEigenvalue *values;
  const PetscInt before = s->n;
  PetscReal missed;
  PetscInt n, products, certificate;

  PetscFunctionBeginUser;
  CourantProgressBegin(&s->progress,
                       layer < 0 ? "eigenvalues" : s->problem->net->layers[s->layers[layer]].name, 0, 1,
                       s->output.quiet);
  PetscCall(CourantSpectrumSolve(s->spectrum));
  CourantProgressEnd(&s->progress);
  PetscCall(CourantSpectrumGetNorm(s->spectrum, &s->norm));
  PetscCall(CourantSpectrumGetProducts(s->spectrum, &products, &certificate));
  s->products += (double)products;
  s->certificate += (double)certificate;
  for (int side = 0; side < 2; side++) {
    PetscCall(CourantSpectrumGetMissed(s->spectrum, (CourantSide)side, &missed));
    if (side == COURANT_LARGEST) s->missed = fmax(s->missed, missed);
    PetscCall(CourantSpectrumGetEigenvalues(s->spectrum, (CourantSide)side, &n, &values));
    for (PetscInt i = 0; i < n; i++) PetscCall(AddRow(s, &values[i], (CourantSide)side, layer, i, A));
  }
  PetscCall(SpectrumCountAbove(s, A, s->n - before));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveBlock(SpectrumSession *s, PetscInt l)
{
  const char *name = s->problem->net->layers[s->layers[l]].name;
  Mat block, fast = NULL;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemCreateLayerBlock(s->problem, name, &block));
  if (s->fast) {
    PetscCall(CourantProblemCreateLayerBlock(s->problem, name, &fast));
    PetscCall(CourantHessianSetSingle(fast, PETSC_TRUE));
  }
  PetscCall(UseOperator(s, block, fast));
  PetscCall(SolveOperator(s, block, l));
  PetscCall(MatDestroy(&fast));
  PetscCall(MatDestroy(&block));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Solve(SpectrumSession *s)
{
  PetscFunctionBeginUser;
  PetscCall(PetscLogStagePush(CourantLogging.spectrum));
  if (s->kind == LAYER_BLOCKS) {
    for (PetscInt l = 0; l < s->nlayers; l++) PetscCall(SolveBlock(s, l));
  } else
    PetscCall(SolveOperator(s, s->A, -1));
  PetscCall(PetscLogStagePop());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What follows from eigenvalues that are known: the density of all, and the limits of mini-batches. */
static PetscErrorCode Report(SpectrumSession *s)
{
  const PetscReal alpha = s->kind == HESSIAN && s->problem->decays_all ? s->train.weight_decay : 0;
  CourantDensityFacts facts = {.shift = alpha, .lowest = s->kind == HESSIAN ? NAN : 0, .threshold = s->above};

  PetscFunctionBeginUser;
  if (isnan(s->above)) facts.threshold = 2 / s->train.learning_rate - alpha;
  for (PetscInt i = 0; i < s->n; i++)
    if (s->kind == HESSIAN && s->rows[i].side == COURANT_SMALLEST)
      facts.lowest = fmin(facts.lowest, s->rows[i].value.value - s->rows[i].value.residual);
  PetscCall(CourantReportDensity(s->density, &facts, &s->output));
  PetscCall(SpectrumCountByDensity(s));
  if (s->mini_batches) PetscCall(CourantReportSgd(s->sgd, s->problem, s->theta, &s->train, &s->output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0. */
static PetscErrorCode Finish(SpectrumSession *s)
{
  PetscFunctionBeginUser;
  PetscCall(SpectrumWrite(s));
  PetscCall(CourantOutputFinish(&s->output));
  PetscCall(SpectrumPrint(s));
  CourantOutputView(&s->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Work(void *ctx)
{
  SpectrumSession *s = (SpectrumSession *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemVerifyReference(s->problem));
  CourantCallOnRankZero(s->problem->comm, s->output.rank,
                        CourantOutputCreate(&s->output, &s->problem->model, "spectrum"));
  PetscCall(PrintHeader(s));
  PetscCall(FindState(s));
  PetscCall(CourantProblemSetState(s->problem, s->theta, &s->loss, s->gradient));
  PetscCall(VecNorm(s->gradient, NORM_2, &s->gradient_norm));
  PetscCheck(isfinite(s->loss) && isfinite(s->gradient_norm), s->problem->comm, PETSC_ERR_NOT_CONVERGED,
             "no spectrum at these weights: the loss is %.3g, the norm of its gradient %.3g", s->loss,
             s->gradient_norm);
  if (s->direction) PetscCall(SpectrumDifferentiate(s));
  PetscCall(Solve(s));
  PetscCall(Report(s));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, Finish(s));
  PetscCheck(!s->output.unconverged, s->problem->comm, PETSC_ERR_NOT_CONVERGED,
             "%d result%s did not converge; flagged in the result file", s->output.unconverged,
             s->output.unconverged > 1 ? "s" : "");
  PetscCheck(isnan(s->above) || s->missed < 1, s->problem->comm, PETSC_ERR_NOT_CONVERGED,
             "whether there are more above %g could not be told", s->above);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TearDown(void *ctx)
{
  SpectrumSession *s = (SpectrumSession *)ctx;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < s->n; i++) PetscCall(PetscFree(s->rows[i].weights));
  PetscCall(PetscFree(s->rows));
  PetscCall(PetscFree(s->layers));
  PetscCall(PetscFree(s->direction));
  PetscCall(CourantSpectrumDestroy(&s->spectrum));
  PetscCall(CourantEquilibriumDestroy(&s->equilibrium));
  if (s->training.problem) PetscCall(CourantRunDestroy(&s->training));
  PetscCall(PetscFree(s->counts));
  PetscCall(CourantDensityDestroy(&s->density));
  PetscCall(CourantDensityDestroy(&s->counter));
  PetscCall(CourantSgdDestroy(&s->sgd));
  PetscCall(MatDestroy(&s->A));
  PetscCall(MatDestroy(&s->fast));
  PetscCall(MatDestroy(&s->J));
  PetscCall(VecDestroy(&s->theta));
  PetscCall(VecDestroy(&s->gradient));
  PetscCall(VecDestroy(&s->P));
  PetscCall(CourantOutputClose(&s->output));
  PetscCall(CourantProblemDestroy(&s->problem));
  PetscCall(CourantTrainReset(&s->train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the command ---- */

extern const CourantCommandOps CourantCommand_spectrum;

static PetscErrorCode Run(const char *model)
{
  static const CourantSessionOps ops = {
      &CourantCommand_spectrum, sizeof(SpectrumSession), SetUp, ReadAgain, Work, TearDown};

  PetscFunctionBeginUser;
  PetscCall(CourantSessionRun(&ops, NULL, model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const CourantOption options[] = {
    {"-operator", "NAME", "hessian (default), gauss_newton, ntk, layer_blocks or preconditioned"},
    {"-which", "END", "both (default), largest or smallest"},
    {"-nev", "N", "eigenvalues of each end (default: 1)"},
    {"-above", "X", "all eigenvalues above X, such as 2 / learning rate, in place of a number"},
    {"-linearise", "STATE",
     "init (default): the deck's weights, such as weights: {init: file, file: FILE}; zero; equilibrium at "
     "the "
     "deck's weight decay; trained: by its train section first"},
    {"-precision", "NAME",
     "single: iterates with products in single precision; residuals are double all the same"},
    {"-weighted", NULL,
     "with -operator ntk: weighs the outputs by the loss, as the Gauss-Newton matrix does"},
    {"-preconditioner", "FILE", "with -operator preconditioned: result of courant train with rule adam"},
    {"-direction", "FILE", "HDF5 file with a dataset 'direction', one number a weight: derivatives along it"},
    COURANT_DENSITY_OPTIONS,
    {"-sgd", NULL, "the learning rates that gradient descent bears on the deck's mini-batches"},
    COURANT_SGD_OPTIONS,
    COURANT_MODEL_OPTIONS,
    COURANT_OUTPUT_OPTIONS,
    {0},
};

const CourantCommandOps CourantCommand_spectrum = {
    .name = "spectrum",
    .argument = "MODEL",
    .summary = "eigenvalues of Hessian, Gauss-Newton, tangent kernel, layers, with residual bounds",
    .description =
        "Computes eigenvalues at the ends of a spectrum at the deck's weights or others (-linearise), each\n"
        "with its residual in double precision, how many agree with it, the layers its vector lives in, and\n"
        "the learning rates that gradient descent, momentum and Nesterov bear along it.\n"
        "A second solve, deflated against what was found, says how probable it is that one was missed.\n"
        "hessian: of L. gauss_newton: J^T B J. ntk: J J^T, J the Jacobian of the outputs over the root of\n"
        "the number of samples; for the squared loss, and with -weighted for any, what is not 0 of its\n"
        "spectrum is Gauss-Newton's. layer_blocks: of the Hessian, layer by layer. preconditioned: (H +\n"
        "alpha D) x = nu P x with Adam's P at the end of a run. With -direction it writes gradient, Hessian\n"
        "and Gauss-Newton products and the third and fourth derivatives along a direction of your own.",
    .options = options,
    .solvers =
        "  -hessian_max_eps_...  -hessian_min_eps_...   the ends of the spectrum of hessian, layer_blocks,\n"
        "                                               preconditioned; -gn_eps_... of gauss_newton,\n"
        "                                               -ntk_eps_... of ntk; -eps_... sets all\n"
        "  -equilibrium_tao_...                         the descent to an equilibrium; -tao_... too\n",
    .Run = Run,
};
