/* CIFAR-10, "binary version": https://www.cs.toronto.edu/~kriz/cifar.html */
#include "data/dataset.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 32, CHANNELS = 3, PIXELS = SIZE * SIZE, RECORD = 1 + CHANNELS * PIXELS, CLASSES = 10 };

typedef struct {
  CourantPaths files, test_files;
} Cifar10;

typedef struct {
  PetscInt n;
  struct Part {
    FILE *stream;
    const char *name;
    PetscInt first, n; /* samples first .. first+n-1 */
  } * parts;
  char problem[PETSC_MAX_PATH_LEN + 128]; /* of the last Read() */
} State;

static const CourantKey keys[] = {
    {"files", COURANT_KEY_PATHS, offsetof(Cifar10, files), NULL,
     .help = "binary batches, [data_batch_1.bin, ..]"},
    {"test_files", COURANT_KEY_PATHS, offsetof(Cifar10, test_files), "", .help = "likewise, to judge by"},
    {0},
};

/* A file is a row of records: a label and the planes of red, green and blue. */
static PetscErrorCode OpenPart(CourantDataset data, CourantNode node, struct Part *part)
{
  PetscFunctionBeginUser;
  part->stream = fopen(part->name, "rb");
  if (!part->stream || fgetc(part->stream) == EOF || fseeko(part->stream, 0, SEEK_END))
    CourantNodeError(node, "%s: %s", part->name,
                     part->stream && !ferror(part->stream) ? "the file is empty" : strerror(errno));
  const off_t bytes = ftello(part->stream), n = bytes / RECORD;
  if (bytes % RECORD)
    CourantNodeError(node, "%s: %lld bytes are no multiple of %d, a record of the binary version of CIFAR-10",
                     part->name, (long long)bytes, RECORD);
  if (n > PETSC_MAX_INT - data->n) CourantNodeError(node, "more than %d images", (int)PETSC_MAX_INT);
  part->first = data->n;
  part->n = (PetscInt)n;
  data->n += part->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(CourantDataset data, CourantNode node, const void *options)
{
  const Cifar10 *o = (const Cifar10 *)options;
  const PetscBool test = data->split == COURANT_SPLIT_TEST ? PETSC_TRUE : PETSC_FALSE;
  const CourantPaths *files = test ? &o->test_files : &o->files;
  State *state;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&state));
  data->state = state;
  PetscCall(PetscCalloc1(files->n, &state->parts));
  data->h = data->w = SIZE;
  data->c = CHANNELS;
  for (PetscInt i = 0; i < files->n; i++) {
    struct Part *part = &state->parts[state->n++];
    part->name = files->names[i];
    PetscCall(OpenPart(data, CourantNodeChild(node, test ? "test_files" : "files"), part));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Close(CourantDataset data)
{
  Cifar10 *o = (Cifar10 *)data->options;
  State *state = (State *)data->state;

  PetscFunctionBeginUser;
  PetscCall(PetscFree(o->files.names));
  PetscCall(PetscFree(o->test_files.names));
  if (!state) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < state->n; i++)
    if (state->parts[i].stream) fclose(state->parts[i].stream);
  PetscCall(PetscFree(state->parts));
  PetscCall(PetscFree(data->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char *Read(CourantDataset data, const void *options, PetscInt sample, double image[],
                        double label[])
{
  State *state = (State *)data->state;
  const struct Part *part = state->parts;
  unsigned char record[RECORD];

  (void)options;
  while (sample >= part->first + part->n) part++;
  const PetscInt at = sample - part->first;
  if (pread(fileno(part->stream), record, RECORD, (off_t)at * RECORD) != RECORD) {
    snprintf(state->problem, sizeof state->problem, "record %d of %s cannot be read any more", (int)at,
             part->name);
    return state->problem;
  }
  if (record[0] >= CLASSES) {
    snprintf(state->problem, sizeof state->problem, "record %d of %s has the label %d; expected 0 to %d",
             (int)at, part->name, record[0], CLASSES - 1);
    return state->problem;
  }
  for (int k = 0; k < CHANNELS; k++)
    for (int i = 0; i < PIXELS; i++) image[i * CHANNELS + k] = record[1 + k * PIXELS + i];
  *label = record[0];
  return NULL;
}

const CourantSourceOps CourantSource_cifar10 = {
    .name = "cifar10",
    .help = "32x32 colour images of the binary version of CIFAR-10, numbers 0 .. 255",
    .keys = keys,
    .options_size = sizeof(Cifar10),
    .tests = PETSC_TRUE,
    .Open = Open,
    .Read = Read,
    .Close = Close,
};
