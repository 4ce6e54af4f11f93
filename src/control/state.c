/* The state file, by SQLite. When to write, and what to say when that fails, is left to the
 * caller. */
#include "control/state.h"

#include "base/buf.h"
#include "base/list.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* At the start nobody waits for us yet; while we serve, everybody does. */
enum { BUSY_START_MS = 5000, BUSY_SERVING_MS = 50, BUSY_READING_MS = 2000 };

/* As long as Linux takes one. */
enum { PATH_MOST = 4096 };

struct placement {
    struct list node;
    const char *pool, *backend; /* the configuration's */
    size_t user_n;
    char user[];
};

struct state {
    sqlite3 *db;
    sqlite3_stmt *stmts[STATE_WHAT_COUNT]; /* NULL until they are used */
    struct list queue;                     /* of placement, oldest first */
    size_t queue_n;
    bool is_busy; /* another program has the file; who asks is told at once */
    char path[];
};

/* IF NOT EXISTS: somebody may have laid tables out before the first start, to place holds or pins.
 */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS placement (pool TEXT NOT NULL, user TEXT NOT NULL,"
    " backend TEXT NOT NULL, since INTEGER, PRIMARY KEY (pool, user)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS pin (user TEXT NOT NULL PRIMARY KEY, backend TEXT NOT NULL,"
    " since INTEGER);"
    "CREATE TABLE IF NOT EXISTS hold (user TEXT NOT NULL PRIMARY KEY, since INTEGER);"
    "CREATE TABLE IF NOT EXISTS backend_state (backend TEXT NOT NULL PRIMARY KEY,"
    " state TEXT NOT NULL CHECK (state IN ('up', 'drain', 'down')), since INTEGER);"
    "PRAGMA user_version = 1;";

_Static_assert(STATE_VERSION == 1, "the schema ends with its version");

/* How each enum state_what is written. */
static const char *const changing[STATE_WHAT_COUNT] = {
    [STATE_PLACE] = "INSERT OR REPLACE INTO placement (pool, user, backend, since)"
                    " VALUES (:pool, :user, :backend, :since)",
    [STATE_PIN] = "INSERT OR REPLACE INTO pin (user, backend, since)"
                  " VALUES (:user, :backend, :since)",
    [STATE_UNPIN] = "DELETE FROM pin WHERE user = :user",
    [STATE_HOLD] = "INSERT OR REPLACE INTO hold (user, since) VALUES (:user, :since)",
    [STATE_RELEASE] = "DELETE FROM hold WHERE user = :user",
    [STATE_BACKEND] = "INSERT OR REPLACE INTO backend_state (backend, state, since)"
                      " VALUES (:backend, :word, :since)",
};

static int fail(const struct state *s, struct err *err)
{
    return err_set(err, 0, "%s: %s", s->path, sqlite3_errmsg(s->db));
}

static int run(const struct state *s, const char *sql, struct err *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, err);
}

static int prepare(const struct state *s, const char *sql, sqlite3_stmt **out_stmt, struct err *err)
{
    return sqlite3_prepare_v2(s->db, sql, -1, out_stmt, NULL) == SQLITE_OK ? 0 : fail(s, err);
}

static int read_version(const struct state *s, int *out_version, struct err *err)
{
    sqlite3_stmt *stmt;
    int result;

    if (prepare(s, "PRAGMA user_version", &stmt, err) < 0)
        return -1;
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        *out_version = sqlite3_column_int(stmt, 0);
        result = 0;
    } else {
        result = fail(s, err);
    }
    sqlite3_finalize(stmt);
    return result;
}

/* As read_version(), for a file that is none of a newer usher. */
static int check_version(const struct state *s, int *out_version, struct err *err)
{
    int version = 0;

    if (read_version(s, &version, err) < 0)
        return -1;
    if (version > STATE_VERSION)
        return err_set(err, 0,
                       "%s: is of version %d, this usher knows up to %d; was it written by a newer "
                       "usher?",
                       s->path, version, STATE_VERSION);
    *out_version = version;
    return 0;
}

/* The version comes first, so that a file of a newer usher is left as it is. */
static int lay_out(const struct state *s, struct err *err)
{
    int version = 0;

    if (check_version(s, &version, err) < 0 ||
        run(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;", err) < 0)
        return -1;
    if (version == STATE_VERSION)
        return 0;
    if (run(s, "BEGIN IMMEDIATE", err) < 0)
        return -1;
    if (run(s, schema, err) < 0 || run(s, "COMMIT", err) < 0) {
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    return 0;
}

static int open_file(struct state *s, struct err *err)
{
    int version;
    /* Ours alone: SQLite would let everybody read it, and gives its side files the same mode. */
    int fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_sys(err, errno, "%s", s->path);
    close(fd);
    if (sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return s->db ? fail(s, err) : err_set(err, ENOMEM, "%s: no memory", s->path);
    sqlite3_busy_timeout(s->db, BUSY_START_MS);
    return check_version(s, &version, err);
}

static struct state *new_state(const char *directory, struct err *err)
{
    size_t n = strlen(directory) + sizeof "/" STATE_FILE;
    struct state *s = calloc(1, sizeof *s + n);

    if (!s) {
        err_set(err, ENOMEM, "no memory for the state");
        return NULL;
    }
    snprintf(s->path, n, "%s/%s", directory, STATE_FILE);
    list_init(&s->queue);
    return s;
}

int state_open(const char *directory, struct state **out_state, struct err *err)
{
    struct state *s = new_state(directory, err);

    if (!s)
        return -1;
    if (open_file(s, err) < 0) {
        state_close(&s);
        return -1;
    }
    *out_state = s;
    return 0;
}

void state_close(struct state **state)
{
    struct state *s = *state;

    if (!s)
        return;
    list_for_each_safe (it, &s->queue)
        free(CONTAINER(it, struct placement, node));
    for (size_t i = 0; i < STATE_WHAT_COUNT; i++)
        sqlite3_finalize(s->stmts[i]);
    sqlite3_close(s->db);
    free(s);
    *state = NULL;
}

const char *state_path(const struct state *state)
{
    return state->path;
}

/* --- loading ------------------------------------------------------------------------------- */

static struct slice column(sqlite3_stmt *stmt, int i)
{
    /* The text first: its bytes are counted after the conversion that it may cause. */
    const unsigned char *p = sqlite3_column_text(stmt, i);

    return slice_of(p, (size_t)sqlite3_column_bytes(stmt, i));
}

struct loading {
    const struct state_rows *rows;
    void *arg;
};

static int take_placement(const struct loading *l, sqlite3_stmt *row, struct err *err)
{
    return l->rows->placement(l->arg, column(row, 0), column(row, 1), column(row, 2), err);
}

static int take_pin(const struct loading *l, sqlite3_stmt *row, struct err *err)
{
    return l->rows->pin(l->arg, column(row, 0), column(row, 1), err);
}

static int take_hold(const struct loading *l, sqlite3_stmt *row, struct err *err)
{
    return l->rows->hold(l->arg, column(row, 0), err);
}

static int take_backend_state(const struct loading *l, sqlite3_stmt *row, struct err *err)
{
    return l->rows->backend_state(l->arg, column(row, 0), column(row, 1), err);
}

static const struct table {
    const char *select;
    int (*take)(const struct loading *l, sqlite3_stmt *row, struct err *err);
} tables[] = {
    {"SELECT backend, state FROM backend_state", take_backend_state},
    {"SELECT user, backend FROM pin", take_pin},
    {"SELECT user FROM hold", take_hold},
    {"SELECT pool, user, backend FROM placement", take_placement},
};

static int load_table(const struct state *s, const struct table *table, const struct loading *l,
                      struct err *err)
{
    sqlite3_stmt *stmt;
    int status;
    int result = 0;

    if (prepare(s, table->select, &stmt, err) < 0)
        return -1;
    while (result == 0 && (status = sqlite3_step(stmt)) != SQLITE_DONE)
        result = status == SQLITE_ROW ? table->take(l, stmt, err) : fail(s, err);
    sqlite3_finalize(stmt);
    return result;
}

int state_load(struct state *state, const struct state_rows *rows, void *arg, struct err *err)
{
    struct loading l = {rows, arg};

    if (lay_out(state, err) < 0)
        return -1;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (load_table(state, &tables[i], &l, err) < 0)
            return -1;
    }
    sqlite3_busy_timeout(state->db, BUSY_SERVING_MS);
    return 0;
}

/* --- reading beside control ---------------------------------------------------------------- */

/* Beside the file stand "-wal", which holds what is not in it yet, and "-shm", the index of that:
 * as long as somebody has the file open, and when he was killed. False: it is not there, or empty.
 */
static bool is_beside(const struct state *s, const char *ending)
{
    char path[PATH_MOST];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s%s", s->path, ending);

    return n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0 && st.st_size > 0;
}

/* The path in a URI (RFC 3986), which also says how to open it. */
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

static int open_to_read(struct state *s, const char *query, struct err *err)
{
    struct buf uri;
    int status = SQLITE_NOMEM;

    buf_init(&uri, 4 * PATH_MOST, false);
    if (put_uri(&uri, s->path, query) == 0)
        status =
            sqlite3_open_v2(buf_slice(&uri).p, &s->db,
                            SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, NULL);
    buf_release(&uri);
    if (status != SQLITE_OK)
        return s->db ? fail(s, err) : err_set(err, ENOMEM, "%s: no memory", s->path);
    sqlite3_busy_timeout(s->db, BUSY_READING_MS);
    return 0;
}

/* Somebody may have laid out only some of the tables, before the first start. */
static bool has_table(const struct state *s, const char *select)
{
    sqlite3_stmt *stmt;

    if (sqlite3_prepare_v2(s->db, select, -1, &stmt, NULL) != SQLITE_OK)
        return false;
    sqlite3_finalize(stmt);
    return true;
}

static int read_all(struct state *s, const struct loading *l, struct err *err)
{
    int version;

    /* One transaction: what one table says fits what the others say. */
    if (run(s, "BEGIN", err) < 0 || check_version(s, &version, err) < 0)
        return -1;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (version == 0 && !has_table(s, tables[i].select))
            continue;
        if (load_table(s, &tables[i], l, err) < 0)
            return -1;
    }
    return 0;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Nobody has it open: to SQLite it is a file that never changes, for it would make both side files
 * otherwise, and not take them away again. Whoever begins to write meanwhile does so beside the
 * file; whether he got as far as into it is seen behind. */
static int read_alone(struct state *s, const struct stat *before, const struct loading *l,
                      struct err *err)
{
    struct stat after;

    if (open_to_read(s, "?immutable=1", err) < 0 || read_all(s, l, err) < 0)
        return -1;
    if (stat(s->path, &after) < 0 || !is_same_file(before, &after))
        return err_set(err, EAGAIN, "%s: was written while it was read; try again", s->path);
    return 0;
}

/* As one of several readers beside a writer, none of whom waits for another. Where the index is not
 * there, as in a copy without it, SQLite makes it; one that is not its owner's would keep usher
 * out.
 */
static int read_beside(struct state *s, const struct stat *st, const struct loading *l,
                       struct err *err)
{
    if (!is_beside(s, "-shm") && geteuid() != st->st_uid)
        return err_set(err, EACCES, "%s: only root and its owner can read it as it is", s->path);
    if (open_to_read(s, "", err) < 0)
        return -1;
    return read_all(s, l, err);
}

/* Root reads it as its owner: so nothing can come to be root's in a folder that is another's, and
 * nobody who may write there can have root do anything for him. */
struct whoever {
    uid_t uid;
    gid_t gid;
};

static int become(const struct state *s, struct whoever who, struct err *err)
{
    /* The group first when root goes, and last when root comes back. */
    if ((who.uid != 0 && setegid(who.gid) < 0) || seteuid(who.uid) < 0 ||
        (who.uid == 0 && setegid(who.gid) < 0))
        return err_sys(err, errno, "%s: becoming its owner", s->path);
    return 0;
}

static int read_as_owner(struct state *s, const struct stat *st, const struct loading *l,
                         struct err *err)
{
    const struct whoever me = {geteuid(), getegid()}, owner = {st->st_uid, st->st_gid};
    const bool is_root = me.uid == 0 && owner.uid != 0;
    int result;

    if (is_root && become(s, owner, err) < 0)
        return -1;
    result = is_beside(s, "-wal") || is_beside(s, "-shm") ? read_beside(s, st, l, err)
                                                          : read_alone(s, st, l, err);
    /* SQLite closes the file as who has opened it. */
    sqlite3_close(s->db);
    s->db = NULL;
    if (is_root)
        INSIST(become(s, me, NULL) == 0);
    return result;
}

int state_read(const char *directory, const struct state_rows *rows, void *arg, bool *out_is_there,
               struct err *err)
{
    struct state *s = new_state(directory, err);
    const struct loading l = {rows, arg};
    struct stat st;
    int result;

    if (!s)
        return -1;
    if (stat(s->path, &st) == 0) {
        result = read_as_owner(s, &st, &l, err);
        *out_is_there = true;
    } else if (errno == ENOENT) {
        result = 0;
        *out_is_there = false;
    } else {
        result = err_sys(err, errno, "%s", s->path);
    }
    state_close(&s);
    return result;
}

/* --- writing ------------------------------------------------------------------------------- */

int state_place(struct state *state, const char *pool, struct slice user, const char *backend,
                struct err *err)
{
    struct placement *p;

    if (state->queue_n >= STATE_QUEUE_MAX)
        return err_set(err, 0, "%s: %d placements wait to be written, no more are kept",
                       state->path, STATE_QUEUE_MAX);
    p = malloc(sizeof *p + user.n);
    if (!p)
        return err_set(err, ENOMEM, "%s: no memory to keep a placement", state->path);
    p->pool = pool;
    p->backend = backend;
    p->user_n = user.n;
    memcpy(p->user, user.p, user.n);
    list_append(&state->queue, &p->node);
    state->queue_n++;
    return 0;
}

size_t state_waiting(const struct state *state)
{
    return state->queue_n;
}

void state_each_waiting(const struct state *state,
                        void (*each)(void *arg, const char *pool, struct slice user,
                                     const char *backend),
                        void *arg)
{
    list_for_each (it, &state->queue) {
        const struct placement *p = CONTAINER(it, const struct placement, node);

        each(arg, p->pool, slice_of(p->user, p->user_n), p->backend);
    }
}

/* For a statement without this parameter there is nothing to bind. */
static void bind_text(sqlite3_stmt *stmt, const char *name, const char *text, size_t n)
{
    int i = sqlite3_bind_parameter_index(stmt, name);

    if (i > 0)
        sqlite3_bind_text(stmt, i, text, (int)n, SQLITE_STATIC);
}

static void bind_str(sqlite3_stmt *stmt, const char *name, const char *text)
{
    if (text)
        bind_text(stmt, name, text, strlen(text));
}

/* What lacks a name that it needs is refused by NOT NULL. */
static int write_one(struct state *s, const struct state_change *change, struct err *err)
{
    sqlite3_stmt *stmt = s->stmts[change->what];
    int since, status;

    if (!stmt) {
        if (prepare(s, changing[change->what], &stmt, err) < 0)
            return -1;
        s->stmts[change->what] = stmt;
    }
    since = sqlite3_bind_parameter_index(stmt, ":since");
    bind_text(stmt, ":user", change->user.p, change->user.n);
    bind_str(stmt, ":pool", change->pool);
    bind_str(stmt, ":backend", change->backend);
    bind_str(stmt, ":word", change->word);
    if (since > 0)
        sqlite3_bind_int64(stmt, since, (sqlite3_int64)time(NULL));
    status = sqlite3_step(stmt);
    if (status != SQLITE_DONE)
        fail(s, err);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return status == SQLITE_DONE ? 0 : -1;
}

static int write_all(struct state *s, const struct state_change *changes, size_t n, struct err *err)
{
    list_for_each (it, &s->queue) {
        const struct placement *p = CONTAINER(it, struct placement, node);
        const struct state_change change = {.what = STATE_PLACE,
                                            .user = slice_of(p->user, p->user_n),
                                            .pool = p->pool,
                                            .backend = p->backend};

        if (write_one(s, &change, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (write_one(s, &changes[i], err) < 0)
            return -1;
    }
    return run(s, "COMMIT", err);
}

/* To wait once is enough: behind this one a thousand others may be, and everybody behind them. */
static void note_busy(struct state *s, bool is_busy)
{
    if (s->is_busy == is_busy)
        return;
    s->is_busy = is_busy;
    sqlite3_busy_timeout(s->db, is_busy ? 0 : BUSY_SERVING_MS);
}

int state_write(struct state *state, const struct state_change *changes, size_t n, struct err *err)
{
    if (run(state, "BEGIN IMMEDIATE", err) < 0) {
        note_busy(state, sqlite3_errcode(state->db) == SQLITE_BUSY);
        return -1;
    }
    note_busy(state, false);
    if (write_all(state, changes, n, err) < 0) {
        sqlite3_exec(state->db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    list_for_each_safe (it, &state->queue)
        free(CONTAINER(it, struct placement, node));
    list_init(&state->queue);
    state->queue_n = 0;
    return 0;
}

int state_flush(struct state *state, struct err *err)
{
    return state->queue_n == 0 ? 0 : state_write(state, NULL, 0, err);
}
