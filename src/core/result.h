#pragma once
/* The result file: an HDF5 file that lives in memory and reaches the disk whole or not at all. */
#include "core/error.h"

typedef struct _CourantResult *CourantResult;

typedef enum {
  COURANT_RESULT_REAL, /* double, NaN where not computed */
  COURANT_RESULT_INT,  /* int, -1 where not computed */
  COURANT_RESULT_ENUM, /* uint8_t, 255 where not computed */
} CourantResultType;

#define COURANT_UNSET    255 /* an enumeration's fill value */
#define COURANT_RANK_MAX 4

/* What a dataset is; `scales` are the paths of its dimensions' scales, slowest first, NULL after the last. */
typedef struct {
  const char *path;
  CourantResultType type;
  const char *scales[COURANT_RANK_MAX];
  const char *long_name, *units;
  const char *meanings; /* of the values 0, 1, .. of an enumeration, separated by blanks; else NULL */
  const char *formula;  /* NULL: none */
} CourantResultEntry;

PetscErrorCode CourantResultCreate(CourantResult *);
PetscErrorCode CourantResultLoad(const char file[], CourantResult *);
PetscErrorCode CourantResultOpen(const char file[], CourantResult *);
PetscErrorCode CourantResultSave(CourantResult, const char file[]);
PetscErrorCode CourantResultDestroy(CourantResult *);

PetscErrorCode CourantResultSetString(CourantResult, const char object[], const char name[],
                                      const char text[]);
PetscErrorCode CourantResultSetReal(CourantResult, const char object[], const char name[], double);
PetscErrorCode CourantResultSetInt(CourantResult, const char object[], const char name[], int);
PetscErrorCode CourantResultGetString(CourantResult, const char object[], const char name[], char **text);
PetscErrorCode CourantResultGetReal(CourantResult, const char object[], const char name[], double *);

PetscErrorCode CourantResultAddScale(CourantResult, const char path[], int n, const double values[],
                                     const char long_name[], const char units[]);
PetscErrorCode CourantResultAddCount(CourantResult, const char path[], int n, int first,
                                     const char long_name[], const char units[]);
PetscErrorCode CourantResultAddArray(CourantResult, const char path[], int rank, const size_t dims[],
                                     const double values[], const char long_name[]);
PetscErrorCode CourantResultAddStrings(CourantResult, const char path[], const char scale[], int n,
                                       const char *const values[], const char long_name[]);
PetscErrorCode CourantResultDelete(CourantResult, const char path[]);
PetscErrorCode CourantResultAdd(CourantResult, const CourantResultEntry *);
PetscErrorCode CourantResultWrite(CourantResult, const char path[], const void *values);
PetscErrorCode CourantResultAddValues(CourantResult, const CourantResultEntry *, const void *values);
PetscErrorCode CourantResultRead(CourantResult, const char path[], CourantResultType, size_t n, void *values);
PetscErrorCode CourantResultSize(CourantResult, const char path[], int *rank, size_t dims[COURANT_RANK_MAX]);
PetscErrorCode CourantResultVisit(CourantResult, void (*)(const char *path, int rank, const size_t dims[],
                                                          const char *long_name));
PetscBool CourantResultIs(const char file[]);
