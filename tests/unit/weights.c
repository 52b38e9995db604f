/* Initial weights: their distributions, and weights files. */
#include "numerics.h"
#include "net/weights.h"
#include <hdf5.h>
#include <unistd.h>

static const char base[] = "data: {source: noise, size: 20}\n"
                           "network:\n- conv: {channels: 40, kernel: 5}\n- swish: {}\n- conv: {channels: 30, "
                           "kernel: 3}\n- conv: {channels: 1, kernel: 1}\n"
                           "- global_mean: {}\nloss: logistic\n";

static PetscErrorCode Fill(const char *weights, double **theta, CourantNet *net)
{
  char text[1024];
  CourantDeck deck;
  CourantWeights w = {0};

  PetscFunctionBeginUser;
  snprintf(text, sizeof text, "%sweights: %s\n", base, weights);
  PetscCall(CourantDeckParse(PETSC_COMM_SELF, text, NULL, &deck));
  const CourantNode root = CourantDeckRoot(deck);
  const CourantNetDeck parts = {.network = CourantNodeChild(root, "network"),
                                .loss = CourantNodeChild(root, "loss")};
  PetscCall(CourantNetCreate(&parts, (CourantShape){20, 20, 1}, net));
  *theta = malloc(sizeof(double) * (size_t)(*net)->size);
  PetscCall(CourantWeightsRead(CourantNodeChild(root, "weights"), &w));
  PetscCall(CourantWeightsFill(&w, *net, *theta));
  PetscCall(CourantWeightsReset(&w));
  PetscCall(CourantDeckDestroy(&deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Root mean square and largest magnitude of parameter i of layer l. */
static void Measure(CourantNet net, const double *theta, int l, int i, double *rms, double *most)
{
  const CourantLayer *layer = &net->layers[l];
  const double *values = theta + layer->offset + (i ? layer->parameters[0].size : 0);
  *rms = *most = 0;
  for (PetscInt k = 0; k < layer->parameters[i].size; k++) {
    *rms += values[k] * values[k] / (double)layer->parameters[i].size;
    *most = fmax(*most, fabs(values[k]));
  }
  *rms = sqrt(*rms);
}

static void Distributions(void **state)
{
  static const struct {
    const char *weights;
    double rms, most; /* of the second convolution's kernels: 40 * 9 in, 30 * 9 out; most 0: unbounded */
    double bias;      /* rms of its biases */
  } cases[] = {
      {"{init: he}", 0.0745356, 0, 0},
      {"{init: xavier}", 0.0563436, 0.0975900, 0},
      {"{init: normal, std: 0.3}", 0.3, 0, 0.3},
      {"{init: uniform, bound: 0.3}", 0.173205, 0.3, 0.173205},
      {"{init: pytorch}", 0.0304290, 0.0527046, 0.0304290},
      {"{init: pytorch, scale: 2}", 0.0608581, 0.1054093, 0.0608581},
      {"{init: zero}", 0, 0, 0},
  };

  (void)state;
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    double *theta, rms, most;
    CourantNet net;
    OK(Fill(cases[c].weights, &theta, &net));
    Measure(net, theta, 2, 0, &rms, &most);
    NEAR(rms, cases[c].rms, 0.03 * cases[c].rms); /* 10800 numbers */
    if (cases[c].most > 0) {
      assert_true(most <= cases[c].most * 1.000001);
      assert_true(most > 0.99 * cases[c].most);
    }
    Measure(net, theta, 2, 1, &rms, &most);
    NEAR(rms, cases[c].bias, 0.5 * cases[c].bias); /* 30 numbers */
    free(theta);
    OK(CourantNetDestroy(&net));
  }
}

static void SeedsDiffer(void **state)
{
  double *a, *b, *c;
  CourantNet net;

  (void)state;
  OK(Fill("{init: he, seed: 1}", &a, &net));
  const size_t bytes = sizeof(double) * (size_t)net->size;
  OK(CourantNetDestroy(&net));
  OK(Fill("{init: he, seed: 1}", &b, &net));
  OK(CourantNetDestroy(&net));
  OK(Fill("{init: he, seed: 2}", &c, &net));
  OK(CourantNetDestroy(&net));
  assert_memory_equal(a, b, bytes);
  assert_memory_not_equal(a, c, bytes);
  free(a), free(b), free(c);
}

static void DecayMask(void **state)
{
  double *theta, *mask;
  CourantNet net;

  (void)state;
  OK(Fill("{init: zero}", &theta, &net));
  mask = malloc(sizeof(double) * (size_t)net->size);
  OK(CourantNetDecayMask(net, PETSC_TRUE, mask));
  assert_true(mask[0] == 1 && mask[40 * 25 - 1] == 1 && mask[40 * 25] == 0 && mask[40 * 25 + 39] == 0 &&
              mask[40 * 25 + 40] == 1);
  OK(CourantNetDecayMask(net, PETSC_FALSE, mask));
  for (PetscInt i = 0; i < net->size; i++) assert_true(mask[i] == 1);
  free(theta), free(mask);
  OK(CourantNetDestroy(&net));
}

static char file[] = "/tmp/courant-weights-XXXXXX";

static void Put(hid_t h5, const char *name, int rank, const hsize_t dims[], double value)
{
  double values[40 * 30 * 9];
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) values[i] = value;
  const hid_t space = H5Screate_simple(rank, dims, NULL);
  const hid_t set = H5Dcreate(h5, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  H5Dclose(set), H5Sclose(space);
}

static void Files(void **state)
{
  char weights[128];
  double *theta;
  CourantNet net;

  (void)state;
  close(mkstemp(file));
  snprintf(weights, sizeof weights, "{init: file, file: %s}", file);
  hid_t h5 = H5Fcreate(file, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  Put(h5, "0.weight", 4, (hsize_t[]){40, 1, 5, 5}, 1);
  Put(h5, "0.bias", 1, (hsize_t[]){40}, 2);
  Put(h5, "2.weight", 4, (hsize_t[]){30, 40, 3, 3}, 3);
  Put(h5, "2.bias", 1, (hsize_t[]){30}, 4);
  Put(h5, "something else", 1, (hsize_t[]){3}, 4);
  Put(h5, "3.weight", 4, (hsize_t[]){1, 30, 1, 1}, 5);
  H5Fclose(h5);
  assert_int_equal(Fill(weights, &theta, &net), COURANT_ERR_INPUT);
  assert_non_null(
      strstr(CourantErrorMessage(), "deck:9: weights: the weights file has no dataset '3.bias' [1]"));
  CourantErrorClear();

  h5 = H5Fopen(file, H5F_ACC_RDWR, H5P_DEFAULT);
  Put(h5, "3.bias", 1, (hsize_t[]){2}, 6);
  H5Fclose(h5);
  assert_int_equal(Fill(weights, &theta, &net), COURANT_ERR_INPUT);
  assert_non_null(strstr(CourantErrorMessage(),
                         "dataset '3.bias' of the weights file does not hold floating-point numbers [1]"));
  CourantErrorClear();

  h5 = H5Fopen(file, H5F_ACC_RDWR, H5P_DEFAULT);
  H5Ldelete(h5, "3.bias", H5P_DEFAULT);
  Put(h5, "3.bias", 1, (hsize_t[]){1}, 6);
  H5Fclose(h5);
  OK(Fill(weights, &theta, &net));
  assert_true(theta[0] == 1 && theta[1000] == 2 && theta[1040] == 3 && theta[net->size - 1] == 6);
  free(theta);
  OK(CourantNetDestroy(&net));
  unlink(file);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Distributions),
    cmocka_unit_test(SeedsDiffer),
    cmocka_unit_test(DecayMask),
    cmocka_unit_test(Files),
};

TEST_MAIN(tests)
