#pragma once
/* The command line: PETSc's options database, and what PETSc does not check. */
#include "cmd/command.h"

PetscErrorCode CourantOptionsCheckWords(const CourantCommandOps *, int argc, char **argv);
PetscErrorCode CourantOptionsCheckTypes(void);
PetscErrorCode CourantOptionsSpread(void);
void CourantOptionsExplain(const CourantCommandOps *, PetscErrorCode *);
PetscErrorCode CourantOptionsCheckUsed(const CourantCommandOps *, PetscErrorCode (*ReadAgain)(void *),
                                       void *ctx);
PetscErrorCode CourantOptionsCheckViewers(void);
PetscErrorCode CourantOptionsJoinSets(void);
PetscErrorCode CourantOptionsRemember(const CourantCommandOps *);
const char *CourantOptionsNumerical(void);
PetscErrorCode CourantOptionsCommandLine(char **text);
PetscErrorCode CourantOptionFlag(const char name[], PetscBool *set);
