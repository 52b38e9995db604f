#include "deck/model.h"
#include <string.h>

const CourantKey CourantModelKeys[] = {
    {"model", COURANT_KEY_TEXT, offsetof(CourantModel, name), "",
     .help = "name of the model, and of its result files"},
    {"about", COURANT_KEY_TEXT, offsetof(CourantModel, about), "", .help = "what it is, in a line"},
    {0},
};

enum { TABLES = 4 };

/* Result files are named by it. */
static PetscErrorCode CheckName(CourantNode node, const char name[])
{
  PetscFunctionBeginUser;
  if (node.id && (!name[0] || strchr(name, '/') || name[0] == '.' || name[0] == '-'))
    CourantNodeError(node, "'%s' names no file: expected a name without '/', and with no '.' or '-' in front",
                     name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantModelRead - A whole deck: its name and what it is about, and the sections that the tables name. */
PetscErrorCode CourantModelRead(CourantDeck deck, int ntables, const CourantTable tables[],
                                CourantModel *model)
{
  CourantTable all[TABLES + 1] = {{CourantModelKeys, model}};

  PetscFunctionBeginUser;
  PetscCheck(ntables <= TABLES, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "more than %d tables", TABLES);
  memcpy(all + 1, tables, (size_t)ntables * sizeof *tables);
  PetscCall(CourantNodeRead(CourantDeckRoot(deck), ntables + 1, all));
  PetscCall(CheckName(CourantNodeChild(CourantDeckRoot(deck), "model"), model->name));
  model->deck = deck;
  if (model->name[0]) PetscFunctionReturn(PETSC_SUCCESS);
  const char *name = CourantDeckName(deck), *slash = strrchr(name, '/');
  PetscCall(PetscStrncpy(model->name, slash ? slash + 1 : name, sizeof model->name));
  char *dot = strrchr(model->name, '.');
  if (dot && dot != model->name) *dot = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}
