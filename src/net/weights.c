#include "net/weights.h"
#include "core/random.h"
#include <errno.h>
#include <hdf5.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/*
  An initialiser fills one parameter tensor. Random numbers belong to the parameter's index in the network,
  whatever comes before it.
*/
typedef struct {
  const char *name;
  const CourantKey *keys;
  double (*Bound)(const void *options,
                  const CourantParameter *); /* standard deviation, or half the width when uniform */
  PetscBool uniform, biases_zero;
} Initialiser;

typedef struct {
  double std, bound;
  char file[PETSC_MAX_PATH_LEN];
} Options;

static double He(const void *options, const CourantParameter *p)
{
  (void)options;
  return sqrt(2. / (double)p->fan_in);
}

static double Xavier(const void *options, const CourantParameter *p)
{
  (void)options;
  return sqrt(6. / (double)(p->fan_in + p->fan_out));
}

static double Normal(const void *options, const CourantParameter *p)
{
  (void)p;
  return ((const Options *)options)->std;
}

static double UniformBound(const void *options, const CourantParameter *p)
{
  (void)p;
  return ((const Options *)options)->bound;
}

static double Torch(const void *options, const CourantParameter *p)
{
  (void)options;
  return 1 / sqrt((double)p->fan_in);
}

static const CourantKey no_keys[] = {{0}};
static const CourantKey normal_keys[] = {
    {"std", COURANT_KEY_REAL, offsetof(Options, std), NULL, 0, INFINITY, .help = "standard deviation"},
    {0},
};
static const CourantKey uniform_keys[] = {
    {"bound", COURANT_KEY_REAL, offsetof(Options, bound), NULL, 0, INFINITY,
     .help = "numbers from -bound to bound"},
    {0},
};
static const CourantKey file_keys[] = {
    {"file", COURANT_KEY_PATH, offsetof(Options, file), NULL,
     .help = "HDF5 file with a dataset per parameter name"},
    {0},
};

static const Initialiser initialisers[] = {
    {"he", no_keys, He, PETSC_FALSE, PETSC_TRUE},
    {"xavier", no_keys, Xavier, PETSC_TRUE, PETSC_TRUE},
    {"normal", normal_keys, Normal, PETSC_FALSE, PETSC_FALSE},
    {"uniform", uniform_keys, UniformBound, PETSC_TRUE, PETSC_FALSE},
    {"pytorch", no_keys, Torch, PETSC_TRUE, PETSC_FALSE},
    {"zero", no_keys, NULL, PETSC_FALSE, PETSC_FALSE},
    {"file", file_keys, NULL, PETSC_FALSE, PETSC_FALSE},
};
enum { INITIALISER_FILE = PETSC_STATIC_ARRAY_LENGTH(initialisers) - 1 };

const CourantKey CourantWeightsKeys[] = {
    {"init", COURANT_KEY_NODE, offsetof(CourantWeights, node), "",
     .help = "how they are drawn (default pytorch)"},
    {"seed", COURANT_KEY_SEED, offsetof(CourantWeights, seed), "0", 0, 9e15, .help = "of the random numbers"},
    {"scale", COURANT_KEY_REAL, offsetof(CourantWeights, scale), "1",
     .help = "factor on all initial weights"},
    {"decay", COURANT_KEY_CHOICE, offsetof(CourantWeights, decay), "all", .choices = "all|kernels",
     .help = "what weight decay acts on"},
    {0},
};

const int CourantInitialiserCount = PETSC_STATIC_ARRAY_LENGTH(initialisers);

/* CourantInitialiser - Name and keys of an initialiser. */
const char *CourantInitialiser(int index, const CourantKey **keys)
{
  *keys = initialisers[index].keys;
  return initialisers[index].name;
}

/* CourantWeightsRead - The `weights` mapping of a deck; absent, PyTorch's default initialisation. */
PetscErrorCode CourantWeightsRead(CourantNode node, CourantWeights *weights)
{
  const char *names[PETSC_STATIC_ARRAY_LENGTH(initialisers)];

  PetscFunctionBeginUser;
  for (int i = 0; i < CourantInitialiserCount; i++) names[i] = initialisers[i].name;
  PetscCall(PetscNew((Options **)&weights->options));
  PetscCall(
      CourantNodeSelect(node, "init", "pytorch", PETSC_STATIC_ARRAY_LENGTH(names), names, &weights->init));
  PetscCall(CourantNodeRead(
      node, 2,
      (CourantTable[]){{CourantWeightsKeys, weights}, {initialisers[weights->init].keys, weights->options}}));
  weights->node = node;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantWeightsReset(CourantWeights *weights)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(weights->options));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantWeightsFile - The file that the weights come from; NULL: they are drawn. */
const char *CourantWeightsFile(const CourantWeights *weights)
{
  return weights->init == INITIALISER_FILE ? ((const Options *)weights->options)->file : NULL;
}

/* CourantWeightsFill - The initial theta [size]. */
PetscErrorCode CourantWeightsFill(const CourantWeights *weights, CourantNet net, double theta[])
{
  const Initialiser *init = &initialisers[weights->init];
  CourantRandom stream = {.seed = weights->seed, .purpose = COURANT_RANDOM_WEIGHTS};

  PetscFunctionBeginUser;
  if (weights->init == INITIALISER_FILE) {
    PetscCall(CourantWeightsLoad(net, weights->node, ((const Options *)weights->options)->file, theta));
    for (PetscInt k = 0; k < net->size; k++) theta[k] *= weights->scale;
  }
  for (PetscInt l = 0; weights->init != INITIALISER_FILE && l < net->nlayers; l++) {
    double *values = theta + net->layers[l].offset;
    for (int i = 0; i < net->layers[l].nparameters; i++, stream.index++) {
      const CourantParameter *p = &net->layers[l].parameters[i];
      const double bound =
          !init->Bound || (init->biases_zero && p->exempt) ? 0 : init->Bound(weights->options, p);
      if (init->uniform)
        CourantRandomUniform(stream, p->size, values);
      else
        CourantRandomNormal(stream, p->size, values);
      for (PetscInt k = 0; k < p->size; k++)
        values[k] =
            p->fixed ? p->start : weights->scale * bound * (init->uniform ? 2 * values[k] - 1 : values[k]);
      values += p->size;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The dataset of a name in a weights file, at its top or in the group `weights` of a result file; -1: none.
 */
static hid_t OpenParameter(hid_t file, const char *name)
{
  char inside[160];

  snprintf(inside, sizeof inside, "weights/%s", name);
  if (H5Lexists(file, name, H5P_DEFAULT) > 0) return H5Dopen(file, name, H5P_DEFAULT);
  if (H5Lexists(file, "weights", H5P_DEFAULT) > 0 && H5Lexists(file, inside, H5P_DEFAULT) > 0)
    return H5Dopen(file, inside, H5P_DEFAULT);
  return -1;
}

static PetscErrorCode LoadParameter(CourantNode node, hid_t file, const char *name, const CourantParameter *p,
                                    double *values)
{
  hsize_t dims[4] = {0};
  char expected[96] = "";
  PetscBool fits;

  PetscFunctionBeginUser;
  for (int d = 0; d < p->ndims; d++)
    snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s%d", d ? ", " : "",
             (int)p->dims[d]);
  const hid_t dataset = OpenParameter(file, name);
  if (dataset < 0) CourantNodeError(node, "the weights file has no dataset '%s' [%s]", name, expected);
  const hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
  const int rank = H5Sget_simple_extent_ndims(space);
  fits = rank == p->ndims && H5Tget_class(type) == H5T_FLOAT ? PETSC_TRUE : PETSC_FALSE;
  if (fits) H5Sget_simple_extent_dims(space, dims, NULL);
  for (int d = 0; fits && d < rank; d++) fits = dims[d] == (hsize_t)p->dims[d] ? PETSC_TRUE : PETSC_FALSE;
  H5Sclose(space);
  H5Tclose(type);
  const herr_t failed = fits ? H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) : 0;
  H5Dclose(dataset);
  if (!fits)
    CourantNodeError(node, "dataset '%s' of the weights file does not hold floating-point numbers [%s]", name,
                     expected);
  if (failed < 0) CourantNodeError(node, "dataset '%s' of the weights file cannot be read", name);
  for (PetscInt k = 0; k < p->size; k++)
    if (!isfinite(values[k]))
      CourantNodeError(node, "dataset '%s' of the weights file holds the value %g", name, values[k]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LoadAll(CourantNet net, CourantNode node, hid_t file, double theta[])
{
  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < net->nlayers; l++) {
    const CourantLayer *layer = &net->layers[l];
    double *values = theta + layer->offset;
    for (int i = 0; i < layer->nparameters; values += layer->parameters[i].size, i++) {
      char parameter[128];
      snprintf(parameter, sizeof parameter, "%s.%s", layer->name, layer->parameters[i].name);
      PetscCall(LoadParameter(node, file, parameter, &layer->parameters[i], values));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantWeightsLoad - theta from an HDF5 file with one dataset per parameter name; node is what errors name.
 */
PetscErrorCode CourantWeightsLoad(CourantNet net, CourantNode node, const char name[], double theta[])
{
  PetscFunctionBeginUser;
  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  if (access(name, R_OK)) CourantNodeError(node, "%s: %s", name, strerror(errno));
  const hid_t file = H5Fopen(name, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file < 0) CourantNodeError(node, "%s: not an HDF5 file, or damaged", name);
  const PetscErrorCode code = LoadAll(net, node, file, theta);
  H5Fclose(file);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Those running statistics that a weights file has. */
static PetscErrorCode LoadRunning(CourantNode node, CourantNet net, hid_t file, double running[])
{
  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < net->nlayers; l++) {
    const CourantLayer *layer = &net->layers[l];
    for (int i = 0; CourantLayerIsCoupled(layer) && i < COURANT_RUNNING; i++) {
      const PetscInt c = layer->in.c;
      const CourantParameter p = {.name = CourantRunningNames[i], .ndims = 1, .dims = {c}, .size = c};
      double *values = running + layer->buffer + i * c;
      char name[160];
      snprintf(name, sizeof name, "%s.%s", layer->name, p.name);
      const hid_t dataset = OpenParameter(file, name);
      if (dataset < 0) continue;
      H5Dclose(dataset);
      PetscCall(LoadParameter(node, file, name, &p, values));
      for (PetscInt k = 0; i == 1 && k < c; k++)
        if (values[k] < 0)
          CourantNodeError(node, "dataset '%s' of the weights file holds the variance %g", name, values[k]);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantWeightsFillRunning - Running means and variances of batch_norm, [net->buffers]: 0 and 1, or those of
  the weights file where it has them.
*/
PetscErrorCode CourantWeightsFillRunning(const CourantWeights *weights, CourantNet net, double running[])
{
  const char *name = CourantWeightsFile(weights);

  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < net->nlayers; l++)
    for (PetscInt k = 0; CourantLayerIsCoupled(&net->layers[l]) && k < 2 * net->layers[l].in.c; k++)
      running[net->layers[l].buffer + k] = k < net->layers[l].in.c ? 0 : 1;
  if (!name || !net->coupled) PetscFunctionReturn(PETSC_SUCCESS);
  H5Eset_auto(H5E_DEFAULT, NULL, NULL);
  const hid_t file = H5Fopen(name, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file < 0) CourantNodeError(weights->node, "%s: not an HDF5 file, or damaged", name);
  const PetscErrorCode code = LoadRunning(weights->node, net, file, running);
  H5Fclose(file);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}
