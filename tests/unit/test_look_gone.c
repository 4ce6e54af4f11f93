/* What has gone from a folder (QRESYNC), what two servers have side by side, and how a folder is
 * looked at in the end. */
#include "look_fake.h"

#include "sync/flags.h"
#include "sync/look.h"

#include <inttypes.h>
#include <stdio.h>

#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

static const uint32_t known[] = {3, 5, 6, 9, 12, 4294967295U};

/* --- sets ------------------------------------------------------------------------------------- */

static const char *words_of(const struct look_gone *gone)
{
    static char words[128];
    size_t n = 0;

    words[0] = '\0';
    for (size_t i = 0; i < gone->n; i++) {
        if (look_is_gone(gone, i))
            n += (size_t)snprintf(words + n, sizeof words - n, "%s%" PRIu32, n > 0 ? " " : "",
                                  gone->known[i]);
    }
    return words;
}

static void test_what_has_gone_is_what_is_known_and_told(void **state)
{
    static const struct {
        const char *sets[3], *gone;
    } rows[] = {
        {{"5"}, "5"},
        {{"4"}, ""},
        {{"1:2"}, ""},
        {{"13:4294967294"}, ""},
        {{"13:4294967295"}, "4294967295"},
        {{"5:9"}, "5 6 9"},
        {{"9:5"}, "5 6 9"},
        {{"1:4294967295"}, "3 5 6 9 12 4294967295"},
        {{"1:2,4:8,10:4294967294"}, "5 6 12"},
        {{"5", "6", "5:9"}, "5 6 9"},
        {{"12", "1:4", "5:8"}, "3 5 6 12"},
        {{"5:9", "5:9", "1:9"}, "3 5 6 9"},
        {{"3,0:1,9"}, "3"}, /* as Dovecot 2.3.14 has told of UID 1 */
        {{"3,*"}, "3"},
        {{"3,,9"}, "3"},
        {{"3,99999999999"}, "3"},
        {{""}, ""},
        {{"x"}, ""},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct look_gone gone;

        assert_int_equal(look_gone_init(&gone, known, ROWS(known), NULL), 0);
        for (size_t k = 0; k < 3 && rows[i].sets[k]; k++)
            look_gone_take(&gone, slice_str(rows[i].sets[k]));
        assert_string_equal(words_of(&gone), rows[i].gone);
        look_gone_free(&gone);
    }
}

static void test_of_nothing_known_nothing_has_gone(void **state)
{
    struct look_gone gone;

    (void)state;
    assert_int_equal(look_gone_init(&gone, NULL, 0, NULL), 0);
    look_gone_take(&gone, SLICE("1:4294967295"));
    look_gone_free(&gone);
}

/* If each were gone through again, this would take hours. */
static void test_what_is_told_again_and_again_costs_next_to_nothing(void **state)
{
    enum { N = 300000, TIMES = 300000 };
    uint32_t *uids = calloc(N, sizeof *uids);
    struct look_gone gone;

    (void)state;
    assert_non_null(uids);
    for (uint32_t i = 0; i < N; i++)
        uids[i] = 2 * i + 1;
    assert_int_equal(look_gone_init(&gone, uids, N, NULL), 0);
    for (unsigned i = 0; i < TIMES; i++)
        look_gone_take(&gone, SLICE("1:4294967295,2:600000,7"));
    for (size_t i = 0; i < N; i++)
        assert_true(look_is_gone(&gone, i));
    look_gone_free(&gone);
    free(uids);
}

/* --- what is told ----------------------------------------------------------------------------- */

static struct look_asked asked_for(struct link *l, struct look_list *list, struct look_gone *gone)
{
    return (struct look_asked){.link = l,
                               .first = 1,
                               .last = UINT32_MAX,
                               .what = LOOK_FLAGS,
                               .since = 7,
                               .extent = {10, 20},
                               .list = list,
                               .gone = gone};
}

static void assert_uids(const struct look_list *list, const char *expected)
{
    char words[256] = "";
    size_t n = 0;

    for (size_t i = 0; i < list->n; i++)
        n += (size_t)snprintf(words + n, sizeof words - n, "%s%" PRIu32, i > 0 ? " " : "",
                              list->messages[i].uid);
    assert_string_equal(words, expected);
}

/* Asks for changes, and compares what was listed and what has gone. */
static void look_for_gone(const struct fake_row *rows, size_t n, size_t piece, const char *listed,
                          const char *expected, bool has_qresync)
{
    struct fake_script script = {rows, n, 0};
    struct link l = {
        .serve = fake_serve_script, .world = &script, .piece = piece, .has_qresync = true};
    struct flags *flags = flags_new();
    struct look_list list;
    struct look_gone gone;
    struct look_asked asked;

    fake_begin(&l);
    look_list_init(&list, flags);
    assert_int_equal(look_gone_init(&gone, known, ROWS(known), NULL), 0);
    asked = asked_for(&l, &list, &gone);
    assert_int_equal(look_lists(&asked, 1, NULL), 0);
    assert_int_equal(asked.answer.kind, RESPONSE_OK);
    assert_string_equal(words_of(&gone), expected);
    assert_uids(&list, listed);
    assert_int_equal(script.at, n);
    assert_int_equal(l.has_qresync, has_qresync);
    look_gone_free(&gone);
    look_list_free(&list);
    flags_free(&flags);
    fake_end(&l);
}

#define ASK_GONE "UID FETCH 1:4294967295 (FLAGS) (CHANGEDSINCE 7 VANISHED)"

#define LOOK(listed, gone, has_qresync, ...)                                    \
    do {                                                                        \
        static const struct fake_row rows_[] = {__VA_ARGS__};                   \
        look_for_gone(rows_, ROWS(rows_), SIZE_MAX, listed, gone, has_qresync); \
        look_for_gone(rows_, ROWS(rows_), 1, listed, gone, has_qresync);        \
    } while (0)

static void test_what_has_gone_is_told_with_what_has_changed(void **state)
{
    (void)state;
    LOOK("6 14", "5 9", true,
         {ASK_GONE, "* VANISHED (EARLIER) 4:5,9\r\n"
                    "* 3 FETCH (UID 6 FLAGS () MODSEQ (8))\r\n"
                    "* 4 FETCH (UID 14 FLAGS (\\Seen) MODSEQ (9))\r\nOK done"});
    LOOK("", "", true, {ASK_GONE, "OK done"});
    LOOK("", "3 5 12", true,
         {ASK_GONE, "* VANISHED (EARLIER) 1:3\r\n* vanished (earlier) 3:5\r\n"
                    "* VANISHED (EARLIER) 12\r\nOK done"});
}

/* RFC 7162 section 3.2.10.2: that is an EXPUNGE, of what was there when the folder was opened. */
static void test_what_goes_now_is_left_to_the_next_run(void **state)
{
    (void)state;
    LOOK("", "3", true,
         {ASK_GONE, "* VANISHED 5:9\r\n* VANISHED (EARLIER) 3\r\n* 2 EXPUNGE\r\nOK done"});
}

static void test_what_is_no_vanished_is_not_heeded(void **state)
{
    (void)state;
    LOOK("", "5", true,
         {ASK_GONE, "* VANISHED (EARLIER)\r\n* VANISHED (LATER) 3\r\n* VANISHED (EARLIER) 3:*\r\n"
                    "* VANISHED (EARLIER) 0:3\r\n* VANISHED (EARLIER) (3)\r\n"
                    "* 3 VANISHED (EARLIER) nothing\r\n* VANISHED (EARLIER) 5 \r\nOK done"});
}

/* As a Cyrus does that stands before others. */
static void test_a_server_that_refuses_vanished_is_asked_without(void **state)
{
    (void)state;
    LOOK("6", "", false,
         {ASK_GONE, "* VANISHED (EARLIER) 5\r\n* 1 FETCH (UID 3 FLAGS ())\r\n"
                    "BAD Invalid UID Fetch modifier VANISHED"},
         {"UID FETCH 1:* (FLAGS) (CHANGEDSINCE 7)", "* VANISHED (EARLIER) 9\r\n"
                                                    "* 3 FETCH (UID 6 FLAGS ())\r\nOK done"});
}

static void test_a_refusal_of_both_is_told(void **state)
{
    static const struct fake_row rows[] = {
        {ASK_GONE, "NO Not now"}, {"UID FETCH 1:* (FLAGS) (CHANGEDSINCE 7)", "NO Nor now"}};
    struct fake_script script = {rows, ROWS(rows), 0};
    struct link l = {.serve = fake_serve_script, .world = &script, .piece = SIZE_MAX};
    struct look_list list;
    struct look_gone gone;
    struct look_asked asked;

    (void)state;
    fake_begin(&l);
    look_list_init(&list, NULL);
    assert_int_equal(look_gone_init(&gone, known, ROWS(known), NULL), 0);
    asked = asked_for(&l, &list, &gone);
    assert_int_equal(look_lists(&asked, 1, NULL), 0);
    assert_int_equal(asked.answer.kind, RESPONSE_NO);
    assert_true(slice_eq(asked.answer.text, SLICE("Nor now")));
    look_gone_free(&gone);
    fake_end(&l);
}

static void test_of_a_large_folder_it_is_asked_in_pieces(void **state)
{
    static const struct fake_row rows[] = {
        {"UID FETCH 1:6001 (FLAGS) (CHANGEDSINCE 7 VANISHED)", "* VANISHED (EARLIER) 5\r\nOK done"},
        {"UID FETCH 6002:12002 (FLAGS) (CHANGEDSINCE 7 VANISHED)", "OK done"},
        {"UID FETCH 12003:4294967295 (FLAGS) (CHANGEDSINCE 7 VANISHED)",
         "* VANISHED (EARLIER) 18001:4294967295\r\nOK done"}};
    struct fake_script script = {rows, ROWS(rows), 0};
    struct link l = {.serve = fake_serve_script, .world = &script, .piece = SIZE_MAX};
    struct look_list list;
    struct look_gone gone;
    struct look_asked asked;

    (void)state;
    fake_begin(&l);
    look_list_init(&list, NULL);
    assert_int_equal(look_gone_init(&gone, known, ROWS(known), NULL), 0);
    asked = asked_for(&l, &list, &gone);
    asked.extent = (struct look_extent){15000, 18001};
    assert_int_equal(look_lists(&asked, 1, NULL), 0);
    assert_int_equal(l.calls, 1);
    assert_string_equal(words_of(&gone), "5 4294967295");
    look_gone_free(&gone);
    fake_end(&l);
}

/* --- side by side ----------------------------------------------------------------------------- */

static void test_two_servers_are_listed_side_by_side(void **state)
{
    static const struct fake_row from_rows[] = {{ASK_GONE, "* VANISHED (EARLIER) 5\r\nOK done"}},
                                 to_rows[] = {{"UID FETCH 1:* (FLAGS)",
                                               "* 1 FETCH (UID 8 FLAGS ())\r\nOK done"}};
    struct fake_script from_script = {from_rows, 1, 0}, to_script = {to_rows, 1, 0};
    struct link from = {.serve = fake_serve_script, .world = &from_script, .piece = SIZE_MAX},
                to = {.serve = fake_serve_script, .world = &to_script, .piece = SIZE_MAX};
    struct flags *flags = flags_new();
    struct look_list lists[2];
    struct look_gone gone;
    struct look_asked asked[2];

    (void)state;
    fake_begin(&from);
    fake_begin(&to);
    look_list_init(&lists[0], flags);
    look_list_init(&lists[1], flags);
    assert_int_equal(look_gone_init(&gone, known, ROWS(known), NULL), 0);
    asked[0] = asked_for(&from, &lists[0], &gone);
    asked[1] = asked_for(&to, &lists[1], NULL);
    asked[1].since = 0;
    assert_int_equal(look_lists(asked, 2, NULL), 0);
    assert_string_equal(words_of(&gone), "5");
    assert_uids(&lists[0], "");
    assert_uids(&lists[1], "8");
    look_gone_free(&gone);
    look_list_free(&lists[0]);
    look_list_free(&lists[1]);
    flags_free(&flags);
    fake_end(&from);
    fake_end(&to);
}

static void test_a_server_that_refuses_does_not_hinder_the_other(void **state)
{
    static const struct fake_row refusing[] = {{"UID FETCH 1:* (FLAGS) (CHANGEDSINCE 7)", "NO No"},
                                               {"UID FETCH 1:* (FLAGS) (CHANGEDSINCE 7)", "NO No"}},
                                 telling[] = {{"UID FETCH 1:* (FLAGS) (CHANGEDSINCE 7)",
                                               "* 1 FETCH (UID 8 FLAGS ())\r\nOK done"}};
    struct fake_script scripts[2] = {{refusing, 2, 0}, {telling, 1, 0}};
    struct link links[2];
    struct flags *flags = flags_new();
    struct look_list lists[2];
    struct look_asked asked[2];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        links[i] =
            (struct link){.serve = fake_serve_script, .world = &scripts[i], .piece = SIZE_MAX};
        fake_begin(&links[i]);
        look_list_init(&lists[i], flags);
        asked[i] = asked_for(&links[i], &lists[i], NULL);
    }
    assert_int_equal(look_lists(asked, 2, NULL), 0);
    assert_int_equal(asked[0].answer.kind, RESPONSE_NO);
    assert_int_equal(asked[1].answer.kind, RESPONSE_OK);
    assert_uids(&lists[0], "");
    assert_uids(&lists[1], "8");
    for (size_t i = 0; i < 2; i++) {
        look_list_free(&lists[i]);
        fake_end(&links[i]);
    }
    flags_free(&flags);
}

/* --- the end ---------------------------------------------------------------------------------- */

#define STATUS_INBOX     "STATUS \"INBOX\" (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)"
#define CHANGED_BELOW_10 "UID FETCH 1:9 (FLAGS INTERNALDATE RFC822.SIZE) (CHANGEDSINCE 7)"
#define COME_FROM_10     "UID FETCH 10:* (FLAGS INTERNALDATE RFC822.SIZE)"

/* Looks; what the status tells comes as words, and how many round trips it took. */
static void look_at(const struct fake_row *rows, size_t n, struct look_end end, const char *listed,
                    const char *expected, size_t calls)
{
    struct fake_script script = {rows, n, 0};
    struct link l = {.serve = fake_serve_script,
                     .world = &script,
                     .piece = SIZE_MAX,
                     .offers = end.since > 0 ? "CONDSTORE" : ""};
    struct flags *flags = flags_new();
    struct look_list list;
    struct data_status status;
    struct link_answer answer;
    char words[64] = "nothing";

    end.name = end.name.p ? end.name : SLICE("INBOX");
    fake_begin(&l);
    look_list_init(&list, flags);
    assert_int_equal(look_at_end(&l, &end, &list, &status, &answer, NULL), 0);
    assert_int_equal(answer.kind, RESPONSE_OK);
    if (status.told)
        snprintf(words, sizeof words, "%" PRIu32 " %" PRIu32 " %" PRIu64, status.messages,
                 status.uidnext, status.highestmodseq);
    assert_string_equal(words, expected);
    assert_uids(&list, listed);
    assert_int_equal(script.at, n);
    assert_int_equal(l.calls, calls);
    look_list_free(&list);
    flags_free(&flags);
    fake_end(&l);
}

#define AT_END(listed, expected, calls, fence, come, since, ...)                                  \
    do {                                                                                          \
        static const struct fake_row rows_[] = {__VA_ARGS__};                                     \
        look_at(rows_, ROWS(rows_), (struct look_end){{0}, fence, come, since}, listed, expected, \
                calls);                                                                           \
    } while (0)

static const char told[] = "* STATUS INBOX (MESSAGES 12 UIDNEXT 13 HIGHESTMODSEQ 99)\r\nOK done";

static void test_the_end_of_a_folder_is_one_round_trip(void **state)
{
    (void)state;
    AT_END(
        "4 11 12", "12 13 99", 1, 10, 2, 7, {STATUS_INBOX, told},
        {CHANGED_BELOW_10, "* 3 FETCH (UID 4 FLAGS ())\r\nOK done"},
        {COME_FROM_10, "* 9 FETCH (UID 11 FLAGS ())\r\n* 10 FETCH (UID 12 FLAGS ())\r\nOK done"});
    AT_END("", "12 13 99", 1, 10, 0, 7, {STATUS_INBOX, told}, {CHANGED_BELOW_10, "OK done"});
    AT_END("11", "12 13 0", 1, 10, 1, 0,
           {"STATUS \"INBOX\" (MESSAGES UIDNEXT UIDVALIDITY)",
            "* STATUS \"INBOX\" (MESSAGES 12 UIDNEXT 13)\r\nOK done"},
           {COME_FROM_10, "* 9 FETCH (UID 11 FLAGS ())\r\nOK done"});
    AT_END("", "12 13 99", 1, 1, 0, 7, {STATUS_INBOX, told});
}

static void test_a_status_that_is_refused_is_none(void **state)
{
    (void)state;
    AT_END("", "nothing", 1, 10, 0, 7,
           {STATUS_INBOX, "* STATUS INBOX (MESSAGES 12)\r\nNO Not while it is open"},
           {CHANGED_BELOW_10, "OK done"});
}

static void test_a_list_that_is_refused_is_asked_for_once_more_and_the_status_is_not(void **state)
{
    (void)state;
    AT_END("4", "12 13 99", 2, 10, 0, 7, {STATUS_INBOX, told}, {CHANGED_BELOW_10, "NO Not now"},
           {CHANGED_BELOW_10, "* 3 FETCH (UID 4 FLAGS ())\r\nOK done"});
}

static void test_much_that_has_come_is_asked_for_in_pieces(void **state)
{
    (void)state;
    AT_END("10 15004", "12 13 99", 1, 10, 10002, 7, {STATUS_INBOX, told},
           {CHANGED_BELOW_10, "OK done"},
           {"UID FETCH 10:5011 (FLAGS INTERNALDATE RFC822.SIZE)",
            "* 10 FETCH (UID 10 FLAGS ())\r\nOK done"},
           {"UID FETCH 5012:* (FLAGS INTERNALDATE RFC822.SIZE)",
            "* 10 FETCH (UID 15004 FLAGS ())\r\nOK done"});
}

static void test_a_name_that_cannot_be_written_has_no_status(void **state)
{
    static const struct fake_row rows[] = {{"NOOP", "OK done"}};

    (void)state;
    look_at(rows, 1, (struct look_end){.name = SLICE("a\nb"), .fence = 1}, "", "nothing", 1);
}

/* --- subjects --------------------------------------------------------------------------------- */

static void test_subjects_are_asked_for_together(void **state)
{
    static const uint32_t uids[] = {7, 3, 9, 7};
    static const struct fake_row rows[] = {
        {"UID FETCH 7 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
         "* 2 FETCH (UID 7 BODY[HEADER.FIELDS (SUBJECT)] {14}\r\nSubject: b\r\n\r\n)\r\nOK done"},
        {"UID FETCH 3 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
         "* 1 FETCH (UID 3 BODY[HEADER.FIELDS (SUBJECT)] {14}\r\nSubject: a\r\n\r\n)\r\nNO done"},
        {"UID FETCH 9 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])", "OK done"},
        {"UID FETCH 7 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])", "OK done"},
    };
    struct fake_script script = {rows, ROWS(rows), 0};
    struct link l = {.serve = fake_serve_script, .world = &script, .piece = SIZE_MAX};
    char subjects[4][16];

    (void)state;
    memset(subjects, 'x', sizeof subjects);
    fake_begin(&l);
    assert_int_equal(look_subjects(&l, uids, 4, subjects[0], sizeof subjects[0], NULL), 0);
    assert_int_equal(l.calls, 1);
    assert_string_equal(subjects[0], "b");
    assert_string_equal(subjects[1], "");
    assert_string_equal(subjects[2], "");
    assert_string_equal(subjects[3], "b");
    fake_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_has_gone_is_what_is_known_and_told),
        cmocka_unit_test(test_of_nothing_known_nothing_has_gone),
        cmocka_unit_test(test_what_is_told_again_and_again_costs_next_to_nothing),
        cmocka_unit_test(test_what_has_gone_is_told_with_what_has_changed),
        cmocka_unit_test(test_what_goes_now_is_left_to_the_next_run),
        cmocka_unit_test(test_what_is_no_vanished_is_not_heeded),
        cmocka_unit_test(test_a_server_that_refuses_vanished_is_asked_without),
        cmocka_unit_test(test_a_refusal_of_both_is_told),
        cmocka_unit_test(test_of_a_large_folder_it_is_asked_in_pieces),
        cmocka_unit_test(test_two_servers_are_listed_side_by_side),
        cmocka_unit_test(test_a_server_that_refuses_does_not_hinder_the_other),
        cmocka_unit_test(test_the_end_of_a_folder_is_one_round_trip),
        cmocka_unit_test(test_a_status_that_is_refused_is_none),
        cmocka_unit_test(test_a_list_that_is_refused_is_asked_for_once_more_and_the_status_is_not),
        cmocka_unit_test(test_much_that_has_come_is_asked_for_in_pieces),
        cmocka_unit_test(test_a_name_that_cannot_be_written_has_no_status),
        cmocka_unit_test(test_subjects_are_asked_for_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
