/* Logistic loss of one output p for labels 0 and 1: l(p) = log(1 + e^p) - y p. */
#include "net/layerops.h"
#include <math.h>

static const char *Check(PetscInt outputs, PetscInt n, PetscInt width, const double *labels, PetscInt *sample)
{
  *sample = -1;
  if (outputs != 1) return "the logistic loss needs a network with one output";
  if (width != 1) return "the logistic loss needs one label per sample";
  for (*sample = 0; *sample < n; ++*sample)
    if (labels[*sample] != 0 && labels[*sample] != 1) return "the logistic loss needs labels 0 and 1";
  return NULL;
}

static PetscBool Correct(PetscInt outputs, PetscInt width, const double *p, const double *label)
{
  (void)outputs, (void)width;
  return (label[0] == 1 ? p[0] > 0 : p[0] <= 0) ? PETSC_TRUE : PETSC_FALSE;
}

/* With s = 1 / (1 + e^-p): l' = s - y, l'' = s (1-s), l''' = l'' (1-2s), l'''' = l''' (1-2s) - 2 l''^2. */
static void Run(const CourantLossCall *call)
{
  for (int i = 0; i < call->n; i++) {
    const double p = (double)call->p.c[0][i], e = exp(-fabs(p)), s = p >= 0 ? 1 / (1 + e) : e / (1 + e);
    const double t = 1 - 2 * s, l2 = s * (1 - s), l3 = l2 * t, l4 = l3 * t - 2 * l2 * l2;
    const double d[] = {fmax(p, 0) + log1p(e) - call->labels[i] * p, s - call->labels[i], l2, l3, l4};
    double x[COURANT_ORDER_MAX + 1] = {0};
    for (int k = 1; k <= call->order; k++) x[k] = (double)call->p.c[k][i];
    for (int shift = 0; shift < 2; shift++) {
      const double *f = d + shift;
      const double y[] = {f[0], f[1] * x[1], f[1] * x[2] + f[2] / 2 * x[1] * x[1],
                          f[1] * x[3] + f[2] * x[1] * x[2] + f[3] / 6 * x[1] * x[1] * x[1]};
      for (int k = call->from; k <= call->order; k++) {
        if (shift == 0)
          call->loss[k] += y[k];
        else
          call->dp.c[k][i] = (real)(call->scale * y[k]);
      }
    }
  }
}

COURANT_LOSS(logistic) = {
    .name = "logistic",
    .help = "log(1 + exp(p)) - y p, one output, labels 0 and 1",
    .bounded_gradient = PETSC_TRUE,
    .Check = Check,
    .Correct = Correct,
    .Run = Run,
};
