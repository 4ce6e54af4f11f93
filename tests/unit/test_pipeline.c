/* A conversation after the login, fed in every way that a network may cut it. */
#include "no_memory.h"
#include "pieces.h"

#include "imapc/pipeline.h"

enum { MAX_RESPONSE = 100 };

static const struct pipeline_params usual = {MAX_RESPONSE, MAX_RESPONSE, 1 << 16};

/* ---- What came, as one text ---- */

/* Any bytes, NUL as "\0". */
static void tell_bytes(struct buf *told, struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        assert_int_equal(s.p[i] ? buf_put(told, slice_sub(s, i, i + 1)) : buf_puts(told, "\\0"), 0);
}

static void tell_data(struct buf *told, const struct pipeline *p)
{
    const struct response *r = pipeline_response(p);

    assert_int_equal(r->tag.n, 0);
    tell(told, pipeline_is_rest(p) ? "rest " : "");
    if (pipeline_number(p) > 0 || pipeline_is_rest(p))
        tell(told, "%u ", pipeline_number(p));
    tell(told, "%.*s (%.*s)\n", SLICE_ARG(r->word), SLICE_ARG(r->text));
}

static void tell_answer(struct buf *told, const struct pipeline *p)
{
    const struct response *r = pipeline_response(p);

    assert_false(pipeline_is_rest(p));
    tell(told, "#%u %.*s (%.*s)\n", pipeline_command_id(p), SLICE_ARG(r->word), SLICE_ARG(r->text));
}

static void assert_lies_in(struct slice part, const struct buf *whole)
{
    struct slice s = buf_slice(whole);

    assert_true(part.p >= s.p && part.p + part.n <= s.p + s.n);
}

/* Pieces of bodies are told as if they were one, since they differ by how they came. */
static void tell_event(struct buf *told, struct pipeline *p, enum pipeline_event event)
{
    switch (event) {
    case PIPELINE_DATA:
        tell_data(told, p);
        break;
    case PIPELINE_BODY:
        assert_lies_in(pipeline_head(p), pipeline_in(p));
        tell(told, "%u %.*s: %llu [", pipeline_number(p), SLICE_ARG(pipeline_head(p)),
             (unsigned long long)pipeline_body_n(p));
        break;
    case PIPELINE_BYTES:
        assert_lies_in(pipeline_bytes(p), pipeline_in(p));
        assert_int_not_equal(pipeline_bytes(p).n, 0);
        tell_bytes(told, pipeline_bytes(p));
        break;
    case PIPELINE_BODY_END:
        tell(told, "]\n");
        break;
    case PIPELINE_PLUS:
    case PIPELINE_TAGGED:
        tell_answer(told, p);
        break;
    case PIPELINE_FAILED:
        tell(told, "{%s}", pipeline_failure(p));
        break;
    case PIPELINE_MORE:
        break;
    }
}

struct talk {
    const struct pipeline_params *params;
    size_t commands; /* that are out */
};

static void put_commands(struct pipeline *p, size_t n)
{
    for (size_t i = 1; i <= n; i++) {
        uint32_t id;

        assert_int_equal(pipeline_put(p, SLICE("NOOP"), &id), 0);
        assert_int_equal(id, i);
    }
}

static char *talk(const void *arg, struct pieces *pieces)
{
    const struct talk *t = arg;
    struct pipeline *p = pipeline_new(t->params);
    enum pipeline_event event;
    struct buf told;

    assert_non_null(p);
    told_init(&told);
    put_commands(p, t->commands);
    do {
        event = pipeline_step(p);
        tell_event(&told, p, event);
        if (event == PIPELINE_MORE)
            assert_int_not_equal(buf_left(pipeline_in(p)), 0);
    } while (event != PIPELINE_FAILED &&
             (event != PIPELINE_MORE || pieces_feed(pieces, pipeline_in(p))));
    if (event == PIPELINE_FAILED)
        assert_int_equal(pipeline_step(p), PIPELINE_FAILED);
    else if (buf_len(pipeline_in(p)) > 0)
        tell(&told, "more%zu", buf_len(pipeline_in(p)));
    pipeline_free(&p);
    return told_done(&told);
}

struct row {
    struct slice input;
    const char *told;
};

static void check_rows(const struct talk *t, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_talk(talk, t, rows[i].input, rows[i].told);
}

#define CHECK_WITH(t, rows) check_rows((t), (rows), sizeof(rows) / sizeof((rows)[0]))
#define CHECK(rows)         CHECK_WITH((&(const struct talk){&usual, 3}), rows)

/* ---- Responses ---- */

static void test_untagged_responses_are_data(void **state)
{
    static const struct row rows[] = {
        {SLICE("* OK [UIDNEXT 5] Next\r\n"), "OK ([UIDNEXT 5] Next)\n"},
        {SLICE("* NO\r\n* BAD x\r\n"), "NO ()\nBAD (x)\n"},
        {SLICE("* SEARCH\r\n* SEARCH 2 3\r\n"), "SEARCH ()\nSEARCH (2 3)\n"},
        {SLICE("* LIST () \"/\" a\r"), "more16"},
        {SLICE(""), ""},
    };

    (void)state;
    CHECK(rows);
}

static void test_numbers_are_told_beside_their_word(void **state)
{
    static const struct row rows[] = {
        {SLICE("* 3 EXISTS\r\n* 0 RECENT\r\n"), "3 EXISTS ()\nRECENT ()\n"},
        {SLICE("* 4294967295 FETCH (UID 1)\r\n"), "4294967295 FETCH ((UID 1))\n"},
        {SLICE("* 4 EXPUNGE \r\n"), "4 EXPUNGE ()\n"},
        {SLICE("* 4x y\r\n"), "4x (y)\n"},
        {SLICE("* 3 EXISTS\r\n* FLAGS ()\r\n"), "3 EXISTS ()\nFLAGS (())\n"},
        {SLICE("* 3\r\n"), "{this is not IMAP: * 3}"},
        {SLICE("* 3 \r\n"), "{this is not IMAP: * 3 }"},
        {SLICE("* 3 (x)\r\n"), "{this is not IMAP: * 3 (x)}"},
        {SLICE("* 3 FETCH(x)\r\n"), "{this is not IMAP: * 3 FETCH(x)}"},
        {SLICE("* 4294967296 EXISTS\r\n"), "{this is not IMAP: * 4294967296 EXISTS}"},
    };

    (void)state;
    CHECK(rows);
}

static void test_literals_of_names_lie_in_their_response(void **state)
{
    static const struct row rows[] = {
        {SLICE("* LIST () \"/\" {5}\r\na\r\nb)\r\n"), "LIST (() \"/\" {5}\r\na\r\nb))\n"},
        {SLICE("* STATUS {1}\r\nx (MESSAGES {0}\r\n)\r\n* X\r\n"),
         "STATUS ({1}\r\nx (MESSAGES {0}\r\n))\nX ()\n"},
        {SLICE("* 2 FETCH (ENVELOPE ({4}\r\n* OK ~{1}\r\nx))\r\n"),
         "2 FETCH ((ENVELOPE ({4}\r\n* OK ~{1}\r\nx)))\n"},
        {SLICE("* METADATA \"\" (/a {2}\r\nBO)\r\n"), "METADATA (\"\" (/a {2}\r\nBO))\n"},
        {SLICE("* LIST BODY[] {3}\r\nabc\r\n"), "LIST (BODY[] {3}\r\nabc)\n"},
        {SLICE("* FETCH (BODY[] {3}\r\nabc)\r\n"), "FETCH ((BODY[] {3}\r\nabc))\n"},
        {SLICE("* 1 VANISHED (BODY[] {3}\r\nabc)\r\n"), "1 VANISHED ((BODY[] {3}\r\nabc))\n"},
    };

    (void)state;
    CHECK(rows);
}

/* ---- Bodies ---- */

static void test_body_comes_by_itself(void **state)
{
    static const struct row rows[] = {
        {SLICE("* 7 FETCH (UID 9 BODY[] {4}\r\nab\r\n)\r\n* X\r\n"),
         "7 (UID 9 BODY[] {4}\r\n: 4 [ab\r\n]\nrest 7 FETCH ())\nX ()\n"},
        {SLICE("* 7 fetch (body[]<0> {3}\r\n\0\n\r UID 9)\r\n"),
         "7 (body[]<0> {3}\r\n: 3 [\\0\n\r]\nrest 7 FETCH ( UID 9))\n"},
        {SLICE("* 7 FETCH (BINARY[1] ~{3}\r\n)\r\n)\r\n"),
         "7 (BINARY[1] ~{3}\r\n: 3 [)\r\n]\nrest 7 FETCH ())\n"},
        {SLICE("* 7 FETCH (BODY[] {0}\r\n)\r\n"), "7 (BODY[] {0}\r\n: 0 []\nrest 7 FETCH ())\n"},
        {SLICE("* 7 FETCH (BODY[HEADER.FIELDS (A B)] {1}\r\nx)\r\n"),
         "7 (BODY[HEADER.FIELDS (A B)] {1}\r\n: 1 [x]\nrest 7 FETCH ())\n"},
        {SLICE("* 7 FETCH (BODY[] {9}\r\nS1 OK x\r\n)\r\nS1 OK y\r\n"),
         "7 (BODY[] {9}\r\n: 9 [S1 OK x\r\n]\nrest 7 FETCH ())\n#1 OK (y)\n"},
        {SLICE("* 7 FETCH (BODY[] {9}\r\nab"), "7 (BODY[] {9}\r\n: 9 [ab"},
    };

    (void)state;
    CHECK(rows);
}

static void test_body_that_is_no_literal_is_data(void **state)
{
    static const struct row rows[] = {
        {SLICE("* 7 FETCH (BODY[] NIL UID 9)\r\n"), "7 FETCH ((BODY[] NIL UID 9))\n"},
        {SLICE("* 7 FETCH (BODY[] \"abc\")\r\n"), "7 FETCH ((BODY[] \"abc\"))\n"},
        {SLICE("* 7 FETCH (BODY[] \"\" X {1}\r\nx)\r\n"), "7 FETCH ((BODY[] \"\" X {1}\r\nx))\n"},
    };

    (void)state;
    CHECK(rows);
}

static void test_response_has_several_bodies(void **state)
{
    static const struct row rows[] = {
        {SLICE("* 7 FETCH (BODY[1] {1}\r\na BODY[2] {2}\r\nbc UID 9 BODY[3] {0}\r\n)\r\n"),
         "7 (BODY[1] {1}\r\n: 1 [a]\n7  BODY[2] {2}\r\n: 2 [bc]\n7  UID 9 BODY[3] {0}\r\n: 0 []\n"
         "rest 7 FETCH ())\n"},
        {SLICE("* 1 FETCH (BODY[] {1}\r\na)\r\n* 2 FETCH (BODY[] {1}\r\nb)\r\n* SEARCH 1\r\n"),
         "1 (BODY[] {1}\r\n: 1 [a]\nrest 1 FETCH ())\n"
         "2 (BODY[] {1}\r\n: 1 [b]\nrest 2 FETCH ())\nSEARCH (1)\n"},
    };

    (void)state;
    CHECK(rows);
}

static void test_body_stands_between_other_literals(void **state)
{
    static const struct row rows[] = {
        {SLICE("* 7 FETCH (X {2}\r\n\r\n BODY[] {1}\r\na Y {3}\r\nb\rc Z {0}\r\n)\r\n"),
         "7 (X {2}\r\n\r\n BODY[] {1}\r\n: 1 [a]\nrest 7 FETCH ( Y {3}\r\nb\rc Z {0}\r\n))\n"},
        {SLICE("* 7 FETCH (BODY[] {1}\r\na Y {2}\r\nbc BODY[1] {1}\r\nd)\r\n"),
         "7 (BODY[] {1}\r\n: 1 [a]\n7  Y {2}\r\nbc BODY[1] {1}\r\n: 1 [d]\nrest 7 FETCH ())\n"},
        {SLICE("* 7 FETCH (X {6}\r\nBODY[] Y {1}\r\na)\r\n"),
         "7 FETCH ((X {6}\r\nBODY[] Y {1}\r\na))\n"},
    };

    (void)state;
    CHECK(rows);
}

static void test_faults_around_a_body_are_seen(void **state)
{
    static const struct row rows[] = {
        {SLICE("* 7 FETCH (X \0 BODY[] {1}\r\na)\r\n"), "{this is not IMAP: * 7 FETCH (X }"},
        {SLICE("* 7 FETCH (X \r BODY[] {1}\r\na)\r\n"),
         "{this is not IMAP: * 7 FETCH (X \r BODY[] {1}}"},
        {SLICE("* 7 FETCH (X {1}\r\n\0 BODY[] {1}\r\na)\r\n"),
         "{this is not IMAP: * 7 FETCH (X {1}\r\n}"},
        {SLICE("* 7 FETCH (BODY[] {1}\r\na X {1}\r\n\0 BODY[] {1}\r\na)\r\n"),
         "7 (BODY[] {1}\r\n: 1 [a]\n{this is not IMAP:  X {1}\r\n}"},
        {SLICE("* LIST() {9999}\r\n"), "{this is not IMAP: * LIST() {9999}}"},
        {SLICE("* 7 FETCH (BODY[] {1}\r\na\0)\r\n"),
         "7 (BODY[] {1}\r\n: 1 [a]\n{this is not IMAP: }"},
        {SLICE("* 7 FETCH (BODY[] {1}\r\na\r)\r\n"),
         "7 (BODY[] {1}\r\n: 1 [a]\n{this is not IMAP: \r)}"},
        {SLICE("* 7 FETCH (BODY[] {1}\r\na)\n"),
         "7 (BODY[] {1}\r\n: 1 [a]\n{a line ends without CR: )}"},
        {SLICE("* 7 FETCH (BODY[] {1}\r\na X {1}\r\n\0)\r\n"),
         "7 (BODY[] {1}\r\n: 1 [a]\n{this is not IMAP:  X {1}\r\n}"},
        {SLICE("* 7 FETCH (BODY[] {9223372036854775808}\r\n"),
         "{a literal is too large: * 7 FETCH (BODY[] {9223372036854775808}}"},
        {SLICE("* 7 FETCH (BODY[] {99999999999999999999}\r\n"),
         "{a literal is too large: * 7 FETCH (BODY[] {99999999999999999999}}"},
    };

    (void)state;
    CHECK(rows);
}

/* ---- Answers ---- */

static void test_commands_are_answered_in_any_order(void **state)
{
    static const struct row rows[] = {
        {SLICE("S2 OK b\r\nS1 NO [X] a\r\nS3 BAD c\r\n"), "#2 OK (b)\n#1 NO ([X] a)\n#3 BAD (c)\n"},
        {SLICE("S1 OK\r\nS3 ok\r\nS2 OK \r\n"), "#1 OK ()\n#3 ok ()\n#2 OK ()\n"},
    };

    (void)state;
    CHECK(rows);
}

static void test_free_text_announces_nothing(void **state)
{
    static const struct row rows[] = {
        {SLICE("S1 NO said {5}\r\nS2 OK\r\n"), "#1 NO (said {5})\n#2 OK ()\n"},
        {SLICE("* OK said {5}\r\n* BAD BODY[] {5}\r\n"), "OK (said {5})\nBAD (BODY[] {5})\n"},
        {SLICE("+ {5}\r\n* X\r\n"), "#1 + ({5})\nX ()\n"},
    };

    (void)state;
    CHECK(rows);
}

static void test_answers_to_nothing_are_failures(void **state)
{
    static const struct row rows[] = {
        {SLICE("S4 OK x\r\n"), "{the server answers what was not asked: S4 OK x}"},
        {SLICE("S0 OK\r\n"), "{the server answers what was not asked: S0 OK}"},
        {SLICE("S01 OK\r\n"), "{the server answers what was not asked: S01 OK}"},
        {SLICE("s1 OK\r\n"), "{the server answers what was not asked: s1 OK}"},
        {SLICE("S OK\r\n"), "{the server answers what was not asked: S OK}"},
        {SLICE("U1 OK\r\n"), "{the server answers what was not asked: U1 OK}"},
        {SLICE("S4294967297 OK\r\n"), "{the server answers what was not asked: S4294967297 OK}"},
        {SLICE("S1 OK\r\nS1 OK\r\n"), "#1 OK ()\n{the server answers what was not asked: S1 OK}"},
        {SLICE("S1 BYE\r\n"), "{this is not IMAP: S1 BYE}"},
        {SLICE("S1 FETCH {1}\r\n"), "{this is not IMAP: S1 FETCH {1}}"},
        {SLICE("\r\n"), "{this is not IMAP}"},
        {SLICE("HTTP/1.1 200 OK\r\n"), "{this is not IMAP: HTTP/1.1 200 OK}"},
        {SLICE("* OK a\rb\r\n"), "{this is not IMAP: * OK a\rb}"},
        {SLICE("* OK a\n"), "{a line ends without CR: * OK a}"},
    };

    (void)state;
    CHECK(rows);
}

static void test_plus_is_for_the_first_that_waits(void **state)
{
    static const struct row rows[] = {
        {SLICE("+ a\r\nS1 OK\r\n+\r\nS3 OK\r\n+ b\r\n"),
         "#1 + (a)\n#1 OK ()\n#2 + ()\n#3 OK ()\n#2 + (b)\n"},
    };
    static const struct row nobody[] = {
        {SLICE("+ a\r\n+ b\r\n* X\r\n+ c\r\n"), "X ()\n"},
        {SLICE("+ a\r\n+"), "more1"},
    };

    (void)state;
    CHECK(rows);
    CHECK_WITH((&(const struct talk){&usual, 0}), nobody);
}

static void test_bye_is_data_and_remembered(void **state)
{
    struct pipeline *p = pipeline_new(&usual);

    (void)state;
    assert_int_equal(buf_puts(pipeline_in(p), "* OK x\r\n* BYE gone\r\n* OK y\r\n"), 0);
    assert_int_equal(pipeline_step(p), PIPELINE_DATA);
    assert_false(pipeline_is_bye(p));
    assert_int_equal(pipeline_step(p), PIPELINE_DATA);
    assert_int_equal(pipeline_response(p)->kind, RESPONSE_BYE);
    assert_true(pipeline_is_bye(p));
    assert_int_equal(pipeline_step(p), PIPELINE_DATA);
    assert_int_equal(pipeline_response(p)->kind, RESPONSE_OK);
    assert_true(pipeline_is_bye(p));
    pipeline_free(&p);
}

/* ---- Limits ---- */

static void test_limit_counts_all_of_a_response_but_bodies(void **state)
{
    static const struct pipeline_params tight = {20, 20, 100};
    static const struct talk t = {&tight, 0};
    static const struct row rows[] = {
        {SLICE("* SEARCH 34567 901\r\n"), "SEARCH (34567 901)\n"},
        {SLICE("* SEARCH 34567 9012\r\n"), "{a response is too long: * SEARCH 34567 9012}"},
        {SLICE("* SEARCH 34567 901234567890"), "{a response is too long: * SEARCH 34567 90123}"},
        /* Ten bytes of lines, eight of a literal, two that end it. */
        {SLICE("* XX {8}\r\n01234567\r\n"), "XX ({8}\r\n01234567)\n"},
        {SLICE("* XX {7}\r\n0123456)\r\n"), "XX ({7}\r\n0123456))\n"},
        {SLICE("* XX {8}\r\n01234567)\r\n"), "{a response is too long: * XX {8}\r\n01234567)}"},
        {SLICE("* XX {10}\r\n012345678"), "{a literal is too large: * XX {10}}"},

    };
    static const struct pipeline_params wider = {40, 40, 100};
    static const struct talk u = {&wider, 0};
    static const struct row parts[] = {
        {SLICE("* 1 FETCH (BODY[1] {3}\r\nabc 7890123456789\r\n"),
         "1 (BODY[1] {3}\r\n: 3 [abc]\nrest 1 FETCH ( 7890123456789)\n"},
        {SLICE("* 1 FETCH (BODY[1] {3}\r\nabc 78901234567890\r\n"),
         "1 (BODY[1] {3}\r\n: 3 [abc]\n{a response is too long:  78901234567890}"},
        {SLICE("* 1 FETCH (BODY[1] {99}\r\n"
               "0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
               "23456789012345678) X {6}\r\n012345)\r\n"),
         "1 (BODY[1] {99}\r\n: 99 "
         "[0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
         "23456789012345678]\n{a literal is too large: ) X {6}}"},
    };

    (void)state;
    CHECK_WITH(&t, rows);
    CHECK_WITH(&u, parts);
}

/* One piece after the other, until all `n` bytes were told; says how many pieces there were. */
static size_t pass_body(struct pipeline *p, uint64_t n)
{
    static char bytes[1 << 16];
    struct buf *in = pipeline_in(p);
    size_t pieces = 0;

    while (n > 0) {
        size_t room = n < sizeof(bytes) ? (size_t)n : sizeof(bytes);

        if (room > buf_left(in))
            room = buf_left(in);
        assert_int_equal(buf_len(in), 0); /* nothing is kept */
        assert_int_equal(buf_put(in, slice_of(bytes, room)), 0);
        while (pipeline_step(p) == PIPELINE_BYTES) {
            assert_lies_in(pipeline_bytes(p), in);
            n -= pipeline_bytes(p).n;
            pieces++;
            if (n == 0)
                break;
        }
    }
    return pieces;
}

static void test_body_larger_than_all_buffers_passes(void **state)
{
    static const struct pipeline_params small = {100, 4096, 100};
    struct pipeline *p = pipeline_new(&small);

    (void)state;
    assert_int_equal(buf_puts(pipeline_in(p), "* 1 FETCH (BODY[] {40960000}\r\n"), 0);
    assert_int_equal(pipeline_step(p), PIPELINE_BODY);
    assert_int_equal(pipeline_body_n(p), 40960000);
    assert_int_equal(pipeline_step(p), PIPELINE_MORE);
    assert_int_equal(pass_body(p, 40960000), 10000);
    assert_int_equal(pipeline_step(p), PIPELINE_BODY_END);
    assert_int_equal(pipeline_step(p), PIPELINE_MORE);
    assert_int_equal(buf_puts(pipeline_in(p), ")\r\n"), 0);
    assert_int_equal(pipeline_step(p), PIPELINE_DATA);
    assert_true(pipeline_is_rest(p));
    pipeline_free(&p);
}

/* Were all that came before looked at with each literal, this would take minutes. */
static void test_many_literals_cost_no_more_than_their_bytes(void **state)
{
    static const struct pipeline_params large = {1 << 20, 1 << 20, 100};
    struct pipeline *p = pipeline_new(&large);

    (void)state;
    assert_int_equal(buf_puts(pipeline_in(p), "* 1 FETCH (X"), 0);
    while (buf_left(pipeline_in(p)) > 20)
        assert_int_equal(buf_puts(pipeline_in(p), "{0}\r\n "), 0);
    assert_int_equal(buf_puts(pipeline_in(p), ")\r\n"), 0);
    assert_int_equal(pipeline_step(p), PIPELINE_DATA);
    assert_int_equal(pipeline_step(p), PIPELINE_MORE);
    pipeline_free(&p);
}

/* ---- Commands ---- */

static void assert_out(struct pipeline *p, const char *expected)
{
    struct slice out = buf_slice(pipeline_out(p));

    assert_int_equal(out.n, strlen(expected));
    assert_memory_equal(out.p, expected, out.n);
    buf_take(pipeline_out(p), out.n);
}

static void feed(struct pipeline *p, const char *bytes)
{
    assert_int_equal(buf_puts(pipeline_in(p), bytes), 0);
}

static void test_commands_have_tags_of_their_own(void **state)
{
    struct pipeline *p = pipeline_new(&usual);
    uint32_t first, second;

    (void)state;
    assert_int_equal(pipeline_put(p, SLICE("UID FETCH 1:* (FLAGS)"), &first), 0);
    assert_int_equal(pipeline_put(p, SLICE("X {1+}\r\ny"), &second), 0);
    assert_int_equal(pipeline_waiting(p), 2);
    assert_out(p, "S1 UID FETCH 1:* (FLAGS)\r\nS2 X {1+}\r\ny\r\n");
    assert_int_equal(first, 1);
    assert_int_equal(second, 2);
    pipeline_free(&p);
}

static void test_command_that_does_not_fit_is_not_begun(void **state)
{
    static const struct pipeline_params narrow = {100, 100, 17};
    struct pipeline *p = pipeline_new(&narrow);
    uint32_t id = 77;

    (void)state;
    assert_int_equal(pipeline_put(p, SLICE("0123456789ab "), &id), -1);
    assert_int_equal(id, 77);
    assert_int_equal(pipeline_waiting(p), 0);
    assert_int_equal(pipeline_open(p, SLICE("0123456789abcde"), &id), -1);
    assert_false(pipeline_is_open(p));
    assert_int_equal(pipeline_put(p, SLICE("0123456789ab"), &id), 0);
    assert_out(p, "S1 0123456789ab\r\n");
    assert_int_equal(pipeline_open(p, SLICE("0123"), &id), 0);
    assert_int_equal(pipeline_put_raw(p, SLICE("456789abcde")), -1);
    assert_int_equal(pipeline_put_raw(p, SLICE("456789abc")), 0);
    assert_int_equal(pipeline_close(p), -1);
    assert_true(pipeline_is_open(p));
    assert_out(p, "S2 0123456789abc");
    assert_int_equal(pipeline_close(p), 0);
    assert_out(p, "\r\n");
    pipeline_free(&p);
}

static void test_commands_in_flight_are_bounded(void **state)
{
    struct pipeline *p = pipeline_new(&usual);
    uint32_t id;

    (void)state;
    put_commands(p, PIPELINE_COMMANDS);
    assert_int_equal(pipeline_put(p, SLICE("NOOP"), &id), -1);
    assert_int_equal(pipeline_open(p, SLICE("NOOP"), &id), -1);
    feed(p, "S200 OK x\r\n");
    assert_int_equal(pipeline_step(p), PIPELINE_TAGGED);
    assert_int_equal(pipeline_waiting(p), PIPELINE_COMMANDS - 1);
    assert_int_equal(pipeline_put(p, SLICE("NOOP"), &id), 0);
    assert_int_equal(id, PIPELINE_COMMANDS + 1);
    feed(p, "S200 OK x\r\n");
    assert_int_equal(pipeline_step(p), PIPELINE_FAILED);
    pipeline_free(&p);
}

static void test_open_command_is_put_piece_by_piece(void **state)
{
    struct pipeline *p = pipeline_new(&usual);
    uint32_t other, id, none;

    (void)state;
    assert_int_equal(pipeline_put(p, SLICE("NOOP"), &other), 0);
    assert_int_equal(pipeline_open(p, SLICE("APPEND x {3}\r\n"), &id), 0);
    assert_true(pipeline_is_open(p));
    assert_int_equal(pipeline_waiting(p), 2);
    assert_int_equal(pipeline_put(p, SLICE("NOOP"), &none), -1);
    assert_int_equal(pipeline_open(p, SLICE("NOOP"), &none), -1);
    assert_out(p, "S1 NOOP\r\nS2 APPEND x {3}\r\n");
    feed(p, "+ Go\r\n"); /* for the open one, though the other waits longer */
    assert_int_equal(pipeline_step(p), PIPELINE_PLUS);
    assert_int_equal(pipeline_command_id(p), id);
    assert_int_equal(pipeline_put_raw(p, SLICE("ab")), 0);
    assert_int_equal(pipeline_put_raw(p, SLICE("")), 0);
    assert_int_equal(pipeline_put_raw(p, SLICE("c")), 0);
    assert_int_equal(pipeline_close(p), 0);
    assert_false(pipeline_is_open(p));
    assert_out(p, "abc\r\n");
    assert_int_equal(pipeline_waiting(p), 2);
    pipeline_free(&p);
}

/* An open command, refused before its end. */
static struct pipeline *refused(void)
{
    struct pipeline *p = pipeline_new(&usual);
    uint32_t id;

    assert_int_equal(pipeline_open(p, SLICE("APPEND x {3+}\r\n"), &id), 0);
    feed(p, "S1 NO [OVERQUOTA] Full\r\n+ for nobody\r\n");
    assert_int_equal(pipeline_step(p), PIPELINE_TAGGED);
    assert_int_equal(pipeline_command_id(p), id);
    assert_int_equal(pipeline_waiting(p), 0);
    assert_true(pipeline_is_open(p));
    assert_int_equal(pipeline_step(p), PIPELINE_MORE);
    assert_int_equal(pipeline_put(p, SLICE("NOOP"), &id), -1);
    return p;
}

static void test_open_command_that_is_answered_goes_on_to_its_end(void **state)
{
    struct pipeline *p = refused();
    uint32_t id;

    (void)state;
    assert_int_equal(pipeline_put_raw(p, SLICE("abc")), 0);
    assert_int_equal(pipeline_close(p), 0);
    assert_int_equal(pipeline_put(p, SLICE("NOOP"), &id), 0);
    assert_out(p, "S1 APPEND x {3+}\r\nabc\r\nS2 NOOP\r\n");
    pipeline_free(&p);
}

static void test_open_command_that_is_answered_can_be_dropped(void **state)
{
    struct pipeline *p = refused();
    uint32_t id;

    (void)state;
    pipeline_drop(p);
    assert_false(pipeline_is_open(p));
    assert_int_equal(pipeline_put(p, SLICE("NOOP"), &id), 0);
    assert_out(p, "S1 APPEND x {3+}\r\nS2 NOOP\r\n");
    pipeline_free(&p);
}

static void test_memory_that_is_out_is_no_crash(void **state)
{
    struct pipeline *p;
    uint32_t id;

    (void)state;
    memory.n = 0;
    memory.fails_at = 1;
    memory.is_on = true;
    p = pipeline_new(&usual);
    assert_null(p);
    pipeline_free(&p);
    memory.n = 0;
    memory.fails_at = 2;
    p = pipeline_new(&usual);
    assert_int_equal(pipeline_put(p, SLICE("NOOP"), &id), -1);
    assert_int_equal(pipeline_waiting(p), 0);
    assert_int_equal(pipeline_put(p, SLICE("NOOP"), &id), 0);
    memory.is_on = false;
    assert_out(p, "S1 NOOP\r\n");
    pipeline_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_untagged_responses_are_data),
        cmocka_unit_test(test_numbers_are_told_beside_their_word),
        cmocka_unit_test(test_literals_of_names_lie_in_their_response),
        cmocka_unit_test(test_body_comes_by_itself),
        cmocka_unit_test(test_body_that_is_no_literal_is_data),
        cmocka_unit_test(test_response_has_several_bodies),
        cmocka_unit_test(test_body_stands_between_other_literals),
        cmocka_unit_test(test_faults_around_a_body_are_seen),
        cmocka_unit_test(test_commands_are_answered_in_any_order),
        cmocka_unit_test(test_free_text_announces_nothing),
        cmocka_unit_test(test_answers_to_nothing_are_failures),
        cmocka_unit_test(test_plus_is_for_the_first_that_waits),
        cmocka_unit_test(test_bye_is_data_and_remembered),
        cmocka_unit_test(test_limit_counts_all_of_a_response_but_bodies),
        cmocka_unit_test(test_body_larger_than_all_buffers_passes),
        cmocka_unit_test(test_many_literals_cost_no_more_than_their_bytes),
        cmocka_unit_test(test_commands_have_tags_of_their_own),
        cmocka_unit_test(test_command_that_does_not_fit_is_not_begun),
        cmocka_unit_test(test_commands_in_flight_are_bounded),
        cmocka_unit_test(test_open_command_is_put_piece_by_piece),
        cmocka_unit_test(test_open_command_that_is_answered_goes_on_to_its_end),
        cmocka_unit_test(test_open_command_that_is_answered_can_be_dropped),
        cmocka_unit_test(test_memory_that_is_out_is_no_crash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
