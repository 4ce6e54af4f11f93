/* The journal: what is written is there again, and files that it must not take. */
#include "journal_world.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* SQLite's waits for the disk come here. */
static unsigned disk_waits;

int fdatasync(int fd)
{
    disk_waits++;
    return (int)syscall(SYS_fdatasync, fd);
}

static void reopen(void)
{
    journal_close(&journal);
    assert_null(journal);
    open_journal();
}

/* --- rows ------------------------------------------------------------------------------------- */

static void test_new_file_is_private_with_the_folders_above_it(void **state)
{
    char deep[128], wal[160];
    struct stat st;

    (void)state;
    umask(0);
    snprintf(deep, sizeof deep, "%s/a/j?#%%.db", dir);
    snprintf(wal, sizeof wal, "%s-wal", deep);
    params.path = deep;
    open_journal();
    folder("INBOX", "INBOX");
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    journal_close(&journal);
    assert_int_equal(stat(wal, &st), -1);
    params.is_read_only = true;
    open_journal();
    journal_close(&journal);
    unlink(deep);
    *strrchr(deep, '/') = '\0';
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(rmdir(deep), 0);
}

static void test_folder_is_known_by_both_names_whatever_their_bytes(void **state)
{
    struct journal_folder f, g;

    (void)state;
    open_journal();
    f = folder("Sent", "Sent");
    assert_int_equal(f.from_uidvalidity, 0);
    assert_int_equal(f.to_fence, 0);
    assert_false(f.is_proven);
    assert_true(folder("Sent", "Sent").id == f.id);
    assert_true(folder("Sent", "sent").id != f.id);
    assert_true(folder("", "").id != f.id);
    OK(journal_folder(journal, SLICE("a\0b\xff"), SLICE("'"), &f, &err));
    OK(journal_folder(journal, SLICE("a\0c\xff"), SLICE("'"), &g, &err));
    assert_true(f.id != g.id);
    reopen();
    OK(journal_folder(journal, SLICE("a\0b\xff"), SLICE("'"), &g, &err));
    assert_true(f.id == g.id);
}

static void test_folder_is_as_it_was_set_but_for_the_fence(void **state)
{
    struct journal_folder f, g;

    (void)state;
    open_journal();
    f = folder("INBOX", "INBOX");
    f.from_uidvalidity = UINT32_MAX;
    f.to_uidvalidity = 2;
    f.from_uidnext = 3;
    f.to_uidnext = 4;
    f.from_messages = 5;
    f.to_messages = 6;
    f.from_modseq = INT64_MAX;
    f.to_modseq = 8;
    f.chosen = UINT64_MAX;
    f.is_proven = true;
    f.to_fence = 99;
    OK(journal_folder_set(journal, &f, &err));
    reopen();
    g = folder("INBOX", "INBOX");
    assert_int_equal(g.from_uidvalidity, UINT32_MAX);
    assert_int_equal(g.to_uidvalidity, 2);
    assert_int_equal(g.from_uidnext, 3);
    assert_int_equal(g.to_uidnext, 4);
    assert_int_equal(g.from_messages, 5);
    assert_int_equal(g.to_messages, 6);
    assert_true(g.from_modseq == INT64_MAX);
    assert_int_equal(g.to_modseq, 8);
    assert_true(g.chosen == UINT64_MAX);
    assert_true(g.is_proven);
    assert_int_equal(g.to_fence, 0);
}

static void test_messages_go_from_sending_to_there(void **state)
{
    static const uint32_t uids[] = {3, 1, 4000000000};
    const struct journal_message known[] = {
        there(3, 10), {.from_uid = 1, .is_sent = true}, {.from_uid = 7, .to_uid = 12}};
    struct journal_message m;
    struct journal_folder f;
    uint64_t n;

    (void)state;
    open_journal();
    f = folder("INBOX", "INBOX");
    OK(journal_sending(journal, f.id, 10, uids, 3, &err));
    assert_string_equal(pairs(f.id), "1=0 3=0 4000000000=0");
    assert_string_equal(in_flight(f.id), "1 3 4000000000");
    OK(journal_set(journal, f.id, known, 3, &err));
    reopen();
    assert_string_equal(pairs(f.id), "1=0 3=10 7=12 4000000000=0");
    assert_string_equal(in_flight(f.id), "1+ 4000000000");
    m = message(f.id, 3);
    assert_int_equal(m.to_uid, 10);
    assert_true(m.has_digest);
    assert_int_equal(m.size, 1003);
    assert_memory_equal(&m.head, &known[0].head, sizeof m.head);
    assert_memory_equal(&m.raw, &known[0].raw, sizeof m.raw);
    assert_false(m.is_sent);
    assert_false(message(f.id, 7).has_digest);
    assert_true(message(f.id, 1).is_sent);
    OK(journal_digests(journal, f.id, &n, &err));
    assert_int_equal(n, 1);
    OK(journal_sending(journal, f.id, 99, uids, 1, &err));
    assert_string_equal(in_flight(f.id), "1+ 3 4000000000");
    assert_false(message(f.id, 3).has_digest);
    OK(journal_remove(journal, f.id, uids, 3, &err));
    assert_string_equal(pairs(f.id), "7=12");
}

static void test_only_what_is_about_to_be_sent_waits_for_the_disk(void **state)
{
    static const uint32_t uids[] = {1, 2};
    const struct journal_message m = there(1, 40);
    struct journal_folder f;

    (void)state;
    open_journal();
    disk_waits = 0;
    OK(journal_begin(journal, 1000, &err));
    f = folder("a", "b");
    OK(journal_forget(journal, f.id, 5, 6, &err));
    assert_int_equal(disk_waits, 0);
    OK(journal_sending(journal, f.id, 40, uids, 2, &err));
    assert_true(disk_waits > 0);

    disk_waits = 0;
    OK(journal_set(journal, f.id, &m, 1, &err));
    OK(journal_exception(journal, SLICE("a"), 2, 0, "too-big", SLICE("NO"), &err));
    OK(journal_remove(journal, f.id, uids + 1, 1, &err));
    OK(journal_settled(journal, f.id, &err));
    OK(journal_folder_set(journal, &f, &err));
    assert_int_equal(disk_waits, 0);
    OK(journal_sending(journal, f.id, 41, uids + 1, 1, &err));
    assert_true(disk_waits > 0);

    disk_waits = 0;
    OK(journal_set(journal, f.id, &m, 1, &err));
    journal_close(&journal);
    assert_true(disk_waits > 0);
}

static void test_folder_is_not_proven_any_more_when_a_row_goes(void **state)
{
    static const uint32_t one = 1;
    struct journal_message m = there(1, 10);
    struct journal_folder f;

    (void)state;
    open_journal();
    f = folder("INBOX", "INBOX");
    OK(journal_set(journal, f.id, &m, 1, &err));
    f.is_proven = true;
    OK(journal_folder_set(journal, &f, &err));
    OK(journal_remove(journal, f.id, NULL, 0, &err));
    assert_true(folder("INBOX", "INBOX").is_proven);
    OK(journal_remove(journal, f.id, &one, 1, &err));
    reopen();
    assert_false(folder("INBOX", "INBOX").is_proven);
}

static void test_fence_is_that_of_the_first_batch_until_all_is_settled(void **state)
{
    static const uint32_t one = 1, two = 2;
    struct journal_folder f;
    bool is_there = true;
    struct journal_message m = there(1, 10);

    (void)state;
    open_journal();
    f = folder("INBOX", "INBOX");
    OK(journal_sending(journal, f.id, 10, &one, 1, &err));
    OK(journal_sending(journal, f.id, 20, &two, 1, &err));
    OK(journal_set(journal, f.id, &m, 1, &err));
    assert_int_equal(folder("INBOX", "INBOX").to_fence, 10);
    OK(journal_remove(journal, f.id, &two, 1, &err));
    OK(journal_message(journal, f.id, 2, &m, &is_there, &err));
    assert_false(is_there);
    OK(journal_settled(journal, f.id, &err));
    assert_int_equal(folder("INBOX", "INBOX").to_fence, 0);
    OK(journal_sending(journal, f.id, 0, &two, 1, &err));
    assert_int_equal(folder("INBOX", "INBOX").to_fence, 1);
}

static void test_what_is_forgotten_is_that_folders_alone(void **state)
{
    const struct journal_message m[] = {there(1, 10), {.from_uid = 2}};
    static const uint32_t three = 3;
    struct journal_folder f, g;

    (void)state;
    open_journal();
    f = folder("a", "a");
    g = folder("b", "b");
    OK(journal_sending(journal, f.id, 10, &three, 1, &err));
    f.to_modseq = f.from_modseq = f.chosen = f.from_messages = f.to_uidnext = 5;
    f.is_proven = true;
    OK(journal_folder_set(journal, &f, &err));
    OK(journal_set(journal, f.id, m, 2, &err));
    OK(journal_set(journal, g.id, m, 2, &err));
    OK(journal_forget(journal, f.id, 77, 78, &err));
    assert_string_equal(pairs(f.id), "");
    assert_string_equal(in_flight(f.id), "");
    assert_string_equal(pairs(g.id), "1=10 2=0");
    f = folder("a", "a");
    assert_int_equal(f.from_uidvalidity, 77);
    assert_int_equal(f.to_uidvalidity, 78);
    assert_true((f.from_messages | f.to_uidnext | f.from_modseq | f.to_modseq | f.chosen) == 0);
    assert_int_equal(f.to_fence, 0);
    assert_false(f.is_proven);
}

static void test_exceptions_are_those_of_the_last_run(void **state)
{
    (void)state;
    open_journal();
    OK(journal_begin(journal, 1000, &err));
    OK(journal_exception(journal, SLICE("old"), 1, 2, "nul", SLICE(""), &err));
    OK(journal_begin(journal, 2000, &err));
    OK(journal_exception(journal, SLICE("Sp\xff"), 4000000000, 0, "too-big", SLICE("NO it's"),
                         &err));
    OK(journal_exception(journal, slice_of(NULL, 0), 0, 0, "quota", slice_of(NULL, 0), &err));
    journal_close(&journal);
    assert_string_equal(ask("SELECT hex(folder), from_uid, to_uid, reason, text FROM exception"),
                        "5370FF 4000000000 0 too-big NO it's\n 0 0 quota \n");
    assert_string_equal(ask("SELECT began FROM run"), "1000\n2000\n");
}

static void test_without_a_file_all_works_and_nothing_is_left(void **state)
{
    const struct journal_message m = there(1, 10);
    struct journal_folder f;

    (void)state;
    params.path = NULL;
    open_journal();
    f = folder("a", "a");
    OK(journal_set(journal, f.id, &m, 1, &err));
    OK(journal_exception(journal, SLICE("a"), 1, 0, "nul", SLICE(""), &err));
    assert_string_equal(pairs(f.id), "1=10");
    reopen();
    assert_string_equal(pairs(folder("a", "a").id), "");
}

static void test_all_of_a_large_folder_is_told(void **state)
{
    enum { N = 20000 };
    struct journal_message *m = calloc(N, sizeof *m);
    struct journal_pair *all;
    struct journal_folder f;
    size_t n;

    (void)state;
    assert_non_null(m);
    open_journal();
    f = folder("a", "a");
    for (uint32_t i = 0; i < N; i++)
        m[i] = there(2 * i + 1, i + 5);
    OK(journal_set(journal, f.id, m, N, &err));
    reopen();
    OK(journal_pairs(journal, f.id, &all, &n, &err));
    assert_int_equal(n, N);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(all[i].from_uid, 2 * i + 1);
        assert_int_equal(all[i].to_uid, i + 5);
    }
    free(all);
    free(m);
}

/* --- reading only ----------------------------------------------------------------------------- */

static void test_reading_leaves_the_file_and_its_folder_as_they_are(void **state)
{
    const struct journal_message m = there(1, 10);
    struct stat before, after;
    struct journal_folder f;
    char side[128];

    (void)state;
    open_journal();
    f = folder("a", "a");
    OK(journal_set(journal, f.id, &m, 1, &err));
    journal_close(&journal);
    stat(path, &before);
    params.is_read_only = true;
    open_journal();
    assert_string_equal(pairs(f.id), "1=10");
    assert_true(folder("b", "b").id != f.id);
    OK(journal_remove(journal, f.id, &m.from_uid, 1, &err));
    assert_string_equal(pairs(f.id), "");
    OK(journal_settled(journal, f.id, &err));
    OK(journal_begin(journal, 5, &err));
    OK(journal_exception(journal, SLICE("a"), 1, 0, "nul", SLICE(""), &err));
    journal_close(&journal);
    stat(path, &after);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
    snprintf(side, sizeof side, "%s-wal", path);
    assert_int_equal(stat(side, &after), -1);
    snprintf(side, sizeof side, "%s-shm", path);
    assert_int_equal(stat(side, &after), -1);
    open_journal();
    assert_string_equal(pairs(f.id), "1=10");
}

static void test_reading_what_is_not_there_makes_nothing(void **state)
{
    char deep[128];
    struct stat st;

    (void)state;
    snprintf(deep, sizeof deep, "%s/a/j.db", dir);
    params.path = deep;
    params.is_read_only = true;
    open_journal();
    assert_string_equal(pairs(folder("a", "a").id), "");
    snprintf(deep, sizeof deep, "%s/a", dir);
    assert_int_equal(stat(deep, &st), -1);
}

/* --- files that it must not take -------------------------------------------------------------- */

static void check_refused(const char *words)
{
    static const bool ways[] = {true, false};

    for (size_t i = 0; i < 2; i++) {
        params.is_read_only = ways[i];
        memset(&err, 0, sizeof err);
        assert_int_equal(journal_open(&params, &journal, &err), -1);
        assert_null(journal);
        if (!strstr(err.text, words) || strncmp(err.text, path, strlen(path)) != 0)
            fail_msg("%s", err.text);
    }
}

static void write_file(const char *text, size_t n)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

static void test_other_files_are_refused_and_left_alone(void **state)
{
    char text[3000];
    struct stat st;

    (void)state;
    memset(text, 'x', sizeof text);
    write_file(text, sizeof text);
    check_refused("is no journal of usher sync");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, sizeof text);
}

static void test_databases_of_others_are_refused_and_left_alone(void **state)
{
    (void)state;
    write_file("", 0);
    ask("CREATE TABLE placement (user TEXT)");
    check_refused("is no journal of usher sync");
    assert_string_equal(ask("PRAGMA journal_mode"), "delete\n");
}

static void test_file_of_a_newer_version_is_refused(void **state)
{
    (void)state;
    open_journal();
    journal_close(&journal);
    ask("PRAGMA user_version = 2");
    check_refused("is of version 2, this usher knows up to 1");
}

static void test_file_of_other_accounts_is_refused(void **state)
{
    (void)state;
    open_journal();
    journal_close(&journal);
    params.to = "imap://bob@new.example.org";
    check_refused("another pair of accounts, imap://ann@old.example.org and "
                  "imap://ann@new.example.org");
}

static void test_damaged_file_is_told(void **state)
{
    struct journal_folder f;
    int fd;

    (void)state;
    open_journal();
    f = folder("a", "a");
    for (uint32_t i = 1; i < 2000; i++) {
        const struct journal_message m = there(i, i);

        OK(journal_set(journal, f.id, &m, 1, &err));
    }
    journal_close(&journal);
    fd = open(path, O_WRONLY);
    for (off_t page = 4; page < 25; page++)
        assert_int_equal(pwrite(fd, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, page * 4096), 8);
    close(fd);
    open_journal();
    {
        struct journal_pair *all;
        size_t n;

        assert_int_equal(journal_pairs(journal, f.id, &all, &n, &err), -1);
    }
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "is damaged"));
}

static void test_folder_that_cannot_be_made_is_told(void **state)
{
    char deep[128];

    (void)state;
    write_file("", 0);
    snprintf(deep, sizeof deep, "%s/below/j.db", path);
    params.path = deep;
    assert_int_equal(journal_open(&params, &journal, &err), -1);
    assert_int_equal(err.code, ENOTDIR);
    assert_non_null(strstr(err.text, path));
}

static void test_empty_file_is_a_new_journal(void **state)
{
    (void)state;
    write_file("", 0);
    params.is_read_only = true;
    open_journal();
    journal_close(&journal);
    params.is_read_only = false;
    open_journal();
    folder("a", "a");
}

/* --- when it cannot be written ---------------------------------------------------------------- */

static void test_write_that_fails_leaves_nothing_and_the_next_may_succeed(void **state)
{
    enum { N = 4000 };
    static struct journal_message many[N];
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    const struct rlimit small = {40000, RLIM_INFINITY};
    struct journal_message m = there(1, 10);
    struct journal_folder f;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    open_journal();
    f = folder("a", "a");
    OK(journal_set(journal, f.id, &m, 1, &err));
    for (uint32_t i = 0; i < N; i++)
        many[i] = there(i + 2, i + 50);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(journal_set(journal, f.id, many, N, &err), -1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "I/O error"));
    assert_string_equal(pairs(f.id), "1=10");
    OK(journal_set(journal, f.id, many, 2, &err));
    reopen();
    assert_string_equal(pairs(f.id), "1=10 2=50 3=51");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_new_file_is_private_with_the_folders_above_it),
        T(test_folder_is_known_by_both_names_whatever_their_bytes),
        T(test_folder_is_as_it_was_set_but_for_the_fence),
        T(test_messages_go_from_sending_to_there),
        T(test_only_what_is_about_to_be_sent_waits_for_the_disk),
        T(test_folder_is_not_proven_any_more_when_a_row_goes),
        T(test_fence_is_that_of_the_first_batch_until_all_is_settled),
        T(test_what_is_forgotten_is_that_folders_alone),
        T(test_exceptions_are_those_of_the_last_run),
        T(test_without_a_file_all_works_and_nothing_is_left),
        T(test_all_of_a_large_folder_is_told),
        T(test_reading_leaves_the_file_and_its_folder_as_they_are),
        T(test_reading_what_is_not_there_makes_nothing),
        T(test_other_files_are_refused_and_left_alone),
        T(test_databases_of_others_are_refused_and_left_alone),
        T(test_file_of_a_newer_version_is_refused),
        T(test_file_of_other_accounts_is_refused),
        T(test_damaged_file_is_told),
        T(test_folder_that_cannot_be_made_is_told),
        T(test_empty_file_is_a_new_journal),
        T(test_write_that_fails_leaves_nothing_and_the_next_may_succeed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
