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
    assert_string_equal(sasl_find(SLICE("login"))->name, "LOGIN");
    assert_true(sasl_find(SLICE("LOGIN"))->sends_password);
}

static void test_mechanisms_are_listed_once_each(void **state)
{
    const struct sasl_mech *mech;
    size_t n = 0;

    (void)state;
    for (; (mech = sasl_at(n)) != NULL; n++) {
        assert_ptr_equal(sasl_find(slice_str(mech->name)), mech);
        assert_int_equal(mech->prompt.n == 0, mech->is_client_first);
        for (size_t i = 0; i < n; i++)
            assert_string_not_equal(sasl_at(i)->title, mech->title);
    }
    assert_int_equal(n, 2);
    assert_null(sasl_at(3));
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
    struct sasl_identity claim = {0};
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

/* ---- LOGIN ---- */

static void test_login_client_sends_the_user_name_then_the_password(void **state)
{
    static const struct sasl_identity me = {SLICE("ann"), {0}, SLICE("\xe4\r\n")};
    static const struct sasl_identity master = {SLICE("ann"), SLICE("bob"), SLICE("x")};
    const struct sasl_mech *mech = sasl_find(SLICE("LOGIN"));
    struct buf out;

    (void)state;
    buf_init(&out, 100, true);
    assert_int_equal(mech->client_step(&me, 0, SLICE("anything"), &out), SASL_MORE);
    assert_slice(buf_slice(&out), SLICE("ann"));
    buf_release(&out);
    assert_int_equal(mech->client_step(&me, 1, SLICE(""), &out), SASL_DONE);
    assert_slice(buf_slice(&out), SLICE("\xe4\r\n"));
    buf_release(&out);
    assert_int_equal(mech->client_step(&me, 2, SLICE(""), &out), SASL_BAD);
    assert_int_equal(mech->client_step(&master, 0, SLICE(""), &out), SASL_BAD);
    assert_int_equal(buf_len(&out), 0);
}

static void test_login_client_refuses_nul_and_says_what_does_not_fit(void **state)
{
    static const struct sasl_identity nul = {SLICE("a\0"), {0}, SLICE("x\0")};
    static const struct sasl_identity me = {SLICE("ann"), {0}, SLICE("secret")};
    const struct sasl_mech *mech = sasl_find(SLICE("LOGIN"));
    struct buf out;

    (void)state;
    buf_init(&out, 100, true);
    assert_int_equal(mech->client_step(&nul, 0, SLICE(""), &out), SASL_BAD);
    assert_int_equal(mech->client_step(&nul, 1, SLICE(""), &out), SASL_BAD);
    for (size_t most = 2; most <= 6; most++) {
        buf_init(&out, most, true);
        assert_int_equal(mech->client_step(&me, 0, SLICE(""), &out),
                         most < 3 ? SASL_BAD : SASL_MORE);
        buf_release(&out);
        assert_int_equal(mech->client_step(&me, 1, SLICE(""), &out),
                         most < 6 ? SASL_BAD : SASL_DONE);
        buf_release(&out);
    }
}

static void test_login_server_takes_two_messages(void **state)
{
    const struct sasl_mech *mech = sasl_find(SLICE("LOGIN"));
    struct sasl_identity claim = {0};
    struct buf out;

    (void)state;
    assert_slice(mech->prompt, SLICE("Username:"));
    buf_init(&out, 100, false);
    assert_int_equal(mech->server_step(0, SLICE("\xe4nn"), &out, &claim), SASL_MORE);
    assert_slice(buf_slice(&out), SLICE("Password:"));
    assert_int_equal(mech->server_step(1, SLICE(""), &out, &claim), SASL_DONE);
    assert_slice(claim.user, SLICE("\xe4nn"));
    assert_slice(claim.authzid, SLICE(""));
    assert_slice(claim.password, SLICE(""));
    assert_int_equal(mech->server_step(2, SLICE("x"), &out, &claim), SASL_BAD);
    buf_release(&out);
}

static void test_login_server_refuses_malformed_messages(void **state)
{
    const struct sasl_mech *mech = sasl_find(SLICE("LOGIN"));
    struct sasl_identity claim = {0};
    struct buf out;

    (void)state;
    buf_init(&out, 100, false);
    assert_int_equal(mech->server_step(0, SLICE(""), &out, &claim), SASL_BAD);
    assert_int_equal(mech->server_step(0, SLICE("a\0"), &out, &claim), SASL_BAD);
    assert_int_equal(mech->server_step(1, SLICE("\0"), &out, &claim), SASL_BAD);
    assert_int_equal(claim.user.n + claim.password.n, 0);
    assert_int_equal(buf_len(&out), 0);
    buf_init(&out, 8, false);
    assert_int_equal(mech->server_step(0, SLICE("ann"), &out, &claim), SASL_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mechanisms_are_found_in_any_case),
        cmocka_unit_test(test_mechanisms_are_listed_once_each),
        cmocka_unit_test(test_plain_client_sends_one_message),
        cmocka_unit_test(test_plain_client_refuses_nul),
        cmocka_unit_test(test_plain_client_says_when_its_message_does_not_fit),
        cmocka_unit_test(test_plain_server_takes_the_message_apart),
        cmocka_unit_test(test_plain_server_refuses_malformed_messages),
        cmocka_unit_test(test_login_client_sends_the_user_name_then_the_password),
        cmocka_unit_test(test_login_client_refuses_nul_and_says_what_does_not_fit),
        cmocka_unit_test(test_login_server_takes_two_messages),
        cmocka_unit_test(test_login_server_refuses_malformed_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
