/* Peers that never stop: one call of a stream reads the socket a few times only, however much there
 * is that holds no data. Reads are counted, and the client sends on before each of them. */
#include "tls_talk.h"

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static struct talk t;
static bool is_flooding;
static int key_update; /* SSL_KEY_UPDATE_*: whether the flood wants answers */
static unsigned read_calls;

/* Key updates (RFC 8446 section 4.6.3) until the socket is full. */
static void flood(void)
{
    t.c.tls_reads = UINT8_MAX;
    do {
        /* One that did not go is still on its way. */
        if (!SSL_in_init(t.c.tls))
            assert_int_equal(SSL_key_update(t.c.tls, key_update), 1);
    } while (SSL_do_handshake(t.c.tls) == 1);
}

/* Stands before libc's, for OpenSSL too. */
ssize_t read(int fd, void *p, size_t n)
{
    if (is_flooding && fd == stream_fd(&t.s)) {
        read_calls++;
        flood();
    }
    return syscall(SYS_read, fd, p, n);
}

static int begin(void **state)
{
    struct cert mail = cert_make("mail", "DNS:mail.example.org", NULL, 9, NULL);
    struct owned_identity o = identity_of(&mail, NULL, "mail");
    struct tls_context *client = any_client();
    struct tls_context *server = server_made(&(struct tls_server_params){
        .listener = "imap", .identities = &o.identity, .identities_n = 1});

    (void)state;
    talk_begin(&t, server, client, NULL);
    tls_context_free(&server);
    tls_context_free(&client);
    identity_done(&o);
    cert_free(&mail);
    talk_shake(&t);
    assert_talks(&t);
    assert_string_equal(stream_tls_version(&t.s), "TLSv1.3");
    return 0;
}

static int end(void **state)
{
    (void)state;
    is_flooding = false;
    talk_end(&t);
    return 0;
}

static void read_a_flood(int update)
{
    size_t n;
    char c;

    key_update = update;
    is_flooding = true;
    for (int call = 0; call < 5; call++) {
        read_calls = 0;
        assert_int_equal(stream_read(&t.s, &c, 1, &n), IO_AGAIN);
        /* Once no more answers go, nothing is read either. */
        assert_in_range(read_calls, call == 0, 4);
        assert_false(stream_has_pending(&t.s));
    }
    is_flooding = false;
}

static unsigned seen_events;

static void on_event(struct watch *w, unsigned events)
{
    (void)w;
    seen_events = events;
    loop_stop(t.loop);
}

static void test_one_call_reads_a_flood_of_key_updates_a_few_times_only(void **state)
{
    (void)state;
    read_a_flood(SSL_KEY_UPDATE_NOT_REQUESTED);
    /* What is left makes an event again. */
    flood();
    t.s.cb = on_event;
    stream_want(t.loop, &t.s, LOOP_READ);
    loop_run(t.loop);
    assert_int_equal(seen_events, LOOP_READ);
}

static void test_a_flood_that_wants_answers_but_takes_none_is_bounded_too(void **state)
{
    (void)state;
    read_a_flood(SSL_KEY_UPDATE_REQUESTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_call_reads_a_flood_of_key_updates_a_few_times_only,
                                        begin, end),
        cmocka_unit_test_setup_teardown(
            test_a_flood_that_wants_answers_but_takes_none_is_bounded_too, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
