/* --regextrans2: substitutions as Perl has them. */
#include "folder_names_world.h"

static void expect_made(const char *trans, const char *from, const char *to)
{
    const struct sync_choice choice = {.regextrans2 = {&trans, 1}};

    expect_one(&choice, slashes, slashes, from, to);
}

/* What perl 5.36 made of each of these. */
static void test_substitutions_are_those_of_perl(void **state)
{
    static const char *const cases[][3] = {
        {"s/^INBOX\\.(.+)/$1/", "INBOX.Sent", "Sent"},
        {"s{^INBOX$}{Inbox_Migrated}", "INBOX", "Inbox_Migrated"},
        {"s,^mail/Sent Items$,Sent,", "mail/Sent Items", "Sent"},
        {"s,\\.,_,g", "a.b.c", "a_b_c"},
        {"s,o,0,", "foo", "f0o"},
        {"s{a{2}}{x{y}z}", "aa", "x{y}z"},
        {"s{a} {b}g", "aab", "bbb"},
        {"s{a}/b/g", "aab", "bbb"},
        {"s(o)(\\(x)", "foo", "f(xo"},
        {"s<a>[b]", "aa", "ba"},
        {"s#o#x#g", "foo", "fxx"},
        {"s/O/x/gi;", "foo", "fxx"},
        {" s/o/x/ ", "foo", "fxo"},
        {"s/o  b/X/x", "foobar", "foXar"},
        {"s|a\\|b|X|", "xa|b", "xX|b"},
        {"s.a\\.b.X.", "xaab", "xX"},
        {"s+a\\+b+X+", "aab", "X"},
        {"s{a\\}b}{X}", "a}b", "X"},
        {"s/o/\\//g", "fo1", "f/1"},
        {"s/o/a\\,b/", "foo", "fa,bo"},
        {"s/o/\\\\/", "foo", "f\\o"},
        {"s/o/\\$2/", "foo", "f$2o"},
        {"s/o/a@b/", "foo", "fa@bo"},
        {"s/(x)?o/<$1>/", "foo", "f<>o"},
        {"s/o/$2/", "foo", "fo"},
        {"s/(o)/\\10/", "foo", "fo"},
        {"s/(o)/${1}0/", "foo", "fo0o"},
        {"s/f\\Ko/x/g", "foo", "fxo"},
        {"s/(.)(.)/\\2$1$&${&}/", "abc", "baababc"},
        {"s/x*/-/g", "abc", "-a-b-c-"},
        {"s/x*/-/g", "axb", "-a--b-"},
        {"s/$/x/", "foo", "foox"},
        {"s/^/x/g", "foo", "xfoo"},
        {"s/(?<n>o)/[$1]/", "foo", "f[o]o"},
        {"s/(.*)/\\u\\L$1\\E-$&/", "SENT", "Sent-SENT"},
        {"s,([^/]+),\\U$1\\E,g", "ab/cd", "AB/CD"},
        {"s/(o)/\\Ua\\lBC\\Ed/", "foobar", "fAbCdobar"},
        {"s/(o)/\\L\\uABC/", "foo", "fAbco"},
        {"s/(.*)/\\u$1x\\lY/", "sent", "Sentxy"},
        {"s/o/\\Ux/g", "oaob", "XaXb"},
        {"s/none/x/", "foo", "foo"},
        {"s/f.o//", "foo.", "."},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_made(cases[i][0], cases[i][1], cases[i][2]);
}

static void test_substitutions_are_about_characters(void **state)
{
    (void)state;
    expect_made("s/^.//", "\xc3\xa9t\xc3\xa9", "t\xc3\xa9");
    expect_made("s/./x/g", "\xe2\x82\xac\xf0\x9f\x93\xa7", "xx");
    expect_made("s/x*/-/g", "\xc3\xa9", "-\xc3\xa9-");
    expect_made("s/\xc3\x89/e/i", "\xc3\xa9", "e");
    expect_made("s/a/\\\xc3\xa9/", "a", "\xc3\xa9");
    expect_made("s/a/\\U\xc3\xa9z/", "a", "\xc3\xa9Z");
}

static void test_substitutions_come_one_after_the_other_on_the_whole_name(void **state)
{
    const struct sync_choice choice = {.regextrans2 = WORDS("s/^INBOX\\.//", "s/a/b/", "s/b/c/g")};

    (void)state;
    expect_one(&choice, slashes, below_inbox, "a/b", "c.c");
    expect_one(&choice, slashes, below_inbox, "INBOX", "INBOX");
}

static void test_what_a_substitution_leaves_must_be_a_name(void **state)
{
    (void)state;
    expect_made("s/.*//", "a", "!its name at the target is empty");
    expect_made("s/b//", "a/b", "!ends with a separator");
    expect_made("s/.*/inbox/", "a", "INBOX");
    expect_made("s/a/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/g",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "!name too long");
}

static void test_what_is_no_substitution_is_refused_with_the_reason(void **state)
{
    static const char *const cases[][2] = {
        {"", "not a substitution"},
        {"a", "not a substitution"},
        {"m/a/", "not a substitution"},
        {"s", "a delimiter"},
        {"sort", "a delimiter"},
        {"s a b ", "a delimiter"},
        {"s/a", "left side has no end: \"/\""},
        {"s/a\\/", "left side has no end: \"/\""},
        {"s{a{}{b}", "left side has no end: \"}\""},
        {"s/a/b", "right side has no end: \"/\""},
        {"s{a}{b", "right side has no end: \"}\""},
        {"s{a}", "a delimiter"},
        {"s'a'b'", "the delimiter '"},
        {"s{a}'b'", "the delimiter '"},
        {"s/a/b/e", "the flag e is code"},
        {"s/a/b/gee", "the flag e is code"},
        {"s/a/b/r", "\"r\", where flags"},
        {"s/a/b/; s/c/d/", "\"; s/c/d/\", where flags"},
        {"s/(/b/", "the expression is wrong at byte"},
        {"s/(?=ab\\K)/x/", "wrong at byte 9"},
        {"s/a/$x/", "behind $"},
        {"s/a/$/", "behind $"},
        {"s/a/$0/", "behind $"},
        {"s/a/${1/", "has no }"},
        {"s/a/${x}/", "behind $"},
        {"s/a/\\x41/", "\\x is not known"},
        {"s/a/\\n/", "\\n is not known"},
        {"s/a/\\0/", "\\0 is not known"},
        {"s/a/\n/", "control characters"},
        {"s/a/\xff/", "not UTF-8"},
        {"tr/a/b/", "tr and y"},
        {"tr,*%.#,_,", "tr and y"},
        {"y/a/b/", "tr and y"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct sync_choice choice = {.regextrans2 = {&cases[i][0], 1}};

        refuse(&choice, cases[i][1]);
        if (!strchr(cases[i][0], '\xff'))
            refuse(&choice, "--regextrans2");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_substitutions_are_those_of_perl),
        cmocka_unit_test(test_substitutions_are_about_characters),
        cmocka_unit_test(test_substitutions_come_one_after_the_other_on_the_whole_name),
        cmocka_unit_test(test_what_a_substitution_leaves_must_be_a_name),
        cmocka_unit_test(test_what_is_no_substitution_is_refused_with_the_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
