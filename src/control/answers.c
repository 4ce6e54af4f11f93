/* What becomes of a session when its question is answered: the way of a login through limits, guard
 * and hold to a lease, and back. */
#include "control/answers.h"

#include <stdio.h>
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
    if (s->stage == STAGE_HELD) {
        INSIST(a->held_n > 0);
        a->held_n--;
        s->stage = STAGE_ASKING;
    } else if (s->stage == STAGE_DELAYED) {
        guard_leave(&a->guard, s);
    } else if (s->stage == STAGE_OPENING) {
        registry_set_opening(&a->registry, s, false);
    }
}

/* This login is over; the session stays and may try another. */
static void give_up(struct admission *a, struct session *s)
{
    guard_forgive(s);
    registry_unbind(&a->registry, s, STAGE_OPEN);
    registry_unname(&a->registry, s);
    s->lease = (struct lease_id){0};
    s->attempt = 0;
}

void answer_refuse(struct admission *a, struct session *s, enum refuse code, const char *why)
{
    give_up(a, s);
    a->effects->refuse(a->arg, s->worker, s->id, code, why);
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
    struct msg_lease lease = {.pool = b->pool,
                              .backend = b->index,
                              .attempt = s->attempt,
                              .addresses_n = (uint16_t)b->addresses_n};

    if (++a->lease_number == 0)
        a->lease_number = 1;
    s->lease = lease.lease = (struct lease_id){a->epoch, a->lease_number};
    memcpy(lease.addresses, b->addresses, sizeof lease.addresses);
    registry_bind(&a->registry, s, s->backend, STAGE_LEASED);
    a->effects->lease(a->arg, s->worker, s->id, &lease);
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
    INSIST(s->stage == STAGE_RESOLVING && s->attempt > 0);
    admission_leave(a, s);
    registry_unbind(&a->registry, s, STAGE_ASKING);
    s->attempt--;
    wait_on_hold(a, s, now_ms);
}

/* --- attempts ------------------------------------------------------------------------------ */

/* Finds the session, which is on no backend, one to try. */
static void try_next(struct admission *a, struct session *s, uint64_t now_ms)
{
    char why[ROUTE_WHY];
    uint32_t backend = route_choose(&a->route, s, now_ms, why);

    if (backend == BACKEND_NONE) {
        answer_refuse(a, s, REFUSE_UNAVAILABLE, why);
        return;
    }
    s->tried[s->attempt++] = (uint16_t)backend;
    registry_bind(&a->registry, s, backend, STAGE_RESOLVING);
    if (a->backends->all[backend].addresses_n > 0)
        answer_lease(a, s);
    else
        join(&a->address_line, s, now_ms + a->conf->global.connect_timeout);
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

    if (route_is_shared(&a->route, s->pool) && s->attempt < ATTEMPTS_MAX) {
        registry_unbind(&a->registry, s, STAGE_ASKING);
        if (s->user->is_moving)
            wait_on_hold(a, s, now_ms);
        else
            try_next(a, s, now_ms);
        return;
    }
    snprintf(why, sizeof why, "backend %s %s%s", title, how,
             s->attempt == ATTEMPTS_MAX ? ", the last that is tried" : "");
    answer_refuse(a, s, REFUSE_UNAVAILABLE, why);
}

static void record_place(struct admission *a, struct session *s)
{
    if (route_is_shared(&a->route, s->pool) || s->user->placed != BACKEND_NONE)
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
    guard_forgive(s);
    registry_bind(&a->registry, s, s->backend, STAGE_DONE);
    admission_note_login(a, s, now_ms);
    a->effects->done(a->arg, s->worker, s->id);
}

/* --- questions, once the replays are in ---------------------------------------------------- */

void answer_turn_away(struct admission *a, struct admission_worker *w, uint32_t id,
                      const struct refusal *r)
{
    a->effects->count(a->arg, METRIC_LIMITED);
    a->effects->refuse(a->arg, w, id, r->code, r->why);
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
        try_next(a, s, now_ms);
}

/* The guard has let it pass. */
static void pass(struct admission *a, struct session *s, uint64_t now_ms)
{
    if (answer_must_wait(a, s))
        wait_on_hold(a, s, now_ms);
    else
        answer_login(a, s, now_ms);
}

/* A login that has just come, or that has waited for the guard. */
void answer_admit(struct admission *a, struct session *s, bool has_waited, uint64_t now_ms)
{
    char why[PENALTY_WHY];
    struct refusal refusal;

    /* Who has waited did not count meanwhile, so that others may have come before. */
    if (limits_admit(&a->limits, s, &refusal)) {
        refuse_by_limit(a, s, &refusal);
        return;
    }
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

void answer_result(struct admission *a, struct session *s, enum result result, uint64_t now_ms)
{
    switch (result) {
    case RESULT_OK:
        logged_in(a, s, now_ms);
        break;
    case RESULT_REFUSED:
        refused(a, s, now_ms);
        break;
    case RESULT_FAILED:
        answer_failed(a, s, "failed", now_ms);
        break;
    }
}
