/* Carrying what is lacking, and finding it again; see folder_parts.h. */
#include "sync/folder_parts.h"

#include "net/loop.h"
#include "sync/carry.h"
#include "sync/state.h"

enum { JUDGE_BYTES = 8 << 20, JUDGE_MOST = 16 << 20 };

static void on_done(void *arg, uint32_t from_uid, uint64_t size, bool is_there)
{
    struct folder *f = arg;

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
    struct folder *f = arg;

    if (folder_issue(f, reason, from_uid, 0, words) < 0 ||
        (reason == REASON_KEYWORDS && uids_add(f, &f->way->without_keywords, from_uid) < 0) ||
        (reason == REASON_DATE && uids_add(f, &f->way->without_date, from_uid) < 0))
        f->has_failed = true;
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

static int carry(struct folder *f)
{
    struct carry_params p = {.sync = f->sync,
                             .lane = f->lane->index,
                             .from = f->lane->from,
                             .to = f->lane->to,
                             .to_name = slice_str(f->job->to),
                             .folder = f->row.id,
                             .fence = f->to_open.uidnext > 0 ? f->to_open.uidnext : 1,
                             .to_uidvalidity = f->to_open.uidvalidity,
                             .permanent = folder_permanent(f),
                             .reader = f->lane->reader,
                             .list = &f->from,
                             .is_careful = f->way->is_careful,
                             .told = {.done = on_done, .issue = on_issue, .arg = f}};

    for (size_t at = 0; at < f->lacking.n; at += p.n) {
        uint64_t began_ms = loop_now_ms(f->lane->loop), before = f->count.carried_bytes;
        enum carry_end end;

        p.uids = f->lacking.all + at;
        p.n = first_part(f, at);
        end = carry_run(&p, &f->way->suspect, f->err);
        if (heed_end(f, end) < 0)
            return -1;
        if (end == CARRY_FULL)
            return 0;
        if (lane_judge(f->lane, f->count.carried_bytes - before,
                       loop_now_ms(f->lane->loop) - began_ms, f->err) < 0)
            return -1;
    }
    return 0;
}

/* Where the next run begins. Nothing may change unseen between a list and its fence, so the fence
 * is taken first; and what others have changed of that which was listed at the beginning is listed
 * once more. */
static int take_fence(struct folder *f, uint32_t fence)
{
    struct slice name = slice_str(f->job->to);
    struct link_answer answer = {.kind = RESPONSE_OK};

    if (mailboxes_status(f->lane->to, &name, 1, &f->to_then, f->err) < 0)
        return -1;
    if (f->to_open.modseq == 0 || f->to_then.highestmodseq == f->to_open.modseq || fence < 2)
        return 0;
    if (look_range(f->lane->to, 1, fence - 1, LOOK_ALL, f->to_open.modseq, f->to_open.exists,
                   &f->to, &answer, f->err) < 0)
        return -1;
    return folder_heed(f, &answer, "the list of what has changed");
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

/* What has come to the target since it was looked at; and, where the target has not told under
 * which UIDs it took them, which of it is which. */
static int look_again(struct folder *f)
{
    struct link_answer answer;
    uint32_t fence = f->to_open.uidnext > 0 ? f->to_open.uidnext : 1;

    if (take_fence(f, fence) < 0)
        return -1;
    f->has_counted_to = has_counted(f, fence);
    if (f->carried.n == 0)
        return 0;
    uids_sort(&f->carried);
    uids_sort(&f->refused);
    if (look_range(f->lane->to, fence, UINT32_MAX, LOOK_ALL, 0, (uint32_t)f->carried.n, &f->to,
                   &answer, f->err) < 0 ||
        folder_heed(f, &answer, "the list of what has come") < 0)
        return -1;
    f->has_counted_to = has_counted(f, fence);
    for (size_t i = 0; f->has_to_there && i < f->to.n; i++) {
        if (f->to.messages[i].uid >= fence && uids_add(f, &f->to_there, f->to.messages[i].uid) < 0)
            return -1;
    }
    return folder_resolve(f);
}

int folder_carry(struct folder *f)
{
    return carry(f) < 0 ? -1 : look_again(f);
}
