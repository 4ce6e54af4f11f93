/* What is written and taken by control/succession.h. How the notes look is control/notes.c's. */
#include "control/succession.h"

#include "control/moves.h"
#include "control/notes.h"
#include "control/tell.h"
#include "control/wellness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const kinds[] = {"move", "return", "kick"};
enum kind { KIND_MOVE, KIND_RETURN, KIND_KICK, KINDS };

/* --- writing ------------------------------------------------------------------------------- */

struct writing {
    const struct succession *s;
    uint64_t now_ms;
    struct notes_writer w;
    struct succession_sum *sum;
};

static void lose(struct succession_sum *sum, const char *why)
{
    if (sum->lost++ == 0)
        err_set(&sum->why, 0, "%s", why);
}

/* Says whether it was written. */
static bool end_line(struct writing *w)
{
    if (notes_end(&w->w) == 0)
        return true;
    lose(w->sum, "there was no room for all notes");
    return false;
}

static uint64_t age_of(const struct writing *w, uint64_t at_ms)
{
    return w->now_ms > at_ms ? w->now_ms - at_ms : 0;
}

static void write_health(struct writing *w, uint32_t backend)
{
    const struct backends *all = w->s->backends;
    const struct backend *b = &all->all[backend];
    struct health_record r;

    health_record(&b->health, w->now_ms, &r);
    notes_begin(&w->w, "health");
    notes_str(&w->w, "backend", backends_title(all, backend));
    notes_uint(&w->w, "meaning", b->meaning);
    notes_str(&w->w, "state", health_name(r.state));
    notes_uint(&w->w, "age", r.age_ms);
    if (r.row > 0)
        notes_uint(&w->w, "row", r.row);
    if (r.rests > 0) {
        notes_uint(&w->w, "rests", r.rests);
        notes_uint(&w->w, "rested", r.rested_age_ms);
    }
    if (r.is_resting)
        notes_uint(&w->w, "rest", r.rest_ms);
    if (r.was_down)
        notes_uint(&w->w, "up", r.up_age_ms);
    if (b->is_back && health_serves(&b->health))
        notes_uint(&w->w, "back", 1);
    w->sum->backends += end_line(w);
}

static void write_placed(void *arg, const char *pool, struct slice user, const char *backend)
{
    struct writing *w = arg;

    notes_begin(&w->w, "placed");
    notes_slice(&w->w, "user", user);
    notes_str(&w->w, "pool", pool);
    notes_str(&w->w, "backend", backend);
    (void)end_line(w);
}

static void write_way(struct writing *w, uint16_t pool, uint32_t from, uint32_t to)
{
    notes_str(&w->w, "pool", w->s->conf->pools[pool].title);
    if (from != BACKEND_NONE)
        notes_str(&w->w, "from", backends_title(w->s->backends, from));
    if (to != BACKEND_NONE)
        notes_str(&w->w, "to", backends_title(w->s->backends, to));
}

static void write_moves(struct writing *w, const struct list *moves)
{
    list_for_each (it, moves) {
        const struct move *m = CONTAINER(it, const struct move, node);

        notes_begin(&w->w, "move");
        notes_slice(&w->w, "user", user_name(m->user));
        notes_str(&w->w, "kind", kinds[m->is_return ? KIND_RETURN : KIND_MOVE]);
        write_way(w, m->user->pool, m->from, m->to);
        notes_uint(&w->w, "age", age_of(w, m->since_ms));
        notes_uint(&w->w, "tries", m->tries);
        if (m->retry_ms > w->now_ms)
            notes_uint(&w->w, "wait", m->retry_ms - w->now_ms);
        w->sum->moves += end_line(w);
    }
}

/* All its users are in one pool, but those who are kicked from a backend that has come into
 * another.
 */
static void write_batch(struct writing *w, const struct batch *b)
{
    const enum kind kind = b->is_return            ? KIND_RETURN
                           : b->to == BACKEND_NONE ? KIND_KICK
                                                   : KIND_MOVE;

    uint16_t pool;

    if (b->at == b->n)
        return;
    pool = b->users[b->at]->pool;
    notes_begin(&w->w, "batch");
    notes_str(&w->w, "kind", kinds[kind]);
    write_way(w, pool, b->from, b->to);
    notes_uint(&w->w, "rate", b->per_second);
    notes_uint(&w->w, "credit", b->credit);
    if (!end_line(w))
        return;
    for (size_t i = b->at; i < b->n; i++) {
        notes_begin(&w->w, "user");
        notes_slice(&w->w, "name", user_name(b->users[i]));
        if (b->users[i]->pool != pool)
            write_way(w, b->users[i]->pool, BACKEND_NONE, BACKEND_NONE);
        w->sum->waiting += end_line(w);
    }
}

/* What is short, and what matters most, comes first. */
void succession_write(const struct succession *s, uint64_t now_ms, struct buf *out,
                      struct succession_sum *out_sum)
{
    struct writing w = {.s = s, .now_ms = now_ms, .sum = out_sum};

    *out_sum = (struct succession_sum){0};
    if (notes_write(&w.w, out) < 0) {
        lose(out_sum, "there was no room for notes");
        return;
    }
    for (uint32_t i = 0; i < s->backends->n; i++)
        write_health(&w, i);
    if (s->state)
        state_each_waiting(s->state, write_placed, &w);
    write_moves(&w, &s->moves->ready);
    write_moves(&w, &s->moves->under_way);
    notes_begin(&w.w, "given");
    notes_uint(&w.w, "up", s->moves->given_up);
    notes_uint(&w.w, "since", s->moves->since_epoch);
    (void)end_line(&w);
    list_for_each (it, &s->moves->batches)
        write_batch(&w, CONTAINER(it, const struct batch, node));
}

/* --- taking -------------------------------------------------------------------------------- */

/* The users of a batch, while their lines are read. */
struct gathering {
    bool is_open; /* else these are passed over with their batch */
    uint16_t pool;
    const char *gone; /* the title in the notes is of no backend there; NULL: it is */
    enum kind kind;
    struct batch batch;
    size_t cap;
};

struct taking {
    const struct succession *s;
    uint64_t now_ms;
    struct notes_reader r;
    struct gathering g;
    struct succession_sum *sum;
};

static const struct conf_pool *pool_at(const struct taking *t, uint16_t pool)
{
    return &t->s->conf->pools[pool];
}

/* Users of a pool that is not there any more can be kicked, and nothing else. */
static bool take_pool(const struct taking *t, enum kind kind, uint16_t *out_pool)
{
    struct slice title = notes_value(&t->r, "pool");

    for (size_t i = 0; i < t->s->conf->pools_n; i++) {
        if (slice_eq(slice_str(t->s->conf->pools[i].title), title)) {
            *out_pool = (uint16_t)i;
            return true;
        }
    }
    *out_pool = (uint16_t)t->s->conf->pools_n;
    return kind == KIND_KICK;
}

/* A backend of the pool; BACKEND_NONE: it has none of this title. */
static uint32_t take_target(const struct taking *t, uint16_t pool)
{
    uint32_t backend = backends_find(t->s->backends, notes_value(&t->r, "to"));

    return backends_has(t->s->backends, backend, pool) ? backend : BACKEND_NONE;
}

/* Of whatever pool, or of none any more; BACKEND_NONE: nothing is said, or memory is out. */
static uint32_t take_source(const struct taking *t)
{
    struct slice title = notes_value(&t->r, "from");

    return title.n > 0 ? backends_number(t->s->backends, title) : BACKEND_NONE;
}

static bool take_kind(const struct taking *t, enum kind *out_kind)
{
    for (unsigned i = 0; i < KINDS; i++) {
        if (slice_eq(notes_value(&t->r, "kind"), slice_str(kinds[i]))) {
            *out_kind = (enum kind)i;
            return true;
        }
    }
    return false;
}

/* Made by settings that may be others now. False: it is none. */
static bool take_name(const struct taking *t, const char *key, char name[IPC_USER_MAX],
                      struct slice *out_name)
{
    struct slice value = notes_value(&t->r, key);

    return user_is_name(value) && admission_username(t->s->admission, value, name, out_name);
}

/* Kept, for the caller to let go. NULL: there is none. */
static struct user *take_user(const struct taking *t, const char *key, uint16_t pool)
{
    char text[IPC_USER_MAX];
    struct slice name;
    struct user *u;

    if (!take_name(t, key, text, &name))
        return NULL;
    u = registry_user_make(admission_registry(t->s->admission), pool, name);
    if (u)
        registry_keep(u);
    return u;
}

static void let_go(const struct taking *t, struct user *u)
{
    registry_let_go(admission_registry(t->s->admission), u);
}

static bool take_state(struct slice word, enum health_state *out_state)
{
    static const enum health_state all[] = {HEALTH_UP, HEALTH_FAILING, HEALTH_DOWN,
                                            HEALTH_RECOVERING};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (slice_eq(word, slice_str(health_name(all[i])))) {
            *out_state = all[i];
            return true;
        }
    }
    return false;
}

/* So old that it counts for nothing. */
#define AGES (UINT64_MAX / 4)

/* One that is not there any more, or not the same, is as any new one. */
static const char *take_health(struct taking *t)
{
    const struct notes_reader *r = &t->r;
    const struct succession *s = t->s;
    struct health_record record = {
        .row = (uint32_t)notes_number(r, "row", UINT32_MAX, 0),
        .rests = (uint32_t)notes_number(r, "rests", UINT32_MAX, 0),
        .age_ms = notes_number(r, "age", AGES, 0),
        .is_resting = notes_value(r, "rest").n > 0,
        .rest_ms = notes_number(r, "rest", AGES, 0),
        .rested_age_ms = notes_number(r, "rested", AGES, AGES),
        .was_down = notes_value(r, "up").n > 0,
        .up_age_ms = notes_number(r, "up", AGES, AGES),
    };
    uint32_t backend = backends_find(s->backends, notes_value(r, "backend"));

    if (!take_state(notes_value(r, "state"), &record.state))
        return "a backend's health is none";
    if (backends_is_stranger(s->backends, backend) ||
        notes_number(r, "meaning", UINT64_MAX, 0) != s->backends->all[backend].meaning)
        return NULL;
    wellness_resume(s->admission, backend, &record, notes_number(r, "back", 1, 0) > 0, t->now_ms);
    t->sum->backends++;
    return NULL;
}

static const char *take_placed(struct taking *t)
{
    struct slice title = notes_value(&t->r, "backend");
    char text[IPC_USER_MAX];
    struct slice name;
    uint32_t backend;
    uint16_t pool;

    if (!t->s->state || !take_pool(t, KIND_MOVE, &pool) ||
        pool_at(t, pool)->storage == STORAGE_SHARED)
        return NULL;
    if (title.n == 0 || !take_name(t, "user", text, &name))
        return "a placement is none";
    backend = backends_number(t->s->backends, title);
    if (backend == BACKEND_NONE ||
        registry_place(admission_registry(t->s->admission), pool, name, backend) < 0 ||
        state_place(t->s->state, pool_at(t, pool)->title, name,
                    backends_title(t->s->backends, backend), NULL) < 0)
        return "no memory for a placement";
    return NULL;
}

static const char *resume(struct taking *t, const struct move *m, enum kind kind)
{
    struct err err;

    if (m->to == BACKEND_NONE ||
        (kind == KIND_RETURN && pool_at(t, m->user->pool)->storage != STORAGE_SHARED)) {
        if (kind == KIND_RETURN)
            return NULL;
        err_set(&err, 0, "%.*s is not in the configuration any more",
                SLICE_ARG(notes_value(&t->r, "to")));
    } else if (moves_resume(t->s->moves, m, &err) == 0) {
        t->sum->moves++;
        return NULL;
    }
    moves_give_up(t->s->moves, m->user, &err);
    return NULL;
}

static const char *take_move(struct taking *t)
{
    const uint64_t age_ms = notes_number(&t->r, "age", AGES, 0);
    const uint64_t wait_ms = notes_number(&t->r, "wait", MOVES_LOST_MS, 0);
    struct move m = {.from = take_source(t),
                     .since_ms = t->now_ms > age_ms ? t->now_ms - age_ms : 1,
                     .retry_ms = wait_ms > 0 ? t->now_ms + wait_ms : 0,
                     .tries = (unsigned)notes_number(&t->r, "tries", MOVES_TRIES - 1, 0)};
    const char *wrong;
    enum kind kind;
    uint16_t pool;

    if (!take_kind(t, &kind) || kind == KIND_KICK)
        return "a move is none";
    if (!take_pool(t, kind, &pool))
        return "a move is in a pool that is not there any more";
    m.user = take_user(t, "user", pool);
    if (!m.user)
        return "the user of a move has no name, or there is no memory";
    m.to = take_target(t, pool);
    m.is_return = kind == KIND_RETURN;
    wrong = resume(t, &m, kind);
    let_go(t, m.user);
    return wrong;
}

static const char *take_given(struct taking *t)
{
    struct moves *m = t->s->moves;

    m->given_up += notes_number(&t->r, "up", UINT32_MAX, 0);
    m->since_epoch = (uint32_t)notes_number(&t->r, "since", UINT32_MAX, m->since_epoch);
    return NULL;
}

/* --- batches ------------------------------------------------------------------------------- */

static void let_all_go(const struct taking *t)
{
    const struct batch *b = &t->g.batch;

    for (size_t i = 0; i < b->n; i++)
        let_go(t, b->users[i]);
    free((void *)b->users);
}

/* As the last user's line has been read. */
static void close_batch(struct taking *t)
{
    struct gathering *g = &t->g;
    struct batch *b = &g->batch;
    struct err err;

    if (!g->is_open)
        return;
    g->is_open = false;
    for (size_t i = 0; i < b->n; i++)
        b->users[i]->is_seen = false;
    if (b->n > 0 && !g->gone && moves_resume_batch(t->s->moves, b, t->now_ms, &err) == 0) {
        t->sum->waiting += b->n;
        return;
    }
    if (b->n > 0 && g->kind != KIND_RETURN) {
        if (g->gone)
            err_set(&err, 0, "%s; %zu others are not moved either", g->gone, b->n - 1);
        moves_give_up(t->s->moves, b->users[0], &err);
    }
    let_all_go(t);
}

static const char *open_batch(struct taking *t)
{
    struct gathering *g = &t->g;

    *g = (struct gathering){
        .batch = {.from = take_source(t),
                  .to = BACKEND_NONE,
                  .per_second = (uint32_t)notes_number(&t->r, "rate", UINT32_MAX, 0),
                  .credit = notes_number(&t->r, "credit", UINT32_MAX, 0)}};
    if (!take_kind(t, &g->kind) || g->batch.per_second == 0)
        return "a batch of moves or kicks is none";
    if (!take_pool(t, g->kind, &g->pool))
        return "a batch of moves is in a pool that is not there any more";
    if (g->kind != KIND_RETURN && g->batch.from == BACKEND_NONE)
        return "a batch of moves or kicks does not say whence";
    g->is_open = true;
    g->batch.is_return = g->kind == KIND_RETURN;
    if (g->kind == KIND_KICK)
        return NULL;
    g->batch.to = take_target(t, g->pool);
    if (g->batch.to == BACKEND_NONE)
        g->gone = "the backend is not in the configuration any more";
    if (g->batch.is_return && pool_at(t, g->pool)->storage != STORAGE_SHARED)
        g->gone = "nobody returns with own storage";
    return NULL;
}

static bool has_room(struct gathering *g)
{
    size_t cap = g->cap ? 2 * g->cap : 64;
    struct user **more;

    if (g->batch.n < g->cap)
        return true;
    more = realloc((void *)g->batch.users, cap * sizeof(struct user *));
    if (!more)
        return false;
    g->batch.users = more;
    g->cap = cap;
    return true;
}

static const char *take_one_of_batch(struct taking *t)
{
    struct gathering *g = &t->g;
    uint16_t pool = g->pool;
    struct user *u;

    if (!g->is_open)
        return NULL;
    /* Who is moved is in the pool of the backends. */
    if (g->kind == KIND_KICK && notes_value(&t->r, "pool").n > 0)
        (void)take_pool(t, g->kind, &pool);
    if (!has_room(g) || !(u = take_user(t, "name", pool)))
        return "one who waits has no name, or there is no memory";
    if (u->is_seen) {
        let_go(t, u);
        return "one who waits is there twice";
    }
    u->is_seen = true;
    g->batch.users[g->batch.n++] = u;
    return NULL;
}

/* --- all ----------------------------------------------------------------------------------- */

/* NULL, or what is wrong with the line. */
static const char *take_line(struct taking *t)
{
    static const struct {
        const char *kind;
        const char *(*take)(struct taking *t);
    } rows[] = {
        {"health", take_health}, {"placed", take_placed}, {"move", take_move},
        {"given", take_given},   {"batch", open_batch},
    };

    if (slice_eq(t->r.kind, SLICE("user")))
        return take_one_of_batch(t);
    close_batch(t);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (slice_eq(t->r.kind, slice_str(rows[i].kind)))
            return rows[i].take(t);
    }
    return NULL; /* of a later release */
}

void succession_take(const struct succession *s, struct slice text, uint64_t now_ms,
                     struct succession_sum *out_sum)
{
    struct taking t = {.s = s, .now_ms = now_ms, .sum = out_sum};
    enum notes_result result;

    *out_sum = (struct succession_sum){0};
    if (!notes_read(&t.r, text)) {
        lose(out_sum, "these are no notes of a control, or not of a form that this program knows");
        return;
    }
    while ((result = notes_next(&t.r)) != NOTES_OVER) {
        const char *wrong = result == NOTES_READ ? take_line(&t) : "a line cannot be read";

        if (wrong)
            lose(out_sum, wrong);
    }
    close_batch(&t);
}

/* --- as a descriptor ----------------------------------------------------------------------- */

int succession_create(struct err *err)
{
    int fd = memfd_create("usher-notes", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    return fd < 0 ? err_sys(err, errno, "cannot make memory for notes") : fd;
}

static int write_all(int fd, struct slice text, struct err *err)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);

        if (n <= 0)
            return err_sys(err, errno, "cannot write notes");
        text = slice_sub(text, (size_t)n, text.n);
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return err_sys(err, errno, "cannot seal notes");
    return 0;
}

int succession_leave(const struct succession *s, int fd, uint64_t now_ms)
{
    struct succession_sum sum;
    struct buf text;
    struct err err;
    int result;

    buf_init(&text, NOTES_MAX, false);
    succession_write(s, now_ms, &text, &sum);
    result = write_all(fd, buf_slice(&text), &err);
    buf_release(&text);
    if (result < 0)
        tell_notes_lost(0, err.text);
    else if (sum.lost > 0)
        tell_notes_lost(sum.lost, sum.why.text);
    return result;
}

/* NULL: it cannot be read. */
static char *read_all(int fd, size_t *out_n)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = size >= 0 && size <= NOTES_MAX ? malloc((size_t)size + 1) : NULL;
    size_t n = 0;

    while (text && n < (size_t)size) {
        ssize_t got = pread(fd, text + n, (size_t)size - n, (off_t)n);

        if (got <= 0)
            break;
        n += (size_t)got;
    }
    *out_n = n;
    return text;
}

void succession_follow(const struct succession *s, int fd, uint64_t now_ms)
{
    struct succession_sum sum;
    size_t n;
    char *text = read_all(fd, &n);

    close(fd);
    if (!text) {
        tell_notes_lost(0, "they cannot be read");
        return;
    }
    succession_take(s, slice_of(text, n), now_ms, &sum);
    free(text);
    tell_notes_taken(&sum);
    if (sum.lost > 0)
        tell_notes_lost(sum.lost, sum.why.text);
}
