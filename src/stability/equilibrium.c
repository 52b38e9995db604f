/*
  Equilibria of gradient descent with weight decay: F(theta) = -grad L - alpha D theta = 0.

  They are reached by descent of L + alpha/2 theta . D theta only, by TAO's trust-region Newton method with
  the exact Hessian, which follows negative curvature; a bare Newton method would find saddles. From one alpha
  to the next they are continued along d theta / d alpha.
*/
#include "core/interrupt.h"
#include "courant.h"
#include <math.h>

enum { INSERTED = 8 }; /* intermediate alphas where the predictor fails */

struct _CourantEquilibrium {
  CourantProblem problem;
  Tao tao;
  KSP ksp; /* of the predictor */
  Mat H;   /* H + alpha D */
  Vec mask, start, tangent, next_tangent, rhs, decay;
  PetscReal alpha;
};

static PetscErrorCode AddDecay(CourantEquilibrium eq, Vec theta, PetscReal *objective, Vec gradient)
{
  PetscScalar square;

  PetscFunctionBeginUser;
  PetscCall(VecPointwiseMult(eq->decay, eq->mask, theta));
  if (objective) {
    PetscCall(VecDot(theta, eq->decay, &square));
    *objective += 0.5 * eq->alpha * PetscRealPart(square);
  }
  if (gradient) PetscCall(VecAXPY(gradient, eq->alpha, eq->decay));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Objective(Tao tao, Vec theta, PetscReal *objective, void *ctx)
{
  CourantEquilibrium eq = (CourantEquilibrium)ctx;

  PetscFunctionBeginUser;
  (void)tao;
  CourantInterruptCheck();
  PetscCall(CourantProblemComputeLoss(eq->problem, theta, objective, NULL));
  PetscCall(AddDecay(eq, theta, objective, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ObjectiveAndGradient(Tao tao, Vec theta, PetscReal *objective, Vec gradient, void *ctx)
{
  CourantEquilibrium eq = (CourantEquilibrium)ctx;

  PetscFunctionBeginUser;
  (void)tao;
  CourantInterruptCheck();
  PetscCall(CourantProblemComputeLoss(eq->problem, theta, objective, gradient));
  PetscCall(AddDecay(eq, theta, objective, gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Gradient(Tao tao, Vec theta, Vec gradient, void *ctx)
{
  PetscReal objective;

  PetscFunctionBeginUser;
  PetscCall(ObjectiveAndGradient(tao, theta, &objective, gradient, ctx));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetHessian(Tao tao, Vec theta, Mat H, Mat P, void *ctx)
{
  CourantEquilibrium eq = (CourantEquilibrium)ctx;

  PetscFunctionBeginUser;
  (void)tao, (void)P;
  PetscCall(CourantProblemSetState(eq->problem, theta, NULL, NULL));
  PetscCall(CourantHessianSetWeightDecay(H, eq->alpha));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantEquilibriumCreate - Finder of equilibria of a problem, which is borrowed. */
PetscErrorCode CourantEquilibriumCreate(CourantProblem problem, CourantEquilibrium *equilibrium)
{
  CourantEquilibrium eq;
  MPI_Comm comm;
  KSP ksp;
  PC pc;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&eq));
  *equilibrium = eq;
  eq->problem = problem;
  PetscCall(CourantProblemGetDecayMask(problem, &eq->mask));
  PetscCall(VecDuplicate(eq->mask, &eq->start));
  PetscCall(VecDuplicate(eq->mask, &eq->next_tangent));
  PetscCall(VecDuplicate(eq->mask, &eq->tangent));
  PetscCall(VecDuplicate(eq->mask, &eq->rhs));
  PetscCall(VecDuplicate(eq->mask, &eq->decay));
  PetscCall(PetscObjectGetComm((PetscObject)eq->mask, &comm));
  PetscCall(CourantProblemCreateHessian(problem, &eq->H));

  PetscCall(TaoCreate(comm, &eq->tao));
  PetscCall(TaoSetOptionsPrefix(eq->tao, "equilibrium_"));
  PetscCall(TaoSetType(eq->tao, TAONTR));
  PetscCall(TaoSetObjective(eq->tao, Objective, eq));
  PetscCall(TaoSetGradient(eq->tao, NULL, Gradient, eq));
  PetscCall(TaoSetObjectiveAndGradient(eq->tao, NULL, ObjectiveAndGradient, eq));
  PetscCall(TaoSetHessian(eq->tao, eq->H, eq->H, SetHessian, eq));
  PetscCall(TaoSetMaximumIterations(eq->tao, 500));
  PetscCall(TaoGetKSP(eq->tao, &ksp));
  PetscCall(KSPSetTolerances(ksp, 0.1, PETSC_DEFAULT, PETSC_DEFAULT, PETSC_DEFAULT)); /* inexact Newton */
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetType(pc, PCNONE));

  PetscCall(KSPCreate(comm, &eq->ksp));
  PetscCall(KSPSetOptionsPrefix(eq->ksp, "equilibrium_"));
  PetscCall(KSPSetType(eq->ksp, KSPMINRES));
  PetscCall(KSPGetPC(eq->ksp, &pc));
  PetscCall(PCSetType(pc, PCNONE));
  PetscCall(KSPSetTolerances(eq->ksp, 1e-3, PETSC_DEFAULT, PETSC_DEFAULT, 500));
  PetscCall(KSPSetOperators(eq->ksp, eq->H, eq->H));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantEquilibriumSetFromOptions - Options: those of TAO and, for the predictor, of KSP, with the prefix
  equilibrium_.
*/
PetscErrorCode CourantEquilibriumSetFromOptions(CourantEquilibrium eq)
{
  static const char *const constant = "-equilibrium_tao_ntr_init_type";
  PetscBool set;

  PetscFunctionBeginUser;
  /*
    The default first radius comes from trial steps along the
    gradient, which may leave the basin the start is in.
  */
  PetscCall(PetscOptionsHasName(NULL, NULL, constant, &set));
  if (!set) PetscCall(PetscOptionsSetValue(NULL, constant, "constant"));
  PetscCall(TaoSetFromOptions(eq->tao));
  PetscCall(KSPSetFromOptions(eq->ksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantEquilibriumDescend - Goes down from theta to an equilibrium at alpha; collective.

  converged: |F| <= 1e-10 (|grad L| + alpha |D theta|), or with alpha = 0, where that yardstick vanishes with
  F, <= 1e-10 of the gradient at the start; or, for equilibria at theta = 0, where it vanishes too, <= 1e-12
  of both at the start. Whether the state is a minimum and not a valley that leads to infinity is for its
  spectrum to say.
*/
PetscErrorCode CourantEquilibriumDescend(CourantEquilibrium eq, PetscReal alpha, Vec theta,
                                         PetscBool *converged)
{
  PetscReal loss, scale, decay, F, norm, start;

  PetscFunctionBeginUser;
  eq->alpha = alpha;
  PetscCall(CourantProblemComputeLoss(eq->problem, theta, &loss, eq->rhs));
  PetscCall(VecNorm(eq->rhs, NORM_2, &scale));
  PetscCall(VecPointwiseMult(eq->decay, eq->mask, theta));
  PetscCall(VecNorm(eq->decay, NORM_2, &decay));
  PetscCall(VecNorm(theta, NORM_2, &norm));
  scale += alpha * decay;
  start = scale;
  *converged = PETSC_FALSE;
  if (!isfinite(loss) || !isfinite(scale))
    PetscFunctionReturn(PETSC_SUCCESS); /* nothing leads down from there */
  PetscCall(TaoSetTolerances(eq->tao, 1e-13 * scale, 0, 0));
  PetscCall(TaoSetInitialTrustRegionRadius(eq->tao, 0.1 * PetscMax(norm, 0.1)));
  PetscCall(TaoSetSolution(eq->tao, theta));
  PetscCall(TaoSolve(eq->tao));

  PetscCall(CourantProblemComputeLoss(eq->problem, theta, &loss, eq->rhs));
  if (alpha > 0) PetscCall(VecNorm(eq->rhs, NORM_2, &scale));
  PetscCall(AddDecay(eq, theta, NULL, eq->rhs));
  PetscCall(VecNorm(eq->decay, NORM_2, &decay));
  PetscCall(VecNorm(eq->rhs, NORM_2, &F));
  *converged =
      F <= 1e-10 * (scale + alpha * decay) || (alpha > 0 && F <= 1e-12 * start) ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The branch's tangent d theta / d alpha at an equilibrium: (H + alpha
  D) d theta / d alpha = -D theta; 0 where that has no solution.
*/
static PetscErrorCode Tangent(CourantEquilibrium eq, PetscReal alpha, Vec theta, Vec tangent)
{
  KSPConvergedReason reason;

  PetscFunctionBeginUser;
  eq->alpha = alpha;
  PetscCall(SetHessian(NULL, theta, eq->H, eq->H, eq));
  PetscCall(VecPointwiseMult(eq->rhs, eq->mask, theta));
  PetscCall(VecScale(eq->rhs, -1));
  PetscCall(KSPSolve(eq->ksp, eq->rhs, tangent));
  PetscCall(KSPGetConvergedReason(eq->ksp, &reason));
  if (reason < 0) PetscCall(VecSet(tangent, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Are two equilibria on one smooth branch? Along one, the step is the mean of the tangents at its ends up to
  third order in its length: defect = |step - (to - from) (t_from + t_to) / 2| / |step|. It counts as at least
  1 where either tangent points more than 60 degrees away from the step: that is a jump which the mean happens
  to fit, or a step around a bend.
*/
static PetscErrorCode BranchDefect(CourantEquilibrium eq, PetscReal from, PetscReal to, Vec theta, Vec next,
                                   PetscReal *defect)
{
  const Vec tangents[2] = {eq->tangent, eq->next_tangent}, step = eq->decay;
  PetscReal length, norm, size;
  PetscScalar along;
  PetscBool turned = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(VecWAXPY(step, -1, theta, next));
  PetscCall(VecNorm(step, NORM_2, &length));
  PetscCall(VecNorm(next, NORM_2, &norm));
  for (int i = 0; i < 2; i++) {
    PetscCall(VecDot(step, tangents[i], &along));
    PetscCall(VecNorm(tangents[i], NORM_2, &size));
    if (PetscRealPart(along) * (to - from) < 0.5 * fabs(to - from) * length * size && length > 1e-6 * norm)
      turned = PETSC_TRUE;
  }
  for (int i = 0; i < 2; i++) PetscCall(VecAXPY(step, -0.5 * (to - from), tangents[i]));
  PetscCall(VecNorm(step, NORM_2, defect));
  *defect /= length + 1e-6 * norm;
  if (turned) *defect = PetscMax(*defect, 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantEquilibriumContinue - From the equilibrium theta at alpha = from to the one at alpha = to;
  collective.

  theta is predicted along the tangent of its branch and corrected by descent. Where the result is not on the
  same branch by the tangents at both ends (a defect over 1/3), the step is shortened; when eight intermediate
  alphas, or steps eight times shortened, do not lead on, the branch has ended (a fold): theta descends to
  wherever that leads, and jumps goes up by one. Without convergence theta is left at the last equilibrium.
*/
PetscErrorCode CourantEquilibriumContinue(CourantEquilibrium eq, PetscReal from, PetscReal to, Vec theta,
                                          PetscInt *jumps, PetscBool *converged)
{
  PetscReal target = to, defect = 0;
  PetscInt inserted = 0, shortened = 0;

  PetscFunctionBeginUser;
  *converged = PETSC_TRUE;
  if (from != to) PetscCall(Tangent(eq, from, theta, eq->tangent));
  while (from != to) {
    PetscCall(VecWAXPY(eq->start, target - from, eq->tangent, theta));
    PetscCall(CourantEquilibriumDescend(eq, target, eq->start, converged));
    if (*converged) {
      PetscCall(Tangent(eq, target, eq->start, eq->next_tangent));
      PetscCall(BranchDefect(eq, from, target, theta, eq->start, &defect));
    }
    const PetscBool continued = *converged && defect <= 1. / 3 ? PETSC_TRUE : PETSC_FALSE;
    if (!continued && inserted < INSERTED && shortened < INSERTED) {
      const PetscReal factor =
          *converged ? 0.9 * PetscSqrtReal(1 / (3 * defect)) : 0.5; /* the defect is of second order */
      target = from + (target - from) * PetscMax(0.1, PetscMin(0.7, factor));
      shortened++;
      continue;
    }
    if (!continued) {
      target = to;
      PetscCall(VecCopy(theta, eq->start));
      PetscCall(CourantEquilibriumDescend(eq, target, eq->start, converged));
      if (!*converged) PetscFunctionReturn(PETSC_SUCCESS);
      ++*jumps;
    }
    PetscCall(VecCopy(eq->start, theta));
    PetscCall(VecCopy(eq->next_tangent, eq->tangent));
    inserted++;
    shortened = 0;
    from = target;
    target = to;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantEquilibriumDestroy(CourantEquilibrium *equilibrium)
{
  CourantEquilibrium eq = *equilibrium;

  PetscFunctionBeginUser;
  if (!eq) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(TaoDestroy(&eq->tao));
  PetscCall(KSPDestroy(&eq->ksp));
  PetscCall(MatDestroy(&eq->H));
  PetscCall(VecDestroy(&eq->start));
  PetscCall(VecDestroy(&eq->next_tangent));
  PetscCall(VecDestroy(&eq->tangent));
  PetscCall(VecDestroy(&eq->rhs));
  PetscCall(VecDestroy(&eq->decay));
  PetscCall(PetscFree(*equilibrium));
  PetscFunctionReturn(PETSC_SUCCESS);
}
