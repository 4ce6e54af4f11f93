/* When which backend is probed, and by whom: control/probes.h, with admission behind it as in
 * control.
 */
#include "admission_world.h"

#include "control/probes.h"

static struct probes probes;
static uint32_t orders[64], orders_n, answering;
static struct msg_probe last_order;
static unsigned failed;
static bool was_tried[32]; /* backends */
static bool has_workers;

static uint32_t on_order(void *arg, uint32_t number, const struct msg_probe *probe)
{
    assert_ptr_equal(arg, &probes);
    if (!has_workers)
        return 0;
    orders[orders_n++ % 64] = number;
    last_order = *probe;
    was_tried[backends_at(&backends, probe->pool, probe->backend)] = true;
    return answering;
}

static void on_failed(void *arg, uint32_t backend, struct slice detail)
{
    (void)arg;
    failed++;
    was_tried[backend] = true;
    admission_probed(admission, backend, false, detail, now_ms);
}

static const struct probes_effects probes_effects = {.order = on_order, .failed = on_failed};

static int setup_probes(void **state)
{
    if (setup(state) < 0)
        return -1;
    probes = (struct probes){.backends = &backends, .effects = &probes_effects, .arg = &probes};
    orders_n = failed = 0;
    memset(was_tried, 0, sizeof was_tried);
    has_workers = true;
    answering = FIRST_INSTANCE;
    return 0;
}

/* To the next time that something is due, and does it. */
static void step(void)
{
    uint64_t due_ms = probes_due_ms(&probes);

    assert_true(due_ms != 0);
    now_ms = due_ms > now_ms ? due_ms : now_ms;
    probes_step(&probes, now_ms);
}

static void test_each_backend_is_probed_within_its_first_interval(void **state)
{
    unsigned steps = 0;
    uint64_t end_ms = now_ms + conf->pools[OWN].check_interval;

    (void)state;
    while (probes_due_ms(&probes) <= end_ms) {
        step();
        steps++;
    }
    for (size_t i = 0; i < backends.n; i++)
        assert_true(was_tried[i]);
    assert_true(failed >= 3); /* those whose names are not known */
    assert_true(steps > 3);   /* not all at once */
}

static void test_an_order_says_which_backend_and_where(void **state)
{
    uint32_t b;

    (void)state;
    while (orders_n == 0)
        step();
    b = backends_at(&backends, last_order.pool, last_order.backend);
    assert_int_equal(last_order.addresses_n, 1);
    assert_memory_equal(&last_order.addresses[0], &backends.all[b].addresses[0],
                        sizeof(struct addr));
    assert_int_equal(probes_answer(&probes, orders[0], answering), b);
}

static void test_a_backend_has_one_probe_at_a_time(void **state)
{
    uint32_t b;

    (void)state;
    while (orders_n == 0)
        step();
    b = backends_at(&backends, last_order.pool, last_order.backend);
    assert_int_equal(backends.all[b].health.due_ms, 0);
    probes_step(&probes, now_ms);
    assert_int_equal(orders_n, 1);
}

static void test_an_answer_counts_once_and_only_from_who_was_ordered(void **state)
{
    uint32_t b;

    (void)state;
    while (orders_n == 0)
        step();
    b = backends_at(&backends, last_order.pool, last_order.backend);
    assert_int_equal(probes_answer(&probes, orders[0], answering + 1), BACKEND_NONE);
    assert_int_equal(probes_answer(&probes, orders[0] + 1, answering), BACKEND_NONE);
    assert_int_equal(probes_answer(&probes, 0, answering), BACKEND_NONE);
    assert_int_equal(probes_answer(&probes, 0, 0), BACKEND_NONE);
    assert_int_equal(probes_answer(&probes, orders[0], answering), b);
    assert_int_equal(probes_answer(&probes, orders[0], answering), BACKEND_NONE);
}

static void test_a_probe_that_nobody_answers_says_nothing(void **state)
{
    uint64_t ordered_ms;
    uint32_t b;

    (void)state;
    while (orders_n == 0)
        step();
    ordered_ms = now_ms;
    b = backends_at(&backends, last_order.pool, last_order.backend);
    while (now_ms < ordered_ms + conf->pools[OWN].check_timeout + PROBES_PATIENCE_MS) {
        assert_int_not_equal(backends.all[b].probe, 0);
        step();
    }
    assert_int_equal(now_ms, ordered_ms + conf->pools[OWN].check_timeout + PROBES_PATIENCE_MS);
    assert_int_equal(backends.all[b].probe, 0);
    assert_int_equal(backends.all[b].health.state, HEALTH_UP);
    assert_true(backends.all[b].health.due_ms > now_ms);
    assert_true(backends.all[b].health.due_ms < now_ms + conf->pools[OWN].check_interval / 2);
    assert_int_equal(probes_answer(&probes, orders[0], answering), BACKEND_NONE);
}

static void test_without_a_worker_nothing_is_said_of_any_backend(void **state)
{
    (void)state;
    has_workers = false;
    for (unsigned i = 0; i < 100; i++)
        step();
    assert_int_equal(orders_n, 0);
    assert_int_equal(backend_at("o1")->health.state, HEALTH_UP);
    assert_int_equal(backend_at("o1")->probe, 0);
}

static void test_a_backend_whose_name_has_no_address_has_failed(void **state)
{
    (void)state;
    while (backend_at("p1")->health.state != HEALTH_DOWN) {
        uint32_t before = orders_n;

        step();
        if (orders_n > before)
            admission_probed(admission, probes_answer(&probes, orders[before % 64], answering),
                             true, SLICE(""), now_ms);
    }
    assert_non_null(strstr(told, "health p1 failing, was up: resolve: its name has no address\n"));
    assert_non_null(strstr(told, "health p1 down, was failing: resolve: its name has no"));
    assert_int_equal(backend_at("o1")->health.state, HEALTH_UP);
}

static void test_a_pool_without_check_is_never_probed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        uint32_t before = orders_n;

        step();
        if (orders_n == before)
            continue;
        assert_int_not_equal(last_order.pool, TINY + 1);
        admission_probed(admission, probes_answer(&probes, orders[before % 64], answering), true,
                         SLICE(""), now_ms);
    }
    assert_int_equal(backend_at("q1")->health.due_ms, 0);
}

static void test_numbers_of_orders_are_never_zero(void **state)
{
    (void)state;
    probes.last = UINT32_MAX - 1;
    while (orders_n < 3)
        step();
    assert_int_equal(orders[0], UINT32_MAX);
    assert_int_equal(orders[1], 1);
    assert_int_equal(orders[2], 2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup_probes, teardown)
#define OFF                                               \
    "listener quiet { address = \"*:6\" pool = quiet }\n" \
    "pool quiet { storage = shared check = off\n"         \
    "  backend q1 { address = \"192.0.2.71:10143\" } }\n"

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_each_backend_is_probed_within_its_first_interval),
        T(test_an_order_says_which_backend_and_where),
        T(test_a_backend_has_one_probe_at_a_time),
        T(test_an_answer_counts_once_and_only_from_who_was_ordered),
        T(test_a_probe_that_nobody_answers_says_nothing),
        T(test_without_a_worker_nothing_is_said_of_any_backend),
        T(test_a_backend_whose_name_has_no_address_has_failed),
        cmocka_unit_test_prestate_setup_teardown(test_a_pool_without_check_is_never_probed,
                                                 setup_probes, teardown, (void *)(uintptr_t)OFF),
        T(test_numbers_of_orders_are_never_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
