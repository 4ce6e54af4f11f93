/* A thread of a sync; see sync/lane.h. */
#include "sync/lane.h"

#include "base/hash.h"
#include "net/loop.h"
#include "sync/folder.h"
#include "sync/identity.h"
#include "sync/link.h"
#include "sync/report.h"
#include "sync/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PAUSE_FIRST_MS = 500,
    PAUSE_LAST_MS = 30000,
    PAUSE_PIECE_MS = 100,
    TRIES = 8,         /* of a link that was open before, or whose server is busy */
    FAILURES = 6,      /* of a folder without progress */
    CAREFUL_AFTER = 2, /* of these */
    JUDGED_BYTES = 4 << 20,
    SLOW = 4 << 20, /* bytes a second: deflate takes some ten times as much */
    FAR_MS = 2,     /* round trip: a server that is nearer is not reached by a slow way */
};

int lane_init(struct lane *lane, struct sync *sync, struct plan *plan, unsigned index,
              struct err *err)
{
    const struct sync_params *params = sync_params(sync);

    *lane =
        (struct lane){.sync = sync,
                      .plan = plan,
                      .index = index,
                      .is_judged = params->compress != SYNC_COMPRESS_AUTO || params->max_rate > 0,
                      .loop = loop_new(err),
                      .beside = loop_new(err)};
    if (!lane->loop || !lane->beside) {
        lane_done(lane);
        return -1;
    }
    lane->from = link_new(lane->loop, sync, &params->from);
    lane->to = link_new(lane->loop, sync, &params->to);
    lane->reader = identity_reader_new();
    if (lane->from && lane->to && lane->reader)
        return 0;
    lane_done(lane);
    return err_set(err, ENOMEM, "no memory for a connection");
}

static void count_wire(struct lane *lane, const struct link *l, bool is_from)
{
    struct link_count count = link_count(l);

    sync_wire(lane->sync, is_from, count.in_wire + count.out_wire);
}

void lane_done(struct lane *lane)
{
    if (lane->from)
        count_wire(lane, lane->from, true);
    if (lane->to)
        count_wire(lane, lane->to, false);
    link_free(&lane->from);
    link_free(&lane->to);
    identity_reader_free(&lane->reader);
    loop_free(&lane->loop);
    loop_free(&lane->beside);
}

bool lane_pause(struct lane *lane, uint32_t ms)
{
    sync_pausing(lane->sync, lane->index, ms);
    while (ms > 0 && !sync_is_stopping(lane->sync)) {
        uint32_t piece = ms < PAUSE_PIECE_MS ? ms : PAUSE_PIECE_MS;
        struct timespec t = {.tv_nsec = (long)piece * 1000000};

        nanosleep(&t, NULL);
        ms -= piece;
    }
    sync_pausing(lane->sync, lane->index, 0);
    return !sync_is_stopping(lane->sync);
}

/* --- both sides ------------------------------------------------------------------------------- */

struct side {
    struct lane *lane;
    lane_side *work;
    void *arg;
    struct err err;
    int result;
};

static void *work_on_target(void *arg)
{
    struct side *side = arg;

    side->result = side->work(side->lane, false, side->arg, &side->err);
    return NULL;
}

int lane_both(struct lane *lane, lane_side *work, void *arg, struct err *err)
{
    struct side to = {.lane = lane, .work = work, .arg = arg};
    pthread_t thread;
    int result;

    link_move(lane->to, lane->beside);
    if (pthread_create(&thread, NULL, work_on_target, &to) == 0) {
        result = work(lane, true, arg, err);
        INSIST(pthread_join(thread, NULL) == 0);
    } else { /* it is slower one after the other, and no more than that */
        result = work(lane, true, arg, err);
        (void)work_on_target(&to);
    }
    link_move(lane->to, lane->loop);
    if (result == 0 && to.result < 0)
        *err = to.err;
    return result < 0 ? result : to.result;
}

/* --- links ------------------------------------------------------------------------------------ */

static int status_of(enum link_trouble trouble, bool is_from)
{
    switch (trouble) {
    case LINK_TLS:
        return SYNC_EXIT_TLS_FAILURE;
    case LINK_REFUSED:
        return is_from ? SYNC_EXIT_AUTHENTICATION_FAILURE_USER1
                       : SYNC_EXIT_AUTHENTICATION_FAILURE_USER2;
    case LINK_OURS:
        return SYNC_EXIT_SOFTWARE;
    case LINK_FINE:
    case LINK_STOPPED:
    case LINK_UNREACHED:
    case LINK_BUSY:
    case LINK_FOREIGN:
    case LINK_BROKEN:
        break;
    }
    return is_from ? SYNC_EXIT_CONNECTION_FAILURE_HOST1 : SYNC_EXIT_CONNECTION_FAILURE_HOST2;
}

/* Whether another try may do better. */
static bool may_pass(const struct lane *lane, enum link_trouble trouble)
{
    switch (trouble) {
    case LINK_BUSY:
        return true;
    case LINK_UNREACHED:
    case LINK_BROKEN:
    case LINK_REFUSED:
    case LINK_FOREIGN:
    case LINK_TLS:
        return lane->was_open;
    case LINK_FINE:
    case LINK_STOPPED:
    case LINK_OURS:
        break;
    }
    return false;
}

int lane_compress(struct lane *lane, struct link *l, struct err *err)
{
    enum sync_compress wish = sync_params(lane->sync)->compress;
    bool is_on = false;

    if (wish == SYNC_COMPRESS_NO ||
        (wish == SYNC_COMPRESS_AUTO && !(lane->is_slow && link_rtt_ms(l) >= FAR_MS)))
        return 0;
    return link_compress(l, &is_on, err);
}

static bool may_compress(const struct link *l)
{
    return link_offers(l, "COMPRESS=DEFLATE") && link_rtt_ms(l) >= FAR_MS;
}

bool lane_wants_to_judge(const struct lane *lane)
{
    return !lane->is_judged && (may_compress(lane->from) || may_compress(lane->to));
}

int lane_judge(struct lane *lane, uint64_t bytes, uint64_t ms, struct err *err)
{
    if (lane->is_judged || bytes < JUDGED_BYTES)
        return 0;
    lane->is_judged = true;
    lane->is_slow = bytes / (ms + 1) < SLOW / 1000;
    if (!lane->is_slow)
        return 0;
    for (size_t i = 1; i < lane->sources_n; i++)
        (void)!lane_compress(lane, lane->sources[i], err); /* it is found closed if that fails */
    if (lane_compress(lane, lane->from, err) < 0 || lane_compress(lane, lane->to, err) < 0)
        return -1;
    sync_log(lane->sync, "%llu kB a second: compressing where the servers are far and take it",
             (unsigned long long)(bytes / (ms + 1)));
    return 0;
}

/* Why a link could not be opened, if that is to end all: an exit status. */
struct opening {
    int status;
    struct err err;
};

static int open_link(struct lane *lane, struct link *l, bool is_from, struct opening *o)
{
    const struct sync_params *params = sync_params(lane->sync);
    const struct sync_side *side = is_from ? &params->from : &params->to;
    uint32_t pause_ms = PAUSE_FIRST_MS;

    for (int i = 1;; i++) {
        if (link_open(l, &o->err) == 0 && lane_compress(lane, l, &o->err) == 0)
            return 0;
        if (sync_is_stopping(lane->sync) || link_trouble(l) == LINK_STOPPED)
            return -1;
        if (lane->index > 0 && !lane->was_open) {
            sync_log(lane->sync, "%s: one connection less: %s", side->host, o->err.text);
            return -1;
        }
        if (i == TRIES || !may_pass(lane, link_trouble(l)))
            break;
        sync_log(lane->sync, "%s: %s; trying again in %u.%u s", side->host, o->err.text,
                 pause_ms / 1000, pause_ms % 1000 / 100);
        if (!lane_pause(lane, pause_ms))
            return -1;
        pause_ms = 2 * pause_ms < PAUSE_LAST_MS ? 2 * pause_ms : PAUSE_LAST_MS;
    }
    (void)err_prefix(&o->err, "%s (%s)", side->host, is_from ? "source" : "target");
    o->status = status_of(link_trouble(l), is_from);
    return -1;
}

static int connect_one(struct lane *lane, bool is_from, void *arg, struct err *err)
{
    struct link *l = is_from ? lane->from : lane->to;
    struct opening *o = &((struct opening *)arg)[is_from ? 0 : 1];

    (void)err;
    if (link_is_open(l))
        return 0;
    link_close(l); /* it may have broken when all of a folder was done */
    if (open_link(lane, l, is_from, o) == 0)
        return 0;
    /* The source's failure is told first, whichever comes first; and then the target is not tried
     * any longer. */
    if (is_from && o->status > 0)
        sync_give_up(lane->sync, o->status, &o->err);
    return -1;
}

int lane_connect(struct lane *lane)
{
    struct opening o[2] = {{0}, {0}};

    if (lane_both(lane, connect_one, o, &(struct err){0}) < 0) {
        if (o[1].status > 0)
            sync_give_up(lane->sync, o[1].status, &o[1].err);
        return -1;
    }
    lane->was_open = true;
    sync_lane_open(lane->sync, lane->index, true);
    return 0;
}

void lane_disconnect(struct lane *lane)
{
    sync_lane_open(lane->sync, lane->index, false);
    link_leave(lane->from);
    link_leave(lane->to);
    link_close(lane->from);
    link_close(lane->to);
}

/* --- folders ---------------------------------------------------------------------------------- */

static void has_failed(struct sync_folder *f, const void *arg)
{
    (void)arg;
    f->state = FOLDER_FAILED;
}

static const char *why(const struct lane *lane, const struct err *err)
{
    if (!link_is_open(lane->from))
        return link_error(lane->from);
    if (!link_is_open(lane->to))
        return link_error(lane->to);
    return err->text;
}

/* A message that was alone on its way when a link broke: the second time it is not tried again. */
static void heed_suspect(struct lane *lane, struct job *job, uint32_t uid, uint32_t *last)
{
    if (uid == 0 || uid != *last ||
        job->suspects_n == sizeof job->suspects / sizeof *job->suspects) {
        *last = uid;
        return;
    }
    job->suspects[job->suspects_n++] = uid;
    *last = 0;
    sync_issue(lane->sync, link_is_open(lane->from) ? REASON_APPEND_REFUSED : REASON_FETCH_REFUSED,
               job->folder, uid, 0, (struct slice){0},
               "each time it was on its way alone the connection broke: %s",
               why(lane, &(struct err){0}));
}

/* False: all ends. */
static bool work_on(struct lane *lane, struct job *job, struct folder_way *way)
{
    uint32_t suspect = 0;
    unsigned failures = 0;
    struct err err = {0};

    while (lane_connect(lane) == 0) {
        enum folder_end end = folder_sync(lane, job, way, &err);

        if (end == FOLDER_IS_DONE)
            return true;
        if (end == FOLDER_IS_FAILED) {
            sync_give_up(lane->sync, SYNC_EXIT_SOFTWARE, &err);
            break;
        }
        if (sync_is_stopping(lane->sync))
            break;
        sync_log(lane->sync, "%s: %s; going on where it was", job->from, why(lane, &err));
        failures = way->progress > 0 ? 0 : failures + 1;
        heed_suspect(lane, job, way->suspect, &suspect);
        way->is_careful = way->is_careful ? failures > 0 : failures >= CAREFUL_AFTER;
        if (failures == FAILURES) {
            sync_issue(lane->sync, REASON_FOLDER_FAILED, job->folder, 0, 0, (struct slice){0}, "%s",
                       why(lane, &err));
            sync_change(lane->sync, job->folder, has_failed, NULL);
            lane_disconnect(lane);
            return true;
        }
        lane_disconnect(lane);
        if (failures > 0 && !lane_pause(lane, (uint32_t)PAUSE_FIRST_MS << (failures - 1)))
            break;
    }
    sync_change(lane->sync, job->folder, has_failed, NULL);
    return false;
}

void lane_work(struct lane *lane)
{
    while (!sync_is_stopping(lane->sync)) {
        size_t i = __atomic_fetch_add(&lane->plan->next, 1, __ATOMIC_RELAXED);
        struct folder_way way = {0};
        struct job *job;
        bool goes_on;

        if (i >= lane->plan->n)
            break;
        job = &lane->plan->jobs[i];
        sync_lane_at(lane->sync, lane->index, job->from, job->from_status.messages);
        goes_on = work_on(lane, job, &way);
        folder_way_done(&way);
        if (!goes_on)
            break;
        sync_folder_over(lane->sync, lane->index);
        sync_lane_at(lane->sync, lane->index, NULL, 0);
    }
    lane_disconnect(lane);
}
