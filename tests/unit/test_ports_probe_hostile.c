/* What speaks on a port, asked of servers that are broken or hostile, or not there: it ends in time
 * and says what went wrong. */
#include "probe_world.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* To whatever is asked. */
static const struct exchange stubborn[] = {
    {NULL, "502 no\r\n", false},
};

static void serve_echo(struct side *s)
{
    char some[512];
    ssize_t n;

    while ((n = read(s->fd, some, sizeof some)) > 0 && side_write(s, some, (size_t)n))
        ;
}

static void serve_endless(struct side *s)
{
    char some[4096];

    memset(some, 'x', sizeof some);
    while (side_write(s, some, sizeof some))
        ;
}

/* A byte now and then; a greeting that never ends. */
static void serve_tarpit(struct side *s)
{
    struct pollfd gone = {.fd = s->fd, .events = POLLRDHUP};

    while (side_write(s, "2", 1) && poll(&gone, 1, BRIEFLY / 4) == 0)
        ;
}

static void serve_end(struct side *s)
{
    (void)s;
}

static void serve_reset(struct side *s)
{
    side_reset(s);
}

static void serve_nothing(struct side *s)
{
    side_drain(s);
}

static void serve_controls(struct side *s)
{
    (void)side_say(s, "* OK \x1b[31m\xe4\xc3\xa4\xe2\x80\xae\tx\r\n");
}

/* Says one line after another to whatever it is asked. */
static void serve_capabilities_without_end(struct side *s)
{
    char line[256];

    if (!side_say(s, "220 x ESMTP\r\n") || !side_line(s, line, sizeof line))
        return;
    while (side_say(s, "250-SIZE\r\n"))
        ;
}

static void serve_half_a_greeting(struct side *s)
{
    (void)side_say(s, "* OK half a gree");
    side_drain(s);
}

static void serve_bytes(struct side *s)
{
    (void)side_write(s, "\x4a\0\0\0\x0a\x38\0", 7);
    side_drain(s);
}

static void test_hostile_servers_come_to_a_sane_end(void **state)
{
    static const struct {
        void (*serve)(struct side *s);
        enum speaks speaks;
        const char *trouble, *greeting;
    } rows[] = {
        {serve_echo, SPEAKS_UNKNOWN, "", "HEAD / HTTP/1.1"},
        {serve_endless, SPEAKS_UNKNOWN, "", "xxxx"},
        {serve_tarpit, SPEAKS_UNKNOWN, "", "222"},
        {serve_end, SPEAKS_NOTHING, "the peer closes the connection without a word", ""},
        {serve_reset, SPEAKS_NOTHING, "Connection reset by peer", ""},
        {serve_nothing, SPEAKS_NOTHING, "", ""},
        {serve_controls, SPEAKS_IMAP, "", "* OK \\x1b[31m\\xe4\xc3\xa4\\u202e\\x09x"},
        {serve_capabilities_without_end, SPEAKS_SMTP, "an answer that is not understood: 250-SIZE",
         "220 x ESMTP"},
        {serve_half_a_greeting, SPEAKS_IMAP, "", "* OK half a gree"},
        {serve_bytes, SPEAKS_UNKNOWN, "", "J\\x00\\x00\\x00"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer p = {.serve = rows[i].serve};
        uint64_t start = now_ms();

        probe(&p, BRIEFLY);
        if (now_ms() - start > 20000)
            fail_msg("number %zu took %u ms", i, (unsigned)(now_ms() - start));
        assert_speaks(rows[i].speaks);
        assert_int_equal(report->proxy, 0);
        assert_false(report->is_implicit_tls);
        if (!strstr(report->trouble, rows[i].trouble) ||
            !strstr(report->greeting, rows[i].greeting))
            fail_msg("number %zu: \"%s\", \"%s\"", i, report->trouble, report->greeting);
    }
}

static void test_all_of_it_ends_in_time(void **state)
{
    void (*const serve[])(struct side *) = {serve_nothing, serve_tarpit};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct peer p = {.serve = serve[i]};
        struct probe_params params = params_of(&p, LONG);
        uint64_t start = now_ms();

        params.total_ms = 2 * BRIEFLY;
        probe_with(&p, params);
        assert_true(now_ms() - start < LONG);
        assert_int_equal(report->connections, 1);
    }
    assert_string_equal(report->trouble, "");
}

static void test_what_was_left_unasked_is_told(void **state)
{
    struct peer p = {.serve = serve_nothing};
    struct probe_params params = params_of(&p, BRIEFLY);

    (void)state;
    params.total_ms = BRIEFLY + BRIEFLY / 2;
    probe_with(&p, params);
    assert_speaks(SPEAKS_NOTHING);
    assert_string_equal(report->trouble, "the time was over before everything was asked");
}

static void test_trouble_on_the_way_is_told(void **state)
{
    static const struct exchange injected[] = {{"STARTTLS", "% OK go\r\nmore\r\n", false},
                                               {NULL, "% BAD\r\n", false}};
    static const struct exchange refused[] = {{NULL, "% NO not now\r\n", false}};
    static const struct exchange no_tls[] = {{"STARTTLS", "% OK go\r\n", false},
                                             {NULL, "% BAD what is that\r\n", false}};
    static const struct exchange smtp_injected[] = {{"EHLO", "250-x\r\n250 STARTTLS\r\n", false},
                                                    {"STARTTLS", "220 go\r\n250 more\r\n", false},
                                                    {NULL, "221 x\r\n", false}};
    static const struct exchange smtp_refused[] = {{"EHLO", "250-x\r\n250 STARTTLS\r\n", false},
                                                   {"STARTTLS", "454 not now\r\n", false},
                                                   {NULL, "221 x\r\n", false}};
    static const struct {
        const char *greeting;
        const struct exchange *exchanges;
        const char *trouble;
    } rows[] = {
        {"* OK [CAPABILITY STARTTLS] x\r\n", injected,
         "STARTTLS: bytes in clear lie behind the answer to STARTTLS"},
        {"* OK [CAPABILITY STARTTLS] x\r\n", refused,
         "STARTTLS: the server refuses STARTTLS: not now"},
        {"* OK [CAPABILITY STARTTLS] x\r\n", no_tls,
         "STARTTLS: after STARTTLS the server does not speak TLS: "},
        {"* BYE not you\r\n", stubborn, "the server greets with BYE: not you"},
        {"* OK x\r\n", refused, "the server refuses CAPABILITY: not now"},
        {"-ERR not you\r\n", stubborn, "the server refuses us: -ERR not you"},
        {"220 x\r\n", smtp_injected, "STARTTLS: bytes in clear lie behind the answer to STARTTLS"},
        {"220 x\r\n", smtp_refused, "STARTTLS: the server refuses STARTTLS: 454 not now"},
        {"554 not you\r\n", stubborn, "the server refuses us: 554 not you"},
        {"220 x\r\n", stubborn, "the server refuses EHLO: 502 no"},
        {"220-x\r\nfoo\r\n", stubborn, "an answer that is not understood: foo"},
        {"\"SIEVE\" \"x\"\r\nBYE \"no\"\r\n", stubborn, "the server refuses us: BYE \"no\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer p = {.greeting = rows[i].greeting, .exchanges = rows[i].exchanges};

        probe(&p, LONG);
        if (strncmp(report->trouble, rows[i].trouble, strlen(rows[i].trouble)) != 0)
            fail_msg("\"%s\" in place of \"%s\"", report->trouble, rows[i].trouble);
    }
}

/* ---- those that stop in the midst of a dialogue ---- */

/* Says it, and waits for a line. */
static bool say_and_hear(struct side *s, const char *words)
{
    char line[256];

    return side_say(s, words) && side_line(s, line, sizeof line);
}

static void serve_imap_and_leave(struct side *s)
{
    (void)say_and_hear(s, "* OK x\r\n");
}

static void serve_imap_and_stop(struct side *s)
{
    if (say_and_hear(s, "* OK x\r\n"))
        side_drain(s);
}

static void serve_imap_and_reset(struct side *s)
{
    (void)say_and_hear(s, "* OK x\r\n");
    side_reset(s);
}

static void serve_pop3_and_leave(struct side *s)
{
    (void)say_and_hear(s, "+OK x\r\n");
}

static void serve_pop3_and_stop(struct side *s)
{
    if (say_and_hear(s, "+OK x\r\n"))
        side_drain(s);
}

static void serve_pop3_and_reset(struct side *s)
{
    (void)say_and_hear(s, "+OK x\r\n");
    side_reset(s);
}

static void serve_a_line_without_end(struct side *s)
{
    char some[4096];

    memset(some, 'x', sizeof some);
    if (say_and_hear(s, "+OK x\r\n"))
        while (side_write(s, some, sizeof some))
            ;
}

static void serve_half_a_sieve(struct side *s)
{
    if (side_say(s, "\"SIEVE\" \"x\"\r\n\"SASL"))
        side_drain(s);
}

static void serve_half_a_reply(struct side *s)
{
    if (say_and_hear(s, "220 x\r\n") && say_and_hear(s, "500 x\r\n"))
        (void)side_say(s, "250-x\r\n");
}

static void serve_no_second_hello(struct side *s)
{
    if (say_and_hear(s, "220 x\r\n") && say_and_hear(s, "500 x\r\n"))
        (void)say_and_hear(s, "500 x\r\n");
}

/* Offers STLS, and on the next connection not any more. */
static void serve_starttls_once(struct side *s)
{
    if (say_and_hear(s, "+OK x\r\n") &&
        side_say(s, s->number == 1 ? "+OK\r\nSTLS\r\n.\r\n" : "+OK\r\n.\r\n"))
        side_drain(s);
}

static bool agree_to_starttls(struct side *s)
{
    return say_and_hear(s, "+OK x\r\n") && say_and_hear(s, "+OK\r\nSTLS\r\n.\r\n") &&
           s->number == 2 && side_say(s, "+OK go\r\n");
}

static void serve_starttls_and_leave(struct side *s)
{
    char hello[1];

    if (agree_to_starttls(s))
        (void)side_read(s, hello, 1);
}

static void serve_starttls_and_stop(struct side *s)
{
    if (agree_to_starttls(s))
        side_drain(s);
}

static void serve_starttls_and_stop_within(struct side *s)
{
    if (agree_to_starttls(s) && side_shake(s))
        side_drain(s);
}

static void serve_starttls_and_alert(struct side *s)
{
    if (agree_to_starttls(s) && side_write(s, "\x15\x03\x03\0\x02\x02\x50", 7))
        side_drain(s);
}

/* Has words on the first connection only. */
static void serve_starttls_and_be_silent(struct side *s)
{
    if (s->number == 1 && say_and_hear(s, "+OK x\r\n"))
        (void)side_say(s, "+OK\r\nSTLS\r\n.\r\n");
    side_drain(s);
}

static void test_servers_that_stop_in_the_midst(void **state)
{
    static const struct {
        void (*serve)(struct side *s);
        enum speaks speaks;
        const char *trouble;
    } rows[] = {
        {serve_imap_and_leave, SPEAKS_IMAP, "the server closed the connection"},
        {serve_imap_and_stop, SPEAKS_IMAP, "no answer in time"},
        {serve_imap_and_reset, SPEAKS_IMAP, "Connection reset by peer"},
        {serve_pop3_and_leave, SPEAKS_POP3, "the server closed the connection"},
        {serve_pop3_and_stop, SPEAKS_POP3, "no answer in time"},
        {serve_pop3_and_reset, SPEAKS_POP3, "Connection reset by peer"},
        {serve_a_line_without_end, SPEAKS_POP3, "a line has no end"},
        {serve_half_a_sieve, SPEAKS_SIEVE, "no answer in time"},
        {serve_half_a_reply, SPEAKS_SMTP, "the server closed the connection"},
        {serve_no_second_hello, SPEAKS_SMTP, "the server closed the connection"},
        {serve_starttls_once, SPEAKS_POP3, "STARTTLS: STARTTLS is not offered"},
        {serve_starttls_and_leave, SPEAKS_POP3, "STARTTLS: "},
        {serve_starttls_and_stop, SPEAKS_POP3, "STARTTLS: no answer in time"},
        {serve_starttls_and_stop_within, SPEAKS_POP3, "STARTTLS: no answer in time"},
        {serve_starttls_and_alert, SPEAKS_POP3, "STARTTLS: TLS: tlsv1 alert internal error"},
        {serve_starttls_and_be_silent, SPEAKS_POP3, "STARTTLS: no greeting on another connection"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer p = {.serve = rows[i].serve, .tls = peer_tls(&good)};

        probe(&p, BRIEFLY);
        assert_speaks(rows[i].speaks);
        if (strncmp(report->trouble, rows[i].trouble, strlen(rows[i].trouble)) != 0)
            fail_msg("number %zu: \"%s\" in place of \"%s\"", i, report->trouble, rows[i].trouble);
        SSL_CTX_free(p.tls);
    }
}

/* ---- TLS that does not come to its end ---- */

static void serve_half_a_record(struct side *s)
{
    char hello[1];

    if (side_read(s, hello, 1) && side_write(s, "\x16\x03\x03\x01\0\x02", 6))
        side_drain(s);
}

/* A head like that of TLS, but for what it holds. */
static void serve_something_like_tls(struct side *s)
{
    char hello[1];

    if (side_read(s, hello, 1) && side_write(s, "\x16\x03", 2))
        side_drain(s);
}

static void test_a_handshake_without_end(void **state)
{
    void (*const serve[])(struct side *) = {serve_half_a_record, serve_something_like_tls};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct peer p = {.serve = serve[i]};
        struct probe_params params = params_of(&p, BRIEFLY);

        params.tls_first = true;
        probe_with(&p, params);
        assert_speaks(SPEAKS_TLS);
        assert_string_equal(report->trouble, "the TLS handshake came to no end in time");
        assert_false(report->has_certificate);
    }
}

static void test_a_name_that_none_can_have_is_ours(void **state)
{
    struct peer p = {.serve = serve_nothing};
    struct probe_params params;
    struct err err = {0};
    char name[400];

    (void)state;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    peer_start(&p);
    params = params_of(&p, BRIEFLY);
    params.name = name;
    params.tls_first = true;
    assert_int_equal(probe_run(&params, report, &err), -1);
    assert_non_null(strstr(err.text, "TLS: name"));
    peer_stop(&p);
}

/* ---- nobody, or nobody any more ---- */

static void test_nobody_there(void **state)
{
    struct peer p = {.greeting = ""};
    struct probe_params params;
    struct err err;

    (void)state;
    peer_start(&p);
    params = params_of(&p, LONG);
    peer_stop(&p);
    assert_int_equal(probe_run(&params, report, &err), 0);
    assert_false(report->is_connected);
    assert_int_equal(report->speaks, SPEAKS_NOTHING);
    assert_int_equal(report->connections, 1);
    assert_non_null(strstr(report->trouble, "Connection refused"));
}

static void serve_once(struct side *s)
{
    shutdown(s->peer->listener, SHUT_RDWR);
    side_drain(s);
}

static void test_one_that_takes_a_single_connection(void **state)
{
    struct peer p = {.serve = serve_once};

    (void)state;
    peer_start(&p);
    struct probe_params params = params_of(&p, BRIEFLY);
    struct err err;

    assert_int_equal(probe_run(&params, report, &err), 0);
    peer_stop(&p);
    assert_speaks(SPEAKS_NOTHING);
    assert_int_equal(report->connections, 2);
    assert_non_null(strstr(report->trouble, "Connection refused"));
}

static void test_what_is_ours_is_an_error(void **state)
{
    struct peer p = {.greeting = "* OK x\r\n", .exchanges = stubborn};
    struct probe_params params;
    struct rlimit limit, none;
    struct err err = {0};
    int next;

    (void)state;
    peer_start(&p);
    params = params_of(&p, BRIEFLY);
    params.tls_first = true;
    params.ca_pem = SLICE("no certificate");
    assert_int_equal(probe_run(&params, report, &err), -1);
    assert_non_null(strstr(err.text, "CA certificates"));

    /* Enough for the loop, not for a connection. */
    next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &limit);
    none = limit;
    for (none.rlim_cur = (rlim_t)next; none.rlim_cur < (rlim_t)next + 8; none.rlim_cur++) {
        setrlimit(RLIMIT_NOFILE, &none);
        params = params_of(&p, BRIEFLY);
        if (probe_run(&params, report, &err) == 0)
            break;
        assert_int_equal(err.code, EMFILE);
    }
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_true(none.rlim_cur > (rlim_t)next);
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_servers_come_to_a_sane_end),
        cmocka_unit_test(test_all_of_it_ends_in_time),
        cmocka_unit_test(test_what_was_left_unasked_is_told),
        cmocka_unit_test(test_trouble_on_the_way_is_told),
        cmocka_unit_test(test_servers_that_stop_in_the_midst),
        cmocka_unit_test(test_a_handshake_without_end),
        cmocka_unit_test(test_a_name_that_none_can_have_is_ours),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_one_that_takes_a_single_connection),
        cmocka_unit_test(test_what_is_ours_is_an_error),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
