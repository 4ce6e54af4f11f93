/* The life of the children: giving them what they need, joining them, replacing those that die. */
#include "parent/internal.h"

#include "base/log.h"
#include "net/listen.h"
#include "proc/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A process that dies young waits longer and longer before it is replaced; one that had lived is
 * replaced at once. */
enum { YOUNG_MS = 10 * 1000, RESTART_FIRST_MS = 100, RESTART_MOST_MS = 10 * 1000 };

/* Less than the second after which a child asks for another channel. */
enum { CROSSED_MS = 500 };

static const struct slice no_tail = {NULL, 0};

void generation_each(struct generation *g, void (*each)(struct process *pr, void *arg), void *arg)
{
    each(&g->control, arg);
    each(&g->lookup, arg);
    each(&g->preparer, arg);
    for (unsigned i = 0; i < g->workers_n; i++)
        each(&g->workers[i], arg);
}

void processes_each(struct parent *p, void (*each)(struct process *pr, void *arg), void *arg)
{
    if (p->current)
        generation_each(p->current, each, arg);
    if (p->next)
        generation_each(p->next, each, arg);
    list_for_each_safe (it, &p->past)
        generation_each(CONTAINER(it, struct generation, node), each, arg);
}

static bool is_current(const struct process *pr)
{
    return pr->generation == pr->parent->current;
}

/* --- giving and joining
 * --------------------------------------------------------------------------------------------- */

/* A descriptor of ours, of which the child gets its own. */
static int give(struct process *pr, enum msg_type type, const void *body, struct slice tail, int fd,
                struct err *err)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (copy < 0)
        return err_sys(err, errno, "cannot duplicate a descriptor");
    channel_send(&pr->channel, type, 0, body, tail, copy);
    return 0;
}

static int give_files(struct process *pr, struct err *err)
{
    const struct files *f = &pr->generation->files;

    for (size_t i = 0; i < f->n; i++) {
        if (give(pr, MSG_FILE, NULL, slice_str(f->all[i].name), f->all[i].fd, err) < 0)
            return -1;
    }
    return 0;
}

void process_renew(struct process *pr, void *ignored)
{
    struct err err;

    (void)ignored;
    if (pr->role != ROLE_WORKER || !pr->pid)
        return;
    if (give_files(pr, &err) < 0)
        log_detail(LOG_CERTIFICATES_REFUSED, "worker %u: %s", pr->slot, err.text);
    else
        channel_send(&pr->channel, MSG_RENEW, 0, NULL, no_tail, -1);
    /* At once, so that the copies for one worker are closed before those for the next are made. */
    channel_flush(&pr->channel);
}

void process_give_tickets(struct process *pr, void *ignored)
{
    (void)ignored;
    if (pr->role == ROLE_WORKER && pr->pid)
        channel_send(&pr->channel, MSG_TICKETS, 0, &pr->parent->tickets, no_tail, -1);
}

/* The last process in this place may have left its socket otherwise. Without it the others take all
 * connections. */
static bool is_listening(const struct port *port, int fd, const struct process *pr)
{
    struct log_line l;
    struct err err;
    int mended = listen_mend(fd, &port->addr, &err);

    if (mended == 0)
        return true;
    log_begin(&l, LOG_LISTENER_BROKEN);
    log_str(&l, "listener", port->title);
    log_addr(&l, "address", &port->addr);
    log_uint(&l, "slot", pr->slot);
    if (mended < 0)
        log_str(&l, "detail", err.text);
    log_end(&l);
    return mended > 0;
}

static int give_port(struct process *pr, const struct port *port, struct err *err)
{
    const struct msg_listener m = {.listener = port->listener};

    for (unsigned i = 0; i < port->fds_n; i++) {
        if (port_is_for(port, pr->generation->workers_n, pr->slot, i) &&
            is_listening(port, port->fds[i], pr) &&
            give(pr, MSG_LISTENER, &m, no_tail, port->fds[i], err) < 0)
            return -1;
    }
    return 0;
}

static int give_worker(struct process *pr, struct err *err)
{
    process_give_tickets(pr, NULL);
    return give_files(pr, err);
}

/* A candidate is given the door that it will have. */
static int give_door(struct process *pr, struct err *err)
{
    const struct local *door = &pr->parent->door;
    const char *path = pr->parent->door_path;

    if (!is_current(pr))
        change_door(pr->parent, &door, &path);
    return door->fd < 0 ? 0 : give(pr, MSG_DOOR, NULL, slice_str(path), door->fd, err);
}

static int give_control(struct process *pr, struct err *err)
{
    const struct parent *p = pr->parent;

    for (uint32_t i = 0; i < SHARED_COUNT; i++) {
        const struct msg_shared m = {.which = i};

        if (give(pr, MSG_SHARED, &m, no_tail, p->shared_fds[i], err) < 0)
            return -1;
    }
    return give_door(pr, err);
}

static void tell_peer(struct process *pr, const struct process *peer, int fd)
{
    const struct msg_peer m = {.role = (uint8_t)peer->role,
                               .slot = (uint8_t)peer->slot,
                               .flags = is_current(peer) ? 0 : PEER_RETIRED,
                               .instance = peer->instance,
                               .generation = peer->generation->number,
                               .pid = (uint32_t)peer->pid,
                               .started_s = peer->started_s};

    channel_send(&pr->channel, MSG_PEER, 0, &m, slice_str(peer->generation->version), fd);
}

/* A new channel between two processes. Where none can be had they ask for it again. */
static void join(struct process *one, struct process *other)
{
    struct err err;
    int fds[2];

    if (channel_pair(fds, &err) < 0) {
        log_detail(LOG_FATAL, "%s", err.text);
        return;
    }
    tell_peer(one, other, fds[0]);
    tell_peer(other, one, fds[1]);
}

/* Control, lookup and workers: each speaks with all that are not its like. */
static bool may_speak(const struct process *one, const struct process *other)
{
    return one->role != other->role;
}

static void join_if_running(struct process *pr, void *arg)
{
    if (pr->has_begun && may_speak(pr, arg))
        join(arg, pr);
}

static void count_worker(struct process *pr, void *arg)
{
    if (pr->has_begun && pr->role == ROLE_WORKER)
        ++*(uint32_t *)arg;
}

/* What asks while the other has just begun did so before it was told of it: a second channel
 * would break the first, and a replay in it. Nor does a child that was taken over get more of them
 * than it takes, or more than others have descriptors for. */
static bool may_rejoin(const struct process *pr, const struct process *other, uint64_t now_ms)
{
    return now_ms - other->begun_ms >= CROSSED_MS &&
           now_ms - pr->rejoined_ms[other->role] >= CROSSED_MS && pr->channel.fds_n == 0 &&
           other->channel.fds_n == 0;
}

static void rejoin(struct process *pr, const struct msg_rejoin *m)
{
    struct parent *p = pr->parent;
    uint64_t now_ms = loop_now_ms(p->loop);
    struct process *other = m->role == ROLE_CONTROL  ? &p->current->control
                            : m->role == ROLE_LOOKUP ? &p->current->lookup
                                                     : NULL;

    if (!other || !pr->has_begun || !other->has_begun || !may_speak(pr, other) ||
        !may_rejoin(pr, other, now_ms))
        return;
    pr->rejoined_ms[other->role] = now_ms;
    join(other, pr);
}

static void give_notes(struct process *pr)
{
    struct parent *p = pr->parent;

    if (p->notes_fd >= 0)
        channel_send(&pr->channel, MSG_NOTES, 0, NULL, no_tail, p->notes_fd);
    p->notes_fd = -1;
}

static void begin_control(struct process *pr, struct msg_begin *m)
{
    struct parent *p = pr->parent;
    struct log_line l;

    give_notes(pr);
    m->epoch = ++p->epoch;
    processes_each(p, count_worker, &m->peers);
    log_begin(&l, LOG_CONTROL_BEGUN);
    log_uint(&l, "pid", (uint64_t)pr->pid);
    log_uint(&l, "epoch", p->epoch);
    log_end(&l);
}

static int give_ports(struct process *pr, struct err *err)
{
    const struct ports *ports = &pr->parent->ports;

    for (size_t i = 0; i < ports->n; i++) {
        if (give_port(pr, &ports->all[i], err) < 0)
            return -1;
    }
    return 0;
}

/* To work, with all that it works with. */
static void begin(struct process *pr)
{
    struct parent *p = pr->parent;
    struct msg_begin m = {.epoch = p->epoch};
    struct err err;

    if (pr->role == ROLE_WORKER && give_ports(pr, &err) < 0) {
        /* Who waits in a socket that nobody accepts from would wait in vain: its successor may be
         * luckier. */
        log_detail(LOG_FATAL, "%s", err.text);
        process_kill(pr, NULL);
        return;
    }
    if (pr->role == ROLE_CONTROL)
        begin_control(pr, &m);
    channel_send(&pr->channel, MSG_BEGIN, 0, &m, no_tail, -1);
    processes_each(p, join_if_running, pr);
    pr->has_begun = true;
    pr->begun_ms = loop_now_ms(p->loop);
    /* At once, so that its copies of descriptors are closed before those for the next are made: a
     * whole generation begins in one turn. */
    channels_flush(&p->channels);
}

static void find_predecessor(struct process *pr, void *arg)
{
    struct process **p = arg;

    if (pr->pid && pr->role == ROLE_CONTROL && pr != *p && !(pr->generation == pr->parent->next))
        *p = NULL;
}

/* Only one control ever decides. */
static bool is_alone(struct process *pr)
{
    struct process *found = pr;

    processes_each(pr->parent, find_predecessor, &found);
    return found != NULL;
}

void process_begin_if_due(struct process *pr, void *ignored)
{
    (void)ignored;
    if (pr->pid && pr->is_ready && !pr->has_begun && is_current(pr) && !pr->parent->is_stopping &&
        pr->role != ROLE_PREPARE && (pr->role != ROLE_CONTROL || is_alone(pr)))
        begin(pr);
}

static void on_ready(struct process *pr)
{
    struct parent *p = pr->parent;

    pr->is_ready = true;
    if (pr->generation == p->next)
        change_ready(p);
    else
        process_begin_if_due(pr, NULL);
}

static void on_begun(struct process *pr)
{
    pr->is_at_work = pr->has_begun;
    parent_on_ready(pr->parent);
}

/* What it has written for its successor: of the one that was told to end, nobody else's. */
static bool take_notes(struct process *pr, int fd)
{
    struct parent *p = pr->parent;

    if (pr->role != ROLE_CONTROL || is_current(pr) || pr->generation == p->next ||
        pr->generation->is_given_up || p->notes_fd >= 0)
        return false;
    p->notes_fd = fd;
    return true;
}

static void on_message(struct channel *ch, const struct msg *m)
{
    struct process *pr = CONTAINER(ch, struct process, channel);

    if (m->fd >= 0 && !(m->type == MSG_NOTES && take_notes(pr, m->fd)))
        close(m->fd);
    watchdog_heard(pr);
    if (m->type == MSG_READY && !pr->is_ready) {
        on_ready(pr);
    } else if (m->type == MSG_BEGUN) {
        on_begun(pr);
    } else if (m->type == MSG_REJOIN) {
        rejoin(pr, m->body);
    } else if (m->type == MSG_STUCK && pr->role == ROLE_CONTROL && is_current(pr)) {
        parent_on_stuck(pr->parent, ((const struct msg_stuck *)m->body)->instance);
    } else if (m->type == MSG_CHANGE && pr->role == ROLE_CONTROL && is_current(pr)) {
        const struct msg_change *asked = m->body;

        if (asked->what <= CHANGE_UPGRADE)
            change_begin(pr->parent, (enum change_kind)asked->what, pr, m->id);
    }
}

/* The child's death comes as SIGCHLD too, with its status: there it is acted on. A candidate may
 * have closed it alive, as it does not understand us. */
static void on_closed(struct channel *ch, const char *why)
{
    struct process *pr = CONTAINER(ch, struct process, channel);

    if (pr->generation == pr->parent->next)
        change_closed(pr, why);
}

const struct channel_events process_events = {.on_message = on_message, .on_closed = on_closed};

static int introduce(struct process *pr, int fd, struct err *err)
{
    const struct generation *g = pr->generation;
    struct parent *p = pr->parent;
    const struct msg_hello self = msg_hello_of(ROLE_PARENT);
    const struct msg_start start = {.instance = pr->instance, .slot = pr->slot};

    channel_open(&pr->channel, &p->channels, fd, &self, &process_events);
    /* Lookup alone asks directories; what their rules hold of passwords is no one else's. */
    if (give(pr, MSG_CONF, NULL, no_tail, pr->role == ROLE_LOOKUP ? g->rules_fd : g->conf_fd, err) <
            0 ||
        give(pr, MSG_COUNTERS, NULL, no_tail, g->counters_fd, err) < 0 ||
        (pr->role == ROLE_WORKER && give_worker(pr, err) < 0) ||
        (pr->role == ROLE_CONTROL && give_control(pr, err) < 0))
        return -1;
    channel_send(&pr->channel, MSG_START, 0, &start, no_tail, -1);
    return 0;
}

static void log_process(struct log_line *l, const struct process *pr, enum log_event event)
{
    log_begin(l, event);
    log_str(l, "role", role_name(pr->role));
    if (pr->role == ROLE_WORKER)
        log_uint(l, "slot", pr->slot);
    log_uint(l, "pid", (uint64_t)pr->pid);
}

void process_stop(struct process *pr)
{
    deadline_clear(&pr->restart);
    if (pr->pid)
        channel_send(&pr->channel, MSG_STOP, 0, NULL, no_tail, -1);
}

void process_kill(struct process *pr, void *ignored)
{
    (void)ignored;
    deadline_clear(&pr->restart);
    if (pr->pid)
        kill(pr->pid, SIGKILL);
}

void process_kill_stuck(struct process *pr, void *ignored)
{
    struct log_line l;

    (void)ignored;
    if (!pr->pid)
        return;
    log_process(&l, pr, LOG_PROCESS_STUCK);
    log_end(&l);
    kill(pr->pid, SIGKILL);
}

/* --- start and restart
 * ---------------------------------------------------------------------------------------------- */

int process_spawn(struct process *pr, int *out_fd, struct err *err)
{
    struct parent *p = pr->parent;
    struct log_line l;
    int fds[2];

    if (channel_pair(fds, err) < 0)
        return -1;
    if (process_fork(pr, fds[1], &pr->pid, err) < 0) {
        close(fds[0]);
        close(fds[1]);
        return -1;
    }
    close(fds[1]);
    pr->instance = ++p->last_instance;
    pr->is_ready = pr->has_begun = pr->is_at_work = false;
    pr->started_ms = loop_now_ms(p->loop);
    pr->started_s = (uint64_t)time(NULL);
    watchdog_started(pr);
    log_process(&l, pr, LOG_PROCESS_STARTED);
    log_end(&l);
    *out_fd = fds[0];
    return 0;
}

int process_start(struct process *pr, struct err *err)
{
    int fd;

    if (process_spawn(pr, &fd, err) < 0)
        return -1;
    if (introduce(pr, fd, err) == 0)
        return 0;
    process_kill(pr, NULL);
    return -1;
}

static void on_restart(struct deadline *d)
{
    struct process *pr = CONTAINER(d, struct process, restart);
    struct err err;

    if (pr->parent->is_stopping || process_start(pr, &err) == 0)
        return;
    log_detail(LOG_FATAL, "%s", err.text);
    if (!pr->pid)
        deadline_set(pr->parent->loop, &pr->restart, RESTART_MOST_MS);
}

void process_init(struct process *pr, struct generation *g, enum role role, unsigned slot)
{
    *pr = (struct process){.parent = g->parent, .generation = g, .role = role, .slot = slot};
    deadline_init(&pr->restart, on_restart);
}

static uint32_t pause_before_restart(const struct process *pr)
{
    if (loop_now_ms(pr->parent->loop) - pr->started_ms >= YOUNG_MS)
        return 0;
    if (pr->restart_ms == 0)
        return RESTART_FIRST_MS;
    return pr->restart_ms * 2 < RESTART_MOST_MS ? pr->restart_ms * 2 : RESTART_MOST_MS;
}

/* What was told to end, and did so in order. */
static bool is_expected(const struct process *pr, int status)
{
    if (pr->generation->is_given_up || (pr->role == ROLE_PREPARE && is_current(pr)))
        return true;
    return (pr->parent->is_stopping || !is_current(pr)) && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static void log_ended(const struct process *pr, int status, bool is_replaced)
{
    struct log_line l;

    log_process(&l, pr, LOG_PROCESS_ENDED);
    if (WIFSIGNALED(status))
        log_uint(&l, "signal", (uint64_t)WTERMSIG(status));
    else
        log_uint(&l, "status", (uint64_t)WEXITSTATUS(status));
    if (is_replaced)
        log_uint(&l, "restart_ms", pr->restart_ms);
    log_end(&l);
}

static void log_gone(const struct process *pr)
{
    struct log_line l;

    log_begin(&l, LOG_WORKER_GONE);
    log_uint(&l, "slot", pr->slot);
    log_uint(&l, "pid", (uint64_t)pr->pid);
    log_uint(&l, "generation", pr->generation->number);
    log_end(&l);
}

static void forget(struct process *pr)
{
    channel_close(&pr->channel);
    pr->is_ready = pr->has_begun = pr->is_at_work = false;
}

/* Of the generations before: nobody takes its place, but a control's successor may be waiting. */
static void past_ended(struct process *pr)
{
    struct parent *p = pr->parent;

    /* Its notes may have come behind the last that we read. */
    channel_receive(&pr->channel);
    forget(pr);
    if (p->is_stopping)
        parent_on_ended(p);
    else
        process_begin_if_due(&p->current->control, NULL);
}

static void current_ended(struct process *pr)
{
    struct parent *p = pr->parent;

    forget(pr);
    if (!p->is_ready || p->is_stopping)
        parent_on_ended(p);
    else if (pr->restart_ms == 0)
        on_restart(&pr->restart);
    else
        deadline_set(p->loop, &pr->restart, pr->restart_ms);
}

void process_ended(struct process *pr, int status)
{
    struct parent *p = pr->parent;

    pr->restart_ms = pause_before_restart(pr);
    if (!is_expected(pr, status))
        log_ended(pr, status, is_current(pr) && p->is_ready && !p->is_stopping);
    else if (pr->role == ROLE_WORKER && !is_current(pr) && !pr->generation->is_given_up)
        log_gone(pr);
    /* The number may be another process' by now. */
    pr->pid = 0;
    if (is_current(pr) && pr->role != ROLE_PREPARE) {
        current_ended(pr);
    } else if (pr->generation == p->next) {
        /* What was prepared comes first. But a candidate that has ended is not ready, whatever it
         * has said. */
        if (pr->role == ROLE_PREPARE)
            channel_receive(&pr->channel);
        forget(pr);
        change_ended(pr, status);
    } else {
        past_ended(pr);
    }
}
