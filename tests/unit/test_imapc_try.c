/* The dialogue of an IMAP client that only tries its login: NOOP behind it, and LOGOUT. */
#include "imapc_talk.h"

static void test_noop_follows_a_good_login_alone(void **state)
{
    static const struct row rows[] = {
        {SLICE(HELLO OK_CAPS "U2 OK Nothing\r\n"), ASK_PLAIN "U2 NOOP\r\n" DONE_CAPS},
        {SLICE(HELLO OK_CAPS "* 3 EXISTS\r\nU2 OK Nothing\r\nmore"),
         ASK_PLAIN "U2 NOOP\r\n{ok [CAPABILITY IMAP4rev1 IDLE] In}{* 3 EXISTS\r\n}"
                   "{IMAP4rev1 IDLE}{rest more}"},
        {SLICE(HELLO "U1 OK In\r\nU2 NO No\r\nU3 OK Nothing\r\n"),
         ASK_PLAIN "U2 CAPABILITY\r\nU3 NOOP\r\n{ok In}{}{}{rest }"},
        {SLICE(HELLO "U1 NO Not you\r\n"), ASK_PLAIN "{no Not you}{}{}{rest }"},
        {SLICE(HELLO OK_CAPS "U2 NO Gone\r\n"),
         ASK_PLAIN "U2 NOOP\r\n{failed in noop: the server refuses NOOP: Gone}"},
        {SLICE(HELLO OK_CAPS "U2 BAD secret?\r\n"),
         ASK_PLAIN "U2 NOOP\r\n{failed in noop: the server refuses NOOP: (words that hold the "
                   "password)}"},
        {SLICE(HELLO OK_CAPS "* BYE Down\r\n"),
         ASK_PLAIN "U2 NOOP\r\n{failed in noop: the server says BYE: Down}"},
        {SLICE(HELLO OK_CAPS "+ go\r\n"),
         ASK_PLAIN "U2 NOOP\r\n{failed in noop: the server asks to go on where there is nothing to "
                   "go on with: + go}"},
        {SLICE(HELLO OK_CAPS "U1 OK In\r\n"),
         ASK_PLAIN "U2 NOOP\r\n{failed in noop: the server answers what was not asked: U1 OK In}"},
        {SLICE(HELLO OK_CAPS), ASK_PLAIN "U2 NOOP\r\n{more in noop}"},
    };
    struct imapc_params params = with("ann", "secret");

    (void)state;
    params.wants_noop = true;
    check(params, ROWS(rows));
}

static void test_who_is_done_takes_leave_under_the_next_tag(void **state)
{
    struct imapc_params params = with("ann", "secret");
    struct imapc *c;

    (void)state;
    params.wants_noop = true;
    c = imapc_new(&params);
    assert_non_null(c);
    assert_true(imapc_is_unheard(c));
    assert_int_equal(buf_puts(imapc_in(c), HELLO OK_CAPS "U2 OK Nothing\r\n"), 0);
    assert_false(imapc_is_unheard(c));
    assert_int_equal(imapc_step(c), IMAPC_DONE);
    assert_false(imapc_is_unheard(c));
    buf_take(imapc_out(c), buf_len(imapc_out(c)));
    imapc_log_out(c);
    assert_true(slice_eq(buf_slice(imapc_out(c)), SLICE("U3 LOGOUT\r\n")));
    imapc_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noop_follows_a_good_login_alone),
        cmocka_unit_test(test_who_is_done_takes_leave_under_the_next_tag),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
