/* The fields of ID that tell a backend of the client: which are ours, which are believed, and from
 * whom. */
#include "conf_testing.h"
#include "no_memory.h"
#include "worker/forward.h"
#include "worker/session.h"

static struct conf *conf;
static struct child child = {.self = {.instance = 3}};
static struct worker *worker;
static struct session_phase phase;
static struct session session;

static struct addr numeric(const char *ip, uint16_t port)
{
    struct addr a;

    assert_true(addr_parse_ip(slice_str(ip), port, &a));
    return a;
}

/* A session of a backend with or without forward_id. */
static void begin(bool forwards, bool is_trusted)
{
    conf = load(forwards ? GOOD_LISTENER "pool main { backend b1 { address = \"10.0.0.1:10143\"\n"
                                         "forward_id = yes } }\n"
                         : GOOD_LISTENER GOOD_POOL);
    worker = calloc(1, sizeof *worker);
    assert_non_null(worker);
    worker->child = &child;
    worker->conf = conf;
    phase = (struct session_phase){.is_trusted = is_trusted, .ttl = 5};
    phase.local = numeric("192.0.2.1", 143);
    session = (struct session){.worker = worker, .phase = &phase, .id = 42};
    session.peer = numeric("192.0.2.7", 4711);
}

static int end(void **state)
{
    (void)state;
    free(worker);
    worker = NULL;
    conf_free(&conf);
    return 0;
}

/* All that a backend is told, as "key=value,". */
static const char *told(struct id said)
{
    static char text[4096];
    struct forward *f;
    struct err err;
    size_t at = 0;

    assert_int_equal(forward_new(&session, said, &f, &err), 0);
    text[0] = '\0';
    for (size_t i = 0; i < forward_id(f).n; i++) {
        const struct id_pair *pair = &forward_id(f).pairs[i];

        at += (size_t)snprintf(text + at, sizeof text - at, "%.*s=%.*s,", SLICE_ARG(pair->key),
                               SLICE_ARG(pair->value));
    }
    forward_free(&f);
    assert_null(f);
    return text;
}

#define PAIR(key, value)                                          \
    {                                                             \
        {key, sizeof(key) - 1}, {value, sizeof(value) - 1}, false \
    }
#define OURS                                                                                   \
    "x-originating-ip=192.0.2.7,x-originating-port=4711,x-connected-ip=192.0.2.1,x-connected-" \
    "port="                                                                                    \
    "143,x-proxy-ttl=5,"

static const struct id_pair claims[] = {
    PAIR("name", "Mail"),
    PAIR("X-Session-ID", "theirs"),
    PAIR("x-forward-tls", "yes"),
    PAIR("x-originating-ip", "192.0.2.66"),
    PAIR("x-connected-name", "imap"),
    PAIR("x-client-transport", "TLS"),
};
static const struct id said = {claims, sizeof claims / sizeof *claims};

static void test_what_proxies_tell_each_other_is_passed_on_from_trusted_clients_only(void **state)
{
    (void)state;
    begin(true, false);
    assert_string_equal(told(said), OURS "x-session-id=3.42,name=Mail,");
    phase.is_trusted = true;
    assert_string_equal(told(said), OURS "x-session-id=theirs,x-forward-tls=yes,name=Mail,");
    assert_string_equal(told((struct id){claims, 1}), OURS "x-session-id=3.42,name=Mail,");
}

static void test_a_backend_that_does_not_ask_is_told_only_the_clients_own_words(void **state)
{
    (void)state;
    begin(false, true);
    assert_string_equal(told(said), "name=Mail,");
    assert_string_equal(told((struct id){NULL, 0}), "");
}

static void test_an_address_that_is_not_known_is_left_out(void **state)
{
    (void)state;
    begin(true, false);
    session.peer = numeric("2001:db8::7", 4711);
    phase.local = (struct addr){0};
    assert_string_equal(told((struct id){NULL, 0}),
                        "x-originating-ip=2001:db8::7,x-originating-port=4711,x-proxy-ttl=5,"
                        "x-session-id=3.42,");
}

static void test_many_words_of_a_client_do_not_push_ours_out(void **state)
{
    struct id_pair many[ID_PAIRS];
    const char *text;

    (void)state;
    begin(true, true);
    for (size_t i = 0; i < ID_PAIRS; i++)
        many[i] = (struct id_pair)PAIR("x-forward-a", "1");
    text = told((struct id){many, ID_PAIRS});
    assert_memory_equal(text, OURS "x-session-id=3.42,", strlen(OURS "x-session-id=3.42,"));
    for (size_t i = 0; i < ID_PAIRS; i++)
        many[i] = (struct id_pair)PAIR("a", "1");
    text = told((struct id){many, ID_PAIRS});
    assert_memory_equal(text, OURS "x-session-id=3.42,", strlen(OURS "x-session-id=3.42,"));
    assert_int_equal(strlen(text), strlen(OURS "x-session-id=3.42,") + 24 * strlen("a=1,"));
}

static void test_the_way_of_a_login_through_proxies_is_bounded(void **state)
{
    static const struct {
        const char *ttl;
        int left; /* -1: refused */
    } rows[] = {{"5", 4}, {"2", 1}, {"1", -1}, {"0", -1}, {"none", -1}, {"256", -1}, {"", 5}};

    (void)state;
    begin(true, true);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct id_pair pair = {SLICE("X-Proxy-TTL"), slice_str(rows[i].ttl), false};
        struct err err = {0};
        int done = forward_believe(&session, (struct id){&pair, 1}, &err);

        assert_int_equal(done, rows[i].left < 0 ? -1 : 0);
        if (done == 0)
            assert_int_equal(phase.ttl, rows[i].left);
        else
            assert_non_null(strstr(err.text, "in a loop"));
    }
}

static void test_only_a_trusted_client_speaks_for_another(void **state)
{
    static const struct id_pair web[] = {
        PAIR("x-originating-ip", "::ffff:192.0.2.9"),
        PAIR("x-originating-port", "80"),
    };
    static const struct id_pair odd[] = {
        PAIR("x-originating-ip", "nobody"),
        PAIR("x-originating-port", "70000"),
        PAIR("x-proxy-ttl", "1"),
    };
    char text[ADDR_TEXT];
    struct err err;

    (void)state;
    begin(true, false);
    assert_int_equal(forward_believe(&session, (struct id){web, 2}, &err), 0);
    assert_int_equal(forward_believe(&session, (struct id){odd, 3}, &err), 0);
    assert_string_equal(addr_format(&session.peer, text), "192.0.2.7:4711");
    phase.is_trusted = true;
    assert_int_equal(forward_believe(&session, (struct id){odd, 2}, &err), 0);
    assert_string_equal(addr_format(&session.peer, text), "192.0.2.7:4711");
    assert_int_equal(forward_believe(&session, (struct id){web, 2}, &err), 0);
    assert_string_equal(addr_format(&session.peer, text), "192.0.2.9:80");
}

static void test_want_of_memory_is_told(void **state)
{
    struct forward *f;
    struct err err = {0};
    int done;

    (void)state;
    begin(true, false);
    memory.n = 0;
    memory.fails_at = 1;
    memory.is_on = true;
    done = forward_new(&session, said, &f, &err);
    memory.is_on = false;
    assert_int_equal(done, -1);
    assert_null(f);
    assert_string_equal(err.text, "out of memory");
}

#define T(test) cmocka_unit_test_teardown(test, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_what_proxies_tell_each_other_is_passed_on_from_trusted_clients_only),
        T(test_a_backend_that_does_not_ask_is_told_only_the_clients_own_words),
        T(test_an_address_that_is_not_known_is_left_out),
        T(test_many_words_of_a_client_do_not_push_ours_out),
        T(test_the_way_of_a_login_through_proxies_is_bounded),
        T(test_only_a_trusted_client_speaks_for_another),
        T(test_want_of_memory_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
