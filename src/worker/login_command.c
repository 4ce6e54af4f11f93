/* The commands before login; see worker/login_state.h. Those that carry a password are left to
 * login_auth.c. */
#include "worker/login_state.h"

#include "imap/capability.h"

#include <stdlib.h>
#include <string.h>

void login_put_capabilities(struct login *l)
{
    const struct sasl_mech *mech;

    login_puts(l, "CAPABILITY IMAP4rev1 ");
    login_puts(l, l->params->offers_literal_plus ? "LITERAL+ " : "");
    login_puts(l, "SASL-IR ID");
    login_puts(l, login_may_starttls(l) ? " STARTTLS" : "");
    login_puts(l, login_may_take_passwords(l) ? "" : " LOGINDISABLED");
    for (size_t i = 0; (mech = sasl_at(i)) != NULL; i++) {
        if (mech->sends_password && !login_may_take_passwords(l))
            continue;
        login_puts(l, " AUTH=");
        login_puts(l, mech->name);
    }
}

/* ---- What the client says of itself ---- */

struct known_id {
    struct id_pair pairs[ID_PAIRS];
    char bytes[]; /* what `pairs` point to */
};

struct id login_known_id(const struct login *l)
{
    return l->id ? (struct id){l->id->pairs, l->id_n} : (struct id){0};
}

void login_forget_id(struct login *l)
{
    free(l->id);
    l->id = NULL;
    l->id_n = l->id_weight = 0;
}

/* ---- Commands: `args` stands behind the command's name ---- */

static void on_capability(struct login *l, struct lex args)
{
    if (!lex_end(&args)) {
        login_refuse(l, "BAD CAPABILITY takes no arguments");
        return;
    }
    login_puts(l, "* ");
    login_put_capabilities(l);
    login_puts(l, "\r\n");
    login_refuse(l, "OK Capabilities told");
}

static void on_noop(struct login *l, struct lex args)
{
    login_refuse(l, lex_end(&args) ? "OK Nothing done" : "BAD NOOP takes no arguments");
}

/* The answer names no version: who asks has not logged in yet. */
static void on_id(struct login *l, struct lex args)
{
    size_t args_n = args.s.n, n;
    struct known_id *id = malloc(sizeof(*id) + args_n);

    if (!id) {
        login_close_silently(l, CLOSE_LIMIT);
        return;
    }
    if (!lex_sp(&args) || !id_parse(&args, id->bytes, id->pairs, &n) || !lex_end(&args)) {
        free(id);
        login_refuse(l,
                     "BAD ID takes NIL or a list of at most 30 pairs of strings, of 30 bytes and "
                     "1024 bytes");
        return;
    }
    login_forget_id(l);
    l->id = id;
    l->id_n = n;
    l->id_weight = sizeof(*id) + args_n;
    login_puts(l, "* ID (\"name\" \"Usher\")\r\n");
    login_refuse(l, "OK ID told");
}

static void on_logout(struct login *l, struct lex args)
{
    if (!lex_end(&args)) {
        login_refuse(l, "BAD LOGOUT takes no arguments");
        return;
    }
    login_puts(l, "* BYE Logging out\r\n");
    login_answer(l, "OK Logged out");
    login_close_silently(l, CLOSE_CLIENT_LOGOUT);
}

static void on_starttls(struct login *l, struct lex args)
{
    if (!lex_end(&args)) {
        login_refuse(l, "BAD STARTTLS takes no arguments");
    } else if (l->is_tls) {
        login_refuse(l, "BAD TLS is on already");
    } else if (!l->params->can_starttls) {
        login_refuse(l, "BAD STARTTLS is not offered here");
    } else if (buf_len(&l->in) > frame_len(&l->frame)) {
        login_close_silently(l, CLOSE_CLIENT_INJECTED);
    } else {
        login_answer(l, "OK Begin TLS now");
        if (l->phase != PHASE_CLOSED)
            l->phase = PHASE_TLS;
    }
}

static const struct verb {
    struct slice name;
    void (*run)(struct login *l, struct lex args);
    bool takes_strings;
} verbs[] = {
    {SLICE("CAPABILITY"), on_capability, false},
    {SLICE("NOOP"), on_noop, false},
    {SLICE("ID"), on_id, true},
    {SLICE("LOGOUT"), on_logout, false},
    {SLICE("STARTTLS"), on_starttls, false},
    {SLICE("LOGIN"), login_on_login, true},
    {SLICE("AUTHENTICATE"), login_on_authenticate, false},
};

/* Commands that a client may rightly know, but that need a login. */
static const struct slice later_commands =
    SLICE("APPEND CHECK CLOSE COMPRESS COPY CREATE DELETE ENABLE EXAMINE EXPUNGE FETCH GETACL "
          "GETMETADATA GETQUOTA GETQUOTAROOT IDLE LIST LSUB MOVE NAMESPACE NOTIFY RENAME SEARCH "
          "SELECT SORT STATUS STORE SUBSCRIBE THREAD UID UNAUTHENTICATE UNSELECT UNSUBSCRIBE");

static const struct verb *verb_find(struct slice name)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (slice_ieq(name, verbs[i].name))
            return &verbs[i];
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

bool login_read_tag(struct login *l, struct lex *at)
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

void login_on_command(struct login *l, struct slice frame)
{
    struct lex at = lex_start(frame);
    const struct verb *verb;
    struct slice name;

    if (is_http(frame)) {
        login_close_with(l, CLOSE_CLIENT_PROTOCOL, "This is an IMAP server, not a web server");
        return;
    }
    if (!login_read_tag(l, &at)) {
        login_refuse(l, "BAD A command begins with a tag");
        return;
    }
    if (!lex_sp(&at) || !lex_atom(&at, &name)) {
        login_refuse(l, "BAD A tag, one space and a command are expected");
        return;
    }
    verb = verb_find(name);
    if (verb)
        verb->run(l, at);
    else
        login_refuse(l, capability_has(later_commands, name) ? "BAD Please log in first"
                                                             : "BAD Unknown command");
}

bool login_wants_literal(const struct login *l, struct slice line)
{
    struct lex at = lex_start(line);
    const struct verb *verb;
    struct slice tag, name;

    if (!lex_tag(&at, &tag) || !lex_sp(&at) || !lex_atom(&at, &name))
        return false;
    verb = verb_find(name);
    if (!verb || !verb->takes_strings)
        return false;
    return verb->run != login_on_login || login_may_take_passwords(l);
}
