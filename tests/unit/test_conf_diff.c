/* What differs between two snapshots of the configuration, and what a backend means to a worker. */
#include "conf_testing.h"

#include "conf/diff.h"
#include "conf/settings.h"
#include "conf/value.h"

/* One section of each kind. */
#define ALL                                                                 \
    "listener imap { address = \"*:143\" }\n"                               \
    "certificate more { file = \"/c\" key = \"/k\" }\n"                     \
    "directory people { driver = static rules = { \"ann pass=sesam\" } }\n" \
    "pool main { backend mail1 { address = \"10.0.0.1:10143\" } }\n"

struct lines {
    size_t n;
    char text[24][CONF_DIFF_TEXT];
};

static void on_line(void *arg, const char *text)
{
    struct lines *lines = arg;

    assert_true(lines->n < sizeof lines->text / sizeof *lines->text);
    assert_true(strlen(text) < CONF_DIFF_TEXT);
    snprintf(lines->text[lines->n++], CONF_DIFF_TEXT, "%s", text);
}

typedef size_t differ(const struct conf *before, const struct conf *after, conf_told *told,
                      void *arg);

static void compare(differ *diff, const struct conf *before, const struct conf *after,
                    struct lines *out)
{
    size_t n;

    out->n = 0;
    n = diff(before, after, on_line, out);
    assert_int_equal(n, out->n);
}

/* The lines that follow, up to NULL, and no other ones. */
static void expect_lines(differ *diff, const char *before, const char *after,
                         const char *const *expected)
{
    struct conf *old = load(before), *new = load(after);
    struct lines lines;
    size_t n = 0;

    compare(diff, old, new, &lines);
    for (; expected[n]; n++)
        assert_string_equal(n < lines.n ? lines.text[n] : "(nothing)", expected[n]);
    if (lines.n > n)
        fail_msg("and more: %s", lines.text[n]);
    conf_free(&old);
    conf_free(&new);
}

#define EXPECT(before, after, ...) \
    expect_lines(conf_diff, before, after, (const char *const[]){__VA_ARGS__, NULL})
#define EXPECT_REFUSED(before, after, ...) \
    expect_lines(conf_diff_refused, before, after, (const char *const[]){__VA_ARGS__, NULL})

/* Whether there is no memory for a value's text. */
static bool is_memory_out;

FILE *__real_open_memstream(char **text, size_t *n);
FILE *__wrap_open_memstream(char **text, size_t *n);

FILE *__wrap_open_memstream(char **text, size_t *n)
{
    return is_memory_out ? NULL : __real_open_memstream(text, n);
}

/* --- each setting by itself ------------------------------------------------------------------- */

/* Where ALL has its section, and how lines name it. */
static void *object_of(struct conf *conf, size_t id, const char **out_name)
{
    switch ((enum section_id)id) {
    case SECTION_GLOBAL:
        *out_name = "";
        return &conf->global;
    case SECTION_LISTENER:
        *out_name = "listener imap: ";
        return &conf->listeners[0];
    case SECTION_TLS:
        *out_name = "tls: ";
        return &conf->tls;
    case SECTION_CERTIFICATE:
        *out_name = "certificate more: ";
        return &conf->certificates[0];
    case SECTION_DIRECTORY:
        *out_name = "directory people: ";
        return &conf->directories[0];
    case SECTION_POOL:
        *out_name = "pool main: ";
        return &conf->pools[0];
    case SECTION_BACKEND:
        *out_name = "backend mail1 (pool main): ";
        return &conf->pools[0].backends[0];
    case SECTIONS:
        break;
    }
    fail();
    return NULL;
}

/* Gives the setting another value of its kind; a text `to` is kept by the caller. */
static void change(const struct setting *s, void *object, const char *to)
{
    static const char *const items[] = {"10.9.8.7"};
    union value value = {0};
    void *member = setting_member(s, object);

    switch ((enum setting_kind)s->kind) {
    case KIND_LIST:
        *(struct conf_list *)member = (struct conf_list){items, 1};
        return;
    case KIND_STR:
    case KIND_PATH:
        value.str = to;
        break;
    case KIND_BOOL:
        value.flag = !*(bool *)member;
        break;
    case KIND_INT:
    case KIND_DURATION:
        value.u32 = *(uint32_t *)member + 1;
        break;
    case KIND_SIZE:
        value.u64 = *(uint64_t *)member + 1;
        break;
    case KIND_CHOICE:
        value.choice = *(uint8_t *)member ? 0 : 1;
        break;
    }
    value_store(s, &value, object);
}

static char *text_of(const struct setting *s, const void *object)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    assert_non_null(out);
    value_print(s, object, out);
    fclose(out);
    return text;
}

static bool is_rules(size_t id, const struct setting *s)
{
    return id == SECTION_DIRECTORY && strcmp(s->name, "rules") == 0;
}

static void test_a_change_of_any_setting_is_told_and_nothing_else(void **state)
{
    (void)state;
    for (size_t id = 0; id < SECTIONS; id++)
        for (size_t i = 0; i < conf_sections[id].n; i++) {
            const struct setting *s = &conf_sections[id].settings[i];
            struct conf *before = load(ALL), *after = load(ALL);
            char expected[CONF_DIFF_TEXT], *was, *is;
            struct lines lines;
            const char *name;

            was = text_of(s, object_of(before, id, &name));
            change(s, object_of(after, id, &name), "/other");
            is = text_of(s, object_of(after, id, &name));
            if (is_rules(id, s))
                snprintf(expected, sizeof expected, "%srules changed", name);
            else
                snprintf(expected, sizeof expected, "%s%s %s -> %s", name, s->name, was, is);
            compare(conf_diff, before, after, &lines);
            assert_string_equal(lines.n ? lines.text[0] : "(nothing)", expected);
            assert_int_equal(lines.n, 1);
            free(was);
            free(is);
            conf_free(&before);
            conf_free(&after);
        }
}

/* The tables for conf_meaning(), said once more: whoever changes one must mean it. */
static bool is_seen_by_a_worker_at_a_backend(size_t id, const char *name)
{
    static const char *const seen[] = {
        "address",          "tls",     "tls_verify",      "tls_ca",      "tls_name",
        "tls_pin",          "tls_key", "tls_certificate", "tls_ciphers", "tls_min_version",
        "tls_ciphersuites", "proxy",   "forward_id",      "source",
    };

    for (size_t i = 0; id == SECTION_BACKEND && i < sizeof seen / sizeof *seen; i++) {
        if (strcmp(seen[i], name) == 0)
            return true;
    }
    return false;
}

static void test_a_backend_means_something_else_by_settings_that_a_worker_sees(void **state)
{
    uint64_t met[32], usual;
    struct conf *conf = load(ALL);
    size_t met_n = 0;

    (void)state;
    usual = conf_meaning(conf, 0, 0);
    conf_free(&conf);
    for (size_t id = 0; id < SECTIONS; id++)
        for (size_t i = 0; i < conf_sections[id].n; i++) {
            const struct setting *s = &conf_sections[id].settings[i];
            const bool is_seen = is_seen_by_a_worker_at_a_backend(id, s->name);
            const char *name;
            uint64_t meaning;

            conf = load(ALL);
            change(s, object_of(conf, id, &name), "/other");
            meaning = conf_meaning(conf, 0, 0);
            if ((meaning != usual) != is_seen)
                fail_msg("%s%s %s", name, s->name, is_seen ? "counts" : "does not count");
            for (size_t m = 0; m < met_n; m++) {
                if (is_seen && met[m] == meaning)
                    fail_msg("%s%s means the same as another one", name, s->name);
            }
            if (is_seen)
                met[met_n++] = meaning;
            conf_free(&conf);
        }
    assert_int_equal(met_n, 14);
}

/* --- what is told ----------------------------------------------------------------------------- */

static void test_nothing_is_told_of_the_same(void **state)
{
    (void)state;
    EXPECT("", "", NULL);
    EXPECT(ALL, ALL, NULL);
    EXPECT("login_timeout = 60s max_line = 8k log_level = info", "login_timeout = 1m\n\n", NULL);
    EXPECT("penalty_exempt = { 127.0.0.0/8, ::1 }", "", NULL);
    EXPECT("tls { }", "", NULL);
}

static void test_values_are_told_as_one_writes_them(void **state)
{
    (void)state;
    EXPECT("", "log_level = debug login_timeout = 90s max_line = 16k penalty_exempt = {}",
           "log_level info -> debug", "login_timeout 1m -> 90s",
           "penalty_exempt {\"127.0.0.0/8\", \"::1\"} -> {}", "max_line 8k -> 16k");
    EXPECT("pool p { backend b { weight = 2 } }",
           "pool p { queue_timeout = 10s unavailable_text = 'a \"b\"' backend b { backup = yes } }",
           "pool p: unavailable_text \"\" -> \"a \\\"b\\\"\"", "pool p: queue_timeout 30s -> 10s",
           "backend b (pool p): weight 2 -> 1", "backend b (pool p): backup no -> yes");
}

static void test_lists_differ_by_an_item_or_their_order(void **state)
{
    (void)state;
    EXPECT("nameservers = { 10.0.0.1 }", "nameservers = { 10.0.0.1, 10.0.0.2 }",
           "nameservers {\"10.0.0.1\"} -> {\"10.0.0.1\", \"10.0.0.2\"}");
    EXPECT("nameservers = { 10.0.0.1, 10.0.0.2 }", "nameservers = { 10.0.0.2, 10.0.0.1 }",
           "nameservers {\"10.0.0.1\", \"10.0.0.2\"} -> {\"10.0.0.2\", \"10.0.0.1\"}");
}

static void test_sections_come_and_go(void **state)
{
    (void)state;
    EXPECT("", ALL, "listener imap: added", "certificate more: added", "directory people: added",
           "pool main: added", "backend mail1 (pool main): added");
    EXPECT(ALL, "", "listener imap: removed", "certificate more: removed",
           "directory people: removed", "pool main: removed", "backend mail1 (pool main): removed");
    EXPECT("pool main { backend a {} backend b {} }", "pool main { backend b {} backend c {} }",
           "backend c (pool main): added", "backend a (pool main): removed");
    EXPECT("tls { min_version = 1.3 }", "", "tls: min_version 1.3 -> 1.2");
}

static void test_a_backend_that_changes_its_pool_is_another(void **state)
{
    (void)state;
    EXPECT("pool p { backend a {} backend b {} } pool q { backend c {} }",
           "pool p { backend a {} } pool q { backend c {} backend b { weight = 2 } }",
           "backend b (pool p): removed", "backend b (pool q): added");
}

static void test_new_ones_are_told_first_in_their_order(void **state)
{
    (void)state;
    EXPECT("listener l {} pool gone { backend x {} } pool p { backend a {} }",
           "max_line = 9k tls { ticket_rotate = 1h } certificate c {} listener l { proxy = yes }\n"
           "pool p { check = off backend z {} backend a { weight = 3 } } pool q { backend y {} }",
           "max_line 8k -> 9k", "listener l: proxy no -> yes", "tls: ticket_rotate 8h -> 1h",
           "certificate c: added", "pool p: check greeting -> off", "backend z (pool p): added",
           "backend a (pool p): weight 1 -> 3", "pool q: added", "backend y (pool q): added",
           "pool gone: removed", "backend x (pool gone): removed", "first pool gone -> p");
}

/* --- order ------------------------------------------------------------------------------------ */

static void test_the_order_of_directories_counts(void **state)
{
    static const char one[] = "directory a {} directory b {} directory c {}";

    (void)state;
    EXPECT(one, "directory a {} directory c {} directory b {}", "order of directories changed");
    EXPECT(one, "directory b {} directory a {} directory c {}", "order of directories changed");
    EXPECT(one, "directory b {} directory c {} directory a {}", "order of directories changed");
    EXPECT(one, "directory c {} directory b {} directory a { map = m }",
           "directory a: map \"users\" -> \"m\"", "order of directories changed");
    EXPECT(one, "directory d {} directory a {} directory c {}", "directory d: added",
           "directory b: removed");
    EXPECT(one, "directory c {} directory d {} directory a {}", "directory d: added",
           "directory b: removed", "order of directories changed");
}

static void test_only_the_first_place_of_listeners_and_pools_counts(void **state)
{
    static const char one[] = "listener a {} listener b {} listener c {}\n"
                              "pool p { backend x {} backend y {} } pool q {} pool r {}\n"
                              "certificate s {} certificate t {}";

    (void)state;
    EXPECT(one,
           "certificate t {} certificate s {} pool p { backend y {} backend x {} } pool r {}\n"
           "pool q {} listener a {} listener c {} listener b {}",
           NULL);
    EXPECT(one,
           "certificate s {} certificate t {} pool q {} pool p { backend x {} backend y {} }\n"
           "pool r {} listener c {} listener a {} listener b {}",
           "first listener a -> c", "first pool p -> q");
    EXPECT("pool p {}", "pool q {} pool p {}", "pool q: added", "first pool p -> q");
}

/* --- what is not shown ------------------------------------------------------------------------ */

static void test_rules_are_not_shown(void **state)
{
    (void)state;
    EXPECT("directory a { rules = { \"ann pass=sesam\" } }",
           "directory a { rules = { \"ann pass=other\", b } path = /m }",
           "directory a: rules changed", "directory a: path \"\" -> \"/m\"");
}

/* A text of `n` times `piece`. */
static char *text_with(const char *before, const char *piece, size_t n, const char *behind)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    fputs(before, out);
    while (n-- > 0)
        fputs(piece, out);
    fputs(behind, out);
    fclose(out);
    return text;
}

static void test_what_is_long_is_cut(void **state)
{
    char *text = text_with("nameservers = { ", "\"10.0.0.1:53\", ", 100, "}"), *expected;

    (void)state;
    /* 156 characters and the points. */
    expected = text_with("nameservers {} -> {", "\"10.0.0.1:53\", ", 10, "\"10.0...");
    EXPECT("", text, expected);
    free(text);
    free(expected);
}

static void test_a_value_that_just_fits_is_whole(void **state)
{
    char *fits = text_with("user = \"", "x", 157, "\""),
         *cut = text_with("user = \"", "x", 158, "\"");
    char *whole = text_with("user \"usher\" -> \"", "x", 157, "\"");
    char *parts = text_with("user \"usher\" -> \"", "x", 155, "...");

    (void)state;
    EXPECT("", fits, whole);
    EXPECT("", cut, parts);
    free(fits);
    free(cut);
    free(whole);
    free(parts);
}

static void test_characters_are_cut_whole(void **state)
{
    char *text = text_with("user = \"x", "\xe2\x82\xac", 100, "\"");
    char *expected = text_with("user \"usher\" -> \"x", "\xe2\x82\xac", 51, "...");

    (void)state;
    EXPECT("", text, expected);
    free(text);
    free(expected);
}

static void test_bytes_that_are_no_characters_are_cut_too(void **state)
{
    char *text = text_with("user = \"", "\xe2", 300, "\"");
    char *expected = text_with("user \"usher\" -> \"", "\xe2", 155, "...");

    (void)state;
    EXPECT("", text, expected);
    free(text);
    free(expected);
}

static void test_a_difference_behind_the_cut_is_told_as_a_change(void **state)
{
    char *before = text_with("user = \"", "x", 300, "y\""),
         *after = text_with("user = \"", "x", 300, "z\"");

    (void)state;
    EXPECT(before, after, "user changed");
    free(before);
    free(after);
}

static void test_without_memory_values_are_not_told(void **state)
{
    (void)state;
    is_memory_out = true;
    EXPECT(ALL, ALL " login_tries = 9 tls { min_version = 1.3 }", "login_tries changed",
           "tls: min_version changed");
    is_memory_out = false;
}

static void test_the_longest_line_has_room(void **state)
{
    static char long_value[400], long_title[400];
    char text[2000], other[2000];
    struct conf *before, *after;
    struct lines lines;

    (void)state;
    memset(long_value, 'v', sizeof long_value - 1);
    memset(long_title, 't', sizeof long_title - 1);
    snprintf(text, sizeof text, "pool %s { backend %s { tls_ciphersuites = x%s } }", long_title,
             long_title, long_value);
    snprintf(other, sizeof other, "state = /y%s pool %s { backend %s { tls_ciphersuites = y%s } }",
             long_value, long_title, long_title, long_value);
    before = load(text);
    after = load(other);
    compare(conf_diff, before, after, &lines);
    assert_int_equal(lines.n, 2);
    assert_non_null(strstr(lines.text[1], "t...): tls_ciphersuites \"xv"));
    assert_string_equal(lines.text[1] + strlen(lines.text[1]) - 4, "v...");
    compare(conf_diff_refused, before, after, &lines);
    assert_int_equal(lines.n, 1);
    assert_non_null(strstr(lines.text[0], "and start it"));
    conf_free(&before);
    conf_free(&after);
}

static void test_titles_are_made_fit_for_a_line(void **state)
{
    (void)state;
    EXPECT("", "pool \"a\\nb\" { backend \"c\\td\" {} }", "pool a?b: added",
           "backend c?d (pool a?b): added");
}

/* --- what may not change ---------------------------------------------------------------------- */

static void test_some_settings_may_not_change(void **state)
{
    (void)state;
    EXPECT_REFUSED(ALL, ALL, NULL);
    EXPECT_REFUSED(
        "state = /a user = u worker_user = w", "state = /b",
        "user \"u\" -> \"usher\": cannot change while usher runs; stop it, give the "
        "directory state to the new user, and start it",
        "worker_user \"w\" -> \"\": cannot change while usher runs; stop it and start it",
        "state \"/a\" -> \"/b\": cannot change while usher runs; stop it, move the "
        "directory, and start it");
}

static void test_every_other_setting_may_change(void **state)
{
    (void)state;
    for (size_t id = 0; id < SECTIONS; id++)
        for (size_t i = 0; i < conf_sections[id].n; i++) {
            const struct setting *s = &conf_sections[id].settings[i];
            struct conf *before = load(ALL), *after = load(ALL);
            const bool is_fixed = id == SECTION_GLOBAL &&
                                  (strcmp(s->name, "user") == 0 || strcmp(s->name, "state") == 0 ||
                                   strcmp(s->name, "worker_user") == 0);
            struct lines lines;
            const char *name;

            change(s, object_of(after, id, &name), "/other");
            compare(conf_diff_refused, before, after, &lines);
            assert_int_equal(lines.n, is_fixed);
            conf_free(&before);
            conf_free(&after);
        }
}

/* --- what a backend means --------------------------------------------------------------------- */

static uint64_t meaning(const char *text, size_t pool, size_t backend)
{
    struct conf *conf = load(text);
    uint64_t number = conf_meaning(conf, pool, backend);

    conf_free(&conf);
    return number;
}

static void test_a_meaning_does_not_go_by_place_or_spelling(void **state)
{
    uint64_t one = meaning("pool p { backend b { address = h:1 } }", 0, 0);

    (void)state;
    assert_true(one == meaning("pool q { backend c {} }\n pool p { backend a {}\n"
                               "backend b { tls = off tls_verify = yes tls_min_version = 1.2\n"
                               "forward_id = no source = {} proxy = off address = 'h:1' } }",
                               1, 1));
    assert_true(one == meaning("max_sessions = 7 tls { ciphers = x } pool p { storage = shared\n"
                               "check = off backend b { address = h:1 weight = 9 } }",
                               0, 0));
}

static void test_no_two_meanings_are_the_same(void **state)
{
    static const char *const texts[] = {
        "pool p { backend b { } }",
        "pool q { backend b { } }",
        "pool p { backend q { } }",
        "pool pb { backend b { } }",
        "pool p { backend bb { } }",
        "pool p { backend b { tls_ca = /x } }",
        "pool p { backend b { tls_name = /x } }",
        "pool p { backend b { tls_ca = /y } }",
        "pool p { backend b { tls_ca = /x tls_name = /x } }",
        "pool p { backend b { tls = starttls } }",
        "pool p { backend b { tls = implicit } }",
        "pool p { backend b { proxy = v1 } }",
        "pool p { backend b { proxy = v2 } }",
        "pool p { backend b { source = { a } } }",
        "pool p { backend b { source = { a, b } } }",
        "pool p { backend b { source = { b, a } } }",
        "pool p { backend b { source = { ab } } }",
        "pool p { backend b { source = { '' } } }",
        "pool p { backend b { tls_pin = { a } } }",
        "pool p { backend b { tls_pin = { a } source = { b } } }",
        "pool p { backend b { tls_pin = { a, source, b } } }",
        "pool p { backend b { forward_id = yes } }",
        "pool p { backend b { tls_verify = no } }",
    };
    enum { N = sizeof texts / sizeof *texts };
    uint64_t met[N];

    (void)state;
    for (size_t i = 0; i < N; i++) {
        met[i] = meaning(texts[i], 0, 0);
        for (size_t k = 0; k < i; k++) {
            if (met[k] == met[i])
                fail_msg("%s\n%s\nmean the same", texts[k], texts[i]);
        }
    }
}

/* Processes of two releases compare their numbers. */
static void test_a_meaning_is_the_same_in_every_release(void **state)
{
    (void)state;
    assert_true(meaning("pool main { backend mail1 { address = \"10.0.0.1:10143\" } }", 0, 0) ==
                UINT64_C(0x7d84666a0a1f88c4));
    assert_true(meaning("pool main { backend mail1 { address = \"10.0.0.1:10143\" tls = starttls\n"
                        "tls_verify = no tls_pin = { a, b } tls_min_version = 1.3\n"
                        "proxy = v2 forward_id = yes source = { 10.0.0.9 } } }",
                        0, 0) == UINT64_C(0x0eeb8006994427b8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_change_of_any_setting_is_told_and_nothing_else),
        cmocka_unit_test(test_a_backend_means_something_else_by_settings_that_a_worker_sees),
        cmocka_unit_test(test_nothing_is_told_of_the_same),
        cmocka_unit_test(test_values_are_told_as_one_writes_them),
        cmocka_unit_test(test_lists_differ_by_an_item_or_their_order),
        cmocka_unit_test(test_sections_come_and_go),
        cmocka_unit_test(test_a_backend_that_changes_its_pool_is_another),
        cmocka_unit_test(test_new_ones_are_told_first_in_their_order),
        cmocka_unit_test(test_the_order_of_directories_counts),
        cmocka_unit_test(test_only_the_first_place_of_listeners_and_pools_counts),
        cmocka_unit_test(test_rules_are_not_shown),
        cmocka_unit_test(test_what_is_long_is_cut),
        cmocka_unit_test(test_a_value_that_just_fits_is_whole),
        cmocka_unit_test(test_characters_are_cut_whole),
        cmocka_unit_test(test_bytes_that_are_no_characters_are_cut_too),
        cmocka_unit_test(test_a_difference_behind_the_cut_is_told_as_a_change),
        cmocka_unit_test(test_without_memory_values_are_not_told),
        cmocka_unit_test(test_the_longest_line_has_room),
        cmocka_unit_test(test_titles_are_made_fit_for_a_line),
        cmocka_unit_test(test_some_settings_may_not_change),
        cmocka_unit_test(test_every_other_setting_may_change),
        cmocka_unit_test(test_a_meaning_does_not_go_by_place_or_spelling),
        cmocka_unit_test(test_no_two_meanings_are_the_same),
        cmocka_unit_test(test_a_meaning_is_the_same_in_every_release),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
