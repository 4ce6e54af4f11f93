/* Commands that steer. Each says what it did, in words and in numbers. */
#include "admin/commands.h"
#include "control/network.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME_SHOWN = 120 };

/* A user's name within a text. */
#define SHOW(user) (int)((user).n < NAME_SHOWN ? (user).n : NAME_SHOWN), (user).p

/* Ends the answer; `numbers` is taken over. Returns 0. */
__attribute__((format(printf, 3, 4))) static int said(struct call *c, json_t *numbers,
                                                      const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(c->said, sizeof c->said, fmt, ap);
    va_end(ap);
    answer_put(&c->answer, numbers, "text", answer_text(c->said));
    answer_done(&c->answer, numbers);
    return 0;
}

static json_t *numbers(struct call *c, const char *name, uint64_t n)
{
    json_t *o = json_object();

    answer_put(&c->answer, o, name, answer_number(n));
    return o;
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static const char *title(const struct call *c, uint32_t backend)
{
    return backends_title(c->backends, backend);
}

/* Nobody can be sent to a backend that the configuration does not have any more. */
static int must_be_configured(struct call *c, uint32_t backend, struct err *err)
{
    if (backends_is_stranger(c->backends, backend))
        return call_usage(c, err, "the configuration does not have backend %s any more",
                          title(c, backend));
    return 0;
}

static const struct conf_pool *pool_of(const struct call *c, uint32_t backend)
{
    return &c->backends->conf->pools[c->backends->all[backend].pool];
}

/* --- backends --------------------------------------------------------------------------------- */

static int set_state(struct call *c, enum backend_state state, const char *what, struct err *err)
{
    const uint32_t b = c->request.backend;
    struct operate_counts *counts;
    uint32_t sessions;
    int done = must_be_configured(c, b, err);

    if (done < 0)
        return -1;
    counts = call_counts(c, err);
    if (!counts)
        return -1;
    sessions = counts[b].sessions;
    free(counts);
    if (operate_backend(c->operate, b, state, err) < 0)
        return -1;
    return said(c, numbers(c, "sessions", sessions), "%s %s; it has %u session%s", title(c, b),
                what, sessions, plural(sessions));
}

int admin_backend_up(struct call *c, struct err *err)
{
    return set_state(c, BACKEND_UP, "serves", err);
}

int admin_backend_drain(struct call *c, struct err *err)
{
    return set_state(c, BACKEND_DRAIN, "takes no new users", err);
}

int admin_backend_down(struct call *c, struct err *err)
{
    return set_state(c, BACKEND_DOWN, "is down", err);
}

/* --- users ------------------------------------------------------------------------------------ */

int admin_pin(struct call *c, struct err *err)
{
    const struct request *r = &c->request;

    if (must_be_configured(c, r->backend, err) < 0 ||
        operate_pin(c->operate, r->user, r->backend, err) < 0)
        return -1;
    return said(c, numbers(c, "users", 1), "%.*s is pinned to %s", SHOW(r->user),
                title(c, r->backend));
}

int admin_unpin(struct call *c, struct err *err)
{
    const struct request *r = &c->request;

    if (operate_pin(c->operate, r->user, BACKEND_NONE, err) < 0)
        return -1;
    return said(c, numbers(c, "users", 1), "%.*s has no pin", SHOW(r->user));
}

int admin_place(struct call *c, struct err *err)
{
    const struct request *r = &c->request;

    if (must_be_configured(c, r->backend, err) < 0 ||
        operate_place(c->operate, r->user, r->backend, err) < 0)
        return -1;
    return said(c, numbers(c, "users", 1), "%.*s is placed on %s, in pool %s", SHOW(r->user),
                title(c, r->backend), pool_of(c, r->backend)->title);
}

int admin_hold(struct call *c, struct err *err)
{
    const struct request *r = &c->request;

    if (operate_hold(c->operate, r->user, true, c->now_ms, err) < 0)
        return -1;
    return said(c, numbers(c, "users", 1), "logins of %.*s wait", SHOW(r->user));
}

int admin_release(struct call *c, struct err *err)
{
    const struct request *r = &c->request;

    if (operate_hold(c->operate, r->user, false, c->now_ms, err) < 0)
        return -1;
    return said(c, numbers(c, "users", 1), "logins of %.*s are served", SHOW(r->user));
}

/* --- moves ------------------------------------------------------------------------------------ */

static uint32_t rate_of(const struct request *r)
{
    return r->rate ? r->rate : CALL_RATE;
}

static int move_one(struct call *c, struct err *err)
{
    const struct request *r = &c->request;

    if (must_be_configured(c, r->backend, err) < 0 ||
        operate_move(c->operate, r->user, r->backend, c->now_ms, err) < 0)
        return -1;
    return said(c, numbers(c, "users", 1), "the move of %.*s to %s has begun", SHOW(r->user),
                title(c, r->backend));
}

static int move_all(struct call *c, struct err *err)
{
    const struct request *r = &c->request;
    size_t n;

    if (r->from == r->to)
        return call_usage(c, err, "from and to are the same backend");
    if (must_be_configured(c, r->to, err) < 0 ||
        operate_move_all(c->operate, r->from, r->to, rate_of(r), c->now_ms, &n, err) < 0)
        return -1;
    return said(c, numbers(c, "users", n), "%zu user%s of %s will be moved to %s, %u a second", n,
                plural(n), title(c, r->from), title(c, r->to), rate_of(r));
}

int admin_move(struct call *c, struct err *err)
{
    const struct request *r = &c->request;
    const bool is_one = r->user.n > 0 || r->backend != BACKEND_NONE;
    const bool is_all = r->from != BACKEND_NONE || r->to != BACKEND_NONE;

    if (is_one && !is_all && r->user.n > 0 && r->backend != BACKEND_NONE && r->rate == 0)
        return move_one(c, err);
    if (is_all && !is_one && r->from != BACKEND_NONE && r->to != BACKEND_NONE)
        return move_all(c, err);
    return call_usage(c, err,
                      "move wants a user and a backend; or from and to, and may have a rate then");
}

/* --- kicks and flushes ------------------------------------------------------------------------ */

static int kick_user(struct call *c)
{
    const size_t n = operate_kick_user(c->operate, c->request.user);

    return said(c, numbers(c, "sessions", n), "told %zu session%s of %.*s to end", n, plural(n),
                SHOW(c->request.user));
}

static int kick_session(struct call *c, struct err *err)
{
    const struct operate_key key = c->request.session;

    if (!operate_kick_session(c->operate, key))
        return err_set(err, ENOENT, "there is no session %u.%u (any more)", key.instance, key.id);
    return said(c, numbers(c, "sessions", 1), "told session %u.%u to end", key.instance, key.id);
}

static int kick_all(struct call *c, struct err *err)
{
    const struct request *r = &c->request;
    size_t n;

    if (operate_kick_all(c->operate, r->backend, rate_of(r), c->now_ms, &n, err) < 0)
        return -1;
    return said(c, numbers(c, "users", n),
                "the sessions of %zu user%s of %s will be told to end, %u users a second", n,
                plural(n), title(c, r->backend), rate_of(r));
}

int admin_kick(struct call *c, struct err *err)
{
    const struct request *r = &c->request;
    const bool has_backend = r->backend != BACKEND_NONE;

    if ((r->user.n > 0) + r->has_session + has_backend != 1)
        return call_usage(c, err, "kick wants one of these: a user, a session, a backend");
    if (r->rate && !has_backend)
        return call_usage(c, err, "kick takes a rate only with a backend");
    if (has_backend)
        return kick_all(c, err);
    return r->has_session ? kick_session(c, err) : kick_user(c);
}

int admin_flush(struct call *c, struct err *err)
{
    const struct request *r = &c->request;
    const bool has_backend = r->backend != BACKEND_NONE;
    size_t n;

    if ((r->user.n > 0) + has_backend != 1)
        return call_usage(c, err, "flush wants a user or a backend, and not both");
    if (has_backend && !backends_is_stranger(c->backends, r->backend) &&
        pool_of(c, r->backend)->storage == STORAGE_OWN)
        return call_usage(c, err,
                          "pool %s has storage = own: where its users are is recorded, not "
                          "remembered; see place and move",
                          pool_of(c, r->backend)->title);
    n = has_backend ? operate_flush_backend(c->operate, r->backend)
                    : operate_flush_user(c->operate, r->user);
    if (has_backend)
        return said(c, numbers(c, "users", n), "forgot %zu user%s of %s", n, plural(n),
                    title(c, r->backend));
    return said(c, numbers(c, "users", n),
                n ? "forgot where %.*s was" : "nothing was remembered of %.*s", SHOW(r->user));
}

/* How much there was lookup knows, and is not waited for. */
int admin_directory_flush(struct call *c, struct err *err)
{
    const struct request *r = &c->request;

    if (c->backends->conf->directories_n == 0)
        return call_usage(c, err, "the configuration has no directory");
    operate_flush_facts(c->operate, r->user);
    if (r->user.n == 0)
        return said(c, json_object(), "what directories have said is forgotten");
    return said(c, json_object(), "what directories have said of %.*s is forgotten", SHOW(r->user));
}

int admin_penalties_clear(struct call *c, struct err *err)
{
    const struct request *r = &c->request;
    const bool has_user = r->user.n > 0;
    const struct slice user = has_user ? r->user : SLICE("");
    char address[INET6_ADDRSTRLEN] = "";

    if (!has_user && !r->has_client)
        return call_usage(c, err, "penalties clear wants a user, an address, or both");
    operate_clear_penalties(c->operate, has_user ? &r->user : NULL,
                            r->has_client ? &r->client : NULL);
    if (r->has_client)
        network_format(&r->client, address);
    return said(c, json_object(), "forgot the failed logins%s%.*s%s%s", has_user ? " of " : "",
                SHOW(user), r->has_client ? " from " : "", address);
}
