#pragma once
/* What the procedural images have in common. */
#include "data/dataset.h"

typedef struct {
  PetscInt size, height, width;
} CourantExtent;

#define COURANT_EXTENT_KEYS(type, member)                                                                    \
  {"size", COURANT_KEY_INT, offsetof(type, member.size), "", 1, 1 << 20, .help = "height and width"},        \
      {"height", COURANT_KEY_INT, offsetof(type, member.height), "", 1, 1 << 20, .help = "rows"},            \
  {                                                                                                          \
    "width", COURANT_KEY_INT, offsetof(type, member.width), "", 1, 1 << 20, .help = "columns"                \
  }

PetscErrorCode CourantExtentApply(CourantDataset, CourantNode, const CourantExtent *);
