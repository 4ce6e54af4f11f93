/* FETCH: whole, up to a body, and behind one. */
#include "data_testing.h"

static char *tell_fetch(bool is_told, const struct data_fetch *f)
{
    struct buf told;

    told_init(&told);
    if (!is_told) {
        tell(&told, "no");
        return told_done(&told);
    }
    if (f->told & FETCH_UID)
        tell(&told, " u%u", f->uid);
    if (f->told & FETCH_FLAGS)
        tell(&told, " (%.*s)", SLICE_ARG(f->flags));
    if (f->told & FETCH_INTERNALDATE)
        tell(&told, " d%lld%+d", (long long)f->date.time_s, f->date.zone_min);
    if (f->told & FETCH_SIZE)
        tell(&told, " s%llu", (unsigned long long)f->size);
    if (f->told & FETCH_MODSEQ)
        tell(&told, " m%llu", (unsigned long long)f->modseq);
    if (f->told & FETCH_BODY) {
        tell(&told, " [%.*s]", SLICE_ARG(f->section));
        tell(&told, f->is_open ? "..." : f->is_nil ? "NIL" : "=%.*s", SLICE_ARG(f->body));
    }
    assert_true(!f->is_open || (f->told & FETCH_BODY));
    return told_done(&told);
}

static char *tell_whole(struct slice text)
{
    char *to = room_for(text), *told;
    struct data_fetch f;

    told = tell_fetch(data_fetch(text, false, to, &f), &f);
    free(to);
    return told;
}

static char *tell_partial(struct slice text)
{
    char *to = room_for(text), *told;
    struct data_fetch f;

    told = tell_fetch(data_fetch(text, true, to, &f), &f);
    free(to);
    return told;
}

static char *tell_rest(struct slice text)
{
    char *to = room_for(text), *told;
    struct data_fetch f;

    told = tell_fetch(data_fetch_rest(text, to, &f), &f);
    free(to);
    return told;
}

static void test_whole_responses(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("()"), ""},
        {SLICE("(UID 12)"), " u12"},
        {SLICE("(UID 12 FLAGS (\\Seen $Label) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" "
               "RFC822.SIZE 123 MODSEQ (45))"),
         " u12 (\\Seen $Label) d837596665-420 s123 m45"},
        {SLICE("(rfc822.size 9223372036854775807 modseq (9223372036854775807) flags () "
               "internaldate \" 1-Jan-1970 00:00:00 +0000\" uid 4294967295)"),
         " u4294967295 () d0+0 s9223372036854775807 m9223372036854775807"},
        {SLICE("( UID  5  FLAGS  ( \\Seen ) ) "), " u5 ( \\Seen )"},
        {SLICE("(FLAGS(\\Seen)UID 5)"), " u5 (\\Seen)"},
        {SLICE("(UID 5 UID 6)"), " u6"},
        {SLICE("(MODSEQ 7)"), " m7"},
        {SLICE("(MODSEQ ( 7 ))"), " m7"},
    };

    (void)state;
    check_rows(tell_whole, rows, ROWS_OF(rows));
}

static void test_values_of_no_such_form_are_not_told(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("(UID 0 RFC822.SIZE 1)"), " s1"},
        {SLICE("(UID 4294967296 RFC822.SIZE 1)"), " s1"},
        {SLICE("(UID NIL RFC822.SIZE NIL MODSEQ NIL FLAGS NIL INTERNALDATE NIL UID 3)"), " u3"},
        {SLICE("(INTERNALDATE \"17-Jul-1996\" UID 3)"), " u3"},
        {SLICE("(INTERNALDATE \"31-Feb-1996 02:44:25 -0700\" UID 3)"), " u3"},
        {SLICE("(INTERNALDATE \"\" UID 3)"), " u3"},
        {SLICE("(INTERNALDATE {3}\r\nx\") UID 3)"), " u3"},
        {SLICE("(INTERNALDATE \"something of more than the bytes that a date has\" UID 3)"), " u3"},
        {SLICE("(FLAGS (a \"b)\") UID 3)"), " u3"},
        {SLICE("(RFC822.SIZE -1 UID 3)"), " u3"},
        {SLICE("(RFC822.SIZE 9223372036854775808 UID 3)"), " u3"},
        {SLICE("(MODSEQ (1 2) UID 3)"), " u3"},
        {SLICE("(MODSEQ () UID 3)"), " u3"},
        {SLICE("(MODSEQ (1) MODSEQ (2 3))"), " m1"},
        {SLICE("(UID 3 FLAGS)"), " u3"},
    };

    (void)state;
    check_rows(tell_whole, rows, ROWS_OF(rows));
}

static void test_other_items_are_passed_over(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("(X-GM-LABELS (\"\\\\Sent\" foo \"a)b\" {2}\r\n)( \\Inbox) UID 3)"), " u3"},
        {SLICE("(X-GM-MSGID 1278455344230334865 X-GM-THRID 1 UID 3)"), " u3"},
        {SLICE("(EMAILID (M6d99) THREADID NIL SAVEDATE NIL PREVIEW {2}\r\n)) UID 3)"), " u3"},
        {SLICE("(ENVELOPE (\"d\" \"s \\\"x\\\"\" ((NIL NIL \"a\" \"b\")) NIL) UID 3)"), " u3"},
        {SLICE("(BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"x\") NIL NIL \"7BIT\" 1 2) UID 3)"),
         " u3"},
        {SLICE("(BODYSTRUCTURE((\"a\")(\"b\") \"MIXED\") UID 3)"), " u3"},
        {SLICE("(BINARY.SIZE[1.2] 5 UID 3)"), " u3"},
        {SLICE("(RFC822.HEADER {3}\r\na\r\n UID 3)"), " u3"},
        {SLICE("(RFC822 NIL UID 3)"), " u3"},
        {SLICE("(ANNOTATION (/comment (value.priv \"x\")) UID 3)"), " u3"},
    };

    (void)state;
    check_rows(tell_whole, rows, ROWS_OF(rows));
}

static void test_bodies(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("(UID 3 BODY[] {5}\r\n)\r\n\"x)"), " u3 []=)\r\n\"x"},
        {SLICE("(BODY[] {0}\r\n UID 3)"), " u3 []="},
        {SLICE("(BODY[]<0> NIL UID 3)"), " u3 []NIL"},
        {SLICE("(BODY[]<100> \"a\\\"b\" UID 3)"), " u3 []=a\"b"},
        {SLICE("(body[header.fields (SUBJECT)] {1}\r\nx UID 3)"),
         " u3 [header.fields (SUBJECT)]=x"},
        {SLICE("(BODY[HEADER.FIELDS (\"a]b\" {2}\r\n)] x])] \"y\")"),
         " [HEADER.FIELDS (\"a]b\" {2}\r\n)] x])]=y"},
        {SLICE("(BODY[1.2.MIME] \"\" UID 3)"), " u3 [1.2.MIME]="},
        {SLICE("(BINARY[1] ~{2}\r\nab UID 3)"), " u3 [1]=ab"},
        {SLICE("(BODY[HEADER] \"h\" BODY[TEXT] \"t\")"), " [TEXT]=t"},
        {SLICE("(BODY[HEADER] \"h\" BODY[TEXT] NIL)"), " [TEXT]NIL"},
        {SLICE("(BODY[HEADER] NIL BODY[TEXT] \"t\")"), " [TEXT]=t"},
        {SLICE("(BODY[]{1}\r\nx)"), " []=x"},
        {SLICE("(BODY[] atom)"), " []=atom"},
        {SLICE("(BODY[] {3}\r\nab)"), "no"},
        {SLICE("(BODY[] (x))"), "no"},
        {SLICE("(BODY[])"), "no"},
        {SLICE("(BODY[] {3}\r\nabcUID 5)"), "no"}, /* sticks to the text before */
        {SLICE("(BODY[ {1}\r\nx)"), "no"},
        {SLICE("(BODY[]< {1}\r\nx)"), "no"},
        {SLICE("(BODY[]<x> {1}\r\nx)"), "no"},
        {SLICE("(BODY[((A))] {1}\r\nx)"), "no"},
    };

    (void)state;
    check_rows(tell_whole, rows, ROWS_OF(rows));
}

static void test_what_is_no_fetch(void **state)
{
    static const struct data_row rows[] = {
        {SLICE(""), "no"},
        {SLICE("UID 12"), "no"},
        {SLICE("UID 12)"), "no"},
        {SLICE("(UID 12"), "no"},
        {SLICE("(UID 12) x"), "no"},
        {SLICE("(UID 12))"), "no"},
        {SLICE("((UID 12))"), "no"},
        {SLICE("(\"UID\" 12)"), "no"},
        {SLICE("(UID 12 [x])"), "no"},
        {SLICE("(X \"a)"), "no"},
        {SLICE("(X {9}\r\nx)"), "no"},
        {SLICE("(UID 12\r\n)"), "no"},
        {SLICE("(UID 12 BODY[] {5}\r\n"), "no"},
    };

    (void)state;
    check_rows(tell_whole, rows, ROWS_OF(rows));
}

static void test_responses_up_to_a_body(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("(UID 3 BODY[] {5}\r\n"), " u3 []..."},
        {SLICE("(BODY[]{0}\r\n"), " []..."},
        {SLICE("(UID 3 FLAGS (\\Seen) RFC822.SIZE 7 BODY[HEADER.FIELDS (SUBJECT)] {12}\r\n"),
         " u3 (\\Seen) s7 [HEADER.FIELDS (SUBJECT)]..."},
        {SLICE("(BODY[]<0> ~{18446744073709551616}\r\n"), " []..."},
        {SLICE("(BINARY[1] ~{5}\r\n"), " [1]..."},
        {SLICE("(X {1}\r\n) BODY[HEADER] \"h\" UID 4 BODY[TEXT] {5}\r\n"), " u4 [TEXT]..."},
        {SLICE(" UID 4 BODY[TEXT] {5}\r\n"), " u4 [TEXT]..."}, /* between two bodies */
        {SLICE("(UID 3)"), " u3"},
        {SLICE("(BODY[] NIL UID 3)"), " u3 []NIL"},
        {SLICE("(UID 3 BODY {5}\r\n"), "no"},
        {SLICE("(RFC822 {5}\r\n"), "no"},
        {SLICE("(X (BODY[] {5}\r\n"), "no"},
        {SLICE("(X \"BODY[] {5}\r\n"), "no"},
        {SLICE("(BODY[] {5}\r\n "), "no"},
        {SLICE("(BODY[] {5}\n"), "no"},
        {SLICE("(BODY[] {}\r\n"), "no"},
        {SLICE("(BODY[] 5}\r\n"), "no"},
        {SLICE("(BODY[] x{5}\r\n"), "no"},
        {SLICE("(BODY[] x {5}\r\n"), "no"},
        {SLICE("(BODY[HEADER.FIELDS ({5}\r\n"), "no"},
        {SLICE("{5}\r\n"), "no"},
        {SLICE(""), "no"},
    };

    (void)state;
    check_rows(tell_partial, rows, ROWS_OF(rows));
}

static void test_what_comes_behind_a_body(void **state)
{
    static const struct data_row rows[] = {
        {SLICE(")"), ""},
        {SLICE(" UID 5)"), " u5"},
        {SLICE(" UID 5 FLAGS (\\Seen)) "), " u5 (\\Seen)"},
        {SLICE(" BODY[HEADER] \"x\" UID 5)"), " u5 [HEADER]=x"},
        {SLICE(" X {3}\r\n)\r\n UID 5)"), " u5"},
        {SLICE(" UID 5 BODY[TEXT] {5}\r\n"), " u5 [TEXT]..."},
        {SLICE(""), "no"},
        {SLICE(" UID 5"), "no"},
        {SLICE("(UID 5)"), "no"},
        {SLICE(") x"), "no"},
        {SLICE(" X {5}\r\n"), "no"},
    };

    (void)state;
    check_rows(tell_rest, rows, ROWS_OF(rows));
}

static char *tell_is_body(struct slice text)
{
    return told_of("%s", data_is_body(text) ? "body" : "other");
}

static void test_which_literals_are_bodies(void **state)
{
    static const struct data_row rows[] = {
        {SLICE("(UID 3 BODY[] {5}\r\n"), "body"},
        {SLICE("(BODY[] {5}\r\n"), "body"},
        {SLICE("(body[text]<0> {5}\r\n"), "body"},
        {SLICE("(BODY[]<> {5}\r\n"), "body"},
        {SLICE("(BODY[]{5}\r\n"), "body"},
        {SLICE("(Binary[1] ~{5}\r\n"), "body"},
        {SLICE("(BODY[HEADER.FIELDS (SUBJECT \"a b[c\" \"d BODY[\")] {5}\r\n"), "body"},
        {SLICE("BODY[TEXT] {5}\r\n"), "body"},
        {SLICE(" UID 3 BODY[TEXT] {99999999999999999999}\r\n"), "body"},
        {SLICE("(X {3}\r\na BODY[] {5}\r\n"), "body"},
        {SLICE("(BODY[] x {5}\r\n"), "other"},
        {SLICE("(BODY {5}\r\n"), "other"},
        {SLICE("(BODYSTRUCTURE (\"a\" {5}\r\n"), "other"},
        {SLICE("(RFC822.HEADER {5}\r\n"), "other"},
        {SLICE("(XBODY[] {5}\r\n"), "other"},
        {SLICE("(BODY.PEEK[] {5}\r\n"), "other"},
        {SLICE("(X-GM-LABELS (\"BODY[]\" {5}\r\n"), "other"},
        {SLICE("(X-GM-LABELS (a[] {5}\r\n"), "other"},
        {SLICE("(BODY[HEADER.FIELDS ({5}\r\n"), "other"},
        {SLICE("(BODY[HEADER.FIELDS ({1}\r\nA)] {5}\r\n"), "other"},
        {SLICE("(BODY[]<a> {5}\r\n"), "other"},
        {SLICE("(BODY]<0> {5}\r\n"), "other"},
        {SLICE("BODY[ {5}\r\n"), "other"},
        {SLICE("] {5}\r\n"), "other"},
        {SLICE("> {5}\r\n"), "other"},
        {SLICE("<> {5}\r\n"), "other"},
        {SLICE("{5}\r\n"), "other"},
        {SLICE("(BODY[] {}\r\n"), "other"},
        {SLICE("(BODY[] 5}\r\n"), "other"},
        {SLICE("5}\r\n"), "other"},
        {SLICE("}\r\n"), "other"},
        {SLICE("\r\n"), "other"},
        {SLICE("(BODY[] {5}"), "other"},
        {SLICE("(BODY[] {5}\n"), "other"},
        {SLICE(""), "other"},
    };

    (void)state;
    check_rows(tell_is_body, rows, ROWS_OF(rows));
}

/* A megabyte of what is bad to read: it must not take the square of it. */
static void test_hostile_text_costs_no_more_than_its_bytes(void **state)
{
    static const char *const pieces[] = {"[",  "BODY[", "((",  "\\",        "{1",  "\"",
                                         "~{", "()",    "<0>", " BODY[x] ", "(\"", "{0}\r\n"};
    enum { SIZE = 1 << 20 };
    char *text = malloc(SIZE + 20), *to = malloc(SIZE + 20);

    (void)state;
    assert_non_null(text);
    assert_non_null(to);
    for (size_t i = 0; i < ROWS_OF(pieces); i++) {
        static const char end[] = "] {1}\r\n";
        struct data_fetch f;
        size_t n = 0;

        memcpy(text, "(X (", 4);
        for (n = 4; n < SIZE; n += strlen(pieces[i]))
            memcpy(text + n, pieces[i], strlen(pieces[i]));
        memcpy(text + n, end, sizeof(end) - 1);
        n += sizeof(end) - 1;
        assert_false(data_fetch(slice_of(text, n), false, to, &f));
        assert_false(data_fetch(slice_of(text, n), true, to, &f));
        assert_false(data_fetch_rest(slice_of(text + 4, n - 4), to, &f) && !f.is_open);
        (void)data_is_body(slice_of(text, n));
    }
    free(text);
    free(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_responses),
        cmocka_unit_test(test_values_of_no_such_form_are_not_told),
        cmocka_unit_test(test_other_items_are_passed_over),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_what_is_no_fetch),
        cmocka_unit_test(test_responses_up_to_a_body),
        cmocka_unit_test(test_what_comes_behind_a_body),
        cmocka_unit_test(test_which_literals_are_bodies),
        cmocka_unit_test(test_hostile_text_costs_no_more_than_its_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
