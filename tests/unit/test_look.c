/* Looking at the folders of a scripted server: opening, listing, searching. Whatever is told comes
 * whole and byte by byte. */
#include "look_fake.h"

#include "imap/set.h"
#include "sync/flags.h"
#include "sync/look.h"

#include <inttypes.h>
#include <stdio.h>

#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

/* What a test does with a link; it says in words what it has seen. */
typedef void talk_fn(struct link *l, struct buf *said);

static void talk(const struct fake_row *rows, size_t n, const char *offers, talk_fn *with,
                 const char *expected)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 7, 64};

    for (size_t i = 0; i < ROWS(pieces); i++) {
        struct fake_script script = {rows, n, 0};
        struct link l = {
            .serve = fake_serve_script, .world = &script, .offers = offers, .piece = pieces[i]};
        struct buf said;
        char *words;

        buf_init(&said, 1 << 16, false);
        fake_begin(&l);
        with(&l, &said);
        words = slice_dup(buf_slice(&said));
        assert_string_equal(words, expected);
        assert_int_equal(script.at, n);
        free(words);
        buf_release(&said);
        fake_end(&l);
    }
}

#define TALK(offers, with, expected, ...)                     \
    do {                                                      \
        static const struct fake_row rows_[] = {__VA_ARGS__}; \
        talk(rows_, ROWS(rows_), offers, with, expected);     \
    } while (0)

static void say_answer(struct buf *said, const struct link_answer *answer)
{
    static const char *const kinds[] = {
        [RESPONSE_OK] = "OK", [RESPONSE_NO] = "NO", [RESPONSE_BAD] = "BAD"};

    if (answer->kind != RESPONSE_OK)
        assert_int_equal(buf_printf(said, "%s[%.*s] %.*s;", kinds[answer->kind],
                                    SLICE_ARG(answer->code), SLICE_ARG(answer->text)),
                         0);
}

/* --- opening ---------------------------------------------------------------------------------- */

static void say_selected(struct buf *said, const struct look_selected *s)
{
    assert_int_equal(buf_printf(said,
                                "%" PRIu32 " messages, validity %" PRIu32 ", next %" PRIu32
                                ", modseq %" PRIu64 "%s, %s(%s)",
                                s->exists, s->uidvalidity, s->uidnext, s->modseq,
                                s->is_read_only ? ", read-only" : "",
                                s->permanent_told ? "" : "not ", s->permanent),
                     0);
}

static void select_inbox(struct link *l, struct buf *said)
{
    struct look_selected selected;
    struct link_answer answer;

    assert_int_equal(look_select(l, SLICE("INBOX"), false, &selected, &answer, NULL), 0);
    say_answer(said, &answer);
    say_selected(said, &selected);
}

static void examine_inbox(struct link *l, struct buf *said)
{
    struct look_selected selected;
    struct link_answer answer;

    assert_int_equal(look_select(l, SLICE("INBOX"), true, &selected, &answer, NULL), 0);
    say_selected(said, &selected);
}

static void test_opening_a_folder_reads_what_is_told_of_it(void **state)
{
    (void)state;
    TALK(
        "IMAP4rev1 CONDSTORE", select_inbox,
        "172 messages, validity 3857529045, next 4392, modseq 715194045007, (\\Deleted \\Seen \\*)",
        {"SELECT \"INBOX\" (CONDSTORE)",
         "* 172 EXISTS\r\n"
         "* 1 RECENT\r\n"
         "* OK [UNSEEN 12] Message 12 is first unseen\r\n"
         "* OK [UIDVALIDITY 3857529045] UIDs valid\r\n"
         "* OK [UIDNEXT 4392] Predicted next UID\r\n"
         "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"
         "* OK [PERMANENTFLAGS (\\Deleted \\Seen \\*)] Limited\r\n"
         "* OK [HIGHESTMODSEQ 715194045007] Highest\r\n"
         "OK [READ-WRITE] SELECT completed"});
    TALK("IMAP4rev1", select_inbox, "0 messages, validity 0, next 0, modseq 0, not ()",
         {"SELECT \"INBOX\"", "* 0 EXISTS\r\nOK done"});
    TALK("CONDSTORE", select_inbox, "3 messages, validity 0, next 0, modseq 0, read-only, ()",
         {"SELECT \"INBOX\" (CONDSTORE)", "* 2 EXISTS\r\n"
                                          "* OK [NOMODSEQ] Sorry\r\n"
                                          "* OK [PERMANENTFLAGS ()] None\r\n"
                                          "* 3 EXISTS\r\n"
                                          "OK [READ-ONLY] done"});
    TALK("IMAP4rev1", examine_inbox, "1 messages, validity 7, next 0, modseq 0, read-only, not ()",
         {"EXAMINE \"INBOX\"", "* OK [UIDVALIDITY 7]\r\n* 1 EXISTS\r\nOK done"});
    TALK("IMAP4rev1", select_inbox, "2 messages, validity 0, next 0, modseq 0, not ()",
         {"SELECT \"INBOX\"", "* 1 EXISTS\r\n"
                              "* OK [UIDVALIDITY 99999999999] no number of ours\r\n"
                              "* OK [UIDNEXT x] none\r\n"
                              "* 2 EXISTS\r\n"
                              "OK done"});
}

static void test_a_folder_that_cannot_be_opened_is_as_if_nothing_was_told(void **state)
{
    (void)state;
    TALK("IMAP4rev1", select_inbox,
         "NO[NONEXISTENT] [NONEXISTENT] No such mailbox;0 messages, validity 0, next 0, modseq 0, "
         "not ()",
         {"SELECT \"INBOX\"", "* 172 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n"
                              "NO [NONEXISTENT] No such mailbox"});
}

static void test_what_is_told_before_closed_is_of_the_folder_before(void **state)
{
    (void)state;
    TALK("IMAP4rev1", select_inbox, "0 messages, validity 8, next 0, modseq 0, not ()",
         {"SELECT \"INBOX\"", "* 172 EXISTS\r\n"
                              "* OK [UIDNEXT 7] next\r\n"
                              "* OK [CLOSED] Previous mailbox closed\r\n"
                              "* OK [UIDVALIDITY 8] valid\r\n"
                              "OK done"});
}

static void select_what_cannot_be_written(struct link *l, struct buf *said)
{
    struct look_selected selected;
    struct link_answer answer;

    assert_int_equal(look_select(l, SLICE("a\nb"), false, &selected, &answer, NULL), 0);
    say_answer(said, &answer);
    assert_int_equal(selected.exists, 0);
}

static void test_a_name_that_cannot_be_written_is_not_sent(void **state)
{
    (void)state;
    talk(NULL, 0, NULL, select_what_cannot_be_written, "BAD[] this name cannot be written;");
}

static const char *serve_keywords(void *world, struct slice command, struct buf *out)
{
    const bool *has_star = world;

    (void)command;
    assert_int_equal(buf_puts(out, "* OK [PERMANENTFLAGS ("), 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(buf_printf(out, "keyword%u ", i), 0);
    assert_int_equal(buf_puts(out, *has_star ? "\\*)] Many\r\n" : "last)] Many\r\n"), 0);
    return "OK done";
}

static void test_more_keywords_than_there_is_room_for_keep_the_star(void **state)
{
    (void)state;
    for (int has_star = 0; has_star < 2; has_star++) {
        bool world = has_star;
        struct link l = {.serve = serve_keywords, .world = &world, .piece = SIZE_MAX};
        struct look_selected s;
        struct link_answer answer;
        size_t n;

        fake_begin(&l);
        assert_int_equal(look_select(&l, SLICE("A"), false, &s, &answer, NULL), 0);
        n = strlen(s.permanent);
        assert_in_range(n, sizeof(s.permanent) - 16, sizeof(s.permanent) - 1);
        assert_true(data_has_word(slice_str(s.permanent), SLICE("keyword300")));
        assert_int_equal(data_has_word(slice_str(s.permanent), SLICE("\\*")), has_star);
        assert_true(strncmp(s.permanent, "keyword0 keyword1 ", 18) == 0);
        fake_end(&l);
    }
}

/* --- listing ---------------------------------------------------------------------------------- */

static void say_list(struct buf *said, const struct look_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct look_message *m = &list->messages[i];

        assert_ptr_equal(look_find(list, m->uid), m);
        assert_int_equal(buf_printf(said, "%s%" PRIu32, i > 0 ? " " : "", m->uid), 0);
        if (m->has_flags)
            assert_int_equal(
                buf_printf(said, "(%.*s)", SLICE_ARG(flags_text(list->flags, m->flags))), 0);
        if (m->has_date)
            assert_int_equal(buf_printf(said, "@%" PRIi64 "%+d", m->date_s, m->zone_min), 0);
        if (m->size)
            assert_int_equal(buf_printf(said, "#%" PRIu64, m->size), 0);
        if (m->match)
            assert_int_equal(buf_printf(said, "=%" PRIu32, m->match), 0);
    }
}

static void list_range(struct link *l, struct buf *said, uint32_t first, uint32_t last,
                       unsigned what)
{
    struct look_list list;
    struct link_answer answer;
    struct flags *flags = flags_new();

    look_list_init(&list, flags);
    assert_int_equal(look_range(l, first, last, what, 0, 10, &list, &answer, NULL), 0);
    say_answer(said, &answer);
    say_list(said, &list);
    look_list_free(&list);
    flags_free(&flags);
}

static void list_all(struct link *l, struct buf *said)
{
    list_range(l, said, 1, UINT32_MAX, LOOK_ALL);
}

static void list_5_to_9(struct link *l, struct buf *said)
{
    list_range(l, said, 5, 9, LOOK_FLAGS);
}

static void list_nothing(struct link *l, struct buf *said)
{
    list_range(l, said, 9, 5, LOOK_FLAGS);
}

static void list_dates_and_sizes(struct link *l, struct buf *said)
{
    list_range(l, said, 1, 2, LOOK_DATE);
    list_range(l, said, 1, 2, LOOK_SIZE | LOOK_FLAGS);
    list_range(l, said, 1, 2, 0);
}

#define ASK_ALL "UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE)"

static void test_a_small_folder_is_listed_by_one_command(void **state)
{
    (void)state;
    TALK(NULL, list_all, "7(\\Seen)@837596665-420#44 9()@0+0",
         {ASK_ALL, "* 1 FETCH (UID 7 FLAGS (\\Seen \\Recent) INTERNALDATE \"17-Jul-1996 02:44:25 "
                   "-0700\" RFC822.SIZE 44)\r\n"
                   "* 2 FETCH (RFC822.SIZE 0 INTERNALDATE \" 1-Jan-1970 00:00:00 +0000\" FLAGS () "
                   "UID 9 MODSEQ (12))\r\n"
                   "OK done"});
    TALK(NULL, list_all, "", {ASK_ALL, "OK done"});
    TALK(NULL, list_dates_and_sizes, "", {"UID FETCH 1:2 (INTERNALDATE)", "OK done"},
         {"UID FETCH 1:2 (FLAGS RFC822.SIZE)", "OK done"}, {"UID FETCH 1:2 (UID)", "OK done"});
    talk(NULL, 0, NULL, list_nothing, "");
}

static void test_what_was_not_asked_for_is_no_part_of_the_list(void **state)
{
    (void)state;
    TALK(NULL, list_5_to_9, "6(\\Seen) 8()",
         {"UID FETCH 5:9 (FLAGS)", "* 3 FETCH (FLAGS (\\Deleted))\r\n"
                                   "* 9 EXISTS\r\n"
                                   "* 1 FETCH (UID 6 FLAGS (\\Seen))\r\n"
                                   "* 4 FETCH (UID 4 FLAGS ())\r\n"
                                   "* 8 FETCH (UID 10 FLAGS ())\r\n"
                                   "* 6 FETCH (UID 0 FLAGS ())\r\n"
                                   "* 6 FETCH (UID x FLAGS ())\r\n"
                                   "* 6 FETCH (UID 7 BODY[] {5}\r\n(UID  FLAGS ())\r\n"
                                   "* 6 FETCH (UID 8 FLAGS ())\r\n"
                                   "* SEARCH 5\r\n"
                                   "OK done"});
}

static void test_a_message_told_twice_is_one_as_it_was_told_last(void **state)
{
    (void)state;
    TALK(NULL, list_all, "3(\\Seen) 7(\\Deleted)@0+60#5 9()#8 12(\\Seen)#4",
         {ASK_ALL,
          "* 3 FETCH (UID 9 FLAGS (\\Seen) RFC822.SIZE 8)\r\n"
          "* 2 FETCH (UID 7 FLAGS () INTERNALDATE \"01-Jan-1970 01:00:00 +0100\" RFC822.SIZE 5)\r\n"
          "* 2 FETCH (FLAGS (\\Deleted) UID 7)\r\n"
          "* 1 FETCH (UID 3 FLAGS (\\Seen))\r\n"
          "* 3 FETCH (FLAGS () UID 9)\r\n"
          "* 4 FETCH (RFC822.SIZE 4 UID 12)\r\n"
          "* 4 FETCH (FLAGS (\\Seen) UID 12)\r\n"
          "OK done"});
}

static void test_a_date_that_is_none_is_not_told(void **state)
{
    (void)state;
    TALK(NULL, list_all, "3()#1",
         {ASK_ALL, "* 1 FETCH (UID 3 FLAGS () INTERNALDATE \"99-Foo-1970 01:00:00 +0100\" "
                   "RFC822.SIZE 1)\r\nOK done"});
}

static void test_a_refused_listing_is_no_list(void **state)
{
    (void)state;
    TALK(NULL, list_all, "NO[UNAVAILABLE] [UNAVAILABLE] Later;",
         {ASK_ALL, "* 1 FETCH (UID 3 FLAGS ())\r\nNO [UNAVAILABLE] Later"});
    TALK(NULL, list_all, "BAD[] What?;", {ASK_ALL, "BAD What?"});
}

static void list_changes(struct link *l, struct buf *said)
{
    struct look_list list;
    struct link_answer answer;
    struct flags *flags = flags_new();
    static const uint32_t some[] = {2, 3, 4, 9, 11};

    look_list_init(&list, flags);
    assert_int_equal(look_range(l, 1, UINT32_MAX, LOOK_ALL, 0, 3, &list, &answer, NULL), 0);
    for (size_t i = 0; i < list.n; i++)
        list.messages[i].match = 100 + list.messages[i].uid;
    assert_int_equal(look_range(l, 1, UINT32_MAX, LOOK_FLAGS, 4711, 300000, &list, &answer, NULL),
                     0);
    say_list(said, &list);
    assert_int_equal(buf_puts(said, "; "), 0);
    assert_int_equal(look_messages(l, some, ROWS(some), LOOK_SIZE, &list, &answer, NULL), 0);
    assert_int_equal(answer.kind, RESPONSE_NO);
    assert_int_equal(look_messages(l, some, ROWS(some), LOOK_SIZE, &list, &answer, NULL), 0);
    assert_int_equal(answer.kind, RESPONSE_OK);
    say_list(said, &list);
    assert_int_equal(look_messages(l, some, 0, LOOK_SIZE, &list, &answer, NULL), 0);
    assert_int_equal(answer.kind, RESPONSE_OK);
    look_list_free(&list);
    flags_free(&flags);
}

static void test_changes_renew_what_is_in_the_list_and_add_what_is_not(void **state)
{
    (void)state;
    TALK(NULL, list_changes,
         "2(\\Seen)#1=102 3()#2=103 5(\\Draft) 8()#3=108; "
         "2(\\Seen)#9=102 3()#2=103 4#7 5(\\Draft) 8()#3=108",
         {ASK_ALL, "* 1 FETCH (UID 2 FLAGS () RFC822.SIZE 1)\r\n"
                   "* 2 FETCH (UID 3 FLAGS () RFC822.SIZE 2)\r\n"
                   "* 3 FETCH (UID 8 FLAGS () RFC822.SIZE 3)\r\n"
                   "OK done"},
         {"UID FETCH 1:* (FLAGS) (CHANGEDSINCE 4711)",
          "* 1 FETCH (UID 2 MODSEQ (4712) FLAGS (\\Seen))\r\n"
          "* 4 FETCH (UID 5 MODSEQ (4712) FLAGS (\\Draft))\r\n"
          "OK done"},
         {"UID FETCH 2:4,9,11 (RFC822.SIZE)", "* 1 FETCH (UID 2 RFC822.SIZE 77)\r\nNO not now"},
         {"UID FETCH 2:4,9,11 (RFC822.SIZE)", "* 3 FETCH (UID 5 RFC822.SIZE 77)\r\n"
                                              "* 3 FETCH (UID 4 RFC822.SIZE 7)\r\n"
                                              "* 1 FETCH (UID 2 RFC822.SIZE 9)\r\n"
                                              "OK done"});
}

/* --- large folders ---------------------------------------------------------------------------- */

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
    assert_int_equal(look_range(&l, 1, UINT32_MAX, LOOK_FLAGS, 0, LARGE, &list, &answer, NULL), 0);
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
    assert_int_equal(look_range(&l, 1, 8000, LOOK_FLAGS, 0, 9999, &list, &answer, NULL), 0);
    assert_int_equal(w.fetches, 1);
    assert_int_equal(list.n, 2666);
    w.next = 8001;
    assert_int_equal(look_range(&l, 8001, UINT32_MAX, LOOK_FLAGS, 0, LARGE, &list, &answer, NULL),
                     0);
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
    assert_int_equal(look_range(&l, 100, 5000, LOOK_FLAGS, 0, LARGE, &list, &answer, NULL), 0);
    assert_int_equal(l.calls, 1);
    look_list_free(&list);
    flags_free(&flags);
    free(w.uids);
    fake_end(&l);
}

static void list_60_to_10000(struct link *l, struct buf *said)
{
    struct look_list list;
    struct link_answer answer;
    struct flags *flags = flags_new();

    look_list_init(&list, flags);
    assert_int_equal(look_range(l, 60, 10000, LOOK_FLAGS, 0, 25000, &list, &answer, NULL), 0);
    say_list(said, &list);
    look_list_free(&list);
    flags_free(&flags);
}

static void test_cuts_lie_within_what_is_asked_for(void **state)
{
    (void)state;
    TALK(NULL, list_60_to_10000, "",
         {"FETCH 5000,10000,15000,20000 (UID)", "* 5000 FETCH (UID 59)\r\n"
                                                "* 10000 FETCH (UID 60)\r\n"
                                                "* 15000 FETCH (UID 9999)\r\n"
                                                "* 20000 FETCH (UID 10000)\r\n"
                                                "* 3 FETCH (FLAGS ())\r\n"
                                                "OK done"},
         {"UID FETCH 60:60 (FLAGS)", "OK done"}, {"UID FETCH 61:9999 (FLAGS)", "OK done"},
         {"UID FETCH 10000:10000 (FLAGS)", "OK done"});
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
    assert_int_equal(look_range(&l, 1, UINT32_MAX, LOOK_SIZE, 0, UINT32_MAX, &list, &answer, NULL),
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

/* --- searching -------------------------------------------------------------------------------- */

static void search_for(struct link *l, const char *criteria, uint32_t exists, struct buf *said)
{
    struct link_answer answer;
    uint32_t *uids = NULL;
    size_t n = 99;

    assert_int_equal(look_search(l, criteria, exists, &uids, &n, &answer, NULL), 0);
    say_answer(said, &answer);
    assert_true(answer.kind == RESPONSE_OK || n == 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buf_printf(said, " %" PRIu32, uids[i]), 0);
    free(uids);
}

static void search_seen(struct link *l, struct buf *said)
{
    search_for(l, "SEEN LARGER 5000", 9, said);
}

static void search_lines(struct link *l, struct buf *said)
{
    search_for(l, "ALL\r\nx LOGOUT", 9, said);
    search_for(l, "ALL\nx LOGOUT", 9, said);
    search_for(l, "SUBJECT {3}", 9, said);
    search_for(l, "", 9, said);
}

static void search_many(struct link *l, struct buf *said)
{
    search_for(l, "SEEN", 12000, said);
    search_for(l, "CHARSET UTF-8 SUBJECT x", 12000, said);
}

static void test_what_is_found_is_told_once_and_in_order(void **state)
{
    (void)state;
    TALK("IMAP4rev1", search_seen, " 2 5 9",
         {"UID SEARCH SEEN LARGER 5000", "* SEARCH 9 2 9\r\n* SEARCH 5 (MODSEQ 917162500)\r\n"
                                         "* 3 EXISTS\r\nOK done"});
    TALK("IMAP4rev1", search_seen, "", {"UID SEARCH SEEN LARGER 5000", "* SEARCH\r\nOK done"});
    TALK("IMAP4rev1", search_seen, "", {"UID SEARCH SEEN LARGER 5000", "OK done"});
    TALK("IMAP4rev1 ESEARCH", search_seen, " 2 3 4 9 4294967295",
         {"UID SEARCH RETURN (ALL) SEEN LARGER 5000",
          "* ESEARCH (TAG \"x\") ALL 77\r\n"
          "* ESEARCH (TAG \"x\") UID ALL 9,4:2,4294967295 COUNT 5\r\nOK done"});
    TALK("IMAP4rev2", search_seen, "",
         {"UID SEARCH RETURN (ALL) SEEN LARGER 5000", "* ESEARCH (TAG \"x\") UID\r\nOK done"});
}

static void test_a_refused_search_finds_nothing(void **state)
{
    (void)state;
    TALK("IMAP4rev1", search_seen, "BAD[BADCHARSET] [BADCHARSET (A B)] no;",
         {"UID SEARCH SEEN LARGER 5000", "* SEARCH 9\r\nBAD [BADCHARSET (A B)] no"});
}

static void test_criteria_that_are_not_one_line_are_not_sent(void **state)
{
    (void)state;
    talk(NULL, 0, NULL, search_lines,
         "BAD[] search criteria must be one line;BAD[] search criteria must be one line;"
         "BAD[] search criteria must be one line;BAD[] search criteria must be one line;");
}

static void test_a_large_folder_is_searched_in_pieces(void **state)
{
    (void)state;
    TALK("ESEARCH", search_many, " 2 20 200 7",
         {"FETCH 5000,10000 (UID)",
          "* 10000 FETCH (UID 50)\r\n* 5000 FETCH (UID 10)\r\n* 5000 FETCH (UID 10)\r\nOK done"},
         {"UID SEARCH RETURN (ALL) UID 1:10 SEEN", "* ESEARCH (TAG \"x\") UID ALL 2\r\nOK done"},
         {"UID SEARCH RETURN (ALL) UID 11:50 SEEN", "* ESEARCH (TAG \"x\") UID ALL 20\r\nOK done"},
         {"UID SEARCH RETURN (ALL) UID 51:* SEEN", "* ESEARCH (TAG \"x\") UID ALL 200\r\nOK done"},
         {"FETCH 5000,10000 (UID)", "* 5000 FETCH (UID 10)\r\nOK done"},
         {"UID SEARCH RETURN (ALL) CHARSET UTF-8 UID 1:10 SUBJECT x", "OK done"},
         {"UID SEARCH RETURN (ALL) CHARSET UTF-8 UID 11:* SUBJECT x",
          "* ESEARCH (TAG \"x\") UID ALL 7\r\nOK done"});
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
    assert_int_equal(look_search(&l, "ALL", LARGE, &uids, &n, &answer, NULL), 0);
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
    assert_int_equal(look_search(&l, "ALL", 3, &uids, &n, &answer, &err), -1);
    assert_string_equal(err.text, "the server finds more than 16777216 messages");
    fake_end(&l);
}

/* --- memory ----------------------------------------------------------------------------------- */

static const char *serve_few(void *world, struct slice command, struct buf *out)
{
    (void)world;
    if (slice_istarts(command, SLICE("UID SEARCH")))
        assert_int_equal(buf_puts(out, "* ESEARCH (TAG \"x\") UID ALL 1:3\r\n"), 0);
    else
        assert_int_equal(buf_puts(out, "* 1 FETCH (UID 5 FLAGS (\\Seen))\r\n"
                                       "* 2 FETCH (UID 3 FLAGS ())\r\n"),
                         0);
    return "OK done";
}

/* 0: all went well, -1: one did not. */
static int look_at_few(struct link *l, struct flags *flags)
{
    static const uint32_t some[] = {3, 5};
    struct look_list list;
    struct link_answer answer;
    uint32_t *uids = NULL;
    size_t n = 0;
    int result;

    look_list_init(&list, flags);
    result = look_range(l, 1, UINT32_MAX, LOOK_FLAGS, 0, 20000, &list, &answer, NULL);
    if (result == 0)
        result = look_messages(l, some, 2, LOOK_FLAGS, &list, &answer, NULL);
    if (result == 0)
        result = look_search(l, "ALL", 0, &uids, &n, &answer, NULL);
    assert_true(result < 0 || (list.n == 2 && n == 3));
    free(uids);
    look_list_free(&list);
    return result;
}

static void test_memory_that_is_out_is_told_and_nothing_is_lost(void **state)
{
    size_t fails_at = 1;
    int result;

    (void)state;
    do {
        struct link l = {
            .serve = serve_few, .offers = "ESEARCH", .piece = SIZE_MAX, .fails_memory = true};
        struct flags *flags = flags_new();

        fake_begin(&l);
        memory.n = 0;
        memory.fails_at = fails_at++;
        memory.is_on = true;
        result = look_at_few(&l, flags);
        memory.is_on = false;
        fake_end(&l);
        flags_free(&flags);
    } while (result < 0);
    assert_true(fails_at > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opening_a_folder_reads_what_is_told_of_it),
        cmocka_unit_test(test_a_folder_that_cannot_be_opened_is_as_if_nothing_was_told),
        cmocka_unit_test(test_what_is_told_before_closed_is_of_the_folder_before),
        cmocka_unit_test(test_a_name_that_cannot_be_written_is_not_sent),
        cmocka_unit_test(test_more_keywords_than_there_is_room_for_keep_the_star),
        cmocka_unit_test(test_a_small_folder_is_listed_by_one_command),
        cmocka_unit_test(test_what_was_not_asked_for_is_no_part_of_the_list),
        cmocka_unit_test(test_a_message_told_twice_is_one_as_it_was_told_last),
        cmocka_unit_test(test_a_date_that_is_none_is_not_told),
        cmocka_unit_test(test_a_refused_listing_is_no_list),
        cmocka_unit_test(test_changes_renew_what_is_in_the_list_and_add_what_is_not),
        cmocka_unit_test(test_a_large_folder_is_listed_in_pieces_that_lie_side_by_side),
        cmocka_unit_test(test_messages_that_go_while_a_folder_is_listed_shift_no_others),
        cmocka_unit_test(test_a_server_that_tells_no_cuts_is_asked_for_all_at_once),
        cmocka_unit_test(test_a_piece_that_was_refused_is_asked_for_once_more),
        cmocka_unit_test(test_a_piece_refused_twice_leaves_the_list_as_it_was),
        cmocka_unit_test(test_cuts_lie_within_what_is_asked_for),
        cmocka_unit_test(test_more_cuts_than_were_asked_for_are_not_taken),
        cmocka_unit_test(test_few_uids_are_asked_for_at_once_however_large_the_folder),
        cmocka_unit_test(test_many_messages_are_asked_for_by_commands_of_bounded_length),
        cmocka_unit_test(test_what_is_found_is_told_once_and_in_order),
        cmocka_unit_test(test_a_refused_search_finds_nothing),
        cmocka_unit_test(test_criteria_that_are_not_one_line_are_not_sent),
        cmocka_unit_test(test_a_large_folder_is_searched_in_pieces),
        cmocka_unit_test(test_a_search_of_a_server_without_esearch_has_lines_of_bounded_length),
        cmocka_unit_test(test_a_server_that_finds_billions_is_not_believed),
        cmocka_unit_test(test_memory_that_is_out_is_told_and_nothing_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
