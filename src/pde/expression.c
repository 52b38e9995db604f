#include "pde/expression.h"
#include "core/suggest.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = COURANT_TEXT_SIZE - 1, DEEPEST = 64 };

enum { NUMBER = 'n', NAME = 'v', NEGATE = '~' }; /* beside the operators, which stand for themselves */

/* Operations on a stack, in the order in which they are done. */
struct _CourantExpression {
  char text[COURANT_TEXT_SIZE];
  unsigned uses; /* a bit each of the names */
  int n;
  struct {
    char what;
    int name;
    double number;
  } operation[]; /* at most one for each character */
};

typedef struct {
  CourantNode place;
  int n;
  const char *const *names;
  CourantExpression expression;
  const char *at; /* the next character */
  int depth;
} Parser;

static PetscErrorCode ParseSum(Parser *);

static char Next(Parser *p)
{
  while (isspace((unsigned char)*p->at)) p->at++;
  return *p->at;
}

/* What was expected, where, and the character that stands there. */
static PetscErrorCode Fail(Parser *p, const char expected[])
{
  const CourantExpression e = p->expression;
  const char found = Next(p);

  PetscFunctionBeginUser;
  if (!found) CourantNodeError(p->place, "'%s': expected %s at the end", e->text, expected);
  CourantNodeError(p->place, "'%s': expected %s at character %d, not '%c'", e->text, expected,
                   (int)(p->at - e->text) + 1, found);
}

static void Emit(Parser *p, char what, int name, double number)
{
  const CourantExpression e = p->expression;
  e->operation[e->n].what = what;
  e->operation[e->n].name = name;
  e->operation[e->n++].number = number;
}

static PetscErrorCode UnknownName(Parser *p, const char *name)
{
  CourantSuggestion suggestion;
  char list[128] = "", phrase[160];

  PetscFunctionBeginUser;
  CourantSuggestBegin(&suggestion, name);
  for (int i = 0; i < p->n; i++) {
    if (!p->names[i]) continue;
    if (strlen(name) > 1) CourantSuggestOffer(&suggestion, p->names[i]);
    snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] ? ", " : "", p->names[i]);
  }
  CourantSuggestPhrase(&suggestion, phrase, sizeof phrase);
  CourantNodeError(p->place, "'%s': unknown name '%s' at character %d%s%s", p->expression->text, name,
                   (int)(p->at - p->expression->text) + 1,
                   phrase[0] ? phrase
                   : list[0] ? "; expected "
                             : "; expected numbers alone",
                   phrase[0] ? "" : list);
}

static PetscErrorCode ParseName(Parser *p)
{
  char name[COURANT_TEXT_SIZE];
  int length = 0;

  PetscFunctionBeginUser;
  while (isalnum((unsigned char)p->at[length]) || p->at[length] == '_') length++;
  memcpy(name, p->at, (size_t)length);
  name[length] = 0;
  for (int i = 0; i < p->n; i++) {
    if (!p->names[i] || strcmp(p->names[i], name)) continue;
    p->at += length;
    p->expression->uses |= 1u << i;
    Emit(p, NAME, i, 0);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(UnknownName(p, name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Decimal numbers alone: strtod() knows hexadecimal ones, too. */
static void ParseNumber(Parser *p)
{
  char *end = NULL;
  const PetscBool hexadecimal = p->at[0] == '0' && (p->at[1] == 'x' || p->at[1] == 'X');
  const double number = hexadecimal ? 0 : strtod(p->at, &end);

  p->at = hexadecimal ? p->at + 1 : end;
  Emit(p, NUMBER, 0, number);
}

static PetscErrorCode ParsePrimary(Parser *p)
{
  const char c = Next(p);

  PetscFunctionBeginUser;
  if (c == '(') {
    if (++p->depth > DEEPEST) CourantNodeError(p->place, "the parentheses are nested too deeply");
    p->at++;
    PetscCall(ParseSum(p));
    if (Next(p) != ')') PetscCall(Fail(p, "')' or an operator"));
    p->at++;
    p->depth--;
  } else if (isdigit((unsigned char)c) || (c == '.' && isdigit((unsigned char)p->at[1])))
    ParseNumber(p);
  else if (isalpha((unsigned char)c) || c == '_')
    PetscCall(ParseName(p));
  else
    PetscCall(Fail(p, "a number, a name or '('"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Signs, then a power whose exponent may have signs again. */
static PetscErrorCode ParseFactor(Parser *p)
{
  int minus = 0;

  PetscFunctionBeginUser;
  for (char c = Next(p); c == '-' || c == '+'; c = Next(p)) {
    minus ^= c == '-';
    p->at++;
  }
  PetscCall(ParsePrimary(p));
  if (Next(p) == '^') {
    p->at++;
    PetscCall(ParseFactor(p));
    Emit(p, '^', 0, 0);
  }
  if (minus) Emit(p, NEGATE, 0, 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ParseProduct(Parser *p)
{
  PetscFunctionBeginUser;
  PetscCall(ParseFactor(p));
  for (char c = Next(p); c == '*' || c == '/'; c = Next(p)) {
    p->at++;
    PetscCall(ParseFactor(p));
    Emit(p, c, 0, 0);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ParseSum(Parser *p)
{
  PetscFunctionBeginUser;
  PetscCall(ParseProduct(p));
  for (char c = Next(p); c == '+' || c == '-'; c = Next(p)) {
    p->at++;
    PetscCall(ParseProduct(p));
    Emit(p, c, 0, 0);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantExpressionParse - `text`, which stands at `place` of a deck; errors name the character at fault. */
PetscErrorCode CourantExpressionParse(CourantNode place, const char text[], int n, const char *const names[],
                                      CourantExpression *expression)
{
  const size_t length = strlen(text);
  Parser p = {.place = place, .n = n, .names = names};

  PetscFunctionBeginUser;
  if (length > LONGEST) CourantNodeError(place, "the expression is longer than %d characters", LONGEST);
  PetscCall(PetscCalloc(sizeof **expression + (length + 1) * sizeof p.expression->operation[0], expression));
  p.expression = *expression;
  memcpy(p.expression->text, text, length);
  p.at = p.expression->text;
  PetscCall(ParseSum(&p));
  if (Next(&p)) PetscCall(Fail(&p, "an operator"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantExpressionRead - The expression that stands at a place. */
PetscErrorCode CourantExpressionRead(CourantNode place, int n, const char *const names[],
                                     CourantExpression *expression)
{
  const char *text = CourantNodeText(place);

  PetscFunctionBeginUser;
  if (!text) CourantNodeError(place, "expected a number or an expression");
  PetscCall(CourantExpressionParse(place, text, n, names, expression));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantExpressionDestroy(CourantExpression *expression)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(*expression));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const char *CourantExpressionText(CourantExpression expression)
{
  return expression->text;
}

PetscBool CourantExpressionUses(CourantExpression expression, int name)
{
  return expression->uses >> name & 1 ? PETSC_TRUE : PETSC_FALSE;
}

static double Apply(char what, double a, double b)
{
  switch (what) {
  case '+':
    return a + b;
  case '-':
    return a - b;
  case '*':
    return a * b;
  case '/':
    return a / b;
  default:
    return pow(a, b);
  }
}

double CourantExpressionEvaluate(CourantExpression e, const double values[])
{
  double stack[COURANT_TEXT_SIZE];
  int top = -1;

  for (int i = 0; i < e->n; i++) {
    const char what = e->operation[i].what;
    if (what == NUMBER)
      stack[++top] = e->operation[i].number;
    else if (what == NAME)
      stack[++top] = values[e->operation[i].name];
    else if (what == NEGATE)
      stack[top] = -stack[top];
    else {
      top--;
      stack[top] = Apply(what, stack[top], stack[top + 1]);
    }
  }
  return stack[top];
}
