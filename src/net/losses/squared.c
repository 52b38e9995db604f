/*
  Squared distance of the outputs p from targets t: l(p) = 1/2 sum_k (p_k - t_k)^2. The targets are given, or
  1 at the label's class and 0 elsewhere; the only output's target is the label itself.
*/
#include "net/layerops.h"
#include "net/losses/classes.h"

static const char *Check(PetscInt outputs, PetscInt n, PetscInt width, const double *labels, PetscInt *sample)
{
  *sample = -1;
  if (width != 1 && width != outputs)
    return "the squared loss needs a class per sample, or as many targets as the network has outputs";
  for (*sample = 0; *sample < n; ++*sample) {
    const double *label = labels + *sample * width;
    if (width < outputs && !IsClass(outputs, label[0]))
      return "the squared loss needs labels that are classes: 0, 1, .. below the number of outputs";
    for (PetscInt k = 0; width == outputs && k < width; k++)
      if (!isfinite(label[k])) return "the squared loss needs targets that are finite";
  }
  return NULL;
}

static inline double Target(PetscInt outputs, PetscInt width, const double *label, PetscInt k)
{
  return width == outputs ? label[k] : label[0] == (double)k;
}

/*
  The largest output stands where the largest target does, the first of each. A single output points at the
  whole number closest to it: the label, if it is off by less than a half.
*/
static PetscBool Correct(PetscInt outputs, PetscInt width, const double *p, const double *label)
{
  PetscInt top = 0;

  if (outputs == 1) return fabs(p[0] - label[0]) < 0.5 ? PETSC_TRUE : PETSC_FALSE;
  for (PetscInt k = 1; k < outputs; k++)
    if (Target(outputs, width, label, k) > Target(outputs, width, label, top)) top = k;
  return IsFirstLargest(outputs, p, top);
}

static void Run(const CourantLossCall *call)
{
  for (int i = 0; i < call->n * call->outputs; i++) {
    const double *label = call->labels + (ptrdiff_t)(i / call->outputs) * call->width;
    double r[COURANT_ORDER_MAX + 1];
    for (int k = 0; k <= call->order; k++) r[k] = (double)call->p.c[k][i];
    r[0] -= Target(call->outputs, call->width, label, i % call->outputs);
    for (int k = call->from; k <= call->order; k++) {
      for (int j = 0; j <= k; j++) call->loss[k] += r[j] * r[k - j] / 2;
      call->dp.c[k][i] = (real)(call->scale * r[k]);
    }
  }
}

COURANT_LOSS(squared) = {
    .name = "squared",
    .help = "half the squared distance from targets, or from 1 at the label's class and 0 elsewhere",
    .Check = Check,
    .Correct = Correct,
    .Run = Run,
};
