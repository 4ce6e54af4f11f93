/* Carrying what is lacking, and finding it again; see folder_parts.h. */
#include "sync/folder_parts.h"

#include "net/loop.h"
#include "sync/carry.h"
#include "sync/state.h"

enum { JUDGE_BYTES = 8 << 20, JUDGE_MOST = 16 << 20 };

/* A part of what is lacking, on its way. */
struct part {
    struct folder *f;
    size_t at; /* where it begins */
};

static void on_done(void *arg, uint32_t from_uid, uint64_t size, bool is_there)
{
    struct folder *f = ((struct part *)arg)->f;

    sync_lane_done(f->sync, f->lane->index, 1, is_there ? size : 0);
    if (!is_there) {
        f->count.refused++;
        if (uids_add(f, &f->refused, from_uid) < 0)
            f->has_failed = true;
        f->refused_told++;
        sync_refused(f->sync, 1);
        return;
    }
    f->way->progress++;
    f->count.carried++;
    f->count.carried_bytes += size;
    sync_carried(f->sync, 1, size);
    if (uids_add(f, &f->carried, from_uid) < 0)
        f->has_failed = true;
}

static void on_issue(void *arg, enum sync_reason reason, uint32_t from_uid, struct slice words)
{
    struct folder *f = ((struct part *)arg)->f;

    if (folder_issue(f, reason, from_uid, 0, words) < 0 ||
        (reason == REASON_KEYWORDS && uids_add(f, &f->way->without_keywords, from_uid) < 0) ||
        (reason == REASON_DATE && uids_add(f, &f->way->without_date, from_uid) < 0))
        f->has_failed = true;
}

/* How much is still to be carried, as far as it matters. */
static uint64_t bytes_left(const struct folder *f, size_t at, uint64_t most)
{
    uint64_t bytes = 0;

    while (at < f->lacking.n && bytes < most) {
        const struct look_message *m = look_find(&f->from, f->lacking.all[at++]);

        bytes += m ? m->size : 0;
    }
    return bytes;
}

static bool on_pace(void *arg, const struct carry_pace *pace)
{
    const struct part *part = arg;
    struct width_pace told = {.bytes = pace->bytes, .ms = pace->ms, .dry_ms = pace->dry_ms};

    told.left = bytes_left(part->f, part->at + pace->next, WIDTH_LEFT * pace->bytes);
    return lane_judge_width(part->f->lane, &told);
}

static bool is_suspect(const struct folder *f, uint32_t uid)
{
    for (size_t i = 0; i < f->job->suspects_n; i++) {
        if (f->job->suspects[i] == uid)
            return true;
    }
    return false;
}

int folder_choose(struct folder *f)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->lacking.n; i++) {
        const struct look_message *m = look_find(&f->from, f->lacking.all[i]);

        if (!m || !folder_is_chosen(f, m))
            continue;
        if (is_suspect(f, m->uid)) {
            if (uids_add(f, &f->refused, m->uid) < 0)
                return -1;
            f->count.refused++;
            continue;
        }
        if (f->params->is_dry) {
            f->count.would_carry++;
            f->count.would_carry_bytes += m->size;
        }
        f->lacking.all[kept++] = m->uid;
    }
    f->lacking.n = kept;
    return 0;
}

/* A full target: what was not tried is listed. */
static int leave_rest(struct folder *f)
{
    size_t tried = f->refused.n;

    uids_sort(&f->carried);
    uids_sort(&f->refused);
    for (size_t i = 0; i < f->lacking.n; i++) {
        const struct uids before = {.all = f->refused.all, .n = tried};
        uint32_t uid = f->lacking.all[i];

        if (uids_have(&f->carried, uid) || uids_have(&before, uid))
            continue;
        if (uids_add(f, &f->refused, uid) < 0 ||
            folder_issue(f, REASON_OVERQUOTA, uid, 0, SLICE("not tried")) < 0)
            return -1;
        f->count.refused++;
    }
    return 0;
}

static int heed_end(struct folder *f, enum carry_end end)
{
    switch (end) {
    case CARRY_DONE:
        return f->has_failed ? -1 : 0;
    case CARRY_FULL:
        sync_log(f->sync, "%s: %s; the rest of the folder is not tried", f->job->from,
                 f->err->text);
        return leave_rest(f);
    case CARRY_BROKEN:
        return -1;
    case CARRY_AGAIN:
        f->wants_again = true;
        return -1;
    case CARRY_FAILED:
        break;
    }
    return folder_failed(f);
}

/* How many of those from `at` on go at once: all, but for a first part by which the lane learns how
 * fast the way is. That does not end in the middle of a command to the target. */
static size_t first_part(const struct folder *f, size_t at)
{
    bool is_first = lane_wants_to_judge(f->lane);
    uint64_t bytes = 0;
    size_t i = at;

    while (i < f->lacking.n &&
           (!is_first || bytes < JUDGE_BYTES || (i - at < CARRY_BATCH && bytes < JUDGE_MOST))) {
        const struct look_message *m = look_find(&f->from, f->lacking.all[i++]);

        bytes += m ? m->size : 0;
    }
    return i == f->lacking.n || i - at < CARRY_BATCH ? i - at
                                                     : (i - at) / CARRY_BATCH * CARRY_BATCH;
}

/* All of it, in parts: between them the lane may do what needs links that are free. */
static int carry_parts(struct folder *f)
{
    struct lane *lane = f->lane;
    struct part part = {.f = f};
    struct carry_params p = {.sync = f->sync,
                             .lane = lane->index,
                             .from = lane->sources,
                             .to = lane->to,
                             .to_name = slice_str(f->job->to),
                             .folder = f->row.id,
                             .fence = f->to_open.uidnext > 0 ? f->to_open.uidnext : 1,
                             .to_uidvalidity = f->to_open.uidvalidity,
                             .permanent = folder_permanent(f),
                             .reader = lane->reader,
                             .list = &f->from,
                             .is_careful = f->way->is_careful,
                             .told = {.done = on_done,
                                      .issue = on_issue,
                                      .pace = f->way->is_careful ? NULL : on_pace,
                                      .arg = &part}};

    while (part.at < f->lacking.n) {
        uint64_t began_ms = loop_now_ms(lane->loop), before = f->count.carried_bytes;
        struct carry_result result;
        enum carry_end end;

        p.uids = f->lacking.all + part.at;
        p.n = first_part(f, part.at);
        p.from_n = lane->sources_n;
        end = carry_run(&p, &result, f->err);
        f->way->suspect = result.suspect;
        if (heed_end(f, end) < 0)
            return -1;
        if (end == CARRY_FULL)
            return 0;
        part.at += result.taken;
        p.recorded = result.recorded - result.taken;
        if (lane_judge(lane, f->count.carried_bytes - before, loop_now_ms(lane->loop) - began_ms,
                       f->err) < 0)
            return -1;
        lane_widen(lane, slice_str(f->job->from), f->from_open.uidvalidity);
    }
    return 0;
}

static int carry(struct folder *f)
{
    int result;

    lane_narrow(f->lane);
    result = carry_parts(f);
    lane_narrow(f->lane);
    return result;
}

/* Whether as many messages were there at the fence as are known: else some have gone since the
 * folder was opened, and only a whole look tells which. */
static bool has_counted(const struct folder *f, uint32_t fence)
{
    uint64_t known = f->to_open.exists;

    for (size_t i = f->to.n; i > 0 && f->to.messages[i - 1].uid >= fence; i--)
        known += f->to.messages[i - 1].uid < f->to_then.uidnext;
    return known == f->to_then.messages;
}

/* Where the next run begins, and what is there by then. Nothing may change unseen between a list
 * and its fence, so the fence (STATUS) is taken first; what others have changed of that which was
 * listed at the beginning is listed once more behind it, and so is what has come. */
static int look_behind(struct folder *f, uint32_t fence)
{
    const struct look_end end = {.name = slice_str(f->job->to),
                                 .fence = fence,
                                 .come = (uint32_t)f->carried.n,
                                 .since = f->to_open.modseq};
    struct link_answer answer;

    if (look_at_end(f->lane->to, &end, &f->to, &f->to_then, &answer, f->err) < 0)
        return -1;
    return folder_heed(f, &answer, "the list of what has come");
}

/* What has come to the target since it was looked at; and, where the target has not told under
 * which UIDs it took them, which of it is which. */
static int look_again(struct folder *f)
{
    uint32_t fence = f->to_open.uidnext > 0 ? f->to_open.uidnext : 1;

    if (look_behind(f, fence) < 0)
        return -1;
    f->has_counted_to = has_counted(f, fence);
    if (f->carried.n == 0)
        return 0;
    uids_sort(&f->carried);
    uids_sort(&f->refused);
    for (size_t i = 0; f->has_to_there && i < f->to.n; i++) {
        if (f->to.messages[i].uid >= fence && uids_add(f, &f->to_there, f->to.messages[i].uid) < 0)
            return -1;
    }
    uids_sort(&f->to_there); /* some may have been there already */
    return folder_resolve(f);
}

int folder_carry(struct folder *f)
{
    return carry(f) < 0 ? -1 : look_again(f);
}
