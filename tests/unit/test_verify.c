/* Passwords against hashes of crypt(3): kinds of hashes, what is none, and what does not get its
 * turn. */
#include "cm.h"

#include "base/secret.h"
#include "lookup/verify.h"

#include <crypt.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000, LONG_MS = 60000 };

/* A hash that takes about a second, and one that takes none. */
static const char slow[] = "$6$rounds=400000$salt$";
static const char *quick(void);

static struct {
    struct loop *loop;
    struct verify *verify;
    struct deadline patience;
    unsigned awaited, verdicts;
} world;

struct verdict {
    bool is_there;
    enum verify_verdict what;
    unsigned nth; /* of all, from 1 on */
};

static void on_patience(struct deadline *d)
{
    (void)d;
    fail_msg("no verdict");
}

static void on_verdict(void *arg, enum verify_verdict what)
{
    struct verdict *v = arg;

    assert_false(v->is_there);
    *v = (struct verdict){true, what, ++world.verdicts};
    if (--world.awaited == 0)
        loop_stop(world.loop);
}

static void begin(void)
{
    struct err err;

    memset(&world, 0, sizeof world);
    world.loop = loop_new(&err);
    deadline_init(&world.patience, on_patience);
    assert_int_equal(secret_begin(&err), 0);
    world.verify = verify_new(world.loop, &err);
    assert_non_null(world.verify);
    assert_int_equal(verify_begin(world.verify, &err), 0);
}

static void finish(void)
{
    assert_true(verify_free(&world.verify));
    assert_null(world.verify);
    loop_free(&world.loop);
    secret_end(); /* insists that nothing is left */
}

static bool ask_for(uint32_t party, struct slice password, const char *hash, uint32_t within_ms,
                    struct verdict *v)
{
    *v = (struct verdict){0};
    if (!verify_password(world.verify, party, password, slice_str(hash), within_ms, on_verdict, v))
        return false;
    world.awaited++;
    return true;
}

static bool ask(struct slice password, const char *hash, uint32_t within_ms, struct verdict *v)
{
    return ask_for(0, password, hash, within_ms, v);
}

static void await_all(void)
{
    deadline_set(world.loop, &world.patience, PATIENCE_MS);
    loop_run(world.loop);
    deadline_clear(&world.patience);
}

static enum verify_verdict verdict_of(const char *password, const char *hash)
{
    struct verdict v;

    assert_true(ask(slice_str(password), hash, LONG_MS, &v));
    await_all();
    assert_true(v.is_there);
    return v.what;
}

static const char *hash_of(const char *password, const char *prefix, unsigned long cost)
{
    static struct crypt_data data;
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];

    assert_non_null(crypt_gensalt_rn(prefix, cost, NULL, 0, setting, sizeof setting));
    memset(&data, 0, sizeof data);
    return crypt_rn(password, setting, &data, sizeof data);
}

static const char *quick(void)
{
    return hash_of("secret", "$2b$", 4);
}

/* --- hashes ----------------------------------------------------------------------------------- */

static void test_the_right_password_fits_every_kind_of_hash_and_no_other_does(void **state)
{
    static const char *const prefixes[] = {"$y$",  "$gy$", "$7$", "$2b$",
                                           "$2y$", "$6$",  "$5$", "$1$"};

    (void)state;
    begin();
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        char hash[CRYPT_OUTPUT_SIZE];

        snprintf(hash, sizeof hash, "%s", hash_of("secret", prefixes[i], 0));
        assert_int_equal(verdict_of("secret", hash), VERIFY_RIGHT);
        assert_int_equal(verdict_of("Secret", hash), VERIFY_WRONG);
        assert_int_equal(verdict_of("secre", hash), VERIFY_WRONG);
        assert_int_equal(verdict_of("", hash), VERIFY_WRONG);
    }
    finish();
}

static void test_an_empty_password_is_one_too(void **state)
{
    (void)state;
    begin();
    assert_int_equal(verdict_of("", hash_of("", "$6$", 1000)), VERIFY_RIGHT);
    finish();
}

static void test_a_hash_that_was_altered_fits_nothing(void **state)
{
    char hash[CRYPT_OUTPUT_SIZE];
    size_t n;

    (void)state;
    begin();
    snprintf(hash, sizeof hash, "%s", hash_of("secret", "$6$", 1000));
    n = strlen(hash);
    hash[n - 1] = hash[n - 1] == 'a' ? 'b' : 'a';
    assert_int_equal(verdict_of("secret", hash), VERIFY_WRONG);
    hash[n - 1] = '\0'; /* one short: not whole, and so no password's */
    assert_int_not_equal(verdict_of("secret", hash), VERIFY_RIGHT);
    finish();
}

static void test_what_is_no_hash_is_told_from_a_wrong_password(void **state)
{
    static const char *const rows[] = {"",
                                       "secret",
                                       "ab0Z8DYeMzvWE" /* traditional DES of "secret" or not */,
                                       "_J9..rasm",
                                       "*",
                                       "!",
                                       "x",
                                       "$",
                                       "$$",
                                       "$nosuch$ab",
                                       "$2b$99$tooshort",
                                       "{CRYPT}$6$salt$hash",
                                       "$6$salt",
                                       "$y$j9T$salt",
                                       "*0"};

    (void)state;
    begin();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (verdict_of("secret", rows[i]) != VERIFY_NO_HASH)
            fail_msg("\"%s\" was taken for a hash", rows[i]);
    }
    finish();
}

static void test_traditional_des_is_no_hash_even_if_it_fits(void **state)
{
    static struct crypt_data data;
    const char *des;

    (void)state;
    begin();
    des = crypt_rn("secret", "ab", &data, sizeof data);
    assert_non_null(des);
    assert_int_equal(verdict_of("secret", des), VERIFY_NO_HASH);
    finish();
}

/* --- turns ------------------------------------------------------------------------------------ */

static void test_verdicts_are_not_mixed_up(void **state)
{
    enum { N = 64 };
    static struct verdict v[N];
    char hash[CRYPT_OUTPUT_SIZE];

    (void)state;
    begin();
    snprintf(hash, sizeof hash, "%s", quick());
    for (int i = 0; i < N; i++)
        assert_true(ask(i % 3 == 0 ? SLICE("secret") : SLICE("guess"), hash, LONG_MS, &v[i]));
    await_all();
    for (int i = 0; i < N; i++) {
        assert_true(v[i].is_there);
        assert_int_equal(v[i].what, i % 3 == 0 ? VERIFY_RIGHT : VERIFY_WRONG);
    }
    finish();
}

/* Keeps all threads at work. */
static void keep_busy(struct verdict busy[VERIFY_THREADS_MAX])
{
    for (int i = 0; i < VERIFY_THREADS_MAX; i++)
        assert_true(ask(SLICE("secret"), slow, LONG_MS, &busy[i]));
}

static void test_what_waits_too_long_is_not_begun(void **state)
{
    static struct verdict busy[VERIFY_THREADS_MAX], late, patient;

    (void)state;
    begin();
    keep_busy(busy);
    assert_true(ask(SLICE("secret"), quick(), 0, &late));
    assert_true(ask(SLICE("secret"), quick(), LONG_MS, &patient));
    await_all();
    assert_int_equal(late.what, VERIFY_FAILED);
    assert_int_equal(patient.what, VERIFY_RIGHT);
    finish();
}

/* Many of one party, then one or two of others. */
static void test_parties_take_turns(void **state)
{
    enum { MANY = 60, FEW = 2 };
    static struct verdict busy[VERIFY_THREADS_MAX], many[MANY], few[FEW][FEW];
    char hash[CRYPT_OUTPUT_SIZE];

    (void)state;
    begin();
    snprintf(hash, sizeof hash, "%s", quick());
    keep_busy(busy);
    for (int i = 0; i < MANY; i++)
        assert_true(ask_for(1, SLICE("secret"), hash, LONG_MS, &many[i]));
    for (uint32_t i = 0; i < FEW * FEW; i++)
        assert_true(ask_for(2 + i % FEW, SLICE("secret"), hash, LONG_MS, &few[i % FEW][i / FEW]));
    await_all();
    for (int i = 0; i < FEW * FEW; i++) {
        assert_int_equal(few[i % FEW][i / FEW].what, VERIFY_RIGHT);
        assert_in_range(few[i % FEW][i / FEW].nth, 1, MANY / 2);
    }
    for (int i = 0; i < MANY; i++)
        assert_int_equal(many[i].what, VERIFY_RIGHT);
    finish();
}

static void test_more_than_may_wait_are_turned_away(void **state)
{
    static struct verdict busy[VERIFY_THREADS_MAX], v[VERIFY_WAITING_MAX + 1];
    char hash[CRYPT_OUTPUT_SIZE];
    size_t n = 0;

    (void)state;
    begin();
    snprintf(hash, sizeof hash, "%s", quick());
    keep_busy(busy);
    while (n <= VERIFY_WAITING_MAX && ask(SLICE("secret"), hash, 0, &v[n]))
        n++;
    /* some of the busy ones may wait too, if they have not begun yet */
    assert_in_range(n, VERIFY_WAITING_MAX - VERIFY_THREADS_MAX, VERIFY_WAITING_MAX);
    await_all();
    for (size_t i = 0; i < n; i++)
        assert_true(v[i].is_there);
    assert_int_equal(verdict_of("secret", hash), VERIFY_RIGHT);
    finish();
}

static void test_without_threads_nobody_is_let_in(void **state)
{
    struct verdict v;
    struct err err;

    (void)state;
    memset(&world, 0, sizeof world);
    world.loop = loop_new(&err);
    world.verify = verify_new(world.loop, &err);
    assert_false(ask(SLICE("secret"), "$6$x", LONG_MS, &v));
    assert_true(verify_free(&world.verify));
    loop_free(&world.loop);
}

static void test_the_end_forgets_who_waits(void **state)
{
    static struct verdict v[VERIFY_THREADS_MAX + 8];
    char hash[CRYPT_OUTPUT_SIZE];

    (void)state;
    begin();
    snprintf(hash, sizeof hash, "%s", quick());
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        assert_true(ask(SLICE("secret"), hash, LONG_MS, &v[i]));
    finish();
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        assert_false(v[i].is_there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_right_password_fits_every_kind_of_hash_and_no_other_does),
        cmocka_unit_test(test_an_empty_password_is_one_too),
        cmocka_unit_test(test_a_hash_that_was_altered_fits_nothing),
        cmocka_unit_test(test_what_is_no_hash_is_told_from_a_wrong_password),
        cmocka_unit_test(test_traditional_des_is_no_hash_even_if_it_fits),
        cmocka_unit_test(test_verdicts_are_not_mixed_up),
        cmocka_unit_test(test_what_waits_too_long_is_not_begun),
        cmocka_unit_test(test_parties_take_turns),
        cmocka_unit_test(test_more_than_may_wait_are_turned_away),
        cmocka_unit_test(test_without_threads_nobody_is_let_in),
        cmocka_unit_test(test_the_end_forgets_who_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
