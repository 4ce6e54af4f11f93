/* What the lanes of one sync share, under one lock; see sync/state.h. */
#include "sync/state.h"

#include "base/buf.h"
#include "base/room.h"
#include "base/term.h"
#include "sync/journal.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    LINE = 1024,
    LINES = 4096, /* that wait for the watch; those beyond are dropped, and that is said */
    BURST_MS = 250,
};

struct lane_view {
    char folder[96];
    uint64_t done, bytes, all;
    bool is_open;
    uint64_t paused_until_ms;
};

struct sync {
    const struct sync_params *params;
    const struct sync_stop *stop;
    struct journal *journal;

    pthread_mutex_t lock;
    pthread_cond_t news;
    struct sync_report *report;
    size_t folders_cap, issues_cap;
    bool is_over; /* sync_give_up() */
    int status;   /* by that */

    char *lines[LINES];
    size_t lines_first, lines_n, lines_dropped;

    int lanes;
    unsigned further; /* connections to the source beside those of the lanes */
    bool is_full;     /* sync_source_is_full() */
    enum sync_phase phase;
    struct lane_view view[SYNC_LANES];
    uint64_t folders, folders_done, messages, messages_done, bytes, bytes_done;
    uint64_t carried, carried_bytes, exceptions;
    int64_t refused; /* exceptions that are not listed yet */
    uint64_t began_ms;
    uint64_t paid_us; /* when the bytes that were paid for have gone at max_rate */
};

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void enter(struct sync *s)
{
    INSIST(pthread_mutex_lock(&s->lock) == 0);
}

static void leave(struct sync *s)
{
    INSIST(pthread_mutex_unlock(&s->lock) == 0);
}

const struct sync_params *sync_params(const struct sync *s)
{
    return s->params;
}

struct journal *sync_journal(const struct sync *s)
{
    return s->journal;
}

bool sync_is_stopping(const struct sync *s)
{
    return __atomic_load_n(&s->stop->signal, __ATOMIC_RELAXED) != 0 ||
           __atomic_load_n(&s->is_over, __ATOMIC_RELAXED);
}

void sync_give_up(struct sync *s, int status, const struct err *err)
{
    enter(s);
    if (!s->is_over) {
        s->report->failure = *err;
        s->status = status;
        __atomic_store_n(&s->is_over, true, __ATOMIC_RELAXED);
    }
    leave(s);
}

/* --- lines ------------------------------------------------------------------------------------ */

/* Safe to show, whatever servers have put into it. */
static char *safe_line(const char *text)
{
    struct buf out;
    char *line = NULL;

    buf_init(&out, (size_t)4 * LINE, false);
    if (term_escape(&out, slice_str(text)) == 0)
        line = slice_dup(buf_slice(&out));
    buf_release(&out);
    return line;
}

static void add_line(struct sync *s, const char *text)
{
    char *line = s->lines_n < LINES ? safe_line(text) : NULL;

    if (!line) {
        s->lines_dropped++;
        return;
    }
    s->lines[(s->lines_first + s->lines_n++) % LINES] = line;
    pthread_cond_signal(&s->news);
}

void sync_log(struct sync *s, const char *fmt, ...)
{
    char text[LINE];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    enter(s);
    add_line(s, text);
    leave(s);
}

/* --- issues ----------------------------------------------------------------------------------- */

static struct sync_issue *new_issue(struct sync *s)
{
    struct sync_report *r = s->report;
    struct sync_issue *issues;

    if (r->issues_n == SYNC_ISSUES)
        return NULL;
    issues = room_for_one(r->issues, r->issues_n, &s->issues_cap, sizeof *issues);
    if (!issues)
        return NULL;
    r->issues = issues;
    return &r->issues[r->issues_n++];
}

static void tell_issue(struct sync *s, const struct sync_issue *issue)
{
    char text[LINE], uid[32] = "";
    const char *folder = issue->folder == UINT32_MAX ? "" : s->report->folders[issue->folder].from;

    if (issue->from_uid > 0)
        snprintf(uid, sizeof uid, " UID %u", issue->from_uid);
    else if (issue->to_uid > 0)
        snprintf(uid, sizeof uid, " UID %u of the target", issue->to_uid);
    snprintf(text, sizeof text, "%s%s%s%s: %s%s%s", sync_reason_name(issue->reason),
             folder[0] ? " in " : "", folder, uid, sync_reason_text(issue->reason),
             issue->text && issue->text[0] ? " " : "", issue->text ? issue->text : "");
    add_line(s, text);
}

static void too_many_errors(struct sync *s)
{
    if (s->params->max_errors == 0 || s->is_over ||
        (int64_t)s->exceptions + s->refused < (int64_t)s->params->max_errors)
        return;
    (void)err_set(&s->report->failure, 0, "%llu exceptions: no more are taken (--errorsmax %u)",
                  (unsigned long long)s->exceptions + (unsigned long long)s->refused,
                  s->params->max_errors);
    s->status = SYNC_EXIT_WITH_ERRORS_MAX;
    __atomic_store_n(&s->is_over, true, __ATOMIC_RELAXED);
}

void sync_issue(struct sync *s, enum sync_reason reason, uint32_t folder, uint32_t from_uid,
                uint32_t to_uid, struct slice subject, const char *fmt, ...)
{
    struct sync_issue issue = {
        .reason = reason, .folder = folder, .from_uid = from_uid, .to_uid = to_uid};
    struct sync_issue *kept;
    char text[LINE], name[LINE] = "";
    struct err err;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    issue.subject = subject.n > 0 ? slice_dup(subject) : NULL;
    issue.text = safe_line(text);
    enter(s);
    s->report->counts[reason]++;
    if (sync_reason_severity(reason) != SYNC_NOTE)
        s->exceptions++;
    if (folder != UINT32_MAX)
        snprintf(name, sizeof name, "%s", s->report->folders[folder].from);
    tell_issue(s, &issue);
    kept = new_issue(s);
    if (kept)
        *kept = issue;
    if (sync_reason_severity(reason) == SYNC_EXCEPTION)
        too_many_errors(s);
    leave(s);
    if (journal_exception(s->journal, slice_str(name), from_uid, to_uid, sync_reason_name(reason),
                          slice_str(text), &err) < 0)
        sync_log(s, "%s", err.text);
    if (!kept) {
        free(issue.subject);
        free(issue.text);
    }
}

void sync_refused(struct sync *s, int64_t change)
{
    enter(s);
    s->refused += change;
    if (change > 0)
        too_many_errors(s);
    leave(s);
}

/* --- the rate limit --------------------------------------------------------------------------- */

uint32_t sync_pay(struct sync *s, size_t n)
{
    uint64_t rate = s->params->max_rate, now, left;

    if (rate == 0)
        return 0;
    enter(s);
    now = now_us();
    if (s->paid_us + (uint64_t)BURST_MS * 1000 < now)
        s->paid_us = now - (uint64_t)BURST_MS * 1000;
    s->paid_us += (uint64_t)n * 1000000 / rate;
    left = s->paid_us > now ? (s->paid_us - now) / 1000 : 0;
    leave(s);
    return (uint32_t)left;
}

/* --- folders ---------------------------------------------------------------------------------- */

int sync_add_folder(struct sync *s, struct slice from, struct slice to, uint32_t *out_folder,
                    struct err *err)
{
    struct sync_report *r = s->report;
    struct sync_folder f = {.from = slice_dup(from), .to = to.n > 0 ? slice_dup(to) : NULL};
    struct sync_folder *folders;
    int result = -1;

    enter(s);
    folders = room_for_one(r->folders, r->folders_n, &s->folders_cap, sizeof *folders);
    if (folders)
        r->folders = folders;
    if (folders && f.from && (f.to || to.n == 0)) {
        *out_folder = (uint32_t)r->folders_n;
        r->folders[r->folders_n++] = f;
        result = 0;
    }
    leave(s);
    if (result == 0)
        return 0;
    free(f.from);
    free(f.to);
    return err_set(err, ENOMEM, "no memory for the list of folders");
}

void sync_change(struct sync *s, uint32_t folder,
                 void (*change)(struct sync_folder *f, const void *arg), const void *arg)
{
    enter(s);
    INSIST(folder < s->report->folders_n);
    change(&s->report->folders[folder], arg);
    leave(s);
}

/* --- progress --------------------------------------------------------------------------------- */

void sync_lane_at(struct sync *s, unsigned lane, const char *folder, uint64_t all)
{
    struct lane_view *v = &s->view[lane];

    enter(s);
    snprintf(v->folder, sizeof v->folder, "%s", folder ? folder : "");
    v->all = all;
    s->messages_done -= v->done;
    s->bytes_done -= v->bytes;
    v->done = v->bytes = 0;
    leave(s);
}

void sync_lane_done(struct sync *s, unsigned lane, uint64_t messages, uint64_t bytes)
{
    enter(s);
    s->view[lane].done += messages;
    s->view[lane].bytes += bytes;
    s->messages_done += messages;
    s->bytes_done += bytes;
    leave(s);
}

void sync_carried(struct sync *s, uint64_t messages, uint64_t bytes)
{
    enter(s);
    s->carried += messages;
    s->carried_bytes += bytes;
    leave(s);
}

void sync_lane_open(struct sync *s, unsigned lane, bool is_open)
{
    enter(s);
    s->view[lane].is_open = is_open;
    leave(s);
}

void sync_pausing(struct sync *s, unsigned lane, uint32_t ms)
{
    enter(s);
    s->view[lane].paused_until_ms = ms > 0 ? now_us() / 1000 + ms : 0;
    leave(s);
}

void sync_known(struct sync *s, uint64_t folders, uint64_t messages, uint64_t bytes)
{
    enter(s);
    s->folders += folders;
    s->messages += messages;
    s->bytes += bytes;
    leave(s);
}

void sync_folder_over(struct sync *s, unsigned lane)
{
    enter(s);
    s->folders_done++;
    s->view[lane].done = s->view[lane].bytes = 0; /* they stay counted */
    leave(s);
}

void sync_phase(struct sync *s, enum sync_phase phase)
{
    enter(s);
    s->phase = phase;
    leave(s);
}

void sync_wire(struct sync *s, bool is_from, uint64_t bytes)
{
    enter(s);
    *(is_from ? &s->report->from_wire : &s->report->to_wire) += bytes;
    leave(s);
}

void sync_lanes(struct sync *s, int change)
{
    enter(s);
    s->lanes += change;
    if (change > 0 && (unsigned)s->lanes > s->report->lanes)
        s->report->lanes = (unsigned)s->lanes;
    pthread_cond_signal(&s->news);
    leave(s);
}

unsigned sync_sources_take(struct sync *s, unsigned n)
{
    unsigned taken, most = s->params->lanes;

    enter(s);
    taken = (unsigned)s->lanes + s->further;
    if (s->is_full || taken >= most)
        n = 0;
    else if (n > most - taken)
        n = most - taken;
    s->further += n;
    leave(s);
    return n;
}

void sync_sources_give(struct sync *s, unsigned n)
{
    enter(s);
    INSIST(n <= s->further);
    s->further -= n;
    leave(s);
}

void sync_source_is_full(struct sync *s)
{
    enter(s);
    s->is_full = true;
    leave(s);
}

static void view_progress(struct sync *s, struct sync_progress *p)
{
    uint64_t now_ms = now_us() / 1000;

    *p = (struct sync_progress){.phase = s->phase,
                                .elapsed_ms = now_ms - s->began_ms,
                                .folders = s->folders,
                                .folders_done = s->folders_done,
                                .messages = s->messages,
                                .messages_done = s->messages_done,
                                .bytes = s->bytes,
                                .bytes_done = s->bytes_done,
                                .carried = s->carried,
                                .carried_bytes = s->carried_bytes,
                                .exceptions = s->exceptions};
    for (size_t i = 0; i < SYNC_LANES; i++) {
        const struct lane_view *v = &s->view[i];

        p->lanes += v->is_open;
        if (v->paused_until_ms > now_ms + p->paused_s * 1000ULL)
            p->paused_s = (unsigned)((v->paused_until_ms - now_ms + 999) / 1000);
        snprintf(p->folders_now[i], sizeof p->folders_now[i], "%s", v->folder);
        p->folder_now[i].done = v->done;
        p->folder_now[i].all = v->all;
    }
}

/* --- the watch -------------------------------------------------------------------------------- */

static char *take_line(struct sync *s)
{
    char *line;

    if (s->lines_n == 0)
        return NULL;
    line = s->lines[s->lines_first];
    s->lines_first = (s->lines_first + 1) % LINES;
    s->lines_n--;
    return line;
}

bool sync_attend(struct sync *s, const struct sync_watch *watch, unsigned ms)
{
    struct sync_progress progress;
    struct timespec until;
    size_t dropped;
    bool goes_on;
    char *line;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    enter(s);
    while (s->lanes > 0 && s->lines_n == 0 &&
           pthread_cond_timedwait(&s->news, &s->lock, &until) == 0)
        ;
    while ((line = take_line(s))) {
        leave(s);
        if (watch->line)
            watch->line(watch->arg, line);
        free(line);
        enter(s);
    }
    dropped = s->lines_dropped;
    s->lines_dropped = 0;
    view_progress(s, &progress);
    goes_on = s->lanes > 0;
    leave(s);
    if (dropped > 0 && watch->line) {
        char text[64];

        snprintf(text, sizeof text, "%zu lines were dropped", dropped);
        watch->line(watch->arg, text);
    }
    if (watch->progress)
        watch->progress(watch->arg, &progress);
    return goes_on;
}

/* --- begin and end ---------------------------------------------------------------------------- */

struct sync *sync_new(const struct sync_params *params, const struct sync_stop *stop,
                      struct journal *journal, struct err *err)
{
    struct sync *s = calloc(1, sizeof *s);

    if (s)
        s->report = calloc(1, sizeof *s->report);
    if (!s || !s->report) {
        free(s);
        (void)err_set(err, ENOMEM, "no memory");
        return NULL;
    }
    s->params = params;
    s->stop = stop;
    s->journal = journal;
    s->began_ms = now_us() / 1000;
    INSIST(pthread_mutex_init(&s->lock, NULL) == 0 && pthread_cond_init(&s->news, NULL) == 0);
    return s;
}

struct sync_report *sync_end(struct sync **sync)
{
    struct sync *s = *sync;
    struct sync_report *report = s->report;
    char *line;

    *sync = NULL;
    report->stopped_by = __atomic_load_n(&s->stop->signal, __ATOMIC_RELAXED);
    report->took_ms = now_us() / 1000 - s->began_ms;
    report->status = s->status;
    while ((line = take_line(s)))
        free(line);
    pthread_cond_destroy(&s->news);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return report;
}
