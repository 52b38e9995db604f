#include "cmd/options.h"
#include "core/suggest.h"
#include <ctype.h>
#include <petsctao.h>
#include <petscts.h>
#include <slepceps.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int argc_;
static char **argv_;

static PetscBool IsOption(const char *word)
{
  return word[0] == '-' && word[1] && !isdigit((unsigned char)word[1]) && word[1] != '.' ? PETSC_TRUE
                                                                                         : PETSC_FALSE;
}

static const CourantOption *FindOption(const CourantCommandOps *command, const char *word)
{
  for (const CourantOption *o = command->options; o && o->name; o++)
    if (!strcmp(o->name, word)) return o;
  return NULL;
}

static PetscBool IsBoolean(const char *word)
{
  static const char *const words[] = {"true", "false", "yes", "no", "1", "0", "on", "off"};
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(words); i++)
    if (!strcasecmp(word, words[i])) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* PETSc's own message on a value that is no number does not say whose it is. */
static PetscErrorCode CheckNumber(const CourantOption *option, const char *value)
{
  const PetscBool integer = strcmp(option->argument, "N") ? PETSC_FALSE : PETSC_TRUE;
  char *end = NULL;

  PetscFunctionBeginUser;
  if (!integer && strcmp(option->argument, "X") && strcmp(option->argument, "SECONDS"))
    PetscFunctionReturn(PETSC_SUCCESS);
  if (integer)
    (void)strtol(value, &end, 10);
  else
    (void)strtod(value, &end);
  if (end == value || *end)
    CourantInputError(PETSC_COMM_WORLD, "%s %s: expected %s", option->name, value,
                      integer ? "an integer" : "a number");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantOptionsCheckWords - Every word is an option or the value of one.

  PETSc takes the word behind a flag as its value, and passes over words that belong to nothing: -force
  models/x.yaml would lose the model.
*/
PetscErrorCode CourantOptionsCheckWords(const CourantCommandOps *command, int argc, char **argv)
{
  PetscFunctionBeginUser;
  argc_ = argc;
  argv_ = argv;
  for (int i = command->argument ? 3 : 2; i < argc; i++) {
    if (!IsOption(argv[i]))
      CourantInputError(PETSC_COMM_WORLD,
                        "unexpected word '%s'; %s stands directly after '%s', options behind it", argv[i],
                        command->argument ? command->argument : "nothing", command->name);
    const CourantOption *option = FindOption(command, argv[i]);
    const PetscBool value = i + 1 < argc && !IsOption(argv[i + 1]) ? PETSC_TRUE : PETSC_FALSE;
    if (option && option->argument && !value)
      CourantInputError(PETSC_COMM_WORLD, "%s needs a value: %s", option->name, option->argument);
    if (option && !option->argument && value && !IsBoolean(argv[i + 1]))
      CourantInputError(PETSC_COMM_WORLD, "%s takes no value, not '%s'; %s stands directly after '%s'",
                        option->name, argv[i + 1], command->argument ? command->argument : "nothing",
                        command->name);
    if (option && option->argument) PetscCall(CheckNumber(option, argv[i + 1]));
    if (value) i++;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- types of solvers ---- */

/* The lists that PETSc and SLEPc know types by, filled as their packages come up. */
static const struct {
  const char *suffix;
  PetscFunctionList *list;
  PetscErrorCode (*Initialize)(void);
} types[] = {
    {"eps_type", &EPSList, EPSInitializePackage}, {"st_type", &STList, STInitializePackage},
    {"ts_type", &TSList, TSInitializePackage},    {"tao_type", &TaoList, TaoInitializePackage},
    {"ksp_type", &KSPList, KSPInitializePackage}, {"pc_type", &PCList, PCInitializePackage},
};

/* Does an option name a kind of type, with a prefix or without? */
static PetscBool Names(const char *option, const char *suffix)
{
  const size_t n = strlen(option), end = strlen(suffix);
  return n >= end && !strcmp(option + n - end, suffix) && (n == end || option[n - end - 1] == '_')
             ? PETSC_TRUE
             : PETSC_FALSE;
}

static PetscErrorCode CheckType(const char *option, const char *value, PetscFunctionList list)
{
  CourantSuggestion suggestion;
  const char **names;
  char phrase[200], all[1024] = "; expected one of";
  PetscBool known = PETSC_FALSE;
  int n;

  PetscFunctionBeginUser;
  CourantSuggestBegin(&suggestion, value);
  PetscCall(PetscFunctionListGet(list, &names, &n));
  for (int i = 0; i < n && names[i]; i++) { /* n counts the NULL at the end */
    const size_t length = strlen(all);
    CourantSuggestOffer(&suggestion, names[i]);
    snprintf(all + length, sizeof all - length, "%s %s", i ? "," : "", names[i]);
    known = known || !strcmp(names[i], value) ? PETSC_TRUE : PETSC_FALSE;
  }
  PetscCall(PetscFree(names));
  CourantSuggestPhrase(&suggestion, phrase, sizeof phrase);
  if (!known)
    CourantInputError(PETSC_COMM_WORLD, "-%s %s: unknown type%s", option, value, phrase[0] ? phrase : all);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantOptionsCheckTypes - A type of solver that there is not is an error, with the nearest one there is:
 * before any solver reads it. */
PetscErrorCode CourantOptionsCheckTypes(void)
{
  PetscInt n;
  char **names, **values;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsLeftGet(NULL, &n, &names, &values));
  for (PetscInt i = 0; i < n; i++)
    for (size_t k = 0; values[i] && k < PETSC_STATIC_ARRAY_LENGTH(types); k++) {
      if (!Names(names[i], types[k].suffix)) continue;
      PetscCall(types[k].Initialize());
      PetscCall(CheckType(names[i], values[i], *types[k].list));
      break;
    }
  PetscCall(PetscOptionsLeftRestore(NULL, &n, &names, &values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- numbers that PETSc reads ---- */

/* Is a word one of those between the commas of a value? */
static PetscBool Holds(const char *value, const char *word)
{
  const size_t n = strlen(word);

  for (const char *at = value; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (!strncmp(at, word, n) && (!at[n] || at[n] == ',')) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* PETSc reads these when it ends, or only if there is something to show. */
static const char *const petsc_own[] = {
    "malloc",
    "malloc_debug",
    "malloc_dump",
    "malloc_view",
    "malloc_view_threshold",
    "malloc_test",
    "memory_view",
    "options_left",
    "options_view",
    "options_monitor",
    "options_file",
    "objects_dump",
    "log_view",
    "log_view_memory",
    "log_view_gpu_time",
    "log_all",
    "log",
    "log_trace",
    "log_exclude",
    "log_include",
    "log_sync",
    "info",
    "info_exclude",
    "help",
    "on_error_abort",
    "on_error_mpiabort",
    "on_error_attach_debugger",
    "on_error_malloc_dump",
    "mpidump",
    "checkstack",
    "skip_petscrc",
};

static PetscBool IsPetscOwn(const char *name)
{
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(petsc_own); i++)
    if (!strcmp(name, petsc_own[i])) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* PETSc says of a value that it is no number, but not whose it is. Options of solvers go first, as ours of
 * files and names take any word. */
static PetscBool ExplainNumber(const CourantCommandOps *command)
{
  char word[256], kind[16], text[512];

  if (sscanf(CourantErrorMessage(), "Input string %255s has no %15s value", word, kind) != 2)
    return PETSC_FALSE;
  for (int ours = 0; ours < 2; ours++)
    for (int i = 2; i + 1 < argc_; i++) {
      if (!IsOption(argv_[i]) || !Holds(argv_[i + 1], word)) continue;
      if (!FindOption(command, argv_[i]) != !ours) continue;
      snprintf(text, sizeof text, "%s %s: expected %s", argv_[i], argv_[i + 1],
               strcmp(kind, "integer") ? "numbers" : "integers");
      CourantErrorReplace(text);
      return PETSC_TRUE;
    }
  return PETSC_FALSE;
}

/* What PETSc and SLEPc have against a setting names a prefix that nobody typed, or nothing: what was typed
 * for solvers goes before it. */
static PetscBool ExplainSetting(const CourantCommandOps *command, PetscErrorCode code)
{
  static const PetscErrorCode over_settings[] = {PETSC_ERR_SUP,
                                                 PETSC_ERR_USER,
                                                 PETSC_ERR_ARG_OUTOFRANGE,
                                                 PETSC_ERR_ARG_WRONG,
                                                 PETSC_ERR_ARG_INCOMP,
                                                 PETSC_ERR_ARG_UNKNOWN_TYPE,
                                                 PETSC_ERR_MISSING_FACTOR,
                                                 PETSC_ERR_ARG_WRONGSTATE};
  PetscBool over_setting = PETSC_FALSE;
  char text[4096] = "", rest[4096];

  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(over_settings); i++)
    if (code == over_settings[i]) over_setting = PETSC_TRUE;
  for (int i = 2; i < argc_ && over_setting; i++) {
    if (!IsOption(argv_[i]) || FindOption(command, argv_[i]) || IsPetscOwn(argv_[i] + 1)) continue;
    const size_t length = strlen(text);
    const char *value = i + 1 < argc_ && !IsOption(argv_[i + 1]) ? argv_[i + 1] : "";
    snprintf(text + length, sizeof text - length, "%s%s%s%s", length ? " " : "", argv_[i], *value ? " " : "",
             value);
  }
  if (!text[0]) return PETSC_FALSE;
  snprintf(rest, sizeof rest, ": %s", CourantErrorMessage());
  const size_t length = strlen(text);
  snprintf(text + length, sizeof text - length, "%s", rest);
  CourantErrorReplace(text);
  return PETSC_TRUE;
}

/*
  CourantOptionsExplain - Behind an error: where it is over the value of an option, names the option. The
  error is one of input then.
*/
void CourantOptionsExplain(const CourantCommandOps *command, PetscErrorCode *code)
{
  if (ExplainNumber(command) || ExplainSetting(command, *code)) *code = COURANT_ERR_INPUT;
}

/* CourantOptionFlag - Is a flag set? */
PetscErrorCode CourantOptionFlag(const char name[], PetscBool *set)
{
  PetscFunctionBeginUser;
  *set = PETSC_FALSE;
  PetscCall(PetscOptionsGetBool(NULL, NULL, name, set, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Which prefixes an unprefixed option of a kind of solver applies to.
  ksp_, pc_ and snes_ are not spread: a probe's LU is no matter of taste.
*/
enum { PREFIXES = 9 };

#define EIGENSOLVERS                                                                                         \
  {                                                                                                          \
    "hessian_max_", "hessian_min_", "gn_", "ntk_", "matrix_right_", "matrix_large_", "sgd_", "sgd_mean_"     \
  }

static const struct {
  const char *kind, *prefixes[PREFIXES]; /* the last is NULL */
} spreads[] = {
    {"eps_", EIGENSOLVERS},
    {"st_", EIGENSOLVERS},
    {"ts_", {"probe_", "flow_"}},
    {"tao_", {"equilibrium_"}},
};

static int SpreadOf(const char *name)
{
  for (int i = 0; i < (int)PETSC_STATIC_ARRAY_LENGTH(spreads); i++)
    if (!strncmp(name, spreads[i].kind, strlen(spreads[i].kind))) return i;
  return -1;
}

/*
  CourantOptionsSpread - Gives unprefixed options of solvers to
  every prefix that has none of its own. Before SetFromOptions.
*/
PetscErrorCode CourantOptionsSpread(void)
{
  PetscInt n;
  char **names, **values, option[256];
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsLeftGet(NULL, &n, &names, &values));
  for (PetscInt i = 0; i < n; i++) {
    const int spread = SpreadOf(names[i]);
    for (int p = 0; spread >= 0 && spreads[spread].prefixes[p]; p++) {
      snprintf(option, sizeof option, "-%s%s", spreads[spread].prefixes[p], names[i]);
      PetscCall(PetscOptionsHasName(NULL, NULL, option, &set));
      if (!set) PetscCall(PetscOptionsSetValue(NULL, option, values[i]));
    }
  }
  PetscCall(PetscOptionsLeftRestore(NULL, &n, &names, &values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsReadLate(const char *name)
{
  return strstr(name, "_view") || strstr(name, "_monitor") || strstr(name, "_converged_reason") ? PETSC_TRUE
                                                                                                : PETSC_FALSE;
}

/* Is one of an unprefixed option's copies, or the option itself, still unread? */
static PetscErrorCode IsUnread(const char *name, PetscInt n, char **unread, PetscBool *result)
{
  const int spread = SpreadOf(name);
  char copy[256];
  PetscInt copies = 0, unread_copies = 0;

  PetscFunctionBeginUser;
  *result = PETSC_TRUE;
  for (int p = 0; spread >= 0 && spreads[spread].prefixes[p]; p++) {
    snprintf(copy, sizeof copy, "%s%s", spreads[spread].prefixes[p], name);
    copies++;
    for (PetscInt i = 0; i < n; i++) unread_copies += !strcmp(unread[i], copy);
  }
  if (copies) *result = unread_copies == copies ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first option of the command line that nothing has read, late or not as asked for; NULL: none. */
static PetscErrorCode FirstUnread(PetscBool late, char unread[256])
{
  PetscInt n;
  char **names, **values;

  PetscFunctionBeginUser;
  unread[0] = 0;
  PetscCall(PetscOptionsLeftGet(NULL, &n, &names, &values));
  for (PetscInt i = 0; i < n && !unread[0]; i++) {
    PetscBool there = PETSC_FALSE, left;
    for (int a = 1; a < argc_; a++)
      there = there || (argv_[a][0] == '-' && !strcasecmp(argv_[a] + 1, names[i])) ? PETSC_TRUE : PETSC_FALSE;
    if (!there || IsPetscOwn(names[i]) || IsReadLate(names[i]) != late) continue;
    PetscCall(IsUnread(names[i], n, names, &left));
    if (left) snprintf(unread, 256, "-%s", names[i]);
  }
  PetscCall(PetscOptionsLeftRestore(NULL, &n, &names, &values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A known name and, where its prefix is one that is spread, the same without it. */
static void Offer(CourantSuggestion *suggestion, const char *name)
{
  const size_t length = strlen(name), wanted = strlen(suggestion->wanted);

  CourantSuggestOffer(suggestion, name);
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(spreads); i++)
    for (int p = 0; spreads[i].prefixes[p]; p++) {
      const char *rest = name + 1 + strlen(spreads[i].prefixes[p]);
      char plain[160];
      if (strncmp(name + 1, spreads[i].prefixes[p], strlen(spreads[i].prefixes[p])) ||
          strncmp(rest, spreads[i].kind, strlen(spreads[i].kind)))
        continue;
      snprintf(plain, sizeof plain, "-%s", rest);
      CourantSuggestOffer(suggestion, plain);
    }
  /* -ksp_type: whose? */
  if (length > wanted && !strcmp(name + length - wanted + 1, suggestion->wanted + 1))
    CourantSuggestPrefer(suggestion, name);
}

/*
  PETSc tells the names of a solver's options only by printing its
  help, in part to stdout whatever one asks for: lets it, into a file.
*/
static PetscErrorCode OfferSolverOptions(CourantSuggestion *suggestion, PetscErrorCode (*ReadAgain)(void *),
                                         void *ctx)
{
  char line[8192], name[128] = "-";
  FILE *help = tmpfile();
  const int terminal = dup(STDOUT_FILENO);

  PetscFunctionBeginUser;
  if (!help || terminal < 0) PetscFunctionReturn(PETSC_SUCCESS);
  fflush(stdout);
  dup2(fileno(help), STDOUT_FILENO);
  PetscCall(CourantForgetPrintedHelp());
  PetscCall(PetscOptionsSetValue(NULL, "-help", NULL));
  PetscCall(ReadAgain(ctx));
  PetscCall(PetscOptionsClearValue(NULL, "-help"));
  fflush(stdout);
  dup2(terminal, STDOUT_FILENO);
  close(terminal);
  rewind(help);
  while (fgets(line, sizeof line, help))
    if (sscanf(line, " -%126[a-zA-Z0-9_]", name + 1) == 1) Offer(suggestion, name);
  fclose(help);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantOptionsCheckUsed - An option that nothing has read is an error, with the nearest one there is. After
  all solvers have read theirs.

  ReadAgain makes the solvers anew and lets them read their options, which shows their names; NULL where there
  are none.
*/
PetscErrorCode CourantOptionsCheckUsed(const CourantCommandOps *command, PetscErrorCode (*ReadAgain)(void *),
                                       void *ctx)
{
  char unread[256], phrase[200];
  CourantSuggestion suggestion;

  PetscFunctionBeginUser;
  PetscCall(FirstUnread(PETSC_FALSE, unread));
  if (!unread[0]) PetscFunctionReturn(PETSC_SUCCESS);
  CourantSuggestBegin(&suggestion, unread);
  for (const CourantOption *o = command->options; o && o->name; o++) {
    if (!strcmp(o->name, unread)) CourantInputError(PETSC_COMM_WORLD, "%s has no effect here", unread);
    CourantSuggestOffer(&suggestion, o->name);
  }
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(petsc_own); i++) {
    char name[64];
    snprintf(name, sizeof name, "-%s", petsc_own[i]);
    CourantSuggestOffer(&suggestion, name);
  }
  if (ReadAgain) PetscCall(OfferSolverOptions(&suggestion, ReadAgain, ctx));
  CourantInputError(PETSC_COMM_WORLD, "unknown option %s%s", unread,
                    CourantSuggestPhrase(&suggestion, phrase, sizeof phrase));
}

/*
  CourantOptionsCheckViewers - The same for options that are read only
  after a solve: -..._view, _monitor, _converged_reason. At the end.
*/
PetscErrorCode CourantOptionsCheckViewers(void)
{
  char unread[256];

  PetscFunctionBeginUser;
  PetscCall(FirstUnread(PETSC_TRUE, unread));
  if (unread[0])
    CourantInputError(PETSC_COMM_WORLD, "nothing has read the option %s; the results are written", unread);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantOptionsJoinSets - PETSc keeps the last of several options of one name; of -set all on the command
  line count, one after another.
*/
PetscErrorCode CourantOptionsJoinSets(void)
{
  size_t length = 1;
  char *all;

  PetscFunctionBeginUser;
  for (int i = 2; i + 1 < argc_; i++)
    if (!strcmp(argv_[i], "-set")) length += strlen(argv_[i + 1]) + 1;
  if (length == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1(length, &all));
  for (int i = 2; i + 1 < argc_; i++) {
    if (strcmp(argv_[i], "-set")) continue;
    if (all[0]) strcat(all, ",");
    strcat(all, argv_[i + 1]);
  }
  PetscCall(PetscOptionsSetValue(NULL, "-set", all));
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- what numbers depend on ---- */

static char *numerical_;

static PetscErrorCode ForgetNumerical(void)
{
  return PetscFree(numerical_);
}

static PetscBool IsNumerical(const CourantCommandOps *command, const char *name)
{
  char dashed[256];

  snprintf(dashed, sizeof dashed, "-%s", name);
  const CourantOption *option = FindOption(command, dashed);
  return (option && option->neutral) || IsPetscOwn(name) || IsReadLate(name) ? PETSC_FALSE : PETSC_TRUE;
}

/*
  CourantOptionsRemember - Keeps the options that numbers depend on, wherever PETSc has them from. Before
  anything is put into the database that the user has not asked for.
*/
PetscErrorCode CourantOptionsRemember(const CourantCommandOps *command)
{
  PetscInt n;
  char **names, **values;
  size_t length = 1;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsLeftGet(NULL, &n, &names, &values));
  for (PetscInt i = 0; i < n; i++) length += strlen(names[i]) + (values[i] ? strlen(values[i]) : 0) + 3;
  PetscCall(PetscCalloc1(length, &numerical_));
  for (PetscInt i = 0; i < n; i++) {
    char *end = numerical_ + strlen(numerical_);
    if (!IsNumerical(command, names[i])) continue;
    snprintf(end, length - (size_t)(end - numerical_), "-%s%s%s\n", names[i], values[i] ? " " : "",
             values[i] ? values[i] : "");
  }
  PetscCall(PetscOptionsLeftRestore(NULL, &n, &names, &values));
  PetscCall(PetscRegisterFinalize(ForgetNumerical));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantOptionsNumerical - These options as they were given, a line each, by name. Borrowed. */
const char *CourantOptionsNumerical(void)
{
  return numerical_;
}

/* CourantOptionsCommandLine - The command line as it was typed; freed with PetscFree(). */
PetscErrorCode CourantOptionsCommandLine(char **text)
{
  size_t length = 1;

  PetscFunctionBeginUser;
  for (int i = 0; i < argc_; i++) length += strlen(argv_[i]) + 1;
  PetscCall(PetscCalloc1(length, text));
  for (int i = 0; i < argc_; i++) {
    if (i) strcat(*text, " ");
    strcat(*text, i ? argv_[i] : "courant");
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
