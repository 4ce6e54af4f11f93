/* The journal's file: opening, locking, laying out, transactions. Its rows are in journal_rows.c.
 *
 * Usher has the file alone. A lock of ours (open file description, on a byte that SQLite never
 * comes near) keeps out other runs, with a word for them; SQLite's own (locking_mode = EXCLUSIVE)
 * keeps out other programs, and spares the shared index beside the file, so that a journal may lie
 * on a network file system.
 *
 * One that is only read is copied to begin with, into a nameless file that goes when it is closed:
 * so writing can be played there. */
#include "sync/journal_parts.h"

#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* As long as Linux takes one. */
enum { PATH_MOST = 4096 };

/* "ushJ", in the file's header. */
enum { APPLICATION_ID = 0x7573684a };

/* Where locks are: ours, behind whatever a file can hold; and SQLite's, by its file format. */
static const off_t our_byte = INT64_MAX - 1;
static const off_t sqlite_byte = 0x40000000;
static const off_t sqlite_bytes = 512;

/* Digests are 16 bytes, as struct hash128 has them, high first. in_flight has the few rows without
 * a to_uid, so that they are found at once among 300,000. */
static const char schema[] =
    "CREATE TABLE account (from_name TEXT NOT NULL, to_name TEXT NOT NULL);"
    "CREATE TABLE folder (id INTEGER PRIMARY KEY, from_name TEXT NOT NULL, to_name TEXT NOT NULL,"
    " from_uidvalidity INTEGER NOT NULL DEFAULT 0, to_uidvalidity INTEGER NOT NULL DEFAULT 0,"
    " from_uidnext INTEGER NOT NULL DEFAULT 0, to_uidnext INTEGER NOT NULL DEFAULT 0,"
    " from_messages INTEGER NOT NULL DEFAULT 0, to_messages INTEGER NOT NULL DEFAULT 0,"
    " from_modseq INTEGER NOT NULL DEFAULT 0, to_modseq INTEGER NOT NULL DEFAULT 0,"
    " to_fence INTEGER NOT NULL DEFAULT 0, chosen INTEGER NOT NULL DEFAULT 0,"
    " is_proven INTEGER NOT NULL DEFAULT 0, UNIQUE (from_name, to_name));"
    "CREATE TABLE message (folder INTEGER NOT NULL, from_uid INTEGER NOT NULL,"
    " to_uid INTEGER NOT NULL, is_sent INTEGER NOT NULL, size INTEGER, head BLOB, raw BLOB,"
    " PRIMARY KEY (folder, from_uid)) WITHOUT ROWID;"
    "CREATE INDEX in_flight ON message (folder, from_uid) WHERE to_uid = 0;"
    "CREATE TABLE run (id INTEGER PRIMARY KEY, began INTEGER NOT NULL);"
    "CREATE TABLE exception (id INTEGER PRIMARY KEY, folder TEXT NOT NULL,"
    " from_uid INTEGER NOT NULL, to_uid INTEGER NOT NULL, reason TEXT NOT NULL,"
    " text TEXT NOT NULL, UNIQUE (folder, from_uid, to_uid, reason, text));"
    "PRAGMA user_version = 1;";

_Static_assert(JOURNAL_VERSION == 1, "the schema ends with its version");

static const char *const statements[JOURNAL_SQLS] = {
    [SQL_FOLDER] = "SELECT id, from_uidvalidity, to_uidvalidity, from_uidnext, to_uidnext,"
                   " from_messages, to_messages, from_modseq, to_modseq, to_fence, chosen,"
                   " is_proven FROM folder WHERE from_name = ?1 AND to_name = ?2",
    [SQL_FOLDER_ADD] = "INSERT INTO folder (from_name, to_name) VALUES (?1, ?2)",
    [SQL_FOLDER_SET] = "UPDATE folder SET from_uidvalidity = ?2, to_uidvalidity = ?3,"
                       " from_uidnext = ?4, to_uidnext = ?5, from_messages = ?6, to_messages = ?7,"
                       " from_modseq = ?8, to_modseq = ?9, chosen = ?10, is_proven = ?11"
                       " WHERE id = ?1",
    [SQL_FOLDER_ANEW] = "UPDATE folder SET from_uidvalidity = ?2, to_uidvalidity = ?3,"
                        " from_uidnext = 0, to_uidnext = 0, from_messages = 0, to_messages = 0,"
                        " from_modseq = 0, to_modseq = 0, to_fence = 0, chosen = 0, is_proven = 0"
                        " WHERE id = ?1",
    [SQL_FENCE] = "UPDATE folder SET to_fence = ?2 WHERE id = ?1 AND to_fence = 0",
    [SQL_SETTLED] = "UPDATE folder SET to_fence = 0 WHERE id = ?1 AND to_fence <> 0",
    [SQL_FORGET] = "DELETE FROM message WHERE folder = ?1",
    [SQL_SENDING] = "INSERT OR REPLACE INTO message (folder, from_uid, to_uid, is_sent)"
                    " VALUES (?1, ?2, 0, 0)",
    [SQL_SET] = "INSERT OR REPLACE INTO message (folder, from_uid, to_uid, is_sent, size, head,"
                " raw) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [SQL_REMOVE] = "DELETE FROM message WHERE folder = ?1 AND from_uid = ?2",
    [SQL_UNPROVEN] = "UPDATE folder SET is_proven = 0 WHERE id = ?1 AND is_proven <> 0",
    [SQL_PAIRS] = "SELECT from_uid, to_uid FROM message WHERE folder = ?1 ORDER BY from_uid",
    [SQL_IN_FLIGHT] = "SELECT from_uid, to_uid, is_sent, size, head, raw FROM message"
                      " INDEXED BY in_flight WHERE folder = ?1 AND to_uid = 0 ORDER BY from_uid",
    [SQL_MESSAGE] = "SELECT from_uid, to_uid, is_sent, size, head, raw FROM message"
                    " WHERE folder = ?1 AND from_uid = ?2",
    [SQL_DIGESTS] = "SELECT count(raw) FROM message WHERE folder = ?1",
    [SQL_RUN] = "INSERT INTO run (began) VALUES (?1)",
    [SQL_EXCEPTIONS_GO] = "DELETE FROM exception"
                          " WHERE reason NOT IN ('bytes-differ', 'lines-differ')",
    [SQL_DOUBTS] = "SELECT DISTINCT from_uid, 0 FROM exception WHERE folder = ?1"
                   " AND reason IN ('bytes-differ', 'lines-differ') ORDER BY from_uid",
    [SQL_DOUBT_GOES] = "DELETE FROM exception WHERE from_uid = ?1 AND folder = ?2"
                       " AND reason IN ('bytes-differ', 'lines-differ')",
    [SQL_EXCEPTION] = "INSERT OR REPLACE INTO exception (from_uid, to_uid, folder, reason, text)"
                      " VALUES (?1, ?2, ?3, ?4, ?5)",
};

/* --- statements and transactions -------------------------------------------------------------- */

/* Of a connection that is not, or not yet, the journal's own. */
static int fail_of(const char *path, sqlite3 *db, struct err *err)
{
    int status = sqlite3_errcode(db);
    int code = sqlite3_system_errno(db);

    if (status == SQLITE_NOTADB)
        return err_set(err, 0, "%s: is no journal of usher sync", path);
    if (status == SQLITE_CORRUPT)
        return err_set(err, 0,
                       "%s: is damaged (%s); without it messages are compared by their"
                       " headers, so it may be moved away",
                       path, sqlite3_errmsg(db));
    if (status == SQLITE_BUSY || status == SQLITE_LOCKED)
        return err_set(err, EBUSY, "%s: is in use by another program", path);
    if (status == SQLITE_FULL)
        return err_set(err, ENOSPC, "%s: the disk is full", path);
    if (status == SQLITE_CANTOPEN && code != 0)
        return err_sys(err, code, "%s", path);
    return err_set(err, 0, "%s: %s", path, sqlite3_errmsg(db));
}

int journal_fail(const struct journal *j, struct err *err)
{
    return fail_of(j->path, j->db, err);
}

int journal_run(const struct journal *j, const char *sql, struct err *err)
{
    return sqlite3_exec(j->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : journal_fail(j, err);
}

sqlite3_stmt *journal_stmt(struct journal *j, enum journal_sql which, struct err *err)
{
    if (!j->stmts[which] &&
        sqlite3_prepare_v3(j->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT,
                           &j->stmts[which], NULL) != SQLITE_OK)
        journal_fail(j, err);
    return j->stmts[which];
}

int journal_do(struct journal *j, sqlite3_stmt *stmt, const int64_t *numbers, size_t n,
               struct err *err)
{
    int result = 0;

    for (size_t i = 0; i < n; i++)
        sqlite3_bind_int64(stmt, (int)i + 1, numbers[i]);
    if (sqlite3_step(stmt) != SQLITE_DONE)
        result = journal_fail(j, err);
    sqlite3_reset(stmt);
    return result;
}

void journal_lock(struct journal *j)
{
    INSIST(pthread_mutex_lock(&j->lock) == 0);
}

void journal_unlock(struct journal *j)
{
    INSIST(pthread_mutex_unlock(&j->lock) == 0);
}

/* Without a file there is nothing to wait for. */
static int set_durable(struct journal *j, bool is_durable, struct err *err)
{
    if (!j->is_file || j->is_durable == is_durable)
        return 0;
    if (journal_run(j, is_durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
                    err) < 0)
        return -1;
    j->is_durable = is_durable;
    return 0;
}

static int begin(struct journal *j, bool is_durable, struct err *err)
{
    journal_lock(j);
    if (set_durable(j, is_durable, err) == 0 && journal_run(j, "BEGIN IMMEDIATE", err) == 0)
        return 0;
    journal_unlock(j);
    return -1;
}

int journal_write_begin(struct journal *j, struct err *err)
{
    return begin(j, false, err);
}

int journal_write_begin_durably(struct journal *j, struct err *err)
{
    return begin(j, true, err);
}

static void moment(struct journal *j)
{
    if (++j->moments == j->die_at)
        kill(getpid(), SIGKILL);
}

static int commit(struct journal *j, struct err *err)
{
    moment(j);
    if (journal_run(j, "COMMIT", err) < 0)
        return -1;
    moment(j);
    return 0;
}

int journal_write_end(struct journal *j, int result, struct err *err)
{
    if (result == 0)
        result = commit(j, err);
    /* Some errors have rolled back already. */
    if (result < 0 && !sqlite3_get_autocommit(j->db))
        sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
    journal_unlock(j);
    return result;
}

/* --- what is in the file ---------------------------------------------------------------------- */

static int read_number(const struct journal *j, const char *sql, int64_t *out, struct err *err)
{
    sqlite3_stmt *stmt;
    int result = -1;

    if (sqlite3_prepare_v2(j->db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return journal_fail(j, err);
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        *out = sqlite3_column_int64(stmt, 0);
        result = 0;
    } else {
        journal_fail(j, err);
    }
    sqlite3_finalize(stmt);
    return result;
}

/* Before anything is written, so that what is not ours stays as it is. Whoever died while he laid
 * the tables out has left a file without any. */
static int check_kind(const struct journal *j, bool *out_is_new, struct err *err)
{
    int64_t id = 0, version = 0, tables = 0;

    if (read_number(j, "PRAGMA application_id", &id, err) < 0 ||
        read_number(j, "PRAGMA user_version", &version, err) < 0 ||
        read_number(j, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0)
        return -1;
    *out_is_new = id == 0 && version == 0 && tables == 0;
    if (!*out_is_new && id != APPLICATION_ID)
        return err_set(err, 0, "%s: is no journal of usher sync", j->path);
    if (version > JOURNAL_VERSION)
        return err_set(err, 0,
                       "%s: is of version %lld, this usher knows up to %d; was it written"
                       " by a newer usher?",
                       j->path, (long long)version, JOURNAL_VERSION);
    return 0;
}

static int prepare_account(const struct journal *j, const char *sql,
                           const struct journal_params *params, sqlite3_stmt **out_stmt,
                           struct err *err)
{
    if (sqlite3_prepare_v2(j->db, sql, -1, out_stmt, NULL) != SQLITE_OK)
        return journal_fail(j, err);
    sqlite3_bind_text(*out_stmt, 1, params->from, -1, SQLITE_STATIC);
    sqlite3_bind_text(*out_stmt, 2, params->to, -1, SQLITE_STATIC);
    return 0;
}

static int write_tables(struct journal *j, const struct journal_params *params, struct err *err)
{
    char application[64];
    sqlite3_stmt *stmt;
    int result;

    snprintf(application, sizeof application, "PRAGMA application_id = %d", APPLICATION_ID);
    if (journal_run(j, schema, err) < 0 || journal_run(j, application, err) < 0 ||
        prepare_account(j, "INSERT INTO account (from_name, to_name) VALUES (?1, ?2)", params,
                        &stmt, err) < 0)
        return -1;
    result = journal_do(j, stmt, NULL, 0, err);
    sqlite3_finalize(stmt);
    return result;
}

static int lay_out(struct journal *j, const struct journal_params *params, struct err *err)
{
    if (journal_write_begin(j, err) < 0)
        return -1;
    return journal_write_end(j, write_tables(j, params, err), err);
}

/* UIDs of other accounts mean other messages. */
static int check_accounts(const struct journal *j, const struct journal_params *params,
                          struct err *err)
{
    sqlite3_stmt *stmt;
    int result;

    if (prepare_account(j,
                        "SELECT from_name = ?1 AND to_name = ?2, from_name, to_name FROM account",
                        params, &stmt, err) < 0)
        return -1;
    if (sqlite3_step(stmt) != SQLITE_ROW)
        result = journal_fail(j, err);
    else if (sqlite3_column_int(stmt, 0))
        result = 0;
    else
        result = err_set(err, 0, "%s: is the journal of another pair of accounts, %s and %s",
                         j->path, (const char *)sqlite3_column_text(stmt, 1),
                         (const char *)sqlite3_column_text(stmt, 2));
    sqlite3_finalize(stmt);
    return result;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* The folders above a file. */
static int make_folders(const char *path, struct err *err)
{
    char above[PATH_MOST];
    size_t n = strlen(path);

    if (n >= sizeof above)
        return err_sys(err, ENAMETOOLONG, "%s", path);
    memcpy(above, path, n + 1);
    for (char *p = strchr(above + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        if (mkdir(above, 0700) < 0 && errno != EEXIST)
            return err_sys(err, errno, "%s", above);
        *p = '/';
    }
    return 0;
}

/* SQLite has its locks by process, so they tell whose they are. */
static int say_in_use(const struct journal *j, struct err *err)
{
    struct flock other = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = sqlite_byte, .l_len = sqlite_bytes};

    if (fcntl(j->fd, F_GETLK, &other) == 0 && other.l_type != F_UNLCK && other.l_pid > 0)
        return err_set(err, EBUSY, "%s: is in use by process %d", j->path, (int)other.l_pid);
    return err_set(err, EBUSY, "%s: is in use by another run", j->path);
}

static int take_lock(const struct journal *j, short type, struct err *err)
{
    struct flock mine = {.l_type = type, .l_whence = SEEK_SET, .l_start = our_byte, .l_len = 1};

    if (fcntl(j->fd, F_OFD_SETLK, &mine) == 0)
        return 0;
    if (errno == EAGAIN || errno == EACCES)
        return say_in_use(j, err);
    return err_sys(err, errno, "%s: locking it", j->path);
}

static int open_db(const char *path, const char *name, int flags, const char *vfs, sqlite3 **out_db,
                   struct err *err)
{
    /* A lock of its own each connection needs none: it has ours. */
    if (sqlite3_open_v2(name, out_db, flags | SQLITE_OPEN_NOMUTEX, vfs) == SQLITE_OK)
        return 0;
    return *out_db ? fail_of(path, *out_db, err) : err_set(err, ENOMEM, "%s: no memory", path);
}

static int open_to_write(struct journal *j, struct err *err)
{
    if (make_folders(j->path, err) < 0)
        return -1;
    /* Ours alone: SQLite would let everybody read it, and gives its side files the same mode. */
    j->fd = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->fd < 0)
        return err_sys(err, errno, "%s", j->path);
    if (take_lock(j, F_WRLCK, err) < 0 ||
        open_db(j->path, j->path, SQLITE_OPEN_READWRITE, NULL, &j->db, err) < 0)
        return -1;
    return journal_run(j, "PRAGMA locking_mode = EXCLUSIVE", err);
}

/* Small ones stay in memory wholly. */
static int open_nameless(struct journal *j, struct err *err)
{
    if (open_db(j->path, "", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL, &j->db, err) < 0)
        return -1;
    return 0;
}

/* The path in a URI (RFC 3986), which alone can say how to open it. */
static int put_uri(struct buf *out, const char *path, const char *query)
{
    int failed = buf_puts(out, "file:");

    for (; *path && failed == 0; path++) {
        bool is_special = strchr("?#%", *path) || (unsigned char)*path < ' ';

        failed = is_special ? buf_printf(out, "%%%02x", (unsigned char)*path)
                            : buf_put(out, slice_of(path, 1));
    }
    return failed != 0 ? -1 : buf_put(out, slice_of(query, strlen(query) + 1));
}

/* What a run that was killed has not written into the file yet lies in "-wal". */
static bool has_tail(const char *path)
{
    char wal[PATH_MOST + 8];
    struct stat st;

    snprintf(wal, sizeof wal, "%s-wal", path);
    return stat(wal, &st) == 0 && st.st_size > 0;
}

/* Without any file being made or written beside it: one that is whole is opened as if it were on a
 * medium that cannot change; one with a tail by the driver that does not lock, so that its index
 * can be in our memory, and without tidying up at the end. Our own lock is there. */
static int open_to_read(const char *path, sqlite3 **out_db, struct err *err)
{
    bool is_whole = !has_tail(path);
    struct buf uri;
    int result;

    buf_init(&uri, 4 * PATH_MOST, false);
    result = put_uri(&uri, path, is_whole ? "?immutable=1" : "");
    if (result < 0)
        err_sys(err, ENAMETOOLONG, "%s", path);
    else
        result = open_db(path, buf_slice(&uri).p, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
                         is_whole ? NULL : "unix-none", out_db, err);
    buf_release(&uri);
    if (result < 0)
        return -1;
    sqlite3_db_config(*out_db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (sqlite3_exec(*out_db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK)
        return fail_of(path, *out_db, err);
    return 0;
}

static int copy_from(struct journal *j, sqlite3 *file, struct err *err)
{
    sqlite3_backup *copy = sqlite3_backup_init(j->db, "main", file, "main");
    int status;

    if (!copy)
        return journal_fail(j, err);
    status = sqlite3_backup_step(copy, -1);
    sqlite3_backup_finish(copy);
    return status == SQLITE_DONE ? 0 : journal_fail(j, err);
}

static int open_copy(struct journal *j, struct err *err)
{
    sqlite3 *file = NULL;
    int result;

    if (open_nameless(j, err) < 0)
        return -1;
    j->fd = open(j->path, O_RDONLY | O_CLOEXEC);
    if (j->fd < 0)
        return errno == ENOENT ? 0 : err_sys(err, errno, "%s", j->path);
    if (take_lock(j, F_RDLCK, err) < 0)
        return -1;
    result = open_to_read(j->path, &file, err);
    if (result == 0)
        result = copy_from(j, file, err);
    sqlite3_close(file);
    return result;
}

static int open_it(struct journal *j, const struct journal_params *params, struct err *err)
{
    bool is_new = false;
    int result;

    if (!params->path)
        result = open_nameless(j, err);
    else
        result = params->is_read_only ? open_copy(j, err) : open_to_write(j, err);
    if (result < 0 || check_kind(j, &is_new, err) < 0 ||
        journal_run(j,
                    j->is_file ? "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL"
                               : "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF",
                    err) < 0)
        return -1;
    return is_new ? lay_out(j, params, err) : check_accounts(j, params, err);
}

int journal_open(const struct journal_params *params, struct journal **out_journal, struct err *err)
{
    const char *path = params->path ? params->path : "the journal";
    size_t n = strlen(path) + 1;
    struct journal *j = calloc(1, sizeof *j + n);

    if (!j)
        return err_set(err, ENOMEM, "%s: no memory", path);
    memcpy(j->path, path, n);
    j->fd = -1;
    j->is_file = params->path && !params->is_read_only;
    j->die_at = params->die_at;
    INSIST(pthread_mutex_init(&j->lock, NULL) == 0);
    if (open_it(j, params, err) < 0) {
        journal_close(&j);
        return -1;
    }
    *out_journal = j;
    return 0;
}

void journal_close(struct journal **journal)
{
    struct journal *j = *journal;

    if (!j)
        return;
    for (size_t i = 0; i < JOURNAL_SQLS; i++)
        sqlite3_finalize(j->stmts[i]);
    sqlite3_close(j->db);
    /* Last: to close any descriptor of a file gives up all locks that SQLite has on it. */
    if (j->fd >= 0)
        close(j->fd);
    pthread_mutex_destroy(&j->lock);
    free(j);
    *journal = NULL;
}
