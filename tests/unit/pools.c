/* Pools and flatten, forward and backward on jets, against plain loops; what they refuse. */
#define COURANT_BITS 64 /* single precision: tests/unit/layers.c */
#define COURANT_ISA  baseline
#include "numerics.h"
#include "net/layerops.h"

enum { N = 2, H = 5, W = 7, C = 3, IN = N * H * W * C, SLACK = 64, JET = COURANT_ORDER_MAX + 1 };

/* A layer behind a convolution, and arrays that a call of it works on. */
typedef struct {
  Numerics n;
  const CourantLayer *layer;
  double x[JET][IN + SLACK], y[JET][IN + SLACK], dx[JET][IN + SLACK], dy[JET][IN + SLACK], primal[IN + SLACK];
  CourantLayerCall call;
} Fixture;

static void Open(Fixture *f, const CourantBackend *backend, const char *layer)
{
  char text[512];

  memset(f, 0, sizeof *f);
  snprintf(text, sizeof text,
           "data: {source: noise, height: %d, width: %d}\nnetwork:\n- conv: {channels: %d, kernel: 1}\n- %s\n"
           "- conv: {channels: 1, kernel: 1}\n- global_mean: {}\nloss: logistic\n",
           H, W, C, layer);
  NumericsOpen(&f->n, backend, text, 1, 1e9);
  f->layer = &f->n.net->layers[1];
  f->call = (CourantLayerCall){
      .layer = f->layer, .n = N, .order = JET - 1, .reserve = JET - 1, .primal = f->primal};
  for (int k = 0; k < JET; k++) {
    f->call.x.c[k] = f->x[k];
    f->call.y.c[k] = f->y[k];
    f->call.dx.c[k] = f->dx[k];
    f->call.dy.c[k] = f->dy[k];
    for (int i = 0; i < IN; i++) {
      f->x[k][i] = k ? sin(i + 7 * k) : (i * i + i / 5) % 4; /* whole numbers: many ties */
      f->dy[k][i] = cos(3 * i + k);
      f->dx[k][i] = 1e9; /* to be written over */
    }
  }
}

/* Coefficient 0 first, the others by a second call, as a product at a kept primal does. */
static void Run(Fixture *f, const CourantBackend *backend)
{
  const CourantLayerOps *ops = backend->layers[f->layer->type];

  for (int from = 0; from < 2; from++) {
    f->call.from = from;
    f->call.order = from ? JET - 1 : 0;
    ops->Forward(&f->call);
    ops->Backward(&f->call);
  }
  /* No gradient by the data is asked for where they are the input. */
  f->call.dx.c[0] = NULL;
  ops->Backward(&f->call);
}

static size_t At(CourantShape s, int n, int y, int x, int c)
{
  return (size_t)(((n * s.h + y) * s.w + x) * s.c + c);
}

/* What a pool is to do at each output: the inputs of its window with their weights. */
static void Pool(const Fixture *f, int mean, const int size[2], const int stride[2], double y[JET][IN],
                 double dx[JET][IN])
{
  const CourantShape in = f->layer->in, out = f->layer->out;

  for (int n = 0; n < N; n++)
    for (int oy = 0; oy < out.h; oy++)
      for (int ox = 0; ox < out.w; ox++)
        for (int c = 0; c < C; c++) {
          const size_t o = At(out, n, oy, ox, c);
          size_t first = At(in, n, oy * stride[0], ox * stride[1], c);
          for (int pass = 0; pass < 2; pass++) /* find the largest, then add */
            for (int ky = 0; ky < size[0]; ky++)
              for (int kx = 0; kx < size[1]; kx++) {
                const size_t i = At(in, n, oy * stride[0] + ky, ox * stride[1] + kx, c);
                if (pass == 0 && f->x[0][i] > f->x[0][first]) first = i;
                if (pass == 0 || !(mean || i == first)) continue;
                for (int k = 0; k < JET; k++) {
                  y[k][o] += f->x[k][i] / (mean ? size[0] * size[1] : 1);
                  dx[k][i] += f->dy[k][o] / (mean ? size[0] * size[1] : 1);
                }
              }
        }
}

static void Compare(const Fixture *f, double y[JET][IN], double dx[JET][IN])
{
  for (int k = 0; k < JET; k++) {
    for (size_t i = 0; i < N * CourantShapeSize(f->layer->out); i++) NEAR(f->y[k][i], y[k][i], 1e-15);
    for (size_t i = 0; i < IN; i++) NEAR(f->dx[k][i], dx[k][i], 1e-14);
  }
}

static void ComparePools(const CourantBackend *backend)
{
  static const struct {
    const char *options;
    int size[2], stride[2], out[2];
  } cases[] = {
      {"{size: 1}", {1, 1}, {1, 1}, {5, 7}},
      {"{size: 3, stride: 2}", {3, 3}, {2, 2}, {2, 3}},
      {"{size: [5, 7]}", {5, 7}, {5, 7}, {1, 1}},
      {"{size: [1, 7]}", {1, 7}, {1, 7}, {5, 1}},
      {"{size: [2, 3], stride: [3, 4]}", {2, 3}, {3, 4}, {2, 2}},
      {"{size: [2, 1], stride: [1, 3]}", {2, 1}, {1, 3}, {4, 3}},
  };

  for (size_t j = 0; j < sizeof cases / sizeof *cases; j++)
    for (int mean = 0; mean < 2; mean++) {
      double y[JET][IN] = {{0}}, dx[JET][IN] = {{0}};
      char layer[128];
      Fixture f;
      snprintf(layer, sizeof layer, "%s: %s", mean ? "average_pool" : "max_pool", cases[j].options);
      Open(&f, backend, layer);
      assert_int_equal(f.layer->out.h, cases[j].out[0]);
      assert_int_equal(f.layer->out.w, cases[j].out[1]);
      Run(&f, backend);
      Pool(&f, mean, cases[j].size, cases[j].stride, y, dx);
      Compare(&f, y, dx);
      NumericsClose(&f.n);
    }
}

static void Pools(void **state)
{
  (void)state;
  ForEveryBackend(64, ComparePools);
}

/* A window with a NaN anywhere has a NaN as its largest; the others none. */
static void CompareNan(const CourantBackend *backend)
{
  for (int at = 0; at < H * W; at++) {
    Fixture f;
    Open(&f, backend, "max_pool: {size: [5, 1]}");
    f.x[0][at * C + 1] = NAN;
    Run(&f, backend);
    for (int i = 0; i < W * C; i++) assert_true(isnan(f.y[0][i]) == (i == at % W * C + 1));
    NumericsClose(&f.n);
  }
}

static void Nan(void **state)
{
  (void)state;
  ForEveryBackend(64, CompareNan);
}

static void CompareFlatten(const CourantBackend *backend)
{
  double y[JET][IN], dx[JET][IN];
  Fixture f;

  Open(&f, backend, "flatten: {}");
  assert_int_equal(f.layer->out.c, H * W * C);
  assert_int_equal(f.layer->out.h * f.layer->out.w, 1);
  Run(&f, backend);
  for (int k = 0; k < JET; k++)
    for (int n = 0, o = 0; n < N; n++)
      for (int c = 0; c < C; c++)
        for (int i = 0; i < H; i++)
          for (int j = 0; j < W; j++, o++) {
            y[k][o] = f.x[k][At(f.layer->in, n, i, j, c)];
            dx[k][At(f.layer->in, n, i, j, c)] = f.dy[k][o];
          }
  Compare(&f, y, dx);
  NumericsClose(&f.n);
}

static void Flatten(void **state)
{
  (void)state;
  ForEveryBackend(64, CompareFlatten);
}

/* Windows that do not tile the input are the user's mistake, named with both sizes. */
static void Refused(void **state)
{
  static const struct {
    const char *layer, *expected;
  } cases[] = {
      {"max_pool: {size: 2}",
       "deck:4: network.1.max_pool: 2x2 windows with stride 2x2 do not tile the 5x7 input"},
      {"average_pool: {size: [3, 2], stride: [2, 3]}",
       "deck:4: network.1.average_pool: 3x2 windows with stride 2x3 do not tile the 5x7 input"},
      {"max_pool: {size: [1, 8]}", "deck:4: network.1.max_pool: a 1x8 window is larger than the 5x7 input"},
  };
  (void)state;

  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[512];
    CourantDeck deck;
    CourantNet net = NULL;
    snprintf(text, sizeof text, "network:\n- conv: {channels: 3, kernel: 1}\n\n- %s\nloss: logistic\n",
             cases[i].layer);
    OK(CourantDeckParse(PETSC_COMM_SELF, text, NULL, &deck));
    const CourantNode root = CourantDeckRoot(deck);
    const CourantNetDeck of = {.network = CourantNodeChild(root, "network"),
                               .loss = CourantNodeChild(root, "loss")};
    assert_int_not_equal(CourantNetCreate(&of, (CourantShape){H, W, 1}, &net), 0);
    assert_string_equal(CourantErrorMessage(), cases[i].expected);
    CourantErrorClear();
    OK(CourantNetDestroy(&net));
    OK(CourantDeckDestroy(&deck));
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Pools),
    cmocka_unit_test(Nan),
    cmocka_unit_test(Flatten),
    cmocka_unit_test(Refused),
};

TEST_MAIN(tests)
