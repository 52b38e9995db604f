#pragma once
/* How much the loss bends in what a layer puts out. */
#include "core/progress.h"
#include "dynamics/problem.h"

/* The largest eigenvalue of M_i over all samples, M_i the Hessian of sample i's loss in a layer's output. */
typedef struct {
  PetscReal value, residual; /* their sum is the bound */
  PetscReal missed;          /* probability that one larger by 10 % of the spread of some M was missed */
  PetscInt sample;           /* whose it is */
  PetscInt products;         /* with samples' M, the most that one had */
  CourantStatus status;      /* converged or not_converged */
} CourantCurvature;

PetscErrorCode CourantCurvatureCompute(CourantProblem, const double theta[], PetscInt layer,
                                       CourantProgress *, CourantCurvature *);
PetscInt CourantCurvatureUnits(CourantProblem, PetscInt layer);
