/* PLAIN; see sasl/plain.h. */
#include "sasl/plain.h"

#include <string.h>

static enum sasl_result client_step(const struct sasl_identity *me, unsigned step,
                                    struct slice challenge, struct buf *out_response)
{
    static const struct slice nul = {"", 1};

    /* Some servers send words with the empty challenge; PLAIN has no use for them. */
    (void)challenge;
    if (step > 0 || slice_has(me->user, '\0') || slice_has(me->authzid, '\0') ||
        slice_has(me->password, '\0'))
        return SASL_BAD;
    if (buf_put(out_response, me->authzid) < 0 || buf_put(out_response, nul) < 0 ||
        buf_put(out_response, me->user) < 0 || buf_put(out_response, nul) < 0 ||
        buf_put(out_response, me->password) < 0)
        return SASL_BAD;
    return SASL_DONE;
}

/* Cuts off what stands before the first NUL. */
static bool cut(struct slice *s, struct slice *out_part)
{
    const char *nul = s->n > 0 ? memchr(s->p, '\0', s->n) : NULL;
    size_t n;

    if (!nul)
        return false;
    n = (size_t)(nul - s->p);
    *out_part = slice_sub(*s, 0, n);
    *s = slice_sub(*s, n + 1, s->n);
    return true;
}

static enum sasl_result server_step(unsigned step, struct slice message, struct buf *out_challenge,
                                    struct sasl_identity *claim)
{
    struct sasl_identity said;

    (void)out_challenge;
    if (step > 0 || !cut(&message, &said.authzid) || !cut(&message, &said.user))
        return SASL_BAD;
    if (said.user.n == 0 || slice_has(message, '\0'))
        return SASL_BAD;
    said.password = message;
    *claim = said;
    return SASL_DONE;
}

const struct sasl_mech sasl_plain = {
    .name = "PLAIN",
    .title = "PLAIN",
    .sends_password = true,
    .is_client_first = true,
    .client_step = client_step,
    .server_step = server_step,
};
