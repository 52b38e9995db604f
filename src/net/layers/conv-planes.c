/*
  Convolution plane by plane: small kernels slide over single channels, vectors run along the rows. For few
  channels.

  Packed weights are the parameters as they are and, behind them, the kernels turned by 180 degrees
  [oc,ic,kh,kw].
*/
#include "jet/plane.h"
#include "net/layers/conv-planes.h"
#include <math.h>

static ConvPlaneSizes SizesOf(const ConvShape *s)
{
  return ConvPlaneSizesOf(s, s->first ? 0 : s->kh - 1, s->first ? 0 : s->kw - 1);
}

static size_t Weights(const ConvShape *s)
{
  return (size_t)s->oc * (size_t)s->ic * (size_t)(s->kh * s->kw);
}

static void Space(const ConvShape *s, int order, CourantLayerSpace *space)
{
  const ConvPlaneSizes p = SizesOf(s);
  const size_t jets = (size_t)order + 1;

  space->packed = ConvWhole(Weights(s)) + ConvWhole(Weights(s));
  space->gradient = Weights(s);
  space->scratch = jets * ((size_t)s->ic * p.x + (size_t)s->oc * p.z) + p.result;
}

static void Pack(const ConvShape *s, void *plan, const double *weights, real *packed, real *scratch)
{
  const size_t n = Weights(s), taps = (size_t)(s->kh * s->kw);
  real *turned = packed + ConvWhole(n);

  (void)plan, (void)scratch;
  for (size_t i = 0; i < n; i++) packed[i] = (real)weights[i];
  for (size_t kernel = 0; kernel < n; kernel += taps)
    for (size_t i = 0; i < taps; i++) turned[kernel + i] = packed[kernel + taps - 1 - i];
}

static void Unpack(const ConvShape *s, void *plan, real *packed, double *weights, real *scratch)
{
  (void)plan, (void)scratch;
  for (size_t i = 0; i < Weights(s); i++) weights[i] = (double)packed[i];
}

/* Kernel of an (output, input) pair, as it is or turned. */
static const real *Kernel(const ConvShape *s, const CourantLayerCall *call, int turned, int k, int o, int i)
{
  return ConvWeights(s, call, k) + (turned ? ConvWhole(Weights(s)) : 0) +
         (size_t)(o * s->ic + i) * (size_t)(s->kh * s->kw);
}

/* Where a call keeps its planes: inputs [order+1,ic], output gradients [order+1,oc], one result. */
typedef struct {
  ConvPlaneSizes size;
  int ic, oc;
  real *x, *z, *result;
} Planes;

static Planes PlanesOf(const ConvShape *s, const CourantLayerCall *call)
{
  Planes p = {.size = SizesOf(s), .ic = s->ic, .oc = s->oc, .x = call->scratch};
  p.z = p.x + (size_t)((call->order + 1) * s->ic) * p.size.x;
  p.result = p.z + (size_t)((call->order + 1) * s->oc) * p.size.z;
  return p;
}

static real *XPlane(const Planes *p, int k, int i)
{
  return p->x + (size_t)(k * p->ic + i) * p->size.x;
}

static real *ZPlane(const Planes *p, int k, int o)
{
  return p->z + (size_t)(k * p->oc + o) * p->size.z;
}

/* Sums of products of planes with kernels, as many terms at a time as a call takes. */
enum { TERMS = 32 };

typedef struct {
  int n, add;
  PlaneTerm terms[TERMS];
} Sum;

static void AddTerm(Sum *sum, const ConvShape *s, const Planes *p, int ldx, int ho, int wo, const real *x,
                    const real *w)
{
  if (x) sum->terms[sum->n++] = (PlaneTerm){x, w};
  if (sum->n < TERMS && x) return;
  if (sum->n || !sum->add)
    CourantPlaneCorrelate(sum->n, sum->terms, ldx, s->kh, s->kw, ho, wo, p->result, p->size.ldr, sum->add);
  sum->n = 0;
  sum->add = 1;
}

static void Forward(const ConvShape *s, void *plan, const CourantLayerCall *call, int sample)
{
  const int last = ConvMin(call->order, call->x.degree), w_degree = call->w.degree;
  const Planes p = PlanesOf(s, call);

  (void)plan;
  for (int k = ConvMax(0, call->from - w_degree); k <= last; k++)
    for (int i = 0; i < s->ic; i++)
      ConvPadPlane(s, &p.size, ConvInput(s, &call->x, k, sample), i, XPlane(&p, k, i));
  for (int k = call->from; k <= call->order; k++)
    for (int o = 0; o < s->oc; o++) {
      const real *bias = ConvBias(call, k);
      Sum sum;
      sum.n = sum.add = 0;
      for (int i = 0; i < s->ic; i++)
        for (int j = ConvMax(0, k - last); j <= ConvMin(k, w_degree); j++)
          AddTerm(&sum, s, &p, p.size.ldx, s->ho, s->wo, XPlane(&p, k - j, i), Kernel(s, call, 0, j, o, i));
      AddTerm(&sum, s, &p, p.size.ldx, s->ho, s->wo, NULL, NULL);
      ConvDeliverPlane(s, &p.size, p.result, bias ? bias[o] : 0, o, ConvOutput(s, &call->y, k, sample));
    }
}

static void InputGradient(const ConvShape *s, const Planes *p, const CourantLayerCall *call, int k, int i,
                          int sample)
{
  Sum sum;

  sum.n = sum.add = 0;
  for (int o = 0; o < s->oc; o++)
    for (int j = 0; j <= ConvMin(k, call->w.degree); j++)
      AddTerm(&sum, s, p, p->size.ldz, s->hp, s->wp, ZPlane(p, k - j, o), Kernel(s, call, 1, j, o, i));
  AddTerm(&sum, s, p, p->size.ldz, s->hp, s->wp, NULL, NULL);
  ConvUnpadPlane(s, &p->size, p->result, i, ConvInput(s, &call->dx, k, sample));
}

static void Backward(const ConvShape *s, void *plan, const CourantLayerCall *call, int sample)
{
  const int last = ConvMin(call->order, call->x.degree);
  const Planes p = PlanesOf(s, call);
  const ptrdiff_t inside = (ptrdiff_t)p.size.margin_y * p.size.ldz + p.size.margin_x;

  (void)plan;
  for (int k = 0; k <= call->order; k++) {
    for (int i = 0; k <= last && i < s->ic; i++)
      ConvPadPlane(s, &p.size, ConvInput(s, &call->x, k, sample), i, XPlane(&p, k, i));
    for (int o = 0; o < s->oc; o++)
      ConvSpreadPlane(s, &p.size, ConvOutput(s, &call->dy, k, sample), o, ZPlane(&p, k, o));
  }
  for (int k = call->from; k <= call->order; k++) {
    for (int o = 0; call->dw[k] && o < s->oc; o++)
      for (int i = 0; i < s->ic; i++) {
        PlaneTerm terms[COURANT_ORDER_MAX + 1];
        int n = 0;
        for (int j = 0; j <= ConvMin(k, last); j++)
          terms[n++] = (PlaneTerm){XPlane(&p, j, i), ZPlane(&p, k - j, o) + inside};
        CourantPlaneWeights(n, terms, p.size.ldx, p.size.ldz, s->kh, s->kw, s->ho, s->wo,
                            ConvGradient(s, call, k) + (ptrdiff_t)(o * s->ic + i) * (s->kh * s->kw));
      }
    for (int i = 0; call->dx.c[0] && i < s->ic; i++) InputGradient(s, &p, call, k, i, sample);
  }
}

/* A correlation of planes [ho,wo]: 1.1 a multiply-add, and 2 a number gathered into a plane or scattered from
 * it. */
static double Correlation(const ConvShape *s, int ho, int wo, double numbers)
{
  return 1.1 * (double)Weights(s) * ho * ((wo + VL - 1) / VL) + 2 * numbers;
}

static double Cost(const ConvShape *s)
{
  const double x = (double)s->ic * s->hp * s->wp, y = (double)s->oc * s->ho * s->wo,
               z = (double)s->oc * (s->ho + 2 * s->kh) * (s->wo + 2 * s->kw);

  if (s->sy > 1 || s->sx > 1) return INFINITY;
  return 2 * Correlation(s, s->ho, s->wo, x + y) + (s->first ? 0 : Correlation(s, s->hp, s->wp, x + z));
}

const ConvWay COURANT_VARIANT(ConvPlanes) = {
    .Space = Space,
    .Pack = Pack,
    .Unpack = Unpack,
    .Forward = Forward,
    .Backward = Backward,
    .Cost = Cost,
};
