/* Looking at large folders, and at much in one: in pieces, by commands of bounded length. */
#include "look_fake.h"

#include "imap/set.h"
#include "sync/flags.h"
#include "sync/look.h"

/* A folder of messages whose UIDs are strewn; some are expunged while it is looked at. */
struct large {
    uint32_t *uids;
    size_t n;
    uint32_t expunged_from, expunged_to; /* once the cuts are known */
    size_t fetches, refuses, refused;    /* the number of the piece to refuse, and how often */
    bool has_no_cuts;
    bool is_crossed; /* tells each piece from its end */
    uint32_t next;   /* the least UID that was not asked for */
};

static bool is_gone(const struct large *w, uint32_t uid)
{
    return uid >= w->expunged_from && uid < w->expunged_to;
}

static const char *serve_cuts(const struct large *w, struct slice command, struct buf *out)
{
    struct slice set = slice_sub(command, 6, command.n - 6);
    struct set_range range;

    if (w->has_no_cuts)
        return "BAD Nothing of the kind";
    assert_true(memmem(command.p, command.n, " (UID)", 6) != NULL);
    while (set_next(&set, 0, &range)) {
        assert_in_range(range.first, 1, w->n);
        assert_int_equal(range.first, range.last);
        assert_int_equal(
            buf_printf(out, "* %u FETCH (UID %u)\r\n", range.first, w->uids[range.first - 1]), 0);
    }
    return "OK done";
}

static void tell_large(const struct large *w, size_t i, struct set_range range, bool searches,
                       struct buf *out)
{
    uint32_t uid = w->uids[i];

    if (uid < range.first || uid > range.last || is_gone(w, uid))
        return;
    if (searches)
        assert_int_equal(buf_printf(out, " %u", uid), 0);
    else
        assert_int_equal(buf_printf(out, "* %zu FETCH (UID %u FLAGS (\\Seen))\r\n", i + 1, uid), 0);
}

static const char *serve_large(void *world, struct slice command, struct buf *out)
{
    struct large *w = world;
    static const struct slice fetch = SLICE("UID FETCH "), search = SLICE("UID SEARCH UID ");
    bool searches = slice_istarts(command, search);
    struct slice set;
    struct set_range range;

    if (slice_istarts(command, SLICE("FETCH ")))
        return serve_cuts(w, command, out);
    assert_true(searches || slice_istarts(command, fetch));
    w->fetches++;
    set = slice_sub(command, searches ? search.n : fetch.n, command.n);
    set.n = (size_t)((const char *)memchr(set.p, ' ', set.n) - set.p);
    assert_true(set_next(&set, UINT32_MAX, &range) && set.n == 0);
    if (w->refused < w->refuses && w->fetches >= 3) {
        w->refused++;
        return "NO Not this one";
    }
    if (w->refused == 0) {
        assert_int_equal(range.first, w->next);
        w->next = range.last + 1;
    }
    if (searches)
        assert_int_equal(buf_puts(out, "* SEARCH"), 0);
    for (size_t i = 0; i < w->n; i++)
        tell_large(w, w->is_crossed ? w->n - 1 - i : i, range, searches, out);
    if (searches)
        assert_int_equal(buf_puts(out, "\r\n"), 0);
    return "OK done";
}

enum { LARGE = 23456 };
#define STREWN ((struct look_extent){LARGE, 4000030000U})

static void large_begin(struct large *w, struct link *l)
{
    w->uids = calloc(LARGE, sizeof(*w->uids));
    assert_non_null(w->uids);
    w->n = LARGE;
    w->next = 1;
    for (uint32_t i = 0; i < LARGE; i++)
        w->uids[i] = i < 7000 ? 5 + i * 3 : 4000000000U + i;
    *l = (struct link){.serve = serve_large, .world = w, .piece = SIZE_MAX};
    fake_begin(l);
}

/* Looks, and compares: all that are not gone, each once. */
static void look_at_large(struct large *w, size_t pieces)
{
    struct look_list list;
    struct link_answer answer;
    struct flags *flags = flags_new();
    struct link l;
    size_t n = 0;

    large_begin(w, &l);
    look_list_init(&list, flags);
    assert_int_equal(look_range(&l, 1, UINT32_MAX, LOOK_FLAGS, STREWN, &list, &answer, NULL), 0);
    assert_int_equal(answer.kind, RESPONSE_OK);
    assert_int_equal(w->fetches - w->refused, pieces);
    for (size_t i = 0; i < w->n; i++) {
        if (is_gone(w, w->uids[i]))
            continue;
        assert_true(n < list.n);
        assert_int_equal(list.messages[n++].uid, w->uids[i]);
    }
    assert_int_equal(list.n, n);
    if (w->refused == 0)
        assert_int_equal(w->next, 0); /* all up to the last of them */
    look_list_free(&list);
    flags_free(&flags);
    free(w->uids);
    fake_end(&l);
}

static void test_a_large_folder_is_listed_in_pieces_that_lie_side_by_side(void **state)
{
    (void)state;
    look_at_large(&(struct large){0}, 5);
    look_at_large(&(struct large){.is_crossed = true}, 5);
}

/* Lists a folder of UIDs without gaps but for some, by its UIDNEXT. */
static void look_at_dense(uint32_t exists, uint32_t uidnext, uint32_t first, size_t pieces,
                          bool is_asked)
{
    struct large w = {.next = first};
    struct look_list list;
    struct link_answer answer;
    struct flags *flags = flags_new();
    struct link l;

    large_begin(&w, &l);
    w.next = first;
    w.n = exists;
    for (uint32_t i = 0; i < exists; i++)
        w.uids[i] = i + 1 + (i > exists / 2 ? uidnext - 1 - exists : 0);
    look_list_init(&list, flags);
    assert_int_equal(look_range(&l, first, UINT32_MAX, LOOK_FLAGS,
                                (struct look_extent){exists, uidnext}, &list, &answer, NULL),
                     0);
    assert_int_equal(w.fetches, pieces);
    assert_int_equal(l.calls, 1 + is_asked);
    assert_int_equal(w.next, 0);
    assert_int_equal(list.n, exists - first + 1);
    look_list_free(&list);
    flags_free(&flags);
    free(w.uids);
    fake_end(&l);
}

static void test_dense_uids_are_cut_without_asking(void **state)
{
    (void)state;
    look_at_dense(LARGE, LARGE + 1, 1, 4, false);
    look_at_dense(LARGE, 2 * LARGE + 1, 1, 4, false);
    look_at_dense(LARGE, 2 * LARGE + 3, 1, 5, true);
    look_at_dense(LARGE, LARGE + 1, 7001, 4, false);
    look_at_dense(10000, 10001, 1, 2, false);
    look_at_dense(9999, 10000, 1, 1, false);
}

static void test_messages_that_go_while_a_folder_is_listed_shift_no_others(void **state)
{
    (void)state;
    look_at_large(&(struct large){.expunged_from = 1000, .expunged_to = 10000}, 5);
    look_at_large(&(struct large){.expunged_from = 1, .expunged_to = UINT32_MAX}, 5);
}

static void test_a_server_that_tells_no_cuts_is_asked_for_all_at_once(void **state)
{
    (void)state;
    look_at_large(&(struct large){.has_no_cuts = true}, 1);
}

static void test_a_piece_that_was_refused_is_asked_for_once_more(void **state)
{
    (void)state;
    look_at_large(&(struct large){.refuses = 1}, 5);
    look_at_large(&(struct large){.refuses = 2}, 5);
}

static void test_a_piece_refused_twice_leaves_the_list_as_it_was(void **state)
{
    struct large w = {.refuses = 100};
    struct look_list list;
    struct link_answer answer;
    struct flags *flags = flags_new();
    struct link l;

    (void)state;
    large_begin(&w, &l);
    look_list_init(&list, flags);
    assert_int_equal(
        look_range(&l, 1, 8000, LOOK_FLAGS, (struct look_extent){9999, 0}, &list, &answer, NULL),
        0);
    assert_int_equal(w.fetches, 1);
    assert_int_equal(list.n, 2666);
    w.next = 8001;
    assert_int_equal(look_range(&l, 8001, UINT32_MAX, LOOK_FLAGS, STREWN, &list, &answer, NULL), 0);
    assert_int_equal(answer.kind, RESPONSE_NO);
    assert_true(slice_eq(answer.text, SLICE("Not this one")));
    assert_int_equal(list.n, 2666);
    look_list_free(&list);
    flags_free(&flags);
    free(w.uids);
    fake_end(&l);
}

static void test_few_uids_are_asked_for_at_once_however_large_the_folder(void **state)
{
    struct large w = {0};
    struct look_list list;
    struct link_answer answer;
    struct flags *flags = flags_new();
    struct link l;

    (void)state;
    large_begin(&w, &l);
    w.next = 100;
    look_list_init(&list, flags);
    assert_int_equal(look_range(&l, 100, 5000, LOOK_FLAGS, STREWN, &list, &answer, NULL), 0);
    assert_int_equal(l.calls, 1);
    look_list_free(&list);
    flags_free(&flags);
    free(w.uids);
    fake_end(&l);
}

static const char *serve_endless_cuts(void *world, struct slice command, struct buf *out)
{
    size_t *commands = world;

    ++*commands;
    for (unsigned i = 1; i < 2000 && slice_istarts(command, SLICE("FETCH ")); i++)
        assert_int_equal(buf_printf(out, "* %u FETCH (UID %u)\r\n", i, i), 0);
    return "OK done";
}

static void test_more_cuts_than_were_asked_for_are_not_taken(void **state)
{
    size_t commands = 0;
    struct link l = {.serve = serve_endless_cuts, .world = &commands, .piece = SIZE_MAX};
    struct look_list list;
    struct link_answer answer;

    (void)state;
    fake_begin(&l);
    look_list_init(&list, NULL);
    assert_int_equal(look_range(&l, 1, UINT32_MAX, LOOK_SIZE, (struct look_extent){UINT32_MAX, 0},
                                &list, &answer, NULL),
                     0);
    assert_int_equal(commands, 1 + 512 + 1);
    assert_in_range(l.longest, 4000, 8000);
    look_list_free(&list);
    fake_end(&l);
}

/* Sets that do not fit one command. */
static const char *serve_sets(void *world, struct slice command, struct buf *out)
{
    static const struct slice fetch = SLICE("UID FETCH ");
    struct slice set = slice_sub(command, fetch.n, command.n);
    struct set_range range;
    size_t *told = world;

    set.n = (size_t)((const char *)memchr(set.p, ' ', set.n) - set.p);
    while (set_next(&set, 0, &range)) {
        for (uint32_t uid = range.first; uid <= range.last; uid++, ++*told)
            assert_int_equal(buf_printf(out, "* 1 FETCH (FLAGS () UID %u)\r\n", uid), 0);
    }
    assert_int_equal(set.n, 0);
    return "OK done";
}

static void test_many_messages_are_asked_for_by_commands_of_bounded_length(void **state)
{
    enum { N = 60000 };
    uint32_t *uids = calloc(N, sizeof(*uids));
    size_t told = 0;
    struct link l = {.serve = serve_sets, .world = &told, .piece = SIZE_MAX};
    struct look_list list;
    struct link_answer answer;
    struct flags *flags = flags_new();

    (void)state;
    assert_non_null(uids);
    for (uint32_t i = 0; i < N; i++)
        uids[i] = UINT32_MAX - 2 * (N - i);
    fake_begin(&l);
    look_list_init(&list, flags);
    assert_int_equal(look_messages(&l, uids, N, LOOK_FLAGS, &list, &answer, NULL), 0);
    assert_int_equal(told, N);
    assert_int_equal(list.n, N);
    assert_int_equal(list.messages[N - 1].uid, uids[N - 1]);
    assert_in_range(l.longest, 7000, 8000);
    look_list_free(&list);
    flags_free(&flags);
    free(uids);
    fake_end(&l);
}

static void test_a_search_of_a_server_without_esearch_has_lines_of_bounded_length(void **state)
{
    struct large w = {0};
    struct link_answer answer;
    struct link l;
    uint32_t *uids;
    size_t n;

    (void)state;
    large_begin(&w, &l);
    assert_int_equal(look_search(&l, "ALL", STREWN, &uids, &n, &answer, NULL), 0);
    assert_int_equal(n, LARGE);
    assert_memory_equal(uids, w.uids, LARGE * sizeof(*uids));
    assert_int_equal(w.fetches, 5);
    free(uids);
    free(w.uids);
    fake_end(&l);
}

static const char *serve_too_many(void *world, struct slice command, struct buf *out)
{
    (void)world;
    (void)command;
    assert_int_equal(buf_puts(out, "* ESEARCH (TAG \"x\") UID ALL 1:4294967295\r\n"), 0);
    return "OK done";
}

static void test_a_server_that_finds_billions_is_not_believed(void **state)
{
    struct link l = {.serve = serve_too_many, .offers = "ESEARCH", .piece = SIZE_MAX};
    struct link_answer answer;
    struct err err;
    uint32_t *uids;
    size_t n;

    (void)state;
    fake_begin(&l);
    assert_int_equal(look_search(&l, "ALL", (struct look_extent){3, 0}, &uids, &n, &answer, &err),
                     -1);
    assert_string_equal(err.text, "the server finds more than 16777216 messages");
    fake_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_large_folder_is_listed_in_pieces_that_lie_side_by_side),
        cmocka_unit_test(test_dense_uids_are_cut_without_asking),
        cmocka_unit_test(test_messages_that_go_while_a_folder_is_listed_shift_no_others),
        cmocka_unit_test(test_a_server_that_tells_no_cuts_is_asked_for_all_at_once),
        cmocka_unit_test(test_a_piece_that_was_refused_is_asked_for_once_more),
        cmocka_unit_test(test_a_piece_refused_twice_leaves_the_list_as_it_was),
        cmocka_unit_test(test_more_cuts_than_were_asked_for_are_not_taken),
        cmocka_unit_test(test_few_uids_are_asked_for_at_once_however_large_the_folder),
        cmocka_unit_test(test_many_messages_are_asked_for_by_commands_of_bounded_length),
        cmocka_unit_test(test_a_search_of_a_server_without_esearch_has_lines_of_bounded_length),
        cmocka_unit_test(test_a_server_that_finds_billions_is_not_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
