/* Which message of the source is which at the target, when nothing is written down. Pure.
 *
 * A message is known by its header, normalised, since that is what servers change least: line ends
 * count alike; blanks at the end of a line and the way a field is folded do not count; fields that
 * servers and mail stores add or change are left out (Status, X-Status, X-Keywords, X-UID,
 * X-UIDL, X-IMAP, X-IMAPbase, Content-Length, Lines, X-Evolution-Source, X-Mozilla-Status,
 * X-Mozilla-Status2, X-Mozilla-Keys). It is weak if it says too little to tell one message from
 * another: no Message-ID, and not both of a Date and a From.
 *
 * The size that a server tells narrows a choice and decides nothing alone. Where header and size
 * leave a choice, or the sizes differ, bodies decide: two messages are the same if header and text
 * are, line ends apart. Two equal messages stay two: each of one side is paired with one of the
 * other, in order of UIDs.
 */
#ifndef USHER_SYNC_IDENTITY_H
#define USHER_SYNC_IDENTITY_H

#include "base/err.h"
#include "base/hash.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- digests ---------------------------------------------------------------------------------- */

/* Reads a message once, in any pieces. */
struct identity_reader;

enum {
    IDENTITY_HEAD = 1, /* the normalised header; of no cost behind its end */
    IDENTITY_RAW = 2,  /* all bytes as they are */
    IDENTITY_TEXT = 4  /* behind the header, line ends made alike */
};

/* NULL when memory is out. Serves any number of messages, one after the other. */
struct identity_reader *identity_reader_new(void);
void identity_reader_free(struct identity_reader **r);

void identity_begin(struct identity_reader *r, unsigned what);
void identity_add(struct identity_reader *r, struct slice bytes);

struct identity_digest {
    uint64_t size;                  /* bytes that were added */
    struct hash128 head, raw, text; /* zeros where not asked for */
    bool is_weak, has_nul;
};
void identity_end(struct identity_reader *r, struct identity_digest *out);

/* --- pairing ---------------------------------------------------------------------------------- */

struct identity_item {
    uint32_t uid;
    uint32_t match; /* out: UID of the other side; 0: none */
    uint64_t size;  /* as listed */
    struct hash128 head;
    struct hash128 text; /* if has_text */
    bool is_weak;
    bool has_text;
    bool wants_text; /* out: its body has to be looked at before it can be paired */
    bool is_lost;    /* in: its body cannot be had: it is paired with none that needs one */
};

/* Pairs what can be paired. Both in ascending order of UIDs. Returns whether bodies are wanted:
 * then text of those that want one is to be filled in (or is_lost), and the call made again with
 * the same items; at most twice. `is_full`: every pair's bodies are compared. -1: memory. */
int identity_pair(struct identity_item *from, size_t from_n, struct identity_item *to, size_t to_n,
                  bool is_full, struct err *err) MUST_CHECK; /* 1: bodies are wanted, 0: done */

#endif
