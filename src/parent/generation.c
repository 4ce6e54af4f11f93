/* Generations: processes of one program with one configuration. There is a current one; while a
 * change is under way candidates for the next; and past ones, whose workers serve their last
 * sessions. */
#include "parent/internal.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How long a process may take to end, which for a control means to write down what its successor
 * shall know. */
enum { LEAVE_LIMIT_MS = 5000 };

static const struct slice no_tail = {NULL, 0};

struct generation *generation_new(struct parent *p)
{
    struct generation *g = calloc(1, sizeof *g);

    if (!g || !(g->workers = calloc(CONF_WORKERS_MAX, sizeof *g->workers))) {
        free(g);
        return NULL;
    }
    list_init(&g->node);
    g->parent = p;
    g->number = p->current ? p->current->number + 1 : 1;
    g->program_fd = g->counters_fd = g->conf_fd = g->rules_fd = -1;
    process_init(&g->control, g, ROLE_CONTROL, 0);
    process_init(&g->lookup, g, ROLE_LOOKUP, 0);
    process_init(&g->preparer, g, ROLE_PREPARE, 0);
    return g;
}

void generation_set_workers(struct generation *g, unsigned n)
{
    INSIST(n <= CONF_WORKERS_MAX);
    for (unsigned i = 0; i < n; i++)
        process_init(&g->workers[i], g, ROLE_WORKER, i);
    g->workers_n = n;
}

static void drop_given(struct generation *g)
{
    close_fd(&g->program_fd);
    close_fd(&g->counters_fd);
    close_fd(&g->conf_fd);
    close_fd(&g->rules_fd);
    files_free(&g->files);
}

static void leave(struct process *pr, void *ignored)
{
    (void)ignored;
    channel_close(&pr->channel);
    deadline_clear(&pr->restart);
}

void generation_free(struct generation **g)
{
    if (!*g)
        return;
    generation_each(*g, leave, NULL);
    list_remove(&(*g)->node);
    drop_given(*g);
    free((*g)->workers);
    free(*g);
    *g = NULL;
}

int generation_start(struct generation *g, struct err *err)
{
    if (process_start(&g->control, err) < 0 || process_start(&g->lookup, err) < 0)
        return -1;
    for (unsigned i = 0; i < g->workers_n; i++) {
        if (process_start(&g->workers[i], err) < 0)
            return -1;
    }
    return 0;
}

static void is_not_ready(struct process *pr, void *arg)
{
    if (!pr->is_ready && pr->role != ROLE_PREPARE)
        *(bool *)arg = true;
}

bool generation_is_ready(struct generation *g)
{
    bool is_waiting = false;

    generation_each(g, is_not_ready, &is_waiting);
    return !is_waiting;
}

static void is_idle(struct process *pr, void *arg)
{
    if (!pr->is_at_work && pr->role != ROLE_PREPARE)
        *(bool *)arg = true;
}

bool generation_is_at_work(struct generation *g)
{
    bool is_waiting = false;

    generation_each(g, is_idle, &is_waiting);
    return !is_waiting;
}

static void is_running(struct process *pr, void *arg)
{
    if (pr->pid)
        *(bool *)arg = true;
}

void generation_tidy(struct parent *p)
{
    list_for_each_safe (it, &p->past) {
        struct generation *g = CONTAINER(it, struct generation, node);
        bool is_any = false;

        generation_each(g, is_running, &is_any);
        if (!is_any)
            generation_free(&g);
    }
}

static void on_tidy(struct deadline *d)
{
    generation_tidy(CONTAINER(d, struct parent, tidy));
}

void generation_give_up(struct generation *g)
{
    g->is_given_up = true;
    list_append(&g->parent->past, &g->node);
    generation_each(g, process_kill, NULL);
    /* Perhaps none of its processes was ever started, so that the end of none will tell. */
    if (!deadline_is_set(&g->parent->tidy))
        deadline_set(g->parent->loop, &g->parent->tidy, 0);
}

/* --- those that are to end ---------------------------------------------------------------------
 */

/* When the next of them has to have ended; in milliseconds. */
struct leaving {
    uint64_t next_ms;
};

static void see_off(struct process *pr, void *arg)
{
    struct parent *p = pr->parent;
    const uint64_t now_ms = loop_now_ms(p->loop);
    struct leaving *l = arg;

    if (!pr->pid || pr->told_ms == 0)
        return;
    if (now_ms - pr->told_ms >= LEAVE_LIMIT_MS)
        process_kill_stuck(pr, NULL);
    else if (pr->told_ms + LEAVE_LIMIT_MS - now_ms < l->next_ms)
        l->next_ms = pr->told_ms + LEAVE_LIMIT_MS - now_ms;
}

static void on_leave_limit(struct deadline *d)
{
    struct parent *p = CONTAINER(d, struct parent, leave_limit);
    struct leaving l = {UINT64_MAX};

    processes_each(p, see_off, &l);
    if (l.next_ms != UINT64_MAX)
        deadline_set(p->loop, d, l.next_ms);
}

void generation_init_limits(struct parent *p)
{
    deadline_init(&p->leave_limit, on_leave_limit);
    deadline_init(&p->tidy, on_tidy);
}

/* Also those that the program before us has told. */
static void set_limit(struct process *pr, void *ignored)
{
    struct parent *p = pr->parent;

    (void)ignored;
    if (!pr->pid || pr->told_ms > 0 || pr->generation == p->current ||
        pr->generation->is_given_up || (pr->role == ROLE_WORKER && pr->has_begun))
        return;
    pr->told_ms = loop_now_ms(p->loop);
    if (!deadline_is_set(&p->leave_limit))
        deadline_set(p->loop, &p->leave_limit, LEAVE_LIMIT_MS);
}

/* --- the change of generations -----------------------------------------------------------------
 */

static void retire(struct process *pr, void *ignored)
{
    const struct msg_retire m = {.limit_ms = pr->parent->conf->global.worker_shutdown_timeout};

    (void)ignored;
    deadline_clear(&pr->restart);
    if (!pr->pid)
        return;
    if (pr->role == ROLE_WORKER && pr->has_begun) {
        channel_send(&pr->channel, MSG_RETIRE, 0, &m, no_tail, -1);
        return;
    }
    /* Nobody is joined with it any more. */
    pr->has_begun = false;
    process_stop(pr);
}

void generation_switch(struct parent *p, struct conf *conf, struct ports *ports)
{
    struct generation *old = p->current;

    p->current = p->next;
    p->next = NULL;
    list_append(&p->past, &old->node);
    conf_free(&p->conf);
    p->conf = conf;
    ports_close(&p->ports);
    p->ports = *ports;
    *ports = (struct ports){0};
    generation_each(old, retire, NULL);
    /* At once, and before the new workers accept: whoever waits in the queue of a socket that is
     * not listened on any more is the old workers'. */
    channels_flush(&p->channels);
    drop_given(old);
    processes_each(p, set_limit, NULL);
    /* All is said long ago; it hangs if it still lives. */
    process_kill(&p->current->preparer, NULL);
    /* Each joins itself with all that works already, workers of the past included. */
    generation_each(p->current, process_begin_if_due, NULL);
}
