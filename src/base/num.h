/* Numbers from text and small arithmetic that peers may not overflow. */
#ifndef USHER_BASE_NUM_H
#define USHER_BASE_NUM_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Decimal digits only, all of `s`, at least one, value at most `max`. Says whether it was one. */
bool num_parse(struct slice s, uint64_t max, uint64_t *out_value);

/* A bijective mixer of 64 bits (the finalizer of splitmix64): spreads counters over hash chains. */
static inline uint64_t num_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9U;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

#endif
