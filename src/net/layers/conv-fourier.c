/*
  Convolution by FFT: large kernels on large images multiply half spectra (stride 1).

  Packed weights are the half spectra of the kernels [oc,ic]; packed gradients are spectra too, so that a leaf
  of samples is transformed back once. The state per sample and coefficient is the spectra of the input planes
  [ic].
*/
#include "jet/fourier.h"
#include "net/layers/conv-planes.h"
#include <math.h>

static size_t Spectrum(const ConvShape *s)
{
  return FourierSpectrumSize(s->hp, s->wp);
}

static void Space(const ConvShape *s, int order, CourantLayerSpace *space)
{
  const ConvPlaneSizes p = ConvPlaneSizesOf(s, 0, 0);
  const size_t pairs = (size_t)s->oc * (size_t)s->ic, jets = (size_t)order + 1;

  space->packed = space->gradient = pairs * Spectrum(s);
  space->state = (size_t)s->ic * Spectrum(s);
  space->scratch =
      p.x + p.z + p.result + FourierWorkSize(s->hp, s->wp) + (jets * (size_t)s->oc + 1) * Spectrum(s);
}

static void *Prepare(const ConvShape *s)
{
  return CourantFourierCreate(s->hp, s->wp);
}

static void Release(void *plan)
{
  CourantFourierDestroy((CourantFourier)plan);
}

static void Pack(const ConvShape *s, void *plan, const double *weights, real *packed, real *scratch)
{
  const int taps = s->kh * s->kw;
  real *kernel = scratch, *work = scratch + ConvPlaneSizesOf(s, 0, 0).x;

  for (int pair = 0; pair < s->oc * s->ic; pair++) {
    for (int i = 0; i < taps; i++) kernel[i] = (real)weights[(ptrdiff_t)pair * taps + i];
    CourantFourierForward((CourantFourier)plan, s->kh, s->kw, kernel, s->kw, work,
                          packed + (size_t)pair * Spectrum(s));
  }
}

static void Unpack(const ConvShape *s, void *plan, real *packed, double *weights, real *scratch)
{
  const int taps = s->kh * s->kw;
  real *kernel = scratch, *work = scratch + ConvPlaneSizesOf(s, 0, 0).x;

  for (int pair = 0; pair < s->oc * s->ic; pair++) {
    CourantFourierBackward((CourantFourier)plan, s->kh, s->kw, packed + (size_t)pair * Spectrum(s), work,
                           kernel, s->kw, 0);
    for (int i = 0; i < taps; i++) weights[(ptrdiff_t)pair * taps + i] = (double)kernel[i];
  }
}

/* Where a call keeps its planes and spectra. */
typedef struct {
  ConvPlaneSizes size;
  real *x, *z, *result, *work, *sum;
  real *dy; /* spectra of output gradients [order+1,oc] */
} Spectra;

static Spectra SpectraOf(const ConvShape *s, const CourantLayerCall *call)
{
  Spectra p = {.size = ConvPlaneSizesOf(s, 0, 0), .x = call->scratch};
  p.z = p.x + p.size.x;
  p.result = p.z + p.size.z;
  p.work = p.result + p.size.result;
  p.sum = p.work + FourierWorkSize(s->hp, s->wp);
  p.dy = p.sum + Spectrum(s);
  return p;
}

static real *XSpectrum(const ConvShape *s, const CourantLayerCall *call, int k, int sample, int i)
{
  return call->state[k] + (size_t)(sample * s->ic + i) * Spectrum(s);
}

static const real *WSpectrum(const ConvShape *s, const CourantLayerCall *call, int k, int o, int i)
{
  return ConvWeights(s, call, k) + (size_t)(o * s->ic + i) * Spectrum(s);
}

static real *DySpectrum(const ConvShape *s, const Spectra *p, int k, int o)
{
  return p->dy + (size_t)(k * s->oc + o) * Spectrum(s);
}

static void Forward(const ConvShape *s, void *plan, const CourantLayerCall *call, int sample)
{
  const CourantFourier f = (CourantFourier)plan;
  const int last = ConvMin(call->order, call->x.degree), w_degree = call->w.degree;
  const Spectra p = SpectraOf(s, call);

  for (int k = call->from; k <= last; k++)
    for (int i = 0; i < s->ic; i++) {
      ConvPadPlane(s, &p.size, ConvInput(s, &call->x, k, sample), i, p.x);
      CourantFourierForward(f, s->hp, s->wp, p.x, p.size.ldx, p.work, XSpectrum(s, call, k, sample, i));
    }
  for (int k = call->from; k <= call->order; k++)
    for (int o = 0; o < s->oc; o++) {
      const real *bias = ConvBias(call, k);
      memset(p.sum, 0, sizeof(real) * Spectrum(s));
      for (int i = 0; i < s->ic; i++)
        for (int j = ConvMax(0, k - last); j <= ConvMin(k, w_degree); j++)
          CourantFourierMultiplyAdd(f, FOURIER_CONJUGATE_A, WSpectrum(s, call, j, o, i),
                                    XSpectrum(s, call, k - j, sample, i), p.sum);
      CourantFourierBackward(f, s->ho, s->wo, p.sum, p.work, p.result, p.size.ldr, 0);
      ConvDeliverPlane(s, &p.size, p.result, bias ? bias[o] : 0, o, ConvOutput(s, &call->y, k, sample));
    }
}

static void InputGradient(const ConvShape *s, CourantFourier f, const Spectra *p,
                          const CourantLayerCall *call, int k, int i, int sample)
{
  memset(p->sum, 0, sizeof(real) * Spectrum(s));
  for (int o = 0; o < s->oc; o++)
    for (int j = 0; j <= ConvMin(k, call->w.degree); j++)
      CourantFourierMultiplyAdd(f, FOURIER_CONJUGATE_NONE, WSpectrum(s, call, j, o, i),
                                DySpectrum(s, p, k - j, o), p->sum);
  CourantFourierBackward(f, s->hp, s->wp, p->sum, p->work, p->result, p->size.ldr, 0);
  ConvUnpadPlane(s, &p->size, p->result, i, ConvInput(s, &call->dx, k, sample));
}

static void Backward(const ConvShape *s, void *plan, const CourantLayerCall *call, int sample)
{
  const CourantFourier f = (CourantFourier)plan;
  const int last = ConvMin(call->order, call->x.degree);
  const int lowest =
      last == 0 && !call->dx.c[0] ? call->from : 0; /* of the output gradients that are needed */
  const Spectra p = SpectraOf(s, call);

  for (int k = lowest; k <= call->order; k++)
    for (int o = 0; o < s->oc; o++) {
      ConvSpreadPlane(s, &p.size, ConvOutput(s, &call->dy, k, sample), o, p.z);
      CourantFourierForward(f, s->ho, s->wo, p.z, p.size.ldz, p.work, DySpectrum(s, &p, k, o));
    }
  for (int k = call->from; k <= call->order; k++) {
    for (int pair = 0; call->dw[k] && pair < s->oc * s->ic; pair++)
      for (int j = 0; j <= ConvMin(k, last); j++)
        CourantFourierMultiplyAdd(f, FOURIER_CONJUGATE_A, DySpectrum(s, &p, k - j, pair / s->ic),
                                  XSpectrum(s, call, j, sample, pair % s->ic),
                                  ConvGradient(s, call, k) + (size_t)pair * Spectrum(s));
    for (int i = 0; call->dx.c[0] && i < s->ic; i++) InputGradient(s, f, &p, call, k, i, sample);
  }
}

/* A transform of n numbers costs n log2 n, a product of spectra 3 n: it waits for memory. */
static double Cost(const ConvShape *s)
{
  const double n = (double)FourierGrid(s->hp) * FourierGrid(s->wp), in = s->ic, out = s->oc,
               inputs = s->first ? 0 : 1;

  if (s->sy > 1 || s->sx > 1) return INFINITY;
  return (in + 2 * out + inputs * in) * n * log2(n) + 3 * (2 + inputs) * in * out * n;
}

const ConvWay COURANT_VARIANT(ConvFourier) = {
    .Space = Space,
    .Prepare = Prepare,
    .Release = Release,
    .Pack = Pack,
    .Unpack = Unpack,
    .Forward = Forward,
    .Backward = Backward,
    .Cost = Cost,
};
