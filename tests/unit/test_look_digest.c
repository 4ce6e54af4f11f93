/* Digests and subjects of messages of a scripted server. */
#include "look_fake.h"

#include "base/num.h"
#include "imap/set.h"
#include "sync/identity.h"
#include "sync/look.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

static const size_t pieces[] = {SIZE_MAX, 1, 7, 64};

/* --- one by one, by a script ------------------------------------------------------------------ */

struct heard {
    struct look_digest all[8];
    size_t n, fails_at;
};

static int on_digest(void *arg, const struct look_digest *digest, struct err *err)
{
    struct heard *h = arg;

    assert_true(h->n < ROWS(h->all));
    h->all[h->n++] = *digest;
    return h->n == h->fails_at ? err_set(err, 0, "enough") : 0;
}

static struct identity_digest read_through(struct slice bytes, unsigned what)
{
    struct identity_reader *r = identity_reader_new();
    struct identity_digest digest;

    identity_begin(r, what);
    identity_add(r, bytes);
    identity_end(r, &digest);
    identity_reader_free(&r);
    return digest;
}

/* Which message must be told, as read through from these bytes. */
struct expected {
    uint32_t uid;
    struct slice bytes;
};

static void digest_script(const struct fake_row *rows, size_t n, const uint32_t *uids,
                          size_t uids_n, bool with_bodies, const struct expected *expected,
                          size_t expected_n)
{
    for (size_t i = 0; i < ROWS(pieces); i++) {
        struct fake_script script = {rows, n, 0};
        struct link l = {.serve = fake_serve_script, .world = &script, .piece = pieces[i]};
        struct heard heard = {0};

        fake_begin(&l);
        assert_int_equal(look_digests(&l, uids, uids_n, with_bodies, on_digest, &heard, NULL), 0);
        assert_int_equal(script.at, n);
        assert_int_equal(heard.n, expected_n);
        for (size_t k = 0; k < heard.n; k++) {
            const struct look_digest *d = &heard.all[k];
            struct identity_digest e = read_through(
                expected[k].bytes,
                with_bodies ? IDENTITY_HEAD | IDENTITY_RAW | IDENTITY_TEXT : IDENTITY_HEAD);

            assert_int_equal(d->uid, expected[k].uid);
            assert_int_equal(d->size, expected[k].bytes.n);
            assert_int_equal(d->is_weak, e.is_weak);
            assert_true(hash128_eq(d->head, e.head) && hash128_eq(d->raw, e.raw) &&
                        hash128_eq(d->text, e.text));
        }
        fake_end(&l);
    }
}

#define DIGEST(uids, with_bodies, expected, ...)                                   \
    do {                                                                           \
        static const struct fake_row rows_[] = {__VA_ARGS__};                      \
        digest_script(rows_, ROWS(rows_), uids, ROWS(uids), with_bodies, expected, \
                      ROWS(expected));                                             \
    } while (0)

static void test_headers_are_read_through(void **state)
{
    static const uint32_t uids[] = {3, 4, 5, 9};
    static const struct expected expected[] = {{3, SLICE("Date: 1\r\nFrom: a\r\n\r\n")},
                                               {9, SLICE("X: y\r\n\r\n")},
                                               {5, SLICE("")},
                                               {4, SLICE("S: q\"\\")}};

    (void)state;
    DIGEST(uids, false, expected,
           {"UID FETCH 3:5,9 (BODY.PEEK[HEADER])",
            "* 1 FETCH (UID 3 BODY[HEADER] {20}\r\nDate: 1\r\nFrom: a\r\n\r\n)\r\n"
            "* 4 FETCH (BODY[HEADER] {8}\r\nX: y\r\n\r\n FLAGS (\\Seen) UID 9)\r\n"
            "* 3 FETCH (UID 5 BODY[HEADER] {0}\r\n)\r\n"
            "* 2 FETCH (BODY[HEADER] \"S: q\\\"\\\\\" UID 4)\r\n"
            "OK done"});
}

static void test_whole_messages_are_read_through(void **state)
{
    static const uint32_t uids[] = {3, 4294967295};
    static const struct expected expected[] = {{4294967295, SLICE("A: b\r\n\r\nc\nd\r\n)\r\n")},
                                               {3, SLICE("A: b\r\n\r\n")}};

    (void)state;
    DIGEST(uids, true, expected,
           {"UID FETCH 3,4294967295 (BODY.PEEK[])",
            "* 9 FETCH (BODY[] {16}\r\nA: b\r\n\r\nc\nd\r\n)\r\n UID 4294967295)\r\n"
            "* 9 FETCH (FLAGS ())\r\n"
            "* 1 EXPUNGE\r\n"
            "* 1 FETCH (UID 3 BODY[] {8}\r\nA: b\r\n\r\n)\r\n"
            "OK done"});
}

static void test_what_is_not_given_is_not_told(void **state)
{
    static const uint32_t uids[] = {3, 4, 5};
    static const struct expected expected[] = {{5, SLICE("A: b\r\n")}};

    (void)state;
    /* NIL; one that is gone; others than asked for; twice; without UID; another part. */
    DIGEST(uids, true, expected,
           {"UID FETCH 3:5 (BODY.PEEK[])",
            "* 1 FETCH (UID 3 BODY[] NIL)\r\n"
            "* 2 FETCH (UID 7 BODY[] {6}\r\nA: c\r\n)\r\n"
            "* 2 FETCH (UID 4 FLAGS ())\r\n"
            "* 2 FETCH (BODY[] {6}\r\nA: c\r\n)\r\n"
            "* 2 FETCH (UID 4 BODY[TEXT] {6}\r\nA: c\r\n)\r\n"
            "* 3 FETCH (BODY[HEADER] {6}\r\nA: c\r\n BODY[] {6}\r\nA: b\r\n UID 5)\r\n"
            "* 3 FETCH (UID 5 BODY[] {6}\r\nA: d\r\n)\r\n"
            "OK done"});
    digest_script(NULL, 0, uids, 0, true, NULL, 0);
}

static void test_a_refused_set_is_asked_for_in_halves_down_to_single_messages(void **state)
{
    static const uint32_t uids[] = {1, 2, 3, 4, 9};
    static const struct expected expected[] = {
        {1, SLICE("A: 1\r\n")}, {4, SLICE("A: 4\r\n")}, {2, SLICE("A: 2\r\n")}};

    (void)state;
    DIGEST(uids, false, expected,
           {"UID FETCH 1:4,9 (BODY.PEEK[HEADER])",
            "* 1 FETCH (UID 1 BODY[HEADER] {6}\r\nA: 1\r\n)\r\nNO Cannot read all of them"},
           {"UID FETCH 2:3 (BODY.PEEK[HEADER])", "NO"},
           {"UID FETCH 4,9 (BODY.PEEK[HEADER])",
            "* 4 FETCH (UID 4 BODY[HEADER] {6}\r\nA: 4\r\n)\r\nBAD no"},
           {"UID FETCH 2 (BODY.PEEK[HEADER])",
            "* 2 FETCH (UID 2 BODY[HEADER] {6}\r\nA: 2\r\n)\r\nOK done"},
           {"UID FETCH 3 (BODY.PEEK[HEADER])", "NO Cannot read it"});
}

static void test_whoever_is_told_may_end_it(void **state)
{
    static const struct fake_row rows[] = {
        {"UID FETCH 1:2 (BODY.PEEK[HEADER])",
         "* 1 FETCH (UID 1 BODY[HEADER] {6}\r\nA: 1\r\n)\r\n"
         "* 2 FETCH (UID 2 BODY[HEADER] {6}\r\nA: 1\r\n)\r\nOK done"}};
    static const uint32_t uids[] = {1, 2};
    struct fake_script script = {rows, 1, 0};
    struct link l = {.serve = fake_serve_script, .world = &script, .piece = SIZE_MAX};
    struct heard heard = {.fails_at = 1};
    struct err err;

    (void)state;
    fake_begin(&l);
    assert_int_equal(look_digests(&l, uids, 2, false, on_digest, &heard, &err), -1);
    assert_string_equal(err.text, "enough");
    assert_int_equal(heard.n, 1);
    fake_end(&l);
}

/* --- many, of a server that cannot read some of them ------------------------------------------ */

enum { MANY = 8000 };

struct mailbox {
    uint32_t uids[MANY];
    bool is_bad[MANY], is_gone[MANY];
    size_t told[MANY];
    size_t refused;
    bool with_bodies;
};

static size_t find_uid(const struct mailbox *m, uint32_t uid)
{
    for (size_t from = 0, to = MANY; from < to;) {
        size_t middle = from + (to - from) / 2;

        if (m->uids[middle] == uid)
            return middle;
        if (m->uids[middle] < uid)
            from = middle + 1;
        else
            to = middle;
    }
    fail_msg("asked for no message: %" PRIu32, uid);
    return 0;
}

/* Messages up to the first that cannot be read, some with the UID behind the body. */
static const char *serve_mailbox(void *world, struct slice command, struct buf *out)
{
    struct mailbox *m = world;
    struct slice set = slice_sub(command, 10, command.n);
    struct set_range range;

    set.n = (size_t)((const char *)memchr(set.p, ' ', set.n) - set.p);
    while (set_next(&set, 0, &range)) {
        for (uint64_t uid = range.first; uid <= range.last; uid++) {
            size_t i = find_uid(m, (uint32_t)uid);

            if (m->is_bad[i]) {
                m->refused++;
                return "NO Cannot read";
            }
            if (m->is_gone[i])
                continue;
            if (i % 2)
                assert_int_equal(
                    buf_printf(out, "* 1 FETCH (UID %" PRIu64 " BODY[%s] {6}\r\nA: b\r\n)\r\n", uid,
                               m->with_bodies ? "" : "HEADER"),
                    0);
            else
                assert_int_equal(
                    buf_printf(out, "* 1 FETCH (BODY[%s] {6}\r\nA: b\r\n UID %" PRIu64 ")\r\n",
                               m->with_bodies ? "" : "HEADER", uid),
                    0);
        }
    }
    assert_int_equal(set.n, 0);
    return "OK done";
}

static int on_mailbox(void *arg, const struct look_digest *digest, struct err *err)
{
    struct mailbox *m = arg;

    (void)err;
    m->told[find_uid(m, digest->uid)]++;
    assert_int_equal(digest->size, 6);
    return 0;
}

static void read_mailbox(bool with_bodies, uint32_t spread, unsigned bad_of_1000)
{
    struct mailbox *m = calloc(1, sizeof(*m));
    struct link l = {.serve = serve_mailbox, .world = m, .piece = SIZE_MAX};
    size_t bad = 0;

    assert_non_null(m);
    m->with_bodies = with_bodies;
    for (uint32_t i = 0; i < MANY; i++) {
        m->uids[i] = UINT32_MAX - (MANY - i) * spread;
        m->is_bad[i] = num_mix(i) % 1000 < bad_of_1000;
        m->is_gone[i] = num_mix(i) % 1000 > 980;
        bad += m->is_bad[i];
    }
    fake_begin(&l);
    assert_int_equal(look_digests(&l, m->uids, MANY, with_bodies, on_mailbox, m, NULL), 0);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(m->told[i], !m->is_bad[i] && !m->is_gone[i]);
    assert_in_range(l.longest, 1, 8000);
    assert_true(m->refused >= bad);
    fake_end(&l);
    free(m);
}

static void test_of_many_messages_all_are_told_that_can_be_read(void **state)
{
    (void)state;
    read_mailbox(false, 1, 0);
    read_mailbox(false, 2, 0);
    read_mailbox(true, 1, 3);
    read_mailbox(false, 2, 3);
    read_mailbox(false, 1, 100);
    read_mailbox(true, 3, 1000);
}

static void test_memory_that_is_out_is_told_and_nothing_is_lost(void **state)
{
    static const struct fake_row rows[] = {
        {"UID FETCH 1:2 (BODY.PEEK[HEADER])", "NO"},
        {"UID FETCH 1 (BODY.PEEK[HEADER])",
         "* 1 FETCH (UID 1 BODY[HEADER] {6}\r\nA: 1\r\n)\r\nOK done"},
        {"UID FETCH 2 (BODY.PEEK[HEADER])",
         "* 2 FETCH (UID 2 BODY[HEADER] {6}\r\nA: 1\r\n)\r\nOK done"}};
    static const uint32_t uids[] = {1, 2};
    size_t fails_at = 1;
    int result;

    (void)state;
    do {
        struct fake_script script = {rows, ROWS(rows), 0};
        struct link l = {
            .serve = fake_serve_script, .world = &script, .piece = SIZE_MAX, .fails_memory = true};
        struct heard heard = {0};

        fake_begin(&l);
        memory.n = 0;
        memory.fails_at = fails_at++;
        memory.is_on = true;
        result = look_digests(&l, uids, 2, false, on_digest, &heard, NULL);
        memory.is_on = false;
        assert_true(result < 0 || heard.n == 2);
        fake_end(&l);
    } while (result < 0);
    assert_true(fails_at > 6);
}

/* --- subjects --------------------------------------------------------------------------------- */

static void test_subjects_are_decoded_for_people(void **state)
{
    static const struct {
        const char *header, *subject;
    } rows[] = {
        {"Subject: Hello\r\n\r\n", "Hello"},
        {"SUBJECT:  Hello \t World \r\n\r\n", "Hello World"},
        {"Subject: a\r\n folded\r\n\tone\r\nOther: no\r\n\r\n", "a folded one"},
        {"Subject: a\n b\n\n", "a b"},
        {"Subject:\r\n\r\n", ""},
        {"Subject:", ""},
        {"\r\n", ""},
        {"", ""},
        /* RFC 2047, section 8. */
        {"Subject: (=?ISO-8859-1?Q?a?=)\r\n\r\n", "(a)"},
        {"Subject: (=?ISO-8859-1?Q?a?= b)\r\n\r\n", "(a b)"},
        {"Subject: (=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)\r\n\r\n", "(ab)"},
        {"Subject: (=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)\r\n\r\n", "(ab)"},
        {"Subject: (=?ISO-8859-1?Q?a?=\r\n =?ISO-8859-1?Q?b?=)\r\n\r\n", "(ab)"},
        {"Subject: (=?ISO-8859-1?Q?a_b?=)\r\n\r\n", "(a b)"},
        {"Subject: (=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?_b?=)\r\n\r\n", "(a b)"},
        {"Subject: =?iso-8859-1?q?Gr=fc=DFe?=\r\n\r\n", "Gr\xc3\xbc\xc3\x9f"
                                                        "e"},
        {"Subject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n\r\n", "Gr\xc3\xbc\xc3\x9f"
                                                      "e"},
        {"Subject: =?utf-8*de?b?R3LDvMOfZQ==?= x\r\n\r\n", "Gr\xc3\xbc\xc3\x9f"
                                                           "e x"},
        {"Subject: =?iso-8859-1?q?=7F=80?=\r\n\r\n", "\\x7f\\u0080"},
        {"Subject: =?us-ascii?Q?a?=\r\n\r\n", "a"},
        {"Subject: =?UTF-8?Q?=C3?= =?UTF-8?Q?=BC?=\r\n\r\n", "\xc3\xbc"},
        {"Subject: =?UTF-8?Q?\?=\r\n\r\n", ""},
        /* What is not known or no good stays. */
        {"Subject: =?KOI8-R?Q?a?=\r\n\r\n", "=?KOI8-R?Q?a?="},
        {"Subject: =?UTF-8?X?a?=\r\n\r\n", "=?UTF-8?X?a?="},
        {"Subject: =?UTF-8?Q?a=g0?=\r\n\r\n", "=?UTF-8?Q?a=g0?="},
        {"Subject: =?UTF-8?Q?a=0?=\r\n\r\n", "=?UTF-8?Q?a=0?="},
        {"Subject: =?UTF-8?B?a?=\r\n\r\n", "=?UTF-8?B?a?="},
        {"Subject: =?UTF-8?Q?a b?=\r\n\r\n", "=?UTF-8?Q?a b?="},
        {"Subject: =?UTF-8?Q?a?\r\n\r\n", "=?UTF-8?Q?a?"},
        {"Subject: =?UTF-8?Q?a?= =?UTF-8?B?!?= b\r\n\r\n", "a =?UTF-8?B?!?= b"},
        /* Safe to show. */
        {"Subject: a\x1b[31m\xe4\r\n\r\n", "a\\x1b[31m\\xe4"},
        {"Subject: =?UTF-8?Q?a=00=0d=0a=1bb?=\r\n\r\n", "a\\x00 \\x1bb"},
        {"Subject: =?UTF-8?B?4oCu?=\r\n\r\n", "\\u202e"},
        {"Subject: \xc3\xbc\xc3\r\n\r\n", "\xc3\xbc\\xc3"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        char subject[200];

        look_subject_decode(slice_str(rows[i].header), subject, sizeof(subject));
        assert_string_equal(subject, rows[i].subject);
    }
}

static void test_a_long_subject_is_cut_at_the_end_of_a_character(void **state)
{
    static const struct {
        size_t cap;
        const char *subject;
    } rows[] = {{1, ""},
                {2, "a"},
                {3, "a"},
                {4, "a\xc3\xbc"},
                {5, "a\xc3\xbc"},
                {6, "a\xc3\xbc b"},
                {9, "a\xc3\xbc b"},
                {10, "a\xc3\xbc b\\x01"},
                {99, "a\xc3\xbc b\\x01"}};
    struct buf header;

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        char subject[100];

        memset(subject, 'x', sizeof(subject));
        look_subject_decode(SLICE("Subject: a\xc3\xbc b\x01\r\n"), subject, rows[i].cap);
        assert_string_equal(subject, rows[i].subject);
    }
    /* A word that is too long to be decoded, and a header that is too long to be read. */
    buf_init(&header, 1 << 20, false);
    assert_int_equal(buf_puts(&header, "Subject: =?ISO-8859-1?Q?"), 0);
    for (size_t i = 0; i < 20000; i++)
        assert_int_equal(buf_puts(&header, "=E4"), 0);
    assert_int_equal(buf_puts(&header, "?=\r\n"), 0);
    for (size_t n = 8; n < buf_len(&header); n += 997) {
        char subject[40];

        look_subject_decode(slice_sub(buf_slice(&header), 0, n), subject, sizeof(subject));
        assert_true(strlen(subject) < sizeof(subject));
    }
    buf_release(&header);
}

static const char *subject_of_7(const char *answer)
{
    static char subject[64];
    const uint32_t uid = 7;
    const struct fake_row rows[] = {{"UID FETCH 7 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])", answer}};

    for (size_t i = 0; i < ROWS(pieces); i++) {
        struct fake_script script = {rows, 1, 0};
        struct link l = {.serve = fake_serve_script, .world = &script, .piece = pieces[i]};
        char before[64];

        strcpy(before, subject);
        fake_begin(&l);
        assert_int_equal(look_subjects(&l, &uid, 1, subject, sizeof(subject), NULL), 0);
        fake_end(&l);
        if (i > 0)
            assert_string_equal(subject, before);
    }
    return subject;
}

static void test_the_subject_of_a_message_is_asked_for(void **state)
{
    (void)state;
    assert_string_equal(subject_of_7("* 1 FETCH (UID 7 BODY[HEADER.FIELDS (SUBJECT)] {14}\r\n"
                                     "Subject: a\r\n\r\n)\r\n"
                                     "* 2 FETCH (FLAGS () UID 8)\r\nOK done"),
                        "a");
    assert_string_equal(subject_of_7("* 2 FETCH (UID 8 BODY[HEADER.FIELDS (SUBJECT)] {14}\r\n"
                                     "Subject: b\r\n\r\n)\r\n"
                                     "* 3 FETCH nothing\r\n"
                                     "* 1 FETCH (UID 7 BODY[HEADER.FIELDS (SUBJECT)] {14}\r\n"
                                     "Subject: a\r\n\r\n)\r\nOK done"),
                        "a");
    assert_string_equal(subject_of_7("* 2 FETCH (UID 8 BODY[HEADER.FIELDS (SUBJECT)] {14}\r\n"
                                     "Subject: b\r\n\r\n)\r\n"
                                     "* 1 FETCH (BODY[HEADER.FIELDS (\"SUBJECT\")] {14}\r\n"
                                     "Subject: a\r\n\r\n UID 7)\r\nOK done"),
                        "a");
    assert_string_equal(
        subject_of_7("* 1 FETCH (UID 7 BODY[HEADER.FIELDS (SUBJECT)] \"Subject: a\")\r\nOK done"),
        "a");
    assert_string_equal(subject_of_7("* 1 FETCH (UID 7 BODY[HEADER.FIELDS (SUBJECT)] NIL)\r\nOK x"),
                        "");
    assert_string_equal(
        subject_of_7("* 1 FETCH (UID 7 BODY[HEADER.FIELDS (SUBJECT)] {2}\r\n\r\n)\r\nOK done"), "");
    assert_string_equal(subject_of_7("OK It is gone"), "");
    assert_string_equal(subject_of_7("* 1 FETCH (UID 7 BODY[HEADER.FIELDS (SUBJECT)] {14}\r\n"
                                     "Subject: a\r\n\r\n)\r\nNO done"),
                        "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers_are_read_through),
        cmocka_unit_test(test_whole_messages_are_read_through),
        cmocka_unit_test(test_what_is_not_given_is_not_told),
        cmocka_unit_test(test_a_refused_set_is_asked_for_in_halves_down_to_single_messages),
        cmocka_unit_test(test_whoever_is_told_may_end_it),
        cmocka_unit_test(test_of_many_messages_all_are_told_that_can_be_read),
        cmocka_unit_test(test_memory_that_is_out_is_told_and_nothing_is_lost),
        cmocka_unit_test(test_subjects_are_decoded_for_people),
        cmocka_unit_test(test_a_long_subject_is_cut_at_the_end_of_a_character),
        cmocka_unit_test(test_the_subject_of_a_message_is_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
