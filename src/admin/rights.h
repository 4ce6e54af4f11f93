/* Who may do what at the unix door: by the kernel's word about who has connected, and the settings
 * admin_see and admin_steer. Names become numbers once, before the sandbox is closed; who joins a
 * group later may come in, since the kernel tells the groups of who connects. */
#ifndef USHER_ADMIN_RIGHTS_H
#define USHER_ADMIN_RIGHTS_H

#include "base/err.h"
#include "conf/conf.h"
#include "net/local.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct right_holder {
    bool is_group;
    bool may_steer;
    id_t id;          /* of a user or a group */
    const char *name; /* the configuration's */
};

struct rights {
    struct right_holder *all;
    size_t n;
    uid_t own;            /* as what we run */
    const char *own_name; /* "" when that is not the account `user` */
};

/* `conf` must outlive it. A name that the system does not know gives nobody a right: conf_check()
 * has said so, and control comes again also when an account is gone. */
int rights_init(struct rights *r, const struct conf_global *conf, struct err *err) MUST_CHECK;

/* Harmless twice. */
void rights_done(struct rights *r);

struct right {
    bool may_see, may_steer;
    const char *by; /* the user's name as the configuration has it, "root", our own; else "" */
};

/* Root and the account that we run as may do everything. That may be the workers' account too: what
 * keeps a worker that was taken over from the door is its sandbox, and worker_user. */
struct right rights_of(const struct rights *r, const struct local_peer *peer);

#endif
