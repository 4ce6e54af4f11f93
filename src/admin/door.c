/* The unix door: connections, their bounds and turns. What is asked and answered is request.c's and
 * commands.c's.
 *
 * All work is done in pieces, and in each turn of the loop one piece for one connection, whoever
 * waits: so however many operators ask however much, logins are answered in between. */
#include "admin/door.h"

#include "admin/commands.h"
#include "admin/rights.h"
#include "base/list.h"
#include "base/log.h"
#include "net/listen.h"
#include "net/local.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    OPERATORS_MAX = 32,
    /* Of these, for all but root and our own account, who must always get in. */
    OTHERS_MAX = 28,
    /* Of those, for who may only see; the others are kept for those who may steer. */
    SEERS_MAX = 24,
    /* Beside them: who may not come in, but is to read so, which a program that is still asking
     * when it is let go does not. */
    REFUSED_MAX = 8,
    /* One more of those is let in, to be let go at once. */
    CONNECTIONS_MAX = OPERATORS_MAX + REFUSED_MAX + 1,
    REFUSED_MS = 5000,
    ACCEPTS = 8, /* in a turn of the loop */
    AGAIN_MS = 1000,
    SILENCE_MS = 60 * 1000,
    REQUEST_MAX = 64 * 1024, /* with its line end */
    READ_MOST = 4096,
    /* No more rows are made while so much waits for the reader. */
    ANSWER_PACE = 64 * 1024,
    /* One line may be as long, with thousands of backends in it. */
    ANSWER_MAX = 4 * 1024 * 1024
};

struct door {
    struct child *child;
    struct operate *operate;
    struct rights rights;
    int fd;
    struct watch listening;
    struct deadline again;   /* accepting, after there were no descriptors */
    struct list connections; /* whose turn comes first stands first */
    unsigned operators_n, others_n, seers_n, refused_n;
    /* Always ready to be written to, so that it calls in each turn of the loop while it is watched.
     */
    struct watch turn;
    int turn_fds[2];
    void (*changed)(void *arg);
    void *changed_arg;
};

struct connection {
    struct list node;
    struct door *door;
    struct watch watch;
    struct deadline silence;
    int fd;
    pid_t pid;
    uid_t uid;
    struct right right;
    const char *refusal, *code; /* what its first request is answered; NULL: it may ask */
    struct buf in, out;
    size_t looked;   /* at the start of `in` there is no line end in so many bytes */
    bool is_calling; /* `call` has more to tell, perhaps when it has been told itself */
    bool has_ended;  /* the peer has finished sending */
    bool is_over;    /* once `out` has gone, the connection ends */
    struct call call;
};

static uint64_t now_ms(const struct door *d)
{
    return loop_now_ms(d->child->loop);
}

static bool is_other(const struct connection *c)
{
    return c->uid != 0 && c->uid != c->door->rights.own;
}

/* It comes in (1) or goes (-1). */
static void count(const struct connection *c, int change)
{
    struct door *d = c->door;

    if (c->refusal) {
        d->refused_n += (unsigned)change;
        return;
    }
    d->operators_n += (unsigned)change;
    if (is_other(c))
        d->others_n += (unsigned)change;
    if (!c->right.may_steer)
        d->seers_n += (unsigned)change;
}

/* --- the end of a connection ------------------------------------------------------------------ */

static void drop(struct connection *c)
{
    struct door *d = c->door;

    if (c->is_calling)
        call_done(&c->call);
    watch_set(d->child->loop, &c->watch, 0);
    deadline_clear(&c->silence);
    list_remove(&c->node);
    count(c, -1);
    close(c->fd);
    buf_release(&c->in);
    buf_release(&c->out);
    free(c);
}

/* Something went on that the peer had to do its part for. */
static void stay(struct connection *c)
{
    deadline_set(c->door->child->loop, &c->silence, c->refusal ? REFUSED_MS : SILENCE_MS);
}

/* --- what there is to do ---------------------------------------------------------------------- */

/* The next request: a line without its end, or what stands behind the last one when the peer has
 * finished. *out_used: bytes of `in`. */
static bool next_line(struct connection *c, struct slice *out_line, size_t *out_used)
{
    const struct slice in = buf_slice(&c->in);
    const struct slice rest = slice_sub(in, c->looked, in.n);
    const char *end = rest.p && rest.n ? memchr(rest.p, '\n', rest.n) : NULL;

    c->looked = end ? (size_t)(end - in.p) : in.n;
    if (!end && !(c->has_ended && in.n > 0))
        return false;
    *out_line = slice_sub(in, 0, c->looked);
    *out_used = c->looked + (end != NULL);
    return true;
}

static bool has_line(struct connection *c)
{
    struct slice line;
    size_t used;

    return next_line(c, &line, &used);
}

static bool has_work(struct connection *c)
{
    if (c->is_over || buf_len(&c->out) >= ANSWER_PACE)
        return false;
    return c->is_calling ? !c->call.is_waiting : has_line(c);
}

static void watch_turns(struct door *d)
{
    bool is_any = false;

    list_for_each (it, &d->connections)
        is_any = is_any || has_work(CONTAINER(it, struct connection, node));
    watch_set(d->child->loop, &d->turn, is_any ? LOOP_WRITE : 0);
}

/* Without memory for the words the peer is let go without. */
static void refuse(struct connection *c, const char *code, const char *text)
{
    struct answer answer = {.out = &c->out};

    c->is_over = !answer_error(&answer, code, text) || c->is_over;
}

/* Sends what the peer takes. False: it is gone. */
static bool send_some(struct connection *c)
{
    const struct slice out = buf_slice(&c->out);
    ssize_t n;

    if (out.n == 0)
        return true;
    n = send(c->fd, out.p, out.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    buf_take(&c->out, (size_t)n);
    if (buf_len(&c->out) == 0)
        buf_release(&c->out); /* it may have held a very long line */
    stay(c);
    return true;
}

/* After anything that changed it: sends, and says what is waited for. May end the connection. */
static void settle(struct connection *c)
{
    struct door *d = c->door;
    const bool is_there = send_some(c);
    const bool is_idle = !c->is_calling && !has_line(c);
    unsigned events = buf_len(&c->out) > 0 ? LOOP_WRITE : 0;

    if (!is_there || (buf_len(&c->out) == 0 && (c->is_over || (c->has_ended && is_idle)))) {
        drop(c);
    } else {
        if (is_idle && !c->has_ended && !c->is_over)
            events |= LOOP_READ;
        watch_set(d->child->loop, &c->watch, events);
    }
    watch_turns(d);
}

/* --- requests --------------------------------------------------------------------------------- */

static void log_steered(const struct connection *c, const struct request *r, const char *detail)
{
    const struct backends *b = operate_backends(c->door->operate);
    const uint32_t backend = r->backend == BACKEND_NONE ? r->to : r->backend;
    char session[24] = "";
    struct log_line l;

    if (r->has_session)
        snprintf(session, sizeof session, "%u.%u", r->session.instance, r->session.id);
    log_begin(&l, LOG_STEERED);
    log_str(&l, "by", c->right.by);
    log_uint(&l, "uid", c->uid);
    log_uint(&l, "pid", (uint64_t)c->pid);
    log_str(&l, "command", command_words(r->command));
    log_slice(&l, "user", r->user);
    log_str(&l, "backend", backend == BACKEND_NONE ? "" : backends_title(b, backend));
    log_str(&l, "session", session);
    log_str(&l, "detail", detail);
    log_end(&l);
}

/* Directories, or the parent, have answered: its turn will come. */
static void on_told(struct call *call)
{
    struct connection *c = CONTAINER(call, struct connection, call);

    stay(c);
    watch_turns(c->door);
}

/* Requests that are wrong in themselves are not told: nothing was tried. */
static void begin_call(struct connection *c, const struct request *request)
{
    const bool steers = command_right(request->command) == RIGHT_STEER;
    struct door *d = c->door;
    struct err err;

    if (call_begin(&c->call, d->operate, request, &c->out, now_ms(d), &err) < 0) {
        if (steers && !c->call.is_usage)
            log_steered(c, &c->call.request, err.text);
        refuse(c, c->call.is_usage ? "usage" : "failed", err.text);
        call_done(&c->call);
        return;
    }
    c->is_calling = true;
    c->call.on_told = on_told;
    if (steers)
        log_steered(c, &c->call.request, c->call.said);
    if (steers || c->call.is_waiting)
        d->changed(d->changed_arg);
}

static bool is_blank(struct slice line)
{
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] != ' ' && line.p[i] != '\r' && line.p[i] != '\t')
            return false;
    }
    return true;
}

static void begin(struct connection *c, struct slice line)
{
    struct request request;
    struct err err;

    if (c->refusal) {
        refuse(c, c->code, c->refusal);
        c->is_over = true;
    } else if (is_blank(line)) {
        return;
    } else if (request_open(line, &request, &err) < 0) {
        refuse(c, "usage", err.text);
    } else if (command_right(request.command) == RIGHT_STEER && !c->right.may_steer) {
        request_done(&request);
        refuse(c, "denied", "you may see, but not steer; the setting admin_steer says who may");
    } else {
        begin_call(c, &request);
    }
}

static void step(struct connection *c)
{
    c->is_calling = call_step(&c->call, now_ms(c->door));
    if (!c->is_calling)
        call_done(&c->call);
}

/* One piece: the beginning of a request, or some rows of its answer. */
static void work(struct connection *c)
{
    struct slice line;
    size_t used;

    if (c->is_calling) {
        step(c);
    } else if (next_line(c, &line, &used)) {
        begin(c, line);
        buf_take(&c->in, used);
        c->looked = 0;
    }
    stay(c);
    settle(c);
}

static void on_turn(struct watch *w, unsigned events)
{
    struct door *d = CONTAINER(w, struct door, turn);

    (void)events;
    list_for_each (it, &d->connections) {
        struct connection *c = CONTAINER(it, struct connection, node);

        if (!has_work(c))
            continue;
        list_remove(&c->node);
        list_append(&d->connections, &c->node);
        work(c);
        return;
    }
}

/* --- coming in -------------------------------------------------------------------------------- */

static void receive(struct connection *c)
{
    size_t cap;
    char *room = buf_room_some(&c->in, READ_MOST, &cap);
    ssize_t n;

    if (!room || cap == 0) {
        c->is_over = true;
        return;
    }
    n = read(c->fd, room, cap);
    if (n > 0)
        buf_added(&c->in, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        c->has_ended = true;
    if (buf_left(&c->in) == 0 && !has_line(c)) {
        refuse(c, "usage", "the request is too long");
        c->is_over = true;
    }
}

static void on_ready(struct watch *w, unsigned events)
{
    struct connection *c = CONTAINER(w, struct connection, watch);

    if (events & LOOP_READ)
        receive(c);
    settle(c);
}

/* Who may not come in has asked nothing, and is told at last. Who waits for directories, or
 * for a change of usher itself, is not silent: they are, and the patience with them is bounded
 * elsewhere. */
static void on_silence(struct deadline *deadline)
{
    struct connection *c = CONTAINER(deadline, struct connection, silence);

    if (c->is_calling && c->call.is_waiting) {
        stay(c);
    } else if (c->refusal && !c->is_over) {
        refuse(c, c->code, c->refusal);
        c->is_over = true;
        stay(c);
        settle(c);
    } else {
        drop(c);
    }
}

static struct connection *connection_new(struct door *d, int fd)
{
    struct connection *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->door = d;
    c->fd = fd;
    watch_init(&c->watch, fd, on_ready);
    deadline_init(&c->silence, on_silence);
    buf_init(&c->in, REQUEST_MAX, false);
    buf_init(&c->out, ANSWER_MAX, false);
    list_init(&c->node);
    return c;
}

static bool is_full(const struct connection *c)
{
    const struct door *d = c->door;

    return d->operators_n >= OPERATORS_MAX || (is_other(c) && d->others_n >= OTHERS_MAX) ||
           (!c->right.may_steer && d->seers_n >= SEERS_MAX);
}

/* Sets who it is, and whether it may come in. */
static void judge(struct connection *c)
{
    const struct door *d = c->door;
    struct local_peer peer;
    struct err err;

    c->code = "failed";
    if (local_peer(c->fd, &peer, &err) < 0) {
        c->refusal = "usher cannot see who you are";
        return;
    }
    c->right = rights_of(&d->rights, &peer);
    c->pid = peer.pid;
    c->uid = peer.uid;
    free(peer.groups);
    if (!c->right.may_see) {
        c->code = "denied";
        c->refusal = "you may not; the settings admin_see and admin_steer say who may";
    } else if (is_full(c)) {
        c->refusal = "too many operators are connected; try again";
    }
}

static void enter(struct door *d, int fd)
{
    struct connection *c = connection_new(d, fd);

    if (!c) {
        close(fd);
        return;
    }
    judge(c);
    list_append(&d->connections, &c->node);
    count(c, 1);
    stay(c);
    if (c->refusal && d->refused_n > REFUSED_MAX) {
        refuse(c, c->code, c->refusal);
        c->is_over = true;
    }
    settle(c);
}

static void on_again(struct deadline *deadline)
{
    struct door *d = CONTAINER(deadline, struct door, again);

    watch_set(d->child->loop, &d->listening, LOOP_READ);
}

static void on_knock(struct watch *w, unsigned events)
{
    struct door *d = CONTAINER(w, struct door, listening);
    struct addr nobody;

    (void)events;
    for (unsigned i = 0; i < ACCEPTS; i++) {
        int fd = listen_accept(d->fd, &nobody, NULL);

        if (fd >= 0) {
            enter(d, fd);
            continue;
        }
        if (errno != EAGAIN) {
            watch_set(d->child->loop, &d->listening, 0);
            deadline_set(d->child->loop, &d->again, AGAIN_MS);
        }
        return;
    }
}

/* --- the door --------------------------------------------------------------------------------- */

static void door_close(struct door **door)
{
    struct door *d = *door;

    if (!d)
        return;
    list_for_each_safe (it, &d->connections)
        drop(CONTAINER(it, struct connection, node));
    watch_set(d->child->loop, &d->listening, 0);
    watch_set(d->child->loop, &d->turn, 0);
    deadline_clear(&d->again);
    rights_done(&d->rights);
    close(d->turn_fds[0]);
    close(d->turn_fds[1]);
    close(d->fd);
    free(d);
    *door = NULL;
}

static int door_open(struct child *child, int fd, struct door **out_door, struct err *err)
{
    struct door *d = calloc(1, sizeof *d);

    if (!d || channel_pair(d->turn_fds, err) < 0) {
        if (!d)
            err_set(err, ENOMEM, "out of memory");
        free(d);
        close(fd);
        return -1;
    }
    d->child = child;
    d->fd = fd;
    list_init(&d->connections);
    watch_init(&d->listening, fd, on_knock);
    watch_init(&d->turn, d->turn_fds[0], on_turn);
    deadline_init(&d->again, on_again);
    if (rights_init(&d->rights, &child->conf->global, err) < 0) {
        door_close(&d);
        return -1;
    }
    /* Now, as it reads a file: of the hashes with which Jansson finds the names in an object. */
    json_object_seed(0);
    *out_door = d;
    return 0;
}

static void door_begin(struct door *door, struct operate *operate, void (*changed)(void *arg),
                       void *arg)
{
    door->operate = operate;
    door->changed = changed;
    door->changed_arg = arg;
    watch_set(door->child->loop, &door->listening, LOOP_READ);
}

/* What it waited for may have been told in this very turn of the loop. */
static bool is_whole(struct connection *c)
{
    if (c->is_calling && call_is_told(&c->call))
        step(c);
    return !c->is_calling && buf_len(&c->out) > 0;
}

static uint64_t clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Returns how many have something left that may still go, and what they wait for in `polls`. */
static nfds_t send_whole(struct door *d, struct pollfd polls[CONNECTIONS_MAX])
{
    nfds_t n = 0;

    list_for_each (it, &d->connections) {
        struct connection *c = CONTAINER(it, struct connection, node);

        if (n < CONNECTIONS_MAX && is_whole(c) && send_some(c) && buf_len(&c->out) > 0)
            polls[n++] = (struct pollfd){.fd = c->fd, .events = POLLOUT};
    }
    return n;
}

/* Without the loop: control is to decide nothing more. */
static void door_finish(struct door *d, unsigned limit_ms)
{
    struct pollfd polls[CONNECTIONS_MAX];
    const uint64_t until = clock_ms() + limit_ms;
    uint64_t now;
    nfds_t n;

    watch_set(d->child->loop, &d->listening, 0);
    deadline_clear(&d->again);
    while ((n = send_whole(d, polls)) > 0 && (now = clock_ms()) < until) {
        if (poll(polls, n, (int)(until - now)) < 0 && errno != EINTR)
            break;
    }
    list_for_each_safe (it, &d->connections)
        drop(CONTAINER(it, struct connection, node));
}

const struct control_door admin_door = {
    .open = door_open,
    .begin = door_begin,
    .finish = door_finish,
    .close = door_close,
};
