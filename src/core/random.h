#pragma once
/* Counter-based random numbers: any draw can be made on its own, by any thread or rank, with the same result.
 */
#include <petscsys.h>
#include <stdint.h>

/* What a number is drawn for; keeps the streams of one seed apart. */
typedef enum {
  COURANT_RANDOM_WEIGHTS = 1,
  COURANT_RANDOM_IMAGE = 2,
  COURANT_RANDOM_LABEL = 3,
  COURANT_RANDOM_KRYLOV = 4,
  COURANT_RANDOM_PERTURBATION = 5,
  COURANT_RANDOM_TEST = 6,
  COURANT_RANDOM_AUGMENT = 7,
  COURANT_RANDOM_SHUFFLE = 8,
  COURANT_RANDOM_BOOTSTRAP = 9,
  COURANT_RANDOM_START = 10,
  COURANT_RANDOM_PROBE = 11,
  COURANT_RANDOM_BATCH = 12,
  COURANT_RANDOM_REFINEMENT = 13,
  COURANT_RANDOM_KINK = 14,
  COURANT_RANDOM_CERTIFICATE = 15,
} CourantRandomPurpose;

typedef struct {
  uint64_t seed;
  uint32_t purpose, index, epoch; /* draw, the fourth counter word, is an argument */
} CourantRandom;

void CourantRandomBits(CourantRandom stream, uint32_t draw, uint32_t bits[4]);
void CourantRandomUniform(CourantRandom stream, int64_t n, double values[]);
void CourantRandomNormal(CourantRandom stream, int64_t n, double values[]);
void CourantRandomPermutation(CourantRandom stream, PetscInt n, PetscInt order[]);
