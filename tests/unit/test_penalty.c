/* The rules of penalties: what failed logins cost, whom, and for how long. */
#include "control/penalty.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { HALF_S = 600, HOUR_S = 3600, DAY_S = 24 * HOUR_S };

static struct conf_global conf;
static struct penalty penalty;
static uint64_t now_s;
static char why[PENALTY_WHY];

static struct shared *memory(void)
{
    struct shared *shared = NULL;
    const char *lost;
    struct err err;
    int fd = shared_create(&err);

    if (fd < 0 || shared_map(fd, &shared, &lost, &err) < 0)
        fail_msg("%s", err.text);
    close(fd);
    return shared;
}

static int setup(void **state)
{
    (void)state;
    now_s = 100;
    conf = (struct conf_global){.penalty_delay = 15000,
                                .penalty_refuse_address = 50,
                                .penalty_refuse_user = 100,
                                .penalty_decay = HALF_S * 1000};
    penalty = (struct penalty){.conf = &conf, .scores = memory(), .known = memory()};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shared_unmap(&penalty.scores);
    shared_unmap(&penalty.known);
    return 0;
}

static struct in6_addr client(const char *text)
{
    struct addr a;

    assert_true(addr_parse_ip(slice_str(text), 0, &a));
    return network_client(&a);
}

static struct penalty_who who(const char *user, const char *address)
{
    struct in6_addr from = client(address);
    struct penalty_who w = {.user = slice_str(user)};

    w.address = network_of(&from, network_is_ipv4(&from) ? 128 : 64);
    if (!network_is_ipv4(&from))
        w.site = network_of(&from, 48);
    return w;
}

static void fails(const char *user, const char *address, unsigned times)
{
    struct penalty_who w = who(user, address);

    for (unsigned i = 0; i < times; i++)
        penalty_failed(&penalty, &w, now_s);
}

static void is_good(const char *user, const char *address)
{
    struct penalty_who w = who(user, address);

    penalty_good(&penalty, &w, now_s);
}

static struct penalty_record record(const char *user, const char *address)
{
    struct penalty_who w = who(user, address);

    return penalty_look(&penalty, &w, now_s);
}

enum { REFUSED = -1 };

/* How long a login waits; 0: it passes. */
static int judge(const struct penalty_case *c, bool has_waited)
{
    unsigned step = 0;

    switch (penalty_judge(&penalty, c, has_waited, &step, why)) {
    case PENALTY_PASS:
        return 0;
    case PENALTY_WAIT:
        assert_true(step >= 1 && step <= PENALTY_STEPS);
        return (int)penalty_step_ms(&penalty, step);
    case PENALTY_REFUSE:
        assert_true(strlen(why) > 0);
        return REFUSED;
    }
    return 0;
}

static int comes(const char *user, const char *address)
{
    struct penalty_case c = {.record = record(user, address)};

    return judge(&c, false);
}

static int has_waited(const char *user, const char *address)
{
    struct penalty_case c = {.record = record(user, address)};

    return judge(&c, true);
}

/* --- counts -------------------------------------------------------------------------------- */

static void test_a_failure_counts_for_the_address_its_site_and_the_user(void **state)
{
    (void)state;
    fails("ann", "192.0.2.1", 1);
    fails("ann", "2001:db8:1:1::1", 2);
    fails("bob", "2001:db8:1:2::1", 1);
    assert_int_equal(record("", "192.0.2.1").address, 1);
    assert_int_equal(record("", "192.0.2.2").address, 0);
    assert_int_equal(record("", "2001:db8:1:1::99").address, 2);
    assert_int_equal(record("", "2001:db8:1:2::99").address, 1);
    assert_int_equal(record("", "2001:db8:1:99::").site, 3);
    assert_int_equal(record("", "2001:db8:2:1::").site, 0);
    assert_int_equal(record("ann", "192.0.2.9").user, 3);
    assert_int_equal(record("bob", "192.0.2.9").user, 1);
}

static void test_a_count_falls_to_its_half_in_each_decay(void **state)
{
    (void)state;
    fails("ann", "192.0.2.1", 40);
    assert_int_equal(record("ann", "192.0.2.1").user, 40);
    now_s += HALF_S;
    assert_int_equal(record("ann", "192.0.2.1").user, 20);
    now_s += HALF_S;
    assert_int_equal(record("ann", "192.0.2.1").address, 10);
    fails("ann", "192.0.2.1", 10);
    now_s += HALF_S;
    assert_int_equal(record("ann", "192.0.2.1").address, 10);
    now_s += 60 * HALF_S;
    assert_int_equal(record("ann", "192.0.2.1").address, 0);
}

static void test_between_the_halves_it_falls_smoothly(void **state)
{
    uint64_t start = now_s;

    (void)state;
    fails("ann", "192.0.2.1", 10000);
    for (uint64_t age = 0; age < 3 * HALF_S; age++) {
        double want = 10000 * exp2(-(double)age / HALF_S);

        now_s = start + age;
        if (fabs(record("ann", "192.0.2.1").user - want) > 1)
            fail_msg("after %u s: %u, not %.1f", (unsigned)age, record("ann", "192.0.2.1").user,
                     want);
    }
}

static void test_looking_and_adding_often_loses_nothing(void **state)
{
    (void)state;
    /* One in a second comes to 1 / (1 - 2 ^ (-1 / 600)) in the end. */
    for (unsigned i = 0; i < 20 * HALF_S; i++) {
        now_s++;
        fails("ann", "192.0.2.1", 1);
    }
    assert_in_range(record("ann", "192.0.2.1").user, 860, 870);
}

static void test_any_decay_that_can_be_set_works(void **state)
{
    (void)state;
    conf.penalty_decay = 1000;
    fails("ann", "192.0.2.1", 40);
    now_s += 1;
    assert_int_equal(record("ann", "192.0.2.1").user, 20);
    conf.penalty_decay = DAY_S * 1000;
    fails("bob", "192.0.2.2", 40);
    now_s += DAY_S;
    assert_int_equal(record("bob", "192.0.2.2").user, 20);
    conf.penalty_decay = 1500;
    fails("cid", "192.0.2.3", 40);
    now_s += 3;
    assert_int_equal(record("cid", "192.0.2.3").user, 10);
}

static void test_a_count_has_a_highest_value_and_stays_there(void **state)
{
    (void)state;
    fails("ann", "192.0.2.1", 66000);
    assert_int_equal(record("ann", "192.0.2.1").address, 65536);
    assert_int_equal(has_waited("ann", "192.0.2.1"), REFUSED);
}

static void test_letters_of_any_case_are_the_same_name(void **state)
{
    (void)state;
    fails("Ann@Example.org", "192.0.2.1", 2);
    assert_int_equal(record("aNN@eXAMPLE.ORG", "192.0.2.9").user, 2);
    assert_int_equal(record("ann@example.orG ", "192.0.2.9").user, 0);
}

static void test_without_memory_nothing_is_remembered(void **state)
{
    (void)state;
    shared_unmap(&penalty.scores);
    shared_unmap(&penalty.known);
    fails("ann", "192.0.2.1", 1000);
    is_good("ann", "192.0.2.1");
    assert_false(record("ann", "192.0.2.1").is_known);
    assert_int_equal(comes("ann", "192.0.2.1"), 0);
}

/* --- waiting ------------------------------------------------------------------------------- */

static void test_who_mistypes_thrice_waits_for_nothing_then_longer_and_longer(void **state)
{
    static const int want[] = {0, 0, 0, 1000, 2000, 4000, 8000, 15000, 15000, 15000};

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        assert_int_equal(comes("ann", "192.0.2.1"), want[i]);
        assert_int_equal(has_waited("ann", "192.0.2.1"), 0);
        fails("ann", "192.0.2.1", 1);
    }
    assert_int_equal(comes("bob", "192.0.2.1"), 15000);
    assert_int_equal(comes("bob", "192.0.2.2"), 0);
}

static void test_a_user_who_fails_from_many_places_waits_from_ten_on(void **state)
{
    static const int want[] = {0, 1000, 2000, 4000, 8000, 15000, 15000};

    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        char address[32];

        snprintf(address, sizeof address, "192.0.2.%u", i);
        fails("ann", address, 1);
        assert_int_equal(comes("ann", "192.0.2.99"), 0);
    }
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        assert_int_equal(comes("ann", "198.51.100.1"), want[i]);
        fails("ann", "203.0.113.1", 1);
    }
    assert_int_equal(comes("bob", "198.51.100.1"), 0);
}

static void test_a_site_waits_as_an_address_with_an_eighth_of_its_failures(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 24; i++) {
        char address[32];

        assert_int_equal(comes("ann", "2001:db8:1:ffff::"), 0);
        snprintf(address, sizeof address, "2001:db8:1:%x::1", i);
        snprintf(why, sizeof why, "user%u", i);
        fails(why, address, 1);
    }
    assert_int_equal(comes("ann", "2001:db8:1:ffff::"), 1000);
    assert_int_equal(comes("ann", "2001:db8:2:ffff::"), 0);
}

static void test_attempts_at_once_get_no_further_than_in_a_row(void **state)
{
    struct penalty_case c = {0};

    (void)state;
    c.address.trying = 2;
    assert_int_equal(judge(&c, false), 0);
    c.address.waiting = 1;
    assert_int_equal(judge(&c, false), 1000);
    c.address.trying = 3;
    assert_int_equal(judge(&c, false), 2000);
    c = (struct penalty_case){.user = {.trying = 8, .waiting = 3}};
    assert_int_equal(judge(&c, false), 2000);
    c = (struct penalty_case){.site = {.trying = 24, .waiting = 8}};
    assert_int_equal(judge(&c, false), 2000);
}

static void test_steps_end_with_penalty_delay(void **state)
{
    (void)state;
    fails("ann", "192.0.2.1", 20);
    conf.penalty_delay = 500;
    assert_int_equal(comes("ann", "192.0.2.1"), 500);
    conf.penalty_delay = 1000;
    assert_int_equal(comes("ann", "192.0.2.1"), 1000);
    conf.penalty_delay = 1001;
    assert_int_equal(comes("ann", "192.0.2.1"), 1001);
    conf.penalty_delay = 300000;
    assert_int_equal(comes("ann", "192.0.2.1"), 300000);
    for (unsigned step = 1; step < PENALTY_STEPS; step++)
        assert_int_equal(penalty_step_ms(&penalty, step), 1000U << (step - 1));
}

static void test_without_a_delay_nobody_waits(void **state)
{
    (void)state;
    conf.penalty_delay = 0;
    fails("ann", "192.0.2.1", 49);
    assert_int_equal(comes("ann", "192.0.2.1"), 0);
    fails("ann", "192.0.2.1", 1);
    assert_int_equal(comes("ann", "192.0.2.1"), REFUSED);
}

/* --- refusing ------------------------------------------------------------------------------ */

static void test_an_address_that_has_failed_often_waits_and_is_refused(void **state)
{
    (void)state;
    fails("ann", "192.0.2.1", 49);
    assert_int_equal(comes("bob", "192.0.2.1"), 15000);
    assert_int_equal(has_waited("bob", "192.0.2.1"), 0);
    fails("ann", "192.0.2.1", 1);
    assert_int_equal(comes("bob", "192.0.2.1"), 15000);
    assert_int_equal(has_waited("bob", "192.0.2.1"), REFUSED);
    assert_string_equal(why, "failed logins from the address: 50, penalty_refuse_address = 50");
    assert_int_equal(comes("bob", "192.0.2.2"), 0);
}

static void test_a_user_who_has_failed_often_is_refused_from_anywhere(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        char address[32];

        assert_int_equal(has_waited("ann", "198.51.100.1"), 0);
        snprintf(address, sizeof address, "192.0.2.%u", i);
        fails("ann", address, 1);
    }
    assert_int_equal(comes("ann", "198.51.100.1"), 15000);
    assert_int_equal(has_waited("ann", "198.51.100.1"), REFUSED);
    assert_string_equal(why, "failed logins of the user: 100, penalty_refuse_user = 100");
    assert_int_equal(comes("bob", "198.51.100.1"), 0);
}

static void test_a_site_is_refused_from_eight_times_an_addresss_limit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 400; i++) {
        char address[32];

        assert_int_equal(has_waited("ann", "2001:db8:1:ffff::"), 0);
        snprintf(address, sizeof address, "2001:db8:1:%x::1", i);
        snprintf(why, sizeof why, "user%u", i);
        fails(why, address, 1);
    }
    assert_int_equal(has_waited("ann", "2001:db8:1:ffff::"), REFUSED);
    assert_string_equal(
        why, "failed logins from the address's /48: 400, penalty_refuse_address = 50, times 8");
}

static void test_a_limit_of_zero_refuses_nobody(void **state)
{
    (void)state;
    conf.penalty_refuse_address = conf.penalty_refuse_user = 0;
    fails("ann", "192.0.2.1", 5000);
    assert_int_equal(comes("ann", "192.0.2.1"), 15000);
    assert_int_equal(has_waited("ann", "192.0.2.1"), 0);
}

static void test_who_was_refused_gets_in_when_the_count_has_fallen(void **state)
{
    (void)state;
    fails("ann", "192.0.2.1", 98);
    now_s += HALF_S - HALF_S / 60;
    assert_int_equal(has_waited("ann", "192.0.2.1"), REFUSED);
    now_s += HALF_S / 30;
    assert_int_equal(has_waited("ann", "192.0.2.1"), 0);
}

/* A thousand at once: as many go on as may fail, the others wait for what comes of these. */
static void test_no_more_are_on_their_way_than_may_fail(void **state)
{
    struct penalty_case c = {.record = {.address = 20}, .address = {.trying = 29}};

    (void)state;
    assert_int_equal(judge(&c, true), 0);
    c.address.trying = 30;
    assert_int_equal(judge(&c, true), 1000);
    assert_int_equal(judge(&c, false), 15000);
    c = (struct penalty_case){.user = {.trying = 100}};
    assert_int_equal(judge(&c, true), 1000);
    c = (struct penalty_case){.site = {.trying = 400}};
    assert_int_equal(judge(&c, true), 1000);
    /* A limit below the free failures. */
    conf.penalty_refuse_address = 1;
    c = (struct penalty_case){.address = {.trying = 1}};
    assert_int_equal(judge(&c, false), 1000);
    conf.penalty_delay = 0;
    assert_int_equal(judge(&c, false), REFUSED);
}

/* --- known pairs --------------------------------------------------------------------------- */

static void test_a_known_pair_is_not_refused_whatever_others_do(void **state)
{
    (void)state;
    is_good("ann", "192.0.2.1");
    fails("ann", "198.51.100.1", 1000);
    assert_int_equal(comes("ann", "192.0.2.1"), 0);
    assert_int_equal(has_waited("ann", "203.0.113.1"), REFUSED);
    /* A guesser in the same house slows it. */
    fails("bob", "192.0.2.1", 63);
    assert_int_equal(comes("ann", "192.0.2.1"), 0);
    fails("bob", "192.0.2.1", 1);
    assert_int_equal(comes("ann", "192.0.2.1"), 1000);
    assert_int_equal(has_waited("ann", "192.0.2.1"), 0);
    assert_int_equal(has_waited("bob", "192.0.2.1"), REFUSED);
}

static void test_a_known_pairs_failures_are_its_own_and_the_first_the_addresss(void **state)
{
    (void)state;
    is_good("ann", "192.0.2.1");
    fails("ann", "192.0.2.1", 30);
    assert_int_equal(record("ann", "192.0.2.1").pair, 30);
    assert_int_equal(record("ann", "192.0.2.1").address, 8);
    assert_int_equal(record("ann", "192.0.2.1").user, 0);
    assert_int_equal(comes("ann", "198.51.100.1"), 0);
}

static void test_a_guesser_behind_a_known_pairs_address_is_slowed(void **state)
{
    static const struct {
        unsigned failures;
        int wait;
    } want[] = {{7, 0}, {8, 1000}, {15, 1000}, {16, 2000}, {32, 4000}, {64, 8000}, {128, 15000}};
    unsigned failed = 0;

    (void)state;
    is_good("ann", "192.0.2.1");
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        fails("ann", "192.0.2.1", want[i].failures - failed);
        failed = want[i].failures;
        assert_int_equal(comes("ann", "192.0.2.1"), want[i].wait);
    }
    fails("ann", "192.0.2.1", 100000);
    assert_int_equal(comes("ann", "192.0.2.1"), 15000);
    assert_int_equal(has_waited("ann", "192.0.2.1"), 0);
    now_s += 14 * HALF_S;
    assert_int_equal(comes("ann", "192.0.2.1"), 0);
}

/* Every `each_s` the telephone fails; what does the laptop beside it wait? */
static int wait_beside_a_telephone(unsigned each_s)
{
    is_good("ann", "192.0.2.1");
    for (unsigned i = 0; i < DAY_S; i += each_s) {
        now_s += each_s;
        fails("ann", "192.0.2.1", 1);
    }
    return comes("ann", "192.0.2.1");
}

static void test_a_stale_password_on_a_telephone_hardly_delays_the_laptop(void **state)
{
    (void)state;
    assert_int_equal(wait_beside_a_telephone(300), 0);
    assert_int_equal(wait_beside_a_telephone(60), 1000);
    assert_int_equal(wait_beside_a_telephone(20), 4000);
    assert_int_equal(has_waited("ann", "192.0.2.1"), 0);
    assert_int_equal(comes("ann", "198.51.100.1"), 0);
}

static void test_a_known_pair_is_forgotten_thirty_days_after_its_last_login(void **state)
{
    (void)state;
    is_good("ann", "192.0.2.1");
    now_s += 29 * DAY_S;
    assert_true(record("ann", "192.0.2.1").is_known);
    is_good("ann", "192.0.2.1");
    now_s += 29 * DAY_S;
    assert_true(record("ann", "192.0.2.1").is_known);
    fails("ann", "192.0.2.1", 1);
    now_s += 2 * DAY_S;
    assert_false(record("ann", "192.0.2.1").is_known);
}

static void test_a_pair_is_noted_once_an_hour_and_keeps_its_count(void **state)
{
    (void)state;
    is_good("ann", "192.0.2.1");
    now_s += HOUR_S - 1;
    is_good("ann", "192.0.2.1");
    now_s += 30 * DAY_S - HOUR_S + 2;
    assert_false(record("ann", "192.0.2.1").is_known);
    is_good("ann", "192.0.2.1");
    fails("ann", "192.0.2.1", 64);
    now_s += HALF_S;
    is_good("ann", "192.0.2.1");
    assert_int_equal(record("ann", "192.0.2.1").pair, 32);
    now_s += HOUR_S - HALF_S;
    is_good("ann", "192.0.2.1");
    assert_int_equal(record("ann", "192.0.2.1").pair, 1);
}

static void test_a_pair_is_of_a_user_and_a_network(void **state)
{
    (void)state;
    is_good("ann", "2001:db8:1:1::1");
    assert_true(record("ANN", "2001:db8:1:1::2").is_known);
    assert_false(record("ann", "2001:db8:1:2::1").is_known);
    assert_false(record("bob", "2001:db8:1:1::1").is_known);
}

/* --- floods -------------------------------------------------------------------------------- */

static void test_a_million_addresses_that_fail_once_push_out_none_that_failed_often(void **state)
{
    enum { HEAVY = 1000, FLOOD = 1000000 };
    unsigned survived = 0;
    char address[48];

    (void)state;
    for (unsigned i = 0; i < HEAVY; i++) {
        snprintf(address, sizeof address, "10.0.%u.%u", i >> 8, i & 0xff);
        fails("ann", address, 10);
    }
    for (unsigned i = 0; i < FLOOD; i++) {
        const struct penalty_who w = {
            .user = SLICE("bob"),
            .address = {.prefix = client("2001:db8::"), .bits = 64},
        };
        struct penalty_who one = w;

        memcpy(&one.address.prefix.s6_addr[4], &i, sizeof i);
        if (i % 10000 == 0)
            now_s++;
        penalty_failed(&penalty, &one, now_s);
    }
    for (unsigned i = 0; i < HEAVY; i++) {
        snprintf(address, sizeof address, "10.0.%u.%u", i >> 8, i & 0xff);
        survived += record("cid", address).address >= 9;
    }
    print_message("%u of %u survived\n", survived, HEAVY);
    assert_int_equal(survived, HEAVY);
}

static void test_who_logs_in_from_a_million_networks_pushes_out_nobody_elses_pairs(void **state)
{
    enum { OTHERS = 1000, NETWORKS = 2000000 };
    unsigned survived = 0;
    char name[32];

    (void)state;
    for (unsigned i = 0; i < OTHERS; i++) {
        snprintf(name, sizeof name, "user%u", i);
        is_good(name, "192.0.2.1");
    }
    now_s++;
    for (unsigned i = 0; i < NETWORKS; i++) {
        struct penalty_who one = {
            .user = SLICE("mallory"),
            .address = {.prefix = client("2001:db8::"), .bits = 64},
        };

        memcpy(&one.address.prefix.s6_addr[4], &i, sizeof i);
        penalty_good(&penalty, &one, now_s);
    }
    for (unsigned i = 0; i < OTHERS; i++) {
        snprintf(name, sizeof name, "user%u", i);
        survived += record(name, "192.0.2.1").is_known;
    }
    /* Those who share a bucket with mallory may be gone. */
    assert_in_range(survived, OTHERS - 10, OTHERS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_failure_counts_for_the_address_its_site_and_the_user),
        TEST(test_a_count_falls_to_its_half_in_each_decay),
        TEST(test_between_the_halves_it_falls_smoothly),
        TEST(test_looking_and_adding_often_loses_nothing),
        TEST(test_any_decay_that_can_be_set_works),
        TEST(test_a_count_has_a_highest_value_and_stays_there),
        TEST(test_letters_of_any_case_are_the_same_name),
        TEST(test_without_memory_nothing_is_remembered),
        TEST(test_who_mistypes_thrice_waits_for_nothing_then_longer_and_longer),
        TEST(test_a_user_who_fails_from_many_places_waits_from_ten_on),
        TEST(test_a_site_waits_as_an_address_with_an_eighth_of_its_failures),
        TEST(test_attempts_at_once_get_no_further_than_in_a_row),
        TEST(test_steps_end_with_penalty_delay),
        TEST(test_without_a_delay_nobody_waits),
        TEST(test_an_address_that_has_failed_often_waits_and_is_refused),
        TEST(test_a_user_who_has_failed_often_is_refused_from_anywhere),
        TEST(test_a_site_is_refused_from_eight_times_an_addresss_limit),
        TEST(test_a_limit_of_zero_refuses_nobody),
        TEST(test_who_was_refused_gets_in_when_the_count_has_fallen),
        TEST(test_no_more_are_on_their_way_than_may_fail),
        TEST(test_a_known_pair_is_not_refused_whatever_others_do),
        TEST(test_a_known_pairs_failures_are_its_own_and_the_first_the_addresss),
        TEST(test_a_guesser_behind_a_known_pairs_address_is_slowed),
        TEST(test_a_stale_password_on_a_telephone_hardly_delays_the_laptop),
        TEST(test_a_known_pair_is_forgotten_thirty_days_after_its_last_login),
        TEST(test_a_pair_is_noted_once_an_hour_and_keeps_its_count),
        TEST(test_a_pair_is_of_a_user_and_a_network),
        TEST(test_a_million_addresses_that_fail_once_push_out_none_that_failed_often),
        TEST(test_who_logs_in_from_a_million_networks_pushes_out_nobody_elses_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
