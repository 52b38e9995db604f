/* courant help: generated from the tables that do the work. */
#include "cmd/command.h"
#include "pde/scheme.h"
#include "pde/stencil.h"
#include "stability/map.h"
#include "train/settings.h"
#include <string.h>

static void PrintOptions(const CourantOption *options)
{
  for (const CourantOption *o = options; o && o->name; o++) {
    char left[64];
    snprintf(left, sizeof left, "%s %s", o->name, o->argument ? o->argument : "");
    printf("  %-26s %s\n", left, o->help);
  }
}

static PetscErrorCode PrintCommand(const CourantCommandOps *command)
{
  PetscFunctionBeginUser;
  printf("courant %s%s%s%s\n\n%s\n", command->name, command->argument ? " " : "",
         command->argument ? command->argument : "", command->options ? " [options]" : "",
         command->description);
  if (command->options) {
    printf("\nOptions:\n");
    PrintOptions(command->options);
  }
  if (command->solvers) printf("\nSolvers take every option of PETSc and SLEPc:\n%s", command->solvers);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintOverview(void)
{
  PetscFunctionBeginUser;
  printf("courant computes where gradient descent on a convolutional network is stable.\n\n");
  for (int i = 0; i < CourantCommandCount; i++) {
    const CourantCommandOps *c = CourantCommand(i);
    char left[64];
    snprintf(left, sizeof left, "courant %s %s", c->name, c->argument ? c->argument : "");
    printf("  %-26s %s\n", left, c->summary);
  }
  printf("  %-26s %s\n", "courant --version", "versions of courant and of what it stands on");
  printf("\nMODEL is a deck (YAML), such as models/one-layer.yaml; under MPI: mpiexec -n 8 courant ...\n"
         "'courant help COMMAND' tells more of a command, 'courant help deck' what a deck may hold.\n");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PrintKeys(const CourantKey *keys)
{
  for (const CourantKey *k = keys; k->name; k++) {
    const char *preset = !k->preset ? "required" : k->preset;
    printf("      %-16s %s%s%s%s%s%s%s\n", k->name, k->help, k->choices ? ": " : "",
           k->choices ? k->choices : "", k->type == COURANT_KEY_INT_OR_CHOICE ? " or a number" : "",
           preset[0] ? " (" : "", preset, preset[0] ? ")" : "");
  }
}

static void PrintWords(const char *label, int n, const char *const words[])
{
  printf("      %-16s", label);
  for (int i = 0; i < n; i++) printf(" %s", words[i]);
  printf("\n");
}

static void PrintPde(void)
{
  const char *derivatives[16];
  const int n = CourantStencilDerivatives(2, derivatives);

  printf("\nThe deck of a linear PDE has, in place of data, network, loss, weights, train and map:\n");
  PrintKeys(CourantSchemeTopKeys);
  printf("\npde:\n");
  PrintKeys(CourantPdeKeys);
  printf("  terms, a list:   # such as - {coefficient: -1, derivative: dx, scheme: upwind}\n");
  PrintKeys(CourantTermKeys);
  PrintWords("derivatives:", n, derivatives);
  PrintWords("schemes:", CourantStencilSchemeCount, CourantStencilSchemes);
  printf("  initial:\n");
  PrintKeys(CourantInitialKeys);
  printf("\nstepper:\n");
  PrintKeys(CourantTimeKeys);
}

static PetscErrorCode PrintDeck(void)
{
  PetscFunctionBeginUser;
  printf("A deck is a YAML mapping:\n");
  PrintKeys(CourantModelKeys);
  PrintKeys(CourantTopKeys);
  printf("\ndata:\n");
  PrintKeys(CourantDataKeys);
  printf("  normalise:\n");
  PrintKeys(CourantNormaliseKeys);
  printf("  augment:\n");
  PrintKeys(CourantAugmentKeys);
  for (int i = 0; i < CourantSourceCount; i++) {
    printf("  source: %s   # %s\n", CourantSource(i)->name, CourantSource(i)->help);
    PrintKeys(CourantSource(i)->keys);
  }
  printf("\nnetwork, a list:\n");
  for (int i = 0; i < CourantLayerTypeCount; i++) {
    const CourantLayerOps *layer = CourantLayerType(i);
    printf("  - %s: %s   # %s\n", layer->name, layer->examples[0], layer->help);
    PrintKeys(layer->keys);
  }
  printf("\nloss:\n");
  for (int i = 0; i < CourantLossTypeCount; i++)
    printf("  %s   # %s\n", CourantLossType(i)->name, CourantLossType(i)->help);
  printf("\nweights:\n");
  PrintKeys(CourantWeightsKeys);
  for (int i = 0; i < CourantInitialiserCount; i++) {
    const CourantKey *keys;
    printf("  init: %s\n", CourantInitialiser(i, &keys));
    PrintKeys(keys);
  }
  printf("\ntrain:\n");
  PrintKeys(CourantTrainKeys);
  for (int i = 0; i < CourantRuleCount; i++) {
    printf("  rule: %s   # %s\n", CourantRule(i)->name, CourantRule(i)->help);
    PrintKeys(CourantRule(i)->keys);
  }
  printf("  schedule: {warmup: .., then: ..}\n");
  PrintKeys(CourantWarmupKeys);
  printf("  schedule: {step: ..}\n");
  PrintKeys(CourantStepScheduleKeys);
  printf("  ensemble:\n");
  PrintKeys(CourantEnsembleKeys);
  printf("\nmap:\n");
  PrintKeys(CourantMapSectionKeys);
  PrintKeys(CourantMapKeys);
  printf("  learning_rate, weight_decay:\n");
  PrintKeys(CourantMapAxisKeys);
  printf("  cross_check:\n");
  PrintKeys(CourantMapCheckKeys);
  PrintPde();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(const char *name)
{
  PetscFunctionBeginUser;
  if (!name)
    PetscCall(PrintOverview());
  else if (!strcmp(name, "deck"))
    PetscCall(PrintDeck());
  else if (CourantCommandFind(name))
    PetscCall(PrintCommand(CourantCommandFind(name)));
  else {
    fprintf(stderr, "courant: no help on '%s'; 'courant help' lists the commands\n", name);
    PetscFunctionReturn(COURANT_ERR_INPUT);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CourantCommandOps CourantCommand_help = {
    .name = "help",
    .argument = "[COMMAND]",
    .summary = "what a command does and takes",
    .description = "Explains a command; 'courant help deck' lists what a deck may hold.",
    .bare = PETSC_TRUE,
    .Run = Run,
};
