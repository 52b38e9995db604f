/*
  A bound of the largest eigenvalue of each layer's block of the Hessian, by what the layer reads and how the
  loss bends in what it puts out.

  The block for the parameters of layer l is mean_i X_i^T M_i X_i, X_i the patches of sample i's input and M_i
  the Hessian of its loss in the layer's output. So lambda_max(H_ll) <= max_i lambda_max(M_i)^+
  lambda_max(mean_i P_i^T P_i), P_i the patches for one output channel, and that is at most max_w rho(S_l(w))
  but for the bias (cross-spectrum.c). It limits that layer with all others frozen, and implies nothing for
  the network: lambda_max(H) is at least every block's.
*/
#include "stability/layer-symbols.h"
#include "core/interrupt.h"
#include <math.h>

/* CourantLayerSymbolsApply - Can a net be analysed layer by layer? Not where batch_norm couples samples. */
PetscBool CourantLayerSymbolsApply(CourantNet net)
{
  return net->coupled ? PETSC_FALSE : PETSC_TRUE;
}

/* CourantLayerSymbolBound - Upper bound of the largest eigenvalue of the layer's block, never negative. */
double CourantLayerSymbolBound(const CourantLayerSymbol *symbol)
{
  const double curvature = symbol->curvature.value + symbol->curvature.residual;
  return curvature < 0 ? 0 : curvature * symbol->spectrum.patches;
}

/* CourantLayerSymbolStatus - Does the bound hold, as far as the residual of the exact value can tell? */
CourantBoundStatus CourantLayerSymbolStatus(const CourantLayerSymbol *symbol)
{
  const double rounding = 1e-12, bound = CourantLayerSymbolBound(symbol);

  if (symbol->curvature.status != COURANT_CONVERGED || symbol->exact.status != COURANT_CONVERGED)
    return COURANT_BOUND_OPEN;
  return symbol->exact.value - symbol->exact.residual <= bound * (1 + rounding) ? COURANT_BOUND_HOLDS
                                                                                : COURANT_BOUND_BROKEN;
}

static PetscErrorCode FindLayers(CourantNet net, CourantLayerSymbols *symbols)
{
  PetscFunctionBeginUser;
  *symbols = (CourantLayerSymbols){0};
  for (PetscInt l = 0; l < net->nlayers; l++) symbols->n += net->layers[l].size > 0;
  PetscCall(PetscCalloc1(symbols->n, &symbols->layers));
  for (PetscInt l = 0, i = 0; l < net->nlayers; l++)
    if (net->layers[l].size > 0) symbols->layers[i++].layer = l;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ComputeSpectra(CourantProblem problem, const double theta[], PetscBool quiet,
                                     CourantLayerSymbols *symbols)
{
  const double total = (double)symbols->n * CourantCrossSpectrumUnits(problem);
  CourantProgress progress;

  PetscFunctionBeginUser;
  CourantProgressBegin(&progress, "spectral densities", 0, total, quiet);
  for (PetscInt i = 0; i < symbols->n; i++) {
    CourantCrossSpectrum *spectrum = &symbols->layers[i].spectrum;
    PetscCall(CourantCrossSpectrumCreate(problem, theta, symbols->layers[i].layer, &progress, spectrum));
    PetscCall(CourantCrossSpectrumMaximise(spectrum, (int)problem->threads));
  }
  CourantProgressEnd(&progress);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ComputeCurvatures(CourantProblem problem, const double theta[], PetscBool quiet,
                                        CourantLayerSymbols *symbols)
{
  CourantProgress progress;
  double total = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < symbols->n; i++) total += CourantCurvatureUnits(problem, symbols->layers[i].layer);
  CourantProgressBegin(&progress, "curvatures", 0, total, quiet);
  for (PetscInt i = 0; i < symbols->n; i++)
    PetscCall(CourantCurvatureCompute(problem, theta, symbols->layers[i].layer, &progress,
                                      &symbols->layers[i].curvature));
  CourantProgressEnd(&progress);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveLargest(CourantProblem problem, Mat A, CourantExtreme *largest)
{
  CourantSpectrum spectrum;

  PetscFunctionBeginUser;
  PetscCall(CourantSpectrumCreate(problem->comm, &spectrum));
  PetscCall(CourantSpectrumSetOperator(spectrum, A));
  PetscCall(CourantSpectrumSetFromOptions(spectrum));
  PetscCall(CourantSpectrumSolveLargest(spectrum));
  PetscCall(CourantSpectrumGetExtremes(spectrum, largest, NULL));
  PetscCall(CourantSpectrumDestroy(&spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The blocks' largest eigenvalues, and that of the whole. */
static PetscErrorCode ComputeExact(CourantProblem problem, PetscBool quiet, CourantLayerSymbols *symbols)
{
  CourantProgress progress;
  Mat A;

  PetscFunctionBeginUser;
  CourantProgressBegin(&progress, "blocks of the Hessian", 0, (double)symbols->n + 1, quiet);
  for (PetscInt i = 0; i <= symbols->n; i++) {
    CourantLayerSymbol *symbol = &symbols->layers[i];
    if (i < symbols->n)
      PetscCall(CourantProblemCreateLayerBlock(problem, problem->net->layers[symbol->layer].name, &A));
    else
      PetscCall(CourantProblemCreateHessian(problem, &A));
    PetscCall(SolveLargest(problem, A, i < symbols->n ? &symbol->exact : &symbols->whole));
    PetscCall(MatDestroy(&A));
    CourantProgressUpdate(&progress, (double)i + 1);
  }
  CourantProgressEnd(&progress);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantLayerSymbolsCreate - The analysis of every layer with parameters at theta; collective.

  Refused where CourantLayerSymbolsApply() says no. A solver that does not converge leaves its status, not an
  error. Options: those of CourantSpectrum. The state of the problem's products is theta then.
*/
PetscErrorCode CourantLayerSymbolsCreate(CourantProblem problem, Vec theta, PetscBool quiet,
                                         CourantLayerSymbols *symbols)
{
  const size_t bytes = sizeof(double) * (size_t)problem->net->size;
  PetscReal loss;
  double *all;

  PetscFunctionBeginUser;
  PetscCheck(CourantLayerSymbolsApply(problem->net), problem->comm, PETSC_ERR_SUP,
             "batch_norm couples the samples of this network");
  PetscCall(CourantProblemSetState(problem, theta, &loss, NULL));
  PetscCheck(isfinite(loss), problem->comm, PETSC_ERR_NOT_CONVERGED,
             "no analysis of the layers at these weights: the loss is %.3g", loss);
  PetscCall(PetscMalloc(bytes, &all));
  PetscCall(PetscMemcpy(all, problem->theta, bytes)); /* which setting the state has brought to every rank */
  PetscCall(FindLayers(problem->net, symbols));
  PetscCall(ComputeSpectra(problem, all, quiet, symbols));
  PetscCall(ComputeCurvatures(problem, all, quiet, symbols));
  PetscCall(PetscFree(all));
  PetscCall(ComputeExact(problem, quiet, symbols));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantLayerSymbolsDestroy(CourantLayerSymbols *symbols)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < symbols->n; i++)
    PetscCall(CourantCrossSpectrumDestroy(&symbols->layers[i].spectrum));
  PetscCall(PetscFree(symbols->layers));
  *symbols = (CourantLayerSymbols){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}
