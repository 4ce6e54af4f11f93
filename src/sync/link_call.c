/* Commands and their answers, one after the other or pipelined, with literals that the server has
 * to ask for; and COMPRESS. See sync/link.h. */
#include "sync/link_parts.h"

#include "imap/data.h"
#include "net/deflate.h"

#include <errno.h>
#include <stdlib.h>

enum {
    LINKS_MOST = 4,           /* that are called side by side */
    COMMAND_LEAST = 256,      /* room in the output, to begin a command */
    EVENTS_A_LOOK = 64,       /* at whether to stop, while a server talks without a breath */
    COMMAND_MOST = INT32_MAX, /* bytes of one; its owner bounds it */
    WIRE_BUFFER = 64 * 1024,
};

struct call {
    uint32_t id; /* the pipeline's */
    size_t i;    /* the caller's */
};

struct calls {
    struct link *l;
    struct pipeline *p;
    const struct slice *commands;
    size_t n, next; /* the first that was not begun */
    link_data *on_data;
    link_answered *on_answer;
    void *arg;

    struct call out[PIPELINE_COMMANDS]; /* without an answer */
    size_t out_n;
    unsigned events;
    uint32_t enable_id; /* of an ENABLE that goes ahead of them; 0: none is out */
    bool has_enabled;   /* the server tells of QRESYNC */

    /* The command that is being put, if pipeline_is_open(). */
    uint32_t open_id;
    struct buf piece;  /* what may be sent of it */
    struct slice rest; /* behind that */
    size_t literal;    /* how much of this the server has to ask for */
    bool has_rest;     /* the server has to ask */
    bool is_answered;  /* it has refused, before all was there */
};

/* --- sending ---------------------------------------------------------------------------------- */

/* The next piece of a command. */
static int cut(struct calls *c)
{
    int done = link_cut(&c->rest, &c->literal, link_nonsync_max(c->l), &c->piece);

    if (done < 0)
        return link_fail(c->l, LINK_OURS, "a command that cannot be sent");
    c->has_rest = done > 0;
    return 0;
}

static bool may_begin(struct calls *c)
{
    return c->next < c->n && pipeline_waiting(c->p) < PIPELINE_COMMANDS &&
           buf_left(pipeline_out(c->p)) >= COMMAND_LEAST;
}

static int begin(struct calls *c)
{
    c->rest = c->commands[c->next];
    c->literal = 0;
    c->is_answered = false;
    if (cut(c) < 0)
        return -1;
    if (pipeline_open(c->p, SLICE(""), &c->open_id) < 0)
        return link_fail(c->l, LINK_OURS, "no memory for a command");
    if (c->next == 0)
        link_asked(c->l);
    c->out[c->out_n++] = (struct call){c->open_id, c->next++};
    return 0;
}

/* Puts what there is room for. True: the command is whole. */
static bool put_open(struct calls *c)
{
    struct slice piece = slice_sub(buf_slice(&c->piece), 0, buf_left(pipeline_out(c->p)));

    if (piece.n > 0 && pipeline_put_raw(c->p, piece) == 0)
        buf_take(&c->piece, piece.n);
    if (buf_len(&c->piece) > 0)
        return false;
    if (!c->has_rest)
        return pipeline_close(c->p) == 0;
    if (!c->is_answered)
        return false;
    pipeline_drop(c->p);
    return true;
}

/* Whether there is something to be put, and enough room that it is worth while. */
static bool may_put(struct calls *c)
{
    const struct buf *out = pipeline_out(c->p);

    if (!pipeline_is_open(c->p))
        return may_begin(c);
    return (buf_len(&c->piece) > 0 || !c->has_rest) && buf_left(out) >= buf_len(out);
}

static int put(struct calls *c)
{
    while (pipeline_is_open(c->p) || may_begin(c)) {
        if (!pipeline_is_open(c->p) && begin(c) < 0)
            return -1;
        if (!put_open(c))
            return 0;
    }
    return 0;
}

/* --- answers ---------------------------------------------------------------------------------- */

static int on_plus(struct calls *c)
{
    bool is_asked = pipeline_is_open(c->p) && buf_len(&c->piece) == 0 && c->has_rest &&
                    pipeline_command_id(c->p) == c->open_id;

    if (!is_asked)
        return 0;
    link_answered_now(c->l);
    return cut(c);
}

static size_t take_call(struct calls *c, uint32_t id)
{
    size_t at = 0, i;

    while (c->out[at].id != id) {
        at++;
        INSIST(at < c->out_n);
    }
    i = c->out[at].i;
    c->out[at] = c->out[--c->out_n];
    return i;
}

/* The caller wants no more: what is still to come belongs to nobody. */
static int give_up(struct calls *c, const struct err *err)
{
    (void)link_fail(c->l, LINK_BROKEN, "%s", err->text);
    return -1;
}

/* --- QRESYNC ---------------------------------------------------------------------------------- */

/* ENABLE has to come before the first mailbox is opened (RFC 5161 section 3.1), so it goes ahead of
 * the first command of a connection, in the same round trip. Only a server that says by ENABLED
 * that it does it is taken to do it; that it refuses is no error. */
static void put_enable(struct calls *c)
{
    if (!c->l->wants_qresync || c->n == 0)
        return;
    c->l->wants_qresync = false;
    if (pipeline_put(c->p, SLICE("ENABLE QRESYNC"), &c->enable_id) < 0)
        c->enable_id = 0;
}

static bool is_enabled(const struct calls *c, enum pipeline_event event)
{
    const struct response *r;

    if (c->enable_id == 0 || event != PIPELINE_DATA || pipeline_is_rest(c->p))
        return false;
    r = pipeline_response(c->p);
    return r->kind == RESPONSE_DATA && slice_ieq(r->word, SLICE("ENABLED"));
}

bool link_has_qresync(const struct link *l)
{
    return l->has_qresync;
}

void link_doubt_qresync(struct link *l)
{
    l->has_qresync = false;
}

/* --- what comes ------------------------------------------------------------------------------- */

static int on_tagged(struct calls *c)
{
    const struct response *r = pipeline_response(c->p);
    struct link_answer answer = {.kind = r->kind, .text = r->text};
    uint32_t id = pipeline_command_id(c->p);
    struct err err;
    size_t i;

    link_answered_now(c->l);
    if (id == c->enable_id) {
        c->l->has_qresync = c->has_enabled && r->kind == RESPONSE_OK;
        c->enable_id = 0;
        return 0;
    }
    if (pipeline_is_open(c->p) && id == c->open_id)
        c->is_answered = true;
    (void)data_code(r->text, &answer.code, &answer.arguments);
    i = take_call(c, id);
    if (!c->on_answer || c->on_answer(c->arg, i, &answer, &err) == 0)
        return 0;
    return give_up(c, &err);
}

static int take_data(struct calls *c, enum pipeline_event event)
{
    struct err err;

    if (is_enabled(c, event)) {
        c->has_enabled |= data_has_word(pipeline_response(c->p)->text, SLICE("QRESYNC"));
        return 0;
    }
    if (!c->on_data || c->on_data(c->arg, c->p, event, &err) == 0)
        return 0;
    return give_up(c, &err);
}

static int on_event(struct calls *c, enum pipeline_event event)
{
    switch (event) {
    case PIPELINE_PLUS:
        return on_plus(c);
    case PIPELINE_TAGGED:
        return on_tagged(c);
    case PIPELINE_DATA:
    case PIPELINE_BODY:
    case PIPELINE_BYTES:
    case PIPELINE_BODY_END:
        return take_data(c, event);
    case PIPELINE_MORE:
    case PIPELINE_FAILED:
        break;
    }
    return -1; /* link_step() does not hand these over */
}

/* --- calls ------------------------------------------------------------------------------------ */

static bool is_over(const struct calls *c)
{
    return c->next == c->n && c->out_n == 0 && c->enable_id == 0 && !pipeline_is_open(c->p);
}

enum turn { TURN_AGAIN, TURN_WAITS, TURN_OVER, TURN_FAILED };

/* Puts, sends, and takes in one thing that has come. */
static enum turn turn(struct calls *c)
{
    enum pipeline_event event;

    if (put(c) < 0 || link_flush(c->l) < 0)
        return TURN_FAILED;
    if (is_over(c))
        return TURN_OVER; /* what was refused at its beginning is sent to its end now */
    switch (link_step(c->l, &event)) {
    case LINK_WAIT:
        return may_put(c) ? TURN_AGAIN : TURN_WAITS;
    case LINK_EVENT:
        if (++c->events % EVENTS_A_LOOK == 0 && link_stops(c->l))
            return TURN_FAILED;
        return on_event(c, event) < 0 ? TURN_FAILED : TURN_AGAIN;
    case LINK_FAILED:
        break;
    }
    return TURN_FAILED;
}

/* One turn of each that is not done. *left is how many are not done then; those of them that can
 * but wait are in `waiting`, and how many these are is returned. */
static size_t turn_all(struct calls *all, bool *is_done, size_t n, struct link_wanting *waiting,
                       size_t *left)
{
    size_t waiting_n = 0;

    *left = 0;
    for (size_t i = 0; i < n; i++) {
        enum turn now = is_done[i] ? TURN_OVER : turn(&all[i]);

        is_done[i] = now == TURN_OVER || now == TURN_FAILED;
        *left += !is_done[i];
        if (now == TURN_WAITS)
            waiting[waiting_n++] = (struct link_wanting){.link = all[i].l, .wants_in = true};
    }
    return waiting_n;
}

/* To the end of each. A wait that fails is told by the next turn, of whichever link it is; the
 * others go on, since nobody could call them while answers are still to come. */
static void run_all(struct calls *all, size_t n)
{
    struct link_wanting waiting[LINKS_MOST];
    bool is_done[LINKS_MOST] = {false};
    size_t left;

    do {
        size_t waiting_n = turn_all(all, is_done, n, waiting, &left);

        if (left > 0 && waiting_n == left)
            (void)!link_wait(waiting, waiting_n, UINT32_MAX);
    } while (left > 0);
}

int link_calls_all(const struct link_batch *batches, size_t n, struct err *err)
{
    struct calls all[LINKS_MOST];
    int done = 0;

    INSIST(n <= LINKS_MOST);
    for (size_t i = 0; i < n; i++) {
        if (!link_is_open(batches[i].link) || link_stops(batches[i].link))
            return link_tell(batches[i].link, err);
    }
    for (size_t i = 0; i < n; i++) {
        const struct link_batch *b = &batches[i];
        struct pipeline *p = b->link->pipeline;

        INSIST(pipeline_waiting(p) == 0 && !pipeline_is_open(p));
        all[i] = (struct calls){.l = b->link,
                                .p = p,
                                .commands = b->commands,
                                .n = b->n,
                                .on_data = b->on_data,
                                .on_answer = b->on_answer,
                                .arg = b->arg};
        buf_init(&all[i].piece, COMMAND_MOST, false);
        put_enable(&all[i]);
    }
    run_all(all, n);
    for (size_t i = n; i > 0; i--) {
        buf_release(&all[i - 1].piece);
        if (!link_is_open(all[i - 1].l))
            done = link_tell(all[i - 1].l, err);
    }
    return done;
}

int link_calls(struct link *l, const struct slice *commands, size_t n, link_data *on_data,
               link_answered *on_answer, void *arg, struct err *err)
{
    const struct link_batch batch = {l, commands, n, on_data, on_answer, arg};

    return link_calls_all(&batch, 1, err);
}

/* One call: its answer, and whom to tell of the rest. */
struct single {
    struct link *l;
    link_data *on_data;
    void *arg;
    struct link_answer answer;
};

static int single_data(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    const struct single *s = arg;

    return s->on_data ? s->on_data(s->arg, p, event, err) : 0;
}

/* A copy: when the server has refused the beginning of a command, its rest is still to be sent. */
static int single_answer(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    struct single *s = arg;
    struct buf *text = &s->l->answer;

    (void)i;
    buf_take(text, buf_len(text));
    if (buf_put(text, answer->text) < 0)
        return err_set(err, ENOMEM, "no memory for an answer");
    s->answer = (struct link_answer){.kind = answer->kind, .text = buf_slice(text)};
    (void)data_code(s->answer.text, &s->answer.code, &s->answer.arguments);
    return 0;
}

int link_call(struct link *l, struct slice command, link_data *on_data, void *arg,
              struct link_answer *out_answer, struct err *err)
{
    struct single s = {.l = l, .on_data = on_data, .arg = arg};

    if (link_calls(l, &command, 1, single_data, single_answer, &s, err) < 0)
        return -1;
    *out_answer = s.answer;
    return 0;
}

/* --- COMPRESS --------------------------------------------------------------------------------- */

/* What came behind the answer is compressed. The answer itself stays where it is: the pipeline's
 * next step takes it. */
static int take_compressed(struct link *l)
{
    struct buf *in = pipeline_in(l->pipeline);
    struct slice all = buf_slice(in), text = pipeline_response(l->pipeline)->text;
    size_t n = (size_t)(text.p + text.n + 2 - all.p);
    struct slice rest = slice_sub(all, n, all.n);
    char *copy = slice_dup(slice_sub(all, 0, n));

    if (!copy || (rest.n > 0 && buf_put(&l->wire_in, rest) < 0)) {
        free(copy);
        return link_fail(l, LINK_OURS, "no memory for COMPRESS");
    }
    l->count.in -= rest.n;
    l->may_inflate = rest.n > 0;
    buf_take(in, all.n);
    INSIST(buf_put(in, slice_of(copy, n)) == 0);
    free(copy);
    return 0;
}

int link_compress(struct link *l, bool *out_is_on, struct err *err)
{
    struct link_answer answer;

    *out_is_on = l->deflate != NULL;
    if (l->deflate || !link_offers(l, "COMPRESS=DEFLATE"))
        return 0;
    if (link_call(l, SLICE("COMPRESS DEFLATE"), NULL, NULL, &answer, err) < 0)
        return -1;
    if (answer.kind != RESPONSE_OK)
        return 0;
    l->deflate = deflate_new();
    buf_init(&l->wire_in, WIRE_BUFFER, false);
    buf_init(&l->wire_out, WIRE_BUFFER, false);
    if (!l->deflate)
        (void)link_fail(l, LINK_OURS, "no memory for COMPRESS");
    if (l->trouble != LINK_FINE || take_compressed(l) < 0)
        return link_tell(l, err);
    *out_is_on = true;
    return 0;
}
