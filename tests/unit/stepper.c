/* R(z) of PETSc's steppers against closed forms, on a complex grid. */
#include "check.h"
#include <complex.h>

static double complex Euler(double complex z)
{
  return 1 + z;
}
static double complex Rk4(double complex z)
{
  return 1 + z * (1 + z / 2 * (1 + z / 3 * (1 + z / 4)));
}
static double complex Beuler(double complex z)
{
  return 1 / (1 - z);
}
static double complex Cn(double complex z)
{
  return (1 + z / 2) / (1 - z / 2);
}
static double complex Theta07(double complex z)
{
  return (1 + 0.3 * z) / (1 - 0.7 * z);
}

/*
  gamma = 1 - 1/sqrt(2), both stages on the diagonal: the L-stable
  SDIRK2 of Alexander (1977), which arkimex l2 has as its implicit part.
*/
static double complex Sdirk2(double complex z)
{
  const double g = 1 - M_SQRT1_2;
  return (1 + (1 - 2 * g) * z) / ((1 - g * z) * (1 - g * z));
}

/*
  Two stages, second order, gamma = 1 + 1/sqrt(2): R = (1 + (1-2g) z + (1/2
  - 2g + g^2) z^2) / (1 - g z)^2, the last coefficient 0 for this gamma.
*/
static double complex Ros2p(double complex z)
{
  const double g = 1 + M_SQRT1_2;
  return (1 + (1 - 2 * g) * z + (0.5 - 2 * g + g * g) * z * z) / ((1 - g * z) * (1 - g * z));
}

typedef struct {
  const char *options;
  double complex (*R)(double complex);
  double limit;
} Case;

static const Case cases[] = {
    {"-a_ts_type euler", Euler, 2},
    {"-a_ts_type rk -a_ts_rk_type 4", Rk4, 2.785293563405282},
    {"-a_ts_type beuler", Beuler, INFINITY},
    {"-a_ts_type cn", Cn, INFINITY},
    {"-a_ts_type theta -a_ts_theta_theta 0.7", Theta07, INFINITY},
    {"-a_ts_type arkimex -a_ts_arkimex_type l2", Sdirk2, INFINITY},
    {"-a_ts_type rosw -a_ts_rosw_type 2p", Ros2p, INFINITY},
};

static void Open(const char *options, CourantStepper *stepper)
{
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, options));
  OK(CourantStepperCreate(PETSC_COMM_SELF, "a_", stepper));
  OK(CourantStepperSetUp(*stepper));
}

static void ClosedForms(void **state)
{
  (void)state;
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    CourantStepper stepper;
    PetscComplex z[121], R[121];
    PetscReal limit;
    PetscBool one_step;
    Open(cases[c].options, &stepper);
    for (int i = 0; i < 121; i++) z[i] = -5 + 0.53 * (i / 11) + I * (-3 + 0.6 * (i % 11));
    OK(CourantStepperGetType(stepper, NULL, &one_step));
    assert_true(one_step);
    OK(CourantStepperComputePropagator(stepper, 121, 1, z, R));
    for (int i = 0; i < 121; i++) {
      const double complex expected = cases[c].R(z[i]);
      if (cabs(R[i] - expected) > 1e-12 * (1 + cabs(expected)))
        fail_msg("%s at z = %g + %gi: %.15g + %.15gi, expected %.15g + %.15gi", cases[c].options, creal(z[i]),
                 cimag(z[i]), creal(R[i]), cimag(R[i]), creal(expected), cimag(expected));
    }
    OK(CourantStepperGetRealLimit(stepper, &limit));
    if (isinf(cases[c].limit)) {
      if (!isinf(limit)) fail_msg("%s has the limit %.17g", cases[c].options, limit);
    } else
      NEAR(limit, cases[c].limit, 1e-9);
    OK(CourantStepperDestroy(&stepper));
  }
}

/* BDF2: the larger root of (3/2 - z) r^2 - 2 r + 1/2 = 0. */
static void Multistep(void **state)
{
  CourantStepper stepper;
  PetscBool one_step;
  const PetscComplex z[3] = {-0.5, -0.01, -20};
  PetscReal growth[3];

  (void)state;
  Open("-a_ts_type bdf", &stepper);
  OK(CourantStepperGetType(stepper, NULL, &one_step));
  assert_false(one_step);
  OK(CourantStepperComputeGrowth(stepper, 3, z, growth));
  for (int i = 0; i < 3; i++) {
    const double complex root = csqrt(4 - 2 * (1.5 - z[i]));
    const double larger = fmax(cabs((2 + root) / (3 - 2 * z[i])), cabs((2 - root) / (3 - 2 * z[i])));
    NEAR(growth[i], larger, 0.02 * larger);
  }
  OK(CourantStepperDestroy(&stepper));
}

/* Poles of R, points where only the real part of 1 - z vanishes, and their neighbours in the same batch. */
static void Poles(void **state)
{
  const struct {
    const char *options;
    double complex (*R)(double complex);
    double pole;
  } implicit[] = {{"-a_ts_type beuler", Beuler, 1}, {"-a_ts_type cn", Cn, 2}};

  (void)state;
  for (int c = 0; c < 2; c++) {
    CourantStepper stepper;
    const PetscComplex z[4] = {implicit[c].pole, implicit[c].pole + 0.4 * I, -1, implicit[c].pole - 1e-3 * I};
    PetscComplex R[4];
    Open(implicit[c].options, &stepper);
    OK(CourantStepperComputePropagator(stepper, 4, 1, z, R));
    assert_true(cabs(R[0]) > 1e6);
    for (int i = 1; i < 4; i++) NEAR(cabs(R[i] - implicit[c].R(z[i])), 0, 1e-12 * cabs(R[i]));
    OK(CourantStepperDestroy(&stepper));
  }
}

/* What cannot be probed is refused with a reason, whatever type it is; nothing crashes. */
static void EveryType(void **state)
{
  static const char *const types[] = {
      "euler", "beuler", "basicsymplectic", "pseudo", "cn",    "theta", "alpha", "alpha2", "glle",     "glee",
      "ssp",   "rk",     "arkimex",         "rosw",   "eimex", "mimex", "bdf",   "mprk",   "discgrad", "irk"};
  static const char *const refused[] = {"glle", "basicsymplectic", "pseudo", "alpha2", "glee", "mimex",
                                        "mprk", "discgrad",        "irk"};

  (void)state;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    char options[64];
    CourantStepper stepper;
    int expected = 0;
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) expected |= !strcmp(types[i], refused[k]);
    snprintf(options, sizeof options, "-a_ts_type %s", types[i]);
    OK(PetscOptionsClear(NULL));
    OK(PetscOptionsInsertString(NULL, options));
    OK(CourantStepperCreate(PETSC_COMM_SELF, "a_", &stepper));
    const PetscErrorCode code = CourantStepperSetUp(stepper);
    if ((code != 0) != expected) fail_msg("%s: %s", types[i], code ? CourantErrorMessage() : "was accepted");
    if (code) assert_non_null(strstr(CourantErrorMessage(), "cannot be probed"));
    CourantErrorClear();
    OK(CourantStepperDestroy(&stepper));
  }
}

/* No type that is taken is one for decay alone: each lets an oscillation u' = i w u oscillate. */
static void Oscillation(void **state)
{
  static const char *const types[] = {"euler", "beuler",  "cn",   "theta", "alpha", "ssp",
                                      "rk",    "arkimex", "rosw", "eimex", "bdf"};
  const PetscReal w = 0.05;
  const PetscComplex z = I * w;

  (void)state;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    char options[64];
    CourantStepper stepper;
    PetscComplex R;
    PetscReal growth;
    PetscBool one_step;
    snprintf(options, sizeof options, "-a_ts_type %s", types[i]);
    Open(options, &stepper);
    OK(CourantStepperGetType(stepper, NULL, &one_step));
    OK(CourantStepperComputeGrowth(stepper, 1, &z, &growth));
    NEAR(growth, 1, w * w);
    if (one_step) {
      OK(CourantStepperComputePropagator(stepper, 1, 1, &z, &R));
      NEAR(cabs(R - cexp(z)), 0, w * w); /* consistency; first order has w^2 / 2 */
    }
    OK(CourantStepperDestroy(&stepper));
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ClosedForms), cmocka_unit_test(Multistep),   cmocka_unit_test(Poles),
    cmocka_unit_test(EveryType),   cmocka_unit_test(Oscillation),
};

TEST_MAIN(tests)
