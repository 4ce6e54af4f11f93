/* Flags and deletions at the target; see folder_parts.h. */
#include "sync/folder_parts.h"

#include "base/room.h"
#include "imap/set.h"
#include "sync/flags.h"
#include "sync/state.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    COMMAND = 8000, /* bytes; Dovecot and Cyrus take some more */
    FEW = 5         /* so few may always be deleted, as long as the source has something left */
};

/* --- sets of UIDs in commands ----------------------------------------------------------------- */

/* "BEGIN 1:3,7 END" for as many UIDs as fit; *at moves behind them. */
static int put_command(struct folder *f, struct buf *out, const char *begin, const char *end,
                       const uint32_t *uids, size_t n, size_t *at)
{
    struct set_writer set = set_writer(out);
    size_t room = COMMAND - strlen(begin) - strlen(end) - 24;

    buf_take(out, buf_len(out));
    if (buf_printf(out, "%s ", begin) < 0)
        return folder_no_memory(f);
    while (*at < n && set_length(&set) < room) {
        if (set_put(&set, uids[(*at)++]) < 0)
            return folder_no_memory(f);
    }
    if (set_end(&set) < 0 || buf_printf(out, "%s%s", end[0] ? " " : "", end) < 0)
        return folder_no_memory(f);
    return 0;
}

/* Sends a command for all of the UIDs, in as many pieces as need be. *out_refused is what a NO was
 * about: UIDs [first, last) of the last piece that was refused, or none. */
struct refusal {
    size_t first, last;
    char words[200];
};

static int for_uids(struct folder *f, const char *begin, const char *end, const uint32_t *uids,
                    size_t n, struct refusal *out_refused)
{
    struct buf command;
    size_t at = 0;
    int result = 0;

    *out_refused = (struct refusal){0};
    buf_init(&command, COMMAND + 1024 + strlen(begin) + strlen(end), false);
    while (at < n && result == 0) {
        struct link_answer answer;
        size_t first = at;

        result = put_command(f, &command, begin, end, uids, n, &at);
        if (result == 0)
            result = link_call(f->lane->to, buf_slice(&command), NULL, NULL, &answer, f->err);
        if (result == 0 && answer.kind != RESPONSE_OK) {
            if (out_refused->last == 0)
                out_refused->first = first;
            out_refused->last = at;
            snprintf(out_refused->words, sizeof out_refused->words, "%.*s",
                     SLICE_ARG(slice_sub(answer.text, 0, sizeof out_refused->words - 1)));
        }
    }
    buf_release(&command);
    return result;
}

/* --- flags ------------------------------------------------------------------------------------ */

/* A message of the target whose flags are to become those of `flags`. */
struct change {
    uint32_t flags, to_uid, from_uid;
};

struct changes {
    struct change *all;
    size_t n, cap;
};

static int by_flags(const void *a, const void *b)
{
    const struct change *x = a, *y = b;

    if (x->flags != y->flags)
        return x->flags < y->flags ? -1 : 1;
    return x->to_uid < y->to_uid ? -1 : x->to_uid > y->to_uid;
}

static int add_change(struct folder *f, struct changes *c, struct change change)
{
    struct change *all = room_for_one(c->all, c->n, &c->cap, sizeof *all);

    if (!all)
        return folder_no_memory(f);
    c->all = all;
    c->all[c->n++] = change;
    return 0;
}

/* The quick way: of each pair of which one side has changed, the flags of the other are asked for.
 */
static int look_others(struct folder *f)
{
    struct uids from = {0}, to = {0};
    struct link_answer answer = {.kind = RESPONSE_OK};
    int result = 0;

    for (size_t i = 0; i < f->pairs_n && result == 0; i++) {
        bool has_from = look_find(&f->from, f->pairs[i].from_uid) != NULL;
        bool has_to = look_find(&f->to, f->pairs[i].to_uid) != NULL;

        if (has_from && !has_to)
            result = uids_add(f, &to, f->pairs[i].to_uid);
        else if (has_to && !has_from)
            result = uids_add(f, &from, f->pairs[i].from_uid);
    }
    uids_sort(&to);
    if (result == 0 && from.n > 0)
        result =
            look_messages(f->lane->from, from.all, from.n, LOOK_ALL, &f->from, &answer, f->err);
    if (result == 0)
        result = folder_heed(f, &answer, "the list of flags");
    if (result == 0 && to.n > 0)
        result = look_messages(f->lane->to, to.all, to.n, LOOK_ALL, &f->to, &answer, f->err);
    if (result == 0)
        result = folder_heed(f, &answer, "the list of flags");
    free(from.all);
    free(to.all);
    return result;
}

/* The flags that a message of the source should have at the target. -1: memory. */
static int64_t wanted(struct folder *f, const struct look_message *m)
{
    bool is_lost;

    return flags_permitted(f->flags, m->flags, folder_permanent(f), &is_lost);
}

static int find_changes(struct folder *f, struct changes *c)
{
    for (size_t i = 0; i < f->pairs_n; i++) {
        const struct look_message *from = look_find(&f->from, f->pairs[i].from_uid);
        const struct look_message *to = look_find(&f->to, f->pairs[i].to_uid);
        int64_t flags;

        if (!from || !to || !from->has_flags || !to->has_flags)
            continue;
        flags = wanted(f, from);
        if (flags < 0)
            return folder_no_memory(f);
        if ((uint32_t)flags != to->flags &&
            add_change(f, c,
                       (struct change){.flags = (uint32_t)flags,
                                       .to_uid = f->pairs[i].to_uid,
                                       .from_uid = f->pairs[i].from_uid}) < 0)
            return -1;
    }
    if (c->n > 1)
        qsort(c->all, c->n, sizeof *c->all, by_flags);
    return 0;
}

static int refuse_changes(struct folder *f, const struct changes *c, size_t first, size_t last,
                          struct slice words)
{
    for (size_t i = first; i < last; i++) {
        if (folder_issue(f, REASON_FLAGS_REFUSED, c->all[i].from_uid, c->all[i].to_uid, words) < 0)
            return -1;
    }
    return 0;
}

/* All changes [first, last) are to the same flags. */
static int store(struct folder *f, const struct changes *c, size_t first, size_t last)
{
    char end[4096];
    struct uids uids = {0};
    struct refusal refused = {0};
    struct slice flags = flags_text(f->flags, c->all[first].flags);
    int result = 0;

    snprintf(end, sizeof end, "FLAGS.SILENT (%.*s)", SLICE_ARG(flags));
    if (flags.n + 32 > sizeof end)
        return refuse_changes(f, c, first, last, SLICE("too many flags for a command"));
    for (size_t i = first; i < last && result == 0; i++)
        result = uids_add(f, &uids, c->all[i].to_uid);
    if (result == 0)
        result = for_uids(f, "UID STORE", end, uids.all, uids.n, &refused);
    if (result == 0)
        result = refuse_changes(f, c, first + refused.first, first + refused.last,
                                slice_str(refused.words));
    f->count.flags_set += uids.n - (refused.last - refused.first);
    free(uids.all);
    return result;
}

/* What the server makes of it, for the proof. */
static int look_at_changed(struct folder *f, const struct changes *c)
{
    struct uids uids = {0};
    struct link_answer answer = {.kind = RESPONSE_OK};
    int result = 0;

    for (size_t i = 0; i < c->n && result == 0; i++)
        result = uids_add(f, &uids, c->all[i].to_uid);
    uids_sort(&uids);
    if (result == 0)
        result = look_messages(f->lane->to, uids.all, uids.n, LOOK_FLAGS, &f->to, &answer, f->err);
    free(uids.all);
    return result < 0 ? -1 : folder_heed(f, &answer, "the list of flags");
}

int folder_flags(struct folder *f)
{
    struct changes c = {0};
    int result;

    if (f->is_quick && look_others(f) < 0)
        return -1;
    result = find_changes(f, &c);
    for (size_t first = 0; first < c.n && result == 0;) {
        size_t last = first + 1;

        while (last < c.n && c.all[last].flags == c.all[first].flags)
            last++;
        result = store(f, &c, first, last);
        first = last;
    }
    if (result == 0 && c.n > 0)
        result = look_at_changed(f, &c);
    free(c.all);
    return result;
}

/* --- deletions -------------------------------------------------------------------------------- */

/* Strangers of which it is known who they are. */
struct known {
    struct folder *f;
    struct uids uids;
};

static int on_stranger(void *arg, const struct look_digest *digest, struct err *err)
{
    struct known *known = arg;

    (void)err;
    return digest->is_weak ? 0 : uids_add(known->f, &known->uids, digest->uid);
}

/* Strangers that might be messages of the source after all: too weak, not to be read, or beside
 * something of the source that could not be read. */
static int find_doubtful(struct folder *f)
{
    struct known known = {.f = f};
    struct uids doubtful = {0};
    int result = 0;

    if (f->strangers.n > 0 && !f->is_unsure)
        result = look_digests(f->lane->to, f->strangers.all, f->strangers.n, false, on_stranger,
                              &known, f->err);
    uids_sort(&known.uids);
    uids_sort(&f->doubtful);
    for (size_t i = 0; i < f->strangers.n && result == 0; i++) {
        uint32_t uid = f->strangers.all[i];

        if (!uids_have(&known.uids, uid) || uids_have(&f->doubtful, uid))
            result = uids_add(f, &doubtful, uid);
    }
    free(known.uids.all);
    free(f->doubtful.all);
    f->doubtful = doubtful;
    return result;
}

/* What is at the target alone, without what might be a message of the source after all. */
static int find_doomed(struct folder *f, struct uids *out)
{
    int result = find_doubtful(f);

    for (size_t i = 0; i < f->orphans.n && result == 0; i++)
        result = uids_add(f, out, f->orphans.all[i]);
    for (size_t i = 0; i < f->strangers.n && result == 0; i++) {
        uint32_t uid = f->strangers.all[i];

        result = uids_have(&f->doubtful, uid)
                     ? folder_issue(f, REASON_AMBIGUOUS, 0, uid, (struct slice){0})
                     : uids_add(f, out, uid);
    }
    uids_sort(out);
    return result;
}

/* Others that an EXPUNGE would take with it. */
static int has_others(struct folder *f, const struct uids *doomed, bool *out_has)
{
    struct link_answer answer;
    struct uids deleted = {0};

    *out_has = false;
    if (look_search(f->lane->to, "DELETED", look_extent(&f->to_open), &deleted.all, &deleted.n,
                    &answer, f->err) < 0)
        return -1;
    for (size_t i = 0; i < deleted.n; i++)
        *out_has = *out_has || !uids_have(doomed, deleted.all[i]);
    free(deleted.all);
    return folder_heed(f, &answer, "the search for deleted messages");
}

static int expunge(struct folder *f, const struct uids *doomed)
{
    struct refusal refused = {0};
    struct link_answer answer;
    bool has_uidplus = link_offers(f->lane->to, "UIDPLUS") || link_offers(f->lane->to, "IMAP4rev2");
    bool has_other = false;

    if (!has_uidplus && has_others(f, doomed, &has_other) < 0)
        return -1;
    if (has_other)
        return folder_issue(f, REASON_DELETE_UNSAFE, 0, 0, (struct slice){0});
    if (for_uids(f, "UID STORE", "+FLAGS.SILENT (\\Deleted)", doomed->all, doomed->n, &refused) < 0)
        return -1;
    if (refused.last == 0 && has_uidplus) {
        if (for_uids(f, "UID EXPUNGE", "", doomed->all, doomed->n, &refused) < 0)
            return -1;
    } else if (refused.last == 0) {
        if (link_call(f->lane->to, SLICE("EXPUNGE"), NULL, NULL, &answer, f->err) < 0)
            return -1;
        if (answer.kind != RESPONSE_OK)
            return folder_issue(f, REASON_DELETE_REFUSED, 0, 0, answer.text);
    }
    if (refused.last > 0)
        return folder_issue(f, REASON_DELETE_REFUSED, 0, 0, slice_str(refused.words));
    f->count.deleted += doomed->n;
    return 0;
}

/* What was deleted is no stranger any more. */
static int forget(struct folder *f)
{
    if (f->orphan_sources.n > 0 &&
        journal_remove(sync_journal(f->sync), f->row.id, f->orphan_sources.all, f->orphan_sources.n,
                       f->err) < 0)
        return folder_failed(f);
    f->orphans.n = f->orphan_sources.n = 0;
    f->strangers.n = 0;
    for (size_t i = 0; i < f->doubtful.n; i++) {
        if (uids_add(f, &f->strangers, f->doubtful.all[i]) < 0)
            return -1;
    }
    return 0;
}

int folder_delete(struct folder *f)
{
    uint64_t all = (uint64_t)f->to_open.exists + f->carried.n, n;
    struct uids doomed = {0};
    int result = find_doomed(f, &doomed);

    n = doomed.n;
    if (result == 0 && n * 100 > f->params->delete_share * all &&
        !(n <= FEW && f->from_open.exists > 0)) {
        char words[128];

        snprintf(words, sizeof words, "%llu of %llu messages would be deleted, and %u %% may",
                 (unsigned long long)n, (unsigned long long)all, f->params->delete_share);
        result = folder_issue(f, REASON_DELETE_SHARE, 0, 0, slice_str(words));
    } else if (result == 0 && n > 0) {
        uint64_t before = f->count.deleted;

        result = expunge(f, &doomed);
        if (result == 0 && f->count.deleted > before)
            result = forget(f);
    }
    free(doomed.all);
    return result;
}
