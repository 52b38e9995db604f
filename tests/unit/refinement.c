/* The quadtree that says which cells are run, on grids whose classes are known. */
#include "check.h"
#include "core/random.h"
#include "stability/refine.h"
#include <stdlib.h>

typedef int (*Truth)(PetscInt y, PetscInt x, PetscInt ny, PetscInt nx);

/* Half planes: theory knows the boundary. */
static int Line(PetscInt y, PetscInt x, PetscInt ny, PetscInt nx)
{
  return 3 * y * nx + x * ny > 2 * ny * nx;
}

static int Disc(PetscInt y, PetscInt x, double cy, double cx, double radius)
{
  return hypot((double)y - cy, (double)x - cx) < radius;
}

/* A line and an island beside it, which has the centre of a block of 32 in it. */
static int Island(PetscInt y, PetscInt x, PetscInt ny, PetscInt nx)
{
  return Line(y, x, ny, nx) ? 1 : 2 * Disc(y, x, 0.3 * (double)ny, 0.4 * (double)nx, 0.1 * (double)ny);
}

/* One at the centre of a block of 32. */
static int Small(PetscInt y, PetscInt x, PetscInt ny, PetscInt nx)
{
  return (void)ny, (void)nx, Disc(y, x, 16, 48, 5);
}

/* One between corners and centres of blocks of 64. */
static int Hidden(PetscInt y, PetscInt x, PetscInt ny, PetscInt nx)
{
  return Line(y, x, ny, nx) ? 1 : 2 * Disc(y, x, 16, 48, 14);
}

/* A boundary along the blocks, behind a column; and specks two cells from it on either side. */
static PetscInt column;
static int Edge(PetscInt y, PetscInt x, PetscInt ny, PetscInt nx)
{
  return (void)y, (void)ny, (void)nx, x > column;
}

static int Specks(PetscInt y, PetscInt x, PetscInt ny, PetscInt nx)
{
  return y % 3 == 1 && (x == column - 1 || x == column + 2) ? 2 : Edge(y, x, ny, nx);
}

/* A crooked line one cell wide that theory does not know of. */
static int Filament(PetscInt y, PetscInt x, PetscInt ny, PetscInt nx)
{
  const PetscInt at = (PetscInt)(20 + 10 * sin((double)x / 15));
  return Line(y, x, ny, nx) ? 1 : 2 * (y == at && x > 10 && x < 80);
}

static uint32_t Bits(PetscInt y, PetscInt x, PetscInt nx, uint32_t field)
{
  uint32_t bits[4];
  CourantRandomBits((CourantRandom){.seed = field, .purpose = COURANT_RANDOM_TEST}, (uint32_t)(y * nx + x),
                    bits);
  return bits[0];
}

/* Each cell by the toss of a coin. */
static int Noise(PetscInt y, PetscInt x, PetscInt ny, PetscInt nx)
{
  return (void)ny, (int)(Bits(y, x, nx, 1) & 1);
}

/* One cell of fifty is another, each by itself; 200 such fields. */
static uint32_t dust_field;
static int Dust(PetscInt y, PetscInt x, PetscInt ny, PetscInt nx)
{
  return Line(y, x, ny, nx) ? 1 : 2 * (Bits(y, x, nx, 2 + dust_field) < UINT32_MAX / 50);
}

/* The value of an interpolated cell: -1 none, -2 two blocks that differ. */
typedef struct {
  const CourantRefinement *r;
  int *value;
} Fill;

static void FillBlock(const CourantCellBlock *b, void *ctx)
{
  const Fill *fill = (const Fill *)ctx;
  const int class = fill->r->measured[b->y[0] * fill->r->nx + b->x[0]];
  for (PetscInt y = b->y[0]; y <= b->y[1]; y++)
    for (PetscInt x = b->x[0]; x <= b->x[1]; x++) {
      int *value = &fill->value[y * fill->r->nx + x];
      *value = *value == -1 || *value == class ? class : -2;
    }
}

typedef struct {
  CourantRefinementCounts counts;
  PetscInt wrong;
} Outcome;

/* Refines a grid that theory takes for `predicted` and that is `truth`. */
static Outcome Refine(PetscInt ny, PetscInt nx, int depth, Truth predicted, Truth truth)
{
  Outcome outcome = {0};
  CourantRefinement r;
  uint8_t *theory = malloc((size_t)(ny * nx));
  PetscInt *cells = malloc(sizeof(PetscInt) * (size_t)(ny * nx)), n = 1, drawn = 0, surprises = 0;
  int *value = malloc(sizeof(int) * (size_t)(ny * nx));

  for (PetscInt i = 0; i < ny * nx; i++) {
    theory[i] = (uint8_t)predicted(i / nx, i % nx, ny, nx);
    value[i] = -1;
  }
  OK(CourantRefinementCreate(ny, nx, depth, theory, &r));
  while (n) {
    OK(CourantRefinementNext(&r, &n, cells));
    for (PetscInt i = 0; i < n; i++) {
      assert_int_equal(value[cells[i]], -1); /* none is asked for twice */
      value[cells[i]] = -3;
      r.measured[cells[i]] = (uint8_t)truth(cells[i] / nx, cells[i] % nx, ny, nx);
    }
  }
  for (PetscInt i = 0; i < ny * nx; i++) {
    if (value[i] == -3) value[i] = r.measured[i];
    drawn += r.state[i] >= COURANT_CELL_DRAWN;
    surprises += r.state[i] == COURANT_CELL_SURPRISE;
  }
  assert_int_equal(drawn, r.counts.drawn);
  assert_int_equal(surprises, r.counts.surprises);
  CourantRefinementVisit(&r, FillBlock, &(Fill){&r, value});
  for (PetscInt i = 0; i < ny * nx; i++) {
    assert_true(value[i] >= 0); /* every cell is run or interpolated, by one class */
    outcome.wrong += value[i] != truth(i / nx, i % nx, ny, nx);
  }
  outcome.counts = r.counts;
  OK(CourantRefinementDestroy(&r));
  free(theory), free(cells), free(value);
  return outcome;
}

static int Nothing(PetscInt y, PetscInt x, PetscInt ny, PetscInt nx)
{
  return (void)y, (void)x, (void)ny, (void)nx, 0;
}

/* Grids of all shapes, and depths beyond them: whole, right, and a twentieth at random. */
static void Shapes(void **state)
{
  static const PetscInt shapes[][2] = {{1, 1}, {1, 2}, {2, 1},   {1, 50}, {50, 1},
                                       {2, 2}, {3, 5}, {33, 17}, {64, 64}};

  (void)state;
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (int depth = 1; depth <= 8; depth += 1) {
      const Outcome o = Refine(shapes[i][0], shapes[i][1], depth, Line, Line);
      assert_int_equal(o.wrong, 0);
      assert_true(20 * o.counts.drawn >= o.counts.run || o.counts.run == shapes[i][0] * shapes[i][1]);
    }
}

/* The cells run grow like the boundary, not like the area. */
static void Cost(void **state)
{
  (void)state;
  const Outcome small = Refine(256, 256, 4, Line, Line), large = Refine(1024, 1024, 6, Line, Line);
  assert_int_equal(small.wrong + large.wrong, 0);
  assert_true(large.counts.run < 5 * small.counts.run); /* 4 with the length, 16 with the area */
  assert_true(large.counts.run < 1024 * 1024 / 20);
}

/* A boundary that theory does not know is followed all the same, and an island as large as a block found. */
static void Surprises(void **state)
{
  (void)state;
  assert_int_equal(Refine(128, 128, 3, Nothing, Line).wrong, 0);
  const Outcome o = Refine(128, 128, 3, Line, Island);
  assert_int_equal(o.wrong, 0);
  assert_true(o.counts.run < 128 * 128 / 4);
  assert_int_equal(Refine(128, 128, 5, Line, Island).wrong, 0);
  const Outcome seen = Refine(128, 128, 5, Nothing, Small);
  assert_int_equal(seen.wrong, 0);
  assert_int_equal(seen.counts.surprises, 0);
  const Outcome hidden = Refine(256, 256, 6, Line, Hidden); /* runs at random find it */
  assert_int_equal(hidden.wrong, 0);
  assert_true(hidden.counts.surprises > 0 && hidden.counts.rounds > 1);
}

/* Wherever a predicted boundary lies to the blocks, two cells on either side of it are run. */
static void Beside(void **state)
{
  (void)state;
  for (column = 40; column < 73; column++) assert_int_equal(Refine(128, 128, 4, Edge, Specks).wrong, 0);
}

/* A filament is followed to its ends from wherever it is met; where nothing has a boundary, all is run. */
static void NoArea(void **state)
{
  (void)state;
  const Outcome filament = Refine(128, 128, 3, Line, Filament);
  assert_int_equal(filament.wrong, 0);
  assert_true(filament.counts.run < 128 * 128 / 6);
  const Outcome noise = Refine(128, 128, 5, Nothing, Noise);
  assert_int_equal(noise.wrong, 0);
  assert_int_equal(noise.counts.run, 128 * 128);
  assert_int_equal(noise.counts.differing, 0);
}

/*
  What is said of the cells that are not run. Without a surprise it is the binomial distribution's bound for
  no success in m draws, of which a first round takes 0.025. Over 200 fields of cells that nothing but a draw
  finds it has to hold in 95 of 100; one ten times lower does not.
*/
static void Bounds(void **state)
{
  PetscInt broken = 0, tenth = 0;

  (void)state;
  const Outcome line = Refine(512, 512, 5, Line, Line);
  const double open = 512 * 512 - line.counts.run + line.counts.drawn;
  assert_int_equal(line.counts.surprises, 0);
  NEAR((double)line.counts.differing, -open * expm1(log(0.025) / (double)line.counts.drawn), 1);
  for (dust_field = 0; dust_field < 200; dust_field++) {
    const Outcome o = Refine(64, 64, 3, Line, Dust);
    broken += o.wrong > o.counts.differing;
    tenth += o.wrong > o.counts.differing / 10;
  }
  assert_true(broken <= 10);
  assert_true(tenth > 10);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Shapes), cmocka_unit_test(Cost),   cmocka_unit_test(Surprises),
    cmocka_unit_test(Beside), cmocka_unit_test(NoArea), cmocka_unit_test(Bounds),
};

TEST_MAIN(tests)
