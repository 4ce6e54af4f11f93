/* The sums of all counters since usher was first started, over upgrades and back: for the parent.
 *
 * Processes count in memory of their own program's layout (metrics/counters.h). When the program
 * changes and its table of metrics with it, the new processes count in a memory of their own, and
 * what the old ones have counted and still count stays where it is. A tally holds all these
 * memories, of which at most one is `own`, and adds up what they have under one name. A metric that
 * this program does not know is left alone, and is there again for a later one that does.
 *
 *     parent begins            tally_new(), tally_own()
 *     the next program begins  tally_new(), tally_add() of each descriptor that it was left,
 *                              tally_own(): the one of its layout, if a program like it has run
 *                              before, else a new one
 *
 * So a metric never runs backwards, and there is one memory for each table that usher has run with.
 */
#ifndef USHER_METRICS_TALLY_H
#define USHER_METRICS_TALLY_H

#include "base/err.h"
#include "tables/tables.h"

#include <stddef.h>
#include <stdint.h>

struct tally;

/* NULL when memory is out. */
struct tally *tally_new(void);

/* Unmaps, and closes all descriptors. Clears *tally; harmless when it is NULL. */
void tally_free(struct tally **tally);

/* Adds a memory, of whatever table of metrics: mapped for reading alone, and checked before as
 * something that anybody may have written. Takes `fd` over, also on failure: it is closed then. */
int tally_add(struct tally *tally, int fd, struct err *err) MUST_CHECK;

/* The descriptor of the memory in which this program's processes count; it stays the tally's. Made
 * when none was added that has exactly our layout. -1 on failure. */
int tally_own(struct tally *tally, struct err *err) MUST_CHECK;

/* All descriptors, own and others, to be left to the next program: the i-th; -1: there are no more.
 */
int tally_fd(const struct tally *tally, size_t i);

/* The sum over all blocks of all memories. */
uint64_t tally_total(const struct tally *tally, enum metric metric);

#endif
