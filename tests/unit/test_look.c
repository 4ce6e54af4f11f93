/* Looking at the folders of a scripted server: opening, listing, searching. Whatever is told comes
 * whole and byte by byte. */
#include "look_fake.h"

#include "imap/set.h"
#include "sync/flags.h"
#include "sync/look.h"

#include <inttypes.h>
#include <stdio.h>

#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

#define SMALL ((struct look_extent){10, 0})

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
    TALK("IMAP4rev1", select_inbox, "2 messages, validity 8, next 0, modseq 0, not ()",
         {"SELECT \"INBOX\"", "* 172 EXISTS\r\n"
                              "* OK [UIDNEXT 7] next\r\n"
                              "* OK [CLOSED] Previous mailbox closed\r\n"
                              "* OK [UIDVALIDITY 8] valid\r\n"
                              "* 2 EXISTS\r\n"
                              "OK done"});
}

static void test_a_folder_whose_messages_are_not_counted_is_not_taken_for_an_empty_one(void **state)
{
    static const char refused[] = "BAD[] it is not told how many messages there are;"
                                  "0 messages, validity 0, next 0, modseq 0, not ()";

    (void)state;
    TALK("IMAP4rev1", select_inbox, refused, {"SELECT \"INBOX\"", "OK done"});
    TALK("IMAP4rev1", select_inbox, refused,
         {"SELECT \"INBOX\"", "* 172 EXISTS\r\n"
                              "* OK [CLOSED] Previous mailbox closed\r\n"
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
    assert_int_equal(buf_puts(out, "* 0 EXISTS\r\n* OK [PERMANENTFLAGS ("), 0);
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
    assert_int_equal(look_range(l, first, last, what, SMALL, &list, &answer, NULL), 0);
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
    struct look_asked asked = {.link = l,
                               .first = 1,
                               .last = UINT32_MAX,
                               .what = LOOK_FLAGS,
                               .since = 4711,
                               .extent = {300000, 0}};

    look_list_init(&list, flags);
    assert_int_equal(look_range(l, 1, UINT32_MAX, LOOK_ALL, SMALL, &list, &answer, NULL), 0);
    for (size_t i = 0; i < list.n; i++)
        list.messages[i].match = 100 + list.messages[i].uid;
    asked.list = &list;
    assert_int_equal(look_lists(&asked, 1, NULL), 0);
    assert_int_equal(asked.answer.kind, RESPONSE_OK);
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

static void list_60_to_10000(struct link *l, struct buf *said)
{
    struct look_list list;
    struct link_answer answer;
    struct flags *flags = flags_new();

    look_list_init(&list, flags);
    assert_int_equal(
        look_range(l, 60, 10000, LOOK_FLAGS, (struct look_extent){25000, 0}, &list, &answer, NULL),
        0);
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

/* --- searching -------------------------------------------------------------------------------- */

static void search_for(struct link *l, const char *criteria, uint32_t exists, struct buf *said)
{
    struct link_answer answer;
    uint32_t *uids = NULL;
    size_t n = 99;

    assert_int_equal(
        look_search(l, criteria, (struct look_extent){exists, 0}, &uids, &n, &answer, NULL), 0);
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
    result = look_range(l, 1, UINT32_MAX, LOOK_FLAGS, (struct look_extent){20000, 0}, &list,
                        &answer, NULL);
    if (result == 0)
        result = look_messages(l, some, 2, LOOK_FLAGS, &list, &answer, NULL);
    if (result == 0)
        result = look_search(l, "ALL", SMALL, &uids, &n, &answer, NULL);
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
        cmocka_unit_test(
            test_a_folder_whose_messages_are_not_counted_is_not_taken_for_an_empty_one),
        cmocka_unit_test(test_a_name_that_cannot_be_written_is_not_sent),
        cmocka_unit_test(test_more_keywords_than_there_is_room_for_keep_the_star),
        cmocka_unit_test(test_a_small_folder_is_listed_by_one_command),
        cmocka_unit_test(test_what_was_not_asked_for_is_no_part_of_the_list),
        cmocka_unit_test(test_a_message_told_twice_is_one_as_it_was_told_last),
        cmocka_unit_test(test_a_date_that_is_none_is_not_told),
        cmocka_unit_test(test_a_refused_listing_is_no_list),
        cmocka_unit_test(test_changes_renew_what_is_in_the_list_and_add_what_is_not),
        cmocka_unit_test(test_cuts_lie_within_what_is_asked_for),
        cmocka_unit_test(test_what_is_found_is_told_once_and_in_order),
        cmocka_unit_test(test_a_refused_search_finds_nothing),
        cmocka_unit_test(test_criteria_that_are_not_one_line_are_not_sent),
        cmocka_unit_test(test_a_large_folder_is_searched_in_pieces),
        cmocka_unit_test(test_memory_that_is_out_is_told_and_nothing_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
