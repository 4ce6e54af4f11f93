/* Counters in shared memory: one block a process slot, so that counting costs no message and no
 * lock.
 *
 * A process that replaces another of its slot goes on with the same block, so counters never run
 * backwards; during a reload or an upgrade the retired worker of a slot and its successor count in
 * one block together. Readers (the parent, later the metrics page) may see a value that is a moment
 * old. All are counters: there is no gauge among the metrics, since what several processes set, and
 * what is left of one that died, has no sum that means anything.
 *
 * The memory begins with a header that names its metrics in order. A program whose table of metrics
 * is another cannot count in it, but can read it: metrics/tally.h.
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

/* Maps all COUNTERS_BLOCKS blocks, but not the header, which a process that was taken over could
 * break for all others; they stay mapped while the process lives. NULL on failure, also when the
 * layout is not exactly ours. */
struct counters *counters_map(int fd, struct err *err);

/* Adds, in the block of the caller's slot. */
void counters_add(struct counters *block, enum metric metric, uint64_t n);

/* The sum over all blocks. */
uint64_t counters_total(const struct counters *blocks, enum metric metric);

#endif
