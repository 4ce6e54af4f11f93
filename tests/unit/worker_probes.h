/* For tests of a worker's probes: ordering them, and what control is told. */
#ifndef USHER_TESTS_UNIT_WORKER_PROBES_H
#define USHER_TESTS_UNIT_WORKER_PROBES_H

#include "worker_world.h"

#include "worker/probe.h"

static struct peer backend;

#define HELLO "* OK [CAPABILITY IMAP4rev1] Hi\r\n"
#define LOGIN "check = login check_user = ann check_password = \"/password\" "

/* Before its first turn the loop has looked at nothing yet. */
static inline bool has_turned(void *arg)
{
    return (*(int *)arg)++ > 0;
}

static inline void turn_once(void)
{
    int turns = 0;

    assert_true(turns_until(has_turned, &turns));
}

static inline void order_probe_at(uint32_t id, const struct addr *addresses, size_t n)
{
    struct msg_probe order = {.addresses_n = (uint32_t)n};

    memcpy(order.addresses, addresses, n * sizeof *addresses);
    send_msg(&world.control, MSG_PROBE, id, &order, SLICE(""), -1);
}

static inline void order_probe(uint32_t id)
{
    order_probe_at(id, &world.backend, 1);
}

static inline struct msg hears_probed(uint32_t id)
{
    return control_hears_of(id, MSG_PROBED);
}

static inline void assert_probed(const struct msg *m, bool is_ok, enum fault fault,
                                 const char *words)
{
    const struct msg_probed *how = m->body;

    if (!slice_eq(m->tail, slice_str(words)))
        fail_msg("\"%.*s\" is not \"%s\"", SLICE_ARG(m->tail), words);
    assert_int_equal(how->is_ok, is_ok);
    assert_int_equal(how->fault, fault);
}

static inline void assert_good(uint32_t id)
{
    struct msg m = hears_probed(id);

    assert_probed(&m, true, FAULT_BACKEND, "");
}

static inline void assert_bad(uint32_t id, enum fault fault, const char *words)
{
    struct msg m = hears_probed(id);

    assert_probed(&m, false, fault, words);
}

static inline uint64_t count_of(enum metric metric)
{
    return world.child.counters->values[metric];
}

/* Nothing is left of any probe; the worker ends. */
static inline void all_done(void)
{
    assert_int_equal(the_worker()->probes_n, 0);
    assert_int_equal(the_worker()->probe_descriptors, 0);
    assert_true(list_empty(&the_worker()->probes));
    peer_close(&backend);
    finish();
}

#endif
