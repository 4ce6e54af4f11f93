/* Digests of messages: what counts of a header, what of a text, and that it does not matter in
 * which pieces they come. */
#include "cm.h"

#include "base/buf.h"
#include "base/num.h"
#include "sync/identity.h"

#include <stdlib.h>
#include <string.h>

enum { ALL = IDENTITY_HEAD | IDENTITY_RAW | IDENTITY_TEXT };

#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Each piece lies alone, so that a look beyond its ends is seen. */
static void add_alone(struct identity_reader *r, struct slice piece)
{
    char *copy = malloc(piece.n);

    assert_true(copy || piece.n == 0);
    if (piece.n > 0)
        memcpy(copy, piece.p, piece.n);
    identity_add(r, slice_of(copy, piece.n));
    free(copy);
}

static struct identity_digest read_cut(struct identity_reader *r, struct slice message,
                                       unsigned what, size_t first, size_t then)
{
    struct identity_digest digest;
    size_t at = first < message.n ? first : message.n;

    identity_begin(r, what);
    add_alone(r, slice_sub(message, 0, at));
    for (; at < message.n; at += then)
        add_alone(r, slice_sub(message, at, then < message.n - at ? at + then : message.n));
    identity_end(r, &digest);
    return digest;
}

static void assert_hash(struct hash128 a, struct hash128 b)
{
    assert_true(hash128_eq(a, b));
}

static void assert_digest(struct identity_digest a, struct identity_digest b)
{
    assert_int_equal(a.size, b.size);
    assert_hash(a.head, b.head);
    assert_hash(a.raw, b.raw);
    assert_hash(a.text, b.text);
    assert_int_equal(a.is_weak, b.is_weak);
    assert_int_equal(a.has_nul, b.has_nul);
}

/* Whole, byte by byte, and cut in two at each byte; all the same. */
static struct identity_digest read_all_ways(struct slice message)
{
    struct identity_reader *r = identity_reader_new();
    struct identity_digest whole, n;

    assert_non_null(r);
    whole = read_cut(r, message, ALL, message.n, message.n);
    assert_digest(read_cut(r, message, ALL, 0, 1), whole);
    for (size_t cut = 0; cut <= message.n; cut++)
        assert_digest(read_cut(r, message, ALL, cut, message.n), whole);
    assert_int_equal(whole.size, message.n);
    assert_hash(whole.raw, hash_stable(message));

    /* Each alone is the same as with the others, which are zeros then. */
    n = read_cut(r, message, IDENTITY_HEAD, 7, 5);
    assert_hash(n.head, whole.head);
    assert_int_equal(n.is_weak, whole.is_weak);
    assert_true(n.raw.high == 0 && n.raw.low == 0 && n.text.high == 0 && n.text.low == 0);
    n = read_cut(r, message, IDENTITY_TEXT, 7, 5);
    assert_hash(n.text, whole.text);
    assert_true(n.head.high == 0 && n.head.low == 0 && !n.is_weak);
    n = read_cut(r, message, IDENTITY_RAW, 7, 5);
    assert_hash(n.raw, whole.raw);
    assert_int_equal(n.has_nul, whole.has_nul);
    n = read_cut(r, message, 0, 7, 5);
    assert_int_equal(n.size, message.n);
    identity_reader_free(&r);
    assert_null(r);
    return whole;
}

/* A message, and what is hashed of it. */
struct row {
    struct slice message, head, text;
    bool is_weak;
};

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct identity_digest digest = read_all_ways(rows[i].message);

        if (!hash128_eq(digest.head, hash_stable(rows[i].head)) ||
            !hash128_eq(digest.text, hash_stable(rows[i].text)) ||
            digest.is_weak != rows[i].is_weak)
            print_error("of: %.*s\n", SLICE_ARG(rows[i].message));
        assert_hash(digest.head, hash_stable(rows[i].head));
        assert_hash(digest.text, hash_stable(rows[i].text));
        assert_int_equal(digest.is_weak, rows[i].is_weak);
    }
}

#define STRONG "message-id:<1@x>\n"

static void test_line_ends_and_folding_do_not_count(void **state)
{
    static const struct row rows[] = {
        {SLICE("Message-ID: <1@x>\r\nSubject: a b\r\n\r\nHi\r\n"), SLICE(STRONG "subject:a b\n"),
         SLICE("Hi\r\n"), false},
        {SLICE("Message-ID: <1@x>\nSubject: a b\n\nHi\n"), SLICE(STRONG "subject:a b\n"),
         SLICE("Hi\r\n"), false},
        {SLICE("Message-ID: <1@x>\r\nSubject: a b\n\nHi\n"), SLICE(STRONG "subject:a b\n"),
         SLICE("Hi\r\n"), false},
        {SLICE("Message-ID:\r\n <1@x>\r\nSubject: a\r\n\tb \t\r\n\r\n"),
         SLICE(STRONG "subject:a b\n"), SLICE(""), false},
        {SLICE("MESSAGE-ID \t :<1@x>  \r\nsubject : \t a\n \n\t\r\n  b\r\n\t\r\n\r\n"),
         SLICE(STRONG "subject:a b\n"), SLICE(""), false},
        {SLICE("Message-ID: <1@x>\r\nSubject: a:b: c\r\n\r\n"), SLICE(STRONG "subject:a:b: c\n"),
         SLICE(""), false},
        {SLICE("Message-ID: <1@x>\r\nSubject: a\rb\r\r\n\r\n"), SLICE(STRONG "subject:a b\n"),
         SLICE(""), false},
        {SLICE("Message-ID: <1@x>\r\nSubject: \xe4\xc3\xa4\x80 A\r\n\r\n"),
         SLICE(STRONG "subject:\xe4\xc3\xa4\x80 A\n"), SLICE(""), false},
    };

    (void)state;
    check(rows, ROWS(rows));
}

static void test_fields_that_stores_change_are_left_out_with_their_continuations(void **state)
{
    static const struct row rows[] = {
        {SLICE("Status: RO\r\n R: no field\r\nX-Status: A\r\nX-KEYWORDS: \r\n a\r\n\tb\r\n"
               "X-UID: 7\r\nX-UIDL : 7\r\nX-IMAP: 1\r\nX-IMAPbase: 1 1\r\ncontent-length: 2\r\n"
               "Lines: 1\r\nMessage-ID: <1@x>\r\nX-Evolution-Source: e\r\n"
               "X-Mozilla-Status: 0001\r\nX-Mozilla-Status2: 0\r\nX-Mozilla-Keys:      \r\n\r\n"),
         SLICE(STRONG), SLICE(""), false},
        {SLICE("Statu: 1\r\nStatus1: 2\r\nX-Mozilla-Status3: 3\r\nX-Mozilla-Statuses: 4\r\n"
               "Message-ID: <1@x>\r\n\r\n"),
         SLICE("statu:1\nstatus1:2\nx-mozilla-status3:3\nx-mozilla-statuses:4\n" STRONG), SLICE(""),
         false},
        {SLICE("Status\r\n : RO\r\nMessage-ID: <1@x>\r\n\r\n"), SLICE(STRONG), SLICE(""), false},
        {SLICE("Message-ID: <1@x>\r\nStatus\r\nA: b\r\n\r\n"), SLICE(STRONG "status\na:b\n"),
         SLICE(""), false},
        {SLICE("Message-ID: <1@x>\r\nStatus: O"), SLICE(STRONG), SLICE(""), false},
    };

    (void)state;
    check(rows, ROWS(rows));
}

static void test_the_line_of_an_mbox_is_left_out_at_the_beginning_only(void **state)
{
    static const struct row rows[] = {
        {SLICE("From ann@x Mon Jan  1 00:00:00 2024\r\nMessage-ID: <1@x>\r\n\r\n"), SLICE(STRONG),
         SLICE(""), false},
        {SLICE(">From - Mon: a\n b\nMessage-ID: <1@x>\n\n"), SLICE(STRONG), SLICE(""), false},
        {SLICE("From  Mon\nMessage-ID: <1@x>\n\n"), SLICE(STRONG), SLICE(""), false},
        {SLICE("From : ann@x\r\nMessage-ID: <1@x>\r\n\r\n"), SLICE("from:ann@x\n" STRONG),
         SLICE(""), false},
        {SLICE("From: ann@x\r\nMessage-ID: <1@x>\r\n\r\n"), SLICE("from:ann@x\n" STRONG), SLICE(""),
         false},
        {SLICE("from ann@x Mon\r\nMessage-ID: <1@x>\r\n\r\n"), SLICE("from ann@x mon\n" STRONG),
         SLICE(""), false},
        {SLICE("Fro\r\nMessage-ID: <1@x>\r\n\r\n"), SLICE("fro\n" STRONG), SLICE(""), false},
        {SLICE("Message-ID: <1@x>\r\nFrom ann@x Mon\r\n\r\n"), SLICE(STRONG "from ann@x mon\n"),
         SLICE(""), false},
        {SLICE(" \r\n\r\r\nFrom ann@x\r\nMessage-ID: <1@x>\r\n\r\n"), SLICE(STRONG), SLICE(""),
         false},
        {SLICE("From a\r\nFrom b\r\nMessage-ID: <1@x>\r\n\r\n"), SLICE("from b\n" STRONG),
         SLICE(""), false},
    };

    (void)state;
    check(rows, ROWS(rows));
}

static void test_equal_fields_stay_and_the_order_counts(void **state)
{
    static const struct row rows[] = {
        {SLICE("Received: a\r\nReceived: a\r\nReceived: b\r\nMessage-ID: <1@x>\r\n\r\n"),
         SLICE("received:a\nreceived:a\nreceived:b\n" STRONG), SLICE(""), false},
        {SLICE("Received: b\r\nReceived: a\r\nReceived: a\r\nMessage-ID: <1@x>\r\n\r\n"),
         SLICE("received:b\nreceived:a\nreceived:a\n" STRONG), SLICE(""), false},
    };

    (void)state;
    check(rows, ROWS(rows));
}

static void test_a_header_ends_with_its_first_empty_line_or_the_message(void **state)
{
    static const struct row rows[] = {
        {SLICE(""), SLICE(""), SLICE(""), true},
        {SLICE("\n"), SLICE(""), SLICE(""), true},
        {SLICE("\r\n"), SLICE(""), SLICE(""), true},
        {SLICE("\r\nA: b\r\n\r\n"), SLICE(""), SLICE("A: b\r\n\r\n"), true},
        {SLICE("\nA\n"), SLICE(""), SLICE("A\r\n"), true},
        {SLICE("\r"), SLICE(""), SLICE(""), true},
        {SLICE("A: b"), SLICE("a:b\n"), SLICE(""), true},
        {SLICE("A: b\r"), SLICE("a:b\n"), SLICE(""), true},
        {SLICE("A: b\r\n"), SLICE("a:b\n"), SLICE(""), true},
        {SLICE("A: b\r\n\r"), SLICE("a:b\n"), SLICE(""), true},
        {SLICE("A: b\r\n\r\n"), SLICE("a:b\n"), SLICE(""), true},
        {SLICE("A: b\n\n\n"), SLICE("a:b\n"), SLICE("\r\n"), true},
        /* Neither blanks nor CR make a line empty. */
        {SLICE("A: b\r\n \r\nC: d\r\n\t\r\n\r\nE\r\n"), SLICE("a:b\nc:d\n"), SLICE("E\r\n"), true},
        {SLICE("A: b\r\n\r\r\nC: d\r\n\r\n"), SLICE("a:b\nc:d\n"), SLICE(""), true},
        {SLICE("A: b\r\n\rC: d\r\n\r\n"), SLICE("a:b\nc:d\n"), SLICE(""), true},
        {SLICE("A: b\r\n\r c: d\r\n\r\n"), SLICE("a:b\nc:d\n"), SLICE(""), true},
    };

    (void)state;
    check(rows, ROWS(rows));
}

static void test_what_is_no_field_counts_too(void **state)
{
    static const struct row rows[] = {
        {SLICE("Not a Field\r\n at all\r\n: x\r\n:\r\n@AZ[:\r\n\r\n"),
         SLICE("not a field at all\n:x\n:\n@az[:\n"), SLICE(""), true},
        {SLICE("A-Name-That-Is-Quite-Long-For-A-Field  Of  Mail : B  C\r\n\r\n"),
         SLICE("a-name-that-is-quite-long-for-a-field of mail:B C\n"), SLICE(""), true},
        {SLICE("Exactly-Twenty-Four-Byte: B\r\nExactly-Twenty-Five-Bytes: B\r\n\r\n"),
         SLICE("exactly-twenty-four-byte:B\nexactly-twenty-five-bytes:B\n"), SLICE(""), true},
        {SLICE("Exactly-Twenty-Three-By : B\r\nExactly-Twenty-Four-Byte x : B\r\n\r\n"),
         SLICE("exactly-twenty-three-by:B\nexactly-twenty-four-byte x:B\n"), SLICE(""), true},
        {SLICE("A-Name-That-Is-Quite-Long-For-A-Field Without Colon"),
         SLICE("a-name-that-is-quite-long-for-a-field without colon\n"), SLICE(""), true},
        {SLICE("A\0B: c\0d\r\n\r\n\0"), SLICE("a\0b:c\0d\n"), SLICE("\0"), true},
    };

    (void)state;
    check(rows, ROWS(rows));
}

static void test_a_header_is_weak_without_message_id_unless_it_has_date_and_from(void **state)
{
    static const struct row rows[] = {
        {SLICE("Date: 1\r\nFrom: a\r\n\r\n"), SLICE("date:1\nfrom:a\n"), SLICE(""), false},
        {SLICE("Date: 1\r\n\r\n"), SLICE("date:1\n"), SLICE(""), true},
        {SLICE("From: a\r\n\r\n"), SLICE("from:a\n"), SLICE(""), true},
        {SLICE("From: a\r\n\r\nDate: 1\r\nMessage-ID: x\r\n"), SLICE("from:a\n"),
         SLICE("Date: 1\r\nMessage-ID: x\r\n"), true},
        {SLICE("Date: 1\r\nFrom: \r\n \r\n\r\n"), SLICE("date:1\nfrom:\n"), SLICE(""), true},
        {SLICE("Message-ID: \r\n\t\r\n\r\n"), SLICE("message-id:\n"), SLICE(""), true},
        {SLICE("Message-ID: \r\n x\r\n\r\n"), SLICE("message-id:x\n"), SLICE(""), false},
        {SLICE("Resent-Message-ID: x\r\nTo: a\r\n\r\n"), SLICE("resent-message-id:x\nto:a\n"),
         SLICE(""), true},
        {SLICE("mEsSaGe-Id: x\r\n\r\n"), SLICE("message-id:x\n"), SLICE(""), false},
    };

    (void)state;
    check(rows, ROWS(rows));
}

static void test_lf_alone_counts_as_crlf_in_a_text_and_cr_alone_as_itself(void **state)
{
    static const struct row rows[] = {
        {SLICE("\n\n\n"), SLICE(""), SLICE("\r\n\r\n"), true},
        {SLICE("\na\nb\r\nc\rd\r\r\n\r"), SLICE(""), SLICE("a\r\nb\r\nc\rd\r\r\n\r"), true},
        {SLICE("\r\n\n\r\n\n\r"), SLICE(""), SLICE("\r\n\r\n\r\n\r"), true},
        {SLICE("\n no end"), SLICE(""), SLICE(" no end"), true},
    };

    (void)state;
    check(rows, ROWS(rows));
}

static void test_nul_is_seen_wherever_it_is(void **state)
{
    (void)state;
    assert_false(read_all_ways(SLICE("A: b\r\n\r\nc\r\n")).has_nul);
    assert_true(read_all_ways(SLICE("\0A: b\r\n\r\nc\r\n")).has_nul);
    assert_true(read_all_ways(SLICE("A: b\r\n\r\nc\r\n\0")).has_nul);
}

/* Puts n times. */
static void put_many(struct buf *to, struct slice s, size_t n)
{
    while (n-- > 0)
        assert_int_equal(buf_put(to, s), 0);
}

/* Whatever the size of its buffer, nothing is lost around it. */
static void test_long_lines_and_words(void **state)
{
    struct identity_reader *r = identity_reader_new();
    struct buf in, head;

    (void)state;
    for (size_t n = 2000; n < 2100; n++) {
        buf_init(&in, 1 << 20, false);
        buf_init(&head, 1 << 20, false);
        put_many(&in, SLICE("S: "), 1);
        put_many(&head, SLICE("s:"), 1);
        put_many(&in, SLICE("w"), n);
        put_many(&head, SLICE("w"), n);
        put_many(&in, SLICE(" \r\n  w\r\nT: u\r\n\r\n\n"), 1);
        put_many(&head, SLICE(" w\nt:u\n"), 1);
        put_many(&in, SLICE("x"), n);
        put_many(&in, SLICE("\n"), 1);
        for (size_t then = 1; then <= 1 << 18; then *= 64) {
            struct identity_digest digest = read_cut(r, buf_slice(&in), ALL, 0, then);

            assert_hash(digest.head, hash_stable(buf_slice(&head)));
            buf_release(&head);
            put_many(&head, SLICE("\r\n"), 1);
            put_many(&head, SLICE("x"), n);
            put_many(&head, SLICE("\r\n"), 1);
            assert_hash(digest.text, hash_stable(buf_slice(&head)));
            buf_release(&head);
            put_many(&head, SLICE("s:"), 1);
            put_many(&head, SLICE("w"), n);
            put_many(&head, SLICE(" w\nt:u\n"), 1);
        }
        buf_release(&in);
        buf_release(&head);
    }
    identity_reader_free(&r);
}

static void test_a_header_line_of_a_megabyte(void **state)
{
    struct identity_reader *r = identity_reader_new();
    struct identity_digest digest;
    struct buf in, head;

    (void)state;
    buf_init(&in, 1 << 22, false);
    buf_init(&head, 1 << 22, false);
    put_many(&in, SLICE("Message-ID: 1\r\nN"), 1);
    put_many(&head, SLICE("message-id:1\nn"), 1);
    put_many(&in, SLICE("AME  "), 200000);
    put_many(&head, SLICE("ame "), 199999);
    put_many(&head, SLICE("ame"), 1);
    put_many(&in, SLICE(":"), 1);
    put_many(&head, SLICE(":"), 1);
    put_many(&in, SLICE(" value\r\n"), 200000);
    put_many(&head, SLICE("value "), 199999);
    put_many(&head, SLICE("value\n"), 1);
    digest = read_cut(r, buf_slice(&in), ALL, 100, 16384);
    assert_hash(digest.head, hash_stable(buf_slice(&head)));
    assert_int_equal(digest.size, buf_len(&in));
    buf_release(&in);
    buf_release(&head);
    identity_reader_free(&r);
}

/* --- against a model: the rules of identity.h, one after the other, on the whole message -------
 */

static bool is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Blanks at both ends taken away, others made one space. */
static void model_blanks(struct slice s, bool is_name, struct buf *out)
{
    bool has_some = false, has_white = false;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (is_white(c)) {
            has_white = true;
            continue;
        }
        if (has_some && has_white)
            put_many(out, SLICE(" "), 1);
        if (is_name && c >= 'A' && c <= 'Z')
            c = (char)(c | 0x20);
        put_many(out, slice_of(&c, 1), 1);
        has_some = true;
        has_white = false;
    }
}

static bool model_is_left_out(struct slice name)
{
    static const char *const names[] = {"status", "x-status",       "x-keywords", "x-uid",
                                        "x-uidl", "x-imap",         "x-imapbase", "content-length",
                                        "lines",  "x-mozilla-keys", NULL};

    for (size_t i = 0; names[i]; i++) {
        if (slice_eq(name, slice_str(names[i])))
            return true;
    }
    return false;
}

static bool model_is_mbox(struct slice field)
{
    size_t at = 0;

    while (at < field.n && is_white(field.p[at]))
        at++;
    if (at < field.n && field.p[at] == '>')
        at++;
    if (!slice_eq(slice_sub(field, at, at + 4), SLICE("From")))
        return false;
    at += 4;
    if (at == field.n || !is_white(field.p[at]))
        return false;
    while (at < field.n && is_white(field.p[at]))
        at++;
    return at < field.n && field.p[at] != ':';
}

static void model_field(struct slice field, bool *is_first, struct buf *head)
{
    const char *colon = field.n > 0 ? memchr(field.p, ':', field.n) : NULL;
    size_t name_n = colon ? (size_t)(colon - field.p) : field.n;
    bool was_first = *is_first;
    struct buf name;

    buf_init(&name, 1 << 20, false);
    model_blanks(slice_sub(field, 0, name_n), true, &name);
    if (buf_len(&name) > 0 || colon) {
        *is_first = false;
        if (!(was_first && model_is_mbox(field)) &&
            !(colon && model_is_left_out(buf_slice(&name)))) {
            put_many(head, buf_slice(&name), 1);
            if (colon)
                put_many(head, SLICE(":"), 1);
            model_blanks(slice_sub(field, name_n + 1, field.n), false, head);
            put_many(head, SLICE("\n"), 1);
        }
    }
    buf_release(&name);
}

static void model(struct slice s, struct buf *head, struct buf *text)
{
    size_t field = 0, at = 0;
    bool is_first = true;

    while (at < s.n) {
        const char *lf = memchr(s.p + at, '\n', s.n - at);
        size_t end = lf ? (size_t)(lf - s.p) + 1 : s.n, n = end - at;
        bool is_empty = lf && (n == 1 || (n == 2 && s.p[at] == '\r'));

        if (is_empty || (s.p[at] != ' ' && s.p[at] != '\t')) {
            model_field(slice_sub(s, field, at), &is_first, head);
            field = at;
        }
        at = end;
        if (is_empty) {
            for (size_t i = at; i < s.n; i++) {
                if (s.p[i] == '\n' && (i == at || s.p[i - 1] != '\r'))
                    put_many(text, SLICE("\r"), 1);
                put_many(text, slice_sub(s, i, i + 1), 1);
            }
            return;
        }
    }
    model_field(slice_sub(s, field, s.n), &is_first, head);
}

static void test_random_messages_are_read_as_the_rules_have_it(void **state)
{
    static const struct slice words[] = {
        SLICE("\r\n"),    SLICE("\n"),
        SLICE("\r"),      SLICE(" "),
        SLICE("\t"),      SLICE(":"),
        SLICE("Status"),  SLICE("\r\nLines: "),
        SLICE("From"),    SLICE(">"),
        SLICE("From a"),  SLICE("Abc"),
        SLICE("X-Uid"),   SLICE("\r\n\r\n"),
        SLICE("\r\nS: "), SLICE("a-word-that-is-longer-than-any-name"),
    };
    struct identity_reader *r = identity_reader_new();
    uint64_t random = 1;

    (void)state;
    for (size_t round = 0; round < 30000; round++) {
        struct buf in, head, text;
        struct identity_digest digest;

        buf_init(&in, 1 << 16, false);
        buf_init(&head, 1 << 16, false);
        buf_init(&text, 1 << 16, false);
        for (size_t n = random % 24; n > 0; n--) {
            random = num_mix(random + 1);
            put_many(&in, words[random % ROWS(words)], 1);
        }
        random = num_mix(random + 1);
        model(buf_slice(&in), &head, &text);
        digest = read_cut(r, buf_slice(&in), ALL, random % 7, 1 + random / 7 % 9);
        if (!hash128_eq(digest.head, hash_stable(buf_slice(&head))))
            print_error("of: %.*s\n", SLICE_ARG(buf_slice(&in)));
        assert_hash(digest.head, hash_stable(buf_slice(&head)));
        assert_hash(digest.text, hash_stable(buf_slice(&text)));
        buf_release(&in);
        buf_release(&head);
        buf_release(&text);
    }
    identity_reader_free(&r);
}

static void test_a_reader_that_was_left_in_the_middle_begins_anew(void **state)
{
    struct identity_reader *r = identity_reader_new();
    struct slice message = SLICE("From x\r\nMessage-ID: <1@x>\r\n\r\na\nb");
    struct slice other = SLICE("X: \0y\r\nMessage-ID: z\r\n folded\r\n\r\na\rb\r");
    struct identity_digest whole = read_all_ways(message);

    (void)state;
    for (size_t cut = 0; cut <= other.n; cut++) {
        identity_begin(r, ALL);
        identity_add(r, slice_sub(other, 0, cut));
        assert_digest(read_cut(r, message, ALL, message.n, 1), whole);
    }
    identity_reader_free(&r);
    identity_reader_free(&r);
}

static void test_a_stream_of_pieces_hashes_as_the_whole(void **state)
{
    struct hash_stream *h = hash_stream_new();
    struct slice s = SLICE("The quick brown fox jumps over the lazy dog");

    (void)state;
    assert_non_null(h);
    for (size_t cut = 0; cut <= s.n; cut++) {
        hash_stream_begin(h);
        hash_stream_add(h, SLICE("given up"));
        hash_stream_begin(h);
        hash_stream_add(h, slice_sub(s, 0, cut));
        hash_stream_add(h, (struct slice){0});
        hash_stream_add(h, slice_sub(s, cut, s.n));
        assert_hash(hash_stream_end(h), hash_stable(s));
    }
    hash_stream_begin(h);
    assert_hash(hash_stream_end(h), hash_stable(SLICE("")));
    hash_stream_free(&h);
    assert_null(h);
    hash_stream_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_ends_and_folding_do_not_count),
        cmocka_unit_test(test_fields_that_stores_change_are_left_out_with_their_continuations),
        cmocka_unit_test(test_the_line_of_an_mbox_is_left_out_at_the_beginning_only),
        cmocka_unit_test(test_equal_fields_stay_and_the_order_counts),
        cmocka_unit_test(test_a_header_ends_with_its_first_empty_line_or_the_message),
        cmocka_unit_test(test_what_is_no_field_counts_too),
        cmocka_unit_test(test_a_header_is_weak_without_message_id_unless_it_has_date_and_from),
        cmocka_unit_test(test_lf_alone_counts_as_crlf_in_a_text_and_cr_alone_as_itself),
        cmocka_unit_test(test_nul_is_seen_wherever_it_is),
        cmocka_unit_test(test_long_lines_and_words),
        cmocka_unit_test(test_a_header_line_of_a_megabyte),
        cmocka_unit_test(test_random_messages_are_read_as_the_rules_have_it),
        cmocka_unit_test(test_a_reader_that_was_left_in_the_middle_begins_anew),
        cmocka_unit_test(test_a_stream_of_pieces_hashes_as_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
