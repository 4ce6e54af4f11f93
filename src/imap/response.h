/* One response of a server, taken apart (RFC 9051 section 7 and, in section 9, response-done,
 * response-data, continue-req, resp-text).
 *
 * Slices lie in the bytes that were parsed. */
#ifndef USHER_IMAP_RESPONSE_H
#define USHER_IMAP_RESPONSE_H

#include "base/slice.h"

#include <stdbool.h>

enum response_kind {
    RESPONSE_CONTINUE, /* "+ text" */
    RESPONSE_OK,       /* the conditions: tagged, or untagged with an empty tag */
    RESPONSE_NO,
    RESPONSE_BAD,
    RESPONSE_BYE,     /* never tagged */
    RESPONSE_PREAUTH, /* never tagged */
    RESPONSE_DATA,    /* "* WORD text", or "* 12 WORD" with word = "12"; never tagged */
};

struct response {
    enum response_kind kind;
    struct slice tag;  /* empty: untagged or a continuation */
    struct slice word; /* as it was sent: "OK", "CAPABILITY" */
    struct slice text; /* behind the word and one space, without the line's end; may be empty. Holds
                          the literals of data */
};

/* A whole frame (FRAME_RESPONSE) with its end. False when it is none of these, has NUL anywhere, or
 * a CR outside of literals that ends no line. Text may be missing behind a condition, as some
 * servers send it. */
bool response_parse(struct slice frame, struct response *out);

/* What stands in a frame behind a literal that was cut out of it (frame_cut()), up to the next
 * one's announcement or the end, as *out_text: the same without the line's end. False as above. */
bool response_rest(struct slice frame, struct slice *out_text);

/* Cuts "[CODE arguments] text" (resp-text) into its parts. False when no code is there. The code
 * ends at the first "]": no code that is of use before login holds one in its arguments. */
bool response_code(struct slice text, struct slice *out_code, struct slice *out_arguments);

#endif
