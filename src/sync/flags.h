/* Sets of flags and keywords: each distinct set of a folder is kept once and has a number, since a
 * folder of 300,000 messages has few of them. Pure. Flags are compared without regard to case, as
 * RFC 9051 section 2.3.2 has it of system flags and servers have it of keywords; kept as they came
 * first. */
#ifndef USHER_SYNC_FLAGS_H
#define USHER_SYNC_FLAGS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flags;

enum { FLAGS_NONE = 0 }; /* the number of the empty set */

/* The most bytes that all sets may take, whatever a server says. */
enum { FLAGS_BYTES = 256 << 20 };

/* NULL when memory is out. */
struct flags *flags_new(void);
void flags_free(struct flags **f);

/* The number of the set that a list names ("\Seen $Forwarded", for data_word() of imap/data.h);
 * \Recent is left out, words that come twice count once. -1: memory, or FLAGS_BYTES. */
int64_t flags_number(struct flags *f, struct slice words) MUST_CHECK;

/* A set as text, flags in alphabetical order without regard to case, blanks between; lives until
 * flags_free(). */
struct slice flags_text(const struct flags *f, uint32_t number);

/* What may be stored in a mailbox, by its PERMANENTFLAGS (RFC 9051 section 7.1). `permitted` is the
 * list, empty when the server has told none: then all may be. One that was told and has nothing in
 * it is a blank. With "\*" keywords may be that are not in it. What no command can carry, since the
 * grammar has no such flag ("]" is let pass, as servers do), never may be. *out_lost says whether
 * something had to be left out. -1: as above. */
int64_t flags_permitted(struct flags *f, uint32_t number, struct slice permitted,
                        bool *out_lost) MUST_CHECK;

#endif
