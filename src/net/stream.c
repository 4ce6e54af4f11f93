/* A connected byte stream: the part in clear, and what of it is watched. TLS is in tls_stream.c. */
#include "net/stream.h"

#include "net/tls_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A peer that vanished without a word is noticed after 5 + 5 * 0.5 minutes: soon enough to free
 * what it held, and seldom enough for phones, whose radio each probe wakes. */
enum { KEEPALIVE_IDLE_S = 300, KEEPALIVE_INTERVAL_S = 30, KEEPALIVE_PROBES = 5 };

/* What the descriptor is watched for, so that the owner is called for what it wants. */
static unsigned events_to_watch(const struct stream *s)
{
    unsigned events = 0;

    if (s->wants == 0)
        return 0;
    if (s->tls_needs & TLS_NEEDS_SHAKE)
        return s->tls_needs & TLS_NEEDS_READ_TO_SHAKE ? LOOP_READ : LOOP_WRITE;
    if (s->wants & LOOP_READ)
        events |= s->tls_needs & TLS_NEEDS_WRITE_TO_READ ? LOOP_WRITE : LOOP_READ;
    if (s->wants & LOOP_WRITE)
        events |= s->tls_needs & TLS_NEEDS_READ_TO_WRITE ? LOOP_READ : LOOP_WRITE;
    return events;
}

static void on_watch(struct watch *w, unsigned events)
{
    struct stream *s = stream_of(w);
    unsigned wanted = 0;

    if (s->tls_needs & TLS_NEEDS_SHAKE) {
        wanted = s->wants;
    } else {
        if (events & (s->tls_needs & TLS_NEEDS_WRITE_TO_READ ? LOOP_WRITE : LOOP_READ))
            wanted |= LOOP_READ;
        if (events & (s->tls_needs & TLS_NEEDS_READ_TO_WRITE ? LOOP_READ : LOOP_WRITE))
            wanted |= LOOP_WRITE;
        wanted &= s->wants;
    }
    if (wanted)
        s->cb(w, wanted);
}

static void watch_again(struct stream *s)
{
    struct loop *loop = s->watch.io.data;

    if (loop)
        watch_set(loop, &s->watch, events_to_watch(s));
}

static enum io failed(struct stream *s, int code)
{
    s->error = (uint32_t)code;
    s->error_is_tls = false;
    return IO_FAILED;
}

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

void stream_init(struct stream *s, int fd, void (*cb)(struct watch *w, unsigned events))
{
    memset(s, 0, sizeof *s);
    watch_init(&s->watch, fd, on_watch);
    s->cb = cb;
    s->is_open = true;
    /* They fail on what is not TCP, such as a socket pair; no harm. */
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

void stream_want(struct loop *loop, struct stream *s, unsigned events)
{
    INSIST(s->is_open && (events & ~(unsigned)(LOOP_READ | LOOP_WRITE)) == 0);
    /* For watch_again(); NULL: never watched yet. */
    s->watch.io.data = loop;
    s->wants = (uint8_t)events;
    watch_again(s);
}

static enum io clear_read(struct stream *s, void *p, size_t cap, int flags, size_t *out_n)
{
    ssize_t n;

    do
        n = recv(stream_fd(s), p, cap, flags);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *out_n = (size_t)n;
        return IO_OK;
    }
    if (n == 0)
        return IO_EOF;
    return errno == EAGAIN || errno == EWOULDBLOCK ? IO_AGAIN : failed(s, errno);
}

static enum io clear_write(struct stream *s, struct slice data, size_t *out_n)
{
    ssize_t n;

    do
        n = send(stream_fd(s), data.p, data.n, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0) {
        *out_n = (size_t)n;
        return IO_OK;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK ? IO_AGAIN : failed(s, errno);
}

enum io stream_read(struct stream *s, void *p, size_t cap, size_t *out_n)
{
    enum io io;

    INSIST(s->is_open && cap > 0);
    if (!s->tls)
        return clear_read(s, p, cap, 0, out_n);
    io = tls_stream_read(s, p, cap, out_n);
    s->is_dry = io != IO_OK;
    watch_again(s);
    return io;
}

enum io stream_peek(struct stream *s, void *p, size_t cap, size_t *out_n)
{
    INSIST(s->is_open && (!s->tls || s->tls_needs & TLS_NEEDS_SHAKE) && cap > 0);
    return clear_read(s, p, cap, MSG_PEEK, out_n);
}

enum io stream_write(struct stream *s, struct slice data, size_t *out_n)
{
    enum io io;

    INSIST(s->is_open);
    if (data.n == 0) {
        *out_n = 0;
        return IO_OK;
    }
    if (!s->tls)
        return clear_write(s, data, out_n);
    io = tls_stream_write(s, data, out_n);
    watch_again(s);
    return io;
}

bool stream_has_pending(const struct stream *s)
{
    return s->tls && !s->is_dry && tls_stream_holds_bytes(s);
}

void stream_finish(struct stream *s)
{
    INSIST(s->is_open);
    if (s->tls)
        tls_stream_finish(s);
    (void)shutdown(stream_fd(s), SHUT_WR);
}

static enum io shake(struct stream *s, bool reads)
{
    enum io io;

    INSIST(s->is_open && s->tls);
    io = tls_stream_handshake(s, reads);
    watch_again(s);
    return io;
}

enum io stream_handshake(struct stream *s)
{
    return shake(s, true);
}

enum io stream_hello(struct stream *s)
{
    return shake(s, false);
}

const char *stream_tls_version(const struct stream *s)
{
    return s->tls ? tls_stream_version(s) : "";
}

void stream_error(struct stream *s, struct err *err)
{
    if (s->error_is_tls)
        tls_stream_error(s, err);
    else if (s->error)
        (void)err_set(err, (int)s->error, "%s", strerror((int)s->error));
    else
        (void)err_set(err, 0, "the peer closed the connection during the TLS handshake");
    s->error = 0;
    s->error_is_tls = false;
}

bool stream_error_is_tls(const struct stream *s)
{
    return s->error_is_tls;
}

void stream_close(struct loop *loop, struct stream *s)
{
    if (!s->is_open)
        return;
    watch_set(loop, &s->watch, 0);
    if (s->tls)
        tls_stream_free(s);
    (void)close(stream_fd(s));
    s->is_open = false;
    s->wants = s->tls_needs = 0;
}
