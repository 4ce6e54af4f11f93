/* How credentials come in before login: the commands LOGIN and AUTHENTICATE; see
 * worker/login_state.h. Whether they are right is the backend's to say. */
#include "worker/login_state.h"

#include "base/base64.h"
#include "base/secret.h"

enum { MAX_USER = 512 };

/* A challenge is a short prompt. */
enum { MAX_CHALLENGE = 64 };

/* ---- Memory for credentials ---- */

/* Bytes that do not move as long as something points to them. */
struct secret {
    struct secret *next;
    size_t n;
    char bytes[];
};

void login_forget(struct login *l)
{
    while (l->secrets) {
        struct secret *secret = l->secrets;

        l->secrets = secret->next;
        secret_free(secret, sizeof(*secret) + secret->n);
    }
    l->secrets_weight = 0;
    l->claim = (struct sasl_identity){0};
    l->request = (struct login_request){0};
}

/* Room for `n` more bytes of credentials, until login_forget(); NULL when memory is out. */
static char *room_for_secret(struct login *l, size_t n)
{
    struct secret *secret = secret_alloc(sizeof(*secret) + n);

    if (!secret) {
        login_close_silently(l, CLOSE_LIMIT);
        return NULL;
    }
    secret->next = l->secrets;
    secret->n = n;
    l->secrets = secret;
    l->secrets_weight += sizeof(*secret) + n;
    return secret->bytes;
}

/* ---- Judging ---- */

/* What no backend could be asked with. */
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

/* Answers if there is a fault; says whether there is none. */
static bool is_faultless(struct login *l)
{
    const char *fault = fault_of(&l->claim);

    if (!fault)
        return true;
    login_forget(l);
    login_answer(l, fault);
    login_count_try(l);
    return false;
}

/* Opens LOGIN_ADMIT for l->claim. */
static void admit(struct login *l, const char *mech)
{
    const struct sasl_identity *who = &l->claim;

    if (!is_faultless(l))
        return;
    l->request = (struct login_request){
        .user = who->user,
        .authzid = slice_eq(who->authzid, who->user) ? (struct slice){0} : who->authzid,
        .password = who->password,
        .mech = mech,
        .id = login_known_id(l),
    };
    l->phase = PHASE_ADMIT;
}

static void refuse_cleartext(struct login *l)
{
    login_refuse(l, login_may_starttls(l) ? "NO [PRIVACYREQUIRED] Passwords are only taken with "
                                            "TLS; use STARTTLS first"
                                          : "NO [PRIVACYREQUIRED] Passwords are only taken with "
                                            "TLS");
}

/* ---- LOGIN ---- */

void login_on_login(struct login *l, struct lex args)
{
    char *to;

    if (!login_may_take_passwords(l)) {
        refuse_cleartext(l);
        return;
    }
    to = room_for_secret(l, args.s.n);
    if (!to)
        return;
    /* A value is never longer than its form on the wire, so both fit behind each other. */
    if (lex_sp(&args) && lex_astring(&args, to, &l->claim.user) && lex_sp(&args) &&
        lex_astring(&args, to + l->claim.user.n, &l->claim.password) && lex_end(&args)) {
        admit(l, "LOGIN");
        return;
    }
    login_forget(l);
    login_refuse(l,
                 "BAD LOGIN takes a user name and a password; quote what has special characters");
}

/* ---- AUTHENTICATE ---- */

static void put_challenge(struct login *l, struct slice challenge)
{
    char base64[BASE64_LEN(MAX_CHALLENGE)];

    INSIST(challenge.n <= MAX_CHALLENGE);
    base64_encode(challenge, base64);
    login_puts(l, "+ ");
    login_put(l, slice_of(base64, BASE64_LEN(challenge.n)));
    login_puts(l, "\r\n");
    if (l->phase != PHASE_CLOSED)
        l->phase = PHASE_RESPONSE;
}

/* Hands a message of the client to the mechanism. */
static void take_message(struct login *l, struct slice message)
{
    struct buf challenge;

    buf_init(&challenge, MAX_CHALLENGE, false);
    switch (l->mech->server_step(l->step++, message, &challenge, &l->claim)) {
    case SASL_BAD:
        login_forget(l);
        login_refuse(l, "BAD This message is not what the mechanism asks for");
        break;
    case SASL_MORE: /* what cannot become a login needs no password */
        if (l->claim.user.n == 0 || is_faultless(l))
            put_challenge(l, buf_slice(&challenge));
        break;
    case SASL_DONE:
        admit(l, l->mech->title);
        break;
    }
    buf_release(&challenge);
}

static void take_base64(struct login *l, struct slice base64)
{
    char *to = room_for_secret(l, base64.n);
    long n;

    if (!to)
        return;
    l->phase = PHASE_COMMAND;
    n = base64_decode(base64, to);
    if (n < 0) {
        login_forget(l);
        login_refuse(l, "BAD This is not base 64");
        return;
    }
    take_message(l, slice_of(to, (size_t)n));
}

void login_on_authenticate(struct login *l, struct lex args)
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
        login_refuse(l, "BAD AUTHENTICATE takes a mechanism and at most one initial response");
        return;
    }
    mech = sasl_find(name);
    if (!mech) {
        login_refuse(l, "NO This mechanism is not offered");
        return;
    }
    if (mech->sends_password && !login_may_take_passwords(l)) {
        refuse_cleartext(l);
        return;
    }
    l->mech = mech;
    l->step = 0;
    if (has_initial) /* "=" is the empty message (RFC 4959 section 3) */
        take_base64(l, slice_eq(initial, SLICE("=")) ? (struct slice){0} : initial);
    else
        put_challenge(l, mech->prompt);
}

void login_on_response(struct login *l, struct slice line)
{
    line.n -= line.n > 1 && line.p[line.n - 2] == '\r' ? 2 : 1;
    if (slice_eq(line, SLICE("*"))) {
        l->phase = PHASE_COMMAND;
        login_forget(l);
        login_refuse(l, "BAD Cancelled");
    } else {
        take_base64(l, line);
    }
}
