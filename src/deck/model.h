#pragma once
/* What every deck says of itself, and what results carry of it. */
#include "deck/deck.h"

typedef struct {
  CourantDeck deck;                                       /* borrowed */
  char name[COURANT_TEXT_SIZE], about[COURANT_TEXT_SIZE]; /* the deck's `model`, or else its file's name */
  uint64_t seed;                                          /* of its random numbers */
  const char *instruction_set; /* of the kernels it is computed with; NULL: of none */
} CourantModel;

extern const CourantKey CourantModelKeys[];

PetscErrorCode CourantModelRead(CourantDeck, int ntables, const CourantTable tables[], CourantModel *);
