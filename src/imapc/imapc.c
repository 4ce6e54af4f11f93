/* The dialogue of an IMAP client with a server; see imapc/imapc.h. Connections, TLS and time are
 * left to the caller. */
#include "imapc/imapc.h"

#include "base/base64.h"
#include "imap/capability.h"
#include "imap/frame.h"
#include "imap/lex.h"
#include "imap/response.h"
#include "imap/write.h"
#include "sasl/plain.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What we send is bounded by the credentials that the caller gave. */
enum { MAX_OUT = INT32_MAX };

/* The most bytes of a server's line that go into the words of a failure. */
enum { MAX_SAID = 120 };

/* RFC 7888 section 5: what LITERAL- allows without waiting. */
enum { LITERAL_MINUS = 4096 };

enum phase {
    PHASE_GREETING,
    PHASE_STARTTLS,     /* sent */
    PHASE_TLS,          /* IMAPC_STARTTLS is open */
    PHASE_CAPABILITY,   /* sent, before login */
    PHASE_AUTHENTICATE, /* sent */
    PHASE_LOGIN,        /* sent up to where the server has to say "+", or whole */
    PHASE_AFTER_LOGIN,  /* CAPABILITY sent */
    PHASE_DONE,
    PHASE_FAILED,
};

struct imapc {
    struct imapc_params params;
    enum phase phase;
    enum imapc_stage stage;
    struct frame frame;
    struct buf in, out;
    unsigned tag;         /* the number of the last command */
    bool is_plus_due;     /* the server has to say "+" before more is sent */
    bool is_tls;          /* by STARTTLS */
    bool has_caps;        /* told since the connection's state last changed */
    struct buf caps;      /* "IMAP4rev1 ..." */
    size_t nonsync_max;   /* LOGIN: literals up to this size are sent without waiting */
    unsigned part;        /* LOGIN: how many of its two strings are sent */
    struct buf proof;     /* what carries the password on the wire, kept so that it can be found in
                             what a server echoes */
    struct buf untagged;  /* for the answer */
    size_t untagged_seen; /* bytes of all untagged lines, kept or not */
    char *text;           /* for the answer */
    struct imapc_answer answer;
    char failure[MAX_SAID + 120];
};

/* ---- Failing ---- */

static bool holds(struct slice s, struct slice part)
{
    return part.n > 0 && s.n >= part.n && memmem(s.p, s.n, part.p, part.n) != NULL;
}

/* `said`: words of the server that explain, or empty. They go to the log, so a password that a
 * server echoes must not be among them. */
static void fail(struct imapc *c, const char *words, struct slice said)
{
    bool is_secret = holds(said, c->params.password) || holds(said, buf_slice(&c->proof));

    if (c->phase == PHASE_FAILED)
        return;
    c->phase = PHASE_FAILED;
    while (said.n > 0 && (said.p[said.n - 1] == '\n' || said.p[said.n - 1] == '\r'))
        said.n--;
    if (is_secret)
        said = SLICE("(words that hold the password)");
    snprintf(c->failure, sizeof(c->failure), "%s%s%.*s%s", words, said.n > 0 ? ": " : "",
             (int)(said.n < MAX_SAID ? said.n : MAX_SAID), said.n > 0 ? said.p : "",
             said.n > MAX_SAID ? "..." : "");
}

/* ---- Sending ---- */

static void put(struct imapc *c, struct slice s)
{
    if (buf_put(&c->out, s) < 0)
        fail(c, "memory is out", (struct slice){0});
}

/* Begins a command under a tag of its own. */
static void put_command(struct imapc *c, const char *command)
{
    if (buf_printf(&c->out, "U%u %s", ++c->tag, command) < 0)
        fail(c, "memory is out", (struct slice){0});
}

static void enter(struct imapc *c, enum phase phase, enum imapc_stage stage)
{
    if (c->phase == PHASE_FAILED)
        return;
    c->phase = phase;
    c->stage = stage;
}

static void ask_capability(struct imapc *c, enum phase phase, enum imapc_stage stage)
{
    enter(c, phase, stage);
    put_command(c, "CAPABILITY\r\n");
}

static void set_caps(struct imapc *c, struct slice list)
{
    buf_release(&c->caps);
    if (buf_put(&c->caps, list) < 0)
        fail(c, "memory is out", (struct slice){0});
    c->has_caps = true;
}

static bool offers(const struct imapc *c, const char *capability)
{
    return capability_has(buf_slice(&c->caps), slice_str(capability));
}

/* ---- Logging in ---- */

/* Base 64 of the message of PLAIN, in c->proof. Says whether it could be made. */
static bool make_proof(struct imapc *c, const struct sasl_mech *mech)
{
    const struct sasl_identity me = {c->params.user, c->params.authzid, c->params.password};
    struct buf message;
    char *room = NULL;

    buf_init(&message, MAX_OUT, true);
    if (mech->client_step(&me, 0, (struct slice){0}, &message) == SASL_DONE)
        room = buf_room(&c->proof, BASE64_LEN(buf_len(&message)));
    if (room) {
        base64_encode(buf_slice(&message), room);
        buf_added(&c->proof, BASE64_LEN(buf_len(&message)));
    }
    buf_release(&message);
    return room != NULL;
}

static void authenticate(struct imapc *c)
{
    if (!make_proof(c, &sasl_plain)) {
        fail(c, "memory is out", (struct slice){0});
        return;
    }
    enter(c, PHASE_AUTHENTICATE, IMAPC_STAGE_LOGIN);
    put_command(c, "AUTHENTICATE PLAIN");
    if (offers(c, "SASL-IR")) {
        put(c, SLICE(" "));
        put(c, buf_slice(&c->proof));
    } else {
        c->is_plus_due = true;
    }
    put(c, SLICE("\r\n"));
}

static struct slice login_string(const struct imapc *c)
{
    return c->part == 0 ? c->params.user : c->params.password;
}

static void put_quoted(struct imapc *c, struct slice s)
{
    buf_release(&c->proof);
    if (write_quoted(&c->proof, s) < 0)
        fail(c, "memory is out", (struct slice){0});
    put(c, buf_slice(&c->proof));
}

/* Sends LOGIN from its string c->part on, up to a literal that the server has to ask for. */
static void put_login(struct imapc *c)
{
    for (; c->part < 2; c->part++) {
        struct slice s = login_string(c);

        put(c, SLICE(" "));
        if (write_form(s) != WRITE_LITERAL) {
            put_quoted(c, s);
            continue;
        }
        c->is_plus_due = s.n > c->nonsync_max;
        if (write_literal_header(&c->out, s.n, c->is_plus_due) < 0)
            fail(c, "memory is out", (struct slice){0});
        if (c->is_plus_due)
            return;
        put(c, s);
    }
    put(c, SLICE("\r\n"));
}

static void start_login(struct imapc *c)
{
    const struct imapc_params *p = &c->params;

    c->stage = IMAPC_STAGE_LOGIN;
    if (slice_has(p->user, '\0') || slice_has(p->authzid, '\0') || slice_has(p->password, '\0')) {
        fail(c, "the credentials hold NUL, which cannot be sent", (struct slice){0});
    } else if (offers(c, "AUTH=PLAIN")) {
        authenticate(c);
    } else if (p->authzid.n > 0) {
        fail(c, "an authorization identity needs AUTH=PLAIN; offered is", buf_slice(&c->caps));
    } else if (offers(c, "LOGINDISABLED")) {
        fail(c, "neither LOGIN nor AUTH=PLAIN is offered", buf_slice(&c->caps));
    } else {
        c->nonsync_max = offers(c, "LITERAL+")   ? SIZE_MAX
                         : offers(c, "LITERAL-") ? LITERAL_MINUS
                                                 : 0;
        enter(c, PHASE_LOGIN, IMAPC_STAGE_LOGIN);
        put_command(c, "LOGIN");
        put_login(c);
    }
    c->has_caps = false; /* what comes from now on counts for after the login */
}

/* What the greeting, STARTTLS or CAPABILITY has left to be done. */
static void go_on(struct imapc *c)
{
    if (c->params.wants_starttls && !c->is_tls) {
        c->stage = IMAPC_STAGE_STARTTLS;
        if (c->has_caps && !offers(c, "STARTTLS")) {
            fail(c, "STARTTLS is not offered", buf_slice(&c->caps));
            return;
        }
        enter(c, PHASE_STARTTLS, IMAPC_STAGE_STARTTLS);
        put_command(c, "STARTTLS\r\n");
    } else if (!c->has_caps) {
        ask_capability(c, PHASE_CAPABILITY, IMAPC_STAGE_CAPABILITY);
    } else {
        start_login(c);
    }
}

/* ---- What the server says ---- */

static void on_greeting(struct imapc *c, struct slice frame)
{
    struct response r;
    struct slice caps;
    bool is_imap = response_parse(frame, &r) && r.tag.n == 0;

    if (is_imap && r.kind == RESPONSE_OK) {
        if (capability_in_text(r.text, &caps))
            set_caps(c, caps);
        go_on(c);
    } else if (is_imap && r.kind == RESPONSE_PREAUTH) {
        fail(c, "the greeting is PREAUTH: somebody is logged in already", r.text);
    } else if (is_imap && r.kind == RESPONSE_BYE) {
        fail(c, "the server greets with BYE", r.text);
    } else {
        fail(c, "the greeting is not IMAP", frame);
    }
}

static void on_continue(struct imapc *c, struct slice frame)
{
    if (!c->is_plus_due) {
        fail(c, "the server asks to go on where there is nothing to go on with", frame);
        return;
    }
    c->is_plus_due = false;
    if (c->phase == PHASE_AUTHENTICATE) {
        put(c, buf_slice(&c->proof));
        put(c, SLICE("\r\n"));
    } else {
        put(c, login_string(c));
        c->part++;
        put_login(c);
    }
}

static void on_untagged(struct imapc *c, const struct response *r, struct slice frame)
{
    struct slice caps;
    bool tells = r->kind == RESPONSE_DATA && slice_ieq(r->word, SLICE("CAPABILITY"));

    c->untagged_seen += frame.n;
    if (c->untagged_seen > c->params.max_untagged)
        fail(c, "too many untagged responses", frame);
    else if (tells && !lex_is_text(r->text))
        fail(c, "the capabilities hold a literal", frame);
    else if (tells)
        set_caps(c, r->text);
    else if (r->kind == RESPONSE_OK && capability_in_text(r->text, &caps))
        set_caps(c, caps);
    else if (c->stage >= IMAPC_STAGE_LOGIN && buf_put(&c->untagged, frame) < 0)
        fail(c, "memory is out", (struct slice){0});
}

static void finish(struct imapc *c)
{
    c->answer.text = slice_str(c->text);
    c->answer.untagged = buf_slice(&c->untagged);
    if (c->answer.is_ok && c->has_caps)
        c->answer.capabilities = buf_slice(&c->caps);
    buf_release(&c->proof);
    enter(c, PHASE_DONE, c->stage);
}

static void on_verdict(struct imapc *c, const struct response *r)
{
    struct slice caps;

    if (r->kind == RESPONSE_BAD) {
        fail(c, "the server does not understand the login", r->text);
        return;
    }
    if (r->kind == RESPONSE_OK && c->is_plus_due) {
        fail(c, "the server says OK to half a login", r->text);
        return;
    }
    c->text = slice_dup(r->text);
    if (!c->text) {
        fail(c, "memory is out", (struct slice){0});
        return;
    }
    c->answer.is_ok = r->kind == RESPONSE_OK;
    if (capability_in_text(r->text, &caps))
        set_caps(c, caps);
    if (c->answer.is_ok && !c->has_caps)
        ask_capability(c, PHASE_AFTER_LOGIN, IMAPC_STAGE_AFTER_LOGIN);
    else
        finish(c);
}

static void on_starttls_answer(struct imapc *c, const struct response *r)
{
    if (r->kind != RESPONSE_OK) {
        fail(c, "the server refuses STARTTLS", r->text);
    } else if (buf_len(&c->in) > frame_len(&c->frame)) {
        fail(c, "bytes in clear lie behind the answer to STARTTLS", (struct slice){0});
    } else {
        c->phase = PHASE_TLS;
    }
}

static void on_capability_answer(struct imapc *c, const struct response *r)
{
    struct slice caps;

    if (r->kind != RESPONSE_OK) {
        fail(c, "the server refuses CAPABILITY", r->text);
        return;
    }
    if (capability_in_text(r->text, &caps))
        set_caps(c, caps);
    if (c->has_caps)
        go_on(c);
    else
        fail(c, "the server answers CAPABILITY without telling any", r->text);
}

static void on_tagged(struct imapc *c, const struct response *r, struct slice frame)
{
    char tag[16];

    snprintf(tag, sizeof(tag), "U%u", c->tag);
    if (!slice_eq(r->tag, slice_str(tag))) {
        fail(c, "the server answers what was not asked", frame);
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
        finish(c);
        break;
    case PHASE_GREETING:
    case PHASE_TLS:
    case PHASE_DONE:
    case PHASE_FAILED: /* no command is out */
        INSIST(false);
    }
}

static void on_response(struct imapc *c, struct slice frame)
{
    struct response r;

    if (!response_parse(frame, &r))
        fail(c, "this is not IMAP", frame);
    else if (r.kind == RESPONSE_CONTINUE)
        on_continue(c, frame);
    else if (r.tag.n > 0)
        on_tagged(c, &r, frame);
    else if (r.kind == RESPONSE_BYE)
        fail(c, "the server says BYE", r.text);
    else if (r.kind == RESPONSE_PREAUTH)
        fail(c, "PREAUTH after the greeting", r.text);
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
    result = frame_step(&c->frame, s);
    s = slice_sub(s, 0, frame_len(&c->frame));
    switch (result) {
    case FRAME_MORE:
        return false;
    case FRAME_LINE_LONG:
        fail(c, "a line is too long", s);
        return true;
    case FRAME_LITERAL_LARGE:
        fail(c, "a literal is too large", s);
        return true;
    case FRAME_BARE_LF:
        fail(c, c->phase == PHASE_GREETING ? "the greeting is not IMAP" : "a line ends without CR",
             s);
        return true;
    case FRAME_CONTINUE: /* of commands only */
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
    buf_init(&c->in, params->max_line + params->max_untagged, false);
    buf_init(&c->out, MAX_OUT, true);
    buf_init(&c->caps, params->max_line, false);
    buf_init(&c->proof, MAX_OUT, true);
    buf_init(&c->untagged, params->max_untagged, false);
    start_frame(c);
    return c;
}

void imapc_free(struct imapc **c)
{
    if (!*c)
        return;
    buf_release(&(*c)->in);
    buf_release(&(*c)->out);
    buf_release(&(*c)->caps);
    buf_release(&(*c)->proof);
    buf_release(&(*c)->untagged);
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
        case PHASE_AUTHENTICATE:
        case PHASE_LOGIN:
        case PHASE_AFTER_LOGIN:
            if (!advance(c))
                return IMAPC_MORE;
        }
    }
}

void imapc_tls_started(struct imapc *c)
{
    INSIST(c->phase == PHASE_TLS && buf_len(&c->in) == 0);
    c->is_tls = true;
    c->has_caps = false; /* RFC 9051 section 6.2.1: what was told in clear is forgotten */
    buf_release(&c->caps);
    go_on(c);
}

const struct imapc_answer *imapc_answer(const struct imapc *c)
{
    INSIST(c->phase == PHASE_DONE);
    return &c->answer;
}

enum imapc_stage imapc_stage(const struct imapc *c)
{
    return c->stage;
}

const char *imapc_stage_name(enum imapc_stage stage)
{
    static const char *const names[] = {
        [IMAPC_STAGE_GREETING] = "greeting",       [IMAPC_STAGE_STARTTLS] = "starttls",
        [IMAPC_STAGE_CAPABILITY] = "capability",   [IMAPC_STAGE_LOGIN] = "login",
        [IMAPC_STAGE_AFTER_LOGIN] = "after_login",
    };

    INSIST((size_t)stage < sizeof(names) / sizeof(names[0]));
    return names[stage];
}

const char *imapc_failure(const struct imapc *c)
{
    INSIST(c->phase == PHASE_FAILED);
    return c->failure;
}
