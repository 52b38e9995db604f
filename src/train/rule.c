#include "train/rule.h"
#include "courant-registry.h"

#define DECLARE(name) extern const CourantRuleOps CourantRule_##name;
COURANT_RULES(DECLARE)
#define ADDRESS(name) &CourantRule_##name,
static const CourantRuleOps *const rules[] = {COURANT_RULES(ADDRESS)};
#define NAME(name) #name,
static const char *const names[] = {COURANT_RULES(NAME)};
const int CourantRuleCount = PETSC_STATIC_ARRAY_LENGTH(rules);

const CourantRuleOps *CourantRule(int index)
{
  return rules[index];
}

const char *const *CourantRuleNames(void)
{
  return names;
}
