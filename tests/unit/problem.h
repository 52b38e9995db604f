#pragma once
/* A problem from the text of a deck. */
#include "check.h"
#include "core/random.h"
#include "dynamics/problem.h"

typedef struct {
  CourantDeck deck;
  CourantProblem problem;
  Vec theta;
  PetscInt p;
} Fixture;

static inline void Open(Fixture *f, const char *text)
{
  OK(CourantDeckParse(PETSC_COMM_SELF, text, NULL, &f->deck));
  OK(CourantProblemCreate(PETSC_COMM_SELF, f->deck, &f->problem));
  OK(CourantProblemSetUp(f->problem));
  OK(CourantProblemCreateVec(f->problem, &f->theta));
  OK(CourantProblemGetInitialState(f->problem, f->theta));
  OK(CourantProblemGetSize(f->problem, &f->p));
}

static inline void Close(Fixture *f)
{
  OK(VecDestroy(&f->theta));
  OK(CourantProblemDestroy(&f->problem));
  OK(CourantDeckDestroy(&f->deck));
}

/* Both ends of H + alpha D at theta, with the top vector, which the caller destroys (v NULL: not wanted). */
static inline void Extremes(Fixture *f, double alpha, CourantExtreme *largest, CourantExtreme *smallest,
                            Vec *v)
{
  CourantSpectrum spectrum;
  Mat H;
  Vec top;

  OK(CourantProblemCreateHessian(f->problem, &H));
  OK(CourantHessianSetWeightDecay(H, alpha));
  OK(CourantProblemSetState(f->problem, f->theta, NULL, NULL));
  OK(CourantSpectrumCreate(PETSC_COMM_SELF, &spectrum));
  OK(CourantSpectrumSetOperator(spectrum, H));
  OK(CourantSpectrumSolve(spectrum));
  OK(CourantSpectrumGetExtremes(spectrum, largest, smallest));
  if (v) {
    OK(CourantSpectrumGetTopVector(spectrum, &top));
    OK(VecDuplicate(top, v));
    OK(VecCopy(top, *v));
  }
  OK(CourantSpectrumDestroy(&spectrum));
  OK(MatDestroy(&H));
}

#define CHECKERBOARD                                                                                         \
  "data: {source: checkerboard, size: 64, label: 1}\n"                                                       \
  "network:\n- conv: {channels: 1, kernel: 8, bias: false}\n- swish: {}\n- global_mean: {}\nloss: "          \
  "logistic\n"                                                                                               \
  "weights: {init: normal, std: 1, seed: 7}\n"

#define NOISE                                                                                                \
  "data: {source: noise, size: 20, exponent: 2, mean: 0.5, seed: 4}\n"                                       \
  "network:\n- conv: {channels: 1, kernel: 4, bias: false}\n- swish: {}\n- global_mean: {}\nloss: "          \
  "logistic\n"                                                                                               \
  "weights: {init: normal, std: 1, seed: 7}\n"

#define TWO_LAYERS              TWO_LAYER_NETWORK "weights: {init: he, seed: 5}\n"
#define TWO_LAYERS_KERNEL_DECAY TWO_LAYER_NETWORK "weights: {init: he, seed: 5, decay: kernels}\n"
#define TWO_LAYER_NETWORK                                                                                    \
  "data: {source: noise, size: 8, samples: 6, exponent: 1, mean: 0.5, seed: 5}\n"                            \
  "network:\n- conv: {channels: 2, kernel: 3}\n- swish: {}\n- conv: {channels: 1, kernel: 2}\n- swish: "     \
  "{}\n- global_mean: {}\n"                                                                                  \
  "loss: logistic\n"
