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

/* What is at its limit; NULL: nothing is. */
static const char *full(const struct admission *a, const struct backend *b)
{
    uint32_t most = entrance_sessions_max(&a->entrance, b->conf);

    if (most > 0 && b->sessions >= most)
        return most == b->conf->max_sessions ? "max_sessions" : "ports towards it";
    if (b->conf->max_connecting > 0 && b->connecting >= b->conf->max_connecting)
        return "max_connecting";
    return NULL;
}

static uint32_t login_rate(const struct admission *a, uint32_t backend, uint64_t now_ms)
{
    const struct backend *b = &a->backends->all[backend];
    const struct health_params p = backends_health_params(a->backends, backend);
    uint64_t rate =
        (uint64_t)b->conf->login_rate * health_share(&b->health, &p, now_ms) / HEALTH_SHARE_WHOLE;

    return rate > 0 || b->conf->login_rate == 0 ? (uint32_t)rate : 1;
}

static bool has_descriptors(const struct admission *a, const struct admission_worker *w)
{
    uint64_t taken = (uint64_t)w->sessions.used + w->bound_n + WORKER_RESERVE;

    return a->entrance.descriptors == 0 || taken < a->entrance.descriptors;
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

void entrance_leave(struct admission *a, struct session *s)
{
    struct backend *b = &a->backends->all[s->backend];

    INSIST(s->stage == STAGE_QUEUED && a->entrance.waiting_n > 0);
    list_remove(&s->waiting);
    queue_remove(&b->queue, &s->login->queued);
    a->entrance.waiting_n--;
    if (!queue_first(&b->queue))
        list_remove(&b->queueing);
    registry_unbind(&a->registry, s, STAGE_ASKING);
}

static void tell_queued(struct admission *a, struct backend *b, const char *limit, uint64_t now_ms)
{
    if (b->told_queue_ms != 0 && now_ms - b->told_queue_ms < QUEUE_TOLD_MS)
        return;
    b->told_queue_ms = now_ms;
    a->effects->queued(a->arg, (uint32_t)(b - a->backends->all), b->queue.n, limit);
}

static void wait_for(struct admission *a, struct session *s, uint32_t backend, const char *limit,
                     uint64_t now_ms)
{
    struct backend *b = &a->backends->all[backend];

    if (queue_add(&b->queue, &s->login->queued, s->user) < 0) {
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

void entrance_go(struct admission *a, struct session *s, uint32_t backend, uint64_t now_ms)
{
    struct backend *b = &a->backends->all[backend];
    const char *limit = full(a, b);

    registry_bind(&a->registry, s, backend, STAGE_QUEUED);
    if (!queue_first(&b->queue) && !limit && may_begin(a, s, backend, now_ms)) {
        answer_begin(a, s, now_ms);
        return;
    }
    /* Those before it may have been passed over, each for its own reason. */
    if (!limit && queue_first(&b->queue))
        soonest(&b->room_due_ms, now_ms);
    if (!limit)
        limit = !has_descriptors(a, s->worker) ? "descriptors of the worker"
                : s->login->is_trial           ? "try_rate or login_rate"
                                               : "login_rate";
    wait_for(a, s, backend, limit, now_ms);
}

/* As many as there is room for, in turn. */
static void let_in(struct admission *a, uint32_t backend, uint64_t now_ms)
{
    struct backend *b = &a->backends->all[backend];
    struct queued *e = queue_first(&b->queue);
    unsigned passed_over = 0;
    struct queued *next;

    b->has_room_again = false;
    b->room_due_ms = 0;
    while (e && !full(a, b) && passed_over < PASSED_OVER_MAX) {
        struct session *s = session_of(e);

        if (!may_begin(a, s, backend, now_ms)) {
            /* The rate of all holds everybody up. */
            if (has_descriptors(a, s->worker) && !s->login->is_trial)
                break;
            passed_over++;
            e = queue_next(&b->queue, e);
            continue;
        }
        next = queue_next(&b->queue, e);
        queue_take(&b->queue, e);
        list_remove(&s->waiting);
        a->entrance.waiting_n--;
        answer_begin(a, s, now_ms);
        /* Who has been passed over is not looked at again. */
        e = next || passed_over > 0 ? next : queue_first(&b->queue);
    }
    if (!queue_first(&b->queue))
        list_remove(&b->queueing);
}

void entrance_settle(struct admission *a, uint64_t now_ms)
{
    if (!a->is_recovered)
        return;
    list_for_each_safe (it, &a->entrance.queueing) {
        struct backend *b = CONTAINER(it, struct backend, queueing);

        if (b->has_room_again || (b->room_due_ms != 0 && b->room_due_ms <= now_ms))
            let_in(a, (uint32_t)(b - a->backends->all), now_ms);
    }
}

void entrance_empty(struct admission *a, uint32_t backend, uint64_t now_ms)
{
    struct backend *b = &a->backends->all[backend];
    struct queued *e;

    while ((e = queue_first(&b->queue)) != NULL) {
        struct session *s = session_of(e);

        entrance_leave(a, s);
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
    for (size_t i = 0; i < a->conf->pools_n; i++) {
        const struct list *line = &a->entrance.lines[i];

        if (!list_empty(line))
            soonest(&due_ms, CONTAINER(line->next, struct session, waiting)->until_ms);
    }
    list_for_each (it, &a->entrance.queueing) {
        const struct backend *b = CONTAINER(it, struct backend, queueing);

        if (b->room_due_ms != 0)
            soonest(&due_ms, b->room_due_ms);
    }
    return due_ms;
}
