/* What a server tells of mailboxes and messages, taken apart: LIST, LSUB, STATUS, NAMESPACE,
 * ESEARCH, SEARCH, FETCH, and the response codes that come with them.
 *
 * Input is the text of a response behind its word and one space (struct response of
 * imap/response.h), whole, literals in their places. Strings are decoded to room that the caller
 * gives, as many bytes as the text has; what needs no decoding lies in the text.
 *
 * What is not known is passed over as the grammar of RFC 9051 section 9 (and tagged-ext-val of RFC
 * 4466) lets it be passed over, with parentheses of at most DATA_NESTING. False: the text is none
 * of the grammar.
 */
#ifndef USHER_IMAP_DATA_H
#define USHER_IMAP_DATA_H

#include "base/slice.h"
#include "imap/date.h"
#include "imap/lex.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DATA_NESTING = 64 };

/* --- pieces ----------------------------------------------------------------------------------- */

/* A parenthesized list of flags, attributes or other words without strings: moves behind it;
 * *out_words is what stands within, for data_word(). Taken beyond the grammar: any bytes but
 * blanks, parentheses, quotes, CR and LF in a word, and more blanks than one. */
bool data_words(struct lex *l, struct slice *out_words);

/* The next word of such a list; false at its end. */
bool data_word(struct slice *words, struct slice *out_word);

/* Whether a word is there, in any case of letters. */
bool data_has_word(struct slice words, struct slice word);

bool data_number(struct lex *l, uint64_t *out_number);

/* NIL, or a string (literal8 too), or an atom: *out_is_nil tells the first. */
bool data_nstring(struct lex *l, char *to, struct slice *out_value, bool *out_is_nil);

/* Any one value: atom with what may stick to it (as in BODY[HEADER.FIELDS (A)]), string, or list.
 */
bool data_skip(struct lex *l);

/* --- mailboxes -------------------------------------------------------------------------------- */

/* LIST, LSUB (RFC 9051 section 7.3.1, RFC 5258): (\HasChildren) "/" name (extended). Mailbox
 * names may be atoms, quoted or literals. */
struct data_list {
    struct slice attributes; /* for data_word(): \Noselect \NonExistent \Sent \Subscribed ... */
    char separator;          /* 0: NIL, a flat name */
    struct slice name;       /* as on the wire, modified UTF-7; in the room given */
};
bool data_list(struct slice text, char *to, struct data_list *out);

/* STATUS (section 7.3.4): name (MESSAGES 3 ...). What was not told is `is_told` without its bit. */
enum {
    STATUS_MESSAGES = 1,
    STATUS_UIDNEXT = 2,
    STATUS_UIDVALIDITY = 4,
    STATUS_HIGHESTMODSEQ = 8,
    STATUS_SIZE = 16, /* RFC 8438 */
    STATUS_UNSEEN = 32
};
struct data_status {
    struct slice name;
    unsigned told;
    uint32_t messages, uidnext, uidvalidity, unseen;
    uint64_t highestmodseq, size;
};
bool data_status(struct slice text, char *to, struct data_status *out);

/* The first personal namespace of NAMESPACE (RFC 2342). False also when there is none. */
bool data_namespace(struct slice text, char *to, struct slice *out_prefix, char *out_separator);

/* --- messages --------------------------------------------------------------------------------- */

/* FETCH: the text behind "12 FETCH ", or only its beginning, up to where the literal of a
 * BODY[...] begins (then is_partial): what has come by then is told, `is_open` tells that the text
 * ends before the closing parenthesis. */
enum {
    FETCH_UID = 1,
    FETCH_FLAGS = 2,
    FETCH_INTERNALDATE = 4, /* a date that could not be read is not told */
    FETCH_SIZE = 8,
    FETCH_MODSEQ = 16,
    FETCH_BODY = 32 /* a BODY[...] has a string, or NIL; `section` is what is in the brackets */
};
struct data_fetch {
    unsigned told;
    uint32_t uid;
    struct slice flags; /* for data_word() */
    struct imap_date date;
    uint64_t size, modseq;
    struct slice section; /* "", "HEADER", "HEADER.FIELDS (SUBJECT)" */
    struct slice body;    /* of a body that is not partial; in the room given */
    bool is_nil;          /* the body */
    bool is_open;
};
bool data_fetch(struct slice text, bool is_partial, char *to, struct data_fetch *out);

/* Where the text of a FETCH response stops right before a literal: whether that is the value of a
 * BODY[...] (or BODY[]<0>, BINARY[...]), so that it is of a message and may have any size. `text`
 * ends with "{123}" CRLF or "~{123}" CRLF. */
bool data_is_body(struct slice text);

/* ESEARCH (RFC 4731): the set behind ALL, empty when nothing was found; and COUNT, MODSEQ if told
 * (else 0). */
struct data_esearch {
    struct slice tag; /* of the correlator; empty: none */
    bool is_uid;
    struct slice all;
    uint64_t count, modseq;
};
bool data_esearch(struct slice text, char *to, struct data_esearch *out);

/* SEARCH: the next number; false at the end, with *text empty, or at what is none. A (MODSEQ 1) at
 * the end is passed over. */
bool data_search_next(struct slice *text, uint32_t *out_number);

/* VANISHED (RFC 7162 section 3.2.10): (EARLIER) set. */
bool data_vanished(struct slice text, bool *out_is_earlier, struct slice *out_set);

/* --- response codes --------------------------------------------------------------------------- */

/* APPENDUID's arguments (RFC 4315): uidvalidity and the set of new UIDs. */
bool data_appenduid(struct slice arguments, uint32_t *out_uidvalidity, struct slice *out_set);

/* "[PERMANENTFLAGS (\Deleted \*)] text": as response_code(), but quotes and brackets within the
 * arguments are heeded. */
bool data_code(struct slice text, struct slice *out_code, struct slice *out_arguments);

#endif
