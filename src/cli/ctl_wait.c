/* usher ctl move --wait. */
#include "cli/ctl_wait.h"

#include "base/term.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SETTLE_FIRST_MS = 5,
    LOOK_FIRST_MS = 100,
    LOOK_LAST_MS = 1000,
    RETRIES = 30, /* at LOOK_LAST_MS: while control is replaced */
    BAR = 30
};

/* What is seen each time. */
struct progress {
    bool is_shown;
    size_t total, left, sessions;
};

static void sleep_ms(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

static int ask(struct ctl_link *link, const json_t *request, json_t *rows, json_t **out_done,
               struct err *err)
{
    json_t *object, *part;

    if (link->fd < 0 && ctl_link_open(link, err) != 0)
        return -1;
    if (ctl_link_send(link, request, err) != 0)
        return -1;
    for (;;) {
        if (ctl_link_next(link, &object, err) != 0)
            return -1;
        if ((part = json_object_get(object, "done"))) {
            *out_done = json_incref(part);
            json_decref(object);
            return 0;
        }
        if ((part = json_object_get(object, "error"))) {
            err_set(err, 0, "%s", json_string_value(part) ? json_string_value(part) : "?");
            json_decref(object);
            return -1;
        }
        part = json_object_get(object, "row");
        if (!part)
            err_set(err, EPROTO, "who listens at %s does not speak as usher does", link->path);
        else if (rows)
            json_array_append(rows, part);
        json_decref(object);
        if (!part)
            return -1;
    }
}

/* An answer that is cut has no rows yet: ctl_link_next() hands out whole ones. */
int ctl_ask(struct ctl_link *link, const json_t *request, json_t *rows, json_t **out_done,
            struct err *err)
{
    if (ask(link, request, rows, out_done, err) == 0)
        return 0;
    if (err->code != ECONNRESET)
        return -1;
    ctl_link_done(link);
    return ask(link, request, rows, out_done, err);
}

static int ask_status(struct ctl_link *link, json_t **out_done, struct err *err)
{
    json_t *request = json_pack("{ss}", "command", "status");
    int result =
        request ? ctl_ask(link, request, NULL, out_done, err) : err_set(err, 0, "out of memory");

    json_decref(request);
    return result;
}

void ctl_settle(struct ctl_link *link)
{
    /* The one that answered has ended, or is about to. */
    ctl_link_done(link);
    for (unsigned i = 0, ms = SETTLE_FIRST_MS; i < RETRIES; i++) {
        struct err err;
        json_t *done;
        bool is_settled;

        if (ask_status(link, &done, &err) != 0) {
            /* Cut once more, by another change; else there is nothing to wait for, be it that the
             * socket is elsewhere now. */
            if (err.code != ECONNRESET)
                return;
            ctl_link_done(link);
        } else {
            is_settled = json_is_true(json_object_get(done, "recovered"));
            json_decref(done);
            if (is_settled)
                return;
        }
        sleep_ms(ms);
        ms = ms * 2 < LOOK_LAST_MS ? ms * 2 : LOOK_LAST_MS;
    }
}

int ctl_before(struct ctl_link *link, struct ctl_before *out_before, struct err *err)
{
    json_t *done;

    if (ask_status(link, &done, err) != 0)
        return -1;
    out_before->since = json_integer_value(json_object_get(done, "moves_since"));
    out_before->given_up = json_integer_value(json_object_get(done, "given_up"));
    json_decref(done);
    return 0;
}

/* Of one user: whether the moves under way have theirs. */
static int look_for_user(struct ctl_link *link, const char *user, struct progress *p,
                         struct err *err)
{
    json_t *request = json_pack("{ss}", "command", "moves"), *rows = json_array(), *done = NULL;
    int result = request && rows ? ctl_ask(link, request, rows, &done, err)
                                 : err_set(err, 0, "out of memory");
    size_t i;
    const json_t *row;

    if (result == 0) {
        p->left = p->sessions = 0;
        json_array_foreach (rows, i, row) {
            const char *name = json_string_value(json_object_get(row, "user"));

            if (!name || strcmp(name, user) != 0)
                continue;
            p->left = 1;
            p->sessions = (size_t)json_integer_value(json_object_get(row, "sessions"));
        }
    }
    json_decref(done);
    json_decref(rows);
    json_decref(request);
    return result;
}

static int look(struct ctl_link *link, const char *user, struct progress *p, struct err *err)
{
    json_int_t left;
    json_t *done;

    if (user)
        return look_for_user(link, user, p, err);
    if (ask_status(link, &done, err) != 0)
        return -1;
    left = json_integer_value(json_object_get(done, "moves"));
    json_decref(done);
    p->left = left > 0 ? (size_t)left : 0;
    return 0;
}

static void show(struct progress *p, const char *user)
{
    char bar[BAR + 1];
    size_t filled;

    if (p->left > p->total)
        p->total = p->left;
    if (!p->is_shown || p->left == 0)
        return;
    if (user) {
        fprintf(stderr, "\r\033[Kmoving: %zu session%s still to end", p->sessions,
                p->sessions == 1 ? "" : "s");
        return;
    }
    filled = (p->total - p->left) * BAR / p->total;
    memset(bar, '#', filled);
    memset(bar + filled, '.', BAR - filled);
    bar[BAR] = '\0';
    fprintf(stderr, "\r\033[K[%s] %zu of %zu users moved", bar, p->total - p->left, p->total);
}

static bool has_user(const json_t *request)
{
    return json_object_get(request, "user") != NULL;
}

/* Until nothing is left; an error that is not of the connection, or one that lasts, ends it. */
static int watch(struct ctl_link *link, const char *user, struct progress *p, struct err *err)
{
    unsigned pause_ms = LOOK_FIRST_MS, failed = 0;

    for (;;) {
        if (look(link, user, p, err) == 0) {
            failed = 0;
            if (p->left == 0)
                return 0;
            show(p, user);
        } else if (err->code == 0 || ++failed > RETRIES) {
            return -1;
        } else {
            ctl_link_done(link);
            pause_ms = LOOK_LAST_MS;
        }
        sleep_ms(pause_ms);
        if (pause_ms < LOOK_LAST_MS)
            pause_ms += LOOK_FIRST_MS;
    }
}

int ctl_wait(struct ctl_link *link, const json_t *request, const struct ctl_before *before,
             struct err *err)
{
    const char *user =
        has_user(request) ? json_string_value(json_object_get(request, "user")) : NULL;
    struct progress p = {.is_shown = isatty(STDERR_FILENO) == 1};
    struct ctl_before now;
    int result = watch(link, user, &p, err);

    if (p.is_shown && p.total > 0)
        fputs("\r\033[K", stderr);
    if (result != 0 || ctl_before(link, &now, err) != 0)
        return -1;
    if (now.since != before->since)
        return err_set(err, 0,
                       "usher's control died meanwhile, and moves that were under way were "
                       "given up: ask again");
    if (now.given_up != before->given_up)
        return err_set(err, 0,
                       "%lld of the moves meanwhile could not be done and were given up: the log "
                       "says whose and why",
                       (long long)(now.given_up - before->given_up));
    return 0;
}
