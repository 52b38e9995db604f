/*
  The flip (period doubling) of gradient descent at eta_c = 2 / m_max: which way the orbit goes when the
  learning rate passes the edge.

  Kuznetsov's coefficient for maps (Elements of Applied Bifurcation Theory, section 5.4), for theta' = theta -
  eta (grad L + alpha D theta) with v the unit top eigenvector of H + alpha D: c = (eta_c / 2) D3 . (H + alpha
  D)^-1 D3 - (eta_c / 6) D4,    D3 = D^3 L[v,v,.],  D4 = D^4 L[v,v,v,v]. c > 0: a stable 2-cycle of
  half-distance sqrt((eta m_max - 2) / c) is born past the edge. c < 0: before it, an unstable one bounds the
  basin.
*/
#include "core/compat.h"
#include "courant.h"
#include <math.h>

struct _CourantFlip {
  CourantProblem problem;
  KSP ksp;
  Mat H;
  Vec gradient[4]; /* coefficients of the gradient's jet; 0 and 1 are not asked for */
  Vec solution;
};

PetscErrorCode CourantFlipCreate(CourantProblem problem, CourantFlip *result)
{
  CourantFlip flip;
  MPI_Comm comm;
  PC pc;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&flip));
  *result = flip;
  flip->problem = problem;
  PetscCall(CourantProblemCreateHessian(problem, &flip->H));
  PetscCall(CourantProblemCreateVec(problem, &flip->gradient[2]));
  PetscCall(CourantProblemCreateVec(problem, &flip->gradient[3]));
  PetscCall(CourantProblemCreateVec(problem, &flip->solution));
  PetscCall(PetscObjectGetComm((PetscObject)flip->solution, &comm));
  PetscCall(KSPCreate(comm, &flip->ksp));
  PetscCall(KSPSetOptionsPrefix(flip->ksp, "flip_"));
  PetscCall(KSPSetType(flip->ksp, KSPMINRES));
  PetscCall(KSPSetTolerances(flip->ksp, 1e-12, 1e-300, PETSC_DEFAULT, 5000));
  PetscCall(KSPGetPC(flip->ksp, &pc));
  PetscCall(PCSetType(pc, PCNONE));
  PetscCall(KSPSetOperators(flip->ksp, flip->H, flip->H));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantFlipSetFromOptions - Options: those of KSP with the prefix flip_. */
PetscErrorCode CourantFlipSetFromOptions(CourantFlip flip)
{
  PetscFunctionBeginUser;
  PetscCall(KSPSetFromOptions(flip->ksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantFlipCompute - The normal form's coefficient at the equilibrium theta, which the problem's state is
  at; collective.

  v: unit top eigenvector of H + alpha D; largest, smallest: its extreme eigenvalues, m. The coefficient is
  NaN where the normal form does not hold: the top eigenvalue is not simple (multiple), the state is not a
  minimum or c is not told from 0 (degenerate), a solve failed (not_converged).
*/
PetscErrorCode CourantFlipCompute(CourantFlip flip, PetscReal alpha, Vec theta, Vec v,
                                  const CourantExtreme *largest, const CourantExtreme *smallest,
                                  CourantFlipResult *result)
{
  PetscScalar cubic, quartic;
  PetscReal norm, residual;
  KSPConvergedReason reason;

  PetscFunctionBeginUser;
  *result = (CourantFlipResult){
      .coefficient = NAN, .error = NAN, .limit = 2 / largest->value, .status = COURANT_NOT_CONVERGED};
  if (largest->status || smallest->status) PetscFunctionReturn(PETSC_SUCCESS);
  result->status = COURANT_DEGENERATE;
  if (smallest->value <= smallest->residual) PetscFunctionReturn(PETSC_SUCCESS);
  result->status = COURANT_MULTIPLE;
  if (largest->multiplicity > 1) PetscFunctionReturn(PETSC_SUCCESS);

  PetscCall(CourantProblemComputeJet(flip->problem, theta, v, 3, NULL, flip->gradient));
  const Vec D3 = flip->gradient[2];
  PetscCall(VecScale(D3, 2));
  PetscCall(VecDot(v, flip->gradient[3], &quartic));
  quartic *= 6;
  PetscCall(CourantHessianSetWeightDecay(flip->H, alpha));
  PetscCall(KSPSolve(flip->ksp, D3, flip->solution));
  PetscCall(KSPGetConvergedReason(flip->ksp, &reason));
  PetscCall(KSPGetResidualNorm(flip->ksp, &residual));
  PetscCall(VecDot(D3, flip->solution, &cubic));
  PetscCall(VecNorm(D3, NORM_2, &norm));
  result->status = COURANT_NOT_CONVERGED;
  if (reason < 0) PetscFunctionReturn(PETSC_SUCCESS);

  const PetscReal first = 0.5 * result->limit * PetscRealPart(cubic),
                  second = result->limit / 6 * PetscRealPart(quartic);
  result->error =
      0.5 * result->limit * norm * residual / smallest->value + 1e-12 * (fabs(first) + fabs(second));
  result->status = COURANT_DEGENERATE;
  if (fabs(first - second) <= 10 * result->error) PetscFunctionReturn(PETSC_SUCCESS);
  result->coefficient = first - second;
  result->status = COURANT_CONVERGED;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantFlipDestroy(CourantFlip *flip)
{
  PetscFunctionBeginUser;
  if (!*flip) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KSPDestroy(&(*flip)->ksp));
  PetscCall(MatDestroy(&(*flip)->H));
  PetscCall(VecDestroy(&(*flip)->gradient[2]));
  PetscCall(VecDestroy(&(*flip)->gradient[3]));
  PetscCall(VecDestroy(&(*flip)->solution));
  PetscCall(PetscFree(*flip));
  PetscFunctionReturn(PETSC_SUCCESS);
}
