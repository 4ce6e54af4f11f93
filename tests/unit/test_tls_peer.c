/* What is told of a peer's certificate, also by a client that believes anybody, and what a peer
 * said in place of TLS. */
#include "tls_talk.h"

static struct cert ca, other_ca;
static char *ca_text;

static int setup(void **state)
{
    (void)state;
    ca = cert_make("A CA", NULL, NULL, 30, NULL);
    other_ca = cert_make("Another CA", NULL, NULL, 30, NULL);
    ca_text = cert_pem(&ca, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cert_free(&ca);
    cert_free(&other_ca);
    free(ca_text);
    return 0;
}

/* A client that looks at a server with this certificate, which it wants to be `name`. */
struct looking {
    struct talk talk;
    struct owned_identity identity;
    struct tls_context *server, *client;
};

static void look_at(struct looking *l, const struct cert *cert, const char *name)
{
    l->identity = identity_of(cert, NULL, "it");
    l->server = server_made(&(struct tls_server_params){
        .listener = "l", .identities = &l->identity.identity, .identities_n = 1});
    l->client = client_made(&(struct tls_client_params){.ca_pem = slice_str(ca_text)});
    talk_begin(&l->talk, l->server, l->client, name);
    talk_shake(&l->talk);
    assert_talks(&l->talk);
}

static void look_away(struct looking *l)
{
    talk_end(&l->talk);
    tls_context_free(&l->server);
    tls_context_free(&l->client);
    identity_done(&l->identity);
}

static void assert_distrust(const struct cert *cert, const char *name, const char *words)
{
    struct looking l;
    char out[256];

    look_at(&l, cert, name);
    memset(out, '#', sizeof out);
    stream_tls_distrust(&l.talk.c, out, sizeof out);
    assert_string_equal(out, words);
    look_away(&l);
}

static void test_all_reasons_of_distrust_are_told(void **state)
{
    struct cert good = cert_make("x", "DNS:a.example.org", &ca, 30, NULL);
    struct cert expired = cert_make("x", "DNS:a.example.org", &ca, -1, NULL);
    struct cert foreign = cert_make("x", "DNS:a.example.org", &other_ca, -1, NULL);
    struct cert alone = cert_make("x", "DNS:a.example.org", NULL, 30, NULL);

    (void)state;
    assert_distrust(&good, "a.example.org", "");
    assert_distrust(&good, "A.example.org.", "");
    assert_distrust(&good, NULL, "");
    assert_distrust(&good, "b.example.org", "hostname mismatch");
    assert_distrust(&good, "127.0.0.1", "IP address mismatch");
    assert_distrust(&expired, "a.example.org", "certificate has expired");
    assert_distrust(&expired, "b.example.org", "hostname mismatch, certificate has expired");
    assert_distrust(&foreign, "b.example.org",
                    "unable to get local issuer certificate, hostname mismatch, certificate has "
                    "expired");
    assert_distrust(&alone, "a.example.org", "self-signed certificate");
    cert_free(&good);
    cert_free(&expired);
    cert_free(&foreign);
    cert_free(&alone);
}

static void test_weak_keys_are_a_reason(void **state)
{
    struct cert weak = cert_make("x", "DNS:a.example.org", &ca, 30, EVP_RSA_gen(1024));
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    struct tls_context *client =
        client_made(&(struct tls_client_params){.ca_pem = slice_str(ca_text)});
    struct loop *loop;
    struct stream c;
    struct err err;
    SSL *ssl;
    int fds[2];
    char out[256];
    enum io io = IO_AGAIN;

    (void)state;
    SSL_CTX_set_security_level(server, 0);
    assert_int_equal(SSL_CTX_use_certificate(server, weak.x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server, weak.key), 1);
    loop = loop_new(&err);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    ssl = SSL_new(server);
    SSL_set_fd(ssl, fds[0]);
    stream_init(&c, fds[1], talk_on_nothing);
    assert_int_equal(stream_tls_connect(&c, client, "a.example.org", &err), 0);
    for (int i = 0; i < 10 && io == IO_AGAIN; i++) {
        io = stream_handshake(&c);
        (void)SSL_accept(ssl);
    }
    assert_int_equal(io, IO_OK);
    stream_tls_distrust(&c, out, sizeof out);
    assert_string_equal(out, "EE certificate key too weak");
    stream_close(loop, &c);
    SSL_free(ssl);
    close(fds[0]);
    SSL_CTX_free(server);
    tls_context_free(&client);
    loop_free(&loop);
    cert_free(&weak);
}

static void test_reasons_are_cut(void **state)
{
    struct cert expired = cert_make("x", "DNS:a.example.org", &ca, -1, NULL);
    struct looking l;
    char out[64];

    (void)state;
    look_at(&l, &expired, "b.example.org");
    for (size_t cap = 1; cap < sizeof out; cap++) {
        memset(out, '#', sizeof out);
        stream_tls_distrust(&l.talk.c, out, cap);
        assert_memory_equal(out, "hostname mismatch, certificate has expired", strlen(out));
        assert_int_equal(strlen(out), cap - 1 < 42 ? cap - 1 : 42);
        assert_int_equal(out[cap], '#');
    }
    look_away(&l);
    cert_free(&expired);
}

static void test_facts_of_a_peer(void **state)
{
    struct cert cert = cert_make("x", "DNS:a.example.org,DNS:*.B.example.org", &ca, -1, NULL);
    struct tls_facts *facts = malloc(sizeof *facts);
    struct looking l;
    char issuer[64] = "";

    (void)state;
    look_at(&l, &cert, NULL);
    assert_true(stream_tls_facts(&l.talk.c, facts));
    assert_int_equal(facts->not_after - facts->not_before, 86400);
    assert_string_equal(facts->key_kind, "ECDSA");
    assert_int_equal(facts->names_n, 2);
    assert_string_equal(facts->names[1], "*.b.example.org");
    assert_true(stream_tls_issuer(&l.talk.c, issuer, sizeof issuer));
    assert_string_equal(issuer, "CN=A CA");
    assert_string_equal(stream_tls_cipher(&l.talk.c), "TLS_AES_256_GCM_SHA384");
    assert_string_equal(stream_tls_cipher(&l.talk.s), "TLS_AES_256_GCM_SHA384");
    /* Clients have shown none. */
    assert_false(stream_tls_facts(&l.talk.s, facts));
    assert_false(stream_tls_issuer(&l.talk.s, issuer, sizeof issuer));
    stream_tls_distrust(&l.talk.s, issuer, sizeof issuer);
    assert_string_equal(issuer, "unspecified certificate verification error");
    look_away(&l);
    cert_free(&cert);
    free(facts);
}

static void test_nothing_of_tls_is_told_in_clear(void **state)
{
    struct tls_facts *facts = malloc(sizeof *facts);
    struct stream s;
    struct err err;
    struct loop *loop = loop_new(&err);
    char out[8] = "as was";
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    stream_init(&s, fds[0], talk_on_nothing);
    assert_false(stream_tls_facts(&s, facts));
    assert_false(stream_tls_issuer(&s, out, sizeof out));
    assert_string_equal(out, "as was");
    assert_string_equal(stream_tls_cipher(&s), "");
    stream_tls_distrust(&s, out, sizeof out);
    assert_string_equal(out, "");
    stream_close(loop, &s);
    close(fds[1]);
    loop_free(&loop);
    free(facts);
}

/* However soon it comes. */
static void test_what_is_said_in_place_of_tls_can_be_peeked_at(void **state)
{
    static const char said[] = "* OK ready\r\n";
    struct tls_context *client = any_client();
    struct err err;
    struct loop *loop = loop_new(&err);
    struct stream s;
    char seen[64];
    size_t n;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(write(fds[1], said, strlen(said)), strlen(said));
    stream_init(&s, fds[0], talk_on_nothing);
    assert_int_equal(stream_tls_connect(&s, client, NULL, &err), 0);
    assert_int_equal(stream_hello(&s), IO_AGAIN);
    assert_true(read(fds[1], seen, sizeof seen) > 0);
    assert_int_equal(seen[0], 22); /* a handshake */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(stream_peek(&s, seen, sizeof seen, &n), IO_OK);
        assert_int_equal(n, strlen(said));
        assert_memory_equal(seen, said, n);
    }
    assert_int_equal(stream_handshake(&s), IO_FAILED);
    assert_true(stream_error_is_foreign(&s));
    assert_words(&s, "does not look like TLS");
    assert_false(stream_error_is_foreign(&s));
    stream_close(loop, &s);
    close(fds[1]);
    tls_context_free(&client);
    loop_free(&loop);
}

static void test_a_handshake_goes_on_behind_a_hello(void **state)
{
    struct cert cert = cert_make("x", "DNS:a.example.org", &ca, 30, NULL);
    struct owned_identity identity = identity_of(&cert, NULL, "it");
    struct tls_context *server = server_made(&(struct tls_server_params){
                           .listener = "l", .identities = &identity.identity, .identities_n = 1}),
                       *client = any_client();
    struct talk t;

    (void)state;
    talk_begin(&t, server, client, NULL);
    assert_int_equal(stream_hello(&t.c), IO_AGAIN);
    talk_shake(&t);
    assert_talks(&t);
    assert_passes(&t.c, &t.s);
    talk_end(&t);
    tls_context_free(&server);
    tls_context_free(&client);
    identity_done(&identity);
    cert_free(&cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_reasons_of_distrust_are_told),
        cmocka_unit_test(test_weak_keys_are_a_reason),
        cmocka_unit_test(test_reasons_are_cut),
        cmocka_unit_test(test_facts_of_a_peer),
        cmocka_unit_test(test_nothing_of_tls_is_told_in_clear),
        cmocka_unit_test(test_what_is_said_in_place_of_tls_can_be_peeked_at),
        cmocka_unit_test(test_a_handshake_goes_on_behind_a_hello),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
