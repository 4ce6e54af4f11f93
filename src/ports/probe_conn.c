/* A probe's connection: waiting, reading, writing, TLS, all of it within its time; see
 * ports/probe_parts.h. */
#include "ports/probe_parts.h"

#include "net/dial.h"
#include "net/proxy.h"
#include "net/tls.h"

#include <errno.h>
#include <string.h>

/* ---- time ---- */

static uint32_t until(const struct probe *p, uint64_t at_ms)
{
    uint64_t now = loop_now_ms(p->loop);

    return at_ms > now ? (uint32_t)(at_ms - now) : 0;
}

uint32_t conn_left_ms(const struct probe *p)
{
    return until(p, p->end_ms);
}

void conn_step(struct probe *p, uint32_t ms)
{
    uint64_t end = loop_now_ms(p->loop) + ms;

    p->step_end_ms = end < p->end_ms ? end : p->end_ms;
}

static void on_deadline(struct deadline *d)
{
    loop_stop(CONTAINER(d, struct probe, deadline)->loop);
}

static void on_stream(struct watch *w, unsigned events)
{
    struct probe *p = CONTAINER(stream_of(w), struct probe, stream);

    p->events |= events;
    loop_stop(p->loop);
}

/* Waits for one of the events, for `wait_ms` at most and within the step; false: the time is over.
 */
static bool wait_for(struct probe *p, unsigned events, uint32_t wait_ms)
{
    uint32_t left = until(p, p->step_end_ms);

    if (left < wait_ms)
        wait_ms = left;
    if (wait_ms == 0)
        return false;
    p->events = 0;
    stream_want(p->loop, &p->stream, events);
    deadline_init(&p->deadline, on_deadline);
    deadline_set(p->loop, &p->deadline, wait_ms);
    loop_run(p->loop);
    deadline_clear(&p->deadline);
    stream_want(p->loop, &p->stream, 0);
    return p->events != 0;
}

/* ---- connecting ---- */

/* What no peer can be blamed for. */
static bool is_ours(int code)
{
    return code == EMFILE || code == ENFILE || code == ENOMEM || code == ENOBUFS;
}

static void on_dialled(void *arg, int fd, const struct addr *reached, const struct err *err)
{
    struct probe *p = arg;

    p->is_dialled = true;
    if (fd >= 0) {
        stream_init(&p->stream, fd, on_stream);
        p->reached = *reached;
    } else {
        p->trouble = *err;
    }
    loop_stop(p->loop);
}

static void fail(struct probe *p)
{
    p->has_failed = true;
    p->failure = p->trouble;
}

void conn_fail(struct probe *p, int code, const char *what)
{
    (void)err_sys(&p->trouble, code, "%s", what);
    fail(p);
}

bool conn_open(struct probe *p)
{
    uint32_t left = conn_left_ms(p), most = p->params->connect_ms;
    struct dial *dial;

    INSIST(!p->stream.is_open && left > 0);
    p->connections++;
    buf_init(&p->in, PROBE_IN, false);
    p->is_dialled = false;
    dial = dial_start(p->loop, &p->params->addr, 1, NULL, left < most ? left : most, on_dialled, p);
    if (!dial) {
        conn_fail(p, ENOMEM, "connecting");
        return false;
    }
    loop_run(p->loop);
    INSIST(p->is_dialled);
    if (!p->stream.is_open && is_ours(p->trouble.code))
        fail(p);
    return p->stream.is_open;
}

void conn_close(struct probe *p)
{
    stream_close(p->loop, &p->stream);
    buf_release(&p->in);
}

/* ---- reading ---- */

static enum heard heard(struct probe *p, enum heard what)
{
    p->last = what;
    return what;
}

static enum heard broken(struct probe *p)
{
    stream_error(&p->stream, &p->trouble);
    return heard(p, HEARD_BROKEN);
}

enum heard conn_read(struct probe *p, struct buf *to, uint32_t wait_ms)
{
    size_t left = buf_left(to), n;
    char *room = buf_room(to, left < 4096 ? left : 4096);

    INSIST(left > 0);
    if (!room) {
        conn_fail(p, ENOMEM, "reading");
        return heard(p, HEARD_BROKEN);
    }
    for (;;) {
        switch (stream_read(&p->stream, room, left < 4096 ? left : 4096, &n)) {
        case IO_OK:
            buf_added(to, n);
            return heard(p, HEARD_BYTES);
        case IO_EOF:
            return heard(p, HEARD_END);
        case IO_FAILED:
            return broken(p);
        case IO_AGAIN:
            if (!wait_for(p, LOOP_READ, wait_ms))
                return heard(p, HEARD_SILENCE);
        }
    }
}

bool conn_line(struct probe *p, uint32_t wait_ms, struct slice *out_line)
{
    for (;;) {
        struct slice s = buf_slice(&p->in);
        const char *end = s.n > 0 ? memchr(s.p, '\n', s.n) : NULL;

        if (end) {
            *out_line = slice_sub(s, 0, (size_t)(end + 1 - s.p));
            return true;
        }
        if (buf_left(&p->in) == 0) {
            (void)err_set(&p->trouble, 0, "a line has no end");
            (void)heard(p, HEARD_BROKEN);
            return false;
        }
        if (conn_read(p, &p->in, wait_ms) != HEARD_BYTES)
            return false;
    }
}

void conn_used(struct probe *p, struct slice line)
{
    buf_take(&p->in, line.n);
}

/* ---- writing ---- */

bool conn_write(struct probe *p, struct slice s)
{
    while (s.n > 0) {
        size_t n;

        switch (stream_write(&p->stream, s, &n)) {
        case IO_OK:
            s = slice_sub(s, n, s.n);
            break;
        case IO_EOF:
        case IO_FAILED:
            (void)broken(p);
            return false;
        case IO_AGAIN:
            if (!wait_for(p, LOOP_WRITE, UINT32_MAX)) {
                (void)heard(p, HEARD_SILENCE);
                return false;
            }
        }
    }
    return true;
}

bool conn_write_header(struct probe *p, unsigned proxy)
{
    struct proxy_info info = {.destination = p->reached};
    struct sockaddr_storage ss = {0};
    socklen_t n = sizeof ss;
    struct buf out;
    bool fits, is_sent;

    if (getsockname(stream_fd(&p->stream), (struct sockaddr *)&ss, &n) == 0)
        info.source = addr_from_sockaddr(&ss);
    buf_init(&out, PROXY_MOST, false);
    fits = proxy == PROBE_PROXY_V1 ? proxy_write_v1(&out, &info.source, &info.destination) == 0
                                   : proxy_write_v2(&out, &info) == 0;
    if (!fits)
        conn_fail(p, ENOMEM, "a PROXY header");
    is_sent = fits && conn_write(p, buf_slice(&out));
    buf_release(&out);
    return is_sent;
}

/* ---- TLS ---- */

/* Once for all connections. "DEFAULT": whatever OpenSSL would still speak, as we only look. */
static bool need_tls(struct probe *p)
{
    const struct tls_client_params params = {
        .policy = {.ciphers = "DEFAULT"}, .ca_pem = p->params->ca_pem, .verifies = false};

    if (!p->tls && tls_client_new(&params, &p->tls, &p->trouble) != 0)
        fail(p);
    return p->tls != NULL;
}

/* Looks at the beginning of the answer to our hello before OpenSSL does, who would not say what it
 * was. */
static enum shaken look_at_answer(struct probe *p, uint32_t wait_ms, char *out_said,
                                  size_t *out_said_n)
{
    for (;;) {
        size_t n = 0;
        enum io io = stream_peek(&p->stream, out_said, PROBE_TEXT, &n);
        int is_tls = io == IO_OK ? tls_recognize(slice_of(out_said, n)) : 0;

        *out_said_n = n;
        if (is_tls != 0)
            return is_tls > 0 ? SHAKEN_OK : SHAKEN_NOT_TLS;
        if (io == IO_EOF) {
            (void)heard(p, HEARD_END);
            return SHAKEN_NOTHING;
        }
        if (io == IO_FAILED) {
            (void)broken(p);
            return SHAKEN_NOTHING;
        }
        /* A part of a record's head, which is rare. What lies there would wake us at once, over and
         * over: OpenSSL waits better. */
        if (io == IO_OK)
            return SHAKEN_OK;
        if (!wait_for(p, LOOP_READ, wait_ms)) {
            (void)heard(p, HEARD_SILENCE);
            return SHAKEN_NOTHING;
        }
    }
}

/* `has_begun`: TLS of the peer was seen. */
static enum shaken shaking_failed(struct probe *p, bool has_begun)
{
    bool is_foreign = stream_error_is_foreign(&p->stream);
    bool is_tls = has_begun || stream_error_is_tls(&p->stream);

    (void)broken(p);
    if (is_foreign)
        return SHAKEN_NOT_TLS;
    return is_tls ? SHAKEN_FAILED : SHAKEN_NOTHING;
}

static enum shaken go_on_shaking(struct probe *p, uint32_t wait_ms)
{
    for (;;) {
        switch (stream_handshake(&p->stream)) {
        case IO_OK:
            return SHAKEN_OK;
        case IO_EOF:
        case IO_FAILED:
            return shaking_failed(p, true);
        case IO_AGAIN:
            if (!wait_for(p, LOOP_READ, wait_ms)) {
                (void)err_set(&p->trouble, 0, "the TLS handshake came to no end in time");
                (void)heard(p, HEARD_SILENCE);
                return SHAKEN_FAILED;
            }
        }
    }
}

enum shaken conn_shake(struct probe *p, char *out_said, size_t *out_said_n)
{
    uint32_t wait_ms = p->params->silence_ms;
    enum shaken shaken;

    *out_said_n = 0;
    p->last = HEARD_BROKEN;
    if (!need_tls(p))
        return SHAKEN_NOTHING;
    if (stream_tls_connect(&p->stream, p->tls, p->params->name, &p->trouble) != 0) {
        fail(p);
        return SHAKEN_NOTHING;
    }
    /* Our hello fits in any buffer of a socket. */
    if (stream_hello(&p->stream) == IO_FAILED)
        return shaking_failed(p, false);
    shaken = look_at_answer(p, wait_ms, out_said, out_said_n);
    return shaken == SHAKEN_OK ? go_on_shaking(p, wait_ms) : shaken;
}
