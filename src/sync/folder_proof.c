/* Whether all is as it should be; see folder_parts.h. What a run has brought or changed is looked
 * at anew, by what the target says now; `usher verify` and --full look at everything. */
#include "sync/folder_parts.h"

#include "base/hash.h"
#include "base/room.h"
#include "sync/flags.h"
#include "sync/identity.h"
#include "sync/state.h"

#include <stdio.h>
#include <stdlib.h>

/* --- counts and pairs ------------------------------------------------------------------------- */

static int differs(struct folder *f, enum sync_reason reason, uint32_t from_uid, uint32_t to_uid,
                   const char *words)
{
    f->count.proof.differences++;
    return folder_issue(f, reason, from_uid, to_uid, slice_str(words));
}

/* Every message of the source that was to be carried is paired; those that were refused are listed
 * already. */
static int prove_there(struct folder *f)
{
    int result = 0;

    uids_sort(&f->refused);
    for (size_t i = 0; i < f->from.n && result == 0; i++) {
        const struct look_message *m = &f->from.messages[i];

        if (!folder_pair_of(f, m->uid) && folder_is_chosen(f, m) && !uids_have(&f->refused, m->uid))
            result = differs(f, REASON_MISSING, m->uid, 0, "");
    }
    f->count.proof.paired = f->pairs_n;
    return result;
}

static int by_to_uid(const void *a, const void *b)
{
    uint32_t x = ((const struct journal_pair *)a)->to_uid;
    uint32_t y = ((const struct journal_pair *)b)->to_uid;

    return x < y ? -1 : x > y;
}

/* No message of the target belongs to two of the source. The pairs are in the order of the target's
 * UIDs meanwhile. */
static int prove_one_to_one(struct folder *f)
{
    int result = 0;

    if (f->pairs_n > 1)
        qsort(f->pairs, f->pairs_n, sizeof *f->pairs, by_to_uid);
    for (size_t i = 1; i < f->pairs_n && result == 0; i++) {
        if (f->pairs[i].to_uid == f->pairs[i - 1].to_uid)
            result = differs(f, REASON_MISSING, f->pairs[i].from_uid, f->pairs[i].to_uid,
                             "two messages of the source have one at the target");
    }
    folder_sort_pairs(f);
    return result;
}

/* --- flags and dates -------------------------------------------------------------------------- */

static int prove_flags(struct folder *f, const struct look_message *from,
                       const struct look_message *to)
{
    char words[512];
    bool is_lost;
    int64_t flags;
    struct slice a, b;

    if (!from->has_flags || !to->has_flags)
        return 0;
    flags = flags_permitted(f->flags, from->flags, folder_permanent(f), &is_lost);
    if (flags < 0)
        return folder_no_memory(f);
    f->count.proof.flags++;
    if (is_lost && !uids_have(&f->way->without_keywords, from->uid) &&
        folder_issue(f, REASON_KEYWORDS, from->uid, to->uid, (struct slice){0}) < 0)
        return -1;
    if ((uint32_t)flags == to->flags)
        return 0;
    a = flags_text(f->flags, (uint32_t)flags);
    b = flags_text(f->flags, to->flags);
    snprintf(words, sizeof words, "(%.*s) at the source, (%.*s) at the target",
             SLICE_ARG(slice_sub(a, 0, 200)), SLICE_ARG(slice_sub(b, 0, 200)));
    return differs(f, REASON_FLAGS_DIFFER, from->uid, to->uid, words);
}

static int prove_date(struct folder *f, const struct look_message *from,
                      const struct look_message *to)
{
    struct imap_date a = {.time_s = from->date_s, .zone_min = from->zone_min};
    struct imap_date b = {.time_s = to->date_s, .zone_min = to->zone_min};
    char x[DATE_TEXT], y[DATE_TEXT], words[128];

    if (!from->has_date || !to->has_date)
        return 0;
    f->count.proof.dates++;
    if (from->date_s == to->date_s || uids_have(&f->way->without_date, from->uid))
        return 0;
    if (!date_write(a, x) || !date_write(b, y))
        return differs(f, REASON_DATE_DIFFERS, from->uid, to->uid, "");
    snprintf(words, sizeof words, "%s at the source, %s at the target", x, y);
    return differs(f, REASON_DATE_DIFFERS, from->uid, to->uid, words);
}

static int prove_pairs(struct folder *f)
{
    uids_sort(&f->way->without_keywords);
    uids_sort(&f->way->without_date);
    for (size_t i = 0; i < f->pairs_n; i++) {
        const struct look_message *from = look_find(&f->from, f->pairs[i].from_uid);
        const struct look_message *to = look_find(&f->to, f->pairs[i].to_uid);

        if (!from || !to)
            continue; /* the quick way: neither has changed */
        if (prove_flags(f, from, to) < 0 || prove_date(f, from, to) < 0)
            return -1;
    }
    return 0;
}

/* --- bodies ----------------------------------------------------------------------------------- */

/* A pair whose bodies are compared: by what was carried, if the journal has its digest, else both
 * are read. */
struct sample {
    uint32_t to_uid, from_uid;
    bool has_raw, has_to, has_from;
    bool is_doubt;      /* an earlier run has found its bytes to differ */
    struct hash128 raw; /* of the source: carried, or read */
    struct look_digest to, from;
};

struct samples {
    struct sample *all; /* by from_uid */
    size_t n, cap;
};

static int sample_by_from(const void *a, const void *b)
{
    uint32_t x = ((const struct sample *)a)->from_uid, y = ((const struct sample *)b)->from_uid;

    return x < y ? -1 : x > y;
}

/* What is read of one side: each UID with its sample, ascending. */
struct reading {
    struct read_one {
        uint32_t uid;
        struct sample *sample;
    } * all;
    struct uids uids;
};

static int read_by_uid(const void *a, const void *b)
{
    uint32_t x = ((const struct read_one *)a)->uid, y = ((const struct read_one *)b)->uid;

    return x < y ? -1 : x > y;
}

static struct sample *sample_of(const struct reading *r, uint32_t uid)
{
    struct read_one key = {.uid = uid};
    struct read_one *found = bsearch(&key, r->all, r->uids.n, sizeof *r->all, read_by_uid);

    return found ? found->sample : NULL;
}

static int on_target(void *arg, const struct look_digest *digest, struct err *err)
{
    struct sample *sample = sample_of(arg, digest->uid);

    (void)err;
    if (sample) {
        sample->to = *digest;
        sample->has_to = true;
    }
    return 0;
}

static int on_source(void *arg, const struct look_digest *digest, struct err *err)
{
    struct sample *sample = sample_of(arg, digest->uid);

    (void)err;
    if (sample) {
        sample->from = *digest;
        sample->has_from = true;
    }
    return 0;
}

static void reading_done(struct reading *r)
{
    free(r->all);
    free(r->uids.all);
}

static int add_reading(struct folder *f, struct reading *r, struct sample *sample, bool is_from)
{
    uint32_t uid = is_from ? sample->from_uid : sample->to_uid;

    r->all[r->uids.n] = (struct read_one){uid, sample};
    return uids_add(f, &r->uids, uid);
}

static bool is_proven(const struct sample *s)
{
    return s->has_raw && s->has_to && hash128_eq(s->raw, s->to.raw);
}

/* Whether the source's bytes are to be read: at first if what was carried is not known, later if
 * the target has others. */
static bool needs_source(const struct sample *s, bool is_first)
{
    if (is_first)
        return !s->has_raw;
    return s->has_to && !s->has_from && s->has_raw && !is_proven(s);
}

/* Bodies of both sides, side by side. */
static int read_bodies(struct folder *f, struct samples *s, bool is_first)
{
    struct reading from = {.all = calloc(s->n, sizeof *from.all)};
    struct reading to = {.all = calloc(s->n, sizeof *to.all)};
    int result = from.all && to.all ? 0 : folder_no_memory(f);

    for (size_t i = 0; i < s->n && result == 0; i++) {
        if (needs_source(&s->all[i], is_first))
            result = add_reading(f, &from, &s->all[i], true);
        if (result == 0 && is_first)
            result = add_reading(f, &to, &s->all[i], false);
    }
    if (result == 0) {
        const struct look_digesting sides[] = {
            {f->lane->from, from.uids.all, from.uids.n, true, on_source, &from},
            {f->lane->to, to.uids.all, to.uids.n, true, on_target, &to}};

        uids_sort(&to.uids);
        qsort(to.all, to.uids.n, sizeof *to.all, read_by_uid);
        result = look_digests_all(sides, 2, f->err);
    }
    reading_done(&from);
    reading_done(&to);
    return result;
}

static int is_good(struct folder *f, const struct sample *s)
{
    if (f->writes && s->is_doubt &&
        journal_no_doubt(sync_journal(f->sync), slice_str(f->job->from), s->from_uid, f->err) < 0)
        return folder_failed(f);
    return 0;
}

static int judge(struct folder *f, const struct sample *s)
{
    if (!s->has_to)
        return differs(f, REASON_UNPROVEN, s->from_uid, s->to_uid, "the target does not give it");
    f->count.proof.sampled++;
    if (is_proven(s))
        return is_good(f, s);
    if (!s->has_from)
        return differs(f, REASON_UNPROVEN, s->from_uid, s->to_uid, "the source does not give it");
    if (hash128_eq(s->from.raw, s->to.raw))
        return is_good(f, s);
    if (hash128_eq(s->from.head, s->to.head) && hash128_eq(s->from.text, s->to.text))
        return differs(f, REASON_LINES_DIFFER, s->from_uid, s->to_uid, "");
    return differs(f, REASON_BYTES_DIFFER, s->from_uid, s->to_uid, "");
}

static int add_sample(struct folder *f, struct samples *s, const struct journal_pair *pair)
{
    struct sample *all = room_for_one(s->all, s->n, &s->cap, sizeof *all);
    struct journal_message row = {0};
    bool is_there;

    if (!all)
        return folder_no_memory(f);
    s->all = all;
    if (journal_message(sync_journal(f->sync), f->row.id, pair->from_uid, &row, &is_there, f->err) <
        0)
        return folder_failed(f);
    s->all[s->n++] = (struct sample){.from_uid = pair->from_uid,
                                     .to_uid = pair->to_uid,
                                     .has_raw = is_there && row.has_digest && !f->is_unwritten,
                                     .raw = row.raw};
    return 0;
}

static void drop_doubles(struct samples *s)
{
    size_t kept = 0;

    if (s->n > 1)
        qsort(s->all, s->n, sizeof *s->all, sample_by_from);
    for (size_t i = 0; i < s->n; i++) {
        if (kept == 0 || s->all[kept - 1].from_uid != s->all[i].from_uid)
            s->all[kept++] = s->all[i];
        else
            s->all[kept - 1].is_doubt |= s->all[i].is_doubt;
    }
    s->n = kept;
}

/* Which pairs are read again: of those that may be asked for, as many as --sample says, spread
 * evenly. */
static int choose_samples(struct folder *f, const struct uids *from, struct samples *out)
{
    uint64_t n = ((uint64_t)from->n * f->params->sample + 99) / 100;

    if (n < SYNC_SAMPLE_LEAST)
        n = SYNC_SAMPLE_LEAST;
    if (n > from->n || f->params->is_full)
        n = from->n;
    for (uint64_t i = 0; i < n; i++) {
        const struct journal_pair *pair = folder_pair_of(f, from->all[i * from->n / n]);

        if (pair && add_sample(f, out, pair) < 0)
            return -1;
    }
    return 0;
}

/* Those that an earlier run has found to have other bytes. */
static int add_doubts(struct folder *f, struct samples *s)
{
    struct journal *j = sync_journal(f->sync);
    struct slice name = slice_str(f->job->from);
    struct journal_pair *doubts = NULL;
    size_t n = 0;
    int result = 0;

    if (journal_doubts(j, name, &doubts, &n, f->err) < 0)
        return folder_failed(f);
    for (size_t i = 0; i < n && result == 0; i++) {
        const struct journal_pair *pair = folder_pair_of(f, doubts[i].from_uid);

        if (!pair) {
            if (f->writes && journal_no_doubt(j, name, doubts[i].from_uid, f->err) < 0)
                result = folder_failed(f);
            continue;
        }
        result = add_sample(f, s, pair);
        if (result == 0)
            s->all[s->n - 1].is_doubt = true;
    }
    free(doubts);
    return result;
}

static int prove_bodies(struct folder *f)
{
    bool is_all = f->params->is_full || f->params->what == SYNC_VERIFY;
    struct samples s = {0};
    struct uids all = {0};
    int result = 0;

    for (size_t i = 0; is_all && i < f->pairs_n && result == 0; i++)
        result = uids_add(f, &all, f->pairs[i].from_uid);
    if (result == 0)
        result = choose_samples(f, is_all ? &all : &f->carried, &s);
    if (result == 0)
        result = add_doubts(f, &s);
    drop_doubles(&s);
    if (result == 0 && s.n > 0)
        result = read_bodies(f, &s, true);
    if (result == 0 && s.n > 0)
        result = read_bodies(f, &s, false);
    for (size_t i = 0; i < s.n && result == 0; i++)
        result = judge(f, &s.all[i]);
    free(s.all);
    free(all.all);
    return result;
}

/* --- all -------------------------------------------------------------------------------------- */

static int prove_extra(struct folder *f)
{
    int result = 0;

    f->count.extra = f->is_quick && f->row.to_messages > f->pairs_n
                         ? f->row.to_messages - f->pairs_n
                         : f->strangers.n + f->orphans.n;
    if (f->params->what != SYNC_VERIFY)
        return 0;
    for (size_t i = 0; i < f->strangers.n && result == 0; i++)
        result = folder_issue(f, REASON_EXTRA, 0, f->strangers.all[i], (struct slice){0});
    for (size_t i = 0; i < f->orphans.n && result == 0; i++)
        result = folder_issue(f, REASON_EXTRA, 0, f->orphans.all[i],
                              SLICE("it was at the source when it was carried"));
    return result;
}

int folder_proof(struct folder *f)
{
    if (!f->has_to) {
        f->count.proof.differences += f->from.n;
        return folder_issue(f, REASON_FOLDER_MISSING, 0, 0, (struct slice){0});
    }
    uids_sort(&f->carried);
    if (prove_there(f) < 0 || prove_one_to_one(f) < 0 || prove_pairs(f) < 0 ||
        prove_bodies(f) < 0 || prove_extra(f) < 0)
        return -1;
    if (journal_digests(sync_journal(f->sync), f->row.id, &f->count.proof.digests, f->err) < 0)
        return folder_failed(f);
    return 0;
}
