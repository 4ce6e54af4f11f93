/* The PROXY protocol at both ends of a session. */
#include "worker/proxied.h"

#include "net/proxy.h"
#include "worker/backend.h"
#include "worker/contexts.h"
#include "worker/session.h"

/* --- from a proxy before us ------------------------------------------------------------------- */

void proxied_begin(struct session *s)
{
    if (!contexts_trusts(s->worker, &s->peer)) {
        session_close(s, CLOSE_CLIENT_UNTRUSTED, NULL);
        return;
    }
    /* Secret, since a login may lie behind the header. */
    buf_init(&s->phase->header, PROXY_MOST, true);
    stream_want(s->worker->loop, &s->client, LOOP_READ);
}

/* The client is whom the header names, if it names one. If not, it is the proxy itself with LOCAL,
 * else somebody unknown, who is not trusted as the proxy is. */
static void take_header(struct session *s, const struct proxy_info *info)
{
    s->phase->is_unnamed = !info->is_local && !addr_is_set(&info->source);
    if (addr_is_set(&info->source)) {
        s->peer = info->source;
        s->phase->local = info->destination;
    }
    s->phase->is_tls_before = info->has_tls;
    buf_release(&s->phase->header);
    stream_want(s->worker->loop, &s->client, 0);
    session_open(s);
}

/* Takes `n` bytes that were only looked at. They are there, so one read gets them. */
static bool consume(struct session *s, size_t n)
{
    size_t done = 0;

    return n == 0 || (stream_read(&s->client, s->worker->scratch, n, &done) == IO_OK && done == n);
}

void proxied_on_event(struct session *s)
{
    struct buf *header = &s->phase->header;
    size_t before = buf_len(header), seen = 0, used = 0;
    char *room = buf_room(header, buf_left(header));
    struct proxy_info info;
    struct err err;

    switch (room ? stream_peek(&s->client, room, buf_left(header), &seen) : IO_FAILED) {
    case IO_AGAIN:
        return;
    case IO_EOF:
        session_close(s, before ? CLOSE_CLIENT_PROXY : CLOSE_CLIENT_CLOSED,
                      "closed before the PROXY header was whole");
        return;
    case IO_FAILED:
        session_close(s, CLOSE_CLIENT_RESET, NULL);
        return;
    case IO_OK:
        break;
    }
    buf_added(header, seen);
    switch (proxy_parse(buf_slice(header), &info, &used, &err)) {
    case PROXY_MORE:
        if (!consume(s, seen))
            session_close(s, CLOSE_CLIENT_RESET, NULL);
        break;
    case PROXY_OK:
        if (consume(s, used - before))
            take_header(s, &info);
        else
            session_close(s, CLOSE_CLIENT_RESET, NULL);
        break;
    case PROXY_BAD:
        session_close(s, CLOSE_CLIENT_PROXY, err.text);
        break;
    }
}

/* --- to a backend ----------------------------------------------------------------------------- */

int proxied_send(struct session *s, struct err *err)
{
    char id[SESSION_ID_TEXT];
    const struct proxy_info info = {
        .has_checksum = true,
        .source = s->peer,
        .destination = s->phase->local,
        .unique_id = slice_str(session_id_text(s, id)),
        .has_tls = s->client.tls != NULL || s->phase->is_tls_before,
        .tls_version = slice_str(stream_tls_version(&s->client)),
    };

    return backend_send_proxy(session_backend(s), &info, &s->backend, err);
}
