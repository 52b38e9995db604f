/* courant symbol on a linear PDE: amplification per frequency, the limit of the step, the grid's matrix. */
#include "cmd/symbol-scheme.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "stability/modes.h"

/* ---- setting up ---- */

static void Symbol(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  CourantSchemeSymbol(((SymbolPdeSession *)ctx)->scheme, step, phase, A);
}

static void Flow(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[])
{
  (void)step;
  CourantEquationSymbol(((SymbolPdeSession *)ctx)->equation, phase, A);
}

static PetscErrorCode SetUpAnalysis(SymbolPdeSession *s)
{
  const CourantScheme scheme = s->scheme;

  PetscFunctionBeginUser;
  PetscCall(CourantEquationCreate(scheme, &s->equation));
  PetscCall(CourantVonNeumannCreate(scheme->comm, &s->analysis));
  PetscCall(CourantVonNeumannSetSymbol(s->analysis, scheme->dimension, scheme->fields, Symbol, s));
  if (s->equation) PetscCall(CourantVonNeumannSetFlow(s->analysis, Flow));
  if (scheme->by_step) PetscCall(CourantVonNeumannSetStepDependent(s->analysis, scheme->step));
  PetscCall(CourantVonNeumannSetStepper(s->analysis, s->stepper));
  PetscCall(CourantVonNeumannSetQuiet(s->analysis, s->output.quiet));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The stepper and the solvers, which read their options. */
static PetscErrorCode CreateSolvers(SymbolPdeSession *s)
{
  const PetscInt unknowns = s->scheme->points[0] * s->scheme->points[1] * s->scheme->fields;

  PetscFunctionBeginUser;
  PetscCall(CourantStepperDestroy(&s->stepper));
  PetscCall(CourantStepperCreate(s->scheme->comm, "probe_", &s->stepper));
  PetscCall(CourantStepperSetUp(s->stepper));
  PetscCall(CourantStepperGetType(s->stepper, NULL, &s->one_step));
  if (!s->periodic && unknowns > COURANT_DENSE_MAX)
    PetscCall(CourantGridMatrixSetUp(s->scheme->comm, s->eps));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(void *ctx, CourantDeck deck)
{
  SymbolPdeSession *s = (SymbolPdeSession *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CourantSchemeCreate(PETSC_COMM_WORLD, deck, &s->scheme));
  PetscCall(CourantOutputOpen(&s->scheme->model, "symbol", &s->output));
  if (s->output.resume) CourantInputError(PETSC_COMM_WORLD, "-resume: courant symbol starts anew");
  s->periodic = s->scheme->boundary == COURANT_BOUNDARY_PERIODIC ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(CourantSchemeApplyOptions(s->scheme));
  PetscCall(CreateSolvers(s));
  PetscCall(CourantSchemeCheckOptionsUsed(s->scheme));
  PetscCall(CourantStabilityRegionSetFromOptions(&s->region));
  s->region.quiet = s->output.quiet;
  PetscCall(SetUpAnalysis(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAgain(void *ctx)
{
  SymbolPdeSession *s = (SymbolPdeSession *)ctx;

  PetscFunctionBeginUser;
  PetscCall(CreateSolvers(s));
  PetscCall(CourantVonNeumannSetStepper(s->analysis, s->stepper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- frequencies ---- */

enum { BATCH = 4096 };

static PetscErrorCode Amplify(SymbolPdeSession *s)
{
  CourantProgress progress;
  PetscReal(*phase)[2];

  PetscFunctionBeginUser;
  s->nx = s->scheme->points[1];
  s->n = s->scheme->points[0] * s->nx;
  for (int d = 0; d < 2; d++) {
    PetscCall(PetscMalloc1(s->scheme->points[d], &s->frequency[d]));
    for (PetscInt i = 0; i < s->scheme->points[d]; i++)
      s->frequency[d][i] = CourantModesFrequency(i, s->scheme->points[d]);
  }
  PetscCall(PetscMalloc1(s->n, &s->amplification));
  PetscCall(PetscMalloc1(BATCH, &phase));
  CourantProgressBegin(&progress, "frequencies", 0, (double)s->n, s->output.quiet);
  for (PetscInt first = 0; first < s->n; first += BATCH) {
    const PetscInt n = PetscMin(BATCH, s->n - first);
    CourantInterruptCheck();
    for (PetscInt i = 0; i < n; i++) {
      phase[i][0] = s->frequency[0][(first + i) / s->nx];
      phase[i][1] = s->frequency[1][(first + i) % s->nx];
    }
    PetscCall(CourantVonNeumannComputeAmplification(s->analysis, s->scheme->step, n,
                                                    (const PetscReal(*)[2])phase, s->amplification + first));
    CourantProgressUpdate(&progress, (double)(first + n));
  }
  CourantProgressEnd(&progress);
  PetscCall(PetscFree(phase));
  PetscCall(CourantVonNeumannComputeLimit(s->analysis, &s->limit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the command ---- */

static PetscErrorCode PrintHeader(const SymbolPdeSession *s)
{
  const char *type;

  PetscFunctionBeginUser;
  if (s->output.quiet || s->output.rank) PetscFunctionReturn(PETSC_SUCCESS);
  printf("von Neumann analysis of %s\n", s->scheme->model.name);
  if (s->scheme->model.about[0]) printf("  %s\n", s->scheme->model.about);
  PetscCall(CourantStepperGetType(s->stepper, &type, NULL));
  PetscCall(CourantSchemeView(s->scheme, type, stdout));
  PetscCall(CourantSchemeCheckConsistency(s->scheme, stderr));
  fflush(stdout);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All that one rank does alone. */
static PetscErrorCode Analyse(SymbolPdeSession *s)
{
  PetscFunctionBeginUser;
  PetscCall(Amplify(s));
  PetscCall(SymbolPdeWrite(s));
  if (!s->output.quiet) PetscCall(SymbolPdePrint(s));
  PetscCall(CourantStabilityRegionWrite(&s->region, s->stepper, NULL, NULL, s->output.file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Finish(SymbolPdeSession *s)
{
  PetscFunctionBeginUser;
  PetscCall(CourantOutputFinish(&s->output));
  CourantOutputView(&s->output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Work(void *ctx)
{
  SymbolPdeSession *s = (SymbolPdeSession *)ctx;
  const MPI_Comm comm = s->scheme->comm;

  PetscFunctionBeginUser;
  CourantCallOnRankZero(comm, s->output.rank,
                        CourantOutputCreate(&s->output, &s->scheme->model, "von Neumann analysis"));
  PetscCall(PrintHeader(s));
  CourantCallOnRankZero(comm, s->output.rank, Analyse(s));
  if (!s->periodic) PetscCall(SymbolPdeSolveMatrix(s));
  CourantCallOnRankZero(comm, s->output.rank, Finish(s));
  PetscCheck(!s->output.unconverged, comm, PETSC_ERR_NOT_CONVERGED,
             "%d of 2 ends of the matrix's spectrum did not converge; the rest is in the result file",
             s->output.unconverged);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TearDown(void *ctx)
{
  SymbolPdeSession *s = (SymbolPdeSession *)ctx;

  PetscFunctionBeginUser;
  for (int d = 0; d < 2; d++) {
    PetscCall(PetscFree(s->frequency[d]));
    PetscCall(EPSDestroy(&s->eps[d]));
  }
  PetscCall(PetscFree(s->amplification));
  PetscCall(CourantGridMatrixReset(&s->matrix));
  PetscCall(CourantVonNeumannDestroy(&s->analysis));
  PetscCall(CourantEquationDestroy(&s->equation));
  PetscCall(CourantStepperDestroy(&s->stepper));
  PetscCall(CourantOutputClose(&s->output));
  PetscCall(CourantSchemeDestroy(&s->scheme));
  PetscFunctionReturn(PETSC_SUCCESS);
}

extern const CourantCommandOps CourantCommand_symbol;

const CourantSessionOps CourantSymbolPde = {
    &CourantCommand_symbol, sizeof(SymbolPdeSession), SetUp, ReadAgain, Work, TearDown};
