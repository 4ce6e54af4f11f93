/* Netstrings (D. J. Bernstein, 1997): "5:hello,". Pure. */
#ifndef USHER_DIRECTORY_NETSTRING_H
#define USHER_DIRECTORY_NETSTRING_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#include <stddef.h>

enum netstring {
    NETSTRING_MORE, /* it goes on */
    NETSTRING_OK,
    NETSTRING_BAD /* the bytes never become one */
};

/* The netstring at the start of `in`: its text, which points into `in`, and how many bytes it takes
 * there. A text of more than `max` bytes is BAD as soon as its length tells; `in` is never MORE at
 * max + 22 bytes. A length has no needless zeros before it. The words of the error hold nothing of
 * the text. */
enum netstring netstring_parse(struct slice in, size_t max, struct slice *out_text,
                               size_t *out_used, struct err *err) MUST_CHECK;

/* Appends one of which the parts, one behind the other, are the text. -1 when it does not fit;
 * nothing is appended then. */
int netstring_put(struct buf *out, const struct slice *parts, size_t n) MUST_CHECK;

#endif
