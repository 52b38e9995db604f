#pragma once
/* A map's result file (map-result.c), and the map on a terminal (map-view.c). */
#include "cmd/result.h"
#include "stability/map.h"

void CourantMapDescribeRule(CourantMap, char text[COURANT_TEXT_SIZE]);
PetscErrorCode CourantMapResultCreate(CourantMap, CourantOutput *);
PetscErrorCode CourantMapResultWrite(CourantMap, CourantResult);
PetscErrorCode CourantMapResultFinish(CourantMap, CourantOutput *, const CourantAgreement *);
PetscErrorCode CourantMapView(CourantMap, const CourantAgreement *);
