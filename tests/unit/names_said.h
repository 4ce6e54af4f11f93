/* What a worker says of its indices, MSG_NAME, as its configuration has them. */
#ifndef USHER_TESTS_NAMES_SAID_H
#define USHER_TESTS_NAMES_SAID_H

#include "conf/diff.h"
#include "control/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef void each_name(void *arg, const struct msg_name *m, const char *title);

static inline void say_names(const struct conf *c, each_name *each, void *arg)
{
    for (uint32_t i = 0; i < c->listeners_n; i++) {
        const struct msg_name m = {.kind = NAME_LISTENER,
                                   .index = i,
                                   .pool = (uint16_t)conf_listener_pool(c, &c->listeners[i])};

        each(arg, &m, c->listeners[i].title);
    }
    for (uint32_t p = 0; p < c->pools_n; p++) {
        const struct msg_name m = {.kind = NAME_POOL, .index = p};

        each(arg, &m, c->pools[p].title);
        for (uint32_t i = 0; i < c->pools[p].backends_n; i++) {
            const struct msg_name b = {.kind = NAME_BACKEND,
                                       .index = i,
                                       .pool = (uint16_t)p,
                                       .meaning = conf_meaning(c, p, i)};

            each(arg, &b, c->pools[p].backends[i].title);
        }
    }
}

static inline void take_said(void *arg, const struct msg_name *m, const char *title)
{
    assert_null(names_take(arg, m, slice_str(title)));
}

/* The table as it is when a worker with this configuration has said all. */
static inline void names_of_conf(struct names *n, struct backends *backends, const struct conf *c)
{
    names_init(n, backends);
    say_names(c, take_said, n);
}

#endif
