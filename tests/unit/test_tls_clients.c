/* Certificates of clients: whom a listener lets in, and what it says of those whom it does not.
 * Then the certificate that usher itself shows to backends. */
#include "tls_talk.h"

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define DOES_NOT_PASS "TLS: the peer's certificate does not pass: "

static struct cert mail, root, intermediate, other_root, ann, bob, eve, late, self;
static struct owned_identity mail_identity;

static int make_all(void **state)
{
    (void)state;
    mail = cert_make("mail", "DNS:mail.example.org", NULL, 9, NULL);
    root = cert_make("root", NULL, NULL, 9, NULL);
    intermediate = cert_make("intermediate", NULL, &root, 9, NULL);
    other_root = cert_make("other root", NULL, NULL, 9, NULL);
    ann = cert_make("ann", "email:ann@example.org", &root, 9, NULL);
    bob = cert_make("bob", "email:bob@example.org", &intermediate, 9, EVP_RSA_gen(2048));
    eve = cert_make("eve", "email:eve@example.org", &other_root, 9, NULL);
    late = cert_make("late", "email:late@example.org", &root, -1, NULL);
    self = cert_make("self, signed\n by \xc3\xa4", "email:self@example.org", NULL, 9, NULL);
    mail_identity = identity_of(&mail, NULL, "mail");
    return 0;
}

static int free_all(void **state)
{
    struct cert *all[] = {&mail, &root, &intermediate, &other_root, &ann, &bob, &eve, &late, &self};

    (void)state;
    identity_done(&mail_identity);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        cert_free(all[i]);
    return 0;
}

/* A listener that asks for certificates; takes over the texts, which may be NULL. */
struct asking {
    enum tls_client_certificate mode;
    char *ca, *crl;
};

static int make_asking(struct asking a, struct tls_context **out_ctx, struct err *err)
{
    int ret = tls_server_new(&(struct tls_server_params){.listener = "imap",
                                                         .identities = &mail_identity.identity,
                                                         .identities_n = 1,
                                                         .client_certificate = a.mode,
                                                         .client_ca_pem = slice_str(a.ca),
                                                         .client_crl_pem = slice_str(a.crl)},
                             out_ctx, err);

    free(a.ca);
    free(a.crl);
    return ret;
}

static struct tls_context *asking(enum tls_client_certificate mode, char *ca, char *crl)
{
    struct tls_context *ctx = NULL;
    struct err err = {0};

    if (make_asking((struct asking){mode, ca, crl}, &ctx, &err) != 0)
        fail_msg("%s", err.text);
    return ctx;
}

static struct tls_context *client_with(const struct cert *c, const struct cert *chain)
{
    struct owned_identity o;
    struct tls_context *ctx;

    if (!c)
        return any_client();
    o = identity_of(c, chain, "the client's");
    ctx = client_made(&(struct tls_client_params){.identity = o.identity});
    identity_done(&o);
    return ctx;
}

/* The subject that the server sees, or its words; static. The contexts are taken over. */
static const char *seen(struct tls_context *server, struct tls_context *client, int version)
{
    static char text[600];
    struct err err = {0};
    struct talk t;

    talk_begin(&t, server, client, NULL);
    tls_context_free(&server);
    tls_context_free(&client);
    SSL_set_max_proto_version(t.c.tls, version);
    talk_shake(&t);
    if (t.io_s == IO_FAILED) {
        assert_true(stream_error_is_tls(&t.s));
        stream_error(&t.s, &err);
        snprintf(text, sizeof text, "%s", err.text);
    } else {
        assert_talks(&t);
        if (!stream_tls_subject(&t.s, text, sizeof text))
            strcpy(text, "nobody");
    }
    talk_end(&t);
    return text;
}

static void assert_seen(enum tls_client_certificate mode, const struct cert *who, const char *words)
{
    for (int v = TLS1_2_VERSION; v <= TLS1_3_VERSION; v++)
        assert_string_equal(
            seen(asking(mode, cert_pem(&root, NULL), NULL), client_with(who, NULL), v), words);
}

static void test_nobody_is_asked_for_a_certificate_by_default(void **state)
{
    (void)state;
    assert_seen(TLS_CLIENT_OFF, &ann, "nobody");
    assert_seen(TLS_CLIENT_OFF, NULL, "nobody");
    assert_seen(TLS_CLIENT_OFF, &eve, "nobody");
}

static void test_who_shows_an_optional_certificate_must_show_a_valid_one(void **state)
{
    (void)state;
    assert_seen(TLS_CLIENT_OPTIONAL, NULL, "nobody");
    assert_seen(TLS_CLIENT_OPTIONAL, &ann, "CN=ann");
    assert_seen(TLS_CLIENT_OPTIONAL, &eve, DOES_NOT_PASS "unable to get local issuer certificate");
    assert_seen(TLS_CLIENT_OPTIONAL, &late, DOES_NOT_PASS "certificate has expired");
    assert_seen(TLS_CLIENT_OPTIONAL, &self, DOES_NOT_PASS "self-signed certificate");
}

static void test_nobody_comes_in_without_a_required_certificate(void **state)
{
    (void)state;
    assert_seen(TLS_CLIENT_REQUIRED, NULL, "TLS: peer did not return a certificate");
    assert_seen(TLS_CLIENT_REQUIRED, &ann, "CN=ann");
    assert_seen(TLS_CLIENT_REQUIRED, &eve, DOES_NOT_PASS "unable to get local issuer certificate");
}

static void test_the_cas_are_told_to_clients(void **state)
{
    struct tls_context *server = asking(TLS_CLIENT_OPTIONAL, cert_pem(&root, &other_root), NULL);
    struct tls_context *client = any_client();
    struct talk t;

    (void)state;
    talk_begin(&t, server, client, NULL);
    SSL_set_max_proto_version(t.c.tls, TLS1_2_VERSION);
    assert_int_equal(stream_handshake(&t.c), IO_AGAIN);
    assert_int_equal(stream_handshake(&t.s), IO_AGAIN);
    assert_int_equal(stream_handshake(&t.c), IO_AGAIN);
    {
        const STACK_OF(X509_NAME) *names = SSL_get0_peer_CA_list(t.c.tls);

        assert_int_equal(sk_X509_NAME_num(names), 2);
        assert_int_equal(
            X509_NAME_cmp(sk_X509_NAME_value(names, 0), X509_get_subject_name(root.x509)), 0);
        assert_int_equal(
            X509_NAME_cmp(sk_X509_NAME_value(names, 1), X509_get_subject_name(other_root.x509)), 0);
    }
    talk_end(&t);
    tls_context_free(&server);
    tls_context_free(&client);
}

static void test_any_of_several_cas_will_do_also_an_intermediate_one_alone(void **state)
{
    (void)state;
    assert_string_equal(seen(asking(TLS_CLIENT_REQUIRED, cert_pem(&root, &other_root), NULL),
                             client_with(&eve, NULL), TLS1_3_VERSION),
                        "CN=eve");
    assert_string_equal(seen(asking(TLS_CLIENT_REQUIRED, cert_pem(&intermediate, NULL), NULL),
                             client_with(&bob, NULL), TLS1_3_VERSION),
                        "CN=bob");
    assert_string_equal(seen(asking(TLS_CLIENT_REQUIRED, cert_pem(&root, NULL), NULL),
                             client_with(&bob, &intermediate), TLS1_3_VERSION),
                        "CN=bob");
    assert_string_equal(seen(asking(TLS_CLIENT_REQUIRED, cert_pem(&root, NULL), NULL),
                             client_with(&bob, NULL), TLS1_3_VERSION),
                        DOES_NOT_PASS "unable to get local issuer certificate");
}

static void
test_a_forged_certificate_does_not_pass_and_the_words_are_those_of_verifying(void **state)
{
    const struct cert pretender = {root.x509, other_root.key};
    struct cert forged = cert_make("forged", "email:x@example.org", &pretender, 9, NULL);

    (void)state;
    assert_seen(TLS_CLIENT_REQUIRED, &forged, DOES_NOT_PASS "certificate signature failure");
    cert_free(&forged);
}

/* The listener's own chain is what its file says, though it knows the CA. */
static void test_cas_for_clients_are_no_part_of_the_chain_that_is_shown(void **state)
{
    struct owned_identity o = identity_of(&ann, NULL, "server");
    char *ca = cert_pem(&root, NULL);
    struct tls_context *client = any_client();
    struct tls_context *server =
        server_made(&(struct tls_server_params){.listener = "imap",
                                                .identities = &o.identity,
                                                .identities_n = 1,
                                                .client_certificate = TLS_CLIENT_OPTIONAL,
                                                .client_ca_pem = slice_str(ca)});
    struct talk t;

    (void)state;
    talk_begin(&t, server, client, NULL);
    talk_shake(&t);
    assert_talks(&t);
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(t.c.tls)), 1);
    talk_end(&t);
    tls_context_free(&server);
    tls_context_free(&client);
    identity_done(&o);
    free(ca);
}

/* ---- subjects ---- */

static void test_a_subject_is_printable_and_cut_to_the_room(void **state)
{
    struct tls_context *server = asking(TLS_CLIENT_REQUIRED, cert_pem(&self, NULL), NULL);
    struct tls_context *client = client_with(&self, NULL);
    char text[64], tiny[4] = "???", one[1] = "?";
    struct talk t;

    (void)state;
    talk_begin(&t, server, client, NULL);
    assert_false(stream_tls_subject(&t.s, text, sizeof text));
    talk_shake(&t);
    assert_talks(&t);
    assert_true(stream_tls_subject(&t.s, text, sizeof text));
    assert_string_equal(text, "CN=self\\, signed\\0A by \\C3\\83\\C2\\A4");
    assert_true(stream_tls_subject(&t.s, tiny, sizeof tiny));
    assert_string_equal(tiny, "CN=");
    assert_true(stream_tls_subject(&t.s, one, sizeof one));
    assert_string_equal(one, "");
    talk_end(&t);
    tls_context_free(&server);
    tls_context_free(&client);
}

static void test_in_clear_there_is_no_subject_and_nothing_resumed(void **state)
{
    char text[8] = "as it is";
    struct err err;
    struct loop *loop = loop_new(&err);
    struct stream s;
    int fds[2];

    (void)state;
    assert_non_null(loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    stream_init(&s, fds[0], talk_on_nothing);
    assert_false(stream_tls_subject(&s, text, sizeof text));
    assert_memory_equal(text, "as it is", sizeof text);
    assert_false(stream_tls_is_resumed(&s));
    stream_tls_cleanse(&s, true);
    stream_tls_cleanse(&s, false);
    stream_close(loop, &s);
    close(fds[1]);
    loop_free(&loop);
}

/* ---- CRLs ---- */

static void test_a_revoked_certificate_does_not_pass_and_others_do(void **state)
{
    (void)state;
    for (int v = TLS1_2_VERSION; v <= TLS1_3_VERSION; v++) {
        assert_string_equal(
            seen(asking(TLS_CLIENT_OPTIONAL, cert_pem(&root, NULL), crl_pem(&root, &ann, 9)),
                 client_with(&ann, NULL), v),
            DOES_NOT_PASS "certificate revoked");
        assert_string_equal(
            seen(asking(TLS_CLIENT_OPTIONAL, cert_pem(&root, NULL), crl_pem(&root, &bob, 9)),
                 client_with(&ann, NULL), v),
            "CN=ann");
        assert_string_equal(
            seen(asking(TLS_CLIENT_OPTIONAL, cert_pem(&root, NULL), crl_pem(&root, &ann, 9)),
                 client_with(NULL, NULL), v),
            "nobody");
    }
}

static void test_each_ca_has_a_crl_of_its_own(void **state)
{
    static const char *const words[] = {"CN=ann", DOES_NOT_PASS "certificate revoked"};
    const struct cert *who[] = {&ann, &eve};

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_string_equal(
            seen(asking(TLS_CLIENT_REQUIRED, cert_pem(&root, &other_root),
                        pem_join(crl_pem(&root, NULL, 9), crl_pem(&other_root, &eve, 9))),
                 client_with(who[i], NULL), TLS1_3_VERSION),
            words[i]);
}

/* Where it is known of some that they are not revoked, of the others it must be too. */
static void test_without_a_crl_of_its_ca_a_certificate_does_not_pass(void **state)
{
    (void)state;
    assert_string_equal(
        seen(asking(TLS_CLIENT_REQUIRED, cert_pem(&root, &other_root), crl_pem(&root, NULL, 9)),
             client_with(&eve, NULL), TLS1_3_VERSION),
        DOES_NOT_PASS "unable to get certificate CRL");
}

static void test_a_crl_that_is_overdue_lets_nobody_with_a_certificate_in(void **state)
{
    (void)state;
    assert_string_equal(
        seen(asking(TLS_CLIENT_OPTIONAL, cert_pem(&root, NULL), crl_pem(&root, NULL, -1)),
             client_with(&ann, NULL), TLS1_3_VERSION),
        DOES_NOT_PASS "CRL has expired");
    assert_string_equal(
        seen(asking(TLS_CLIENT_OPTIONAL, cert_pem(&root, NULL), crl_pem(&root, NULL, -1)),
             client_with(NULL, NULL), TLS1_3_VERSION),
        "nobody");
    /* One that does not say when the next one comes does not go out of date. */
    assert_string_equal(
        seen(asking(TLS_CLIENT_OPTIONAL, cert_pem(&root, NULL), crl_pem(&root, NULL, 0)),
             client_with(&ann, NULL), TLS1_3_VERSION),
        "CN=ann");
}

static void test_a_revoked_intermediate_ca_counts_if_every_ca_has_a_crl(void **state)
{
    (void)state;
    assert_string_equal(
        seen(asking(TLS_CLIENT_REQUIRED, cert_pem(&root, &intermediate),
                    pem_join(crl_pem(&root, &intermediate, 9), crl_pem(&intermediate, NULL, 9))),
             client_with(&bob, NULL), TLS1_3_VERSION),
        DOES_NOT_PASS "certificate revoked");
    assert_string_equal(
        seen(asking(TLS_CLIENT_REQUIRED, cert_pem(&root, &intermediate),
                    pem_join(crl_pem(&root, NULL, 9), crl_pem(&intermediate, NULL, 9))),
             client_with(&bob, NULL), TLS1_3_VERSION),
        "CN=bob");
    /* An intermediate CA without its root is believed by itself. */
    assert_string_equal(seen(asking(TLS_CLIENT_REQUIRED, cert_pem(&intermediate, NULL),
                                    crl_pem(&intermediate, NULL, 9)),
                             client_with(&bob, NULL), TLS1_3_VERSION),
                        "CN=bob");
    /* The root has none. */
    assert_string_equal(seen(asking(TLS_CLIENT_REQUIRED, cert_pem(&root, &intermediate),
                                    crl_pem(&intermediate, NULL, 9)),
                             client_with(&bob, NULL), TLS1_3_VERSION),
                        "CN=bob");
    assert_string_equal(seen(asking(TLS_CLIENT_REQUIRED, cert_pem(&root, &intermediate),
                                    crl_pem(&intermediate, &bob, 9)),
                             client_with(&bob, NULL), TLS1_3_VERSION),
                        DOES_NOT_PASS "certificate revoked");
}

static void assert_refused(char *ca, char *crl, const char *words)
{
    struct tls_context *ctx = NULL;
    struct err err = {0};

    assert_int_equal(make_asking((struct asking){TLS_CLIENT_OPTIONAL, ca, crl}, &ctx, &err), -1);
    assert_null(ctx);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

static char *broken(char *pem)
{
    memset(strchr(pem, '\n') + 10, '!', 5);
    return pem;
}

static void test_cas_and_crls_that_will_not_do_are_errors(void **state)
{
    struct cert namesake = cert_make("root", NULL, NULL, 9, NULL);

    (void)state;
    assert_refused(NULL, NULL, "the CA certificates for clients: the text is empty");
    assert_refused(key_pem(&ann, NULL), NULL,
                   "the CA certificates for clients: no certificate in PEM is found there");
    assert_refused(broken(cert_pem(&root, NULL)), NULL,
                   "the CA certificates for clients: a certificate in it cannot be read");
    assert_refused(cert_pem(&root, NULL), cert_pem(&root, NULL),
                   "the CRLs for clients: no CRL in PEM is found there");
    assert_refused(cert_pem(&root, NULL), broken(crl_pem(&root, NULL, 9)),
                   "the CRLs for clients: a CRL in it cannot be read");
    assert_refused(cert_pem(&root, NULL),
                   pem_join(crl_pem(&root, NULL, 9), crl_pem(&other_root, NULL, 9)),
                   "the CRLs for clients: that of CN=other root is signed by none of the CAs");
    assert_refused(cert_pem(&intermediate, NULL),
                   pem_join(crl_pem(&intermediate, NULL, 9), crl_pem(&root, NULL, 9)),
                   "the CRLs for clients: that of CN=root is signed by none of the CAs");
    assert_refused(cert_pem(&root, NULL), crl_pem(&namesake, NULL, 9),
                   "the CRLs for clients: that of CN=root is signed by none of the CAs");
    cert_free(&namesake);
}

static void test_crls_say_when_the_first_of_them_is_out_of_date(void **state)
{
    char *two = pem_join(crl_pem(&root, NULL, 9), crl_pem(&other_root, NULL, 3));
    char *never = crl_pem(&root, NULL, 0), *none = cert_pem(&root, NULL);
    struct err err = {0};
    int64_t at = 0;

    (void)state;
    assert_int_equal(tls_look_crls(slice_str(two), "crl.pem", &at, &err), 0);
    assert_in_range(at - time(NULL), 3 * 86400 - 600, 3 * 86400 + 1);
    assert_int_equal(tls_look_crls(slice_str(never), "crl.pem", &at, &err), 0);
    assert_true(at == INT64_MAX);
    assert_int_equal(tls_look_crls(slice_str(none), "crl.pem", &at, &err), -1);
    assert_string_equal(err.text, "crl.pem: no CRL in PEM is found there");
    free(two);
    free(never);
    free(none);
}

/* ---- usher's own, towards backends ---- */

static void test_usher_shows_its_certificate_with_its_chain_to_a_backend_that_asks(void **state)
{
    (void)state;
    for (int v = TLS1_2_VERSION; v <= TLS1_3_VERSION; v++)
        assert_string_equal(seen(asking(TLS_CLIENT_REQUIRED, cert_pem(&root, NULL), NULL),
                                 client_with(&bob, &intermediate), v),
                            "CN=bob");
}

static void test_an_own_certificate_needs_its_key(void **state)
{
    struct owned_identity a = identity_of(&ann, NULL, "own.pem"), b = identity_of(&bob, NULL, "b");
    struct tls_client_params params = {.identity = a.identity};
    struct cert weak = cert_make("weak", "DNS:a", NULL, 9, EVP_RSA_gen(1024));
    struct owned_identity w = identity_of(&weak, NULL, "weak.pem");
    struct tls_context *ctx = NULL;
    struct err err = {0};

    (void)state;
    params.identity.key_pem = slice_of(NULL, 0);
    assert_int_equal(tls_client_new(&params, &ctx, &err), -1);
    assert_string_equal(err.text, "own.pem: the text is empty");
    params.identity.key_pem = b.identity.key_pem;
    assert_int_equal(tls_client_new(&params, &ctx, &err), -1);
    assert_non_null(strstr(err.text, "own.pem: the key does not belong to the certificate"));
    params.identity = w.identity;
    assert_int_equal(tls_client_new(&params, &ctx, &err), -1);
    assert_string_equal(err.text, "weak.pem: ee key too small");
    assert_null(ctx);
    identity_done(&a);
    identity_done(&b);
    identity_done(&w);
    cert_free(&weak);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_is_asked_for_a_certificate_by_default),
        cmocka_unit_test(test_who_shows_an_optional_certificate_must_show_a_valid_one),
        cmocka_unit_test(test_nobody_comes_in_without_a_required_certificate),
        cmocka_unit_test(test_the_cas_are_told_to_clients),
        cmocka_unit_test(test_any_of_several_cas_will_do_also_an_intermediate_one_alone),
        cmocka_unit_test(
            test_a_forged_certificate_does_not_pass_and_the_words_are_those_of_verifying),
        cmocka_unit_test(test_cas_for_clients_are_no_part_of_the_chain_that_is_shown),
        cmocka_unit_test(test_a_subject_is_printable_and_cut_to_the_room),
        cmocka_unit_test(test_in_clear_there_is_no_subject_and_nothing_resumed),
        cmocka_unit_test(test_a_revoked_certificate_does_not_pass_and_others_do),
        cmocka_unit_test(test_each_ca_has_a_crl_of_its_own),
        cmocka_unit_test(test_without_a_crl_of_its_ca_a_certificate_does_not_pass),
        cmocka_unit_test(test_a_crl_that_is_overdue_lets_nobody_with_a_certificate_in),
        cmocka_unit_test(test_a_revoked_intermediate_ca_counts_if_every_ca_has_a_crl),
        cmocka_unit_test(test_cas_and_crls_that_will_not_do_are_errors),
        cmocka_unit_test(test_crls_say_when_the_first_of_them_is_out_of_date),
        cmocka_unit_test(test_usher_shows_its_certificate_with_its_chain_to_a_backend_that_asks),
        cmocka_unit_test(test_an_own_certificate_needs_its_key),
    };

    return cmocka_run_group_tests(tests, make_all, free_all);
}
