/* One sync from beginning to end; see sync/sync.h. */
#include "sync/sync.h"

#include "sync/folder.h"
#include "sync/journal.h"
#include "sync/lane.h"
#include "sync/link.h"
#include "sync/plan.h"
#include "sync/report.h"
#include "sync/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { ATTEND_MS = 200, PLANS = 5, PAUSE_MS = 500 };

/* All lanes. They live until the last has ended. */
struct crew {
    struct sync *sync;
    struct plan plan;
    struct lane lanes[SYNC_LANES];
    size_t started; /* threads that are to be joined; written by the first lane alone */
};

/* --- lanes ------------------------------------------------------------------------------------ */

static void *run_lane(void *arg)
{
    struct lane *lane = arg;

    if (lane_connect(lane) == 0)
        lane_work(lane);
    else if (!link_is_open(lane->from))
        sync_source_is_full(lane->sync); /* others must not try in its place */
    sync_lanes(lane->sync, -1);
    return NULL;
}

/* The other lanes, as many as there is work for. One that cannot be had is only told of. All are
 * counted before the first begins, which might take up the connections of the last otherwise. */
static void start_others(struct crew *crew)
{
    const struct sync_params *params = sync_params(crew->sync);
    size_t all = crew->plan.n < params->lanes ? crew->plan.n : params->lanes;
    struct err err;

    if (all > 1)
        sync_lanes(crew->sync, (int)all - 1);
    for (size_t i = 1; i < all; i++) {
        struct lane *lane = &crew->lanes[i];
        int code;

        if (lane_init(lane, crew->sync, &crew->plan, (unsigned)i, &err) == 0) {
            code = pthread_create(&lane->thread, NULL, run_lane, lane);
            if (code == 0) {
                crew->started++;
                continue;
            }
            lane_done(lane);
            (void)err_sys(&err, code, "starting a thread");
        }
        sync_lanes(crew->sync, -(int)(all - i));
        sync_log(crew->sync, "one connection less: %s", err.text);
        return;
    }
}

/* --- the first lane --------------------------------------------------------------------------- */

static bool make_plan(struct crew *crew, struct lane *lane)
{
    struct err err = {0};
    bool is_made = false;
    size_t made = 0;

    for (int i = 0; i < PLANS; i++) {
        if (lane_connect(lane) < 0)
            return false;
        sync_phase(crew->sync, SYNC_LISTING);
        is_made = is_made || plan_make(lane, &crew->plan, &err) == 0;
        if (is_made && plan_build(lane, &crew->plan, &err) == 0)
            return true;
        if (crew->plan.made > made)
            i = 0; /* it gets on */
        made = crew->plan.made;
        if (sync_is_stopping(crew->sync))
            return false;
        if (link_is_open(lane->from) && link_is_open(lane->to)) {
            sync_give_up(crew->sync, SYNC_EXIT_SOFTWARE, &err);
            return false;
        }
        sync_log(crew->sync, "%s; connecting again", err.text);
        lane_disconnect(lane);
        if (!lane_pause(lane, PAUSE_MS))
            return false;
    }
    sync_give_up(crew->sync, SYNC_EXIT_CONNECTION_FAILURE, &err);
    return false;
}

static void be_done(struct sync_folder *f, const void *arg)
{
    const struct job *job = arg;

    f->from_messages = job->from_status.messages;
    f->from_bytes = job->from_status.size;
    f->to_messages = job->to_status.messages;
    f->to_bytes = job->to_status.size;
    f->state = FOLDER_DONE;
    f->proof.is_proven = true;
}

/* --justfolders, --justfoldersizes: what was listed is all that is asked for. */
static void only_tell(struct crew *crew, struct lane *lane)
{
    bool wants_sizes = sync_params(crew->sync)->what == SYNC_SIZES;
    struct err err;

    for (size_t i = 0; wants_sizes && i < crew->plan.n; i++) {
        if (folder_sizes(lane, &crew->plan.jobs[i], &err) < 0) {
            sync_give_up(crew->sync, SYNC_EXIT_CONNECTION_FAILURE, &err);
            return;
        }
    }
    for (size_t i = 0; i < crew->plan.n; i++)
        sync_change(crew->sync, crew->plan.jobs[i].folder, be_done, &crew->plan.jobs[i]);
}

static void *run_first(void *arg)
{
    struct crew *crew = arg;
    struct lane *lane = &crew->lanes[0];

    switch (sync_params(crew->sync)->what) {
    case SYNC_LOGIN:
        if (lane_connect(lane) == 0)
            sync_log(crew->sync, "both servers have accepted the logins");
        break;
    case SYNC_FOLDERS:
    case SYNC_SIZES:
        if (make_plan(crew, lane))
            only_tell(crew, lane);
        break;
    case SYNC_ALL:
    case SYNC_VERIFY:
        if (make_plan(crew, lane)) {
            sync_phase(crew->sync, SYNC_CARRYING);
            start_others(crew);
            lane_work(lane);
        }
        break;
    }
    lane_disconnect(lane);
    sync_lanes(crew->sync, -1);
    return NULL;
}

/* --- all -------------------------------------------------------------------------------------- */

static void side_text(const struct sync_side *side, char *out, size_t cap)
{
    static const char *const schemes[] = {[SYNC_TLS_OFF] = "imap",
                                          [SYNC_TLS_STARTTLS] = "imap+starttls",
                                          [SYNC_TLS_IMPLICIT] = "imaps"};
    struct slice user = side->authzid.n > 0 ? side->authzid : side->user;

    snprintf(out, cap, "%s://%.*s@%s:%u", schemes[side->tls], SLICE_ARG(user), side->host,
             (unsigned)side->port);
}

/* The most memory that we have had. getrusage(2) would tell that of the program which has executed
 * us, if that had more. */
static uint64_t peak_memory(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    uint64_t kib = 0;

    if (!file)
        return 0;
    while (kib == 0 && fgets(line, sizeof line, file)) {
        if (strncmp(line, "VmHWM:", strlen("VmHWM:")) == 0)
            kib = strtoull(line + strlen("VmHWM:"), NULL, 10);
    }
    fclose(file);
    return kib * 1024;
}

static void tell_usage(struct sync_report *report)
{
    struct rusage usage;

    report->peak_memory = peak_memory();
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    report->cpu_ms = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
                     (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

/* The exit status of a run that nothing has ended early, and what the report says of itself. */
static void finish(struct sync_report *report, const struct sync_params *params, int64_t began_s)
{
    char text[512];

    side_text(&params->from, text, sizeof text);
    report->from = slice_dup(slice_str(text));
    side_text(&params->to, text, sizeof text);
    report->to = slice_dup(slice_str(text));
    report->journal = params->journal ? slice_dup(slice_str(params->journal)) : NULL;
    report->is_dry = params->is_dry;
    report->what = params->what;
    report->is_verify = params->what == SYNC_VERIFY;
    report->is_full = params->is_full;
    report->began_s = began_s;
    tell_usage(report);
    if (report->stopped_by)
        report->status = SYNC_EXIT_BY_SIGNAL;
    else if (!report->failure.text[0])
        report->status = sync_status(report);
}

/* An account as the journal knows it. TLS may come and go, so the two ports of IMAP are one. */
static void journal_side(const struct sync_side *side, char *out, size_t cap)
{
    struct slice user = side->authzid.n > 0 ? side->authzid : side->user;

    if (side->port == 143 || side->port == 993)
        snprintf(out, cap, "%.*s@%s", SLICE_ARG(user), side->host);
    else
        snprintf(out, cap, "%.*s@%s:%u", SLICE_ARG(user), side->host, (unsigned)side->port);
}

/* A journal that is not kept is one in memory. */
static int open_journal(const struct sync_params *params, struct journal **out, int64_t now_s,
                        struct err *err)
{
    char from[512], to[512];
    struct journal_params j = {.path = params->journal,
                               .from = from,
                               .to = to,
                               .is_read_only = params->is_dry || params->what != SYNC_ALL,
                               .die_at = params->die_at};

    journal_side(&params->from, from, sizeof from);
    journal_side(&params->to, to, sizeof to);
    if (journal_open(&j, out, err) < 0)
        return -1;
    if (journal_begin(*out, now_s, err) == 0)
        return 0;
    journal_close(out);
    return -1;
}

static int start_first(struct crew *crew, struct err *err)
{
    int code;

    if (lane_init(&crew->lanes[0], crew->sync, &crew->plan, 0, err) < 0)
        return -1;
    sync_lanes(crew->sync, 1);
    crew->started = 1;
    code = pthread_create(&crew->lanes[0].thread, NULL, run_first, crew);
    if (code == 0)
        return 0;
    lane_done(&crew->lanes[0]);
    crew->started = 0;
    return err_sys(err, code, "starting a thread");
}

static void join_all(struct crew *crew)
{
    /* The first joins in no thread: it alone starts others, so it is waited for first. */
    for (size_t i = 0; i < crew->started; i++) {
        INSIST(pthread_join(crew->lanes[i].thread, NULL) == 0);
        lane_done(&crew->lanes[i]);
    }
}

int sync_run(const struct sync_params *params, const struct sync_stop *stop,
             const struct sync_watch *watch, struct sync_report **out_report, struct err *err)
{
    struct crew *crew = calloc(1, sizeof *crew);
    struct sync *sync;
    struct sync_report *report;
    struct journal *journal;
    int64_t began_s = time(NULL);
    int result;

    if (!crew)
        return err_set(err, ENOMEM, "no memory");
    if (open_journal(params, &journal, began_s, err) < 0) {
        free(crew);
        return -1;
    }
    crew->sync = sync = sync_new(params, stop, journal, err);
    result = sync ? start_first(crew, err) : -1;
    if (result == 0) {
        while (sync_attend(sync, watch, ATTEND_MS))
            ;
        join_all(crew);
        sync_phase(sync, SYNC_ENDING);
        (void)sync_attend(sync, watch, 0);
    }
    plan_done(&crew->plan);
    journal_close(&journal);
    report = sync ? sync_end(&sync) : NULL;
    free(crew);
    if (result < 0) {
        sync_report_free(&report);
        return -1;
    }
    finish(report, params, began_s);
    *out_report = report;
    return 0;
}
