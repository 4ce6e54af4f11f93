/* What a program says about itself: the list of ID (RFC 2971), read and written. */
#ifndef USHER_IMAP_ID_H
#define USHER_IMAP_ID_H

#include "base/buf.h"
#include "base/slice.h"
#include "imap/lex.h"

#include <stdbool.h>
#include <stddef.h>

/* RFC 2971 section 3.3: the most pairs, bytes of a key, bytes of a value. */
enum { ID_PAIRS = 30, ID_KEY = 30, ID_VALUE = 1024 };

struct id_pair {
    struct slice key, value; /* no NUL, CR or LF */
    bool is_nil;             /* the value is NIL, not an empty string */
};

struct id {
    const struct id_pair *pairs;
    size_t n;
};

/* id-params-list: NIL, or pairs of a string and a string or NIL in parentheses; "()" is taken as
 * well. Strings are decoded to `to`, which has room for as many bytes as are left in `l`. Says
 * whether it was there and kept the limits; the cursor has not moved if not. That a key comes twice
 * is not minded. */
bool id_parse(struct lex *l, char *to, struct id_pair pairs[ID_PAIRS], size_t *out_n);

/* Writes the list (NIL when it is empty) as a client does, from its string *at on, up to a literal
 * that the other side has to ask for (imap/write.h): *out_due then is the bytes to be sent when it
 * has, behind which the next call goes on. Keys and values are counted by *at alike, from 0. When
 * nothing is due the list is whole. -1 when it does not fit. */
int id_write(struct buf *out, struct id id, size_t nonsync_max, size_t *at,
             struct slice *out_due) MUST_CHECK;

/* Whether id_write() would have to wait anywhere. */
bool id_waits(struct id id, size_t nonsync_max);

#endif
