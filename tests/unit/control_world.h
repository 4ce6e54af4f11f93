/* The control process in a process of its own, with its parent, a worker and lookup played by the
 * test over real channels: starting it, speaking with it, its end. */
#ifndef USHER_TESTS_UNIT_CONTROL_WORLD_H
#define USHER_TESTS_UNIT_CONTROL_WORLD_H

#include "channel_end.h"
#include "control/control.h"
#include "control/operate.h"
#include "control/shared.h"
#include "control/state.h"
#include "names_said.h"
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char dir[64];
static char conf_text[1024];
static int shared_fds[SHARED_COUNT], counters_fd;
static pid_t pid;
static int parent_fd, log_fd;
static int door_fd = -1; /* to be given at the start, or not */
static struct err err;

static struct end parent, worker, lookup;

/* --- a door of the test's ------------------------------------------------------------------- */

/* In control's process. Each byte that comes moves ann from a to b. */
struct door {
    struct watch watch;
    struct loop *loop;
    struct operate *operate;
    void (*changed)(void *arg);
    void *arg;
};

static inline void on_command(struct watch *watch, unsigned events)
{
    struct door *d = CONTAINER(watch, struct door, watch);
    struct operate_route r;
    struct err e;
    char c;

    (void)events;
    if (read(watch->io.fd, &c, 1) != 1) {
        watch_set(d->loop, watch, 0);
        return;
    }
    if (operate_route(d->operate, 1, SLICE("ann"), BACKEND_NONE, loop_now_ms(d->loop), &r, &e) <
            0 ||
        operate_move(d->operate, SLICE("ann"), r.live == 1 ? 2 : 1, loop_now_ms(d->loop), &e) < 0)
        abort();
    free(r.hash);
    d->changed(d->arg);
}

static inline int open_door(struct child *child, int fd, struct door **out_door, struct err *e)
{
    struct door *d = calloc(1, sizeof *d);

    (void)e;
    d->loop = child->loop;
    watch_init(&d->watch, fd, on_command);
    *out_door = d;
    return 0;
}

static inline void begin_door(struct door *d, struct operate *operate, void (*changed)(void *arg),
                              void *arg)
{
    d->operate = operate;
    watch_set(d->loop, &d->watch, LOOP_READ);
    d->changed = changed;
    d->arg = arg;
}

static inline void close_door(struct door **d)
{
    watch_set((*d)->loop, &(*d)->watch, 0);
    close((*d)->watch.io.fd);
    free(*d);
    *d = NULL;
}

static inline void finish_door(struct door *d, unsigned limit_ms)
{
    (void)d;
    (void)limit_ms;
}

static const struct control_door door = {open_door, begin_door, finish_door, close_door};

/* --------------------------------------------------------------------------------------------- */

/* Waits for the next message, HELLOs passed over, which must be of `type`. */
static inline struct msg await(struct end *e, enum msg_type type)
{
    struct pollfd pfd = {.fd = e->fd, .events = POLLIN};
    struct msg m;

    while (!next_msg(e, &m)) {
        assert_false(e->is_closed);
        assert_int_equal(poll(&pfd, 1, 10000), 1);
    }
    assert_string_equal(msg_type_name(m.type), msg_type_name(type));
    return m;
}

static inline int text_file(const char *text)
{
    int fd = memfd_create("conf", MFD_CLOEXEC);

    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static _Noreturn inline void be_control(int channel, int log)
{
    struct child_role role = control_role;
    /* Out of the way of the numbers that a child is executed with. */
    int a = fcntl(channel, F_DUPFD, 20), b = fcntl(log, F_DUPFD, 20);

    dup2(a, CHILD_FD_PARENT);
    dup2(b, CHILD_FD_LOG);
    close_range(5, ~0U, 0);
    role.part = &door;
    exit(child_main(&role)); /* not _exit: the leak sanitizer looks then */
}

static inline void send_name(void *arg, const struct msg_name *m, const char *title)
{
    send_msg(arg, MSG_NAME, 0, m, slice_str(title), -1);
}

/* One whose configuration is this. */
static inline void give_peer_of(struct end *e, const struct msg_peer *who, const char *text)
{
    struct conf *conf;
    int fds[2];

    assert_int_equal(channel_pair(fds, &err), 0);
    *e = (struct end){.fd = fds[0]};
    send_msg(&parent, MSG_PEER, 0, who, SLICE("1.2.3"), fds[1]);
    close(fds[1]);
    say_hello(e, (enum role)who->role);
    if (who->role != ROLE_WORKER)
        return;
    assert_int_equal(conf_load_text(text, "test", &conf, &err), 0);
    say_names(conf, send_name, e);
    conf_free(&conf);
}

static inline void give_peer(struct end *e, enum role role)
{
    give_peer_of(e, &(struct msg_peer){.role = (uint8_t)role, .instance = 9}, conf_text);
}

/* As a candidate: it has not begun. */
static inline void start_only(uint32_t epoch)
{
    const struct msg_start m = {.instance = epoch};
    int conf_fd = text_file(conf_text);
    int fds[2], log[2];

    assert_int_equal(channel_pair(fds, &err), 0);
    assert_int_equal(pipe2(log, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0)
        be_control(fds[1], log[1]);
    close(fds[1]);
    close(log[1]);
    log_fd = log[0];
    parent_fd = fds[0];
    parent = (struct end){.fd = parent_fd};
    say_hello(&parent, ROLE_PARENT);
    send_msg(&parent, MSG_CONF, 0, NULL, SLICE(""), conf_fd);
    send_msg(&parent, MSG_COUNTERS, 0, NULL, SLICE(""), counters_fd);
    for (uint32_t i = 0; i < SHARED_COUNT; i++) {
        const struct msg_shared which = {.which = i};

        send_msg(&parent, MSG_SHARED, 0, &which, SLICE(""), shared_fds[i]);
    }
    close(conf_fd);
    if (door_fd >= 0) {
        send_msg(&parent, MSG_DOOR, 0, NULL, SLICE(""), door_fd);
        close(door_fd);
    }
    door_fd = -1;
    send_msg(&parent, MSG_START, 0, &m, SLICE(""), -1);
}

static inline void start(uint32_t epoch, uint32_t peers)
{
    const struct msg_begin begin = {.epoch = epoch, .peers = peers};

    start_only(epoch);
    send_msg(&parent, MSG_BEGIN, 0, &begin, SLICE(""), -1);
}

/* Its whole log once it has ended with `status`. */
static inline const char *log_of_the_dead(int want_status)
{
    static char text[65536];
    size_t n = 0;
    ssize_t got;
    int status;

    while (n < sizeof text - 1 && (got = read(log_fd, text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != want_status)
        fail_msg("status %x, log: %s", (unsigned)status, text);
    close(parent_fd);
    close(log_fd);
    return text;
}

static inline const char *stop(void)
{
    send_msg(&parent, MSG_STOP, 0, NULL, SLICE(""), -1);
    return log_of_the_dead(0);
}

static inline void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in: %s", part, text ? text : "");
}

static inline int setup(void **state)
{
    const struct passwd *nobody = getpwnam("nobody");

    (void)state;
    strcpy(dir, "/tmp/usher-control-XXXXXX");
    if (!mkdtemp(dir) || (geteuid() == 0 && chown(dir, nobody->pw_uid, nobody->pw_gid) < 0))
        return -1;
    snprintf(conf_text, sizeof conf_text,
             "user = nobody\nstate = \"%s\"\nconnect_timeout = 100ms\n"
             "listener l { address = \"127.0.0.1:0\" }\n"
             "pool main { backend mail1 { address = \"mail1.test:10143\" } }\n",
             dir);
    for (size_t i = 0; i < SHARED_COUNT; i++) {
        shared_fds[i] = shared_create(&err);
        if (shared_fds[i] < 0)
            return -1;
    }
    counters_fd = counters_create(&err);
    return counters_fd < 0 ? -1 : 0;
}

static inline int teardown(void **state)
{
    static const char *const names[] = {STATE_FILE, STATE_FILE "-wal", STATE_FILE "-shm"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];

        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    if (worker.fd > 0)
        close(worker.fd);
    if (lookup.fd > 0)
        close(lookup.fd);
    worker.fd = lookup.fd = 0;
    for (size_t i = 0; i < SHARED_COUNT; i++)
        close(shared_fds[i]);
    close(counters_fd);
    return rmdir(dir);
}

/* Answers the open question of lookup. */
static inline void resolve(void)
{
    struct msg_resolved answer = {.ttl_s = 60, .addresses_n = 1};
    struct msg m = await(&lookup, MSG_RESOLVE);

    assert_true(slice_eq(m.tail, SLICE("mail1.test")));
    assert_true(addr_parse_ip(SLICE("192.0.2.1"), 10143, &answer.addresses[0]));
    send_msg(&lookup, MSG_RESOLVED, m.id, &answer, SLICE(""), -1);
}

static inline struct addr address(const char *text)
{
    struct addr a;

    assert_true(addr_parse_ip(slice_str(text), 4711, &a));
    return a;
}

static inline void ask_from(const char *client, uint32_t id, const char *user)
{
    struct msg_open open = {.client = address(client), .listener = 0};
    struct msg_admit admit = {.client = open.client, .mech = MECH_PLAIN};

    send_msg(&worker, MSG_OPEN, id, &open, SLICE(""), -1);
    assert_int_equal(await(&worker, MSG_GO).id, id);
    send_msg(&worker, MSG_ADMIT, id, &admit, slice_str(user), -1);
}

static inline struct lease_id log_in_up_to_lease(uint32_t id, const char *user)
{
    struct msg_lease lease;

    ask_from("192.0.2.1", id, user);
    memcpy(&lease, await(&worker, MSG_LEASE).body, sizeof lease);
    assert_int_equal(lease.addresses_n, 1);
    assert_int_equal(addr_port(&lease.addresses[0]), 10143);
    return lease.lease;
}

#endif
