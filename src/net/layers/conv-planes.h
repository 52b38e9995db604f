#pragma once
/* Channels of an image as planes of their own with padding around, for the ways that work on planes (stride
 * 1). */
#include "net/layers/conv-way.h"

/* Rows of planes are padded to whole vectors. */
typedef struct {
  int ldx;                /* row length of an input plane [hp,ldx] */
  int margin_y, margin_x; /* zeros around the output gradient, for the gradient by the input */
  int ldz;                /* row length of the output gradient with its margin */
  int ldr;                /* row length of a plane of results [hp,ldr] */
  size_t x, z, result;    /* reals of each kind of plane */
} ConvPlaneSizes;

static inline ConvPlaneSizes ConvPlaneSizesOf(const ConvShape *s, int margin_y, int margin_x)
{
  ConvPlaneSizes p = {.margin_y = margin_y, .margin_x = margin_x};
  p.ldr = (int)ConvWhole((size_t)s->wp);
  p.ldx = (int)ConvWhole(ConvWhole((size_t)s->wo) + (size_t)s->kw - 1);
  p.ldz = (int)ConvWhole((size_t)(p.ldr + margin_x + 16));
  p.x = (size_t)s->hp * (size_t)p.ldx;
  p.z = (size_t)(s->ho + 2 * margin_y) * (size_t)p.ldz;
  p.result = (size_t)s->hp * (size_t)p.ldr;
  return p;
}

/* n numbers out of one channel of a row of pixels, and back into it. */
static inline void ConvGather(int n, const real *from, int stride, real *to)
{
  if (stride == 1)
    memcpy(to, from, sizeof(real) * (size_t)n);
  else
    for (int i = 0; i < n; i++) to[i] = from[(ptrdiff_t)i * stride];
}

static inline void ConvScatter(int n, const real *from, real *to, int stride)
{
  if (stride == 1)
    memcpy(to, from, sizeof(real) * (size_t)n);
  else
    for (int i = 0; i < n; i++) to[(ptrdiff_t)i * stride] = from[i];
}

/* Channel c of an image [h,w,ic] as a plane [hp,ldx] with its padding; zeros up to ldx. */
static inline void ConvPadPlane(const ConvShape *s, const ConvPlaneSizes *p, const real *image, int c,
                                real *plane)
{
  const int inside = ConvMin(s->wp - s->left, s->w);

  for (int py = 0; py < s->hp; py++) {
    real *row = plane + (ptrdiff_t)py * p->ldx;
    int y = py - s->top;
    memset(row, 0, sizeof(real) * (size_t)p->ldx);
    if (s->circular) y = (y + s->h) % s->h;
    if (y < 0 || y >= s->h) continue;
    const real *from = image + (ptrdiff_t)y * s->w * s->ic + c;
    ConvGather(inside, from, s->ic, row + s->left);
    if (!s->circular) continue;
    for (int px = 0; px < s->left; px++) row[px] = from[(px - s->left + s->w) % s->w * s->ic];
    for (int px = s->left + s->w; px < s->wp; px++) row[px] = from[(px - s->left) % s->w * s->ic];
  }
}

/* The adjoint: a plane of gradients [hp,ldr] back to channel c of the image. */
static inline void ConvUnpadPlane(const ConvShape *s, const ConvPlaneSizes *p, const real *plane, int c,
                                  real *image)
{
  if (s->circular) {
    for (int i = 0; i < s->h * s->w; i++) image[(ptrdiff_t)i * s->ic + c] = 0;
    for (int py = 0; py < s->hp; py++)
      for (int px = 0; px < s->wp; px++) {
        const int y = (py - s->top + s->h) % s->h, x = (px - s->left + s->w) % s->w;
        image[(ptrdiff_t)(y * s->w + x) * s->ic + c] += plane[(ptrdiff_t)py * p->ldr + px];
      }
    return;
  }
  for (int y = 0; y < s->h; y++)
    ConvScatter(s->w, plane + (ptrdiff_t)(y + s->top) * p->ldr + s->left,
                image + (ptrdiff_t)y * s->w * s->ic + c, s->ic);
}

/* Channel c of an output gradient [ho,wo,oc] as a plane [ho+2 margin_y,ldz], zeros around it. */
static inline void ConvSpreadPlane(const ConvShape *s, const ConvPlaneSizes *p, const real *dy, int c,
                                   real *plane)
{
  memset(plane, 0, sizeof(real) * p->z);
  for (int y = 0; y < s->ho; y++) {
    real *row = plane + (ptrdiff_t)(y + p->margin_y) * p->ldz + p->margin_x;
    ConvGather(s->wo, dy + (ptrdiff_t)y * s->wo * s->oc + c, s->oc, row);
  }
}

/* A plane of results [ho,ldr] plus a constant as channel c of the output [ho,wo,oc]. */
static inline void ConvDeliverPlane(const ConvShape *s, const ConvPlaneSizes *p, real *plane, real bias,
                                    int c, real *y)
{
  for (int oy = 0; oy < s->ho; oy++) {
    real *row = plane + (ptrdiff_t)oy * p->ldr;
    for (int ox = 0; bias != 0 && ox < s->wo; ox++) row[ox] += bias;
    ConvScatter(s->wo, row, y + (ptrdiff_t)oy * s->wo * s->oc + c, s->oc);
  }
}
