/* Bytes between the pipeline and the socket, compressed or not, events, and waiting; see
 * sync/link_parts.h. */
#include "sync/link_parts.h"

#include "net/deflate.h"
#include "sync/state.h"

#include <stdio.h>

/* A stop of the sync is seen as soon as this and two ticks of the loop are over. */
enum { STOP_LOOK_MS = 150 };
enum { READ_MOST = 64 * 1024 /* at a time */ };

/* --- the socket ------------------------------------------------------------------------------- */

void link_on_stream(struct watch *w, unsigned events)
{
    struct link *l = CONTAINER(stream_of(w), struct link, stream);

    l->events |= events;
    loop_stop(l->loop);
}

enum io link_read_wire(struct link *l, char *p, size_t cap, size_t *out_n)
{
    enum io io = stream_read(&l->stream, p, cap, out_n);

    if (io != IO_OK) {
        l->is_dry = true;
        return io;
    }
    /* In clear, less than there was room for is all that there is. */
    l->is_dry = !l->is_tls && *out_n < cap;
    l->silent_ms = 0;
    l->count.in_wire += *out_n;
    return io;
}

enum io link_write_wire(struct link *l, struct slice s, size_t *out_n)
{
    enum io io = stream_write(&l->stream, s, out_n);

    if (io == IO_OK && *out_n > 0) {
        l->silent_ms = 0;
        l->count.out_wire += *out_n;
    }
    return io;
}

int link_broken_by(struct link *l, enum io io)
{
    struct err err;

    if (io == IO_EOF)
        return link_break(l, "the server has closed the connection");
    stream_error(&l->stream, &err);
    return link_break(l, err.text);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* What lies in wire_in, as far as there is room. */
static int inflate_some(struct link *l)
{
    struct buf *in = pipeline_in(l->pipeline);
    size_t before = buf_len(in), used;
    struct err err;

    if (deflate_read(l->deflate, buf_slice(&l->wire_in), &used, in, &err) < 0)
        return link_break(l, err.text);
    buf_take(&l->wire_in, used);
    l->count.in += buf_len(in) - before;
    l->may_inflate = buf_left(in) == 0;
    return 0;
}

/* One read from the socket, unless deflate holds something back. */
static int fill(struct link *l)
{
    struct buf *in = pipeline_in(l->pipeline), *to = l->deflate ? &l->wire_in : in;
    size_t room_n, n;
    char *room;
    enum io io;

    if (buf_left(in) == 0)
        return link_fail(l, LINK_FOREIGN, "a response of the server is too long");
    if (l->may_inflate)
        return inflate_some(l);
    room = buf_room_some(to, READ_MOST, &room_n);
    if (!room)
        return link_fail(l, LINK_OURS, "no memory for reading");
    io = link_read_wire(l, room, room_n < READ_MOST ? room_n : READ_MOST, &n);
    if (io == IO_AGAIN)
        return 0;
    if (io != IO_OK)
        return link_broken_by(l, io);
    buf_added(to, n);
    if (l->deflate)
        return inflate_some(l);
    l->count.in += n;
    return 0;
}

static bool may_read(const struct link *l)
{
    return !l->is_dry || l->may_inflate || stream_has_pending(&l->stream);
}

static void keep_bye(struct link *l)
{
    l->has_said_bye = true;
    link_words(pipeline_response(l->pipeline)->text, l->bye_words);
}

/* An event of the pipeline; MORE: there is none. BYE is taken out;
 * FAILED: the pipeline has, or by BYE the link. */
static enum pipeline_event next_event(struct link *l)
{
    for (;;) {
        enum pipeline_event event = pipeline_step(l->pipeline);

        if (event != PIPELINE_DATA || pipeline_is_rest(l->pipeline) ||
            pipeline_response(l->pipeline)->kind != RESPONSE_BYE)
            return event;
        keep_bye(l);
        if (pipeline_waiting(l->pipeline) > 0 && !l->is_leaving) {
            (void)link_break(l, "");
            return PIPELINE_FAILED;
        }
    }
}

enum link_event link_step(struct link *l, enum pipeline_event *out_event)
{
    enum pipeline_event event;

    if (!link_is_open(l))
        return LINK_FAILED;
    event = next_event(l);
    if (event == PIPELINE_MORE && may_read(l)) {
        if (fill(l) < 0)
            return LINK_FAILED;
        event = next_event(l);
    }
    if (event == PIPELINE_MORE)
        return LINK_WAIT;
    if (event == PIPELINE_FAILED && l->trouble == LINK_FINE)
        (void)link_fail(l, LINK_FOREIGN, "%s", pipeline_failure(l->pipeline));
    if (event == PIPELINE_FAILED)
        return LINK_FAILED;
    *out_event = event;
    return LINK_EVENT;
}

int link_take_in(struct link *l, bool *out_has_room)
{
    if (!link_is_open(l))
        return -1;
    if (buf_left(pipeline_in(l->pipeline)) > 0 && may_read(l) && fill(l) < 0)
        return -1;
    *out_has_room = buf_left(pipeline_in(l->pipeline)) > 0;
    return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool has_unsent(const struct link *l)
{
    return buf_len(pipeline_out(l->pipeline)) > 0 ||
           (l->deflate && (buf_len(&l->wire_out) > 0 || !l->is_flushed));
}

static int squeeze(struct link *l)
{
    struct buf *out = pipeline_out(l->pipeline);
    struct err err;
    size_t used;

    if (buf_len(out) == 0 && l->is_flushed)
        return 0;
    if (deflate_write(l->deflate, buf_slice(out), true, &used, &l->is_flushed, &l->wire_out, &err) <
        0)
        return link_fail(l, LINK_OURS, "%s", err.text);
    l->is_flushed = l->is_flushed && used == buf_len(out);
    l->count.out += used;
    buf_take(out, used);
    return 0;
}

/* The server takes no more. It may have said why before it closed: that lies behind what it has
 * said otherwise. */
static int hear_why(struct link *l)
{
    enum { READS = 64 };
    struct err err;

    stream_error(&l->stream, &err);
    for (int i = 0; i < READS && !l->has_said_bye && l->trouble == LINK_FINE; i++) {
        uint64_t seen = l->count.in_wire;
        enum pipeline_event event;

        do
            event = next_event(l);
        while (event != PIPELINE_MORE && event != PIPELINE_FAILED);
        if (event == PIPELINE_FAILED || l->has_said_bye || fill(l) < 0 ||
            (l->count.in_wire == seen && !l->may_inflate))
            break;
    }
    return link_break(l, err.text);
}

int link_flush(struct link *l)
{
    if (!link_is_open(l))
        return -1;
    while (has_unsent(l)) {
        struct buf *from = l->deflate ? &l->wire_out : pipeline_out(l->pipeline);
        size_t n, all;
        enum io io;

        if (l->deflate && squeeze(l) < 0)
            return -1;
        all = buf_len(from);
        io = link_write_wire(l, buf_slice(from), &n);
        if (io == IO_AGAIN)
            return 0;
        if (io != IO_OK)
            return hear_why(l);
        buf_take(from, n);
        if (!l->deflate)
            l->count.out += n;
        if (n < all)
            return 0;
    }
    return 0;
}

/* --- waiting ---------------------------------------------------------------------------------- */

struct bell {
    struct deadline deadline;
    struct loop *loop;
};

static void on_bell(struct deadline *d)
{
    const struct bell *bell = CONTAINER(d, struct bell, deadline);

    loop_stop(bell->loop);
}

static void turn(struct loop *loop, uint32_t most_ms)
{
    struct bell bell = {.loop = loop};

    deadline_init(&bell.deadline, on_bell);
    deadline_set(loop, &bell.deadline, most_ms < STOP_LOOK_MS ? most_ms : STOP_LOOK_MS);
    loop_run(loop);
    deadline_clear(&bell.deadline);
}

void link_turn(struct link *l)
{
    turn(l->loop, STOP_LOOK_MS);
}

bool link_stops(struct link *l)
{
    if (l->is_settling || l->is_leaving || !sync_is_stopping(l->sync))
        return false;
    (void)link_fail(l, LINK_STOPPED, "stopped");
    return true;
}

/* All are told, so that each says why it waits no more. */
static bool stops(struct link_wanting *links, size_t n)
{
    bool is_any = false;

    for (size_t i = 0; i < n; i++)
        is_any |= link_stops(links[i].link);
    return is_any;
}

static bool has_come(struct link_wanting *links, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (links[i].link->events)
            return true;
    }
    return false;
}

/* Those that only wait for the rest of an open command come last: they may be silent because the
 * other side is. */
static bool is_late(struct link *l, bool is_open)
{
    return l->is_due && l->events == 0 && l->silent_ms >= link_timeout_ms(l) &&
           is_open == (l->pipeline && pipeline_is_open(l->pipeline));
}

/* -1: the server of one of them has been silent for too long. */
static int add_silence(struct link_wanting *links, size_t n, uint64_t ms)
{
    for (size_t i = 0; i < n; i++) {
        if (links[i].link->is_due)
            links[i].link->silent_ms += (uint32_t)ms;
    }
    for (size_t i = 0; i < 2 * n; i++) {
        struct link *l = links[i % n].link;

        if (is_late(l, i >= n)) {
            char words[64];

            snprintf(words, sizeof words, "no answer within %u s",
                     (link_timeout_ms(l) + 999) / 1000);
            return link_break(l, words);
        }
    }
    return 0;
}

static void watch_all(struct link_wanting *links, size_t n, bool is_on)
{
    for (size_t i = 0; i < n; i++) {
        struct link *l = links[i].link;

        if (is_on)
            l->events = 0;
        stream_want(l->loop, &l->stream, is_on ? l->wants : 0);
    }
}

/* Waits for what they want; until there is an event, or `wait_ms` are over. */
static int run(struct link_wanting *links, size_t n, uint32_t wait_ms)
{
    struct loop *loop = links[0].link->loop;
    uint64_t now = loop_now_ms(loop), begun = now;
    int done = 0;

    watch_all(links, n, true);
    while (done == 0 && !has_come(links, n) && now - begun < wait_ms) {
        uint64_t before = now;

        if (stops(links, n)) {
            done = -1;
            break;
        }
        turn(loop, (uint32_t)(wait_ms - (now - begun)));
        now = loop_now_ms(loop);
        done = add_silence(links, n, now - before);
    }
    watch_all(links, n, false);
    return done;
}

int link_await(struct link *l, unsigned events)
{
    struct link_wanting wanting = {.link = l};

    l->wants = events;
    l->is_due = true;
    return run(&wanting, 1, UINT32_MAX);
}

/* What one of them has to do with waiting. *out_can_go_on: it need not wait. */
static int prepare(struct link_wanting *w, bool *out_can_go_on)
{
    struct link *l = w->link;
    uint64_t sent = l->count.out_wire;
    bool is_blocked;

    if (link_flush(l) < 0)
        return -1;
    is_blocked = has_unsent(l);
    *out_can_go_on |= l->count.out_wire > sent || (w->wants_in && may_read(l));
    l->wants = (w->wants_in ? LOOP_READ : 0U) | (is_blocked ? LOOP_WRITE : 0U);
    l->is_due = is_blocked || (w->wants_in && !w->is_ahead && pipeline_waiting(l->pipeline) > 0);
    return 0;
}

/* What has come. Who can read does so before we write: BYE lies there, and then a reset. */
static int use_events(struct link_wanting *w)
{
    struct link *l = w->link;

    if (l->events & LOOP_READ || !(l->wants & LOOP_READ))
        l->is_dry = false;
    if (l->events == LOOP_WRITE)
        return link_flush(l);
    return 0;
}

int link_wait(struct link_wanting *links, size_t n, uint32_t wait_ms)
{
    bool can_go_on = false;
    int done = 0;

    INSIST(n > 0);
    for (size_t i = 0; i < n; i++) {
        if (!link_is_open(links[i].link))
            return -1;
    }
    if (stops(links, n))
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (prepare(&links[i], &can_go_on) < 0)
            return -1;
    }
    if (can_go_on)
        return 0;
    if (run(links, n, wait_ms) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        done |= use_events(&links[i]);
    return done;
}
