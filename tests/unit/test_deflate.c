/* COMPRESS between two ends, and against streams that zlib's own tools have made. */
#include "cm.h"
#include "no_memory.h"

#include "net/deflate.h"

#include <stdlib.h>
#include <string.h>

enum { MANY = 300000 };

/* What every end of a test may hold at most. */
static struct buf a_buf(size_t max)
{
    struct buf b;

    buf_init(&b, max, false);
    return b;
}

static void assert_holds(const struct buf *b, struct slice expected)
{
    assert_int_equal(buf_len(b), expected.n);
    if (expected.n > 0)
        assert_memory_equal(buf_slice(b).p, expected.p, expected.n);
}

static void move(struct buf *from, struct buf *to)
{
    assert_int_equal(buf_put(to, buf_slice(from)), 0);
    buf_take(from, buf_len(from));
}

/* Writes all of `plain` through rooms of `room` bytes, and flushes. */
static void write_all(struct deflate *d, struct slice plain, size_t room, struct buf *wire)
{
    bool is_flushed = false;

    while (!is_flushed) {
        struct buf out = a_buf(room);
        struct err err;
        size_t used;

        assert_int_equal(deflate_write(d, plain, true, &used, &is_flushed, &out, &err), 0);
        assert_true(is_flushed || buf_left(&out) < DEFLATE_ROOM);
        plain = slice_sub(plain, used, plain.n);
        move(&out, wire);
        buf_release(&out);
    }
    assert_int_equal(plain.n, 0);
}

/* Reads all of `wire` through rooms of `room` bytes. */
static void read_all(struct deflate *d, struct slice wire, size_t room, struct buf *plain)
{
    for (bool is_full = true; is_full;) {
        struct buf out = a_buf(room);
        struct err err;
        size_t used;

        assert_int_equal(deflate_read(d, wire, &used, &out, &err), 0);
        wire = slice_sub(wire, used, wire.n);
        is_full = buf_left(&out) == 0;
        move(&out, plain);
        buf_release(&out);
    }
    assert_int_equal(wire.n, 0);
}

/* Bytes that compress well in parts, and not at all in others. */
static char *mixed(size_t n)
{
    char *bytes = malloc(n);
    uint32_t seed = 1;

    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        bytes[i] = i / 5000 % 2 == 0 ? "From: somebody\r\n"[i % 16] : (char)(seed >> 24);
    }
    return bytes;
}

/* ---- Round trips ---- */

static void test_what_is_written_is_read_through_any_room(void **state)
{
    static const size_t rooms[] = {7, 8, 11, 100, 4096, 1 << 20};
    char *bytes = mixed(MANY);
    struct slice all = slice_of(bytes, MANY);

    (void)state;
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        struct deflate *d = deflate_new();
        struct buf wire = a_buf(2 * MANY), plain = a_buf(MANY);

        write_all(d, all, rooms[i], &wire);
        assert_in_range(buf_len(&wire), MANY / 2, MANY * 3 / 4);
        read_all(d, buf_slice(&wire), rooms[i], &plain);
        assert_holds(&plain, all);
        buf_release(&wire);
        buf_release(&plain);
        deflate_free(&d);
    }
    free(bytes);
}

static void test_stream_is_cut_at_every_byte(void **state)
{
    static const struct slice lines = SLICE("S1 NOOP\r\nS2 NOOP\r\nS3 NOOP\r\nS4 SELECT x\r\n");
    struct deflate *from = deflate_new();
    struct buf wire = a_buf(1000);

    (void)state;
    write_all(from, lines, 1000, &wire);
    for (size_t cut = 0; cut <= buf_len(&wire); cut++) {
        struct deflate *to = deflate_new();
        struct buf plain = a_buf(1000);

        read_all(to, slice_sub(buf_slice(&wire), 0, cut), 1000, &plain);
        read_all(to, slice_sub(buf_slice(&wire), cut, buf_len(&wire)), 1, &plain);
        assert_holds(&plain, lines);
        buf_release(&plain);
        deflate_free(&to);
    }
    buf_release(&wire);
    deflate_free(&from);
}

static void test_each_flush_lets_the_peer_read_all_so_far(void **state)
{
    struct deflate *from = deflate_new(), *to = deflate_new();
    struct buf wire = a_buf(1000), plain = a_buf(1000);

    (void)state;
    for (int i = 0; i < 50; i++) {
        write_all(from, SLICE("S1 NOOP\r\n"), 100, &wire);
        read_all(to, buf_slice(&wire), 100, &plain);
        assert_holds(&plain, SLICE("S1 NOOP\r\n"));
        buf_take(&wire, buf_len(&wire));
        buf_take(&plain, buf_len(&plain));
    }
    buf_release(&wire);
    buf_release(&plain);
    deflate_free(&from);
    deflate_free(&to);
}

/* ---- Flushes ---- */

static size_t put(struct deflate *d, struct slice plain, bool is_all, bool *out_is_flushed)
{
    struct buf wire = a_buf(1 << 16);
    struct err err;
    size_t n, used = 0;

    assert_int_equal(deflate_write(d, plain, is_all, &used, out_is_flushed, &wire, &err), 0);
    assert_int_equal(used, plain.n);
    n = buf_len(&wire);
    buf_release(&wire);
    return n;
}

static void test_nothing_is_flushed_twice(void **state)
{
    struct deflate *d = deflate_new();
    bool is_flushed = false;

    (void)state;
    assert_int_equal(put(d, SLICE(""), true, &is_flushed), 0);
    assert_true(is_flushed);
    assert_int_equal(put(d, SLICE("S1 NOOP\r\n"), false, &is_flushed), 0);
    assert_false(is_flushed);
    assert_int_equal(put(d, SLICE(""), false, &is_flushed), 0);
    assert_false(is_flushed);
    assert_in_range(put(d, SLICE(""), true, &is_flushed), 9, 20);
    assert_true(is_flushed);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(put(d, SLICE(""), true, &is_flushed), 0);
        assert_true(is_flushed);
    }
    deflate_free(&d);
}

static void test_what_was_said_before_a_flush_is_remembered(void **state)
{
    static const struct slice line = SLICE("S1 UID FETCH 1:77 (UID FLAGS BODY.PEEK[HEADER])\r\n");
    struct deflate *d = deflate_new();
    bool is_flushed;

    (void)state;
    assert_in_range(put(d, line, true, &is_flushed), 40, 70);
    assert_in_range(put(d, line, true, &is_flushed), 6, 12);
    deflate_free(&d);
}

static void test_flush_ends_with_one_marker(void **state)
{
    static const struct slice marker = SLICE("\0\0\xff\xff");
    struct deflate *d = deflate_new();
    struct buf wire = a_buf(1000);
    struct slice s;

    (void)state;
    write_all(d, SLICE("S1 NOOP\r\n"), 1000, &wire);
    s = buf_slice(&wire);
    assert_ptr_equal(memmem(s.p, s.n, marker.p, marker.n), s.p + s.n - marker.n);
    buf_release(&wire);
    deflate_free(&d);
}

static void test_too_little_room_changes_nothing(void **state)
{
    struct deflate *d = deflate_new();
    struct buf wire = a_buf(DEFLATE_ROOM - 1);
    struct err err;
    size_t used = 77;
    bool is_flushed = true;

    (void)state;
    assert_int_equal(deflate_write(d, SLICE("abc"), true, &used, &is_flushed, &wire, &err), 0);
    assert_int_equal(used, 0);
    assert_false(is_flushed);
    assert_int_equal(buf_len(&wire), 0);
    buf_release(&wire);
    deflate_free(&d);
}

/* ---- Foreign streams ---- */

/* Of Python: c = zlib.compressobj(9, zlib.DEFLATED, -15); c.compress(b"* OK [CAPABILITY IMAP4rev1]
 * Hello\r\n") + c.flush(zlib.Z_SYNC_FLUSH). */
static const struct slice of_python =
    SLICE("\xd2\x52\xf0\xf7\x56\x88\x76\x76\x0c\x70\x74\xf2\xf4\xf1\x0c\x89\x54\xf0\xf4\x75\x0c\x30"
          "\x29\x4a\x2d\x33\x8c\x55\xf0\x48\xcd\xc9\xc9\xe7\xe5\x02\x00\x00\x00\xff\xff");

static void test_stream_of_another_is_read(void **state)
{
    static const struct slice line = SLICE("* OK [CAPABILITY IMAP4rev1] Hello\r\n");
    struct deflate *d = deflate_new();
    struct buf plain = a_buf(100);

    (void)state;
    for (size_t i = 0; i < of_python.n; i++)
        read_all(d, slice_sub(of_python, i, i + 1), 100, &plain);
    assert_holds(&plain, line);
    buf_release(&plain);
    deflate_free(&d);
}

static void test_bomb_is_bounded_by_the_room(void **state)
{
    char *zeros = calloc(1, 10 << 20);
    struct deflate *d = deflate_new();
    struct buf wire = a_buf(1 << 20), plain = a_buf(5000);
    struct slice left;
    size_t n = 0, used;

    (void)state;
    write_all(d, slice_of(zeros, 10 << 20), 1 << 20, &wire);
    assert_in_range(buf_len(&wire), 1000, 20000);
    left = buf_slice(&wire);
    do {
        struct err err;

        assert_int_equal(deflate_read(d, left, &used, &plain, &err), 0);
        assert_in_range(buf_len(&plain), 0, 5000);
        n += buf_len(&plain);
        left = slice_sub(left, used, left.n);
        buf_take(&plain, buf_len(&plain));
    } while (n < 10 << 20);
    assert_int_equal(left.n, 0);
    buf_release(&wire);
    buf_release(&plain);
    deflate_free(&d);
    free(zeros);
}

static void test_full_room_takes_nothing(void **state)
{
    struct deflate *d = deflate_new();
    struct buf plain = a_buf(3);
    struct err err;
    size_t used = 77;

    (void)state;
    assert_int_equal(buf_puts(&plain, "abc"), 0);
    assert_int_equal(deflate_read(d, of_python, &used, &plain, &err), 0);
    assert_int_equal(used, 0);
    assert_holds(&plain, SLICE("abc"));
    buf_release(&plain);
    deflate_free(&d);
}

/* `words`: with which the error begins. */
static void assert_refused(struct slice wire, const char *words)
{
    struct deflate *d = deflate_new();
    struct buf plain = a_buf(1000);

    for (int i = 0; i < 2; i++) { /* and it stays so */
        struct err err = {0};
        size_t used = 77;

        assert_int_equal(deflate_read(d, wire, &used, &plain, &err), -1);
        assert_int_equal(used, 77);
        assert_memory_equal(err.text, words, strlen(words));
    }
    buf_release(&plain);
    deflate_free(&d);
}

static void test_what_is_no_stream_is_refused(void **state)
{
    (void)state;
    assert_refused(SLICE("* OK in clear\r\n"), "the compressed stream is broken: ");
    assert_refused(SLICE("\xff\xff"), "the compressed stream is broken: ");
    assert_refused(SLICE("\x03\x00"), "the server has ended the compressed stream");
    assert_refused(SLICE("\x03\x00* OK in clear\r\n"),
                   "the server has ended the compressed stream");
}

/* ---- Memory ---- */

static int talk(void)
{
    struct deflate *d = deflate_new();
    struct buf wire = a_buf(1 << 16), plain = a_buf(1 << 16);
    struct err err;
    bool is_flushed;
    size_t used;
    int result =
        d ? deflate_write(d, SLICE("abcabcabc"), true, &used, &is_flushed, &wire, &err) : -1;

    if (result == 0)
        result = deflate_read(d, buf_slice(&wire), &used, &plain, &err);
    if (result == 0)
        assert_holds(&plain, SLICE("abcabcabc"));
    else if (d)
        assert_string_equal(err.text, "no memory for COMPRESS");
    buf_release(&wire);
    buf_release(&plain);
    deflate_free(&d);
    return result;
}

static void test_memory_that_is_out_is_told(void **state)
{
    size_t requests;

    (void)state;
    memory.is_on = true;
    memory.n = memory.fails_at = 0;
    assert_int_equal(talk(), 0);
    requests = memory.n;
    assert_in_range(requests, 3, 20); /* ours; zlib has its own */
    for (size_t i = 1; i <= requests; i++) {
        memory.n = 0;
        memory.fails_at = i;
        assert_int_equal(talk(), -1);
    }
    memory.is_on = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read_through_any_room),
        cmocka_unit_test(test_stream_is_cut_at_every_byte),
        cmocka_unit_test(test_each_flush_lets_the_peer_read_all_so_far),
        cmocka_unit_test(test_nothing_is_flushed_twice),
        cmocka_unit_test(test_what_was_said_before_a_flush_is_remembered),
        cmocka_unit_test(test_flush_ends_with_one_marker),
        cmocka_unit_test(test_too_little_room_changes_nothing),
        cmocka_unit_test(test_stream_of_another_is_read),
        cmocka_unit_test(test_bomb_is_bounded_by_the_room),
        cmocka_unit_test(test_full_room_takes_nothing),
        cmocka_unit_test(test_what_is_no_stream_is_refused),
        cmocka_unit_test(test_memory_that_is_out_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
