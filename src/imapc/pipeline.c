/* Commands in flight and what comes back; see imapc/pipeline.h.
 *
 * What an event points to lies at the front of `in`, and is taken by the next step. So a body needs
 * no place of its own, and what is left when more has to be read is never more than the beginning
 * of one response. */
#include "imapc/pipeline.h"

#include "base/num.h"
#include "imap/data.h"
#include "imap/frame.h"
#include "imap/lex.h"
#include "imapc/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A tag is this and the command's id. */
enum { TAG_LETTER = 'S', MAX_TAG = 12 };

enum reading { READING_RESPONSE, READING_BODY, READING_NOTHING };

struct pipeline {
    struct buf in, out;
    struct frame frame; /* of the response, or of the part of it behind a body */
    size_t max_response;
    size_t to_take; /* bytes at the front of `in` that the event has told */
    enum reading reading;
    enum pipeline_event event; /* the last */

    /* the response that is being read */
    bool is_fetch;  /* known from the first literal of a frame on */
    bool has_body;  /* one was cut out of it */
    size_t text_at; /* where the text begins in the frame; likewise */
    uint64_t body_n, body_left;

    /* for the caller */
    struct response response;
    uint32_t number;
    bool is_rest;
    struct slice head, bytes;
    bool is_bye;

    uint32_t commands[PIPELINE_COMMANDS]; /* ids of those without an answer, in order */
    size_t commands_n;
    uint32_t last_id;
    uint32_t answered_id; /* of the last answer or "+" */
    uint32_t open_id;     /* 0: none */
    char failure[IMAPC_MAX_FAILURE];
};

static enum pipeline_event fail(struct pipeline *p, const char *words, struct slice said)
{
    p->reading = READING_NOTHING;
    imapc_put_words(p->failure, words, said);
    return PIPELINE_FAILED;
}

/* ---- Commands ---- */

static size_t find_command(const struct pipeline *p, uint32_t id)
{
    size_t i = 0;

    while (i < p->commands_n && p->commands[i] != id)
        i++;
    return i;
}

/* Its place among the commands; commands_n when it is none of them. */
static size_t find_tag(const struct pipeline *p, struct slice tag)
{
    struct slice digits = slice_sub(tag, 1, tag.n);
    uint64_t id;

    if (tag.p[0] != TAG_LETTER || !num_parse(digits, UINT32_MAX, &id) || digits.p[0] == '0')
        return p->commands_n;
    return find_command(p, (uint32_t)id);
}

static int put_command(struct pipeline *p, struct slice command, struct slice end, uint32_t *out_id)
{
    char tag[MAX_TAG + 1];
    size_t tag_n;

    if (p->open_id != 0 || p->commands_n == PIPELINE_COMMANDS || p->last_id == UINT32_MAX)
        return -1;
    tag_n = (size_t)snprintf(tag, sizeof(tag), "%c%u ", TAG_LETTER, p->last_id + 1);
    if (!buf_room(&p->out, tag_n + command.n + end.n))
        return -1;
    INSIST(buf_put(&p->out, slice_of(tag, tag_n)) == 0 && buf_put(&p->out, command) == 0 &&
           buf_put(&p->out, end) == 0);
    p->commands[p->commands_n++] = *out_id = ++p->last_id;
    return 0;
}

int pipeline_put(struct pipeline *p, struct slice command, uint32_t *out_id)
{
    return put_command(p, command, SLICE("\r\n"), out_id);
}

int pipeline_open(struct pipeline *p, struct slice begin, uint32_t *out_id)
{
    if (put_command(p, begin, SLICE(""), out_id) < 0)
        return -1;
    p->open_id = *out_id;
    return 0;
}

int pipeline_put_raw(struct pipeline *p, struct slice bytes)
{
    INSIST(p->open_id != 0);
    return buf_put(&p->out, bytes);
}

int pipeline_close(struct pipeline *p)
{
    INSIST(p->open_id != 0);
    if (buf_puts(&p->out, "\r\n") < 0)
        return -1;
    p->open_id = 0;
    return 0;
}

void pipeline_drop(struct pipeline *p)
{
    INSIST(p->open_id != 0 && find_command(p, p->open_id) == p->commands_n);
    p->open_id = 0;
}

bool pipeline_is_open(const struct pipeline *p)
{
    return p->open_id != 0;
}

size_t pipeline_waiting(const struct pipeline *p)
{
    return p->commands_n;
}

/* ---- Responses ---- */

/* "12 FETCH (...": the word is FETCH. False when a number has no word. */
static bool split_number(struct response *r, uint32_t *out_number)
{
    struct lex l = lex_start(r->text);
    uint64_t number;

    *out_number = 0;
    if (r->kind != RESPONSE_DATA || !num_parse(r->word, UINT64_MAX, &number))
        return true;
    if (number > UINT32_MAX || !lex_atom(&l, &r->word) || (l.s.n > 0 && !lex_sp(&l)))
        return false;
    *out_number = (uint32_t)number;
    r->text = l.s;
    return true;
}

static bool parse(struct pipeline *p, struct slice frame)
{
    if (!p->has_body)
        return response_parse(frame, &p->response) && split_number(&p->response, &p->number);
    p->response = (struct response){.kind = RESPONSE_DATA, .word = SLICE("FETCH")};
    return response_rest(frame, &p->response.text);
}

static enum pipeline_event on_plus(struct pipeline *p)
{
    if (p->commands_n == 0)
        return PIPELINE_MORE;
    p->answered_id = p->open_id != 0 ? p->open_id : p->commands[0];
    return PIPELINE_PLUS;
}

static enum pipeline_event on_tagged(struct pipeline *p, struct slice frame)
{
    size_t i = find_tag(p, p->response.tag);

    if (i == p->commands_n)
        return fail(p, "the server answers what was not asked", frame);
    p->answered_id = p->commands[i];
    p->commands_n--;
    memmove(p->commands + i, p->commands + i + 1, (p->commands_n - i) * sizeof(p->commands[0]));
    return PIPELINE_TAGGED;
}

/* MORE: it is of no use to anybody. */
static enum pipeline_event on_response(struct pipeline *p, struct slice frame)
{
    if (!parse(p, frame))
        return fail(p, "this is not IMAP", frame);
    if (p->response.kind == RESPONSE_CONTINUE)
        return on_plus(p);
    if (p->response.tag.n > 0)
        return on_tagged(p, frame);
    p->is_bye |= p->response.kind == RESPONSE_BYE;
    p->is_rest = p->has_body;
    return PIPELINE_DATA;
}

static void start_response(struct pipeline *p)
{
    p->has_body = false;
    frame_start(&p->frame, FRAME_PARTS, p->max_response, 0);
}

/* ---- Literals ---- */

/* The first literal of a frame: only FETCH has bodies. `part`: up to its announcement. False: it is
 * no response. */
static bool look_for_fetch(struct pipeline *p, struct slice part)
{
    if (!parse(p, part))
        return false;
    p->is_fetch = p->number > 0 && slice_ieq(p->response.word, SLICE("FETCH"));
    p->text_at = (size_t)(p->response.text.p - part.p);
    return true;
}

static enum pipeline_event on_body(struct pipeline *p, struct slice part)
{
    uint64_t n = frame_literal(&p->frame);

    if (n > INT64_MAX)
        return fail(p, "a literal is too large", part);
    if (!parse(p, part))
        return fail(p, "this is not IMAP", part);
    p->head = slice_sub(part, p->text_at, part.n);
    p->body_n = p->body_left = n;
    p->to_take = part.n;
    p->reading = READING_BODY;
    p->has_body = true;
    frame_cut(&p->frame);
    return PIPELINE_BODY;
}

/* `part`: the frame up to its announcement. MORE: it is read as a part of the response. */
static enum pipeline_event on_literal(struct pipeline *p, struct slice part)
{
    if (p->frame.part == 0 && !look_for_fetch(p, part))
        return fail(p, "this is not IMAP", part);
    if (p->is_fetch && data_is_body(slice_sub(part, p->text_at, part.n)))
        return on_body(p, part);
    if (!frame_keep(&p->frame))
        return fail(p, "a literal is too large", part);
    return PIPELINE_MORE;
}

/* ---- The steps ---- */

static enum pipeline_event read_body(struct pipeline *p)
{
    struct slice s = buf_slice(&p->in);

    if (p->body_left == 0) {
        p->reading = READING_RESPONSE;
        return PIPELINE_BODY_END;
    }
    if (s.n == 0)
        return PIPELINE_MORE;
    p->bytes = p->body_left < s.n ? slice_sub(s, 0, (size_t)p->body_left) : s;
    p->body_left -= p->bytes.n;
    p->to_take = p->bytes.n;
    return PIPELINE_BYTES;
}

/* Goes one frame on. MORE with *out_is_dry: needs bytes; without: goes on. */
static enum pipeline_event read_frame(struct pipeline *p, bool *out_is_dry)
{
    enum frame_result result = frame_step(&p->frame, buf_slice(&p->in));
    struct slice s = slice_sub(buf_slice(&p->in), 0, frame_len(&p->frame));
    enum pipeline_event event;

    switch (result) {
    case FRAME_MORE:
        *out_is_dry = true;
        return PIPELINE_MORE;
    case FRAME_LINE_LONG:
        return fail(p, "a response is too long", s);
    case FRAME_BARE_LF:
        return fail(p, "a line ends without CR", s);
    case FRAME_LITERAL:
        return on_literal(p, s);
    case FRAME_CONTINUE: /* of commands only */
    case FRAME_LITERAL_LARGE:
        INSIST(false);
    case FRAME_WHOLE:
        break;
    }
    event = on_response(p, s);
    if (event == PIPELINE_MORE)
        buf_take(&p->in, s.n);
    else
        p->to_take = s.n;
    start_response(p);
    return event;
}

static enum pipeline_event step(struct pipeline *p)
{
    enum pipeline_event event = PIPELINE_MORE;
    bool is_dry = false;

    switch (p->reading) {
    case READING_BODY:
        return read_body(p);
    case READING_RESPONSE:
        while (event == PIPELINE_MORE && !is_dry)
            event = read_frame(p, &is_dry);
        return event;
    case READING_NOTHING:
        return PIPELINE_FAILED;
    }
    return PIPELINE_FAILED;
}

enum pipeline_event pipeline_step(struct pipeline *p)
{
    buf_take(&p->in, p->to_take);
    p->to_take = 0;
    p->event = step(p);
    return p->event;
}

/* ---- The interface ---- */

struct pipeline *pipeline_new(const struct pipeline_params *params)
{
    struct pipeline *p = calloc(1, sizeof(*p));

    INSIST(params->max_response > 0 && params->max_in >= params->max_response);
    if (!p)
        return NULL;
    p->max_response = params->max_response;
    buf_init(&p->in, params->max_in, false);
    buf_init(&p->out, params->max_out, false);
    start_response(p);
    return p;
}

void pipeline_free(struct pipeline **p)
{
    if (!*p)
        return;
    buf_release(&(*p)->in);
    buf_release(&(*p)->out);
    free(*p);
    *p = NULL;
}

struct buf *pipeline_in(struct pipeline *p)
{
    return &p->in;
}

struct buf *pipeline_out(struct pipeline *p)
{
    return &p->out;
}

uint32_t pipeline_command_id(const struct pipeline *p)
{
    INSIST(p->event == PIPELINE_TAGGED || p->event == PIPELINE_PLUS);
    return p->answered_id;
}

const struct response *pipeline_response(const struct pipeline *p)
{
    INSIST(p->event == PIPELINE_DATA || p->event == PIPELINE_TAGGED || p->event == PIPELINE_PLUS);
    return &p->response;
}

uint32_t pipeline_number(const struct pipeline *p)
{
    return p->number;
}

bool pipeline_is_rest(const struct pipeline *p)
{
    return p->event == PIPELINE_DATA && p->is_rest;
}

struct slice pipeline_head(const struct pipeline *p)
{
    INSIST(p->event == PIPELINE_BODY);
    return p->head;
}

uint64_t pipeline_body_n(const struct pipeline *p)
{
    return p->body_n;
}

struct slice pipeline_bytes(const struct pipeline *p)
{
    INSIST(p->event == PIPELINE_BYTES);
    return p->bytes;
}

bool pipeline_is_bye(const struct pipeline *p)
{
    return p->is_bye;
}

const char *pipeline_failure(const struct pipeline *p)
{
    INSIST(p->event == PIPELINE_FAILED);
    return p->failure;
}
