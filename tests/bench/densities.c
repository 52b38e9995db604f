/*
  densities DECK [-threads n] [-memory amount] - What the spectral density of each layer's input costs, beside
  the Fourier transforms that it cannot do without.
*/
#include "stability/cross-spectrum.h"
#include "core/memory.h"
#include <fftw3.h>
#include <sys/resource.h>
#include <time.h>

void openblas_set_num_threads(int);

static double Now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double PeakMegabytes(void)
{
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)usage.ru_maxrss / 1024;
}

/* So many transforms of planes of the density's grid, one after the other. */
static PetscErrorCode TimeTransforms(const CourantCrossSpectrum *s, double count, double *seconds)
{
  double *plane, *half;

  PetscFunctionBeginUser;
  PetscCall(CourantAllocate(sizeof(double) * (size_t)s->h * (size_t)s->w, &plane));
  PetscCall(CourantAllocate(sizeof(double) * 2 * s->frequencies, &half));
  const fftw_plan plan = fftw_plan_dft_r2c_2d(s->h, s->w, plane, (fftw_complex *)half, FFTW_ESTIMATE);
  const double start = Now();
  for (double i = 0; i < count; i++) fftw_execute(plan);
  *seconds = Now() - start;
  fftw_destroy_plan(plan);
  CourantFree(&plane);
  CourantFree(&half);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(const char *file)
{
  CourantDeck deck;
  CourantProblem problem;
  CourantProgress progress;
  Vec theta;

  PetscFunctionBeginUser;
  PetscCall(CourantDeckLoad(PETSC_COMM_WORLD, file, NULL, &deck));
  PetscCall(CourantProblemCreate(PETSC_COMM_WORLD, deck, &problem));
  PetscCall(CourantProblemSetFromOptions(problem));
  PetscCall(CourantProblemSetUp(problem));
  PetscCall(CourantProblemCreateVec(problem, &theta));
  PetscCall(CourantProblemGetInitialState(problem, theta));
  openblas_set_num_threads(1);
  const CourantNet net = problem->net;
  for (PetscInt l = 0; l < net->nlayers; l++) {
    CourantCrossSpectrum s;
    double transforms = 0, start = Now();
    if (net->layers[l].size == 0) continue;
    CourantProgressBegin(&progress, "spectral density", 0, CourantCrossSpectrumUnits(problem), PETSC_FALSE);
    PetscCall(CourantCrossSpectrumCreate(problem, problem->theta, l, &progress, &s));
    CourantProgressEnd(&progress);
    const double stream = Now() - start;
    start = Now();
    PetscCall(CourantCrossSpectrumMaximise(&s, (int)problem->threads));
    const double maximise = Now() - start;
    PetscCall(TimeTransforms(&s, (double)problem->data->n * s.inputs, &transforms));
    printf("%-12s %d samples, %d channels on %d x %d: density %.2f s, its maximum %.2f s; transforms alone "
           "%.2f s on one thread, ratio %.2f; peak %.0f MB\n",
           net->layers[l].name, (int)problem->data->n, s.inputs, s.h, s.w, stream, maximise, transforms,
           stream / transforms, PeakMegabytes());
    fflush(stdout);
    PetscCall(CourantCrossSpectrumDestroy(&s));
  }
  PetscCall(VecDestroy(&theta));
  PetscCall(CourantProblemDestroy(&problem));
  PetscCall(CourantDeckDestroy(&deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode code = SlepcInitialize(&argc, &argv, NULL, NULL);

  if (!code) code = PetscPushErrorHandler(CourantErrorHandler, NULL);
  if (!code && argc > 1) code = Run(argv[1]);
  if (code) CourantErrorExit(code);
  (void)SlepcFinalize();
  return CourantExitStatus(code);
}
