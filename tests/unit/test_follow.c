/* Following a conversation: where a response may be put in, when never again, and how it is fed. */
#include "cm.h"

#include "imap/follow.h"

#include <stdio.h>
#include <string.h>

/* A conversation is a list of turns, with marks in the text that are not sent:
 *     |  behind a byte of the server: here is a boundary; elsewhere there must be none
 *     #  behind any byte: opaque from here on
 *     ^  before a byte of the client: follow_client() stops here, the rest of the turn is not sent
 * Before the first byte of the server there is a boundary. */
struct turn {
    bool is_client;
    struct slice text;
};

#define S(literal)                       \
    {                                    \
        false,                           \
        {                                \
            literal, sizeof(literal) - 1 \
        }                                \
    }
#define C(literal)                       \
    {                                    \
        true,                            \
        {                                \
            literal, sizeof(literal) - 1 \
        }                                \
    }

enum { MAX_BYTES = 4096 };

struct byte {
    char c;
    bool is_client, begins_turn;
    bool is_boundary, is_opaque; /* behind it */
    bool is_stop;                /* follow_client() does not get beyond it */
};

struct talk {
    struct byte bytes[MAX_BYTES];
    size_t n;
};

/* Reads the marks. */
static void prepare(struct talk *t, const struct turn *turns, size_t n)
{
    bool was_boundary = true, was_opaque = false;

    t->n = 0;
    for (size_t i = 0; i < n; i++) {
        bool begins = true, is_stop = false;

        for (size_t k = 0; k < turns[i].text.n; k++) {
            char c = turns[i].text.p[k];
            struct byte *last = t->n > 0 ? &t->bytes[t->n - 1] : NULL;

            if (c == '^') {
                is_stop = true;
                continue;
            }
            if (c == '|' || c == '#') {
                assert_non_null(last);
                last->is_boundary = was_boundary = c == '|';
                last->is_opaque = was_opaque = c == '#';
                continue;
            }
            assert_in_range(t->n, 0, MAX_BYTES - 1);
            was_boundary = was_boundary && turns[i].is_client;
            t->bytes[t->n++] = (struct byte){.c = c,
                                             .is_client = turns[i].is_client,
                                             .begins_turn = begins,
                                             .is_boundary = was_boundary,
                                             .is_opaque = was_opaque,
                                             .is_stop = is_stop};
            begins = is_stop = false;
        }
    }
}

static void check_state(const struct follow *f, const struct talk *t, size_t n)
{
    bool is_boundary = n == 0 || t->bytes[n - 1].is_boundary;
    bool is_opaque = n > 0 && t->bytes[n - 1].is_opaque;

    if (follow_at_boundary(f) != is_boundary || follow_is_opaque(f) != is_opaque) {
        print_error("behind %zu bytes: ", n);
        for (size_t i = n < 60 ? 0 : n - 60; i < n; i++)
            print_error("%c", t->bytes[i].c);
        print_error("\n");
    }
    assert_int_equal(follow_at_boundary(f), is_boundary);
    assert_int_equal(follow_is_opaque(f), is_opaque);
}

/* Feeds one piece, from `at` to before `to`; says where to go on. */
static size_t feed(struct follow *f, const struct talk *t, size_t at, size_t to)
{
    char piece[MAX_BYTES];
    size_t n = 0, stop = to, followed;

    for (size_t i = at; i < to; i++) {
        piece[n++] = t->bytes[i].c;
        if (t->bytes[i].is_stop && stop == to)
            stop = i;
    }
    if (!t->bytes[at].is_client) {
        follow_server(f, slice_of(piece, n));
        check_state(f, t, to);
        return to;
    }
    followed = follow_client(f, slice_of(piece, n));
    assert_int_equal(followed, stop - at);
    check_state(f, t, stop);
    if (stop == to)
        return to;
    while (to < t->n && !t->bytes[to].begins_turn)
        to++;
    return to;
}

/* One piece of `first` bytes, then pieces of `then`; cut where a turn begins. */
static void feed_all(const struct talk *t, size_t first, size_t then)
{
    struct follow f;
    size_t at = 0, cut = first;

    memset(&f, 0xa5, sizeof(f));
    follow_init(&f);
    check_state(&f, t, 0);
    while (at < t->n) {
        size_t to = at + 1;

        while (cut <= at)
            cut += then;
        while (to < t->n && to < cut && !t->bytes[to].begins_turn)
            to++;
        at = feed(&f, t, at, to);
    }
}

static void check(const struct turn *turns, size_t n)
{
    static struct talk t;

    prepare(&t, turns, n);
    feed_all(&t, t.n, t.n);
    feed_all(&t, 1, 1);
    feed_all(&t, 3, 7);
    for (size_t cut = 1; cut < t.n; cut++)
        feed_all(&t, cut, t.n);
}

#define CHECK(...)                                        \
    do {                                                  \
        static const struct turn turns[] = {__VA_ARGS__}; \
        check(turns, sizeof(turns) / sizeof(turns[0]));   \
    } while (0)

/* ---- The server alone ---- */

static void test_a_boundary_is_behind_each_response(void **state)
{
    (void)state;
    CHECK(S("* 12 EXISTS\r\n|* 3 FETCH (FLAGS (\\Seen) UID 7)\r\n|a1 OK done\r\n|"));
    CHECK(S(
        "* OK hi\r\n|* NO\r\n|* BAD \r\n|* BYE x\r\n|* PREAUTH y\r\n|a]b NO [NONEXISTENT] x\r\n|"));
    CHECK(S("* SEARCH\r\n|* SEARCH 1 2\r\n|* LIST () \"/\" a}b\r\n|* ENABLED UTF8=ACCEPT\r\n|"));
    CHECK(S("* X-GM.1+ \xc3\xa4 \t\r\n|t BAD\r\n|t NO\r\n|t OK\r\n|"));
    CHECK(S(""));
}

static void test_a_literal_is_counted_not_read(void **state)
{
    (void)state;
    CHECK(S("* 1 FETCH (BODY[] {5}\r\na\r\n\0\n)\r\n|a1 OK done\r\n|"));
    CHECK(S("* 1 FETCH (BINARY[1] ~{3}\r\n\r\n\r BODY[] {8}\r\n* OK x\r\n UID 3)\r\n|"));
    CHECK(S("* 1 FETCH (BODY[HEADER.FIELDS ({4}\r\nDate)] {0}\r\n)\r\n|"));
    CHECK(S("* LIST () \"/\" {4}\r\na\"\r\n\r\n|* LIST () \"/\" {0003}\r\nabc\r\n|"));
    CHECK(S("* LIST () NIL {4}\r\n{9}\r\r\n|* LIST () NIL {5}\r\n {3}\r\r\n|"));
    CHECK(S("* 1 FETCH (BODY[] {9223372036854775807}\r\n* OK x\r\n"));
}

static void test_free_text_announces_nothing(void **state)
{
    (void)state;
    CHECK(S("* OK say {5}\r\n|* ok {5}\r\n|* NO (\"{5}\r\n|* BAD {5}\r\n|* Bye {5}\r\n|"));
    CHECK(S("* PREAUTH {5}\r\n|a1 NO no {3}\r\n|a1 OK {3}\r\n|a1 BAD \" {3}\r\n|* OK\r\n|"));
    CHECK(
        S("* OK [ALERT] x {5}\r\n|a OK [APPENDUID 1 2] [ {5}\r\n|* OK x [y {5}\r\n|* OK a\\\r\n|"));
    CHECK(S("* OKAY {3}\r\n* \r\r\n|* O {3}\r\n* \r\r\n|* BYEBYE {0}\r\n\r\n|"));
}

static void test_quotes_hide_braces_but_not_the_end_of_a_line(void **state)
{
    (void)state;
    CHECK(S("* LIST () \"/\" \"{5}\"\r\n|* LIST () \"/\" \"a {5}\\\"\\\\\"\r\n|"));
    CHECK(S("* LIST () \"\\\\\" \"a\\\\\" {2}\r\nab\r\n|"));
    CHECK(S("* 2 FETCH (ENVELOPE (\"x\" \"\" ((\"F\" NIL \"f\" \"e\"))))\r\n|"));
    CHECK(S("* LIST () \"\\\" {5}\r#"));
    CHECK(S("* LIST () \"/\" \"a\r#\n"));
    CHECK(S("* LIST () \"/\" \"a\n#"));
    CHECK(S("* LIST () \"/\" \"a\\\r#"));
    CHECK(S("* LIST () \"/\" \"\0#"));
    CHECK(S("* LIST () \"/\" \"\\\0#"));
}

static void test_sloppy_lines_prove_nothing_for_ever(void **state)
{
    (void)state;
    CHECK(S("* 1 EXISTS\n#* OK x\r\n"));
    CHECK(S("* OK x\n#"));
    CHECK(S("* OK x\ry#"));
    CHECK(S("* 1 EXISTS\r\r#\n"));
    CHECK(S("* OK a\0#"));
    CHECK(S("* 1 EXISTS \0#"));
    CHECK(S("\r#\n"));
    CHECK(S("\n#"));
    CHECK(S(" #* OK"));
    CHECK(S("**#"));
    CHECK(S("*\r#"));
    CHECK(S("*  #OK"));
    CHECK(S("* \r#"));
    CHECK(S("* OK\t#x"));
    CHECK(S("* OK[#ALERT x] {5}\r\n"));
    CHECK(S("* (#"));
    CHECK(S("* OK [ALERT x\r#\n"));
    CHECK(S("* OK [BADCHARSET ({5}\r#\n"));
    CHECK(S("* OK [\n#"));
    CHECK(S("* OK [\0#"));
    CHECK(S("a1 \r#"));
    CHECK(S("a1\r#\n"));
    CHECK(S("a1 BYE #x"));
    CHECK(S("a1 PREAUTH #x"));
    CHECK(S("a1 FETCH #x"));
    CHECK(S("a1 OKA #x"));
    CHECK(S("a1 O #x"));
    CHECK(S("a1 OK\t#"));
    CHECK(S("a+#1 OK"));
    CHECK(S("\xc3#"));
}

static void test_braces_that_announce_nothing_prove_nothing(void **state)
{
    (void)state;
    CHECK(S("* LIST () \"/\" a{#5}\r\nabcde\r\n"));
    CHECK(S("* LIST () \"/\" {a#}\r\n"));
    CHECK(S("* LIST () \"/\" {}#\r\n"));
    CHECK(S("* LIST () \"/\" {5 #}\r\n"));
    CHECK(S("* LIST () \"/\" {-#5}\r\n"));
    CHECK(S("* LIST () \"/\" {5+#}\r\n"));
    CHECK(S("* LIST () \"/\" {5}x#\r\n"));
    CHECK(S("* LIST () \"/\" {5}\n#"));
    CHECK(S("* LIST () \"/\" {5}\r\r#"));
    CHECK(S("* LIST () \"/\" \"a\"{#5}\r\n"));
    CHECK(S("* LIST () \"/\" {1}\r\n {#5}\r\n"));
    CHECK(S("* LIST () \"/\" {9223372036854775808#}\r\n"));
    CHECK(S("* LIST () \"/\" {18446744073709551616#}\r\n"));
    CHECK(S("* LIST () \"/\" {9999999999999999999#9}\r\n"));
}

/* ---- The client ---- */

static void test_commands_do_not_touch_the_boundary(void **state)
{
    (void)state;
    CHECK(C("a1 NOOP\r\na2 UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (\"{5}\")])\r\n"),
          S("* 1 EXISTS\r\n|a1 OK x\r\n|* 2 FETCH (UID 3)\r\n|"), C("a3 NO"), S("a2 OK"),
          C("OP\r\n"), S(" x\r\n|a3 OK x\r\n|"));
    CHECK(C("\r\na ENABLE CONDSTORE UTF8=ACCEPT\r\nb ID NIL\r\nb NOTIFY SET (SELECTED)\r\nc\r\n"),
          S("* BAD what\r\n|c BAD what\r\n|"));
}

static void test_a_literal_waits_for_its_plus(void **state)
{
    (void)state;
    CHECK(C("a APPEND x {6}\r\n"), S("+ go {3}\r\n|"), C("b\r\n\0\n\"\r\n"), S("a OK\r\n|"));
    CHECK(C("a APPEND x {3}\r\n"), S("* 1 EXISTS\r\n|z OK x\r\n|z NO x\r\n|+\r\n|"),
          C("abc\r\nb NOOP\r\n"), S("a OK\r\n|b OK\r\n|"));
    CHECK(C("a LOGIN {1}\r\n"), S("+ go\r\n|"), C("u ~{0}\r\n"), S("+ [ALERT] go\r\n|"),
          C(" (\"p\\\"{\")\r\nb NOOP\r\n"));
    CHECK(C("a APPEND x {3}\r\n"), C("a#bc\r\n"), S("+ go\r\n"));
    CHECK(C("a APPEND x {0}\r\n"), C("\r#\n"));
    CHECK(C("a APPEND x {3}\r\n"), S("+ go\r"), C("a#"));
    CHECK(C("a APPEND x {3}\r\n"), S("a OK what\r\n#"));
}

static void test_a_refused_literal_does_not_come(void **state)
{
    (void)state;
    CHECK(C("a APPEND x {6}\r\n"), S("* OK x\r\n|a NO [TRYCREATE] {6}\r\n|"), C("b NOOP\r\n"),
          S("b OK\r\n|"), C("c COMPRESS DEFLATE\r\n"), S("c OK\r\n#"));
    CHECK(C("a APPEND x {6}\r\n"), S("a BAD x\r\n|"), C("b APPEND x {1}\r\n"), S("+\r\n|"),
          C("x\r\n"), S("b OK\r\n|"));
    CHECK(C("a APPEND x {2}\r\n"), S("+\r\n|"), C("ab {2}\r\n"), S("a NO x\r\n|"), C("ab\n#"));
    CHECK(C("a1 NOOP\r\na2 APPEND x {6}\r\n"), S("a1 NO x\r\n|a NO x\r\n|a22 NO x\r\n|"), C("a#"));
}

static void test_a_literal_with_plus_always_comes(void **state)
{
    (void)state;
    CHECK(C("a APPEND x {6+}\r\nb\r\n\0\n\"\r\nb NOOP\r\n"), S("a NO x\r\n|b OK x\r\n|"));
    CHECK(C("a APPEND x ~{22+}\r\nx COMPRESS DEFLATE\r\n\r\n\r\n"), S("x OK\r\n|"));
    CHECK(
        C("a APPEND x (\\Seen) {1+}\r\nx (UTF8 ~{2+}\r\nab) CATENATE (TEXT {2+}\r\n\r\n URL \"{\" "
          "TEXT {0+}\r\n)\r\n"),
        S("a OK\r\n|"), C("b COMPRESS DEFLATE\r\n"), S("b OK\r\n#"));
    CHECK(C("a APPEND x {2+}\r\n"), S("+ unasked\r\n#"));
    CHECK(C("a APPEND x {2+}\r\n"), S("a NO at once\r\n|"), C("abc"), S("a NO\r\n|"), C("\r\n"));
}

static void test_what_is_no_command_is_the_end(void **state)
{
    (void)state;
    CHECK(S("* 1 EXISTS\r\n|"), C("a NOOP\n#"), S("* 2 EXISTS\r\n"));
    CHECK(C("\n#"));
    CHECK(C(" #"));
    CHECK(C("+#"));
    CHECK(C("a+#"));
    CHECK(C("a  #NOOP"));
    CHECK(C("a \r#"));
    CHECK(C("a\t#"));
    CHECK(C("a N\t#"));
    CHECK(C("a N\"#"));
    CHECK(C("a NOOP\rx#"));
    CHECK(C("a NOOP \0#"));
    CHECK(C("a SELECT \"x\r#\n"));
    CHECK(C("a LOGIN \"{5}\r#\n"));
    CHECK(C("a LOGIN \"{5+}\r#\n"));
    CHECK(C("a SELECT x{#5}"));
    CHECK(C("a SELECT {+#}"));
    CHECK(C("a SELECT {5+5#}"));
    CHECK(C("a SELECT {5++#}"));
    CHECK(C("a SELECT {5+}+#"));
    CHECK(C("a SELECT {5}\n#"));
    CHECK(C("a SELECT {5+}\r5#"));
    CHECK(C("a SELECT {9223372036854775808#}"));
    CHECK(C("a SELECT {9223372036854775808#+}"));
    CHECK(C("a SELECT {9223372036854775807+}\r\n"), S("* OK x\r\n|"));
}

static void test_idle_and_its_plus(void **state)
{
    (void)state;
    CHECK(C("a IDLE\r\n"), S("+ idling\r\n|* 3 EXISTS\r\n|"), C("DONE\r\nb NOOP\r\n"),
          S("a OK\r\n|b OK\r\n|"), C("c idle\r\n"), S("+\r\n|"), C("done\r\n"), S("c OK\r\n|"));
    /* DONE before the "+" */
    CHECK(C("a IDLE\r\nDONE\r\nb NOOP\r\n"), S("+ idling\r\n|a OK\r\n|"), C("c APPEND x {1}\r\n"),
          S("+\r\n|"), C("x\r\n"));
    CHECK(C("a IDLE\r\nDONE\r\nc APPEND x {1+}\r\nx {1}\r\n#"), S("+ idling\r\n"));
    CHECK(C("a IDLE\r\nDONE\r\n"), S("+\r\n|"), C("c APPEND x {1}\r\n"), S("a OK x\r\n|+\r\n|"),
          C("x\r\n"));
    CHECK(C("a IDLE\r\nDONE\r\nb IDLE\r\n#"));
    CHECK(C("a IDLE\r\nDONE\r\n"), S("a BAD no\r\n|"), C("b IDLE\r\n"), S("+\r\n|"));
    CHECK(C("a IDLE\r\nDONE\r\nb NOOP\r\n"), S("a OK\r\n|b OK\r\n|"), C("c IDLE\r\n#"));
    CHECK(C("a IDLE\r\nDO"), S("a BAD no\r\n|"), C("NE\r\nb APPEND x {1}\r\n"), S("+\r\n|"));
    CHECK(C("a IDLE\r\nDO"), S("a BAD no\r\n|"), C("NO\r#\n"));
    /* refused, or ended by the server */
    CHECK(C("a IDLE\r\n"), S("a BAD no\r\n|"), C("b APPEND x {1}\r\n"), S("+\r\n|"), C("x\r\n"));
    CHECK(C("a IDLE\r\n"), S("+\r\n|a OK enough\r\n|"), C("DONE\r\nb NOOP\r\n"),
          S("DONE BAD\r\n|"));
    CHECK(C("a IDLE\r\n"), S("b BAD no\r\n|"), C("b #NOOP\r\n"));
    /* nothing else may come */
    CHECK(C("a IDLE\r\n"), S("+\r\n|"), C("DON\r#\n"));
    CHECK(C("a IDLE\r\n"), S("+\r\n|"), C("DONES\r#\n"));
    CHECK(C("a IDLE\r\n"), S("+\r\n|"), C("COMPRESS\r#\n"));
    CHECK(C("a IDLE\r\n"), S("+\r\n|"), C("DONE\n#"));
    CHECK(C("a IDLE\r\n"), S("+\r\n|"), C("DONE\rx#"));
    CHECK(C("a IDLE\r\n"), S("+\r\n|"), C("\r#\n"));
    CHECK(C("a IDLE\r\n"), S("+\r\n|+ again\r\n#"));
}

static void test_an_early_answer_to_one_idle_is_not_anothers(void **state)
{
    (void)state;
    CHECK(C("a IDLE\r\nDONE\r\nb IDLE"), S("b BAD x\r\n|"), C("\r\n#"));
    CHECK(C("a IDLE\r\nDONE\r\nb NOOP\r\n"), S("b OK x\r\n|"), C("c SELECT {1}\r\n#"));
}

static void test_a_plus_that_nothing_waits_for(void **state)
{
    (void)state;
    CHECK(S("+ hello\r\n#"));
    CHECK(C("a NOOP\r\n"), S("+ hello\r\n#"));
    CHECK(S("+x#"));
    CHECK(S("+ [x\r#"));
}

static void test_compress_takes_effect_behind_its_ok(void **state)
{
    (void)state;
    CHECK(C("a NOOP\r\nb COMPRESS DEFLATE\r\n"),
          S("* 1 EXISTS\r\n|a OK\r\n|b OK on\r\n#* OK x\r\n"), C("c NOOP\r\n"), S("* OK x\r\n"));
    CHECK(C("b Compress\r\n"), S("b OK\r\n#"));
    CHECK(C("b COMPRESS {7+}\r\nDEFLATE\r\n"), S("b OK\r\n#"));
    CHECK(C("b COMPRESS DEFLATE\r\n"), S("b NO [COMPRESSIONACTIVE] x\r\n|b OK x\r\n|"),
          C("c NOOP\r\n"), S("c OK\r\n|"), C("d COMPRESS DEFLATE\r\n"), S("d OK\r\n#"));
    CHECK(C("b COMPRESS DEFLATE\r\n"), S("b BAD x\r\n|"), C("c NOOP\r\n"));
    CHECK(C("b COMPRESS DEFLATE\r\n"), S("a NO x\r\n|b1 NO x\r\n|b O"), C("c#"));
    CHECK(C("b COMPRESS DEFLATE\r\n"), S("+ x\r\n#"));
    CHECK(C("b XCOMPRESS D\r\nc COMPRES D\r\nd COMPRESSE D\r\ne UID COMPRESS D\r\n"),
          S("b OK\r\n|c OK\r\n|d OK\r\n|e OK\r\n|"));
}

static void test_starttls_and_authenticate_count_when_accepted(void **state)
{
    (void)state;
    CHECK(C("a STARTTLS\r\n"), S("a BAD x\r\n|"), C("b LOGIN u p\r\n"), S("b BAD x\r\n|"));
    CHECK(C("a STARTTLS\r\n"), S("a OK x\r\n#"));
    CHECK(C("a AUTHENTICATE PLAIN AAAA\r\n"), S("a NO x\r\n|"), C("b NOOP\r\n"));
    CHECK(C("a AUTHENTICATE PLAIN\r\n"), S("+ \r\n#"));
    CHECK(C("a AUTHENTICATE PLAIN\r\n"), C("A#AAA\r\n"));
}

/* ---- What the client asks for ---- */

static void test_unauthenticate_is_kept_back(void **state)
{
    (void)state;
    CHECK(S("* 1 EXISTS\r\n|"), C("a UNAUTHENTICATE^\r\nb NOOP\r\n"), S("* 2 EXI"), S("STS\r\n|"));
    CHECK(C("a NOOP\r\nb unauthenticate^ x\r\n"), S("a OK\r\n|"));
    CHECK(C("a UNAUTHENTICAT\r\na UNAUTHENTICATED\r\na SELECT UNAUTHENTICATE\r\n"), S("a OK\r\n|"));
    CHECK(C("a APPEND x {22+}\r\nb UNAUTHENTICATE\r\n....\r\nb UNAUTHENTICATE^\r\n"));
    CHECK(C("a APPEND x {22}\r\n"), S("a NO\r\n|"), C("b UNAUTHENTICATE^\r\n"), S("+ x\r\n#"));
}

static void test_nothing_is_told_of_an_opaque_conversation(void **state)
{
    struct follow f;

    (void)state;
    CHECK(S("\n#"), C("a UNAUTHENTICATE\r\n"), S("* OK x\r\n"));
    CHECK(C("\n#"), C("a UNAUTHENTICATE\r\n"), S("* OK x\r\n"));
    follow_init(&f);
    follow_server(&f, SLICE("\n"));
    assert_int_equal(follow_client(&f, SLICE("a LOGOUT\r\n")), 10);
    assert_false(follow_has_logout(&f));
}

static void test_unauthenticate_passed_on_is_the_end(void **state)
{
    struct follow f;

    (void)state;
    follow_init(&f);
    assert_int_equal(follow_client(&f, SLICE("a UNAUTHENTICATE\r\n")), 16);
    assert_int_equal(follow_client(&f, SLICE("")), 0);
    assert_true(follow_at_boundary(&f));
    assert_false(follow_is_opaque(&f));
    assert_int_equal(follow_client(&f, SLICE("\r\n")), 2);
    assert_false(follow_at_boundary(&f));
    assert_true(follow_is_opaque(&f));
    assert_int_equal(follow_client(&f, SLICE("a UNAUTHENTICATE\r\n")), 18);
}

static void test_logout_is_known_when_its_line_is_whole(void **state)
{
    struct follow f;

    (void)state;
    follow_init(&f);
    assert_int_equal(follow_client(&f, SLICE("a NOOP LOGOUT\r\na XLOGOUT\r\na LOGOUT\r")), 35);
    assert_false(follow_has_logout(&f));
    assert_int_equal(follow_client(&f, SLICE("\n")), 1);
    assert_true(follow_has_logout(&f));
    assert_int_equal(follow_client(&f, SLICE("b NOOP\r\n")), 8);
    assert_true(follow_has_logout(&f));
    follow_server(&f, SLICE("* BYE x\r\na OK\r\n"));
    assert_true(follow_at_boundary(&f));
}

static void test_nothing_fed_changes_nothing(void **state)
{
    struct follow f;

    (void)state;
    follow_init(&f);
    follow_server(&f, slice_of(NULL, 0));
    assert_int_equal(follow_client(&f, slice_of(NULL, 0)), 0);
    assert_true(follow_at_boundary(&f));
    follow_server(&f, SLICE("* LIST () NIL {3}\r\n"));
    follow_server(&f, slice_of(NULL, 0));
    assert_false(follow_at_boundary(&f));
    follow_server(&f, SLICE("abc\r\n"));
    assert_true(follow_at_boundary(&f));
}

/* A literal larger than memory, in pieces that lie about each other. */
static void test_a_literal_of_many_gigabytes(void **state)
{
    static const char piece[1 << 16];
    struct follow f;

    (void)state;
    follow_init(&f);
    follow_server(&f, SLICE("* 1 FETCH (BODY[] {8589934592}\r\n"));
    for (uint64_t n = 0; n < 8589934592U; n += sizeof(piece)) {
        assert_false(follow_at_boundary(&f));
        follow_server(&f, slice_of(piece, sizeof(piece)));
    }
    follow_server(&f, SLICE(")\r"));
    assert_false(follow_at_boundary(&f));
    follow_server(&f, SLICE("\n"));
    assert_true(follow_at_boundary(&f));
}

/* Each byte that is there, at each place of a line where it would be an end, or not. */
static void test_every_byte_in_text_tag_and_quotes(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool ends_all = c == '\0' || c == '\r' || c == '\n';
        bool is_tag = c > ' ' && c < 0x7f && !strchr("(){%*\"\\+", c);
        char text[] = "* OK x \r\n", quoted[] = "* LIST () NIL \" \"\r\n", tag[] = "a \r\n";
        struct follow f;

        text[6] = quoted[15] = tag[1] = (char)c;
        follow_init(&f);
        follow_server(&f, slice_of(text, sizeof(text) - 1));
        assert_int_equal(follow_at_boundary(&f), !ends_all);
        follow_init(&f);
        follow_server(&f, slice_of(quoted, sizeof(quoted) - 1));
        /* a backslash takes the quote, a quote opens another */
        assert_int_equal(follow_at_boundary(&f), !ends_all && c != '\\' && c != '"');
        follow_init(&f);
        follow_client(&f, slice_of(tag, 2));
        assert_int_equal(!follow_is_opaque(&f), is_tag || c == ' ' || c == '\r');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_boundary_is_behind_each_response),
        cmocka_unit_test(test_a_literal_is_counted_not_read),
        cmocka_unit_test(test_free_text_announces_nothing),
        cmocka_unit_test(test_quotes_hide_braces_but_not_the_end_of_a_line),
        cmocka_unit_test(test_sloppy_lines_prove_nothing_for_ever),
        cmocka_unit_test(test_braces_that_announce_nothing_prove_nothing),
        cmocka_unit_test(test_commands_do_not_touch_the_boundary),
        cmocka_unit_test(test_a_literal_waits_for_its_plus),
        cmocka_unit_test(test_a_refused_literal_does_not_come),
        cmocka_unit_test(test_a_literal_with_plus_always_comes),
        cmocka_unit_test(test_what_is_no_command_is_the_end),
        cmocka_unit_test(test_idle_and_its_plus),
        cmocka_unit_test(test_an_early_answer_to_one_idle_is_not_anothers),
        cmocka_unit_test(test_a_plus_that_nothing_waits_for),
        cmocka_unit_test(test_compress_takes_effect_behind_its_ok),
        cmocka_unit_test(test_starttls_and_authenticate_count_when_accepted),
        cmocka_unit_test(test_unauthenticate_is_kept_back),
        cmocka_unit_test(test_nothing_is_told_of_an_opaque_conversation),
        cmocka_unit_test(test_unauthenticate_passed_on_is_the_end),
        cmocka_unit_test(test_logout_is_known_when_its_line_is_whole),
        cmocka_unit_test(test_nothing_fed_changes_nothing),
        cmocka_unit_test(test_a_literal_of_many_gigabytes),
        cmocka_unit_test(test_every_byte_in_text_tag_and_quotes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
