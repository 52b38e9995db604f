#include "train/settings.h"
#include "core/suggest.h"
#include <math.h>
#include <string.h>

const CourantKey CourantTrainKeys[] = {
    {"rule", COURANT_KEY_NODE, offsetof(CourantTrainSettings, node), "",
     .help = "how a step is made from a gradient (default gd)"},
    {"batch", COURANT_KEY_INT_OR_CHOICE, offsetof(CourantTrainSettings, batch), "full", 1, 1e9,
     .choices = "full", .help = "samples of a step, drawn without repetition within an epoch"},
    {"learning_rate", COURANT_KEY_REAL, offsetof(CourantTrainSettings, learning_rate), "0.1", 0, INFINITY,
     .help = "time step of the gradient flow"},
    {"weight_decay", COURANT_KEY_REAL, offsetof(CourantTrainSettings, weight_decay), "0", 0, INFINITY,
     .help = "factor of |theta|^2 / 2 in the objective"},
    {"decoupled", COURANT_KEY_BOOL, offsetof(CourantTrainSettings, decoupled), "false",
     .help = "weight decay acts beside the rule, not through its gradient"},
    {"steps", COURANT_KEY_INT, offsetof(CourantTrainSettings, steps), "", 1, INFINITY,
     .help = "steps of a run (default 1000, unless there are epochs)"},
    {"epochs", COURANT_KEY_INT, offsetof(CourantTrainSettings, epochs), "", 1, INFINITY,
     .help = "times that a run sees every sample, in place of steps"},
    {"schedule", COURANT_KEY_NODE, offsetof(CourantTrainSettings, schedule_node), "",
     .help = "constant | cosine | {step: ..} | {warmup: n, then: ..}, in epochs if there are epochs, else in "
             "steps"},
    {"precision", COURANT_KEY_CHOICE, offsetof(CourantTrainSettings, precision), "double",
     .choices = "double|single", .help = "of weights, gradients and steps"},
    {"perturb", COURANT_KEY_REAL, offsetof(CourantTrainSettings, perturb), "1", 1e-30, 1e30,
     .help = "k of theta - (k eta) (d / k), the same step but for its rounding"},
    {"seed", COURANT_KEY_SEED, offsetof(CourantTrainSettings, seed), "0", 0, 9e15,
     .help = "of batches and augmentation"},
    {"sharpness_every", COURANT_KEY_INT, offsetof(CourantTrainSettings, sharpness_every), "0", 0, INFINITY,
     .help = "steps between two values of the Hessian's largest eigenvalue; 0: none"},
    {"ensemble", COURANT_KEY_NODE, offsetof(CourantTrainSettings, ensemble), "",
     .help = "seeds x perturbations, in place of one run"},
    {"checkpoint_every", COURANT_KEY_INT, offsetof(CourantTrainSettings, checkpoint_every), "0", 0, INFINITY,
     .help = "steps between two writes of the .partial file; 0: by the clock"},
    {"layer_rates", COURANT_KEY_NODE, offsetof(CourantTrainSettings, layer_rates), "",
     .help = "{NAME: factor, ..}: factors on the learning rate of parameters; 0 freezes one"},
    {0},
};

const CourantKey CourantEnsembleKeys[] = {
    {"seeds", COURANT_KEY_REALS, offsetof(CourantTrainSettings, seeds), NULL, 0, 9e15,
     .help = "of batches and augmentation; the initial weights are the same"},
    {"perturb", COURANT_KEY_REALS, offsetof(CourantTrainSettings, perturbs), "", 1e-30, 1e30,
     .help = "values of k, the first of which the others are compared with (default [1])"},
    {0},
};

enum { CONSTANT, COSINE, STEP, WARMUP };
static const char *const kinds[] = {"constant", "cosine", "step", "warmup"};

const CourantKey CourantStepScheduleKeys[] = {
    {"at", COURANT_KEY_REALS, offsetof(CourantSchedule, at), NULL, 0, INFINITY,
     .help = "times at which the rate changes"},
    {"factor", COURANT_KEY_REAL, offsetof(CourantSchedule, factor), NULL, 0, INFINITY,
     .help = "what it is multiplied by at each of them"},
    {0},
};

typedef struct {
  double warmup;
  CourantNode then;
} Warmup;

const CourantKey CourantWarmupKeys[] = {
    {"warmup", COURANT_KEY_REAL, offsetof(Warmup, warmup), NULL, 0, INFINITY,
     .help = "time of a linear rise from 0"},
    {"then", COURANT_KEY_NODE, offsetof(Warmup, then), "",
     .help = "the schedule from there on (default constant)"},
    {0},
};

static PetscErrorCode ReadSchedule(CourantNode node, CourantSchedule *schedule)
{
  static const CourantKey none[] = {{0}};
  CourantNode options;
  Warmup warmup = {0};

  PetscFunctionBeginUser;
  if (CourantNodeChild(node, "warmup").id) {
    PetscCall(CourantNodeRead(node, 1, (CourantTable[]){{CourantWarmupKeys, &warmup}}));
    schedule->warmup = warmup.warmup;
    if (!warmup.then.id) PetscFunctionReturn(PETSC_SUCCESS);
    if (CourantNodeChild(warmup.then, "warmup").id) CourantNodeError(warmup.then, "one warmup is enough");
    node = warmup.then;
  }
  PetscCall(
      CourantNodeEntry(node, "schedule", PETSC_STATIC_ARRAY_LENGTH(kinds), kinds, &schedule->kind, &options));
  if (schedule->kind == WARMUP) CourantNodeError(node, "expected {warmup: n, then: ..}");
  PetscCall(CourantNodeRead(
      options, 1, (CourantTable[]){{schedule->kind == STEP ? CourantStepScheduleKeys : none, schedule}}));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantScheduleFactor - What the learning rate is multiplied by at a time of a run.

  time: of the step; resolution: the length of a step; end: of the run; all in epochs, or in steps.
*/
double CourantScheduleFactor(const CourantSchedule *s, double time, double resolution, double end)
{
  double factor = 1;

  if (time < s->warmup) return fmin(1, (time + resolution) / s->warmup);
  if (s->kind == COSINE) return 0.5 * (1 + cos(M_PI * (time - s->warmup) / (end - s->warmup)));
  for (PetscInt i = 0; s->kind == STEP && i < s->at.n; i++)
    if (time >= s->at.values[i] - 1e-9 * resolution) factor *= s->factor;
  return factor;
}

static PetscErrorCode ReadEnsemble(CourantNode node, CourantTrainSettings *settings)
{
  static const char *const own[] = {"seed", "perturb"};
  const CourantReals *seeds = &settings->seeds;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(own); i++) {
    const CourantNode beside = CourantNodeChild(settings->node, own[i]);
    if (beside.id) CourantNodeError(beside, "the ensemble beside it has its own: leave one out");
  }
  PetscCall(CourantNodeRead(node, 1, (CourantTable[]){{CourantEnsembleKeys, settings}}));
  if (settings->perturbs.n == 0) {
    PetscCall(PetscFree(settings->perturbs.values));
    PetscCall(PetscMalloc1(1, &settings->perturbs.values));
    settings->perturbs.values[settings->perturbs.n++] = 1;
  }
  if (settings->sharpness_every)
    CourantNodeError(node, "the sharpness is that of one run: leave out sharpness_every or the ensemble");
  if (seeds->n == 0) CourantNodeError(node, "expected at least one seed");
  for (PetscInt i = 0; i < seeds->n; i++) {
    const CourantNode seed = CourantNodeItem(CourantNodeChild(node, "seeds"), i);
    if (seeds->values[i] != rint(seeds->values[i]))
      CourantNodeError(seed, "expected an integer, not %g", seeds->values[i]);
    for (PetscInt j = 0; j < i; j++)
      if (seeds->values[i] == seeds->values[j])
        CourantNodeError(seed, "the seed %.0f is there twice", seeds->values[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantTrainRead - The `train` section of a deck; absent, the defaults. */
PetscErrorCode CourantTrainRead(CourantNode train, CourantTrainSettings *settings)
{
  PetscFunctionBeginUser;
  PetscCall(CourantNodeSelect(train, "rule", "gd", CourantRuleCount, CourantRuleNames(), &settings->rule));
  const CourantRuleOps *rule = CourantRule(settings->rule);
  PetscCall(PetscCalloc(PetscMax(rule->options_size, 1), &settings->options));
  PetscCall(CourantNodeRead(train, 2,
                            (CourantTable[]){{CourantTrainKeys, settings}, {rule->keys, settings->options}}));
  if (settings->steps && settings->epochs)
    CourantNodeError(train, "expected either steps or epochs, not both");
  if (!settings->steps && !settings->epochs) settings->steps = 1000;
  settings->node = train;
  if (settings->schedule_node.id) PetscCall(ReadSchedule(settings->schedule_node, &settings->schedule));
  if (settings->ensemble.id) PetscCall(ReadEnsemble(settings->ensemble, settings));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool *FindNesterov(const CourantRuleOps *rule, void *options)
{
  for (const CourantKey *k = rule->keys; k->name; k++)
    if (!strcmp(k->name, "nesterov")) return (PetscBool *)((char *)options + k->offset);
  return NULL;
}

/*
  CourantTrainSetRule - Another rule than the deck's: gd, momentum (heavy ball), nesterov or adam.

  Options of the rule that the deck has for it stay, others take their defaults.
*/
PetscErrorCode CourantTrainSetRule(CourantTrainSettings *settings, const char name[])
{
  static const char *const choices[] = {"gd", "momentum", "nesterov", "adam"};
  enum { NESTEROV = 2 };
  PetscInt choice, n = PETSC_STATIC_ARRAY_LENGTH(choices);
  CourantSuggestion suggestion;
  char phrase[160];
  PetscBool found;
  int rule = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscEListFind(n, choices, name, &choice, &found));
  if (!found) {
    CourantSuggestBegin(&suggestion, name);
    for (PetscInt i = 0; i < n; i++) CourantSuggestOffer(&suggestion, choices[i]);
    CourantSuggestPhrase(&suggestion, phrase, sizeof phrase);
    CourantInputError(PETSC_COMM_WORLD, "-rule %s: unknown rule%s", name,
                      phrase[0] ? phrase : "; expected one of gd, momentum, nesterov, adam");
  }
  const char *wanted = choices[choice == NESTEROV ? 1 : choice];
  while (strcmp(CourantRule(rule)->name, wanted)) rule++;
  const CourantRuleOps *ops = CourantRule(rule);
  if (rule != settings->rule) {
    PetscCall(PetscFree(settings->options));
    PetscCall(PetscCalloc(PetscMax(ops->options_size, 1), &settings->options));
    PetscCall(CourantNodeRead((CourantNode){0}, 1, (CourantTable[]){{ops->keys, settings->options}}));
    settings->rule = rule;
  }
  PetscBool *nesterov = FindNesterov(ops, settings->options);
  if (nesterov) *nesterov = choice == NESTEROV ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantTrainReset(CourantTrainSettings *settings)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(settings->options));
  PetscCall(PetscFree(settings->schedule.at.values));
  PetscCall(PetscFree(settings->seeds.values));
  PetscCall(PetscFree(settings->perturbs.values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The parameters [first, first + n) of a name: a tensor's, or those of a layer. */
static PetscBool Covers(const CourantLayer *layer, const CourantParameter *p, const char *name)
{
  char full[160];
  snprintf(full, sizeof full, "%s.%s", layer->name, p->name);
  const size_t n = strlen(name);
  return !strcmp(full, name) || (!strncmp(full, name, n) && full[n] == '.') ? PETSC_TRUE : PETSC_FALSE;
}

/*
  CourantTrainLayerRates - The factor of every weight's learning rate, [net->size].

  A name stands for a tensor, `0.weight`, or for all tensors below it, `0` or `5.layers`; the last one that
  fits counts. any: is there one that is not 1?
*/
PetscErrorCode CourantTrainLayerRates(const CourantTrainSettings *settings, CourantNet net, double rates[],
                                      PetscBool *any)
{
  PetscInt n = 0;

  PetscFunctionBeginUser;
  *any = PETSC_FALSE;
  for (PetscInt i = 0; i < net->size; i++) rates[i] = 1;
  if (settings->layer_rates.id) PetscCall(CourantNodeMappingSize(settings->layer_rates, &n));
  for (PetscInt e = 0; e < n; e++) {
    char name[COURANT_TEXT_SIZE];
    double factor;
    PetscBool found = PETSC_FALSE;
    CourantNode value;
    PetscCall(CourantNodeMappingItem(settings->layer_rates, e, name, &value));
    PetscCall(CourantNodeReal(value, 0, INFINITY, &factor));
    for (PetscInt l = 0; l < net->nlayers; l++) {
      const CourantLayer *layer = &net->layers[l];
      PetscInt at = layer->offset;
      for (int i = 0; i < layer->nparameters; at += layer->parameters[i].size, i++) {
        if (!Covers(layer, &layer->parameters[i], name)) continue;
        found = PETSC_TRUE;
        for (PetscInt k = 0; k < layer->parameters[i].size; k++) rates[at + k] = factor;
      }
    }
    if (!found) CourantNodeError(value, "the network has no parameter '%s'; courant info lists them", name);
    if (factor != 1) *any = PETSC_TRUE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
