#pragma once
/*
  Sums whose order belongs to the data: leaves are added along a binary tree over their index, whoever
  computed them.

  A sum holds the complete subtrees it has so far, each a vector. Whoever computed consecutive leaves has a
  short list of subtrees; lists of neighbours are joined by merging siblings. So chunks, threads and ranks
  never change a bit of the result.
*/
#include "core/error.h"

typedef struct {
  int level;      /* the subtree spans 2^level leaves */
  PetscInt index; /* from leaf index 2^level on */
  double *values;
} CourantSubtree;

typedef struct {
  size_t length; /* of a vector */
  int n, capacity;
  CourantSubtree *subtrees;
  double **spare; /* vectors not in use, `nspare` of them */
  int nspare;
} CourantTreeSum;

PetscErrorCode CourantTreeSumCreate(size_t length, PetscInt leaves, CourantTreeSum *);
PetscErrorCode CourantTreeSumDestroy(CourantTreeSum *);
void CourantTreeSumClear(CourantTreeSum *);
double *CourantTreeSumNext(CourantTreeSum *);
void CourantTreeSumAdd(CourantTreeSum *, PetscInt leaf);
void CourantTreeSumJoin(CourantTreeSum *left, CourantTreeSum *right);
PetscErrorCode CourantTreeSumGather(CourantTreeSum *, MPI_Comm);
void CourantTreeSumFold(CourantTreeSum *, double *result);
