/* The dialogue with a client before its login; see worker/login.h. Finding a backend and speaking
 * to it is left to the session. */
#include "worker/login_state.h"

#include "imap/response.h"

#include <stdint.h>
#include <stdlib.h>

/* What is put into `out` is bounded otherwise: answers by max_bad and max_tries, what a backend
 * said by the limits of imapc. */
enum { MAX_OUT = INT32_MAX };

/* ---- Writing ---- */

void login_close_silently(struct login *l, enum close_reason reason)
{
    if (l->phase == PHASE_CLOSED)
        return;
    l->phase = PHASE_CLOSED;
    l->reason = reason;
}

void login_put(struct login *l, struct slice s)
{
    if (buf_put(&l->out, s) < 0)
        login_close_silently(l, CLOSE_LIMIT);
}

void login_puts(struct login *l, const char *s)
{
    login_put(l, slice_str(s));
}

void login_close_with(struct login *l, enum close_reason reason, const char *bye)
{
    login_puts(l, "* BYE ");
    login_puts(l, bye);
    login_puts(l, "\r\n");
    login_close_silently(l, reason);
}

void login_answer(struct login *l, const char *text)
{
    login_put(l, slice_of(l->tag, l->tag_n));
    login_puts(l, " ");
    login_puts(l, text);
    login_puts(l, "\r\n");
}

static void count_bad(struct login *l)
{
    if (++l->bad >= l->params->max_bad)
        login_close_with(l, CLOSE_CLIENT_PROTOCOL, "Too many bad or needless commands");
}

void login_refuse(struct login *l, const char *text)
{
    login_answer(l, text);
    count_bad(l);
}

void login_count_try(struct login *l)
{
    if (++l->tries >= l->params->max_tries)
        login_close_with(l, CLOSE_LOGIN_TRIES, "Too many refused logins");
}

/* ---- Frames ---- */

/* Takes the frame that was worked on. A client that is on its way to a login is not cut off. */
static void take_frame(struct login *l)
{
    size_t n = frame_len(&l->frame);

    buf_take(&l->in, n);
    l->bytes += n;
    if (l->bytes > l->params->max_bytes &&
        (l->phase == PHASE_COMMAND || l->phase == PHASE_RESPONSE))
        login_close_with(l, CLOSE_LOGIN_BYTES, "Too much was sent before the login");
}

static void on_large_literal(struct login *l, struct slice line)
{
    struct lex at = lex_start(line);

    login_read_tag(l, &at);
    if (frame_is_sync(&l->frame)) {
        login_refuse(l, "BAD [TOOBIG] The literal is too large");
        return;
    }
    login_answer(l, "BAD [TOOBIG] The literal is too large");
    login_close_with(l, CLOSE_CLIENT_PROTOCOL, "[TOOBIG] The literal is too large");
}

static void start_frame(struct login *l)
{
    frame_start(&l->frame, l->phase == PHASE_RESPONSE ? FRAME_LINE : FRAME_COMMAND,
                l->params->max_line, l->params->max_literal);
}

/* Goes one frame on; false when it needs more bytes. */
static bool advance(struct login *l)
{
    struct slice s = buf_slice(&l->in);

    if (s.n == 0)
        return false;
    if (!l->is_tls && l->phase == PHASE_COMMAND && s.p[0] == 0x16) {
        /* A TLS record of type handshake; whoever sent it can read no words of ours. */
        login_close_silently(l, CLOSE_CLIENT_PROTOCOL);
        return true;
    }
    switch (frame_step(&l->frame, s)) {
    case FRAME_MORE:
        return false;
    case FRAME_LINE_LONG:
        login_close_with(l, CLOSE_CLIENT_PROTOCOL, "The line is too long");
        return true;
    case FRAME_LITERAL_LARGE:
        on_large_literal(l, slice_sub(s, 0, frame_len(&l->frame)));
        break;
    case FRAME_CONTINUE:
        s = slice_sub(s, 0, frame_len(&l->frame));
        if (login_wants_literal(l, s)) {
            login_puts(l, "+ Go on\r\n");
            return true;
        }
        login_on_command(l, s);
        break;
    case FRAME_BARE_LF: /* of responses only */
    case FRAME_LITERAL:
        INSIST(false);
    case FRAME_WHOLE:
        s = slice_sub(s, 0, frame_len(&l->frame));
        if (l->phase == PHASE_COMMAND)
            login_on_command(l, s);
        else
            login_on_response(l, s);
        break;
    }
    take_frame(l);
    start_frame(l);
    return true;
}

/* ---- The interface ---- */

/* The most that may lie in `in`. What lies there already may stay. */
static void limit_in(struct login *l, size_t max)
{
    l->in.max = (uint32_t)(max > buf_len(&l->in) ? max : buf_len(&l->in));
}

struct login *login_new(const struct login_params *params, bool is_tls)
{
    struct login *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->params = params;
    l->is_tls = is_tls;
    buf_init(&l->in, params->max_line + params->max_literal, true);
    buf_init(&l->out, MAX_OUT, true); /* a server's refusal may repeat the password */
    start_frame(l);
    login_puts(l, "* OK [");
    login_put_capabilities(l);
    login_puts(l, "] Usher ready\r\n");
    if (l->phase == PHASE_CLOSED)
        login_free(&l);
    return l;
}

void login_free(struct login **l)
{
    if (!*l)
        return;
    login_forget(*l);
    login_forget_id(*l);
    buf_release(&(*l)->in);
    buf_release(&(*l)->out);
    free(*l);
    *l = NULL;
}

struct buf *login_in(struct login *l)
{
    return &l->in;
}

struct buf *login_out(struct login *l)
{
    return &l->out;
}

size_t login_weight(const struct login *l)
{
    return sizeof(*l) + l->in.cap + l->out.cap + l->secrets_weight + l->id_weight;
}

enum login_outcome login_step(struct login *l)
{
    INSIST(l->phase != PHASE_SESSION);
    while (l->phase == PHASE_COMMAND || l->phase == PHASE_RESPONSE) {
        if (!advance(l))
            return LOGIN_MORE;
    }
    if (l->phase == PHASE_CLOSED)
        return LOGIN_CLOSE;
    if (l->phase == PHASE_TLS)
        return LOGIN_STARTTLS;
    limit_in(l, l->params->max_pipeline);
    return LOGIN_ADMIT;
}

void login_tls_started(struct login *l)
{
    INSIST(l->phase == PHASE_TLS && buf_len(&l->in) == 0);
    login_forget_id(l);
    l->is_tls = true;
    l->tag_n = 0;
    l->phase = PHASE_COMMAND;
    start_frame(l);
}

const struct login_request *login_request(const struct login *l)
{
    INSIST(l->phase == PHASE_ADMIT);
    return &l->request;
}

/* The backend's capabilities go where a client looks first: a code in the OK; as a line of their
 * own where the backend has put another code there. */
static void put_ok(struct login *l, const struct login_verdict *v)
{
    struct slice code, arguments;
    bool has_code = response_code(v->text, &code, &arguments);
    bool tells = v->capabilities.n > 0 && !(has_code && slice_ieq(code, SLICE("CAPABILITY")));

    login_put(l, v->untagged);
    if (tells && has_code) {
        login_puts(l, "* CAPABILITY ");
        login_put(l, v->capabilities);
        login_puts(l, "\r\n");
    }
    login_put(l, slice_of(l->tag, l->tag_n));
    login_puts(l, " OK ");
    if (tells && !has_code) {
        login_puts(l, "[CAPABILITY ");
        login_put(l, v->capabilities);
        login_puts(l, "] ");
    }
    login_put(l, v->text.n > 0 ? v->text : SLICE("Logged in"));
    login_puts(l, "\r\n");
}

static void put_no(struct login *l, const struct login_verdict *v)
{
    login_put(l, v->untagged);
    login_put(l, slice_of(l->tag, l->tag_n));
    login_puts(l, " NO ");
    login_put(l, v->text.n > 0 ? v->text : SLICE("The mail server has refused the login"));
    login_puts(l, "\r\n");
}

/* What the kinds of verdicts say that are no backend's. */
static const struct {
    const char *code, *text;
} ours[] = {
    [LOGIN_UNAVAILABLE] = {"[UNAVAILABLE] ",
                           "No mail server can take the login now; please try again later"},
    [LOGIN_INUSE] = {"[INUSE] ", "The mailbox is being worked on; please try again later"},
    [LOGIN_LIMIT] = {"[LIMIT] ", "Too many; please try again later"},
    [LOGIN_DISABLED] = {"[CONTACTADMIN] ",
                        "This account may not log in; please contact your administrator"},
};

static void put_ours(struct login *l, const struct login_verdict *v)
{
    login_put(l, slice_of(l->tag, l->tag_n));
    login_puts(l, " NO ");
    login_puts(l, ours[v->kind].code);
    login_put(l, v->text.n > 0 ? v->text : slice_str(ours[v->kind].text));
    login_puts(l, "\r\n");
}

int login_verdict(struct login *l, const struct login_verdict *v)
{
    INSIST(l->phase == PHASE_ADMIT && lex_is_text(v->text) && lex_is_text(v->capabilities));
    INSIST(v->untagged.n == 0 || v->untagged.p[v->untagged.n - 1] == '\n');
    login_forget(l);
    l->phase = v->kind == LOGIN_OK ? PHASE_SESSION : PHASE_COMMAND;
    if (v->kind != LOGIN_OK)
        limit_in(l, l->params->max_line + l->params->max_literal);
    switch (v->kind) {
    case LOGIN_OK:
        put_ok(l, v);
        break;
    case LOGIN_NO:
        put_no(l, v);
        login_count_try(l);
        break;
    case LOGIN_UNAVAILABLE:
    case LOGIN_INUSE:
    case LOGIN_LIMIT:
    case LOGIN_DISABLED:
        put_ours(l, v);
        count_bad(l);
        break;
    }
    return l->phase == PHASE_CLOSED && l->reason == CLOSE_LIMIT ? -1 : 0;
}

enum close_reason login_close_reason(const struct login *l)
{
    INSIST(l->phase == PHASE_CLOSED);
    return l->reason;
}

void login_bye(struct login *l, const char *text)
{
    INSIST(l->phase != PHASE_SESSION);
    if (l->phase == PHASE_CLOSED || l->phase == PHASE_TLS)
        return;
    login_puts(l, "* BYE ");
    login_puts(l, text);
    login_puts(l, "\r\n");
}
