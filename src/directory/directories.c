/* The chain of directories: one after the other, kept answers, and the time that is left.
 *
 * A question waits at one directory at a time. What a directory is asked is an object of its own,
 * which several questions may wait for, and which goes on when none does any more: its answer is
 * worth keeping. */
#include "directory/directories.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "directory/cache.h"
#include "directory/facts.h"
#include "ipc/message.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A directory of the configuration. */
struct source {
    struct directories *all;
    const struct conf_directory *conf;
    const struct directory_driver *driver;
    struct directory *directory;
    struct directory_cache *cache; /* NULL: nothing is kept */
    struct map by_user;            /* of the asks that may be joined */
    struct list asks;
    uint64_t bad_ms; /* when it last failed or was late */
    bool is_bad;     /* and that it was has been told */
    bool is_late;    /* its last answer was, or there was none */
};

struct directories {
    struct directories_params params;
    struct list questions;
    unsigned telling; /* calls of directories_done that we are in */
    size_t n;
    struct source sources[];
};

/* What a directory is asked now. */
struct ask {
    struct map_node node;
    struct list all;
    struct list waiters;
    struct source *source;
    uint64_t begun_ms;
    bool is_outdated; /* since a flush: nobody joins it, and its answer is not kept */
    uint16_t user_n;
    char user[];
};

struct question {
    struct list node;
    struct list waiter; /* of `ask` */
    struct directories *all;
    struct ask *ask; /* NULL: waits for none */
    struct deadline deadline;
    directories_done *done;
    void *arg;
    uint64_t begun_ms;
    uint64_t age_ms; /* the oldest UNKNOWN that was used */
    size_t at;       /* index of the source */
    bool is_fresh;
    uint16_t user_n;
    char user[];
};

static uint64_t now_of(const struct directories *d)
{
    return loop_now_ms(d->params.loop);
}

static uint32_t timeout_of(const struct directories *d)
{
    return d->params.conf->global.directory_timeout;
}

static struct slice user_of(const struct question *q)
{
    return slice_of(q->user, q->user_n);
}

static uint32_t age_as_told(uint64_t age_ms)
{
    return age_ms < UINT32_MAX ? (uint32_t)age_ms : UINT32_MAX;
}

/* ---- news ---- */

static void tell_news(struct source *s, bool is_bad, const char *detail)
{
    const struct directories_params *p = &s->all->params;
    const struct directory_news news = {
        .is_bad = is_bad, .title = s->conf->title, .detail = detail};

    s->is_bad = is_bad;
    p->tell(p->arg, &news);
}

static void note_bad(struct source *s, struct slice why)
{
    struct err err;

    s->bad_ms = now_of(s->all);
    if (s->is_bad)
        return;
    (void)err_set(&err, 0, "%.*s%s", SLICE_ARG(why),
                  s->cache ? "; answers that are kept stay in use" : "");
    tell_news(s, true, err.text);
}

static void note_late(struct source *s, uint64_t waited_ms)
{
    struct err err;

    s->is_late = true;
    (void)err_set(&err, 0, "no answer within %" PRIu64 " ms", waited_ms);
    note_bad(s, slice_str(err.text));
}

static void note_answer(struct source *s, enum directory_status status, struct slice text,
                        uint64_t took_ms)
{
    if (!s->driver->is_remote)
        return;
    if (status == DIRECTORY_FAILED) {
        note_bad(s, text);
        return;
    }
    if (took_ms >= timeout_of(s->all) / 2)
        return;
    s->is_late = false;
    if (s->is_bad && now_of(s->all) - s->bad_ms >= DIRECTORIES_CALM_MS)
        tell_news(s, false, "");
}

/* ---- answers ---- */

static void finish(struct question *q, const struct directories_answer *answer)
{
    struct directories *d = q->all;
    directories_done *done = q->done;
    void *arg = q->arg;

    INSIST(!q->ask);
    deadline_clear(&q->deadline);
    list_remove(&q->node);
    free(q);
    d->telling++;
    done(arg, answer);
    d->telling--;
}

static void finish_failed(struct question *q, struct slice why)
{
    finish(q, &(struct directories_answer){.status = DIRECTORY_FAILED,
                                           .text = why,
                                           .directory = q->all->sources[q->at].conf->title});
}

/* The text is copied, as whoever is told may ask further, which may put it out of the cache. */
static void finish_kept(struct question *q, const struct directory_cached *kept)
{
    struct directories_answer answer = {.status = DIRECTORY_FOUND,
                                        .directory = q->all->sources[q->at].conf->title,
                                        .age_ms = age_as_told(kept->age_ms)};
    char text[FACTS_MAX];

    INSIST(kept->text.n <= sizeof text);
    if (kept->text.n)
        memcpy(text, kept->text.p, kept->text.n);
    answer.text = slice_of(text, kept->text.n);
    finish(q, &answer);
    wipe(text, sizeof text);
}

static enum directory_kept find_kept(struct question *q, struct directory_cached *out_kept)
{
    struct source *s = &q->all->sources[q->at];

    if (q->is_fresh || !s->cache)
        return KEPT_NONE;
    return directory_cache_find(s->cache, user_of(q), now_of(q->all), out_kept);
}

static void step(struct question *q);

static void use_kept(struct question *q, const struct directory_cached *kept)
{
    if (kept->is_found) {
        finish_kept(q, kept);
        return;
    }
    if (kept->age_ms > q->age_ms)
        q->age_ms = kept->age_ms;
    q->at++;
    step(q);
}

static void use_answer(struct question *q, enum directory_status status, struct slice text)
{
    struct directory_cached kept;

    if (status == DIRECTORY_FOUND) {
        finish(q, &(struct directories_answer){.status = status,
                                               .text = text,
                                               .directory = q->all->sources[q->at].conf->title});
    } else if (status == DIRECTORY_UNKNOWN) {
        q->at++;
        step(q);
    } else if (find_kept(q, &kept) != KEPT_NONE) {
        use_kept(q, &kept);
    } else {
        finish_failed(q, text);
    }
}

/* ---- asking a directory ---- */

static struct slice user_of_ask(const struct ask *a)
{
    return slice_of(a->user, a->user_n);
}

static bool is_user(const struct map_node *node, const void *user)
{
    return slice_eq(user_of_ask(CONTAINER(node, const struct ask, node)),
                    *(const struct slice *)user);
}

/* Nobody joins it any more. */
static void part(struct ask *a)
{
    if (a->is_outdated)
        return;
    map_remove(&a->source->by_user, &a->node);
    a->is_outdated = true;
}

static void free_ask(struct ask *a)
{
    part(a);
    list_remove(&a->all);
    free(a);
}

static void on_answer(void *arg, enum directory_status status, struct slice text)
{
    struct ask *a = arg;
    struct source *s = a->source;
    const uint64_t now_ms = now_of(s->all);
    struct list waiters;

    INSIST(status == DIRECTORY_FAILED || text.n <= FACTS_MAX);
    note_answer(s, status, text, now_ms - a->begun_ms);
    if (s->cache && !a->is_outdated && status != DIRECTORY_FAILED)
        directory_cache_put(s->cache, user_of_ask(a), status == DIRECTORY_FOUND, text, now_ms);
    list_init(&waiters);
    list_for_each_safe (it, &a->waiters) {
        list_remove(it);
        list_append(&waiters, it);
        CONTAINER(it, struct question, waiter)->ask = NULL;
    }
    free_ask(a);
    while (!list_empty(&waiters)) {
        struct question *q = CONTAINER(waiters.next, struct question, waiter);

        list_remove(&q->waiter);
        use_answer(q, status, text);
    }
}

/* The ask of this user that is under way, or a new one, which nobody was asked yet. NULL: memory is
 * out. */
static struct ask *get_ask(struct source *s, struct slice user, bool *out_is_new)
{
    const uint64_t hash = hash_key(user);
    struct map_node *node = map_find(&s->by_user, hash, is_user, &user);
    struct ask *a;

    *out_is_new = !node;
    if (node)
        return CONTAINER(node, struct ask, node);
    a = calloc(1, sizeof *a + user.n);
    if (!a)
        return NULL;
    a->source = s;
    a->begun_ms = now_of(s->all);
    a->user_n = (uint16_t)user.n;
    memcpy(a->user, user.p, user.n);
    list_init(&a->waiters);
    if (map_insert(&s->by_user, &a->node, hash) < 0) {
        free(a);
        return NULL;
    }
    list_append(&s->asks, &a->all);
    return a;
}

static void begin_ask(struct ask *a)
{
    a->source->driver->lookup(a->source->directory, user_of_ask(a), on_answer, a);
}

/* For the cache alone. */
static void ask_aside(struct source *s, struct slice user)
{
    bool is_new;
    struct ask *a = get_ask(s, user, &is_new);

    if (a && is_new)
        begin_ask(a);
}

/* ---- waiting ---- */

static void set_deadline(struct question *q)
{
    const uint64_t now_ms = now_of(q->all), half_ms = q->begun_ms + timeout_of(q->all) / 2;
    uint64_t at_ms = q->begun_ms + timeout_of(q->all);
    struct directory_cached kept;

    if (now_ms < half_ms && find_kept(q, &kept) != KEPT_NONE)
        at_ms = half_ms;
    deadline_set(q->all->params.loop, &q->deadline, at_ms > now_ms ? at_ms - now_ms : 0);
}

/* A driver that is not remote has no use for an answer that nobody waits for. */
static void leave(struct question *q)
{
    struct ask *a = q->ask;

    q->ask = NULL;
    list_remove(&q->waiter);
    if (a->source->cache || !list_empty(&a->waiters))
        return;
    a->source->driver->cancel(a->source->directory, a);
    free_ask(a);
}

static void on_deadline(struct deadline *dl)
{
    struct question *q = CONTAINER(dl, struct question, deadline);
    struct source *s = &q->all->sources[q->at];
    const uint64_t now_ms = now_of(q->all), asked_ms = now_ms - q->ask->begun_ms;
    struct directory_cached kept;
    struct err err;

    if (now_ms - q->begun_ms < timeout_of(q->all) && find_kept(q, &kept) == KEPT_NONE) {
        /* It was flushed meanwhile. */
        set_deadline(q);
        return;
    }
    /* Not for what those before it have used up. */
    if (s->driver->is_remote && asked_ms >= timeout_of(q->all) / 2)
        note_late(s, asked_ms);
    leave(q);
    if (find_kept(q, &kept) != KEPT_NONE) {
        use_kept(q, &kept);
        return;
    }
    (void)err_set(&err, 0, "no answer within %u ms", timeout_of(q->all));
    finish_failed(q, slice_str(err.text));
}

static void wait_for(struct question *q, struct source *s)
{
    bool is_new;
    struct ask *a = get_ask(s, user_of(q), &is_new);

    if (!a) {
        finish_failed(q, SLICE("out of memory"));
        return;
    }
    q->ask = a;
    list_append(&a->waiters, &q->waiter);
    set_deadline(q);
    if (is_new)
        begin_ask(a);
}

/* On from the directory `at`. The question may be gone then. */
static void step(struct question *q)
{
    while (q->at < q->all->n) {
        struct source *s = &q->all->sources[q->at];
        struct directory_cached kept = {0};
        enum directory_kept how = find_kept(q, &kept);

        if (how == KEPT_STALE && s->is_late) {
            ask_aside(s, user_of(q));
            how = find_kept(q, &kept) == KEPT_NONE ? KEPT_NONE : KEPT_FRESH;
        }
        if (how != KEPT_FRESH) {
            wait_for(q, s);
            return;
        }
        if (kept.is_found) {
            finish_kept(q, &kept);
            return;
        }
        if (kept.age_ms > q->age_ms)
            q->age_ms = kept.age_ms;
        q->at++;
    }
    finish(q, &(struct directories_answer){.status = DIRECTORY_UNKNOWN,
                                           .age_ms = age_as_told(q->age_ms)});
}

void directories_lookup(struct directories *d, struct slice user, bool is_fresh,
                        directories_done *done, void *arg)
{
    struct question *q;

    INSIST(user.n > 0 && user.n <= IPC_USER_MAX);
    q = calloc(1, sizeof *q + user.n);
    if (!q) {
        done(arg, &(struct directories_answer){.status = DIRECTORY_FAILED,
                                               .text = SLICE("out of memory")});
        return;
    }
    q->all = d;
    q->done = done;
    q->arg = arg;
    q->is_fresh = is_fresh;
    q->begun_ms = now_of(d);
    q->user_n = (uint16_t)user.n;
    memcpy(q->user, user.p, user.n);
    list_init(&q->waiter);
    deadline_init(&q->deadline, on_deadline);
    list_append(&d->questions, &q->node);
    step(q);
}

size_t directories_flush(struct directories *d, struct slice user)
{
    size_t n = 0;

    for (size_t i = 0; i < d->n; i++) {
        struct source *s = &d->sources[i];

        if (s->cache)
            n += directory_cache_flush(s->cache, user);
        list_for_each (it, &s->asks) {
            struct ask *a = CONTAINER(it, struct ask, all);

            if (user.n == 0 || slice_eq(user_of_ask(a), user))
                part(a);
        }
    }
    return n;
}

/* ---- making and freeing ---- */

static int open_source(struct source *s, struct err *err)
{
    const struct directories_params *p = &s->all->params;
    const struct directory_params params = {
        .conf = s->conf,
        .global = &p->conf->global,
        .timeout_ms = p->conf->global.directory_timeout,
        .loop = p->loop,
        .tell = p->tell,
        .arg = p->arg,
    };
    const struct directory_cache_params kept = {
        .size = s->conf->cache_size,
        .found_ms = s->conf->cache_time,
        .unknown_ms = s->conf->cache_unknown_time,
        .stale_ms = s->conf->cache_stale_time,
    };

    if (s->driver->is_remote && kept.size > 0) {
        s->cache = directory_cache_new(&kept);
        if (!s->cache)
            return err_sys(err, ENOMEM, "directory %s", s->conf->title);
    }
    if (s->driver->open(&params, &s->directory, err) < 0)
        return err_prefix(err, "directory %s", s->conf->title);
    return 0;
}

int directories_new(const struct directories_params *params, struct directories **out_directories,
                    struct err *err)
{
    const size_t n = params->conf->directories_n;
    struct directories *d = calloc(1, sizeof *d + n * sizeof *d->sources);

    if (!d)
        return err_sys(err, ENOMEM, "directories");
    d->params = *params;
    list_init(&d->questions);
    d->n = n;
    for (size_t i = 0; i < n; i++) {
        const struct conf_directory *conf = &params->conf->directories[i];

        d->sources[i] = (struct source){
            .all = d, .conf = conf, .driver = directory_driver((enum conf_driver)conf->driver)};
        map_init(&d->sources[i].by_user);
        list_init(&d->sources[i].asks);
    }
    for (size_t i = 0; i < n; i++) {
        if (open_source(&d->sources[i], err) < 0) {
            directories_free(&d);
            return -1;
        }
    }
    *out_directories = d;
    return 0;
}

static void close_source(struct source *s)
{
    s->driver->close(&s->directory);
    list_for_each_safe (it, &s->asks)
        free_ask(CONTAINER(it, struct ask, all));
    directory_cache_free(&s->cache);
    map_done(&s->by_user);
}

void directories_free(struct directories **directories)
{
    struct directories *d = *directories;

    if (!d)
        return;
    INSIST(d->telling == 0);
    list_for_each_safe (it, &d->questions) {
        struct question *q = CONTAINER(it, struct question, node);

        deadline_clear(&q->deadline);
        list_remove(&q->waiter);
        free(q);
    }
    for (size_t i = 0; i < d->n; i++)
        close_source(&d->sources[i]);
    free(d);
    *directories = NULL;
}
