/* One connection at a time, within its time; see net/conn.h. */
#include "net/conn.h"

#include "net/dial.h"
#include "net/proxy.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum { READ_MOST = 4096 /* at a time */ };

/* ---- time ---- */

static uint32_t until(const struct conn *c, uint64_t at_ms)
{
    uint64_t now = loop_now_ms(c->loop);

    return at_ms > now ? (uint32_t)(at_ms - now) : 0;
}

void conn_init(struct conn *c, struct loop *loop, uint32_t total_ms)
{
    *c = (struct conn){.loop = loop, .end_ms = loop_now_ms(loop) + total_ms};
    c->step_end_ms = c->end_ms;
}

uint32_t conn_left_ms(const struct conn *c)
{
    return until(c, c->end_ms);
}

void conn_step(struct conn *c, uint32_t ms)
{
    uint64_t end = loop_now_ms(c->loop) + ms;

    c->step_end_ms = end < c->end_ms ? end : c->end_ms;
}

static void on_deadline(struct deadline *d)
{
    loop_stop(CONTAINER(d, struct conn, deadline)->loop);
}

static void on_stream(struct watch *w, unsigned events)
{
    struct conn *c = CONTAINER(stream_of(w), struct conn, stream);

    c->events |= events;
    loop_stop(c->loop);
}

bool conn_wait(struct conn *c, unsigned events, uint32_t wait_ms)
{
    uint32_t left = until(c, c->step_end_ms);

    if (left < wait_ms)
        wait_ms = left;
    if (wait_ms == 0)
        return false;
    c->events = 0;
    stream_want(c->loop, &c->stream, events);
    deadline_init(&c->deadline, on_deadline);
    deadline_set(c->loop, &c->deadline, wait_ms);
    loop_run(c->loop);
    deadline_clear(&c->deadline);
    stream_want(c->loop, &c->stream, 0);
    return c->events != 0;
}

/* ---- connecting ---- */

static void on_dialled(void *arg, int fd, const struct addr *reached, const struct err *err)
{
    struct conn *c = arg;

    c->is_dialled = true;
    if (fd >= 0) {
        stream_init(&c->stream, fd, on_stream);
        c->reached = *reached;
    } else {
        c->trouble = *err;
    }
    loop_stop(c->loop);
}

void conn_failed(struct conn *c)
{
    c->has_failed = true;
    c->failure = c->trouble;
}

void conn_fail(struct conn *c, int code, const char *what)
{
    (void)err_sys(&c->trouble, code, "%s", what);
    conn_failed(c);
}

bool conn_open(struct conn *c, const struct addr *addresses, size_t n, struct dial_sources *sources,
               uint32_t timeout_ms)
{
    uint32_t left = conn_left_ms(c);
    struct dial *dial;

    INSIST(!c->stream.is_open && left > 0);
    buf_init(&c->in, CONN_IN, false);
    c->is_dialled = false;
    dial = dial_start(c->loop, addresses, n, sources, left < timeout_ms ? left : timeout_ms,
                      on_dialled, c);
    if (!dial) {
        conn_fail(c, ENOMEM, "connecting");
        return false;
    }
    loop_run(c->loop);
    INSIST(c->is_dialled);
    if (!c->stream.is_open && dial_is_ours(c->trouble.code))
        conn_failed(c);
    return c->stream.is_open;
}

void conn_close(struct conn *c)
{
    stream_close(c->loop, &c->stream);
    buf_release(&c->in);
}

struct addr conn_own(const struct conn *c)
{
    struct sockaddr_storage ss = {0};
    socklen_t n = sizeof ss;

    if (getsockname(stream_fd(&c->stream), (struct sockaddr *)&ss, &n) != 0)
        return (struct addr){0};
    return addr_from_sockaddr(&ss);
}

/* ---- reading ---- */

enum heard conn_heard(struct conn *c, enum heard what)
{
    c->last = what;
    return what;
}

enum heard conn_broken(struct conn *c)
{
    stream_error(&c->stream, &c->trouble);
    return conn_heard(c, HEARD_BROKEN);
}

enum heard conn_read(struct conn *c, struct buf *to, uint32_t wait_ms)
{
    size_t left = buf_left(to), n;
    char *room = buf_room(to, left < READ_MOST ? left : READ_MOST);

    INSIST(left > 0);
    if (!room) {
        conn_fail(c, ENOMEM, "reading");
        return conn_heard(c, HEARD_BROKEN);
    }
    for (;;) {
        switch (stream_read(&c->stream, room, left < READ_MOST ? left : READ_MOST, &n)) {
        case IO_OK:
            buf_added(to, n);
            return conn_heard(c, HEARD_BYTES);
        case IO_EOF:
            return conn_heard(c, HEARD_END);
        case IO_FAILED:
            return conn_broken(c);
        case IO_AGAIN:
            if (!conn_wait(c, LOOP_READ, wait_ms))
                return conn_heard(c, HEARD_SILENCE);
        }
    }
}

bool conn_line(struct conn *c, uint32_t wait_ms, struct slice *out_line)
{
    for (;;) {
        struct slice s = buf_slice(&c->in);
        const char *end = s.n > 0 ? memchr(s.p, '\n', s.n) : NULL;

        if (end) {
            *out_line = slice_sub(s, 0, (size_t)(end + 1 - s.p));
            return true;
        }
        if (buf_left(&c->in) == 0) {
            (void)err_set(&c->trouble, 0, "a line has no end");
            (void)conn_heard(c, HEARD_BROKEN);
            return false;
        }
        if (conn_read(c, &c->in, wait_ms) != HEARD_BYTES)
            return false;
    }
}

void conn_used(struct conn *c, struct slice line)
{
    buf_take(&c->in, line.n);
}

/* ---- writing ---- */

bool conn_write(struct conn *c, struct slice s)
{
    while (s.n > 0) {
        size_t n;

        switch (stream_write(&c->stream, s, &n)) {
        case IO_OK:
            s = slice_sub(s, n, s.n);
            break;
        case IO_EOF:
        case IO_FAILED:
            (void)conn_broken(c);
            return false;
        case IO_AGAIN:
            if (!conn_wait(c, LOOP_WRITE, UINT32_MAX)) {
                (void)conn_heard(c, HEARD_SILENCE);
                return false;
            }
        }
    }
    return true;
}

bool conn_write_header(struct conn *c, unsigned version)
{
    const struct proxy_info info = {.source = conn_own(c), .destination = c->reached};
    struct buf out;
    bool fits, is_sent;

    buf_init(&out, PROXY_MOST, false);
    fits = version == 1 ? proxy_write_v1(&out, &info.source, &info.destination) == 0
                        : proxy_write_v2(&out, &info) == 0;
    if (!fits)
        conn_fail(c, ENOMEM, "a PROXY header");
    is_sent = fits && conn_write(c, buf_slice(&out));
    buf_release(&out);
    return is_sent;
}

/* ---- TLS ---- */

enum io conn_handshake(struct conn *c, uint32_t wait_ms)
{
    for (;;) {
        enum io io = stream_handshake(&c->stream);

        if (io != IO_AGAIN)
            return io;
        if (!conn_wait(c, LOOP_READ, wait_ms)) {
            (void)err_set(&c->trouble, 0, "the TLS handshake came to no end in time");
            (void)conn_heard(c, HEARD_SILENCE);
            return IO_AGAIN;
        }
    }
}

/* ---- the end ---- */

bool conn_goodbye(struct conn *c, struct slice words, uint32_t wait_ms)
{
    conn_step(c, wait_ms);
    if (!conn_write(c, words))
        return false;
    stream_finish(&c->stream);
    for (size_t seen = 0; seen < CONN_IN; seen += buf_len(&c->in)) {
        buf_take(&c->in, buf_len(&c->in));
        if (conn_read(c, &c->in, wait_ms) != HEARD_BYTES)
            return c->last == HEARD_END;
    }
    return false;
}
