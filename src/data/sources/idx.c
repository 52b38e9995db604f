/* The files of MNIST and its family: http://yann.lecun.com/exdb/mnist/, "the IDX file format". */
#include "data/dataset.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

typedef struct {
  char images[PETSC_MAX_PATH_LEN], labels[PETSC_MAX_PATH_LEN];
  char test_images[PETSC_MAX_PATH_LEN], test_labels[PETSC_MAX_PATH_LEN];
} Idx;

typedef struct {
  FILE *images, *labels;
  unsigned char *pixels;  /* of one image */
  unsigned char *classes; /* [n] */
} State;

static const CourantKey keys[] = {
    {"images", COURANT_KEY_PATH, offsetof(Idx, images), NULL, .help = "idx file of images, plain or gzip"},
    {"labels", COURANT_KEY_PATH, offsetof(Idx, labels), NULL, .help = "idx file of labels, plain or gzip"},
    {"test_images", COURANT_KEY_PATH, offsetof(Idx, test_images), "", .help = "likewise, to judge by"},
    {"test_labels", COURANT_KEY_PATH, offsetof(Idx, test_labels), "", .help = "likewise, to judge by"},
    {0},
};

/* What an idx file may hold: its last magic byte is the number of dimensions, of which the first is n. */
typedef struct {
  const char *key, *what;
  int dimensions;
} Kind;

static const Kind kinds[] = {{"images", "images", 3}, {"labels", "labels", 1}};
static const Kind test_kinds[] = {{"test_images", "images", 3}, {"test_labels", "labels", 1}};
enum { IMAGES, LABELS };

static const struct {
  unsigned char code;
  const char *name;
} types[] = {{0x08, "unsigned byte"}, {0x09, "signed byte"}, {0x0B, "short"},
             {0x0C, "int"},           {0x0D, "float"},       {0x0E, "double"}};

/*
  The content of a gzip file in a file without a name: samples are
  read in any order, which a compressed file does not allow, and
  memory stays small.
*/
static PetscErrorCode Unpack(CourantNode node, const char *path, FILE **file)
{
  unsigned char block[1 << 16];
  const gzFile packed = gzopen(path, "rb");
  FILE *plain = tmpfile();
  int got = 0;

  PetscFunctionBeginUser;
  fclose(*file);
  *file = plain;
  PetscCheck(packed, PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory to unpack %s", path);
  PetscBool written = plain ? PETSC_TRUE : PETSC_FALSE;
  while (written && (got = gzread(packed, block, sizeof block)) > 0)
    written = fwrite(block, 1, (size_t)got, plain) == (size_t)got ? PETSC_TRUE : PETSC_FALSE;
  if (written && fflush(plain)) written = PETSC_FALSE;
  const int why = errno, closed = gzclose(packed); /* which tells a stream cut short */
  if (!written) CourantNodeError(node, "%s: cannot unpack to a temporary file: %s", path, strerror(why));
  if (got < 0 || closed != Z_OK) CourantNodeError(node, "%s: the gzip data is damaged or cut short", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The file, unpacked if its content, not its name, says gzip. */
static PetscErrorCode OpenFile(CourantNode node, const char *path, FILE **file)
{
  unsigned char magic[2] = {0};

  PetscFunctionBeginUser;
  *file = fopen(path, "rb");
  if (!*file) CourantNodeError(node, "%s: %s", path, strerror(errno));
  (void)!fread(magic, 1, 2, *file);
  if (ferror(*file)) CourantNodeError(node, "%s: %s", path, strerror(errno));
  if (magic[0] == 0x1f && magic[1] == 0x8b) PetscCall(Unpack(node, path, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckMagic(CourantNode node, const char *path, const Kind *kind,
                                 const unsigned char magic[4])
{
  const Kind *other = &kinds[kind->dimensions == kinds[IMAGES].dimensions ? LABELS : IMAGES];
  const char *type = NULL;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(types); i++)
    if (types[i].code == magic[2]) type = types[i].name;
  if (magic[0] || magic[1] || !type)
    CourantNodeError(node, "%s: not an idx file: it begins with 0x%02x%02x%02x%02x, expected 0x0000080%d",
                     path, magic[0], magic[1], magic[2], magic[3], kind->dimensions);
  if (magic[2] != 0x08)
    CourantNodeError(node, "%s: an idx file of type %s (0x%02x); expected unsigned byte (0x08)", path, type,
                     magic[2]);
  if (magic[3] == other->dimensions)
    CourantNodeError(node, "%s: holds %s (0x0000080%d); expected %s (0x0000080%d)", path, other->what,
                     other->dimensions, kind->what, kind->dimensions);
  if (magic[3] != kind->dimensions)
    CourantNodeError(node, "%s: has %d dimensions; expected %d, for %s", path, magic[3], kind->dimensions,
                     kind->what);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Opens one file and checks all that can be wrong with it but its values; sizes: n, h, w or n alone. */
static PetscErrorCode OpenIdx(CourantNode data, const Kind *kind, const char *path, FILE **file,
                              PetscInt sizes[3])
{
  const CourantNode node = CourantNodeChild(data, kind->key);
  const size_t header = 4 + 4 * (size_t)kind->dimensions;
  unsigned char bytes[16];
  double expected = 1; /* bytes behind the header, beyond 2^53 not exact, and no file's size then */

  PetscFunctionBeginUser;
  PetscCall(OpenFile(node, path, file));
  rewind(*file);
  const size_t got = fread(bytes, 1, header, *file);
  if (got < 4) CourantNodeError(node, "%s: not an idx file: only %zu bytes", path, got);
  PetscCall(CheckMagic(node, path, kind, bytes));
  if (got < header) CourantNodeError(node, "%s: cut short in its header of %zu bytes", path, header);
  for (int d = 0; d < kind->dimensions; d++) {
    const unsigned char *b = bytes + 4 + 4 * d; /* most significant first */
    const uint32_t size = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    if (size > PETSC_MAX_INT)
      CourantNodeError(node, "%s: has %u in its header, which is too large", path, size);
    sizes[d] = (PetscInt)size;
    expected *= (double)size;
  }
  fseeko(*file, 0, SEEK_END);
  const double behind = (double)ftello(*file) - (double)header;
  if (behind < expected)
    CourantNodeError(node, "%s: cut short: %.15g bytes of %s, its header announces %.15g", path, behind,
                     kind->what, expected);
  if (behind > expected)
    CourantNodeError(node, "%s: %.0f bytes too many behind the %s that its header announces", path,
                     behind - expected, kind->what);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(CourantDataset data, CourantNode node, const void *options)
{
  const Idx *o = (const Idx *)options;
  const PetscBool test = data->split == COURANT_SPLIT_TEST ? PETSC_TRUE : PETSC_FALSE;
  const Kind *kind = test ? test_kinds : kinds;
  const char *images = test ? o->test_images : o->images, *labels = test ? o->test_labels : o->labels;
  PetscInt sizes[3], counts[3];
  State *state;

  PetscFunctionBeginUser;
  if (!o->test_images[0] != !o->test_labels[0])
    CourantNodeError(node, "the key '%s' is missing: test_images and test_labels go together",
                     o->test_images[0] ? "test_labels" : "test_images");
  if (!images[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscNew(&state));
  data->state = state;
  PetscCall(OpenIdx(node, &kind[IMAGES], images, &state->images, sizes));
  PetscCall(OpenIdx(node, &kind[LABELS], labels, &state->labels, counts));
  const PetscInt n = counts[0];
  if (n != sizes[0])
    CourantNodeError(node, "%s holds %d images but %s %d labels", images, (int)sizes[0], labels, (int)n);
  data->n = n, data->h = sizes[1], data->w = sizes[2], data->c = 1;
  state->pixels = (unsigned char *)malloc(CourantDatasetImageSize(data) + 1);
  state->classes = (unsigned char *)malloc((size_t)n + 1);
  PetscCheck(state->pixels && state->classes, PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for the data set");
  if (pread(fileno(state->labels), state->classes, (size_t)n, 8) != (ssize_t)n)
    CourantNodeError(CourantNodeChild(node, kind[LABELS].key), "%s: cannot be read", labels);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Close(CourantDataset data)
{
  State *state = (State *)data->state;

  PetscFunctionBeginUser;
  if (!state) PetscFunctionReturn(PETSC_SUCCESS);
  if (state->images) fclose(state->images);
  if (state->labels) fclose(state->labels);
  free(state->pixels);
  free(state->classes);
  PetscCall(PetscFree(data->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char *Read(CourantDataset data, const void *options, PetscInt sample, double image[],
                        double label[])
{
  const State *state = (const State *)data->state;
  const size_t size = CourantDatasetImageSize(data);
  const off_t start = 16 + (off_t)sample * (off_t)size;

  (void)options;
  if (pread(fileno(state->images), state->pixels, size, start) != (ssize_t)size)
    return "cannot be read from its file any more";
  for (size_t i = 0; i < size; i++) image[i] = state->pixels[i];
  *label = state->classes[sample];
  return NULL;
}

const CourantSourceOps CourantSource_idx = {
    .name = "idx",
    .help = "images and labels of the MNIST family, numbers 0 .. 255",
    .keys = keys,
    .options_size = sizeof(Idx),
    .tests = PETSC_TRUE,
    .Open = Open,
    .Read = Read,
    .Close = Close,
};
