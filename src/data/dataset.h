#pragma once
/* A data set: images [n,h,w,c] and labels [n], however they came. */
#include "deck/deck.h"

typedef struct _CourantDataset *CourantDataset;

/*
  A source of samples, one file under data/sources each.

  Open() looks at the options, fills n, h, w, c and may leave what Read() needs in `state`. Read() gives one
  sample: its image, row-major [h,w,c], and its label; it is never called from two threads at once, calls no
  PETSc function, and returns 0 or an error text.
*/
typedef struct {
  const char *name, *help;
  const CourantKey *keys;
  size_t options_size;
  PetscErrorCode (*Open)(CourantDataset, CourantNode, const void *options);
  const char *(*Read)(CourantDataset, const void *options, PetscInt sample, double image[], double *label);
  PetscErrorCode (*Close)(CourantDataset);
} CourantSourceOps;

struct _CourantDataset {
  PetscInt n, h, w, c;
  double *labels; /* [n] */
  double *images; /* [n,h,w,c], NULL when the memory budget makes them stream from the source */
  const CourantSourceOps *ops;
  void *options, *state; /* of the source */
  CourantNode node;      /* where the deck describes it */
};

extern const int CourantSourceCount;
const CourantSourceOps *CourantSource(int index);
PetscErrorCode CourantDatasetCreate(CourantNode data, double budget, CourantDataset *);
PetscErrorCode CourantDatasetDestroy(CourantDataset *);
size_t CourantDatasetImageSize(CourantDataset);
const char *CourantDatasetRead(CourantDataset, PetscInt first, PetscInt n, double images[]);
