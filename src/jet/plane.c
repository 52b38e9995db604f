#include "jet/plane.h"

#if VECTOR_BYTES == 64
enum { ROWS = 4, COLUMNS = 4 }; /* vectors of a register tile: 16 accumulators of 32 registers */
#else
enum { ROWS = 4, COLUMNS = 2 }; /* 8 of 16 */
#endif

/*
  One tile of `rows` x `columns` vectors of the output at row oy, column ox. An input row serves all output
  rows it meets, so that each load feeds up to `rows` multiplications. rows and columns are constants at every
  call.
*/
static inline __attribute__((always_inline)) void CorrelateTile(const int rows, const int columns, int nterms,
                                                                const PlaneTerm terms[], int ldx, int kh,
                                                                int kw, int oy, int ox, real *y, int ldy,
                                                                int add)
{
  vec sum[ROWS][COLUMNS];

  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++)
      sum[r][c] = add ? Load(y + (ptrdiff_t)(oy + r) * ldy + ox + c * VL) : (vec){0};
  for (int t = 0; t < nterms; t++) {
    for (int iy = 0; iy < rows + kh - 1; iy++) {
      const real *x = terms[t].x + (ptrdiff_t)(oy + iy) * ldx + ox;
      if (iy >= rows - 1 && iy < kh) {
        const real *w = terms[t].w + iy * kw;
        for (int kx = 0; kx < kw; kx++) {
          vec in[COLUMNS];
          for (int c = 0; c < columns; c++) in[c] = Load(x + kx + c * VL);
          for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++) sum[r][c] = Madd(in[c], Splat(w[kx - r * kw]), sum[r][c]);
        }
      } else {
#pragma GCC unroll 8 /* the tile has to stay in registers */
        for (int r = 0; r < rows; r++) {
          if (iy - r < 0 || iy - r >= kh) continue;
          const real *w = terms[t].w + (iy - r) * kw;
          for (int kx = 0; kx < kw; kx++)
            for (int c = 0; c < columns; c++)
              sum[r][c] = Madd(Load(x + kx + c * VL), Splat(w[kx]), sum[r][c]);
        }
      }
    }
  }
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++) Store(y + (ptrdiff_t)(oy + r) * ldy + ox + c * VL, sum[r][c]);
}

/*
  CourantPlaneCorrelate - y[oy,ox] = (add ? y[oy,ox] : 0) + sum_t sum_{ky,kx} x_t[oy+ky, ox+kx] w_t[ky,kx].

  y: [ho,ldy], written in whole vectors up to column round-up(wo, VL), so ldy is at least that, and ldx at
  least round-up(wo, VL)+kw-1.
*/
void CourantPlaneCorrelate(int nterms, const PlaneTerm terms[], int ldx, int kh, int kw, int ho, int wo,
                           real *y, int ldy, int add)
{
  for (int oy = 0; oy < ho;) {
    const int whole = ho - oy >= ROWS;
    for (int ox = 0; ox < wo;) {
      const int wide = wo - ox > (COLUMNS - 1) * VL;
      if (whole && wide)
        CorrelateTile(ROWS, COLUMNS, nterms, terms, ldx, kh, kw, oy, ox, y, ldy, add);
      else if (whole)
        CorrelateTile(ROWS, 1, nterms, terms, ldx, kh, kw, oy, ox, y, ldy, add);
      else if (wide)
        CorrelateTile(1, COLUMNS, nterms, terms, ldx, kh, kw, oy, ox, y, ldy, add);
      else
        CorrelateTile(1, 1, nterms, terms, ldx, kh, kw, oy, ox, y, ldy, add);
      ox += (wide ? COLUMNS : 1) * VL;
    }
    oy += whole ? ROWS : 1;
  }
}

/* Gradient of `rows` x `columns` kernel weights from (ky,kx) on: each row of x meets `rows` rows of dy. */
static inline __attribute__((always_inline)) void WeightsTile(const int rows, const int columns, int nterms,
                                                              const PlaneTerm terms[], int ldx, int ldy,
                                                              int ky, int kx, int kw, int ho, int wo,
                                                              real *dw)
{
  vec sum[ROWS][COLUMNS];

  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++) sum[r][c] = (vec){0};
  for (int t = 0; t < nterms; t++)
    for (int oy = 1 - rows; oy < ho; oy++) {
      const real *x = terms[t].x + (ptrdiff_t)(oy + rows - 1 + ky) * ldx + kx;
      const real *dy = terms[t].w + (ptrdiff_t)(oy + rows - 1) * ldy;
      if (oy >= 0 && oy + rows - 1 < ho) {
        for (int ox = 0; ox < wo; ox += VL) {
          vec in[COLUMNS];
          for (int c = 0; c < columns; c++) in[c] = Load(x + ox + c);
          for (int r = 0; r < rows; r++) {
            const vec out = Load(dy - r * ldy + ox);
            for (int c = 0; c < columns; c++) sum[r][c] = Madd(in[c], out, sum[r][c]);
          }
        }
      } else {
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
          if (oy + rows - 1 - r < 0 || oy + rows - 1 - r >= ho) continue;
          for (int ox = 0; ox < wo; ox += VL)
            for (int c = 0; c < columns; c++)
              sum[r][c] = Madd(Load(x + ox + c), Load(dy - r * ldy + ox), sum[r][c]);
        }
      }
    }
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++) dw[(ky + r) * kw + kx + c] += SumLanes(sum[r][c]);
}

/*
  CourantPlaneWeights - dw[ky,kx] += sum_t sum_{oy,ox} x_t[oy+ky, ox+kx] dy_t[oy,ox], the weight gradient of
  CourantPlaneCorrelate().

  dw: [kh,kw].
*/
void CourantPlaneWeights(int nterms, const PlaneTerm terms[], int ldx, int ldy, int kh, int kw, int ho,
                         int wo, real *dw)
{
  for (int ky = 0; ky < kh;) {
    const int whole = kh - ky >= ROWS;
    for (int kx = 0; kx < kw;) {
      const int wide = kw - kx >= COLUMNS;
      if (whole && wide)
        WeightsTile(ROWS, COLUMNS, nterms, terms, ldx, ldy, ky, kx, kw, ho, wo, dw);
      else if (whole)
        WeightsTile(ROWS, 1, nterms, terms, ldx, ldy, ky, kx, kw, ho, wo, dw);
      else if (wide)
        WeightsTile(1, COLUMNS, nterms, terms, ldx, ldy, ky, kx, kw, ho, wo, dw);
      else
        WeightsTile(1, 1, nterms, terms, ldx, ldy, ky, kx, kw, ho, wo, dw);
      kx += wide ? COLUMNS : 1;
    }
    ky += whole ? ROWS : 1;
  }
}
