/* The inside of control/operate.h, shared by its two halves: operate.c sees, operate_steer.c
 * changes. Nobody else includes it. */
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
};

/* What moves do, by operate_steer.c; with the struct operate as `arg`. */
extern const struct moves_effects operate_moves_effects;

/* NULL: it has ended. */
struct session *operate_find(const struct operate *o, struct operate_key key);

/* Whom penalties are about, as far as it is asked for. */
struct penalty_who operate_who(const struct operate *o, const struct slice *user,
                               const struct in6_addr *client);

#endif
