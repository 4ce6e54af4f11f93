/* What is said of certificates, at times of our choice. (What `usher check` says of real files is
 * tests/integration/test_check_tls.py's.) */
#include "certs.h"
#include "conf_testing.h"
#include "parent/certificates.h"

#include <time.h>

enum { DAY = 24 * 60 * 60, TOLD_MOST = 8 };

#define WITH_TLS                                                 \
    GOOD_POOL "tls { certificate = \"/cert\" key = \"/key\" }\n" \
              "listener l { address = \"127.0.0.1:0\"\n server_names = {a.example.org} }\n"

static struct conf *conf;
static struct given_file all[2];
static struct files files = {.all = all};

struct findings {
    unsigned n, mistakes;
    char texts[TOLD_MOST][640];
    unsigned lines[TOLD_MOST];
};

static void on_finding(void *arg, const struct certificates_finding *finding)
{
    struct findings *f = arg;

    assert_true(f->n < TOLD_MOST);
    f->mistakes += finding->is_mistake;
    f->lines[f->n] = finding->where ? finding->where->line : 0;
    snprintf(f->texts[f->n++], sizeof f->texts[0], "%s", finding->text);
}

/* Takes over the text. */
static void give(const char *name, char *pem)
{
    all[files.n++] = (struct given_file){(char *)(uintptr_t)name, -1, pem, strlen(pem)};
}

/* A certificate for a.example.org that ends in `days`, as the only one of the configuration. */
static int64_t begin(int days)
{
    struct cert c = cert_make("a.example.org", "DNS:a.example.org", NULL, days, NULL);
    struct tm tm;

    assert_int_equal(ASN1_TIME_to_tm(X509_get0_notAfter(c.x509), &tm), 1);
    conf = load(WITH_TLS);
    give("/cert", cert_pem(&c, NULL));
    give("/key", key_pem(&c, NULL));
    cert_free(&c);
    return timegm(&tm);
}

static int end(void **state)
{
    (void)state;
    for (size_t i = 0; i < files.n; i++)
        free(all[i].data);
    files.n = 0;
    conf_free(&conf);
    return 0;
}

/* The one doubt that arises at `now`, or "". */
static const char *doubt_at(int64_t now, int64_t *out_next)
{
    static struct findings f;

    memset(&f, 0, sizeof f);
    *out_next = certificates_look(conf, &files, now, on_finding, &f);
    assert_int_equal(f.mistakes, 0);
    assert_true(f.n <= 1);
    return f.n ? f.texts[0] : "";
}

static void assert_says(const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("\"%s\" does not say \"%s\"", text, words);
}

static void test_doubts_arise_when_they_are_said_to(void **state)
{
    const int64_t ends = begin(60);
    int64_t now = ends - 60 * DAY, next;

    (void)state;
    assert_string_equal(doubt_at(now, &next), "");
    assert_int_equal(next, ends - 14 * DAY);
    assert_string_equal(doubt_at(next - 1, &now), "");
    assert_int_equal(now, next);
    assert_says(doubt_at(now, &next), "within 14 days");
    assert_int_equal(next, ends + 1);
    assert_says(doubt_at(ends - DAY, &next), "within 1 day");
    assert_says(doubt_at(ends, &next), "within 1 day");
    assert_says(doubt_at(ends + 1, &next), "/cert expired on ");
    assert_int_equal(next, INT64_MAX);
    assert_says(doubt_at(ends - 365 * (int64_t)DAY, &next), "is not valid before");
}

static void test_all_doubts_are_told_when_there_is_no_mistake(void **state)
{
    const int64_t ends = begin(60);
    struct findings f = {0};

    (void)state;
    conf_free(&conf);
    conf = load(WITH_TLS "listener m { address = \"127.0.0.1:0\"\n"
                         "server_names = {b.example.org} }\n");
    assert_int_equal(certificates_check(conf, &files, ends + 1, on_finding, &f), 0);
    assert_int_equal(f.n, 2);
    assert_says(f.texts[0], "expired");
    assert_int_equal(f.lines[0], 2);
    assert_says(f.texts[1], "listener m: no certificate is for b.example.org");
    assert_int_equal(f.lines[1], 6);
}

static void test_a_mistake_is_told_alone(void **state)
{
    const int64_t ends = begin(60);
    struct findings f = {0};
    struct cert other = cert_make("b.example.org", "DNS:b.example.org", NULL, 9, NULL);

    (void)state;
    free(all[1].data);
    files.n = 1;
    give("/key", key_pem(&other, NULL));
    cert_free(&other);
    assert_int_equal(certificates_check(conf, &files, ends + 1, on_finding, &f), 1);
    assert_int_equal(f.n, 1);
    assert_int_equal(f.mistakes, 1);
    assert_int_equal(f.lines[0], 2);
    assert_says(f.texts[0], "/cert with the key /key");
}

static void test_a_file_that_was_not_given_is_a_mistake(void **state)
{
    struct findings f = {0};

    (void)state;
    (void)begin(60);
    free(all[1].data);
    files.n = 1;
    assert_int_equal(certificates_check(conf, &files, time(NULL), on_finding, &f), 1);
    assert_says(f.texts[0], "/key");
}

static void test_without_tls_there_is_nothing_to_say(void **state)
{
    struct findings f = {0};
    int64_t next;

    (void)state;
    conf = load(GOOD_LISTENER GOOD_POOL);
    assert_int_equal(certificates_check(conf, &files, time(NULL), on_finding, &f), 0);
    assert_int_equal(f.n, 0);
    assert_string_equal(doubt_at(time(NULL), &next), "");
    assert_int_equal(next, INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_doubts_arise_when_they_are_said_to, end),
        cmocka_unit_test_teardown(test_all_doubts_are_told_when_there_is_no_mistake, end),
        cmocka_unit_test_teardown(test_a_mistake_is_told_alone, end),
        cmocka_unit_test_teardown(test_a_file_that_was_not_given_is_a_mistake, end),
        cmocka_unit_test_teardown(test_without_tls_there_is_nothing_to_say, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
