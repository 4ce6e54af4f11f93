/* The addresses of backends that are given by name: asked of lookup at the start and again when
 * their time to live is over. Pure; the time is an argument, the question goes out by a callback.
 *
 * The TTL is clamped, so that neither a TTL of 0 makes us ask all the time nor one of a week lets
 * us miss a move. Addresses known before stay in use while an answer is late or bad: a name server
 * that is down takes no backend with it.
 */
#ifndef USHER_CONTROL_RESOLVE_H
#define USHER_CONTROL_RESOLVE_H

#include "control/backends.h"

enum {
    RESOLVE_TTL_MIN_S = 5,
    RESOLVE_TTL_MAX_S = 3600,
    RESOLVE_RETRY_MS = 5000,
    /* No answer at all for so long is a failure too. */
    RESOLVE_PATIENCE_MS = 30000
};

struct resolve_effects {
    /* Ask for `host`; the answer will name `question`. May be asked again under the same number. */
    void (*ask)(void *arg, uint32_t question, struct slice host, uint16_t port);
    /* Its addresses are new or others than before, or answers have come back after a failure. */
    void (*changed)(void *arg, uint32_t backend, uint32_t ttl_s);
    /* The first failure, or the first after answers; further ones in a row are not told. */
    void (*failed)(void *arg, uint32_t backend, struct slice detail);
};

struct resolve {
    struct backends *backends;
    const struct resolve_effects *effects;
    void *arg;
};

/* Asks for every name. */
void resolve_start(struct resolve *r, uint64_t now_ms);

/* Asks what is due. */
void resolve_step(struct resolve *r, uint64_t now_ms);

/* When resolve_step() should be called; 0: never. */
uint64_t resolve_due_ms(const struct resolve *r);

/* Another lookup process has come: what is open is asked again. */
void resolve_repeat(struct resolve *r, uint64_t now_ms);

/* An answer. One to no open question is ignored. `detail` says why there are no addresses. */
void resolve_answer(struct resolve *r, uint32_t question, const struct msg_resolved *answer,
                    struct slice detail, uint64_t now_ms);

#endif
