/* Accepting, and making room; see worker/accept.h. What becomes of a connection is session.c's. */
#include "worker/accept.h"

#include "base/log.h"
#include "worker/probe.h"
#include "worker/retire.h"
#include "worker/session.h"
#include "worker/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    ACCEPTS_A_TURN = 32,
    REST_A_TURN = 256,
    ACCEPT_PAUSE_MS = 200,
    SHED_AT_ONCE = 8,
    FULL_LOG_MS = 1000,
    DESCRIPTORS_BESIDE = 64 /* listening sockets, channels, libraries */
};

struct accepting {
    struct list node;
    struct worker *worker;
    struct watch watch;
    unsigned listener;
};

static void watch_all(struct worker *w, unsigned events)
{
    list_for_each (it, &w->accepting)
        watch_set(w->loop, &CONTAINER(it, struct accepting, node)->watch, events);
}

/* --- room ----------------------------------------------------------------------------------------
 */

/* Ends sessions that nobody has logged in to, the oldest first, to get their descriptors back at
 * once. Returns how many. */
static unsigned shed(struct worker *w)
{
    unsigned n = 0;

    list_for_each_safe (it, &w->sessions) {
        struct session *s = CONTAINER(it, struct session, all);

        if (s->state == SESSION_RELAY)
            continue;
        session_shed(s, CLOSE_LIMIT,
                     "descriptors are out, and this session had waited longest without a login");
        if (++n == SHED_AT_ONCE)
            break;
    }
    return n;
}

void worker_weigh(struct worker *w, int64_t delta)
{
    w->login_memory += (uint64_t)delta;
    /* Not from here: whoever asks stands in the middle of a session, maybe of the one to go. */
    if (w->login_memory > w->login_memory_max && !deadline_is_set(&w->lighten))
        deadline_set(w->loop, &w->lighten, 0);
}

/* Down to some way below the limit, so that the next connection does not come here again. */
static void on_lighten(struct deadline *d)
{
    struct worker *w = CONTAINER(d, struct worker, lighten);
    uint64_t enough = w->login_memory_max - w->login_memory_max / 8;

    list_for_each_safe (it, &w->sessions) {
        struct session *s = CONTAINER(it, struct session, all);

        if (w->login_memory <= enough)
            break;
        if (s->state != SESSION_RELAY)
            session_shed(s, CLOSE_MAX_MEMORY, NULL);
    }
}

static void log_full(struct worker *w, unsigned listener, int code, unsigned gone)
{
    uint64_t now = loop_now_ms(w->loop);
    struct rlimit limit = {0};
    char detail[256];
    struct log_line l;

    /* One line a second tells as much as thousands. */
    if (w->told_full_ms && now - w->told_full_ms < FULL_LOG_MS)
        return;
    w->told_full_ms = now;
    getrlimit(RLIMIT_NOFILE, &limit);
    snprintf(detail, sizeof detail, "%s; %s", strerror(code),
             code == EMFILE
                 ? "raise LimitNOFILE or ulimit -n, lower max_sessions, or have more workers"
             : code == ENFILE ? "the whole machine is out of files: raise the sysctl fs.file-max"
                              : "the kernel has no memory for another connection");
    log_begin(&l, LOG_ACCEPT_FAILED);
    log_str(&l, "listener", w->conf->listeners[listener].title);
    log_uint(&l, "limit", limit.rlim_cur);
    log_uint(&l, "shed", gone);
    log_str(&l, "detail", detail);
    log_end(&l);
}

/* Out of descriptors or memory. Probes go first: they come again. Then who waits longest without
 * logging in goes; if there is nobody, the connections wait in the kernel's queue for a moment. */
static void make_room(struct worker *w, unsigned listener, int code)
{
    unsigned gone;

    if (probe_give_up(w, "given up, as clients need its descriptor") > 0)
        return;
    gone = shed(w);
    log_full(w, listener, code, gone);
    if (gone > 0)
        return;
    watch_all(w, 0);
    deadline_set(w->loop, &w->accept_again, ACCEPT_PAUSE_MS);
}

static bool is_passing(int code)
{
    /* The connection is gone already, or somebody else has it; accept(2) lists the network's
     * errors. */
    return code == EAGAIN || code == EINTR || code == ECONNABORTED || code == ENETDOWN ||
           code == EPROTO || code == ENOPROTOOPT || code == EHOSTDOWN || code == ENONET ||
           code == EHOSTUNREACH || code == EOPNOTSUPP || code == ENETUNREACH;
}

/* A session may need a second descriptor, and the parent may send us one at any time (a new
 * control's channel): to have none then costs all sessions, to leave a connection in the queue
 * costs a moment. */
bool worker_has_descriptors(const struct worker *w, unsigned more)
{
    return 2 * (uint64_t)w->by_id.used + w->probe_descriptors + DESCRIPTORS_BESIDE + more <=
           w->descriptors;
}

/* --- accepting ----------------------------------------------------------------------------------
 */

/* False: nobody waits in the queue any more. Only while the worker retires is that looked at
 * closely, since it costs a system call. */
static bool accept_some(struct accepting *a, unsigned most)
{
    struct worker *w = a->worker;

    for (unsigned i = 0; i < most; i++) {
        struct addr peer, local;
        int code = EMFILE, fd = -1;

        if (worker_has_descriptors(w, 1)) {
            fd = listen_accept(a->watch.io.fd, &peer, &local);
            code = errno;
        }
        if (fd < 0) {
            bool is_pending =
                (w->is_retired || !is_passing(code)) && listen_is_pending(a->watch.io.fd);

            if (is_pending && !is_passing(code))
                make_room(w, a->listener, code);
            return is_pending;
        }
        w->accepted_rest += w->is_retired;
        session_accept(w, fd, &peer, &local, a->listener);
    }
    return true;
}

static void on_acceptable(struct watch *watch, unsigned events)
{
    struct accepting *a = CONTAINER(watch, struct accepting, watch);

    (void)events;
    (void)accept_some(a, ACCEPTS_A_TURN);
}

static void on_accept_again(struct deadline *d)
{
    struct worker *w = CONTAINER(d, struct worker, accept_again);

    if (w->is_retired)
        retire_go_on(w);
    else
        watch_all(w, LOOP_READ);
}

/* --- beginning and end --------------------------------------------------------------------------
 */

void accept_init(struct worker *w)
{
    list_init(&w->accepting);
    deadline_init(&w->accept_again, on_accept_again);
    deadline_init(&w->lighten, on_lighten);
}

void accept_start(struct worker *w)
{
    uint64_t needed =
        2ULL * w->conf->global.max_sessions / conf_workers(w->conf) + DESCRIPTORS_BESIDE;
    struct rlimit limit;
    struct log_line l;

    w->descriptors = getrlimit(RLIMIT_NOFILE, &limit) < 0 ? UINT64_MAX : limit.rlim_cur;
    if (w->child->self.slot != 0 || w->descriptors >= needed)
        return;
    log_begin(&l, LOG_DESCRIPTORS_FEW);
    log_uint(&l, "limit", w->descriptors);
    log_uint(&l, "needed", needed);
    log_str(&l, "detail",
            "raise LimitNOFILE or ulimit -n, lower max_sessions, or have more workers");
    log_end(&l);
}

void accept_take(struct worker *w, int fd, unsigned listener)
{
    struct accepting *a = calloc(1, sizeof *a);

    INSIST(a != NULL && listener < w->child->conf->listeners_n);
    a->worker = w;
    a->listener = listener;
    watch_init(&a->watch, fd, on_acceptable);
    list_append(&w->accepting, &a->node);
}

void accept_begin(struct worker *w)
{
    watch_all(w, LOOP_READ);
}

static void close_one(struct accepting *a)
{
    watch_set(a->worker->loop, &a->watch, 0);
    close(a->watch.io.fd);
    list_remove(&a->node);
    free(a);
}

/* What is left, by a deadline: no event tells that a queue is empty, or that another process, which
 * has the same socket, has taken who waited there. */
void accept_retire(struct worker *w)
{
    watch_all(w, 0);
}

bool accept_rest(struct worker *w)
{
    list_for_each_safe (it, &w->accepting) {
        struct accepting *a = CONTAINER(it, struct accepting, node);

        if (w->accepted_rest >= ACCEPT_REST_MAX || !accept_some(a, REST_A_TURN))
            close_one(a);
    }
    if (list_empty(&w->accepting))
        return true;
    deadline_set(w->loop, &w->accept_again, 0);
    return false;
}

void accept_end(struct worker *w)
{
    deadline_clear(&w->accept_again);
    list_for_each_safe (it, &w->accepting)
        close_one(CONTAINER(it, struct accepting, node));
}
