/* The questions of control/facts_wait.h. */
#include "control/facts_wait.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/num.h"

#include <stdlib.h>
#include <string.h>

struct question {
    struct list node;
    struct map_node by_user, by_number;
    struct list askers;
    uint64_t late_ms;
    uint32_t number;
    bool is_fresh;
    uint16_t user_n;
    char user[];
};

static struct slice user_of(const struct question *q)
{
    return slice_of(q->user, q->user_n);
}

void facts_wait_init(struct facts_wait *f, uint32_t timeout_ms,
                     void (*ask)(void *arg, uint32_t question, struct slice user, bool is_fresh),
                     void *arg)
{
    *f = (struct facts_wait){.ask = ask, .arg = arg, .timeout_ms = timeout_ms};
    list_init(&f->questions);
    map_init(&f->by_user);
    map_init(&f->by_number);
}

void asker_init(struct asker *a)
{
    list_init(&a->node);
}

void asker_leave(struct asker *a)
{
    list_remove(&a->node);
}

static void forget(struct facts_wait *f, struct question *q)
{
    list_remove(&q->node);
    map_remove(&f->by_number, &q->by_number);
    if (!q->is_fresh)
        map_remove(&f->by_user, &q->by_user);
    INSIST(list_empty(&q->askers));
    free(q);
}

void facts_wait_done(struct facts_wait *f)
{
    list_for_each_safe (it, &f->questions)
        forget(f, CONTAINER(it, struct question, node));
    map_done(&f->by_user);
    map_done(&f->by_number);
}

static bool user_is(const struct map_node *node, const void *key)
{
    return slice_eq(user_of(CONTAINER(node, const struct question, by_user)),
                    *(const struct slice *)key);
}

/* Numbers are our own. */
static uint64_t number_hash(uint32_t number)
{
    return num_mix(number);
}

static bool number_is(const struct map_node *node, const void *key)
{
    return CONTAINER(node, const struct question, by_number)->number == *(const uint32_t *)key;
}

static struct question *make_question(struct facts_wait *f, struct slice user, bool is_fresh,
                                      uint64_t now_ms)
{
    struct question *q = malloc(sizeof *q + user.n);

    if (!q)
        return NULL;
    if (++f->last == 0)
        f->last = 1;
    *q = (struct question){.number = f->last,
                           .late_ms = now_ms + f->timeout_ms + FACTS_PATIENCE_MS,
                           .is_fresh = is_fresh,
                           .user_n = (uint16_t)user.n};
    list_init(&q->askers);
    memcpy(q->user, user.p, user.n);
    if (map_insert(&f->by_number, &q->by_number, number_hash(q->number)) < 0) {
        free(q);
        return NULL;
    }
    if (!is_fresh && map_insert(&f->by_user, &q->by_user, hash_key(user)) < 0) {
        map_remove(&f->by_number, &q->by_number);
        free(q);
        return NULL;
    }
    list_append(&f->questions, &q->node);
    f->ask(f->arg, q->number, user, is_fresh);
    return q;
}

int facts_wait_ask(struct facts_wait *f, struct asker *a, struct slice user, bool is_fresh,
                   uint64_t now_ms)
{
    struct map_node *node = is_fresh ? NULL : map_find(&f->by_user, hash_key(user), user_is, &user);
    struct question *q =
        node ? CONTAINER(node, struct question, by_user) : make_question(f, user, is_fresh, now_ms);

    INSIST(user.n > 0 && user.n <= IPC_USER_MAX);
    if (!q)
        return -1;
    list_append(&q->askers, &a->node);
    return 0;
}

void facts_wait_repeat(struct facts_wait *f)
{
    list_for_each (it, &f->questions) {
        const struct question *q = CONTAINER(it, struct question, node);

        f->ask(f->arg, q->number, user_of(q), q->is_fresh);
    }
}

/* The question is out of the tables first, since who is told may ask again. */
static void answer(struct facts_wait *f, struct question *q, const struct facts_answer *answer,
                   uint64_t now_ms)
{
    struct list askers;

    list_init(&askers);
    while (!list_empty(&q->askers)) {
        struct list *first = q->askers.next;

        list_remove(first);
        list_append(&askers, first);
    }
    forget(f, q);
    while (!list_empty(&askers)) {
        struct asker *a = CONTAINER(askers.next, struct asker, node);

        list_remove(&a->node);
        a->on_answer(f, a, answer, now_ms);
    }
}

void facts_wait_answer(struct facts_wait *f, uint32_t question, const struct facts_answer *told,
                       uint64_t now_ms)
{
    struct map_node *node = map_find(&f->by_number, number_hash(question), number_is, &question);

    if (node)
        answer(f, CONTAINER(node, struct question, by_number), told, now_ms);
}

uint64_t facts_wait_due_ms(const struct facts_wait *f)
{
    return list_empty(&f->questions) ? 0
                                     : CONTAINER(f->questions.next, struct question, node)->late_ms;
}

void facts_wait_tick(struct facts_wait *f, uint64_t now_ms)
{
    static const struct facts_answer late = {
        .status = FACTS_UNAVAILABLE,
        .text = {.p = "no answer within directory_timeout",
                 .n = sizeof "no answer within directory_timeout" - 1}};

    while (!list_empty(&f->questions)) {
        struct question *q = CONTAINER(f->questions.next, struct question, node);

        if (q->late_ms > now_ms)
            return;
        answer(f, q, &late, now_ms);
    }
}
