/* What a client says to a server up to its login; see imapc/state.h. */
#include "imapc/state.h"

#include "base/base64.h"
#include "imap/write.h"
#include "sasl/login.h"
#include "sasl/plain.h"

#include <stdint.h>

/* A message of SASL is as long as the credentials that the caller gave make it. */
enum { MAX_MESSAGE = INT32_MAX };

/* RFC 7888 section 5: what LITERAL- allows without waiting. */
enum { LITERAL_MINUS = 4096 };

static void put(struct imapc *c, struct slice s)
{
    if (buf_put(&c->out, s) < 0)
        imapc_fail_memory(c);
}

/* Begins a command under a tag of its own. */
static void put_command(struct imapc *c, const char *command)
{
    if (buf_printf(&c->out, "U%u %s", ++c->tag, command) < 0)
        imapc_fail_memory(c);
}

void imapc_put_starttls(struct imapc *c)
{
    put_command(c, "STARTTLS\r\n");
}

void imapc_put_capability(struct imapc *c)
{
    put_command(c, "CAPABILITY\r\n");
}

void imapc_put_noop(struct imapc *c)
{
    put_command(c, "NOOP\r\n");
}

void imapc_log_out(struct imapc *c)
{
    INSIST(c->phase == PHASE_DONE);
    if (buf_printf(&c->out, "U%u LOGOUT\r\n", ++c->tag) < 0)
        buf_release(&c->out);
}

/* Literals up to this size are sent without waiting. */
static size_t nonsync_max(const struct imapc *c)
{
    if (imapc_offers(c, "LITERAL+"))
        return SIZE_MAX;
    return imapc_offers(c, "LITERAL-") ? LITERAL_MINUS : 0;
}

/* ---- AUTHENTICATE ---- */

/* The mechanism's next message, in base 64. None of ours reads the challenge: servers may put words
 * there, and some put words that are no base 64. */
static void put_message(struct imapc *c)
{
    const struct sasl_identity me = {c->params.user, c->params.authzid, c->params.password};
    enum sasl_result result;
    struct buf message;
    char *room;
    size_t n;

    buf_init(&message, MAX_MESSAGE, true);
    result = c->mech->client_step(&me, c->step++, (struct slice){0}, &message);
    n = BASE64_LEN(buf_len(&message));
    room = result != SASL_BAD && n > 0 ? buf_room(&c->out, n) : NULL;
    if (room) {
        base64_encode(buf_slice(&message), room);
        buf_added(&c->out, n);
    } else if (result == SASL_BAD || n > 0) {
        imapc_fail_memory(c);
    }
    c->is_plus_due = result == SASL_MORE;
    buf_release(&message);
}

static bool has_initial(const struct imapc *c)
{
    return c->mech->is_client_first && imapc_offers(c, "SASL-IR");
}

static void put_authenticate(struct imapc *c)
{
    imapc_enter(c, PHASE_AUTHENTICATE, IMAPC_STAGE_LOGIN);
    put_command(c, "AUTHENTICATE ");
    put(c, slice_str(c->mech->name));
    if (has_initial(c)) {
        put(c, SLICE(" "));
        put_message(c);
    } else {
        c->is_plus_due = true;
    }
    put(c, SLICE("\r\n"));
}

/* ---- LOGIN and ID: strings, up to one that the server has to ask for ---- */

static void put_login_strings(struct imapc *c)
{
    while (c->part < 2) {
        struct slice s = c->part++ == 0 ? c->params.user : c->params.password;

        put(c, SLICE(" "));
        if (write_string(&c->out, s, nonsync_max(c), &c->due) < 0)
            imapc_fail_memory(c);
        c->is_plus_due = c->due.n > 0;
        if (c->is_plus_due)
            return;
    }
    put(c, SLICE("\r\n"));
}

static void put_login(struct imapc *c)
{
    imapc_enter(c, PHASE_LOGIN, IMAPC_STAGE_LOGIN);
    put_command(c, "LOGIN");
    c->part = 0;
    put_login_strings(c);
}

static void put_id_strings(struct imapc *c)
{
    if (id_write(&c->out, c->params.id, nonsync_max(c), &c->part, &c->due) < 0)
        imapc_fail_memory(c);
    c->is_plus_due = c->due.n > 0;
    if (!c->is_plus_due)
        put(c, SLICE("\r\n"));
}

bool imapc_put_id(struct imapc *c)
{
    if (c->params.id.n == 0 || c->is_id_sent || !imapc_offers(c, "ID"))
        return false;
    put_command(c, "ID ");
    c->is_id_sent = true;
    c->id_tag = c->tag;
    c->part = 0;
    put_id_strings(c);
    return true;
}

void imapc_go_on(struct imapc *c)
{
    c->is_plus_due = false;
    if (c->phase == PHASE_AUTHENTICATE) {
        put_message(c);
        put(c, SLICE("\r\n"));
        return;
    }
    put(c, c->due);
    if (c->phase == PHASE_ID)
        put_id_strings(c);
    else
        put_login_strings(c);
}

/* ---- The way to log in ---- */

/* Sets c->mech to the best way that is offered; false after a failure. */
static bool choose_way(struct imapc *c)
{
    const struct imapc_params *p = &c->params;
    struct slice offered = buf_slice(&c->before.list);

    if (slice_has(p->user, '\0') || slice_has(p->authzid, '\0') || slice_has(p->password, '\0')) {
        imapc_fail_about_login(c, "the credentials hold NUL, which cannot be sent",
                               (struct slice){0});
    } else if (imapc_offers(c, "AUTH=PLAIN")) {
        c->mech = &sasl_plain;
        return true;
    } else if (p->authzid.n > 0) {
        imapc_fail_about_login(c, "an authorization identity needs AUTH=PLAIN; offered is",
                               offered);
    } else if (!imapc_offers(c, "LOGINDISABLED")) {
        c->mech = NULL;
        return true;
    } else if (imapc_offers(c, "AUTH=LOGIN")) {
        c->mech = &sasl_login;
        return true;
    } else {
        imapc_fail(c, "none of AUTH=PLAIN, LOGIN and AUTH=LOGIN is offered", offered);
    }
    return false;
}

const char *imapc_way(const struct imapc *c)
{
    if (!c->mech)
        return "LOGIN";
    return c->mech == &sasl_plain ? "AUTHENTICATE PLAIN" : "AUTHENTICATE LOGIN";
}

/* Whether the login goes out whole without a word of the server. */
static bool is_in_one_piece(const struct imapc *c)
{
    if (c->mech)
        return has_initial(c);
    return !write_waits(c->params.user, nonsync_max(c)) &&
           !write_waits(c->params.password, nonsync_max(c));
}

void imapc_put_login(struct imapc *c)
{
    c->stage = IMAPC_STAGE_LOGIN;
    if (!choose_way(c))
        return;
    if (imapc_put_id(c) && (c->is_plus_due || !is_in_one_piece(c))) {
        imapc_enter(c, PHASE_ID, IMAPC_STAGE_ID);
        return;
    }
    if (c->mech)
        put_authenticate(c);
    else
        put_login(c);
}
