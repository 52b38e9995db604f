#pragma once
/* courant symbol on the two kinds of decks that it takes, and what the analyses of a network share. */
#include "cmd/session.h"
#include "stability/region.h"
#include "stability/symbol.h"
#include "train/settings.h"

/*
  A network at a state theta, and how it is stepped: modes of H + alpha D with 0 < learning_rate m < reach
  decay.
*/
typedef struct {
  CourantProblem problem;
  CourantTrainSettings train;
  CourantOutput output;
  CourantStabilityRegion region;
  const CourantRuleOps *rule;
  CourantStepper stepper;
  CourantSymbol symbol; /* of a one-layer network; else NULL */
  CourantSpectrum spectrum;
  Mat H; /* at theta */
  Vec theta;
  PetscBool zero;  /* theta is 0, else the deck's weights */
  PetscBool by_ts; /* a time stepper in place of the rule */
  PetscReal reach; /* infinite where every mode decays, NaN where the rule has no number */
} CourantSymbolSession;

PetscErrorCode CourantSymbolSetUpOneLayer(CourantSymbolSession *);
PetscErrorCode CourantSymbolOneLayer(CourantSymbolSession *);

extern const CourantSessionOps CourantSymbolNetwork, CourantSymbolPde;
