/* The worker's talk with lookup about passwords; see worker/verifying.h. */
#include "worker/verifying.h"

#include "base/log.h"
#include "base/secret.h"
#include "imap/lex.h"
#include "worker/lease.h"
#include "worker/session.h"

#include <stdlib.h>
#include <string.h>

enum { REJOIN_MS = 1000 };

/* What a client is told whose password is wrong, whatever the directory knows of the user. */
#define WRONG "[AUTHENTICATIONFAILED] Wrong user name or password"

struct to_lookup {
    struct channel channel;
    struct worker *worker;
};

/* --- asking
 * ----------------------------------------------------------------------------------------------------------
 */

static void ask(const struct session *s)
{
    struct slice user = slice_str(s->user);
    struct slice password = login_request(s->phase->login)->password;
    struct msg_verify m = {.name_n = (uint16_t)user.n, .question = s->phase->leased.question};
    char tail[IPC_USER_MAX + VERIFY_PASSWORD_MAX];

    if (!s->worker->lookup)
        return;
    memcpy(tail, user.p, user.n);
    if (password.n)
        memcpy(tail + user.n, password.p, password.n);
    channel_send(s->worker->lookup, MSG_VERIFY, s->id, &m, slice_of(tail, user.n + password.n), -1);
    wipe(tail, sizeof tail);
}

/* The password is wrong: as a backend's NO, but without one. */
static void deny(struct session *s)
{
    const struct login_verdict v = {.kind = LOGIN_NO, .text = SLICE(WRONG)};
    struct log_line l;

    session_log_begin(s, &l, LOG_LOGIN_REFUSED, LEVEL_INFO);
    log_str(&l, "mech", login_request(s->phase->login)->mech);
    log_str(&l, "code", "AUTHENTICATIONFAILED");
    log_str(&l, "text", "the password does not fit the directory's password_hash");
    log_end(&l);
    counters_add(s->worker->counters, METRIC_LOGINS_REFUSED, 1);
    upstream_tell(s, RESULT_DENIED, FAULT_OURS);
    login_verdict(s->phase->login, &v);
    lease_forget(s);
    client_go_on(s);
}

static void withdraw(struct session *s, struct slice why)
{
    upstream_tell(s, RESULT_WITHDRAWN, FAULT_OURS);
    session_refuse(s, LOGIN_UNAVAILABLE, "verify", why);
}

void verifying_begin(struct session *s)
{
    uint32_t question = ++s->worker->last_question;

    session_enter(s, SESSION_VERIFY);
    s->phase->leased.question = question;
    if (login_request(s->phase->login)->password.n > VERIFY_PASSWORD_MAX)
        deny(s);
    else
        ask(s);
}

void verifying_late(struct session *s)
{
    withdraw(s, s->worker->lookup
                    ? SLICE("lookup has not verified the password within directory_timeout")
                    : SLICE("lookup, which verifies passwords, does not run"));
}

/* --- answers
 * ---------------------------------------------------------------------------------------------------------
 */

/* Whether what the tail is said to hold is there, and can be shown to a backend. */
static bool is_sound(const struct msg_verified *m, struct slice tail)
{
    return (size_t)m->user_n + m->password_n + m->told_n <= tail.n && m->user_n <= IPC_USER_MAX &&
           lex_is_text(slice_sub(tail, 0, (size_t)m->user_n + m->password_n)) &&
           (!m->is_master || (m->user_n > 0 && m->is_replaced));
}

/* Whether the facts by which the password is right would have the backend told the name that the
 * lease brought. They are looked up once for the one and once for the other: were they changed
 * between, a new owner of the name would come into the mailbox of the old one. */
static bool is_same_name(const struct session *s, const struct msg_verified *m, struct slice tail)
{
    size_t at = (size_t)m->user_n + m->password_n;
    struct slice told = slice_sub(tail, at, at + m->told_n);

    return slice_eq(told.n ? told : slice_str(s->user), slice_str(s->phase->leased.told));
}

/* -1 when memory is out. */
static int take_shown(struct session *s, const struct msg_verified *m, struct slice tail)
{
    size_t used = (size_t)m->user_n + m->password_n;
    struct shown *shown;

    INSIST(!s->phase->leased.shown);
    if (m->user_n == 0 && !m->is_replaced)
        return 0;
    shown = secret_alloc(sizeof *shown + used);
    if (!shown)
        return -1;
    *shown = (struct shown){.n = sizeof *shown + used,
                            .user = slice_of(shown->bytes, m->user_n),
                            .password = slice_of(shown->bytes + m->user_n, m->password_n),
                            .is_replaced = m->is_replaced,
                            .is_master = m->is_master};
    if (used)
        memcpy(shown->bytes, tail.p, used);
    s->phase->leased.shown = shown;
    return 0;
}

static void go_on(struct session *s, const struct msg_verified *m, struct slice tail)
{
    if (!is_sound(m, tail)) {
        withdraw(s, SLICE("what the directory would have the backend shown cannot be sent"));
    } else if (!is_same_name(s, m, tail)) {
        withdraw(s, SLICE("the directory has another name for the backend by now"));
    } else if (take_shown(s, m, tail) < 0) {
        withdraw(s, SLICE("out of memory"));
    } else {
        s->phase->leased.is_verified = true;
        upstream_begin(s);
    }
}

static void on_message(struct channel *ch, const struct msg *m)
{
    struct worker *w = CONTAINER(ch, struct to_lookup, channel)->worker;
    struct session *s = worker_find(w, m->id);
    const struct msg_verified *answer = m->body;

    if (m->fd >= 0)
        close(m->fd);
    /* Not that of a login before, which was given up. */
    if (m->type != MSG_VERIFIED || !s || s->state != SESSION_VERIFY ||
        answer->question != s->phase->leased.question)
        return;
    if (answer->verified == VERIFIED_OK)
        go_on(s, answer, m->tail);
    else if (answer->verified == VERIFIED_REFUSED)
        deny(s);
    else
        withdraw(s, m->tail);
}

/* --- the channel
 * -----------------------------------------------------------------------------------------------------
 */

static void on_closed(struct channel *ch, const char *why)
{
    struct to_lookup *to = CONTAINER(ch, struct to_lookup, channel);

    (void)why;
    to->worker->lookup = NULL;
    deadline_set(to->worker->loop, &to->worker->rejoin_lookup, REJOIN_MS);
    free(to);
}

static void on_rejoin(struct deadline *d)
{
    struct worker *w = CONTAINER(d, struct worker, rejoin_lookup);

    log_detail(LOG_DEBUG, "no lookup; asking the parent to join us with it");
    worker_rejoin(w, ROLE_LOOKUP);
    deadline_set(w->loop, d, REJOIN_MS);
}

void verifying_init(struct worker *w)
{
    deadline_init(&w->rejoin_lookup, on_rejoin);
}

void verifying_done(struct worker *w)
{
    deadline_clear(&w->rejoin_lookup);
    if (!w->lookup)
        return;
    channel_close(w->lookup);
    free(CONTAINER(w->lookup, struct to_lookup, channel));
    w->lookup = NULL;
}

void verifying_take_lookup(struct worker *w, int fd)
{
    static const struct channel_events events = {
        .on_message = on_message, .on_closed = on_closed, .has_secrets = true};
    struct to_lookup *to = calloc(1, sizeof *to);

    INSIST(to != NULL);
    to->worker = w;
    verifying_done(w);
    w->lookup = &to->channel;
    channel_open(&to->channel, &w->child->channels, fd, &w->child->self, &events);
    list_for_each (it, &w->sessions) {
        const struct session *s = CONTAINER(it, struct session, all);

        if (s->state == SESSION_VERIFY)
            ask(s);
    }
}
