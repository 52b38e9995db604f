#pragma once
/* An update rule of the trainer, and what linear theory knows of it. */
#include "core/error.h"

/* A rule, one file under train/rules. */
typedef struct {
  const char *name, *help;
  /* One step in place, theta [n] and the gradient of L there. Called from threads. */
  void (*Step)(size_t n, double theta[], const double gradient[], const double mask[], double learning_rate,
               double weight_decay);
  /* Growth per step of a mode with eigenvalue m of H + alpha D. */
  double (*Growth)(double learning_rate, double m);
  /* Stable for 0 < learning_rate m < limit. */
  double limit;
} CourantRuleOps;

extern const int CourantRuleCount;
const CourantRuleOps *CourantRule(int index);
const char *const *CourantRuleNames(void);
