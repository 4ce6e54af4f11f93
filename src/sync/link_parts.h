/* The inside of a connection, shared by its files; see sync/link.h.
 *
 *     link.c        its life: dial, TLS, login, the end
 *     link_step.c   bytes in and out, compressed or not, and waiting
 *     link_call.c   commands and their answers
 *     link_words.c  names, and what the server's words mean
 *
 *                  +---------- deflate, once COMPRESS is on ----------+
 *     stream ----> wire_in ----> pipeline_in()    pipeline_out() ----> wire_out ----> stream
 *            ------------------>                                 ------------------->
 */
#ifndef USHER_SYNC_LINK_PARTS_H
#define USHER_SYNC_LINK_PARTS_H

#include "base/buf.h"
#include "imapc/imapc.h"
#include "net/stream.h"
#include "sync/link.h"

struct deflate;
struct dial;

/* The most of a server's words that an error holds. */
enum { LINK_WORDS = 240 };

struct link {
    struct loop *loop;
    struct sync *sync;
    const struct sync_side *side;
    enum link_trouble trouble; /* the first counts, until the link is closed */
    struct err error;

    struct dial *dial;         /* while it goes on */
    struct stream stream;      /* open from then on */
    struct imapc *imapc;       /* until the login is over */
    struct pipeline *pipeline; /* from then on */
    struct buf capabilities;   /* after the login */
    struct buf answer;         /* of the last link_call(): its text */

    struct deflate *deflate; /* NULL: what is on the wire is as we have it */
    struct buf wire_in, wire_out;
    bool may_inflate;   /* the pipeline had no room for all that wire_in and deflate hold */
    bool is_flushed;    /* all that deflate was given lies in wire_out or is sent */
    bool is_tls;        /* has shaken hands */
    bool is_dry;        /* nothing is to be read until the loop says so */
    bool has_utf8;      /* UTF8=ACCEPT */
    bool wants_qresync; /* it is to be enabled with the first call */
    bool has_qresync;
    bool is_settling;  /* goes on though the sync stops */
    bool is_leaving;   /* says good-bye: neither BYE nor a stop of the sync is minded */
    bool has_said_bye; /* the server; bye_words are its words */
    char bye_words[LINK_WORDS];

    /* For waiting. */
    unsigned wants, events; /* of the stream: to be watched; that have come */
    bool is_due;            /* the server owes us something, be it room for our bytes */
    uint32_t silent_ms;     /* how long we have waited for it since the last byte */
    uint32_t timeout_ms;    /* that it may be so; 0: as the parameters have it */

    uint64_t asked_ms; /* when it was asked what it has not answered yet; 0: not */
    uint32_t rtt_ms;   /* UINT32_MAX: not known */
    struct link_count count;
};

/* --- link.c ----------------------------------------------------------------------------------- */

/* Puts the link into trouble, unless it is in one. Always -1. */
int link_fail(struct link *l, enum link_trouble trouble, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The connection is over: with the server's words, if it has said BYE. Always -1. */
int link_break(struct link *l, const char *words);

/* What the link's failure is, for a caller. Always -1. */
int link_tell(const struct link *l, struct err *err);

/* How long the server may be silent. */
uint32_t link_timeout_ms(const struct link *l);

/* The server was asked something; it has answered that. */
void link_asked(struct link *l);
void link_answered_now(struct link *l);

/* --- link_step.c ------------------------------------------------------------------------------ */

/* Of the stream, for link_open(). */
void link_on_stream(struct watch *w, unsigned events);

/* Whether the sync stops; the link is in trouble then. */
bool link_stops(struct link *l);

/* Runs the loop until something has come, at most as long as a stop may go unnoticed. */
void link_turn(struct link *l);

/* Waits for one of `events` of a link that is logging in. */
int link_await(struct link *l, unsigned events) MUST_CHECK;

/* As stream_read() and stream_write(), counted. */
enum io link_read_wire(struct link *l, char *p, size_t cap, size_t *out_n);
enum io link_write_wire(struct link *l, struct slice s, size_t *out_n);

/* The stream has failed or ended, as `io` says. Always -1. */
int link_broken_by(struct link *l, enum io io);

/* --- link_words.c ----------------------------------------------------------------------------- */

/* Whether a server that refuses us with these words means: not now. With the code, if one is there.
 */
bool link_is_busy_word(struct slice said);

/* Cut to LINK_WORDS, without control characters. */
const char *link_words(struct slice said, char out[LINK_WORDS]);

/* Cuts a command where the server has to be waited for. Puts the bytes of the literal at the front
 * of *rest (*literal; 0: none) and what may be sent behind them without waiting into `out`, and
 * takes both away from *rest. 1: the server is to say "+" then, and *literal more bytes follow; 0:
 * it was all. -1: a line's end belongs to no literal, a literal has less bytes than it announces,
 * there is a NUL outside of one, or it does not fit. */
int link_cut(struct slice *rest, size_t *literal, size_t nonsync_max, struct buf *out) MUST_CHECK;

#endif
