/* courant info: what a result file or a deck holds. */
#include "cmd/session.h"
#include "pde/scheme.h"
#include <string.h>

static void PrintDataset(const char *path, int rank, const size_t dims[], const char *long_name)
{
  char shape[96] = "";

  for (int i = 0; i < rank; i++)
    snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%zu", i ? " x " : "", dims[i]);
  printf("  %-28s %-12s %s\n", path, shape, long_name ? long_name : "");
}

static PetscErrorCode PrintResult(const char *name)
{
  static const char *const attributes[] = {"title", "about",     "source",          "petsc",       "slepc",
                                           "hdf5",  "precision", "instruction_set", "command_line"};
  CourantResult file;
  double complete, seconds, ranks;
  char *text;

  PetscFunctionBeginUser;
  PetscCall(CourantResultOpen(name, &file));
  PetscCall(CourantResultGetString(file, "/", "Conventions", &text));
  if (!text || strcmp(text, "courant-1"))
    CourantInputError(PETSC_COMM_SELF,
                      "%s: an HDF5 file, but no result of courant; decks take such files as data or weights",
                      name);
  PetscCall(PetscFree(text));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(attributes); i++) {
    PetscCall(CourantResultGetString(file, "/", attributes[i], &text));
    if (text && text[0]) printf("%-16s %s\n", attributes[i], text);
    PetscCall(PetscFree(text));
  }
  PetscCall(CourantResultGetReal(file, "/", "complete", &complete));
  PetscCall(CourantResultGetReal(file, "/", "wall_time_s", &seconds));
  PetscCall(CourantResultGetReal(file, "/", "ranks", &ranks));
  printf("%-16s %s, %.1f s on %.0f rank%s\n\n", "state",
         complete == 1 ? "complete" : "interrupted; -resume goes on", seconds, ranks, ranks > 1 ? "s" : "");
  PetscCall(CourantResultVisit(file, PrintDataset));
  PetscCall(CourantResultDestroy(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PrintName(const CourantModel *model)
{
  printf("%s%s%s\n", model->name, model->about[0] ? ": " : "", model->about);
}

static PetscErrorCode PrintScheme(CourantDeck deck)
{
  CourantScheme scheme;

  PetscFunctionBeginUser;
  PetscCall(CourantSchemeCreate(PETSC_COMM_SELF, deck, &scheme));
  PrintName(&scheme->model);
  PetscCall(CourantSchemeView(scheme, NULL, stdout));
  PetscCall(CourantSchemeCheckConsistency(scheme, stderr));
  PetscCall(CourantSchemeDestroy(&scheme));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintProblem(CourantDeck deck)
{
  CourantProblem problem;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemCreate(PETSC_COMM_SELF, deck, &problem));
  PetscCall(CourantProblemSetFromOptions(problem));
  PetscCall(CourantProblemSetUp(problem));
  PetscCall(CourantProblemVerifyReference(problem));
  PetscCall(CourantSessionCheckSections(deck));
  PrintName(&problem->model);
  PetscCall(CourantProblemView(problem, stdout));
  PetscCall(CourantProblemDestroy(&problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintDeck(const char *name)
{
  CourantDeck deck;

  PetscFunctionBeginUser;
  PetscCall(CourantSessionLoadDeck(PETSC_COMM_SELF, name, &deck));
  if (CourantNodeChild(CourantDeckRoot(deck), "pde").id)
    PetscCall(PrintScheme(deck));
  else
    PetscCall(PrintProblem(deck));
  PetscCall(CourantDeckDestroy(&deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

extern const CourantCommandOps CourantCommand_info;

static PetscErrorCode Run(const char *name)
{
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  const PetscBool result = CourantResultIs(name);
  if (result) PetscCall(CourantOptionsCheckUsed(&CourantCommand_info, NULL, NULL)); /* it reads none */
  CourantCallOnRankZero(PETSC_COMM_WORLD, rank, result ? PrintResult(name) : PrintDeck(name));
  PetscCall(CourantOptionsCheckUsed(&CourantCommand_info, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const CourantOption options[] = {COURANT_MODEL_OPTIONS, {0}};

const CourantCommandOps CourantCommand_info = {
    .name = "info",
    .argument = "FILE",
    .summary = "what a result file or a deck holds",
    .description = "Of a result file: where it comes from and its datasets. Of a deck: layers, shapes and "
                   "parameter\nnames, or the grid, the terms and what their stencils approximate.",
    .options = options,
    .Run = Run,
};
