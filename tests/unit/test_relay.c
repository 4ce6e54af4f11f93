/* The relay between two streams: nothing lost, nothing held while idle, ends passed on, the other's
 * pace kept. */
#include "worker/relay.h"

#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static struct stream from, to;
static int source, sink; /* the peers' ends */
static char scratch[RELAY_SCRATCH];
static struct relay relay;

static void on_event(struct watch *w, unsigned events)
{
    (void)w;
    (void)events;
}

static int setup(void **state)
{
    struct err err;
    int a[2], b[2];

    (void)state;
    loop = loop_new(&err);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b) < 0)
        return -1;
    source = a[0];
    sink = b[0];
    stream_init(&from, a[1], on_event);
    stream_init(&to, b[1], on_event);
    relay = (struct relay){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    relay_done(&relay);
    stream_close(loop, &from);
    stream_close(loop, &to);
    close(source);
    close(sink);
    loop_free(&loop);
    return 0;
}

static enum relay_outcome pump(void)
{
    return relay_pump(&relay, &from, &to, scratch, NULL, NULL);
}

static void test_bytes_pass_and_nothing_is_held(void **state)
{
    char got[16];

    (void)state;
    assert_int_equal(write(source, "a1 NOOP\r\n", 9), 9);
    assert_int_equal(pump(), RELAY_GOES_ON);
    assert_int_equal(read(sink, got, sizeof got), 9);
    assert_memory_equal(got, "a1 NOOP\r\n", 9);
    assert_null(relay.held);
    assert_int_equal(relay.bytes, 9);
    assert_int_equal(relay_wants_from(&relay), LOOP_READ);
    assert_int_equal(relay_wants_to(&relay), 0);
}

static void test_preloaded_bytes_go_first_and_in_order(void **state)
{
    char got[16];

    (void)state;
    assert_int_equal(relay_preload(&relay, SLICE("one "), SLICE("two ")), 0);
    assert_int_equal(write(source, "three", 5), 5);
    assert_int_equal(pump(), RELAY_GOES_ON);
    assert_int_equal(read(sink, got, sizeof got), 13);
    assert_memory_equal(got, "one two three", 13);
    /* Ours are not counted. */
    assert_int_equal(relay.bytes, 9);
}

static void test_full_receiver_stops_reading_and_loses_nothing(void **state)
{
    enum { TOTAL = 4 << 20 };
    char *sent = malloc(TOTAL), *got = malloc(TOTAL);
    size_t in = 0, out = 0, most_held_turns = 0;

    (void)state;
    for (size_t i = 0; i < TOTAL; i++)
        sent[i] = (char)(i * 2654435761U >> 13);
    while (out < TOTAL) {
        ssize_t n = write(source, sent + in, TOTAL - in);

        if (n > 0)
            in += (size_t)n;
        assert_int_equal(pump(), RELAY_GOES_ON);
        if (relay.held) {
            most_held_turns++;
            assert_int_equal(relay_wants_from(&relay), 0);
            assert_int_equal(relay_wants_to(&relay), LOOP_WRITE);
        }
        /* The reader takes an odd little at a time. */
        n = read(sink, got + out, TOTAL - out < 9973 ? TOTAL - out : 9973);
        if (n > 0)
            out += (size_t)n;
    }
    assert_true(most_held_turns > 0);
    assert_memory_equal(sent, got, TOTAL);
    assert_int_equal(pump(), RELAY_GOES_ON);
    assert_null(relay.held);
    free(sent);
    free(got);
}

static void test_end_is_passed_on_only_behind_the_last_byte(void **state)
{
    char big[400000], got[400000];
    size_t out = 0;

    (void)state;
    memset(big, 'x', sizeof big);
    assert_int_equal(relay_preload(&relay, slice_of(NULL, 0), slice_of(big, sizeof big)), 0);
    shutdown(source, SHUT_WR);
    assert_int_equal(pump(), RELAY_GOES_ON);
    assert_non_null(relay.held);
    assert_false(relay.is_finished);
    while (!relay.is_finished) {
        ssize_t n = read(sink, got, sizeof got);

        out += n > 0 ? (size_t)n : 0;
        assert_int_equal(pump(), RELAY_GOES_ON);
    }
    for (ssize_t n; (n = read(sink, got, sizeof got)) != 0;) {
        assert_true(n > 0);
        out += (size_t)n;
    }
    assert_int_equal(out, sizeof big);
    assert_int_equal(relay_wants_from(&relay), 0);
}

static void test_what_is_written_is_followed_but_not_what_is_ours(void **state)
{
    struct follow follow;

    (void)state;
    follow_init(&follow);
    assert_int_equal(relay_preload(&relay, SLICE("a1 OK half"), SLICE("* 1 EXIS")), 0);
    assert_int_equal(relay_pump(&relay, &from, &to, scratch, NULL, &follow), RELAY_GOES_ON);
    assert_false(follow_at_boundary(&follow));
    assert_int_equal(write(source, "TS\r\n", 4), 4);
    assert_int_equal(relay_pump(&relay, &from, &to, scratch, NULL, &follow), RELAY_GOES_ON);
    assert_true(follow_at_boundary(&follow));
}

static void test_unauthenticate_is_not_passed_on(void **state)
{
    struct follow follow;
    char got[64];

    (void)state;
    follow_init(&follow);
    assert_int_equal(write(source, "a1 UNAUTHENTICATE\r\n", 19), 19);
    assert_int_equal(relay_pump(&relay, &from, &to, scratch, &follow, NULL), RELAY_STOPPED);
    assert_int_equal(read(sink, got, sizeof got), -1);
}

static void test_broken_receiver_and_broken_sender_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(write(source, "x", 1), 1);
    shutdown(sink, SHUT_RDWR);
    close(sink);
    sink = -1;
    assert_int_equal(pump(), RELAY_TO_BROKEN);
}

static void test_one_pump_does_not_go_on_for_ever(void **state)
{
    char big[65536];
    int size = 1 << 20;

    (void)state;
    memset(big, 'x', sizeof big);
    setsockopt(source, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(stream_fd(&to), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    while (write(source, big, sizeof big) > 0) {
    }
    assert_int_equal(pump(), RELAY_GOES_ON);
    assert_true(relay.bytes > 0 && relay.bytes <= 8 * RELAY_SCRATCH);
    /* In clear the rest makes an event of its own. */
    assert_false(relay.is_cut_short);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes_pass_and_nothing_is_held, setup, teardown),
        cmocka_unit_test_setup_teardown(test_preloaded_bytes_go_first_and_in_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_full_receiver_stops_reading_and_loses_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_end_is_passed_on_only_behind_the_last_byte, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_is_written_is_followed_but_not_what_is_ours,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_unauthenticate_is_not_passed_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_receiver_and_broken_sender_are_told_apart,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_pump_does_not_go_on_for_ever, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
