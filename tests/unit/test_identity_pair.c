/* Pairing messages by their digests: the cases one by one, and random multisets against an obvious
 * model. */
#include "cm.h"

#include "no_memory.h"

#include "base/num.h"
#include "sync/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "3a10x": UID, header and size, and its text if that was read; "~" behind it: the header is weak;
 * "!": the body is lost; "@3" its date, "+4" its flags. */
static struct identity_item item_of(const char *said)
{
    struct identity_item item = {.match = 77, .wants_text = true};
    char *at;

    item.uid = (uint32_t)strtoul(said, &at, 10);
    item.head.low = (uint64_t)*at++;
    item.size = strtoul(at, &at, 10);
    for (; *at && *at != ' '; at++) {
        item.is_weak |= *at == '~';
        item.is_lost |= *at == '!';
        if (*at == '@' || *at == '+')
            item.looks[*at == '+'] = strtoul(at + 1, NULL, 10);
        item.is_dated |= *at == '@';
        if (*at >= 'a' && *at <= 'z') {
            item.has_text = true;
            item.text.high = (uint64_t)*at;
        }
    }
    return item;
}

enum { MOST = 8 };

static size_t items_of(const char *said, struct identity_item items[MOST])
{
    size_t n = 0;

    for (const char *at = *said ? said : NULL; at; at = strchr(at, ' ')) {
        assert_true(n < MOST);
        at += *at == ' ';
        items[n++] = item_of(at);
    }
    return n;
}

static size_t tell_items(char *words, size_t cap, const struct identity_item *items, size_t n)
{
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        at += (size_t)snprintf(words + at, cap - at, i > 0 ? " %u" : "%u", items[i].uid);
        if (items[i].match)
            at += (size_t)snprintf(words + at, cap - at, "=%u", items[i].match);
        else
            at += (size_t)snprintf(words + at, cap - at, items[i].wants_text ? "?" : "-");
    }
    return at;
}

/* What became of both sides: "1=5 2? 3- | 5=1 6?": paired, wants its body, alone. */
static const char *pair_words(const char *from, const char *to, bool is_full)
{
    static char words[400];
    struct identity_item a[MOST], b[MOST];
    size_t a_n = items_of(from, a), b_n = items_of(to, b), at;
    int wants = identity_pair(a, a_n, b, b_n, is_full, NULL);

    at = tell_items(words, sizeof(words), a, a_n);
    at += (size_t)snprintf(words + at, sizeof(words) - at, " | ");
    tell_items(words + at, sizeof(words) - at, b, b_n);
    assert_int_equal(wants, strchr(words, '?') != NULL);
    return words;
}

static void test_one_of_a_header_and_size_is_a_pair(void **state)
{
    (void)state;
    assert_string_equal(pair_words("1a10", "5a10", false), "1=5 | 5=1");
    assert_string_equal(pair_words("1a10", "5b10", false), "1- | 5-");
    assert_string_equal(pair_words("1a10 2a20", "5a20 6a10", false), "1=6 2=5 | 5=2 6=1");
    assert_string_equal(pair_words("1a10 2a20", "5a20", false), "1- 2=5 | 5=2");
}

static void test_nothing_is_paired_with_nothing(void **state)
{
    (void)state;
    assert_string_equal(pair_words("1a10", "", false), "1- | ");
    assert_string_equal(pair_words("", "1a10", true), " | 1-");
    assert_string_equal(pair_words("", "", false), " | ");
}

static void test_a_choice_wants_bodies(void **state)
{
    (void)state;
    assert_string_equal(pair_words("1a10 2a10", "5a10", false), "1? 2? | 5?");
    assert_string_equal(pair_words("1a10x 2a10y", "5a10y", false), "1- 2=5 | 5=2");
    assert_string_equal(pair_words("1a10x 2a10", "5a10x", false), "1- 2? | 5-");
    assert_string_equal(pair_words("1a10 2a10", "5a10 6a10", false), "1? 2? | 5? 6?");
}

static void test_sizes_that_differ_want_bodies(void **state)
{
    (void)state;
    assert_string_equal(pair_words("1a10", "5a11", false), "1? | 5?");
    assert_string_equal(pair_words("1a10x", "5a11x", false), "1=5 | 5=1");
    assert_string_equal(pair_words("1a10x", "5a11y", false), "1- | 5-");
}

static void test_dates_that_differ_want_bodies(void **state)
{
    (void)state;
    assert_string_equal(pair_words("1a10@1", "5a10@1", false), "1=5 | 5=1");
    assert_string_equal(pair_words("1a10@1", "5a10@2", false), "1? | 5?");
    assert_string_equal(pair_words("1a10x@1", "5a10x@2", false), "1=5 | 5=1");
    assert_string_equal(pair_words("1a10@1", "5a10", false), "1=5 | 5=1");
    assert_string_equal(pair_words("1a10@1!", "5a10@2", false), "1- | 5-");
    /* 1 was saved again, as 2, and the target has the old one yet. */
    assert_string_equal(pair_words("2a10y@2", "5a10x@1", false), "2- | 5-");
}

/* 2 and 5 happen to have one size, yet one server counts other bytes than the other. */
static void test_sizes_say_nothing_where_servers_do_not_agree(void **state)
{
    (void)state;
    assert_string_equal(pair_words("1a10 2a12", "5a12 6a14", false), "1? 2? | 5? 6?");
    assert_string_equal(pair_words("1a10x 2a12y", "5a12x 6a14y", false), "1=5 2=6 | 5=1 6=2");
}

static void test_equal_messages_stay_as_many_and_in_order(void **state)
{
    (void)state;
    assert_string_equal(pair_words("1a10x 2a10x 3a10x", "5a10x 6a10x", false),
                        "1=5 2=6 3- | 5=1 6=2");
    assert_string_equal(pair_words("1a10x 2a10y 3a10x", "4a10y 5a10x 6a10x", false),
                        "1=5 2=4 3=6 | 4=2 5=1 6=3");
    /* Another size does not come before the order. */
    assert_string_equal(pair_words("1a30x 2a10x 3a10x", "5a10x 6a20x", false),
                        "1=5 2=6 3- | 5=1 6=2");
}

static void test_equal_messages_are_paired_by_their_dates_and_flags_first(void **state)
{
    (void)state;
    assert_string_equal(pair_words("1a10x@1 2a10x@2", "5a10x@2 6a10x@1", false),
                        "1=6 2=5 | 5=2 6=1");
    assert_string_equal(pair_words("1a10x@1+3 2a10x@1+4", "5a10x@1+4 6a10x@1+3", false),
                        "1=6 2=5 | 5=2 6=1");
    /* The date, which stays, comes before the flags. */
    assert_string_equal(pair_words("1a10x@1+3 2a10x@2+4", "5a10x@2+3 6a10x@1+4", false),
                        "1=6 2=5 | 5=2 6=1");
    /* What is alike in nothing is equal all the same. */
    assert_string_equal(pair_words("1a10x@1 2a10x@2 3a10x@3", "5a10x@9 6a10x@2", false),
                        "1=5 2=6 3- | 5=1 6=2");
    assert_string_equal(pair_words("1a10x@1 2a10x@1", "5a10y@1 6a10x@1", false), "1=6 2- | 5- 6=1");
}

static void test_known_texts_that_differ_are_never_a_pair(void **state)
{
    (void)state;
    assert_string_equal(pair_words("1a10x", "5a10y", false), "1- | 5-");
    assert_string_equal(pair_words("1a10x", "5a10", false), "1=5 | 5=1");
}

static void test_full_wants_all_bodies_that_may_be_pairs(void **state)
{
    (void)state;
    assert_string_equal(pair_words("1a10 2b10", "5a10", true), "1? 2- | 5?");
    assert_string_equal(pair_words("1a10x", "5a10", true), "1- | 5?");
    assert_string_equal(pair_words("1a10x", "5a10x", true), "1=5 | 5=1");
    assert_string_equal(pair_words("1a10x", "5a10y", true), "1- | 5-");
}

static void test_weak_headers_are_pairs_by_their_bodies_only(void **state)
{
    (void)state;
    assert_string_equal(pair_words("1a10~", "5a10", false), "1? | 5?");
    assert_string_equal(pair_words("1a10", "5a10~", false), "1? | 5?");
    assert_string_equal(pair_words("1a10~", "5a10~", false), "1? | 5?");
    assert_string_equal(pair_words("1a10x~", "5a10x~", false), "1=5 | 5=1");
    assert_string_equal(pair_words("1a10x~", "5a10y~", false), "1- | 5-");
}

static void test_lost_bodies_are_paired_where_none_is_needed(void **state)
{
    (void)state;
    assert_string_equal(pair_words("1a10!", "5a10", false), "1=5 | 5=1");
    assert_string_equal(pair_words("1a10!", "5a10", true), "1- | 5-");
    assert_string_equal(pair_words("1a10!", "5a11", false), "1- | 5-");
    assert_string_equal(pair_words("1a10! 2a10", "5a11", false), "1- 2? | 5?");
    assert_string_equal(pair_words("1a10! 2a10x", "5a11x 6a10!", false), "1- 2=5 | 5=2 6-");
}

static void test_memory_that_is_out_changes_nothing(void **state)
{
    struct identity_item from = item_of("1a10");
    struct identity_item to = item_of("5a10");
    struct err err = {0};

    (void)state;
    memory.n = 0;
    memory.fails_at = 1;
    memory.is_on = true;
    assert_int_equal(identity_pair(&from, 1, &to, 1, false, &err), -1);
    memory.is_on = false;
    assert_int_equal(from.match, 77);
    assert_string_not_equal(err.text, "");
}

/* --- against a model -------------------------------------------------------------------------- */

/* A world of messages, each with a header and a text, and a size that its server tells. */
struct world {
    struct identity_item items[2][12];
    uint64_t texts[2][12]; /* what they are, read or not */
    size_t n[2];
    bool has_dates;
};

static uint64_t next(uint64_t *random, uint64_t most)
{
    *random = num_mix(*random + 1);
    return *random % most;
}

static void make_world(struct world *w, uint64_t *random)
{
    bool agrees = next(random, 3) > 0;

    *w = (struct world){.has_dates = next(random, 2)};
    for (int side = 0; side < 2; side++) {
        w->n[side] = next(random, 13);
        for (size_t i = 0; i < w->n[side]; i++) {
            uint64_t head = next(random, 3), text = next(random, 3);

            w->texts[side][i] = text;
            w->items[side][i] =
                (struct identity_item){.uid = (uint32_t)(100 * side + 3 * (int)i + 1),
                                       .size = 10 + text / 2 + (agrees ? 0 : next(random, 3)),
                                       .head = {head, 7},
                                       .looks = {w->has_dates ? next(random, 2) : 0},
                                       .is_weak = head == 2,
                                       .is_dated = next(random, 3) > 0,
                                       .has_text = next(random, 6) == 0,
                                       .text = {5, text}};
            if (!w->items[side][i].has_text)
                w->items[side][i].text.low = next(random, 3); /* means nothing */
        }
    }
}

static size_t count(const struct world *w, int side, uint64_t head, uint64_t text)
{
    size_t n = 0;

    for (size_t i = 0; i < w->n[side]; i++)
        n += w->items[side][i].head.high == head && w->texts[side][i] == text;
    return n;
}

static size_t count_pairs(const struct world *w, uint64_t head, uint64_t text)
{
    size_t n = 0;

    for (size_t i = 0; i < w->n[0]; i++)
        n += w->items[0][i].head.high == head && w->texts[0][i] == text && w->items[0][i].match > 0;
    return n;
}

/* Reads what is wanted; some of it is lost. */
static void read_texts(struct world *w, uint64_t *random, bool loses)
{
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < w->n[side]; i++) {
            struct identity_item *item = &w->items[side][i];

            if (!item->wants_text)
                continue;
            assert_false(item->has_text || item->is_lost);
            item->is_lost = loses && next(random, 5) == 0;
            item->has_text = !item->is_lost;
            if (item->has_text)
                item->text.low = w->texts[side][i];
        }
    }
}

static size_t index_of(const struct world *w, int side, uint32_t uid)
{
    for (size_t i = 0; i < w->n[side]; i++) {
        if (w->items[side][i].uid == uid)
            return i;
    }
    fail_msg("a match with nobody: %u", uid);
    return 0;
}

/* Whether header and size, as told, know one message on each side. */
static bool is_only_one(const struct world *w, const struct identity_item *like)
{
    size_t n[2] = {0, 0};

    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < w->n[side]; i++)
            n[side] += hash128_eq(w->items[side][i].head, like->head) &&
                       w->items[side][i].size == like->size;
    }
    return n[0] == 1 && n[1] == 1;
}

/* What holds of every pair. */
static void check_pairs(const struct world *w, bool is_full)
{
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < w->n[side]; i++) {
            const struct identity_item *a = &w->items[side][i], *b;

            if (a->match == 0)
                continue;
            b = &w->items[!side][index_of(w, !side, a->match)];
            assert_int_equal(b->match, a->uid);
            assert_true(hash128_eq(a->head, b->head));
            if (a->has_text && b->has_text) {
                assert_true(hash128_eq(a->text, b->text));
                continue;
            }
            assert_true(!is_full && !a->is_weak && a->size == b->size && is_only_one(w, a));
            assert_true(!a->is_dated || !b->is_dated || a->looks[0] == b->looks[0]);
        }
    }
}

/* Of messages whose bodies were compared: as many pairs as there can be, in order where all else is
 * alike. */
static void check_texts(const struct world *w)
{
    for (uint64_t head = 0; head < 3; head++) {
        for (uint64_t text = 0; text < 3; text++) {
            uint32_t before = 0;
            size_t a = count(w, 0, head, text), b = count(w, 1, head, text);

            assert_int_equal(count_pairs(w, head, text), a < b ? a : b);
            for (size_t i = 0; i < w->n[0]; i++) {
                const struct identity_item *item = &w->items[0][i];

                if (item->head.high != head || w->texts[0][i] != text || item->match == 0)
                    continue;
                assert_true(w->has_dates || item->match > before);
                before = item->match;
            }
        }
    }
}

static void test_random_worlds_keep_the_rules(void **state)
{
    uint64_t random = 5;

    (void)state;
    for (size_t round = 0; round < 20000; round++) {
        bool is_full = round % 2, loses = round % 3 == 0;
        struct world w, again;
        int wants;

        make_world(&w, &random);
        again = w;
        wants = identity_pair(w.items[0], w.n[0], w.items[1], w.n[1], is_full, NULL);
        assert_int_equal(
            identity_pair(again.items[0], w.n[0], again.items[1], w.n[1], is_full, NULL), wants);
        assert_memory_equal(&again, &w, sizeof(w));
        check_pairs(&w, is_full);
        if (wants) {
            read_texts(&w, &random, loses);
            assert_int_equal(identity_pair(w.items[0], w.n[0], w.items[1], w.n[1], is_full, NULL),
                             0);
            check_pairs(&w, is_full);
        }
        if (is_full && !loses)
            check_texts(&w);
    }
}

/* 300,000 a side, most of them with headers of their own, some thousands with one. */
static void test_many_messages(void **state)
{
    enum { N = 300000, SAME = 20000 };
    struct identity_item *from = calloc(N, sizeof(*from)), *to = calloc(N, sizeof(*to));

    (void)state;
    assert_true(from && to);
    for (uint32_t i = 0; i < N; i++) {
        uint64_t head = i < SAME ? 1 : num_mix(i);

        from[i] = (struct identity_item){.uid = i + 1, .head = {head, head}, .size = i % 1000};
        to[N - 1 - i] = from[i];
        to[N - 1 - i].uid = N - i;
    }
    assert_int_equal(identity_pair(from, N, to, N, false, NULL), 1);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(from[i].wants_text, i < SAME);
        from[i].has_text = from[i].wants_text;
        from[i].text.low = i / 7;
        to[N - 1 - i].has_text = from[i].has_text;
        to[N - 1 - i].text.low = i / 7;
    }
    assert_int_equal(identity_pair(from, N, to, N, false, NULL), 0);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t match = from[i].match;

        assert_in_range(match, 1, N);
        assert_int_equal(to[match - 1].match, i + 1);
    }
    free(from);
    free(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_of_a_header_and_size_is_a_pair),
        cmocka_unit_test(test_nothing_is_paired_with_nothing),
        cmocka_unit_test(test_a_choice_wants_bodies),
        cmocka_unit_test(test_sizes_that_differ_want_bodies),
        cmocka_unit_test(test_dates_that_differ_want_bodies),
        cmocka_unit_test(test_sizes_say_nothing_where_servers_do_not_agree),
        cmocka_unit_test(test_equal_messages_stay_as_many_and_in_order),
        cmocka_unit_test(test_equal_messages_are_paired_by_their_dates_and_flags_first),
        cmocka_unit_test(test_known_texts_that_differ_are_never_a_pair),
        cmocka_unit_test(test_full_wants_all_bodies_that_may_be_pairs),
        cmocka_unit_test(test_weak_headers_are_pairs_by_their_bodies_only),
        cmocka_unit_test(test_lost_bodies_are_paired_where_none_is_needed),
        cmocka_unit_test(test_memory_that_is_out_changes_nothing),
        cmocka_unit_test(test_random_worlds_keep_the_rules),
        cmocka_unit_test(test_many_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
