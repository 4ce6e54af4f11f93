/* Rules and maps held against the configuration: what `usher check` tells of them. */
#include "directory/check.h"

#include "conf_testing.h"

#define POOLS                                                                        \
    "pool main { tags = {gold} backend b1 { address = \"Mail1.example:10143\" } }\n" \
    "pool other { backend b2 { address = \"[2001:db8::2]:10143\" tls = starttls\n"   \
    "  tls_verify = no } }\n"

struct findings {
    char text[4096];
};

static void on_finding(void *arg, const struct directory_finding *finding)
{
    struct findings *f = arg;
    const size_t n = strlen(f->text);
    const char *name = strrchr(finding->where->file, '/');

    snprintf(f->text + n, sizeof f->text - n, "%s:%u: %s%s\n",
             name ? name + 1 : finding->where->file, finding->where->line,
             finding->is_mistake ? "" : "warning: ", finding->text);
}

static void expect(const struct conf *conf, unsigned mistakes, const char *expected)
{
    struct findings found = {""};

    assert_int_equal(directory_check(conf, true, on_finding, &found), mistakes);
    assert_string_equal(found.text, expected);
}

static void expect_rules(const char *rules, unsigned mistakes, const char *expected)
{
    char text[2048];
    struct conf *conf;

    snprintf(text, sizeof text, POOLS "directory d { driver = static\nrules = {%s} }", rules);
    conf = load(text);
    expect(conf, mistakes, expected);
    conf_free(&conf);
}

static void test_rules_that_fit_the_configuration_are_good(void **state)
{
    (void)state;
    expect_rules("'ann pool=main', 'b tag=gold', 'c backend=b1', 'd backend=b2 pool=other',"
                 "'e host=MAIL1.EXAMPLE', 'f host=2001:DB8::2 port=10143 tls=starttls',"
                 "'g pool=main host=mail1.example tls=off', 'h disabled=yes', '* pool=main tag=x'",
                 0, "");
}

static void test_each_wrong_rule_is_told(void **state)
{
    (void)state;
    expect_rules("'ann pool=mian', 'ann poool=x', 'Ann pool=main', '~( pool=main',\n"
                 "'b tag=silver', 'c backend=b3', 'd backend=b1 pool=other', 'e host=mail1',"
                 "'f host=mail1.example port=143', 'g host=mail1.example tls=implicit',"
                 "'h host=mail1.example pool=other', 'i backend=b2 tag=gold', ''",
                 12,
                 "t:5: rules, item 1: there is no pool \"mian\"\n"
                 "t:5: rules, item 2: unknown word \"poool\"; did you mean pool?\n"
                 "t:5: rules, item 3: ann stands as item 1 already (as names are normalized)\n"
                 "t:5: rules, item 4: the expression is wrong at byte 2: missing closing "
                 "parenthesis\n"
                 "t:5: rules, item 5: no pool has the tag \"silver\" among its tags\n"
                 "t:5: rules, item 6: there is no backend \"b3\"\n"
                 "t:5: rules, item 7: there is no backend \"b1\" in pool other\n"
                 "t:5: rules, item 8: no backend has the host \"mail1\" in its address; nobody is "
                 "sent to a server that the configuration does not have\n"
                 "t:5: rules, item 9: no backend has the host \"mail1.example\" in its address "
                 "with this port and tls; nobody is sent to a server that the configuration does "
                 "not have\n"
                 "t:5: rules, item 10: no backend has the host \"mail1.example\" in its address "
                 "with this port and tls; nobody is sent to a server that the configuration does "
                 "not have\n"
                 "t:5: rules, item 11: no backend of pool other has the host \"mail1.example\" in "
                 "its address; nobody is sent to a server that the configuration does not have\n"
                 "t:5: rules, item 12: there is no backend \"b2\" in pool main\n");
}

static struct conf *load_with_map(const struct folder *folder, const char *map)
{
    write_text(folder, "main", POOLS "directory d { path = map }\n");
    if (map)
        write_text(folder, "map", map);
    return load_main(folder);
}

static void test_what_is_wrong_in_a_map_is_a_doubt(void **state)
{
    struct conf *conf = load_with_map(*state, "ann pool=main\n\nben pool=x\ncarl backend=b1\n"
                                              "dora tag=x\nemil\nemil\nfritz pool=y\n");

    expect(conf, 0,
           "map:3: warning: there is no pool \"x\"\n"
           "map:5: warning: no pool has the tag \"x\" among its tags\n"
           "map:7: warning: emil stands on line 6 already (as names are normalized)\n");
    conf_free(&conf);
}

static void test_a_map_that_is_not_there_is_a_doubt(void **state)
{
    const struct folder *folder = *state;
    struct conf *conf = load_with_map(folder, NULL);
    char expected[256], path[128];
    struct findings found = {""};

    snprintf(expected, sizeof expected,
             "main:4: warning: cannot read path %s/map: No such file or directory\n", folder->path);
    expect(conf, 0, expected);
    snprintf(path, sizeof path, "%s/map", folder->path);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(expected, sizeof expected,
             "main:4: warning: cannot read path %s/map: it is not a file\n", folder->path);
    expect(conf, 0, expected);
    assert_int_equal(unlink(path), 0);
    write_text(folder, "map", "");
    snprintf(expected, sizeof expected,
             "main:4: warning: cannot read path %s/map: it is empty; a map of nobody has a comment "
             "in it\n",
             folder->path);
    expect(conf, 0, expected);
    assert_int_equal(directory_check(conf, false, on_finding, &found), 0);
    assert_string_equal(found.text, "");
    conf_free(&conf);
}

static void test_doubts_about_one_map_are_limited_in_number(void **state)
{
    char map[4096], *at = map;
    struct conf *conf;
    struct findings found = {""};
    unsigned lines = 0;

    for (unsigned i = 0; i <= DIRECTORY_DOUBTS; i++)
        at += sprintf(at, "u%u pool=x\n", i);
    conf = load_with_map(*state, map);
    assert_int_equal(directory_check(conf, true, on_finding, &found), 0);
    for (const char *p = found.text; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, DIRECTORY_DOUBTS + 1);
    assert_non_null(strstr(found.text, "map:20: "));
    assert_non_null(strstr(found.text, "map:0: warning: more lines are told"));
    conf_free(&conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_that_fit_the_configuration_are_good),
        cmocka_unit_test(test_each_wrong_rule_is_told),
        FOLDER_TEST(test_what_is_wrong_in_a_map_is_a_doubt),
        FOLDER_TEST(test_a_map_that_is_not_there_is_a_doubt),
        FOLDER_TEST(test_doubts_about_one_map_are_limited_in_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
