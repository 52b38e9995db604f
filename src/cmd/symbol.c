/* courant symbol: von Neumann analysis. */
#include "cmd/symbol.h"

static PetscErrorCode Run(const char *model)
{
  PetscFunctionBeginUser;
  PetscCall(CourantSessionRun(&CourantSymbolNetwork, NULL, model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const CourantOption options[] = {
    {"-linearise", "zero|init", "the weights to linearise at: 0 (default for one layer) or the deck's"},
    {"-learning_rate", "X", "learning rate, instead of the deck's"},
    {"-weight_decay", "X", "weight decay, instead of the deck's"},
    COURANT_MODEL_OPTIONS,
    COURANT_RESULT_OPTIONS,
    {0},
};

const CourantCommandOps CourantCommand_symbol = {
    .name = "symbol",
    .argument = "MODEL",
    .summary = "von Neumann analysis: amplification factor per frequency, and the limits that follow",
    .description =
        "Computes the symbol of a one-layer network's linearised gradient flow, the power spectrum of its "
        "images weighted by\n"
        "(s - y) r'', and the amplification factor of each frequency at the deck's learning rate and weight "
        "decay. The symbol bounds\n"
        "the spectrum of the Hessian: below weight decay alpha_min the flow itself may grow, above the "
        "limit the step is too long.\n"
        "Beside the bounds stand the numbers of the operator on the kernel's window, by SLEPc, with their "
        "residuals: once with s\n"
        "frozen, as von Neumann's analysis has it, and once exact, with the rank-one part s (1 - s) g g^T; "
        "and how far the bounds\n"
        "are from them (slack). The result file holds the symbol over frequency, the frequency and the "
        "kernel that go unstable first.",
    .options = options,
    .solvers =
        "  -hessian_max_eps_...  -hessian_min_eps_...   both ends of the spectrum; -eps_... sets both\n"
        "  -probe_ts_...                                time stepper instead of Euler's: -ts_type rk "
        "-ts_rk_type 4\n",
    .Run = Run,
};
