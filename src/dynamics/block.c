/* The block of the Hessian that belongs to the parameters of one layer. */
#include "core/suggest.h"
#include "dynamics/problem.h"
#include <string.h>

static PetscErrorCode FindLayer(CourantProblem problem, const char name[], const CourantLayer **found)
{
  const CourantNet net = problem->net;
  CourantSuggestion suggestion;
  char phrase[192];

  PetscFunctionBeginUser;
  *found = NULL;
  CourantSuggestBegin(&suggestion, name);
  for (PetscInt l = 0; l < net->nlayers && !*found; l++) {
    if (net->layers[l].size == 0) continue;
    if (!strcmp(net->layers[l].name, name)) *found = &net->layers[l];
    CourantSuggestOffer(&suggestion, net->layers[l].name);
  }
  if (!*found)
    CourantInputError(problem->comm, "no layer '%s' with parameters%s", name,
                      CourantSuggestPhrase(&suggestion, phrase, sizeof phrase));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The places of a layer's parameters in theta, shared evenly among the ranks. */
static PetscErrorCode CreatePlaces(CourantProblem problem, const CourantLayer *layer, IS *places)
{
  PetscInt local = PETSC_DECIDE, size = layer->size, before;

  PetscFunctionBeginUser;
  PetscCall(PetscSplitOwnership(problem->comm, &local, &size));
  PetscCallMPI(MPI_Scan(&local, &before, 1, MPIU_INT, MPI_SUM, problem->comm));
  PetscCall(ISCreateStride(problem->comm, local, layer->offset + before - local, 1, places));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantProblemCreateLayerBlock - The block of the Hessian H of L for the parameters of one layer, named as
  in the network ("0", "5.layers.0"), as a symmetric matrix [its parameters, its parameters].

  It limits gradient descent on that layer with all others frozen. Products are those of the whole H between
  vectors that are zero elsewhere, at the theta of the last CourantProblemSetState().
  CourantHessianSetWeightDecay() adds alpha D, as to H itself. A name that no layer with parameters has is the
  user's error. Collective; the caller destroys the matrix.
*/
PetscErrorCode CourantProblemCreateLayerBlock(CourantProblem problem, const char layer[], Mat *block)
{
  const CourantLayer *found;
  IS places;
  Mat H;

  PetscFunctionBeginUser;
  PetscCall(FindLayer(problem, layer, &found));
  PetscCall(CourantProblemCreateHessian(problem, &H));
  PetscCall(CreatePlaces(problem, found, &places));
  PetscCall(MatCreateSubMatrixVirtual(H, places, places, block));
  PetscCall(PetscObjectCompose((PetscObject)*block, "hessian", (PetscObject)H));
  PetscCall(MatSetOption(*block, MAT_SYMMETRIC, PETSC_TRUE));
  PetscCall(MatSetOption(*block, MAT_SYMMETRY_ETERNAL, PETSC_TRUE));
  PetscCall(ISDestroy(&places));
  PetscCall(MatDestroy(&H));
  PetscFunctionReturn(PETSC_SUCCESS);
}
