/* All of one folder; see sync/folder.h and folder_parts.h. */
#include "sync/folder.h"

#include "base/hash.h"
#include "base/room.h"
#include "net/loop.h"
#include "sync/flags.h"
#include "sync/folder_parts.h"
#include "sync/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUBJECTS = 200, SUBJECT = 200 };

/* --- small things ----------------------------------------------------------------------------- */

int uids_add(struct folder *f, struct uids *u, uint32_t uid)
{
    uint32_t *all = room_for_one(u->all, u->n, &u->cap, sizeof *all);

    if (!all)
        return folder_no_memory(f);
    u->all = all;
    u->all[u->n++] = uid;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

void uids_sort(struct uids *u)
{
    if (u->n > 1)
        qsort(u->all, u->n, sizeof *u->all, by_number);
}

bool uids_have(const struct uids *u, uint32_t uid)
{
    return u->n > 0 && bsearch(&uid, u->all, u->n, sizeof *u->all, by_number) != NULL;
}

int folder_add_pair(struct folder *f, uint32_t from_uid, uint32_t to_uid)
{
    struct journal_pair *pairs = room_for_one(f->pairs, f->pairs_n, &f->pairs_cap, sizeof *pairs);

    if (!pairs)
        return folder_no_memory(f);
    f->pairs = pairs;
    f->pairs[f->pairs_n++] = (struct journal_pair){.from_uid = from_uid, .to_uid = to_uid};
    return 0;
}

void folder_sort_pairs(struct folder *f)
{
    /* from_uid is the first member. */
    if (f->pairs_n > 1)
        qsort(f->pairs, f->pairs_n, sizeof *f->pairs, by_number);
}

const struct journal_pair *folder_pair_of(const struct folder *f, uint32_t from_uid)
{
    return f->pairs_n > 0 ? bsearch(&from_uid, f->pairs, f->pairs_n, sizeof *f->pairs, by_number)
                          : NULL;
}

int folder_issue(struct folder *f, enum sync_reason reason, uint32_t from_uid, uint32_t to_uid,
                 struct slice words)
{
    struct folder_issue *issues =
        room_for_one(f->issues, f->issues_n, &f->issues_cap, sizeof *issues);

    if (!issues)
        return folder_no_memory(f);
    f->issues = issues;
    f->issues[f->issues_n++] = (struct folder_issue){.reason = reason,
                                                     .from_uid = from_uid,
                                                     .to_uid = to_uid,
                                                     .text = words.n > 0 ? slice_dup(words) : NULL};
    return 0;
}

struct slice folder_permanent(const struct folder *f)
{
    if (!f->to_open.permanent_told || f->to_open.is_read_only)
        return (struct slice){0};
    return f->to_open.permanent[0] ? slice_str(f->to_open.permanent) : SLICE(" ");
}

bool folder_is_chosen(const struct folder *f, const struct look_message *m)
{
    const struct sync_params *p = f->params;
    int64_t age_s = time(NULL) - m->date_s;

    if ((p->max_size > 0 && m->size > p->max_size) || m->size < p->min_size)
        return false;
    if (m->has_date &&
        ((p->max_age_s > 0 && age_s > p->max_age_s) || (p->min_age_s > 0 && age_s < p->min_age_s)))
        return false;
    return !p->search || uids_have(&f->searched, m->uid);
}

/* What chooses messages, as one number for the journal: another choice, and what an earlier run has
 * finished is not finished. 0 when all are chosen. */
static uint64_t choice_of(const struct sync_params *p)
{
    struct hash128 criteria = hash_stable(slice_str(p->search));
    char text[256];

    if (!p->search && p->max_size == 0 && p->min_size == 0 && p->max_age_s == 0 &&
        p->min_age_s == 0 && !p->deletes)
        return 0;
    snprintf(text, sizeof text, "%llu %llu %u %u %d %llu %llu", (unsigned long long)p->max_size,
             (unsigned long long)p->min_size, p->max_age_s, p->min_age_s, p->deletes,
             (unsigned long long)criteria.high, (unsigned long long)criteria.low);
    return hash_stable(slice_str(text)).high | 1;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* The answers of both servers, which live until the next call. */
struct opening {
    struct folder *f;
    struct link_answer from, to;
};

static int open_one(struct lane *lane, bool is_from, void *arg, struct err *err)
{
    struct opening *o = arg;
    struct folder *f = o->f;

    if (is_from)
        return look_select(lane->from, slice_str(f->job->from), true, &f->from_open, &o->from, err);
    if (!f->job->has_to)
        return 0;
    return look_select(lane->to, slice_str(f->job->to), !f->writes, &f->to_open, &o->to, err);
}

/* Both, as far as the target has one. *out_is_open: none of them was refused. */
static int open_both(struct folder *f, bool *out_is_open)
{
    struct opening o = {.f = f};

    *out_is_open = false;
    if (lane_both(f->lane, open_one, &o, f->err) < 0)
        return -1;
    if (o.from.kind != RESPONSE_OK)
        return folder_issue(f, REASON_SELECT_REFUSED, 0, 0, o.from.text);
    if (f->job->has_to && o.to.kind != RESPONSE_OK)
        return folder_issue(f, REASON_SELECT_REFUSED, 0, 0, o.to.text);
    *out_is_open = true;
    f->has_to = f->job->has_to;
    return 0;
}

/* The row of the journal; what it knows counts for these UIDVALIDITYs alone. */
static int heed_journal(struct folder *f)
{
    struct journal *j = sync_journal(f->sync);
    uint32_t from = f->from_open.uidvalidity, to = f->has_to ? f->to_open.uidvalidity : 0;
    bool is_new;

    if (journal_folder(j, slice_str(f->job->from), slice_str(f->job->to), &f->row, f->err) < 0)
        return folder_failed(f);
    if (f->row.from_uidvalidity == from && f->row.to_uidvalidity == to)
        return 0;
    is_new = f->row.from_uidvalidity == 0 && f->row.to_uidvalidity == 0;
    if (!is_new && f->has_to) {
        sync_issue(f->sync, REASON_UIDVALIDITY, f->job->folder, 0, 0, (struct slice){0},
                   "(%s: %u was %u)", f->row.from_uidvalidity != from ? "source" : "target",
                   f->row.from_uidvalidity != from ? from : to,
                   f->row.from_uidvalidity != from ? f->row.from_uidvalidity
                                                   : f->row.to_uidvalidity);
    }
    f->is_unwritten = !f->writes;
    if (journal_forget(j, f->row.id, from, to, f->err) < 0)
        return folder_failed(f);
    f->row =
        (struct journal_folder){.id = f->row.id, .from_uidvalidity = from, .to_uidvalidity = to};
    return 0;
}

/* Whether the quick way will do. */
static bool may_be_quick(const struct folder *f)
{
    return f->has_to && f->row.is_proven && f->row.chosen == choice_of(f->params) &&
           !f->params->is_full && f->params->what == SYNC_ALL && f->row.from_modseq > 0 &&
           f->row.to_modseq > 0 && f->from_open.modseq > 0 && f->to_open.modseq > 0 &&
           f->row.to_fence == 0 && f->params->max_age_s == 0 && f->params->min_age_s == 0 &&
           !f->params->search;
}

/* --- the order of the work -------------------------------------------------------------------- */

static int search(struct folder *f)
{
    struct link_answer answer;

    if (!f->params->search)
        return 0;
    if (look_search(f->lane->from, f->params->search, look_extent(&f->from_open), &f->searched.all,
                    &f->searched.n, &answer, f->err) < 0)
        return -1;
    f->searched.cap = f->searched.n;
    if (answer.kind == RESPONSE_OK)
        return 0;
    (void)err_set(f->err, 0, "the source refuses --search \"%s\": %.*s", f->params->search,
                  SLICE_ARG(answer.text));
    return folder_failed(f);
}

static void count_sides(struct folder *f)
{
    f->count.from_messages = f->from_open.exists;
    f->count.to_messages = f->to_open.exists;
    for (size_t i = 0; !f->is_quick && i < f->from.n; i++) {
        f->count.from_bytes += f->from.messages[i].size;
        f->count.chosen += folder_is_chosen(f, &f->from.messages[i]);
    }
    for (size_t i = 0; !f->is_quick && i < f->to.n; i++)
        f->count.to_bytes += f->to.messages[i].size;
    if (f->is_quick) {
        f->count.from_bytes = f->job->from_status.size;
        f->count.to_bytes = f->job->to_status.size;
        f->count.chosen = f->from_open.exists;
    }
}

/* What of the source was there already, for the display. */
static void tell_found(struct folder *f)
{
    uint64_t bytes = 0;

    if (!(f->job->from_status.told & STATUS_SIZE) && !f->job->is_known) {
        f->job->is_known = true;
        sync_known(f->sync, 0, 0, f->count.from_bytes);
    }
    f->count.found = f->pairs_n;
    for (size_t i = 0; !f->is_quick && i < f->pairs_n; i++) {
        const struct look_message *m = look_find(&f->from, f->pairs[i].from_uid);

        bytes += m ? m->size : 0;
    }
    sync_lane_done(f->sync, f->lane->index, f->pairs_n, bytes);
}

/* The source as it was opened, the target as it was before it was looked at the last time: what
 * changes later, by us or others, is listed by the next run. */
static void set_fences(struct folder *f)
{
    const struct data_status *to = &f->to_then;
    uint32_t messages = to->told & STATUS_MESSAGES ? to->messages : 0;

    messages -= f->count.deleted < messages ? (uint32_t)f->count.deleted : messages;
    f->row.from_uidnext = f->from_open.uidnext;
    f->row.from_modseq = f->from_open.modseq;
    f->row.from_messages = f->from_open.exists;
    f->row.to_uidnext = to->told & STATUS_UIDNEXT ? to->uidnext : 0;
    f->row.to_modseq = to->told & STATUS_HIGHESTMODSEQ && f->has_counted_to ? to->highestmodseq : 0;
    f->row.to_messages = messages;
    f->row.chosen = choice_of(f->params);
    if (to->told & STATUS_MESSAGES)
        f->count.to_messages = messages;
    f->count.to_bytes += f->count.carried_bytes;
}

static int finish(struct folder *f)
{
    f->row.is_proven = f->count.proof.differences == 0 && f->refused.n == 0;
    for (size_t i = 0; i < f->issues_n; i++) {
        if (sync_reason_severity(f->issues[i].reason) != SYNC_NOTE)
            f->row.is_proven = false;
    }
    f->count.proof.is_proven = f->row.is_proven;
    if (f->writes && journal_folder_set(sync_journal(f->sync), &f->row, f->err) < 0)
        return folder_failed(f);
    f->count.state = FOLDER_DONE;
    return 0;
}

static int change(struct folder *f)
{
    if (folder_carry(f) < 0 || folder_flags(f) < 0)
        return -1;
    if (f->params->deletes && folder_delete(f) < 0)
        return -1;
    set_fences(f);
    return 0;
}

static int work(struct folder *f)
{
    bool is_open;

    if (open_both(f, &is_open) < 0)
        return -1;
    if (!is_open) {
        f->count.state = FOLDER_REFUSED;
        return 0;
    }
    if (heed_journal(f) < 0 || search(f) < 0)
        return -1;
    f->is_quick = may_be_quick(f);
    if (folder_look(f) < 0)
        return -1;
    count_sides(f);
    if (folder_match(f, f->params->deletes || !f->writes) < 0)
        return -1;
    tell_found(f);
    if (folder_choose(f) < 0)
        return -1;
    if (f->writes && change(f) < 0)
        return -1;
    if (!f->params->is_dry && folder_proof(f) < 0)
        return -1;
    if (f->params->is_dry) {
        f->count.would_delete = f->params->deletes ? f->orphans.n + f->strangers.n : 0;
        f->count.state = FOLDER_DONE;
        return 0;
    }
    return finish(f);
}

/* --- unchanged folders ------------------------------------------------------------------------ */

static bool is_as_then(const struct data_status *s, uint32_t uidvalidity, uint32_t uidnext,
                       uint32_t messages, uint64_t modseq)
{
    unsigned all = STATUS_MESSAGES | STATUS_UIDNEXT | STATUS_UIDVALIDITY | STATUS_HIGHESTMODSEQ;

    return (s->told & all) == all && s->uidvalidity == uidvalidity && s->uidnext == uidnext &&
           s->messages == messages && modseq > 0 && s->highestmodseq == modseq;
}

/* Whether nothing has changed on either side since the folder was proven, by its row. */
static bool is_unchanged(const struct sync_params *p, const struct job *job,
                         const struct journal_folder *row)
{
    return row->is_proven && row->chosen == choice_of(p) && p->max_age_s == 0 &&
           p->min_age_s == 0 && row->to_fence == 0 &&
           is_as_then(&job->from_status, row->from_uidvalidity, row->from_uidnext,
                      row->from_messages, row->from_modseq) &&
           is_as_then(&job->to_status, row->to_uidvalidity, row->to_uidnext, row->to_messages,
                      row->to_modseq);
}

int folder_is_unchanged(struct sync *s, const struct job *job, struct journal_folder *out_row,
                        bool *out_is, struct err *err)
{
    const struct sync_params *p = sync_params(s);

    *out_is = false;
    if (p->is_full || p->what != SYNC_ALL || !job->has_to)
        return 0;
    if (journal_folder(sync_journal(s), slice_str(job->from), slice_str(job->to), out_row, err) < 0)
        return -1;
    *out_is = is_unchanged(p, job, out_row);
    return 0;
}

/* It need not even be opened. */
static int skip_unchanged(struct folder *f, bool *out_is_done)
{
    const struct job *job = f->job;
    const struct journal_folder *row = &f->row;

    if (folder_is_unchanged(f->sync, job, &f->row, out_is_done, f->err) < 0)
        return folder_failed(f);
    if (!*out_is_done)
        return 0;
    f->count.state = FOLDER_UNCHANGED;
    f->count.from_messages = f->count.chosen = f->count.found = row->from_messages;
    f->count.to_messages = row->to_messages;
    f->count.from_bytes = job->from_status.size;
    f->count.to_bytes = job->to_status.size;
    f->count.proof.is_proven = true;
    f->count.proof.paired = row->from_messages;
    sync_lane_done(f->sync, f->lane->index, row->from_messages, job->from_status.size);
    return 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Whether calls can be made: a link that was left in the midst of carrying has commands out. */
static bool is_free(struct link *l)
{
    return link_is_open(l) && pipeline_waiting(link_pipeline(l)) == 0 &&
           !pipeline_is_open(link_pipeline(l));
}

/* Messages that were listed and had no text to give may just have gone: those of them that are
 * there are in `list` then. False: it is not known. */
static bool look_for_gone(struct folder *f, struct look_list *list)
{
    struct uids uids = {0};
    struct link_answer answer = {.kind = RESPONSE_OK};
    struct err err;
    struct link *from = f->lane->from;
    bool result = is_free(from);

    for (size_t i = 0; i < f->issues_n && result; i++) {
        if (f->issues[i].reason == REASON_FETCH_NOTHING)
            result = uids_add(f, &uids, f->issues[i].from_uid) == 0;
    }
    uids_sort(&uids);
    if (result && uids.n > 0)
        result = look_messages(from, uids.all, uids.n, LOOK_FLAGS, list, &answer, &err) == 0;
    free(uids.all);
    return result && answer.kind == RESPONSE_OK;
}

/* The subjects of the first issues that are of messages of one side, in SUBJECT bytes each. */
static void look_subjects_of(struct folder *f, bool is_from, char *out)
{
    struct link *l = is_from ? f->lane->from : f->lane->to;
    uint32_t uids[SUBJECTS];
    size_t of[SUBJECTS], n = 0;
    char *subjects = calloc(SUBJECTS, SUBJECT);
    struct err err;

    for (size_t i = 0; i < f->issues_n && i < SUBJECTS; i++) {
        const struct folder_issue *issue = &f->issues[i];

        uids[n] = is_from ? issue->from_uid : issue->to_uid;
        of[n] = i;
        n += uids[n] > 0 && (is_from || issue->from_uid == 0);
    }
    if (subjects && n > 0 && is_free(l))
        (void)!look_subjects(l, uids, n, subjects, SUBJECT, &err);
    for (size_t i = 0; i < n && subjects; i++)
        memcpy(out + of[i] * SUBJECT, subjects + i * SUBJECT, SUBJECT);
    free(subjects);
}

/* What a try that broke has to tell: how messages were carried. The rest, also what the proof has
 * found, comes up again in the next. */
static bool is_for_good(const struct folder_issue *issue)
{
    return issue->to_uid == 0 && (issue->reason == REASON_KEYWORDS || issue->reason == REASON_DATE);
}

/* Puts those that are to be told before the others, which are dropped; nothing is freed. */
static void drop_issues(struct folder *f, bool is_broken)
{
    struct look_list there;
    size_t kept = 0;
    bool knows;

    look_list_init(&there, f->flags);
    knows = !is_broken && look_for_gone(f, &there);
    for (size_t i = 0; i < f->issues_n; i++) {
        const struct folder_issue issue = f->issues[i];
        bool has_gone = issue.reason == REASON_FETCH_NOTHING;

        has_gone = has_gone && knows && !look_find(&there, issue.from_uid);
        f->count.refused -= has_gone;
        f->count.chosen -= has_gone;
        if (has_gone || (is_broken && !is_for_good(&issue)))
            continue;
        f->issues[i] = f->issues[kept];
        f->issues[kept++] = issue;
    }
    f->issues_n = kept;
    look_list_free(&there);
}

static void tell_issues(struct folder *f, bool is_broken)
{
    const size_t all_n = f->issues_n;
    char *subjects;

    drop_issues(f, is_broken);
    subjects = f->issues_n > 0 ? calloc(SUBJECTS, SUBJECT) : NULL;
    if (subjects) {
        look_subjects_of(f, true, subjects);
        look_subjects_of(f, false, subjects);
    }
    for (size_t i = 0; i < f->issues_n; i++) {
        const struct folder_issue *issue = &f->issues[i];

        sync_issue(f->sync, issue->reason, f->job->folder, issue->from_uid, issue->to_uid,
                   slice_str(subjects && i < SUBJECTS ? subjects + i * SUBJECT : ""), "%s",
                   issue->text ? issue->text : "");
    }
    for (size_t i = 0; i < all_n; i++)
        free(f->issues[i].text);
    free(f->issues);
    free(subjects);
}

/* Adds what this try has done; the rest is as it is now. */
static void set_counts(struct sync_folder *r, const void *arg)
{
    const struct sync_folder *c = arg;
    struct sync_folder all = *c;

    all.from = r->from;
    all.to = r->to;
    all.found = c->found > r->carried ? c->found - r->carried : 0;
    all.carried += r->carried;
    all.carried_bytes += r->carried_bytes;
    all.flags_set += r->flags_set;
    all.deleted += r->deleted;
    all.took_ms += r->took_ms;
    *r = all;
}

static void folder_done(struct folder *f)
{
    struct uids *all[] = {&f->from_there, &f->to_there, &f->orphans, &f->orphan_sources,
                          &f->strangers,  &f->doubtful, &f->lacking, &f->carried,
                          &f->refused,    &f->searched};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->all);
    free(f->pairs);
    look_list_free(&f->from);
    look_list_free(&f->to);
    flags_free(&f->flags);
}

void folder_way_done(struct folder_way *way)
{
    free(way->without_keywords.all);
    free(way->without_date.all);
}

enum folder_end folder_sync(struct lane *lane, struct job *job, struct folder_way *way,
                            struct err *err)
{
    struct folder f = {.lane = lane,
                       .job = job,
                       .sync = lane->sync,
                       .params = sync_params(lane->sync),
                       .way = way,
                       .err = err,
                       .flags = flags_new()};
    uint64_t began_ms = loop_now_ms(lane->loop);
    bool is_done = false;
    int result = 0;

    way->progress = 0;
    way->suspect = 0;
    f.writes = !f.params->is_dry && f.params->what == SYNC_ALL;
    look_list_init(&f.from, f.flags);
    look_list_init(&f.to, f.flags);
    sync_lane_at(lane->sync, lane->index, job->from, job->from_status.messages);
    if (!f.flags)
        result = folder_no_memory(&f);
    if (result == 0)
        result = skip_unchanged(&f, &is_done);
    if (result == 0 && !is_done)
        result = work(&f);
    sync_refused(f.sync, -(int64_t)f.refused_told); /* from here on they count as listed */
    tell_issues(&f, result < 0 && !sync_is_stopping(f.sync));
    f.count.took_ms = loop_now_ms(lane->loop) - began_ms;
    if (result < 0)
        f.count.state = FOLDER_FAILED;
    sync_change(f.sync, job->folder, set_counts, &f.count);
    folder_done(&f);
    if (result == 0)
        return FOLDER_IS_DONE;
    return f.has_failed ? FOLDER_IS_FAILED : f.wants_again ? FOLDER_IS_AGAIN : FOLDER_IS_BROKEN;
}
