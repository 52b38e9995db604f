#pragma once
/* The result file of a command: its name, the attributes all have, checkpoints and resume. */
#include "core/result.h"
#include "courant.h"
#include "deck/model.h"

typedef struct {
  CourantResult file; /* on rank 0; NULL elsewhere */
  char name[PETSC_MAX_PATH_LEN], partial[PETSC_MAX_PATH_LEN];
  PetscBool quiet, force, resume;
  PetscBool resumed;     /* the content comes from a .partial */
  PetscBool kept;        /* the .partial holds work of this run */
  double started, saved; /* seconds */
  double interval;       /* between checkpoints */
  double wall_before;    /* of the runs that were interrupted */
  PetscMPIInt rank, size;
  int unconverged; /* solves that were left open */
} CourantOutput;

PetscErrorCode CourantOutputOpen(const CourantModel *, const char command[], CourantOutput *);
PetscErrorCode CourantOutputCreate(CourantOutput *, const CourantModel *, const char title[]);
PetscErrorCode CourantOutputRenew(CourantOutput *, const CourantModel *, const char title[]);
PetscBool CourantOutputDue(const CourantOutput *);
PetscErrorCode CourantOutputCheckpoint(CourantOutput *);
PetscErrorCode CourantOutputFinish(CourantOutput *);
PetscErrorCode CourantOutputWriteEstimate(CourantOutput *, const CourantResultEntry *,
                                          const CourantEstimate *);
PetscErrorCode CourantOutputClose(CourantOutput *);
void CourantOutputView(const CourantOutput *);
void CourantOutputSayInterrupted(const CourantOutput *, const char held[]);
