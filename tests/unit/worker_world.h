/* A worker in the test's own process and loop, for its tests: the test plays the parent and
 * control, clients and a backend over real sockets. Nothing of theirs blocks: the loop runs until
 * what is waited for has come. */
#ifndef USHER_TESTS_UNIT_WORKER_WORLD_H
#define USHER_TESTS_UNIT_WORKER_WORLD_H

#include "channel_end.h"
#include "no_memory.h"

#include "base/log.h"
#include "net/listen.h"
#include "worker/contexts.h"
#include "worker/session.h"
#include "worker/worker.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000, PULSE_MS = 50 };

/* A client or a backend. */
struct peer {
    int fd;
    bool is_over; /* the other side has finished sending, or has reset the connection */
    size_t at, n; /* what was heard already, and all that has come */
    char got[1 << 16];
};

static struct {
    struct child child;
    struct channels channels;
    struct end parent, control, lookup;
    struct addr listener, backend;
    int listener_fd, backend_fd, log_fd;
    int fds_before;
    struct deadline pulse;
    uint64_t begun_ms;
    bool (*is_so)(void *arg);
    void *arg;
    bool is_met, has_pulsed;
    bool hears_names; /* else they are passed over */
} world;

/* --- the files that the parent has given, in place of proc/'s --------------------------------- */

static struct {
    const char *name;
    char *text;
} files[8];

struct slice __wrap_child_file(const struct child *c, const char *path);
void __wrap_child_drop_files(struct child *c);

struct slice __wrap_child_file(const struct child *c, const char *path)
{
    (void)c;
    for (size_t i = 0; i < sizeof files / sizeof *files && files[i].name; i++) {
        if (strcmp(files[i].name, path) == 0)
            return slice_str(files[i].text);
    }
    return slice_of(NULL, 0);
}

void __wrap_child_drop_files(struct child *c)
{
    (void)c;
}

/* Takes over the text; in place of another of this name. */
static inline void give_file(const char *name, char *text)
{
    size_t i = 0;

    while (files[i].name && strcmp(files[i].name, name) != 0)
        i++;
    free(files[i].text);
    files[i].name = name;
    files[i].text = text;
}

static inline void drop_files(void)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        free(files[i].text);
    memset(files, 0, sizeof files);
}

/* --- the loop --------------------------------------------------------------------------------- */

static inline struct worker *the_worker(void)
{
    return world.child.state;
}

static inline void on_world_turn(void *arg)
{
    bool is_on;

    (void)arg;
    channels_flush(&world.child.channels);
    is_on = memory.is_on;
    memory.is_on = false;
    if (!world.is_met && world.is_so && world.is_so(world.arg)) {
        world.is_met = true;
        loop_stop(world.child.loop);
    }
    memory.is_on = is_on;
}

static inline void on_pulse(struct deadline *d)
{
    world.has_pulsed = true;
    if (loop_now_ms(world.child.loop) - world.begun_ms > PATIENCE_MS)
        loop_stop(world.child.loop);
    else
        deadline_set(world.child.loop, d, PULSE_MS);
}

/* Says whether it became so before patience ended. */
static inline bool turns_until(bool (*is_so)(void *arg), void *arg)
{
    world.is_so = is_so;
    world.arg = arg;
    world.is_met = world.has_pulsed = false;
    world.begun_ms = loop_now_ms(world.child.loop);
    deadline_set(world.child.loop, &world.pulse, PULSE_MS);
    loop_run(world.child.loop);
    deadline_clear(&world.pulse);
    world.is_so = NULL;
    return world.is_met;
}

static inline bool is_time_up(void *arg)
{
    return world.has_pulsed && loop_now_ms(world.child.loop) - world.begun_ms >= *(uint64_t *)arg;
}

/* Lets time pass, for what must not happen in it or is due then. */
static inline void turn_for(uint64_t ms)
{
    assert_true(turns_until(is_time_up, &ms));
}

/* Lets the worker do all that it can do now. */
static inline void settle(void)
{
    turn_for(0);
}

/* --- the log ---------------------------------------------------------------------------------- */

static inline const char *log_text(void)
{
    static char text[1 << 18];
    ssize_t n = pread(world.log_fd, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static inline void assert_logged(const char *words)
{
    if (!strstr(log_text(), words))
        fail_msg("no \"%s\" in the log:\n%s", words, log_text());
}

static inline void assert_not_logged(const char *words)
{
    if (strstr(log_text(), words))
        fail_msg("\"%s\" is in the log:\n%s", words, log_text());
}

/* --- control ---------------------------------------------------------------------------------- */

struct awaited {
    struct end *end;
    struct msg msg;
};

static inline bool has_msg(void *arg)
{
    struct awaited *a = arg;

    while (next_msg(a->end, &a->msg)) {
        if (a->msg.type != MSG_NAME || world.hears_names)
            return true;
    }
    return a->end->is_closed;
}

/* The next message to control or the parent, which must be of this type. */
static inline struct msg hears_at(struct end *end, enum msg_type type)
{
    struct awaited a = {.end = end};

    if (!turns_until(has_msg, &a) || end->is_closed)
        fail_msg("%s did not come", msg_type_name(type));
    assert_string_equal(msg_type_name(a.msg.type), msg_type_name(type));
    return a.msg;
}

static inline struct msg control_hears(enum msg_type type)
{
    return hears_at(&world.control, type);
}

/* As control_hears, of one session. */
static inline struct msg control_hears_of(uint32_t id, enum msg_type type)
{
    struct msg m = control_hears(type);

    assert_int_equal(m.id, id);
    return m;
}

static inline void assert_replayed(uint32_t id, enum replay_stage stage)
{
    struct msg m = control_hears_of(id, MSG_REPLAY);

    assert_int_equal(((const struct msg_replay *)m.body)->stage, stage);
}

static inline void assert_ended(uint32_t id, enum close_reason reason)
{
    struct msg m = control_hears_of(id, MSG_END);

    assert_string_equal(
        close_reason_name((enum close_reason)((const struct msg_end *)m.body)->reason),
        close_reason_name(reason));
}

/* Joins the worker with a control, in place of one that it may have. `size` is how much their
 * socket takes before it is read; 0: the usual. */
static inline void new_control_with(int size)
{
    const struct msg_peer who = {.role = ROLE_CONTROL, .instance = 9};
    struct msg m = {.type = MSG_PEER, .body = &who};
    struct err err;
    int fds[2];

    assert_int_equal(channel_pair(fds, &err), 0);
    if (size)
        setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    world.control = (struct end){.fd = fds[0]};
    m.fd = fds[1];
    say_hello(&world.control, ROLE_CONTROL);
    worker_role.on_message(&world.child, &m);
}

static inline void new_control(void)
{
    new_control_with(0);
}

/* Joins the worker with a lookup, in place of one that it may have. */
static inline void new_lookup(void)
{
    const struct msg_peer who = {.role = ROLE_LOOKUP, .instance = 11};
    struct msg m = {.type = MSG_PEER, .body = &who};
    struct err err;
    int fds[2];

    if (world.lookup.fd >= 0)
        close(world.lookup.fd);
    assert_int_equal(channel_pair(fds, &err), 0);
    world.lookup = (struct end){.fd = fds[0]};
    m.fd = fds[1];
    say_hello(&world.lookup, ROLE_LOOKUP);
    worker_role.on_message(&world.child, &m);
}

static inline void lose_control(void)
{
    close(world.control.fd);
    world.control.fd = -1;
}

static inline void say_go(uint32_t id)
{
    send_msg(&world.control, MSG_GO, id, NULL, SLICE(""), -1);
}

/* For the user `name` (NULL: as the client gave it), whom the backend is told as `told` (""). */
static inline void say_lease_of(uint32_t id, unsigned flags, const char *name, const char *told)
{
    const struct session *s = worker_find(the_worker(), id);
    const char *user = name ? name : s && s->user ? s->user : "ann";
    struct msg_lease lease = {.lease = {7, id},
                              .attempt = 1,
                              .addresses_n = 1,
                              .flags = (uint16_t)flags,
                              .name_n = (uint16_t)strlen(user)};
    char tail[IPC_TEXT_MAX];
    int n = snprintf(tail, sizeof tail, "%s%s", user, told);

    lease.addresses[0] = world.backend;
    send_msg(&world.control, MSG_LEASE, id, &lease, slice_of(tail, (size_t)n), -1);
}

static inline void say_lease_at(uint32_t id, const struct addr *backend)
{
    struct addr usual = world.backend;

    world.backend = *backend;
    say_lease_of(id, 0, NULL, "");
    world.backend = usual;
}

static inline void say_lease(uint32_t id)
{
    say_lease_at(id, &world.backend);
}

static inline void say_done(uint32_t id)
{
    send_msg(&world.control, MSG_DONE, id, NULL, SLICE(""), -1);
}

static inline void say_refuse(uint32_t id, uint32_t code)
{
    const struct msg_refuse m = {.code = code};

    send_msg(&world.control, MSG_REFUSE, id, &m, SLICE("so it is"), -1);
}

/* --- peers ------------------------------------------------------------------------------------ */

static inline void peer_read(struct peer *p)
{
    ssize_t n;

    while (!p->is_over && p->n < sizeof p->got - 1) {
        n = recv(p->fd, p->got + p->n, sizeof p->got - 1 - p->n, MSG_DONTWAIT);
        p->is_over = n == 0 || (n < 0 && errno != EAGAIN);
        if (n <= 0)
            break;
        p->n += (size_t)n;
    }
    p->got[p->n] = '\0';
}

struct hearing {
    struct peer *peer;
    const char *words;
};

static inline bool is_heard(void *arg)
{
    struct hearing *h = arg;
    const char *found;

    peer_read(h->peer);
    found = strstr(h->peer->got + h->peer->at, h->words);
    if (found)
        h->peer->at = (size_t)(found - h->peer->got) + strlen(h->words);
    return found;
}

static inline void hears(struct peer *p, const char *words)
{
    struct hearing h = {p, words};

    if (!turns_until(is_heard, &h))
        fail_msg("\"%s\" was not heard, but \"%s\"", words, p->got + p->at);
}

static inline bool is_over(void *arg)
{
    struct peer *p = arg;

    peer_read(p);
    return p->is_over;
}

/* The end of the connection. Returns what came before it and was not heard yet. */
static inline const char *hears_end(struct peer *p)
{
    if (!turns_until(is_over, p))
        fail_msg("the connection has not ended, heard: %s", p->got + p->at);
    return p->got + p->at;
}

static inline void says(struct peer *p, const char *text)
{
    assert_int_equal(send(p->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static inline void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

enum { LITTLE = 2048 };

/* From now on usher's kernel keeps little for a client that does not read: sockets that are
 * accepted inherit that from the one that listens. */
static inline void keep_little(void)
{
    int size = LITTLE;

    setsockopt(world.listener_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/* With an RST in place of a FIN. */
static inline void peer_reset(struct peer *p)
{
    const struct linger linger = {1, 0};

    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    peer_close(p);
}

/* `window` is how much its kernel keeps of what it does not read; 0: the usual. */
static inline void connects_with(struct peer *client, int window)
{
    memset(client, 0, sizeof *client);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (window)
        setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
    assert_int_equal(connect(client->fd, &world.listener.sa, addr_len(&world.listener)), 0);
}

/* Returns the session's id. */
static inline uint32_t opens(struct peer *client)
{
    connects_with(client, 0);
    return control_hears(MSG_OPEN).id;
}

static inline uint32_t is_greeted(struct peer *client)
{
    uint32_t id = opens(client);

    say_go(id);
    hears(client, "* OK ");
    return id;
}

static inline uint32_t asks_to_log_in(struct peer *client)
{
    uint32_t id = is_greeted(client);

    says(client, "a LOGIN ann secret\r\n");
    control_hears_of(id, MSG_ADMIT);
    return id;
}

static inline bool is_accepted(void *arg)
{
    struct peer *backend = arg;

    backend->fd = listen_accept(world.backend_fd, &(struct addr){0}, NULL);
    return backend->fd >= 0;
}

static inline void backend_accepts(struct peer *backend)
{
    memset(backend, 0, sizeof *backend);
    assert_true(turns_until(is_accepted, backend));
}

static inline uint32_t reaches_backend(struct peer *client, struct peer *backend)
{
    uint32_t id = asks_to_log_in(client);

    say_lease(id);
    backend_accepts(backend);
    return id;
}

/* The backend's part of a good login. */
static inline void backend_says_ok(struct peer *backend)
{
    says(backend, "* OK [CAPABILITY IMAP4rev1] Hi\r\n");
    hears(backend, "U1 LOGIN \"ann\" \"secret\"\r\n");
    says(backend, "U1 OK [CAPABILITY IMAP4rev1 IDLE] In\r\n");
}

static inline void assert_result(uint32_t id, enum result result)
{
    struct msg m = control_hears_of(id, MSG_RESULT);
    const struct msg_result *r = m.body;

    assert_int_equal(r->result, result);
    assert_int_equal(r->lease.number, id);
}

/* The backend has said OK, and control is asked whether the user may stay. */
static inline uint32_t is_let_in(struct peer *client, struct peer *backend)
{
    uint32_t id = reaches_backend(client, backend);

    backend_says_ok(backend);
    assert_result(id, RESULT_OK);
    return id;
}

static inline uint32_t logs_in(struct peer *client, struct peer *backend)
{
    uint32_t id = is_let_in(client, backend);

    say_done(id);
    hears(client, "a OK [CAPABILITY IMAP4rev1 IDLE] In\r\n");
    return id;
}

/* Both ways of the relay. */
static inline void assert_relays(struct peer *client, struct peer *backend)
{
    says(client, "n NOOP\r\n");
    hears(backend, "n NOOP\r\n");
    says(backend, "n OK Nothing\r\n");
    hears(client, "n OK Nothing\r\n");
}

/* --- beginning and end ------------------------------------------------------------------------ */

static inline int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static inline void give_listener(void)
{
    const struct msg_listener listener = {0};
    struct msg m = {.type = MSG_LISTENER, .body = &listener};
    struct err err;

    assert_true(addr_parse_ip(SLICE("127.0.0.1"), 0, &world.listener));
    assert_int_equal(listen_open(&world.listener, &world.listener_fd, 1, &err), 0);
    m.fd = world.listener_fd;
    worker_role.on_message(&world.child, &m);
}

/* A worker that was given everything, with `settings` before and in one listener, one pool and its
 * backend; not begun. */
static inline void prepare_pool(const char *settings, const char *listener, const char *pool,
                                const char *backend)
{
    static const struct channel_events events; /* none comes: the test calls the role itself */
    struct child *c = &world.child;
    struct err err = {0};
    static char text[1 << 19];
    int fds[2];

    memset(&world, 0, sizeof world);
    world.fds_before = count_fds();
    snprintf(text, sizeof text,
             "workers = 1\n%s\nlistener l { address = \"127.0.0.1:0\"\ntls = off\n"
             "auth_allow_cleartext = yes\n%s }\n"
             "pool main { %s\nbackend b1 { address = \"b1.test:1\"\n%s } }\n",
             settings, listener, pool, backend);
    if (conf_load_text(text, "t", &c->conf, &err) < 0)
        fail_msg("%s", err.text);
    world.log_fd = memfd_create("log", MFD_CLOEXEC);
    log_open(world.log_fd, LEVEL_INFO);
    c->role = &worker_role;
    c->state = calloc(1, worker_role.state_size);
    c->counters = aligned_alloc(64, sizeof(struct counters));
    assert_non_null(c->state);
    memset(c->counters, 0, sizeof(struct counters));
    c->loop = loop_new(&err);
    c->self = (struct msg_hello){IPC_MAGIC, IPC_VERSION, IPC_OLDEST, ROLE_WORKER, 0, 0, 3, 0, 0};
    channels_init(&c->channels, c->loop);
    loop_on_turn(c->loop, on_world_turn, NULL);
    deadline_init(&world.pulse, on_pulse);
    worker_role.on_init(c);
    assert_int_equal(channel_pair(fds, &err), 0);
    world.parent = (struct end){.fd = fds[0]};
    channel_open(&c->parent, &c->channels, fds[1], &c->self, &events);
    say_hello(&world.parent, ROLE_PARENT);
    give_listener();
    assert_true(addr_parse_ip(SLICE("127.0.0.1"), 0, &world.backend));
    assert_int_equal(listen_open(&world.backend, &world.backend_fd, 1, &err), 0);
    world.control.fd = world.lookup.fd = -1;
}

static inline void prepare(const char *settings, const char *listener, const char *backend)
{
    prepare_pool(settings, listener, "", backend);
}

static inline void begin_pool(const char *settings, const char *listener, const char *pool,
                              const char *backend)
{
    struct err err = {0};

    prepare_pool(settings, listener, pool, backend);
    if (worker_role.on_start(&world.child, &err) < 0)
        fail_msg("%s", err.text);
    world.child.has_begun = true;
    if (worker_role.on_begin(&world.child, &err) < 0)
        fail_msg("%s", err.text);
    new_control();
    control_hears(MSG_REPLAYED);
}

static inline void begin(const char *settings, const char *listener, const char *backend)
{
    begin_pool(settings, listener, "", backend);
}

static inline void begin_usual(void)
{
    begin("", "", "");
}

static inline bool has_no_sessions(void *arg)
{
    (void)arg;
    return list_empty(&the_worker()->sessions);
}

/* Tells it to stop and waits until it has; its clients are gone by then. Nothing is left open. */
static inline void finish(void)
{
    struct child *c = &world.child;

    if (!the_worker()->is_stopping)
        worker_role.on_stop(c);
    assert_true(has_no_sessions(NULL) || turns_until(has_no_sessions, NULL));
    /* The end of a process closes this one. */
    if (the_worker()->again.cb)
        close(the_worker()->again.io.fd);
    worker_role.on_done(c);
    channel_close(&c->parent);
    loop_free(&c->loop);
    conf_free(&c->conf);
    free(c->state);
    free(c->counters);
    close(world.parent.fd);
    if (world.control.fd >= 0)
        close(world.control.fd);
    if (world.lookup.fd >= 0)
        close(world.lookup.fd);
    close(world.backend_fd);
    log_open(STDERR_FILENO, LEVEL_ERROR);
    close(world.log_fd);
    drop_files();
    assert_int_equal(count_fds(), world.fds_before);
}

#endif
