/* The lookup process: control's questions come in, the resolver's answers go out. */
#include "lookup/lookup.h"

#include "base/log.h"
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
};

struct to_control {
    struct channel channel;
    struct lookup *lookup;
};

/* A question under way. Its answer goes to whichever control is there then: only if it is the one
 * that asked. */
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

static void on_question(struct channel *ch, const struct msg *m)
{
    struct lookup *lk = CONTAINER(ch, struct to_control, channel)->lookup;
    const struct msg_resolve *ask = m->body;
    struct question *q;
    char *name;

    if (m->fd >= 0)
        close(m->fd);
    if (m->type != MSG_RESOLVE)
        return;
    q = calloc(1, sizeof *q);
    name = slice_dup(m->tail);
    INSIST(q != NULL && name != NULL);
    q->asker = ch;
    q->id = m->id;
    list_append(&lk->questions, &q->node);
    resolver_resolve(lk->resolver, name, ask->port, on_resolved, q);
    free(name);
}

static void forget_control(struct lookup *lk)
{
    list_for_each (it, &lk->questions)
        CONTAINER(it, struct question, node)->asker = NULL;
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

    log_detail(LOG_DEBUG, "no control; asking the parent to join us with it");
    channel_send(&lk->child->parent, MSG_REJOIN, 0, NULL, slice_of(NULL, 0), -1);
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
}

static void on_message(struct child *c, const struct msg *m)
{
    if (m->type == MSG_PEER)
        take_control(c->state, m->fd);
    else if (m->fd >= 0)
        close(m->fd);
}

static int on_start(struct child *c, struct err *err)
{
    struct lookup *lk = c->state;

    lk->resolver = resolver_new(c->loop, c->conf->global.nameservers.items,
                                c->conf->global.nameservers.n, err);
    return lk->resolver ? 0 : -1;
}

static void on_stop(struct child *c)
{
    child_stopped(c);
}

static void on_done(struct child *c)
{
    struct lookup *lk = c->state;

    resolver_free(&lk->resolver);
    drop_control(lk);
    list_for_each_safe (it, &lk->questions)
        free(CONTAINER(it, struct question, node));
}

const struct child_role lookup_role = {
    .role = ROLE_LOOKUP,
    .state_size = sizeof(struct lookup),
    .on_init = on_init,
    .on_message = on_message,
    .on_start = on_start,
    .on_stop = on_stop,
    .on_done = on_done,
};
