/* When backends' names are asked for, and what answers change. */
#include "control/resolve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct conf *conf;
static struct backends backends;
static struct resolve resolve;
static char told[1024];

static void tell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void tell(const char *fmt, ...)
{
    size_t n = strlen(told);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(told + n, sizeof told - n, fmt, ap);
    va_end(ap);
}

static void on_ask(void *arg, uint32_t question, struct slice host, uint16_t port)
{
    (void)arg;
    tell("ask %u %.*s:%u\n", question, SLICE_ARG(host), port);
}

static void on_changed(void *arg, uint32_t backend, uint32_t ttl_s)
{
    (void)arg;
    tell("changed %u ttl %u n %zu\n", backend, ttl_s, backends.all[backend].addresses_n);
}

static void on_failed(void *arg, uint32_t backend, struct slice detail)
{
    (void)arg;
    tell("failed %u %.*s\n", backend, SLICE_ARG(detail));
}

static const struct resolve_effects effects = {on_ask, on_changed, on_failed};

static void assert_told(const char *want)
{
    assert_string_equal(told, want);
    told[0] = '\0';
}

static int setup(void **state)
{
    struct err err;

    (void)state;
    told[0] = '\0';
    if (conf_load_text("listener l { address = \"*:143\" }\n"
                       "pool main { backend one { address = \"192.0.2.1:10143\" }\n"
                       "  backend two { address = \"two.test:10143\" } }\n"
                       "pool more { backend three { address = \"three.test:143\" } }\n",
                       "test", &conf, &err) < 0 ||
        backends_init(&backends, conf, &err) < 0)
        return -1;
    resolve = (struct resolve){&backends, &effects, NULL};
    resolve_start(&resolve, 1000);
    assert_told("ask 1 two.test:10143\nask 2 three.test:143\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    backends_done(&backends);
    conf_free(&conf);
    return 0;
}

/* An answer with `n` addresses 198.51.100.<first>, upwards. */
static struct msg_resolved answer(uint32_t ttl_s, uint32_t n, unsigned first)
{
    struct msg_resolved m = {.ttl_s = ttl_s, .addresses_n = n};

    for (unsigned i = 0; i < n && i < IPC_ADDRESSES_MAX; i++) {
        char text[32];

        snprintf(text, sizeof text, "198.51.100.%u", first + i);
        assert_true(addr_parse_ip(slice_str(text), 0, &m.addresses[i]));
    }
    return m;
}

static void give(uint32_t question, struct msg_resolved m, const char *detail, uint64_t now_ms)
{
    resolve_answer(&resolve, question, &m, slice_str(detail), now_ms);
}

static void test_an_address_is_used_as_it_is_and_never_asked_for(void **state)
{
    char text[ADDR_TEXT];

    (void)state;
    assert_int_equal(backends.all[0].addresses_n, 1);
    assert_string_equal(addr_format(&backends.all[0].addresses[0], text), "192.0.2.1:10143");
    give(0, answer(60, 1, 1), "", 1000);
    assert_string_equal(addr_format(&backends.all[0].addresses[0], text), "192.0.2.1:10143");
    resolve_step(&resolve, 1000 + 3600 * 1000);
    assert_null(strstr(told, "ask 0"));
}

static void test_an_answer_gives_addresses_with_the_backends_port(void **state)
{
    char text[ADDR_TEXT];

    (void)state;
    give(1, answer(60, 2, 1), "", 2000);
    assert_told("changed 1 ttl 60 n 2\n");
    assert_string_equal(addr_format(&backends.all[1].addresses[1], text), "198.51.100.2:10143");
}

static void test_names_are_asked_again_when_their_time_is_over(void **state)
{
    (void)state;
    give(1, answer(60, 1, 1), "", 2000);
    give(2, answer(90, 1, 1), "", 2000);
    told[0] = '\0';
    assert_int_equal(resolve_due_ms(&resolve), 62000);
    resolve_step(&resolve, 61999);
    assert_told("");
    resolve_step(&resolve, 62000);
    assert_told("ask 1 two.test:10143\n");
}

static void test_the_time_to_live_is_kept_within_bounds(void **state)
{
    (void)state;
    give(1, answer(0, 1, 1), "", 1000);
    give(2, answer(700000, 1, 1), "", 1000);
    assert_told("changed 1 ttl 5 n 1\nchanged 2 ttl 3600 n 1\n");
    assert_int_equal(resolve_due_ms(&resolve), 6000);
    assert_int_equal(backends.all[2].due_ms, 3601000);
}

static void test_the_same_addresses_in_another_order_are_no_news(void **state)
{
    struct msg_resolved m = answer(5, 2, 1);
    struct addr first = m.addresses[0];

    (void)state;
    give(1, m, "", 1000);
    resolve_step(&resolve, 6000);
    told[0] = '\0';
    m.addresses[0] = m.addresses[1];
    m.addresses[1] = first;
    give(1, m, "", 6000);
    assert_told("");
    resolve_step(&resolve, 11000);
    told[0] = '\0';
    give(1, answer(5, 1, 1), "", 11000);
    assert_told("changed 1 ttl 5 n 1\n");
}

static void test_a_failure_keeps_what_is_known_and_is_told_once(void **state)
{
    (void)state;
    give(1, answer(5, 2, 1), "", 1000);
    give(2, answer(3600, 2, 1), "", 1000);
    resolve_step(&resolve, 6000);
    told[0] = '\0';
    give(1, answer(0, 0, 0), "no such name", 6000);
    assert_told("failed 1 no such name\n");
    assert_int_equal(backends.all[1].addresses_n, 2);
    assert_int_equal(resolve_due_ms(&resolve), 6000 + RESOLVE_RETRY_MS);
    resolve_step(&resolve, 11000);
    assert_told("ask 1 two.test:10143\n");
    give(1, answer(0, 0, 0), "", 11000);
    assert_told("");
    resolve_step(&resolve, 16000);
    told[0] = '\0';
    /* The same addresses again: that it works again is news. */
    give(1, answer(5, 2, 1), "", 16000);
    assert_told("changed 1 ttl 5 n 2\n");
}

static void test_no_answer_at_all_is_a_failure(void **state)
{
    (void)state;
    give(2, answer(3600, 1, 1), "", 1000);
    told[0] = '\0';
    resolve_step(&resolve, 1000 + RESOLVE_PATIENCE_MS);
    assert_told("failed 1 no answer\n");
    resolve_step(&resolve, 1000 + RESOLVE_PATIENCE_MS + RESOLVE_RETRY_MS);
    assert_told("ask 1 two.test:10143\n");
}

static void test_the_next_lookup_is_asked_what_is_open(void **state)
{
    (void)state;
    give(2, answer(60, 1, 1), "", 1000);
    told[0] = '\0';
    resolve_repeat(&resolve, 5000);
    assert_told("ask 1 two.test:10143\n");
    give(1, answer(60, 1, 1), "", 5000);
    told[0] = '\0';
    resolve_repeat(&resolve, 6000);
    assert_told("");
}

static void test_answers_that_nobody_asked_for_are_ignored(void **state)
{
    (void)state;
    give(3, answer(60, 1, 1), "", 1000);
    give(UINT32_MAX, answer(60, 1, 1), "", 1000);
    give(1, answer(60, 1, 1), "", 1000);
    told[0] = '\0';
    give(1, answer(60, 1, 9), "", 1000);
    assert_told("");
}

static void test_what_is_no_address_is_not_taken(void **state)
{
    struct msg_resolved m = answer(60, 3, 1);

    (void)state;
    m.addresses[0].sa.sa_family = AF_UNIX;
    m.addresses[2].sa.sa_family = AF_UNSPEC;
    give(1, m, "", 1000);
    assert_told("changed 1 ttl 60 n 1\n");
    m.addresses[1].sa.sa_family = AF_UNIX;
    give(2, m, "", 1000);
    assert_told("failed 2 no addresses\n");
}

static void test_more_addresses_than_fit_are_cut(void **state)
{
    struct msg_resolved m = answer(60, IPC_ADDRESSES_MAX, 1);

    (void)state;
    m.addresses_n = UINT32_MAX;
    give(1, m, "", 1000);
    assert_told("changed 1 ttl 60 n 8\n");
}

static void test_titles_have_numbers_and_unknown_ones_are_strangers(void **state)
{
    (void)state;
    assert_int_equal(backends_number(&backends, SLICE("three")), 2);
    assert_int_equal(backends_number(&backends, SLICE("gone")), 3);
    assert_int_equal(backends_number(&backends, SLICE("gone")), 3);
    assert_true(backends_is_stranger(&backends, 3));
    assert_false(backends_is_stranger(&backends, 2));
    assert_string_equal(backends_title(&backends, 3), "gone");
    assert_int_equal(backends_at(&backends, 1, 0), 2);
    assert_int_equal(backends_at(&backends, 0, 2), BACKEND_NONE);
    assert_int_equal(backends_at(&backends, 2, 0), BACKEND_NONE);
    for (unsigned i = 0; i < 200; i++) {
        char title[16];

        snprintf(title, sizeof title, "s%u", i);
        assert_int_equal(backends_number(&backends, slice_str(title)), 4 + i);
    }
    assert_int_equal(backends_number(&backends, SLICE("gone")), 3);
}

static void test_a_backend_whose_address_is_none_is_an_error(void **state)
{
    struct backends b;
    struct conf *c;
    struct err err;

    (void)state;
    assert_int_equal(
        conf_load_text("pool p { backend bad { address = \"nonsense\" } }", "test", &c, &err), 0);
    assert_int_equal(backends_init(&b, c, &err), -1);
    assert_non_null(strstr(err.text, "backend bad"));
    conf_free(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_address_is_used_as_it_is_and_never_asked_for),
        TEST(test_an_answer_gives_addresses_with_the_backends_port),
        TEST(test_names_are_asked_again_when_their_time_is_over),
        TEST(test_the_time_to_live_is_kept_within_bounds),
        TEST(test_the_same_addresses_in_another_order_are_no_news),
        TEST(test_a_failure_keeps_what_is_known_and_is_told_once),
        TEST(test_no_answer_at_all_is_a_failure),
        TEST(test_the_next_lookup_is_asked_what_is_open),
        TEST(test_answers_that_nobody_asked_for_are_ignored),
        TEST(test_what_is_no_address_is_not_taken),
        TEST(test_more_addresses_than_fit_are_cut),
        TEST(test_titles_have_numbers_and_unknown_ones_are_strangers),
        TEST(test_a_backend_whose_address_is_none_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
