/* Sequence sets (RFC 9051 section 9: sequence-set, uid-set): read and written in pieces, never held
 * as a list. */
#ifndef USHER_IMAP_SET_H
#define USHER_IMAP_SET_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct set_range {
    uint32_t first, last; /* first <= last */
};

/* Takes the next range off *set; "*" is `star` (0: none may stand there). 7:3 is 3:7. False: there
 * is none any more, *set being empty then, or the set is no good, *set being what could not be
 * read. Numbers may lead with zeros. */
bool set_next(struct slice *set, uint32_t star, struct set_range *out_range);

/* How many numbers a set without "*" has, counted double if they come double; 0 if it is empty, no
 * good, or has more than 2^32 - 1. */
uint32_t set_count(struct slice set);

/* Writes numbers, in ascending order for short sets, as ranges. */
struct set_writer {
    struct buf *out;
    uint32_t first, last; /* the range that grows; 0: none */
    size_t n;             /* bytes written */
};

static inline struct set_writer set_writer(struct buf *out)
{
    return (struct set_writer){.out = out};
}

/* `number` is above 0. -1 when the range before does not fit: nothing has changed then. Nothing is
 * written of the last range before set_end(). */
int set_put(struct set_writer *w, uint32_t number) MUST_CHECK;
int set_end(struct set_writer *w) MUST_CHECK;

/* How many bytes the set would have if it were ended now. A number more makes it longer by at most
 * SET_NUMBER. */
enum { SET_NUMBER = 11 };
size_t set_length(const struct set_writer *w);

#endif
