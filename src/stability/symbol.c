/*
  Von Neumann's bound for the one-layer network: conv, activation r, mean or sum, logistic loss.

  Its Hessian is H = mean_i [ (s_i - y_i) P_i^T diag(r''(u_i)) P_i / M + s_i (1 - s_i) g_i g_i^T ], P_i the
  patches of image i. Without the window of the kernel P^T P is a convolution with symbol |I^(w)|^2, so that,
  w over all frequencies, lambda_max(H) <= sup_w mean_i max_z((s_i - y_i) r''(u_i(z)))^+ |I_i^(w)|^2 / M +
  mean_i s_i (1 - s_i) |g_i|^2. With zero padding the symbol is a trigonometric polynomial in continuous w,
  with circular padding it lives on the grid of the image.
*/
#include "core/memory.h"
#include "dynamics/problem.h"
#include "net/layers/conv.h"
#include <fftw3.h>
#include <math.h>
#include <string.h>

enum { PEAKS = 64, NEWTON = 20 };

/* Is this the network the bound is for? Then its normalisation, 1/M or 1. */
static PetscBool IsOneLayer(CourantNet net, PetscReal *weight)
{
  const CourantLayer *l = net->layers;

  if (net->nlayers != 3) return PETSC_FALSE;
  const char *conv = CourantLayerType(l[0].type)->name, *pool = CourantLayerType(l[2].type)->name;
  const PetscBool mean = strcmp(pool, "global_mean") ? PETSC_FALSE : PETSC_TRUE;
  *weight = mean ? 1 / (PetscReal)(l[2].in.h * l[2].in.w) : 1;
  return !strcmp(conv, "conv") && l[0].nparameters == 1 && l[0].in.c == 1 && l[0].out.c == 1 &&
                 l[1].nparameters == 0 && CourantLayerType(l[1].type)->bounded_slope &&
                 (mean || !strcmp(pool, "global_sum")) &&
                 !strcmp(CourantLossType(net->loss)->name, "logistic")
             ? PETSC_TRUE
             : PETSC_FALSE;
}

/* A grid of frequencies and the weighted power of all images on it. */
typedef struct {
  int h, w;      /* DFT size */
  double *image; /* [h,w] */
  double *half;  /* [h,w/2+1] complex */
  double *power; /* [h,w/2+1] */
  fftw_plan forward, backward;
} Grid;

static PetscErrorCode GridCreate(int h, int w, Grid *grid)
{
  const size_t half = (size_t)h * (size_t)(w / 2 + 1);

  PetscFunctionBeginUser;
  *grid = (Grid){.h = h, .w = w};
  PetscCall(CourantAllocate(sizeof(double) * (size_t)h * (size_t)w, &grid->image));
  PetscCall(CourantAllocate(sizeof(double) * 2 * half, &grid->half));
  PetscCall(CourantAllocate(sizeof(double) * half, &grid->power));
  grid->forward = fftw_plan_dft_r2c_2d(h, w, grid->image, (fftw_complex *)grid->half, FFTW_ESTIMATE);
  grid->backward = fftw_plan_dft_c2r_2d(h, w, (fftw_complex *)grid->half, grid->image, FFTW_ESTIMATE);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void GridDestroy(Grid *grid)
{
  fftw_destroy_plan(grid->forward);
  fftw_destroy_plan(grid->backward);
  CourantFree(&grid->image);
  CourantFree(&grid->half);
  CourantFree(&grid->power);
}

static void AddImage(Grid *grid, int h, int w, const double *image, double weight)
{
  memset(grid->image, 0, sizeof(double) * (size_t)grid->h * (size_t)grid->w);
  for (int y = 0; y < h; y++)
    memcpy(grid->image + (size_t)y * (size_t)grid->w, image + (size_t)y * (size_t)w,
           sizeof(double) * (size_t)w);
  fftw_execute(grid->forward);
  for (size_t i = 0; i < (size_t)grid->h * (size_t)(grid->w / 2 + 1); i++)
    grid->power[i] +=
        weight * (grid->half[2 * i] * grid->half[2 * i] + grid->half[2 * i + 1] * grid->half[2 * i + 1]);
}

/*
  The power as a trigonometric polynomial, sum_d R(d) cos(w . d), its
  gradient and second derivatives at w; R is the image of the grid now.
*/
static double Polynomial(const Grid *grid, int h, int w, const double at[2], double gradient[2],
                         double second[3])
{
  double value = 0;

  memset(gradient, 0, 2 * sizeof(double));
  memset(second, 0, 3 * sizeof(double));
  for (int dy = 1 - h; dy < h; dy++)
    for (int dx = 1 - w; dx < w; dx++) {
      const double r = grid->image[(size_t)((dy + grid->h) % grid->h) * (size_t)grid->w +
                                   (size_t)((dx + grid->w) % grid->w)];
      const double phase = at[0] * dy + at[1] * dx, c = r * cos(phase), s = r * sin(phase);
      value += c;
      gradient[0] -= s * dy;
      gradient[1] -= s * dx;
      second[0] -= c * dy * dy;
      second[1] -= c * dy * dx;
      second[2] -= c * dx * dx;
    }
  return value;
}

/* Newton's method uphill from a grid point; never returns less than it started from. */
static double Climb(const Grid *grid, int h, int w, double at[2])
{
  double gradient[2], second[3], best = 0;

  for (int step = 0; step < NEWTON; step++) {
    const double value = Polynomial(grid, h, w, at, gradient, second);
    const double determinant = second[0] * second[2] - second[1] * second[1];
    if (step && value <= best) return best;
    const double gain = value - best;
    best = value;
    if ((step && gain <= 1e-15 * best) || !(second[0] < 0 && determinant > 0))
      return best; /* no maximum near by */
    at[0] -= (second[2] * gradient[0] - second[1] * gradient[1]) / determinant;
    at[1] -= (second[0] * gradient[1] - second[1] * gradient[0]) / determinant;
  }
  return best;
}

/* The supremum over continuous frequencies: the grid's largest peaks, each climbed. h, w: size of the images.
 */
static double Supremum(Grid *grid, int h, int w)
{
  const int columns = grid->w / 2 + 1;
  double highest = 0, supremum, last = INFINITY;

  for (int i = 0; i < grid->h * columns; i++) highest = fmax(highest, grid->power[i]);
  supremum = highest;
  for (int i = 0; i < grid->h * columns; i++) {
    grid->half[2 * i] = grid->power[i] / ((double)grid->h * (double)grid->w);
    grid->half[2 * i + 1] = 0;
  }
  fftw_execute(grid->backward); /* the autocorrelation, exact: the grid is twice the images */
  for (int peak = 0; peak < PEAKS; peak++) {
    int next = -1;
    for (int i = 0; i < grid->h * columns; i++) {
      const int y = i / columns, x = i % columns;
      const double p = grid->power[i];
      /* between points of a grid twice as fine as the images a peak rises by less than a factor 2 */
      if (p >= last || p < 0.5 * highest || (next >= 0 && p <= grid->power[next])) continue;
      int local = 1;
      for (int dy = -1; dy <= 1 && local; dy++)
        for (int dx = -1; dx <= 1 && local; dx++)
          if (x + dx >= 0 && x + dx < columns)
            local = grid->power[(y + dy + grid->h) % grid->h * columns + x + dx] <= p;
      if (local) next = i;
    }
    if (next < 0) break;
    last = grid->power[next];
    double at[2] = {2 * M_PI * (next / columns) / grid->h, 2 * M_PI * (next % columns) / grid->w};
    supremum = fmax(supremum, Climb(grid, h, w, at));
  }
  return supremum;
}

/*
  CourantSymbolBound - Upper bound of lambda_max(H) at theta by the symbol; NaN for networks it is not for.

  The bound of the learning rate is 2 / (alpha + bound). With a frozen loss the rank-one part is left out. Not
  collective: the problem is one of one rank. Source: Sun et al. 2022, section 4, extended to K != 0 and to
  many images.
*/
PetscErrorCode CourantSymbolBound(CourantProblem problem, Vec theta, PetscReal *bound)
{
  const CourantNet net = problem->net;
  const CourantDataset data = problem->data;
  const int h = (int)data->h, w = (int)data->w;
  const PetscScalar *weights;
  PetscReal weight, rank_one = 0;
  Grid grid;

  PetscFunctionBeginUser;
  *bound = NAN;
  if (!IsOneLayer(net, &weight)) PetscFunctionReturn(PETSC_SUCCESS);
  const CourantConvOptions *conv = (const CourantConvOptions *)net->layers[0].options;
  const PetscBool circular = conv->padding == COURANT_PADDING_CIRCULAR ? PETSC_TRUE : PETSC_FALSE;
  const size_t outputs = CourantShapeSize(net->layers[0].out);
  double *u, *f2, *gradient, *image, slope;
  PetscCall(
      PetscMalloc4(outputs, &u, outputs, &f2, net->size, &gradient, CourantDatasetImageSize(data), &image));
  PetscCall(GridCreate(circular ? h : 2 * (h + (int)conv->kernel[0] - 1),
                       circular ? w : 2 * (w + (int)conv->kernel[1] - 1), &grid));
  PetscCall(VecGetArrayRead(theta, &weights));
  PetscCall(CourantProblemSetUpProducts(problem));
  for (PetscInt i = 0; i < data->n; i++) {
    double curvature = 0, square = 0;
    PetscCall(CourantEvaluatorSample(problem->first, weights, i, 0, u, &slope, gradient));
    const double s = slope + data->labels[i];
    if (problem->slopes) slope = problem->slopes[i];
    PetscCall(problem->backend->Derivatives(&net->layers[1], 1, outputs, u, (double *[]){NULL, NULL, f2}));
    for (size_t z = 0; z < outputs; z++) curvature = fmax(curvature, slope * f2[z]);
    for (PetscInt k = 0; k < net->size; k++) square += gradient[k] * gradient[k];
    if (!problem->slopes) rank_one += s * (1 - s) * square / (double)data->n;
    const char *wrong = CourantBatchRead(&(CourantBatch){.data = data, .n = data->n}, i, 1, image);
    if (wrong) CourantNodeError(data->node, "%s", wrong);
    AddImage(&grid, h, w, image, curvature * weight / (double)data->n);
  }
  PetscCall(VecRestoreArrayRead(theta, &weights));
  if (circular) {
    *bound = 0;
    for (int i = 0; i < grid.h * (grid.w / 2 + 1); i++) *bound = fmax(*bound, grid.power[i]);
  } else
    *bound = Supremum(&grid, h, w);
  *bound += rank_one;
  GridDestroy(&grid);
  PetscCall(PetscFree4(u, f2, gradient, image));
  PetscFunctionReturn(PETSC_SUCCESS);
}
