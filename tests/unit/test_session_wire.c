/* Sessions whose clients read late, or speak TLS, in a worker whose control, clients and backend
 * the test plays. */
#include "worker_world.h"

#include "certs.h"
#include "net/stream.h"
#include "net/tls.h"

static struct peer client, backend;

static void done(void)
{
    peer_close(&client);
    peer_close(&backend);
    finish();
}

/* --- slow readers ----------------------------------------------------------------------------- */

enum { MANY = 4000 };

/* As one who sends much and reads nothing for now. */
static uint32_t slow_client(void)
{
    uint32_t id;

    keep_little();
    connects_with(&client, LITTLE);
    id = control_hears(MSG_OPEN).id;
    say_go(id);
    hears(&client, "* OK ");
    return id;
}

static bool is_output_stuck(void *arg)
{
    struct session *s = CONTAINER(the_worker()->sessions.next, struct session, all);

    (void)arg;
    return buf_len(login_out(s->phase->login)) > 0;
}

/* Sends commands until their answers stay with usher. Returns how many. */
static int fill_up(void)
{
    char commands[64 * 16];
    int n = 0;

    while (!is_output_stuck(NULL)) {
        size_t at = 0;

        for (int i = 0; i < 64; i++)
            at += (size_t)snprintf(commands + at, sizeof commands - at, "c%d NOOP\r\n", n++);
        assert_in_range(n, 1, MANY);
        assert_int_equal(send(client.fd, commands, at, MSG_NOSIGNAL | MSG_DONTWAIT), at);
        settle();
    }
    return n;
}

static void begin_for_slow(const char *listener)
{
    begin("max_login_commands = 10000 max_login_bytes = 1M", listener, "");
}

static void test_a_client_that_reads_late_loses_no_answer(void **state)
{
    char answer[64];
    int n;

    (void)state;
    begin_for_slow("");
    slow_client();
    n = fill_up();
    for (int i = 0; i < n; i++) {
        snprintf(answer, sizeof answer, "c%d OK Nothing done\r\n", i);
        hears(&client, answer);
    }
    done();
}

static void test_a_client_that_reads_late_hears_the_goodbye_all_the_same(void **state)
{
    uint32_t id;

    (void)state;
    begin_for_slow("");
    id = slow_client();
    fill_up();
    says(&client, "d LOGOUT\r\n");
    assert_ended(id, CLOSE_CLIENT_LOGOUT);
    hears(&client, "* BYE ");
    hears(&client, "d OK Logged out\r\n");
    assert_string_equal(hears_end(&client), "");
    done();
}

static void test_a_client_that_breaks_off_while_it_is_said_goodbye_is_let_go(void **state)
{
    uint32_t id;

    (void)state;
    begin_for_slow("");
    id = slow_client();
    fill_up();
    says(&client, "d LOGOUT\r\n");
    assert_ended(id, CLOSE_CLIENT_LOGOUT);
    peer_reset(&client);
    assert_true(turns_until(has_no_sessions, NULL));
    assert_not_logged("client_reset"); /* one reason for each session */
    done();
}

static void test_a_client_that_breaks_off_before_its_answers_is_let_go(void **state)
{
    uint32_t id;

    (void)state;
    begin_for_slow("");
    id = slow_client();
    fill_up();
    peer_reset(&client);
    assert_ended(id, CLOSE_CLIENT_RESET);
    done();
}

/* --- TLS -------------------------------------------------------------------------------------- */

static void on_nothing(struct watch *w, unsigned events)
{
    (void)w;
    (void)events;
}

static struct stream shaking;

static bool is_shaken(void *arg)
{
    *(enum io *)arg = stream_handshake(&shaking);
    return *(enum io *)arg != IO_AGAIN;
}

/* A handshake on the client's connection: whether it is good for a client that trusts `cert`. */
static enum io shakes_hands(const struct cert *cert)
{
    char *pem = cert_pem(cert, NULL);
    const struct tls_client_params params = {.verifies = true, .ca_pem = slice_str(pem)};
    struct tls_context *ctx;
    struct err err;
    enum io io;

    fcntl(client.fd, F_SETFL, O_NONBLOCK);
    assert_int_equal(tls_client_new(&params, &ctx, &err), 0);
    stream_init(&shaking, client.fd, on_nothing);
    assert_int_equal(stream_tls_connect(&shaking, ctx, "a.example.org", &err), 0);
    assert_true(turns_until(is_shaken, &io));
    tls_context_free(&ctx);
    free(pem);
    return io;
}

static void let_go(void)
{
    stream_close(world.child.loop, &shaking);
    client.fd = -1;
}

static struct cert give_certificate(void)
{
    struct cert cert = cert_make("a.example.org", "DNS:a.example.org", NULL, 9, NULL);

    give_file("/cert", cert_pem(&cert, NULL));
    give_file("/key", key_pem(&cert, NULL));
    return cert;
}

#define TLS "tls { certificate = \"/cert\" key = \"/key\" }\n"

/* The OK to STARTTLS stands behind answers that the client has not read yet, all in clear. */
static void test_the_handshake_waits_for_a_client_that_reads_late(void **state)
{
    struct cert cert = give_certificate();
    char answer[64];
    int n;

    (void)state;
    begin("max_login_commands = 10000 max_login_bytes = 1M\n" TLS, "tls = starttls", "");
    slow_client();
    n = fill_up();
    says(&client, "d STARTTLS\r\n");
    settle();
    snprintf(answer, sizeof answer, "c%d OK Nothing done\r\n", n - 1);
    hears(&client, answer);
    hears(&client, "d OK ");
    hears(&client, "\r\n");
    assert_int_equal(client.at, client.n);
    assert_int_equal(shakes_hands(&cert), IO_OK);
    let_go();
    cert_free(&cert);
    done();
}

static void renew(void)
{
    const struct msg m = {.type = MSG_RENEW, .fd = -1};

    worker_role.on_message(&world.child, &m);
}

static void test_files_that_are_wrong_leave_the_old_certificate_in_use(void **state)
{
    struct cert old = give_certificate(), new;

    (void)state;
    begin(TLS, "tls = implicit", "");
    give_file("/key", strdup("no key"));
    renew();
    assert_logged("certificates_refused");
    assert_logged("worker 0: listener l: /cert with the key /key");
    say_go(opens(&client));
    assert_int_equal(shakes_hands(&old), IO_OK);
    let_go();
    new = give_certificate();
    renew();
    control_hears(MSG_END);
    say_go(opens(&client));
    assert_int_equal(shakes_hands(&new), IO_OK);
    let_go();
    cert_free(&old);
    cert_free(&new);
    done();
}

static void test_a_backend_whose_tls_breaks_is_told_from_one_that_is_gone(void **state)
{
    struct cert cert = give_certificate();
    const struct tls_identity identity = {"cert", slice_str(files[0].text),
                                          slice_str(files[1].text)};
    const struct tls_server_params params = {
        .listener = "b", .identities = &identity, .identities_n = 1};
    struct tls_context *ctx;
    struct err err;
    uint32_t id;
    enum io io;
    size_t n;

    (void)state;
    begin("", "", "tls = implicit tls_verify = no");
    id = reaches_backend(&client, &backend);
    assert_int_equal(tls_server_new(&params, &ctx, &err), 0);
    stream_init(&shaking, backend.fd, on_nothing);
    assert_int_equal(stream_tls_accept(&shaking, ctx, &err), 0);
    assert_true(turns_until(is_shaken, &io));
    assert_int_equal(io, IO_OK);
    tls_context_free(&ctx);
    assert_int_equal(stream_write(&shaking,
                                  SLICE("* OK [CAPABILITY IMAP4rev1] Hi\r\n"
                                        "U1 OK [CAPABILITY IMAP4rev1] In\r\n"),
                                  &n),
                     IO_OK);
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(&client, "a OK ");
    says(&backend, "in clear all of a sudden\r\n");
    assert_ended(id, CLOSE_BACKEND_TLS);
    hears(&client, "* BYE [UNAVAILABLE] The mail server is gone; please come again\r\n");
    assert_string_equal(hears_end(&client), "");
    stream_close(world.child.loop, &shaking);
    backend.fd = -1;
    cert_free(&cert);
    done();
}

static void test_nobody_is_spoken_to_in_clear_where_tls_is_implicit(void **state)
{
    struct cert cert = give_certificate();
    uint32_t id;

    (void)state;
    begin(TLS, "tls = implicit", "");
    cert_free(&cert);
    id = opens(&client);
    say_refuse(id, REFUSE_MAX_SESSIONS);
    assert_ended(id, CLOSE_MAX_SESSIONS);
    assert_string_equal(hears_end(&client), "");
    done();
}

#define T(test) cmocka_unit_test(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_client_that_reads_late_loses_no_answer),
        T(test_a_client_that_reads_late_hears_the_goodbye_all_the_same),
        T(test_a_client_that_breaks_off_while_it_is_said_goodbye_is_let_go),
        T(test_a_client_that_breaks_off_before_its_answers_is_let_go),
        T(test_the_handshake_waits_for_a_client_that_reads_late),
        T(test_files_that_are_wrong_leave_the_old_certificate_in_use),
        T(test_a_backend_whose_tls_breaks_is_told_from_one_that_is_gone),
        T(test_nobody_is_spoken_to_in_clear_where_tls_is_implicit),
    };

    client.fd = backend.fd = -1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
