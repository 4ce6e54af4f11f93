/* The dialogue before login, with any client: what is answered does not depend on how bytes come,
 * the credentials keep their contract, and no answer holds a password. */
#include "cut.h"

#include "imap/lex.h"
#include "worker/login.h"

#include <stdlib.h>

enum { MAX_INPUT = 4096 };

enum flag { CAN_STARTTLS = 1, ALLOWS_CLEARTEXT = 2, IS_TLS = 4, FEW_TRIES = 8, LITERAL_PLUS = 16 };

struct run {
    struct slice bytes;
    struct buf told;  /* all that came out: answers, outcomes, credentials */
    struct buf sent;  /* the answers alone */
    bool is_injected; /* the one thing that depends on how bytes come */
};

static void tell(struct run *r, struct slice s)
{
    INSIST(buf_put(&r->told, s) == 0);
}

static void tell_sent(struct run *r, struct buf *out)
{
    tell(r, buf_slice(out));
    INSIST(buf_put(&r->sent, buf_slice(out)) == 0);
    buf_take(out, buf_len(out));
}

/* A password that our own words cannot hold must not be in what is sent. It may be in the input
 * once as it is, when LOGIN carried it; else it may also be a tag, which we do repeat. */
static bool can_be_looked_for(const struct run *r, const struct login_request *q)
{
    bool is_odd = false;

    for (size_t i = 0; i < q->password.n; i++)
        is_odd = is_odd || q->password.p[i] == '~' || (q->password.p[i] & 0x80);
    return is_odd && q->password.n >= 4 &&
           count_in(r->bytes, q->password) <= (strcmp(q->mech, "LOGIN") == 0 ? 1 : 0);
}

static void tell_id(struct run *r, struct id id)
{
    INSIST(id.n <= ID_PAIRS);
    for (size_t i = 0; i < id.n; i++) {
        const struct id_pair *pair = &id.pairs[i];

        INSIST(pair->key.n <= ID_KEY && lex_is_text(pair->key));
        INSIST(pair->value.n <= ID_VALUE && lex_is_text(pair->value));
        tell(r, pair->key);
        tell(r, pair->is_nil ? SLICE(" nil ") : pair->value);
    }
}

static enum login_verdict_kind give_verdict(struct run *r, struct login *l)
{
    static const struct slice texts[] = {SLICE("Hi"), SLICE("[CAPABILITY IMAP4rev1] Hi"),
                                         SLICE("[ALERT] Hi"), SLICE("")};
    const struct login_request *q = login_request(l);
    unsigned pick = q->password.n > 0 ? (unsigned char)q->password.p[0] : 0;
    struct login_verdict v = {
        .kind = pick % 5 == 0 ? LOGIN_OK : (enum login_verdict_kind)(pick % 5),
        .text = texts[pick / 5 % 4],
        .untagged = pick & 64 ? SLICE("* OK x\r\n") : SLICE(""),
        .capabilities = pick & 32 ? SLICE("IMAP4rev1 IDLE") : SLICE(""),
    };
    char *password = NULL;
    size_t n = q->password.n;

    INSIST(q->user.n >= 1 && q->user.n <= 512 && q->authzid.n <= 512);
    INSIST(lex_is_text(q->user) && lex_is_text(q->authzid) && lex_is_text(q->password));
    INSIST(q->authzid.n == 0 || !slice_eq(q->authzid, q->user));
    tell(r, slice_str(q->mech));
    tell(r, q->user);
    tell(r, q->authzid);
    tell(r, q->password);
    tell_id(r, q->id);
    if (can_be_looked_for(r, q))
        password = slice_dup(q->password);
    INSIST(login_verdict(l, &v) == 0);
    tell_sent(r, login_out(l));
    if (password)
        INSIST(count_in(buf_slice(&r->sent), slice_of(password, n)) == 0);
    free(password);
    return v.kind;
}

static void run(struct run *r, const struct login_params *params, bool is_tls, uint64_t seed)
{
    struct login *l = login_new(params, is_tls);
    struct cut c = {r->bytes, seed};
    bool goes_on = true;

    INSIST(l);
    buf_init(&r->told, 1 << 22, false);
    buf_init(&r->sent, 1 << 22, false);
    while (goes_on) {
        enum login_outcome outcome = login_step(l);

        tell_sent(r, login_out(l));
        switch (outcome) {
        case LOGIN_MORE:
            INSIST(buf_left(login_in(l)) > 0);
            goes_on = cut_feed(&c, login_in(l));
            break;
        case LOGIN_STARTTLS:
            INSIST(!is_tls && params->can_starttls);
            is_tls = true;
            tell(r, SLICE("{tls}"));
            login_tls_started(l);
            break;
        case LOGIN_ADMIT:
            INSIST(is_tls || params->allows_cleartext);
            goes_on = give_verdict(r, l) != LOGIN_OK;
            break;
        case LOGIN_CLOSE:
            tell(r, slice_str(close_reason_name(login_close_reason(l))));
            r->is_injected = login_close_reason(l) == CLOSE_CLIENT_INJECTED;
            goes_on = false;
            break;
        }
    }
    login_free(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in;
    struct run whole = {0}, cut = {0};
    struct login_params params;

    if (size > MAX_INPUT || !fuzz_input_read(&in, data, size))
        return 0;
    params = (struct login_params){
        .can_starttls = in.flags & CAN_STARTTLS,
        .allows_cleartext = in.flags & ALLOWS_CLEARTEXT,
        .offers_literal_plus = in.flags & LITERAL_PLUS,
        .max_line = 300,
        .max_literal = 128,
        .max_pipeline = 64,
        .max_tries = in.flags & FEW_TRIES ? 1 : 5,
        .max_bad = in.flags & FEW_TRIES ? 2 : 30,
    };
    whole.bytes = cut.bytes = in.bytes;
    run(&whole, &params, in.flags & IS_TLS, 0);
    run(&cut, &params, in.flags & IS_TLS, in.seed | 1U);
    if (!whole.is_injected && !cut.is_injected)
        INSIST(slice_eq(buf_slice(&whole.told), buf_slice(&cut.told)));
    buf_release(&whole.told);
    buf_release(&whole.sent);
    buf_release(&cut.told);
    buf_release(&cut.sent);
    return 0;
}
