/* Sets of flags: numbers, texts, what may be stored. */
#include "cm.h"
#include "no_memory.h"

#include "sync/flags.h"

#include <stdio.h>
#include <stdlib.h>

static void assert_text(const struct flags *f, int64_t number, const char *expected)
{
    struct slice text;

    assert_true(number >= 0);
    text = flags_text(f, (uint32_t)number);
    assert_int_equal(text.n, strlen(expected));
    assert_memory_equal(text.p, expected, text.n);
}

static void test_sets_are_texts_in_order(void **state)
{
    static const struct {
        const char *words, *text;
    } rows[] = {
        {"", ""},
        {"  ", ""},
        {"\\Seen", "\\Seen"},
        {"\\Recent", ""},
        {"\\Seen \\RECENT \\Answered", "\\Answered \\Seen"},
        {"b C a", "a b C"},
        {"x", "x"},
        {"Zz zZ AA aa", "AA Zz"},
        {" \\Seen  $Junk ", "$Junk \\Seen"},
        {"$x $X \\SEEN \\Seen $x", "$x \\SEEN"},
        {"ab a abc", "a ab abc"},
        {"[x] {5} \xe4 \xc3\xa4", "[x] {5} \xc3\xa4 \xe4"},
    };
    struct flags *f = flags_new();

    (void)state;
    assert_non_null(f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t number = flags_number(f, slice_str(rows[i].words));

        assert_text(f, number, rows[i].text);
        assert_int_equal(number == FLAGS_NONE, rows[i].text[0] == '\0');
        assert_int_equal(flags_number(f, slice_str(rows[i].words)), number);
        assert_int_equal(flags_number(f, slice_str(rows[i].text)), number);
    }
    flags_free(&f);
    assert_null(f);
    flags_free(&f);
}

static void test_equal_sets_have_one_number_and_keep_their_first_words(void **state)
{
    struct flags *f = flags_new();
    int64_t first = flags_number(f, SLICE("\\Seen $Label")), other;

    (void)state;
    assert_int_equal(flags_number(f, SLICE("$LABEL \\seen")), first);
    assert_int_equal(flags_number(f, SLICE("$label \\SEEN \\Recent $LABEL")), first);
    assert_text(f, first, "$Label \\Seen");
    other = flags_number(f, SLICE("\\Seen"));
    assert_true(other != first);
    assert_true(flags_number(f, SLICE("$Label\\Seen")) != first);
    assert_text(f, other, "\\Seen");
    assert_text(f, first, "$Label \\Seen");
    flags_free(&f);
}

/* Each subset of twelve flags, in two orders; the short cut for lists that came before is passed by
 * as often as it serves. */
static void test_thousands_of_sets_keep_their_numbers(void **state)
{
    enum { FLAGS = 12 };
    int64_t numbers[1 << FLAGS];
    struct flags *f = flags_new();
    char words[2][200];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (unsigned set = 0; set < 1U << FLAGS; set++) {
            size_t n[2] = {0, 0};

            for (unsigned i = 0; i < FLAGS; i++) {
                const unsigned at[2] = {i, FLAGS - 1 - i};

                for (int k = 0; k < 2; k++) {
                    if (set >> at[k] & 1)
                        n[k] += (size_t)snprintf(words[k] + n[k], sizeof(words[k]) - n[k],
                                                 "keyword-%u ", at[k]);
                }
            }
            if (round == 0)
                numbers[set] = flags_number(f, slice_of(words[0], n[0]));
            assert_int_equal(flags_number(f, slice_of(words[0], n[0])), numbers[set]);
            assert_int_equal(flags_number(f, slice_of(words[1], n[1])), numbers[set]);
        }
    }
    assert_int_equal(numbers[0], FLAGS_NONE);
    for (unsigned set = 1; set < 1U << FLAGS; set++)
        assert_int_equal(numbers[set], set);
    flags_free(&f);
}

static void test_what_may_be_stored(void **state)
{
    static const struct {
        const char *words, *permitted, *text;
    } rows[] = {
        {"\\Seen $a", "", "$a \\Seen"}, /* not told: all may be */
        {"\\Seen $a", " ", ""},         /* told, and nothing in it */
        {"", " ", ""},
        {"\\Seen $a", "\\Seen \\Deleted", "\\Seen"},
        {"\\Seen $a", "\\Deleted \\Seen $A", "$a \\Seen"},
        {"\\Seen $a b", "\\*", "$a b"},
        {"\\Seen \\Junk $a", "\\Answered \\Seen \\*", "$a \\Seen"},
        {"\\*", "\\* \\Seen", ""}, /* a wish of PERMANENTFLAGS, no flag */
        {"a b c d", "d x b", "b d"},
        {"a%b a*b x{5} \xc3\xa4 ok \\ \\\\x", "", "ok"},
        {"a%b ok x]", "a%b \\*", "ok x]"},
        {"\\Seen", "\\SeenX \\See", ""},
    };
    struct flags *f = flags_new();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t number = flags_number(f, slice_str(rows[i].words)), stored;
        bool is_lost = false;

        assert_true(number >= 0);
        stored = flags_permitted(f, (uint32_t)number, slice_str(rows[i].permitted), &is_lost);
        assert_text(f, stored, rows[i].text);
        assert_int_equal(is_lost, stored != number);
    }
    flags_free(&f);
}

/* Whatever request for memory fails, what was there stays, and can be asked for again. */
static void test_no_memory_loses_nothing(void **state)
{
    char words[600];
    bool is_lost, has_failed = true;
    size_t n = 0;

    (void)state;
    for (int i = 10; i < 50; i++)
        n += (size_t)snprintf(words + n, sizeof(words) - n, "%sword%d", n > 0 ? " " : "", i);
    for (size_t at = 1; has_failed; at++) {
        struct flags *f;
        int64_t seen = -1, all = -1, some = -1;

        memory.n = 0;
        memory.fails_at = at;
        memory.is_on = true;
        f = flags_new();
        if (f) {
            seen = flags_number(f, SLICE("\\Seen"));
            all = flags_number(f, slice_of(words, n));
            if (all >= 0)
                some = flags_permitted(f, (uint32_t)all, SLICE("word17 x"), &is_lost);
        }
        has_failed = memory.n >= at;
        memory.is_on = false;
        assert_int_equal(has_failed, !f || seen < 0 || all < 0 || some < 0);
        if (!f)
            continue;
        assert_true(seen < 0 || flags_number(f, SLICE("\\Seen")) == seen);
        assert_text(f, flags_number(f, SLICE("\\Seen")), "\\Seen");
        assert_true(all < 0 || flags_number(f, slice_of(words, n)) == all);
        all = flags_number(f, slice_of(words, n));
        assert_text(f, all, words);
        assert_text(f, flags_permitted(f, (uint32_t)all, SLICE("word17 x"), &is_lost), "word17");
        assert_true(is_lost);
        flags_free(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets_are_texts_in_order),
        cmocka_unit_test(test_equal_sets_have_one_number_and_keep_their_first_words),
        cmocka_unit_test(test_thousands_of_sets_keep_their_numbers),
        cmocka_unit_test(test_what_may_be_stored),
        cmocka_unit_test(test_no_memory_loses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
