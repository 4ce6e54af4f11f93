/* A conversation with a server after the login, commands in flight by the dozen: what to send, and
 * what has come. Pure, as imapc.h is, which comes before it.
 *
 *     while ((event = pipeline_step(p)) != PIPELINE_MORE)
 *         ...                          // use it; what it points to lives until the next step
 *     // read into pipeline_in(), send what lies in pipeline_out()
 *
 * Whoever is behind with events calls no step, and then must not read either: bytes may be put into
 * pipeline_in() after PIPELINE_MORE, and at least one has room then; or when what the last event
 * points to is not needed any more, as far as there is room.
 *
 * Of what comes, everything is handed over as whole responses, but for the literals of BODY[...] in
 * FETCH responses (data_is_body()), which have any size: they come in pieces, straight from the
 * buffer that was read into, and no byte of them is looked at. So memory is bounded by the buffers
 * alone. Literals of other data lie in the response where they were sent.
 *
 *     PIPELINE_DATA        an untagged response; of one that had bodies, the part behind the last
 *     PIPELINE_BODY        a FETCH response has come to a body: pipeline_head() is its text up to
 *                          the literal, pipeline_body_n() how long that is
 *     PIPELINE_BYTES       a piece of the body, pipeline_bytes(); never empty
 *     PIPELINE_BODY_END    all of it has come; right behind PIPELINE_BODY if it is empty
 *     PIPELINE_PLUS        "+", for the command that is open or, if none is, for the first that
 *                          waits; "+" that nobody waits for is passed over
 *     PIPELINE_TAGGED      a command is over: pipeline_command_id(), and the response
 *     PIPELINE_FAILED      pipeline_failure(); nothing goes on, and each further step says so again
 *
 * BYE is data: pipeline_is_bye() from then on. A response that has several bodies makes BODY to
 * BODY_END several times, the head being the text since the one before. A body that is a quoted
 * string or NIL is DATA as any other.
 *
 * Commands are put whole (pipeline_put) or open: pipeline_open(), any number of
 * pipeline_put_raw(), then pipeline_close(), which is for APPEND. While one is open no other can be
 * put. If it is answered before its end (PIPELINE_TAGGED), it stays open, as only the caller knows
 * what the server reads next: it goes on to pipeline_close() when the server still takes the bytes
 * of a non-synchronizing literal; pipeline_drop() ends it when the server was to say "+" and takes
 * the next command now.
 *
 * Failures: lines and responses above the limit, bare LF and CR, NUL outside of bodies and what is
 * no response, bodies of 2^63 bytes and more, answers under a tag that is not out.
 */
#ifndef USHER_IMAPC_PIPELINE_H
#define USHER_IMAPC_PIPELINE_H

#include "base/buf.h"
#include "base/slice.h"
#include "imap/response.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pipeline;

/* The most commands that are out at a time. */
enum { PIPELINE_COMMANDS = 256 };

struct pipeline_params {
    size_t max_response; /* bytes of a response without the bodies; literals of names counted */
    size_t max_in;       /* of the buffer to read into; at least max_response */
    size_t max_out;      /* of the buffer to be sent */
};

enum pipeline_event {
    PIPELINE_MORE,
    PIPELINE_DATA,
    PIPELINE_BODY,
    PIPELINE_BYTES,
    PIPELINE_BODY_END,
    PIPELINE_PLUS,
    PIPELINE_TAGGED,
    PIPELINE_FAILED
};

/* NULL when memory is out. */
struct pipeline *pipeline_new(const struct pipeline_params *params);

/* Clears *p; harmless when it is NULL. */
void pipeline_free(struct pipeline **p);

/* What imapc_in() held behind the login's answer goes to the front of it, before the first step. */
struct buf *pipeline_in(struct pipeline *p);
struct buf *pipeline_out(struct pipeline *p);

enum pipeline_event pipeline_step(struct pipeline *p);

/* A whole command without tag and CRLF: "UID FETCH 1:* (FLAGS)"; it may hold non-synchronizing
 * literals. *out_id is above 0 and never comes again. -1: it does not fit into pipeline_out(),
 * PIPELINE_COMMANDS are out, or one is open; nothing is put then. */
int pipeline_put(struct pipeline *p, struct slice command, uint32_t *out_id) MUST_CHECK;

/* The beginning of a command, to be gone on with and closed with CRLF. -1 as above; of the other
 * two: it does not fit, and nothing is put. */
int pipeline_open(struct pipeline *p, struct slice begin, uint32_t *out_id) MUST_CHECK;
int pipeline_put_raw(struct pipeline *p, struct slice bytes) MUST_CHECK;
int pipeline_close(struct pipeline *p) MUST_CHECK;

/* The open command, which must have been answered, ends where it is. */
void pipeline_drop(struct pipeline *p);

/* Until pipeline_close() or pipeline_drop(). */
bool pipeline_is_open(const struct pipeline *p);

/* How many commands have no answer yet, an open one included. */
size_t pipeline_waiting(const struct pipeline *p);

/* After PIPELINE_TAGGED and PLUS: which command it is for. */
uint32_t pipeline_command_id(const struct pipeline *p);

/* After PIPELINE_DATA, TAGGED, PLUS. Of numbered data (12 FETCH, 3 EXISTS) the word is that behind
 * the number, which pipeline_number() tells; else that is 0. Of a DATA behind bodies the kind is
 * RESPONSE_DATA, the word FETCH, the number that of the head, and the text what came behind the
 * last of them: " UID 7)". */
const struct response *pipeline_response(const struct pipeline *p);
uint32_t pipeline_number(const struct pipeline *p);
bool pipeline_is_rest(const struct pipeline *p); /* DATA behind bodies */

/* After PIPELINE_BODY: from "(" on, or from behind the body before, to the announcement of this
 * one, "{123}" CRLF, with it. The number as above. */
struct slice pipeline_head(const struct pipeline *p);
uint64_t pipeline_body_n(const struct pipeline *p);

/* After PIPELINE_BYTES. */
struct slice pipeline_bytes(const struct pipeline *p);

/* Whether the server has said BYE. */
bool pipeline_is_bye(const struct pipeline *p);

/* After PIPELINE_FAILED: words for people; may hold bytes of the server. */
const char *pipeline_failure(const struct pipeline *p);

#endif
