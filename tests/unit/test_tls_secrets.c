/* Passwords pass through OpenSSL's memory: none of it may hold one once it was read or written. All
 * of its memory is taken from here, so that it can be looked through, also what is given back. */
#include "tls_talk.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* In front of each block. */
struct block {
    struct block *next, *prev;
    size_t n, filler;
};

static struct block all = {.next = &all, .prev = &all};
static const char *secret; /* NULL: nobody looks */
static unsigned found_freed;

static bool has_secret(const struct block *b)
{
    return memmem(b + 1, b->n, secret, strlen(secret)) != NULL;
}

static void *take(size_t n, const char *file, int line)
{
    struct block *b = malloc(sizeof *b + n);

    (void)file;
    (void)line;
    if (!b)
        return NULL;
    *b = (struct block){.next = all.next, .prev = &all, .n = n};
    b->next->prev = all.next = b;
    /* Memory of earlier owners is not what is looked for. */
    memset(b + 1, 0, n);
    return b + 1;
}

static void give_back(void *p, const char *file, int line)
{
    struct block *b;

    (void)file;
    (void)line;
    if (!p)
        return;
    b = (struct block *)p - 1;
    found_freed += secret && has_secret(b);
    b->next->prev = b->prev;
    b->prev->next = b->next;
    free(b);
}

static void *take_again(void *p, size_t n, const char *file, int line)
{
    void *new = take(n, file, line);

    if (p && new) {
        size_t old = ((struct block *)p - 1)->n;

        memcpy(new, p, old < n ? old : n);
        give_back(p, file, line);
    }
    return new;
}

/* How many blocks that are in use hold the secret. */
static unsigned found_in_use(void)
{
    unsigned found = 0;

    for (struct block *b = all.next; b != &all; b = b->next)
        found += has_secret(b);
    return found;
}

static struct cert mail;
static struct tls_context *server, *client;

static int make_all(void **state)
{
    struct owned_identity o;

    (void)state;
    mail = cert_make("mail", "DNS:mail.example.org", NULL, 9, NULL);
    o = identity_of(&mail, NULL, "mail");
    server = server_made(&(struct tls_server_params){
        .listener = "imap", .identities = &o.identity, .identities_n = 1});
    client = any_client();
    identity_done(&o);
    return 0;
}

static int free_all(void **state)
{
    (void)state;
    cert_free(&mail);
    tls_context_free(&server);
    tls_context_free(&client);
    return 0;
}

static const char login[] = "a1 LOGIN ann nobody-shall-ever-find-this\r\n";

static void look_for_the_password(void)
{
    secret = "nobody-shall-ever-find-this";
    found_freed = 0;
}

/* The login goes from the client to the server. */
static void pass(struct talk *t, int version)
{
    size_t n;

    talk_begin(t, server, client, NULL);
    SSL_set_max_proto_version(t->c.tls, version);
    talk_shake(t);
    assert_talks(t);
    assert_int_equal(stream_write(&t->c, SLICE(login), &n), IO_OK);
    assert_int_equal(n, sizeof login - 1);
}

static void test_nothing_is_left_of_what_was_read_and_written(void **state)
{
    (void)state;
    for (int v = TLS1_2_VERSION; v <= TLS1_3_VERSION; v++) {
        char got[sizeof login];
        struct talk t;
        size_t n;

        look_for_the_password();
        pass(&t, v);
        assert_int_equal(found_in_use(), 0);
        assert_int_equal(stream_read(&t.s, got, sizeof got, &n), IO_OK);
        assert_int_equal(n, sizeof login - 1);
        assert_int_equal(found_in_use(), 0);
        assert_int_equal(stream_read(&t.s, got, sizeof got, &n), IO_AGAIN);
        talk_end(&t);
        assert_int_equal(found_freed, 0);
        secret = NULL;
    }
}

static void test_what_was_read_in_part_is_wiped_with_the_connection(void **state)
{
    char got[4];
    struct talk t;
    size_t n;

    (void)state;
    look_for_the_password();
    pass(&t, TLS1_3_VERSION);
    assert_int_equal(stream_read(&t.s, got, sizeof got, &n), IO_OK);
    /* It waits to be read. */
    assert_int_equal(found_in_use(), 1);
    talk_end(&t);
    assert_int_equal(found_freed, 0);
    secret = NULL;
}

static void test_a_write_that_waits_is_sealed_already(void **state)
{
    static char many[100000];
    struct talk t;
    size_t n, total = 0;

    (void)state;
    for (size_t i = 0; i + sizeof login < sizeof many; i += sizeof login)
        memcpy(many + i, login, sizeof login);
    look_for_the_password();
    pass(&t, TLS1_3_VERSION);
    while (stream_write(&t.c, slice_of(many, sizeof many), &n) == IO_OK)
        total += n;
    assert_true(total > 0);
    assert_int_equal(found_in_use(), 0);
    talk_end(&t);
    assert_int_equal(found_freed, 0);
    secret = NULL;
}

/* Else the tests above would prove nothing. */
static void test_without_wiping_it_stays(void **state)
{
    char got[sizeof login];
    struct talk t;
    size_t n;

    (void)state;
    look_for_the_password();
    pass(&t, TLS1_3_VERSION);
    stream_tls_cleanse(&t.s, false);
    assert_int_equal(stream_read(&t.s, got, sizeof got, &n), IO_OK);
    talk_end(&t);
    assert_int_equal(found_freed, 1);

    look_for_the_password();
    pass(&t, TLS1_3_VERSION);
    stream_tls_cleanse(&t.s, false);
    stream_tls_cleanse(&t.s, true);
    assert_int_equal(stream_read(&t.s, got, sizeof got, &n), IO_OK);
    talk_end(&t);
    assert_int_equal(found_freed, 0);
    secret = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_left_of_what_was_read_and_written),
        cmocka_unit_test(test_what_was_read_in_part_is_wiped_with_the_connection),
        cmocka_unit_test(test_a_write_that_waits_is_sealed_already),
        cmocka_unit_test(test_without_wiping_it_stays),
    };

    if (CRYPTO_set_mem_functions(take, take_again, give_back) != 1)
        return 1;
    return cmocka_run_group_tests(tests, make_all, free_all);
}
