/* A journal whose owner is killed at each moment of its writes, two who want the same, many
 * threads.
 */
#include "dying.h"
#include "journal_world.h"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- killed at each moment -------------------------------------------------------------------- */

/* What a run does with a folder, each step one write. */
static int begins(int64_t id)
{
    (void)id;
    return journal_begin(journal, 1000, &err);
}

static int makes_folder(int64_t id)
{
    struct journal_folder f;

    (void)id;
    return journal_folder(journal, SLICE("a"), SLICE("b"), &f, &err);
}

static int numbers_it(int64_t id)
{
    const struct journal_folder f = {.id = id, .from_uidvalidity = 5, .to_uidvalidity = 6};

    return journal_folder_set(journal, &f, &err);
}

static int sends(int64_t id)
{
    static const uint32_t uids[] = {1, 2, 3};

    return journal_sending(journal, id, 40, uids, 3, &err);
}

static int hears(int64_t id)
{
    const struct journal_message m[] = {there(1, 40), {.from_uid = 2, .is_sent = true}};

    return journal_set(journal, id, m, 2, &err);
}

static int complains(int64_t id)
{
    (void)id;
    return journal_exception(journal, SLICE("a"), 3, 0, "too-big", SLICE("NO"), &err);
}

static int drops(int64_t id)
{
    static const uint32_t three = 3;

    return journal_remove(journal, id, &three, 1, &err);
}

static int finds(int64_t id)
{
    const struct journal_message m = there(2, 41);

    return journal_set(journal, id, &m, 1, &err);
}

static int settles(int64_t id)
{
    return journal_settled(journal, id, &err);
}

static int proves(int64_t id)
{
    const struct journal_folder f = {.id = id,
                                     .from_uidvalidity = 5,
                                     .to_uidvalidity = 6,
                                     .from_messages = 3,
                                     .is_proven = true};

    return journal_folder_set(journal, &f, &err);
}

static int forgets(int64_t id)
{
    return journal_forget(journal, id, 7, 8, &err);
}

static int (*const steps[])(int64_t id) = {begins,  makes_folder, numbers_it, sends,
                                           hears,   complains,    drops,      finds,
                                           settles, proves,       forgets};
enum { STEPS = sizeof steps / sizeof *steps, LAYING_OUT = 1 };

/* As SQL has it, after the first n steps. */
static const char everything[] =
    "SELECT began, '', '', '', '', '' FROM run UNION ALL "
    "SELECT from_name, from_uidvalidity, to_uidvalidity, from_messages, to_fence, is_proven"
    " FROM folder UNION ALL "
    "SELECT from_uid, to_uid, is_sent, size, hex(head), hex(raw) FROM message UNION ALL "
    "SELECT folder, from_uid, to_uid, reason, text, '' FROM exception";

static char after[STEPS + 1][1024];

/* The folder's id is 1: it is the first. */
static void run_steps(size_t n)
{
    for (size_t i = 0; i < n; i++)
        OK(steps[i](1));
}

static void learn_what_is_after_each_step(void)
{
    for (size_t n = 0; n <= STEPS; n++) {
        open_journal();
        run_steps(n);
        journal_close(&journal);
        snprintf(after[n], sizeof after[n], "%s", ask(everything));
        if (n > 0)
            assert_string_not_equal(after[n - 1], after[n]);
        unlink(path);
    }
}

/* Whether the child was killed, as it was asked to be. */
static bool dies_at(uint64_t die_at)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        params.die_at = die_at;
        if (journal_open(&params, &journal, &err) < 0)
            _exit(1);
        for (size_t i = 0; i < STEPS; i++) {
            if (steps[i](1) < 0)
                _exit(1);
        }
        journal_close(&journal);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    else
        assert_int_equal(WTERMSIG(status), SIGKILL);
    return WIFSIGNALED(status);
}

static size_t written_steps(uint64_t moment)
{
    size_t commits = (size_t)moment / 2;

    return commits > LAYING_OUT ? commits - LAYING_OUT : 0;
}

/* The file with its tail, byte by byte. */
static void read_files(char *out, size_t cap, size_t *out_n)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    size_t n = 0;

    for (size_t i = 0; i < 3; i++) {
        char name[128];
        FILE *f;

        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        f = fopen(name, "r");
        out[n++] = f ? '+' : '-';
        if (f) {
            n += fread(out + n, 1, cap - n - 4, f);
            fclose(f);
        }
    }
    *out_n = n;
}

static void check_that_a_reader_leaves_the_tail(size_t steps_n)
{
    static char before[1 << 20], behind[1 << 20];
    size_t before_n, behind_n;

    read_files(before, sizeof before, &before_n);
    params.is_read_only = true;
    open_journal();
    if (steps_n > 1 && steps_n < STEPS)
        assert_int_equal(folder("a", "b").from_uidvalidity, steps_n > 2 ? 5 : 0);
    journal_close(&journal);
    params.is_read_only = false;
    read_files(behind, sizeof behind, &behind_n);
    assert_int_equal(before_n, behind_n);
    assert_memory_equal(before, behind, before_n);
}

static void test_after_a_kill_each_write_is_there_wholly_or_not_at_all(void **state)
{
    uint64_t moment = 1;

    (void)state;
    learn_what_is_after_each_step();
    while (dies_at(moment)) {
        size_t n = written_steps(moment);

        check_that_a_reader_leaves_the_tail(n);
        open_journal();
        journal_close(&journal);
        assert_string_equal(ask(everything), after[n]);
        assert_string_equal(ask("PRAGMA integrity_check"), "ok\n");
        /* And the next run goes on. */
        open_journal();
        for (size_t i = n; i < STEPS; i++)
            OK(steps[i](1));
        journal_close(&journal);
        assert_string_equal(ask(everything), after[STEPS]);
        unlink(path);
        moment++;
    }
    assert_int_equal(moment, 2 * (STEPS + LAYING_OUT) + 1);
}

static void test_moments_are_counted_over_the_life_of_a_journal(void **state)
{
    (void)state;
    open_journal();
    journal_close(&journal);
    /* Nothing is to be laid out, so the second moment is behind the first step. */
    assert_true(dies_at(2));
    assert_string_equal(ask(everything), "1000     \n");
}

static void settle_too_early(int log, const void *arg)
{
    const struct journal_message open = {.from_uid = 1, .is_sent = true};
    struct journal_folder f;

    (void)log;
    (void)arg;
    open_journal();
    f = folder("a", "a");
    OK(journal_set(journal, f.id, &open, 1, &err));
    (void)!journal_settled(journal, f.id, &err);
}

static void test_folder_with_messages_in_flight_is_never_settled(void **state)
{
    struct end end = end_of(settle_too_early, NULL);

    (void)state;
    assert_true(WIFSIGNALED(end.status));
    assert_int_equal(WTERMSIG(end.status), SIGABRT);
    assert_non_null(strstr(end.said, "found <= 0"));
}

/* --- two who want the same -------------------------------------------------------------------- */

struct holder {
    pid_t pid;
    int go;
};

/* Somebody who has the journal open, until he is let go. */
static struct holder hold(bool is_read_only)
{
    int ready[2], go[2];
    struct holder h;
    char c;

    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    h.pid = fork();
    if (h.pid == 0) {
        close(go[1]);
        params.is_read_only = is_read_only;
        if (journal_open(&params, &journal, &err) < 0)
            _exit(1);
        if (write(ready[1], "x", 1) != 1 || read(go[0], &c, 1) != 0)
            _exit(1);
        journal_close(&journal);
        _exit(0);
    }
    close(ready[1]);
    close(go[0]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    h.go = go[1];
    return h;
}

static void let_go(struct holder h)
{
    int status;

    close(h.go);
    assert_int_equal(waitpid(h.pid, &status, 0), h.pid);
    assert_int_equal(status, 0);
}

static void check_in_use(bool is_read_only, const char *words)
{
    params.is_read_only = is_read_only;
    assert_int_equal(journal_open(&params, &journal, &err), -1);
    assert_string_equal(err.text, words);
    params.is_read_only = false;
}

static void test_two_runs_cannot_share_it_and_the_second_hears_who_has_it(void **state)
{
    struct holder h;
    char words[256];

    (void)state;
    h = hold(false);
    snprintf(words, sizeof words, "%s: is in use by process %d", path, (int)h.pid);
    check_in_use(false, words);
    check_in_use(true, words);
    let_go(h);
    open_journal();
}

static void test_readers_share_it_and_keep_writers_out(void **state)
{
    struct holder h;
    char words[256];

    (void)state;
    open_journal();
    journal_close(&journal);
    h = hold(true);
    params.is_read_only = true;
    open_journal();
    journal_close(&journal);
    snprintf(words, sizeof words, "%s: is in use by another run", path);
    check_in_use(false, words);
    let_go(h);
}

static void test_one_process_cannot_open_it_twice(void **state)
{
    struct journal *second;

    (void)state;
    open_journal();
    assert_int_equal(journal_open(&params, &second, &err), -1);
    assert_non_null(strstr(err.text, "is in use by another run"));
    folder("a", "a");
}

static void test_who_was_killed_holds_it_no_more(void **state)
{
    struct holder h;

    (void)state;
    h = hold(false);
    assert_int_equal(kill(h.pid, SIGKILL), 0);
    assert_int_equal(waitpid(h.pid, NULL, 0), h.pid);
    close(h.go);
    open_journal();
}

/* --- threads ---------------------------------------------------------------------------------- */

enum { LANES = 4, BATCHES = 20, BATCH = 50 };

struct lane {
    const char *name, *failed; /* NULL: at nothing */
    pthread_t thread;
};

static const char *write_lane(const char *name)
{
    struct journal_folder f;
    struct err e;

    if (journal_folder(journal, slice_str(name), SLICE("all"), &f, &e) < 0)
        return "folder";
    for (uint32_t b = 0; b < BATCHES; b++) {
        struct journal_message m[BATCH];
        uint32_t uids[BATCH];
        struct journal_pair *all;
        size_t n;

        for (uint32_t i = 0; i < BATCH; i++) {
            uids[i] = b * BATCH + i + 1;
            m[i] = there(uids[i], uids[i] + 100);
        }
        if (journal_sending(journal, f.id, 7, uids, BATCH, &e) < 0 ||
            journal_set(journal, f.id, m, BATCH, &e) < 0 ||
            journal_exception(journal, slice_str(name), b, 0, "nul", SLICE("x"), &e) < 0 ||
            journal_settled(journal, f.id, &e) < 0 ||
            journal_pairs(journal, f.id, &all, &n, &e) < 0)
            return "batch";
        free(all);
        if (n != (size_t)(b + 1) * BATCH)
            return "count";
    }
    return NULL;
}

static void *run_lane(void *arg)
{
    struct lane *lane = arg;

    lane->failed = write_lane(lane->name);
    return NULL;
}

static void test_lanes_write_at_the_same_time(void **state)
{
    struct lane lanes[LANES] = {{.name = "a"}, {.name = "b"}, {.name = "c"}, {.name = "d"}};

    (void)state;
    open_journal();
    for (size_t i = 0; i < LANES; i++)
        assert_int_equal(pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]), 0);
    for (size_t i = 0; i < LANES; i++) {
        assert_int_equal(pthread_join(lanes[i].thread, NULL), 0);
        if (lanes[i].failed)
            fail_msg("%s: %s", lanes[i].name, lanes[i].failed);
    }
    journal_close(&journal);
    assert_string_equal(ask("SELECT count(*) FROM message GROUP BY folder"),
                        "1000\n1000\n1000\n1000\n");
    assert_string_equal(ask("SELECT count(*) FROM exception"), "80\n");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_after_a_kill_each_write_is_there_wholly_or_not_at_all),
        T(test_moments_are_counted_over_the_life_of_a_journal),
        T(test_folder_with_messages_in_flight_is_never_settled),
        T(test_two_runs_cannot_share_it_and_the_second_hears_who_has_it),
        T(test_readers_share_it_and_keep_writers_out),
        T(test_one_process_cannot_open_it_twice),
        T(test_who_was_killed_holds_it_no_more),
        T(test_lanes_write_at_the_same_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
