/* What servers tell of mailboxes, searches and codes; the pieces. FETCH is test_data_fetch.c. */
#include "data_testing.h"

#include "imap/set.h"

/* --- pieces ----------------------------------------------------------------------------------- */

static char *tell_words(struct slice text)
{
    struct lex l = lex_start(text);
    struct slice words, word;
    struct buf told;

    told_init(&told);
    if (!data_words(&l, &words)) {
        assert_ptr_equal(l.s.p, text.p);
        tell(&told, "no");
        return told_done(&told);
    }
    while (data_word(&words, &word))
        tell(&told, "<%.*s>", SLICE_ARG(word));
    tell(&told, "+%.*s", SLICE_ARG(l.s));
    return told_done(&told);
}

static void test_lists_of_words(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("()"), "+"},
        {SLICE("( )"), "+"},
        {SLICE("(\\Seen)"), "<\\Seen>+"},
        {SLICE("(\\Seen $Label) x"), "<\\Seen><$Label>+ x"},
        {SLICE("(  a   b )c"), "<a><b>+c"},
        {SLICE("(\\* [x] {5} a%b \xe4)"), "<\\*><[x]><{5}><a%b><\xe4>+"},
        {SLICE("(a"), "no"},
        {SLICE(""), "no"},
        {SLICE("a)"), "no"},
        {SLICE("(a (b))"), "no"},
        {SLICE("(a \"b\")"), "no"},
        {SLICE("(a\r\n)"), "no"},
        {SLICE("(a {1}\r\nb)"), "no"},
    };

    (void)state;
    check_rows(tell_words, rows, ROWS_OF(rows));
}

static void test_words_are_found_in_any_case(void **state)
{
    const struct slice words = SLICE("\\Seen  $Junk x");

    (void)state;
    assert_true(data_has_word(words, SLICE("\\SEEN")));
    assert_true(data_has_word(words, SLICE("$junk")));
    assert_true(data_has_word(words, SLICE("x")));
    assert_false(data_has_word(words, SLICE("Seen")));
    assert_false(data_has_word(words, SLICE("$Jun")));
    assert_false(data_has_word(words, SLICE("")));
    assert_false(data_has_word((struct slice){0}, SLICE("x")));
}

static char *tell_number(struct slice text)
{
    struct lex l = lex_start(text);
    uint64_t n;

    return data_number(&l, &n) ? told_of("%llu+%.*s", (unsigned long long)n, SLICE_ARG(l.s))
                               : told_of("no%zu", text.n - l.s.n);
}

static void test_numbers(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("0"), "0+"},
        {SLICE("12 x"), "12+ x"},
        {SLICE("12)"), "12+)"},
        {SLICE("12("), "12+("},
        {SLICE("007\r\n"), "7+\r\n"},
        {SLICE("9223372036854775807"), "9223372036854775807+"},
        {SLICE("9223372036854775808"), "no0"},
        {SLICE("99999999999999999999999999"), "no0"},
        {SLICE(""), "no0"},
        {SLICE("x"), "no0"},
        {SLICE("12x"), "no0"},
        {SLICE("12]"), "no0"},
        {SLICE("-1"), "no0"},
        {SLICE(" 1"), "no0"},
    };

    (void)state;
    check_rows(tell_number, rows, ROWS_OF(rows));
}

static char *tell_nstring(struct slice text)
{
    struct lex l = lex_start(text);
    char *to = room_for(text), *told;
    struct slice value;
    bool is_nil;

    if (!data_nstring(&l, to, &value, &is_nil))
        told = told_of("no%zu", text.n - l.s.n);
    else
        told = told_of("%s%.*s+%.*s", is_nil ? "NIL" : "=", SLICE_ARG(value), SLICE_ARG(l.s));
    free(to);
    return told;
}

static void test_strings_and_nil(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("NIL"), "NIL+"},
        {SLICE("nil)"), "NIL+)"},
        {SLICE("NILX"), "=NILX+"},
        {SLICE("\"NIL\""), "=NIL+"},
        {SLICE("\"\" x"), "=+ x"},
        {SLICE("\"a \\\"b\\\\\""), "=a \"b\\+"},
        {SLICE("{3}\r\na\r\n x"), "=a\r\n+ x"},
        {SLICE("~{3}\r\nabcd"), "=abc+d"},
        {SLICE("{0}\r\n)"), "=+)"},
        {SLICE("atom[x]) y"), "=atom[x]+) y"},
        {SLICE("~x"), "=~x+"},
        {SLICE("INBOX/\xc3\xa4*%"), "=INBOX/\xc3\xa4*%+"},
        {SLICE(""), "no0"},
        {SLICE(" x"), "no0"},
        {SLICE("(x)"), "no0"},
        {SLICE(")"), "no0"},
        {SLICE("\"a"), "no0"},
        {SLICE("\"a\r\n\""), "no0"},
        {SLICE("{3}\r\nab"), "no0"},
        {SLICE("{3}ab"), "no0"},
        {SLICE("~\"a\""), "=~+\"a\""},
    };

    (void)state;
    check_rows(tell_nstring, rows, ROWS_OF(rows));
}

static char *tell_skip(struct slice text)
{
    struct lex l = lex_start(text);

    return data_skip(&l) ? told_of("+%.*s", SLICE_ARG(l.s)) : told_of("no%zu", text.n - l.s.n);
}

static void test_values_are_passed_over(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("x y"), "+ y"},
        {SLICE("\\Seen)"), "+)"},
        {SLICE("NIL"), "+"},
        {SLICE("\"a)\\\"(\" y"), "+ y"},
        {SLICE("\"a\\b\""), "+"}, /* an escape that is none */
        {SLICE("{3}\r\n\")( y"), "+ y"},
        {SLICE("~{1}\r\n\0)"), "+)"},
        {SLICE("()"), "+"},
        {SLICE("( ) y"), "+ y"},
        {SLICE("(a (b \"c)\" {1}\r\n)) NIL)y"), "+y"},
        {SLICE("((a)(b))"), "+"},
        {SLICE("(\"\\\\Sent\" foo \"\\\\Important\")x"), "+x"},
        {SLICE("BODY[HEADER.FIELDS (A \"]\")] x"), "+ x"},
        {SLICE("body[]<12> x"), "+ x"},
        {SLICE("BINARY.SIZE[1.2] x"), "+ x"},
        {SLICE("(BODY[HEADER.FIELDS (A)] x)y"), "+y"},
        {SLICE("[Gmail]/x y"), "+ y"},
        {SLICE("a[b c"), "+ c"},
        {SLICE("{x} c"), "+ c"}, /* no literal, so a word like any */
        {SLICE(""), "no0"},
        {SLICE(" x"), "no0"},
        {SLICE(")"), "no0"},
        {SLICE("("), "no0"},
        {SLICE("(a"), "no0"},
        {SLICE("(a (b)"), "no0"},
        {SLICE("\"a"), "no0"},
        {SLICE("\"a\r\n\""), "no0"},
        {SLICE("\"a\\"), "no0"},
        {SLICE("(\"a)"), "no0"},
        {SLICE("(a\r\n)"), "no0"},
        {SLICE("({4}\r\nabc)"), "no0"},
        {SLICE("BODY[ x"), "no0"},
        {SLICE("BODY[(A] x"), "no0"},
        {SLICE("BODY[((A))] x"), "no0"},
        {SLICE("BODY[]<1 x"), "no0"},
        {SLICE("BODY[\"]"), "no0"},
    };

    (void)state;
    check_rows(tell_skip, rows, ROWS_OF(rows));
}

static void test_nesting_is_bounded(void **state)
{
    char text[2 * DATA_NESTING + 2];

    (void)state;
    for (size_t n = 1; n <= DATA_NESTING + 1; n++) {
        struct lex l = lex_start(slice_of(text, 2 * n));

        memset(text, '(', n);
        memset(text + n, ')', n);
        assert_int_equal(data_skip(&l), n <= DATA_NESTING);
        assert_int_equal(l.s.n, n <= DATA_NESTING ? 0 : 2 * n);
    }
}

/* --- mailboxes -------------------------------------------------------------------------------- */

static char *tell_list(struct slice text)
{
    char *to = room_for(text), *told;
    struct data_list list;

    if (!data_list(text, to, &list))
        told = told_of("no");
    else
        told = told_of("(%.*s) %c <%.*s>", SLICE_ARG(list.attributes),
                       list.separator ? list.separator : '-', SLICE_ARG(list.name));
    free(to);
    return told;
}

static void test_list(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("(\\HasNoChildren) \"/\" INBOX"), "(\\HasNoChildren) / <INBOX>"},
        {SLICE("() \".\" \"INBOX.a b\""), "() . <INBOX.a b>"},
        {SLICE("(\\HasChildren \\Sent) \"\\\\\" {3}\r\na\"b"), "(\\HasChildren \\Sent) \\ <a\"b>"},
        {SLICE("(\\Noselect) NIL \"\""), "(\\Noselect) - <>"},
        {SLICE("() \"\" foo"), "() - <foo>"},
        {SLICE("() \"/\" foo[1]&-]{5}"), "() / <foo[1]&-]{5}>"},
        {SLICE("() \"/\" \"a\\\\b\\\"c\""), "() / <a\\b\"c>"},
        {SLICE("() \"/\" Entw\xc3\xbcrfe"), "() / <Entw\xc3\xbcrfe>"},
        {SLICE("() \"/\" NIL"), "() / <NIL>"},
        {SLICE("() \"/\" \" a \""), "() / < a >"},
        {SLICE("()  \"/\"  foo "), "() / <foo>"},
        {SLICE("()\"/\"\"foo\""), "() / <foo>"},
        {SLICE("() \"/\" foo (\"CHILDINFO\" (\"SUBSCRIBED\"))"), "() / <foo>"},
        {SLICE("() \"/\" \"foo\" (OLDNAME (\"b)r\") \"X\" {1}\r\n))"), "() / <foo>"},
        {SLICE(""), "no"},
        {SLICE("\"/\" foo"), "no"},
        {SLICE("() foo"), "no"},
        {SLICE("() \"/\""), "no"},
        {SLICE("() \"//\" foo"), "no"},
        {SLICE("() \"/\" foo bar"), "no"},
        {SLICE("() \"/\" \"foo"), "no"},
        {SLICE("() \"/\" foo (x"), "no"},
        {SLICE("() \"/\" foo (x) y"), "no"},
        {SLICE("() \"/\" {9}\r\nfoo"), "no"},
        {SLICE("(\"a\") \"/\" foo"), "no"},
    };

    (void)state;
    check_rows(tell_list, rows, ROWS_OF(rows));
}

static char *tell_status(struct slice text)
{
    char *to = room_for(text);
    struct data_status s;
    struct buf told;

    told_init(&told);
    if (!data_status(text, to, &s)) {
        tell(&told, "no");
    } else {
        tell(&told, "<%.*s>", SLICE_ARG(s.name));
        if (s.told & STATUS_MESSAGES)
            tell(&told, " m%u", s.messages);
        if (s.told & STATUS_UIDNEXT)
            tell(&told, " n%u", s.uidnext);
        if (s.told & STATUS_UIDVALIDITY)
            tell(&told, " v%u", s.uidvalidity);
        if (s.told & STATUS_UNSEEN)
            tell(&told, " u%u", s.unseen);
        if (s.told & STATUS_HIGHESTMODSEQ)
            tell(&told, " h%llu", (unsigned long long)s.highestmodseq);
        if (s.told & STATUS_SIZE)
            tell(&told, " s%llu", (unsigned long long)s.size);
    }
    free(to);
    return told_done(&told);
}

static void test_status(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("INBOX (MESSAGES 3 UIDNEXT 4)"), "<INBOX> m3 n4"},
        {SLICE(
             "\"a b\" (uidvalidity 7 Unseen 1 HIGHESTMODSEQ 9223372036854775807 SIZE 5000000000)"),
         "<a b> v7 u1 h9223372036854775807 s5000000000"},
        {SLICE("{1}\r\n( (MESSAGES 0)"), "<(> m0"},
        {SLICE("a ()"), "<a>"},
        {SLICE("a(MESSAGES 1 )"), "<a> m1"},
        {SLICE("a  ( MESSAGES  1  ) "), "<a> m1"},
        {SLICE("a (RECENT 1 MAILBOXID (F5) MESSAGES 2 X NIL DELETED 3)"), "<a> m2"},
        {SLICE("a (APPENDLIMIT NIL MESSAGES 4294967295)"), "<a> m4294967295"},
        {SLICE("a (MESSAGES 4294967296 UIDNEXT 2)"), "<a> n2"},
        {SLICE("a (SIZE 9223372036854775808 UIDNEXT 2)"), "<a> n2"},
        {SLICE("a (MESSAGES NIL UIDNEXT (2) UNSEEN \"3\" SIZE 4)"), "<a> s4"},
        {SLICE("a (MESSAGES -1 UIDNEXT 2x)"), "<a>"},
        {SLICE("a (MESSAGES 1 MESSAGES 2)"), "<a> m2"},
        {SLICE(""), "no"},
        {SLICE("a"), "no"},
        {SLICE("a MESSAGES 3"), "no"},
        {SLICE("a (MESSAGES)"), "no"},
        {SLICE("a (MESSAGES 3"), "no"},
        {SLICE("a (MESSAGES 3) x"), "no"},
        {SLICE("a (3)"), "no"},
        {SLICE("a (\"MESSAGES\" 3)"), "no"},
        {SLICE("a b (MESSAGES 3)"), "no"},
    };

    (void)state;
    check_rows(tell_status, rows, ROWS_OF(rows));
}

static void tell_part(struct buf *told, struct slice part)
{
    char *to = room_for(part), sep;
    struct slice prefix;

    tell(told, "/");
    while (data_namespace_next(&part, to, &prefix, &sep))
        tell(told, "<%.*s>%c", SLICE_ARG(prefix), sep ? sep : '-');
    tell(told, "%.*s", SLICE_ARG(part));
    free(to);
}

static char *tell_namespaces(struct slice text)
{
    char *to = room_for(text), sep;
    struct data_namespaces spaces;
    struct slice prefix;
    struct buf told;

    told_init(&told);
    if (data_namespace(text, to, &prefix, &sep))
        tell(&told, "<%.*s>%c", SLICE_ARG(prefix), sep ? sep : '-');
    if (!data_namespaces(text, &spaces)) {
        tell(&told, "no");
    } else {
        tell_part(&told, spaces.personal);
        tell_part(&told, spaces.others);
        tell_part(&told, spaces.shared);
    }
    free(to);
    return told_done(&told);
}

static void test_namespaces(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("((\"\" \"/\")) NIL NIL"), "<>//<>///"},
        {SLICE("NIL NIL NIL"), "///"},
        {SLICE("((\"INBOX.\" \".\")) nil ((\"Public.\" \".\"))"),
         "<INBOX.>./<INBOX.>.//<Public.>."},
        {SLICE("((\"\" \"/\")(\"#mh/\" \"/\" \"X-PARAM\" (\"F1\" \"F2\"))) ((\"~\" \"/\")) ()"),
         "<>//<>/<#mh/>//<~>//"},
        {SLICE("((\"\" NIL)) ((\"Other \\\"Users\\\"/\" \"/\") (\"b\" \"\\\\\")) NIL"),
         "<>-/<>-/<Other \"Users\"/>/<b>\\/"},
        {SLICE("(({6}\r\nINBOX/ \"/\")) NIL NIL"), "<INBOX/>//<INBOX/>///"},
        {SLICE("((NIL NIL)) NIL NIL "), "<>-/<>-//"},
        {SLICE("(x) NIL NIL"), "/x//"},
        {SLICE("((\"a\")) NIL NIL"), "/(\"a\")//"},
        {SLICE("((\"a\" \"//\")) NIL NIL"), "/(\"a\" \"//\")//"},
        {SLICE(""), "no"},
        {SLICE("NIL NIL"), "no"},
        {SLICE("NIL NIL NIL NIL"), "no"},
        {SLICE("((\"\" \"/\") NIL NIL"), "no"},
        {SLICE("\"\" NIL NIL"), "no"},
        {SLICE("NONE NIL NIL"), "no"},
    };

    (void)state;
    check_rows(tell_namespaces, rows, ROWS_OF(rows));
}

/* --- searches --------------------------------------------------------------------------------- */

static char *tell_esearch(struct slice text)
{
    char *to = room_for(text), *told;
    struct data_esearch e;

    if (!data_esearch(text, to, &e))
        told = told_of("no");
    else
        told = told_of("<%.*s>%s %.*s c%llu m%llu", SLICE_ARG(e.tag), e.is_uid ? " uid" : "",
                       SLICE_ARG(e.all), (unsigned long long)e.count, (unsigned long long)e.modseq);
    free(to);
    return told;
}

static void test_esearch(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("(TAG \"a1\") UID ALL 4:18,21 COUNT 17"), "<a1> uid 4:18,21 c17 m0"},
        {SLICE("(TAG \"a1\")"), "<a1>  c0 m0"},
        {SLICE("(TAG \"a1\") UID"), "<a1> uid  c0 m0"},
        {SLICE("(tag a1) uid all 7"), "<a1> uid 7 c0 m0"},
        {SLICE("( TAG {2}\r\na1 )  UID  COUNT 0 "), "<a1> uid  c0 m0"},
        {SLICE(""), "<>  c0 m0"},
        {SLICE("ALL 3"), "<> 3 c0 m0"},
        {SLICE("UID MIN 3 MAX 9 ALL 3,9 MODSEQ 1236"), "<> uid 3,9 c0 m1236"},
        {SLICE("(TAG \"a\") UID PARTIAL (1:2 200,250) ALL 5 X-A NIL"), "<a> uid 5 c0 m0"},
        {SLICE("ALL 3 UID 7"), "<> 3 c0 m0"}, /* an item like any, there */
        {SLICE("(TAG \"a1\""), "no"},
        {SLICE("(X \"a1\")"), "no"},
        {SLICE("(TAG)"), "no"},
        {SLICE("(TAG \"a1\" \"a2\")"), "no"},
        {SLICE("UID ALL"), "no"},
        {SLICE("UID ALL NIL"), "no"},
        {SLICE("UID ALL \"1\""), "no"},
        {SLICE("UID ALL 1:*"), "no"},
        {SLICE("UID COUNT x"), "no"},
        {SLICE("UID COUNT 9223372036854775808"), "no"},
        {SLICE("UID \"x\""), "no"},
        {SLICE("UID ALL 1)"), "no"},
    };

    (void)state;
    check_rows(tell_esearch, rows, ROWS_OF(rows));
}

static char *tell_search(struct slice text)
{
    struct buf told;
    uint32_t n;

    told_init(&told);
    while (data_search_next(&text, &n))
        tell(&told, "%u ", n);
    tell(&told, "+%.*s", SLICE_ARG(text));
    return told_done(&told);
}

static void test_search(void **state)
{
    static const struct data_row rows[] = {
        {SLICE(""), "+"},
        {SLICE("  "), "+"},
        {SLICE("2"), "2 +"},
        {SLICE("2 3 6 "), "2 3 6 +"},
        {SLICE("4294967295 1"), "4294967295 1 +"},
        {SLICE("2 5 (MODSEQ 917162500)"), "2 5 +"},
        {SLICE("(MODSEQ 1) "), "+"},
        {SLICE("2 0 3"), "2 +0 3"},
        {SLICE("2 4294967296"), "2 +4294967296"},
        {SLICE("2 x"), "2 +x"},
        {SLICE("2,3"), "+2,3"},
        {SLICE("2 (MODSEQ 1) 3"), "2 +(MODSEQ 1) 3"},
        {SLICE("2 (MODSEQ"), "2 +(MODSEQ"},
    };

    (void)state;
    check_rows(tell_search, rows, ROWS_OF(rows));
}

static char *tell_vanished(struct slice text)
{
    bool is_earlier;
    struct slice set;

    if (!data_vanished(text, &is_earlier, &set))
        return told_of("no");
    return told_of("%s%.*s", is_earlier ? "earlier " : "", SLICE_ARG(set));
}

static void test_vanished(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("405,407,410:425"), "405,407,410:425"},
        {SLICE("(EARLIER) 41,43:116"), "earlier 41,43:116"},
        {SLICE("(earlier)  41 "), "earlier 41"},
        {SLICE("(EARLIER) 1:4294967295"), "earlier 1:4294967295"},
        {SLICE("(EARLIER) 0:1"), "earlier 0:1"}, /* the set tells that it is none */
        {SLICE("(EARLIER (X)) 1"), "no"},
        {SLICE("(EARLIER) (1)"), "no"},
        {SLICE(""), "no"},
        {SLICE("(EARLIER)"), "no"},
        {SLICE("() 1"), "no"},
        {SLICE("(LATER) 1"), "no"},
        {SLICE("1 2"), "no"},
        {SLICE("1:*"), "no"},
        {SLICE("x"), "no"},
    };

    (void)state;
    check_rows(tell_vanished, rows, ROWS_OF(rows));
}

/* --- response codes --------------------------------------------------------------------------- */

static char *tell_appenduid(struct slice text)
{
    uint32_t uidvalidity;
    struct slice set;

    if (!data_appenduid(text, &uidvalidity, &set))
        return told_of("no");
    return told_of("%u <%.*s> %u", uidvalidity, SLICE_ARG(set), set_count(set));
}

static void test_appenduid(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("38505 3955"), "38505 <3955> 1"},
        {SLICE("38505 3955:3957,4000"), "38505 <3955:3957,4000> 4"},
        {SLICE("4294967295 1"), "4294967295 <1> 1"},
        {SLICE("1  2 "), "1 <2> 1"},
        {SLICE(""), "no"},
        {SLICE("38505"), "no"},
        {SLICE("38505 "), "no"},
        {SLICE("0 1"), "no"},
        {SLICE("4294967296 1"), "no"},
        {SLICE("38505 0"), "no"},
        {SLICE("38505 1:*"), "no"},
        {SLICE("38505 1,"), "no"},
        {SLICE("38505 1 2"), "no"},
        {SLICE("38505 x"), "no"},
        {SLICE("38505,1"), "no"},
    };

    (void)state;
    check_rows(tell_appenduid, rows, ROWS_OF(rows));
}

static char *tell_code(struct slice text)
{
    struct slice code, arguments;

    if (!data_code(text, &code, &arguments))
        return told_of("no");
    return told_of("%.*s <%.*s>", SLICE_ARG(code), SLICE_ARG(arguments));
}

static void test_codes(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("[ALERT] x"), "ALERT <>"},
        {SLICE("[ALERT]"), "ALERT <>"},
        {SLICE("[UIDVALIDITY 3857529045] UIDs valid"), "UIDVALIDITY <3857529045>"},
        {SLICE("[PERMANENTFLAGS (\\Deleted \\*)] Limited"), "PERMANENTFLAGS <(\\Deleted \\*)>"},
        {SLICE("[PERMANENTFLAGS (\\Deleted a] [b \\*)] x]"),
         "PERMANENTFLAGS <(\\Deleted a] [b \\*)>"},
        {SLICE("[BADURL \"a]b\\\"]\" x] y"), "BADURL <\"a]b\\\"]\" x>"},
        {SLICE("[X \"a]\"] y"), "X <\"a]\">"},
        {SLICE("[REFERRAL imap://[::1]:143/] y]"), "REFERRAL <imap://[::1]:143/>"},
        {SLICE("[X (a (b]) c])] y"), "X <(a (b]) c])>"},
        {SLICE("[X a)b] y"), "X <a)b>"},
        {SLICE("[X don\"t] say \"]"), "X <don\"t>"},
        {SLICE("[X (a] b"), "X <(a>"},   /* what never closes is text */
        {SLICE("[X \"a] b"), "X <\"a>"}, /* the same */
        {SLICE("[X [a] b"), "X <[a>"},   /* the same */
        {SLICE("[X ] b"), "X <>"},
        {SLICE(""), "no"},
        {SLICE("ALERT] x"), "no"},
        {SLICE("[ALERT x"), "no"},
        {SLICE("[]"), "no"},
        {SLICE("[(x)] y"), "no"},
        {SLICE("text [ALERT]"), "no"},
    };

    (void)state;
    check_rows(tell_code, rows, ROWS_OF(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_of_words),
        cmocka_unit_test(test_words_are_found_in_any_case),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_strings_and_nil),
        cmocka_unit_test(test_values_are_passed_over),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_namespaces),
        cmocka_unit_test(test_esearch),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_vanished),
        cmocka_unit_test(test_appenduid),
        cmocka_unit_test(test_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
