/* Regular expressions: PCRE2, seen by regex.c alone.
 *
 * An expression is UTF-8 when it has other than ASCII in it; then a subject that is not UTF-8 does
 * not match. Else it and its subject are bytes, so that . is one byte and names of any encoding
 * match. `$` is the very end of the subject. Whoever chooses the subject may be hostile: depth and
 * memory of a match are bounded, and so are the steps of all expressions together that a subject is
 * held against, to some ten milliseconds. There is no JIT, since processes may not map memory
 * executable.
 */
#ifndef USHER_BASE_REGEX_H
#define USHER_BASE_REGEX_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>

struct regex;

/* What a match works in, and its bounds: up to two megabytes, once for any number of expressions.
 */
struct regex_space;

enum regex_result {
    REGEX_NO,
    REGEX_YES,
    REGEX_FAILED /* a bound was reached, or memory is out: nobody knows */
};

/* NULL when memory is out. */
struct regex_space *regex_space_new(void);

/* Clears *s; harmless when it is NULL. */
void regex_space_free(struct regex_space **s);

/* `has_no_case`: letters of either case are the same, in ASCII only those of ASCII. The error says
 * what is wrong and at which byte. */
int regex_new(struct slice pattern, bool has_no_case, struct regex **out_regex,
              struct err *err) MUST_CHECK;

/* Clears *r; harmless when it is NULL. */
void regex_free(struct regex **r);

/* Another subject: it has all its steps before it. So has the first of a new space. */
void regex_space_begin(struct regex_space *s);

enum regex_result regex_match(const struct regex *r, struct regex_space *space,
                              struct slice subject);

/* --- where it matches, for those who replace -------------------------------------------------- */

/* The most pairs of parentheses that can be asked for. */
enum { REGEX_GROUPS = 99 };

enum {
    REGEX_NO_CASE = 1,    /* as `has_no_case` */
    REGEX_EXTENDED = 2,   /* Perl's x: blanks and comments */
    REGEX_LINES = 4,      /* Perl's m: ^ and $ at line ends */
    REGEX_DOT_ALL = 8,    /* Perl's s: . is a line end too */
    REGEX_CHARACTERS = 16 /* UTF-8, also when the expression is ASCII */
};

/* As regex_new(), with any of these. */
int regex_new_with(struct slice pattern, unsigned how, struct regex **out_regex,
                   struct err *err) MUST_CHECK;

/* How many pairs of parentheses the expression has. */
size_t regex_groups(const struct regex *r);

/* The first match that begins at byte `from` or later, which is one of the subject or its end, and
 * between characters. `is_behind_empty`: none that is empty and right at `from`, as the one before
 * was. */
enum regex_result regex_search(const struct regex *r, struct regex_space *space,
                               struct slice subject, size_t from, bool is_behind_empty);

struct regex_span {
    size_t from, to; /* bytes of the subject; to is the one behind */
};

/* After a search that said yes: what pair `i` of parentheses has matched, 0 being the whole. False:
 * it had no part in the match. */
bool regex_group(const struct regex_space *space, size_t i, struct regex_span *out_span);

#endif
