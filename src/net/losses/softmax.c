/* Cross entropy of the softmax of the outputs p with a class y: l(p) = log(sum_i e^(p_i)) - p_y. */
#include "net/layerops.h"
#include "net/losses/classes.h"

static const char *Check(PetscInt outputs, PetscInt n, PetscInt width, const double *labels, PetscInt *sample)
{
  *sample = -1;
  if (outputs < 2) return "the softmax loss needs a network with two outputs or more";
  if (width != 1) return "the softmax loss needs one label per sample";
  for (*sample = 0; *sample < n; ++*sample)
    if (!IsClass(outputs, labels[*sample]))
      return "the softmax loss needs labels that are classes: 0, 1, .. below the number of outputs";
  return NULL;
}

static PetscBool Correct(PetscInt outputs, PetscInt width, const double *p, const double *label)
{
  (void)width;
  return IsFirstLargest(outputs, p, (PetscInt)label[0]);
}

enum { COEFFICIENTS = COURANT_ORDER_MAX + 1 };

/* q = exp(x), given q_0: from q' = x' q, k q_k = sum_j j x_j q_(k-j). */
static inline void ExpSeries(int order, const double x[], double q[])
{
  for (int k = 1; k <= order; k++) {
    q[k] = 0;
    for (int j = 1; j <= k; j++) q[k] += j * x[j] * q[k - j];
    q[k] /= k;
  }
}

/* l = log(s), given l_0: from s l' = s', k s_0 l_k = k s_k - sum_(j<k) j l_j s_(k-j). */
static inline void LogSeries(int order, const double s[], double l[])
{
  for (int k = 1; k <= order; k++) {
    l[k] = k * s[k];
    for (int j = 1; j < k; j++) l[k] -= j * l[j] * s[k - j];
    l[k] /= k * s[0];
  }
}

/* Output i of a sample less the series `less`. */
static inline void Output(const CourantLossCall *call, int i, const double less[], double x[])
{
  for (int k = 0; k <= call->order; k++) x[k] = (double)call->p.c[k][i] - less[k];
}

/*
  One sample, whose outputs start at `at`. All exponents are differences from the largest output. Of the sum
  of exponentials, the largest's 1 is kept apart, and the label's gradient q_y - 1 is less the sum of the
  others' q: so a loss near 0 and its gradient lose nothing.
*/
static void RunSample(const CourantLossCall *call, int at, int label)
{
  const int order = call->order;
  double largest[COEFFICIENTS] = {0}, rest[COEFFICIENTS] = {0}, log_sum[COEFFICIENTS],
         others[COEFFICIENTS] = {0}, x[COEFFICIENTS], q[COEFFICIENTS];
  int top = 0;

  for (int i = 1; i < call->outputs; i++)
    if (call->p.c[0][at + i] > call->p.c[0][at + top]) top = i;
  Output(call, at + top, (double[COEFFICIENTS]){0}, largest);
  for (int i = 0; i < call->outputs; i++) {
    if (i == top) continue;
    Output(call, at + i, largest, x);
    q[0] = exp(x[0]);
    ExpSeries(order, x, q);
    for (int k = 0; k <= order; k++) rest[k] += q[k];
  }
  log_sum[0] = log1p(rest[0]);
  rest[0] += 1;
  LogSeries(order, rest, log_sum);

  for (int i = 0; i < call->outputs; i++) {
    Output(call, at + i, largest, x);
    for (int k = 0; k <= order; k++) x[k] -= log_sum[k];
    if (i == label) {
      for (int k = call->from; k <= order; k++) call->loss[k] -= x[k];
      continue;
    }
    q[0] = exp(x[0]);
    ExpSeries(order, x, q);
    for (int k = 0; k <= order; k++) others[k] += q[k];
    for (int k = call->from; k <= order; k++) call->dp.c[k][at + i] = (real)(call->scale * q[k]);
  }
  for (int k = call->from; k <= order; k++) call->dp.c[k][at + label] = (real)(-call->scale * others[k]);
}

static void Run(const CourantLossCall *call)
{
  for (int i = 0; i < call->n; i++) RunSample(call, i * call->outputs, (int)call->labels[i]);
}

COURANT_LOSS(softmax) = {
    .name = "softmax",
    .help = "cross entropy of the softmax, labels 0 .. outputs-1",
    .bounded_gradient = PETSC_TRUE,
    .Check = Check,
    .Correct = Correct,
    .Run = Run,
};
