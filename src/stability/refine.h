#pragma once
/*
  Which cells of a grid have to be run, when those inside a block whose corners agree are taken as they are: a
  quadtree on the boundaries between classes of cells.
*/
#include "courant.h"

typedef enum {
  COURANT_CELL_OPEN,  /* not asked for */
  COURANT_CELL_ASKED, /* to be run next */
  COURANT_CELL_RUN,
  COURANT_CELL_DRAWN,    /* run because it was drawn at random */
  COURANT_CELL_SURPRISE, /* drawn, and not of its block's class */
} CourantCellState;

/* What is said of the cells that are not run is true with this probability. */
#define COURANT_REFINEMENT_CONFIDENCE 0.95

/* How many cells were run, and what those drawn at random say about the others. */
typedef struct {
  PetscInt run;       /* cells asked for */
  PetscInt drawn;     /* of them at random */
  PetscInt surprises; /* of those not of their block's class */
  PetscInt rounds;    /* of draws; at the end the last of them had no surprise */
  PetscInt differing; /* cells not run that are not of their block's class: at most */
} CourantRefinementCounts;

typedef struct {
  PetscInt ny, nx;
  int depth;                /* the coarsest blocks have sides of 2^depth cells */
  const uint8_t *predicted; /* [ny,nx] class by theory, known everywhere; borrowed */
  uint8_t *measured;        /* [ny,nx] class by a run, where there was one */
  uint8_t *expected;        /* [ny,nx] class of the block that a cell was last drawn from */
  uint8_t *state;           /* [ny,nx] CourantCellState */
  PetscBool surprised;      /* by the last round of draws */
  CourantRefinementCounts counts;
} CourantRefinement;

/* Cells y[0]..y[1], x[0]..x[1], ends included; blocks share their edges. */
typedef struct {
  PetscInt y[2], x[2];
} CourantCellBlock;

PetscErrorCode CourantRefinementCreate(PetscInt ny, PetscInt nx, int depth, const uint8_t predicted[],
                                       CourantRefinement *);
PetscErrorCode CourantRefinementDestroy(CourantRefinement *);
PetscErrorCode CourantRefinementNext(CourantRefinement *, PetscInt *n, PetscInt cells[]);
void CourantRefinementVisit(const CourantRefinement *, void (*)(const CourantCellBlock *, void *ctx),
                            void *ctx);
