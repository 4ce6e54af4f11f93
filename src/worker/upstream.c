/* The backend's side of a session until relaying: connecting, TLS, logging in there, and control's
 * last word. */
#include "worker/session.h"

#include "base/log.h"
#include "imap/capability.h"
#include "worker/backend.h"
#include "worker/contexts.h"
#include "worker/forward.h"
#include "worker/proxied.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of names, password and ID together; what programs and people use is far below. */
enum { ORDINARY_MAX = 1024 };

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

static void tell_result(struct session *s, enum result result, enum fault fault)
{
    const struct msg_result m = {
        .lease = s->lease, .result = (uint32_t)result, .fault = (uint32_t)fault};

    if (session_is_told(s))
        worker_tell(s->worker, MSG_RESULT, s->id, &m, slice_of(NULL, 0));
}

void upstream_ask(struct session *s)
{
    tell_result(s, RESULT_OK, FAULT_BACKEND);
}

void upstream_tell(struct session *s, enum result result, enum fault fault)
{
    tell_result(s, result, fault);
    s->lease = (struct lease_id){0, 0};
}

static const char *proxy_hint(const struct session *s)
{
    bool is_talking = s->state == SESSION_UPSTREAM && !s->phase->is_handshaking;

    return backend_proxy_hint(session_backend(s), is_talking ? s->phase->imapc : NULL);
}

static bool has_control_characters(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return true;
    }
    return false;
}

/* Whether what the client has us say could be why a server hangs up or hangs: Dovecot does so at
 * 8 KiB. Such failures tell nothing of the backend: else anybody could bring it down, without a
 * password. */
static bool is_odd_login(const struct session *s)
{
    const struct login_request *r = login_request(s->phase->login);
    size_t n = r->user.n + r->authzid.n + r->password.n;

    for (size_t i = 0; i < r->id.n; i++)
        n += r->id.pairs[i].key.n + r->id.pairs[i].value.n;
    return n > ORDINARY_MAX || has_control_characters(r->user) ||
           has_control_characters(r->authzid) || has_control_characters(r->password);
}

static bool has_said_login(const struct session *s)
{
    return s->phase->imapc && imapc_stage(s->phase->imapc) >= IMAPC_STAGE_ID;
}

/* The attempt has come to nothing; control says what next. */
static void upstream_fail(struct session *s, const char *stage, const char *detail,
                          enum fault fault)
{
    struct log_line l;
    char id[SESSION_ID_TEXT], words[1024];

    if (has_said_login(s) && is_odd_login(s))
        fault = FAULT_OURS;
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
    upstream_tell(s, RESULT_FAILED, fault);
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
    upstream_fail(s, stage_of(s), "no answer within backend_login_timeout", FAULT_BACKEND);
}

/* What the backend says of the login itself is no fault of its own either. */
static void upstream_fail_dialogue(struct session *s)
{
    const struct imapc *c = s->phase->imapc;
    bool is_ours = imapc_lacks_memory(c) || imapc_is_about_login(c);

    upstream_fail(s, stage_of(s), imapc_failure(c), is_ours ? FAULT_OURS : FAULT_BACKEND);
}

static void upstream_broken(struct session *s)
{
    struct err err;

    stream_error(&s->backend, &err);
    upstream_fail(s, stage_of(s), err.text, backend_fault(&err));
}

/* --- the verdict
 * ----------------------------------------------------------------------------------------------------
 */

static void upstream_fail_refused(struct session *s, const char *how)
{
    char words[512];

    snprintf(words, sizeof words, "%s: %.*s", how,
             SLICE_ARG(slice_sub(imapc_log_text(s->phase->imapc), 0, 400)));
    upstream_fail(s, "login", words, FAULT_OURS);
}

static void upstream_refused(struct session *s)
{
    bool is_trial = s->phase->leased.flags & LEASE_IS_TRIAL;
    bool is_verdict = lease_is_verdict(imapc_answer(s->phase->imapc));

    if (is_trial && is_verdict) {
        lease_keep_no(s);
        upstream_drop(s);
        session_enter(s, SESSION_ADMIT);
        upstream_tell(s, RESULT_REFUSED, FAULT_BACKEND);
    } else if (is_trial) {
        /* It may be the one that knows the user. */
        upstream_fail_refused(s, "the backend cannot say now whether it knows the user");
    } else if (lease_is_replaced(s)) {
        /* The client's password is right, so that this NO is about what it was replaced by. Nobody
         * but the directory is to blame. */
        upstream_fail_refused(s, "the backend refuses what the directory has it shown");
    } else {
        upstream_tell(s, is_verdict ? RESULT_REFUSED : RESULT_WITHDRAWN, FAULT_BACKEND);
        lease_tell_no(s, s->phase->imapc);
    }
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

static void upstream_start_tls(struct session *s)
{
    char host[BACKEND_NAME];
    const char *name = backend_tls_name(session_backend(s), host);
    struct err err;

    s->phase->is_handshaking = true;
    if (stream_tls_connect(&s->backend, contexts_backend(s->worker, s->pool, s->backend_index),
                           name, &err) < 0) {
        upstream_fail(s, "tls", err.text, backend_fault(&err));
        return;
    }
    session_weigh(s);
    upstream_handshake(s);
}

/* False: the attempt is over. */
static bool upstream_flush(struct session *s)
{
    bool is_good = backend_flush(s->worker->loop, &s->backend, s->phase->imapc) == IO_OK;

    if (!is_good)
        upstream_broken(s);
    return is_good;
}

/* One step of the dialogue. True: it wants more bytes. */
static bool upstream_step(struct session *s)
{
    enum imapc_outcome outcome = imapc_step(s->phase->imapc);

    if (outcome == IMAPC_FAILED) {
        upstream_fail_dialogue(s);
        return false;
    }
    if (!upstream_flush(s))
        return false;
    if (outcome == IMAPC_MORE && buf_left(imapc_in(s->phase->imapc)) > 0)
        return true;
    if (outcome == IMAPC_MORE) {
        upstream_fail(s, stage_of(s), "the backend sent too much", FAULT_BACKEND);
    } else if (outcome == IMAPC_STARTTLS) {
        upstream_start_tls(s);
    } else {
        stream_want(s->worker->loop, &s->backend, 0);
        if (!imapc_answer(s->phase->imapc)->is_ok) {
            upstream_refused(s);
            return false;
        }
        s->phase->has_asked = true;
        upstream_ask(s);
    }
    return false;
}

/* Reads a piece. True: some bytes have come. */
static bool upstream_read(struct session *s)
{
    struct err err;
    enum io io = backend_read(&s->backend, s->phase->imapc, &err);

    session_weigh(s);
    if (io == IO_EOF || io == IO_FAILED)
        upstream_fail(s, stage_of(s), err.text, backend_fault(&err));
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
    struct imapc_params params = {
        .wants_starttls = session_backend(s)->tls == BACKEND_TLS_STARTTLS,
        .id = forward_id(s->phase->forward),
        .max_line = BACKEND_LINE_MAX,
        .max_untagged = BACKEND_UNTAGGED_MAX,
    };

    lease_credentials(s, &params);
    s->phase->is_handshaking = false;
    if (s->phase->imapc)
        imapc_tls_started(s->phase->imapc);
    else
        s->phase->imapc = imapc_new(&params);
    if (!s->phase->imapc) {
        upstream_fail(s, "connect", "out of memory", FAULT_OURS);
        return;
    }
    upstream_run(s);
}

static void upstream_shaken(struct session *s)
{
    struct err err;

    if (backend_check_pin(session_backend(s), &s->backend, &err) < 0)
        upstream_fail(s, "tls", err.text, backend_fault(&err));
    else
        upstream_greet(s);
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
        upstream_fail(s, "connect", err->text, backend_fault(err));
        return;
    }
    s->phase->reached = *reached;
    stream_init(&s->backend, fd, session_on_backend);
    session_enter(s, SESSION_UPSTREAM);
    /* In this order: what ID tells of the client stands in the PROXY header too. */
    if (forward_new(s, login_request(s->phase->login)->id, &s->phase->forward, &failure) < 0 ||
        proxied_send(s, &failure) < 0)
        upstream_fail(s, "connect", failure.text, backend_fault(&failure));
    else if (session_backend(s)->tls == BACKEND_TLS_IMPLICIT)
        upstream_start_tls(s);
    else
        upstream_greet(s);
}

void upstream_begin(struct session *s)
{
    struct worker *w = s->worker;
    const struct leased *l = &s->phase->leased;

    s->phase->reached = l->addresses[0];
    counters_add(w->counters, METRIC_BACKEND_ATTEMPTS, 1);
    session_enter(s, SESSION_DIAL);
    s->phase->dial = dial_start(w->loop, l->addresses, l->addresses_n,
                                contexts_sources(w, s->pool, s->backend_index),
                                w->conf->global.connect_timeout, on_dialled, s);
    if (!s->phase->dial)
        upstream_fail(s, "connect", "out of memory", FAULT_OURS);
}
