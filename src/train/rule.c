#include "train/rule.h"
#include "courant-registry.h"
#include <math.h>
#include <string.h>

#define NAME(name) #name,
static const char *const names[] = {COURANT_RULES(NAME)};
const int CourantRuleCount = PETSC_STATIC_ARRAY_LENGTH(names);

#define DECLARE(bits, isa) extern const CourantRuleOps *const CourantRules_f##bits##_##isa[];
COURANT_VARIANTS(DECLARE)
#define ENTRY(bits, isa) {bits, #isa, CourantRules_f##bits##_##isa},
static const struct {
  int bits;
  const char *isa;
  const CourantRuleOps *const *rules;
} variants[] = {COURANT_VARIANTS(ENTRY)};

/* CourantRule - Names and descriptions of a rule, which no variant changes. */
const CourantRuleOps *CourantRule(int index)
{
  return variants[0].rules[index];
}

/* CourantRuleFor - A rule in a backend's precision and instruction set. */
const CourantRuleOps *CourantRuleFor(const CourantBackend *backend, int index)
{
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(variants); i++)
    if (variants[i].bits == backend->bits && !strcmp(variants[i].isa, backend->isa))
      return variants[i].rules[index];
  return NULL;
}

const char *const *CourantRuleNames(void)
{
  return names;
}

/*
  CourantRuleSharpnessLimit - The largest eigenvalue of H for which a mode is stable, Limit / eta - alpha when
  decay is coupled; NaN where theory has no number for H itself (Adam's limit is that of the preconditioned
  H).
*/
double CourantRuleSharpnessLimit(const CourantRuleOps *rule, const void *options, double learning_rate,
                                 double weight_decay, PetscBool decoupled)
{
  if (!rule->Growth) return NAN;
  if (decoupled && rule->DecoupledLimit) return rule->DecoupledLimit(options, learning_rate, weight_decay);
  return rule->Limit(options) / learning_rate - weight_decay;
}
