/* What hangs on folders: rights, annotations, quota. */
#include "mailboxes_world.h"

/* ---- rights ---- */

typedef int carry_folder(struct sync *s, struct link *from, struct link *to,
                         const struct mailbox_twins *all, size_t n, struct err *err);

static const struct mailbox_twins one[] = {{5, SLICE("f"), SLICE("t")}};

static void expect_carried(carry_folder *carry, struct link from, struct link to,
                           const char *expected)
{
    struct err err;

    if (carry(NULL, &from, &to, one, 1, &err) < 0)
        fail_msg("%s", err.text);
    expect_issues(expected);
    end_link(&from);
    end_link(&to);
}

static void test_rights_that_the_target_lacks_are_given(void **state)
{
    (void)state;
    expect_carried(
        mailboxes_carry_acl,
        NEW_LINK("ACL RIGHTS=texk", {"GETACL \"f\"", "* ACL f ann lrswipkxtea bob lrwtd -bob p "
                                                     "\"c d\" lr anyone l anna lrs owner a\r\n= "
                                                     "OK\r\n"}),
        NEW_LINK("ACL RIGHTS=kxten",
                 {"GETACL \"t\"", "* ACL t anna lrswipkxtea bob lr anyone lr\r\n= OK\r\n"},
                 {"SETACL \"t\" \"bob\" +tw", "= OK\r\n"}, {"SETACL \"t\" \"-bob\" +p", "= OK\r\n"},
                 {"SETACL \"t\" \"c d\" +lr", "= NO who is that\r\n"}),
        "acl 5: the target refuses the rights of c d: who is that\n");
}

static void test_letters_before_rfc_4314_become_those_of_today_and_back(void **state)
{
    (void)state;
    expect_carried(mailboxes_carry_acl,
                   NEW_LINK("ACL", {"GETACL \"f\"", "* ACL f bob lrcd eve d\r\n= OK\r\n"}),
                   NEW_LINK("ACL RIGHTS=kxte", {"GETACL \"t\"", "* ACL t eve tde\r\n= OK\r\n"},
                            {"SETACL \"t\" \"bob\" +eklrt", "= OK\r\n"}),
                   "");
    expect_carried(
        mailboxes_carry_acl,
        NEW_LINK("ACL RIGHTS=kxte",
                 {"GETACL \"f\"", "* ACL f a lkx b lte c lt d lx e ltecd\r\n= OK\r\n"}),
        NEW_LINK("ACL", {"GETACL \"t\"", "* ACL t e lcd\r\n= OK\r\n"},
                 {"SETACL \"t\" \"a\" +cl", "= OK\r\n"}, {"SETACL \"t\" \"b\" +dl", "= OK\r\n"},
                 {"SETACL \"t\" \"c\" +l", "= OK\r\n"}, {"SETACL \"t\" \"d\" +l", "= OK\r\n"}),
        "acl 5: the target has no rights \"t\" for c\n"
        "acl 5: the target has no rights \"x\" for d\n");
}

static void test_rights_that_the_target_does_not_know_are_told(void **state)
{
    (void)state;
    expect_carried(mailboxes_carry_acl,
                   NEW_LINK("ACL RIGHTS=kxten", {"GETACL \"f\"", "* ACL f bob ln7\r\n= OK\r\n"}),
                   NEW_LINK("ACL RIGHTS=kxte7", {"GETACL \"t\"", "* ACL t bob l\r\n= OK\r\n"}),
                   "acl 5: the target has no rights \"n7\" for bob\n");
}

static void test_rights_are_left_alone_where_a_server_does_not_tell_them(void **state)
{
    const struct exchange no[] = {{"GETACL \"f\"", "= NO [NOPERM] not you\r\n"}};
    const struct exchange yes[] = {{"GETACL \"f\"", "* ACL f bob l\r\n= OK\r\n"}};
    const struct exchange to_no[] = {{"GETACL \"t\"", "= NO no\r\n"}};

    (void)state;
    expect_carried(mailboxes_carry_acl, new_link("ACL", NULL, 0), new_link("", NULL, 0), "");
    expect_carried(mailboxes_carry_acl, new_link("", NULL, 0), new_link("ACL", NULL, 0), "");
    expect_carried(mailboxes_carry_acl, new_link("ACL", no, 1), new_link("ACL", to_no, 1),
                   "acl 5: the source does not tell the rights: [NOPERM] not you\n");
    expect_carried(mailboxes_carry_acl, new_link("ACL", yes, 1), new_link("ACL", to_no, 1),
                   "acl 5: the target does not tell the rights: no\n");
    params.is_dry = true;
    expect_carried(mailboxes_carry_acl, new_link("ACL", NULL, 0), new_link("ACL", NULL, 0), "");
}

/* Whose mail it is, not who logs in for him. */
static void test_the_owner_is_the_one_whose_mail_it_is(void **state)
{
    (void)state;
    params.from.user = SLICE("master");
    params.from.authzid = SLICE("ann");
    expect_carried(
        mailboxes_carry_acl,
        NEW_LINK("ACL", {"GETACL \"f\"", "* ACL f ann l -ann r master l NIL l\r\n= OK\r\n"}),
        NEW_LINK("ACL", {"GETACL \"t\"", "= OK\r\n"}, {"SETACL \"t\" \"master\" +l", "= OK\r\n"},
                 {"SETACL \"t\" \"NIL\" +l", "= OK\r\n"}),
        "");
}

/* Answers may come in any order, and about folders that nobody has asked for. */
static void test_rights_of_many_folders_are_asked_for_and_given_together(void **state)
{
    const struct mailbox_twins many[] = {
        {1, SLICE("a"), SLICE("A")},
        {2, SLICE("b"), SLICE("B")},
        {3, SLICE("\xff"), SLICE("C")},
        {4, SLICE("INBOX"), SLICE("INBOX")},
    };
    struct link from =
        NEW_LINK("ACL", {"GETACL \"a\"", "* ACL b bob lr\r\n* ACL elsewhere eve lr\r\n= OK\r\n"},
                 {"GETACL \"b\"", "* ACL a ben l carl s\r\n= OK\r\n"},
                 {"GETACL \"INBOX\"", "* ACL inbox dan l\r\n= OK\r\n"});
    struct link to =
        NEW_LINK("ACL", {"GETACL \"A\"", "* ACL A ben l\r\n= OK\r\n"},
                 {"GETACL \"B\"", "* ACL B bob l\r\n= OK\r\n"}, {"GETACL \"C\"", "= OK\r\n"},
                 {"GETACL \"INBOX\"", "= NO no\r\n"}, {"SETACL \"A\" \"carl\" +s", "= OK\r\n"},
                 {"SETACL \"B\" \"bob\" +r", "= NO who is that\r\n"});
    struct err err;

    (void)state;
    assert_int_equal(mailboxes_carry_acl(NULL, &from, &to, many, 4, &err), 0);
    expect_issues("acl 3: the source does not tell the rights: the name cannot be sent to this "
                  "server\nacl 4: the target does not tell the rights: no\n"
                  "acl 2: the target refuses the rights of bob: who is that\n");
    end_link(&from);
    end_link(&to);
}

/* What was refused comes up again when it is done again. */
static void test_what_was_found_before_a_break_is_not_told(void **state)
{
    const struct mailbox_twins many[] = {{1, SLICE("a"), SLICE("a")}, {2, SLICE("b"), SLICE("b")}};
    struct link from = NEW_LINK("ACL METADATA", {"GETACL \"a\"", "* ACL a bob l eve l\r\n= OK\r\n"},
                                {"GETACL \"b\"", "= NO no\r\n"});
    struct link to =
        NEW_LINK("ACL METADATA", {"GETACL \"a\"", "= OK\r\n"}, {"GETACL \"b\"", "= OK\r\n"},
                 {"SETACL \"a\" \"bob\" +l", "= NO no\r\n"}, {"SETACL \"a\" \"eve\" +l", NULL});
    struct err err;

    (void)state;
    assert_int_equal(mailboxes_carry_acl(NULL, &from, &to, many, 2, &err), -1);
    expect_issues("");
    end_link(&from);
    end_link(&to);
}

/* ---- annotations ---- */

#define GET_OF(name) "GETMETADATA (MAXSIZE 16384 DEPTH infinity) \"" name "\" (/private /shared)"

static void test_annotations_that_the_target_lacks_or_has_otherwise_are_set(void **state)
{
    (void)state;
    expect_carried(
        mailboxes_carry_metadata,
        NEW_LINK("METADATA",
                 {GET_OF("f"), "* METADATA \"f\" (/private/comment \"a b\" /shared/comment {3}\r\n"
                               "x\ny /shared/same \"s\" /shared/none NIL)\r\n"
                               "* METADATA f (/private/empty \"\" /private/vendor/kolab/type mail)"
                               "\r\n* METADATA f /private/changed\r\n"
                               "* METADATA f (/shared/vendor/cmu/cyrus-imapd/size \"9\" "
                               "/private/specialuse \"\\\\Sent\")\r\n= OK\r\n"}),
        NEW_LINK("METADATA",
                 {GET_OF("t"),
                  "* METADATA t (/Shared/Same {1}\r\ns /private/comment \"c\")\r\n= OK\r\n"},
                 {"SETMETADATA \"t\" (\"/private/comment\" \"a b\")", "= OK\r\n"},
                 {"SETMETADATA \"t\" (\"/shared/comment\" {3}\r\nx\ny)", "= OK\r\n"},
                 {"SETMETADATA \"t\" (\"/private/empty\" \"\")", "= NO [METADATA TOOMANY] no\r\n"},
                 {"SETMETADATA \"t\" (\"/private/vendor/kolab/type\" \"mail\")", "= OK\r\n"}),
        "metadata 5: the target refuses /private/empty: [METADATA TOOMANY] no\n");
}

static void test_annotations_of_many_folders_go_together(void **state)
{
    const struct mailbox_twins many[] = {{1, SLICE("a"), SLICE("A")}, {2, SLICE("b"), SLICE("B")}};
    struct link from = NEW_LINK(
        "METADATA", {GET_OF("a"), "* METADATA b (/shared/one \"1\" /shared/two \"2\")\r\n= OK\r\n"},
        {GET_OF("b"), "* METADATA a (/shared/one \"3\")\r\n= OK\r\n"});
    struct link to =
        NEW_LINK("METADATA", {GET_OF("A"), "= OK\r\n"},
                 {GET_OF("B"), "* METADATA B (/shared/one \"1\")\r\n= OK\r\n"},
                 {"SETMETADATA \"A\" (\"/shared/one\" \"3\")", "= OK\r\n"},
                 {"SETMETADATA \"B\" (\"/shared/two\" \"2\")", "= NO [METADATA TOOMANY] no\r\n"});
    struct err err;

    (void)state;
    assert_int_equal(mailboxes_carry_metadata(NULL, &from, &to, many, 2, &err), 0);
    expect_issues("metadata 2: the target refuses /shared/two: [METADATA TOOMANY] no\n");
    end_link(&from);
    end_link(&to);
}

static void
test_a_target_that_does_not_tell_annotations_is_no_matter_where_there_are_none(void **state)
{
    (void)state;
    expect_carried(mailboxes_carry_metadata, NEW_LINK("METADATA", {GET_OF("f"), "= OK\r\n"}),
                   NEW_LINK("METADATA", {GET_OF("t"), "= NO no\r\n"}), "");
}

static void test_annotations_that_are_too_long_or_not_told_are_noted(void **state)
{
    (void)state;
    expect_carried(
        mailboxes_carry_metadata,
        NEW_LINK("METADATA", {GET_OF("f"), "= OK [METADATA LONGENTRIES 99999] done\r\n"}),
        NEW_LINK("METADATA", {GET_OF("t"), "= OK [METADATA LONGENTRIES 99999] done\r\n"}),
        "metadata 5: there are annotations of more than 16384 bytes, which are not "
        "carried\n");
    expect_carried(mailboxes_carry_metadata, NEW_LINK("METADATA", {GET_OF("f"), "= NO no\r\n"}),
                   NEW_LINK("METADATA", {GET_OF("t"), "= NO neither\r\n"}),
                   "metadata 5: the source does not tell the annotations: no\n");
    expect_carried(mailboxes_carry_metadata,
                   NEW_LINK("METADATA", {GET_OF("f"), "* METADATA f (/shared/a b)\r\n= OK\r\n"}),
                   NEW_LINK("METADATA", {GET_OF("t"), "= NO no\r\n"}),
                   "metadata 5: the target does not tell the annotations: no\n");
    expect_carried(mailboxes_carry_metadata, new_link("METADATA", NULL, 0),
                   new_link("METADATA-SERVER", NULL, 0), "");
}

/* ---- quota ---- */

static void expect_quota(struct link from, struct link to, uint64_t bytes, uint64_t messages,
                         const char *expected)
{
    struct err err;

    if (mailboxes_carry_quota(NULL, &from, &to, bytes, messages, &err) < 0)
        fail_msg("%s", err.text);
    expect_issues(expected);
    end_link(&from);
    end_link(&to);
}

#define QUOTA(root, resources)                                                                 \
    {                                                                                          \
        "GETQUOTAROOT INBOX", "* QUOTAROOT INBOX " root "\r\n* QUOTA " root " (" resources ")" \
                              "\r\n= OK\r\n"                                                   \
    }

static void test_equal_quotas_are_left_alone(void **state)
{
    (void)state;
    expect_quota(
        NEW_LINK("QUOTA", QUOTA("\"\"", "STORAGE 1 100 MESSAGE 1 20")),
        NEW_LINK("QUOTA", QUOTA("\"User quota\"", "storage 0 100 X-OTHER 1 2 MESSAGE 0 20")),
        100 * 1024, 20, "");
    expect_quota(NEW_LINK("QUOTA", {"GETQUOTAROOT INBOX", "* QUOTAROOT INBOX\r\n= OK\r\n"}),
                 NEW_LINK("QUOTA", {"GETQUOTAROOT INBOX", "= NO none\r\n"}), 1, 1, "");
    expect_quota(new_link("", NULL, 0), new_link("", NULL, 0), 1, 1, "");
}

static void test_the_target_gets_the_quota_of_the_source_and_keeps_its_others(void **state)
{
    (void)state;
    expect_quota(NEW_LINK("QUOTA", QUOTA("r", "STORAGE 1 100")),
                 NEW_LINK("QUOTA", QUOTA("\"\"", "STORAGE 0 10 MESSAGE 0 30 MAILBOX 1 5"),
                          {"SETQUOTA \"\" (STORAGE 100 MESSAGE 30 MAILBOX 5)",
                           "* QUOTA \"\" (STORAGE 0 100 MESSAGE 0 30)\r\n= OK\r\n"},
                          QUOTA("\"\"", "STORAGE 0 100 MESSAGE 0 30")),
                 50 * 1024, 40,
                 "quota-small -1: the source holds 40 messages, the target takes 30\n");
    assert_string_equal(log_lines, "quota: STORAGE is 100 at the source, 10 at the target; MESSAGE "
                                   "is none at the source, 30 at the target; it was set");
}

static void test_a_quota_that_cannot_be_set_is_told(void **state)
{
    (void)state;
    expect_quota(NEW_LINK("QUOTA", QUOTA("r", "STORAGE 1 100")),
                 NEW_LINK("QUOTA", QUOTA("r", "STORAGE 0 10"),
                          {"SETQUOTA \"r\" (STORAGE 100)", "= NO [NOPERM] not you\r\n"},
                          QUOTA("r", "STORAGE 0 10")),
                 10 * 1024 + 1024, 0,
                 "quota -1: STORAGE is 100 at the source, 10 at the target; [NOPERM] not you\n"
                 "quota-small -1: the source holds 11 KiB, the target takes 10\n");
    expect_quota(NEW_LINK("QUOTA", QUOTA("r", "STORAGE 1 100")),
                 NEW_LINK("QUOTA", {"GETQUOTAROOT INBOX", "* QUOTAROOT INBOX\r\n= OK\r\n"}), 0, 0,
                 "quota -1: STORAGE is 100 at the source, none at the target\n");
    expect_quota(NEW_LINK("QUOTA", {"GETQUOTAROOT INBOX", "= OK\r\n"}),
                 NEW_LINK("QUOTA", QUOTA("r", "MESSAGE 0 10")), 0, 10,
                 "quota -1: MESSAGE is none at the source, 10 at the target\n");
    params.is_dry = true;
    expect_quota(NEW_LINK("QUOTA", QUOTA("r", "STORAGE 1 100")),
                 NEW_LINK("QUOTA", QUOTA("r", "STORAGE 0 10")), 0, 0,
                 "quota -1: STORAGE is 100 at the source, 10 at the target\n");
}

static void test_of_several_roots_the_first_with_limits_counts(void **state)
{
    (void)state;
    expect_quota(new_link("", NULL, 0),
                 NEW_LINK("QUOTA", {"GETQUOTAROOT INBOX",
                                    "* QUOTAROOT INBOX a b c\r\n* QUOTA a ()\r\n"
                                    "* QUOTA b (STORAGE 0 10)\r\n* QUOTA c (STORAGE 0 1)\r\n"
                                    "= OK\r\n"}),
                 20 * 1024, 0, "quota-small -1: the source holds 20 KiB, the target takes 10\n");
}

static void test_a_break_while_carrying_is_an_error(void **state)
{
    struct link broken = NEW_LINK("ACL METADATA QUOTA", {"GETACL \"f\"", NULL}, {GET_OF("f"), NULL},
                                  {"GETQUOTAROOT INBOX", NULL});
    struct link fine = new_link("ACL METADATA QUOTA", NULL, 0);
    struct err err;

    (void)state;
    assert_int_equal(mailboxes_carry_acl(NULL, &broken, &fine, one, 1, &err), -1);
    assert_int_equal(mailboxes_carry_metadata(NULL, &broken, &fine, one, 1, &err), -1);
    assert_int_equal(mailboxes_carry_quota(NULL, &broken, &fine, 1, 1, &err), -1);
    expect_issues("");
    end_link(&broken);
    end_link(&fine);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, begin)
    const struct CMUnitTest tests[] = {
        TEST(test_rights_that_the_target_lacks_are_given),
        TEST(test_letters_before_rfc_4314_become_those_of_today_and_back),
        TEST(test_rights_that_the_target_does_not_know_are_told),
        TEST(test_rights_are_left_alone_where_a_server_does_not_tell_them),
        TEST(test_the_owner_is_the_one_whose_mail_it_is),
        TEST(test_rights_of_many_folders_are_asked_for_and_given_together),
        TEST(test_what_was_found_before_a_break_is_not_told),
        TEST(test_annotations_that_the_target_lacks_or_has_otherwise_are_set),
        TEST(test_annotations_of_many_folders_go_together),
        TEST(test_a_target_that_does_not_tell_annotations_is_no_matter_where_there_are_none),
        TEST(test_annotations_that_are_too_long_or_not_told_are_noted),
        TEST(test_equal_quotas_are_left_alone),
        TEST(test_the_target_gets_the_quota_of_the_source_and_keeps_its_others),
        TEST(test_a_quota_that_cannot_be_set_is_told),
        TEST(test_of_several_roots_the_first_with_limits_counts),
        TEST(test_a_break_while_carrying_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
