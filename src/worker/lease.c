/* Control's words about a login: leases and refusals, what the backend is told because of them, and
 * the client. Verifying is verifying.c's, the dialogue with the backend upstream.c's. */
#include "worker/lease.h"

#include "base/log.h"
#include "base/secret.h"
#include "imap/lex.h"
#include "imap/response.h"
#include "worker/session.h"
#include "worker/verifying.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The most of an operator's or a directory's words that a client is shown. */
enum { TOLD_MAX = 512 };

static void forget_shown(struct leased *l)
{
    if (l->shown)
        secret_free(l->shown, l->shown->n);
    l->shown = NULL;
}

void lease_forget(struct session *s)
{
    struct leased *l = &s->phase->leased;

    free(l->told);
    forget_shown(l);
    imapc_free(&l->refused);
    *l = (struct leased){0};
}

/* --- leases
 * ---------------------------------------------------------------------------------------------------------
 */

static bool is_name(struct slice name)
{
    return name.n > 0 && name.n <= IPC_USER_MAX && lex_is_text(name);
}

/* -1 when memory is out. */
static int take_names(struct session *s, struct slice name, struct slice told)
{
    struct leased *l = &s->phase->leased;
    char *user = slice_dup(name), *to_tell = slice_dup(told.n ? told : name);

    if (!user || !to_tell) {
        free(user);
        free(to_tell);
        return -1;
    }
    /* What was verified was another's password. */
    if (strcmp(user, s->user) != 0) {
        l->is_verified = false;
        forget_shown(l);
    }
    free(s->user);
    s->user = user;
    free(l->told);
    l->told = to_tell;
    return 0;
}

/* Control may be of a newer release than we: its faults must not end all our sessions. */
static bool is_backend(const struct conf *conf, const struct msg_lease *lease)
{
    return lease->pool < conf->pools_n && lease->backend < conf->pools[lease->pool].backends_n &&
           lease->addresses_n >= 1 && lease->addresses_n <= IPC_ADDRESSES_MAX;
}

static void take_lease(struct session *s, const struct msg_lease *lease)
{
    struct leased *l = &s->phase->leased;

    imapc_free(&l->refused);
    s->lease = lease->lease;
    s->pool = lease->pool;
    s->backend_index = lease->backend;
    s->attempt = (uint8_t)lease->attempt;
    l->flags = lease->flags;
    l->addresses_n = lease->addresses_n;
    memcpy(l->addresses, lease->addresses, sizeof l->addresses);
}

/* Neither the user nor a backend is to blame. */
static void refuse_for_good(struct session *s, enum close_reason reason, const char *why)
{
    const struct login_verdict v = {.kind = LOGIN_UNAVAILABLE};

    login_verdict(s->phase->login, &v);
    session_close(s, reason, why);
}

void session_on_lease(struct session *s, const struct msg_lease *lease, struct slice tail)
{
    struct slice name = slice_sub(tail, 0, lease->name_n);
    struct slice told = slice_sub(tail, lease->name_n, tail.n);

    if (s->state != SESSION_ADMIT)
        return;
    if (lease->name_n > tail.n || !is_name(name) || (told.n > 0 && !is_name(told))) {
        refuse_for_good(s, CLOSE_INTERNAL, "the lease has no name that could be one");
        return;
    }
    if (!is_backend(s->worker->conf, lease)) {
        s->lease = lease->lease;
        upstream_tell(s, RESULT_WITHDRAWN, FAULT_OURS);
        session_refuse(s, LOGIN_UNAVAILABLE, "admit",
                       SLICE("the lease has no backend that this worker knows"));
        return;
    }
    if (take_names(s, name, told) < 0) {
        refuse_for_good(s, CLOSE_LIMIT, "out of memory");
        return;
    }
    take_lease(s, lease);
    if ((lease->flags & LEASE_VERIFY) && !s->phase->leased.is_verified)
        verifying_begin(s);
    else
        upstream_begin(s);
}

void session_on_done(struct session *s)
{
    if (s->state == SESSION_UPSTREAM && s->phase->has_asked)
        upstream_done(s);
}

/* --- what the backend is told
 * -----------------------------------------------------------------------------------------
 */

void lease_credentials(const struct session *s, struct imapc_params *params)
{
    const struct login_request *request = login_request(s->phase->login);
    const struct leased *l = &s->phase->leased;
    const struct shown *shown = l->is_verified ? l->shown : NULL;
    struct slice owner = slice_str(l->told);

    params->password = shown && shown->is_replaced ? shown->password : request->password;
    params->user = request->user;
    params->authzid = owner;
    if (shown && shown->is_master) {
        params->user = shown->user;
    } else if (l->is_verified || request->authzid.n == 0) {
        params->user = shown && shown->user.n > 0 ? shown->user : owner;
        params->authzid = slice_of(NULL, 0);
    }
    /* Not every server takes one, and it says nothing then. */
    if (slice_eq(params->user, params->authzid))
        params->authzid = slice_of(NULL, 0);
}

bool lease_is_replaced(const struct session *s)
{
    return s->phase->leased.is_verified && s->phase->leased.shown;
}

/* --- a backend's NO
 * ---------------------------------------------------------------------------------------------------
 */

bool lease_is_verdict(const struct imapc_answer *no)
{
    static const char *const others[] = {"UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG"};
    struct slice code, arguments;

    if (!response_code(no->text, &code, &arguments))
        return true;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (slice_ieq(code, slice_str(others[i])))
            return false;
    }
    return true;
}

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

void lease_tell_no(struct session *s, const struct imapc *imapc)
{
    const struct imapc_answer *answer = imapc_answer(imapc);
    const struct login_verdict v = {
        .kind = LOGIN_NO, .text = answer->text, .untagged = answer->untagged};
    struct log_line l;

    session_log_begin(s, &l, LOG_LOGIN_REFUSED, LEVEL_INFO);
    log_str(&l, "mech", login_request(s->phase->login)->mech);
    log_str(&l, "backend", session_backend(s)->title);
    log_answer(&l, imapc_log_text(imapc));
    log_end(&l);
    counters_add(s->worker->counters, METRIC_LOGINS_REFUSED, 1);
    login_verdict(s->phase->login, &v);
    upstream_drop(s);
    lease_forget(s);
    client_go_on(s);
}

void lease_keep_no(struct session *s)
{
    struct leased *l = &s->phase->leased;
    char id[SESSION_ID_TEXT];

    log_detail(LOG_DEBUG, "session %s: backend %s does not take the login; control says what next",
               session_id_text(s, id), session_backend(s)->title);
    l->is_guessed = true;
    l->refused = s->phase->imapc;
    s->phase->imapc = NULL;
}

/* --- refusals
 * --------------------------------------------------------------------------------------------------------
 */

/* What a refusal of control's means to the client. */
static const struct refusal {
    enum login_verdict_kind kind;
    enum close_reason reason; /* where `bye` is not NULL: the session ends */
    const char *text;         /* of the verdict */
    const char *bye;          /* of the session's end */
} refusals[] = {
    [REFUSE_UNAVAILABLE] = {.kind = LOGIN_UNAVAILABLE},
    [REFUSE_INUSE] = {.kind = LOGIN_INUSE},
    [REFUSE_MAX_SESSIONS] = {LOGIN_LIMIT, CLOSE_MAX_SESSIONS, "Too many connections",
                             SESSION_NO_ROOM},
    [REFUSE_MAX_ADDRESS] = {LOGIN_LIMIT, CLOSE_MAX_ADDRESS, "Too many connections",
                            "[LIMIT] Too many connections from your address; please close some."},
    [REFUSE_MAX_USER] = {LOGIN_LIMIT, CLOSE_MAX_USER,
                         "Too many connections of this user; please close some",
                         "Too many connections"},
    [REFUSE_PENALTY] = {LOGIN_LIMIT, CLOSE_PENALTY,
                        "Too many failed logins; please try again later", "Too many failed logins"},
    [REFUSE_DISABLED] = {.kind = LOGIN_DISABLED},
    /* where there is no NO that could stand */
    [REFUSE_CREDENTIALS] = {.kind = LOGIN_UNAVAILABLE},
    [REFUSE_OUTDATED] = {LOGIN_UNAVAILABLE, CLOSE_RETIRED, NULL, SESSION_RETIRED},
};

static const struct refusal *refusal_of(uint32_t code)
{
    return code < sizeof refusals / sizeof *refusals ? &refusals[code] : &refusals[0];
}

/* The login's refusal in the log and to the client. */
static void tell_refused(struct session *s, const struct login_verdict *v, const char *stage,
                         struct slice why)
{
    struct log_line l;

    session_log_begin(s, &l, LOG_LOGIN_FAILED, LEVEL_WARNING);
    log_str(&l, "mech", login_request(s->phase->login)->mech);
    log_str(&l, "stage", stage);
    log_slice(&l, "detail", why);
    log_end(&l);
    counters_add(s->worker->counters, METRIC_LOGINS_FAILED, 1);
    upstream_drop(s);
    lease_forget(s);
    login_verdict(s->phase->login, v);
}

void session_refuse(struct session *s, enum login_verdict_kind kind, const char *stage,
                    struct slice why)
{
    const struct login_verdict v = {.kind = kind};

    tell_refused(s, &v, stage, why);
    client_go_on(s);
}

static void refuse_login(struct session *s, const struct refusal *refusal, struct slice text,
                         const char *detail)
{
    const struct login_verdict v = {.kind = refusal->kind,
                                    .text = text.n ? text : slice_str(refusal->text)};

    tell_refused(s, &v, "admit", slice_str(detail));
    if (!refusal->bye) {
        client_go_on(s);
        return;
    }
    login_bye(s->phase->login, refusal->bye);
    session_close(s, refusal->reason, detail);
}

/* Words of operators and directories, which may be anything: none where they could be taken for
 * more than words. */
static struct slice words_for_client(struct slice tail, size_t told_n)
{
    struct slice told = slice_sub(tail, tail.n - told_n, tail.n);
    bool is_plain = told.n > 0 && told.n <= TOLD_MAX && told.p[0] != '[' && lex_is_text(told);

    return is_plain ? told : slice_of(NULL, 0);
}

/* Whether what the last trial's backend said is for the client: not if it was about a password that
 * the client does not know. */
static bool may_no_stand(const struct session *s)
{
    return s->phase->leased.refused && !lease_is_replaced(s);
}

void session_on_refuse(struct session *s, const struct msg_refuse *m, struct slice tail)
{
    const struct refusal *refusal = refusal_of(m->code);
    size_t told_n = m->told_n <= tail.n ? m->told_n : 0;
    struct slice told = words_for_client(tail, told_n);
    char detail[256];

    snprintf(detail, sizeof detail, "%.*s", SLICE_ARG(slice_sub(tail, 0, tail.n - told_n)));
    if (s->state == SESSION_OPEN)
        client_turn_away(s, refusal->bye ? refusal->reason : CLOSE_LIMIT,
                         refusal->bye ? refusal->bye : SESSION_NO_ROOM, detail);
    else if (s->state == SESSION_ADMIT && m->code == REFUSE_CREDENTIALS && may_no_stand(s))
        lease_tell_no(s, s->phase->leased.refused);
    else if (s->state == SESSION_ADMIT || (s->state == SESSION_UPSTREAM && s->phase->has_asked))
        refuse_login(s, refusal, told, detail);
}
