/* Commands and their answers, one after the other or pipelined, with literals that the server has
 * to ask for; and COMPRESS. See sync/link.h. */
#include "sync/link_parts.h"

#include "imap/data.h"
#include "net/deflate.h"

#include <errno.h>
#include <stdlib.h>

enum {
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
    return c->next < c->n && c->out_n < PIPELINE_COMMANDS &&
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

static int on_tagged(struct calls *c)
{
    const struct response *r = pipeline_response(c->p);
    struct link_answer answer = {.kind = r->kind, .text = r->text};
    uint32_t id = pipeline_command_id(c->p);
    struct err err;
    size_t i;

    link_answered_now(c->l);
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
    return c->next == c->n && c->out_n == 0 && !pipeline_is_open(c->p);
}

/* Puts, sends, and takes in what has come, or waits for it. */
static int turn(struct calls *c)
{
    struct link_wanting wanting = {.link = c->l, .wants_in = true};
    enum pipeline_event event;

    if (put(c) < 0 || link_flush(c->l) < 0)
        return -1;
    if (is_over(c))
        return 0; /* what was refused at its beginning is sent to its end now */
    switch (link_step(c->l, &event)) {
    case LINK_WAIT:
        return may_put(c) ? 0 : link_wait(&wanting, 1, UINT32_MAX);
    case LINK_EVENT:
        if (++c->events % EVENTS_A_LOOK == 0 && link_stops(c->l))
            return -1;
        return on_event(c, event);
    case LINK_FAILED:
        return -1;
    }
    return -1;
}

int link_calls(struct link *l, const struct slice *commands, size_t n, link_data *on_data,
               link_answered *on_answer, void *arg, struct err *err)
{
    struct calls c = {.l = l,
                      .p = l->pipeline,
                      .commands = commands,
                      .n = n,
                      .on_data = on_data,
                      .on_answer = on_answer,
                      .arg = arg};
    int done = 0;

    if (!link_is_open(l) || link_stops(l))
        return link_tell(l, err);
    INSIST(pipeline_waiting(l->pipeline) == 0 && !pipeline_is_open(l->pipeline));
    buf_init(&c.piece, COMMAND_MOST, false);
    while (done == 0 && !is_over(&c))
        done = turn(&c);
    buf_release(&c.piece);
    return done < 0 ? link_tell(l, err) : 0;
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
