#include "core/progress.h"
#include <time.h>
#include <unistd.h>

enum { WIDTH = 28 };

static double Now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void FormatSeconds(double seconds, char text[16])
{
  if (seconds < 99.5)
    snprintf(text, 16, "%.0f s", seconds);
  else if (seconds < 5940)
    snprintf(text, 16, "%.0f min", seconds / 60);
  else
    snprintf(text, 16, "%.1f h", seconds / 3600 < 1e4 ? seconds / 3600 : 1e4);
}

/*
  CourantProgressBegin - Starts to report on `total` units of work, of which `before` are done already.

  Rank 0 of PETSC_COMM_WORLD alone speaks, on stderr, and only of work that lasts longer than two seconds: a
  bar on a terminal, a line every thirty seconds otherwise, nothing when quiet. label is borrowed until
  CourantProgressEnd().
*/
void CourantProgressBegin(CourantProgress *progress, const char *label, double before, double total,
                          PetscBool quiet)
{
  PetscMPIInt rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  *progress =
      (CourantProgress){.label = label, .before = before, .total = total, .started = Now(), .drawn = Now()};
  progress->quiet = quiet || rank ? PETSC_TRUE : PETSC_FALSE;
  progress->terminal = isatty(STDERR_FILENO) ? PETSC_TRUE : PETSC_FALSE;
}

/* CourantProgressUpdate - Tells how much is done by now; draws at most ten times a second. */
void CourantProgressUpdate(CourantProgress *progress, double done)
{
  const double now = Now(), elapsed = now - progress->started;
  const double fraction = progress->total > 0 ? PetscMin(1, done / progress->total) : 1;
  char left[16] = "?";

  progress->done = done;
  if (progress->quiet || elapsed < 2 || now - progress->drawn < (progress->terminal ? 0.1 : 30)) return;
  progress->drawn = now;
  progress->visible = PETSC_TRUE;
  if (done > progress->before)
    FormatSeconds(elapsed * PetscMax(0, progress->total - done) / (done - progress->before), left);
  if (!progress->terminal) {
    fprintf(stderr, "%s: %.0f %%, %s left\n", progress->label, 100 * fraction, left);
    return;
  }
  char bar[WIDTH + 1];
  for (int i = 0; i < WIDTH; i++) bar[i] = i < fraction * WIDTH ? '#' : '.';
  bar[WIDTH] = 0;
  fprintf(stderr, "\r\033[K%s [%s] %3.0f %%  %s left", progress->label, bar, 100 * fraction, left);
}

/* CourantProgressAdvance - Tells a CourantProgress of more units, as a callback. */
void CourantProgressAdvance(double more, void *progress)
{
  CourantProgressUpdate((CourantProgress *)progress, ((CourantProgress *)progress)->done + more);
}

/* CourantProgressEnd - Takes the bar off the terminal. */
void CourantProgressEnd(CourantProgress *progress)
{
  if (progress->visible && progress->terminal) fprintf(stderr, "\r\033[K");
  progress->visible = PETSC_FALSE;
}
