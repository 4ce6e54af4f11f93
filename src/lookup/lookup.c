/* The lookup process: control's questions come in; what the resolver and directories answer goes
 * out. */
#include "lookup/lookup.h"

#include "base/log.h"
#include "lookup/facts.h"
#include "lookup/logins.h"
#include "lookup/resolver.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REJOIN_MS = 1000 };

struct lookup {
    struct child *child;
    struct deadline rejoin; /* while there is no control */
    struct resolver *resolver;
    struct channel *control; /* the newest; NULL: none now */
    struct list questions;
    struct lookup_facts facts;
    struct logins logins;
};

struct to_control {
    struct channel channel;
    struct lookup *lookup;
};

/* A name that is resolved. Its answer goes to whichever control is there then: only if it is the
 * one that asked. */
struct question {
    struct list node;
    struct channel *asker; /* NULL: gone */
    uint32_t id;
};

static void answer(struct question *q, const struct addr *addresses, size_t n, uint32_t ttl_s,
                   struct slice why)
{
    struct msg_resolved m = {.ttl_s = ttl_s, .addresses_n = (uint32_t)n};

    INSIST(n <= IPC_ADDRESSES_MAX);
    if (n)
        memcpy(m.addresses, addresses, n * sizeof *addresses);
    if (q->asker)
        channel_send(q->asker, MSG_RESOLVED, q->id, &m, slice_sub(why, 0, IPC_TEXT_MAX), -1);
    list_remove(&q->node);
    free(q);
}

static void on_resolved(void *arg, const struct addr *addresses, size_t n, uint32_t ttl_s,
                        const struct err *err)
{
    answer(arg, addresses, n, ttl_s, n ? slice_of(NULL, 0) : slice_str(err->text));
}

static void resolve(struct lookup *lk, struct channel *ch, const struct msg *m)
{
    const struct msg_resolve *ask = m->body;
    struct question *q = calloc(1, sizeof *q);
    char *name = slice_dup(m->tail);

    INSIST(q != NULL && name != NULL);
    q->asker = ch;
    q->id = m->id;
    list_append(&lk->questions, &q->node);
    resolver_resolve(lk->resolver, name, ask->port, on_resolved, q);
    free(name);
}

static void on_question(struct channel *ch, const struct msg *m)
{
    struct lookup *lk = CONTAINER(ch, struct to_control, channel)->lookup;

    if (m->fd >= 0)
        close(m->fd);
    if (m->type == MSG_RESOLVE)
        resolve(lk, ch, m);
    else if (m->type == MSG_ASK_FACTS)
        lookup_facts_ask(&lk->facts, ch, m);
    else if (m->type == MSG_FLUSH_FACTS)
        lookup_facts_flush(&lk->facts, ch, m);
}

static void forget_control(struct lookup *lk)
{
    list_for_each (it, &lk->questions)
        CONTAINER(it, struct question, node)->asker = NULL;
    lookup_facts_forget(&lk->facts, lk->control);
    free(CONTAINER(lk->control, struct to_control, channel));
    lk->control = NULL;
}

static void on_control_closed(struct channel *ch, const char *why)
{
    struct lookup *lk = CONTAINER(ch, struct to_control, channel)->lookup;

    (void)why;
    forget_control(lk);
    deadline_set(lk->child->loop, &lk->rejoin, REJOIN_MS);
}

/* When control dies the parent joins us with the next one by itself. If nothing comes, the channel
 * alone has broken. */
static void on_rejoin(struct deadline *d)
{
    struct lookup *lk = CONTAINER(d, struct lookup, rejoin);
    const struct msg_rejoin m = {.role = ROLE_CONTROL};

    log_detail(LOG_DEBUG, "no control; asking the parent to join us with it");
    channel_send(&lk->child->parent, MSG_REJOIN, 0, &m, slice_of(NULL, 0), -1);
    deadline_set(lk->child->loop, &lk->rejoin, REJOIN_MS);
}

/* A newer channel may come before the old one's end was noticed: only the newest counts. */
static void drop_control(struct lookup *lk)
{
    deadline_clear(&lk->rejoin);
    if (!lk->control)
        return;
    channel_close(lk->control);
    forget_control(lk);
}

static void take_control(struct lookup *lk, int fd)
{
    static const struct channel_events events = {.on_message = on_question,
                                                 .on_closed = on_control_closed};
    struct to_control *tc = calloc(1, sizeof *tc);

    INSIST(tc != NULL);
    tc->lookup = lk;
    drop_control(lk);
    lk->control = &tc->channel;
    channel_open(&tc->channel, &lk->child->channels, fd, &lk->child->self, &events);
}

static void on_init(struct child *c)
{
    struct lookup *lk = c->state;

    lk->child = c;
    list_init(&lk->questions);
    deadline_init(&lk->rejoin, on_rejoin);
    logins_init(&lk->logins, c);
}

static void on_message(struct child *c, const struct msg *m)
{
    struct lookup *lk = c->state;

    if (m->type == MSG_PEER && ((const struct msg_peer *)m->body)->role == ROLE_WORKER)
        logins_take_worker(&lk->logins, m->body, m->fd);
    else if (m->type == MSG_PEER)
        take_control(lk, m->fd);
    else if (m->fd >= 0)
        close(m->fd);
}

static int on_start(struct child *c, struct err *err)
{
    struct lookup *lk = c->state;

    lk->resolver = resolver_new(c->loop, c->conf->global.nameservers.items,
                                c->conf->global.nameservers.n, err);
    if (!lk->resolver)
        return -1;
    if (lookup_facts_start(&lk->facts, c->conf, c->loop, c->counters, err) < 0)
        return -1;
    return logins_start(&lk->logins, lk->facts.directories, err);
}

static int on_closing(struct child *c, struct err *err)
{
    struct lookup *lk = c->state;

    return logins_begin(&lk->logins, err);
}

static void on_stop(struct child *c)
{
    child_stopped(c);
}

static void on_done(struct child *c)
{
    struct lookup *lk = c->state;

    resolver_free(&lk->resolver);
    lookup_facts_stop(&lk->facts);
    drop_control(lk);
    list_for_each_safe (it, &lk->questions)
        free(CONTAINER(it, struct question, node));
    logins_stop(&lk->logins);
}

const struct child_role lookup_role = {
    .role = ROLE_LOOKUP,
    .state_size = sizeof(struct lookup),
    .on_init = on_init,
    .on_message = on_message,
    .on_start = on_start,
    .on_closing = on_closing,
    .on_stop = on_stop,
    .on_done = on_done,
};
