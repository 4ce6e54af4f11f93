/* What is asked for next, and the loop over both links; see carry.h and carry_parts.h. */
#include "sync/carry.h"

#include "base/room.h"
#include "sync/carry_parts.h"
#include "sync/state.h"

#include <errno.h>
#include <stdlib.h>

enum { EVENTS_AT_ONCE = 64, WAIT_MOST_MS = 1000, COMMAND_MOST = 64 << 10 };

/* --- ours ------------------------------------------------------------------------------------- */

bool carry_failed(struct carry *c, const struct err *err)
{
    if (!c->has_failed)
        c->err = *err;
    c->has_failed = true;
    return false;
}

char *carry_room(struct carry *c, size_t n)
{
    char *room;

    if (n <= c->room_n)
        return c->room;
    room = realloc(c->room, n);
    if (!room) {
        struct err err;

        (void)err_set(&err, ENOMEM, "no memory for a response");
        (void)carry_failed(c, &err);
        return NULL;
    }
    c->room = room;
    c->room_n = n;
    return room;
}

bool carry_again(struct carry *c, struct item item)
{
    struct item *again = room_for_one(c->again, c->again_n, &c->again_cap, sizeof *again);

    if (!again) {
        struct err err;

        (void)err_set(&err, ENOMEM, "no memory for what is to be tried again");
        return carry_failed(c, &err);
    }
    c->again = again;
    c->again[c->again_n++] = item;
    return true;
}

void carry_ask_no_more(struct carry *c)
{
    c->next = c->p->n;
    c->again_first = c->again_n = 0;
    if (c->is_held) {
        c->is_held = false;
        c->is_skipped = true;
    }
    list_for_each (it, &c->windows) {
        struct window *w = CONTAINER(it, struct window, node);

        for (size_t i = 0; i < w->n; i++)
            w->has_come[i] = true;
    }
}

bool carry_rewind(struct carry *c, const struct batch *b, size_t limit)
{
    struct item *before = c->again;
    size_t first = c->again_first, n = c->again_n;
    bool is_good = true;

    c->again = NULL;
    c->again_first = c->again_n = c->again_cap = 0;
    for (size_t i = 0; i < b->n && is_good; i++) {
        struct item item = b->sent[i].item;

        item.limit = (uint16_t)limit;
        is_good = carry_again(c, item);
    }
    if (c->is_held && is_good) {
        is_good = carry_again(c, c->item);
        c->is_held = false;
        c->is_skipped = true;
    }
    list_for_each (it, &c->windows) {
        struct window *w = CONTAINER(it, struct window, node);

        for (size_t i = 0; i < w->n && is_good; i++) {
            if (!w->has_come[i])
                is_good = carry_again(c, w->items[i]);
            w->has_come[i] = true;
        }
        c->dropped_n += !w->is_dropped;
        w->is_dropped = true;
    }
    for (size_t i = first; i < n && is_good; i++)
        is_good = carry_again(c, before[i]);
    free(before);
    return is_good;
}

void carry_done(struct carry *c, uint32_t uid, uint64_t size, bool is_there)
{
    c->pauses = 0;
    c->pause_ms = 0;
    if (is_there)
        c->quota_refusals = 0;
    c->p->told.done(c->p->told.arg, uid, size, is_there);
}

bool carry_refuse(struct carry *c, uint32_t uid, enum sync_reason reason, struct slice words)
{
    struct err err;

    if (journal_remove(sync_journal(c->p->sync), c->p->folder, &uid, 1, &err) < 0)
        return carry_failed(c, &err);
    c->p->told.issue(c->p->told.arg, reason, uid, words);
    carry_done(c, uid, 0, false);
    return true;
}

bool carry_pause(struct carry *c, uint32_t hint_ms, struct slice words)
{
    uint32_t ms = hint_ms;

    if (ms == 0) {
        ms = c->pause_ms > 0 ? 2 * c->pause_ms : PAUSE_FIRST_MS;
        ms = ms < PAUSE_LAST_MS ? ms : PAUSE_LAST_MS;
    }
    if (c->now_ms < c->paused_until_ms && (hint_ms == 0 || c->now_ms + ms <= c->paused_until_ms))
        return true; /* the same refusal, of what was out with it */
    if (c->now_ms >= c->paused_until_ms)
        c->pauses++;
    if (ms > PAUSE_MOST_MS || c->pauses > PAUSES) {
        (void)err_set(&c->err, 0, "the server wants to be left alone: %.*s",
                      SLICE_ARG(slice_sub(words, 0, 200)));
        c->wants_again = true;
        return false;
    }
    c->pause_ms = ms;
    c->paused_until_ms = c->now_ms + ms;
    c->batches_limit = c->batches_limit > 1 ? c->batches_limit / 2 : 1;
    sync_pausing(c->p->sync, c->p->lane, ms);
    sync_log(c->p->sync, "pausing for %u ms, as the server asks for it: %.*s", (unsigned)ms,
             SLICE_ARG(slice_sub(words, 0, 200)));
    return true;
}

/* --- the loop --------------------------------------------------------------------------------- */

static bool is_over(const struct carry *c)
{
    return c->next == c->p->n && c->again_first == c->again_n && c->windows_n == 0 &&
           !c->is_coming && !c->batch && c->batches_n == 0;
}

static uint64_t pause_end(const struct carry *c)
{
    return c->paused_until_ms > c->paid_until_ms ? c->paused_until_ms : c->paid_until_ms;
}

bool carry_is_pausing(const struct carry *c)
{
    return c->now_ms < pause_end(c);
}

bool carry_may_begin(const struct carry *c)
{
    const struct batch *last =
        list_empty(&c->batches) ? NULL : CONTAINER(c->batches.prev, struct batch, node);

    if (!last)
        return true;
    if (c->batch_limit > 1)
        return c->batches_n == 1 && !c->has_refused && !last->is_refused;
    return last->n == 1 && c->batches_n < c->batches_limit && c->batches_bytes < BATCHES_BYTES;
}

/* Whether the source may be read: the target keeps up, and no pause is on. */
static bool may_take(const struct carry *c)
{
    return c->pending.n == 0 && !c->is_whole && !c->is_held && !c->waits_plus &&
           !carry_is_pausing(c) && buf_left(pipeline_out(link_pipeline(c->p->to))) > HEADER_ROOM &&
           (c->is_coming || c->batch || carry_may_begin(c));
}

/* What the target has said, as much as is heard at once: one that never ends must not keep us from
 * looking whether to stop. *out_is_heard: there is no more for now. */
static bool step_target(struct carry *c, bool *out_is_heard)
{
    *out_is_heard = false;
    for (int i = 0; i < EVENTS_AT_ONCE; i++) {
        enum pipeline_event event;

        switch (link_step(c->p->to, &event)) {
        case LINK_WAIT:
            *out_is_heard = true;
            return true;
        case LINK_FAILED:
            return false;
        case LINK_EVENT:
            if (!carry_from_target(c, event))
                return false;
        }
    }
    return true;
}

/* Events of the source, as many as the target can take; *out_is_dry: there are no more for now. */
static bool step_source(struct carry *c, bool *out_is_dry)
{
    *out_is_dry = false;
    for (int i = 0; i < EVENTS_AT_ONCE; i++) {
        enum pipeline_event event;

        if (!carry_take_on(c))
            return false;
        if (!may_take(c))
            return true;
        switch (link_step(c->p->from, &event)) {
        case LINK_WAIT:
            *out_is_dry = true;
            return true;
        case LINK_FAILED:
            return false;
        case LINK_EVENT:
            if (!carry_from_source(c, event))
                return false;
        }
    }
    return true;
}

/* A batch that waits for more messages is ended when none is out, or none comes. */
static bool close_in_time(struct carry *c, bool is_dry)
{
    bool is_last = c->windows_n == 0 && c->again_first == c->again_n && c->next == c->p->n;

    if (!c->batch || c->is_coming || !append_may_close(c))
        return true;
    if (!is_last && carry_is_pausing(c))
        return append_close(c); /* nothing goes on for some time */
    if (is_last || c->now_ms - c->batch->opened_ms > BATCH_MS ||
        (is_dry && c->now_ms - c->batch->opened_ms > BATCH_IDLE_MS))
        return append_close(c);
    return true;
}

static uint32_t wait_ms(const struct carry *c)
{
    uint64_t end = pause_end(c);

    return end > c->now_ms && end - c->now_ms < WAIT_MOST_MS ? (uint32_t)(end - c->now_ms)
                                                             : WAIT_MOST_MS;
}

/* What was held back for want of room can be put now: nothing that comes would wake us. */
static bool has_room_again(const struct carry *c)
{
    return c->pending.n > 0 && !c->is_held && !c->waits_plus &&
           buf_left(pipeline_out(link_pipeline(c->p->to))) > HEADER_ROOM;
}

/* The journal is told of results when there are many, or one has waited long enough. */
static bool record_in_time(struct carry *c)
{
    if (c->results_n == 0)
        return true;
    return (c->results_n < RESULTS && c->now_ms - c->results_ms <= RESULTS_MS) || carry_results(c);
}

/* Until something comes, or is due. */
static bool wait_for_more(struct carry *c, bool is_dry)
{
    struct link_wanting wanting[2] = {{.link = c->p->to, .wants_in = true},
                                      {.link = c->p->from, .wants_in = is_dry && may_take(c)}};

    return link_wait(wanting, 2, wait_ms(c)) == 0;
}

/* One turn. False: a link has failed, or we have, or it is to be begun anew. */
static bool turn(struct carry *c)
{
    bool is_dry, is_heard;

    c->now_ms = loop_now_ms(c->loop);
    if (!step_target(c, &is_heard) || !step_source(c, &is_dry))
        return false;
    /* Before each write to the journal, which lasts as long as the disk needs, the servers are
     * given what they can work on meanwhile. */
    if (link_flush(c->p->to) < 0 || !carry_ask(c) || !close_in_time(c, is_dry))
        return false;
    if (link_flush(c->p->from) < 0 || link_flush(c->p->to) < 0 || !record_in_time(c))
        return false;
    if (is_over(c) || c->wants_again)
        return true;
    if (is_heard && (is_dry || !may_take(c)) && !has_room_again(c) && !wait_for_more(c, is_dry))
        return false;
    return !sync_is_stopping(c->p->sync);
}

/* The source has failed, or all is to stop: what the target was sent whole is waited for, so that
 * it need not be looked for later. */
static void settle(struct carry *c)
{
    uint64_t until = loop_now_ms(c->loop) + SETTLE_MS;

    link_settle(c->p->to);
    while (link_is_open(c->p->to) && loop_now_ms(c->loop) < until) {
        struct link_wanting wanting = {.link = c->p->to, .wants_in = true};
        bool is_heard;

        if (c->batch && !c->is_coming && append_may_close(c) && !append_close(c))
            return;
        if (c->batches_n == 0 || !step_target(c, &is_heard))
            return;
        if (is_heard && c->batches_n > 0 && link_wait(&wanting, 1, WAIT_MOST_MS) < 0)
            return;
    }
}

/* The one message that was on its way, if it was one. */
static uint32_t suspect_of(const struct carry *c)
{
    if (c->is_coming)
        return c->item.uid;
    if (c->batch && c->batch->n == 1)
        return c->batch->sent[0].item.uid;
    if (c->batches_n == 1) {
        const struct batch *b = CONTAINER(c->batches.next, struct batch, node);

        return b->n == 1 ? b->sent[0].item.uid : 0;
    }
    if (c->windows_n == 1) {
        const struct window *w = CONTAINER(c->windows.next, struct window, node);

        return w->n == 1 ? w->items[0].uid : 0;
    }
    return 0;
}

static enum carry_end end_of(const struct carry *c, bool is_broken, struct err *err)
{
    if (c->has_failed) {
        *err = c->err;
        return CARRY_FAILED;
    }
    if (c->wants_again || c->is_full)
        *err = c->err;
    if (c->wants_again)
        return CARRY_AGAIN;
    if (is_broken)
        return CARRY_BROKEN;
    return c->is_full ? CARRY_FULL : CARRY_DONE;
}

enum carry_end carry_run(const struct carry_params *params, uint32_t *out_suspect, struct err *err)
{
    struct carry c = {
        .p = params, .loop = link_loop(params->to), .batches_limit = BATCHES, .batch_times = 1};
    bool goes_on = true;

    list_init(&c.windows);
    list_init(&c.batches);
    buf_init(&c.text, COMMAND_MOST, false);
    /* Not with literals that wait for "+": a refusal and the next announcement would cross. */
    c.batch_limit =
        link_offers(params->to, "MULTIAPPEND") && link_nonsync_max(params->to) == SIZE_MAX
            ? BATCH_MESSAGES
            : 1;
    if (params->is_careful)
        c.batch_limit = c.batches_limit = 1;
    while (goes_on && !c.wants_again && !is_over(&c))
        goes_on = turn(&c);
    *out_suspect = !goes_on && params->is_careful ? suspect_of(&c) : 0;
    if (!goes_on && !c.has_failed)
        settle(&c);
    if (!c.has_failed)
        (void)carry_results(&c);
    carry_windows_free(&c);
    carry_batches_free(&c);
    buf_release(&c.text);
    free(c.again);
    free(c.results);
    free(c.room);
    return end_of(&c, !goes_on, err);
}
