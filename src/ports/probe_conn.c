/* A probe's connection: its beginning, and TLS with a look at what is none; see
 * ports/probe_parts.h. The rest is net/conn.h's. */
#include "ports/probe_parts.h"

#include "net/tls.h"

bool probe_connect(struct probe *p)
{
    p->connections++;
    return conn_open(&p->conn, &p->params->addr, 1, NULL, p->params->connect_ms);
}

/* ---- TLS ---- */

/* Once for all connections. "DEFAULT": whatever OpenSSL would still speak, as we only look. */
static bool need_tls(struct probe *p)
{
    const struct tls_client_params params = {
        .policy = {.ciphers = "DEFAULT"}, .ca_pem = p->params->ca_pem, .verifies = false};

    if (!p->tls && tls_client_new(&params, &p->tls, &p->conn.trouble) != 0)
        conn_failed(&p->conn);
    return p->tls != NULL;
}

/* Looks at the beginning of the answer to our hello before OpenSSL does, who would not say what it
 * was. */
static enum shaken look_at_answer(struct probe *p, uint32_t wait_ms, char *out_said,
                                  size_t *out_said_n)
{
    for (;;) {
        size_t n = 0;
        enum io io = stream_peek(&p->conn.stream, out_said, PROBE_TEXT, &n);
        int is_tls = io == IO_OK ? tls_recognize(slice_of(out_said, n)) : 0;

        *out_said_n = n;
        if (is_tls != 0)
            return is_tls > 0 ? SHAKEN_OK : SHAKEN_NOT_TLS;
        if (io == IO_EOF) {
            (void)conn_heard(&p->conn, HEARD_END);
            return SHAKEN_NOTHING;
        }
        if (io == IO_FAILED) {
            (void)conn_broken(&p->conn);
            return SHAKEN_NOTHING;
        }
        /* A part of a record's head, which is rare. What lies there would wake us at once, over and
         * over: OpenSSL waits better. */
        if (io == IO_OK)
            return SHAKEN_OK;
        if (!conn_wait(&p->conn, LOOP_READ, wait_ms)) {
            (void)conn_heard(&p->conn, HEARD_SILENCE);
            return SHAKEN_NOTHING;
        }
    }
}

/* `has_begun`: TLS of the peer was seen. */
static enum shaken shaking_failed(struct probe *p, bool has_begun)
{
    bool is_foreign = stream_error_is_foreign(&p->conn.stream);
    bool is_tls = has_begun || stream_error_is_tls(&p->conn.stream);

    (void)conn_broken(&p->conn);
    if (is_foreign)
        return SHAKEN_NOT_TLS;
    return is_tls ? SHAKEN_FAILED : SHAKEN_NOTHING;
}

static enum shaken go_on_shaking(struct probe *p, uint32_t wait_ms)
{
    switch (conn_handshake(&p->conn, wait_ms)) {
    case IO_OK:
        return SHAKEN_OK;
    case IO_AGAIN:
        return SHAKEN_FAILED;
    case IO_EOF:
    case IO_FAILED:
        return shaking_failed(p, true);
    }
    INSIST(false);
}

enum shaken probe_shake(struct probe *p, char *out_said, size_t *out_said_n)
{
    uint32_t wait_ms = p->params->silence_ms;
    enum shaken shaken;

    *out_said_n = 0;
    p->conn.last = HEARD_BROKEN;
    if (!need_tls(p))
        return SHAKEN_NOTHING;
    if (stream_tls_connect(&p->conn.stream, p->tls, p->params->name, &p->conn.trouble) != 0) {
        conn_failed(&p->conn);
        return SHAKEN_NOTHING;
    }
    /* Our hello fits in any buffer of a socket. */
    if (stream_hello(&p->conn.stream) == IO_FAILED)
        return shaking_failed(p, false);
    shaken = look_at_answer(p, wait_ms, out_said, out_said_n);
    return shaken == SHAKEN_OK ? go_on_shaking(p, wait_ms) : shaken;
}
