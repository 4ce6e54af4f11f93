/* What is asked of the source, and what it gives; see carry_parts.h. */
#include "sync/carry_parts.h"

#include "imap/data.h"
#include "imap/set.h"
#include "sync/state.h"

#include <errno.h>
#include <stdlib.h>

/* What is heard now. */
static struct pipeline *source(const struct carry *c)
{
    return link_pipeline(c->reading->link);
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Tells the journal of what is to be asked for, some time before; of the more at once, the more the
 * target takes at once, as each time lasts as long as the disk needs. */
static bool record(struct carry *c)
{
    size_t n = c->p->n - c->recorded, most = c->batch_times * RECORD;
    struct err err;

    if (c->recorded > c->next || c->recorded >= c->p->n)
        return true;
    n = n < most ? n : most;
    if (journal_sending(sync_journal(c->p->sync), c->p->folder, c->p->fence,
                        c->p->uids + c->recorded, n, &err) < 0)
        return carry_failed(c, &err);
    c->recorded += n;
    return true;
}

/* The next item to be asked for; not taken yet. False: there is none. */
static bool peek(const struct carry *c, struct item *out_item)
{
    if (c->again_first < c->again_n) {
        *out_item = c->again[c->again_first];
        return true;
    }
    if (c->next == c->p->n)
        return false;
    *out_item = (struct item){.uid = c->p->uids[c->next]};
    return true;
}

static void take(struct carry *c)
{
    if (c->again_first == c->again_n)
        c->next++;
    else if (++c->again_first == c->again_n)
        c->again_first = c->again_n = 0;
}

static uint64_t size_of(const struct carry *c, uint32_t uid)
{
    const struct look_message *m = look_find(c->p->list, uid);

    return m ? m->size : 0;
}

/* Fills a window with what comes next, in ascending order. True: it is one that stands alone. */
static bool fill(struct carry *c, struct window *w)
{
    uint64_t most = carry_window_bytes(c);
    struct item item;

    while (w->n < WINDOW_MESSAGES && peek(c, &item)) {
        uint64_t size = size_of(c, item.uid);
        bool stands_alone = item.is_alone || c->is_single || c->p->is_careful;

        if (w->n > 0 &&
            (stands_alone || w->bytes + size > most || item.uid <= w->items[w->n - 1].uid))
            return false;
        if (c->again_first == c->again_n && c->next >= c->recorded)
            return false; /* the journal does not know it */
        w->items[w->n++] = item;
        w->bytes += size;
        take(c);
        if (stands_alone)
            return true;
    }
    return false;
}

static bool put_fetch(struct carry *c, struct window *w)
{
    struct set_writer set = set_writer(&c->text);
    bool fits;

    buf_take(&c->text, buf_len(&c->text));
    fits = buf_puts(&c->text, "UID FETCH ") == 0;
    for (size_t i = 0; i < w->n; i++)
        fits = fits && set_put(&set, w->items[i].uid) == 0;
    fits = fits && set_end(&set) == 0 && buf_puts(&c->text, " (UID BODY.PEEK[])") == 0;
    fits = fits && pipeline_put(link_pipeline(w->from->link), buf_slice(&c->text), &w->id) == 0;
    if (!fits) {
        struct err err;

        (void)err_set(&err, ENOMEM, "no memory for a command");
        return carry_failed(c, &err);
    }
    return true;
}

static bool may_ask(const struct carry *c)
{
    size_t most = c->is_single || c->p->is_careful ? 1 : WINDOWS_MOST;
    struct item item;

    if (c->dropped_n > 0 || (c->p->is_careful && (c->batch || c->batches_n > 0)))
        return false;
    if (c->open_n > 0 && (c->open_n >= carry_windows_most(c) || c->open_bytes >= c->depth))
        return false;
    return c->windows_n < most && !carry_is_pausing(c) && peek(c, &item);
}

bool carry_ask(struct carry *c)
{
    while (may_ask(c)) {
        struct window *w;

        if (!record(c))
            return false;
        w = calloc(1, sizeof *w);
        if (!w) {
            struct err err;

            (void)err_set(&err, ENOMEM, "no memory for a window of messages");
            return carry_failed(c, &err);
        }
        list_append(&c->windows, &w->node);
        w->from = carry_whom_to_ask(c, fill(c, w));
        w->from->windows_n++;
        w->left = w->n;
        c->windows_n++;
        INSIST(w->n > 0);
        c->open_n++;
        c->open_bytes += w->bytes;
        if (!put_fetch(c, w))
            return false;
    }
    return true;
}

void carry_has_come(struct carry *c, struct window *w, size_t i)
{
    if (w->has_come[i])
        return;
    w->has_come[i] = true;
    if (--w->left > 0)
        return;
    w->from->windows_n--;
    c->open_n--;
    c->open_bytes -= w->bytes;
}

void carry_window_free(struct carry *c, struct window *w)
{
    for (size_t i = 0; i < w->n; i++)
        carry_has_come(c, w, i);
    list_remove(&w->node);
    c->windows_n--;
    c->dropped_n -= w->is_dropped;
    free(w);
}

void carry_windows_free(struct carry *c)
{
    list_for_each_safe (it, &c->windows)
        carry_window_free(c, CONTAINER(it, struct window, node));
}

/* --- messages --------------------------------------------------------------------------------- */

/* The item of a message that has begun to come; servers tell them in the order asked for, or in
 * another. */
static const struct item *item_of(struct carry *c, uint32_t uid)
{
    list_for_each (it, &c->windows) {
        struct window *w = CONTAINER(it, struct window, node);

        for (size_t i = 0; i < w->n && w->from == c->reading; i++) {
            size_t at = (w->cursor + i) % w->n;

            if (w->items[at].uid != uid || w->has_come[at])
                continue;
            carry_has_come(c, w, at);
            w->cursor = at + 1;
            return &w->items[at];
        }
    }
    return NULL;
}

/* A body whose response has not told its UID yet. */
static const struct item *item_unnamed(struct carry *c)
{
    if (c->windows_n == 1) {
        struct window *w = CONTAINER(c->windows.next, struct window, node);

        /* Not of one that was out when another came so: that is asked for again before it. */
        if (w->n == 1 && !w->has_come[0] && !w->is_unnamed) {
            carry_has_come(c, w, 0);
            return &w->items[0];
        }
    }
    c->is_single = true;
    list_for_each (it, &c->windows)
        CONTAINER(it, struct window, node)->is_unnamed = true;
    return NULL;
}

static bool begin(struct carry *c, uint32_t uid, uint64_t n)
{
    const struct item *item = uid > 0 ? item_of(c, uid) : item_unnamed(c);

    c->is_coming = true;
    c->is_skipped = !item;
    c->is_unnamed = false;
    if (!item)
        return true;
    c->item = *item;
    identity_begin(c->p->reader, IDENTITY_HEAD | IDENTITY_RAW);
    return append_begin(c, n);
}

/* The source tells of a body at its end that it is not what was asked for. */
static bool is_another(struct carry *c)
{
    (void)err_set(&c->err, 0, "the source gives another message in place of UID %u", c->item.uid);
    c->wants_again = true;
    return false;
}

uint32_t carry_uid_of(struct carry *c, enum pipeline_event event)
{
    struct pipeline *p = source(c);
    bool is_body = event == PIPELINE_BODY;
    struct data_fetch fetch;
    struct slice text;
    char *room;

    if (!is_body && (event != PIPELINE_DATA || pipeline_is_rest(p) ||
                     !slice_ieq(pipeline_response(p)->word, SLICE("FETCH"))))
        return 0;
    text = is_body ? pipeline_head(p) : pipeline_response(p)->text;
    room = carry_room(c, text.n);
    if (!room || !data_fetch(text, is_body, room, &fetch) || !(fetch.told & FETCH_BODY) ||
        !(fetch.told & FETCH_UID) || fetch.section.n > 0)
        return 0;
    return fetch.uid;
}

static bool on_body(struct carry *c)
{
    struct pipeline *p = source(c);
    struct slice head = pipeline_head(p);
    struct data_fetch fetch;
    char *room = carry_room(c, head.n);

    if (!room)
        return false;
    if (c->is_coming)
        return is_another(c); /* a second body behind one that has no UID yet */
    if (!data_fetch(head, true, room, &fetch) || fetch.section.n > 0) {
        c->is_coming = c->is_skipped = true; /* nothing that we have asked for */
        c->is_unnamed = false;
        return true;
    }
    if (!begin(c, fetch.told & FETCH_UID ? fetch.uid : 0, pipeline_body_n(p)))
        return false;
    c->is_unnamed = !(fetch.told & FETCH_UID);
    return true;
}

static bool on_message_end(struct carry *c)
{
    c->is_coming = false;
    return c->is_skipped || append_end(c);
}

static bool on_body_end(struct carry *c)
{
    return (c->is_unnamed && !c->is_skipped) || on_message_end(c);
}

/* Behind a body: the target has all bytes of the message, but not the end of the command that would
 * make it keep them. */
static bool on_rest(struct carry *c)
{
    struct slice text = pipeline_response(source(c))->text;
    struct data_fetch fetch;
    char *room;

    if (!c->is_coming)
        return true;
    room = carry_room(c, text.n);
    if (!room)
        return false;
    if (!c->is_skipped && data_fetch_rest(text, room, &fetch) && fetch.told & FETCH_UID &&
        fetch.uid != c->item.uid)
        return is_another(c);
    return on_message_end(c);
}

bool carry_take_on(struct carry *c)
{
    struct buf *out = pipeline_out(link_pipeline(c->p->to));

    if (c->is_held && !append_begin_held(c))
        return false;
    if (c->is_held)
        return true;
    while (c->pending.n > 0) {
        size_t left = buf_left(out), n;
        struct slice piece;
        uint32_t pause;

        if (c->waits_plus && !c->is_skipped)
            return true;
        if (c->is_skipped) {
            c->pending.n = 0;
            return true;
        }
        if (left <= HEADER_ROOM)
            return true;
        n = left - HEADER_ROOM;
        piece = slice_sub(c->pending, 0, n);
        identity_add(c->p->reader, piece);
        if (pipeline_put_raw(link_pipeline(c->p->to), piece) < 0) {
            struct err err;

            (void)err_set(&err, ENOMEM, "no memory for a message on its way");
            return carry_failed(c, &err);
        }
        c->pending = slice_sub(c->pending, piece.n, c->pending.n);
        if (c->pace_began_ms == 0) { /* the way to the first is not counted */
            c->pace_began_ms = c->now_ms;
            c->pace.dry_ms = 0;
        }
        c->pace.bytes += piece.n;
        pause = sync_pay(c->p->sync, piece.n);
        if (pause > 0)
            c->paid_until_ms = c->now_ms + pause;
    }
    if (!c->is_whole || (c->waits_plus && !c->is_skipped))
        return true;
    c->is_whole = false;
    return on_message_end(c);
}

/* A body that came as a quoted string, or NIL. */
static bool on_data(struct carry *c)
{
    struct pipeline *p = source(c);
    const struct response *r = pipeline_response(p);
    struct data_fetch fetch;
    char *room;

    if (pipeline_is_rest(p))
        return on_rest(c);
    if (r->kind != RESPONSE_DATA || !slice_ieq(r->word, SLICE("FETCH")))
        return true;
    room = carry_room(c, r->text.n);
    if (!room)
        return false;
    if (!data_fetch(r->text, false, room, &fetch) || !(fetch.told & FETCH_BODY) ||
        fetch.section.n > 0)
        return true;
    if (fetch.is_nil)
        return true; /* as if it had not come */
    if (!begin(c, fetch.told & FETCH_UID ? fetch.uid : 0, fetch.body.n))
        return false;
    c->pending = fetch.body;
    c->is_whole = true;
    return carry_take_on(c);
}

/* --- the end of a window ---------------------------------------------------------------------- */

static bool missed(struct carry *c, const struct window *w, struct item item, bool is_ok,
                   struct slice words)
{
    if (w->n > 1 || w->is_unnamed) {
        item.is_alone = true;
        return carry_again(c, item);
    }
    return carry_refuse(c, item.uid, is_ok ? REASON_FETCH_NOTHING : REASON_FETCH_REFUSED, words);
}

static bool on_tagged(struct carry *c)
{
    struct pipeline *p = source(c);
    const struct response *r = pipeline_response(p);
    struct slice code = {0}, arguments = {0};
    struct window *w = NULL;
    enum sync_reason reason;
    uint32_t pause = 0;

    list_for_each (it, &c->windows) {
        w = CONTAINER(it, struct window, node);
        if (w->from == c->reading && w->id == pipeline_command_id(p))
            break;
        w = NULL;
    }
    if (!w)
        return true;
    (void)data_code(r->text, &code, &arguments);
    if (r->kind != RESPONSE_OK && carry_refusal(code, r->text, &reason, &pause) == REFUSAL_PAUSE) {
        if (!carry_pause(c, pause, r->text))
            return false;
        for (size_t i = 0; i < w->n; i++) {
            if (!w->has_come[i] && !carry_again(c, w->items[i]))
                return false;
        }
    } else {
        for (size_t i = 0; i < w->n; i++) {
            if (!w->has_come[i] && !missed(c, w, w->items[i], r->kind == RESPONSE_OK, r->text))
                return false;
        }
    }
    carry_window_free(c, w);
    return true;
}

bool carry_from_source(struct carry *c, enum pipeline_event event)
{
    switch (event) {
    case PIPELINE_BODY:
        return on_body(c);
    case PIPELINE_BYTES:
        c->pending = pipeline_bytes(source(c));
        return carry_take_on(c);
    case PIPELINE_BODY_END:
        return on_body_end(c);
    case PIPELINE_DATA:
        return on_data(c);
    case PIPELINE_TAGGED:
        return on_tagged(c);
    case PIPELINE_PLUS:
    case PIPELINE_MORE:
    case PIPELINE_FAILED:
        return true;
    }
    return true;
}
