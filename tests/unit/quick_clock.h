/* A clock that moves on instead of sleeping: when the loop would wait and nothing is there, the
 * time has passed at once. For tests of timeouts whose peers are on the same loop. */
#ifndef USHER_TESTS_UNIT_QUICK_CLOCK_H
#define USHER_TESTS_UNIT_QUICK_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { REALLY_MS = 5 };

static uint64_t skipped_ms;
static bool is_time_real; /* while what peers do is waited for */

/* These two stand before those of libc, for libev too. */
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

int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
    bool is_short = is_time_real || (timeout_ms >= 0 && timeout_ms < REALLY_MS);
    int wait_ms = is_short ? timeout_ms : REALLY_MS;
    int n = (int)syscall(SYS_epoll_pwait, epfd, events, max, wait_ms, NULL, (size_t)0);

    if (n == 0 && timeout_ms > wait_ms)
        skipped_ms += (uint64_t)(timeout_ms - wait_ms);
    return n;
}

#endif
