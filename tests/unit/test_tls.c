/* TLS contexts: what certificates and keys are taken, which peers pass verification, and the words
 * for those that do not. */
#include "certs.h"
#include "net/loop.h"
#include "net/stream.h"
#include "net/tls.h"

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

static struct loop *loop;
static struct cert root, intermediate, leaf, expired, alone, stranger;

static int make_certs(void **state)
{
    static const char names[] = "DNS:mail.example.org,DNS:*.pop.example.org,IP:127.0.0.1,IP:::1";
    struct err err;

    (void)state;
    loop = loop_new(&err);
    assert_non_null(loop);
    root = cert_make("root", NULL, NULL, 9, NULL);
    intermediate = cert_make("intermediate", NULL, &root, 9, NULL);
    leaf = cert_make("leaf", names, &intermediate, 9, NULL);
    expired = cert_make("expired", names, &root, -1, NULL);
    alone = cert_make("alone", names, NULL, 9, NULL);
    stranger = cert_make("stranger", NULL, NULL, 9, NULL);
    return 0;
}

static int free_certs(void **state)
{
    (void)state;
    loop_free(&loop);
    cert_free(&root);
    cert_free(&intermediate);
    cert_free(&leaf);
    cert_free(&expired);
    cert_free(&alone);
    cert_free(&stranger);
    return 0;
}

static struct tls_context *server_with(const struct cert *c, const struct cert *chain)
{
    char *cert = cert_pem(c, chain), *key = key_pem(c, NULL);
    struct tls_context *ctx = NULL;
    struct err err = {0};

    if (server_of(slice_str(cert), slice_str(key), &ctx, &err) != 0)
        fail_msg("%s", err.text);
    free(cert);
    free(key);
    return ctx;
}

static struct tls_context *client_trusting(const struct cert *ca, const struct cert *another)
{
    char *pem = cert_pem(ca, another);
    struct tls_context *ctx = NULL;
    struct err err = {0};

    if (client_of(slice_str(pem), true, &ctx, &err) != 0)
        fail_msg("%s", err.text);
    free(pem);
    return ctx;
}

static void on_nothing(struct watch *w, unsigned events)
{
    (void)w;
    (void)events;
}

/* A pair of streams, TLS begun; the contexts are freed at once, since connections keep them. */
static void begin(struct stream *s, struct tls_context *server, struct stream *c,
                  struct tls_context *client, const char *name)
{
    struct err err;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    stream_init(s, fds[0], on_nothing);
    stream_init(c, fds[1], on_nothing);
    assert_int_equal(stream_tls_accept(s, server, &err), 0);
    assert_int_equal(stream_tls_connect(c, client, name, &err), 0);
    tls_context_free(&server);
    tls_context_free(&client);
}

static void shake(struct stream *s, enum io *out_server, struct stream *c, enum io *out_client)
{
    *out_server = *out_client = IO_AGAIN;
    for (int i = 0; i < 10; i++) {
        if (*out_client == IO_AGAIN)
            *out_client = stream_handshake(c);
        if (*out_server == IO_AGAIN)
            *out_server = stream_handshake(s);
    }
}

/* Empty when the handshake succeeds, else the client's words. */
static const char *verdict(struct tls_context *server, struct tls_context *client, const char *name)
{
    static struct err err;
    struct stream s, c;
    enum io io_s, io_c;

    begin(&s, server, &c, client, name);
    shake(&s, &io_s, &c, &io_c);
    err.text[0] = '\0';
    if (io_c == IO_FAILED) {
        assert_true(stream_error_is_tls(&c));
        stream_error(&c, &err);
    } else {
        assert_int_equal(io_c, IO_OK);
        assert_int_equal(io_s, IO_OK);
    }
    stream_close(loop, &c);
    stream_close(loop, &s);
    return err.text;
}

#define DOES_NOT_PASS "TLS: the peer's certificate does not pass: "

static void test_a_chain_up_to_a_trusted_root_passes_under_its_names(void **state)
{
    static const char *const names[] = {"mail.example.org",  "MAIL.example.org",
                                        "mail.example.org.", "a.pop.example.org",
                                        "127.0.0.1",         "::1"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_string_equal(
            verdict(server_with(&leaf, &intermediate), client_trusting(&stranger, &root), names[i]),
            "");
}

static void test_a_wrong_name_does_not_pass(void **state)
{
    static const char *const names[] = {"imap.example.org", "example.org", "a.b.pop.example.org"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_string_equal(
            verdict(server_with(&leaf, &intermediate), client_trusting(&root, NULL), names[i]),
            DOES_NOT_PASS "hostname mismatch");
    assert_string_equal(
        verdict(server_with(&leaf, &intermediate), client_trusting(&root, NULL), "127.0.0.2"),
        DOES_NOT_PASS "IP address mismatch");
}

static void test_without_a_name_only_the_chain_counts(void **state)
{
    (void)state;
    assert_string_equal(
        verdict(server_with(&leaf, &intermediate), client_trusting(&root, NULL), NULL), "");
}

static void test_an_expired_certificate_does_not_pass(void **state)
{
    (void)state;
    assert_string_equal(
        verdict(server_with(&expired, NULL), client_trusting(&root, NULL), "mail.example.org"),
        DOES_NOT_PASS "certificate has expired");
}

static void test_an_unknown_ca_does_not_pass(void **state)
{
    (void)state;
    assert_string_equal(verdict(server_with(&leaf, &intermediate), client_trusting(&stranger, NULL),
                                "mail.example.org"),
                        DOES_NOT_PASS "unable to get local issuer certificate");
    /* The intermediate certificate was forgotten. */
    assert_string_equal(
        verdict(server_with(&leaf, NULL), client_trusting(&root, NULL), "mail.example.org"),
        DOES_NOT_PASS "unable to get local issuer certificate");
}

static void test_a_self_signed_certificate_passes_only_if_it_is_trusted_itself(void **state)
{
    (void)state;
    assert_string_equal(
        verdict(server_with(&alone, NULL), client_trusting(&root, NULL), "mail.example.org"),
        DOES_NOT_PASS "self-signed certificate");
    assert_string_equal(
        verdict(server_with(&alone, NULL), client_trusting(&alone, NULL), "mail.example.org"), "");
}

static void test_an_intermediate_ca_or_the_certificate_itself_may_be_what_is_trusted(void **state)
{
    (void)state;
    assert_string_equal(
        verdict(server_with(&leaf, NULL), client_trusting(&intermediate, NULL), "mail.example.org"),
        "");
    assert_string_equal(
        verdict(server_with(&leaf, NULL), client_trusting(&leaf, NULL), "mail.example.org"), "");
}

static void test_a_client_that_does_not_verify_takes_any_certificate(void **state)
{
    struct tls_context *client;
    struct err err;

    (void)state;
    assert_int_equal(client_of(slice_of(NULL, 0), false, &client, &err), 0);
    assert_string_equal(verdict(server_with(&expired, NULL), client, "other.example.org"), "");
}

static void test_the_cas_of_the_system_do_not_know_ours(void **state)
{
    struct tls_context *client;
    struct err err;

    (void)state;
    assert_int_equal(client_of(slice_of(NULL, 0), true, &client, &err), 0);
    assert_string_equal(verdict(server_with(&alone, NULL), client, "mail.example.org"),
                        DOES_NOT_PASS "self-signed certificate");
}

static void test_the_system_ca_file_can_be_named_by_the_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("SSL_CERT_FILE", "/dev/null", 1), 0);
    assert_string_equal(tls_system_ca_file(), "/dev/null");
    assert_int_equal(setenv("SSL_CERT_FILE", "/nonexistent", 1), 0);
    if (tls_system_ca_file())
        assert_string_not_equal(tls_system_ca_file(), "/nonexistent");
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
}

static void test_the_server_is_told_why_the_client_leaves(void **state)
{
    struct stream s, c;
    enum io io_s, io_c;
    struct err err;

    (void)state;
    begin(&s, server_with(&alone, NULL), &c, client_trusting(&root, NULL), NULL);
    shake(&s, &io_s, &c, &io_c);
    assert_int_equal(io_s, IO_FAILED);
    assert_true(stream_error_is_tls(&s));
    stream_error(&s, &err);
    assert_non_null(strstr(err.text, "TLS: "));
    assert_non_null(strstr(err.text, "alert unknown ca"));
    stream_close(loop, &c);
    stream_close(loop, &s);
}

static void test_a_peer_that_speaks_in_clear_is_told_so(void **state)
{
    static const char *const words[] = {"a1 CAPABILITY\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                        "CONNECT mail.example.org:993 HTTP/1.1\r\n\r\n"};
    struct stream s, c;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        begin(&s, server_with(&alone, NULL), &c, client_trusting(&alone, NULL), NULL);
        assert_int_equal(send(stream_fd(&c), words[i], strlen(words[i]), 0), strlen(words[i]));
        assert_int_equal(stream_handshake(&s), IO_FAILED);
        stream_error(&s, &err);
        assert_non_null(strstr(err.text, "does not look like TLS"));
        stream_close(loop, &c);
        stream_close(loop, &s);
    }
}

static void test_tls_before_1_2_is_refused(void **state)
{
    struct stream s, c;
    enum io io_s, io_c;

    (void)state;
    begin(&s, server_with(&alone, NULL), &c, client_trusting(&alone, NULL), NULL);
    SSL_set_security_level(c.tls, 0);
    SSL_set_min_proto_version(c.tls, TLS1_VERSION);
    SSL_set_max_proto_version(c.tls, TLS1_1_VERSION);
    shake(&s, &io_s, &c, &io_c);
    assert_int_equal(io_s, IO_FAILED);
    stream_close(loop, &c);
    stream_close(loop, &s);
}

/* ---- the names that are sent ---- */

static void test_sni_carries_names_and_no_addresses(void **state)
{
    static const char *const names[][2] = {{"mail.example.org", "mail.example.org"},
                                           {"mail.example.org.", "mail.example.org"}};
    struct stream s, c;
    enum io io_s, io_c;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        begin(&s, server_with(&alone, NULL), &c, client_trusting(&alone, NULL), names[i][0]);
        shake(&s, &io_s, &c, &io_c);
        assert_string_equal(SSL_get_servername(s.tls, TLSEXT_NAMETYPE_host_name), names[i][1]);
        stream_close(loop, &c);
        stream_close(loop, &s);
    }
    begin(&s, server_with(&alone, NULL), &c, client_trusting(&alone, NULL), "127.0.0.1");
    shake(&s, &io_s, &c, &io_c);
    assert_int_equal(io_s, IO_OK);
    assert_null(SSL_get_servername(s.tls, TLSEXT_NAMETYPE_host_name));
    stream_close(loop, &c);
    stream_close(loop, &s);
}

static void test_a_name_that_cannot_be_one_is_an_error(void **state)
{
    struct tls_context *client = client_trusting(&alone, NULL);
    char name[300];
    struct stream c;
    struct err err;
    int fds[2];

    (void)state;
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    stream_init(&c, fds[0], on_nothing);
    assert_int_equal(stream_tls_connect(&c, client, name, &err), -1);
    assert_string_equal(stream_tls_version(&c), "");
    stream_close(loop, &c);
    close(fds[1]);
    tls_context_free(&client);
}

/* ---- keys of peers ---- */

static void test_the_peers_key_is_told_by_its_digest(void **state)
{
    unsigned char told[32], right[32], *der = NULL;
    struct stream s, c;
    enum io io_s, io_c;
    int n = i2d_PUBKEY(alone.key, &der);

    (void)state;
    assert_int_equal(EVP_Digest(der, (size_t)n, right, NULL, EVP_sha256(), NULL), 1);
    OPENSSL_free(der);
    begin(&s, server_with(&alone, NULL), &c, client_trusting(&alone, NULL), NULL);
    assert_false(stream_tls_key(&c, told));
    shake(&s, &io_s, &c, &io_c);
    assert_int_equal(io_c, IO_OK);
    assert_true(stream_tls_key(&c, told));
    assert_memory_equal(told, right, sizeof right);
    assert_false(stream_tls_key(&s, told));
    stream_close(loop, &c);
    stream_close(loop, &s);
}

/* ---- ALPN ---- */

static void test_alpn_agrees_on_imap(void **state)
{
    static const char *const offers[] = {"\004imap", "\002h2\004imap", "\004imap\002h2"};
    const unsigned char *chosen;
    struct stream s, c;
    enum io io_s, io_c;
    unsigned n;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        begin(&s, server_with(&alone, NULL), &c, client_trusting(&alone, NULL), NULL);
        assert_int_equal(SSL_set_alpn_protos(c.tls, (const unsigned char *)offers[i],
                                             (unsigned)strlen(offers[i])),
                         0);
        shake(&s, &io_s, &c, &io_c);
        assert_int_equal(io_s, IO_OK);
        assert_int_equal(io_c, IO_OK);
        SSL_get0_alpn_selected(c.tls, &chosen, &n);
        assert_int_equal(n, 4);
        assert_memory_equal(chosen, "imap", 4);
        stream_close(loop, &c);
        stream_close(loop, &s);
    }
}

static void test_who_wants_another_protocol_is_refused_at_either_end_in_words(void **state)
{
    static const char *const offers[] = {"\002h2", "\010http/1.1\004pop3", "\004IMAP"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct stream s, c;
        enum io io_s, io_c;
        struct err err;

        begin(&s, server_with(&alone, NULL), &c, client_trusting(&alone, NULL), NULL);
        assert_int_equal(SSL_set_alpn_protos(c.tls, (const unsigned char *)offers[i],
                                             (unsigned)strlen(offers[i])),
                         0);
        shake(&s, &io_s, &c, &io_c);
        assert_int_equal(io_s, IO_FAILED);
        stream_error(&s, &err);
        assert_string_equal(err.text, "TLS: the peer asks for protocols other than IMAP (ALPN): no "
                                      "application protocol");
        assert_int_equal(io_c, IO_FAILED);
        stream_error(&c, &err);
        assert_string_equal(err.text, "TLS: tlsv1 alert no application protocol");
        stream_close(loop, &c);
        stream_close(loop, &s);
    }
}

/* RFC 7301 section 3.2: a server that takes ALPN seriously would have to refuse what it does not
 * know. */
static void test_backends_are_offered_nothing(void **state)
{
    const unsigned char *chosen;
    struct stream s, c;
    enum io io_s, io_c;
    unsigned n = 1;

    (void)state;
    begin(&s, server_with(&alone, NULL), &c, client_trusting(&alone, NULL), NULL);
    shake(&s, &io_s, &c, &io_c);
    assert_int_equal(io_s, IO_OK);
    assert_int_equal(io_c, IO_OK);
    SSL_get0_alpn_selected(s.tls, &chosen, &n);
    assert_int_equal(n, 0);
    stream_close(loop, &c);
    stream_close(loop, &s);
}

/* ---- certificates and keys that will not do ---- */

static void assert_refused(const char *cert, const char *key, const char *words)
{
    struct tls_context *ctx = NULL;
    struct err err = {0};

    assert_int_equal(server_of(slice_str(cert), slice_str(key), &ctx, &err), -1);
    assert_null(ctx);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

static void test_what_is_wrong_with_certificate_or_key_is_told(void **state)
{
    char *cert = cert_pem(&leaf, &intermediate), *key = key_pem(&leaf, NULL);
    char *other = key_pem(&alone, NULL), *protected = key_pem(&leaf, "open sesame");
    char *broken = cert_pem(&leaf, NULL), *broken_chain = cert_pem(&leaf, &intermediate);

    (void)state;
    memset(strstr(broken, "\n") + 10, '!', 5);
    memset(strstr(strstr(broken_chain, "END"), "BEGIN CERTIFICATE-----\n") + 30, '!', 5);

    assert_refused("", key, "the certificate: the text is empty");
    assert_refused(cert, "", "the certificate: the text is empty");
    assert_refused(key, key, "the certificate: no certificate in PEM is found there");
    assert_refused(broken, key, "the certificate: a certificate in it cannot be read");
    assert_refused(broken_chain, key, "the certificate: a certificate in it cannot be read");
    assert_refused(cert, cert, "the certificate: no private key in PEM is found there");
    assert_refused(cert, "rubbish", "the certificate: no private key in PEM is found there");
    assert_refused(cert, other, "the certificate: the key does not belong to the certificate");
    assert_refused(cert, protected, "the certificate: the key is protected by a passphrase");
    free(cert);
    free(key);
    free(other);
    free(protected);
    free(broken);
    free(broken_chain);
}

static void test_a_key_of_another_kind_does_not_belong_to_the_certificate(void **state)
{
    struct cert rsa = cert_make("rsa", NULL, NULL, 9, EVP_RSA_gen(2048));
    char *cert = cert_pem(&leaf, NULL), *key = key_pem(&rsa, NULL);

    (void)state;
    assert_refused(cert, key, "the certificate: the key does not belong to the certificate");
    free(cert);
    free(key);
    cert_free(&rsa);
}

static void test_a_weak_key_is_refused(void **state)
{
    struct cert weak = cert_make("weak", NULL, NULL, 9, EVP_RSA_gen(1024));
    char *cert = cert_pem(&weak, NULL), *key = key_pem(&weak, NULL);

    (void)state;
    assert_refused(cert, key, "the certificate: ee key too small");
    free(cert);
    free(key);
    cert_free(&weak);
}

static void test_certificate_and_key_may_stand_in_one_text(void **state)
{
    char *cert = cert_pem(&leaf, &intermediate), *key = key_pem(&leaf, NULL);
    char *both = malloc(strlen(cert) + strlen(key) + 1);
    struct tls_context *ctx = NULL;
    struct err err;

    (void)state;
    assert_non_null(both);
    strcpy(both, key);
    strcat(both, cert);
    assert_int_equal(server_of(slice_str(both), slice_str(both), &ctx, &err), 0);
    tls_context_free(&ctx);
    free(cert);
    free(key);
    free(both);
}

static void test_ca_certificates_that_are_none_are_an_error(void **state)
{
    char *key = key_pem(&leaf, NULL), *broken = cert_pem(&leaf, NULL);
    struct tls_context *ctx = NULL;
    struct err err;

    (void)state;
    assert_int_equal(client_of(slice_str(key), true, &ctx, &err), -1);
    assert_string_equal(err.text, "the CA certificates: no certificate in PEM is found there");
    memset(strstr(broken, "\n") + 10, '!', 5);
    assert_int_equal(client_of(slice_str(broken), true, &ctx, &err), -1);
    assert_non_null(strstr(err.text, "the CA certificates: a certificate in it cannot be read"));
    assert_null(ctx);
    free(key);
    free(broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_chain_up_to_a_trusted_root_passes_under_its_names),
        cmocka_unit_test(test_a_wrong_name_does_not_pass),
        cmocka_unit_test(test_without_a_name_only_the_chain_counts),
        cmocka_unit_test(test_an_expired_certificate_does_not_pass),
        cmocka_unit_test(test_an_unknown_ca_does_not_pass),
        cmocka_unit_test(test_a_self_signed_certificate_passes_only_if_it_is_trusted_itself),
        cmocka_unit_test(test_an_intermediate_ca_or_the_certificate_itself_may_be_what_is_trusted),
        cmocka_unit_test(test_a_client_that_does_not_verify_takes_any_certificate),
        cmocka_unit_test(test_the_cas_of_the_system_do_not_know_ours),
        cmocka_unit_test(test_the_system_ca_file_can_be_named_by_the_environment),
        cmocka_unit_test(test_the_server_is_told_why_the_client_leaves),
        cmocka_unit_test(test_a_peer_that_speaks_in_clear_is_told_so),
        cmocka_unit_test(test_tls_before_1_2_is_refused),
        cmocka_unit_test(test_sni_carries_names_and_no_addresses),
        cmocka_unit_test(test_a_name_that_cannot_be_one_is_an_error),
        cmocka_unit_test(test_the_peers_key_is_told_by_its_digest),
        cmocka_unit_test(test_alpn_agrees_on_imap),
        cmocka_unit_test(test_who_wants_another_protocol_is_refused_at_either_end_in_words),
        cmocka_unit_test(test_backends_are_offered_nothing),
        cmocka_unit_test(test_what_is_wrong_with_certificate_or_key_is_told),
        cmocka_unit_test(test_a_key_of_another_kind_does_not_belong_to_the_certificate),
        cmocka_unit_test(test_a_weak_key_is_refused),
        cmocka_unit_test(test_certificate_and_key_may_stand_in_one_text),
        cmocka_unit_test(test_ca_certificates_that_are_none_are_an_error),
    };

    return cmocka_run_group_tests(tests, make_certs, free_certs);
}
