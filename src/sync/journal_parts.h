/* What journal.c and journal_rows.c share: the open file, its statements, transactions. */
#ifndef USHER_SYNC_JOURNAL_PARTS_H
#define USHER_SYNC_JOURNAL_PARTS_H

#include "sync/journal.h"

#include <pthread.h>

struct sqlite3;
struct sqlite3_stmt;

enum journal_sql {
    SQL_FOLDER,
    SQL_FOLDER_ADD,
    SQL_FOLDER_SET,
    SQL_FOLDER_ANEW,
    SQL_FENCE,
    SQL_SETTLED,
    SQL_FORGET,
    SQL_SENDING,
    SQL_SET,
    SQL_REMOVE,
    SQL_UNPROVEN,
    SQL_PAIRS,
    SQL_IN_FLIGHT, /* by its index: a folder may be settled after each batch */
    SQL_MESSAGE,
    SQL_DIGESTS,
    SQL_RUN,
    SQL_EXCEPTIONS_GO,
    SQL_DOUBTS,
    SQL_DOUBT_GOES,
    SQL_EXCEPTION,
    JOURNAL_SQLS
};

struct journal {
    struct sqlite3 *db;
    struct sqlite3_stmt *stmts[JOURNAL_SQLS]; /* NULL until they are used */
    pthread_mutex_t lock;                     /* over all that follows an open */
    int fd;                                   /* of the file, for our lock on it; -1: none */
    bool is_file;                             /* else nothing lasts */
    bool is_durable;                          /* the write that has been begun */
    uint64_t die_at, moments;
    char path[]; /* for words */
};

/* The words of the last error. */
int journal_fail(const struct journal *j, struct err *err);

/* All of one or several statements, without parameters and rows. */
int journal_run(const struct journal *j, const char *sql, struct err *err) MUST_CHECK;

/* A statement, ready to be bound: to be used under the lock, and reset after use. NULL: err. */
struct sqlite3_stmt *journal_stmt(struct journal *j, enum journal_sql which, struct err *err);

/* Executes one that gives no rows, whose first `n` parameters are these numbers. Others are bound
 * before. */
int journal_do(struct journal *j, struct sqlite3_stmt *stmt, const int64_t *numbers, size_t n,
               struct err *err) MUST_CHECK;

void journal_lock(struct journal *j);
void journal_unlock(struct journal *j);

/* Locks and begins; -1: neither is so. One that is begun durably is on the disk when it has ended,
 * with all before it. */
int journal_write_begin(struct journal *j, struct err *err) MUST_CHECK;
int journal_write_begin_durably(struct journal *j, struct err *err) MUST_CHECK;

/* Commits when `result` is 0, else rolls back; unlocks. What the whole write came to. */
int journal_write_end(struct journal *j, int result, struct err *err) MUST_CHECK;

#endif
