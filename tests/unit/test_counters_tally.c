/* Counters of programs with different metrics, added up: what a later or earlier usher has left is
 * written by hand here, rightly and wrongly. */
#include "metrics/tally.h"

#include "cm.h"
#include "metrics/counters.h"
#include "metrics/layout.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct tally *tally;

static int setup(void **state)
{
    (void)state;
    tally = tally_new();
    return tally ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    tally_free(&tally);
    tally_free(&tally); /* harmless */
    return 0;
}

/* --- memories of other programs -------------------------------------------------------------- */

enum { THEIR_BLOCKS = 3 };

/* Another usher's: it knows no LOGINS_DELAYED and all, but one that we do not. */
static const struct layout theirs = {.magic = "usherCN",
                                     .version = 1,
                                     .metrics_n = 4,
                                     .blocks_n = THEIR_BLOCKS,
                                     .block_bytes = 64,
                                     .names = "logins\0elephants\0sessions\0bytes_out"};

static struct layout well(struct layout layout)
{
    layout.magic[7] = 'T';
    return layout;
}

static int memory_of(const void *bytes, size_t n, size_t size, int seals)
{
    int fd = memfd_create("theirs", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(pwrite(fd, bytes, n, 0), n);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static int memory(const struct layout *layout)
{
    const struct layout whole = well(*layout);

    return memory_of(&whole, sizeof whole, LAYOUT_BLOCKS + THEIR_BLOCKS * 64, F_SEAL_SHRINK);
}

/* As their process does. */
static void count(int fd, unsigned block, unsigned metric, uint64_t value)
{
    assert_int_equal(pwrite(fd, &value, sizeof value, LAYOUT_BLOCKS + block * 64 + metric * 8),
                     sizeof value);
}

static uint64_t counted(int fd, unsigned block, unsigned metric)
{
    uint64_t value;

    assert_int_equal(pread(fd, &value, sizeof value, LAYOUT_BLOCKS + block * 64 + metric * 8),
                     sizeof value);
    return value;
}

static void add(int fd)
{
    struct err err;

    assert_int_equal(tally_add(tally, fd, &err), 0);
}

/* As our process does. */
static void count_own(enum metric metric, uint64_t n)
{
    struct err err;
    struct counters *blocks = counters_map(tally_own(tally, &err), &err);

    assert_non_null(blocks);
    counters_add(&blocks[2], metric, n);
    munmap(blocks, sizeof *blocks * COUNTERS_BLOCKS);
}

static void assert_total(enum metric metric, uint64_t n)
{
    assert_int_equal(tally_total(tally, metric), n);
}

/* --- sums ------------------------------------------------------------------------------------ */

static void test_a_first_start_makes_a_memory_of_its_own(void **state)
{
    struct err err;
    int fd = tally_own(tally, &err);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(tally_own(tally, &err), fd);
    assert_int_equal(tally_fd(tally, 0), fd);
    assert_int_equal(tally_fd(tally, 1), -1);
    assert_total(METRIC_LOGINS, 0);
    count_own(METRIC_LOGINS, 5);
    assert_total(METRIC_LOGINS, 5);
}

static void test_values_under_one_name_are_added_up(void **state)
{
    int fd = memory(&theirs);

    (void)state;
    add(fd);
    count(fd, 0, 0, 10);
    count(fd, 1, 0, 20);
    count(fd, 2, 0, 30);
    count(fd, 2, 2, 7);
    count(fd, 0, 3, UINT64_C(1) << 40);
    count_own(METRIC_LOGINS, 1);
    count_own(METRIC_SHED, 2);
    assert_total(METRIC_LOGINS, 61);
    assert_total(METRIC_SESSIONS, 7);
    assert_total(METRIC_BYTES_OUT, UINT64_C(1) << 40);
    assert_total(METRIC_BYTES_IN, 0);
    assert_total(METRIC_SHED, 2);
}

static void test_what_retired_processes_count_goes_on_to_be_seen(void **state)
{
    int fd = memory(&theirs);

    (void)state;
    add(fd);
    count_own(METRIC_LOGINS, 1);
    count(fd, 0, 0, 10);
    assert_total(METRIC_LOGINS, 11);
    count(fd, 0, 0, 12);
    assert_total(METRIC_LOGINS, 13);
}

static void test_metrics_that_we_do_not_know_are_left_as_they_are(void **state)
{
    int fd = memory(&theirs);
    uint64_t sum = 0;

    (void)state;
    add(fd);
    count(fd, 1, 1, 99);
    for (enum metric i = 0; i < METRIC_COUNT; i++)
        sum += tally_total(tally, i);
    assert_int_equal(sum, 0);
    assert_int_equal(counted(tally_fd(tally, 0), 1, 1), 99);
}

/* The next program begins: it is left copies of all descriptors. */
static void begin_next_program(void)
{
    int fds[8], n = 0;

    for (int fd; (fd = tally_fd(tally, (size_t)n)) >= 0; n++)
        fds[n] = dup(fd);
    teardown(NULL);
    setup(NULL);
    for (int i = 0; i < n; i++)
        add(fds[i]);
}

static void test_a_program_that_comes_back_finds_its_own_memory(void **state)
{
    struct err err;
    int other;

    (void)state;
    count_own(METRIC_LOGINS, 5);
    begin_next_program();
    other = memory(&theirs);
    count(other, 0, 0, 100);
    add(other);
    begin_next_program();
    assert_total(METRIC_LOGINS, 105);
    assert_int_equal(tally_own(tally, &err), tally_fd(tally, 0));
    assert_int_equal(tally_fd(tally, 2), -1);
    count_own(METRIC_LOGINS, 1);
    assert_total(METRIC_LOGINS, 106);
}

static void test_many_programs_one_after_another_are_all_counted(void **state)
{
    enum { PROGRAMS = 50 };

    (void)state;
    for (unsigned i = 0; i < PROGRAMS; i++) {
        int fd = memory(&theirs);

        count(fd, i % THEIR_BLOCKS, 0, 2);
        add(fd);
    }
    count_own(METRIC_LOGINS, 1);
    assert_total(METRIC_LOGINS, 2 * PROGRAMS + 1);
}

/* --- lies ------------------------------------------------------------------------------------ */

static int next_fd(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

/* It is told, nothing of it stays, and its descriptor is closed. */
static void assert_refused(int fd, const char *words)
{
    struct err err = {0};

    assert_int_equal(tally_add(tally, fd, &err), -1);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err.text);
    assert_int_equal(tally_fd(tally, 0), -1);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_sizes_that_cannot_be_are_refused(void **state)
{
    static const struct {
        uint32_t metrics_n, blocks_n, block_bytes;
    } lies[] = {
        {4, THEIR_BLOCKS + 1, 64}, /* beyond the end */
        {4, THEIR_BLOCKS, 72},     /* likewise */
        {4, 0, 64},                /* none */
        {4, THEIR_BLOCKS, 0},      /* likewise */
        {4, 1, 24},                /* a block with room for three */
        {9, THEIR_BLOCKS, 64},     /* for eight */
        {4, THEIR_BLOCKS, 60},     /* not aligned */
        {UINT32_MAX, THEIR_BLOCKS, 64},
        {4, UINT32_MAX, 64},
        {4, THEIR_BLOCKS, UINT32_MAX & ~7U},
        {4, 1U << 31, 1U << 31}, /* whose product is none of 64 bits less one */
        {4, 1U << 26, 64},       /* whose product is 0 in 32 */
    };

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct layout layout = theirs;

        layout.metrics_n = lies[i].metrics_n;
        layout.blocks_n = lies[i].blocks_n;
        layout.block_bytes = lies[i].block_bytes;
        assert_refused(memory(&layout), "sizes");
    }
}

static void test_names_that_are_not_whole_are_refused(void **state)
{
    struct layout layout = theirs;

    (void)state;
    layout.metrics_n = 5; /* one more than there are names */
    assert_refused(memory(&layout), "names");
    layout.metrics_n = 4;
    memset(layout.names, 'x', sizeof layout.names);
    assert_refused(memory(&layout), "names");
    memset(layout.names, '\0', 6);
    assert_refused(memory(&layout), "names");
    /* The last name of the header has no end. */
    memset(layout.names, 'x', sizeof layout.names);
    layout.names[1] = layout.names[3] = layout.names[5] = '\0';
    assert_refused(memory(&layout), "names");
    /* Its NUL is the header's last byte: good. */
    layout.names[sizeof layout.names - 1] = '\0';
    add(memory(&layout));
    assert_total(METRIC_LOGINS, 0);
}

static void test_strangers_and_other_versions_are_refused(void **state)
{
    struct layout layout = well(theirs);

    (void)state;
    layout.version = LAYOUT_VERSION + 1;
    assert_refused(memory(&layout), "another version");
    layout = well(theirs);
    layout.magic[0]++;
    assert_refused(memory(&layout), "no counters");
}

static void test_truncated_memories_are_refused(void **state)
{
    static const size_t sizes[] = {0,
                                   1,
                                   LAYOUT_HEADER - 1,
                                   LAYOUT_HEADER,
                                   LAYOUT_BLOCKS - 1,
                                   LAYOUT_BLOCKS,
                                   LAYOUT_BLOCKS + THEIR_BLOCKS * 64 - 1};
    const struct layout layout = well(theirs);

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i] < sizeof layout ? sizes[i] : sizeof layout;

        assert_refused(memory_of(&layout, n, sizes[i], F_SEAL_SHRINK), "counters");
    }
}

/* Who reads behind an end that has come nearer is killed. */
static void test_memory_that_could_shrink_is_refused(void **state)
{
    const struct layout layout = well(theirs);
    int pipes[2];

    (void)state;
    assert_refused(memory_of(&layout, sizeof layout, LAYOUT_BLOCKS + 192, F_SEAL_GROW), "shrink");
    assert_int_equal(pipe(pipes), 0);
    assert_refused(pipes[0], "shrink");
    close(pipes[1]);
    assert_int_equal(tally_add(tally, -1, &(struct err){0}), -1);
}

/* Every byte of the header with every bit turned: refused or read within its bounds, which the
 * sanitizers watch. */
static void test_no_turned_bit_of_a_header_does_harm(void **state)
{
    const struct layout good = well(theirs);

    (void)state;
    for (size_t bit = 0; bit < 8 * (offsetof(struct layout, names) + 40); bit++) {
        struct layout bad = good;
        struct err err;
        int before = next_fd();

        ((char *)&bad)[bit / 8] ^= (char)(1U << bit % 8);
        if (tally_add(tally, memory_of(&bad, sizeof bad, LAYOUT_BLOCKS + 192, F_SEAL_SHRINK),
                      &err) < 0)
            continue;
        for (enum metric i = 0; i < METRIC_COUNT; i++)
            assert_total(i, 0);
        teardown(NULL);
        setup(NULL);
        assert_int_equal(next_fd(), before);
    }
}

/* Who has the memory mapped may write to it at any time. */
static void test_a_header_that_changes_later_changes_nothing(void **state)
{
    int fd = memory(&theirs);
    struct layout lies = theirs;

    (void)state;
    add(fd);
    count(fd, 0, 0, 10);
    lies.blocks_n = lies.block_bytes = lies.metrics_n = UINT32_MAX;
    memset(lies.names, 'x', sizeof lies.names);
    assert_int_equal(pwrite(fd, &lies, sizeof lies, 0), sizeof lies);
    assert_total(METRIC_LOGINS, 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_first_start_makes_a_memory_of_its_own),
        TEST(test_values_under_one_name_are_added_up),
        TEST(test_what_retired_processes_count_goes_on_to_be_seen),
        TEST(test_metrics_that_we_do_not_know_are_left_as_they_are),
        TEST(test_a_program_that_comes_back_finds_its_own_memory),
        TEST(test_many_programs_one_after_another_are_all_counted),
        TEST(test_sizes_that_cannot_be_are_refused),
        TEST(test_names_that_are_not_whole_are_refused),
        TEST(test_strangers_and_other_versions_are_refused),
        TEST(test_truncated_memories_are_refused),
        TEST(test_memory_that_could_shrink_is_refused),
        TEST(test_no_turned_bit_of_a_header_does_harm),
        TEST(test_a_header_that_changes_later_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
