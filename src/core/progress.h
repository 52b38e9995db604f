#pragma once
/* One progress bar with the time left. */
#include "core/error.h"

typedef struct {
  const char *label;
  double before, total, done; /* in any unit of work; before: what an earlier run did of it */
  double started, drawn;
  PetscBool quiet, terminal, visible;
} CourantProgress;

void CourantProgressBegin(CourantProgress *, const char *label, double before, double total, PetscBool quiet);
void CourantProgressUpdate(CourantProgress *, double done);
void CourantProgressAdvance(double more, void *progress);
void CourantProgressEnd(CourantProgress *);
