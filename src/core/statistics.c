#include "core/statistics.h"
#include <math.h>

/* The continued fraction of the incomplete beta function (DLMF 8.17.22) by Lentz's method; x <= a/(a+b). */
static PetscReal BetaFraction(PetscReal a, PetscReal b, PetscReal x)
{
  const PetscReal tiny = 1e-300;
  PetscReal c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), value = d;

  for (int k = 1; k < 100000; k++) {
    PetscReal change = 1;
    for (int odd = 0; odd < 2; odd++) {
      const PetscReal t = odd ? -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1))
                              : k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k));
      d = 1 + t * d;
      c = 1 + t / c;
      d = 1 / (d == 0 ? tiny : d);
      if (c == 0) c = tiny;
      change = c * d;
      value *= change;
    }
    if (fabs(change - 1) < 1e-15) break;
  }
  return value;
}

/* CourantIncompleteBeta - I_x(a,b), the probability that a Beta(a,b) variable is at most x. */
PetscReal CourantIncompleteBeta(PetscReal a, PetscReal b, PetscReal x)
{
  if (a <= 0 || x >= 1) return 1; /* all of it is at 0 */
  if (b <= 0 || x <= 0) return 0; /* at 1 */
  const PetscReal front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
  if (x > (a + 1) / (a + b + 2)) return 1 - front * BetaFraction(b, a, 1 - x) / b;
  return front * BetaFraction(a, b, x) / a;
}

/* CourantStudentFactor - t such that |T| <= t with 95 % for Student's T with so many degrees of freedom. */
PetscReal CourantStudentFactor(PetscInt freedom)
{
  const PetscReal f = (PetscReal)freedom;
  PetscReal low = 1.9, high = 13; /* those of infinitely many and of one */

  for (int i = 0; i < 60; i++) {
    const PetscReal t = 0.5 * (low + high);
    if (CourantIncompleteBeta(0.5 * f, 0.5, f / (f + t * t)) > 1 - COURANT_CONFIDENCE)
      low = t;
    else
      high = t;
  }
  return high;
}

/* CourantMeanEstimate - Mean of n independent numbers and Student's interval; of one number infinitely wide.
 */
CourantEstimate CourantMeanEstimate(PetscInt n, const PetscReal x[])
{
  PetscReal mean = 0, variance = 0;

  for (PetscInt i = 0; i < n; i++) mean += x[i] / (PetscReal)n;
  for (PetscInt i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean) / (PetscReal)(n - 1);
  const PetscReal half = n > 1 ? CourantStudentFactor(n - 1) * sqrt(variance / (PetscReal)n) : INFINITY;
  return (CourantEstimate){mean, mean - half, mean + half};
}

/* The k at which a Beta(probes k/2, probes (n-k)/2) variable is at most `share` with this probability. */
static PetscReal RankAt(PetscInt n, PetscInt probes, PetscReal share, PetscReal probability)
{
  const PetscReal half = 0.5 * (PetscReal)probes;
  PetscReal low = 0, high = (PetscReal)n;

  for (int i = 0; i < 60; i++) {
    const PetscReal k = 0.5 * (low + high);
    if (CourantIncompleteBeta(half * k, half * ((PetscReal)n - k), share) > probability)
      low = k;
    else
      high = k;
  }
  return 0.5 * (low + high);
}

/*
  CourantRankEstimate - The rank k of a projection P of n unknowns, from the share that it takes of normal
  vectors z: sum z^T P z / sum z^T z over `probes` of them, which is known to lie in [low,high].

  The share is exactly Beta(probes k/2, probes (n-k)/2) distributed, so the interval needs no assumption.
*/
CourantEstimate CourantRankEstimate(PetscInt n, PetscInt probes, PetscReal low, PetscReal high)
{
  const PetscReal tail = 0.5 * (1 - COURANT_CONFIDENCE);
  CourantEstimate k = {.value = 0.5 * (low + high) * (PetscReal)n, .low = 0, .high = (PetscReal)n};

  if (low > 0) k.low = RankAt(n, probes, low, 1 - tail);
  if (high < 1) k.high = RankAt(n, probes, high, tail);
  return k;
}
