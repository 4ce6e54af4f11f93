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

/* number64: below 2^63. An end, a blank, a parenthesis or a quote must follow. */
bool data_number(struct lex *l, uint64_t *out_number);

/* NIL, or a string (literal8 too), or an atom: *out_is_nil tells the first. Taken beyond the
 * grammar: atoms of any bytes that a word of data_words() may have. */
bool data_nstring(struct lex *l, char *to, struct slice *out_value, bool *out_is_nil);

/* Any one value: atom with what may stick to it (as in BODY[HEADER.FIELDS (A)]), string, or list.
 */
bool data_skip(struct lex *l);

/* The name of an item of STATUS or FETCH: up to a blank, a bracket that opens, a parenthesis, a
 * quote. */
bool data_attribute(struct lex *l, struct slice *out_name);

/* What stands in the brackets behind BODY or BINARY; passes over an origin, "<0>", behind them. */
bool data_section(struct lex *l, struct slice *out_section);

/* --- mailboxes -------------------------------------------------------------------------------- */

/* LIST, LSUB (RFC 9051 section 7.3.1, RFC 5258): (\HasChildren) "/" name (extended). Mailbox
 * names may be atoms, of any bytes as above, quoted or literals. */
struct data_list {
    struct slice attributes; /* for data_word(): \Noselect \NonExistent \Sent \Subscribed ... */
    char separator;          /* 0: NIL, a flat name */
    struct slice name;       /* as on the wire, modified UTF-7; in the text or the room given */
};
bool data_list(struct slice text, char *to, struct data_list *out);

/* STATUS (section 7.3.4): name (MESSAGES 3 ...). What was not told, or was no number of its size,
 * is `told` without its bit. */
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

/* NAMESPACE (RFC 2342): the three parts, each for data_namespace_next(), empty where it is NIL. */
struct data_namespaces {
    struct slice personal, others, shared;
};
bool data_namespaces(struct slice text, struct data_namespaces *out);

/* Takes the next namespace off such a part; the prefix as on the wire. False: there is none any
 * more, or it is none. `to` has room for as many bytes as the part. */
bool data_namespace_next(struct slice *part, char *to, struct slice *out_prefix,
                         char *out_separator);

/* The first personal namespace of NAMESPACE. False also when there is none. */
bool data_namespace(struct slice text, char *to, struct slice *out_prefix, char *out_separator);

/* --- messages --------------------------------------------------------------------------------- */

/* FETCH: the text behind "12 FETCH ", or only its beginning, up to where the literal of a
 * BODY[...] begins (then is_partial; it may also be what stands between two bodies): what has come
 * by then is told, `is_open` tells that the text ends before the closing parenthesis. Of items that
 * come twice the last counts; values that are not of their item's form are not told. */
enum {
    FETCH_UID = 1,
    FETCH_FLAGS = 2,
    FETCH_INTERNALDATE = 4,
    FETCH_SIZE = 8,
    FETCH_MODSEQ = 16,
    FETCH_BODY = 32 /* a BODY[...] or BINARY[...]; `section` is what is in the brackets */
};
struct data_fetch {
    unsigned told;
    uint32_t uid;
    struct slice flags; /* for data_word() */
    struct imap_date date;
    uint64_t size, modseq;
    struct slice section; /* "", "HEADER", "HEADER.FIELDS (SUBJECT)" */
    struct slice body;    /* of a body that is not partial; in the text or the room given */
    bool is_nil;          /* the body */
    bool is_open;
};
bool data_fetch(struct slice text, bool is_partial, char *to, struct data_fetch *out);

/* The same of what comes behind the literal of a body, " UID 5)": up to the closing parenthesis, or
 * to where the literal of the next body begins (then is_open). */
bool data_fetch_rest(struct slice text, char *to, struct data_fetch *out);

/* Where the text of a FETCH response stops right before a literal: whether that is the value of a
 * BODY[...] (or BODY[]<0>, BINARY[...]), so that it is of a message and may have any size. `text`
 * ends with "{123}" CRLF or "~{123}" CRLF. Only its last line is looked at, so that a response of
 * many literals costs no more than its bytes; so a section that has literals itself is none. */
bool data_is_body(struct slice text);

/* ESEARCH (RFC 4731): the set behind ALL, for set_next(), empty when nothing was found; and COUNT,
 * MODSEQ if told (else 0). */
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

/* VANISHED (RFC 7162 section 3.2.10): (EARLIER) set, for set_next(). */
bool data_vanished(struct slice text, bool *out_is_earlier, struct slice *out_set);

/* --- response codes --------------------------------------------------------------------------- */

/* APPENDUID's arguments (RFC 4315): uidvalidity and the set of new UIDs. */
bool data_appenduid(struct slice arguments, uint32_t *out_uidvalidity, struct slice *out_set);

/* "[PERMANENTFLAGS (\Deleted \*)] text": as response_code(), but quotes, brackets and parentheses
 * within the arguments are heeded, as long as they close. */
bool data_code(struct slice text, struct slice *out_code, struct slice *out_arguments);

#endif
