/* Counters in shared memory: who counts in it, and who may not. */
#include "metrics/counters.h"

#include "cm.h"
#include "metrics/layout.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int fd;
static struct counters *blocks;

static int setup(void **state)
{
    struct err err;

    (void)state;
    fd = counters_create(&err);
    blocks = fd < 0 ? NULL : counters_map(fd, &err);
    return blocks ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    munmap(blocks, sizeof *blocks * COUNTERS_BLOCKS);
    return close(fd);
}

static void test_fresh_counters_are_zero(void **state)
{
    (void)state;
    for (enum metric i = 0; i < METRIC_COUNT; i++)
        assert_int_equal(counters_total(blocks, i), 0);
}

static void test_a_total_is_over_all_blocks(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNTERS_BLOCKS; i++)
        counters_add(&blocks[i], METRIC_LOGINS, i + 1);
    assert_int_equal(counters_total(blocks, METRIC_LOGINS),
                     COUNTERS_BLOCKS * (COUNTERS_BLOCKS + 1) / 2);
    assert_int_equal(counters_total(blocks, METRIC_SESSIONS), 0);
    assert_int_equal(counters_total(blocks, METRIC_LOGINS_REFUSED), 0);
}

static void test_what_is_counted_outlives_who_counted(void **state)
{
    struct err err;

    (void)state;
    counters_add(&blocks[3], METRIC_BYTES_IN, 1000);
    munmap(blocks, sizeof *blocks * COUNTERS_BLOCKS);
    blocks = counters_map(fd, &err);
    assert_non_null(blocks);
    counters_add(&blocks[3], METRIC_BYTES_IN, 1);
    assert_int_equal(counters_total(blocks, METRIC_BYTES_IN), 1001);
}

/* A retired worker and its successor. The one waits for the other to have begun, so that both are
 * at it at once. */
static void test_two_processes_count_in_one_block_and_lose_nothing(void **state)
{
    enum { PROCESSES = 2, TIMES = 5000000 };
    pid_t pids[PROCESSES];

    (void)state;
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            counters_add(&blocks[1], METRIC_PROBES, 1);
            while (counters_total(blocks, METRIC_PROBES) < PROCESSES)
                ;
            for (int k = 0; k < TIMES; k++)
                counters_add(&blocks[0], METRIC_SESSIONS, 1);
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(counters_total(blocks, METRIC_SESSIONS), PROCESSES * TIMES);
}

static size_t used_of_header(void)
{
    size_t n = offsetof(struct layout, names);

    for (enum metric i = 0; i < METRIC_COUNT; i++)
        n += strlen(metric_name(i)) + 1;
    return n;
}

static void test_no_byte_of_the_header_may_differ(void **state)
{
    (void)state;
    for (size_t at = 0; at < used_of_header(); at++) {
        struct err err = {0};
        char was, is;

        assert_int_equal(pread(fd, &was, 1, (off_t)at), 1);
        is = (char)(was ^ 1);
        assert_int_equal(pwrite(fd, &is, 1, (off_t)at), 1);
        assert_null(counters_map(fd, &err));
        assert_string_not_equal(err.text, "");
        assert_int_equal(pwrite(fd, &was, 1, (off_t)at), 1);
    }
    teardown(NULL);
    assert_int_equal(setup(NULL), 0);
}

static void test_other_metrics_are_told_as_such(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(pwrite(fd, "z", 1, offsetof(struct layout, names)), 1);
    assert_null(counters_map(fd, &err));
    assert_string_equal(err.text, "the counters are of a program with other metrics");
}

/* Who counts may be taken over, and could keep all others from beginning. */
static void test_who_counts_cannot_reach_the_header(void **state)
{
    char before[LAYOUT_HEADER], after[LAYOUT_HEADER];

    (void)state;
    assert_int_equal(pread(fd, before, sizeof before, 0), sizeof before);
    memset(blocks, 0x55, sizeof *blocks * COUNTERS_BLOCKS);
    assert_int_equal(pread(fd, after, sizeof after, 0), sizeof after);
    assert_memory_equal(before, after, sizeof before);
}

static void test_memory_that_is_not_counters_is_an_error(void **state)
{
    int other = memfd_create("other", MFD_CLOEXEC);
    struct err err;

    (void)state;
    assert_null(counters_map(-1, &err));
    assert_null(counters_map(other, &err));
    close(other);
}

static void test_its_size_cannot_be_changed_under_those_who_map_it(void **state)
{
    (void)state;
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, 1 << 20), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fresh_counters_are_zero),
        TEST(test_a_total_is_over_all_blocks),
        TEST(test_what_is_counted_outlives_who_counted),
        TEST(test_two_processes_count_in_one_block_and_lose_nothing),
        TEST(test_no_byte_of_the_header_may_differ),
        TEST(test_other_metrics_are_told_as_such),
        TEST(test_who_counts_cannot_reach_the_header),
        TEST(test_memory_that_is_not_counters_is_an_error),
        TEST(test_its_size_cannot_be_changed_under_those_who_map_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
