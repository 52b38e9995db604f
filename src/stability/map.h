#pragma once
/* The stability map: a row for each weight decay, a cell for each pair with a learning rate. */
#include "core/result.h"
#include "courant.h"
#include "stability/refine.h"
#include "train/outcome.h"

typedef enum {
  COURANT_REGIME_STABLE,
  COURANT_REGIME_RESTRAINED,
  COURANT_REGIME_DIVERGENT,
  COURANT_REGIME_UNSTABLE_FLOW,
  COURANT_REGIME_UNDECIDED,
  COURANT_REGIME_PAST_LIMIT,
} CourantRegime;

typedef enum {
  COURANT_LINEARISE_EQUILIBRIUM,
  COURANT_LINEARISE_INIT,
  COURANT_LINEARISE_ZERO,
  COURANT_LINEARISE_ZERO_FROZEN,
  COURANT_LINEARISE_FILE,
  COURANT_LINEARISE_TRAINED,
} CourantLinearise;

/* What one weight decay gives. NaN, -1 and COURANT_UNSET: not computed. */
typedef struct {
  double alpha; /* weight decay */
  double rest;  /* that of the objective which training comes to rest at a minimum of: m = lambda + rest */
  double m_max, m_min, lambda_max, lambda_min, residual_max, residual_min;
  double gradient_norm, parameter_norm; /* |F(theta*)|, |theta*| */
  double limit, limit_von_neumann, limit_far_field;
  double flip_coefficient, basin_radius;
  double norm;      /* of the operator */
  double low, high; /* the extreme m that are not neutral */
  int multiplicity, neutral_modes;
  uint8_t branch, status, flip_status;
  uint8_t has_state; /* theta* is there for the checks */
  /* of mini-batches, by CourantSgdKind; `limit` is the almost-sure one */
  CourantEstimate batch_limit[COURANT_SGD_KINDS];
  uint8_t batch_status[COURANT_SGD_KINDS];
  double limit_full_batch, gradient_noise;
} CourantMapRow;

/* What one cell gives. */
typedef struct {
  double growth, transient_growth;
  double growth_low, growth_high; /* of mini-batches: the interval of growth; of the mean square's */
  CourantEstimate mean_square;
  double local_growth, amplitude, final_loss, distance;
  double local_low, local_high; /* of mini-batches: the interval of local_growth */
  int period;
  uint8_t regime, local_verdict, global_regime;
  uint8_t interpolated; /* CourantCellOrigin */
} CourantMapCell;

/* Where what the checks say of a cell comes from. */
typedef enum {
  COURANT_ORIGIN_RUN,
  COURANT_ORIGIN_INTERPOLATED, /* the cells around it */
  COURANT_ORIGIN_DRAWN,        /* a run, because it was drawn at random */
  COURANT_ORIGIN_SURPRISE,     /* such a run, that does not say what the cells around it said */
} CourantCellOrigin;

typedef struct {
  CourantNode node;
  int linearise;
  char file[PETSC_MAX_PATH_LEN];
  CourantReals learning_rates, weight_decays;
  PetscBool local, global;
  PetscInt steps;
  int refine; /* depth of the coarsest blocks; below 0: every cell is run */
} CourantMapSettings;

/*
  Called on rank 0 after each row and each round of cells, and,
  without anything of PETSC, while cells are at work.
*/
typedef PetscErrorCode (*CourantMapMonitor)(CourantMap, void *ctx);
typedef void (*CourantMapProgress)(double cells_done, void *ctx);

struct _CourantMap {
  MPI_Comm comm;
  PetscMPIInt rank, size;
  CourantDeck deck;
  CourantProblem problem; /* of this rank by itself: maps are the same whatever the number of ranks */
  CourantTrainSettings train;
  CourantMapSettings settings;
  PetscInt nl, nw, p;
  PetscReal *learning_rate, *weight_decay; /* [nl], [nw]: the settings' */
  CourantMapRow *rows;                     /* [nw] */
  CourantMapCell *cells;                   /* [nw,nl] */
  double *states;                          /* [nw,p]: theta* of each row */
  double *moments;                         /* [nw,p] of a rule with a preconditioner: its last state */
  double *start;                           /* [p]: the deck's weights */
  double *mask;                            /* [p]: D */
  double *affine;                          /* [p+1]: grad L(0), L(0), for zero_frozen */
  const CourantRuleOps *rule;
  void *frozen;      /* options of a rule with a preconditioner that stays as it is */
  PetscBool by_ts;   /* growth from a time stepper other than Euler */
  PetscBool at_rest; /* states are equilibria: two runs can be compared */
  PetscBool moves;   /* states depend on alpha */
  PetscBool shifted; /* m = lambda + alpha: eigenvalues are looked for without decay */
  PetscBool bounded; /* |grad L| is bounded */
  CourantStepper stepper;
  CourantFlow flow[2];
  CourantSpectrum spectrum;
  CourantEquilibrium equilibrium;
  CourantFlip flip;
  CourantSgd sgd; /* NULL: full batches */
  Mat H, PHP;     /* PHP: P^-1/2 (H + alpha D) P^-1/2 of a rule with a preconditioner, else NULL */
  Vec theta;
  PetscBool spectrum_known; /* at a state that does not move with alpha */
  PetscBool bound_known;    /* the same for the symbol's bound */
  PetscReal bound;          /* of lambda_max by the symbol, NaN where there is none */
  double missed; /* the largest probability of any row that an eigenvalue beyond m_max was missed */
  CourantRefinementCounts refined; /* of the cross-check, on rank 0 */
  double refined_error; /* of interpolated growth, relative: the largest at cells drawn at random */
  PetscInt cells_done, cells_wanted; /* as far as is known: where theory errs there will be more */
  double round_seconds;              /* between two gatherings of what the ranks have checked */
  CourantMapMonitor monitor;
  CourantMapProgress progress;
  void *monitor_ctx;
};

extern const CourantKey CourantMapKeys[], CourantMapSectionKeys[], CourantMapAxisKeys[],
    CourantMapCheckKeys[];

PetscErrorCode CourantMapSettingsRead(CourantNode, const CourantTrainSettings *, PetscBool with_options,
                                      CourantMapSettings *);
PetscErrorCode CourantMapSettingsReset(CourantMapSettings *);
PetscErrorCode CourantMapSetMonitor(CourantMap, CourantMapMonitor, CourantMapProgress, void *ctx);
PetscErrorCode CourantMapCreateSolvers(CourantMap);
PetscErrorCode CourantMapSetUpState(CourantMap);
PetscErrorCode CourantMapSetUpPreconditioner(CourantMap);
PetscErrorCode CourantMapFindState(CourantMap, PetscInt w, PetscInt previous, PetscBool *found);
PetscErrorCode CourantMapSetPreconditioner(CourantMap, PetscInt w);
CourantMapRow CourantMapEmptyRow(CourantMap, double alpha);
PetscErrorCode CourantMapSolveRows(CourantMap);
CourantMapCell CourantMapEmptyCell(void);
PetscErrorCode CourantMapFillCells(CourantMap, PetscInt w);
PetscErrorCode CourantMapSetUpBatches(CourantMap);
PetscErrorCode CourantMapFillBatchLimits(CourantMap, CourantMapRow *);
PetscErrorCode CourantMapFillBatchGrowth(CourantMap, PetscInt w, double growth[], double slack[]);
PetscErrorCode CourantMapRestore(CourantMap);
PetscBool CourantMapCellIsDone(CourantMap, PetscInt cell);
PetscErrorCode CourantMapCrossCheck(CourantMap);
CourantRegime CourantRegimePredict(const CourantMapRow *, double growth, double slack, double learning_rate,
                                   PetscBool bounded, PetscBool linear, double far_field);

/* Agreement of the local check with the prediction. */
typedef struct {
  PetscInt checked, decided, agreed, disagreeing;
  PetscInt interpolated; /* cells of the map that no check was run in */
  PetscInt overlapping;  /* of mini-batches: decided cells where both intervals have a common point */
  double median_error, p99_error; /* |measured - predicted| / predicted over the decided cells */
} CourantAgreement;

PetscErrorCode CourantMapGetAgreement(CourantMap, CourantAgreement *);
