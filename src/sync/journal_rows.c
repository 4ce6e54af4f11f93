/* The journal's rows: folders, messages, exceptions. */
#include "sync/journal_parts.h"

#include "base/room.h"

#include <endian.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum { DIGEST = 16 };

static void bind_text(sqlite3_stmt *stmt, int i, struct slice s)
{
    /* NULL would be SQL's NULL. */
    sqlite3_bind_text64(stmt, i, s.n > 0 ? s.p : "", s.n, SQLITE_STATIC, SQLITE_UTF8);
}

/* --- folders ---------------------------------------------------------------------------------- */

static uint32_t column_u32(sqlite3_stmt *stmt, int i)
{
    return (uint32_t)sqlite3_column_int64(stmt, i);
}

static uint64_t column_u64(sqlite3_stmt *stmt, int i)
{
    return (uint64_t)sqlite3_column_int64(stmt, i);
}

/* In the order of SQL_FOLDER. */
static struct journal_folder folder_of(sqlite3_stmt *row)
{
    return (struct journal_folder){
        .id = sqlite3_column_int64(row, 0),
        .from_uidvalidity = column_u32(row, 1),
        .to_uidvalidity = column_u32(row, 2),
        .from_uidnext = column_u32(row, 3),
        .to_uidnext = column_u32(row, 4),
        .from_messages = column_u32(row, 5),
        .to_messages = column_u32(row, 6),
        .from_modseq = column_u64(row, 7),
        .to_modseq = column_u64(row, 8),
        .to_fence = column_u32(row, 9),
        .chosen = column_u64(row, 10),
        .is_proven = sqlite3_column_int(row, 11) != 0,
    };
}

/* 1: it is there, 0: not. */
static int find_folder(struct journal *j, struct slice from, struct slice to,
                       struct journal_folder *out, struct err *err)
{
    sqlite3_stmt *stmt = journal_stmt(j, SQL_FOLDER, err);
    int status, result;

    if (!stmt)
        return -1;
    bind_text(stmt, 1, from);
    bind_text(stmt, 2, to);
    status = sqlite3_step(stmt);
    if (status == SQLITE_ROW) {
        *out = folder_of(stmt);
        result = 1;
    } else {
        result = status == SQLITE_DONE ? 0 : journal_fail(j, err);
    }
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return result;
}

static int add_folder(struct journal *j, struct slice from, struct slice to, struct err *err)
{
    sqlite3_stmt *stmt = journal_stmt(j, SQL_FOLDER_ADD, err);
    int result;

    if (!stmt)
        return -1;
    bind_text(stmt, 1, from);
    bind_text(stmt, 2, to);
    result = journal_do(j, stmt, NULL, 0, err);
    sqlite3_clear_bindings(stmt);
    return result;
}

int journal_folder(struct journal *j, struct slice from, struct slice to,
                   struct journal_folder *out, struct err *err)
{
    struct journal_folder found = {0};
    int result;

    journal_lock(j);
    result = find_folder(j, from, to, &found, err);
    journal_unlock(j);
    if (result == 0) {
        if (journal_write_begin(j, err) < 0)
            return -1;
        /* Another lane may have been here meanwhile. */
        result = find_folder(j, from, to, &found, err);
        if (result == 0) {
            result = add_folder(j, from, to, err);
            found.id = sqlite3_last_insert_rowid(j->db);
        }
        result = journal_write_end(j, result < 0 ? -1 : 0, err);
    }
    if (result < 0)
        return -1;
    *out = found;
    return 0;
}

/* Numbers alone, in a transaction of its own. */
static int write_numbers(struct journal *j, enum journal_sql which, const int64_t *numbers,
                         size_t n, struct err *err)
{
    sqlite3_stmt *stmt = journal_stmt(j, which, err);

    return stmt ? journal_do(j, stmt, numbers, n, err) : -1;
}

int journal_folder_set(struct journal *j, const struct journal_folder *f, struct err *err)
{
    const int64_t numbers[] = {f->id,
                               f->from_uidvalidity,
                               f->to_uidvalidity,
                               f->from_uidnext,
                               f->to_uidnext,
                               f->from_messages,
                               f->to_messages,
                               (int64_t)f->from_modseq,
                               (int64_t)f->to_modseq,
                               (int64_t)f->chosen,
                               f->is_proven};
    int result;

    if (journal_write_begin(j, err) < 0)
        return -1;
    result = write_numbers(j, SQL_FOLDER_SET, numbers, sizeof numbers / sizeof *numbers, err);
    INSIST(result < 0 || sqlite3_changes(j->db) == 1);
    return journal_write_end(j, result, err);
}

int journal_forget(struct journal *j, int64_t folder, uint32_t from_uidvalidity,
                   uint32_t to_uidvalidity, struct err *err)
{
    const int64_t numbers[] = {folder, from_uidvalidity, to_uidvalidity};
    int result;

    if (journal_write_begin(j, err) < 0)
        return -1;
    result = write_numbers(j, SQL_FORGET, numbers, 1, err);
    if (result == 0)
        result = write_numbers(j, SQL_FOLDER_ANEW, numbers, 3, err);
    INSIST(result < 0 || sqlite3_changes(j->db) == 1);
    return journal_write_end(j, result, err);
}

/* --- writing messages ------------------------------------------------------------------------- */

/* The same with the folder and each of these UIDs. */
static int write_uids(struct journal *j, enum journal_sql which, int64_t folder,
                      const uint32_t *uids, size_t n, struct err *err)
{
    sqlite3_stmt *stmt = journal_stmt(j, which, err);

    if (!stmt)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const int64_t numbers[] = {folder, uids[i]};

        if (journal_do(j, stmt, numbers, 2, err) < 0)
            return -1;
    }
    return 0;
}

int journal_sending(struct journal *j, int64_t folder, uint32_t fence, const uint32_t *from_uids,
                    size_t n, struct err *err)
{
    const int64_t fencing[] = {folder, fence > 0 ? fence : 1};
    int result;

    if (n == 0)
        return 0;
    if (journal_write_begin_durably(j, err) < 0)
        return -1;
    result = write_numbers(j, SQL_FENCE, fencing, 2, err);
    if (result == 0)
        result = write_uids(j, SQL_SENDING, folder, from_uids, n, err);
    return journal_write_end(j, result, err);
}

static void pack(unsigned char out[DIGEST], const struct hash128 *h)
{
    const uint64_t parts[2] = {htobe64(h->high), htobe64(h->low)};

    memcpy(out, parts, DIGEST);
}

static int write_message(struct journal *j, sqlite3_stmt *stmt, int64_t folder,
                         const struct journal_message *m, struct err *err)
{
    const int64_t numbers[] = {folder, m->from_uid, m->to_uid, m->is_sent, (int64_t)m->size};
    unsigned char head[DIGEST], raw[DIGEST];
    int result;

    if (m->has_digest) {
        pack(head, &m->head);
        pack(raw, &m->raw);
        sqlite3_bind_blob(stmt, 6, head, DIGEST, SQLITE_STATIC);
        sqlite3_bind_blob(stmt, 7, raw, DIGEST, SQLITE_STATIC);
        result = journal_do(j, stmt, numbers, 5, err);
    } else {
        result = journal_do(j, stmt, numbers, 4, err);
    }
    sqlite3_clear_bindings(stmt);
    return result;
}

static int write_messages(struct journal *j, int64_t folder, const struct journal_message *messages,
                          size_t n, struct err *err)
{
    sqlite3_stmt *stmt = journal_stmt(j, SQL_SET, err);

    if (!stmt)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (write_message(j, stmt, folder, &messages[i], err) < 0)
            return -1;
    }
    return 0;
}

int journal_set(struct journal *j, int64_t folder, const struct journal_message *messages, size_t n,
                struct err *err)
{
    if (n == 0)
        return 0;
    if (journal_write_begin(j, err) < 0)
        return -1;
    return journal_write_end(j, write_messages(j, folder, messages, n, err), err);
}

int journal_remove(struct journal *j, int64_t folder, const uint32_t *from_uids, size_t n,
                   struct err *err)
{
    int result;

    if (n == 0)
        return 0;
    if (journal_write_begin(j, err) < 0)
        return -1;
    result = write_uids(j, SQL_REMOVE, folder, from_uids, n, err);
    if (result == 0)
        result = write_numbers(j, SQL_UNPROVEN, &folder, 1, err);
    return journal_write_end(j, result, err);
}

/* --- reading messages ------------------------------------------------------------------------- */

/* A statement over one folder; NULL: err. */
static sqlite3_stmt *ask(struct journal *j, enum journal_sql which, int64_t folder, struct err *err)
{
    sqlite3_stmt *stmt = journal_stmt(j, which, err);

    if (stmt)
        sqlite3_bind_int64(stmt, 1, folder);
    return stmt;
}

/* Room for one more of `size` bytes behind n. */
static int grow(const struct journal *j, void **all, size_t n, size_t *cap, size_t size,
                struct err *err)
{
    void *larger = room_for_one(*all, n, cap, size);

    if (!larger)
        return err_set(err, ENOMEM, "%s: no memory for its messages", j->path);
    *all = larger;
    return 0;
}

typedef void take_row(sqlite3_stmt *row, void *out);

static void take_pair(sqlite3_stmt *row, void *out)
{
    *(struct journal_pair *)out = (struct journal_pair){column_u32(row, 0), column_u32(row, 1)};
}

/* Whether the column is a digest. */
static bool unpack(sqlite3_stmt *row, int i, struct hash128 *out)
{
    const void *p = sqlite3_column_blob(row, i);
    uint64_t parts[2];

    if (!p || sqlite3_column_bytes(row, i) != DIGEST)
        return false;
    memcpy(parts, p, DIGEST);
    *out = (struct hash128){be64toh(parts[0]), be64toh(parts[1])};
    return true;
}

static void take_message(sqlite3_stmt *row, void *out)
{
    struct journal_message m = {.from_uid = column_u32(row, 0),
                                .to_uid = column_u32(row, 1),
                                .is_sent = sqlite3_column_int(row, 2) != 0,
                                .size = column_u64(row, 3)};

    m.has_digest = unpack(row, 4, &m.head) && unpack(row, 5, &m.raw);
    *(struct journal_message *)out = m;
}

/* All rows of a statement, as elements of `size` bytes. */
static int take_all(struct journal *j, sqlite3_stmt *stmt, take_row *take, size_t size,
                    void **out_all, size_t *out_n, struct err *err)
{
    void *all = NULL;
    size_t n = 0, cap = 0;
    int status, result = 0;

    while (result == 0 && (status = sqlite3_step(stmt)) != SQLITE_DONE) {
        result = status == SQLITE_ROW ? grow(j, &all, n, &cap, size, err) : journal_fail(j, err);
        if (result == 0) {
            INSIST(all);
            take(stmt, (char *)all + n++ * size);
        }
    }
    sqlite3_reset(stmt);
    if (result < 0) {
        free(all);
        return -1;
    }
    *out_all = all;
    *out_n = n;
    return 0;
}

int journal_pairs(struct journal *j, int64_t folder, struct journal_pair **out, size_t *out_n,
                  struct err *err)
{
    sqlite3_stmt *stmt;
    void *all;
    int result = -1;

    journal_lock(j);
    stmt = ask(j, SQL_PAIRS, folder, err);
    if (stmt)
        result = take_all(j, stmt, take_pair, sizeof **out, &all, out_n, err);
    journal_unlock(j);
    if (result == 0)
        *out = all;
    return result;
}

int journal_in_flight(struct journal *j, int64_t folder, struct journal_message **out,
                      size_t *out_n, struct err *err)
{
    sqlite3_stmt *stmt;
    void *all;
    int result = -1;

    journal_lock(j);
    stmt = ask(j, SQL_IN_FLIGHT, folder, err);
    if (stmt)
        result = take_all(j, stmt, take_message, sizeof **out, &all, out_n, err);
    journal_unlock(j);
    if (result == 0)
        *out = all;
    return result;
}

/* The first row, if there is one: 1. */
static int take_first(struct journal *j, sqlite3_stmt *stmt, take_row *take, void *out,
                      struct err *err)
{
    int status = sqlite3_step(stmt);
    int result;

    if (status == SQLITE_ROW) {
        take(stmt, out);
        result = 1;
    } else {
        result = status == SQLITE_DONE ? 0 : journal_fail(j, err);
    }
    sqlite3_reset(stmt);
    return result;
}

int journal_message(struct journal *j, int64_t folder, uint32_t from_uid,
                    struct journal_message *out, bool *out_is_there, struct err *err)
{
    sqlite3_stmt *stmt;
    int result = -1;

    journal_lock(j);
    stmt = ask(j, SQL_MESSAGE, folder, err);
    if (stmt) {
        sqlite3_bind_int64(stmt, 2, from_uid);
        result = take_first(j, stmt, take_message, out, err);
    }
    journal_unlock(j);
    if (result < 0)
        return -1;
    *out_is_there = result > 0;
    return 0;
}

static void take_number(sqlite3_stmt *row, void *out)
{
    *(uint64_t *)out = column_u64(row, 0);
}

int journal_digests(struct journal *j, int64_t folder, uint64_t *out_n, struct err *err)
{
    sqlite3_stmt *stmt;
    int result = -1;

    journal_lock(j);
    stmt = ask(j, SQL_DIGESTS, folder, err);
    if (stmt)
        result = take_first(j, stmt, take_number, out_n, err);
    journal_unlock(j);
    return result < 0 ? -1 : 0;
}

static int write_settled(struct journal *j, int64_t folder, struct err *err)
{
    sqlite3_stmt *stmt = ask(j, SQL_IN_FLIGHT, folder, err);
    struct journal_message waiting;
    int found = stmt ? take_first(j, stmt, take_message, &waiting, err) : -1;

    INSIST(found <= 0);
    return found < 0 ? -1 : write_numbers(j, SQL_SETTLED, &folder, 1, err);
}

int journal_settled(struct journal *j, int64_t folder, struct err *err)
{
    if (journal_write_begin(j, err) < 0)
        return -1;
    return journal_write_end(j, write_settled(j, folder, err), err);
}

/* --- exceptions ------------------------------------------------------------------------------- */

int journal_begin(struct journal *j, int64_t now_s, struct err *err)
{
    int result;

    if (journal_write_begin(j, err) < 0)
        return -1;
    result = write_numbers(j, SQL_EXCEPTIONS_GO, NULL, 0, err);
    if (result == 0)
        result = write_numbers(j, SQL_RUN, &now_s, 1, err);
    return journal_write_end(j, result, err);
}

int journal_exception(struct journal *j, struct slice folder, uint32_t from_uid, uint32_t to_uid,
                      const char *reason, struct slice text, struct err *err)
{
    const int64_t numbers[] = {from_uid, to_uid};
    sqlite3_stmt *stmt;
    int result = -1;

    if (journal_write_begin(j, err) < 0)
        return -1;
    stmt = journal_stmt(j, SQL_EXCEPTION, err);
    if (stmt) {
        bind_text(stmt, 3, folder);
        bind_text(stmt, 4, slice_str(reason));
        bind_text(stmt, 5, text);
        result = journal_do(j, stmt, numbers, 2, err);
        sqlite3_clear_bindings(stmt);
    }
    return journal_write_end(j, result, err);
}

int journal_doubts(struct journal *j, struct slice folder, struct journal_pair **out, size_t *out_n,
                   struct err *err)
{
    sqlite3_stmt *stmt;
    void *all;
    int result = -1;

    journal_lock(j);
    stmt = journal_stmt(j, SQL_DOUBTS, err);
    if (stmt) {
        bind_text(stmt, 1, folder);
        result = take_all(j, stmt, take_pair, sizeof **out, &all, out_n, err);
        sqlite3_clear_bindings(stmt);
    }
    journal_unlock(j);
    if (result == 0)
        *out = all;
    return result;
}

int journal_no_doubt(struct journal *j, struct slice folder, uint32_t from_uid, struct err *err)
{
    const int64_t numbers[] = {from_uid};
    sqlite3_stmt *stmt;
    int result = -1;

    if (journal_write_begin(j, err) < 0)
        return -1;
    stmt = journal_stmt(j, SQL_DOUBT_GOES, err);
    if (stmt) {
        bind_text(stmt, 2, folder);
        result = journal_do(j, stmt, numbers, 1, err);
        sqlite3_clear_bindings(stmt);
    }
    return journal_write_end(j, result, err);
}
