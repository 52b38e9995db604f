#pragma once
/* The region of absolute stability, |R(z)| over a window of the complex plane. */
#include "core/result.h"
#include "courant.h"
#include "train/rule.h"

typedef struct {
  PetscReal real[2], imaginary[2]; /* from, to */
  PetscInt points[2];              /* real, imaginary */
  PetscBool quiet;                 /* no progress bar */
} CourantStabilityRegion;

/* Options of commands that write one. */
#define COURANT_REGION_OPTIONS                                                                               \
  {"-window", "RE0,RE1,IM0,IM1", "part of the complex plane for |R(z)| (default: -6,2,-4,4)"},               \
  {                                                                                                          \
    "-window_points", "NxM", "its points, real x imaginary (default: 161x161)"                               \
  }

PetscErrorCode CourantStabilityRegionSetFromOptions(CourantStabilityRegion *);
PetscErrorCode CourantStabilityRegionWrite(const CourantStabilityRegion *, CourantStepper,
                                           const CourantRuleOps *, const void *options, CourantResult);
