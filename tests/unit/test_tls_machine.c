/* What the machine's openssl.cnf forbids stays forbidden. OpenSSL reads that file once a process,
 * so each of these tests is a process of its own. */
#include "tls_talk.h"

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char form[] = "openssl_conf = all\n"
                           "[all]\nssl_conf = ssl\n"
                           "[ssl]\nsystem_default = ours\n"
                           "[ours]\n%s\n";

/* A listener under a policy: "ok", or the words of its error; then a connection of a client with
 * that policy too, and the suite and version that they agree on. Written to `out`. */
static void tell(const struct tls_policy *policy, EVP_PKEY *key, FILE *out)
{
    struct cert c = cert_make("mail", "DNS:mail.example.org", NULL, 9, key);
    struct owned_identity o = identity_of(&c, NULL, "mail");
    struct tls_context *server = NULL, *client = NULL;
    struct err err = {0};
    struct talk t;

    if (tls_server_new(&(struct tls_server_params){.listener = "imap",
                                                   .policy = *policy,
                                                   .identities = &o.identity,
                                                   .identities_n = 1},
                       &server, &err) != 0 ||
        tls_client_new(&(struct tls_client_params){.policy = *policy}, &client, &err) != 0) {
        fprintf(out, "%s", err.text);
    } else {
        talk_begin(&t, server, client, NULL);
        talk_shake(&t);
        fprintf(out, "%s %s", stream_tls_version(&t.s),
                t.io_s == IO_OK ? SSL_get_cipher_name(t.s.tls) : "none");
        talk_end(&t);
    }
    tls_context_free(&server);
    tls_context_free(&client);
    identity_done(&o);
    cert_free(&c);
}

/* What tell() says on a machine with these settings. */
static void assert_told(const char *settings, struct tls_policy policy, bool is_rsa,
                        const char *words)
{
    char conf[] = "/tmp/usher-test-XXXXXX", text[600] = "";
    int fds[2], fd = mkstemp(conf), status;
    ssize_t n;
    pid_t pid;

    assert_true(fd >= 0);
    assert_true(dprintf(fd, form, settings) > 0);
    close(fd);
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        FILE *out = fdopen(fds[1], "w");

        close(fds[0]);
        if (!out || setenv("OPENSSL_CONF", conf, 1) != 0)
            _exit(1);
        tell(&policy, is_rsa ? EVP_RSA_gen(2048) : NULL, out);
        fclose(out);
        exit(0);
    }
    close(fds[1]);
    n = read(fds[0], text, sizeof text - 1);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    unlink(conf);
    assert_int_equal(status, 0);
    assert_true(n >= 0);
    assert_string_equal(text, words);
}

#define OURS     ((struct tls_policy){0})
#define ONLY_1_3 ((struct tls_policy){.min_version = TLS_MIN_1_3})

static void test_a_machine_without_rules_gets_ours(void **state)
{
    (void)state;
    assert_told("", OURS, false, "TLSv1.3 TLS_AES_256_GCM_SHA384");
    assert_told("MinProtocol = TLSv1\nCipherString = ALL:@SECLEVEL=0\nMaxProtocol = TLSv1.2", OURS,
                false, "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384");
}

static void test_a_level_that_is_higher_stays(void **state)
{
    (void)state;
    assert_told("CipherString = DEFAULT@SECLEVEL=3", OURS, true, "mail: ee key too small");
    assert_told("CipherString = DEFAULT@SECLEVEL=0", OURS, true, "TLSv1.3 TLS_AES_256_GCM_SHA384");
    assert_told("CipherString = DEFAULT@SECLEVEL=3",
                (struct tls_policy){.ciphers = "HIGH:@SECLEVEL=2"}, false,
                "ciphers: @SECLEVEL below 3 is not taken");
}

static void test_a_version_that_is_higher_stays(void **state)
{
    (void)state;
    assert_told("MinProtocol = TLSv1.3", OURS, false, "TLSv1.3 TLS_AES_256_GCM_SHA384");
    assert_told("MinProtocol = TLSv1.3\nCipherString = AES128-SHA", OURS, false,
                "TLSv1.3 TLS_AES_256_GCM_SHA384");
}

static void test_versions_that_exclude_each_other_are_an_error(void **state)
{
    (void)state;
    assert_told("MaxProtocol = TLSv1.2", ONLY_1_3, false,
                "openssl.cnf of this machine does not allow TLS 1.3");
    assert_told("MaxProtocol = TLSv1.1", OURS, false,
                "openssl.cnf of this machine does not allow TLS 1.2");
}

static void test_of_the_machines_suites_the_good_ones_are_left(void **state)
{
    (void)state;
    assert_told("MaxProtocol = TLSv1.2\n"
                "CipherString = ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
                OURS, false, "TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256");
    assert_told("Ciphersuites = TLS_CHACHA20_POLY1305_SHA256", OURS, false,
                "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256");
    assert_told("CipherString = ECDHE-ECDSA-AES256-SHA384", OURS, false,
                "openssl.cnf of this machine leaves no suite of TLS 1.2 with forward secrecy and "
                "authenticated encryption; name some, or ask for TLS 1.3");
    assert_told("CipherString = ECDHE-ECDSA-AES256-SHA384", ONLY_1_3, false,
                "TLSv1.3 TLS_AES_256_GCM_SHA384");
}

static void test_suites_that_the_operator_names_count_for_more(void **state)
{
    (void)state;
    assert_told("MaxProtocol = TLSv1.2\nCipherString = ECDHE-ECDSA-AES256-GCM-SHA384",
                (struct tls_policy){.ciphers = "ECDHE-ECDSA-AES128-SHA256"}, false,
                "TLSv1.2 ECDHE-ECDSA-AES128-SHA256");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_machine_without_rules_gets_ours),
        cmocka_unit_test(test_a_level_that_is_higher_stays),
        cmocka_unit_test(test_a_version_that_is_higher_stays),
        cmocka_unit_test(test_versions_that_exclude_each_other_are_an_error),
        cmocka_unit_test(test_of_the_machines_suites_the_good_ones_are_left),
        cmocka_unit_test(test_suites_that_the_operator_names_count_for_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
