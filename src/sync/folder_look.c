/* What both sides have, and what of it belongs together by the journal; see folder_parts.h. */
#include "sync/folder_parts.h"

#include "sync/flags.h"
#include "sync/state.h"

#include <errno.h>
#include <stdlib.h>

int folder_heed(struct folder *f, const struct link_answer *answer, const char *what)
{
    if (answer->kind == RESPONSE_OK)
        return 0;
    (void)err_set(f->err, 0, "%s was refused: %.*s", what, SLICE_ARG(answer->text));
    f->wants_again = true;
    return -1;
}

/* --- lists ------------------------------------------------------------------------------------ */

static int look_whole(struct folder *f, struct link *l, uint32_t exists, struct look_list *list)
{
    struct link_answer answer = {.kind = RESPONSE_OK};

    if (exists == 0)
        return 0;
    if (look_range(l, 1, UINT32_MAX, LOOK_ALL, 0, exists, list, &answer, f->err) < 0)
        return -1;
    return folder_heed(f, &answer, "the list of messages");
}

/* One side as it was at the end of the last run. */
struct then {
    uint64_t modseq;
    uint32_t uidnext, messages;
};

/* What has changed since; and which UIDs there are, if the count says that some have gone. */
static int look_changed(struct folder *f, struct link *l, const struct look_selected *now,
                        struct then then, struct look_list *list, struct uids *there,
                        bool *out_has_there)
{
    struct link_answer answer = {.kind = RESPONSE_OK};
    uint64_t expected = then.messages;

    *out_has_there = false;
    if (now->modseq != then.modseq || now->uidnext != then.uidnext) {
        if (look_range(l, 1, UINT32_MAX, LOOK_ALL, then.modseq, now->exists, list, &answer,
                       f->err) < 0)
            return -1;
        if (folder_heed(f, &answer, "the list of what has changed") < 0)
            return -1;
    }
    for (size_t i = list->n; i > 0 && list->messages[i - 1].uid >= then.uidnext; i--)
        expected++;
    if (expected == now->exists)
        return 0;
    if (look_search(l, "ALL", now->exists, &there->all, &there->n, &answer, f->err) < 0)
        return -1;
    there->cap = there->n;
    *out_has_there = true;
    return folder_heed(f, &answer, "the list of UIDs");
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
    struct link *from = f->lane->from, *to = f->lane->to;

    if (f->is_quick) {
        struct then from_then = {f->row.from_modseq, f->row.from_uidnext, f->row.from_messages};
        struct then to_then = {f->row.to_modseq, f->row.to_uidnext, f->row.to_messages};

        if (look_changed(f, from, &f->from_open, from_then, &f->from, &f->from_there,
                         &f->has_from_there) < 0 ||
            look_changed(f, to, &f->to_open, to_then, &f->to, &f->to_there, &f->has_to_there) < 0)
            return -1;
    } else if (look_whole(f, from, f->from_open.exists, &f->from) < 0 ||
               (f->has_to && look_whole(f, to, f->to_open.exists, &f->to) < 0)) {
        return -1;
    }
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
                 : look_range(l, 1, UINT32_MAX, LOOK_SIZE, 0, open.exists, &list, &answer, err);
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
