/*
  Every pointwise layer of the registry with its derivatives up to the fourth, from -800 to 800 and close to
  0, against closed forms in extended precision.
*/
#include "numerics.h"

enum { DERIVATIVES = COURANT_ORDER_MAX + 2, POINTS = 8192 };

/* f, f', .. and one derivative more, which the tolerance needs. */
typedef long double Values[DERIVATIVES + 1];
typedef void Reference(long double u, long double parameter, Values d);

/* s = 1 / (1 + e^-u) by polynomials of w = s', t = 1 - 2 s. */
static void Sigmoid(long double u, long double unused, Values d)
{
  const long double e = expl(-fabsl(u)), s = u > 0 ? 1 / (1 + e) : e / (1 + e), w = e / ((1 + e) * (1 + e)),
                    t = -tanhl(u / 2);
  (void)unused;
  d[0] = s;
  d[1] = w;
  d[2] = w * t;
  d[3] = w * (1 - 6 * w);
  d[4] = w * t * (1 - 12 * w);
  d[5] = w * (1 - 30 * w + 120 * w * w);
}

static void Tanh(long double u, long double unused, Values d)
{
  Sigmoid(2 * u, unused, d);
  d[0] = tanhl(u);
  for (int k = 1; k <= DERIVATIVES; k++) d[k] *= 2 << k;
}

static void Softplus(long double u, long double unused, Values d)
{
  Values s;
  Sigmoid(u, unused, s);
  d[0] = fmaxl(u, 0) + log1pl(expl(-fabsl(u)));
  for (int k = 1; k <= DERIVATIVES; k++) d[k] = s[k - 1];
}

static void Swish(long double u, long double beta, Values d)
{
  Values s;
  Sigmoid(beta * u, 0, s);
  for (int k = 0; k <= DERIVATIVES; k++)
    d[k] = powl(beta, k) * s[k] * u + (k ? k * powl(beta, k - 1) * s[k - 1] : 0);
}

/* With the density p and the distribution function P, p' = -u p. */
static void Gelu(long double u, long double unused, Values d)
{
  const long double p = expl(-u * u / 2) / sqrtl(2 * acosl(-1)), P = erfcl(-u / sqrtl(2)) / 2, v = u * u;
  (void)unused;
  d[0] = u * P;
  d[1] = P + u * p;
  d[2] = p * (2 - v);
  d[3] = p * u * (v - 4);
  d[4] = p * (7 * v - v * v - 4);
  d[5] = p * u * (v * v - 11 * v + 18);
}

static void LeakyRelu(long double u, long double slope, Values d)
{
  d[1] = u > 0 ? 1 : slope;
  d[0] = d[1] * u;
  for (int k = 2; k <= DERIVATIVES; k++) d[k] = 0;
}

typedef struct {
  const char *name, *options;
  double parameter;
  Reference *Function;
  int product; /* u times the parameter is rounded before anything else */
  int bounded; /* by 1 */
} Activation;

static const Activation activations[] = {
    {"relu", "{}", 0, LeakyRelu},
    {"leaky_relu", "{}", 0.01, LeakyRelu},
    {"leaky_relu", "{slope: 0.3}", 0.3, LeakyRelu},
    {"swish", "{}", 1, Swish},
    {"swish", "{beta: 1.7}", 1.7, Swish, .product = 1},
    {"gelu", "{}", 0, Gelu},
    {"tanh", "{}", 0, Tanh, .bounded = 1},
    {"sigmoid", "{}", 0, Sigmoid, .bounded = 1},
    {"softplus", "{}", 0, Softplus},
};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

/* From -800 to 800 in even steps, then both signs of 1e-12 to 100 with a constant ratio, then 0. */
static double Argument(int i)
{
  const int half = POINTS / 2;
  if (i == POINTS - 1) return 0;
  return i < half ? -800 + 1600. * i / (half - 1)
                  : copysign(pow(10, -12 + 14. * (i - half) / half), i % 2 - 0.5);
}

/* f, f', .. f'''' of an activation as the backend computes them. */
static void Run(const CourantBackend *backend, const Activation *a, int n, const double u[],
                double *d[DERIVATIVES])
{
  char text[512];
  Numerics f;

  snprintf(text, sizeof text,
           "data: {source: checkerboard, size: 1}\nnetwork:\n- conv: {channels: 1, kernel: 1}\n- %s: "
           "%s\nloss: logistic\n",
           a->name, a->options);
  NumericsOpen(&f, backend, text, 1, 1e9);
  backend->Derivatives(&f.net->layers[1], COURANT_ORDER_MAX, (size_t)n, u, d);
  NumericsClose(&f);
}

/*
  The errors allowed for f, f', .. in half units in the last place: of the value, or of what a change of u by
  one such unit makes of it, where it has a zero. Far out, where u f^(k+1) is many times f^(k), the argument's
  rounding is no excuse, but for the product of u and a parameter.
*/
static const double allowed[DERIVATIVES] = {5, 10, 14, 40, 60};

static void Compare(const CourantBackend *backend)
{
  const int twice = backend->bits == 64;
  const double epsilon = twice ? 0x1p-53 : 0x1p-24, tiny = twice ? 1e-297 : 1e-30;
  static double u[POINTS], memory[DERIVATIVES][POINTS];
  double *d[DERIVATIVES];

  for (int k = 0; k < DERIVATIVES; k++) d[k] = memory[k];
  for (int i = 0; i < POINTS; i++) u[i] = twice ? Argument(i) : (double)(float)Argument(i);
  for (int j = 0; j < ACTIVATIONS; j++) {
    const Activation *a = &activations[j];
    const double parameter = twice ? a->parameter : (double)(float)a->parameter;
    Run(backend, a, POINTS, u, d);
    for (int i = 0; i < POINTS; i++) {
      const double size = fabs(u[i]), reach = a->product ? size : fmin(size, 1 / size);
      Values expected;
      a->Function(u[i], parameter, expected);
      for (int k = 0; k < DERIVATIVES; k++) {
        const double scale = fabs((double)expected[k]) + reach * fabs((double)expected[k + 1]);
        if (!(fabs((double)(d[k][i] - expected[k])) <= allowed[k] * epsilon * scale + tiny))
          fail_msg("%s %s, %s, %d bits: derivative %d at %.17g is %.17g, expected %.17Lg", a->name,
                   a->options, backend->isa, backend->bits, k, u[i], d[k][i], expected[k]);
      }
    }
  }
}

static void Derivatives(void **state)
{
  (void)state;
  ForEveryBackend(64, Compare);
  ForEveryBackend(32, Compare);
}

/* Whoever adds an activation adds its closed form here. */
static void Complete(void **state)
{
  (void)state;
  for (int type = 0; type < CourantLayerTypeCount; type++) {
    const CourantLayerOps *ops = CourantLayerType(type);
    int found = !ops->bounded_slope;
    for (int j = 0; j < ACTIVATIONS; j++) found |= !strcmp(activations[j].name, ops->name);
    if (!found) fail_msg("no closed form of %s to compare with", ops->name);
  }
}

/* A double from its bits. */
static double FromBits(uint64_t bits)
{
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* NaN of either sign and with any payload comes out as NaN, infinities as the limits of f. */
static void CompareSpecial(const CourantBackend *backend)
{
  enum { NANS = 4 };
  const double u[] = {NAN,      -NAN,     FromBits(0x7ff8000000000001), FromBits(0xfff8000fe0000fff),
                      INFINITY, -INFINITY};
  double f[NANS + 2];

  for (int j = 0; j < ACTIVATIONS; j++) {
    const Activation *a = &activations[j];
    Run(backend, a, NANS + 2, u, (double *[DERIVATIVES]){f});
    for (int i = 0; i < NANS; i++)
      if (!isnan(f[i]))
        fail_msg("%s, %s, %d bits: NaN becomes %g", a->name, backend->isa, backend->bits, f[i]);
    assert_true(f[NANS] == (a->bounded ? 1 : INFINITY));
    if (!a->parameter) NEAR(f[NANS + 1], a->Function == Tanh ? -1 : 0, 1e-30);
  }
}

static void Special(void **state)
{
  (void)state;
  ForEveryBackend(64, CompareSpecial);
  ForEveryBackend(32, CompareSpecial);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Derivatives),
    cmocka_unit_test(Complete),
    cmocka_unit_test(Special),
};

TEST_MAIN(tests)
