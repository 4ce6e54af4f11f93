/* From the configuration to TLS contexts: which files are wanted, which backends share a context,
 * and whom an error names. */
#include "certs.h"
#include "conf_testing.h"
#include "no_memory.h"
#include "worker/tls_set.h"

#include <stdarg.h>

/* The C library asks for this memory itself. */
int __wrap_asprintf(char **out_text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

int __wrap_asprintf(char **out_text, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (memory_is_out())
        return -1;
    va_start(ap, fmt);
    n = vasprintf(out_text, fmt, ap);
    va_end(ap);
    return n;
}

static struct cert cert, other;
static char *cert_text, *key_text, *other_text, *other_key_text;

static int make_certificates(void **state)
{
    (void)state;
    cert = cert_make("a.example.org", "DNS:a.example.org", NULL, 9, NULL);
    other = cert_make("b.example.org", "DNS:b.example.org", NULL, 9, NULL);
    cert_text = cert_pem(&cert, NULL);
    key_text = key_pem(&cert, NULL);
    other_text = cert_pem(&other, NULL);
    other_key_text = key_pem(&other, NULL);
    return 0;
}

static int free_certificates(void **state)
{
    (void)state;
    cert_free(&cert);
    cert_free(&other);
    free(cert_text);
    free(key_text);
    free(other_text);
    free(other_key_text);
    return 0;
}

static struct slice find(const void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "/cert") == 0    ? slice_str(cert_text)
           : strcmp(name, "/key") == 0   ? slice_str(key_text)
           : strcmp(name, "/other") == 0 ? slice_str(other_text)
           : strcmp(name, "/okey") == 0  ? slice_str(other_key_text)
                                         : slice_of(NULL, 0);
}

static const struct tls_files files = {find, NULL};

#define ADDRESS  "address = \"127.0.0.1:0\" "
#define LISTENER "listener l { " ADDRESS "tls = off }\n"

/* --- names ------------------------------------------------------------------------------------ */

struct naming {
    const char *refused; /* NULL: none */
    char told[512];
};

static int on_name(void *arg, const char *name, struct err *err)
{
    struct naming *n = arg;

    if (n->refused && strcmp(name, n->refused) == 0)
        return err_set(err, 0, "%s is refused", name);
    snprintf(n->told + strlen(n->told), sizeof n->told - strlen(n->told), "%s ", name);
    return 0;
}

#define WITH_FILES                                                           \
    "tls { certificate = \"/cert\" key = \"/key\" }\n"                       \
    "certificate c { file = \"/other\" key = \"/okey\" }\n"                  \
    "listener l { " ADDRESS "tls = starttls client_certificate = optional\n" \
    "  client_ca = \"/cca\" client_crl = \"/crl\" }\n"                       \
    "listener clear { " ADDRESS "tls = off client_certificate = required "   \
    "client_ca = \"/not\" }\n"                                               \
    "pool main {\n"                                                          \
    "  backend b1 { address = \"x:1\" tls = implicit tls_ca = \"/bca\"\n"    \
    "    tls_certificate = \"/bcert\" tls_key = \"/bkey\" }\n"               \
    "  backend b2 { address = \"x:2\" tls = starttls }\n"                    \
    "  backend b3 { address = \"x:3\" tls = starttls tls_verify = no }\n"    \
    "  backend b4 { address = \"x:4\" tls = off tls_ca = \"/not\" } }\n"

static void test_each_file_that_is_needed_is_named(void **state)
{
    struct conf *conf = load(WITH_FILES);
    struct naming n = {0};
    struct err err;

    (void)state;
    assert_int_equal(tls_set_names(conf, on_name, &n, &err), 0);
    assert_string_equal(
        n.told, "/cert /key /other /okey /cca /crl /bca /bcert /bkey " TLS_SET_SYSTEM_CA " ");
    conf_free(&conf);
}

static void test_without_tls_no_file_is_named(void **state)
{
    struct conf *conf = load("tls { certificate = \"/cert\" key = \"/key\" }\n" LISTENER GOOD_POOL);
    struct naming n = {0};
    struct err err;

    (void)state;
    assert_int_equal(tls_set_names(conf, on_name, &n, &err), 0);
    assert_string_equal(n.told, "");
    conf_free(&conf);
}

static void test_naming_ends_with_the_section_whose_file_is_refused(void **state)
{
    static const struct {
        const char *name, *text;
    } rows[] = {
        {"/key", "/key is refused"},
        {"/okey", "certificate c: /okey is refused"},
        {"/crl", "listener l: /crl is refused"},
        {"/bkey", "backend b1: /bkey is refused"},
        {TLS_SET_SYSTEM_CA, "backend b2: " TLS_SET_SYSTEM_CA " is refused"},
    };
    struct conf *conf = load(WITH_FILES);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct naming n = {.refused = rows[i].name};
        struct err err = {0};

        assert_int_equal(tls_set_names(conf, on_name, &n, &err), -1);
        assert_string_equal(err.text, rows[i].text);
    }
    conf_free(&conf);
}

/* --- sharing ---------------------------------------------------------------------------------- */

#define TRUST "tls = implicit tls_ca = \"/cert\" "

static void test_backends_share_a_context_only_where_nothing_of_tls_differs(void **state)
{
    static const char *const different[] = {
        "tls_verify = no",
        "tls_ca = \"/other\"",
        "tls_min_version = 1.3",
        "tls_ciphers = \"ECDHE-ECDSA-AES128-GCM-SHA256\"",
        "tls_ciphersuites = \"TLS_AES_128_GCM_SHA256\"",
        "tls_certificate = \"/cert\" tls_key = \"/key\"",
    };

    (void)state;
    for (size_t i = 0; i < sizeof different / sizeof *different; i++) {
        char text[1024];
        struct conf *conf;
        struct tls_set *set;
        struct err err = {0};

        snprintf(text, sizeof text,
                 LISTENER "pool main { backend b1 { address = \"x:1\" " TRUST "}\n"
                          "backend b2 { address = \"y:2\" " TRUST "tls_name = \"z\" }\n"
                          "backend b3 { address = \"x:3\" tls = starttls tls_ca = \"/cert\"\n%s }\n"
                          "backend b4 { address = \"x:4\" tls = off } }\n",
                 different[i]);
        conf = load(text);
        if (tls_set_new(conf, &files, NULL, &set, NULL, &err) < 0)
            fail_msg("%s: %s", different[i], err.text);
        assert_non_null(tls_set_backend(set, 0, 0));
        assert_ptr_equal(tls_set_backend(set, 0, 0), tls_set_backend(set, 0, 1));
        assert_non_null(tls_set_backend(set, 0, 2));
        if (tls_set_backend(set, 0, 0) == tls_set_backend(set, 0, 2))
            fail_msg("%s makes no difference", different[i]);
        assert_null(tls_set_backend(set, 0, 3));
        assert_null(tls_set_listener(set, 0));
        tls_set_free(&set);
        assert_null(set);
        tls_set_free(&set); /* harmless */
        conf_free(&conf);
    }
}

/* The same certificate with another file for its key: which one is shown as a pair matters. */
static void test_backends_that_know_us_by_another_key_file_have_a_context_of_their_own(void **state)
{
    struct conf *conf = load(LISTENER "pool main { backend b1 { address = \"x:1\" " TRUST
                                      "tls_certificate = \"/cert\" tls_key = \"/key\" }\n"
                                      "backend b2 { address = \"x:2\" " TRUST
                                      "tls_certificate = \"/cert\" tls_key = \"/okey\" } }\n");
    const struct conf_where *where = NULL;
    struct tls_set *set;
    struct err err = {0};

    (void)state;
    assert_int_equal(tls_set_new(conf, &files, NULL, &set, &where, &err), -1);
    assert_non_null(strstr(err.text, "backend b2: "));
    assert_non_null(strstr(err.text, "/cert with the key /okey"));
    assert_ptr_equal(where, &conf->pools[0].backends[1].where);
    conf_free(&conf);
}

/* --- errors ----------------------------------------------------------------------------------- */

static void test_an_error_names_its_section(void **state)
{
    static const struct {
        const char *text, *words;
        unsigned line;
    } rows[] = {
        {LISTENER "pool main { backend b1 { address = \"x:1\" tls = implicit } }\n",
         "backend b1: there is no CA certificate in " TLS_SET_SYSTEM_CA, 2},
        {LISTENER "pool main {\nbackend b1 { address = \"x:1\" tls = implicit "
                  "tls_ca = \"/nothing\" } }\n",
         "backend b1: there is no CA certificate in /nothing", 3},
        {"tls { certificate = \"/cert\" key = \"/okey\" }\n"
         "listener l { " ADDRESS "tls = off }\n"
         "listener m { " ADDRESS "tls = implicit }\n"
         "listener n { " ADDRESS "tls = implicit }\n" GOOD_POOL,
         "listener m: /cert with the key /okey", 3},
        {"tls { certificate = \"/cert\" key = \"/key\" }\n"
         "certificate c { file = \"/other\" key = \"/key\" }\n"
         "listener l { " ADDRESS "tls = implicit }\n" GOOD_POOL,
         "listener l: /other with the key /key", 3},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct conf *conf = load(rows[i].text);
        const struct conf_where *where = NULL;
        struct tls_set *set = NULL;
        struct err err = {0};

        assert_int_equal(tls_set_new(conf, &files, NULL, &set, &where, &err), -1);
        if (!strstr(err.text, rows[i].words))
            fail_msg("\"%s\" does not say \"%s\"", err.text, rows[i].words);
        assert_null(set);
        assert_non_null(where);
        assert_int_equal(where->line, rows[i].line);
        assert_int_equal(tls_set_new(conf, &files, NULL, &set, NULL, &err), -1);
        conf_free(&conf);
    }
}

static void test_want_of_memory_is_told_wherever_it_is(void **state)
{
    struct conf *conf = load("tls { certificate = \"/cert\" key = \"/key\" }\n"
                             "certificate c { file = \"/other\" key = \"/okey\" }\n"
                             "listener l { " ADDRESS "tls = implicit }\n"
                             "pool main { backend b1 { address = \"x:1\" " TRUST "} }\n"
                             "pool more { backend b2 { address = \"x:2\" " TRUST
                             "tls_certificate = \"/cert\" tls_key = \"/key\" } }\n");
    struct tls_set *set;
    size_t requests;

    (void)state;
    memory.n = memory.fails_at = 0;
    memory.is_on = true;
    assert_int_equal(tls_set_new(conf, &files, NULL, &set, NULL, NULL), 0);
    memory.is_on = false;
    tls_set_free(&set);
    requests = memory.n;
    assert_in_range(requests, 8, 1000);
    for (size_t at = 1; at <= requests; at++) {
        struct err err = {0};
        int done;

        memory.n = 0;
        memory.fails_at = at;
        memory.is_on = true;
        done = tls_set_new(conf, &files, NULL, &set, NULL, &err);
        memory.is_on = false;
        assert_int_equal(done, -1);
        if (!strstr(err.text, "memory"))
            fail_msg("request %zu: %s", at, err.text);
    }
    conf_free(&conf);
}

#define T(test) cmocka_unit_test(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_each_file_that_is_needed_is_named),
        T(test_without_tls_no_file_is_named),
        T(test_naming_ends_with_the_section_whose_file_is_refused),
        T(test_backends_share_a_context_only_where_nothing_of_tls_differs),
        T(test_backends_that_know_us_by_another_key_file_have_a_context_of_their_own),
        T(test_an_error_names_its_section),
        T(test_want_of_memory_is_told_wherever_it_is),
    };

    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
