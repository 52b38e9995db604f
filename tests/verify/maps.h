#pragma once
/* Whole maps of decks in the source tree. */
#include "unit/check.h"
#include "stability/map.h"

typedef struct {
  CourantDeck deck;
  CourantMap map;
} Solved;

/* The map of a deck, with options and -set (or NULL) as on the command line. */
static inline void Prepare(const char *deck, const char *options, const char *overrides, Solved *s)
{
  char path[512];

  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, options));
  snprintf(path, sizeof path, SOURCE_ROOT "/%s", deck);
  OK(CourantDeckLoad(PETSC_COMM_SELF, path, overrides, &s->deck));
  OK(CourantMapCreate(PETSC_COMM_SELF, s->deck, &s->map));
  OK(CourantMapSetFromOptions(s->map));
}

static inline void SolveWith(const char *deck, const char *options, const char *overrides, Solved *s)
{
  Prepare(deck, options, overrides, s);
  OK(CourantMapSolve(s->map));
}

static inline void Solve(const char *deck, const char *options, Solved *s)
{
  SolveWith(deck, options, NULL, s);
}

static inline void Free(Solved *s)
{
  OK(CourantMapDestroy(&s->map));
  OK(CourantDeckDestroy(&s->deck));
}

static inline const CourantMapRow *Row(const Solved *s, double alpha)
{
  for (PetscInt w = 0; w < s->map->nw; w++)
    if (fabs(s->map->rows[w].alpha - alpha) <= 1e-12 * alpha) return &s->map->rows[w];
  fail_msg("no weight decay %g", alpha);
  return NULL;
}

/* The cell nearest to a learning rate in the row of a weight decay. */
static inline const CourantMapCell *Cell(const Solved *s, double alpha, double eta)
{
  const PetscInt w = (PetscInt)(Row(s, alpha) - s->map->rows);
  PetscInt best = 0;
  for (PetscInt l = 1; l < s->map->nl; l++)
    if (fabs(s->map->learning_rate[l] - eta) < fabs(s->map->learning_rate[best] - eta)) best = l;
  return &s->map->cells[w * s->map->nl + best];
}

/*
  What every map of a smooth one-layer network has to show: converged states with small residuals that LAPACK
  agrees with, at least 90 % of the cells decided, 99 % of these in agreement and 99 % within 1 % of the
  predicted growth, half of them within 2e-3.
*/
static inline void CheckMap(const Solved *s)
{
  CourantAgreement a;
  PetscInt within = 0, measured = 0;

  for (PetscInt w = 0; w < s->map->nw; w++) {
    const CourantMapRow *row = &s->map->rows[w];
    assert_int_equal(row->status, COURANT_CONVERGED);
    BELOW(row->residual_max, 1e-9 * row->norm);
    BELOW(row->residual_min, 1e-9 * row->norm);
    BELOW(row->gradient_norm, 1e-10);
  }
  for (PetscInt i = 0; i < s->map->nw * s->map->nl; i++) {
    const CourantMapCell *cell = &s->map->cells[i];
    if (!isfinite(cell->local_growth)) continue;
    measured++;
    within += fabs(cell->local_growth - cell->growth) <= 0.01 * cell->growth;
  }
  OK(CourantMapGetAgreement(s->map, &a));
  assert_int_equal(a.checked, s->map->nw * s->map->nl);
  assert_true((double)a.decided >= 0.9 * (double)a.checked);
  assert_true((double)a.agreed >= 0.99 * (double)a.decided);
  assert_true((double)within >= 0.99 * (double)measured);
  BELOW(a.median_error, 2e-3);
}
