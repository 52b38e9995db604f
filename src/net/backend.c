#include "net/backend.h"
#include "courant-registry.h"
#include <string.h>

#define DECLARE(bits, isa) extern const CourantBackend CourantBackend_f##bits##_##isa;
COURANT_VARIANTS(DECLARE)
#define ADDRESS(bits, isa) &CourantBackend_f##bits##_##isa,
static const CourantBackend *const backends[] = {
    COURANT_VARIANTS(ADDRESS)}; /* slowest instruction set first */

/* CourantBackendDefault - Double precision, runs anywhere; for descriptions. */
const CourantBackend *CourantBackendDefault(void)
{
  return backends[0];
}

static PetscBool Supported(const char *isa)
{
#if defined(__x86_64__)
  if (!strcmp(isa, "avx2"))
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? PETSC_TRUE : PETSC_FALSE;
  if (!strcmp(isa, "avx512"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")
               ? PETSC_TRUE
               : PETSC_FALSE;
#endif
  return PETSC_TRUE;
}

/* CourantBackendGet - The fastest code for this machine, or the one that isa names; bits is 64 or 32. */
PetscErrorCode CourantBackendGet(MPI_Comm comm, int bits, const char isa[], const CourantBackend **backend)
{
  char list[128] = "";

  PetscFunctionBeginUser;
  *backend = NULL;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(backends); i++) {
    if (backends[i]->bits != bits || !Supported(backends[i]->isa)) continue;
    snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] ? ", " : "", backends[i]->isa);
    if (!isa || !strcmp(isa, backends[i]->isa)) *backend = backends[i];
  }
  if (!*backend) CourantInputError(comm, "-isa %s: this machine and build have %s", isa ? isa : "", list);
  PetscFunctionReturn(PETSC_SUCCESS);
}
