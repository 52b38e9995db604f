/* A one-layer network's symbol, the bounds that follow, and the exact operator beside them. */
#include "cmd/symbol-onelayer.h"
#include "core/progress.h"
#include <math.h>

/* ---- the operator ---- */

/* Both ends of the Hessian at hand, its eigenvectors as kernels. */
static PetscErrorCode SolveEnds(OneLayerAnalysis *a, int which)
{
  CourantSymbolSession *s = a->session;
  Vec vectors[ENDS];

  PetscFunctionBeginUser;
  PetscCall(CourantProblemSetState(s->problem, s->theta, NULL, NULL));
  PetscCall(CourantSpectrumSolve(s->spectrum));
  PetscCall(CourantSpectrumGetExtremes(s->spectrum, &a->extremes[which][TOP], &a->extremes[which][BOTTOM]));
  PetscCall(CourantSpectrumGetNorm(s->spectrum, &a->norm[which]));
  PetscCall(CourantSpectrumGetTopVector(s->spectrum, &vectors[TOP]));
  PetscCall(CourantSpectrumGetBottomVector(s->spectrum, &vectors[BOTTOM]));
  for (int e = 0; e < ENDS; e++) {
    PetscCall(PetscMalloc1(s->problem->net->size, &a->kernels[which][e]));
    PetscCall(CourantProblemGetAll(s->problem, vectors[e], a->kernels[which][e]));
    if (a->extremes[which][e].status != COURANT_CONVERGED) s->output.unconverged++;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Hessian products of both operators, if no solve restarts: a look at the norm, two solves an end, LAPACK's
 * matrix. */
static double ExpectedProducts(const CourantSymbolSession *s, PetscInt dense)
{
  const double solve = (double)PetscMin(s->problem->net->size, 48) + 1;
  return 2 * (12 + 4 * solve + (double)dense);
}

/* Exact and frozen in turn; the problem is as before then. */
static PetscErrorCode SolveBoth(OneLayerAnalysis *a)
{
  const CourantSymbolSession *s = a->session;

  PetscFunctionBeginUser;
  PetscCall(SolveEnds(a, EXACT - FROZEN));
  PetscCall(CourantProblemFreezeLoss(s->problem, s->theta));
  PetscCall(SolveEnds(a, 0));
  PetscCall(CourantProblemThawLoss(s->problem));
  PetscCall(CourantProblemSetState(s->problem, s->theta, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveOperators(OneLayerAnalysis *a)
{
  const CourantProblem problem = a->session->problem;
  CourantProgress progress;
  PetscInt dense;

  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumGetDenseSize(a->session->spectrum, &dense));
  CourantProgressBegin(&progress, "operator", 0, ExpectedProducts(a->session, dense),
                       a->session->output.quiet);
  problem->heard = CourantProgressAdvance;
  problem->heard_ctx = &progress;
  const PetscErrorCode code = SolveBoth(a);
  problem->heard = NULL;
  CourantProgressEnd(&progress);
  PetscFunctionReturn(code);
}

/* OneLayerIsActive - Does anything at this end go unstable: overshoot at the top, grow by itself at the
 * bottom? */
PetscBool OneLayerIsActive(int end, double value, double error)
{
  return (end == TOP ? value : -value) > error ? PETSC_TRUE : PETSC_FALSE;
}

/* Kernels with their largest entry positive; NaN where the end is no mode of its own. */
static void NormaliseKernels(OneLayerAnalysis *a)
{
  const PetscInt p = a->session->problem->net->size;

  for (int which = 0; which < 2; which++)
    for (int e = 0; e < ENDS; e++) {
      double *kernel = a->kernels[which][e], largest = 0;
      const double error = a->extremes[which][e].residual + 1e-9 * a->norm[which];
      for (PetscInt i = 0; i < p; i++)
        if (fabs(kernel[i]) > fabs(largest) * (1 + 1e-6)) largest = kernel[i];
      const double sign = !OneLayerIsActive(e, a->extremes[which][e].value, error) ? NAN
                          : largest < 0                                            ? -1
                                                                                   : 1;
      for (PetscInt i = 0; i < p; i++) kernel[i] *= sign;
    }
}

/* ---- what follows ---- */

static void FillNumbers(OneLayerAnalysis *a)
{
  const CourantSymbolSession *s = a->session;
  const CourantSymbolBounds *b = &a->bounds;
  const CourantSymbolPeak *const bounds[2][ENDS] = {{&b->upper, &b->lower},
                                                    {&b->upper_circulant, &b->lower_circulant}};

  for (int k = 0; k < SOURCES; k++) {
    Number *n = a->numbers[k];
    for (int e = 0; e < ENDS; e++) {
      const CourantExtreme *extreme = k < FROZEN ? NULL : &a->extremes[k - FROZEN][e];
      n[LAMBDA_MAX + e] =
          extreme ? (Number){extreme->value, extreme->residual}
                  : (Number){bounds[k][e]->value + (e == TOP ? b->rank_one : 0), bounds[k][e]->error};
    }
    const double m = s->train.weight_decay + n[LAMBDA_MAX].value;
    n[ALPHA_MIN] = n[LAMBDA_MIN].value < -n[LAMBDA_MIN].error
                       ? (Number){-n[LAMBDA_MIN].value, n[LAMBDA_MIN].error}
                       : (Number){0, n[LAMBDA_MIN].error};
    n[ALPHA_MAX] = (Number){s->reach / s->train.learning_rate - n[LAMBDA_MAX].value, n[LAMBDA_MAX].error};
    n[LIMIT] = (Number){s->reach / m, s->reach / m * n[LAMBDA_MAX].error / m};
    if (m <= 0 || !isfinite(s->reach)) n[LIMIT] = (Number){INFINITY, 0};
  }
  a->end = b->upper.value >= -b->lower.value ? TOP : BOTTOM;
  const double exact = a->extremes[0][a->end].value;
  for (int k = 0; k < 2; k++)
    a->slack[k] = OneLayerIsActive(a->end, exact, 1e-9 * a->norm[0]) ? bounds[k][a->end]->value / exact : NAN;
}

/* A bound that an eigenvalue passes by more than both errors is no bound. */
static PetscErrorCode CheckBounds(const OneLayerAnalysis *a)
{
  const CourantSymbolBounds *b = &a->bounds;

  PetscFunctionBeginUser;
  for (int which = 0; which < 2; which++) {
    const double rounding = 1e-10 * (a->norm[which] + b->rank_one),
                 upper = fmin(b->upper.value, b->upper_circulant.value) + (which ? b->rank_one : 0),
                 lower = fmax(b->lower.value, b->lower_circulant.value);
    const CourantExtreme *top = &a->extremes[which][TOP], *bottom = &a->extremes[which][BOTTOM];
    PetscCheck(!(top->value - top->residual > upper + b->upper.error + rounding ||
                 bottom->value + bottom->residual < lower - b->lower.error - rounding),
               a->session->problem->comm, PETSC_ERR_NOT_CONVERGED,
               "eigenvalues from %.12g to %.12g are outside the symbol's bounds, %.12g to %.12g",
               bottom->value, top->value, lower, upper);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- functions of frequency ---- */

/* |R| of a time stepper at n real points z. */
static PetscErrorCode AmplifyByStepper(CourantStepper stepper, PetscInt n, const PetscReal z[],
                                       double growth[])
{
  PetscComplex *points;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &points));
  for (PetscInt i = 0; i < n; i++) points[i] = z[i];
  PetscCall(CourantStepperComputeGrowth(stepper, n, points, growth));
  PetscCall(PetscFree(points));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Amplify(OneLayerAnalysis *a)
{
  const CourantSymbolSession *s = a->session;
  const PetscInt n = (PetscInt)a->size[0] * a->size[1];
  const double *symbol = a->functions + COURANT_SYMBOL_MEAN * n;
  double *growth = a->functions + AMPLIFICATION * n;
  PetscReal *z;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &z));
  for (PetscInt i = 0; i < n; i++) {
    const double m = symbol[i] + s->train.weight_decay;
    z[i] = -s->train.learning_rate * m;
    if (!s->by_ts) growth[i] = s->rule->Growth(s->train.options, s->train.learning_rate, m);
  }
  if (s->by_ts) PetscCall(AmplifyByStepper(s->stepper, n, z, growth));
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The functions on the coarse grid of frequencies, y from -pi up, x from 0 to pi. */
static PetscErrorCode FillFunctions(OneLayerAnalysis *a)
{
  const CourantSymbol symbol = a->symbol;
  const int h = symbol->grid[0] / symbol->stride, w = symbol->grid[1] / symbol->stride,
            columns = symbol->grid[1] / 2 + 1;

  PetscFunctionBeginUser;
  a->size[0] = h;
  a->size[1] = w / 2 + 1;
  PetscCall(PetscMalloc2(h + a->size[1], &a->frequencies, FUNCTIONS * h * a->size[1], &a->functions));
  for (int y = 0; y < h; y++) a->frequencies[y] = 2 * M_PI * (y - (h - 1) / 2) / h;
  for (int x = 0; x < a->size[1]; x++) a->frequencies[h + x] = 2 * M_PI * x / w;
  for (int k = 0; k < COURANT_SYMBOLS; k++)
    for (int y = 0; y < h; y++)
      for (int x = 0; x < a->size[1]; x++) {
        const int row = (y - (h - 1) / 2 + h) % h * symbol->stride;
        a->functions[(k * h + y) * a->size[1] + x] =
            CourantSymbolValues(symbol, (CourantSymbolKind)k)[row * columns + x * symbol->stride];
      }
  PetscCall(Amplify(a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the command's part ---- */

/* CourantSymbolSetUpOneLayer - Makes the symbol, or says why there is none; before any long work. */
PetscErrorCode CourantSymbolSetUpOneLayer(CourantSymbolSession *s)
{
  PetscFunctionBeginUser;
  if (!s->rule->Growth)
    CourantNodeError(s->train.node, "a one-layer symbol needs a rule with an amplification factor, not %s",
                     s->rule->name);
  if (s->train.decoupled && s->rule->Rest)
    CourantNodeError(s->train.node, "a one-layer symbol is of coupled weight decay so far");
  if (s->train.layer_rates.id)
    CourantNodeError(s->train.layer_rates, "a one-layer symbol is of one learning rate so far");
  PetscCall(CourantSymbolCreate(s->problem, &s->symbol));
  s->symbol->quiet = s->output.quiet;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSymbolOneLayer - Symbol, bounds and operators of a one-layer network, written and printed.
 * Collective.
 */
PetscErrorCode CourantSymbolOneLayer(CourantSymbolSession *s)
{
  OneLayerAnalysis a = {.session = s, .symbol = s->symbol};

  PetscFunctionBeginUser;
  PetscCall(CourantSymbolCompute(s->symbol, s->theta));
  PetscCall(CourantSymbolGetBounds(s->symbol, &a.bounds));
  PetscCall(SolveOperators(&a));
  NormaliseKernels(&a);
  FillNumbers(&a);
  PetscCall(FillFunctions(&a));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, OneLayerReport(&a));
  PetscCall(CheckBounds(&a));
  PetscCall(PetscFree2(a.frequencies, a.functions));
  for (int which = 0; which < 2; which++)
    for (int e = 0; e < ENDS; e++) PetscCall(PetscFree(a.kernels[which][e]));
  PetscFunctionReturn(PETSC_SUCCESS);
}
