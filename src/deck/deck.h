#pragma once
/*
  A deck: one YAML mapping that describes a model and what to compute with it.

  Decks are read through tables: whoever needs a mapping gives one CourantKey per key and a struct, and gets
  the struct filled or an error with file, line, key, what was expected and the nearest valid name.
*/
#include "courant.h"
#include "core/error.h"

/* A place in a deck. The path, "network.0.conv", is what errors name and what -set accepts. */
typedef struct {
  CourantDeck deck;
  int id; /* node number of the YAML document, from 1; 0: no such place */
  char path[160];
} CourantNode;

typedef enum {
  COURANT_KEY_INT,           /* PetscInt */
  COURANT_KEY_SEED,          /* uint64_t */
  COURANT_KEY_REAL,          /* double */
  COURANT_KEY_BOOL,          /* PetscBool */
  COURANT_KEY_TEXT,          /* char[COURANT_TEXT_SIZE] */
  COURANT_KEY_PATH,          /* char[PETSC_MAX_PATH_LEN], relative to the deck's folder */
  COURANT_KEY_PATHS,         /* CourantPaths: a list of them, or one */
  COURANT_KEY_CHOICE,        /* int: the index in `choices` */
  COURANT_KEY_INT_OR_CHOICE, /* int: a choice as -1 - index, or an integer >= 0 */
  COURANT_KEY_SIZE2,         /* PetscInt[2]: [height, width] or one integer for both */
  COURANT_KEY_REALS,         /* CourantReals */
  COURANT_KEY_NODE,          /* CourantNode: read by somebody else */
} CourantKeyType;

#define COURANT_TEXT_SIZE 256

typedef struct {
  PetscInt n;
  double *values; /* freed with PetscFree() by who reads the struct */
} CourantReals;

typedef struct {
  PetscInt n;
  char (*names)[PETSC_MAX_PATH_LEN]; /* likewise */
} CourantPaths;

typedef struct {
  const char *name;
  CourantKeyType type;
  size_t offset;       /* of the member in the struct */
  const char *preset;  /* the default as it would stand in a deck; NULL: the key is required, "": it may be
                          absent and its member stays 0 */
  double min, max;     /* of numbers, inclusive; both 0: any */
  const char *choices; /* "valid|same|circular" */
  const char *help;
} CourantKey;

/* A table and the struct it fills; several together describe a mapping with common and particular keys. */
typedef struct {
  const CourantKey *keys; /* the last has no name */
  void *target;
} CourantTable;

const char *CourantDeckText(CourantDeck);
const char *CourantDeckOverrides(CourantDeck);
const char *CourantDeckName(CourantDeck);
CourantNode CourantDeckRoot(CourantDeck);
MPI_Comm CourantDeckComm(CourantDeck);

PetscErrorCode CourantNodeRead(CourantNode mapping, int ntables, const CourantTable tables[]);
PetscErrorCode CourantNodeEntry(CourantNode, const char kind[], int n, const char *const names[], int *entry,
                                CourantNode *options);
PetscErrorCode CourantNodeSelect(CourantNode mapping, const char key[], const char preset[], int n,
                                 const char *const names[], int *entry);
PetscBool CourantNodeIsMapping(CourantNode);
PetscBool CourantNodeIsList(CourantNode);
const char *CourantNodeText(CourantNode);
const char *CourantNodeWhere(CourantNode, char text[], size_t size);
PetscErrorCode CourantNodeCount(CourantNode list, PetscInt *n);
CourantNode CourantNodeItem(CourantNode list, PetscInt i);
CourantNode CourantNodeChild(CourantNode mapping, const char key[]);
PetscErrorCode CourantNodeMappingSize(CourantNode mapping, PetscInt *n);
PetscErrorCode CourantNodeMappingItem(CourantNode mapping, PetscInt i, char name[], CourantNode *value);
PetscErrorCode CourantNodeReal(CourantNode, double min, double max, double *value);

/* Fails with "file:line: path: message". */
#define CourantNodeError(node, ...) return CourantNodeFail(node, __LINE__, __func__, __FILE__, __VA_ARGS__)

PetscErrorCode CourantNodeFail(CourantNode, int line, const char function[], const char file[],
                               const char format[], ...) __attribute__((format(printf, 5, 6)));
