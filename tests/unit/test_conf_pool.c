/* The configuration: mistakes of meaning in pools, directories and the names of users. */
#include "conf_testing.h"

#define BEFORE GOOD_LISTENER
#define TWO                                 \
    "backend b1 { address = \"h1:10143\" }" \
    " backend b2 { address = \"h2:10143\" "

static void expect_mistakes(const char *text, unsigned n, unsigned line, const char *words)
{
    struct conf *conf = load(text);
    struct told told;
    bool has_words = n == 0;

    check(conf, false, &told);
    for (unsigned i = 0; i < told.n; i++)
        has_words =
            has_words || (told.mistakes[i].line == line && strstr(told.mistakes[i].text, words));
    if (told.n != n || !has_words)
        fail_msg("%s\nwanted %u mistakes, on line %u \"%s\"; got %u, the first on line %u: %s",
                 text, n, line, words, told.n, told.n ? told.mistakes[0].line : 0,
                 told.n ? told.mistakes[0].text : "");
    conf_free(&conf);
}

struct row {
    const char *text;
    unsigned n, line;
    const char *words;
};

static void expect_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        expect_mistakes(rows[i].text, rows[i].n, rows[i].line, rows[i].words);
}

#define EXPECT_ROWS(rows) expect_rows(rows, sizeof(rows) / sizeof *(rows))

static void test_what_does_not_go_together_in_a_pool(void **state)
{
#define POOL(more) BEFORE "pool p {\n" more " " TWO "} }"
    static const struct row rows[] = {
        {POOL(""), 0, 0, ""},
        {POOL("place = try try_rate = 5"), 0, 0, ""},
        {POOL("storage = shared\nplace = try"), 1, 4, "place = try needs storage = own"},
        {POOL("try_rate = 5"), 1, 3, "try_rate has no effect without place = try"},
        {POOL("queue_timeout = 59s"), 0, 0, ""},
        {POOL("queue_timeout = 60s"), 1, 3, "queue_timeout is not shorter than login_timeout"},
        {POOL("unavailable_text = 'Back at noon'"), 0, 0, ""},
        {POOL("unavailable_text = '[ALERT] x'"), 1, 3, "which clients take for a response code"},
        {POOL("unavailable_text = \"a\\nb\""), 1, 3, "more than one line"},
        {POOL("unavailable_text = \"a\\rb\""), 1, 3, "more than one line"},
        {POOL("check = login check_user = u check_password = f"), 0, 0, ""},
        {POOL("check = login check_user = u"), 1, 3, "check_password = \"FILE\""},
        {POOL("check = login check_password = f"), 1, 3, "check_user = \"NAME\""},
        {POOL("check = tcp\ncheck_user = u"), 1, 4, "check_user has no effect"},
        {POOL("check = tcp\ncheck_password = f"), 1, 4, "check_password has no effect"},
        {POOL("check = off\ncheck_timeout = 1s"), 1, 4, "check_timeout has no effect"},
        {POOL("check = off\npassive_fall = 3"), 1, 4, "passive_fall has no effect"},
        {POOL("check_interval = 1s"), 0, 0, ""},
        {POOL("check_interval = 1s\ncheck_fast_interval = 3s"), 1, 4, "longer than"},
        {POOL("tags = {gold, silver}"), 0, 0, ""},
        {POOL("tags = {gold, 'si lver'}"), 1, 3, "tags: \"si lver\" is none"},
        {POOL("tags = {gold}") "\npool q {\ntags = {silver, gold} backend b3 { address = h:1 } }",
         1, 5, "\"gold\" is a tag of pool \"p\" already"},
    };

    (void)state;
    EXPECT_ROWS(rows);
    expect_mistakes("login_timeout = 20s\n" POOL(""), 0, 0, "");
    expect_mistakes("login_timeout = 20s\n" POOL("queue_timeout = 20s"), 1, 4, "queue_timeout");
}

static void test_backups_need_shared_storage_and_another(void **state)
{
    static const struct row rows[] = {
        {BEFORE "pool p { storage = shared " TWO "backup = yes } }", 0, 0, ""},
        {BEFORE "pool p {\n" TWO "\nbackup = yes } }", 1, 4, "backup = yes needs storage = shared"},
        {BEFORE "pool p { storage = shared backend b { address = h:1 backup = yes } }", 1, 2,
         "all backends of pool \"p\" are backup"},
    };

    (void)state;
    EXPECT_ROWS(rows);
}

static void test_a_password_is_tried_on_few_backends_only(void **state)
{
    char text[4096];

    (void)state;
    for (int n = CONF_TRIED_MAX; n <= CONF_TRIED_MAX + 1; n++) {
        size_t at = (size_t)snprintf(text, sizeof text, BEFORE "pool p { place = try\n");

        for (int i = 0; i < n; i++)
            at += (size_t)snprintf(text + at, sizeof text - at,
                                   "backend b%d { address = h%d:10143 }\n", i, i);
        snprintf(text + at, sizeof text - at, "}");
        expect_mistakes(text, n > CONF_TRIED_MAX, 2,
                        "place = try with 33 backends; 32 is the most");
    }
}

static void test_directories(void **state)
{
#define DIRECTORY(more) BEFORE GOOD_POOL "directory d {\n" more " }"
    static const struct row rows[] = {
        {DIRECTORY("driver = static rules = {'ann pool=main'}"), 0, 0, ""},
        {DIRECTORY("driver = static"), 1, 3, "directory \"d\" has no rules"},
        {DIRECTORY("driver = static rules = {}"), 1, 3, "has no rules"},
        {DIRECTORY("path = users.map"), 0, 0, ""},
        {DIRECTORY("driver = file"), 1, 3, "directory \"d\" has no path"},
        {DIRECTORY("driver = socketmap address = '127.0.0.1:10100' cache_time = 5s"), 0, 0, ""},
        {DIRECTORY("driver = socketmap"), 1, 3, "directory \"d\" has no address"},
        {DIRECTORY("driver = socketmap\naddress = 'people.example:1'"), 1, 5, "write ip:port"},
        {DIRECTORY("driver = socketmap\naddress = '127.0.0.1:0'"), 1, 5, "write ip:port"},
        {DIRECTORY("driver = socketmap address = '[::1]:1'\nmap = 'a b'"), 1, 5,
         "is no name of a map"},
        {DIRECTORY("driver = socketmap address = '[::1]:1'\nmap = ''"), 1, 5,
         "is no name of a map"},
        {DIRECTORY("driver = static rules = {'ann pool=main'}\npath = f"), 1, 5,
         "path has no effect with driver = static; it is for driver = file"},
        {DIRECTORY("path = f\nrules = {a}"), 1, 5, "rules has no effect with driver = file"},
        {DIRECTORY("path = f\naddress = x"), 1, 5, "address has no effect"},
        {DIRECTORY("path = f\nmap = x"), 1, 5, "map has no effect"},
        {DIRECTORY("path = f\ncache_size = 1"), 1, 5, "cache_size has no effect"},
        {DIRECTORY("path = f\ncache_time = 1s"), 1, 5, "cache_time has no effect"},
        {DIRECTORY("path = f\ncache_unknown_time = 1s"), 1, 5, "cache_unknown_time has no effect"},
        {DIRECTORY("path = f\ncache_stale_time = 1s"), 1, 5, "cache_stale_time has no effect"},
        {BEFORE GOOD_POOL "directory 'a b' { path = f }", 1, 3, "is no name for a directory"},
    };

    (void)state;
    EXPECT_ROWS(rows);
}

static void test_directories_are_limited_in_number(void **state)
{
    char text[8192];

    (void)state;
    for (int n = CONF_DIRECTORIES_MAX; n <= CONF_DIRECTORIES_MAX + 1; n++) {
        size_t at = (size_t)snprintf(text, sizeof text, "%s", BEFORE GOOD_POOL);

        for (int i = 0; i < n; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, "directory d%d { path = f }\n", i);
        expect_mistakes(text, n > CONF_DIRECTORIES_MAX, 0, "there are 65 directories; 64 is");
    }
}

static void test_names_of_users_stay_what_they_have_become(void **state)
{
#define NAMES(more) BEFORE GOOD_POOL more
    static const struct row rows[] = {
        {NAMES("username_domain = example.org username_strip_domains = {example.net}"), 0, 0, ""},
        {NAMES("username_strip_domains = {'*'}"), 0, 0, ""},
        {NAMES("username_domain = example.org\nusername_strip_domains = {a, Example.ORG}"), 1, 4,
         "cuts off what username_domain adds"},
        {NAMES("username_domain = example.org\nusername_strip_domains = {'*'}"), 1, 4,
         "cuts off what username_domain adds"},
        {NAMES("username_domain = '@example.org'"), 1, 3, "username_domain = \"@example.org\" is"},
        {NAMES("username_domain = 'example org'"), 1, 3, "is no domain"},
        {NAMES("username_domain = '.org'"), 1, 3, "is no domain"},
        {NAMES("username_strip_domains = {a, 'b@c'}"), 1, 3, "\"b@c\" is no domain"},
        {NAMES("username_strip_domains = {''}"), 1, 3, "\"\" is no domain"},
        {NAMES("username_strip_domains = {'*.org'}"), 1, 3, "\"*.org\" is no domain"},
    };

    (void)state;
    EXPECT_ROWS(rows);
}

static void test_the_password_of_probes_must_be_readable(void **state)
{
    const struct folder *folder = *state;
    struct conf *conf;
    struct told told;

    write_text(folder, "main",
               BEFORE "user = root worker_user = ''\n"
                      "pool p { check = login check_user = u\ncheck_password = secret\n" TWO "} }");
    conf = load_main(folder);
    check(conf, true, &told);
    assert_true(told.n > 0);
    assert_int_equal(told.mistakes[told.n - 1].line, 4);
    assert_non_null(strstr(told.mistakes[told.n - 1].text, "cannot read check_password"));
    conf_free(&conf);
}

/* usher check --print writes defaults too, also those that have no effect. */
static void test_what_is_printed_of_a_good_configuration_is_good(void **state)
{
    static const char *const texts[] = {
        BEFORE GOOD_POOL,
        "login_timeout = 20s\n" POOL(""),
        POOL("check = off"),
        POOL("check = tcp check_interval = 1s"),
        POOL("place = try"),
        DIRECTORY("driver = static rules = {'ann pool=main'}"),
        DIRECTORY("driver = file path = f"),
        DIRECTORY("driver = socketmap address = '127.0.0.1:1'"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct conf *conf = load(texts[i]);
        char *printed = print(conf);

        expect_mistakes(texts[i], 0, 0, "");
        expect_mistakes(printed, 0, 0, "");
        free(printed);
        conf_free(&conf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_does_not_go_together_in_a_pool),
        cmocka_unit_test(test_backups_need_shared_storage_and_another),
        cmocka_unit_test(test_a_password_is_tried_on_few_backends_only),
        cmocka_unit_test(test_directories),
        cmocka_unit_test(test_directories_are_limited_in_number),
        cmocka_unit_test(test_names_of_users_stay_what_they_have_become),
        FOLDER_TEST(test_the_password_of_probes_must_be_readable),
        cmocka_unit_test(test_what_is_printed_of_a_good_configuration_is_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
