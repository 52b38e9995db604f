/* Expressions of decks against C's own arithmetic, and what is wrong with those that are none. */
#include "check.h"
#include "pde/expression.h"

static const char *const names[] = {"dt", "dx", NULL, "c"};
enum { NAMES = 4 };
static const double values[NAMES] = {0.25, 0.5, NAN, -3};

static PetscErrorCode Parse(const char *text, double *value)
{
  char deck_text[1024];
  CourantDeck deck;
  CourantExpression expression;

  PetscFunctionBeginUser;
  snprintf(deck_text, sizeof deck_text, "weights: [\"%s\"]\n", text);
  PetscCall(CourantDeckParse(PETSC_COMM_SELF, deck_text, NULL, &deck));
  const CourantNode list = CourantNodeChild(CourantDeckRoot(deck), "weights");
  PetscCall(CourantExpressionRead(CourantNodeItem(list, 0), NAMES, names, &expression));
  *value = CourantExpressionEvaluate(expression, values);
  PetscCall(CourantExpressionDestroy(&expression));
  PetscCall(CourantDeckDestroy(&deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Values(void **state)
{
  const double dt = values[0], dx = values[1], c = values[3];
  const struct {
    const char *text;
    double value;
  } cases[] = {
      {"1", 1},
      {" .5e1 ", 5},
      {"1e-3", 1e-3},
      {"dx", dx},
      {"1-2-3", -4},
      {"8/4/2", 1},
      {"2*3+4*5", 26},
      {"2+3*4", 14},
      {"(2+3)*4", 20},
      {"2^3^2", 512},
      {"-2^2", -4},
      {"(-2)^2", 4},
      {"2^-2", 0.25},
      {"--3", 3},
      {"-+-3", 3},
      {"2*-3", -6},
      {"-dx^2*c", 0.75},
      {"1/dx^2", 4},
      {"-1/(2*dx) + c*dt/(2*dx^2)", -1 / (2 * dx) + c * dt / (2 * dx * dx)},
      {"((((dt))))", dt},
      {"1/0", INFINITY},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double value = NAN;
    OK(Parse(cases[i].text, &value));
    if (value != cases[i].value)
      fail_msg("%s is %.17g, expected %.17g", cases[i].text, value, cases[i].value);
  }
}

static void Mistakes(void **state)
{
  char deep[256] = "", longest[600] = "";
  const struct {
    const char *text, *message;
  } cases[] = {
      {"", "'': expected a number, a name or '(' at the end"},
      {"2dx", "'2dx': expected an operator at character 2, not 'd'"},
      {"2 3", "'2 3': expected an operator at character 3, not '3'"},
      {"(1+2", "'(1+2': expected ')' or an operator at the end"},
      {"1+2)", "'1+2)': expected an operator at character 4, not ')'"},
      {"1+", "'1+': expected a number, a name or '(' at the end"},
      {"1**2", "'1**2': expected a number, a name or '(' at character 3, not '*'"},
      {"1+dtt", "'1+dtt': unknown name 'dtt' at character 3; did you mean 'dt'?"},
      {"dy", "'dy': unknown name 'dy' at character 1; did you mean 'dt'?"},
      {"q/dx", "'q/dx': unknown name 'q' at character 1; expected dt, dx, c"},
      {"0x10", "'0x10': expected an operator at character 2, not 'x'"},
      {"inf", "'inf': unknown name 'inf' at character 1; expected dt, dx, c"},
      {"1.2.3", "'1.2.3': expected an operator at character 4, not '.'"},
      {"2^", "'2^': expected a number, a name or '(' at the end"},
      {"1,2", "'1,2': expected an operator at character 2, not ','"},
      {deep, "the parentheses are nested too deeply"},
      {longest, "the expression is longer than 255 characters"},
  };

  (void)state;
  memset(deep, '(', 100);
  memset(longest, '-', 300);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char expected[400];
    double value;
    CourantErrorClear();
    const PetscErrorCode code = Parse(cases[i].text, &value);
    if (code != COURANT_ERR_INPUT) fail_msg("%s: error %d", cases[i].text, (int)code);
    snprintf(expected, sizeof expected, "deck:1: weights.0: %s", cases[i].message);
    assert_string_equal(CourantErrorMessage(), expected);
  }
  CourantErrorClear();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Values),
    cmocka_unit_test(Mistakes),
};

TEST_MAIN(tests)
