#pragma once
/*
  Direct correlation of channel-last images, the kernel of convolutions with many channels and of dense
  layers.

  A row of a patch, kw pixels of `in` channels, is contiguous in such an image, so that the loops over kx and
  input channels are one loop of kw*in numbers, for any stride.

  Packed weights stand in panels of output channels, each [kh,kw,in,width] and contiguous. Panels are two
  vectors wide; what is left over is one vector, then the shortest vector that holds the rest, its last lanes
  zero.
*/
#include "jet/jet.h"

/* Reals behind the last pixel of an output gradient that may be read (and are not used). */
#define CHANNELS_SLACK VL

/* A tensor of weights: element (ky,kx,i,o) stands at [offset + ky*sy + kx*sx + i*si + o*so]. */
typedef struct {
  int kh, kw, in, out;
  ptrdiff_t offset, sy, sx, si, so;
} ChannelsKernel;

/*
  Where inputs and outputs stand, in reals: the patch of output pixel (oy,ox) has kh rows of `inner` numbers,
  row ky at x + (oy*sy + ky - top)*x_row + ox*x_step; the pixel's `out` channels are at y + oy*y_row +
  ox*y_step. Of the image, rows 0 .. h-1 exist; those that patches reach beyond count as zeros.
*/
typedef struct {
  int kh, inner, out, ho, wo;
  int sy, top, h;
  ptrdiff_t x_row, x_step, y_row, y_step;
} ChannelsShape;

/* One product of a sum: an image with packed weights, or an image with an output gradient (laid out as y). */
typedef struct {
  const real *x, *w;
} ChannelsTerm;

size_t COURANT_VARIANT(CourantChannelsPackedSize)(const ChannelsKernel *);
void COURANT_VARIANT(CourantChannelsPack)(const ChannelsKernel *, const double *weights, real *packed);
void COURANT_VARIANT(CourantChannelsUnpack)(const ChannelsKernel *, const real *packed, double *weights);
void COURANT_VARIANT(CourantChannelsCorrelate)(const ChannelsShape *, int nterms, const ChannelsTerm terms[],
                                               const real *bias, real *y);
void COURANT_VARIANT(CourantChannelsWeights)(const ChannelsShape *, int nterms, const ChannelsTerm terms[],
                                             int running, real *dw);
void COURANT_VARIANT(CourantChannelsBias)(int pixels, int channels, const real *dy, real *db);
double COURANT_VARIANT(CourantChannelsVectors)(int out);
#define CourantChannelsPackedSize COURANT_VARIANT(CourantChannelsPackedSize)
#define CourantChannelsPack       COURANT_VARIANT(CourantChannelsPack)
#define CourantChannelsUnpack     COURANT_VARIANT(CourantChannelsUnpack)
#define CourantChannelsCorrelate  COURANT_VARIANT(CourantChannelsCorrelate)
#define CourantChannelsWeights    COURANT_VARIANT(CourantChannelsWeights)
#define CourantChannelsBias       COURANT_VARIANT(CourantChannelsBias)
#define CourantChannelsVectors    COURANT_VARIANT(CourantChannelsVectors)
