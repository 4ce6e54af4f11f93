/* Children that hang: seen by their silence, ended, and so replaced. What waits for them is not
 * lost, since sockets and memory are ours. */
#include "base/log.h"
#include "parent/internal.h"

#include <signal.h>

static void log_silent(const struct process *pr)
{
    struct log_line l;

    log_begin(&l, LOG_PROCESS_STUCK);
    log_str(&l, "role", role_name(pr->role));
    if (pr->role == ROLE_WORKER)
        log_uint(&l, "slot", pr->slot);
    log_uint(&l, "pid", (uint64_t)pr->pid);
    log_uint(&l, "silent_ms", silence_of(&pr->parent->silence, &pr->sign));
    log_end(&l);
}

static void look_at(struct process *pr, void *ignored)
{
    (void)ignored;
    if (!pr->pid)
        return;
    switch (silence_judge(&pr->parent->silence, &pr->sign, pr->is_ready)) {
    case SILENCE_FINE:
        break;
    case SILENCE_ABORT:
        log_silent(pr);
        /* crash.h's handler tells the place, which an endless loop is found by. */
        kill(pr->pid, SIGABRT);
        break;
    case SILENCE_KILL:
        kill(pr->pid, SIGKILL);
        break;
    }
}

static void on_look(struct deadline *d)
{
    struct parent *p = CONTAINER(d, struct parent, watch);

    deadline_set(p->loop, d, p->silence.every_ms);
    silence_look(&p->silence, loop_now_ms(p->loop));
    processes_each(p, look_at, NULL);
}

void watchdog_init(struct parent *p)
{
    deadline_init(&p->watch, on_look);
}

static void start_over(struct process *pr, void *ignored)
{
    (void)ignored;
    watchdog_started(pr);
}

static void shorten(uint32_t *least_ms, const struct generation *g)
{
    if (g->watchdog_ms > 0 && (*least_ms == 0 || g->watchdog_ms < *least_ms))
        *least_ms = g->watchdog_ms;
}

void watchdog_begin(struct parent *p)
{
    uint32_t least_ms = 0;

    p->current->watchdog_ms = p->conf->global.watchdog;
    generation_each(p->current, start_over, NULL);
    shorten(&least_ms, p->current);
    list_for_each (it, &p->past)
        shorten(&least_ms, CONTAINER(it, struct generation, node));
    silence_watch(&p->silence, least_ms, loop_now_ms(p->loop));
    deadline_clear(&p->watch);
    if (p->silence.every_ms > 0)
        deadline_set(p->loop, &p->watch, p->silence.every_ms);
}

void watchdog_started(struct process *pr)
{
    silence_started(&pr->parent->silence, pr->generation->watchdog_ms, &pr->sign);
}

void watchdog_heard(struct process *pr)
{
    silence_heard(&pr->parent->silence, &pr->sign);
}

void watchdog_end(struct parent *p)
{
    deadline_clear(&p->watch);
}
