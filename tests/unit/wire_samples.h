/* One message of each type, with a value of its own in every member, for tests/unit/test_wire.c. */
#ifndef USHER_TESTS_WIRE_SAMPLES_H
#define USHER_TESTS_WIRE_SAMPLES_H

#include "ipc/message.h"
#include "wire_record.h"

#include <arpa/inet.h>

struct sample {
    enum msg_type type;
    void (*fill)(struct sample *s); /* NULL: it has no body */
    const char *tail;
    uint32_t id;
    _Alignas(8) char body[512];
    struct record members; /* of the body; its bytes are not used */
};

/* Sets a member of `b`, the body, and notes where it is. All members, in order. */
#define PUT(member, value) PUT_AS(#member, member, value)
#define PUT_AS(name, member, value) \
    (b->member = (value), put(s, name, (const char *)&b->member - s->body, sizeof b->member))
#define BODY(type) struct type *b = (void *)s->body

static inline void put(struct sample *s, const char *name, ptrdiff_t at, size_t n)
{
    const struct member *last = &s->members.members[s->members.members_n];

    record_member(&s->members, name, n);
    if (last->at != (size_t)at) {
        fprintf(stderr, "%s: a member before %s is missing in tests/unit/wire_samples.h\n",
                msg_type_name(s->type), name);
        abort();
    }
}

static inline struct addr address(const char *ip, uint16_t port)
{
    struct addr a = {0};

    INSIST(addr_parse_ip(slice_str(ip), port, &a));
    return a;
}

/* Two, and room for as many as there may be. */
#define PUT_ADDRESSES()                                       \
    do {                                                      \
        for (size_t i = 0; i < IPC_ADDRESSES_MAX; i++) {      \
            char name[24];                                    \
                                                              \
            snprintf(name, sizeof name, "addresses[%zu]", i); \
            PUT_AS(name, addresses[i],                        \
                   i == 0   ? address("192.0.2.25", 10143)    \
                   : i == 1 ? address("2001:db8::25", 10144)  \
                            : (struct addr){0});              \
        }                                                     \
    } while (0)

/* --- parent and children --------------------------------------------------------------------- */

static void fill_hello(struct sample *s)
{
    BODY(msg_hello);
    PUT(magic, IPC_MAGIC);
    PUT(version, 1);
    PUT(oldest, 1);
    PUT(role, ROLE_WORKER);
    PUT(slot, 3);
    PUT(reserved, 0);
    PUT(instance, 4);
    PUT(epoch, 5);
    PUT(reserved2, 0);
}

static void fill_shared(struct sample *s)
{
    BODY(msg_shared);
    PUT(which, SHARED_KNOWN);
    PUT(reserved, 0);
}

static void fill_tickets(struct sample *s)
{
    static const char *const names[] = {"keys[0]", "keys[1]", "keys[2]"};
    BODY(msg_tickets);

    PUT(lifetime_s, 7200);
    PUT(reserved, 0);
    for (size_t i = 0; i < TICKET_KEYS; i++) {
        memset(b->keys[i], (int)(0xa0 + i), sizeof b->keys[i]);
        PUT_AS(names[i], keys[i][0], (unsigned char)(i + 1));
        s->members.members[s->members.members_n - 1].n = sizeof b->keys[i];
    }
}

static void fill_start(struct sample *s)
{
    BODY(msg_start);
    PUT(instance, 17);
    PUT(slot, 3);
}

static void fill_listener(struct sample *s)
{
    BODY(msg_listener);
    PUT(listener, 2);
    PUT(reserved, 0);
}

static void fill_peer(struct sample *s)
{
    BODY(msg_peer);
    PUT(role, ROLE_WORKER);
    PUT(slot, 3);
    PUT(flags, PEER_RETIRED);
    PUT(instance, 17);
    PUT(generation, 6);
    PUT(pid, 4711);
    PUT(started_s, 1767225600);
}

static void fill_begin(struct sample *s)
{
    BODY(msg_begin);
    PUT(epoch, 5);
    PUT(peers, 4);
}

static void fill_retire(struct sample *s)
{
    BODY(msg_retire);
    PUT(limit_ms, 86400000);
    PUT(reserved, 0);
}

static void fill_changed(struct sample *s)
{
    BODY(msg_changed);
    PUT(status, CHANGE_REFUSED);
    PUT(generation, 6);
}

static void fill_rejoin(struct sample *s)
{
    BODY(msg_rejoin);
    PUT(role, ROLE_LOOKUP);
    PUT(reserved[0], 0);
    PUT(reserved[1], 0);
    PUT(reserved[2], 0);
}

static void fill_stuck(struct sample *s)
{
    BODY(msg_stuck);
    PUT(instance, 17);
    PUT(reserved, 0);
}

static void fill_change(struct sample *s)
{
    BODY(msg_change);
    PUT(what, CHANGE_UPGRADE);
    PUT(reserved, 0);
}

/* --- who prepares a change ------------------------------------------------------------------- */

static void fill_told(struct sample *s)
{
    BODY(msg_told);
    PUT(is_mistake, 1);
    PUT(reserved, 0);
}

static void fill_port(struct sample *s)
{
    BODY(msg_port);
    PUT(addr, address("2001:db8::1", 993));
    PUT(listener, 2);
}

static void fill_prepared(struct sample *s)
{
    BODY(msg_prepared);
    PUT(is_good, 1);
    PUT(workers_n, 8);
    PUT(changes_n, 3);
    PUT(files_n, 2);
    PUT(door, DOOR_NONE);
    PUT(reserved, 0);
}

/* --- worker and control ---------------------------------------------------------------------- */

static void fill_name(struct sample *s)
{
    BODY(msg_name);
    PUT(meaning, 0x1122334455667788);
    PUT(index, 5);
    PUT(kind, NAME_BACKEND);
    PUT(pool, 1);
}

static void fill_open(struct sample *s)
{
    BODY(msg_open);
    PUT(client, address("2001:db8::7", 51234));
    PUT(listener, 2);
}

static void fill_admit(struct sample *s)
{
    BODY(msg_admit);
    PUT(client, address("192.0.2.7", 51234));
    PUT(mech, MECH_SASL_LOGIN);
}

static void fill_result(struct sample *s)
{
    BODY(msg_result);
    PUT(lease.epoch, 5);
    PUT(lease.number, 99);
    PUT(result, RESULT_FAILED);
    PUT(fault, FAULT_OURS);
}

static void fill_end(struct sample *s)
{
    BODY(msg_end);
    PUT(in, 0x100000001);
    PUT(out, 0x200000002);
    PUT(duration_ms, 60000);
    PUT(reason, 8);
    PUT(is_sent, 1);
}

static void fill_replay(struct sample *s)
{
    BODY(msg_replay);
    PUT(lease.epoch, 5);
    PUT(lease.number, 99);
    PUT(client, address("192.0.2.7", 51234));
    PUT(listener, 2);
    PUT(pool, 1);
    PUT(backend, 6);
    PUT(stage, REPLAY_RELAY);
    PUT(attempt, 3);
    PUT(flags, LEASE_VERIFY);
}

static void fill_probed(struct sample *s)
{
    BODY(msg_probed);
    PUT(is_ok, 0);
    PUT(fault, FAULT_OURS);
    PUT(duration_ms, 1500);
    PUT(reserved, 0);
}

static void fill_lease(struct sample *s)
{
    BODY(msg_lease);
    PUT(lease.epoch, 5);
    PUT(lease.number, 99);
    PUT(pool, 1);
    PUT(backend, 6);
    PUT(attempt, 3);
    PUT(addresses_n, 2);
    PUT(flags, LEASE_IS_TRIAL);
    PUT(name_n, 15);
    PUT(reserved, 0);
    PUT_ADDRESSES();
}

static void fill_refuse(struct sample *s)
{
    BODY(msg_refuse);
    PUT(code, REFUSE_DISABLED);
    PUT(told_n, 11);
}

static void fill_kick(struct sample *s)
{
    BODY(msg_kick);
    PUT(why, KICK_DOWN);
    PUT(reserved, 0);
}

static void fill_probe(struct sample *s)
{
    BODY(msg_probe);
    PUT(pool, 1);
    PUT(backend, 6);
    PUT(addresses_n, 2);
    PUT_ADDRESSES();
}

/* --- lookup ---------------------------------------------------------------------------------- */

static void fill_resolve(struct sample *s)
{
    BODY(msg_resolve);
    PUT(port, 10143);
    PUT(reserved[0], 0);
    PUT(reserved[1], 0);
    PUT(reserved[2], 0);
}

static void fill_resolved(struct sample *s)
{
    BODY(msg_resolved);
    PUT(ttl_s, 300);
    PUT(addresses_n, 2);
    PUT_ADDRESSES();
}

static void fill_ask_facts(struct sample *s)
{
    BODY(msg_ask_facts);
    PUT(is_fresh, 1);
    PUT(reserved, 0);
}

static void fill_facts(struct sample *s)
{
    BODY(msg_facts);
    PUT(status, FACTS_UNAVAILABLE);
    PUT(directory_n, 6);
    PUT(age_ms, 2500);
}

static void fill_flushed(struct sample *s)
{
    BODY(msg_flushed);
    PUT(n, 12);
    PUT(reserved, 0);
}

static void fill_verify(struct sample *s)
{
    BODY(msg_verify);
    PUT(name_n, 3);
    PUT(reserved, 0);
    PUT(question, 77);
}

static void fill_verified(struct sample *s)
{
    BODY(msg_verified);
    PUT(verified, VERIFIED_UNAVAILABLE);
    PUT(user_n, 6);
    PUT(password_n, 8);
    PUT(is_replaced, 1);
    PUT(is_master, 1);
    PUT(question, 77);
    PUT(told_n, 5);
    PUT(reserved, 0);
}

/* The first goes over the wire before all others. */
static const struct sample samples[] = {
    {.type = MSG_HELLO, .fill = fill_hello},
    {.type = MSG_CONF},
    {.type = MSG_COUNTERS},
    {.type = MSG_SHARED, .fill = fill_shared},
    {.type = MSG_TICKETS, .fill = fill_tickets},
    {.type = MSG_FILE, .tail = "/etc/usher/tls/key.pem"},
    {.type = MSG_DOOR, .tail = "/run/usher/ctl"},
    {.type = MSG_START, .fill = fill_start},
    {.type = MSG_LISTENER, .fill = fill_listener},
    {.type = MSG_PEER, .fill = fill_peer, .tail = "0.2.0"},
    {.type = MSG_NOTES},
    {.type = MSG_BEGIN, .fill = fill_begin},
    {.type = MSG_RENEW},
    {.type = MSG_RETIRE, .fill = fill_retire},
    {.type = MSG_STOP},
    {.type = MSG_CHANGED, .fill = fill_changed, .tail = "line 7: unknown setting"},
    {.type = MSG_READY},
    {.type = MSG_REJOIN, .fill = fill_rejoin},
    {.type = MSG_ALIVE},
    {.type = MSG_STUCK, .fill = fill_stuck},
    {.type = MSG_CHANGE, .fill = fill_change},
    {.type = MSG_BEGUN},
    {.type = MSG_STATE},
    {.type = MSG_RULES},
    {.type = MSG_PORT, .fill = fill_port},
    {.type = MSG_SOCKET},
    {.type = MSG_TOLD, .fill = fill_told, .tail = "workers: 4 -> 8"},
    {.type = MSG_PREPARED, .fill = fill_prepared, .tail = "0.2.0"},
    {.type = MSG_NAME, .fill = fill_name, .tail = "mail1"},
    {.type = MSG_OPEN, .fill = fill_open},
    {.type = MSG_ADMIT, .fill = fill_admit, .tail = "ann@example.org"},
    {.type = MSG_RESULT, .fill = fill_result},
    {.type = MSG_END, .fill = fill_end},
    {.type = MSG_REPLAY, .fill = fill_replay, .tail = "ann@example.org"},
    {.type = MSG_REPLAYED},
    {.type = MSG_PROBED, .fill = fill_probed, .tail = "connect: no route to host"},
    {.type = MSG_GO},
    {.type = MSG_LEASE, .fill = fill_lease, .tail = "ann@example.organn"},
    {.type = MSG_DONE},
    {.type = MSG_REFUSE, .fill = fill_refuse, .tail = "the user is disabledPlease call"},
    {.type = MSG_KICK, .fill = fill_kick},
    {.type = MSG_PROBE, .fill = fill_probe},
    {.type = MSG_RESOLVE, .fill = fill_resolve, .tail = "mail1.example.org"},
    {.type = MSG_RESOLVED, .fill = fill_resolved, .tail = "no such name"},
    {.type = MSG_ASK_FACTS, .fill = fill_ask_facts, .tail = "ann@example.org"},
    {.type = MSG_FACTS, .fill = fill_facts, .tail = "peopleno answer"},
    {.type = MSG_FLUSH_FACTS, .tail = "ann@example.org"},
    {.type = MSG_FLUSHED, .fill = fill_flushed},
    {.type = MSG_VERIFY, .fill = fill_verify, .tail = "annsecret"},
    {.type = MSG_VERIFIED, .fill = fill_verified, .tail = "masterpasswordann.bno answer"},
};

enum { SAMPLES = sizeof samples / sizeof *samples };

/* Filled in. A new member at the end of a body shows here as one that the samples do not have. */
static inline struct sample *sample_new(size_t i)
{
    struct sample *s = malloc(sizeof *s);
    size_t n = 0;

    INSIST(s != NULL);
    *s = samples[i];
    s->id = s->type == MSG_HELLO ? 0 : 0x10000 + s->type; /* HELLO is no session's */
    if (s->fill)
        s->fill(s);
    for (size_t k = 0; k < s->members.members_n; k++)
        n += s->members.members[k].n;
    if (n != msg_body_size(s->type)) {
        fprintf(stderr, "%s: the last member is missing in tests/unit/wire_samples.h\n",
                msg_type_name(s->type));
        abort();
    }
    return s;
}

#endif
