/* Streams in clear and TLS, both ends in one process on one loop. The system calls for reading and
 * writing are counted. */
#include "certs.h"
#include "net/loop.h"
#include "net/stream.h"
#include "net/tls.h"
#include "net/tls_internal.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

/* A listener's context of one certificate, and a client's. */
static int server_of(struct slice cert, struct slice key, struct tls_context **out, struct err *err)
{
    const struct tls_identity identity = {"the certificate", cert, key};
    const struct tls_server_params params = {
        .listener = "imap", .identities = &identity, .identities_n = 1};

    return tls_server_new(&params, out, err);
}

static int client_of(struct slice ca, bool verifies, struct tls_context **out, struct err *err)
{
    const struct tls_client_params params = {.ca_pem = ca, .verifies = verifies};

    return tls_client_new(&params, out, err);
}

static unsigned read_calls, write_calls;

/* Stand before those of libc, for OpenSSL too. */
ssize_t read(int fd, void *p, size_t n)
{
    read_calls++;
    return syscall(SYS_read, fd, p, n);
}

ssize_t write(int fd, const void *p, size_t n)
{
    write_calls++;
    return syscall(SYS_write, fd, p, n);
}

/* One end, which sends `to_send` bytes of a pattern, then FIN, and receives until the other's. */
struct end {
    struct stream s;
    size_t to_send, sent, received;
    uint8_t salt, other_salt;
    bool is_shaking, has_finished, has_eof;
    unsigned calls, events, tries;
};

static struct loop *loop;
static struct deadline guard;
static struct end a, b;
static struct tls_context *server, *client;

static void on_guard(struct deadline *d)
{
    (void)d;
    fail_msg("nothing has happened for a minute");
}

static int make_contexts(void **state)
{
    struct cert c = cert_make("mail", "DNS:mail.example.org", NULL, 9, NULL);
    char *cert = cert_pem(&c, NULL), *key = key_pem(&c, NULL);
    struct err err;

    (void)state;
    assert_int_equal(server_of(slice_str(cert), slice_str(key), &server, &err), 0);
    assert_int_equal(client_of(slice_str(cert), true, &client, &err), 0);
    free(cert);
    free(key);
    cert_free(&c);
    return 0;
}

static int free_contexts(void **state)
{
    (void)state;
    tls_context_free(&server);
    tls_context_free(&client);
    tls_context_free(&client);
    return 0;
}

static void on_event(struct watch *w, unsigned events)
{
    struct end *e = CONTAINER(stream_of(w), struct end, s);

    e->calls++;
    e->events = events;
    loop_stop(loop);
}

static int setup(void **state)
{
    struct err err;
    int fds[2];

    (void)state;
    loop = loop_new(&err);
    assert_non_null(loop);
    deadline_init(&guard, on_guard);
    deadline_set(loop, &guard, 60000);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    stream_init(&a.s, fds[0], on_event);
    stream_init(&b.s, fds[1], on_event);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stream_close(loop, &a.s);
    stream_close(loop, &b.s);
    stream_close(loop, &b.s);
    deadline_clear(&guard);
    loop_free(&loop);
    return 0;
}

static void begin_tls(void)
{
    struct err err;

    assert_int_equal(stream_tls_accept(&a.s, server, &err), 0);
    assert_int_equal(stream_tls_connect(&b.s, client, "mail.example.org", &err), 0);
}

/* Without the loop: as on a socket pair all is there at once. */
static void shake(void)
{
    enum io io_a = IO_AGAIN, io_b = IO_AGAIN;

    begin_tls();
    for (int i = 0; i < 10 && (io_a == IO_AGAIN || io_b == IO_AGAIN); i++) {
        io_b = io_b == IO_AGAIN ? stream_handshake(&b.s) : io_b;
        io_a = io_a == IO_AGAIN ? stream_handshake(&a.s) : io_a;
    }
    assert_int_equal(io_a, IO_OK);
    assert_int_equal(io_b, IO_OK);
}

static void put(struct end *e, const char *text)
{
    size_t n = 0;

    assert_int_equal(stream_write(&e->s, slice_str(text), &n), IO_OK);
    assert_int_equal(n, strlen(text));
}

static void assert_gets(struct end *e, const char *text)
{
    char got[64];
    size_t n = 0;

    assert_int_equal(stream_read(&e->s, got, sizeof got, &n), IO_OK);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, n);
}

static enum io read_some(struct end *e)
{
    char got[64];
    size_t n = 0;

    return stream_read(&e->s, got, sizeof got, &n);
}

/* ---- bulk, both ways at once ---- */

enum { BULK = 3000000, CHUNK = 50000 };

static char pattern(size_t at, uint8_t salt)
{
    return (char)(at * 7 + at / 251 + salt);
}

/* Each try offers more bytes than the one before, from elsewhere. */
static void pump_out(struct end *e)
{
    static char chunks[2][CHUNK];

    while (e->sent < e->to_send) {
        char *chunk = chunks[e->tries % 2];
        size_t n = CHUNK / 2 + e->tries++, went = 0;
        enum io io;

        if (n > CHUNK)
            n = CHUNK;
        if (n > e->to_send - e->sent)
            n = e->to_send - e->sent;
        for (size_t i = 0; i < n; i++)
            chunk[i] = pattern(e->sent + i, e->salt);
        io = stream_write(&e->s, slice_of(chunk, n), &went);
        memset(chunk, 0, n);
        if (io == IO_AGAIN)
            return;
        assert_int_equal(io, IO_OK);
        e->sent += went;
    }
    if (!e->has_finished)
        stream_finish(&e->s);
    e->has_finished = true;
}

static void pump_in(struct end *e)
{
    char got[5000];
    enum io io;
    size_t n;

    do {
        io = stream_read(&e->s, got, sizeof got, &n);
        for (size_t i = 0; io == IO_OK && i < n; i++)
            assert_int_equal(got[i], pattern(e->received + i, e->other_salt));
        if (io == IO_OK)
            e->received += n;
    } while (io == IO_OK && stream_has_pending(&e->s));
    assert_int_not_equal(io, IO_FAILED);
    e->has_eof = io == IO_EOF;
}

static void on_pump(struct watch *w, unsigned events)
{
    struct end *e = CONTAINER(stream_of(w), struct end, s);
    unsigned wants = 0;

    if (e->is_shaking) {
        enum io io = stream_handshake(&e->s);

        assert_true(io == IO_OK || io == IO_AGAIN);
        e->is_shaking = io == IO_AGAIN;
    } else {
        if (events & LOOP_READ)
            pump_in(e);
        if (events & LOOP_WRITE)
            pump_out(e);
    }
    if (!e->has_eof)
        wants |= LOOP_READ;
    if (!e->has_finished && !e->is_shaking)
        wants |= LOOP_WRITE;
    stream_want(loop, &e->s, wants);
    if (a.has_eof && a.has_finished && b.has_eof && b.has_finished)
        loop_stop(loop);
}

static void bulk(bool is_tls)
{
    int tiny = 1;

    for (struct end *e = &a; e; e = e == &a ? &b : NULL) {
        e->s.cb = on_pump;
        e->to_send = e == &a ? BULK : BULK / 3;
        e->salt = e == &a ? 1 : 100;
        e->other_salt = e == &a ? 100 : 1;
        e->is_shaking = is_tls;
        setsockopt(stream_fd(&e->s), SOL_SOCKET, SO_SNDBUF, &tiny, sizeof tiny);
        setsockopt(stream_fd(&e->s), SOL_SOCKET, SO_RCVBUF, &tiny, sizeof tiny);
        stream_want(loop, &e->s, LOOP_READ | LOOP_WRITE);
    }
    loop_run(loop);
    assert_int_equal(a.received, BULK / 3);
    assert_int_equal(b.received, BULK);
}

static void test_much_data_passes_small_buffers_both_ways_in_clear(void **state)
{
    (void)state;
    bulk(false);
    assert_string_equal(stream_tls_version(&a.s), "");
}

static void test_much_data_passes_small_buffers_both_ways_in_tls_1_3(void **state)
{
    (void)state;
    begin_tls();
    bulk(true);
    assert_string_equal(stream_tls_version(&a.s), "TLSv1.3");
}

static void test_much_data_passes_small_buffers_both_ways_in_tls_1_2(void **state)
{
    (void)state;
    begin_tls();
    SSL_set_max_proto_version(b.s.tls, TLS1_2_VERSION);
    bulk(true);
    assert_string_equal(stream_tls_version(&b.s), "TLSv1.2");
}

/* ---- ends ---- */

static void one_way_end(void)
{
    put(&a, "question");
    stream_finish(&a.s);
    assert_gets(&b, "question");
    assert_int_equal(read_some(&b), IO_EOF);
    assert_int_equal(read_some(&b), IO_EOF);
    assert_false(stream_has_pending(&b.s));
    put(&b, "answer");
    assert_gets(&a, "answer");
    assert_int_equal(read_some(&a), IO_AGAIN);
    stream_finish(&b.s);
    assert_int_equal(read_some(&a), IO_EOF);
}

static void test_who_has_finished_sending_still_receives_in_clear(void **state)
{
    (void)state;
    one_way_end();
}

static void test_who_has_finished_sending_still_receives_in_tls(void **state)
{
    (void)state;
    shake();
    one_way_end();
}

static void test_a_bare_end_of_the_connection_ends_tls_too(void **state)
{
    (void)state;
    shake();
    put(&a, "x");
    shutdown(stream_fd(&a.s), SHUT_WR);
    assert_gets(&b, "x");
    assert_int_equal(read_some(&b), IO_EOF);
}

static void write_to_gone_peer(void)
{
    struct err err;
    size_t n;

    stream_close(loop, &a.s);
    assert_int_equal(stream_write(&b.s, SLICE("x"), &n), IO_FAILED);
    assert_false(stream_error_is_tls(&b.s));
    stream_error(&b.s, &err);
    assert_int_equal(err.code, EPIPE);
    assert_string_equal(err.text, "Broken pipe");
}

static void test_writing_to_a_gone_peer_fails_in_clear(void **state)
{
    (void)state;
    write_to_gone_peer();
}

static void test_writing_to_a_gone_peer_fails_in_tls(void **state)
{
    (void)state;
    shake();
    write_to_gone_peer();
}

static void test_a_reset_is_a_failure_in_clear_and_in_tls(void **state)
{
    struct err err;

    (void)state;
    /* Closing with bytes unread resets. */
    put(&b, "unread");
    stream_close(loop, &a.s);
    assert_int_equal(read_some(&b), IO_FAILED);
    stream_error(&b.s, &err);
    assert_int_equal(err.code, ECONNRESET);

    stream_close(loop, &b.s);
    deadline_clear(&guard);
    loop_free(&loop);
    setup(NULL);
    shake();
    put(&b, "unread");
    stream_close(loop, &a.s);
    assert_int_equal(read_some(&b), IO_FAILED);
    assert_false(stream_error_is_tls(&b.s));
    stream_error(&b.s, &err);
    assert_int_equal(err.code, ECONNRESET);
}

static void test_writing_nothing_is_no_failure(void **state)
{
    size_t n = 9;

    (void)state;
    shake();
    assert_int_equal(stream_write(&a.s, slice_of(NULL, 0), &n), IO_OK);
    assert_int_equal(n, 0);
}

static void test_a_finish_during_the_handshake_is_quiet(void **state)
{
    struct err err;

    (void)state;
    begin_tls();
    stream_finish(&a.s);
    assert_int_equal(stream_handshake(&b.s), IO_FAILED);
    assert_false(stream_error_is_tls(&b.s));
    stream_error(&b.s, &err);
    assert_string_equal(err.text, "the peer closed the connection during the TLS handshake");
}

static void test_garbage_within_tls_is_a_failure_of_tls(void **state)
{
    static const char garbage[] = "* BYE, said someone in clear, in the middle of TLS\r\n";
    struct err err;

    (void)state;
    shake();
    assert_int_equal(send(stream_fd(&a.s), garbage, sizeof garbage, 0), sizeof garbage);
    assert_int_equal(read_some(&b), IO_FAILED);
    assert_true(stream_error_is_tls(&b.s));
    stream_error(&b.s, &err);
    assert_non_null(strstr(err.text, "does not look like TLS"));
    assert_false(stream_error_is_tls(&b.s));
}

/* ---- pending bytes ---- */

static void test_what_was_left_of_a_record_is_pending(void **state)
{
    char c;
    size_t n;

    (void)state;
    shake();
    put(&a, "abc");
    assert_false(stream_has_pending(&a.s));
    for (const char *p = "abc"; *p; p++) {
        assert_int_equal(stream_read(&b.s, &c, 1, &n), IO_OK);
        assert_int_equal(c, *p);
        assert_int_equal(stream_has_pending(&b.s), p[1] != '\0');
    }
    assert_int_equal(read_some(&b), IO_AGAIN);
}

static void test_a_second_record_that_was_read_ahead_is_pending(void **state)
{
    (void)state;
    shake();
    /* The session ticket that comes first. */
    assert_int_equal(read_some(&b), IO_AGAIN);
    put(&a, "first");
    put(&a, "second");
    assert_gets(&b, "first");
    assert_true(stream_has_pending(&b.s));
    assert_gets(&b, "second");
    assert_false(stream_has_pending(&b.s));
}

static void test_a_part_of_a_record_is_not_pending_once_it_was_tried(void **state)
{
    char raw[256];
    ssize_t n;
    int fds[2], b_fd;

    (void)state;
    shake();
    assert_int_equal(read_some(&b), IO_AGAIN);
    /* From here on what the server sends reaches the client only through our hands. */
    b_fd = dup(stream_fd(&b.s));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(dup2(fds[0], stream_fd(&b.s)), stream_fd(&b.s));
    put(&a, "first");
    put(&a, "second");
    n = recv(b_fd, raw, sizeof raw, 0);
    assert_true(n > 20);
    assert_int_equal(send(fds[1], raw, 10, 0), 10);
    assert_int_equal(read_some(&b), IO_AGAIN);
    assert_false(stream_has_pending(&b.s));
    assert_int_equal(send(fds[1], raw + 10, (size_t)n - 13, 0), n - 13);
    assert_gets(&b, "first");
    if (stream_has_pending(&b.s))
        assert_int_equal(read_some(&b), IO_AGAIN);
    assert_false(stream_has_pending(&b.s));
    assert_int_equal(send(fds[1], raw + n - 3, 3, 0), 3);
    assert_gets(&b, "second");
    close(fds[0]);
    close(fds[1]);
    close(b_fd);
}

static void test_what_comes_with_the_end_of_the_handshake_is_not_lost(void **state)
{
    (void)state;
    begin_tls();
    assert_int_equal(stream_handshake(&b.s), IO_AGAIN);
    assert_int_equal(stream_handshake(&a.s), IO_AGAIN);
    assert_int_equal(stream_handshake(&b.s), IO_OK);
    put(&b, "a1 NOOP\r\n");
    assert_int_equal(stream_handshake(&a.s), IO_OK);
    assert_true(stream_has_pending(&a.s));
    assert_gets(&a, "a1 NOOP\r\n");
    assert_false(stream_has_pending(&a.s));
}

static void test_a_small_record_costs_one_system_call_at_either_end(void **state)
{
    (void)state;
    shake();
    assert_int_equal(read_some(&b), IO_AGAIN);
    read_calls = write_calls = 0;
    put(&a, "* OK\r\n");
    assert_int_equal(write_calls, 1);
    assert_gets(&b, "* OK\r\n");
    assert_int_equal(read_calls, 1);
    assert_false(stream_has_pending(&b.s));
    assert_int_equal(read_calls, 1);
}

/* ---- what is watched ---- */

static void test_the_owner_is_called_for_what_it_wants_only(void **state)
{
    (void)state;
    stream_want(loop, &a.s, LOOP_WRITE);
    put(&b, "x");
    loop_run(loop);
    assert_int_equal(a.events, LOOP_WRITE);
    stream_want(loop, &a.s, LOOP_READ);
    loop_run(loop);
    assert_int_equal(a.events, LOOP_READ);
    stream_want(loop, &a.s, 0);
    stream_want(loop, &b.s, LOOP_WRITE);
    loop_run(loop);
    assert_int_equal(a.calls, 2);
}

static void
test_the_owner_is_called_in_its_own_terms_when_tls_needs_the_other_direction(void **state)
{
    (void)state;
    a.s.tls_needs = TLS_NEEDS_WRITE_TO_READ;
    stream_want(loop, &a.s, LOOP_READ);
    loop_run(loop);
    assert_int_equal(a.events, LOOP_READ);
    put(&b, "x");
    a.s.tls_needs = TLS_NEEDS_READ_TO_WRITE;
    stream_want(loop, &a.s, LOOP_WRITE);
    loop_run(loop);
    assert_int_equal(a.events, LOOP_WRITE);
    a.s.tls_needs = TLS_NEEDS_WRITE_TO_SHAKE;
    stream_want(loop, &a.s, LOOP_READ);
    loop_run(loop);
    assert_int_equal(a.events, LOOP_READ);
    assert_int_equal(a.calls, 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_much_data_passes_small_buffers_both_ways_in_clear),
        T(test_much_data_passes_small_buffers_both_ways_in_tls_1_3),
        T(test_much_data_passes_small_buffers_both_ways_in_tls_1_2),
        T(test_who_has_finished_sending_still_receives_in_clear),
        T(test_who_has_finished_sending_still_receives_in_tls),
        T(test_a_bare_end_of_the_connection_ends_tls_too),
        T(test_writing_to_a_gone_peer_fails_in_clear),
        T(test_writing_to_a_gone_peer_fails_in_tls),
        T(test_a_reset_is_a_failure_in_clear_and_in_tls),
        T(test_writing_nothing_is_no_failure),
        T(test_a_finish_during_the_handshake_is_quiet),
        T(test_garbage_within_tls_is_a_failure_of_tls),
        T(test_what_was_left_of_a_record_is_pending),
        T(test_a_second_record_that_was_read_ahead_is_pending),
        T(test_a_part_of_a_record_is_not_pending_once_it_was_tried),
        T(test_what_comes_with_the_end_of_the_handshake_is_not_lost),
        T(test_a_small_record_costs_one_system_call_at_either_end),
        T(test_the_owner_is_called_for_what_it_wants_only),
        T(test_the_owner_is_called_in_its_own_terms_when_tls_needs_the_other_direction),
    };
#undef T

    return cmocka_run_group_tests(tests, make_contexts, free_contexts);
}
