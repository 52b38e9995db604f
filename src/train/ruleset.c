/* The rules of one precision and instruction set. */
#include "courant-registry.h"
#include "train/ruleops.h"

#define DECLARE(name) extern COURANT_RULE(name);
COURANT_RULES(DECLARE)
#define ADDRESS(name) &COURANT_VARIANT(CourantRule_##name),
const CourantRuleOps *const COURANT_VARIANT(CourantRules)[] = {COURANT_RULES(ADDRESS)};
