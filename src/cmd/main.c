/* courant: where training is stable. Finds the subcommand and lets it run. */
#include "cmd/options.h"
#include "core/interrupt.h"
#include "core/suggest.h"
#include "courant-registry.h"
#include "courant-version.h"
#include "courant.h"
#include <cblas.h>
#include <errno.h>
#include <fftw3.h>
#include <hdf5.h>
#include <string.h>

#define DECLARE(name) extern const CourantCommandOps CourantCommand_##name;
COURANT_COMMANDS(DECLARE)
#define ADDRESS(name) &CourantCommand_##name,
static const CourantCommandOps *const commands[] = {COURANT_COMMANDS(ADDRESS)};
const int CourantCommandCount = PETSC_STATIC_ARRAY_LENGTH(commands);

const CourantCommandOps *CourantCommand(int index)
{
  return commands[index];
}

const CourantCommandOps *CourantCommandFind(const char *name)
{
  for (int i = 0; i < CourantCommandCount; i++)
    if (!strcmp(commands[i]->name, name)) return commands[i];
  return NULL;
}

static PetscBool IsHelp(const char *word)
{
  return !strcmp(word, "--help") || !strcmp(word, "-help") || !strcmp(word, "-h") ? PETSC_TRUE : PETSC_FALSE;
}

static int PrintVersion(void)
{
  unsigned major, minor, release;
  H5get_libversion(&major, &minor, &release);
  printf("courant %s (%s)\n", COURANT_VERSION, COURANT_SOURCE);
  printf("PETSc %d.%d.%d, SLEPc %d.%d.%d, HDF5 %u.%u.%u, %s\n", PETSC_VERSION_MAJOR, PETSC_VERSION_MINOR,
         PETSC_VERSION_SUBMINOR, SLEPC_VERSION_MAJOR, SLEPC_VERSION_MINOR, SLEPC_VERSION_SUBMINOR, major,
         minor, release, fftw_version);
  return COURANT_EXIT_DONE;
}

/* A usage error before PETSc is there to report it. */
static int UsageError(const char *format, const char *word, const char *more)
{
  fprintf(stderr, "courant: ");
  fprintf(stderr, format, word, more);
  fputc('\n', stderr);
  return COURANT_EXIT_INPUT;
}

static int UnknownCommand(const char *name)
{
  CourantSuggestion suggestion;
  char phrase[160];

  CourantSuggestBegin(&suggestion, name);
  for (int i = 0; i < CourantCommandCount; i++) CourantSuggestOffer(&suggestion, commands[i]->name);
  CourantSuggestPhrase(&suggestion, phrase, sizeof phrase);
  return UsageError("unknown command '%s'%s", name, phrase[0] ? phrase : "; 'courant help' lists them");
}

static PetscErrorCode RunCommand(const CourantCommandOps *command, int argc, char **argv)
{
  PetscFunctionBeginUser;
  PetscCall(PetscPushErrorHandler(CourantErrorHandler, NULL));
  PetscCall(CourantInterruptInstall());
  PetscCall(CourantOptionsCheckWords(command, argc, argv));
  PetscCall(CourantOptionsJoinSets());
  PetscCall(CourantOptionsRemember(command));
  openblas_set_num_threads(1); /* parallelism is over samples and cells */
  PetscCall(command->Run(command->argument ? argv[2] : NULL));
  PetscCall(CourantOptionsCheckViewers());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The exit status of a run that has this one otherwise: what it said has to be written, too. */
static int StatusOfOutput(int status)
{
  if (!fflush(stdout) && !ferror(stdout)) return status;
  if (!status) fprintf(stderr, "courant: cannot write to the standard output: %s\n", strerror(errno));
  if (!freopen("/dev/null", "w", stdout)) fclose(stdout); /* PETSc flushes it at the end */
  return status ? status : COURANT_EXIT_IO;
}

int main(int argc, char **argv)
{
  const CourantCommandOps *help = CourantCommandFind("help");

  if (argc < 2 || IsHelp(argv[1]))
    return StatusOfOutput((int)help->Run(NULL) + (argc < 2 ? COURANT_EXIT_INPUT : 0));
  if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-version")) return PrintVersion();
  const CourantCommandOps *command = CourantCommandFind(argv[1]);
  if (!command) return UnknownCommand(argv[1]);
  if (argc > 2 && IsHelp(argv[2])) return (int)help->Run(command->name);
  if (command->bare)
    return argc > 3 ? UsageError("unexpected word '%s'%s", argv[3], "")
                    : StatusOfOutput(CourantExitStatus(command->Run(argc > 2 ? argv[2] : NULL)));
  if (command->argument && (argc < 3 || argv[2][0] == '-'))
    return UsageError("'courant %s' needs a %s directly behind it", command->name, command->argument);

  int petsc_argc = argc;
  char **petsc_argv = argv;
  PetscErrorCode code = SlepcInitialize(&petsc_argc, &petsc_argv, NULL, NULL);
  if (code) return COURANT_EXIT_NUMERICAL;
  code = RunCommand(command, argc, argv);
  if (code) CourantOptionsExplain(command, &code);
  if (code) CourantErrorExit(code);
  const int status = StatusOfOutput(CourantExitStatus(code));
  PetscPopErrorHandler();
  const PetscErrorCode end = SlepcFinalize();
  return status ? status : end ? COURANT_EXIT_NUMERICAL : COURANT_EXIT_DONE;
}
