/* The way of a user, as far as it can be known without a running usher: from the configuration, the
 * directories and the state file. For `usher route`, which shows it, and `usher login`, which goes
 * it.
 *
 * The rules are control/route.h's and control/facts_use.h's, over a registry that holds what is
 * lasting of this one user. What only a running usher knows counts as nothing: live sessions,
 * affinity, moves; every backend counts as healthy and has room.
 *
 * Asks nobody but directories, and changes nothing.
 */
#ifndef USHER_CLI_ROUTE_WAY_H
#define USHER_CLI_ROUTE_WAY_H

#include "base/err.h"
#include "conf/conf.h"
#include "control/backends.h"
#include "control/facts_use.h"
#include "control/registry.h"
#include "control/route.h"
#include "directory/directories.h"
#include "directory/facts.h"
#include "net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct way_params {
    const char *user;     /* as a client would type it */
    const char *pool;     /* of the listener that it comes by; NULL: not said */
    const char *listener; /* the same by its name; NULL */
};

/* What the directories have said of the user. */
struct way_told {
    bool is_asked; /* there are directories */
    enum directory_status status;
    char directory[CONF_NAME_MAX + 1]; /* which one; "": it was none */
    char text[FACTS_MAX];              /* secrets too: wiped by way_done() */
    struct facts facts;                /* of `text`; FOUND only */
    struct err trouble;                /* FAILED: why; FOUND: why the facts are of no use here */
    bool is_useless;                   /* FOUND, and `trouble` is set */
    uint64_t took_us;
};

struct way_choice {
    uint32_t backend;
    double score;   /* of the weighted hash: the highest wins */
    bool may_serve; /* somebody new: it has a weight, and no operator has taken it out */
};

/* What would become of a login. */
enum way_end {
    WAY_GOES,    /* to view.chosen */
    WAY_WAITS,   /* the user is on hold; then to view.chosen */
    WAY_REFUSED, /* `why` */
    WAY_UNKNOWN  /* a directory cannot tell; a login would be refused as unavailable */
};

struct way {
    const struct conf *conf;
    struct loop *loop;
    struct backends backends;
    struct registry registry;

    char name[IPC_USER_MAX]; /* what `user` is made of */
    struct slice user;       /* the name as everything knows it */
    uint16_t door;           /* the pool that the login comes by */
    const char *door_how;    /* "option", "listener": of that name, "first listener" */
    bool is_door_open;       /* other listeners serve other pools */

    struct way_told told;
    bool has_state; /* there is a state file */
    uint64_t chose_us;

    uint16_t pool;
    const char *pool_how; /* "pool", "tag", "backend", "host": the fact; else `door_how` */
    uint32_t said;        /* where the facts say that the user is; BACKEND_NONE */
    struct route_view view;
    bool is_held, is_disabled;
    struct way_choice *hash; /* all backends of the pool, the best first */
    size_t hash_n;

    enum way_end end;
    char why[ROUTE_WHY + CONF_NAME_MAX + sizeof(struct err)];
};

/* Checks the words. `conf` must outlive it. -1: a pool or listener that is not there, with what may
 * be meant, or a name that is none; nothing is to be freed then. */
int way_init(struct way *w, const struct conf *conf, const struct way_params *params,
             struct err *err) MUST_CHECK;

/* Finds it all out, within directory_timeout and a little. -1 when it could not be found out: the
 * state file, memory. A directory that fails is no failure here, but WAY_UNKNOWN. */
int way_find(struct way *w, struct err *err) MUST_CHECK;

/* After way_init(). Wipes. */
void way_done(struct way *w);

/* The number of a backend by its title; -1 with what may be meant. */
int way_backend(const struct way *w, const char *title, uint32_t *out_backend,
                struct err *err) MUST_CHECK;

/* Microseconds of the monotonic clock. */
uint64_t way_now_us(void);

#endif
