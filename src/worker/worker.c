/* The worker process: listening sockets, control's channel and its messages, start and stop. What
 * becomes of a connection is session.c's. */
#include "worker/worker.h"

#include "base/log.h"
#include "base/num.h"
#include "base/secret.h"
#include "worker/contexts.h"
#include "worker/probe.h"
#include "worker/session.h"
#include "worker/verifying.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    ACCEPTS_A_TURN = 32,
    ACCEPT_PAUSE_MS = 200,
    REJOIN_MS = 1000,
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

/* The channel to control. There is one at most: the next one takes the place of an old one whose
 * end was not noticed yet. */
struct to_control {
    struct channel channel;
    struct worker *worker;
};

/* --- accepting
 * ------------------------------------------------------------------------------------------------------
 */

static void watch_all(struct worker *w, unsigned events)
{
    list_for_each (it, &w->accepting)
        watch_set(w->loop, &CONTAINER(it, struct accepting, node)->watch, events);
}

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

    if (probe_give_way(w) > 0)
        return;
    gone = shed(w);
    log_full(w, listener, code, gone);
    if (gone > 0)
        return;
    watch_all(w, 0);
    deadline_set(w->loop, &w->accept_again, ACCEPT_PAUSE_MS);
}

static void on_accept_again(struct deadline *d)
{
    watch_all(CONTAINER(d, struct worker, accept_again), LOOP_READ);
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

static void on_acceptable(struct watch *watch, unsigned events)
{
    struct accepting *a = CONTAINER(watch, struct accepting, watch);

    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct addr peer, local;
        int code = EMFILE, fd = -1;

        if (worker_has_descriptors(a->worker, 1)) {
            fd = listen_accept(watch->io.fd, &peer, &local);
            code = errno;
        }
        if (fd < 0) {
            if (!is_passing(code) && listen_is_pending(watch->io.fd))
                make_room(a->worker, a->listener, code);
            return;
        }
        session_accept(a->worker, fd, &peer, &local, a->listener);
    }
}

static void take_listener(struct worker *w, const struct msg *m)
{
    const struct msg_listener *given = m->body;
    struct accepting *a = calloc(1, sizeof *a);

    INSIST(a != NULL && given->listener < w->child->conf->listeners_n);
    a->worker = w;
    a->listener = given->listener;
    watch_init(&a->watch, m->fd, on_acceptable);
    list_append(&w->accepting, &a->node);
}

static void close_listeners(struct worker *w)
{
    list_for_each_safe (it, &w->accepting) {
        struct accepting *a = CONTAINER(it, struct accepting, node);

        watch_set(w->loop, &a->watch, 0);
        close(a->watch.io.fd);
        list_remove(it);
        free(a);
    }
}

/* --- control
 * --------------------------------------------------------------------------------------------------------
 */

uint32_t worker_control(const struct worker *w)
{
    return w->control ? w->control_channel : 0;
}

void worker_tell(struct worker *w, enum msg_type type, uint32_t id, const void *body,
                 struct slice tail)
{
    if (w->control)
        channel_send(w->control, type, id, body, tail, -1);
}

void worker_forget(struct worker *w, struct list *session)
{
    if (w->replay_next == session)
        w->replay_next = session->next;
    list_remove(session);
    if (w->is_stopping && list_empty(&w->sessions))
        child_stopped(w->child);
}

/* Tells control of the sessions that it does not know, as many as the channel takes; on_drained
 * goes on. */
static void replay(struct worker *w)
{
    while (w->replay_next != &w->sessions) {
        struct session *s = CONTAINER(w->replay_next, struct session, all);

        if (channel_is_full(w->control))
            return;
        w->replay_next = w->replay_next->next;
        session_tell(s);
    }
    worker_tell(w, MSG_REPLAYED, 0, NULL, slice_of(NULL, 0));
}

static bool is_id(const struct map_node *node, const void *key)
{
    return CONTAINER(node, struct session, by_id)->id == *(const uint32_t *)key;
}

struct session *worker_find(const struct worker *w, uint32_t id)
{
    struct map_node *node = map_find(&w->by_id, num_mix(id), is_id, &id);

    return node ? CONTAINER(node, struct session, by_id) : NULL;
}

static void on_control_message(struct channel *ch, const struct msg *m)
{
    struct worker *w = CONTAINER(ch, struct to_control, channel)->worker;
    struct session *s = worker_find(w, m->id);

    if (m->type == MSG_PROBE) {
        probe_begin(w, m->id, m->body);
        return;
    }
    /* A session that has ended meanwhile, or one that this control cannot know of. */
    if (!s || !session_is_told(s))
        return;
    if (m->type == MSG_GO)
        session_on_go(s);
    else if (m->type == MSG_LEASE)
        session_on_lease(s, m->body, m->tail);
    else if (m->type == MSG_DONE)
        session_on_done(s);
    else if (m->type == MSG_REFUSE)
        session_on_refuse(s, m->body, m->tail);
    else if (m->type == MSG_KICK)
        session_on_kick(s, (enum kick)((const struct msg_kick *)m->body)->why);
}

static void on_control_closed(struct channel *ch, const char *why)
{
    struct to_control *tc = CONTAINER(ch, struct to_control, channel);

    (void)why;
    INSIST(tc->worker->control == ch);
    probe_end_all(tc->worker);
    tc->worker->control = NULL;
    deadline_set(tc->worker->loop, &tc->worker->rejoin, REJOIN_MS);
    free(tc);
}

static void on_control_drained(struct channel *ch)
{
    replay(CONTAINER(ch, struct to_control, channel)->worker);
}

/* A newer channel comes while the old one's end has not been noticed: only the newest counts. */
static void drop_control(struct worker *w)
{
    deadline_clear(&w->rejoin);
    if (!w->control)
        return;
    probe_end_all(w);
    channel_close(w->control);
    free(CONTAINER(w->control, struct to_control, channel));
    w->control = NULL;
}

void worker_rejoin(struct worker *w, enum role role)
{
    const struct msg_rejoin m = {.role = (uint16_t)role};

    channel_send(&w->child->parent, MSG_REJOIN, 0, &m, slice_of(NULL, 0), -1);
}

/* When control dies the parent joins us with the next one by itself. If nothing comes, the channel
 * alone has broken. */
static void on_rejoin(struct deadline *d)
{
    struct worker *w = CONTAINER(d, struct worker, rejoin);

    log_detail(LOG_DEBUG, "no control; asking the parent to join us with it");
    worker_rejoin(w, ROLE_CONTROL);
    deadline_set(w->loop, &w->rejoin, REJOIN_MS);
}

static void take_control(struct worker *w, const struct msg *m)
{
    static const struct channel_events events = {
        .on_message = on_control_message,
        .on_closed = on_control_closed,
        .on_drained = on_control_drained,
    };
    struct to_control *tc = calloc(1, sizeof *tc);

    INSIST(tc != NULL);
    tc->worker = w;
    drop_control(w);
    w->control = &tc->channel;
    if (++w->control_channel == 0)
        w->control_channel = 1;
    w->replay_next = w->sessions.next;
    channel_open(&tc->channel, &w->child->channels, m->fd, &w->child->self, &events);
    replay(w);
}

/* --- pumping again
 * --------------------------------------------------------------------------------------------------
 */

void worker_pump_again(struct worker *w, uint32_t id)
{
    if (w->again_n == w->again_cap) {
        size_t cap = w->again_cap ? 2 * w->again_cap : 64;
        uint32_t *more = realloc(w->again_ids, cap * sizeof *more);

        INSIST(more != NULL);
        w->again_ids = more;
        w->again_cap = cap;
    }
    w->again_ids[w->again_n++] = id;
    if (w->again_n == 1)
        INSIST(eventfd_write(w->again.io.fd, 1) == 0);
}

static void on_again(struct watch *watch, unsigned events)
{
    struct worker *w = CONTAINER(watch, struct worker, again);
    uint32_t *ids = w->again_ids;
    size_t n = w->again_n;
    eventfd_t ignored;

    (void)events;
    (void)eventfd_read(watch->io.fd, &ignored);
    w->again_ids = NULL;
    w->again_n = w->again_cap = 0;
    for (size_t i = 0; i < n; i++) {
        struct session *s = worker_find(w, ids[i]);

        if (!s)
            continue;
        s->is_pumped_again = false;
        if (s->state == SESSION_RELAY)
            session_pump(s, true, true);
    }
    free(ids);
}

/* --- start and stop
 * -------------------------------------------------------------------------------------------------
 */

static void make_login_params(struct worker *w)
{
    const struct conf_global *g = &w->conf->global;

    w->login_params = calloc(w->conf->listeners_n + 1, sizeof *w->login_params);
    INSIST(w->login_params != NULL);
    for (size_t i = 0; i < w->conf->listeners_n; i++) {
        const struct conf_listener *l = &w->conf->listeners[i];

        w->login_params[i] = (struct login_params){
            .can_starttls = l->tls == LISTENER_TLS_STARTTLS,
            .allows_cleartext = l->auth_allow_cleartext,
            .max_line = g->max_line,
            .max_literal = g->max_literal,
            .max_pipeline = g->login_pipeline,
            .max_tries = g->login_tries,
            .max_bytes = g->max_login_bytes,
            .max_bad = g->max_login_commands,
        };
    }
}

static void check_descriptors(struct worker *w)
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

static int on_start(struct child *c, struct err *err)
{
    struct worker *w = c->state;
    int again = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (again < 0)
        return err_sys(err, errno, "cannot make an eventfd");
    watch_init(&w->again, again, on_again);
    w->conf = c->conf;
    w->counters = c->counters;
    w->login_memory_max = c->conf->global.max_login_memory / conf_workers(c->conf);
    make_login_params(w);
    if (contexts_make(w, err) < 0)
        return -1;
    watch_set(w->loop, &w->again, LOOP_READ);
    check_descriptors(w);
    return 0;
}

static int on_begin(struct child *c, struct err *err)
{
    (void)err;
    watch_all(c->state, LOOP_READ);
    return 0;
}

static void on_init(struct child *c)
{
    struct worker *w = c->state;
    struct err err;

    /* While the rights of root, if we have them, allow it. */
    if (secret_begin(&err) < 0)
        log_detail(LOG_SECRETS_UNLOCKED, "%s", err.text);
    w->child = c;
    w->loop = c->loop;
    list_init(&w->sessions);
    list_init(&w->accepting);
    list_init(&w->probes);
    map_init(&w->by_id);
    contexts_init(w);
    deadline_init(&w->accept_again, on_accept_again);
    deadline_init(&w->rejoin, on_rejoin);
    deadline_init(&w->lighten, on_lighten);
    verifying_init(w);
    w->replay_next = &w->sessions;
}

static void take_peer(struct worker *w, const struct msg *m)
{
    if (((const struct msg_peer *)m->body)->role == ROLE_LOOKUP)
        verifying_take_lookup(w, m->fd);
    else
        take_control(w, m);
}

static void on_message(struct child *c, const struct msg *m)
{
    if (m->type == MSG_LISTENER)
        take_listener(c->state, m);
    else if (m->type == MSG_PEER)
        take_peer(c->state, m);
    else if (m->type == MSG_TICKETS)
        contexts_take_tickets(c->state, m->body);
    else if (m->type == MSG_RENEW)
        contexts_renew(c->state);
    else if (m->fd >= 0)
        close(m->fd);
}

static void on_stop(struct child *c)
{
    struct worker *w = c->state;

    w->is_stopping = true;
    deadline_clear(&w->accept_again);
    close_listeners(w);
    probe_end_all(w);
    if (list_empty(&w->sessions)) {
        child_stopped(c);
        return;
    }
    list_for_each_safe (it, &w->sessions)
        session_stop(CONTAINER(it, struct session, all));
}

static void on_done(struct child *c)
{
    struct worker *w = c->state;

    deadline_clear(&w->lighten);
    contexts_free(w);
    free(w->login_params);
    free(w->again_ids);
    map_done(&w->by_id);
    drop_control(w);
    verifying_done(w);
    secret_end();
}

const struct child_role worker_role = {
    .role = ROLE_WORKER,
    .state_size = sizeof(struct worker),
    .on_init = on_init,
    .on_message = on_message,
    .on_start = on_start,
    .on_begin = on_begin,
    .on_stop = on_stop,
    .on_done = on_done,
};
