#pragma once
/* What a file under train/rules is made of; in the working precision of the variant. */
#include "jet/vector.h"
#include "train/rule.h"

/* What every rule's loop starts from. */
typedef struct {
  real *theta, *state[COURANT_RULE_STATES];
  real decay, k;
  double k_eta;
  int64_t subnormal; /* counted by RuleUpdate() */
} RuleNumbers;

#if COURANT_BITS == 64
#define SMALLEST_NORMAL 0x1p-1022
#else
#define SMALLEST_NORMAL 0x1p-126f
#endif

static inline RuleNumbers RuleNumbersOf(const CourantRuleCall *call)
{
  return (RuleNumbers){.theta = (real *)call->theta,
                       .state = {(real *)call->state[0], (real *)call->state[1]},
                       .decay = (real)call->weight_decay,
                       .k = (real)call->perturb,
                       .k_eta = call->perturb * call->learning_rate};
}

/* The gradient with coupled decay, g + alpha D theta. */
static inline real RuleGradient(const CourantRuleCall *call, const RuleNumbers *r, size_t i)
{
  const real g = (real)call->gradient[i];
  return call->decoupled ? g : g + r->decay * (real)call->mask[i] * r->theta[i];
}

/* theta_i - (k eta) (d / k); decoupled decay joins the direction d here. */
static inline void RuleUpdate(const CourantRuleCall *call, RuleNumbers *r, size_t i, real d)
{
  const real k_eta = (real)(call->rates ? r->k_eta * call->rates[i] : r->k_eta);
  if (call->decoupled) d += r->decay * (real)call->mask[i] * r->theta[i];
  const real part = d / r->k, size = part < 0 ? -part : part;
  r->theta[i] -= k_eta * part;
  r->subnormal += size < SMALLEST_NORMAL && size > 0;
}

static inline void RuleFinish(const CourantRuleCall *call, const RuleNumbers *r)
{
  if (call->subnormal) *call->subnormal += r->subnormal;
}

#define COURANT_RULE(name) const CourantRuleOps COURANT_VARIANT(CourantRule_##name)
