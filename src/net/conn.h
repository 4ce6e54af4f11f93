/* A connection of somebody who has nothing else to do: a command by itself, which asks one server
 * at a time. Waiting is a call that runs the loop until something has come or the time is over, so
 * that a dialogue reads as it is held. Servers of many connections use net/stream.h on a loop of
 * theirs.
 *
 * There are two ends of time: that of all, told to conn_init(), and that of a step, told to
 * conn_step(); nothing waits beyond either.
 */
#ifndef USHER_NET_CONN_H
#define USHER_NET_CONN_H

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "net/loop.h"
#include "net/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dial_sources;

/* What waiting came to. */
enum heard {
    HEARD_BYTES,
    HEARD_SILENCE, /* nothing in time */
    HEARD_END,     /* the peer has closed */
    HEARD_BROKEN,  /* it has reset the connection, or broken TLS */
};

/* The most that is kept in conn.in; a line may be as long. */
enum { CONN_IN = 16384 };

struct conn {
    struct loop *loop;
    uint64_t end_ms;      /* when all has to be over */
    uint64_t step_end_ms; /* when the present step has to be */
    struct deadline deadline;

    struct stream stream;
    struct addr reached;
    struct buf in;      /* read, and not used yet */
    unsigned events;    /* that have come */
    bool is_dialled;    /* the dial is over */
    enum heard last;    /* what the last waiting came to */
    struct err trouble; /* its words: of BROKEN, of a failed dial or handshake */
    struct err failure; /* of ours: memory, descriptors; then nothing more is done */
    bool has_failed;
};

/* Not open. `loop` is the connection's alone while one of the functions below runs. */
void conn_init(struct conn *c, struct loop *loop, uint32_t total_ms);

/* How much of all the time is left. */
uint32_t conn_left_ms(const struct conn *c);

/* Begins a step, which may last `ms`, but no longer than all may. */
void conn_step(struct conn *c, uint32_t ms);

/* Something of ours has failed, and nothing more is to be done: for want of `what`; by what
 * c->trouble says. */
void conn_fail(struct conn *c, int code, const char *what);
void conn_failed(struct conn *c);

/* Connects to one of `n` addresses of a server, as net/dial.h does. False: `trouble` tells why not,
 * or we have failed. It is not open before, and time is left. */
bool conn_open(struct conn *c, const struct addr *addresses, size_t n, struct dial_sources *sources,
               uint32_t timeout_ms);

/* Harmless when it is not open. */
void conn_close(struct conn *c);

/* Our own end; not set when the kernel does not tell. */
struct addr conn_own(const struct conn *c);

/* Waits for one of the stream's events, for `wait_ms` at most; false: the time is over. */
bool conn_wait(struct conn *c, unsigned events, uint32_t wait_ms);

/* Reads what comes next into `to`, which must have room, waiting for `wait_ms` at most. */
enum heard conn_read(struct conn *c, struct buf *to, uint32_t wait_ms);

/* The next line, with its end; it lies in c->in until conn_used(). False: there is none, and
 * c->last says why; a line without end is BROKEN. */
bool conn_line(struct conn *c, uint32_t wait_ms, struct slice *out_line);
void conn_used(struct conn *c, struct slice line);

/* Writes all of it. False: c->last says why. */
bool conn_write(struct conn *c, struct slice s);

/* A PROXY header of version 1 or 2 that tells the truth about this connection. */
bool conn_write_header(struct conn *c, unsigned version);

/* The handshake, after stream_tls_connect() on c->stream. IO_AGAIN: it came to no end in time,
 * which c->trouble says. IO_FAILED: the stream knows why, conn_broken() takes it down. */
enum io conn_handshake(struct conn *c, uint32_t wait_ms);

/* Says good-bye and has finished sending; then waits for the peer to close, up to `wait_ms`, and
 * passes over what it says. Whether it has closed. */
bool conn_goodbye(struct conn *c, struct slice words, uint32_t wait_ms);

/* For those who use c->stream themselves: sets c->last, and returns it; c->stream is broken, and
 * c->trouble has its words. */
enum heard conn_heard(struct conn *c, enum heard what);
enum heard conn_broken(struct conn *c);

#endif
