/* The gradient flow d theta / dt = F(theta) by any PETSc time stepper. */
#include "core/compat.h"
#include "courant.h"
#include "dynamics/steppers.h"

struct _CourantFlow {
  CourantProblem problem;
  TS ts;
  Mat shifted; /* shift + H + alpha D, the Jacobian of udot - F(u) */
  Mat H;
  Vec theta;
  PetscReal alpha, shift;
};

static PetscErrorCode RHSFunction(TS ts, PetscReal t, Vec theta, Vec F, void *ctx)
{
  CourantFlow flow = (CourantFlow)ctx;

  PetscFunctionBeginUser;
  (void)ts, (void)t;
  PetscCall(CourantProblemComputeFlow(flow->problem, flow->alpha, theta, F));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode IFunction(TS ts, PetscReal t, Vec theta, Vec udot, Vec residual, void *ctx)
{
  PetscFunctionBeginUser;
  PetscCall(RHSFunction(ts, t, theta, residual, ctx));
  PetscCall(VecAYPX(residual, -1, udot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatMult_Shifted(Mat A, Vec x, Vec y)
{
  CourantFlow flow;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(A, &flow));
  PetscCall(MatMult(flow->H, x, y));
  PetscCall(VecAXPY(y, flow->shift, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode IJacobian(TS ts, PetscReal t, Vec theta, Vec udot, PetscReal shift, Mat A, Mat P,
                                void *ctx)
{
  CourantFlow flow = (CourantFlow)ctx;

  PetscFunctionBeginUser;
  (void)ts, (void)t, (void)udot, (void)A, (void)P;
  PetscCall(CourantProblemSetState(flow->problem, theta, NULL, NULL));
  PetscCall(CourantHessianSetWeightDecay(flow->H, flow->alpha));
  flow->shift = shift;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantFlowCreate - Stepper of the gradient flow of a problem, which is borrowed. */
PetscErrorCode CourantFlowCreate(CourantProblem problem, CourantFlow *result)
{
  CourantFlow flow;
  SNES snes;
  SNESLineSearch search;
  KSP ksp;
  PC pc;
  PetscInt n, N;
  MPI_Comm comm;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&flow));
  *result = flow;
  flow->problem = problem;
  PetscCall(CourantProblemCreateVec(problem, &flow->theta));
  PetscCall(PetscObjectGetComm((PetscObject)flow->theta, &comm));
  PetscCall(VecGetLocalSize(flow->theta, &n));
  PetscCall(VecGetSize(flow->theta, &N));
  PetscCall(CourantProblemCreateHessian(problem, &flow->H));
  PetscCall(MatCreateShell(comm, n, n, N, N, flow, &flow->shifted));
  PetscCall(MatShellSetOperation(flow->shifted, MATOP_MULT, (void (*)(void))MatMult_Shifted));

  PetscCall(TSCreate(comm, &flow->ts));
  PetscCall(CourantStepperConfigure(flow->ts, "flow_"));
  PetscCall(TSGetSNES(flow->ts, &snes));
  /* A step may be compared with its neighbour's, 1e-9 away: full Newton steps down to the rounding of theta.
   */
  PetscCall(SNESSetTolerances(snes, 1e-50, 1e-14, 1e-13, 50, -1));
  PetscCall(SNESGetLineSearch(snes, &search));
  PetscCall(SNESLineSearchSetType(search, SNESLINESEARCHBASIC));
  PetscCall(TSSetErrorIfStepFails(flow->ts, PETSC_FALSE));
  PetscCall(SNESGetKSP(snes, &ksp));
  PetscCall(KSPSetTolerances(ksp, 1e-10, PETSC_DEFAULT, PETSC_DEFAULT, 1000));
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetType(pc, PCNONE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantFlowSetFromOptions - Options: those of TS with the prefix flow_. */
PetscErrorCode CourantFlowSetFromOptions(CourantFlow flow)
{
  TSType type;

  PetscFunctionBeginUser;
  PetscCall(TSSetFromOptions(flow->ts));
  PetscCall(TSGetType(flow->ts, &type));
  if (CourantStepperIsExplicit(type))
    PetscCall(TSSetRHSFunction(flow->ts, NULL, RHSFunction, flow));
  else {
    PetscCall(TSSetIFunction(flow->ts, NULL, IFunction, flow));
    PetscCall(TSSetIJacobian(flow->ts, flow->shifted, flow->shifted, IJacobian, flow));
  }
  PetscCall(TSSetSolution(flow->ts, flow->theta));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantFlowSetWeightDecay(CourantFlow flow, PetscReal alpha)
{
  PetscFunctionBeginUser;
  flow->alpha = alpha;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantFlowRestart - Forgets what a multistep method or a
  reused stage remembers: the next step is a first step.
*/
PetscErrorCode CourantFlowRestart(CourantFlow flow)
{
  PetscFunctionBeginUser;
  PetscCall(TSSetTime(flow->ts, 0));
  PetscCall(TSSetStepNumber(flow->ts, 0));
  PetscCall(TSRestartStep(flow->ts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantFlowStep - One step of the given length, theta in
  place; where its solver does not converge, theta is as it was.
*/
PetscErrorCode CourantFlowStep(CourantFlow flow, PetscReal step, Vec theta, PetscBool *converged)
{
  TSConvergedReason reason;

  PetscFunctionBeginUser;
  PetscCall(VecCopy(theta, flow->theta));
  PetscCall(TSSetTimeStep(flow->ts, step));
  PetscCall(TSSetConvergedReason(flow->ts, TS_CONVERGED_ITERATING));
  PetscCall(TSStep(flow->ts));
  PetscCall(TSGetConvergedReason(flow->ts, &reason));
  *converged = reason >= 0 ? PETSC_TRUE : PETSC_FALSE;
  if (*converged) PetscCall(VecCopy(flow->theta, theta));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantFlowGetTS - The stepper itself; borrowed. */
PetscErrorCode CourantFlowGetTS(CourantFlow flow, TS *ts)
{
  PetscFunctionBeginUser;
  *ts = flow->ts;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantFlowDestroy(CourantFlow *flow)
{
  PetscFunctionBeginUser;
  if (!*flow) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(TSDestroy(&(*flow)->ts));
  PetscCall(MatDestroy(&(*flow)->H));
  PetscCall(MatDestroy(&(*flow)->shifted));
  PetscCall(VecDestroy(&(*flow)->theta));
  PetscCall(PetscFree(*flow));
  PetscFunctionReturn(PETSC_SUCCESS);
}
