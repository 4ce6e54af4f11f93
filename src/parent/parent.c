/* The parent's own life: starting everything, signals, stopping in order. */
#include "parent/parent.h"

#include "base/log.h"
#include "control/shared.h"
#include "parent/change.h"
#include "parent/internal.h"
#include "proc/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AGAIN_MS = 500, LOG_DRAIN_MS = 2000 };

void parent_on_ready(struct parent *p)
{
    struct log_line l;

    if (p->is_ready || p->is_stopping || !generation_is_at_work(p->current))
        return;
    p->is_ready = true;
    log_begin(&l, LOG_READY);
    log_str(&l, "version", USHER_VERSION);
    log_uint(&l, "workers", p->current->workers_n);
    log_end(&l);
    service_ready(p);
    change_next(p);
}

/* --- stopping
 * -------------------------------------------------------------------------------------------------------
 */

static void is_running(struct process *pr, void *arg)
{
    if (pr->pid)
        *(bool *)arg = true;
}

static void is_worker_running(struct process *pr, void *arg)
{
    if (pr->pid && pr->role == ROLE_WORKER)
        *(bool *)arg = true;
}

static bool are_workers_running(struct parent *p)
{
    bool is_any = false;

    processes_each(p, is_worker_running, &is_any);
    return is_any;
}

static void stop_unless_worker(struct process *pr, void *ignored)
{
    (void)ignored;
    if (pr->role != ROLE_WORKER)
        process_stop(pr);
}

static void stop_worker(struct process *pr, void *ignored)
{
    (void)ignored;
    if (pr->role == ROLE_WORKER)
        process_stop(pr);
}

void parent_on_ended(struct parent *p)
{
    bool is_any = false;

    if (!p->is_stopping)
        parent_stop(p, true);
    /* Control outlives the workers: it writes down what their last sessions did. */
    if (!are_workers_running(p))
        processes_each(p, stop_unless_worker, NULL);
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
    change_give_up(p);
    service_stopping(p);
    watchdog_end(p);
    ports_close(&p->ports);
    door_close(p);
    deadline_set(p->loop, &p->stop_limit, p->conf->global.stop_timeout);
    processes_each(p, stop_worker, NULL);
    parent_on_ended(p);
}

struct stuck {
    uint32_t instance;
};

static void kill_if_stuck(struct process *pr, void *arg)
{
    const struct stuck *stuck = arg;

    if (pr->role == ROLE_WORKER && pr->pid && pr->instance == stuck->instance)
        process_kill_stuck(pr, NULL);
}

void parent_on_stuck(struct parent *p, uint32_t instance)
{
    struct stuck stuck = {instance};

    processes_each(p, kill_if_stuck, &stuck);
}

static void kill_stuck_worker(struct process *pr, void *ignored)
{
    if (pr->role == ROLE_WORKER)
        process_kill_stuck(pr, ignored);
}

static void on_stop_limit(struct deadline *d)
{
    struct parent *p = CONTAINER(d, struct parent, stop_limit);

    p->has_failed = true;
    if (!are_workers_running(p)) {
        processes_each(p, process_kill_stuck, NULL);
        return;
    }
    /* Control and lookup have not been told to end yet: they are when the last worker is gone. */
    processes_each(p, kill_stuck_worker, NULL);
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
            processes_each(p, process_kill_stuck, NULL);
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
    struct process *found;
};

static void match_death(struct process *pr, void *arg)
{
    struct death *d = arg;

    if (pr->pid == d->pid)
        d->found = pr;
}

static void on_child(void *arg, int signal)
{
    struct parent *p = arg;
    struct death d;
    int status;

    (void)signal;
    /* As process 1 of a container we are given other people's orphans too: they match none. */
    while ((d.pid = waitpid(-1, &status, WNOHANG)) > 0) {
        d.found = NULL;
        processes_each(p, match_death, &d);
        if (d.found)
            process_ended(d.found, status);
    }
    generation_tidy(p);
}

static void on_change_signal(void *arg, int signal)
{
    change_begin(arg, signal == SIGUSR2 ? CHANGE_UPGRADE : CHANGE_RELOAD, NULL, 0);
}

static int take_signals(struct parent *p, struct err *err)
{
    signal(SIGPIPE, SIG_IGN);
    if (loop_on_signal(p->loop, SIGTERM, on_stop_signal, p, err) < 0 ||
        loop_on_signal(p->loop, SIGINT, on_stop_signal, p, err) < 0 ||
        loop_on_signal(p->loop, SIGHUP, on_change_signal, p, err) < 0 ||
        loop_on_signal(p->loop, SIGUSR2, on_change_signal, p, err) < 0 ||
        loop_on_signal(p->loop, SIGCHLD, on_child, p, err) < 0)
        return -1;
    return 0;
}

/* --- starting
 * -------------------------------------------------------------------------------------------------------
 */

static int begin_loop(struct parent *p, struct err *err)
{
    p->loop = loop_new(err);
    if (!p->loop)
        return -1;
    channels_init(&p->channels, p->loop);
    turn_init(&p->turn, p->loop, &p->channels);
    return 0;
}

static int make_shared(struct parent *p, struct err *err)
{
    int own;

    p->tally = tally_new();
    if (!p->tally)
        return err_set(err, ENOMEM, "out of memory");
    own = tally_own(p->tally, err);
    if (own < 0)
        return -1;
    p->current->counters_fd = fcntl(own, F_DUPFD_CLOEXEC, 0);
    if (p->current->counters_fd < 0)
        return err_sys(err, errno, "cannot duplicate a descriptor");
    for (size_t i = 0; i < SHARED_COUNT; i++) {
        p->shared_fds[i] = shared_create(err);
        if (p->shared_fds[i] < 0)
            return -1;
    }
    return 0;
}

static int prepare(struct parent *p, struct err *err)
{
    p->current = generation_new(p);
    if (!p->current)
        return err_set(err, ENOMEM, "out of memory");
    generation_set_workers(p->current, conf_workers(p->conf));
    snprintf(p->current->version, sizeof p->current->version, "%s", USHER_VERSION);
    /* Signals first: a SIGHUP that comes while files are read means newer ones. */
    if (begin_loop(p, err) < 0 || make_shared(p, err) < 0 || take_signals(p, err) < 0 ||
        resources_conf(p->conf, &p->current->conf_fd, &p->current->rules_fd, err) < 0 ||
        renew_read(p->conf, &p->current->files, err) < 0 || tickets_begin(p, err) < 0 ||
        resources_state(p->conf, err) < 0 ||
        ports_open(&p->ports, p->conf, &p->passed, p->current->workers_n, err) < 0)
        return -1;
    renew_look(p);
    ports_log(&p->ports, p->conf, NULL);
    return door_open(p, err);
}

static void log_stopped(const struct parent *p)
{
    struct log_line l;

    log_begin(&l, LOG_STOPPED);
    log_uint(&l, "sessions", tally_total(p->tally, METRIC_SESSIONS));
    log_uint(&l, "logins", tally_total(p->tally, METRIC_LOGINS));
    log_uint(&l, "refused", tally_total(p->tally, METRIC_LOGINS_REFUSED));
    log_uint(&l, "failed", tally_total(p->tally, METRIC_LOGINS_FAILED));
    log_uint(&l, "log_dropped", tally_total(p->tally, METRIC_LOG_DROPPED));
    log_end(&l);
}

static int serve(struct parent *p, struct err *err)
{
    if (prepare(p, err) < 0)
        return -1;
    watchdog_begin(p);
    if (generation_start(p->current, err) < 0)
        return -1;
    loop_run(p->loop);
    log_stopped(p);
    return 0;
}

static int serve_on(struct parent *p, int state_fd, struct err *err)
{
    if (begin_loop(p, err) < 0 || upgrade_resume(p, state_fd, err) < 0 || take_signals(p, err) < 0)
        return -1;
    upgrade_finish(p);
    loop_run(p->loop);
    log_stopped(p);
    return 0;
}

_Static_assert(SHARED_COUNT == 3, "the initialiser below");

void parent_init(struct parent *p)
{
    *p = (struct parent){
        .log_fd = -1, .notes_fd = -1, .shared_fds = {-1, -1, -1}, .door = {.fd = -1}};
    list_init(&p->past);
    deadline_init(&p->stop_limit, on_stop_limit);
    generation_init_limits(p);
    renew_init(p);
    tickets_init(p);
    service_init(p);
    watchdog_init(p);
}

void parent_free(struct parent *p)
{
    deadline_clear(&p->stop_limit);
    deadline_clear(&p->leave_limit);
    deadline_clear(&p->tidy);
    deadline_clear(&p->look);
    tickets_end(p);
    watchdog_end(p);
    service_end(p);
    if (p->change)
        change_free(&p->change);
    list_for_each_safe (it, &p->past) {
        struct generation *g = CONTAINER(it, struct generation, node);

        generation_free(&g);
    }
    generation_free(&p->next);
    generation_free(&p->current);
    resources_free(p);
    conf_free(&p->conf);
}

/* After whatever began; returns the exit code. */
static int end(struct parent *p, int done, const struct err *err)
{
    if (done < 0) {
        log_detail(LOG_FATAL, "%s", err->text);
        service_failed(p, err);
    }
    log_drain(LOG_DRAIN_MS);
    parent_free(p);
    if (p->loop)
        turn_done(&p->turn);
    loop_free(&p->loop);
    return done < 0 || p->has_failed ? 1 : 0;
}

int parent_serve(struct conf *conf, const char *conf_path, const char *program)
{
    struct parent p;
    struct err err;
    struct passed passed;
    /* Before anything is opened: what is at their numbers shall be what was passed. */
    int done = passed_take(&passed, &err);

    parent_init(&p);
    p.conf = conf;
    p.passed = passed;
    p.log_fd = log_reopen(STDERR_FILENO);
    log_open(p.log_fd, (enum log_level)conf->global.log_level);
    crash_begin(role_name(ROLE_PARENT), p.log_fd);
    resources_limits();
    service_begin(&p);
    if (done == 0)
        done = resources_paths(&p, program, conf_path, &err);
    if (done == 0)
        done = serve(&p, &err);
    return end(&p, done, &err);
}

int parent_go_on(int state_fd)
{
    struct parent p;
    struct err err;
    int done;

    parent_init(&p);
    /* Executed by a descriptor, we would be called by its number. */
    prctl(PR_SET_NAME, "usher", 0, 0, 0);
    done = serve_on(&p, state_fd, &err);
    return end(&p, done, &err);
}
