#include "data/sources/pattern.h"
#include "core/memory.h"
#include "core/random.h"
#include <fftw3.h>
#include <math.h>

typedef struct {
  CourantExtent extent;
  double exponent, mean;
  PetscInt channels, samples, classes;
  uint64_t seed;
} Noise;

typedef struct {
  fftw_plan forward, backward;
  double *image;    /* [h,w], one channel */
  double *spectrum; /* [h,w/2+1] complex */
} State;

static const CourantKey keys[] = {
    COURANT_EXTENT_KEYS(Noise, extent),
    {"channels", COURANT_KEY_INT, offsetof(Noise, channels), "1", 1, 1 << 20,
     .help = "each with noise of its own"},
    {"exponent", COURANT_KEY_REAL, offsetof(Noise, exponent), "0", -10, 10,
     .help = "power spectrum |f|^-exponent; 0 is white"},
    {"mean", COURANT_KEY_REAL, offsetof(Noise, mean), "0", .help = "added last"},
    {"samples", COURANT_KEY_INT, offsetof(Noise, samples), "1", 1, 1e9, .help = "number of images"},
    {"classes", COURANT_KEY_INT, offsetof(Noise, classes), "2", 1, 1e6,
     .help = "labels are drawn from 0 .. classes-1"},
    {"seed", COURANT_KEY_SEED, offsetof(Noise, seed), "0", 0, 9e15, .help = "of the random numbers"},
    {0},
};

static PetscErrorCode Open(CourantDataset data, CourantNode node, const void *options)
{
  const Noise *o = (const Noise *)options;
  State *state;

  PetscFunctionBeginUser;
  data->n = o->samples;
  PetscCall(CourantExtentApply(data, node, &o->extent));
  data->c = o->channels;
  if (data->h * data->w < 2) CourantNodeError(node, "noise of unit variance needs at least two pixels");
  PetscCall(PetscNew(&state));
  data->state = state;
  PetscCall(CourantAllocate(sizeof(double) * (size_t)(data->h * data->w), &state->image));
  PetscCall(CourantAllocate(2 * sizeof(double) * (size_t)(data->h * (data->w / 2 + 1)), &state->spectrum));
  state->forward = fftw_plan_dft_r2c_2d((int)data->h, (int)data->w, state->image,
                                        (fftw_complex *)state->spectrum, FFTW_ESTIMATE);
  state->backward = fftw_plan_dft_c2r_2d((int)data->h, (int)data->w, (fftw_complex *)state->spectrum,
                                         state->image, FFTW_ESTIMATE);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Close(CourantDataset data)
{
  State *state = (State *)data->state;

  PetscFunctionBeginUser;
  if (!state) PetscFunctionReturn(PETSC_SUCCESS);
  fftw_destroy_plan(state->forward);
  fftw_destroy_plan(state->backward);
  CourantFree(&state->image);
  CourantFree(&state->spectrum);
  PetscCall(PetscFree(data->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  White noise, each mode scaled by |f|^(-exponent/2), the mean's
  mode taken out, unit variance over the channel: state->image.
*/
static void ReadChannel(CourantDataset data, const Noise *o, CourantRandom stream)
{
  const State *state = (const State *)data->state;
  const PetscInt h = data->h, w = data->w, n = h * w;
  double square = 0;

  CourantRandomNormal(stream, n, state->image);
  fftw_execute(state->forward);
  for (PetscInt ky = 0; ky < h; ky++)
    for (PetscInt kx = 0; kx <= w / 2; kx++) {
      const double fy = (double)(ky <= h / 2 ? ky : ky - h) / (double)h, fx = (double)kx / (double)w;
      const double gain = ky || kx ? pow(fy * fy + fx * fx, -0.25 * o->exponent) : 0;
      double *mode = state->spectrum + 2 * (ky * (w / 2 + 1) + kx);
      mode[0] *= gain;
      mode[1] *= gain;
    }
  fftw_execute(state->backward);
  for (PetscInt i = 0; i < n; i++) square += state->image[i] * state->image[i];
  for (PetscInt i = 0; i < n; i++) state->image[i] = o->mean + state->image[i] / sqrt(square / (double)n);
}

/* The epoch word of the counter numbers the channels: the first is that of an image of one channel. */
static const char *Read(CourantDataset data, const void *options, PetscInt sample, double image[],
                        double label[])
{
  const Noise *o = (const Noise *)options;
  const State *state = (const State *)data->state;
  const size_t pixels = (size_t)data->h * (size_t)data->w, c = (size_t)data->c;
  CourantRandom stream = {.seed = o->seed, .purpose = COURANT_RANDOM_IMAGE, .index = (uint32_t)sample};
  double u;

  for (size_t k = 0; k < c; k++) {
    stream.epoch = (uint32_t)k;
    ReadChannel(data, o, stream);
    for (size_t i = 0; i < pixels; i++) image[i * c + k] = state->image[i];
  }
  stream.purpose = COURANT_RANDOM_LABEL;
  stream.epoch = 0;
  CourantRandomUniform(stream, 1, &u);
  *label = floor(u * (double)o->classes);
  return NULL;
}

const CourantSourceOps CourantSource_noise = {
    .name = "noise",
    .help = "random images with a power-law spectrum",
    .keys = keys,
    .options_size = sizeof(Noise),
    .Open = Open,
    .Read = Read,
    .Close = Close,
};
