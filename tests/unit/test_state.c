/* The state file: what lasts, with users of any name, and files that others have touched. */
#include "control/state.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static char path[96];
static struct state *state;
static struct err err;

/* What was loaded, one line a row, in the order of loading. */
static char loaded[65536];

static void note(const char *what, struct slice a, struct slice b, struct slice c)
{
    size_t n = strlen(loaded);

    snprintf(loaded + n, sizeof loaded - n, "%s %.*s %.*s %.*s\n", what, SLICE_ARG(a), SLICE_ARG(b),
             SLICE_ARG(c));
}

static int on_placement(void *arg, struct slice pool, struct slice user, struct slice backend,
                        struct err *e)
{
    (void)arg;
    (void)e;
    note("placement", pool, user, backend);
    return 0;
}

static int on_pin(void *arg, struct slice user, struct slice backend, struct err *e)
{
    (void)arg;
    (void)e;
    note("pin", user, backend, SLICE("-"));
    return 0;
}

static int on_hold(void *arg, struct slice user, struct err *e)
{
    const bool *is_failing = arg;

    note("hold", user, SLICE("-"), SLICE("-"));
    return is_failing && *is_failing ? err_set(e, 0, "enough") : 0;
}

static int on_backend_state(void *arg, struct slice backend, struct slice word, struct err *e)
{
    (void)arg;
    (void)e;
    note("state", backend, word, SLICE("-"));
    return 0;
}

static const struct state_rows rows = {on_placement, on_pin, on_hold, on_backend_state};

static int setup(void **unused)
{
    (void)unused;
    strcpy(dir, "/tmp/usher-state-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/%s", dir, STATE_FILE);
    state = NULL;
    return 0;
}

static int teardown(void **unused)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};

    (void)unused;
    state_close(&state);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[128];

        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
    return rmdir(dir);
}

static void load(void)
{
    loaded[0] = '\0';
    if (state_load(state, &rows, NULL, &err) < 0)
        fail_msg("%s", err.text);
}

static void open_state(void)
{
    if (state_open(dir, &state, &err) < 0)
        fail_msg("%s", err.text);
    load();
}

static void reopen(void)
{
    state_close(&state);
    assert_null(state);
    open_state();
    load();
}

static void flush(void)
{
    if (state_flush(state, &err) < 0)
        fail_msg("%s", err.text);
}

/* As another program, with its own connection. */
static sqlite3 *other(void)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static void run(sqlite3 *db, const char *sql)
{
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void run_alone(const char *sql)
{
    sqlite3 *db = other();

    run(db, sql);
    sqlite3_close(db);
}

static void place(const char *user)
{
    assert_int_equal(state_place(state, "main", slice_str(user), "mail1", &err), 0);
}

static void test_a_new_file_is_empty_and_ours_alone(void **unused)
{
    struct stat st;

    (void)unused;
    open_state();
    load();
    assert_string_equal(loaded, "");
    assert_string_equal(state_path(state), path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_placements_are_there_after_a_restart(void **unused)
{
    (void)unused;
    open_state();
    load();
    place("bob");
    place("ann@example.org");
    assert_int_equal(state_waiting(state), 2);
    flush();
    assert_int_equal(state_waiting(state), 0);
    reopen();
    assert_string_equal(loaded, "placement main ann@example.org mail1\nplacement main bob mail1\n");
}

static void test_what_was_not_flushed_is_not_there(void **unused)
{
    (void)unused;
    open_state();
    load();
    place("bob");
    reopen();
    assert_string_equal(loaded, "");
}

static void test_a_user_who_is_placed_again_is_placed_once(void **unused)
{
    (void)unused;
    open_state();
    load();
    place("bob");
    assert_int_equal(state_place(state, "main", SLICE("bob"), "mail2", &err), 0);
    assert_int_equal(state_place(state, "other", SLICE("bob"), "mail3", &err), 0);
    flush();
    reopen();
    assert_string_equal(loaded, "placement main bob mail2\nplacement other bob mail3\n");
}

static void test_a_flush_of_nothing_is_fine(void **unused)
{
    (void)unused;
    open_state();
    load();
    flush();
}

static void test_names_of_any_bytes_come_back_as_they_were(void **unused)
{
    static const char *const names[] = {
        "\x01\x7f",         "\xff\xfe\xfd", "\xc3(", "\xed\xa0\x80", "a' OR 1=1; --", "a\tb \"c\"",
        "\xf0\x9f\x90\x8c", "%s%n",         "123",   "1e5",          "NULL",          " ",
        "\xef\xbb\xbfx",
    };
    enum { N = sizeof names / sizeof names[0] };

    (void)unused;
    open_state();
    load();
    for (size_t i = 0; i < N; i++)
        place(names[i]);
    flush();
    reopen();
    for (size_t i = 0; i < N; i++) {
        char line[64];

        snprintf(line, sizeof line, "placement main %s mail1\n", names[i]);
        assert_non_null(strstr(loaded, line));
    }
}

static void test_rows_of_another_program_are_read(void **unused)
{
    (void)unused;
    open_state();
    state_close(&state);
    run_alone("INSERT INTO hold(user, since) VALUES ('ann', 1);"
              "INSERT INTO hold(user) VALUES (12);"
              "INSERT INTO hold(user) VALUES (x'ff626c6f62');"
              "INSERT INTO pin(user, backend) VALUES ('bob', 'mail2');"
              "INSERT INTO backend_state(backend, state) VALUES ('mail1', 'down');");
    open_state();
    load();
    assert_non_null(strstr(loaded, "state mail1 down -\npin bob mail2 -\n"));
    assert_non_null(strstr(loaded, "hold ann - -\n"));
    assert_non_null(strstr(loaded, "hold 12 - -\n"));
    assert_non_null(strstr(loaded, "hold \xff"
                                   "blob - -\n"));
}

static void test_tables_laid_out_before_the_first_start_are_kept(void **unused)
{
    (void)unused;
    run_alone("CREATE TABLE hold (user TEXT PRIMARY KEY, since INTEGER);"
              "INSERT INTO hold VALUES ('ann', 1);");
    open_state();
    load();
    assert_string_equal(loaded, "hold ann - -\n");
}

static void test_an_unknown_state_is_not_let_into_the_file(void **unused)
{
    sqlite3 *db;

    (void)unused;
    open_state();
    db = other();
    assert_int_equal(
        sqlite3_exec(db, "INSERT INTO backend_state VALUES ('mail1', 'Down', 1)", NULL, NULL, NULL),
        SQLITE_CONSTRAINT);
    sqlite3_close(db);
}

static void test_a_newer_file_is_refused_and_left_alone(void **unused)
{
    (void)unused;
    run_alone("CREATE TABLE new (x); PRAGMA user_version = 2;");
    assert_int_equal(state_open(dir, &state, &err), -1);
    assert_null(state);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "version 2"));
    run_alone("SELECT x FROM new");
}

static void test_opening_waits_for_nobody_and_writes_nothing(void **unused)
{
    sqlite3 *db;

    (void)unused;
    open_state();
    state_close(&state);
    db = other();
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE; INSERT INTO hold(user) VALUES ('ann')",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(state_open(dir, &state, &err), 0);
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    load();
    assert_string_equal(loaded, "hold ann - -\n");
    sqlite3_close(db);
}

static void test_tables_are_made_when_the_file_is_loaded(void **unused)
{
    (void)unused;
    run_alone("CREATE TABLE hold (user TEXT NOT NULL PRIMARY KEY, since INTEGER)");
    assert_int_equal(state_open(dir, &state, &err), 0);
    run_alone("CREATE TABLE pin (user TEXT NOT NULL PRIMARY KEY, backend TEXT NOT NULL, since "
              "INTEGER)");
    load();
    place("ann");
    flush();
}

static void test_a_file_that_is_no_database_is_refused(void **unused)
{
    FILE *f = fopen(path, "w");

    (void)unused;
    fputs("This is not a database, however long one looks at it. It goes on for a while.", f);
    fclose(f);
    assert_int_equal(state_open(dir, &state, &err), -1);
    assert_non_null(strstr(err.text, path));
}

static void test_a_directory_that_is_not_there_is_named(void **unused)
{
    (void)unused;
    assert_int_equal(state_open("/nowhere/at/all", &state, &err), -1);
    assert_non_null(strstr(err.text, "/nowhere/at/all/usher.db: No such file"));
}

static void test_a_failed_write_keeps_everything_for_the_next_try(void **unused)
{
    sqlite3 *db;

    (void)unused;
    open_state();
    load();
    place("bob");
    db = other();
    run(db, "BEGIN IMMEDIATE");
    assert_int_equal(state_flush(state, &err), -1);
    assert_non_null(strstr(err.text, "locked"));
    assert_int_equal(state_waiting(state), 1);
    place("ann");
    assert_int_equal(state_flush(state, &err), -1);
    run(db, "COMMIT");
    sqlite3_close(db);
    flush();
    reopen();
    assert_string_equal(loaded, "placement main ann mail1\nplacement main bob mail1\n");
}

static void test_a_write_that_fails_half_way_writes_nothing(void **unused)
{
    sqlite3 *db;

    (void)unused;
    open_state();
    load();
    db = other();
    run(db, "CREATE TRIGGER bad BEFORE INSERT ON placement WHEN new.user = 'bob' "
            "BEGIN SELECT RAISE(ABORT, 'not bob'); END");
    place("ann");
    place("bob");
    assert_int_equal(state_flush(state, &err), -1);
    assert_non_null(strstr(err.text, "not bob"));
    assert_int_equal(state_waiting(state), 2);
    run(db, "DROP TRIGGER bad");
    sqlite3_close(db);
    flush();
    reopen();
    assert_string_equal(loaded, "placement main ann mail1\nplacement main bob mail1\n");
}

static int write_change(struct state_change change)
{
    return state_write(state, &change, 1, &err);
}

static void test_what_operators_change_is_there_at_once(void **unused)
{
    (void)unused;
    open_state();
    load();
    assert_int_equal(write_change((struct state_change){
                         .what = STATE_PIN, .user = SLICE("ann\xff"), .backend = "mail1"}),
                     0);
    assert_int_equal(write_change((struct state_change){
                         .what = STATE_PIN, .user = SLICE("ann\xff"), .backend = "mail2"}),
                     0);
    assert_int_equal(write_change((struct state_change){.what = STATE_HOLD, .user = SLICE("bob")}),
                     0);
    assert_int_equal(write_change((struct state_change){
                         .what = STATE_BACKEND, .backend = "mail1", .word = "drain"}),
                     0);
    assert_int_equal(
        write_change((struct state_change){
            .what = STATE_PLACE, .user = SLICE("cid"), .pool = "main", .backend = "mail3"}),
        0);
    reopen();
    assert_string_equal(loaded, "state mail1 drain -\npin ann\xff mail2 -\nhold bob - -\n"
                                "placement main cid mail3\n");
    assert_int_equal(
        write_change((struct state_change){.what = STATE_UNPIN, .user = SLICE("ann\xff")}), 0);
    assert_int_equal(
        write_change((struct state_change){.what = STATE_RELEASE, .user = SLICE("bob")}), 0);
    assert_int_equal(
        write_change((struct state_change){.what = STATE_RELEASE, .user = SLICE("nobody")}), 0);
    reopen();
    assert_string_equal(loaded, "state mail1 drain -\nplacement main cid mail3\n");
}

static void test_changes_are_written_together_behind_what_waits(void **unused)
{
    const struct state_change changes[] = {
        {.what = STATE_PLACE, .user = SLICE("ann"), .pool = "main", .backend = "mail2"},
        {.what = STATE_PIN, .user = SLICE("ann"), .backend = "mail2"}};

    (void)unused;
    open_state();
    load();
    place("ann");
    place("bob");
    assert_int_equal(state_write(state, changes, 2, &err), 0);
    assert_int_equal(state_waiting(state), 0);
    reopen();
    assert_string_equal(loaded,
                        "pin ann mail2 -\nplacement main ann mail2\nplacement main bob mail1\n");
}

/* Whether the file is locked, or refuses the second of two changes: what waits still does. */
static void test_a_change_that_fails_changes_nothing(void **unused)
{
    const struct state_change changes[] = {
        {.what = STATE_HOLD, .user = SLICE("ann")},
        {.what = STATE_BACKEND, .backend = "mail1", .word = "upside down"}};
    sqlite3 *db;

    (void)unused;
    open_state();
    load();
    place("bob");
    assert_int_equal(state_write(state, changes, 2, &err), -1);
    assert_non_null(strstr(err.text, "CHECK constraint failed"));
    db = other();
    run(db, "BEGIN IMMEDIATE");
    assert_int_equal(state_write(state, changes, 1, &err), -1);
    assert_non_null(strstr(err.text, "locked"));
    sqlite3_close(db);
    assert_int_equal(state_waiting(state), 1);
    flush();
    assert_int_equal(state_write(state, changes, 1, &err), 0);
    reopen();
    assert_string_equal(loaded, "hold ann - -\nplacement main bob mail1\n");
}

static void test_what_waits_is_bounded(void **unused)
{
    (void)unused;
    open_state();
    load();
    for (unsigned i = 0; i < STATE_QUEUE_MAX; i++) {
        char user[16];

        snprintf(user, sizeof user, "u%u", i);
        place(user);
    }
    assert_int_equal(state_place(state, "main", SLICE("late"), "mail1", &err), -1);
    assert_int_equal(state_waiting(state), STATE_QUEUE_MAX);
    flush();
    place("late");
    assert_int_equal(state_waiting(state), 1);
}

static void test_loading_ends_when_the_reader_says_so(void **unused)
{
    bool is_failing = true;

    (void)unused;
    open_state();
    run_alone("INSERT INTO hold(user) VALUES ('ann'), ('bob')");
    loaded[0] = '\0';
    assert_int_equal(state_load(state, &rows, &is_failing, &err), -1);
    assert_string_equal(err.text, "enough");
    assert_string_equal(loaded, "hold ann - -\n");
}

static void test_a_table_of_another_shape_is_an_error(void **unused)
{
    (void)unused;
    run_alone("CREATE TABLE hold (name TEXT)");
    assert_int_equal(state_open(dir, &state, &err), 0);
    assert_int_equal(state_load(state, &rows, NULL, &err), -1);
    assert_non_null(strstr(err.text, "no such column: user"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_new_file_is_empty_and_ours_alone),
        TEST(test_placements_are_there_after_a_restart),
        TEST(test_what_was_not_flushed_is_not_there),
        TEST(test_a_user_who_is_placed_again_is_placed_once),
        TEST(test_a_flush_of_nothing_is_fine),
        TEST(test_names_of_any_bytes_come_back_as_they_were),
        TEST(test_rows_of_another_program_are_read),
        TEST(test_tables_laid_out_before_the_first_start_are_kept),
        TEST(test_an_unknown_state_is_not_let_into_the_file),
        TEST(test_a_newer_file_is_refused_and_left_alone),
        TEST(test_opening_waits_for_nobody_and_writes_nothing),
        TEST(test_tables_are_made_when_the_file_is_loaded),
        TEST(test_a_file_that_is_no_database_is_refused),
        TEST(test_a_directory_that_is_not_there_is_named),
        TEST(test_a_failed_write_keeps_everything_for_the_next_try),
        TEST(test_a_write_that_fails_half_way_writes_nothing),
        TEST(test_what_operators_change_is_there_at_once),
        TEST(test_changes_are_written_together_behind_what_waits),
        TEST(test_a_change_that_fails_changes_nothing),
        TEST(test_what_waits_is_bounded),
        TEST(test_loading_ends_when_the_reader_says_so),
        TEST(test_a_table_of_another_shape_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
