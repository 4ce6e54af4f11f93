/* The queue of control/queue.h: a ring of turns, one for each user that waits, each with the ring
 * of its entries. */
#include "control/queue.h"

#include "base/err.h"
#include "base/num.h"

#include <stdlib.h>

enum { TOKEN = 1000 }; /* in millitokens; a rate in tokens a second is one in millitokens a ms */

/* --- the bucket ---------------------------------------------------------------------------- */

/* What fits in: a tenth of a second's worth. */
static uint64_t bucket_room(uint32_t rate)
{
    uint64_t room = (uint64_t)rate * (TOKEN / 10);

    return room > TOKEN ? room : TOKEN;
}

/* What is in it now. */
static uint64_t bucket_level(const struct bucket *b, uint32_t rate, uint64_t now_ms)
{
    uint64_t room = bucket_room(rate);
    uint64_t passed_ms = now_ms > b->at_ms ? now_ms - b->at_ms : 0;

    /* Compared before it is multiplied: the gap may be of any length. */
    if (b->millitokens >= room || passed_ms > (room - b->millitokens) / rate)
        return room;
    return b->millitokens + passed_ms * rate;
}

bool bucket_take(struct bucket *b, uint32_t rate, uint64_t now_ms)
{
    uint64_t level;

    if (rate == 0)
        return true;
    level = bucket_level(b, rate, now_ms);
    if (level < TOKEN)
        return false;
    *b = (struct bucket){now_ms > b->at_ms ? now_ms : b->at_ms, level - TOKEN};
    return true;
}

uint64_t bucket_due_ms(const struct bucket *b, uint32_t rate, uint64_t now_ms)
{
    uint64_t level;

    if (rate == 0)
        return now_ms;
    level = bucket_level(b, rate, now_ms);
    return level >= TOKEN ? now_ms : now_ms + (TOKEN - level + rate - 1) / rate;
}

void bucket_give(struct bucket *b, uint32_t rate)
{
    uint64_t room = bucket_room(rate);

    if (rate == 0)
        return;
    b->millitokens = b->millitokens + TOKEN < room ? b->millitokens + TOKEN : room;
}

/* --- the queue ----------------------------------------------------------------------------- */

struct turn_of {
    struct map_node node;
    struct list place;   /* in the queue's turns */
    struct list entries; /* of struct queued, the eldest first; never empty */
    const void *key;
};

void queue_init(struct queue *q)
{
    list_init(&q->turns);
    map_init(&q->by_key);
    q->n = 0;
}

void queue_done(struct queue *q)
{
    INSIST(q->n == 0);
    map_done(&q->by_key);
}

void queued_init(struct queued *e)
{
    list_init(&e->node);
    e->turn = NULL;
}

static bool is_of(const struct map_node *node, const void *key)
{
    return CONTAINER(node, const struct turn_of, node)->key == key;
}

static struct turn_of *get_turn(struct queue *q, const void *key)
{
    uint64_t hash = num_mix((uintptr_t)key); /* an address, which no peer chooses */
    struct map_node *node = map_find(&q->by_key, hash, is_of, key);
    struct turn_of *turn;

    if (node)
        return CONTAINER(node, struct turn_of, node);
    turn = malloc(sizeof *turn);
    if (!turn)
        return NULL;
    turn->key = key;
    list_init(&turn->entries);
    if (map_insert(&q->by_key, &turn->node, hash) < 0) {
        free(turn);
        return NULL;
    }
    list_append(&q->turns, &turn->place);
    return turn;
}

int queue_add(struct queue *q, struct queued *e, const void *key)
{
    struct turn_of *turn;

    INSIST(!queued_waits(e));
    turn = get_turn(q, key);
    if (!turn)
        return -1;
    list_append(&turn->entries, &e->node);
    e->turn = turn;
    q->n++;
    return 0;
}

void queue_remove(struct queue *q, struct queued *e)
{
    struct turn_of *turn = e->turn;

    if (!turn)
        return;
    list_remove(&e->node);
    e->turn = NULL;
    q->n--;
    if (!list_empty(&turn->entries))
        return;
    list_remove(&turn->place);
    map_remove(&q->by_key, &turn->node);
    free(turn);
}

/* The first entry of the turn at this place of the ring; NULL: the ring is at its end there. */
static struct queued *first_at(const struct queue *q, const struct list *place)
{
    if (place == &q->turns)
        return NULL;
    return CONTAINER(CONTAINER(place, struct turn_of, place)->entries.next, struct queued, node);
}

struct queued *queue_first(const struct queue *q)
{
    return first_at(q, q->turns.next);
}

struct queued *queue_next(const struct queue *q, const struct queued *e)
{
    return first_at(q, e->turn->place.next);
}

void queue_take(struct queue *q, struct queued *e)
{
    struct turn_of *turn = e->turn;

    INSIST(turn && turn->entries.next == &e->node);
    list_remove(&turn->place);
    list_append(&q->turns, &turn->place);
    queue_remove(q, e);
}
