#pragma once
/* The inside of a CourantDensity. */
#include "courant.h"

/* What one probe's Lanczos process has left: T, of which the rules follow. */
typedef struct {
  PetscInt steps;             /* less than asked for when the Krylov space is invariant */
  PetscReal *alpha, *beta;    /* [steps]: diagonal of T, and below it; the last beta leads out of the space */
  PetscReal *nodes, *weights; /* [steps]: the Gauss rule */
  PetscReal square;           /* |z|^2 */
} CourantProbe;

struct _CourantDensity {
  MPI_Comm comm;
  Mat A;
  PetscInt n;             /* unknowns */
  PetscInt probes, steps; /* as asked for; steps: n at most */
  PetscBool no_trace;     /* nor a norm */
  PetscReal width;        /* of the kernel; 0: what the steps resolve */
  PetscInt seed;
  PetscReal memory;  /* bytes for the basis; 0: no limit */
  PetscInt solved;   /* probes that there are */
  PetscInt products; /* that these took, with trace and norm */
  CourantProbe *probe;
  PetscReal low, high; /* the outermost nodes */
  PetscReal *work;     /* for rules: nodes, off-diagonal, vectors */
  void (*Progress)(double products, void *ctx);
  void *ctx;
  BV basis; /* [steps+1], while there is work for it */
  CourantEstimate trace, norm;
};

void CourantDensityTell(CourantDensity, PetscInt products);
PetscErrorCode CourantDensityDraw(CourantDensity, uint32_t index, uint32_t epoch, Vec z);
PetscInt CourantDensitySketch(CourantDensity);
PetscErrorCode CourantDensityMeasure(CourantDensity);
