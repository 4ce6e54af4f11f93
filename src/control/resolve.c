/* When to ask for which backend's addresses, and what an answer changes. The question's number is
 * the backend's: each has at most one open. */
#include "control/resolve.h"

#include <string.h>

static void ask(struct resolve *r, uint32_t number, uint64_t now_ms)
{
    struct backend *b = &r->backends->all[number];

    b->is_asked = true;
    b->due_ms = now_ms + RESOLVE_PATIENCE_MS;
    r->effects->ask(r->arg, number, b->host, b->port);
}

static bool is_name(const struct backend *b)
{
    return b->due_ms != 0;
}

void resolve_start(struct resolve *r, uint64_t now_ms)
{
    for (uint32_t i = 0; i < r->backends->n; i++) {
        if (r->backends->all[i].addresses_n == 0)
            ask(r, i, now_ms);
    }
}

void resolve_repeat(struct resolve *r, uint64_t now_ms)
{
    for (uint32_t i = 0; i < r->backends->n; i++) {
        if (r->backends->all[i].is_asked)
            ask(r, i, now_ms);
    }
}

uint64_t resolve_due_ms(const struct resolve *r)
{
    uint64_t due = 0;

    for (uint32_t i = 0; i < r->backends->n; i++) {
        const struct backend *b = &r->backends->all[i];

        if (is_name(b) && (due == 0 || b->due_ms < due))
            due = b->due_ms;
    }
    return due;
}

static void fail(struct resolve *r, uint32_t number, struct slice detail, uint64_t now_ms)
{
    struct backend *b = &r->backends->all[number];
    bool is_first = !b->has_failed;

    b->is_asked = false;
    b->has_failed = true;
    b->due_ms = now_ms + RESOLVE_RETRY_MS;
    if (is_first)
        r->effects->failed(r->arg, number, detail);
}

void resolve_step(struct resolve *r, uint64_t now_ms)
{
    for (uint32_t i = 0; i < r->backends->n; i++) {
        struct backend *b = &r->backends->all[i];

        if (!is_name(b) || b->due_ms > now_ms)
            continue;
        if (b->is_asked)
            fail(r, i, SLICE("no answer"), now_ms);
        else
            ask(r, i, now_ms);
    }
}

static bool addr_eq(const struct addr *a, const struct addr *b)
{
    return addr_len(a) == addr_len(b) && memcmp(a, b, addr_len(a)) == 0;
}

static bool has_address(const struct addr *all, size_t n, const struct addr *one)
{
    for (size_t i = 0; i < n; i++) {
        if (addr_eq(&all[i], one))
            return true;
    }
    return false;
}

/* As sets: name servers rotate their answers. */
static bool is_same(const struct backend *b, const struct addr *addresses, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!has_address(b->addresses, b->addresses_n, &addresses[i]))
            return false;
    }
    for (size_t i = 0; i < b->addresses_n; i++) {
        if (!has_address(addresses, n, &b->addresses[i]))
            return false;
    }
    return true;
}

/* Copies what is an address, with the backend's port. */
static size_t take_addresses(const struct backend *b, const struct msg_resolved *answer,
                             struct addr out[IPC_ADDRESSES_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < answer->addresses_n && i < IPC_ADDRESSES_MAX; i++) {
        sa_family_t family = answer->addresses[i].sa.sa_family;

        if (family != AF_INET && family != AF_INET6)
            continue;
        out[n] = answer->addresses[i];
        addr_set_port(&out[n], b->port);
        n++;
    }
    return n;
}

void resolve_answer(struct resolve *r, uint32_t question, const struct msg_resolved *answer,
                    struct slice detail, uint64_t now_ms)
{
    struct addr addresses[IPC_ADDRESSES_MAX] = {0};
    struct backend *b;
    uint32_t ttl_s = answer->ttl_s;
    bool is_news;
    size_t n;

    if (question >= r->backends->n || !r->backends->all[question].is_asked)
        return;
    b = &r->backends->all[question];
    n = take_addresses(b, answer, addresses);
    if (n == 0) {
        fail(r, question, detail.n ? detail : SLICE("no addresses"), now_ms);
        return;
    }
    ttl_s = ttl_s < RESOLVE_TTL_MIN_S ? RESOLVE_TTL_MIN_S : ttl_s;
    ttl_s = ttl_s > RESOLVE_TTL_MAX_S ? RESOLVE_TTL_MAX_S : ttl_s;
    is_news = b->has_failed || !is_same(b, addresses, n);
    b->is_asked = false;
    b->has_failed = false;
    b->due_ms = now_ms + (uint64_t)ttl_s * 1000;
    memcpy(b->addresses, addresses, sizeof addresses);
    b->addresses_n = n;
    if (is_news)
        r->effects->changed(r->arg, question, ttl_s);
}
