/* courant symbol: von Neumann analysis. */
#include "cmd/symbol.h"
#include "stability/region.h"

static PetscErrorCode Run(const char *model)
{
  PetscFunctionBeginUser;
  PetscCall(CourantSessionRun(&CourantSymbolNetwork, &CourantSymbolPde, model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const CourantOption options[] = {
    COURANT_REGION_OPTIONS,
    COURANT_MODEL_OPTIONS,
    COURANT_RESULT_OPTIONS,
    {0},
};

const CourantCommandOps CourantCommand_symbol = {
    .name = "symbol",
    .argument = "MODEL",
    .summary = "von Neumann analysis: amplification factor per frequency, and the limits that follow",
    .description = "Computes the symbol of a network's linearised gradient flow; of a linear PDE the "
                   "amplification factor "
                   "of\nevery frequency under its time stepper, and the step at which stability is lost.",
    .options = options,
    .solvers =
        "  -hessian_max_eps_...  -hessian_min_eps_...   both ends of the spectrum; -eps_... sets both\n"
        "  -probe_ts_...         the time stepper, in place of the deck's: -ts_type rk -ts_rk_type 4\n"
        "  -matrix_right_eps_...  -matrix_large_eps_...  both ends of a large matrix's spectrum\n",
    .Run = Run,
};
