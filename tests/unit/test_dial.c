/* Dialling: which of several addresses is reached, and what is told when none is. connect() and
 * socket() are ours where the kernel's way to fail has to be chosen. */
#include "net/dial.h"
#include "net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static int connect_errno; /* not 0: connect() fails on the spot with it */
static unsigned connects;
static struct addr connected_to[DIAL_ADDRESSES];

int connect(int fd, const struct sockaddr *sa, socklen_t len)
{
    struct sockaddr_storage ss;

    memcpy(&ss, sa, len);
    if (connects < DIAL_ADDRESSES)
        connected_to[connects++] = addr_from_sockaddr(&ss);
    if (connect_errno) {
        errno = connect_errno;
        return -1;
    }
    return (int)syscall(SYS_connect, fd, sa, len);
}

static struct loop *loop;
static struct deadline guard;

/* What dial_done() was told. */
static struct {
    unsigned calls;
    int fd;
    struct addr reached;
    struct err err;
} told;

static void on_guard(struct deadline *d)
{
    (void)d;
    fail_msg("nothing has happened for half a minute");
}

static void on_done(void *arg, int fd, const struct addr *reached, const struct err *err)
{
    assert_ptr_equal(arg, &told);
    told.calls++;
    told.fd = fd;
    if (fd >= 0) {
        assert_null(err);
        told.reached = *reached;
    } else {
        assert_null(reached);
        told.err = *err;
    }
    loop_stop(loop);
}

static int setup(void **state)
{
    struct err err;

    (void)state;
    loop = loop_new(&err);
    assert_non_null(loop);
    deadline_init(&guard, on_guard);
    deadline_set(loop, &guard, 30000);
    memset(&told, 0, sizeof told);
    told.fd = -1;
    connects = 0;
    connect_errno = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (told.fd >= 0)
        close(told.fd);
    deadline_clear(&guard);
    loop_free(&loop);
    return 0;
}

static struct addr numeric(const char *ip, uint16_t port)
{
    struct addr a;

    assert_true(addr_parse_ip(slice_str(ip), port, &a));
    return a;
}

static struct addr alive(int *out_fd)
{
    struct addr a = numeric("127.0.0.1", 0);
    struct err err;

    assert_int_equal(listen_open(&a, out_fd, 1, &err), 0);
    return a;
}

/* A port on which nobody listens: bound, so that nobody else gets it. */
static struct addr dead(int *out_fd)
{
    struct addr a = numeric("127.0.0.1", 0);
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;

    *out_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(*out_fd >= 0);
    assert_int_equal(bind(*out_fd, &a.sa, addr_len(&a)), 0);
    assert_int_equal(getsockname(*out_fd, (struct sockaddr *)&ss, &len), 0);
    return addr_from_sockaddr(&ss);
}

/* A listener whose queue is full: the kernel answers no further connection. */
struct hole {
    struct addr addr;
    int fds[4];
};

static struct hole black_hole(void)
{
    struct hole h;

    h.addr = dead(&h.fds[0]);
    assert_int_equal(listen(h.fds[0], 0), 0);
    for (int i = 1; i < 4; i++) {
        h.fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)syscall(SYS_connect, h.fds[i], &h.addr.sa, addr_len(&h.addr));
    }
    return h;
}

static void hole_close(struct hole *h)
{
    for (int i = 0; i < 4; i++)
        close(h->fds[i]);
}

static struct dial_sources *sources;

static struct dial *start(const struct addr *addresses, size_t n, uint32_t timeout_ms)
{
    struct dial *d = dial_start(loop, addresses, n, sources, timeout_ms, on_done, &told);

    assert_non_null(d);
    assert_int_equal(told.calls, 0);
    return d;
}

static void assert_reached(const struct addr *a)
{
    char x[ADDR_TEXT], y[ADDR_TEXT];
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;

    assert_int_equal(told.calls, 1);
    assert_true(told.fd >= 0);
    assert_string_equal(addr_format(&told.reached, x), addr_format(a, y));
    assert_int_equal(getpeername(told.fd, (struct sockaddr *)&ss, &len), 0);
    assert_true(fcntl(told.fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(told.fd, F_GETFD) & FD_CLOEXEC);
}

static void __attribute__((format(printf, 2, 3))) assert_failed(int code, const char *fmt, ...)
{
    char text[508];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    assert_int_equal(told.calls, 1);
    assert_int_equal(told.fd, -1);
    assert_string_equal(told.err.text, text);
    assert_int_equal(told.err.code, code);
}

static void test_a_single_address_is_reached(void **state)
{
    int fd;
    struct addr a = alive(&fd);

    (void)state;
    start(&a, 1, 5000);
    loop_run(loop);
    assert_reached(&a);
    close(fd);
}

static void test_the_second_is_reached_at_once_when_the_first_refuses(void **state)
{
    int fds[2];
    struct addr a[2] = {dead(&fds[0]), alive(&fds[1])};
    uint64_t least_ms = UINT64_MAX;

    (void)state;
    /* A busy machine may be late once, a dial that waits is so each time. */
    for (unsigned i = 0; i < 10 && least_ms >= DIAL_STAGGER_MS; i++) {
        uint64_t begun_ms = loop_now_ms(loop), took_ms;

        memset(&told, 0, sizeof told);
        start(a, 2, 5000);
        loop_run(loop);
        assert_reached(&a[1]);
        took_ms = loop_now_ms(loop) - begun_ms;
        least_ms = took_ms < least_ms ? took_ms : least_ms;
        close(told.fd);
        told.fd = -1;
    }
    assert_true(least_ms < DIAL_STAGGER_MS);
    close(fds[0]);
    close(fds[1]);
}

static void test_the_second_is_reached_after_a_while_when_the_first_is_silent(void **state)
{
    struct hole h = black_hole();
    int fd;
    struct addr a[2] = {h.addr, alive(&fd)};
    uint64_t begun_ms = loop_now_ms(loop);

    (void)state;
    start(a, 2, 20000);
    loop_run(loop);
    assert_reached(&a[1]);
    assert_true(loop_now_ms(loop) - begun_ms >= DIAL_STAGGER_MS);
    close(fd);
    hole_close(&h);
}

static void test_connections_come_from_the_sources_in_turn(void **state)
{
    static const char *const expected[] = {"127.0.0.11", "127.0.0.12", "127.0.0.11"};
    /* The one of the other family is passed over. */
    struct addr mine[3] = {numeric("127.0.0.11", 0), numeric("::1", 0), numeric("127.0.0.12", 0)};
    struct dial_sources from = {mine, 3, 0};
    int fd;
    struct addr a = alive(&fd);

    (void)state;
    sources = &from;
    for (size_t i = 0; i < 3; i++) {
        struct addr peer, local, want;
        int accepted;

        memset(&told, 0, sizeof told);
        start(&a, 1, 5000);
        loop_run(loop);
        assert_reached(&a);
        accepted = listen_accept(fd, &peer, &local);
        assert_true(accepted >= 0);
        want = numeric(expected[i], 0);
        assert_int_equal(peer.in.sin_addr.s_addr, want.in.sin_addr.s_addr);
        close(accepted);
        close(told.fd);
        told.fd = -1;
    }
    sources = NULL;
    close(fd);
}

static void test_a_source_that_is_not_ours_is_a_failure_that_says_so(void **state)
{
    struct addr foreign = numeric("192.0.2.1", 0);
    struct dial_sources from = {&foreign, 1, 0};
    int fd;
    struct addr a = alive(&fd);

    (void)state;
    sources = &from;
    start(&a, 1, 5000);
    loop_run(loop);
    sources = NULL;
    assert_int_equal(told.calls, 1);
    assert_int_equal(told.fd, -1);
    assert_int_equal(told.err.code, EADDRNOTAVAIL);
    close(fd);
}

/* So that nobody holds it against a server one of whose addresses was never tried. */
static void test_a_failure_of_this_machine_is_the_one_that_counts(void **state)
{
    struct addr foreign = numeric("::2", 0);
    struct dial_sources from = {&foreign, 1, 0};
    int fd;
    struct addr a[2] = {dead(&fd), numeric("::1", 143)};

    (void)state;
    sources = &from;
    start(a, 2, 5000);
    loop_run(loop);
    sources = NULL;
    assert_int_equal(told.calls, 1);
    assert_int_equal(told.err.code, EADDRNOTAVAIL);
    assert_true(dial_is_ours(told.err.code));
    assert_false(dial_is_ours(ECONNREFUSED) || dial_is_ours(ETIMEDOUT) || dial_is_ours(0));
    close(fd);
}

static void test_when_all_refuse_each_is_named(void **state)
{
    int fds[2];
    struct addr a[2] = {dead(&fds[0]), dead(&fds[1])};

    (void)state;
    start(a, 2, 5000);
    loop_run(loop);
    assert_failed(ECONNREFUSED,
                  "127.0.0.1:%u: Connection refused; 127.0.0.1:%u: Connection refused",
                  addr_port(&a[0]), addr_port(&a[1]));
    close(fds[0]);
    close(fds[1]);
}

static void test_silence_ends_with_the_deadline(void **state)
{
    struct hole h = black_hole();
    struct addr a[3] = {h.addr, h.addr, h.addr};

    (void)state;
    start(a, 3, 300);
    loop_run(loop);
    assert_failed(ETIMEDOUT,
                  "127.0.0.1:%u: no answer within 300 ms; 127.0.0.1:%u: no answer within 300 ms; "
                  "127.0.0.1:%u: not tried, no time was left",
                  addr_port(&h.addr), addr_port(&h.addr), addr_port(&h.addr));
    hole_close(&h);
}

static void test_the_families_are_tried_by_turns(void **state)
{
    static const char *const given[] = {"::1", "::2", "::3", "127.0.0.1", "127.0.0.2"};
    static const char *const tried[] = {"::1", "127.0.0.1", "::2", "127.0.0.2", "::3"};
    struct addr a[5];

    (void)state;
    for (int i = 0; i < 5; i++)
        a[i] = numeric(given[i], 143);
    connect_errno = ENETUNREACH;
    start(a, 5, 5000);
    loop_run(loop);
    assert_int_equal(connects, 5);
    for (int i = 0; i < 5; i++) {
        struct addr want = numeric(tried[i], 143);
        char x[ADDR_TEXT], y[ADDR_TEXT];

        assert_string_equal(addr_format(&connected_to[i], x), addr_format(&want, y));
    }
    assert_failed(ENETUNREACH, "[::1]:143: Network is unreachable; "
                               "127.0.0.1:143: Network is unreachable; "
                               "[::2]:143: Network is unreachable; "
                               "127.0.0.2:143: Network is unreachable; "
                               "[::3]:143: Network is unreachable");
}

static void test_failures_of_this_machine_say_what_to_do(void **state)
{
    static const struct {
        int code;
        const char *words;
    } rows[] = {
        {EADDRNOTAVAIL,
         "no local port is free towards it; widen the sysctl net.ipv4.ip_local_port_range"},
        {EPERM, "a firewall rule of this machine forbids it"},
        {EACCES, "a firewall rule of this machine forbids it"},
        {ENFILE, "this machine may not open more files; raise the sysctl fs.file-max"},
        {EAFNOSUPPORT, "this machine does not speak that family of addresses"},
    };
    struct addr a = numeric("192.0.2.1", 143);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        connect_errno = rows[i].code;
        told.calls = 0;
        start(&a, 1, 5000);
        loop_run(loop);
        assert_failed(rows[i].code, "192.0.2.1:143: %s", rows[i].words);
    }
}

static void test_too_many_open_files_is_told_from_the_loop(void **state)
{
    struct addr a = numeric("127.0.0.1", 143);
    struct rlimit old, few;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    start(&a, 1, 5000);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    loop_run(loop);
    assert_failed(EMFILE, "127.0.0.1:143: this process may not open more files; raise its limit "
                          "(LimitNOFILE=, ulimit -n)");
}

/* TCP lets two sockets open to each other, and one to itself. */
static void test_a_connection_to_itself_counts_as_refused(void **state)
{
    struct addr a;
    int fd, on = 1;

    (void)state;
    a = dead(&fd);
    close(fd);
    connect_errno = EINPROGRESS;
    start(&a, 1, 5000);
    /* The dial's socket is the lowest free descriptor again. */
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, &a.sa, addr_len(&a)), 0);
    if (syscall(SYS_connect, fd, &a.sa, addr_len(&a)) != 0)
        assert_int_equal(errno, EINPROGRESS);
    loop_run(loop);
    assert_failed(ECONNREFUSED, "127.0.0.1:%u: Connection refused", addr_port(&a));
}

static void on_tick(struct deadline *d)
{
    (void)d;
    loop_stop(loop);
}

static void test_a_cancelled_dial_tells_nobody_and_closes_what_is_open(void **state)
{
    struct hole h = black_hole();
    int fd = dup(0), again;
    struct addr a[2] = {h.addr, h.addr};
    struct dial *d;
    struct deadline tick;

    (void)state;
    close(fd);
    deadline_init(&tick, on_tick);

    /* Before its first turn, with one attempt and with two under way. */
    for (uint64_t after_ms = 0; after_ms < 3 * DIAL_STAGGER_MS; after_ms += DIAL_STAGGER_MS + 60) {
        d = start(a, 2, 20000);
        if (after_ms) {
            deadline_set(loop, &tick, after_ms);
            loop_run(loop);
        }
        dial_cancel(&d);
        assert_null(d);
        dial_cancel(&d);
    }
    deadline_set(loop, &tick, 1);
    loop_run(loop);
    assert_int_equal(told.calls, 0);
    again = dup(0);
    assert_int_equal(again, fd);
    close(again);
    hole_close(&h);
}

static void test_a_dial_that_failed_on_the_spot_can_still_be_cancelled(void **state)
{
    struct addr a = numeric("192.0.2.1", 143);
    struct deadline tick;
    struct dial *d;

    (void)state;
    connect_errno = ENETUNREACH;
    d = start(&a, 1, 5000);
    dial_cancel(&d);
    deadline_init(&tick, on_tick);
    deadline_set(loop, &tick, 3 * LOOP_TICK_MS);
    loop_run(loop);
    assert_int_equal(told.calls, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_single_address_is_reached),
        T(test_the_second_is_reached_at_once_when_the_first_refuses),
        T(test_the_second_is_reached_after_a_while_when_the_first_is_silent),
        T(test_connections_come_from_the_sources_in_turn),
        T(test_a_source_that_is_not_ours_is_a_failure_that_says_so),
        T(test_a_failure_of_this_machine_is_the_one_that_counts),
        T(test_when_all_refuse_each_is_named),
        T(test_silence_ends_with_the_deadline),
        T(test_the_families_are_tried_by_turns),
        T(test_failures_of_this_machine_say_what_to_do),
        T(test_too_many_open_files_is_told_from_the_loop),
        T(test_a_connection_to_itself_counts_as_refused),
        T(test_a_cancelled_dial_tells_nobody_and_closes_what_is_open),
        T(test_a_dial_that_failed_on_the_spot_can_still_be_cancelled),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
