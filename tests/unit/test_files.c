/* Files that somebody else has read: taken over, found, compared. (How they are read is
 * tests/integration/test_certificates.py's.) */
#include "parent/files.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* A descriptor of memory with this in it. */
static int memory(const char *content)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    return fd;
}

static void add(struct files *f, const char *name, const char *content)
{
    struct err err;

    assert_int_equal(files_add(f, slice_str(name), memory(content), &err), 0);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_what_was_added_is_found(void **state)
{
    struct files f = {0};

    (void)state;
    add(&f, "/a", "one");
    add(&f, "/b", "two");
    assert_true(slice_eq(files_find(&f, "/a"), SLICE("one")));
    assert_true(slice_eq(files_find(&f, "/b"), SLICE("two")));
    assert_int_equal(files_find(&f, "/c").n, 0);
    files_free(&f);
}

static void test_an_empty_file_is_there_too(void **state)
{
    struct files with = {0}, without = {0};

    (void)state;
    add(&with, "/a", "");
    assert_int_equal(with.n, 1);
    assert_int_equal(files_find(&with, "/a").n, 0);
    assert_int_equal(files_differ(&with, &without), 1);
    files_free(&with);
}

static void test_more_than_there_is_room_for_at_first(void **state)
{
    struct files f = {0};
    char name[] = "/a";

    (void)state;
    for (; name[1] <= 'z'; name[1]++)
        add(&f, name, name);
    assert_int_equal(f.n, 26);
    for (name[1] = 'a'; name[1] <= 'z'; name[1]++)
        assert_true(slice_eq(files_find(&f, name), slice_str(name)));
    files_free(&f);
}

static void test_the_same_do_not_differ(void **state)
{
    struct files a = {0}, b = {0};

    (void)state;
    assert_int_equal(files_differ(&a, &b), 0);
    add(&a, "/a", "one");
    add(&a, "/b", "");
    add(&b, "/b", "");
    add(&b, "/a", "one");
    assert_int_equal(files_differ(&a, &b), 0);
    files_free(&a);
    files_free(&b);
}

static void test_each_file_that_differs_counts_once(void **state)
{
    static const char *const contents[] = {"one", "onE", "one more", "on", ""};
    struct files a = {0};

    (void)state;
    add(&a, "/a", contents[0]);
    for (size_t i = 1; i < sizeof contents / sizeof *contents; i++) {
        struct files b = {0};

        add(&b, "/a", contents[i]);
        assert_int_equal(files_differ(&a, &b), 1);
        assert_int_equal(files_differ(&b, &a), 1);
        add(&b, "/b", "more");
        assert_int_equal(files_differ(&a, &b), 2);
        assert_int_equal(files_differ(&b, &a), 2);
        files_free(&b);
    }
    files_free(&a);
}

static void test_descriptors_are_closed_with_the_files(void **state)
{
    struct files f = {0};
    int fd = memory("one");
    struct err err;

    (void)state;
    assert_int_equal(files_add(&f, SLICE("/a"), fd, &err), 0);
    assert_true(is_open(fd));
    files_free(&f);
    assert_false(is_open(fd));
    files_free(&f);
}

/* Such as a channel's peer may send. */
static void test_what_cannot_be_mapped_is_closed_too(void **state)
{
    struct files f = {0};
    struct err err;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_true(files_add(&f, SLICE("/a"), fds[0], &err) == 0 || err.text[0]);
    files_free(&f);
    assert_false(is_open(fds[0]));
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_added_is_found),
        cmocka_unit_test(test_an_empty_file_is_there_too),
        cmocka_unit_test(test_more_than_there_is_room_for_at_first),
        cmocka_unit_test(test_the_same_do_not_differ),
        cmocka_unit_test(test_each_file_that_differs_counts_once),
        cmocka_unit_test(test_descriptors_are_closed_with_the_files),
        cmocka_unit_test(test_what_cannot_be_mapped_is_closed_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
