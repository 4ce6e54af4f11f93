/* Memory for passwords: the allocator against a model, what is left in what was freed, and what the
 * kernel was told of it. */
#include "cm.h"

#include "base/buf.h"
#include "base/secret.h"
#include "base/slice.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SMALLEST = 64,
    COMMON_MOST = 1024,
    LARGEST = 128 * 1024,
    COMMON_BLOCKS = SECRET_ARENA / COMMON_MOST,
    HELD = 400,
    ROUNDS = 40000,
    NOBODY = 65534
};

static int begin(void **state)
{
    struct err err;

    (void)state;
    return secret_begin(&err);
}

static int end(void **state)
{
    (void)state;
    assert_int_equal(secret_used(), 0);
    assert_int_equal(secret_on_heap(), 0);
    secret_end();
    return 0;
}

static size_t block_of(size_t n)
{
    size_t block = SMALLEST;

    while (block < n)
        block *= 2;
    return block;
}

/* Looks at memory that may be free. */
__attribute__((no_sanitize("address"))) static bool is_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (((const volatile char *)p)[i])
            return false;
    }
    return true;
}

/* --- the model: what is held, and what each of it was filled with ------------------------------
 */

struct held {
    unsigned char *p;
    size_t n;
    unsigned char filling;
};

static uint64_t random_state;

/* xorshift64*; the same numbers in each run. */
static size_t draw(size_t below)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (size_t)((random_state * 0x2545F4914F6CDD1DU) >> 33) % below;
}

/* Mostly as logins are, now and then anything up to the largest. */
static size_t draw_size(void)
{
    size_t most = draw(20) ? 300 : draw(4) ? 5000 : LARGEST;

    return 1 + draw(most);
}

static void fill(struct held *h, unsigned char filling)
{
    h->n = draw_size();
    h->p = secret_alloc(h->n);
    h->filling = filling;
    assert_non_null(h->p);
    assert_int_equal((uintptr_t)h->p % SMALLEST, 0);
    memset(h->p, filling, h->n);
}

static void empty(struct held *h)
{
    for (size_t i = 0; i < h->n; i++)
        assert_int_equal(h->p[i], h->filling);
    secret_free(h->p, h->n);
    assert_true(is_zero((const char *)h->p, h->n));
    h->p = NULL;
}

static void test_blocks_keep_what_is_written_and_are_wiped_when_freed(void **state)
{
    struct held held[HELD] = {{NULL, 0, 0}};
    size_t used = 0;

    (void)state;
    random_state = 42;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct held *h = &held[draw(HELD)];

        if (h->p) {
            used -= block_of(h->n);
            empty(h);
        } else {
            fill(h, (unsigned char)(1 + round % 255));
            used += block_of(h->n);
        }
        /* Never so much that any went to the heap. */
        assert_int_equal(secret_used(), used);
        assert_int_equal(secret_on_heap(), 0);
    }
    for (size_t i = 0; i < HELD; i++) {
        if (held[i].p)
            empty(&held[i]);
    }
}

/* --- its bounds ------------------------------------------------------------------------------- */

static void *common[COMMON_BLOCKS];

static void take_all(void)
{
    for (size_t i = 0; i < COMMON_BLOCKS; i++) {
        common[i] = secret_alloc(COMMON_MOST);
        assert_non_null(common[i]);
    }
    assert_int_equal(secret_used(), SECRET_ARENA);
    assert_int_equal(secret_on_heap(), 0);
}

static void free_all(void)
{
    for (size_t i = 0; i < COMMON_BLOCKS; i++)
        secret_free(common[i], COMMON_MOST);
}

/* Where the arena begins, while all of it is taken. */
static char *lowest(void)
{
    char *low = common[0];

    for (size_t i = 1; i < COMMON_BLOCKS; i++) {
        if ((char *)common[i] < low)
            low = common[i];
    }
    return low;
}

static void test_what_does_not_fit_comes_from_the_heap(void **state)
{
    char *more;

    (void)state;
    take_all();
    more = secret_alloc(100);
    assert_non_null(more);
    memset(more, 'x', 100);
    assert_int_equal(secret_on_heap(), 100);
    secret_free(more, 100);
    assert_int_equal(secret_on_heap(), 0);
    free_all();
}

static void test_a_full_arena_is_whole_again_when_all_is_freed(void **state)
{
    void *large[SECRET_ARENA / 2 / LARGEST];

    (void)state;
    take_all();
    free_all();
    for (size_t i = 0; i < SECRET_ARENA / 2 / LARGEST; i++)
        large[i] = secret_alloc(LARGEST);
    assert_int_equal(secret_used(), SECRET_ARENA / 2);
    for (size_t i = 0; i < SECRET_ARENA / 2 / LARGEST; i++)
        secret_free(large[i], LARGEST);
}

static void test_long_lines_do_not_take_what_common_logins_need(void **state)
{
    char *large[SECRET_ARENA / 2048];

    (void)state;
    for (size_t i = 0; i < SECRET_ARENA / 2048; i++)
        large[i] = secret_alloc(2048);
    assert_int_equal(secret_used(), SECRET_ARENA / 2);
    assert_int_equal(secret_on_heap(), SECRET_ARENA / 2);
    for (size_t i = 0; i < COMMON_BLOCKS / 2; i++)
        common[i] = secret_alloc(COMMON_MOST);
    assert_int_equal(secret_used(), SECRET_ARENA);
    for (size_t i = 0; i < COMMON_BLOCKS / 2; i++)
        secret_free(common[i], COMMON_MOST);
    for (size_t i = 0; i < SECRET_ARENA / 2048; i++)
        secret_free(large[i], 2048);
}

static void test_what_is_larger_than_any_login_comes_from_the_heap(void **state)
{
    char *p = secret_alloc(LARGEST + 1);

    (void)state;
    assert_int_equal(secret_used(), 0);
    assert_int_equal(secret_on_heap(), LARGEST + 1);
    secret_free(p, LARGEST + 1);
}

static void test_without_an_arena_all_comes_from_the_heap(void **state)
{
    char *p = secret_alloc(10);

    (void)state;
    assert_non_null(p);
    assert_int_equal(secret_used(), 0);
    assert_int_equal(secret_on_heap(), 10);
    secret_free(p, 10);
    secret_free(NULL, 10);
    assert_int_equal(secret_on_heap(), 0);
}

/* --- faults, in a child that shall die of them -------------------------------------------------
 */

static bool dies(void (*fault)(char *p), char *p)
{
    static const int deadly[] = {SIGABRT, SIGBUS, SIGSEGV};
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        /* Not cmocka's handlers, which go on with the next test; and what it says when it dies
         * would only frighten. */
        for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
            signal(deadly[i], SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        fault(p);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void write_there(char *p)
{
    *(volatile char *)p = 1;
}

static void free_twice(char *p)
{
    secret_free(p, 10);
    secret_free(p, 10);
}

static void free_by_another_size(char *p)
{
    secret_free(p, SMALLEST + 1);
}

static void free_the_middle(char *p)
{
    secret_free(p + SMALLEST, SMALLEST);
}

static void leave_one(char *p)
{
    (void)p;
    secret_end();
}

static void test_nobody_writes_beyond_the_arena(void **state)
{
    char *low;

    (void)state;
    take_all();
    low = lowest();
    assert_false(dies(write_there, low));
    assert_true(dies(write_there, low - 1));
    assert_false(dies(write_there, low + SECRET_ARENA - 1));
    assert_true(dies(write_there, low + SECRET_ARENA));
    free_all();
}

static void test_blocks_are_freed_once_and_whole(void **state)
{
    char *small = secret_alloc(10), *large = secret_alloc(1000);

    (void)state;
    assert_true(dies(free_twice, small));
    assert_true(dies(free_by_another_size, small));
    assert_true(dies(free_the_middle, large));
    assert_true(dies(leave_one, NULL));
    secret_free(small, 10);
    secret_free(large, 1000);
}

#ifdef __SANITIZE_ADDRESS__
static void test_the_sanitizer_sees_bytes_that_are_nobodys(void **state)
{
    char *p = secret_alloc(10);

    (void)state;
    assert_false(dies(write_there, p + 9));
    assert_true(dies(write_there, p + 10));
    secret_free(p, 10);
    assert_true(dies(write_there, p));
}
#endif

/* --- what the kernel knows of it ----------------------------------------------------------------
 */

/* The two-letter words of VmFlags in /proc/self/smaps for the mapping of `p`, with blanks around.
 */
static void flags_of(const char *p, char *out, size_t cap)
{
    char line[512];
    bool is_ours = false;
    FILE *smaps = fopen("/proc/self/smaps", "r");

    assert_non_null(smaps);
    out[0] = '\0';
    while (fgets(line, sizeof line, smaps)) {
        unsigned long long from, to;

        if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
            is_ours = from <= (uintptr_t)p && (uintptr_t)p < to;
        else if (is_ours && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(out, cap, "%s", line + 8);
    }
    fclose(smaps);
    out[strcspn(out, "\n")] = ' ';
}

static void test_it_is_locked_and_left_out_of_cores_and_children(void **state)
{
    char *p = secret_alloc(10), flags[512];

    (void)state;
    flags_of(p, flags, sizeof flags);
    assert_non_null(strstr(flags, " lo "));
    assert_non_null(strstr(flags, " dd "));
    assert_non_null(strstr(flags, " wf "));
    secret_free(p, 10);
}

static void insist_on_zeros(char *p)
{
    if (!is_zero(p, 10))
        _exit(1);
}

static void test_a_forked_child_sees_nothing(void **state)
{
    char *p = secret_alloc(10);

    (void)state;
    memset(p, 'x', 10);
    assert_false(dies(insist_on_zeros, p));
    secret_free(p, 10);
}

/* As an ordinary user, since no limit binds root. */
static void begin_unlocked(char *words)
{
    const struct rlimit none = {0, 0};
    struct err err = {.text = ""};
    bool is_told, is_used;
    char *p;

    if ((geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0) ||
        setrlimit(RLIMIT_MEMLOCK, &none) < 0)
        _exit(1);
    is_told = secret_begin(&err) == -1 && strstr(err.text, words);
    p = secret_alloc(10);
    is_used = p && secret_used() == SMALLEST;
    secret_free(p, 10);
    secret_end();
    _exit(is_told && is_used ? 0 : 1);
}

static void test_memory_that_may_not_be_locked_is_told_and_used(void **state)
{
    char words[] = "cannot lock 4096 KiB";

    (void)state;
    assert_false(dies(begin_unlocked, words));
}

/* --- buffers ------------------------------------------------------------------------------------
 */

static void test_a_secret_buffer_leaves_nothing_behind_when_it_grows(void **state)
{
    struct buf b;
    const char *first;

    (void)state;
    buf_init(&b, 10000, true);
    assert_int_equal(secret_used(), 0);
    assert_int_equal(buf_puts(&b, "secret"), 0);
    first = b.p;
    assert_true(secret_used() <= 128);
    assert_int_equal(buf_printf(&b, "%01000d", 0), 0);
    assert_ptr_not_equal(b.p, first);
    assert_true(is_zero(first, 6));
    assert_memory_equal(buf_slice(&b).p, "secret", 6);
    buf_release(&b);
    assert_int_equal(secret_used(), 0);
}

static void test_a_secret_buffer_holds_no_memory_when_all_is_taken(void **state)
{
    struct buf b;
    const char *p;

    (void)state;
    buf_init(&b, 10000, true);
    assert_int_equal(buf_puts(&b, "secret word"), 0);
    p = b.p;
    buf_take(&b, 7);
    assert_true(is_zero(p, 7));
    assert_memory_equal(buf_slice(&b).p, "word", 4);
    buf_take(&b, 4);
    assert_int_equal(secret_used(), 0);
    assert_true(is_zero(p, 11));
    assert_int_equal(buf_puts(&b, "again"), 0);
    assert_true(slice_eq(buf_slice(&b), SLICE("again")));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_blocks_keep_what_is_written_and_are_wiped_when_freed,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_what_does_not_fit_comes_from_the_heap, begin, end),
        cmocka_unit_test_setup_teardown(test_a_full_arena_is_whole_again_when_all_is_freed, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_long_lines_do_not_take_what_common_logins_need, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_what_is_larger_than_any_login_comes_from_the_heap,
                                        begin, end),
        cmocka_unit_test(test_without_an_arena_all_comes_from_the_heap),
        cmocka_unit_test_setup_teardown(test_nobody_writes_beyond_the_arena, begin, end),
        cmocka_unit_test_setup_teardown(test_blocks_are_freed_once_and_whole, begin, end),
#ifdef __SANITIZE_ADDRESS__
        cmocka_unit_test_setup_teardown(test_the_sanitizer_sees_bytes_that_are_nobodys, begin, end),
#endif
        cmocka_unit_test_setup_teardown(test_it_is_locked_and_left_out_of_cores_and_children, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_a_forked_child_sees_nothing, begin, end),
        cmocka_unit_test(test_memory_that_may_not_be_locked_is_told_and_used),
        cmocka_unit_test_setup_teardown(test_a_secret_buffer_leaves_nothing_behind_when_it_grows,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_a_secret_buffer_holds_no_memory_when_all_is_taken,
                                        begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
