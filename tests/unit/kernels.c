/* The kernels against plain loops and libm: convolution with every padding, Swish over the whole range. */
#include "numerics.h"
#include "net/layers/conv.h"
#include <hdf5.h>
#include <unistd.h>

/*
  y[o](z) = b[o] + sum w[o,i](k) x[i](z + k - pad), element by
  element; outside the image: zero, or wrapped around.
*/
static double Naive(const CourantLayer *layer, const double *x, const double *w, int oy, int ox, int o)
{
  const CourantConvOptions *conv = (const CourantConvOptions *)layer->options;
  const int kh = (int)conv->kernel[0], kw = (int)conv->kernel[1], h = (int)layer->in.h,
            width = (int)layer->in.w, c = (int)layer->in.c;
  const int circular = conv->padding == COURANT_PADDING_CIRCULAR,
            centred = circular || conv->padding == COURANT_PADDING_SAME;
  const int top = centred ? (kh - 1) / 2 : conv->padding > 0 ? conv->padding : 0;
  const int left = centred ? (kw - 1) / 2 : conv->padding > 0 ? conv->padding : 0;
  double sum = conv->bias ? w[(int)conv->channels * c * kh * kw + o] : 0;

  for (int i = 0; i < c; i++)
    for (int ky = 0; ky < kh; ky++)
      for (int kx = 0; kx < kw; kx++) {
        int y = oy + ky - top, column = ox + kx - left;
        if (circular) y = (y + h) % h, column = (column + width) % width;
        if (y < 0 || y >= h || column < 0 || column >= width) continue;
        sum += w[((o * c + i) * kh + ky) * kw + kx] * x[(y * width + column) * c + i];
      }
  return sum;
}

static void CompareConvolutions(const CourantBackend *backend)
{
  const char *const *examples = NULL;
  const double tolerance = backend->bits == 64 ? 1e-13 : 3e-5;

  for (int type = 0; type < CourantLayerTypeCount; type++)
    if (!strcmp(CourantLayerType(type)->name, "conv")) examples = CourantLayerType(type)->examples;
  for (; *examples; examples++) {
    Numerics f;
    char text[512];
    snprintf(text, sizeof text,
             "data: {source: noise, height: 21, width: 38, samples: 2, seed: 3}\n"
             "network:\n- conv: {channels: 3, kernel: 1}\n- conv: %s\n- conv: {channels: 1, kernel: 1}\n- "
             "global_mean: {}\nloss: logistic\n",
             *examples);
    NumericsOpen(&f, backend, text, 1, 1e9);
    double *theta = Normal(f.p, 0, 0.2);
    const CourantLayer *layer = &f.net->layers[1];
    double *x = malloc(sizeof(double) * CourantShapeSize(layer->in)),
           *y = malloc(sizeof(double) * CourantShapeSize(layer->out));
    OK(CourantEvaluatorSample(f.evaluator, theta, 1, 0, x, NULL, NULL));
    OK(CourantEvaluatorSample(f.evaluator, theta, 1, 1, y, NULL, NULL));
    for (int oy = 0; oy < layer->out.h; oy++)
      for (int ox = 0; ox < layer->out.w; ox++)
        for (int o = 0; o < layer->out.c; o++)
          NEAR(y[(oy * layer->out.w + ox) * layer->out.c + o],
               Naive(layer, x, theta + layer->offset, oy, ox, o), tolerance * 20);
    NumericsClose(&f);
    free(theta), free(x), free(y);
  }
}

static void Convolution(void **state)
{
  (void)state;
  ForEveryBackend(64, CompareConvolutions);
  ForEveryBackend(32, CompareConvolutions);
}

enum { POINTS = 4096 };
static char file[] = "/tmp/courant-kernels-XXXXXX";

/* An image of all the arguments, so that a 1 x 1 kernel of weight 1 hands them to the activation. */
static void WriteArguments(double u[POINTS])
{
  const hsize_t dims[3] = {1, 64, 64}, one = 1;
  const double label = 1;

  for (int i = 0; i < POINTS; i++)
    u[i] = i < POINTS / 2 ? -800 + 1600. * i / (POINTS / 2) : sinh(20 * (2. * i / POINTS - 1.5)) / 1000;
  const hid_t h5 = H5Fcreate(file, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t space = H5Screate_simple(3, dims, NULL), labels = H5Screate_simple(1, &one, NULL);
  const hid_t images = H5Dcreate(h5, "images", H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t label_set =
      H5Dcreate(h5, "labels", H5T_IEEE_F64LE, labels, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(images, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, u);
  H5Dwrite(label_set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, &label);
  H5Dclose(images), H5Dclose(label_set), H5Sclose(space), H5Sclose(labels), H5Fclose(h5);
}

static void CompareSwish(const CourantBackend *backend)
{
  const double theta = 1, epsilon = backend->bits == 64 ? 2.3e-16 : 1.2e-7,
               floor = backend->bits == 64 ? 1e-300 : 1e-34;
  double u[POINTS], value[POINTS], second[POINTS];
  Numerics f;
  char text[512];

  WriteArguments(u);
  snprintf(text, sizeof text,
           "data: {source: hdf5, file: %s}\nnetwork:\n- conv: {channels: 1, kernel: 1, bias: false}\n- "
           "swish: {}\n- global_mean: {}\n"
           "loss: logistic\n",
           file);
  NumericsOpen(&f, backend, text, 1, 1e9);
  OK(CourantEvaluatorSample(f.evaluator, &theta, 0, 1, value, NULL, NULL));
  OK(backend->SecondDerivative(&f.net->layers[1], POINTS, u, second));
  for (int i = 0; i < POINTS; i++) {
    const long double x = backend->bits == 64 ? u[i] : (long double)(float)u[i], s = 1 / (1 + expl(-x)),
                      c = 1 / (1 + expl(x)), s1 = s * c;
    NEAR(value[i], (double)(x * s), 8 * epsilon * fabs((double)(x * s)) + 800 * floor);
    const double size = fabs((double)(2 * s1)) + fabs((double)(x * s1));
    NEAR(second[i], (double)(2 * s1 + x * s1 * (c - s)), 16 * epsilon * size + 800 * floor);
  }
  NumericsClose(&f);
}

static void Swish(void **state)
{
  (void)state;
  close(mkstemp(file));
  ForEveryBackend(64, CompareSwish);
  ForEveryBackend(32, CompareSwish);
  unlink(file);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Convolution),
    cmocka_unit_test(Swish),
};

TEST_MAIN(tests)
