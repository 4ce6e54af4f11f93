/* Rows of the state file become users, orders and states of backends. */
#include "control/load.h"

#include "base/log.h"
#include "directory/username.h"

#include <errno.h>

static int no_memory(struct err *err)
{
    return err_set(err, ENOMEM, "no memory for what is known of users");
}

/* The row may be older than the settings by which names are normalized. */
static bool take_name(const struct load *l, struct slice user, char name[IPC_USER_MAX],
                      struct slice *out_name)
{
    return user_is_name(user) &&
           username_normalize(&l->backends->conf->global, user, name, out_name);
}

static int take_placement(void *arg, struct slice pool, struct slice user, struct slice backend,
                          struct err *err)
{
    const struct load *l = arg;
    const struct conf *conf = l->backends->conf;
    char name[IPC_USER_MAX];

    for (size_t i = 0; i < conf->pools_n; i++) {
        uint32_t number;

        if (!slice_eq(slice_str(conf->pools[i].title), pool))
            continue;
        if (conf->pools[i].storage == STORAGE_SHARED || !take_name(l, user, name, &user))
            return 0;
        number = backends_number(l->backends, backend);
        if (number == BACKEND_NONE || registry_place(l->registry, (uint16_t)i, user, number) < 0)
            return no_memory(err);
    }
    return 0;
}

static int take_pin(void *arg, struct slice user, struct slice backend, struct err *err)
{
    const struct load *l = arg;
    char name[IPC_USER_MAX];
    struct order *o;
    uint32_t number;

    if (!take_name(l, user, name, &user))
        return 0;
    number = backends_number(l->backends, backend);
    o = number == BACKEND_NONE ? NULL : registry_order_make(l->registry, user);
    if (!o)
        return no_memory(err);
    o->pin = number;
    return 0;
}

static int take_hold(void *arg, struct slice user, struct err *err)
{
    const struct load *l = arg;
    char name[IPC_USER_MAX];
    struct order *o;

    if (!take_name(l, user, name, &user))
        return 0;
    o = registry_order_make(l->registry, user);
    if (!o)
        return no_memory(err);
    o->is_held = true;
    return 0;
}

/* Somebody wanted something of this backend: nobody is sent there until it is clear what. */
static enum backend_state take_for_down(struct slice backend, struct slice word)
{
    struct log_line l;
    struct err what;

    err_set(&what, 0, "the state of backend %.*s is \"%.*s\", not up, drain or down; taken as down",
            SLICE_ARG(backend), SLICE_ARG(word));
    log_begin(&l, LOG_STATE_FAILED);
    log_str(&l, "file", STATE_FILE);
    log_str(&l, "detail", what.text);
    log_end(&l);
    return BACKEND_DOWN;
}

static int take_backend_state(void *arg, struct slice backend, struct slice word, struct err *err)
{
    const struct load *l = arg;
    uint32_t number = backends_number(l->backends, backend);
    enum backend_state state;

    if (number == BACKEND_NONE)
        return no_memory(err);
    if (backends_is_stranger(l->backends, number))
        return 0;
    if (!backend_state_parse(word, &state))
        state = take_for_down(backend, word);
    l->backends->all[number].state = state;
    return 0;
}

const struct state_rows load_rows = {
    .placement = take_placement,
    .pin = take_pin,
    .hold = take_hold,
    .backend_state = take_backend_state,
};
