/* The dialogue before login: how credentials come in. */
#include "login_talk.h"

#include "base/base64.h"

/* ---- LOGIN ---- */

static void test_login_in_every_form_of_string(void **state)
{
    static const struct row rows[] = {
        {SLICE("a LOGIN ann secret\r\n"), "{LOGIN ann//secret}a OK Logged in.\r\n{rest }"},
        {SLICE("a login ann secret\n"), "{LOGIN ann//secret}a OK Logged in.\r\n{rest }"},
        {SLICE("a LOGIN a]b x]\r\n"), "{LOGIN a]b//x]}a OK Logged in.\r\n{rest }"},
        {SLICE("a LOGIN \"ann b\" \"\\\"\\\\ {3}\"\r\n"),
         "{LOGIN ann b//\"\\ {3}}a OK Logged in.\r\n{rest }"},
        {SLICE("a LOGIN \"ann\" \"\"\r\n"), "{LOGIN ann//}a OK Logged in.\r\n{rest }"},
        {SLICE("a LOGIN \"\xc3\xa4\" \"\xe4\"\r\n"),
         "{LOGIN \xc3\xa4//\xe4}a OK Logged in.\r\n{rest }"},
        {SLICE("a LOGIN {3}\r\nann {6}\r\nse ret\r\n"),
         "+ Go on\r\n+ Go on\r\n{LOGIN ann//se ret}a OK Logged in.\r\n{rest }"},
        {SLICE("a LOGIN {3+}\r\nann {6+}\r\nse\"ret\r\n"),
         "{LOGIN ann//se\"ret}a OK Logged in.\r\n{rest }"},
        {SLICE("a LOGIN {3+}\nann {0+}\n\n"), "{LOGIN ann//}a OK Logged in.\r\n{rest }"},
        {SLICE("a LOGIN ann {0}\r\n\r\n"), "+ Go on\r\n{LOGIN ann//}a OK Logged in.\r\n{rest }"},
        {SLICE("a LOGIN {0003+}\r\nann {03}\r\nabc\r\n"),
         "+ Go on\r\n{LOGIN ann//abc}a OK Logged in.\r\n{rest }"},
        {SLICE("a LOGIN ann \"x{3}\"\r\n"), "{LOGIN ann//x{3}}a OK Logged in.\r\n{rest }"},
        {SLICE("a LOGIN NIL NIL\r\n"), "{LOGIN NIL//NIL}a OK Logged in.\r\n{rest }"},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

#define LOGIN_BAD \
    "a BAD LOGIN takes a user name and a password; quote what has special characters\r\n"

static void test_malformed_login(void **state)
{
    static const struct row rows[] = {
        {SLICE("a LOGIN\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann \r\n"), LOGIN_BAD},
        {SLICE("a LOGIN  ann b\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann  b\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann b c\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann b \r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann p%s\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann p\\s\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann \xe4\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann (b)\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann \"b\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann \"b\\\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann \"b\\n\"\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann \"b\"c\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann \"b\rc\"\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann \"b\0c\"\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann {}\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann {-1}\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann {1-}\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann {+}\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann { 1}\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann {1} \r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann ~{1+}\r\nx\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann {1+}\r\nxy\r\n"), LOGIN_BAD},
        {SLICE("a LOGIN ann{1+}\r\nx y\r\n"), LOGIN_BAD},
        /* An open quote: {n} is refused at once, {n+} is read over as RFC 7888 asks. */
        {SLICE("a LOGIN ann \"b {3}\r\nb NOOP\r\n"), LOGIN_BAD "b OK Nothing done\r\n"},
        {SLICE("a LOGIN ann \"b {3+}\r\nx y\r\nb NOOP\r\n"), LOGIN_BAD "b OK Nothing done\r\n"},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

static void test_unusable_credentials_are_refused_here(void **state)
{
    static const struct row rows[] = {
        {SLICE("a LOGIN \"\" x\r\n"), "a NO [AUTHENTICATIONFAILED] The user name is empty\r\n"},
        {SLICE("a LOGIN {0+}\r\n x\r\n"), "a NO [AUTHENTICATIONFAILED] The user name is empty\r\n"},
        {SLICE("a LOGIN {3+}\r\na\0b x\r\n"),
         "a NO [AUTHENTICATIONFAILED] The user name or password "
         "holds NUL, CR or LF\r\n"},
        {SLICE("a LOGIN ann {2+}\r\nx\r\r\n"),
         "a NO [AUTHENTICATIONFAILED] The user name or password "
         "holds NUL, CR or LF\r\n"},
        {SLICE("a LOGIN ann {3+}\r\nx\ny\r\n"),
         "a NO [AUTHENTICATIONFAILED] The user name or password "
         "holds NUL, CR or LF\r\n"},
        {SLICE("a AUTHENTICATE PLAIN AGFubgB4Cg==\r\n"), /* \0ann\0x\n */
         "a NO [AUTHENTICATIONFAILED] The user name or password holds NUL, CR or LF\r\n"},
        {SLICE("a AUTHENTICATE PLAIN eA15AGFubgB4\r\n"), /* x\ry\0ann\0x */
         "a NO [AUTHENTICATIONFAILED] The user name or password holds NUL, CR or LF\r\n"},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

static void test_user_name_limit(void **state)
{
    static const struct login_params wide = {.allows_cleartext = true,
                                             .max_line = 2000,
                                             .max_bytes = 99999,
                                             .max_tries = 3,
                                             .max_bad = 3};
    const struct setting s = {.params = &wide};
    char input[700], told[700];

    (void)state;
    for (int n = 511; n <= 513; n++) {
        snprintf(input, sizeof(input), "a LOGIN %0*d x\r\n", n, 7);
        if (n <= 512)
            snprintf(told, sizeof(told), "{LOGIN %0*d//x}a OK Logged in.\r\n{rest }", n, 7);
        else
            snprintf(told, sizeof(told),
                     "a NO [AUTHENTICATIONFAILED] The user name is too long\r\n");
        assert_talk(talk, &s, slice_str(input), told);
    }
}

static void test_authorization_identity_limit(void **state)
{
    static const struct login_params wide = {.allows_cleartext = true,
                                             .max_line = 2000,
                                             .max_bytes = 99999,
                                             .max_tries = 3,
                                             .max_bad = 3};
    const struct setting s = {.params = &wide};
    char message[600], input[1000] = "a AUTHENTICATE PLAIN ", told[700];

    (void)state;
    for (int n = 512; n <= 513; n++) {
        int len = snprintf(message, sizeof(message), "%0*d%cu%cx", n, 7, 0, 0);
        size_t at = strlen("a AUTHENTICATE PLAIN ");

        base64_encode(slice_of(message, (size_t)len), input + at);
        strcpy(input + at + BASE64_LEN((size_t)len), "\r\n");
        if (n == 512)
            snprintf(told, sizeof(told), "{PLAIN u/%0*d/x}a OK Logged in.\r\n{rest }", n, 7);
        else
            snprintf(told, sizeof(told),
                     "a NO [AUTHENTICATIONFAILED] The user name is too long\r\n");
        assert_talk(talk, &s, slice_str(input), told);
    }
}

/* ---- AUTHENTICATE ---- */

#define MESSAGE_BAD "a BAD This message is not what the mechanism asks for\r\n"
#define MECH_BAD    "a BAD AUTHENTICATE takes a mechanism and at most one initial response\r\n"

static void test_authenticate_plain(void **state)
{
    static const struct row rows[] = {
        /* \0ann\0secret */
        {SLICE("a AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\n"),
         "{PLAIN ann//secret}a OK Logged in.\r\n{rest }"},
        {SLICE("a authenticate plain\r\nAGFubgBzZWNyZXQ=\r\n"),
         "+ \r\n{PLAIN ann//secret}a OK Logged in.\r\n{rest }"},
        {SLICE("a AUTHENTICATE PLAIN\nAGFubgBzZWNyZXQ=\n"),
         "+ \r\n{PLAIN ann//secret}a OK Logged in.\r\n{rest }"},
        /* bob\0ann\0secret, ann\0ann\0secret, \0ann\0 */
        {SLICE("a AUTHENTICATE PLAIN Ym9iAGFubgBzZWNyZXQ=\r\n"),
         "{PLAIN ann/bob/secret}a OK Logged in.\r\n{rest }"},
        {SLICE("a AUTHENTICATE PLAIN YW5uAGFubgBzZWNyZXQ=\r\n"),
         "{PLAIN ann//secret}a OK Logged in.\r\n{rest }"},
        {SLICE("a AUTHENTICATE PLAIN AGFubgA=\r\n"), "{PLAIN ann//}a OK Logged in.\r\n{rest }"},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

static void test_malformed_authenticate(void **state)
{
    static const struct row rows[] = {
        {SLICE("a AUTHENTICATE\r\n"), MECH_BAD},
        {SLICE("a AUTHENTICATE \r\n"), MECH_BAD},
        {SLICE("a AUTHENTICATE PLAIN \r\n"), MECH_BAD},
        {SLICE("a AUTHENTICATE PLAIN x y\r\n"), MECH_BAD},
        {SLICE("a AUTHENTICATE \"PLAIN\"\r\n"), MECH_BAD},
        {SLICE("a AUTHENTICATE PLAIN {4}\r\nb NOOP\r\n"), MECH_BAD "b OK Nothing done\r\n"},
        {SLICE("a AUTHENTICATE CRAM-MD5\r\n"), "a NO This mechanism is not offered\r\n"},
        {SLICE("a AUTHENTICATE PLAIN =\r\n"), MESSAGE_BAD},
        {SLICE("a AUTHENTICATE PLAIN\r\n\r\nb NOOP\r\n"),
         "+ \r\n" MESSAGE_BAD "b OK Nothing done\r\n"},
        {SLICE("a AUTHENTICATE PLAIN\r\n*\r\nb NOOP\r\n"),
         "+ \r\na BAD Cancelled\r\nb OK Nothing done\r\n"},
        {SLICE("a AUTHENTICATE PLAIN AGFubgBzZWNyZXQ\r\n"), "a BAD This is not base 64\r\n"},
        {SLICE("a AUTHENTICATE PLAIN\r\n=\r\n"), "+ \r\na BAD This is not base 64\r\n"},
        {SLICE("a AUTHENTICATE PLAIN\r\nAGFubgBzZWNyZXQ= \r\n"),
         "+ \r\na BAD This is not base 64\r\n"},
        {SLICE("a AUTHENTICATE PLAIN\r\n\0\r\n"), "+ \r\na BAD This is not base 64\r\n"},
        {SLICE("a AUTHENTICATE PLAIN\r\n{5+}\r\nb NOOP\r\n"),
         "+ \r\na BAD This is not base 64\r\nb OK Nothing done\r\n"},
        /* ann; ann\0b; \0\0b; \0a\0b\0 */
        {SLICE("a AUTHENTICATE PLAIN YW5u\r\n"), MESSAGE_BAD},
        {SLICE("a AUTHENTICATE PLAIN YW5uAGI=\r\n"), MESSAGE_BAD},
        {SLICE("a AUTHENTICATE PLAIN AABi\r\n"), MESSAGE_BAD},
        {SLICE("a AUTHENTICATE PLAIN AGEAYgA=\r\n"), MESSAGE_BAD},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

#define ASK_USER     "+ VXNlcm5hbWU6\r\n"
#define ASK_PASSWORD "+ UGFzc3dvcmQ6\r\n"
#define HOLDS_BAD    "a NO [AUTHENTICATIONFAILED] The user name or password holds NUL, CR or LF\r\n"

static void test_authenticate_login(void **state)
{
    static const struct row rows[] = {
        {SLICE("a AUTHENTICATE LOGIN\r\nYW5u\r\nc2VjcmV0\r\n"),
         ASK_USER ASK_PASSWORD "{SASL-LOGIN ann//secret}a OK Logged in.\r\n{rest }"},
        {SLICE("a authenticate login\nYW5u\nc2VjcmV0\nb NOOP\n"),
         ASK_USER ASK_PASSWORD "{SASL-LOGIN ann//secret}a OK Logged in.\r\n{rest b NOOP\n}"},
        /* With the command. */
        {SLICE("a AUTHENTICATE LOGIN YW5u\r\nc2VjcmV0\r\n"),
         ASK_PASSWORD "{SASL-LOGIN ann//secret}a OK Logged in.\r\n{rest }"},
        {SLICE("a AUTHENTICATE LOGIN YW5u\r\n\r\n"),
         ASK_PASSWORD "{SASL-LOGIN ann//}a OK Logged in.\r\n{rest }"},
        /* After a refusal everything begins anew. */
        {SLICE("a AUTHENTICATE LOGIN YW5u\r\nbm8=\r\nb AUTHENTICATE LOGIN\r\nYm9i\r\neA==\r\n"),
         ASK_PASSWORD
         "{SASL-LOGIN ann//no}a NO [AUTHENTICATIONFAILED] Wrong.\r\n" ASK_USER ASK_PASSWORD
         "{SASL-LOGIN bob//x}b OK Logged in.\r\n{rest }"},
        {SLICE("a AUTHENTICATE LOGIN YW5u\r\n*\r\nb LOGIN u x\r\n"),
         ASK_PASSWORD "a BAD Cancelled\r\n{LOGIN u//x}b OK Logged in.\r\n{rest }"},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

static void test_malformed_authenticate_login(void **state)
{
    static const struct row rows[] = {
        {SLICE("a AUTHENTICATE LOGIN\r\n*\r\nb NOOP\r\n"),
         ASK_USER "a BAD Cancelled\r\nb OK Nothing done\r\n"},
        {SLICE("a AUTHENTICATE LOGIN\r\nYW5u\r\n*\r\nb NOOP\r\n"),
         ASK_USER ASK_PASSWORD "a BAD Cancelled\r\nb OK Nothing done\r\n"},
        {SLICE("a AUTHENTICATE LOGIN YW5\r\n"), "a BAD This is not base 64\r\n"},
        {SLICE("a AUTHENTICATE LOGIN\r\n=\r\n"), ASK_USER "a BAD This is not base 64\r\n"},
        {SLICE("a AUTHENTICATE LOGIN\r\nYW5u\r\nx\r\nb NOOP\r\n"),
         ASK_USER ASK_PASSWORD "a BAD This is not base 64\r\nb OK Nothing done\r\n"},
        {SLICE("a AUTHENTICATE LOGIN\r\n{4+}\r\nb NOOP\r\n"),
         ASK_USER "a BAD This is not base 64\r\nb OK Nothing done\r\n"},
        /* An empty name; a\0b, a\rb, a\nb as name and as password. */
        {SLICE("a AUTHENTICATE LOGIN =\r\n"), MESSAGE_BAD},
        {SLICE("a AUTHENTICATE LOGIN\r\n\r\n"), ASK_USER MESSAGE_BAD},
        {SLICE("a AUTHENTICATE LOGIN YQBi\r\n"), MESSAGE_BAD},
        {SLICE("a AUTHENTICATE LOGIN YQ1i\r\n"), HOLDS_BAD},
        {SLICE("a AUTHENTICATE LOGIN\r\nYQpi\r\nb NOOP\r\n"),
         ASK_USER HOLDS_BAD "b OK Nothing done\r\n"},
        {SLICE("a AUTHENTICATE LOGIN YW5u\r\nYQBi\r\n"), ASK_PASSWORD MESSAGE_BAD},
        {SLICE("a AUTHENTICATE LOGIN YW5u\r\nYQ1i\r\n"), ASK_PASSWORD HOLDS_BAD},
        {SLICE("a AUTHENTICATE LOGIN YW5u\r\nYQpi\r\n"), ASK_PASSWORD HOLDS_BAD},
        {SLICE("a AUTHENTICATE LOGIN YW5u c2VjcmV0\r\n"), MECH_BAD},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

static void test_user_name_limit_of_authenticate_login(void **state)
{
    static const struct login_params wide = {.allows_cleartext = true,
                                             .max_line = 2000,
                                             .max_bytes = 99999,
                                             .max_tries = 3,
                                             .max_bad = 3};
    const struct setting s = {.params = &wide};
    const size_t at = strlen("a AUTHENTICATE LOGIN ");
    char user[600], input[1000] = "a AUTHENTICATE LOGIN ", told[700];

    (void)state;
    for (int n = 511; n <= 513; n++) {
        snprintf(user, sizeof(user), "%0*d", n, 7);
        base64_encode(slice_str(user), input + at);
        strcpy(input + at + BASE64_LEN((size_t)n), "\r\neA==\r\n");
        if (n <= 512) /* else it is told before the password is asked for */
            snprintf(told, sizeof(told),
                     ASK_PASSWORD "{SASL-LOGIN %s//x}a OK Logged in.\r\n{rest }", user);
        else
            snprintf(told, sizeof(told),
                     "a NO [AUTHENTICATIONFAILED] The user name is too long\r\n"
                     "eA== BAD A tag, one space and a command are expected\r\n");
        assert_talk(talk, &s, slice_str(input), told);
    }
}

static void test_session_may_end_between_two_messages(void **state)
{
    struct login *l = login_new(&usual, false);

    (void)state;
    assert_int_equal(buf_puts(login_in(l), "a AUTHENTICATE LOGIN YW5u\r\n"), 0);
    assert_int_equal(login_step(l), LOGIN_MORE);
    login_free(&l);
    assert_null(l);
}

/* ---- Without TLS ---- */

#define PRIVACY "a NO [PRIVACYREQUIRED] Passwords are only taken with TLS; use STARTTLS first\r\n"

static void test_password_is_not_taken_in_clear(void **state)
{
    static const struct row rows[] = {
        {SLICE("a LOGIN ann x\r\n"), PRIVACY},
        {SLICE("a LOGIN {3}\r\nb NOOP\r\n"), PRIVACY "b OK Nothing done\r\n"},
        {SLICE("a LOGIN ann {3}\r\nb NOOP\r\n"), PRIVACY "b OK Nothing done\r\n"},
        {SLICE("a LOGIN ann {3+}\r\nabc\r\nb NOOP\r\n"), PRIVACY "b OK Nothing done\r\n"},
        {SLICE("a AUTHENTICATE PLAIN\r\nb NOOP\r\n"), PRIVACY "b OK Nothing done\r\n"},
        {SLICE("a AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\n"), PRIVACY},
        {SLICE("a AUTHENTICATE LOGIN\r\nb NOOP\r\n"), PRIVACY "b OK Nothing done\r\n"},
        {SLICE("a AUTHENTICATE LOGIN YW5u\r\n"), PRIVACY},
        {SLICE("a ID ({1}\r\nx NIL)\r\n"),
         "+ Go on\r\n* ID (\"name\" \"Usher\")\r\na OK ID told\r\n"},
    };
    static const struct login_params never = {
        .max_line = 99, .max_bytes = 99999, .max_tries = 9, .max_bad = 9};
    static const struct row without[] = {
        {SLICE("a LOGIN ann x\r\n"),
         "a NO [PRIVACYREQUIRED] Passwords are only taken with TLS\r\n"},
        {SLICE("a STARTTLS\r\n"), "a BAD STARTTLS is not offered here\r\n"},
    };

    (void)state;
    check(&strict, false, ROWS(rows));
    check(&never, false, ROWS(without));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login_in_every_form_of_string),
        cmocka_unit_test(test_malformed_login),
        cmocka_unit_test(test_unusable_credentials_are_refused_here),
        cmocka_unit_test(test_user_name_limit),
        cmocka_unit_test(test_authorization_identity_limit),
        cmocka_unit_test(test_authenticate_plain),
        cmocka_unit_test(test_malformed_authenticate),
        cmocka_unit_test(test_authenticate_login),
        cmocka_unit_test(test_malformed_authenticate_login),
        cmocka_unit_test(test_user_name_limit_of_authenticate_login),
        cmocka_unit_test(test_session_may_end_between_two_messages),
        cmocka_unit_test(test_password_is_not_taken_in_clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
