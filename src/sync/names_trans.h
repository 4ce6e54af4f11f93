/* One --regextrans2: a substitution as Perl writes it, s/A/B/flags, on a name in UTF-8. Pure, but
 * for base/regex.h.
 *
 *     delimiters   any printable ASCII but letters, digits, "_", the backslash and '; {}, (), [],
 *                  <> in pairs, which may nest, and then B may have delimiters of its own
 *     A            PCRE2, which is Perl's language but for code and variables in it; of characters,
 *                  not of bytes
 *     B            $1 ${1} \1 to 99, $& ${&}; \U \L \E, \u \l, which know the letters of ASCII;
 *                  a backslash before any other punctuation is that punctuation. A group that took
 *                  no part in the match is empty, as one that A does not have is with Perl
 *     flags        g i m s x
 *
 * All else of Perl is refused: code (e), variables, escapes of control characters, tr and y.
 */
#ifndef USHER_SYNC_NAMES_TRANS_H
#define USHER_SYNC_NAMES_TRANS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/regex.h"
#include "base/slice.h"

struct names_trans;

/* The error says what is wrong in it, without the substitution itself. */
int names_trans_new(struct slice text, struct names_trans **out_trans, struct err *err) MUST_CHECK;
void names_trans_free(struct names_trans **t);

enum names_trans_result {
    NAMES_TRANS_OK,
    NAMES_TRANS_LONG,   /* it does not fit into `out` */
    NAMES_TRANS_FAILED, /* the expression came to a bound (regex.h), which counts what was begun
                           with regex_space_begin() */
    NAMES_TRANS_MEMORY
};

/* Puts the name, with whatever matched replaced, behind `out`; in parts, unless OK. */
enum names_trans_result names_trans_apply(const struct names_trans *t, struct regex_space *space,
                                          struct slice name, struct buf *out) MUST_CHECK;

#endif
