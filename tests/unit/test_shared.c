/* The table of notes in shared memory: what it remembers, forgets, and does not believe. */
#include "control/shared.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* Of the header, what is not padding: magic, version, sizes, salt, check. */
enum { SHARED_USED = 48 };

static int fd;
static struct shared *shared;
static const char *lost;

static int setup(void **state)
{
    struct err err;

    (void)state;
    fd = shared_create(&err);
    return fd < 0 || shared_map(fd, &shared, &lost, &err) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    shared_unmap(&shared);
    return close(fd);
}

/* As the next control does. */
static void map_again(void)
{
    struct err err;

    shared_unmap(&shared);
    assert_null(shared);
    assert_int_equal(shared_map(fd, &shared, &lost, &err), 0);
}

static struct hash128 key(uint64_t i)
{
    /* All in one bucket when `i` is a multiple of SHARED_SLOTS. */
    return (struct hash128){i * 7919, i};
}

static bool find(struct hash128 k, uint64_t now_s)
{
    struct shared_note found;

    return shared_find(shared, k, now_s, 900, &found);
}

static bool has(struct hash128 k, uint64_t now_s, uint64_t value)
{
    struct shared_note found;

    return shared_find(shared, k, now_s, 900, &found) && found.value == value;
}

static void put(struct hash128 k, uint64_t value, uint32_t now_s)
{
    const struct shared_note note = {value, now_s};

    shared_put(shared, k, &note, NULL, NULL);
}

static void test_fresh_memory_is_empty(void **state)
{

    (void)state;
    assert_null(lost);
    assert_false(find(key(1), 100));
    assert_false(find((struct hash128){0, 0}, 0));
}

static void test_what_is_noted_is_found_until_it_is_too_old(void **state)
{

    (void)state;
    put(key(1), 42, 1000);
    assert_true(has(key(1), 1000, 42));
    assert_true(has(key(1), 1900, 42));
    assert_false(find(key(1), 1901));
    assert_false(find(key(2), 1000));
    /* From another boot's clock. */
    assert_false(find(key(1), 999));
}

static void test_a_later_note_replaces_the_former(void **state)
{
    (void)state;
    put(key(1), 42, 1000);
    put(key(1), 43, 1001);
    assert_true(has(key(1), 1001, 43));
    assert_true(has(key(1), 1901, 43));
}

static void test_a_note_is_forgotten_when_told(void **state)
{
    (void)state;
    put(key(1), 42, 1000);
    put(key(2), 42, 1000);
    assert_true(shared_remove(shared, key(1)));
    assert_false(shared_remove(shared, key(1)));
    assert_false(find(key(1), 1000));
    assert_true(has(key(2), 1000, 42));
}

static size_t resident_bytes(void)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return (size_t)st.st_blocks * 512;
}

/* To look for them all makes no memory of what was never written. */
static void test_all_notes_of_a_value_are_forgotten(void **state)
{
    size_t before;

    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        put(key(i * 1000003), 40 + i % 2, 1000);
    before = resident_bytes();
    assert_int_equal(shared_remove_value(shared, 7), 0);
    map_again();
    assert_int_equal(shared_remove_value(shared, 40), 500);
    assert_int_equal(shared_remove_value(shared, 40), 0);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(find(key(i * 1000003), 1000), i % 2 == 1);
    assert_true(resident_bytes() <= before);
}

static void test_the_next_control_finds_it(void **state)
{
    (void)state;
    put(key(1), 42, 1000);
    map_again();
    assert_null(lost);
    assert_true(has(key(1), 1000, 42));
}

static void test_a_full_bucket_gives_up_its_oldest(void **state)
{

    (void)state;
    for (uint64_t i = 0; i < SHARED_BUCKET; i++)
        put(key(i * SHARED_SLOTS), i, i == 3 ? 900 : 1000 + (uint32_t)i);
    for (uint64_t i = 0; i < SHARED_BUCKET; i++)
        assert_true(has(key(i * SHARED_SLOTS), 1100, i));
    put(key((uint64_t)SHARED_BUCKET * SHARED_SLOTS), 99, 1100);
    assert_false(find(key((uint64_t)3 * SHARED_SLOTS), 1100));
    for (uint64_t i = 0; i < SHARED_BUCKET; i++)
        assert_int_equal(has(key(i * SHARED_SLOTS), 1100, i), i != 3);
    assert_true(has(key((uint64_t)SHARED_BUCKET * SHARED_SLOTS), 1100, 99));
}

static uint64_t worth_of_value(const void *arg, const struct shared_note *note)
{
    assert_string_equal(arg, "the caller's");
    return note->value;
}

static void test_what_goes_from_a_full_bucket_may_be_chosen(void **state)
{
    const struct shared_note late = {50, 1100}, later = {40, 1100};

    (void)state;
    for (uint64_t i = 0; i < SHARED_BUCKET; i++)
        put(key(i * SHARED_SLOTS), 100 - i, 1000 + (uint32_t)i);
    shared_put(shared, key((uint64_t)10 * SHARED_SLOTS), &late, worth_of_value, "the caller's");
    shared_put(shared, key((uint64_t)11 * SHARED_SLOTS), &later, worth_of_value, "the caller's");
    for (uint64_t i = 0; i < SHARED_BUCKET - 1; i++)
        assert_true(has(key(i * SHARED_SLOTS), 1100, 100 - i));
    assert_false(find(key((uint64_t)(SHARED_BUCKET - 1) * SHARED_SLOTS), 1100));
    /* The newest was worth least when the next came. */
    assert_false(find(key((uint64_t)10 * SHARED_SLOTS), 1100));
    assert_true(has(key((uint64_t)11 * SHARED_SLOTS), 1100, 40));
}

static void test_each_memory_has_a_salt_that_stays(void **state)
{
    const struct hash128 salt = shared_salt(shared);
    struct shared *other;
    struct err err;
    int other_fd = shared_create(&err);

    (void)state;
    assert_int_equal(shared_map(other_fd, &other, &lost, &err), 0);
    assert_true(shared_salt(other).high != salt.high && shared_salt(other).low != salt.low);
    map_again();
    assert_true(shared_salt(shared).high == salt.high && shared_salt(shared).low == salt.low);
    shared_unmap(&other);
    close(other_fd);
}

static void test_another_bucket_is_left_alone(void **state)
{
    (void)state;
    put(key(1), 1, 1000);
    for (uint64_t i = 1; i <= 2 * SHARED_BUCKET; i++)
        put(key(i * SHARED_SLOTS), i, 1001);
    assert_true(has(key(1), 1001, 1));
}

/* Finds the slot of key(1) in the file. */
static off_t slot_of_key_1(void)
{
    struct hash128 want = key(1), got;

    for (off_t at = SHARED_HEADER; at < (off_t)SHARED_BYTES; at += SHARED_SLOT) {
        assert_int_equal(pread(fd, &got, sizeof got, at), sizeof got);
        if (memcmp(&got, &want, sizeof got) == 0)
            return at;
    }
    fail();
    return 0;
}

static void test_a_torn_slot_counts_as_empty_and_is_used_again(void **state)
{
    char whole[SHARED_SLOT], other[SHARED_SLOT];
    off_t at;

    (void)state;
    put(key(1), 42, 1000);
    at = slot_of_key_1();
    assert_int_equal(pread(fd, whole, sizeof whole, at), SHARED_SLOT);
    put(key(1), 43, 2000);
    assert_int_equal(pread(fd, other, sizeof other, at), SHARED_SLOT);
    /* Killed after any number of bytes of the second note. */
    for (size_t n = 1; n < SHARED_SLOT; n++) {
        char torn[SHARED_SLOT];

        memcpy(torn, whole, sizeof torn);
        memcpy(torn, other, n);
        if (memcmp(torn, whole, sizeof torn) == 0 || memcmp(torn, other, sizeof torn) == 0)
            continue;
        assert_int_equal(pwrite(fd, torn, sizeof torn, at), SHARED_SLOT);
        assert_false(find(key(1), 2000));
    }
    put(key(1), 44, 2001);
    assert_true(has(key(1), 2001, 44));
}

static void test_any_broken_byte_of_the_header_is_told_and_it_can_start_empty(void **state)
{
    (void)state;
    for (off_t at = 0; at < SHARED_USED; at++) {
        char c;

        put(key(1), 42, 1000);
        assert_int_equal(pread(fd, &c, 1, at), 1);
        c ^= 0x10;
        assert_int_equal(pwrite(fd, &c, 1, at), 1);
        map_again();
        assert_string_equal(lost, "the header is broken");
        /* To look does no harm to it. */
        map_again();
        assert_string_equal(lost, "the header is broken");
        shared_clear(shared);
        assert_false(find(key(1), 1000));
        map_again();
        assert_null(lost);
    }
}

static void test_memory_without_a_header_is_taken_over_empty(void **state)
{
    int other = memfd_create("other", MFD_CLOEXEC);
    struct shared *s = NULL;
    struct err err;

    (void)state;
    assert_int_equal(ftruncate(other, (off_t)SHARED_BYTES), 0);
    assert_int_equal(shared_map(other, &s, &lost, &err), 0);
    assert_string_equal(lost, "the header is broken");
    shared_clear(s);
    shared_unmap(&s);
    assert_int_equal(shared_map(other, &s, &lost, &err), 0);
    assert_null(lost);
    shared_unmap(&s);
    close(other);
}

static void test_memory_that_is_too_small_is_an_error(void **state)
{
    int other = memfd_create("other", MFD_CLOEXEC);
    struct shared *s = NULL;
    struct err err = {0};

    (void)state;
    assert_int_equal(ftruncate(other, 4096), 0);
    assert_int_equal(shared_map(other, &s, &lost, &err), -1);
    assert_null(s);
    assert_non_null(strstr(err.text, "4096 bytes"));
    close(other);
    assert_int_equal(shared_map(-1, &s, &lost, &err), -1);
}

static void test_its_size_cannot_be_changed_under_those_who_map_it(void **state)
{
    (void)state;
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, (off_t)SHARED_BYTES * 2), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fresh_memory_is_empty),
        TEST(test_what_is_noted_is_found_until_it_is_too_old),
        TEST(test_a_later_note_replaces_the_former),
        TEST(test_a_note_is_forgotten_when_told),
        TEST(test_all_notes_of_a_value_are_forgotten),
        TEST(test_the_next_control_finds_it),
        TEST(test_a_full_bucket_gives_up_its_oldest),
        TEST(test_what_goes_from_a_full_bucket_may_be_chosen),
        TEST(test_each_memory_has_a_salt_that_stays),
        TEST(test_another_bucket_is_left_alone),
        TEST(test_a_torn_slot_counts_as_empty_and_is_used_again),
        TEST(test_any_broken_byte_of_the_header_is_told_and_it_can_start_empty),
        TEST(test_memory_without_a_header_is_taken_over_empty),
        TEST(test_memory_that_is_too_small_is_an_error),
        TEST(test_its_size_cannot_be_changed_under_those_who_map_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
