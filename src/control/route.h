/* Which backend serves a login. Pure rules over the registry; nothing is changed here.
 *
 * In this order, the first that speaks decides:
 *
 *     a pin (of this pool)        an operator's word
 *     a directory's backend       the word of who keeps the users
 *     own storage: a placement    where the user's mail is
 *     live sessions and leases    all of a user's sessions stay together
 *     shared storage: affinity    where the user was lately
 *     own storage, place = try    all backends of the pool, in the order of the hash
 *     the rendezvous hash         over backends of weight above 0 on which nothing is to be spared;
 *                                 backups only when there is no other
 *
 * What a pin, a directory, a placement or live sessions name is never replaced by another: when
 * that backend is down, by an operator's order or as its health says, or no longer configured, the
 * login is refused as unavailable. For a user of own storage of
 * whom nothing is known the hash's first choice counts even when it is down, since the user may
 * have mail there all the same (a record lost, a mailbox from before usher); an operator who wants
 * new users elsewhere drains the backend or gives it weight 0.
 *
 * Live sessions may be stranded: on a backend that was taken out of the pool after they began.
 * Where the user belongs is said by the other rules then, and the stranded sessions must end before
 * another begins there. With own storage and nothing else that speaks, the user's mail is where
 * these sessions are, and the login is refused.
 */
#ifndef USHER_CONTROL_ROUTE_H
#define USHER_CONTROL_ROUTE_H

#include "control/registry.h"
#include "control/shared.h"

struct route {
    const struct backends *backends;
    const struct registry *registry;
    struct shared *shared; /* NULL: no affinity */
    uint32_t user_expire_s;
};

enum { ROUTE_WHY = 256 };

/* The backend for a session, whose user is named and which is on no backend now; those that it has
 * tried are not chosen by hash or affinity. BACKEND_NONE: none may serve it, and `out_why` says
 * so for the log. */
uint32_t route_choose(const struct route *r, const struct session *s, uint64_t now_ms,
                      char out_why[ROUTE_WHY]);

/* Whether the user's sessions are stranded: they must end before a login is served elsewhere. */
bool route_is_stranded(const struct route *r, const struct user *u);

/* Whether nobody knows which backend of the pool has the session's user, so that all are tried. */
bool route_is_trial(const struct route *r, const struct session *s);

/* The nth of a pool's backends, from 0, in the order of the hash for this user; those of weight 0
 * come last. Whatever their states. BACKEND_NONE behind the last. Takes n * n steps. */
uint32_t route_nth(const struct route *r, uint16_t pool, struct slice user, unsigned nth);

/* Whether a session may log in on its backend, as it has just done there: not when sessions of its
 * user are on another, or its mail is. */
bool route_may_stay(const struct route *r, const struct session *s, char out_why[ROUTE_WHY]);

/* Shared storage: notes that the session's user is on its backend now; that a user is on one. */
void route_remember(const struct route *r, const struct session *s, uint64_t now_ms);
void route_note(const struct route *r, uint16_t pool, struct slice user, uint32_t backend,
                uint64_t now_ms);

/* Forgets where the user was. Says whether it was known. */
bool route_forget(const struct route *r, uint16_t pool, struct slice user);

/* The pin that counts in a pool; BACKEND_NONE: none. It may be a stranger. */
uint32_t route_pin(const struct route *r, uint16_t pool, struct slice user);

/* What is known of a user's way, and what comes of it by the rules that route_choose() goes by. */
struct route_view {
    uint32_t pin, placed, live, affinity; /* each BACKEND_NONE: none */
    uint32_t chosen;                      /* BACKEND_NONE: a login would be refused */
    char why[ROUTE_WHY];                  /* in either case */
};

/* `told`: where a directory says that the user is; BACKEND_NONE: it does not. */
void route_explain(const struct route *r, uint16_t pool, struct slice user, uint32_t told,
                   uint64_t now_ms, struct route_view *out_view);

/* Shared storage: where the hash says that the user belongs while all that can serve do, backups
 * left out; BACKEND_NONE: nowhere. */
uint32_t route_home(const struct route *r, uint16_t pool, struct slice user);

static inline bool route_is_shared(const struct route *r, uint16_t pool)
{
    return r->backends->conf->pools[pool].storage == STORAGE_SHARED;
}

#endif
