/* The frame of every child process: being given things, dropping privileges, beginning and ending.
 */
#include "proc/child.h"

#include "base/log.h"
#include "proc/crash.h"
#include "proc/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Longer than any file that the configuration names has reason to be. */
enum { FILE_MAX = 16 * 1024 * 1024 };

/* Of stop_timeout, which half goes to sessions at most; a worker waits so long for the log's
 * reader, and behind it control. */
enum { LOG_DRAIN_PART = 5, LOG_DRAIN_MS = 2000 };

/* Signs of life within the time of the setting watchdog. */
enum { SIGNS = 10 };

struct child_file {
    struct child_file *next;
    char *path;
    char *data;
    size_t n;
};

/* What the parent's channel leads to. */
struct frame {
    struct child child;
    struct turn turn;
    struct counters *blocks;
    struct deadline give_up;
    struct deadline alive; /* when to give the next sign of life */
    bool is_started, is_stopping;
};

static struct frame *frame_of(struct child *c)
{
    return CONTAINER(c, struct frame, child);
}

_Noreturn void child_fatal(const struct err *what)
{
    log_detail(LOG_FATAL, "%s", what->text);
    log_flush();
    exit(1);
}

/* The content of a descriptor on the heap with NUL behind it. Closes it. */
static char *read_all(int fd, size_t *out_n, struct err *err)
{
    /* Not fstat(), which in the C library is a call that takes paths too. */
    off_t size = lseek(fd, 0, SEEK_END);
    char *data = NULL;
    size_t n = 0;

    if (size < 0 || size > FILE_MAX || !(data = malloc((size_t)size + 1))) {
        err_set(err, 0, "cannot take over a file from the parent");
        close(fd);
        return NULL;
    }
    while (n < (size_t)size) {
        ssize_t got = pread(fd, data + n, (size_t)size - n, (off_t)n);

        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    data[n] = '\0';
    *out_n = n;
    return data;
}

struct slice child_file(const struct child *c, const char *path)
{
    for (const struct child_file *f = c->files; f; f = f->next) {
        if (strcmp(f->path, path) == 0)
            return slice_of(f->data, f->n);
    }
    return slice_of(NULL, 0);
}

static int keep_file(struct child *c, const struct msg *m, struct err *err)
{
    struct child_file *f = calloc(1, sizeof *f);

    if (!f || !(f->path = slice_dup(m->tail))) {
        free(f);
        close(m->fd);
        return err_set(err, ENOMEM, "out of memory");
    }
    f->data = read_all(m->fd, &f->n, err);
    f->next = c->files;
    c->files = f;
    return f->data ? 0 : -1;
}

static int take_conf(struct child *c, int fd, struct err *err)
{
    size_t n;
    char *text = read_all(fd, &n, err);
    int done;

    if (!text)
        return -1;
    done = conf_load_text(text, "configuration", &c->conf, err);
    wipe(text, n);
    free(text);
    if (done == 0)
        log_open(CHILD_FD_LOG, (enum log_level)c->conf->global.log_level);
    return done;
}

static void count_dropped(void *arg, uint64_t lines)
{
    counters_add(arg, METRIC_LOG_DROPPED, lines);
}

static int take_counters(struct frame *f, int fd, struct err *err)
{
    f->blocks = counters_map(fd, err);
    close(fd);
    return f->blocks ? 0 : -1;
}

static const char *account_of(const struct child *c)
{
    const struct conf_global *g = &c->conf->global;

    return c->role->role == ROLE_WORKER && g->worker_user[0] ? g->worker_user : g->user;
}

/* Those that an ordinary account has from systemd or from the program's file: the parent alone has
 * use for them. Root's went with the account. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    return (int)syscall(SYS_capset, &head, none);
}

/* For good. Then, as everything in this process' memory is somebody's password sooner or later: no
 * core, and nobody of the same account looks in. */
static int drop_privileges(const struct child *c, struct err *err)
{
    const char *name = account_of(c);

    if (geteuid() == 0) {
        const struct passwd *pw = getpwnam(name);

        if (!pw)
            return err_set(err, 0, "user \"%s\" does not exist", name);
        if (pw->pw_uid == 0)
            return err_set(err, 0, "user \"%s\" is root", name);
        if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
            setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
            return err_sys(err, errno, "cannot become user \"%s\"", name);
        if (setuid(0) == 0)
            return err_set(err, 0, "could become root again");
    }
    if (drop_capabilities() < 0)
        return err_sys(err, errno, "cannot drop capabilities");
    return sandbox_prepare(err);
}

/* From the loop, so that it ceases when the loop does. */
static void on_alive(struct deadline *d)
{
    struct frame *f = CONTAINER(d, struct frame, alive);

    deadline_set(f->child.loop, d, f->child.conf->global.watchdog / SIGNS);
    channel_send(&f->child.parent, MSG_ALIVE, 0, NULL, slice_of(NULL, 0), -1);
}

static int on_closing(void *arg, struct err *err)
{
    struct child *c = arg;

    return c->role->on_closing ? c->role->on_closing(c, err) : 0;
}

static int start(struct frame *f, const struct msg_start *m, struct err *err)
{
    struct child *c = &f->child;
    unsigned block = c->role->role == ROLE_WORKER    ? m->slot
                     : c->role->role == ROLE_CONTROL ? COUNTERS_CONTROL
                                                     : COUNTERS_LOOKUP;

    if (!c->conf || !f->blocks || f->is_started || block >= COUNTERS_BLOCKS)
        return err_set(err, 0, "the parent left something out");
    f->is_started = true;
    c->counters = &f->blocks[block];
    log_on_dropped(count_dropped, c->counters);
    c->self.instance = m->instance;
    c->self.slot = (uint8_t)m->slot;
    /* The role opens all that it will ever need before the sandbox is closed. */
    if (drop_privileges(c, err) < 0 || c->role->on_start(c, err) < 0 ||
        sandbox_close(c->role->role, c->conf, on_closing, c, err) < 0)
        return -1;
    channel_send(&c->parent, MSG_READY, 0, NULL, slice_of(NULL, 0), -1);
    if (c->conf->global.watchdog > 0)
        deadline_set(c->loop, &f->alive, 0);
    return 0;
}

static int begin(struct frame *f, const struct msg_begin *m, struct err *err)
{
    struct child *c = &f->child;

    if (!f->is_started || c->has_begun)
        return err_set(err, 0, "the parent said BEGIN out of order");
    c->has_begun = true;
    c->self.epoch = m->epoch;
    c->peers = m->peers;
    if (c->role->on_begin && c->role->on_begin(c, err) < 0)
        return -1;
    channel_send(&c->parent, MSG_BEGUN, 0, NULL, slice_of(NULL, 0), -1);
    return 0;
}

static void stop(struct frame *f)
{
    if (f->is_stopping)
        return;
    f->is_stopping = true;
    if (f->is_started)
        f->child.role->on_stop(&f->child);
    else
        child_stopped(&f->child);
}

static void on_message(struct channel *ch, const struct msg *m)
{
    struct child *c = CONTAINER(ch, struct child, parent);
    struct frame *f = frame_of(c);
    struct err err;
    int done = 0;

    if (m->type == MSG_CONF)
        done = take_conf(c, m->fd, &err);
    else if (m->type == MSG_COUNTERS)
        done = take_counters(f, m->fd, &err);
    else if (m->type == MSG_FILE)
        done = keep_file(c, m, &err);
    else if (m->type == MSG_START)
        done = start(f, m->body, &err);
    else if (m->type == MSG_BEGIN)
        done = begin(f, m->body, &err);
    else if (m->type == MSG_STOP)
        stop(f);
    else
        c->role->on_message(c, m);
    if (done < 0)
        child_fatal(&err);
}

static void on_give_up(struct deadline *d)
{
    struct err err;

    (void)d;
    err_set(&err, 0, "the parent is gone, and this process did not end in time");
    child_fatal(&err);
}

/* Without a parent nobody would start or stop us any more: end in order, but for sure. */
static void on_parent_gone(struct channel *ch, const char *why)
{
    struct child *c = CONTAINER(ch, struct child, parent);
    struct frame *f = frame_of(c);

    (void)why;
    if (c->conf)
        deadline_set(c->loop, &f->give_up, c->conf->global.stop_timeout);
    stop(f);
}

void child_stopped(struct child *c)
{
    loop_stop(c->loop);
}

void child_begin(enum role role)
{
    static const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    char name[16];

    snprintf(name, sizeof name, "usher-%s", role_name(role));
    prctl(PR_SET_NAME, name, 0, 0, 0);
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    fcntl(CHILD_FD_PARENT, F_SETFD, FD_CLOEXEC);
    fcntl(CHILD_FD_LOG, F_SETFD, FD_CLOEXEC);
}

void child_drop_files(struct child *c)
{
    while (c->files) {
        struct child_file *f = c->files;

        c->files = f->next;
        if (f->data)
            wipe(f->data, f->n);
        free(f->data);
        free(f->path);
        free(f);
    }
}

static unsigned drain_ms(const struct child *c)
{
    uint32_t part = c->conf ? c->conf->global.stop_timeout / LOG_DRAIN_PART : LOG_DRAIN_MS;

    return part < LOG_DRAIN_MS ? part : LOG_DRAIN_MS;
}

int child_main(const struct child_role *role)
{
    static const struct channel_events events = {.on_message = on_message,
                                                 .on_closed = on_parent_gone};
    struct frame *f = calloc(1, sizeof *f);
    struct child *c = &f->child;
    struct err err;

    log_open(CHILD_FD_LOG, LEVEL_INFO);
    crash_begin(role_name(role->role), CHILD_FD_LOG);
    err_set(&err, ENOMEM, "out of memory");
    if (!f || !(c->state = calloc(1, role->state_size)) || !(c->loop = loop_new(&err)))
        child_fatal(&err);
    child_begin(role->role);
    c->role = role;
    c->self = msg_hello_of(role->role);
    deadline_init(&f->give_up, on_give_up);
    deadline_init(&f->alive, on_alive);
    channels_init(&c->channels, c->loop);
    turn_init(&f->turn, c->loop, &c->channels);
    if (role->on_init)
        role->on_init(c);
    channel_open(&c->parent, &c->channels, CHILD_FD_PARENT, &c->self, &events);
    loop_run(c->loop);
    if (role->on_done)
        role->on_done(c);
    log_drain(drain_ms(c));
    channel_close(&c->parent);
    deadline_clear(&f->give_up);
    deadline_clear(&f->alive);
    turn_done(&f->turn);
    loop_free(&c->loop);
    conf_free(&c->conf);
    child_drop_files(c);
    free(c->state);
    free(f);
    return 0;
}
