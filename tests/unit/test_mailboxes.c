/* What folders there are, as servers of many kinds tell it, and making them. */
#include "mailboxes_world.h"

/* ---- listing ---- */

/* "name=S use 3 messages", S being the separator, "-" none; and N, I, S, U for what it is. */
static void tell_box(const struct mailbox *box, struct buf *out)
{
    static const char letters[] = "NISU";

    assert_int_equal(buf_printf(out, "%s%c", box->name, box->separator ? box->separator : '-'), 0);
    for (int i = 0; i < 4; i++) {
        if (box->is & 1U << i)
            assert_int_equal(buf_printf(out, "%c", letters[i]), 0);
    }
    assert_int_equal(buf_printf(out, "%s", box->use), 0);
    if (box->status.told & STATUS_MESSAGES)
        assert_int_equal(buf_printf(out, "%u", box->status.messages), 0);
    assert_int_equal(buf_printf(out, "|"), 0);
    assert_ptr_equal(box->status.name.p, NULL);
}

static void list(struct link *l, struct mailboxes *m)
{
    struct link_answer answer;
    struct err err;

    if (mailboxes_list(l, m, &answer, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(answer.kind, RESPONSE_OK);
}

static void expect_boxes(const struct mailboxes *m, const char *prefix, char separator,
                         const char *expected)
{
    struct buf told;

    buf_init(&told, 4000, false);
    for (size_t i = 0; i < m->n; i++) {
        tell_box(&m->all[i], &told);
        assert_ptr_equal(mailboxes_find(m, slice_str(m->all[i].name)), &m->all[i]);
    }
    if (!slice_eq(buf_slice(&told), slice_str(expected)))
        fail_msg("%.*s\nis not\n%s", SLICE_ARG(buf_slice(&told)), expected);
    buf_release(&told);
    assert_string_equal(m->prefix, prefix);
    assert_int_equal(m->separator, separator);
}

static void expect_list(struct link l, const char *prefix, char separator, const char *expected)
{
    struct mailboxes m;

    list(&l, &m);
    expect_boxes(&m, prefix, separator, expected);
    mailboxes_free(&m);
    mailboxes_free(&m);
    end_link(&l);
}

#define ITEMS              "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"
#define ALL_ITEMS          "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ SIZE)"
#define STATUS_OF(name, n) "* STATUS " name " (MESSAGES " n " UIDNEXT 9)\r\n"

static void test_a_server_with_everything_tells_it_in_one_command(void **state)
{
    (void)state;
    expect_list(
        NEW_LINK("IMAP4rev1 LIST-EXTENDED LIST-STATUS SPECIAL-USE NAMESPACE CONDSTORE STATUS=SIZE",
                 {"NAMESPACE", "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n= OK\r\n"},
                 {"LIST \"\" \"*\" RETURN (SUBSCRIBED SPECIAL-USE STATUS " ALL_ITEMS ")",
                  "* LIST (\\HasNoChildren \\Sent \\Subscribed) \"/\" Sent\r\n" STATUS_OF(
                      "Sent", "7") "* LIST (\\Noselect \\HasChildren) \"/\" a\r\n"
                                   "* LIST (\\NonExistent \\Subscribed) \"/\" b\r\n"
                                   "* LIST (\\NoInferiors) \"/\" {3}\r\na/b\r\n" STATUS_OF(
                                       "\"a/b\"", "2") "* LIST () \"/\" inbox (CHILDINFO (\"x\"))"
                                                       "\r\n" STATUS_OF("Inbox", "3") "= OK\r\n"}),
        "", '/', "INBOX/3|Sent/S\\Sent7|a/N|a/b/I2|b/NS|");
}

static void test_a_plain_server_is_asked_by_lsub_and_status(void **state)
{
    (void)state;
    expect_list(NEW_LINK("IMAP4rev1 NAMESPACE",
                         {"NAMESPACE", "* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\n= OK\r\n"},
                         {"LIST \"\" \"*\"", "* LIST () \".\" \"INBOX\"\r\n"
                                             "* LIST () \".\" \"INBOX.Sent Items\"\r\n"
                                             "* LIST () \".\" INBOX.&AOk-\r\n= OK\r\n"},
                         {"LSUB \"\" \"*\"", "* LSUB () \".\" \"INBOX.Sent Items\"\r\n"
                                             "* LSUB () \".\" INBOX.gone\r\n"
                                             "* LSUB (\\Noselect) \".\" INBOX.&AOk-\r\n= OK\r\n"},
                         {"STATUS \"INBOX\" " ITEMS, STATUS_OF("INBOX", "1") "= OK\r\n"},
                         {"STATUS \"INBOX.Sent Items\" " ITEMS, "= NO locked\r\n"},
                         {"STATUS \"INBOX.&AOk-\" " ITEMS, STATUS_OF("INBOX.&AOk-", "4") "= OK\r\n"
                                                                                         ""}),
                "INBOX.", '.', "INBOX.1|INBOX.Sent Items.S|INBOX.\xc3\xa9.4|");
}

static void test_one_status_that_was_left_out_is_asked_for(void **state)
{
    (void)state;
    expect_list(
        NEW_LINK("LIST-EXTENDED LIST-STATUS NAMESPACE",
                 {"NAMESPACE", "* NAMESPACE NIL NIL NIL\r\n= OK\r\n"},
                 {"LIST \"\" \"*\" RETURN (SUBSCRIBED STATUS " ITEMS ")",
                  "* LIST () \"/\" INBOX\r\n" STATUS_OF(
                      "INBOX", "1") "* LIST () \"/\" a\r\n" STATUS_OF("other", "5") "= "
                                                                                    "OK\r\n"},
                 {"STATUS \"a\" " ITEMS, STATUS_OF("a", "6") "= OK\r\n"}),
        "", '/', "INBOX/1|a/6|");
}

static void test_a_list_refused_in_its_long_form_is_asked_for_in_the_short_one(void **state)
{
    (void)state;
    expect_list(
        NEW_LINK("LIST-EXTENDED NAMESPACE", {"NAMESPACE", "= BAD what\r\n"},
                 {"LIST \"\" \"*\" RETURN (SUBSCRIBED)", "* LIST () \"/\" INBOX\r\n= BAD no\r\n"},
                 {"LSUB \"\" \"*\"", "* LSUB () \"/\" INBOX\r\n= OK\r\n"},
                 {"LIST \"\" \"*\"", "* LIST () \"/\" INBOX\r\n= OK\r\n"},
                 {"STATUS \"INBOX\" " ITEMS, "= NO\r\n"}),
        "", '/', "INBOX/S|");
}

static void test_a_list_refused_altogether_is_told(void **state)
{
    struct link l = NEW_LINK("LIST-EXTENDED NAMESPACE", {"NAMESPACE", "= OK\r\n"},
                             {"LIST \"\" \"*\" RETURN (SUBSCRIBED)", "= NO no\r\n"},
                             {"LSUB \"\" \"*\"", "= NO\r\n"},
                             {"LIST \"\" \"*\"", "* LIST () \"/\" x\r\n= NO not today\r\n"});
    struct link_answer answer;
    struct mailboxes m;

    (void)state;
    assert_int_equal(mailboxes_list(&l, &m, &answer, NULL), 0);
    assert_int_equal(answer.kind, RESPONSE_NO);
    assert_true(slice_eq(answer.text, SLICE("not today")));
    assert_int_equal(m.n, 0);
    mailboxes_free(&m);
    end_link(&l);
}

static void test_without_namespace_the_separator_and_a_prefix_are_seen_from_names(void **state)
{
    static const char lsub[] = "LSUB \"\" \"*\"", root[] = "LIST \"\" \"\"",
                      all[] = "LIST \"\" \"*\"";
    static const char ok[] = "= OK\r\n";

    (void)state;
    expect_list(NEW_LINK("", {root, "* LIST (\\Noselect) \"^\" \"\"\r\n= OK\r\n"},
                         {all, "* LIST () NIL INBOX\r\n= OK\r\n"}, {lsub, ok},
                         {"STATUS \"INBOX\" " ITEMS, ok}),
                "", '^', "INBOX-|");
    expect_list(NEW_LINK("", {root, ok},
                         {all, "* LIST () NIL INBOX\r\n* LIST () NIL a.b\r\n= OK\r\n"}, {lsub, ok},
                         {"STATUS \"INBOX\" " ITEMS, ok}, {"STATUS \"a.b\" " ITEMS, ok}),
                "", '\0', "INBOX-|a.b-|");
    expect_list(NEW_LINK("", {root, ok},
                         {all, "* LIST () \".\" INBOX\r\n* LIST () \".\" Inbox.a\r\n= OK\r\n"},
                         {lsub, ok}, {"STATUS \"INBOX\" " ITEMS, ok},
                         {"STATUS \"Inbox.a\" " ITEMS, ok}),
                "INBOX.", '.', "INBOX.|Inbox.a.|");
    expect_list(NEW_LINK("", {root, ok},
                         {all, "* LIST () \".\" INBOX\r\n* LIST () \".\" INBOX.a\r\n"
                               "* LIST () \".\" b\r\n= OK\r\n"},
                         {lsub, ok}, {"STATUS \"INBOX\" " ITEMS, ok},
                         {"STATUS \"INBOX.a\" " ITEMS, ok}, {"STATUS \"b\" " ITEMS, ok}),
                "", '.', "INBOX.|INBOX.a.|b.|");
    expect_list(NEW_LINK("", {root, ok}, {all, "* LIST () \".\" INBOX\r\n= OK\r\n"}, {lsub, ok},
                         {"STATUS \"INBOX\" " ITEMS, ok}),
                "", '.', "INBOX.|");
}

static void test_folders_of_others_and_shared_ones_are_left_out(void **state)
{
    (void)state;
    expect_list(
        NEW_LINK(
            "NAMESPACE LIST-EXTENDED",
            {"NAMESPACE", "* NAMESPACE ((\"INBOX.\" \".\")(\"Archive.\" \".\")) "
                          "((\"user.\" \".\")) ((\"\" \".\"))\r\n= OK\r\n"},
            {"LIST \"\" \"*\" RETURN (SUBSCRIBED)",
             "* LIST () \".\" shared\r\n* LIST () \".\" user.bob\r\n* LIST () \".\" user\r\n"
             "* LIST (\\Noselect) \".\" INBOX.a\r\n* LIST (\\Noselect) \".\" Archive.x\r\n"
             "* LIST (\\Noselect) \".\" Archive\r\n* LIST (\\Noselect) \".\" INBOX\r\n= OK\r\n"}),
        "INBOX.", '.', "INBOX.N|Archive.N|Archive.x.N|INBOX.a.N|");
    expect_list(NEW_LINK("NAMESPACE LIST-EXTENDED",
                         {"NAMESPACE", "* NAMESPACE ((\"\" \"/\")) ((\"Other Users/\" \"/\")) "
                                       "((\"\" \"/\"))\r\n= OK\r\n"},
                         {"LIST \"\" \"*\" RETURN (SUBSCRIBED)",
                          "* LIST (\\Noselect) \"/\" \"Other Users\"\r\n"
                          "* LIST (\\Noselect) \"/\" \"Other Users/bob\"\r\n"
                          "* LIST (\\Noselect) \"/\" \"Other Users 2\"\r\n"
                          "* LIST (\\Noselect) \"/\" a\r\n= OK\r\n"}),
                "", '/', "Other Users 2/N|a/N|");
}

static void test_what_namespace_tells_is_believed(void **state)
{
    (void)state;
    expect_list(NEW_LINK("NAMESPACE LIST-EXTENDED",
                         {"NAMESPACE", "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n= OK\r\n"},
                         {"LIST \"\" \"*\" RETURN (SUBSCRIBED)",
                          "* LIST (\\Noselect) \"/\" INBOX/a\r\n= OK\r\n"}),
                "", '/', "INBOX/a/N|");
    expect_list(
        NEW_LINK("NAMESPACE LIST-EXTENDED",
                 {"NAMESPACE", "* NAMESPACE ((\"mail/\" \"/\")) NIL ((\"\" \"/\"))\r\n= OK\r\n"},
                 {"LIST \"\" \"*\" RETURN (SUBSCRIBED)",
                  "* LIST (\\Noselect) \"/\" mail/a\r\n* LIST (\\Noselect) \"/\" inbox\r\n"
                  "* LIST (\\Noselect) \"/\" mails\r\n= OK\r\n"}),
        "mail/", '/', "INBOX/N|mail/a/N|");
}

static void test_names_may_be_odd_and_those_without_meaning_are_told(void **state)
{
    (void)state;
    expect_list(NEW_LINK("NAMESPACE LIST-EXTENDED", {"NAMESPACE", "= OK\r\n"},
                         {"LIST \"\" \"*\" RETURN (SUBSCRIBED)",
                          "* LIST (\\Noselect) \"/\" \"q\\\"b\\\\ \"\r\n"
                          "* LIST (\\Noselect) \"/\" {3}\r\n a \r\n"
                          "* LIST (\\Noselect) \"/\" \"a//b\"\r\n"
                          "* LIST () \"/\" &bad\r\n"
                          "* LIST () \"/\" \"\xff\"\r\n"
                          "* LIST oops\r\n"
                          "* LIST (\\Noselect) \"/\" ~x\r\n= OK\r\n"}),
                "", '/', " a /N|&bad/U|a//b/N|q\"b\\ /N|~x/N|\xff/U|");
}

static void test_what_is_listed_twice_is_there_once(void **state)
{
    (void)state;
    expect_list(NEW_LINK("NAMESPACE LIST-EXTENDED", {"NAMESPACE", "= OK\r\n"},
                         {"LIST \"\" \"*\" RETURN (SUBSCRIBED)",
                          "* LIST (\\Noselect) NIL a\r\n* LIST (\\Junk \\Subscribed) \"/\" a\r\n"
                          "* LIST (\\Noselect) \"/\" INBOX\r\n* LIST (\\Noselect) \"/\" iNBOX\r\n"
                          "= OK\r\n"},
                         {"STATUS \"a\" " ITEMS, STATUS_OF("a", "2") "= OK\r\n"}),
                "", '/', "INBOX/N|a/S\\Junk2|");
}

static void test_with_utf8_names_come_and_go_as_they_are(void **state)
{
    struct link l =
        NEW_LINK("IMAP4rev2", {"NAMESPACE", "= OK\r\n"},
                 {"LIST \"\" \"*\" RETURN (SUBSCRIBED SPECIAL-USE STATUS (MESSAGES UIDNEXT "
                  "UIDVALIDITY UNSEEN SIZE))",
                  "* LIST () \"/\" \"\xc3\xa9&AOk-\"\r\n= OK\r\n"},
                 {"STATUS {7}\r\n\xc3\xa9&AOk- (MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE)",
                  STATUS_OF("\"\xc3\xa9&AOk-\"", "8") "= OK\r\n"});

    (void)state;
    l.has_utf8 = true;
    expect_list(l, "", '/', "\xc3\xa9&AOk-/8|");
}

static void test_inbox_and_its_children_are_found_in_any_case(void **state)
{
    struct link l = NEW_LINK("NAMESPACE LIST-EXTENDED", {"NAMESPACE", "= OK\r\n"},
                             {"LIST \"\" \"*\" RETURN (SUBSCRIBED)",
                              "* LIST (\\Noselect) \"/\" INBOX\r\n"
                              "* LIST (\\Noselect) \"/\" Inbox/a\r\n"
                              "* LIST (\\Noselect) \"/\" A\r\n= OK\r\n"});
    struct mailboxes m;

    (void)state;
    list(&l, &m);
    expect_boxes(&m, "", '/', "INBOX/N|A/N|Inbox/a/N|");
    assert_ptr_equal(mailboxes_find(&m, SLICE("inbox")), &m.all[0]);
    assert_ptr_equal(mailboxes_find(&m, SLICE("INBOX/a")), &m.all[2]);
    assert_null(mailboxes_find(&m, SLICE("INBOX/A")));
    assert_null(mailboxes_find(&m, SLICE("a")));
    assert_null(mailboxes_find(&m, SLICE("")));
    mailboxes_free(&m);
    end_link(&l);
}

static void test_a_broken_link_is_an_error_wherever_it_breaks(void **state)
{
    static const struct exchange all[] = {
        {"LIST \"\" \"\"", "= OK\r\n"},
        {"LIST \"\" \"*\"", "* LIST () \"/\" a\r\n* LIST () \"/\" b\r\n= OK\r\n"},
        {"LSUB \"\" \"*\"", "* LSUB () \"/\" a\r\n= OK\r\n"},
        {"STATUS \"a\" " ITEMS, "= OK\r\n"},
        {"STATUS \"b\" " ITEMS, "= OK\r\n"}};

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        struct exchange some[5];
        struct link_answer answer;
        struct mailboxes m;
        struct link l;
        struct err err;

        memcpy(some, all, sizeof all);
        some[i].answer = NULL;
        l = new_link("", some, i + 1);
        assert_int_equal(mailboxes_list(&l, &m, &answer, &err), -1);
        end_link(&l);
    }
}

static void test_status_of_some_is_told_for_those_that_have_it(void **state)
{
    struct link l = NEW_LINK("QRESYNC",
                             {"STATUS \"a\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN "
                              "HIGHESTMODSEQ)",
                              "* STATUS a (MESSAGES 4294967296 UIDNEXT 2 UIDVALIDITY 3 "
                              "HIGHESTMODSEQ 9)\r\n= OK\r\n"},
                             {"STATUS \"c\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)",
                              "* STATUS elsewhere (MESSAGES 5)\r\n= NO\r\n"});
    const struct slice names[] = {SLICE("a"), SLICE("\xff"), SLICE("c")};
    struct data_status out[3];

    (void)state;
    assert_int_equal(mailboxes_status(&l, names, 3, out, NULL), 0);
    assert_int_equal(out[0].told, STATUS_UIDNEXT | STATUS_UIDVALIDITY | STATUS_HIGHESTMODSEQ);
    assert_int_equal(out[0].uidnext, 2);
    assert_int_equal(out[1].told, 0);
    assert_int_equal(out[2].told, 0);
    assert_int_equal(mailboxes_status(&l, names, 0, out, NULL), 0);
    end_link(&l);
}

/* ---- making ---- */

/* `text`: of the refusal, or NULL. */
static void expect_create(struct link l, const char *use, bool has_use, const char *text)
{
    struct mailbox_new box = {.name = SLICE("a\"b"), .use = use};

    assert_int_equal(mailboxes_create(&l, &box, 1, NULL), 0);
    assert_int_equal(box.is_made, !text);
    assert_int_equal(box.has_use, has_use);
    if (text)
        assert_string_equal(box.refusal, text);
    else
        assert_null(box.refusal);
    free(box.refusal);
    end_link(&l);
}

#define CREATE "CREATE \"a\\\"b\""
#define LOOK   "LIST \"\" \"a\\\"b\""

static void test_a_folder_is_made_with_its_use_or_without(void **state)
{
    (void)state;
    expect_create(NEW_LINK("", {CREATE, "= OK\r\n"}), "\\Sent", false, NULL);
    expect_create(NEW_LINK("CREATE-SPECIAL-USE", {CREATE, "= OK\r\n"}), "", false, NULL);
    expect_create(NEW_LINK("CREATE-SPECIAL-USE", {CREATE " (USE (\\Sent))", "= OK\r\n"}), "\\Sent",
                  true, NULL);
    expect_create(NEW_LINK("CREATE-SPECIAL-USE",
                           {CREATE " (USE (\\Important))", "= NO [USEATTR] no\r\n"},
                           {CREATE, "= OK\r\n"}),
                  "\\Important", false, NULL);
    expect_create(NEW_LINK("CREATE-SPECIAL-USE",
                           {CREATE " (USE (\\Sent))", "= NO [ALREADYEXISTS] is there\r\n"}),
                  "\\Sent", false, NULL);
}

static void test_a_folder_that_is_there_is_as_good_as_made(void **state)
{
    (void)state;
    expect_create(NEW_LINK("", {CREATE, "= NO [ALREADYEXISTS] is there\r\n"}), "", false, NULL);
    expect_create(NEW_LINK("", {CREATE, "= NO is there\r\n"},
                           {LOOK, "* LIST () \"/\" \"a\\\"b\"\r\n= OK\r\n"}),
                  "", false, NULL);
    expect_create(NEW_LINK("", {CREATE, "= NO\r\n"},
                           {LOOK, "* LIST () \"/\" c\r\n* LIST (\\Noselect) \"/\" \"a\\\"b\"\r\n"
                                  "= OK\r\n"},
                           {CREATE, "= NO [CANNOT] never\r\n"}),
                  "", false, "[CANNOT] never");
    expect_create(NEW_LINK("", {CREATE, "= NO\r\n"}, {LOOK, "= NO\r\n"}, {CREATE, "= BAD so\r\n"}),
                  "", false, "so");
}

/* All that can be said is said in one go, parents first, as the caller has them. */
static void test_many_folders_are_made_together(void **state)
{
    struct link l = NEW_LINK(
        "CREATE-SPECIAL-USE", {"CREATE \"a\" (USE (\\Sent))", "= NO [USEATTR] no\r\n"},
        {"CREATE \"a/b\"", "= OK\r\n"}, {"CREATE \"c\"", "= NO is there\r\n"},
        {"CREATE \"d\"", "= NO [OVERQUOTA] full\r\n"}, {"CREATE \"e\" (USE (\\Trash))", "= OK\r\n"},
        {"CREATE \"f\"", "= NO [ALREADYEXISTS] is there\r\n"}, {"CREATE \"a\"", "= OK\r\n"},
        {"LIST \"\" \"c\"", "* LIST () \"/\" c\r\n= OK\r\n"},
        {"LIST \"\" \"d\"", "* LIST () \"/\" z\r\n= OK\r\n"},
        {"CREATE \"d\"", "= NO [OVERQUOTA] still full\r\n"});
    struct mailbox_new all[] = {
        {.name = SLICE("a"), .use = "\\Sent"},  {.name = SLICE("a/b"), .use = ""},
        {.name = SLICE("c"), .use = ""},        {.name = SLICE("d"), .use = ""},
        {.name = SLICE("e"), .use = "\\Trash"}, {.name = SLICE("f"), .use = ""},
    };

    (void)state;
    assert_int_equal(mailboxes_create(&l, all, 6, NULL), 0);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(all[i].is_made, i != 3);
        assert_int_equal(all[i].has_use, i == 4);
    }
    assert_string_equal(all[3].refusal, "[OVERQUOTA] still full");
    free(all[3].refusal);
    end_link(&l);
}

static void test_what_was_answered_before_a_break_is_told(void **state)
{
    struct link l = NEW_LINK("", {"CREATE \"a\"", "= OK\r\n"}, {"CREATE \"b\"", "= NO no\r\n"},
                             {"CREATE \"c\"", NULL});
    struct mailbox_new all[] = {
        {.name = SLICE("a"), .use = ""},
        {.name = SLICE("b"), .use = ""},
        {.name = SLICE("c"), .use = ""},
    };
    struct err err;

    (void)state;
    assert_int_equal(mailboxes_create(&l, all, 3, &err), -1);
    assert_true(all[0].is_made);
    assert_false(all[1].is_made || all[1].refusal);
    assert_false(all[2].is_made || all[2].refusal);
    end_link(&l);
}

static int note_answer(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    char *noted = arg;
    const size_t n = strlen(noted);

    (void)err;
    snprintf(noted + n, 100 - n, "%zu %d;", i, answer->kind == RESPONSE_OK);
    return 0;
}

static void test_a_name_that_cannot_be_said_is_refused_without_the_server(void **state)
{
    struct link l = NEW_LINK("", {"CREATE \"b\"", "= OK\r\n"});
    struct mailbox_new all[] = {{.name = SLICE("\xff"), .use = ""},
                                {.name = SLICE("b"), .use = ""}};
    const struct slice names[] = {SLICE("\xff"), SLICE("\xc3\xa9"), SLICE("b")};
    char noted[100] = "";

    (void)state;
    assert_int_equal(mailboxes_create(&l, all, 2, NULL), 0);
    assert_false(all[0].is_made);
    assert_string_equal(all[0].refusal, "the name cannot be sent to this server");
    assert_true(all[1].is_made);
    free(all[0].refusal);
    end_link(&l);
    l = NEW_LINK("", {"SUBSCRIBE \"&AOk-\"", "= NO no\r\n"}, {"SUBSCRIBE \"b\"", "= OK\r\n"});
    assert_int_equal(mailboxes_subscribe(&l, names, 3, note_answer, noted, NULL), 0);
    assert_string_equal(noted, "0 0;1 0;2 1;");
    end_link(&l);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, begin)
    const struct CMUnitTest tests[] = {
        TEST(test_a_server_with_everything_tells_it_in_one_command),
        TEST(test_a_plain_server_is_asked_by_lsub_and_status),
        TEST(test_one_status_that_was_left_out_is_asked_for),
        TEST(test_a_list_refused_in_its_long_form_is_asked_for_in_the_short_one),
        TEST(test_a_list_refused_altogether_is_told),
        TEST(test_without_namespace_the_separator_and_a_prefix_are_seen_from_names),
        TEST(test_folders_of_others_and_shared_ones_are_left_out),
        TEST(test_what_namespace_tells_is_believed),
        TEST(test_names_may_be_odd_and_those_without_meaning_are_told),
        TEST(test_what_is_listed_twice_is_there_once),
        TEST(test_with_utf8_names_come_and_go_as_they_are),
        TEST(test_inbox_and_its_children_are_found_in_any_case),
        TEST(test_a_broken_link_is_an_error_wherever_it_breaks),
        TEST(test_status_of_some_is_told_for_those_that_have_it),
        TEST(test_a_folder_is_made_with_its_use_or_without),
        TEST(test_a_folder_that_is_there_is_as_good_as_made),
        TEST(test_many_folders_are_made_together),
        TEST(test_what_was_answered_before_a_break_is_told),
        TEST(test_a_name_that_cannot_be_said_is_refused_without_the_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
