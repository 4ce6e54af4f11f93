/* What the target is given, and what it says to it; see carry_parts.h. */
#include "sync/carry_parts.h"

#include "base/room.h"
#include "imap/data.h"
#include "imap/set.h"
#include "sync/flags.h"
#include "sync/state.h"

#include <errno.h>
#include <stdlib.h>

/* Messages that a full target has refused in a row, until the rest of the folder is not tried. */
enum { QUOTA_REFUSALS = 3 };

static struct pipeline *target(const struct carry *c)
{
    return link_pipeline(c->p->to);
}

static bool no_memory(struct carry *c)
{
    struct err err;

    (void)err_set(&err, ENOMEM, "no memory for a command to the target");
    return carry_failed(c, &err);
}

/* --- results ---------------------------------------------------------------------------------- */

bool carry_results(struct carry *c)
{
    struct err err;

    if (c->results_n > 0 &&
        journal_set(sync_journal(c->p->sync), c->p->folder, c->results, c->results_n, &err) < 0)
        return carry_failed(c, &err);
    for (size_t i = 0; i < c->results_n; i++)
        carry_done(c, c->results[i].from_uid, c->results[i].size, true);
    c->results_n = 0;
    return true;
}

static bool add_result(struct carry *c, const struct sent *s, uint32_t to_uid)
{
    if (c->results_n == c->results_cap) {
        size_t cap = c->results_cap > 0 ? 2 * c->results_cap : RESULTS;
        struct journal_message *more = reallocarray(c->results, cap, sizeof *more);

        if (!more)
            return no_memory(c);
        c->results = more;
        c->results_cap = cap;
    }
    if (c->results_n == 0)
        c->results_ms = c->now_ms;
    c->results[c->results_n++] = (struct journal_message){.from_uid = s->item.uid,
                                                          .to_uid = to_uid,
                                                          .is_sent = true,
                                                          .has_digest = true,
                                                          .size = s->digest.size,
                                                          .head = s->digest.head,
                                                          .raw = s->digest.raw};
    return true;
}

/* --- batches ---------------------------------------------------------------------------------- */

static void batch_free(struct carry *c, struct batch *b)
{
    if (!b->is_open) {
        c->batches_n--;
        c->batches_bytes -= b->bytes;
    }
    list_remove(&b->node);
    free(b->sent);
    free(b);
}

void carry_batches_free(struct carry *c)
{
    if (c->batch)
        batch_free(c, c->batch);
    c->batch = NULL;
    list_for_each_safe (it, &c->batches)
        batch_free(c, CONTAINER(it, struct batch, node));
}

static bool batch_add(struct carry *c, struct batch *b, struct item item)
{
    struct sent *sent = room_for_one(b->sent, b->n, &b->cap, sizeof *sent);

    if (!sent)
        return no_memory(c);
    b->sent = sent;
    b->sent[b->n++] = (struct sent){.item = item};
    return true;
}

static bool batch_open(struct carry *c)
{
    struct batch *b = calloc(1, sizeof *b);

    if (!b)
        return no_memory(c);
    list_init(&b->node);
    b->is_open = true;
    b->opened_ms = c->now_ms;
    c->batch = b;
    buf_take(&c->text, buf_len(&c->text));
    if (buf_puts(&c->text, "APPEND ") < 0 || link_put_name(c->p->to, c->p->to_name, &c->text) < 0 ||
        pipeline_open(target(c), buf_slice(&c->text), &b->id) < 0)
        return no_memory(c);
    return true;
}

/* The open one is not open any more: its answer is waited for, or has come. */
static void batch_out(struct carry *c, struct batch *b)
{
    c->batch = NULL;
    b->is_open = false;
    list_append(&c->batches, &b->node);
    c->batches_n++;
    c->batches_bytes += b->bytes;
}

/* The refusal is kept, to be dealt with later. */
static void keep_refusal(struct batch *b, const struct response *r)
{
    b->is_refused = true;
    b->is_bad = r->kind == RESPONSE_BAD;
    snprintf(b->words, sizeof b->words, "%.*s", SLICE_ARG(slice_sub(r->text, 0, sizeof b->words)));
}

static struct response kept_refusal(const struct batch *b)
{
    return (struct response){.kind = b->is_bad ? RESPONSE_BAD : RESPONSE_NO,
                             .text = slice_str(b->words)};
}

static bool answered(struct carry *c, struct batch *b, const struct response *r);

bool append_may_close(const struct carry *c)
{
    return c->batch_limit == 1 || c->batches_n == 0 || c->batch->is_cancelled;
}

bool append_close(struct carry *c)
{
    struct batch *b = c->batch;

    if ((b->is_cancelled && !b->is_refused &&
         pipeline_put_raw(target(c), SLICE(" {0+}\r\n")) < 0) ||
        pipeline_close(target(c)) < 0)
        return no_memory(c);
    batch_out(c, b);
    if (b->is_refused) {
        struct response r = kept_refusal(b);

        return answered(c, b, &r);
    }
    return true;
}

/* --- a message -------------------------------------------------------------------------------- */

/* " (\Seen) "date" {n+}", as the message is to be tried. */
static bool put_header(struct carry *c, const struct item *item, uint64_t n, bool is_sync)
{
    static const struct slice system = SLICE("\\Answered \\Flagged \\Deleted \\Seen \\Draft");
    const struct look_message *m = look_find(c->p->list, item->uid);
    struct imap_date date = {.time_s = m->date_s, .zone_min = m->zone_min};
    char text[DATE_TEXT];
    bool is_lost = false, is_left = false, fits;
    bool has_too_many = flags_text(c->p->list->flags, m->flags).n > FLAGS_MOST;
    int64_t flags = item->without & WITHOUT_KEYWORDS || has_too_many
                        ? flags_permitted(c->p->list->flags, m->flags, system, &is_left)
                        : m->flags;

    if (flags >= 0)
        flags = flags_permitted(c->p->list->flags, (uint32_t)flags, c->p->permanent, &is_lost);
    if (flags < 0)
        return no_memory(c);
    c->batch->sent[c->batch->n - 1].has_lost = is_lost || is_left;
    buf_take(&c->text, buf_len(&c->text));
    fits = buf_puts(&c->text, " (") == 0 &&
           buf_put(&c->text, flags_text(c->p->list->flags, (uint32_t)flags)) == 0 &&
           buf_puts(&c->text, ") ") == 0;
    if (m->has_date && !(item->without & WITHOUT_DATE) && date_write(date, text))
        fits = fits && buf_printf(&c->text, "\"%s\" ", text) == 0;
    fits = fits &&
           buf_printf(&c->text, "{%llu%s}\r\n", (unsigned long long)n, is_sync ? "" : "+") == 0;
    if (!fits || pipeline_put_raw(target(c), buf_slice(&c->text)) < 0)
        return no_memory(c);
    return true;
}

/* The most messages of a command that `item` is in. */
static size_t limit_of(const struct carry *c, const struct item *item)
{
    return item->limit > 0 && item->limit < c->batch_limit ? item->limit : c->batch_limit;
}

static uint64_t bytes_limit(const struct carry *c)
{
    return (uint64_t)c->batch_times * BATCH_BYTES;
}

/* Whether nothing more goes into the open command, or the held message does not. */
static bool is_full(const struct carry *c)
{
    const struct batch *b = c->batch;

    return b->n >= limit_of(c, &c->item) || b->n >= limit_of(c, &b->sent[0].item) ||
           b->is_refused || b->is_cancelled || b->bytes + c->held_n > bytes_limit(c);
}

bool append_begin(struct carry *c, uint64_t n)
{
    c->is_held = true;
    c->held_n = n;
    return append_begin_held(c);
}

bool append_begin_held(struct carry *c)
{
    bool is_sync = c->held_n > link_nonsync_max(c->p->to);

    if (c->batch && is_full(c)) {
        if (!append_may_close(c))
            return true;
        if (!append_close(c))
            return false;
        if (!c->is_held)
            return true; /* what was before is refused: this one is asked for again behind it */
    }
    if (!c->batch && !carry_may_begin(c))
        return true;
    c->is_held = false;
    if (!c->batch && !batch_open(c))
        return false;
    if (!batch_add(c, c->batch, c->item) || !put_header(c, &c->item, c->held_n, is_sync))
        return false;
    c->batch->bytes += c->held_n;
    c->waits_plus = is_sync;
    return true;
}

bool append_end(struct carry *c)
{
    struct batch *b = c->batch;

    bool is_at_end;

    identity_end(c->p->reader, &b->sent[b->n - 1].digest);
    is_at_end = b->is_refused || b->is_cancelled || b->n >= limit_of(c, &b->sent[0].item) ||
                b->bytes >= bytes_limit(c) || c->now_ms - b->opened_ms > BATCH_MS;
    return !is_at_end || !append_may_close(c) || append_close(c);
}

/* --- answers ---------------------------------------------------------------------------------- */

/* UIDs are given in the order of the messages (RFC 4315 section 3), and each is above those before.
 */
static bool is_ascending(struct slice set, uint32_t before)
{
    struct set_range range;

    while (set_next(&set, 0, &range)) {
        if (range.first <= before)
            return false;
        before = range.last;
    }
    return true;
}

/* The target has taken `n` messages at once. */
static void grow(struct carry *c, size_t n)
{
    if (n < 2 || c->has_refused || c->batch_times == BATCH_TIMES)
        return;
    c->batch_times *= 2;
    c->batch_limit = c->batch_times * BATCH_MESSAGES;
}

/* It has refused some. */
static void shrink(struct carry *c, bool is_bad)
{
    c->has_refused = true;
    c->batch_times = 1;
    if (c->batch_limit > BATCH_MESSAGES)
        c->batch_limit = BATCH_MESSAGES;
    if (is_bad)
        c->batch_limit = 1; /* it may not take many in a command, whatever it says */
}

static bool accepted(struct carry *c, struct batch *b, struct slice code, struct slice arguments)
{
    struct slice set = {0};
    struct set_range range = {.first = 1, .last = 0};
    uint32_t uidvalidity;
    bool is_told = slice_ieq(code, SLICE("APPENDUID")) &&
                   data_appenduid(arguments, &uidvalidity, &set) && set_count(set) == b->n &&
                   is_ascending(set, c->last_to_uid);

    c->refusals = 0;
    if (is_told && c->p->to_uidvalidity > 0 && uidvalidity != c->p->to_uidvalidity) {
        (void)err_set(&c->err, 0, "the target has numbered the folder anew");
        c->wants_again = true;
        return false;
    }
    for (size_t i = 0; i < b->n; i++) {
        if (is_told && range.first > range.last && !set_next(&set, 0, &range))
            is_told = false;
        if (!add_result(c, &b->sent[i], is_told ? range.first : 0))
            return false;
        if (is_told)
            c->last_to_uid = range.first;
        range.first++;
        if (b->sent[i].item.without != 0)
            c->useless_ways = 0;
        if (b->sent[i].has_lost)
            c->p->told.issue(c->p->told.arg, REASON_KEYWORDS, b->sent[i].item.uid,
                             (struct slice){0});
        if (b->sent[i].item.without & WITHOUT_DATE)
            c->p->told.issue(c->p->told.arg, REASON_DATE, b->sent[i].item.uid, (struct slice){0});
    }
    grow(c, b->n);
    return true;
}

/* All of a batch is to be tried again, in commands of `limit` messages. */
static bool retry(struct carry *c, const struct batch *b, size_t limit)
{
    if (c->batches_n == 1)
        return carry_rewind(c, b, limit);
    for (size_t i = 0; i < b->n; i++) {
        struct item item = b->sent[i].item;

        item.limit = (uint16_t)limit;
        if (!carry_again(c, item))
            return false;
    }
    return true;
}

/* The next way to try a message that was refused by itself: without its keywords, then without its
 * date, then without both. False: there is none. */
static bool other_way(const struct carry *c, struct item *item, enum carry_refusal refusal)
{
    const struct look_message *m = look_find(c->p->list, item->uid);

    if (refusal == REFUSAL_MESSAGE || refusal == REFUSAL_QUOTA || c->useless_ways >= USELESS_WAYS)
        return false;
    if (refusal == REFUSAL_DATE && m->has_date && !(item->without & WITHOUT_DATE)) {
        item->without |= WITHOUT_DATE;
        return true;
    }
    item->without++;
    if (item->without == WITHOUT_KEYWORDS && m->flags == FLAGS_NONE)
        item->without = WITHOUT_DATE;
    if (item->without == WITHOUT_DATE && !m->has_date)
        return false;
    if (item->without == (WITHOUT_KEYWORDS | WITHOUT_DATE) && m->flags == FLAGS_NONE)
        return false;
    return item->without <= (WITHOUT_KEYWORDS | WITHOUT_DATE);
}

static bool retry_as(struct carry *c, struct item item)
{
    struct sent sent = {.item = item};
    struct batch b = {.n = 1, .sent = &sent};

    return c->batches_n == 1 ? carry_rewind(c, &b, item.limit) : carry_again(c, item);
}

static bool refused_alone(struct carry *c, const struct batch *b, enum carry_refusal refusal,
                          enum sync_reason reason, struct slice words)
{
    struct item item = b->sent[0].item;

    if (refusal == REFUSAL_QUOTA) {
        c->quota_refusals++;
        reason = REASON_OVERQUOTA;
    } else if (other_way(c, &item, refusal)) {
        return retry_as(c, item);
    } else if (item.without != 0) {
        c->useless_ways++;
    }
    if (++c->refusals >= REFUSALS)
        c->batch_limit = 1;
    if (!carry_refuse(c, item.uid, reason, words))
        return false;
    if (c->quota_refusals < QUOTA_REFUSALS)
        return true;
    (void)err_set(&c->err, 0, "the target's quota is used up: %.*s",
                  SLICE_ARG(slice_sub(words, 0, 200)));
    c->is_full = true;
    carry_ask_no_more(c);
    return true;
}

/* What was out when the target was found to be full. */
static bool refuse_all(struct carry *c, const struct batch *b, struct slice words)
{
    for (size_t i = 0; i < b->n; i++) {
        if (!carry_refuse(c, b->sent[i].item.uid, REASON_OVERQUOTA, words))
            return false;
    }
    return true;
}

static bool refused(struct carry *c, struct batch *b, bool is_bad, struct slice code,
                    struct slice text)
{
    enum sync_reason reason = REASON_APPEND_REFUSED;
    uint32_t pause_ms = 0;
    enum carry_refusal refusal = carry_refusal(code, text, &reason, &pause_ms);

    if (c->is_full)
        return refuse_all(c, b, text);
    if (refusal == REFUSAL_CREATE) {
        (void)err_set(&c->err, 0, "the target has lost the folder: %.*s",
                      SLICE_ARG(slice_sub(text, 0, 200)));
        c->wants_again = true;
        return false;
    }
    if (refusal == REFUSAL_LIMIT && b->n == 1)
        refusal = REFUSAL_PAUSE; /* it is not that there are too many in a command */
    if (refusal == REFUSAL_PAUSE)
        return retry(c, b, b->sent[0].item.limit) && carry_pause(c, pause_ms, text);
    if (b->n == 1)
        return refused_alone(c, b, refusal, reason, text);
    shrink(c, is_bad);
    return retry(c, b, is_bad ? 1 : (b->n + 1) / 2);
}

static bool deal_with(struct carry *c, struct batch *b, const struct response *r)
{
    struct slice code = {0}, arguments = {0};
    bool goes_on;

    (void)data_code(r->text, &code, &arguments);
    goes_on = r->kind == RESPONSE_OK ? accepted(c, b, code, arguments)
                                     : refused(c, b, r->kind == RESPONSE_BAD, code, r->text);
    batch_free(c, b);
    return goes_on;
}

/* The command before the open one was refused. What is in the open one must not come to lie before
 * that, so it is cancelled first; it has not been ended, and the target keeps all of it or nothing.
 */
static bool cancel_open(struct carry *c, struct batch *refused, const struct response *r)
{
    keep_refusal(refused, r);
    c->batch->is_cancelled = true;
    return (c->is_coming && !c->is_held && !c->is_skipped) || append_close(c);
}

/* The one that was cancelled has its answer: now for the one before it. */
static bool cancelled(struct carry *c, struct batch *b, const struct response *r)
{
    struct batch *before;
    struct response kept;

    if (r->kind != RESPONSE_OK && !carry_rewind(c, b, b->sent[0].item.limit))
        return false;
    if (r->kind == RESPONSE_OK && !deal_with(c, b, r))
        return false;
    if (r->kind != RESPONSE_OK)
        batch_free(c, b);
    before = CONTAINER(c->batches.next, struct batch, node);
    kept = kept_refusal(before);
    return deal_with(c, before, &kept);
}

static bool answered(struct carry *c, struct batch *b, const struct response *r)
{
    if (b->is_cancelled)
        return cancelled(c, b, r);
    if (r->kind != RESPONSE_OK && c->batch && c->batch_limit > 1)
        return cancel_open(c, b, r);
    return deal_with(c, b, r);
}

/* The command was answered while it was open. If the server waits for a literal, it takes none;
 * else the literal goes out, since it reads it in any case (RFC 7888 section 4). */
static bool answered_early(struct carry *c, const struct response *r)
{
    struct batch *b = c->batch;

    if (r->kind == RESPONSE_OK) {
        (void)err_set(&c->err, 0, "the target says OK in the middle of a command");
        c->wants_again = true;
        return false;
    }
    keep_refusal(b, r);
    if (!c->waits_plus)
        return c->is_coming || !append_may_close(c) || append_close(c);
    c->waits_plus = false;
    c->is_skipped = true;
    pipeline_drop(target(c));
    batch_out(c, b);
    return answered(c, b, r);
}

bool carry_from_target(struct carry *c, enum pipeline_event event)
{
    struct pipeline *p = target(c);

    if (event == PIPELINE_PLUS) {
        c->waits_plus = false;
        return true;
    }
    if (event != PIPELINE_TAGGED)
        return true;
    if (c->batch && c->batch->id == pipeline_command_id(p))
        return answered_early(c, pipeline_response(p));
    list_for_each (it, &c->batches) {
        struct batch *b = CONTAINER(it, struct batch, node);

        if (b->id == pipeline_command_id(p))
            return answered(c, b, pipeline_response(p));
    }
    return true;
}
