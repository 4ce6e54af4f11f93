/* The worker process: control's channel and its messages, start and stop. Connections are
 * accept.c's, what becomes of them session.c's, the end of a generation retire.c's. */
#include "worker/worker.h"

#include "base/log.h"
#include "base/num.h"
#include "base/secret.h"
#include "worker/accept.h"
#include "worker/contexts.h"
#include "worker/names.h"
#include "worker/probe.h"
#include "worker/retire.h"
#include "worker/session.h"
#include "worker/verifying.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { REJOIN_MS = 1000 };

/* The channel to control. There is one at most: the next one takes the place of an old one whose
 * end was not noticed yet. */
struct to_control {
    struct channel channel;
    struct worker *worker;
};

/* --- control
 * --------------------------------------------------------------------------------------------------------
 */

uint32_t worker_control(const struct worker *w)
{
    return w->control && names_are_told(w) ? w->control_channel : 0;
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
    worker_end_if_idle(w);
}

void worker_end_if_idle(struct worker *w)
{
    bool is_ending = w->is_stopping || (w->is_retired && list_empty(&w->accepting));

    if (is_ending && list_empty(&w->sessions))
        child_stopped(w->child);
}

/* Tells control what our indices mean, and then of the sessions that it does not know, as much as
 * the channel takes; on_drained goes on. Sessions that begin while it is told names have their turn
 * behind them. */
static void replay(struct worker *w)
{
    if (!names_are_told(w)) {
        if (!names_tell(w))
            return;
        w->replay_next = w->sessions.next;
    }
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
    w->replay_next = &w->sessions;
    names_begin(w);
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
    if (names_make(w, err) < 0)
        return -1;
    if (contexts_make(w, err) < 0)
        return -1;
    watch_set(w->loop, &w->again, LOOP_READ);
    accept_start(w);
    return 0;
}

static int on_begin(struct child *c, struct err *err)
{
    (void)err;
    accept_begin(c->state);
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
    list_init(&w->probes);
    map_init(&w->by_id);
    accept_init(w);
    retire_init(w);
    contexts_init(w);
    deadline_init(&w->rejoin, on_rejoin);
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

/* Behind the end of accepting it is nobody's. */
static void take_listener(struct worker *w, const struct msg *m)
{
    if (w->is_stopping || w->is_retired)
        close(m->fd);
    else
        accept_take(w, m->fd, ((const struct msg_listener *)m->body)->listener);
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
    else if (m->type == MSG_RETIRE)
        retire_begin(c->state, m->body);
    else if (m->fd >= 0)
        close(m->fd);
}

static void on_stop(struct child *c)
{
    struct worker *w = c->state;

    w->is_stopping = true;
    accept_end(w);
    retire_end(w);
    probe_end_all(w);
    worker_end_if_idle(w);
    list_for_each_safe (it, &w->sessions)
        session_stop(CONTAINER(it, struct session, all));
}

static void on_done(struct child *c)
{
    struct worker *w = c->state;

    deadline_clear(&w->lighten);
    accept_end(w);
    retire_end(w);
    contexts_free(w);
    names_free(w);
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
