/* The dialogue of an IMAP client with a server; see imapc/imapc.h. Connections, TLS and time are
 * left to the caller. */
#include "imapc/state.h"

#include "imap/capability.h"
#include "imap/lex.h"
#include "imap/response.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What we send is bounded by the credentials that the caller gave. */
enum { MAX_OUT = INT32_MAX };

/* What a client is not told of; see struct imapc_answer. */
static const struct slice hidden_capabilities = SLICE("UNAUTHENTICATE");

/* ---- Capabilities ---- */

static bool is_login_sent(const struct imapc *c)
{
    return c->phase == PHASE_AUTHENTICATE || c->phase == PHASE_LOGIN ||
           c->phase == PHASE_AFTER_LOGIN || c->phase == PHASE_NOOP;
}

/* As long as ID is not answered, the login behind it is not either. */
static void set_caps(struct imapc *c, struct slice list)
{
    bool is_after = is_login_sent(c) && c->id_tag == 0;
    struct known_caps *caps = is_after ? &c->after : &c->before;
    char *room;

    buf_release(&caps->list);
    caps->is_told = true;
    room = list.n > 0 ? buf_room(&caps->list, list.n) : NULL;
    if (room)
        buf_added(&caps->list,
                  capability_without(list, is_after ? hidden_capabilities : SLICE(""), room));
    else if (list.n > 0)
        imapc_fail_memory(c);
}

bool imapc_offers(const struct imapc *c, const char *capability)
{
    return capability_has(buf_slice(&c->before.list), slice_str(capability));
}

struct slice imapc_capabilities(const struct imapc *c)
{
    return buf_slice(&c->before.list);
}

/* All is known for a login, or for those who came to look. */
static void log_in_or_look(struct imapc *c)
{
    if (!c->params.only_looks)
        imapc_put_login(c);
    else if (imapc_put_id(c))
        imapc_enter(c, PHASE_ID, IMAPC_STAGE_ID);
    else
        imapc_enter(c, PHASE_DONE, c->stage);
}

/* What the greeting, STARTTLS or CAPABILITY has left to be done. */
static void go_on(struct imapc *c)
{
    if (c->params.wants_starttls && !c->is_tls) {
        c->stage = IMAPC_STAGE_STARTTLS;
        if (c->before.is_told && !imapc_offers(c, "STARTTLS")) {
            imapc_fail(c, "STARTTLS is not offered", buf_slice(&c->before.list));
            return;
        }
        imapc_enter(c, PHASE_STARTTLS, IMAPC_STAGE_STARTTLS);
        imapc_put_starttls(c);
    } else if (!c->before.is_told) {
        imapc_enter(c, PHASE_CAPABILITY, IMAPC_STAGE_CAPABILITY);
        imapc_put_capability(c);
    } else {
        log_in_or_look(c);
    }
}

/* ---- What the server says ---- */

static void on_welcome(struct imapc *c, const struct response *r)
{
    struct slice caps;

    if (capability_in_text(r->text, &caps))
        set_caps(c, caps);
    go_on(c);
}

static void on_preauth(struct imapc *c, const struct response *r)
{
    c->is_preauth = true;
    if (!c->params.only_looks)
        imapc_fail(c, "the greeting is PREAUTH: somebody is logged in already", r->text);
    else if (c->params.wants_starttls)
        imapc_fail(c, "the greeting is PREAUTH: it is too late for STARTTLS", r->text);
    else
        on_welcome(c, r);
}

static void on_greeting(struct imapc *c, struct slice frame)
{
    struct response r;
    bool is_imap = response_parse(frame, &r) && r.tag.n == 0;

    c->is_greeted = true;
    if (is_imap && r.kind == RESPONSE_OK) {
        on_welcome(c, &r);
    } else if (is_imap && r.kind == RESPONSE_PREAUTH) {
        on_preauth(c, &r);
    } else if (is_imap && r.kind == RESPONSE_BYE) {
        c->is_bye = true;
        imapc_fail(c, "the server greets with BYE", r.text);
    } else {
        imapc_fail_foreign(c, frame);
    }
}

static bool answers_id(const struct imapc *c, const struct response *r)
{
    return c->is_id_sent && r->kind == RESPONSE_DATA && slice_ieq(r->word, SLICE("ID"));
}

/* Not for the client: an ID answers ours; capabilities in a NO or BAD tell nothing by the RFC, and
 * a client might take them for ours. */
static bool is_for_us(const struct imapc *c, const struct response *r)
{
    struct slice caps;

    if (r->kind == RESPONSE_DATA)
        return answers_id(c, r);
    return r->kind != RESPONSE_OK && capability_in_text(r->text, &caps);
}

static void on_continue(struct imapc *c, struct slice frame)
{
    if (c->is_plus_due)
        imapc_go_on(c);
    else
        imapc_fail(c, "the server asks to go on where there is nothing to go on with", frame);
}

/* Of several the last one counts. */
static void keep_id(struct imapc *c, struct slice list)
{
    buf_release(&c->id_answer);
    if (buf_put(&c->id_answer, list) < 0)
        imapc_fail_memory(c);
}

static void on_untagged(struct imapc *c, const struct response *r, struct slice frame)
{
    struct slice caps;
    bool tells = r->kind == RESPONSE_DATA && slice_ieq(r->word, SLICE("CAPABILITY"));

    c->untagged_seen += frame.n;
    if (c->untagged_seen > c->params.max_untagged)
        imapc_fail(c, "too many untagged responses", frame);
    else if (tells && !lex_is_text(r->text))
        imapc_fail(c, "the capabilities hold a literal", frame);
    else if (tells)
        set_caps(c, r->text);
    else if (r->kind == RESPONSE_OK && capability_in_text(r->text, &caps))
        set_caps(c, caps);
    else if (c->params.only_looks && answers_id(c, r))
        keep_id(c, r->text);
    else if (is_login_sent(c) && !is_for_us(c, r) && buf_put(&c->untagged, frame) < 0)
        imapc_fail_memory(c);
}

static void finish(struct imapc *c)
{
    c->answer.text = slice_str(c->text);
    c->answer.untagged = buf_slice(&c->untagged);
    if (c->answer.is_ok)
        c->answer.capabilities = buf_slice(&c->after.list);
    c->log_text = imapc_without_password(c, c->answer.text);
    imapc_enter(c, PHASE_DONE, c->stage);
}

/* The server has accepted the login and told what it can do. */
static void on_accepted(struct imapc *c)
{
    if (c->params.wants_noop) {
        imapc_enter(c, PHASE_NOOP, IMAPC_STAGE_NOOP);
        imapc_put_noop(c);
    } else {
        finish(c);
    }
}

/* A copy of the verdict's text without the capabilities that are not told; NULL when memory is out.
 */
static char *told_text(struct slice text)
{
    char *copy = slice_dup(text);
    struct slice list;

    if (copy && capability_in_text(slice_of(copy, text.n), &list) && list.n > 0) {
        char *from = copy + (list.p - copy), *rest = from + list.n;
        size_t n = capability_without(list, hidden_capabilities, from);

        memmove(from + n, rest, strlen(rest) + 1);
    }
    return copy;
}

/* A refused client stays with us, and what can be done here is not the server's to say. */
static struct slice without_capabilities(struct slice text)
{
    struct slice list;

    if (!capability_in_text(text, &list))
        return text;
    while (text.n > 0 && text.p[0] != ']')
        text = slice_sub(text, 1, text.n);
    text = slice_sub(text, 1, text.n);
    return slice_istarts(text, SLICE(" ")) ? slice_sub(text, 1, text.n) : text;
}

static void on_verdict(struct imapc *c, const struct response *r)
{
    struct slice caps;

    if (r->kind == RESPONSE_BAD) {
        imapc_fail_about_login(c, "the server does not understand the login", r->text);
        return;
    }
    if (r->kind == RESPONSE_OK && c->is_plus_due) {
        imapc_fail(c, "the server says OK to half a login", r->text);
        return;
    }
    c->answer.is_ok = r->kind == RESPONSE_OK;
    c->text = told_text(c->answer.is_ok ? r->text : without_capabilities(r->text));
    if (!c->text) {
        imapc_fail_memory(c);
        return;
    }
    if (c->answer.is_ok && capability_in_text(r->text, &caps))
        set_caps(c, caps);
    if (c->answer.is_ok && !c->after.is_told) {
        imapc_enter(c, PHASE_AFTER_LOGIN, IMAPC_STAGE_AFTER_LOGIN);
        imapc_put_capability(c);
    } else if (c->answer.is_ok) {
        on_accepted(c);
    } else {
        finish(c);
    }
}

static void on_noop_answer(struct imapc *c, const struct response *r)
{
    if (r->kind == RESPONSE_OK)
        finish(c);
    else
        imapc_fail(c, "the server refuses NOOP", r->text);
}

static void on_starttls_answer(struct imapc *c, const struct response *r)
{
    if (r->kind != RESPONSE_OK) {
        imapc_fail(c, "the server refuses STARTTLS", r->text);
    } else if (buf_len(&c->in) > frame_len(&c->frame)) {
        imapc_fail(c, "bytes in clear lie behind the answer to STARTTLS", (struct slice){0});
    } else {
        c->phase = PHASE_TLS;
    }
}

static void on_capability_answer(struct imapc *c, const struct response *r)
{
    struct slice caps;

    if (r->kind != RESPONSE_OK) {
        imapc_fail(c, "the server refuses CAPABILITY", r->text);
        return;
    }
    if (capability_in_text(r->text, &caps))
        set_caps(c, caps);
    if (c->before.is_told)
        go_on(c);
    else
        imapc_fail(c, "the server answers CAPABILITY without telling any", r->text);
}

/* When the login went out with it, that is still to be answered. */
static void on_id_answer(struct imapc *c, const struct response *r)
{
    struct slice caps;

    if (r->kind == RESPONSE_OK && c->is_plus_due) {
        imapc_fail(c, "the server says OK to half an ID", r->text);
        return;
    }
    if (capability_in_text(r->text, &caps))
        set_caps(c, caps);
    c->id_tag = 0;
    if (c->phase == PHASE_ID) {
        c->is_plus_due = false;
        log_in_or_look(c);
    }
}

static bool is_tag(struct slice tag, unsigned number)
{
    char expected[16];

    snprintf(expected, sizeof(expected), "U%u", number);
    return slice_eq(tag, slice_str(expected));
}

/* The words of a PROXY header are taken for tags: its first one, of version 1, or the end of the
 * signature of version 2. */
static void on_foreign_tag(struct imapc *c, struct slice tag, struct slice frame)
{
    bool is_header = slice_eq(tag, SLICE("PROXY")) || slice_eq(tag, SLICE("QUIT"));

    imapc_fail(c,
               is_header ? "the server takes the PROXY header for a command"
                         : "the server answers what was not asked",
               frame);
}

static void on_tagged(struct imapc *c, const struct response *r, struct slice frame)
{
    if (c->id_tag != 0 && is_tag(r->tag, c->id_tag)) {
        on_id_answer(c, r);
        return;
    }
    if (!is_tag(r->tag, c->tag)) {
        on_foreign_tag(c, r->tag, frame);
        return;
    }
    if (c->id_tag != 0) {
        imapc_fail(c, "the server answers the login before ID", frame);
        return;
    }
    switch (c->phase) {
    case PHASE_STARTTLS:
        on_starttls_answer(c, r);
        break;
    case PHASE_CAPABILITY:
        on_capability_answer(c, r);
        break;
    case PHASE_AUTHENTICATE:
    case PHASE_LOGIN:
        on_verdict(c, r);
        break;
    case PHASE_AFTER_LOGIN: /* without capabilities, if it refuses to tell them */
        on_accepted(c);
        break;
    case PHASE_NOOP:
        on_noop_answer(c, r);
        break;
    case PHASE_GREETING:
    case PHASE_TLS:
    case PHASE_ID: /* c->tag is c->id_tag then */
    case PHASE_DONE:
    case PHASE_FAILED: /* no command is out */
        INSIST(false);
    }
}

static void on_bye(struct imapc *c, const struct response *r)
{
    c->is_bye = true;
    imapc_fail(c, "the server says BYE", r->text);
}

static void on_response(struct imapc *c, struct slice frame)
{
    struct response r;

    if (!response_parse(frame, &r))
        imapc_fail(c, "this is not IMAP", frame);
    else if (r.kind == RESPONSE_CONTINUE)
        on_continue(c, frame);
    else if (r.tag.n > 0)
        on_tagged(c, &r, frame);
    else if (r.kind == RESPONSE_BYE)
        on_bye(c, &r);
    else if (r.kind == RESPONSE_PREAUTH)
        imapc_fail(c, "PREAUTH after the greeting", r.text);
    else
        on_untagged(c, &r, frame);
}

static void start_frame(struct imapc *c)
{
    frame_start(&c->frame, FRAME_RESPONSE, c->params.max_line, c->params.max_untagged);
}

/* Goes one response on; false when it needs more bytes. */
static bool advance(struct imapc *c)
{
    struct slice s = buf_slice(&c->in);
    enum frame_result result;

    if (s.n == 0)
        return false;
    if (c->phase == PHASE_GREETING && (s.p[0] == 0x15 || s.p[0] == 0x16)) {
        /* A record of type alert or handshake, which may never end a line. */
        imapc_fail(c, "the greeting is not IMAP but TLS", (struct slice){0});
        return true;
    }
    result = frame_step(&c->frame, s);
    s = slice_sub(s, 0, frame_len(&c->frame));
    switch (result) {
    case FRAME_MORE:
        return false;
    case FRAME_LINE_LONG:
        imapc_fail(c, c->phase == PHASE_GREETING ? "the greeting has no end" : "a line is too long",
                   s);
        return true;
    case FRAME_LITERAL_LARGE:
        imapc_fail(c, "a literal is too large", s);
        return true;
    case FRAME_BARE_LF:
        if (c->phase == PHASE_GREETING)
            imapc_fail_foreign(c, s);
        else
            imapc_fail(c, "a line ends without CR", s);
        return true;
    case FRAME_CONTINUE: /* of commands only */
    case FRAME_LITERAL:  /* of parts only */
        INSIST(false);
    case FRAME_WHOLE:
        break;
    }
    if (c->phase == PHASE_GREETING)
        on_greeting(c, s);
    else
        on_response(c, s);
    buf_take(&c->in, frame_len(&c->frame));
    start_frame(c);
    return true;
}

/* ---- The interface ---- */

struct imapc *imapc_new(const struct imapc_params *params)
{
    struct imapc *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->params = *params;
    /* What the server says is as secret as what we say: there are servers that repeat it. */
    buf_init(&c->in, params->max_line + params->max_untagged, true);
    buf_init(&c->out, MAX_OUT, true);
    buf_init(&c->before.list, params->max_line, false);
    buf_init(&c->after.list, params->max_line, false);
    buf_init(&c->untagged, params->max_untagged, true);
    buf_init(&c->id_answer, params->max_untagged, false);
    start_frame(c);
    return c;
}

void imapc_free(struct imapc **c)
{
    if (!*c)
        return;
    buf_release(&(*c)->in);
    buf_release(&(*c)->out);
    buf_release(&(*c)->before.list);
    buf_release(&(*c)->after.list);
    buf_release(&(*c)->untagged);
    buf_release(&(*c)->id_answer);
    if ((*c)->text)
        wipe((*c)->text, strlen((*c)->text));
    free((*c)->text);
    free(*c);
    *c = NULL;
}

struct buf *imapc_in(struct imapc *c)
{
    return &c->in;
}

struct buf *imapc_out(struct imapc *c)
{
    return &c->out;
}

enum imapc_outcome imapc_step(struct imapc *c)
{
    for (;;) {
        switch (c->phase) {
        case PHASE_TLS:
            return IMAPC_STARTTLS;
        case PHASE_DONE:
            return IMAPC_DONE;
        case PHASE_FAILED:
            return IMAPC_FAILED;
        case PHASE_GREETING:
        case PHASE_STARTTLS:
        case PHASE_CAPABILITY:
        case PHASE_ID:
        case PHASE_AUTHENTICATE:
        case PHASE_LOGIN:
        case PHASE_AFTER_LOGIN:
        case PHASE_NOOP:
            if (!advance(c))
                return IMAPC_MORE;
        }
    }
}

void imapc_tls_started(struct imapc *c)
{
    INSIST(c->phase == PHASE_TLS && buf_len(&c->in) == 0);
    c->is_tls = true;
    c->before.is_told = false; /* RFC 9051 section 6.2.1: what was told in clear is forgotten */
    buf_release(&c->before.list);
    go_on(c);
}

void imapc_closed(struct imapc *c)
{
    INSIST(c->phase != PHASE_DONE);
    if (c->phase == PHASE_GREETING && buf_len(&c->in) == 0)
        imapc_fail(c, "the server closed the connection without a word", (struct slice){0});
    else if (c->phase == PHASE_GREETING)
        imapc_fail(c, "the server closed the connection within the greeting", buf_slice(&c->in));
    else if (buf_len(&c->in) > 0) /* not shown: it may be half an echo of the password */
        imapc_fail(c, "the server closed the connection within a line", (struct slice){0});
    else
        imapc_fail(c, "the server closed the connection", (struct slice){0});
}

const struct imapc_answer *imapc_answer(const struct imapc *c)
{
    INSIST(c->phase == PHASE_DONE && !c->params.only_looks);
    return &c->answer;
}

struct slice imapc_log_text(const struct imapc *c)
{
    INSIST(c->phase == PHASE_DONE);
    return c->log_text;
}

struct slice imapc_id(const struct imapc *c)
{
    return buf_slice(&c->id_answer);
}

bool imapc_is_unheard(const struct imapc *c)
{
    return !c->is_greeted && buf_len(&c->in) == 0;
}

bool imapc_is_preauth(const struct imapc *c)
{
    return c->is_preauth;
}

enum imapc_stage imapc_stage(const struct imapc *c)
{
    return c->stage;
}

const char *imapc_stage_name(enum imapc_stage stage)
{
    static const char *const names[] = {
        [IMAPC_STAGE_GREETING] = "greeting",
        [IMAPC_STAGE_STARTTLS] = "starttls",
        [IMAPC_STAGE_CAPABILITY] = "capability",
        [IMAPC_STAGE_ID] = "id",
        [IMAPC_STAGE_LOGIN] = "login",
        [IMAPC_STAGE_AFTER_LOGIN] = "after_login",
        [IMAPC_STAGE_NOOP] = "noop",
    };

    INSIST((size_t)stage < sizeof(names) / sizeof(names[0]));
    return names[stage];
}
