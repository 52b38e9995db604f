#include "train/outcome.h"
#include "core/interrupt.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/statistics.h"
#include <math.h>
#include <string.h>

static double Norm(size_t n, const double a[])
{
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += a[i] * a[i];
  return sqrt(sum);
}

/* |a - b|; of states, what is behind the first n numbers counts in units of its own. */
static double StateDistance(const CourantRunner *runner, size_t n, const double a[], const double b[])
{
  const size_t size = (size_t)(1 + runner->states) * n;
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
  for (size_t i = n; i < size; i++) sum += runner->unit * (a[i] - b[i]) * (runner->unit * (a[i] - b[i]));
  return sqrt(sum);
}

static double Distance(size_t n, const double a[], const double b[])
{
  return StateDistance(&(CourantRunner){0}, n, a, b);
}

/* CourantOutcomeWorkCreate - Arrays for runs of at most `steps` steps with n weights. */
PetscErrorCode CourantOutcomeWorkCreate(size_t n, PetscInt steps, CourantOutcomeWork *work)
{
  const size_t length = (size_t)steps + 1, state = (1 + COURANT_RULE_STATES) * n;

  PetscFunctionBeginUser;
  *work = (CourantOutcomeWork){.n = n, .steps = steps};
  PetscCall(PetscMalloc6(state, &work->base, state, &work->other, length, &work->sums, COURANT_RING * n,
                         &work->ring, length, &work->moves, length, &work->objective));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantOutcomeWorkDestroy(CourantOutcomeWork *work)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree6(work->base, work->other, work->sums, work->ring, work->moves, work->objective));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Geometric mean of the growth over the last quarter of `count` steps; sums[t] is the logarithm of the growth
  over the first t. turning: the difference may turn as it grows, and its size goes up and down with it: then
  from the mean size over the quarter before to that over the last.
*/
static double LastQuarter(const double sums[], PetscInt count, PetscBool turning)
{
  const PetscInt quarter = PetscMax(count / 4, 1);
  double mean = 0;

  if (!turning) return exp((sums[count] - sums[count - quarter]) / (double)quarter);
  for (PetscInt t = count - quarter + 1; t <= count; t++)
    mean += (sums[t] - sums[t - quarter]) / (double)quarter;
  return exp(mean / (double)quarter);
}

/*
  A growth that has moved by less than 1e-4 over 50 steps is taken as it is, unless it is too near to 1 to be
  told from it within `steps` steps: a slow mode that lasts may hide one that grows.

  A turning one has to be settled at all looks in between, and where it is below 1 the difference has to have
  shrunk so far that one mode of n, had it lasted, would be ten times the rest.
*/
static PetscBool Settled(const double sums[], PetscInt count, const CourantOutcomeWork *work,
                         PetscBool turning)
{
  if (count < 100 || count % 10) return PETSC_FALSE;
  const double growth = LastQuarter(sums, count, turning);
  if (fabs(log(growth)) < log(10) / (double)work->steps) return PETSC_FALSE;
  if (turning && growth < 1 && sums[count] > -log(10 * sqrt((double)work->n))) return PETSC_FALSE;
  for (PetscInt back = 50; back > 0; back -= turning ? 10 : 50)
    if (!(fabs(growth - LastQuarter(sums, count - back, turning)) < 1e-4)) return PETSC_FALSE;
  return PETSC_TRUE;
}

/*
  A direction that is the same in every cell of a map: of length 1 in theta, and in each array behind it in
  its own units.
*/
static void RandomDirection(const CourantRunner *runner, size_t n, double direction[])
{
  for (int part = 0; part <= runner->states; part++) {
    const CourantRandom stream = {.seed = 1, .purpose = COURANT_RANDOM_PERTURBATION, .index = (uint32_t)part};
    double *values = direction + (size_t)part * n;
    CourantRandomNormal(stream, (int64_t)n, values);
    const double norm = part ? runner->unit * Norm(n, values) : Norm(n, values);
    for (size_t i = 0; i < n; i++) values[i] /= norm;
  }
}

/*
  CourantLocalGrowth - Growth per step of a small difference between two runs, one from the equilibrium
  `state`, one 1e-6 |theta| beside it.

  Whenever the difference leaves [1e-9, 1e-4] |theta|, the base goes back to the equilibrium, which its
  rounding errors would leave in time where it is unstable, and the other run to 1e-6 from it in the direction
  reached. growth: geometric mean over the last quarter of the run, which ends when that has settled. Runs
  with a memory cannot be moved: they end when the difference is out of the range that is linear and resolved.
*/
const char *CourantLocalGrowth(const CourantRunner *runner, const double state[], CourantOutcomeWork *work,
                               double *growth)
{
  const size_t n = work->n, size = (size_t)(1 + runner->states) * n;
  const double norm = Norm(n, state), unit = norm > 0 ? norm : 1, start = 1e-6 * unit;
  const PetscBool turning = runner->states ? PETSC_TRUE : PETSC_FALSE;
  double *base = work->base, *other = work->other, *sums = work->sums;
  double before = start * sqrt(1 + runner->states);
  PetscInt count = 0;

  memcpy(base, state, size * sizeof(double));
  RandomDirection(runner, n, other);
  for (size_t i = 0; i < size; i++) other[i] = state[i] + start * other[i];
  sums[0] = 0;
  *growth = 0;
  while (count < work->steps && !CourantInterrupted()) {
    const char *problem = runner->Step(runner->ctx, 0, base);
    if (!problem) problem = runner->Step(runner->ctx, 1, other);
    if (problem) return problem;
    const double distance = StateDistance(runner, n, base, other);
    if (distance == 0) return NULL;
    if (!isfinite(distance)) {
      *growth = INFINITY;
      return NULL;
    }
    sums[count + 1] = sums[count] + log(distance / before);
    count++;
    before = distance;
    const PetscBool outside = distance < 1e-9 * unit || distance > 1e-4 * unit ? PETSC_TRUE : PETSC_FALSE;
    if (runner->remembers && (distance < 1e-12 * unit || distance > 1e-3 * unit)) break;
    if (!runner->remembers && outside) {
      for (size_t i = 0; i < size; i++) other[i] = state[i] + (other[i] - base[i]) * (start / distance);
      memcpy(base, state, size * sizeof(double));
      before = start;
    }
    if (Settled(sums, count, work, turning)) break;
  }
  *growth = LastQuarter(sums, PetscMax(count, 1), turning);
  return NULL;
}

/* A difference that is stepped at a theta held fast. */
typedef struct {
  CourantTrainer *trainer;
  double learning_rate, weight_decay;
  const double *theta;
  double h, small;      /* half of the difference quotient's span; what delta is long */
  double *at, *forward; /* [n] */
} Difference;

/* A difference at theta: 1e-5 of it to either side. */
static Difference DifferenceAt(CourantTrainer *trainer, double learning_rate, double weight_decay,
                               const double theta[], CourantOutcomeWork *work)
{
  const double norm = Norm(work->n, theta);
  return (Difference){.trainer = trainer,
                      .learning_rate = learning_rate,
                      .weight_decay = weight_decay,
                      .theta = theta,
                      .h = 1e-5 * (norm > 0 ? norm : 1),
                      .small = 1,
                      .at = work->ring,
                      .forward = work->ring + work->n};
}

/* The rule steps delta with H delta for a gradient, the central difference of the trainer's gradients. */
static const char *StepDifference(const Difference *d, double delta[])
{
  CourantTrainer *trainer = d->trainer;
  const size_t n = trainer->n;

  for (int side = 1; side >= -1; side -= 2) {
    for (size_t i = 0; i < n; i++) d->at[i] = d->theta[i] + side * (d->h / d->small) * delta[i];
    const char *problem = CourantTrainerGradient(trainer, d->at);
    if (problem) return problem;
    if (side > 0) memcpy(d->forward, trainer->gradient, n * sizeof(double));
  }
  for (size_t i = 0; i < n; i++)
    trainer->gradient[i] = (d->forward[i] - trainer->gradient[i]) / (2 * d->h) * d->small;
  CourantTrainerUpdate(trainer, COURANT_RULE_LATE, d->learning_rate, d->weight_decay, delta);
  return NULL;
}

/*
  CourantLocalGrowthByDifferences - The same where theta is no equilibrium, so that no run stays there: the
  rule steps a difference delta with H delta for a gradient.

  held: the last of the rule's states [n], which a frozen rule keeps as it is; NULL: none. Its steps are
  linear in what is small beside it, so delta is kept small then.
*/
const char *CourantLocalGrowthByDifferences(CourantTrainer *trainer, double learning_rate,
                                            double weight_decay, const double theta[], const double held[],
                                            CourantOutcomeWork *work, double *growth)
{
  const CourantRunner runner = {.states = trainer->rule->states - (held ? 1 : 0), .unit = learning_rate};
  const PetscBool turning = runner.states ? PETSC_TRUE : PETSC_FALSE;
  const size_t n = work->n, size = (size_t)(1 + runner.states) * n;
  double *delta = work->base, *zero = work->other, *sums = work->sums;
  Difference difference = DifferenceAt(trainer, learning_rate, weight_decay, theta, work);
  PetscInt count = 0;

  if (held) difference.small = 1e-9;
  memset(zero, 0, size * sizeof(double));
  RandomDirection(&runner, n, delta);
  for (size_t i = 0; i < size; i++) delta[i] *= difference.small;
  if (held) memcpy(delta + size, held, n * sizeof(double));
  sums[0] = 0;
  *growth = 0;
  while (count < work->steps && !CourantInterrupted() && !Settled(sums, count, work, turning)) {
    const char *problem = StepDifference(&difference, delta);
    if (problem) return problem;
    const double length = StateDistance(&runner, n, delta, zero) / difference.small;
    if (length == 0) return NULL;
    for (size_t i = 0; i < size; i++) delta[i] /= length;
    sums[count + 1] = sums[count] + log(length);
    count++;
  }
  *growth = LastQuarter(sums, PetscMax(count, 1), turning);
  return NULL;
}

enum { PARTS = 16, LOOK = 100 }; /* of a run in batches; steps to the first look at it */

static double Mean(PetscInt n, const double x[])
{
  double sum = 0;
  for (PetscInt i = 0; i < n; i++) sum += x[i];
  return sum / (double)n;
}

/*
  The logarithm of growth per step over the last three quarters of a run, with the interval that the means
  over its parts leave: whole epochs where there are enough of them. A mode that is so little slower that it
  has gained less than a factor of 10 in the whole run may not have come out yet.
*/
static CourantEstimate GrowthOfParts(const double sums[], PetscInt count, PetscInt per_epoch)
{
  PetscInt length = (count - count / 4) / PARTS;
  double means[PARTS];

  if (length >= per_epoch) {
    length -= length % per_epoch;
    count -= count % per_epoch;
  }
  for (PetscInt k = 0; k < PARTS; k++)
    means[k] = (sums[count - k * length] - sums[count - (k + 1) * length]) / (double)length;
  CourantEstimate rate = CourantMeanEstimate(PARTS, means);
  rate.high += log(10) / (double)count;
  return rate;
}

/*
  Can a run end here? Its interval is within 1 % of growth and a third of what the logarithm is away from 0;
  and a mode with half or twice that logarithm, one of n at the start and with noise of its own, would be ten
  times the others by now.
*/
static PetscBool BatchesSettled(CourantEstimate rate, double sum, PetscInt count,
                                const CourantOutcomeWork *work)
{
  const double half = rate.high - rate.value, size = fabs(rate.value);
  return half <= 0.01 && 3 * half <= size && size >= log(10) / (double)work->steps &&
                 fabs(sum) >= 2 * (log(10 * sqrt((double)work->n)) + sqrt((double)count))
             ? PETSC_TRUE
             : PETSC_FALSE;
}

/*
  CourantLocalGrowthOfBatches - Growth per step of a small difference of two runs with the same mini-batches,
  the trainer's own, at a theta held fast: gradients of batches do not vanish there, and no run stays.

  It is stepped as by CourantLocalGrowthByDifferences(), the rule gd. The run is looked at after 100, 200, 400
  .. steps, and ends when it has settled, or after all of them.
*/
const char *CourantLocalGrowthOfBatches(CourantTrainer *trainer, double learning_rate, double weight_decay,
                                        const double theta[], CourantOutcomeWork *work,
                                        CourantEstimate *growth)
{
  const CourantRunner runner = {0};
  const Difference difference = DifferenceAt(trainer, learning_rate, weight_decay, theta, work);
  const size_t n = work->n;
  double *delta = work->base, *sums = work->sums;
  CourantEstimate rate = {NAN, NAN, NAN};
  PetscInt look = LOOK;

  RandomDirection(&runner, n, delta);
  sums[0] = 0;
  *growth = (CourantEstimate){0, 0, 0};
  for (PetscInt count = 0; count < work->steps && !CourantInterrupted();) {
    CourantTrainerSetBatch(trainer, count);
    const char *problem = StepDifference(&difference, delta);
    if (problem) return problem;
    const double length = Norm(n, delta);
    if (length == 0) return NULL;
    for (size_t i = 0; i < n; i++) delta[i] /= length;
    sums[count + 1] = sums[count] + log(length);
    count++;
    if (count != look && count != work->steps) continue;
    rate = GrowthOfParts(sums, count, trainer->batches.per_epoch);
    look *= 2;
    if (BatchesSettled(rate, sums[count], count, work)) break;
  }
  *growth = (CourantEstimate){exp(rate.value), exp(rate.low), exp(rate.high)};
  return NULL;
}

/*
  CourantLocalVerdict - Are measured and predicted growth on the
  same side of 1? Undecided where `steps` steps could not tell.
*/
CourantVerdict CourantLocalVerdict(double measured, double predicted, PetscInt steps)
{
  if (!(fabs(log(measured)) >= log(10) / (double)steps)) return COURANT_VERDICT_UNDECIDED;
  return (measured > 1) == (predicted > 1) ? COURANT_AGREE : COURANT_DISAGREE;
}

/* The ring's state `back` steps before step t. */
static const double *State(const CourantOutcomeWork *work, PetscInt t, PetscInt back)
{
  return work->ring + (size_t)((t - back) % COURANT_RING) * work->n;
}

/* Half the largest distance between two of the states from..to-1 steps before step t. */
static double Amplitude(const CourantOutcomeWork *work, PetscInt t, PetscInt from, PetscInt to)
{
  double largest = 0;
  for (PetscInt a = from; a < to; a++)
    for (PetscInt b = a + 1; b < to; b++)
      largest = fmax(largest, Distance(work->n, State(work, t, a), State(work, t, b)));
  return largest / 2;
}

static int Period(const CourantOutcomeWork *work, PetscInt t, double amplitude)
{
  for (int q = 1; q <= COURANT_RING / 2; q++)
    if (Distance(work->n, State(work, t, 0), State(work, t, q)) < 1e-6 * amplitude) return q;
  return 0;
}

static double Largest(const double values[], PetscInt from, PetscInt to)
{
  double largest = 0;
  for (PetscInt t = from; t <= to; t++) largest = fmax(largest, values[t]);
  return largest;
}

/* Has the objective fallen at every step of the last quarter? */
static PetscBool Falls(const CourantOutcomeWork *work, PetscInt t)
{
  for (PetscInt s = t - t / 4 + 1; s <= t; s++)
    if (work->objective[s] > work->objective[s - 1]) return PETSC_FALSE;
  return PETSC_TRUE;
}

/*
  Did the objective fall, and the steps shrink, all through the
  last quarter? Then it is a slow approach and not an oscillation.
*/
static PetscBool Drifts(const CourantOutcomeWork *work, PetscInt t)
{
  const PetscInt from = t - t / 4;
  for (PetscInt s = from + 1; s <= t; s++)
    if (work->moves[s] > work->moves[s - 1] * (1 + 1e-9)) return PETSC_FALSE;
  return Falls(work, t);
}

/*
  What a bounded run of t steps is, judged from its last states; undecided means: go on, or at the end, cannot
  tell.

  Rest: all of the last 64 steps are below 1e-9 of the state. A cycle: the state comes back within 1e-6 of the
  amplitude, which has not shrunk among the last 64 states. After half of the longest run, an oscillation
  whose steps are as long as a quarter of the run ago is restrained; at its end, shrinking steps or a slow
  drift downhill are stable.
*/
static void Judge(const CourantOutcomeWork *work, PetscInt t, double norm, CourantOutcome *outcome)
{
  const double recent = Largest(work->moves, t - COURANT_RING + 1, t);

  outcome->amplitude = Amplitude(work, t, 0, COURANT_RING);
  outcome->period = Period(work, t, outcome->amplitude);
  outcome->kind = COURANT_OUTCOME_UNDECIDED;
  if (recent <= 1e-9 * norm) {
    outcome->kind = COURANT_OUTCOME_STABLE;
    outcome->period = 1;
    return;
  }
  const PetscBool lasting =
      Amplitude(work, t, 0, COURANT_RING / 2 + 1) > 0.9 * outcome->amplitude ? PETSC_TRUE : PETSC_FALSE;
  if (outcome->period > 1 && lasting && outcome->amplitude > 1e-6 * norm) {
    outcome->kind = COURANT_OUTCOME_RESTRAINED;
    return;
  }
  if (t < work->steps / 2 || t < 4 * COURANT_RING) return;
  const double earlier = Largest(work->moves, t - t / 4 - COURANT_RING + 1, t - t / 4);
  if (recent > 0.9 * earlier && recent < 1.1 * earlier && recent > 1e-6 * norm && !Falls(work, t))
    outcome->kind = COURANT_OUTCOME_RESTRAINED;
  else if (t == work->steps && (recent < 0.9 * earlier || Drifts(work, t)))
    outcome->kind = COURANT_OUTCOME_STABLE;
}

/*
  The same of mini-batches, whose noise keeps a run in motion wherever samples do not agree: at rest, or at
  its end bounded, when |theta| is on average no longer than a quarter of the run before. work->sums: |theta|.
*/
static void JudgeBatches(const CourantOutcomeWork *work, PetscInt t, double norm, CourantOutcome *outcome)
{
  const PetscInt quarter = t / 4;

  outcome->amplitude = Amplitude(work, t, 0, COURANT_RING);
  outcome->period = 0;
  if (Largest(work->moves, t - COURANT_RING + 1, t) <= 1e-9 * norm) {
    outcome->kind = COURANT_OUTCOME_STABLE;
    outcome->period = 1;
  } else if (t == work->steps && Mean(quarter, work->sums + t - quarter + 1) <=
                                     1.1 * Mean(quarter, work->sums + t - 2 * quarter + 1))
    outcome->kind = COURANT_OUTCOME_RESTRAINED;
}

/*
  CourantGlobalOutcome - Trains from `start` and says what became of it: stable, restrained, divergent, or
  undecided after all steps.

  Divergent: |theta| has grown to 1e6 of its start and goes on growing, or is not finite. The run stops once
  it is decided. In mini-batches restrained means bounded: that it moves may be their noise.
*/
const char *CourantGlobalOutcome(CourantTrainer *trainer, double learning_rate, double weight_decay,
                                 const double start[], CourantOutcomeWork *work, CourantOutcome *outcome)
{
  const size_t n = work->n;
  const double first = Norm(n, start);
  double *theta = work->base, /* and behind it what the rule remembers */
      before = first, unit = first;
  PetscInt t = 0;

  *outcome =
      (CourantOutcome){.kind = COURANT_OUTCOME_UNDECIDED, .amplitude = NAN, .loss = NAN, .state = theta};
  const double rest = CourantRuleRest(trainer->rule, trainer->options, weight_decay, trainer->decoupled);
  memcpy(theta, start, n * sizeof(double));
  memcpy(work->ring, start, n * sizeof(double));
  work->moves[0] = 0;
  work->sums[0] = first;
  work->objective[0] = INFINITY;
  while (t < work->steps && outcome->kind == COURANT_OUTCOME_UNDECIDED && !CourantInterrupted()) {
    CourantTrainerSetBatch(trainer, t);
    const char *problem = CourantTrainerStep(trainer, t + 1, learning_rate, weight_decay, theta);
    if (problem) return problem;
    double decay = 0;
    const double *previous = State(work, t, 0);
    for (size_t i = 0; i < n; i++) decay += trainer->mask[i] * previous[i] * previous[i];
    t++;
    const double norm = Norm(n, theta);
    work->objective[t] = CourantTrainerLoss(trainer) + 0.5 * rest * decay; /* of the state before the step */
    work->moves[t] = Distance(n, theta, previous);
    memcpy(work->ring + (size_t)(t % COURANT_RING) * n, theta, n * sizeof(double));
    work->sums[t] = norm;
    if (unit == 0) unit = norm; /* from zero weights: the first step sets the scale */
    if (!isfinite(norm) || (norm > 1e6 * unit && norm > before))
      outcome->kind = COURANT_OUTCOME_DIVERGENT;
    else if (t >= COURANT_RING && (t % COURANT_RING == 0 || t == work->steps)) {
      if (trainer->in_batches)
        JudgeBatches(work, t, fmax(norm, 1e-6 * unit), outcome);
      else
        Judge(work, t, fmax(norm, 1e-6 * unit), outcome);
    }
    before = norm;
  }
  outcome->steps = t;
  if (outcome->kind == COURANT_OUTCOME_DIVERGENT) {
    outcome->amplitude = NAN;
    return NULL;
  }
  CourantTrainerSetBatch(trainer, -1);
  const char *problem = CourantTrainerGradient(trainer, theta);
  outcome->loss = CourantTrainerLoss(trainer);
  return problem;
}
