/* When memory runs out inside OpenSSL: an error with words, or no harm; never a crash or a leak.
 * The allocations fail one after the other. */
#include "tls_talk.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static long left = -1; /* allocations until one fails; -1: none does */
static bool has_failed;

static bool fails(void)
{
    if (left != 0) {
        left -= left > 0;
        return false;
    }
    left = -1;
    has_failed = true;
    return true;
}

static void *take(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : malloc(n);
}

static void *take_again(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : realloc(p, n);
}

static void give_back(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

static struct cert root, mail;
static struct owned_identity identity;
static char *ca, *crl;
static struct tls_tickets *tickets;

static int make_all(void **state)
{
    static const unsigned char keys[TLS_TICKET_KEYS][TLS_TICKET_KEY] = {{1}, {2}, {3}};

    (void)state;
    root = cert_make("root", NULL, NULL, 9, NULL);
    mail = cert_make("mail", "DNS:mail.example.org", NULL, 9, NULL);
    identity = identity_of(&mail, NULL, "mail");
    ca = cert_pem(&root, NULL);
    crl = crl_pem(&root, NULL, 9);
    tickets = tls_tickets_new();
    assert_non_null(tickets);
    tls_tickets_set(tickets, keys, 600);
    return 0;
}

static int free_all(void **state)
{
    (void)state;
    tls_tickets_free(&tickets);
    identity_done(&identity);
    cert_free(&root);
    cert_free(&mail);
    free(ca);
    free(crl);
    return 0;
}

static struct tls_server_params params(void)
{
    return (struct tls_server_params){.listener = "imap",
                                      .policy = {.ciphers = "HIGH"},
                                      .identities = &identity.identity,
                                      .identities_n = 1,
                                      .tickets = tickets,
                                      .client_certificate = TLS_CLIENT_OPTIONAL,
                                      .client_ca_pem = slice_str(ca),
                                      .client_crl_pem = slice_str(crl)};
}

/* There are some thousands of allocations; each 29th meets all of our calls. */
static void test_making_a_context(void **state)
{
    struct tls_server_params p = params();
    long failures = 0;

    (void)state;
    do {
        struct tls_context *ctx = NULL;
        struct err err = {0};
        int ret;

        has_failed = false;
        left = failures++ * 29;
        ret = tls_server_new(&p, &ctx, &err);
        left = -1;
        assert_int_equal(ret == 0, ctx != NULL);
        assert_int_equal(ret == 0, err.text[0] == '\0');
        tls_context_free(&ctx);
    } while (has_failed);
    assert_true(failures > 50);
}

/* The handshake of a server whose allocation number `at` fails; with `session` if there is one. */
static enum io shake(struct tls_context *server, struct tls_context *client, SSL_SESSION *session,
                     long at)
{
    struct talk t;
    struct err err = {0};

    talk_begin(&t, server, client, "mail.example.org");
    if (session)
        assert_int_equal(SSL_set_session(t.c.tls, session), 1);
    has_failed = false;
    for (int i = 0; i < 6; i++) {
        if (t.io_c == IO_AGAIN)
            t.io_c = stream_handshake(&t.c);
        left = has_failed ? -1 : at;
        if (t.io_s == IO_AGAIN)
            t.io_s = stream_handshake(&t.s);
        at = left;
        left = -1;
    }
    assert_int_not_equal(t.io_s, IO_AGAIN);
    if (t.io_s == IO_FAILED) {
        stream_error(&t.s, &err);
        assert_string_not_equal(err.text, "");
    }
    stream_finish(&t.c);
    talk_end(&t);
    return t.io_s;
}

static SSL_SESSION *session_with(struct tls_context *server, struct tls_context *client)
{
    SSL_SESSION *session;
    struct talk t;

    talk_begin(&t, server, client, "mail.example.org");
    talk_shake(&t);
    assert_talks(&t);
    assert_passes(&t.s, &t.c);
    session = SSL_get1_session(t.c.tls);
    stream_finish(&t.c);
    talk_end(&t);
    return session;
}

static void test_a_handshake_full_or_resumed(void **state)
{
    struct tls_server_params p = params();
    struct tls_context *server = server_made(&p), *client = any_client();
    SSL_SESSION *session = session_with(server, client);

    (void)state;
    for (int i = 0; i < 2; i++) {
        long failures = 0;
        enum io io;

        do
            io = shake(server, client, i ? session : NULL, failures++);
        while (has_failed);
        assert_int_equal(io, IO_OK);
        assert_true(failures > 50);
    }
    SSL_SESSION_free(session);
    tls_context_free(&server);
    tls_context_free(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_making_a_context),
        cmocka_unit_test(test_a_handshake_full_or_resumed),
    };

    if (CRYPTO_set_mem_functions(take, take_again, give_back) != 1)
        return 1;
    return cmocka_run_group_tests(tests, make_all, free_all);
}
