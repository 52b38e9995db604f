#pragma once
/* Finite-difference stencils: those with a name, and what any stencil approximates. */
#include "core/compat.h"
#include <stddef.h>

enum { COURANT_STENCIL_MAX = 64 };

typedef struct {
  int n;
  int offset[COURANT_STENCIL_MAX][2]; /* y, x; in one dimension y is 0 */
  double weight[COURANT_STENCIL_MAX];
} CourantStencil;

/* A differential operator, sum_k factor_k d^y/dy^y d^x/dx^x. */
enum { COURANT_PARTS_MAX = 8 };

typedef struct {
  int n;
  struct {
    int y, x;
    double factor;
  } part[COURANT_PARTS_MAX];
} CourantOperator;

/* What a stencil tends to as the spacing goes to 0, and the order of the error; infinite: there is none. */
typedef struct {
  CourantOperator operator; /* n = 0: to none */
  double order;
} CourantApproximation;

extern const char *const CourantStencilSchemes[];
extern const int CourantStencilSchemeCount;
int CourantStencilDerivatives(PetscInt dimension, const char *names[]);
PetscBool CourantStencilIsUpwind(const char scheme[]);
PetscBool CourantStencilGet(PetscInt dimension, const char derivative[], const char scheme[],
                            const double spacing[2], double coefficient, CourantStencil *);
void CourantStencilIdentify(const CourantStencil *, const double spacing[2], const double (*fine)[2],
                            CourantApproximation *);
PetscBool CourantApproximationIs(const CourantApproximation *, PetscInt dimension, const char derivative[]);
const char *CourantApproximationText(const CourantApproximation *, char text[], size_t size);
