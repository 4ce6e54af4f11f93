/* Probes in clear, over real sockets: what backends may do, and what control is told of it. */
#include "worker_probes.h"

static const struct {
    const char *setting, *header;
    size_t n;
} proxies[] = {
    {"", "", 0},
    {"proxy = v1", "PROXY UNKNOWN\r\n", 15},
    {"proxy = v2", "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16},
};

enum { PROXIES = sizeof proxies / sizeof *proxies };

/* --- a backend by a script -------------------------------------------------------------------- */

/* Which words about the PROXY header stand behind a failure. */
enum hint { NO_HINT, HINT_SILENT, HINT_TALKING };

/* Steps: "<x": it hears x. ">x": it says x. ".x": the same, byte by byte. "!": it closes, having
 * heard all. */
struct row {
    const char *steps[9];
    const char *words; /* "": the probe is good */
    enum hint hint;
};

static void says_bytewise(const char *text)
{
    char byte[2] = "";

    for (; *text; text++) {
        byte[0] = *text;
        says(&backend, byte);
        turn_once();
    }
}

static bool has_header(void *arg)
{
    const size_t *n = arg;

    peer_read(&backend);
    return backend.n >= *n;
}

static void takes_header(size_t proxy)
{
    size_t n = proxies[proxy].n;

    assert_true(turns_until(has_header, &n));
    assert_memory_equal(backend.got, proxies[proxy].header, n);
    backend.at = n;
}

static void takes_step(const char *step)
{
    if (*step == '<')
        hears(&backend, step + 1);
    else if (*step == '>')
        says(&backend, step + 1);
    else if (*step == '.')
        says_bytewise(step + 1);
    else
        peer_close(&backend);
}

static const char *hint_of(enum hint hint, size_t proxy)
{
    if (hint == NO_HINT)
        return "";
    if (proxy > 0)
        return "; it was sent a PROXY header: if it does not expect one, write proxy = off";
    return hint == HINT_SILENT ? "; if it waits for a PROXY header, write proxy = v2 or v1" : "";
}

static void plays(const struct row *row, size_t proxy, uint32_t id)
{
    char words[1024];

    order_probe(id);
    backend_accepts(&backend);
    takes_header(proxy);
    for (size_t i = 0; i < sizeof row->steps / sizeof *row->steps && row->steps[i]; i++)
        takes_step(row->steps[i]);
    snprintf(words, sizeof words, "%s%s", row->words, hint_of(row->hint, proxy));
    if (row->words[0])
        assert_bad(id, FAULT_BACKEND, words);
    else
        assert_good(id);
    if (backend.fd >= 0)
        assert_string_equal(hears_end(&backend), "");
    peer_close(&backend);
}

#define ROWS(rows) rows, sizeof(rows) / sizeof((rows)[0])

/* Each with each of the PROXY settings. */
static void check(const char *pool, const char *settings, const struct row *rows, size_t n)
{
    for (size_t proxy = 0; proxy < PROXIES; proxy++) {
        char of_backend[128];
        size_t bad = 0;

        snprintf(of_backend, sizeof of_backend, "%s\n%s", settings, proxies[proxy].setting);
        give_file("/password", strdup("secret\n"));
        begin_pool("", "", pool, of_backend);
        for (size_t i = 0; i < n; i++) {
            plays(&rows[i], proxy, (uint32_t)(70 + i));
            bad += rows[i].words[0] != '\0';
        }
        assert_int_equal(count_of(METRIC_PROBES), n);
        assert_int_equal(count_of(METRIC_PROBES_FAILED), bad);
        all_done();
    }
}

static void test_tcp_ends_when_connected(void **state)
{
    static const struct row rows[] = {{{NULL}, "", NO_HINT},
                                      {{">* BYE go away\r\n"}, "", NO_HINT},
                                      {{">* PREAUTH ann\r\n"}, "", NO_HINT}};

    (void)state;
    check("check = tcp", "", ROWS(rows));
    check("check = tcp", "tls = starttls tls_verify = no", ROWS(rows));
}

static void test_greeting_asks_what_the_backend_can_and_takes_its_leave(void **state)
{
    static const struct row rows[] = {
        {{">" HELLO, "<U1 LOGOUT\r\n"}, "", NO_HINT},
        {{">* OK Hi\r\n", "<U1 CAPABILITY\r\n", ">* CAPABILITY IMAP4rev1\r\nU1 OK Done\r\n",
          "<U2 LOGOUT\r\n"},
         "",
         NO_HINT},
        {{".* OK Hi\r\n", "<U1 CAPABILITY\r\n", ".* CAPABILITY IMAP4rev1\r\nU1 OK Done\r\n",
          "<U2 LOGOUT\r\n"},
         "",
         NO_HINT},
    };

    (void)state;
    check("check = greeting", "", ROWS(rows));
}

static void test_greetings_that_are_none(void **state)
{
    static const struct row rows[] = {
        {{"!"}, "greeting: the server closed the connection without a word", HINT_SILENT},
        {{">* OK H", "!"},
         "greeting: the server closed the connection within the greeting: * OK H",
         HINT_TALKING},
        {{">* BYE [UNAVAILABLE] Too many of you\r\n"},
         "greeting: the server greets with BYE: [UNAVAILABLE] Too many of you",
         HINT_TALKING},
        {{">* PREAUTH [CAPABILITY IMAP4rev1] ann\r\n", "<U1 LOGOUT\r\n"},
         "greeting: the greeting is PREAUTH: somebody is logged in already",
         NO_HINT},
        {{">* PREAUTH ann\r\n", "<U1 CAPABILITY\r\n", ">* CAPABILITY IMAP4rev1\r\nU1 OK Done\r\n",
          "<U2 LOGOUT\r\n"},
         "greeting: the greeting is PREAUTH: somebody is logged in already",
         NO_HINT},
        {{">+OK POP3 ready\r\n"},
         "greeting: the greeting is not IMAP but POP3: +OK POP3 ready",
         HINT_TALKING},
        {{">* OK Hi\r\n", "<U1 CAPABILITY\r\n", ">PROXY BAD What?\r\n"},
         "capability: the server takes the PROXY header for a command: PROXY BAD What?",
         HINT_TALKING},
        {{">* OK Hi\r\n", "<U1 CAPABILITY\r\n", ">U1 NO Not you\r\n"},
         "capability: the server refuses CAPABILITY: Not you",
         HINT_TALKING},
        {{">* OK Hi\r\n", "<U1 CAPABILITY\r\n", ">* CAPABILITY IMAP4rev1\r\n", "!"},
         "capability: the server closed the connection",
         HINT_TALKING},
    };

    (void)state;
    check("check = greeting", "", ROWS(rows));
}

static void test_a_line_without_end_is_a_failure(void **state)
{
    static char line[40000];
    const struct row row = {{line}, "", NO_HINT};
    struct msg m;

    (void)state;
    memset(line, 'x', sizeof line - 1);
    memcpy(line, ">* OK ", 6);
    begin_pool("", "", "check = greeting", "");
    order_probe(7);
    backend_accepts(&backend);
    takes_step(row.steps[0]);
    m = hears_probed(7);
    assert_true(slice_istarts(m.tail, SLICE("greeting: the greeting has no end: * OK xxx")));
    assert_in_range(m.tail.n, 40, 400);
    all_done();
}

static void test_silence_ends_with_check_timeout(void **state)
{
    static const struct row rows[] = {
        {{NULL}, "greeting: no answer within check_timeout", HINT_SILENT},
        {{">* OK"}, "greeting: no answer within check_timeout", HINT_TALKING},
        {{">* OK Hi\r\n", "<U1 CAPABILITY\r\n"},
         "capability: no answer within check_timeout",
         HINT_TALKING},
    };
    static const struct row login[] = {
        {{">" HELLO, "<U1 LOGIN \"ann\" \"secret\"\r\n"},
         "login: no answer within check_timeout",
         HINT_TALKING},
    };

    (void)state;
    check("check = greeting check_timeout = 100ms", "", ROWS(rows));
    check(LOGIN "check_timeout = 100ms", "", ROWS(login));
}

/* The time is that of all, not of each step. */
static void test_a_backend_that_drips_is_not_waited_for(void **state)
{
    uint64_t begun_ms;

    (void)state;
    begin_pool("", "", "check = greeting check_timeout = 300ms", "");
    begun_ms = loop_now_ms(world.child.loop);
    order_probe(7);
    backend_accepts(&backend);
    for (int i = 0; i < 12 && the_worker()->probes_n > 0; i++) {
        (void)send(backend.fd, "*", 1, MSG_NOSIGNAL);
        settle();
    }
    assert_int_equal(the_worker()->probes_n, 0);
    assert_in_range(loop_now_ms(world.child.loop) - begun_ms, 300, 600);
    assert_bad(7, FAULT_BACKEND, "greeting: no answer within check_timeout");
    all_done();
}

static void test_login_is_tried_to_its_end(void **state)
{
    static const struct row rows[] = {
        {{">" HELLO, "<U1 LOGIN \"ann\" \"secret\"\r\n", ">U1 OK [CAPABILITY IMAP4rev1] In\r\n",
          "<U2 NOOP\r\n", ">* 3 EXISTS\r\nU2 OK Nothing\r\n", "<U3 LOGOUT\r\n"},
         "",
         NO_HINT},
        {{">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Hi\r\n",
          "<U1 AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\n", ".U1 OK In\r\n", "<U2 CAPABILITY\r\n",
          ".* CAPABILITY IMAP4rev1\r\nU2 OK Done\r\n", "<U3 NOOP\r\n", ".U3 OK Nothing\r\n",
          "<U4 LOGOUT\r\n"},
         "",
         NO_HINT},
        {{">" HELLO, "<U1 LOGIN \"ann\" \"secret\"\r\n",
          ">U1 NO [AUTHENTICATIONFAILED] Not with that\r\n", "<U2 LOGOUT\r\n"},
         "login: ann is refused: [AUTHENTICATIONFAILED] Not with that",
         NO_HINT},
        {{">" HELLO, "<U1 LOGIN \"ann\" \"secret\"\r\n", ">U1 NO not with secret\r\n",
          "<U2 LOGOUT\r\n"},
         "login: ann is refused: (words that hold the password)",
         NO_HINT},
        {{">" HELLO, "<U1 LOGIN \"ann\" \"secret\"\r\n", ">U1 BAD What?\r\n"},
         "login: the server does not understand the login: What?",
         HINT_TALKING},
        {{">" HELLO, "<U1 LOGIN \"ann\" \"secret\"\r\n", ">U1 OK [CAPABILITY X] In\r\n",
          "<U2 NOOP\r\n", ">U2 NO The mailbox is gone\r\n"},
         "noop: the server refuses NOOP: The mailbox is gone",
         NO_HINT},
        {{">" HELLO, "<U1 LOGIN \"ann\" \"secret\"\r\n", ">U1 OK [CAPABILITY X] In\r\n",
          "<U2 NOOP\r\n", ">* BYE Enough\r\n"},
         "noop: the server says BYE: Enough",
         NO_HINT},
        {{">" HELLO, "<U1 LOGIN \"ann\" \"secret\"\r\n", ">U1 OK [CAPABILITY X] In\r\n",
          "<U2 NOOP\r\n", "!"},
         "noop: the server closed the connection",
         NO_HINT},
        {{">* PREAUTH ann\r\n"},
         "greeting: the greeting is PREAUTH: somebody is logged in already: ann",
         HINT_TALKING},
        {{">* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] Hi\r\n"},
         "login: none of AUTH=PLAIN, LOGIN and AUTH=LOGIN is offered: IMAP4rev1 LOGINDISABLED",
         HINT_TALKING},
    };

    (void)state;
    check(LOGIN, "", ROWS(rows));
}

static void test_no_login_goes_out_where_starttls_fails(void **state)
{
    static const struct row rows[] = {
        {{">" HELLO}, "starttls: STARTTLS is not offered: IMAP4rev1", HINT_TALKING},
        {{">* OK Hi\r\n", "<U1 STARTTLS\r\n", ">U1 BAD no\r\n"},
         "starttls: the server refuses STARTTLS: no",
         HINT_TALKING},
        {{">* OK Hi\r\n", "<U1 STARTTLS\r\n", ">U1 OK go\r\n* CAPABILITY X\r\n"},
         "starttls: bytes in clear lie behind the answer to STARTTLS",
         HINT_TALKING},
    };

    (void)state;
    check(LOGIN, "tls = starttls tls_verify = no", ROWS(rows));
    check("check = greeting", "tls = starttls tls_verify = no", ROWS(rows));
}

static void test_a_connection_that_is_reset_is_a_failure_in_its_words(void **state)
{
    (void)state;
    begin_pool("", "", "check = greeting", "proxy = v1");
    order_probe(7);
    backend_accepts(&backend);
    takes_header(1);
    peer_reset(&backend);
    assert_bad(7, FAULT_BACKEND,
               "greeting: Connection reset by peer; it was sent a PROXY header: if it does not "
               "expect one, write proxy = off");
    all_done();
}

static void test_the_first_line_of_the_file_is_the_password_and_comes_anew_with_it(void **state)
{
    static const struct {
        const char *text, *login;
    } rows[] = {
        {"secret", "\"secret\""},        {"secret\nmore\n", "\"secret\""},
        {"secret\r\n", "\"secret\""},    {" se cret \n", "\" se cret \""},
        {"secret\n\0nul", "\"secret\""},
    };
    const struct msg renew = {.type = MSG_RENEW, .fd = -1};

    (void)state;
    give_file("/password", strdup("old\n"));
    begin_pool("", "", LOGIN, "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char expected[64];

        give_file("/password", strdup(rows[i].text));
        /* What is under way keeps the old one. */
        order_probe(7);
        backend_accepts(&backend);
        worker_role.on_message(&world.child, &renew);
        says(&backend, HELLO);
        hears(&backend, i == 0 ? "LOGIN \"ann\" \"old\"\r\n" : "LOGIN \"ann\" ");
        peer_close(&backend);
        hears_probed(7);
        order_probe(8);
        backend_accepts(&backend);
        says(&backend, HELLO);
        snprintf(expected, sizeof expected, "LOGIN \"ann\" %s\r\n", rows[i].login);
        hears(&backend, expected);
        peer_close(&backend);
        hears_probed(8);
    }
    all_done();
}

static void test_a_worker_without_the_password_does_not_begin(void **state)
{
    struct err err = {0};

    (void)state;
    prepare_pool("", "", LOGIN, "");
    assert_int_equal(worker_role.on_start(&world.child, &err), -1);
    assert_string_equal(err.text,
                        "pool main: check_password: is empty; write the password into its "
                        "first line");
    finish();
}

#define T(test) cmocka_unit_test(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_tcp_ends_when_connected),
        T(test_greeting_asks_what_the_backend_can_and_takes_its_leave),
        T(test_greetings_that_are_none),
        T(test_a_line_without_end_is_a_failure),
        T(test_silence_ends_with_check_timeout),
        T(test_a_backend_that_drips_is_not_waited_for),
        T(test_login_is_tried_to_its_end),
        T(test_no_login_goes_out_where_starttls_fails),
        T(test_a_connection_that_is_reset_is_a_failure_in_its_words),
        T(test_the_first_line_of_the_file_is_the_password_and_comes_anew_with_it),
        T(test_a_worker_without_the_password_does_not_begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
