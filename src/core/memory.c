#include "core/memory.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
  CourantMemoryBudget - Bytes this rank may use for samples, activations and partial sums.

  Collective on comm. text is "2GB", "512MB", "1.5GiB" or NULL for a quarter of the machine; the budget is
  that of a node and is divided by the ranks which share it.
*/
PetscErrorCode CourantMemoryBudget(MPI_Comm comm, const char *text, double *bytes)
{
  MPI_Comm node;
  PetscMPIInt ranks;
  double total = 0.25 * (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);

  PetscFunctionBeginUser;
  if (text) {
    static const struct {
      const char *name;
      double factor;
    } units[] = {{"", 1},     {"B", 1},      {"KB", 1e3},      {"MB", 1e6},
                 {"GB", 1e9}, {"KIB", 1024}, {"MIB", 1048576}, {"GIB", 1073741824}};
    char *end, unit[8] = "";
    double factor = 0;
    total = strtod(text, &end);
    for (size_t i = 0; end[i] && i < sizeof unit - 1; i++) unit[i] = (char)toupper((unsigned char)end[i]);
    for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(units); i++)
      if (!strcmp(unit, units[i].name)) factor = units[i].factor;
    if (end == text || !(total > 0) || factor == 0)
      CourantInputError(comm, "-memory %s: expected an amount such as 2GB, 500MB or 1.5GiB", text);
    total *= factor;
  }
  PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCallMPI(MPI_Comm_size(node, &ranks));
  PetscCallMPI(MPI_Comm_free(&node));
  *bytes = total / ranks;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantAllocate - Zeroed memory on a cache line, with a register's worth of slack behind it.

  pointer is the address of a pointer. Freed by CourantFree(). The slack lets vector code run over the end of
  an array. Large arrays are on large pages where the system has them.
*/
PetscErrorCode CourantAllocate(size_t bytes, void *pointer)
{
  enum { LARGE_PAGE = 1 << 21 };
  const size_t alignment = bytes < LARGE_PAGE ? COURANT_ALIGNMENT : LARGE_PAGE;
  const size_t whole = ((bytes + COURANT_ALIGNMENT) / alignment + 1) * alignment;
  void *memory = whole < bytes ? NULL : aligned_alloc(alignment, whole);

  PetscFunctionBeginUser;
  PetscCheck(memory, PETSC_COMM_SELF, PETSC_ERR_MEM, "cannot allocate %.3g MB", (double)bytes / 1e6);
#ifdef MADV_HUGEPAGE
  if (alignment == LARGE_PAGE) (void)madvise(memory, whole, MADV_HUGEPAGE); /* a wish */
#endif
  memset(memory, 0, whole);
  *(void **)pointer = memory;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CourantFree(void *pointer)
{
  free(*(void **)pointer);
  *(void **)pointer = NULL;
}
