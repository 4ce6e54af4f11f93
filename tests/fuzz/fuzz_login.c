/* The dialogue before login, with any client: what is answered does not depend on how bytes come
 * and is bounded, the credentials keep their contract, no answer holds a password, nothing from
 * before STARTTLS is known after it, and what is behind a good login is handed on to the byte. */
#include "cut.h"

#include "imap/lex.h"
#include "worker/login.h"

#include <stdlib.h>

enum { MAX_INPUT = 4096 };

enum flag {
    CAN_STARTTLS = 1,
    ALLOWS_CLEARTEXT = 2,
    IS_TLS = 4,
    FEW_TRIES = 8,
    LITERAL_PLUS = 16,
    NO_LIMITS = 32, /* as many bytes, tries and bad commands as one likes */
};

struct run {
    struct slice bytes;
    struct buf told;   /* all that came out: answers, outcomes, credentials */
    struct buf sent;   /* the answers alone */
    bool is_injected;  /* the one thing that depends on how bytes come */
    size_t greeting;   /* bytes of it in `told` */
    size_t at_tls;     /* how much was told before STARTTLS succeeded; 0: it did not */
    struct slice rest; /* what had not been fed by then */
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

/* The bytes behind a good login, wherever they lie. */
static void tell_rest(struct run *r, struct login *l, struct slice unfed)
{
    tell(r, SLICE("{rest}"));
    tell(r, buf_slice(login_in(l)));
    for (size_t i = 0; i < unfed.n; i++) {
        if ((uint8_t)unfed.p[i] != FUZZ_TURN)
            tell(r, slice_sub(unfed, i, i + 1));
    }
}

static void start_tls(struct run *r, struct login *l, struct slice unfed)
{
    tell(r, SLICE("{tls}"));
    login_tls_started(l);
    INSIST(buf_len(login_out(l)) == 0);
    r->at_tls = buf_len(&r->told);
    r->rest = unfed;
}

static void run(struct run *r, const struct login_params *params, bool is_tls, uint64_t seed)
{
    struct login *l = login_new(params, is_tls);
    struct cut c = {r->bytes, seed, true};
    bool goes_on = true;

    INSIST(l);
    buf_init(&r->told, 1 << 22, false);
    buf_init(&r->sent, 1 << 22, false);
    tell_sent(r, login_out(l));
    r->greeting = buf_len(&r->told);
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
            start_tls(r, l, c.left);
            break;
        case LOGIN_ADMIT:
            INSIST(is_tls || params->allows_cleartext);
            goes_on = give_verdict(r, l) != LOGIN_OK;
            if (!goes_on)
                tell_rest(r, l, c.left);
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

static void release(struct run *r)
{
    buf_release(&r->told);
    buf_release(&r->sent);
}

/* A client is answered behind STARTTLS as one is that had TLS from its start. The counts of bytes
 * and bad commands are the one thing that is kept; without limits they do not show. */
static void compare_with_fresh(const struct run *r, const struct login_params *params)
{
    struct run fresh = {.bytes = r->rest};
    struct slice told = buf_slice(&r->told), expected;

    run(&fresh, params, true, 0);
    expected = buf_slice(&fresh.told);
    INSIST(slice_eq(slice_sub(told, r->at_tls, told.n),
                    slice_sub(expected, fresh.greeting, expected.n)));
    release(&fresh);
}

static struct login_params params_of(unsigned flags)
{
    struct login_params params = {
        .can_starttls = flags & CAN_STARTTLS,
        .allows_cleartext = flags & ALLOWS_CLEARTEXT,
        .offers_literal_plus = flags & LITERAL_PLUS,
        .max_line = 300,
        .max_literal = 128,
        .max_pipeline = 64,
        .max_bytes = flags & FEW_TRIES ? 600 : 2000,
        .max_tries = flags & FEW_TRIES ? 1 : 5,
        .max_bad = flags & FEW_TRIES ? 2 : 30,
    };

    if (flags & NO_LIMITS) {
        params.max_bytes = MAX_INPUT;
        params.max_tries = params.max_bad = MAX_INPUT;
    }
    return params;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in;
    struct run whole = {0}, cut = {0};
    struct login_params params;

    if (size > MAX_INPUT || !fuzz_input_read(&in, data, size))
        return 0;
    params = params_of(in.flags);
    whole.bytes = cut.bytes = in.bytes;
    run(&whole, &params, in.flags & IS_TLS, 0);
    run(&cut, &params, in.flags & IS_TLS, in.seed | 1U);
    if (!whole.is_injected && !cut.is_injected)
        INSIST(slice_eq(buf_slice(&whole.told), buf_slice(&cut.told)));
    /* a greeting, and for each try or bad command a tag, a sentence, and "+" to its literals */
    INSIST(buf_len(&whole.sent) <= 512 + 1024 * ((size_t)params.max_bad + params.max_tries));
    if (in.flags & NO_LIMITS && whole.at_tls > 0)
        compare_with_fresh(&whole, &params);
    release(&whole);
    release(&cut);
    return 0;
}
