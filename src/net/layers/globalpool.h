#pragma once
/* global_mean and global_sum: a weighted sum over height and width, per channel. */
#include "net/layerops.h"
#include "net/layers/plain.h"

static PetscErrorCode SetUp(CourantLayer *layer)
{
  PetscFunctionBeginUser;
  layer->out = (CourantShape){1, 1, layer->in.c};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline void GlobalForward(const CourantLayerCall *call, real weight)
{
  const int pixels = (int)(call->layer->in.h * call->layer->in.w), c = (int)call->layer->in.c;

  for (int k = call->from; k <= call->order; k++)
    for (int sample = 0; sample < call->n; sample++) {
      const real *x = call->x.c[k] + (ptrdiff_t)sample * pixels * c;
      real *y = call->y.c[k] + (ptrdiff_t)sample * c;
      if (c == 1)
        y[0] = weight * CourantSum(pixels, x);
      else {
        memset(y, 0, sizeof(real) * (size_t)c);
        for (int i = 0; i < pixels; i++)
          for (int j = 0; j < c; j++) y[j] += x[(ptrdiff_t)i * c + j];
        for (int j = 0; j < c; j++) y[j] *= weight;
      }
    }
}

static inline void GlobalBackward(const CourantLayerCall *call, real weight)
{
  const int pixels = (int)(call->layer->in.h * call->layer->in.w), c = (int)call->layer->in.c;

  for (int k = call->from; call->dx.c[0] && k <= call->order; k++)
    for (int sample = 0; sample < call->n; sample++) {
      const real *dy = call->dy.c[k] + (ptrdiff_t)sample * c;
      real *dx = call->dx.c[k] + (ptrdiff_t)sample * pixels * c;
      for (int i = 0; c == 1 && i < pixels; i++) dx[i] = weight * dy[0];
      for (int i = 0; c > 1 && i < pixels; i++)
        for (int j = 0; j < c; j++) dx[(ptrdiff_t)i * c + j] = weight * dy[j];
    }
}
