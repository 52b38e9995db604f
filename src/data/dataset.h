#pragma once
/* A data set: images [n,h,w,c] and labels [n], however they came. */
#include "deck/deck.h"

typedef struct _CourantDataset *CourantDataset;

/* The samples to train on, and those to judge the result by. */
typedef enum { COURANT_SPLIT_TRAIN, COURANT_SPLIT_TEST } CourantSplit;

/*
  A source of samples, one file under data/sources each.

  Open() looks at the options and at data->split, fills n, h, w, c, width and may leave what Read() needs in
  `state`; n is 0 where there are no test samples. Read() gives one sample: its image, row-major [h,w,c], and
  its label [width]; it is never called from two threads at once, calls no PETSc function, and returns NULL or
  an error text.
*/
typedef struct {
  const char *name, *help;
  const CourantKey *keys;
  size_t options_size;
  PetscBool tests; /* may have test samples; without, Open() is called for the training split alone */
  PetscErrorCode (*Open)(CourantDataset, CourantNode, const void *options);
  const char *(*Read)(CourantDataset, const void *options, PetscInt sample, double image[], double label[]);
  PetscErrorCode (*Close)(CourantDataset);
} CourantSourceOps;

/* Random changes of training images: shifts by up to `crop` pixels, zeros coming in, and mirroring. */
typedef struct {
  PetscInt crop;
  PetscBool flip;
} CourantAugment;

/* How pixels are shifted and scaled; the lists are empty where the deck gives none. */
typedef struct {
  int kind; /* index in normalise.c */
  CourantReals mean, std;
} CourantNormalise;

struct _CourantDataset {
  CourantSplit split;
  PetscInt n, h, w, c;
  PetscInt width;        /* numbers of a label: 1, a class; or as many as the network's outputs, targets */
  double *labels;        /* [n,width] */
  double *images;        /* [n,h,w,c], NULL when the memory budget makes them stream from the source */
  double *mean, *factor; /* [c]: an image is (source - mean) * factor; NULL: as the source has it */
  CourantNormalise normalise;
  CourantAugment augment; /* all 0 for test samples */
  const CourantSourceOps *ops;
  void *options, *state; /* of the source */
  CourantNode node;      /* where the deck describes it */
};

#define COURANT_LABEL_WIDTH_MAX 4096
#define COURANT_SAMPLE_MAX                                                                                   \
  (PETSC_MAX_INT / 32) /* numbers of an image or a layer's output: an int counts a leaf of them */

/* Samples of a data set, in this order. */
typedef struct {
  CourantDataset data;
  PetscInt n;
  const PetscInt *samples; /* [n]; NULL: 0 .. n-1 */
  PetscBool augment;       /* by the data set's random changes, those of */
  uint64_t seed;           /* this seed */
  uint32_t epoch;          /* and epoch */
} CourantBatch;

extern const CourantKey CourantDataKeys[], CourantNormaliseKeys[], CourantAugmentKeys[];
extern const int CourantSourceCount;
const CourantSourceOps *CourantSource(int index);
PetscErrorCode CourantDatasetCreate(CourantNode data, double budget, CourantDataset *);
PetscErrorCode CourantDatasetCreateTest(CourantDataset, double budget, CourantDataset *test);
PetscErrorCode CourantDatasetDestroy(CourantDataset *);
size_t CourantDatasetImageSize(CourantDataset);
const char *CourantBatchRead(const CourantBatch *, PetscInt first, PetscInt n, double images[]);
void CourantBatchLabels(const CourantBatch *, PetscInt first, PetscInt n, double labels[]);
