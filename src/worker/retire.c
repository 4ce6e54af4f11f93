/* The last part of a worker's life; see worker/retire.h. Sockets are accept.c's. */
#include "worker/retire.h"

#include "base/log.h"
#include "worker/accept.h"
#include "worker/probe.h"
#include "worker/session.h"
#include "worker/worker.h"

#include <unistd.h>

/* Sessions behind the limit: some at a time, all within LIMIT_WITHIN_MS. A deadline comes up to two
 * ticks late. */
enum {
    LIMIT_PACE_MS = 100,
    LIMIT_WITHIN_MS = 10 * 1000,
    LIMIT_TURNS = LIMIT_WITHIN_MS / (LIMIT_PACE_MS + 2 * LOOP_TICK_MS),
    LIMIT_LEAST = 50
};

static unsigned share_of(size_t sessions)
{
    size_t share = (sessions + LIMIT_TURNS - 1) / LIMIT_TURNS;

    return share > LIMIT_LEAST ? (unsigned)share : LIMIT_LEAST;
}

/* The limit has passed. The oldest go first; those that end already are no part of the share. */
static void on_limit(struct deadline *d)
{
    struct worker *w = CONTAINER(d, struct worker, retire_limit);
    unsigned n = 0;

    if (w->retire_share == 0)
        w->retire_share = share_of(w->by_id.used);
    list_for_each_safe (it, &w->sessions) {
        if (n == w->retire_share)
            break;
        if (session_kick(CONTAINER(it, struct session, all), CLOSE_RETIRED))
            n++;
    }
    /* Also when there were fewer: some may still come out of a queue. */
    if (n == w->retire_share || !list_empty(&w->accepting))
        deadline_set(w->loop, d, LIMIT_PACE_MS);
}

void retire_init(struct worker *w)
{
    deadline_init(&w->retire_limit, on_limit);
}

static void settle(struct worker *w)
{
    struct log_line l;

    log_begin(&l, LOG_WORKER_RETIRED);
    log_uint(&l, "slot", w->child->self.slot);
    log_uint(&l, "pid", (uint64_t)getpid());
    log_uint(&l, "sessions", w->by_id.used);
    log_end(&l);
    worker_end_if_idle(w);
}

void retire_go_on(struct worker *w)
{
    if (accept_rest(w))
        settle(w);
}

void retire_begin(struct worker *w, const struct msg_retire *m)
{
    if (w->is_retired || w->is_stopping)
        return;
    w->is_retired = true;
    probe_give_up(w, "given up, as this worker is of an earlier generation");
    if (m->limit_ms > 0)
        deadline_set(w->loop, &w->retire_limit, m->limit_ms);
    /* One that was never told to begin has no control to ask about anybody: who waits is its
     * successor's. */
    if (!w->child->has_begun)
        accept_end(w);
    accept_retire(w);
    retire_go_on(w);
}

void retire_end(struct worker *w)
{
    deadline_clear(&w->retire_limit);
}
