#pragma once
/* What the test programs share: cmocka, PETSc, and comparisons that say by how much they fail. */
#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "courant.h"
#include "core/error.h"

/* A PETSc call that has to succeed. */
#define OK(...)                                                                                              \
  do {                                                                                                       \
    const PetscErrorCode code_ = (__VA_ARGS__);                                                              \
    if (code_) fail_msg("error %d: %s", (int)code_, CourantErrorMessage());                                  \
  } while (0)

/* |a - b| <= tolerance. */
#define NEAR(a, b, tolerance)                                                                                \
  do {                                                                                                       \
    const double a_ = (a), b_ = (b), t_ = (tolerance);                                                       \
    if (!(fabs(a_ - b_) <= t_))                                                                              \
      fail_msg("%s = %.17g, expected %.17g: off by %.3g, allowed %.3g", #a, a_, b_, fabs(a_ - b_), t_);      \
  } while (0)

#define BELOW(a, limit)                                                                                      \
  do {                                                                                                       \
    const double a_ = (a), l_ = (limit);                                                                     \
    if (!(a_ < l_)) fail_msg("%s = %.6g, expected less than %.6g", #a, a_, l_);                              \
  } while (0)

static int SetUpPetsc(void **state)
{
  (void)state;
  PetscErrorCode code = SlepcInitializeNoArguments();
  if (!code) code = PetscPushErrorHandler(CourantErrorHandler, NULL);
  CourantErrorClear();
  return (int)code;
}

static int TearDownPetsc(void **state)
{
  (void)state;
  return (int)SlepcFinalize();
}

/* The main program of a list of cmocka_unit_test()s. */
#define TEST_MAIN(tests)                                                                                     \
  int main(void)                                                                                             \
  {                                                                                                          \
    return cmocka_run_group_tests(tests, SetUpPetsc, TearDownPetsc);                                         \
  }
