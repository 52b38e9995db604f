#pragma once
/* Options of the conv layer, for those who analyse its operator. */
#include "net/layer.h"

/* Values of padding that are no number of pixels: -1 less the choice's place among valid, same, circular. */
enum { COURANT_PADDING_VALID = -1, COURANT_PADDING_SAME = -2, COURANT_PADDING_CIRCULAR = -3 };

typedef struct {
  PetscInt channels, kernel[2], stride[2];
  int padding; /* pixels, or one of the above */
  PetscBool bias;
} CourantConvOptions;
