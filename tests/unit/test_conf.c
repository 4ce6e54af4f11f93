/* The configuration: what loads, what it becomes, and what is said of mistakes of form. */
#include "conf_testing.h"

#include "conf/nearest.h"
#include "conf/settings.h"
#include "conf/value.h"

static void expect_form_error(const char *text, const char *message)
{
    struct conf *conf = NULL;
    struct err err = {0};

    if (conf_load_text(text, "t", &conf, &err) == 0)
        fail_msg("%s\nloads, but should say: %s", text, message);
    if (!strstr(err.text, message))
        fail_msg("%s\nshould say: %s\nsays: %s", text, message, err.text);
    assert_null(conf);
}

static void test_every_default_of_the_table_is_a_good_value(void **state)
{
    (void)state;
    for (size_t id = 0; id < SECTIONS; id++)
        for (size_t i = 0; i < conf_sections[id].n; i++) {
            const struct setting *s = &conf_sections[id].settings[i];
            union value value;
            struct err err;

            if (s->def && value_parse(s, s->def, &value, &err))
                fail_msg("%s", err.text);
            /* conf_check() looks at required settings as texts. */
            if (!s->def)
                assert_true(s->kind == KIND_STR || s->kind == KIND_PATH);
        }
}

static void test_an_empty_text_gives_the_defaults(void **state)
{
    struct conf *conf = load("");

    (void)state;
    assert_string_equal(conf->global.user, "usher");
    assert_string_equal(conf->global.state, "/var/lib/usher");
    assert_int_equal(conf->global.login_timeout, 60000);
    assert_int_equal(conf->global.max_line, 8192);
    assert_int_equal(conf->global.max_sessions, 10000);
    assert_int_equal(conf->global.nameservers.n, 0);
    assert_int_equal(conf->global.penalty_exempt.n, 2);
    assert_string_equal(conf->global.penalty_exempt.items[0], "127.0.0.0/8");
    assert_string_equal(conf->global.penalty_exempt.items[1], "::1");
    assert_string_equal(conf->tls.certificate, "");
    assert_int_equal(conf->listeners_n, 0);
    assert_int_equal(conf->pools_n, 0);
    conf_free(&conf);
    assert_null(conf);
}

static void test_each_kind_of_value_is_read(void **state)
{
    struct conf *conf = load("user = \"an operator\" state = relative/dir log_level = error\n"
                             "nameservers = {192.0.2.1, \"[::1]:53\",}\n"
                             "login_tries = 100 login_timeout = 1500ms idle_timeout = 7d\n"
                             "connect_timeout = 2m hold_timeout = '9s' user_expire = 3h\n"
                             "login_pipeline = 1M max_line = 2048 max_literal = \"64k\"\n"
                             "pool p { storage = shared backend b { address = *:1 weight = 0\n"
                             "tls = implicit tls_verify = no } }\n");

    (void)state;
    assert_string_equal(conf->global.user, "an operator");
    assert_string_equal(conf->global.state, "relative/dir");
    assert_int_equal(conf->global.log_level, 4);
    assert_int_equal(conf->global.nameservers.n, 2);
    assert_string_equal(conf->global.nameservers.items[1], "[::1]:53");
    assert_int_equal(conf->global.login_tries, 100);
    assert_int_equal(conf->global.login_timeout, 1500);
    assert_int_equal(conf->global.idle_timeout, 7 * 24 * 3600 * 1000);
    assert_int_equal(conf->global.connect_timeout, 120000);
    assert_int_equal(conf->global.hold_timeout, 9000);
    assert_int_equal(conf->global.user_expire, 3 * 3600 * 1000);
    assert_int_equal(conf->global.login_pipeline, 1 << 20);
    assert_int_equal(conf->global.max_line, 2048);
    assert_int_equal(conf->global.max_literal, 65536);
    assert_int_equal(conf->pools[0].storage, STORAGE_SHARED);
    assert_string_equal(conf->pools[0].backends[0].address, "*:1");
    assert_int_equal(conf->pools[0].backends[0].weight, 0);
    assert_int_equal(conf->pools[0].backends[0].tls, BACKEND_TLS_IMPLICIT);
    assert_false(conf->pools[0].backends[0].tls_verify);
    conf_free(&conf);
}

static void test_sections_keep_order_title_and_line(void **state)
{
    struct conf *conf = load("# one\n// two\n/* three\n four */ listener b {}\nlistener a\n{}\n"
                             "pool z {\n  backend y { }\n  backend x { }\n}\n");

    (void)state;
    assert_int_equal(conf->listeners_n, 2);
    assert_string_equal(conf->listeners[0].title, "b");
    assert_string_equal(conf->listeners[0].where.file, "t");
    assert_int_equal(conf->listeners[0].where.line, 4);
    assert_int_equal(conf->listeners[1].where.line, 6);
    assert_int_equal(conf->pools[0].where.line, 7);
    assert_string_equal(conf->pools[0].backends[1].title, "x");
    assert_int_equal(conf->pools[0].backends[1].where.line, 9);
    conf_free(&conf);
}

static void test_what_is_printed_loads_to_the_same(void **state)
{
    static const char *const texts[] = {
        "",
        GOOD_LISTENER GOOD_POOL,
        "user = \"a\\\"b\\\\c\\$d${HOME}e\\n\\r\\t\\x01\\xff\\${\"",
        "user = 'a\"b\\c${HOME}$\\'\\\\'",
        "nameservers = {'a b', \"\\\"\", c}",
        "login_timeout = 90s idle_timeout = 36h connect_timeout = 1001ms\n"
        "login_pipeline = 0 max_line = 1025 max_literal = 2k",
        "tls { certificate = \"a#b//c\" key = \"/* k */\" }\n"
        "pool p { storage = shared backend b { address = h:1 tls_verify = no } backend c {} }\n"
        "listener x { tls = off pool = p } listener y { tls = implicit }",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct conf *conf = load(texts[i]);
        char *one = print(conf);
        struct conf *again = load(one);
        char *other = print(again);

        assert_string_equal(one, other);
        assert_string_equal(conf->global.user, again->global.user);
        assert_int_equal(conf->global.idle_timeout, again->global.idle_timeout);
        free(one);
        free(other);
        conf_free(&conf);
        conf_free(&again);
    }
}

static void test_rules_may_be_left_out_of_what_is_printed(void **state)
{
    struct conf *conf = load("directory one { driver = static  rules = { \"ann sesam\" } }\n"
                             "directory two { path = \"/m\" }\n");
    char *text = NULL;
    struct conf *again;
    struct err err;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    (void)state;
    assert_non_null(out);
    assert_int_equal(conf_print_without_rules(conf, out, &err), 0);
    fclose(out);
    assert_null(strstr(text, "sesam"));
    again = load(text);
    assert_int_equal(again->directories_n, 2);
    assert_int_equal(again->directories[0].driver, DRIVER_STATIC);
    assert_int_equal(again->directories[0].rules.n, 0);
    assert_string_equal(again->directories[1].path, "/m");
    assert_int_equal(conf->directories[0].rules.n, 1);
    free(text);
    conf_free(&conf);
    conf_free(&again);
}

static void test_a_list_with_a_default_may_be_emptied(void **state)
{
    struct conf *conf = load("penalty_exempt = {}\n");
    char *text = print(conf);
    struct conf *again = load(text);

    (void)state;
    assert_int_equal(conf->global.penalty_exempt.n, 0);
    assert_int_equal(again->global.penalty_exempt.n, 0);
    free(text);
    conf_free(&conf);
    conf_free(&again);
}

static void test_every_setting_is_printed(void **state)
{
    struct conf *conf =
        load(GOOD_LISTENER GOOD_POOL "certificate more { file = \"/c\" key = \"/k\" }\n"
                                     "directory people { path = \"/m\" }\n");
    char *text = print(conf);

    (void)state;
    for (size_t id = 0; id < SECTIONS; id++)
        for (size_t i = 0; i < conf_sections[id].n; i++) {
            char words[80];

            snprintf(words, sizeof words, "%s = ", conf_sections[id].settings[i].name);
            if (!strstr(text, words))
                fail_msg("%s is not printed", words);
        }
    free(text);
    conf_free(&conf);
}

static void test_printing_to_a_full_disk_fails(void **state)
{
    struct conf *conf = load(GOOD_LISTENER GOOD_POOL);
    FILE *full = fopen("/dev/full", "w");
    struct err err;

    (void)state;
    assert_non_null(full);
    assert_int_equal(conf_print(conf, full, &err), -1);
    assert_non_null(strstr(err.text, "No space left"));
    fclose(full);
    conf_free(&conf);
}

static void test_variables_of_the_environment(void **state)
{
    struct conf *conf;

    (void)state;
    setenv("TEST_CONF_USER", "a \"b\" $c", 1);
    conf = load("user = \"<${TEST_CONF_USER}>\" workers = \"${TEST_CONF_UNSET:-7}\"");
    assert_string_equal(conf->global.user, "<a \"b\" $c>");
    assert_int_equal(conf_workers(conf), 7);
    conf_free(&conf);
    expect_form_error("\nuser = \"${TEST_CONF_UNSET}\"",
                      "t:2: the environment has no TEST_CONF_UNSET");
    expect_form_error("user = \"${}\"", "t:1: write \"${NAME}\"");
    expect_form_error("user = \"${A\"", "t:1: write \"${NAME}\"");
    expect_form_error("user = \"${A:-\nx}\"", "t:1: what stands for an unset variable");
    expect_form_error("user = ${HOME}", "t:1: put a value with \"$\" in single quotes");
}

static void test_errors_of_form_name_file_and_line(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"\n\nusr = x", "t:3: unknown word \"usr\"; did you mean user?"},
        {"# a\n# b\nzzzzzzzz = x", "t:3: unknown word \"zzzzzzzz\""},
        {"pool m { backend x {\n adress = x } }",
         "t:2: unknown word \"adress\"; backend has address, weight,"},
        {"listener imap {\n tsl = off }", "did you mean tls?"},
        {"listener { }", "t:1: \"listener\" is a section that needs a name"},
        {"listener a address = 1", "t:1: \"{\" is missing behind section \"listener\""},
        {"user x", "t:1: \"user\" is a setting; write ="},
        {"user +=\nx", "t:1: \"user\" is a setting; write ="},
        {"user = = x", "t:1: unexpected \"=\""},
        {"user =", "t:1: the text ends in the middle of a setting"},
        {"nameservers = {a b}", "t:1: unexpected \"b\""},
        {"nameservers = {a}}", "t:1: this \"}\" closes nothing"},
        {"{ }", "t:1: unexpected \"{\""},
        {"listener a {}\npool a {}\nlistener a {}", "listener \"a\" stands at t:1"},
        {"pool a {}\n\npool a {}", "t:3: the name \"a\" is taken; pool \"a\" stands at t:1"},
        {"pool a { backend b {}\nbackend b {} }", "t:2: the name \"b\" is taken"},
        {"tls {}\ntls {}", "t:2: there is a section tls at t:1"},
        {"\npool a {\n backend b {\n", "t:3: the \"{\" here has no end"},
        {"}", "t:1: this \"}\" closes nothing"},
        {"user = \"abc\nworkers = 1", "t:1: this text has no end; is the closing \""},
        {"user = 'abc\\'", "t:1: this text has no end; is the closing '"},
        {"/* a\nb", "t:1: this comment has no end"},
        {"user = \"a\\qb\"", "t:1: a backslash in double quotes"},
        {"user = \"a\\x0\"", "t:1: a backslash in double quotes"},
        {"user = \"a\\x00\"", "t:1: a text cannot hold a NUL"},
        {"user = \"a\x01\"", "t:1: unexpected character 0x01 in a text"},
        {"user = a\x7f", "t:1: unexpected character 0x7f"},
        {"user = a\rb", "t:1: unexpected character 0x0d"},
        {"user = a;", "t:1: unexpected \";\""},
        {"user = a\\b", "t:1: put a value with \"\\\""},
        {"user = (a)", "t:1: unexpected \"(\""},
        {"include(\"x\")", "t:1: include is for files"},
        {"include = x", "t:1: unknown word \"include\""},
        {"tls {} \"tls|key\" = x", "t:1: \"key\" does not belong here"},
        {"pool a {} \"pool=a|backend\" x {}", "t:1: \"backend\" does not belong here"},
        {"tls { \"|\" = x }", "t:1: unexpected \"|\""},
        {"\"|\" = x", "t:1: unknown word \"|\""},
        {"nameservers={{{{{{{{{", "t:1: too many sections in one another"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_form_error(cases[i].text, cases[i].message);
}

static void test_what_editors_and_other_systems_write_is_taken(void **state)
{
    struct conf *conf = load("\xef\xbb\xbf# mark\r\nuser = a\r\nlistener l {\r\n}\r\n");

    (void)state;
    assert_string_equal(conf->global.user, "a");
    assert_int_equal(conf->listeners[0].where.line, 3);
    conf_free(&conf);
}

static void test_signs_of_comments_within_words(void **state)
{
    struct conf *conf = load("user = a//b state = /x/*y workers = 1#c\nlog_level=error//e\n");
    struct told told;

    (void)state;
    assert_string_equal(conf->global.user, "a//b");
    assert_string_equal(conf->global.state, "/x/*y");
    assert_string_equal(conf->global.workers, "1");
    check(conf, false, &told);
    assert_non_null(strstr(told.mistakes[told.n - 1].text, "log_level = \"error//e\""));
    conf_free(&conf);
}

static void test_questions_a_snapshot_answers(void **state)
{
    struct conf *conf = load("pool a {} pool b {} listener x { pool = b } listener y {}");

    (void)state;
    assert_int_equal(conf_listener_pool(conf, &conf->listeners[0]), 1);
    assert_int_equal(conf_listener_pool(conf, &conf->listeners[1]), 0);
    assert_in_range(conf_workers(conf), 1, CONF_WORKERS_MAX);
    conf_free(&conf);
    conf = load("workers = 64");
    assert_int_equal(conf_workers(conf), 64);
    conf_free(&conf);
    assert_non_null(conf_library());
}

/* A pool of the file may have its name. */
static void test_behind_the_last_pool_stands_one_for_those_that_were_removed(void **state)
{
    static const char *const texts[] = {
        "", "pool a { storage = shared backend b {} }",
        "pool a {} pool removed { storage = shared queue_timeout = 1s backend b {} }"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct conf *conf = load(texts[i]);
        const struct conf_pool *pool = &conf->pools[conf->pools_n];
        const struct section *section = &conf_sections[SECTION_POOL];
        char *text = print(conf);
        struct conf *again = load(text);

        assert_int_equal(conf->pools_n, i);
        assert_string_equal(pool->title, CONF_POOL_REMOVED);
        assert_int_equal(pool->where.line, 0);
        assert_int_equal(pool->backends_n, 0);
        for (size_t k = 0; k < section->n; k++)
            assert_true(value_is_default(&section->settings[k], pool));
        assert_int_equal(again->pools_n, i);
        free(text);
        conf_free(&conf);
        conf_free(&again);
    }
}

static void test_the_nearest_word(void **state)
{
    static const char *const words[] = {"user", "workers", "state", "login_timeout", "tls"};

    (void)state;
    assert_string_equal(nearest("usre", words, 5), "user");
    assert_string_equal(nearest("worker", words, 5), "workers");
    assert_string_equal(nearest("login-timeout", words, 5), "login_timeout");
    assert_string_equal(nearest("tsl", words, 5), "tls");
    assert_null(nearest("certificate", words, 5));
    assert_null(nearest("", words, 5));
    assert_null(nearest("x", words, 5));
    assert_null(nearest("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", words, 5));
}

/* Loads "main"; `message`, behind the folder's name, is what the error says. */
static void expect_file_error(const struct folder *folder, const char *message)
{
    struct conf *conf = NULL;
    struct err err = {0};
    char path[128];

    snprintf(path, sizeof path, "%s/main", folder->path);
    assert_int_equal(conf_load(path, &conf, &err), -1);
    if (strncmp(err.text, folder->path, strlen(folder->path)) != 0 || !strstr(err.text, message))
        fail_msg("should say: %s\nsays: %s", message, err.text);
}

static void test_included_files_keep_their_lines_and_folders(void **state)
{
    const struct folder *folder = *state;
    struct conf *conf;
    struct told told;
    char path[128];

    make_sub(folder);
    write_text(folder, "main",
               "# a comment\ninclude(\"sub/part\") login_timeout = 0s\ntls { key = k }\n"
               "login_tries = 0\n");
    write_text(folder, "sub/part",
               "\n\npool p { backend b { address = h:1\ntls = starttls\n"
               "tls_ca = ca.pem weight = x } }");
    conf = load_main(folder);
    snprintf(path, sizeof path, "%s/k", folder->path);
    assert_string_equal(conf->tls.key, path);
    snprintf(path, sizeof path, "%s/sub/ca.pem", folder->path);
    assert_string_equal(conf->pools[0].backends[0].tls_ca, path);
    assert_int_equal(conf->pools[0].where.line, 3);
    check(conf, false, &told);
    assert_int_equal(told.n, 4);
    assert_non_null(strstr(told.mistakes[0].text, "no listener"));
    assert_int_equal(told.mistakes[1].line, 2);
    assert_non_null(strstr(told.mistakes[1].text, "login_timeout"));
    assert_int_equal(told.mistakes[2].line, 4);
    assert_int_equal(told.mistakes[3].line, 5);
    assert_non_null(strstr(told.mistakes[3].file, "/sub/part"));
    conf_free(&conf);
}

static void test_an_include_may_stand_in_a_section(void **state)
{
    const struct folder *folder = *state;
    struct conf *conf;

    write_text(folder, "main", "pool p {\n include (\n\t'a'\n)\n storage = shared\n}\n");
    write_text(folder, "a", "backend b { address = h:1 } # no newline here");
    conf = load_main(folder);
    assert_int_equal(conf->pools[0].backends_n, 1);
    assert_int_equal(conf->pools[0].storage, STORAGE_SHARED);
    conf_free(&conf);
}

static void test_errors_in_included_files(void **state)
{
    const struct folder *folder = *state;
    char text[64];

    write_text(folder, "main", "\ninclude(\"a\")\n");
    expect_file_error(folder, "/main:2: ");
    write_text(folder, "a", "\n\nusr = x");
    expect_file_error(folder, "/a:3: unknown word");
    write_text(folder, "a", "pool p {");
    expect_file_error(folder, "/a:1: the \"{\" here has no end");
    write_text(folder, "a", "}");
    expect_file_error(folder, "/a:1: this \"}\" closes nothing");
    write_text(folder, "a", "\ninclude(\"main\")");
    expect_file_error(folder, "/a:2: ");
    write_text(folder, "main", "include(\"deep0\")");
    for (int i = 0; i < 12; i++) {
        char name[16];

        snprintf(name, sizeof name, "deep%d", i);
        snprintf(text, sizeof text, "include(\"deep%d\")", i + 1);
        write_text(folder, name, text);
    }
    expect_file_error(folder, "more than 8 deep");
    write_text(folder, "main", "include(a)");
    expect_file_error(folder, "/main:1: write include(\"file\")");
    write_text(folder, "main", "include(\"a\" x");
    expect_file_error(folder, "the \")\" is missing");
    write_text(folder, "main", "include(\"a");
    expect_file_error(folder, "/main:1: write include(\"file\")");
}

static void test_files_that_are_no_configuration(void **state)
{
    const struct folder *folder = *state;
    struct conf *conf = NULL;
    struct err err;

    write_file(folder, "main", "user = a\0b", 10);
    expect_file_error(folder, "/main:1: unexpected character 0x00");
    assert_int_equal(conf_load(folder->path, &conf, &err), -1);
    assert_non_null(strstr(err.text, "Is a directory"));
    assert_int_equal(conf_load("/dev/zero", &conf, &err), -1);
    assert_non_null(strstr(err.text, "too large"));
    assert_int_equal(conf_load("/nowhere/at/all", &conf, &err), -1);
    assert_string_equal(err.text, "/nowhere/at/all: No such file or directory");
}

static void test_a_text_has_a_ceiling(void **state)
{
    const size_t n = 5 * 1024 * 1024;
    char *text = malloc(n + 1);

    (void)state;
    memset(text, ' ', n);
    text[n] = '\0';
    expect_form_error(text, "t: too large; a configuration has at most 4194304 bytes");
    free(text);
}

static void test_a_relative_file_gives_absolute_paths(void **state)
{
    const struct folder *folder = *state;
    char *before = getcwd(NULL, 0), *here;
    struct conf *conf = NULL;
    struct err err;
    char path[300];

    make_sub(folder);
    write_text(folder, "sub/part", "state = 's' tls { key = '/k' certificate = '' }\n");
    assert_int_equal(chdir(folder->path), 0);
    here = getcwd(NULL, 0);
    assert_int_equal(conf_load("sub/part", &conf, &err), 0);
    assert_int_equal(chdir(before), 0);
    snprintf(path, sizeof path, "%s/sub/s", here);
    assert_string_equal(conf->global.state, path);
    assert_string_equal(conf->tls.key, "/k");
    assert_string_equal(conf->tls.certificate, "");
    free(before);
    free(here);
    conf_free(&conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_default_of_the_table_is_a_good_value),
        cmocka_unit_test(test_an_empty_text_gives_the_defaults),
        cmocka_unit_test(test_each_kind_of_value_is_read),
        cmocka_unit_test(test_sections_keep_order_title_and_line),
        cmocka_unit_test(test_what_is_printed_loads_to_the_same),
        cmocka_unit_test(test_rules_may_be_left_out_of_what_is_printed),
        cmocka_unit_test(test_a_list_with_a_default_may_be_emptied),
        cmocka_unit_test(test_every_setting_is_printed),
        cmocka_unit_test(test_printing_to_a_full_disk_fails),
        cmocka_unit_test(test_variables_of_the_environment),
        cmocka_unit_test(test_errors_of_form_name_file_and_line),
        cmocka_unit_test(test_what_editors_and_other_systems_write_is_taken),
        cmocka_unit_test(test_signs_of_comments_within_words),
        cmocka_unit_test(test_questions_a_snapshot_answers),
        cmocka_unit_test(test_behind_the_last_pool_stands_one_for_those_that_were_removed),
        cmocka_unit_test(test_the_nearest_word),
        FOLDER_TEST(test_included_files_keep_their_lines_and_folders),
        FOLDER_TEST(test_an_include_may_stand_in_a_section),
        FOLDER_TEST(test_errors_in_included_files),
        FOLDER_TEST(test_files_that_are_no_configuration),
        cmocka_unit_test(test_a_text_has_a_ceiling),
        FOLDER_TEST(test_a_relative_file_gives_absolute_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
