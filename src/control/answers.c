/* What becomes of a session when its question is answered: the way of a login through limits, guard
 * and hold to a lease, and back. */
#include "control/answers.h"

#include "control/facts_use.h"
#include "directory/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- changing a session ---------------------------------------------------------------------
 *
 * Every session passes through these; nothing else touches stages, lines and their counts.
 */

static void join(struct list *line, struct session *s, uint64_t until_ms)
{
    s->until_ms = until_ms;
    list_append(line, &s->waiting);
}

/* Out of whatever line it waits in. */
void admission_leave(struct admission *a, struct session *s)
{
    list_remove(&s->waiting);
    s->result = RESULT_NONE;
    if (s->stage == STAGE_QUEUED) {
        entrance_leave(a, s);
    } else if (s->stage == STAGE_LOOKING) {
        asker_leave(&s->login->asker);
        s->stage = STAGE_ASKING;
    } else if (s->stage == STAGE_HELD) {
        INSIST(a->held_n > 0);
        a->held_n--;
        s->stage = STAGE_ASKING;
    } else if (s->stage == STAGE_DELAYED) {
        guard_leave(&a->guard, s);
    } else if (s->stage == STAGE_OPENING) {
        registry_set_opening(&a->registry, s, false);
    }
}

/* This login is over; the session stays and may try another, in the pool of its listener. */
static void give_up(struct admission *a, struct session *s)
{
    guard_forgive(s);
    registry_unbind(&a->registry, s, STAGE_OPEN);
    if (s->login)
        s->pool = s->login->pool;
    registry_unname(&a->registry, s);
    s->lease = (struct lease_id){0};
    s->attempt = 0;
}

static void refuse(struct admission *a, struct session *s, enum refuse code, const char *why,
                   struct slice told)
{
    give_up(a, s);
    a->effects->refuse(a->arg, s->worker, s->id, code, why, told);
}

void answer_refuse(struct admission *a, struct session *s, enum refuse code, const char *why)
{
    const char *told = code == REFUSE_UNAVAILABLE ? a->conf->pools[s->pool].unavailable_text : "";

    refuse(a, s, code, why, slice_str(told));
}

static void refuse_by_limit(struct admission *a, struct session *s, const struct refusal *r)
{
    a->effects->count(a->arg, METRIC_LIMITED);
    answer_refuse(a, s, r->code, r->why);
}

void admission_drop(struct admission *a, struct session *s, uint64_t now_ms)
{
    admission_leave(a, s);
    if (s->stage == STAGE_DONE) {
        route_remember(&a->route, s, now_ms);
        if (now_ms - s->noted_ms >= PENALTY_TOUCH_S * UINT64_C(1000))
            guard_remember(&a->guard, s, now_ms);
    }
    registry_remove(&a->registry, s);
}

static void tell_auth_failed(struct admission *a, const struct session *s, uint64_t now_ms)
{
    const struct penalty_record r = guard_record(&a->guard, s, now_ms);
    const struct auth_failed failed = {.client = s->client,
                                       .user = user_name(s->user),
                                       .failures = r.address,
                                       .user_failures = r.user};

    a->effects->auth_failed(a->arg, &failed);
}

/* --- leases -------------------------------------------------------------------------------- */

void answer_lease(struct admission *a, struct session *s)
{
    const struct backend *b = &a->backends->all[s->backend];
    const struct login *l = s->login;
    struct slice name = user_name(s->user);
    struct slice backend_user = slice_str(l->backend_user ? l->backend_user : "");
    char tail[2 * IPC_USER_MAX];
    struct msg_lease lease = {
        .pool = b->pool,
        .backend = b->index,
        .attempt = s->attempt,
        .addresses_n = (uint16_t)b->addresses_n,
        .flags = (uint16_t)((l->is_trial ? LEASE_IS_TRIAL : 0) | (l->verifies ? LEASE_VERIFY : 0)),
        .name_n = (uint16_t)name.n};

    INSIST(name.n + backend_user.n <= sizeof tail);
    memcpy(tail, name.p, name.n);
    memcpy(tail + name.n, backend_user.p, backend_user.n);

    if (++a->lease_number == 0)
        a->lease_number = 1;
    s->lease = lease.lease = (struct lease_id){a->epoch, a->lease_number};
    memcpy(lease.addresses, b->addresses, sizeof lease.addresses);
    registry_bind(&a->registry, s, s->backend, STAGE_LEASED);
    a->effects->lease(a->arg, s->worker, s->id, &lease, slice_of(tail, name.n + backend_user.n));
}

/* --- who waits ----------------------------------------------------------------------------- */

bool answer_must_wait(const struct admission *a, const struct session *s)
{
    const struct order *o;

    if (s->user->is_moving)
        return true;
    o = registry_order(&a->registry, user_name(s->user));
    return o && o->is_held;
}

const char *answer_held_words(const struct session *s)
{
    return s->user->is_moving ? "the user is being moved" : "the user is on hold";
}

static void wait_on_hold(struct admission *a, struct session *s, uint64_t now_ms)
{
    char why[LIMITS_WHY];

    if (a->held_n >= HELD_MAX) {
        snprintf(why, sizeof why, "%s, and too many logins wait already", answer_held_words(s));
        answer_refuse(a, s, REFUSE_INUSE, why);
        return;
    }
    s->stage = STAGE_HELD;
    a->held_n++;
    join(&a->hold_line, s, now_ms + a->conf->global.hold_timeout);
    a->effects->held(a->arg, user_name(s->user), a->held_n);
}

void answer_wait_again(struct admission *a, struct session *s, uint64_t now_ms)
{
    INSIST((s->stage == STAGE_QUEUED || s->stage == STAGE_RESOLVING) && s->attempt > 0);
    admission_leave(a, s);
    if (s->stage != STAGE_ASKING)
        registry_unbind(&a->registry, s, STAGE_ASKING);
    s->attempt--;
    wait_on_hold(a, s, now_ms);
}

/* --- limits -------------------------------------------------------------------------------- */

/* Says whether the login may go on; else it has been refused. */
static bool is_within_limits(struct admission *a, struct session *s, bool is_final)
{
    struct refusal refusal;

    if (!limits_admit(&a->limits, s, is_final, &refusal))
        return true;
    refuse_by_limit(a, s, &refusal);
    return false;
}

/* --- what directories know ----------------------------------------------------------------- */

/* What the facts say of the way becomes the login's. Not so: `out_why` says why it cannot be used.
 */
static int take_use(struct admission *a, struct session *s, const struct facts *f, struct err *err)
{
    struct login *l = s->login;
    struct facts_use use;

    if (facts_use(a->backends, f, s->pool, &use, err) < 0)
        return -1;
    if (use.pool != s->pool)
        s->attempt = 0; /* of one that was replayed: nothing has been tried there */
    if (registry_repool(&a->registry, s, use.pool) < 0)
        return err_set(err, 0, "no memory");
    if (f->backend_user.n > 0) {
        if (!user_is_name(f->backend_user))
            return err_set(err, 0, "backend_user is no user's name");
        l->backend_user = slice_dup(f->backend_user);
        if (!l->backend_user)
            return err_set(err, 0, "no memory");
    }
    l->backend = use.backend;
    l->max_sessions = f->max_sessions;
    l->verifies = f->verifies;
    return 0;
}

/* Says whether the login may go on; else it has been refused. */
static bool take_facts(struct admission *a, struct session *s, const struct facts_answer *answer)
{
    struct facts facts;
    struct err err;
    char why[ROUTE_WHY];

    if (answer->status == FACTS_UNAVAILABLE) {
        snprintf(why, sizeof why, "%s%.*s: %.*s",
                 answer->directory.n > 0 ? "directory " : "directories",
                 SLICE_ARG(answer->directory), SLICE_ARG(answer->text));
        answer_refuse(a, s, REFUSE_UNAVAILABLE, why);
        return false;
    }
    s->login->is_known = true;
    if (answer->status == FACTS_UNKNOWN)
        return true;
    if (facts_parse_wire(answer->text, &facts, &err) < 0 ||
        (!facts.is_disabled && take_use(a, s, &facts, &err) < 0)) {
        err_prefix(&err, "directory %.*s", SLICE_ARG(answer->directory));
        answer_refuse(a, s, REFUSE_UNAVAILABLE, err.text);
        return false;
    }
    if (facts.is_disabled) {
        snprintf(why, sizeof why, "directory %.*s: the user is disabled",
                 SLICE_ARG(answer->directory));
        refuse(a, s, REFUSE_DISABLED, why, facts.disabled_text);
        return false;
    }
    return true;
}

static void go_on(struct admission *a, struct session *s, uint64_t now_ms);

static void on_facts(struct facts_wait *f, struct asker *asker, const struct facts_answer *answer,
                     uint64_t now_ms)
{
    struct admission *a = CONTAINER(f, struct admission, facts);
    struct session *s = CONTAINER(asker, struct login, asker)->session;

    admission_leave(a, s);
    if (take_facts(a, s, answer) && is_within_limits(a, s, true))
        go_on(a, s, now_ms);
}

static void look(struct admission *a, struct session *s, uint64_t now_ms)
{
    struct login *l = s->login;

    s->stage = STAGE_LOOKING;
    l->asker.on_answer = on_facts;
    if (facts_wait_ask(&a->facts, &l->asker, user_name(s->user), false, now_ms) < 0) {
        s->stage = STAGE_ASKING;
        answer_refuse(a, s, REFUSE_UNAVAILABLE, "no memory");
    }
}

/* --- generations --------------------------------------------------------------------------- */

/* The session's worker has another configuration, by which it cannot be sent there: it costs nobody
 * anything. */
static void refuse_outdated(struct admission *a, struct session *s, uint32_t backend)
{
    char why[ROUTE_WHY];

    snprintf(why, sizeof why, "backend %s is not as the worker's configuration has it",
             backends_title(a->backends, backend));
    answer_refuse(a, s, REFUSE_OUTDATED, why);
}

/* The sessions of the user are to end first, which the login waits for. */
static void wait_for_stranded(struct admission *a, struct session *s, uint32_t backend,
                              uint64_t now_ms)
{
    struct err err;

    if (!registry_knows(&a->registry, s->worker, backend))
        refuse_outdated(a, s, backend);
    else if (a->effects->strand(a->arg, s->user, backend, now_ms, &err) < 0)
        answer_refuse(a, s, REFUSE_UNAVAILABLE, err.text);
    else
        wait_on_hold(a, s, now_ms);
}

/* --- attempts ------------------------------------------------------------------------------ */

/* The session goes to a backend, as soon as that has room. */
static void try_at(struct admission *a, struct session *s, uint32_t backend, uint64_t now_ms)
{
    if (!registry_knows(&a->registry, s->worker, backend)) {
        refuse_outdated(a, s, backend);
        return;
    }
    s->login->tried[s->attempt % ATTEMPTS_MAX] = (uint16_t)backend;
    s->attempt++;
    entrance_go(a, s, backend, now_ms);
}

/* The backends of the pool have all been asked for the user, as far as they could be. */
static void tried_all(struct admission *a, struct session *s, uint64_t now_ms)
{
    if (s->login->is_doubtful || s->attempt == 0) {
        answer_refuse(a, s, REFUSE_UNAVAILABLE,
                      "a backend that may know the user could not be asked");
        return;
    }
    if (!s->login->verifies && guard_blame(&a->guard, s, now_ms))
        tell_auth_failed(a, s, now_ms);
    answer_refuse(a, s, REFUSE_CREDENTIALS, "no backend of the pool takes this password");
}

/* place = try: the next in the order of the hash that can be asked. */
static void try_order(struct admission *a, struct session *s, uint64_t now_ms)
{
    uint32_t backend;

    while ((backend = route_nth(&a->route, s->pool, user_name(s->user), s->attempt)) !=
           BACKEND_NONE) {
        if (!backends_is_down(a->backends, backend)) {
            try_at(a, s, backend, now_ms);
            return;
        }
        s->login->is_doubtful = true;
        s->attempt++;
    }
    tried_all(a, s, now_ms);
}

/* Finds the session, which is on no backend and whose facts are known, one to try. */
static void try_next(struct admission *a, struct session *s, uint64_t now_ms)
{
    char why[ROUTE_WHY];
    uint32_t backend;
    bool was_trial = s->login->is_trial;

    s->login->is_trial = route_is_trial(&a->route, s);
    /* Attempts are counted by another order: as when another login of the user has found the
     * backend meanwhile. */
    if (s->login->is_trial != was_trial)
        s->attempt = 0;
    if (s->login->is_trial) {
        try_order(a, s, now_ms);
        return;
    }
    backend = route_choose(&a->route, s, now_ms, why);
    if (backend == BACKEND_NONE)
        answer_refuse(a, s, REFUSE_UNAVAILABLE, why);
    else if (route_is_stranded(&a->route, s->user))
        wait_for_stranded(a, s, backend, now_ms);
    else
        try_at(a, s, backend, now_ms);
}

void answer_begin(struct admission *a, struct session *s, uint64_t now_ms)
{
    registry_bind(&a->registry, s, s->backend, STAGE_RESOLVING);
    if (a->backends->all[s->backend].addresses_n > 0) {
        answer_lease(a, s);
    } else {
        s->until_ms = now_ms + a->conf->global.connect_timeout;
        list_append(&a->address_line, &s->waiting);
    }
}

/* Past guard and limits: its facts, then a backend; or it waits on hold. */
static void go_on(struct admission *a, struct session *s, uint64_t now_ms)
{
    if (!s->login->is_known)
        look(a, s, now_ms);
    else if (answer_must_wait(a, s))
        wait_on_hold(a, s, now_ms);
    else
        try_next(a, s, now_ms);
}

void answer_passed_over(struct admission *a, struct session *s, uint64_t now_ms)
{
    INSIST(s->attempt > 0);
    /* It was not tried. A trial goes on behind it. */
    if (s->login->is_trial)
        s->login->is_doubtful = true;
    else
        s->attempt--;
    go_on(a, s, now_ms);
}

/* The session's backend gave no verdict. With own storage that was it. With shared storage it goes
 * to the next; but while other sessions of the user are on a backend or trying it, these decide
 * where the user is, and route_choose() offers no other. It is refused then and not made to wait
 * for them: it could wait as long as all of their attempts take together, and clients come back by
 * themselves.
 */
void answer_failed(struct admission *a, struct session *s, const char *how, uint64_t now_ms)
{
    const char *title = backends_title(a->backends, s->backend);
    char why[ROUTE_WHY];

    if (s->login->is_trial)
        s->login->is_doubtful = true;
    if (s->login->is_trial || (route_is_shared(&a->route, s->pool) && s->attempt < ATTEMPTS_MAX)) {
        registry_unbind(&a->registry, s, STAGE_ASKING);
        go_on(a, s, now_ms);
        return;
    }
    snprintf(why, sizeof why, "backend %s %s%s", title, how,
             s->attempt >= ATTEMPTS_MAX ? ", the last that is tried" : "");
    answer_refuse(a, s, REFUSE_UNAVAILABLE, why);
}

/* Nothing but an operator or a directory changes a placement. */
static void record_place(struct admission *a, struct session *s)
{
    bool is_told = s->login && s->login->backend == s->backend;

    if (route_is_shared(&a->route, s->pool) || !backends_has_pool(a->backends, s->pool) ||
        s->user->placed == s->backend || (s->user->placed != BACKEND_NONE && !is_told))
        return;
    s->user->placed = s->backend;
    a->effects->placed(a->arg, user_name(s->user), a->conf->pools[s->pool].title,
                       backends_title(a->backends, s->backend));
}

void admission_note_login(struct admission *a, struct session *s, uint64_t now_ms)
{
    record_place(a, s);
    route_remember(&a->route, s, now_ms);
    guard_remember(&a->guard, s, now_ms);
    s->noted_ms = now_ms;
}

static void logged_in(struct admission *a, struct session *s, uint64_t now_ms)
{
    char why[ROUTE_WHY];

    /* Where it is may not be where the user will be. */
    if (s->user->is_moving) {
        answer_refuse(a, s, REFUSE_INUSE, answer_held_words(s));
        return;
    }
    if (!route_may_stay(&a->route, s, why)) {
        answer_refuse(a, s, REFUSE_UNAVAILABLE, why);
        return;
    }
    /* The others there have been ended, so that their users may go elsewhere; this one would keep
     * its user there. */
    if (wellness_empties(a, s->backend)) {
        answer_refuse(a, s, REFUSE_UNAVAILABLE, "the backend has gone down meanwhile");
        return;
    }
    guard_forgive(s);
    registry_bind(&a->registry, s, s->backend, STAGE_DONE);
    admission_note_login(a, s, now_ms);
    registry_end_login(s);
    a->effects->done(a->arg, s->worker, s->id);
}

/* --- questions, once the replays are in ---------------------------------------------------- */

void answer_turn_away(struct admission *a, struct admission_worker *w, uint32_t id,
                      const struct refusal *r)
{
    a->effects->count(a->arg, METRIC_LIMITED);
    a->effects->refuse(a->arg, w, id, r->code, r->why, SLICE(""));
}

void answer_open(struct admission *a, struct session *s)
{
    struct admission_worker *w = s->worker;
    uint32_t id = s->id;
    struct refusal refusal;

    admission_leave(a, s);
    if (!limits_open(&a->limits, s, &refusal)) {
        a->effects->go(a->arg, w, id);
        return;
    }
    registry_remove(&a->registry, s);
    answer_turn_away(a, w, id, &refusal);
}

/* On its way to a backend, unless too many are. */
void answer_login(struct admission *a, struct session *s, uint64_t now_ms)
{
    struct refusal refusal;

    if (limits_login(&a->limits, &refusal))
        refuse_by_limit(a, s, &refusal);
    else
        go_on(a, s, now_ms);
}

/* The guard has let it pass. */
static void pass(struct admission *a, struct session *s, uint64_t now_ms)
{
    if (!answer_must_wait(a, s))
        answer_login(a, s, now_ms);
    else if (s->login->is_known || is_within_limits(a, s, true)) /* or the line is one user's */
        wait_on_hold(a, s, now_ms);
}

/* A login that has just come, or that has waited for the guard. */
void answer_admit(struct admission *a, struct session *s, bool has_waited, uint64_t now_ms)
{
    char why[PENALTY_WHY];

    /* Who has waited did not count meanwhile, so that others may have come before. */
    if (!is_within_limits(a, s, s->login->is_known))
        return;
    switch (guard_judge(&a->guard, s, has_waited, now_ms, why)) {
    case PENALTY_PASS:
        pass(a, s, now_ms);
        break;
    case PENALTY_WAIT:
        if (!has_waited)
            a->effects->count(a->arg, METRIC_LOGINS_DELAYED);
        break;
    case PENALTY_REFUSE:
        a->effects->count(a->arg, METRIC_LOGINS_PENALIZED);
        tell_auth_failed(a, s, now_ms);
        answer_refuse(a, s, REFUSE_PENALTY, why);
        break;
    }
}

/* When the client is elsewhere than the connection came from, as a trusted proxy told: that is
 * where it counts from now on. Says whether the login may go on. */
bool admission_come(struct admission *a, struct session *s, const struct addr *told)
{
    const struct in6_addr client = network_client(told);
    struct refusal refusal;

    if (!addr_is_set(told) || memcmp(&client, &s->client, sizeof client) == 0)
        return true;
    if (limits_come(&a->limits, s, &client, &refusal)) {
        refuse_by_limit(a, s, &refusal);
        return false;
    }
    if (registry_come(&a->registry, s, &client) < 0) {
        answer_refuse(a, s, REFUSE_UNAVAILABLE, "no memory");
        return false;
    }
    return true;
}

/* The password was wrong: the client may try again, and is charged for this. */
static void refused(struct admission *a, struct session *s, uint64_t now_ms)
{
    if (guard_blame(&a->guard, s, now_ms))
        tell_auth_failed(a, s, now_ms);
    give_up(a, s);
}

/* A trial, and this backend does not know the user by this password. */
static void try_on(struct admission *a, struct session *s, uint64_t now_ms)
{
    registry_unbind(&a->registry, s, STAGE_ASKING);
    go_on(a, s, now_ms);
}

void answer_result(struct admission *a, struct session *s, enum result result, enum fault fault,
                   uint64_t now_ms)
{
    bool is_verdict = result == RESULT_OK || result == RESULT_REFUSED;

    if (is_verdict || (result == RESULT_FAILED && fault == FAULT_BACKEND))
        wellness_login(a, s, is_verdict, now_ms);
    switch (result) {
    case RESULT_OK:
        logged_in(a, s, now_ms);
        break;
    case RESULT_REFUSED:
        if (s->login->is_trial)
            try_on(a, s, now_ms);
        else if (s->login->verifies) /* lookup has said before that it is right */
            give_up(a, s);
        else
            refused(a, s, now_ms);
        break;
    case RESULT_DENIED:
        refused(a, s, now_ms);
        break;
    case RESULT_WITHDRAWN:
        give_up(a, s);
        break;
    case RESULT_FAILED:
        answer_failed(a, s, "failed", now_ms);
        break;
    }
}
