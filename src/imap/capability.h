/* Lists of capabilities as they stand on the wire: words with single spaces between (RFC 9051
 * section 7.2.2). Kept as text, since most of them are only passed on. The functions serve any list
 * of words of this form. */
#ifndef USHER_IMAP_CAPABILITY_H
#define USHER_IMAP_CAPABILITY_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/* Whether `word` is one of the list, in any case of letters. */
bool capability_has(struct slice list, struct slice word);

/* Copies `list` without the words that are in `left_out`, in any case of letters, to `to`, which
 * has room for list.n bytes and may be list.p itself. A word goes with one space beside it; all
 * else stays as it is to the byte. Returns how many bytes there are then. */
size_t capability_without(struct slice list, struct slice left_out, char *to);

/* The list of a resp-text that begins with the code CAPABILITY. Says whether it does. */
bool capability_in_text(struct slice text, struct slice *out_list);

#endif
