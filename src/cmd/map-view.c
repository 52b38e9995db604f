/* A map on a terminal: its regimes, its rows, and what the checks say. */
#include "cmd/draw.h"
#include "cmd/map.h"
#include <math.h>
#include <string.h>

enum { ROWS = 8 }; /* of which limits are printed */

static const char symbols[] = ".o#^?+";
static const char *const names[] = {"stable",        "restrained", "divergent",
                                    "unstable flow", "undecided",  "past the limit"};

/* Predicted regimes, weight decay upwards, learning rate to the right. */
static void DrawRegimes(CourantMap map)
{
  const PetscInt width = PetscMin(COURANT_DRAW_WIDTH, map->nl),
                 height = PetscMin(COURANT_DRAW_HEIGHT, map->nw);
  const PetscBool upwards = map->weight_decay[map->nw - 1] >= map->weight_decay[0] ? PETSC_TRUE : PETSC_FALSE;
  PetscBool seen[6] = {PETSC_FALSE};

  printf("\nweight decay\n");
  for (PetscInt r = 0; r < height; r++) {
    const PetscInt w = CourantDrawPick(upwards ? height - 1 - r : r, height, map->nw);
    printf("%10.4g |", map->weight_decay[w]);
    for (PetscInt c = 0; c < width; c++) {
      const uint8_t regime = map->cells[w * map->nl + CourantDrawPick(c, width, map->nl)].regime;
      putchar(regime < 6 ? symbols[regime] : ' ');
      if (regime < 6) seen[regime] = PETSC_TRUE;
    }
    printf("\n");
  }
  CourantDrawAxis(width, map->learning_rate[0], map->learning_rate[map->nl - 1], "learning rate");
  printf("%10s ", "");
  for (int i = 0; i < 6; i++)
    if (seen[i]) printf(" %c %s", symbols[i], names[i]);
  printf("\n");
}

static void PrintNumber(double value, const char *format, int width)
{
  char text[32];
  snprintf(text, sizeof text, format, value);
  printf(" %*s", width, isfinite(value) ? text : "-");
}

static void PrintStatusName(uint8_t status)
{
  const char *name = COURANT_STATUS_NAMES;

  for (; status; status--) name = strchr(name, ' ') + 1;
  for (; *name && *name != ' '; name++) putchar(*name == '_' ? ' ' : *name);
}

/* What keeps a number of a row from being known: that of its state, or of something that follows from it. */
static void PrintStatus(uint8_t state, const char *what, uint8_t status)
{
  const uint8_t first = state ? state : status;

  printf("  ");
  if (first != COURANT_CONVERGED && first != COURANT_UNSET) {
    if (!state) printf("%s", what);
    PrintStatusName(first);
  }
  printf("\n");
}

static void PrintRow(const CourantMapRow *row)
{
  printf("%12.5g", row->alpha);
  PrintNumber(row->limit, "%.9g", 14);
  PrintNumber(row->limit * row->residual_max / row->m_max, "%.1e", 9);
  PrintNumber(row->limit_von_neumann, "%.6g", 14);
  PrintNumber(row->limit_far_field, "%.6g", 12);
  PrintNumber(row->flip_coefficient, "%.6g", 12);
  PrintStatus(row->status, "flip: ", row->flip_status);
}

/* The same of mini-batches, in the order of kinds[]. */
static void PrintBatchRow(const CourantMapRow *row)
{
  static const CourantSgdKind kinds[] = {COURANT_SGD_ALMOST_SURE, COURANT_SGD_MEAN_SQUARE, COURANT_SGD_EPOCH};
  uint8_t status = 0;

  printf("%12.5g", row->alpha);
  for (int k = 0; k < COURANT_SGD_KINDS; k++) {
    const CourantEstimate *limit = &row->batch_limit[kinds[k]];
    PrintNumber(limit->value, "%.6g", k ? 12 : 14);
    PrintNumber(0.5 * (limit->high - limit->low), "%.1e", k ? 8 : 9);
    if (!status) status = row->batch_status[kinds[k]];
  }
  PrintNumber(row->limit_full_batch, "%.6g", 13);
  PrintNumber(row->limit_far_field, "%.6g", 10);
  PrintStatus(row->status, "limits: ", status);
}

/* Rows of mini-batches whose growth needs all modes. */
static void PrintUntold(CourantMap map)
{
  PetscInt rows = 0;

  for (PetscInt w = 0; map->sgd && w < map->nw; w++)
    rows += map->rows[w].m_min < 0 && isnan(map->cells[w * map->nl].growth);
  if (rows)
    printf(
        "at %d weight decays the flow itself leaves the state, and growth takes the Hessians of all samples: "
        "-sgd_dense %d\n",
        (int)rows, (int)map->p);
}

/* Rows at a state that has no Hessian. */
static void PrintKinks(CourantMap map)
{
  PetscInt rows = 0;

  for (PetscInt w = 0; w < map->nw; w++) rows += map->rows[w].status == COURANT_KINK;
  if (rows)
    printf("at %d weight decays the state is on a kink of its layers, and has nothing to linearise: "
           "-set map.linearise=trained takes those that training comes to\n",
           (int)rows);
}

/* Limits of some weight decays with what is known of their error. */
static void PrintRows(CourantMap map)
{
  const PetscInt n = PetscMin(ROWS, map->nw);

  if (map->sgd)
    printf("\n%12s %14s %9s %12s %8s %12s %8s %13s %10s\n", "weight decay", "almost sure", "+-",
           "mean square", "+-", "of an epoch", "+-", "full batches", "far field");
  else
    printf("\n%12s %14s %9s %14s %12s %12s  %s\n", "weight decay", "limit", "+-", "von Neumann", "far field",
           "flip c", "");
  for (PetscInt i = 0; i < n; i++)
    (map->sgd ? PrintBatchRow : PrintRow)(&map->rows[CourantDrawPick(i, n, map->nw)]);
  PrintUntold(map);
  PrintKinks(map);
}

/* How good the spectra are that converged, and what they were checked with. */
static PetscErrorCode PrintAccuracy(CourantMap map)
{
  double worst = 0;
  PetscInt solved = 0, open = 0, dense;

  PetscFunctionBeginUser;
  for (PetscInt w = 0; w < map->nw; w++) {
    const CourantMapRow *row = &map->rows[w];
    const PetscBool plain = isfinite(row->lambda_max) ? PETSC_TRUE : PETSC_FALSE;
    const double norm =
        plain ? fmax(fabs(row->lambda_max), fabs(row->lambda_min)) : fmax(fabs(row->m_max), fabs(row->m_min));
    solved += row->status == COURANT_CONVERGED;
    open += row->status == COURANT_NOT_CONVERGED;
    if (row->status == COURANT_CONVERGED && norm > 0)
      worst = fmax(worst, fmax(row->residual_max, row->residual_min) / norm);
  }
  if (!solved) {
    printf("no spectrum was computed\n");
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  printf("worst eigenvalue residual %.1e |H|; ", worst);
  PetscCall(CourantSpectrumGetDenseSize(map->spectrum, &dense));
  if (dense)
    printf("%s agree with LAPACK's\n", open ? "spectra that converged" : "all spectra");
  else
    printf("an eigenvalue beyond by 1 %% of |H| was missed with probability below %.1e\n", map->missed);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PrintLocal(CourantMap map, const CourantAgreement *a)
{
  if (!map->settings.local || a->checked == 0) return;
  printf("local check:  %d of %d cells decided, %d agree, %d disagree", (int)a->decided, (int)a->checked,
         (int)a->agreed, (int)a->disagreeing);
  if (a->decided) printf("; growth off by %.1e (median), %.1e (99 %%)", a->median_error, a->p99_error);
  printf("\n");
  if (map->sgd && a->decided)
    printf("              intervals of measured and predicted growth overlap in %d of these (%.1f %%)\n",
           (int)a->overlapping, 100. * (double)a->overlapping / (double)a->decided);
}

/*
  Of the cells that became something, how many were predicted to; a stable state need not be found from far
  away, and mini-batches that are stable or restrained are seen to be bounded.
*/
static void PrintGlobal(CourantMap map)
{
  PetscInt counts[4] = {0}, predicted[4] = {0}, total = 0, bounded = 0;

  for (PetscInt i = 0; i < map->nw * map->nl; i++) {
    const uint8_t what = map->cells[i].global_regime;
    if (what > 3) continue;
    total++;
    counts[what]++;
    predicted[what] += map->cells[i].regime == what;
    bounded += what == COURANT_OUTCOME_RESTRAINED && map->cells[i].regime <= COURANT_REGIME_RESTRAINED;
  }
  if (map->by_ts && map->settings.global)
    printf("global check: none, as it is the trainer's rule that trains and not a time stepper\n");
  if (total == 0) return;
  if (map->sgd) {
    printf("global check: from the deck's weights %d come to rest, %d stay bounded (%d as predicted), ",
           (int)counts[0], (int)counts[1], (int)bounded);
    printf("%d diverge (%d), %d undecided\n", (int)counts[2], (int)predicted[2], (int)counts[3]);
    return;
  }
  printf("global check: from the deck's weights %d stable (%d as predicted), %d restrained (%d), %d "
         "divergent (%d), %d undecided\n",
         (int)counts[0], (int)predicted[0], (int)counts[1], (int)predicted[1], (int)counts[2],
         (int)predicted[2], (int)counts[3]);
}

/* Where a refined check was run, and how far what lies between is to be trusted. */
static void PrintRefinement(CourantMap map)
{
  const CourantRefinementCounts *r = &map->refined;
  const PetscInt all = map->nw * map->nl;

  if (r->run == 0) return;
  printf(
      "refined:      run in %d of %d cells, %d of them drawn at random, where %d contradicted those around\n",
      (int)r->run, (int)all, (int)r->drawn, (int)r->surprises);
  if (r->run == all) return;
  printf("              of the %d in between at most %d (%.3g %%) differ, with %g %% confidence",
         (int)(all - r->run), (int)r->differing, 100 * (double)r->differing / (double)(all - r->run),
         100 * COURANT_REFINEMENT_CONFIDENCE);
  if (map->settings.local) printf("; growth by %.1e at most where drawn", map->refined_error);
  printf("\n");
}

/* CourantMapView - All that the terminal says of a map, on rank 0. */
PetscErrorCode CourantMapView(CourantMap map, const CourantAgreement *agreement)
{
  PetscFunctionBeginUser;
  DrawRegimes(map);
  PrintRows(map);
  PetscCall(PrintAccuracy(map));
  PrintRefinement(map);
  PrintLocal(map, agreement);
  PrintGlobal(map);
  PetscFunctionReturn(PETSC_SUCCESS);
}
