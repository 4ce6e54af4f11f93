/* Who prepares a reload or an upgrade. */
#include "parent/prepare.h"

#include "base/log.h"
#include "conf/diff.h"
#include "parent/handover.h"
#include "parent/internal.h"
#include "proc/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct slice no_tail = {NULL, 0};

struct prepare {
    struct loop *loop;
    struct channels channels;
    struct channel channel;
    struct parent parent;    /* as it was left to us: a trial of it */
    struct conf *old, *conf; /* old NULL: this program cannot read it */
    int old_fd;              /* its text */
    struct tally *tally;
    bool is_done, has_failed; /* PREPARED is said; it could not be */
};

static void say(struct prepare *pp, const char *text, bool is_mistake)
{
    const struct msg_told m = {.is_mistake = is_mistake};
    struct slice s = slice_str(text);

    channel_send(&pp->channel, MSG_TOLD, 0, &m,
                 slice_sub(s, 0, s.n < IPC_TEXT_MAX ? s.n : IPC_TEXT_MAX), -1);
}

static void tell(struct prepare *pp, const char *text)
{
    say(pp, text, false);
}

static void tell_mistake(struct prepare *pp, const char *text)
{
    say(pp, text, true);
}

static void on_told(void *arg, const char *text)
{
    tell(arg, text);
}

static void on_refused(void *arg, const char *text)
{
    tell_mistake(arg, text);
}

/* --- the configuration
 * ------------------------------------------------------------------------------------------------
 */

static void on_mistake(void *arg, const struct conf_where *where, const char *text)
{
    char line[IPC_TEXT_MAX];

    if (where->line > 0)
        snprintf(line, sizeof line, "%s:%u: %s", where->file, where->line, text);
    else
        snprintf(line, sizeof line, "%s", text);
    tell_mistake(arg, line);
}

static int load(struct prepare *pp)
{
    struct err err;

    if (conf_load(pp->parent.conf_path, &pp->conf, &err) < 0) {
        tell_mistake(pp, err.text);
        return -1;
    }
    return conf_check(pp->conf, true, on_mistake, pp) > 0 ? -1 : 0;
}

/* What the configuration of before says; "" when it cannot be had. Freed by the caller. */
static char *text_of(int fd, size_t *out_n)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = size < 0 ? NULL : calloc(1, (size_t)size + 1);

    *out_n = 0;
    if (text && pread(fd, text, (size_t)size, 0) == size)
        *out_n = (size_t)size;
    return text;
}

static void load_old(struct prepare *pp)
{
    struct err err;
    size_t n;
    char *text = text_of(pp->old_fd, &n);

    if (text && conf_load_text(text, "configuration", &pp->old, &err) < 0)
        tell(pp, "the configuration of before has words that this program does not know; what "
                 "differs cannot be said");
    if (text)
        wipe(text, n);
    free(text);
}

static bool is_same_text(const struct prepare *pp, int rules_fd)
{
    size_t n, other_n;
    char *text = text_of(pp->old_fd, &n), *other = text_of(rules_fd, &other_n);
    bool is_same = text && other && n == other_n && memcmp(text, other, n) == 0;

    if (text)
        wipe(text, n);
    if (other)
        wipe(other, other_n);
    free(text);
    free(other);
    return is_same;
}

/* How much differs; the number of workers may although the text does not. */
static size_t compare(struct prepare *pp, int rules_fd)
{
    const unsigned before = pp->parent.current->workers_n, after = conf_workers(pp->conf);
    char line[128];
    size_t n = pp->old ? conf_diff(pp->old, pp->conf, on_told, pp) : 1;

    if (before != after && pp->old &&
        strcmp(pp->old->global.workers, pp->conf->global.workers) == 0) {
        snprintf(line, sizeof line, "workers: %u -> %u, as many as there are cores", before, after);
        tell(pp, line);
        n++;
    }
    return n > 0 ? n : !is_same_text(pp, rules_fd);
}

/* --- what it names
 * ------------------------------------------------------------------------------------------------
 */

static void send_files(struct prepare *pp, struct files *files)
{
    for (size_t i = 0; i < files->n; i++) {
        channel_send(&pp->channel, MSG_FILE, 0, NULL, slice_str(files->all[i].name),
                     files->all[i].fd);
        files->all[i].fd = -1;
    }
}

static void send_ports(struct prepare *pp, struct ports *ports)
{
    for (size_t i = 0; i < ports->n; i++) {
        const struct msg_port m = {.addr = ports->all[i].addr, .listener = ports->all[i].listener};

        channel_send(&pp->channel, MSG_PORT, 0, &m, no_tail, -1);
        for (unsigned k = 0; k < ports->all[i].fds_n; k++)
            channel_send(&pp->channel, MSG_SOCKET, 0, NULL, no_tail, ports->all[i].fds[k]);
        ports->all[i].fds_n = 0;
    }
}

/* The memory in which processes of this program count: one that is there, or a new one. */
static int send_counters(struct prepare *pp, struct err *err)
{
    int own = tally_own(pp->tally, err);
    int copy = own < 0 ? -1 : fcntl(own, F_DUPFD_CLOEXEC, 0);

    if (own < 0)
        return -1;
    if (copy < 0)
        return err_sys(err, errno, "cannot duplicate a descriptor");
    channel_send(&pp->channel, MSG_COUNTERS, 0, NULL, no_tail, copy);
    return 0;
}

/* A new door is the last that is opened, since its file shows. */
static int prepare_door(struct prepare *pp, struct msg_prepared *m, struct err *err)
{
    const char *before = pp->parent.door_path;
    char path[CONF_SOCKET_PATH];
    struct local door;

    if (!conf_admin_socket(pp->conf, path)) {
        m->door = before ? DOOR_NONE : DOOR_KEPT;
        return 0;
    }
    m->door = DOOR_KEPT;
    if (before && strcmp(before, path) == 0)
        return 0;
    if (local_listen(path, &door, err) < 0)
        return err_prefix(err, "admin_socket");
    m->door = DOOR_NEW;
    channel_send(&pp->channel, MSG_DOOR, 0, NULL, slice_str(path), door.fd);
    return 0;
}

static int gather(struct prepare *pp, struct msg_prepared *m, struct files *files,
                  struct ports *ports, struct err *err)
{
    int conf_fd, rules_fd;

    m->workers_n = conf_workers(pp->conf);
    if (renew_read(pp->conf, files, err) < 0 || resources_state(pp->conf, err) < 0 ||
        ports_plan(&pp->parent.ports, pp->conf, m->workers_n, ports, err) < 0 ||
        resources_conf(pp->conf, &conf_fd, &rules_fd, err) < 0)
        return -1;
    m->changes_n = (uint32_t)compare(pp, rules_fd);
    if (send_counters(pp, err) < 0) {
        close(conf_fd);
        close(rules_fd);
        return -1;
    }
    channel_send(&pp->channel, MSG_CONF, 0, NULL, no_tail, conf_fd);
    channel_send(&pp->channel, MSG_RULES, 0, NULL, no_tail, rules_fd);
    send_files(pp, files);
    send_ports(pp, ports);
    return prepare_door(pp, m, err);
}

static bool is_good(struct prepare *pp, struct msg_prepared *m)
{
    struct files files = {0};
    struct ports ports = {0};
    struct err err;
    bool is_well;

    if (load(pp) < 0)
        return false;
    load_old(pp);
    if (pp->old && conf_diff_refused(pp->old, pp->conf, on_refused, pp) > 0)
        return false;
    is_well = gather(pp, m, &files, &ports, &err) == 0;
    if (!is_well)
        tell_mistake(pp, err.text);
    files_free(&files);
    ports_close(&ports);
    return is_well;
}

static void prepare(struct prepare *pp)
{
    struct msg_prepared m = {0};

    m.is_good = is_good(pp, &m);
    channel_send(&pp->channel, MSG_PREPARED, 0, &m, slice_str(USHER_VERSION), -1);
    pp->is_done = true;
}

/* --- the process
 * ------------------------------------------------------------------------------------------------
 */

static void give_up(struct prepare *pp, const char *why)
{
    log_detail(LOG_FATAL, "%s", why);
    pp->has_failed = true;
    loop_stop(pp->loop);
}

/* Would this program understand what it will be left? */
static void take_state(struct prepare *pp, int fd)
{
    struct msg_prepared m = {0};
    struct err err;
    size_t n;
    char *text = text_of(fd, &n);
    int done = text ? handover_read(&pp->parent, slice_of(text, n), true, &err)
                    : err_set(&err, ENOMEM, "out of memory");

    close(fd);
    if (text)
        wipe(text, n);
    free(text);
    if (done == 0) {
        prepare(pp);
        return;
    }
    tell_mistake(pp, err.text);
    channel_send(&pp->channel, MSG_PREPARED, 0, &m, slice_str(USHER_VERSION), -1);
    pp->is_done = true;
}

static void take_counters(struct prepare *pp, int fd)
{
    struct err err;

    if (tally_add(pp->tally, fd, &err) < 0)
        log_detail(LOG_DEBUG, "%s", err.text);
}

static void on_message(struct channel *ch, const struct msg *m)
{
    struct prepare *pp = CONTAINER(ch, struct prepare, channel);

    if (m->type == MSG_CONF && pp->old_fd < 0)
        pp->old_fd = m->fd;
    else if (m->type == MSG_COUNTERS)
        take_counters(pp, m->fd);
    else if (m->type == MSG_STATE && !pp->is_done)
        take_state(pp, m->fd);
    else if (m->fd >= 0)
        close(m->fd);
}

static void on_closed(struct channel *ch, const char *why)
{
    give_up(CONTAINER(ch, struct prepare, channel), why);
}

/* All is said: what lies in the socket is the parent's. */
static void on_turn(void *arg)
{
    struct prepare *pp = arg;

    channels_flush(&pp->channels);
    if (pp->is_done && channel_is_empty(&pp->channel))
        loop_stop(pp->loop);
}

static int begin(struct prepare *pp, struct err *err)
{
    static const struct channel_events events = {.on_message = on_message, .on_closed = on_closed};
    const struct msg_hello self = msg_hello_of(ROLE_PREPARE);

    pp->loop = loop_new(err);
    if (!pp->loop)
        return -1;
    channels_init(&pp->channels, pp->loop);
    loop_on_turn(pp->loop, on_turn, pp);
    pp->tally = tally_new();
    if (!pp->tally)
        return err_set(err, ENOMEM, "out of memory");
    channel_open(&pp->channel, &pp->channels, CHILD_FD_PARENT, &self, &events);
    return 0;
}

int prepare_main(void)
{
    struct prepare pp = {.old_fd = -1};
    struct err err;

    log_open(CHILD_FD_LOG, LEVEL_INFO);
    crash_begin(role_name(ROLE_PREPARE), CHILD_FD_LOG);
    child_begin(ROLE_PREPARE);
    parent_init(&pp.parent);
    if (begin(&pp, &err) < 0)
        give_up(&pp, err.text);
    else
        loop_run(pp.loop);
    channel_close(&pp.channel);
    close_fd(&pp.old_fd);
    tally_free(&pp.tally);
    conf_free(&pp.old);
    conf_free(&pp.conf);
    parent_free(&pp.parent);
    loop_free(&pp.loop);
    log_flush();
    return pp.has_failed ? 1 : 0;
}
