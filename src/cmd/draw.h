#pragma once
/* A map on a terminal. */
#include "stability/map.h"

PetscErrorCode CourantDrawMap(CourantMap);
PetscErrorCode CourantPrintRows(CourantMap);
PetscErrorCode CourantPrintChecks(CourantMap, const CourantAgreement *);
void CourantDrawState(PetscInt ny, PetscInt nx, const double u[]);
