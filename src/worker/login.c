/* The dialogue with a client before its login; see worker/login.h. Finding a backend and speaking
 * to it is left to the session. */
#include "worker/login.h"

#include "base/base64.h"
#include "imap/capability.h"
#include "imap/frame.h"
#include "imap/lex.h"
#include "imap/response.h"
#include "sasl/sasl.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_USER = 512 };

/* What is put into `out` is bounded otherwise: answers by max_bad and max_tries, what a backend
 * said by the limits of imapc. */
enum { MAX_OUT = INT32_MAX };

enum phase {
    PHASE_COMMAND,  /* the next frame is a command */
    PHASE_RESPONSE, /* the next line answers our challenge */
    PHASE_TLS,      /* LOGIN_STARTTLS is open */
    PHASE_ADMIT,    /* LOGIN_ADMIT is open */
    PHASE_SESSION,  /* logged in */
    PHASE_CLOSED,
};

struct login {
    const struct login_params *params;
    bool is_tls;
    enum phase phase;
    enum close_reason reason;
    unsigned tries, bad; /* counted against max_tries, max_bad */
    struct frame frame;
    struct buf in, out;
    char tag[LEX_TAG]; /* of the command that is being answered */
    size_t tag_n;
    const struct sasl_mech *mech; /* in PHASE_RESPONSE */
    char *secret;                 /* holds what `request` points to; wiped before it is freed */
    size_t secret_n;
    struct login_request request;
};

/* ---- Writing ---- */

static void close_silently(struct login *l, enum close_reason reason)
{
    if (l->phase == PHASE_CLOSED)
        return;
    l->phase = PHASE_CLOSED;
    l->reason = reason;
}

/* Memory being out is the one way in which this fails; the session ends then. */
static void put(struct login *l, struct slice s)
{
    if (buf_put(&l->out, s) < 0)
        close_silently(l, CLOSE_LIMIT);
}

static void puts_out(struct login *l, const char *s)
{
    put(l, slice_str(s));
}

static void close_with(struct login *l, enum close_reason reason, const char *bye)
{
    puts_out(l, "* BYE ");
    puts_out(l, bye);
    puts_out(l, "\r\n");
    close_silently(l, reason);
}

/* `answer` is what stands behind the tag. */
static void answer(struct login *l, const char *text)
{
    put(l, slice_of(l->tag, l->tag_n));
    puts_out(l, " ");
    puts_out(l, text);
    puts_out(l, "\r\n");
}

/* Counts a bad or needless command, after its answer. */
static void count_bad(struct login *l)
{
    if (++l->bad >= l->params->max_bad)
        close_with(l, CLOSE_CLIENT_PROTOCOL, "Too many bad or needless commands");
}

static void refuse(struct login *l, const char *text)
{
    answer(l, text);
    count_bad(l);
}

static void count_try(struct login *l)
{
    if (++l->tries >= l->params->max_tries)
        close_with(l, CLOSE_LOGIN_TRIES, "Too many refused logins");
}

static bool may_starttls(const struct login *l)
{
    return l->params->can_starttls && !l->is_tls;
}

static bool may_take_passwords(const struct login *l)
{
    return l->is_tls || l->params->allows_cleartext;
}

static void put_capabilities(struct login *l)
{
    puts_out(l, "CAPABILITY IMAP4rev1 LITERAL+ SASL-IR");
    puts_out(l, may_starttls(l) ? " STARTTLS" : "");
    puts_out(l, may_take_passwords(l) ? " AUTH=PLAIN" : " LOGINDISABLED");
}

/* ---- Credentials ---- */

static void forget(struct login *l)
{
    if (l->secret)
        wipe(l->secret, l->secret_n);
    free(l->secret);
    l->secret = NULL;
    l->secret_n = 0;
    l->request = (struct login_request){0};
}

/* Memory for up to `n` bytes of credentials, in l->secret; false when it is out. */
static bool room_for_secret(struct login *l, size_t n)
{
    forget(l);
    l->secret = malloc(n + 1);
    if (!l->secret) {
        close_silently(l, CLOSE_LIMIT);
        return false;
    }
    l->secret_n = n;
    return true;
}

static const char *fault_of(const struct sasl_identity *who)
{
    if (who->user.n == 0)
        return "NO [AUTHENTICATIONFAILED] The user name is empty";
    if (who->user.n > MAX_USER || who->authzid.n > MAX_USER)
        return "NO [AUTHENTICATIONFAILED] The user name is too long";
    if (!lex_is_text(who->user) || !lex_is_text(who->authzid) || !lex_is_text(who->password))
        return "NO [AUTHENTICATIONFAILED] The user name or password holds NUL, CR or LF";
    return NULL;
}

/* Opens LOGIN_ADMIT; the slices of `who` lie in l->secret. */
static void admit(struct login *l, const struct sasl_identity *who, const char *mech)
{
    const char *fault = fault_of(who);

    if (fault) {
        forget(l);
        answer(l, fault);
        count_try(l);
        return;
    }
    l->request = (struct login_request){
        .user = who->user,
        .authzid = slice_eq(who->authzid, who->user) ? (struct slice){0} : who->authzid,
        .password = who->password,
        .mech = mech,
    };
    l->phase = PHASE_ADMIT;
}

/* A message of the client in base 64. No mechanism that is offered asks for a second one. */
static void take_message(struct login *l, const struct sasl_mech *mech, struct slice base64)
{
    struct sasl_identity who;
    struct buf challenge;
    enum sasl_result result;
    long n;

    l->phase = PHASE_COMMAND;
    if (!room_for_secret(l, base64.n))
        return;
    n = base64_decode(base64, l->secret);
    if (n < 0) {
        forget(l);
        refuse(l, "BAD This is not base 64");
        return;
    }
    buf_init(&challenge, 0, false);
    result = mech->server_step(0, slice_of(l->secret, (size_t)n), &challenge, &who);
    INSIST(result != SASL_MORE && buf_len(&challenge) == 0);
    if (result == SASL_BAD) {
        forget(l);
        refuse(l, "BAD This message is not what the mechanism asks for");
        return;
    }
    admit(l, &who, mech->name);
}

/* ---- Commands: `args` stands behind the command's name ---- */

static void on_capability(struct login *l, struct lex args)
{
    if (!lex_end(&args)) {
        refuse(l, "BAD CAPABILITY takes no arguments");
        return;
    }
    puts_out(l, "* ");
    put_capabilities(l);
    puts_out(l, "\r\n");
    refuse(l, "OK Capabilities told");
}

static void on_noop(struct login *l, struct lex args)
{
    refuse(l, lex_end(&args) ? "OK Nothing done" : "BAD NOOP takes no arguments");
}

static void on_logout(struct login *l, struct lex args)
{
    if (!lex_end(&args)) {
        refuse(l, "BAD LOGOUT takes no arguments");
        return;
    }
    puts_out(l, "* BYE Logging out\r\n");
    answer(l, "OK Logged out");
    close_silently(l, CLOSE_CLIENT_LOGOUT);
}

static void on_starttls(struct login *l, struct lex args)
{
    if (!lex_end(&args)) {
        refuse(l, "BAD STARTTLS takes no arguments");
    } else if (l->is_tls) {
        refuse(l, "BAD TLS is on already");
    } else if (!l->params->can_starttls) {
        refuse(l, "BAD STARTTLS is not offered here");
    } else if (buf_len(&l->in) > frame_len(&l->frame)) {
        close_silently(l, CLOSE_CLIENT_INJECTED);
    } else {
        answer(l, "OK Begin TLS now");
        l->phase = PHASE_TLS;
    }
}

static void refuse_cleartext(struct login *l)
{
    refuse(l, may_starttls(l)
                  ? "NO [PRIVACYREQUIRED] Passwords are only taken with TLS; use STARTTLS first"
                  : "NO [PRIVACYREQUIRED] Passwords are only taken with TLS");
}

static void on_login(struct login *l, struct lex args)
{
    struct sasl_identity who = {0};

    if (!may_take_passwords(l)) {
        refuse_cleartext(l);
        return;
    }
    if (!room_for_secret(l, args.s.n))
        return;
    /* A value is never longer than its form on the wire, so both fit behind each other. */
    if (lex_sp(&args) && lex_astring(&args, l->secret, &who.user) && lex_sp(&args) &&
        lex_astring(&args, l->secret + who.user.n, &who.password) && lex_end(&args)) {
        admit(l, &who, "LOGIN");
        return;
    }
    forget(l);
    refuse(l, "BAD LOGIN takes a user name and a password; quote what has special characters");
}

static void on_authenticate(struct login *l, struct lex args)
{
    struct slice name, initial = {0};
    const struct sasl_mech *mech;
    bool is_bad, has_initial = false;

    is_bad = !lex_sp(&args) || !lex_atom(&args, &name);
    if (!is_bad && lex_sp(&args)) {
        has_initial = true; /* the letters of base 64 are all ATOM-CHARs, as is "=" */
        is_bad = !lex_atom(&args, &initial);
    }
    if (is_bad || !lex_end(&args)) {
        refuse(l, "BAD AUTHENTICATE takes a mechanism and at most one initial response");
        return;
    }
    mech = sasl_find(name);
    if (!mech) {
        refuse(l, "NO This mechanism is not offered");
    } else if (mech->sends_password && !may_take_passwords(l)) {
        refuse_cleartext(l);
    } else if (has_initial) {
        /* "=" is the empty message (RFC 4959 section 3). */
        take_message(l, mech, slice_eq(initial, SLICE("=")) ? (struct slice){0} : initial);
    } else {
        l->mech = mech;
        l->phase = PHASE_RESPONSE;
        puts_out(l, "+ \r\n");
    }
}

static const struct command {
    struct slice name;
    void (*run)(struct login *l, struct lex args);
} commands[] = {
    {SLICE("CAPABILITY"), on_capability}, {SLICE("NOOP"), on_noop},
    {SLICE("LOGOUT"), on_logout},         {SLICE("STARTTLS"), on_starttls},
    {SLICE("LOGIN"), on_login},           {SLICE("AUTHENTICATE"), on_authenticate},
};

/* Commands that a client may rightly know, but that need a login (or, as ID, the backend). */
static const struct slice later_commands =
    SLICE("APPEND CHECK CLOSE COMPRESS COPY CREATE DELETE ENABLE EXAMINE EXPUNGE FETCH GETACL "
          "GETMETADATA GETQUOTA GETQUOTAROOT ID IDLE LIST LSUB MOVE NAMESPACE NOTIFY RENAME SEARCH "
          "SELECT SORT STATUS STORE SUBSCRIBE THREAD UID UNAUTHENTICATE UNSELECT UNSUBSCRIBE");

static const struct command *command_find(struct slice name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (slice_ieq(name, commands[i].name))
            return &commands[i];
    }
    return NULL;
}

/* "GET / HTTP/1.1": a browser, maybe one that a hostile page has led here with IMAP commands in the
 * body of its request; nothing behind it may be read. */
static bool is_http(struct slice line)
{
    static const struct slice methods[] = {SLICE("GET "), SLICE("HEAD "),    SLICE("POST "),
                                           SLICE("PUT "), SLICE("OPTIONS "), SLICE("CONNECT "),
                                           SLICE("PRI ")};
    const char *last = memrchr(line.p, ' ', line.n);

    if (!last ||
        !slice_istarts(slice_sub(line, (size_t)(last + 1 - line.p), line.n), SLICE("HTTP/")))
        return false;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (line.n >= methods[i].n && memcmp(line.p, methods[i].p, methods[i].n) == 0)
            return true;
    }
    return false;
}

/* Reads the tag into l->tag. Without one there is nothing to answer under: "* BAD" then. */
static bool read_tag(struct login *l, struct lex *at)
{
    struct slice tag;

    if (lex_tag(at, &tag)) {
        memcpy(l->tag, tag.p, tag.n);
        l->tag_n = tag.n;
        return true;
    }
    l->tag[0] = '*';
    l->tag_n = 1;
    return false;
}

/* A whole command, or one whose literal we do not ask for. No command but LOGIN takes a string, so
 * with an announcement at its end it can only be refused. */
static void on_command(struct login *l, struct slice frame)
{
    struct lex at = lex_start(frame);
    const struct command *command;
    struct slice name;

    if (is_http(frame)) {
        close_with(l, CLOSE_CLIENT_PROTOCOL, "This is an IMAP server, not a web server");
        return;
    }
    if (!read_tag(l, &at)) {
        refuse(l, "BAD A command begins with a tag");
        return;
    }
    if (!lex_sp(&at) || !lex_atom(&at, &name)) {
        refuse(l, "BAD A tag, one space and a command are expected");
        return;
    }
    command = command_find(name);
    if (command)
        command->run(l, at);
    else
        refuse(l, capability_has(later_commands, name) ? "BAD Please log in first"
                                                       : "BAD Unknown command");
}

/* Whether "+" is to be said to a literal: only where it can become a login. */
static bool wants_literal(const struct login *l, struct slice line)
{
    struct lex at = lex_start(line);
    struct slice tag, name;

    return lex_tag(&at, &tag) && lex_sp(&at) && lex_atom(&at, &name) &&
           slice_ieq(name, SLICE("LOGIN")) && may_take_passwords(l);
}

static void on_response(struct login *l, struct slice line)
{
    line.n -= line.n > 1 && line.p[line.n - 2] == '\r' ? 2 : 1;
    if (slice_eq(line, SLICE("*"))) {
        l->phase = PHASE_COMMAND;
        refuse(l, "BAD Cancelled");
    } else {
        take_message(l, l->mech, line);
    }
}

static void on_large_literal(struct login *l, struct slice line)
{
    struct lex at = lex_start(line);

    read_tag(l, &at);
    if (frame_is_sync(&l->frame)) {
        refuse(l, "BAD [TOOBIG] The literal is too large");
        return;
    }
    answer(l, "BAD [TOOBIG] The literal is too large");
    close_with(l, CLOSE_CLIENT_PROTOCOL, "[TOOBIG] The literal is too large");
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
        close_silently(l, CLOSE_CLIENT_PROTOCOL);
        return true;
    }
    switch (frame_step(&l->frame, s)) {
    case FRAME_MORE:
        return false;
    case FRAME_LINE_LONG:
        close_with(l, CLOSE_CLIENT_PROTOCOL, "The line is too long");
        return true;
    case FRAME_LITERAL_LARGE:
        on_large_literal(l, slice_sub(s, 0, frame_len(&l->frame)));
        break;
    case FRAME_CONTINUE:
        s = slice_sub(s, 0, frame_len(&l->frame));
        if (wants_literal(l, s)) {
            puts_out(l, "+ Go on\r\n");
            return true;
        }
        on_command(l, s);
        break;
    case FRAME_BARE_LF: /* of responses only */
        INSIST(false);
    case FRAME_WHOLE:
        s = slice_sub(s, 0, frame_len(&l->frame));
        if (l->phase == PHASE_COMMAND)
            on_command(l, s);
        else
            on_response(l, s);
        break;
    }
    buf_take(&l->in, frame_len(&l->frame));
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
    buf_init(&l->out, MAX_OUT, false);
    start_frame(l);
    puts_out(l, "* OK [");
    put_capabilities(l);
    puts_out(l, "] Usher ready\r\n");
    if (l->phase == PHASE_CLOSED)
        login_free(&l);
    return l;
}

void login_free(struct login **l)
{
    if (!*l)
        return;
    forget(*l);
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

    put(l, v->untagged);
    if (tells && has_code) {
        puts_out(l, "* CAPABILITY ");
        put(l, v->capabilities);
        puts_out(l, "\r\n");
    }
    put(l, slice_of(l->tag, l->tag_n));
    puts_out(l, " OK ");
    if (tells && !has_code) {
        puts_out(l, "[CAPABILITY ");
        put(l, v->capabilities);
        puts_out(l, "] ");
    }
    put(l, v->text.n > 0 ? v->text : SLICE("Logged in"));
    puts_out(l, "\r\n");
}

static void put_no(struct login *l, const struct login_verdict *v)
{
    put(l, v->untagged);
    put(l, slice_of(l->tag, l->tag_n));
    puts_out(l, " NO ");
    put(l, v->text.n > 0 ? v->text : SLICE("The mail server has refused the login"));
    puts_out(l, "\r\n");
}

int login_verdict(struct login *l, const struct login_verdict *v)
{
    INSIST(l->phase == PHASE_ADMIT && lex_is_text(v->text) && lex_is_text(v->capabilities));
    INSIST(v->untagged.n == 0 || v->untagged.p[v->untagged.n - 1] == '\n');
    forget(l);
    l->phase = v->kind == LOGIN_OK ? PHASE_SESSION : PHASE_COMMAND;
    if (v->kind != LOGIN_OK)
        limit_in(l, l->params->max_line + l->params->max_literal);
    switch (v->kind) {
    case LOGIN_OK:
        put_ok(l, v);
        break;
    case LOGIN_NO:
        put_no(l, v);
        count_try(l);
        break;
    case LOGIN_UNAVAILABLE:
        refuse(l, "NO [UNAVAILABLE] No mail server can take the login now; please try again later");
        break;
    case LOGIN_INUSE:
        refuse(l, "NO [INUSE] The mailbox is being worked on; please try again later");
        break;
    case LOGIN_LIMIT:
        refuse(l, "NO [LIMIT] Too many connections; please close some or try again later");
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
    puts_out(l, "* BYE ");
    puts_out(l, text);
    puts_out(l, "\r\n");
}
