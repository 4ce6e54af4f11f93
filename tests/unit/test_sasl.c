/* SASL mechanisms, both roles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sasl/sasl.h"

static void assert_slice(struct slice got, struct slice expected)
{
    assert_int_equal(got.n, expected.n);
    if (expected.n)
        assert_memory_equal(got.p, expected.p, expected.n);
}

static void test_mechanisms_are_found_in_any_case(void **state)
{
    (void)state;
    assert_non_null(sasl_find(SLICE("PLAIN")));
    assert_ptr_equal(sasl_find(SLICE("plAIN")), sasl_find(SLICE("PLAIN")));
    assert_string_equal(sasl_find(SLICE("PLAIN"))->name, "PLAIN");
    assert_true(sasl_find(SLICE("PLAIN"))->sends_password);
    assert_null(sasl_find(SLICE("PLAI")));
    assert_null(sasl_find(SLICE("PLAIN-X")));
    assert_null(sasl_find(SLICE("")));
}

static void test_plain_client_sends_one_message(void **state)
{
    static const struct {
        struct sasl_identity me;
        struct slice message;
    } rows[] = {
        {{SLICE("ann"), {0}, SLICE("secret")}, SLICE("\0ann\0secret")},
        {{SLICE("ann"), SLICE("bob"), SLICE("secret")}, SLICE("bob\0ann\0secret")},
        {{SLICE("ann"), {0}, {0}}, SLICE("\0ann\0")},
    };
    struct buf out;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct sasl_mech *mech = sasl_find(SLICE("PLAIN"));

        buf_init(&out, 100, true);
        assert_int_equal(mech->client_step(&rows[i].me, 0, SLICE("words"), &out), SASL_DONE);
        assert_slice(buf_slice(&out), rows[i].message);
        assert_int_equal(mech->client_step(&rows[i].me, 1, SLICE(""), &out), SASL_BAD);
        buf_release(&out);
    }
}

static void test_plain_client_refuses_nul(void **state)
{
    static const struct sasl_identity rows[] = {
        {SLICE("a\0n"), {0}, SLICE("x")},
        {SLICE("ann"), SLICE("\0"), SLICE("x")},
        {SLICE("ann"), {0}, SLICE("x\0")},
    };
    struct buf out;

    (void)state;
    buf_init(&out, 100, true);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(sasl_find(SLICE("PLAIN"))->client_step(&rows[i], 0, SLICE(""), &out),
                         SASL_BAD);
        assert_int_equal(buf_len(&out), 0);
    }
}

static void test_plain_client_says_when_its_message_does_not_fit(void **state)
{
    static const struct sasl_identity me = {SLICE("ann"), SLICE("bob"), SLICE("secret")};
    const size_t whole = sizeof("bob\0ann\0secret") - 1;
    struct buf out;

    (void)state;
    for (size_t most = 0; most <= whole; most++) {
        buf_init(&out, most, true);
        assert_int_equal(sasl_find(SLICE("PLAIN"))->client_step(&me, 0, SLICE(""), &out),
                         most < whole ? SASL_BAD : SASL_DONE);
        buf_release(&out);
    }
}

static void test_plain_server_takes_the_message_apart(void **state)
{
    static const struct {
        struct slice message;
        struct sasl_identity claim;
    } rows[] = {
        {SLICE("\0ann\0secret"), {SLICE("ann"), {0}, SLICE("secret")}},
        {SLICE("bob\0ann\0secret"), {SLICE("ann"), SLICE("bob"), SLICE("secret")}},
        {SLICE("\0a\0"), {SLICE("a"), {0}, {0}}},
        {SLICE("\0\xc3\xa4\0\xe4\r\n"), {SLICE("\xc3\xa4"), {0}, SLICE("\xe4\r\n")}},
    };
    struct sasl_identity claim;
    struct buf out;

    (void)state;
    buf_init(&out, 0, false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(sasl_find(SLICE("PLAIN"))->server_step(0, rows[i].message, &out, &claim),
                         SASL_DONE);
        assert_slice(claim.user, rows[i].claim.user);
        assert_slice(claim.authzid, rows[i].claim.authzid);
        assert_slice(claim.password, rows[i].claim.password);
    }
}

static void test_plain_server_refuses_malformed_messages(void **state)
{
    static const struct slice rows[] = {
        SLICE(""),
        SLICE("ann"),
        SLICE("ann\0secret"),
        SLICE("\0"),
        SLICE("\0\0"),
        SLICE("\0\0secret"),
        SLICE("bob\0\0x"),
        SLICE("\0ann\0secret\0"),
        SLICE("\0ann\0s\0e"),
        SLICE("\0ann\0\0"),
    };
    struct sasl_identity claim = {0};
    struct buf out;

    (void)state;
    buf_init(&out, 0, false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(sasl_find(SLICE("PLAIN"))->server_step(0, rows[i], &out, &claim),
                         SASL_BAD);
    assert_int_equal(
        sasl_find(SLICE("PLAIN"))->server_step(1, SLICE("\0ann\0secret"), &out, &claim), SASL_BAD);
    assert_int_equal(claim.user.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mechanisms_are_found_in_any_case),
        cmocka_unit_test(test_plain_client_sends_one_message),
        cmocka_unit_test(test_plain_client_refuses_nul),
        cmocka_unit_test(test_plain_client_says_when_its_message_does_not_fit),
        cmocka_unit_test(test_plain_server_takes_the_message_apart),
        cmocka_unit_test(test_plain_server_refuses_malformed_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
