/* What belongs together by its looks; see folder_parts.h. One way for all who do not know: a first
 * run over what somebody else has carried, a run that died, a target that does not tell UIDs. */
#include "sync/folder_parts.h"

#include "sync/identity.h"
#include "sync/state.h"

#include <stdlib.h>

struct matching {
    struct folder *f;
    struct journal_message *flying; /* rows without a UID of the target, ascending */
    size_t flying_n;
    struct identity_item *from, *to;
    bool *has_from, *has_to; /* the digest of the item came */
    size_t from_n, to_n;
};

static int by_from_uid(const void *a, const void *b)
{
    uint32_t x = ((const struct journal_message *)a)->from_uid;
    uint32_t y = ((const struct journal_message *)b)->from_uid;

    return x < y ? -1 : x > y;
}

static const struct journal_message *flying_of(const struct matching *m, uint32_t from_uid)
{
    struct journal_message key = {.from_uid = from_uid};

    return m->flying_n > 0 ? bsearch(&key, m->flying, m->flying_n, sizeof *m->flying, by_from_uid)
                           : NULL;
}

/* --- digests ---------------------------------------------------------------------------------- */

/* One side, while its digests come. */
struct side {
    struct identity_item *items;
    bool *has;
    size_t n;
};

static int by_uid(const void *a, const void *b)
{
    uint32_t x = ((const struct identity_item *)a)->uid;
    uint32_t y = ((const struct identity_item *)b)->uid;

    return x < y ? -1 : x > y;
}

static struct identity_item *item_of(const struct side *s, uint32_t uid)
{
    struct identity_item key = {.uid = uid};

    return bsearch(&key, s->items, s->n, sizeof *s->items, by_uid);
}

static int on_head(void *arg, const struct look_digest *digest, struct err *err)
{
    const struct side *s = arg;
    struct identity_item *item = item_of(s, digest->uid);

    (void)err;
    if (!item)
        return 0;
    item->head = digest->head;
    item->is_weak = digest->is_weak;
    s->has[item - s->items] = true;
    return 0;
}

static int on_text(void *arg, const struct look_digest *digest, struct err *err)
{
    const struct side *s = arg;
    struct identity_item *item = item_of(s, digest->uid);

    (void)err;
    if (!item)
        return 0;
    item->text = digest->text;
    item->has_text = true;
    return 0;
}

/* The headers of those whose digest is not known yet. */
static int look_heads(struct matching *m, struct link *l, struct side s)
{
    struct uids uids = {0};
    int result = 0;

    for (size_t i = 0; i < s.n && result == 0; i++) {
        if (!s.has[i])
            result = uids_add(m->f, &uids, s.items[i].uid);
    }
    if (result == 0 && uids.n > 0)
        result = look_digests(l, uids.all, uids.n, false, on_head, &s, m->f->err);
    free(uids.all);
    return result;
}

static int look_texts(struct matching *m, struct link *l, struct side s)
{
    struct uids uids = {0};
    int result = 0;

    for (size_t i = 0; i < s.n && result == 0; i++) {
        if (s.items[i].wants_text)
            result = uids_add(m->f, &uids, s.items[i].uid);
    }
    if (result == 0 && uids.n > 0)
        result = look_digests(l, uids.all, uids.n, true, on_text, &s, m->f->err);
    for (size_t i = 0; i < s.n; i++)
        s.items[i].is_lost = s.items[i].wants_text && !s.items[i].has_text;
    free(uids.all);
    return result;
}

/* Without those that have gone meanwhile. */
static size_t drop_unknown(struct side s)
{
    size_t kept = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.has[i])
            s.items[kept++] = s.items[i];
    }
    return kept;
}

/* --- items ------------------------------------------------------------------------------------ */

static struct identity_item item_for(const struct look_list *list, uint32_t uid)
{
    const struct look_message *m = look_find(list, uid);
    struct identity_item item = {.uid = uid};

    if (m) {
        /* The numbers of flags are the same for both sides. */
        item.size = m->size;
        item.looks[0] = m->has_date ? (uint64_t)m->date_s : 0;
        item.is_dated = m->has_date;
        item.looks[1] = m->flags;
    }
    return item;
}

static int make_items(struct matching *m, const struct uids *candidates)
{
    struct folder *f = m->f;

    m->from_n = f->lacking.n;
    m->to_n = candidates->n;
    m->from = calloc(m->from_n, sizeof *m->from);
    m->to = calloc(m->to_n, sizeof *m->to);
    m->has_from = calloc(m->from_n, sizeof *m->has_from);
    m->has_to = calloc(m->to_n, sizeof *m->has_to);
    if (!m->from || !m->to || !m->has_from || !m->has_to)
        return folder_no_memory(f);
    for (size_t i = 0; i < m->from_n; i++) {
        uint32_t uid = f->lacking.all[i];
        const struct journal_message *row = flying_of(m, uid);

        m->from[i] = item_for(&f->from, uid);
        /* A target that loses dates is not to have all read again that was sent just now. */
        m->from[i].is_dated = m->from[i].is_dated && !row;
        if (row && row->has_digest) {
            m->from[i].head = row->head;
            m->from[i].size = row->size;
            m->has_from[i] = true;
        }
    }
    for (size_t i = 0; i < m->to_n; i++)
        m->to[i] = item_for(&f->to, candidates->all[i]);
    return 0;
}

/* Something could not be read by which messages are told apart. A server that is busy may give it
 * when it is asked again; what then cannot be read is taken to be no one's copy. */
static int heed_unread(struct folder *f)
{
    if (f->way->knows_unread)
        return 0;
    f->way->knows_unread = true;
    (void)err_set(f->err, 0, "not all messages that are to be compared could be read");
    f->wants_again = true;
    return -1;
}

static bool has_lost(const struct identity_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (items[i].is_lost)
            return true;
    }
    return false;
}

static int pair_items(struct matching *m)
{
    struct folder *f = m->f;
    struct link *from = f->lane->from, *to = f->lane->to;
    size_t from_n, to_n;
    int result;

    if (look_heads(m, from, (struct side){m->from, m->has_from, m->from_n}) < 0 ||
        look_heads(m, to, (struct side){m->to, m->has_to, m->to_n}) < 0)
        return -1;
    from_n = m->from_n;
    to_n = m->to_n;
    m->from_n = drop_unknown((struct side){m->from, m->has_from, m->from_n});
    m->to_n = drop_unknown((struct side){m->to, m->has_to, m->to_n});
    f->is_unsure = f->is_unsure || m->from_n < from_n;
    if ((m->from_n < from_n || m->to_n < to_n) && heed_unread(f) < 0)
        return -1;
    while ((result = identity_pair(m->from, m->from_n, m->to, m->to_n, f->params->is_full,
                                   f->err)) == 1) {
        if (look_texts(m, from, (struct side){m->from, m->has_from, m->from_n}) < 0 ||
            look_texts(m, to, (struct side){m->to, m->has_to, m->to_n}) < 0)
            return -1;
    }
    if (result == 0 && (has_lost(m->from, m->from_n) || has_lost(m->to, m->to_n)))
        return heed_unread(f);
    return result < 0 ? folder_failed(f) : 0;
}

/* --- what came of it -------------------------------------------------------------------------- */

/* Takes from an ascending list what is in another. */
static void take_out(struct uids *list, const struct uids *what)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->n; i++) {
        if (!uids_have(what, list->all[i]))
            list->all[kept++] = list->all[i];
    }
    list->n = kept;
}

/* Whose text could not be read is nobody's for all we know. */
static int keep_doubtful(struct matching *m)
{
    int result = 0;

    for (size_t i = 0; i < m->to_n && result == 0; i++) {
        if (m->to[i].match == 0 && m->to[i].is_lost)
            result = uids_add(m->f, &m->f->doubtful, m->to[i].uid);
    }
    return result;
}

static int keep_pairs(struct matching *m)
{
    struct folder *f = m->f;
    struct journal_message *rows = calloc(m->from_n + 1, sizeof *rows);
    struct uids from = {0}, to = {0};
    size_t n = 0;
    int result = rows ? 0 : folder_no_memory(f);

    for (size_t i = 0; i < m->from_n && result == 0; i++) {
        const struct identity_item *item = &m->from[i];
        const struct journal_message *row;

        f->is_unsure = f->is_unsure || (item->match == 0 && item->is_lost);
        if (item->match == 0)
            continue;
        row = flying_of(m, item->uid);
        rows[n] = row ? *row : (struct journal_message){.from_uid = item->uid};
        rows[n].is_sent = true;
        rows[n++].to_uid = item->match;
        if (uids_add(f, &from, item->uid) < 0 || uids_add(f, &to, item->match) < 0 ||
            folder_add_pair(f, item->uid, item->match) < 0)
            result = -1;
    }
    if (result == 0)
        result = keep_doubtful(m);
    if (result == 0 && n > 0 && journal_set(sync_journal(f->sync), f->row.id, rows, n, f->err) < 0)
        result = folder_failed(f);
    uids_sort(&to);
    take_out(&f->lacking, &from);
    take_out(&f->strangers, &to);
    folder_sort_pairs(f);
    free(rows);
    free(from.all);
    free(to.all);
    return result;
}

static int match(struct matching *m, const struct uids *candidates)
{
    int result = make_items(m, candidates);

    if (result == 0)
        result = pair_items(m);
    if (result == 0)
        result = keep_pairs(m);
    free(m->from);
    free(m->to);
    free(m->has_from);
    free(m->has_to);
    return result;
}

/* What was in flight and was not found is at the target under none of its UIDs: it never came. */
static int settle(struct matching *m)
{
    struct folder *f = m->f;
    struct journal *j = sync_journal(f->sync);
    struct uids gone = {0};
    int result = 0;

    for (size_t i = 0; i < m->flying_n && result == 0; i++) {
        if (!folder_pair_of(f, m->flying[i].from_uid))
            result = uids_add(f, &gone, m->flying[i].from_uid);
    }
    if (result == 0 && gone.n > 0 && journal_remove(j, f->row.id, gone.all, gone.n, f->err) < 0)
        result = folder_failed(f);
    if (result == 0 && journal_settled(j, f->row.id, f->err) < 0)
        result = folder_failed(f);
    f->row.to_fence = 0;
    free(gone.all);
    return result;
}

/* Strangers that may be ours: those that came after the last run had looked at all of them. */
static int choose_candidates(struct folder *f, bool is_wide, struct uids *out)
{
    uint32_t since = is_wide ? 0 : f->row.to_uidnext;

    if (f->row.to_fence > 0 && f->row.to_fence < since)
        since = f->row.to_fence;
    for (size_t i = 0; i < f->strangers.n; i++) {
        if (f->strangers.all[i] >= since && uids_add(f, out, f->strangers.all[i]) < 0)
            return -1;
    }
    return 0;
}

int folder_match(struct folder *f, bool is_wide)
{
    struct matching m = {.f = f};
    struct uids candidates = {0};
    int result;

    if (!f->is_unwritten &&
        journal_in_flight(sync_journal(f->sync), f->row.id, &m.flying, &m.flying_n, f->err) < 0)
        return folder_failed(f);
    result = choose_candidates(f, is_wide, &candidates);
    if (result == 0 && f->lacking.n > 0 && candidates.n > 0)
        result = match(&m, &candidates);
    if (result == 0 && (m.flying_n > 0 || f->row.to_fence > 0))
        result = settle(&m);
    free(candidates.all);
    free(m.flying);
    return result;
}

int folder_resolve(struct folder *f)
{
    struct matching m = {.f = f};
    struct uids candidates = {0};
    size_t kept = 0;
    int result;

    if (folder_sort_out(f) < 0)
        return -1;
    if (journal_in_flight(sync_journal(f->sync), f->row.id, &m.flying, &m.flying_n, f->err) < 0)
        return folder_failed(f);
    for (size_t i = 0; i < f->lacking.n; i++) {
        uint32_t uid = f->lacking.all[i];

        /* Also what was carried and is not where the target has told that it is. */
        if (flying_of(&m, uid) || uids_have(&f->carried, uid))
            f->lacking.all[kept++] = uid;
    }
    f->lacking.n = kept;
    f->row.to_fence = f->to_open.uidnext > 0 ? f->to_open.uidnext : 1;
    f->row.to_uidnext = f->row.to_fence;
    result = choose_candidates(f, false, &candidates);
    if (result == 0 && f->lacking.n > 0 && candidates.n > 0)
        result = match(&m, &candidates);
    if (result == 0)
        result = settle(&m);
    free(candidates.all);
    free(m.flying);
    return result;
}
