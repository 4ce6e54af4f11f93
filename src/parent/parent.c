/* The parent's own life: starting everything, signals, stopping in order. */
#include "parent/parent.h"

#include "base/log.h"
#include "control/shared.h"
#include "parent/internal.h"
#include "proc/crash.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AGAIN_MS = 500, LOG_DRAIN_MS = 2000 };

static void is_not_ready(struct process *pr, void *arg)
{
    if (!pr->is_ready)
        *(bool *)arg = true;
}

void parent_on_ready(struct parent *p)
{
    bool is_waiting = false;
    struct log_line l;

    processes_each(p, is_not_ready, &is_waiting);
    if (p->is_ready || p->is_stopping || is_waiting)
        return;
    p->is_ready = true;
    log_begin(&l, LOG_READY);
    log_str(&l, "version", USHER_VERSION);
    log_uint(&l, "workers", p->workers_n);
    log_end(&l);
    service_ready(p);
}

/* --- stopping
 * -------------------------------------------------------------------------------------------------------
 */

static void is_running(struct process *pr, void *arg)
{
    if (pr->pid)
        *(bool *)arg = true;
}

static bool are_workers_running(const struct parent *p)
{
    for (unsigned i = 0; i < p->workers_n; i++) {
        if (p->workers[i].pid)
            return true;
    }
    return false;
}

void parent_on_ended(struct parent *p)
{
    bool is_any = false;

    if (!p->is_stopping)
        parent_stop(p, true);
    /* Control outlives the workers: it writes down what their last sessions did. */
    if (!are_workers_running(p)) {
        process_stop(&p->lookup);
        process_stop(&p->control);
    }
    processes_each(p, is_running, &is_any);
    if (!is_any)
        loop_stop(p->loop);
}

void parent_stop(struct parent *p, bool has_failed)
{
    p->has_failed |= has_failed;
    if (p->is_stopping)
        return;
    p->is_stopping = true;
    p->stop_asked_ms = loop_now_ms(p->loop);
    service_stopping(p);
    watchdog_end(p);
    ports_close(p);
    door_close(p);
    deadline_set(p->loop, &p->stop_limit, p->conf->global.stop_timeout);
    for (unsigned i = 0; i < p->workers_n; i++)
        process_stop(&p->workers[i]);
    parent_on_ended(p);
}

static void kill_stuck(struct process *pr, void *arg)
{
    struct log_line l;

    (void)arg;
    if (!pr->pid)
        return;
    log_begin(&l, LOG_PROCESS_STUCK);
    log_str(&l, "role", role_name(pr->role));
    if (pr->role == ROLE_WORKER)
        log_uint(&l, "slot", pr->slot);
    log_uint(&l, "pid", (uint64_t)pr->pid);
    log_end(&l);
    kill(pr->pid, SIGKILL);
}

void parent_on_stuck(struct parent *p, uint32_t instance)
{
    for (unsigned i = 0; i < p->workers_n; i++) {
        if (p->workers[i].instance == instance)
            kill_stuck(&p->workers[i], NULL);
    }
}

static void on_stop_limit(struct deadline *d)
{
    struct parent *p = CONTAINER(d, struct parent, stop_limit);

    p->has_failed = true;
    if (!are_workers_running(p)) {
        processes_each(p, kill_stuck, NULL);
        return;
    }
    /* Control and lookup have not been told to end yet: they are when the last worker is gone. */
    for (unsigned i = 0; i < p->workers_n; i++)
        kill_stuck(&p->workers[i], NULL);
    deadline_set(p->loop, &p->stop_limit, p->conf->global.stop_timeout);
}

/* --- signals
 * --------------------------------------------------------------------------------------------------------
 */

static void on_stop_signal(void *arg, int signal)
{
    struct parent *p = arg;
    struct log_line l;

    if (p->is_stopping) {
        /* Asked again: whoever asks does not want to wait. But a terminal and timeout(1) signal
         * both the process and its group, and that is one wish. */
        if (loop_now_ms(p->loop) - p->stop_asked_ms >= AGAIN_MS) {
            p->has_failed = true;
            processes_each(p, kill_stuck, NULL);
        }
        return;
    }
    log_begin(&l, LOG_STOPPING);
    log_uint(&l, "signal", (uint64_t)signal);
    log_end(&l);
    parent_stop(p, false);
}

struct death {
    pid_t pid;
    int status;
};

static void match_death(struct process *pr, void *arg)
{
    const struct death *d = arg;

    if (pr->pid == d->pid)
        process_ended(pr, d->status);
}

static void on_child(void *arg, int signal)
{
    struct death d;

    (void)signal;
    /* As process 1 of a container we are given other people's orphans too: they match none. */
    while ((d.pid = waitpid(-1, &d.status, WNOHANG)) > 0)
        processes_each(arg, match_death, &d);
}

static void on_hangup(void *arg, int signal)
{
    struct parent *p = arg;

    (void)signal;
    if (p->is_stopping)
        return;
    service_renewing(p);
    service_renewed(p, !renew_again(p));
}

static int take_signals(struct parent *p, struct err *err)
{
    signal(SIGPIPE, SIG_IGN);
    if (loop_on_signal(p->loop, SIGTERM, on_stop_signal, p, err) < 0 ||
        loop_on_signal(p->loop, SIGINT, on_stop_signal, p, err) < 0 ||
        loop_on_signal(p->loop, SIGHUP, on_hangup, p, err) < 0 ||
        loop_on_signal(p->loop, SIGCHLD, on_child, p, err) < 0)
        return -1;
    return 0;
}

/* --- starting
 * -------------------------------------------------------------------------------------------------------
 */

static int start_processes(struct parent *p, struct err *err)
{
    p->workers = calloc(p->workers_n, sizeof *p->workers);
    if (!p->workers)
        return err_set(err, ENOMEM, "out of memory");
    process_init(&p->control, p, ROLE_CONTROL, 0);
    process_init(&p->lookup, p, ROLE_LOOKUP, 0);
    for (unsigned i = 0; i < p->workers_n; i++)
        process_init(&p->workers[i], p, ROLE_WORKER, i);
    if (process_start(&p->control, err) < 0 || process_start(&p->lookup, err) < 0)
        return -1;
    for (unsigned i = 0; i < p->workers_n; i++) {
        if (process_start(&p->workers[i], err) < 0)
            return -1;
    }
    return 0;
}

static int prepare(struct parent *p, struct err *err)
{
    p->loop = loop_new(err);
    if (!p->loop)
        return -1;
    channels_init(&p->channels, p->loop);
    turn_init(&p->turn, p->loop, &p->channels);
    p->counters_fd = counters_create(err);
    if (p->counters_fd < 0 || !(p->counters = counters_map(p->counters_fd, err)))
        return -1;
    for (size_t i = 0; i < SHARED_COUNT; i++) {
        p->shared_fds[i] = shared_create(err);
        if (p->shared_fds[i] < 0)
            return -1;
    }
    /* Signals first: a SIGHUP that comes while files are read means newer ones. */
    if (take_signals(p, err) < 0 || resources_conf(p, err) < 0 || renew_first(p, err) < 0 ||
        tickets_begin(p, err) < 0 || resources_state(p->conf, err) < 0 || ports_open(p, err) < 0 ||
        door_open(p, err) < 0)
        return -1;
    return 0;
}

static void log_stopped(const struct parent *p)
{
    struct log_line l;

    log_begin(&l, LOG_STOPPED);
    log_uint(&l, "sessions", counters_total(p->counters, METRIC_SESSIONS));
    log_uint(&l, "logins", counters_total(p->counters, METRIC_LOGINS));
    log_uint(&l, "refused", counters_total(p->counters, METRIC_LOGINS_REFUSED));
    log_uint(&l, "failed", counters_total(p->counters, METRIC_LOGINS_FAILED));
    log_uint(&l, "log_dropped", counters_total(p->counters, METRIC_LOG_DROPPED));
    log_end(&l);
}

static int serve(struct parent *p, struct err *err)
{
    if (prepare(p, err) < 0)
        return -1;
    watchdog_begin(p);
    if (start_processes(p, err) < 0)
        return -1;
    loop_run(p->loop);
    log_stopped(p);
    return 0;
}

static void close_channel(struct process *pr, void *arg)
{
    (void)arg;
    channel_close(&pr->channel);
    deadline_clear(&pr->restart);
}

_Static_assert(SHARED_COUNT == 3, "the initialiser below");

int parent_serve(struct conf *conf)
{
    struct parent p = {.conf = conf,
                       .conf_fd = -1,
                       .rules_fd = -1,
                       .counters_fd = -1,
                       .shared_fds = {-1, -1, -1},
                       .door = {.fd = -1}};
    struct err err;
    /* Before anything is opened: what is at their numbers shall be what was passed. */
    int done = passed_take(&p.passed, &err);

    p.log_fd = log_reopen(STDERR_FILENO);
    log_open(p.log_fd, (enum log_level)conf->global.log_level);
    crash_begin(role_name(ROLE_PARENT), p.log_fd);
    p.workers_n = conf_workers(conf);
    deadline_init(&p.stop_limit, on_stop_limit);
    renew_init(&p);
    tickets_init(&p);
    service_init(&p);
    watchdog_init(&p);
    resources_limits();
    service_begin(&p);
    if (done == 0)
        done = serve(&p, &err);
    if (done < 0) {
        log_detail(LOG_FATAL, "%s", err.text);
        service_failed(&p, &err);
    }
    log_drain(LOG_DRAIN_MS);
    if (p.workers)
        processes_each(&p, close_channel, NULL);
    deadline_clear(&p.stop_limit);
    deadline_clear(&p.look);
    tickets_end(&p);
    watchdog_end(&p);
    service_end(&p);
    if (p.loop)
        turn_done(&p.turn);
    resources_free(&p);
    loop_free(&p.loop);
    free(p.workers);
    conf_free(&p.conf);
    return done < 0 || p.has_failed ? 1 : 0;
}
