/* Digests of headers and bodies; see sync/look.h.
 *
 * A body comes in pieces and goes into an identity_reader. Its UID may come before it or behind it:
 * so whose it is is known at the end of the response.
 */
#include "sync/look.h"

#include "base/room.h"
#include "sync/identity.h"
#include "sync/look_parts.h"

#include <errno.h>
#include <stdlib.h>

/* How many a command asks for. Of bodies fewer, as the whole set may have to be asked for again. */
enum { HEADERS = 1000, BODIES = 200 };

/* A part of the UIDs. */
struct span {
    size_t from, to;
};

struct digesting {
    struct link *link;
    const uint32_t *uids;
    size_t n;
    bool with_bodies;
    look_digested *told;
    void *arg;
    unsigned char *is_told; /* a bit for each */
    struct identity_reader *reader;
    struct look_room room;

    /* The response that is coming. */
    uint32_t uid; /* 0: not yet known */
    bool is_in;   /* behind a body of it */
    bool reads;   /* the body that comes is the one we want */
    bool has_digest;
    struct identity_digest digest;

    /* What is to be asked for: first these, which were refused together with others, then all from
     * `next` on. */
    struct span *again;
    size_t again_n, again_cap;
    size_t next;
    struct look_commands commands;
    struct span asked[LOOK_COMMANDS]; /* by each of these */
    bool has_failed[LOOK_COMMANDS];
};

static bool is_told(const struct digesting *d, size_t i)
{
    return d->is_told[i / 8] >> i % 8 & 1;
}

/* --- what comes ------------------------------------------------------------------------------- */

static void begin_digest(struct digesting *d)
{
    identity_begin(d->reader,
                   d->with_bodies ? IDENTITY_HEAD | IDENTITY_RAW | IDENTITY_TEXT : IDENTITY_HEAD);
}

static void end_digest(struct digesting *d)
{
    identity_end(d->reader, &d->digest);
    d->has_digest = true;
}

/* A response is over. */
static int tell(struct digesting *d, struct err *err)
{
    struct look_digest digest = {.uid = d->uid,
                                 .size = d->digest.size,
                                 .head = d->digest.head,
                                 .is_weak = d->digest.is_weak,
                                 .raw = d->digest.raw,
                                 .text = d->digest.text};
    size_t i = look_index(d->uids, d->n, d->uid);
    bool has_digest = d->has_digest;

    d->uid = 0;
    d->is_in = d->reads = d->has_digest = false;
    if (!has_digest || i == d->n || is_told(d, i))
        return 0;
    d->is_told[i / 8] |= (unsigned char)(1 << i % 8);
    return d->told(d->arg, &digest, err);
}

static bool is_wanted(const struct digesting *d, const struct data_fetch *f)
{
    return f->told & FETCH_BODY &&
           slice_ieq(f->section, d->with_bodies ? SLICE("") : SLICE("HEADER"));
}

/* The text before a body, or behind the last one; nothing is told by what is no FETCH. */
static int read_text(struct digesting *d, struct slice text, bool is_partial,
                     struct data_fetch *out, struct err *err)
{
    char *to = look_room(&d->room, text.n);

    if (!to)
        return err_sys(err, ENOMEM, "cannot read what the server tells of a message");
    *out = (struct data_fetch){0};
    if (d->is_in ? !data_fetch_rest(text, to, out) : !data_fetch(text, is_partial, to, out))
        *out = (struct data_fetch){0};
    if (out->told & FETCH_UID)
        d->uid = out->uid;
    return 0;
}

static int on_body(struct digesting *d, struct pipeline *p, struct err *err)
{
    struct data_fetch f;

    if (read_text(d, pipeline_head(p), true, &f, err) < 0)
        return -1;
    d->is_in = true;
    d->reads = is_wanted(d, &f) && !d->has_digest;
    if (d->reads)
        begin_digest(d);
    return 0;
}

/* The end of a response that had bodies, or one that has its body as a quoted string. */
static int on_fetch(struct digesting *d, struct pipeline *p, struct err *err)
{
    struct data_fetch f;

    if (read_text(d, pipeline_response(p)->text, false, &f, err) < 0)
        return -1;
    if (!d->has_digest && is_wanted(d, &f) && !f.is_nil) {
        begin_digest(d);
        identity_add(d->reader, f.body);
        end_digest(d);
    }
    return tell(d, err);
}

static int on_digesting(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct digesting *d = arg;

    if (event == PIPELINE_BODY)
        return on_body(d, p, err);
    if (event == PIPELINE_BYTES && d->reads)
        identity_add(d->reader, pipeline_bytes(p));
    if (event == PIPELINE_BODY_END && d->reads) {
        d->reads = false;
        end_digest(d);
    }
    if (event == PIPELINE_DATA && (pipeline_is_rest(p) || look_is_data(p, event, SLICE("FETCH"))))
        return on_fetch(d, p, err);
    return 0;
}

static int on_digested(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    struct digesting *d = arg;

    (void)err;
    d->has_failed[i] = answer->kind != RESPONSE_OK;
    return 0;
}

/* --- asking ----------------------------------------------------------------------------------- */

/* UIDs of a span that were not told, in *out (room for as many as it is long). */
static size_t untold(const struct digesting *d, struct span span, uint32_t *out)
{
    size_t n = 0;

    for (size_t i = span.from; i < span.to; i++) {
        if (!is_told(d, i))
            out[n++] = d->uids[i];
    }
    return n;
}

/* Writes a command for as many of the span as it has room for, which *span then is; none if all of
 * it was told, unasked. */
static int put_span(struct digesting *d, struct span *span, struct err *err)
{
    uint32_t uids[HEADERS];
    struct look_commands *c = &d->commands;
    size_t most = d->with_bodies ? BODIES : HEADERS, n, taken;

    if (span->to - span->from > most)
        span->to = span->from + most;
    n = untold(d, *span, uids);
    if (n == 0)
        return 0;
    if (buf_puts(&c->text, "UID FETCH ") < 0 || look_put_set(c, uids, n, most, &taken, err) < 0 ||
        buf_puts(&c->text, d->with_bodies ? " (BODY.PEEK[])" : " (BODY.PEEK[HEADER])") < 0)
        return err_sys(err, ENOMEM, "cannot ask for messages");
    if (taken < n)
        span->to = look_index(d->uids, d->n, uids[taken]);
    d->asked[c->n] = *span;
    look_commands_end(c);
    return 0;
}

static int ask_again(struct digesting *d, struct span span, struct err *err)
{
    struct span *again = room_for_one(d->again, d->again_n, &d->again_cap, sizeof *again);

    if (!again)
        return err_sys(err, ENOMEM, "cannot ask for messages");
    d->again = again;
    d->again[d->again_n++] = span;
    return 0;
}

/* Refused: what was not told all the same is asked for in halves. */
static int halve(struct digesting *d, struct span span, struct err *err)
{
    uint32_t uids[HEADERS];
    size_t n = untold(d, span, uids), middle;

    if (n < 2)
        return 0;
    middle = look_index(d->uids, d->n, uids[n / 2]);
    if (ask_again(d, (struct span){middle, span.to}, err) < 0)
        return -1;
    return ask_again(d, (struct span){span.from, middle}, err);
}

/* Fills d->commands. */
static int choose(struct digesting *d, struct err *err)
{
    struct look_commands *c = &d->commands;

    look_commands_clear(c);
    while (c->n < LOOK_COMMANDS && d->again_n > 0) {
        struct span all = d->again[--d->again_n], span = all;

        if (put_span(d, &span, err) < 0 ||
            (span.to < all.to && ask_again(d, (struct span){span.to, all.to}, err) < 0))
            return -1;
    }
    while (c->n < LOOK_COMMANDS && d->next < d->n) {
        struct span span = {d->next, d->n};

        if (put_span(d, &span, err) < 0)
            return -1;
        d->next = span.to;
    }
    return 0;
}

static bool has_more(const struct digesting *d)
{
    return d->next < d->n || d->again_n > 0;
}

/* What is to be asked of each link next; asks it of all at once, and heeds what was refused. */
static int digest_some(struct digesting *all, size_t n, struct err *err)
{
    struct slice commands[LOOK_LINKS][LOOK_COMMANDS];
    struct link_batch batches[LOOK_LINKS];
    size_t used = 0;

    for (size_t i = 0; i < n; i++) {
        struct digesting *d = &all[i];

        if (choose(d, err) < 0)
            return -1;
        for (size_t k = 0; k < d->commands.n; k++)
            commands[i][k] = look_command(&d->commands, k);
        if (d->commands.n > 0)
            batches[used++] = (struct link_batch){d->link,      commands[i], d->commands.n,
                                                  on_digesting, on_digested, d};
    }
    if (used > 0 && link_calls_all(batches, used, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < all[i].commands.n; k++) {
            if (all[i].has_failed[k] && halve(&all[i], all[i].asked[k], err) < 0)
                return -1;
        }
    }
    return 0;
}

static int digest_all(struct digesting *all, size_t n, struct err *err)
{
    bool goes_on = true;

    while (goes_on) {
        if (digest_some(all, n, err) < 0)
            return -1;
        goes_on = false;
        for (size_t i = 0; i < n; i++)
            goes_on |= has_more(&all[i]);
    }
    return 0;
}

static int digesting_begin(struct digesting *d, const struct look_digesting *w, struct err *err)
{
    *d = (struct digesting){.link = w->link,
                            .uids = w->uids,
                            .n = w->n,
                            .with_bodies = w->with_bodies,
                            .told = w->told,
                            .arg = w->arg,
                            .is_told = calloc(w->n / 8 + 1, 1),
                            .reader = identity_reader_new()};
    look_commands_init(&d->commands);
    if (!d->is_told || !d->reader)
        return err_sys(err, ENOMEM, "cannot read messages");
    return 0;
}

static void digesting_end(struct digesting *d)
{
    look_commands_free(&d->commands);
    identity_reader_free(&d->reader);
    free(d->is_told);
    free(d->again);
    free(d->room.p);
}

int look_digests_all(const struct look_digesting *all, size_t n, struct err *err)
{
    struct digesting digesting[LOOK_LINKS];
    size_t begun = 0;
    int result = 0;

    INSIST(n <= LOOK_LINKS);
    while (begun < n && result == 0) {
        result = digesting_begin(&digesting[begun], &all[begun], err);
        begun++;
    }
    if (result == 0)
        result = digest_all(digesting, n, err);
    for (size_t i = 0; i < begun; i++)
        digesting_end(&digesting[i]);
    return result;
}

int look_digests(struct link *l, const uint32_t *uids, size_t n, bool with_bodies,
                 look_digested *told, void *arg, struct err *err)
{
    const struct look_digesting one = {l, uids, n, with_bodies, told, arg};

    return look_digests_all(&one, 1, err);
}
