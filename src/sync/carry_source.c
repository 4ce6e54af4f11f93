/* Which link to the source is asked, which is heard, and what is asked for again; see
 * carry_parts.h.
 *
 * Windows are asked for in turn and heard in order. With A, B, C and windows of equal size, while
 * A's is heard those of B and C come into their buffers, which hold about as much:
 *
 *     windows   A1 B2 C3 A4 B5 C6 ...      in the order of the list
 *     heard     ^^                         B2 and C3 are there by the time that A1 is through
 *
 * It is the turn of the next when all that was asked for has come; the answer to the command may
 * come much later.
 */
#include "sync/carry_parts.h"

#include "sync/state.h"

#include <stdlib.h>

/* --- asking and hearing ----------------------------------------------------------------------- */

static size_t sources_left(const struct carry *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->sources_n; i++)
        n += !c->sources[i].is_lost;
    return n;
}

struct source *carry_whom_to_ask(struct carry *c, bool stands_alone)
{
    struct source *least = c->sources;
    size_t last = (size_t)(c->asked - c->sources);

    if (stands_alone)
        return least;
    least = NULL;
    for (size_t i = 1; i <= c->sources_n; i++) {
        struct source *s = &c->sources[(last + i) % c->sources_n];

        if (!s->is_lost && (!least || s->windows_n < least->windows_n))
            least = s;
    }
    return c->asked = least;
}

uint64_t carry_window_bytes(const struct carry *c)
{
    const struct buf *in = pipeline_in(link_pipeline(c->p->from[0]));
    size_t n = sources_left(c), room = buf_len(in) + buf_left(in);
    uint64_t share = c->depth / (2 * n + 2);
    uint64_t most = n == 1 || room > WINDOW_BYTES ? WINDOW_BYTES : room;

    return share < most ? share : most;
}

size_t carry_windows_most(const struct carry *c)
{
    size_t n = WINDOWS_A_LINK * sources_left(c);

    return n > WINDOWS ? n : WINDOWS;
}

/* Not all of it has come, and the rest will. */
static bool is_awaited(const struct window *w)
{
    return w->left > 0 && !w->is_passed;
}

void carry_turn_to_source(struct carry *c)
{
    if (c->is_coming)
        return;
    c->reading = list_empty(&c->windows) ? c->sources
                                         : CONTAINER(c->windows.next, struct window, node)->from;
    list_for_each (it, &c->windows) {
        struct window *w = CONTAINER(it, struct window, node);

        if (is_awaited(w)) {
            c->reading = w->from;
            return;
        }
    }
}

static bool has_item(const struct window *w, uint32_t uid)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->items[i].uid == uid && !w->has_come[i])
            return true;
    }
    return false;
}

/* Whether a message has come before its turn: the server had not all that it was asked for before
 * it, and does not say so before it has done the rest. */
static bool is_early(struct carry *c, enum pipeline_event event)
{
    const struct source *heard = c->reading;
    uint32_t uid = c->sources_n > 1 && !c->is_coming ? carry_uid_of(c, event) : 0;
    struct window *its = NULL;

    if (uid == 0)
        return false;
    list_for_each (it, &c->windows) {
        its = CONTAINER(it, struct window, node);
        if (its->from == heard && has_item(its, uid))
            break;
        its = NULL;
    }
    if (!its)
        return false;
    for (struct list *it = its->node.prev; it != &c->windows; it = it->prev) {
        struct window *before = CONTAINER(it, struct window, node);

        before->is_passed |= before->from == heard;
    }
    carry_turn_to_source(c);
    return c->reading != heard;
}

enum link_event carry_step_source(struct carry *c, enum pipeline_event *out_event)
{
    for (;;) {
        struct source *s;
        enum link_event step;

        carry_turn_to_source(c);
        s = c->reading;
        if (s->is_holding) {
            s->is_holding = false;
            *out_event = s->held;
            return LINK_EVENT;
        }
        step = link_step(s->link, out_event);
        if (step != LINK_EVENT || !is_early(c, *out_event))
            return step;
        s->is_holding = true;
        s->held = *out_event;
    }
}

bool carry_take_in(struct carry *c)
{
    for (size_t i = 0; i < c->sources_n; i++) {
        struct source *s = &c->sources[i];

        s->has_room = false;
        if (s->is_lost || s == c->reading || s->is_holding || s->windows_n == 0)
            continue;
        if (link_take_in(s->link, &s->has_room) < 0 && !carry_lose(c, s))
            return false;
    }
    return true;
}

bool carry_flush_sources(struct carry *c)
{
    for (size_t i = 0; i < c->sources_n; i++) {
        struct source *s = &c->sources[i];

        if (!s->is_lost && link_flush(s->link) < 0 && !carry_lose(c, s))
            return false;
    }
    return true;
}

/* A wait has failed: false, unless it was for a link that we can do without. */
static bool lose_broken(struct carry *c)
{
    bool is_any = false;

    if (!link_is_open(c->p->to))
        return false;
    for (size_t i = 0; i < c->sources_n; i++) {
        struct source *s = &c->sources[i];

        if (s->is_lost || link_is_open(s->link))
            continue;
        if (!carry_lose(c, s))
            return false;
        is_any = true;
    }
    return is_any;
}

bool carry_wait(struct carry *c, bool wants_source, uint32_t wait_ms)
{
    struct link_wanting wanting[SYNC_LANES + 1] = {{.link = c->p->to, .wants_in = true}};
    size_t n = 1;

    for (size_t i = 0; i < c->sources_n; i++) {
        const struct source *s = &c->sources[i];

        if (s == c->reading)
            wanting[n++] = (struct link_wanting){.link = s->link, .wants_in = wants_source};
        else if (!s->is_lost && s->windows_n > 0)
            wanting[n++] =
                (struct link_wanting){.link = s->link, .wants_in = s->has_room, .is_ahead = true};
    }
    return link_wait(wanting, n, wait_ms) == 0 || lose_broken(c);
}

/* --- asking again ----------------------------------------------------------------------------- */

/* What is to be asked for again already, and comes behind what is more of that now. */
struct later {
    struct item *items;
    size_t first, n;
};

static struct later put_off(struct carry *c)
{
    struct later later = {.items = c->again, .first = c->again_first, .n = c->again_n};

    c->again = NULL;
    c->again_first = c->again_n = c->again_cap = 0;
    return later;
}

static bool put_back(struct carry *c, struct later later)
{
    bool is_good = true;

    for (size_t i = later.first; i < later.n && is_good; i++)
        is_good = carry_again(c, later.items[i]);
    free(later.items);
    return is_good;
}

/* The held message is asked for again, and passed over as it comes. */
static bool again_held(struct carry *c)
{
    if (!c->is_held)
        return true;
    c->is_held = false;
    c->is_skipped = true;
    return carry_again(c, c->item);
}

/* So is what has not come of the windows from `it` on. */
static bool again_windows(struct carry *c, struct list *it)
{
    for (; it != &c->windows; it = it->next) {
        struct window *w = CONTAINER(it, struct window, node);

        for (size_t i = 0; i < w->n; i++) {
            if (!w->has_come[i] && !carry_again(c, w->items[i]))
                return false;
            carry_has_come(c, w, i);
        }
        c->dropped_n += !w->is_dropped;
        w->is_dropped = true;
    }
    return true;
}

bool carry_rewind(struct carry *c, const struct batch *b, size_t limit)
{
    struct later later = put_off(c);
    bool is_good = true;

    for (size_t i = 0; i < b->n && is_good; i++) {
        struct item item = b->sent[i].item;

        item.limit = (uint16_t)limit;
        is_good = carry_again(c, item);
    }
    is_good = is_good && again_held(c) && again_windows(c, c->windows.next);
    return put_back(c, later) && is_good;
}

/* --- losing a link ---------------------------------------------------------------------------- */

static bool may_lose(const struct carry *c, const struct source *s)
{
    enum link_trouble trouble = link_trouble(s->link);
    bool is_begun = s == c->reading && c->is_coming && !c->is_held && !c->is_skipped;

    /* The target has a part of what has begun, and can be given nothing else in its place. */
    return s != c->sources && trouble != LINK_STOPPED && trouble != LINK_OURS && !is_begun;
}

/* The first of its windows; the end of the list if it has none. */
static struct list *first_window(struct carry *c, const struct source *s)
{
    list_for_each (it, &c->windows) {
        if (CONTAINER(it, struct window, node)->from == s)
            return it;
    }
    return &c->windows;
}

bool carry_lose(struct carry *c, struct source *s)
{
    struct later later;
    bool is_good = true;

    if (!may_lose(c, s))
        return false;
    later = put_off(c);
    if (s == c->reading) {
        is_good = again_held(c);
        c->is_coming = c->is_whole = c->is_unnamed = false;
        c->pending = (struct slice){0};
    }
    is_good = is_good && again_windows(c, first_window(c, s));
    is_good = put_back(c, later) && is_good;
    list_for_each_safe (it, &c->windows) {
        struct window *w = CONTAINER(it, struct window, node);

        if (w->from == s)
            carry_window_free(c, w);
    }
    s->is_lost = true;
    s->is_holding = false;
    c->lost_n++;
    carry_turn_to_source(c);
    sync_log(c->p->sync, "one connection to the source less: %s", link_error(s->link));
    return is_good;
}
