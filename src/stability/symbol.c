/*
  Von Neumann's symbol of the one-layer network: conv, activation r, mean or sum, logistic loss.

  Its Hessian is H = mean_i [ (s_i - y_i) weight P_i^T diag(r''(u_i)) P_i + s_i (1 - s_i) g_i g_i^T ], P_i the
  patches of image i, weight 1/M or 1, g_i = weight P_i^T r'(u_i). Without the window of the kernel, and with
  every shift of the image in the sum, P^T P is a convolution with symbol |I^(w)|^2: over continuous w when
  the image is zero outside its frame, on the grid of the image when it is periodic. So with c_i = (s_i - y_i)
  r''(u_i(z)), for every window,

    inf_w weight mean_i min_z c_i |I_i^|^2  <=  H  <=  sup_w weight mean_i max_z c_i |I_i^|^2
                                                       + mean_i s_i (1 - s_i) |g_i|^2.

  At K = 0 the c_i are numbers and the two symbols are one. A valid or strided convolution leaves shifts out:
  P^T P is between 0 and the convolution, and what is negative above, or positive below, counts as 0.
*/
#include "stability/symbol.h"
#include "core/interrupt.h"
#include "core/memory.h"
#include "core/progress.h"
#include "net/layers/conv.h"
#include "stability/supremum.h"
#include <fftw3.h>
#include <math.h>
#include <string.h>

enum { ROUND = 8 }; /* leaves of a thread between two looks at signals and the clock */

/* What one thread works with. */
typedef struct {
  CourantEvaluator evaluator;
  const double *theta; /* for the evaluator to take with the next sample; NULL: it has it */
  double *padded;      /* an image in a plane of the grid's size, zero elsewhere */
  double *half;        /* [points] complex */
  double *power;       /* [points] */
  double *u, *f2;      /* [outputs] */
  double *gradient;    /* [p] */
  CourantTreeSum sum;
  const char *wrong;
} Worker;

typedef struct {
  CourantSymbol symbol;
  const CourantConvOptions *conv;
  int threads;
  PetscInt first, last;    /* leaves of this rank */
  Worker *workers;         /* [threads] */
  CourantTreeSum sum;      /* of all threads */
  fftw_plan rows, columns; /* of a plane: real rows as far down as the image goes, then all columns */
} Stream;

static const char *LayerName(CourantNet net, PetscInt l)
{
  return CourantLayerType(net->layers[l].type)->name;
}

/*
  CourantSymbolApplies - Is this the network that the symbol is for: one convolution of one channel without
  bias, one activation, global mean or sum, logistic loss?
*/
PetscBool CourantSymbolApplies(CourantProblem problem)
{
  const CourantNet net = problem->net;
  const CourantLayer *l = net->layers;

  if (net->nlayers != 3) return PETSC_FALSE;
  return !strcmp(LayerName(net, 0), "conv") && l[0].nparameters == 1 && l[0].in.c == 1 && l[0].out.c == 1 &&
                 l[1].nparameters == 0 && CourantLayerType(l[1].type)->bounded_slope &&
                 (!strcmp(LayerName(net, 2), "global_mean") || !strcmp(LayerName(net, 2), "global_sum")) &&
                 !strcmp(CourantLossType(net->loss)->name, "logistic")
             ? PETSC_TRUE
             : PETSC_FALSE;
}

/* Pixels of zeros around the image. */
static PetscInt Padding(const CourantConvOptions *conv, int dimension)
{
  return conv->padding >= 0                      ? conv->padding
         : conv->padding == COURANT_PADDING_SAME ? (conv->kernel[dimension] - 1) / 2
                                                 : 0;
}

/*
  CourantSymbolCreate - The symbol of a problem that is set up; the problem is borrowed.

  Zero padding: transforms of size 2 (N + k - 1), of which every second frequency is that of the circulant of
  size N + k - 1 that holds the operator. Circular padding: of the size of the image.
*/
PetscErrorCode CourantSymbolCreate(CourantProblem problem, CourantSymbol *result)
{
  const CourantNet net = problem->net;
  CourantSymbol s;

  PetscFunctionBeginUser;
  PetscCheck(CourantSymbolApplies(problem), problem->comm, PETSC_ERR_SUP, "not a one-layer network");
  PetscCall(PetscNew(&s));
  *result = s;
  const CourantConvOptions *conv = (const CourantConvOptions *)net->layers[0].options;
  const CourantShape in = net->layers[0].in, out = net->layers[0].out;
  const PetscInt size[2] = {in.h, in.w};
  s->problem = problem;
  s->quiet = PETSC_TRUE;
  s->mean = strcmp(LayerName(net, 2), "global_mean") ? PETSC_FALSE : PETSC_TRUE;
  s->weight = s->mean ? 1 / (PetscReal)(out.h * out.w) : 1;
  s->circular = conv->padding == COURANT_PADDING_CIRCULAR ? PETSC_TRUE : PETSC_FALSE;
  s->complete = PETSC_TRUE;
  s->stride = s->circular ? 1 : 2;
  for (int i = 0; i < 2; i++) {
    s->kernel[i] = conv->kernel[i];
    s->grid[i] = (int)(s->circular ? size[i] : 2 * (size[i] + conv->kernel[i] - 1));
    if (conv->stride[i] != 1 || !(s->circular || Padding(conv, i) >= conv->kernel[i] - 1))
      s->complete = PETSC_FALSE;
  }
  s->points = (size_t)s->grid[0] * (size_t)(s->grid[1] / 2 + 1);
  PetscCall(CourantAllocate(sizeof(double) * (COURANT_SYMBOLS * s->points + 1), &s->sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantSymbolDestroy(CourantSymbol *symbol)
{
  PetscFunctionBeginUser;
  if (!*symbol) PetscFunctionReturn(PETSC_SUCCESS);
  CourantFree(&(*symbol)->sums);
  PetscCall(PetscFree(*symbol));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSymbolValues - A function of frequency, [grid[0],grid[1]/2+1], after CourantSymbolCompute();
 * borrowed. */
const double *CourantSymbolValues(CourantSymbol symbol, CourantSymbolKind kind)
{
  return symbol->sums + (size_t)kind * symbol->points;
}

/* ---- samples ---- */

static size_t Length(CourantSymbol s)
{
  return COURANT_SYMBOLS * s->points + 1;
}

static PetscInt Leaves(CourantSymbol s)
{
  return (s->problem->data->n + COURANT_LEAF - 1) / COURANT_LEAF;
}

static int Threads(CourantSymbol s)
{
  return (int)PetscMin(s->problem->threads, Leaves(s));
}

/* CourantSymbolMemory - Bytes that CourantSymbolCompute() takes, about. */
double CourantSymbolMemory(CourantSymbol s)
{
  const double sums = 2 * log2((double)ROUND * Threads(s)) + 4, total = 2 * log2((double)Leaves(s) + 1) + 4;
  return 8. * (double)Length(s) * (Threads(s) * sums + total) + 32. * (double)s->points * Threads(s);
}

static PetscErrorCode CreateWorker(Stream *stream, const double theta[], Worker *w)
{
  const CourantSymbol s = stream->symbol;
  const CourantNet net = s->problem->net;
  const size_t outputs = CourantShapeSize(net->layers[0].out);

  PetscFunctionBeginUser;
  PetscCall(CourantProblemCreateEvaluator(s->problem, 0, 1, &w->evaluator));
  w->theta = theta;
  PetscCall(CourantAllocate(sizeof(double) * (size_t)s->grid[0] * (size_t)s->grid[1], &w->padded));
  PetscCall(CourantAllocate(sizeof(double) * 2 * s->points, &w->half));
  PetscCall(CourantAllocate(sizeof(double) * s->points, &w->power));
  PetscCall(CourantAllocate(sizeof(double) * outputs, &w->u));
  PetscCall(CourantAllocate(sizeof(double) * outputs, &w->f2));
  PetscCall(CourantAllocate(sizeof(double) * (size_t)net->size, &w->gradient));
  PetscCall(CourantTreeSumCreate(Length(s), ROUND, &w->sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyWorker(Worker *w)
{
  double **const arrays[] = {&w->padded, &w->half, &w->power, &w->u, &w->f2, &w->gradient};

  PetscFunctionBeginUser;
  PetscCall(CourantEvaluatorDestroy(&w->evaluator));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(arrays); i++) CourantFree(arrays[i]);
  PetscCall(CourantTreeSumDestroy(&w->sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateStream(CourantSymbol s, const double theta[], Stream *stream)
{
  PetscMPIInt rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(s->problem->comm, &rank));
  PetscCallMPI(MPI_Comm_size(s->problem->comm, &size));
  *stream = (Stream){.symbol = s, .threads = Threads(s)};
  stream->first = (PetscInt)((PetscInt64)Leaves(s) * rank / size);
  stream->last = (PetscInt)((PetscInt64)Leaves(s) * (rank + 1) / size);
  PetscCall(PetscCalloc1(stream->threads, &stream->workers));
  for (int t = 0; t < stream->threads; t++) PetscCall(CreateWorker(stream, theta, &stream->workers[t]));
  PetscCall(CourantTreeSumCreate(Length(s), Leaves(s), &stream->sum));
  const int w = s->grid[1], columns = w / 2 + 1, rows = (int)s->problem->data->h;
  double *plane = stream->workers[0].padded;
  fftw_complex *half = (fftw_complex *)stream->workers[0].half;
  stream->rows =
      fftw_plan_many_dft_r2c(1, &w, rows, plane, NULL, 1, w, half, NULL, 1, columns, FFTW_ESTIMATE);
  stream->columns = fftw_plan_many_dft(1, &s->grid[0], columns, half, NULL, columns, 1, half, NULL, columns,
                                       1, FFTW_FORWARD, FFTW_ESTIMATE);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyStream(Stream *stream)
{
  PetscFunctionBeginUser;
  for (int t = 0; t < stream->threads; t++) PetscCall(DestroyWorker(&stream->workers[t]));
  PetscCall(PetscFree(stream->workers));
  PetscCall(CourantTreeSumDestroy(&stream->sum));
  fftw_destroy_plan(stream->rows);
  fftw_destroy_plan(stream->columns);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Smallest, mean and largest of slope r''(u) over the pixels of a sample. */
static void Coefficients(const Stream *stream, Worker *w, double slope, double c[3])
{
  const CourantProblem problem = stream->symbol->problem;
  const CourantLayer *activation = &problem->net->layers[1];
  size_t n = CourantShapeSize(activation->in), same = 1;

  while (same < n && w->u[same] == w->u[0]) same++;
  if (same == n) n = 1; /* as at K = 0 */
  problem->backend->Derivatives(activation, 1, n, w->u, (double *[]){NULL, NULL, w->f2});
  c[0] = INFINITY;
  c[1] = 0;
  c[2] = -INFINITY;
  for (size_t z = 0; z < n; z++) {
    const double value = slope * w->f2[z];
    c[0] = fmin(c[0], value);
    c[1] += value;
    c[2] = fmax(c[2], value);
  }
  c[1] /= (double)n;
}

/* Adds the power of the sample at hand to every function of frequency. */
static void AddPower(const Stream *stream, Worker *w, const double factor[COURANT_SYMBOLS], double *sum)
{
  const CourantSymbol s = stream->symbol;
  const size_t rows = (size_t)s->problem->data->h, columns = (size_t)s->problem->data->w;
  const double *image = CourantEvaluatorImage(w->evaluator);

  for (size_t y = 0; y < rows; y++)
    memcpy(w->padded + y * (size_t)s->grid[1], image + y * columns, sizeof(double) * columns);
  memset(w->half + rows * 2 * (size_t)(s->grid[1] / 2 + 1), 0,
         sizeof(double) * 2 * (s->points - rows * (size_t)(s->grid[1] / 2 + 1)));
  fftw_execute_dft_r2c(stream->rows, w->padded, (fftw_complex *)w->half);
  fftw_execute_dft(stream->columns, (fftw_complex *)w->half, (fftw_complex *)w->half);
  for (size_t i = 0; i < s->points; i++)
    w->power[i] = w->half[2 * i] * w->half[2 * i] + w->half[2 * i + 1] * w->half[2 * i + 1];
  for (size_t k = 0; k < COURANT_SYMBOLS; k++)
    for (size_t i = 0; i < s->points; i++) sum[k * s->points + i] += factor[k] * w->power[i];
}

static const char *AddSample(const Stream *stream, Worker *w, PetscInt sample, double *sum)
{
  const CourantSymbol s = stream->symbol;
  const CourantProblem problem = s->problem;
  const CourantDataset data = problem->data;
  const double scale = s->weight / (double)data->n;
  double slope, c[3], square = 0;

  const char *wrong =
      CourantEvaluatorLocalSample(w->evaluator, w->theta, sample, 0, w->u, &slope, w->gradient);
  if (wrong) return wrong;
  w->theta = NULL;
  Coefficients(stream, w, slope, c);
  if (!s->complete) {
    c[0] = fmin(c[0], 0);
    c[2] = fmax(c[2], 0);
  }
  AddPower(stream, w, (double[COURANT_SYMBOLS]){scale, scale * c[1], scale * c[2], scale * c[0]}, sum);
  if (problem->slopes) return NULL; /* the loss is linear: no rank-one part */
  const double output = slope + data->labels[sample];
  for (PetscInt k = 0; k < problem->net->size; k++) square += w->gradient[k] * w->gradient[k];
  sum[COURANT_SYMBOLS * s->points] += output * (1 - output) * square / (double)data->n;
  return NULL;
}

static void RunLeaf(const Stream *stream, Worker *w, PetscInt leaf)
{
  const PetscInt end = PetscMin((leaf + 1) * COURANT_LEAF, stream->symbol->problem->data->n);
  double *sum = CourantTreeSumNext(&w->sum);

  memset(sum, 0, sizeof(double) * Length(stream->symbol));
  for (PetscInt i = leaf * COURANT_LEAF; i < end && !w->wrong; i++) w->wrong = AddSample(stream, w, i, sum);
  CourantTreeSumAdd(&w->sum, leaf);
}

/* Leaves first .. last-1 by all threads. Returns what went wrong. */
static const char *RunRound(Stream *stream, PetscInt first, PetscInt last)
{
  const int threads = stream->threads;
  const char *wrong = NULL;

#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
  for (int t = 0; t < threads; t++)
    for (PetscInt i = first + (last - first) * t / threads; i < first + (last - first) * (t + 1) / threads;
         i++)
      RunLeaf(stream, &stream->workers[t], i);
  for (int t = 0; t < threads; t++) {
    if (stream->workers[t].wrong) wrong = stream->workers[t].wrong;
    CourantTreeSumJoin(&stream->sum, &stream->workers[t].sum);
  }
  return wrong;
}

/* Every rank has as many rounds, since they look for signals together. */
static PetscErrorCode RunRounds(Stream *stream, PetscInt rounds, CourantProgress *progress)
{
  const CourantProblem problem = stream->symbol->problem;
  const PetscInt step = ROUND * stream->threads;

  PetscFunctionBeginUser;
  for (PetscInt round = 0; round < rounds; round++) {
    const PetscInt first = PetscMin(stream->first + round * step, stream->last);
    PetscCall(CourantInterruptCheckTogether(problem->comm));
    const char *wrong = RunRound(stream, first, PetscMin(first + step, stream->last));
    if (wrong) CourantNodeError(problem->data->node, "%s", wrong);
    CourantProgressUpdate(progress, (double)(round + 1));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All samples of this rank. */
static PetscErrorCode Run(Stream *stream)
{
  const PetscInt step = ROUND * stream->threads;
  PetscInt rounds = (stream->last - stream->first + step - 1) / step;
  CourantProgress progress;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &rounds, 1, MPIU_INT, MPI_MAX, stream->symbol->problem->comm));
  CourantProgressBegin(&progress, "symbol", 0, (double)rounds, stream->symbol->quiet);
  const PetscErrorCode code = RunRounds(stream, rounds, &progress);
  CourantProgressEnd(&progress);
  PetscFunctionReturn(code);
}

/* ---- what follows ---- */

/* The largest value of sign times a function, over all frequencies and over the coarse grid. */
static PetscErrorCode FindPeaks(CourantSymbol s, CourantSymbolKind kind, double sign, CourantSymbolPeak *all,
                                CourantSymbolPeak *coarse)
{
  const int degree[2] = {(int)s->problem->data->h - 1, (int)s->problem->data->w - 1};
  const double *function = CourantSymbolValues(s, kind);
  CourantSymbolPeak *const peaks[] = {all, coarse};
  double *values;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(s->points, &values));
  for (size_t i = 0; i < s->points; i++) values[i] = sign * function[i];
  if (s->circular)
    PetscCall(CourantGridPeak(s->grid, 1, values, all));
  else
    PetscCall(CourantPolynomialPeak(s->grid, degree, values, all));
  PetscCall(CourantGridPeak(s->grid, s->stride, values, coarse));
  for (int i = 0; i < 2; i++) peaks[i]->value *= sign;
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindBounds(CourantSymbol s)
{
  CourantSymbolBounds *b = &s->bounds;
  CourantSymbolPeak ignored;

  PetscFunctionBeginUser;
  PetscCall(FindPeaks(s, COURANT_SYMBOL_MEAN, 1, &b->highest, &ignored));
  PetscCall(FindPeaks(s, COURANT_SYMBOL_MEAN, -1, &b->lowest, &ignored));
  PetscCall(FindPeaks(s, COURANT_SYMBOL_UPPER, 1, &b->upper, &b->upper_circulant));
  PetscCall(FindPeaks(s, COURANT_SYMBOL_LOWER, -1, &b->lower, &b->lower_circulant));
  b->rank_one = s->sums[COURANT_SYMBOLS * s->points];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSymbolCompute - The symbol at theta, in one stream through the data; collective.

  Each sample costs a transform and a pass through the network. The sums are the same to the bit for any
  number of threads and ranks. A signal ends it with PETSC_ERR_SIG.
*/
PetscErrorCode CourantSymbolCompute(CourantSymbol s, Vec theta)
{
  const CourantProblem problem = s->problem;
  Stream stream;
  double *all;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(problem->net->size, &all));
  PetscCall(CourantProblemGetAll(problem, theta, all));
  PetscCall(CreateStream(s, all, &stream));
  PetscCall(Run(&stream));
  PetscCall(CourantTreeSumGather(&stream.sum, problem->comm));
  CourantTreeSumFold(&stream.sum, s->sums);
  PetscCallMPI(MPI_Bcast(s->sums, (PetscMPIInt)Length(s), MPI_DOUBLE, 0, problem->comm));
  PetscCall(DestroyStream(&stream));
  PetscCall(PetscFree(all));
  PetscCall(FindBounds(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantSymbolGetBounds - Bounds of the Hessian's spectrum by the symbol, after CourantSymbolCompute(). */
PetscErrorCode CourantSymbolGetBounds(CourantSymbol symbol, CourantSymbolBounds *bounds)
{
  PetscFunctionBeginUser;
  *bounds = symbol->bounds;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantSymbolBound - Upper bound of lambda_max(H) at theta by the symbol; NaN for networks it is not for.

  The bound of the learning rate is 2 / (alpha + bound). With a frozen loss the rank-one part is left out.
  Collective. Source: Sun et al. 2022, section 4, extended to K != 0 and to many images.
*/
PetscErrorCode CourantSymbolBound(CourantProblem problem, Vec theta, PetscReal *bound)
{
  CourantSymbol symbol;

  PetscFunctionBeginUser;
  *bound = NAN;
  if (!CourantSymbolApplies(problem)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CourantSymbolCreate(problem, &symbol));
  PetscCall(CourantSymbolCompute(symbol, theta));
  *bound = symbol->bounds.upper.value + symbol->bounds.rank_one;
  PetscCall(CourantSymbolDestroy(&symbol));
  PetscFunctionReturn(PETSC_SUCCESS);
}
