#pragma once
/*
  courant - training of convolutional networks as a discretised nonlinear PDE: where it is stable.

  Functions return a PetscErrorCode and are called through PetscCall(). Objects are made by ..Create(), take options by ..SetFromOptions(), and end with
  ..Destroy(). theta, the vector of all weights, is in PyTorch's order: layer after layer, weight before bias, each tensor row-major. lambda
  means an eigenvalue of H, the Hessian of the mean loss L; m one of H + alpha D, alpha the weight decay and D its mask.
  Each function is described where it is defined.
*/
#include <petscts.h>
#include <petsctao.h>
#include <slepc.h>

#define COURANT_VERSION "0.1.0"

/* ---- decks ---- */
typedef struct _CourantDeck *CourantDeck;

PETSC_EXTERN PetscErrorCode CourantDeckLoad(MPI_Comm, const char file[], const char overrides[], CourantDeck *);
PETSC_EXTERN PetscErrorCode CourantDeckParse(MPI_Comm, const char text[], const char overrides[], CourantDeck *);
PETSC_EXTERN PetscErrorCode CourantDeckDestroy(CourantDeck *);

/* ---- the problem: network, data and loss ---- */
typedef struct _CourantProblem *CourantProblem;

PETSC_EXTERN PetscErrorCode CourantProblemCreate(MPI_Comm, CourantDeck, CourantProblem *);
PETSC_EXTERN PetscErrorCode CourantProblemSetFromOptions(CourantProblem);
PETSC_EXTERN PetscErrorCode CourantProblemSetUp(CourantProblem);
PETSC_EXTERN PetscErrorCode CourantProblemView(CourantProblem, FILE *);
PETSC_EXTERN PetscErrorCode CourantProblemDestroy(CourantProblem *);
PETSC_EXTERN PetscErrorCode CourantProblemGetSize(CourantProblem, PetscInt *);
PETSC_EXTERN PetscErrorCode CourantProblemCreateVec(CourantProblem, Vec *);
PETSC_EXTERN PetscErrorCode CourantProblemGetInitialState(CourantProblem, Vec theta);
PETSC_EXTERN PetscErrorCode CourantProblemGetDecayMask(CourantProblem, Vec *mask);
PETSC_EXTERN PetscErrorCode CourantProblemFreezeLoss(CourantProblem, Vec theta);
PETSC_EXTERN PetscErrorCode CourantProblemHasBoundedGradient(CourantProblem, PetscBool *);
PETSC_EXTERN PetscErrorCode CourantProblemComputeLoss(CourantProblem, Vec theta, PetscReal *loss, Vec gradient);
PETSC_EXTERN PetscErrorCode CourantProblemComputeFlow(CourantProblem, PetscReal alpha, Vec theta, Vec F);
PETSC_EXTERN PetscErrorCode CourantProblemComputeJet(CourantProblem, Vec theta, Vec direction, int order, PetscReal loss[],
                                                     Vec gradient[]);
PETSC_EXTERN PetscErrorCode CourantProblemSetState(CourantProblem, Vec theta, PetscReal *loss, Vec gradient);
PETSC_EXTERN PetscErrorCode CourantProblemCreateHessian(CourantProblem, Mat *);
PETSC_EXTERN PetscErrorCode CourantHessianSetWeightDecay(Mat, PetscReal alpha);

/* ---- amplification factors of time steppers ---- */
typedef struct _CourantStepper *CourantStepper;

PETSC_EXTERN PetscErrorCode CourantStepperCreate(MPI_Comm, const char prefix[], CourantStepper *);
PETSC_EXTERN PetscErrorCode CourantStepperSetUp(CourantStepper);
PETSC_EXTERN PetscErrorCode CourantStepperDestroy(CourantStepper *);
PETSC_EXTERN PetscErrorCode CourantStepperGetType(CourantStepper, const char **type, PetscBool *one_step);
PETSC_EXTERN PetscErrorCode CourantStepperGetRealLimit(CourantStepper, PetscReal *);
PETSC_EXTERN PetscErrorCode CourantStepperComputeFactor(CourantStepper, PetscInt n, const PetscReal z_re[], const PetscReal z_im[],
                                                        PetscReal R_re[], PetscReal R_im[]);
PETSC_EXTERN PetscErrorCode CourantStepperComputeGrowth(CourantStepper, PetscInt n, const PetscReal z_re[], const PetscReal z_im[],
                                                        PetscReal growth[]);
PETSC_EXTERN PetscBool CourantStepperIsExplicit(const char type[]);
