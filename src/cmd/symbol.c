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
    {"-linearise", "zero|init", "the weights to linearise at: 0 (default for one layer) or the deck's"},
    {"-learning_rate", "X", "learning rate, instead of the deck's"},
    {"-weight_decay", "X", "weight decay, instead of the deck's"},
    COURANT_REGION_OPTIONS,
    COURANT_MODEL_OPTIONS,
    COURANT_OUTPUT_OPTIONS,
    {0},
};

const CourantCommandOps CourantCommand_symbol = {
    .name = "symbol",
    .argument = "MODEL",
    .summary = "von Neumann analysis: amplification factor per frequency, and the limits that follow",
    .description =
        "Of a linear PDE: the amplification factor of every frequency under its time stepper, the longest "
        "stable step, whether powers stay\n"
        "bounded, and without periodic boundaries the spectrum of the matrix and its transient growth.\n"
        "Of a one-layer network: the symbol of its linearised gradient flow, the power spectrum of its "
        "images "
        "weighted by (s - y) r'';\n"
        "the weight decays and learning rates that it allows, and beside these bounds the numbers of the "
        "operator on the kernel's window,\n"
        "once with s frozen and once exact, with the rank-one part s (1 - s) g g^T; the frequency and the "
        "kernel that go unstable first.\n"
        "Of a deep network: for every layer the spectral density of what it reads, how the loss bends behind "
        "it, the bound that follows for\n"
        "its block of the Hessian, and the exact largest eigenvalue of that block.\n"
        "Every number comes with its error. The region |R(z)| <= 1 of the stepper or of the training rule is "
        "part of the result.",
    .options = options,
    .solvers =
        "  -hessian_max_eps_...  -hessian_min_eps_...    both ends of a Hessian's spectrum\n"
        "  -matrix_right_eps_... -matrix_large_eps_...   both ends of a large grid's matrix; -eps_... sets "
        "all\n"
        "  -probe_ts_...                                 time stepper, in place of the deck's: -ts_type rk "
        "-ts_rk_type 4\n",
    .Run = Run,
};
