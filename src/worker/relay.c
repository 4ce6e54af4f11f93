/* The relay of worker/relay.h. Who may talk to whom, deadlines and the end of a session are left to
 * session.c. */
#include "worker/relay.h"

#include <stdlib.h>
#include <string.h>

/* Reads of one direction in one turn of the loop. */
enum { READS_A_TURN = 8 };

struct relay_held {
    size_t at, n;
    char bytes[];
};

/* Keeps bytes behind those that are held. */
static int hold(struct relay *r, struct slice bytes)
{
    size_t old = r->held ? r->held->n : 0;
    struct relay_held *held;

    if (bytes.n == 0)
        return 0;
    held = realloc(r->held, sizeof *held + old + bytes.n);
    if (!held)
        return -1;
    memcpy(held->bytes + old, bytes.p, bytes.n);
    held->at = old ? held->at : 0;
    held->n = old + bytes.n;
    r->held = held;
    return 0;
}

int relay_preload(struct relay *r, struct slice own, struct slice senders)
{
    r->own = (uint32_t)own.n;
    return hold(r, own) < 0 || hold(r, senders) < 0 ? -1 : 0;
}

void relay_done(struct relay *r)
{
    free(r->held);
    r->held = NULL;
}

unsigned relay_wants_from(const struct relay *r)
{
    return r->held || r->has_eof || r->is_finished ? 0 : LOOP_READ;
}

unsigned relay_wants_to(const struct relay *r)
{
    return r->held ? LOOP_WRITE : 0;
}

/* Counts what went, the sender's part of it, and lets it be followed. */
static void account(struct relay *r, struct slice gone, struct follow *writes)
{
    size_t own = gone.n < r->own ? gone.n : r->own;

    r->own -= (uint32_t)own;
    r->bytes += gone.n - own;
    if (writes)
        follow_server(writes, slice_sub(gone, own, gone.n));
}

/* Writes until all is gone or `to` takes no more. *out_n: how much went. */
static enum io write_all(struct relay *r, struct stream *to, struct slice bytes,
                         struct follow *writes, size_t *out_n)
{
    size_t done = 0;
    enum io io = IO_OK;

    while (done < bytes.n) {
        size_t n;

        io = stream_write(to, slice_sub(bytes, done, bytes.n), &n);
        if (io != IO_OK)
            break;
        done += n;
        /* In clear, a short write says that the socket is full: asking again would only cost a
         * call. */
        if (done < bytes.n && !to->tls) {
            io = IO_AGAIN;
            break;
        }
    }
    account(r, slice_sub(bytes, 0, done), writes);
    *out_n = done;
    return io;
}

static enum relay_outcome write_held(struct relay *r, struct stream *to, struct follow *writes)
{
    size_t n;
    enum io io = write_all(r, to, slice_of(r->held->bytes + r->held->at, r->held->n - r->held->at),
                           writes, &n);

    r->held->at += n;
    if (r->held->at == r->held->n)
        relay_done(r);
    return io == IO_OK || io == IO_AGAIN ? RELAY_GOES_ON : RELAY_TO_BROKEN;
}

static enum relay_outcome write_fresh(struct relay *r, struct stream *to, struct slice bytes,
                                      struct follow *writes)
{
    size_t n;
    enum io io = write_all(r, to, bytes, writes, &n);

    if (io != IO_OK && io != IO_AGAIN)
        return RELAY_TO_BROKEN;
    return hold(r, slice_sub(bytes, n, bytes.n)) < 0 ? RELAY_NO_MEMORY : RELAY_GOES_ON;
}

/* One read and what can be written of it. *out_more: another read may find something. */
static enum relay_outcome pump_once(struct relay *r, struct stream *from, struct stream *to,
                                    char *scratch, struct follow *reads, struct follow *writes,
                                    bool *out_more)
{
    size_t n = 0;
    enum io io = stream_read(from, scratch, RELAY_SCRATCH, &n);

    *out_more = false;
    switch (io) {
    case IO_AGAIN:
        return RELAY_GOES_ON;
    case IO_FAILED:
        return RELAY_FROM_BROKEN;
    case IO_EOF:
        r->has_eof = true;
        return RELAY_GOES_ON;
    case IO_OK:
        break;
    }
    /* Less than there was room for: nothing more is there, as a rule; if it is, the loop calls
     * again. */
    *out_more = n == RELAY_SCRATCH || stream_has_pending(from);
    if (reads && follow_client(reads, slice_of(scratch, n)) < n)
        return RELAY_STOPPED;
    return write_fresh(r, to, slice_of(scratch, n), writes);
}

enum relay_outcome relay_pump(struct relay *r, struct stream *from, struct stream *to,
                              char *scratch, struct follow *reads, struct follow *writes)
{
    enum relay_outcome outcome = RELAY_GOES_ON;
    bool has_more = true;

    if (r->held)
        outcome = write_held(r, to, writes);
    for (int i = 0; i < READS_A_TURN && has_more && outcome == RELAY_GOES_ON && relay_wants_from(r);
         i++)
        outcome = pump_once(r, from, to, scratch, reads, writes, &has_more);
    r->is_cut_short =
        outcome == RELAY_GOES_ON && has_more && relay_wants_from(r) && stream_has_pending(from);
    if (outcome == RELAY_GOES_ON && r->has_eof && !r->held && !r->is_finished) {
        r->is_finished = true;
        stream_finish(to);
    }
    return outcome;
}
