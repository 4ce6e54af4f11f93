/* The life of a connection (sync/link.h) with servers that act by scripts: the login in clear and
 * in TLS, every kind of trouble, silence, a sync that stops, names, the end. */
#include "link_world.h"

#include <fcntl.h>
#include <sys/resource.h>

/* --- the login -------------------------------------------------------------------------------- */

static void test_it_logs_in_says_who_it_is_and_logs_out(void **state)
{
    static const struct exchange script[] = {COMMON("IDLE LITERAL+"), ELSE("% OK\r\n")};
    struct peer p = {.greeting = HI, .exchanges = script};
    struct world w;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, LONG_MS);
    assert_false(link_is_open(w.link));
    assert_open(&w);
    assert_true(link_offers(w.link, "idle"));
    assert_false(link_offers(w.link, "SASL-IR")); /* of before the login */
    assert_int_equal(link_nonsync_max(w.link), SIZE_MAX);
    assert_false(link_has_utf8(w.link));
    assert_true(link_rtt_ms(w.link) < LONG_MS);
    link_close(w.link);
    assert_false(link_is_open(w.link));
    assert_int_equal(link_capabilities(w.link).n, 0);
    link_close(w.link); /* harmless */
    world_end(&w);
    peer_stop(&p);
    assert_string_equal(p.heard, "U1 ID (\"name\" \"usher\")\r\n"
                                 "U2 AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\n"
                                 "S1 LOGOUT\r\n");
}

static void test_the_same_link_is_opened_again_and_counts_on(void **state)
{
    static const struct exchange script[] = {COMMON("X"), ELSE("% OK\r\n")};
    struct peer p = {.greeting = HI, .exchanges = script};
    struct world w;
    struct link_count once, twice;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, LONG_MS);
    assert_open(&w);
    link_close(w.link);
    once = link_count(w.link);
    assert_open(&w);
    link_close(w.link);
    twice = link_count(w.link);
    world_end(&w);
    peer_stop(&p);
    assert_int_equal(p.connections, 2);
    assert_true(once.in > sizeof HI && once.out > 50);
    assert_int_equal(twice.in, 2 * once.in);
    assert_int_equal(twice.out, 2 * once.out);
    assert_int_equal(once.in, once.in_wire);
    assert_int_equal(once.out, once.out_wire);
}

static int tell_word(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    (void)err;
    assert_int_equal(event, PIPELINE_DATA);
    strncat(arg, pipeline_response(p)->word.p, pipeline_response(p)->word.n);
    return 0;
}

static void test_what_comes_behind_the_login_is_not_lost(void **state)
{
    static const struct exchange script[] = {
        ID_ANSWER,
        {"AUTHENTICATE", "% OK [CAPABILITY IMAP4rev1] In\r\n* 7 EXISTS\r\n* 1 REC", false},
        ELSE("ENT\r\n% OK\r\n")};
    struct peer p = {.greeting = HI, .exchanges = script};
    struct link_answer answer;
    char words[64] = "";
    struct world w;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, LONG_MS);
    assert_open(&w);
    assert_int_equal(link_call(w.link, SLICE("NOOP"), tell_word, words, &answer, &w.err), 0);
    assert_string_equal(words, "EXISTSRECENT");
    world_end(&w);
    peer_stop(&p);
}

static void test_somebody_elses_mail_by_a_master_user(void **state)
{
    static const struct exchange script[] = {COMMON("X"), ELSE("% OK\r\n")};
    struct peer p = {.greeting = HI, .exchanges = script};
    struct world w;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, LONG_MS);
    w.side.authzid = SLICE("bob");
    assert_open(&w);
    world_end(&w);
    peer_stop(&p);
    assert_non_null(strstr(p.heard, "PLAIN Ym9iAGFubgBzZWNyZXQ=\r\n")); /* bob\0ann\0secret */
}

/* --- trouble ---------------------------------------------------------------------------------- */

static void test_a_refused_login_is_busy_or_refused(void **state)
{
    static const struct {
        const char *answer;
        enum link_trouble trouble;
        const char *words;
    } rows[] = {
        {"% NO [AUTHENTICATIONFAILED] Wrong\r\n", LINK_REFUSED,
         "the server refuses the login: [AUTHENTICATIONFAILED] Wrong"},
        {"% NO [AUTHENTICATIONFAILED] Wrong, try again later\r\n", LINK_REFUSED, "Wrong"},
        {"% NO Login failed, please try again\r\n", LINK_REFUSED, "please try again"},
        {"% NO [CONTACTADMIN] Too many\r\n", LINK_REFUSED, "CONTACTADMIN"},
        {"% NO\r\n", LINK_REFUSED, "refuses the login"},
        {"% BAD What?\r\n", LINK_REFUSED, "does not understand the login: What?"},
        {"% NO [UNAVAILABLE] Later\r\n", LINK_BUSY, "[UNAVAILABLE] Later"},
        {"% NO [limit] Later\r\n", LINK_BUSY, "[limit] Later"},
        {"% NO [INUSE] Later\r\n", LINK_BUSY, "[INUSE] Later"},
        {"% NO Maximum number of connections from user+IP exceeded\r\n", LINK_BUSY, "Maximum"},
        {"% NO [ALERT] Too many simultaneous connections. (Failure)\r\n", LINK_BUSY, "Too many"},
        {"% BAD Server Unavailable. 15\r\n", LINK_BUSY, "Unavailable"},
        {"* BYE [LIMIT] Enough\r\n", LINK_BUSY, "the server says BYE: [LIMIT] Enough"},
        {"* BYE Going down\r\n", LINK_BROKEN, "the server says BYE: Going down"},
        {"% NO [AUTHENTICATIONFAILED] secret is wrong\r\n", LINK_REFUSED, "words that hold the"},
        {"x1 OK what\r\n", LINK_FOREIGN, "answers what was not asked"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct exchange script[] = {
            ID_ANSWER, {"AUTHENTICATE", rows[i].answer, false}, ELSE("% OK\r\n")};

        assert_opens_to(&(struct peer){.greeting = HI, .exchanges = script}, SYNC_TLS_OFF,
                        rows[i].trouble, rows[i].words);
    }
}

static void test_a_greeting_that_does_not_greet(void **state)
{
    static const struct exchange script[] = {ELSE("% OK\r\n")};
    static const struct {
        const char *greeting;
        enum link_trouble trouble;
        const char *words;
    } rows[] = {
        {"* BYE Too many connections from your address\r\n", LINK_BUSY,
         "the server greets with BYE: Too many connections"},
        {"* BYE [UNAVAILABLE] x\r\n", LINK_BUSY, "[UNAVAILABLE] x"},
        {"* BYE\r\n", LINK_BROKEN, "greets with BYE"},
        {"HTTP/1.1 400 Bad\r\n", LINK_FOREIGN, "not IMAP but HTTP"},
        {"* PREAUTH in\r\n", LINK_FOREIGN, "PREAUTH"},
        {"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] x\r\n", LINK_REFUSED, "none of AUTH=PLAIN"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_opens_to(&(struct peer){.greeting = rows[i].greeting, .exchanges = script},
                        SYNC_TLS_OFF, rows[i].trouble, rows[i].words);
}

static void hang_up(struct side *s)
{
    (void)side_say(s, "* OK");
}

static void reset(struct side *s)
{
    (void)side_say(s, "* OK");
    side_reset(s);
}

static void test_a_server_that_goes_away_while_we_log_in(void **state)
{
    (void)state;
    assert_opens_to(&(struct peer){.serve = hang_up}, SYNC_TLS_OFF, LINK_BROKEN, "closed");
    assert_opens_to(&(struct peer){.serve = reset}, SYNC_TLS_OFF, LINK_BROKEN,
                    "greeting: Connection reset by peer");
}

static void test_nobody_listens(void **state)
{
    struct peer p = {.greeting = HI};
    struct world w;

    (void)state;
    peer_start(&p);
    peer_stop(&p);
    world_begin(&w, &p, LONG_MS);
    assert_int_equal(link_open(w.link, &w.err), -1);
    assert_trouble(&w, LINK_UNREACHED, "Connection refused");
    world_end(&w);
}

static void test_a_want_of_descriptors_is_ours(void **state)
{
    struct peer p = {.greeting = HI};
    struct rlimit before, none;
    struct world w;
    int lowest;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, LONG_MS);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    lowest = fcntl(0, F_DUPFD_CLOEXEC, 0);
    close(lowest);
    none = (struct rlimit){(rlim_t)lowest, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(link_open(w.link, &w.err), -1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_trouble(&w, LINK_OURS, "may not open more files");
    world_end(&w);
    peer_stop(&p);
}

/* --- TLS -------------------------------------------------------------------------------------- */

static struct cert ca, cert;
static SSL_CTX *server;
static struct tls_context *trusting, *doubting;

static int make_tls(void **state)
{
    struct tls_client_params params = {.verifies = true};
    struct err err;
    char *pem;

    (void)state;
    ca = cert_make("Test CA", NULL, NULL, 10, NULL);
    cert = cert_make("mail.example.org", "DNS:mail.example.org", &ca, 10, NULL);
    server = peer_tls(&cert);
    pem = cert_pem(&ca, NULL);
    params.ca_pem = slice_str(pem);
    assert_int_equal(tls_client_new(&params, &trusting, &err), 0);
    free(pem);
    pem = cert_pem(&cert, NULL);
    params.ca_pem = slice_str(pem);
    assert_int_equal(tls_client_new(&params, &doubting, &err), 0);
    free(pem);
    return 0;
}

static int free_tls(void **state)
{
    (void)state;
    tls_context_free(&trusting);
    tls_context_free(&doubting);
    SSL_CTX_free(server);
    cert_free(&ca);
    cert_free(&cert);
    return 0;
}

static const struct exchange over_tls[] = {
    {"STARTTLS", "% OK Begin\r\n", true},
    {"CAPABILITY", "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\n% OK\r\n", false},
    COMMON("X"),
    ELSE("% OK Fine\r\n")};

static void begin_tls(struct world *w, struct peer *p, enum sync_tls tls)
{
    p->tls = server;
    p->exchanges = over_tls;
    peer_start(p);
    world_begin(w, p, LONG_MS);
    w->side.tls = tls;
    w->side.tls_context = trusting;
    w->side.verifies = true;
}

static void test_starttls_and_implicit_tls(void **state)
{
    static const enum sync_tls kinds[] = {SYNC_TLS_STARTTLS, SYNC_TLS_IMPLICIT};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct peer p = {
            .greeting = i == 0 ? "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] Hi\r\n" : HI,
            .is_tls = i == 1};
        struct world w;

        begin_tls(&w, &p, kinds[i]);
        assert_open(&w);
        assert_answer(&w, "NOOP", RESPONSE_OK, "Fine");
        link_close(w.link);
        world_end(&w);
        peer_stop(&p);
        assert_non_null(strstr(p.heard, "LOGOUT"));
    }
}

static void test_a_certificate_of_somebody_else_is_refused(void **state)
{
    struct peer p = {.greeting = HI, .is_tls = true};
    struct world w;

    (void)state;
    begin_tls(&w, &p, SYNC_TLS_IMPLICIT);
    w.side.host = "other.example.org";
    assert_int_equal(link_open(w.link, &w.err), -1);
    assert_trouble(&w, LINK_TLS, "ostname mismatch");
    link_close(w.link);
    w.side.host = "mail.example.org";
    w.side.tls_context = doubting;
    assert_open(&w); /* it trusts that very certificate */
    world_end(&w);
    peer_stop(&p);
}

static void test_tls_that_does_not_come_about(void **state)
{
    static const struct exchange refusing[] = {{"STARTTLS", "% NO Not today\r\n", false},
                                               ELSE("% OK\r\n")};
    struct peer none = {.greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Hi\r\n",
                        .exchanges = refusing};
    struct peer no = {.greeting = "* OK [CAPABILITY IMAP4rev1 STARTTLS] Hi\r\n",
                      .exchanges = refusing};
    struct peer clear = {.greeting = HI, .exchanges = over_tls};
    struct world w;

    (void)state;
    assert_opens_to(&none, SYNC_TLS_STARTTLS, LINK_TLS, "STARTTLS is not offered");
    assert_opens_to(&no, SYNC_TLS_STARTTLS, LINK_TLS, "refuses STARTTLS: Not today");
    begin_tls(&w, &clear, SYNC_TLS_IMPLICIT);
    assert_int_equal(link_open(w.link, &w.err), -1);
    assert_trouble(&w, LINK_TLS, "TLS: ");
    world_end(&w);
    peer_stop(&clear);
}

/* --- time ------------------------------------------------------------------------------------- */

static void be_silent(struct side *s)
{
    side_drain(s);
}

static void test_silence_before_the_greeting_breaks_the_link(void **state)
{
    struct peer p = {.serve = be_silent};
    struct world w;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, SHORT_MS);
    assert_int_equal(link_open(w.link, &w.err), -1);
    assert_trouble(&w, LINK_BROKEN, "greeting: no answer within 1 s");
    world_end(&w);
    peer_stop(&p);
}

static void test_silence_after_a_command_breaks_the_link(void **state)
{
    static const struct exchange script[] = {COMMON("X"), ELSE("")};
    struct peer p = {.greeting = HI, .exchanges = script};
    struct world w;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, SHORT_MS);
    assert_open(&w);
    assert_call_fails(&w, "NOOP");
    assert_trouble(&w, LINK_BROKEN, "no answer within 1 s");
    world_end(&w);
    peer_stop(&p);
}

/* A server that owes nothing, or that we do not listen to, may be silent. */
static void test_silence_that_nobody_minds(void **state)
{
    static const struct exchange script[] = {COMMON("X"), ELSE("")};
    struct peer p = {.greeting = HI, .exchanges = script};
    struct link_wanting wanting = {.wants_in = true};
    enum pipeline_event event;
    struct world w;
    uint32_t id;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, 3 * SHORT_MS);
    assert_open(&w);
    wanting.link = w.link;
    assert_int_equal(link_step(w.link, &event), LINK_WAIT);
    assert_int_equal(link_wait(&wanting, 1, 4 * SHORT_MS), 0);

    assert_int_equal(pipeline_put(link_pipeline(w.link), SLICE("NOOP"), &id), 0);
    assert_int_equal(link_flush(w.link), 0);
    wanting.wants_in = false; /* as in a pause */
    assert_int_equal(link_wait(&wanting, 1, 4 * SHORT_MS), 0);
    assert_int_equal(link_step(w.link, &event), LINK_WAIT);
    wanting.wants_in = true;
    assert_int_equal(link_wait(&wanting, 1, SHORT_MS), 0); /* the pause does not count */
    assert_true(link_is_open(w.link));
    assert_int_equal(link_wait(&wanting, 1, LONG_MS), -1);
    assert_trouble(&w, LINK_BROKEN, "no answer within 1 s");
    world_end(&w);
    peer_stop(&p);
}

/* The slow: a byte each time before the silence would be too long. */
static void drip(struct side *s)
{
    static const char greeting[] = "* BYE x\r\n";

    for (const char *c = greeting; *c; c++) {
        struct pollfd gone = {.fd = s->fd, .events = POLLRDHUP};

        if (!side_write(s, c, 1) || poll(&gone, 1, SHORT_MS) != 0)
            return;
    }
    side_drain(s);
}

static void test_each_byte_ends_the_silence(void **state)
{
    struct peer p = {.serve = drip};
    struct world w;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, 4 * SHORT_MS);
    assert_int_equal(link_open(w.link, &w.err), -1);
    assert_trouble(&w, LINK_BROKEN, "greets with BYE: x");
    world_end(&w);
    peer_stop(&p);
}

static void test_a_sync_that_stops_ends_each_wait(void **state)
{
    static const struct exchange script[] = {COMMON("X"), ELSE("")};
    struct peer silent = {.serve = be_silent}, p = {.greeting = HI, .exchanges = script};
    struct world w;

    (void)state;
    peer_start(&silent);
    peer_start(&p);
    for (unsigned looks = 1; looks < 4; looks++) { /* before the dial, then in the greeting */
        world_begin(&w, &silent, LONG_MS);
        w.sync.stops_at = looks;
        assert_int_equal(link_open(w.link, &w.err), -1);
        assert_trouble(&w, LINK_STOPPED, "stopped");
        world_end(&w);
    }
    world_begin(&w, &p, LONG_MS);
    assert_open(&w);
    w.sync.stops_at = w.sync.looks + 3;
    assert_call_fails(&w, "NOOP");
    assert_trouble(&w, LINK_STOPPED, "stopped");
    world_end(&w);
    peer_stop(&silent);
    peer_stop(&p);
}

static void test_who_stops_in_order_settles_and_logs_out(void **state)
{
    static const struct exchange script[] = {COMMON("X"), ELSE("% OK Done\r\n")};
    struct peer p = {.greeting = HI, .exchanges = script};
    struct link_wanting wanting = {.wants_in = true};
    enum pipeline_event event = PIPELINE_MORE;
    struct world w;
    uint32_t id;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, LONG_MS);
    assert_open(&w);
    wanting.link = w.link;
    assert_int_equal(pipeline_put(link_pipeline(w.link), SLICE("NOOP"), &id), 0);
    w.sync.is_stopping = 1;
    assert_int_equal(link_wait(&wanting, 1, LONG_MS), -1);
    assert_trouble(&w, LINK_STOPPED, "stopped");
    assert_int_equal(link_step(w.link, &event), LINK_FAILED);
    link_settle(w.link);
    assert_true(link_is_open(w.link));
    while (event != PIPELINE_TAGGED) {
        enum link_event step = link_step(w.link, &event);

        assert_int_not_equal(step, LINK_FAILED);
        if (step == LINK_WAIT)
            assert_int_equal(link_wait(&wanting, 1, LONG_MS), 0);
    }
    link_close(w.link);
    world_end(&w);
    peer_stop(&p);
    assert_non_null(strstr(p.heard, "LOGOUT"));
}

/* Answers all but LOGOUT, and never closes. */
static void test_a_server_that_does_not_let_us_go_is_left(void **state)
{
    static const struct exchange script[] = {ID_ANSWER, IN("X"), ELSE("* 1 EXISTS\r\n")};
    struct peer p = {.greeting = HI, .exchanges = script};
    struct world w;
    uint64_t begun;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, LONG_MS);
    assert_open(&w);
    begun = loop_now_ms(w.loop);
    link_close(w.link);
    assert_in_range(loop_now_ms(w.loop) - begun, 900, LONG_MS / 2);
    world_end(&w);
    peer_stop(&p);
}

/* --- BYE -------------------------------------------------------------------------------------- */

static void test_bye_in_a_call_is_its_error(void **state)
{
    static const struct exchange script[] = {
        COMMON("X"),
        {"FETCH", "* 1 FETCH (UID 1)\r\n* BYE [LIMIT] Enough\x01 \r\n% OK\r\n", false},
        ELSE("% OK\r\n")};
    struct peer p = {.greeting = HI, .exchanges = script};
    struct world w;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, LONG_MS);
    assert_open(&w);
    assert_call_fails(&w, "UID FETCH 1:* (UID)");
    assert_trouble(&w, LINK_BROKEN, "the server says BYE: [LIMIT] Enough  ");
    assert_call_fails(&w, "NOOP"); /* it stays so */
    world_end(&w);
    peer_stop(&p);
}

static void leave(struct side *s)
{
    char line[256];

    (void)side_say(s, HI);
    (void)side_line(s, line, sizeof line);
    (void)side_line(s, line, sizeof line);
    (void)side_say(s, "U1 OK\r\nU2 OK [CAPABILITY IMAP4rev1] In\r\n* BYE Bored\r\n");
}

static void test_bye_while_nothing_is_out_is_told_at_the_next_use(void **state)
{
    struct peer p = {.serve = leave};
    struct world w;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, LONG_MS);
    assert_open(&w);
    assert_call_fails(&w, "NOOP");
    assert_trouble(&w, LINK_BROKEN, "the server says BYE: Bored");
    world_end(&w);
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_logs_in_says_who_it_is_and_logs_out),
        cmocka_unit_test(test_the_same_link_is_opened_again_and_counts_on),
        cmocka_unit_test(test_what_comes_behind_the_login_is_not_lost),
        cmocka_unit_test(test_somebody_elses_mail_by_a_master_user),
        cmocka_unit_test(test_a_refused_login_is_busy_or_refused),
        cmocka_unit_test(test_a_greeting_that_does_not_greet),
        cmocka_unit_test(test_a_server_that_goes_away_while_we_log_in),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_a_want_of_descriptors_is_ours),
        cmocka_unit_test(test_starttls_and_implicit_tls),
        cmocka_unit_test(test_a_certificate_of_somebody_else_is_refused),
        cmocka_unit_test(test_tls_that_does_not_come_about),
        cmocka_unit_test(test_silence_before_the_greeting_breaks_the_link),
        cmocka_unit_test(test_silence_after_a_command_breaks_the_link),
        cmocka_unit_test(test_silence_that_nobody_minds),
        cmocka_unit_test(test_each_byte_ends_the_silence),
        cmocka_unit_test(test_a_sync_that_stops_ends_each_wait),
        cmocka_unit_test(test_who_stops_in_order_settles_and_logs_out),
        cmocka_unit_test(test_a_server_that_does_not_let_us_go_is_left),
        cmocka_unit_test(test_bye_in_a_call_is_its_error),
        cmocka_unit_test(test_bye_while_nothing_is_out_is_told_at_the_next_use),
    };

    return cmocka_run_group_tests(tests, make_tls, free_tls);
}
