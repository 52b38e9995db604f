#include "net/treesum.h"
#include <string.h>

/* Subtrees that n consecutive leaves, wherever they start, can leave unmerged, and one in the making. */
static int Capacity(PetscInt leaves)
{
  int levels = 1;
  while (((int64_t)1 << levels) < leaves) levels++;
  return 2 * levels + 2;
}

/*
  CourantTreeSumCreate - A sum of vectors of `length` for at
  most so many leaves; memory is touched when first used.
*/
PetscErrorCode CourantTreeSumCreate(size_t length, PetscInt leaves, CourantTreeSum *sum)
{
  PetscFunctionBeginUser;
  *sum = (CourantTreeSum){.length = length, .capacity = Capacity(leaves)};
  PetscCall(PetscCalloc1(sum->capacity, &sum->subtrees));
  PetscCall(PetscCalloc1(sum->capacity, &sum->spare));
  for (; sum->nspare < sum->capacity; sum->nspare++)
    PetscCall(PetscMalloc1(length, &sum->spare[sum->nspare]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantTreeSumDestroy(CourantTreeSum *sum)
{
  PetscFunctionBeginUser;
  CourantTreeSumClear(sum);
  for (int i = 0; i < sum->nspare; i++) PetscCall(PetscFree(sum->spare[i]));
  PetscCall(PetscFree(sum->subtrees));
  PetscCall(PetscFree(sum->spare));
  *sum = (CourantTreeSum){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CourantTreeSumClear(CourantTreeSum *sum)
{
  while (sum->n) sum->spare[sum->nspare++] = sum->subtrees[--sum->n].values;
}

/* CourantTreeSumNext - The vector to fill for the next leaf; its content is undefined. */
double *CourantTreeSumNext(CourantTreeSum *sum)
{
  return sum->spare[sum->nspare - 1];
}

static void MergeSiblings(CourantTreeSum *sum)
{
  while (sum->n > 1) {
    CourantSubtree *left = &sum->subtrees[sum->n - 2], *right = &sum->subtrees[sum->n - 1];
    if (left->level != right->level || left->index % 2 || left->index + 1 != right->index) return;
    for (size_t i = 0; i < sum->length; i++) left->values[i] += right->values[i];
    left->level++;
    left->index /= 2;
    sum->spare[sum->nspare++] = right->values;
    sum->n--;
  }
}

/*
  CourantTreeSumAdd - Takes the vector of CourantTreeSumNext()
  as that of a leaf; leaves come in order, without gaps.
*/
void CourantTreeSumAdd(CourantTreeSum *sum, PetscInt leaf)
{
  sum->subtrees[sum->n++] = (CourantSubtree){.level = 0, .index = leaf, .values = sum->spare[--sum->nspare]};
  MergeSiblings(sum);
}

/* CourantTreeSumJoin - Appends the leaves of `right`, which follow those of `left`; right is empty then. */
void CourantTreeSumJoin(CourantTreeSum *left, CourantTreeSum *right)
{
  for (int i = 0; i < right->n; i++) {
    double *own = left->spare[--left->nspare];
    right->spare[right->nspare++] = own; /* swapped for the vector that comes over */
    left->subtrees[left->n++] = right->subtrees[i];
    MergeSiblings(left);
  }
  right->n = 0;
}

static PetscErrorCode Send(CourantTreeSum *sum, PetscMPIInt to, MPI_Comm comm)
{
  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Send(&sum->n, 1, MPI_INT, to, 0, comm));
  for (int i = 0; i < sum->n; i++) {
    PetscInt place[2] = {sum->subtrees[i].level, sum->subtrees[i].index};
    PetscCallMPI(MPI_Send(place, 2, MPIU_INT, to, 0, comm));
    PetscCallMPI(MPI_Send(sum->subtrees[i].values, (PetscMPIInt)sum->length, MPI_DOUBLE, to, 0, comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReceiveAndJoin(CourantTreeSum *sum, PetscMPIInt from, MPI_Comm comm)
{
  int n;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Recv(&n, 1, MPI_INT, from, 0, comm, MPI_STATUS_IGNORE));
  for (int i = 0; i < n; i++) {
    PetscInt place[2];
    PetscCallMPI(MPI_Recv(place, 2, MPIU_INT, from, 0, comm, MPI_STATUS_IGNORE));
    PetscCallMPI(MPI_Recv(CourantTreeSumNext(sum), (PetscMPIInt)sum->length, MPI_DOUBLE, from, 0, comm,
                          MPI_STATUS_IGNORE));
    sum->subtrees[sum->n++] =
        (CourantSubtree){.level = (int)place[0], .index = place[1], .values = sum->spare[--sum->nspare]};
    MergeSiblings(sum);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantTreeSumGather - Brings the sums of all ranks to rank 0; those of the others are empty then.

  Collective. The leaves of rank r follow those of rank r-1.
*/
PetscErrorCode CourantTreeSumGather(CourantTreeSum *sum, MPI_Comm comm)
{
  PetscMPIInt rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (PetscMPIInt step = 1; step < size; step *= 2) {
    if (rank % (2 * step)) {
      PetscCall(Send(sum, rank - step, comm));
      CourantTreeSumClear(sum);
      break;
    }
    if (rank + step < size) PetscCall(ReceiveAndJoin(sum, rank + step, comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantTreeSumFold - The sum of all leaves, which empties it:
  subtrees without a sibling are added from the right.
*/
void CourantTreeSumFold(CourantTreeSum *sum, double *result)
{
  for (int i = sum->n - 2; i >= 0; i--)
    for (size_t k = 0; k < sum->length; k++) sum->subtrees[i].values[k] += sum->subtrees[i + 1].values[k];
  if (sum->n)
    memcpy(result, sum->subtrees[0].values, sum->length * sizeof(double));
  else
    memset(result, 0, sum->length * sizeof(double));
  CourantTreeSumClear(sum);
}
