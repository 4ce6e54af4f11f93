/* What speaks on a port, asked of servers of many kinds: those that greet, that wait for TLS, HTTP
 * or a PROXY header, and that greet late. */
#include "probe_world.h"

/* In any of the words for them. */
static void assert_no_login(const struct peer *p)
{
    static const char *const words[] = {"LOGIN", "AUTH", "USER", "PASS"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasestr(p->heard, words[i]))
            fail_msg("\"%s\" was said in: %s", words[i], p->heard);
}

/* ---- honest servers ---- */

#define IMAP_GREETING "* OK [CAPABILITY IMAP4rev1 ID STARTTLS] Dovecot ready.\r\n"

static const struct exchange imap[] = {
    {"CAPABILITY", "* CAPABILITY IMAP4rev1 ID AUTH=PLAIN\r\n% OK done\r\n", false},
    {" ID ", "* ID (\"name\" \"Dovecot\" \"version\" \"2.3\")\r\n% OK done\r\n", false},
    {"STARTTLS", "% OK go\r\n", true},
    {"LOGOUT", "* BYE\r\n% OK\r\n", false},
    {NULL, "% BAD what\r\n", false},
};

static const struct exchange pop3[] = {
    {"CAPA", "+OK\r\nTOP\r\nSASL PLAIN LOGIN\r\nSTLS\r\nIMPLEMENTATION X 1\r\n.\r\n", false},
    {"STLS", "+OK go\r\n", true},
    {"QUIT", "+OK\r\n", false},
    {NULL, "-ERR\r\n", false},
};

static const struct exchange smtp[] = {
    {"EHLO [127.0.0.1]", "250-x\r\n250-SIZE 1000\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n",
     false},
    {"STARTTLS", "220 go\r\n", true},
    {"QUIT", "221 bye\r\n", false},
    {NULL, "500 what\r\n", false},
};

static const struct exchange lmtp[] = {
    {"LHLO [127.0.0.1]", "250-x\r\n250 PIPELINING\r\n", false},
    {"QUIT", "221 bye\r\n", false},
    {NULL, "500 5.5.1 Unknown command\r\n", false},
};

static const struct exchange old_smtp[] = {
    {"HELO [127.0.0.1]", "250 x\r\n", false},
    {"QUIT", "221 bye\r\n", false},
    {NULL, "500 what\r\n", false},
};

static const struct exchange ftp[] = {
    {NULL, "530 Please login with USER and PASS.\r\n", false},
};

#define SIEVE_CAPS                                                                            \
    "\"IMPLEMENTATION\" \"Dovecot Pigeonhole\"\r\n\"SIEVE\" \"fileinto reject\"\r\n\"SASL\" " \
    "\"\"\r\n\"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\nOK \"ready.\"\r\n"

static const struct exchange http[] = {
    {"HEAD / HTTP/1.1", "HTTP/1.1 200 OK\r\nDate: x\r\nServer: thing/1.0\r\n\r\n", false},
    {NULL, "", false},
};

static void test_servers_that_greet_are_known(void **state)
{
    static const struct {
        const char *greeting;
        const struct exchange *exchanges;
        enum speaks speaks;
        const char *caps, *server;
    } rows[] = {
        {"* OK ready\r\n", imap, SPEAKS_IMAP, "IMAP4rev1 ID AUTH=PLAIN", "Dovecot 2.3"},
        {"* OK [CAPABILITY IMAP4rev1] ready\r\n", imap, SPEAKS_IMAP, "IMAP4rev1", ""},
        {"* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] ann\r\n", imap, SPEAKS_IMAP,
         "IMAP4rev1 STARTTLS", ""},
        {"220 x LMTP\r\n", lmtp, SPEAKS_LMTP, "PIPELINING", ""},
        {"220 x Dovecot ready.\r\n", lmtp, SPEAKS_LMTP, "PIPELINING", ""},
        {"220 x LMTP\r\n", old_smtp, SPEAKS_LMTP, "", ""},
        {"220 x ready\r\n", old_smtp, SPEAKS_SMTP, "", ""},
        {"220 (vsFTPd 3.0.3)\r\n", NULL, SPEAKS_FTP, "", ""},
        {"220 Welcome\r\n", ftp, SPEAKS_FTP, "", ""},
        {"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", NULL, SPEAKS_SSH, "", ""},
        {"200 x InterNetNews NNRP server INN 2.7.1 ready (posting ok)\r\n", NULL, SPEAKS_NNTP, "",
         ""},
        {"* OK x admind 3.8 server ready\r\n", NULL, SPEAKS_ADMIND, "", ""},
        {"HTTP/1.1 400 Bad Request\r\nServer: thing/1.0\r\n\r\n", NULL, SPEAKS_HTTP, "",
         "thing/1.0"},
        {"RFB 003.008\n", NULL, SPEAKS_UNKNOWN, "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer p = {.greeting = rows[i].greeting, .exchanges = rows[i].exchanges};

        probe(&p, LONG);
        assert_speaks(rows[i].speaks);
        assert_memory_equal(report->greeting, rows[i].greeting, strcspn(rows[i].greeting, "\r\n"));
        assert_string_equal(report->caps_clear, rows[i].caps);
        assert_string_equal(report->server, rows[i].server);
        assert_string_equal(report->caps_tls, "");
        assert_int_equal(report->connections, 1);
        assert_int_equal(report->proxy, 0);
        assert_false(report->is_implicit_tls || report->offers_starttls || report->has_certificate);
        assert_no_login(&p);
    }
}

static void test_what_is_within_starttls_is_asked_on_another_connection(void **state)
{
    static const struct exchange imap_twice[] = {
        {"CAPABILITY", "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n% OK done\r\n", false},
        {"STARTTLS", "% OK go\r\n", true},
        {"LOGOUT", "* BYE\r\n% OK\r\n", false},
        {NULL, "% BAD what\r\n", false},
    };
    static const struct {
        const char *greeting;
        const struct exchange *exchanges;
        enum speaks speaks;
        const char *clear, *tls;
    } rows[] = {
        {"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n", imap_twice, SPEAKS_IMAP,
         "IMAP4rev1 STARTTLS", "IMAP4rev1 AUTH=PLAIN"},
        {"+OK ready\r\n", pop3, SPEAKS_POP3, "TOP SASL=PLAIN,LOGIN STLS",
         "TOP SASL=PLAIN,LOGIN STLS"},
        {"220-x ESMTP\r\n220 two lines\r\n", smtp, SPEAKS_SMTP,
         "SIZE=1000 STARTTLS AUTH=PLAIN,LOGIN", "SIZE=1000 STARTTLS AUTH=PLAIN,LOGIN"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer p = {
            .greeting = rows[i].greeting, .exchanges = rows[i].exchanges, .tls = peer_tls(&good)};

        probe(&p, LONG);
        assert_speaks(rows[i].speaks);
        assert_string_equal(report->trouble, "");
        assert_true(report->offers_starttls && !report->is_implicit_tls);
        assert_string_equal(report->caps_clear, rows[i].clear);
        assert_string_equal(report->caps_tls, rows[i].tls);
        assert_string_equal(report->tls_version, "TLSv1.3");
        assert_int_equal(report->connections, 2);
        assert_true(report->has_certificate);
        assert_string_equal(report->untrusted, "");
        assert_no_login(&p);
        SSL_CTX_free(p.tls);
    }
}

/* The capabilities come by themselves behind the handshake. */
static void serve_sieve(struct side *s)
{
    char line[256];

    if (!side_say(s, SIEVE_CAPS))
        return;
    while (side_line(s, line, sizeof line)) {
        if (strncmp(line, "STARTTLS", 8) == 0) {
            if (!side_say(s, "OK \"go\"\r\n") || !side_shake(s) ||
                !side_say(s, "\"SASL\" \"PLAIN\"\r\nOK\r\n"))
                return;
        } else if (!side_say(s, strncmp(line, "CAP", 3) == 0 ? SIEVE_CAPS : "OK\r\n")) {
            return;
        }
    }
}

static void test_managesieve_with_starttls(void **state)
{
    struct peer p = {.serve = serve_sieve, .tls = peer_tls(&good)};

    (void)state;
    probe(&p, LONG);
    assert_speaks(SPEAKS_SIEVE);
    assert_string_equal(report->trouble, "");
    assert_string_equal(report->server, "Dovecot Pigeonhole");
    assert_string_equal(report->caps_clear, "SIEVE=fileinto,reject SASL STARTTLS VERSION=1.0");
    assert_string_equal(report->caps_tls, "SASL=PLAIN");
    assert_true(report->offers_starttls);
    SSL_CTX_free(p.tls);
}

static void test_http_is_asked_for_when_nothing_was_said(void **state)
{
    struct peer p = {.exchanges = http};

    (void)state;
    probe(&p, BRIEFLY);
    assert_speaks(SPEAKS_HTTP);
    assert_string_equal(report->greeting, "HTTP/1.1 200 OK");
    assert_string_equal(report->server, "thing/1.0");
    assert_non_null(strstr(p.heard, "Host: mail.example.org\r\n"));
}

static void test_the_address_is_the_host_where_no_name_is_known(void **state)
{
    struct peer p = {.exchanges = http};
    struct probe_params params = params_of(&p, BRIEFLY);
    char host[ADDR_TEXT + 16], address[ADDR_TEXT];

    (void)state;
    params.name = "no\r\nname";
    probe_with(&p, params);
    assert_speaks(SPEAKS_HTTP);
    snprintf(host, sizeof host, "Host: %s\r\n", addr_format(&p.addr, address));
    assert_non_null(strstr(p.heard, host));
}

/* ---- implicit TLS ---- */

static void test_implicit_tls(void **state)
{
    (void)state;
    for (int tls_first = 0; tls_first <= 1; tls_first++) {
        struct peer p = {.greeting = "* OK ready\r\n",
                         .exchanges = imap,
                         .is_tls = true,
                         .tls = peer_tls(&good)};
        struct probe_params params = params_of(&p, tls_first ? LONG : BRIEFLY);

        params.tls_first = tls_first;
        probe_with(&p, params);
        assert_speaks(SPEAKS_IMAP);
        assert_true(report->is_implicit_tls && !report->offers_starttls);
        assert_string_equal(report->caps_clear, "");
        assert_string_equal(report->caps_tls, "IMAP4rev1 ID AUTH=PLAIN");
        assert_string_equal(report->server, "Dovecot 2.3");
        assert_string_equal(report->tls_version, "TLSv1.3");
        assert_string_equal(report->tls_cipher, "TLS_AES_256_GCM_SHA384");
        assert_string_equal(report->subject, "CN=mail.example.org");
        assert_string_equal(report->issuer, "CN=A CA");
        assert_string_equal(report->certificate.key_kind, "ECDSA");
        assert_int_equal(report->certificate.names_n, 1);
        assert_string_equal(report->untrusted, "");
        assert_int_equal(report->connections, tls_first ? 1 : 2);
        SSL_CTX_free(p.tls);
    }
}

static void test_http_within_tls(void **state)
{
    struct peer p = {.exchanges = http, .is_tls = true, .tls = peer_tls(&good)};
    struct probe_params params = params_of(&p, BRIEFLY);

    (void)state;
    params.tls_first = true;
    probe_with(&p, params);
    assert_speaks(SPEAKS_HTTP);
    assert_true(report->is_implicit_tls && report->has_certificate);
    SSL_CTX_free(p.tls);
}

static void test_something_unknown_within_tls_is_tls(void **state)
{
    struct peer p = {.is_tls = true, .tls = peer_tls(&good)};

    (void)state;
    probe(&p, BRIEFLY);
    assert_speaks(SPEAKS_TLS);
    assert_true(report->is_implicit_tls && report->has_certificate);
    assert_string_equal(report->greeting, "");
    SSL_CTX_free(p.tls);
}

static void test_clear_text_where_tls_is_customary(void **state)
{
    struct peer p = {.greeting = "* OK ready\r\n", .exchanges = imap};
    struct probe_params params = params_of(&p, LONG);

    (void)state;
    params.tls_first = true;
    probe_with(&p, params);
    assert_speaks(SPEAKS_IMAP);
    assert_false(report->is_implicit_tls);
    assert_string_equal(report->trouble, "");
}

static void test_certificates_that_a_client_would_refuse(void **state)
{
    const struct {
        const struct cert *cert;
        const char *name, *words[3];
    } rows[] = {
        {&expired, "mail.example.org", {"certificate has expired"}},
        {&good, "other.example.org", {"hostname mismatch"}},
        {&expired, "other.example.org", {"hostname mismatch", "certificate has expired"}},
        {&alone, "mail.example.org", {"self-signed certificate"}},
        {&alone, "x.example.org", {"self-signed certificate", "hostname mismatch"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer p = {.greeting = "* OK ready\r\n",
                         .exchanges = imap,
                         .is_tls = true,
                         .tls = peer_tls(rows[i].cert)};
        struct probe_params params = params_of(&p, LONG);

        params.tls_first = true;
        params.name = rows[i].name;
        probe_with(&p, params);
        assert_speaks(SPEAKS_IMAP);
        for (size_t k = 0; k < 3 && rows[i].words[k]; k++)
            if (!strstr(report->untrusted, rows[i].words[k]))
                fail_msg("\"%s\" is not in \"%s\"", rows[i].words[k], report->untrusted);
        params.ca_pem = (struct slice){0};
        p.connections = 0;
        probe_with(&p, params);
        assert_string_equal(report->untrusted, "");
        assert_true(report->has_certificate);
        SSL_CTX_free(p.tls);
    }
}

static void test_tls_that_cannot_be_spoken_with_has_words(void **state)
{
    struct peer p = {.is_tls = true, .tls = peer_tls(&good)};

    (void)state;
    SSL_CTX_set_security_level(p.tls, 0);
    SSL_CTX_set_min_proto_version(p.tls, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(p.tls, TLS1_VERSION);
    probe(&p, BRIEFLY);
    assert_speaks(SPEAKS_TLS);
    assert_true(report->is_implicit_tls && !report->has_certificate);
    assert_non_null(strstr(report->trouble, "no version of TLS in common"));
    SSL_CTX_free(p.tls);
}

/* With TLS 1.3 that comes out after the handshake. */
static void test_a_server_that_wants_a_certificate_of_ours(void **state)
{
    struct peer p = {
        .greeting = "* OK ready\r\n", .exchanges = imap, .is_tls = true, .tls = peer_tls(&good)};

    (void)state;
    SSL_CTX_set_verify(p.tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    probe(&p, BRIEFLY);
    assert_speaks(SPEAKS_TLS);
    assert_true(report->has_certificate);
    assert_non_null(strstr(report->trouble, "certificate required"));
    SSL_CTX_free(p.tls);
}

/* ---- behind a PROXY header ---- */

static void test_servers_that_wait_for_a_header(void **state)
{
    static const struct {
        unsigned takes, proxy;
        const char *to_nonsense;
    } rows[] = {
        {TAKES_V1, PROBE_PROXY_V1, NULL},
        {TAKES_V2, PROBE_PROXY_V2, NULL},
        {TAKES_V1 | TAKES_V2, PROBE_PROXY_V1 | PROBE_PROXY_V2, NULL},
        /* Postfix' word for those that it drops. */
        {TAKES_V1 | TAKES_V2, PROBE_PROXY_V1 | PROBE_PROXY_V2,
         "421 4.3.0 x Server local error\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer p = {.greeting = IMAP_GREETING,
                         .exchanges = imap,
                         .header = rows[i].takes,
                         .to_nonsense = rows[i].to_nonsense,
                         .tls = peer_tls(&good)};

        probe(&p, BRIEFLY);
        assert_speaks(SPEAKS_IMAP);
        assert_int_equal(report->proxy, rows[i].proxy);
        assert_string_equal(report->trouble, "");
        assert_string_equal(report->caps_clear, "IMAP4rev1 ID STARTTLS");
        assert_string_equal(report->caps_tls, "IMAP4rev1 ID AUTH=PLAIN");
        assert_int_equal(p.truths, rows[i].takes == (TAKES_V1 | TAKES_V2) ? 3 : 2);
        assert_true(report->connections <= 8);
        assert_no_login(&p);
        SSL_CTX_free(p.tls);
    }
}

static void test_tls_behind_a_header(void **state)
{
    (void)state;
    for (int tls_first = 0; tls_first <= 1; tls_first++) {
        struct peer p = {.greeting = "* OK ready\r\n",
                         .exchanges = imap,
                         .header = TAKES_V1 | TAKES_V2,
                         .is_tls = true,
                         .tls = peer_tls(&good)};
        struct probe_params params = params_of(&p, BRIEFLY);

        params.tls_first = tls_first;
        probe_with(&p, params);
        assert_speaks(SPEAKS_IMAP);
        assert_int_equal(report->proxy, PROBE_PROXY_V1 | PROBE_PROXY_V2);
        assert_true(report->is_implicit_tls);
        assert_string_equal(report->caps_tls, "IMAP4rev1 ID AUTH=PLAIN");
        assert_string_equal(report->subject, "CN=mail.example.org");
        SSL_CTX_free(p.tls);
    }
}

static void test_tls_behind_a_header_with_something_unknown_in_it(void **state)
{
    struct peer p = {.header = TAKES_V1 | TAKES_V2, .is_tls = true, .tls = peer_tls(&good)};

    (void)state;
    probe(&p, BRIEFLY);
    assert_speaks(SPEAKS_TLS);
    assert_int_equal(report->proxy, PROBE_PROXY_V1 | PROBE_PROXY_V2);
    SSL_CTX_free(p.tls);
}

/* As web servers answer TLS in clear. */
static void serve_http_behind_header(struct side *s)
{
    char line[1024], header[108];

    if (!side_header(s, header) || !side_read(s, line, 1))
        return;
    if (line[0] != 'H')
        (void)side_say(s, "HTTP/1.1 400 Bad Request\r\n\r\n");
    else
        (void)side_say(s, "HTTP/1.1 200 OK\r\nServer: thing/2\r\n\r\n");
    side_drain(s);
}

static void test_http_behind_a_header(void **state)
{
    struct peer p = {.serve = serve_http_behind_header, .header = TAKES_V1 | TAKES_V2};

    (void)state;
    probe(&p, BRIEFLY);
    assert_speaks(SPEAKS_HTTP);
    assert_int_equal(report->proxy, PROBE_PROXY_V1 | PROBE_PROXY_V2);
    assert_string_equal(report->server, "thing/2");
}

/* ---- those that look as if they waited for one ---- */

static void test_a_late_greeter_does_not_wait_for_a_header(void **state)
{
    struct peer p = {.greeting = "* OK ready\r\n", .exchanges = imap, .late_ms = 2 * BRIEFLY};

    (void)state;
    probe(&p, BRIEFLY);
    assert_speaks(SPEAKS_IMAP);
    assert_int_equal(report->proxy, 0);
    assert_string_equal(report->trouble, "");
    assert_string_equal(report->caps_clear, "IMAP4rev1 ID AUTH=PLAIN");
}

static void test_a_late_greeter_has_patience_spent_on_its_starttls_too(void **state)
{
    struct peer p = {.greeting = IMAP_GREETING,
                     .exchanges = imap,
                     .late_ms = 2 * BRIEFLY,
                     .tls = peer_tls(&good)};

    (void)state;
    probe(&p, BRIEFLY);
    assert_speaks(SPEAKS_IMAP);
    assert_string_equal(report->trouble, "");
    assert_string_equal(report->caps_tls, "IMAP4rev1 ID AUTH=PLAIN");
    SSL_CTX_free(p.tls);
}

/* Late for the plain question, the one for TLS and that for HTTP, in time behind the header, which
 * it takes for a command, or skips. */
static void test_a_greeter_that_was_late_only_before_does_not_wait_for_a_header(void **state)
{
    static const struct exchange skips[] = {
        {"PROXY", "", false},
        {"CAPABILITY", "* CAPABILITY IMAP4rev1\r\n% OK done\r\n", false},
        {NULL, "% BAD what\r\n", false},
    };
    const struct exchange *const scripts[] = {imap, skips};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct peer p = {.greeting = "* OK ready\r\n",
                         .exchanges = scripts[i],
                         .late_ms = 3 * BRIEFLY,
                         .late_first = 3};

        probe(&p, BRIEFLY);
        assert_speaks(SPEAKS_IMAP);
        assert_int_equal(report->proxy, 0);
        assert_string_equal(report->trouble, "");
    }
}

/* A greeting in answer to what it was not asked for. */
static void test_one_that_greets_whoever_speaks_first_is_told_by_patience(void **state)
{
    struct peer p = {.greeting = "220 x ESMTP\r\n",
                     .exchanges = smtp,
                     .late_ms = 2 * BRIEFLY,
                     .late_first = 1,
                     .tls = peer_tls(&good)};

    (void)state;
    probe(&p, BRIEFLY);
    assert_speaks(SPEAKS_SMTP);
    assert_int_equal(report->proxy, 0);
    assert_string_equal(report->trouble, "");
    SSL_CTX_free(p.tls);
}

static void test_complaints_about_a_header_are_no_greeting(void **state)
{
    static const struct exchange complaints[][1] = {
        {{NULL, "500 unknown command %\r\n", false}},
        {{NULL, "* BAD what\r\n", false}},
        {{NULL, "-ERR unknown command '%'\r\n", false}},
        {{NULL, "I do not know PROXY \r\n", false}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof complaints / sizeof complaints[0]; i++) {
        struct peer p = {.exchanges = complaints[i]};

        probe(&p, BRIEFLY);
        assert_speaks(SPEAKS_UNKNOWN);
        assert_int_equal(report->proxy, 0);
        assert_string_not_equal(report->greeting, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_servers_that_greet_are_known),
        cmocka_unit_test(test_what_is_within_starttls_is_asked_on_another_connection),
        cmocka_unit_test(test_managesieve_with_starttls),
        cmocka_unit_test(test_http_is_asked_for_when_nothing_was_said),
        cmocka_unit_test(test_the_address_is_the_host_where_no_name_is_known),
        cmocka_unit_test(test_implicit_tls),
        cmocka_unit_test(test_http_within_tls),
        cmocka_unit_test(test_something_unknown_within_tls_is_tls),
        cmocka_unit_test(test_clear_text_where_tls_is_customary),
        cmocka_unit_test(test_certificates_that_a_client_would_refuse),
        cmocka_unit_test(test_tls_that_cannot_be_spoken_with_has_words),
        cmocka_unit_test(test_a_server_that_wants_a_certificate_of_ours),
        cmocka_unit_test(test_servers_that_wait_for_a_header),
        cmocka_unit_test(test_tls_behind_a_header),
        cmocka_unit_test(test_tls_behind_a_header_with_something_unknown_in_it),
        cmocka_unit_test(test_http_behind_a_header),
        cmocka_unit_test(test_a_late_greeter_does_not_wait_for_a_header),
        cmocka_unit_test(test_a_late_greeter_has_patience_spent_on_its_starttls_too),
        cmocka_unit_test(test_a_greeter_that_was_late_only_before_does_not_wait_for_a_header),
        cmocka_unit_test(test_one_that_greets_whoever_speaks_first_is_told_by_patience),
        cmocka_unit_test(test_complaints_about_a_header_are_no_greeting),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
