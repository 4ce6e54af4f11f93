/* Framing, tokens, responses, capabilities and writing. */
#include "pieces.h"

#include "imap/capability.h"
#include "imap/frame.h"
#include "imap/lex.h"
#include "imap/response.h"
#include "imap/write.h"

static void assert_slice(struct slice got, struct slice expected)
{
    assert_int_equal(got.n, expected.n);
    if (expected.n)
        assert_memory_equal(got.p, expected.p, expected.n);
}

/* ---- Framing: one letter for each result, with the frame's length ---- */

enum { MAX_LINE = 40, MAX_LITERAL = 20 };

/* Takes a literal of seven bytes away, and tells it. */
static void tell_cut(struct buf *told, struct buf *in, struct frame *f, struct pieces *p)
{
    buf_take(in, frame_len(f));
    frame_cut(f);
    while (buf_len(in) < 7)
        assert_true(pieces_feed(p, in));
    tell(told, "[%.*s] ", 7, buf_slice(in).p);
    buf_take(in, 7);
}

static char *frames(const void *arg, struct pieces *p)
{
    const enum frame_kind *kind = arg;
    struct buf in, told;
    struct frame f;
    bool is_over = false;

    buf_init(&in, MAX_LINE + MAX_LITERAL, false);
    told_init(&told);
    frame_start(&f, *kind, MAX_LINE, MAX_LITERAL);
    while (!is_over) {
        switch (frame_step(&f, buf_slice(&in))) {
        case FRAME_MORE:
            assert_int_not_equal(buf_left(&in), 0);
            is_over = !pieces_feed(p, &in);
            if (is_over && buf_len(&in) > 0)
                tell(&told, "more%zu ", buf_len(&in));
            break;
        case FRAME_WHOLE:
            tell(&told, "%zu ", frame_len(&f));
            buf_take(&in, frame_len(&f));
            frame_start(&f, *kind, MAX_LINE, MAX_LITERAL);
            break;
        case FRAME_CONTINUE:
            tell(&told, "+%zu ", frame_len(&f));
            break;
        case FRAME_LINE_LONG:
            tell(&told, "long");
            is_over = true;
            break;
        case FRAME_LITERAL_LARGE:
            tell(&told, "large%zu%s", frame_len(&f), frame_is_sync(&f) ? "" : "+");
            is_over = true;
            break;
        case FRAME_BARE_LF:
            tell(&told, "lf%zu", frame_len(&f));
            is_over = true;
            break;
        case FRAME_LITERAL:
            tell(&told, "?%zu ", frame_len(&f));
            if (frame_literal(&f) == 7) {
                tell_cut(&told, &in, &f, p);
            } else if (!frame_keep(&f)) {
                tell(&told, "large");
                is_over = true;
            }
            break;
        }
    }
    buf_release(&in);
    return told_done(&told);
}

struct row {
    struct slice input;
    const char *told;
};

#define ROWS(rows) rows, sizeof(rows) / sizeof((rows)[0])

static void check_frames(enum frame_kind kind, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_talk(frames, &kind, rows[i].input, rows[i].told);
}

static void test_lines_end_with_lf(void **state)
{
    static const struct row rows[] = {
        {SLICE(""), ""},
        {SLICE("a NOOP\r\n"), "8 "},
        {SLICE("a NOOP\n"), "7 "},
        {SLICE("\n\r\n\r\r\n"), "1 2 3 "},
        {SLICE("a\rb\r\nc\0d\r\n"), "5 5 "},
        {SLICE("a\r\nb"), "3 more1 "},
        {SLICE("a\r"), "more2 "},
    };

    (void)state;
    check_frames(FRAME_COMMAND, ROWS(rows));
    check_frames(FRAME_LINE, ROWS(rows));
}

static void test_literals_of_commands(void **state)
{
    static const struct row rows[] = {
        {SLICE("{3}\r\nabc\r\n"), "+5 10 "},
        {SLICE("{3+}\r\nabc\r\n"), "11 "},
        {SLICE("~{3+}\r\n\0\0\0\r\n"), "12 "},
        {SLICE("a{3+}\nabc\n"), "10 "},
        {SLICE("{0}\r\n\r\n"), "+5 7 "},
        {SLICE("{0+}\r\n{0+}\r\n\r\n"), "14 "},
        {SLICE("{01}\r\nx\r\n"), "+6 9 "},
        {SLICE("{3+}\r\n\r\n\n{2+}\r\n\r\n\r\n"), "19 "},
        {SLICE("{3}\r\nabc{2}\r\nxy\r\n"), "+5 +13 17 "},
        {SLICE("{3}\r\nab"), "+5 more7 "},
        {SLICE("{3+}\r\nabc"), "more9 "},
        {SLICE("{5+}\r\n{3+}\n\r\n"), "13 "},
    };

    (void)state;
    check_frames(FRAME_COMMAND, ROWS(rows));
}

static void test_braces_that_announce_nothing(void **state)
{
    static const struct row rows[] = {
        {SLICE("{}\r\n"), "4 "},      {SLICE("{+}\r\n"), "5 "},   {SLICE("{-1}\r\n"), "6 "},
        {SLICE("{1-}\r\n"), "6 "},    {SLICE("{1++}\r\n"), "7 "}, {SLICE("{1 }\r\n"), "6 "},
        {SLICE("{ 1}\r\n"), "6 "},    {SLICE("1}\r\n"), "4 "},    {SLICE("{1\r\n"), "4 "},
        {SLICE("{1} \r\n"), "6 "},    {SLICE("{1}\r\r\n"), "6 "}, {SLICE("{0x1}\r\n"), "7 "},
        {SLICE("}\r\n"), "3 "},       {SLICE("+}\r\n"), "4 "},    {SLICE("1+}\r\n"), "5 "},
        {SLICE("\"{1}\"\r\n"), "7 "},
    };

    (void)state;
    check_frames(FRAME_COMMAND, ROWS(rows));
    check_frames(FRAME_LINE, ROWS(rows));
}

static void test_lines_without_grammar_have_no_literals(void **state)
{
    static const struct row rows[] = {{SLICE("{1}\r\n{1+}\r\n{99+}\r\n"), "5 6 7 "}};

    (void)state;
    check_frames(FRAME_LINE, ROWS(rows));
}

static void test_literal_behind_an_open_quote(void **state)
{
    static const struct row rows[] = {
        {SLICE("\"x{1}\r\nab"), "7 more2 "},          {SLICE("\"x{1+}\r\na\r\n"), "11 "},
        {SLICE("\"x\"{1}\r\na\r\n"), "+8 11 "},       {SLICE("\"x\\\"{1}\r\n"), "9 "},
        {SLICE("\"x\\\\\"{1}\r\na\r\n"), "+10 13 "},  {SLICE("\\\"{1}\r\n"), "7 "},
        {SLICE("{1+}\r\n\"{1}\r\na\r\n"), "+12 15 "},
    };

    (void)state;
    check_frames(FRAME_COMMAND, ROWS(rows));
}

static void test_line_limit_counts_all_lines_of_a_frame(void **state)
{
    static const struct row rows[] = {
        {SLICE("0123456789012345678901234567890123456\r\n"), "39 "},
        {SLICE("01234567890123456789012345678901234567\r\n"), "40 "},
        {SLICE("012345678901234567890123456789012345678\r\n"), "long"},
        {SLICE("012345678901234567890123456789012345678"), "more39 "},
        {SLICE("0123456789012345678901234567890123456789"), "long"},
        {SLICE("012345678901234567890123456789{5+}\r\nabcde\r\n"), "43 "},
        {SLICE("01234567890123456789012345678{5+}\r\nabcdex\r\n"), "43 "},
        {SLICE("0123456789012345678901234567890{5+}\r\nabcde\r\n"), "44 "},
        {SLICE("012345678901234567890123456789012{5+}\r\nabcde\n"), "45 "},
        {SLICE("012345678901234567890123456789012{5+}\r\nabcde\r\n"), "long"},
        {SLICE("0123456789012345678901234567890123{5+}\r\nabcde"), "long"},
    };

    (void)state;
    check_frames(FRAME_COMMAND, ROWS(rows));
}

static void test_literal_limit_counts_all_literals_of_a_frame(void **state)
{
    static const struct row rows[] = {
        {SLICE("{19+}\r\n0123456789012345678\r\n"), "28 "},
        {SLICE("{20+}\r\n01234567890123456789\r\n"), "29 "},
        {SLICE("{21+}\r\n"), "large7+"},
        {SLICE("{21}\r\n"), "large6"},
        {SLICE("{10+}\r\n0123456789{10+}\r\n0123456789\r\n"), "36 "},
        {SLICE("{10+}\r\n0123456789{11+}\r\n"), "large24+"},
        {SLICE("{4294967296+}\r\n"), "large15+"},
        {SLICE("{4294967297}\r\n"), "large14"},
        {SLICE("{99999999999}\r\n"), "large15"},
        {SLICE("{18446744073709551615}\r\n"), "large24"},
        {SLICE("{18446744073709551616}\r\n"), "large24"},
        {SLICE("{18446744073709551617+}\r\n"), "large25+"},
        {SLICE("{000000000000000000000000000001+}\r\nx\r\n"), "38 "},
    };

    (void)state;
    check_frames(FRAME_COMMAND, ROWS(rows));
}

static void test_responses_announce_literals_in_data_only(void **state)
{
    static const struct row rows[] = {
        {SLICE("* X {3}\r\nabc\r\n"), "14 "},
        {SLICE("* X {3}\r\nabc {1}\r\nx\r\n"), "21 "},
        {SLICE("* OKAY {3}\r\nabc\r\n"), "17 "},
        {SLICE("* 1 FETCH (BODY[] ~{3}\r\n\0\r\n)\r\n"), "30 "},
        {SLICE("* X {3+}\r\n"), "10 "},
        {SLICE("* X \"y {3}\r\n"), "12 "},
        {SLICE("* OK {3}\r\n"), "10 "},
        {SLICE("* no x {3}\r\n"), "12 "},
        {SLICE("* BAD {3}\r\n"), "11 "},
        {SLICE("* BYE {3}\r\n"), "11 "},
        {SLICE("* PREAUTH {3}\r\n"), "15 "},
        {SLICE("A1 OK {3}\r\n"), "11 "},
        {SLICE("+ {3}\r\n"), "7 "},
        {SLICE("*X {3}\r\n"), "8 "},
        {SLICE("* {3}\r\nabc\r\n"), "12 "},
        {SLICE("* X {21}\r\n"), "large10"},
        {SLICE("* X {18446744073709551617}\r\n"), "large28"},
    };

    (void)state;
    check_frames(FRAME_RESPONSE, ROWS(rows));
}

static void test_literals_are_taken_out_of_parts(void **state)
{
    static const struct row rows[] = {
        {SLICE("* X {3}\r\nabc\r\n* Y\r\n"), "?9 14 5 "},
        {SLICE("* X {7}\r\nabcdefg)\r\n* Y\r\n"), "?9 [abcdefg] 3 5 "},
        {SLICE("* X {7}\r\n{7}\r\n{} {7}\r\nabc}\r\n{)\r\n"), "?9 [{7}\r\n{}] ?6 [abc}\r\n{] 3 "},
        {SLICE("* X {7}\r\nabcdefg {1}\r\nx {7}\r\nhijklmn\r\n"),
         "?9 [abcdefg] ?6 ?13 [hijklmn] 2 "},
        {SLICE("* X {7}\r\nabcdefgOK {1}\r\nx\r\n"), "?9 [abcdefg] ?8 11 "},
        {SLICE("* OK {7}\r\nA1 OK {7}\r\n+ {7}\r\n"), "10 11 7 "},
        {SLICE("* X \"y {7}\r\n"), "12 "},
        {SLICE("* X {7+}\r\n"), "10 "},
        {SLICE("* X {7}\r\nabcdefg)\n"), "?9 [abcdefg] lf2"},
        {SLICE("* X {7}\nabcdefg)\n"), "lf8"},
        {SLICE("* X {31}\r\n"), "?10 large"}, /* behind it a line must have room */
        {SLICE("* X {28}\r\n0123456789012345678901234567\r\n"), "?10 40 "},
        {SLICE("* X {28}\r\n0123456789012345678901234567)\r\n"), "?10 long"},
        {SLICE("* X {7}\r\nabcdefg {24}\r\n"), "?9 [abcdefg] ?7 large"},
        {SLICE("* X {7}\r\nabcdefg 0123456789012345678901234567\r\n"), "?9 [abcdefg] 31 "},
        {SLICE("* X {7}\r\nabcdefg 01234567890123456789012345678\r\n"), "?9 [abcdefg] long"},
        {SLICE("* X {18446744073709551617}\r\n"), "?28 large"},
    };

    (void)state;
    check_frames(FRAME_PARTS, ROWS(rows));
}

static void test_responses_end_with_crlf(void **state)
{
    static const struct row rows[] = {
        {SLICE("* X\r\n"), "5 "},
        {SLICE("* X\n"), "lf4"},
        {SLICE("\n"), "lf1"},
        {SLICE("* X {2}\r\n\n\n\r\n"), "13 "},
        {SLICE("* X {1}\nx\r\n"), "lf8"},
        {SLICE("* X {1}\r\nx\n"), "lf11"},
    };

    (void)state;
    check_frames(FRAME_RESPONSE, ROWS(rows));
}

/* ---- Tokens ---- */

static void test_atom_chars_are_those_of_the_grammar(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool expected = c > ' ' && c < 127 && !strchr("(){%*\"\\]", c);

        assert_int_equal(lex_is_atom_char((char)c), expected);
    }
}

static void test_text_has_no_nul_cr_or_lf(void **state)
{
    (void)state;
    assert_true(lex_is_text(SLICE("a \xe4\t")));
    assert_true(lex_is_text((struct slice){0}));
    assert_false(lex_is_text(SLICE("a\0")));
    assert_false(lex_is_text(SLICE("\ra")));
    assert_false(lex_is_text(SLICE("a\n")));
}

static void test_pieces_that_are_missing_do_not_move_the_cursor(void **state)
{
    static const struct slice rows[] = {
        SLICE(""),      SLICE("\r"),  SLICE("\rx"), SLICE("(x"),      SLICE("%"), SLICE("\xff"),
        SLICE("\r\nx"), SLICE("\"a"), SLICE("{1}"), SLICE("{1}\r\n"), SLICE("{x")};
    char to[16];
    struct slice got;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lex l = lex_start(rows[i]);

        assert_false(lex_sp(&l));
        assert_false(lex_end(&l));
        assert_false(lex_atom(&l, &got));
        assert_false(lex_tag(&l, &got));
        assert_false(lex_astring(&l, to, &got));
        assert_ptr_equal(l.s.p, rows[i].p);
        assert_int_equal(l.s.n, rows[i].n);
    }
}

static void test_tags_have_no_plus_and_a_limit(void **state)
{
    struct lex l = lex_start(SLICE("a+b OK"));
    struct slice got;
    char text[160];

    (void)state;
    assert_true(lex_tag(&l, &got));
    assert_slice(got, SLICE("a"));
    for (int n = LEX_TAG - 1; n <= LEX_TAG + 1; n++) {
        snprintf(text, sizeof(text), "%0*d NOOP", n, 7);
        l = lex_start(slice_str(text));
        assert_int_equal(lex_tag(&l, &got), n <= LEX_TAG);
    }
}

static void test_command_is_read_piece_by_piece(void **state)
{
    struct lex l = lex_start(SLICE("a]1 LOGIN \"x\" y\r\n"));
    struct slice got;
    char to[32];

    (void)state;
    assert_true(lex_tag(&l, &got));
    assert_slice(got, SLICE("a]1"));
    assert_true(lex_sp(&l));
    assert_true(lex_atom(&l, &got));
    assert_slice(got, SLICE("LOGIN"));
    assert_true(lex_sp(&l));
    assert_true(lex_astring(&l, to, &got));
    assert_slice(got, SLICE("x"));
    assert_true(lex_sp(&l));
    assert_false(lex_end(&l));
    assert_true(lex_atom(&l, &got));
    assert_true(lex_end(&l));
    assert_int_equal(l.s.n, 0);
}

static void test_astrings(void **state)
{
    static const struct {
        struct slice input, value, rest;
    } rows[] = {
        {SLICE("abc]+ x"), SLICE("abc]+"), SLICE(" x")},
        {SLICE("\"\""), SLICE(""), SLICE("")},
        {SLICE("\"a \\\"b\\\\\" x"), SLICE("a \"b\\"), SLICE(" x")},
        {SLICE("\"\xe4{3}\"\r\n"), SLICE("\xe4{3}"), SLICE("\r\n")},
        {SLICE("{3}\r\na\0b c"), SLICE("a\0b"), SLICE(" c")},
        {SLICE("{3+}\r\n\r\n\r\r\n"), SLICE("\r\n\r"), SLICE("\r\n")},
        {SLICE("{2}\nab"), SLICE("ab"), SLICE("")},
        {SLICE("{00}\r\n"), SLICE(""), SLICE("")},
    };
    char to[32];
    struct slice got;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lex l = lex_start(rows[i].input);

        assert_true(lex_astring(&l, to, &got));
        assert_slice(got, rows[i].value);
        assert_slice(l.s, rows[i].rest);
    }
}

static void test_strings_are_not_atoms(void **state)
{
    char to[32];
    struct slice got;
    struct lex l = lex_start(SLICE("abc"));

    (void)state;
    assert_false(lex_string(&l, to, &got));
    assert_int_equal(l.s.n, 3);
    l = lex_start(SLICE("\"a\"{1}\r\nb"));
    assert_true(lex_string(&l, to, &got));
    assert_slice(got, SLICE("a"));
    assert_true(lex_string(&l, to, &got));
    assert_slice(got, SLICE("b"));
    assert_false(lex_string(&l, to, &got));
}

static void test_what_is_no_astring(void **state)
{
    static const struct slice rows[] = {
        SLICE(""),
        SLICE(" a"),
        SLICE("(a)"),
        SLICE("\"a"),
        SLICE("\"a\\"),
        SLICE("\"a\\b\""),
        SLICE("\"a\r\""),
        SLICE("\"a\n\""),
        SLICE("\"a\0\""),
        SLICE("{"),
        SLICE("{1"),
        SLICE("{1}"),
        SLICE("{1}\r"),
        SLICE("{1}\r\n"),
        SLICE("{2}\r\na"),
        SLICE("{}\r\na"),
        SLICE("{1-}\r\na"),
        SLICE("{1++}\r\na"),
        SLICE("{-1}\r\na"),
        SLICE("(1)"),
        SLICE("{1}a"),
        SLICE("{18446744073709551616}\r\n"),
        SLICE("{18446744073709551615}\r\nab"),
        SLICE("\xe4"),
        SLICE("%"),
        SLICE("*"),
        SLICE("\\"),
    };
    char to[32];
    struct slice got;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lex l = lex_start(rows[i]);

        assert_false(lex_astring(&l, to, &got));
    }
}

/* ---- Responses ---- */

static void test_responses_are_taken_apart(void **state)
{
    static const struct {
        struct slice frame;
        struct response r;
    } rows[] = {
        {SLICE("* OK Hi\r\n"), {RESPONSE_OK, {0}, SLICE("OK"), SLICE("Hi")}},
        {SLICE("* ok\r\n"), {RESPONSE_OK, {0}, SLICE("ok"), {0}}},
        {SLICE("* OK \r\n"), {RESPONSE_OK, {0}, SLICE("OK"), {0}}},
        {SLICE("* NO  x\r\n"), {RESPONSE_NO, {0}, SLICE("NO"), SLICE(" x")}},
        {SLICE("* BAD x\r\n"), {RESPONSE_BAD, {0}, SLICE("BAD"), SLICE("x")}},
        {SLICE("* BYE x\r\n"), {RESPONSE_BYE, {0}, SLICE("BYE"), SLICE("x")}},
        {SLICE("* PREAUTH x\r\n"), {RESPONSE_PREAUTH, {0}, SLICE("PREAUTH"), SLICE("x")}},
        {SLICE("A1 OK x\r\n"), {RESPONSE_OK, SLICE("A1"), SLICE("OK"), SLICE("x")}},
        {SLICE("A1 NO\r\n"), {RESPONSE_NO, SLICE("A1"), SLICE("NO"), {0}}},
        {SLICE("A1 BAD x\r\n"), {RESPONSE_BAD, SLICE("A1"), SLICE("BAD"), SLICE("x")}},
        {SLICE("+ x y\r\n"), {RESPONSE_CONTINUE, {0}, SLICE("+"), SLICE("x y")}},
        {SLICE("+\r\n"), {RESPONSE_CONTINUE, {0}, SLICE("+"), {0}}},
        {SLICE("* CAPABILITY A B\r\n"), {RESPONSE_DATA, {0}, SLICE("CAPABILITY"), SLICE("A B")}},
        {SLICE("* 12 EXISTS\r\n"), {RESPONSE_DATA, {0}, SLICE("12"), SLICE("EXISTS")}},
        {SLICE("* X {1}\r\n\r\r\n"), {RESPONSE_DATA, {0}, SLICE("X"), SLICE("{1}\r\n\r")}},
    };
    struct response r;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(response_parse(rows[i].frame, &r));
        assert_int_equal(r.kind, rows[i].r.kind);
        assert_slice(r.tag, rows[i].r.tag);
        assert_slice(r.word, rows[i].r.word);
        assert_slice(r.text, rows[i].r.text);
    }
}

static void test_what_is_no_response(void **state)
{
    static const struct slice rows[] = {
        SLICE(""),
        SLICE("* OK"),
        SLICE("\n"),
        SLICE("\r\n"),
        SLICE("*\r\n"),
        SLICE("* \r\n"),
        SLICE("*OK\r\n"),
        SLICE("*  OK\r\n"),
        SLICE("A1\r\n"),
        SLICE("A1 \r\n"),
        SLICE("A1 BYE x\r\n"),
        SLICE("A1 X\r\n"),
        SLICE("A1 PREAUTH\r\n"),
        SLICE("+x\r\n"),
        SLICE("+OK x\r\n"),
        SLICE("* OK(\r\n"),
        SLICE("* OK a\rb\r\n"),
        SLICE("* OK a\0\r\n"),
        SLICE("* X a\rb\r\n"),
        SLICE("* X \0\r\n"),
        SLICE("* X {1}\r\n\0\r\n"),
        SLICE("* X a\rb {1}\r\n\r\r\n"),
        SLICE("* X {1}\r\na b\rA1 OK x\r\n"),
        SLICE("* X {1}\r\na {2}\r\n\r\n b\r\r\n"),
        SLICE("220 x\r\n"),
        SLICE("% OK\r\n"),
        SLICE("* OK\r\r\n"),
    };
    struct response r;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_false(response_parse(rows[i], &r));
}

static void test_response_codes(void **state)
{
    static const struct {
        struct slice text;
        bool is_there;
        struct slice code, arguments;
    } rows[] = {
        {SLICE("[ALERT] x"), true, SLICE("ALERT"), {0}},
        {SLICE("[ALERT]"), true, SLICE("ALERT"), {0}},
        {SLICE("[CAPABILITY A B] x"), true, SLICE("CAPABILITY"), SLICE("A B")},
        {SLICE("[X ] x"), true, SLICE("X"), SLICE("")},
        {SLICE("[X a [b] c]"), true, SLICE("X"), SLICE("a [b")},
        {SLICE(""), false, {0}, {0}},
        {SLICE("["), false, {0}, {0}},
        {SLICE("[]"), false, {0}, {0}},
        {SLICE("[ALERT x"), false, {0}, {0}},
        {SLICE("[ ALERT]"), false, {0}, {0}},
        {SLICE("[ALERT(x)]"), false, {0}, {0}},
        {SLICE(" [ALERT] x"), false, {0}, {0}},
        {SLICE("x [ALERT]"), false, {0}, {0}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct slice code = {0}, arguments = {0};

        assert_int_equal(response_code(rows[i].text, &code, &arguments), rows[i].is_there);
        assert_slice(code, rows[i].code);
        assert_slice(arguments, rows[i].arguments);
    }
}

/* ---- Capabilities and writing ---- */

static void test_capabilities_are_whole_words(void **state)
{
    const struct slice list = SLICE("IMAP4rev1 AUTH=PLAIN  LITERAL+");

    (void)state;
    assert_true(capability_has(list, SLICE("imap4REV1")));
    assert_true(capability_has(list, SLICE("AUTH=PLAIN")));
    assert_true(capability_has(list, SLICE("LITERAL+")));
    assert_false(capability_has(list, SLICE("LITERAL")));
    assert_false(capability_has(list, SLICE("AUTH=PLAIN LITERAL+")));
    assert_false(capability_has(list, SLICE("AUTH=PLAI")));
    assert_false(capability_has(list, SLICE("PLAIN")));
    assert_false(capability_has(list, SLICE("")));
    assert_false(capability_has(SLICE(""), SLICE("X")));
    assert_false(capability_has((struct slice){0}, SLICE("")));
}

static void test_words_are_left_out_of_capabilities(void **state)
{
    static const struct {
        struct slice list, left_out, rest;
    } rows[] = {
        {SLICE("A B C"), SLICE("B"), SLICE("A C")},
        {SLICE("A B C"), SLICE("a"), SLICE("B C")},
        {SLICE("A B C"), SLICE("C"), SLICE("A B")},
        {SLICE("A B C"), SLICE("C A"), SLICE("B")},
        {SLICE("A B A"), SLICE("A"), SLICE("B")},
        {SLICE("A"), SLICE("A"), SLICE("")},
        {SLICE("A A"), SLICE("A"), SLICE("")},
        {SLICE(""), SLICE("A"), SLICE("")},
        {SLICE("AB A=B"), SLICE("A B"), SLICE("AB A=B")},
        /* All else stays as it is. */
        {SLICE("A B"), SLICE(""), SLICE("A B")},
        {SLICE(" A  B "), SLICE("C"), SLICE(" A  B ")},
        {SLICE(" A  C B "), SLICE("C"), SLICE(" A  B ")},
        {SLICE("A  C"), SLICE("A"), SLICE(" C")},
        {SLICE("A C "), SLICE("C"), SLICE("A ")},
        {SLICE(" "), SLICE("C"), SLICE(" ")},
    };
    char to[32];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t n = capability_without(rows[i].list, rows[i].left_out, to);

        assert_slice(slice_of(to, n), rows[i].rest);
        /* In place. */
        if (rows[i].list.n > 0)
            memcpy(to, rows[i].list.p, rows[i].list.n);
        n = capability_without(slice_of(to, rows[i].list.n), rows[i].left_out, to);
        assert_slice(slice_of(to, n), rows[i].rest);
    }
}

static void test_capabilities_in_a_text(void **state)
{
    struct slice list = {0};

    (void)state;
    assert_true(capability_in_text(SLICE("[capability A B] Hi"), &list));
    assert_slice(list, SLICE("A B"));
    assert_false(capability_in_text(SLICE("[ALERT] Hi"), &list));
    assert_false(capability_in_text(SLICE("CAPABILITY A"), &list));
}

static void test_strings_are_written_so_that_they_are_read_again(void **state)
{
    static const struct {
        struct slice s;
        enum write_form form;
        const char *quoted;
    } rows[] = {
        {SLICE("abc"), WRITE_ATOM, "\"abc\""},
        {SLICE(""), WRITE_QUOTED, "\"\""},
        {SLICE("nil"), WRITE_QUOTED, "\"nil\""},
        {SLICE("a b"), WRITE_QUOTED, "\"a b\""},
        {SLICE("\"a\\"), WRITE_QUOTED, "\"\\\"a\\\\\""},
        {SLICE("a]"), WRITE_QUOTED, "\"a]\""},
        {SLICE("a\r"), WRITE_LITERAL, NULL},
        {SLICE("a\n"), WRITE_LITERAL, NULL},
        {SLICE("a\t"), WRITE_LITERAL, NULL},
        {SLICE("a\x7f"), WRITE_LITERAL, NULL},
        {SLICE("\xc3\xa4"), WRITE_LITERAL, NULL},
        {SLICE("a\0"), WRITE_NEVER, NULL},
        {SLICE("\xff\0"), WRITE_NEVER, NULL},
    };
    char to[32];
    struct slice got;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf out;
        struct lex l;

        assert_int_equal(write_form(rows[i].s), rows[i].form);
        if (!rows[i].quoted)
            continue;
        buf_init(&out, 100, false);
        assert_int_equal(write_quoted(&out, rows[i].s), 0);
        assert_slice(buf_slice(&out), slice_str(rows[i].quoted));
        l = lex_start(buf_slice(&out));
        assert_true(lex_astring(&l, to, &got));
        assert_slice(got, rows[i].s);
        buf_release(&out);
    }
}

static void test_quoted_string_says_when_it_does_not_fit(void **state)
{
    const struct slice s = SLICE("a\"b\\c");
    struct buf out;

    (void)state;
    for (size_t most = 0; most <= 9; most++) {
        buf_init(&out, most, false);
        assert_int_equal(write_quoted(&out, s), most < 9 ? -1 : 0);
        buf_release(&out);
    }
}

static void test_literal_headers(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 100, false);
    assert_int_equal(write_literal_header(&out, 0, true), 0);
    assert_int_equal(write_literal_header(&out, 4096, false), 0);
    assert_slice(buf_slice(&out), SLICE("{0}\r\n{4096+}\r\n"));
    buf_release(&out);
}

static void test_strings_wait_only_where_they_must(void **state)
{
    static const struct {
        struct slice s;
        size_t nonsync_max;
        const char *written;
        bool waits;
    } rows[] = {
        {SLICE("abc"), 0, "\"abc\"", false},
        {SLICE(""), 0, "\"\"", false},
        {SLICE("a\"\\"), 0, "\"a\\\"\\\\\"", false},
        {SLICE("\xe4\xf6"), 0, "{2}\r\n", true},
        {SLICE("\xe4\xf6"), 1, "{2}\r\n", true},
        {SLICE("\xe4\xf6"), 2, "{2+}\r\n\xe4\xf6", false},
        {SLICE("\xe4\xf6"), SIZE_MAX, "{2+}\r\n\xe4\xf6", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const size_t whole = strlen(rows[i].written);
        struct slice due;
        struct buf out;

        buf_init(&out, 100, false);
        assert_int_equal(write_waits(rows[i].s, rows[i].nonsync_max), rows[i].waits);
        assert_int_equal(write_string(&out, rows[i].s, rows[i].nonsync_max, &due), 0);
        assert_slice(buf_slice(&out), slice_str(rows[i].written));
        assert_slice(due, rows[i].waits ? rows[i].s : SLICE(""));
        buf_release(&out);
        buf_init(&out, whole - 1, false);
        assert_int_equal(write_string(&out, rows[i].s, rows[i].nonsync_max, &due), -1);
        buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_end_with_lf),
        cmocka_unit_test(test_literals_of_commands),
        cmocka_unit_test(test_braces_that_announce_nothing),
        cmocka_unit_test(test_lines_without_grammar_have_no_literals),
        cmocka_unit_test(test_literal_behind_an_open_quote),
        cmocka_unit_test(test_line_limit_counts_all_lines_of_a_frame),
        cmocka_unit_test(test_literal_limit_counts_all_literals_of_a_frame),
        cmocka_unit_test(test_responses_announce_literals_in_data_only),
        cmocka_unit_test(test_literals_are_taken_out_of_parts),
        cmocka_unit_test(test_responses_end_with_crlf),
        cmocka_unit_test(test_atom_chars_are_those_of_the_grammar),
        cmocka_unit_test(test_text_has_no_nul_cr_or_lf),
        cmocka_unit_test(test_pieces_that_are_missing_do_not_move_the_cursor),
        cmocka_unit_test(test_tags_have_no_plus_and_a_limit),
        cmocka_unit_test(test_command_is_read_piece_by_piece),
        cmocka_unit_test(test_astrings),
        cmocka_unit_test(test_strings_are_not_atoms),
        cmocka_unit_test(test_what_is_no_astring),
        cmocka_unit_test(test_responses_are_taken_apart),
        cmocka_unit_test(test_what_is_no_response),
        cmocka_unit_test(test_response_codes),
        cmocka_unit_test(test_capabilities_are_whole_words),
        cmocka_unit_test(test_words_are_left_out_of_capabilities),
        cmocka_unit_test(test_capabilities_in_a_text),
        cmocka_unit_test(test_strings_are_written_so_that_they_are_read_again),
        cmocka_unit_test(test_quoted_string_says_when_it_does_not_fit),
        cmocka_unit_test(test_literal_headers),
        cmocka_unit_test(test_strings_wait_only_where_they_must),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
