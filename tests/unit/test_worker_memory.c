/* A worker whose memory runs out at each moment of a session's life in turn: the session may end,
 * but in order, with nothing left open, and the worker goes on with the next one. */
#include "worker_world.h"

#include "base/secret.h"
#include "certs.h"

#include <poll.h>

/* Secret memory is not from malloc(). */
void *__real_secret_alloc(size_t n);
void *__wrap_secret_alloc(size_t n);

void *__wrap_secret_alloc(size_t n)
{
    return memory_is_out() ? NULL : __real_secret_alloc(n);
}

static struct peer client, backend;

/* --- control, the backend and the client play by themselves ----------------------------------- */

static bool has_leased; /* this login */

static void control_answers(const struct msg *m)
{
    const struct msg_result *result = m->body;

    if (m->type == MSG_OPEN)
        say_go(m->id);
    else if (m->type == MSG_ADMIT && !has_leased)
        say_lease(m->id);
    else if (m->type == MSG_ADMIT || (m->type == MSG_RESULT && result->result == RESULT_FAILED))
        say_refuse(m->id, REFUSE_UNAVAILABLE);
    else if (m->type == MSG_RESULT && result->result == RESULT_OK)
        say_done(m->id);
    has_leased |= m->type == MSG_ADMIT;
}

static void control_plays(void)
{
    struct msg m;

    while (next_msg(&world.control, &m))
        control_answers(&m);
    if (!world.control.is_closed)
        return;
    lose_control();
    new_control();
}

/* Says OK to every command, the PROXY header before them passed over. */
static void backend_plays(void)
{
    char answer[128];
    const char *end;

    if (backend.fd < 0) {
        if (!is_accepted(&backend))
            return;
        backend.at = backend.n = 0;
        backend.is_over = false;
        says(&backend, "* OK [CAPABILITY IMAP4rev1 ID SASL-IR AUTH=PLAIN] Hi\r\n");
    }
    peer_read(&backend);
    while ((end = strstr(backend.got + backend.at, "\r\n"))) {
        const char *line = backend.got + backend.at;

        backend.at = (size_t)(end - backend.got) + 2;
        if (strncmp(line, "PROXY ", 6) == 0)
            continue;
        snprintf(answer, sizeof answer, "%.*s OK [CAPABILITY IMAP4rev1] Of the backend\r\n",
                 (int)strcspn(line, " "), line);
        (void)send(backend.fd, answer, strlen(answer), MSG_NOSIGNAL);
    }
    if (backend.is_over)
        peer_close(&backend);
}

/* Until the last command of the client is answered, or its connection is over. */
static bool all_play(void *arg)
{
    (void)arg;
    control_plays();
    backend_plays();
    peer_read(&client);
    return client.is_over || strstr(client.got, "z OK ");
}

static bool is_all_over(void *arg)
{
    control_plays();
    return has_no_sessions(arg);
}

/* A client's whole session; `fails_at` as in no_memory.h. Says whether it was logged in. */
static bool passes(size_t fails_at)
{
    bool is_in;

    has_leased = false;
    backend.fd = -1;
    connects_with(&client, 0);
    says(&client, "PROXY TCP4 192.0.2.7 192.0.2.1 4711 143\r\n"
                  "i ID (\"name\" \"Mail\")\r\na LOGIN ann secret\r\nz NOOP\r\n");
    memory.n = 0;
    memory.fails_at = fails_at;
    memory.is_on = true;
    if (!turns_until(all_play, NULL))
        fail_msg("stuck without request %zu, heard: %s", fails_at, client.got);
    is_in = strstr(client.got, "a OK ");
    assert_int_equal(is_in && !client.is_over, !!strstr(client.got, "z OK [CAPABILITY IMAP4rev1] "
                                                                    "Of the backend\r\n"));
    /* The end needs memory too: control is told. */
    peer_close(&client);
    peer_close(&backend);
    assert_true(is_all_over(NULL) || turns_until(is_all_over, NULL));
    memory.is_on = false;
    return is_in;
}

static void test_a_session_ends_in_order_whenever_memory_is_out(void **state)
{
    size_t requests, secrets, failed = 0;

    (void)state;
    begin("trusted_networks = {127.0.0.0/8}", "proxy = yes", "forward_id = yes proxy = v1");
    assert_true(passes(0));
    assert_true(passes(0)); /* the first has let tables grow */
    requests = memory.n;
    secrets = secret_used();
    assert_in_range(requests, 20, 1000);
    for (size_t at = 1; at <= requests; at++) {
        failed += !passes(at);
        assert_true(memory.n >= at);
        assert_int_equal(secret_used(), secrets);
        assert_true(passes(0));
    }
    assert_in_range(failed, 10, requests);
    finish();
}

/* For the first session more is asked for: tables that later ones find large enough. */
static void test_the_first_session_of_all_ends_in_order_too(void **state)
{
    (void)state;
    for (size_t at = 1; at <= 10; at++) {
        begin("trusted_networks = {127.0.0.0/8}", "proxy = yes", "");
        (void)passes(at);
        assert_true(memory.n >= at);
        assert_true(passes(0));
        finish();
    }
}

/* What a client does not read must be held. */
static void test_a_relay_that_cannot_hold_what_is_not_read_ends(void **state)
{
    static char mail[1 << 16];
    struct pollfd room = {.events = POLLOUT};
    uint32_t id;

    (void)state;
    begin_usual();
    keep_little();
    connects_with(&client, LITTLE);
    id = control_hears(MSG_OPEN).id;
    say_go(id);
    says(&client, "a LOGIN ann secret\r\n");
    control_hears_of(id, MSG_ADMIT);
    say_lease(id);
    backend_accepts(&backend);
    backend_says_ok(&backend);
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(&client, "a OK ");
    memset(mail, 'x', sizeof mail);
    room.fd = backend.fd;
    memory.n = 0;
    memory.fails_at = 1;
    memory.is_on = true;
    while (poll(&room, 1, 0) == 1 && !(room.revents & POLLHUP) &&
           send(backend.fd, mail, sizeof mail, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        settle();
    memory.is_on = false;
    assert_ended(id, CLOSE_LIMIT);
    assert_logged("reason=limit detail=\"out of memory\"");
    peer_close(&client);
    peer_close(&backend);
    finish();
}

/* --- at the start ----------------------------------------------------------------------------- */

static void make_contexts(struct worker *w)
{
    struct err err = {0};

    if (contexts_make(w, &err) < 0)
        fail_msg("%s", err.text);
}

static void test_contexts_are_not_made_for_want_of_memory(void **state)
{
    struct cert cert = cert_make("a.example.org", "DNS:a.example.org", NULL, 9, NULL);
    struct worker *w;
    struct err err;
    size_t requests;

    (void)state;
    give_file("/cert", cert_pem(&cert, NULL));
    give_file("/key", key_pem(&cert, NULL));
    cert_free(&cert);
    prepare("trusted_networks = {192.0.2.0/24}\ntls { certificate = \"/cert\" key = \"/key\" }",
            "tls = starttls", "source = {127.0.0.2} tls = implicit tls_ca = \"/cert\"");
    w = the_worker();
    w->conf = world.child.conf;
    for (int i = 0; i < 2; i++) {
        memory.n = memory.fails_at = 0;
        memory.is_on = true;
        make_contexts(w);
        memory.is_on = false;
        contexts_free(w);
        contexts_init(w);
    }
    requests = memory.n;
    assert_in_range(requests, 8, 1000);
    for (size_t at = 1; at <= requests; at++) {
        int done;

        err = (struct err){0};
        memory.n = 0;
        memory.fails_at = at;
        memory.is_on = true;
        done = contexts_make(w, &err);
        memory.is_on = false;
        assert_int_equal(done, -1);
        if (!strstr(err.text, "memory"))
            fail_msg("request %zu: %s", at, err.text);
        contexts_free(w);
        contexts_free(w); /* harmless twice */
        contexts_init(w);
    }
    finish();
}

/* What `usher check` finds before; a worker would still rather not begin. */
static void test_addresses_that_are_none_are_told_at_the_start(void **state)
{
    static const struct {
        const char *settings, *backend, *words;
    } rows[] = {
        {"trusted_networks = {nowhere}", "", "trusted_networks: "},
        {"", "source = {nowhere}", "backend b1: source nowhere is no address"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};

        prepare(rows[i].settings, "", rows[i].backend);
        assert_int_equal(worker_role.on_start(&world.child, &err), -1);
        if (!strstr(err.text, rows[i].words))
            fail_msg("%s", err.text);
        finish();
    }
}

#define T(test) cmocka_unit_test(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_session_ends_in_order_whenever_memory_is_out),
        T(test_the_first_session_of_all_ends_in_order_too),
        T(test_a_relay_that_cannot_hold_what_is_not_read_ends),
        T(test_contexts_are_not_made_for_want_of_memory),
        T(test_addresses_that_are_none_are_told_at_the_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
