/* A reload or an upgrade, step by step:
 *
 * prepare:    another process, of the program that will run, reads and checks the configuration and
 *             all that it names, and opens what is not open yet (prepare.h)
 * candidates: control, lookup and workers of that program check themselves with it
 * commit:     the candidates become the current generation (commit.c); an upgrade has this process
 *             become the new program first (upgrade.c)
 *
 * Until the commit nothing has happened that anybody could see, and whatever fails ends the change.
 */
#include "parent/change.h"

#include "base/log.h"
#include "parent/handover.h"
#include "parent/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* How often it is looked whether all that was said to children has gone. */
enum { AGAIN_MS = 10 };

static const struct slice no_tail = {NULL, 0};

/* --- telling
 * ------------------------------------------------------------------------------------------------
 */

/* The control that asked has been replaced, by us or by its death, or it hears. */
static struct process *find_asker(struct parent *p, const struct change_asker *asker)
{
    struct process *control = &p->current->control;

    return control->pid && control->instance == asker->instance ? control : NULL;
}

void change_say(struct parent *p, const struct change_asker *asker, enum change_status status,
                uint32_t generation, const char *text)
{
    const struct msg_changed m = {.status = status, .generation = generation};
    struct process *control = find_asker(p, asker);
    struct slice tail = slice_str(text);

    if (control)
        channel_send(&control->channel, MSG_CHANGED, asker->id, &m,
                     slice_sub(tail, 0, tail.n < IPC_TEXT_MAX ? tail.n : IPC_TEXT_MAX), -1);
}

static void tell(struct parent *p, const char *text)
{
    log_detail(LOG_CHANGE_TOLD, "%s", text);
    change_say(p, &p->change->asker, CHANGE_TOLD, 0, text);
}

/* `said`: to the operator, who has been told the rest already. */
static void refuse_saying(struct parent *p, const struct change_asker *asker, enum change_kind what,
                          const char *why, const char *said)
{
    struct log_line l;

    log_begin(&l, LOG_CHANGE_REFUSED);
    log_str(&l, "what", what == CHANGE_RELOAD ? "reload" : "upgrade");
    log_str(&l, "detail", why);
    log_end(&l);
    change_say(p, asker, CHANGE_REFUSED, 0, said);
}

static void refuse(struct parent *p, const struct change_asker *asker, enum change_kind what,
                   const char *why)
{
    refuse_saying(p, asker, what, why, why);
}

/* --- beginning and end
 * ------------------------------------------------------------------------------------------------
 */

static void on_limit(struct deadline *d);
static void on_again(struct deadline *d);

struct change *change_new(struct parent *p, enum change_kind what)
{
    struct change *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->parent = p;
    c->what = what;
    c->door.fd = -1;
    deadline_init(&c->limit, on_limit);
    deadline_init(&c->again, on_again);
    return c;
}

/* Signals that we act on wait, from now on or no more; for the next program, if it comes to that.
 */
static void hold_signals(struct change *c, bool is_held)
{
    static const int acted_on[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGCHLD};
    sigset_t set;

    if (c->is_held == is_held)
        return;
    c->is_held = is_held;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof acted_on / sizeof *acted_on; i++)
        sigaddset(&set, acted_on[i]);
    sigprocmask(is_held ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

void change_free(struct change **c)
{
    hold_signals(*c, false);
    deadline_clear(&(*c)->limit);
    deadline_clear(&(*c)->again);
    ports_close(&(*c)->ports);
    if ((*c)->door_path)
        local_close(&(*c)->door, (*c)->door_path);
    free((*c)->door_path);
    free(*c);
    *c = NULL;
}

void change_end(struct parent *p, bool is_refused)
{
    if (p->next) {
        struct generation *g = p->next;

        p->next = NULL;
        generation_give_up(g);
    }
    change_free(&p->change);
    service_changed(p, is_refused);
    change_next(p);
}

/* Nothing has happened; says so, and why. */
static __attribute__((format(printf, 2, 3))) void change_refuse(struct parent *p, const char *fmt,
                                                                ...)
{
    char why[IPC_TEXT_MAX + 1];
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    refuse(p, &p->change->asker, p->change->what, why);
    change_end(p, true);
}

/* All lines but that of an only mistake have been told; the log's readers are told the first again,
 * with the event that they look for. */
static void refuse_mistakes(struct parent *p)
{
    struct change *c = p->change;
    char why[IPC_TEXT_MAX + 128], said[128];

    if (c->mistakes_n <= 1) {
        change_refuse(p, "%s; nothing was changed",
                      c->mistakes_n ? c->mistake : "the configuration is not good");
        return;
    }
    snprintf(why, sizeof why, "%s (and %u more); nothing was changed", c->mistake,
             c->mistakes_n - 1);
    snprintf(said, sizeof said, "%u mistakes; nothing was changed", c->mistakes_n);
    refuse_saying(p, &c->asker, c->what, why, said);
    change_end(p, true);
}

static void take_mistake(struct parent *p, const char *text)
{
    struct change *c = p->change;

    if (++c->mistakes_n == 1) {
        snprintf(c->mistake, sizeof c->mistake, "%s", text);
        return;
    }
    if (c->mistakes_n == 2)
        tell(p, c->mistake);
    tell(p, text);
}

void change_give_up(struct parent *p)
{
    for (size_t i = 0; i < sizeof p->is_asked / sizeof *p->is_asked; i++)
        p->is_asked[i] = false;
    if (p->change)
        change_refuse(p, "usher stops");
}

static void on_limit(struct deadline *d)
{
    struct change *c = CONTAINER(d, struct change, limit);
    struct parent *p = c->parent;
    const uint32_t limit_s = p->conf->global.reload_timeout / 1000;

    if (!c->is_prepared)
        change_refuse(p,
                      "the %s has not read the configuration within %u s (reload_timeout); nothing "
                      "was changed",
                      c->what == CHANGE_UPGRADE ? "new program" : "process that prepares it",
                      limit_s);
    else if (generation_is_ready(p->next))
        change_refuse(p,
                      "a process has not taken what it was told within %u s (reload_timeout); "
                      "nothing was changed",
                      limit_s);
    else
        change_refuse(p,
                      "the new processes were not ready within %u s (reload_timeout); nothing was "
                      "changed",
                      limit_s);
}

void change_door(const struct parent *p, const struct local **out_door, const char **out_path)
{
    static const struct local none = {.fd = -1};
    const struct change *c = p->change;

    if (!c || c->prepared.door == DOOR_KEPT)
        return;
    *out_door = c->prepared.door == DOOR_NEW ? &c->door : &none;
    *out_path = c->door_path;
}

void change_next(struct parent *p)
{
    for (enum change_kind what = CHANGE_RELOAD; what <= CHANGE_UPGRADE; what++) {
        if (p->change || !p->is_ready || p->is_stopping || !p->is_asked[what])
            continue;
        p->is_asked[what] = false;
        change_begin(p, what, NULL, 0);
    }
}

/* --- what is prepared
 * ------------------------------------------------------------------------------------------------
 */

static int keep_port(struct change *c, const struct msg_port *m, struct err *err)
{
    static const struct conf_listener unnamed = {.title = "", .address = ""};

    if (m->listener >= CONF_LISTENERS_MAX)
        return err_set(err, 0, "the new program has more listeners than there can be");
    /* Titles are the configuration's, which is read again when they are needed. */
    return ports_add(&c->ports, &unnamed, m->listener, &m->addr, CONF_WORKERS_MAX, err) ? 0 : -1;
}

static int keep_socket(struct change *c, int fd, struct err *err)
{
    struct port *port = c->ports.n > 0 ? &c->ports.all[c->ports.n - 1] : NULL;

    if (port && port->fds_n < CONF_WORKERS_MAX) {
        port->fds[port->fds_n++] = fd;
        return 0;
    }
    close(fd);
    return err_set(err, 0, "more sockets than workers");
}

static int keep_door(struct change *c, const struct msg *m, struct err *err)
{
    struct stat st;

    if (c->door_path || !(c->door_path = slice_dup(m->tail))) {
        close(m->fd);
        return err_set(err, ENOMEM, "out of memory");
    }
    c->door.fd = m->fd;
    /* By which local_close() will know its file. */
    if (stat(c->door_path, &st) < 0)
        return err_sys(err, errno, "%s", c->door_path);
    c->door.dev = st.st_dev;
    c->door.ino = st.st_ino;
    return 0;
}

static void swap_fd(int *kept, int fd)
{
    close_fd(kept);
    *kept = fd;
}

static bool is_same_memory(int fd, int other)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* Where the new program counts: one of ours, or one that it has made, which counts with the others
 * from now on. What has come of a change that is refused has counted nothing. */
static int keep_counters(struct parent *p, int fd, struct err *err)
{
    int copy;

    swap_fd(&p->next->counters_fd, fd);
    for (size_t i = 0; tally_fd(p->tally, i) >= 0; i++) {
        if (is_same_memory(fd, tally_fd(p->tally, i)))
            return 0;
    }
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 ? err_sys(err, errno, "cannot duplicate a descriptor")
                    : tally_add(p->tally, copy, err);
}

/* Nothing has changed, or nothing but files, which workers take without being replaced. */
static void finish_without_candidates(struct parent *p)
{
    struct change *c = p->change;
    struct log_line l;

    if (c->prepared.files_n > 0)
        renew_use(p, &p->next->files);
    log_begin(&l, LOG_RELOADED);
    log_uint(&l, "generation", p->current->number);
    log_uint(&l, "changes", 0);
    log_uint(&l, "files", c->prepared.files_n);
    log_uint(&l, "workers", p->current->workers_n);
    log_end(&l);
    change_say(p, &c->asker, CHANGE_DONE, 0, "");
    change_end(p, false);
}

static void tell_files(struct parent *p)
{
    char text[128];

    if (p->change->prepared.files_n == 0)
        return;
    snprintf(text, sizeof text, "files of certificates, keys and passwords: %u changed",
             p->change->prepared.files_n);
    tell(p, text);
}

static void on_prepared(struct parent *p, const struct msg_prepared *m)
{
    struct change *c = p->change;
    struct err err;

    c->prepared = *m;
    c->prepared.files_n = (uint32_t)files_differ(&p->current->files, &p->next->files);
    c->is_prepared = true;
    if (!m->is_good) {
        refuse_mistakes(p);
        return;
    }
    if (m->workers_n == 0 || m->workers_n > CONF_WORKERS_MAX || m->door > DOOR_NONE ||
        (m->door == DOOR_NEW && !c->door_path) || p->next->conf_fd < 0 || p->next->rules_fd < 0 ||
        p->next->counters_fd < 0) {
        change_refuse(p, "the new program has left something out; nothing was changed");
        return;
    }
    tell_files(p);
    if (c->what == CHANGE_RELOAD && m->changes_n == 0) {
        finish_without_candidates(p);
        return;
    }
    generation_set_workers(p->next, m->workers_n);
    if (generation_start(p->next, &err) < 0)
        change_refuse(p, "%s; nothing was changed", err.text);
}

static int take_prepared(struct parent *p, const struct msg *m, struct err *err)
{
    struct generation *g = p->next;
    struct change *c = p->change;

    if (m->type == MSG_CONF)
        swap_fd(&g->conf_fd, m->fd);
    else if (m->type == MSG_RULES)
        swap_fd(&g->rules_fd, m->fd);
    else if (m->type == MSG_COUNTERS)
        return keep_counters(p, m->fd, err);
    else if (m->type == MSG_FILE)
        return files_add(&g->files, m->tail, m->fd, err);
    else if (m->type == MSG_PORT)
        return keep_port(c, m->body, err);
    else if (m->type == MSG_SOCKET)
        return keep_socket(c, m->fd, err);
    else if (m->type == MSG_DOOR)
        return keep_door(c, m, err);
    else if (m->fd >= 0)
        close(m->fd);
    return 0;
}

static void on_preparing(struct channel *ch, const struct msg *m)
{
    struct process *pr = CONTAINER(ch, struct process, channel);
    struct parent *p = pr->parent;
    struct err err;

    /* Given up, or done. */
    if (pr->generation != p->next || p->change->is_prepared) {
        if (m->fd >= 0)
            close(m->fd);
        return;
    }
    if (m->type == MSG_TOLD) {
        char text[IPC_TEXT_MAX + 1];

        snprintf(text, sizeof text, "%.*s", SLICE_ARG(m->tail));
        if (((const struct msg_told *)m->body)->is_mistake)
            take_mistake(p, text);
        else
            tell(p, text);
    } else if (m->type == MSG_PREPARED) {
        snprintf(p->next->version, sizeof p->next->version, "%.*s", SLICE_ARG(m->tail));
        on_prepared(p, m->body);
    } else if (take_prepared(p, m, &err) < 0) {
        change_refuse(p, "%s; nothing was changed", err.text);
    }
}

void change_closed(struct process *pr, const char *why)
{
    struct parent *p = pr->parent;

    /* Its death comes as SIGCHLD too, which tells more. A program that does not speak as we do
     * lives on. */
    if (pr->generation == p->next && pr->pid && strcmp(why, "the peer is gone") != 0)
        change_refuse(p, "the new program cannot be spoken with: %s; nothing was changed", why);
}

static void on_closed(struct channel *ch, const char *why)
{
    struct process *pr = CONTAINER(ch, struct process, channel);

    if (pr->generation == pr->parent->next && !pr->parent->change->is_prepared)
        change_closed(pr, why);
}

static int start_preparing(struct parent *p, struct err *err)
{
    static const struct channel_events events = {.on_message = on_preparing,
                                                 .on_closed = on_closed};
    const struct msg_hello self = msg_hello_of(ROLE_PARENT);
    struct process *pr = &p->next->preparer;
    int state_fd, conf_fd, fd;

    if (handover_print(p, &state_fd, err) < 0)
        return -1;
    conf_fd = fcntl(p->current->rules_fd, F_DUPFD_CLOEXEC, 0);
    if (conf_fd < 0 || process_spawn(pr, &fd, err) < 0) {
        close_fd(&conf_fd);
        close(state_fd);
        return conf_fd < 0 ? err_sys(err, errno, "cannot duplicate a descriptor") : -1;
    }
    channel_open(&pr->channel, &p->channels, fd, &self, &events);
    channel_send(&pr->channel, MSG_CONF, 0, NULL, no_tail, conf_fd);
    for (size_t i = 0; tally_fd(p->tally, i) >= 0; i++) {
        int copy = fcntl(tally_fd(p->tally, i), F_DUPFD_CLOEXEC, 0);

        if (copy >= 0)
            channel_send(&pr->channel, MSG_COUNTERS, 0, NULL, no_tail, copy);
    }
    channel_send(&pr->channel, MSG_STATE, 0, NULL, no_tail, state_fd);
    return 0;
}

/* All processes of the change are executed from the same file, whatever comes to stand at its path
 * meanwhile. */
static int open_program(struct parent *p, enum change_kind what, struct err *err)
{
    const char *path = what == CHANGE_UPGRADE ? p->program : "/proc/self/exe";

    p->next->program_fd = open(path, O_PATH | O_CLOEXEC);
    if (p->next->program_fd < 0)
        return err_sys(err, errno, "cannot open %s", path);
    return 0;
}

static int begin(struct parent *p, enum change_kind what, struct err *err)
{
    p->change = change_new(p, what);
    p->next = p->change ? generation_new(p) : NULL;
    if (!p->next)
        return err_set(err, ENOMEM, "out of memory");
    return 0;
}

void change_begin(struct parent *p, enum change_kind what, struct process *asker, uint32_t id)
{
    const struct change_asker who = {.instance = asker ? asker->instance : 0, .id = id};
    struct err err;

    if (p->is_stopping || p->change || !p->is_ready) {
        if (!asker)
            p->is_asked[what] = !p->is_stopping;
        else
            refuse(p, &who, what,
                   p->is_stopping ? "usher stops"
                   : p->change    ? "a reload or an upgrade is under way; try again behind it"
                                  : "usher is just starting; try again in a moment");
        return;
    }
    if (begin(p, what, &err) < 0) {
        refuse(p, &who, what, err.text);
        if (p->change)
            change_free(&p->change);
        return;
    }
    p->change->asker = who;
    service_changing(p, what);
    deadline_set(p->loop, &p->change->limit, p->conf->global.reload_timeout);
    if (open_program(p, what, &err) < 0 || start_preparing(p, &err) < 0)
        change_refuse(p, "%s; nothing was changed", err.text);
}

/* --- candidates
 * ------------------------------------------------------------------------------------------------
 */

static void describe_end(int status, char *out, size_t cap)
{
    if (WIFSIGNALED(status))
        snprintf(out, cap, "was ended by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == 127)
        snprintf(out, cap, "could not be executed");
    else
        snprintf(out, cap, "ended with status %d", WEXITSTATUS(status));
}

void change_ended(struct process *pr, int status)
{
    struct parent *p = pr->parent;
    char how[128];

    if (pr->generation != p->next)
        return;
    describe_end(status, how, sizeof how);
    if (pr->role != ROLE_PREPARE)
        change_refuse(p, "the new %s %s before all were ready: see the log; nothing was changed",
                      role_name(pr->role), how);
    else if (!p->change->is_prepared)
        change_refuse(
            p, "the %s %s before it had read the configuration; nothing was changed",
            p->change->what == CHANGE_UPGRADE ? "new program" : "process that prepares it", how);
}

/* What is queued for children would not outlive the program that we are; */
static void has_unsent(struct process *pr, void *arg)
{
    if (pr->pid && pr->channel.is_open && !channel_is_empty(&pr->channel))
        *(bool *)arg = true;
}

/* nor would signals that have come, but were not acted on yet: the loop does so before it comes
 * here again. */
static void become_the_next(struct parent *p)
{
    struct change *c = p->change;
    bool is_waiting = false;
    struct err err;

    channels_flush(&p->channels);
    processes_each(p, has_unsent, &is_waiting);
    if (is_waiting || !c->is_held) {
        hold_signals(c, !is_waiting);
        deadline_set(p->loop, &c->again, AGAIN_MS);
    } else if (upgrade_execute(p, &err) < 0) {
        change_refuse(p, "%s; nothing was changed", err.text);
    }
}

static void on_again(struct deadline *d)
{
    become_the_next(CONTAINER(d, struct change, again)->parent);
}

void change_ready(struct parent *p)
{
    struct err err;

    if (!p->change->is_prepared || !generation_is_ready(p->next))
        return;
    if (p->change->what == CHANGE_UPGRADE)
        become_the_next(p);
    else if (change_commit(p, &err) < 0)
        change_refuse(p, "%s; nothing was changed", err.text);
}
