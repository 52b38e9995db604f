#include "stability/refine.h"
#include "core/error.h"
#include "core/random.h"
#include <math.h>
#include <stdlib.h>

/* A twentieth of the cells asked for are drawn at random. */
enum { SHARE = 20 };

/* CourantRefinementCreate - A grid of which no cell has been run yet. */
PetscErrorCode CourantRefinementCreate(PetscInt ny, PetscInt nx, int depth, const uint8_t predicted[],
                                       CourantRefinement *r)
{
  PetscFunctionBeginUser;
  *r = (CourantRefinement){.ny = ny, .nx = nx, .depth = depth, .predicted = predicted};
  PetscCall(PetscCalloc3(ny * nx, &r->measured, ny * nx, &r->expected, ny * nx, &r->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantRefinementDestroy(CourantRefinement *r)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(r->measured, r->expected, r->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the tree ---- */

typedef struct {
  const CourantRefinement *r;
  void (*Ask)(PetscInt cell, void *ctx);                  /* a corner or centre that has not been run */
  void (*Leaf)(const CourantCellBlock *block, void *ctx); /* a block whose cells agree */
  void *ctx;
} Walk;

/* A block and the cells right beside it: a boundary between two cells counts for both. */
static CourantCellBlock Widen(const CourantRefinement *r, const CourantCellBlock *b)
{
  return (CourantCellBlock){{PetscMax(b->y[0] - 1, 0), PetscMin(b->y[1] + 1, r->ny - 1)},
                            {PetscMax(b->x[0] - 1, 0), PetscMin(b->x[1] + 1, r->nx - 1)}};
}

/* Does theory see one class? */
static PetscBool IsPredictedUniform(const CourantRefinement *r, const CourantCellBlock *b)
{
  const uint8_t first = r->predicted[b->y[0] * r->nx + b->x[0]];
  for (PetscInt y = b->y[0]; y <= b->y[1]; y++)
    for (PetscInt x = b->x[0]; x <= b->x[1]; x++)
      if (r->predicted[y * r->nx + x] != first) return PETSC_FALSE;
  return PETSC_TRUE;
}

/* Do all runs agree? */
static PetscBool IsMeasuredUniform(const CourantRefinement *r, const CourantCellBlock *b)
{
  int first = -1;
  for (PetscInt y = b->y[0]; y <= b->y[1]; y++)
    for (PetscInt x = b->x[0]; x <= b->x[1]; x++) {
      const PetscInt cell = y * r->nx + x;
      if (r->state[cell] < COURANT_CELL_RUN) continue;
      if (first < 0) first = r->measured[cell];
      if (r->measured[cell] != first) return PETSC_FALSE;
    }
  return PETSC_TRUE;
}

/* Asks for the corners and the centre where they have not been run. */
static PetscBool HasRun(const Walk *walk, const CourantCellBlock *b)
{
  const CourantRefinement *r = walk->r;
  const PetscInt y[3] = {b->y[0], b->y[1], (b->y[0] + b->y[1]) / 2},
                 x[3] = {b->x[0], b->x[1], (b->x[0] + b->x[1]) / 2};
  PetscBool all = PETSC_TRUE;

  for (int i = 0; i < 5; i++) {
    const PetscInt cell = i < 4 ? y[i / 2] * r->nx + x[i % 2] : y[2] * r->nx + x[2];
    if (r->state[cell] >= COURANT_CELL_RUN) continue;
    all = PETSC_FALSE;
    if (walk->Ask) walk->Ask(cell, walk->ctx);
  }
  return all;
}

/* A block is a leaf, or it is split into halves along each side that is longer than a cell. */
static void WalkBlock(const Walk *walk, const CourantCellBlock *b)
{
  const PetscInt height = b->y[1] - b->y[0], width = b->x[1] - b->x[0];
  const PetscInt y[3] = {b->y[0], height > 1 ? b->y[0] + height / 2 : b->y[1], b->y[1]},
                 x[3] = {b->x[0], width > 1 ? b->x[0] + width / 2 : b->x[1], b->x[1]};

  if (height <= 1 && width <= 1) {
    (void)HasRun(walk, b);
    return;
  }
  const CourantCellBlock wide = Widen(walk->r, b);
  if (IsPredictedUniform(walk->r, &wide)) {
    if (!HasRun(walk, b)) return;
    if (IsMeasuredUniform(walk->r, &wide)) {
      if (walk->Leaf) walk->Leaf(b, walk->ctx);
      return;
    }
  }
  for (int i = 0; i < 1 + (height > 1); i++)
    for (int j = 0; j < 1 + (width > 1); j++)
      WalkBlock(walk, &(CourantCellBlock){{y[i], y[i + 1]}, {x[j], x[j + 1]}});
}

static void WalkGrid(const Walk *walk)
{
  const CourantRefinement *r = walk->r;
  const PetscInt side = 1 << r->depth;

  for (PetscInt y = 0; y == 0 || y < r->ny - 1; y += side)
    for (PetscInt x = 0; x == 0 || x < r->nx - 1; x += side)
      WalkBlock(walk,
                &(CourantCellBlock){{y, PetscMin(y + side, r->ny - 1)}, {x, PetscMin(x + side, r->nx - 1)}});
}

/*
  CourantRefinementVisit - Every block whose cells are taken to be of its corners' class; the runs in it, at
  its corners and its centre at least, agree.
*/
void CourantRefinementVisit(const CourantRefinement *r, void (*Leaf)(const CourantCellBlock *, void *),
                            void *ctx)
{
  WalkGrid(&(Walk){.r = r, .Leaf = Leaf, .ctx = ctx});
}

/* ---- what to run next ---- */

typedef struct {
  CourantRefinement *r;
  PetscInt n, *cells;
} List;

static void AddCell(PetscInt cell, void *ctx)
{
  List *list = (List *)ctx;

  if (list->r->state[cell]) return; /* a corner of several blocks */
  list->r->state[cell] = COURANT_CELL_ASKED;
  list->cells[list->n++] = cell;
}

typedef struct {
  uint32_t number;
  PetscInt cell;
} Lot;

static int ByNumber(const void *a, const void *b)
{
  const Lot *x = (const Lot *)a, *y = (const Lot *)b;
  if (x->number != y->number) return x->number < y->number ? -1 : 1;
  return (x->cell > y->cell) - (x->cell < y->cell);
}

static void ExpectBlock(const CourantCellBlock *b, void *ctx)
{
  const CourantRefinement *r = (const CourantRefinement *)ctx;
  for (PetscInt y = b->y[0]; y <= b->y[1]; y++)
    for (PetscInt x = b->x[0]; x <= b->x[1]; x++)
      if (!r->state[y * r->nx + x]) r->expected[y * r->nx + x] = r->measured[b->y[0] * r->nx + b->x[0]];
}

/*
  A round of draws: of the cells that were not asked for, those with the lowest lots; the lot of a cell is
  always the same.

  If this round has no surprise, what it says is the last word. Were d of the n cells that it draws m from
  unlike their blocks, all m would be like theirs with a probability of at most (1 - d/n)^m. The k-th round
  may err with 2^-k of the probability that is left to err, so that however many there are, all of them
  together may with the whole.
*/
static PetscErrorCode DrawCells(CourantRefinement *r, List *list)
{
  CourantRefinementCounts *counts = &r->counts;
  PetscInt n = 0;
  Lot *lots;

  PetscFunctionBeginUser;
  CourantRefinementVisit(r, ExpectBlock, r);
  PetscCall(PetscMalloc1(r->ny * r->nx, &lots));
  for (PetscInt cell = 0; cell < r->ny * r->nx; cell++) {
    uint32_t bits[4];
    if (r->state[cell]) continue;
    CourantRandomBits((CourantRandom){.purpose = COURANT_RANDOM_REFINEMENT}, (uint32_t)cell, bits);
    lots[n++] = (Lot){bits[0], cell};
  }
  qsort(lots, (size_t)n, sizeof *lots, ByNumber);
  const PetscInt m = PetscMin(n, (counts->run + SHARE - 2) / (SHARE - 1));
  for (PetscInt i = 0; i < m; i++) AddCell(lots[i].cell, list);
  PetscCall(PetscFree(lots));
  counts->drawn += m;
  counts->rounds++;
  counts->differing = 0;
  if (m < n) {
    const double level = ldexp(1 - COURANT_REFINEMENT_CONFIDENCE, -(int)counts->rounds);
    counts->differing = PetscMin(n - m, (PetscInt)(-(double)n * expm1(log(level) / (double)m)));
  }
  r->surprised = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Are there cells drawn, and run by now, that are not of their block's class? */
static void FindSurprises(CourantRefinement *r)
{
  for (PetscInt cell = 0; cell < r->ny * r->nx; cell++) {
    if (r->state[cell] != COURANT_CELL_DRAWN || r->measured[cell] == r->expected[cell]) continue;
    r->state[cell] = COURANT_CELL_SURPRISE;
    r->surprised = PETSC_TRUE;
    r->counts.surprises++;
  }
}

/*
  CourantRefinementNext - The cells [n] to be run next, at most ny nx; n is 0 when it is done.

  Before the next call r->measured has to hold their classes. First those that the tree asks for: corners and
  centres of blocks that theory sees in one class, where these do not agree those of their parts, and every
  cell next to a predicted boundary. When there are no more, cells are drawn at random from the rest, a
  twentieth of all; a surprise among them splits its block, and then there is another round of draws, until
  one has no surprise. What is asked for depends on the classes alone, not on who runs the cells in which
  order.
*/
PetscErrorCode CourantRefinementNext(CourantRefinement *r, PetscInt *n, PetscInt cells[])
{
  List list = {.r = r, .cells = cells};
  CourantCellState state = COURANT_CELL_RUN;

  PetscFunctionBeginUser;
  FindSurprises(r);
  WalkGrid(&(Walk){.r = r, .Ask = AddCell, .ctx = &list});
  if (list.n == 0 && (r->surprised || !r->counts.rounds)) {
    state = COURANT_CELL_DRAWN;
    PetscCall(DrawCells(r, &list));
  }
  for (PetscInt i = 0; i < list.n; i++) r->state[cells[i]] = (uint8_t)state;
  r->counts.run += list.n;
  *n = list.n;
  PetscFunctionReturn(PETSC_SUCCESS);
}
