/* Who waits for a backend that has reached max_sessions, max_connecting or login_rate, and when it
 * has room again. Pure: time is an argument.
 *
 * Fair by user: users take turns, each user's logins come in their order; so somebody with fifty
 * logins holds nobody else up for longer than one. Who came first is first, else. All is O(1).
 *
 * The rate is a bucket of tokens: one a login, `login_rate` of them in a second (times the share of
 * a backend that starts slowly, and then at least 1, since 0 is no limit), at most a tenth of a
 * second's worth at once, and one at least. So in no second more than 1.1 times the rate is begun,
 * and in ten seconds no more than 10.1 times. It is exact: no fraction is lost, however often it is
 * asked. Zeroed it is empty at time 0.
 *
 * Entries are the caller's (struct queued, embedded); turns of users are the queue's own memory.
 */
#ifndef USHER_CONTROL_QUEUE_H
#define USHER_CONTROL_QUEUE_H

#include "base/list.h"
#include "base/map.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bucket {
    uint64_t at_ms; /* when `millitokens` was so */
    uint64_t millitokens;
};

/* Takes one token of `rate` a second (0: there is no limit), if there is one. The rate may be
 * another each time; what is in the bucket stays, as far as it fits. */
bool bucket_take(struct bucket *b, uint32_t rate, uint64_t now_ms);

/* When there will be one; now_ms when there is. */
uint64_t bucket_due_ms(const struct bucket *b, uint32_t rate, uint64_t now_ms);

/* Gives back one that was taken and not used. */
void bucket_give(struct bucket *b, uint32_t rate);

/* An entry, embedded by whoever waits. */
struct queued {
    struct list node; /* of its turn; self-linked while it is in no queue */
    struct turn_of *turn;
};

struct queue {
    struct list turns; /* of struct turn_of, whose turn is next first */
    struct map by_key;
    size_t n; /* entries */
};

void queue_init(struct queue *q);
/* It is empty. */
void queue_done(struct queue *q);

void queued_init(struct queued *e);
static inline bool queued_waits(const struct queued *e)
{
    return e->turn != NULL;
}

/* At the end of its user's line; `key`: names the user (the address of something that lives as long
 * as the entry waits). -1 when memory is out. */
int queue_add(struct queue *q, struct queued *e, const void *key);

/* Out of the queue, wherever it stands; its user's turn stays where it is. Harmless when it is in
 * none. */
void queue_remove(struct queue *q, struct queued *e);

/* Whose turn it is; NULL: nobody waits. */
struct queued *queue_first(const struct queue *q);

/* The first of the user whose turn comes behind that of `e`'s; NULL: there is none. For when `e`
 * cannot be served now. */
struct queued *queue_next(const struct queue *q, const struct queued *e);

/* Takes `e`, which is the first of its user, out; its user's turn is over: the user's next, if any,
 * stands behind all others. */
void queue_take(struct queue *q, struct queued *e);

#endif
