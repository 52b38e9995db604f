/*
  Time of a gradient and of a Hessian-vector product of a deck's problem: products DECK [-threads n] [-isa ..]
  [-memory ..]

  Prints the median of repeated calls in milliseconds with the quartiles. Not a test: nothing passes or fails
  by time.
*/
#include "courant.h"
#include "core/error.h"
#include <stdlib.h>
#include <time.h>

static double Now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int Ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

enum { REPETITIONS = 40001 };

typedef struct {
  CourantProblem problem;
  Mat H;
  Vec theta, v, out;
} Bench;

static PetscErrorCode Gradient(Bench *b)
{
  return CourantProblemComputeLoss(b->problem, b->theta, NULL, b->out);
}

static PetscErrorCode Product(Bench *b)
{
  return MatMult(b->H, b->v, b->out);
}

static PetscErrorCode Time(Bench *b, const char *name, PetscErrorCode (*Work)(Bench *))
{
  double seconds[REPETITIONS];

  PetscFunctionBeginUser;
  PetscCall(Work(b));
  for (int i = 0; i < REPETITIONS; i++) {
    const double start = Now();
    PetscCall(Work(b));
    seconds[i] = Now() - start;
  }
  qsort(seconds, REPETITIONS, sizeof *seconds, Ascending);
  printf("%-10s %10.4f ms   (quartiles %.4f, %.4f)\n", name, 1e3 * seconds[REPETITIONS / 2],
         1e3 * seconds[REPETITIONS / 4], 1e3 * seconds[3 * REPETITIONS / 4]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(const char *file)
{
  char overrides[1024] = "";
  CourantDeck deck;
  Bench b;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-set", overrides, sizeof overrides, NULL));
  PetscCall(CourantDeckLoad(PETSC_COMM_WORLD, file, overrides, &deck));
  PetscCall(CourantProblemCreate(PETSC_COMM_WORLD, deck, &b.problem));
  PetscCall(CourantProblemSetFromOptions(b.problem));
  PetscCall(CourantProblemSetUp(b.problem));
  PetscCall(CourantProblemCreateVec(b.problem, &b.theta));
  PetscCall(VecDuplicate(b.theta, &b.v));
  PetscCall(VecDuplicate(b.theta, &b.out));
  PetscCall(CourantProblemGetInitialState(b.problem, b.theta));
  PetscCall(VecSetRandom(b.v, NULL));
  PetscCall(CourantProblemCreateHessian(b.problem, &b.H));
  PetscCall(CourantProblemSetState(b.problem, b.theta, NULL, NULL));
  PetscCall(Time(&b, "gradient", Gradient));
  PetscCall(Time(&b, "product", Product));
  PetscCall(MatDestroy(&b.H));
  PetscCall(VecDestroy(&b.theta));
  PetscCall(VecDestroy(&b.v));
  PetscCall(VecDestroy(&b.out));
  PetscCall(CourantProblemDestroy(&b.problem));
  PetscCall(CourantDeckDestroy(&deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode code = SlepcInitialize(&argc, &argv, NULL, NULL);

  if (!code) code = PetscPushErrorHandler(CourantErrorHandler, NULL);
  if (!code && argc < 2)
    fprintf(stderr, "usage: products DECK [options]\n");
  else if (!code)
    code = Run(argv[1]);
  if (code) CourantErrorExit(code);
  (void)SlepcFinalize();
  return CourantExitStatus(code);
}
