/* What facts mean in a configuration: control/facts_use.h. */
#include "control/facts_use.h"

#include "cm.h"

#include <string.h>

static const char conf_text[] = "listener imap { address = \"*:1\" }\n"
                                "pool main { tags = { staff, old }\n"
                                "  backend m1 { address = \"192.0.2.1:10143\" }\n"
                                "  backend m2 { address = \"mail.test:10143\" tls = starttls }\n"
                                "  backend m3 { address = \"mail.test:10144\" tls = implicit } }\n"
                                "pool other { tags = { guests, old }\n"
                                "  backend o1 { address = \"[2001:db8::1]:10143\" }\n"
                                "  backend o2 { address = \"mail.test:10143\" } }\n";

enum { MAIN, OTHER };

static struct conf *conf;
static struct backends backends;

static int set_up(void **state)
{
    struct err err;

    (void)state;
    if (conf_load_text(conf_text, "test", &conf, &err) < 0 ||
        backends_init(&backends, conf, &err) < 0)
        fail_msg("%s", err.text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    backends_done(&backends);
    conf_free(&conf);
    return 0;
}

/* "pool/backend how", or the error's text; for a listener of `pool`. */
static const char *used(uint16_t pool, const char *text)
{
    static char out[sizeof(struct err)];
    struct facts_use use;
    struct facts facts;
    struct err err;

    if (facts_parse_wire(slice_str(text), &facts, &err) < 0)
        fail_msg("%s", err.text);
    if (facts_use(&backends, &facts, pool, &use, &err) < 0)
        snprintf(out, sizeof out, "%s", err.text);
    else
        snprintf(out, sizeof out, "%s/%s %s", conf->pools[use.pool].title,
                 use.backend == BACKEND_NONE ? "" : backends_title(&backends, use.backend),
                 use.how ? use.how : "-");
    return out;
}

struct row {
    uint16_t pool;
    const char *facts, *want;
};

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_string_equal(used(rows[i].pool, rows[i].facts), rows[i].want);
}

static void test_without_facts_about_the_way_the_listener_says_the_pool(void **state)
{
    static const struct row rows[] = {
        {MAIN, "", "main/ -"},
        {OTHER, "", "other/ -"},
        {OTHER, "max_sessions=3 backend_user=x", "other/ -"},
    };

    (void)state;
    check(rows, sizeof rows / sizeof *rows);
}

static void test_a_pool_counts_before_a_tag_and_a_tag_before_the_listener(void **state)
{
    static const struct row rows[] = {
        {MAIN, "pool=other", "other/ pool"},          {OTHER, "pool=other", "other/ pool"},
        {MAIN, "tag=guests", "other/ tag"},           {MAIN, "tag=guests pool=main", "main/ pool"},
        {MAIN, "tag=nobody pool=main", "main/ pool"}, {OTHER, "tag=old", "main/ tag"},
    };

    (void)state;
    check(rows, sizeof rows / sizeof *rows);
}

static void test_a_backend_says_its_pool_too(void **state)
{
    static const struct row rows[] = {
        {MAIN, "backend=o1", "other/o1 backend"},
        {MAIN, "backend=m2", "main/m2 backend"},
        {MAIN, "pool=other backend=o2", "other/o2 pool"},
        {MAIN, "tag=guests backend=o2", "other/o2 tag"},
    };

    (void)state;
    check(rows, sizeof rows / sizeof *rows);
}

static void test_a_host_is_what_the_configuration_says_of_a_backend(void **state)
{
    static const struct row rows[] = {
        {MAIN, "host=192.0.2.1", "main/m1 host"},
        {MAIN, "host=192.0.2.1 port=10143", "main/m1 host"},
        {MAIN, "host=192.0.2.1 tls=off", "main/m1 host"},
        {MAIN, "host=MAIL.test", "main/m2 host"},
        {MAIN, "host=mail.test port=10144", "main/m3 host"},
        {MAIN, "host=mail.test tls=implicit", "main/m3 host"},
        {MAIN, "host=mail.test tls=starttls", "main/m2 host"},
        {MAIN, "host=mail.test tls=off", "other/o2 host"},
        {OTHER, "host=mail.test", "other/o2 host"},
        {OTHER, "host=mail.test port=10144", "main/m3 host"},
        {MAIN, "pool=other host=mail.test", "other/o2 pool"},
        {MAIN, "host=[2001:db8::1]", "other/o1 host"},
    };

    (void)state;
    check(rows, sizeof rows / sizeof *rows);
}

/* Nobody is sent to a server because a directory names it. */
static void test_what_the_configuration_does_not_have_is_an_error(void **state)
{
    static const struct row rows[] = {
        {MAIN, "pool=gone", "pool=gone is not in the configuration"},
        {MAIN, "pool=gone backend=m1", "pool=gone is not in the configuration"},
        {MAIN, "tag=gone", "tag=gone: no pool has this tag"},
        {MAIN, "backend=gone", "backend=gone is not in the configuration"},
        {MAIN, "backend=m", "backend=m is not in the configuration"},
        {MAIN, "pool=other backend=m1", "backend=m1 is not in pool other"},
        {MAIN, "tag=guests backend=m1", "backend=m1 is not in pool other"},
        {MAIN, "host=evil.test", "host=evil.test is no backend of the configuration"},
        {MAIN, "host=192.0.2.1 port=143", "host=192.0.2.1 is no backend of the configuration"},
        {MAIN, "host=192.0.2.1 tls=implicit", "host=192.0.2.1 is no backend of the configuration"},
        {MAIN, "pool=other host=192.0.2.1", "host=192.0.2.1 is no backend of pool other"},
    };

    (void)state;
    check(rows, sizeof rows / sizeof *rows);
}

static void test_nothing_is_written_when_the_facts_cannot_be_used(void **state)
{
    struct facts_use use = {.backend = 77, .pool = 78, .how = "none"};
    struct facts facts = {.backend = SLICE("gone")};
    struct err err;

    (void)state;
    assert_int_equal(facts_use(&backends, &facts, MAIN, &use, &err), -1);
    assert_true(use.backend == 77 && use.pool == 78 && strcmp(use.how, "none") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_facts_about_the_way_the_listener_says_the_pool),
        cmocka_unit_test(test_a_pool_counts_before_a_tag_and_a_tag_before_the_listener),
        cmocka_unit_test(test_a_backend_says_its_pool_too),
        cmocka_unit_test(test_a_host_is_what_the_configuration_says_of_a_backend),
        cmocka_unit_test(test_what_the_configuration_does_not_have_is_an_error),
        cmocka_unit_test(test_nothing_is_written_when_the_facts_cannot_be_used),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
