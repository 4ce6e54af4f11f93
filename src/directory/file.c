/* The driver file: a map, read by pieces beside the one in use, and read again when it changes.
 *
 *     look ──▶ changed? ──▶ settled? ──▶ open, read piece by piece ──▶ whole and good: in use
 *      ▲          │no          │no                │                        │
 *      └── LOOK_MS┘  SETTLE_MS─┘                  └─ wrong: told, the old one stays
 *
 * A text that is being written is not read before two looks have seen it the same, and is read
 * again when it has changed by the time it is read: else those users would be unknown whose lines
 * are not there yet. For the same reason one that is empty is taken for an accident. What has a
 * file's stamp is not read twice. */
#include "base/hash.h"
#include "base/list.h"
#include "directory/drivers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    LOOK_MS = 1000,
    SETTLE_MS = 250,
    REST_S = 2, /* at the start, what is as old is not being written; some file systems know whole
                   seconds only */
    UNSETTLED_MAX = 40, /* looks at a file that changes all the time, before it is told */
    PIECE = 32 * 1024   /* some 700 lines, a millisecond */
};

/* What tells one text of a file from another. The change time is there for tools that set the
 * modification time back. */
struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec modified, changed;
};

struct question {
    struct list node;
    directory_done *done;
    void *arg;
    size_t user_n;
    char user[];
};

struct directory {
    struct directory_params params;
    struct facts_map *map;  /* in use; NULL: none was read yet */
    struct facts_map *gone; /* not in use any more, and freed by and by */
    struct facts_map *next; /* being read from `fd`; else NULL and -1 */
    int fd;
    struct stamp next_stamp; /* when reading began */
    off_t next_n;            /* bytes read since */
    struct stamp read, seen; /* of the text that was read last, and of the last look */
    bool has_read, has_seen;
    bool has_tried; /* the first reading is over, well or not: no question waits any more */
    unsigned unsettled;
    struct err why; /* what is wrong now; empty: nothing */
    struct list questions;
    struct deadline look;
    struct watch work; /* comes with each turn of the loop while there is something to do */
    int work_fd;
    char piece[PIECE];
};

static const char *path_of(const struct directory *d)
{
    return d->params.conf->path;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void answer(struct directory *d, struct slice user, directory_done *done, void *arg)
{
    if (d->map)
        directory_find(d->map, user, done, arg);
    else
        done(arg, DIRECTORY_FAILED, slice_str(d->why.text));
}

static void answer_all(struct directory *d)
{
    d->has_tried = true;
    while (!list_empty(&d->questions)) {
        struct question *q = CONTAINER(d->questions.next, struct question, node);

        list_remove(&q->node);
        answer(d, slice_of(q->user, q->user_n), q->done, q->arg);
        free(q);
    }
}

static void file_lookup(struct directory *d, struct slice user, directory_done *done, void *arg)
{
    struct question *q;

    if (d->has_tried) {
        answer(d, user, done, arg);
        return;
    }
    q = malloc(sizeof *q + user.n);
    if (!q) {
        done(arg, DIRECTORY_FAILED, SLICE("no memory for the question"));
        return;
    }
    *q = (struct question){.done = done, .arg = arg, .user_n = user.n};
    memcpy(q->user, user.p, user.n);
    list_append(&d->questions, &q->node);
}

static void file_cancel(struct directory *d, void *arg)
{
    list_for_each_safe (it, &d->questions) {
        struct question *q = CONTAINER(it, struct question, node);

        if (q->arg == arg) {
            list_remove(&q->node);
            free(q);
            return;
        }
    }
}

/* --- news ------------------------------------------------------------------------------------- */

static void tell_read(struct directory *d)
{
    const struct directory_news news = {.title = d->params.conf->title,
                                        .users = facts_map_users(d->map),
                                        .rules = facts_map_rules(d->map)};

    d->why.text[0] = '\0';
    d->params.tell(d->params.arg, &news);
}

/* The same is told once. */
static void tell_wrong(struct directory *d, const struct err *why)
{
    char detail[sizeof why->text + 80];
    const struct directory_news news = {
        .is_bad = true, .title = d->params.conf->title, .detail = detail};

    if (strcmp(d->why.text, why->text) != 0) {
        d->why = *why;
        snprintf(detail, sizeof detail, "%s; %s", why->text,
                 d->map ? "what was read before stays in use"
                        : "logins that ask here fail until it is right");
        d->params.tell(d->params.arg, &news);
    }
    answer_all(d);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void stop_reading(struct directory *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
    if (d->gone)
        facts_map_free(&d->next);
    else
        d->gone = d->next;
    d->next = NULL;
    wipe(d->piece, sizeof d->piece);
}

static bool is_same(const struct stamp *a, const struct stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static struct stamp stamp_of(const struct stat *st)
{
    return (struct stamp){st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim};
}

/* It is wrong now, but may be right at the next look though the file stays the same. */
static void fail_reading(struct directory *d, const struct err *why)
{
    stop_reading(d);
    d->has_read = false;
    tell_wrong(d, why);
    deadline_set(d->params.loop, &d->look, LOOK_MS);
}

static int open_file(struct directory *d, struct err *err)
{
    struct facts_map_params p = {.conf = d->params.global};
    struct stat st;

    /* A pipe in place of the file shall not make us wait for its writer. */
    d->fd = open(path_of(d), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (d->fd < 0 || fstat(d->fd, &st) < 0)
        return err_sys(err, errno, "%s", path_of(d));
    if (!S_ISREG(st.st_mode))
        return err_set(err, 0, "%s is not a file", path_of(d));
    if (st.st_size == 0)
        return err_set(err, 0, "%s is empty; a map of nobody has a comment in it", path_of(d));
    d->next_stamp = stamp_of(&st);
    d->next_n = 0;
    hash_random(p.salt, sizeof p.salt);
    d->next = facts_map_new(&p);
    return d->next ? 0 : err_set(err, 0, "%s: no memory to read it", path_of(d));
}

static void begin_reading(struct directory *d)
{
    struct err err;

    if (open_file(d, &err) < 0)
        fail_reading(d, &err);
    else
        watch_set(d->params.loop, &d->work, LOOP_READ);
}

/* A text that was changed under our eyes is not judged. */
static bool has_changed(struct directory *d)
{
    struct stamp now;
    struct stat st;

    if (fstat(d->fd, &st) < 0)
        return false;
    now = stamp_of(&st);
    return !is_same(&now, &d->next_stamp);
}

static void read_anew(struct directory *d)
{
    struct err err;

    stop_reading(d);
    d->has_seen = false;
    if (++d->unsettled >= UNSETTLED_MAX) {
        d->unsettled = 0;
        err_set(&err, 0, "%s is being written all the time", path_of(d));
        tell_wrong(d, &err);
    }
    deadline_set(d->params.loop, &d->look, SETTLE_MS);
}

/* `why` NULL: the text is good. */
static void end_reading(struct directory *d, struct err *why)
{
    if (has_changed(d)) {
        read_anew(d);
        return;
    }
    d->read = d->next_stamp;
    d->has_read = true;
    d->unsettled = 0;
    if (why) {
        (void)err_prefix(why, "%s:%zu", path_of(d), facts_map_line(d->next));
        stop_reading(d);
        tell_wrong(d, why);
    } else {
        struct facts_map *old = d->map;

        d->map = d->next;
        d->next = old;
        stop_reading(d);
        tell_read(d);
        answer_all(d);
    }
    deadline_set(d->params.loop, &d->look, LOOK_MS);
}

static void read_some(struct directory *d)
{
    const ssize_t n = read(d->fd, d->piece, sizeof d->piece);
    struct err err;

    if (n > 0) {
        d->next_n += n;
        /* Whoever writes as fast as we read would keep us for ever. */
        if (d->next_n > d->next_stamp.size)
            read_anew(d);
        else if (facts_map_step(d->next, slice_of(d->piece, (size_t)n), &err) < 0)
            end_reading(d, &err);
    } else if (n == 0) {
        end_reading(d, facts_map_finish(d->next, &err) < 0 ? &err : NULL);
    } else if (errno != EINTR) {
        err_sys(&err, errno, "%s", path_of(d));
        fail_reading(d, &err);
    }
}

static void on_work(struct watch *w, unsigned events)
{
    struct directory *d = CONTAINER(w, struct directory, work);

    (void)events;
    /* The old one first, so that there are never three of them. */
    if (d->gone)
        (void)facts_map_free_some(&d->gone);
    else if (d->next)
        read_some(d);
    else
        watch_set(d->params.loop, w, 0);
}

/* --- looking ---------------------------------------------------------------------------------- */

/* So that who begins need not wait for the second look. */
static bool is_at_rest(const struct stamp *seen)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec - seen->modified.tv_sec > REST_S &&
           now.tv_sec - seen->changed.tv_sec > REST_S;
}

static void look_at(struct directory *d, const struct stamp *now)
{
    const bool is_settled =
        (d->has_seen && is_same(now, &d->seen)) || (!d->has_tried && is_at_rest(now));

    d->seen = *now;
    d->has_seen = true;
    if (is_settled) {
        begin_reading(d);
        return;
    }
    if (++d->unsettled >= UNSETTLED_MAX) {
        d->unsettled = 0;
        begin_reading(d);
        return;
    }
    deadline_set(d->params.loop, &d->look, SETTLE_MS);
}

static void on_look(struct deadline *dl)
{
    struct directory *d = CONTAINER(dl, struct directory, look);
    struct stamp now;
    struct stat st;
    struct err err;

    if (stat(path_of(d), &st) < 0) {
        err_sys(&err, errno, "%s", path_of(d));
        d->has_seen = d->has_read = false;
        tell_wrong(d, &err);
        deadline_set(d->params.loop, &d->look, LOOK_MS);
        return;
    }
    now = stamp_of(&st);
    if (!d->has_read || !is_same(&now, &d->read)) {
        look_at(d, &now);
        return;
    }
    deadline_set(d->params.loop, &d->look, LOOK_MS);
}

/* --- the driver ------------------------------------------------------------------------------- */

static void file_close(struct directory **d)
{
    struct directory *gone = *d;

    if (!gone)
        return;
    deadline_clear(&gone->look);
    watch_set(gone->params.loop, &gone->work, 0);
    list_for_each_safe (it, &gone->questions)
        free(CONTAINER(it, struct question, node));
    stop_reading(gone);
    facts_map_free(&gone->gone);
    facts_map_free(&gone->map);
    close(gone->work_fd);
    free(gone);
    *d = NULL;
}

static int file_open(const struct directory_params *params, struct directory **out_directory,
                     struct err *err)
{
    struct directory *d = calloc(1, sizeof *d);

    if (!d)
        return err_set(err, 0, "no memory to read %s", params->conf->path);
    d->params = *params;
    d->fd = -1;
    /* One that can be read for ever. */
    d->work_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->work_fd < 0) {
        err_sys(err, errno, "cannot make a descriptor to read %s", params->conf->path);
        free(d);
        return -1;
    }
    list_init(&d->questions);
    watch_init(&d->work, d->work_fd, on_work);
    deadline_init(&d->look, on_look);
    deadline_set(params->loop, &d->look, 0);
    *out_directory = d;
    return 0;
}

const struct directory_driver directory_file = {
    .name = "file",
    .open = file_open,
    .lookup = file_lookup,
    .cancel = file_cancel,
    .close = file_close,
};
