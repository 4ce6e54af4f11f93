/* A journal in a folder of its own, and all that is in it as text. */
#ifndef USHER_TESTS_JOURNAL_WORLD_H
#define USHER_TESTS_JOURNAL_WORLD_H

#include "cm.h"

#include "sync/journal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static char path[96];
static struct journal_params params;
static struct journal *journal;
static struct err err;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/usher-journal-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/j.db", dir);
    params = (struct journal_params){
        .path = path, .from = "imap://ann@old.example.org", .to = "imap://ann@new.example.org"};
    journal = NULL;
    return 0;
}

static int teardown(void **state)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};

    (void)state;
    journal_close(&journal);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char name[128];

        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    return rmdir(dir);
}

#define OK(call)                      \
    do {                              \
        if ((call) < 0)               \
            fail_msg("%s", err.text); \
    } while (0)

static inline void open_journal(void)
{
    OK(journal_open(&params, &journal, &err));
}

static inline struct journal_folder folder(const char *from, const char *to)
{
    struct journal_folder f;

    OK(journal_folder(journal, slice_str(from), slice_str(to), &f, &err));
    return f;
}

/* A message of which all is known, by its UID. */
static inline struct journal_message there(uint32_t from_uid, uint32_t to_uid)
{
    return (struct journal_message){.from_uid = from_uid,
                                    .to_uid = to_uid,
                                    .has_digest = true,
                                    .size = 1000 + from_uid,
                                    .head = {from_uid, UINT64_MAX},
                                    .raw = {0, from_uid}};
}

static inline struct journal_message message(int64_t id, uint32_t from_uid)
{
    struct journal_message m;
    bool is_there;

    OK(journal_message(journal, id, from_uid, &m, &is_there, &err));
    assert_true(is_there);
    return m;
}

/* "3=14 4=0": the messages of a folder and where they went. */
static inline const char *pairs(int64_t id)
{
    static char text[4096];
    struct journal_pair *all;
    size_t n, used = 0;

    OK(journal_pairs(journal, id, &all, &n, &err));
    text[0] = '\0';
    for (size_t i = 0; i < n && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%u=%u", i > 0 ? " " : "",
                                 all[i].from_uid, all[i].to_uid);
    free(all);
    return text;
}

/* The UIDs whose fate is open, with "+" behind those that are known to be sent. */
static inline const char *in_flight(int64_t id)
{
    static char text[4096];
    struct journal_message *all;
    size_t n, used = 0;

    OK(journal_in_flight(journal, id, &all, &n, &err));
    text[0] = '\0';
    for (size_t i = 0; i < n && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%u%s", i > 0 ? " " : "",
                                 all[i].from_uid, all[i].is_sent ? "+" : "");
    free(all);
    return text;
}

/* What SQL says of the closed file, rows by lines, columns by blanks. */
static inline const char *ask(const char *sql)
{
    static char text[65536];
    sqlite3 *db;
    sqlite3_stmt *stmt;
    size_t used = 0;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    text[0] = '\0';
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(stmt) && used < sizeof text; i++) {
            const unsigned char *s = sqlite3_column_text(stmt, i);

            used +=
                (size_t)snprintf(text + used, sizeof text - used, "%s ", s ? (const char *)s : "-");
        }
        if (used > 0 && used < sizeof text)
            text[used - 1] = '\n';
    }
    sqlite3_finalize(stmt);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return text;
}

#endif
