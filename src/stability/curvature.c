/*
  The Hessians M_i of the samples' losses in a layer's output, a few samples at a time.

  A chunk of them is one symmetric operator, block-diagonal over its samples, of which SLEPc finds the largest
  eigenvalue. How many samples make a chunk depends on the layer's shape alone, so that the result has the
  same bits for any number of threads and ranks and any memory.
*/
#include "stability/curvature.h"
#include "core/interrupt.h"
#include "net/inner.h"
#include "stability/cross-spectrum.h"
#include "stability/random-start.h"
#include <math.h>

enum {
  CHUNK = 64,         /* samples at most */
  UNKNOWNS = 1 << 19, /* of a chunk, where more than one sample is in it */
  KRYLOV = 32,
  RESTARTS = 200
};

static const PetscReal passed = 0.1;     /* of the spectrum's length: so few steps cannot vouch for less */
static const PetscReal tolerance = 1e-3; /* of a residual, relative to the norm: it is added to the bound */

static size_t SizeOf(CourantProblem problem, PetscInt layer)
{
  return CourantShapeSize(problem->net->layers[layer].out);
}

static PetscInt ChunkOf(CourantProblem problem, PetscInt layer)
{
  const size_t fit = UNKNOWNS / SizeOf(problem, layer);
  return PetscMax(1, PetscMin(PetscMin(CHUNK, problem->data->n), (PetscInt)fit));
}

static PetscInt Chunks(CourantProblem problem, PetscInt layer)
{
  const PetscInt chunk = ChunkOf(problem, layer);
  return (problem->data->n + chunk - 1) / chunk;
}

/* CourantCurvatureUnits - How far one layer takes a progress bar: chunks of a rank. */
PetscInt CourantCurvatureUnits(CourantProblem problem, PetscInt layer)
{
  PetscMPIInt size;

  MPI_Comm_size(problem->comm, &size);
  return (Chunks(problem, layer) + size - 1) / size;
}

/* A chunk's operator. */
typedef struct {
  CourantInner inner;
  PetscReal norm; /* the longest product with a unit vector so far: a lower bound of the norm */
  PetscInt products;
  PetscBool alone; /* no other rank waits while this one looks for signals */
} Chunk;

static PetscErrorCode MatMult_Chunk(Mat A, Vec x, Vec y)
{
  const PetscScalar *from;
  PetscScalar *to;
  PetscReal in, out;
  Chunk *chunk;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(A, &chunk));
  if (chunk->alone) CourantInterruptCheck();
  PetscCall(VecGetArrayRead(x, &from));
  PetscCall(VecGetArrayWrite(y, &to));
  CourantInnerProduct(chunk->inner, from, to);
  PetscCall(VecRestoreArrayWrite(y, &to));
  PetscCall(VecRestoreArrayRead(x, &from));
  PetscCall(VecNorm(x, NORM_2, &in));
  PetscCall(VecNorm(y, NORM_2, &out));
  if (in > 0) chunk->norm = PetscMax(chunk->norm, out / in);
  chunk->products++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AbsoluteTest(EPS eps, PetscScalar re, PetscScalar im, PetscReal residual,
                                   PetscReal *error, void *ctx)
{
  const Chunk *chunk = (const Chunk *)ctx;

  PetscFunctionBeginUser;
  (void)eps, (void)re, (void)im;
  *error = chunk->norm > 0 ? residual / chunk->norm : residual;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rayleigh quotient and residual of a unit vector, and the sample that has most of it. */
static PetscErrorCode Measure(Mat A, Vec x, Vec r, PetscInt samples, CourantCurvature *result)
{
  const PetscScalar *array;
  PetscReal most = -1;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(MatMult(A, x, r));
  PetscCall(VecDot(r, x, &result->value));
  PetscCall(VecAXPY(r, -result->value, x));
  PetscCall(VecNorm(r, NORM_2, &result->residual));
  PetscCall(VecGetSize(x, &n));
  PetscCall(VecGetArrayRead(x, &array));
  for (PetscInt i = 0; i < samples; i++) {
    PetscReal sum = 0;
    for (PetscInt k = i * (n / samples); k < (i + 1) * (n / samples); k++) sum += array[k] * array[k];
    if (sum > most) result->sample = i;
    most = PetscMax(most, sum);
  }
  PetscCall(VecRestoreArrayRead(x, &array));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The largest eigenvalue of an operator of so many samples. */
static PetscErrorCode SolveChunk(Chunk *chunk, PetscInt samples, PetscInt n, uint32_t index,
                                 CourantCurvature *result)
{
  PetscInt found;
  Vec x, r;
  EPS eps;
  Mat A;

  PetscFunctionBeginUser;
  chunk->norm = 0;
  chunk->products = 0;
  PetscCall(MatCreateShell(PETSC_COMM_SELF, n, n, n, n, chunk, &A));
  PetscCall(MatShellSetOperation(A, MATOP_MULT, (void (*)(void))MatMult_Chunk));
  PetscCall(MatCreateVecs(A, &x, &r));
  PetscCall(EPSCreate(PETSC_COMM_SELF, &eps));
  PetscCall(EPSSetProblemType(eps, EPS_HEP));
  PetscCall(EPSSetWhichEigenpairs(eps, EPS_LARGEST_REAL));
  PetscCall(EPSSetOperators(eps, A, NULL));
  PetscCall(EPSSetDimensions(eps, 1, PetscMin(n, KRYLOV), PETSC_DEFAULT));
  PetscCall(EPSSetTolerances(eps, tolerance, RESTARTS));
  PetscCall(EPSSetConvergenceTestFunction(eps, AbsoluteTest, chunk, NULL));
  PetscCall(CourantSetRandomStart(eps, x, COURANT_RANDOM_KRYLOV, index));
  PetscCall(EPSSolve(eps));
  PetscCall(EPSGetConverged(eps, &found));
  *result = (CourantCurvature){.value = NAN, .residual = NAN, .status = COURANT_NOT_CONVERGED};
  if (found > 0) {
    PetscCall(EPSGetEigenvector(eps, 0, x, NULL));
    PetscCall(Measure(A, x, r, samples, result));
    result->status = COURANT_CONVERGED;
  }
  result->missed = CourantMissedProbability(n, PetscMin(n, KRYLOV), passed);
  result->products = chunk->products;
  PetscCall(EPSDestroy(&eps));
  PetscCall(VecDestroy(&x));
  PetscCall(VecDestroy(&r));
  PetscCall(MatDestroy(&A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Takes a chunk's result into that of all: the highest bound counts. */
static void Merge(const CourantCurvature *one, CourantCurvature *all)
{
  if (one->status == COURANT_NOT_CONVERGED) all->status = COURANT_NOT_CONVERGED;
  all->missed = PetscMin(1, all->missed + one->missed);
  all->products = PetscMax(all->products, one->products);
  if (!(one->value + one->residual > all->value + all->residual)) return;
  all->value = one->value;
  all->residual = one->residual;
  all->sample = one->sample;
}

/* The results of all chunks on every rank, merged in their order. */
static PetscErrorCode Collect(CourantProblem problem, PetscInt chunks, PetscInt first, PetscInt count,
                              CourantCurvature *each, CourantCurvature *result)
{
  enum { NUMBERS = sizeof(CourantCurvature) };
  PetscMPIInt size, *counts, *starts;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(problem->comm, &size));
  PetscCall(PetscMalloc2(size, &counts, size, &starts));
  const PetscMPIInt own[2] = {(PetscMPIInt)count * NUMBERS, (PetscMPIInt)first * NUMBERS};
  PetscCallMPI(MPI_Allgather(&own[0], 1, MPI_INT, counts, 1, MPI_INT, problem->comm));
  PetscCallMPI(MPI_Allgather(&own[1], 1, MPI_INT, starts, 1, MPI_INT, problem->comm));
  PetscCallMPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_BYTE, each, counts, starts, MPI_BYTE, problem->comm));
  *result = (CourantCurvature){.value = -INFINITY, .status = COURANT_CONVERGED, .sample = -1};
  for (PetscInt i = 0; i < chunks; i++) Merge(&each[i], result);
  if (result->status != COURANT_CONVERGED) result->value = result->residual = NAN;
  PetscCall(PetscFree2(counts, starts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantCurvatureCompute - max_i lambda_max(M_i), M_i the Hessian of the loss of sample i in the output of
  layer `layer`, before its activation; of a net whose samples know nothing of each other.

  Products by jets from that layer on; theta: [p], on every rank. Collective: ranks share the samples.
*/
PetscErrorCode CourantCurvatureCompute(CourantProblem problem, const double theta[], PetscInt layer,
                                       CourantProgress *progress, CourantCurvature *result)
{
  const PetscInt size = (PetscInt)SizeOf(problem, layer), samples = ChunkOf(problem, layer),
                 chunks = Chunks(problem, layer), rounds = CourantCurvatureUnits(problem, layer);
  const CourantInnerSettings settings = {.samples = samples,
                                         .threads = (int)problem->threads,
                                         .products = PETSC_TRUE,
                                         .slopes = problem->slopes};
  const double done = progress->done;
  CourantCurvature *each;
  PetscMPIInt rank, ranks;
  Chunk chunk = {0};

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(problem->comm, &rank));
  PetscCallMPI(MPI_Comm_size(problem->comm, &ranks));
  const PetscInt first = (PetscInt)((PetscInt64)chunks * rank / ranks),
                 last = (PetscInt)((PetscInt64)chunks * (rank + 1) / ranks);
  chunk.alone = ranks == 1 ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscCalloc1(chunks, &each));
  PetscCall(CourantInnerCreate(problem->net, problem->data, problem->backend, &settings, &chunk.inner));
  PetscCall(CourantLayerCheckMemory(problem, CourantInnerMemory(chunk.inner) +
                                                 8. * (double)samples * (double)size * (KRYLOV + 8)));
  CourantInnerSetWeights(chunk.inner, theta);
  for (PetscInt i = 0; i < rounds; i++) {
    PetscCall(CourantInterruptCheckTogether(problem->comm));
    CourantProgressUpdate(progress, done + (double)i);
    if (first + i >= last) continue;
    const PetscInt start = (first + i) * samples, n = PetscMin(samples, problem->data->n - start);
    const char *wrong = CourantInnerLinearise(chunk.inner, start, n, (int)layer + 1);
    if (wrong) CourantNodeError(problem->data->node, "%s", wrong);
    PetscCall(SolveChunk(&chunk, n, n * size, (uint32_t)(first + i), &each[first + i]));
    each[first + i].sample += start;
  }
  CourantProgressUpdate(progress, done + (double)rounds);
  PetscCall(Collect(problem, chunks, first, last - first, each, result));
  PetscCall(CourantInnerDestroy(&chunk.inner));
  PetscCall(PetscFree(each));
  PetscFunctionReturn(PETSC_SUCCESS);
}
