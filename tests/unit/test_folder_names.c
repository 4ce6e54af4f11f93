/* The way of a folder's name from one account to the other: choosing, namespaces, special uses. */
#include "folder_names_world.h"

#include "base/num.h"

/* ---- namespaces ---- */

static void test_separators_and_prefixes_of_one_side_become_those_of_the_other(void **state)
{
    (void)state;
    expect_plain(slashes, dots, "a/b/c", "a.b.c");
    expect_plain(dots, slashes, "a.b.c", "a/b/c");
    expect_plain(below_inbox, slashes, "INBOX.Sent", "Sent");
    expect_plain(below_inbox, slashes, "Inbox.Sent.2020", "Sent/2020");
    expect_plain(slashes, below_inbox, "Sent/2020", "INBOX.Sent.2020");
    expect_plain(slashes, below_inbox, "INBOXES", "INBOX.INBOXES");
    expect_plain((struct names_space){SLICE("mail/"), '/'}, (struct names_space){SLICE("~"), '^'},
                 "mail/a/b", "~a^b");
    expect_plain(below_inbox, slashes, "Public.a", "Public/a");
    expect_plain(slashes, slashes, "\xc3\xa9/\xe2\x82\xac", "\xc3\xa9/\xe2\x82\xac");
}

static void test_inbox_is_inbox_whatever_the_prefixes(void **state)
{
    const struct names_space all[] = {slashes, dots, below_inbox, flat};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 4; k++) {
            expect_plain(all[i], all[k], "INBOX", "INBOX");
            expect_plain(all[i], all[k], "inBox", "INBOX");
        }
    }
    expect_plain(slashes, below_inbox, "INBOX/a", "INBOX.INBOX.a");
    expect_plain(below_inbox, slashes, "INBOX.INBOX.a", "INBOX/a");
    expect_plain(slashes, dots, "inbox/a", "inbox.a");
}

/* It is another folder than INBOX, so its mail must not come to lie there. */
static void test_a_folder_that_would_become_a_second_inbox_has_no_name(void **state)
{
    (void)state;
    expect_plain(below_inbox, slashes, "INBOX.INBOX", "!beside INBOX");
    expect_plain(below_inbox, dots, "INBOX.inbox", "!beside INBOX");
    expect_plain(below_inbox, below_inbox, "INBOX.INBOX", "INBOX.INBOX");
}

static void test_a_level_with_the_other_separator_in_it_has_a_dash_there(void **state)
{
    (void)state;
    expect_plain(slashes, dots, "v1.2/a", "v1_2.a");
    expect_plain(dots, slashes, "a/b.c", "a_b/c");
    expect_plain(flat, slashes, "a/b.c", "a_b.c");
    expect_plain(slashes, flat, "a/b.c", "a_b.c");
    expect_plain(flat, flat, "a/b.c", "a/b.c");
    expect_plain(slashes, (struct names_space){SLICE(""), '^'}, "a^/b", "a_^b");
}

static void test_odd_names_go_as_they_are(void **state)
{
    static const char *const odd[] = {" ",    " a ",  "a//b",   "/a", ".",      "..", "a/./b",
                                      "a\tb", "\"\\", "%*&~{}", "&-", "INBOX/", "a/"};

    (void)state;
    for (size_t i = 0; i < 11; i++)
        expect_plain(slashes, slashes, odd[i], odd[i]);
    expect_plain(slashes, dots, "a// b ", "a.. b ");
    /* There they would be the folder without it, for the target. */
    for (size_t i = 11; i < 13; i++)
        expect_plain(slashes, slashes, odd[i], "!its name ends with a separator");
    expect_plain(dots, slashes, "a/", "a_");
}

static void test_what_is_no_name_is_told(void **state)
{
    struct sync_choice none = {0};
    struct naming *n = make(&none, slashes, dots);
    char *longest = calloc(1, NAMES_LONGEST + 2);
    struct err err;
    struct buf out;

    (void)state;
    expect(n, "", "!is empty");
    expect(n, "a\r\nb", "!NUL or line ends");
    expect(n, "\xff", "!not UTF-8");
    memset(longest, 'a', NAMES_LONGEST);
    expect(n, longest, longest);
    longest[NAMES_LONGEST] = 'a';
    expect(n, longest, "!too long");
    buf_init(&out, 10, false);
    assert_int_equal(naming_map(n, slice_of("a\0b", 3), (struct slice){0}, &out, &err),
                     NAMES_UNFIT);
    naming_free(&n);
    n = make(&none, slashes, below_inbox);
    longest[NAMES_LONGEST] = '\0';
    expect(n, longest, "!too long");
    naming_free(&n);
    naming_free(&n);
    expect_plain((struct names_space){SLICE("~x"), '^'}, dots, "~x", "!the prefix of all others");
    expect_plain((struct names_space){SLICE("~x"), '^'}, below_inbox, "~x", "!the prefix of all");
    free(longest);
}

/* ---- choosing ---- */

static void test_folders_subtrees_and_includes_add_and_excludes_take_away(void **state)
{
    const struct sync_choice choice = {.folders = WORDS("a", "INBOX"),
                                       .subtrees = WORDS("t", "u/"),
                                       .includes = WORDS("^x[0-9]", "incl"),
                                       .excludes = WORDS("/no", "^a$")};
    struct naming *n = make(&choice, slashes, slashes);

    (void)state;
    expect(n, "a", "-");
    expect(n, "a/b", "-");
    expect(n, "Inbox", "INBOX");
    expect(n, "INBOX/a", "-");
    expect(n, "t", "t");
    expect(n, "t/b/c", "t/b/c");
    expect(n, "tb", "-");
    expect(n, "t/no", "-");
    expect(n, "u", "u");
    expect(n, "u/x", "u/x");
    expect(n, "x1", "x1");
    expect(n, "yx1", "-");
    expect(n, "b/incl/c", "b/incl/c");
    expect(n, "INCL", "-");
    naming_free(&n);
}

static void test_without_a_choice_all_go_but_those_excluded(void **state)
{
    const struct sync_choice choice = {.excludes = WORDS("(?i)^trash$", "^.\xc3\xa9")};
    struct naming *n = make(&choice, slashes, slashes);

    (void)state;
    expect(n, "TRASH", "-");
    expect(n, "TRASHED", "TRASHED");
    expect(n, "\xc3\xa9\xc3\xa9", "-");
    naming_free(&n);
}

static void test_an_expression_at_its_bounds_is_told_with_the_name(void **state)
{
    const struct sync_choice excludes = {.excludes = WORDS("^(a|aa)+$")};
    const struct sync_choice includes = {.includes = WORDS("^(a|aa)+$")};
    const struct sync_choice makes = {.regextrans2 = WORDS("s/a/b/", "s/^(b|a|aa)+$/x/")};
    const char *hard = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac";

    (void)state;
    expect_one(&excludes, slashes, slashes, hard, "!--exclude ^(a|aa)+$ takes too many steps");
    expect_one(&includes, slashes, slashes, hard, "!--include ^(a|aa)+$ takes too many steps");
    expect_one(&makes, slashes, slashes, hard,
               "!--regextrans2 s/^(b|a|aa)+$/x/ takes too many steps");
}

static void test_each_name_has_all_its_steps_before_it(void **state)
{
    const struct sync_choice choice = {.excludes = WORDS("[a-z]*[a-z]*[0-9]")};
    const char *name = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    struct naming *n = make(&choice, slashes, slashes);

    (void)state;
    for (int i = 0; i < 1000; i++)
        expect(n, name, name);
    naming_free(&n);
}

static void test_choices_that_named_nothing_are_told(void **state)
{
    const struct sync_pair pairs[] = {{"p", "q"}, {"gone", "q"}};
    const struct sync_choice choice = {.folders = WORDS("a", "b"),
                                       .subtrees = WORDS("t", "u/"),
                                       .excludes = WORDS("."),
                                       .pairs = pairs,
                                       .pairs_n = 2,
                                       .subfolder1 = "s"};
    static const char *const left[][2] = {
        {"--folder", "b"}, {"--folderrec", "u/"}, {"--f1f2", "gone"}, {"--subfolder1", "s"}};
    struct naming *n = make(&choice, slashes, slashes);
    const char *option, *word;

    (void)state;
    expect(n, "a", "-");
    expect(n, "t/x", "-");
    expect(n, "p", "-");
    for (size_t i = 0; i < 4; i++) {
        assert_true(naming_unused(n, i, &option, &word));
        assert_string_equal(option, left[i][0]);
        assert_string_equal(word, left[i][1]);
    }
    assert_false(naming_unused(n, 4, &option, &word));
    expect(n, "s/x", "-");
    assert_false(naming_unused(n, 3, &option, &word));
    naming_free(&n);
}

/* ---- pairs and subfolders ---- */

static void test_a_pair_decides_alone(void **state)
{
    const struct sync_pair pairs[] = {
        {"a/b", "X.Y/Z"}, {"inbox", "Old"}, {"a/b", "second"}, {"c", "inbox"}, {"d", "e."}};
    const struct sync_choice choice = {.pairs = pairs,
                                       .pairs_n = 5,
                                       .automap = true,
                                       .subfolder2 = "S",
                                       .regextrans2 = WORDS("s/^/T/")};
    struct naming *n = make(&choice, slashes, below_inbox);

    (void)state;
    expect(n, "a/b", "X.Y/Z");
    expect(n, "INBOX", "Old");
    expect(n, "c", "INBOX");
    expect(n, "d", "!its name at the target ends with a separator");
    expect(n, "a", "TINBOX.S.a");
    naming_free(&n);
}

static void test_subfolder2_has_all_below_it(void **state)
{
    static const char *const forms[] = {"Old", "Old.", "INBOX.Old"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct sync_choice choice = {.subfolder2 = forms[i]};

        expect_one(&choice, slashes, below_inbox, "INBOX", "INBOX.Old.INBOX");
        expect_one(&choice, slashes, below_inbox, "a/b", "INBOX.Old.a.b");
        expect_one(&choice, below_inbox, below_inbox, "INBOX.a", "INBOX.Old.a");
    }
    expect_one(&(struct sync_choice){.subfolder2 = "x/y"}, slashes, slashes, "a", "x/y/a");
    expect_one(&(struct sync_choice){.subfolder2 = "/"}, slashes, slashes, "a", "a");
    expect_one(&(struct sync_choice){.subfolder2 = "INBOX"}, slashes, below_inbox, "a", "INBOX.a");
    expect_one(&(struct sync_choice){.subfolder2 = "INBOX"}, slashes, slashes, "a", "INBOX/a");
}

static void test_subfolder1_is_the_root_of_what_goes(void **state)
{
    static const char *const forms[] = {"S1.S2", "S1.S2.", "INBOX.S1.S2"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct sync_choice choice = {.subfolder1 = forms[i]};
        struct naming *n = make(&choice, below_inbox, slashes);

        expect(n, "INBOX.S1.S2.F1.F2", "F1/F2");
        expect(n, "INBOX.S1.S2.INBOX", "INBOX");
        expect(n, "INBOX.S1.S2", "INBOX");
        expect(n, "INBOX.S1.S2x", "-");
        expect(n, "INBOX.S1", "-");
        expect(n, "INBOX", "-");
        naming_free(&n);
    }
}

static void test_subfolder1_takes_back_what_subfolder2_has_put_there(void **state)
{
    static const char *const all[] = {"INBOX", "a", "a/b c", "\xc3\xa9/INBOX", "INBOX/x"};
    const struct sync_choice away = {.subfolder2 = "Backup/of Ann"};
    const struct sync_choice back = {.subfolder1 = "Backup/of Ann"};
    struct naming *there = make(&away, slashes, slashes);
    struct naming *here = make(&back, slashes, slashes);

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char name[100];

        snprintf(name, sizeof name, "%s", map_use(there, all[i], ""));
        assert_memory_equal(name, "Backup/of Ann/", 14);
        expect(here, name, all[i]);
    }
    naming_free(&there);
    naming_free(&here);
}

/* ---- special uses ---- */

static void add_use(struct naming *n, const char *use, const char *name)
{
    assert_int_equal(naming_add_use(n, slice_str(use), slice_str(name), NULL), 0);
}

static void add_source_use(struct naming *n, const char *use, const char *name)
{
    assert_int_equal(naming_add_source_use(n, slice_str(use), slice_str(name), NULL), 0);
}

static void test_folders_of_a_special_use_go_to_those_of_the_target(void **state)
{
    const struct sync_choice choice = {.automap = true, .regextrans2 = WORDS("s/^/x/")};
    struct naming *n = make(&choice, slashes, below_inbox);

    (void)state;
    add_use(n, "\\Sent", "INBOX.Sent Items");
    add_use(n, "\\Sent", "INBOX.Sent Messages");
    add_use(n, "", "INBOX.Spam");
    add_use(n, "", "INBOX.Trash");
    add_use(n, "", "INBOX.Notes");
    assert_string_equal(map_use(n, "Gesendet!", "\\sent"), "INBOX.Sent Items");
    assert_string_equal(map_use(n, "sent messages", "\\Sent"), "INBOX.Sent Messages");
    assert_string_equal(map_use(n, "Sent", ""), "INBOX.Sent Items");
    assert_string_equal(map_use(n, "J", "\\Junk"), "INBOX.Spam");
    assert_string_equal(map_use(n, "Deleted Items", ""), "INBOX.Trash");
    assert_string_equal(map_use(n, "Entw\xc3\xbcrfe", "\\Drafts"), "xINBOX.Entw\xc3\xbcrfe");
    assert_string_equal(map_use(n, "Notes", ""), "xINBOX.Notes");
    assert_string_equal(map_use(n, "a/Sent", ""), "xINBOX.a.Sent");
    assert_string_equal(map_use(n, "INBOX", "\\Sent"), "xINBOX");
    naming_free(&n);
}

static void test_a_told_use_counts_more_than_a_known_name(void **state)
{
    const struct sync_choice choice = {.automap = true};
    struct naming *n = make(&choice, below_inbox, slashes);

    (void)state;
    add_use(n, "", "Junk");
    add_use(n, "", "Spam");
    add_use(n, "\\Sent", "Outgoing");
    add_use(n, "", "Sent");
    assert_string_equal(map_use(n, "INBOX.Sent", ""), "Outgoing");
    assert_string_equal(map_use(n, "INBOX.spam", ""), "Spam");
    assert_string_equal(map_use(n, "INBOX.Junk E-Mail", ""), "Junk");
    add_use(n, "\\Junk", "Bad");
    assert_string_equal(map_use(n, "INBOX.spam", ""), "Bad");
    naming_free(&n);
}

static void test_of_several_source_folders_of_one_use_the_first_goes_by_it(void **state)
{
    const struct sync_choice choice = {.automap = true};
    struct naming *n = make(&choice, below_inbox, slashes);

    (void)state;
    add_use(n, "\\Sent", "Out");
    add_use(n, "", "Trash");
    add_source_use(n, "", "INBOX.Sent");
    add_source_use(n, "\\Sent", "INBOX.Gone out");
    add_source_use(n, "\\Sent", "INBOX.Sent Messages");
    add_source_use(n, "", "INBOX.Deleted Messages");
    add_source_use(n, "", "INBOX.Deleted Items");
    assert_string_equal(map_use(n, "INBOX.Sent", ""), "Sent");
    assert_string_equal(map_use(n, "INBOX.Gone out", "\\Sent"), "Out");
    assert_string_equal(map_use(n, "INBOX.Sent Messages", "\\Sent"), "Sent Messages");
    assert_string_equal(map_use(n, "INBOX.Deleted Items", ""), "Trash");
    assert_string_equal(map_use(n, "INBOX.Deleted Messages", ""), "Deleted Messages");
    naming_free(&n);
}

static void test_uses_count_with_automap_alone_and_not_with_subfolders(void **state)
{
    const struct sync_choice choices[] = {{.automap = false},
                                          {.automap = true, .subfolder1 = "S"},
                                          {.automap = true, .subfolder2 = "S"}};
    static const char *const names[] = {"Sent", "S/Sent", "Sent"};
    static const char *const others[] = {"Sent", "Sent", "S/Sent"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct naming *n = make(&choices[i], slashes, slashes);

        add_use(n, "\\Sent", "Out");
        assert_string_equal(map_use(n, names[i], "\\Sent"), others[i]);
        naming_free(&n);
    }
}

static void test_a_server_cannot_have_uses_without_end(void **state)
{
    const struct sync_choice choice = {.automap = true};
    struct naming *n = make(&choice, slashes, slashes);
    char name[32];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "Sent%d", i);
        add_use(n, "\\Sent", name);
    }
    assert_string_equal(map_use(n, "x", "\\Sent"), "Sent0");
    assert_string_equal(map_use(n, "Sent9", "\\Sent"), "Sent9");
    assert_string_equal(map_use(n, "Sent999", "\\Sent"), "Sent0");
    naming_free(&n);
}

static void test_what_is_wrong_in_the_choice_is_told_with_the_option(void **state)
{
    const struct sync_pair pair = {"a", ""};

    (void)state;
    refuse(&(struct sync_choice){.includes = WORDS("a", "[")}, "--include [: the expression");
    refuse(&(struct sync_choice){.excludes = WORDS("a", "(")}, "--exclude (: the expression");
    refuse(&(struct sync_choice){.folders = WORDS("")}, "--folder: ");
    refuse(&(struct sync_choice){.folders = WORDS("\xff")}, "--folder: ");
    refuse(&(struct sync_choice){.subtrees = WORDS("\xff")}, "--folderrec: ");
    refuse(&(struct sync_choice){.pairs = &pair, .pairs_n = 1}, "--f1f2 a: ");
    refuse(&(struct sync_choice){.subfolder1 = "\xff"}, "--subfolder1: ");
    refuse(&(struct sync_choice){.subfolder2 = "\xff"}, "--subfolder2: ");
    refuse(&(struct sync_choice){.subfolder2 = "a"}, "--subfolder2: the target has no folders");
}

/* ---- sameness ---- */

static void test_only_inbox_as_the_first_level_is_the_same_in_any_case(void **state)
{
    (void)state;
    assert_true(names_are_same(SLICE("inbox"), SLICE("INBOX"), '/'));
    assert_true(names_are_same(SLICE("inbox/a"), SLICE("INBOX/a"), '/'));
    assert_false(names_are_same(SLICE("inbox/a"), SLICE("INBOX/A"), '/'));
    assert_false(names_are_same(SLICE("inbox.a"), SLICE("INBOX.a"), '/'));
    assert_false(names_are_same(SLICE("inboxa"), SLICE("INBOXa"), '/'));
    assert_false(names_are_same(SLICE("inbox/a"), SLICE("INBOX/a"), 0));
    assert_false(names_are_same(SLICE("a/inbox"), SLICE("a/INBOX"), '/'));
    assert_false(names_are_same(SLICE("INBOX"), SLICE("INBOX/a"), '/'));
    assert_true(names_are_same((struct slice){0}, SLICE(""), '/'));
}

/* ---- properties ---- */

/* A name of odd pieces; not one that ends with the separator. */
static void draw_name(uint64_t *seed, char separator, char *to, size_t size)
{
    static const char *const pieces[] = {"a",        "INBOX", "inbox", ".",  "/", "^", " ",
                                         "\xc3\xa9", "_",     "\\",    "\"", "%", "*", "&-"};
    size_t n = 0;

    *seed = num_mix(*seed + 1);
    for (uint64_t bits = *seed, left = 1 + bits % 7; left > 0; left--, bits = num_mix(bits)) {
        const char *piece = pieces[(bits >> 8) % (sizeof pieces / sizeof *pieces)];

        n += (size_t)snprintf(to + n, size - n, "%s", piece);
    }
    if (separator && to[n - 1] == separator)
        snprintf(to + n, size - n, "z");
}

static void test_between_equal_namespaces_every_name_stays_as_it_is(void **state)
{
    const struct names_space all[] = {slashes, dots, below_inbox, flat};
    struct sync_choice none = {0};
    uint64_t seed = 7;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct naming *n = make(&none, all[i], all[i]);

        for (int k = 0; k < 2000; k++) {
            char name[100];

            draw_name(&seed, all[i].separator, name, sizeof name);
            expect(n, name, slice_ieq(slice_str(name), SLICE("INBOX")) ? "INBOX" : name);
        }
        naming_free(&n);
    }
}

/* There and back, unless a level had the other's separator in it. */
static void test_a_name_comes_back_as_it_went(void **state)
{
    const struct names_space all[] = {slashes, dots, below_inbox};
    struct sync_choice none = {0};
    uint64_t seed = 11;

    (void)state;
    for (size_t i = 0; i < 9; i++) {
        const struct names_space a = all[i % 3], b = all[i / 3];
        struct naming *there = make(&none, a, b), *back = make(&none, b, a);

        for (int k = 0; k < 1000; k++) {
            char name[120], other[120];

            snprintf(name, sizeof name, "%.*s", SLICE_ARG(a.prefix));
            draw_name(&seed, a.separator, name + a.prefix.n, sizeof name - a.prefix.n);
            if (a.separator != b.separator && strchr(name, b.separator))
                continue;
            snprintf(other, sizeof other, "%s", map_use(there, name, ""));
            if (strcmp(other, "INBOX") == 0 || other[0] == '!')
                continue;
            assert_string_equal(other, map_use(there, name, ""));
            expect(back, other, name);
        }
        naming_free(&there);
        naming_free(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_separators_and_prefixes_of_one_side_become_those_of_the_other),
        cmocka_unit_test(test_inbox_is_inbox_whatever_the_prefixes),
        cmocka_unit_test(test_a_folder_that_would_become_a_second_inbox_has_no_name),
        cmocka_unit_test(test_a_level_with_the_other_separator_in_it_has_a_dash_there),
        cmocka_unit_test(test_odd_names_go_as_they_are),
        cmocka_unit_test(test_what_is_no_name_is_told),
        cmocka_unit_test(test_folders_subtrees_and_includes_add_and_excludes_take_away),
        cmocka_unit_test(test_without_a_choice_all_go_but_those_excluded),
        cmocka_unit_test(test_an_expression_at_its_bounds_is_told_with_the_name),
        cmocka_unit_test(test_each_name_has_all_its_steps_before_it),
        cmocka_unit_test(test_choices_that_named_nothing_are_told),
        cmocka_unit_test(test_a_pair_decides_alone),
        cmocka_unit_test(test_subfolder2_has_all_below_it),
        cmocka_unit_test(test_subfolder1_is_the_root_of_what_goes),
        cmocka_unit_test(test_subfolder1_takes_back_what_subfolder2_has_put_there),
        cmocka_unit_test(test_folders_of_a_special_use_go_to_those_of_the_target),
        cmocka_unit_test(test_a_told_use_counts_more_than_a_known_name),
        cmocka_unit_test(test_of_several_source_folders_of_one_use_the_first_goes_by_it),
        cmocka_unit_test(test_uses_count_with_automap_alone_and_not_with_subfolders),
        cmocka_unit_test(test_a_server_cannot_have_uses_without_end),
        cmocka_unit_test(test_what_is_wrong_in_the_choice_is_told_with_the_option),
        cmocka_unit_test(test_only_inbox_as_the_first_level_is_the_same_in_any_case),
        cmocka_unit_test(test_between_equal_namespaces_every_name_stays_as_it_is),
        cmocka_unit_test(test_a_name_comes_back_as_it_went),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
