/* The quadtree that says which cells are run, on grids whose classes are known. */
#include "check.h"
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

/* One between corners and centres of blocks of 64. */
static int Hidden(PetscInt y, PetscInt x, PetscInt ny, PetscInt nx)
{
  return Line(y, x, ny, nx) ? 1 : 2 * Disc(y, x, 16, 40, 14);
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
  PetscInt run, drawn, wrong, rounds;
} Outcome;

/* Refines a grid that theory takes for `predicted` and that is `truth`. */
static Outcome Refine(PetscInt ny, PetscInt nx, int depth, Truth predicted, Truth truth)
{
  Outcome outcome = {0};
  CourantRefinement r;
  uint8_t *theory = malloc((size_t)(ny * nx));
  PetscInt *cells = malloc(sizeof(PetscInt) * (size_t)(ny * nx)), n = 1;
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
    outcome.rounds++;
  }
  for (PetscInt i = 0; i < ny * nx; i++)
    if (value[i] == -3) value[i] = r.measured[i];
  CourantRefinementVisit(&r, FillBlock, &(Fill){&r, value});
  for (PetscInt i = 0; i < ny * nx; i++) {
    assert_true(value[i] >= 0); /* every cell is run or interpolated, by one class */
    outcome.wrong += value[i] != truth(i / nx, i % nx, ny, nx);
  }
  outcome.run = r.asked;
  outcome.drawn = r.drawn;
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
      assert_true(20 * o.drawn >= o.run || o.run == shapes[i][0] * shapes[i][1]);
    }
}

/* The cells run grow like the boundary, not like the area. */
static void Cost(void **state)
{
  (void)state;
  const Outcome small = Refine(256, 256, 4, Line, Line), large = Refine(1024, 1024, 6, Line, Line);
  assert_int_equal(small.wrong + large.wrong, 0);
  assert_true(large.run < 5 * small.run); /* 4 with the length, 16 with the area */
  assert_true(large.run < 1024 * 1024 / 20);
}

/* A boundary that theory does not know is followed all the same, and an island as large as a block found. */
static void Surprises(void **state)
{
  (void)state;
  assert_int_equal(Refine(128, 128, 3, Nothing, Line).wrong, 0);
  const Outcome o = Refine(128, 128, 3, Line, Island);
  assert_int_equal(o.wrong, 0);
  assert_true(o.run < 128 * 128 / 4);
  assert_int_equal(Refine(128, 128, 5, Line, Island).wrong, 0);
  assert_int_equal(Refine(128, 128, 6, Line, Hidden).wrong, 0); /* runs at random find it */
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Shapes),
    cmocka_unit_test(Cost),
    cmocka_unit_test(Surprises),
};

TEST_MAIN(tests)
