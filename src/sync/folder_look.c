/* What both sides have, and what of it belongs together by the journal; see folder_parts.h. */
#include "sync/folder_parts.h"

#include "sync/flags.h"
#include "sync/state.h"

#include <errno.h>
#include <stdlib.h>

/* Of how many that may have gone VANISHED is asked: a number has 11 bytes at most, and a link has
 * room for a response of 256 KiB. */
enum { GONE_MOST = 10000 };

int folder_heed(struct folder *f, const struct link_answer *answer, const char *what)
{
    if (answer->kind == RESPONSE_OK)
        return 0;
    (void)err_set(f->err, 0, "%s was refused: %.*s", what, SLICE_ARG(answer->text));
    f->wants_again = true;
    return -1;
}

/* --- lists ------------------------------------------------------------------------------------ */

/* One side, while it is looked at; of a quick look also as it was at the end of the last run. */
struct view {
    struct link *link;
    const struct look_selected *now;
    struct look_list *list;
    uint64_t then_modseq;
    uint32_t then_uidnext, then_messages;
    struct uids *there; /* comes of a quick look, if *has_there */
    bool *has_there;
    struct uids known; /* by the journal, ascending */
    struct look_gone gone;
};

/* All messages of both sides. */
static int look_whole(struct folder *f, struct view *views, size_t n)
{
    struct look_asked asked[2];
    size_t asked_n = 0;

    for (size_t i = 0; i < n; i++) {
        if (views[i].now->exists > 0)
            asked[asked_n++] = (struct look_asked){.link = views[i].link,
                                                   .first = 1,
                                                   .last = UINT32_MAX,
                                                   .what = LOOK_ALL,
                                                   .extent = look_extent(views[i].now),
                                                   .list = views[i].list};
    }
    if (look_lists(asked, asked_n, f->err) < 0)
        return -1;
    for (size_t i = 0; i < asked_n; i++) {
        if (folder_heed(f, &asked[i].answer, "the list of messages") < 0)
            return -1;
    }
    return 0;
}

/* --- what has changed and gone ---------------------------------------------------------------- */

static bool has_changed(const struct view *v)
{
    return v->now->modseq != v->then_modseq || v->now->uidnext != v->then_uidnext;
}

/* How many may have gone at most: of those that were there and those that have come, if every UID
 * that was given out since was a message's. */
static uint64_t gone_most(const struct view *v)
{
    uint64_t all = v->then_messages;

    if (v->then_uidnext > 0 && v->now->uidnext > v->then_uidnext)
        all += v->now->uidnext - v->then_uidnext;
    return all > v->now->exists ? all - v->now->exists : 0;
}

/* Whether VANISHED tells it sooner than UID SEARCH: not if nothing has gone; and not of so many
 * that they may not fit a response, which has to lie in memory as a whole. */
static bool asks_gone(const struct view *v)
{
    uint64_t most = gone_most(v);

    return has_changed(v) && link_has_qresync(v->link) && most > 0 && most <= GONE_MOST;
}

/* What the journal has of a side. */
static int know(struct folder *f, struct view *v, bool is_from, const struct journal_pair *rows,
                size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].to_uid > 0 &&
            uids_add(f, &v->known, is_from ? rows[i].from_uid : rows[i].to_uid) < 0)
            return -1;
    }
    uids_sort(&v->known);
    return look_gone_init(&v->gone, v->known.all, v->known.n, f->err);
}

static int know_both(struct folder *f, struct view *views)
{
    struct journal_pair *rows = NULL;
    size_t n = 0;
    int result = 0;

    if (!asks_gone(&views[0]) && !asks_gone(&views[1]))
        return 0;
    if (journal_pairs(sync_journal(f->sync), f->row.id, &rows, &n, f->err) < 0)
        return folder_failed(f);
    for (size_t i = 0; i < 2 && result == 0; i++) {
        if (asks_gone(&views[i]))
            result = know(f, &views[i], i == 0, rows, n);
    }
    free(rows);
    return result;
}

static int ask_changed(struct folder *f, struct view *views)
{
    struct look_asked asked[2];
    size_t n = 0;

    for (size_t i = 0; i < 2; i++) {
        struct view *v = &views[i];

        if (has_changed(v))
            asked[n++] = (struct look_asked){.link = v->link,
                                             .first = 1,
                                             .last = UINT32_MAX,
                                             .what = LOOK_ALL,
                                             .since = v->then_modseq,
                                             .extent = look_extent(v->now),
                                             .list = v->list,
                                             .gone = v->gone.next ? &v->gone : NULL};
    }
    if (look_lists(asked, n, f->err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (folder_heed(f, &asked[i].answer, "the list of what has changed") < 0)
            return -1;
    }
    return 0;
}

/* What is there of what is known, by VANISHED; in *lost how many there were that are not. What is
 * listed is there, whatever else is told of it. */
static int sort_gone(struct folder *f, const struct view *v, uint64_t *lost)
{
    for (size_t i = 0; i < v->known.n; i++) {
        uint32_t uid = v->known.all[i];

        if (!look_is_gone(&v->gone, i)) {
            if (uids_add(f, v->there, uid) < 0)
                return -1;
        } else if (uid < v->then_uidnext && !look_find(v->list, uid)) {
            ++*lost;
        }
    }
    for (size_t i = 0; i < v->list->n; i++) {
        if (uids_add(f, v->there, v->list->messages[i].uid) < 0)
            return -1;
    }
    uids_sort(v->there);
    return 0;
}

/* Which of what is known is there: all, or what VANISHED leaves, if that comes to the number that
 * the server has told of the folder; else it is asked which UIDs there are. For VANISHED tells
 * nothing of messages that are not in the journal, and servers have told too much, or too little,
 * by it. */
static int count_view(struct folder *f, const struct view *v)
{
    struct link_answer answer;
    uint64_t lost = 0, expected = v->then_messages;

    if (v->gone.next && sort_gone(f, v, &lost) < 0)
        return -1;
    for (size_t i = v->list->n; i > 0 && v->list->messages[i - 1].uid >= v->then_uidnext; i--)
        expected++;
    *v->has_there = v->gone.next != NULL;
    if (expected - lost == v->now->exists)
        return 0;
    free(v->there->all);
    *v->there = (struct uids){0};
    if (look_search(v->link, "ALL", look_extent(v->now), &v->there->all, &v->there->n, &answer,
                    f->err) < 0)
        return -1;
    v->there->cap = v->there->n;
    *v->has_there = true;
    return folder_heed(f, &answer, "the list of UIDs");
}

/* What has changed on both sides since the last run; and what is there, if something has gone. */
static int look_quick(struct folder *f, struct view *views)
{
    int result = know_both(f, views);

    if (result == 0)
        result = ask_changed(f, views);
    for (size_t i = 0; i < 2; i++) {
        if (result == 0)
            result = count_view(f, &views[i]);
        look_gone_free(&views[i].gone);
        free(views[i].known.all);
    }
    return result;
}

static bool has(const struct folder *f, const struct look_list *list, bool has_there,
                const struct uids *there, uint32_t uid)
{
    if (!f->is_quick)
        return look_find(list, uid) != NULL;
    return has_there ? uids_have(there, uid) : true;
}

/* --- the journal ------------------------------------------------------------------------------ */

static int heed_pair(struct folder *f, const struct journal_pair *pair, struct uids *gone)
{
    bool has_from = has(f, &f->from, f->has_from_there, &f->from_there, pair->from_uid);
    bool has_to = f->has_to && has(f, &f->to, f->has_to_there, &f->to_there, pair->to_uid);

    if (has_from && has_to)
        return folder_add_pair(f, pair->from_uid, pair->to_uid);
    if (has_to)
        return uids_add(f, &f->orphans, pair->to_uid) < 0
                   ? -1
                   : uids_add(f, &f->orphan_sources, pair->from_uid);
    if (uids_add(f, gone, pair->from_uid) < 0)
        return -1;
    return has_from ? uids_add(f, &f->lacking, pair->from_uid) : 0;
}

/* Messages of a list that are in none of the (sorted) known UIDs. */
static int rest_of(struct folder *f, const struct look_list *list, const struct uids *known,
                   struct uids *out)
{
    for (size_t i = 0; i < list->n; i++) {
        uint32_t uid = list->messages[i].uid;

        if (!uids_have(known, uid) && !uids_have(out, uid) && uids_add(f, out, uid) < 0)
            return -1;
    }
    return 0;
}

static int add_rest(struct folder *f)
{
    struct uids from = {0}, to = {0}, again = f->lacking;
    int result = 0;

    /* `again`: what has gone from the target, ascending as the journal is. */
    f->lacking = (struct uids){0};
    for (size_t i = 0; i < f->pairs_n && result == 0; i++)
        result = uids_add(f, &from, f->pairs[i].from_uid) < 0
                     ? -1
                     : uids_add(f, &to, f->pairs[i].to_uid);
    for (size_t i = 0; i < f->orphans.n && result == 0; i++)
        result = uids_add(f, &to, f->orphans.all[i]);
    for (size_t i = 0; i < again.n && result == 0; i++)
        result = uids_add(f, &from, again.all[i]);
    uids_sort(&from);
    uids_sort(&to);
    if (result == 0)
        result = rest_of(f, &f->from, &from, &f->lacking);
    for (size_t i = 0; i < again.n && result == 0; i++)
        result = uids_add(f, &f->lacking, again.all[i]);
    uids_sort(&f->lacking);
    if (result == 0)
        result = rest_of(f, &f->to, &to, &f->strangers);
    free(from.all);
    free(to.all);
    free(again.all);
    return result;
}

/* The quick way: what was not listed as changed, and has to be carried again, is listed now. */
static int look_lacking(struct folder *f)
{
    struct link_answer answer = {.kind = RESPONSE_OK};
    struct uids unlisted = {0};
    int result = 0;

    for (size_t i = 0; i < f->lacking.n && result == 0; i++) {
        if (!look_find(&f->from, f->lacking.all[i]))
            result = uids_add(f, &unlisted, f->lacking.all[i]);
    }
    if (result == 0 && unlisted.n > 0)
        result = look_messages(f->lane->from, unlisted.all, unlisted.n, LOOK_ALL, &f->from, &answer,
                               f->err);
    free(unlisted.all);
    return result < 0 ? -1 : folder_heed(f, &answer, "the list of messages");
}

int folder_sort_out(struct folder *f)
{
    struct journal_pair *rows = NULL;
    struct uids gone = {0};
    size_t n = 0;
    int result = 0;

    f->pairs_n = f->orphans.n = f->orphan_sources.n = f->strangers.n = f->lacking.n = 0;
    if (!f->is_unwritten && journal_pairs(sync_journal(f->sync), f->row.id, &rows, &n, f->err) < 0)
        return folder_failed(f);
    for (size_t i = 0; i < n && result == 0; i++) {
        if (rows[i].to_uid > 0)
            result = heed_pair(f, &rows[i], &gone);
    }
    if (result == 0 && gone.n > 0 &&
        journal_remove(sync_journal(f->sync), f->row.id, gone.all, gone.n, f->err) < 0)
        result = folder_failed(f);
    free(rows);
    free(gone.all);
    if (result < 0 || add_rest(f) < 0)
        return -1;
    return f->is_quick ? look_lacking(f) : 0;
}

int folder_look(struct folder *f)
{
    struct view views[2] = {{.link = f->lane->from,
                             .now = &f->from_open,
                             .list = &f->from,
                             .then_modseq = f->row.from_modseq,
                             .then_uidnext = f->row.from_uidnext,
                             .then_messages = f->row.from_messages,
                             .there = &f->from_there,
                             .has_there = &f->has_from_there},
                            {.link = f->lane->to,
                             .now = &f->to_open,
                             .list = &f->to,
                             .then_modseq = f->row.to_modseq,
                             .then_uidnext = f->row.to_uidnext,
                             .then_messages = f->row.to_messages,
                             .there = &f->to_there,
                             .has_there = &f->has_to_there}};

    if ((f->is_quick ? look_quick(f, views) : look_whole(f, views, f->has_to ? 2 : 1)) < 0)
        return -1;
    return folder_sort_out(f);
}

/* --- sizes alone ------------------------------------------------------------------------------ */

static int size_of_side(struct link *l, struct slice name, struct data_status *status,
                        struct flags *flags, struct err *err)
{
    struct look_selected open;
    struct link_answer answer = {.kind = RESPONSE_OK};
    struct look_list list;
    int result;

    if (status->told & STATUS_SIZE)
        return 0;
    if (look_select(l, name, true, &open, &answer, err) < 0)
        return -1;
    look_list_init(&list, flags);
    result = answer.kind != RESPONSE_OK || open.exists == 0
                 ? 0
                 : look_range(l, 1, UINT32_MAX, LOOK_SIZE, look_extent(&open), &list, &answer, err);
    status->size = 0;
    for (size_t i = 0; i < list.n; i++)
        status->size += list.messages[i].size;
    look_list_free(&list);
    return result;
}

int folder_sizes(struct lane *lane, struct job *job, struct err *err)
{
    struct flags *flags = flags_new();
    int result = flags ? 0 : err_set(err, ENOMEM, "no memory for the folder %s", job->from);

    if (result == 0)
        result = size_of_side(lane->from, slice_str(job->from), &job->from_status, flags, err);
    if (result == 0 && job->has_to)
        result = size_of_side(lane->to, slice_str(job->to), &job->to_status, flags, err);
    flags_free(&flags);
    return result;
}
