#include "core/random.h"
#include <math.h>

/*
  CourantRandomBits - Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1,
  2, 3").

  The key is the seed, the counter (purpose, index, epoch, draw); gives 128 bits.
*/
void CourantRandomBits(CourantRandom stream, uint32_t draw, uint32_t bits[4])
{
  uint32_t key[2] = {(uint32_t)stream.seed, (uint32_t)(stream.seed >> 32)};
  uint32_t c[4] = {stream.purpose, stream.index, stream.epoch, draw};

  for (int round = 0; round < 10; round++) {
    const uint64_t even = (uint64_t)0xD2511F53u * c[0], odd = (uint64_t)0xCD9E8D57u * c[2];
    const uint32_t next[4] = {(uint32_t)(odd >> 32) ^ c[1] ^ key[0], (uint32_t)odd,
                              (uint32_t)(even >> 32) ^ c[3] ^ key[1], (uint32_t)even};
    for (int i = 0; i < 4; i++) c[i] = next[i];
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  for (int i = 0; i < 4; i++) bits[i] = c[i];
}

/* 53 random bits as a number in (0, 1): never 0, so that its logarithm exists. */
static double Uniform(uint32_t high, uint32_t low)
{
  const uint64_t bits = ((uint64_t)high << 32 | low) >> 11;
  return ((double)bits + 0.5) * 0x1p-53;
}

/* CourantRandomUniform - n numbers, uniform in (0, 1). */
void CourantRandomUniform(CourantRandom stream, int64_t n, double values[])
{
  for (int64_t i = 0; i < n; i += 2) {
    uint32_t bits[4];
    CourantRandomBits(stream, (uint32_t)(i / 2), bits);
    values[i] = Uniform(bits[0], bits[1]);
    if (i + 1 < n) values[i + 1] = Uniform(bits[2], bits[3]);
  }
}

/* CourantRandomNormal - n standard normal numbers by Box and Muller. */
void CourantRandomNormal(CourantRandom stream, int64_t n, double values[])
{
  for (int64_t i = 0; i < n; i += 2) {
    uint32_t bits[4];
    CourantRandomBits(stream, (uint32_t)(i / 2), bits);
    const double radius = sqrt(-2 * log(Uniform(bits[0], bits[1])));
    const double angle = 2 * M_PI * Uniform(bits[2], bits[3]);
    values[i] = radius * cos(angle);
    if (i + 1 < n) values[i + 1] = radius * sin(angle);
  }
}

/* CourantRandomPermutation - 0 .. n-1 in a random order, by Fisher and Yates. */
void CourantRandomPermutation(CourantRandom stream, PetscInt n, PetscInt order[])
{
  for (PetscInt i = 0; i < n; i++) order[i] = i;
  for (PetscInt i = n - 1; i > 0; i--) {
    uint32_t bits[4];
    CourantRandomBits(stream, (uint32_t)i, bits);
    const PetscInt j = (PetscInt)(((uint64_t)bits[0] << 32 | bits[1]) % (uint64_t)(i + 1)), kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
}
