/* Probes within TLS: the checks are those of a session, and what is wrong is told as there. */
#include "worker_probes.h"

#include "base/base64.h"
#include "certs.h"

#include <openssl/sha.h>

/* --- a backend that speaks TLS ---------------------------------------------------------------- */

static struct stream server;

static void on_nothing(struct watch *w, unsigned events)
{
    (void)w;
    (void)events;
}

static bool is_shaken(void *arg)
{
    *(enum io *)arg = stream_handshake(&server);
    return *(enum io *)arg != IO_AGAIN;
}

/* Shows this certificate on the connection that was accepted. What came of it on our side does not
 * count: who refuses a certificate hears so at last. */
static void shakes_hands(const struct cert *cert)
{
    char *pem = cert_pem(cert, NULL), *key = key_pem(cert, NULL);
    const struct tls_identity identity = {"cert", slice_str(pem), slice_str(key)};
    const struct tls_server_params params = {
        .listener = "b", .identities = &identity, .identities_n = 1};
    struct tls_context *ctx;
    struct err err;
    enum io io;

    assert_int_equal(tls_server_new(&params, &ctx, &err), 0);
    stream_init(&server, backend.fd, on_nothing);
    assert_int_equal(stream_tls_accept(&server, ctx, &err), 0);
    assert_true(turns_until(is_shaken, &io));
    tls_context_free(&ctx);
    free(pem);
    free(key);
}

static void says_within(const char *text)
{
    size_t n;

    assert_int_equal(stream_write(&server, slice_str(text), &n), IO_OK);
    assert_int_equal(n, strlen(text));
}

static bool is_heard_within(void *arg)
{
    size_t n;

    while (stream_read(&server, backend.got + backend.n, sizeof backend.got - 1 - backend.n, &n) ==
           IO_OK)
        backend.n += n;
    backend.got[backend.n] = '\0';
    return strcmp(backend.got + backend.at, arg) == 0;
}

static void hears_within(const char *words)
{
    if (!turns_until(is_heard_within, (void *)(uintptr_t)words))
        fail_msg("\"%s\" is not \"%s\"", backend.got + backend.at, words);
    backend.at = backend.n;
}

static void hangs_up(void)
{
    stream_close(world.child.loop, &server);
    backend.fd = -1;
}

static void is_reached(uint32_t id)
{
    order_probe(id);
    backend_accepts(&backend);
}

/* --- certificates ----------------------------------------------------------------------------- */

/* The backend's name, from its address, is b1.test. */
static struct cert good_cert(void)
{
    return cert_make("b1.test", "DNS:b1.test", NULL, 9, NULL);
}

static void trusts(const struct cert *cert)
{
    give_file("/ca", cert_pem(cert, NULL));
}

static const char *pin_of(const struct cert *cert, char out[BASE64_LEN(32) + 1])
{
    unsigned char *der = NULL, digest[32];
    int n = i2d_PUBKEY(cert->key, &der);

    assert_true(n > 0);
    SHA256(der, (size_t)n, digest);
    OPENSSL_free(der);
    base64_encode(slice_of(digest, sizeof digest), out);
    out[BASE64_LEN(32)] = '\0';
    return out;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void test_implicit_tls_is_shaken_before_the_greeting(void **state)
{
    struct cert cert = good_cert();

    (void)state;
    trusts(&cert);
    begin_pool("", "", "check = greeting", "tls = implicit tls_ca = \"/ca\"");
    is_reached(7);
    shakes_hands(&cert);
    says_within(HELLO);
    hears_within("U1 LOGOUT\r\n");
    assert_good(7);
    hangs_up();
    cert_free(&cert);
    all_done();
}

static void test_tcp_ends_with_implicit_tls_behind_the_handshake(void **state)
{
    struct cert cert = good_cert(), other = good_cert();

    (void)state;
    trusts(&cert);
    begin_pool("", "", "check = tcp", "tls = implicit tls_ca = \"/ca\"");
    is_reached(7);
    shakes_hands(&cert);
    assert_good(7);
    hangs_up();
    is_reached(8);
    shakes_hands(&other);
    assert_bad(8, FAULT_BACKEND,
               "tls: TLS: the peer's certificate does not pass: self-signed certificate");
    hangs_up();
    cert_free(&cert);
    cert_free(&other);
    all_done();
}

static bool has_bytes(void *arg)
{
    peer_read(&backend);
    return backend.n >= *(size_t *)arg;
}

static void test_the_header_stands_before_tls(void **state)
{
    size_t n = 17;

    (void)state;
    begin_pool("", "", "check = greeting", "tls = implicit tls_verify = no proxy = v2");
    is_reached(7);
    assert_true(turns_until(has_bytes, &n));
    assert_memory_equal(backend.got, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16);
    /* A record of type handshake. */
    assert_int_equal(backend.got[16], 0x16);
    peer_reset(&backend);
    assert_bad(7, FAULT_BACKEND, "tls: Connection reset by peer");
    all_done();
}

static void test_starttls_comes_before_capabilities_and_login(void **state)
{
    struct cert cert = good_cert();

    (void)state;
    trusts(&cert);
    give_file("/password", strdup("secret\n"));
    begin_pool("", "", LOGIN, "tls = starttls tls_ca = \"/ca\"");
    is_reached(7);
    says(&backend, "* OK [CAPABILITY IMAP4rev1 STARTTLS] Hi\r\n");
    hears(&backend, "U1 STARTTLS\r\n");
    says(&backend, "U1 OK Go\r\n");
    shakes_hands(&cert);
    hears_within("U2 CAPABILITY\r\n");
    says_within("* CAPABILITY IMAP4rev1\r\nU2 OK Done\r\n");
    hears_within("U3 LOGIN \"ann\" \"secret\"\r\n");
    says_within("U3 OK [CAPABILITY IMAP4rev1] In\r\n");
    hears_within("U4 NOOP\r\n");
    says_within("U4 OK Nothing\r\n");
    hears_within("U5 LOGOUT\r\n");
    assert_good(7);
    hangs_up();
    cert_free(&cert);
    all_done();
}

static void test_certificates_that_do_not_pass(void **state)
{
    struct cert ca = cert_make("CA", NULL, NULL, 9, NULL);
    struct {
        struct cert cert;
        const char *words;
    } rows[] = {
        {cert_make("b1.test", "DNS:b1.test", NULL, 9, NULL), "self-signed certificate"},
        {cert_make("b1.test", "DNS:b2.test", &ca, 9, NULL), "hostname mismatch"},
        {cert_make("b1.test", "DNS:b1.test", &ca, -1, NULL), "certificate has expired"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char words[256];

        trusts(&ca);
        give_file("/password", strdup("secret\n"));
        begin_pool("", "", LOGIN, "tls = starttls tls_ca = \"/ca\"");
        is_reached(7);
        says(&backend, "* OK Hi\r\n");
        hears(&backend, "U1 STARTTLS\r\n");
        says(&backend, "U1 OK Go\r\n");
        shakes_hands(&rows[i].cert);
        snprintf(words, sizeof words, "tls: TLS: the peer's certificate does not pass: %s",
                 rows[i].words);
        assert_bad(7, FAULT_BACKEND, words);
        hangs_up();
        cert_free(&rows[i].cert);
        all_done();
    }
    cert_free(&ca);
}

static void test_a_key_is_compared_with_the_pins(void **state)
{
    struct cert cert = good_cert(), other = good_cert();
    char settings[256], pin[BASE64_LEN(32) + 1], words[256];

    (void)state;
    snprintf(settings, sizeof settings, "tls = implicit tls_pin = {\"%s\"}", pin_of(&cert, pin));
    begin_pool("", "", "check = greeting", settings);
    is_reached(7);
    shakes_hands(&cert);
    says_within(HELLO);
    assert_good(7);
    hangs_up();
    is_reached(8);
    shakes_hands(&other);
    snprintf(words, sizeof words, "tls: the backend's key is %s, which is not in tls_pin",
             pin_of(&other, pin));
    assert_bad(8, FAULT_BACKEND, words);
    hangs_up();
    cert_free(&cert);
    cert_free(&other);
    all_done();
}

static void test_what_a_backend_does_in_place_of_a_handshake(void **state)
{
    (void)state;
    begin_pool("", "", "check = tcp check_timeout = 200ms", "tls = implicit tls_verify = no");
    is_reached(7);
    assert_bad(7, FAULT_BACKEND, "tls: no answer within check_timeout");
    peer_close(&backend);
    is_reached(8);
    says(&backend, "* OK in clear\r\n");
    assert_bad(8, FAULT_BACKEND,
               "tls: TLS: what the peer speaks here does not look like TLS: wrong version number");
    peer_close(&backend);
    all_done();
}

/* A certificate that is renewed holds for the next probe. */
static void test_renewed_files_are_believed(void **state)
{
    struct cert old = good_cert(), new = good_cert();
    const struct msg renew = {.type = MSG_RENEW, .fd = -1};

    (void)state;
    trusts(&old);
    begin_pool("", "", "check = tcp", "tls = implicit tls_ca = \"/ca\"");
    trusts(&new);
    is_reached(7);
    /* Under way by now, with what it began with. */
    shakes_hands(&old);
    assert_good(7);
    hangs_up();
    worker_role.on_message(&world.child, &renew);
    is_reached(8);
    shakes_hands(&new);
    assert_good(8);
    hangs_up();
    cert_free(&old);
    cert_free(&new);
    all_done();
}

#define T(test) cmocka_unit_test(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_implicit_tls_is_shaken_before_the_greeting),
        T(test_tcp_ends_with_implicit_tls_behind_the_handshake),
        T(test_the_header_stands_before_tls),
        T(test_starttls_comes_before_capabilities_and_login),
        T(test_certificates_that_do_not_pass),
        T(test_a_key_is_compared_with_the_pins),
        T(test_what_a_backend_does_in_place_of_a_handshake),
        T(test_renewed_files_are_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
