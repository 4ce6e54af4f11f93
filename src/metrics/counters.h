/* Counters in shared memory: one block a process slot, so that counting costs no message and no
 * lock.
 *
 * Only the process in the slot writes its block; a process that replaces it goes on with the same
 * block, so counters never run backwards. Readers (the parent, later the metrics page) may see a
 * value that is a moment old.
 */
#ifndef USHER_METRICS_COUNTERS_H
#define USHER_METRICS_COUNTERS_H

#include "base/err.h"
#include "tables/tables.h"

#include <stddef.h>
#include <stdint.h>

/* Control, lookup, and the workers. */
enum {
    COUNTERS_WORKERS = 64,
    COUNTERS_CONTROL = COUNTERS_WORKERS,
    COUNTERS_LOOKUP,
    COUNTERS_BLOCKS
};

/* A block has cache lines of its own. */
struct counters {
    _Alignas(64) _Atomic uint64_t values[METRIC_COUNT];
};

/* The parent: makes the memory (sealed against resizing) and returns its descriptor, all zero. */
int counters_create(struct err *err) MUST_CHECK;

/* Maps all COUNTERS_BLOCKS blocks; they stay mapped while the process lives. NULL on failure. */
struct counters *counters_map(int fd, struct err *err);

/* Adds in the owner's block. */
void counters_add(struct counters *block, enum metric metric, uint64_t n);

/* The sum over all blocks. */
uint64_t counters_total(const struct counters *blocks, enum metric metric);

#endif
