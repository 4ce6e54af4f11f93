/* The state machine of control/moves.h. Where a user belongs, and how that is written, is
 * operate_steer.c's. */
#include "control/moves.h"

#include "base/num.h"
#include "control/route.h"

#include <errno.h>
#include <stdlib.h>

enum {
    USER_CREDIT = 1000, /* what a turn costs */
    STEP_MS = 20,       /* turns are given together rather than nearer to each other */
    TURNS_MAX = 100,    /* together; others want to be served between them */
    BURST_MS = 100      /* so much of the time that was missed is made up for */
};

static struct registry *registry(const struct moves *m)
{
    return admission_registry(m->admission);
}

/* --- by user ------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct user *u)
{
    return num_mix((uintptr_t)u);
}

static bool is_of(const struct map_node *node, const void *key)
{
    return CONTAINER(node, const struct move, by_user)->user == key;
}

static struct move *find(const struct moves *m, const struct user *u)
{
    struct map_node *node = u->is_moving ? map_find(&m->by_user, hash_of(u), is_of, u) : NULL;

    return node ? CONTAINER(node, struct move, by_user) : NULL;
}

const struct move *moves_find(const struct moves *m, const struct user *u)
{
    return find(m, u);
}

bool moves_is_there(const struct user *u, uint32_t backend)
{
    list_for_each (it, &u->sessions) {
        if (CONTAINER(it, const struct session, of_user)->backend == backend)
            return true;
    }
    return false;
}

static bool has_sessions_elsewhere(const struct user *u, uint32_t backend)
{
    list_for_each (it, &u->sessions) {
        if (CONTAINER(it, const struct session, of_user)->backend != backend)
            return true;
    }
    return false;
}

/* Shared storage would have to take the user's one pin, which is about another pool. */
static bool is_pinned_to_another_pool(const struct moves *m, const struct user *u)
{
    const struct order *order = registry_order(registry(m), user_name(u));

    return order && order->pin != BACKEND_NONE &&
           route_is_shared(admission_route(m->admission), u->pool);
}

bool moves_concern(const struct moves *m, const struct user *u, uint32_t from)
{
    uint32_t pin = route_pin(admission_route(m->admission), u->pool, user_name(u));

    if (pin != BACKEND_NONE)
        return pin == from;
    if (is_pinned_to_another_pool(m, u))
        return false;
    return u->placed == from || moves_is_there(u, from);
}

/* --- beginning and end --------------------------------------------------------------------- */

static void on_left(void *arg, struct user *u)
{
    struct moves *m = arg;
    struct move *move = find(m, u);

    INSIST(move);
    /* The worker may live, and its sessions with it. */
    if (registry(m)->losing_ms)
        move->retry_ms = registry(m)->losing_ms + MOVES_LOST_MS;
    if (has_sessions_elsewhere(u, move->to))
        return;
    list_remove(&move->node);
    list_append(&m->ready, &move->node);
}

static bool may_stay(void *arg, const struct user *u, uint32_t backend)
{
    const struct move *move = find(arg, u);

    return move && move->to == backend;
}

void moves_init(struct moves *m, struct admission *admission, const struct moves_effects *effects,
                void *arg)
{
    struct admission_counts counts;

    admission_count(admission, &counts);
    *m = (struct moves){
        .admission = admission, .effects = effects, .arg = arg, .since_epoch = counts.epoch};
    list_init(&m->under_way);
    list_init(&m->ready);
    list_init(&m->batches);
    map_init(&m->by_user);
    registry(m)->on_left = on_left;
    registry(m)->may_stay = may_stay;
    registry(m)->left_arg = m;
}

/* Takes it out of everything. Logins of its user still wait. */
static void forget(struct moves *m, struct move *move)
{
    list_remove(&move->node);
    map_remove(&m->by_user, &move->by_user);
    INSIST(m->n > 0);
    m->n--;
}

static void end(struct moves *m, struct move *move, uint64_t now_ms)
{
    struct user *u = move->user;

    forget(m, move);
    free(move);
    admission_move_end(m->admission, u, now_ms);
    registry_let_go(registry(m), u);
}

/* 0: it is over. */
static int settle(struct moves *m, struct move *move, uint64_t now_ms, struct err *err)
{
    m->is_failing = m->effects->settle(m->arg, move, now_ms, err) < 0;
    if (m->is_failing)
        return -1;
    m->effects->moved(m->arg, move, now_ms);
    end(m, move, now_ms);
    return 0;
}

/* Nobody is waiting for an answer: it is told in the log, and counted. */
void moves_give_up(struct moves *m, const struct user *u, const struct err *why)
{
    m->given_up++;
    m->effects->failed(m->arg, u, why);
}

static struct move *add(struct moves *m, struct user *u, uint32_t from, uint32_t to,
                        uint64_t now_ms)
{
    struct move *move = malloc(sizeof *move);

    if (!move)
        return NULL;
    *move = (struct move){.user = u, .from = from, .to = to, .since_ms = now_ms};
    if (map_insert(&m->by_user, &move->by_user, hash_of(u)) < 0) {
        free(move);
        return NULL;
    }
    list_append(&m->under_way, &move->node);
    m->n++;
    registry_keep(u);
    return move;
}

static void kick_elsewhere(const struct moves *m, const struct move *move)
{
    list_for_each (it, &move->user->sessions) {
        struct session *s = CONTAINER(it, struct session, of_user);

        if (s->backend != move->to)
            admission_kick(m->admission, s, KICK_MOVED);
    }
}

/* It could not be settled, and is tried again. */
static void postpone(struct moves *m, struct move *move, uint64_t now_ms)
{
    move->tries++;
    move->retry_ms = now_ms + MOVES_RETRY_MS;
    list_remove(&move->node);
    list_append(&m->ready, &move->node);
}

/* Of a batch, or by itself (NULL). Of a batch, what cannot be settled at once is tried again. */
static int begin_one(struct moves *m, struct user *u, const struct batch *batch, uint32_t from,
                     uint32_t to, uint64_t now_ms, struct err *err)
{
    struct move *move;

    move = add(m, u, from, to, now_ms);
    if (!move)
        return err_set(err, ENOMEM, "no memory for a move");
    move->is_return = batch && batch->is_return;
    admission_move_begin(m->admission, u, now_ms);
    if (!has_sessions_elsewhere(u, to)) {
        if (settle(m, move, now_ms, err) == 0)
            return 0;
        if (batch) {
            postpone(m, move, now_ms);
            return 0;
        }
        end(m, move, now_ms);
        return -1;
    }
    m->effects->begun(m->arg, move);
    kick_elsewhere(m, move);
    return 0;
}

static int begin(struct moves *m, struct user *u, const struct batch *batch, uint32_t from,
                 uint32_t to, uint64_t now_ms, struct err *err)
{
    if (m->n >= MOVES_MAX)
        return err_set(err, 0, "%d users are being moved, no more at one time", MOVES_MAX);
    return begin_one(m, u, batch, from, to, now_ms, err);
}

int moves_begin(struct moves *m, struct user *u, uint32_t from, uint32_t to, uint64_t now_ms,
                struct err *err)
{
    return begin(m, u, NULL, from, to, now_ms, err);
}

int moves_strand(struct moves *m, struct user *u, uint32_t to, uint64_t now_ms, struct err *err)
{
    static const struct batch alone = {.is_return = true};
    const struct session *first = user_first(u);

    INSIST(first && first->backend != to);
    return begin_one(m, u, &alone, first->backend, to, now_ms, err);
}

int moves_resume(struct moves *m, const struct move *as, struct err *err)
{
    struct move *move;

    if (as->user->is_moving)
        return err_set(err, 0, "the user is being moved already");
    move = add(m, as->user, as->from, as->to, as->since_ms);
    if (!move)
        return err_set(err, ENOMEM, "no memory for a move");
    move->retry_ms = as->retry_ms;
    move->tries = as->tries;
    move->is_return = as->is_return;
    admission_move_resume(m->admission, move->user);
    list_remove(&move->node);
    list_append(&m->ready, &move->node);
    return 0;
}

/* --- batches ------------------------------------------------------------------------------- */

static void end_batch(struct moves *m, struct batch *b)
{
    while (b->at < b->n)
        registry_let_go(registry(m), b->users[b->at++]);
    list_remove(&b->node);
    INSIST(m->batches_n > 0);
    m->batches_n--;
    free((void *)b->users);
    free(b);
}

void moves_done(struct moves *m)
{
    list_for_each_safe (it, &m->batches)
        end_batch(m, CONTAINER(it, struct batch, node));
    for (struct list *all = &m->under_way; all; all = all == &m->ready ? NULL : &m->ready) {
        list_for_each_safe (it, all) {
            struct move *move = CONTAINER(it, struct move, node);
            struct user *u = move->user;

            forget(m, move);
            free(move);
            u->is_moving = false;
            registry_let_go(registry(m), u);
        }
    }
    map_done(&m->by_user);
    registry(m)->on_left = NULL;
    registry(m)->may_stay = NULL;
}

int moves_resume_batch(struct moves *m, const struct batch *as, uint64_t now_ms, struct err *err)
{
    struct batch *b;

    INSIST(as->per_second > 0);
    if (m->batches_n >= BATCHES_MAX)
        return err_set(err, 0,
                       "%d moves and kicks of many users are under way, no more at one time",
                       BATCHES_MAX);
    b = malloc(sizeof *b);
    if (!b)
        return err_set(err, ENOMEM, "no memory to move or kick many");
    *b = *as;
    b->last_ms = now_ms;
    list_append(&m->batches, &b->node);
    m->batches_n++;
    return 0;
}

int moves_add_batch(struct moves *m, uint32_t from, uint32_t to, uint32_t per_second,
                    struct user **users, size_t n, uint64_t now_ms, struct err *err)
{
    const struct batch b = {.from = from,
                            .to = to,
                            .per_second = per_second,
                            .credit = USER_CREDIT,
                            .n = n,
                            .users = users};

    return moves_resume_batch(m, &b, now_ms, err);
}

int moves_add_return(struct moves *m, uint32_t to, uint32_t per_second, struct user **users,
                     size_t n, uint64_t now_ms, struct err *err)
{
    if (moves_add_batch(m, BACKEND_NONE, to, per_second, users, n, now_ms, err) < 0)
        return -1;
    CONTAINER(m->batches.prev, struct batch, node)->is_return = true;
    return 0;
}

bool moves_are_returning(const struct moves *m, uint32_t to)
{
    list_for_each (it, &m->batches) {
        const struct batch *b = CONTAINER(it, const struct batch, node);

        if (b->is_return && b->to == to)
            return true;
    }
    return false;
}

static bool has_kicks(const struct batch *b)
{
    return b->to == BACKEND_NONE;
}

const struct batch *moves_batch(const struct moves *m, uint32_t from, bool is_kick)
{
    list_for_each (it, &m->batches) {
        const struct batch *b = CONTAINER(it, const struct batch, node);

        if (b->from == from && has_kicks(b) == is_kick)
            return b;
    }
    return NULL;
}

size_t moves_waiting(const struct moves *m, bool is_kick)
{
    size_t n = 0;

    list_for_each (it, &m->batches) {
        const struct batch *b = CONTAINER(it, const struct batch, node);

        if (has_kicks(b) == is_kick)
            n += b->n - b->at;
    }
    return n;
}

static void kick_there(const struct moves *m, struct user *u, uint32_t backend)
{
    list_for_each (it, &u->sessions) {
        struct session *s = CONTAINER(it, struct session, of_user);

        if (s->backend == backend)
            admission_kick(m->admission, s, KICK_OPERATOR);
    }
}

/* Whence the batch would move the user; BACKEND_NONE: it does not. */
static uint32_t leaves_from(const struct moves *m, const struct batch *b, const struct user *u)
{
    const struct session *first = user_first(u);
    uint32_t from = b->from;

    if (b->is_return)
        from = first && first->backend != b->to ? first->backend : BACKEND_NONE;
    return from != BACKEND_NONE && moves_concern(m, u, from) ? from : BACKEND_NONE;
}

/* The turn of one of its users. False: it needed none. */
static bool take_turn(struct moves *m, const struct batch *b, struct user *u, uint64_t now_ms)
{
    uint32_t from;
    struct err err;

    if (has_kicks(b)) {
        if (!moves_is_there(u, b->from))
            return false;
        kick_there(m, u, b->from);
        return true;
    }
    from = u->is_moving ? BACKEND_NONE : leaves_from(m, b, u);
    if (from == BACKEND_NONE)
        return false;
    if (begin(m, u, b, from, b->to, now_ms, &err) < 0)
        moves_give_up(m, u, &err);
    return true;
}

/* A batch waits for those under way: there are too many, or the last of them failed. */
static bool is_full(const struct moves *m, const struct batch *b)
{
    return !has_kicks(b) && (m->n >= MOVES_MAX || (m->is_failing && m->n > 0));
}

/* Nobody would be served there. Who has not had a turn stays; another batch may begin. */
static void abandon(struct moves *m, struct batch *b)
{
    struct err why;

    err_set(&why, 0, "%s is down; %zu others are not moved either",
            backends_title(admission_route(m->admission)->backends, b->to), b->n - b->at - 1);
    moves_give_up(m, b->users[b->at], &why);
    end_batch(m, b);
}

/* What becomes of a batch that is not over. */
enum prospect { GOES_ON, WAITS, IS_OVER };

static enum prospect prospect_of(const struct moves *m, const struct batch *b)
{
    const struct backends *backends = admission_route(m->admission)->backends;

    if (has_kicks(b) || b->at == b->n)
        return GOES_ON;
    if (backends->all[b->to].state == BACKEND_DOWN)
        return IS_OVER;
    /* Who returns would be sent elsewhere again by the hash. */
    if (b->is_return &&
        (backends->all[b->to].state != BACKEND_UP || !backends_serves(backends, b->to)))
        return IS_OVER;
    return backends_serves(backends, b->to) ? GOES_ON : WAITS;
}

static void run_batch(struct moves *m, struct batch *b, uint64_t now_ms)
{
    unsigned turns = 0;
    uint64_t most = (uint64_t)b->per_second * BURST_MS;
    uint64_t passed = now_ms > b->last_ms ? now_ms - b->last_ms : 0;

    if (most < USER_CREDIT)
        most = USER_CREDIT;
    /* After a year without a tick this would still not overflow. */
    b->credit += passed * b->per_second;
    if (b->credit > most)
        b->credit = most;
    b->last_ms = now_ms;
    switch (prospect_of(m, b)) {
    case IS_OVER:
        if (b->is_return)
            end_batch(m, b);
        else
            abandon(m, b);
        return;
    case WAITS:
        return;
    case GOES_ON:
        break;
    }
    while (b->at < b->n && b->credit >= USER_CREDIT && turns < TURNS_MAX && !is_full(m, b)) {
        struct user *u = b->users[b->at++];

        if (take_turn(m, b, u, now_ms)) {
            b->credit -= USER_CREDIT;
            turns++;
        }
        registry_let_go(registry(m), u);
    }
    if (b->at == b->n)
        end_batch(m, b);
}

/* --- time ---------------------------------------------------------------------------------- */

static uint64_t batch_due_ms(const struct moves *m, const struct batch *b)
{
    uint64_t wait_ms;

    if (is_full(m, b))
        return 0; /* not before one of them is ready */
    if (prospect_of(m, b) == WAITS)
        return b->last_ms + MOVES_RETRY_MS;
    if (b->credit >= USER_CREDIT)
        return 1;
    wait_ms = (USER_CREDIT - b->credit + b->per_second - 1) / b->per_second;
    return b->last_ms + (wait_ms > STEP_MS ? wait_ms : STEP_MS);
}

static void consider(uint64_t *due_ms, uint64_t at_ms)
{
    if (at_ms > 0 && (*due_ms == 0 || at_ms < *due_ms))
        *due_ms = at_ms;
}

static bool is_recovered(const struct moves *m)
{
    struct admission_counts counts;

    admission_count(m->admission, &counts);
    return counts.is_recovered;
}

uint64_t moves_due_ms(const struct moves *m)
{
    uint64_t due_ms = 0;

    if (!is_recovered(m))
        return 0;
    list_for_each (it, &m->ready) {
        const struct move *move = CONTAINER(it, const struct move, node);

        consider(&due_ms, move->retry_ms ? move->retry_ms : 1);
    }
    list_for_each (it, &m->batches)
        consider(&due_ms, batch_due_ms(m, CONTAINER(it, const struct batch, node)));
    return due_ms;
}

static void settle_ready(struct moves *m, struct move *move, uint64_t now_ms)
{
    struct err err;

    /* A worker whose channel had broken may have told of its sessions anew. */
    if (has_sessions_elsewhere(move->user, move->to)) {
        list_remove(&move->node);
        list_append(&m->under_way, &move->node);
        return;
    }
    if (settle(m, move, now_ms, &err) == 0)
        return;
    if (move->tries + 1 < MOVES_TRIES) {
        postpone(m, move, now_ms);
        return;
    }
    moves_give_up(m, move->user, &err);
    end(m, move, now_ms);
}

void moves_tick(struct moves *m, uint64_t now_ms)
{
    size_t n = 0;

    if (!is_recovered(m))
        return;
    list_for_each (it, &m->ready)
        n++;
    for (struct list *it = m->ready.next, *next; n-- > 0; it = next) {
        struct move *move = CONTAINER(it, struct move, node);

        next = it->next;
        if (move->retry_ms <= now_ms)
            settle_ready(m, move, now_ms);
    }
    list_for_each_safe (it, &m->batches)
        run_batch(m, CONTAINER(it, struct batch, node), now_ms);
}
