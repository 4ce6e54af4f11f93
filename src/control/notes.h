/* Notes: what a control that is replaced on purpose tells the next one, as text. The form only;
 * what is in them is control/succession.h's. Pure.
 *
 *     usher notes 1
 *     health backend=mail1 state=down age=61000 ...
 *     batch kind=move pool=main from=mail1 to=mail2 rate=20 ...
 *     user name=ann@example.org
 *
 * The first line says what it is. Each further one is a kind and, behind single blanks, keys with
 * values; a byte that is not printable ASCII, a blank, '%' and '=' are written as %XX in a value.
 * Writer and reader may be of different releases: who reads passes over kinds and keys that it does
 * not know, and does without those that are missing. What another release would misunderstand gets
 * another name, so that the number in the first line need not change.
 */
#ifndef USHER_CONTROL_NOTES_H
#define USHER_CONTROL_NOTES_H

#include "base/buf.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NOTES_LINE = 4096, /* bytes, with its end; a name of IPC_USER_MAX and two titles fit */
    NOTES_PAIRS = 16,  /* keys that count; further ones of a line are passed over */
    /* Of all: more than a million users who wait in batches. */
    NOTES_MAX = 64 * 1024 * 1024
};

/* --- writing ---------------------------------------------------------------------------------- */

struct notes_writer {
    struct buf *to; /* NOTES_MAX is for who makes it to choose */
    char line[NOTES_LINE];
    size_t n; /* of the line; above NOTES_LINE: it has no room */
};

/* Writes the first line. -1: it does not fit. */
int notes_write(struct notes_writer *w, struct buf *to) MUST_CHECK;

/* A line, from begin to end. Kinds and keys are words of lower-case letters. */
void notes_begin(struct notes_writer *w, const char *kind);
void notes_slice(struct notes_writer *w, const char *key, struct slice value);
void notes_str(struct notes_writer *w, const char *key, const char *value);
void notes_uint(struct notes_writer *w, const char *key, uint64_t value);
/* -1: there is no room for the line, and nothing of it is written. */
int notes_end(struct notes_writer *w) MUST_CHECK;

/* --- reading ---------------------------------------------------------------------------------- */

struct notes_pair {
    struct slice key, value;
};

/* Slices are valid until the next line is read. */
struct notes_reader {
    struct slice rest;
    struct slice kind;
    struct notes_pair pairs[NOTES_PAIRS];
    size_t pairs_n;
    char line[NOTES_LINE]; /* values as they were */
};

enum notes_result { NOTES_READ, NOTES_BAD, NOTES_OVER };

/* `text` outlives the reader. False: these are no notes, or not of a form that we know. */
bool notes_read(struct notes_reader *r, struct slice text) MUST_CHECK;

/* Takes the next line. BAD: it is none, and has been passed over; whatever follows can be read. */
enum notes_result notes_next(struct notes_reader *r);

/* Of the line: an empty slice when the key is missing; the first counts. */
struct slice notes_value(const struct notes_reader *r, const char *key);

/* A number of at most `most`; else, or when the key is missing, `otherwise`. */
uint64_t notes_number(const struct notes_reader *r, const char *key, uint64_t most,
                      uint64_t otherwise);

#endif
