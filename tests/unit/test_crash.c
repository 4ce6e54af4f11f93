/* A fault is told in one line of the log, and ends the process by its signal.
 *
 * SIGSYS, which nothing but a sandbox raises, is told in every build; the others only where no
 * sanitizer tells of them. */
#include "base/err.h"
#include "dying.h"
#include "proc/build.h"
#include "proc/crash.h"

#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

/* What the clock shows, if not 0: the linker (--wrap, see meson.build) sends calls here. */
static time_t shown;

int __real_clock_gettime(clockid_t id, struct timespec *out);
int __wrap_clock_gettime(clockid_t id, struct timespec *out);

int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
    if (id != CLOCK_REALTIME || !shown)
        return __real_clock_gettime(id, out);
    *out = (struct timespec){shown, 7 * 1000 * 1000};
    return 0;
}

static volatile int zero;
static volatile char *volatile nowhere = (volatile char *)16;

static bool is_told(int signal)
{
    for (size_t i = 0; i < crash_build.signals_n; i++) {
        if (crash_build.signals[i] == signal)
            return true;
    }
    return false;
}

static void raise_here(int log, const void *signal)
{
    crash_begin("worker", log);
    raise(*(const int *)signal);
    zero = 0; /* so that the call above is not a jump that leaves no frame */
}

static const int sys = SIGSYS;

static void test_a_fault_is_one_line_of_the_log(void **state)
{
    struct end end = end_of(raise_here, &sys);
    char pattern[256];

    (void)state;
    assert_true(is_killed_by(&end, SIGSYS));
    assert_true(is_log_line(end.said));
    snprintf(pattern, sizeof pattern,
             "Z error crashed role=worker pid=%d signal=SIGSYS build_id=[0-9a-f]{40} frames=\"",
             end.pid);
    assert_true(matches(end.said, pattern));
}

static void test_the_date_is_that_of_the_calendar(void **state)
{
    static const char *const days[] = {
        "1970-01-01T00:00:01", "1999-12-31T23:59:59", "2000-02-29T12:00:00", "2000-03-01T00:00:00",
        "2026-11-23T06:12:49", "2027-02-28T23:59:59", "2027-03-01T00:00:00", "2028-02-29T05:04:03",
        "2028-12-31T00:00:00", "2100-02-28T23:59:59", "2100-03-01T00:00:00", "2401-01-01T10:20:30"};

    (void)state;
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        struct tm tm = {0};
        struct end end;
        char begin[64];

        assert_non_null(strptime(days[i], "%Y-%m-%dT%H:%M:%S", &tm));
        shown = timegm(&tm);
        end = end_of(raise_here, &sys);
        shown = 0;
        snprintf(begin, sizeof begin, "%s.007Z error crashed ", days[i]);
        assert_memory_equal(end.said, begin, strlen(begin));
    }
}

static int find_base(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    *(uintptr_t *)out = info->dlpi_addr;
    return 1; /* the first is the program */
}

/* Whether the line has a frame within the first bytes of `function`. */
static bool has_frame_in(const char *line, void (*function)(int, const void *))
{
    const char *at = strstr(line, " frames=\"");
    uintptr_t base, begin;

    dl_iterate_phdr(find_base, &base);
    begin = (uintptr_t)function - base;
    while (at && (at = strpbrk(at + 1, " \""))) {
        char *end;
        unsigned long place = strtoul(at + 1, &end, 16);

        if (end > at + 1 && (*end == ' ' || *end == '"') && place > begin && place < begin + 200)
            return true;
    }
    return false;
}

static void test_frames_are_places_in_the_program(void **state)
{
    struct end end = end_of(raise_here, &sys);

    (void)state;
    assert_true(has_frame_in(end.said, raise_here));
    assert_true(matches(end.said, " frames=\"libc[^ ]*[+]0x[0-9a-f]+ "));
}

/* --- every kind of fault ---------------------------------------------------------------------- */

static void write_nowhere(int log, const void *arg)
{
    (void)arg;
    crash_begin("worker", log);
    *nowhere = 1;
}

static void run_a_trap(int log, const void *arg)
{
    (void)arg;
    crash_begin("worker", log);
    __builtin_trap();
}

static void read_behind_a_file(int log, const void *arg)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    const volatile char *p = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);

    (void)arg;
    crash_begin("worker", log);
    zero = *p != 0;
}

static void abort_here(int log, const void *arg)
{
    (void)arg;
    crash_begin("worker", log);
    abort();
}

static void test_each_fault_is_told_and_ends_the_process_by_its_signal(void **state)
{
    static const struct {
        void (*act)(int log, const void *arg);
        int signal;
        const char *line;
    } rows[] = {
        {write_nowhere, SIGSEGV, " signal=SIGSEGV address=0x10 "},
        {run_a_trap, SIGILL, " signal=SIGILL address=0x[0-9a-f]+ "},
        {read_behind_a_file, SIGBUS, " signal=SIGBUS address=0x[0-9a-f]+ "},
        {abort_here, SIGABRT, " signal=SIGABRT build_id="},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct end end = end_of(rows[i].act, NULL);

        assert_false(is_well(&end));
        if (!is_told(rows[i].signal)) {
            assert_null(strstr(end.said, " crashed "));
            continue;
        }
        assert_true(is_killed_by(&end, rows[i].signal));
        assert_true(is_log_line(end.said));
        assert_true(matches(end.said, rows[i].line));
        assert_true(has_frame_in(end.said, rows[i].act));
    }
}

static void test_a_signal_from_outside_has_no_address(void **state)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};

    (void)state;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct end end = end_of(raise_here, &signals[i]);

        assert_null(strstr(end.said, " address="));
        assert_true(is_told(signals[i]) == (strstr(end.said, " crashed ") != NULL));
    }
}

static void break_an_invariant(int log, const void *arg)
{
    (void)arg;
    crash_begin("worker", log);
    INSIST(zero == 1);
}

static void test_a_broken_invariant_is_named(void **state)
{
    struct end end = end_of(break_an_invariant, NULL);

    (void)state;
    assert_true(is_killed_by(&end, SIGABRT));
    assert_true(
        matches(end.said, "^usher: bug: .*test_crash[.]c:[0-9]+: zero == 1 does not hold\n"));
    if (is_told(SIGABRT))
        assert_true(is_log_line(strchr(end.said, '\n') + 1));
}

/* --- when even telling is hard ---------------------------------------------------------------- */

static int descend(int depth)
{
    volatile char frame[4096];

    frame[0] = (char)depth;
    return zero == 0 ? descend(depth + 1) + frame[0] : 0; /* always, as only we know */
}

static void overflow_the_stack(int log, const void *arg)
{
    (void)arg;
    crash_begin("worker", log);
    zero = descend(0);
}

static void test_a_stack_overflow_is_told(void **state)
{
    struct end end = end_of(overflow_the_stack, NULL);

    (void)state;
    assert_false(is_well(&end));
    if (!is_told(SIGSEGV))
        return;
    assert_true(is_killed_by(&end, SIGSEGV));
    assert_true(is_log_line(end.said));
    assert_true(matches(end.said, " signal=SIGSEGV address=.* frames=\"0x[0-9a-f]+ 0x[0-9a-f]+ "));
}

/* As it is when a buffer on the stack was written over. */
static void lose_the_stack(int log, const void *arg)
{
    (void)arg;
    crash_begin("worker", log);
#if defined __x86_64__
    __asm__ volatile("mov $64, %rsp; mov $64, %rbp; ud2");
#elif defined __aarch64__
    __asm__ volatile("mov x29, #64; mov x30, #64; mov sp, x29; udf #0");
#else
    __builtin_trap();
#endif
}

static void test_with_a_stack_that_cannot_be_read_the_place_is_told_all_the_same(void **state)
{
    struct end end = end_of(lose_the_stack, NULL);

    (void)state;
    assert_false(is_well(&end));
    if (!is_told(SIGILL))
        return;
    assert_true(is_killed_by(&end, SIGILL));
    assert_true(is_log_line(end.said));
    assert_true(matches(end.said, " build_id=[0-9a-f]+ frames=\"0x[0-9a-f]+\"\n$"));
    assert_true(has_frame_in(end.said, lose_the_stack));
}

static void raise_before_a_full_log(int log, const void *arg)
{
    char page[4096] = {0};
    int full[2];

    (void)log;
    (void)arg;
    if (pipe2(full, O_NONBLOCK) < 0)
        _exit(1);
    while (write(full[1], page, sizeof page) > 0)
        ;
    crash_begin("worker", full[1]);
    raise(SIGSYS);
}

static void test_a_log_that_nobody_reads_does_not_keep_the_process(void **state)
{
    struct end end = end_of(raise_before_a_full_log, NULL);

    (void)state;
    assert_true(is_killed_by(&end, SIGSYS));
    assert_string_equal(end.said, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fault_is_one_line_of_the_log),
        cmocka_unit_test(test_the_date_is_that_of_the_calendar),
        cmocka_unit_test(test_frames_are_places_in_the_program),
        cmocka_unit_test(test_each_fault_is_told_and_ends_the_process_by_its_signal),
        cmocka_unit_test(test_a_signal_from_outside_has_no_address),
        cmocka_unit_test(test_a_broken_invariant_is_named),
        cmocka_unit_test(test_a_stack_overflow_is_told),
        cmocka_unit_test(test_with_a_stack_that_cannot_be_read_the_place_is_told_all_the_same),
        cmocka_unit_test(test_a_log_that_nobody_reads_does_not_keep_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
