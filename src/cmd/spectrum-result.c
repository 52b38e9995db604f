/* What courant spectrum found, as a file and as a table. */
#include "cmd/spectrum.h"
#include <math.h>
#include <string.h>

#define INDEX "/spectrum/index"
#define LAYER "/spectrum/layer"
#define RULE  "/spectrum/rule"

enum {
  VALUE,
  RESIDUAL,
  MISSED,
  LAYER_WEIGHT,
  LIMIT,
  MULTIPLICITY,
  PRODUCTS,
  CERTIFICATE,
  BLOCK,
  STATUS,
  SIDE,
  ENTRIES
};

static const CourantResultEntry entries[ENTRIES] = {
    [VALUE] = {"/spectrum/eigenvalue", COURANT_RESULT_REAL, {INDEX}, "eigenvalue", "1"},
    [RESIDUAL] = {"/spectrum/residual",
                  COURANT_RESULT_REAL,
                  {INDEX},
                  "residual in double precision: an eigenvalue lies within this distance",
                  "1"},
    [MISSED] = {"/spectrum/missed_probability",
                COURANT_RESULT_REAL,
                {INDEX},
                "probability that one farther out by 1 % of the spectrum's length was missed",
                "1"},
    [LAYER_WEIGHT] = {"/spectrum/eigenvector_layer_weight",
                      COURANT_RESULT_REAL,
                      {INDEX, LAYER},
                      "part of the eigenvector in each layer",
                      "1",
                      NULL,
                      "sum of its squares over the layer's weights, of 1 over all"},
    [LIMIT] = {"/spectrum/learning_rate_limit",
               COURANT_RESULT_REAL,
               {RULE, INDEX},
               "learning rate below which the rule is stable along the eigenvector",
               "1"},
    [MULTIPLICITY] =
        {"/spectrum/multiplicity", COURANT_RESULT_INT, {INDEX}, "eigenvalues that agree with it", "1"},
    [PRODUCTS] = {"/spectrum/products",
                  COURANT_RESULT_INT,
                  {INDEX},
                  "operator applications of the search that found it",
                  "1"},
    [CERTIFICATE] = {"/spectrum/certificate_products",
                     COURANT_RESULT_INT,
                     {INDEX},
                     "and those of the certificate that nothing was missed",
                     "1"},
    [BLOCK] = {"/spectrum/block", COURANT_RESULT_INT, {INDEX}, "the layer whose block it is of", "1"},
    [STATUS] =
        {"/spectrum/status", COURANT_RESULT_ENUM, {INDEX}, "how the solver ended", "1", COURANT_STATUS_NAMES},
    [SIDE] = {"/spectrum/side", COURANT_RESULT_ENUM, {INDEX}, "end of the spectrum", "1", "largest smallest"},
};

/* ---- the rules whose limits are told ---- */

enum { RULES = 3 };

typedef struct {
  int n;
  const char *names[RULES];
  double limits[RULES]; /* of learning rate times eigenvalue */
} Rules;

/* SpectrumRuleLimit - What a rule bears of learning rate times eigenvalue, from its section of a deck. */
PetscErrorCode SpectrumRuleLimit(const char text[], double *limit)
{
  CourantTrainSettings settings = {0};
  CourantDeck deck;

  PetscFunctionBeginUser;
  PetscCall(CourantDeckParse(PETSC_COMM_SELF, text, NULL, &deck));
  PetscCall(CourantTrainRead(CourantDeckRoot(deck), &settings));
  *limit = CourantRule(settings.rule)->Limit(settings.options);
  PetscCall(CourantTrainReset(&settings));
  PetscCall(CourantDeckDestroy(&deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Gradient descent, heavy ball and Nesterov with the deck's momentum, or 0.9; of a preconditioned operator
 * Adam. */
static PetscErrorCode FindRules(const SpectrumSession *s, Rules *rules, double *momentum)
{
  const CourantNode node = CourantNodeChild(s->problem->top.train, "momentum");
  char text[128];

  PetscFunctionBeginUser;
  *momentum = 0.9;
  if (node.id) PetscCall(CourantNodeReal(node, 0, 1, momentum));
  if (s->kind == PRECONDITIONED) {
    *rules = (Rules){1, {"adam"}, {s->adam_limit}};
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  *rules = (Rules){RULES, {"gd", "momentum", "nesterov"}, {0}};
  for (int i = 0; i < RULES; i++) {
    snprintf(text, sizeof text,
             i ? "rule: momentum\nmomentum: %.17g\nnesterov: %s\nlearning_rate: 1\n"
               : "rule: gd\nlearning_rate: 1\n",
             *momentum, i == 2 ? "true" : "false");
    PetscCall(SpectrumRuleLimit(text, &rules->limits[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the file ---- */

/* The scales of layers and rules, with their names. */
static PetscErrorCode WriteScales(SpectrumSession *s, const Rules *rules)
{
  const CourantResult file = s->output.file;
  const char **names;

  PetscFunctionBeginUser;
  PetscCall(
      CourantResultAddCount(file, INDEX, (int)s->n, 0, "number of the eigenvalue, outermost first", "1"));
  PetscCall(CourantResultAddCount(file, LAYER, (int)s->nlayers, 0,
                                  "layer with weights, in the network's order", "1"));
  PetscCall(PetscMalloc1(s->nlayers, &names));
  for (PetscInt i = 0; i < s->nlayers; i++) names[i] = s->problem->net->layers[s->layers[i]].name;
  PetscCall(CourantResultAddStrings(file, "/spectrum/layer_name", LAYER, (int)s->nlayers, names,
                                    "name of the layer, as in parameter names"));
  PetscCall(PetscFree(names));
  if (!rules->n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantResultAddCount(file, RULE, rules->n, 0, "update rule", "1"));
  PetscCall(
      CourantResultAddStrings(file, "/spectrum/rule_name", RULE, rules->n, rules->names, "name of the rule"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteAttributes(SpectrumSession *s, double momentum)
{
  const OperatorText *text = &SpectrumOperators[s->kind];
  const CourantResult file = s->output.file;

  PetscFunctionBeginUser;
  PetscCall(CourantResultSetString(file, "/", "precision", s->single ? "single" : "double"));
  PetscCall(CourantResultSetString(file, "/spectrum", "operator", text->name));
  PetscCall(CourantResultSetString(file, "/spectrum", "operator_formula", text->formula));
  PetscCall(CourantResultSetString(file, "/spectrum", "linearise",
                                   s->run[0] ? "weights of the run" : SpectrumStates[s->linearise]));
  PetscCall(CourantResultSetReal(file, "/spectrum", "loss", s->loss));
  PetscCall(CourantResultSetReal(file, "/spectrum", "gradient_norm", s->gradient_norm));
  PetscCall(CourantResultSetReal(file, "/spectrum", "norm", s->norm));
  PetscCall(CourantResultSetReal(file, "/spectrum", "weight_decay", s->train.weight_decay));
  if (text->limits && s->kind != PRECONDITIONED)
    PetscCall(CourantResultSetReal(file, "/spectrum", "momentum", momentum));
  if (s->kind == NTK) PetscCall(CourantResultSetInt(file, "/spectrum", "weighted", s->weighted));
  if (isnan(s->above)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantResultSetReal(file, "/spectrum", "above", s->above));
  PetscCall(CourantResultSetReal(file, "/spectrum", "above_missed_probability", s->missed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The datasets' arrays, in the order of the entries. */
static PetscErrorCode WriteRows(SpectrumSession *s, const Rules *rules)
{
  const size_t n = (size_t)s->n, layers = (size_t)s->nlayers;
  double *real[MULTIPLICITY];
  int *integer[STATUS - MULTIPLICITY];
  uint8_t *byte[ENTRIES - STATUS];

  PetscFunctionBeginUser;
  for (int i = 0; i < MULTIPLICITY; i++)
    PetscCall(PetscMalloc1(n * (i == LAYER_WEIGHT ? layers : i == LIMIT ? RULES : 1) + 1, &real[i]));
  for (int i = 0; i < STATUS - MULTIPLICITY; i++) PetscCall(PetscMalloc1(n + 1, &integer[i]));
  for (int i = 0; i < ENTRIES - STATUS; i++) PetscCall(PetscMalloc1(n + 1, &byte[i]));
  for (size_t i = 0; i < n; i++) {
    const SpectrumRow *row = &s->rows[i];
    real[VALUE][i] = row->value.value;
    real[RESIDUAL][i] = row->value.residual;
    real[MISSED][i] = row->value.missed;
    memcpy(real[LAYER_WEIGHT] + i * layers, row->weights, sizeof(double) * layers);
    for (int r = 0; r < rules->n; r++)
      real[LIMIT][(size_t)r * n + i] = row->decayed > 0 ? rules->limits[r] / row->decayed : NAN;
    integer[0][i] = (int)row->value.multiplicity;
    integer[1][i] = (int)row->value.products;
    integer[2][i] = (int)row->value.certificate;
    integer[3][i] = (int)row->layer;
    byte[0][i] = row->value.status == COURANT_CONVERGED ? 0 : 1;
    byte[1][i] = (uint8_t)row->side;
  }
  for (int i = 0; i < ENTRIES; i++) {
    if ((i == LIMIT && !rules->n) || (i == BLOCK && s->kind != LAYER_BLOCKS)) continue;
    const void *values = i < MULTIPLICITY ? (const void *)real[i]
                         : i < STATUS     ? (const void *)integer[i - MULTIPLICITY]
                                          : (const void *)byte[i - STATUS];
    PetscCall(CourantResultAddValues(s->output.file, &entries[i], values));
  }
  for (int i = 0; i < MULTIPLICITY; i++) PetscCall(PetscFree(real[i]));
  for (int i = 0; i < STATUS - MULTIPLICITY; i++) PetscCall(PetscFree(integer[i]));
  for (int i = 0; i < ENTRIES - STATUS; i++) PetscCall(PetscFree(byte[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* SpectrumWrite - The group /spectrum of the result file. On rank 0. */
PetscErrorCode SpectrumWrite(SpectrumSession *s)
{
  Rules rules = {0};
  double momentum = 0;

  PetscFunctionBeginUser;
  if (SpectrumOperators[s->kind].limits) PetscCall(FindRules(s, &rules, &momentum));
  PetscCall(WriteScales(s, &rules));
  PetscCall(WriteRows(s, &rules));
  PetscCall(SpectrumWriteCounts(s, LAYER));
  PetscCall(WriteAttributes(s, momentum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the table ---- */

/* The layer that most of a vector is in, and how much. */
static void FormatLayer(const SpectrumSession *s, const SpectrumRow *row, char text[], size_t size)
{
  PetscInt most = 0;

  for (PetscInt l = 1; l < s->nlayers; l++)
    if (row->weights[l] > row->weights[most]) most = l;
  const CourantLayer *layer = &s->problem->net->layers[s->layers[most]];
  if (isfinite(row->weights[most]))
    snprintf(text, size, "%s (%.0f %%)", layer->name, 100 * row->weights[most]);
  else
    snprintf(text, size, "-");
}

static void PrintRow(const SpectrumSession *s, const SpectrumRow *row, PetscInt number)
{
  static const char *const sides[] = {"largest", "smallest"};
  char layer[128];

  FormatLayer(s, row, layer, sizeof layer);
  printf("%-8s %4d  %19.12g +- %.1e  %5d   %s%s\n", sides[row->side], (int)number, row->value.value,
         row->value.residual, (int)row->value.multiplicity, layer,
         row->value.status == COURANT_CONVERGED ? "" : "  not converged");
}

enum { SHOWN = 20 }; /* rows of an end that are printed */

/* Numbered from the outermost of each end, of each block. */
static void PrintRows(const SpectrumSession *s)
{
  PetscInt number = 0;

  printf("%-8s %4s  %19s %10s  %5s   %s\n", "end", "", "eigenvalue", "", "times",
         "layer with most of its vector");
  for (PetscInt i = 0; i < s->n; i++) {
    const SpectrumRow *row = &s->rows[i], *next = i + 1 < s->n ? row + 1 : NULL;
    if (s->kind == LAYER_BLOCKS && (i == 0 || row->layer != row[-1].layer))
      printf("block of layer %s\n", s->problem->net->layers[s->layers[row->layer]].name);
    if (++number <= SHOWN) PrintRow(s, row, number);
    if (next && next->side == row->side && next->layer == row->layer) continue;
    if (number > SHOWN) printf("%13s  and %d more, in the file\n", "", (int)(number - SHOWN));
    number = 0;
  }
}

/* SpectrumPrint - What was found, as a table. On rank 0. */
PetscErrorCode SpectrumPrint(const SpectrumSession *s)
{
  double missed = 0;
  Rules rules;
  double momentum = 0;

  PetscFunctionBeginUser;
  if (s->output.quiet) PetscFunctionReturn(PETSC_SUCCESS);
  printf("loss %.10g, |gradient| %.6g\n", s->loss, s->gradient_norm);
  if (s->n) PrintRows(s);
  for (PetscInt i = 0; i < s->n; i++) missed = fmax(missed, s->rows[i].value.missed);
  if (!isnan(s->above)) printf("%d above %.9g", (int)s->n, s->above);
  if (!isnan(s->above) && s->missed > 0) printf("; there are more with a probability below %.1g", s->missed);
  if (!isnan(s->above)) printf("\n");
  SpectrumPrintCounts(s);
  printf("%.0f products, and %.0f to see that nothing was missed\n", s->products, s->certificate);
  if (s->single)
    printf(
        "products in single precision leave residuals up to %.0e |A|; these and the values are by double\n",
        s->worst);
  if (s->n && missed > 0)
    printf("one farther out by 1 %% of the spectrum's length was missed with a probability below %.1g\n",
           missed);
  if (!SpectrumOperators[s->kind].limits || !s->n || s->rows[0].side != COURANT_LARGEST ||
      s->kind == LAYER_BLOCKS)
    PetscFunctionReturn(PETSC_SUCCESS);
  if (s->rows[0].value.status != COURANT_CONVERGED || !(s->rows[0].decayed > 0))
    PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FindRules(s, &rules, &momentum));
  printf("along the largest, with weight decay %g, stable below the learning rate", s->train.weight_decay);
  for (int r = 0; r < rules.n; r++)
    printf("%s %.9g (%s)", r ? "," : "", rules.limits[r] / s->rows[0].decayed, rules.names[r]);
  printf("\n");
  PetscFunctionReturn(PETSC_SUCCESS);
}
