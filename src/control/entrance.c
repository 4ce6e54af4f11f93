/* Who may go to a backend now, and who waits, control/entrance.h. */
#include "control/entrance.h"

#include "control/answers.h"

#include <stdio.h>
#include <stdlib.h>

int entrance_init(struct entrance *e, const struct conf *conf)
{
    list_init(&e->queueing);
    e->lines = calloc(conf->pools_n + 1, sizeof *e->lines);
    for (size_t i = 0; e->lines && i < conf->pools_n; i++)
        list_init(&e->lines[i]);
    return e->lines ? 0 : -1;
}

void entrance_done(struct entrance *e)
{
    free(e->lines);
    e->lines = NULL;
}

/* --- what a backend may take --------------------------------------------------------------- */

uint32_t entrance_sessions_max(const struct entrance *e, const struct conf_backend *b)
{
    uint64_t ports = (uint64_t)e->ports * (b->source.n ? b->source.n : 1);

    if (ports == 0 || (b->max_sessions > 0 && b->max_sessions <= ports))
        return b->max_sessions;
    return ports < UINT32_MAX ? (uint32_t)ports : UINT32_MAX;
}

static bool are_logins_full(const struct admission *a)
{
    struct refusal refusal;

    return limits_login(&a->limits, &refusal);
}

/* What is at its limit; NULL: nothing is. */
static const char *full(struct admission *a, const struct backend *b)
{
    uint32_t most = entrance_sessions_max(&a->entrance, b->conf);

    if (most > 0 && b->sessions >= most)
        return most == b->conf->max_sessions ? "max_sessions" : "ports towards it";
    if (b->conf->max_connecting > 0 && b->connecting >= b->conf->max_connecting)
        return "max_connecting";
    if (!are_logins_full(a))
        return NULL;
    a->entrance.lacks_logins = true;
    return "max_logins";
}

static uint32_t login_rate(const struct admission *a, uint32_t backend, uint64_t now_ms)
{
    const struct backend *b = &a->backends->all[backend];
    const struct health_params p = backends_health_params(a->backends, backend);
    uint64_t rate =
        (uint64_t)b->conf->login_rate * health_share(&b->health, &p, now_ms) / HEALTH_SHARE_WHOLE;

    return rate > 0 || b->conf->login_rate == 0 ? (uint32_t)rate : 1;
}

/* One that is retired takes no more connections, and was given its limit by another configuration:
 * nobody waits for it. */
static bool has_descriptors(const struct admission *a, const struct admission_worker *w)
{
    uint64_t taken = (uint64_t)w->sessions.used + w->bound_n + WORKER_RESERVE;

    return a->entrance.descriptors == 0 || w->facts.is_retired || taken < a->entrance.descriptors;
}

static void soonest(uint64_t *due_ms, uint64_t at_ms)
{
    if (*due_ms == 0 || at_ms < *due_ms)
        *due_ms = at_ms;
}

/* Takes what a login needs of the backend's rates. If it cannot be had, `due_ms` is brought forward
 * to when it can. */
static bool take_tokens(struct admission *a, const struct session *s, uint32_t backend,
                        uint64_t now_ms, uint64_t *due_ms)
{
    struct backend *b = &a->backends->all[backend];
    struct bucket *tries = &a->backends->tries[b->pool];
    uint32_t rate = login_rate(a, backend, now_ms);
    uint32_t try_rate = a->conf->pools[b->pool].try_rate;

    if (!bucket_take(&b->logins, rate, now_ms)) {
        soonest(due_ms, bucket_due_ms(&b->logins, rate, now_ms));
        return false;
    }
    if (!s->login->is_trial || bucket_take(tries, try_rate, now_ms))
        return true;
    bucket_give(&b->logins, rate);
    soonest(due_ms, bucket_due_ms(tries, try_rate, now_ms));
    return false;
}

/* --- waiting ------------------------------------------------------------------------------- */

static struct session *session_of(const struct queued *e)
{
    return CONTAINER(e, struct login, queued)->session;
}

static struct queue *queue_of(struct backend *b, const struct session *s)
{
    return s->login->is_trial ? &b->trials : &b->queue;
}

static void stop_queueing(struct backend *b)
{
    if (backends_queued(b) == 0)
        list_remove(&b->queueing);
}

void entrance_leave(struct admission *a, struct session *s)
{
    struct backend *b = &a->backends->all[s->backend];

    INSIST(s->stage == STAGE_QUEUED && a->entrance.waiting_n > 0);
    list_remove(&s->waiting);
    queue_remove(queue_of(b, s), &s->login->queued);
    a->entrance.waiting_n--;
    stop_queueing(b);
    registry_unbind(&a->registry, s, STAGE_ASKING);
}

static void tell_queued(struct admission *a, struct backend *b, const char *limit, uint64_t now_ms)
{
    if (b->told_queue_ms != 0 && now_ms - b->told_queue_ms < QUEUE_TOLD_MS)
        return;
    b->told_queue_ms = now_ms;
    a->effects->queued(a->arg, (uint32_t)(b - a->backends->all), backends_queued(b), limit);
}

static void wait_for(struct admission *a, struct session *s, uint32_t backend, const char *limit,
                     uint64_t now_ms)
{
    struct backend *b = &a->backends->all[backend];

    if (queue_add(queue_of(b, s), &s->login->queued, s->user) < 0) {
        registry_unbind(&a->registry, s, STAGE_ASKING);
        answer_refuse(a, s, REFUSE_UNAVAILABLE, "no memory");
        return;
    }
    a->entrance.waiting_n++;
    s->until_ms = now_ms + a->conf->pools[b->pool].queue_timeout;
    list_append(&a->entrance.lines[b->pool], &s->waiting);
    if (list_empty(&b->queueing))
        list_append(&a->entrance.queueing, &b->queueing);
    a->effects->count(a->arg, METRIC_LOGINS_QUEUED);
    tell_queued(a, b, limit, now_ms);
}

/* --- letting in ---------------------------------------------------------------------------- */

/* Descriptors come back without a word: they are looked for again. */
static bool may_begin(struct admission *a, const struct session *s, uint32_t backend,
                      uint64_t now_ms)
{
    uint64_t *due_ms = &a->backends->all[backend].room_due_ms;

    if (has_descriptors(a, s->worker))
        return take_tokens(a, s, backend, now_ms, due_ms);
    soonest(due_ms, now_ms + DESCRIPTORS_AGAIN_MS);
    return false;
}

/* Nobody who could begin now came before. */
static bool is_first(const struct admission *a, const struct backend *b, const struct session *s,
                     uint64_t now_ms)
{
    uint32_t try_rate = a->conf->pools[b->pool].try_rate;

    if (queue_first(&b->queue))
        return false;
    return !queue_first(&b->trials) ||
           (!s->login->is_trial &&
            bucket_due_ms(&a->backends->tries[b->pool], try_rate, now_ms) > now_ms);
}

void entrance_go(struct admission *a, struct session *s, uint32_t backend, uint64_t now_ms)
{
    struct backend *b = &a->backends->all[backend];
    const char *limit = full(a, b);

    registry_bind(&a->registry, s, backend, STAGE_QUEUED);
    if (!limit) {
        bool is_next = is_first(a, b, s, now_ms);

        if (is_next && may_begin(a, s, backend, now_ms)) {
            answer_begin(a, s, now_ms);
            return;
        }
        /* It may be able to begin though those before it are not. */
        if (!is_next)
            b->has_room_again = true;
        limit = !has_descriptors(a, s->worker) ? "descriptors of the worker"
                : s->login->is_trial           ? "try_rate or login_rate"
                                               : "login_rate";
    }
    wait_for(a, s, backend, limit, now_ms);
}

/* Lets in whose turn it is, if anybody can begin. */
static bool let_one_in(struct admission *a, uint32_t backend, struct queue *queue, uint64_t now_ms)
{
    struct queued *e = queue_first(queue);

    for (unsigned passed_over = 0; e && passed_over < PASSED_OVER_MAX; passed_over++) {
        struct session *s = session_of(e);

        if (answer_must_wait(a, s)) {
            answer_wait_again(a, s, now_ms);
            e = queue_first(queue);
        } else if (may_begin(a, s, backend, now_ms)) {
            queue_take(queue, e);
            list_remove(&s->waiting);
            a->entrance.waiting_n--;
            answer_begin(a, s, now_ms);
            return true;
        } else if (has_descriptors(a, s->worker)) {
            return false; /* the rates hold everybody up */
        } else {
            e = queue_next(queue, e);
        }
    }
    return false;
}

/* As many as there is room for, in turn. Says whether there was room for any. */
static bool let_in(struct admission *a, uint32_t backend, uint64_t now_ms)
{
    struct backend *b = &a->backends->all[backend];
    bool has_begun = true, has_room = false;

    b->has_room_again = false;
    b->room_due_ms = 0;
    while (has_begun && !full(a, b)) {
        bool is_trials_turn = b->is_trials_turn;

        b->is_trials_turn = !is_trials_turn;
        has_begun = let_one_in(a, backend, is_trials_turn ? &b->trials : &b->queue, now_ms) ||
                    let_one_in(a, backend, is_trials_turn ? &b->queue : &b->trials, now_ms);
        has_room = has_room || has_begun;
    }
    stop_queueing(b);
    return has_room;
}

/* By an operator's order; when its health goes down entrance_empty() is called. */
static bool is_ordered_down(const struct backend *b)
{
    return b->state == BACKEND_DOWN;
}

static bool is_due(const struct backend *b, uint64_t now_ms)
{
    return b->has_room_again || is_ordered_down(b) ||
           (b->room_due_ms != 0 && b->room_due_ms <= now_ms);
}

void entrance_settle(struct admission *a, uint64_t now_ms)
{
    struct entrance *e = &a->entrance;
    bool have_logins_again = e->lacks_logins && !are_logins_full(a);
    size_t n = 0;

    if (!a->is_recovered)
        return;
    if (have_logins_again)
        e->lacks_logins = false;
    list_for_each (it, &e->queueing)
        n++;
    for (struct list *it = e->queueing.next, *next; n-- > 0; it = next) {
        struct backend *b = CONTAINER(it, struct backend, queueing);
        uint32_t number = (uint32_t)(b - a->backends->all);

        next = it->next;
        if (!have_logins_again && !is_due(b, now_ms))
            continue;
        if (is_ordered_down(b)) {
            entrance_empty(a, number, now_ms);
        } else if (let_in(a, number, now_ms) && !list_empty(it)) {
            /* Now the others come first to what all share. */
            list_remove(it);
            list_append(&e->queueing, it);
        }
    }
}

/* All are out before the first is answered, since those who still wait would say where their user
 * is. */
void entrance_empty(struct admission *a, uint32_t backend, uint64_t now_ms)
{
    struct backend *b = &a->backends->all[backend];
    struct list leaving;

    list_init(&leaving);
    while (backends_queued(b) > 0) {
        struct queued *e = queue_first(&b->queue);
        struct session *s = session_of(e ? e : queue_first(&b->trials));

        entrance_leave(a, s);
        list_append(&leaving, &s->waiting);
    }
    while (!list_empty(&leaving)) {
        struct session *s = CONTAINER(leaving.next, struct session, waiting);

        list_remove(&s->waiting);
        answer_passed_over(a, s, now_ms);
    }
}

/* --- time ---------------------------------------------------------------------------------- */

void entrance_tick(struct admission *a, uint64_t now_ms)
{
    for (size_t i = 0; i < a->conf->pools_n && a->entrance.waiting_n > 0; i++) {
        struct list *line = &a->entrance.lines[i];

        while (!list_empty(line)) {
            struct session *s = CONTAINER(line->next, struct session, waiting);
            char why[ROUTE_WHY];

            if (s->until_ms > now_ms)
                break;
            snprintf(why, sizeof why, "backend %s had no room within queue_timeout",
                     backends_title(a->backends, s->backend));
            entrance_leave(a, s);
            answer_refuse(a, s, REFUSE_UNAVAILABLE, why);
        }
    }
    entrance_settle(a, now_ms);
}

uint64_t entrance_due_ms(const struct admission *a)
{
    uint64_t due_ms = 0;

    if (a->entrance.waiting_n == 0)
        return 0;
    if (a->entrance.lacks_logins && !are_logins_full(a))
        return 1;
    for (size_t i = 0; i < a->conf->pools_n; i++) {
        const struct list *line = &a->entrance.lines[i];

        if (!list_empty(line))
            soonest(&due_ms, CONTAINER(line->next, struct session, waiting)->until_ms);
    }
    list_for_each (it, &a->entrance.queueing) {
        const struct backend *b = CONTAINER(it, struct backend, queueing);

        if (is_due(b, 0))
            return 1;
        if (b->room_due_ms != 0)
            soonest(&due_ms, b->room_due_ms);
    }
    return due_ms;
}
