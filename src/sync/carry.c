/* What is asked for next, and the loop over all links; see carry.h and carry_parts.h. */
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
            carry_has_come(c, w, i);
    }
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
        switch (carry_step_source(c, &event)) {
        case LINK_WAIT:
            *out_is_dry = true;
            return true;
        case LINK_FAILED:
            return carry_lose(c, c->reading);
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
    bool wants_source = is_dry && may_take(c);
    uint64_t began_ms = loop_now_ms(c->loop);
    bool goes_on = carry_wait(c, wants_source, wait_ms(c));

    if (wants_source)
        c->pace.dry_ms += loop_now_ms(c->loop) - began_ms;
    return goes_on;
}

/* What there is to be said goes out. Before each write to the journal, which lasts as long as the
 * disk needs, the servers are given what they can work on meanwhile. */
static bool say(struct carry *c, bool is_dry)
{
    if (link_flush(c->p->to) < 0 || !carry_ask(c) || !close_in_time(c, is_dry))
        return false;
    return carry_flush_sources(c) && link_flush(c->p->to) == 0 && record_in_time(c);
}

/* One turn. False: a link has failed, or we have, or it is to be begun anew. */
static bool turn(struct carry *c)
{
    const struct source *heard;
    size_t lost_n = c->lost_n;
    bool is_dry, is_heard, has_turned;

    c->now_ms = loop_now_ms(c->loop);
    if (!step_target(c, &is_heard) || !step_source(c, &is_dry))
        return false;
    heard = c->reading;
    if (!say(c, is_dry) || !carry_take_in(c))
        return false;
    carry_turn_to_source(c);
    has_turned = heard != c->reading || lost_n != c->lost_n;
    if (is_over(c) || c->wants_again || has_turned)
        return true;
    if (is_heard && (is_dry || !may_take(c)) && !has_room_again(c) && !wait_for_more(c, is_dry))
        return false;
    return !sync_is_stopping(c->p->sync);
}

/* How much may be asked for, by how fast it has come. It goes up as soon as enough has come; it
 * goes down when the period is over, and by halves, since a target that has to write it all to its
 * disk says nothing for a while. */
static void set_depth(struct carry *c, bool is_over)
{
    uint64_t depth = DEPTH_PERIODS * c->pace.bytes;
    uint64_t least = is_over ? c->depth / 2 : c->depth;

    if (depth < least)
        depth = least;
    if (depth < DEPTH_LEAST)
        depth = DEPTH_LEAST;
    c->depth = depth < DEPTH_MOST ? depth : DEPTH_MOST;
}

/* Each period is looked at by itself; one with a pause in it tells nothing. */
static void look_at_pace(struct carry *c)
{
    uint64_t now_ms = loop_now_ms(c->loop), ms = now_ms - c->pace_began_ms;
    bool is_paused = c->now_ms < c->paused_until_ms;

    if (c->pace_began_ms == 0)
        return;
    if (!is_paused)
        set_depth(c, ms >= PERIOD_MS);
    if (ms < PERIOD_MS && !is_paused)
        return;
    if (!is_paused) {
        c->pace.ms = ms;
        c->pace.next = c->next;
        if (c->next < c->p->n && c->p->told.pace && c->p->told.pace(c->p->told.arg, &c->pace))
            c->mine.n = c->next;
    }
    c->pace = (struct carry_pace){0};
    c->pace_began_ms = now_ms;
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

enum carry_end carry_run(const struct carry_params *params, struct carry_result *out,
                         struct err *err)
{
    struct carry c = {.mine = *params,
                      .loop = link_loop(params->to),
                      .recorded = params->recorded,
                      .sources_n = params->from_n,
                      .depth = DEPTH_FIRST,
                      .batches_limit = BATCHES,
                      .batch_times = 1};
    bool goes_on = true;

    INSIST(params->from_n > 0 && params->from_n <= SYNC_LANES);
    c.p = &c.mine;
    c.reading = c.sources;
    c.asked = &c.sources[params->from_n - 1]; /* the first comes behind the last */
    for (size_t i = 0; i < params->from_n; i++)
        c.sources[i].link = params->from[i];

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
    while (goes_on && !c.wants_again && !is_over(&c)) {
        goes_on = turn(&c);
        look_at_pace(&c);
    }
    *out = (struct carry_result){.suspect = !goes_on && params->is_careful ? suspect_of(&c) : 0,
                                 .taken = c.mine.n,
                                 .recorded = c.recorded};
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
