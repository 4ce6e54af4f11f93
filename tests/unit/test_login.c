/* The dialogue before login: commands, limits, verdicts. How credentials come in is
 * test_login_auth.c's. */
#include "login_talk.h"

/* ---- Greeting and the commands without a login ---- */

static void test_greeting_offers_what_may_be_used(void **state)
{
    static const struct login_params no_tls = {
        .allows_cleartext = true, .max_line = 99, .max_bytes = 99999};
    static const struct login_params nothing = {.max_line = 99, .max_bytes = 99999};
    static const struct {
        struct setting s;
        const char *told;
    } rows[] = {
        {{&usual, false, true},
         "* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID STARTTLS AUTH=PLAIN AUTH=LOGIN] Usher "
         "ready\r\n"},
        {{&strict, false, true},
         "* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID STARTTLS LOGINDISABLED] Usher ready\r\n"},
        {{&strict, true, true},
         "* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID AUTH=PLAIN AUTH=LOGIN] Usher ready\r\n"},
        {{&no_tls, false, true},
         "* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=LOGIN] Usher ready\r\n"},
        {{&nothing, false, true},
         "* OK [CAPABILITY IMAP4rev1 SASL-IR ID LOGINDISABLED] Usher ready\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_talk(talk, &rows[i].s, SLICE(""), rows[i].told);
}

static void test_commands_that_need_no_login(void **state)
{
    static const struct row rows[] = {
        {SLICE("a CAPABILITY\r\n"), "* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID STARTTLS "
                                    "AUTH=PLAIN AUTH=LOGIN\r\na OK Capabilities told\r\n"},
        {SLICE("a capability\n"), "* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID STARTTLS "
                                  "AUTH=PLAIN AUTH=LOGIN\r\na OK Capabilities told\r\n"},
        {SLICE("a CAPABILITY x\r\n"), "a BAD CAPABILITY takes no arguments\r\n"},
        {SLICE("a NOOP\r\nb nOOp\r\n"), "a OK Nothing done\r\nb OK Nothing done\r\n"},
        {SLICE("a NOOP \r\n"), "a BAD NOOP takes no arguments\r\n"},
        {SLICE("a LOGOUT\r\nb NOOP\r\n"),
         "* BYE Logging out\r\na OK Logged out\r\n{client_logout}"},
        {SLICE("a LOGOUT now\r\n"), "a BAD LOGOUT takes no arguments\r\n"},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

static void test_commands_that_need_a_login_are_told_so(void **state)
{
    static const struct row rows[] = {
        {SLICE("a SELECT INBOX\r\n"), "a BAD Please log in first\r\n"},
        {SLICE("a enable UTF8=ACCEPT\r\n"), "a BAD Please log in first\r\n"},
        {SLICE("a UNSUBSCRIBE x\r\n"), "a BAD Please log in first\r\n"},
        {SLICE("a XYZZY\r\n"), "a BAD Unknown command\r\n"},
        {SLICE("a LOGI u p\r\n"), "a BAD Unknown command\r\n"},
        {SLICE("a SELECT {5}\r\nb NOOP\r\n"), "a BAD Please log in first\r\nb OK Nothing done\r\n"},
        {SLICE("a SELECT {5+}\r\nINBOX\r\nb NOOP\r\n"),
         "a BAD Please log in first\r\nb OK Nothing done\r\n"},
        {SLICE("a APPEND x ~{5+}\r\n\r\n\0\r\n\r\nb NOOP\r\n"),
         "a BAD Please log in first\r\nb OK Nothing done\r\n"},
        {SLICE("a NOOP {5}\r\nb NOOP\r\n"),
         "a BAD NOOP takes no arguments\r\nb OK Nothing done\r\n"},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

static void test_unparsable_commands(void **state)
{
    static const struct row rows[] = {
        {SLICE("\r\n"), "* BAD A command begins with a tag\r\n"},
        {SLICE("\n"), "* BAD A command begins with a tag\r\n"},
        {SLICE(" a NOOP\r\n"), "* BAD A command begins with a tag\r\n"},
        {SLICE("* NOOP\r\n"), "* BAD A command begins with a tag\r\n"},
        {SLICE("+ NOOP\r\n"), "* BAD A command begins with a tag\r\n"},
        {SLICE("a+b NOOP\r\n"), "a BAD A tag, one space and a command are expected\r\n"},
        {SLICE("\"a\" NOOP\r\n"), "* BAD A command begins with a tag\r\n"},
        {SLICE("{1+}\r\na NOOP\r\n"), "* BAD A command begins with a tag\r\n"},
        {SLICE("\0 NOOP\r\n"), "* BAD A command begins with a tag\r\n"},
        {SLICE("\xff NOOP\r\n"), "* BAD A command begins with a tag\r\n"},
        {SLICE("a]b-1. NOOP\r\n"), "a]b-1. OK Nothing done\r\n"},
        {SLICE("a\r\n"), "a BAD A tag, one space and a command are expected\r\n"},
        {SLICE("a \r\n"), "a BAD A tag, one space and a command are expected\r\n"},
        {SLICE("a  NOOP\r\n"), "a BAD A tag, one space and a command are expected\r\n"},
        {SLICE("a NOOP\r\r\n"), "a BAD NOOP takes no arguments\r\n"},
        {SLICE("a NO\rOP\r\n"), "a BAD Unknown command\r\n"},
        {SLICE("a NOOP\0\r\n"), "a BAD NOOP takes no arguments\r\n"},
        {SLICE("EHLO example.org\r\n"), "EHLO BAD Unknown command\r\n"},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

static void test_tag_is_answered_up_to_its_limit(void **state)
{
    char input[160], told[160];
    const struct setting s = {.params = &usual};

    (void)state;
    for (int n = 127; n <= 129; n++) {
        snprintf(input, sizeof(input), "%0*d NOOP\r\n", n, 7);
        if (n <= 128)
            snprintf(told, sizeof(told), "%0*d OK Nothing done\r\n", n, 7);
        else
            snprintf(told, sizeof(told), "* BAD A command begins with a tag\r\n");
        assert_talk(talk, &s, slice_str(input), told);
    }
}

/* ---- ID ---- */

#define ID_OK "* ID (\"name\" \"Usher\")\r\na OK ID told\r\n"
#define ID_BAD \
    "a BAD ID takes NIL or a list of at most 30 pairs of strings, of 30 bytes and 1024 bytes\r\n"
#define IN "}b OK Logged in.\r\n{rest }"

static void test_id_is_answered_and_kept_for_the_login(void **state)
{
    static const struct row rows[] = {
        {SLICE("a ID NIL\r\nb LOGIN u x\r\n"), ID_OK "{LOGIN u//x" IN},
        {SLICE("a id ()\nb LOGIN u x\r\n"), ID_OK "{LOGIN u//x" IN},
        {SLICE("a ID (\"name\" \"X \\\"y\\\"\" \"os\" nil)\r\nb LOGIN u x\r\n"),
         ID_OK "{LOGIN u//x id name=\"X \"y\"\",os=NIL" IN},
        {SLICE("a ID (\"a\" \"1\")\r\nb AUTHENTICATE PLAIN AHUAeA==\r\n"),
         ID_OK "{PLAIN u//x id a=\"1\"" IN},
        /* Literals of both sorts. */
        {SLICE("a ID ({4}\r\nname {1}\r\nX)\r\nb LOGIN u x\r\n"),
         "+ Go on\r\n+ Go on\r\n" ID_OK "{LOGIN u//x id name=\"X\"" IN},
        {SLICE("a ID ({4+}\r\nname {0+}\r\n)\r\nb LOGIN u x\r\n"),
         ID_OK "{LOGIN u//x id name=\"\"" IN},
        /* The last one counts, unless it is refused. */
        {SLICE("a ID (\"a\" \"1\")\r\na ID (\"b\" \"2\")\r\nb LOGIN u x\r\n"),
         ID_OK ID_OK "{LOGIN u//x id b=\"2\"" IN},
        {SLICE("a ID (\"a\" \"1\")\r\na ID NIL\r\nb LOGIN u x\r\n"), ID_OK ID_OK "{LOGIN u//x" IN},
        {SLICE("a ID (\"a\" \"1\")\r\na ID (\"b\")\r\nb LOGIN u x\r\n"),
         ID_OK ID_BAD "{LOGIN u//x id a=\"1\"" IN},
        /* It outlives a refused login. */
        {SLICE("a ID (\"a\" \"1\")\r\nc LOGIN u no\r\nb LOGIN u x\r\n"),
         ID_OK "{LOGIN u//no id a=\"1\"}c NO [AUTHENTICATIONFAILED] Wrong.\r\n"
               "{LOGIN u//x id a=\"1\"" IN},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

static void test_malformed_id(void **state)
{
    static const struct row rows[] = {
        {SLICE("a ID\r\n"), ID_BAD},
        {SLICE("a ID \r\n"), ID_BAD},
        {SLICE("a ID  NIL\r\n"), ID_BAD},
        {SLICE("a ID NIL \r\n"), ID_BAD},
        {SLICE("a ID \"x\"\r\n"), ID_BAD},
        {SLICE("a ID (\"a\" \"b\"\r\n"), ID_BAD},
        {SLICE("a ID (\"a\" \"b\") x\r\n"), ID_BAD},
        {SLICE("a ID (\"a\" {3+}\r\nx\0y)\r\nb NOOP\r\n"), ID_BAD "b OK Nothing done\r\n"},
        {SLICE("a ID (\"a\" {65}\r\nb NOOP\r\n"),
         "a BAD [TOOBIG] The literal is too large\r\nb OK Nothing done\r\n"},
        {SLICE("a ID (\"a\" {65+}\r\nb NOOP\r\n"),
         "a BAD [TOOBIG] The literal is too large\r\n"
         "* BYE [TOOBIG] The literal is too large\r\n{client_protocol}"},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

static void test_id_is_forgotten_at_starttls(void **state)
{
    static const struct row rows[] = {
        {SLICE("a ID (\"a\" \"1\")\r\nc STARTTLS\r\n\fb LOGIN u x\r\n"),
         ID_OK "c OK Begin TLS now\r\n{tls}{LOGIN u//x" IN},
        {SLICE("a ID (\"a\" \"1\")\r\nc STARTTLS\r\n\fa ID (\"b\" {1}\r\n2)\r\nb LOGIN u x\r\n"),
         ID_OK "c OK Begin TLS now\r\n{tls}+ Go on\r\n" ID_OK "{LOGIN u//x id b=\"2\"" IN},
    };

    (void)state;
    check(&strict, false, ROWS(rows));
}

static void test_id_is_bounded_and_counted(void **state)
{
    static const struct login_params wide = {.allows_cleartext = true,
                                             .max_line = 4000,
                                             .max_bytes = 99999,
                                             .max_literal = 4000,
                                             .max_tries = 2,
                                             .max_bad = 2};
    const struct setting s = {.params = &wide};
    char input[2000], told[2000];

    (void)state;
    for (int n = 1023; n <= 1025; n++) {
        snprintf(input, sizeof(input), "a ID (\"a\" {%d+}\r\n%0*d)\r\nb LOGIN u x\r\n", n, n, 7);
        if (n <= 1024)
            snprintf(told, sizeof(told), ID_OK "{LOGIN u//x id a=\"%0*d\"" IN, n, 7);
        else
            snprintf(told, sizeof(told), ID_BAD "{LOGIN u//x" IN);
        assert_talk(talk, &s, slice_str(input), told);
    }
    assert_talk(talk, &s, SLICE("a ID NIL\r\na ID NIL\r\na ID NIL\r\n"),
                ID_OK ID_OK "* BYE Too many bad or needless commands\r\n{client_protocol}");
}

/* ---- TLS ---- */

static void test_starttls(void **state)
{
    static const struct row rows[] = {
        {SLICE("a STARTTLS\r\n\fb LOGIN ann x\r\n"),
         "a OK Begin TLS now\r\n{tls}{LOGIN ann//x}b OK Logged in.\r\n{rest }"},
        {SLICE("a STARTTLS\r\n\fb CAPABILITY\r\nc STARTTLS\r\n"),
         "a OK Begin TLS now\r\n{tls}* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID AUTH=PLAIN "
         "AUTH=LOGIN\r\n"
         "b OK Capabilities told\r\nc BAD TLS is on already\r\n"},
        {SLICE("a STARTTLS x\r\n"), "a BAD STARTTLS takes no arguments\r\n"},
        {SLICE("a STARTTLS {3}\r\n"), "a BAD STARTTLS takes no arguments\r\n"},
    };
    static const struct row inside[] = {{SLICE("a STARTTLS\r\n"), "a BAD TLS is on already\r\n"}};

    (void)state;
    check(&strict, false, ROWS(rows));
    check(&strict, true, ROWS(inside));
}

static void test_bytes_behind_starttls_end_the_session(void **state)
{
    static const struct setting s = {.params = &strict};
    const struct slice input = SLICE("a NOOP\r\nb STARTTLS\r\nc");
    size_t n = input.n;

    (void)state;
    assert_talk_once(talk, &s, (struct pieces){input, n, n, 0},
                     "a OK Nothing done\r\n{client_injected}");
    assert_talk_once(talk, &s, (struct pieces){input, n - 2, n, 0},
                     "a OK Nothing done\r\n{client_injected}");
}

static void test_bytes_before_login_are_bounded(void **state)
{
    static const struct login_params few = {.can_starttls = true,
                                            .allows_cleartext = true,
                                            .max_line = 99,
                                            .max_literal = 40,
                                            .max_bytes = 30,
                                            .max_bad = 99,
                                            .max_tries = 9};
#define TOO_MUCH "* BYE Too much was sent before the login\r\n{login_bytes}"
    static const struct row rows[] = {
        /* 30 bytes, then one more. */
        {SLICE("a NOOP\r\nb NOOP\r\nc NOOP 78901\r\n"),
         "a OK Nothing done\r\nb OK Nothing done\r\nc BAD NOOP takes no arguments\r\n"},
        {SLICE("a NOOP\r\nb NOOP\r\nc NOOP 789012\r\n"),
         "a OK Nothing done\r\nb OK Nothing done\r\nc BAD NOOP takes no arguments\r\n" TOO_MUCH},
        /* Literals count, and STARTTLS forgets nothing. */
        {SLICE("a ID (\"x\" {20+}\r\n12345678901234567890)\r\n"),
         "* ID (\"name\" \"Usher\")\r\na OK ID told\r\n" TOO_MUCH},
        {SLICE("a NOOP\r\nb STARTTLS\r\n\fc NOOP\r\nd NOOP\r\n"),
         "a OK Nothing done\r\nb OK Begin TLS now\r\n{tls}c OK Nothing done\r\n"
         "d OK Nothing done\r\n" TOO_MUCH},
        /* A login that is long by itself is none the worse for it; what it follows counts. */
        {SLICE("a LOGIN u {30+}\r\n123456789012345678901234567890\r\n"),
         "{LOGIN u//123456789012345678901234567890}a OK Logged in.\r\n{rest }"},
    };

    (void)state;
    check(&few, false, ROWS(rows));
}

static void test_counts_outlive_starttls(void **state)
{
    static const struct login_params params = {
        .can_starttls = true, .max_line = 99, .max_bytes = 99999, .max_bad = 2, .max_tries = 1};
    static const struct row rows[] = {
        {SLICE("a NOOP\r\nb STARTTLS\r\n\fc NOOP\r\nd NOOP\r\n"),
         "a OK Nothing done\r\nb OK Begin TLS now\r\n{tls}c OK Nothing done\r\n"
         "* BYE Too many bad or needless commands\r\n{client_protocol}"}};

    (void)state;
    check(&params, false, ROWS(rows));
}

static void test_other_protocols_are_sent_away(void **state)
{
#define NO_WEB "* BYE This is an IMAP server, not a web server\r\n{client_protocol}"
    static const struct row rows[] = {
        {SLICE("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), NO_WEB},
        {SLICE("POST /x?y HTTP/1.0\n\na LOGIN u p\r\n"), NO_WEB},
        {SLICE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), NO_WEB},
        {SLICE("GET NOOP\r\n"), "GET OK Nothing done\r\n"},
        {SLICE("GET\r\n"), "GET BAD A tag, one space and a command are expected\r\n"},
        {SLICE("a LOGIN u HTTP/1.1\r\n"), "{LOGIN u//HTTP/1.1}a OK Logged in.\r\n{rest }"},
        {SLICE("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "{client_protocol}"},
        {SLICE("a NOOP\r\n\x16\x03\x01"), "a OK Nothing done\r\n{client_protocol}"},
    };
    static const struct row inside[] = {
        {SLICE("\x16\x03\r\n"), "* BAD A command begins with a tag\r\n"}};

    (void)state;
    check(&usual, false, ROWS(rows));
    check(&usual, true, ROWS(inside));
}

/* ---- Limits ---- */

static void test_line_limit(void **state)
{
    static const struct setting s = {.params = &usual};
    char input[256], told[256];

    (void)state;
    for (int n = 199; n <= 201; n++) {
        snprintf(input, sizeof(input), "a LOGIN u %0*d\r\nb NOOP\r\n", n - 12, 7);
        if (n <= 200)
            snprintf(told, sizeof(told), "{LOGIN u//%0*d}a OK Logged in.\r\n{rest b NOOP\r\n}",
                     n - 12, 7);
        else
            snprintf(told, sizeof(told), "* BYE The line is too long\r\n{client_protocol}");
        assert_talk(talk, &s, slice_str(input), told);
    }
    /* Without an end, and for the answer to a challenge. */
    snprintf(input, sizeof(input), "%0250d", 7);
    assert_talk(talk, &s, slice_str(input), "* BYE The line is too long\r\n{client_protocol}");
    snprintf(input, sizeof(input), "a AUTHENTICATE PLAIN\r\n%0200d", 7);
    assert_talk(talk, &s, slice_str(input),
                "+ \r\n* BYE The line is too long\r\n{client_protocol}");
}

static void test_literal_limit(void **state)
{
    static const struct setting s = {.params = &usual};
    static const struct row rows[] = {
        {SLICE("a LOGIN u {65}\r\nb NOOP\r\n"),
         "a BAD [TOOBIG] The literal is too large\r\nb OK Nothing done\r\n"},
        {SLICE("a LOGIN {1}\r\nu {64}\r\nb NOOP\r\n"),
         "+ Go on\r\na BAD [TOOBIG] The literal is too large\r\nb OK Nothing done\r\n"},
        {SLICE("a LOGIN u {65+}\r\nb NOOP\r\n"),
         "a BAD [TOOBIG] The literal is too large\r\n"
         "* BYE [TOOBIG] The literal is too large\r\n{client_protocol}"},
        {SLICE("a LOGIN {1+}\r\nu {64+}\r\nb NOOP\r\n"),
         "a BAD [TOOBIG] The literal is too large\r\n"
         "* BYE [TOOBIG] The literal is too large\r\n{client_protocol}"},
        {SLICE("{65}\r\n"), "* BAD [TOOBIG] The literal is too large\r\n"},
        {SLICE("a LOGIN u {99999999999}\r\n"), "a BAD [TOOBIG] The literal is too large\r\n"},
        {SLICE("a LOGIN u {4294967296}\r\n"), "a BAD [TOOBIG] The literal is too large\r\n"},
        {SLICE("a LOGIN u {18446744073709551616}\r\n"),
         "a BAD [TOOBIG] The literal is too large\r\n"},
        {SLICE("a LOGIN u {4294967296+}\r\n"),
         "a BAD [TOOBIG] The literal is too large\r\n"
         "* BYE [TOOBIG] The literal is too large\r\n{client_protocol}"},
    };
    char input[256], told[256];

    (void)state;
    check(&usual, false, ROWS(rows));
    for (int n = 63; n <= 64; n++) {
        snprintf(input, sizeof(input), "a LOGIN u {%d+}\r\n%0*d\r\n", n, n, 7);
        snprintf(told, sizeof(told), "{LOGIN u//%0*d}a OK Logged in.\r\n{rest }", n, 7);
        assert_talk(talk, &s, slice_str(input), told);
    }
}

/* The input buffer can always take what the largest command still needs. */
static void test_line_and_literals_at_both_limits(void **state)
{
    static const struct setting s = {.params = &usual};
    char input[512], told[512];

    (void)state;
    for (int n = 181; n <= 185; n++) {
        snprintf(input, sizeof(input), "a LOGIN %0*d {64+}\r\n%064d\r\n", n, 7, 7);
        if (n + 18 <= 200)
            snprintf(told, sizeof(told), "{LOGIN %0*d//%064d}a OK Logged in.\r\n{rest }", n, 7, 7);
        else
            snprintf(told, sizeof(told), "* BYE The line is too long\r\n{client_protocol}");
        assert_talk(talk, &s, slice_str(input), told);
    }
}

static void test_bad_commands_are_bounded(void **state)
{
    static const struct login_params two = {.allows_cleartext = true,
                                            .max_line = 99,
                                            .max_bytes = 99999,
                                            .max_literal = 9,
                                            .max_bad = 2,
                                            .max_tries = 9};
#define TOO_MANY "* BYE Too many bad or needless commands\r\n{client_protocol}"
    static const struct row rows[] = {
        {SLICE("a NOOP\r\n"), "a OK Nothing done\r\n"},
        {SLICE("a NOOP\r\nb NOOP\r\nc NOOP\r\n"),
         "a OK Nothing done\r\nb OK Nothing done\r\n" TOO_MANY},
        {SLICE("\r\n\r\n\r\n"), "* BAD A command begins with a tag\r\n"
                                "* BAD A command begins with a tag\r\n" TOO_MANY},
        {SLICE("a LOGIN u {10}\r\nb AUTHENTICATE PLAIN\r\n*\r\n"),
         "a BAD [TOOBIG] The literal is too large\r\n+ \r\nb BAD Cancelled\r\n" TOO_MANY},
        {SLICE("a LOGIN u down\r\nb LOGIN u held\r\n"),
         "{LOGIN u//down}a NO [UNAVAILABLE] No mail server can take the login now; please try "
         "again "
         "later\r\n{LOGIN u//held}b NO [INUSE] The mailbox is being worked on; please try again "
         "later\r\n" TOO_MANY},
    };

    (void)state;
    check(&two, false, ROWS(rows));
}

static void test_refused_logins_are_bounded(void **state)
{
    static const struct login_params two = {
        .allows_cleartext = true, .max_line = 99, .max_bytes = 99999, .max_bad = 9, .max_tries = 2};
    static const struct row rows[] = {
        {SLICE("a LOGIN u no\r\nb LOGIN u x\r\n"),
         "{LOGIN u//no}a NO [AUTHENTICATIONFAILED] Wrong.\r\n"
         "{LOGIN u//x}b OK Logged in.\r\n{rest }"},
        {SLICE("a LOGIN u no\r\nb LOGIN u no\r\nc LOGIN u x\r\n"),
         "{LOGIN u//no}a NO [AUTHENTICATIONFAILED] Wrong.\r\n"
         "{LOGIN u//no}b NO [AUTHENTICATIONFAILED] Wrong.\r\n"
         "* BYE Too many refused logins\r\n{login_tries}"},
        {SLICE("a LOGIN \"\" x\r\nb LOGIN \"\" x\r\nc LOGIN u x\r\n"),
         "a NO [AUTHENTICATIONFAILED] The user name is empty\r\n"
         "b NO [AUTHENTICATIONFAILED] The user name is empty\r\n"
         "* BYE Too many refused logins\r\n{login_tries}"},
        {SLICE("a LOGIN u no\r\nb LOGIN u over\r\nc LOGIN u x\r\n"),
         "{LOGIN u//no}a NO [AUTHENTICATIONFAILED] Wrong.\r\n{LOGIN u//over}b NO [LIMIT] Too many "
         "connections\r\n"
         "{LOGIN u//x}c OK Logged in.\r\n{rest }"},
    };

    (void)state;
    check(&two, false, ROWS(rows));
}

/* ---- Verdicts ---- */

static void test_words_of_the_backend_are_passed_on(void **state)
{
    static const struct row rows[] = {
        {SLICE("a LOGIN u bare\r\n"), "{LOGIN u//bare}a OK Hello\r\n{rest }"},
        {SLICE("a LOGIN u silent\r\n"), "{LOGIN u//silent}a OK Logged in\r\n{rest }"},
        {SLICE("a LOGIN u caps\r\n"),
         "{LOGIN u//caps}a OK [CAPABILITY IMAP4rev1 IDLE] Hello\r\n{rest }"},
        {SLICE("a LOGIN u code\r\n"),
         "{LOGIN u//code}a OK [CAPABILITY IMAP4rev1 X] Hello\r\n{rest }"},
        {SLICE("a LOGIN u other\r\n"),
         "{LOGIN u//other}* OK [ALERT] Disk full\r\n* ID NIL\r\n* CAPABILITY IMAP4rev1 IDLE\r\n"
         "a OK [REFERRAL imap://x/] Hello\r\n{rest }"},
        {SLICE("a LOGIN u odd\r\n"),
         "{LOGIN u//odd}a OK [CAPABILITY IMAP4rev1] [no code\r\n{rest }"},
        {SLICE("a LOGIN u noted-no\r\n"),
         "{LOGIN u//noted-no}* NO [ALERT] Caps lock?\r\na NO Wrong.\r\n"},
        {SLICE("a LOGIN u silent-no\r\n"),
         "{LOGIN u//silent-no}a NO The mail server has refused the login\r\n"},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

static void test_pipelined_bytes_are_the_backends_after_ok_and_ours_after_no(void **state)
{
    static const struct row rows[] = {
        {SLICE("a LOGIN u x\r\nb SELECT INBOX\r\nc NO"),
         "{LOGIN u//x}a OK Logged in.\r\n{rest b SELECT INBOX\r\nc NO}"},
        {SLICE("a LOGIN u no\r\nb SELECT INBOX\r\nc NO"),
         "{LOGIN u//no}a NO [AUTHENTICATIONFAILED] Wrong.\r\nb BAD Please log in first\r\n"},
    };

    (void)state;
    check(&usual, false, ROWS(rows));
}

static struct login *login_after(const struct login_params *params, const char *input,
                                 enum login_outcome outcome)
{
    struct login *l = login_new(params, false);

    assert_non_null(l);
    assert_int_equal(buf_puts(login_in(l), input), 0);
    assert_int_equal(login_step(l), outcome);
    return l;
}

static const struct login_verdict verdict_no = {.kind = LOGIN_NO, .text = SLICE("no")};

static void test_room_while_the_verdict_is_open_is_what_pipeline_allows(void **state)
{
    struct login *l = login_after(&usual, "a LOGIN u x\r\n", LOGIN_ADMIT);

    (void)state;
    assert_int_equal(buf_left(login_in(l)), 40);
    assert_int_equal(buf_puts(login_in(l), "b NOOP\r\n"), 0);
    assert_int_equal(login_step(l), LOGIN_ADMIT);
    assert_int_equal(buf_left(login_in(l)), 32);
    assert_null(buf_room(login_in(l), 33));
    assert_int_equal(login_verdict(l, &verdict_no), 0);
    assert_int_equal(login_step(l), LOGIN_MORE);
    assert_int_equal(buf_left(login_in(l)), 264);
    login_free(&l);
}

static void test_more_than_pipeline_allows_makes_the_client_wait(void **state)
{
    struct login *l = login_after(&usual,
                                  "a LOGIN u x\r\n"
                                  "b NOOP 01234567890123456789012345678901234567890\r\n",
                                  LOGIN_ADMIT);

    (void)state;
    assert_int_equal(buf_left(login_in(l)), 0);
    assert_int_equal(login_verdict(l, &verdict_no), 0);
    assert_int_equal(login_step(l), LOGIN_MORE);
    assert_int_equal(buf_len(login_in(l)), 0);
    login_free(&l);
}

static void test_steps_repeat_an_open_outcome(void **state)
{
    struct login *l = login_after(&usual, "a STARTTLS\r\n", LOGIN_STARTTLS);

    (void)state;
    assert_int_equal(login_step(l), LOGIN_STARTTLS);
    login_free(&l);
    l = login_after(&usual, "a LOGOUT\r\n", LOGIN_CLOSE);
    assert_int_equal(login_step(l), LOGIN_CLOSE);
    assert_int_equal(login_close_reason(l), CLOSE_CLIENT_LOGOUT);
    login_free(&l);
    login_free(&l);
}

static void test_bye_is_said_where_a_client_can_read_it(void **state)
{
    static const struct {
        const char *input;
        enum login_outcome outcome;
        bool is_said;
    } rows[] = {
        {"", LOGIN_MORE, true},
        {"a LOGIN {3}\r\n", LOGIN_MORE, true},
        {"a AUTHENTICATE PLAIN\r\n", LOGIN_MORE, true},
        {"a LOGIN u x\r\n", LOGIN_ADMIT, true},
        {"a STARTTLS\r\n", LOGIN_STARTTLS, false},
        {"a LOGOUT\r\n", LOGIN_CLOSE, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct login *l = login_after(&usual, rows[i].input, rows[i].outcome);

        buf_take(login_out(l), buf_len(login_out(l)));
        login_bye(l, "[UNAVAILABLE] Stopping");
        assert_int_equal(buf_len(login_out(l)), rows[i].is_said ? 30 : 0);
        if (rows[i].is_said)
            assert_memory_equal(buf_slice(login_out(l)).p, "* BYE [UNAVAILABLE] Stopping\r\n", 30);
        login_free(&l);
    }
}

/* Wherever the password was, it is not there when the verdict is given. */
static void test_password_is_wiped(void **state)
{
    struct login *l = login_after(&usual, "a LOGIN u s3cr3t-pw\r\nb", LOGIN_ADMIT);
    const struct login_request *r = login_request(l);
    char *raw = login_in(l)->p;

    (void)state;
    assert_int_equal(r->password.n, 9);
    assert_null(memmem(raw, login_in(l)->cap, "s3cr3t-pw", 9));
    assert_int_equal(login_verdict(l, &verdict_no), 0);
    login_free(&l);
}

/* Memory being out is seen as answers that do not fit. */
static void test_session_ends_when_an_answer_does_not_fit(void **state)
{
    static const char told[] = "a NO no\r\n";
    struct login *l;

    (void)state;
    for (uint32_t most = 0; most < sizeof(told); most++) {
        bool fits = most == sizeof(told) - 1;

        l = login_after(&usual, "a LOGIN u x\r\n", LOGIN_ADMIT);
        buf_release(login_out(l));
        login_out(l)->max = most;
        assert_int_equal(login_verdict(l, &verdict_no), fits ? 0 : -1);
        assert_int_equal(login_step(l), fits ? LOGIN_MORE : LOGIN_CLOSE);
        if (!fits)
            assert_int_equal(login_close_reason(l), CLOSE_LIMIT);
        login_free(&l);
    }
}

static void test_ok_that_does_not_fit_is_told_to_the_caller(void **state)
{
    static const struct login_verdict ok = {.kind = LOGIN_OK, .text = SLICE("in")};
    struct login *l;

    (void)state;
    for (uint32_t most = 8; most <= 9; most++) {
        l = login_after(&usual, "a LOGIN u x\r\n", LOGIN_ADMIT);
        buf_release(login_out(l));
        login_out(l)->max = most;
        assert_int_equal(login_verdict(l, &ok), most == 9 ? 0 : -1);
        login_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting_offers_what_may_be_used),
        cmocka_unit_test(test_commands_that_need_no_login),
        cmocka_unit_test(test_commands_that_need_a_login_are_told_so),
        cmocka_unit_test(test_unparsable_commands),
        cmocka_unit_test(test_tag_is_answered_up_to_its_limit),
        cmocka_unit_test(test_id_is_answered_and_kept_for_the_login),
        cmocka_unit_test(test_malformed_id),
        cmocka_unit_test(test_id_is_forgotten_at_starttls),
        cmocka_unit_test(test_id_is_bounded_and_counted),
        cmocka_unit_test(test_starttls),
        cmocka_unit_test(test_bytes_behind_starttls_end_the_session),
        cmocka_unit_test(test_bytes_before_login_are_bounded),
        cmocka_unit_test(test_counts_outlive_starttls),
        cmocka_unit_test(test_other_protocols_are_sent_away),
        cmocka_unit_test(test_line_limit),
        cmocka_unit_test(test_literal_limit),
        cmocka_unit_test(test_line_and_literals_at_both_limits),
        cmocka_unit_test(test_bad_commands_are_bounded),
        cmocka_unit_test(test_refused_logins_are_bounded),
        cmocka_unit_test(test_words_of_the_backend_are_passed_on),
        cmocka_unit_test(test_pipelined_bytes_are_the_backends_after_ok_and_ours_after_no),
        cmocka_unit_test(test_room_while_the_verdict_is_open_is_what_pipeline_allows),
        cmocka_unit_test(test_more_than_pipeline_allows_makes_the_client_wait),
        cmocka_unit_test(test_steps_repeat_an_open_outcome),
        cmocka_unit_test(test_bye_is_said_where_a_client_can_read_it),
        cmocka_unit_test(test_password_is_wiped),
        cmocka_unit_test(test_session_ends_when_an_answer_does_not_fit),
        cmocka_unit_test(test_ok_that_does_not_fit_is_told_to_the_caller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
