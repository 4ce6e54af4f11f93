/* Which certificate a listener shows for which name, and what certificates say of themselves. */
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

enum { CERTS = 9 };

static struct cert certs[CERTS];
static struct owned_identity identities[CERTS];
static struct tls_context *client;

/* What they are called, and whose names they have. */
enum { MAIL, MAIL_RSA, WILD, IMAP, IMAP_AGAIN, ED, NAMELESS, ODD, PLAIN };

static void make(int at, const char *name, const char *alt_names, EVP_PKEY *key)
{
    certs[at] = cert_make(name, alt_names, NULL, 9, key);
    identities[at] = identity_of(&certs[at], NULL, name);
}

static EVP_PKEY *ed_key(const char *kind)
{
    return EVP_PKEY_Q_keygen(NULL, NULL, kind);
}

static int make_all(void **state)
{
    (void)state;
    make(MAIL, "mail", "DNS:mail.example.org,DNS:Post.Example.ORG", NULL);
    make(MAIL_RSA, "mail-rsa", "DNS:mail.example.org", EVP_RSA_gen(2048));
    make(WILD, "wild", "DNS:*.example.org,DNS:*.Example.NET", NULL);
    make(IMAP, "imap", "DNS:imap.example.org", NULL);
    make(IMAP_AGAIN, "imap-again", "DNS:imap.example.org", NULL);
    make(ED, "ed", "DNS:mail.example.org", ed_key("ED25519"));
    make(NAMELESS, "nameless.example.org", NULL, NULL);
    make(ODD, "odd",
         "IP:127.0.0.1,email:a@example.org,DNS:a b,DNS:.x.example.org,DNS:under_score.x", NULL);
    make(PLAIN, "Somebody Somewhere", "IP:127.0.0.1", ed_key("ED448"));
    client = any_client();
    return 0;
}

static int free_all(void **state)
{
    (void)state;
    for (int i = 0; i < CERTS; i++) {
        identity_done(&identities[i]);
        cert_free(&certs[i]);
    }
    tls_context_free(&client);
    return 0;
}

/* A listener with these certificates. */
static struct tls_context *server_with(const int *which, size_t n)
{
    struct tls_identity some[CERTS];

    for (size_t i = 0; i < n; i++)
        some[i] = identities[which[i]].identity;
    return server_made(
        &(struct tls_server_params){.listener = "imap", .identities = some, .identities_n = n});
}

#define SERVER(...) \
    server_with((const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

/* The subject of the certificate that is shown to who asks for `sni` (NULL: asks for none) and can
 * verify what `signatures` says (NULL: all). Static. */
static const char *shown(struct tls_context *server, const char *sni, const char *signatures,
                         int version)
{
    static char subject[256];
    struct talk t;

    talk_begin(&t, server, client, NULL);
    if (sni)
        assert_int_equal(SSL_set_tlsext_host_name(t.c.tls, sni), 1);
    if (signatures)
        assert_int_equal(SSL_set1_sigalgs_list(t.c.tls, signatures), 1);
    SSL_set_max_proto_version(t.c.tls, version);
    talk_shake(&t);
    assert_talks(&t);
    assert_passes(&t.c, &t.s);
    assert_true(stream_tls_subject(&t.c, subject, sizeof subject));
    talk_end(&t);
    return subject;
}

static void assert_shown(struct tls_context *server, const char *sni, const char *subject)
{
    assert_string_equal(shown(server, sni, NULL, TLS1_2_VERSION), subject);
    assert_string_equal(shown(server, sni, NULL, TLS1_3_VERSION), subject);
}

static void test_the_first_certificate_is_the_default(void **state)
{
    struct tls_context *server = SERVER(IMAP, MAIL);

    (void)state;
    assert_shown(server, NULL, "CN=imap");
    assert_shown(server, "imap.example.org", "CN=imap");
    assert_shown(server, "elsewhere.example.com", "CN=imap");
    assert_shown(server, "localhost", "CN=imap");
    tls_context_free(&server);
}

static void test_a_name_gets_its_certificate_in_any_case_and_rooted(void **state)
{
    static const char *const names[] = {"mail.example.org", "MAIL.example.ORG", "mail.example.org.",
                                        "post.example.org"};
    struct tls_context *server = SERVER(IMAP, MAIL);

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_shown(server, names[i], "CN=mail");
    tls_context_free(&server);
}

static void test_a_wildcard_stands_for_one_label_and_yields_to_the_exact_name(void **state)
{
    struct tls_context *server = SERVER(IMAP, WILD, MAIL);

    (void)state;
    assert_shown(server, "smtp.example.org", "CN=wild");
    assert_shown(server, "a.example.net", "CN=wild");
    assert_shown(server, "mail.example.org", "CN=mail");
    assert_shown(server, "imap.example.org", "CN=imap");
    assert_shown(server, "example.org", "CN=imap");
    assert_shown(server, "a.b.example.org", "CN=imap");
    tls_context_free(&server);
}

static void test_what_is_no_name_gets_the_default(void **state)
{
    static const char *const names[] = {"*.example.org",     ".example.org",
                                        "a b.example.org",   "smtp\xff.example.org",
                                        "smtp/.example.org", "."};
    struct tls_context *server = SERVER(IMAP, WILD);

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_shown(server, names[i], "CN=imap");
    tls_context_free(&server);
}

static size_t put(unsigned char *to, const void *from, size_t n)
{
    memcpy(to, from, n);
    return n;
}

/* What the server says to a hello of TLS 1.2 with these bytes as the content of server_name, such
 * as OpenSSL would not send. */
static enum io answer_to(const unsigned char *names, size_t n, struct tls_context *server)
{
    static const unsigned char start[] = {1, 0, 0, 0, 3, 3}, random[32] = {7};
    static const unsigned char rest[] = {0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 0, 0, 0, 0, 0};
    static const unsigned char more[] = {0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 23};
    unsigned char hello[256] = {22, 3, 1}, *p = hello + 5;
    struct talk t;
    enum io io;

    p += put(p, start, sizeof start);
    p += put(p, random, sizeof random);
    p += put(p, rest, sizeof rest);
    p[-1] = (unsigned char)n;
    p[-5] = (unsigned char)(4 + n + sizeof more);
    p += put(p, names, n);
    p += put(p, more, sizeof more);
    hello[8] = (unsigned char)(p - hello - 9);
    hello[4] = (unsigned char)(p - hello - 5);

    talk_begin(&t, server, client, NULL);
    assert_int_equal(send(stream_fd(&t.c), hello, (size_t)(p - hello), 0), p - hello);
    io = stream_handshake(&t.s);
    talk_end(&t);
    return io;
}

static void test_a_broken_list_of_names_ends_the_handshake_and_nothing_else(void **state)
{
    static const unsigned char good[] = {0,   19,  0,   0,   16,  's', 'm', 't', 'p', '.', 'e',
                                         'x', 'a', 'm', 'p', 'l', 'e', '.', 'o', 'r', 'g'};
    struct tls_context *server = SERVER(IMAP, WILD);
    unsigned char broken[sizeof good];

    (void)state;
    assert_int_equal(answer_to(good, sizeof good, server), IO_AGAIN);
    for (size_t n = 0; n < sizeof good; n++)
        assert_int_equal(answer_to(good, n, server), IO_FAILED);
    for (size_t at = 0; at < 5; at++) {
        memcpy(broken, good, sizeof good);
        for (int add = 1; add < 256; add++) {
            broken[at]++;
            assert_int_equal(answer_to(broken, sizeof good, server), IO_FAILED);
        }
    }
    tls_context_free(&server);
}

static void test_the_name_is_acknowledged(void **state)
{
    struct tls_context *server = SERVER(IMAP, MAIL);
    struct talk t;

    (void)state;
    talk_begin(&t, server, client, "mail.example.org");
    talk_shake(&t);
    assert_talks(&t);
    assert_string_equal(SSL_SESSION_get0_hostname(SSL_get0_session(t.c.tls)), "mail.example.org");
    talk_end(&t);
    tls_context_free(&server);
}

/* ---- keys of several kinds ---- */

static void test_a_client_gets_the_kind_of_key_that_it_can_verify(void **state)
{
    struct tls_context *server = SERVER(IMAP, MAIL, MAIL_RSA, ED);

    (void)state;
    for (int v = TLS1_2_VERSION; v <= TLS1_3_VERSION; v++) {
        assert_string_equal(shown(server, "mail.example.org", "ECDSA+SHA256", v), "CN=mail");
        assert_string_equal(shown(server, "mail.example.org", "rsa_pss_rsae_sha256", v),
                            "CN=mail-rsa");
        assert_string_equal(shown(server, "mail.example.org", "ed25519", v), "CN=ed");
        assert_string_equal(shown(server, "imap.example.org", NULL, v), "CN=imap");
    }
    tls_context_free(&server);
}

static void test_the_default_takes_keys_of_other_kinds_from_those_with_its_names(void **state)
{
    struct tls_context *server = SERVER(MAIL, IMAP, MAIL_RSA, ED);

    (void)state;
    assert_string_equal(shown(server, NULL, "ECDSA+SHA256", TLS1_3_VERSION), "CN=mail");
    assert_string_equal(shown(server, NULL, "rsa_pss_rsae_sha256", TLS1_3_VERSION), "CN=mail-rsa");
    assert_string_equal(shown(server, "x.example.com", "ed25519", TLS1_2_VERSION), "CN=ed");
    tls_context_free(&server);

    /* A wildcard covers it too, but not the other way about. */
    server = SERVER(MAIL_RSA, IMAP, WILD);
    assert_string_equal(shown(server, NULL, "ECDSA+SHA256", TLS1_3_VERSION), "CN=wild");
    tls_context_free(&server);
    server = SERVER(WILD, MAIL_RSA);
    assert_string_equal(shown(server, NULL, "ECDSA+SHA256:rsa_pss_rsae_sha256", TLS1_3_VERSION),
                        "CN=wild");
    tls_context_free(&server);
}

static void test_of_two_alike_for_a_name_the_first_wins(void **state)
{
    struct tls_context *server = SERVER(MAIL, IMAP_AGAIN, IMAP);

    (void)state;
    assert_shown(server, "imap.example.org", "CN=imap-again");
    tls_context_free(&server);
    server = SERVER(MAIL, IMAP, IMAP_AGAIN);
    assert_shown(server, "imap.example.org", "CN=imap");
    tls_context_free(&server);
}

static void test_many_names_are_all_found(void **state)
{
    enum { MANY = 300 };
    char *names = calloc(MANY, 32), name[32];
    struct cert many;
    struct owned_identity identity;
    struct tls_identity both[2];
    struct tls_context *server;

    (void)state;
    assert_non_null(names);
    for (int i = 0; i < MANY; i++)
        sprintf(names + strlen(names), "%sDNS:n%d.example.com", i ? "," : "", i);
    many = cert_make("many", names, NULL, 9, NULL);
    identity = identity_of(&many, NULL, "many");
    both[0] = identities[IMAP].identity;
    both[1] = identity.identity;
    server = server_made(
        &(struct tls_server_params){.listener = "imap", .identities = both, .identities_n = 2});
    for (int i = 0; i < MANY; i += 23) {
        snprintf(name, sizeof name, "n%d.example.com", i);
        assert_string_equal(shown(server, name, NULL, TLS1_3_VERSION), "CN=many");
    }
    snprintf(name, sizeof name, "n%d.example.com", MANY);
    assert_string_equal(shown(server, name, NULL, TLS1_3_VERSION), "CN=imap");
    tls_context_free(&server);
    identity_done(&identity);
    cert_free(&many);
    free(names);
}

static void test_a_context_may_go_while_its_connections_stay(void **state)
{
    struct tls_context *server = SERVER(IMAP, MAIL);
    struct talk t;
    char subject[64];

    (void)state;
    talk_begin(&t, server, client, "mail.example.org");
    tls_context_free(&server);
    tls_context_free(&server);
    talk_shake(&t);
    assert_talks(&t);
    assert_true(stream_tls_subject(&t.c, subject, sizeof subject));
    assert_string_equal(subject, "CN=mail");
    talk_end(&t);
}

/* With a hello again (RFC 8446 section 4.1.4), as the first one's key share does not fit. */
static void test_a_second_hello_gets_the_same_certificate(void **state)
{
    static const char *const names[] = {"mail.example.org", "x.example.com"};
    static const char *const subjects[] = {"CN=mail", "CN=imap"};
    struct tls_context *server = SERVER(IMAP, MAIL);
    char subject[64];
    struct talk t;

    (void)state;
    for (int i = 0; i < 2; i++) {
        talk_begin(&t, server, client, NULL);
        assert_int_equal(SSL_set_tlsext_host_name(t.c.tls, names[i]), 1);
        assert_int_equal(SSL_set1_groups_list(t.c.tls, "X25519:P-384"), 1);
        assert_int_equal(SSL_set1_groups_list(t.s.tls, "P-384"), 1);
        talk_shake(&t);
        assert_talks(&t);
        assert_true(stream_tls_subject(&t.c, subject, sizeof subject));
        assert_string_equal(subject, subjects[i]);
        talk_end(&t);
    }
    tls_context_free(&server);
}

/* ---- those that will not do ---- */

static void assert_refused(int which, const char *words)
{
    struct tls_identity two[] = {identities[MAIL].identity, identities[which].identity};
    struct tls_context *ctx = NULL;
    struct err err = {0};

    assert_int_equal(
        tls_server_new(
            &(struct tls_server_params){.listener = "imap", .identities = two, .identities_n = 2},
            &ctx, &err),
        -1);
    assert_null(ctx);
    assert_string_equal(err.text, words);
}

static void test_an_error_names_the_certificate_that_it_is_about(void **state)
{
    struct owned_identity good = identities[IMAP];

    (void)state;
    identities[IMAP].identity.key_pem = slice_of(NULL, 0);
    assert_refused(IMAP, "imap: the text is empty");
    identities[IMAP].identity.key_pem = good.identity.certificate_pem;
    identities[IMAP].identity.certificate_pem = good.identity.key_pem;
    assert_refused(IMAP, "imap: no certificate in PEM is found there");
    identities[IMAP] = good;
}

static EVP_PKEY *dsa_key(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DSA", NULL);
    EVP_PKEY *params = NULL, *key = NULL;

    assert_int_equal(EVP_PKEY_paramgen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_paramgen(ctx, &params), 1);
    EVP_PKEY_CTX_free(ctx);
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, params, NULL);
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(params);
    return key;
}

static void test_a_key_that_tls_has_no_use_for_is_refused(void **state)
{
    struct owned_identity good = identities[IMAP];
    struct cert dsa = cert_make("dsa", "DNS:dsa.example.org", NULL, 9, dsa_key());

    (void)state;
    identities[IMAP] = identity_of(&dsa, NULL, "dsa");
    assert_refused(IMAP, "dsa: a key of this kind is of no use for TLS");
    identity_done(&identities[IMAP]);
    identities[IMAP] = good;
    cert_free(&dsa);
}

static void test_ed448_and_rsa_pss_serve_too(void **state)
{
    struct owned_identity good = identities[IMAP];
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
    EVP_PKEY *key = NULL;
    struct cert pss;
    struct tls_context *server;
    struct talk t;
    char subject[64];

    (void)state;
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048), 1);
    assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
    EVP_PKEY_CTX_free(ctx);
    pss = cert_make("pss", "DNS:pss.example.org", NULL, 9, key);
    identities[IMAP] = identity_of(&pss, NULL, "pss");
    server = SERVER(PLAIN, IMAP);
    assert_string_equal(shown(server, NULL, "ed448", TLS1_3_VERSION), "CN=Somebody Somewhere");
    talk_begin(&t, server, client, "pss.example.org");
    talk_shake(&t);
    assert_talks(&t);
    assert_true(stream_tls_subject(&t.c, subject, sizeof subject));
    assert_string_equal(subject, "CN=pss");
    talk_end(&t);
    tls_context_free(&server);
    identity_done(&identities[IMAP]);
    identities[IMAP] = good;
    cert_free(&pss);
}

/* ---- looking ---- */

static struct tls_facts facts;

static void look(int which)
{
    struct err err = {0};

    if (tls_look(&identities[which].identity, &facts, &err) != 0)
        fail_msg("%s", err.text);
}

static void test_a_certificate_says_its_dates_names_and_kind_of_key(void **state)
{
    int64_t now = time(NULL);

    (void)state;
    look(MAIL);
    assert_in_range(now - facts.not_before, 2 * 86400 - 1, 2 * 86400 + 600);
    assert_in_range(facts.not_after - now, 9 * 86400 - 600, 9 * 86400 + 1);
    assert_string_equal(facts.key_kind, "ECDSA");
    assert_int_equal(facts.names_n, 2);
    assert_string_equal(facts.names[0], "mail.example.org");
    assert_string_equal(facts.names[1], "post.example.org");
    look(MAIL_RSA);
    assert_string_equal(facts.key_kind, "RSA");
    look(ED);
    assert_string_equal(facts.key_kind, "Ed25519");
    look(PLAIN);
    assert_string_equal(facts.key_kind, "ED448");
}

static void test_the_common_name_counts_only_without_dns_names(void **state)
{
    (void)state;
    look(NAMELESS);
    assert_int_equal(facts.names_n, 1);
    assert_string_equal(facts.names[0], "nameless.example.org");
    look(ODD);
    assert_int_equal(facts.names_n, 1);
    assert_string_equal(facts.names[0], "under_score.x");
    look(PLAIN);
    assert_int_equal(facts.names_n, 0);
}

static void test_a_name_is_covered_exactly_or_by_a_wildcard(void **state)
{
    (void)state;
    look(WILD);
    assert_true(tls_covers(&facts, "mail.example.org"));
    assert_true(tls_covers(&facts, "MAIL.Example.NET."));
    assert_false(tls_covers(&facts, "example.org"));
    assert_false(tls_covers(&facts, "a.b.example.org"));
    assert_false(tls_covers(&facts, "*.example.org"));
    assert_false(tls_covers(&facts, "org"));
    assert_false(tls_covers(&facts, ""));
    look(MAIL);
    assert_true(tls_covers(&facts, "Mail.example.org"));
    assert_false(tls_covers(&facts, "imap.example.org"));
}

static void test_looking_tells_a_key_that_is_another_certificates(void **state)
{
    struct tls_identity mixed = identities[MAIL].identity;
    struct err err = {0};

    (void)state;
    mixed.key_pem = identities[IMAP].identity.key_pem;
    assert_int_equal(tls_look(&mixed, &facts, &err), -1);
    assert_non_null(strstr(err.text, "mail: the key does not belong to the certificate"));
    mixed.key_pem = slice_of(NULL, 0);
    assert_int_equal(tls_look(&mixed, &facts, &err), 0);
}

static void test_more_names_than_there_is_room_for_are_left_out(void **state)
{
    char *names = calloc(TLS_NAMES_MAX + 9, 32);
    struct cert many;
    struct owned_identity identity;
    struct err err;

    (void)state;
    assert_non_null(names);
    for (int i = 0; i < TLS_NAMES_MAX + 9; i++)
        sprintf(names + strlen(names), "%sDNS:n%d.example.com", i ? "," : "", i);
    many = cert_make("many", names, NULL, 9, NULL);
    identity = identity_of(&many, NULL, "many");
    assert_int_equal(tls_look(&identity.identity, &facts, &err), 0);
    assert_int_equal(facts.names_n, TLS_NAMES_MAX);
    identity_done(&identity);
    cert_free(&many);
    free(names);
}

static void test_dates_that_cannot_be_read_are_an_error(void **state)
{
    struct cert odd = cert_make("odd", "DNS:a.example.org", NULL, 9, NULL);
    struct owned_identity identity;
    struct err err = {0};

    (void)state;
    assert_int_equal(ASN1_STRING_set(X509_getm_notAfter(odd.x509), "99999999999Z", 12), 1);
    assert_true(X509_sign(odd.x509, odd.key, EVP_sha256()) > 0);
    identity = identity_of(&odd, NULL, "odd");
    assert_int_equal(tls_look(&identity.identity, &facts, &err), -1);
    assert_string_equal(err.text, "odd: its dates cannot be read");
    identity_done(&identity);
    cert_free(&odd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_certificate_is_the_default),
        cmocka_unit_test(test_a_name_gets_its_certificate_in_any_case_and_rooted),
        cmocka_unit_test(test_a_wildcard_stands_for_one_label_and_yields_to_the_exact_name),
        cmocka_unit_test(test_what_is_no_name_gets_the_default),
        cmocka_unit_test(test_a_broken_list_of_names_ends_the_handshake_and_nothing_else),
        cmocka_unit_test(test_the_name_is_acknowledged),
        cmocka_unit_test(test_a_client_gets_the_kind_of_key_that_it_can_verify),
        cmocka_unit_test(test_the_default_takes_keys_of_other_kinds_from_those_with_its_names),
        cmocka_unit_test(test_of_two_alike_for_a_name_the_first_wins),
        cmocka_unit_test(test_many_names_are_all_found),
        cmocka_unit_test(test_a_context_may_go_while_its_connections_stay),
        cmocka_unit_test(test_a_second_hello_gets_the_same_certificate),
        cmocka_unit_test(test_an_error_names_the_certificate_that_it_is_about),
        cmocka_unit_test(test_a_key_that_tls_has_no_use_for_is_refused),
        cmocka_unit_test(test_ed448_and_rsa_pss_serve_too),
        cmocka_unit_test(test_a_certificate_says_its_dates_names_and_kind_of_key),
        cmocka_unit_test(test_the_common_name_counts_only_without_dns_names),
        cmocka_unit_test(test_a_name_is_covered_exactly_or_by_a_wildcard),
        cmocka_unit_test(test_looking_tells_a_key_that_is_another_certificates),
        cmocka_unit_test(test_more_names_than_there_is_room_for_are_left_out),
        cmocka_unit_test(test_dates_that_cannot_be_read_are_an_error),
    };

    return cmocka_run_group_tests(tests, make_all, free_all);
}
