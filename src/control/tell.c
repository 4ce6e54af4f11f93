/* The lines of control/tell.h. When to write one is the caller's matter. */
#include "control/tell.h"

#include "base/log.h"
#include "control/network.h"

#include <stdio.h>

void tell_state_failed(const struct state *state, const struct err *why)
{
    struct log_line l;

    log_begin(&l, LOG_STATE_FAILED);
    log_str(&l, "file", state_path(state));
    log_str(&l, "detail", why->text);
    log_end(&l);
}

void tell_placed(struct slice user, const char *pool, const char *backend)
{
    struct log_line l;

    log_begin(&l, LOG_PLACED);
    log_slice(&l, "user", user);
    log_str(&l, "pool", pool);
    log_str(&l, "backend", backend);
    log_end(&l);
}

void tell_held(struct slice user, size_t waiting)
{
    struct log_line l;

    log_begin(&l, LOG_HELD);
    log_slice(&l, "user", user);
    log_uint(&l, "waiting", waiting);
    log_end(&l);
}

/* As packaging/fail2ban reads it: the address first, which nothing that a peer sent comes before.
 */
void tell_auth_failed(const struct auth_failed *failed)
{
    char address[INET6_ADDRSTRLEN];
    struct log_line l;

    log_begin(&l, LOG_AUTH_FAILED);
    log_str(&l, "address", network_format(&failed->client, address));
    log_slice(&l, "user", failed->user);
    log_uint(&l, "failures", failed->failures);
    log_uint(&l, "user_failures", failed->user_failures);
    log_end(&l);
}

void tell_recovered(uint32_t epoch, size_t sessions, size_t users)
{
    struct log_line l;

    log_begin(&l, LOG_CONTROL_RECOVERED);
    log_uint(&l, "epoch", epoch);
    log_uint(&l, "sessions", sessions);
    log_uint(&l, "users", users);
    log_end(&l);
}

void tell_resolved(const struct backend *b, uint32_t ttl_s)
{
    char list[IPC_ADDRESSES_MAX * ADDR_TEXT];
    size_t n = 0;
    struct log_line l;

    for (size_t i = 0; i < b->addresses_n; i++) {
        char text[ADDR_TEXT];

        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? "," : "",
                              addr_format(&b->addresses[i], text));
    }
    log_begin(&l, LOG_RESOLVED);
    log_str(&l, "backend", b->conf->title);
    log_slice(&l, "name", b->host);
    log_slice(&l, "addresses", slice_of(list, n));
    log_uint(&l, "ttl", ttl_s);
    log_end(&l);
}

void tell_unresolved(const struct backend *b, struct slice detail)
{
    struct log_line l;

    log_begin(&l, LOG_RESOLVE_FAILED);
    log_str(&l, "backend", b->conf->title);
    log_slice(&l, "name", b->host);
    log_slice(&l, "detail", detail);
    log_end(&l);
}

void tell_lost(enum shared_id which, const char *why)
{
    static const char *const names[SHARED_COUNT] = {"affinity", "failed logins", "known pairs"};
    struct log_line l;
    struct err what;

    err_set(&what, 0, "%s: %s", names[which], why);
    log_begin(&l, LOG_AFFINITY_LOST);
    log_str(&l, "detail", what.text);
    log_end(&l);
}

/* How well each does, so that a change for the worse can be told. */
static unsigned wellness(enum health_state state)
{
    static const uint8_t order[] = {
        [HEALTH_DOWN] = 0, [HEALTH_RECOVERING] = 1, [HEALTH_FAILING] = 2, [HEALTH_UP] = 3};

    return order[state];
}

void tell_health(const struct backends *b, uint32_t backend, enum health_state was,
                 uint64_t lasted_ms, struct slice detail)
{
    enum health_state is = (enum health_state)b->all[backend].health.state;
    bool is_worse = wellness(is) < wellness(was);
    struct log_line l;

    log_begin_at(&l, LOG_BACKEND_HEALTH, is_worse ? LEVEL_WARNING : LEVEL_NOTICE);
    log_str(&l, "backend", backends_title(b, backend));
    log_str(&l, "state", health_name(is));
    log_str(&l, "was", health_name(was));
    log_uint(&l, "since_ms", lasted_ms);
    log_slice(&l, "detail", detail);
    log_end(&l);
}

void tell_queued(const struct backend *b, size_t waiting, const char *limit)
{
    struct log_line l;

    log_begin(&l, LOG_QUEUED);
    log_str(&l, "backend", b->conf->title);
    log_uint(&l, "waiting", waiting);
    log_str(&l, "detail", limit);
    log_end(&l);
}

void tell_returning(const struct backend *b, size_t users, uint32_t rate)
{
    struct log_line l;

    log_begin(&l, LOG_RETURNING);
    log_str(&l, "backend", b->conf->title);
    log_uint(&l, "users", users);
    log_uint(&l, "rate", rate);
    log_end(&l);
}

void tell_notes_taken(const struct succession_sum *sum)
{
    struct log_line l;

    log_begin(&l, LOG_NOTES_TAKEN);
    log_uint(&l, "backends", sum->backends);
    log_uint(&l, "moves", sum->moves);
    log_uint(&l, "waiting", sum->waiting);
    log_end(&l);
}

void tell_notes_lost(size_t lines, const char *why)
{
    struct log_line l;

    log_begin(&l, LOG_NOTES_LOST);
    if (lines > 0)
        log_uint(&l, "lines", lines);
    log_str(&l, "detail", why);
    log_end(&l);
}
