/*
  example DECK - Both ends of the Hessian's spectrum at a
  deck's initial weights, by the public interface alone.
*/
#include <courant.h>

static PetscErrorCode Run(const char *file)
{
  CourantDeck deck;
  CourantProblem problem;
  CourantSpectrum spectrum;
  CourantExtreme largest, smallest;
  Vec theta;
  Mat H;

  PetscFunctionBeginUser;
  PetscCall(CourantDeckLoad(PETSC_COMM_WORLD, file, NULL, &deck));
  PetscCall(CourantProblemCreate(PETSC_COMM_WORLD, deck, &problem));
  PetscCall(CourantProblemSetFromOptions(problem));
  PetscCall(CourantProblemSetUp(problem));
  PetscCall(CourantProblemCreateVec(problem, &theta));
  PetscCall(CourantProblemGetInitialState(problem, theta));
  PetscCall(CourantProblemSetState(problem, theta, NULL, NULL));
  PetscCall(CourantProblemCreateHessian(problem, &H));
  PetscCall(CourantSpectrumCreate(PETSC_COMM_WORLD, &spectrum));
  PetscCall(CourantSpectrumSetOperator(spectrum, H));
  PetscCall(CourantSpectrumSetFromOptions(spectrum));
  PetscCall(CourantSpectrumSolve(spectrum));
  PetscCall(CourantSpectrumGetExtremes(spectrum, &largest, &smallest));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "lambda in [%.12g, %.12g], residuals %.1e, %.1e\n", smallest.value,
                        largest.value, smallest.residual, largest.residual));
  PetscCall(CourantSpectrumDestroy(&spectrum));
  PetscCall(MatDestroy(&H));
  PetscCall(VecDestroy(&theta));
  PetscCall(CourantProblemDestroy(&problem));
  PetscCall(CourantDeckDestroy(&deck));
  PetscFunctionReturn(0);
}

int main(int argc, char **argv)
{
  PetscCall(SlepcInitialize(&argc, &argv, NULL, NULL));
  if (argc > 1) PetscCall(Run(argv[1]));
  PetscCall(SlepcFinalize());
  return 0;
}
