#pragma once
/* A subcommand, one file of src/cmd each. */
#include "core/error.h"

typedef struct {
  const char *name;     /* with its dash */
  const char *argument; /* "VALUE"; NULL: a flag */
  const char *help;
  PetscBool
      neutral; /* no number depends on it, or what it sets is compared by itself when a run is resumed */
} CourantOption;

typedef struct {
  const char *name, *argument; /* "MODEL", "FILE", "[COMMAND]" or NULL */
  const char *summary;         /* one line */
  const char *description;
  const CourantOption *options; /* the last has no name */
  const char *solvers;          /* prefixes of PETSc's and SLEPc's options, or NULL */
  PetscBool bare;               /* runs without PETSc */
  PetscErrorCode (*Run)(const char *argument);
} CourantCommandOps;

extern const int CourantCommandCount;
const CourantCommandOps *CourantCommand(int index);
const CourantCommandOps *CourantCommandFind(const char *name);

/* Options of every command that takes a model: of a deck alone, and of one with a network. */
#define COURANT_DECK_OPTIONS                                                                                 \
  {                                                                                                          \
    "-set", "KEY=VALUE,..",                                                                                  \
        "put values over those of the deck, as in -set network.0.conv.kernel=16,train.steps=50; of several " \
        "all count",                                                                                         \
        PETSC_TRUE                                                                                           \
  }

#define COURANT_MODEL_OPTIONS                                                                                \
  COURANT_DECK_OPTIONS,                                                                                      \
      {"-threads", "N", "threads of each rank (default: the processors there are)", PETSC_TRUE},             \
      {"-memory", "AMOUNT",                                                                                  \
       "memory for samples and activations, of the node, such as 2GB (default: a quarter of it)",            \
       PETSC_TRUE},                                                                                          \
  {                                                                                                          \
    "-isa", "NAME", "instruction set of the kernels: baseline, avx2, avx512 (default: the best there is)",   \
        PETSC_TRUE                                                                                           \
  }

/* Options of every command that writes a result file: of one that starts anew, and of one that can go on. */
#define COURANT_OUTPUT_OPTIONS                                                                               \
  {"-output", "FILE", "the result file (default: MODEL's name and the command, in this folder)",             \
   PETSC_TRUE},                                                                                              \
      {"-force", NULL, "write over a result file that is there", PETSC_TRUE},                                \
  {                                                                                                          \
    "-quiet", NULL, "print nothing but errors", PETSC_TRUE                                                   \
  }

#define COURANT_RESULT_OPTIONS                                                                               \
  COURANT_OUTPUT_OPTIONS,                                                                                    \
      {"-resume", NULL, "go on from FILE.partial of an interrupted run, with its options", PETSC_TRUE},      \
  {                                                                                                          \
    "-checkpoint", "SECONDS", "time between two writes of FILE.partial (default: 30)", PETSC_TRUE            \
  }
