/* The client's side of a session until its login is answered: TLS, the login dialogue, and asking
 * control. */
#include "worker/session.h"

#include "base/log.h"
#include "worker/contexts.h"
#include "worker/forward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How much is read from a client at a time before login, at least: a command as a rule. What comes
 * here is kept in locked memory, and thousands may be in the middle of a line. */
enum { READ_LEAST = 256 };

static void client_want(struct session *s)
{
    unsigned events = 0;

    if (!s->phase->has_client_eof && buf_left(login_in(s->phase->login)) > 0)
        events |= LOOP_READ;
    if (buf_len(login_out(s->phase->login)) > 0)
        events |= LOOP_WRITE;
    stream_want(s->worker->loop, &s->client, events);
    session_weigh(s);
}

bool client_flush(struct session *s)
{
    struct buf *out = login_out(s->phase->login);

    while (buf_len(out) > 0) {
        size_t n;
        enum io io = stream_write(&s->client, buf_slice(out), &n);

        if (io == IO_AGAIN)
            break;
        if (io != IO_OK) {
            session_close_broken(s, &s->client);
            return false;
        }
        buf_take(out, n);
    }
    return true;
}

void client_ask(struct session *s)
{
    const struct msg_admit m = {.client = s->peer, .mech = s->mech};

    worker_tell(s->worker, MSG_ADMIT, s->id, &m, slice_str(s->user));
}

static uint8_t mech_of(const char *name)
{
    return strcmp(name, "PLAIN") == 0        ? MECH_PLAIN
           : strcmp(name, "SASL-LOGIN") == 0 ? MECH_SASL_LOGIN
                                             : MECH_LOGIN;
}

/* The mailbox's owner decides the backend: that is the authorization identity where one is given
 * (RFC 4616). */
static void client_admit(struct session *s)
{
    const struct login_request *request = login_request(s->phase->login);
    struct err err;

    lease_forget(s);
    free(s->user);
    s->user = slice_dup(request->authzid.n ? request->authzid : request->user);
    if (!s->user) {
        session_close(s, CLOSE_LIMIT, "out of memory");
        return;
    }
    s->mech = mech_of(request->mech);
    if (forward_believe(s, request->id, &err) < 0) {
        session_refuse(s, LOGIN_UNAVAILABLE, "admit", slice_str(err.text));
        return;
    }
    session_enter(s, SESSION_ADMIT);
    client_want(s);
    if (session_is_told(s))
        client_ask(s);
}

static void client_handshake(struct session *s);

/* The OK to STARTTLS must have left in clear before the handshake begins. */
static void client_start_tls(struct session *s)
{
    struct err err;

    if (buf_len(login_out(s->phase->login)) > 0) {
        stream_want(s->worker->loop, &s->client, LOOP_WRITE);
        return;
    }
    if (stream_tls_accept(&s->client, contexts_server(s->worker, s->listener), &err) < 0) {
        session_close(s, CLOSE_INTERNAL, err.text);
        return;
    }
    s->phase->wants_tls = false;
    session_enter(s, SESSION_GREET);
    client_handshake(s);
}

/* Reads what has come, as far as there is room. False: nothing new, or the session is gone. */
static bool client_read(struct session *s)
{
    struct buf *in = login_in(s->phase->login);
    size_t before = buf_len(in);

    while (!s->phase->has_client_eof && buf_left(in) > 0) {
        size_t want, n = 0;
        char *room = buf_room_some(in, READ_LEAST, &want);
        enum io io;

        if (!room) {
            session_close(s, CLOSE_LIMIT, "out of memory");
            return false;
        }
        io = stream_read(&s->client, room, want, &n);
        if (io == IO_FAILED) {
            session_close_broken(s, &s->client);
            return false;
        }
        if (io == IO_EOF)
            s->phase->has_client_eof = true;
        if (io != IO_OK)
            break;
        buf_added(in, n);
        if (n < want && !stream_has_pending(&s->client))
            break;
    }
    if (buf_len(in) == 0)
        buf_release(in);
    return buf_len(in) > before || s->phase->has_client_eof;
}

/* One step of the dialogue. True: it wants more bytes. */
static bool client_step(struct session *s)
{
    enum login_outcome outcome = login_step(s->phase->login);

    if (!client_flush(s))
        return false;
    switch (outcome) {
    case LOGIN_MORE:
        if (!s->phase->has_client_eof)
            return true;
        session_close(s, CLOSE_CLIENT_CLOSED, NULL);
        break;
    case LOGIN_STARTTLS:
        s->phase->wants_tls = true;
        client_start_tls(s);
        break;
    case LOGIN_ADMIT:
        client_admit(s);
        break;
    case LOGIN_CLOSE:
        session_close(s, login_close_reason(s->phase->login), NULL);
        break;
    }
    return false;
}

/* Goes on with the dialogue as far as there are bytes, those inside TLS included: no event comes
 * for them. */
static void client_run(struct session *s)
{
    while (client_step(s)) {
        if (!stream_has_pending(&s->client)) {
            client_want(s);
            return;
        }
        client_want(s);
        if (!client_read(s))
            return;
    }
}

static void client_greet(struct session *s)
{
    struct worker *w = s->worker;

    if (s->phase->login)
        login_tls_started(s->phase->login);
    else
        s->phase->login = login_new(&w->login_params[s->listener],
                                    s->client.tls != NULL || s->phase->is_tls_before);
    if (!s->phase->login) {
        session_close(s, CLOSE_LIMIT, "out of memory");
        return;
    }
    session_enter(s, SESSION_AUTH);
    client_run(s);
}

static void client_handshake(struct session *s)
{
    enum io io = stream_handshake(&s->client);

    if (io == IO_AGAIN) {
        stream_want(s->worker->loop, &s->client, LOOP_READ);
        return;
    }
    counters_add(s->worker->counters, io == IO_OK ? METRIC_TLS_HANDSHAKES : METRIC_TLS_FAILURES, 1);
    if (io != IO_OK) {
        struct err err;

        stream_error(&s->client, &err);
        session_close(s, CLOSE_CLIENT_TLS, err.text);
        return;
    }
    if (stream_tls_is_resumed(&s->client))
        counters_add(s->worker->counters, METRIC_TLS_RESUMED, 1);
    client_greet(s);
}

void client_begin(struct session *s)
{
    struct err err;

    if (session_listener(s)->tls != LISTENER_TLS_IMPLICIT) {
        client_greet(s);
        return;
    }
    if (stream_tls_accept(&s->client, contexts_server(s->worker, s->listener), &err) < 0) {
        session_close(s, CLOSE_INTERNAL, err.text);
        return;
    }
    session_enter(s, SESSION_GREET);
    client_handshake(s);
}

void client_turn_away(struct session *s, enum close_reason reason, const char *bye, const char *why)
{
    char line[256];
    size_t n;

    /* Nothing was sent yet, so the socket takes a line; with implicit TLS there is no way to say
     * it. */
    if (session_listener(s)->tls != LISTENER_TLS_IMPLICIT) {
        n = (size_t)snprintf(line, sizeof line, "* BYE %s\r\n", bye);
        (void)stream_write(&s->client, slice_of(line, n), &n);
        session_enter(s, SESSION_AUTH);
    }
    session_close(s, reason, why);
}

void client_on_event(struct session *s)
{
    if (s->state == SESSION_GREET) {
        client_handshake(s);
        return;
    }
    if (!client_flush(s))
        return;
    if (s->phase->wants_tls) {
        client_start_tls(s);
        return;
    }
    client_want(s);
    if (client_read(s) && s->state == SESSION_AUTH)
        client_run(s);
}

void client_go_on(struct session *s)
{
    session_enter(s, SESSION_AUTH);
    client_run(s);
}
