/* The dialogue of a client, with any server: what comes of it does not depend on how bytes come,
 * nothing but STARTTLS is said in clear when TLS is wanted and nothing of before it is believed
 * after it, no password leaves before the login, and none at all from who only looks, the answer
 * keeps its contract, what is behind it is handed on to the byte, and no failure holds the
 * password. */
#include "cut.h"

#include "base/base64.h"
#include "imap/capability.h"
#include "imap/lex.h"
#include "imapc/imapc.h"

#include <stdlib.h>

/* All that a client ever says: seven commands, with an ID and credentials of some bytes. */
enum { MAX_INPUT = 4096, MAX_SENT = 512 };

enum flag {
    WANTS_STARTTLS = 1,
    HAS_AUTHZID = 2,
    NEEDS_LITERALS = 4,
    HAS_ID = 8,
    HAS_ODD_ID = 16,
    ONLY_LOOKS = 32,
    WANTS_NOOP = 64
};

static const struct id_pair pairs[] = {{SLICE("name"), SLICE("X"), false},
                                       {SLICE("os"), {0}, true},
                                       {SLICE("\xe4"), SLICE("\xf6\xfc"), false}};

struct run {
    struct slice bytes;
    struct buf told;
    size_t sent;
    bool is_injected; /* the one thing that depends on how bytes come */
};

static void tell(struct run *r, struct slice s)
{
    INSIST(buf_put(&r->told, s) == 0);
}

static void tell_answer(struct run *r, const struct imapc *c, const struct imapc_params *params)
{
    const struct imapc_answer *a = imapc_answer(c);

    INSIST(lex_is_text(a->text) && lex_is_text(a->capabilities));
    INSIST(a->text.n <= params->max_line && a->untagged.n <= params->max_untagged);
    INSIST(a->untagged.n == 0 || a->untagged.p[a->untagged.n - 1] == '\n');
    INSIST(a->is_ok || a->capabilities.n == 0);
    INSIST(!capability_has(a->capabilities, SLICE("UNAUTHENTICATE")));
    INSIST(count_in(imapc_log_text(c), params->password) == 0);
    tell(r, a->is_ok ? SLICE("ok") : SLICE("no"));
    tell(r, a->text);
    tell(r, a->untagged);
    tell(r, a->capabilities);
}

static void tell_look(struct run *r, const struct imapc *c, const struct imapc_params *params)
{
    struct slice caps = imapc_capabilities(c), id = imapc_id(c);

    INSIST(imapc_stage(c) < IMAPC_STAGE_LOGIN);
    INSIST(lex_is_text(caps) && caps.n <= params->max_line);
    INSIST(!slice_has(id, '\0') && id.n <= params->max_untagged);
    INSIST(!imapc_is_preauth(c) || !params->wants_starttls);
    tell(r, imapc_is_preauth(c) ? SLICE("preauth") : SLICE(""));
    tell(r, caps);
    tell(r, id);
}

/* Without the server's words: how much of an endless line they show depends on how it came. */
static void tell_failure(struct run *r, const struct imapc *c, const struct imapc_params *params)
{
    struct slice words = slice_str(imapc_failure(c));

    INSIST(words.n > 0 && count_in(words, params->password) == 0);
    r->is_injected = count_in(words, SLICE("bytes in clear")) > 0;
    tell(r, slice_str(imapc_stage_name(imapc_stage(c))));
    tell(r, slice_of(words.p, strcspn(words.p, ":")));
}

/* Before the login neither user nor password goes out, in no form. */
static void check_early(const struct imapc *c, const struct imapc_params *params, struct slice out)
{
    char password[64];

    INSIST(!params->only_looks || imapc_stage(c) < IMAPC_STAGE_LOGIN);
    if (imapc_stage(c) >= IMAPC_STAGE_LOGIN)
        return;
    INSIST(params->password.n <= sizeof(password) / 4 * 3);
    base64_encode(params->password, password);
    INSIST(count_in(out, params->password) == 0 && count_in(out, params->user) == 0);
    INSIST(count_in(out, slice_of(password, BASE64_LEN(params->password.n))) == 0);
}

static void check_out(struct run *r, struct imapc *c, const struct imapc_params *params,
                      bool is_tls)
{
    struct slice out = buf_slice(imapc_out(c));

    if (params->wants_starttls && !is_tls)
        INSIST(out.n == 0 || slice_eq(out, SLICE("U1 STARTTLS\r\n")));
    check_early(c, params, out);
    tell(r, out);
    r->sent += out.n;
    INSIST(r->sent <= MAX_SENT);
    buf_take(imapc_out(c), out.n);
}

/* All that was told before is forgotten: what the server can do is asked first. */
static void start_tls(struct imapc *c)
{
    imapc_tls_started(c);
    INSIST(slice_eq(buf_slice(imapc_out(c)), SLICE("U2 CAPABILITY\r\n")));
    INSIST(!imapc_offers(c, "IMAP4rev1") && !imapc_offers(c, "STARTTLS"));
}

/* The bytes behind the answer, wherever they lie. */
static void tell_rest(struct run *r, struct imapc *c, struct slice unfed)
{
    tell(r, SLICE("{rest}"));
    tell(r, buf_slice(imapc_in(c)));
    for (size_t i = 0; i < unfed.n; i++) {
        if ((uint8_t)unfed.p[i] != FUZZ_TURN)
            tell(r, slice_sub(unfed, i, i + 1));
    }
}

static void run(struct run *r, const struct imapc_params *params, uint64_t seed)
{
    struct imapc *c = imapc_new(params);
    struct cut cut = {r->bytes, seed, true};
    bool goes_on = true, is_tls = false;

    INSIST(c);
    buf_init(&r->told, 1 << 22, false);
    while (goes_on) {
        enum imapc_outcome outcome = imapc_step(c);

        INSIST(imapc_step(c) == outcome);
        check_out(r, c, params, is_tls);
        switch (outcome) {
        case IMAPC_MORE:
            INSIST(buf_left(imapc_in(c)) > 0);
            if (!cut_feed(&cut, imapc_in(c)))
                imapc_closed(c);
            break;
        case IMAPC_STARTTLS:
            INSIST(params->wants_starttls && !is_tls);
            is_tls = true;
            start_tls(c);
            break;
        case IMAPC_DONE:
            if (params->only_looks)
                tell_look(r, c, params);
            else
                tell_answer(r, c, params);
            tell_rest(r, c, cut.left);
            imapc_log_out(c);
            INSIST(count_in(buf_slice(imapc_out(c)), SLICE(" LOGOUT\r\n")) == 1);
            goes_on = false;
            break;
        case IMAPC_FAILED:
            tell_failure(r, c, params);
            goes_on = false;
            break;
        }
    }
    imapc_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in;
    struct run whole = {0}, cut = {0};
    struct imapc_params params;

    if (size > MAX_INPUT || !fuzz_input_read(&in, data, size))
        return 0;
    params = (struct imapc_params){
        .wants_starttls = in.flags & WANTS_STARTTLS,
        .only_looks = in.flags & ONLY_LOOKS,
        .wants_noop = in.flags & WANTS_NOOP,
        .user = in.flags & NEEDS_LITERALS ? SLICE("\xc3\xa4nn") : SLICE("ann"),
        .authzid = in.flags & HAS_AUTHZID ? SLICE("bob") : SLICE(""),
        .password = in.flags & NEEDS_LITERALS ? SLICE("\xe4#\r\n!") : SLICE("p\"~\\$"),
        .id = {pairs, in.flags & HAS_ODD_ID ? 3
                      : in.flags & HAS_ID   ? 2
                                            : 0},
        .max_line = 200,
        .max_untagged = 300,
    };
    whole.bytes = cut.bytes = in.bytes;
    run(&whole, &params, 0);
    run(&cut, &params, in.seed | 1U);
    if (!whole.is_injected && !cut.is_injected)
        INSIST(slice_eq(buf_slice(&whole.told), buf_slice(&cut.told)));
    buf_release(&whole.told);
    buf_release(&cut.told);
    return 0;
}
