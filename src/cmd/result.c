#include "cmd/result.h"
#include "cmd/options.h"
#include "courant-version.h"
#include <errno.h>
#include <hdf5.h>
#include <libgen.h>
#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double Now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Wall-clock time of all runs that made the result. */
static double Seconds(const CourantOutput *output)
{
  return output->wall_before + Now() - output->started;
}

/* The name's folder has to be there and take files, before hours of work go into one. */
static PetscErrorCode CheckFolder(const char *name)
{
  char copy[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(copy, name, sizeof copy));
  const char *folder = dirname(copy);
  PetscCheck(!access(folder, W_OK | X_OK), PETSC_COMM_WORLD, PETSC_ERR_FILE_WRITE,
             "-output %s: cannot write to the folder %s: %s", name, folder, strerror(errno));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantOutputOpen - Options -output, -force, -resume, -checkpoint, -quiet; decides where the result goes and
  refuses to write over one.

  The default name is the model's and the command's, one-layer-map.h5. Before anything is computed.
*/
PetscErrorCode CourantOutputOpen(const CourantModel *model, const char command[], CourantOutput *output)
{
  PetscBool set;

  PetscFunctionBeginUser;
  *output = (CourantOutput){.started = Now(), .saved = Now(), .interval = 30};
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &output->rank));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &output->size));
  PetscCall(CourantOptionFlag("-quiet", &output->quiet));
  PetscCall(CourantOptionFlag("-force", &output->force));
  PetscCall(CourantOptionFlag("-resume", &output->resume));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-checkpoint", &output->interval, &set));
  if (!(output->interval >= 0))
    CourantInputError(PETSC_COMM_WORLD, "-checkpoint: expected seconds, 0 or more");
  if (output->force && output->resume)
    CourantInputError(PETSC_COMM_WORLD, "-force starts again and -resume goes on: one of them");
  PetscCall(PetscOptionsGetString(NULL, NULL, "-output", output->name, sizeof output->name, &set));
  if (!set) PetscCall(PetscSNPrintf(output->name, sizeof output->name, "%s-%s.h5", model->name, command));
  PetscCheck(snprintf(output->partial, sizeof output->partial, "%s.partial", output->name) <
                 (int)sizeof output->partial,
             PETSC_COMM_WORLD, PETSC_ERR_FILE_WRITE, "-output %s: name too long", output->name);
  PetscCall(CheckFolder(output->name));
  /* a run that was to write over FILE and was interrupted left both */
  const PetscBool goes_on = output->resume && !access(output->partial, F_OK) ? PETSC_TRUE : PETSC_FALSE;
  if (!output->force && !goes_on && !access(output->name, F_OK))
    CourantInputError(PETSC_COMM_WORLD,
                      "%s is there already; -force writes over it, -output FILE goes elsewhere",
                      output->name);
  if (!output->force && !output->resume && !access(output->partial, F_OK))
    CourantInputError(PETSC_COMM_WORLD,
                      "%s holds an interrupted run; -resume goes on with it, -force starts again",
                      output->partial);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One attribute that a resumed run has to share with the interrupted one. */
static PetscErrorCode Require(CourantOutput *output, const char name[], const char what[], const char value[])
{
  char *was;

  PetscFunctionBeginUser;
  PetscCall(CourantResultGetString(output->file, "/", name, &was));
  if (!was || strcmp(was, value))
    CourantInputError(PETSC_COMM_SELF, "%s cannot be resumed: its %s differs; -force starts again",
                      output->partial, what);
  PetscCall(PetscFree(was));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same of every option that numbers depend on: lines, by name. */
static PetscErrorCode RequireOptions(CourantOutput *output)
{
  const char *now = CourantOptionsNumerical();
  char *was;
  size_t k = 0;

  PetscFunctionBeginUser;
  PetscCall(CourantResultGetString(output->file, "/", "options", &was));
  if (!was) PetscCall(PetscStrallocpy("", &was));
  while (was[k] && was[k] == now[k]) k++;
  if (was[k] != now[k]) {
    while (k > 0 && now[k - 1] != '\n') k--;
    /* of two names the first is the one that the other list lacks */
    const char *line = was[k] && (!now[k] || strcmp(was + k, now + k) < 0) ? was + k : now + k;
    CourantInputError(PETSC_COMM_SELF, "%s cannot be resumed: its %.*s differs; -force starts again",
                      output->partial, (int)strcspn(line, " \n"), line);
  }
  PetscCall(PetscFree(was));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What every result says of itself; a resumed one has said it before. */
static PetscErrorCode SetAttributes(CourantOutput *output, const CourantModel *model, const char title[])
{
  char titled[COURANT_TEXT_SIZE + 128], source[64], petsc[64], slepc[64], hdf5[64], *line;
  unsigned major, minor, release;

  PetscFunctionBeginUser;
  snprintf(titled, sizeof titled, "%s of %s", title, model->name);
  H5get_libversion(&major, &minor, &release);
  snprintf(source, sizeof source, "courant %s %s", COURANT_VERSION, COURANT_SOURCE);
  snprintf(petsc, sizeof petsc, "%d.%d.%d", PETSC_VERSION_MAJOR, PETSC_VERSION_MINOR, PETSC_VERSION_SUBMINOR);
  snprintf(slepc, sizeof slepc, "%d.%d.%d", SLEPC_VERSION_MAJOR, SLEPC_VERSION_MINOR, SLEPC_VERSION_SUBMINOR);
  snprintf(hdf5, sizeof hdf5, "%u.%u.%u", major, minor, release);
  PetscCall(CourantOptionsCommandLine(&line));
  const struct {
    const char *name, *value;
    const char *shared; /* by an interrupted run and one that goes on with it; NULL: may differ */
  } attributes[] = {
      {"Conventions", "courant-1", NULL},
      {"title", titled, "kind of result"},
      {"model", model->name, NULL},
      {"about", model->about, NULL},
      {"deck", CourantDeckText(model->deck), "deck"},
      {"overrides", CourantDeckOverrides(model->deck), "-set"},
      {"command_line", line, NULL},
      {"source", source, "version of courant"},
      {"petsc", petsc, "version of PETSc"},
      {"slepc", slepc, "version of SLEPc"},
      {"hdf5", hdf5, NULL},
      {"precision", "double", NULL},
      {"instruction_set", model->instruction_set ? model->instruction_set : "none", "instruction set (-isa)"},
  };
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(attributes); i++) {
    if (output->resumed && attributes[i].shared)
      PetscCall(Require(output, attributes[i].name, attributes[i].shared, attributes[i].value));
    PetscCall(CourantResultSetString(output->file, "/", attributes[i].name, attributes[i].value));
  }
  PetscCall(PetscFree(line));
  if (output->resumed) PetscCall(RequireOptions(output));
  PetscCall(CourantResultSetString(output->file, "/", "options", CourantOptionsNumerical()));
  PetscCall(CourantResultSetInt(output->file, "/", "seed", (int)model->seed));
  PetscCall(CourantResultSetInt(output->file, "/", "ranks", output->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantOutputCreate - A new result, or the content of the .partial with -resume, with the attributes of
  every result.

  title: what it is, "of MODEL" is added. On rank 0. A .partial of another command, deck, version or
  instruction set is refused, and one whose options would have given other numbers.
*/
PetscErrorCode CourantOutputCreate(CourantOutput *output, const CourantModel *model, const char title[])
{
  PetscFunctionBeginUser;
  if (output->rank) PetscFunctionReturn(PETSC_SUCCESS);
  output->resumed = output->resume && !access(output->partial, F_OK) ? PETSC_TRUE : PETSC_FALSE;
  if (output->resumed) {
    PetscCall(CourantResultLoad(output->partial, &output->file));
    PetscCall(CourantResultGetReal(output->file, "/", "wall_time_s", &output->wall_before));
    if (!isfinite(output->wall_before)) output->wall_before = 0;
    output->kept = PETSC_TRUE;
  } else
    PetscCall(CourantResultCreate(&output->file));
  PetscCall(SetAttributes(output, model, title));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantOutputRenew - A new result in place of the one that a .partial was written from: for a finished file
 * that holds less. On rank 0. */
PetscErrorCode CourantOutputRenew(CourantOutput *output, const CourantModel *model, const char title[])
{
  PetscFunctionBeginUser;
  PetscCall(CourantOutputClose(output));
  output->resume = PETSC_FALSE;
  PetscCall(CourantOutputCreate(output, model, title));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantOutputWriteEstimate - A number as the dataset of an entry, and beside it PATH_low and PATH_high. On
 * rank 0. */
PetscErrorCode CourantOutputWriteEstimate(CourantOutput *output, const CourantResultEntry *entry,
                                          const CourantEstimate *estimate)
{
  static const char *const names[] = {"", "_low", "_high"};
  static const char *const words[] = {"", "lower end of its interval: ", "upper end of its interval: "};
  const double values[] = {estimate->value, estimate->low, estimate->high};

  PetscFunctionBeginUser;
  for (int k = 0; k < 3; k++) {
    char path[128], long_name[256];
    CourantResultEntry part = *entry;
    snprintf(path, sizeof path, "%s%s", entry->path, names[k]);
    snprintf(long_name, sizeof long_name, "%s%s", words[k], entry->long_name);
    part.path = path;
    part.long_name = long_name;
    PetscCall(CourantResultAddValues(output->file, &part, &values[k]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetProgress(CourantOutput *output, int complete)
{
  PetscFunctionBeginUser;
  PetscCall(CourantResultSetReal(output->file, "/", "wall_time_s", Seconds(output)));
  PetscCall(CourantResultSetInt(output->file, "/", "complete", complete));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantOutputDue - Is it time for a checkpoint? */
PetscBool CourantOutputDue(const CourantOutput *output)
{
  return Now() - output->saved >= output->interval ? PETSC_TRUE : PETSC_FALSE;
}

/* CourantOutputCheckpoint - Writes FILE.partial. */
PetscErrorCode CourantOutputCheckpoint(CourantOutput *output)
{
  PetscFunctionBeginUser;
  if (!output->file) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(SetProgress(output, 0));
  PetscCall(CourantResultSave(output->file, output->partial));
  output->saved = Now();
  output->kept = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantOutputFinish - Writes FILE, whole, and takes FILE.partial away. */
PetscErrorCode CourantOutputFinish(CourantOutput *output)
{
  PetscFunctionBeginUser;
  if (!output->file) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(SetProgress(output, 1));
  PetscCall(CourantResultSave(output->file, output->name));
  unlink(output->partial);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantOutputView - A line on the file that is written. On rank 0. */
void CourantOutputView(const CourantOutput *output)
{
  if (!output->quiet) printf("%s written after %.1f s\n", output->name, Seconds(output));
}

/* CourantOutputSayInterrupted - The error becomes that a signal came, and what the .partial holds, if any. */
void CourantOutputSayInterrupted(const CourantOutput *output, const char held[])
{
  char text[PETSC_MAX_PATH_LEN + 96];

  if (!output->kept) return;
  snprintf(text, sizeof text, "interrupted; %s holds %s, -resume goes on", output->partial, held);
  CourantErrorReplace(text);
}

PetscErrorCode CourantOutputClose(CourantOutput *output)
{
  PetscFunctionBeginUser;
  PetscCall(CourantResultDestroy(&output->file));
  PetscFunctionReturn(PETSC_SUCCESS);
}
