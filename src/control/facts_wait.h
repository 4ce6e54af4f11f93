/* Questions to lookup about users, and who waits for the answers. Pure: time is an argument, the
 * question goes out by a callback.
 *
 * Those who ask about the same user at one time wait for the same answer. A lookup that is replaced
 * is asked again; one that gives no answer in time gives FACTS_UNAVAILABLE.
 */
#ifndef USHER_CONTROL_FACTS_WAIT_H
#define USHER_CONTROL_FACTS_WAIT_H

#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"
#include "ipc/message.h"

#include <stdbool.h>
#include <stdint.h>

/* More than lookup's own directory_timeout, so that its words come first. */
enum { FACTS_PATIENCE_MS = 500 };

struct facts_answer {
    enum facts_status status;
    struct slice directory; /* its title; empty: none answered */
    struct slice text;      /* the facts; UNAVAILABLE: words for the log */
    uint32_t age_ms;
};

struct facts_wait;

/* Who asks, embedded. It is called once, and does not wait any more then; it may ask further, and
 * have others leave. What it is told is valid for the call. */
struct asker {
    struct list node; /* of its question */
    void (*on_answer)(struct facts_wait *f, struct asker *asker, const struct facts_answer *answer,
                      uint64_t now_ms);
};

struct facts_wait {
    void (*ask)(void *arg, uint32_t question, struct slice user, bool is_fresh);
    void *arg;
    uint32_t timeout_ms;
    uint32_t last;         /* number of a question */
    struct list questions; /* in the order in which they are late */
    struct map by_user;    /* but for fresh ones */
    struct map by_number;
};

void facts_wait_init(struct facts_wait *f, uint32_t timeout_ms,
                     void (*ask)(void *arg, uint32_t question, struct slice user, bool is_fresh),
                     void *arg);

/* Nobody waits any more. */
void facts_wait_done(struct facts_wait *f);

void asker_init(struct asker *a);

/* Waits no more. Harmless when it does not. */
void asker_leave(struct asker *a);

/* `is_fresh`: a question of its own, for which nothing is used that lookup keeps. -1 when memory is
 * out. */
int facts_wait_ask(struct facts_wait *f, struct asker *a, struct slice user, bool is_fresh,
                   uint64_t now_ms) MUST_CHECK;

/* Another lookup has come: what is open is asked again. */
void facts_wait_repeat(struct facts_wait *f);

/* An answer. One to no open question is ignored. */
void facts_wait_answer(struct facts_wait *f, uint32_t question, const struct facts_answer *told,
                       uint64_t now_ms);

/* When facts_wait_tick() should be called; 0: not before something else happens. */
uint64_t facts_wait_due_ms(const struct facts_wait *f);
void facts_wait_tick(struct facts_wait *f, uint64_t now_ms);

#endif
