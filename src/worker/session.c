/* A session's states, deadlines and end. The way to the login is client.c's, lease.c's,
 * verifying.c's and upstream.c's. */
#include "worker/session.h"

#include "base/log.h"
#include "base/num.h"
#include "worker/contexts.h"
#include "worker/forward.h"
#include "worker/proxied.h"
#include "worker/verifying.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What OpenSSL takes for a connection: while it shakes hands, and when it is idle. */
enum { TLS_SHAKING_WEIGHT = 56 * 1024, TLS_WEIGHT = 16 * 1024 };

/* What the kernel and libev need not be counted for, but the loop's tables must: two entries for
 * two descriptors (libev keeps 16 bytes each, in a table that doubles), and a user name of 31 bytes
 * as malloc keeps it. */
_Static_assert(sizeof(struct session) + 2 * 2 * 16 + 48 <= 512, "budget of an idle session");

const char *session_state_name(enum session_state state)
{
    static const char *const names[] = {"proxy",  "open", "greet",    "auth",  "admit",
                                        "verify", "dial", "upstream", "relay", "closing"};

    return names[state];
}

const char *session_id_text(const struct session *s, char out[SESSION_ID_TEXT])
{
    snprintf(out, SESSION_ID_TEXT, "%u.%u", s->worker->child->self.instance, s->id);
    return out;
}

bool session_is_told(const struct session *s)
{
    return s->told != 0 && s->told == worker_control(s->worker);
}

const struct conf_listener *session_listener(const struct session *s)
{
    return &s->worker->conf->listeners[s->listener];
}

const struct conf_backend *session_backend(const struct session *s)
{
    return &s->worker->conf->pools[s->pool].backends[s->backend_index];
}

void session_log_begin(const struct session *s, struct log_line *l, enum log_event event,
                       enum log_level level)
{
    char id[SESSION_ID_TEXT];

    log_begin_at(l, event, level);
    log_str(l, "id", session_id_text(s, id));
    log_str(l, "user", s->user);
    log_addr(l, "client", &s->peer);
    log_str(l, "listener", session_listener(s)->title);
}

/* --- states
 * ---------------------------------------------------------------------------------------------------------
 */

/* What is left until the session must be logged in; at least a moment, so that the deadline fires.
 */
static uint64_t login_left(const struct session *s)
{
    uint64_t now = loop_now_ms(s->worker->loop);

    return s->phase->login_until_ms > now ? s->phase->login_until_ms - now : 1;
}

static uint64_t state_limit(const struct session *s, enum session_state state)
{
    const struct conf_global *g = &s->worker->conf->global;
    uint64_t limit;

    switch (state) {
    case SESSION_PROXY:
        return g->proxy_timeout;
    case SESSION_GREET:
        return login_left(s) < g->handshake_timeout ? login_left(s) : g->handshake_timeout;
    case SESSION_OPEN:
    case SESSION_AUTH:
    case SESSION_ADMIT:
    case SESSION_DIAL:
        return login_left(s);
    case SESSION_VERIFY:
        limit = g->directory_timeout + VERIFY_BEYOND_MS;
        return login_left(s) < limit ? login_left(s) : limit;
    case SESSION_UPSTREAM:
        if (s->phase->has_asked)
            return login_left(s);
        return login_left(s) < g->backend_login_timeout ? login_left(s) : g->backend_login_timeout;
    case SESSION_RELAY:
        return g->idle_timeout;
    case SESSION_CLOSING:
        return g->stop_timeout / 2 < g->close_timeout ? g->stop_timeout / 2 : g->close_timeout;
    }
    return 0;
}

void session_enter(struct session *s, enum session_state state)
{
    s->state = (uint8_t)state;
    deadline_set(s->worker->loop, &s->deadline, state_limit(s, state));
    session_weigh(s);
}

static size_t tls_weight(const struct stream *s, bool is_shaking)
{
    return !s->tls ? 0 : is_shaking ? TLS_SHAKING_WEIGHT : TLS_WEIGHT;
}

static size_t dialogue_weight(struct imapc *imapc)
{
    return imapc ? imapc_in(imapc)->cap + imapc_out(imapc)->cap : 0;
}

void session_weigh(struct session *s)
{
    struct session_phase *phase = s->phase;
    size_t weight = sizeof *s + sizeof *phase;

    if (!phase)
        return;
    weight += tls_weight(&s->client, s->state == SESSION_GREET);
    weight += tls_weight(&s->backend, phase->is_handshaking);
    weight += phase->header.cap;
    if (phase->login)
        weight += login_weight(phase->login);
    weight += dialogue_weight(phase->imapc) + dialogue_weight(phase->leased.refused);
    weight += phase->leased.shown ? phase->leased.shown->n : 0;
    if (weight == phase->weight)
        return;
    worker_weigh(s->worker, (int64_t)weight - phase->weight);
    phase->weight = (uint32_t)weight;
}

void session_free_phase(struct session *s)
{
    if (!s->phase)
        return;
    worker_weigh(s->worker, -(int64_t)s->phase->weight);
    login_free(&s->phase->login);
    imapc_free(&s->phase->imapc);
    lease_forget(s);
    forward_free(&s->phase->forward);
    dial_cancel(&s->phase->dial);
    buf_release(&s->phase->header);
    free(s->phase);
    s->phase = NULL;
}

static void session_free(struct session *s)
{
    struct worker *w = s->worker;

    upstream_drop(s);
    session_free_phase(s);
    relay_done(&s->up);
    relay_done(&s->down);
    deadline_clear(&s->deadline);
    stream_close(w->loop, &s->client);
    map_remove(&w->by_id, &s->by_id);
    free(s->user);
    worker_forget(w, &s->all);
    free(s);
}

/* --- the end
 * --------------------------------------------------------------------------------------------------------
 */

/* Before that, who goes has learnt nothing about the password; and who has given the right one has
 * not guessed. */
static bool is_login_sent(const struct session *s)
{
    const struct session_phase *p = s->phase;

    if (!p || p->leased.is_verified)
        return false;
    if (s->state == SESSION_UPSTREAM && p->imapc && imapc_stage(p->imapc) >= IMAPC_STAGE_LOGIN)
        return true;
    return s->state == SESSION_VERIFY || p->leased.is_guessed;
}

static void tell_end(struct session *s)
{
    const struct msg_end end = {
        .in = s->up.bytes,
        .out = s->down.bytes,
        .duration_ms = (uint32_t)(loop_now_ms(s->worker->loop) - s->accepted_ms),
        .reason = s->reason,
        .is_sent = is_login_sent(s),
    };

    if (session_is_told(s))
        worker_tell(s->worker, MSG_END, s->id, &end, slice_of(NULL, 0));
    s->told = 0;
}

static void log_end_of(struct session *s, enum close_reason reason, const char *detail)
{
    struct log_line l;

    session_log_begin(s, &l, LOG_SESSION_END, close_reason_level(reason));
    if (s->state == SESSION_RELAY) {
        log_str(&l, "pool", s->worker->conf->pools[s->pool].title);
        log_str(&l, "backend", session_backend(s)->title);
    }
    log_uint(&l, "in", s->up.bytes);
    log_uint(&l, "out", s->down.bytes);
    log_uint(&l, "duration_ms", loop_now_ms(s->worker->loop) - s->accepted_ms);
    log_str(&l, "tls", stream_tls_version(&s->client));
    log_str(&l, "backend_tls", s->state == SESSION_RELAY ? stream_tls_version(&s->backend) : "");
    log_str(&l, "reason", close_reason_name(reason));
    log_str(&l, "detail", detail);
    log_end(&l);
}

/* One step of the end: out with what is left to say, then the FIN, then reading away what comes. */
static void closing_step(struct session *s)
{
    bool has_login = s->phase && s->phase->login;

    if (has_login && buf_len(login_out(s->phase->login)) > 0) {
        if (!client_flush(s))
            return;
        if (buf_len(login_out(s->phase->login)) > 0) {
            stream_want(s->worker->loop, &s->client, LOOP_WRITE);
            return;
        }
    }
    if (!s->has_finished) {
        s->has_finished = true;
        stream_finish(&s->client);
    }
    for (int i = 0; i < 8; i++) {
        size_t n;
        enum io io = stream_read(&s->client, s->worker->scratch, RELAY_SCRATCH, &n);

        if (io == IO_AGAIN)
            break;
        if (io != IO_OK) {
            session_free(s);
            return;
        }
        wipe(s->worker->scratch, n); /* it may be a login, come too late */
    }
    stream_want(s->worker->loop, &s->client, LOOP_READ);
}

void session_close(struct session *s, enum close_reason reason, const char *detail)
{
    bool can_speak = reason != CLOSE_CLIENT_RESET && reason != CLOSE_CLIENT_TLS &&
                     s->state != SESSION_PROXY && s->state != SESSION_OPEN &&
                     s->state != SESSION_GREET;

    if (s->state == SESSION_CLOSING) {
        session_free(s);
        return;
    }
    s->reason = (uint8_t)reason;
    log_end_of(s, reason, detail);
    tell_end(s);
    counters_add(s->worker->counters, METRIC_SESSIONS_ENDED, 1);
    upstream_drop(s);
    if (s->phase)
        lease_forget(s);
    if (!can_speak) {
        session_free(s);
        return;
    }
    if (s->state == SESSION_RELAY)
        session_say_bye(s, reason);
    session_enter(s, SESSION_CLOSING);
    closing_step(s);
}

void session_close_broken(struct session *s, struct stream *broken)
{
    bool is_tls = stream_error_is_tls(broken);
    struct err err;

    stream_error(broken, &err);
    if (broken == &s->client)
        session_close(s, is_tls ? CLOSE_CLIENT_TLS : CLOSE_CLIENT_RESET, err.text);
    else
        session_close(s, is_tls ? CLOSE_BACKEND_TLS : CLOSE_BACKEND_RESET, err.text);
}

void session_shed(struct session *s, enum close_reason reason, const char *detail)
{
    size_t n;

    if (s->state != SESSION_CLOSING) {
        s->reason = (uint8_t)reason;
        log_end_of(s, reason, detail);
        tell_end(s);
        counters_add(s->worker->counters, METRIC_SHED, 1);
        counters_add(s->worker->counters, METRIC_SESSIONS_ENDED, 1);
    }
    if (s->state == SESSION_OPEN && session_listener(s)->tls != LISTENER_TLS_IMPLICIT)
        (void)stream_write(&s->client, SLICE("* BYE " SESSION_NO_ROOM "\r\n"), &n);
    if (s->phase && s->phase->login && s->state != SESSION_GREET && s->state != SESSION_CLOSING) {
        login_bye(s->phase->login, SESSION_NO_ROOM);
        if (buf_len(login_out(s->phase->login)) > 0)
            (void)stream_write(&s->client, buf_slice(login_out(s->phase->login)), &n);
    }
    session_free(s);
}

void session_stop(struct session *s)
{
    if (s->state == SESSION_CLOSING)
        return;
    if (s->phase && s->phase->login)
        login_bye(s->phase->login, "Usher is shutting down.");
    session_close(s, CLOSE_STOPPING, NULL);
}

/* --- events
 * ---------------------------------------------------------------------------------------------------------
 */

static void on_client(struct watch *watch, unsigned events)
{
    struct session *s = CONTAINER(stream_of(watch), struct session, client);

    switch ((enum session_state)s->state) {
    case SESSION_PROXY:
        proxied_on_event(s);
        break;
    case SESSION_OPEN:
        break;
    case SESSION_GREET:
    case SESSION_AUTH:
    case SESSION_ADMIT:
    case SESSION_VERIFY:
    case SESSION_DIAL:
    case SESSION_UPSTREAM:
        client_on_event(s);
        break;
    case SESSION_RELAY:
        session_pump(s, events & LOOP_READ, events & LOOP_WRITE);
        break;
    case SESSION_CLOSING:
        closing_step(s);
        break;
    }
}

void session_on_backend(struct watch *watch, unsigned events)
{
    struct session *s = CONTAINER(stream_of(watch), struct session, backend);

    if (s->state == SESSION_UPSTREAM)
        upstream_on_event(s);
    else if (s->state == SESSION_RELAY)
        session_pump(s, events & LOOP_WRITE, events & LOOP_READ);
}

static void on_deadline(struct deadline *d)
{
    struct session *s = CONTAINER(d, struct session, deadline);
    const struct login_verdict late = {.kind = LOGIN_UNAVAILABLE};

    switch ((enum session_state)s->state) {
    case SESSION_PROXY:
        session_close(s, CLOSE_CLIENT_PROXY, "no PROXY header within proxy_timeout");
        break;
    case SESSION_GREET:
        if (loop_now_ms(s->worker->loop) < s->phase->login_until_ms) {
            session_close(s, CLOSE_HANDSHAKE_TIMEOUT, NULL);
            break;
        }
        /* fall through */
    case SESSION_OPEN:
        session_close(s, CLOSE_LOGIN_TIMEOUT, session_state_name(s->state));
        break;
    case SESSION_VERIFY:
    case SESSION_UPSTREAM:
        if (loop_now_ms(s->worker->loop) < s->phase->login_until_ms) {
            if (s->state == SESSION_VERIFY)
                verifying_late(s);
            else
                upstream_late(s);
            break;
        }
        /* fall through */
    case SESSION_ADMIT:
    case SESSION_DIAL:
        login_verdict(s->phase->login, &late);
        /* fall through */
    case SESSION_AUTH:
        login_bye(s->phase->login, "Login took too long.");
        session_close(s, CLOSE_LOGIN_TIMEOUT, session_state_name(s->state));
        break;
    case SESSION_RELAY:
        session_on_relay_deadline(s);
        break;
    case SESSION_CLOSING:
        session_free(s);
        break;
    }
}

/* --- the beginning, and control's words
 * ----------------------------------------------------------------------------- */

void session_open(struct session *s)
{
    s->phase->is_trusted = !s->phase->is_unnamed && contexts_trusts(s->worker, &s->peer);
    session_enter(s, SESSION_OPEN);
    /* Also while a new control is being told of all sessions: this one's turn in the list may be
     * over, if its PROXY header was awaited then. */
    session_tell(s);
}

void session_accept(struct worker *w, int fd, const struct addr *peer, const struct addr *local,
                    unsigned listener)
{
    struct session *s = calloc(1, sizeof *s);
    struct session_phase *phase = calloc(1, sizeof *phase);

    if (!s || !phase) {
        free(s);
        free(phase);
        close(fd);
        return;
    }
    s->worker = w;
    s->phase = phase;
    s->peer = *peer;
    s->listener = (uint8_t)listener;
    s->accepted_ms = s->active_ms = loop_now_ms(w->loop);
    s->id = ++w->last_id ? w->last_id : ++w->last_id;
    phase->login_until_ms = s->accepted_ms + w->conf->global.login_timeout;
    stream_init(&s->client, fd, on_client);
    deadline_init(&s->deadline, on_deadline);
    if (map_insert(&w->by_id, &s->by_id, num_mix(s->id)) < 0) {
        stream_close(w->loop, &s->client);
        free(phase);
        free(s);
        return;
    }
    list_append(&w->sessions, &s->all);
    counters_add(w->counters, METRIC_SESSIONS, 1);
    phase->local = *local;
    if (w->conf->listeners[listener].proxy) {
        session_enter(s, SESSION_PROXY);
        proxied_begin(s);
    } else {
        session_open(s);
    }
}

static void tell_replay(struct session *s, enum replay_stage stage)
{
    const struct msg_replay m = {
        .lease = s->lease,
        .client = s->peer,
        .listener = s->listener,
        .pool = s->pool,
        .backend = s->backend_index,
        .stage = (uint16_t)stage,
        .attempt = s->attempt,
        .flags = stage == REPLAY_LEASED ? s->phase->leased.flags : 0,
    };

    worker_tell(s->worker, MSG_REPLAY, s->id, &m,
                stage == REPLAY_OPEN ? slice_of(NULL, 0) : slice_str(s->user));
}

static void tell_open(struct session *s)
{
    const struct msg_open m = {.client = s->peer, .listener = s->listener};

    worker_tell(s->worker, MSG_OPEN, s->id, &m, slice_of(NULL, 0));
}

void session_tell(struct session *s)
{
    uint32_t control = worker_control(s->worker);

    if (!control || s->told == control)
        return;
    s->told = control;
    switch ((enum session_state)s->state) {
    case SESSION_PROXY:
    case SESSION_CLOSING:
        s->told = 0;
        break;
    case SESSION_OPEN:
        tell_open(s);
        break;
    case SESSION_GREET:
    case SESSION_AUTH:
        tell_replay(s, REPLAY_OPEN);
        break;
    case SESSION_ADMIT:
        tell_replay(s, REPLAY_OPEN);
        client_ask(s);
        break;
    case SESSION_VERIFY:
    case SESSION_DIAL:
        tell_replay(s, REPLAY_LEASED);
        break;
    case SESSION_UPSTREAM:
        tell_replay(s, REPLAY_LEASED);
        if (s->phase->has_asked)
            upstream_ask(s);
        break;
    case SESSION_RELAY:
        tell_replay(s, REPLAY_RELAY);
        break;
    }
}

void session_on_go(struct session *s)
{
    if (s->state == SESSION_OPEN)
        client_begin(s);
}
