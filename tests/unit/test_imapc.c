/* The dialogue of an IMAP client: what a server says, what it is asked, what comes of it. */
#include "imapc_talk.h"

/* ---- Ways to a login ---- */

static void test_authenticate_plain(void **state)
{
    static const struct row rows[] = {
        {SLICE(HELLO OK_CAPS), ASK_PLAIN DONE_CAPS},
        {SLICE("* OK [CAPABILITY IMAP4rev1 auth=plain] Hi\r\n+ \r\n" OK_CAPS),
         "U1 AUTHENTICATE PLAIN\r\nAGFubgBzZWNyZXQ=\r\n" DONE_CAPS},
        {SLICE("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Hi\r\n+ Z28gb24=\r\n" OK_CAPS),
         "U1 AUTHENTICATE PLAIN\r\nAGFubgBzZWNyZXQ=\r\n" DONE_CAPS},
        {SLICE("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Hi\r\n+\r\n" OK_CAPS),
         "U1 AUTHENTICATE PLAIN\r\nAGFubgBzZWNyZXQ=\r\n" DONE_CAPS},
        /* PLAIN is used though LOGIN is disabled. */
        {SLICE("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN LOGINDISABLED] Hi\r\n" OK_CAPS),
         ASK_PLAIN DONE_CAPS},
        /* A refusal is the verdict; LOGIN is not tried after it. */
        {SLICE(HELLO "U1 NO [AUTHENTICATIONFAILED] Wrong\r\n"),
         ASK_PLAIN "{no [AUTHENTICATIONFAILED] Wrong}{}{}{rest }"},
        {SLICE("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Hi\r\nU1 NO Not so\r\n"),
         "U1 AUTHENTICATE PLAIN\r\n{no Not so}{}{}{rest }"},
    };

    (void)state;
    check(with("ann", "secret"), ROWS(rows));
}

static void test_login_by_quoted_strings(void **state)
{
    static const struct row rows[] = {
        {SLICE(HELLO_LOGIN OK_CAPS), "U1 LOGIN \"a b\" \"\\\"\\\\\"\r\n" DONE_CAPS},
        {SLICE(HELLO_LOGIN "U1 NO\r\n"), "U1 LOGIN \"a b\" \"\\\"\\\\\"\r\n{no }{}{}{rest }"},
    };
    static const struct row empty[] = {
        {SLICE(HELLO_LOGIN OK_CAPS), "U1 LOGIN \"ann\" \"\"\r\n" DONE_CAPS}};

    (void)state;
    check(with("a b", "\"\\"), ROWS(rows));
    check(with("ann", ""), ROWS(empty));
}

static void test_login_by_literals(void **state)
{
    static const struct row rows[] = {
        {SLICE("* OK [CAPABILITY IMAP4rev1 LITERAL+] Hi\r\n" OK_CAPS),
         "U1 LOGIN {2+}\r\n\xc3\xa4 {3+}\r\nx\r\n\r\n" DONE_CAPS},
        {SLICE("* OK [CAPABILITY IMAP4rev1 LITERAL-] Hi\r\n" OK_CAPS),
         "U1 LOGIN {2+}\r\n\xc3\xa4 {3+}\r\nx\r\n\r\n" DONE_CAPS},
        {SLICE(HELLO_LOGIN "+ go\r\n+ \r\n" OK_CAPS),
         "U1 LOGIN {2}\r\n\xc3\xa4 {3}\r\nx\r\n\r\n" DONE_CAPS},
        {SLICE(HELLO_LOGIN "U1 NO Not you\r\n"), "U1 LOGIN {2}\r\n{no Not you}{}{}{rest }"},
        {SLICE(HELLO_LOGIN "+ go\r\nU1 OK In\r\n"),
         "U1 LOGIN {2}\r\n\xc3\xa4 {3}\r\n{failed in login: the server says OK to half a login: "
         "In}"},
        {SLICE(HELLO_LOGIN "+ \r\n+ \r\n+ more\r\n"),
         "U1 LOGIN {2}\r\n\xc3\xa4 {3}\r\nx\r\n\r\n"
         "{failed in login: the server asks to go on where there is nothing to go on with: + "
         "more}"},
    };

    (void)state;
    check(with("\xc3\xa4", "x\r\n"), ROWS(rows));
}

static void test_literal_minus_carries_4096_bytes_without_waiting(void **state)
{
    static char password[4099] = "\xe4";
    struct imapc_params params = with("ann", password);
    struct imapc *c;

    (void)state;
    memset(password + 1, 'x', sizeof(password) - 1);
    for (size_t n = 4095; n <= 4097; n++) {
        params.password.n = n;
        c = imapc_new(&params);
        assert_int_equal(buf_puts(imapc_in(c), "* OK [CAPABILITY IMAP4rev1 LITERAL-] Hi\r\n"), 0);
        assert_int_equal(imapc_step(c), IMAPC_MORE);
        assert_int_equal(buf_len(imapc_out(c)), n <= 4096
                                                    ? strlen("U1 LOGIN \"ann\" {4096+}\r\n\r\n") + n
                                                    : strlen("U1 LOGIN \"ann\" {4097}\r\n"));
        imapc_free(&c);
    }
}

static void test_authorization_identity_is_passed_or_the_login_fails(void **state)
{
    struct imapc_params params = with("master", "secret");
    static const struct row rows[] = {
        {SLICE(HELLO OK_CAPS), "U1 AUTHENTICATE PLAIN YW5uAG1hc3RlcgBzZWNyZXQ=\r\n" DONE_CAPS},
        {SLICE(HELLO_LOGIN),
         "{failed in login: an authorization identity needs AUTH=PLAIN; offered "
         "is: IMAP4rev1}"},
    };

    (void)state;
    params.authzid = SLICE("ann");
    check(params, ROWS(rows));
}

static void test_credentials_with_nul_are_not_sent(void **state)
{
    struct imapc_params params = with("ann", "");
    static const struct row rows[] = {
        {SLICE(HELLO), "{failed in login: the credentials hold NUL, which cannot be sent}"},
        {SLICE(HELLO_LOGIN), "{failed in login: the credentials hold NUL, which cannot be sent}"}};

    (void)state;
    params.password = SLICE("a\0b");
    check(params, ROWS(rows));
    params = with("ann", "x");
    params.user = SLICE("a\0b");
    check(params, ROWS(rows));
    params = with("ann", "x");
    params.authzid = SLICE("\0");
    check(params, ROWS(rows));
}

static void test_logindisabled_is_obeyed(void **state)
{
    static const struct row rows[] = {
        {SLICE("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED STARTTLS] Hi\r\n"),
         "{failed in login: none of AUTH=PLAIN, LOGIN and AUTH=LOGIN is offered: IMAP4rev1 "
         "LOGINDISABLED STARTTLS}"}};

    (void)state;
    check(with("ann", "secret"), ROWS(rows));
}

/* ---- AUTHENTICATE LOGIN ---- */

#define HELLO_SASL_LOGIN "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED SASL-IR AUTH=LOGIN] Hi\r\n"
#define ASK_SASL_LOGIN   "U1 AUTHENTICATE LOGIN\r\n"

static void test_authenticate_login_is_the_last_resort(void **state)
{
    struct imapc_params params = with("ann", "secret");
    static const struct row rows[] = {
        {SLICE(HELLO_SASL_LOGIN "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n" OK_CAPS),
         ASK_SASL_LOGIN "YW5u\r\nc2VjcmV0\r\n" DONE_CAPS},
        /* Whatever it asks, be it no base 64. */
        {SLICE(HELLO_SASL_LOGIN "+\r\n+ Who, {me}?\r\nU1 NO no\r\n"),
         ASK_SASL_LOGIN "YW5u\r\nc2VjcmV0\r\n{no no}{}{}{rest }"},
        {SLICE(HELLO_SASL_LOGIN "+ \r\nU1 NO no\r\n"), ASK_SASL_LOGIN "YW5u\r\n{no no}{}{}{rest }"},
        {SLICE(HELLO_SASL_LOGIN "+ \r\nU1 OK what\r\n"),
         ASK_SASL_LOGIN "YW5u\r\n{failed in login: the server says OK to half a login: what}"},
        {SLICE(HELLO_SASL_LOGIN "+ \r\n+ \r\n+ \r\n"), ASK_SASL_LOGIN
         "YW5u\r\nc2VjcmV0\r\n{failed in login: the server asks to go on where there "
         "is nothing to go on with: + }"},
        /* PLAIN and LOGIN come first. */
        {SLICE("* OK [CAPABILITY IMAP4rev1 AUTH=LOGIN] Hi\r\n"), ASK_LOGIN "{more in login}"},
        {SLICE("* OK [CAPABILITY LOGINDISABLED AUTH=LOGIN AUTH=PLAIN SASL-IR] Hi\r\n"),
         ASK_PLAIN "{more in login}"},
    };
    static const struct row empty[] = {
        {SLICE(HELLO_SASL_LOGIN "+ \r\n+ \r\n" OK_CAPS), ASK_SASL_LOGIN "YW5u\r\n\r\n" DONE_CAPS}};
    static const struct row master[] = {
        {SLICE(HELLO_SASL_LOGIN),
         "{failed in login: an authorization identity needs AUTH=PLAIN; offered "
         "is: IMAP4rev1 LOGINDISABLED SASL-IR AUTH=LOGIN}"}};

    (void)state;
    check(params, ROWS(rows));
    check(with("ann", ""), ROWS(empty));
    params.authzid = SLICE("bob");
    check(params, ROWS(master));
}

/* ---- Capabilities ---- */

static void test_capabilities_are_asked_for_when_not_told(void **state)
{
    static const struct row rows[] = {
        {SLICE("* OK Hi\r\n* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\nU1 OK done\r\n"
               "U2 OK [CAPABILITY X] In\r\n"),
         ASK_CAPS "U2 AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\n{ok [CAPABILITY X] In}{}{X}{rest }"},
        {SLICE("* OK\r\nU1 OK [CAPABILITY IMAP4rev1] done\r\nU2 OK [CAPABILITY X] In\r\n"),
         ASK_CAPS "U2 LOGIN \"ann\" \"secret\"\r\n{ok [CAPABILITY X] In}{}{X}{rest }"},
        {SLICE("* ok [ALERT] Hi\r\n* OK [CAPABILITY IMAP4rev1] Hi\r\nu1 OK done\r\n"),
         ASK_CAPS "{failed in capability: the server answers what was not asked: u1 OK done}"},
        {SLICE("* OK Hi\r\nU1 OK done\r\n"), ASK_CAPS "{failed in capability: the server answers "
                                                      "CAPABILITY without telling any: done}"},
        {SLICE("* OK Hi\r\nU1 BAD what\r\n"),
         ASK_CAPS "{failed in capability: the server refuses CAPABILITY: what}"},
        {SLICE("* OK Hi\r\n* CAPABILITY {3}\r\nabc\r\n"), ASK_CAPS
         "{failed in capability: the capabilities hold a literal: * CAPABILITY {3}\r\nabc}"},
    };

    (void)state;
    check(with("ann", "secret"), ROWS(rows));
}

static void test_capabilities_after_login(void **state)
{
    static const struct row rows[] = {
        /* Told before the answer, in a line or in a code, or in the answer itself. */
        {SLICE(HELLO "* CAPABILITY A B\r\nU1 OK In\r\n"), ASK_PLAIN "{ok In}{}{A B}{rest }"},
        {SLICE(HELLO "* OK [CAPABILITY A B] x\r\nU1 OK In\r\n"), ASK_PLAIN "{ok In}{}{A B}{rest }"},
        {SLICE(HELLO "* CAPABILITY A B\r\nU1 OK [CAPABILITY C] In\r\n"),
         ASK_PLAIN "{ok [CAPABILITY C] In}{}{C}{rest }"},
        /* Asked for. */
        {SLICE(HELLO "U1 OK [ALERT] In\r\n* CAPABILITY A B\r\nU2 OK done\r\n"),
         ASK_PLAIN "U2 CAPABILITY\r\n{ok [ALERT] In}{}{A B}{rest }"},
        {SLICE(HELLO "U1 OK In\r\n* OK [ALERT] x\r\n* CAPABILITY A B\r\nU2 OK done\r\n"),
         ASK_PLAIN "U2 CAPABILITY\r\n{ok In}{* OK [ALERT] x\r\n}{A B}{rest }"},
        /* Not told: those from before the login do not count. */
        {SLICE(HELLO "U1 OK In\r\nU2 NO no\r\n"), ASK_PLAIN "U2 CAPABILITY\r\n{ok In}{}{}{rest }"},
        {SLICE(HELLO "U1 OK In\r\nU2 OK done\r\n"),
         ASK_PLAIN "U2 CAPABILITY\r\n{ok In}{}{}{rest }"},
        {SLICE(HELLO "U1 OK In\r\n"), ASK_PLAIN "U2 CAPABILITY\r\n{more in after_login}"},
        {SLICE(HELLO "U1 OK In\r\n* BYE Down\r\n"),
         ASK_PLAIN "U2 CAPABILITY\r\n{failed in after_login: the server says BYE: Down}"},
        {SLICE(HELLO "* CAPABILITY A B\r\nU1 NO no\r\n"), ASK_PLAIN "{no no}{}{}{rest }"},
        {SLICE(HELLO "U1 NO [CAPABILITY A B] no\r\n"), ASK_PLAIN "{no no}{}{}{rest }"},
        {SLICE(HELLO "U1 NO [capability]\r\n"), ASK_PLAIN "{no }{}{}{rest }"},
        {SLICE(HELLO "* NO [CAPABILITY A] x\r\n* BAD [CAPABILITY A] x\r\nU1 NO no\r\n"),
         ASK_PLAIN "{no no}{}{}{rest }"},
    };

    (void)state;
    check(with("ann", "secret"), ROWS(rows));
}

/* ---- Untagged lines ---- */

static void test_untagged_lines_are_kept_for_passing_on(void **state)
{
    static const struct row rows[] = {
        {SLICE(HELLO "* OK [ALERT] Disk\r\n* CAPABILITY X\r\n* ID (\"a\" {4}\r\n\r\n}\n)\r\n"
                     "U1 OK In\r\nrest"),
         ASK_PLAIN "{ok In}{* OK [ALERT] Disk\r\n* ID (\"a\" {4}\r\n\r\n}\n)\r\n}{X}{rest rest}"},
        {SLICE(HELLO "* NO {4}\r\nU1 NO In {5}\r\n* 5 EXISTS\r\n"),
         ASK_PLAIN "{no In {5}}{* NO {4}\r\n}{}{rest * 5 EXISTS\r\n}"},
        /* From before the login: dropped. */
        {SLICE("* OK Hi\r\n* OK [ALERT] x\r\n* CAPABILITY IMAP4rev1\r\nU1 OK done\r\nU2 NO x\r\n"),
         ASK_CAPS "U2 LOGIN \"ann\" \"secret\"\r\n{no x}{}{}{rest }"},
        {SLICE(HELLO_LOGIN "* 1 EXISTS\r\n* X\r\nU1 NO x\r\n"),
         ASK_LOGIN "{no x}{* 1 EXISTS\r\n* X\r\n}{}{rest }"},
    };

    (void)state;
    check(with("ann", "secret"), ROWS(rows));
}

static void test_untagged_lines_are_bounded_in_all(void **state)
{
    struct imapc_params params = with("ann", "secret");
    char input[600], told[400];

    (void)state;
    for (int n = 159; n <= 161; n++) {
        snprintf(input, sizeof(input), HELLO "* X %095d\r\n* %0*d\r\nU1 NO x\r\n", 7, n - 101 - 4,
                 7);
        if (n <= 160)
            snprintf(told, sizeof(told), ASK_PLAIN "{no x}{* X %095d\r\n* %0*d\r\n}{}{rest }", 7,
                     n - 101 - 4, 7);
        else
            snprintf(told, sizeof(told),
                     ASK_PLAIN "{failed in login: too many untagged responses: * %0*d}",
                     n - 101 - 4, 7);
        assert_talk(talk, &params, slice_str(input), told);
    }
    /* Capability lines and lines before the login count too, though they are not kept. */
    snprintf(input, sizeof(input), "* OK Hi\r\n* X %080d\r\n* X %080d\r\n", 7, 7);
    snprintf(told, sizeof(told),
             ASK_CAPS "{failed in capability: too many untagged responses: * X %080d}", 7);
    assert_talk(talk, &params, slice_str(input), told);
    snprintf(input, sizeof(input), HELLO "* CAPABILITY %080d\r\n* CAPABILITY %080d\r\n", 7, 7);
    snprintf(told, sizeof(told),
             ASK_PLAIN "{failed in login: too many untagged responses: * CAPABILITY %080d}", 7);
    assert_talk(talk, &params, slice_str(input), told);
}

static void test_server_lines_are_bounded(void **state)
{
    struct imapc_params params = with("ann", "secret");
    char input[400], told[400];

    (void)state;
    for (int n = 119; n <= 120; n++) {
        snprintf(input, sizeof(input), HELLO "U1 NO %0*d\r\n", n - 8, 7);
        snprintf(told, sizeof(told), ASK_PLAIN "{no %0*d}{}{}{rest }", n - 8, 7);
        assert_talk(talk, &params, slice_str(input), told);
    }
    /* What is told of an endless line depends on how much of it has come. */
    for (int n = 120; n <= 121; n++) {
        struct imapc *c = imapc_new(&params);

        snprintf(input, sizeof(input), "%0*d\r\n", n, 7);
        assert_int_equal(buf_put(imapc_in(c), slice_of(input, (size_t)n)), 0);
        assert_int_equal(imapc_step(c), IMAPC_FAILED);
        assert_memory_equal(imapc_failure(c), "the greeting has no end: 0000", 29);
        imapc_free(&c);
        c = imapc_new(&params);
        assert_int_equal(buf_puts(imapc_in(c), HELLO), 0);
        assert_int_equal(buf_put(imapc_in(c), slice_of(input, (size_t)n)), 0);
        assert_int_equal(imapc_step(c), IMAPC_FAILED);
        assert_memory_equal(imapc_failure(c), "a line is too long: 0000", 24);
        imapc_free(&c);
    }
}

static void test_server_literals_are_bounded(void **state)
{
    static const struct row rows[] = {
        {SLICE(HELLO "* X {161}\r\n"),
         ASK_PLAIN "{failed in login: a literal is too large: * X {161}}"},
        {SLICE(HELLO "* X {18446744073709551617}\r\n"),
         ASK_PLAIN "{failed in login: a literal is too large: * X {18446744073709551617}}"},
        {SLICE(HELLO "* X {160}\r\n"), ASK_PLAIN "{more in login}"},
        /* Not a literal from a server. */
        {SLICE(HELLO "* X {161+}\r\nU1 NO x\r\n"), ASK_PLAIN "{no x}{* X {161+}\r\n}{}{rest }"},
    };

    (void)state;
    check(with("ann", "secret"), ROWS(rows));
}

/* ---- STARTTLS ---- */

#define HELLO_TLS "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR] Hi\r\n"
#define ASK_TLS   "U1 STARTTLS\r\n"

static void test_starttls(void **state)
{
    struct imapc_params params = with("ann", "secret");
    static const struct row rows[] = {
        /* What was told in clear is forgotten: here PLAIN is not offered any more. */
        {SLICE(HELLO_TLS "U1 OK go\r\n\f* CAPABILITY IMAP4rev1\r\nU2 OK done\r\n"
                         "U3 OK [CAPABILITY X] In\r\n"),
         ASK_TLS "{tls}U2 CAPABILITY\r\nU3 LOGIN \"ann\" \"secret\"\r\n"
                 "{ok [CAPABILITY X] In}{}{X}{rest }"},
        /* Asked for though nothing was told. */
        {SLICE("* OK Hi\r\n* OK [ALERT] dropped\r\nU1 OK [CAPABILITY AUTH=PLAIN] go\r\n\f"),
         ASK_TLS "{tls}U2 CAPABILITY\r\n{more in capability}"},
        {SLICE(HELLO),
         "{failed in starttls: STARTTLS is not offered: IMAP4rev1 SASL-IR AUTH=PLAIN}"},
        {SLICE(HELLO_TLS "U1 NO not now\r\n"),
         ASK_TLS "{failed in starttls: the server refuses STARTTLS: not now}"},
        {SLICE(HELLO_TLS "U1 BAD what\r\n"),
         ASK_TLS "{failed in starttls: the server refuses STARTTLS: what}"},
        {SLICE(HELLO_TLS "* BYE no\r\n"), ASK_TLS "{failed in starttls: the server says BYE: no}"},
    };

    (void)state;
    params.wants_starttls = true;
    check(params, ROWS(rows));
}

static void test_bytes_behind_the_starttls_answer_are_a_failure(void **state)
{
    struct imapc_params params = with("ann", "secret");
    struct slice input = SLICE(HELLO_TLS "U1 OK go\r\n*");

    (void)state;
    params.wants_starttls = true;
    assert_talk_once(talk, &params, (struct pieces){input, input.n, 1, 0},
                     ASK_TLS
                     "{failed in starttls: bytes in clear lie behind the answer to STARTTLS}");
}

/* ---- Servers that are not what was expected ---- */

static void test_greetings_that_end_it(void **state)
{
    static const struct row rows[] = {
        {SLICE("* PREAUTH Hi\r\n"),
         "{failed in greeting: the greeting is PREAUTH: somebody is logged in already: Hi}"},
        {SLICE("* BYE Too busy\r\n"), "{failed in greeting: the server greets with BYE: Too busy}"},
        {SLICE("* BYE\r\n"), "{failed in greeting: the server greets with BYE}"},
        {SLICE("* NO no\r\n"), "{failed in greeting: the greeting is not IMAP: * NO no}"},
        {SLICE("* CAPABILITY IMAP4rev1\r\n"),
         "{failed in greeting: the greeting is not IMAP: * CAPABILITY IMAP4rev1}"},
        {SLICE("U1 OK Hi\r\n"), "{failed in greeting: the greeting is not IMAP: U1 OK Hi}"},
        {SLICE("+ Hi\r\n"), "{failed in greeting: the greeting is not IMAP: + Hi}"},
        {SLICE("220 mx.example.org ESMTP\r\n"),
         "{failed in greeting: the greeting is not IMAP but SMTP: 220 mx.example.org ESMTP}"},
        {SLICE("+OK POP3 ready\r\n"),
         "{failed in greeting: the greeting is not IMAP but POP3: +OK POP3 ready}"},
        {SLICE("HTTP/1.1 400 Bad Request\r\nX: y\r\n"),
         "{failed in greeting: the greeting is not IMAP but HTTP: HTTP/1.1 400 Bad Request}"},
        {SLICE("SSH-2.0-OpenSSH_9.2\r\n"),
         "{failed in greeting: the greeting is not IMAP but SSH: SSH-2.0-OpenSSH_9.2}"},
        {SLICE("220-mx.example.org ESMTP\n"),
         "{failed in greeting: the greeting is not IMAP but SMTP: 220-mx.example.org ESMTP}"},
        {SLICE("421 Too busy\r\n"),
         "{failed in greeting: the greeting is not IMAP but SMTP: 421 Too busy}"},
        {SLICE("554 No\r\n"), "{failed in greeting: the greeting is not IMAP but SMTP: 554 No}"},
        {SLICE("-ERR no\r\n"), "{failed in greeting: the greeting is not IMAP but POP3: -ERR no}"},
        {SLICE("\"IMPLEMENTATION\" \"x\"\r\n"), "{failed in greeting: the greeting is not IMAP but "
                                                "ManageSieve: \"IMPLEMENTATION\" \"x\"}"},
        {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 1 143\r\n"),
         "{failed in greeting: the greeting is a PROXY header: PROXY TCP4 192.0.2.1 192.0.2.2 1 "
         "143}"},
        /* Records of TLS, alert and handshake, which may hold LF anywhere or nowhere. */
        {SLICE("\x15\x03\x03"), "{failed in greeting: the greeting is not IMAP but TLS}"},
        {SLICE("\x16\x03\x01\x02\n\x01"), "{failed in greeting: the greeting is not IMAP but TLS}"},
        {SLICE("\x14\x03\r\n"), "{failed in greeting: the greeting is not IMAP: \x14\x03}"},
        {SLICE("\xff\xfe\x01\r\n"), "{failed in greeting: the greeting is not IMAP: \xff\xfe\x01}"},
        {SLICE("* OK bare\n"), "{failed in greeting: the greeting is not IMAP: * OK bare}"},
        {SLICE("* OK \0\r\n"), "{failed in greeting: the greeting is not IMAP: * OK }"},
        {SLICE("\r\n"), "{failed in greeting: the greeting is not IMAP}"},
        {SLICE(""), "{more in greeting}"},
        {SLICE("* OK"), "{more in greeting}"},
    };

    (void)state;
    check(with("ann", "secret"), ROWS(rows));
}

static void test_server_breaks_the_protocol_at_login(void **state)
{
#define FAILED(words) ASK_PLAIN "{failed in login: " words "}"
    static const struct row rows[] = {
        {SLICE(HELLO "U1 BAD Syntax\r\n"),
         FAILED("the server does not understand the login: Syntax")},
        {SLICE(HELLO "* BYE Down\r\n"), FAILED("the server says BYE: Down")},
        {SLICE(HELLO "* PREAUTH x\r\n"), FAILED("PREAUTH after the greeting: x")},
        {SLICE(HELLO "U2 OK x\r\n"), FAILED("the server answers what was not asked: U2 OK x")},
        {SLICE(HELLO "U11 OK x\r\n"), FAILED("the server answers what was not asked: U11 OK x")},
        {SLICE(HELLO "PROXY BAD what\r\n"),
         FAILED("the server takes the PROXY header for a command: PROXY BAD what")},
        {SLICE(HELLO "QUIT BAD what\r\n"),
         FAILED("the server takes the PROXY header for a command: QUIT BAD what")},
        {SLICE(HELLO "U1 BYE x\r\n"), FAILED("this is not IMAP: U1 BYE x")},
        {SLICE(HELLO "U1 FETCH x\r\n"), FAILED("this is not IMAP: U1 FETCH x")},
        {SLICE(HELLO "U1\r\n"), FAILED("this is not IMAP: U1")},
        {SLICE(HELLO "*\r\n"), FAILED("this is not IMAP: *")},
        {SLICE(HELLO "* \r\n"), FAILED("this is not IMAP: * ")},
        {SLICE(HELLO "* OK(x\r\n"), FAILED("this is not IMAP: * OK(x")},
        {SLICE(HELLO "+x\r\n"), FAILED("this is not IMAP: +x")},
        {SLICE(HELLO "\r\n"), FAILED("this is not IMAP")},
        {SLICE(HELLO "U1 NO a\rb\r\n"), FAILED("this is not IMAP: U1 NO a\rb")},
        {SLICE(HELLO "U1 NO a\0b\r\n"), FAILED("this is not IMAP: U1 NO a")},
        {SLICE(HELLO "* X a\rb\r\n"), FAILED("this is not IMAP: * X a\rb")},
        {SLICE(HELLO "U1 OK x\n"), FAILED("a line ends without CR: U1 OK x")},
        {SLICE(HELLO "\n"), FAILED("a line ends without CR")},
        /* PLAIN with an initial response leaves nothing to be asked for. */
        {SLICE(HELLO "+ \r\n"),
         FAILED("the server asks to go on where there is nothing to go on with"
                ": + ")},
    };
    static const struct row twice[] = {
        {SLICE(HELLO "U1 OK x\r\nU1 OK x\r\n"),
         ASK_PLAIN "U2 CAPABILITY\r\n"
                   "{failed in after_login: the server answers what was not asked: U1 OK x}"}};

    (void)state;
    check(with("ann", "secret"), ROWS(rows));
    check(with("ann", "secret"), ROWS(twice));
}

static void test_failure_never_holds_the_password(void **state)
{
    static const struct row plain[] = {
        {SLICE(HELLO "U1 BAD AUTHENTICATE PLAIN AGFubgBzZWNyZXQ= what?\r\n"),
         FAILED("the server does not understand the login: (words that hold the password)")},
        {SLICE(HELLO "U1 BAD ann secret what?\r\n"),
         FAILED("the server does not understand the login: (words that hold the password)")},
    };
    static const struct row quoted[] = {
        {SLICE(HELLO_LOGIN "U1 BAD LOGIN \"ann\" \"s\\\"t\"?\r\n"),
         "U1 LOGIN \"ann\" \"s\\\"t\"\r\n{failed in login: the server does not understand the "
         "login: "
         "(words that hold the password)}"},
    };

    (void)state;
    check(with("ann", "secret"), ROWS(plain));
    check(with("ann", "s\"t"), ROWS(quoted));
}

static void test_long_words_are_cut_in_a_failure(void **state)
{
    struct imapc_params params = with("ann", "secret");
    char input[400], told[400];

    (void)state;
    params.max_line = 200;
    for (int n = 120; n <= 121; n++) {
        snprintf(input, sizeof(input), "* BYE %0*d\r\n", n, 7);
        snprintf(told, sizeof(told), "{failed in greeting: the server greets with BYE: %0119d%s}",
                 0, n == 120 ? "7" : "0...");
        assert_talk(talk, &params, slice_str(input), told);
    }
}

static void test_outcomes_are_repeated(void **state)
{
    struct imapc_params params = with("ann", "secret");
    struct imapc *c = imapc_new(&params);

    (void)state;
    assert_int_equal(buf_puts(imapc_in(c), HELLO OK_CAPS), 0);
    assert_int_equal(imapc_step(c), IMAPC_DONE);
    assert_int_equal(imapc_step(c), IMAPC_DONE);
    imapc_free(&c);
    imapc_free(&c);
}

/* Memory being out is seen as a command that does not fit. */
static void assert_all_must_fit(struct imapc_params params, const char *input, size_t whole)
{
    for (uint32_t most = 0; most <= whole; most++) {
        struct imapc *c = imapc_new(&params);

        imapc_out(c)->max = most;
        assert_int_equal(buf_puts(imapc_in(c), input), 0);
        assert_int_equal(imapc_step(c), most == whole ? IMAPC_MORE : IMAPC_FAILED);
        if (most < whole)
            assert_string_equal(imapc_failure(c), "memory is out");
        imapc_free(&c);
    }
}

static void test_command_that_does_not_fit_is_a_failure(void **state)
{
    (void)state;
    /* Formatted text needs room for a NUL, so a little more than it takes at last. */
    assert_all_must_fit(with("ann", "secret"), HELLO, strlen(ASK_PLAIN));
    assert_all_must_fit(with("ann", "secret"), HELLO_LOGIN, strlen(ASK_LOGIN));
    assert_all_must_fit(with("ann", "secret"), "* OK Hi\r\n", strlen(ASK_CAPS) + 1);
    assert_all_must_fit(with("\xe4", "x"), "* OK [CAPABILITY LITERAL+] Hi\r\n",
                        strlen("U1 LOGIN {1+}\r\nx \"x\"\r\n"));
    assert_all_must_fit(with("\xe4", "x"), HELLO_LOGIN, strlen("U1 LOGIN {1}\r\n") + 1);
}

/* ---- The connection's end ---- */

static void test_end_of_the_connection_is_told(void **state)
{
    static const struct {
        const char *input, *failure;
    } rows[] = {
        {"", "the server closed the connection without a word"},
        {"* O", "the server closed the connection within the greeting: * O"},
        {"220 mx", "the server closed the connection within the greeting: 220 mx"},
        {"* OK Hi\r\n", "the server closed the connection"},
        {HELLO, "the server closed the connection"},
        {HELLO "U1 BAD ann sec", "the server closed the connection within a line"},
        {HELLO "U1 OK In\r\n", "the server closed the connection"},
    };
    const struct imapc_params params = with("ann", "secret");

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct imapc *c = imapc_new(&params);

        assert_int_equal(buf_puts(imapc_in(c), rows[i].input), 0);
        assert_int_equal(imapc_step(c), IMAPC_MORE);
        imapc_closed(c);
        assert_int_equal(imapc_step(c), IMAPC_FAILED);
        assert_string_equal(imapc_failure(c), rows[i].failure);
        imapc_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_authenticate_plain),
        cmocka_unit_test(test_login_by_quoted_strings),
        cmocka_unit_test(test_login_by_literals),
        cmocka_unit_test(test_literal_minus_carries_4096_bytes_without_waiting),
        cmocka_unit_test(test_authorization_identity_is_passed_or_the_login_fails),
        cmocka_unit_test(test_credentials_with_nul_are_not_sent),
        cmocka_unit_test(test_logindisabled_is_obeyed),
        cmocka_unit_test(test_authenticate_login_is_the_last_resort),
        cmocka_unit_test(test_capabilities_are_asked_for_when_not_told),
        cmocka_unit_test(test_capabilities_after_login),
        cmocka_unit_test(test_untagged_lines_are_kept_for_passing_on),
        cmocka_unit_test(test_untagged_lines_are_bounded_in_all),
        cmocka_unit_test(test_server_lines_are_bounded),
        cmocka_unit_test(test_server_literals_are_bounded),
        cmocka_unit_test(test_starttls),
        cmocka_unit_test(test_bytes_behind_the_starttls_answer_are_a_failure),
        cmocka_unit_test(test_greetings_that_end_it),
        cmocka_unit_test(test_server_breaks_the_protocol_at_login),
        cmocka_unit_test(test_failure_never_holds_the_password),
        cmocka_unit_test(test_long_words_are_cut_in_a_failure),
        cmocka_unit_test(test_outcomes_are_repeated),
        cmocka_unit_test(test_command_that_does_not_fit_is_a_failure),
        cmocka_unit_test(test_end_of_the_connection_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
