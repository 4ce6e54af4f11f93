/* The backend's side of a session until relaying: connecting, TLS, logging in there, and control's
 * last word. */
#include "worker/session.h"

#include "base/base64.h"
#include "base/log.h"
#include "imap/capability.h"
#include "worker/contexts.h"
#include "worker/forward.h"
#include "worker/proxied.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    READ_LEAST = 1024, /* at a time */
    /* A backend's line; a capability list of a large server has 1 to 2 KiB. */
    BACKEND_LINE_MAX = 16 * 1024,
    BACKEND_UNTAGGED_MAX = 16 * 1024
};

void upstream_drop(struct session *s)
{
    if (s->phase) {
        dial_cancel(&s->phase->dial);
        imapc_free(&s->phase->imapc);
        forward_free(&s->phase->forward);
        s->phase->is_handshaking = s->phase->has_asked = false;
    }
    stream_close(s->worker->loop, &s->backend);
}

static void tell_result(struct session *s, enum result result)
{
    const struct msg_result m = {.lease = s->lease, .result = (uint32_t)result};

    if (session_is_told(s))
        worker_tell(s->worker, MSG_RESULT, s->id, &m, slice_of(NULL, 0));
}

void upstream_ask(struct session *s)
{
    tell_result(s, RESULT_OK);
}

/* The commonest mistake between a proxy and port 10143: one side wants a PROXY header and the other
 * does not send it, or the other way round. The one hangs or hangs up, the other answers rubbish.
 * "" where that cannot be it. */
static const char *proxy_hint(const struct session *s)
{
    bool is_early = s->state == SESSION_UPSTREAM && !s->phase->is_handshaking && s->phase->imapc;
    enum imapc_stage stage = is_early ? imapc_stage(s->phase->imapc) : IMAPC_STAGE_AFTER_LOGIN;

    if (session_backend(s)->proxy != BACKEND_PROXY_OFF && stage < IMAPC_STAGE_AFTER_LOGIN)
        return "; it was sent a PROXY header: if it does not expect one, write proxy = off";
    if (session_backend(s)->proxy == BACKEND_PROXY_OFF && stage == IMAPC_STAGE_GREETING &&
        buf_len(imapc_in(s->phase->imapc)) == 0)
        return "; if it waits for a PROXY header, write proxy = v2 or v1";
    return "";
}

/* The attempt has come to nothing; control says what next. */
static void upstream_fail(struct session *s, const char *stage, const char *detail)
{
    struct log_line l;
    char id[SESSION_ID_TEXT], words[1024];

    snprintf(words, sizeof words, "%s%s", detail, proxy_hint(s));
    log_begin(&l, LOG_BACKEND_FAILED);
    log_str(&l, "id", session_id_text(s, id));
    log_str(&l, "user", s->user);
    log_str(&l, "backend", session_backend(s)->title);
    log_addr(&l, "address", &s->phase->reached);
    log_str(&l, "stage", stage);
    log_str(&l, "detail", words);
    log_uint(&l, "attempt", s->attempt);
    log_end(&l);
    counters_add(s->worker->counters, METRIC_BACKEND_FAILURES, 1);
    upstream_drop(s);
    session_enter(s, SESSION_ADMIT);
    tell_result(s, RESULT_FAILED);
    s->lease = (struct lease_id){0, 0};
}

static const char *stage_of(const struct session *s)
{
    if (s->phase->is_handshaking)
        return "tls";
    return s->phase->imapc ? imapc_stage_name(imapc_stage(s->phase->imapc)) : "login";
}

void upstream_late(struct session *s)
{
    /* Control is late, not the backend: from now on login_timeout alone counts. */
    if (s->phase->has_asked) {
        session_enter(s, SESSION_UPSTREAM);
        return;
    }
    upstream_fail(s, stage_of(s), "no answer within backend_login_timeout");
}

static void upstream_broken(struct session *s)
{
    struct err err;

    stream_error(&s->backend, &err);
    upstream_fail(s, stage_of(s), err.text);
}

/* --- the verdict
 * ----------------------------------------------------------------------------------------------------
 */

/* Cuts "[CODE ...] text" for the log. */
static void log_answer(struct log_line *l, struct slice text)
{
    size_t end = 0;

    if (text.n > 0 && text.p[0] == '[') {
        while (end < text.n && text.p[end] != ']')
            end++;
        log_slice(l, "code", slice_sub(text, 1, end));
        text = slice_sub(text, end + 1, text.n);
        if (slice_istarts(text, SLICE(" ")))
            text = slice_sub(text, 1, text.n);
    }
    log_slice(l, "text", text);
}

static void upstream_refused(struct session *s, const struct imapc_answer *answer)
{
    const struct login_verdict v = {
        .kind = LOGIN_NO, .text = answer->text, .untagged = answer->untagged};
    struct log_line l;

    session_log_begin(s, &l, LOG_LOGIN_REFUSED, LEVEL_INFO);
    log_str(&l, "mech", login_request(s->phase->login)->mech);
    log_str(&l, "backend", session_backend(s)->title);
    log_answer(&l, imapc_log_text(s->phase->imapc));
    log_end(&l);
    counters_add(s->worker->counters, METRIC_LOGINS_REFUSED, 1);
    tell_result(s, RESULT_REFUSED);
    s->lease = (struct lease_id){0, 0};
    login_verdict(s->phase->login, &v);
    upstream_drop(s);
    client_go_on(s);
}

static void log_login(struct session *s)
{
    char subject[256];
    struct log_line l;

    session_log_begin(s, &l, LOG_LOGIN, LEVEL_INFO);
    log_str(&l, "mech", login_request(s->phase->login)->mech);
    log_str(&l, "pool", s->worker->conf->pools[s->pool].title);
    log_str(&l, "backend", session_backend(s)->title);
    log_addr(&l, "address", &s->phase->reached);
    log_str(&l, "tls", stream_tls_version(&s->client));
    if (stream_tls_subject(&s->client, subject, sizeof subject))
        log_str(&l, "certificate", subject);
    log_str(&l, "backend_tls", stream_tls_version(&s->backend));
    log_uint(&l, "attempts", s->attempt);
    log_end(&l);
}

void upstream_done(struct session *s)
{
    const struct imapc_answer *answer = imapc_answer(s->phase->imapc);
    const struct login_verdict v = {.kind = LOGIN_OK,
                                    .text = answer->text,
                                    .untagged = answer->untagged,
                                    .capabilities = answer->capabilities};
    struct login *login = s->phase->login;

    log_login(s);
    counters_add(s->worker->counters, METRIC_LOGINS, 1);
    contexts_learn(s->worker, s->pool, s->backend_index,
                   capability_has(answer->capabilities, SLICE("LITERAL+")));
    if (login_verdict(login, &v) < 0 ||
        relay_preload(&s->down, buf_slice(login_out(login)), buf_slice(imapc_in(s->phase->imapc))) <
            0 ||
        relay_preload(&s->up, slice_of(NULL, 0), buf_slice(login_in(login))) < 0) {
        session_close(s, CLOSE_LIMIT, "out of memory");
        return;
    }
    follow_init(&s->follow);
    if (follow_client(&s->follow, buf_slice(login_in(login))) < buf_len(login_in(login))) {
        /* Stands behind the answer to the login, which is still sent. */
        bool is_said = buf_puts(login_out(login), session_bye(CLOSE_UNAUTHENTICATE)) == 0;

        session_close(s, is_said ? CLOSE_UNAUTHENTICATE : CLOSE_LIMIT, NULL);
        return;
    }
    /* A client that has finished sending, after its last command, is passed on as such behind these
     * bytes. */
    s->up.has_eof = s->phase->has_client_eof;
    session_relay(s);
}

/* --- the dialogue
 * ---------------------------------------------------------------------------------------------------
 */

static void upstream_handshake(struct session *s);

static const char *backend_tls_name(const struct conf_backend *b, char out[256])
{
    struct slice host;
    uint16_t port;

    if (b->tls_name[0])
        return b->tls_name;
    /* The parent has checked the configuration. */
    INSIST(addr_split(slice_str(b->address), &host, &port, NULL) == 0 && host.n < 256);
    memcpy(out, host.p, host.n);
    out[host.n] = '\0';
    return out;
}

static void upstream_start_tls(struct session *s)
{
    char host[256];
    const char *name = backend_tls_name(session_backend(s), host);
    struct err err;

    s->phase->is_handshaking = true;
    if (stream_tls_connect(&s->backend, contexts_backend(s->worker, s->pool, s->backend_index),
                           name, &err) < 0) {
        upstream_fail(s, "tls", err.text);
        return;
    }
    session_weigh(s);
    upstream_handshake(s);
}

/* False: the attempt is over. */
static bool upstream_flush(struct session *s)
{
    struct buf *out = imapc_out(s->phase->imapc);

    while (buf_len(out) > 0) {
        size_t n;
        enum io io = stream_write(&s->backend, buf_slice(out), &n);

        if (io == IO_AGAIN)
            break;
        if (io != IO_OK) {
            upstream_broken(s);
            return false;
        }
        buf_take(out, n);
    }
    stream_want(s->worker->loop, &s->backend,
                buf_len(out) > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    return true;
}

/* One step of the dialogue. True: it wants more bytes. */
static bool upstream_step(struct session *s)
{
    enum imapc_outcome outcome = imapc_step(s->phase->imapc);

    if (outcome == IMAPC_FAILED) {
        upstream_fail(s, stage_of(s), imapc_failure(s->phase->imapc));
        return false;
    }
    if (!upstream_flush(s))
        return false;
    if (outcome == IMAPC_MORE && buf_left(imapc_in(s->phase->imapc)) > 0)
        return true;
    if (outcome == IMAPC_MORE) {
        upstream_fail(s, stage_of(s), "the backend sent too much");
    } else if (outcome == IMAPC_STARTTLS) {
        upstream_start_tls(s);
    } else {
        stream_want(s->worker->loop, &s->backend, 0);
        if (!imapc_answer(s->phase->imapc)->is_ok) {
            upstream_refused(s, imapc_answer(s->phase->imapc));
            return false;
        }
        s->phase->has_asked = true;
        upstream_ask(s);
    }
    return false;
}

static void upstream_closed(struct session *s)
{
    imapc_closed(s->phase->imapc);
    upstream_fail(s, stage_of(s), imapc_failure(s->phase->imapc));
}

/* Reads a piece. True: some bytes have come. */
static bool upstream_read(struct session *s)
{
    struct buf *in = imapc_in(s->phase->imapc);
    size_t want, n;
    char *room = buf_room_some(in, READ_LEAST, &want);
    enum io io;

    if (!room) {
        upstream_fail(s, stage_of(s), "out of memory");
        return false;
    }
    session_weigh(s);
    io = stream_read(&s->backend, room, want, &n);
    if (io == IO_OK)
        buf_added(in, n);
    else if (io == IO_FAILED)
        upstream_broken(s);
    else if (io == IO_EOF)
        upstream_closed(s);
    return io == IO_OK;
}

/* Goes on with the dialogue as far as there are bytes, those inside TLS included: no event comes
 * for them. */
static void upstream_run(struct session *s)
{
    while (upstream_step(s)) {
        if (!stream_has_pending(&s->backend) || !upstream_read(s))
            return;
    }
}

static void upstream_greet(struct session *s)
{
    const struct login_request *request = login_request(s->phase->login);
    const struct imapc_params params = {
        .wants_starttls = session_backend(s)->tls == BACKEND_TLS_STARTTLS,
        .user = request->user,
        .authzid = request->authzid,
        .password = request->password,
        .id = forward_id(s->phase->forward),
        .max_line = BACKEND_LINE_MAX,
        .max_untagged = BACKEND_UNTAGGED_MAX,
    };

    s->phase->is_handshaking = false;
    if (s->phase->imapc)
        imapc_tls_started(s->phase->imapc);
    else
        s->phase->imapc = imapc_new(&params);
    if (!s->phase->imapc) {
        upstream_fail(s, "connect", "out of memory");
        return;
    }
    upstream_run(s);
}

/* Whether the key that the backend has shown is one of tls_pin, where there are any; words if not.
 */
static bool is_pinned_key(struct session *s, struct err *err)
{
    const struct conf_list *pins = &session_backend(s)->tls_pin;
    char shown[BASE64_LEN(32)];
    unsigned char digest[32];

    if (pins->n == 0)
        return true;
    if (!stream_tls_key(&s->backend, digest)) {
        err_set(err, 0, "the backend shows no certificate");
        return false;
    }
    base64_encode(slice_of(digest, sizeof digest), shown);
    for (size_t i = 0; i < pins->n; i++) {
        if (slice_eq(slice_str(pins->items[i]), slice_of(shown, sizeof shown)))
            return true;
    }
    err_set(err, 0, "the backend's key is %.*s, which is not in tls_pin", (int)sizeof shown, shown);
    return false;
}

static void upstream_shaken(struct session *s)
{
    struct err err;

    if (is_pinned_key(s, &err))
        upstream_greet(s);
    else
        upstream_fail(s, "tls", err.text);
}

static void upstream_handshake(struct session *s)
{
    enum io io = stream_handshake(&s->backend);

    if (io == IO_AGAIN)
        stream_want(s->worker->loop, &s->backend, LOOP_READ);
    else if (io != IO_OK)
        upstream_broken(s);
    else
        upstream_shaken(s);
}

void upstream_on_event(struct session *s)
{
    if (s->phase->is_handshaking)
        upstream_handshake(s);
    else if (!s->phase->has_asked && upstream_flush(s) && upstream_read(s))
        upstream_run(s);
}

/* --- connecting
 * -----------------------------------------------------------------------------------------------------
 */

static void on_dialled(void *arg, int fd, const struct addr *reached, const struct err *err)
{
    struct session *s = arg;
    struct err failure;

    s->phase->dial = NULL;
    if (fd < 0) {
        upstream_fail(s, "connect", err->text);
        return;
    }
    s->phase->reached = *reached;
    stream_init(&s->backend, fd, session_on_backend);
    session_enter(s, SESSION_UPSTREAM);
    /* In this order: what ID tells of the client stands in the PROXY header too. */
    if (forward_new(s, login_request(s->phase->login)->id, &s->phase->forward, &failure) < 0 ||
        proxied_send(s, &failure) < 0)
        upstream_fail(s, "connect", failure.text);
    else if (session_backend(s)->tls == BACKEND_TLS_IMPLICIT)
        upstream_start_tls(s);
    else
        upstream_greet(s);
}

void upstream_begin(struct session *s, const struct msg_lease *lease)
{
    struct worker *w = s->worker;

    INSIST(lease->pool < w->conf->pools_n &&
           lease->backend < w->conf->pools[lease->pool].backends_n);
    INSIST(lease->addresses_n >= 1 && lease->addresses_n <= IPC_ADDRESSES_MAX);
    s->lease = lease->lease;
    s->pool = lease->pool;
    s->backend_index = lease->backend;
    s->attempt = (uint8_t)lease->attempt;
    s->phase->reached = lease->addresses[0];
    counters_add(w->counters, METRIC_BACKEND_ATTEMPTS, 1);
    session_enter(s, SESSION_DIAL);
    s->phase->dial = dial_start(w->loop, lease->addresses, lease->addresses_n,
                                contexts_sources(w, s->pool, s->backend_index),
                                w->conf->global.connect_timeout, on_dialled, s);
    if (!s->phase->dial)
        upstream_fail(s, "connect", "out of memory");
}
