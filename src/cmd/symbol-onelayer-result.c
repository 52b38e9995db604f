/* What courant symbol finds of a one-layer network, as a file and as a table. */
#include "cmd/symbol-onelayer.h"
#include <math.h>

#define LENGTH(array) ((int)PETSC_STATIC_ARRAY_LENGTH(array))

/* What is known of the spectrum of the Hessian, from four sides. */
static const struct {
  const char *suffix, *title, *formula[ENDS];
} sources[SOURCES] = {
    [BOUND] = {"bound", "symbol", {"sup_w symbol_upper + rank_one", "inf_w symbol_lower"}},
    [CIRCULANT] = {"bound_circulant",
                   "symbol, periodic",
                   {"max_w symbol_upper + rank_one, w on the grid of the datasets",
                    "min_w symbol_lower, w on the grid of the datasets"}},
    [FROZEN] = {"operator_frozen",
                "operator, s frozen",
                {"largest eigenvalue of mean_i (s - y) weight P^T diag(r'') P on the kernel's window",
                 "its smallest eigenvalue"}},
    [EXACT] = {"operator",
               "operator, exact",
               {"largest eigenvalue of the Hessian, the frozen operator + mean_i s (1-s) g g^T",
                "its smallest eigenvalue"}},
};

static const struct {
  const char *name, *long_name, *formula;
} quantities[QUANTITIES] = {
    [LAMBDA_MAX] = {"lambda_max", "largest eigenvalue of the Hessian, or a bound of it", NULL},
    [LAMBDA_MIN] = {"lambda_min", "smallest eigenvalue of the Hessian, or a bound of it", NULL},
    [ALPHA_MIN] = {"alpha_min", "weight decay above which the linearised flow decays", "max(0, -lambda_min)"},
    [ALPHA_MAX] = {"alpha_max", "weight decay below which no mode overshoots at the learning rate",
                   "reach / learning_rate - lambda_max"},
    [LIMIT] = {"limit", "learning rate below which no mode overshoots at the weight decay",
               "reach / (weight_decay + lambda_max)"},
};

#define FREQUENCY_Y "/symbol/frequency_y"
#define FREQUENCY_X "/symbol/frequency_x"
#define END         "/symbol/end"
#define KERNEL_Y    "/symbol/kernel_y"
#define KERNEL_X    "/symbol/kernel_x"
#define PER_FREQUENCY                                                                                        \
  {                                                                                                          \
    FREQUENCY_Y, FREQUENCY_X                                                                                 \
  }
#define PER_PIXEL                                                                                            \
  {                                                                                                          \
    END, KERNEL_Y, KERNEL_X                                                                                  \
  }

static const CourantResultEntry functions[FUNCTIONS] = {
    [COURANT_SYMBOL_POWER] = {"/symbol/power", COURANT_RESULT_REAL, PER_FREQUENCY, "mean power of the images",
                              "1", .formula = "weight mean_i |I_i^(w)|^2"},
    [COURANT_SYMBOL_MEAN] = {"/symbol/symbol", COURANT_RESULT_REAL, PER_FREQUENCY,
                             "symbol of the Hessian with s frozen, coefficients averaged over the pixels",
                             "1", .formula = "weight mean_i mean_z((s_i - y_i) r''(u_i(z))) |I_i^(w)|^2"},
    [COURANT_SYMBOL_UPPER] = {"/symbol/symbol_upper", COURANT_RESULT_REAL, PER_FREQUENCY,
                              "symbol that bounds the Hessian with s frozen from above", "1",
                              .formula = "weight mean_i max_z((s_i - y_i) r''(u_i(z))) |I_i^(w)|^2, negative "
                                         "coefficients taken for 0 unless complete"},
    [COURANT_SYMBOL_LOWER] = {"/symbol/symbol_lower", COURANT_RESULT_REAL, PER_FREQUENCY,
                              "symbol that bounds the Hessian with s frozen from below", "1",
                              .formula = "weight mean_i min_z((s_i - y_i) r''(u_i(z))) |I_i^(w)|^2, positive "
                                         "coefficients taken for 0 unless complete"},
    [AMPLIFICATION] = {"/symbol/amplification", COURANT_RESULT_REAL, PER_FREQUENCY,
                       "amplification factor of a step", "1",
                       .formula =
                           "|R(-learning_rate (symbol + weight_decay))|; gradient descent: R(z) = 1 + z"},
};

/* Per end: the symbol's largest value and its smallest. */
enum { EXTREME, AT_Y, AT_X, WAVELENGTH, PEAK_FIELDS };

static const CourantResultEntry peaks[PEAK_FIELDS] = {
    [EXTREME] = {"/symbol/extreme", COURANT_RESULT_REAL, {END}, "extreme value of the symbol", "1"},
    [AT_Y] = {"/symbol/first_unstable_frequency_y",
              COURANT_RESULT_REAL,
              {END},
              "frequency that goes unstable first at this end, vertical; NaN where none does",
              "radian / pixel"},
    [AT_X] = {"/symbol/first_unstable_frequency_x",
              COURANT_RESULT_REAL,
              {END},
              "frequency that goes unstable first at this end, horizontal; NaN where none does",
              "radian / pixel"},
    [WAVELENGTH] = {"/symbol/first_unstable_wavelength",
                    COURANT_RESULT_REAL,
                    {END},
                    "its wavelength",
                    "pixel",
                    .formula = "2 pi / |w|"},
};

/* Of the frozen operator and of the exact one. */
static const CourantResultEntry kernels[2] = {
    {"/symbol/first_unstable_kernel_frozen", COURANT_RESULT_REAL, PER_PIXEL,
     "kernel that goes unstable first at this end with s frozen, a unit eigenvector; NaN where none does",
     "1"},
    {"/symbol/first_unstable_kernel", COURANT_RESULT_REAL, PER_PIXEL,
     "kernel that goes unstable first at this end, a unit eigenvector of the Hessian; NaN where none does",
     "1"},
};

/* ---- the window ---- */

/* Weight decays that are stable at the learning rate, alpha_min to alpha_max. */
typedef enum { WINDOW_OPEN, WINDOW_EMPTY, WINDOW_UNKNOWN } Window;

static Window WindowOf(const OneLayerAnalysis *a, int source)
{
  const Number low = a->numbers[source][ALPHA_MIN], high = a->numbers[source][ALPHA_MAX];
  if (!(fabs(high.value - low.value) > low.error + high.error)) return WINDOW_UNKNOWN;
  return low.value < high.value ? WINDOW_OPEN : WINDOW_EMPTY;
}

/* ---- the result file ---- */

static PetscErrorCode WriteFunctions(const OneLayerAnalysis *a)
{
  const CourantResult file = a->session->output.file;
  PetscBool one_step;

  PetscFunctionBeginUser;
  PetscCall(CourantResultAddScale(file, FREQUENCY_Y, a->size[0], a->frequencies, "vertical frequency",
                                  "radian / pixel"));
  PetscCall(CourantResultAddScale(file, FREQUENCY_X, a->size[1], a->frequencies + a->size[0],
                                  "horizontal frequency; the symbol is even, f(-w) = f(w)",
                                  "radian / pixel"));
  for (int k = 0; k < FUNCTIONS; k++)
    PetscCall(CourantResultAddValues(file, &functions[k], a->functions + k * a->size[0] * a->size[1]));
  PetscCall(CourantStepperGetType(a->session->stepper, NULL, &one_step));
  if (!one_step)
    PetscCall(CourantResultSetString(file, functions[AMPLIFICATION].path, "certainty",
                                     "asymptotic: growth over steps 100 to 200"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WritePeaks(const OneLayerAnalysis *a)
{
  const CourantResult file = a->session->output.file;
  const CourantSymbolPeak *const ends[ENDS] = {&a->bounds.highest, &a->bounds.lowest};
  const PetscInt p = a->session->problem->net->size;
  double values[PEAK_FIELDS][ENDS], *kernel;

  PetscFunctionBeginUser;
  PetscCall(CourantResultAddCount(file, END, ENDS, 0,
                                  "0 the first to overshoot, 1 the first to grow by itself", "1"));
  PetscCall(
      CourantResultAddCount(file, KERNEL_Y, (int)a->symbol->kernel[0], 0, "row of the kernel", "pixel"));
  PetscCall(
      CourantResultAddCount(file, KERNEL_X, (int)a->symbol->kernel[1], 0, "column of the kernel", "pixel"));
  for (int e = 0; e < ENDS; e++) {
    const PetscBool active = OneLayerIsActive(e, ends[e]->value, ends[e]->error);
    values[EXTREME][e] = ends[e]->value;
    for (int i = 0; i < 2; i++) values[AT_Y + i][e] = active ? ends[e]->frequency[i] : NAN;
    values[WAVELENGTH][e] = 2 * M_PI / hypot(values[AT_Y][e], values[AT_X][e]);
  }
  for (int i = 0; i < PEAK_FIELDS; i++) PetscCall(CourantResultAddValues(file, &peaks[i], values[i]));
  PetscCall(PetscMalloc1(ENDS * p, &kernel));
  for (int which = 0; which < 2; which++) {
    for (int e = 0; e < ENDS; e++) PetscCall(PetscArraycpy(kernel + e * p, a->kernels[which][e], p));
    PetscCall(CourantResultAddValues(file, &kernels[which], kernel));
  }
  PetscCall(PetscFree(kernel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteScalar(const OneLayerAnalysis *a, const char path[], const char long_name[],
                                  const char formula[], Number number)
{
  const CourantResultEntry entry = {path, COURANT_RESULT_REAL, {NULL}, long_name, "1", .formula = formula};

  PetscFunctionBeginUser;
  PetscCall(CourantResultAddValues(a->session->output.file, &entry, &number.value));
  PetscCall(CourantResultSetReal(a->session->output.file, path, "error", number.error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* lambda_max_bound .. limit_operator, with errors; eigenvalues with what else is known of them. */
static PetscErrorCode WriteNumbers(const OneLayerAnalysis *a)
{
  const CourantResult file = a->session->output.file;
  char path[64];

  PetscFunctionBeginUser;
  for (int k = 0; k < SOURCES; k++)
    for (int q = 0; q < QUANTITIES; q++) {
      const char *formula = quantities[q].formula ? quantities[q].formula : sources[k].formula[q];
      snprintf(path, sizeof path, "/symbol/%s_%s", quantities[q].name, sources[k].suffix);
      PetscCall(WriteScalar(a, path, quantities[q].long_name, formula, a->numbers[k][q]));
      if (k < FROZEN || q > LAMBDA_MIN) continue;
      const CourantExtreme *extreme = &a->extremes[k - FROZEN][q];
      PetscCall(CourantResultSetInt(file, path, "multiplicity", (int)extreme->multiplicity));
      PetscCall(CourantResultSetReal(file, path, "missed_probability", extreme->missed));
      PetscCall(CourantResultSetString(file, path, "status",
                                       extreme->status == COURANT_CONVERGED ? "converged" : "not_converged"));
    }
  const double exact = a->extremes[0][a->end].value;
  const Number slack[2] = {{a->slack[0], fabs(a->slack[0] * a->extremes[0][a->end].residual / exact)},
                           {a->slack[1], fabs(a->slack[1] * a->extremes[0][a->end].residual / exact)}};
  PetscCall(WriteScalar(a, "/symbol/slack", "extreme of the symbol over that of the operator with s frozen",
                        a->end == TOP ? "sup symbol_upper / lambda_max_operator_frozen"
                                      : "inf symbol_lower / lambda_min_operator_frozen",
                        slack[0]));
  PetscCall(WriteScalar(a, "/symbol/slack_circulant", "the same on the grid of the datasets",
                        a->end == TOP ? "max symbol_upper / lambda_max_operator_frozen"
                                      : "min symbol_lower / lambda_min_operator_frozen",
                        slack[1]));
  PetscCall(WriteScalar(a, "/symbol/rank_one", "bound of the Hessian's rank-one parts",
                        "mean_i s_i (1 - s_i) |g_i|^2",
                        (Number){a->bounds.rank_one, 1e-15 * a->bounds.rank_one}));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Normalisation(const OneLayerAnalysis *a, char text[128])
{
  const CourantShape out = a->session->problem->net->layers[0].out;
  snprintf(text, 128, a->symbol->mean ? "mean: 1/M of the %d x %d outputs" : "sum over the %d x %d outputs",
           (int)out.h, (int)out.w);
}

static PetscErrorCode WriteAll(const OneLayerAnalysis *a)
{
  static const char *const windows[] = {"open", "empty", "unknown"};
  const CourantResult file = a->session->output.file;
  char text[128];

  PetscFunctionBeginUser;
  PetscCall(WriteFunctions(a));
  PetscCall(WritePeaks(a));
  PetscCall(WriteNumbers(a));
  Normalisation(a, text);
  PetscCall(CourantResultSetString(file, "/symbol", "normalisation", text));
  PetscCall(CourantResultSetReal(file, "/symbol", "weight", a->symbol->weight));
  PetscCall(CourantResultSetString(file, "/symbol", "frequencies",
                                   a->symbol->circular ? "grid of the periodic image"
                                                       : "zero-padded image, datasets on the grid of size "
                                                         "image + kernel - 1, bounds over continuous w"));
  PetscCall(CourantResultSetInt(file, "/symbol", "complete", a->symbol->complete));
  PetscCall(CourantResultSetString(file, "/symbol", "bound_window", windows[WindowOf(a, BOUND)]));
  PetscCall(CourantResultSetString(file, "/symbol", "operator_window", windows[WindowOf(a, EXACT)]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the terminal ---- */

/* |symbol|, the largest of each cell, a character for a factor of sqrt(10). */
static void Draw(const OneLayerAnalysis *a)
{
  enum { WIDTH = 49, HEIGHT = 13 };
  static const char shades[] = " .:-=+*#%@";
  const int width = PetscMin(WIDTH, a->size[1]), height = PetscMin(HEIGHT, a->size[0]);
  const double *symbol = a->functions + COURANT_SYMBOL_MEAN * a->size[0] * a->size[1];
  double highest = 0, cells[HEIGHT][WIDTH] = {{0}};

  for (int y = 0; y < a->size[0]; y++)
    for (int x = 0; x < a->size[1]; x++) {
      double *cell = &cells[y * height / a->size[0]][x * width / a->size[1]];
      *cell = fmax(*cell, fabs(symbol[y * a->size[1] + x]));
      highest = fmax(highest, *cell);
    }
  if (highest == 0) return;
  printf("\n|symbol| over frequency, @ from %.3g to %.3g, each shade below a factor of 3.16\n",
         highest / sqrt(10), highest);
  for (int y = height - 1; y >= 0; y--) {
    printf("%6s |", y == height - 1 ? "pi" : y == 0 ? "-pi" : y == height / 2 ? "w_y 0" : "");
    for (int x = 0; x < width; x++) {
      const double level = 9 + floor(2 * log10(cells[y][x] / highest) + 1 - 1e-9);
      putchar(shades[level > 0 ? (int)fmin(level, 9) : 0]);
    }
    printf("\n");
  }
  printf("%6s +", "");
  for (int x = 0; x < width; x++) putchar('-');
  printf("\n%6s  0%*s\n", "", PetscMax(1, width - 1), "w_x pi");
}

static void PrintPeaks(const OneLayerAnalysis *a)
{
  static const char *const what[ENDS] = {"overshoots first as the learning rate grows",
                                         "grows by itself first as the weight decay falls"};
  const CourantSymbolPeak *const ends[ENDS] = {&a->bounds.highest, &a->bounds.lowest};
  char text[128];

  Normalisation(a, text);
  printf("normalisation %s; rank-one part at most %.6g\n", text, a->bounds.rank_one);
  for (int e = 0; e < ENDS; e++) {
    const double *w = ends[e]->frequency, size = hypot(w[0], w[1]);
    if (!OneLayerIsActive(e, ends[e]->value, ends[e]->error)) continue;
    printf("%s symbol %.9g at w = (%.4f, %.4f)", e == TOP ? "largest" : "smallest", ends[e]->value, w[0],
           w[1]);
    if (size > 0)
      printf(", wavelength %.4g pixels: it %s\n", 2 * M_PI / size, what[e]);
    else
      printf(", the constant: it %s\n", what[e]);
  }
}

static void PrintNumber(Number n)
{
  char value[32], error[32];

  snprintf(value, sizeof value, isnan(n.value) ? "-" : isinf(n.value) ? "none" : "%.9g", n.value);
  snprintf(error, sizeof error, isfinite(n.value) ? "%.1e" : "-", n.error);
  printf(" %16s %8s", value, error);
}

static void PrintWindow(const OneLayerAnalysis *a, int source)
{
  const Number *n = a->numbers[source];
  const Window window = WindowOf(a, source);

  if (window != WINDOW_OPEN)
    printf("  %s\n", window == WINDOW_EMPTY ? "none" : "cannot tell");
  else if (isfinite(n[ALPHA_MAX].value))
    printf("  %.6g to %.6g\n", n[ALPHA_MIN].value, n[ALPHA_MAX].value);
  else
    printf("  above %.6g\n", n[ALPHA_MIN].value);
}

static void PrintNumbers(const OneLayerAnalysis *a)
{
  const CourantSymbolSession *s = a->session;

  printf("\n%-20s %16s %8s %16s %8s  %s\n", "", "least decay", "+-", "largest rate", "+-", "decays that are");
  printf("%-20s %16s %8s %10s%6.4g %8s  stable at rate %g\n", "", "alpha_min", "", "at decay ",
         s->train.weight_decay, "", s->train.learning_rate);
  for (int k = 0; k < SOURCES; k++) {
    printf("%-20s", sources[k].title);
    PrintNumber(a->numbers[k][ALPHA_MIN]);
    PrintNumber(a->numbers[k][LIMIT]);
    PrintWindow(a, k);
  }
  for (int which = 0; which < 2; which++)
    for (int e = 0; e < ENDS; e++)
      if (a->extremes[which][e].status != COURANT_CONVERGED)
        printf("%s eigenvalue of the %s operator: not converged\n", e == TOP ? "largest" : "smallest",
               which ? "exact" : "frozen");
}

static void PrintVerdicts(const OneLayerAnalysis *a)
{
  const CourantSymbolSession *s = a->session;
  const Number *exact = a->numbers[EXACT];

  if (isfinite(a->slack[0]))
    printf("slack %.6g (periodic %.6g): the symbol reaches so many times farther than the operator\n",
           a->slack[0], a->slack[1]);
  if (WindowOf(a, BOUND) == WINDOW_EMPTY && WindowOf(a, EXACT) == WINDOW_OPEN)
    printf("at learning rate %g the bound leaves no weight decay, yet the operator is stable from %.6g to "
           "%.6g\n",
           s->train.learning_rate, exact[ALPHA_MIN].value, exact[ALPHA_MAX].value);
  if (!CourantNetIsSmooth(s->problem->net))
    printf("the activation has kinks: r'' is 0 where it exists, and the symbol knows nothing of them\n");
  if (s->train.weight_decay < exact[ALPHA_MIN].value - exact[ALPHA_MIN].error)
    printf("at weight decay %g the linearised flow itself grows: no learning rate is stable\n",
           s->train.weight_decay);
  else if (s->train.learning_rate > exact[LIMIT].value + exact[LIMIT].error)
    printf("learning rate %g is past the operator's limit\n", s->train.learning_rate);
}

/* OneLayerReport - The group /symbol of the result file, and what it says. On rank 0. */
PetscErrorCode OneLayerReport(const OneLayerAnalysis *a)
{
  PetscFunctionBeginUser;
  PetscCall(WriteAll(a));
  if (a->session->output.quiet) PetscFunctionReturn(PETSC_SUCCESS);
  Draw(a);
  PrintPeaks(a);
  PrintNumbers(a);
  PrintVerdicts(a);
  PetscFunctionReturn(PETSC_SUCCESS);
}
