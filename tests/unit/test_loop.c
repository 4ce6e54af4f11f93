/* The event loop: deadlines, watches, signals. The clock is ours and moves on instead of sleeping,
 * so that hours pass in no time; so is epoll_ctl(), which is counted. */
#include "net/loop.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t skipped_ms;
static unsigned epoll_calls;

/* Stand before those of libc, for libev too. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
    int ret = (int)syscall(SYS_clock_gettime, clock, ts);

    ts->tv_sec += (time_t)(skipped_ms / 1000);
    ts->tv_nsec += (long)(skipped_ms % 1000) * 1000000;
    if (ts->tv_nsec >= 1000000000) {
        ts->tv_sec++;
        ts->tv_nsec -= 1000000000;
    }
    return ret;
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    epoll_calls++;
    return (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
    int n = (int)syscall(SYS_epoll_pwait, epfd, events, max, 0, NULL, (size_t)0);

    if (n != 0 || timeout_ms == 0)
        return n;
    /* Only a watch or a signal can end a sleep without an end; libev's own bound is a minute. */
    if (timeout_ms < 0 || timeout_ms > 50000)
        return (int)syscall(SYS_epoll_pwait, epfd, events, max, timeout_ms, NULL, (size_t)0);
    skipped_ms += (uint64_t)timeout_ms;
    return 0;
}

static struct loop *loop;
static unsigned turns;

static void on_turn(void *arg)
{
    ++*(unsigned *)arg;
}

static int setup(void **state)
{
    struct err err;

    (void)state;
    loop = loop_new(&err);
    assert_non_null(loop);
    turns = 0;
    epoll_calls = 0;
    loop_on_turn(loop, on_turn, &turns);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(&loop);
    assert_null(loop);
    loop_free(&loop);
    return 0;
}

/* ---- deadlines ---- */

/* Two ticks, and what a busy machine adds to a clock that does not stand still. */
enum { MARKS = 16, LATE_MS = 2 * LOOP_TICK_MS + 400 };

struct mark {
    struct deadline d;
    uint64_t due_ms;
    char name;
};

static char fired[MARKS + 1];
static size_t fired_n, fired_stop; /* stops the loop when that many have fired */
static uint64_t fired_late_ms;     /* the worst */

static void note(struct mark *m)
{
    uint64_t now_ms = loop_now_ms(loop);

    assert_true(now_ms >= m->due_ms);
    assert_false(deadline_is_set(&m->d));
    if (now_ms - m->due_ms > fired_late_ms)
        fired_late_ms = now_ms - m->due_ms;
    assert_true(fired_n < MARKS);
    fired[fired_n++] = m->name;
    fired[fired_n] = '\0';
    if (fired_n == fired_stop)
        loop_stop(loop);
}

static void on_mark(struct deadline *d)
{
    note(CONTAINER(d, struct mark, d));
}

static void mark_in(struct mark *m, uint64_t in_ms)
{
    m->due_ms = loop_now_ms(loop) + in_ms;
    deadline_set(loop, &m->d, in_ms);
}

static void mark(struct mark *m, char name, uint64_t in_ms)
{
    m->name = name;
    deadline_init(&m->d, on_mark);
    mark_in(m, in_ms);
}

static void run_until_fired(size_t n)
{
    fired_n = 0;
    fired[0] = '\0';
    fired_late_ms = 0;
    fired_stop = n;
    loop_run(loop);
}

static void test_deadlines_fire_in_order_and_not_early(void **state)
{
    struct mark a, b, c;

    (void)state;
    mark(&c, 'c', 210);
    mark(&a, 'a', 10);
    mark(&b, 'b', 110);
    run_until_fired(3);
    assert_string_equal(fired, "abc");
    assert_true(fired_late_ms <= LATE_MS);
}

static void test_the_loop_sleeps_through_empty_ticks(void **state)
{
    struct mark soon, far;

    (void)state;
    mark(&soon, 's', 600);
    mark(&far, 'f', 1800000);
    run_until_fired(1);
    assert_string_equal(fired, "s");
    /* One sleep, a wake for the fold of the far one at most, one timer that may be a little early,
     * and the call before the end. Twelve ticks have passed. */
    assert_true(turns <= 5);
    deadline_clear(&far.d);
}

static void test_a_deadline_of_zero_fires_soon_but_from_the_loop(void **state)
{
    struct mark m;

    (void)state;
    fired_n = 0;
    mark(&m, 'm', 0);
    assert_int_equal(fired_n, 0);
    assert_true(deadline_is_set(&m.d));
    run_until_fired(1);
    assert_string_equal(fired, "m");
}

static void test_a_moved_deadline_fires_once_at_its_new_time(void **state)
{
    struct mark moved, last;

    (void)state;
    mark(&moved, 'm', 20);
    mark(&last, 'l', 200);
    mark_in(&moved, 120);
    run_until_fired(2);
    assert_string_equal(fired, "ml");
}

static void test_a_cleared_deadline_does_not_fire(void **state)
{
    struct mark gone, last;

    (void)state;
    mark(&gone, 'g', 20);
    mark(&last, 'l', 120);
    deadline_clear(&gone.d);
    deadline_clear(&gone.d);
    assert_false(deadline_is_set(&gone.d));
    run_until_fired(1);
    assert_string_equal(fired, "l");
}

static void on_again(struct deadline *d)
{
    struct mark *m = CONTAINER(d, struct mark, d);

    note(m);
    if (fired_n < fired_stop)
        mark_in(m, fired_n == 1 ? 0 : LOOP_TICK_MS);
}

static void test_a_deadline_may_set_itself_anew(void **state)
{
    struct mark m;

    (void)state;
    /* At any distance from a tick, also right on it. */
    for (unsigned phase = 0; phase < LOOP_TICK_MS; phase++) {
        skipped_ms++;
        mark(&m, 'm', 10);
        m.d.cb = on_again;
        run_until_fired(4);
        assert_string_equal(fired, "mmmm");
        assert_true(fired_late_ms <= LATE_MS);
    }
}

static struct mark *victim;

static void on_killer(struct deadline *d)
{
    note(CONTAINER(d, struct mark, d));
    deadline_clear(&victim->d);
    free(victim);
    victim = NULL;
}

static void test_a_callback_may_free_another_deadline_of_the_same_tick(void **state)
{
    struct mark killer, last;

    (void)state;
    victim = calloc(1, sizeof *victim);
    assert_non_null(victim);
    mark(&killer, 'k', 60);
    mark(victim, 'v', 60);
    mark(&last, 'l', 60);
    killer.d.cb = on_killer;
    run_until_fired(2);
    assert_string_equal(fired, "kl");
}

static void on_mover(struct deadline *d)
{
    note(CONTAINER(d, struct mark, d));
    mark_in(victim, LOOP_TICK_MS);
}

static void test_a_callback_may_move_another_deadline_of_the_same_tick(void **state)
{
    struct mark mover, moved, last;

    (void)state;
    victim = &moved;
    mark(&mover, 'k', 60);
    mark(&moved, 'm', 60);
    mark(&last, 'l', 60);
    mover.d.cb = on_mover;
    run_until_fired(3);
    assert_string_equal(fired, "klm");
}

/* Lets an hour pass while the process does nothing, as SIGSTOP does. */
static void on_stopped_process(struct deadline *d)
{
    (void)d;
    skipped_ms += 3600000;
}

static void test_all_that_came_due_while_the_process_was_stopped_fires_in_order(void **state)
{
    struct mark near, far, farther, later;
    struct deadline stop;

    (void)state;
    mark(&farther, 'c', 3590000);
    mark(&far, 'b', 1800000);
    mark(&near, 'a', 1000);
    mark(&later, 'd', 3601000);
    deadline_init(&stop, on_stopped_process);
    deadline_set(loop, &stop, 1);
    run_until_fired(3);
    assert_string_equal(fired, "abc");
    assert_true(deadline_is_set(&later.d));
    run_until_fired(1);
    assert_string_equal(fired, "d");
    assert_true(fired_late_ms <= LATE_MS);
}

static void test_a_deadline_lasts_as_many_rotations_as_it_takes(void **state)
{
    struct mark a, b, c;

    (void)state;
    mark(&b, 'b', UINT64_C(25600) * 5);
    mark(&c, 'c', UINT64_C(25600) * 70 + 30);
    mark(&a, 'a', UINT64_C(25600) + 20);
    run_until_fired(3);
    assert_string_equal(fired, "abc");
    assert_true(fired_late_ms <= LATE_MS);
    /* A wake for each rotation of each at most, two turns each. */
    assert_true(turns <= 2 * (2 + 6 + 71));
}

static void test_a_deadline_after_a_long_idle_time_is_not_early(void **state)
{
    struct mark a, b;

    (void)state;
    mark(&a, 'a', 1);
    run_until_fired(1);
    skipped_ms += 10000000;
    mark(&b, 'b', 100);
    run_until_fired(1);
    assert_string_equal(fired, "b");
    assert_true(fired_late_ms <= LATE_MS);
}

static void test_a_nearer_deadline_wakes_a_wheel_that_sleeps_for_a_farther_one(void **state)
{
    struct mark far, near;

    (void)state;
    mark(&far, 'f', 20000);
    skipped_ms += 15000;
    mark(&near, 'n', 100);
    run_until_fired(1);
    assert_string_equal(fired, "n");
    assert_true(fired_late_ms <= LATE_MS);
    deadline_clear(&far.d);
}

static void test_a_deadline_for_ever_does_not_wrap_around(void **state)
{
    struct mark ever, soon;

    (void)state;
    ever.name = 'e';
    deadline_init(&ever.d, on_mark);
    deadline_set(loop, &ever.d, UINT64_MAX);
    mark(&soon, 's', 10);
    run_until_fired(1);
    assert_string_equal(fired, "s");
    deadline_clear(&ever.d);
}

/* Random times, random moves: every one fires once, in the order of ticks. */
static void test_many_deadlines_fire_in_the_order_of_their_ticks(void **state)
{
    static struct mark marks[MARKS];
    uint64_t at_ms[MARKS];
    unsigned seed = 7;

    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < MARKS; i++) {
            seed = seed * 1103515245 + 12345;
            mark(&marks[i], (char)('a' + i), (uint64_t)(seed >> 8) % 200000);
            if (i % 3 == 0)
                mark_in(&marks[i], (uint64_t)(seed >> 12) % 60000);
        }
        for (unsigned i = 0; i < MARKS; i++)
            at_ms[i] = marks[i].due_ms;
        run_until_fired(MARKS);
        for (unsigned i = 1; i < MARKS; i++)
            assert_true((at_ms[fired[i - 1] - 'a'] + LOOP_TICK_MS - 1) / LOOP_TICK_MS <=
                        (at_ms[fired[i] - 'a'] + LOOP_TICK_MS - 1) / LOOP_TICK_MS);
        assert_int_equal(strlen(fired), MARKS);
    }
}

/* ---- watches ---- */

struct end {
    struct watch w;
    int fd;
    unsigned calls, events;
    struct end *kills;
};

static void on_end(struct watch *w, unsigned events)
{
    struct end *e = CONTAINER(w, struct end, w);

    e->calls++;
    e->events = events;
    if (e->kills) {
        watch_set(loop, &e->kills->w, 0);
        close(e->kills->fd);
        e->kills->fd = -1;
    }
    loop_stop(loop);
}

static void pair(struct end *a, struct end *b)
{
    int fds[2];

    memset(a, 0, sizeof *a);
    memset(b, 0, sizeof *b);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    a->fd = fds[0];
    b->fd = fds[1];
    watch_init(&a->w, a->fd, on_end);
    watch_init(&b->w, b->fd, on_end);
}

static void end_close(struct end *e)
{
    watch_set(loop, &e->w, 0);
    if (e->fd >= 0)
        close(e->fd);
}

static void test_a_watch_tells_what_came_and_again_as_long_as_it_lasts(void **state)
{
    struct end a, b;

    (void)state;
    pair(&a, &b);
    assert_int_equal(write(b.fd, "x", 1), 1);
    watch_set(loop, &a.w, LOOP_READ);
    loop_run(loop);
    assert_int_equal(a.events, LOOP_READ);
    loop_run(loop);
    assert_int_equal(a.calls, 2);
    watch_set(loop, &a.w, LOOP_READ | LOOP_WRITE);
    loop_run(loop);
    assert_int_equal(a.events, LOOP_READ | LOOP_WRITE);
    end_close(&a);
    end_close(&b);
}

static void on_tick_stop(struct deadline *d)
{
    (void)d;
    loop_stop(loop);
}

static void test_watching_costs_a_system_call_only_when_something_changes(void **state)
{
    struct end a, b;
    struct deadline d;

    (void)state;
    pair(&a, &b);
    deadline_init(&d, on_tick_stop);
    watch_set(loop, &a.w, LOOP_READ);
    deadline_set(loop, &d, 1);
    loop_run(loop);
    assert_int_equal(epoll_calls, 1);
    for (unsigned i = 0; i < 100; i++) {
        watch_set(loop, &a.w, LOOP_READ);
        watch_set(loop, &a.w, LOOP_READ | LOOP_WRITE);
        watch_set(loop, &a.w, 0);
        watch_set(loop, &a.w, LOOP_READ);
    }
    deadline_set(loop, &d, 1);
    loop_run(loop);
    assert_int_equal(epoll_calls, 1);
    watch_set(loop, &a.w, LOOP_WRITE);
    loop_run(loop);
    assert_int_equal(epoll_calls, 2);
    end_close(&a);
    end_close(&b);
}

static void test_a_watch_that_another_callback_stopped_in_the_same_turn_is_not_called(void **state)
{
    struct end a, b;

    (void)state;
    pair(&a, &b);
    a.kills = &b;
    b.kills = &a;
    watch_set(loop, &a.w, LOOP_WRITE);
    watch_set(loop, &b.w, LOOP_WRITE);
    loop_run(loop);
    assert_int_equal(a.calls + b.calls, 1);
    end_close(&a);
    end_close(&b);
}

static void test_a_new_descriptor_of_the_same_number_is_watched(void **state)
{
    struct end a, b, c, d;

    (void)state;
    pair(&a, &b);
    watch_set(loop, &a.w, LOOP_WRITE);
    loop_run(loop);
    end_close(&a);
    end_close(&b);
    pair(&c, &d);
    assert_int_equal(c.fd, a.fd);
    watch_set(loop, &c.w, LOOP_WRITE);
    loop_run(loop);
    assert_int_equal(c.calls, 1);
    assert_int_equal(a.calls, 1);
    end_close(&c);
    end_close(&d);
}

static void test_a_hang_up_shows_as_what_is_watched_for(void **state)
{
    struct end a, b;

    (void)state;
    pair(&a, &b);
    end_close(&b);
    watch_set(loop, &a.w, LOOP_READ);
    loop_run(loop);
    assert_int_equal(a.events, LOOP_READ);
    end_close(&a);
}

/* ---- signals ---- */

static int signalled;

static void on_signal(void *arg, int signal)
{
    signalled = signal;
    assert_ptr_equal(arg, &signalled);
    loop_stop(loop);
}

static void test_a_signal_is_told_from_the_loop(void **state)
{
    struct err err;

    (void)state;
    signalled = 0;
    assert_int_equal(loop_on_signal(loop, SIGUSR1, on_signal, &signalled, &err), 0);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(signalled, 0);
    loop_run(loop);
    assert_int_equal(signalled, SIGUSR1);
}

static void test_children_are_left_to_us_to_reap(void **state)
{
    struct err err;
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(loop_on_signal(loop, SIGCHLD, on_signal, &signalled, &err), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(7);
    loop_run(loop);
    assert_int_equal(signalled, SIGCHLD);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 7);
}

static void test_a_write_to_a_gone_peer_does_not_kill_the_process(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    assert_int_equal(write(fds[1], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    close(fds[1]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_deadlines_fire_in_order_and_not_early),
        T(test_the_loop_sleeps_through_empty_ticks),
        T(test_a_deadline_of_zero_fires_soon_but_from_the_loop),
        T(test_a_moved_deadline_fires_once_at_its_new_time),
        T(test_a_cleared_deadline_does_not_fire),
        T(test_a_deadline_may_set_itself_anew),
        T(test_a_callback_may_free_another_deadline_of_the_same_tick),
        T(test_a_callback_may_move_another_deadline_of_the_same_tick),
        T(test_all_that_came_due_while_the_process_was_stopped_fires_in_order),
        T(test_a_deadline_lasts_as_many_rotations_as_it_takes),
        T(test_a_deadline_after_a_long_idle_time_is_not_early),
        T(test_a_nearer_deadline_wakes_a_wheel_that_sleeps_for_a_farther_one),
        T(test_a_deadline_for_ever_does_not_wrap_around),
        T(test_many_deadlines_fire_in_the_order_of_their_ticks),
        T(test_a_watch_tells_what_came_and_again_as_long_as_it_lasts),
        T(test_watching_costs_a_system_call_only_when_something_changes),
        T(test_a_watch_that_another_callback_stopped_in_the_same_turn_is_not_called),
        T(test_a_new_descriptor_of_the_same_number_is_watched),
        T(test_a_hang_up_shows_as_what_is_watched_for),
        T(test_a_signal_is_told_from_the_loop),
        T(test_children_are_left_to_us_to_reap),
        T(test_a_write_to_a_gone_peer_does_not_kill_the_process),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
