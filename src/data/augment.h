#pragma once
/* Random changes of training images. */
#include "data/dataset.h"

PetscErrorCode CourantAugmentRead(CourantDataset, CourantNode);
void CourantAugmentImage(const CourantBatch *, PetscInt sample, const double source[], double image[]);
