/* Resumption: under which keys a ticket is taken, and that it is good for one listener, one name
 * and one set of CAs and CRLs only. Whatever is not resumed is a full handshake that succeeds. */
#include "tls_talk.h"

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Stands before libc's, for OpenSSL too: all of them live so much later. */
static time_t later;

time_t time(time_t *out)
{
    struct timespec now;
    time_t t;

    clock_gettime(CLOCK_REALTIME, &now);
    t = now.tv_sec + later;
    if (out)
        *out = t;
    return t;
}

enum { LIFETIME = 3600 };

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

#define EACH_VERSION(v)                                                                        \
    for (size_t each_version = 0, v; each_version < 2 && (v = (size_t)versions[each_version]); \
         each_version++)

static struct cert ca, mail, other, ann;
static struct owned_identity identities[2], anns;
static char *ca_text, *crl_text, *new_crl_text;
static unsigned char keys[6][TLS_TICKET_KEY];
static struct tls_context *client, *client_ann;

static int make_all(void **state)
{
    struct err err;

    (void)state;
    ca = cert_make("ca", NULL, NULL, 9, NULL);
    mail = cert_make("mail", "DNS:mail.example.org", NULL, 9, NULL);
    other = cert_make("other", "DNS:other.example.org", NULL, 9, NULL);
    ann = cert_make("ann", "email:ann@example.org", &ca, 5, NULL);
    identities[0] = identity_of(&mail, NULL, "mail");
    identities[1] = identity_of(&other, NULL, "other");
    anns = identity_of(&ann, NULL, "ann");
    ca_text = cert_pem(&ca, NULL);
    crl_text = crl_pem(&ca, NULL, 9);
    new_crl_text = crl_pem(&ca, &mail, 9);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(tls_ticket_key(keys[i], &err), 0);
    client = any_client();
    client_ann = client_made(&(struct tls_client_params){.identity = anns.identity});
    return 0;
}

static int free_all(void **state)
{
    (void)state;
    tls_context_free(&client);
    tls_context_free(&client_ann);
    identity_done(&identities[0]);
    identity_done(&identities[1]);
    identity_done(&anns);
    cert_free(&ca);
    cert_free(&mail);
    cert_free(&other);
    cert_free(&ann);
    free(ca_text);
    free(crl_text);
    free(new_crl_text);
    return 0;
}

static struct tls_tickets *tickets_of(size_t first)
{
    struct tls_tickets *t = tls_tickets_new();

    assert_non_null(t);
    tls_tickets_set(t, keys + first, LIFETIME);
    return t;
}

static struct tls_context *listener(const char *name, struct tls_tickets *tickets,
                                    enum tls_client_certificate mode, const char *crl)
{
    const struct tls_identity two[] = {identities[0].identity, identities[1].identity};

    return server_made(&(struct tls_server_params){.listener = name,
                                                   .identities = two,
                                                   .identities_n = 2,
                                                   .tickets = tickets,
                                                   .client_certificate = mode,
                                                   .client_ca_pem = slice_str(ca_text),
                                                   .client_crl_pem = slice_str(crl)});
}

/* One connection as the client would make it: with the ticket of *session unless that is NULL; then
 * with the one that it was given, or the old one. */
struct visit {
    struct tls_context *server, *client;
    const char *name;
    size_t version;
    SSL_SESSION *session;
    bool was_given_one;
};

static bool visit(struct visit *v)
{
    struct talk t;
    bool is_resumed;
    SSL_SESSION *now;

    talk_begin(&t, v->server, v->client ? v->client : client, NULL);
    SSL_set_max_proto_version(t.c.tls, (long)v->version);
    if (v->name)
        assert_int_equal(SSL_set_tlsext_host_name(t.c.tls, v->name), 1);
    if (v->session)
        assert_int_equal(SSL_set_session(t.c.tls, v->session), 1);
    talk_shake(&t);
    assert_talks(&t);
    assert_int_equal(SSL_version(t.s.tls), v->version);
    assert_passes(&t.s, &t.c);
    assert_passes(&t.c, &t.s);
    is_resumed = stream_tls_is_resumed(&t.s);
    assert_int_equal(is_resumed, stream_tls_is_resumed(&t.c));
    now = SSL_get1_session(t.c.tls);
    v->was_given_one = SSL_SESSION_has_ticket(now) && now != v->session;
    if (v->was_given_one) {
        SSL_SESSION_free(v->session);
        v->session = now;
    } else {
        SSL_SESSION_free(now);
    }
    /* OpenSSL forgets the session of a client that just goes. */
    stream_finish(&t.c);
    talk_end(&t);
    return is_resumed;
}

static void leave(struct visit *v)
{
    SSL_SESSION_free(v->session);
}

static void test_a_session_is_resumed_for_the_same_name(void **state)
{
    static const char *const names[] = {NULL, "mail.example.org", "other.example.org", "x.example"};
    struct tls_tickets *tickets = tickets_of(0);
    struct tls_context *server = listener("imap", tickets, TLS_CLIENT_OFF, "");

    (void)state;
    EACH_VERSION(version)
    {
        for (size_t i = 0; i < 4; i++) {
            struct visit v = {.server = server, .name = names[i], .version = version};

            assert_false(visit(&v));
            assert_true(v.was_given_one);
            assert_true(SSL_SESSION_get_ticket_lifetime_hint(v.session) <= LIFETIME);
            assert_true(SSL_SESSION_get_ticket_lifetime_hint(v.session) > LIFETIME - 60);
            assert_true(visit(&v));
            assert_true(visit(&v));
            leave(&v);
        }
    }
    tls_context_free(&server);
    tls_tickets_free(&tickets);
}

static void test_a_name_is_the_same_in_any_case_and_rooted(void **state)
{
    struct tls_tickets *tickets = tickets_of(0);
    struct visit v = {.server = listener("imap", tickets, TLS_CLIENT_OFF, ""),
                      .name = "Mail.Example.org",
                      .version = TLS1_3_VERSION};

    (void)state;
    assert_false(visit(&v));
    v.name = "mail.example.org";
    assert_true(visit(&v));
    v.name = "mail.example.org.";
    assert_true(visit(&v));
    leave(&v);
    tls_context_free(&v.server);
    tls_tickets_free(&tickets);
}

static void test_another_name_is_a_full_handshake(void **state)
{
    static const char *const names[] = {"mail.example.org", "other.example.org", "x.example", NULL,
                                        "y.example"};
    struct tls_tickets *tickets = tickets_of(0);
    struct tls_context *server = listener("imap", tickets, TLS_CLIENT_OFF, "");

    (void)state;
    EACH_VERSION(version)
    {
        struct visit v = {.server = server, .version = version};

        for (size_t i = 0; i < 5; i++) {
            v.name = names[i];
            assert_false(visit(&v));
            assert_true(v.was_given_one);
        }
        leave(&v);
    }
    tls_context_free(&server);
    tls_tickets_free(&tickets);
}

/* From the context `first` to `second`, which has the same keys. */
static void assert_resumes(struct tls_context *first, struct tls_context *second,
                           struct tls_context *who, bool is_resumed)
{
    EACH_VERSION(version)
    {
        struct visit v = {
            .server = first, .client = who, .name = "mail.example.org", .version = version};

        assert_false(visit(&v));
        v.server = second;
        assert_int_equal(visit(&v), is_resumed);
        leave(&v);
    }
    tls_context_free(&first);
    tls_context_free(&second);
}

static void test_contexts_of_one_listener_resume_each_others_sessions(void **state)
{
    struct tls_tickets *one = tickets_of(0), *two = tickets_of(0);

    (void)state;
    assert_resumes(listener("imap", one, TLS_CLIENT_OFF, ""),
                   listener("imap", two, TLS_CLIENT_OFF, ""), NULL, true);
    assert_resumes(listener("imap", one, TLS_CLIENT_REQUIRED, crl_text),
                   listener("imap", two, TLS_CLIENT_REQUIRED, crl_text), client_ann, true);
    tls_tickets_free(&one);
    tls_tickets_free(&two);
}

static void test_another_listener_is_a_full_handshake(void **state)
{
    struct tls_tickets *tickets = tickets_of(0);

    (void)state;
    assert_resumes(listener("imap", tickets, TLS_CLIENT_OFF, ""),
                   listener("imaps", tickets, TLS_CLIENT_OFF, ""), NULL, false);
    tls_tickets_free(&tickets);
}

static void test_other_cas_or_crls_or_rules_are_a_full_handshake(void **state)
{
    struct tls_tickets *tickets = tickets_of(0);

    (void)state;
    assert_resumes(listener("imap", tickets, TLS_CLIENT_OPTIONAL, crl_text),
                   listener("imap", tickets, TLS_CLIENT_OPTIONAL, new_crl_text), client_ann, false);
    assert_resumes(listener("imap", tickets, TLS_CLIENT_OPTIONAL, ""),
                   listener("imap", tickets, TLS_CLIENT_OPTIONAL, crl_text), NULL, false);
    assert_resumes(listener("imap", tickets, TLS_CLIENT_OFF, ""),
                   listener("imap", tickets, TLS_CLIENT_OPTIONAL, ""), NULL, false);
    assert_resumes(listener("imap", tickets, TLS_CLIENT_OPTIONAL, ""),
                   listener("imap", tickets, TLS_CLIENT_REQUIRED, ""), client_ann, false);
    {
        struct tls_context *before = listener("imap", tickets, TLS_CLIENT_OPTIONAL, "");
        char *one_ca = ca_text;

        ca_text = cert_pem(&ca, &other);
        assert_resumes(before, listener("imap", tickets, TLS_CLIENT_OPTIONAL, ""), client_ann,
                       false);
        free(ca_text);
        ca_text = one_ca;
    }
    /* What is not used does not count. */
    assert_resumes(listener("imap", tickets, TLS_CLIENT_OFF, ""),
                   listener("imap", tickets, TLS_CLIENT_OFF, crl_text), NULL, true);
    tls_tickets_free(&tickets);
}

/* Nobody gets in with the session of one who had no certificate. */
static void
test_a_session_without_a_certificate_does_not_open_a_listener_that_wants_one(void **state)
{
    struct tls_tickets *tickets = tickets_of(0);
    struct tls_context *server = listener("imap", tickets, TLS_CLIENT_OPTIONAL, "");
    struct visit v = {.server = server, .version = TLS1_2_VERSION};
    struct talk t;

    (void)state;
    assert_false(visit(&v));
    tls_context_free(&server);
    server = listener("imap", tickets, TLS_CLIENT_REQUIRED, "");
    talk_begin(&t, server, client, NULL);
    SSL_set_max_proto_version(t.c.tls, TLS1_2_VERSION);
    assert_int_equal(SSL_set_session(t.c.tls, v.session), 1);
    talk_shake(&t);
    assert_int_equal(t.io_s, IO_FAILED);
    assert_words(&t.s, "peer did not return a certificate");
    talk_end(&t);
    tls_context_free(&server);
    leave(&v);
    tls_tickets_free(&tickets);
}

/* ---- keys ---- */

static void test_a_key_is_taken_until_it_was_replaced_twice(void **state)
{
    struct tls_tickets *tickets = tickets_of(2);
    struct tls_context *server = listener("imap", tickets, TLS_CLIENT_OFF, "");

    (void)state;
    EACH_VERSION(version)
    {
        struct visit v = {.server = server, .version = version};
        SSL_SESSION *old;

        tls_tickets_set(tickets, keys + 2, LIFETIME);
        assert_false(visit(&v));
        old = v.session;
        SSL_SESSION_up_ref(old);

        /* 3 was in use; now it is the one before. The old ticket is taken and a new one given. */
        tls_tickets_set(tickets, keys + 1, LIFETIME);
        assert_true(visit(&v));
        assert_true(v.was_given_one);

        /* 3 is out, 2 is the one before. */
        tls_tickets_set(tickets, keys, LIFETIME);
        assert_true(visit(&v));
        SSL_SESSION_free(v.session);
        v.session = old;
        assert_false(visit(&v));
        assert_true(v.was_given_one);
        leave(&v);
    }
    tls_context_free(&server);
    tls_tickets_free(&tickets);
}

static void test_the_ticket_of_a_worker_that_has_changed_keys_already_is_taken(void **state)
{
    struct tls_tickets *ahead = tickets_of(1), *behind = tickets_of(2);

    (void)state;
    assert_resumes(listener("imap", ahead, TLS_CLIENT_OFF, ""),
                   listener("imap", behind, TLS_CLIENT_OFF, ""), NULL, true);
    tls_tickets_free(&ahead);
    tls_tickets_free(&behind);
}

static void test_a_ticket_is_renewed_when_it_must_be(void **state)
{
    struct tls_tickets *tickets = tickets_of(0);
    struct visit v = {.server = listener("imap", tickets, TLS_CLIENT_OFF, ""),
                      .version = TLS1_2_VERSION};

    (void)state;
    assert_false(visit(&v));
    assert_true(visit(&v));
    assert_false(v.was_given_one);
    leave(&v);
    v.session = NULL;
    v.version = TLS1_3_VERSION;
    assert_false(visit(&v));
    assert_true(visit(&v));
    assert_true(v.was_given_one);
    leave(&v);
    tls_context_free(&v.server);
    tls_tickets_free(&tickets);
}

static void test_a_ticket_that_was_tampered_with_is_a_full_handshake(void **state)
{
    struct tls_tickets *tickets = tickets_of(0), *others = tickets_of(0);
    unsigned char forged[TLS_TICKET_KEYS][TLS_TICKET_KEY];

    (void)state;
    /* The same names, other keys. */
    memcpy(forged, keys, sizeof forged);
    for (size_t i = 0; i < TLS_TICKET_KEYS; i++)
        forged[i][TLS_TICKET_KEY - 1] ^= 1;
    tls_tickets_set(others, forged, LIFETIME);
    assert_resumes(listener("imap", others, TLS_CLIENT_OFF, ""),
                   listener("imap", tickets, TLS_CLIENT_OFF, ""), NULL, false);
    tls_tickets_free(&tickets);
    tls_tickets_free(&others);
}

static void test_without_keys_there_are_no_tickets(void **state)
{
    struct tls_tickets *tickets = tls_tickets_new();
    struct tls_context *server = listener("imap", tickets, TLS_CLIENT_OFF, "");
    struct tls_context *never = listener("imap", NULL, TLS_CLIENT_OFF, "");

    (void)state;
    EACH_VERSION(version)
    {
        struct visit v = {.server = never, .version = version};

        assert_false(visit(&v));
        assert_false(v.was_given_one);
        v.server = server;
        assert_false(visit(&v));
        assert_false(v.was_given_one);
    }
    /* They may come later. */
    tls_tickets_set(tickets, keys, LIFETIME);
    struct visit v = {.server = server, .version = TLS1_3_VERSION};

    assert_false(visit(&v));
    assert_true(visit(&v));
    v.server = never;
    assert_false(visit(&v));
    leave(&v);
    tls_context_free(&server);
    tls_context_free(&never);
    tls_tickets_free(&tickets);
    tls_tickets_free(&tickets);
}

static void test_keys_are_random(void **state)
{
    static const unsigned char zeros[16];

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        for (size_t at = 0; at + 16 <= TLS_TICKET_KEY; at += 16)
            assert_memory_not_equal(keys[i] + at, zeros, 16);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(keys[i], keys[k], TLS_TICKET_KEY);
    }
}

/* ---- how long ---- */

static void test_a_session_ends_one_lifetime_after_its_full_handshake(void **state)
{
    struct tls_tickets *tickets = tickets_of(0);
    struct tls_context *server = listener("imap", tickets, TLS_CLIENT_OFF, "");

    (void)state;
    EACH_VERSION(version)
    {
        struct visit v = {.server = server, .version = version};

        later = 0;
        assert_false(visit(&v));
        later = LIFETIME / 2;
        assert_true(visit(&v));
        later = LIFETIME - 60;
        tls_tickets_set(tickets, keys + 1, LIFETIME);
        assert_true(visit(&v));
        /* Renewed, but not for longer. */
        assert_true(v.was_given_one);
        assert_true(SSL_SESSION_get_ticket_lifetime_hint(v.session) <= 60);
        later = LIFETIME + 60;
        SSL_SESSION_set_timeout(v.session, 10L * LIFETIME);
        assert_false(visit(&v));
        tls_tickets_set(tickets, keys, LIFETIME);
        leave(&v);
    }
    later = 0;
    tls_context_free(&server);
    tls_tickets_free(&tickets);
}

static void test_a_shorter_lifetime_counts_for_tickets_that_are_out(void **state)
{
    struct tls_tickets *tickets = tickets_of(0);
    struct visit v = {.server = listener("imap", tickets, TLS_CLIENT_OFF, ""),
                      .version = TLS1_3_VERSION};

    (void)state;
    assert_false(visit(&v));
    tls_tickets_set(tickets, keys, 60);
    later = 120;
    assert_false(visit(&v));
    later = 0;
    leave(&v);
    tls_context_free(&v.server);
    tls_tickets_free(&tickets);
}

static void test_a_clients_certificate_is_kept_and_must_not_have_expired(void **state)
{
    struct tls_tickets *tickets = tickets_of(0);
    struct tls_context *server = listener("imap", tickets, TLS_CLIENT_OPTIONAL, "");

    (void)state;
    tls_tickets_set(tickets, keys, 7 * 86400);
    EACH_VERSION(version)
    {
        struct visit v = {.server = server, .client = client_ann, .version = version};
        struct talk t;
        char subject[32];

        later = 0;
        assert_false(visit(&v));
        later = 4 * 86400;
        talk_begin(&t, server, client_ann, NULL);
        SSL_set_max_proto_version(t.c.tls, (long)version);
        assert_int_equal(SSL_set_session(t.c.tls, v.session), 1);
        talk_shake(&t);
        assert_talks(&t);
        assert_true(stream_tls_is_resumed(&t.s));
        assert_true(stream_tls_subject(&t.s, subject, sizeof subject));
        assert_string_equal(subject, "CN=ann");
        stream_finish(&t.c);
        talk_end(&t);
        later = 6 * 86400;
        v.client = client;
        assert_false(visit(&v));
        leave(&v);
    }
    later = 0;
    tls_context_free(&server);
    tls_tickets_free(&tickets);
}

/* Whether a client is let in that comes with the session of a visit. */
static bool is_let_in_again(const struct visit *v)
{
    struct talk t;
    bool is_in;

    talk_begin(&t, v->server, v->client, NULL);
    SSL_set_max_proto_version(t.c.tls, (long)v->version);
    assert_int_equal(SSL_set_session(t.c.tls, v->session), 1);
    talk_shake(&t);
    is_in = t.io_s == IO_OK;
    if (is_in)
        stream_finish(&t.c);
    talk_end(&t);
    return is_in;
}

static void test_no_ticket_leads_a_certificate_past_a_crl_that_is_out_of_date(void **state)
{
    struct tls_tickets *tickets = tickets_of(0);
    char *short_crl = crl_pem(&ca, NULL, 1);
    struct tls_context *server = listener("imap", tickets, TLS_CLIENT_OPTIONAL, short_crl);

    (void)state;
    tls_tickets_set(tickets, keys, 7 * 86400);
    EACH_VERSION(version)
    {
        struct visit with = {.server = server, .client = client_ann, .version = version};
        struct visit without = {.server = server, .client = client, .version = version};

        later = 0;
        assert_false(visit(&with));
        assert_true(visit(&with));
        assert_false(visit(&without));
        later = 2 * 86400;
        assert_false(is_let_in_again(&with));
        assert_true(visit(&without));
        leave(&with);
        leave(&without);
    }
    later = 0;
    free(short_crl);
    tls_context_free(&server);
    tls_tickets_free(&tickets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_is_resumed_for_the_same_name),
        cmocka_unit_test(test_a_name_is_the_same_in_any_case_and_rooted),
        cmocka_unit_test(test_another_name_is_a_full_handshake),
        cmocka_unit_test(test_contexts_of_one_listener_resume_each_others_sessions),
        cmocka_unit_test(test_another_listener_is_a_full_handshake),
        cmocka_unit_test(test_other_cas_or_crls_or_rules_are_a_full_handshake),
        cmocka_unit_test(
            test_a_session_without_a_certificate_does_not_open_a_listener_that_wants_one),
        cmocka_unit_test(test_a_key_is_taken_until_it_was_replaced_twice),
        cmocka_unit_test(test_the_ticket_of_a_worker_that_has_changed_keys_already_is_taken),
        cmocka_unit_test(test_a_ticket_is_renewed_when_it_must_be),
        cmocka_unit_test(test_a_ticket_that_was_tampered_with_is_a_full_handshake),
        cmocka_unit_test(test_without_keys_there_are_no_tickets),
        cmocka_unit_test(test_keys_are_random),
        cmocka_unit_test(test_a_session_ends_one_lifetime_after_its_full_handshake),
        cmocka_unit_test(test_a_shorter_lifetime_counts_for_tickets_that_are_out),
        cmocka_unit_test(test_a_clients_certificate_is_kept_and_must_not_have_expired),
        cmocka_unit_test(test_no_ticket_leads_a_certificate_past_a_crl_that_is_out_of_date),
    };

    return cmocka_run_group_tests(tests, make_all, free_all);
}
