/* courant symbol: von Neumann analysis. */
#include "cmd/symbol.h"

static PetscErrorCode Run(const char *model)
{
  PetscFunctionBeginUser;
  PetscCall(CourantSessionRun(&CourantSymbolNetwork, NULL, model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const CourantOption options[] = {
    COURANT_MODEL_OPTIONS,
    COURANT_RESULT_OPTIONS,
    {0},
};

const CourantCommandOps CourantCommand_symbol = {
    .name = "symbol",
    .argument = "MODEL",
    .summary = "von Neumann analysis: amplification factor per frequency, and the limits that follow",
    .description = "Computes the symbol of a network's linearised gradient flow.",
    .options = options,
    .solvers =
        "  -hessian_max_eps_...  -hessian_min_eps_...   both ends of the spectrum; -eps_... sets both\n",
    .Run = Run,
};
