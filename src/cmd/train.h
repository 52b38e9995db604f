#pragma once
/* The two kinds of training that courant train does: one run, and an ensemble. */
#include "cmd/session.h"
#include "train/settings.h"

PetscErrorCode CourantTrainEnsemble(CourantProblem, const CourantTrainSettings *, CourantOutput *);

/* What both have in common. */
PetscErrorCode CourantTrainPrintHeader(CourantProblem, const CourantTrainSettings *, const CourantOutput *,
                                       CourantEvaluator);
