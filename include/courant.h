#pragma once
/*
  courant - training of convolutional networks as a discretised nonlinear PDE: where it is stable.

  Functions return a PetscErrorCode and are called through PetscCall(). Objects are made by ..Create(), take
  options by ..SetFromOptions(), and end with ..Destroy(). theta, the vector of all weights, is in PyTorch's
  order: layer after layer, weight before bias, each tensor row-major. lambda means an eigenvalue of H, the
  Hessian of the mean loss L; m one of H + alpha D, alpha the weight decay and D its mask. Each function is
  described where it is defined.
*/
#include <petscts.h>
#include <petsctao.h>
#include <slepc.h>

#define COURANT_VERSION "0.1.0"

/* ---- decks ---- */
typedef struct _CourantDeck *CourantDeck;

PETSC_EXTERN PetscErrorCode CourantDeckLoad(MPI_Comm, const char file[], const char overrides[],
                                            CourantDeck *);
PETSC_EXTERN PetscErrorCode CourantDeckParse(MPI_Comm, const char text[], const char overrides[],
                                             CourantDeck *);
PETSC_EXTERN PetscErrorCode CourantDeckDestroy(CourantDeck *);

/* ---- the problem: network, data and loss ---- */
typedef struct _CourantProblem *CourantProblem;

PETSC_EXTERN PetscErrorCode CourantProblemCreate(MPI_Comm, CourantDeck, CourantProblem *);
PETSC_EXTERN PetscErrorCode CourantProblemSetFromOptions(CourantProblem);
PETSC_EXTERN PetscErrorCode CourantProblemSetUp(CourantProblem);
PETSC_EXTERN PetscErrorCode CourantProblemSetUpProducts(CourantProblem);
PETSC_EXTERN PetscErrorCode CourantProblemView(CourantProblem, FILE *);
PETSC_EXTERN PetscErrorCode CourantProblemDestroy(CourantProblem *);
PETSC_EXTERN PetscErrorCode CourantProblemGetSize(CourantProblem, PetscInt *);
PETSC_EXTERN PetscErrorCode CourantProblemCreateVec(CourantProblem, Vec *);
PETSC_EXTERN PetscErrorCode CourantProblemGetInitialState(CourantProblem, Vec theta);
PETSC_EXTERN PetscErrorCode CourantProblemGetDecayMask(CourantProblem, Vec *mask);
PETSC_EXTERN PetscErrorCode CourantProblemFreezeLoss(CourantProblem, Vec theta);
PETSC_EXTERN PetscErrorCode CourantProblemThawLoss(CourantProblem);
PETSC_EXTERN PetscErrorCode CourantProblemHasBoundedGradient(CourantProblem, PetscBool *);
PETSC_EXTERN PetscErrorCode CourantProblemComputeLoss(CourantProblem, Vec theta, PetscReal *loss,
                                                      Vec gradient);
PETSC_EXTERN PetscErrorCode CourantProblemComputeFlow(CourantProblem, PetscReal alpha, Vec theta, Vec F);
PETSC_EXTERN PetscErrorCode CourantProblemComputeJet(CourantProblem, Vec theta, Vec direction, int order,
                                                     PetscReal loss[], Vec gradient[]);
PETSC_EXTERN PetscErrorCode CourantProblemSetState(CourantProblem, Vec theta, PetscReal *loss, Vec gradient);
PETSC_EXTERN PetscErrorCode CourantProblemComputeGaussNewton(CourantProblem, Vec v, Vec Gv);
PETSC_EXTERN PetscErrorCode CourantProblemCreateHessian(CourantProblem, Mat *);
PETSC_EXTERN PetscErrorCode CourantProblemCreateGaussNewton(CourantProblem, Mat *);
PETSC_EXTERN PetscErrorCode CourantProblemCreateJacobian(CourantProblem, Mat *);
PETSC_EXTERN PetscErrorCode CourantJacobianSetWeighted(Mat, PetscBool);
PETSC_EXTERN PetscErrorCode CourantJacobianSetSingle(Mat J, PetscBool);
PETSC_EXTERN PetscErrorCode CourantJacobianCreateKernel(Mat J, Mat *);
PETSC_EXTERN PetscErrorCode CourantHessianSetSingle(Mat, PetscBool);
PETSC_EXTERN PetscErrorCode CourantProblemCreateLayerBlock(CourantProblem, const char layer[], Mat *);
PETSC_EXTERN PetscErrorCode CourantHessianSetWeightDecay(Mat, PetscReal alpha);

/* ---- amplification factors of time steppers ---- */
typedef struct _CourantStepper *CourantStepper;

PETSC_EXTERN PetscErrorCode CourantStepperCreate(MPI_Comm, const char prefix[], CourantStepper *);
PETSC_EXTERN PetscErrorCode CourantStepperSetUp(CourantStepper);
PETSC_EXTERN PetscErrorCode CourantStepperDestroy(CourantStepper *);
PETSC_EXTERN PetscErrorCode CourantStepperGetType(CourantStepper, const char **type, PetscBool *one_step);
PETSC_EXTERN PetscErrorCode CourantStepperGetRealLimit(CourantStepper, PetscReal *);
PETSC_EXTERN PetscErrorCode CourantStepperComputePropagator(CourantStepper, PetscInt n, PetscInt f,
                                                            const PetscComplex Z[], PetscComplex G[]);
PETSC_EXTERN PetscErrorCode CourantStepperComputeDensePropagator(CourantStepper, Mat Z, PetscReal G[]);
PETSC_EXTERN PetscErrorCode CourantStepperComputeGrowth(CourantStepper, PetscInt n, const PetscComplex z[],
                                                        PetscReal growth[]);

/* ---- the ends of a symmetric operator's spectrum ---- */
typedef struct _CourantSpectrum *CourantSpectrum;

typedef enum {
  COURANT_CONVERGED,
  COURANT_NOT_CONVERGED,
  COURANT_MULTIPLE, /* the top eigenvalue is not simple */
  COURANT_NO_EQUILIBRIUM,
  COURANT_KINK,       /* on a kink of the activation */
  COURANT_DEGENERATE, /* a quantity that has to be away from 0 is not */
} CourantStatus;

/* Their names, in this order. */
#define COURANT_STATUS_NAMES "converged not_converged multiple no_equilibrium kink degenerate"

typedef enum { COURANT_LARGEST, COURANT_SMALLEST } CourantSide;

typedef struct {
  PetscReal value;       /* the eigenvalue, by its Rayleigh quotient */
  PetscReal residual;    /* |A x - value x|: an eigenvalue lies within this distance */
  PetscInt multiplicity; /* how many agree with it; a lower bound unless all eigenvalues are known */
  PetscInt products;     /* operator applications of the search that found it */
  PetscInt certificate;  /* and of the certificate that nothing was missed */
  PetscReal missed;      /* probability that one farther out by 1 % of the spectrum's length was missed */
  CourantStatus status;  /* converged or not_converged */
} CourantEigenvalue;

typedef CourantEigenvalue CourantExtreme; /* the outermost of an end */

PETSC_EXTERN PetscErrorCode CourantSpectrumCreate(MPI_Comm, CourantSpectrum *);
PETSC_EXTERN PetscErrorCode CourantSpectrumSetOperator(CourantSpectrum, Mat);
PETSC_EXTERN PetscErrorCode CourantSpectrumSetFastOperator(CourantSpectrum, Mat);
PETSC_EXTERN PetscErrorCode CourantSpectrumSetPreconditioner(CourantSpectrum, Vec P);
PETSC_EXTERN PetscErrorCode CourantSpectrumSetCounts(CourantSpectrum, PetscInt largest, PetscInt smallest);
PETSC_EXTERN PetscErrorCode CourantSpectrumSetThreshold(CourantSpectrum, PetscReal above);
PETSC_EXTERN PetscErrorCode CourantSpectrumSetMemory(CourantSpectrum, PetscReal bytes);
PETSC_EXTERN PetscErrorCode CourantSpectrumSetInitialSpace(CourantSpectrum, CourantSide, PetscInt n, Vec x[]);
PETSC_EXTERN PetscErrorCode CourantSpectrumSetProgress(CourantSpectrum,
                                                       PetscErrorCode (*)(PetscReal fraction, void *),
                                                       void *ctx);
PETSC_EXTERN PetscErrorCode CourantSpectrumSetOptionsPrefix(CourantSpectrum, const char prefix[]);
PETSC_EXTERN PetscErrorCode CourantSpectrumSetFromOptions(CourantSpectrum);
PETSC_EXTERN PetscErrorCode CourantSpectrumSetUp(CourantSpectrum);
PETSC_EXTERN PetscErrorCode CourantSpectrumSolve(CourantSpectrum);
PETSC_EXTERN PetscErrorCode CourantSpectrumSolveLargest(CourantSpectrum);
PETSC_EXTERN PetscErrorCode CourantSpectrumGetEigenvalues(CourantSpectrum, CourantSide, PetscInt *n,
                                                          const CourantEigenvalue **);
PETSC_EXTERN PetscErrorCode CourantSpectrumGetVector(CourantSpectrum, CourantSide, PetscInt i, Vec x);
PETSC_EXTERN PetscErrorCode CourantSpectrumGetProducts(CourantSpectrum, PetscInt *searches,
                                                       PetscInt *certificates);
PETSC_EXTERN PetscErrorCode CourantSpectrumGetMissed(CourantSpectrum, CourantSide, PetscReal *missed);
PETSC_EXTERN PetscErrorCode CourantSpectrumGetExtremes(CourantSpectrum, CourantExtreme *largest,
                                                       CourantExtreme *smallest);
PETSC_EXTERN PetscErrorCode CourantSpectrumGetTopVector(CourantSpectrum, Vec *);
PETSC_EXTERN PetscErrorCode CourantSpectrumGetBottomVector(CourantSpectrum, Vec *);
PETSC_EXTERN PetscErrorCode CourantSpectrumGetNorm(CourantSpectrum, PetscReal *);
PETSC_EXTERN PetscErrorCode CourantSpectrumGetDenseSize(CourantSpectrum, PetscInt *n);
PETSC_EXTERN PetscErrorCode CourantSpectrumGetAll(CourantSpectrum, PetscInt *n, const PetscReal **values);
PETSC_EXTERN PetscErrorCode CourantSpectrumDestroy(CourantSpectrum *);

/* ---- the whole spectrum, by random probes ---- */
typedef struct _CourantDensity *CourantDensity;

typedef struct {
  PetscReal value, low, high; /* a number and its interval of 95 % confidence */
} CourantEstimate;

PETSC_EXTERN PetscErrorCode CourantDensityCreate(MPI_Comm, CourantDensity *);
PETSC_EXTERN PetscErrorCode CourantDensitySetOperator(CourantDensity, Mat);
PETSC_EXTERN PetscErrorCode CourantDensitySetRule(CourantDensity, PetscInt probes, PetscInt steps);
PETSC_EXTERN PetscErrorCode CourantDensitySetTrace(CourantDensity, PetscBool);
PETSC_EXTERN PetscErrorCode CourantDensitySetSeed(CourantDensity, PetscInt seed);
PETSC_EXTERN PetscErrorCode CourantDensitySetMemory(CourantDensity, PetscReal bytes);
PETSC_EXTERN PetscErrorCode CourantDensitySetProgress(CourantDensity, void (*)(double products, void *),
                                                      void *ctx);
PETSC_EXTERN PetscErrorCode CourantDensitySetFromOptions(CourantDensity);
PETSC_EXTERN PetscErrorCode CourantDensityGetSizes(CourantDensity, PetscInt *products, PetscReal *bytes);
PETSC_EXTERN PetscErrorCode CourantDensitySolve(CourantDensity);
PETSC_EXTERN PetscErrorCode CourantDensityGetRule(CourantDensity, PetscInt *n, PetscInt *probes,
                                                  PetscInt *steps);
PETSC_EXTERN PetscErrorCode CourantDensityGetRange(CourantDensity, PetscReal *low, PetscReal *high);
PETSC_EXTERN PetscErrorCode CourantDensityGetWidth(CourantDensity, PetscReal *width);
PETSC_EXTERN PetscErrorCode CourantDensityEvaluate(CourantDensity, PetscReal x, CourantEstimate *);
PETSC_EXTERN PetscErrorCode CourantDensityCountAbove(CourantDensity, PetscReal x, CourantEstimate *);
PETSC_EXTERN PetscErrorCode CourantDensityGetLogDeterminant(CourantDensity, PetscReal shift, PetscReal lowest,
                                                            CourantEstimate *, CourantStatus *);
PETSC_EXTERN PetscErrorCode CourantDensityGetTrace(CourantDensity, CourantEstimate *trace,
                                                   CourantEstimate *norm);
PETSC_EXTERN PetscErrorCode CourantDensityDestroy(CourantDensity *);

/* ---- equilibria theta*(alpha) ---- */
typedef struct _CourantEquilibrium *CourantEquilibrium;

PETSC_EXTERN PetscErrorCode CourantEquilibriumCreate(CourantProblem, CourantEquilibrium *);
PETSC_EXTERN PetscErrorCode CourantEquilibriumSetFromOptions(CourantEquilibrium);
PETSC_EXTERN PetscErrorCode CourantEquilibriumDescend(CourantEquilibrium, PetscReal alpha, Vec theta,
                                                      PetscBool *converged);
PETSC_EXTERN PetscErrorCode CourantEquilibriumContinue(CourantEquilibrium, PetscReal from, PetscReal to,
                                                       Vec theta, PetscInt *jumps, PetscBool *converged);
PETSC_EXTERN PetscErrorCode CourantEquilibriumDestroy(CourantEquilibrium *);

/* ---- the edge: period-doubling normal form ---- */
typedef struct _CourantFlip *CourantFlip;

typedef struct {
  PetscReal coefficient; /* c; NaN unless the status is converged */
  PetscReal error;       /* bound of what rounding and the linear solve leave open in c */
  PetscReal limit;       /* eta_c = 2 / m_max */
  CourantStatus status;
} CourantFlipResult;

PETSC_EXTERN PetscErrorCode CourantFlipCreate(CourantProblem, CourantFlip *);
PETSC_EXTERN PetscErrorCode CourantFlipSetFromOptions(CourantFlip);
PETSC_EXTERN PetscErrorCode CourantFlipCompute(CourantFlip, PetscReal alpha, Vec theta, Vec v,
                                               const CourantExtreme *largest, const CourantExtreme *smallest,
                                               CourantFlipResult *);
PETSC_EXTERN PetscErrorCode CourantFlipDestroy(CourantFlip *);

/* ---- mini-batch gradient descent ---- */
typedef struct _CourantSgd *CourantSgd;

typedef enum {
  COURANT_SGD_MEAN_SQUARE, /* of independent batches */
  COURANT_SGD_EPOCH,       /* of epochs of reshuffled batches */
  COURANT_SGD_ALMOST_SURE, /* along almost every run of such epochs */
} CourantSgdKind;

#define COURANT_SGD_KINDS 3

PETSC_EXTERN PetscErrorCode CourantSgdCreate(MPI_Comm, PetscInt batch, CourantSgd *);
PETSC_EXTERN PetscErrorCode CourantSgdSetFromOptions(CourantSgd);
PETSC_EXTERN PetscErrorCode CourantSgdSetSeed(CourantSgd, PetscInt seed);
PETSC_EXTERN PetscErrorCode CourantSgdSetHessians(CourantSgd, PetscInt n, PetscInt p, const PetscReal H[]);
PETSC_EXTERN PetscErrorCode CourantSgdSetProblem(CourantSgd, CourantProblem, Vec theta, PetscReal alpha,
                                                 Vec slowest);
PETSC_EXTERN PetscErrorCode CourantSgdGetDescentLimit(CourantSgd, PetscReal *limit, CourantStatus *);
PETSC_EXTERN PetscErrorCode CourantSgdGetLimit(CourantSgd, CourantSgdKind, CourantEstimate *,
                                               CourantStatus *);
PETSC_EXTERN PetscErrorCode CourantSgdGetGrowth(CourantSgd, CourantSgdKind, PetscInt n,
                                                const PetscReal rates[], CourantEstimate growth[],
                                                CourantStatus *);
PETSC_EXTERN PetscErrorCode CourantSgdGetModes(CourantSgd, PetscInt *modes, PetscInt *neutral,
                                               PetscBool *projected);
PETSC_EXTERN PetscErrorCode CourantSgdGetNoise(CourantSgd, PetscReal *gradient);
PETSC_EXTERN PetscErrorCode CourantSgdDestroy(CourantSgd *);

/* ---- von Neumann analysis ---- */
typedef struct _CourantSymbol *CourantSymbol;

typedef struct {
  PetscReal value;
  PetscReal error;        /* of a supremum over continuous frequencies, and rounding */
  PetscReal frequency[2]; /* y and x, radians per pixel, in (-pi, pi] */
} CourantSymbolPeak;

/*
  Of the operator H_frozen, H without its rank-one part: lower <= H_frozen <= upper, and H <= upper +
  rank_one.
*/
typedef struct {
  CourantSymbolPeak highest, lowest; /* of the symbol with coefficients averaged over the pixels */
  CourantSymbolPeak upper, lower;
  CourantSymbolPeak upper_circulant, lower_circulant; /* by a periodic operator that holds this one */
  PetscReal rank_one;                                 /* mean_i s_i (1 - s_i) |g_i|^2 */
} CourantSymbolBounds;

PETSC_EXTERN PetscErrorCode CourantSymbolCreate(CourantProblem, CourantSymbol *);
PETSC_EXTERN PetscErrorCode CourantSymbolCompute(CourantSymbol, Vec theta);
PETSC_EXTERN PetscErrorCode CourantSymbolGetBounds(CourantSymbol, CourantSymbolBounds *);
PETSC_EXTERN PetscErrorCode CourantSymbolDestroy(CourantSymbol *);
PETSC_EXTERN PetscErrorCode CourantSymbolBound(CourantProblem, Vec theta, PetscReal *bound);

/* A(phase) [fields,fields], row-major, of a linear scheme u' = A u: on grid functions e^{i phase . index},
   phase {y, x} in radians per grid point, in one dimension y is 0. Plain C. */
typedef void (*CourantSymbolFunction)(void *ctx, PetscReal step, const PetscReal phase[2], PetscComplex A[]);

typedef struct _CourantVonNeumann *CourantVonNeumann;

typedef enum {
  COURANT_POWERS_BOUNDED,   /* growth at most 1, and eigenvalues of modulus 1 are semisimple */
  COURANT_POWERS_GROW,      /* growth above 1: like a power of it */
  COURANT_POWERS_DEFECTIVE, /* growth at most 1, but a defective eigenvalue of modulus 1: like a power of n */
  COURANT_FLOW_GROWS        /* the PDE itself grows here: no fault of the scheme */
} CourantPowers;

typedef struct {
  PetscReal growth;      /* of the amplification matrix G, max |R(step lambda)| */
  PetscComplex symbol;   /* lambda, the eigenvalue of A which that is of */
  PetscReal power_bound; /* max |G^n|_2, n = 1 .. 8 and powers of 2 up to 65536; NaN for multistep methods */
  PetscReal flow_growth; /* largest real part of A's eigenvalues as the step goes to 0 */
  CourantPowers powers;
} CourantAmplification;

typedef struct {
  PetscReal step;      /* stable below; 0: at no step, infinite: never limited, NaN: there are no modes */
  PetscReal width;     /* stable at step, unstable at step + width */
  PetscReal tolerance; /* growth up to 1 + tolerance is stable */
  PetscReal phase[2];  /* where stability is lost first */
  PetscComplex lambda; /* and the eigenvalue of A there */
  PetscInt mode;       /* its number */
  PetscInt left_out;   /* frequencies looked at where the PDE itself grows */
} CourantStepLimit;

PETSC_EXTERN PetscErrorCode CourantVonNeumannCreate(MPI_Comm, CourantVonNeumann *);
PETSC_EXTERN PetscErrorCode CourantVonNeumannDestroy(CourantVonNeumann *);
PETSC_EXTERN PetscErrorCode CourantVonNeumannSetSymbol(CourantVonNeumann, PetscInt dimension, PetscInt fields,
                                                       CourantSymbolFunction, void *ctx);
PETSC_EXTERN PetscErrorCode CourantVonNeumannSetFlow(CourantVonNeumann, CourantSymbolFunction);
PETSC_EXTERN PetscErrorCode CourantVonNeumannSetStepDependent(CourantVonNeumann, PetscReal reference);
PETSC_EXTERN PetscErrorCode CourantVonNeumannSetStepper(CourantVonNeumann, CourantStepper);
PETSC_EXTERN PetscErrorCode CourantVonNeumannSetQuiet(CourantVonNeumann, PetscBool);
PETSC_EXTERN PetscErrorCode CourantVonNeumannComputeAmplification(CourantVonNeumann, PetscReal step,
                                                                  PetscInt n, const PetscReal phase[][2],
                                                                  CourantAmplification[]);
PETSC_EXTERN PetscErrorCode CourantVonNeumannComputeLimit(CourantVonNeumann, CourantStepLimit *);

/* ---- the gradient flow by any time stepper ---- */
typedef struct _CourantFlow *CourantFlow;

PETSC_EXTERN PetscErrorCode CourantFlowCreate(CourantProblem, CourantFlow *);
PETSC_EXTERN PetscErrorCode CourantFlowSetFromOptions(CourantFlow);
PETSC_EXTERN PetscErrorCode CourantFlowSetWeightDecay(CourantFlow, PetscReal alpha);
PETSC_EXTERN PetscErrorCode CourantFlowRestart(CourantFlow);
PETSC_EXTERN PetscErrorCode CourantFlowStep(CourantFlow, PetscReal step, Vec theta, PetscBool *converged);
PETSC_EXTERN PetscErrorCode CourantFlowGetTS(CourantFlow, TS *);
PETSC_EXTERN PetscErrorCode CourantFlowDestroy(CourantFlow *);

/* ---- stability maps ---- */
typedef struct _CourantMap *CourantMap;

PETSC_EXTERN PetscErrorCode CourantMapCreate(MPI_Comm, CourantDeck, CourantMap *);
PETSC_EXTERN PetscErrorCode CourantMapSetFromOptions(CourantMap);
PETSC_EXTERN PetscErrorCode CourantMapSetUp(CourantMap);
PETSC_EXTERN PetscErrorCode CourantMapSolve(CourantMap);
PETSC_EXTERN PetscErrorCode CourantMapGetProblem(CourantMap, CourantProblem *);
PETSC_EXTERN PetscErrorCode CourantMapDestroy(CourantMap *);
