/* The kernels against plain loops: convolution with every padding. */
#include "numerics.h"
#include "net/layers/conv.h"

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

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Convolution),
};

TEST_MAIN(tests)
