/* A connection to one of the two servers, logged in: dial, TLS, the login (imapc/imapc.h), then
 * commands (imapc/pipeline.h), COMPRESS where it is asked for (net/deflate.h), and the account's
 * rate limit.
 *
 * A link belongs to one thread and one loop. There are two ways to use it:
 *
 *   calls   link_call() sends a command and comes back with its answer; meanwhile `on_data` is told
 *           of everything else that comes. For all but bulk.
 *   steps   link_step() hands over one event of the pipeline, or LINK_WAIT; link_flush() sends what
 *           the socket takes; link_wait() waits for up to n links at once. For carrying mail from
 *           one link to another.
 *
 * Time: a server that owes us something (an answer to a command that is out, room for our bytes),
 * and that we wait for, is given params->timeout_ms without a byte in either direction; the link is
 * broken then. When we wait for nothing of it, as in a pause of the rate limit, that does not
 * count. All waiting also ends when the sync stops (sync_is_stopping()): the links that were waited
 * for are in LINK_STOPPED then.
 *
 * A link that has failed stays so until link_close(); link_error() has the words, without the name
 * of the side; they may hold the server's bytes, but no control characters. BYE is a failure, its
 * words being the server's, when it comes while commands are out; it is never handed over. One that
 * comes otherwise is told when the link is used again.
 */
#ifndef USHER_SYNC_LINK_H
#define USHER_SYNC_LINK_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "imapc/pipeline.h"
#include "net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sync;
struct sync_side;
struct link;

/* Why a link is not there; for exit statuses, and for whether to try again. */
enum link_trouble {
    LINK_FINE,
    LINK_STOPPED,   /* the sync is being stopped */
    LINK_UNREACHED, /* dial */
    LINK_TLS,       /* handshake, certificate, STARTTLS not offered */
    LINK_REFUSED,   /* the login: NO that is not one of the next, BAD, or no way to log in */
    LINK_BUSY,    /* up to the login: [UNAVAILABLE], [LIMIT], [INUSE], too many connections: later.
                     Also as BYE */
    LINK_FOREIGN, /* no IMAP, or IMAP that cannot be understood */
    LINK_BROKEN,  /* end, reset, silence, BYE, from the greeting on: it may be well again */
    LINK_OURS,    /* memory, descriptors */
};

/* NULL when memory is out. `side` and `sync` outlive it. */
struct link *link_new(struct loop *loop, struct sync *sync, const struct sync_side *side);

/* As link_close(), and clears *l; harmless when it is NULL. */
void link_free(struct link **l);

/* Connects and logs in; ENABLEs what the side needs (UTF8=ACCEPT where the server takes nothing
 * else; QRESYNC follows with the first call). The link is closed before. -1: link_trouble() tells;
 * it need not be closed. */
int link_open(struct link *l, struct err *err) MUST_CHECK;

/* Says LOGOUT if nothing has failed and no command is out. For link_close() of several links, each
 * of which would wait by itself. Harmless when it is closed. */
void link_leave(struct link *l);

/* As link_leave(), waits for the answer for a second at most, closes. The sync may be stopping.
 * Harmless when it is closed. */
void link_close(struct link *l);

/* For whoever has to come to an end in order, after LINK_STOPPED or before: until it is closed,
 * this link does not mind that the sync stops. */
void link_settle(struct link *l);

/* Gives the server another time than params->timeout_ms from now on; 0: that again. */
void link_set_timeout(struct link *l, uint32_t ms);

struct loop *link_loop(const struct link *l);

/* To another loop, and to the thread that has it; nothing waits for the link meanwhile. */
void link_move(struct link *l, struct loop *loop);

/* Connected, logged in, and in no trouble. */
bool link_is_open(const struct link *l);
enum link_trouble link_trouble(const struct link *l);
const char *link_error(const struct link *l);

/* After link_open(): what the server offers after the login, in any case of letters; all of it. */
bool link_offers(const struct link *l, const char *capability);
struct slice link_capabilities(const struct link *l);

/* How long a literal may be that is sent without waiting: SIZE_MAX with LITERAL+, 4096 with
 * LITERAL- or IMAP4rev2, else 0. */
size_t link_nonsync_max(const struct link *l);

/* Names of mailboxes are UTF-8 on this link, as UTF8=ACCEPT was enabled. */
bool link_has_utf8(const struct link *l);

/* The time from a command to its answer as seen at the login, the least of it. */
uint32_t link_rtt_ms(const struct link *l);

/* Bytes so far, of all connections of this link, as they were on the wire and as they were to us.
 */
struct link_count {
    uint64_t in_wire, out_wire, in, out;
};
struct link_count link_count(const struct link *l);

/* --- calls ------------------------------------------------------------------------------------ */

/* An untagged response, bodies in pieces; after `event` the getters of pipeline.h tell. 0, or -1
 * with err to end the call: the link is broken then, as what is still to come belongs to nobody. */
typedef int link_data(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err);

struct link_answer {
    enum response_kind kind; /* RESPONSE_OK, NO or BAD */
    struct slice code;       /* "APPENDUID"; may be empty */
    struct slice arguments;  /* of the code */
    struct slice text;       /* all behind OK, NO, BAD, with the code. These live until the next
                                call */
};

/* Sends the command (without tag and CRLF; literals in it are announced with "{n}" and CRLF and
 * made non-synchronizing, or waited for, as the server needs), and returns its answer. No command
 * is out before, nor is it after. on_data may be NULL. -1: the link has failed, or on_data has. */
int link_call(struct link *l, struct slice command, link_data *on_data, void *arg,
              struct link_answer *out_answer, struct err *err) MUST_CHECK;

/* The same for several commands at once, pipelined; on_answer, which may be NULL, is told of each
 * with its index. All have been answered when it returns. */
typedef int link_answered(void *arg, size_t i, const struct link_answer *answer, struct err *err);
int link_calls(struct link *l, const struct slice *commands, size_t n, link_data *on_data,
               link_answered *on_answer, void *arg, struct err *err) MUST_CHECK;

/* The same of several links of one loop, at most four, side by side: it takes as long as that which
 * takes longest. Each link is there once, and has its own functions to tell, which may be called in
 * any order among the links. -1: one of them has failed, or one of the functions; err is of the
 * first such. The commands of the others have been answered all the same, unless the sync stops:
 * link_is_open() tells which these are. */
struct link_batch {
    struct link *link;
    const struct slice *commands;
    size_t n;
    link_data *on_data;       /* NULL: as for link_call() */
    link_answered *on_answer; /* NULL: the same */
    void *arg;
};
int link_calls_all(const struct link_batch *batches, size_t n, struct err *err) MUST_CHECK;

/* Whether QRESYNC (RFC 7162 section 3.2) is enabled: a server that offers it is asked for it ahead
 * of the first command of a connection, without a round trip of its own. What is expunged is told
 * by VANISHED then, in place of EXPUNGE, and UID FETCH takes (CHANGEDSINCE n VANISHED). */
bool link_has_qresync(const struct link *l);

/* The server refuses what it has enabled: it is not to be asked again on this connection. */
void link_doubt_qresync(struct link *l);

/* Writes the name of a mailbox, UTF-8, into a command: encoded as the link needs it, within quotes,
 * so that pipeline_put() takes it too. -1: it is no UTF-8, holds CR, LF or NUL, or does not fit; a
 * part of it may be written then. */
int link_put_name(const struct link *l, struct slice name, struct buf *out) MUST_CHECK;

/* Reads one off the wire, without quotes, into UTF-8, behind `out`. False, with `out` as it was: it
 * is neither modified UTF-7 nor UTF-8. */
bool link_read_name(const struct link *l, struct slice wire, struct buf *out) MUST_CHECK;

/* --- steps ------------------------------------------------------------------------------------ */

enum link_event {
    LINK_WAIT,   /* nothing for now: link_wait() */
    LINK_EVENT,  /* link_pipeline() has an event: *out_event */
    LINK_FAILED, /* link_error() */
};

struct pipeline *link_pipeline(struct link *l);

/* The next event. Reads from the socket when the pipeline has none; at most one read a call. What
 * an event points to lives until the next step, also when link_flush() or link_wait() come between,
 * unless those fail. */
enum link_event link_step(struct link *l, enum pipeline_event *out_event);

/* For a link whose turn to be stepped comes later: takes in what has come, at most one read, as far
 * as there is room. What the last event points to is gone then. *out_has_room: link_wait() may be
 * told that it wants in; without room we wait for nothing of it. -1: LINK_FAILED, and what was
 * taken in is lost. */
int link_take_in(struct link *l, bool *out_has_room) MUST_CHECK;

/* Sends what lies in pipeline_out(), as far as the socket takes it; more is sent by link_wait().
 * -1: LINK_FAILED. */
int link_flush(struct link *l) MUST_CHECK;

/* Waits until one of the links can go on: where `wants_in` there is something to be read by
 * link_step(), or something was sent; or until `wait_ms` is over (to a tenth of a second; 0 does
 * not look). To be called when link_step() has said LINK_WAIT, or one does not want to step. 0,
 * also when the time is over; -1: one of them has failed, or the sync stops; link_trouble() tells.
 * All are of one loop, and n is not 0. */
struct link_wanting {
    struct link *link;
    bool wants_in;
    bool is_ahead; /* for link_take_in(): if nothing comes, nobody has waited for it */
};
int link_wait(struct link_wanting *links, size_t n, uint32_t wait_ms) MUST_CHECK;

/* Has COMPRESS begin, if the server offers it; no command may be out. Says by *out_is_on whether
 * it has. -1: the link has failed. */
int link_compress(struct link *l, bool *out_is_on, struct err *err) MUST_CHECK;

#endif
