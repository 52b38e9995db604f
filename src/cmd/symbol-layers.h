#pragma once
/* Von Neumann's analysis layer by layer, as a person and a result file get it. */
#include "cmd/result.h"
#include "dynamics/problem.h"
#include "train/settings.h"

PetscErrorCode CourantReportLayers(CourantProblem, Vec theta, const CourantTrainSettings *, CourantOutput *);
