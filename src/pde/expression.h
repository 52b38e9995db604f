#pragma once
/*
  An expression of a deck, parsed once and evaluated for any values of its names.

  Numbers, names, + - * / ^, unary signs and parentheses; ^ binds most tightly and from the right, -x^2 is
  -(x^2).
*/
#include "deck/deck.h"

typedef struct _CourantExpression *CourantExpression;

/* `names` are those an expression may hold, their indices those of the values; NULL stands for none. */
PetscErrorCode CourantExpressionParse(CourantNode place, const char text[], int n, const char *const names[],
                                      CourantExpression *);
PetscErrorCode CourantExpressionRead(CourantNode, int n, const char *const names[], CourantExpression *);
PetscErrorCode CourantExpressionDestroy(CourantExpression *);
const char *CourantExpressionText(CourantExpression);
PetscBool CourantExpressionUses(CourantExpression, int name);
/* Plain C, for any thread. */
double CourantExpressionEvaluate(CourantExpression, const double values[]);
