/* Versions and suites: what is spoken, what is refused with which words, and which settings are
 * mistakes. */
#include "tls_talk.h"

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cert ec, rsa;
static struct owned_identity identities[2];

static int make_all(void **state)
{
    (void)state;
    ec = cert_make("ec", "DNS:mail.example.org", NULL, 9, NULL);
    rsa = cert_make("rsa", "DNS:mail.example.org", NULL, 9, EVP_RSA_gen(2048));
    identities[0] = identity_of(&ec, NULL, "ec");
    identities[1] = identity_of(&rsa, NULL, "rsa");
    return 0;
}

static int free_all(void **state)
{
    (void)state;
    identity_done(&identities[0]);
    identity_done(&identities[1]);
    cert_free(&ec);
    cert_free(&rsa);
    return 0;
}

static int server_new(struct tls_policy policy, struct tls_context **out_ctx, struct err *err)
{
    const struct tls_identity two[] = {identities[0].identity, identities[1].identity};

    return tls_server_new(
        &(struct tls_server_params){
            .listener = "imap", .policy = policy, .identities = two, .identities_n = 2},
        out_ctx, err);
}

/* What a client can. Its own policy is as loose as OpenSSL allows. */
struct wish {
    int min, max; /* 0: any */
    const char *ciphers, *ciphersuites;
};

static void loosen(SSL *ssl, struct wish wish)
{
    SSL_set_security_level(ssl, 0);
    SSL_set_min_proto_version(ssl, wish.min);
    SSL_set_max_proto_version(ssl, wish.max);
    if (wish.ciphers)
        assert_int_equal(SSL_set_cipher_list(ssl, wish.ciphers), 1);
    if (wish.ciphersuites)
        assert_int_equal(SSL_set_ciphersuites(ssl, wish.ciphersuites), 1);
}

/* The suite that is agreed on, or the server's words; static. */
static const char *agreed(struct tls_policy policy, struct wish wish)
{
    static char text[600];
    struct tls_context *server = NULL, *client = any_client();
    struct err err = {0};
    struct talk t;

    if (server_new(policy, &server, &err) != 0)
        fail_msg("%s", err.text);
    talk_begin(&t, server, client, NULL);
    loosen(t.c.tls, wish);
    talk_shake(&t);
    if (t.io_s == IO_OK) {
        assert_talks(&t);
        snprintf(text, sizeof text, "%s", SSL_get_cipher_name(t.s.tls));
    } else {
        assert_int_equal(t.io_s, IO_FAILED);
        stream_error(&t.s, &err);
        snprintf(text, sizeof text, "%s", err.text);
    }
    talk_end(&t);
    tls_context_free(&server);
    tls_context_free(&client);
    return text;
}

#define OURS             ((struct tls_policy){0})
#define TLS_1_2(ciphers) ((struct wish){TLS1_2_VERSION, TLS1_2_VERSION, ciphers, NULL})

static void test_versions_before_1_2_are_refused_in_words_that_an_operator_understands(void **state)
{
    (void)state;
    for (int v = TLS1_VERSION; v <= TLS1_1_VERSION; v++)
        assert_string_equal(
            agreed(OURS, (struct wish){v, v, "ALL:@SECLEVEL=0", NULL}),
            "TLS: peer and usher have no version of TLS in common: unsupported protocol");
    assert_string_equal(
        agreed((struct tls_policy){.min_version = TLS_MIN_1_3},
               (struct wish){0, TLS1_2_VERSION, NULL, NULL}),
        "TLS: peer and usher have no version of TLS in common: unsupported protocol");
}

static void test_1_2_and_1_3_are_spoken(void **state)
{
    (void)state;
    assert_string_equal(agreed(OURS, TLS_1_2(NULL)), "ECDHE-ECDSA-AES256-GCM-SHA384");
    assert_string_equal(agreed(OURS, (struct wish){0}), "TLS_AES_256_GCM_SHA384");
    assert_string_equal(agreed((struct tls_policy){.min_version = TLS_MIN_1_3}, (struct wish){0}),
                        "TLS_AES_256_GCM_SHA384");
}

static void test_of_1_2_only_suites_with_forward_secrecy_and_authentication(void **state)
{
    static const char *const good[] = {
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
    };
    static const char *const bad[] = {
        "ECDHE-RSA-AES128-SHA256",
        "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-RSA-AES128-SHA",
        "AES128-GCM-SHA256",
        "AES256-SHA",
        "DHE-RSA-AES128-SHA256",
        "DHE-RSA-AES256-GCM-SHA384",
        "AECDH-AES128-SHA",
        "ECDHE-ECDSA-AES128-CCM",
        "ECDHE-ARIA128-GCM-SHA256",
        "NULL-SHA256",
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_string_equal(agreed(OURS, TLS_1_2(good[i])), good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_string_equal(agreed(OURS, TLS_1_2(bad[i])),
                            "TLS: peer and usher have no cipher suite in common: no shared cipher");
}

static void test_ours_is_the_order_but_for_those_who_prefer_chacha(void **state)
{
    (void)state;
    assert_string_equal(
        agreed(OURS, TLS_1_2("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")),
        "ECDHE-ECDSA-AES256-GCM-SHA384");
    assert_string_equal(
        agreed(OURS, TLS_1_2("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384")),
        "ECDHE-ECDSA-CHACHA20-POLY1305");
}

static void test_suites_may_be_named(void **state)
{
    const struct tls_policy policy = {.ciphers = "ECDHE+AES128:!aECDSA",
                                      .ciphersuites = "TLS_CHACHA20_POLY1305_SHA256"};

    (void)state;
    assert_string_equal(agreed(policy, TLS_1_2(NULL)), "ECDHE-RSA-AES128-GCM-SHA256");
    assert_string_equal(agreed(policy, TLS_1_2("ECDHE-RSA-AES128-SHA256")),
                        "ECDHE-RSA-AES128-SHA256");
    assert_string_equal(agreed(policy, (struct wish){0}), "TLS_CHACHA20_POLY1305_SHA256");
    assert_string_equal(
        agreed(policy, (struct wish){TLS1_3_VERSION, 0, NULL, "TLS_AES_128_GCM_SHA256"}),
        "TLS: peer and usher have no cipher suite in common: no shared cipher");
}

/* It costs a listener much, so it is there only when it is asked for. */
static void test_dhe_is_there_when_it_is_named(void **state)
{
    (void)state;
    assert_string_equal(
        agreed((struct tls_policy){.ciphers = "DHE+AESGCM"}, TLS_1_2("DHE-RSA-AES256-GCM-SHA384")),
        "DHE-RSA-AES256-GCM-SHA384");
}

static void test_empty_texts_are_as_none(void **state)
{
    (void)state;
    assert_string_equal(
        agreed((struct tls_policy){.ciphers = "", .ciphersuites = ""}, TLS_1_2(NULL)),
        "ECDHE-ECDSA-AES256-GCM-SHA384");
}

static void assert_good(struct tls_policy policy)
{
    struct tls_context *ctx = client_made(&(struct tls_client_params){.policy = policy});

    tls_context_free(&ctx);
}

static void test_lists_as_they_are_written_everywhere_are_taken(void **state)
{
    static const char *const lists[] = {
        "HIGH:!aNULL:!MD5:!RC4:!3DES",
        "ALL:!EXPORT:!LOW:!aNULL:!eNULL:!SSLv2",
        "EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:-SHA1",
        "DEFAULT@SECLEVEL=2",
        "DEFAULT:@SECLEVEL=3",
        "kEECDH+aRSA+AES:HIGH:+SHA256:@STRENGTH",
        "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES128-GCM-SHA256,HIGH;!PSK",
        ":HIGH::",
        "ALL:!COMPLEMENTOFDEFAULT:!eNULL",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        assert_good((struct tls_policy){.ciphers = lists[i]});
    assert_good(
        (struct tls_policy){.ciphersuites = "TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256"});
}

static void assert_refused(struct tls_policy policy, const char *words)
{
    struct tls_context *ctx = NULL;
    struct err err = {0};

    assert_int_equal(server_new(policy, &ctx, &err), -1);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    err.text[0] = '\0';
    assert_int_equal(tls_client_new(&(struct tls_client_params){.policy = policy}, &ctx, &err), -1);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_null(ctx);
}

static void test_a_word_that_openssl_does_not_know_is_an_error(void **state)
{
    char long_word[300];

    (void)state;
    memset(long_word, 'A', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    assert_refused((struct tls_policy){.ciphers = "HIGH:ECDHE-RSA-AES128-GCM-SHA265"},
                   "ciphers: OpenSSL knows no suite by the word \"ECDHE-RSA-AES128-GCM-SHA265\"");
    assert_refused((struct tls_policy){.ciphers = "HIGH:!aNUL"},
                   "ciphers: OpenSSL knows no suite by the word \"!aNUL\"");
    /* Nothing is left of it, which is no harm where it is taken away. */
    assert_refused((struct tls_policy){.ciphers = "RC4"},
                   "ciphers: OpenSSL knows no suite by the word \"RC4\"");
    assert_refused((struct tls_policy){.ciphers = "TLS_AES_128_GCM_SHA256"},
                   "ciphers: OpenSSL knows no suite by the word \"TLS_AES_128_GCM_SHA256\"");
    assert_refused((struct tls_policy){.ciphers = "HIGH:!"}, "by the word \"!\"");
    assert_refused((struct tls_policy){.ciphers = long_word}, "by the word \"AAAA");
    assert_refused((struct tls_policy){.ciphers = "!ALL"}, "ciphers: \"!ALL\": no cipher match");
    assert_refused((struct tls_policy){.ciphers = "HIGH:@NONSENSE"},
                   "ciphers: \"HIGH:@NONSENSE\": invalid command");
    assert_refused((struct tls_policy){.ciphers = "DEFAULT@SECLEVEL=1"},
                   "ciphers: @SECLEVEL below 2 is not taken");
    assert_refused(
        (struct tls_policy){.ciphersuites = "TLS_AES_128_GCM_SHA256:TLS_AES_128_GMC_SHA256"},
        "ciphersuites: OpenSSL knows no suite by the word \"TLS_AES_128_GMC_SHA256\"");
    assert_refused((struct tls_policy){.ciphersuites = "ECDHE-RSA-AES128-GCM-SHA256"},
                   "ciphersuites: OpenSSL knows no suite by the word");
    assert_refused((struct tls_policy){.ciphersuites = long_word}, "by the word \"AAAA");
}

/* ---- towards backends ---- */

static void test_backends_are_held_to_the_same(void **state)
{
    struct tls_context *server = NULL, *client;
    struct err err = {0};
    struct talk t;

    (void)state;
    assert_int_equal(server_new(OURS, &server, &err), 0);

    client = client_made(&(struct tls_client_params){.policy = {.min_version = TLS_MIN_1_3}});
    talk_begin(&t, server, client, NULL);
    SSL_set_max_proto_version(t.s.tls, TLS1_2_VERSION);
    talk_shake(&t);
    assert_int_equal(t.io_c, IO_FAILED);
    assert_words(&t.c, "TLS: peer and usher have no version of TLS in common");
    talk_end(&t);
    tls_context_free(&client);

    client = client_made(&(struct tls_client_params){.verifies = false});
    talk_begin(&t, server, client, NULL);
    loosen(t.s.tls, TLS_1_2("ECDHE-RSA-AES128-SHA256"));
    talk_shake(&t);
    assert_int_equal(t.io_c, IO_FAILED);
    assert_words(&t.c, "handshake failure");
    talk_end(&t);
    tls_context_free(&client);

    client = client_made(&(struct tls_client_params){.policy = {.ciphers = "ECDHE+AES128"}});
    talk_begin(&t, server, client, NULL);
    loosen(t.s.tls, TLS_1_2("ECDHE-RSA-AES128-SHA256"));
    talk_shake(&t);
    assert_talks(&t);
    talk_end(&t);
    tls_context_free(&client);
    tls_context_free(&server);
}

static void test_a_backend_may_use_dhe(void **state)
{
    struct tls_context *server = NULL, *client = any_client();
    struct err err = {0};
    struct talk t;

    (void)state;
    assert_int_equal(server_new((struct tls_policy){.ciphers = "DHE+AESGCM"}, &server, &err), 0);
    talk_begin(&t, server, client, NULL);
    SSL_set_max_proto_version(t.s.tls, TLS1_2_VERSION);
    talk_shake(&t);
    assert_talks(&t);
    assert_string_equal(SSL_get_cipher_name(t.c.tls), "DHE-RSA-AES256-GCM-SHA384");
    talk_end(&t);
    tls_context_free(&server);
    tls_context_free(&client);
}

/* ---- what may not be done ---- */

/* `one` is another's, who would. */
static void ask_to_renegotiate(struct talk *t, struct stream *one, struct stream *ours)
{
    size_t n;
    char c;

    SSL_set_max_proto_version(t->c.tls, TLS1_2_VERSION);
    SSL_clear_options(one->tls, SSL_OP_NO_RENEGOTIATION);
    talk_shake(t);
    assert_talks(t);
    assert_int_equal(SSL_renegotiate(one->tls), 1);
    (void)stream_handshake(one);
    assert_int_equal(stream_read(ours, &c, 1, &n), IO_AGAIN);
    assert_int_equal(stream_read(one, &c, 1, &n), IO_FAILED);
    assert_words(one, "no renegotiation");
}

static void test_neither_clients_nor_backends_get_us_to_renegotiate(void **state)
{
    struct tls_context *server = NULL, *client = any_client();
    struct err err = {0};
    struct talk t;

    (void)state;
    assert_int_equal(server_new(OURS, &server, &err), 0);
    talk_begin(&t, server, client, NULL);
    ask_to_renegotiate(&t, &t.c, &t.s);
    talk_end(&t);
    talk_begin(&t, server, client, NULL);
    ask_to_renegotiate(&t, &t.s, &t.c);
    talk_end(&t);
    tls_context_free(&server);
    tls_context_free(&client);
}

static void test_there_is_no_early_data(void **state)
{
    struct tls_tickets *tickets = tls_tickets_new();
    unsigned char keys[TLS_TICKET_KEYS][TLS_TICKET_KEY] = {{1}, {2}, {3}};
    struct tls_context *client = any_client();
    struct tls_context *server =
        server_made(&(struct tls_server_params){.listener = "imap",
                                                .identities = &identities[0].identity,
                                                .identities_n = 1,
                                                .tickets = tickets});
    struct talk t;

    (void)state;
    tls_tickets_set(tickets, keys, 600);
    talk_begin(&t, server, client, NULL);
    talk_shake(&t);
    assert_talks(&t);
    assert_passes(&t.s, &t.c);
    assert_true(SSL_SESSION_has_ticket(SSL_get0_session(t.c.tls)));
    assert_int_equal(SSL_SESSION_get_max_early_data(SSL_get0_session(t.c.tls)), 0);
    talk_end(&t);
    tls_context_free(&server);
    tls_context_free(&client);
    tls_tickets_free(&tickets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_versions_before_1_2_are_refused_in_words_that_an_operator_understands),
        cmocka_unit_test(test_1_2_and_1_3_are_spoken),
        cmocka_unit_test(test_of_1_2_only_suites_with_forward_secrecy_and_authentication),
        cmocka_unit_test(test_ours_is_the_order_but_for_those_who_prefer_chacha),
        cmocka_unit_test(test_suites_may_be_named),
        cmocka_unit_test(test_dhe_is_there_when_it_is_named),
        cmocka_unit_test(test_empty_texts_are_as_none),
        cmocka_unit_test(test_lists_as_they_are_written_everywhere_are_taken),
        cmocka_unit_test(test_a_word_that_openssl_does_not_know_is_an_error),
        cmocka_unit_test(test_backends_are_held_to_the_same),
        cmocka_unit_test(test_a_backend_may_use_dhe),
        cmocka_unit_test(test_neither_clients_nor_backends_get_us_to_renegotiate),
        cmocka_unit_test(test_there_is_no_early_data),
    };

    return cmocka_run_group_tests(tests, make_all, free_all);
}
