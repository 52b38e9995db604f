/*
  Digits without a data set: each is drawn from strokes, under a random affine map and stroke width, and gets
  white noise. Every sample is made from its own random numbers, in any order.
*/
#include "data/dataset.h"
#include "core/memory.h"
#include "core/random.h"
#include <math.h>
#include <string.h>

typedef struct {
  PetscInt size, classes, samples, test_samples;
  double noise, label_noise;
  uint64_t seed;
} Glyphs;

static const CourantKey keys[] = {
    {"size", COURANT_KEY_INT, offsetof(Glyphs, size), "16", 8, 1024, .help = "height and width"},
    {"classes", COURANT_KEY_INT, offsetof(Glyphs, classes), "10", 1, 10,
     .help = "digits 0 .. classes-1, in turns"},
    {"samples", COURANT_KEY_INT, offsetof(Glyphs, samples), NULL, 1, 1e9, .help = "number of images"},
    {"test_samples", COURANT_KEY_INT, offsetof(Glyphs, test_samples), "0", 0, 1e9,
     .help = "number of images to judge by"},
    {"noise", COURANT_KEY_REAL, offsetof(Glyphs, noise), "0.3", 0, 100,
     .help = "standard deviation added to paper 0 and ink 1"},
    {"label_noise", COURANT_KEY_REAL, offsetof(Glyphs, label_noise), "0", 0, 1,
     .help = "probability of a label drawn from all classes"},
    {"seed", COURANT_KEY_SEED, offsetof(Glyphs, seed), "0", 0, 9e15, .help = "of the random numbers"},
    {0},
};

/*
  A stroke goes through its points, x to the right and y down, the digit's height being from -1 to 1: by
  straight lines, or smoothly (Catmull and Rom 1974), open or closed.
*/
typedef enum { STRAIGHT, SMOOTH, CLOSED } Way;
enum { POINTS = 9, STROKES = 2, STEPS = 6 };

typedef struct {
  Way way;
  int n;
  double points[POINTS][2];
} Stroke;

static const Stroke digits[10][STROKES] = {
    {{CLOSED, 8, {{0, -1}, {.42, -.72}, {.58, 0}, {.42, .72}, {0, 1}, {-.42, .72}, {-.58, 0}, {-.42, -.72}}}},
    {{STRAIGHT, 3, {{-.35, -.6}, {.08, -1}, {.08, 1}}}},
    {{SMOOTH, 7, {{-.52, -.55}, {-.36, -.9}, {.05, -1}, {.47, -.78}, {.42, -.25}, {0, .35}, {-.55, .95}}},
     {STRAIGHT, 2, {{-.55, .95}, {.58, .95}}}},
    {{SMOOTH, 5, {{-.48, -.82}, {-.05, -1}, {.42, -.75}, {.35, -.25}, {-.12, -.06}}},
     {SMOOTH, 6, {{-.12, -.06}, {.42, .12}, {.54, .55}, {.2, .95}, {-.25, .97}, {-.55, .72}}}},
    {{STRAIGHT, 4, {{.22, 1}, {.22, -1}, {-.6, .35}, {.6, .35}}}},
    {{STRAIGHT, 3, {{.5, -.97}, {-.38, -.97}, {-.44, -.12}}},
     {SMOOTH, 6, {{-.44, -.12}, {.08, -.27}, {.52, .08}, {.48, .65}, {.05, .98}, {-.52, .75}}}},
    {{SMOOTH, 5, {{.38, -.95}, {-.12, -.7}, {-.45, -.1}, {-.5, .3}, {-.45, .6}}},
     {CLOSED, 6, {{-.5, .42}, {-.28, .05}, {.25, .02}, {.5, .45}, {.28, .9}, {-.25, .92}}}},
    {{STRAIGHT, 3, {{-.56, -.95}, {.54, -.95}, {-.14, 1}}}},
    {{CLOSED, 6, {{0, -.04}, {.4, -.25}, {.36, -.82}, {0, -1}, {-.36, -.82}, {-.4, -.25}}},
     {CLOSED, 6, {{0, -.04}, {.5, .22}, {.44, .82}, {0, 1}, {-.44, .82}, {-.5, .22}}}},
    {{CLOSED, 6, {{.48, -.45}, {.26, -.92}, {-.26, -.92}, {-.48, -.45}, {-.22, -.02}, {.24, -.04}}},
     {SMOOTH, 4, {{.48, -.5}, {.46, 0}, {.36, .5}, {.1, 1}}}},
};

/* How far a digit varies: chosen by eye, and so that a small network is neither perfect nor lost. */
static const struct {
  double jitter;      /* of control points, in half heights of the digit */
  double rotation;    /* largest, radians */
  double shear;       /* largest */
  double scale[2];    /* each way, of half the digit's height in image heights */
  double translation; /* largest each way, in image heights */
  double width[2];    /* half of the stroke's, in image heights */
} vary = {.06, .26, .3, {.26, .4}, .09, {.028, .07}};

/* Epoch words of the counter; test samples have the next one. */
enum { SHAPE = 0, NOISE = 2 };

static PetscErrorCode Open(CourantDataset data, CourantNode node, const void *options)
{
  const Glyphs *o = (const Glyphs *)options;

  PetscFunctionBeginUser;
  (void)node;
  data->n = data->split == COURANT_SPLIT_TEST ? o->test_samples : o->samples;
  data->h = data->w = o->size;
  data->c = 1;
  PetscCall(CourantAllocate(sizeof(double) * CourantDatasetImageSize(data), &data->state)); /* ink */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How one digit is drawn. */
typedef struct {
  double jitter[STROKES][POINTS][2]; /* of the control points, from -1 to 1 */
  double map[2][3];                  /* (x, y, 1) of the digit to column and row of the image */
  double half;                       /* of the stroke's width, pixels */
} Pen;

static double From(const double range[2], double u)
{
  return range[0] + (range[1] - range[0]) * (u + 1) / 2;
}

static void Prepare(Pen *pen, double size, CourantRandom stream)
{
  enum { JITTERS = STROKES * POINTS * 2, ALL = 7 + JITTERS };
  double u[ALL]; /* from -1 to 1 */

  CourantRandomUniform(stream, ALL, u);
  for (int i = 0; i < ALL; i++) u[i] = 2 * u[i] - 1;
  const double c = cos(vary.rotation * u[0]), s = sin(vary.rotation * u[0]), shear = vary.shear * u[1];
  const double sx = size * From(vary.scale, u[2]), sy = size * From(vary.scale, u[3]);
  const double centre = (size - 1) / 2;
  /* sheared, then scaled, then turned */
  pen->map[0][0] = c * sx, pen->map[0][1] = c * sx * shear - s * sy;
  pen->map[1][0] = s * sx, pen->map[1][1] = s * sx * shear + c * sy;
  pen->map[0][2] = centre + vary.translation * size * u[4];
  pen->map[1][2] = centre + vary.translation * size * u[5];
  pen->half = size * From(vary.width, u[6]);
  memcpy(pen->jitter, u + ALL - JITTERS, sizeof pen->jitter);
}

/* Point i of a stroke, with its jitter; open strokes stay at their ends, closed ones go around. */
static void Point(const Stroke *stroke, const double jitter[][2], int i, double point[2])
{
  const int n = stroke->n;

  i = stroke->way == CLOSED ? (i + n) % n : PetscMin(PetscMax(i, 0), n - 1);
  for (int d = 0; d < 2; d++) point[d] = stroke->points[i][d] + vary.jitter * jitter[i][d];
}

/* The curve between points i and i+1 at t from 0 to 1, in pixels. */
static void Curve(const Stroke *stroke, const Pen *pen, const double jitter[][2], int i, double t,
                  double at[2])
{
  double p[4][2], q[2];

  for (int k = 0; k < 4; k++) Point(stroke, jitter, i - 1 + k, p[k]);
  for (int d = 0; d < 2; d++) {
    const double a = p[0][d], b = p[1][d], c = p[2][d], e = p[3][d];
    q[d] = stroke->way == STRAIGHT
               ? b + t * (c - b)
               : b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - e + t * (3 * (b - c) + e - a)));
  }
  for (int d = 0; d < 2; d++) at[d] = pen->map[d][0] * q[0] + pen->map[d][1] * q[1] + pen->map[d][2];
}

/* Ink of a straight piece from a to b: 1 within half the width, falling to 0 over one pixel. */
static void Draw(PetscInt size, double half, const double a[2], const double b[2], double image[])
{
  const double reach = half + 0.5, dx = b[0] - a[0], dy = b[1] - a[1], square = dx * dx + dy * dy;
  const PetscInt left = (PetscInt)fmax(0, floor(fmin(a[0], b[0]) - reach)),
                 right = (PetscInt)fmin((double)size - 1, ceil(fmax(a[0], b[0]) + reach)),
                 top = (PetscInt)fmax(0, floor(fmin(a[1], b[1]) - reach)),
                 bottom = (PetscInt)fmin((double)size - 1, ceil(fmax(a[1], b[1]) + reach));

  for (PetscInt y = top; y <= bottom; y++)
    for (PetscInt x = left; x <= right; x++) {
      const double px = (double)x - a[0], py = (double)y - a[1];
      const double t = square > 0 ? fmin(1, fmax(0, (px * dx + py * dy) / square)) : 0;
      const double ink = reach - hypot(px - t * dx, py - t * dy);
      double *pixel = &image[y * size + x];
      *pixel = fmax(*pixel, fmin(1, ink));
    }
}

static void DrawStroke(const Stroke *stroke, const Pen *pen, const double jitter[][2], PetscInt size,
                       double image[])
{
  const int spans = stroke->way == CLOSED ? stroke->n : stroke->n - 1;
  const int steps = stroke->way == STRAIGHT ? 1 : STEPS;
  double a[2], b[2];

  for (int i = 0; i < spans; i++)
    for (int step = 0; step < steps; step++) {
      Curve(stroke, pen, jitter, i, (double)step / steps, a);
      Curve(stroke, pen, jitter, i, (double)(step + 1) / steps, b);
      Draw(size, pen->half, a, b, image);
    }
}

static const char *Read(CourantDataset data, const void *options, PetscInt sample, double image[],
                        double label[])
{
  const Glyphs *o = (const Glyphs *)options;
  const uint32_t test = data->split == COURANT_SPLIT_TEST;
  const int digit = (int)(sample % o->classes);
  const size_t pixels = CourantDatasetImageSize(data);
  CourantRandom stream = {.seed = o->seed, .purpose = COURANT_RANDOM_IMAGE, .index = (uint32_t)sample};
  double *ink = (double *)data->state, u[2];
  Pen pen;

  stream.epoch = SHAPE + test;
  Prepare(&pen, (double)o->size, stream);
  for (size_t i = 0; i < pixels; i++) ink[i] = 0;
  for (int s = 0; s < STROKES && digits[digit][s].n; s++)
    DrawStroke(&digits[digit][s], &pen, pen.jitter[s], o->size, ink);
  stream.epoch = NOISE + test;
  CourantRandomNormal(stream, (int64_t)pixels, image);
  for (size_t i = 0; i < pixels; i++) image[i] = ink[i] + o->noise * image[i];
  stream.purpose = COURANT_RANDOM_LABEL;
  CourantRandomUniform(stream, 2, u);
  *label = u[0] < o->label_noise ? floor(u[1] * (double)o->classes) : digit;
  return NULL;
}

static PetscErrorCode Close(CourantDataset data)
{
  PetscFunctionBeginUser;
  CourantFree(&data->state);
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CourantSourceOps CourantSource_glyphs = {
    .name = "glyphs",
    .help = "handwriting-like digits drawn from strokes, paper 0 and ink 1, with white noise",
    .keys = keys,
    .options_size = sizeof(Glyphs),
    .tests = PETSC_TRUE,
    .Open = Open,
    .Read = Read,
    .Close = Close,
};
