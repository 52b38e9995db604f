#pragma once
/* Pixels as the network gets them: (source - mean) * factor, per channel. */
#include "data/dataset.h"

PetscErrorCode CourantNormaliseRead(CourantDataset, CourantNode data);
PetscErrorCode CourantNormaliseBegin(CourantDataset, CourantDataset train);
void CourantNormaliseAdd(CourantDataset, PetscInt sample, const double image[]);
PetscErrorCode CourantNormaliseEnd(CourantDataset);
void CourantNormaliseImage(CourantDataset, double image[]);
