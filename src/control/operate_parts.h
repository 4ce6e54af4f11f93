/* The inside of control/operate.h, shared by its parts: operate.c sees, operate_steer.c steers,
 * operate_change.c is about usher itself. Nobody else includes it. */
#ifndef USHER_CONTROL_OPERATE_PARTS_H
#define USHER_CONTROL_OPERATE_PARTS_H

#include "control/moves.h"
#include "control/operate.h"
#include "control/route.h"

struct operate {
    const struct conf *conf;
    struct backends *backends;
    struct admission *admission;
    struct state *state;
    struct registry *registry;
    struct moves moves;
    void (*change)(void *arg, uint32_t id, enum change_kind what);
    void *arg;
    struct list changers; /* who waits */
    uint32_t changes_n;   /* asked for; numbers them */
};

/* What moves do, by operate_steer.c; with the struct operate as `arg`. */
extern const struct moves_effects operate_moves_effects;

/* NULL: it has ended. */
struct session *operate_find(const struct operate *o, struct operate_key key);

/* Whom penalties are about, as far as it is asked for. */
struct penalty_who operate_who(const struct operate *o, const struct slice *user,
                               const struct in6_addr *client);

#endif
