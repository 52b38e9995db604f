#include "cmd/session.h"
#include "stability/map.h"
#include <math.h>
#include <string.h>

/* CourantSessionLoadDeck - The deck MODEL with the values of option -set. Collective. */
PetscErrorCode CourantSessionLoadDeck(MPI_Comm comm, const char model[], CourantDeck *deck)
{
  char overrides[4096] = "";

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-set", overrides, sizeof overrides, NULL));
  if (strlen(overrides) + 1 == sizeof overrides)
    CourantInputError(comm, "-set: more than %zu characters; put them into a deck", sizeof overrides - 2);
  PetscCall(CourantDeckLoad(comm, model, overrides, deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSessionCheckSections - Those that a command may have no use for are to be right, too. */
PetscErrorCode CourantSessionCheckSections(CourantDeck deck)
{
  const CourantNode root = CourantDeckRoot(deck);
  CourantTrainSettings train = {0};
  CourantMapSettings map = {0};

  PetscFunctionBeginUser;
  PetscCall(CourantTrainRead(CourantNodeChild(root, "train"), &train));
  PetscCall(CourantMapSettingsRead(CourantNodeChild(root, "map"), &train, PETSC_FALSE, &map));
  PetscCall(CourantMapSettingsReset(&map));
  PetscCall(CourantTrainReset(&train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSessionRun - A command on MODEL: its deck, its options, its work; with -help no work.

  network, pde: what the command does on a deck of either kind; NULL: nothing, which is the user's error.
  Whatever can be wrong with a deck or an option is said before the work begins.
*/
PetscErrorCode CourantSessionRun(const CourantSessionOps *network, const CourantSessionOps *pde,
                                 const char model[])
{
  CourantDeck deck;
  PetscBool help;
  void *session;

  PetscFunctionBeginUser;
  PetscCall(CourantSessionLoadDeck(PETSC_COMM_WORLD, model, &deck));
  const CourantNode section = CourantNodeChild(CourantDeckRoot(deck), "pde");
  const CourantSessionOps *ops = section.id ? pde : network;
  if (!ops && section.id)
    CourantNodeError(section,
                     "courant %s takes networks; a linear PDE is for courant symbol and courant flow",
                     network->command->name);
  if (!ops)
    CourantNodeError(CourantDeckRoot(deck), "courant %s takes decks with a section pde; this is a network's",
                     pde->command->name);
  PetscCall(PetscCalloc(ops->size, &session));
  PetscCall(CourantOptionsCheckTypes());
  PetscCall(CourantOptionsSpread());
  PetscCall(ops->SetUp(session, deck));
  PetscCall(PetscOptionsHasHelp(NULL, &help));
  if (!help) {
    PetscCall(CourantOptionsCheckUsed(ops->command, ops->ReadAgain, session));
    if (!section.id) PetscCall(CourantSessionCheckSections(deck));
    PetscCall(ops->Work(session));
  }
  PetscCall(ops->TearDown(session));
  PetscCall(PetscFree(session));
  PetscCall(CourantDeckDestroy(&deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSessionPrintModel - What is computed with, and the bytes that a rank takes; below a first line. */
PetscErrorCode CourantSessionPrintModel(CourantProblem problem, const CourantOutput *output, double bytes)
{
  PetscFunctionBeginUser;
  if (problem->model.about[0]) printf("  %s\n", problem->model.about);
  PetscCall(CourantProblemView(problem, stdout));
  printf("  memory about %.0f MB, %d rank%s of %d thread%s, %s\n", ceil(bytes / 1e6), output->size,
         output->size > 1 ? "s" : "", (int)problem->threads, problem->threads > 1 ? "s" : "",
         problem->backend->isa);
  fflush(stdout);
  PetscFunctionReturn(PETSC_SUCCESS);
}
