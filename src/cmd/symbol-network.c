/* courant symbol on a network: the symbol of its data and the bounds that follow, beside exact eigenvalues.
 */
#include "cmd/symbol-layers.h"
#include "cmd/symbol.h"
#include "train/settings.h"

typedef struct {
  CourantProblem problem;
  CourantTrainSettings train;
  CourantOutput output;
  CourantSpectrum spectrum;
  Mat H;
  Vec theta;
} Session;

static PetscErrorCode SetUp(void *ctx, CourantDeck deck)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemCreate(PETSC_COMM_WORLD, deck, &s->problem));
  PetscCall(CourantProblemSetFromOptions(s->problem));
  PetscCall(CourantTrainRead(s->problem->top.train, &s->train));
  PetscCall(CourantOutputOpen(&s->problem->model, "symbol", &s->output));
  if (s->output.resume) CourantInputError(PETSC_COMM_WORLD, "-resume: courant symbol starts anew");
  PetscCall(CourantProblemSetUp(s->problem));
  PetscCall(CourantProblemCreateHessian(s->problem, &s->H));
  PetscCall(CourantProblemCreateVec(s->problem, &s->theta));
  PetscCall(CourantSpectrumCreate(s->problem->comm, &s->spectrum));
  PetscCall(CourantSpectrumSetOperator(s->spectrum, s->H));
  PetscCall(CourantSpectrumSetFromOptions(s->spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAgain(void *ctx)
{
  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumSetFromOptions(((Session *)ctx)->spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Finish(Session *s)
{
  PetscFunctionBeginUser;
  PetscCall(CourantOutputFinish(&s->output));
  CourantOutputView(&s->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Work(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantProblemVerifyReference(s->problem));
  CourantCallOnRankZero(s->problem->comm, s->output.rank,
                        CourantOutputCreate(&s->output, &s->problem->model, "von Neumann analysis"));
  if (!s->output.quiet && s->output.rank == 0) {
    printf("von Neumann analysis of %s\n", s->problem->model.name);
    PetscCall(CourantSessionPrintModel(s->problem, &s->output, CourantProblemMemory(s->problem)));
  }
  PetscCall(CourantProblemGetInitialState(s->problem, s->theta));
  PetscCall(CourantReportLayers(s->problem, s->theta, &s->train, &s->output));
  CourantCallOnRankZero(s->problem->comm, s->output.rank, Finish(s));
  PetscCheck(!s->output.unconverged, s->problem->comm, PETSC_ERR_NOT_CONVERGED,
             "%d result%s did not converge or above a bound: flagged in the result file",
             s->output.unconverged, s->output.unconverged > 1 ? "s" : "");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TearDown(void *ctx)
{
  Session *s = (Session *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumDestroy(&s->spectrum));
  PetscCall(MatDestroy(&s->H));
  PetscCall(VecDestroy(&s->theta));
  PetscCall(CourantOutputClose(&s->output));
  PetscCall(CourantProblemDestroy(&s->problem));
  PetscCall(CourantTrainReset(&s->train));
  PetscFunctionReturn(PETSC_SUCCESS);
}

extern const CourantCommandOps CourantCommand_symbol;

const CourantSessionOps CourantSymbolNetwork = {
    &CourantCommand_symbol, sizeof(Session), SetUp, ReadAgain, Work, TearDown};
