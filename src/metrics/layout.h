/* How the memory of counters is laid out; for counters.c and tally.c alone.
 *
 *     header: sizes, names | nothing | block 0 | block 1 | ...
 *
 * A block is a counter of 64 bits for each metric, in the order of the names, and padding. The
 * names let a program with another table of metrics find those that it knows, so that this layout
 * itself has no reason to change; if it does, LAYOUT_VERSION counts on, and tally.c goes on to read
 * what older versions have left.
 */
#ifndef USHER_METRICS_LAYOUT_H
#define USHER_METRICS_LAYOUT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LAYOUT_VERSION = 1,
    LAYOUT_HEADER = 4096,
    /* Blocks begin at a page of their own, of the largest pages that Linux has, so that those who
     * count can map them without the header. What lies between takes no memory. */
    LAYOUT_BLOCKS = 65536
};

/* What a memory may say of itself, whoever wrote it. */
enum { LAYOUT_BLOCKS_MAX = 4096, LAYOUT_BLOCK_BYTES_MAX = 65536 };

struct layout {
    char magic[8];
    uint32_t version;
    uint32_t metrics_n;
    uint32_t blocks_n;
    uint32_t block_bytes; /* from one block to the next */
    uint64_t reserved;
    char names[LAYOUT_HEADER - 32]; /* of the metrics, each with NUL behind it */
};

_Static_assert(sizeof(struct layout) == LAYOUT_HEADER, "no hole");

/* Of the memory that this program makes. */
void layout_ours(struct layout *out_layout);

/* Reads the header and holds it against the rules above and the size of the memory, which must be
 * sealed against shrinking: who maps what has passed reads nothing behind its end. */
int layout_read(int fd, struct layout *out_layout, struct err *err) MUST_CHECK;

/* Whether two say the same. */
bool layout_equals(const struct layout *a, const struct layout *b);

/* Bytes of all blocks. */
size_t layout_bytes(const struct layout *layout);

/* The number of the metric of this name; -1: none. */
int layout_find(const struct layout *layout, const char *name);

#endif
