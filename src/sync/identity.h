/* Which message of the source is which at the target, when nothing is written down. Pure.
 *
 * A message is known by its header, normalised, since that is what servers change least, and by its
 * text, line ends apart. Digests are those of base/hash.h: the first 16 bytes of SHA-256.
 *
 * The normalised header. A line ends with LF; a CR right before it belongs to the line's end, any
 * other CR is a blank, as space and tab are.
 *
 *   1. The header ends behind the first line that is empty, or with the message. What is behind it
 *      is the text.
 *   2. A line that begins with space or tab goes on the field of the line before; any other begins
 *      a field. (The first line always does.)
 *   3. A field's name is all before its first colon, its value all behind that; without a colon
 *      all is name. Letters A to Z of the name are made small.
 *   4. Blanks and line ends at the beginning and end of name and value do not count; wherever else
 *      they stand, any number of them in a row counts as one space. So it does not count how a
 *      field is folded.
 *   5. Left out are fields of nothing but blanks, and fields that servers and mail stores add or
 *      change: status, x-status, x-keywords, x-uid, x-uidl, x-imap, x-imapbase, content-length,
 *      lines, x-evolution-source, x-mozilla-status, x-mozilla-status2, x-mozilla-keys. So is the
 *      first field if it is the line of an mbox: it begins with "From" or ">From" in these very
 *      letters, blanks, and something else than a colon.
 *   6. What is hashed is of each field, in their order: name, colon if there is one, value, LF.
 *
 * The text is hashed as it is, but for each LF without a CR before it (in the text), to which one
 * is added.
 *
 * A header is weak if it says too little to tell one message from another: no Message-ID, and not
 * both of a Date and a From, empty ones counting as none.
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

/* Reads a message once, in any pieces, and keeps nothing of it, however long its lines are. */
struct identity_reader;

enum {
    IDENTITY_HEAD = 1, /* the normalised header; of no cost behind its end */
    IDENTITY_RAW = 2,  /* all bytes as they are */
    IDENTITY_TEXT = 4  /* behind the header, line ends made alike */
};

/* NULL when memory is out. Serves any number of messages, one after the other. */
struct identity_reader *identity_reader_new(void);

/* Clears *r; harmless when it is NULL. */
void identity_reader_free(struct identity_reader **r);

/* A new message, also when the one before was not ended. */
void identity_begin(struct identity_reader *r, unsigned what);
void identity_add(struct identity_reader *r, struct slice bytes);

struct identity_digest {
    uint64_t size;                  /* bytes that were added */
    struct hash128 head, raw, text; /* zeros where not asked for */
    bool is_weak;                   /* the header; false where it was not asked for */
    bool has_nul;                   /* in any of the bytes */
};
void identity_end(struct identity_reader *r, struct identity_digest *out);

/* --- pairing ---------------------------------------------------------------------------------- */

/* Messages are paired only if their headers are equal. Of those with one header:
 *
 *   1. If there is one message of a size on each side, these are a pair: header and size leave no
 *      choice. Not if the header is weak, with `is_full`, where both texts are known and differ, or
 *      where both dates tell and differ: a draft that was saved again has the header of the one
 *      before, and often its size.
 *   2. If then messages are left on both sides, sizes have not told: all of them want their bodies,
 *      and are pairs if texts are equal.
 *
 * Equal messages stay as many as they are: each is paired once. Of these first those are paired
 * that are alike in both `looks`, then those alike in the first, then what is left; each time in
 * order of UIDs. What comes of it depends on what the items say and on nothing else. */
struct identity_item {
    uint32_t uid;
    uint32_t match; /* out: UID of the other side; 0: none */
    uint64_t size;  /* as listed */
    struct hash128 head;
    struct hash128 text; /* if has_text */
    uint64_t looks[2];   /* see above: its date, its flags */
    bool is_weak;
    bool is_dated; /* looks[0] tells of the message, not only of the way that it came */
    bool has_text;
    bool wants_text; /* out: its body has to be looked at before it can be paired */
    bool is_lost;    /* in: its body cannot be had: it is paired with none that needs one */
};

/* 0: done. 1: bodies are wanted: the texts of those that want one are to be filled in (or is_lost
 * set) and the call made again with the same items; it wants no more then. -1: memory; nothing is
 * changed. UIDs are above 0, each once; their order does not matter. */
int identity_pair(struct identity_item *from, size_t from_n, struct identity_item *to, size_t to_n,
                  bool is_full, struct err *err) MUST_CHECK;

#endif
