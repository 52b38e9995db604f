/*
  What a layer reads, seen as a convolution operator.

  Output channels apart, a layer maps its parameters by the patches P_i of its input, and mean_i P_i^T P_i is
  to be bounded. All output positions of the full convolution, of which those of any padding and stride are a
  part, make the weights' columns of P_i a part of a circulant matrix whose symbol is the discrete Fourier
  transform of the input, extended by zeros so far that nothing wraps around; with circular padding the
  image's own. So the weights' block is at most sup_w rho(S(w)).

  A bias is a kernel of one pixel on a channel that is one at the output positions. To let that kernel be of
  any size would cost a factor of the number of outputs, so the bound of both together is that of a 2 x 2
  matrix: its entries are the weights' bound, the number of outputs, and the length of the column between. A
  dense layer is the convolution of one pixel, whose S(0) is mean_i P_i^T P_i itself, bias and all.
*/
#include "stability/cross-spectrum.h"
#include "core/interrupt.h"
#include "core/memory.h"
#include "net/inner.h"
#include "net/layers/conv.h"
#include <fftw3.h>
#include <math.h>
#include <omp.h>
#include <petscblaslapack.h>
#include <string.h>

/* CourantLayerCheckMemory - A budget that was asked for has to hold what one step of the analysis of a layer
 * takes on a rank, beside what the problem keeps. */
PetscErrorCode CourantLayerCheckMemory(CourantProblem problem, double bytes)
{
  PetscFunctionBeginUser;
  if (problem->memory_text[0] && bytes > problem->memory / 2)
    CourantInputError(problem->comm,
                      "-memory %s is too little to analyse this model layer by layer: it takes at least "
                      "%.3g MB on a rank",
                      problem->memory_text, ceil(2 * bytes / 1e5) / 10);
  PetscFunctionReturn(PETSC_SUCCESS);
}

enum { ROWS = 2 * COURANT_LEAF }; /* real and imaginary parts of a leaf's samples */

/* One axis: the output at j reads the input from j stride - pad on. */
typedef struct {
  int input, outputs, kernel, stride, pad;
  int grid;
} Axis;

static Axis AxisOf(const CourantLayer *layer, int axis)
{
  const CourantConvOptions *o = (const CourantConvOptions *)layer->options;
  Axis a = {.input = (int)(axis ? layer->in.w : layer->in.h),
            .outputs = (int)(axis ? layer->out.w : layer->out.h),
            .kernel = 1,
            .stride = 1};

  a.grid = a.input;
  if (strcmp(CourantLayerType(layer->type)->name, "conv")) return a;
  a.kernel = (int)o->kernel[axis];
  a.stride = (int)o->stride[axis];
  a.pad = o->padding >= 0 ? o->padding : o->padding == COURANT_PADDING_VALID ? 0 : (a.kernel - 1) / 2;
  if (o->padding == COURANT_PADDING_CIRCULAR) return a;
  const int before = PetscMax(a.kernel - 1, a.pad), last = (a.outputs - 1) * a.stride - a.pad;
  a.grid = before + 1 + PetscMax(a.input - 1, last);
  return a;
}

/* What turns a leaf of samples into its part of S. */
typedef struct {
  Axis y, x;
  CourantCrossSpectrum *s;
  fftw_plan plan;
  int threads;
  double **plane;   /* [threads]: [h,w] */
  double **columns; /* [threads]: [2 channels,ROWS] */
  double *spectra;  /* [channels,COURANT_LEAF,frequencies] complex */
} Transform;

static size_t SpectrumSize(const Transform *t)
{
  return (2 * t->s->frequencies + 15) / 16 * 16;
}

static double *SpectrumOf(const Transform *t, int channel, int sample)
{
  return t->spectra + (size_t)(channel * COURANT_LEAF + sample) * SpectrumSize(t);
}

/* The bias's channel, one at each output position; the same for every sample. */
static void TransformBias(const Transform *t)
{
  const int c = t->s->inputs;
  double *plane = t->plane[0];

  memset(plane, 0, sizeof(double) * (size_t)t->s->h * (size_t)t->s->w);
  for (int i = 0; i < t->y.outputs; i++)
    for (int j = 0; j < t->x.outputs; j++) {
      const int y = (i * t->y.stride - t->y.pad + t->s->h) % t->s->h,
                x = (j * t->x.stride - t->x.pad + t->s->w) % t->s->w;
      plane[(size_t)y * (size_t)t->s->w + (size_t)x] = 1;
    }
  fftw_execute_dft_r2c(t->plan, plane, (fftw_complex *)SpectrumOf(t, c, 0));
  for (int i = 1; i < COURANT_LEAF; i++)
    memcpy(SpectrumOf(t, c, i), SpectrumOf(t, c, 0), sizeof(double) * 2 * t->s->frequencies);
}

static PetscErrorCode TransformCreate(const CourantLayer *layer, int threads, CourantCrossSpectrum *s,
                                      Transform *t)
{
  PetscFunctionBeginUser;
  *t = (Transform){.y = AxisOf(layer, 0), .x = AxisOf(layer, 1), .s = s, .threads = threads};
  *s = (CourantCrossSpectrum){.h = t->y.grid,
                              .w = t->x.grid,
                              .inputs = (int)layer->in.c,
                              .channels = (int)layer->in.c + (layer->nparameters > 1),
                              .kernel = {t->y.kernel, t->x.kernel},
                              .outputs = t->y.outputs * t->x.outputs,
                              .frequencies = (size_t)t->y.grid * (size_t)(t->x.grid / 2 + 1)};
  s->active = s->h * s->w == 1 ? s->channels : s->inputs;
  const size_t channels = (size_t)s->channels, plane = (size_t)s->h * (size_t)s->w;
  PetscCall(CourantAllocate(sizeof(double) * 2 * s->frequencies * channels * channels, &s->density));
  PetscCall(CourantAllocate(sizeof(double) * channels * COURANT_LEAF * SpectrumSize(t), &t->spectra));
  PetscCall(PetscCalloc2(threads, &t->plane, threads, &t->columns));
  for (int i = 0; i < threads; i++) {
    PetscCall(CourantAllocate(sizeof(double) * plane, &t->plane[i]));
    PetscCall(CourantAllocate(sizeof(double) * 2 * channels * ROWS, &t->columns[i]));
  }
  t->plan = fftw_plan_dft_r2c_2d(s->h, s->w, t->plane[0], (fftw_complex *)t->spectra, FFTW_ESTIMATE);
  if (s->channels > s->inputs) TransformBias(t);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TransformDestroy(Transform *t)
{
  PetscFunctionBeginUser;
  for (int i = 0; i < t->threads; i++) {
    CourantFree(&t->plane[i]);
    CourantFree(&t->columns[i]);
  }
  PetscCall(PetscFree2(t->plane, t->columns));
  CourantFree(&t->spectra);
  fftw_destroy_plan(t->plan);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void TransformChannel(const Transform *t, const double *value, int channel, int sample, double *plane)
{
  const int channels = t->s->inputs;

  memset(plane, 0, sizeof(double) * (size_t)t->s->h * (size_t)t->s->w);
  for (int y = 0; y < t->y.input; y++)
    for (int x = 0; x < t->x.input; x++)
      plane[(size_t)y * (size_t)t->s->w + (size_t)x] =
          value[(size_t)(y * t->x.input + x) * (size_t)channels + (size_t)channel];
  fftw_execute_dft_r2c(t->plan, plane, (fftw_complex *)SpectrumOf(t, channel, sample));
}

/*
  S at a frequency from n samples: with rows [Re X; Im X], the matrices [Re X; Im X] and [Im X; -Re X] beside
  each other, times the first transposed, are the real and imaginary parts of conj(X_a) X_b.
*/
static void Multiply(const Transform *t, size_t f, int n, double *columns, double *density)
{
  static const PetscBLASInt rows = ROWS;
  const PetscBLASInt channels = t->s->channels, both = 2 * channels;
  const double one = 1, zero = 0;

  memset(columns, 0, sizeof(double) * (size_t)both * ROWS);
  for (int c = 0; c < channels; c++) {
    double *left = columns + (size_t)c * ROWS, *right = left + (size_t)channels * ROWS;
    for (int i = 0; i < n; i++) {
      const double *x = SpectrumOf(t, c, i) + 2 * f;
      left[i] = right[COURANT_LEAF + i] = x[0];
      left[COURANT_LEAF + i] = right[i] = x[1];
      right[COURANT_LEAF + i] = -x[0];
    }
  }
  BLASgemm_("T", "N", &channels, &both, &rows, &one, columns, &rows, columns, &rows, &zero, density,
            &channels);
}

/* S summed over a leaf of n samples. */
static void TransformLeaf(const Transform *t, CourantInner inner, int value, int n, double *density)
{
  const size_t size = 2 * (size_t)t->s->channels * (size_t)t->s->channels;

#pragma omp parallel num_threads(t->threads) if (t->threads > 1)
  {
    const int thread = omp_get_thread_num();
#pragma omp for schedule(static)
    for (int i = 0; i < n * t->s->inputs; i++)
      TransformChannel(t, CourantInnerValue(inner, value, i / t->s->inputs), i % t->s->inputs,
                       i / t->s->inputs, t->plane[thread]);
#pragma omp for schedule(static)
    for (size_t f = 0; f < t->s->frequencies; f++) Multiply(t, f, n, t->columns[thread], density + f * size);
  }
}

/* CourantCrossSpectrumUnits - How far one spectrum takes a progress bar: leaves of a rank. */
PetscInt CourantCrossSpectrumUnits(CourantProblem problem)
{
  const PetscInt leaves = (problem->data->n + COURANT_LEAF - 1) / COURANT_LEAF;
  PetscMPIInt size;

  MPI_Comm_size(problem->comm, &size);
  return (leaves + size - 1) / size;
}

/* The leaves of this rank, one after the other, into the sum. */
static PetscErrorCode Stream(CourantProblem problem, const Transform *t, CourantInner inner, int value,
                             CourantProgress *progress, CourantTreeSum *sum)
{
  const PetscInt n = problem->data->n, leaves = (n + COURANT_LEAF - 1) / COURANT_LEAF,
                 rounds = CourantCrossSpectrumUnits(problem);
  const double done = progress->done;
  PetscMPIInt rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(problem->comm, &rank));
  PetscCallMPI(MPI_Comm_size(problem->comm, &size));
  const PetscInt first = (PetscInt)((PetscInt64)leaves * rank / size),
                 last = (PetscInt)((PetscInt64)leaves * (rank + 1) / size);
  for (PetscInt i = 0; i < rounds; i++) {
    PetscCall(CourantInterruptCheckTogether(problem->comm));
    CourantProgressUpdate(progress, done + (double)i);
    if (first + i >= last) continue;
    const PetscInt start = (first + i) * COURANT_LEAF, count = PetscMin(COURANT_LEAF, n - start);
    const char *wrong = CourantInnerForward(inner, start, count, value);
    if (wrong) CourantNodeError(problem->data->node, "%s", wrong);
    TransformLeaf(t, inner, value, (int)count, CourantTreeSumNext(sum));
    CourantTreeSumAdd(sum, first + i);
  }
  CourantProgressUpdate(progress, done + (double)rounds);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the transforms of a leaf, and so many densities, take. */
static double Bytes(const Transform *t, int densities)
{
  const double channels = t->s->channels;
  return 8 * (channels * COURANT_LEAF * (double)SpectrumSize(t) +
              2 * (double)t->s->frequencies * channels * channels * densities);
}

/*
  CourantCrossSpectrumCreate - S(w), S_ab = mean_i conj(X_i,a(w)) X_i,b(w), X_i the discrete Fourier transform
  of what layer `layer` reads of sample i; a convolution or dense layer of a net whose samples know nothing
  of each other.

  Samples stream leaf by leaf; the sum has the same bits for any number of ranks and threads. Collective.
  theta: [p], on every rank. Its maximum is CourantCrossSpectrumMaximise()'s.
*/
PetscErrorCode CourantCrossSpectrumCreate(CourantProblem problem, const double theta[], PetscInt layer,
                                          CourantProgress *progress, CourantCrossSpectrum *s)
{
  const CourantNet net = problem->net;
  const int threads = (int)problem->threads;
  const CourantInnerSettings settings = {.samples = COURANT_LEAF, .threads = threads};
  CourantInner inner;
  CourantTreeSum sum;
  Transform t;

  PetscFunctionBeginUser;
  PetscCall(TransformCreate(&net->layers[layer], threads, s, &t));
  const size_t length = 2 * s->frequencies * (size_t)s->channels * (size_t)s->channels;
  PetscCheck(length <= PETSC_MPI_INT_MAX, problem->comm, PETSC_ERR_SUP,
             "layer %s: a spectral density of %.3g numbers is too large", net->layers[layer].name,
             (double)length);
  PetscCall(CourantInnerCreate(net, problem->data, problem->backend, &settings, &inner));
  CourantInnerSetWeights(inner, theta);
  PetscCall(CourantTreeSumCreate(length, problem->data->n / COURANT_LEAF + 2, &sum));
  PetscCall(CourantLayerCheckMemory(problem, CourantInnerMemory(inner) + Bytes(&t, sum.capacity / 2 + 2)));
  PetscCall(Stream(problem, &t, inner, net->layers[layer].source, progress, &sum));
  PetscCall(CourantTreeSumGather(&sum, problem->comm));
  CourantTreeSumFold(&sum, s->density);
  for (size_t i = 0; i < length; i++) s->density[i] /= (double)problem->data->n;
  PetscCallMPI(MPI_Bcast(s->density, (PetscMPIInt)length, MPI_DOUBLE, 0, problem->comm));
  PetscCall(CourantTreeSumDestroy(&sum));
  PetscCall(CourantInnerDestroy(&inner));
  PetscCall(TransformDestroy(&t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the largest eigenvalue over all frequencies ---- */

typedef struct {
  double *matrix, *values, *work;
  PetscBLASInt length;
} Solver;

static PetscErrorCode SolverCreate(int channels, Solver *solver)
{
  const PetscBLASInt n = 2 * channels, query = -1;
  PetscBLASInt info;
  double length;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)n * (size_t)n, &solver->matrix, n, &solver->values));
  LAPACKsyev_("V", "L", &n, solver->matrix, &n, solver->values, &length, &query, &info);
  solver->length = (PetscBLASInt)length;
  PetscCall(PetscMalloc1(solver->length, &solver->work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolverDestroy(Solver *solver)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(solver->matrix, solver->values));
  PetscCall(PetscFree(solver->work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Eigenvalues of S at a frequency, ascending in solver->values: those of the symmetric [Re, -Im; Im, Re], each
  twice, or of S itself where it is real. Returns how many, or 0 when LAPACK failed.
*/
static PetscBLASInt Solve(const CourantCrossSpectrum *s, size_t f, const char *vectors, Solver *solver)
{
  const size_t c = (size_t)s->channels, m = (size_t)s->active;
  const double *re = s->density + 2 * f * c * c, *im = re + c * c;
  PetscBLASInt n = s->active, info;

  for (size_t b = 0; b < m; b++)
    for (size_t a = 0; a < m; a++)
      if (im[a + b * c] != 0) n = 2 * s->active;
  for (size_t b = 0; b < m; b++)
    for (size_t a = 0; a < m; a++) {
      solver->matrix[a + b * (size_t)n] = re[a + b * c];
      if (n == s->active) continue;
      solver->matrix[(m + a) + b * (size_t)n] = im[a + b * c];
      solver->matrix[(m + a) + (m + b) * (size_t)n] = re[a + b * c];
    }
  LAPACKsyev_(vectors, "L", &n, solver->matrix, &n, solver->values, solver->work, &solver->length, &info);
  return info ? 0 : n;
}

/* The eigenvector of the largest eigenvalue; its phase is free, so its largest component is made positive. */
static void TakeDirection(const CourantCrossSpectrum *s, PetscBLASInt n, const Solver *solver)
{
  const double *vector = solver->matrix + (size_t)(n - 1) * (size_t)n;
  double largest = 0, phase[2] = {1, 0};

  for (int a = 0; a < s->active; a++) {
    double *z = s->direction + 2 * a;
    z[0] = vector[a];
    z[1] = n > s->active ? vector[s->active + a] : 0;
    const double size = hypot(z[0], z[1]);
    if (size <= largest) continue;
    largest = size;
    phase[0] = z[0] / size;
    phase[1] = -z[1] / size;
  }
  for (int a = 0; a < s->active; a++) {
    double *z = s->direction + 2 * a, re = z[0] * phase[0] - z[1] * phase[1];
    z[1] = z[0] * phase[1] + z[1] * phase[0];
    z[0] = re;
  }
}

/*
  The bias's column of mean_i P_i^T P_i, sums of the input over the output positions: correlations of the
  constant channel with the others, at the lags of the kernel. Its square.
*/
static PetscErrorCode CoupleBias(const CourantCrossSpectrum *s, double *square)
{
  const size_t c = (size_t)s->channels, points = (size_t)s->h * (size_t)s->w;
  double *half, *plane;

  PetscFunctionBeginUser;
  *square = 0;
  PetscCall(CourantAllocate(sizeof(double) * 2 * s->frequencies, &half));
  PetscCall(CourantAllocate(sizeof(double) * points, &plane));
  const fftw_plan plan = fftw_plan_dft_c2r_2d(s->h, s->w, (fftw_complex *)half, plane, FFTW_ESTIMATE);
  for (int b = 0; b < s->inputs; b++) {
    for (size_t f = 0; f < s->frequencies; f++)
      for (size_t part = 0; part < 2; part++)
        half[2 * f + part] = s->density[((2 * f + part) * c + (size_t)b) * c + (size_t)s->inputs];
    fftw_execute(plan);
    for (int y = 0; y < s->kernel[0]; y++)
      for (int x = 0; x < s->kernel[1]; x++) {
        const double sum = plane[(size_t)y * (size_t)s->w + (size_t)x] / (double)points;
        *square += sum * sum;
      }
  }
  fftw_destroy_plan(plan);
  CourantFree(&half);
  CourantFree(&plane);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The frequency of a place on an axis, in (-pi, pi]. */
static double FrequencyOf(int k, int n)
{
  return 2 * M_PI * (2 * k > n ? k - n : k) / n;
}

/* CourantCrossSpectrumMaximise - rho(S(w)) over the grid, where it is largest, and the bound of the patches.
 * Not collective. */
PetscErrorCode CourantCrossSpectrumMaximise(CourantCrossSpectrum *s, int threads)
{
  const int columns = s->w / 2 + 1;
  Solver *solvers;
  double coupling = 0;
  size_t top = 0;
  int failed = 0;

  PetscFunctionBeginUser;
  if (!s->rho) PetscCall(PetscMalloc2(s->frequencies, &s->rho, 2 * s->active, &s->direction));
  PetscCall(PetscCalloc1(threads, &solvers));
  for (int t = 0; t < threads; t++) PetscCall(SolverCreate(s->active, &solvers[t]));
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : failed) if (threads > 1)
  for (size_t f = 0; f < s->frequencies; f++) {
    Solver *solver = &solvers[omp_get_thread_num()];
    const PetscBLASInt n = Solve(s, f, "N", solver);
    failed += n == 0;
    s->rho[f] = n ? solver->values[n - 1] : NAN;
  }
  PetscCheck(!failed, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK syev failed at %d frequencies", failed);
  for (size_t f = 1; f < s->frequencies; f++)
    if (s->rho[f] > s->rho[top]) top = f;
  const PetscBLASInt n = Solve(s, top, "V", &solvers[0]);
  PetscCheck(n, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK syev failed");
  s->largest = s->rho[top];
  s->frequency[0] = FrequencyOf((int)top / columns, s->h);
  s->frequency[1] = FrequencyOf((int)top % columns, s->w);
  TakeDirection(s, n, &solvers[0]);
  s->patches = s->largest;
  if (s->channels > s->active) {
    const double sum = s->largest + s->outputs, difference = s->largest - s->outputs;
    PetscCall(CoupleBias(s, &coupling));
    s->patches = (sum + sqrt(difference * difference + 4 * coupling)) / 2;
  }
  for (int t = 0; t < threads; t++) PetscCall(SolverDestroy(&solvers[t]));
  PetscCall(PetscFree(solvers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantCrossSpectrumDestroy(CourantCrossSpectrum *s)
{
  PetscFunctionBeginUser;
  CourantFree(&s->density);
  PetscCall(PetscFree2(s->rho, s->direction));
  *s = (CourantCrossSpectrum){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}
