/* The backends as control knows them: those of the configuration, with what operators say of them
 * and the addresses they have now; and titles that are no longer in the configuration but still
 * have users, so that nobody is sent to an empty mailbox.
 *
 * A backend is named by one number, its index over all pools in the order of the file; strangers
 * (titles that are not configured) have numbers behind. Numbers hold for the life of the process.
 */
#ifndef USHER_CONTROL_BACKENDS_H
#define USHER_CONTROL_BACKENDS_H

#include "backend/rendezvous.h"
#include "base/addr.h"
#include "base/map.h"
#include "conf/conf.h"
#include "ipc/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BACKEND_NONE UINT32_MAX

/* As operators put them. Drain: nothing new. Down: nothing. */
enum backend_state { BACKEND_UP, BACKEND_DRAIN, BACKEND_DOWN };

struct backend {
    const struct conf_backend *conf;
    uint16_t pool, index; /* in the configuration */
    enum backend_state state;
    struct slice host;
    uint16_t port;
    /* 0: none known yet. */
    size_t addresses_n;
    struct addr addresses[IPC_ADDRESSES_MAX];
    /* control/resolve.c's; due_ms 0: the address was given as such. */
    uint64_t due_ms;
    bool is_asked;
    bool has_failed;
};

struct title {
    struct map_node node;
    uint32_t number;
    char text[];
};

struct backends {
    const struct conf *conf;
    struct backend *all;
    struct rendezvous_node *nodes; /* in the same order */
    size_t n;                      /* configured */
    uint32_t *first;               /* of each pool */
    struct map by_title;
    struct title **titles; /* by number, strangers too */
    size_t titles_n, titles_cap;
};

/* `conf` must outlive it. */
int backends_init(struct backends *b, const struct conf *conf, struct err *err) MUST_CHECK;
void backends_done(struct backends *b);

/* The number of a title; one that is not configured becomes a stranger. BACKEND_NONE when memory
 * is out. */
uint32_t backends_number(struct backends *b, struct slice title);

const char *backends_title(const struct backends *b, uint32_t number);

static inline bool backends_is_stranger(const struct backends *b, uint32_t number)
{
    return number >= b->n;
}

/* By indices as messages have them; BACKEND_NONE when there is no such backend. */
uint32_t backends_at(const struct backends *b, uint32_t pool, uint32_t index);

/* "up", "drain", "down". */
const char *backend_state_name(enum backend_state state);

/* Says whether it was one of these. */
bool backend_state_parse(struct slice word, enum backend_state *out_state);

#endif
