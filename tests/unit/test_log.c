/* The log: what peers sent cannot break a line, and a reader that does not read stalls nobody. */
#include "base/log.h"

#include "cm.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fds[2];

static int open_pipe(void **state)
{
    (void)state;
    if (pipe(fds) < 0)
        return -1;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    log_open(fds[1], LEVEL_INFO);
    log_on_dropped(NULL, NULL);
    return 0;
}

static int close_pipe(void **state)
{
    (void)state;
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* What stands in the pipe, behind the time stamp if it is one line. */
static const char *written(void)
{
    static char text[8192];
    ssize_t n = read(fds[0], text, sizeof text - 1);

    if (n <= 0)
        return "";
    text[n] = '\0';
    return text[0] == '2' ? text + strlen("2026-11-23T06:12:49.123Z ") : text;
}

static void put(struct slice user)
{
    struct log_line l;

    log_begin(&l, LOG_LOGIN);
    log_slice(&l, "user", user);
    log_end(&l);
}

static void test_line_has_level_event_and_pairs(void **state)
{
    struct log_line l;
    struct addr a;

    (void)state;
    assert_true(addr_parse_ip(SLICE("2001:db8::1"), 143, &a));
    log_begin(&l, LOG_LOGIN);
    log_str(&l, "user", "ann@example.org");
    log_addr(&l, "client", &a);
    log_uint(&l, "attempts", 18446744073709551615U);
    log_str(&l, "backend", "");
    log_end(&l);
    assert_string_equal(written(), "info login user=ann@example.org client=[2001:db8::1]:143 "
                                   "attempts=18446744073709551615\n");
}

static void test_values_are_quoted_when_they_must_be(void **state)
{
    (void)state;
    put(SLICE("a b"));
    assert_string_equal(written(), "info login user=\"a b\"\n");
    put(SLICE("a\"b\\c=d"));
    assert_string_equal(written(), "info login user=\"a\\\"b\\\\c=d\"\n");
    put(SLICE("x\r\n2026 info login user=mallory"));
    assert_string_equal(written(), "info login user=\"x\\r\\n2026 info login user=mallory\"\n");
    put(slice_of("nul\0\x1b[31m\x7f\t", 11));
    assert_string_equal(written(), "info login user=\"nul\\x00\\x1b[31m\\x7f\\t\"\n");
    /* UTF-8 stays readable; bad bytes and C1 controls do not pass. */
    put(SLICE("j\xc3\xbcrgen"));
    assert_string_equal(written(), "info login user=j\xc3\xbcrgen\n");
    put(SLICE("\xc2\x9b\xff"));
    assert_string_equal(written(), "info login user=\"\\xc2\\x9b\\xff\"\n");
}

static void test_too_long_a_value_is_left_out_and_the_line_ends(void **state)
{
    char big[LOG_LINE + 100];
    const char *line;

    (void)state;
    memset(big, 'a', sizeof big);
    put(slice_of(big, sizeof big));
    line = written();
    assert_true(strlen(line) < LOG_LINE);
    assert_int_equal(line[strlen(line) - 1], '\n');
}

static void test_long_value_of_a_peer_does_not_push_the_keys_behind_it_out(void **state)
{
    struct log_line l;
    char user[512];
    struct addr a;

    (void)state;
    memset(user, 1, sizeof user);
    assert_true(addr_parse_ip(SLICE("192.0.2.1"), 143, &a));
    log_begin(&l, LOG_SESSION_END);
    log_slice(&l, "user", slice_of(user, sizeof user));
    log_addr(&l, "client", &a);
    log_end(&l);
    assert_non_null(strstr(written(), "...\" client=192.0.2.1:143\n"));
}

static void test_lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    log_detail(LOG_DEBUG, "detail %d", 1);
    assert_string_equal(written(), "");
    log_open(fds[1], LEVEL_DEBUG);
    log_detail(LOG_DEBUG, "detail %d", 1);
    assert_string_equal(written(), "debug debug detail=\"detail 1\"\n");
}

static uint64_t dropped;

static void count(void *arg, uint64_t lines)
{
    (void)arg;
    dropped += lines;
}

/* More than a pipe and the buffer hold. */
enum { LINES = 120000 };

static void test_stalled_reader_loses_lines_and_is_told_how_many(void **state)
{
    char *all = malloc(16 << 20);
    size_t n = 0;
    uint64_t lines = 0;
    char expected[64];

    (void)state;
    log_on_dropped(count, NULL);
    dropped = 0;
    for (int i = 0; i < LINES; i++)
        log_detail(LOG_FATAL, "line %d", i);
    assert_true(dropped > 0 && dropped < LINES);
    /* The reader comes back: what was kept is whole, in order, and the loss is told. */
    while (log_is_waiting() || n == 0) {
        ssize_t got;

        log_flush();
        while ((got = read(fds[0], all + n, (16 << 20) - 1 - n)) > 0)
            n += (size_t)got;
    }
    all[n] = '\0';
    for (char *at = all; (at = memmem(at, (size_t)(all + n - at), "fatal detail=", 13)); at++)
        lines++;
    assert_int_equal(lines + dropped, LINES);
    snprintf(expected, sizeof expected, "log_dropped lines=%llu\n", (unsigned long long)dropped);
    assert_non_null(strstr(all, expected));
    free(all);
}

static void test_lines_that_waited_leave_whole_since_others_write_between_them(void **state)
{
    char text[PIPE_BUF * 2];
    unsigned pieces = 0;

    (void)state;
    for (int i = 0; i < 1500; i++)
        log_detail(LOG_FATAL, "line %d", i);
    assert_true(log_is_waiting());
    while (log_is_waiting()) {
        ssize_t n = read(fds[0], text, PIPE_BUF);

        assert_true(n > 0);
        log_flush();
        pieces++;
        /* Another process writes whenever there is room; its line must never land inside one of
         * ours. */
        if (write(fds[1], "other\n", 6) < 0)
            continue;
    }
    assert_true(pieces > 1);
    for (ssize_t n; (n = read(fds[0], text, sizeof text)) > 0;) {
        for (char *at = text; (at = memmem(at, (size_t)(text + n - at), "other\n", 6)); at += 6)
            assert_true(at == text || at[-1] == '\n');
    }
}

static void test_stalled_socket_is_no_different(void **state)
{
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    log_open(pair[1], LEVEL_INFO);
    log_on_dropped(count, NULL);
    dropped = 0;
    for (int i = 0; i < LINES; i++)
        log_detail(LOG_FATAL, "line %d with some more words to fill the socket sooner", i);
    assert_true(dropped > 0);
    close(pair[0]);
    close(pair[1]);
}

static void test_reopened_description_does_not_block_and_leaves_the_other_alone(void **state)
{
    int plain[2], own;

    (void)state;
    assert_int_equal(pipe(plain), 0);
    own = log_reopen(plain[1]);
    assert_true(own != plain[1]);
    assert_true(fcntl(own, F_GETFL) & O_NONBLOCK);
    assert_false(fcntl(plain[1], F_GETFL) & O_NONBLOCK);
    close(own);
    close(plain[0]);
    close(plain[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line_has_level_event_and_pairs, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_values_are_quoted_when_they_must_be, open_pipe,
                                        close_pipe),
        cmocka_unit_test_setup_teardown(test_too_long_a_value_is_left_out_and_the_line_ends,
                                        open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(
            test_long_value_of_a_peer_does_not_push_the_keys_behind_it_out, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_lines_below_the_level_are_not_written, open_pipe,
                                        close_pipe),
        cmocka_unit_test_setup_teardown(test_stalled_reader_loses_lines_and_is_told_how_many,
                                        open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(
            test_lines_that_waited_leave_whole_since_others_write_between_them, open_pipe,
            close_pipe),
        cmocka_unit_test_setup_teardown(test_stalled_socket_is_no_different, open_pipe, close_pipe),
        cmocka_unit_test(test_reopened_description_does_not_block_and_leaves_the_other_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
