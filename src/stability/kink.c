/*
  Is a state on a kink, such as weights of 0 under relu, whose inputs are all 0? The Hessian of one side then
  says nothing of the other, and nobody can linearise there.
*/
#include "stability/kink.h"
#include "dynamics/problem.h"
#include "stability/random-start.h"
#include <math.h>

static const PetscReal step = 1e-10;  /* to either side, as a share of the scale of weights */
static const PetscReal change = 1e-3; /* of the product, which no smooth network has in such a step */

/* H(theta + shift v) v, by the evaluator's own choice of branches there. */
static PetscErrorCode ProductAt(CourantProblem problem, Mat H, Vec theta, PetscReal shift, Vec v, Vec Hv)
{
  Vec at;

  PetscFunctionBeginUser;
  PetscCall(VecDuplicate(theta, &at));
  PetscCall(VecWAXPY(at, shift, v, theta));
  PetscCall(CourantProblemSetState(problem, at, NULL, NULL));
  PetscCall(MatMult(H, v, Hv));
  PetscCall(VecDestroy(&at));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantStateIsKink - Do the Hessians next to theta differ from that at theta? Collective; the problem's
  state is at theta afterwards.

  scale: |theta| of weights that count as far from 0. Products H(theta +- e v) v, v normal, e |v| = 1e-10
  scale, are compared with H(theta) v: a smooth network changes them by so much, one on a kink by the share of
  its units that have theirs there. It is called a kink beyond a thousandth; units by the hundred thousand may
  have a few so near by chance, and an input that is 0 whatever the weights are has no kink.
*/
PetscErrorCode CourantStateIsKink(CourantProblem problem, Vec theta, PetscReal scale, PetscBool *kink)
{
  const CourantRandom stream = {.seed = 1, .purpose = COURANT_RANDOM_KINK};
  PetscReal norm, length, difference, largest, worst = 0;
  Vec v, here, there;
  Mat H;

  PetscFunctionBeginUser;
  *kink = PETSC_FALSE;
  if (CourantNetIsSmooth(problem->net)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantProblemCreateHessian(problem, &H));
  PetscCall(VecDuplicate(theta, &v));
  PetscCall(VecDuplicate(theta, &here));
  PetscCall(VecDuplicate(theta, &there));
  PetscCall(CourantSetNormal(v, stream));
  PetscCall(VecNorm(v, NORM_2, &norm));
  PetscCall(VecNorm(theta, NORM_2, &length));
  const PetscReal size = PetscMax(length, scale), shift = step * (size > 0 ? size : 1) / norm;
  PetscCall(ProductAt(problem, H, theta, 0, v, here));
  PetscCall(VecNorm(here, NORM_2, &largest));
  for (int side = -1; side <= 1; side += 2) {
    PetscCall(ProductAt(problem, H, theta, side * shift, v, there));
    PetscCall(VecNorm(there, NORM_2, &norm));
    largest = PetscMax(largest, norm);
    PetscCall(VecAXPY(there, -1, here));
    PetscCall(VecNorm(there, NORM_2, &difference));
    worst = PetscMax(worst, difference);
  }
  *kink = worst > change * largest ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(CourantProblemSetState(problem, theta, NULL, NULL));
  PetscCall(VecDestroy(&v));
  PetscCall(VecDestroy(&here));
  PetscCall(VecDestroy(&there));
  PetscCall(MatDestroy(&H));
  PetscFunctionReturn(PETSC_SUCCESS);
}
